"""The loss around a point, along two directions (Li et al. 2018, "Visualizing the Loss Landscape of Neural Nets").

    f(α, β) = L(θ* + α δ + β η)

Random directions are filter-normalised (their Sec. 4): each filter of δ gets the norm of the filter of θ* it is added
to, since rectified networks compute the same when one layer is scaled up and the next one down. Directions of the
Hessian's largest eigenvalues show the sharpest slice instead of a typical one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seminal.doctor.curvature import moved

Weights = Sequence[Tensor]


@dataclass(frozen=True)
class Surface:
    """Losses on a grid, and a path in its plane."""

    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    loss: Tensor  # (betas, alphas)
    path: Tensor  # (points, 2): α and β of the weights on the way; empty where no path was given
    kept: float  # share of the path's length (squared, from the end) that lies in this plane


def filter_normalised(weights: Weights, generator: torch.Generator) -> Tensor:
    """A flat random direction. Each filter (row of a matrix) has the norm of the weights' own; biases and gains stay
    still."""
    parts = []
    for weight in weights:
        if weight.dim() <= 1:
            parts.append(torch.zeros_like(weight).flatten())
            continue
        drawn = torch.randn(weight.shape, generator=generator).to(weight)
        rows, own = drawn.flatten(1), weight.detach().flatten(1)
        parts.append(
            (rows * (own.norm(dim=1, keepdim=True) / rows.norm(dim=1, keepdim=True).clamp(min=1e-12))).flatten()
        )
    return torch.cat(parts)


def surface(
    weights: Weights,
    loss: Callable[[], Tensor],
    directions: tuple[Tensor, Tensor],
    *,
    span: float = 1.0,
    points: int = 21,
    path: Sequence[Tensor] = (),
    told: Callable[[int, int], None] = lambda done, of: None,
) -> Surface:
    """The losses on a square grid of ``points`` × ``points`` around the weights; ``path``: flat weights on the way,
    the last of them these. ``span`` is how far the grid reaches, in lengths of the directions; a path makes it wide
    enough for itself. The weights are put back to the bit."""
    here = torch.cat([w.detach().flatten() for w in weights])
    walked, kept = projected([p.to(here) - here for p in path], directions)
    reach = max(span, 1.1 * float(walked.abs().max())) if len(walked) else span
    places = torch.linspace(-reach, reach, points)
    losses = torch.empty(points, points)
    for row, beta in enumerate(places):
        for column, alpha in enumerate(places):
            with moved(weights, alpha * directions[0] + beta * directions[1]), torch.no_grad():
                losses[row, column] = float(loss())
        told(row + 1, points)
    found = tuple(float(p) for p in places)
    return Surface(found, found, losses, walked, kept)


def projected(path: Sequence[Tensor], directions: tuple[Tensor, Tensor]) -> tuple[Tensor, float]:
    """(points, 2) least-squares coordinates of each point in the plane, and the share of their squared length it holds."""
    if not path:
        return torch.empty(0, 2), 1.0
    plane = torch.stack(directions, 1).double()
    steps = torch.stack(list(path)).double()
    places = torch.linalg.lstsq(plane, steps.T).solution.T
    inside = (places @ plane.T).square().sum() / steps.square().sum().clamp(min=1e-30)
    return places.float(), float(inside)


def of_the_path(path: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The two directions in which a path (flat weights, the last one the centre) moved most: its principal components,
    each as long as the path's first point is far in it."""
    steps = torch.stack([p - path[-1] for p in path[:-1]]).float()
    _, sizes, across = torch.linalg.svd(steps, full_matrices=False)
    scale = sizes[:2] / len(steps) ** 0.5
    return across[0] * scale[0], across[1] * scale[1]
