"""``seminal train``: from the flags to one run, or several."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from seminal.core import Order, Precision, Recipe, Source, UserError
from seminal.pieces.measure import parameters
from seminal.report.terminal import say
from seminal.runs import judging, repeats, training
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.changes import changed
from seminal.runs.codec import to_json
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for, joined
from seminal.runs.plan import Plan, model_of, plan_of
from seminal.runs.shelf import paper_of, recipe_by_name, recipe_names
from seminal.runs.sources import open_source
from seminal.train import distributed
from seminal.train.loop import train as steps_of

A = TypeVar("A", DataAsk, RecipeAsk, RunAsk)


def train(given: dict[str, Any]) -> int:
    """The verb ``seminal train`` with its flags, by name."""
    if given["eval_only"] is not None:
        return judging.evaluate(given["eval_only"])
    if given["resume"] is not None:
        return training.resume(given["resume"] or _newest(Path(given["output"])))
    if given["amp_dtype"] == "float16":
        raise UserError(
            "float16 overflows and would need loss scaling, which is not here. Use --amp-dtype bfloat16 (or --amp)."
        )
    if given["amp_dtype"]:
        given = given | {"precision": "bf16"}
    model, data = _model_and_data(given)
    ask = DataAsk(data=data if data in ("digits",) else str(data), **_of(DataAsk, given, without=("data", "fold")))
    wanted = _of(RecipeAsk, given)
    run = RunAsk(**_of(RunAsk, given))
    if given["folds"] and given["seeds"]:
        raise UserError("--folds and --seeds together are not offered: choose one.")
    with joined():
        make = Maker(model, ask, RecipeAsk(**wanted), run)
        if given["print_config"]:
            plan, _ = make.plan()
            print(json.dumps(to_json(plan.recipe), indent=1, ensure_ascii=False))
            return 0
        if given["dry_run"]:
            return _dry(*make.plan())
        if given["folds"]:
            return repeats.over_folds(make, given["folds"])
        if given["seeds"]:
            return repeats.over_seeds(make, given["seeds"])
        plan, source = make.plan()
        introduce(plan, source)
        return training.carry_on(training.begin(plan, source, device_for(plan.run.device)))


def _model_and_data(given: dict[str, Any]) -> tuple[str, str]:
    words = [w for w in (given["model"], given["data"]) if w is not None]
    model = given["model_flag"] or (words.pop(0) if words else None)
    data = given["data_flag"] or (words.pop(0) if words else None)
    if model is None:
        raise UserError("which model? Write `seminal train MODEL DATA`; `seminal list` shows the models.")
    paper_of(model)
    if data is None:
        raise UserError(
            f"train {model} on what? Write `seminal train {model} FOLDER`, a table, or a bundled set such as digits."
        )
    if words:
        raise UserError(f"`{words[0]}` is one word too many: write `seminal train MODEL DATA`.")
    return model, data


def _of(kind: type[A], given: dict[str, Any], without: tuple[str, ...] = ()) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(kind) if f.name not in without]
    return {name: given[name] for name in names if name in given}


def _newest(output: Path) -> str:
    runs = sorted(output.glob("*/last.state"), key=lambda p: p.stat().st_mtime)
    if not runs:
        raise UserError(f"there is no run to resume in {output}. Name one: `seminal resume RUN`.")
    return str(runs[-1].parent)


@dataclasses.dataclass(frozen=True)
class Maker:
    """Makes the plan of a run: the same words with another seed or another fold give another plan."""

    variant: str
    data: DataAsk
    recipe: RecipeAsk
    run: RunAsk

    def plan(self) -> tuple[Plan, Source]:
        """Reads the data and resolves the recipe."""
        name, paper = paper_of(self.variant)
        source = open_source(self.data, paper.variants[self.variant], str(device_for(self.run.device)))
        ask = self.recipe.recipe
        if ask is not None and Path(ask).is_dir():
            recipe = self._borrowed(Path(ask), source)
        else:
            recipe = recipe_by_name(name, self.variant, source.spec, ask)
        recipe = changed(recipe, self.recipe)
        if distributed.rank() == 0 and ask is None:
            others = ", ".join(f"--recipe {n}" for n in recipe_names(name) if n != recipe.name)
            say("recipe", f"{recipe.name}, which does best in short time; {others} has the paper's own numbers")
        data = self.data
        if Path(data.data).expanduser().exists():
            data = replace(data, data=str(Path(data.data).expanduser().resolve()))
        return Plan(name, data, recipe, self.run), source

    def _borrowed(self, run: Path, source: Source) -> Recipe:
        other = plan_of(RunFolder.existing(run)).recipe
        if other.variant != self.variant:
            raise UserError(f"the recipe in {run} is for {other.variant}, not for {self.variant}.")
        return replace(
            other, precision=None, model=other.model.fitted(source.spec), task=other.task.fitted(source.spec)
        )


def introduce(plan: Plan, source: Source) -> None:
    """The first lines: the paper, the data, what was adapted."""
    if distributed.rank() != 0:
        return
    _, paper = paper_of(plan.recipe.variant)
    model = model_of(plan, torch.device("meta"))
    size = parameters(model)
    count = f"{size / 1e6:.2f} M" if size >= 10_000 else f"{size:,}"
    say(plan.recipe.variant, f"{paper.title}, {paper.authors.split(',')[0]} {paper.year} · {count} parameters")
    say("data", f"{source.spec.name} · {', '.join(training.sized(source))}")
    for note in source.spec.notes:
        say("", note)
    departures = [*plan.recipe.model.departures(), *plan.recipe.departures]
    if departures:
        say("adapted", " · ".join(d.what for d in departures))


def _dry(plan: Plan, source: Source) -> int:
    """Two steps and a validation batch, and nothing written."""
    introduce(plan, source)
    model = model_of(plan, device_for(plan.run.device))
    recipe = replace(plan.recipe, precision=plan.recipe.precision or Precision())
    for step in steps_of(model, source, recipe):
        say(
            "step",
            f"{step.number}: loss {sum(step.loss.values()):.4g}, gradient norm {sum(step.grad_norm.values()):.3g}",
        )
        if step.number == 2:
            break
    batch = next(source.batches(Order("val", recipe.batch, scaling=recipe.scaling)))
    say("dry run", f"all is well: {len(batch['index'])} validation rows read too; nothing was written")
    return 0
