"""When to look closely: densely at first, where most goes wrong, then as often as the time for it allows."""

from __future__ import annotations

import math
import time
from typing import Literal

Every = int | Literal["auto"] | None

SHARE = 0.5  # of the budget that close looks may take; the rest is for what is there at every step
FINE = 64  # looks while the number of steps doubles, at most: a long run needs no more


class Clock:
    """Seconds that watching took: all that is done inside ``with clock``."""

    def __init__(self) -> None:
        self.spent = 0.0
        self._since = 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.spent += time.perf_counter() - self._since


class Looks:
    """The steps of close looks. ``every`` n: each n-th; None: none; "auto": 0, 1, 2, 4, 8 …, and then with such gaps that
    the looks take `SHARE` of the ``budget``, a share of the time that a step takes without them."""

    def __init__(self, every: Every, budget: float) -> None:
        self.every, self.budget = every, budget
        self.next = 0 if every is not None else math.inf

    def due(self, step: int) -> bool:
        """Whether to look closely at this step."""
        return step >= self.next

    def looked(self, step: int, *, cost: float, pace: float) -> None:
        """A look at ``step`` took ``cost`` seconds, where a step takes ``pace`` seconds without one."""
        if isinstance(self.every, int):
            self.next = step + self.every
        elif self.every == "auto":
            affordable = math.ceil(cost / (SHARE * self.budget * pace)) if self.budget * pace > 0 else math.inf
            self.next = step + max(1, min(step, affordable), step // FINE)
