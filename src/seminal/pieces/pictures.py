"""What every network for pictures asks of the data, and what it says when they differ from the paper's.

A paper's config has the fields ``in_channels``, ``size`` (height, width) and ``outputs``; these functions read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from seminal.core import DataSpec, Departure, UserError


class PictureConfig(Protocol):
    """The fields in which a network is fitted to pictures."""

    @property
    def in_channels(self) -> int: ...

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def outputs(self) -> int: ...


@dataclass(frozen=True)
class Fit:
    """The three fields, as the data want them: ``replace(config, **asdict(...))`` without the tunnel."""

    in_channels: int
    size: tuple[int, int]
    outputs: int


def fit(spec: DataSpec, name: str, *, least: int, shrinks: int, instead: str) -> Fit:
    """Channels, size and outputs of pictures of at least ``least`` × ``least`` pixels.

    ``name`` is the model in a sentence ("a ResNet"), ``shrinks`` the number of times it halves a map, ``instead`` the
    model for smaller pictures. Raises `UserError` for data that are no pictures, and for pictures that are too small.
    """
    if spec.kind != "images":
        raise UserError(f"{name} reads pictures, but {spec.name} is {spec.form}. Use the model `mlp` instead.")
    channels, height, width = spec.shape
    if min(height, width) < least:
        suits = "`mlp`" if instead == "mlp" else f"`{instead}`, which is made for small pictures"
        raise UserError(
            f"{name} halves pictures {shrinks} times and needs at least {least} × {least} pixels, but those of "
            f"{spec.name} are {height} × {width}. Use the model {suits}, or enlarge them with --size {least}."
        )
    return Fit(channels, (height, width), spec.outputs)


def changed_input(config: PictureConfig, printed: PictureConfig, where: str = "") -> tuple[Departure, ...]:
    """What differs from the ``printed`` network in channels, size and outputs; ``where`` is the section of the size."""
    why, found = "as the data have it", []
    if config.in_channels != printed.in_channels:
        channels = f"{config.in_channels} input channel{'s' * (config.in_channels != 1)} (paper: {printed.in_channels})"
        found.append(Departure(channels, why))
    if config.size != printed.size:
        (height, width), (h, w) = config.size, printed.size
        found.append(Departure(f"pictures of {height} × {width} (paper: {h} × {w})", why, where))
    if config.outputs != printed.outputs:
        outputs = f"{config.outputs} output{'s' * (config.outputs != 1)} (paper: {printed.outputs:,})"
        found.append(Departure(outputs, why))
    return tuple(found)


def example(config: PictureConfig, batch: int) -> tuple[Tensor, ...]:
    """(batch, C, H, W) standard normal numbers, on the current default device."""
    return (torch.randn(batch, config.in_channels, *config.size),)
