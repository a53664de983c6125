"""Gradients pile up over steps.

Sign: when backward begins, the gradients that the last update has already used are still there, in most steps after
the first.
Reason: backward adds to what is there; without `zero_grad` each update uses the sum of all gradients since training
began.
Source: DIAGNOSIS.md 4.1 and 4.2; TrainCheck (zero_grad precedes backward). Never by the curve: with Adam at a small
rate it is invisible, with momentum it looks like a rate that is too high.
Looks alike: accumulation over several batches on purpose, where an update comes only when all are in: used gradients
are cleared there, too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seminal.doctor import remedies, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "code"
MOST = 0.7  # of the steps after the first


def judge(chart: Chart) -> Finding | None:
    steps = chart.anatomy.steps
    if steps.leftover < MOST or steps.vitals.steps < 3:
        return None
    growth = [f"{norm:.3g}" for norm in steps.vitals.gradient]
    return Finding(
        "zero_grad_missing",
        0.97,
        (
            f"in {100 * steps.leftover:.0f} % of the steps after the first, gradients that the last update has used "
            f"are still there when backward begins (norm of what piles up: {', '.join(growth)})",
        ),
        (remedies.default_step(),),
        ("accumulation on purpose: each of these steps is followed by an update",),
        frozenset({"exploding_gradient", "lr_high", "saturation", "dead_relu", "optimizer"}),
    )


def _heedless(model: nn.Module, loss: Any, optimizer: Optimizer, x: Tensor, y: Tensor) -> Tensor:
    value: Tensor = loss(model(x), y)
    value.backward()
    optimizer.step()
    return value.detach()


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = specimens.network(12, 64, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return {**specimens.program(model, specimens.groups(), optimizer), "train_step": _heedless}


def well(seed: int = 0) -> dict[str, Any]:
    """Updates from the gradients of two batches each."""
    torch.manual_seed(seed)
    model = specimens.network(12, 64, 5)
    seen: list[None] = []

    def step(model: nn.Module, loss: Any, optimizer: Optimizer, x: Tensor, y: Tensor) -> Tensor:
        value: Tensor = loss(model(x), y) / 2
        value.backward()
        seen.append(None)
        if len(seen) % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return 2 * value.detach()

    return {**specimens.program(model, specimens.groups()), "train_step": step}
