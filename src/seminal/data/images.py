"""Folders and archives of pictures, one class per folder, as a source of batches.

`scan` finds the pictures, `load` makes them ready: in memory where they fit, else read while training.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from sklearn.datasets import load_digits

from seminal.data.files import MemoryTree
from seminal.data.image_encoder import ImageEncoder
from seminal.data.image_listing import Listing, scan
from seminal.data.image_store import ImageStore, decoded
from seminal.data.image_stream import ImageStream
from seminal.data.split import Fold, Holdout

__all__ = ["ImageEncoder", "ImageStore", "ImageStream", "Listing", "digits", "load", "scan"]


def load(
    listing: Listing,
    *,
    size: int,
    device: str = "cpu",
    memory_limit: int = 2 << 30,
    workers: int | None = None,
) -> ImageStore | ImageStream:
    """The pictures of a listing as inputs of ``size`` × ``size``.

    Pictures that all have this size are kept as they are. Others have their shorter side brought to 8/7 of it (256 for
    224, as Krizhevsky et al. 2012, Sec. 2, and He et al. 2015, Sec. 3.4) and the centre cut out, to be cropped from.

    Args:
        listing: from `scan`.
        size: height and width of the inputs.
        device: where the pictures are kept and batches are made.
        memory_limit: bytes; a set whose decoded pictures need more is read while training.
        workers: processes that read it then; see `ImageStream`.

    Raises:
        UserError: pictures cannot be decoded, and the listing does not say to skip them.
    """
    side = size if listing.native_size == (size, size) else round(size * 256 / 224)
    needed = len(listing.names) * listing.channels * side * side
    if needed > memory_limit:
        note = f"decoded they would need {needed / 2**30:.1f} GiB: they are read while training"
        listing = replace(listing, notes=(*listing.notes, note))
        return ImageStream(listing, size, side=side, device=device, workers=workers)
    listing, pixels = decoded(listing, side)
    return ImageStore(listing, pixels.to(device), size)


def digits(*, split: Holdout | Fold | None = None, device: str = "cpu") -> ImageStore:
    """scikit-learn's handwritten digits: 1,797 grey pictures of 8×8, brightness 0 … 16 brought to 0 … 255.

    Args:
        split: None holds out a fifth, stratified: 1,437 to train and 360 to validate.
        device: where the pictures are kept and batches are made.
    """
    bundled = load_digits()
    pixels = np.rint(bundled.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bundled.target.astype(np.int64)
    listing = Listing(
        name="digits",
        tree=MemoryTree("digits", {}),
        names=tuple(f"digits[{row}]" for row in range(len(labels))),
        labels=labels,
        splits=(split or Holdout()).assign(labels, stratify=True),
        classes=tuple(str(name) for name in bundled.target_names),
        native_size=(8, 8),
        channels=1,
    )
    return ImageStore(listing, torch.from_numpy(pixels).to(device), 8)
