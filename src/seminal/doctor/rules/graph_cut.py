"""The loss is cut off from parameters.

Sign: the outputs depend on parameters, the optimiser has them, and in none of the first training steps does a
gradient reach them (or only exact zeros, though tiny changes of them move the outputs).
Reason: `detach()`, `.item()`, `.data`, `no_grad`, a new tensor made of numbers, argmax or rounding end autograd's
graph.
Source: DIAGNOSIS.md 4.3 (check 12) and 4.2; TrainCheck watches parameters that do not change. Here the dependence is
shown by moving the parameter, so that parts that are merely unused are not named.
Looks alike: parameters that the optimiser does not have (`frozen_parameters`); units that are off (`dead_relu`):
there, moving the parameter a little changes nothing.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from seminal.doctor import remedies, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "code"


def judge(chart: Chart) -> Finding | None:
    anatomy = chart.anatomy
    cut = anatomy.cut
    if not cut:
        return None
    sizes = {name: p.numel() for name, p in chart.program.model.named_parameters()}
    lost, whole = sum(sizes[name] for name in cut), sum(sizes.values())
    received = anatomy.steps.received
    none = [name for name in cut if math.isnan(received[name])]
    evidence = [
        f"no gradient reaches {', '.join(cut[:4])}{' …' if len(cut) > 4 else ''} ({lost:,} of {whole:,} numbers) in "
        f"any of the first {len(anatomy.steps.losses)} training steps, though the outputs change when they are moved"
    ]
    if anatomy.loss_detached:
        evidence.append("the loss itself has no gradient with respect to the outputs: it is made of plain numbers")
    elif not none:
        evidence.append("what arrives is exactly zero: a rounding, a threshold or an argmax lies in between")
    return Finding(
        "graph_cut",
        0.97 if none else 0.85,
        tuple(evidence),
        (remedies.reconnected(), *([remedies.with_loss(anatomy.usual_loss)] if anatomy.loss_detached else [])),
        ("frozen_parameters: they require a gradient, and the optimiser has them",),
        frozenset(
            {"frozen_parameters", "loss_implementation", "vanishing_gradient", "dead_relu", "underfitting", "optimizer"}
            | {"lr_low", "epochs_few", "saddle_plateau"}
        ),
    )


class _Coded(nn.Module):
    """A classifier that reads a short code of its input."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.encoder = specimens.network(12, 32, 4)
        self.reader = specimens.network(4, 32, 5)
        self.unused = nn.Linear(4, 4)
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        code: Tensor = self.encoder(x)
        out: Tensor = self.reader(code.detach() if self.cut else code)
        return out


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    return specimens.program(_Coded(cut=True), specimens.groups())


def well(seed: int = 0) -> dict[str, Any]:
    """A part that nobody uses gets no gradient either, and that is as it should be."""
    torch.manual_seed(seed)
    return specimens.program(_Coded(cut=False), specimens.groups())
