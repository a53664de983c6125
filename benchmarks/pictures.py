"""Folders of made-up photographs for benchmarks that are run without data of one's own: smooth colours, edges and some
noise, so that a JPEG of them is about as large, and as slow to decode, as a real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 10
QUALITY = 90


def make_folder(where: Path, *, train: int, val: int, low: int, high: int) -> Path:
    """``where/train/<class>`` and ``where/val/<class>`` with so many pictures; sides are drawn from ``low`` to ``high``."""
    rng = np.random.default_rng(0)
    for split, count in {"train": train, "val": val}.items():
        for number in range(count):
            label = number % CLASSES
            folder = where / split / f"class-{label}"
            folder.mkdir(parents=True, exist_ok=True)
            height, width = rng.integers(low, high + 1, 2)
            picture = Image.fromarray(_pixels(rng, label, int(height), int(width)))
            picture.save(folder / f"{number:05d}.jpg", quality=QUALITY)
    return where


def _pixels(rng: np.random.Generator, label: int, height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: a colour ramp, stripes whose direction tells the class, a disc, and noise."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    angle = np.pi * label / CLASSES
    stripes = np.sin(2 * np.pi * rng.uniform(3, 6) * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6))
    centre = rng.uniform(0.2, 0.8, 2)
    disc = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) < rng.uniform(0.1, 0.3) ** 2
    ramp = (
        rng.uniform(0.2, 0.8, 3) + x[..., None] * rng.uniform(-0.3, 0.3, 3) + y[..., None] * rng.uniform(-0.3, 0.3, 3)
    )
    tint = rng.uniform(-0.4, 0.4, 3)
    pixels = ramp + 0.15 * stripes[..., None] + disc[..., None] * tint + rng.normal(0, 0.04, (height, width, 1))
    return (255 * pixels.clip(0, 1)).round().astype(np.uint8)
