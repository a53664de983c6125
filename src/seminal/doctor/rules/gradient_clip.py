"""Gradients are clipped so tightly that most steps are shortened.

Sign: the optimiser is given a small part of the gradient's norm that backward left, in most steps of the run, and the
same run with a limit that only exceptional steps reach does clearly better.
Reason: a limit far below the usual norm replaces the gradient by its direction, at a length that the rate was not
chosen for.
Source: Google's tuning playbook (clip at the 90th percentile; where more than half of the steps are clipped, the rate
is at fault); DIAGNOSIS.md 4.2 (clip share), 2.1 (DeepCrime's OCG).
Looks alike: clipping that an optimiser divides out again (Adam), and that keeps a high rate stable: without it
nothing is gained.
"""

from __future__ import annotations

from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seminal.doctor import remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "code"
FIRST = 0.5  # of the norm, in the first steps
SHARE = 0.3  # of the norm, in the middle step of the run
CLIPPED = 0.5  # share of the steps that are shortened


def judge(chart: Chart) -> Finding | None:
    if chart.anatomy.clip > FIRST or not chart.in_time:
        return None
    vitals = chart.course.vitals
    shares = vitals.clipped()
    shortened = sum(share < 0.99 for share in shares) / max(1, len(shares))
    if shortened < CLIPPED or median(shares) > SHARE or len(shares) < 4 or signs.well(chart):
        return None
    usual = quantiles(vitals.gradient, n=10)[-1]
    arm = remedies.together(remedies.unclipped(), remedies.clipped(usual))
    effect = signs.effect(chart, arm)
    if not effect.helped:
        return None
    return Finding(
        "gradient_clip",
        signs.confidence(effect, 0.85),
        (
            f"{100 * shortened:.0f} % of the steps are shortened; the optimiser is given {100 * median(shares):.2g} "
            f"% of the norm (median norm {median(vitals.gradient):.3g}, taken {median(vitals.taken):.3g})",
            effect.told(f"with a limit of {usual:.3g}, the 90th percentile"),
        ),
        (arm,),
        (),
        frozenset({"lr_low", "epochs_few", "optimizer", "underfitting", "saddle_plateau", "batch_size"}),
    )


def _step(limit: float) -> Any:
    def step(model: nn.Module, loss: Any, optimizer: Optimizer, x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        value: Tensor = loss(model(x), y)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), limit)
        optimizer.step()
        return value.detach()

    return step


def _parts(limit: float, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = specimens.network(12, 64, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return {**specimens.program(model, specimens.groups(), optimizer, epochs=20), "train_step": _step(limit)}


def sick(seed: int = 0) -> dict[str, Any]:
    return _parts(0.003, seed)


def well(seed: int = 0) -> dict[str, Any]:
    """A limit that shortens the steepest steps."""
    return _parts(1.0, seed)
