"""From an `Order` to the rows of each batch: what all forms of data with rows have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from seminal.core import Order
from seminal.pieces.chance import shuffled


@runtime_checkable
class Digested(Protocol):
    """A source whose rows may change without their names, as the lines of a file do."""

    def digests(self) -> Mapping[str, str]:
        """What tells the rows of each split from others of the same names."""


@dataclass(frozen=True, eq=False)
class RowOrder:
    """The rows of a split in the order of one epoch."""

    order: Order
    rows: Tensor  # (rows of the split,) int64

    def batch(self, number: int) -> Tensor:
        """This rank's rows of a batch: every ``world``-th of the global batch, none where the last batch is too short."""
        order = self.order
        return self.rows[number * order.batch : (number + 1) * order.batch][order.rank :: order.world]


def row_order(order: Order, count: int) -> RowOrder:
    """A permutation that depends on seed and epoch only, or the rows as they lie."""
    return RowOrder(order, shuffled(count, order.seed, order.epoch) if order.shuffle else torch.arange(count))


def batch_count(order: Order, count: int) -> int:
    """Batches in an epoch of ``count`` rows.

    Shuffled, the rows that do not fill a last batch are left out of this epoch (others of the next): a batch of a few
    rows would give a noisy step, and batch normalisation cannot work with one. In order, the last batch is what is left.
    """
    return max(1, count // order.batch) if order.shuffle else -(-count // order.batch)
