"""Two processes under torchrun take the steps of one process with the same global batch, and make one run of it.

Started by torchrun, this file is the program of each process: ``test_processes.py FOLDER`` writes its losses there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from command_line import Said, done, environment, metrics, points
from seminal.core import Optim, Precision, Recipe, Source, Transfer
from seminal.data import images, tables
from seminal.papers import dcgan, mlp, resnet
from seminal.recipes import dcgan as dcgan_recipes
from seminal.recipes import mlp as mlp_recipes
from seminal.recipes import resnet as resnet_recipes
from seminal.report.data import from_json
from seminal.runs.machine import joined
from seminal.tasks.game import Game
from seminal.train import distributed
from seminal.train.distributed import GlobalBatchNorm
from seminal.train.loop import train
from seminal.train.transfer import keep_still, prepared
from texts import pretraining, stream_of_words, translation

STEPS = 20
FP32 = Precision()


def _digits() -> tuple[Source, Recipe, torch.nn.Module]:
    """Batch normalisation over both processes, and crops that belong to the picture, not to the process.

    The rate is small, for at the recipe's own this network is chaotic: a change of 10⁻⁷ in the first weights alone grows
    to 10⁻² in the loss within three steps (many pixels of the digits are 0, so that whole areas turn the same corner of a
    ReLU at once), and no two orders of summation stay together for twenty."""
    source = images.digits()
    recipe = resnet_recipes.paper("resnet20", source.spec).adapted(source.spec)
    torch.manual_seed(0)
    return source, replace(recipe, precision=FP32, epochs=2, lr=1e-4), resnet.build(recipe.model)


def _wine(accumulate: int) -> tuple[Source, Recipe, torch.nn.Module]:
    """33 rows a step: 17 for one process and 16 for the other, and parts that are not alike."""
    source = tables.bundled("wine")
    recipe = mlp_recipes.modern("mlp", source.spec).adapted(source.spec)
    optim = Optim("adamw", weight_decay=0.1)
    torch.manual_seed(0)
    recipe = replace(recipe, precision=FP32, batch=33, accumulate=accumulate, optim=optim, clip=0.5)
    return source, recipe, mlp.build(recipe.model)


def _text(make: Callable[[Path, float], tuple[Source, Recipe, torch.nn.Module]]) -> Any:
    """Batches by tokens, whose rows are unlike; a state that each process carries for its own rows. No dropout, for each
    process has luck of its own."""
    with tempfile.TemporaryDirectory() as folder:
        source, recipe, model = make(Path(folder), 0.0)
    return source, replace(recipe, epochs=12), model


def _documents() -> tuple[Source, Recipe, torch.nn.Module]:
    """A loss that is two means, over words and over rows."""
    source, recipe, model = _text(pretraining)
    return source, replace(recipe, accumulate=3, lr=1e-3), model


def _game() -> tuple[Source, Recipe, torch.nn.Module]:
    """Two players, the first of which moves twice: each is joined on its own. The noise is the same in every row, for each
    process has luck of its own; the generator's normalisation still sees the places of a map."""
    source = images.digits()
    recipe = dcgan_recipes.paper("dcgan", source.spec).adapted(source.spec)
    recipe = replace(recipe, model=replace(recipe.model, width=8), batch=32, precision=FP32, lr=1e-3, clip=1.0)
    torch.manual_seed(0)
    model = dcgan.build(recipe.model)
    model.noise = lambda rows, generator=None: torch.ones(rows, 100)  # type: ignore[assignment]
    return source, replace(recipe, task=Game(discriminator_steps=2), optim=Optim("sgd", momentum=0.5)), model


CASES = {
    "a game of two players": _game,
    "a transformer on pairs": lambda: _text(translation),
    "a language model on a stream": lambda: _text(stream_of_words),
    "a BERT on documents, in 3 micro-batches": _documents,
    "resnet20 on digits": _digits,
    "mlp on wine": lambda: _wine(1),
    "mlp on wine, 4 micro-batches": lambda: _wine(4),
}


def steps(case: str) -> tuple[list[list[float]], dict[str, torch.Tensor]]:
    """(loss, gradient norm) of each step, over all players, and the weights and statistics after the last."""
    source, recipe, model = CASES[case]()
    made = islice(train(model, source, recipe), STEPS)
    told = [[sum(step.loss.values()), sum(step.grad_norm.values())] for step in made]
    return told, dict(model.state_dict())


if __name__ == "__main__":
    with joined():
        found = {case: steps(case) for case in CASES}
    for number, (told, weights) in enumerate(found.values()):
        stem = Path(sys.argv[1], f"{number}-rank-{os.environ['RANK']}")
        stem.with_suffix(".json").write_text(json.dumps(told))
        save_file(weights, stem.with_suffix(".safetensors"))
    sys.exit()


# ------------------------------------------------------------------------------------------------------------ the tests

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def both(*words: object, folder: Path) -> Said:
    """Two processes, each on one thread."""
    ended = subprocess.run(
        [*TORCHRUN, *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment(OMP_NUM_THREADS="1"),
    )
    return Said(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have written what they found, in all cases."""
    folder = tmp_path_factory.mktemp("two")
    said = both(__file__, folder, folder=folder)
    assert said.code == 0, said
    return folder


def told_by(together: Path, case: str, rank: int) -> list[list[float]]:
    return json.loads((together / f"{list(CASES).index(case)}-rank-{rank}.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_two_processes_take_the_steps_of_one(together, case, one_thread):
    alone, weights = steps(case)
    assert len(alone) == STEPS
    pair = told_by(together, case, 0)
    assert pair == told_by(together, case, 1), "both processes tell the same"
    for step, (one, two) in enumerate(zip(alone, pair, strict=True), start=1):
        assert two[0] == pytest.approx(one[0], abs=1e-5), f"loss of step {step}"
        assert two[1] == pytest.approx(one[1], rel=1e-3), f"gradient norm of step {step}"
    for rank in (0, 1):
        theirs = load_file(together / f"{list(CASES).index(case)}-rank-{rank}.safetensors")
        for name, value in weights.items():
            torch.testing.assert_close(
                theirs[name], value, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}"
            )


def test_accumulation_is_the_same_step_too(together, one_thread):
    whole, _ = steps("mlp on wine")
    parts = told_by(together, "mlp on wine, 4 micro-batches", 0)
    assert [loss for loss, _ in parts] == pytest.approx([loss for loss, _ in whole], abs=1e-5)


def test_the_command_line_makes_one_run_of_two_processes(tmp_path, one_thread):
    words = ("train", "resnet20", "digits", "--epochs", "1", "--precision", "fp32", "--lr", "1e-4")
    said = both("-m", "seminal", *words, folder=tmp_path)
    assert said.code == 0, said
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["resnet20-digits-1"]
    for label in ("recipe ", "data ", "best ", "report "):
        assert sum(line.startswith(label) for line in said.out.splitlines()) == 1, f"{label}is said once"
    done(*words, "--name", "alone", folder=tmp_path)
    (two,), (one,) = metrics(tmp_path / "runs" / "resnet20-digits-1"), metrics(tmp_path / "runs" / "alone")
    assert two.keys() == one.keys()
    for name in one.keys() - {"seconds", "rows_per_s"}:
        assert float(two[name]) == pytest.approx(float(one[name]), rel=1e-3, abs=3e-3), (
            name
        )  # a picture of 360 may turn
    got = json.loads(done("eval", "runs/resnet20-digits-1", "--json", folder=tmp_path))
    assert got["loss"] == pytest.approx(float(two["val_loss"]), rel=1e-5)
    told = [from_json((tmp_path / "runs" / run / "report.json").read_text()) for run in ("resnet20-digits-1", "alone")]
    pair, alone = (torch.tensor(report.confusion) for report in told)
    assert pair.sum() == alone.sum() == 360, "the report is about all rows, not those of the process that writes it"
    assert (pair - alone).abs().sum() <= 4


def test_several_seeds_of_two_processes_are_one_set_of_runs(tmp_path):
    points(tmp_path / "points.csv")
    words = ("train", "mlp", "points.csv", "--target", "y", "--epochs", "1", "--precision", "fp32", "--seeds", "2")
    said = both("-m", "seminal", *words, folder=tmp_path)
    assert said.code == 0, said
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mlp-points-seeds-1"]
    parent = tmp_path / "runs" / "mlp-points-seeds-1"
    assert {path.name for path in parent.iterdir()} == {"seed-0", "seed-1", "summary.json"}
    assert said.out.count("mean ± 95 %") == 1


@pytest.fixture
def alone_in_a_group(tmp_path):
    """A group of this process only."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_global_normalisation_is_torchs_far_from_zero(alone_in_a_group):
    x = 1000 + 0.1 * torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    ours, theirs = torch.nn.BatchNorm1d(5), torch.nn.BatchNorm1d(5)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    weights = torch.randn(64, 5, generator=torch.Generator().manual_seed(1))
    one, other = GlobalBatchNorm(ours)(a), theirs(b)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-2)  # a mean of 1000 is known to 1e-4
    (one * weights).sum().backward()
    (other * weights).sum().backward()
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-2, atol=1e-2)
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer, theirs.get_buffer(name), rtol=1e-3, atol=1e-5)
    GlobalBatchNorm(ours)(x[:1])  # one value: no variance, and no NaN in what is remembered
    assert ours.running_var.isfinite().all()


def test_a_compiled_view_leaves_the_models_own_tree_alone(monkeypatch):
    """Two processes are only said to be there: what is joined is told apart by its name."""
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed, "_joined", torch.nn.Sequential)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    names = list(model.state_dict())
    view = distributed.parallel(model, 1, compiled=True)
    assert list(model.state_dict()) == names
    assert not any(isinstance(module, GlobalBatchNorm) for module in model.modules())
    assert any(isinstance(module, GlobalBatchNorm) for module in view.modules())
    frozen = Transfer("", freeze=True, head=("2.weight", "2.bias"))
    prepared(model, frozen)
    view.train()
    keep_still(view, frozen)
    assert [m.training for m in view.modules() if isinstance(m, GlobalBatchNorm)] == [False]
