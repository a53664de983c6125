"""GoogLeNet.

Christian Szegedy, Wei Liu, Yangqing Jia, Pierre Sermanet, Scott Reed, Dragomir Anguelov, Dumitru Erhan, Vincent
Vanhoucke, Andrew Rabinovich, "Going Deeper with Convolutions", arXiv 1409.4842, September 2014; CVPR 2015.

The idea: what belongs together in a picture has many sizes, so a layer should look at several sizes at once. An Inception
module runs 1 × 1, 3 × 3 and 5 × 5 convolutions and a pooling beside each other and puts their maps in one stack; 1 × 1
convolutions first bring the number of maps down, which makes the large filters cheap. Two small classifiers on the side
send gradient into the middle of the network; they are thrown away after training.

    y = [C₁(x), C₃(R₃(x)), C₅(R₅(x)), P(max3×3(x))]     C_k, R, P: convolution and ReLU; R and P are 1 × 1    Fig. 2(b)
    R(x) = max(0, W x + b)                               a reduction is a layer of its own                     Sec. 4
    loss = main + 0.3 · side(4a) + 0.3 · side(4d)        in training                                           Sec. 5

In training ``forward`` gives the three classifiers' outputs, (3, B, outputs), the main one first; in evaluation that of
the main one, (B, outputs).

Shapes: B pictures of C channels, H × W pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from seminal.core import DataSpec, Departure, Fact, Paper, Result
from seminal.papers.alexnet import LocalResponseNorm
from seminal.pieces.dropout import Dropout
from seminal.pieces.init import constant, fill, he
from seminal.pieces.measure import on_meta, parameters, shapes, work
from seminal.pieces.pictures import changed_input, example, fit


@dataclass(frozen=True)
class Config:
    kernel: int = 5  # of the third branch
    normalised: bool = False  # batch normalisation in place of biases
    response_norm: bool = True  # local response normalisation around conv2 (Fig. 3)
    separable: bool = False  # conv1 in two steps: 8 filters of 7 × 7 for each channel, then 1 × 1
    last_pool: int = 3  # window of the pooling before (5a)
    adaptive_heads: bool = False  # side heads average evenly spread windows to 4 × 4, not 5 × 5 windows at stride 3
    dropout: float = 0.4  # before the main classifier
    in_channels: int = 3  # C
    size: tuple[int, int] = (224, 224)  # H, W
    outputs: int = 1000

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures of at least 32 × 32 pixels; raises `UserError` for other data."""
        found = fit(spec, "this GoogLeNet", least=32, shrinks=5, instead="resnet20")
        return replace(self, in_channels=found.in_channels, size=found.size, outputs=found.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from Table 1 and Fig. 3."""
        peer, table = "torchvision's weights need it", "Table 1"
        counted = "the 2.7K parameters and 34M operations printed beside it are its; the authors' next paper has it"
        spread = (
            peer if self.adaptive_heads else "their linear layers need 4 × 4, which 5 × 5 windows give near 224 only"
        )
        k, p = self.kernel, self.last_pool
        told = (
            (k != 5, f"the third branch has {k} × {k} filters (paper: 5 × 5)", peer, table),
            (self.normalised, "batch normalisation after each convolution (paper: biases)", peer, "Sec. 5"),
            (not self.response_norm, "no response normalisation (paper: before and after conv2)", peer, "Fig. 3"),
            (self.separable, "conv1 filters each channel by itself, 8 times 7 × 7, then 1 × 1", counted, table),
            (p != 3, f"the last max pooling has {p} × {p} windows (paper: 3 × 3)", peer, table),
            (self.spreads, "side heads average evenly spread windows (paper: 5 × 5 at stride 3)", spread, "Sec. 5"),
            (self.dropout != 0.4, f"dropout {self.dropout} (paper: 0.4)", peer, table),
        )
        found = [Departure(what, why, where) for applies, what, why, where in told if applies]
        return (*found, *changed_input(self, Config(), table))

    @property
    def spreads(self) -> bool:
        """Whether the side heads need evenly spread windows to get from the maps of (4a) and (4d) to 4 × 4."""
        maps = ((pixels + 1) // 2 // 8 for pixels in self.size)  # conv1 rounds half a pixel up, the poolings down
        return self.adaptive_heads or any((pixels - 5) // 3 + 1 != 4 for pixels in maps)

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) standard normal numbers."""
        return example(self, batch)


# ------------------------------------------------------------------------------------------------- the contribution


class Filters(NamedTuple):
    """A row of Table 1: the number of filters of each convolution of a module."""

    one: int  # #1×1
    three_reduce: int  # #3×3 reduce
    three: int  # #3×3
    five_reduce: int  # #5×5 reduce
    five: int  # #5×5
    projection: int  # pool proj


class Inception(nn.Module):
    """An Inception module with dimension reductions, Fig. 2(b): four branches beside each other."""

    def __init__(self, inputs: int, filters: Filters, *, kernel: int = 5, normalised: bool = False) -> None:
        super().__init__()
        layer = partial(unit, normalised=normalised)
        one, three_reduce, three, five_reduce, five, projection = filters
        self.one = layer(inputs, one, 1)
        self.three = nn.Sequential(layer(inputs, three_reduce, 1), layer(three_reduce, three, 3))
        self.five = nn.Sequential(layer(inputs, five_reduce, 1), layer(five_reduce, five, kernel))
        self.pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), layer(inputs, projection, 1))

    def forward(
        self, x: Float[Tensor, "batch channels_in height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


class SideHead(nn.Module):
    """An auxiliary classifier (Sec. 5). Its loss counts 0.3 times, in training only."""

    def __init__(self, inputs: int, outputs: int, *, normalised: bool = False, adaptive: bool = False) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4) if adaptive else nn.AvgPool2d(5, stride=3)
        self.conv = unit(inputs, 128, 1, normalised=normalised)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = Dropout(0.7)
        self.fc2 = nn.Linear(1024, outputs)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        x = self.conv(self.pool(x))  # 512 × 14 × 14 -> 512 × 4 × 4 -> 128 × 4 × 4
        x = self.dropout(self.relu(self.fc1(x.flatten(1))))  # 2048 -> 1024
        y: Tensor = self.fc2(x)
        return y


# -------------------------------------------------------------------------------------------------------- the model

RECTIFIER = partial(
    nn.ReLU, inplace=True
)  # each follows a convolution or a normalisation, which needs its output no more


def unit(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    *,
    normalised: bool = False,
    separable: bool = False,
    activation: Callable[[], nn.Module] = RECTIFIER,
) -> nn.Sequential:
    """A convolution that keeps the map's size at stride 1, with a bias or batch normalisation, and its activation: every
    convolution has one, reductions and projections too (Sec. 5).

    ``separable`` splits it: 8 filters of k × k for each channel of the input, then a 1 × 1 convolution of their maps.
    """
    make = partial(nn.Conv2d, kernel_size=kernel, stride=stride, padding=kernel // 2)
    layers: dict[str, nn.Module] = {}
    if separable:
        each = make(inputs, 8 * inputs, groups=inputs, bias=False)
        layers["conv"] = nn.Sequential(each, nn.Conv2d(8 * inputs, outputs, 1, bias=not normalised))
    else:
        layers["conv"] = make(inputs, outputs, bias=not normalised)
    if normalised:
        layers["bn"] = nn.BatchNorm2d(outputs, eps=1e-3)  # ε of the authors' code for their later networks
    return nn.Sequential(OrderedDict(layers | {"activation": activation()}))


class GoogLeNet(nn.Module):
    """Table 1, with the two side heads of Sec. 5."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        layer = partial(unit, normalised=config.normalised)
        module = partial(Inception, kernel=config.kernel, normalised=config.normalised)
        head = partial(SideHead, normalised=config.normalised, adaptive=config.spreads)
        norm = LocalResponseNorm if config.response_norm else nn.Identity  # its numbers are not printed: AlexNet's
        self.conv1 = layer(config.in_channels, 64, 7, 2, separable=config.separable)
        self.pool1, self.norm1 = halving(), norm()
        self.conv2 = nn.Sequential(layer(64, 64, 1), layer(64, 192, 3))
        self.norm2, self.pool2 = norm(), halving()
        self.inception3a = module(192, TABLE["3a"])
        self.inception3b = module(256, TABLE["3b"])
        self.pool3 = halving()
        self.inception4a = module(480, TABLE["4a"])
        self.side1 = head(512, config.outputs)
        self.inception4b = module(512, TABLE["4b"])
        self.inception4c = module(512, TABLE["4c"])
        self.inception4d = module(512, TABLE["4d"])
        self.side2 = head(528, config.outputs)
        self.inception4e = module(528, TABLE["4e"])
        self.pool4 = halving(config.last_pool)
        self.inception5a = module(832, TABLE["5a"])
        self.inception5b = module(832, TABLE["5b"])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = Dropout(config.dropout)
        self.fc = nn.Linear(1024, config.outputs)
        # The paper prints no first values. He's keep the size of activations through so many layers of ReLU.
        fill(self, weights=he, biases=constant(0.0))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "*heads batch outputs"]:
        x = self.norm1(self.pool1(self.conv1(x)))  # 3 × 224 × 224 -> 64 × 112 × 112 -> 64 × 56 × 56
        x = self.pool2(self.norm2(self.conv2(x)))  # 192 × 56 × 56 -> 192 × 28 × 28
        x = self.inception3b(self.inception3a(x))  # 256 × 28 × 28 -> 480 × 28 × 28
        a = self.inception4a(self.pool3(x))  # 480 × 14 × 14 -> 512 × 14 × 14
        d = self.inception4d(self.inception4c(self.inception4b(a)))  # 512 × 14 × 14, twice -> 528 × 14 × 14
        x = self.pool4(self.inception4e(d))  # 832 × 14 × 14 -> 832 × 7 × 7
        x = self.inception5b(self.inception5a(x))  # 832 × 7 × 7 -> 1024 × 7 × 7
        y: Tensor = self.fc(self.dropout(self.avgpool(x).flatten(1)))  # 1024 -> 1000
        return torch.stack([y, self.side1(a), self.side2(d)]) if self.training else y


def halving(window: int = 3) -> nn.MaxPool2d:
    """Pooling at stride 2 whose windows may reach over the edge, so that 112 pixels become 56 and not 55."""
    return nn.MaxPool2d(window, stride=2, ceil_mode=True)


# ------------------------------------------------------------------------------------------------- variants and facts

TABLE = {
    "3a": Filters(64, 96, 128, 16, 32, 32),
    "3b": Filters(128, 128, 192, 32, 96, 64),
    "4a": Filters(192, 96, 208, 16, 48, 64),
    "4b": Filters(160, 112, 224, 24, 64, 64),
    "4c": Filters(128, 128, 256, 24, 64, 64),
    "4d": Filters(112, 144, 288, 32, 64, 64),
    "4e": Filters(256, 160, 320, 32, 128, 128),
    "5a": Filters(256, 160, 320, 32, 128, 128),
    "5b": Filters(384, 192, 384, 48, 128, 128),
}

VARIANTS = {
    "googlenet": Config(),
    "googlenet-separable": Config(separable=True),
    "googlenet-torchvision": Config(
        kernel=3, normalised=True, response_norm=False, last_pool=2, adaptive_heads=True, dropout=0.2
    ),
}

SIZES = {
    "conv1": (64, 112, 112),
    "pool1": (64, 56, 56),
    "conv2": (192, 56, 56),
    "pool2": (192, 28, 28),
    "inception3a": (256, 28, 28),
    "inception3b": (480, 28, 28),
    "pool3": (480, 14, 14),
    "inception4a": (512, 14, 14),
    "inception4b": (512, 14, 14),
    "inception4c": (512, 14, 14),
    "inception4d": (528, 14, 14),
    "inception4e": (832, 14, 14),
    "pool4": (832, 7, 7),
    "inception5a": (832, 7, 7),
    "inception5b": (1024, 7, 7),
    "avgpool": (1024, 1, 1),
    "fc": (1000,),
}

# Parameters in units of 1,024 and multiply-adds in millions, some rounded and some cut. Not kept, because they do not go
# with the filters of their own row: parameters of 4a 364 (the filters give 367), 4b 437 (439), 4c 463 (498), 4d 580
# (591), 4e 840 (848), 5a 1072 (1019), 5b 1388 (1410); operations of 5a 54 (51).
THOUSANDS = {"conv2": 112, "3a": 159, "3b": 380, "fc": 1000}
MILLIONS = {"conv2": 360, "3a": 128, "3b": 304, "4a": 73, "4b": 88, "4c": 100, "4d": 119, "4e": 170, "5b": 71, "fc": 1}


@cache
def _shapes() -> dict[str, tuple[int, ...]]:
    """Of every layer, side heads included: they run in training only."""
    with torch.device("meta"):
        return shapes(on_meta(build, VARIANTS["googlenet"]).train(), *VARIANTS["googlenet"].example(1))


def _size(row: str) -> tuple[int, ...]:
    return _shapes()[row]


def _row(name: str, row: str) -> nn.Module:
    return on_meta(build, VARIANTS[name]).get_submodule(_module(row))


def _module(row: str) -> str:
    return f"inception{row}" if row in TABLE else row


def depth(module: nn.Module) -> int:
    """Layers with weights on the longest way through ``module``; the branches of a module lie beside each other."""
    if isinstance(module, Inception):
        return max(depth(branch) for branch in module.children())
    return sum(isinstance(m, nn.Conv2d | nn.Linear) for m in module.modules())


def _depth(row: str) -> int:
    return depth(_row("googlenet", row))


def _depths() -> list[int]:
    """Layers with weights on the longest way, and the same with the poolings between the modules."""
    rows = [module for name, module in on_meta(build, VARIANTS["googlenet"]).named_children() if "side" not in name]
    poolings = sum(isinstance(row, nn.MaxPool2d | nn.AdaptiveAvgPool2d) for row in rows)
    return [sum(depth(row) for row in rows), sum(depth(row) for row in rows) + poolings]


def _modules() -> int:
    return sum(isinstance(m, Inception) for m in on_meta(build, VARIANTS["googlenet"]).modules())


def _thousands(name: str, row: str) -> float:
    """Parameters of a row in units of 1,024."""
    return parameters(_row(name, row)) / 1024


@cache
def _operations(name: str) -> dict[str, float]:
    """Millions of multiply-adds by row, for one picture."""
    model = on_meta(build, VARIANTS[name])
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        model(*VARIANTS[name].example(1))
    counts = counter.get_flop_counts()
    return {row: sum(counts[f"GoogLeNet.{_module(row)}"].values()) / 2e6 for row in ("conv1", *MILLIONS)}


def _millions(name: str, row: str) -> float:
    return _operations(name)[row]


def _heads(layer: str) -> list[tuple[int, ...]]:
    return [_size(f"side{i}.{layer}") for i in (1, 2)]


def _dropout(layer: str) -> float:
    found = _row("googlenet", layer)
    assert isinstance(found, Dropout)
    return found.p


def _facts() -> Iterator[Fact]:
    of, table = partial(Fact, variant="googlenet"), "Table 1"
    for row, size in SIZES.items():
        yield of(f"{row}: {'×'.join(map(str, size))}", table, size, partial(_size, row))
        if "pool" not in row:
            printed = 1 if row in ("conv1", "fc") else 2
            yield of(f"{row}: depth {printed}", table, printed, partial(_depth, row))
    # 3a has 159.9 and is cut, 3b has 379.6 and is rounded.
    for row, thousands in THOUSANDS.items():
        measure = partial(_thousands, "googlenet", row)
        yield of(f"{row}: {thousands}K parameters", table, thousands, measure, (0.5, 1))
    # 4a has 73.6 and is cut, 4d has 118.5 and is rounded.
    for row, millions in MILLIONS.items():
        measure = partial(_millions, "googlenet", row)
        yield of(f"{row}: {millions}M operations", table, millions, measure, (0.5, 1))
    # A plain 7 × 7 convolution has 9.3K parameters and 118M operations, and the network 1.58 billion.
    split = partial(Fact, variant="googlenet-separable")
    yield split("conv1: 2.7K parameters", table, 2.7, partial(_thousands, "googlenet-separable", "conv1"), (0.05, 0.1))
    yield split("conv1: 34M operations", table, 34, partial(_millions, "googlenet-separable", "conv1"), (0.5, 1))
    whole = partial(work, build, VARIANTS["googlenet-separable"])
    yield split("1.5 billion multiply-adds", "Sec. 1", 1.5e9, whole, 0.05e9)
    # "12× fewer parameters" than AlexNet (Sec. 1) is not kept: 61.0 M / 7.0 M = 8.7.
    yield of("22 layers with parameters, 27 with poolings", "Sec. 5", (22, 27), _depths)
    yield of("nine Inception modules", "Fig. 3", 9, _modules)
    pooled = ((512, 4, 4), (528, 4, 4))
    yield of("side heads pool (4a) to 4×4×512 and (4d) to 4×4×528", "Sec. 5", pooled, partial(_heads, "pool"))
    yield of("side heads: 128 filters of 1×1", "Sec. 5", ((128, 4, 4),) * 2, partial(_heads, "conv"))
    yield of("side heads: 1024 units", "Sec. 5", ((1024,),) * 2, partial(_heads, "fc1"))
    yield of("side heads: the main classifier's 1000 classes", "Sec. 5", ((1000,),) * 2, partial(_heads, "fc2"))
    yield of("side heads: 70% dropout", "Sec. 5", 0.7, partial(_dropout, "side1.dropout"))
    yield of("40% dropout", table, 0.4, partial(_dropout, "dropout"))


def _results() -> Iterator[Result]:
    data = "ILSVRC-2014 validation"
    errors = {(1, 1): 10.07, (1, 10): 9.15, (1, 144): 7.89, (7, 1): 8.09, (7, 10): 7.62, (7, 144): 6.67}
    for (models, crops), error in errors.items():
        metric = f"top-5 error %, {models} model{'s' * (models > 1)}, {crops} crop{'s' * (crops > 1)}"
        yield Result("googlenet", data, metric, error, "Table 3")
    yield Result("googlenet", "ILSVRC-2014 test", "top-5 error %, 7 models, 144 crops", 6.67, "Table 2")


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return GoogLeNet(config)


PAPER = Paper(
    title="Going Deeper with Convolutions",
    authors="Christian Szegedy, Wei Liu, Yangqing Jia, Pierre Sermanet, Scott Reed, Dragomir Anguelov, Dumitru Erhan, "
    "Vincent Vanhoucke, Andrew Rabinovich",
    year=2014,
    venue="CVPR 2015, arXiv 1409.4842",
    url="https://arxiv.org/abs/1409.4842",
    idea="Look at several sizes at once, and make it cheap with 1 × 1 convolutions.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=tuple(_results()),
)
