"""DenseNet.

Gao Huang, Zhuang Liu, Laurens van der Maaten, Kilian Q. Weinberger, "Densely Connected Convolutional Networks",
arXiv 1608.06993, August 2016 (section and table numbers are those of version 5, January 2018); CVPR 2017.

The idea: let every layer read the outputs of *all* layers before it, side by side instead of added. Nothing that was
found once has to be found or carried on again, so a layer may be very narrow (12 new maps) and the network needs a
fraction of the parameters. Every layer is also close to the loss: gradients reach the first ones without a detour.

    x_l = H_l([x_0, x_1, …, x_{l−1}])                                                         (2)
    H = BN-ReLU-Conv(3×3), which makes k maps; layer l reads k_0 + k (l − 1)                  Sec. 3
    B: H = BN-ReLU-Conv(1×1, 4k maps)-BN-ReLU-Conv(3×3, k maps)                               bottleneck
    C: a transition makes ⌊θ m⌋ maps of m                                                     compression
    transition: BN-ReLU-Conv(1×1), then 2 × 2 average pooling, between two dense blocks

Sec. 3 names batch normalisation and convolution only where it describes the transition; that a ReLU stands between
them is said in the caption of Table 1 ("conv" is BN-ReLU-Conv).

Shapes: B pictures of C channels, H × W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.pieces.dropout import Dropout
from seminal.pieces.init import constant, fill, he
from seminal.pieces.measure import count, on_meta, shapes
from seminal.pieces.pictures import changed_input, example, fit


@dataclass(frozen=True)
class Config:
    blocks: tuple[int, ...]  # layers per dense block
    growth: int  # k: maps that each layer adds
    bottleneck: bool = True  # B
    compression: float = 0.5  # θ of C; 1: a transition keeps the number of maps
    large_stem: bool = True  # 7 × 7 convolution at stride 2 and pooling (ImageNet), or one 3 × 3 convolution (CIFAR)
    dropout: float = 0.0  # after each convolution but the first; 0.2 in the paper where pictures are not augmented
    in_channels: int = 3  # C
    size: tuple[int, int] = (224, 224)  # H, W
    outputs: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.compression <= 1:
            raise UserError(f"a transition cannot make {self.compression} times its maps: write 0 < compression <= 1.")

    @property
    def first(self) -> int:
        """k_0: maps of the first convolution (Sec. 3, implementation details)."""
        return 2 * self.growth if self.bottleneck and self.compression < 1 else 16

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Height and width in each dense block."""
        height, width = self.size
        for _ in range(2 * self.large_stem):  # conv0, and the pooling after it
            height, width = (height + 1) // 2, (width + 1) // 2
        return tuple((height >> i, width >> i) for i in range(len(self.blocks)))

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures of at least 32 × 32 pixels (8 × 8 with the small stem); raises `UserError` for other data."""
        least, shrinks, instead = (32, 5, "densenet-bc100-k12") if self.large_stem else (8, 2, "mlp")
        found = fit(spec, "this DenseNet", least=least, shrinks=shrinks, instead=instead)
        return replace(self, in_channels=found.in_channels, size=found.size, outputs=found.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from the nearest network of the paper."""
        size, outputs = ((224, 224), 1000) if self.large_stem else ((32, 32), 10)
        printed = replace(self, dropout=0.0, in_channels=3, size=size, outputs=outputs)
        found = []
        if printed not in TABLES:
            kind = f"blocks {self.blocks}, growth rate {self.growth}"
            kind += f", {'with' if self.bottleneck else 'no'} bottleneck, compression {self.compression:g}"
            found.append(Departure(f"{kind}: not a network of the paper's tables", "chosen by you", "Tables 1 and 2"))
        allowed = (0.0,) if self.large_stem else (0.0, 0.2)
        if self.dropout not in allowed:
            rates = " or ".join(f"{rate:g}" for rate in allowed)
            what = f"dropout {self.dropout:g} (paper: {rates})"
            found.append(Departure(what, "chosen by the recipe", "Sec. 4.2"))
        return (*found, *changed_input(self, printed, "Sec. 3, implementation details"))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) standard normal numbers."""
        return example(self, batch)


# ------------------------------------------------------------------------------------------------- the contribution

# How BN-ReLU-Conv of maps side by side is computed, from the normalisation, the convolution and the maps. The numbers
# are always the same; Pleiss et al. 2017 compute them with less memory (`papers/densenet_memory.py`).
Compute = Callable[[nn.Module, nn.Module, Sequence[Tensor]], Tensor]


def at_once(norm: nn.Module, conv: nn.Module, maps: Sequence[Tensor]) -> Tensor:
    """Conv(ReLU(BN([x_0, …]))), as it is written. What each step gives is kept for the backward pass."""
    y: Tensor = conv(F.relu(norm(side_by_side(maps)), inplace=True))
    return y


def side_by_side(maps: Sequence[Tensor]) -> Tensor:
    """[x_0, x_1, …] of Eq. 2; a single map is read where it is."""
    return maps[0] if len(maps) == 1 else torch.cat(list(maps), 1)


class Composite(nn.Module):
    """BN-ReLU-Conv of maps side by side: the composite function of Sec. 3, and each "conv" of Table 1."""

    def __init__(self, inputs: int, outputs: int, kernel: int, compute: Compute) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.compute = compute

    def forward(self, maps: list[Float[Tensor, "batch _ height width"]]) -> Float[Tensor, "batch out height width"]:
        return self.compute(self.norm, self.conv, maps)


class DenseLayer(nn.Module):
    """H_l of Eq. 2: k new maps from all maps so far. With a bottleneck, by way of 4k maps."""

    def __init__(self, config: Config, inputs: int, compute: Compute) -> None:
        super().__init__()
        narrow = 4 * config.growth if config.bottleneck else inputs
        self.bottleneck = Composite(inputs, narrow, 1, compute) if config.bottleneck else None
        self.grow = Composite(narrow, config.growth, 3, compute)
        self.dropout = Dropout(config.dropout)

    def forward(self, maps: list[Float[Tensor, "batch _ height width"]]) -> Float[Tensor, "batch k height width"]:
        if self.bottleneck is not None:
            maps = [self.dropout(self.bottleneck(maps))]
        y: Tensor = self.dropout(self.grow(maps))
        return y


class DenseBlock(nn.ModuleList):
    """Layers that each read what all before them made, and the block's input (Fig. 1)."""

    def forward(self, x: Float[Tensor, "batch k0 height width"]) -> list[Float[Tensor, "batch _ height width"]]:
        maps = [x]
        for layer in self:
            maps.append(layer(maps))
        return maps


# -------------------------------------------------------------------------------------------------------- the model


class Transition(nn.Module):
    """Between two blocks: fewer maps, half the size."""

    def __init__(self, config: Config, inputs: int, compute: Compute) -> None:
        super().__init__()
        self.squeeze = Composite(inputs, int(config.compression * inputs), 1, compute)
        self.dropout = Dropout(config.dropout)
        self.pool = nn.AvgPool2d(2)

    def forward(self, maps: list[Float[Tensor, "batch _ height_in width_in"]]) -> Float[Tensor, "batch out h w"]:
        y: Tensor = self.pool(self.dropout(self.squeeze(maps)))
        return y


class DenseNet(nn.Module):
    """Stem, dense blocks with transitions between them, global average pooling, one linear layer (Table 1).

    ``compute`` decides how its BN-ReLU-Conv are computed, not what they give.
    """

    def __init__(self, config: Config, compute: Compute = at_once) -> None:
        super().__init__()
        large, channels = config.large_stem, config.first
        self.conv0 = nn.Conv2d(
            config.in_channels, channels, 7 if large else 3, 2 if large else 1, padding=3 if large else 1, bias=False
        )
        self.norm0 = nn.BatchNorm2d(channels) if large else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.pool0 = nn.MaxPool2d(3, stride=2, padding=1)
        self.large = large
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        for depth in config.blocks:
            if self.blocks:
                self.transitions.append(Transition(config, channels, compute))
                channels = int(config.compression * channels)
            inputs = [channels + config.growth * i for i in range(depth)]
            self.blocks.append(DenseBlock(DenseLayer(config, n, compute) for n in inputs))
            channels += config.growth * depth
        self.norm = nn.BatchNorm2d(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, config.outputs)
        fill(self, weights=he, biases=constant(0.0))  # Sec. 4.2: the initialisation of its ref. [10], He et al. 2015

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        x = self.conv0(x)  # 3 × 224 × 224 -> 2k × 112 × 112                         (CIFAR: 16 or 2k × 32 × 32)
        if self.large:
            x = self.pool0(self.relu(self.norm0(x)))  # 2k × 56 × 56
        maps = self.blocks[0](x)
        for transition, block in zip(self.transitions, self.blocks[1:]):
            maps = block(transition(maps))  # 56 × 56 -> 28 × 28 -> 14 × 14 -> 7 × 7   (CIFAR: 32, 16, 8)
        x = self.relu(self.norm(side_by_side(maps)))  # k_0 + k · layers maps
        y: Tensor = self.fc(self.pool(x).flatten(1))  # (B, maps, 1, 1) -> (B, maps) -> (B, outputs)
        return y


# ------------------------------------------------------------------------------------------------- variants and facts


def _cifar(depth: int, growth: int, *, bc: bool) -> Config:
    """Three blocks of equal depth: ``depth`` less the first convolution, two transitions and the linear layer."""
    layers = (depth - 4) // (6 if bc else 3)
    theta = 0.5 if bc else 1.0
    return Config((layers,) * 3, growth, bc, theta, large_stem=False, size=(32, 32), outputs=10)


VARIANTS = {
    "densenet121": Config((6, 12, 24, 16), 32),
    "densenet169": Config((6, 12, 32, 32), 32),
    "densenet201": Config((6, 12, 48, 32), 32),
    "densenet264": Config((6, 12, 64, 48), 32),
    # In Table 1 of the versions before the fifth, which has 264 instead, and among the weights the authors published.
    "densenet161": Config((6, 12, 36, 24), 48),
    "densenet40-k12": _cifar(40, 12, bc=False),
    "densenet100-k12": _cifar(100, 12, bc=False),
    "densenet100-k24": _cifar(100, 24, bc=False),
    "densenet-bc100-k12": _cifar(100, 12, bc=True),
    "densenet-bc250-k24": _cifar(250, 24, bc=True),
    "densenet-bc190-k40": _cifar(190, 40, bc=True),
}
TABLES = tuple(VARIANTS.values())

IMAGENET = (112, 56, 56, 56, 28, 28, 28, 14, 14, 14, 7, 7)  # Table 1, output sizes from Convolution to Dense Block (4)
CIFAR = (32, 32, 32, 16, 16, 16, 8, 8)  # Sec. 3: 32, 16, 8 in the blocks


def _depth(name: str) -> int:
    """Convolutions and the linear layer."""
    return sum(isinstance(m, nn.Conv2d | nn.Linear) for m in on_meta(build, VARIANTS[name]).modules())


def _sizes(name: str) -> list[int]:
    """Height after conv0, pool0, and of each block, each transition's convolution and each transition's pooling."""
    config = VARIANTS[name]
    # Without numbers in the weights, but not on the meta device: hundreds of layers take seconds there.
    found = shapes(on_meta(build, config).to_empty(device="cpu"), *config.example(1))
    names = ["conv0", *["pool0"] * config.large_stem]
    for i in range(len(config.blocks)):
        names += [f"transitions.{i - 1}.squeeze", f"transitions.{i - 1}"] * (i > 0) + [f"blocks.{i}.0.grow"]
    return [found[name][1] for name in names]


def _read(name: str) -> list[int]:
    """Maps that each layer of the first block reads."""
    block = on_meta(build, VARIANTS[name]).get_submodule("blocks.0")
    return [next(m for m in layer.modules() if isinstance(m, nn.Conv2d)).in_channels for layer in block.children()]


def _connections(layers: int) -> int:
    """Outputs that are read, counted at each layer of a block as it runs."""
    config, read = replace(VARIANTS["densenet40-k12"], blocks=(layers,), growth=4), []
    model = on_meta(build, config)
    for layer in model.get_submodule("blocks.0").children():
        layer.register_forward_pre_hook(lambda module, args: read.append(len(args[0])))
    with torch.device("meta"):
        model(*config.example(1))
    return sum(read)


def _widths(name: str) -> list[float]:
    """Maps made by the first convolution, by the first bottleneck, and by each transition for all that it reads."""
    convolutions = {n: m for n, m in on_meta(build, VARIANTS[name]).named_modules() if isinstance(m, nn.Conv2d)}
    squeezes = [m for n, m in convolutions.items() if n.startswith("transitions")]
    found = [convolutions["conv0"], *(m for n, m in convolutions.items() if n == "blocks.0.0.bottleneck.conv")]
    return [float(m.out_channels) for m in found] + [m.in_channels / m.out_channels for m in squeezes]


def _start() -> float:
    """√(mean of w² · inputs / 2) over all convolutions: 1 where the initialisation is He's."""
    layers = [m for m in build(VARIANTS["densenet40-k12"]).modules() if isinstance(m, nn.Conv2d)]
    ratios = [m.weight.detach().square() * (m.weight[0].numel() / 2) for m in layers]
    return float(torch.cat([r.flatten() for r in ratios]).mean().sqrt())


def _facts() -> Iterator[Fact]:
    printed = (1.0, 7.0, 27.2, 0.8, 15.3, 25.6)
    for name, millions in zip((n for n in VARIANTS if "-k" in n), printed):
        measure = partial(count, build, VARIANTS[name])
        yield Fact(f"{millions} M parameters", "Table 2", millions * 1e6, measure, 5e4, name)
    measure = partial(count, build, VARIANTS["densenet201"])
    yield Fact("20 M parameters", "Sec. 4.4", 20e6, measure, 5e5, "densenet201")
    for name in VARIANTS:
        where, sizes = ("Sec. 3", CIFAR) if "-k" in name else ("Table 1", IMAGENET)
        yield Fact(
            f"sizes of the maps: {', '.join(map(str, sizes))}", where, sizes, partial(_sizes, name), variant=name
        )
        depth = int("".join(c for c in name.split("-k")[0] if c.isdigit()))
        # By the paper's own count, two convolutions in each of 6 + 12 + 64 + 48 layers and five others are 265.
        if name != "densenet264":
            yield Fact(f"{depth} layers", where, depth, partial(_depth, name), variant=name)
    yield Fact("L layers have L (L + 1) / 2 connections: 15 for 5", "abstract and Fig. 1", 15, partial(_connections, 5))
    says, reads = "layer l reads k_0 + k (l − 1) maps", tuple(16 + 12 * i for i in range(12))
    yield Fact(says, "Sec. 3, growth rate", reads, partial(_read, "densenet40-k12"), variant="densenet40-k12")
    says = "first convolution 16, transitions keep the number of maps"
    yield Fact(says, "Sec. 3", (16, 1, 1), partial(_widths, "densenet100-k24"), variant="densenet100-k24")
    for name, widths in {"densenet-bc190-k40": (80, 160, 2, 2), "densenet121": (64, 128, 2, 2, 2)}.items():
        says = "first convolution 2k, bottlenecks 4k, transitions halve the number of maps"
        yield Fact(says, "Sec. 3", widths, partial(_widths, name), variant=name)
    # The sampling error with a million weights is 0.0007.
    says = "weights start normal with variance 2 / inputs of a unit"
    yield Fact(says, "Sec. 4.2 and its ref. [10], Eq. 10", 1.0, _start, 0.005, "densenet40-k12")


def _results() -> Iterator[Result]:
    errors = {  # C10, C10+, C100, C100+, SVHN; "+": shifted and mirrored pictures. Without, dropout is 0.2.
        "densenet40-k12": (7.00, 5.24, 27.55, 24.42, 1.79),
        "densenet100-k12": (5.77, 4.10, 23.79, 20.20, 1.67),
        "densenet100-k24": (5.83, 3.74, 23.42, 19.25, 1.59),
        "densenet-bc100-k12": (5.92, 4.51, 24.15, 22.27, 1.76),
        "densenet-bc250-k24": (5.19, 3.62, 19.64, 17.60, 1.74),
        "densenet-bc190-k40": (None, 3.46, None, 17.18, None),
    }
    sets = ("CIFAR-10 test", "CIFAR-10 test", "CIFAR-100 test", "CIFAR-100 test", "SVHN test")
    plain, augmented = "top-1 error %, dropout, no augmentation", "top-1 error %, augmented"
    for name, row in errors.items():
        for data, metric, error in zip(sets, (plain, augmented, plain, augmented, plain), row):
            if error is not None:
                yield Result(name, data, metric, error, "Table 2")
    one_and_ten = {  # top-1 with one crop and with ten, top-5 with one and with ten
        "densenet121": (25.02, 23.61, 7.71, 6.66),
        "densenet169": (23.80, 22.08, 6.85, 5.92),
        "densenet201": (22.58, 21.46, 6.34, 5.54),
        "densenet264": (22.15, 20.80, 6.12, 5.29),
    }
    metrics = [f"top-{n} error %, {crops}" for n in (1, 5) for crops in ("one crop", "10 crops")]
    for name, found in one_and_ten.items():
        for metric, value in zip(metrics, found):
            yield Result(name, "ImageNet 2012 validation", metric, value, "Table 3")


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return DenseNet(config)


PAPER = Paper(
    title="Densely Connected Convolutional Networks",
    authors="Gao Huang, Zhuang Liu, Laurens van der Maaten, Kilian Q. Weinberger",
    year=2016,
    venue="CVPR 2017, arXiv 1608.06993",
    url="https://arxiv.org/abs/1608.06993",
    idea="Let every layer read all layers before it.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=tuple(_results()),
)
