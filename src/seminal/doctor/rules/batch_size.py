"""Batches so large that updates are too few, or so small that noise rules.

Sign: at the same number of epochs, batches of 32 do clearly better. With large ones there are a few dozen updates in
all; with small ones (and above all with batch normalisation, whose statistics are then of two or three rows) the loss
jumps about.
Reason: an epoch of few batches is few steps; a batch of few rows is a bad estimate of the gradient (gradient noise
scale).
Source: McCandlish et al. 2018; DIAGNOSIS.md 2.1 (HBS: no tool covers it but AUTOTRAINER's repair).
Looks alike: too few epochs and a low rate (named beside it where they would help too), a high rate.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seminal.doctor import pace, remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "optimisation"
USUAL = 32
SMALL = 4
FEW_UPDATES = 300  # in the whole run


def judge(chart: Chart) -> Finding | None:
    steps = len(chart.program.train)  # type: ignore[arg-type]
    rows = chart.train.total
    batch = -(-rows // max(1, steps))
    large = batch >= 4 * USUAL and steps * chart.program.epochs < FEW_UPDATES
    if not (large or batch <= SMALL) or rows < 2 * USUAL or signs.learned(chart) or not chart.in_time:
        return None
    effect = signs.effect(chart, remedies.batch(USUAL), share=1.0 if large else None)
    if not effect.helped:
        return None
    evidence = [effect.told(f"batches of {USUAL} for {batch}, as many epochs")]
    if large:
        evidence.append(
            f"{rows:,} rows in batches of {batch} make {steps} updates in an epoch and {steps * chart.program.epochs} in all"
        )
    else:
        evidence.append(
            f"a typical step of the loss at the end is {pace.rough(chart.course.losses):.0%} of its whole fall"
        )
    return Finding(
        "batch_size",
        signs.confidence(effect, 0.65),
        tuple(evidence),
        (remedies.batch(USUAL),),
        (),
        frozenset({"underfitting", "saddle_plateau"}),
    )


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = specimens.network(12, 48, 5)
    return specimens.program(model, specimens.groups(), torch.optim.Adam(model.parameters(), lr=1e-3), batch=600)


def well(seed: int = 0) -> dict[str, Any]:
    """Whole-batch steps, but enough of them."""
    torch.manual_seed(seed)
    model = nn.Linear(4, 1)
    x, _ = specimens.waves()
    y = x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]]) + 0.1
    return specimens.program(model, (x, y), torch.optim.SGD(model.parameters(), lr=0.3), batch=1000, epochs=60)
