"""Random numbers that belong to rows, not to the order in which they are asked for.

Each number is a hash of (seed, epoch, row, draw, position): the finaliser of SplitMix64 (Steele, Lea, Flood 2014,
"Fast splittable pseudorandom number generators"), applied twice. A counter has no state, so an augmentation is a pure
function of the row: the same for any batch size, worker, device or number of processes, and after any interruption.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def _signed(constant: int) -> int:
    return constant - (1 << 64) if constant >= (1 << 63) else constant


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


_CACHED = 1 << 15  # numbers: 256 kB


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift: torch's ``>>`` copies the sign bit of an int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


@dataclass(frozen=True)
class RowChance:
    """Chance for the rows ``index`` (int64, any device) in one epoch of one seed."""

    seed: int
    epoch: int
    index: Tensor

    def uniform(self, draw: int, count: int = 1) -> Tensor:
        """(rows, count) float32 in [0, 1), on the device of the rows."""
        device = self.index.device
        key = _signed((self.seed * 1_000_003 + self.epoch * 1_009 + draw) % (1 << 64))  # any seed, however long
        rows = _mix((self.index[:, None] + 1) * _GOLDEN + _mix(torch.tensor(key, device=device) * _GOLDEN))
        positions = torch.arange(1, count + 1, device=device) * _GOLDEN
        # A CPU is ten times faster on parts that stay in its cache; a GPU prefers one large part.
        part = max(1, _CACHED // max(1, len(rows))) if device.type == "cpu" else max(1, count)
        bits = [_shift(_mix(_mix(rows + some)), 40).float() for some in positions.split(part)]
        return torch.cat(bits, dim=1) * 2.0**-24

    def normal(self, draw: int, count: int = 1) -> Tensor:
        """(rows, count) standard normal numbers, by Box and Muller, who make two from two."""
        half = (count + 1) // 2
        u = self.uniform(draw, 2 * half)
        radius, angle = torch.sqrt(-2 * torch.log1p(-u[:, :half])), 2 * math.pi * u[:, half:]
        return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)[:, :count]


def shuffled(count: int, seed: int, epoch: int) -> Tensor:
    """A permutation of ``range(count)`` that depends on seed and epoch only."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) & 0x7FFF_FFFF_FFFF_FFFF)
    return torch.randperm(count, generator=generator)
