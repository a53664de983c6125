"""The doctor and runs of ours: what a remedy changes in a recipe, and the recipe that a cure leaves behind."""

from __future__ import annotations

import itertools
import json
import shlex
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from command_line import best_row
from seminal.cli import main
from seminal.cli.verbs import parser
from seminal.core import Optim
from seminal.doctor import remedies
from seminal.doctor.chart import treated
from seminal.doctor.course import length
from seminal.pieces.augment import GaussianNoise, Mixup
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.folder import RunFolder
from seminal.runs.making import Maker
from seminal.runs.patient import OwnRun, patient
from seminal.runs.plan import plan_in, plan_of, source_of
from seminal.runs.prescribing import train_command
from seminal.train.evaluate import scored
from seminal.train.schedules import Cosine, Plateau

pytestmark = pytest.mark.usefixtures("one_thread")


def own(optim: Optim | None = None, **changes: object) -> OwnRun:
    """A perceptron with dropout on iris."""
    plan, source = Maker("mlp-relu", DataAsk("iris"), RecipeAsk(epochs=4), RunAsk(device="cpu")).plan()
    recipe = replace(plan.recipe, model=replace(plan.recipe.model, dropout=0.5), clip=0.5)
    recipe = replace(recipe, optim=optim or Optim("sgd", momentum=0.5, weight_decay=0.01), **changes)
    return patient(replace(plan, recipe=recipe), source, torch.device("cpu"))


def losses(make: OwnRun, steps: int = 12) -> list[float]:
    program = make(3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pairs = itertools.islice(itertools.cycle(program.train), steps)
        return [float(program.step(input, target)) for input, target in pairs]


def test_rows_that_are_mixed_in_training_are_examined_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Their second targets were lost, and the doctor trained on half the truth."""
    mixed = own(augment=(GaussianNoise(0.1), Mixup(1.0)))
    assert losses(mixed) == losses(own(augment=(GaussianNoise(0.1),))) != losses(own())
    assert (mixed.mixing, own().mixing) == ("Mixup", "")
    words = ("resnet20", "digits", "--mixup", "0.2", "--epochs", "1", "--device", "cpu", "--precision", "fp32")
    assert main(["train", *words, "--output", str(tmp_path), "--name", "mixed"]) == 0
    assert main(["doctor", str(tmp_path / "mixed"), "--check"]) in (0, 3)
    assert "Mixup: a row that is made of two has two targets" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "remedy",
    [
        remedies.rate(0.1),
        remedies.rate(3.0),
        remedies.adam(0.02),
        remedies.sgd(0.3, 0.9),
        remedies.momentum(0.9),
        remedies.clipped(0.05),
        remedies.together(remedies.unclipped(), remedies.clipped(0.1)),
        remedies.no_decay(),
        remedies.more_decay(20),
        remedies.no_dropout(),
        remedies.smoothed(0.2),
    ],
    ids=lambda remedy: remedy.name,
)
def test_a_recipe_is_changed_as_a_program_is(remedy: remedies.Remedy) -> None:
    run = own()
    by_recipe = treated(run, remedy)
    assert isinstance(by_recipe, OwnRun)
    assert losses(by_recipe) == pytest.approx(losses(lambda seed: remedy.change(run(seed))), rel=1e-5)
    assert losses(by_recipe) != pytest.approx(losses(run), rel=1e-5)


def test_the_bias_correction_comes_back() -> None:
    run = own(Optim("bertadam", eps=1e-6))
    assert treated(run, remedies.corrected()).recipe.optim == Optim("adamw", eps=1e-6)


def test_more_epochs_stretch_the_schedule() -> None:
    run = own(schedule=Cosine())
    program, longer = run(0), treated(run, remedies.longer(2.5))(0)
    assert (program.epochs, longer.epochs) == (4, 10)
    rates = []
    for each in (program, longer):
        for input, target in itertools.chain(*itertools.repeat(each.train, each.epochs)):
            each.step(input, target)
        rates.append(each.optimizer.param_groups[0]["lr"])
    assert rates[1] < rates[0] / 4, "the last step of a cosine has a small rate, and a longer one's a smaller one"


def test_a_rate_that_waits_for_scores_is_cut_where_the_run_itself_cuts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = own(schedule=Plateau(factor=0.1, patience=2, most=1), lr=1e-9)  # which learns nothing
    validations = []
    monkeypatch.setattr("seminal.runs.patient.scored", lambda *given: validations.append(given) or scored(*given))
    program, rates = run(0), []
    for _ in range(program.epochs):
        for input, target in program.train:
            program.step(input, target)
            rates.append(program.optimizer.param_groups[0]["lr"])
    kept = 3 * len(program.train)  # a best score, and two that are no better
    assert rates == [pytest.approx(1e-9)] * kept + [pytest.approx(1e-10)] * (len(rates) - kept)
    assert program.model.training
    assert len(validations) == program.epochs - 1
    few = next(iter(own(schedule=Cosine())(0).train))
    for each in (run(0), own(schedule=Cosine())(0)):
        [each.step(*few) for _ in range(5 * kept)]  # one batch again and again is no epoch
    assert len(validations) == program.epochs - 1


def test_batches_of_another_size_are_other_batches() -> None:
    run = own()
    smaller = treated(run, remedies.batch(5, "sqrt"))
    assert len(next(iter(smaller(0).train))[0]) == 5
    assert length(smaller(0)) == 4 * 24
    assert smaller.recipe.lr == pytest.approx(run.recipe.lr * (5 / run.recipe.batch) ** 0.5)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> OwnRun:
    """A run of which the head alone learns, from weights that know nothing."""
    folder = tmp_path_factory.mktemp("tuned")
    told = ["train", "mlp", "iris", "--output", str(folder), "--epochs"]
    assert main([*told, "1", "--name", "base", "--lr", "1e-7"]) == 0
    assert main([*told, "3", "--name", "run", "--from", str(folder / "base"), "--freeze"]) == 0
    run = RunFolder.existing(folder / "run")
    plan, device = plan_of(run), torch.device("cpu")
    return patient(plan, source_of(run, plan, device), device)


def test_a_tuned_run_begins_with_its_weights_and_keeps_still_what_was_frozen(tuned: OwnRun) -> None:
    program, base = tuned(0), RunFolder(Path(str(tuned.recipe.transfer.start))).read_tensors("best.safetensors")[0]
    body = [name for name in base if name not in tuned.recipe.transfer.head]
    assert body
    list(itertools.starmap(program.step, program.train))
    state = program.model.state_dict()
    assert all(torch.equal(state[name], base[name]) for name in body)
    assert not any(torch.equal(state[name], base[name]) for name in tuned.recipe.transfer.head)


def test_what_was_frozen_learns_where_the_cure_says_so(tuned: OwnRun) -> None:
    program = treated(tuned, remedies.all_parameters())(0)
    assert isinstance(treated(tuned, remedies.all_parameters()), OwnRun)
    before = {name: value.clone() for name, value in program.model.state_dict().items()}
    list(itertools.starmap(program.step, program.train))
    assert not any(torch.equal(value, before[name]) for name, value in program.model.state_dict().items())


def test_what_no_recipe_can_say_is_a_change_of_the_program() -> None:
    run = own(Optim("adam"))
    assert not isinstance(treated(run, remedies.wider(2)), OwnRun)
    assert not isinstance(treated(run, remedies.momentum(0.9)), OwnRun), "Adam has none"
    assert not isinstance(treated(run, remedies.together(remedies.rate(3), remedies.wider(2))), OwnRun)


def test_a_cure_leaves_a_recipe_that_trains_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ["train", "mlp", "iris", "--output", str(tmp_path), "--split-seed", "3", "--epochs", "30"]
    assert main([*told, "--name", "ill", "--opt", "sgd", "--lr", "1e-6", "--sched", "constant"]) == 0
    out = tmp_path / "verdict.json"
    assert main(["doctor", str(tmp_path / "ill"), "--cure", "--json", str(out)]) == 3
    said = capsys.readouterr().out
    found = json.loads(out.read_text())
    assert found["cure"]["metric_after"] > found["cure"]["metric_before"] + 0.3
    command = next(line for line in said.splitlines() if "seminal train" in line and "cured.json" in line)
    words = shlex.split(command[command.index("seminal train") :])
    cured = plan_in(tmp_path / "ill" / "cured.json").recipe
    assert "the doctor's cure" in cured.departures[-1].why
    assert main([*words[1:], "--output", str(tmp_path), "--name", "well"]) == 0
    well = plan_of(RunFolder.existing(tmp_path / "well")).recipe
    assert (well.lr, well.optim, well.epochs) == (cured.lr, cured.optim, cured.epochs)
    scores = [best_row(tmp_path / name, "top1")["val_top1"] for name in ("ill", "well")]
    assert float(scores[1]) > float(scores[0])


def test_the_command_names_the_same_data() -> None:
    data = DataAsk(
        "houses.csv", "price", task="regression", val_fraction=0.3, split_seed=4, on_bad_file="skip", size=None
    )
    plan, _ = Maker("mlp", DataAsk("iris"), RecipeAsk(), RunAsk(device="cpu")).plan()
    words = shlex.split(train_command(replace(plan, data=data), Path("runs/mlp 1/cured.json")))
    asked = vars(parser().parse_args(words[1:]))
    assert (asked["model"], asked["recipe"]) == ("mlp", "runs/mlp 1/cured.json")
    same = {f.name: asked.get(f.name, f.default) for f in fields(DataAsk)}
    assert DataAsk(**same) == data
