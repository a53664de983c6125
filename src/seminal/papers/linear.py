"""Linear regression by least squares.

Adrien-Marie Legendre, "Nouvelles méthodes pour la détermination des orbites des comètes", appendix "Sur la méthode des
moindres quarrés", Paris 1805, pp. 72–80; and Carl Friedrich Gauss, "Theoria motus corporum coelestium", Hamburg 1809,
Book II, Section III, arts. 172–189, who shows which errors make the method the most probable one.

The idea: there are more observations than unknowns, so no values satisfy all equations. Choose the values for which the
sum of the squares of the errors is smallest. Setting its derivatives to zero gives one linear equation per unknown.

    e = x·w + b − y                     error of one observation                                (Legendre, p. 72)
    Σ e²  is smallest  ⇔  XᵀX w = Xᵀy   the normal equations                                    (Legendre, p. 73)
    φ(e) = h/√π · exp(−h²e²)            errors for which least squares is most probable         (Gauss, art. 177)

Shapes: N observations, F features (unknowns), T targets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, UserError
from seminal.pieces.init import constant, fill


@dataclass(frozen=True)
class Config:
    features: int  # numbers that describe one observation: the coefficients a, b, c … of Legendre's equations
    outputs: int = 1  # targets; each has its own weights
    bias: bool = True  # a constant term, the unknown whose coefficient is 1

    def fitted(self, spec: DataSpec) -> Config:
        """For tables of numbers to predict; pictures are read as one long row. Raises `UserError` for classes."""
        if spec.classes:
            raise UserError(
                f"linear predicts numbers, but the target of {spec.name} is one of {len(spec.classes)} classes, "
                "and a class has no size. Use the model `logistic` instead."
            )
        return replace(self, features=math.prod(spec.shape), outputs=spec.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """None: the method is stated for any number of observations and unknowns."""
        return ()

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, features) standard normal numbers."""
        return (torch.randn(batch, self.features),)


# ------------------------------------------------------------------------------------------------- the contribution


def normal_equations(
    inputs: Float[Tensor, "rows features"], targets: Float[Tensor, "rows targets"]
) -> Float[Tensor, "features targets"]:
    """The weights with the smallest sum of squared errors: the solution of XᵀX w = Xᵀy (Legendre 1805, p. 73).

    A constant term is a column of ones in ``inputs``. Raises `UserError` where columns depend on each other, because then
    many weights are equally good.
    """
    gram = inputs.T @ inputs
    if int(torch.linalg.matrix_rank(inputs)) < inputs.shape[1]:
        raise UserError(
            "the normal equations have no single solution: some columns are sums of others, or there are fewer rows than "
            "columns. Leave out the columns that repeat others, or add rows."
        )
    return torch.linalg.solve(gram, inputs.T @ targets)


# -------------------------------------------------------------------------------------------------------- the model


class LinearRegression(nn.Module):
    """y = x·w + b. Trained by gradient descent it approaches the solution of the normal equations."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.linear = nn.Linear(config.features, config.outputs, bias=config.bias)
        # The sum of squares has one valley, so any start leads to the same place; zero is the one without chance in it.
        fill(self, weights=constant(0.0), biases=constant(0.0))

    def forward(self, x: Float[Tensor, batch * shape]) -> Float[Tensor, "batch targets"]:
        y: Tensor = self.linear(x.flatten(1))  # a picture becomes one row of numbers
        return y


# ------------------------------------------------------------------------------------------------- variants and facts
# Legendre's page numbers and Gauss's example are quoted from memory; the example's four equations, its normal equations
# and its solution agree with each other, which the facts show.

VARIANTS = {"linear": Config(features=3)}

# Gauss's worked example (art. 184): four observations of the unknowns p, q, r. He halves the equation
# −2p + 6q + 6r = 28 first, because its observation is half as precise as the others.
GAUSS_INPUTS = ((1.0, -1.0, 2.0), (3.0, 2.0, -5.0), (4.0, 1.0, 4.0), (-1.0, 3.0, 3.0))
GAUSS_TARGETS = (3.0, 5.0, 21.0, 14.0)


def _gauss() -> tuple[Tensor, Tensor]:
    # float64, and on the CPU whatever the default device: the fact is about the arithmetic.
    inputs = torch.tensor(GAUSS_INPUTS, dtype=torch.float64, device="cpu")
    return inputs, torch.tensor(GAUSS_TARGETS, dtype=torch.float64, device="cpu")[:, None]


def _gauss_normal() -> list[float]:
    inputs, targets = _gauss()
    system = torch.cat(
        [inputs.T @ inputs, inputs.T @ targets], dim=1
    )  # (3 unknowns, 3 coefficients and the right side)
    return system.flatten().tolist()


def _gauss_solution() -> list[float]:
    return normal_equations(*_gauss()).flatten().tolist()


def _descent() -> list[float]:
    """Gauss's example by gradient descent on the built network instead of the normal equations."""
    inputs, targets = _gauss()
    model = build(Config(features=3, bias=False)).to(device="cpu", dtype=torch.float64)
    # Steps of 1/110 are stable: the largest eigenvalue of 2 XᵀX is below 110, and a step may be 2 / 110.
    descent = torch.optim.SGD(model.parameters(), lr=1 / 110)
    for _ in range(500):
        descent.zero_grad()
        (model(inputs) - targets).square().sum().backward()
        descent.step()
    return model.get_parameter("linear.weight").detach().flatten().tolist()


def _mean() -> float:
    observations = torch.tensor([[2.0], [3.0], [7.0]], dtype=torch.float64, device="cpu")
    return float(normal_equations(torch.ones_like(observations), observations))


def _improvable() -> float:
    """Largest decrease of the sum of squares when each solved weight is moved a little: there must be none."""
    inputs, targets = _gauss()
    best = normal_equations(inputs, targets)

    def squares(weights: Tensor) -> float:
        return float((inputs @ weights - targets).square().sum())

    moves = torch.cat([torch.eye(3), -torch.eye(3)]).to(best)[..., None] * 1e-3
    return max(0.0, *(squares(best) - squares(best + move) for move in moves))


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return LinearRegression(config)


PAPER = Paper(
    title="Sur la méthode des moindres quarrés (with Gauss, Theoria motus corporum coelestium, 1809)",
    authors="Adrien-Marie Legendre; Carl Friedrich Gauss",
    year=1805,
    venue="Nouvelles méthodes pour la détermination des orbites des comètes, appendix, Paris",
    url="https://gallica.bnf.fr/ark:/12148/bpt6k15209372",
    idea="Make the sum of squared errors smallest: one linear equation per unknown.",
    build=build,
    variants=VARIANTS,
    facts=(
        Fact(
            says="the normal equations of four observations: 27p + 6q = 88, 6p + 15q + r = 70, q + 54r = 107",
            where="Gauss 1809, art. 184",
            expect=(27, 6, 0, 88, 6, 15, 1, 70, 0, 1, 54, 107),
            measure=_gauss_normal,
        ),
        Fact(
            says="their solution: p = 2.470, q = 3.551, r = 1.916",
            where="Gauss 1809, art. 184",
            expect=(2.470, 3.551, 1.916),
            within=0.0005,
            measure=_gauss_solution,
        ),
        Fact(
            says="the network reaches the same values by gradient descent",
            where="Gauss 1809, art. 184",
            expect=(2.470, 3.551, 1.916),
            within=0.0005,
            measure=_descent,
            variant="linear",
        ),
        Fact(
            says="for one unknown observed directly, the method gives the mean: (2 + 3 + 7) / 3 = 4",
            where="Legendre 1805, p. 75",
            expect=4.0,
            within=1e-12,  # rounding of float64
            measure=_mean,
        ),
        Fact(
            says="no small change of any unknown makes the sum of squares smaller",
            where="Legendre 1805, p. 73",
            expect=0.0,
            measure=_improvable,
        ),
    ),
)
