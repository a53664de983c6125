"""A lower bound on the log-likelihood of each row, in nats: the variational autoencoder's loss and its scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Generator, Goal, Sums, Turn, UserError
from seminal.pieces.chance import RowChance
from seminal.pieces.divergences import kl_diagonal
from seminal.pieces.draws import Draw
from seminal.pieces.latent import Explained, log_likelihood

ACTIVE = 0.01  # least variance over rows of a latent mean: Burda, Grosse, Salakhutdinov 2016, Sec. 5.2
DRAWS = 32  # importance samples computed at once


class LatentModel(Generator, Protocol):
    """What is asked of a model, beyond calling it."""

    latent: int  # J


@dataclass(frozen=True)
class Variational:
    """``batch["input"]`` → `seminal.pieces.latent.Explained`. A row's loss is −log p(x|z) + β KL(q(z|x) ‖ p(z)), summed over
    its numbers: the negative lower bound where β is 1 (Kingma and Welling 2013, Eq. 7).

    With ``annealing`` β rises in a straight line from 0 over that share of the training (Bowman et al. 2016), so that the
    latent variables are used before they must be paid for.

    Scores are always those of the true bound. Their noise belongs to the row: the same weights give the same number.
    """

    samples: int = 1  # L, draws of z per row
    beta: float = 1.0  # β (Higgins et al. 2017); 1 is the bound
    annealing: float = 0.0  # share of the training in which β rises; 0: β from the first step

    @property
    def goal(self) -> Goal:
        return Goal("bound", higher=True)

    def fitted(self, spec: DataSpec) -> Self:
        if self.samples < 1 or self.beta < 0 or not 0 <= self.annealing <= 1:
            raise UserError(
                f"samples {self.samples}, beta {self.beta:g} and annealing {self.annealing:g} make no sense: write at least "
                "one sample, a beta of 0 or more, and a share from 0 to 1."
            )
        return self

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters())}

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        x = batch["input"].repeat_interleave(self.samples, dim=0)
        seen: Explained = model(x)
        progress = batch.get("progress", torch.ones_like(batch["index"], dtype=torch.float32))
        price = self.beta_at(progress).repeat_interleave(self.samples) * kl_diagonal(seen.mean, seen.log_variance)
        loss = (price - log_likelihood(x, seen.decoded)).sum() / self.samples
        yield Turn("model", loss, loss.new_tensor(float(len(batch["input"]))))

    def beta_at(self, progress: Tensor) -> Tensor:
        """β when this share of the training is done."""
        return self.beta * (progress / self.annealing).clamp(max=1) if self.annealing else self.beta + 0 * progress

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        seen = _explained(model, batch, self.samples)
        mean = seen.mean.double()
        return {
            "rows": mean.new_tensor(float(len(mean))),
            "reconstruction": -log_likelihood(batch["input"], seen.decoded).double().mean(0).sum(),
            "kl": kl_diagonal(seen.mean, seen.log_variance).double().sum(),
            "mean": mean.sum(0),
            "mean_squared": mean.square().sum(0),
        }

    def summary(self, sums: Sums) -> dict[str, float]:
        """Nats per row. ``active`` counts the latent variables whose mean differs from row to row."""
        rows = sums["rows"]
        reconstruction, kl = float(sums["reconstruction"] / rows), float(sums["kl"] / rows)
        spread = sums["mean_squared"] / rows - (sums["mean"] / rows).square()
        return {
            "loss": reconstruction + self.beta * kl,
            "bound": -reconstruction - kl,
            "reconstruction": reconstruction,
            "kl": kl,
            "active": float((spread > ACTIVE).sum()),
        }

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """``anomaly`` (batch,): the negative bound in nats with z at its mean, the higher the stranger; ``error`` (batch,):
        its part −log p(x|z); ``latent`` (batch, J): the mean of z; ``reconstruction``: the row as the model gives it back."""
        seen: Explained = model(batch["input"])
        error = -log_likelihood(batch["input"], seen.decoded)
        return {
            "anomaly": error + kl_diagonal(seen.mean, seen.log_variance),
            "error": error,
            "latent": seen.mean,
            "reconstruction": cast(LatentModel, model).generate(seen.mean),
        }


def importance_sampled(model: nn.Module, batch: Batch, samples: int) -> Float[Tensor, " batch"]:
    """log p(x) of each row by K importance samples: log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x).

    Its mean is a lower bound too; it rises with K towards the log-likelihood (Burda, Grosse, Salakhutdinov 2016, Theorem
    1). With one sample it is a noisy estimate of the bound of training.
    """
    if samples < 1:
        raise UserError(f"{samples} importance samples give no number: write 1 or more.")
    found = []
    for part, done in enumerate(range(0, samples, DRAWS)):
        seen = _explained(model, batch, min(DRAWS, samples - done), part)
        noise = (seen.latent - seen.mean) * (-0.5 * seen.log_variance).exp()
        prior_over_q = 0.5 * (noise.square() - seen.latent.square() + seen.log_variance).sum(-1)
        found.append(torch.logsumexp((log_likelihood(batch["input"], seen.decoded) + prior_over_q).double(), dim=0))
    return torch.logsumexp(torch.stack(found), dim=0) - math.log(samples)


def _explained(model: nn.Module, batch: Batch, samples: int, part: int = 0) -> Explained:
    """``samples`` draws of z for each row, which depend on the row and the ``part`` alone."""
    latent = cast(LatentModel, model).latent
    noise = RowChance(0, part, batch["index"]).normal(Draw.LATENT, samples * latent)
    seen: Explained = model(batch["input"], noise.view(-1, samples, latent).transpose(0, 1))
    return seen
