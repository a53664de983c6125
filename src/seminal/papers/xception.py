"""Xception.

François Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", arXiv 1610.02357, October 2016; CVPR
2017. Sections, tables and figures are those of version 3.

The idea: a convolution looks at places and at channels at once; an Inception module looks at a few mixtures of channels
and filters each on its own. Take that to its end, and filter every channel alone: one 3 × 3 kernel per channel, then a
1 × 1 convolution that mixes the channels. A stack of such separable convolutions with residual connections, of the size
of Inception V3, is more accurate.

    z_c(p) = Σ_q k_c(q) x_c(p + q)         depthwise: one kernel k_c per channel c, q over its 3 × 3 places
    y_d(p) = Σ_c w_dc z_c(p)               pointwise: no non-linearity in between (Sec. 4.7)
    y = F(x) + W_s x, and no ReLU after the addition: the next module begins with one (Fig. 5)

Batch normalisation follows every convolution and every separable convolution (caption of Fig. 5).

Shapes: B pictures of C channels, H × W pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.papers.resnet import convolution
from seminal.pieces.dropout import Dropout
from seminal.pieces.init import constant, fill, he
from seminal.pieces.measure import count, on_meta, stages
from seminal.pieces.pictures import changed_input, example, fit

ACTIVATIONS = ("none", "relu", "elu")


@dataclass(frozen=True)
class Config:
    between: str = "none"  # between the depthwise and the pointwise part: none, or relu or elu (Sec. 4.7)
    residual: bool = True  # False: the network of Sec. 4.6
    repeats: int = 8  # modules of the middle flow
    dropout: float = 0.5  # before the classifier
    in_channels: int = 3  # C
    size: tuple[int, int] = (299, 299)  # H, W
    outputs: int = 1000

    def __post_init__(self) -> None:
        if self.between not in ACTIVATIONS:
            raise UserError(f"xception has no activation {self.between!r}. Choose one of: {', '.join(ACTIVATIONS)}.")

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures of at least 32 × 32 pixels; raises `UserError` for other data."""
        found = fit(spec, "xception", least=32, shrinks=5, instead="resnet20")
        return replace(self, in_channels=found.in_channels, size=found.size, outputs=found.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from Fig. 5 and from the experiments of Sec. 4.6 and 4.7."""
        found = []
        if self.repeats != 8:
            what = f"a middle flow of {self.repeats} modules (paper: 8)"
            found.append(Departure(what, "chosen by you", "Fig. 5"))
        if self.dropout != 0.5:
            what = f"dropout {self.dropout} (paper: 0.5)"
            found.append(Departure(what, "chosen by the recipe", "Sec. 4.3"))
        return (*found, *changed_input(self, Config(), "Fig. 5"))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) standard normal numbers."""
        return example(self, batch)


# ------------------------------------------------------------------------------------------------- the contribution


class SeparableConv(nn.Module):
    """A depthwise separable convolution: every channel is filtered alone, then the channels are mixed (Sec. 1.2)."""

    def __init__(self, inputs: int, outputs: int, between: str = "none") -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)  # depth multiplier 1
        self.between = {"none": nn.Identity, "relu": nn.ReLU, "elu": nn.ELU}[between]()
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Float[Tensor, "batch channels_in height width"]) -> Float[Tensor, "batch channels_out h w"]:
        y: Tensor = self.pointwise(self.between(self.depthwise(x)))
        return y


class Module(nn.Module):
    """One of the fourteen modules: F(x), and its shortcut where it has one. No ReLU follows the addition."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut

    def forward(self, x: Float[Tensor, "batch channels_in height_in width_in"]) -> Float[Tensor, "batch channels h w"]:
        change: Tensor = self.branch(x)
        return change if self.shortcut is None else change + self.shortcut(x)


def separable(widths: Sequence[int], between: str, *, relu_first: bool = True, pool: bool = False) -> nn.Sequential:
    """Separable convolutions with these ``widths`` between them, a ReLU before each, and pooling at stride 2 at the end."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (inputs, outputs) in enumerate(pairwise(widths), 1):
        if relu_first or i > 1:  # the first module of the entry flow is handed the output of a ReLU
            layers[f"relu{i}"] = nn.ReLU(inplace=i > 1)  # the first would overwrite what the shortcut reads
        layers[f"conv{i}"] = SeparableConv(inputs, outputs, between)
        layers[f"bn{i}"] = nn.BatchNorm2d(outputs)
    if pool:
        layers["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(layers)


# -------------------------------------------------------------------------------------------------------- the model


class Xception(nn.Module):
    """Entry flow, middle flow and exit flow (Fig. 5), and one linear layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        between = config.between

        def halving(widths: Sequence[int], *, relu_first: bool = True) -> Module:
            """A module that halves the map: its shortcut is a 1 × 1 convolution at stride 2."""
            inputs, outputs = widths[0], widths[-1]
            shortcut = nn.Sequential(convolution(inputs, outputs, 1, 2), nn.BatchNorm2d(outputs))
            branch = separable(widths, between, relu_first=relu_first, pool=True)
            return Module(branch, shortcut if config.residual else None)

        def keeping() -> Module:
            """A module of the middle flow: its shortcut is the identity."""
            return Module(separable([728] * 4, between), nn.Identity() if config.residual else None)

        # The figure does not say how the first two convolutions treat the border. The author's own code, cited in
        # Sec. 3, adds no pixels (299 -> 149 -> 147); with them the maps of the figure would be of 19 × 19 as well.
        self.conv1 = nn.Conv2d(config.in_channels, 32, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.entry = nn.Sequential(
            halving([64, 128, 128], relu_first=False), halving([128, 256, 256]), halving([256, 728, 728])
        )
        self.middle = nn.Sequential(*(keeping() for _ in range(config.repeats)))
        self.exit = halving([728, 728, 1024])
        self.last = Module(separable([1024, 1536, 2048], between, relu_first=False), None)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = Dropout(config.dropout)
        self.fc = nn.Linear(2048, config.outputs)
        fill(self, weights=he, biases=constant(0.0))  # the paper does not say: the rule for ReLU networks

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        x = self.relu(self.bn1(self.conv1(x)))  # 3 × 299 × 299 -> 32 × 149 × 149
        x = self.relu(self.bn2(self.conv2(x)))  # 64 × 147 × 147
        x = self.entry(x)  # 128 × 74 × 74 -> 256 × 37 × 37 -> 728 × 19 × 19
        x = self.middle(x)  # 728 × 19 × 19
        x = self.exit(x)  # 1024 × 10 × 10
        x = self.relu(self.last(x))  # 1536 × 10 × 10 -> 2048 × 10 × 10
        x = self.pool(x).flatten(1)  # (B, 2048, 1, 1) -> (B, 2048)
        y: Tensor = self.fc(self.dropout(x))
        return y


# ------------------------------------------------------------------------------------------------- variants and facts

VARIANTS = {
    "xception": Config(),
    "xception-relu": Config(between="relu"),  # Fig. 10
    "xception-elu": Config(between="elu"),
    "xception-plain": Config(residual=False),  # Fig. 9
}


def _convolutions(name: str) -> int:
    """Convolutional layers as the paper counts them: a separable convolution is one, shortcuts are not counted."""
    layers = on_meta(build, VARIANTS[name]).named_modules()
    parts = ("pointwise", "shortcut")
    return sum(isinstance(m, nn.Conv2d) and not any(part in layer for part in parts) for layer, m in layers)


def _modules(name: str) -> list[int]:
    """Modules, and those with a residual connection. The first, of ordinary convolutions, is the stem."""
    found = [m for m in on_meta(build, VARIANTS[name]).modules() if isinstance(m, Module)]
    return [1 + len(found), sum(m.shortcut is not None for m in found)]


def _flows() -> list[tuple[int, ...]]:
    """Shapes after the entry and the middle flow, and of the vector that is classified."""
    found = stages(build, VARIANTS["xception"])
    return [found["entry"], found["middle"], found["dropout"]]


def _multipliers() -> list[int]:
    """Kernels per channel of the depthwise parts: the least and the most."""
    parts = [m.depthwise for m in on_meta(build, VARIANTS["xception"]).modules() if isinstance(m, SeparableConv)]
    found = [part.out_channels // part.in_channels for part in parts]
    return [min(found), max(found)]


def _facts() -> Iterator[Fact]:
    # Gains and shifts of the normalisations are counted, their running statistics (54,528 numbers) are not.
    for name in ("xception", "xception-relu", "xception-elu"):
        says = "22,855,952 parameters" if name == "xception" else "an activation in between has no parameters"
        where = "Table 3" if name == "xception" else "Sec. 4.7 and Table 3"
        yield Fact(says, where, 22_855_952, partial(count, build, VARIANTS[name]), variant=name)
    for name in VARIANTS:
        yield Fact("36 convolutional layers", "Sec. 3", 36, partial(_convolutions, name), variant=name)
        residual = 0 if name == "xception-plain" else 12
        says = f"14 modules, {residual} of them with a residual connection"
        yield Fact(says, "Sec. 3" if residual else "Sec. 4.6", (14, residual), partial(_modules, name), variant=name)
    of = partial(Fact, where="Fig. 5", variant="xception")
    says = "19 × 19 × 728 feature maps before and after the middle flow, 2048-dimensional vectors at the end"
    yield of(says, expect=((728, 19, 19), (728, 19, 19), (2048,)), measure=_flows)
    yield of("all separable convolutions have a depth multiplier of 1", expect=(1, 1), measure=_multipliers)


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return Xception(config)


PAPER = Paper(
    title="Xception: Deep Learning with Depthwise Separable Convolutions",
    authors="François Chollet",
    year=2016,
    venue="CVPR 2017, arXiv 1610.02357",
    url="https://arxiv.org/abs/1610.02357",
    idea="Filter every channel alone, then mix the channels.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=(
        Result("xception", "ImageNet 2012 validation", "top-1 accuracy %, one crop", 79.0, "Table 1"),
        Result("xception", "ImageNet 2012 validation", "top-5 accuracy %, one crop", 94.5, "Table 1"),
    ),
)
