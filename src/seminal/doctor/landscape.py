"""The loss around a point, along two directions (Li et al. 2018, "Visualizing the Loss Landscape of Neural Nets").

    f(α, β) = L(θ* + α δ + β η)

Random directions are filter-normalised (their Sec. 4): each filter of δ gets the norm of the filter of θ* it is added
to, since rectified networks compute the same when one layer is scaled up and the next one down. A random plane holds next
to nothing of the path by which training came: in D dimensions its share is about 2 / D. The plane of the path's own
principal components (their Sec. 7) shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seminal.doctor.curvature import moved

Weights = Sequence[Tensor]
MARGIN = 0.35  # of a path's extent, that is seen on either side of it


@dataclass(frozen=True)
class Surface:
    """Losses on a grid."""

    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    loss: Tensor  # (betas, alphas)


def flat(weights: Weights) -> Tensor:
    """All of them as one vector, a copy."""
    return torch.cat([w.detach().flatten() for w in weights])


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


def principal(steps: Sequence[Tensor], spare: Tensor) -> tuple[Tensor, Tensor]:
    """The two directions in which flat ``steps`` from the centre reach farthest, at right angles, each as long as they reach
    in it (root of the mean square). Where all lie on one line, the second is ``spare`` made orthogonal and as long."""
    along = torch.stack([torch.stack([(a.double() @ b.double()).cpu() for b in steps]) for a in steps])
    sizes, mixes = torch.linalg.eigh(along)  # of the small matrix of products; its vectors mix the steps
    first, second = (_mixed(steps, mixes[:, place]) for place in (-1, max(-2, -len(steps))))
    scale = len(steps) ** -0.5
    if len(steps) < 2 or sizes[-2] < 1e-6 * sizes[-1]:
        second = spare - first * ((spare @ first) / (first @ first))
        second = second * (first.norm() / second.norm())
    return scale * first, scale * second


def _mixed(steps: Sequence[Tensor], shares: Tensor) -> Tensor:
    total = torch.zeros_like(steps[0])
    for step, share in zip(steps, shares.tolist()):
        total += share * step
    return total


def projected(steps: Sequence[Tensor], directions: tuple[Tensor, Tensor]) -> tuple[Tensor, float]:
    """(points, 2) least-squares coordinates of each step in the plane, and the share of their squared length it holds."""
    if not steps:
        return torch.empty(0, 2), 1.0
    gram, *inner = (
        torch.stack([(a.double() @ d.double()).cpu() for d in directions for a in part]).view(2, -1)
        for part in (directions, steps)
    )
    places = torch.linalg.lstsq(gram, inner[0]).solution  # (2, points)
    inside = (places * inner[0]).sum()
    whole = sum(float(step.double().square().sum()) for step in steps)
    return places.T.float(), float(inside) / max(whole, 1e-30)


def spread(span: float, points: int) -> tuple[float, ...]:
    """Places from −span to span; one of them is 0."""
    return tuple(span * (2 * place / (points - 1) - 1) for place in range(points))


def around(walked: Tensor, points: int) -> tuple[float, ...]:
    """Places that hold a path's coordinates (points,) and a margin; one of them is 0."""
    low, high = min(0.0, float(walked.min())), max(0.0, float(walked.max()))
    room = MARGIN * max(high - low, 1e-12)
    found = torch.linspace(low - room, high + room, points)
    found[found.abs().argmin()] = 0.0
    return tuple(found.tolist())


def surface(
    weights: Weights,
    loss: Callable[[], Tensor],
    directions: tuple[Tensor, Tensor],
    alphas: Sequence[float],
    betas: Sequence[float],
) -> Surface:
    """The losses at all pairs of places. The weights are put back to the bit."""
    losses = torch.empty(len(betas), len(alphas))
    for row, beta in enumerate(betas):
        for column, alpha in enumerate(alphas):
            with moved(weights, alpha * directions[0] + beta * directions[1]), torch.no_grad():
                losses[row, column] = float(loss())
    return Surface(tuple(alphas), tuple(betas), losses)
