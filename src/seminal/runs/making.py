"""From what was asked to the plan of a run, and the first lines a user reads of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from seminal.core import Recipe, Source, UserError
from seminal.pieces.measure import parameters
from seminal.report.terminal import say
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.borrowing import as_begun, borrowing, known_before
from seminal.runs.changes import changed
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.plan import Plan, model_of, plan_of, recipe_in
from seminal.runs.shelf import paper_of, recipe_by_name, recipe_names
from seminal.runs.sources import open_source
from seminal.train import distributed

UNITS = {
    "images": "images",
    "pairs": "sentence pairs",
    "stream": "windows",
    "documents": "rows of text",
    "questions": "windows",
    "labelled": "texts",
    "tagged": "sentences",
    "choices": "choices",
}


@dataclass(frozen=True)
class Maker:
    """Makes the plan of a run: the same words with another seed or another fold give another plan."""

    variant: str
    data: DataAsk
    recipe: RecipeAsk
    run: RunAsk

    def plan(self) -> tuple[Plan, Source]:
        """Reads the data and resolves the recipe."""
        name, _ = paper_of(self.variant)
        known = known_before(self.recipe, self.data, name, self.variant)
        device = str(device_for(self.run.device))
        source = open_source(self.data, name, self.variant, device, known=known)
        ask = self.recipe.recipe
        if ask is not None and ask not in recipe_names(name) and (Path(ask).is_dir() or ask.endswith(".json")):
            recipe = self._borrowed(Path(ask), source)
        else:
            recipe = recipe_by_name(name, self.variant, source.spec, ask)
        if known:
            recipe = as_begun(recipe, name, self.recipe, source.spec)
        recipe = borrowing(changed(recipe, self.recipe, source.spec), name, source.spec, self.recipe)
        data = replace(self.data, borrowed=known is not None)
        if Path(data.data).expanduser().exists():
            data = replace(data, data=str(Path(data.data).expanduser().resolve()))
        return Plan(name, data, recipe, self.run), source

    def _borrowed(self, run: Path, source: Source) -> Recipe:
        if run.suffix == ".json" and not run.exists():
            raise UserError(
                f"there is no recipe file {run}. --print-config prints one, `seminal doctor RUN --cure` writes one; a RUN "
                "has its own."
            )
        other = recipe_in(run) if run.suffix == ".json" else plan_of(RunFolder.existing(run)).recipe
        if other.variant != self.variant:
            raise UserError(f"the recipe in {run} is for {other.variant}, not for {self.variant}.")
        return replace(
            other,
            precision=None,
            transfer=None,
            model=other.model.fitted(source.spec),
            task=other.task.fitted(source.spec),
        )


def introduce(make: Maker, plan: Plan, source: Source) -> None:
    """The first lines: the paper, the data, what was adapted."""
    if distributed.rank() != 0:
        return
    name, paper = paper_of(plan.recipe.variant)
    if make.recipe.recipe is None:
        others = ", ".join(f"--recipe {n}" for n in recipe_names(name) if n != plan.recipe.name)
        say("recipe", f"{plan.recipe.name}, which does best in short time; {others} has the paper's own numbers")
    model = model_of(plan, torch.device("meta"))
    size = parameters(model)
    count = f"{size / 1e6:.2f} M" if size >= 10_000 else f"{size:,}"
    say(plan.recipe.variant, f"{paper.title}, {paper.authors.split(',')[0]} {paper.year} · {count} parameters")
    say("data", f"{source.spec.name} · {', '.join(_sized(source))}")
    for note in source.spec.notes:
        say("", note)
    departures = [*plan.recipe.model.departures(), *plan.recipe.departures]
    if departures:
        say("adapted", " · ".join(d.what for d in departures))


def _sized(source: Source) -> Iterator[str]:
    """``1,437 training and 360 validation images, 1×8×8, 10 classes`` in parts."""
    spec = source.spec
    names = {"train": "training", "val": "validation", "test": "test"}
    sizes = [f"{count:,} {names.get(split, split)}" for split, count in spec.counts.items()]
    yield (
        " and ".join([", ".join(sizes[:-1]), sizes[-1]] if len(sizes) > 1 else sizes)
        + f" {UNITS.get(spec.kind, 'rows')}"
    )
    if spec.kind == "images":
        yield "×".join(map(str, spec.shape))
    elif spec.kind == "table":
        yield f"{spec.shape[0]} features"
    else:
        yield f"{spec.tokens['train']:,} tokens to learn from"
    if spec.classes:
        yield f"{len(spec.classes)} classes"
    elif spec.target_names:
        yield f"target {', '.join(spec.target_names)}"
