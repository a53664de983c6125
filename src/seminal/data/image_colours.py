"""The principal colours of the training pictures, for AlexNet's colour shift, from a sample of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from seminal.core import DataSpec
from seminal.pieces.colour import principal_colours

# A covariance of 3 × 3 numbers: 1,000 pictures of at most 64 × 64 points each give it to a few percent.
COLOUR_SAMPLE = 1_000
_POINTS = 64


def with_colours(spec: DataSpec, pictures: Tensor) -> DataSpec:
    """The specification with the principal colours of these `thinned` training pictures, (n, channels, h, w) uint8."""
    values, vectors = principal_colours(pictures)
    return replace(spec, colour_values=values, colour_vectors=vectors)


def thinned(pictures: Tensor) -> Tensor:
    """Every so manyth pixel, so that at most 127 × 127 remain."""
    step = max(1, pictures.shape[-1] // _POINTS)
    return pictures[..., ::step, ::step]


def sampled(rows: np.ndarray, most: int) -> np.ndarray:
    """All rows, or ``most`` of them drawn at random, always the same ones; sorted."""
    return rows if len(rows) <= most else np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
