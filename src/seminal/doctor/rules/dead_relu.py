"""Most units of a rectified layer never fire.

Sign: at the end of the run more than half of a layer's units are exactly 0 for every row of a batch, the run is not
well, and other first weights or a leaky unit do clearly better.
Reason: where a unit is 0 for all rows its gradient is 0 too, so it stays as it is; large steps and negative biases
drive units there.
Source: DeepDiagnosis (70 % of outputs at or below 0), TheDeepChecker (half of the units), DIAGNOSIS.md 4.2.
Looks alike: wide sparse layers that are well; a collapse of the outputs for other reasons.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seminal.doctor import remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "optimisation"
MOST = 0.6  # of the units


def judge(chart: Chart) -> Finding | None:
    vitals = chart.course.vitals
    dead = {name: layer.silent for name, layer in vitals.layers.items() if layer.silent and layer.silent[-1] >= MOST}
    hidden = {name: shares for name, shares in dead.items() if vitals.layers[name].kind != "Dropout"}
    if not hidden or signs.learned(chart) or not chart.in_time:
        return None
    name, shares = max(hidden.items(), key=lambda item: item[1][-1])
    started = shares[0]
    arms = (remedies.default_start(), remedies.activations("leaky_relu"))
    best, effect = signs.best_of(chart, arms)
    if not effect.helped:
        return None
    return Finding(
        "dead_relu",
        signs.confidence(effect, 0.6) - 0.05,
        (
            f"{shares[-1]:.0%} of the units of layer `{name}` are 0 for every row at the end ({started:.0%} at the start)",
            effect.told(best.says),
        ),
        signs.first(best, arms),
        (),
        frozenset({"vanishing_gradient", "saddle_plateau", "optimizer", "underfitting"}),
    )


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = specimens.network(12, 48, 48, 5)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.constant_(layer.bias, -8.0)
    return specimens.program(model, specimens.groups())


def well(seed: int = 0) -> dict[str, Any]:
    """A wide layer in which many units rest, and nothing is amiss."""
    torch.manual_seed(seed)
    model = specimens.network(12, 256, 5)
    first = model[0]
    assert isinstance(first, nn.Linear)
    nn.init.constant_(first.bias, -2.0)
    return specimens.program(model, specimens.groups())
