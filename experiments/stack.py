"""Many small networks side by side. Each is trained as if it were alone, and all take little more time than one: for
networks as small as these the time of a step is that of calling torch, not of the arithmetic."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn


class Stack(nn.Module):
    """``runs`` networks of one form, with tanh between their layers: (runs, rows, inputs) → (runs, rows, outputs)."""

    def __init__(self, runs: int, sizes: tuple[int, ...], chance: torch.Generator) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(sizes))
        drawn = [torch.randn(runs, a, b, generator=chance) / math.sqrt(a) for a, b in pairs]
        # Biases as wide as the data: on a line, it is they that say where a hidden unit looks.
        biases = [torch.randn(runs, 1, b, generator=chance) for _, b in pairs[:-1]]
        self.weights = nn.ParameterList(drawn)
        self.biases = nn.ParameterList([*biases, torch.zeros(runs, 1, sizes[-1])])

    def forward(self, x: Tensor) -> Tensor:
        layers = list(zip(self.weights, self.biases))
        for weight, bias in layers[:-1]:
            x = torch.tanh(torch.baddbmm(bias, x, weight))
        weight, bias = layers[-1]
        return torch.baddbmm(bias, x, weight)


class Mover:
    """Adam over all networks of a stack, at a rate that falls in a straight line to 1 % of the first over ``moves``.

    Losses are summed over the networks: the gradient of each is that of its own loss, and Adam treats every number alone.
    """

    def __init__(self, network: nn.Module, lr: float, moves: int) -> None:
        # β₁ as in DCGAN (Radford et al. 2015): in a game the past is a poor guide.
        self.adam = torch.optim.Adam(network.parameters(), lr, betas=(0.5, 0.99), fused=True)
        self.falling = torch.optim.lr_scheduler.LinearLR(self.adam, 1.0, 0.01, total_iters=moves)

    def move(self, losses: Tensor) -> None:
        """One step on ``losses`` (runs, rows)."""
        self.adam.zero_grad()
        losses.mean(1).sum().backward()
        self.adam.step()
        self.falling.step()
