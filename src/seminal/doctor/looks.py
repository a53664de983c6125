"""When to look closely: densely at first, where most goes wrong, then as often as the time for it allows."""

from __future__ import annotations

import math
import time
from statistics import median
from typing import Literal

Every = int | Literal["auto"] | None

SHARE = 0.5  # of the budget that close looks may take; the rest is for what is there at every step
BETWEEN = 8  # steps from one close look to the next at which norms of the gradient are written down
FINE = 64  # looks while the number of steps doubles, at most: a long run needs no more


class Clock:
    """Seconds that watching took: all that is done inside ``with clock``."""

    def __init__(self, spent: float = 0.0) -> None:
        self.spent = spent
        self._since = 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.spent += time.perf_counter() - self._since


class Looks:
    """The steps of close looks. ``every`` n: each n-th; None: none. "auto": 0, 1, 2, 4, 8 … (0, 1, 4, 16 … while more than
    the ``budget``, a share of the time of all steps, is spent), until the gaps are such that looks take `SHARE` of it."""

    def __init__(self, every: Every, budget: float) -> None:
        self.every, self.budget = every, budget
        self.next = 0 if every is not None else math.inf
        self._paces: list[float] = []  # seconds of an unwatched step, from each look to the next
        self._last = 0, 0.0  # steps and unwatched seconds until the last look

    @property
    def pace(self) -> float:
        """Seconds of a step that nobody looks at. A median: an hour's rest, or a validation, is no step."""
        return median(self._paces)

    def due(self, step: int) -> bool:
        """Whether to look closely at this step."""
        return step >= self.next

    def noted(self, step: int) -> bool:
        """Whether norms of the gradient are written down at this step, though nobody looks closely."""
        if isinstance(self.every, int):
            return step % max(1, self.every // BETWEEN) == 0
        return self.every is None

    def looked(self, step: int, *, cost: float, spent: float, seconds: float) -> None:
        """A look at ``step`` took ``cost`` seconds; all ``spent`` is part of the ``seconds`` since the run began."""
        if isinstance(self.every, int):
            self.next = step + self.every
        elif self.every == "auto":
            (steps, until), self._last = self._last, (step + 1, seconds - spent)
            self._paces.append((seconds - spent - until) / (step + 1 - steps))
            affordable = math.ceil(cost / max(SHARE * self.budget * self.pace, 1e-12))
            further = step if spent <= self.budget * self.pace * (step + 1) else 3 * step
            self.next = step + max(1, min(further, affordable), step // FINE)
