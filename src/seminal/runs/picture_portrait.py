"""The report of a model that makes pictures: what it made over time, what it gives back, and whether it copies."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from seminal.core import Generator, Order, Recipe, Source
from seminal.report.data import Picture, Plane, Report
from seminal.report.pictures import grid
from seminal.runs.diary import Diary
from seminal.runs.plan import Plan
from seminal.runs.samples import COLUMNS, classes_of, pictures
from seminal.train.evaluate import predicted

SHOWN = 2000  # rows in the latent plane, at most
AT_ONCE = 500  # rows
COMPARED = 10_000  # training rows among which the nearest is looked for
SIDE = 15  # pictures a side of the map of a latent plane


def with_pictures(report: Report, model: nn.Module, plan: Plan, source: Source, diary: Diary) -> Report:
    """For a model that makes pictures, or gives back those it is given."""
    recipe, spec = plan.recipe, source.spec
    kept = [(int(s["epoch"]), Picture(base64.b64decode(s["picture"]), "")) for s in diary.samples if "picture" in s]
    report = replace(report, made=tuple(kept), classes=spec.classes)
    if spec.kind != "images":
        return replace(report, plane=_plane(model, source, recipe))
    beside = [*_given_back(model, source, recipe), *_neighbours(model, source, recipe), *_map(model)]
    return replace(report, beside=tuple(beside), plane=_plane(model, source, recipe))


def _given_back(model: nn.Module, source: Source, recipe: Recipe) -> Iterator[Picture]:
    """Validation rows over their reconstructions."""
    for batch, found in itertools.islice(_answers(model, source, recipe, 2 * COLUMNS), 1):
        if "reconstruction" in found:
            rows = batch["input"].cpu()
            back = found["reconstruction"].cpu().view(rows.shape)
            lines = [part for pair in zip(rows.split(COLUMNS), back.split(COLUMNS)) for part in pair]
            yield Picture(
                grid(torch.cat(lines), COLUMNS), "Validation pictures, and under each what the model gives back"
            )


def _neighbours(model: nn.Module, source: Source, recipe: Recipe) -> Iterator[Picture]:
    """Is it copying? Made pictures over the training pictures nearest to them, pixel by pixel."""
    if not isinstance(model, Generator):
        return
    made = pictures(model, recipe, max(COLUMNS, classes_of(recipe)), seed=recipe.seed)
    known, later = _rows(source, "train", COMPARED), _rows(source, "val", AT_ONCE)
    distance, nearest = torch.cdist(made.flatten(1), known.flatten(1)).min(1)
    usual = torch.cdist(later.flatten(1), known.flatten(1)).min(1).values
    caption = (
        f"Made pictures, and under each the training picture nearest to it, at a distance of {float(distance.median()):.2f} "
        f"(median). Of a validation picture the nearest is {float(usual.median()):.2f} away: much less would be copying"
    )
    yield Picture(grid(torch.cat([made, known[nearest]]), len(made)), caption)


def _map(model: nn.Module) -> Iterator[Picture]:
    """Of two latent variables: the pictures at all places, each variable from its 5 % to its 95 % point."""
    if not isinstance(model, Generator) or model.noise(1).shape[1] != 2:
        return
    steps = torch.distributions.Normal(0.0, 1.0).icdf(torch.linspace(0.05, 0.95, SIDE))
    places = torch.cartesian_prod(steps.flip(0), steps).flip(1)  # the first variable to the right, the second upwards
    with torch.no_grad():
        made = model.generate(places.to(next(model.parameters()).device))
    yield Picture(
        grid(made, SIDE, cell=28), "The whole latent plane: each picture is made of the point where it stands"
    )


def _plane(model: nn.Module, source: Source, recipe: Recipe) -> Plane | None:
    """Means of the latent variables; of more than two, their two principal components."""
    latent: list[Tensor] = []
    classes: list[Tensor] = []
    for batch, found in _answers(model, source, recipe, AT_ONCE):
        if "latent" not in found or sum(map(len, latent)) >= SHOWN:
            break
        latent.append(found["latent"].float().cpu())
        classes.append(batch["target"].cpu() if "target" in batch and source.spec.classes else torch.zeros(0))
    if not latent:
        return None
    z = torch.cat(latent)[:SHOWN]
    axes = ("z₁", "z₂")
    if z.shape[1] > 2:
        _, _, directions = torch.linalg.svd(z - z.mean(0), full_matrices=False)
        z, axes = (z - z.mean(0)) @ directions[:2].T, ("first principal component of z", "second")
    x, y = (tuple(column.tolist()) for column in z.T) if z.shape[1] == 2 else (tuple(z[:, 0].tolist()), (0.0,) * len(z))
    return Plane(x, y, tuple(int(c) for c in torch.cat(classes)[:SHOWN].tolist()), axes)


def _answers(model: nn.Module, source: Source, recipe: Recipe, batch: int) -> Iterator[tuple[Any, dict[str, Tensor]]]:
    # By lot: pictures mostly lie sorted by class, and the first rows would be those of a few classes.
    return predicted(model, source, recipe, Order("val", batch, shuffle=True, scaling=recipe.scaling))


def _rows(source: Source, split: str, most: int) -> Tensor:
    """(rows, C, H, W) pictures in [0, 1]; of more than ``most``, so many drawn by lot."""
    order = Order(split, AT_ONCE, shuffle=source.spec.counts[split] > most, scaling="none")
    batches = itertools.islice(source.batches(order), most // AT_ONCE)
    return torch.cat([batch["input"].cpu() for batch in batches])
