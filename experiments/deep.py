"""Deep fully connected networks, plain and residual, on scikit-learn's digits (8 × 8 pixels): many trained side by side, as
`stack` does it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

PIXELS, CLASSES, WIDTH, ROWS, TRAIN = 64, 10, 32, 64, 1024
MOMENTUM = 0.9


@dataclass(frozen=True)
class Arm:
    """How a network bears its depth. ``std``: of the first weights; None: √(2 / inputs), as in He et al. 2015."""

    std: float | None = None
    normalised: bool = False
    residual: bool = False


class Deep(nn.Module):
    """Networks side by side, each with a first layer, ``depth`` layers in blocks of two, and a last one:
    (runs, pixels, rows) → (runs, classes, rows). All hidden layers have `WIDTH` units; a block is ReLU(x + F(x)) with
    residual connections (He et al. 2016, Fig. 2), ReLU(F(x)) without."""

    def __init__(self, arm: Arm, depth: int, runs: int, chance: torch.Generator) -> None:
        super().__init__()
        self.arm, self.blocks = arm, depth // 2
        sizes = [PIXELS, *[WIDTH] * (depth + 1), CLASSES]
        self.weights, self.biases, self.gains = (nn.ParameterList() for _ in range(3))
        for a, b in itertools.pairwise(sizes):
            std = arm.std or math.sqrt(2 / a)
            self.weights.append(std * torch.randn(runs, b, a, generator=chance))
            self.biases.append(torch.zeros(runs, b, 1))
            self.gains.append(nn.Parameter(torch.ones(runs, b, 1), requires_grad=arm.normalised and b == WIDTH))
        # Of the last rows that were seen in training: of the whole training set, wherever a network is judged.
        self.register_buffer("means", torch.zeros(depth + 1, runs * WIDTH))
        self.register_buffer("variances", torch.ones(depth + 1, runs * WIDTH))

    def forward(self, x: Tensor, without: int | None = None, outputs: list[Tensor] | None = None) -> Tensor:
        """``without``: a block that is left out. ``outputs`` receives what each hidden layer gives before its ReLU."""
        seen = outputs if outputs is not None else []
        x = F.relu(self._layer(0, x, seen))
        for block in range(self.blocks):
            if block != without:
                inner = F.relu(self._layer(2 * block + 1, x, seen))
                found = self._layer(2 * block + 2, inner, seen)
                x = F.relu(x + found if self.arm.residual else found)
        return torch.baddbmm(self.biases[-1], self.weights[-1], x)

    def _layer(self, i: int, x: Tensor, seen: list[Tensor]) -> Tensor:
        if self.arm.normalised:
            found = torch.bmm(self.weights[i], x)
            # The units of all networks are channels of one batch normalisation.
            flat = F.batch_norm(
                found.flatten(0, 1)[None],
                self.means[i],
                self.variances[i],
                self.gains[i].flatten(),
                self.biases[i].flatten(),
                self.training,
                momentum=1.0,
            )
            found = flat[0].unflatten(0, found.shape[:2])
        else:
            found = torch.baddbmm(self.biases[i], self.weights[i], x)
        seen.append(found)
        return found


def digits() -> tuple[Tensor, Tensor]:
    """(1797, 64) pixels, standardised as one, and their classes; the first `TRAIN` rows are to be learned from."""
    bunch = load_digits()
    order = torch.randperm(len(bunch.data), generator=torch.Generator().manual_seed(0))  # they are sorted by writer
    x, y = torch.tensor(bunch.data, dtype=torch.float32)[order], torch.tensor(bunch.target)[order]
    return (x - x[:TRAIN].mean()) / x[:TRAIN].std(), y


@torch.no_grad()
def right(model: Deep, x: Tensor, y: Tensor, without: int | None = None) -> Tensor:
    """(runs,) share of rows whose class is told."""
    runs = len(model.weights[0])
    return (model(x.T.expand(runs, -1, -1), without).argmax(1) == y).double().mean(1)


def trained(
    arm: Arm, depth: int, *, seeds: int, rates: Sequence[float], length: tuple[int, int]
) -> tuple[Deep, Tensor]:
    """Networks of each rate and seed, and their accuracy on the training set: (looks + 1, rates, seeds). ``length``: steps,
    and looks at equal distances."""
    (x, y), (steps, looks) = digits(), length
    chance = torch.Generator().manual_seed(0)
    model = Deep(arm, depth, len(rates) * seeds, chance)
    rate = torch.tensor(rates).repeat_interleave(seeds)
    learned = [p for p in model.parameters() if p.requires_grad]
    sgd = torch.optim.SGD(learned, lr=1.0, momentum=MOMENTUM, foreach=True)
    found = []
    for step in range(steps + 1):
        if step % (steps // looks) == 0:
            found.append(right(model, x[:TRAIN], y[:TRAIN]).reshape(len(rates), seeds))
        rows = torch.randint(TRAIN, (len(rate), ROWS), generator=chance)
        losses = F.cross_entropy(model(x[rows].transpose(1, 2)), y[rows], reduction="none").mean(1)
        sgd.zero_grad()
        (losses * rate).sum().backward()  # with a rate of 1 for all: to scale a loss is to scale its rate
        sgd.step()
    right(model, x[:TRAIN], y[:TRAIN])  # the last rows of batch normalisation
    return model.eval(), torch.stack(found)
