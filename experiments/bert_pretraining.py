"""What pre-training is worth, and each part of it: small BERTs learn from a few megabytes of plain text, and are then
fine-tuned on labelled texts, over several seeds, beside the same network without pre-training, and beside those that
the paper compares itself with.

    python experiments/bert_pretraining.py --text wikitext2 shakespeare --labelled sst2 mrpc
    python experiments/bert_pretraining.py --labelled mrpc

Every folder of plain text is read whole; the help that Python carries with it (``pydoc_data.topics``) is added. Without
such folders the training texts of the tasks are all that is read before, and their labels are not: a quarter of an hour
for each pre-training instead of an hour. The rows of the table are those of Devlin et al. 2018, Tables 5, 7 and 8, as far
as a small machine allows. Runs that are there already (``--runs``) are gone on with.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # what the benchmarks share
from keeping import Cells, command, place
from measuring import arguments, machine, mean95, silent
from seminal.core import Order
from seminal.data.labelled_columns import columns_of
from seminal.data.labelled_table import text_table
from seminal.data.lines import lines
from seminal.report.terminal import table
from seminal.runs import training
from seminal.runs.agreement import of_two_classes
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.making import Maker
from seminal.runs.plan import best_model, plan_of, source_of
from seminal.train.evaluate import scored

UNFIT = "[],'"  # for the name of a folder
SPEECHES = 50  # of a play without scenes make one document


@dataclass(frozen=True)
class Learner:
    """A line of the table."""

    name: str
    before: str | None  # the variant that is pre-trained; None: nothing is
    variant: str  # the variant that is fine-tuned
    freeze: bool = False
    task: bool = False  # the training texts of the tasks, without their labels, are pre-trained on too


LEARNERS = (
    Learner("BERT", "bert", "bert"),
    Learner("no pre-training", None, "bert"),
    Learner("features of BERT (frozen), BiLSTM", "bert", "bert-features", freeze=True),
    Learner("no next sentence", "bert-no-nsp", "bert-no-nsp"),
    Learner("no next sentence, tasks' texts read too", "bert-no-nsp", "bert-no-nsp", task=True),
    Learner("left to right", "bert-ltr", "bert-ltr"),
    Learner("left to right + BiLSTM", "bert-ltr", "bert-ltr-bilstm"),
    Learner("always [MASK]", "bert-always-mask", "bert-always-mask"),
    Learner("smaller (tiny)", "bert-tiny", "bert-tiny"),
    Learner("larger (mini)", "bert-mini", "bert-mini"),
    Learner("larger (mini), no pre-training", None, "bert-mini"),
    Learner("GPT", "gpt", "gpt"),  # of the same layers and width, as the recipes have it
    Learner("ELMo (frozen), BiLSTM", "elmo", "elmo", freeze=True),
)
# Most pairs are paraphrases: whoever always says so is right, and knows nothing. Matthews' correlation sees it.
METRICS = ("top1", "matthews", "f1", "loss")


def corpus(learner: Learner, asked: argparse.Namespace) -> Path:
    """All plain text in one file: documents with an empty line between them. What is held out comes from its end, so the
    tasks' texts stand first, and are learned from."""
    alone = not asked.text
    path: Path = asked.runs / ("tasks.txt" if alone else "corpus-and-tasks.txt" if learner.task else "corpus.txt")
    if not path.exists():
        documents = (
            [row for folder in asked.labelled for row in training_texts(folder)] if learner.task or alone else []
        )
        documents += [document for folder in asked.text for file in texts_in(folder) for document in documents_of(file)]
        help_texts = () if alone else topics.values()
        documents += [[line for line in text.splitlines() if line.strip()] for text in help_texts]
        documents = documents[::10] if asked.quick else documents
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n\n".join("\n".join(document) for document in documents if document) + "\n", encoding="utf-8")
    return path


def training_texts(folder: Path) -> list[list[str]]:
    """Those of a labelled set, each row a document; its labels are not read."""
    (file,) = (file for file in sorted(folder.iterdir()) if "train" in file.name)
    records = text_table(file)
    columns = columns_of(records, None, None)
    return [[cells[place].strip() for place in columns.texts] for cells in records.records[columns.header :]]


def texts_in(folder: Path) -> Iterator[Path]:
    """The files of plain text in a folder."""
    for file in sorted(folder.iterdir()):
        if any(ending in file.suffixes for ending in (".txt", ".tokens")):
            yield file


def documents_of(file: Path) -> list[list[str]]:
    """WikiText's articles begin with a heading of one sign; other text has none, and so many of its parts make a document."""
    found: list[list[str]] = [[]]
    gaps = 0
    for line in lines(file):
        text = line.strip()
        gaps += not text
        heading = text.startswith("= ") and not text.startswith("= =")
        if heading or gaps >= SPEECHES:
            found.append([])
            gaps = 0
        if text:
            found[-1].append(text.strip("= "))
            gaps = 0 if text.startswith("= ") else gaps
    return found


# ------------------------------------------------------------------------------------------------------------ the runs


def learned(variant: str, data: Path, name: str, ask: RecipeAsk, asked: argparse.Namespace) -> RunFolder:
    """The run of `seminal train`, from its first weights to its end."""
    path = asked.runs / name
    if (path / "report.html").exists():
        return RunFolder.existing(path)
    with silent():
        if (path / "recipe.json").exists():
            code = training.resume(str(path))
        else:
            run = RunAsk(output=str(asked.runs), name=name, device=asked.device)
            plan, source = Maker(variant, DataAsk(str(data), max_length=None), ask, run).plan()
            code = training.carry_on(training.begin(plan, source, device_for(asked.device)))
    if code:
        raise SystemExit(code)
    return RunFolder.existing(path)


def pre_trained(learner: Learner, variant: str, asked: argparse.Namespace) -> RunFolder:
    """On the corpus."""
    ask = RecipeAsk(epochs=1 if asked.quick else asked.epochs)
    name = f"before-{variant}{'-and-tasks' if learner.task else ''}"
    return learned(variant, corpus(learner, asked), name, ask, asked)


def measured(cell: dict[str, Any], asked: argparse.Namespace) -> dict[str, Any]:
    """A fine-tuning, and its scores on the test set."""
    learner = next(each for each in LEARNERS if each.name == cell["learner"])
    before = pre_trained(learner, learner.before, asked) if learner.before else None
    data = next(path for path in asked.labelled if path.name == cell["data"])
    ask = RecipeAsk(
        seed=cell["seed"],
        start=str(before.path) if before else None,
        freeze=learner.freeze,
        epochs=1 if asked.quick else None,
    )
    name = f"{''.join(c for c in learner.name.replace(' ', '-') if c not in UNFIT)}-{data.name}-{cell['seed']}"
    folder = learned(learner.variant, data, name, ask, asked)
    plan, device = plan_of(folder), device_for(asked.device)
    source = source_of(folder, plan, device)
    model, recipe = best_model(folder, plan, device), plan.recipe
    split = next(split for split in source.spec.counts if split.startswith("test"))
    sums = scored(model, source, recipe, Order(split, recipe.batch, scaling=recipe.scaling))
    metrics = recipe.task.summary(sums) | of_two_classes(sums)
    diary = folder.read_tensors("last.state")[1]["diary"]
    return cell | {
        **{name: metrics[name] for name in METRICS},
        "val_top1": diary["best"]["top1"],
        "epochs": len(diary["rows"]),
        "seconds": diary["seconds"],
        "settings": repr(recipe.model),
        "rows": dict(source.spec.counts),
        "pre_training": told_of(before) if before else None,
    }


# ----------------------------------------------------------------------------------------------------------- the table


def show(cells: Sequence[dict[str, Any]], data: Sequence[str]) -> None:
    """Mean and 95 % interval over the seeds, of the accuracy and of Matthews' correlation."""
    rows = []
    for learner in LEARNERS:
        mine = [[cell for cell in cells if (cell["learner"], cell["data"]) == (learner.name, d)] for d in data]
        if any(mine):
            rows.append(
                [learner.name, *(told([c[name] for c in some]) for some in mine for name in ("top1", "matthews"))]
            )
    table(["100 ×", *(f"{d}, {name}" for d in data for name in ("accuracy", "Matthews"))], rows)


def told(values: Sequence[float]) -> str:
    """``81.2 ± 0.4 (5)``."""
    if not values:
        return ""
    found = mean95(values)
    half = "" if found["half_width_95"] is None else f" ± {100 * found['half_width_95']:.1f}"
    return f"{100 * found['mean']:.1f}{half} ({len(values)})"


def told_of(folder: RunFolder) -> dict[str, Any]:
    """What a pre-training came to."""
    diary = folder.read_tensors("last.state")[1]["diary"]
    steps = {"epochs": len(diary["rows"]), "steps": diary["rows"][-1]["step"], "seconds": diary["seconds"]}
    return steps | {"best": diary["best"]}


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--text",
        type=Path,
        nargs="*",
        default=[],
        help="folders of plain text (default: the tasks' training texts alone)",
    )
    parser.add_argument(
        "--labelled", type=Path, nargs="+", required=True, help="folders of labelled text, with a test set"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/bert_pretraining"), help="where the runs go")
    parser.add_argument("--only", nargs="*", help="these learners (names of the table)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="of the pre-training (default: the recipe's)")
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")


def run() -> None:
    """All cells, learner by learner; the JSON is written after each, and the same command goes on with those missing."""
    asked = arguments("What pre-training is worth.", _flags)
    if asked.quick:
        asked.seeds, asked.only = 1, asked.only or [LEARNERS[0].name, LEARNERS[1].name]
    wanted = [
        each.name
        for each in LEARNERS
        if (not asked.only or each.name in asked.only) and (asked.text or not each.task)  # or they are two of one name
    ]
    data, names = [path.name for path in asked.labelled], ("learner", "data", "seed")
    settings = {"text": [path.name for path in asked.text], "epochs": asked.epochs}
    kept = Cells(place("bert_pretraining", asked), command("bert_pretraining"), machine(), settings, names)
    if not asked.quick:
        kept.go_on()
    keys = [(learner, which, seed) for learner in wanted for which in data for seed in range(asked.seeds)]
    for cell in kept.missing([dict(zip(names, key)) for key in keys]):
        found = measured(cell, asked)
        kept.add(found)
        print(f"{cell['learner']}, {cell['data']}, seed {cell['seed']}: {found['top1']:.2%}", flush=True)
    show(kept.cells, data)
    print(f"written  {kept.path}")


if __name__ == "__main__":
    run()
