"""Changes of where things are in a picture: mirrored, turned, nearer or further away.

Every change takes float32 pictures in [0, 1], (B, C, H, W), in ``batch["input"]`` and gives a new batch; the given one is
never modified. What happens to a row depends on its own chance only, not on its neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from seminal.core import Batch, Chance, UserError
from seminal.pieces.draws import Draw


@dataclass(frozen=True)
class HorizontalFlip:
    """The mirror image, with ``probability`` (AlexNet Sec. 4.1)."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise UserError(f"a flip with probability {self.probability} is impossible: write a number from 0 to 1")

    def __call__(self, batch: Batch, chance: Chance) -> Batch:
        images = batch["input"]
        flipped = chance.uniform(Draw.FLIP)[:, :, None, None] < self.probability
        return {**batch, "input": torch.where(flipped, images.flip(3), images)}


@dataclass(frozen=True)
class Rotate:
    """A turn about the centre by an angle uniform in [-degrees, degrees], counter-clockwise when positive. Interpolated
    linearly; what comes in from outside the picture is 0."""

    degrees: float

    def __post_init__(self) -> None:
        if not 0 <= self.degrees <= 180:
            raise UserError(f"rotations of up to {self.degrees} degrees are asked for: write a number from 0 to 180")

    def __call__(self, batch: Batch, chance: Chance) -> Batch:
        angle = (2 * chance.uniform(Draw.ROTATE)[:, 0] - 1) * math.radians(self.degrees)
        cos, sin = torch.cos(angle), torch.sin(angle)
        # The inverse turn, from output to source. The second axis of a picture points down, hence the place of the minus.
        inverse = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
        return {**batch, "input": _warped(batch["input"], inverse)}


@dataclass(frozen=True)
class Scale:
    """Enlarged about the centre by a factor uniform in [low, high]; below 1, the picture shrinks and 0 surrounds it."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise UserError(
                f"scaling from {self.low} to {self.high} cannot be drawn: write two rising numbers above 0, "
                "such as low=0.8, high=1.2"
            )

    def __call__(self, batch: Batch, chance: Chance) -> Batch:
        factor = self.low + (self.high - self.low) * chance.uniform(Draw.SCALE)[:, 0]
        inverse = torch.eye(2, device=factor.device) / factor[:, None, None]
        return {**batch, "input": _warped(batch["input"], inverse)}


def _warped(images: Tensor, inverse: Tensor) -> Tensor:
    """Pictures seen through a linear map about their centres. ``inverse`` (B, 2, 2) takes (x, y), in pixels from the
    centre of the result, to the place in the source."""
    height, width = images.shape[2:]
    y = torch.arange(height, device=images.device) + 0.5 - height / 2
    x = torch.arange(width, device=images.device) + 0.5 - width / 2
    a, b, c, d = inverse.flatten(1)[:, :, None, None].unbind(dim=1)  # each (B, 1, 1)
    source_x = a * x + b * y[:, None]  # (B, H, W)
    source_y = c * x + d * y[:, None]
    # grid_sample counts from -1 to 1, edge to edge
    grid = torch.stack([source_x * (2 / width), source_y * (2 / height)], dim=3)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
