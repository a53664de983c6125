"""The learning rate from very low to very high, by a factor each step (Smith 2017, Sec. 3.3): which rates work?

Where training would go at one rate is read from the sweep by the sum of the rates so far: that is how far the steps together
can come, for plain descent and for Adam alike.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from seminal.doctor.program import Program

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 120
SMOOTH = 5  # steps over which losses are averaged
BREAKS = 4.0  # times the first loss


@dataclass(frozen=True)
class Sweep:
    """The loss before each step, averaged over the last few, and the rate of that step."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def fall(self) -> float:
        """As a share of the first loss."""
        return (self.losses[0] - min(self.losses)) / max(abs(self.losses[0]), 1e-12)

    @property
    def turn(self) -> float:
        """The rate above which the loss rises again."""
        return self.rates[self.losses.index(min(self.losses))]

    @property
    def halfway(self) -> float:
        """The rate by which half of the fall was made."""
        return self.rates[self._half]

    @property
    def needed(self) -> float:
        """The sum of the rates up to there."""
        return sum(self.rates[: self._half + 1])

    @property
    def _half(self) -> int:
        middle = (self.losses[0] + min(self.losses)) / 2
        return next(step for step, loss in enumerate(self.losses) if loss <= middle)


def swept(program: Program) -> Sweep:
    """``program`` is fresh and is spent. It makes plain steps: a step of its own may set the rate itself."""
    program.model.train()
    losses: list[float] = []
    rates = [LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1)) for step in range(STEPS)]
    again = itertools.chain.from_iterable(itertools.repeat(program.train))
    for rate, (input, target) in zip(rates, again):
        for group in program.optimizer.param_groups:
            group["lr"] = rate
        loss = float(program.step(input, target))
        if not math.isfinite(loss) or (losses and abs(loss) > BREAKS * abs(losses[0]) + 1e-9):
            break
        losses.append(loss)
    parts = [losses[max(0, step - SMOOTH + 1) : step + 1] for step in range(len(losses))]
    return Sweep(tuple(rates[: len(losses)]), tuple(sum(part) / len(part) for part in parts))
