"""Gradients or activations blow up.

Sign: the size of the signal grows from layer to layer or from time step to time step, or the gradient's norm grows until
nothing is finite; clipping, normalised layers or smaller first weights do clearly better.
Reason: what is multiplied by more than 1 at every layer or time step grows like a power.
Source: Pascanu et al. 2013; AUTOTRAINER (ratio above 70); DIAGNOSIS.md 4.2 (growth of more than 10 in a layer).
Looks alike: a rate that is too high (a tenth of it cures), inputs that are large before the first layer.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from seminal.doctor import remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding, Remedy
from seminal.doctor.starts import RADIUS, starts

STAGE = "optimisation"
GROWTH = 100.0  # first loss over the loss of an answer without opinion, or largest gradient over the median


def judge(chart: Chart) -> Finding | None:
    told = _told(chart)
    if not told or signs.learned(chart) or not chart.in_time:
        return None
    norms = sorted(g for g in chart.course.vitals.gradient if math.isfinite(g))
    usual = norms[len(norms) // 2] if norms else 1.0
    arms: list[Remedy] = [remedies.clipped(min(1.0, usual)), remedies.default_start()]
    best, effect = signs.best_of(chart, arms)
    if not effect.helped:
        return None
    return Finding(
        "exploding_gradient",
        signs.confidence(effect, 0.65),
        (*told, effect.told(best.says)),
        signs.first(best, arms),
        (),
        frozenset({"optimizer", "saddle_plateau", "underfitting"}),
    )


def _told(chart: Chart) -> list[str]:
    """The signs, in sentences."""
    vitals, anatomy = chart.course.vitals, chart.anatomy
    found = [s.odd for s in starts(chart.program.model) if s.radius > RADIUS]
    if anatomy.first_loss > GROWTH * anatomy.expected_loss > 0:
        found.append(
            f"the first loss is {anatomy.first_loss:.3g}; an answer without opinion has {anatomy.expected_loss:.3g}"
        )
    norms = [g for g in vitals.gradient if math.isfinite(g)]
    if norms and len(norms) > 20 and max(norms) > GROWTH * sorted(norms)[len(norms) // 2]:
        found.append(
            f"the largest gradient has a norm of {max(norms):.3g}, the median one {sorted(norms)[len(norms) // 2]:.3g}"
        )
    return found


class _Recurrent(nn.Module):
    """A rectified recurrent net that reads one number at a time."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.rnn = nn.RNN(1, 32, nonlinearity="relu", batch_first=True)
        self.head = nn.Linear(32, 2)
        nn.init.normal_(dict(self.rnn.named_parameters())["weight_hh_l0"], std=spread)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[1][-1])


def _streams(rows: int = 600) -> tuple[Tensor, Tensor]:
    own = torch.Generator().manual_seed(3)
    x = torch.randn(rows, 25, 1, generator=own) + 0.5 * torch.randn(rows, 1, 1, generator=own)
    return x, (x.mean((1, 2)) > 0).long()


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    return specimens.program(_Recurrent(0.5), _streams())


def well(seed: int = 0) -> dict[str, Any]:
    """The same net with a recurrent matrix that keeps the size of its state."""
    torch.manual_seed(seed)
    return specimens.program(_Recurrent(0.15), _streams())
