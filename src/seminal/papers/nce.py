"""Noise-contrastive estimation: a density without its normaliser, learned by telling data from noise.

Michael Gutmann, Aapo Hyvärinen, "Noise-contrastive estimation: A new estimation principle for unnormalized statistical
models", AISTATS 2010. The Gaussian and ν are from its longer form, JMLR 13 (2012).

The idea: a model p⁰ that is positive but does not integrate to 1 cannot be fitted by maximum likelihood, because the
likelihood would rise without end. So draw noise from a density one knows, and let logistic regression tell data from noise,
with the model's log-density inside. Whoever can do that perfectly knows the density, normaliser included: it is a number
like any other, and is learned with the rest.

    ln p_m(u; θ) = ln p⁰_m(u; α) + c,  θ = {α, c}                                     c: minus the log-normaliser
    G(u; θ) = ln p_m(u; θ) − ln p_n(u),  h(u; θ) = 1 / (1 + exp(−G(u; θ)))            (− ln ν for ν noise rows per row)
    J(θ) = 1/2T Σ_t ln h(x_t; θ) + ln(1 − h(y_t; θ)),  x data, y ~ p_n                maximised                (Sec. 2.1)
    J has one maximum over all functions ln p_m, at ln p_d, if p_n > 0 wherever p_d > 0                       (Theorem 1)
    θ̂ tends to θ*; √T (θ̂ − θ*) tends to a normal distribution                                       (Theorems 2 and 3)

Two models whose normaliser is known, so that the learned c can be judged:

    ln p⁰(u) = −½ uᵀ Λ u                 c* = ½ ln det Λ − n/2 ln 2π                 unnormalised Gaussian
    ln p⁰(u) = −√2 Σ_i |b_i u|           c* = ln |det B| − n/2 ln 2                  independent components   (Sec. 3.1)

The losses are in `seminal.pieces.contrast`, the objective in `seminal.tasks.contrast`.

Shapes: B rows of n numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, UserError
from seminal.pieces.contrast import log_odds, noise_losses, real_losses
from seminal.pieces.latent import gaussian
from seminal.pieces.measure import count

DENSITIES = ("gaussian", "laplace")


@dataclass(frozen=True)
class Config:
    inputs: int = 4  # n
    density: str = "gaussian"  # or laplace: independent components
    outputs: int = 1  # ln p_m

    def __post_init__(self) -> None:
        if self.density not in DENSITIES:
            raise UserError(f"nce has no density {self.density!r}. Choose one of: {', '.join(DENSITIES)}.")

    def fitted(self, spec: DataSpec) -> Config:
        """For tables: as many inputs as there are columns."""
        if spec.kind != "table":
            raise UserError(
                f"nce learns the density of the rows of a table, and {spec.name} holds none: use `vae` for pictures, or "
                "`gpt` for text."
            )
        return replace(self, inputs=spec.shape[0])

    def departures(self) -> tuple[Departure, ...]:
        """None in the model: it has as many inputs as the data."""
        return ()

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, n) numbers."""
        return (torch.randn(batch, self.inputs),)


# ------------------------------------------------------------------------------------------------- the contribution


class Unnormalised(nn.Module):
    """ln p_m = ln p⁰_m + c. Nothing makes it integrate to 1: that is learned."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.matrix = nn.Parameter(torch.eye(config.inputs))  # Λ, of which the symmetric part counts; or B
        self.c = nn.Parameter(torch.zeros(1))

    def forward(self, u: Float[Tensor, "batch n"]) -> Float[Tensor, "batch 1"]:
        turned = u @ self.matrix.T  # uᵀ Λ u takes the symmetric part of Λ by itself
        if self.config.density == "gaussian":
            return -0.5 * (turned * u).sum(1, keepdim=True) + self.c
        return -math.sqrt(2) * turned.abs().sum(1, keepdim=True) + self.c

    def normaliser(self) -> float:
        """c*, which makes the density of the learned matrix integrate to 1. Not a number where none does: a Gaussian with a
        matrix that is not positive definite has no integral."""
        matrix, n = self.matrix.detach().double(), self.config.inputs
        if self.config.density == "laplace":
            return float(torch.linalg.slogdet(matrix).logabsdet) - 0.5 * n * math.log(2)
        eigenvalues = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
        return float(0.5 * eigenvalues.log().sum()) - 0.5 * n * math.log(2 * math.pi)


# ------------------------------------------------------------------------------------------------- variants and facts

GAUSSIAN = Config()
COMPONENTS = Config(density="laplace")
VARIANTS = {"nce": GAUSSIAN, "nce-ica": COMPONENTS}


def build(config: Config) -> Unnormalised:
    """The model of ``config``."""
    return Unnormalised(config)


def _learned_constant() -> float:
    """How far the maximum of J over c is from c* = ln |det B*| − ln 4, B* known: 200,000 rows of four mixed sources."""
    made = torch.Generator("cpu").manual_seed(0)
    rows, options = 200_000, {"dtype": torch.float64, "device": "cpu"}
    uniform = torch.rand(rows, 4, generator=made, **options) - 0.5  # type: ignore[call-overload]
    sources = -uniform.sign() * torch.log1p(-2 * uniform.abs()) / math.sqrt(2)
    unmixing = torch.eye(4, **options) + 0.4 * torch.randn(4, 4, generator=made, **options)  # type: ignore[call-overload]
    x = sources @ torch.linalg.inv(unmixing).T
    covariance = torch.linalg.cholesky(x.T @ x / rows)
    white = torch.randn(rows, 4, generator=made, **options)  # type: ignore[call-overload]
    log_noise = gaussian(white, torch.zeros_like(white), torch.zeros_like(white)) - covariance.diagonal().log().sum()
    own = gaussian(torch.linalg.solve(covariance, x.T).T, torch.zeros_like(x), torch.zeros_like(x))
    own = own - covariance.diagonal().log().sum()
    model = build(COMPONENTS).to("cpu").double()
    with torch.no_grad():
        model.matrix.copy_(unmixing)
        real = log_odds(model(x)[:, 0], own, 1)
        noise = log_odds(model(white @ covariance.T)[:, 0], log_noise, 1)
    low, high = -10.0, 10.0
    for _ in range(60):  # J is concave in c: its slope is Σ (1 − h(x)) − Σ h(y)
        middle = (low + high) / 2
        slope = float(torch.sigmoid(-real - middle).sum() - torch.sigmoid(noise + middle).sum())
        low, high = (middle, high) if slope > 0 else (low, middle)
    return low - (float(torch.linalg.slogdet(unmixing).logabsdet) - math.log(4))


def _density_of_noise() -> float:
    """J where model and noise are one density, in units of ln 2."""
    one = torch.zeros(1, device="cpu")
    odds = log_odds(one, one, 1)
    return -float((real_losses(odds) + noise_losses(odds)) / 2) / math.log(2)


PAPER = Paper(
    title="Noise-contrastive estimation: A new estimation principle for unnormalized statistical models",
    authors="Gutmann, Hyvärinen",
    year=2010,
    venue="AISTATS",
    url="https://proceedings.mlr.press/v9/gutmann10a.html",
    idea="Let logistic regression tell data from noise: the density it needs, normaliser included, is that of the data.",
    build=build,
    variants=VARIANTS,
    facts=(
        Fact(
            "four sources: 16 numbers of B and the normalising constant are learned",
            "Sec. 3.1",
            17,
            lambda: count(build, COMPONENTS),
            variant="nce-ica",
        ),
        Fact(
            "the constant that is learned of four Laplacian sources is c* = ln |det B*| − ln 4",
            "Sec. 3.1 and Theorem 2",
            0.0,
            _learned_constant,
            within=0.004,  # four standard errors of 200,000 rows
            variant="nce-ica",
        ),
        Fact(
            "where the model is the noise itself, h is ½ everywhere and J = −ln 2",
            "Sec. 2.1",
            -1.0,
            _density_of_noise,
            within=1e-6,
        ),
    ),
)
