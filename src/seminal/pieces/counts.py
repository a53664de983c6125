"""The other ways in which papers count parameters: without batch normalisation, and with its running statistics."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from torch import nn

from seminal.pieces.measure import on_meta, parameters


@cache  # several facts ask about one network
def weights(build: Callable[[Any], nn.Module], config: Any) -> int:
    """Weights and biases of convolutions and linear layers; gains and shifts of normalisations are left out."""
    layers = on_meta(build, config).modules()
    return sum(parameters(m) for m in layers if isinstance(m, nn.Conv2d | nn.Linear))


@cache
def stored(build: Callable[[Any], nn.Module], config: Any) -> int:
    """All numbers in the file of a trained network: parameters, and the running means and variances."""
    model = on_meta(build, config)
    return parameters(model) + sum(b.numel() for b in model.buffers() if b.dim())  # a counter of batches has none
