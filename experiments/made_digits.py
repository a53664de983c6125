"""Digits that generators make: `gan`, `dcgan`, `cgan` and `vae` with their default recipes on small grey digits, over several
seeds; a classifier trained on the same pictures judges what they make.

    python experiments/made_digits.py --data MNIST_FOLDER

The folder holds IDX files (``t10k-images-idx3-ubyte.gz`` …). Of the variational autoencoder the table has the bound on
rows it has not seen, and how well it finds a digit that was left out of its training (area under the curve), each digit
in turn. The runs stay in ``--runs``: their reports hold the pictures.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # what the benchmarks share
from keeping import Cells, command, place
from measuring import arguments, machine
from seminal.cli import main
from seminal.report.terminal import table
from seminal.runs.folder import RunFolder
from seminal.runs.scoring import ScoreAsk, worth

MODELS = ("dcgan", "cgan", "gan", "vae")
JUDGE = "resnet20"
TRAIN = 8000  # of the digits; the others are left for the search of a digit that was never seen
SHOWN = ("confident", "classes", "asked_class", "precision", "recall", "feature_distance")


def trained(words: Sequence[str], name: str, asked: argparse.Namespace) -> RunFolder:
    """The run of one command line, from its first weights to its end; an interrupted one is gone on with."""
    path = asked.runs / name
    if not (path / "report.html").exists():
        begun = (path / "recipe.json").exists()
        rest = ["--resume", str(path)] if begun else [*words, "--output", str(asked.runs), "--name", name]
        quick = ["--epochs", "1"] if asked.quick and not begun else []
        code = main(["train", *rest, *quick])
        if code:
            raise SystemExit(code)
    return RunFolder.existing(path)


def measured(cell: dict[str, Any], asked: argparse.Namespace) -> dict[str, Any]:
    """One run and its scores."""
    variant, seed, unseen = cell["model"], cell["seed"], cell["unseen"]
    data = str(asked.data) if unseen is None else str(without(unseen, asked) / "known")
    name = f"{variant}-{seed}" if unseen is None else f"{variant}-{seed}-without-{unseen}"
    folder = trained([variant, data, "--seed", str(seed)], name, asked)
    if unseen is None:
        found = worth(ScoreAsk(str(folder.path), judge=str(asked.runs / JUDGE), n=asked.made)).numbers
    else:
        both = str(without(unseen, asked) / "both")
        found = worth(ScoreAsk(str(folder.path), data=both, unusual=str(unseen), n=100)).numbers
    diary = folder.read_tensors("last.state")[1]["diary"]
    return cell | {"seconds": diary["seconds"], "best": diary["best"], **found}


# -------------------------------------------------------------------------------------------------- a digit left out


def without(digit: int, asked: argparse.Namespace) -> Path:
    """A folder with two sets: ``known``, the first digits but for one class, and ``both``, the others of all classes."""
    folder: Path = asked.runs / f"data-without-{digit}"
    if not folder.exists():
        pictures, labels = (idx(asked.data, kind) for kind in ("images-idx3", "labels-idx1"))
        first = np.arange(len(labels)) < min(TRAIN, int(0.8 * len(labels)))
        for name, rows in (("known", first & (labels != digit)), ("both", ~first)):
            (folder / name).mkdir(parents=True)
            write_idx(folder / name / "train-images-idx3-ubyte.gz", pictures[rows])
            write_idx(folder / name / "train-labels-idx1-ubyte.gz", labels[rows])
    return folder


def idx(folder: Path, kind: str) -> np.ndarray:
    """The numbers of a file: after the magic number and the dimensions, of four bytes each."""
    raw = gzip.decompress(next(folder.glob(f"*{kind}-ubyte.gz")).read_bytes())
    shape = struct.unpack(f">{raw[3]}I", raw[4 : 4 + 4 * raw[3]])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def write_idx(path: Path, values: np.ndarray) -> None:
    """The other way."""
    head = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(head + values.astype(np.uint8).tobytes()))


# ---------------------------------------------------------------------------------------------------------- the table


def show(cells: Sequence[dict[str, Any]]) -> None:
    """Means over the seeds."""
    lines = []
    for model in MODELS:
        mine = [cell for cell in cells if cell["model"] == model and cell["unseen"] is None]
        if mine:
            lines.append([model, *(told(mine, name) for name in SHOWN), told(mine, "seconds"), str(len(mine))])
    table(["model", *(name.replace("_", " ") for name in SHOWN), "training s", "seeds"], lines)
    bounds = [cell["best"]["bound"] for cell in cells if cell["model"] == "vae" and cell["unseen"] is None]
    if bounds:
        print(
            f"vae: bound {statistics.mean(bounds):.1f} nats ({min(bounds):.1f} … {max(bounds):.1f}, {len(bounds)} seeds)"
        )
    for digit in sorted({cell["unseen"] for cell in cells if cell["unseen"] is not None}):
        print(f"vae, {digit} left out: AUC {told([cell for cell in cells if cell['unseen'] == digit], 'anomaly_auc')}")


def told(cells: Sequence[dict[str, Any]], name: str) -> str:
    """``0.931 (0.92–0.94)``; nothing where the model has no such number."""
    values = [cell[name] for cell in cells if name in cell]
    return f"{statistics.mean(values):.3g} ({min(values):.3g}–{max(values):.3g})" if values else ""


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder with IDX files of grey digits")
    parser.add_argument("--runs", type=Path, default=Path("runs/made_digits"), help="where the runs go")
    parser.add_argument("--only", nargs="*", default=MODELS, help="these models")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--digits", type=int, nargs="*", default=tuple(range(10)), help="left out in turn")
    parser.add_argument("--made", type=int, default=1000, help="pictures that are judged")


def run() -> None:
    """All runs, one after the other; the JSON is written after each, and the same command goes on with those missing."""
    asked = arguments("Digits that generators make.", _flags)
    if asked.quick:
        asked.seeds, asked.digits, asked.made = 1, (0,), 100
    asked.runs.mkdir(parents=True, exist_ok=True)
    names = ("model", "seed", "unseen")
    kept = Cells(place("made_digits", asked), command("made_digits"), machine(), {"made": asked.made}, names)
    if not asked.quick:
        kept.go_on()
    trained([JUDGE, str(asked.data)], JUDGE, asked)
    wanted = [(model, seed, None) for seed in range(asked.seeds) for model in asked.only]
    if "vae" in asked.only:
        wanted += [("vae", seed, digit) for seed in range(asked.seeds) for digit in asked.digits]
    for cell in kept.missing([dict(zip(names, key)) for key in wanted]):
        kept.add(measured(cell, asked))
        print({name: value for name, value in kept.cells[-1].items() if name != "best"}, flush=True)
    show(kept.cells)
    print(f"written  {kept.path}")


if __name__ == "__main__":
    run()
