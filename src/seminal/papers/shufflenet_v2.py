"""ShuffleNet V2.

Ningning Ma, Xiangyu Zhang, Hai-Tao Zheng, Jian Sun, "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture
Design", arXiv 1807.11164, July 2018; ECCV 2018.

The idea: multiply-adds are not time. What is read and written, how many small operations there are and how wide the
layers are decide as well, and four measured guidelines say how (`benchmarks/guidelines.py` measures them here). A unit
made by them splits its channels, sends one half through three convolutions of equal width, leaves the other half alone,
puts both side by side and shuffles them.

    MAC = h w (c1 + c2) + c1 c2 / g       memory accesses of a 1 × 1 convolution in g groups            (2); (1) for g = 1
        ≥ 2 √(h w B) + B / (h w)          for B = h w c1 c2 multiply-adds, and equal where c1 = c2       (1)
    G1 equal widths are best   G2 groups cost   G3 fragments cost   G4 element-wise operations cost     Sec. 2

    (a, b) = split(x),   y = shuffle([a, F(b)], 2)          stride 1                                    Fig. 3 (c)
                         y = shuffle([G(x), F(x)], 2)       stride 2                                    Fig. 3 (d)

Shapes: B pictures of C channels, H × W pixels.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.papers.resnet import convolution
from seminal.papers.shufflenet import channel_shuffle, depthwise
from seminal.pieces.init import constant, fill, he
from seminal.pieces.measure import count, on_meta, stages, work
from seminal.pieces.pictures import changed_input, example, fit


@dataclass(frozen=True)
class Config:
    widths: tuple[int, ...]  # channels of each stage (Table 5); four of them in the large networks
    last: int = 1024  # channels of Conv5
    blocks: tuple[int, ...] = (4, 8, 4)  # units per stage
    stem: tuple[int, ...] = (24,)  # 3 × 3 convolutions before the pooling
    even: bool = False  # the first unit of a stage: both branches give half of the channels (torchvision)
    in_channels: int = 3  # C
    size: tuple[int, int] = (224, 224)  # H, W
    outputs: int = 1000

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.blocks) or any(width % 2 for width in self.widths):
            raise UserError(
                f"a ShuffleNet V2 splits its channels in halves, so that its widths must be even, and there must be as "
                f"many as there are stages. Change the widths {self.widths} or the blocks {self.blocks}."
            )
        if not self.even and any(a >= b for a, b in pairwise((self.stem[-1], *self.widths))):
            raise UserError(
                f"a stage of a ShuffleNet V2 keeps its input and adds to it, so that the stem must have fewer channels than "
                f"the first stage, and each stage fewer than the next. Change the stem {self.stem} or the widths "
                f"{self.widths}."
            )

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures of at least 32 × 32 pixels; raises `UserError` for other data."""
        found = fit(spec, "this ShuffleNet V2", least=32, shrinks=5, instead="resnet20")
        return replace(self, in_channels=found.in_channels, size=found.size, outputs=found.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from the nearest network of the paper."""
        printed = replace(self, even=False, in_channels=3, size=(224, 224), outputs=1000)
        found = []
        if printed not in TABLES:
            what = f"widths {self.widths}, blocks {self.blocks}: not a network of the paper's tables"
            found.append(Departure(what, "chosen by you", "Table 5 and Appendix Table 2"))
        halves = self.stem[-1] * 2 == self.widths[0]  # then the two ways are one
        if self.even and not halves:
            kept, half = self.stem[-1], self.widths[0] // 2
            what = f"the left branch of the first unit gives {half} channels (by the paper's multiply-adds: {kept})"
            found.append(Departure(what, "torchvision's weights need it", "Fig. 3 (d) and Table 5"))
        return (*found, *changed_input(self, printed, "Table 5"))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) standard normal numbers."""
        return example(self, batch)


# ------------------------------------------------------------------------------------------------- the contribution


def memory_access(c1: int, c2: int, *, height: int, width: int, groups: int = 1) -> int:
    """Numbers read and written by a 1 × 1 convolution from ``c1`` to ``c2`` channels: both maps and the kernels (Eq. 2)."""
    return height * width * (c1 + c2) + c1 * c2 // groups


def least_access(work: int, *, height: int, width: int) -> float:
    """The fewest accesses with which ``work`` multiply-adds can be made on a map of this size (Eq. 1)."""
    return 2 * math.sqrt(height * width * work) + work / (height * width)


def branch(inputs: int, narrow: int, outputs: int, stride: int) -> nn.Sequential:
    """F: 1 × 1, 3 × 3 depthwise, 1 × 1. No layer is grouped, no ReLU follows the depthwise one (Fig. 3)."""
    layers: dict[str, nn.Module] = {
        "conv1": convolution(inputs, narrow, 1),
        "bn1": nn.BatchNorm2d(narrow),
        "relu1": nn.ReLU(inplace=True),
        "conv2": depthwise(narrow, stride),
        "bn2": nn.BatchNorm2d(narrow),
        "conv3": convolution(narrow, outputs, 1),
        "bn3": nn.BatchNorm2d(outputs),
        "relu3": nn.ReLU(inplace=True),
    }
    return nn.Sequential(OrderedDict(layers))


class BasicUnit(nn.Module):
    """The unit of Fig. 3 (c): half of the channels pass, the other half goes through the branch; then they are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = branch(half, half, half, 1)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        kept, changed = x.chunk(2, dim=1)
        return channel_shuffle(torch.cat([kept, self.branch(changed)], dim=1), 2)


class WideningUnit(nn.Module):
    """The unit of Fig. 3 (d): no split, so that the channels become more; both branches see all of the input.

    The left branch gives ``left`` channels, the right one the rest.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, left: int) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {
            "conv1": depthwise(inputs, stride),
            "bn1": nn.BatchNorm2d(inputs),
            "conv2": convolution(inputs, left, 1),
            "bn2": nn.BatchNorm2d(left),
            "relu2": nn.ReLU(inplace=True),
        }
        self.left = nn.Sequential(OrderedDict(layers))
        self.branch = branch(inputs, outputs // 2, outputs - left, stride)

    def forward(self, x: Float[Tensor, "batch channels_in height_in width_in"]) -> Float[Tensor, "batch channels h w"]:
        return channel_shuffle(torch.cat([self.left(x), self.branch(x)], dim=1), 2)


# -------------------------------------------------------------------------------------------------------- the model


def stem(inputs: int, widths: tuple[int, ...]) -> nn.Sequential:
    """3 × 3 convolutions, the first at stride 2."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, outputs in enumerate(widths, 1):
        layers[f"conv{i}"] = convolution(inputs, outputs, 3, 2 if i == 1 else 1)
        layers[f"bn{i}"] = nn.BatchNorm2d(outputs)
        layers[f"relu{i}"] = nn.ReLU(inplace=True)
        inputs = outputs
    return nn.Sequential(layers)


class ShuffleNetV2(nn.Module):
    """Conv1, pooling, stages of units, a 1 × 1 convolution, global average pooling, one linear layer (Table 5)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.conv1 = stem(config.in_channels, config.stem)
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)
        inputs, found = config.stem[-1], OrderedDict[str, nn.Module]()
        large = len(config.widths) == 4  # then the first stage keeps the size of the map (Appendix Table 2)
        for i, (outputs, depth) in enumerate(zip(config.widths, config.blocks)):
            # Stage 2 does not double its channels (24 -> 116), and the paper does not say what each branch gives. Its
            # multiply-adds say it: the left branch keeps its 24, as in the other stages, where half and half is the same.
            left = outputs // 2 if config.even else inputs
            first = WideningUnit(inputs, outputs, 1 if large and i == 0 else 2, left=left)
            found[f"stage{i + 2}"] = nn.Sequential(first, *(BasicUnit(outputs) for _ in range(depth - 1)))
            inputs = outputs
        self.stages = nn.Sequential(found)
        self.conv5 = convolution(inputs, config.last, 1)
        self.bn5 = nn.BatchNorm2d(config.last)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(config.last, config.outputs)
        fill(self, weights=he, biases=constant(0.0))  # Sec. 4: as ShuffleNet

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        x = self.pool1(self.conv1(x))  # 3 × 224 × 224 -> 24 × 112 × 112 -> 24 × 56 × 56
        x = self.stages(x)  # 1×: 116 × 28 × 28 -> 232 × 14 × 14 -> 464 × 7 × 7
        x = self.relu(self.bn5(self.conv5(x)))  # 1024 × 7 × 7
        x = self.pool(x).flatten(1)  # (B, 1024, 1, 1) -> (B, 1024)
        y: Tensor = self.fc(x)
        return y


# ------------------------------------------------------------------------------------------------- variants and facts

PRINTED = {
    "shufflenet-v2-0.5x": Config((48, 96, 192)),
    "shufflenet-v2-1x": Config((116, 232, 464)),
    "shufflenet-v2-1.5x": Config((176, 352, 704)),
    "shufflenet-v2-2x": Config((244, 488, 976), last=2048),
    "shufflenet-v2-50": Config((244, 488, 976, 1952), last=2048, blocks=(3, 4, 6, 3), stem=(64,)),
}
TABLES = tuple(PRINTED.values())
SMALL = tuple(PRINTED)[:4]

# Not here: 2× with squeeze-and-excitation (Table 8), of which the paper does not print how wide the modules are; and
# SE-ShuffleNet v2-164 (Table 6), because Appendix Table 2 as it is printed makes 12.60 billion multiply-adds, not 12.7.
VARIANTS = PRINTED | {f"{name}-torchvision": replace(PRINTED[name], even=True) for name in SMALL[1:]}


def _maps(name: str) -> list[tuple[int, ...]]:
    """Shapes after conv1, pool1, each stage and conv5."""
    config = VARIANTS[name]
    found = stages(build, config)
    middle = [found[f"stages.stage{i + 2}"] for i in range(len(config.widths))]
    return [found["conv1"], found["pool1"], *middle, found["conv5"]]


def _work(name: str) -> int:
    """Multiply-adds, and the additions of the global pooling."""
    return work(build, VARIANTS[name]) + torch.Size(_maps(name)[-1]).numel()


def _accesses(c1: int, c2: int, groups: int) -> int:
    """Numbers that a 1 × 1 convolution on a map of 56 × 56 reads and writes, counted on the layer."""
    layer, x = nn.Conv2d(c1, c2, 1, groups=groups, bias=False, device="meta"), torch.empty(1, c1, 56, 56, device="meta")
    return x.numel() + layer(x).numel() + layer.weight.numel()


def _direct(distance: int) -> int:
    """Channels of 16 that come through ``distance`` units as they were."""
    with torch.device("cpu"):
        x = torch.arange(16.0).view(1, 16, 1, 1) + 100
        units = nn.Sequential(*(BasicUnit(16) for _ in range(distance))).eval()
        fill(units, weights=constant(0.0), biases=constant(0.0))  # the branches give 0, which is nobody's value
        return int(torch.isin(x, units(x).detach()).sum())


def _widths_in_units(name: str) -> int:
    """Pointwise layers of basic units whose numbers of inputs and outputs differ."""
    units = [m for m in on_meta(build, VARIANTS[name]).modules() if isinstance(m, BasicUnit)]
    layers = [m for unit in units for m in unit.modules() if isinstance(m, nn.Conv2d)]
    return sum(m.in_channels != m.out_channels for m in layers)


def _groups(name: str) -> int:
    """The most groups of a pointwise layer."""
    layers = [m for m in on_meta(build, VARIANTS[name]).modules() if isinstance(m, nn.Conv2d)]
    return max(m.groups for m in layers if m.kernel_size == (1, 1))


def _facts() -> Iterator[Fact]:
    widths = ((48, 96, 192, 1024), (116, 232, 464, 1024), (176, 352, 704, 1024), (244, 488, 976, 2048))
    for name, millions, weights, (a, b, c, last) in zip(SMALL, (41, 146, 299, 591), (1.4, 2.3, 3.5, 7.4), widths):
        # With the pooling: without it 0.5× has 40.48. With halves in the first unit, as torchvision has it, the others
        # would have 145.0, 295.8 and 583.4.
        says = f"{millions} million multiply-adds"
        yield Fact(says, "Table 5", millions * 1e6, partial(_work, name), 0.5e6, name)
        yield Fact(f"{weights} M weights", "Table 5", weights * 1e6, partial(count, build, VARIANTS[name]), 5e4, name)
        maps = ((24, 112, 112), (24, 56, 56), (a, 28, 28), (b, 14, 14), (c, 7, 7), (last, 7, 7))
        says = f"conv1, pooling, stages, conv5: {', '.join('×'.join(map(str, shape)) for shape in maps)}"
        yield Fact(says, "Table 5", maps, partial(_maps, name), variant=name)
    # The name counts 16 · 3 convolutions, conv1 and fc, as ResNet-50's does; conv6 would be the 51st layer.
    name = "shufflenet-v2-50"
    yield Fact("2.3 billion multiply-adds", "Table 6", 2.3e9, partial(_work, name), 5e7, name)
    large = ((64, 112, 112), (64, 56, 56), (244, 56, 56), (488, 28, 28), (976, 14, 14), (1952, 7, 7), (2048, 7, 7))
    says = f"conv1, pooling, stages, conv6: {', '.join('×'.join(map(str, shape)) for shape in large)}"
    yield Fact(says, "Appendix Table 2", large, partial(_maps, name), variant=name)
    name = "shufflenet-v2-1x"
    says = "G1: the convolutions of a basic unit have as many outputs as inputs"
    yield Fact(says, "Sec. 3", 0, partial(_widths_in_units, name), variant=name)
    yield Fact("G2: no 1 × 1 convolution is grouped", "Sec. 3", 1, partial(_groups, name), variant=name)
    for c1, c2, groups in ((128, 128, 1), (36, 432, 1), (360, 360, 8)):
        says = f"memory accesses of {c1} -> {c2} channels in {groups} groups: hw(c1 + c2) + c1·c2/g"
        expect = memory_access(c1, c2, height=56, width=56, groups=groups)
        yield Fact(says, "Eqs. 1 and 2", expect, partial(_accesses, c1, c2, groups))
    says = "equal widths reach the bound 2√(hwB) + B/(hw)"
    bound = least_access(56 * 56 * 128 * 128, height=56, width=56)
    yield Fact(says, "Eq. 1", bound, partial(_accesses, 128, 128, 1))
    says = "c/2, c/4 and c/8 of c channels connect a unit directly with the first, second and third after it"
    yield Fact(says, "Sec. 3", (8, 4, 2), lambda: [_direct(distance) for distance in (1, 2, 3)])


def _results() -> Iterator[Result]:
    data, metric = "ImageNet 2012 validation", "top-1 error %, one crop"
    for name, error in zip(SMALL, (39.7, 30.6, 27.4, 25.1)):
        yield Result(name, data, metric, error, "Table 8")
    yield Result("shufflenet-v2-50", data, metric, 22.8, "Table 6")


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return ShuffleNetV2(config)


PAPER = Paper(
    title="ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
    authors="Ningning Ma, Xiangyu Zhang, Hai-Tao Zheng, Jian Sun",
    year=2018,
    venue="ECCV 2018, arXiv 1807.11164",
    url="https://arxiv.org/abs/1807.11164",
    idea="Time is not multiply-adds: split the channels, work on half of them, put both halves together and shuffle.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=tuple(_results()),
)
