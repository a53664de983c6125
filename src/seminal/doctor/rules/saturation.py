"""Sigmoid or tanh units sit on their flat ends.

Sign: more than half of the values of a hidden sigmoid or tanh layer lie within 1 % of an end, the run is not well, and
smaller inputs, other first weights or rectified units do clearly better.
Reason: on the flat ends the slope is almost 0, and the gradient with it.
Source: DeepDiagnosis (|pre-activation| ≥ 5 for more than half), TheDeepChecker (ρ > 0.85); Glorot and Bengio 2010,
Sec. 3.
Looks alike: gates that are meant to be open or shut; outputs, which this rule does not look at.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seminal.doctor import remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "optimisation"
MOST = 0.5


def judge(chart: Chart) -> Finding | None:
    vitals = chart.course.vitals
    names = list(vitals.layers)
    flat = {
        n: layer.flat for n, layer in vitals.layers.items() if layer.flat and n != names[-1] and layer.flat[0] >= MOST
    }
    if not flat or signs.learned(chart) or not chart.in_time:
        return None
    name, shares = max(flat.items(), key=lambda item: item[1][0])
    arms = [remedies.default_start(), remedies.activations("relu")]
    if chart.train.inputs.is_floating_point():
        arms.insert(0, remedies.standardised_inputs(chart.train))
    best, effect = signs.best_of(chart, arms)
    if not effect.helped:
        return None
    return Finding(
        "saturation",
        signs.confidence(effect, 0.6) - 0.05,
        (
            f"{shares[0]:.0%} of the values of layer `{name}` lie within 1 % of an end at the start",
            effect.told(best.says),
        ),
        signs.first(best, arms),
        (),
        frozenset({"vanishing_gradient", "saddle_plateau", "optimizer", "underfitting", "hidden_activation"}),
    )


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = specimens.network(12, 32, 32, 5, activation=nn.Tanh)
    x, y = specimens.groups()
    return specimens.program(model, (60 * x + 300, y), torch.optim.SGD(model.parameters(), lr=0.05))


def well(seed: int = 0) -> dict[str, Any]:
    """tanh units that grow towards their ends as they learn to decide."""
    torch.manual_seed(seed)
    model = specimens.network(12, 64, 5, activation=nn.Tanh)
    return specimens.program(model, specimens.groups(), epochs=30)
