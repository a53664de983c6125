"""Learning rate too high.

Sign: the loss diverges, spikes or hovers, and a tenth of the rate does clearly better after the same number of steps.
Reason: above 2 / λ_max of the curvature a step along the steepest direction overshoots by more than it came from.
Source: the tuning playbook's instability test; DIAGNOSIS.md 4.4 (rate range), 4.5 (lr ÷ 10 against init and scale).
A rate in the lower half of the usual ones is not suspected where the loss comes down and stays down.
Looks alike: a loss that is a sum over the batch (its gradient is as many times too large), unscaled inputs or targets, first
weights that are far too large. All of them are also helped by a smaller rate, and more by their own remedy.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seminal.doctor import pace, remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "optimisation"
LEARNS = 0.95  # of the first level of the loss, at the end
BLOWN = 3.0  # times the first loss
EXPLAINS = frozenset(
    {
        "optimizer",
        "saddle_plateau",
        "vanishing_gradient",
        "exploding_gradient",
        "dead_relu",
        "saturation",
        "batch_size",
        "underfitting",
        "over_regularised",
    }
)


def judge(chart: Chart) -> Finding | None:
    found = pace.asked(chart)
    if found is None or found.rate < found.lowest or (found.modest and _learns(chart.course.losses)):
        return None
    if chart.course.vitals.broken and found.rate > found.highest:
        return _broke(chart, found)
    if not found.down.helped:
        return None
    rivals = []
    if found.rate <= found.highest:  # a rate above all that are usual is not too low
        if found.up.gain >= min(signs.ENOUGH, found.down.gain):
            return None
        rivals.append(found.up.told("lr_low: ten times the rate"))
    rate, kind, high = found.rate, type(chart.program.optimizer).__name__, found.rate > found.highest
    evidence = [found.down.told(f"{found.slower:g} times the rate ({rate * found.slower:g} for {rate:g})")]
    if high:
        evidence.append(f"usual rates of {kind} end at {found.highest:g}")
    return Finding(
        "lr_high",
        min(0.95, signs.confidence(found.down, 0.65) + 0.1 * high),
        tuple(evidence),
        (remedies.rate(found.slower), remedies.rate(1 / 3), remedies.warmed(0.1)),
        tuple(rivals),
        EXPLAINS,
    )


def _learns(losses: tuple[float, ...]) -> bool:
    """Whether the loss came down, never rose far above its beginning, and ended near its lowest."""
    if not losses:
        return False
    width = max(1, len(losses) // 10)
    levels = [sum(losses[i : i + width]) / width for i in range(0, len(losses) - width + 1, width)]
    first, last = levels[0], levels[-1]
    return last < LEARNS * first and max(losses) < BLOWN * losses[0] and last - min(levels) < (first - last) / 4


def _broke(chart: Chart, found: pace.Pace) -> Finding:
    """Nothing finite is left to compare with: the sign has to do. What else is wrong shows at a smaller rate."""
    kind, vitals = type(chart.program.optimizer).__name__, chart.course.vitals
    return Finding(
        "lr_high",
        0.8,
        (
            f"the run broke at step {vitals.broken_step}: {vitals.broken}",
            f"the rate is {found.rate:g}, and usual rates of {kind} end at {found.highest:g}",
        ),
        (remedies.rate(0.1), remedies.rate(0.01)),
        (),
        EXPLAINS,
    )


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = specimens.network(12, 48, 48, 5)
    return specimens.program(model, specimens.groups(), torch.optim.Adam(model.parameters(), lr=0.3))


def well(seed: int = 0) -> dict[str, Any]:
    """A large rate that normalised layers bear."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(12, 48), nn.LayerNorm(48), nn.ReLU(), nn.Linear(48, 5))
    return specimens.program(model, specimens.groups(), torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9))
