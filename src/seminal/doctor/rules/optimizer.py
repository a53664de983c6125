"""An optimiser that cannot make progress here.

Sign: neither ten times the rate nor a tenth of it gets anywhere, and Adam at a usual rate does. Or the optimiser's rate means
something else than it was taken for: Adadelta, which finds its own step, at 0.001.
Reason: plain gradient descent gives every parameter the same rate. Behind sigmoids the gradients of the first layers are
hundreds of times smaller than those of the last, and no single rate suits both.
Source: DIAGNOSIS.md 4.1 (cell OPT: the own optimiser fails on one batch, Adam fits); Zeiler 2012 for Adadelta.
Looks alike: a rate that is wrong (moving it helps), vanishing gradients (the activation's remedy helps more).
"""

from __future__ import annotations

from typing import Any

import torch

from seminal.doctor import pace, remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "optimisation"


def judge(chart: Chart) -> Finding | None:
    optimizer = chart.program.optimizer
    kind, rate = type(optimizer).__name__, optimizer.param_groups[0]["lr"]
    if isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
        return None
    found = pace.asked(chart)
    if found is None or not found.other.helped:
        return None
    odd = isinstance(optimizer, torch.optim.Adadelta | torch.optim.Adagrad) and rate < found.lowest
    if not odd and found.other.gain < max(found.up.gain, found.down.gain) + signs.HELPS:
        return None
    evidence = [found.other.told(f"Adam at {pace.usual(chart):g} instead of {kind} at {rate:g}")]
    if odd:
        evidence.append(f"{kind} is made for rates from {found.lowest:g} on")
    return Finding(
        "optimizer",
        signs.confidence(found.other, 0.6),
        tuple(evidence),
        (remedies.adam(pace.usual(chart)), remedies.adam(1e-2), remedies.momentum(0.9)),
        (
            found.up.told(f"lr_low: {found.faster:g} times the rate"),
            found.down.told(f"lr_high: {found.slower:g} times the rate"),
        ),
        frozenset({"saddle_plateau", "vanishing_gradient", "underfitting"}),
    )


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = specimens.network(12, 48, 48, 5)
    return specimens.program(model, specimens.groups(), torch.optim.Adadelta(model.parameters(), lr=1e-3))


def well(seed: int = 0) -> dict[str, Any]:
    """Plain gradient descent where it is enough."""
    torch.manual_seed(seed)
    model = specimens.network(12, 64, 5)
    return specimens.program(model, specimens.groups(), torch.optim.SGD(model.parameters(), lr=0.1), epochs=30)
