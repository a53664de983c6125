"""Is it the pace? The learning rate ten times up and ten times down, and another optimiser, each for a part of the run.

Several illnesses share these experiments (`lr_low`, `lr_high`, `optimizer`, `epochs_few`, `batch_size`); each rule reads them
in its own way. `Chart` keeps what was tried, so nothing is trained twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch.optim import Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop

from seminal.doctor import course, remedies, signs
from seminal.doctor.chart import Chart
from seminal.doctor.signs import Effect

FEW = 150  # steps with which hardly anything is learned
PATIENT = 20.0  # seconds in which even a run ten times as long is over


@dataclass(frozen=True)
class Pace:
    up: Effect  # ten times the rate
    down: Effect  # a tenth of it
    other: Effect  # Adam at a usual rate
    longer: Effect | None  # five times the epochs; None where that would take too long
    steps: int  # of the run
    falling: float  # share of the whole fall of the loss that happened in the last quarter of the run
    rough: float  # steps upwards at the end of the run, as a share of the whole fall


def asked(chart: Chart) -> Pace | None:
    """None where the training rows were learned, or where there is no time."""
    if signs.learned(chart) or not chart.in_time:
        return None
    losses = chart.course.losses
    longer = None
    if chart.course.seconds * 5 < PATIENT and not chart.course.failed:
        longer = signs.effect(chart, remedies.longer(5), share=1.0)
    return Pace(
        up=signs.effect(chart, remedies.rate(10)),
        down=signs.effect(chart, remedies.rate(0.1)),
        other=signs.effect(chart, remedies.adam(usual(chart))),
        longer=longer,
        steps=course.length(chart.program),
        falling=falling(losses),
        rough=rough(losses),
    )


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
    jumps = sorted(abs(b - a) for a, b in zip(tail, tail[1:]))
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
