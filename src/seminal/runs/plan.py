"""A run as it stands in ``recipe.json``: everything that decides it, and what is built from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seminal.core import Encoder, Recipe, Source, UserError
from seminal.data.rows import Digested
from seminal.data.tables import TableEncoder
from seminal.data.text_rows import Known
from seminal.runs.asks import DataAsk, RunAsk
from seminal.runs.codec import from_json, read_json, to_json
from seminal.runs.folder import RunFolder
from seminal.runs.shelf import papers
from seminal.runs.sources import open_source
from seminal.tasks.regression import Regression

DIGESTS = "digests.json"  # of the splits of a table or a text; runs of earlier versions may have none


@dataclass(frozen=True)
class Plan:
    """``paper`` is the name of the paper's file; the recipe is the resolved one, precision included."""

    paper: str
    data: DataAsk
    recipe: Recipe
    run: RunAsk

    @property
    def title(self) -> str:
        return f"{self.recipe.variant} on {self.data.data}"


def model_of(plan: Plan, device: torch.device) -> nn.Module:
    """The model with its first weights, which depend on the recipe's seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.recipe.seed)
        return papers()[plan.paper].build(plan.recipe.model).to(device)


def plan_of(folder: RunFolder) -> Plan:
    """The plan of an existing run."""
    return plan_in(folder.path / "recipe.json")


def plan_in(file: Path) -> Plan:
    """The plan in a file: ``recipe.json`` of a run, or what the doctor has written."""
    plan = from_json(read_json(file))
    kinds = {"paper": str, "data": DataAsk, "recipe": Recipe, "run": RunAsk}
    if not isinstance(plan, Plan) or not all(isinstance(getattr(plan, name), kind) for name, kind in kinds.items()):
        raise UserError(f"{file} does not hold a run: give a folder made by `seminal train`.")
    paper = papers().get(plan.paper)
    if paper is None or plan.recipe.variant not in paper.variants:
        raise UserError(f"{file} is of a run of {plan.recipe.variant}, which this version of seminal does not have.")
    return plan


def recipe_in(file: Path) -> Recipe:
    """The recipe in a file: what ``--print-config`` printed, or that of `plan_in`."""
    recipe = from_json(read_json(file))
    if not isinstance(recipe, Recipe):
        recipe = plan_in(file).recipe
    if not all(map(is_dataclass, (recipe.model, recipe.task, recipe.optim, recipe.schedule))):
        raise UserError(
            f"{file} does not hold a whole recipe: start from what --print-config prints, and change values."
        )
    return recipe


def encoder_of(folder: RunFolder) -> Encoder:
    """How the run reads an input."""
    encoder: Encoder = folder.read_json("reader.json")
    return encoder


def knowledge(folder: RunFolder, plan: Plan) -> Known:
    """How other data are read by the run, to go on learning from them: text is cut into its tokens, a table has its columns,
    and the scale of its numbers where these are to be said again."""
    encoder = encoder_of(folder)
    task = plan.recipe.task
    if not isinstance(encoder, TableEncoder) or not isinstance(task, Regression):
        return Known(encoder)
    return Known(encoder, tuple(folder.read_json("labels.json")), mean=task.mean, std=task.std)


def best_model(folder: RunFolder, plan: Plan, device: torch.device, which: str = "best") -> nn.Module:
    """The model with the best weights of the run (or the last)."""
    model = model_of(plan, device)
    name = f"{which}.safetensors"
    tensors, _ = folder.read_tensors(name)
    lacking = model.state_dict().keys() - tensors.keys()
    if lacking and all(key.startswith("head.") for key in lacking):  # imported from a network that had none
        raise UserError(
            f"the weights of {folder.path} are those of a body without a head, so it says nothing yet: give it one with "
            f"`seminal train {plan.recipe.variant} DATA --from {folder.path}`."
        )
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{folder.path / name} does not fit {plan.recipe.variant}: {error}") from None
    return model.eval()


def source_of(folder: RunFolder, plan: Plan, device: torch.device) -> Source:
    """The run's data, read again. Raises `UserError` where they are not what they were, or where it has none."""
    if not (folder.path / "split.csv").exists():
        raise UserError(
            f"{folder.path} holds weights that were trained elsewhere, and no data of its own. `seminal eval` scores it on "
            f"yours with `--data DATA`; `seminal train {plan.recipe.variant} DATA --from {folder.path}` goes on from it."
        )
    known = knowledge(folder, plan) if plan.data.borrowed else None
    source = open_source(plan.data, plan.paper, plan.recipe.variant, str(device), known=known)
    changed = f"{plan.data.data} is not what it was when this run began:"
    if (before := folder.read_text("split.csv")) != (now := split_table(source)):
        raise UserError(
            f"{changed} {_moved(before, now)}. Put the data back as {folder.path}/split.csv lists them, or start a new run."
        )
    if isinstance(source, Digested) and (folder.path / DIGESTS).exists():
        digests = folder.read_json(DIGESTS)
        for split in (split for split, digest in source.digests().items() if digests.get(split) != digest):
            raise UserError(f"{changed} rows of `{split}` hold other values. Put them back, or start a new run.")
    if not _alike(to_json(source.encoder(plan.recipe.scaling)), to_json(encoder_of(folder))):
        raise UserError(f"{changed} the training rows hold other values. Put them back, or start a new run.")
    return source


def _moved(before: str, now: str) -> str:
    """What became of the rows of ``split.csv``."""
    names = [sorted(line.partition(",")[2] for line in table.splitlines()[1:]) for table in (before, now)]
    if names[0] != names[1]:
        return "rows were added, removed or renamed"
    return "the same rows fall otherwise into train and validation, as they do where labels were changed"


def _alike(a: Any, b: Any) -> bool:
    """Equal, up to the rounding in which two machines may differ."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    return bool(a == b)


def split_table(source: Source) -> str:
    """``split,name`` for every row of the data."""
    lines = ["split,name"]
    for split, count in source.spec.counts.items():
        lines += [f"{split},{_quoted(source.name(split, index))}" for index in range(count)]
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\n\r') else name
