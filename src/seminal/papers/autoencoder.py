"""The deep autoencoder.

Geoffrey E. Hinton, Ruslan R. Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science 313,
28 July 2006, pp. 504–507.

The idea: a network that must give back its input through a narrow layer in the middle has to find a short code for it.
With one linear layer on each side the code is that of principal components; with several layers of non-linear units it
follows curved sheets in the data, and the same number of code units keeps more.

    code = encoder(x), x̂ = decoder(code)
    logistic units x_j = 1 / (1 + exp(−(b_j + Σ_i w_ij x_i))); the units of the code are linear
    −Σ_d x_d log x̂_d − Σ_d (1 − x_d) log(1 − x̂_d)              error for pixels from 0 to 1
    Σ_d (x_d − x̂_d)²                                            error for real numbers, whose output units are linear

The network here returns the total input of the output units: the loss that goes with the data applies the last logistic.
It has no prior over codes, so no new rows can be drawn from it: that is what the variational autoencoder adds.

Left out is what the paper is best known for, pre-training: a stack of restricted Boltzmann machines, each trained on the
activities of the one below, gives the first weights of the encoder, and their transposes those of the decoder. Better
first values (Glorot and Bengio 2010; He et al. 2015) have since made it needless.

Shapes: B rows of D numbers, H units of a hidden layer, J units of the code.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.pieces.init import constant, fill, he
from seminal.pieces.measure import on_meta, stages

UNITS = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}


@dataclass(frozen=True)
class Config:
    shape: tuple[int, ...]  # of one row, D numbers in all
    hidden: tuple[int, ...]  # H of the encoder, layer by layer; the decoder's are the same, the other way round
    code: int  # J
    activation: str = "sigmoid"  # of the hidden units: sigmoid (the paper's logistic units) or relu

    def __post_init__(self) -> None:
        if self.activation not in UNITS:
            raise UserError(f"an autoencoder has no activation {self.activation!r}. Choose one of: {', '.join(UNITS)}.")

    @property
    def outputs(self) -> int:
        """D: as many numbers are given back."""
        return math.prod(self.shape)

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures and tables: only the number of inputs changes."""
        if spec.kind not in ("images", "table"):
            raise UserError(
                f"an autoencoder reads pictures and tables, and {spec.name} holds text: use `lstm`, `gpt` or another."
            )
        return replace(self, shape=spec.shape)

    def departures(self) -> tuple[Departure, ...]:
        """First weights without pre-training, and sizes that are not the paper's."""
        start = "He et al. 2015" if self.activation == "relu" else "Glorot and Bengio 2010"
        found = [
            Departure(
                f"weights start at random as in {start} (paper: pre-trained by restricted Boltzmann machines)",
                "one training instead of two",
                "Fig. 1",
            )
        ]
        if replace(self, activation="sigmoid") not in VARIANTS.values():
            sizes = "-".join(str(size) for size in (math.prod(self.shape), *self.hidden, self.code))
            what = f"an encoder of {sizes} units (paper: 784-1000-500-250-30 …)"
            found.append(Departure(what, "as the data have it"))
        if self.activation == "relu":
            what = "hidden units are relu (paper: logistic)"
            found.append(Departure(what, "without pre-training the gradient fades in eight layers of logistic units"))
        return tuple(found)

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, …) numbers from 0 to 1."""
        return (torch.rand(batch, *self.shape),)


# ------------------------------------------------------------------------------------------------- the contribution


class Autoencoder(nn.Module):
    """An encoder to a linear code, and its mirror image."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        sizes = (math.prod(config.shape), *config.hidden, config.code)
        self.encoder = layers(sizes, config.activation)
        self.decoder = layers(sizes[::-1], config.activation)
        fill(self, weights=he if config.activation == "relu" else glorot, biases=constant(0.0))

    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch code"]:
        """The code of each row."""
        code: Tensor = self.encoder(x.flatten(1))
        return code

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        return self.decoder(self.encode(x)).view_as(x)


def layers(sizes: tuple[int, ...], activation: str) -> nn.Sequential:
    """Linear layers with units between them; the last layer is linear."""
    found: list[nn.Module] = []
    for below, above in itertools.pairwise(sizes):
        found += [nn.Linear(below, above), UNITS[activation]()]
    return nn.Sequential(*found[:-1])


def glorot(weight: Tensor) -> None:
    """Uniform within ±√(6 / (fan-in + fan-out)) (Glorot and Bengio 2010, Eq. 16)."""
    limit = math.sqrt(6 / sum(weight.shape))
    weight.uniform_(-limit, limit)


# ------------------------------------------------------------------------------------------------- variants and facts
# Sizes and errors are quoted from memory; independent copies of the networks agree with the sizes.

VARIANTS = {
    "autoencoder": Config((1, 28, 28), (1000, 500, 250), 30),  # MNIST
    "autoencoder-2": Config((1, 28, 28), (1000, 500, 250), 2),  # Fig. 3B
    "autoencoder-curves": Config((1, 28, 28), (400, 200, 100, 50, 25), 6),
    "autoencoder-faces": Config((1, 25, 25), (2000, 1000, 500), 30),
}


def _widths(variant: str) -> list[int]:
    """D, the widths of the layers up to the code, and down again to D."""
    model = on_meta(build, VARIANTS[variant])
    maps = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    return [maps[0].in_features, *(layer.out_features for layer in maps)]


def _code_is_linear() -> bool:
    """Whether the code doubles with its own last layer, as logistic units would not."""
    model = build(VARIANTS["autoencoder"]).cpu()
    x = torch.rand(4, 1, 28, 28, device="cpu")
    before = model.encode(x)
    with torch.no_grad():
        for parameter in model.encoder[-1].parameters():
            parameter.mul_(2)
    return bool(torch.allclose(model.encode(x), 2 * before))


def build(config: Config) -> Autoencoder:
    """The network of ``config``."""
    return Autoencoder(config)


PAPER = Paper(
    title="Reducing the Dimensionality of Data with Neural Networks",
    authors="Geoffrey E. Hinton, Ruslan R. Salakhutdinov",
    year=2006,
    venue="Science 313, 504–507",
    url="https://doi.org/10.1126/science.1127647",
    idea="Give back the input through a narrow middle: the activities there are a short code that bends with the data.",
    build=build,
    variants=VARIANTS,
    facts=(
        *(
            Fact(says, where, (*widths, *widths[-2::-1]), partial(_widths, variant), variant=variant)
            for variant, says, where, widths in (
                (
                    "autoencoder",
                    "digits: 784-1000-500-250-30, and the mirror image",
                    "p. 506",
                    (784, 1000, 500, 250, 30),
                ),
                ("autoencoder-2", "digits in two dimensions: 784-1000-500-250-2", "Fig. 3B", (784, 1000, 500, 250, 2)),
                (
                    "autoencoder-curves",
                    "curves: (28 × 28)-400-200-100-50-25-6",
                    "p. 505",
                    (784, 400, 200, 100, 50, 25, 6),
                ),
                ("autoencoder-faces", "faces: 625-2000-1000-500-30", "p. 506", (625, 2000, 1000, 500, 30)),
            )
        ),
        Fact(
            says="one digit becomes 30 numbers, and 28 × 28 again",
            where="p. 506",
            expect=(30, 784),
            measure=lambda: [stages(build, VARIANTS["autoencoder"])[name][-1] for name in ("encoder", "decoder")],
            variant="autoencoder",
        ),
        Fact(
            says="the units of the code are linear",
            where="p. 506",
            expect=True,
            measure=_code_is_linear,
            variant="autoencoder",
        ),
    ),
    results=(
        Result("autoencoder", "mnist", "squared_error", 3.00, "Fig. 2B; 13.87 for 30 principal components"),
        Result("autoencoder-curves", "curves", "squared_error", 1.44, "Fig. 2A"),
        Result("autoencoder-faces", "olivetti", "squared_error", 126.0, "Fig. 2C; 135 for 30 principal components"),
    ),
)
