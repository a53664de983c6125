"""The number of outputs does not match the classes or the targets.

Sign: a row has fewer outputs than it has targets (one output is then broadcast against all of them), or fewer outputs
than there are classes.
Reason: one number cannot follow two targets; broadcasting hides it, and the loss settles at their mean.
Source: DIAGNOSIS.md 4.3 (checks 2 and 4); TheDeepChecker.
Looks alike: more outputs than targets (a variance, a latent), more outputs than classes: harmless.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from seminal.doctor import remedies, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "code"


def judge(chart: Chart) -> Finding | None:
    anatomy = chart.anatomy
    outputs, targets = math.prod(anatomy.out_shape), math.prod(anatomy.target_shape)
    if anatomy.two_players or anatomy.kind == "unknown":
        return None
    if anatomy.kind == "classes":
        # With one output the class is read as a number, which is another fault.
        if len(anatomy.out_shape) != 1 or not 1 < outputs < anatomy.classes:
            return None
        needed, said = anatomy.classes, f"there are {anatomy.classes} classes and {outputs} outputs"
    else:
        if outputs >= targets:
            return None
        needed, said = targets, f"each row has {targets} targets and {outputs} output{'s' * (outputs > 1)}"
    reached = anatomy.wanted.standard
    if math.isfinite(reached):
        said += f": the best that outputs of this shape could ever be is {reached:.2f} (1 is right)"
    return Finding(
        "wrong_units",
        0.95,
        (said,),
        (remedies.with_outputs(needed),),
        (),
        frozenset({"loss_implementation", "loss_mismatch", "underfitting", "metric_wrong", "lr_low", "epochs_few"}),
    )


def _pairs() -> tuple[Tensor, Tensor]:
    x, y = specimens.waves()
    return x, torch.cat([y, torch.cos(x[:, :1])], 1)


def _squared(out: Tensor, target: Tensor) -> Tensor:
    return ((out - target) ** 2).mean()


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    return specimens.program(specimens.network(4, 64, 1), _pairs(), loss=_squared, epochs=40)


def well(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    return specimens.program(specimens.network(4, 64, 64, 2), _pairs(), loss=_squared, epochs=40)
