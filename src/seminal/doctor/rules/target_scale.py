"""Targets of a regression far from what an output starts with.

Sign: the targets' mean or spread is far from 0 and 1, the answers stay away from them, and the same run on standardised
targets is clearly further.
Reason: outputs start near 0 with a spread near 1. A distant mean has to be climbed in steps of the learning rate, which
for Adam are of one size whatever the error is; a large spread makes the gradient of a squared error as many times
larger.
Source: DeepDiagnosis (outputs out of the range of the targets).
Looks alike: a rate that is too low, too few epochs (both help a little: there is a way to go), an output that ends in a
sigmoid.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seminal.doctor import remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "optimisation"
LARGE, SMALL = 3.0, 0.05
REACHED = 0.2  # of skill: from worse than the mean to the mean is no cure
EXPLAINS = frozenset({"exploding_gradient", "saddle_plateau", "underfitting", "init_bad", "saturation", "dead_relu"})


def judge(chart: Chart) -> Finding | None:
    if chart.anatomy.kind != "regression":
        return None
    targets = chart.train.targets.reshape(len(chart.train), -1).double()
    mean, spread = targets.mean(0).abs(), targets.std(0)
    odd = max(float(mean.max()), float(spread.max())) > LARGE or 0 < float(spread.min()) < SMALL
    if not odd or signs.well(chart) or not chart.in_time:
        return None
    standard = remedies.standardised_targets(chart.train)
    effect = signs.effect(chart, standard)
    if not effect.helped or effect.after < REACHED:
        return None
    evidence = (
        f"targets have a mean of {float(mean.max()):.4g} and a spread of {float(spread.max()):.4g}; outputs start near 0",
        effect.told("the same run on standardised targets"),
    )
    return Finding("target_scale", signs.confidence(effect, 0.7), evidence, (standard,), (), EXPLAINS)


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    x, y = specimens.waves()
    return specimens.program(specimens.network(4, 48, 48, 1), (x, 4000 + 900 * y), epochs=30)


def well(seed: int = 0) -> dict[str, Any]:
    """Large targets, and a last layer that begins at their mean and in their unit."""
    torch.manual_seed(seed)
    x, y = specimens.waves()
    end = nn.Linear(1, 1)
    nn.init.constant_(end.weight, 30.0)
    nn.init.constant_(end.bias, 40.0)
    model = nn.Sequential(specimens.network(4, 48, 48, 1), end)
    return specimens.program(model, (x, 40 + 30 * y), epochs=60)
