"""Tensors as PNG files in memory, for the report."""

from __future__ import annotations

import io

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seminal.report.data import Picture

# Of a heat map, from nothing to the most: dark to light, so that it is also read without seeing colours.
HEAT = ((27, 12, 65), (120, 28, 109), (213, 72, 66), (251, 155, 6), (252, 240, 160))
COVER = 0.6  # opacity of a heat map over its picture


def png(image: Tensor, *, least: int = 96, most: int = 256) -> bytes:
    """A picture (channels, height, width), uint8, as the bytes of a PNG.

    One channel is grey, three are red, green and blue, a fourth is opacity; of any other number the mean is shown. A
    picture whose longer side is under ``least`` pixels is enlarged by a whole factor with nearest neighbour, so that
    its pixels stay what they are; one over ``most`` is reduced.

    Raises ValueError for another type or shape.
    """
    from PIL import Image

    if image.dtype != torch.uint8 or image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"a picture is uint8 (channels, height, width), not {image.dtype} {tuple(image.shape)}")
    image = image.detach().cpu()
    if image.shape[0] not in (1, 3, 4):
        image = image.float().mean(0, keepdim=True).round().byte()
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    longer = max(picture.size)
    if longer < least:
        factor = -(-least // longer)
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    elif longer > most:
        size = tuple(max(1, round(side * most / longer)) for side in picture.size)
        picture = picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def filter_grid(weight: Tensor, *, columns: int = 16, most: int = 256, cell: int = 40) -> bytes:
    """The filters of a first convolution (filters, channels, height, width), side by side, as the bytes of a PNG.

    Each filter is divided by its own largest magnitude: a weight of zero is middle grey, the largest is black or white.
    Three channels are shown in colour, any other number as the mean over channels. At most ``most`` filters are shown,
    ``columns`` to a row, each about ``cell`` pixels wide, with a transparent line between them.

    Raises ValueError for another shape.
    """
    if weight.ndim != 4 or 0 in weight.shape:
        raise ValueError(f"filters have the shape (filters, channels, height, width), not {tuple(weight.shape)}")
    filters = torch.nan_to_num(weight.detach()[:most].float().cpu(), nan=0.0, posinf=0.0, neginf=0.0)
    if filters.shape[1] != 3:
        filters = filters.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    largest = filters.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
    shades = ((filters / largest + 1) * 127.5).round().byte()

    factor = max(1, cell // max(shades.shape[2:]))
    return _tiled(shades.repeat_interleave(factor, 2).repeat_interleave(factor, 3), columns)


def grid(pictures: Tensor, columns: int, *, cell: int = 56) -> bytes:
    """Pictures (count, channels, height, width) in [0, 1] side by side, as the bytes of a PNG; small ones are enlarged by a
    whole factor."""
    shades = (pictures.detach().cpu().float().nan_to_num(0.0).clamp(0, 1) * 255).round().byte()
    if shades.shape[1] != 3:
        shades = shades.float().mean(1, keepdim=True).round().byte().expand(-1, 3, -1, -1)
    factor = max(1, cell // max(shades.shape[2:]))
    return _tiled(shades.repeat_interleave(factor, 2).repeat_interleave(factor, 3), columns)


def _tiled(shades: Tensor, columns: int, gap: int = 2) -> bytes:
    """(count, 3, height, width) uint8, with transparent lines between."""
    count, _, height, width = shades.shape
    columns = min(columns, count)
    lines = -(-count // columns)
    whole = torch.zeros(4, lines * (height + gap) - gap, columns * (width + gap) - gap, dtype=torch.uint8)
    for i, shade in enumerate(shades):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        whole[:3, top : top + height, left : left + width] = shade
        whole[3, top : top + height, left : left + width] = 255
    return png(whole, least=1, most=max(whole.shape))


def first_filters(model: nn.Module) -> tuple[Picture, ...]:
    """The filters of the model's first convolution; none where it has no convolution."""
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None:
        return ()
    size = "×".join(map(str, first.weight.shape[1:]))
    return (Picture(filter_grid(first.weight), f"{len(first.weight)} filters of the first layer, each {size}"),)


def enlarged(image: Tensor, side: int) -> Tensor:
    """A picture (channels, height, width) enlarged by the largest whole factor with which it is not longer than ``side``;
    its pixels stay what they are. A longer one is left as it is."""
    factor = max(1, side // max(image.shape[1:]))
    return image.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


def overlay(image: Tensor, heat: Tensor) -> Tensor:
    """A heat map laid over a picture that is turned grey, so that all colours are those of the map.

    Args:
        image: (channels, height, width) uint8.
        heat: (h, w), not negative; it is divided by its maximum and interpolated to the picture's size.

    Returns:
        (3, height, width) uint8.
    """
    grey = image[:3].float().mean(0, keepdim=True).expand(3, -1, -1)
    share = heat.float() / heat.max().clamp_min(1e-30)
    share = F.interpolate(share[None, None], image.shape[1:], mode="bilinear", align_corners=False)[0, 0]
    colours = torch.tensor(HEAT, dtype=torch.float32)
    place = share.clamp(0, 1) * (len(HEAT) - 1)
    below = place.floor().long().clamp(max=len(HEAT) - 2)
    part = (place - below)[..., None]
    colour = (colours[below] * (1 - part) + colours[below + 1] * part).permute(2, 0, 1)
    return (COVER * colour + (1 - COVER) * grey).round().byte()


def tile(values: Tensor) -> Tensor:
    """One feature map (h, w) as a grey picture (1, h, w) uint8: its smallest value is black, its largest white. A map
    that is the same everywhere is middle grey."""
    low, high = values.min(), values.max()
    if not high > low:
        return torch.full((1, *values.shape), 128, dtype=torch.uint8)
    return ((values.float() - low) / (high - low) * 255).round().byte()[None]
