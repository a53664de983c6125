"""Which part of a picture the network sees: boxes drawn from chance, and the pixels inside them.

A box is (top, left, height, width) in pixels of the source, with its edges between pixels: (0, 0, H, W) is the whole
picture. A crop only says where; `crop_batch` fetches the pixels of all boxes at once and brings them to one size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from seminal.core import Chance, UserError
from seminal.pieces.draws import Draw

# Attempts at a box that fits before the largest central one is taken; a fixed number, because a row's share of chance
# may not depend on what was drawn. With the usual scale and ratio one shape in seven does not fit a square picture.
_ATTEMPTS = 10


def _square(sizes: Tensor, side: Tensor, place: Tensor) -> Tensor:
    """Squares of side (B,), at ``place`` (B, 2) of the room that is left: 0 is top or left, 1 is bottom or right."""
    corner = (sizes - side[:, None]) * place
    return torch.cat([corner, side[:, None].expand(-1, 2)], dim=1)


_PLACES = {
    "top_left": (0.0, 0.0),
    "top_right": (0.0, 1.0),
    "bottom_left": (1.0, 0.0),
    "bottom_right": (1.0, 1.0),
    "centre": (0.5, 0.5),
}


@dataclass(frozen=True)
class FixedCrop:
    """The same place in every picture: the four corners and the centre of AlexNet's ten-crop evaluation (Sec. 4.1), the
    other five being their mirror images. A source that is too small gives its largest square, to be enlarged."""

    place: str = "centre"

    def __post_init__(self) -> None:
        if self.place not in _PLACES:
            raise UserError(f"there is no crop at {self.place!r}: write one of {', '.join(_PLACES)}")

    def boxes(self, sizes: Tensor, size: int, chance: Chance) -> Tensor:
        sides = sizes.amin(dim=1).clamp(max=size).float()
        boxes = _square(sizes.float(), sides, torch.tensor([_PLACES[self.place]], device=sizes.device))
        return boxes.round()  # whole pixels: the pixels are copied, not interpolated


@dataclass(frozen=True)
class CenterCrop:
    """The central ``size`` × ``size`` pixels (224 of 256 on ImageNet); the whole picture where it has that size. A
    source that is too small gives its largest central square, to be enlarged."""

    def boxes(self, sizes: Tensor, size: int, chance: Chance) -> Tensor:
        return FixedCrop("centre").boxes(sizes, size, chance)


@dataclass(frozen=True)
class RandomCrop:
    """``size`` × ``size`` pixels at a random place of the picture, with ``padding`` pixels of 0 around it (ResNet on
    CIFAR: 4, Sec. 4.2). Every whole-pixel place is equally likely. A source smaller than that lies somewhere inside."""

    padding: int = 0

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise UserError(
                f"a padding of {self.padding} pixels is impossible: write 0 or more, such as RandomCrop(padding=4)"
            )

    def boxes(self, sizes: Tensor, size: int, chance: Chance) -> Tensor:
        room = sizes + (2 * self.padding - size)
        steps = torch.floor(chance.uniform(Draw.CROP_PLACE, 2) * (room.abs() + 1)) * room.sign()
        return torch.cat([steps - self.padding, torch.full_like(steps, size)], dim=1)


@dataclass(frozen=True)
class ShortSideJitter:
    """ResNet Sec. 3.4: the picture is resized so that its shorter side is a whole number drawn from [low, high], then a
    square of side ``crop`` is cut at a random place. Both in one step: the square is ``short · crop / drawn`` source
    pixels wide. For an output other than ``crop`` the same part of the picture is seen, at another resolution."""

    low: int = 256
    high: int = 480
    crop: int = 224

    def __post_init__(self) -> None:
        if not 0 < self.crop <= self.low <= self.high:
            raise UserError(
                f"short-side jitter from {self.low} to {self.high} with a crop of {self.crop} cannot work: "
                "write crop ≤ low ≤ high, such as low=256, high=480, crop=224"
            )

    def boxes(self, sizes: Tensor, size: int, chance: Chance) -> Tensor:
        drawn = self.low + torch.floor(chance.uniform(Draw.CROP_SHAPE)[:, 0] * (self.high - self.low + 1))
        sides = sizes.amin(dim=1) * self.crop / drawn
        return _square(sizes.float(), sides, chance.uniform(Draw.CROP_PLACE, 2))


@dataclass(frozen=True)
class ResizedCrop:
    """A part of the picture of random area and shape (Szegedy et al. 2015, "Going deeper with convolutions", Sec. 6).

    The area is a uniform fraction in ``scale`` of the picture's, the width over the height log-uniform in ``ratio``;
    the first of ten drawn shapes that fits is taken, at a uniform place. If none fits, the largest central box within
    ``ratio`` is taken.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        if not (0 < self.scale[0] <= self.scale[1] <= 1 and 0 < self.ratio[0] <= self.ratio[1]):
            raise UserError(
                f"a resized crop with scale={self.scale} and ratio={self.ratio} cannot be drawn: write two rising "
                "numbers for each, scale from 0 to 1 and ratio above 0, such as scale=(0.08, 1.0), ratio=(0.75, 1.33)"
            )

    def boxes(self, sizes: Tensor, size: int, chance: Chance) -> Tensor:
        height, width = sizes.float().unbind(dim=1)
        drawn = chance.uniform(Draw.CROP_SHAPE, 2 * _ATTEMPTS)
        low, high = self.scale
        area = (low + (high - low) * drawn[:, :_ATTEMPTS]) * (height * width)[:, None]
        narrow, broad = math.log(self.ratio[0]), math.log(self.ratio[1])
        shape = torch.exp(narrow + (broad - narrow) * drawn[:, _ATTEMPTS:])
        tall, wide = torch.sqrt(area / shape), torch.sqrt(area * shape)  # (B, attempts)
        fits = (tall <= height[:, None]) & (wide <= width[:, None])
        first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)  # argmax gives the first of equals
        tallest, widest = torch.minimum(height, width / self.ratio[0]), torch.minimum(width, height * self.ratio[1])
        chosen = torch.stack([tall.gather(1, first)[:, 0], wide.gather(1, first)[:, 0]])
        some = fits.any(dim=1)
        extent = torch.where(some, chosen, torch.stack([tallest, widest])).T  # (B, 2)
        place = torch.where(some[:, None], chance.uniform(Draw.CROP_PLACE, 2), 0.5)
        return torch.cat([(sizes - extent) * place, extent], dim=1)


# ------------------------------------------------------------------------------------------------------- the pixels


def crop_batch(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """The pixels of each picture's box, as ``size`` × ``size``; 0 where a box reaches outside its picture.

    ``images`` is (B, C, H, W) uint8 and ``boxes`` (B, 4) as `Crop.boxes` gives it, rounded here to whole pixels; the
    result is (B, C, size, size) uint8. Boxes of ``size`` × ``size`` are copied. Others are cut out and resized with the
    triangle filter of Pillow's ``crop(box).resize(…, BILINEAR)``: linear interpolation that takes in all source pixels
    when a box is larger than ``size``, so that fine patterns do not turn into moiré.
    """
    boxes = boxes.to(images.device).round().long()
    images, boxes = _padded(images, boxes)
    if bool((boxes[:, 2:] == size).all()):
        # A view of all windows at all places (B, C, places, places, size, size), of which one per picture is copied.
        windows = images.unfold(2, size, 1).unfold(3, size, 1)
        return windows[torch.arange(len(images), device=images.device), :, boxes[:, 0], boxes[:, 1]]
    # One by one is several times faster on a CPU, where torch resizes uint8 natively; there is no such kernel on a GPU,
    # where one by one would mean a hundred small launches.
    return _resized_one_by_one(images, boxes, size) if images.device.type == "cpu" else _resized(images, boxes, size)


def _padded(images: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures with as many zeros around them as the furthest box needs, and the boxes in their coordinates."""
    before = (-boxes[:, :2].amin(dim=0)).clamp(min=0)
    pixels = torch.tensor(images.shape[2:], device=boxes.device)
    after = ((boxes[:, :2] + boxes[:, 2:]).amax(dim=0) - pixels).clamp(min=0)
    top, left, bottom, right = torch.cat([before, after]).tolist()
    if top or left or bottom or right:
        images = F.pad(images, (left, right, top, bottom))
    return images, torch.cat([boxes[:, :2] + before, boxes[:, 2:].clamp(min=1)], dim=1)


def _resized_one_by_one(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    out = images.new_empty((*images.shape[:2], size, size))
    for row, (top, left, height, width) in enumerate(boxes.tolist()):
        part = images[row : row + 1, :, top : top + height, left : left + width]
        out[row] = F.interpolate(part, size=(size, size), mode="bilinear", antialias=True)[0]
    return out


def _resized(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """The same for all pictures at once, as two matrix products per picture: rows · picture · columnsᵀ."""
    rows = _triangle(boxes[:, 0], boxes[:, 2], images.shape[2], size)
    columns = _triangle(boxes[:, 1], boxes[:, 3], images.shape[3], size)
    mixed = rows[:, None] @ (images.float() @ columns[:, None].mT)
    return mixed.round().clamp(0, 255).to(torch.uint8)


def _triangle(start: Tensor, extent: Tensor, pixels: int, size: int) -> Tensor:
    """(B, size, pixels) weights of the source pixels in each output pixel, along one side; every row adds up to 1."""
    step = (extent / size)[:, None]
    centre = start[:, None] + (torch.arange(size, device=start.device) + 0.5) * step  # (B, size)
    source = torch.arange(pixels, device=start.device) + 0.5  # pixel centres, in source coordinates
    weights = (1 - (source - centre[..., None]).abs() / step.clamp(min=1)[..., None]).clamp(min=0)
    inside = (source > start[:, None]) & (source < (start + extent)[:, None])  # nothing from beyond the box
    weights = weights * inside[:, None]
    return weights / weights.sum(dim=2, keepdim=True)
