"""Pictures on disk: decoded by worker processes each time they are asked for, because they do not fit in memory.

The rows, their order and their crops are those of `seminal.data.image_store`. Where a crop is the same for every picture
(validation), so are the pixels. Where it is random, it is taken from the whole picture, not from its central square, and
resized once, in the worker.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from seminal.core import Batch, Crop, DataSpec, Order, UserError
from seminal.data.image_batches import Finish, crop_and_rest
from seminal.data.image_colours import COLOUR_SAMPLE, sampled, thinned, with_colours
from seminal.data.image_encoder import ImageEncoder, cropped, fitted_encoder
from seminal.data.image_listing import Bad, Listing
from seminal.data.pictures import BadPicture, Box, crop, open_picture, read_bytes, square, squares, upright_size
from seminal.data.rows import RowOrder, batch_count, row_order
from seminal.data.split import TRAIN
from seminal.pieces.chance import RowChance
from seminal.pieces.crops import CenterCrop, FixedCrop

_SAMPLE = 2_000  # training pictures from which the statistics are taken
_CHUNK = 128  # of them, decoded at once
_MOST_WORKERS = 8


class ImageStream:
    """A `seminal.core.Source` of pictures that are read while training.

    Args:
        listing: names, classes and splits of the pictures.
        size: height and width of the inputs.
        side: length to which the shorter side of a picture is brought before it is cropped; ``size`` or more.
        device: where batches are wanted.
        workers: processes that decode; 0 decodes in this process, None takes one per processor, at most 8.
    """

    def __init__(
        self, listing: Listing, size: int, *, side: int, device: str = "cpu", workers: int | None = None
    ) -> None:
        rows = len(listing.rows(TRAIN))
        if rows > _SAMPLE:
            note = f"input statistics are those of {_SAMPLE:,} random training pictures of {rows:,}"
            listing = replace(listing, notes=(*listing.notes, note))
        self.listing, self.size, self.side, self.device = listing, size, side, torch.device(device)
        self.workers = min(_MOST_WORKERS, _processors()) if workers is None else workers
        self._encoders: dict[str, ImageEncoder] = {}

    @cached_property
    def spec(self) -> DataSpec:
        return with_colours(self.listing.spec(self.size), torch.cat([thinned(p) for p in self._sample(COLOUR_SAMPLE)]))

    def encoder(self, scaling: str) -> ImageEncoder:
        """With the statistics of (at most 2,000) training pictures, taken when they are first asked for."""
        if scaling not in self._encoders:
            self._encoders[scaling] = fitted_encoder(
                self._sample(_SAMPLE), size=self.size, side=self.side, channels=self.listing.channels, scaling=scaling
            )
        return self._encoders[scaling]

    def _sample(self, most: int) -> Iterator[Tensor]:
        """Some training pictures, in portions of (n, channels, side, side) uint8."""
        rows = sampled(self.listing.rows(TRAIN), most)
        for some in np.array_split(rows, -(-len(rows) // _CHUNK)):
            names = [self.listing.names[row] for row in some]
            pixels, reasons = squares(self.listing.tree, names, self.listing.channels, self.side)
            self._report([(names[position], why) for position, why in reasons.items()])
            yield torch.from_numpy(np.delete(pixels, list(reasons), axis=0))

    def steps(self, order: Order) -> int:
        return batch_count(order, len(self.listing.rows(order.split)))

    def batches(self, order: Order) -> Iterator[Batch]:
        """As `ImageStore.batches`; with ``on_bad_file="skip"``, a row that cannot be decoded is missing in its batch."""
        where, augments = crop_and_rest(order.augment)
        finish = Finish(order, augments, self.encoder(order.scaling).scaler(self.device))
        places = self.listing.rows(order.split)
        whole = isinstance(where, CenterCrop | FixedCrop) or self.listing.native_size == (self.size, self.size)
        rows = row_order(order, len(places))
        loader: DataLoader[dict[str, Any]] = DataLoader(
            _Batches(self.listing, rows, size=self.size, side=self.side, where=None if whole else where),
            batch_size=None,
            sampler=range(order.start, self.steps(order)),
            num_workers=0 if order.batch == 1 and not order.shuffle else self.workers,  # one picture is soon read
            pin_memory=self.device.type == "cuda",
            # Without a generator of its own the loader draws from torch's: the model's dropout would then depend on it.
            generator=torch.Generator().manual_seed(0),
        )
        for found in loader:
            self._report(found["bad"])
            index = found["index"].to(self.device, non_blocking=True)
            targets = found["target"].to(self.device, non_blocking=True)
            pixels = found["pixels"].to(self.device, non_blocking=True)
            if whole:
                pixels = cropped(pixels, where, self.size, RowChance(order.seed, order.epoch, index))
            yield finish(pixels, targets, index)

    def _report(self, bad: list[Bad]) -> None:
        if not bad:
            return
        name, why = bad[0]
        if self.listing.on_bad_file == "refuse":
            raise UserError(
                f"{name} cannot be used ({why}). Repair or remove it, or write `--on-bad-file skip` to go on without it."
            )
        for name, why in bad:
            warnings.warn(f"left out {name} ({why})", stacklevel=2)

    def name(self, split: str, index: int) -> str:
        return self.listing.row_name(split, index)


@dataclass(frozen=True, eq=False)
class _Batches(Dataset[dict[str, Any]]):
    """The batches of an epoch, by number: what a worker process does.

    ``where`` is the crop that the worker cuts out of each whole picture; None: the central square is handed over.
    """

    listing: Listing
    rows: RowOrder
    size: int
    side: int
    where: Crop | None

    def __getitem__(self, number: int) -> dict[str, Any]:
        listing, order = self.listing, self.rows.order
        index = self.rows.batch(number)
        places = listing.rows(order.split)[index.numpy()]
        names = [listing.names[place] for place in places]
        bad: list[Bad] = []
        images: dict[int, Image.Image] = {}
        for i, name in enumerate(names):
            try:
                images[i] = open_picture(read_bytes(listing.tree, name))
            except BadPicture as error:
                bad.append((name, str(error)))
        boxes = self._boxes(images, index)
        pixels: dict[int, np.ndarray] = {}
        for i, image in images.items():
            try:
                if self.where is None:
                    pixels[i] = square(image, listing.channels, self.side)
                else:
                    pixels[i] = crop(image, listing.channels, boxes[i], self.size)
            except BadPicture as error:
                bad.append((names[i], str(error)))
        kept = list(pixels)
        extent = self.side if self.where is None else self.size
        stacked = np.stack(list(pixels.values())) if kept else np.zeros((0, listing.channels, extent, extent), np.uint8)
        targets = listing.labels[places[kept]]
        return {
            "pixels": torch.from_numpy(stacked),
            "index": index[kept],
            "target": torch.from_numpy(targets),
            "bad": bad,
        }

    def _boxes(self, images: dict[int, Image.Image], index: Tensor) -> dict[int, Box]:
        """(left, top, right, bottom) in pixels of each file. They are drawn on the picture with its shorter side at
        ``side``, so that a crop of so many pixels sees as much of a large photograph as of a small one."""
        if self.where is None or not images:
            return {}
        uprights = torch.tensor([upright_size(image)[::-1] for image in images.values()])  # (B, 2): height, width
        scaled = (uprights * (self.side / uprights.amin(dim=1, keepdim=True))).round().long()
        order = self.rows.order
        chance = RowChance(order.seed, order.epoch, index[list(images)])
        drawn = self.where.boxes(scaled, self.size, chance) * (uprights / scaled).repeat(1, 2)
        edges = [(left, top, left + width, top + height) for top, left, height, width in drawn.tolist()]
        return dict(zip(images, edges))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
