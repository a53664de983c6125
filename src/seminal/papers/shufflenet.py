"""ShuffleNet.

Xiangyu Zhang, Xinyu Zhou, Mengxiao Lin, Jian Sun, "ShuffleNet: An Extremely Efficient Convolutional Neural Network for
Mobile Devices", arXiv 1707.01083, July 2017; CVPR 2018. Sections and tables are those of version 2.

The idea: in small networks the 1 × 1 convolutions cost most, so let them work within groups of channels. Groups alone
would never hear of one another; so shuffle the channels between two such layers, which costs no arithmetic. What is
saved pays for more channels, and those are what a small network lacks.

    shuffle: g · n channels, written as a (g, n) table, transposed, read row by row             Sec. 3.1
    cost of a unit, c channels outside and m in the bottleneck, per h · w pixels                Sec. 3.2
        ResNet 2cm + 9m²        ResNeXt 2cm + 9m²/g        ShuffleNet 2cm/g + 9m

    y = ReLU(x + F(x))                      stride 1                                            Fig. 2 (b)
    y = ReLU([pool(x), F(x)])               stride 2: concatenated, so that F gives only the new channels  (c)

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

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.papers.resnet import convolution
from seminal.pieces.init import constant, fill, he
from seminal.pieces.measure import multiply_adds, on_meta, stages, work
from seminal.pieces.pictures import changed_input, example, fit

WIDTHS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # g -> channels of stage 2 at 1× (Table 1)
STEM = 24  # filters of Conv1 at 1×
BLOCKS = (4, 8, 4)
SCALES = (0.25, 0.5, 1.0, 1.5, 2.0)  # s (Tables 2 and 5)
SCALED = {(groups, round(width * s)): s for groups, width in WIDTHS.items() for s in SCALES}


@dataclass(frozen=True)
class Config:
    groups: int = 3  # g
    width: int = 240  # channels of stage 2; they double with each stage
    stem: int = STEM  # filters of Conv1
    blocks: tuple[int, ...] = BLOCKS  # units per stage, the first of each at stride 2
    shuffle: bool = True  # False: the networks of Table 3 without it
    in_channels: int = 3  # C
    size: tuple[int, int] = (224, 224)  # H, W
    outputs: int = 1000

    def __post_init__(self) -> None:
        if self.width % (4 * self.groups) or (self.width - self.stem) % self.groups or self.stem >= self.width:
            raise UserError(
                f"{self.groups} groups do not divide {self.width} channels after {self.stem} in Conv1. Choose a width "
                f"that is a multiple of {4 * self.groups}, and a smaller stem that is a multiple of {self.groups}."
            )

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures of at least 32 × 32 pixels; raises `UserError` for other data."""
        found = fit(spec, "this ShuffleNet", least=32, shrinks=5, instead="resnet20")
        return replace(self, in_channels=found.in_channels, size=found.size, outputs=found.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from Table 1, scaled as Sec. 3.3 says."""
        found, scale = [], SCALED.get((self.groups, self.width))
        if scale is None or self.blocks != BLOCKS:
            what = f"{self.groups} groups, {self.width} channels, blocks {self.blocks}: not a network of the tables"
            found.append(Departure(what, "chosen by you", "Tables 1, 2 and 5"))
        elif self.stem != STEM * scale:
            what = f"{self.stem} filters in Conv1 (paper: {STEM} × {scale:g} = {STEM * scale:g})"
            if STEM * scale % self.groups:
                why = f"{self.groups} groups would not divide the channels that the first unit adds"
            else:
                why = "only so does the network cost what Tables 2 and 5 print"
            found.append(Departure(what, why, "Sec. 3.3"))
        return (*found, *changed_input(self, Config(), "Table 1"))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) standard normal numbers."""
        return example(self, batch)


# ------------------------------------------------------------------------------------------------- the contribution


def channel_shuffle(x: Float[Tensor, "batch channels height width"], groups: int) -> Tensor:
    """Channel n·k + i becomes channel g·i + k, for g groups of n channels: the next layer's groups take from all of them.

    The inverse is the shuffle with n groups. The result lies in memory as ``x`` does, channels first or last.
    """
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        rows = x.permute(0, 2, 3, 1).unflatten(3, (groups, -1))  # (B, H, W, g · n) -> (B, H, W, g, n)
        return rows.transpose(3, 4).flatten(3, 4).permute(0, 3, 1, 2)
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)  # (B, g · n, …) -> (B, g, n, …) -> (B, n, g, …)


class ChannelShuffle(nn.Module):
    """`channel_shuffle` as a layer. No parameters."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        return channel_shuffle(x, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


def pointwise(inputs: int, outputs: int, groups: int) -> nn.Conv2d:
    """A 1 × 1 convolution within groups ("GConv" in Fig. 2)."""
    return nn.Conv2d(inputs, outputs, 1, groups=groups, bias=False)


def depthwise(channels: int, stride: int) -> nn.Conv2d:
    """A 3 × 3 convolution of every channel alone ("DWConv" in Fig. 2)."""
    return nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)


class Unit(nn.Module):
    """A ShuffleNet unit (Fig. 2 (b) and (c)). At stride 2 the branch gives the channels that the input does not have."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, *, groups: int, first_groups: int, shuffle: bool = True
    ) -> None:
        super().__init__()
        narrow = outputs // 4  # of the unit's outputs, at stride 2 too (Sec. 3.3)
        new = outputs if stride == 1 else outputs - inputs
        layers: dict[str, nn.Module] = {
            "conv1": pointwise(inputs, narrow, first_groups),
            "bn1": nn.BatchNorm2d(narrow),
            "relu1": nn.ReLU(inplace=True),
            "shuffle": ChannelShuffle(groups) if shuffle else nn.Identity(),
            "conv2": depthwise(narrow, stride),
            "bn2": nn.BatchNorm2d(narrow),  # and no ReLU, as Xception advises (Sec. 3.2)
            "conv3": pointwise(narrow, new, groups),
            "bn3": nn.BatchNorm2d(new),
        }
        self.branch = nn.Sequential(OrderedDict(layers))
        self.pool = None if stride == 1 else nn.AvgPool2d(3, stride, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "batch channels_in height_in width_in"]) -> Float[Tensor, "batch channels h w"]:
        change = self.branch(x)
        y: Tensor = self.relu(x + change if self.pool is None else torch.cat([self.pool(x), change], dim=1))
        return y


# -------------------------------------------------------------------------------------------------------- the model


class ShuffleNet(nn.Module):
    """Conv1, pooling, three stages of units, global average pooling, one linear layer (Table 1)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.conv1 = convolution(config.in_channels, config.stem, 3, 2)
        self.bn1 = nn.BatchNorm2d(config.stem)
        self.relu = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)
        found, inputs = OrderedDict[str, nn.Module](), config.stem
        for i, depth in enumerate(config.blocks):
            outputs = config.width * 2**i
            units = []
            for n in range(depth):
                # The first pointwise layer of stage 2 is not grouped: it has few inputs (caption of Table 1).
                first = 1 if i == n == 0 else config.groups
                stride = 2 if n == 0 else 1
                unit = Unit(inputs, outputs, stride, groups=config.groups, first_groups=first, shuffle=config.shuffle)
                units.append(unit)
                inputs = outputs
            found[f"stage{i + 2}"] = nn.Sequential(*units)
        self.stages = nn.Sequential(found)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, config.outputs)
        # Sec. 4 takes the settings of ResNeXt, which takes this start from He et al. 2015.
        fill(self, weights=he, biases=constant(0.0))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        x = self.relu(self.bn1(self.conv1(x)))  # 3 × 224 × 224 -> 24 × 112 × 112
        x = self.pool1(x)  # 24 × 56 × 56
        x = self.stages(x)  # g = 3: 240 × 28 × 28 -> 480 × 14 × 14 -> 960 × 7 × 7
        x = self.pool(x).flatten(1)  # (B, channels, 1, 1) -> (B, channels)
        y: Tensor = self.fc(x)
        return y


# ------------------------------------------------------------------------------------------------- variants and facts

# Table 2 also has 0.5× and 0.25× for g = 2 and 4. Their scaled bottlenecks are not divisible by g, and the paper does not
# say how it changed them. (Sec. 4.2 gives the last stage of g = 4, 0.5× as 576 channels; with Conv1 scaled to 12 filters
# that costs 40 million, not the printed 38.) Nor does it say how wide "0.5× shallow" of Table 5 is.
SHUFFLED = {
    **{f"shufflenet-g{g}": Config(groups=g, width=width) for g, width in WIDTHS.items()},
    # Conv1 of the scaled networks: the printed costs hold for 12 filters at 0.25× and 24 at 1.5×, not for 6 and 36.
    "shufflenet-g1-0.5x": Config(groups=1, width=72, stem=12),
    "shufflenet-g1-0.25x": Config(groups=1, width=36, stem=12),
    "shufflenet-g3-2x": Config(width=480, stem=48),
    "shufflenet-g3-1.5x": Config(width=360, stem=24),
    "shufflenet-g3-0.5x": Config(width=120, stem=12),
    "shufflenet-g3-0.25x": Config(width=60, stem=12),
    "shufflenet-g8-0.5x": Config(groups=8, width=192, stem=16),
    "shufflenet-g8-0.25x": Config(groups=8, width=96, stem=8),
}
TABLE3 = ("shufflenet-g3", "shufflenet-g8", *(f"shufflenet-g{g}-{s}x" for g in (3, 8) for s in (0.5, 0.25)))
VARIANTS = SHUFFLED | {f"{name}-noshuffle": replace(SHUFFLED[name], shuffle=False) for name in TABLE3}


def _features(name: str) -> int:
    """Multiply-adds of all but the classifier."""
    config = VARIANTS[name]
    return work(build, config) - _maps(name)[-1][0] * config.outputs


def _maps(name: str) -> list[tuple[int, ...]]:
    """Shapes after conv1, pool1 and each stage."""
    found = stages(build, VARIANTS[name])
    return [found["conv1"], found["pool1"], *(found[f"stages.stage{i}"] for i in (2, 3, 4))]


def _depth(name: str) -> int:
    """Layers with weights."""
    return sum(isinstance(m, nn.Conv2d | nn.Linear) for m in on_meta(build, VARIANTS[name]).modules())


def _first_groups(name: str) -> list[int]:
    """Groups of the first pointwise layers of stages 2 and 3."""
    model = on_meta(build, VARIANTS[name])
    layers = [model.get_submodule(f"stages.stage{i}.0.branch.conv1") for i in (2, 3)]
    return [layer.groups for layer in layers if isinstance(layer, nn.Conv2d)]


def costs(c: int, m: int, g: int) -> tuple[int, int, int]:
    """Multiply-adds per pixel of the units of ResNet, ResNeXt and ShuffleNet by the formulas of Sec. 3.2."""
    return 2 * c * m + 9 * m**2, 2 * c * m + 9 * m**2 // g, 2 * c * m // g + 9 * m


def _bottleneck(c: int, m: int, g: int) -> nn.Sequential:
    """The convolutions of a unit of ResNeXt; of ResNet for one group."""
    grouped = nn.Conv2d(m, m, 3, padding=1, groups=g, bias=False)
    return nn.Sequential(convolution(c, m, 1), grouped, convolution(m, c, 1))


def _per_pixel(layers: nn.Module, channels: int) -> int:
    """Multiply-adds of layers that read one pixel."""
    with torch.device("meta"):
        return multiply_adds(layers.to("meta").eval(), torch.randn(1, channels, 1, 1))


def _unit_costs(m: int, g: int) -> list[int]:
    """`costs`, counted on built units with c = 4m, the paper's ratio."""
    c = 4 * m
    units = (_bottleneck(c, m, 1), _bottleneck(c, m, g), Unit(c, c, 1, groups=g, first_groups=g))
    return [_per_pixel(unit, c) for unit in units]


def _pointwise_share() -> float:
    """Percent of the multiply-adds of a unit of ResNeXt-50 (32 × 4d) in its 1 × 1 convolutions."""
    first, grouped, last = _bottleneck(256, 128, 32)
    ones = _per_pixel(first, 256) + _per_pixel(last, 128)
    return 100 * ones / (ones + _per_pixel(grouped, 128))


def _groups_heard(shuffle: bool) -> int:
    """Groups of inputs that one output of two grouped layers depends on."""
    g, n = 3, 12
    layers = nn.Sequential(pointwise(n, n, g), ChannelShuffle(g) if shuffle else nn.Identity(), pointwise(n, n, g)).to(
        "cpu"
    )
    fill(layers, weights=constant(1.0), biases=constant(0.0))
    x = torch.zeros(1, n, 1, 1, device="cpu", requires_grad=True)
    (gradient,) = torch.autograd.grad(layers(x)[0, 0, 0, 0], x)
    return int(gradient.view(g, -1).abs().sum(dim=1).count_nonzero())


def _facts() -> Iterator[Fact]:
    half = 0.5e6  # of the last digit printed
    # Table 1's sums leave out the classifier; those of Tables 5 and 8 have it in.
    for g, millions in {1: 143, 2: 140, 3: 137, 4: 133, 8: 137}.items():
        name = f"shufflenet-g{g}"
        says = f"{millions} million multiply-adds before the classifier"
        yield Fact(says, "Table 1", millions * 1e6, partial(_features, name), half, name)
    scaled = {"g3-2x": (524, "Table 5"), "g3-1.5x": (292, "Table 5"), "g3-0.5x": (38, "Table 8")}
    for rest, (millions, where) in (scaled | {"g3-0.25x": (13, "Table 2")}).items():
        name = f"shufflenet-{rest}"
        measure = partial(work, build, VARIANTS[name])
        yield Fact(f"{millions} million multiply-adds", where, millions * 1e6, measure, half, name)
    # A level, not a count: Table 2 calls "140" what Table 1 has as 133 to 143, 5 % off. Not met by g = 8, whose Conv1
    # cannot be scaled: 40.5 and 12.4 million.
    for rest, millions in {"g1-0.5x": 38, "g1-0.25x": 13}.items():
        name = f"shufflenet-{rest}"
        measure = partial(work, build, VARIANTS[name])
        says = f"about {millions} million multiply-adds"
        yield Fact(says, "Table 2", millions * 1e6, measure, 0.05 * millions * 1e6, name)
    for g, width in ((1, 144), (2, 200), (3, 240), (4, 272), (8, 384)):
        name = f"shufflenet-g{g}"
        maps = ((24, 112, 112), (24, 56, 56), (width, 28, 28), (2 * width, 14, 14), (4 * width, 7, 7))
        says = f"conv1, pooling and stages: {', '.join('×'.join(map(str, shape)) for shape in maps)}"
        yield Fact(says, "Table 1", maps, partial(_maps, name), variant=name)
        yield Fact("50 layers", "Sec. 4.3", 50, partial(_depth, name), variant=name)
        says = "the first pointwise layer of stage 2 is not grouped, that of stage 3 is"
        yield Fact(says, "Table 1, caption", (1, g), partial(_first_groups, name), variant=name)
    says = "a unit costs 2cm + 9m² (ResNet), 2cm + 9m²/g (ResNeXt), 2cm/g + 9m (ShuffleNet) per pixel"
    for g in (3, 4):
        yield Fact(f"{says}; g = {g}", "Sec. 3.2", costs(240, 60, g), partial(_unit_costs, 60, g))
    says = "93.4 % of a ResNeXt unit's multiply-adds are in its 1 × 1 convolutions (cardinality 32)"
    yield Fact(says, "Sec. 3.1", 93.4, _pointwise_share, 0.05)
    yield Fact("stacked group convolutions see one group of inputs", "Fig. 1 (a)", 1, partial(_groups_heard, False))
    yield Fact("with the shuffle between them they see all three", "Fig. 1 (c)", 3, partial(_groups_heard, True))


def _results() -> Iterator[Result]:
    data, metric = "ImageNet 2012 validation", "top-1 error %, one crop"
    errors = {"g1": 33.6, "g2": 32.7, "g3": 32.6, "g4": 32.8, "g8": 32.4, "g1-0.5x": 45.1, "g3-0.5x": 43.2}
    errors |= {"g8-0.5x": 42.3, "g1-0.25x": 57.1, "g3-0.25x": 55.0, "g8-0.25x": 52.7}
    for rest, error in errors.items():
        yield Result(f"shufflenet-{rest}", data, metric, error, "Table 2")
    for name, error in zip(TABLE3, (34.5, 37.6, 45.7, 56.3, 48.1, 56.5)):
        yield Result(f"{name}-noshuffle", data, metric, error, "Table 3")
    for rest, error in {"g3-2x": 26.3, "g3-1.5x": 28.5}.items():
        yield Result(f"shufflenet-{rest}", data, metric, error, "Table 5")


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return ShuffleNet(config)


PAPER = Paper(
    title="ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices",
    authors="Xiangyu Zhang, Xinyu Zhou, Mengxiao Lin, Jian Sun",
    year=2017,
    venue="CVPR 2018, arXiv 1707.01083",
    url="https://arxiv.org/abs/1707.01083",
    idea="Work in groups of channels, and shuffle the channels between the groups.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=tuple(_results()),
)
