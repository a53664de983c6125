"""Learning-rate schedules: pure functions of time. Nothing is stored, so there is nothing to restore on resuming.

Each gives a factor for the recipe's learning rate. Times are shares of the run, so that a recipe keeps its form when the
run is shortened. ``scores`` are the validation errors so far (lower is better), one per evaluation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from seminal.core import Schedule


@dataclass(frozen=True)
class Constant:
    def __call__(self, step: int, steps: int, scores: tuple[float, ...]) -> float:
        return 1.0


@dataclass(frozen=True)
class Steps:
    """Multiply by ``factor`` at each of ``cuts``."""

    cuts: tuple[float, ...]
    factor: float = 0.1

    def __call__(self, step: int, steps: int, scores: tuple[float, ...]) -> float:
        return self.factor ** sum(step >= cut * steps for cut in self.cuts)


@dataclass(frozen=True)
class Plateau:
    """Multiply by ``factor`` when the validation error has not improved for ``patience`` evaluations, ``most`` times."""

    factor: float = 0.1
    patience: int = 5
    most: int = 3

    def __call__(self, step: int, steps: int, scores: tuple[float, ...]) -> float:
        best, waited, cuts = math.inf, 0, 0
        for score in scores:
            waited = 0 if score < best else waited + 1
            best = min(best, score)
            if waited >= self.patience and cuts < self.most:
                cuts, waited = cuts + 1, 0
        return self.factor**cuts


@dataclass(frozen=True)
class Exponential:
    """From 1 to ``final`` with a constant ratio per step."""

    final: float = 0.01

    def __call__(self, step: int, steps: int, scores: tuple[float, ...]) -> float:
        return self.final ** (step / steps)


@dataclass(frozen=True)
class Cosine:
    """½ (1 + cos π·t) from 1 to ``final`` (Loshchilov and Hutter 2017, eq. 5, one period)."""

    final: float = 0.0

    def __call__(self, step: int, steps: int, scores: tuple[float, ...]) -> float:
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


@dataclass(frozen=True)
class Linear:
    """A straight line from 1 to ``final``."""

    final: float = 0.0

    def __call__(self, step: int, steps: int, scores: tuple[float, ...]) -> float:
        return 1 + (self.final - 1) * min(1.0, step / steps)


@dataclass(frozen=True)
class InverseSqrt:
    """min(step / w, √(w / step)): the Transformer's rate (Vaswani et al. 2017, eq. 3) with its peak, at step ``warmup``,
    as the unit. The recipe's learning rate is then that peak, (d_model · w)^−½. Steps count from 1, as in the paper."""

    warmup: int = 4000

    def __call__(self, step: int, steps: int, scores: tuple[float, ...]) -> float:
        return min((step + 1) / self.warmup, math.sqrt(self.warmup / (step + 1)))


@dataclass(frozen=True)
class Warmup:
    """Rise from ``start`` to 1 over the first ``share`` of the run, then follow ``then``, stretched over the rest.

    ``rise="constant"`` stays at ``start`` and then jumps, as ResNet-110 does (He et al. 2015, Sec. 4.2)."""

    then: Schedule
    share: float = 0.05
    start: float = 0.0
    rise: str = "linear"

    def __call__(self, step: int, steps: int, scores: tuple[float, ...]) -> float:
        warm = round(self.share * steps)
        if step >= warm:
            return self.then(step - warm, max(1, steps - warm), scores)
        if self.rise == "constant":
            return self.start
        return self.start + (1 - self.start) * (step + 1) / warm


def needs_scores(schedule: Schedule) -> bool:
    """Whether the rate depends on the validation errors: for others nobody needs to validate."""
    return isinstance(schedule.then if isinstance(schedule, Warmup) else schedule, Plateau)
