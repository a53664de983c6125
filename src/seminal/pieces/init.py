"""First values of weights, as papers state them: a rule fills one tensor, `fill` applies it to a network.

Numbers are drawn from torch's global generator: seed it before building, and the same network is born again.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

Rule = Callable[[Tensor], None]


def constant(value: float) -> Rule:
    """Every number is ``value``."""

    def rule(tensor: Tensor) -> None:
        tensor.fill_(value)

    return rule


def normal(std: float) -> Rule:
    """Normal numbers with mean 0 and standard deviation ``std`` (papers often print the variance: look twice)."""

    def rule(tensor: Tensor) -> None:
        tensor.normal_(0.0, std)

    return rule


def uniform(limit: float) -> Rule:
    """Uniform numbers between ``-limit`` and ``limit``."""

    def rule(tensor: Tensor) -> None:
        tensor.uniform_(-limit, limit)

    return rule


def he(tensor: Tensor) -> None:
    """Normal numbers with variance 2 / fan-in, which keeps the size of activations through layers of ReLU units.

    Fan-in is the number of inputs of one unit, ``in / groups × height × width`` for a convolution (He, Zhang, Ren, Sun
    2015, "Delving Deep into Rectifiers", Eq. 10: the forward form).
    """
    fan_in = tensor[0].numel()
    tensor.normal_(0.0, math.sqrt(2.0 / fan_in))


def fill(model: nn.Module, weights: Rule, biases: Rule) -> None:
    """Set the weights and biases of every convolution and linear layer of ``model``, in place. Normalisations keep gain 1
    and shift 0."""
    with torch.no_grad():
        for layer in model.modules():
            # A weight on the meta device has a shape and no numbers; drawing none costs torch milliseconds.
            if isinstance(layer, nn.Conv2d | nn.Linear) and not layer.weight.is_meta:
                weights(layer.weight)
                if layer.bias is not None:
                    biases(layer.bias)
