"""Learning rate too low.

Sign: the loss falls from beginning to end, far too slowly, and ten times the rate is clearly further after the same steps.
Reason: where steps are so small that the loss is a straight line over each, progress is proportional to the rate.
Source: DIAGNOSIS.md 4.2 (update ratio below 10⁻⁵), 4.5 (lr × 10 separates it from vanishing gradients and plateaus).
Looks alike: too few epochs (the same cure from the other side: both are named where both would do), an optimiser that divides
the step by something, gradients that are clipped to almost nothing.
"""

from __future__ import annotations

from typing import Any

import torch

from seminal.doctor import pace, remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "optimisation"
EXPLAINS = frozenset({"saddle_plateau", "vanishing_gradient", "underfitting", "over_regularised", "init_bad"})


def judge(chart: Chart) -> Finding | None:
    found = pace.asked(chart)
    if found is None or found.rate > found.highest or not found.up.helped:
        return None
    sure = found.up.gain >= signs.ENOUGH or found.rate < found.lowest
    if not sure and found.up.gain <= found.down.gain:
        return None
    optimizer, rate = chart.program.optimizer, found.rate
    evidence = [
        found.up.told(f"{found.faster:g} times the rate ({rate * found.faster:g} for {rate:g})"),
        f"{found.falling:.0%} of the fall of the loss came in the last quarter of the {found.steps} steps",
    ]
    confidence = signs.confidence(found.up, 0.6)
    if rate < found.lowest:
        confidence += 0.15
        evidence.append(f"usual rates of {type(optimizer).__name__} begin at {found.lowest:g}")
    return Finding(
        "lr_low",
        min(0.95, confidence),
        tuple(evidence),
        (remedies.rate(found.faster), remedies.rate(3 * found.faster), remedies.rate(3), remedies.longer(5)),
        () if sure else (found.down.told(f"lr_high: {found.slower:g} times the rate"),),
        EXPLAINS,
    )


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = specimens.network(12, 48, 48, 5)
    return specimens.program(model, specimens.groups(), torch.optim.Adam(model.parameters(), lr=2e-5))


def well(seed: int = 0) -> dict[str, Any]:
    """A small rate with time enough."""
    torch.manual_seed(seed)
    model = specimens.network(12, 64, 64, 5)
    return specimens.program(model, specimens.groups(), torch.optim.Adam(model.parameters(), lr=5e-4), epochs=40)
