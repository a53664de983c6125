"""Pre-activation ResNet.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun, "Identity Mappings in Deep Residual Networks", arXiv 1603.05027,
March 2016; ECCV 2016.

The idea: in a ResNet the ReLU after each addition stands in the way between one unit and the next. Move normalisation and
ReLU *before* the convolutions, and nothing but additions is left on the path from the first unit to the last: signals
and gradients then pass through any number of units unchanged, and 1001 layers train with ease.

    y_l = h(x_l) + F(x_l, W_l),  x_{l+1} = f(y_l)                                            (1), (2)
    x_L = x_l + Σ_{i=l}^{L−1} F(x_i, W_i)                  where h and f are identities        (4)
    ∂E/∂x_l = ∂E/∂x_L (1 + ∂/∂x_l Σ_{i=l}^{L−1} F(x_i, W_i))                                 (5)
    ∂E/∂x_l = ∂E/∂x_L (Π_{i=l}^{L−1} λ_i + …)              where h(x) = λ x                    (8)
    x_{l+1} = x_l + F(f̂(x_l), W_l)                         f̂: the pre-activation, BN and ReLU  (9)

The paper compares five orders of the same layers (Fig. 4, Table 2) and six shortcuts (Fig. 2, Table 1); all are here.

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
from seminal.papers.resnet import basic, bottleneck, convolution, shortcut
from seminal.pieces.counts import weights
from seminal.pieces.dropout import Dropout
from seminal.pieces.init import constant, fill, he
from seminal.pieces.measure import count, on_meta, stages
from seminal.pieces.pictures import changed_input, example, fit

Input = Float[Tensor, "batch channels_in height_in width_in"]
Map = Float[Tensor, "batch channels height width"]

# What stands before the first convolution of a unit, after its last one, and after the addition (Fig. 4). Between the
# convolutions stand BN and ReLU in all of them: the same layers, in five orders.
ORDERS = {
    "original": ("", "bn", "relu"),
    "bn-after-addition": ("", "", "bn relu"),
    "relu-before-addition": ("", "bn relu", ""),
    "relu-only": ("relu", "bn", ""),
    "full": ("bn relu", "", ""),
}
SHORTCUTS = ("identity", "halved", "scaling", "exclusive-gating", "shortcut-gating", "convolution", "dropout")  # Fig. 2


@dataclass(frozen=True)
class Config:
    blocks: tuple[int, ...]  # residual units per stage
    layers: int = 3  # K, convolutions per unit: 3 is a bottleneck, 2 a basic unit, 1 a shortcut over every layer
    order: str = "full"  # of the layers in a unit: a row of Table 2
    skip: str = "identity"  # what the shortcut does: a row of Table 1
    gate_bias: float = -6.0  # b_g at the start, where there are gates
    large_stem: bool = True  # 7 × 7 convolution at stride 2 and pooling (ImageNet), or one 3 × 3 convolution (CIFAR)
    stride_in_3x3: bool = False  # where a bottleneck halves the map: in its 3 × 3 convolution, or in the first 1 × 1
    pool_first: bool = False  # the stem pools before the first BN and ReLU, not after
    in_channels: int = 3  # C
    size: tuple[int, int] = (224, 224)  # H, W
    outputs: int = 1000

    def __post_init__(self) -> None:
        for what, chosen, known in (("order", self.order, tuple(ORDERS)), ("shortcut", self.skip, SHORTCUTS)):
            if chosen not in known:
                raise UserError(f"a residual unit has no {what} {chosen!r}. Choose one of: {', '.join(known)}.")

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures of at least 32 × 32 pixels (8 × 8 with the small stem); raises `UserError` for other data."""
        least, shrinks, instead = (32, 5, "preresnet164") if self.large_stem else (8, 2, "mlp")
        found = fit(spec, "this pre-activation ResNet", least=least, shrinks=shrinks, instead=instead)
        return replace(self, in_channels=found.in_channels, size=found.size, outputs=found.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from the nearest network of the paper."""
        size, outputs = ((224, 224), 1000) if self.large_stem else ((32, 32), 10)
        printed = replace(self, stride_in_3x3=False, pool_first=False, in_channels=3, size=size, outputs=outputs)
        found = []
        if printed not in TABLES:
            depth = self.layers * sum(self.blocks) + 2
            what = f"{depth} layers, order {self.order}, shortcut {self.skip}: not a network of the paper's tables"
            found.append(Departure(what, "chosen by you", "Tables 1, 2, 3 and 5"))
        if self.stride_in_3x3:
            what = 'stride 2 in the 3 × 3 convolution of a bottleneck, "v1.5" (paper: in the first 1 × 1)'
            found.append(Departure(what, "timm's weights need it", "appendix"))
        if self.pool_first:
            what = "pooling before the first BN and ReLU (paper: these come right after conv1)"
            found.append(Departure(what, "timm's weights need it", "appendix"))
        return (*found, *changed_input(self, printed))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) standard normal numbers."""
        return example(self, batch)


# ------------------------------------------------------------------------------------------------- the contribution


class Unit(nn.Module):
    """A residual unit: x → after(merge(shortcut(x), F(activation(x)))).

    In the paper's own unit ``activation`` is BN and ReLU, ``merge`` the addition and ``after`` nothing (Eq. 9).
    """

    def __init__(self, activation: nn.Module, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.activation = activation  # f̂, on the way into F alone …
        self.branch = branch
        self.shortcut = shortcut
        self.projects = bool(list(shortcut.parameters()))  # … but a projection is pre-activated too (appendix)
        self.merge: nn.Module = Sum()
        self.after: nn.Module = nn.Identity()

    def forward(self, x: Input) -> Map:
        active = self.activation(x)
        kept = self.shortcut(active if self.projects else x)
        y: Tensor = self.after(self.merge(x, kept, self.branch(active)))
        return y


class Sum(nn.Module):
    """Fig. 2(a): nothing but the addition."""

    def forward(self, x: Input, kept: Map, change: Map) -> Map:
        return kept + change


class Scaled(nn.Module):
    """Fig. 2(b): shortcut and F times a constant each."""

    def __init__(self, on_shortcut: float, on_branch: float) -> None:
        super().__init__()
        self.on_shortcut, self.on_branch = on_shortcut, on_branch

    def forward(self, x: Input, kept: Map, change: Map) -> Map:
        return self.on_shortcut * kept + self.on_branch * change


class Gated(nn.Module):
    """Fig. 2(c, d): (1 − g) times the shortcut, g(x) = σ(W_g x + b_g), and F times g where the gates are exclusive."""

    def __init__(self, gate: nn.Conv2d, *, exclusive: bool) -> None:
        super().__init__()
        self.gate, self.exclusive = gate, exclusive

    def forward(self, x: Input, kept: Map, change: Map) -> Map:
        g = torch.sigmoid(self.gate(x))
        return (1 - g) * kept + (g * change if self.exclusive else change)


def series(words: str, channels: int) -> nn.Module:
    """The layers named by ``words``, each under its name: "bn", "relu", both or none."""
    # A ReLU alone would overwrite what the shortcut reads.
    made = {"bn": nn.BatchNorm2d(channels), "relu": nn.ReLU(inplace="bn" in words)}
    layers = [(word, made[word]) for word in words.split()]
    return nn.Sequential(OrderedDict[str, nn.Module](layers)) if layers else nn.Identity()


def residual(convolutions: list[nn.Conv2d], order: str) -> nn.Sequential:
    """F: the convolutions with BN and ReLU between them, and what this order has after the last one.

    A BN has the number of the convolution it belongs to: the one behind it in the paper's unit, else the one before it.
    """
    layers, shift = OrderedDict[str, nn.Module](), int(order == "full")
    for k, conv in enumerate(convolutions):
        if k > 0:
            layers[f"bn{k + shift}"] = nn.BatchNorm2d(conv.in_channels)
            layers[f"relu{k + shift}"] = nn.ReLU(inplace=True)
        layers[f"conv{k + 1}"] = conv
    for name, layer in series(ORDERS[order][1], conv.out_channels).named_children():
        layers[f"{name}{len(convolutions)}"] = layer
    return nn.Sequential(layers)


def convolutions(config: Config, inputs: int, outputs: int, stride: int) -> list[nn.Conv2d]:
    """The weight layers of a unit: those of a ResNet's block, or a single one."""
    block: nn.Sequential = nn.Sequential(convolution(inputs, outputs, 3, stride))
    if config.layers > 1:
        deep = partial(bottleneck, stride_in_3x3=config.stride_in_3x3)
        block = (deep if config.layers == 3 else basic)(inputs, outputs, stride)
    return [layer for layer in block if isinstance(layer, nn.Conv2d)]


def unit(config: Config, inputs: int, outputs: int, stride: int) -> Unit:
    """A unit in the config's order, with the config's shortcut."""
    before, _, after = ORDERS[config.order]
    option = "C" if config.skip == "convolution" else "B" if config.layers == 3 else "A"
    path = shortcut(option, inputs, outputs, stride) or nn.Identity()
    if isinstance(path, nn.Sequential) and config.order == "full":
        path = path[0]  # BN stands before the projection, not after it
    if config.skip == "dropout":
        path = nn.Sequential(path, Dropout(0.5))
    made = Unit(series(before, inputs), residual(convolutions(config, inputs, outputs, stride), config.order), path)
    made.after = series(after, outputs)
    if config.skip in ("halved", "scaling"):
        made.merge = Scaled(0.5, 1.0 if config.skip == "halved" else 0.5)
    if config.skip in ("exclusive-gating", "shortcut-gating"):
        made.merge = Gated(nn.Conv2d(inputs, outputs, 1, stride), exclusive=config.skip == "exclusive-gating")
    return made


# -------------------------------------------------------------------------------------------------------- the model


class PreActResNet(nn.Module):
    """Stem, stages of residual units, the last activation, global average pooling, one linear layer (appendix)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        large = config.large_stem
        width = 64 if large else 16
        self.conv1 = convolution(config.in_channels, width, 7 if large else 3, 2 if large else 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        pool = nn.MaxPool2d(3, stride=2, padding=1) if large else nn.Identity()
        self.pool0: nn.Module = pool if config.pool_first else nn.Identity()
        self.pool1: nn.Module = nn.Identity() if config.pool_first else pool
        stages, inputs = OrderedDict[str, nn.Module](), width
        for i, depth in enumerate(config.blocks):
            outputs = width * 2**i * (4 if config.layers == 3 else 1)
            units = []
            for n in range(depth):
                units.append(unit(config, inputs, outputs, stride=2 if i > 0 and n == 0 else 1))
                inputs = outputs
            if i == 0:  # its activation is the stem's, "right after conv1 and before splitting into two paths"
                units[0].activation = nn.Identity()
            stages[f"conv{i + 2}_x"] = nn.Sequential(*units)
        self.stages = nn.Sequential(stages)
        self.last = series(ORDERS[config.order][0], inputs)  # the activation the next unit would have had
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, config.outputs)
        fill(self, weights=he, biases=constant(0.0))  # appendix: as in its ref. [23], He et al. 2015
        for gates in (m for m in self.modules() if isinstance(m, Gated)):
            fill(gates, weights=he, biases=constant(config.gate_bias))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        x = self.conv1(x)  # 3 × 224 × 224 -> 64 × 112 × 112                              (CIFAR: 16 × 32 × 32)
        x = self.relu(self.bn1(self.pool0(x)))
        x = self.pool1(x)  # 64 × 56 × 56                                                 (CIFAR: no pooling)
        x = self.stages(x)  # -> 56 × 56 -> 28 × 28 -> 14 × 14 -> 7 × 7                   (CIFAR: 32, 16, 8)
        x = self.pool(self.last(x)).flatten(1)  # (B, channels, 1, 1) -> (B, channels)
        y: Tensor = self.fc(x)
        return y


# ------------------------------------------------------------------------------------------------- variants and facts

B101, B152, B200 = (3, 4, 23, 3), (3, 8, 36, 3), (3, 24, 36, 3)  # footnote 3: 16 more units than 152 layers have


def _cifar(depth: int, layers: int = 2, order: str = "full", skip: str = "identity") -> Config:
    n = (depth - 2) // (3 * layers)
    return Config((n, n, n), layers, order, skip, large_stem=False, size=(32, 32), outputs=10)


BASELINE = _cifar(110, order="original")  # the resnet110 of He et al. 2015
PRINTED = {
    "preresnet110": _cifar(110),
    "preresnet164": _cifar(164, layers=3),
    "preresnet1001": _cifar(1001, layers=3),
    "preresnet110-1layer": _cifar(110, layers=1),
    "preresnet152": Config(B152),
    "preresnet200": Config(B200),
    # What the paper compares them with: the original unit (its resnet110 and resnet152 are those of He et al. 2015) …
    "resnet164": _cifar(164, layers=3, order="original"),
    "resnet1001": _cifar(1001, layers=3, order="original"),
    "resnet110-1layer": _cifar(110, layers=1, order="original"),
    "resnet200": Config(B200, order="original"),
    # … the other orders of Table 2 …
    **{f"resnet110-{order}": _cifar(110, order=order) for order in list(ORDERS)[1:4]},
    **{f"resnet164-{order}": _cifar(164, layers=3, order=order) for order in list(ORDERS)[1:4]},
    "resnet101-bn-after-addition": Config(B101, order="bn-after-addition"),  # Sec. 5
    # … and the other shortcuts of Table 1.
    **{f"resnet110-{skip}": replace(BASELINE, skip=skip) for skip in SHORTCUTS[1:]},
}
TABLES = (BASELINE, Config(B152, order="original"), *PRINTED.values())

VARIANTS = {
    **PRINTED,
    **{
        f"preresnet{depth}-v1.5": Config(blocks, stride_in_3x3=True, pool_first=True)
        for depth, blocks in ((50, (3, 4, 6, 3)), (101, B101), (152, B152))
    },
}


IMAGENET = ((256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7))  # after each stage
NARROW = ((16, 32, 32), (32, 16, 16), (64, 8, 8))
WIDE = ((64, 32, 32), (128, 16, 16), (256, 8, 8))  # of bottlenecks
MAPS = {
    "preresnet110": NARROW,
    "preresnet164": WIDE,
    "preresnet110-1layer": NARROW,
    **dict.fromkeys(("preresnet152", "preresnet200"), IMAGENET),
}


def _maps(name: str) -> list[tuple[int, ...]]:
    found = stages(build, VARIANTS[name])
    return [found[f"stages.conv{i + 2}_x"] for i in range(len(VARIANTS[name].blocks))]


def _depth(name: str) -> int:
    """Layers with weights, fc among them: not those on shortcuts."""
    layers = on_meta(build, VARIANTS[name]).named_modules()
    off = ("shortcut", "merge")
    return sum(isinstance(m, nn.Conv2d) and not any(part in path for part in off) for path, m in layers) + 1


def _stage(config: Config) -> nn.Sequential:
    """The first stage, whose units keep the shape, with weights of double precision."""
    stage = build(replace(config, blocks=config.blocks[:1])).double().get_submodule("stages.conv2_x")
    assert isinstance(stage, nn.Sequential)
    return stage


def _unrolled() -> float:
    """Largest difference between x_L and x_l + Σ F, as a share of x_L, over the 18 units of a stage of 110 layers."""
    stage, x = _stage(VARIANTS["preresnet110"]), torch.randn(2, 16, 8, 8, dtype=torch.float64, device="cpu")
    changes: list[Tensor] = []
    for u in stage:
        u.get_submodule("branch").register_forward_hook(lambda _, __, output: changes.append(output))
    with torch.no_grad():
        deep = stage(x)
    return float((deep - (x + torch.stack(changes).sum(0))).abs().max() / deep.abs().max())


def _direct(skip: str) -> float:
    """What of a gradient arrives through 18 units whose F gives nothing: the product of the λ of Eq. 8."""
    stage = _stage(replace(VARIANTS["preresnet110"], skip=skip))
    for u in stage:
        nn.init.zeros_(u.get_parameter("branch.conv2.weight"))
    x = torch.randn(2, 16, 8, 8, dtype=torch.float64, device="cpu").requires_grad_()
    (gradient,) = torch.autograd.grad(stage(x).sum(), x)
    return float(gradient.max()) if gradient.max() == gradient.min() else float("nan")


def _facts() -> Iterator[Fact]:
    # Counted without normalisation, as the same authors do in other papers too (see resnext.py): with its gains and
    # shifts the 1001 layers have 10.33 M parameters.
    for name, millions in {"resnet164": 1.7, "preresnet164": 1.7, "resnet1001": 10.2, "preresnet1001": 10.2}.items():
        measure = partial(weights, build, VARIANTS[name])
        yield Fact(f"{millions} M parameters", "Table 4", millions * 1e6, measure, 5e4, name)
    for name in PRINTED:
        if name.startswith("pre") and name != "preresnet1001":  # seconds, for the maps of 164 layers
            maps = MAPS[name]
            says = f"after the stages: {', '.join('×'.join(map(str, shape)) for shape in maps)}"
            yield Fact(says, "appendix and ref. [1]", maps, partial(_maps, name), variant=name)
        depth = int(name.split("-")[0].removeprefix("pre").removeprefix("resnet"))
        yield Fact(f"{depth} layers with weights", "Tables 1 to 5", depth, partial(_depth, name), variant=name)
    says, of = "1001 layers are 333 units, 111 on each map size", VARIANTS["preresnet1001"].blocks
    yield Fact(says, "Sec. 4.1", (333, 111, 111, 111), lambda: (sum(of), *of), variant="preresnet1001")
    more = [a - b for a, b in zip(VARIANTS["preresnet200"].blocks, VARIANTS["preresnet152"].blocks)]
    says = "200 layers are 16 units more than 152, on maps of 28 × 28"
    yield Fact(says, "Sec. 5, footnote 3", (0, 16, 0, 0), lambda: more, variant="preresnet200")
    says, orders = "no order has a parameter more or less", [_cifar(110, order=order) for order in ORDERS]
    yield Fact(says, "Fig. 4", (0,) * 5, lambda: [count(build, c) - count(build, BASELINE) for c in orders])
    # 0 but for the rounding of float64 in 18 sums.
    yield Fact("x_L = x_l + Σ F over 18 units", "Eq. 4", 0.0, _unrolled, 1e-14, "preresnet110")
    yield Fact("the gradient's term 1", "Eq. 5", 1.0, partial(_direct, "identity"), variant="preresnet110")
    yield Fact("with λ = 0.5 the term is 0.5^18 after 18 units", "Eq. 8", 0.5**18, partial(_direct, "halved"))


def _results() -> Iterator[Result]:
    # Medians of five runs. Where the paper prints "fail" (over 20 %) there is no number. Gates with b_g = −6; with −7
    # exclusive gating has 9.81, with 0 gating of the shortcut only has 12.86.
    rows = {"scaling": 12.35, "exclusive-gating": 8.70, "shortcut-gating": 6.91, "convolution": 12.22}
    errors = {f"resnet110-{skip}": (error, "Table 1") for skip, error in rows.items()}
    for order, pair in zip(list(ORDERS)[1:4], ((8.17, 6.50), (7.84, 6.14), (6.71, 5.91))):
        errors |= {f"resnet{depth}-{order}": (error, "Table 2") for depth, error in zip((110, 164), pair)}
    errors |= {"preresnet110": (6.37, "Table 2"), "preresnet164": (5.46, "Table 2"), "resnet164": (5.93, "Table 2")}
    errors |= {"resnet1001": (7.61, "Table 3"), "preresnet1001": (4.92, "Tables 3 and 4")}  # 4.62 in batches of 64
    errors |= {"resnet110-1layer": (9.90, "Table 3"), "preresnet110-1layer": (8.91, "Table 3")}
    for name, (error, where) in errors.items():
        yield Result(name, "CIFAR-10 test", "top-1 error %, median of 5", error, where)
    hundred = {"resnet164": 25.16, "preresnet164": 24.33, "resnet1001": 27.82, "preresnet1001": 22.71}
    for name, error in hundred.items():
        yield Result(name, "CIFAR-100 test", "top-1 error %, median of 5", error, "Tables 3 and 4")
    data = "ImageNet 2012 validation"
    for name, pair in {"preresnet152": (21.1, 5.5), "resnet200": (21.8, 6.0), "preresnet200": (20.7, 5.3)}.items():
        for k, error in zip((1, 5), pair):
            yield Result(name, data, f"top-{k} error %, one crop of 320", error, "Table 5")
    yield Result("resnet101-bn-after-addition", data, "top-1 error %, one crop", 24.6, "Sec. 5")
    yield Result("resnet101-bn-after-addition", data, "top-5 error %, one crop", 7.5, "Sec. 5")


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return PreActResNet(config)


PAPER = Paper(
    title="Identity Mappings in Deep Residual Networks",
    authors="Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun",
    year=2016,
    venue="ECCV 2016, arXiv 1603.05027",
    url="https://arxiv.org/abs/1603.05027",
    idea="Leave nothing but additions on the path from the first unit to the last.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=tuple(_results()),
)
