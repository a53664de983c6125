"""The latent variables of an autoencoder are ignored.

Sign: a model that draws at random while it trains and is asked to give back its inputs gives nearly the same output
for all of them, and does clearly better when the error of the reconstruction counts more.
Reason: a term that pulls the latent towards its prior outweighs the reconstruction, often because one is a sum and
the other a mean: it is cheapest to send no information at all.
Source: Bowman et al. 2016 (annealing), Higgins et al. 2017 (its weight); DIAGNOSIS.md section 5.
Looks alike: an autoencoder without chance that fails for other reasons (rate, first weights).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from seminal.doctor import course, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding, Remedy
from seminal.doctor.program import Program
from seminal.doctor.wanted import right

STAGE = "optimisation"
FLAT = 0.2  # spread of the outputs over rows, as a share of the targets' spread
PIXELS = 10.0  # weight of the error of one output in the remedy, as against the mean over all


def judge(chart: Chart) -> Finding | None:
    anatomy = chart.anatomy
    if anatomy.kind != "reconstruction" or not anatomy.stochastic or anatomy.two_players:
        return None
    out = course.outputs(chart.course.model, chart.train)
    if out is None or not bool(out.isfinite().all()):
        return None
    width = chart.train.targets[0].numel()
    given, asked = out.reshape(len(out), -1)[:, :width], chart.train.targets.reshape(len(out), -1)
    share = float(given.std(0).mean() / asked.std(0).mean())
    explained = right("reconstruction", out, chart.train.targets)
    if share > FLAT or explained > FLAT or not chart.in_time:
        return None
    arm = _reconstruction_first(width)
    effect = signs.effect(chart, arm)
    if not effect.helped:
        return None
    return Finding(
        "posterior_collapse",
        signs.confidence(effect, 0.85),
        (
            f"after training, outputs for different inputs are nearly the same (spread {share:.2g} of the inputs' own; "
            f"{100 * max(0.0, explained):.0f} % of their variance is given back), and the model draws at random on "
            "the way",
            effect.told(arm.says),
        ),
        (arm,),
        (),
        frozenset(
            {
                "over_regularised",
                "underfitting",
                "loss_implementation",
                "lr_low",
                "optimizer",
                "saddle_plateau",
                "epochs_few",
            }
        ),
    )


def _reconstruction_first(width: int) -> Remedy:
    """Adds the reconstruction's error as a sum over outputs, which makes the other term small beside it."""

    def change(program: Program) -> Program:
        loss = program.loss

        def weighted(out: Tensor, target: Tensor) -> Tensor:
            image = out.reshape(len(out), -1)[:, :width]
            return loss(out, target) + PIXELS * ((image - target.reshape(len(out), -1)) ** 2).sum(1).mean()

        return replace(program, loss=weighted)

    return Remedy(
        "reconstruction first",
        f"sum the reconstruction's error over the {width} outputs, so that the term of the latent weighs less",
        "loss = ((image - x) ** 2).sum(1).mean() + beta * kl    # beta small, or rising from 0",
        change,
    )


class _Variational(nn.Module):
    def __init__(self, size: int, latent: int) -> None:
        super().__init__()
        self.encoder = specimens.network(size, 32, 2 * latent)
        self.decoder = specimens.network(latent, 32, size)

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        return torch.cat([self.decoder(mean + noise * (log_variance / 2).exp()), mean, log_variance], 1)


def _parts(beta: float, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    x = specimens.groups()[0] / 4

    def loss(out: Tensor, target: Tensor) -> Tensor:
        image, mean, log_variance = out.split([12, 4, 4], 1)
        prior = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
        return ((image - target) ** 2).mean() + beta * prior

    def explained(out: Tensor, target: Tensor) -> float:
        return specimens.explained(out[:, :12], target)

    return specimens.program(_Variational(12, 4), (x, x), loss=loss, metric=explained, epochs=60)


def sick(seed: int = 0) -> dict[str, Any]:
    return _parts(1.0, seed)


def well(seed: int = 0) -> dict[str, Any]:
    return _parts(0.002, seed)
