"""Is it the pace? A learning rate ten times up and ten times down, and another optimiser, each for a part of the run.

Several illnesses share these experiments (`lr_low`, `lr_high`, `optimizer`, `epochs_few`, `batch_size`); each rule reads them
in its own way. `Chart` keeps what was tried, so nothing is trained twice.
"""

from __future__ import annotations

import itertools
import math

from torch.optim import Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop

from seminal.doctor import course, remedies, signs
from seminal.doctor.chart import Chart
from seminal.doctor.signs import Effect

FEW = 150  # steps with which hardly anything is learned
PATIENT = 20.0  # seconds in which even a much longer run is over
LONGER = 4


class Pace:
    """The experiments, each made when it is first asked for."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.steps = course.length(chart.program)
        self.rate: float = chart.program.optimizer.param_groups[0]["lr"]
        self.lowest, self.highest = band(chart.program.optimizer)
        self.falling = falling(chart.course.losses)

    @property
    def modest(self) -> bool:
        """Whether the rate lies in the lower half of the usual ones."""
        return self.rate < math.sqrt(self.lowest * self.highest)

    @property
    def faster(self) -> float:
        """The factor of `up`: ten, or more where the rate is far below what is usual."""
        usual = math.sqrt(self.lowest * self.highest)
        return 10.0 if self.rate >= self.lowest else max(10.0, float(f"{usual / self.rate:.1g}"))

    @property
    def slower(self) -> float:
        """The factor of `down`: a tenth, or less where the rate is far above what is usual."""
        usual = math.sqrt(self.lowest * self.highest)
        return 0.1 if self.rate <= 10 * self.highest else min(0.1, float(f"{usual / self.rate:.1g}"))

    @property
    def up(self) -> Effect:
        return signs.effect(self.chart, remedies.rate(self.faster))

    @property
    def down(self) -> Effect:
        return signs.effect(self.chart, remedies.rate(self.slower))

    @property
    def other(self) -> Effect:
        """Adam at a usual rate."""
        return signs.effect(self.chart, remedies.adam(usual(self.chart)))

    @property
    def longer(self) -> Effect | None:
        """Four times the epochs; None where that would take too long."""
        run = self.chart.course
        if run.seconds * LONGER > PATIENT or run.failed:
            return None
        return signs.effect(self.chart, remedies.longer(LONGER), share=1.0)


def asked(chart: Chart) -> Pace | None:
    """None where the training rows were learned, or where there is no time."""
    return None if signs.learned(chart) or not chart.in_time else Pace(chart)


def usual(chart: Chart) -> float:
    """A rate of Adam that suits most networks: larger for small ones."""
    return 3e-3 if sum(p.numel() for p in chart.program.model.parameters()) < 100_000 else 1e-3


def falling(losses: tuple[float, ...]) -> float:
    """How much of the fall was still to come after three quarters of the run."""
    if len(losses) < 4 or not all(map(math.isfinite, losses)):
        return 0.0
    width = max(1, len(losses) // 8)
    first, late, last = losses[0], _mean(losses[-2 * width : -width]), _mean(losses[-width:])
    return (late - last) / max(first - last, 1e-12) if first > last else 0.0


def rough(losses: tuple[float, ...]) -> float:
    """Typical step up or down in the last third of the run, as a share of how far the loss came down."""
    tail = [loss for loss in losses[-max(3, len(losses) // 3) :] if math.isfinite(loss)]
    jumps = sorted(abs(b - a) for a, b in itertools.pairwise(tail))
    if not jumps:
        return 0.0
    return jumps[len(jumps) // 2] / max(losses[0] - _mean(tuple(tail)), 1e-12)


# Rates in use: the band outside of which a rate is unusual for the kind of optimiser (DIAGNOSIS.md 4.3, check 6).
def band(optimizer: Optimizer) -> tuple[float, float]:
    """The smallest and the largest usual rate."""
    if isinstance(optimizer, Adadelta):
        return 0.1, 2.0
    if isinstance(optimizer, Adagrad):
        return 1e-3, 0.1
    if isinstance(optimizer, Adam | AdamW | RMSprop):
        return 1e-4, 1.5e-2
    return 1e-3, 0.5


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
