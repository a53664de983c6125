"""What strangers have found: loaders of all kinds, steps that fail, metrics of other shapes, rates far from the usual."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset, WeightedRandomSampler

from seminal.core import Order, UserError
from seminal.doctor import diagnose, remedies
from seminal.doctor.chart import Chart, treated
from seminal.doctor.cure import attempted
from seminal.doctor.program import Program, from_file, from_function
from seminal.doctor.remedies.outputs import with_metric
from seminal.doctor.rows import reloaded, rows_of, same_rows, shuffled
from seminal.doctor.rules import crash
from seminal.runs.patient import Batches

pytestmark = pytest.mark.usefixtures("one_thread")


def rows(count: int = 90, classes: int = 3) -> TensorDataset:
    own = torch.Generator().manual_seed(0)
    y = torch.arange(count) % classes
    return TensorDataset(torch.randn(count, 6, generator=own) + y[:, None], y)


def program(train: Any, val: Any, **changes: Any) -> dict[str, Any]:
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    metric = lambda out, target: (out.argmax(1) == target).float().mean()  # noqa: E731
    parts = {"model": model, "loss": nn.CrossEntropyLoss(), "optimizer": optimizer, "train": train, "val": val}
    return {**parts, "epochs": 3, "metric": metric, **changes}


def test_samplers_that_split_one_set_are_no_leak() -> None:
    data, cut = rows(), torch.randperm(90, generator=torch.Generator().manual_seed(1)).tolist()
    train = DataLoader(data, batch_size=10, sampler=SubsetRandomSampler(cut[:60]))
    val = DataLoader(data, batch_size=10, sampler=SubsetRandomSampler(cut[60:]))
    assert (rows_of(train).total, rows_of(val).total) == (60, 30)
    assert torch.equal(rows_of(val).inputs, data.tensors[0][sorted(cut[60:])])
    found = diagnose.check(from_function(lambda seed: program(train, val)))
    assert "leakage" not in [finding.illness for finding in found.findings]
    assert shuffled(train)
    for change in ({"batch": 7}, {"batch": 7, "shuffle": True}, {"shuffle": False}):
        again = reloaded(train, **change)
        seen = torch.cat([x for x, _ in again])
        assert len(seen) == 60
        assert torch.equal(seen.sort(0).values, rows_of(train).inputs.sort(0).values)


def test_rows_that_are_drawn_by_weight_are_all_there() -> None:
    weighted = DataLoader(rows(), batch_size=10, sampler=WeightedRandomSampler([1.0] * 90, 40))
    assert rows_of(weighted).total == 90
    assert len(reloaded(weighted, batch=20)) == 2  # 40 drawn rows, as before


def test_fewer_rows_are_kept_of_those_that_the_sampler_draws() -> None:
    data = rows()
    val = DataLoader(TensorDataset(data.tensors[0][:20], data.tensors[1][:20]), batch_size=10)
    train = DataLoader(data, batch_size=10, sampler=SubsetRandomSampler(range(60)))
    made = Program(**program(train, val))
    assert rows_of(remedies.without_duplicates().change(made).train).total == 40


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_loader_without_a_batch_is_refused(part: str) -> None:
    few = {"train": DataLoader(rows(), batch_size=100, drop_last=True), "val": DataLoader(rows(0), batch_size=5)}[part]
    loaders = {"train": DataLoader(rows(), batch_size=10), "val": DataLoader(rows(), batch_size=10)} | {part: few}
    with pytest.raises(UserError, match=f"`{part}` of the program gives no batch"):
        diagnose.check(from_function(lambda seed: program(**loaders)))


def test_zero_and_minus_zero_are_one_row() -> None:
    x = torch.zeros(20, 2)
    x[::2] = -0.0
    y = torch.zeros(20, dtype=torch.long)
    train, val = (DataLoader(TensorDataset(a, y), batch_size=5) for a in (torch.zeros(20, 2), x))
    kept = remedies.without_duplicates().change(Program(**program(train, val))).train
    assert sum(len(batch[0]) for batch in kept) == 0


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32])
def test_whole_numbers_of_any_width_are_examined(kind: torch.dtype) -> None:
    data = rows()
    x = (data.tensors[0].abs() * 20).to(kind)
    loader = DataLoader(TensorDataset(x, data.tensors[1]), batch_size=10)
    model = nn.Sequential(nn.Flatten(), Floats(), nn.Linear(6, 3))
    moves = torch.optim.SGD(model.parameters(), lr=0.01)
    diagnose.check(from_function(lambda seed: program(loader, loader, model=model, optimizer=moves)))


class Floats(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float() / 100


def test_rows_that_are_all_the_same_are_examined() -> None:
    same = TensorDataset(torch.ones(40, 6), torch.arange(40) % 3)
    loader = DataLoader(same, batch_size=10, shuffle=True)
    verdict = diagnose.diagnose(from_function(lambda seed: program(loader, loader)), budget=20)
    assert verdict.findings or verdict.open_question


def test_four_validation_rows_are_enough_to_be_examined() -> None:
    data = rows(400)
    y = torch.where(torch.rand(400, generator=torch.Generator().manual_seed(2)) < 0.4, 0, data.tensors[1])
    train = DataLoader(TensorDataset(data.tensors[0], y), batch_size=20, shuffle=True)
    val = DataLoader(TensorDataset(data.tensors[0][:4] + 0.1, y[:4]), batch_size=4)
    diagnose.check(from_function(lambda seed: program(train, val)))


def test_a_first_step_that_fails_is_said() -> None:
    x, y = rows().tensors
    parts = (TensorDataset(x[:60], y[:60]), TensorDataset(x[60:], y[60:]))
    train, val = (DataLoader(part, batch_size=10, shuffle=True) for part in parts)
    wrong = nn.Linear(7, 3)
    for changes in ({}, {"train_step": lambda *_: 1 / 0}):
        moves = torch.optim.SGD(wrong.parameters(), lr=0.01)
        make = from_function(
            lambda seed, moves=moves, changes=changes: program(train, val, model=wrong, optimizer=moves, **changes)
        )
        for verdict in (diagnose.diagnose(make, budget=20), diagnose.check(make)):
            (found,) = verdict.findings
            assert found.illness == "crash"
            assert found.evidence[0].startswith("its first step fails: ")
            assert ("ZeroDivisionError" if changes else "mat1 and mat2") in found.evidence[0]
            assert found.evidence[1] == "that batch has 10 rows"


def normalised(count: int, batch: int, **changes: Any) -> Any:
    """Batch normalisation, with so many rows to learn from."""
    x, y = rows(count + 60).tensors
    train = DataLoader(TensorDataset(x[:count], y[:count]), batch_size=batch, shuffle=True)
    val = DataLoader(TensorDataset(x[count:], y[count:]), batch_size=30)

    def make(seed: int) -> dict[str, Any]:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
        moves = torch.optim.Adam(model.parameters(), lr=0.01)
        return program(train, val, model=model, optimizer=moves, epochs=10) | changes

    return from_function(make)


def test_a_run_that_raises_later_is_not_healthy() -> None:
    verdict = diagnose.diagnose(normalised(181, 10), budget=30)
    (found,) = verdict.findings
    assert (found.illness, verdict.name, verdict.branch) == ("crash", "crash", "code")
    assert found.evidence[0].startswith("step 19 of 190 fails: ValueError: Expected more than 1 value per channel")
    assert "that batch has one row" in found.evidence[1]
    assert "drop_last=True" in found.evidence[2]
    assert found.remedies[0].name == "drop_last"
    cure = attempted(diagnose.examine(normalised(181, 10), budget=30), budget=60)
    assert cure is not None
    assert cure.works, "it no longer raises, whatever the metric says"
    assert cure.notes == (f"before, {cure.told.seeds} of {cure.told.seeds} runs end with an exception",)
    alone = diagnose.diagnose(normalised(180, 1), budget=30).findings[0]
    assert (alone.illness, alone.remedies[0].name) == ("crash", "batch 32")
    assert not any("drop_last" in said for said in alone.evidence)


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_step_of_ones_own_that_raises_is_said_beside_what_else_is_found(share: float) -> None:
    def make(seed: int) -> dict[str, Any]:
        taken: list[int] = []

        def step(model: nn.Module, loss: Any, optimizer: Any, x: Any, y: Any) -> Any:
            taken.append(len(x))
            if len(taken) > 180 * share:
                raise RuntimeError("the table\nis too short")
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            optimizer.step()
            return value.item()

        return dict(parts(seed)) | {"train_step": step}

    parts = vars_of(normalised(180, 10))
    found = diagnose.diagnose(from_function(make), budget=30).findings
    (crashed,) = [finding for finding in found if finding.illness == "crash"]
    assert crashed.evidence[0] == f"step {round(180 * share) + 1} of 180 fails: RuntimeError: the table is too short"
    assert not crashed.remedies


@pytest.mark.filterwarnings("error:Converting a tensor")
def test_a_step_that_returns_its_loss_with_the_graph_is_no_reason_to_warn() -> None:
    def step(model: nn.Module, loss: Any, optimizer: Any, x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    assert not Chart(normalised(180, 10, train_step=step)).course.failed
    forgotten = diagnose.check(normalised(180, 10, train_step=lambda *_: None)).findings[0].evidence[0]
    assert "`train_step` returns None: end it with `return loss.detach()`" in forgotten


def vars_of(make: Any) -> Any:
    """The parts of a program."""
    return lambda seed: {name: value for name, value in vars(make(seed)).items() if value is not None}


def test_what_made_a_step_raise_is_named_beside_it() -> None:
    """Many a program stops by itself where its loss is no number."""

    def step(model: nn.Module, loss: Any, optimizer: Any, x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        value = loss(model(x), y)
        if not value.isfinite():
            raise ArithmeticError("loss is nan")
        value.backward()
        optimizer.step()
        return value.detach()

    def make(seed: int) -> dict[str, Any]:
        made = dict(vars_of(normalised(180, 10))(seed))
        model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
        moves = torch.optim.SGD(model.parameters(), lr=50.0)
        mse = lambda out, target: ((out[:, 0] - target) ** 2).mean()  # noqa: E731
        error = lambda out, target: -((out[:, 0] - target) ** 2).mean().item()  # noqa: E731
        return made | {"model": model, "optimizer": moves, "loss": mse, "metric": error, "train_step": step}

    found = diagnose.diagnose(from_function(make), budget=30).findings
    assert [finding.illness for finding in found] == ["lr_high", "crash"]
    assert "ArithmeticError: loss is nan" in found[1].evidence[0]


def test_a_crash_of_the_treated_program_only_is_not_the_programs_own() -> None:
    first = Chart(normalised(180, 10))
    once = Chart(treated(normalised(180, 10), remedies.batch(179)), before=first)
    assert once.course.failed
    assert crash.judge(once) is None


def test_a_file_beside_the_program_is_found(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("import torch\nnet = lambda: torch.nn.Linear(6, 3)\n")
    (tmp_path / "own.py").write_text(
        "import torch\nfrom torch.utils.data import DataLoader, TensorDataset\nfrom beside_it import net\n"
        "def make(seed=0):\n"
        "    model = net()\n"
        "    rows = DataLoader(TensorDataset(torch.randn(20, 6), torch.arange(20) % 3), batch_size=5)\n"
        "    return dict(model=model, loss=torch.nn.CrossEntropyLoss(), train=rows, val=rows, epochs=1,\n"
        "        optimizer=torch.optim.SGD(model.parameters(), lr=0.1), metric=lambda o, t: 0.0)\n"
    )
    assert isinstance(from_file(str(tmp_path / "own.py"))(0).model, nn.Linear)


# ------------------------------------------------------------------------------------------------------------ the metric


def measured(output: torch.Tensor, target: torch.Tensor, loss: nn.Module) -> float:
    """By the remedy's accuracy."""
    model = nn.Linear(2, output.shape[1])
    loader = DataLoader(TensorDataset(torch.randn(len(target), 2), target), batch_size=len(target))
    moves = torch.optim.SGD(model.parameters(), lr=0.1)
    made = Program(**program(loader, loader, model=model, optimizer=moves, loss=loss))
    return float(with_metric("accuracy").change(made).metric(output, target))


def test_accuracy_of_one_hot_targets_is_of_rows() -> None:
    target = torch.eye(5)[torch.arange(20) % 5]
    assert measured(target.roll(1, dims=1), target, nn.MSELoss()) == 0.0
    assert measured(torch.full((20, 5), 0.2), target, nn.MSELoss()) == pytest.approx(0.2)
    assert measured(target * 3 - 1, target, nn.MSELoss()) == 1.0


def test_accuracy_of_class_numbers_is_of_the_nearest() -> None:
    target = (torch.arange(20) % 5)[:, None].float()
    assert measured(torch.ones(20, 1), target, nn.MSELoss()) == pytest.approx(0.2)
    assert measured(target + 0.3, target, nn.MSELoss()) == 1.0


def test_accuracy_of_yes_and_no_is_as_before() -> None:
    target = (torch.arange(20) % 2)[:, None].float()
    assert measured(8 * target - 4, target, nn.BCEWithLogitsLoss()) == 1.0
    assert measured(0.8 * target + 0.1, target, nn.BCELoss()) == 1.0


def test_a_metric_of_one_class_is_not_blamed() -> None:
    data = TensorDataset(torch.randn(60, 6), torch.zeros(60, dtype=torch.long))
    loader = DataLoader(data, batch_size=10, shuffle=True)
    found = diagnose.check(from_function(lambda seed: program(loader, loader)))
    assert "metric_wrong" not in [finding.illness for finding in found.findings]


def test_a_remedy_that_leaves_nothing_to_train_on_is_not_taken() -> None:
    loader = DataLoader(rows(), batch_size=10)
    make = from_function(lambda seed: program(loader, loader))
    emptied = remedies.without_duplicates().change(make(0))
    assert not rows_left(emptied)
    assert diagnose.diagnose(make, budget=15).findings  # leakage is said, and the examination ends


def rows_left(made: Program) -> int:
    return sum(len(batch[0]) for batch in made.train)


# --------------------------------------------------------------------------------------------------------------- verdicts


@pytest.mark.parametrize("rate", [3.0, 100.0])
def test_a_rate_far_above_all_that_is_usual_is_told_from_a_usual_one(rate: float) -> None:
    """A tenth of it is as bad."""
    x, y = rows(600).tensors

    def make(seed: int) -> dict[str, Any]:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
        moves = torch.optim.Adam(model.parameters(), lr=rate)
        train = DataLoader(TensorDataset(x[:450], y[:450]), batch_size=15, shuffle=True)
        val = DataLoader(TensorDataset(x[450:], y[450:]), batch_size=50)
        return program(train, val, model=model, optimizer=moves, epochs=8)

    found = diagnose.diagnose(from_function(make), budget=30).findings
    assert found[0].illness == "lr_high"
    assert f"for {rate:g})" in found[0].evidence[0]


def test_a_numbering_that_is_better_by_chance_is_no_bug() -> None:
    """Two classes that nothing tells apart, and one that something does: on few rows one of the six numberings is best."""
    own = torch.Generator().manual_seed(5)
    named = []
    for _ in range(8):
        y = torch.randint(3, (300,), generator=own)
        x = torch.randn(300, 6, generator=own)
        x[:, 0] += 3 * (y == 2)
        parts = [TensorDataset(x[:240], y[:240]), TensorDataset(x[240:], y[240:])]
        train, val = (DataLoader(part, batch_size=20, shuffle=True) for part in parts)
        verdict = diagnose.check(from_function(lambda seed, train=train, val=val: program(train, val)))
        named += [finding.illness for finding in verdict.findings]
    assert "label_bug" not in named


def test_of_two_of_our_loaders_it_is_known_whether_they_give_the_same_rows() -> None:
    source: Any = object()
    one, other = Batches(source, Order("val", 4)), Batches(source, Order("val", 4))
    other.epoch = 3  # it was read before
    assert same_rows(one, other)
    assert not same_rows(one, Batches(source, Order("val", 8)))
    assert not same_rows([torch.ones(2)], [torch.ones(2)]), "of others only the very same one is known"
