"""ResNeXt.

Saining Xie, Ross Girshick, Piotr Dollár, Zhuowen Tu, Kaiming He, "Aggregated Residual Transformations for Deep Neural
Networks", arXiv 1611.05431, November 2016; CVPR 2017.

The idea: beside depth and width a network has a third size, *cardinality*: the number C of equal transformations whose
outputs a block adds up. Many narrow paths are more accurate than one wide path that costs as much, and growing C pays more
than going deeper or wider. All paths have one form, so a block is nothing but a bottleneck whose 3 × 3 convolution is
grouped, and a network has no more numbers to choose than a ResNet and C.

    F(x) = Σ_{i=1}^{C} T_i(x)                              T_i: 1 × 1 to d channels, 3 × 3, 1 × 1 back          (2)
    y = x + Σ_{i=1}^{C} T_i(x)                                                                                  (3)
    C · (256 · d + 3 · 3 · d · d + d · 256)                parameters of a block of conv2; ≈ 70 k for all       (4)

A "32×4d" network has C = 32 paths of width d = 4 in conv2; d doubles with each stage.

Shapes: B pictures of C channels, H × W pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.papers import resnet
from seminal.papers.resnet import Residual, convolution
from seminal.pieces.counts import weights
from seminal.pieces.init import constant, fill, he
from seminal.pieces.measure import on_meta, stages, work
from seminal.pieces.pictures import changed_input, example, fit

Input = Float[Tensor, "batch channels_in height_in width_in"]
Map = Float[Tensor, "batch channels height width"]


@dataclass(frozen=True)
class Config:
    blocks: tuple[int, ...]  # residual blocks per stage
    cardinality: int  # C, the number of paths
    width: int  # d, channels of a path in conv2; they double with each stage
    shortcut: str = "B"  # of He et al. 2015; "plain": none
    large_stem: bool = True  # 7 × 7 convolution at stride 2 and pooling (ImageNet), or one 3 × 3 convolution (CIFAR)
    in_channels: int = 3  # C
    size: tuple[int, int] = (224, 224)  # H, W
    outputs: int = 1000

    def __post_init__(self) -> None:
        if self.cardinality < 1 or self.width < 1:
            raise UserError(
                f"{self.cardinality} paths of width {self.width} are no ResNeXt. Write 1 or more for both, such as "
                "cardinality=32, width=4."
            )

    @property
    def base(self) -> resnet.Config:
        """The ResNet whose blocks are replaced. It halves maps in the 3 × 3 convolutions (Sec. 4)."""
        return resnet.Config(
            self.blocks,
            width=64,
            bottleneck=True,
            shortcut=self.shortcut,
            large_stem=self.large_stem,
            stride_in_3x3=True,
            in_channels=self.in_channels,
            size=self.size,
            outputs=self.outputs,
        )

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures of at least 32 × 32 pixels (8 × 8 with the small stem); raises `UserError` for other data."""
        least, shrinks, instead = (32, 5, "resnext29-8x64d") if self.large_stem else (8, 2, "mlp")
        found = fit(spec, "this ResNeXt", least=least, shrinks=shrinks, instead=instead)
        return replace(self, in_channels=found.in_channels, size=found.size, outputs=found.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from the nearest network of the paper."""
        size, outputs = ((224, 224), 1000) if self.large_stem else ((32, 32), 10)
        printed = replace(self, in_channels=3, size=size, outputs=outputs)
        found = []
        if printed not in TABLES:
            depth = 3 * sum(self.blocks) + 2
            what = f"{depth} layers, {self.cardinality}×{self.width}d: not a network of the paper's tables"
            found.append(Departure(what, "chosen by you, or needed to load weights", "Tables 3, 4 and 7"))
        return (*found, *changed_input(self, printed))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) standard normal numbers."""
        return example(self, batch)


# ------------------------------------------------------------------------------------------------- the contribution


def grouped(inputs: int, outputs: int, stride: int, *, cardinality: int, width: int) -> nn.Sequential:
    """Fig. 3(c): all paths at once, C·d channels wide, the 3 × 3 convolution in C groups. The model uses this form."""
    channels = cardinality * width
    layers: dict[str, nn.Module] = {
        "conv1": convolution(inputs, channels, 1),
        "bn1": nn.BatchNorm2d(channels),
        "relu1": nn.ReLU(inplace=True),
        "conv2": nn.Conv2d(channels, channels, 3, stride, padding=1, groups=cardinality, bias=False),
        "bn2": nn.BatchNorm2d(channels),
        "relu2": nn.ReLU(inplace=True),
        "conv3": convolution(channels, outputs, 1),
        "bn3": nn.BatchNorm2d(outputs),
    }
    return nn.Sequential(OrderedDict(layers))


def path(inputs: int, stride: int, width: int) -> nn.Sequential:
    """The first two layers of T_i, from all channels to d of them."""
    layers: dict[str, nn.Module] = {
        "conv1": convolution(inputs, width, 1),
        "bn1": nn.BatchNorm2d(width),
        "relu1": nn.ReLU(inplace=True),
        "conv2": convolution(width, width, 3, stride),
        "bn2": nn.BatchNorm2d(width),
        "relu2": nn.ReLU(inplace=True),
    }
    return nn.Sequential(OrderedDict(layers))


class SplitTransformMerge(nn.Module):
    """Fig. 3(a), Eq. 2: C paths of three layers each, added up; one normalisation after the sum (footnote 6)."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, cardinality: int, width: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(path(inputs, stride, width) for _ in range(cardinality))
        for transform in self.paths:
            transform.add_module("conv3", convolution(width, outputs, 1))
        self.bn3 = nn.BatchNorm2d(outputs)

    def forward(self, x: Input) -> Map:
        y: Tensor = self.bn3(sum(transform(x) for transform in self.paths))
        return y


class EarlyConcatenation(nn.Module):
    """Fig. 3(b): the paths end after two layers; their outputs lie side by side under one 1 × 1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, cardinality: int, width: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(path(inputs, stride, width) for _ in range(cardinality))
        self.conv3 = convolution(cardinality * width, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)

    def forward(self, x: Input) -> Map:
        y: Tensor = self.bn3(self.conv3(torch.cat([transform(x) for transform in self.paths], dim=1)))
        return y


def as_paths(state: Mapping[str, Tensor], cardinality: int, *, early: bool) -> dict[str, Tensor]:
    """The numbers of a grouped block, dealt out to the paths of (a), or of (b) where they meet ``early``.

    Group i of the channels is path i: its rows of the first two layers, and in (a) its columns of the third.
    """
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        layer = key.split(".")[0]
        if layer == "bn3" or (early and layer == "conv3"):
            found[key] = value
        elif value.dim() == 0:  # a counter of batches
            found |= {f"paths.{i}.{key}": value for i in range(cardinality)}
        else:
            parts = value.chunk(cardinality, dim=1 if layer == "conv3" else 0)
            found |= {f"paths.{i}.{key}": part for i, part in enumerate(parts)}
    return found


# -------------------------------------------------------------------------------------------------------- the model


def build(config: Config) -> nn.Module:
    """A ResNet of bottlenecks with all its blocks' branches replaced (Sec. 5.1), first weights as He's (Sec. 4).

    Its shapes are the ResNet's: 3 × 224 × 224 -> 64 × 112 × 112 -> 64 × 56 × 56 -> 256 × 56 × 56 -> 512 × 28 × 28
    -> 1024 × 14 × 14 -> 2048 × 7 × 7 -> 2048 -> outputs (CIFAR: 64, 256 × 32 × 32, 512 × 16 × 16, 1024 × 8 × 8).
    """
    model = resnet.build(config.base)
    inputs = config.base.width
    for i in range(len(config.blocks)):
        outputs = 4 * config.base.width * 2**i
        for n, block in enumerate(model.get_submodule(f"stages.conv{i + 2}_x").children()):
            assert isinstance(block, Residual)
            stride = 2 if i > 0 and n == 0 else 1
            width = config.width * 2**i
            block.branch = grouped(inputs, outputs, stride, cardinality=config.cardinality, width=width)
            fill(block.branch, weights=he, biases=constant(0.0))
            inputs = outputs
    return model


# ------------------------------------------------------------------------------------------------- variants and facts

B50, B101, B29 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 3, 3)
TEMPLATES = ((1, 64), (2, 40), (4, 24), (8, 14), (32, 4))  # Table 2: C and d of blocks that cost the same

PRINTED = {
    **{f"resnext50-{c}x{d}d": Config(B50, c, d) for c, d in TEMPLATES},  # Table 3; 1×64d is a ResNet-50
    **{f"resnext101-{c}x{d}d": Config(B101, c, d) for c, d in TEMPLATES},
    **{f"resnext101-{c}x{d}d": Config(B101, c, d) for c, d in ((1, 100), (2, 64), (64, 4))},  # Table 4: twice the work
    **{f"resnext50-{c}x{d}d-plain": Config(B50, c, d, shortcut="plain") for c, d in (TEMPLATES[0], TEMPLATES[-1])},
    **{
        f"resnext29-{c}x64d": Config(B29, c, 64, large_stem=False, size=(32, 32), outputs=10)
        for c in (1, 8, 16)  # Sec. 5.3: the template to begin with, and Table 7
    },
}
TABLES = tuple(PRINTED.values())

VARIANTS = {**PRINTED, "resnext101-32x8d": Config(B101, 32, 8)}

IMAGENET = ((64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7))  # conv1 and each stage
CIFAR = ((64, 32, 32), (256, 32, 32), (512, 16, 16), (1024, 8, 8))


def _maps(name: str) -> list[tuple[int, ...]]:
    """Shapes after conv1 and each stage."""
    found = stages(build, VARIANTS[name])
    return [found["conv1"], *(found[f"stages.conv{i + 2}_x"] for i in range(len(VARIANTS[name].blocks)))]


def _convolutions(name: str, kernel: int = 0) -> list[tuple[str, nn.Conv2d]]:
    """The convolutions by name, all or those with this kernel."""
    layers = on_meta(build, VARIANTS[name]).named_modules()
    return [(at, m) for at, m in layers if isinstance(m, nn.Conv2d) and kernel in (0, m.kernel_size[0])]


def _depth(name: str) -> int:
    """Layers with weights, fc among them: not those on shortcuts."""
    return sum("shortcut" not in at for at, _ in _convolutions(name)) + 1


def _template(cardinality: int, width: int) -> int:
    """Weights of the convolutions of a block of conv2."""
    block = grouped(256, 256, 1, cardinality=cardinality, width=width)
    return sum(m.weight.numel() for m in block if isinstance(m, nn.Conv2d))


def _widths(cardinality: int, width: int) -> list[int]:
    """Channels of the grouped convolutions of a network, stage by stage."""
    found = _convolutions(f"resnext50-{cardinality}x{width}d", kernel=3)
    return sorted({m.out_channels for at, m in found if m.groups == cardinality and ".conv2" in at})


def _pointwise() -> float:
    """Share of the 1 × 1 convolutions in the multiply-adds of a block, in percent."""
    block = grouped(256, 256, 1, cardinality=32, width=4)
    sizes = {m.kernel_size[0]: 0 for m in block if isinstance(m, nn.Conv2d)}
    for m in block:
        if isinstance(m, nn.Conv2d):
            sizes[m.kernel_size[0]] += m.weight.numel()  # all maps of a block have the same size
    return 100 * sizes[1] / (sizes[1] + sizes[3])


def _differences() -> list[float]:
    """Largest difference of the forms (a) and (b) from (c) on the same numbers, as a share of its largest output."""
    block = grouped(16, 32, 2, cardinality=8, width=3).double()
    x, found = torch.randn(4, 16, 9, 9, dtype=torch.float64, device="cpu"), []
    for form, early in ((SplitTransformMerge, False), (EarlyConcatenation, True)):
        twin = form(16, 32, 2, cardinality=8, width=3).double()
        twin.load_state_dict(as_paths(block.state_dict(), 8, early=early))
        with torch.no_grad():
            found.append(float((twin(x) - block(x)).abs().max() / block(x).abs().max()))
    return found


def _facts() -> Iterator[Fact]:
    # Counted without normalisation: with its gains and shifts ResNet-50 has 25.56 M parameters and 16×64d 68.16 M,
    # which round to 25.6 and 68.2.
    sizes = {"resnext50-1x64d": (25.5, "Table 1"), "resnext50-32x4d": (25.0, "Table 1")}
    sizes |= {"resnext29-8x64d": (34.4, "Table 7"), "resnext29-16x64d": (68.1, "Table 7")}
    for name, (millions, where) in sizes.items():
        yield Fact(
            f"{millions} M parameters", where, millions * 1e6, partial(weights, build, VARIANTS[name]), 5e4, name
        )
    for name, printed in {"resnext50-1x64d": 4.1e9, "resnext50-32x4d": 4.2e9}.items():
        says, measure = f"{printed / 1e9} billion multiply-adds", partial(work, build, VARIANTS[name])
        yield Fact(says, "Table 1", printed, measure, 5e7, name)
    # Openly approximate, "preserved complexity": the others may cost up to a twentieth more than the network printed.
    for depth, printed in ((50, 4.1e9), (101, 7.8e9)):
        for c, d in TEMPLATES:
            name = f"resnext{depth}-{c}x{d}d"
            says, measure = f"about {printed / 1e9} billion multiply-adds", partial(work, build, VARIANTS[name])
            yield Fact(says, "Table 3", printed, measure, (5e7, printed / 20), name)
    for name in ("resnext101-1x100d", "resnext101-2x64d", "resnext101-64x4d"):
        measure = partial(work, build, VARIANTS[name])
        yield Fact("about 15 billion multiply-adds", "Sec. 5.1", 15e9, measure, 5e8, name)
    for c, d in TEMPLATES:
        # About 70 k; 8×14d has 71,456.
        within = (500, 1500) if (c, d) == (8, 14) else (500, 500)
        yield Fact(f"a block of {c}×{d}d has about 70 k parameters", "Table 2", 70e3, partial(_template, c, d), within)
        says, formula = (
            f"a block of {c}×{d}d has as many parameters as the formula",
            c * (256 * d + 9 * d * d + d * 256),
        )
        yield Fact(says, "Eq. 4", formula, partial(_template, c, d))
        printed = {1: 64, 2: 80, 4: 96, 8: 112, 32: 128}[c]  # Table 2: width of the group convolution
        widths = [printed * 2**i for i in range(4)]
        says = f"grouped convolutions of {c}×{d}d have {', '.join(map(str, widths))} channels"
        yield Fact(says, "Tables 1 and 2", widths, partial(_widths, c, d), variant=f"resnext50-{c}x{d}d")
    for name in PRINTED:
        if name in ("resnext50-1x64d", "resnext50-32x4d", "resnext101-32x4d", "resnext29-8x64d"):
            maps = CIFAR if name.startswith("resnext29") else IMAGENET
            says = f"conv1 and stages: {', '.join('×'.join(map(str, shape)) for shape in maps)}"
            yield Fact(says, "Table 1 and appendix A", maps, partial(_maps, name), variant=name)
        depth = int(name.split("-")[0].removeprefix("resnext"))
        yield Fact(f"{depth} layers with weights", "Secs. 5.1 and 5.3", depth, partial(_depth, name), variant=name)
    # 0 but for the rounding of float64.
    says = "the three forms of a block are strictly equivalent"
    yield Fact(says, "Fig. 3 and Sec. 4", (0.0, 0.0), _differences, 1e-13)
    # What ShuffleNet says of this paper's block; it holds for a block with an identity shortcut, in every stage.
    says = "1 × 1 convolutions are 93.4 % of a block's multiply-adds at cardinality 32"
    yield Fact(says, "Zhang et al. 2017, ShuffleNet, Sec. 3.1", 93.4, _pointwise, 0.05)


def _results() -> Iterator[Result]:
    data, top1, top5 = "ImageNet 2012 validation", "top-1 error %, one crop", "top-5 error %, one crop"
    for depth, errors in ((50, (23.9, 23.0, 22.6, 22.3, 22.2)), (101, (22.0, 21.7, 21.4, 21.3, 21.2))):
        for (c, d), error in zip(TEMPLATES, errors):
            yield Result(f"resnext{depth}-{c}x{d}d", data, top1, error, "Table 3")
    for name, error in {"resnext50-1x64d-plain": 31.2, "resnext50-32x4d-plain": 26.1}.items():
        yield Result(name, data, top1, error, "Sec. 5.1, residual connections")
    wider = {"1x100d": (21.3, 5.7), "2x64d": (20.7, 5.5), "64x4d": (20.4, 5.3)}
    for name, (one, five) in wider.items():
        yield Result(f"resnext101-{name}", data, top1, one, "Table 4")
        yield Result(f"resnext101-{name}", data, top5, five, "Table 4")
    for name, five in {"1x64d": 6.0, "32x4d": 5.6}.items():
        yield Result(f"resnext101-{name}", data, top5, five, "Table 4")
    for k, error in ((1, 19.1), (5, 4.4)):
        yield Result("resnext101-64x4d", data, f"top-{k} error %, one crop of 320", error, "Table 5")
    for cardinality, ten, hundred in ((8, 3.65, 17.77), (16, 3.58, 17.31)):
        for kind, error in (("CIFAR-10 test", ten), ("CIFAR-100 test", hundred)):
            yield Result(f"resnext29-{cardinality}x64d", kind, "top-1 error %, mean of 10", error, "Table 7")


PAPER = Paper(
    title="Aggregated Residual Transformations for Deep Neural Networks",
    authors="Saining Xie, Ross Girshick, Piotr Dollár, Zhuowen Tu, Kaiming He",
    year=2016,
    venue="CVPR 2017, arXiv 1611.05431",
    url="https://arxiv.org/abs/1611.05431",
    idea="Add up many narrow paths of one form.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=tuple(_results()),
)
