"""From an `Order` to rows, and from pixels to a batch: what pictures in memory and pictures on disk have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from seminal.core import Augment, Batch, Order, UserError
from seminal.data.image_encoder import Scaler, as_float
from seminal.pieces.chance import RowChance, shuffled
from seminal.pieces.crops import CenterCrop, Crop


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
    """Batches in an epoch of ``count`` rows; the last may be smaller."""
    return -(-count // order.batch)


def crop_and_rest(augments: Iterable[Augment]) -> tuple[Crop, tuple[Augment, ...]]:
    """The crop, which must come first, and the changes after it. Without a crop the centre is seen.

    Raises:
        UserError: a crop comes after something else.
    """
    crop: Crop = CenterCrop()
    rest = tuple(augments)
    if rest and isinstance(rest[0], Crop):
        crop, rest = rest[0], rest[1:]
    late = next((augment for augment in rest if isinstance(augment, Crop)), None)
    if late is not None:
        raise UserError(
            f"{type(late).__name__} stands after another change of the picture: write it first, and only once."
        )
    return crop, rest


@dataclass(frozen=True, eq=False)
class Finish:
    """The last steps from cropped pixels to a batch: random changes, then scaling."""

    order: Order
    augments: tuple[Augment, ...]
    scale: Scaler

    def __call__(self, pixels: Tensor, targets: Tensor, index: Tensor) -> Batch:
        """``pixels`` (B, C, size, size) uint8; ``targets`` and ``index`` (B,) int64, on the same device."""
        batch: Batch = {"input": as_float(pixels), "target": targets, "index": index}
        if len(index):  # a rank may have no row of the last batch: there is nothing to change then
            chance = RowChance(self.order.seed, self.order.epoch, index)
            for augment in self.augments:
                batch = augment(batch, chance)
        return {**batch, "input": self.scale(batch["input"])}
