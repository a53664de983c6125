"""Inputs or targets hold NaN or infinity.

Sign: rows that hold such numbers, and a loss (or, in validation, outputs or a metric) that is not finite because of
them.
Reason: one NaN in a batch makes the loss NaN, and one update with it makes all weights NaN.
Source: UMLAUT (NaN input), DIAGNOSIS.md 4.3 (check 5).
Looks alike: a loss that is not finite by itself; missing values that the model or the loss masks, where all stays
finite.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from seminal.doctor import course, remedies, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding
from seminal.doctor.loss_form import number
from seminal.doctor.rows import Rows
from seminal.doctor.wanted import measured

STAGE = "code"
MANY = 64  # rows that are sent through the model

_EXPLAINED = frozenset(
    {"exploding_gradient", "lr_high", "loss_implementation", "init_bad", "dead_relu", "optimizer", "input_scale"}
    | {"underfitting", "saddle_plateau", "output_activation", "metric_wrong", "target_scale", "epochs_few", "lr_low"}
)


def judge(chart: Chart) -> Finding | None:
    told = [said for said in (_training(chart), _validation(chart)) if said]
    if not told:
        return None
    return Finding("non_finite_data", 0.98, tuple(told), (remedies.finite_rows(),), (), _EXPLAINED)


def _training(chart: Chart) -> str:
    rows, dirty = _dirty(chart.program.train, chart.train)
    if not len(dirty):
        return ""
    few = rows.part(dirty[:MANY])
    out = course.outputs(chart.program.model, few)
    if out is not None and math.isfinite(number(chart.program.loss, out, few.targets)):
        return ""
    return f"{_told(rows, dirty)} of the training data, and the loss on these rows is not finite"


def _validation(chart: Chart) -> str:
    rows, dirty = _dirty(chart.program.val, chart.val)
    if not len(dirty):
        return ""
    few = rows.part(dirty[:MANY])
    out = course.outputs(chart.program.model, few)
    if (
        out is not None
        and bool(out.isfinite().all())
        and math.isfinite(measured(chart.program.metric, out, few.targets))
    ):
        return ""
    return f"{_told(rows, dirty)} of the validation data, and so do the outputs or the metric"


def _dirty(loader: Any, some: Rows) -> tuple[Rows, Tensor]:
    """Rows, and the numbers of those that hold NaN or infinity: all rows there are, where they are tensors."""
    rows = some
    if (
        isinstance(loader, DataLoader)
        and isinstance(loader.dataset, TensorDataset)
        and len(loader.dataset.tensors) == 2
    ):
        rows = Rows(*loader.dataset.tensors, len(loader.dataset))
    good = torch.ones(len(rows), dtype=torch.bool)
    for values in (rows.inputs, rows.targets):
        good &= values.isfinite().reshape(len(rows), -1).all(1)
    return rows, (~good).nonzero().flatten()


def _told(rows: Rows, dirty: Tensor) -> str:
    cells = sum(int((~values.isfinite()).sum()) for values in (rows.inputs, rows.targets))
    where = "targets" if bool(rows.inputs.isfinite().all()) else "inputs"
    first = f"{where}; the first is row {int(dirty[0])}"
    return f"{cells} cells in {len(dirty)} of {len(rows):,} rows hold NaN or infinity ({first})"


def _holed() -> tuple[Tensor, Tensor]:
    x, y = specimens.groups()
    x = x.clone()
    x[::50, 3] = float("nan")
    return x, y


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    return specimens.program(specimens.network(12, 64, 5), _holed())


class _Masking(nn.Module):
    """Puts 0 where a value is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.body = specimens.network(12, 64, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x.nan_to_num())
        return out


def well(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    return specimens.program(_Masking(), _holed())
