"""The program as a user meets it: typed words in this process, real processes where it matters, and runs to look at.

Runs that several tests only read are trained once; a test that changes one takes a `copy`.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from pictures_on_disk import save
from seminal.cli import main

SEMINAL = [sys.executable, "-m", "seminal"]
DIGITS = ["train", "resnet20", "digits", "--epochs", "3", "--precision", "fp32"]
FILES = {  # of a finished run
    *("best.safetensors", "command.txt", "env.json", "labels.json", "last.safetensors", "last.state", "log.txt"),
    *("metrics.csv", "reader.json", "recipe.json", "report.html", "report.json", "split.csv"),
}
QUICK = ("--precision", "fp32")
UNTIMED = ("seconds", "rows_per_s")  # columns of metrics.csv that hold times


@dataclass(frozen=True)
class Said:
    """What came of a command."""

    code: int
    out: str
    err: str


def typed(*words: object, folder: Path) -> Said:
    """The command in this process, from ``folder``."""
    out, err, arguments = io.StringIO(), io.StringIO(), [str(word) for word in words]
    with (
        chdir(folder),
        redirect_stdout(out),
        redirect_stderr(err),
        mock.patch.object(sys, "argv", ["seminal", *arguments]),
    ):
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


def done(*words: object, folder: Path) -> str:
    """The output of a command that must succeed."""
    said = typed(*words, folder=folder)
    assert said.code == 0, said
    return said.out


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", **more}


def real(*words: object, folder: Path, seconds: float = 300) -> Said:
    """The command in a process of its own."""
    command = [*SEMINAL, *map(str, words)]
    ended = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False, env=environment()
    )
    return Said(ended.returncode, ended.stdout, ended.stderr)


def copy(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to / run.name))


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder and what it holds, as a fingerprint."""
    return {str(path.relative_to(folder)): sha(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def metrics(run: Path, *, without: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """The rows of metrics.csv, as text."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in without} for row in csv.DictReader(file)]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def best_row(run: Path, goal: str) -> dict[str, str]:
    """The epoch with the best metric; of equal ones, the one with the smallest loss."""
    return max(metrics(run), key=lambda row: (float(row[f"val_{goal}"]), -float(row["val_loss"])))


# ------------------------------------------------------------------------------------------------------- data and runs


def _pixels(colour: int, rng: np.random.Generator) -> np.ndarray:
    pixels = rng.integers(0, 60, (16, 16, 3)).astype(np.uint8)
    pixels[..., colour] += 120
    return pixels


def coloured(root: Path, count: int, seed: int = 0) -> Path:
    """Class folders of reddish, greenish and bluish noise."""
    rng = np.random.default_rng(seed)
    for colour, name in enumerate(("red", "green", "blue")):
        for i in range(count):
            save(root / name / f"{i:02}.png", _pixels(colour, rng))
    return root


def points(path: Path, rows: int = 120, seed: int = 0) -> Path:
    """A table in which `y` is a plain function of the other columns, and `label` says whether it is large."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["a", "b", "kind", "y", "label"])
        for i in range(rows):
            a, b = rng.normal(size=2).round(4)
            y = 3 * a - b + 5 * (i % 2) + 100
            writer.writerow([a, b, "uv"[i % 2], round(y, 4), "high" if y > 102 else "low"])
    return path


@functools.cache
def _room() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    kept = tempfile.TemporaryDirectory(prefix="seminal-tests-", ignore_cleanup_errors=True)
    return kept, Path(kept.name)


def room(name: str) -> Path:
    """A folder that lives as long as the tests run."""
    path = _room()[1] / name
    path.mkdir()
    return path


@functools.cache
def digits_run() -> Path:
    """A ResNet-20 on the digits, trained without interruption by a process of its own."""
    folder = room("digits")
    said = real(*DIGITS, "--name", "straight", folder=folder)
    assert said.code == 0, said
    return folder / "runs" / "straight"


@functools.cache
def pictures_run() -> Path:
    """The same network on folders of pictures that hold a split."""
    folder = room("pictures")
    coloured(folder / "set" / "train", 12)
    coloured(folder / "set" / "val", 5, seed=1)
    done("train", "resnet20", "set", "--epochs", "2", "--precision", "fp32", "--name", "run", folder=folder)
    return folder / "runs" / "run"


@functools.cache
def numbers_run() -> Path:
    """A network of two layers on a table, predicting a number."""
    folder = room("numbers")
    table = points(folder / "points.csv")
    words = ("train", "mlp", table.name, "--target", "y", "--epochs", "12", "--precision", "fp32", "--name", "run")
    done(*words, folder=folder)
    return folder / "runs" / "run"


def same_metrics(a: Path, b: Path) -> bool:
    return metrics(a, without=UNTIMED) == metrics(b, without=UNTIMED)
