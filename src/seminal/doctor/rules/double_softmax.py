"""Softmax before a loss that takes one itself.

Sign: the outputs of a row are positive and sum to 1, whatever the layers before give, and the loss does not change
when the same number is added to all outputs of a row.
Reason: the second softmax sees numbers between 0 and 1 only, so that no class can get more than e / (e + C − 1): the
loss stays above a floor (1.46 for ten classes), and its gradient is small when it should be large.
Source: DIAGNOSIS.md 4.1 (measured floors), 4.3 (check 1); PyTorch's page on cross-entropy.
Looks alike: a rate that is too low. Log-softmax before it is no fault: applied twice, it stays what it is.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from seminal.doctor import remedies, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "code"


def judge(chart: Chart) -> Finding | None:
    anatomy = chart.anatomy
    twice = anatomy.ending == "softmax" and anatomy.ending_dim != 0 and not anatomy.end.one_value
    takes_one = anatomy.shift_invariant and anatomy.loss in ("cross_entropy", "")
    if not twice or not takes_one or anatomy.two_players:
        return None
    classes = anatomy.out_shape[(anatomy.ending_dim or 1) - 1]
    floor = math.log(1 + (classes - 1) / math.e)
    return Finding(
        "double_softmax",
        0.97,
        (
            f"the {classes} outputs of a row always sum to 1, and the loss takes a softmax itself (adding a number "
            "to all outputs of a row does not change it)",
            f"with such outputs the loss cannot fall below {floor:.3f}: reached {anatomy.given.loss:.3g} with free "
            f"outputs between 0 and 1, {anatomy.wanted.loss:.2g} without the first softmax",
        ),
        (remedies.without_ending(),),
        (),
        frozenset(
            {
                "lr_low",
                "epochs_few",
                "optimizer",
                "saturation",
                "vanishing_gradient",
                "output_activation",
                "loss_mismatch",
            }
            | {"saddle_plateau", "underfitting", "over_regularised"}
        ),
    )


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = nn.Sequential(specimens.network(12, 64, 5), nn.Softmax(dim=1))
    return specimens.program(model, specimens.groups())


def well(seed: int = 0) -> dict[str, Any]:
    """Log-softmax before a cross-entropy: once more changes nothing."""
    torch.manual_seed(seed)
    model = nn.Sequential(specimens.network(12, 64, 5), nn.LogSoftmax(dim=1))
    return specimens.program(model, specimens.groups())
