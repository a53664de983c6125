"""Short runs of the package's own models and recipes on made data, watched as anybody's loop would be.

Nothing in a recipe is changed, but that it is stopped after some steps: warm-ups, large rates and batches of one row are
as their papers have them. The data are the smallest of their form that the model takes, and are read as `seminal train`
reads them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from pictures import make_folder
from seminal.core import Paper, Recipe, Source, Step, UserError
from seminal.doctor.watching import watch
from seminal.pieces.measure import parameters
from seminal.runs.asks import DataAsk
from seminal.runs.shelf import papers, reading_of, recipe_by_name, recipe_names
from seminal.runs.sources import open_source
from seminal.train.loop import train
from seminal.train.nonfinite import NonFiniteError
from seminal.train.state import State
from sentences import make_pairs

PICTURES, SENTENCES, PAIRS = 64, 400, 64  # to train on; a quarter of it more is held out
SIDES = (32, 64, 96, 128, 224, 299)  # of pictures; the first that the network takes
TABLES = ("iris", "diabetes")  # classes and a number


@dataclass(frozen=True)
class OwnRun:
    """A model of ours and one of its recipes."""

    paper: str
    variant: str
    recipe: str

    @property
    def name(self) -> str:
        return f"{self.variant} {self.recipe}"


def own_runs(every: bool) -> Iterator[OwnRun]:
    """Every recipe of the first model of each paper's table and of its smallest one, or of every model."""
    for file, paper in papers().items():
        names = list(paper.variants)
        if not every:
            names = list(dict.fromkeys([names[0], min(names, key=lambda name: _size(paper, name))]))
        yield from (OwnRun(file, variant, recipe) for variant in names for recipe in recipe_names(file))


def _size(paper: Paper, variant: str) -> int:
    with torch.device("meta"):
        return parameters(paper.build(paper.variants[variant]))


# ---------------------------------------------------------------------------------------------------------------- the data


def made_data(folder: Path) -> None:
    """One of each form on disk, the same every time."""
    make_folder(folder / "pictures", train=PICTURES, val=PICTURES // 4, low=64, high=96)
    make_pairs(folder / "pairs", train=PAIRS, val=PAIRS // 4)
    make_pairs(folder / "sentences", train=SENTENCES, val=SENTENCES // 4)
    for form in ("stream", "labelled", "documents"):
        (folder / form).mkdir()
    for split in ("train", "val"):
        lines = (folder / "sentences" / f"{split}.en").read_text(encoding="utf-8").splitlines()
        usual = median(len(line.split()) for line in lines)
        rows = [f"{line}\t{'long' if len(line.split()) > usual else 'short'}\n" for line in lines]
        (folder / "labelled" / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
        text = "".join(f"{line}\n" for line in lines[: len(lines) // 3])
        (folder / "stream" / f"{split}.txt").write_text(text, encoding="utf-8")
        documents = ("\n".join(lines[first : first + 10]) for first in range(0, len(lines), 10))
        (folder / "documents" / f"{split}.txt").write_text("\n\n".join(documents), encoding="utf-8")


def source_for(run: OwnRun, folder: Path) -> Source:
    """The first data that suit the model."""
    config = papers()[run.paper].variants[run.variant]
    for ask in _asks(run, folder):
        source = open_source(ask, run.paper, run.variant, "cpu")
        try:
            config.fitted(source.spec)
        except UserError:
            continue
        return source
    raise AssertionError(f"no made data suit {run.variant}")


def _asks(run: OwnRun, folder: Path) -> Iterator[DataAsk]:
    reading = reading_of(run.paper, run.variant)
    if reading is not None:
        pairs = reading.form == "pairs"
        yield DataAsk(str(folder / reading.form), source="en" if pairs else None, target="de" if pairs else None)
        return
    yield from (DataAsk(name) for name in TABLES)
    yield from (DataAsk(str(folder / "pictures"), size=side) for side in SIDES)


# ----------------------------------------------------------------------------------------------------------------- the run


@dataclass(frozen=True)
class _Begun:
    """A run before its first step."""

    source: Source
    recipe: Recipe
    model: nn.Module
    state: State


def _begun(run: OwnRun, folder: Path, rate: float = 1.0) -> _Begun:
    """``rate``: times that of the recipe."""
    torch.manual_seed(0)
    source = source_for(run, folder)
    recipe = recipe_by_name(run.paper, run.variant, source.spec, run.recipe)
    recipe = replace(recipe, lr=recipe.lr * rate)
    model = papers()[run.paper].build(recipe.model)
    return _Begun(source, recipe, model, State.fresh(model, recipe))


def _steps(begun: _Begun, steps: int, limit: float) -> Iterator[Step]:
    """So many steps, or those of ``limit`` seconds."""
    started = time.perf_counter()
    for step in train(begun.model, begun.source, begun.recipe, begun.state):
        yield step
        if step.number >= steps or time.perf_counter() - started > limit:
            return


def watched(run: OwnRun, folder: Path, *, steps: int, limit: float) -> dict[str, Any]:
    """Train for so many steps, or ``limit`` seconds, and say what was seen. A run that cannot go on is told. Where the rate
    is called too high, it is tried: the same steps with a tenth of it."""
    started = time.perf_counter()
    begun = _begun(run, folder)
    losses, broken = list[float](), ""
    with watch(begun.model, list(begun.state.optimisers.values()), stop_on_nonfinite=False) as patient:
        try:
            for step in _steps(begun, steps, limit):
                losses.append(sum(step.loss.values()))
                if len(step.loss) == 1:  # the loss of a game need not fall
                    patient.loss(losses[-1])
        except NonFiniteError as error:
            broken = str(error)
        verdict = patient.verdict()
    accused = any(finding.illness == "lr_high" for finding in verdict.findings)
    return {
        **asdict(run),
        "data": f"{begun.source.spec.kind} {'×'.join(map(str, begun.source.spec.shape))}".strip(),
        "parameters": parameters(begun.model),
        "steps": len(losses),
        "loss": [round(value, 4) for value in losses[:: max(1, len(losses) // 12)]],
        "verdict": verdict.name,
        "open_question": verdict.open_question,
        "findings": [
            {"illness": finding.illness, "confidence": finding.confidence, "evidence": list(finding.evidence)}
            for finding in verdict.findings
        ],
        "ends": [_end(losses), _with_a_tenth(run, folder, len(losses))] if accused else None,
        "broken": broken,
        "seconds": time.perf_counter() - started,
    }


def _with_a_tenth(run: OwnRun, folder: Path, steps: int) -> float:
    return _end([sum(step.loss.values()) for step in _steps(_begun(run, folder, 0.1), steps, math.inf)])


def _end(losses: list[float]) -> float:
    """Level of the loss in the last fifth."""
    return median(losses[-max(1, len(losses) // 5) :])
