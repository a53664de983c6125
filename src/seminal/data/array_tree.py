"""Pictures that lie in arrays, as a `Tree` like a folder of files, so that one reader serves both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class ArrayTree:
    """Row 17 of the array ``t10k-images`` is a file ``t10k-images[17]``: a PGM picture where it is grey, else a PPM."""

    where: str
    pictures: Mapping[
        str, np.ndarray
    ]  # (n, height, width) or (n, 3, height, width) uint8, by the beginning of the names
    empty_folders: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{stem}[{row}]" for stem, pictures in self.pictures.items() for row in range(len(pictures)))

    def read(self, name: str, limit: int | None = None) -> bytes:
        stem, _, row = name.removesuffix("]").rpartition("[")
        picture = self.pictures[stem][int(row)]
        *colours, height, width = picture.shape
        kind, pixels = (b"P6", picture.transpose(1, 2, 0)) if colours else (b"P5", picture)
        return (b"%b %d %d 255\n" % (kind, width, height) + pixels.tobytes())[:limit]
