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

from seminal.doctor import course, remedies, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "code"
ROWS = 32  # that are looked at
CLOSE = 1e-3  # to 1
MIXED = 1e-3  # of the outputs' spread over rows; rounding makes less than a thousandth of it


def judge(chart: Chart) -> Finding | None:
    anatomy = chart.anatomy
    if not anatomy.alone > MIXED:
        return None
    evidence = [
        f"in evaluation mode, a row's outputs change by up to {anatomy.alone:.3g} times their spread when the other "
        "rows of the batch are replaced"
    ]
    turns = any(_rows_second(module) for module in chart.program.model.modules())
    if over_rows := _sums_over_rows(chart):
        evidence.append(over_rows)
    elif not turns:
        evidence.append("look for what runs over the rows: a softmax, a mean or a normalisation over dim=0, a reshape")
    return Finding(
        "batch_contamination",
        0.95,
        tuple(evidence),
        (remedies.rows_first(),) if turns else (),
        (),
        frozenset({"underfitting", "optimizer", "lr_low", "epochs_few", "overfitting", "saddle_plateau", "label_bug"}),
    )


def _rows_second(module: nn.Module) -> bool:
    """Whether it takes the second dimension for the rows, and could take the first."""
    return isinstance(module, nn.RNNBase | nn.MultiheadAttention | nn.Transformer) and not module.batch_first


def _sums_over_rows(chart: Chart) -> str:
    """A softmax over the wrong dimension, as a module or a function, is known by what it gives."""
    out = course.outputs(chart.program.model, chart.train.part(torch.arange(min(ROWS, len(chart.train)))))
    if out is None or out.dim() < 2 or min(out.shape[:2]) < 2 or not out.is_floating_point():
        return ""
    for what, shares in (("the outputs", out), ("exp of the outputs", out.exp())):
        if bool(((shares.sum(0) - 1).abs() < CLOSE).all()) and bool((shares >= 0).all()):
            return f"over the rows of a batch, each column of {what} sums to 1: the softmax has dim=0. Write dim=1"
    return ""


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
