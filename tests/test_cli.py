"""The command line, verb by verb and flag by flag, as a user types it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from command_line import (
    DIGITS,
    FILES,
    QUICK,
    coloured,
    contents,
    digits_run,
    done,
    metrics,
    points,
    real,
    sha,
    table,
    typed,
)
from seminal.cli.verbs import parser
from seminal.core import DataSpec, Fact
from seminal.recipes import bert
from seminal.runs import verifying
from seminal.runs.asks import RecipeAsk
from seminal.runs.changes import changed
from seminal.runs.shelf import papers

pytestmark = pytest.mark.usefixtures("one_thread")


def recipe(run: Path) -> dict:
    return json.loads((run / "recipe.json").read_text())["recipe"]


# ------------------------------------------------------------------------------------------------------ help and words


def test_help_is_quick_and_imports_nothing_heavy():
    code = "import sys, seminal.cli\ntry: seminal.cli.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print('heavy:', sorted({'torch', 'numpy', 'rich', 'PIL', 'sklearn'} & set(sys.modules)))"
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Processor time: what others do on this machine does not count.
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert "heavy: []" in out
    assert all(
        verb in out for verb in ("list", "show", "verify", "train", "resume", "eval", "predict", "report", "compare")
    )
    assert min(spent) < 0.5


def test_the_module_runs_as_a_program(tmp_path):
    said = real("--version", folder=tmp_path)
    assert (said.code, said.out.split()[0]) == (0, "seminal")
    said = real("train", "resnet20", "digits", "--epoch", "3", folder=tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "--epochs" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("trian resnet20 digits", "Nearest: train"),
        ("train resnt20 digits", "Nearest: resnet20"),
        ("train resnet20 digts", "Nearest: digits"),
        ("train resnet20 digits --batchsize 4", "Nearest: --batch-size"),
        ("eval RUN --weights lats", "Nearest: last."),
        ("show alexent", "Nearest: alexnet"),
        ("verify perceptron", "Nearest: xception, se-inception."),  # a paper and its model have one name
        ("predict RUN picture.png --tpo 3", "Nearest: --top"),
    ],
)
def test_a_slip_of_the_finger_is_told_the_nearest_word(tmp_path, words, hint):
    said = typed(*words.split(), folder=tmp_path)
    assert said.code == 2
    assert hint in said.err


# ------------------------------------------------------------------------------------------------------ looking at papers


def test_list_shows_every_paper_and_with_a_word_its_models(tmp_path):
    out = done("list", folder=tmp_path)
    assert all(paper.title in out and next(iter(paper.variants)) in out for paper in papers().values())
    for word, paper in {"alexnet": "alexnet", "rumelhart": "mlp", "one weird trick": "alexnet_owt"}.items():
        found = done("list", word, folder=tmp_path)
        first_words = [line.split()[0] for line in found.splitlines() if line.strip()]
        assert set(papers()[paper].variants) <= set(first_words)
    assert "60.97 M" in done("list", "alexnet", folder=tmp_path)


def test_show_is_the_card(tmp_path):
    out = done("show", "resnet20", folder=tmp_path)
    assert "Deep Residual Learning" in out
    assert "269,722" in out
    assert "✓" in out
    assert "✗" not in out
    assert "modern (default), paper" in out


def test_verify_measures_and_fails_with_exit_code_1(tmp_path, monkeypatch):
    out = json.loads(done("verify", "linear", "--json", folder=tmp_path))
    assert out["failed"] == 0
    paper = papers()["linear"]
    assert len(out["facts"]) == len(paper.facts) + len(
        paper.variants
    )  # every number, and every network brought to life
    wrong = replace(paper, facts=(Fact("two and two", "p. 1", 5, lambda: 2 + 2), paper.facts[0]))
    monkeypatch.setattr(verifying, "papers", lambda: {"linear": wrong})
    said = typed("verify", folder=tmp_path)
    assert said.code == 1
    assert said.out.count("✗") == 1
    assert f"{1 + len(paper.variants)} of {2 + len(paper.variants)} facts" in said.out


def test_verify_finds_a_parameter_that_no_gradient_reaches(tmp_path, monkeypatch):
    paper = papers()["linear"]

    def build(config):
        model = paper.build(config)
        model.register_parameter("idle", torch.nn.Parameter(torch.zeros(3)))
        return model

    monkeypatch.setattr(verifying, "papers", lambda: {"linear": replace(paper, build=build)})
    said = typed("verify", folder=tmp_path)
    assert said.code == 1
    assert "paper 3, here 2" in said.out


def test_the_page_of_verify_names_numbers_and_departures(tmp_path):
    done("verify", "alexnet", "--page", "page.md", folder=tmp_path)
    page = (tmp_path / "page.md").read_text()
    paper = papers()["alexnet"]
    assert all(fact.says in page and fact.where in page for fact in paper.facts)
    assert "| ✓ | alexnet | 60 million parameters | abstract | 60,000,000 | 60,965,224 |" in page
    assert all(d.what in page for config in paper.variants.values() for d in config.departures())


def test_the_page_in_docs_is_that_of_these_papers():
    """`seminal verify --page docs/faithful.md` writes it."""
    page = (Path(__file__).parents[1] / "docs" / "faithful.md").read_text()
    for paper in papers().values():
        missing = [fact.says for fact in paper.facts if fact.says.replace("|", r"\|") not in page]
        missing += [d.what for config in paper.variants.values() for d in config.departures() if d.what not in page]
        assert not missing, f"{paper.title}: write the page anew"
    assert "✗" not in page


# --------------------------------------------------------------------------------------------------------------- train


def test_a_run_leaves_these_files_and_says_what_is_next():
    run = digits_run()
    assert {path.name for path in run.iterdir()} == FILES
    assert [row["epoch"] for row in metrics(run)] == ["1", "2", "3"]
    assert float(metrics(run)[-1]["train_loss"]) < float(metrics(run)[0]["train_loss"])
    assert (run / "command.txt").read_text().split() == ["seminal", *DIGITS, "--name", "straight"]
    rows = table(run / "split.csv")
    assert len(rows) == 1797
    assert sum(row["split"] == "val" for row in rows) == 360


def test_folders_are_numbered_when_they_have_no_name(tmp_path):
    for number in (1, 2):
        out = done("train", "logistic", "iris", "--epochs", "1", *QUICK, folder=tmp_path)
        assert f"runs/logistic-iris-{number}/report.html" in out
        assert f"seminal predict runs/logistic-iris-{number} YOUR.csv" in out


@pytest.mark.parametrize(("model", "data", "goal"), [("logistic", "iris", "top1"), ("linear", "diabetes", "r2")])
def test_bundled_tables(tmp_path, model, data, goal):
    done("train", model, data, "--epochs", "30", *QUICK, "--name", "run", folder=tmp_path)
    assert float(metrics(tmp_path / "runs" / "run")[-1][f"val_{goal}"]) > (0.8 if goal == "top1" else 0.3)


def test_a_folder_without_a_split_and_its_zip_give_the_same_run(tmp_path):
    coloured(tmp_path / "set", 15)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        for file in sorted((tmp_path / "set").rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path))
    runs = []
    for data in ("set", "packed.zip"):
        name = data.removesuffix(".zip")
        done("train", "resnet20", data, "--epochs", "1", *QUICK, "--name", name, folder=tmp_path)
        runs.append(tmp_path / "runs" / name)
    rows = table(runs[0] / "split.csv")
    assert {(row["split"], row["name"].split("/")[0]) for row in rows} == {
        (split, name) for split in ("train", "val") for name in ("red", "green", "blue")
    }
    assert sum(row["split"] == "val" for row in rows) == 9
    assert sha(runs[0] / "last.safetensors") == sha(runs[1] / "last.safetensors")


def test_a_table_of_classes_and_flags_in_every_spelling(tmp_path):
    points(tmp_path / "points.csv")
    words = (
        "train --arch mlp --data-path points.csv --target=label --batch_size 32 --optimizer adamw --weight-decay=0.01"
    )
    done(*words.split(), "--epochs", "4", *QUICK, "--output-dir", "out", "--experiment", "run", folder=tmp_path)
    run = tmp_path / "out" / "run"
    got = recipe(run)
    assert (got["batch"], got["optim"]["name"], got["optim"]["weight_decay"]) == (32, "adamw", 0.01)
    assert json.loads((run / "labels.json").read_text()) == ["high", "low"]
    assert float(metrics(run)[-1]["val_top1"]) > 0.7


def test_flags_may_stand_between_words():
    words = ["translate", "run", "--beam", "2", "hello", "--n-best", "2", "there"]
    asked = parser(words).parse_args(words)
    assert (asked.texts, asked.beam, asked.n_best) == (["hello", "there"], 2, 2)
    words = ["train", "mlp", "--epochs", "3", "set.csv"]
    assert (parser(words).parse_args(words).data, parser(words).parse_args(words).epochs) == ("set.csv", 3)
    words = ["fill", "run", "--", "--top", "[MASK]"]  # after -- nothing is a flag
    assert parser(words).parse_args(words).texts == ["--top", "[MASK]"]


# Flags, the field of the recipe they set, its value, and the word by which the departure can be known.
OVERRIDES = [
    ("--epochs 7", "epochs", 7, "epochs 7"),
    ("-b 32", "batch", 32, "batches of 32"),
    ("--lr 0.05", "lr", 0.05, "learning rate 0.05"),
    ("--opt adamw", "optim.name", "adamw", "optim"),
    ("--opt adamw", "lr", 0.001, "learning rate 0.001"),
    ("--opt adamw", "optim.weight_decay", 0.0, "optimiser adamw"),  # a decoupled decay is another number
    ("--opt adamw", "optim.momentum", 0.0, "optimiser adamw"),
    ("--opt adagrad", "optim.weight_decay", 5e-4, "optimiser adagrad"),
    ("--opt RMSprop --momentum 0.5", "optim.momentum", 0.5, "momentum 0.5"),
    ("--no-nesterov", "optim.nesterov", False, "optim"),
    ("--wd 0.3", "optim.weight_decay", 0.3, "weight decay 0.3"),
    ("--sched cosine", "schedule.then.is", "seminal.train.schedules.Cosine", "Cosine"),
    ("--schedule plateau --warmup-epochs 0", "schedule.is", "seminal.train.schedules.Plateau", "Plateau"),
    ("--epochs 10 --warmup-epochs 1", "schedule.share", 0.1, "share 0.1"),
    ("--label-smoothing 0.1", "task.label_smoothing", 0.1, "label smoothing 0.1"),
    ("--loss binary_cross_entropy", "task.loss", "binary_cross_entropy", "binary_cross_entropy"),
    ("--class-weights balanced", "task.balance", True, "balance"),
    ("--no-augment", "augment", [], "augment none"),
    ("--mixup 0.3", "augment.1.alpha", 0.3, "Mixup"),
    ("--cutmix 0.7", "augment.1.alpha", 0.7, "CutMix"),
    ("--mixup 0.3 --cutmix 0.7", "augment.1.cutmix_alpha", 0.7, "MixupOrCutMix"),
    ("--reprob 0.25", "augment.1.probability", 0.25, "RandomErasing"),
    ("--color-jitter 0.4", "augment.1.brightness", 0.4, "ColourJitter"),
    ("--hflip 0.3", "augment.1.probability", 0.3, "HorizontalFlip"),
    ("--rotate 15", "augment.1.degrees", 15.0, "Rotate"),
    ("--noise 0.02", "augment.1.std", 0.02, "GaussianNoise"),
    ("--blur 0.2", "augment.1.probability", 0.2, "Blur"),
    ("--scaling none", "scaling", "none", "scaling none"),
    ("--clip-grad 1", "clip", 1.0, "gradient norm clipped at 1"),
    ("--grad-accum-steps 4", "accumulate", 4, "accumulate 4"),
    ("--model-ema", "ema", 0.999, "moving average 0.999"),
    ("--model-ema 0.9", "ema", 0.9, "moving average 0.9"),
    ("--patience 3", "patience", 3, "patience 3"),
]


@pytest.mark.parametrize(("flags", "field", "value", "word"), OVERRIDES, ids=[o[0] + " " + o[1] for o in OVERRIDES])
def test_each_override_is_in_the_recipe_and_said_as_a_departure(tmp_path, flags, field, value, word):
    got = json.loads(done("train", "resnet20", "digits", *flags.split(), "--print-config", folder=tmp_path))
    asked = [d["what"] for d in got["departures"] if d["why"] == "you asked for it"]
    assert any(word in what for what in asked), asked
    at = got
    for key in field.split("."):
        at = at[int(key)] if isinstance(at, list) else at[key]
    assert at == value
    assert not list(tmp_path.iterdir()), "--print-config writes nothing"


def test_a_warm_up_in_epochs_where_the_paper_counts_steps(tmp_path):
    """BERT's million steps: an epoch of warm-up is as many steps as an epoch has."""
    spec = DataSpec("text", "documents", {"train": 40}, vocabulary={"text": 100}, longest={"text": 32})
    spec = replace(spec, tokens={"train": 1200}, batched_by="tokens")
    long = replace(bert.paper("bert-tiny", spec), batch=400)
    schedule = changed(long, RecipeAsk(warmup_epochs=2.0), spec).schedule
    assert schedule.share * long.steps == pytest.approx(2 * 1200 / 400)


@pytest.mark.parametrize(
    ("model", "flags", "field", "value"),
    [
        ("vae", "--beta 4", "beta", 4.0),
        ("vae", "--annealing 0.3", "annealing", 0.3),
        ("gan", "--discriminator-steps 3", "discriminator_steps", 3),
    ],
)
def test_what_belongs_to_a_generators_task(tmp_path, model, flags, field, value):
    got = json.loads(done("train", model, "digits", *flags.split(), "--print-config", folder=tmp_path))
    assert got["task"][field] == value
    assert any(d["why"] == "you asked for it" for d in got["departures"])
    said = typed("train", "resnet20", "digits", *flags.split(), folder=tmp_path)
    assert (said.code, f"{flags.split()[0]} has no meaning for this task" in said.err) == (2, True), said


def test_class_weights_are_counted_where_they_are_asked_for(tmp_path):
    points(tmp_path / "points.csv")
    words = ("train", "logistic", "points.csv", "--target", "label", "--class-weights", "balanced", "--print-config")
    weights = json.loads(done(*words, folder=tmp_path))["task"]["class_weights"]
    names = [line.rsplit(",", 1)[1] for line in (tmp_path / "points.csv").read_text().splitlines()[1:]]
    ratio = names.count("low") / names.count("high")
    assert weights[0] / weights[1] == pytest.approx(ratio, rel=0.05)  # `high` is the first; the split is stratified


def test_dropout_is_the_models(tmp_path):
    coloured(tmp_path / "set", 3)
    words = ("train", "alexnet", "set", "--size", "67", "--drop", "0.25", "--val-fraction", "0.5", "--print-config")
    assert json.loads(done(*words, folder=tmp_path))["model"]["dropout"] == 0.25


def test_a_printed_recipe_can_be_changed_and_given_back(tmp_path):
    printed = json.loads(done("train", "mlp", "iris", "--print-config", folder=tmp_path))
    assert printed["model"]["hidden"] != [7]
    printed["epochs"], printed["model"]["hidden"] = 3, [7]
    (tmp_path / "mine.json").write_text(json.dumps(printed))
    got = json.loads(done("train", "mlp", "iris", "-c", "mine.json", "--print-config", folder=tmp_path))
    assert got == printed
    assert "there is no" not in done("train", "mlp", "iris", "-c", "mine.json", "--dry-run", folder=tmp_path)


def test_an_override_outdates_what_was_adapted(tmp_path):
    got = json.loads(done("train", "logistic", "iris", "--epochs", "5", "-b", "24", "--print-config", folder=tmp_path))
    said = [d["what"] for d in got["departures"]]
    assert sum("epochs" in what for what in said) == 1, said
    assert sum("batches" in what for what in said) == 1, said


def test_a_dry_run_writes_nothing(tmp_path):
    points(tmp_path / "points.csv")
    before = contents(tmp_path)
    out = done("train", "mlp", "points.csv", "--target", "y", "--dry-run", folder=tmp_path)
    assert "step     2: loss" in out
    assert "nothing was written" in out
    assert contents(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["points.csv"]


# ------------------------------------------------------------------------------------------------------------- recipes


RECIPE_FILE = """
from dataclasses import replace
from seminal.recipes import mlp
def recipe(variant, spec):
    return replace(mlp.modern(variant, spec), name="mine", epochs=3, least_steps=0, lr=0.0123)
"""


def test_recipes_by_name_by_file_and_of_another_run(tmp_path):
    points(tmp_path / "points.csv")
    (tmp_path / "mine.py").write_text(RECIPE_FILE)
    words = ("train", "mlp", "points.csv", "--target", "y")
    done(*words, "--recipe", "mine.py", *QUICK, "--name", "file", folder=tmp_path)
    first = recipe(tmp_path / "runs" / "file")
    assert (first["name"], first["epochs"], first["lr"]) == ("mine", 3, 0.0123)
    done(*words, "-c", "runs/file", *QUICK, "--name", "borrowed", folder=tmp_path)
    assert sha(tmp_path / "runs" / "file" / "last.safetensors") == sha(
        tmp_path / "runs" / "borrowed" / "last.safetensors"
    )
    paper = json.loads(done(*words, "--recipe", "paper", "--print-config", folder=tmp_path))
    assert (paper["name"], paper["epochs"], paper["lr"]) == ("paper", 1425, 0.1)
    (tmp_path / "paper").mkdir()  # a folder of that name does not stand in the way
    assert json.loads(done(*words, "--recipe", "paper", "--print-config", folder=tmp_path)) == paper
