"""When a loss or a gradient is not a finite number: where it began, and in which rows. Nothing is hidden or skipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from seminal.core import Batch, Task


class NonFiniteError(ArithmeticError):
    """Training stopped before the step that would have spoilt the weights. ``rows`` are indices of the split."""

    def __init__(self, step: int, cause: str, rows: list[int]) -> None:
        super().__init__(f"step {step}: {cause}")
        self.step = step
        self.cause = cause
        self.rows = rows


def explain(model: nn.Module, task: Task, batch: Batch) -> tuple[str, list[int]]:
    """The cause in a sentence and the rows concerned, found by computing the batch once more with eyes open."""
    index = batch.get("index", torch.arange(len(next(iter(batch.values())))))
    for name, values in batch.items():
        if bad := _bad_rows(values):
            return f"the data are not finite: `{name}` holds NaN or infinity", index[bad].tolist()
    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            return f"the weight `{name}` was already not finite", []
    return _first_bad_module(model, task, batch, index)


def _first_bad_module(model: nn.Module, task: Task, batch: Batch, index: Tensor) -> tuple[str, list[int]]:
    found: list[tuple[str, list[int]]] = []

    def watch(name: str, kind: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            for given in tree_iter(output):  # a recurrent layer gives several
                if not found and isinstance(given, Tensor) and (bad := _bad_rows(given)):
                    rows = index[bad].tolist() if len(given) == len(index) else []
                    found.append((f"the first output that is not finite is that of `{name}` ({kind})", rows))

        return hook

    leaves = [(name, m) for name, m in model.named_modules() if not list(m.children())]
    handles = [m.register_forward_hook(watch(name or "model", type(m).__name__)) for name, m in leaves]
    try:
        model.zero_grad(set_to_none=True)
        for turn in task.turns(model, batch):
            if found:
                return found[0]
            if not turn.loss.isfinite():
                return "every layer's output is finite, but the loss is not", []
            turn.loss.backward()
    finally:
        for handle in handles:
            handle.remove()
    bad = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    if bad:
        return f"the loss is finite, but the gradient of `{bad[-1]}` is not (nearest the loss of {len(bad)})", []
    return "computed once more every number was finite: so large that a sum, or the gradient's norm, overflows", []


def _bad_rows(values: Tensor) -> list[int]:
    if not values.is_floating_point() or not values.dim():
        return []
    return (~values.flatten(1).isfinite().all(1) if values.dim() > 1 else ~values.isfinite()).nonzero()[:, 0].tolist()
