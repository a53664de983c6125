"""What a model makes of its own accord: pictures of fixed noise after every epoch, and those that a user asks for."""

from __future__ import annotations

import base64
from typing import Any, cast

import torch
from torch import Tensor, nn

from seminal.core import Generator, Recipe, Source
from seminal.report.pictures import grid
from seminal.runs.text_portrait import written
from seminal.tasks.game import Game

COLUMNS, LINES = 10, 6  # of the grid of an epoch
AT_ONCE = 200  # pictures made in one forward pass


def samples(model: nn.Module, source: Source, recipe: Recipe) -> dict[str, Any]:
    """For the diary: ``texts`` of a model that writes, a ``picture`` (a PNG as base64) of one that makes pictures."""
    if source.spec.kind == "images" and isinstance(model, Generator):
        made = pictures(model, recipe, COLUMNS * LINES, seed=recipe.seed)
        return {"picture": base64.b64encode(grid(made, COLUMNS)).decode("ascii")}
    texts = written(model, source, recipe)
    return {"texts": texts} if texts else {}


@torch.no_grad()
def pictures(model: nn.Module, recipe: Recipe, count: int, *, seed: int, label: int | None = None) -> Tensor:
    """(count, C, H, W) in [0, 1], on the CPU: the same for the same weights and seed. A model that is told classes is asked
    for each class in turn, or for one."""
    model.eval()
    maker = cast(Generator, model)
    noise = maker.noise(count, torch.Generator().manual_seed(seed))
    classes = classes_of(recipe)
    asked = torch.full((count,), label) if label is not None else torch.arange(count) % max(1, classes)
    made = [
        maker.generate(some, labels.to(noise.device) if classes else None).clamp(0, 1).cpu()
        for some, labels in zip(noise.split(AT_ONCE), asked.split(AT_ONCE))
    ]
    return torch.cat(made)


def classes_of(recipe: Recipe) -> int:
    """How many classes the model can be asked for; 0 where it takes none."""
    return recipe.task.num_classes if isinstance(recipe.task, Game) and recipe.task.conditional else 0
