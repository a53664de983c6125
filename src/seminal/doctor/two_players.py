"""A generator and its critic: what the samples are like beside the real rows, and how the generator's gradient went."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from seminal.doctor import course, specimens
from seminal.doctor.chart import Chart

MOST = 400  # rows that are compared
REACH = 2.0  # times the typical distance between neighbours among real rows: that near is "the same place"


@dataclass(frozen=True)
class Game:
    """How the game of two stands after training."""

    covered: float  # share of real rows with a sample near (coverage: Naeem et al. 2020)
    real: float  # share of samples with a real row near
    spread: float  # variance of the samples as a share of the real rows'
    gradient: float  # the generator's gradient in the last quarter of the run, as a share of its first one


def played(chart: Chart) -> Game | None:
    """None where there are not two players, or where outputs and targets cannot be compared."""
    if not chart.anatomy.two_players or chart.anatomy.out_shape != chart.anatomy.target_shape:
        return None
    out = course.outputs(chart.course.model, chart.train)
    if out is None or not bool(out.isfinite().all()):
        return None
    pick = torch.linspace(0, len(out) - 1, min(MOST, len(out))).round().long()
    rows, samples = (values[pick].reshape(len(pick), -1).float() for values in (chart.train.targets, out))
    scale = rows.std(0) + 1e-12
    rows, samples = rows / scale, samples / scale
    near = REACH * float(torch.cdist(rows, rows).fill_diagonal_(math.inf).min(1).values.median())
    apart = torch.cdist(rows, samples)
    return Game(
        float((apart.min(1).values < near).float().mean()),
        float((apart.min(0).values < near).float().mean()),
        float(samples.var(0).mean() / rows.var(0).mean()),
        _gradient(chart),
    )


def _gradient(chart: Chart) -> float:
    """Norm over the generator's parameters: those on which the outputs depend."""
    weights = chart.course.vitals.weights
    mine = [weights[name].gradient for name in weights if name not in chart.anatomy.critics and weights[name].gradient]
    norms = [math.hypot(*(0.0 if math.isnan(value) else value for value in step)) for step in zip(*mine)]
    if len(norms) < 8:
        return math.nan
    quarter = len(norms) // 4
    return median(norms[-quarter:]) / max(median(norms[:quarter]), 1e-12)


# ----------------------------------------------------------------------------------------------------- for specimens


class Pair(nn.Module):
    """A generator of points in the plane, with its critic."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = specimens.network(2, 32, 2)
        self.critic = specimens.network(2, 32, 32, 1, activation=lambda: nn.LeakyReLU(0.2))

    def forward(self, noise: Tensor) -> Tensor:
        out: Tensor = self.generator(noise)
        return out


def cloud(away: float, rows: int = 900) -> tuple[Tensor, Tensor]:
    """Noise, and points of an oblique cloud whose centre is so far away."""
    own = torch.Generator().manual_seed(9)
    noise, points = torch.randn(rows, 2, generator=own), torch.randn(rows, 2, generator=own)
    return noise, points @ torch.tensor([[1.0, 0.5], [0.0, 0.7]]) + away * torch.tensor([0.9, -0.45])


def likeness(out: Tensor, target: Tensor) -> float:
    """1 less the differences of means and spreads, in units of the real spread."""
    unit = target.std(0)
    off = ((out.mean(0) - target.mean(0)) / unit).abs().mean() + ((out.std(0) - unit) / unit).abs().mean()
    return float(1 - off)


def game(
    seed: int, *, rate: float, critic_rate: float, turns: int = 1, away: float = 2.0, saturating: bool = False
) -> dict[str, Any]:
    """A program in which the critic makes ``turns`` steps for each one of the generator."""
    torch.manual_seed(seed)
    model, (noise, points) = Pair(), cloud(away)
    judge = torch.optim.Adam(model.critic.parameters(), lr=critic_rate, betas=(0.5, 0.99))

    def step(model: nn.Module, loss: Any, optimizer: Optimizer, x: Tensor, y: Tensor) -> Tensor:
        assert isinstance(model, Pair)
        for _ in range(turns):
            judge.zero_grad()
            fake = model(torch.randn_like(x)).detach()
            (F.softplus(-model.critic(y)).mean() + F.softplus(model.critic(fake)).mean()).backward()
            judge.step()
        optimizer.zero_grad()
        said = model.critic(model(x))
        value: Tensor = -F.softplus(said).mean() if saturating else F.softplus(-said).mean()
        value.backward()
        optimizer.step()
        return value.detach()

    cut = 600
    return {
        "model": model,
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.generator.parameters(), lr=rate, betas=(0.5, 0.99)),
        "train": DataLoader(TensorDataset(noise[:cut], points[:cut]), batch_size=60, shuffle=True),
        "val": DataLoader(TensorDataset(noise[cut:], points[cut:]), batch_size=300),
        "epochs": 30,
        "metric": likeness,
        "train_step": step,
    }
