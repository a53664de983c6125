"""Pictures in memory: decoded once, kept as bytes on the device, cropped and changed a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from seminal.core import Batch, DataSpec, Order
from seminal.data.image_batches import Finish, crop_and_rest
from seminal.data.image_colours import COLOUR_SAMPLE, sampled, thinned, with_colours
from seminal.data.image_encoder import ImageEncoder, cropped, fitted_encoder
from seminal.data.image_listing import Listing
from seminal.data.pictures import squares
from seminal.data.rows import batch_count, row_order
from seminal.data.split import TRAIN
from seminal.pieces.chance import RowChance

_CHUNK = 512  # pictures whose statistics are taken at once


class ImageStore:
    """A `seminal.core.Source` of pictures held as one uint8 tensor.

    Args:
        listing: names, classes and splits of the pictures.
        pixels: (pictures, channels, side, side) uint8, in the listing's order, on the device where batches are made.
        size: height and width of the inputs; pictures are cropped to it where ``side`` is larger.
    """

    def __init__(self, listing: Listing, pixels: Tensor, size: int) -> None:
        assert len(pixels) == len(listing.names)
        assert pixels.dtype == torch.uint8
        self.listing, self.pixels, self.size = listing, pixels, size
        self.targets = torch.from_numpy(listing.labels).to(pixels.device)
        self._encoders: dict[str, ImageEncoder] = {}

    @cached_property
    def spec(self) -> DataSpec:
        rows = torch.from_numpy(sampled(self.listing.rows(TRAIN), COLOUR_SAMPLE))
        return with_colours(self.listing.spec(self.size), thinned(self.pixels)[rows.to(self.pixels.device)].cpu())

    def encoder(self, scaling: str) -> ImageEncoder:
        """With the statistics of all training pictures, taken when they are first asked for."""
        if scaling not in self._encoders:
            self._encoders[scaling] = self._fitted(scaling)
        return self._encoders[scaling]

    def _fitted(self, scaling: str) -> ImageEncoder:
        rows = torch.from_numpy(self.listing.rows(TRAIN)).to(self.pixels.device)
        _, channels, _, side = self.pixels.shape
        chunks = (self.pixels[some].cpu() for some in rows.split(_CHUNK))
        return fitted_encoder(chunks, size=self.size, side=side, channels=channels, scaling=scaling)

    def steps(self, order: Order) -> int:
        return batch_count(order, len(self.listing.rows(order.split)))

    def batches(self, order: Order) -> Iterator[Batch]:
        """``input`` (B, C, size, size) float32, ``target`` (B,) int64, ``index`` (B,) int64 within the split."""
        device = self.pixels.device
        crop, augments = crop_and_rest(order.augment)
        finish = Finish(order, augments, self.encoder(order.scaling).scaler(device))
        places = torch.from_numpy(self.listing.rows(order.split)).to(device)
        rows = row_order(order, len(places))
        for number in range(order.start, self.steps(order)):
            index = rows.batch(number).to(device)
            here = places[index]
            pixels = self.pixels.index_select(0, here)  # ten times faster than `[here]` on a CPU
            chance = RowChance(order.seed, order.epoch, index)
            yield finish(cropped(pixels, crop, self.size, chance), self.targets[here], index)

    def name(self, split: str, index: int) -> str:
        return self.listing.row_name(split, index)


def decoded(listing: Listing, side: int) -> tuple[Listing, Tensor]:
    """All pictures as (pictures, channels, side, side) uint8, and the listing without those that could not be decoded.

    Raises:
        UserError: some cannot be decoded, and the listing does not say to skip them.
    """
    pixels, reasons = squares(listing.tree, listing.names, listing.channels, side)
    if not reasons:
        return listing, torch.from_numpy(pixels)
    left = listing.without([(listing.names[position], why) for position, why in reasons.items()])
    return left, torch.from_numpy(np.delete(pixels, list(reasons), axis=0))
