"""`seminal sample`: pictures that a model makes, as files; between two of them; along each latent variable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from seminal.core import Generator, UserError
from seminal.report.pictures import grid, png
from seminal.report.terminal import say
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.plan import Plan, best_model, plan_of
from seminal.runs.samples import COLUMNS, classes_of, pictures

REACH = 2.0  # standard deviations to either side, along one latent variable
LINES = 10  # walks, or latent variables, at most


@dataclass(frozen=True)
class SampleAsk:
    """The words of ``seminal sample``."""

    run: str
    n: int = 64
    label: str | None = None
    grid: bool = False
    interpolate: bool = False
    traverse: bool = False
    seed: int = 0
    weights: str = "best"
    out: str | None = None


def sample(ask: SampleAsk) -> int:
    """Write the pictures, and nothing over what is there."""
    if ask.n < 1:
        raise UserError(f"--n {ask.n} makes nothing: write 1 or more.")
    folder = RunFolder.existing(ask.run)
    plan = plan_of(folder)
    model = best_model(folder, plan, device_for(plan.run.device), ask.weights)
    if not isinstance(model, Generator) or len(plan.recipe.model.example(1)[0].shape) != 4:
        raise UserError(
            f"{ask.run} is a run of {plan.recipe.variant}, which makes no pictures. Give a run of gan, cgan, dcgan or vae."
        )
    label = _label(ask, plan, folder)
    if ask.interpolate or ask.traverse:
        lines = _between(model, plan, ask, label) if ask.interpolate else _along(model, plan, ask, label)
        name = "between" if ask.interpolate else "along"
        return _written(_place(ask, folder, f"{name}.png"), grid(torch.cat(lines), len(lines[0])))
    made = pictures(model, plan.recipe, ask.n, seed=ask.seed, label=label)
    if ask.grid:
        return _written(_place(ask, folder, "samples.png"), grid(made, COLUMNS))
    return _files(_place(ask, folder, "samples"), made)


def _label(ask: SampleAsk, plan: Plan, folder: RunFolder) -> int | None:
    """The number of the class asked for, by its name or its number."""
    if ask.label is None:
        return None
    classes = [str(name) for name in folder.read_json("labels.json")]
    if not classes_of(plan.recipe):
        raise UserError(
            f"{plan.recipe.variant} is not told classes, so none can be asked for: leave --class out, or train cgan."
        )
    if ask.label not in classes:
        raise UserError(f"there is no class `{ask.label}`. Write one of: {', '.join(classes[:20])}.")
    return classes.index(ask.label)


# -------------------------------------------------------------------------------------------------- in the latent space


def _between(model: nn.Module, plan: Plan, ask: SampleAsk, label: int | None) -> list[Tensor]:
    """Walks from one random point to another. Along a great circle, where a straight line would lead through points that
    the prior hardly ever gives (White 2016, "Sampling generative networks")."""
    maker = cast(Generator, model)
    ends = maker.noise(2 * LINES, torch.Generator().manual_seed(ask.seed))
    steps = torch.linspace(0, 1, COLUMNS, device=ends.device)[:, None]
    count = classes_of(plan.recipe)
    labels = [line % count if count and label is None else label for line in range(LINES)]
    walks = (_arc(a, b, steps) for a, b in zip(ends[:LINES], ends[LINES:]))
    return [_made(maker, walk, told) for walk, told in zip(walks, labels)]


def _arc(a: Tensor, b: Tensor, steps: Tensor) -> Tensor:
    """(steps, J) points from ``a`` to ``b``, on the arc between them."""
    angle = torch.arccos(torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-0.9999, 0.9999))
    return (((1 - steps) * angle).sin() * a + (steps * angle).sin() * b) / angle.sin()


def _along(model: nn.Module, plan: Plan, ask: SampleAsk, label: int | None) -> list[Tensor]:
    """From one random point, a line for each latent variable: it goes from −2 to 2, all others stay."""
    maker = cast(Generator, model)
    start = maker.noise(1, torch.Generator().manual_seed(ask.seed))
    values = torch.linspace(-REACH, REACH, COLUMNS, device=start.device)
    lines = []
    for place in range(min(start.shape[1], LINES)):
        points = start.repeat(COLUMNS, 1)
        points[:, place] = values
        lines.append(_made(maker, points, 0 if classes_of(plan.recipe) and label is None else label))
    return lines


@torch.no_grad()
def _made(maker: Generator, points: Tensor, label: int | None) -> Tensor:
    labels = None if label is None else torch.full((len(points),), label, device=points.device)
    return maker.generate(points, labels).clamp(0, 1).cpu()


# ---------------------------------------------------------------------------------------------------------------- files


def _place(ask: SampleAsk, folder: RunFolder, name: str) -> Path:
    """Where to write: a path that is free."""
    if ask.out is not None:
        place = Path(ask.out)
        if place.exists():
            raise UserError(f"{place} exists, and nothing is written over. Give another --out.")
        return place
    stem, end = Path(name).stem, Path(name).suffix
    numbered = (folder.path / f"{stem}-{number}{end}" for number in range(1, 10_000))
    return next(place for place in numbered if not place.exists())


def _written(place: Path, content: bytes) -> int:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    except OSError as error:
        raise UserError(f"{place} cannot be written: {error.strerror}. Give another --out.") from None
    say("pictures", str(place), wrap=False)
    return 0


def _files(place: Path, made: Tensor) -> int:
    try:
        place.mkdir(parents=True)
        for number, picture in enumerate(made):
            shades = (picture * 255).round().byte()
            (place / f"{number:05d}.png").write_bytes(png(shades, least=1, most=max(shades.shape)))
    except OSError as error:
        raise UserError(f"{place} cannot be written: {error.strerror}. Give another --out.") from None
    say("pictures", f"{len(made)} in {place}", wrap=False)
    return 0
