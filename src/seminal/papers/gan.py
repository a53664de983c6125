"""Generative adversarial nets.

Ian J. Goodfellow, Jean Pouget-Abadie, Mehdi Mirza, Bing Xu, David Warde-Farley, Sherjil Ozair, Aaron Courville, Yoshua
Bengio, "Generative Adversarial Nets", NIPS 2014; arXiv 1406.2661, June 2014.

The idea: let two networks play against each other. The generator G turns noise into pictures; the discriminator D says how
probable it is that a picture is a real one. D learns to tell them apart, G learns, through D's gradient, to be mistaken for
real. Neither a likelihood nor a Markov chain is needed, and at the end D can only guess.

    min_G max_D V(D, G) = E_x~data [log D(x)] + E_z [log (1 − D(G(z)))]                       (1)
    D*(x) = p_data(x) / (p_data(x) + p_g(x))       the best D for a given G                    (2, Prop. 1)
    C(G) = max_D V(D, G) = −log 4 + 2 · JSD(p_data ‖ p_g)      natural logarithms              (6)
    C(G) = −log 4 exactly where p_g = p_data, and there D* = ½                                 (Theorem 1)

For any a, b ≥ 0, a log y + b log (1 − y) is concave in y, with its largest value at a / (a + b): hence Eq. 2. Early in the
game log (1 − D(G(z))) is flat, for D is sure; G then maximises log D(G(z)) instead: same fixed point, better slope (Sec. 3).

The paper prints no sizes. Those here are of the program published with it, https://github.com/goodfeli/adversarial.

Shapes: B rows, Z numbers of noise, C channels, H × W pixels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.pieces.dropout import Dropout
from seminal.pieces.init import Rule, constant, uniform
from seminal.pieces.measure import on_meta, shapes
from seminal.pieces.pictures import changed_input

CODE = "published program"


@dataclass(frozen=True)
class Config:
    hidden: tuple[int, ...] = (1200, 1200)  # units of G's hidden layers
    maxout: tuple[int, ...] = (240, 240)  # units of D's maxout layers …
    pieces: int = 5  # … and linear pieces of each
    latent: int = 100  # Z
    convolutional: bool = False  # the networks of Fig. 2d
    in_channels: int = 1  # C
    size: tuple[int, int] = (28, 28)  # H, W

    outputs = 1  # the discriminator's verdict

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures; the convolutional form needs 12 × 12 pixels. Raises `UserError` for other data."""
        channels, size = picture(spec, least=12 if self.convolutional else 1, instead="gan")
        return replace(self, in_channels=channels, size=size)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from the network of the published program."""
        printed = VARIANTS["gan-convolutional" if self.convolutional else "gan"]
        found = [*changed_input(self, printed, f"{CODE}, {printed.yaml}")]
        if replace(self, in_channels=printed.in_channels, size=printed.size) != printed:
            what = f"hidden layers of {self.hidden}, maxout layers of {self.maxout} units"
            found.append(Departure(what, "chosen by you", f"{CODE}, {printed.yaml}"))
        if self.convolutional:
            what, why = "the last layer ends in sigmoids (paper: none)", "pictures are in [0, 1] here, not normalised"
            if self.size != _grown(_coarse(self.size)):
                h, w = _grown(_coarse(self.size))
                found.append(
                    Departure(f"{h} × {w} pixels are made and cut", "5 + 3n is the size that strides of 3 make")
                )
        else:
            what = f"the last layer's biases start at 0 ({CODE}: where G first gives the mean picture)"
            why = "a network is built here before it has seen data"
        return (*found, Departure(what, why, f"{CODE}, {self.yaml}"))

    @property
    def yaml(self) -> str:
        """The file of the published program."""
        return "cifar10_convolutional.yaml" if self.convolutional else "mnist.yaml"

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) pictures in [0, 1] and (batch, Z) noise."""
        return torch.rand(batch, self.in_channels, *self.size), torch.randn(batch, self.latent)


# ------------------------------------------------------------------------------------------------- the contribution


def value(real: Float[Tensor, " rows"], fake: Float[Tensor, " rows"]) -> Tensor:
    """V(D, G) of Eq. 1, from D's logits s on real and on generated rows: log D = −softplus(−s), log (1 − D) = −softplus(s).
    It is here to be read, and as an oracle; training sums the same terms (`seminal.tasks.game`)."""
    return -F.softplus(-real).mean() - F.softplus(fake).mean()


def best_discriminator(data: Float[Tensor, " points"], generated: Float[Tensor, " points"]) -> Tensor:
    """D*(x) of Eq. 2, from the densities p_data and p_g at the same points."""
    return data / (data + generated)


class Adversarial(nn.Module):
    """The two players, and the prior of the noise: standard normal, or uniform between the two numbers of ``span``.

    Pictures are in [0, 1]. Where ``labels`` are given both networks take them as a second input.
    """

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, latent: int, span: tuple[float, float] | None = None
    ) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.latent, self.span = latent, span

    def noise(self, rows: int, generator: torch.Generator | None = None) -> Float[Tensor, "batch latent"]:
        """z from the prior, on the model's device; it is drawn where ``generator`` lives, if there is one."""
        device = next(self.parameters()).device
        z = torch.empty(rows, self.latent, device=generator.device if generator else device)
        z = z.uniform_(*self.span, generator=generator) if self.span else z.normal_(generator=generator)
        return z.to(device)

    def generate(
        self, noise: Float[Tensor, "batch latent"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch channels height width"]:
        """G(z), in [0, 1]."""
        pictures: Tensor = self.generator(noise) if labels is None else self.generator(noise, labels)
        return pictures.float()

    def discriminate(
        self, pictures: Float[Tensor, "batch channels height width"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, " batch"]:
        """The logit of D(x)."""
        logits: Tensor = self.discriminator(pictures) if labels is None else self.discriminator(pictures, labels)
        return logits.float()

    def forward(
        self,
        pictures: Float[Tensor, "batch channels height width"],
        noise: Float[Tensor, "batch latent"],
        labels: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "2 batch"]:
        """D's logits on the pictures, and on those made of the noise."""
        fake = self.generate(noise, labels)
        return torch.stack([self.discriminate(pictures, labels), self.discriminate(fake, labels)])


# ----------------------------------------------------------------------------------------------------- both networks


class Maxout(nn.Module):
    """The largest of ``pieces`` linear maps, for each unit (Goodfellow et al. 2013, "Maxout Networks"). ``linear`` gives
    units · pieces channels, in dimension 1."""

    def __init__(self, linear: nn.Linear | nn.Conv2d, pieces: int) -> None:
        super().__init__()
        self.linear = linear
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(2)


class ConvolutionalGenerator(nn.Sequential):
    """Rectified, then logistic units, which are laid out as 80 small maps; a 5 × 5 transposed convolution at stride 3 makes
    the picture, with a bias for each of its pixels."""

    def __init__(self, config: Config) -> None:
        height, width = _coarse(config.size)
        units = config.hidden[0]
        super().__init__(
            nn.Linear(config.latent, units),
            nn.ReLU(),
            nn.Linear(units, 80 * height * width),  # the program's 8000 at 10 × 10 places
            nn.Sigmoid(),
            nn.Unflatten(1, (80, height, width)),
            nn.ConvTranspose2d(80, config.in_channels, 5, stride=3, bias=False),  # 10 × 10 -> 32 × 32
            Cut(config.in_channels, config.size),
            nn.Sigmoid(),
        )


class Cut(nn.Module):
    """The upper left ``size`` of a map, plus a bias for each of its pixels."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, *size))

    def forward(self, x: Tensor) -> Tensor:
        height, width = self.bias.shape[1:]
        return x[:, :, :height, :width] + self.bias


def generator(config: Config) -> nn.Module:
    """G: rectified layers, then sigmoids, one for each number of the picture."""
    if config.convolutional:
        return started(ConvolutionalGenerator(config), uniform(0.05))
    shape = (config.in_channels, *config.size)
    layers: list[nn.Module] = []
    for inputs, units in itertools.pairwise((config.latent, *config.hidden)):
        layers += [nn.Linear(inputs, units), nn.ReLU()]
    layers += [nn.Linear(config.hidden[-1], math.prod(shape)), nn.Sigmoid(), nn.Unflatten(1, shape)]
    return started(nn.Sequential(*layers), uniform(0.05))


def discriminator(config: Config) -> nn.Module:
    """D: maxout layers under one logit. In training a fifth of the inputs and half of all other units are dropped."""
    height, width = config.size
    if config.convolutional:
        maps, inputs = _maxout_maps(config.in_channels), 192 * _pooled(height) * _pooled(width)
    else:
        maps, inputs = [], config.in_channels * height * width
    layers: list[nn.Module] = [Dropout(0.2), *maps, nn.Flatten()]
    for below, units in itertools.pairwise((inputs, *config.maxout)):
        layers += [Maxout(nn.Linear(below, units * config.pieces), config.pieces), Dropout(0.5)]
    return started(nn.Sequential(*layers, nn.Linear(config.maxout[-1], 1), nn.Flatten(0)), uniform(0.005))


def _maxout_maps(channels: int) -> list[nn.Module]:
    """Three maxout convolutions of 2 pieces, each under overlapping max pooling; the sizes are of 32 × 32 pixels."""

    def layer(inputs: int, units: int, kernel: int, padding: int) -> Maxout:
        return Maxout(nn.Conv2d(inputs, 2 * units, kernel, padding=padding), 2)

    pool, small = nn.MaxPool2d(4, 2, ceil_mode=True), nn.MaxPool2d(2, 2, ceil_mode=True)
    first = [layer(channels, 32, 8, 4), pool, Dropout(0.5)]  # 33 × 33 -> 16 × 16
    second = [layer(32, 32, 8, 3), pool, Dropout(0.5)]  # 15 × 15 -> 7 × 7
    return [*first, *second, layer(32, 192, 5, 3), small, Dropout(0.5)]  # 9 × 9 -> 5 × 5


def started(network: nn.Module, weights: Rule) -> nn.Module:
    """The network with weights drawn by the rule, and biases at 0."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not parameter.is_meta:
                (constant(0.0) if name.endswith("bias") else weights)(parameter)
    return network


def picture(spec: DataSpec, *, least: int, instead: str) -> tuple[int, tuple[int, int]]:
    """Channels and size of pictures of at least ``least`` pixels a side. Raises `UserError` for other data."""
    if spec.kind != "images":
        raise UserError(f"this model makes pictures, but {spec.name} is {spec.form}. Give it a folder of pictures.")
    channels, height, width = spec.shape
    if min(height, width) < least:
        raise UserError(
            f"this model needs pictures of at least {least} × {least} pixels, but those of {spec.name} are {height} × "
            f"{width}. Use `{instead}`, or enlarge them with --size {least}."
        )
    return channels, (height, width)


def _coarse(size: tuple[int, int]) -> tuple[int, int]:
    """Places from which a 5 × 5 kernel at stride 3 covers the picture."""
    height, width = (-(-(side - 5) // 3) + 1 for side in size)
    return height, width


def _grown(places: tuple[int, int]) -> tuple[int, int]:
    height, width = (5 + 3 * (side - 1) for side in places)
    return height, width


def _pooled(side: int) -> int:
    """Places a side behind `_maxout_maps`."""
    for kernel, padding, pool in ((8, 4, 4), (8, 3, 4), (5, 3, 2)):
        side = -(-(side + 2 * padding - kernel + 1 - pool) // 2) + 1
    return side


# ------------------------------------------------------------------------------------------------- variants and facts

VARIANTS = {
    "gan": Config(),
    "gan-convolutional": Config((8000,), (500,), convolutional=True, in_channels=3, size=(32, 32)),
}


def _activations(network: nn.Module) -> list[str]:
    """Names of the activations, in order."""
    kinds = nn.ReLU | nn.Sigmoid | Maxout
    return [type(layer).__name__ for layer in network.modules() if isinstance(layer, kinds)]


def _dropouts() -> list[int]:
    model = on_meta(build, VARIANTS["gan"])
    parts = (model.get_submodule("generator"), model.get_submodule("discriminator"))
    return [sum(isinstance(layer, nn.Dropout) for layer in part.modules()) for part in parts]


def _noise() -> int:
    model = on_meta(build, VARIANTS["gan"])
    assert isinstance(model, Adversarial)
    return model.noise(1).shape[1]


def _units(name: str) -> list[int]:
    """Units of the linear layers of G and then of D, pieces included."""
    layers = on_meta(build, VARIANTS[name]).modules()
    return [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]


def _maps() -> list[tuple[int, ...]]:
    """Shapes of the generator's map and picture, and of the discriminator's maps before each pooling."""
    config = VARIANTS["gan-convolutional"]
    with torch.device("meta"):
        found = shapes(on_meta(build, config), *config.example(1))
    return [found[f"generator.{i}"] for i in (4, 5)] + [found[f"discriminator.{i}"] for i in (1, 4, 7)]


# Two distributions over six points, as counts, so that the means over all rows are the expectations.
DATA, GENERATED = (1, 2, 3, 4, 5, 6), (8, 1, 4, 4, 1, 3)


def _rows(counts: tuple[int, ...]) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def _best_response() -> float:
    """Largest difference, over the points, between Eq. 2 and the D that a maximisation of V finds."""
    logits = torch.zeros(len(DATA), dtype=torch.float64, requires_grad=True)
    real, fake = _rows(DATA), _rows(GENERATED)
    for _ in range(300):  # V is concave in the logits: plain ascent finds its largest value
        (slope,) = torch.autograd.grad(value(logits[real], logits[fake]), logits)
        logits = (logits + 8 * slope).detach().requires_grad_()
    data, generated = _densities()
    return float((logits.detach().sigmoid() - best_discriminator(data, generated)).abs().max())


def _densities() -> list[Tensor]:
    counts = (torch.tensor(c, dtype=torch.float64) for c in (DATA, GENERATED))
    return [c / c.sum() for c in counts]


def _value_beyond_divergence() -> float:
    """V with the best D, minus (−log 4 + 2 · JSD)."""
    data, generated = _densities()
    best = best_discriminator(data, generated).logit()
    middle = (data + generated) / 2
    divergence = sum((p * (p / middle).log()).sum() / 2 for p in (data, generated))
    return float(value(best[_rows(DATA)], best[_rows(GENERATED)]) + math.log(4) - 2 * divergence)


def _facts() -> Iterator[Fact]:
    says = "the discriminator that makes V largest is p_data / (p_data + p_g)"
    yield Fact(says, "Prop. 1, Eq. 2", 0.0, _best_response, 1e-9)  # where the ascent stops
    says = "with it, V = −log 4 + 2 · JSD(p_data ‖ p_g)"
    yield Fact(says, "Eq. 6", 0.0, _value_beyond_divergence, 1e-12)  # rounding of float64
    guess = partial(torch.zeros, 4, dtype=torch.float64)
    says = "where p_g = p_data, V = −log 4"
    yield Fact(says, "Theorem 1", -math.log(4), lambda: float(value(guess(), guess())), 1e-12)
    says = "… and the best discriminator says ½ everywhere"
    yield Fact(says, "Theorem 1", (0.5,) * 6, lambda: best_discriminator(_densities()[0], _densities()[0]).tolist())
    says = "the generator has rectified linear and sigmoid activations"
    expect = ("ReLU", "ReLU", "Sigmoid")
    yield Fact(says, "Sec. 5", expect, lambda: _activations(generator(VARIANTS["gan"])), variant="gan")
    says = "the discriminator has maxout activations"
    yield Fact(says, "Sec. 5", ("Maxout",) * 2, lambda: _activations(discriminator(VARIANTS["gan"])), variant="gan")
    says = "dropout in the discriminator; noise enters the generator at its bottom layer only"
    yield Fact(says, "Sec. 5", (0, 3), _dropouts, variant="gan")
    says = "100 numbers of noise, 1200, 1200 and 784 units; maxout layers of 240 units with 5 pieces, twice, and 1 unit"
    sizes = (100, 1200, 1200, 784, 1200, 1200, 1)
    yield Fact(says, f"{CODE}, mnist.yaml", sizes, lambda: [_noise(), *_units("gan")], variant="gan")
    says = "8000 and 8000 units; 500 maxout units with 5 pieces, and 1 unit"
    where = f"{CODE}, cifar10_convolutional.yaml"
    yield Fact(says, where, (8000, 8000, 2500, 1), partial(_units, "gan-convolutional"), variant="gan-convolutional")
    says = (
        "80 maps of 10 × 10 become the picture; D has 32, 32 and 192 maps, of 33 × 33, 15 × 15 and 9 × 9 before pooling"
    )
    maps = ((80, 10, 10), (3, 32, 32), (32, 33, 33), (32, 15, 15), (192, 9, 9))
    yield Fact(says, where, maps, _maps, variant="gan-convolutional")


def build(config: Config) -> nn.Module:
    """The networks of ``config``."""
    return Adversarial(generator(config), discriminator(config), config.latent)


PAPER = Paper(
    title="Generative Adversarial Nets",
    authors="Ian J. Goodfellow, Jean Pouget-Abadie, Mehdi Mirza, Bing Xu, David Warde-Farley, Sherjil Ozair, "
    "Aaron Courville, Yoshua Bengio",
    year=2014,
    venue="NIPS 2014, arXiv 1406.2661",
    url="https://arxiv.org/abs/1406.2661",
    idea="Learn to make pictures by trying to be mistaken for real ones.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=(
        Result("gan", "MNIST test", "Parzen-window log-likelihood, nats", 225.0, "Table 1"),
        Result("gan", "Toronto Face Database test", "Parzen-window log-likelihood, nats", 2057.0, "Table 1"),
    ),
)
