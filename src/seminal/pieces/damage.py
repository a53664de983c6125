"""Changes that take something away from a picture: noise, blur, and a rectangle that is erased.

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

# Attempts at a rectangle that fits; see `crops.ResizedCrop`.
_ATTEMPTS = 10


@dataclass(frozen=True)
class GaussianNoise:
    """Independent normal noise of standard deviation ``std`` on every number of the picture, which stays in [0, 1]."""

    std: float

    def __post_init__(self) -> None:
        if self.std < 0:
            raise UserError(f"noise with a standard deviation of {self.std} is impossible: write a number such as 0.05")

    def __call__(self, batch: Batch, chance: Chance) -> Batch:
        images = batch["input"]
        noise = chance.normal(Draw.NOISE, images[0].numel()).view_as(images)
        return {**batch, "input": (images + self.std * noise).clamp_(0, 1)}


@dataclass(frozen=True)
class Blur:
    """With ``probability``, convolved with a Gaussian whose standard deviation, in pixels, is uniform in ``sigma``; the
    picture is mirrored at its edges. The Gaussian is cut off at three times the largest standard deviation."""

    probability: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        if not (0 <= self.probability <= 1 and 0 < self.sigma[0] <= self.sigma[1]):
            raise UserError(
                f"{self} cannot be drawn: write a probability from 0 to 1 and two rising widths above 0, "
                "such as Blur(0.5, sigma=(0.1, 2.0))"
            )

    def __call__(self, batch: Batch, chance: Chance) -> Batch:
        images = batch["input"]
        chosen = (chance.uniform(Draw.BLUR_CHOICE)[:, 0] < self.probability).nonzero()[:, 0]
        low, high = self.sigma
        sigma = low + (high - low) * chance.uniform(Draw.BLUR_WIDTH)[chosen]  # (chosen, 1)
        radius = min(math.ceil(3 * high), min(images.shape[2:]) - 1)  # a mirror shows no more than the picture
        steps = torch.arange(-radius, radius + 1, device=images.device)
        kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
        kernel = kernel / kernel.sum(dim=1, keepdim=True)
        padded = F.pad(images[chosen], (radius, radius, radius, radius), mode="reflect")
        blurred = _along(_along(padded, kernel, dim=2), kernel, dim=3)
        return {**batch, "input": images.index_copy(0, chosen, blurred)}


def _along(images: Tensor, kernel: Tensor, dim: int) -> Tensor:
    """Each picture convolved with its own kernel (B, taps) along one side, as a weighted sum of shifted pictures."""
    taps = kernel.shape[1]
    length = images.shape[dim] - taps + 1
    total = torch.zeros_like(images.narrow(dim, 0, length))
    for tap in range(taps):
        total.addcmul_(images.narrow(dim, tap, length), kernel[:, tap, None, None, None])
    return total


@dataclass(frozen=True)
class RandomErasing:
    """With ``probability``, one rectangle of the picture is replaced (Zhong et al. 2017, "Random erasing data
    augmentation", Algorithm 1, whose numbers are the defaults).

    Its area is a uniform fraction in ``area`` of the picture's, its height over its width log-uniform in ``ratio`` (the
    paper: uniform, which makes tall ones more frequent than wide ones); the first of ten drawn shapes that fits is
    erased, at a uniform place. ``fill`` is a number in [0, 1], one number per channel, or "mean", the mean colour of the
    picture itself.
    """

    probability: float = 0.5
    area: tuple[float, float] = (0.02, 0.4)
    ratio: tuple[float, float] = (0.3, 1 / 0.3)
    fill: float | tuple[float, ...] | str = 0.0

    def __post_init__(self) -> None:
        if not (
            0 <= self.probability <= 1 and 0 < self.area[0] <= self.area[1] <= 1 and 0 < self.ratio[0] <= self.ratio[1]
        ):
            raise UserError(
                f"{self} cannot be drawn: write a probability from 0 to 1 and two rising numbers each for area and ratio, "
                "such as RandomErasing(0.5, area=(0.02, 0.4), ratio=(0.3, 3.3))"
            )
        if isinstance(self.fill, str) and self.fill != "mean":
            raise UserError(f'there is no fill {self.fill!r}: write a number, one number per channel, or "mean"')

    def __call__(self, batch: Batch, chance: Chance) -> Batch:
        images = batch["input"]
        if isinstance(self.fill, str):
            fill = images.mean(dim=(2, 3), keepdim=True)
        else:
            fill = torch.as_tensor(self.fill, dtype=images.dtype, device=images.device).view(-1, 1, 1)
        erased = _rectangles(self, images.shape[2], images.shape[3], chance)
        return {**batch, "input": torch.where(erased[:, None], fill, images)}


def _rectangles(erasing: RandomErasing, height: int, width: int, chance: Chance) -> Tensor:
    """(B, H, W) bool: the pixels to erase. Nothing where the row is not chosen or no shape fits."""
    drawn = chance.uniform(Draw.ERASING_BOX, 2 * _ATTEMPTS + 2)
    low, high = erasing.area
    area = (low + (high - low) * drawn[:, :_ATTEMPTS]) * (height * width)
    narrow, broad = math.log(erasing.ratio[0]), math.log(erasing.ratio[1])
    shape = torch.exp(narrow + (broad - narrow) * drawn[:, _ATTEMPTS : 2 * _ATTEMPTS])
    tall, wide = torch.sqrt(area * shape).round(), torch.sqrt(area / shape).round()  # (B, attempts)
    fits = (tall <= height) & (wide <= width)
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)  # argmax gives the first of equals
    tall, wide = tall.gather(1, first), wide.gather(1, first)  # (B, 1)
    top = torch.floor(drawn[:, -2:-1] * (height - tall + 1))
    left = torch.floor(drawn[:, -1:] * (width - wide + 1))
    y, x = torch.arange(height, device=drawn.device), torch.arange(width, device=drawn.device)
    rows = (y >= top) & (y < top + tall)  # (B, H)
    columns = (x >= left) & (x < left + wide)  # (B, W)
    chosen = (chance.uniform(Draw.ERASING_CHOICE) < erasing.probability) & fits.any(dim=1, keepdim=True)
    return (rows & chosen)[:, :, None] & columns[:, None]
