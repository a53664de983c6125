"""Numbers that are still on their way from the device: collected over a step, fetched all at once."""

from __future__ import annotations

import torch
from torch import Tensor


class Sheet:
    """Scalars, each with the list it will be appended to. Fetching them together waits for the device only once."""

    def __init__(self) -> None:
        self._lists: list[list[float]] = []
        self._values: list[Tensor] = []

    def add(self, to: list[float], value: Tensor) -> None:
        """One number, for the end of one list."""
        self._lists.append(to)
        self._values.append(value)

    def fetch(self) -> None:
        """Append every number to its list."""
        for to, value in zip(self._lists, fetched(self._values)):
            to.append(value)
        self._lists, self._values = [], []


def fetched(values: list[Tensor]) -> list[float]:
    """Scalars from any device, as numbers."""
    if not values:
        return []
    first = values[0]
    if any(value.device != first.device or value.dtype != first.dtype for value in values):
        values = [value.to(first.device, torch.float32) for value in values]
    with torch.no_grad():
        return torch.stack(values).tolist()


def plain(gradient: Tensor) -> Tensor:
    """The entries of a gradient that may be sparse."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def norms(tensors: list[Tensor]) -> list[Tensor]:
    """The Euclidean norm of each, in fp32 where the tensor is in half precision: its square would overflow there."""
    half = any(tensor.dtype in (torch.float16, torch.bfloat16) for tensor in tensors)
    with torch.no_grad():
        return list(torch._foreach_norm(tensors, 2, torch.float32 if half else None)) if tensors else []
