"""Remedies on programs of three shapes: a Sequential, a module with functions in ``forward``, a training step of its own.

Each remedy changes the program it is given and no other, does what it says, leaves the optimiser with the parameters it had
(or says which it adds), and the treated program trains.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from seminal.doctor import remedies
from seminal.doctor.program import Program, from_function
from seminal.doctor.remedies.forward import passed
from seminal.doctor.rows import Rows, rows_of

CLASSES, FEATURES, HIDDEN = 3, 6, 10


class Written(nn.Module):
    """Activations, dropout and the ending are functions called in ``forward``."""

    def __init__(self, outputs: int = CLASSES, ending: str = "softmax") -> None:
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.last, self.ending = nn.Linear(HIDDEN, outputs), ending

    def forward(self, x):
        h = F.dropout(torch.sigmoid(self.first(x)), 0.5, self.training)
        out = self.last(torch.relu(self.second(h)))
        if self.ending == "softmax":
            return torch.softmax(out, dim=1)
        return torch.sigmoid(out).squeeze(1) if self.ending == "sigmoid" else out


def sequential(outputs: int = CLASSES, *ending: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.Sigmoid(), nn.Dropout(0.5), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()),
        nn.Sequential(nn.Linear(HIDDEN, outputs), *ending),
    )


def accuracy(out, target):
    return (out.argmax(1) == target).float().mean().item()


def table(seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    own = torch.Generator().manual_seed(seed)
    target = torch.randint(CLASSES, (60,), generator=own)
    return torch.randn(60, FEATURES, generator=own) + target[:, None], target


def made(model, *, data=None, loss=None, metric=accuracy, step=None, optimizer=None, batch=8) -> Program:
    x, y = data or table()
    parts = {
        "model": model,
        "loss": loss or nn.CrossEntropyLoss(),
        "optimizer": optimizer or torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5, weight_decay=0.01),
        "train": DataLoader(TensorDataset(x[:40], y[:40]), batch_size=batch, shuffle=True),
        "val": DataLoader(TensorDataset(x[40:], y[40:]), batch_size=20),
        "epochs": 3,
        "metric": metric,
        "train_step": step,
    }
    return from_function(lambda seed: parts)(0)


def own_step(model, loss, optimizer, x, y):
    optimizer.zero_grad()
    value = loss(model(x), y)
    value.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    optimizer.step()
    return value.detach()


def plain(seed: int = 0) -> Program:
    torch.manual_seed(seed)
    return made(sequential())


def written(seed: int = 0) -> Program:
    torch.manual_seed(seed)
    return made(Written())


def stepping(seed: int = 0) -> Program:
    torch.manual_seed(seed)
    return made(sequential(CLASSES, nn.Softmax(dim=1)), step=own_step)


SHAPES = {"sequential": plain, "written": written, "own step": stepping}
ROWS = rows_of(plain().train)

# Remedies that leave the parameters as they are, or change them one for one.
SAME_OWNERS = [
    remedies.rate(0.1),
    remedies.adam(),
    remedies.corrected(),
    remedies.sgd(0.1, 0.9),
    remedies.momentum(0.9),
    remedies.longer(2),
    remedies.batch(4, "sqrt"),
    remedies.full_batches(),
    remedies.unclipped(),
    remedies.clipped(1.0),
    remedies.warmed(0.5),
    remedies.standardised_inputs(ROWS),
    remedies.without_ending(),
    remedies.with_ending("softmax"),
    remedies.with_ending("sigmoid"),
    remedies.with_loss("cross_entropy"),
    remedies.with_outputs(CLASSES + 1),
    remedies.default_start(),
    remedies.he_start(),
    remedies.activations("leaky_relu"),
    remedies.with_activations("relu"),
    remedies.all_parameters(),
    remedies.default_step(),
    remedies.default_validation(),
    remedies.shuffled(),
    remedies.balanced(ROWS),
    remedies.without_duplicates(),
    remedies.without_column(0),
    remedies.same_preprocessing(ROWS, ROWS),
    remedies.cleaned([0, 5]),
    remedies.smoothed(0.1),
    remedies.relabelled([1, 2, 0]),
    remedies.rejoined(2),
    remedies.stopped_early(),
    remedies.stopped_early(1),
    remedies.more_decay(),
    remedies.no_decay(),
    remedies.smaller(2),
    remedies.wider(2),
    remedies.no_dropout(),
    remedies.finite_rows(),
    remedies.rows_first(),
    remedies.with_metric("balanced_accuracy"),
    remedies.reconnected(),
    remedies.together(remedies.rate(2), remedies.momentum(0.9), remedies.deeper()),
]
MORE_PARAMETERS = [remedies.deeper(), remedies.normalised()]


def owned(program: Program) -> set[int]:
    return {id(p) for group in program.optimizer.param_groups for p in group["params"]}


def state(program: Program) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in program.model.state_dict().items()}


def trained(program: Program, steps: int = 3) -> list[float]:
    pairs = [pair for _ in range(program.epochs) for pair in program.train][:steps]
    losses = []
    for x, y in pairs:
        program.model.train()
        losses.append(float(program.step(x, y)))
    return losses


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("remedy", SAME_OWNERS + MORE_PARAMETERS, ids=lambda remedy: remedy.name)
def test_a_remedy_is_pure_keeps_the_owners_and_trains(shape, remedy):
    make = SHAPES[shape]
    before, rates = state(make()), [g["lr"] for g in make().optimizer.param_groups]
    treated = remedy.change(make())
    assert owned(treated) == {id(p) for p in treated.model.parameters()}
    losses = trained(treated)
    assert all(map(math.isfinite, losses))
    assert math.isfinite(treated.score())
    after = state(make())
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [g["lr"] for g in make().optimizer.param_groups] == rates
    assert remedy.name
    assert remedy.says[-1] != "."
    assert remedy.snippet


@pytest.mark.parametrize("remedy", SAME_OWNERS + MORE_PARAMETERS, ids=lambda remedy: remedy.name)
def test_a_remedy_draws_nothing_from_the_programs_chance(remedy):
    plain(5)
    expected = torch.rand(3)
    remedy.change(plain(5))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "remedy",
    [
        remedies.with_outputs(5),
        remedies.wider(2),
        remedies.smaller(2),
        remedies.adam(),
        remedies.activations("tanh"),
        remedies.standardised_inputs(ROWS),
        remedies.without_ending(),
    ],
    ids=lambda remedy: remedy.name,
)
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adagrad])
def test_what_the_optimiser_did_not_own_it_does_not_own_afterwards(remedy, kind):
    model = sequential(CLASSES, nn.Softmax(dim=1))
    model[0][0].weight.requires_grad_(False)
    groups = [{"params": model[1].parameters(), "lr": 0.02}, {"params": model[0][3].weight}]
    program = made(model, optimizer=kind(groups, lr=0.1))
    program = replace(remedy.change(program), loss=lambda out, _: out.square().sum())
    layers = passed(program).layers
    assert owned(program) == {id(p) for p in (*layers[2].module.parameters(), layers[1].module.weight)}
    assert not layers[0].module.weight.requires_grad
    assert layers[0].module.bias.requires_grad
    first, second = (group["lr"] for group in program.optimizer.param_groups)
    assert second == pytest.approx(5 * first)
    trained(program)


def test_every_remedy_that_is_exported_is_tried_here():
    tried = {type(r).__name__ for r in SAME_OWNERS}
    assert tried == {"Remedy"}
    names = set(remedies.__all__) - {"Remedy"}
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    assert not [name for name in names if f"remedies.{name}(" not in text]


# ------------------------------------------------------------------------------------------------------------ optimisation


def moves(program: Program) -> float:
    """How far the first step of the first batch takes the last layer."""
    last = passed(program).layers[-1].module.weight
    before = last.detach().clone()
    torch.manual_seed(1)
    trained(program, 1)
    return float((last.detach() - before).norm())


def test_a_tenth_of_the_rate_is_a_tenth_of_the_step():
    assert moves(remedies.rate(0.1).change(plain())) == pytest.approx(0.1 * moves(plain()), rel=1e-3)


# The second schedule writes into an optimiser that never steps itself, which torch thinks is a mistake.
@pytest.mark.filterwarnings("ignore:Detected call of")
def test_the_rate_is_changed_under_a_schedule_too():
    program = plain()
    schedule = torch.optim.lr_scheduler.LambdaLR(program.optimizer, lambda step: 0.5**step)
    program = remedies.rate(0.1).change(program)
    assert moves(program) == pytest.approx(0.1 * moves(plain()), rel=1e-3)
    schedule.step()
    assert program.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)  # what the schedule wrote
    other = plain()
    schedule = torch.optim.lr_scheduler.LambdaLR(other.optimizer, lambda step: 0.5**step)
    treated = remedies.adam(0.01).change(other)
    trained(treated, 1)
    schedule.step()
    trained(treated, 1)
    assert treated.optimizer.param_groups[0]["lr"] == pytest.approx(0.005)


def test_warm_up_begins_small_and_ends_at_the_programs_rate():
    steps = [moves(remedies.warmed(share).change(plain())) for share in (0.01, 0.5, 1.0)]
    assert steps[0] == pytest.approx(moves(plain()), rel=1e-3)
    assert steps[1] == pytest.approx(steps[0] / 8, rel=1e-2)  # 15 steps in all: the warm-up takes 8
    assert steps[2] == pytest.approx(steps[0] / 15, rel=1e-2)
    program = remedies.warmed(0.5).change(plain())
    trained(program, 3)
    assert program.optimizer.param_groups[0]["lr"] == 0.1


def test_clipping_is_undone_and_set_whatever_the_training_step_does():
    calm = remedies.no_decay()
    assert moves(calm.change(stepping())) < 0.05 * moves(
        remedies.together(calm, remedies.unclipped()).change(stepping())
    )
    free = replace(stepping(), train_step=None)
    assert moves(remedies.unclipped().change(stepping())) == pytest.approx(moves(free), rel=1e-4)
    small = remedies.together(remedies.unclipped(), remedies.no_decay(), remedies.clipped(0.01)).change(stepping())
    assert moves(small) <= 0.1 * 0.01 * 1.01


def test_decay_batch_length_and_the_plain_step():
    assert [g["weight_decay"] for g in remedies.no_decay().change(plain()).optimizer.param_groups] == [0]
    assert remedies.more_decay().change(plain()).optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.1)
    assert remedies.adam().change(plain()).optimizer.param_groups[0]["weight_decay"] == 0.01
    assert remedies.longer(2.5).change(plain()).epochs == 8
    assert remedies.stopped_early(1).change(plain()).epochs == 1
    treated = remedies.batch(2, "sqrt").change(plain())
    assert len(treated.train) == 20
    assert treated.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert remedies.default_step().change(stepping()).train_step is None
    assert remedies.momentum(0.9).change(plain()).optimizer.param_groups[0]["momentum"] == 0.9
    assert remedies.sgd(0.3, 0.9).change(plain()).optimizer.param_groups[0]["lr"] == 0.3
    assert remedies.default_validation().change(replace(plain(), evaluate=lambda *_: 0.0)).evaluate is None


def test_frozen_and_forgotten_parameters_learn():
    model = sequential()
    model[0].requires_grad_(False)
    program = made(model, optimizer=torch.optim.Adam(model[1].parameters(), lr=0.02))
    program = remedies.all_parameters().change(program)
    before = state(program)
    trained(program)
    assert all(not torch.equal(before[name], value) for name, value in state(program).items())
    assert {group["lr"] for group in program.optimizer.param_groups} == {0.02}


def test_the_best_epoch_counts_and_its_weights_stay():
    scores = iter([0.3, 0.9, 0.2])
    program = replace(plain(), evaluate=lambda model, val: next(scores, 0.1))
    program = remedies.stopped_early().change(program)
    seen = []
    for _ in range(3):
        for x, y in program.train:
            program.step(x, y)
        seen.append(state(program))
    assert program.score() == 0.9
    assert all(torch.equal(seen[1][name], value) for name, value in state(program).items())


# -------------------------------------------------------------------------------------------------------------------- data


def test_standardised_inputs_per_feature_and_per_channel():
    x = torch.randn(50, FEATURES) * torch.tensor([1.0, 10, 100, 1e3, 1e4, 0]) + 7
    seen = []

    def look(_, args):
        seen.append(args[0])

    program = plain()
    program = remedies.standardised_inputs(Rows(x, x[:, 0], 50)).change(program)
    program.model[0][0].register_forward_pre_hook(look)
    program.model(x)
    assert seen[0][:, :5].mean(0).abs().max() < 1e-4
    assert torch.equal(seen[0][:, 5], torch.ones(50))  # always the same: it may be there in place of a bias
    assert torch.allclose(seen[0].std(0), torch.tensor([1.0, 1, 1, 1, 1, 0]), atol=1e-4)
    pictures = torch.rand(20, 3, 4, 4) * torch.tensor([1.0, 50, 255]).view(1, 3, 1, 1)
    conv = nn.Conv2d(3, 2, 3)
    conv.register_forward_pre_hook(look)
    program = replace(plain(), model=nn.Sequential(conv))
    remedies.standardised_inputs(Rows(pictures, x[:20, 0], 20)).change(program).model(pictures)
    assert torch.allclose(seen[1].mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(seen[1].std((0, 2, 3)), torch.ones(3), atol=1e-4)
    numbers = remedies.standardised_inputs(Rows(torch.arange(9), x[:9, 0], 9)).change(plain())
    assert torch.equal(numbers.model.eval()(x), plain().model.eval()(x))


def loaded(x, y, **more):
    return DataLoader(TensorDataset(x, y), **{"batch_size": 8, **more})


def test_rows_are_left_out_in_the_order_of_the_data_set():
    x, y = torch.arange(40.0)[:, None], torch.arange(40)
    program = replace(plain(), train=loaded(x, y, shuffle=True), val=loaded(x[5:9], y[5:9]))
    assert sorted(rows_of(remedies.cleaned([0, 39]).change(program).train).targets.tolist()) == list(range(1, 39))
    kept = sorted(rows_of(remedies.without_duplicates().change(program).train).targets.tolist())
    assert kept == [*range(5), *range(9, 40)]
    x = x.clone()
    x[3], x[7] = float("nan"), float("inf")
    program = replace(program, train=loaded(x, y, shuffle=True), val=loaded(x[:9], y[:9]))
    treated = remedies.finite_rows().change(program)
    assert sorted(rows_of(treated.train).targets.tolist()) == [i for i in range(40) if i not in (3, 7)]
    val = rows_of(treated.val)
    assert len(val) == 9
    assert bool(val.inputs.isfinite().all())


def test_classes_are_drawn_equally_often_and_in_no_order():
    y = (torch.arange(400) >= 380).long()
    program = replace(plain(), train=loaded(torch.randn(400, 2), y))
    treated = remedies.balanced(rows_of(program.train)).change(program)
    torch.manual_seed(0)
    drawn = torch.cat([target for _, target in treated.train])
    assert len(drawn) == 400
    assert 0.4 < drawn.float().mean() < 0.6
    shuffled = torch.cat([target for _, target in remedies.shuffled().change(program).train])
    assert shuffled.sum() == 20
    assert not torch.equal(shuffled, y)
    batches = [(torch.randn(8, 2), y[i : i + 8]) for i in range(0, 400, 8)]  # no DataLoader at all
    mixed = torch.cat([target for _, target in remedies.shuffled().change(replace(program, train=batches)).train])
    assert mixed.sum() == 20
    assert not torch.equal(mixed, y)


def test_a_column_is_hidden():
    program = remedies.without_column(2).change(plain())
    x = torch.randn(4, FEATURES)
    other = x.clone()
    other[:, 2] = 50
    program.model.eval()
    assert torch.equal(program.model(x), program.model(other))
    other[:, 1] = 50
    assert not torch.equal(program.model(x), program.model(other))


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda x: x * 255, "one scale"),
        (lambda x: x - 3, "one scale"),
        (lambda x: x.transpose(-1, -2), "rows and columns exchanged"),
        (lambda x: x.flip(-1) * 9 + 1, "mirrored"),
    ],
)
def test_validation_is_read_as_training_is(read, name):
    own = torch.Generator().manual_seed(0)
    pattern = torch.arange(36.0).view(6, 6) / 9
    train, val = (pattern + torch.randn(200, 1, 6, 6, generator=own) for _ in range(2))
    program = replace(plain(), val=loaded(read(val), torch.zeros(200)))
    remedy = remedies.same_preprocessing(Rows(train, train, 200), Rows(read(val), val, 200))
    assert name in remedy.says
    assert torch.allclose(rows_of(remedy.change(program).val).inputs, val, atol=0.2)


def test_columns_with_offsets_of_their_own_are_matched_one_by_one():
    own = torch.Generator().manual_seed(0)
    train, val = torch.randn(300, 4, generator=own), torch.randn(300, 4, generator=own)
    there = val + torch.tensor([0.0, 5, -9, 20])
    remedy = remedies.same_preprocessing(Rows(train, train, 300), Rows(there, val, 300))
    program = replace(plain(), val=loaded(there, val))
    assert (rows_of(remedy.change(program).val).inputs - val).abs().max() < 0.3
    same = remedies.same_preprocessing(Rows(train, train, 300), Rows(val, val, 300))
    assert (rows_of(same.change(replace(plain(), val=loaded(val, val))).val).inputs - val).abs().max() < 0.3


def test_classes_of_validation_are_renamed():
    treated = remedies.relabelled([1, 2, 0]).change(plain())
    assert torch.equal(rows_of(treated.val).targets, (rows_of(plain().val).targets + 1) % 3)
    assert torch.equal(rows_of(treated.train).targets.sort()[0], rows_of(plain().train).targets.sort()[0])


@pytest.mark.parametrize("shift", [2, -3])
@pytest.mark.parametrize("validation", [True, False])
def test_rows_get_the_targets_of_their_neighbours(shift, validation):
    before, treated = plain(), remedies.rejoined(shift, validation=validation).change(plain())
    moved = ("train", "val") if validation else ("train",)
    for part in ("train", "val"):
        old, new = (rows_of(getattr(program, part)) for program in (before, treated))
        kept = torch.arange(max(shift, 0), len(old) + min(shift, 0)) if part in moved else torch.arange(len(old))
        assert torch.equal(new.inputs, old.inputs[kept])
        assert torch.equal(new.targets, old.targets[kept - shift * (part in moved)])
    made: dict[str, Any] = {"inputs": torch.arange(9), "targets": torch.arange(9)}
    exec(remedies.rejoined(shift).snippet, made)
    assert torch.equal(made["targets"], made["inputs"] - shift)


# ------------------------------------------------------------------------------------------------------------------ layers


def test_activations_between_the_layers_are_replaced_and_the_ending_is_not():
    x = torch.randn(5, FEATURES)
    for make in (plain, written):
        program = remedies.activations("tanh").change(make())
        program.model.eval()
        first, second, last = (leaf.module for leaf in passed(program).layers)
        expected = last(torch.tanh(second(torch.tanh(first(x)))))
        expected = torch.softmax(expected, 1) if make is written else expected
        assert torch.allclose(program.model(x), expected, atol=1e-6)
    ended = made(Written(1, "sigmoid"), loss=nn.BCELoss(), data=(table()[0], (table()[1] > 0).float()))
    out = remedies.activations("relu").change(ended).model(x)
    assert out.shape == (5,)
    assert 0 < out.min() < out.max() < 1
    module = remedies.activations("gelu").change(made(sequential(1, nn.Sigmoid()))).model
    assert isinstance(module[1][1], nn.Sigmoid)
    assert isinstance(module[0][1], nn.GELU)


def test_activations_are_put_where_there_are_none():
    bare = nn.Sequential(nn.Linear(FEATURES, 8), nn.Linear(8, 8), nn.Dropout(0.0), nn.Linear(8, CLASSES))
    program = made(bare)
    first, second, last = bare[0], bare[1], bare[3]
    x = torch.randn(5, FEATURES)
    model = remedies.with_activations("relu").change(program).model
    assert torch.allclose(model(x), last(torch.relu(second(torch.relu(first(x))))))
    for make in (plain, written):  # these have some
        own = make().model.eval()
        assert torch.equal(remedies.with_activations().change(make()).model.eval()(x), own(x))


def test_first_weights():
    for make in SHAPES.values():
        program = make()
        for parameter in program.model.parameters():
            nn.init.constant_(parameter, 3.0)
        for leaf in passed(remedies.default_start().change(program)).layers:
            bound = 1 / math.sqrt(leaf.module.in_features)
            assert leaf.module.weight.abs().max() <= bound
            assert leaf.module.bias.abs().max() <= bound
            assert leaf.module.weight.std() > 0.3 * bound
        for leaf in passed(remedies.he_start().change(program)).layers:
            assert not leaf.module.bias.any()
            assert 0.5 < leaf.module.weight.std() * math.sqrt(leaf.module.in_features / 2) < 1.5
    recurrent = nn.GRU(FEATURES, 6)
    program = replace(plain(), model=nn.Sequential(nn.Linear(FEATURES, FEATURES), recurrent))
    remedies.he_start().change(program)
    gate = recurrent.weight_hh_l0[:6]
    assert torch.allclose(gate @ gate.T, torch.eye(6), atol=1e-5)


def test_width_and_depth():
    for make in SHAPES.values():
        wide = [leaf.module for leaf in passed(remedies.wider(3).change(make())).layers]
        assert [(m.in_features, m.out_features) for m in wide] == [(6, 30), (30, 30), (30, 3)]
        narrow = [leaf.module for leaf in passed(remedies.smaller(5).change(make())).layers]
        assert [(m.in_features, m.out_features) for m in narrow] == [(6, 2), (2, 2), (2, 3)]
        assert len(passed(remedies.deeper().change(make())).layers) == 4
    line = made(nn.Linear(FEATURES, CLASSES))
    deep = remedies.deeper().change(line)
    assert [leaf.module.out_features for leaf in passed(deep).layers] == [64, CLASSES]
    assert owned(deep) == {id(p) for p in deep.model.parameters()}
    pictures = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8, 3)
    )
    x = torch.randn(60, 1, 8, 8)
    program = made(pictures, data=(x, table()[1]))
    assert remedies.wider(2).change(program).model[5].in_features == 16
    trained(program)


class Residual(nn.Module):
    """Its input is added to what a layer makes of it: it cannot be widened layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, CLASSES)

    def forward(self, x):
        return self.last(x + torch.relu(self.inner(x)))


def test_what_cannot_be_widened_stays_as_it_is():
    torch.manual_seed(0)
    program = made(Residual())
    x = torch.randn(4, FEATURES)
    expected = program.model(x)
    treated = remedies.wider(2).change(program)
    assert torch.equal(treated.model(x), expected)
    assert owned(treated) == {id(p) for p in program.model.parameters()}


def test_normalisation_after_hidden_layers():
    for make in SHAPES.values():
        model = remedies.normalised().change(make()).model
        assert [m.num_features for m in model.modules() if isinstance(m, nn.BatchNorm1d)] == [HIDDEN, HIDDEN]
    alone = made(sequential(), batch=3)  # 40 rows: the last batch is a single row
    model = remedies.normalised().change(alone).model
    assert [m.normalized_shape for m in model.modules() if isinstance(m, nn.LayerNorm)] == [(HIDDEN,)] * 2
    twice = remedies.together(remedies.normalised(), remedies.normalised()).change(plain())
    assert sum(isinstance(m, nn.BatchNorm1d) for m in twice.model.modules()) == 2


def test_dropout_is_gone_wherever_it_was_called():
    x = torch.randn(40, FEATURES)
    for make in SHAPES.values():
        model = make().model.train()
        assert not torch.equal(model(x), model(x))
        model = remedies.no_dropout().change(make()).model.train()
        assert torch.equal(model(x), model(x))


class Mixing(nn.Module):
    """Attention over whatever comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.TransformerEncoderLayer(FEATURES, 2, 8, dropout=0.0), nn.Linear(FEATURES, CLASSES)

    def forward(self, x):
        return self.last(self.layer(x)[:, 0])


def test_only_full_batches_are_left():
    def sizes(program):
        return [len(x) for x, _ in program.train]

    assert sizes(made(sequential(), batch=7))[-1] == 5
    assert sizes(remedies.full_batches().change(made(sequential(), batch=7))) == [7] * 5


def test_rows_come_first():
    x = torch.randn(60, 4, FEATURES)
    program = made(Mixing(), data=(x, table()[1]))
    other = torch.cat([x[:1], torch.randn(59, 4, FEATURES)])
    assert not torch.allclose(program.model(x)[0], program.model(other)[0], atol=1e-3)
    treated = remedies.rows_first().change(program)
    assert torch.allclose(treated.model(x)[0], treated.model(other)[0], atol=1e-5)


class Cut(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.first, self.last = how, nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, CLASSES)

    def forward(self, x):
        if self.how == "no_grad":
            with torch.no_grad():
                h = self.first(x)
        else:
            h = self.first(x)
        h = h.detach() if self.how == "detach" else h.data if self.how == "data" else h
        return self.last(torch.relu(h))


def numbers_only(out, target):
    rows = F.cross_entropy(out, target, reduction="none")
    return torch.tensor([row.item() for row in rows], requires_grad=True).mean()


@pytest.mark.parametrize("how", ["detach", "no_grad", "data", "loss"])
def test_a_graph_that_was_cut_is_whole_again(how):
    torch.manual_seed(0)
    program = made(Cut(how), loss=numbers_only if how == "loss" else None)
    trained(program, 1)
    assert program.model.first.weight.grad is None
    treated = remedies.reconnected().change(made(Cut(how), loss=numbers_only if how == "loss" else None))
    trained(treated, 1)
    assert treated.model.first.weight.grad.norm() > 0
    with torch.no_grad():
        assert not treated.model.train()(table()[0]).requires_grad
        treated.model.eval()
        assert not treated.model(table()[0]).requires_grad


# ----------------------------------------------------------------------------------------------------------------- outputs


def likelihood(p, target):
    """A metric that needs probabilities."""
    return p.gather(1, target[:, None]).mean().item()


def test_an_ending_is_taken_away_and_the_metric_is_shown_what_it_was_shown():
    for make in (written, stepping):
        program = replace(make(), metric=likelihood, evaluate=lambda model, val: model(next(iter(val))[0]).sum().item())
        x, y = rows_of(program.val).inputs, rows_of(program.val).targets
        program.model.eval()
        expected, score = program.model(x), program.score()
        treated = remedies.without_ending().change(program)
        out = treated.model(x)
        assert torch.allclose(out.softmax(1), expected, atol=1e-5)
        assert not torch.allclose(out.sum(1), torch.ones(20))
        assert treated.metric(out, y) == pytest.approx(likelihood(expected, y), rel=1e-4)
        assert treated.score() == pytest.approx(score, rel=1e-4)  # the sum of the probabilities, as before
        assert torch.allclose(treated.model(x), out)


def binary(model, loss, metric) -> Program:
    x, y = table()
    return made(model, data=(x, (y > 0).float().reshape(model(x).shape)), loss=loss, metric=metric)


def half(p, y):
    return ((p > 0.5) == (y > 0.5)).float().mean().item()


def zero(p, y):
    return ((p > 0) == (y > 0.5)).float().mean().item()


def test_a_sigmoid_before_a_loss_of_logits():
    torch.manual_seed(0)
    x = torch.randn(30, FEATURES)
    program = binary(Written(1, "sigmoid"), nn.BCEWithLogitsLoss(), half)
    program.model.eval()
    answers, y = program.model(x), (torch.arange(30) % 2).float()
    treated = remedies.without_ending().change(program)
    out = treated.model(x)
    assert out.shape == answers.shape
    assert torch.allclose(out.sigmoid(), answers, atol=1e-6)
    assert treated.metric(out, y) == half(answers, y)
    valued = remedies.without_ending().change(binary(Written(1, "sigmoid"), nn.MSELoss(), half))
    assert valued.metric is half  # values near 0 and 1: one half is still the line


def test_endings_are_exchanged():
    x = torch.randn(30, FEATURES)
    for model in (Written(1, "linear"), sequential(1), sequential(1, nn.Softmax(dim=1)), sequential(1, nn.ReLU())):
        program = made(model.eval(), loss=nn.MSELoss(), data=(torch.cat([x, x]), torch.rand(60, 1)), metric=half)
        out = remedies.with_ending("sigmoid").change(program).model(x)
        assert 0 < out.min() < out.max() < 1
    out = remedies.with_ending("softmax").change(made(Written(3, "linear").eval())).model(x)
    assert torch.allclose(out.sum(1), torch.ones(30))
    rectified = made(sequential(3, nn.ReLU()).eval(), metric=half)
    assert remedies.with_ending("linear").change(rectified).model(x).min() < 0
    assert rectified.metric is half


@pytest.mark.parametrize("make", SHAPES.values(), ids=list(SHAPES))
def test_cross_entropy_of_logits(make):
    program = replace(make(), loss=nn.MSELoss(), metric=likelihood)
    treated = remedies.with_loss("cross_entropy").change(program)
    x, y = rows_of(treated.train).inputs, rows_of(treated.train).targets
    out = treated.model.eval()(x).detach()
    assert float(treated.loss(out, y)) == pytest.approx(float(F.cross_entropy(out, y)))
    hot = F.one_hot(y, CLASSES).float()
    assert float(treated.loss(out, hot)) == pytest.approx(float(F.cross_entropy(out, y)), rel=1e-4)
    assert float(treated.loss(out, y[:, None].float())) == pytest.approx(float(F.cross_entropy(out, y)))
    if make is not plain:
        assert treated.metric(out, y) == pytest.approx(likelihood(out.softmax(1), y), rel=1e-4)


def test_binary_cross_entropy_of_logits_for_a_metric_of_either_kind():
    x, y = torch.randn(30, FEATURES), (torch.arange(30) % 2).float()
    for model, metric in ((Written(1, "sigmoid"), half), (sequential(1), half), (sequential(1), zero)):
        treated = remedies.with_loss("binary_cross_entropy").change(binary(model, nn.MSELoss(), metric))
        with torch.no_grad():
            passed(treated).layers[-1].module.bias -= treated.model.eval()(x).mean()
        out = treated.model.eval()(x).detach()
        truth = y.reshape(out.shape)
        assert out.min() < 0
        assert float(treated.loss(out, y)) == pytest.approx(float(F.binary_cross_entropy_with_logits(out, truth)))
        assert treated.metric(out, truth) == zero(out, truth)


def test_errors_of_values_are_not_broadcast():
    out, y = torch.randn(20, 1), torch.randn(20)
    for form, loss in (("mse", F.mse_loss), ("huber", F.huber_loss), ("l1", F.l1_loss)):
        treated = remedies.with_loss(form).change(plain())
        assert float(treated.loss(out, y)) == pytest.approx(float(loss(out[:, 0], y)))


def nearest(out, y):
    return (out.flatten().round() == y).float().mean().item()


def test_the_arguments_of_a_loss_are_exchanged():
    program = replace(plain(), loss=lambda output, target: F.poisson_nll_loss(target, output))
    out, counts = torch.randn(6, 1), torch.tensor([0, 3, 1, 2, 5, 1])
    treated = remedies.swapped_loss().change(program)
    expected = F.poisson_nll_loss(out, counts[:, None].float())
    assert torch.equal(treated.loss(out, counts), expected)  # targets in the outputs' shape and type


PER_CLASS = {"loss": remedies.with_loss("cross_entropy"), "outputs": remedies.with_outputs(CLASSES)}


@pytest.mark.parametrize("remedy", PER_CLASS.values(), ids=list(PER_CLASS))
def test_one_output_for_several_classes_becomes_one_for_each(remedy):
    torch.manual_seed(0)
    program = made(sequential(1), loss=lambda out, y: ((out.flatten() - y) ** 2).mean(), metric=nearest)
    treated = remedy.change(program)
    x, y = table()
    out = treated.model.eval()(x)
    assert out.shape == (60, CLASSES)
    assert treated.metric(out, y) == accuracy(out, y)


def test_other_numbers_of_outputs():
    x = torch.randn(60, FEATURES)
    program = made(sequential(1), data=(x, torch.randn(60, 2)), loss=nn.MSELoss(), metric=nearest)
    treated = remedies.with_outputs(2).change(program)
    assert treated.model(x).shape == (60, 2)
    assert treated.metric is nearest
    for make in SHAPES.values():
        assert remedies.with_outputs(7).change(make()).model(x).shape == (60, 7)


def test_standardised_targets_keep_answers_on_their_scale():
    torch.manual_seed(0)
    x = torch.randn(60, FEATURES)
    y = 1000 + 50 * x[:, :2]
    program = made(sequential(2), data=(x, y), loss=nn.MSELoss(), metric=lambda out, t: -(out - t).abs().mean().item())
    program.model.eval()
    raw = program.model(x).detach()
    treated = remedies.standardised_targets(Rows(x, y, 60)).change(program)
    out = treated.model(x).detach()
    assert torch.allclose(out, raw * y.std(0) + y.mean(0), atol=1e-2)
    expected = F.mse_loss(raw, (y - y.mean(0)) / y.std(0))
    assert float(treated.loss(out, y)) == pytest.approx(float(expected), rel=1e-3)
    assert treated.metric(out, y) > -100


def test_label_smoothing():
    out, y = torch.randn(20, 3), torch.randint(3, (20,))
    loss = remedies.smoothed(0.2).change(plain()).loss
    assert float(loss(out, y)) == pytest.approx(float(F.cross_entropy(out, y, label_smoothing=0.2)), rel=1e-5)
    hot = F.one_hot(y, 3).float()
    assert float(loss(out, hot)) == pytest.approx(float(F.cross_entropy(out, y, label_smoothing=0.2)), rel=1e-5)


def test_metrics():
    out, y = torch.tensor([[2.0, 0, 1], [0, 1, 0], [0, 1, 0], [0, 0, 5]]), torch.tensor([0, 1, 2, 2])
    assert remedies.with_metric("accuracy").change(plain()).metric(out, y) == 0.75
    assert remedies.with_metric("balanced_accuracy").change(plain()).metric(out, y) == pytest.approx((1 + 1 + 0.5) / 3)
    logits, truth = torch.tensor([0.2, -3.0, 0.3]), torch.tensor([1.0, 0, 0])
    for loss, right in ((nn.BCEWithLogitsLoss(), 2 / 3), (nn.MSELoss(), 2 / 3)):
        treated = remedies.with_metric("accuracy").change(binary(Written(1, "none"), loss, half))
        line = 0.0 if isinstance(loss, nn.BCEWithLogitsLoss) else 0.5
        expected = ((logits > line) == (truth > 0.5)).float().mean().item()
        assert treated.metric(logits, truth) == pytest.approx(expected) == pytest.approx(right)
    target = torch.randn(30, 1)
    treated = remedies.with_metric("r2").change(plain())
    assert treated.metric(target, target[:, 0]) == 1
    assert treated.metric(target.mean().expand(30, 1), target) == pytest.approx(0, abs=1e-5)
