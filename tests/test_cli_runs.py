"""What can be done with a run: score it, predict, report, compare, stop it, go on with it; and it never runs as code."""

from __future__ import annotations

import json
import os
import pickle
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from command_line import (
    DIGITS,
    FILES,
    QUICK,
    SEMINAL,
    best_row,
    coloured,
    contents,
    copy,
    digits_run,
    done,
    environment,
    metrics,
    numbers_run,
    pictures_run,
    points,
    real,
    same_metrics,
    sha,
    table,
    typed,
)
from seminal.runs import training
from seminal.runs.judging import digits

pytestmark = pytest.mark.usefixtures("one_thread")


# ------------------------------------------------------------------------------------------------- eval and predict


@pytest.mark.parametrize("made", [digits_run, pictures_run, numbers_run])
def test_eval_gives_the_best_row_of_the_metrics(tmp_path, made):
    run = copy(made(), tmp_path)
    got = json.loads(done("eval", run.name, "--json", folder=tmp_path))
    goal = "r2" if "r2" in got else "top1"
    best = best_row(run, goal)
    for name, value in got.items():
        if f"val_{name}" in best:
            assert value == pytest.approx(float(best[f"val_{name}"]), rel=1e-4, abs=1e-6), name
    assert got["rows"] == len(table(run / "predictions-val.csv"))


def test_eval_of_the_last_weights_is_the_last_row(tmp_path):
    run = copy(digits_run(), tmp_path)
    out = done("eval", run.name, "--weights", "last", folder=tmp_path)
    said = float(next(line.split()[1] for line in out.splitlines() if line.startswith("top1")).rstrip("%"))
    assert said == pytest.approx(100 * float(metrics(run)[-1]["val_top1"]), abs=0.006)
    assert done("train", "--eval-only", run.name, folder=tmp_path).startswith("val")


def test_ten_crops_are_the_mean_of_ten(tmp_path):
    run = copy(pictures_run(), tmp_path)
    got = json.loads(done("eval", run.name, "--ten-crop", "--json", folder=tmp_path))
    assert got["rows"] == 15
    assert 0 <= got["top1"] <= 1


def test_predictions_for_pictures_are_those_of_validation(tmp_path):
    run = copy(pictures_run(), tmp_path)
    done("eval", run.name, folder=tmp_path)
    known = table(run / "predictions-val.csv")
    data = Path(json.loads((run / "recipe.json").read_text())["data"]["data"])
    files = [str(data / row["row"]) for row in known]
    out = done("predict", run.name, *files, "--csv", "guess.csv", folder=tmp_path)
    guessed = table(tmp_path / "guess.csv")
    assert [row["input"] for row in guessed] == files
    assert len(out.splitlines()) == len(files) + 1
    for old, new in zip(known, guessed, strict=True):
        assert new["predicted"] == old["predicted"]
        assert float(new[new["predicted"]]) == pytest.approx(float(old["confidence"]), abs=1e-4)
        assert sum(float(new[name]) for name in ("red", "green", "blue")) == pytest.approx(1, abs=1e-5)


def test_predictions_for_a_table_are_those_of_validation(tmp_path):
    run = copy(numbers_run(), tmp_path)
    done("eval", run.name, folder=tmp_path)
    data = json.loads((run / "recipe.json").read_text())["data"]["data"]
    lines = [
        json.loads(line)
        for line in done("predict", run.name, data, "--json", "--csv", "g.csv", folder=tmp_path).splitlines()
    ]
    guessed = {line["input"]: line["y"] for line in lines}
    assert len(guessed) == 120
    for row in table(run / "predictions-val.csv"):
        assert guessed[row["row"]] == pytest.approx(float(row["y predicted"]), rel=1e-5)
        line = int(row["row"].split(":")[1])
        assert float(row["y true"]) == pytest.approx(
            float(Path(data).read_text().splitlines()[line - 1].split(",")[3]), rel=1e-5
        )


def test_numbers_have_the_digits_that_tell_them_apart(tmp_path):
    """They were cut to six: a year, a price in millions, a time in seconds."""
    luck = np.random.default_rng(0)
    x = luck.normal(size=120)
    rows = [f"{value:.6f},{1e9 + value:.4f}" for value in x]
    (tmp_path / "large.csv").write_text("\n".join(["x,y", *rows]) + "\n")
    done("train", "linear", "large.csv", "--target", "y", "--epochs", "60", *QUICK, "--name", "run", folder=tmp_path)
    shown = done("predict", "runs/run", "large.csv", "--csv", "said.csv", folder=tmp_path)
    numbers = [float(line.split(" y ")[1]) for line in shown.splitlines() if " y " in line]
    assert np.corrcoef(numbers, x)[0, 1] > 0.999
    assert max(numbers) < 2e9
    assert "e+" not in shown
    written = [line.split(",") for line in (tmp_path / "said.csv").read_text().splitlines()[1:]]
    assert np.corrcoef([float(number) for _, number in written], x)[0, 1] > 0.999
    done("eval", "runs/run", folder=tmp_path)
    lines = (tmp_path / "runs" / "run" / "predictions-val.csv").read_text().splitlines()[1:]
    for name, true, _ in (line.split(",") for line in lines):
        assert float(true) == pytest.approx(1e9 + x[int(name.rpartition(":")[2]) - 2], abs=1e-3)


@pytest.mark.parametrize(
    ("value", "std", "told"),
    [
        (1981716.15, 4e5, "1981716"),
        (1e9 + 0.5, 1.0, "1000000000.5"),
        (0.123456789, 1.0, "0.123457"),
        (2.0, 1e-4, "2"),
        (2.000012345678, 1e-4, "2.000012346"),
        (1e22, 1.0, "1e+22"),
        (0.0, 1.0, "0"),
        (float("nan"), 1.0, "nan"),
    ],
)
def test_digits(value, std, told):
    assert digits(value, std) == told


def test_top_shows_so_many_classes(tmp_path):
    run = pictures_run()
    picture = next((run.parents[1] / "set" / "val" / "red").iterdir())
    for count in (1, 2):
        out = done("predict", run, picture, "--top", count, folder=tmp_path)
        assert out.count("%") == count
        assert len(json.loads(done("predict", run, picture, "--top", count, "--json", folder=tmp_path))) == 1 + count


def test_other_data_are_read_as_the_runs_own_were(tmp_path):
    """A part of the table on its own has other means; scored as other data, its rows get the very same predictions."""
    run = copy(numbers_run(), tmp_path)
    whole = Path(json.loads((run / "recipe.json").read_text())["data"]["data"])
    lines = whole.read_text().splitlines()
    large = [line for line in lines[1:] if float(line.split(",")[3]) > 101]
    (tmp_path / "large.csv").write_text("\n".join([lines[0], *large]) + "\n")
    got = json.loads(done("eval", run.name, "--data", "large.csv", "--json", folder=tmp_path))
    scored = table(run / "predictions-all-large.csv")
    assert got["rows"] == len(scored) == len(large)
    guessed = [
        json.loads(line)["y"] for line in done("predict", run.name, "large.csv", "--json", folder=tmp_path).splitlines()
    ]
    assert [float(row["y predicted"]) for row in scored] == pytest.approx(guessed, rel=1e-5)
    truth = [float(line.split(",")[3]) for line in large]
    assert [float(row["y true"]) for row in scored] == pytest.approx(truth, rel=1e-5)
    assert got["mae"] == pytest.approx(sum(abs(a - b) for a, b in zip(truth, guessed)) / len(truth), rel=1e-4)


def test_a_few_rows_are_enough_to_score_on(tmp_path):
    """Two rows, of two targets, from which a reader would guess classes; and beside other tables in a folder."""
    run = copy(numbers_run(), tmp_path)
    lines = Path(json.loads((run / "recipe.json").read_text())["data"]["data"]).read_text().splitlines()
    parts = tmp_path / "parts"
    parts.mkdir()
    for name, rows in (("two", lines[1:3]), ("parts/train", lines[1:9]), ("parts/val", lines[9:12])):
        (tmp_path / f"{name}.csv").write_text("\n".join([lines[0], *rows]) + "\n")
    (parts / "sample_submission.csv").write_text("id,y\n1,0\n")
    (parts / "test.csv").write_text("a,b,kind\n1,2,u\n")
    got = json.loads(done("eval", run.name, "--data", "two.csv", "--json", folder=tmp_path))
    said = [float(row["y predicted"]) for row in table(run / "predictions-all-two.csv")]
    wrong = [abs(float(line.split(",")[3]) - value) for line, value in zip(lines[1:3], said)]
    assert got["mae"] == pytest.approx(sum(wrong) / 2, abs=1e-3)
    assert json.loads(done("eval", run.name, "--data", "parts", "--json", folder=tmp_path))["rows"] == 11
    asked = ("eval", run.name, "--data", "parts", "--split", "val", "--json")
    assert json.loads(done(*asked, folder=tmp_path))["rows"] == 3


def test_pictures_of_one_class_are_enough_to_score_on(tmp_path):
    run = copy(pictures_run(), tmp_path)
    coloured(tmp_path / "set", 1, seed=3)
    for other in ("green", "blue"):
        (tmp_path / "set" / other / "00.png").unlink()
        (tmp_path / "set" / other).rmdir()
    got = json.loads(done("eval", run.name, "--data", "set", "--json", folder=tmp_path))
    assert (got["split"], got["rows"]) == ("all", 1)


@pytest.mark.parametrize(("column", "rows"), [(3, 1), (1, -1)])
def test_rows_that_were_changed_are_noticed(tmp_path, column, rows):
    """A target of training, or a value that only validation has: neither the names of the rows nor the means tell."""
    words = ("--target", "y", "--epochs", "1", "--precision", "fp32", "--name", "run")
    points(tmp_path / "points.csv")
    done("train", "mlp", "points.csv", *words, folder=tmp_path)
    held = [row["name"] for row in table(tmp_path / "runs" / "run" / "split.csv") if row["split"] == "val"]
    lines = (tmp_path / "points.csv").read_text().splitlines()
    at = (
        int(held[0].split(":")[1]) - 1
        if rows < 0
        else next(i for i in range(1, 9) if f"points.csv:{i + 1}" not in held)
    )
    cells = lines[at].split(",")
    cells[column] = f"{float(cells[column]) + 0.25:.4f}"
    (tmp_path / "points.csv").write_text("\n".join([*lines[:at], ",".join(cells), *lines[at + 1 :]]) + "\n")
    for verb in ("eval", "resume"):
        said = typed(verb, "runs/run", folder=tmp_path)
        assert (said.code, "hold other values" in said.err) == (2, True), said.err


def test_other_pictures_in_other_folders(tmp_path):
    run = copy(pictures_run(), tmp_path)
    coloured(tmp_path / "wrapped" / "inner", 4, seed=5)
    (tmp_path / "wrapped" / "inner" / "red").rename(tmp_path / "wrapped" / "inner" / "green2")
    said = typed("eval", run.name, "--data", "wrapped", folder=tmp_path)
    assert said.code == 2
    assert "`green2`" in said.err
    (tmp_path / "wrapped" / "inner" / "green2").rename(tmp_path / "wrapped" / "inner" / "red")
    got = json.loads(done("eval", run.name, "--data", "wrapped", "--json", folder=tmp_path))
    rows = table(run / "predictions-all-wrapped.csv")
    assert got["rows"] == len(rows) == 12
    done("predict", run.name, "wrapped", "--csv", "guess.csv", folder=tmp_path)
    guessed = {row["input"].removeprefix("wrapped/inner/"): row["predicted"] for row in table(tmp_path / "guess.csv")}
    assert {row["row"]: row["predicted"] for row in rows} == guessed


# --------------------------------------------------------------------------------------------------- report and compare


def test_a_report_can_be_written_anew(tmp_path):
    run = copy(numbers_run(), tmp_path)
    before = json.loads((run / "report.json").read_text())["report"]
    (run / "report.html").unlink()
    (run / "report.json").unlink()
    done("report", run.name, folder=tmp_path)
    after = json.loads((run / "report.json").read_text())["report"]
    moved = before.pop("next_commands"), after.pop("next_commands")  # they name the folder, which was copied
    assert moved[0] != moved[1]
    assert after == before
    assert (run / "report.html").read_text().startswith("<!")


def test_compare_shows_results_and_what_differs(tmp_path):
    run = copy(numbers_run(), tmp_path)
    data = json.loads((run / "recipe.json").read_text())["data"]["data"]
    done("train", "mlp", data, "--target", "y", "--epochs", "2", *QUICK, "--name", "short", folder=tmp_path)
    out = done("compare", "run", "runs/short", folder=tmp_path)
    for path in (run, tmp_path / "runs" / "short"):
        best = max(float(row["val_r2"]) for row in metrics(path))
        assert f"r2 {best:.4g}" in out
    settings = out.split("setting")[1]
    assert "epochs" in settings
    assert "optim" not in settings
    done(
        "train",
        "mlp",
        data,
        "--target",
        "y",
        "--epochs",
        "2",
        *QUICK,
        "--opt",
        "adam",
        "--name",
        "adam",
        folder=tmp_path,
    )
    settings = done("compare", "runs/short", "runs/adam", folder=tmp_path).split("setting")[1]
    assert re.search(r"optim: name +adamw +adam", settings), settings


# ------------------------------------------------------------------------------------------------------- several runs


def _closed_form(values: list[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)


@pytest.mark.parametrize(("flags", "names"), [("--folds 3", "fold-1 fold-2 fold-3"), ("--seeds 2", "seed-0 seed-1")])
def test_folds_and_seeds(tmp_path, flags, names):
    points(tmp_path / "points.csv")
    words = (
        "train",
        "mlp",
        "points.csv",
        "--target",
        "y",
        "--epochs",
        "5",
        "--lr",
        "0.3",
        "--sched",
        "constant",
        *QUICK,
    )
    done(*words, "--name", "several", *flags.split(), folder=tmp_path)
    parent = tmp_path / "runs" / "several"
    summary = json.loads((parent / "summary.json").read_text())
    assert list(summary["runs"]) == names.split()
    last = [metrics(parent / name)[-1] for name in names.split()]
    best = [best_row(parent / name, "r2") for name in names.split()]
    assert best != last, "this rate is too high for the last epoch to be the best of every run"
    for metric in ("r2", "mae", "sse"):
        assert [run["best"][metric] for run in summary["runs"].values()] == [
            float(row[f"val_{metric}"]) for row in best
        ]
        values = [float(row[f"val_{metric}"]) for row in last]
        mean, half = _closed_form(values)
        assert summary["summary"][metric]["mean"] == pytest.approx(mean, rel=1e-6)
        assert summary["summary"][metric]["half_width_95"] == pytest.approx(half, rel=1e-6)
    told = done("compare", "runs/several", folder=tmp_path)
    assert all(f"several/{name}" in told for name in names.split())
    refused = typed("report", "runs/several", folder=tmp_path)
    assert (refused.code, "seminal compare runs/several" in refused.err) == (2, True)
    splits = [table(parent / name / "split.csv") for name in names.split()]
    held = [{row["name"] for row in rows if row["split"] == "val"} for rows in splits]
    if "folds" in flags:
        assert sum(map(len, held)) == len(set.union(*held)) == 120, "each row validates in exactly one fold"
    else:
        assert held[0] == held[1]
        assert len({sha(parent / name / "last.safetensors") for name in names.split()}) == 2


# --------------------------------------------------------------------------------------------------- stopping early


def test_patience_stops_and_stays_stopped(tmp_path):
    points(tmp_path / "points.csv")
    words = ("train", "mlp", "points.csv", "--target", "y", "--epochs", "9", "--patience", "2", "--lr", "1e-15")
    out = done(*words, *QUICK, "--name", "run", folder=tmp_path)
    assert "no progress for 2 epochs" in out
    run = tmp_path / "runs" / "run"
    assert [row["epoch"] for row in metrics(run)] == ["1", "2", "3"]
    before = {name: mark for name, mark in contents(run).items() if name.endswith((".safetensors", ".csv"))}
    done("resume", run, folder=tmp_path)
    assert {name: mark for name, mark in contents(run).items() if name in before} == before


def _board(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize("stopped_after", [None, 6, 9])
def test_tensorboard_reads_what_metrics_csv_holds(tmp_path, monkeypatch, stopped_after):
    """Also of a run that was stopped at the end of its first epoch (6 steps) or within its second."""
    points(tmp_path / "points.csv")
    asked = iter(range(1, 1000))
    monkeypatch.setattr(training, "_anyone", lambda _: next(asked) == stopped_after)
    words = ("train", "mlp", "points.csv", "--target", "y", "--epochs", "3", "--tensorboard", *QUICK, "--name", "run")
    said = typed(*words, folder=tmp_path)
    run = tmp_path / "runs" / "run"
    assert said.code == (130 if stopped_after else 0)
    if stopped_after:
        done("resume", run, folder=tmp_path)
    board, rows = _board(run), metrics(run)
    assert len(rows) == 3
    assert {"train/loss", "val/loss", "val/r2", "lr"} <= set(board)
    for tag, points_of in board.items():
        name = tag.replace("/", "_", 1) if tag.startswith(("train/", "val/")) else tag.replace("/", "_")
        if name in ("seconds", "rows_per_s"):
            continue
        assert [step for step, _ in points_of] == [int(row["step"]) for row in rows], tag
        assert [value for _, value in points_of] == pytest.approx([float(row[name]) for row in rows], rel=1e-5), tag


# ------------------------------------------------------------------------------------------- stopped and gone on with


def test_ctrl_c_saves_says_how_to_go_on_and_the_end_is_the_same(tmp_path):
    straight = digits_run()
    with subprocess.Popen(
        [*SEMINAL, *DIGITS, "--name", "stopped"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        out = ""
        for line in process.stdout or ():
            out += line
            if line.startswith("epoch 1/3"):
                process.send_signal(signal.SIGINT)
        err = process.stderr.read() if process.stderr else ""
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err
    command = next(line for line in out.splitlines() if line.startswith("next")).removeprefix("next").strip()
    assert command == "seminal resume runs/stopped"
    said = real(*shlex.split(command)[1:], folder=tmp_path)
    assert said.code == 0, said
    assert "after step" in said.out
    run = tmp_path / "runs" / "stopped"
    for name in ("last.safetensors", "best.safetensors"):
        assert sha(run / name) == sha(straight / name), name
    assert same_metrics(run, straight)


def test_a_run_stopped_before_its_first_checkpoint_begins_again(tmp_path):
    """All that was written then is what the run is; `seminal resume` does the rest."""
    whole = numbers_run()
    run = copy(whole, tmp_path)
    kept = {"recipe.json", "reader.json", "labels.json", "env.json", "command.txt", "split.csv"}
    for path in run.iterdir():
        if path.name not in kept:
            path.unlink()
    (run / ".best.safetensors.part").write_bytes(b"half")
    out = done("train", "--resume", run, folder=tmp_path)
    assert "after step 0" in out
    assert same_metrics(run, whole)
    assert sha(run / "last.safetensors") == sha(whole / "last.safetensors")
    assert {path.name for path in run.iterdir()} == FILES


def test_a_run_that_is_being_trained_is_not_resumed_beside_it(tmp_path):
    points(tmp_path / "points.csv")
    words = (
        "train",
        "mlp",
        "points.csv",
        "--target",
        "y",
        "--epochs",
        "100000",
        "--name",
        "long",
        "--patience",
        "100000",
    )
    run = tmp_path / "runs" / "long"
    with subprocess.Popen([*SEMINAL, *words], cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL) as training:
        try:
            while not (run / "metrics.csv").exists():
                assert training.poll() is None
                time.sleep(0.05)
            said = typed("resume", run, folder=tmp_path)
            assert said.code == 2, said
            assert "is being trained by another process" in " ".join(said.err.split())
            time.sleep(0.2)
            assert training.poll() is None, "it goes on as if nothing had been"
        finally:
            training.send_signal(signal.SIGINT)
            assert training.wait(60) == 130
    words = ("train", "mlp", "points.csv", "--target", "y", "--epochs", "2", "--name", "short")
    done(*words, folder=tmp_path)
    assert not list((tmp_path / "runs" / "short").glob(".*")), "nothing is left behind"


def test_resume_without_a_name_takes_the_newest_run(tmp_path):
    points(tmp_path / "points.csv")
    for name, age in (("new", 0), ("old", 1000)):
        words = ("train", "linear", "points.csv", "--target", "y", "--epochs", "1", *QUICK, "--name", name)
        done(*words, folder=tmp_path)
        plan = tmp_path / "runs" / name / "recipe.json"
        os.utime(plan, (plan.stat().st_mtime - age,) * 2)
    assert "runs/new was trained to its end" in done("train", "--resume", folder=tmp_path)


def test_nothing_is_written_over(tmp_path):
    words = ("train", "logistic", "iris", "--epochs", "1", *QUICK, "--name", "run")
    done(*words, folder=tmp_path)
    before = contents(tmp_path)
    said = typed(*words, folder=tmp_path)
    assert said.code == 2
    assert "nothing is written over" in said.err
    assert contents(tmp_path) == before


# --------------------------------------------------------------------------------------------- nothing from disk is run


class Bomb:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    "value",
    [
        {"is": "os.system", "command": "touch fired"},
        {"is": "builtins.eval", "source": "open('fired', 'w')"},
        {"is": "seminal.runs.plan.Plan.__init__"},
        {"is": "seminal.runs.judging.Path", "args": "fired"},
        {"is": "seminal..os.system"},
        {"is": "seminal.core.Recipe"},
        {"is": ["seminal.core.Recipe"]},
        {"is": "seminal.runs.asks.DataAsk", "data": "digits", "unheard": 1},
        ["no", "plan"],
        "touch fired",
        None,
    ],
    ids=str,
)
@pytest.mark.parametrize("verb", ["resume", "eval"])
def test_a_recipe_that_names_a_foreign_class_is_refused(tmp_path, value, verb):
    run = copy(numbers_run(), tmp_path)
    whole = json.loads((run / "recipe.json").read_text())
    for damaged in (value, whole | {"recipe": value}):
        (run / "recipe.json").write_text(json.dumps(damaged))
        said = typed(verb, run.name, folder=tmp_path)
        assert said.code == 2
        assert len(said.err.strip().splitlines()) == 1, said.err
        assert not (tmp_path / "fired").exists()


@pytest.mark.parametrize(
    ("file", "verb"), [("last.state", "resume"), ("best.safetensors", "eval"), ("last.state", "compare")]
)
def test_a_pickle_in_place_of_tensors_is_refused(tmp_path, file, verb):
    run = copy(numbers_run(), tmp_path)
    fired = tmp_path / "fired"
    pickle.loads(pickle.dumps(Bomb(fired)))
    assert fired.exists(), "the bomb must be one"
    for write in (
        lambda: torch.save(Bomb(fired), run / file),
        lambda: (run / file).write_bytes(pickle.dumps(Bomb(fired))),
    ):
        fired.unlink(missing_ok=True)
        write()
        said = typed(verb, run.name, folder=tmp_path)
        assert said.code == 2
        assert "damaged" in said.err
        assert not fired.exists()


def test_the_best_of_the_lines_is_the_best_that_was_kept(tmp_path):
    """Of epochs with the same accuracy, the one with the lower loss."""
    said = done("train", "mlp", "iris", "--name", "run", "--epochs", 40, "--split-seed", 3, folder=tmp_path)
    kept = best_row(tmp_path / "runs" / "run", "top1")
    last = next(line for line in said.splitlines() if line.startswith("epoch 40/"))
    assert f"(epoch {kept['epoch']})" in last
    same = [row["epoch"] for row in metrics(tmp_path / "runs" / "run") if row["val_top1"] == kept["val_top1"]]
    assert same[0] != kept["epoch"], "here the first must not be the best"
