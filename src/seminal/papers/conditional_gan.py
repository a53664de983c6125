"""Conditional generative adversarial nets.

Mehdi Mirza, Simon Osindero, "Conditional Generative Adversarial Nets", arXiv 1411.1784, November 2014.

The idea: tell both players what the picture shall show. The generator gets the class beside the noise, the discriminator
gets it beside the picture and says how probable it is that this is a real picture of this class. A picture of another class
is then as easy to unmask as a bad one, so that one can ask the generator for what one wants.

    min_G max_D V(D, G) = E_x~data [log D(x | y)] + E_z [log (1 − D(G(z | y)))]                  (2)

Shapes: B rows, Z numbers of noise, K classes, C channels, H × W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.papers.gan import Adversarial, Maxout, picture, started
from seminal.pieces.dropout import Dropout
from seminal.pieces.init import uniform
from seminal.pieces.measure import on_meta
from seminal.pieces.pictures import changed_input


@dataclass(frozen=True)
class Config:
    latent: int = 100  # Z
    by_noise: int = 200  # units above the noise …
    by_class: int = 1000  # … and above the class, in the generator
    joint: int = 1200  # units above both
    maxout: tuple[int, int, int] = (240, 50, 240)  # maxout units above picture, class and both, in the discriminator …
    pieces: tuple[int, int, int] = (5, 5, 4)  # … and the linear pieces of each
    dropped: float = 0.5  # share of the generator's hidden units …
    dropped_by_noise: bool = False  # … which is a part of its noise, in use as in training
    in_channels: int = 1  # C
    size: tuple[int, int] = (28, 28)  # H, W
    outputs: int = 10  # K

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures with classes; raises `UserError` for other data."""
        channels, size = picture(spec, least=1, instead="gan")
        if not spec.classes:
            raise UserError(f"{spec.name} has no classes to ask for. Give a folder for each class, or use `gan`.")
        return replace(self, in_channels=channels, size=size, outputs=spec.outputs)

    @property
    def drawn(self) -> int:
        """How many numbers of noise a picture needs."""
        return self.latent + self.dropped_by_noise * (self.by_noise + self.by_class + self.joint)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from the network of Sec. 4.1."""
        printed = replace(Config(), in_channels=self.in_channels, size=self.size, outputs=self.outputs)
        printed = replace(printed, dropped=self.dropped, dropped_by_noise=self.dropped_by_noise)
        found = [] if self == printed else [Departure("other layer sizes", "chosen by you", "Sec. 4.1")]
        if self.dropped != Config.dropped:
            says = f"{self.dropped:.0%} of the generator's hidden units are dropped (paper: {Config.dropped:.0%})"
            found.append(Departure(says, "the fewer, the more pictures show what was asked for", "Sec. 4.1"))
        if self.dropped_by_noise:
            says = "units are dropped when pictures are drawn for use too (paper: does not say)"
            found.append(Departure(says, "as in training: Isola et al. 2017, Sec. 3.1", "Sec. 4.1"))
        return (*found, *changed_input(self, Config(), "Sec. 4.1"))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) pictures in [0, 1], (batch, Z) noise, (batch,) classes."""
        pictures = torch.rand(batch, self.in_channels, *self.size)
        return pictures, torch.rand(batch, self.drawn), torch.arange(batch) % self.outputs


# ------------------------------------------------------------------------------------------------- the contribution


class Generator(nn.Module):
    """G(z | y): noise and class each have a rectified layer of their own, and meet in a third. Rectified units are dropped
    in training: half of them, if it goes by the paper.

    What is dropped changes the pictures of a class far more than z does, and the network takes it for its noise: one that
    drops nothing afterwards draws one picture for each class. With ``dropped_by_noise`` it therefore drops in use too, and
    each unit has a number of the noise that says whether: the same noise is the same picture.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        shape = (config.in_channels, *config.size)
        self.classes = config.outputs
        self.by_noise = nn.Linear(config.latent, config.by_noise)
        self.by_class = nn.Linear(config.outputs, config.by_class)
        self.joint = nn.Linear(config.by_noise + config.by_class, config.joint)
        self.output = nn.Linear(config.joint, math.prod(shape))
        self.dropout = Dropout(config.dropped)
        self.sizes = (
            [config.latent, config.by_noise + config.by_class, config.joint] if config.dropped_by_noise else None
        )
        self.layout = nn.Unflatten(1, shape)

    def forward(
        self, noise: Float[Tensor, "batch latent"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels height width"]:
        z, *chances = noise.split(self.sizes, dim=1) if self.sizes else (noise,)
        y = F.one_hot(labels, self.classes).to(noise.dtype)
        x = F.relu(torch.cat([self.by_noise(z), self.by_class(y)], dim=1))  # (B, 200 + 1000)
        x = self._dropped(x, chances[0]) if chances else self.dropout(x)
        x = F.relu(self.joint(x))  # (B, 1200)
        x = self._dropped(x, chances[1]) if chances else self.dropout(x)
        pictures: Tensor = self.layout(self.output(x).sigmoid())  # (B, 784) -> (B, 1, 28, 28)
        return pictures

    def _dropped(self, x: Tensor, chances: Tensor) -> Tensor:
        """What `Dropout` does, by numbers of the noise, which lie between 0 and 1."""
        kept = 1 - self.dropout.p
        return x * (chances < kept) / kept


class Discriminator(nn.Module):
    """The logit of D(x | y): picture and class each have a maxout layer of their own, and meet in a third. Half of the
    maxout units are dropped in training."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.classes = config.outputs
        picture, label, joint = (units * pieces for units, pieces in zip(config.maxout, config.pieces))
        inputs = math.prod((config.in_channels, *config.size))
        self.by_picture = Maxout(nn.Linear(inputs, picture), config.pieces[0])
        self.by_class = Maxout(nn.Linear(config.outputs, label), config.pieces[1])
        self.joint = Maxout(nn.Linear(config.maxout[0] + config.maxout[1], joint), config.pieces[2])
        self.output = nn.Linear(config.maxout[2], 1)
        self.dropout = Dropout(0.5)

    def forward(
        self, pictures: Float[Tensor, "batch channels height width"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        y = F.one_hot(labels, self.classes).to(pictures.dtype)
        x = torch.cat([self.by_picture(pictures.flatten(1)), self.by_class(y)], dim=1)  # (B, 240 + 50)
        x = self.dropout(self.joint(self.dropout(x)))  # (B, 240)
        logits: Tensor = self.output(x)[:, 0]
        return logits


# ------------------------------------------------------------------------------------------------- variants and facts

VARIANTS = {"cgan": Config()}


def _units(part: str) -> list[int]:
    """Units of the linear layers, pieces included."""
    layers = on_meta(build, VARIANTS["cgan"]).get_submodule(part).modules()
    return [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]


def _dropouts() -> list[float]:
    layers = on_meta(build, VARIANTS["cgan"]).named_modules()
    return [layer.p for _, layer in sorted(layers) if isinstance(layer, nn.Dropout)]


def _noise() -> list[float]:
    """Smallest and largest of 100,000 numbers of noise."""
    model = build(VARIANTS["cgan"])
    assert isinstance(model, Adversarial)
    z = model.noise(1000)
    return [float(z.shape[1]), float(z.min()), float(z.max())]


def _facts() -> Iterator[Fact]:
    says = "G: 200 rectified units above the noise, 1000 above the class, 1200 above both, 784 sigmoids"
    yield Fact(says, "Sec. 4.1", (200, 1000, 1200, 784), lambda: _units("generator"), variant="cgan")
    says = "D: maxout layers of 240 units (5 pieces) and 50 (5 pieces), then 240 (4 pieces), then one unit"
    expect = (240 * 5, 50 * 5, 240 * 4, 1)
    yield Fact(says, "Sec. 4.1", expect, lambda: _units("discriminator"), variant="cgan")
    says = "dropout with probability 0.5 in both networks"
    yield Fact(says, "Sec. 4.1", (0.5, 0.5), _dropouts, variant="cgan")
    says = "100 numbers of noise, uniform in the unit hypercube"
    # So many draws come this close to both ends of the interval.
    yield Fact(says, "Sec. 4.1", (100, 0.0, 1.0), _noise, 1e-3, variant="cgan")


def build(config: Config) -> nn.Module:
    """The networks of ``config``. The paper does not say how weights start: as those of the paper it builds on do."""
    generator, discriminator = started(Generator(config), uniform(0.05)), started(Discriminator(config), uniform(0.005))
    return Adversarial(generator, discriminator, config.drawn, span=(0.0, 1.0))


PAPER = Paper(
    title="Conditional Generative Adversarial Nets",
    authors="Mehdi Mirza, Simon Osindero",
    year=2014,
    venue="arXiv 1411.1784",
    url="https://arxiv.org/abs/1411.1784",
    idea="Tell both players the class, and one can ask for it.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=(Result("cgan", "MNIST test", "Parzen-window log-likelihood, nats", 132.0, "Table 1"),),
)
