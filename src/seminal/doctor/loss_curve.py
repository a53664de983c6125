"""The loss as it was told step by step, in a few numbers that noise does not sway."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

FEWEST = 20  # losses of which a course can be told
FALLS = 0.05  # of the first level: a fall that counts
LEVEL = 5  # losses of which the median is a level
THROWN, NOISES = 0.5, 3.0  # of the first level, and of the noise: a rise that is no noise


@dataclass(frozen=True)
class Curve:
    """Levels of the loss."""

    first: float  # of the first few, where a rise in them does not count
    last: float  # median of the last fifth
    highest: float
    noise: float  # median step up or down in the last fifth

    @property
    def fall(self) -> float:
        """From the first level to the last, as a share of the first; below 0 where the loss rose."""
        return (self.first - self.last) / max(abs(self.first), 1e-12)

    @property
    def falls(self) -> bool:
        return self.fall > FALLS

    @property
    def downwards(self) -> bool:
        """It came down by more than noise, however little that is."""
        return self.first - self.last > self.noise


def curve(losses: list[float]) -> Curve | None:
    """None where too few finite losses were told to say anything."""
    known = [loss for loss in losses if math.isfinite(loss)]
    if len(known) < FEWEST:
        return None
    first, last = known[: max(3, len(known) // 50)], known[-len(known) // 5 :]
    jumps = [abs(b - a) for a, b in pairwise(last)]
    return Curve(min(known[0], median(first)), median(last), max(known), median(jumps))


def thrown_back(losses: list[float], first: float) -> tuple[int, float] | None:
    """Where the loss rose far above its ``first`` level and stayed there for some steps: how many steps that took, and the
    highest level. None where it did not."""
    known = [loss for loss in losses if math.isfinite(loss)]
    if len(known) < FEWEST:
        return None
    levels = [median(known[i : i + LEVEL]) for i in range(len(known) - LEVEL + 1)]
    level = max(levels)
    noise = median(abs(b - a) for a, b in pairwise(known))
    return (levels.index(level) + LEVEL, level) if level - first > max(THROWN * abs(first), NOISES * noise) else None
