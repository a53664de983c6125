"""Vectors that tell where a token stands."""

from __future__ import annotations

import torch
from torch import Tensor


def sinusoids(length: int, width: int, *, halves: bool = False) -> Tensor:
    """(length, width) with sin(p / 10000^(2i/width)) at 2i and the cosine at 2i + 1 (Vaswani et al. 2017, Sec. 3.5);
    with ``halves`` all sines come first, then all cosines, as in much published code."""
    angle = torch.arange(length, dtype=torch.float64)[:, None] / 10_000 ** (
        torch.arange(0, width, 2, dtype=torch.float64) / width
    )
    if halves:
        return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :width].float()
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width].float()
