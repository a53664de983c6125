"""Rows of a batch influence one another.

Sign: in evaluation mode, a row's outputs change when the other rows of its batch are replaced.
Reason: attention or recurrence over the rows because a layer expects another order of dimensions, a softmax or a mean
over dimension 0, a reshape that mixes rows, normalisation with the statistics of the batch.
Source: TheDeepChecker's independence test; Karpathy's recipe (the loss of one row must not reach the inputs of
another); DIAGNOSIS.md 4.4.
Looks alike: batch normalisation while training, which is meant to do so; in evaluation mode it must not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seminal.doctor import remedies, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "code"
MIXED = 1e-3  # of the outputs' spread over rows; rounding makes less than a thousandth of it


def judge(chart: Chart) -> Finding | None:
    anatomy = chart.anatomy
    if not anatomy.alone > MIXED:
        return None
    evidence = [
        f"in evaluation mode, a row's outputs change by up to {anatomy.alone:.3g} times their spread when the other "
        "rows of the batch are replaced"
    ]
    if anatomy.ending == "softmax" and anatomy.ending_dim == 0:
        evidence.append("the last softmax runs over the rows: each column, not each row, sums to 1")
    return Finding(
        "batch_contamination",
        0.95,
        tuple(evidence),
        (remedies.rows_first(),),
        (),
        frozenset({"underfitting", "optimizer", "lr_low", "epochs_few", "overfitting", "saddle_plateau", "label_bug"}),
    )


class _Reader(nn.Module):
    def __init__(self, rows_first: bool) -> None:
        super().__init__()
        self.mix = nn.MultiheadAttention(12, 2, batch_first=rows_first)
        self.head = specimens.network(12, 32, 5)

    def forward(self, x: Tensor) -> Tensor:
        pairs = torch.stack([x, x.flip(1)], 1)  # (rows, 2, features)
        out: Tensor = self.head(x + self.mix(pairs, pairs, pairs)[0].mean(1))
        return out


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    return specimens.program(_Reader(rows_first=False), specimens.groups())


def well(seed: int = 0) -> dict[str, Any]:
    """Attention inside each row, and batch normalisation."""
    torch.manual_seed(seed)
    return specimens.program(nn.Sequential(nn.BatchNorm1d(12), _Reader(rows_first=True)), specimens.groups())
