"""Deep convolutional generative adversarial networks.

Alec Radford, Luke Metz, Soumith Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks", arXiv 1511.06434, November 2015; ICLR 2016.

The idea: a family of convolutional networks that play the adversarial game stably. Its rules (Sec. 3): strided convolutions
instead of pooling, so that both networks learn their own sampling; batch normalisation everywhere but at G's output and
D's input; no fully connected hidden layers; in G ReLU and tanh at the end, in D leaky ReLU. What the noise means turns out
to be smooth, and one can calculate with it.

    G: z -> project -> 4 × 4 -> 8 × 8 -> 16 × 16 -> 32 × 32 -> 64 × 64      each step halves the channels (Fig. 1)
    D: the same road backwards, and one logit
    LeakyReLU(x) = max(x, 0.2 x)                                            (Sec. 4)

The game itself is that of Goodfellow et al. 2014. Sizes of D, kernels and padding are those of the authors' program,
https://github.com/Newmu/dcgan_code; like there, no convolution has a bias.

Shapes: B rows, Z numbers of noise, C channels, H × W pixels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, Result
from seminal.papers.gan import Adversarial, picture
from seminal.pieces.init import Rule, normal
from seminal.pieces.measure import on_meta, shapes
from seminal.pieces.pictures import changed_input

LEAK = 0.2  # Sec. 4

Size = tuple[int, int]  # height and width of a map


@dataclass(frozen=True)
class Config:
    width: int = 128  # channels of the largest map; they double with each halving of its size …
    widest: int = 1024  # … up to so many
    latent: int = 100  # Z
    in_channels: int = 3  # C
    size: Size = (64, 64)  # H, W

    outputs = 1  # the discriminator's verdict

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures of at least 7 × 7 pixels; raises `UserError` for others."""
        channels, size = picture(spec, least=7, instead="gan")
        return replace(self, in_channels=channels, size=size)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from the network of Fig. 1."""
        printed = VARIANTS["dcgan"]
        found = list(changed_input(self, printed, "Fig. 1"))
        if (halvings := len(_maps_of(self.size)) - 1) != 4:
            found.append(
                Departure(f"{halvings} halvings (paper: 4)", "so that the smallest map has 4 to 6 places a side")
            )
        if replace(self, in_channels=printed.in_channels, size=printed.size) != printed:
            found.append(Departure(f"{self.width} channels in the largest map (paper: 128)", "chosen by you", "Fig. 1"))
        what = "the projection is normalised per channel (authors' program: per unit)"
        why = "a part of a batch may be a single picture, and a unit then has no spread"
        return (*found, Departure(what, why))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) pictures in [0, 1] and (batch, Z) noise."""
        return torch.rand(batch, self.in_channels, *self.size), torch.rand(batch, self.latent) * 2 - 1


# ------------------------------------------------------------------------------------------------- the contribution


class Generator(nn.Module):
    """Noise is projected to a small map of many channels; each fractionally-strided convolution doubles its size."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        widths, maps = _widths(config), _maps_of(config.size)[::-1]
        self.project = nn.Linear(config.latent, widths[0] * math.prod(maps[0]), bias=False)
        self.layout = nn.Unflatten(1, (widths[0], *maps[0]))
        self.norm = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        steps = zip(itertools.pairwise(widths), itertools.pairwise(maps[:-1]), strict=True)
        self.up = nn.Sequential(*(self._step(*channels, *sizes) for channels, sizes in steps))
        self.image = _transposed(widths[-1], config.in_channels, *maps[-2:])

    @staticmethod
    def _step(inputs: int, outputs: int, small: Size, large: Size) -> nn.Sequential:
        upscale = _transposed(inputs, outputs, small, large)
        return nn.Sequential(upscale, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

    def forward(self, noise: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels height width"]:
        x = self.relu(self.norm(self.layout(self.project(noise))))  # (B, 100) -> 1024 × 4 × 4
        x = self.up(x)  # -> 512 × 8 × 8 -> 256 × 16 × 16 -> 128 × 32 × 32
        x = torch.tanh(self.image(x))  # -> 3 × 64 × 64, in [−1, 1]
        return (x + 1) / 2


class Discriminator(nn.Module):
    """Each strided convolution halves the map; the last map is flattened and fed to a single logit."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        widths, places = _widths(config)[::-1], math.prod(_maps_of(config.size)[-1])
        self.first = nn.Sequential(_strided(config.in_channels, widths[0]), nn.LeakyReLU(LEAK))  # no normalisation
        self.down = nn.Sequential(*(self._step(below, above) for below, above in itertools.pairwise(widths)))
        self.output = nn.Linear(widths[-1] * places, 1, bias=False)

    @staticmethod
    def _step(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(_strided(inputs, outputs), nn.BatchNorm2d(outputs), nn.LeakyReLU(LEAK))

    def forward(self, pictures: Float[Tensor, "batch channels height width"]) -> Float[Tensor, " batch"]:
        x = self.first(pictures * 2 - 1)  # [0, 1] -> [−1, 1], the range of tanh; 3 × 64 × 64 -> 128 × 32 × 32
        x = self.down(x)  # -> 256 × 16 × 16 -> 512 × 8 × 8 -> 1024 × 4 × 4
        logits: Tensor = self.output(x.flatten(1))[:, 0]
        return logits


def _transposed(inputs: int, outputs: int, small: Size, large: Size) -> nn.ConvTranspose2d:
    """A fractionally-strided convolution, 5 × 5, that doubles a map; an odd side has one place less than twice as many."""
    rest = (large[0] - 2 * small[0] + 1, large[1] - 2 * small[1] + 1)
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=rest, bias=False)


def _strided(inputs: int, outputs: int) -> nn.Conv2d:
    """A convolution, 5 × 5, that halves a map."""
    return nn.Conv2d(inputs, outputs, 5, stride=2, padding=2, bias=False)


def _maps_of(size: Size) -> list[Size]:
    """The picture's size, and those of D's maps: halved, rounded up, while the shorter side keeps 4 places."""
    found = [size]
    while -(-min(found[-1]) // 2) >= 4:
        found.append((-(-found[-1][0] // 2), -(-found[-1][1] // 2)))
    return found


def _widths(config: Config) -> list[int]:
    """Channels of G's maps, from the smallest map to the largest; the picture itself is not among them."""
    return [min(config.width * 2**i, config.widest) for i in reversed(range(len(_maps_of(config.size)) - 1))]


# ------------------------------------------------------------------------------------------------- variants and facts

VARIANTS = {"dcgan": Config()}

FIGURE_1 = ((1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64))


def _maps() -> list[tuple[int, ...]]:
    """Shapes along the generator."""
    with torch.device("meta"):
        found = shapes(on_meta(build, VARIANTS["dcgan"]), *VARIANTS["dcgan"].example(1))
    return [found[f"generator.{name}"] for name in ("layout", "up.0", "up.1", "up.2", "image")]


def _layers(part: str, kind: type[nn.Module]) -> list[nn.Module]:
    network = on_meta(build, VARIANTS["dcgan"]).get_submodule(part)
    return [layer for layer in network.modules() if isinstance(layer, kind)]


def _normalised(part: str) -> list[bool]:
    """Whether batch normalisation follows each layer with weights, in order."""
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.BatchNorm2d
    network = on_meta(build, VARIANTS["dcgan"]).get_submodule(part)
    found = [isinstance(layer, nn.BatchNorm2d) for layer in network.modules() if isinstance(layer, kinds)]
    return [after for norm, after in itertools.pairwise([*found, False]) if not norm]


def _starts() -> list[float]:
    """Mean and standard deviation of all weights of convolutions and linear layers."""
    weights = [p.detach().flatten() for p in build(VARIANTS["dcgan"]).parameters() if p.dim() > 1]
    together = torch.cat(weights)
    return [float(together.mean()), float(together.std())]


def _noise() -> list[float]:
    """How many, and the smallest and the largest of 100,000."""
    model = build(replace(VARIANTS["dcgan"], width=8))
    assert isinstance(model, Adversarial)
    z = model.noise(1000)
    return [float(z.shape[1]), float(z.min()), float(z.max())]


def _facts() -> Iterator[Fact]:
    fact = partial(Fact, variant="dcgan")
    says = "z is projected to 1024 maps of 4 × 4, which become 512, 256 and 128 maps and a picture of 64 × 64"
    yield fact(says, "Fig. 1", FIGURE_1, _maps)
    says = "a series of four fractionally-strided convolutions"
    yield fact(says, "Fig. 1", 4, lambda: len(_layers("generator", nn.ConvTranspose2d)))
    says = "strided convolutions, no pooling"
    expect = ((2, 2),) * 4
    yield fact(says, "Sec. 3", expect, lambda: [m.stride for m in _layers("discriminator", nn.Conv2d)])
    says = "batch normalisation, but not at G's output"
    yield fact(says, "Sec. 3", (True,) * 4 + (False,), lambda: _normalised("generator"))
    says = "… nor at D's input"
    yield fact(says, "Sec. 3", (False, *(True,) * 3, False), lambda: _normalised("discriminator"))
    says = "the slope of the leak is 0.2"
    leaks = partial(_layers, "discriminator", nn.LeakyReLU)
    yield fact(says, "Sec. 4", (0.2,) * 4, lambda: [m.negative_slope for m in leaks()])
    says = "all weights start normal with mean 0 and standard deviation 0.02"
    yield fact(says, "Sec. 4", (0.0, 0.02), _starts, 5e-5)  # 29 million draws
    says = "100 numbers of noise, uniform between −1 and 1"
    # So many draws come this close to both ends of the interval.
    yield fact(says, "Fig. 1; the limits: authors' program", (100, -1.0, 1.0), _noise, 1e-3)


def _start(model: nn.Module) -> nn.Module:
    """Weights N(0, 0.02), gains N(1, 0.02), shifts 0 (Sec. 4; the gains: authors' program)."""
    rule: Rule = normal(0.02)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and not parameter.is_meta:
                rule(parameter)
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d) and not layer.weight.is_meta:
                rule(layer.weight)
                layer.weight.add_(1.0)
    return model


def build(config: Config) -> nn.Module:
    """The networks of ``config``."""
    return _start(Adversarial(Generator(config), Discriminator(config), config.latent, span=(-1.0, 1.0)))


PAPER = Paper(
    title="Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
    authors="Alec Radford, Luke Metz, Soumith Chintala",
    year=2015,
    venue="ICLR 2016, arXiv 1511.06434",
    url="https://arxiv.org/abs/1511.06434",
    idea="Convolutional networks that play the adversarial game stably.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=(
        Result("dcgan", "CIFAR-10 test", "accuracy of a linear SVM on D's features, %", 82.8, "Table 1"),
        Result("dcgan", "SVHN test, 1000 labels", "error of a linear SVM on D's features, %", 22.48, "Table 2"),
    ),
)
