"""No non-linearity between layers, or one that does not suit so deep a network.

Sign: the whole model is an affine map of its inputs though it has several weight matrices, and the same model with rectified
units, or any network with them, does clearly better. Or three and more sigmoid layers, and rectified units do clearly better.
Reason: a product of matrices is one matrix: such a model draws straight lines only.
Source: NeuraLint, UMLAUT (hidden layers without activation), both by reading the code; here by what the model does:
f(a + b) + f(0) = f(a) + f(b).
Looks alike: a task that is linear, where such a model is right; a model that is simply too small.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seminal.doctor import remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "optimisation"
DEEP = 3  # sigmoid layers


def judge(chart: Chart) -> Finding | None:
    matrices = sum(p.dim() >= 2 for p in chart.program.model.parameters())
    linear = chart.anatomy.linear is True and matrices >= 2
    sigmoids = sum(isinstance(m, nn.Sigmoid) for m in chart.program.model.modules())
    if not (linear or sigmoids >= DEEP) or signs.learned(chart) or not chart.in_time:
        return None
    arm = remedies.with_activations("relu") if linear else remedies.activations("relu")
    effect = signs.effect(chart, arm)
    if not effect.helped:
        return None
    sign = (
        f"the model is an affine map of its inputs, in spite of its {matrices} weight matrices: f(a + b) + f(0) = f(a) + f(b)"
        if linear
        else f"{sigmoids} sigmoid layers in a row, each of which passes at most a quarter of the gradient"
    )
    return Finding(
        "hidden_activation",
        signs.confidence(effect, 0.75 if linear else 0.6),
        (sign, effect.told(arm.says)),
        (arm,),
        (),
        frozenset({"underfitting", "optimizer", "lr_low", "epochs_few", "saddle_plateau"}),
    )


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = specimens.network(4, 32, 32, 1, activation=nn.Identity)
    return specimens.program(model, specimens.waves(), epochs=40)


def well(seed: int = 0) -> dict[str, Any]:
    """A stack of linear layers for a linear task."""
    torch.manual_seed(seed)
    x, _ = specimens.waves()
    y = x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]]) + 0.1
    return specimens.program(specimens.network(4, 8, 1, activation=nn.Identity), (x, y), epochs=40)
