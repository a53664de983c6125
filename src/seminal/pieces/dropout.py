"""Dropout, drawn four places at a time.

torch draws one number of its generator for each place, on one core: on a CPU that takes longer than the layer before it.
Here each draw of 64 bits serves four places with 16 bits each. A place is dropped with a probability that is a multiple of
2⁻¹⁶, and the scale of the others is that probability's own, so the mean stays exact.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """Srivastava et al. 2014, with the others scaled by 1 / (1 − p) in training. Any shape."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not 0 < self.p < 1 or input.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(input, self.p, self.training)
        return input * kept(input, self.p)


def kept(like: Tensor, p: float) -> Tensor:
    """0 with probability ``p`` (to 2⁻¹⁷), else 1 / (1 − p), in the shape and type of ``like``."""
    dropped = min(max(round(p * LEVELS), 1), LEVELS - 1)
    draws = torch.empty((like.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    levels = draws.view(torch.int16)[: like.numel()].view(like.shape)
    return (levels >= dropped - LEVELS // 2).to(like.dtype).mul_(LEVELS / (LEVELS - dropped))
