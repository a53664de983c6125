"""Stuck where the gradient is small: at a saddle, or on a flat plateau.

Sign: for a large part of the run the loss stands where an answer without opinion has it, although the gradient is not
broken and the batch can be learned; a push (a larger rate, Adam, other first weights) gets it off.
Reason: weights that start alike or near zero sit beside a saddle of the loss: the gradient there is a product of small
numbers.
Source: Saxe et al. 2014; Dauphin et al. 2014; DIAGNOSIS.md 4.5 (rivals of a low rate), 4.1 (cell NONE).
Looks alike: a low rate (the loss does fall, all the time), vanishing gradients (deeper, and the outputs are alike),
dead units.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from seminal.doctor import pace, remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "optimisation"
STILL = 0.3  # share of the run
NEAR = 0.03  # of the loss of a constant answer


def judge(chart: Chart) -> Finding | None:
    losses, expected = chart.course.losses, chart.anatomy.expected_loss
    if not math.isfinite(expected) or expected <= 0 or len(losses) < 50:
        return None
    width = max(1, len(losses) // 40)
    level = [sum(losses[i : i + width]) / width for i in range(0, len(losses) - width + 1, width)]
    still = sum(abs(value - expected) < NEAR * expected for value in level) / len(level)
    if still < STILL or signs.learned(chart) or not chart.in_time or not math.isfinite(losses[-1]):
        return None
    arms = (remedies.default_start(), remedies.adam(pace.usual(chart)), remedies.rate(10))
    best, effect = signs.best_of(chart, arms)
    if not effect.helped:
        return None
    return Finding(
        "saddle_plateau",
        signs.confidence(effect, 0.55) - 0.05,
        (
            f"for {still:.0%} of the run the loss stood within 3 % of {expected:.3g}, where an answer without opinion stands",
            effect.told(best.says),
        ),
        signs.first(best, arms),
        (),
        frozenset({"underfitting"}),
    )


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = specimens.network(12, 32, 32, 32, 5, activation=nn.Tanh)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
    return specimens.program(model, specimens.groups(), torch.optim.SGD(model.parameters(), lr=0.1))


def well(seed: int = 0) -> dict[str, Any]:
    """A short plateau at the start, which training leaves."""
    torch.manual_seed(seed)
    model = specimens.network(12, 48, 48, 5, activation=nn.Tanh)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.03)
    return specimens.program(model, specimens.groups(), torch.optim.Adam(model.parameters(), lr=3e-3), epochs=25)
