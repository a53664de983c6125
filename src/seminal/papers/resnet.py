"""ResNet.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun, "Deep Residual Learning for Image Recognition", arXiv 1512.03385,
December 2015; CVPR 2016.

The idea: a deeper plain network has a *higher training error* than a shallower one, though it could copy it by making
its extra layers the identity. So let layers learn the change F(x) = H(x) − x instead of the map H(x): doing nothing is
then the easiest thing to learn, and networks of a hundred layers and more can be trained.

    y = F(x, {W_i}) + x              shapes agree                                             (1)
    y = F(x, {W_i}) + W_s x          a shortcut that changes the shape                        (2)
    F = W_2 σ(W_1 x), σ = ReLU, and σ again after the addition; batch normalisation follows every convolution

Shortcuts where shapes change (Sec. 4.1): A pads the new channels with zeros, B projects (1 × 1 convolution); C projects
everywhere. A plain network has no shortcuts and is else the same.

Shapes: B pictures of C channels, H × W pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.pieces.init import constant, fill, he
from seminal.pieces.measure import count, on_meta, stages, work
from seminal.pieces.pictures import changed_input, example, fit


@dataclass(frozen=True)
class Config:
    blocks: tuple[int, ...]  # residual blocks per stage: conv2_x, conv3_x … of Table 1; n, n, n of Sec. 4.2
    width: int = 64  # channels of the first stage; they double with each stage
    bottleneck: bool = False  # blocks of three layers (Fig. 5, right) instead of two
    shortcut: str = "B"  # option A, B or C; "plain": none
    large_stem: bool = True  # 7 × 7 convolution at stride 2 and pooling (ImageNet), or one 3 × 3 convolution (CIFAR)
    stride_in_3x3: bool = False  # where a bottleneck halves the map: in its 3 × 3 convolution, or in the first 1 × 1
    in_channels: int = 3  # C
    size: tuple[int, int] = (224, 224)  # H, W
    outputs: int = 1000

    def __post_init__(self) -> None:
        if self.shortcut not in ("A", "B", "C", "plain"):
            raise UserError(f"a ResNet has no shortcut {self.shortcut!r}. Choose one of: A, B, C, plain.")

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures of at least 32 × 32 pixels (8 × 8 with the small stem); raises `UserError` for other data."""
        least, shrinks, instead = (32, 5, "resnet20") if self.large_stem else (8, 2, "mlp")
        found = fit(spec, "this ResNet", least=least, shrinks=shrinks, instead=instead)
        return replace(self, in_channels=found.in_channels, size=found.size, outputs=found.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from the nearest network of the paper."""
        size, outputs = ((224, 224), 1000) if self.large_stem else ((32, 32), 10)
        printed = replace(self, stride_in_3x3=False, in_channels=3, size=size, outputs=outputs)
        options = [o for o in ("A", "B", "C", "plain") if replace(printed, shortcut=o) in TABLES]
        found = []
        if not options:
            what = f"blocks {self.blocks}, first width {self.width}: not a network of the paper's tables"
            found.append(Departure(what, "chosen by you", "Tables 1 and 6"))
        elif self.shortcut not in options:
            what = f"shortcut option {self.shortcut} (paper, at this depth: {', '.join(options)})"
            found.append(
                Departure(what, "B is the form that is trained and published most", "Sec. 4.1, Tables 2 and 3")
            )
        if self.stride_in_3x3:
            what = 'stride 2 in the 3 × 3 convolution of a bottleneck, "v1.5" (paper: in the first 1 × 1)'
            found.append(
                Departure(what, "a little more accurate for a little more work; torchvision's weights need it")
            )
        return (*found, *changed_input(self, printed, "Table 1" if self.large_stem else "Sec. 4.2"))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) standard normal numbers."""
        return example(self, batch)


# ------------------------------------------------------------------------------------------------- the contribution


class Residual(nn.Module):
    """y = ReLU(F(x) + W_s x), Eqs. 1 and 2. Without a shortcut it is the plain network's y = ReLU(F(x))."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "batch channels_in height_in width_in"]) -> Float[Tensor, "batch channels h w"]:
        change = self.branch(x)
        y: Tensor = self.relu(change if self.shortcut is None else change + self.shortcut(x))
        return y


class ZeroPad(nn.Module):
    """Option A: the identity, read at every ``stride``-th pixel, with zeros for the new channels. No parameters."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels, self.stride = new_channels, stride

    def forward(self, x: Float[Tensor, "batch channels_in height_in width_in"]) -> Float[Tensor, "batch channels h w"]:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the map's size at stride 1. Batch normalisation follows, so it needs no bias."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


def basic(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """F of two 3 × 3 layers (Fig. 5, left)."""
    layers: dict[str, nn.Module] = {
        "conv1": convolution(inputs, outputs, 3, stride),
        "bn1": nn.BatchNorm2d(outputs),
        "relu1": nn.ReLU(inplace=True),
        "conv2": convolution(outputs, outputs, 3),
        "bn2": nn.BatchNorm2d(outputs),
    }
    return nn.Sequential(OrderedDict(layers))


def bottleneck(inputs: int, outputs: int, stride: int, *, stride_in_3x3: bool) -> nn.Sequential:
    """F of three layers (Fig. 5, right): 1 × 1 to a quarter of the channels, 3 × 3, and 1 × 1 back. Deep and cheap."""
    narrow = outputs // 4
    layers: dict[str, nn.Module] = {
        "conv1": convolution(inputs, narrow, 1, 1 if stride_in_3x3 else stride),
        "bn1": nn.BatchNorm2d(narrow),
        "relu1": nn.ReLU(inplace=True),
        "conv2": convolution(narrow, narrow, 3, stride if stride_in_3x3 else 1),
        "bn2": nn.BatchNorm2d(narrow),
        "relu2": nn.ReLU(inplace=True),
        "conv3": convolution(narrow, outputs, 1),
        "bn3": nn.BatchNorm2d(outputs),
    }
    return nn.Sequential(OrderedDict(layers))


def shortcut(option: str, inputs: int, outputs: int, stride: int) -> nn.Module | None:
    """W_s of Eq. 2 by option A, B or C of Sec. 4.1; none for "plain"."""
    changes = inputs != outputs or stride != 1
    if option == "plain":
        return None
    if option == "C" or (option == "B" and changes):
        return nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
    return ZeroPad(outputs - inputs, stride) if changes else nn.Identity()


# -------------------------------------------------------------------------------------------------------- the model


class ResNet(nn.Module):
    """Stem, stages of residual blocks, global average pooling, one linear layer (Table 1; Sec. 4.2 for CIFAR)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        large = config.large_stem
        self.conv1 = convolution(config.in_channels, config.width, 7 if large else 3, 2 if large else 1)
        self.bn1 = nn.BatchNorm2d(config.width)
        self.relu = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1) if large else nn.Identity()
        stages, inputs = OrderedDict[str, nn.Module](), config.width
        for i, depth in enumerate(config.blocks):
            outputs = config.width * 2**i * (4 if config.bottleneck else 1)
            blocks = []
            for n in range(depth):
                stride = 2 if i > 0 and n == 0 else 1  # conv3_1, conv4_1, conv5_1 halve the map (caption of Table 1)
                if config.bottleneck:
                    branch = bottleneck(inputs, outputs, stride, stride_in_3x3=config.stride_in_3x3)
                else:
                    branch = basic(inputs, outputs, stride)
                blocks.append(Residual(branch, shortcut(config.shortcut, inputs, outputs, stride)))
                inputs = outputs
            stages[f"conv{i + 2}_x"] = nn.Sequential(*blocks)
        self.stages = nn.Sequential(stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, config.outputs)
        fill(
            self, weights=he, biases=constant(0.0)
        )  # Sec. 3.4, which cites He et al. 2015, "Delving Deep into Rectifiers"

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        x = self.relu(self.bn1(self.conv1(x)))  # 3 × 224 × 224 -> 64 × 112 × 112       (CIFAR: 16 × 32 × 32)
        x = self.pool1(x)  # 64 × 56 × 56                                               (CIFAR: no pooling)
        x = self.stages(x)  # -> 56 × 56 -> 28 × 28 -> 14 × 14 -> 7 × 7                 (CIFAR: 32, 16, 8)
        x = self.pool(x).flatten(1)  # (B, channels, 1, 1) -> (B, channels)
        y: Tensor = self.fc(x)
        return y


# ------------------------------------------------------------------------------------------------- variants and facts


def _cifar(n: int, option: str) -> Config:
    """6n + 2 layers (Sec. 4.2)."""
    return Config((n, n, n), width=16, shortcut=option, large_stem=False, size=(32, 32), outputs=10)


B18, B34, B50, B101, B152 = (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)  # Table 1

PRINTED = {
    "plain18": Config(B18, shortcut="plain"),
    "plain34": Config(B34, shortcut="plain"),
    "resnet18-a": Config(B18, shortcut="A"),  # Table 2 compares plain nets with option A
    "resnet34-a": Config(B34, shortcut="A"),
    "resnet34": Config(B34),  # Table 3 has 34 layers with A, B and C
    "resnet34-c": Config(B34, shortcut="C"),
    "resnet50": Config(B50, bottleneck=True),
    "resnet101": Config(B101, bottleneck=True),
    "resnet152": Config(B152, bottleneck=True),
    **{f"plain{6 * n + 2}": _cifar(n, "plain") for n in (3, 5, 7, 9)},
    **{f"resnet{6 * n + 2}": _cifar(n, "A") for n in (3, 5, 7, 9, 18, 200)},
}
TABLES = tuple(PRINTED.values())

# Channels × height × width after conv1 and each stage (Table 1; Sec. 4.2).
IMAGENET = ((64, 112, 112), (64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7))
BOTTLENECK = ((64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7))
CIFAR = ((16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8))

VARIANTS = {
    **PRINTED,
    # Option B is the paper's choice from 50 layers on and what everyone calls ResNet-18; the paper prints A only.
    "resnet18": Config(B18),
    "resnet50-v1.5": Config(B50, bottleneck=True, stride_in_3x3=True),
    "resnet101-v1.5": Config(B101, bottleneck=True, stride_in_3x3=True),
    "resnet152-v1.5": Config(B152, bottleneck=True, stride_in_3x3=True),
}


@dataclass(frozen=True)
class Sizes:
    """What is counted on a built network."""

    parameters: int
    depth: int  # layers with weights as the paper counts them: not those on shortcuts
    projections: int  # convolutions on shortcuts
    stages: tuple[tuple[int, ...], ...]  # shapes after conv1 and each stage


def _layers(name: str, part: str) -> int:
    """Convolutions of the network whose name has ``part`` in it."""
    model = on_meta(build, VARIANTS[name])
    return sum(part in layer for layer, m in model.named_modules() if isinstance(m, nn.Conv2d))


def _depth(name: str) -> int:
    """Layers with weights as the paper counts them, fc among them: not those on shortcuts."""
    return _layers(name, "") - _layers(name, "shortcut") + 1


def _maps(name: str) -> list[tuple[int, ...]]:
    """Shapes after conv1 and each stage."""
    config = VARIANTS[name]
    found = stages(build, config)
    return [found["conv1"], *(found[f"stages.conv{i + 2}_x"] for i in range(len(config.blocks)))]


def _extra(name: str) -> list[int]:
    """Parameters and multiply-adds beyond those of the plain twin of 34 layers."""
    config, plain = VARIANTS[name], VARIANTS["plain34"]
    return [count(build, config) - count(build, plain), work(build, config) - work(build, plain)]


def _more_projections() -> int:
    return _layers("resnet34-c", "shortcut") - _layers("resnet34", "shortcut")


def _block_weights() -> list[int]:
    """Weights of the convolutions of both blocks of Fig. 5: the multiply-adds per pixel."""
    branches = (basic(64, 64, 1), bottleneck(256, 256, 1, stride_in_3x3=False))
    return [sum(m.weight.numel() for m in b.modules() if isinstance(m, nn.Conv2d)) for b in branches]


def _identity() -> float:
    """Largest change of a non-negative x by a block whose weights are driven to zero."""
    block, x = Residual(basic(8, 8, 1), shortcut("A", 8, 8, 1)), torch.rand(2, 8, 5, 5)
    fill(block, weights=constant(0.0), biases=constant(0.0))
    return float((block(x) - x).detach().abs().max())


def _starts() -> list[float]:
    """Smallest and largest √(variance · inputs / 2) over the layers: 1 where the initialisation is He's."""
    layers = [m for m in build(VARIANTS["resnet18"]).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    ratios = [float(m.weight.detach().std()) * (m.weight[0].numel() / 2) ** 0.5 for m in layers]
    return [min(ratios), max(ratios)]


def _facts() -> Iterator[Fact]:
    # Rounded to one decimal, but 3.858 for 50 layers is cut to 3.8; so is 3.664 for 34 layers with option B.
    cut, rounded = (0, 0.1e9), (0.05e9, 0.05e9)
    sums = {"plain18": (1.8e9, rounded), "resnet18-a": (1.8e9, rounded), "resnet18": (1.8e9, rounded)}
    sums |= {"plain34": (3.6e9, rounded), "resnet34-a": (3.6e9, rounded), "resnet34": (3.6e9, cut)}
    sums |= {"resnet50": (3.8e9, cut), "resnet101": (7.6e9, rounded), "resnet152": (11.3e9, rounded)}
    for name, (printed, within) in sums.items():
        measure = partial(work, build, VARIANTS[name])
        yield Fact(f"{printed / 1e9} billion multiply-adds", "Table 1", printed, measure, within, name)
    half = (5e3, 5e3, 5e3, 5e3, 5e4, 5e4)  # of the last digit printed
    for n, millions, digit in zip((3, 5, 7, 9, 18, 200), (0.27, 0.46, 0.66, 0.85, 1.7, 19.4), half):
        name = f"resnet{6 * n + 2}"
        measure = partial(count, build, VARIANTS[name])
        yield Fact(f"{millions} M parameters", "Table 6", millions * 1e6, measure, digit, name)
    for name in VARIANTS:
        depth = int("".join(c for c in name.split("-")[0] if c.isdigit()))
        where, maps = ("Table 1", IMAGENET) if depth in (18, 34, 50, 101, 152) else ("Sec. 4.2", CIFAR)
        maps = BOTTLENECK if depth in (50, 101, 152) else maps
        says = f"conv1 and stages: {', '.join('×'.join(map(str, shape)) for shape in maps)}"
        yield Fact(says, where, maps, partial(_maps, name), variant=name)
        yield Fact(f"{depth} layers with weights", where, depth, partial(_depth, name), variant=name)
    says = "option A has no extra parameter and no extra multiply-add over the plain network"
    yield Fact(says, "Sec. 4.1", (0, 0), partial(_extra, "resnet34-a"), variant="resnet34-a")
    says = "option C has thirteen more projections than option B"
    yield Fact(says, "Sec. 4.1", 13, _more_projections, variant="resnet34-c")
    # "Similar time complexity": 2 · 3²·64² beside 256·64 + 3²·64² + 64·256.
    says = "a bottleneck on 256 channels costs as little as a basic block on 64"
    yield Fact(says, "Fig. 5", (73_728, 69_632), _block_weights, variant="resnet50")
    says = "with weights at zero a block is the identity"
    yield Fact(says, "Sec. 3.1", 0.0, _identity)
    # The sampling error is largest in conv1, 0.7 % with 9,408 weights.
    says = "weights start normal with variance 2 / inputs of a unit"
    yield Fact(says, "Sec. 3.4 and its ref. [13], Eq. 10", (1.0, 1.0), _starts, 0.04, "resnet18")


def _results() -> Iterator[Result]:
    data, top1, top5 = "ImageNet 2012 validation", "top-1 error %, 10 crops", "top-5 error %, 10 crops"
    for name, error in {"plain18": 27.94, "plain34": 28.54, "resnet18-a": 27.88, "resnet34-a": 25.03}.items():
        yield Result(name, data, top1, error, "Table 2")
    errors = {"plain34": (28.54, 10.02), "resnet34-a": (25.03, 7.76), "resnet34": (24.52, 7.46)}
    errors |= {"resnet34-c": (24.19, 7.40), "resnet50": (22.85, 6.71), "resnet101": (21.75, 6.05)}
    for name, (one, five) in (errors | {"resnet152": (21.43, 5.71)}).items():
        yield Result(name, data, top1, one, "Table 3")
        yield Result(name, data, top5, five, "Table 3")
    # 6.43 is the best of five runs of 110 layers; their mean is 6.61.
    for depth, error in zip((20, 32, 44, 56, 110, 1202), (8.75, 7.51, 7.17, 6.97, 6.43, 7.93)):
        yield Result(f"resnet{depth}", "CIFAR-10 test", "top-1 error %", error, "Table 6")


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return ResNet(config)


PAPER = Paper(
    title="Deep Residual Learning for Image Recognition",
    authors="Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun",
    year=2015,
    venue="CVPR 2016, arXiv 1512.03385",
    url="https://arxiv.org/abs/1512.03385",
    idea="Learn the change, not the map.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=tuple(_results()),
)
