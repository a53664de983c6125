"""From an `Order` to rows, and from pixels to a batch: what pictures in memory and pictures on disk have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from seminal.core import Augment, Batch, Crop, Order, UserError
from seminal.data.image_encoder import Scaler, as_float
from seminal.pieces.chance import RowChance
from seminal.pieces.crops import CenterCrop


def crop_and_rest(augments: Iterable[Augment | Crop]) -> tuple[Crop, tuple[Augment, ...]]:
    """The crop, which must come first, and the changes after it. Without a crop the centre is seen.

    Raises:
        UserError: a crop comes after something else.
    """
    given = tuple(augments)
    crop = given[0] if given and isinstance(given[0], Crop) else CenterCrop()
    rest = tuple(a for a in given if not isinstance(a, Crop))
    late = next((a for a in given[1:] if isinstance(a, Crop)), None)
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
