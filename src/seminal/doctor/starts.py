"""First weights, compared with what keeps the signal's size from layer to layer: a spread of about 1 / √(inputs of a
unit)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LARGE, SMALL = 7.0, 0.12  # spread times √inputs, far outside of all usual schemes (0.58 for torch's own, 1.41 for He's)
ONE_SIDED = 0.7  # mean as a share of the spread
RADIUS = 1.5  # of a recurrent matrix: its n-th power grows by this factor a step


@dataclass(frozen=True)
class Start:
    """The first values of one weight matrix."""

    name: str
    spread: float  # standard deviation × √inputs of a unit
    lean: float  # mean / standard deviation
    constant: bool
    radius: float  # largest |eigenvalue| of a recurrent matrix; 0 for others
    at_zero: bool

    @property
    def odd(self) -> str:
        """What is wrong with it, in words; empty where nothing is."""
        if self.constant:
            return f"{self.name}: all weights are the same" + (" (zero)" if self.at_zero else "")
        if self.radius > RADIUS:
            grows = f"a recurrent matrix whose largest eigenvalue is {self.radius:.1f}"
            return f"{self.name}: {grows} (above 1 the state grows at every step)"
        if self.spread > LARGE:
            return f"{self.name}: {self.spread:.1f} times 1/√inputs (usual: 0.6 to 1.4)"
        if self.spread < SMALL:
            return f"{self.name}: {self.spread:.2g} times 1/√inputs (usual: 0.6 to 1.4)"
        if abs(self.lean) > ONE_SIDED:
            side = "negative" if self.lean < 0 else "positive"
            return f"{self.name}: almost all weights are {side} (mean {self.lean:.1f} standard deviations from 0)"
        return ""


def starts(model: nn.Module) -> tuple[Start, ...]:
    """Of every weight matrix and filter; embeddings and gains have other rules."""
    found = []
    for path, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            continue
        for name, weight in module.named_parameters(recurse=False):
            if weight.dim() >= 2 and weight.numel() > 1 and _mixes(module, name):
                found.append(
                    _start(f"{path}.{name}".lstrip("."), weight.detach().float(), isinstance(module, nn.RNNBase))
                )
    return tuple(found)


def _mixes(module: nn.Module, name: str) -> bool:
    """Whether the parameter is multiplied with a layer's inputs (a table of positions is only added)."""
    known = isinstance(module, nn.Linear | nn.Bilinear | nn.RNNBase | nn.RNNCellBase | nn.MultiheadAttention)
    return known or isinstance(module, nn.modules.conv._ConvNd) or "weight" in name


def _start(name: str, weight: Tensor, recurrent: bool) -> Start:
    spread = float(weight.std(unbiased=False))
    inputs = weight[0].numel()
    constant = spread < 1e-8
    square = recurrent and "_hh_" in name and weight.shape[0] == weight.shape[1]  # gated ones are held by their gates
    radius = float(torch.linalg.eigvals(weight).abs().max()) if square else 0.0
    return Start(
        name,
        spread * math.sqrt(inputs),
        0.0 if constant else float(weight.mean()) / spread,
        constant,
        radius,
        constant and float(weight.abs().max()) < 1e-8,
    )
