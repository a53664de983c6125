"""Small programs from made data, for the rules' specimens. Each trains in a second or two."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset


def accuracy(out: Tensor, target: Tensor) -> float:
    """Share of rows whose largest output is the target."""
    return (out.argmax(1) == target).float().mean().item()


def explained(out: Tensor, target: Tensor) -> float:
    """R²: the share of the targets' variance that is explained."""
    return (1 - ((out - target) ** 2).sum() / ((target - target.mean(0)) ** 2).sum()).item()


def groups(rows: int = 900, classes: int = 5, features: int = 12, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """(rows, features) points around two centres for each class, which no straight line separates; their classes."""
    own = torch.Generator().manual_seed(7)
    centres = 2.2 * torch.randn(2 * classes, features, generator=own)
    which = torch.randint(2 * classes, (rows,), generator=own)
    return centres[which] + spread * torch.randn(rows, features, generator=own), which % classes


def waves(rows: int = 700, features: int = 4) -> tuple[Tensor, Tensor]:
    """(rows, features) normal points and (rows, 1) values of a smooth function of them, with a little noise."""
    own = torch.Generator().manual_seed(8)
    x = torch.randn(rows, features, generator=own)
    y = torch.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3] + 0.05 * torch.randn(rows, 1, generator=own)
    return x, y


def network(*widths: int, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these widths with an activation between them."""
    layers: list[nn.Module] = []
    for inside, outside in itertools.pairwise(widths):
        layers += [nn.Linear(inside, outside), activation()]
    return nn.Sequential(*layers[:-1])


def program(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    optimizer: Optimizer | None = None,
    *,
    loss: Any = None,
    metric: Any = None,
    epochs: int = 15,
    batch: int = 32,
    shuffle: bool = True,
) -> dict[str, Any]:
    """A program after the contract: two thirds of the rows to learn from, Adam at 0.003 unless told otherwise."""
    x, y = data
    cut = 2 * len(x) // 3
    classes = not y.is_floating_point()
    return {
        "model": model,
        "loss": loss or (nn.CrossEntropyLoss() if classes else nn.MSELoss()),
        "optimizer": optimizer or torch.optim.Adam(model.parameters(), lr=3e-3),
        "train": DataLoader(TensorDataset(x[:cut], y[:cut]), batch_size=batch, shuffle=shuffle),
        "val": DataLoader(TensorDataset(x[cut:], y[cut:]), batch_size=500),
        "epochs": epochs,
        "metric": metric or (accuracy if classes else explained),
    }
