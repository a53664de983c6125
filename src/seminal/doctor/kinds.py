"""What kind of task it is, by its targets, its outputs and what its metric counts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seminal.doctor.loss_form import aligned
from seminal.doctor.program import Metric
from seminal.doctor.rows import Rows

MANY = 100  # distinct numbers from which targets are measurements, not names


def kind_of(train: Rows, val: Rows, out: Tensor, metric: Metric) -> str:
    """See `Anatomy.kind`. ``out`` are outputs of a few rows."""
    both = torch.cat([train.targets, val.targets])
    per_row, outputs = both[0].numel(), out[0].numel()
    numbers = both.float()
    if both.is_floating_point() and _repeats_inputs(train):
        return "reconstruction"
    whole = bool((numbers == numbers.round()).all())
    bits = whole and bool(((numbers == 0) | (numbers == 1)).all())
    if not both.is_floating_point() and outputs > per_row:
        return "classes"
    if bits and per_row == 1 and outputs == 1:
        return "binary"
    shares = (
        both.dim() == 2 and per_row > 1 and bool(((numbers.sum(1) - 1).abs() < 1e-3).all() and (numbers >= 0).all())
    )
    if shares:
        return "one_hot"
    if bits and per_row > 1:
        return "multi_label"
    if whole and outputs == per_row and both.unique().numel() <= MANY and counts_hits(metric, val.targets, out):
        return "classes"
    return "regression" if both.is_floating_point() or outputs <= per_row else "unknown"


def class_count(kind: str, train: Rows, val: Rows) -> int:
    """Distinct classes; 0 where targets are numbers."""
    if kind in ("classes", "binary"):
        found = torch.cat([train.targets, val.targets]).unique()
        return int((found >= 0).sum()) or len(found)  # negative numbers are places that a loss leaves out
    return train.targets.shape[1] if kind in ("one_hot", "multi_label") else 0


def counts_hits(metric: Metric, target: Tensor, out: Tensor) -> bool:
    """Whether the metric counts answers that are right when rounded, so that targets that look like numbers are classes."""
    shape = torch.Size((len(target), *out.shape[1:]))
    answer = aligned(target, shape)
    if answer is None:
        return False
    try:
        exact, near, far = (float(metric(answer + off, target)) for off in (0.0, 0.2, 0.7))
    except Exception:  # a stranger's metric may refuse in any way
        return False
    return math.isfinite(exact) and abs(exact - near) < 1e-6 and far < exact - 0.01


def _repeats_inputs(rows: Rows) -> bool:
    """Whether targets are the inputs."""
    x, y = rows.inputs, rows.targets
    return x.is_floating_point() and x.numel() == y.numel() and torch.allclose(x.reshape(y.shape), y, equal_nan=True)
