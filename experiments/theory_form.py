"""What an experiment on a theory is: a claim, a measurement, a verdict that follows from its numbers, and a plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Result = dict[str, Any]

SEEDS = 3
CURVE = 16  # points of a smooth curve from mark to mark


@dataclass(frozen=True)
class Verdict:
    """``short``: holds, does not hold, or holds only where …; ``says``: by which number."""

    short: str
    says: str


@dataclass(frozen=True)
class Experiment:
    """``measure(quick)`` gives numbers alone, with the settings that they depend on; the rest is computed from them."""

    title: str
    claim: str
    measure: Callable[[bool], Result]
    method: Callable[[Result], str]
    verdict: Callable[[Result], Verdict]
    draw: Callable[[Result], str]


def holds(condition: bool, says: str, otherwise: str = "does not hold") -> Verdict:
    """The plain verdict."""
    return Verdict("holds" if condition else otherwise, says)


def normal(x: Tensor, mean: float | Tensor, std: float | Tensor) -> Tensor:
    """The density of N(mean, std²)."""
    z = (x - mean) / std
    return torch.exp(-z.square() / 2) / (std * math.sqrt(2 * math.pi))


def cells(low: float, high: float, count: int) -> Tensor:
    """(count,) middles of equal cells of a stretch, float64."""
    return low + (high - low) * (torch.arange(count, dtype=torch.float64) + 0.5) / count


def probabilities(density: Tensor) -> Tensor:
    """(…, cells) densities on equal cells, as the probabilities of these."""
    return density / density.sum(-1, keepdim=True)


def points(x: Sequence[float] | Tensor, y: Sequence[float] | Tensor) -> tuple[tuple[float, float], ...]:
    """Points of a series."""
    return tuple((float(a), float(b)) for a, b in zip(x, y))


def spread(rows: Sequence[Sequence[float]]) -> tuple[list[float], tuple[tuple[float, float], ...]]:
    """Means, lowest and highest of each column of (seeds, points)."""
    columns = list(zip(*rows))
    return [sum(c) / len(c) for c in columns], tuple((min(c), max(c)) for c in columns)
