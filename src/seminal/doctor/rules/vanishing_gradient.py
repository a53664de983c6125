"""Gradients die on the way to the first layers.

Sign: at the start the gradient of the first weights is thousands of times smaller than that of the last, the outputs hardly
depend on the row, and rectified units or normalised layers do clearly better.
Reason: each sigmoid multiplies the gradient by at most a quarter; twelve of them by less than 10⁻⁷.
Source: AUTOTRAINER (first / last < 10⁻³ and first < 10⁻⁴); DIAGNOSIS.md 4.1: the ratio alone misleads, so the spread of the
outputs over rows must say the same.
Looks alike: dead units and first weights near zero, whose own signs are stronger.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from seminal.doctor import remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "optimisation"
RATIO = 1e-2  # of the gradients' norms per weight, first matrix to last
ALIKE = 1e-2  # spread of the outputs over rows at the start


def judge(chart: Chart) -> Finding | None:
    vitals = chart.course.vitals
    matrices = [
        (n, w) for n, w in vitals.weights.items() if len(w.shape) >= 2 and w.gradient and math.isfinite(w.gradient[0])
    ]
    if len(matrices) < 4 or vitals.output is None or not vitals.output.rows:
        return None
    (first, early), (last, late) = matrices[0], matrices[-1]
    ratio = _per_weight(early.gradient[0], early.shape) / max(_per_weight(late.gradient[0], late.shape), 1e-30)
    alike = vitals.output.rows[0]
    if ratio > RATIO or alike > ALIKE or signs.learned(chart) or not chart.in_time:
        return None
    arms = (remedies.activations("relu"), remedies.normalised(), remedies.activations("tanh"))
    best, effect = signs.best_of(chart, arms)
    if not effect.helped:
        return None
    return Finding(
        "vanishing_gradient",
        signs.confidence(effect, 0.7),
        (
            f"at the start a weight of `{first}` gets {ratio:.1g} of the gradient of a weight of `{last}`",
            f"outputs differ from row to row by {alike:.1g} only",
            effect.told(best.says),
        ),
        signs.first(best, arms),
        (),
        frozenset({"saddle_plateau", "optimizer", "lr_low", "epochs_few", "underfitting"}),
    )


def _per_weight(norm: float, shape: tuple[int, ...]) -> float:
    return norm / math.sqrt(math.prod(shape))


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = specimens.network(12, *[16] * 10, 5, activation=nn.Sigmoid)
    return specimens.program(model, specimens.groups())


def well(seed: int = 0) -> dict[str, Any]:
    """As deep, with units and first weights that let the gradient through."""
    torch.manual_seed(seed)
    model = specimens.network(12, *[32] * 6, 5, activation=nn.SELU)
    return specimens.program(model, specimens.groups(spread=0.7))
