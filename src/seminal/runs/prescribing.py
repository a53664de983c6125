"""A cure in writing: the changed recipe in a file for ``--recipe``, and the command that trains with it."""

from __future__ import annotations

import itertools
import shlex
from dataclasses import fields, replace
from pathlib import Path

from seminal.core import Recipe
from seminal.runs.asks import DataAsk
from seminal.runs.changes import said
from seminal.runs.folder import RunFolder
from seminal.runs.plan import Plan

OTHERWISE = ("data", "fold", "borrowed")  # a word without a flag; and what follows from other words


def prescribed(folder: RunFolder, plan: Plan, before: Recipe) -> Path:
    """The plan as ``cured.json`` in the folder of the run, or under the first number that is free; what is other than
    ``before`` is told among its departures."""
    changes = said(before, plan.recipe, why="the doctor's cure, shown to work by paired trials")
    recipe = replace(plan.recipe, departures=(*before.departures, *changes))
    names = itertools.chain(["cured.json"], (f"cured-{number}.json" for number in itertools.count(2)))
    name = next(name for name in names if not (folder.path / name).exists())
    folder.write_json(name, replace(plan, recipe=recipe))
    return folder.path / name


def train_command(plan: Plan, recipe: Path) -> str:
    """What a user types to train on the same data with a recipe."""
    words = ["seminal", "train", plan.recipe.variant, plan.data.data, *_flags(plan.data)]
    if (transfer := plan.recipe.transfer) is not None:
        words += ["--from", transfer.start]
        words += ["--freeze"] if transfer.freeze else ["--body-lr", f"{transfer.body_rate:g}"]
        words += ["--layer-decay", f"{transfer.layer_decay:g}"] * (transfer.layer_decay != 1)
    return shlex.join([*words, "--recipe", str(recipe)])


def _flags(data: DataAsk) -> list[str]:
    """What the user said of the data, as words: the names of the fields are those of the flags."""
    given = [(field.name, getattr(data, field.name)) for field in fields(DataAsk) if field.name not in OTHERWISE]
    usual = DataAsk(data.data)
    asked = [(name, value) for name, value in given if value != getattr(usual, name)]
    return [word for name, value in asked for word in ("--" + name.replace("_", "-"), str(value))]
