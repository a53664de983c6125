"""Logistic regression.

D. R. Cox, "The Regression Analysis of Binary Sequences", Journal of the Royal Statistical Society, Series B, 20(2),
1958, pp. 215–242.

The idea: a probability must stay between 0 and 1, a straight line does not. Let the *logarithm of the odds* be the line
instead, and choose the weights that make the observed answers most likely.

    log(θ / (1 − θ)) = α + β·x                    the logistic law for P(y = 1) = θ              (Cox 1958)
    Σ y and Σ y x are sufficient                  all that the likelihood uses of the answers    (Cox 1958)
    P(y = k) = exp(z_k) / Σ_j exp(z_j),  z = W x + b       for K > 2 classes

The form for more than two classes came later (Cox 1966; Theil 1969); machine learning calls it softmax (Bridle 1990).
Its name notwithstanding this is classification: the answer is a class. With one class's z held at 0 it is Cox's law when
K = 2, and that is how the two-class model is built here: one weight per feature, as in the paper.

Shapes: B rows, F features, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seminal.core import DataSpec, Departure, Fact, Paper, UserError
from seminal.pieces.init import constant, fill
from seminal.pieces.measure import parameters


@dataclass(frozen=True)
class Config:
    features: int  # the length of x
    outputs: int = 2  # K

    def fitted(self, spec: DataSpec) -> Config:
        """For classes; pictures are read as one long row. Raises `UserError` where the target is a number."""
        if not spec.classes:
            raise UserError(
                f"logistic predicts classes, but the target of {spec.name} is a number. Use the model `linear` instead."
            )
        return replace(self, features=math.prod(spec.shape), outputs=spec.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """None for two classes; more need the later form."""
        if self.outputs == 2:
            return ()
        return (
            Departure(
                f"softmax over {self.outputs} classes (paper: two)",
                "the paper treats yes-or-no answers; this is the form that agrees with it for two classes",
                "the logistic law",
            ),
        )

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, features) standard normal numbers."""
        return (torch.randn(batch, self.features),)


# ------------------------------------------------------------------------------------------------- the contribution


def probability(log_odds: Tensor) -> Tensor:
    """θ from α + β·x: the inverse of log(θ / (1 − θ)) (Cox 1958, the logistic law)."""
    return 1 / (1 + torch.exp(-log_odds))


class LogisticRegression(nn.Module):
    """Gives one logit per class. For two classes these are 0 and α + β·x, whose softmax is the logistic law."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.binary = config.outputs == 2
        self.linear = nn.Linear(config.features, 1 if self.binary else config.outputs)
        # The likelihood has one peak, so the start does not matter; at zero all classes are equally probable.
        fill(self, weights=constant(0.0), biases=constant(0.0))

    def forward(self, x: Float[Tensor, batch * shape]) -> Float[Tensor, "batch classes"]:
        z: Tensor = self.linear(x.flatten(1))  # a picture becomes one row of numbers
        return F.pad(z, (1, 0)) if self.binary else z  # (B, 1) log-odds -> (B, 2): class 0 has logit 0


# ------------------------------------------------------------------------------------------------- variants and facts
# Cox's formulas are checked as formulas; the numbers of his sections were not at hand, so facts name the law instead.

VARIANTS = {"logistic": Config(features=1)}


def _model(alpha: float, beta: float) -> nn.Module:
    model = build(VARIANTS["logistic"]).to("cpu", torch.float64)
    constant(beta)(model.get_parameter("linear.weight").data)
    constant(alpha)(model.get_parameter("linear.bias").data)
    return model


def _line() -> list[float]:
    """log(θ / (1 − θ)) of the network's own probabilities, for α = 0.5, β = −2 at x = −1, 0, 1, 2."""
    x = torch.tensor([[-1.0], [0.0], [1.0], [2.0]], dtype=torch.float64, device="cpu")
    theta = _model(alpha=0.5, beta=-2.0)(x).softmax(1)[:, 1]
    return torch.log(theta / (1 - theta)).tolist()


def _likelihood_from(answers: tuple[int, ...]) -> Tensor:
    """Log-likelihood, less the part that depends on α and β alone, at (α, β) = (0.3, 0.7)."""
    x = torch.arange(4, dtype=torch.float64, device="cpu")[:, None]
    y = torch.tensor(answers, dtype=torch.long, device="cpu")
    return -F.cross_entropy(_model(alpha=0.3, beta=0.7)(x), y, reduction="sum")


def _sufficient() -> float:
    # Both answers have Σ y = 2 and Σ y x = 3 at x = 0, 1, 2, 3; all else about them differs.
    return float((_likelihood_from((1, 0, 0, 1)) - _likelihood_from((0, 1, 1, 0))).detach().abs())


def _conditions() -> list[float]:
    """Σ (y − θ) and Σ (y − θ) x after maximising the likelihood by Newton's method."""
    x = torch.arange(6, dtype=torch.float64, device="cpu")
    y = torch.tensor([0, 0, 1, 0, 1, 1], dtype=torch.float64, device="cpu")
    design, weights = torch.stack([torch.ones_like(x), x], dim=1), torch.zeros_like(x[:2])
    for _ in range(20):
        theta = probability(design @ weights)
        curvature = design.T @ (design * (theta * (1 - theta))[:, None])
        weights = weights + torch.linalg.solve(curvature, design.T @ (y - theta))
    model = _model(float(weights[0]), float(weights[1]))
    fitted = model(x[:, None]).softmax(1)[:, 1]
    return (design.T @ (y - fitted)).detach().tolist()


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return LogisticRegression(config)


PAPER = Paper(
    title="The Regression Analysis of Binary Sequences",
    authors="D. R. Cox",
    year=1958,
    venue="Journal of the Royal Statistical Society, Series B, 20(2), 215–242",
    url="https://doi.org/10.1111/j.2517-6161.1958.tb00292.x",
    idea="Let the logarithm of the odds, not the probability, be a straight line.",
    build=build,
    variants=VARIANTS,
    facts=(
        Fact(
            says="the log-odds are the line α + β·x: 2.5, 0.5, −1.5, −3.5 for α = 0.5, β = −2",
            where="the logistic law",
            expect=(2.5, 0.5, -1.5, -3.5),
            within=1e-9,  # rounding of float64
            measure=_line,
            variant="logistic",
        ),
        Fact(
            says="two parameters for one explanatory variable: α and β",
            where="the logistic law",
            expect=2,
            measure=lambda: parameters(build(VARIANTS["logistic"])),
            variant="logistic",
        ),
        Fact(
            says="answers with the same Σ y and Σ y x are equally likely",
            where="the logistic law",
            expect=0.0,
            within=1e-12,  # rounding of float64
            measure=_sufficient,
        ),
        Fact(
            says="at the most likely α, β the fitted Σ θ and Σ θ x equal the observed Σ y and Σ y x",
            where="the logistic law",
            expect=(0.0, 0.0),
            within=1e-9,  # Newton's method in float64
            measure=_conditions,
        ),
    ),
)
