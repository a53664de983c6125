"""Where labels are few: a small BERT that has read the texts without their labels, and the same network without
pre-training, are fine-tuned on some hundreds of the labelled rows.

    python experiments/bert_labels.py --labelled mrpc --labels 200 600 1800

A seed draws the rows as well. What is learned before is what `experiments/bert_pretraining.py` learns, from all training
texts of the task; runs of it that are there already (``--runs``) serve here too. Files with a row on each line are read.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # what the benchmarks share
import bert_pretraining
from bert_pretraining import LEARNERS, told
from keeping import Cells, command, place
from measuring import arguments, machine
from seminal.data.labelled_columns import columns_of
from seminal.data.labelled_table import text_table
from seminal.report.terminal import table

COMPARED = LEARNERS[:3]  # pre-trained and fine-tuned, not pre-trained, frozen features


def drawn(whole: Path, labels: int, seed: int, folder: Path) -> Path:
    """A copy of a labelled set in which only ``labels`` of the training rows are left."""
    found = folder / f"{whole.name}-{labels}"
    shutil.rmtree(found, ignore_errors=True)
    found.mkdir(parents=True)
    for file in sorted(whole.iterdir()):
        if "train" not in file.name:
            shutil.copy(file, found / file.name)
            continue
        records = text_table(file)
        lines = file.read_text(encoding="utf-8-sig").splitlines(keepends=True)
        rows = records.numbers[columns_of(records, None, None).header :]
        kept = sorted(random.Random(seed).sample(rows, min(labels, len(rows))))
        head = lines[: rows[0] - 1]
        (found / file.name).write_text("".join([*head, *(lines[n - 1] for n in kept)]), encoding="utf-8")
    return found


def measured(cell: dict[str, Any], asked: argparse.Namespace) -> dict[str, Any]:
    """A fine-tuning on the rows drawn, and its scores on the whole test set."""
    whole = next(path for path in asked.labelled if path.name == cell["data"])
    for learner in COMPARED:
        bert_pretraining.corpus(learner, asked)  # of all rows, before only some of them are looked at
    some = drawn(whole, cell["labels"], cell["seed"], asked.runs / "drawn" / str(cell["seed"]))
    few = argparse.Namespace(**vars(asked) | {"labelled": [some]})
    found = bert_pretraining.measured({**cell, "data": some.name}, few)
    return found | {"data": cell["data"]}


def show(cells: Sequence[dict[str, Any]], data: Sequence[str]) -> None:
    """Accuracy and Matthews' correlation, mean and 95 % interval over the seeds, by the number of labels."""
    sizes = sorted({cell["labels"] for cell in cells})
    for which in data:
        for metric in ("top1", "matthews"):
            rows = []
            for learner in COMPARED:
                mine = [c for c in cells if (c["learner"], c["data"]) == (learner.name, which)]
                rows.append([learner.name, *(told([c[metric] for c in mine if c["labels"] == n]) for n in sizes)])
            table([f"{which}, 100 × {metric}", *(f"{n:,} labels" for n in sizes)], rows)


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--labelled", type=Path, nargs="+", required=True, help="folders of labelled text with a test set"
    )
    parser.add_argument("--labels", type=int, nargs="+", default=[200, 600, 1800], help="training rows")
    parser.add_argument("--runs", type=Path, default=Path("runs/bert_pretraining"), help="where the runs go")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of the pre-training (default: the recipe's)")
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")


def run() -> None:
    """All cells; the JSON is written after each, and the same command goes on with those missing."""
    asked = arguments("What pre-training is worth where labels are few.", _flags)
    asked.text = []
    if asked.quick:
        asked.seeds, asked.labels = 1, asked.labels[:1]
    data, names = [path.name for path in asked.labelled], ("learner", "data", "labels", "seed")
    kept = Cells(place("bert_labels", asked), command("bert_labels"), machine(), {"epochs": asked.epochs}, names)
    if not asked.quick:
        kept.go_on()
    keys = [
        (learner.name, which, labels, seed)
        for seed in range(asked.seeds)
        for which in data
        for labels in asked.labels
        for learner in COMPARED
    ]
    for cell in kept.missing([dict(zip(names, key)) for key in keys]):
        found = measured(cell, asked)
        kept.add(found)
        who = f"{cell['learner']}, {cell['data']}, {cell['labels']} labels, seed {cell['seed']}"
        print(f"{who}: {found['top1']:.2%}, Matthews {found['matthews']:.3f}", flush=True)
    show(kept.cells, data)
    print(f"written  {kept.path}")


if __name__ == "__main__":
    run()
