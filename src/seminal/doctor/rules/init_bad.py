"""First weights that are constant, far too large, or far too small.

Sign: the spread of a weight matrix is far from 1 / √inputs, or its values lean to one side, or a recurrent matrix
grows what it is multiplied with; and the same program with each layer's own first weights does clearly better.
Reason: every layer multiplies the size of the signal, and of the gradient on its way back, by the spread of its
weights times √inputs; equal weights get equal gradients and stay equal.
Source: Glorot and Bengio 2010; He et al. 2015; DIAGNOSIS.md 4.3 (check 9), 4.1 (first loss against ln C).
Looks alike: unscaled inputs, a high rate, dead units: signs of the same program that this one explains.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seminal.doctor import remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding
from seminal.doctor.starts import starts

STAGE = "optimisation"


def judge(chart: Chart) -> Finding | None:
    odd = [said for start in starts(chart.program.model) if (said := start.odd)]
    if not odd or signs.learned(chart) or not chart.in_time:
        return None
    effect = signs.effect(chart, remedies.default_start())
    if not effect.helped:
        return None
    anatomy = chart.anatomy
    evidence = [*odd[:3], effect.told("each layer's own first weights")]
    if anatomy.first_loss > 2 * anatomy.expected_loss:
        evidence.append(
            f"the first loss is {anatomy.first_loss:.3g}; an answer without opinion has {anatomy.expected_loss:.3g}"
        )
    return Finding(
        "init_bad",
        min(0.95, signs.confidence(effect, 0.75)),
        tuple(evidence),
        (remedies.default_start(), remedies.he_start()),
        (),
        frozenset({"optimizer", "lr_low", "epochs_few", "underfitting", "over_regularised", "batch_size"}),
    )


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = specimens.network(12, 48, 48, 5, activation=nn.Tanh)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=4.0)
    return specimens.program(model, specimens.groups(), torch.optim.SGD(model.parameters(), lr=0.05))


def well(seed: int = 0) -> dict[str, Any]:
    """A last layer that starts at zero, as it is often meant to."""
    torch.manual_seed(seed)
    model = specimens.network(12, 64, 64, 5)
    last = model[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    return specimens.program(model, specimens.groups())
