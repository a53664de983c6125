"""Our own runs under the doctor's eye: nothing changes, what was seen goes on after a resume, and it is told."""

from __future__ import annotations

import contextlib
import itertools
import json
import math

import pytest
import torch

from command_line import QUICK, typed
from seminal.core import Goal
from seminal.data import images, tables
from seminal.doctor import epochs
from seminal.doctor.vitals import EARLY, LATER, Layer, Vitals, Weight
from seminal.doctor.watching import watch
from seminal.report import vitals as plots
from seminal.report.data import Doctor
from seminal.runs import training
from seminal.runs.folder import RunFolder
from seminal.runs.observing import in_names


def test_vitals_come_back_from_their_note():
    vitals = Vitals(steps=3, loss=[2.0, math.inf, 1.0], at=[0, 1], moody=("drop",), broken_rows=(1, 2))
    vitals.layers["a"] = Layer("ReLU", silent=[0.0, 0.5])
    vitals.weights["a.weight"] = Weight((2, 3), change=[0.1, 0.2], moved=True)
    vitals.output = Layer("Linear", rows=[1.0])
    note = json.loads(json.dumps(vitals.note()))
    assert Vitals.of(note).loss == vitals.loss
    assert Vitals.of(note).layers == vitals.layers
    back = Vitals.of(note)
    back.loss.append(0.5)
    back.weights["a.weight"].change.append(0.3)  # lists, whatever they were read as
    assert back.output == vitals.output


def test_losses_of_a_long_run_are_thinned_and_go_on_so_after_a_resume():
    """All of them made a checkpoint of five million steps larger than its reader takes."""
    vitals, resumed = Vitals(), Vitals()
    for begin in range(0, 100_000, 2500):
        some = [float(step) for step in range(begin, begin + 2500)]
        vitals.tell(some)
        resumed.tell(some)
        resumed = Vitals.of(json.loads(json.dumps(resumed.note())))
    assert resumed.loss == vitals.loss
    assert vitals.told == 100_000
    assert vitals.loss[:EARLY] == [float(step) for step in range(EARLY)]
    assert LATER / 2 < len(vitals.loss) - EARLY <= LATER
    gaps = {b - a for a, b in itertools.pairwise(vitals.loss[EARLY:])}
    assert gaps == {vitals.stride} == {16}
    assert 100_000 - vitals.loss[-1] <= vitals.stride
    old = {name: value for name, value in Vitals(loss=[2.0, 1.0]).note().items() if name not in ("told", "stride")}
    assert Vitals.of(old).told == 2


def _epochs(train, val, metric):
    return [{"train_loss": t, "val_loss": v, "val_top1": m} for t, v, m in zip(train, val, metric, strict=True)]


def test_overfitting_is_named_where_longer_training_did_harm():
    train = [2.0, 1.0, 0.6, 0.3, 0.2, 0.1, 0.05, 0.03]
    rows = _epochs(train, [2.0, 1.2, 1.0, 1.1, 1.3, 1.6, 1.9, 2.2], [0.3, 0.6, 0.7, 0.69, 0.67, 0.64, 0.6, 0.58])
    (found,) = epochs.judged(rows, Goal("top1"))
    assert found.illness == "overfitting"
    assert "after epoch 3" in found.evidence[0]
    sure = _epochs(train, [2.0, 1.2, 1.0, 1.1, 1.3, 1.6, 1.9, 2.2], [0.3, 0.6, 0.7, 0.7, 0.71, 0.7, 0.71, 0.71])
    assert not epochs.judged(sure, Goal("top1"))  # surer of its mistakes, and right as often
    assert not epochs.judged(rows[:4], Goal("top1"))
    calm = _epochs(train, [2.0, 1.2, 1.0, 0.9, 0.9, 0.9, 0.95, 0.95], [0.3, 0.6, 0.7, 0.75, 0.76, 0.76, 0.75, 0.76])
    assert not epochs.judged(calm, Goal("top1"))


def test_a_classifier_that_guesses_is_not_called_healthy(tmp_path):
    """Steps as large as the weights throw it to where all classes are as probable, below its first loss."""
    words = ("resnet20", "digits", "--opt", "adam", "--lr", "1", "--epochs", "3", "--device", "cpu", "--name", "run")
    said = typed("train", *words, *QUICK, folder=tmp_path)
    assert "lr_high (0.70)" in said.out
    assert "guessing among 10 classes has 2.3" in (tmp_path / "runs" / "run" / "report.html").read_text(
        encoding="utf-8"
    )


def test_the_loss_of_guessing():
    guess = _epochs([9.0, 2.30], [9.0, 2.31], [0.1, 0.1])
    assert "guessing among 10 classes has 2.3" in epochs.guessing(guess, 10)
    assert not epochs.guessing(guess, 20)  # better than guessing among twenty
    assert not epochs.guessing(_epochs([9.0, 2.30], [9.0, 2.1], [0.1, 0.2]), 10)
    assert not epochs.guessing([], 10)


def test_latent_variables_that_no_row_moves_are_named():
    bound = [{"val_bound": -200.0, "val_active": 0.0, "val_kl": 1e-3, "train_loss": 200.0, "val_loss": 200.0}] * 6
    (found,) = epochs.judged(bound, Goal("bound"))
    assert found.illness == "posterior_collapse"
    late = [*bound[:5], bound[5] | {"val_active": 2.0}]  # they have begun to be used
    assert not epochs.judged(late, Goal("bound"))


def test_a_discriminator_that_is_always_sure_is_named_where_nothing_comes_of_it():
    goal = Goal("kernel_distance", higher=False)
    game = [{"train_loss_discriminator": 0.01, "val_kernel_distance": 0.5, "train_loss_generator": 9.0}] * 6
    (found,) = epochs.judged(game, goal)
    assert found.illness == "critic_too_strong"
    assert not epochs.judged([*game, game[-1] | {"val_kernel_distance": 0.2}], goal)  # its samples come nearer
    assert not epochs.judged([*game, game[-1] | {"train_loss_discriminator": 0.4}], goal)


def test_a_generator_that_makes_one_row_is_named_where_training_does_not_help_it():
    goal = Goal("kernel_distance", higher=False)
    stuck = [{"train_loss_discriminator": 0.6, "val_kernel_distance": 0.4, "val_variety": 0.1}] * 12
    (found,) = epochs.judged(stuck, goal)
    assert (found.illness, found.confidence) == ("mode_collapse", 0.7)
    (found,) = epochs.judged([stuck[0] | {"val_variety": 0.9}, *stuck], goal)  # it had variety, and lost it
    assert found.confidence == 0.85
    assert "differed 0.9 times as much after epoch 1" in found.evidence[1]
    assert not epochs.judged(stuck[:9], goal)  # too early to tell
    assert not epochs.judged([*stuck, stuck[0] | {"val_variety": 0.8}], goal)
    assert not epochs.judged([row | {"val_kernel_distance": 0.4 * 0.95**i} for i, row in enumerate(stuck)], goal)
    assert not epochs.judged([row | {"val_variety": 0.05 * 1.1**i} for i, row in enumerate(stuck)], goal)


def test_a_run_whose_posterior_collapsed_says_so(tmp_path):
    recipe = tmp_path / "heavy.py"
    recipe.write_text(
        "from dataclasses import replace\n"
        "from seminal.recipes import vae\n"
        "def recipe(variant, spec):\n"
        "    usual = vae.modern(variant, spec)\n"
        "    return replace(usual, task=replace(usual.task, beta=1000.0), epochs=10, least_steps=0)\n"
    )
    said = typed("train", "vae", "digits", "--recipe", recipe, "--device", "cpu", "--name", "run", folder=tmp_path)
    assert said.code == 0
    assert "posterior_collapse" in said.out
    assert "no latent variable differed" in (tmp_path / "runs" / "run" / "report.html").read_text(encoding="utf-8")


def test_notes_go_on_where_they_were_interrupted():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    vitals = Vitals()
    for _ in range(2):
        with watch(model, optimizer, every=1, vitals=Vitals.of(vitals.note())) as patient:
            for _ in range(5):
                loss = model(torch.ones(2, 3)).square().mean()
                patient.loss(loss)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        assert patient.vitals.seconds > vitals.seconds
        vitals = patient.vitals
    assert vitals.at == vitals.seen == list(range(10))
    assert len(vitals.loss) == len(vitals.gradient) == 10
    assert {len(layer.spread) for layer in vitals.layers.values()} == {10}
    assert {len(weight.change) for weight in vitals.weights.values()} == {10}


def test_a_run_is_watched_and_its_report_tells(tmp_path):
    words = ["mlp", "digits", "--epochs", "3", "--seed", "1", "--save-every", "0", "--output", str(tmp_path)]
    assert typed("train", *words, "--name", "whole", folder=tmp_path).code == 0
    folder = RunFolder.existing(str(tmp_path / "whole"))
    _, note = folder.read_tensors("last.state")
    vitals = Vitals.of(note["diary"]["vitals"])
    assert vitals.steps == len(vitals.loss) == note["counters"]["step"]
    assert vitals.at[:2] == [0, 1]
    # The norms are those of the mean loss before clipping, though the loop sums losses and divides at the end.
    told = note["diary"]["trace"]["grad_norm"]
    assert vitals.gradient == pytest.approx([told[step] for step in vitals.seen])
    assert max(vitals.taken) == pytest.approx(1, rel=1e-4)  # the recipe clips
    report = json.loads((folder.path / "report.json").read_text())["report"]
    assert report["doctor"]["name"] == "healthy"
    assert set(report["doctor"]["moved"]) == {
        name.removesuffix(".weight") for name, weight in vitals.weights.items() if len(weight.shape) > 1
    }
    assert "How far each layer moves" in (folder.path / "report.html").read_text()


def test_a_rate_that_is_too_high_is_told_at_the_end(tmp_path):
    words = ["mlp", "digits", "--recipe", "paper", "--epochs", "40", "--lr", "300", "--output", str(tmp_path)]
    assert "doctor   lr_high" in typed("train", *words, folder=tmp_path).out
    broken = typed("train", "mlp", "digits", "--epochs", "6", "--lr", "3", "--output", tmp_path, folder=tmp_path)
    assert broken.code == 2
    assert "The doctor says lr_high: the loss had gone from" in broken.err


def test_maps_are_drawn_of_what_there_is():
    assert plots.plots(None) == []
    assert plots.plots(Doctor("healthy", "well")) == []
    found = plots.plots(
        Doctor("healthy", "well", steps=(0, 1), moved={"a" * 40 + "end": (0.0, 1e-3)}, silent={"r": (0.0, 0.25)})
    )
    assert [figure.id for figure in found] == ["moved", "silent"]
    (trace,) = found[0].data
    assert trace["z"] == [[None, -3.0]]
    assert found[0].layout["yaxis"]["ticktext"][0].endswith("end")
    assert "25.0 %" in found[1].caption


def test_the_watch_leaves_every_bit_as_it_is(tmp_path, monkeypatch):
    """The same run, with and without."""

    def run(name: str) -> dict[str, torch.Tensor]:
        words = ["train", "resnet20", "digits", "--epochs", "1", "--precision", "fp32", "--no-channels-last"]
        assert typed(*words, "--output", tmp_path, "--name", name, folder=tmp_path).code == 0
        return RunFolder.existing(str(tmp_path / name)).read_tensors("last.safetensors")[0]

    watched = run("watched")

    @contextlib.contextmanager
    def alone(run):
        yield lambda step: None

    monkeypatch.setattr(training, "observed", alone)
    plain = run("plain")
    assert all(torch.equal(watched[name], plain[name]) for name in plain)


@pytest.mark.parametrize("data", ["digits", "iris", "wine", "breast-cancer", "diabetes"])
def test_the_check_has_nothing_against_good_data(tmp_path, data):
    model = "linear" if data == "diabetes" else "mlp"
    said = typed("train", model, data, "--epochs", "1", "--output", tmp_path, *QUICK, folder=tmp_path)
    assert said.code == 0
    assert "\ncheck " not in said.out


def test_the_check_finds_validation_rows_in_the_training_file(tmp_path):
    rows = [
        ",".join(f"{x:.6f}" for x in row) + (",yes" if row[0] > row[1] else ",no")
        for row in torch.randn(400, 5).tolist()
    ]
    (tmp_path / "twice.csv").write_text("\n".join(["a,b,c,d,e,answer", *rows, *rows]) + "\n")
    said = typed(
        "train",
        "mlp",
        "twice.csv",
        "--target",
        "answer",
        "--epochs",
        "1",
        "--output",
        tmp_path,
        *QUICK,
        folder=tmp_path,
    )
    assert "check    leakage" in said.out
    assert "are copies of training rows" in said.out


def test_columns_are_told_by_the_names_of_the_users_table(tmp_path):
    """The third feature was called column 2, which in the user's table was another."""
    rows = [f"{i},{'ab'[i % 2]},{i % 7},{i % 3}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["id,kind,weight (kg),t", *rows]) + "\n")
    source = tables.read(tmp_path / "t.csv", target="t", task="classification")
    told = "column 2 gives the answer, column 0 and columns 1 do not, nor column 9"
    named = "column `weight (kg)` gives the answer, column `kind=a` and columns 1 do not, nor column `9`"
    assert in_names(told, source) == named
    assert in_names(told, images.digits()) == told
