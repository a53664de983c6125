"""BN-Inception.

Sergey Ioffe, Christian Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift", arXiv 1502.03167, February 2015; ICML 2015: the networks of Sec. 4.2 and the Appendix. Batch normalisation itself
is in `batch_norm.py`.

The idea: a GoogLeNet whose 5 × 5 convolutions are two of 3 × 3, with batch normalisation before every non-linearity. It
reaches GoogLeNet's accuracy in a fourteenth of the steps: the rate may be 30 times larger, dropout and response
normalisation are no longer needed, and even sigmoids learn.

    y = [C₁(x), C₃(R₃(x)), C₃(C₃(R(x))), P(pool3×3(x))]      each layer is z = g(BN(W u))      Fig. 5, Sec. 3.2
    y = [C₃(R₃(x)), C₃(C₃(R(x))), max3×3(x)] at stride 2     in 3c and 4e, in place of a pooling between modules

Shapes: B pictures of C channels, H × W pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.papers import googlenet
from seminal.papers.alexnet import LocalResponseNorm
from seminal.papers.googlenet import unit
from seminal.pieces.dropout import Dropout
from seminal.pieces.init import constant, fill, he
from seminal.pieces.measure import on_meta, stages, work
from seminal.pieces.pictures import changed_input, example, fit

UNITS: dict[str, Callable[[], nn.Module]] = {"relu": googlenet.RECTIFIER, "sigmoid": nn.Sigmoid}


@dataclass(frozen=True)
class Config:
    normalised: bool = True  # batch normalisation before each non-linearity; biases without it
    activation: str = "relu"  # g: relu or sigmoid
    dropout: float = 0.0  # before the classifier
    response_norm: bool = False  # local response normalisation, where GoogLeNet has it
    separable: bool = True  # first convolution with depth multiplier 8
    in_channels: int = 3  # C
    size: tuple[int, int] = (224, 224)  # H, W
    outputs: int = 1000

    def __post_init__(self) -> None:
        if self.activation not in UNITS:
            raise UserError(f"BN-Inception has no activation {self.activation!r}. Choose one of: {', '.join(UNITS)}.")

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures of at least 32 × 32 pixels; raises `UserError` for other data."""
        found = fit(spec, "this Inception network", least=32, shrinks=5, instead="resnet20")
        return replace(self, in_channels=found.in_channels, size=found.size, outputs=found.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from the nearest network of Sec. 4.2.2."""
        printed = replace(self, in_channels=3, size=(224, 224), outputs=1000)
        found = []
        if not self.separable:
            what = "the first convolution is a plain one (paper: separable)"
            found.append(Departure(what, "the form that others count and train", "Appendix"))
        if replace(printed, separable=True) not in TABLES:
            norms = f"batch {self.normalised}, response {self.response_norm}"
            what = f"{self.activation}, dropout {self.dropout}, normalisations {norms}: not a network of the paper"
            found.append(Departure(what, "chosen by you", "Sec. 4.2.2"))
        return (*found, *changed_input(self, printed, "Fig. 5"))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) standard normal numbers."""
        return example(self, batch)


# ------------------------------------------------------------------------------------------------- the contribution


class Filters(NamedTuple):
    """A row of Fig. 5: the number of filters of each convolution of a module, and its pooling."""

    one: int  # #1×1; 0: no such branch
    three_reduce: int  # #3×3 reduce
    three: int  # #3×3
    double_reduce: int  # double #3×3 reduce
    double: int  # double #3×3, of both
    pool: str  # avg or max
    projection: int  # 0: the pooled maps pass through, and every branch has stride 2


class Inception(nn.Module):
    """An Inception module whose 5 × 5 convolution is two of 3 × 3 (Appendix)."""

    def __init__(self, inputs: int, filters: Filters, layer: partial[nn.Sequential]) -> None:
        super().__init__()
        one, three_reduce, three, double_reduce, double, pool, projection = filters
        stride = 1 if projection else 2
        # At the edge an average is that of the pixels inside: the zeros around the map are no activations.
        pooling = nn.AvgPool2d(3, 1, 1, count_include_pad=False) if pool == "avg" else nn.MaxPool2d(3, stride, 1)
        branches = OrderedDict[str, nn.Module]()
        if one:
            branches["one"] = layer(inputs, one, 1)
        branches["three"] = nn.Sequential(layer(inputs, three_reduce, 1), layer(three_reduce, three, 3, stride))
        branches["twice"] = nn.Sequential(
            layer(inputs, double_reduce, 1), layer(double_reduce, double, 3), layer(double, double, 3, stride)
        )
        branches["pool"] = nn.Sequential(pooling, layer(inputs, projection, 1)) if projection else pooling
        self.branches = nn.ModuleDict(branches)
        self.channels = one + three + double + (projection or inputs)

    def forward(self, x: Float[Tensor, "batch channels_in height width"]) -> Float[Tensor, "batch channels h w"]:
        return torch.cat([branch(x) for branch in self.branches.values()], dim=1)


# -------------------------------------------------------------------------------------------------------- the model


class InceptionNetwork(nn.Module):
    """Fig. 5 and a linear classifier."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        layer = partial(unit, normalised=config.normalised, activation=UNITS[config.activation])
        norm = LocalResponseNorm if config.response_norm else nn.Identity
        self.conv1 = layer(config.in_channels, 64, 7, 2, separable=config.separable)
        self.pool1, self.norm1 = nn.MaxPool2d(3, 2, 1), norm()
        self.conv2 = nn.Sequential(layer(64, 64, 1), layer(64, 192, 3))
        self.norm2, self.pool2 = norm(), nn.MaxPool2d(3, 2, 1)
        modules, inputs = OrderedDict[str, nn.Module](), 192
        for name, filters in TABLE.items():
            module = Inception(inputs, filters, layer)
            modules[f"inception{name}"], inputs = module, module.channels
        self.stages = nn.Sequential(modules)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = Dropout(config.dropout)
        self.fc = nn.Linear(inputs, config.outputs)
        fill(self, weights=he, biases=constant(0.0))  # the paper prints no first values

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        x = self.norm1(self.pool1(self.conv1(x)))  # 3 × 224 × 224 -> 64 × 112 × 112 -> 64 × 56 × 56
        x = self.pool2(self.norm2(self.conv2(x)))  # 192 × 56 × 56 -> 192 × 28 × 28
        x = self.stages(x)  # -> 320 × 28 × 28 (3b) -> 576 × 14 × 14 (3c) -> 1056 × 7 × 7 (4e) -> 1024 × 7 × 7 (5b)
        y: Tensor = self.fc(self.dropout(self.pool(x).flatten(1)))  # 1024 -> 1000
        return y


# ------------------------------------------------------------------------------------------------- variants and facts

TABLE = {
    "3a": Filters(64, 64, 64, 64, 96, "avg", 32),
    "3b": Filters(64, 64, 96, 64, 96, "avg", 64),
    "3c": Filters(0, 128, 160, 64, 96, "max", 0),
    "4a": Filters(224, 64, 96, 96, 128, "avg", 128),
    "4b": Filters(192, 96, 128, 96, 128, "avg", 128),
    "4c": Filters(160, 128, 160, 128, 160, "avg", 128),
    "4d": Filters(96, 128, 192, 160, 192, "avg", 128),
    "4e": Filters(0, 128, 192, 192, 256, "max", 0),
    "5a": Filters(352, 192, 320, 160, 224, "avg", 128),
    "5b": Filters(352, 192, 320, 192, 224, "max", 128),
}

VARIANTS = {
    "bn-inception": Config(),  # BN-x5 and BN-x30 of Sec. 4.2.2: one network, two learning rates
    "bn-inception-sigmoid": Config(activation="sigmoid"),  # BN-x5-Sigmoid
    "bn-baseline": Config(dropout=0.4, response_norm=True),  # Inception with batch normalisation and nothing else
    "inception": Config(normalised=False, dropout=0.4, response_norm=True),  # 40 % dropout: Sec. 4.2.3
}
TABLES = tuple(VARIANTS.values())

# After each row of Fig. 5, as channels × height × width. Not kept, because the table contradicts itself: 3c is printed
# 28×28 and 4e 14×14, their inputs, though both have stride 2; 4c and 4d are printed with 576 maps and 4e with 1024, but
# their own columns add up to 608, 608 and 1056. (The authors' later code has 96 projections in 4c and 4d, which gives the
# printed outputs; we follow the columns, as those who count and train this network do.)
SIZES = {
    "conv1": (64, 112, 112),
    "pool1": (64, 56, 56),
    "conv2": (192, 56, 56),
    "pool2": (192, 28, 28),
    "3a": (256, 28, 28),
    "3b": (320, 28, 28),
    "4a": (576, 14, 14),
    "4b": (576, 14, 14),
    "5a": (1024, 7, 7),
    "5b": (1024, 7, 7),
    "pool": (1024, 1, 1),
}
POOLS = ("avg", "avg", "max", "avg", "avg", "avg", "avg", "max", "avg", "max")


def _size(row: str) -> tuple[int, ...]:
    return stages(build, VARIANTS["bn-inception"])[f"stages.inception{row}" if row in TABLE else row]


def _modules() -> list[Inception]:
    return [m for m in on_meta(build, VARIANTS["bn-inception"]).modules() if isinstance(m, Inception)]


def _depths() -> list[int]:
    """Convolutions on the longest way through each module."""
    return [
        max(sum(isinstance(m, nn.Conv2d) for m in branch.modules()) for branch in module.branches.values())
        for module in _modules()
    ]


def _deeper() -> int:
    """Layers that the modules which GoogLeNet has too are deeper than GoogLeNet's."""
    theirs = on_meta(googlenet.build, googlenet.VARIANTS["googlenet"])
    here = dict(zip(TABLE, _depths()))
    return sum(here[name] - googlenet.depth(theirs.get_submodule(f"inception{name}")) for name in googlenet.TABLE)


def _dearer() -> float:
    """Multiply-adds beyond GoogLeNet's, in per cent. Both have the separable first layer."""
    here, there = VARIANTS["bn-inception"], googlenet.VARIANTS["googlenet-separable"]
    return 100 * (work(build, here) / work(googlenet.build, there) - 1)


def _pools() -> list[str]:
    kinds = [[type(m) for m in module.branches["pool"].modules()] for module in _modules()]
    return ["avg" if nn.AvgPool2d in kind else "max" for kind in kinds]


def _at_28() -> int:
    """Modules that read maps of 28 × 28."""
    found = stages(build, VARIANTS["bn-inception"])
    before = ["pool2", *(f"stages.inception{name}" for name in TABLE)][:-1]
    return sum(found[name][1:] == (28, 28) for name in before)


def _multiplier() -> float:
    weight = on_meta(build, VARIANTS["bn-inception"]).get_parameter("conv1.conv.0.weight")
    return weight.shape[0] / VARIANTS["bn-inception"].in_channels


def _biases() -> int:
    """Biases of layers that are normalised."""
    model = on_meta(build, VARIANTS["bn-inception"])
    return sum(m.bias is not None for m in model.modules() if isinstance(m, nn.Conv2d))


def _facts() -> Iterator[Fact]:
    of = partial(Fact, variant="bn-inception")
    for row, size in SIZES.items():
        yield of(f"{row}: {'×'.join(map(str, size))}", "Fig. 5", size, partial(_size, row))
    # The first two rows are printed with depth 1; conv1 is one layer in two steps, conv2 comes after its reduction.
    yield of("modules: depth 3", "Fig. 5", (3,) * 10, _depths)
    yield of(f"pooling in the modules: {', '.join(POOLS)}", "Fig. 5", POOLS, _pools)
    yield of("9 weight layers more than GoogLeNet, by 3×3 twice for 5×5", "Appendix", 9, _deeper)
    # "Up to 128 filters" (Sec. 4.2) is not kept: Fig. 5 has up to 256. Nor are 13.6 million parameters (Sec. 4.2) and
    # 25 % more than GoogLeNet (Appendix): Fig. 5 has 11.3 million, 61 % more than the 7.0 million of Szegedy et al.
    yield of("about 30% more computation than GoogLeNet", "Appendix", 30, _dearer, 0.5)
    yield of("three modules on 28×28 maps", "Appendix", 3, _at_28)
    yield of("first layer separable, depth multiplier 8", "Appendix", 8, _multiplier)
    yield of("normalised layers have no bias", "Sec. 3.2", 0, _biases)


def _results() -> Iterator[Result]:
    data, single = "ImageNet 2012 validation", "top-1 accuracy %, 1 crop"
    accuracies = {"inception": 72.2, "bn-baseline": 72.7, "bn-inception-sigmoid": 69.8}
    for name, accuracy in accuracies.items():
        yield Result(name, data, single, accuracy, "Fig. 3")
    yield Result("bn-inception", data, f"{single}, BN-x5", 73.0, "Fig. 3")
    yield Result("bn-inception", data, f"{single}, BN-x30", 74.8, "Fig. 3")
    for crops, errors in {
        "1 crop": (25.2, 7.82),
        "144 crops": (21.99, 5.82),
        "144 crops, 6 models": (20.1, 4.9),
    }.items():
        for k, error in zip((1, 5), errors):
            yield Result("bn-inception", data, f"top-{k} error %, {crops}", error, "Fig. 4")
    yield Result("bn-inception", "ImageNet 2012 test", "top-5 error %, 144 crops, 6 models", 4.82, "Fig. 4")


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return InceptionNetwork(config)


PAPER = Paper(
    title="Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift (Inception)",
    authors="Sergey Ioffe, Christian Szegedy",
    year=2015,
    venue="ICML 2015, arXiv 1502.03167",
    url="https://arxiv.org/abs/1502.03167",
    idea="With every input of a non-linearity normalised, a GoogLeNet learns fourteen times as fast.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=tuple(_results()),
)
