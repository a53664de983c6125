"""SENet.

Jie Hu, Li Shen, Samuel Albanie, Gang Sun, Enhua Wu, "Squeeze-and-Excitation Networks", arXiv 1709.01507, September 2017;
CVPR 2018, and with the sections and tables cited here IEEE TPAMI 2020.

The idea: a convolution adds up its input channels with the same weights for every picture. Let the network look at the
whole picture first (squeeze: one average per channel), decide from it which channels matter (excitation: a gate between 0
and 1 per channel), and multiply each channel by its gate. The block fits behind any transformation of any network, costs
next to nothing, and makes 50 layers about as accurate as 101.

    z_c = 1/(H·W) Σ_i Σ_j u_c(i, j)                       squeeze                                (2)
    s = σ(W_2 δ(W_1 z)),  δ = ReLU, σ = sigmoid           excitation; W_1 leaves C/r of C         (3)
    x̃_c = s_c u_c                                         scaling                                (4)
    2/r Σ_s N_s C_s²                                      weights that N_s blocks of C_s bring   (5)

In a residual network the block stands at the end of each branch, before the addition; in an Inception network behind each
module (Sec. 3.3). `plug` puts it there. The gates of a picture are the output of each block's ``gate``.

Shapes: B pictures of C channels, H × W pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.papers import bn_inception, preact_resnet, resnet, resnext
from seminal.papers.resnet import Residual, convolution
from seminal.pieces.counts import stored
from seminal.pieces.dropout import Dropout
from seminal.pieces.init import constant, fill, he
from seminal.pieces.measure import count, on_meta, stages, work
from seminal.pieces.pictures import changed_input, example

HOUSES = (resnet, preact_resnet, resnext, bn_inception)  # the papers whose networks can have gates
Backbone = resnet.Config | preact_resnet.Config | resnext.Config | bn_inception.Config


@dataclass(frozen=True)
class Config:
    network: str  # a variant of one of HOUSES, or senet154
    reduction: int = 16  # r
    bias: bool = True  # of the two layers of the gate; Sec. 6 leaves them out
    stages: tuple[int, ...] = (2, 3, 4, 5)  # those with gates: conv2_x is stage 2
    caffe_pool: bool = False  # the stem's pooling windows begin in the corner, and the last ones are cut off
    in_channels: int = 3  # C
    size: tuple[int, int] = (224, 224)  # H, W
    outputs: int = 1000

    @property
    def backbone(self) -> Backbone:
        """The network without gates; of SENet-154 the ResNeXt-152 that it was made from."""
        found: Backbone = resnext.Config((3, 8, 36, 3), cardinality=64, width=4)
        if self.network != "senet154":
            found = _house(self.network).VARIANTS[self.network]
        if isinstance(found, bn_inception.Config):
            found = replace(found, separable=False)  # Table 2 has the work of a plain convolution, 2.03 GFLOPs
        return replace(found, in_channels=self.in_channels, size=self.size, outputs=self.outputs)

    def fitted(self, spec: DataSpec) -> Config:
        """For the pictures that suit the backbone; raises `UserError` for other data."""
        found = self.backbone.fitted(spec)
        return replace(self, in_channels=found.in_channels, size=found.size, outputs=found.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from the nearest network of the paper; the backbone's own departures come first."""
        size, outputs = ((32, 32), 10) if self.network in ("preresnet110", "preresnet164") else ((224, 224), 1000)
        original = self.network.removesuffix("-v1.5")
        printed = replace(self, network=original, caffe_pool=False, in_channels=3, size=size, outputs=outputs)
        found = []
        if self.network == "senet154":
            what = "a stem of 64, 64 and 128 channels (paper: three 3 × 3 convolutions, no widths)"
            found.append(Departure(what, "those of the network that the authors gave out", "Appendix"))
            found += changed_input(self, printed)
        else:
            found += self.backbone.departures()
        if printed not in TABLES:
            what = f"{self.network}, r = {self.reduction}, gates in stages {self.stages}: not a network of the paper"
            found.append(Departure(what, "chosen by you", "Tables 2, 4, 10 and 13"))
        if self.caffe_pool:
            what = "pooling windows of the stem begin in the corner (elsewhere: one pixel outside; paper: not said)"
            found.append(Departure(what, "the weights that the authors gave out need it"))
        return tuple(found)

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) standard normal numbers."""
        return example(self, batch)


def _house(network: str) -> ModuleType:
    """The paper that has this variant."""
    for house in HOUSES:
        if network in house.VARIANTS:
            return house
    names = ", ".join(name for house in HOUSES for name in house.VARIANTS)
    raise UserError(f"there is no network {network!r} to put gates into. Choose one of: {names}, senet154.")


# ------------------------------------------------------------------------------------------------- the contribution


class SqueezeExcitation(nn.Module):
    """Eqs. 2 to 4: every channel of a picture times its gate. ``gate`` gives them, (B, channels, 1, 1), in 0 … 1.

    Raises:
        UserError: ``reduction`` leaves no unit between the two layers.
    """

    def __init__(self, channels: int, reduction: int = 16, *, bias: bool = True) -> None:
        super().__init__()
        if not 1 <= reduction <= channels:
            raise UserError(
                f"a reduction by {reduction} leaves nothing of {channels} channels. Write a reduction from 1 to {channels}."
            )
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        # The two fully-connected layers, as 1 × 1 convolutions of a map of one pixel.
        layers: dict[str, nn.Module] = {
            "reduce": nn.Conv2d(channels, channels // reduction, 1, bias=bias),
            "relu": nn.ReLU(inplace=True),
            "expand": nn.Conv2d(channels // reduction, channels, 1, bias=bias),
            "sigmoid": nn.Sigmoid(),
        }
        self.gate = nn.Sequential(OrderedDict(layers))

    def forward(self, u: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        return u * self.gate(self.squeeze(u))  # z (B, channels, 1, 1) -> s (B, channels, 1, 1)


def plug(model: nn.Module, reduction: int = 16, *, bias: bool = True, stages: tuple[int, ...] = (2, 3, 4, 5)) -> int:
    """Put gates at the end of every residual branch and behind every Inception module of ``model``, in place.

    A residual branch is a series of layers that its block calls ``branch``. ``stages`` are those that get gates: the first
    digit in a stage's name. Returns how many blocks were put in.
    """
    places = [
        (path, module)
        for path, module in model.named_modules()
        if path.startswith("stages.") and int(next(filter(str.isdigit, path.split(".")[1]), 0)) in stages
    ]
    found = 0
    for path, module in places:
        branch = dict(module.named_children()).get("branch")
        if isinstance(module, bn_inception.Inception):
            gates = SqueezeExcitation(module.channels, reduction, bias=bias)
            above, name = model.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2]
            above.add_module(name, nn.Sequential(OrderedDict[str, nn.Module](transform=module, se=gates)))
        elif isinstance(branch, nn.Sequential):
            last = [layer for layer in branch if isinstance(layer, nn.Conv2d)][-1]
            gates = SqueezeExcitation(last.out_channels, reduction, bias=bias)
            branch.add_module("se", gates)
        else:
            continue
        fill(gates, weights=he, biases=constant(0.0))  # Sec. 5.1: the first weights of its ref. [66]
        found += 1
    return found


# -------------------------------------------------------------------------------------------------------- the model


def senet154(config: Config) -> nn.Module:
    """The backbone of SENet-154: a ResNeXt-152 of 64×4d with the changes (a) to (d) of the Appendix."""
    assert isinstance(config.backbone, resnext.Config)
    model = resnext.build(config.backbone)
    layers: dict[str, nn.Module] = {
        "conv1": convolution(config.in_channels, 64, 3, 2),  # -> 64 × 112 × 112
        "bn1": nn.BatchNorm2d(64),
        "relu1": nn.ReLU(inplace=True),
        "conv2": convolution(64, 64, 3),
        "bn2": nn.BatchNorm2d(64),
        "relu2": nn.ReLU(inplace=True),
        "conv3": convolution(64, 128, 3),  # -> 128 × 112 × 112
    }
    model.conv1 = nn.Sequential(OrderedDict(layers))  # (b) three 3 × 3 convolutions for one of 7 × 7
    model.bn1 = nn.BatchNorm2d(128)
    inputs = 128
    for block in (m for m in model.modules() if isinstance(m, Residual)):
        wide = block.branch.get_submodule("conv2")
        assert isinstance(wide, nn.Conv2d)
        half, outputs, stride = wide.in_channels // 2, wide.out_channels, wide.stride[0]  # C · d: as wide as the block
        block.branch.add_module("conv1", convolution(inputs, half, 1))  # (a) half the channels of the first 1 × 1
        block.branch.add_module("bn1", nn.BatchNorm2d(half))
        grouped = nn.Conv2d(half, outputs, 3, stride, padding=1, groups=wide.groups, bias=False)
        block.branch.add_module("conv2", grouped)
        if isinstance(block.shortcut, nn.Sequential):
            block.shortcut[0] = convolution(inputs, outputs, 3 if stride == 2 else 1, stride)  # (c) 3 × 3 down-sampling
        inputs = outputs
    model.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), Dropout(0.2))  # (d) before the classifier
    fill(model, weights=he, biases=constant(0.0))
    return model


def build(config: Config) -> nn.Module:
    """The network of ``config``: the backbone's, with gates in each of its branches or behind each of its modules."""
    model = senet154(config) if config.network == "senet154" else _house(config.network).build(config.backbone)
    plug(model, config.reduction, bias=config.bias, stages=config.stages)
    if config.caffe_pool and isinstance(model.pool1, nn.MaxPool2d):
        model.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    return model


# ------------------------------------------------------------------------------------------------- variants and facts

PRINTED = {
    # Table 2. Sec. 6 takes the biases of the gates out "in the following experiments", so these networks have them, as do
    # the weights that the authors gave out.
    "se-resnet50": Config("resnet50"),
    "se-resnet101": Config("resnet101"),
    "se-resnet152": Config("resnet152"),
    "se-resnext50-32x4d": Config("resnext50-32x4d"),
    "se-resnext101-32x4d": Config("resnext101-32x4d"),
    "se-inception": Config("bn-inception"),
    "se-resnet110": Config("preresnet110", size=(32, 32), outputs=10),  # Tables 4 and 5
    "se-resnet164": Config("preresnet164", size=(32, 32), outputs=10),
    "senet154": Config("senet154"),  # Tables 8 and 9
    **{f"se-resnet50-r{r}": Config("resnet50", r, bias=False) for r in (2, 4, 8, 16, 32)},  # Table 10
    **{f"se-resnet50-stage{n}": Config("resnet50", bias=False, stages=(n,)) for n in (2, 3, 4)},  # Table 13
}
TABLES = tuple(PRINTED.values())

VARIANTS = {
    **PRINTED,
    **{f"se-resnet{depth}-v1.5": Config(f"resnet{depth}-v1.5") for depth in (50, 101, 152)},
    **{f"{name}-caffe": replace(PRINTED[name], caffe_pool=True) for name in (*list(PRINTED)[:5], "senet154")},
}


def _gates(name: str, layer: str) -> list[nn.Conv2d]:
    """The layers of all gates that are called ``layer``, in their order."""
    found = [m for at, m in on_meta(build, VARIANTS[name]).named_modules() if at.endswith(f".se.gate.{layer}")]
    return [m for m in found if isinstance(m, nn.Conv2d)]


def _added(name: str) -> int:
    """Weights of the gates."""
    return sum(m.weight.numel() for layer in ("reduce", "expand") for m in _gates(name, layer))


def _formula(blocks: tuple[int, ...]) -> float:
    """Eq. 5: r = 16, and N_s blocks with C_s channels in stage s."""
    return 2 / 16 * sum(n * (256 * 2**s) ** 2 for s, n in enumerate(blocks))


def _widths(name: str) -> list[tuple[int, int]]:
    """Outputs of the two layers of the gates, stage by stage."""
    pairs = zip(_gates(name, "reduce"), _gates(name, "expand"))
    return sorted({(first.out_channels, second.out_channels) for first, second in pairs})


def _share(stages: tuple[int, ...]) -> float:
    """Parameters that gates in these stages of ResNet-50 bring, in percent of those that it has."""
    config = replace(VARIANTS["se-resnet50-r16"], stages=stages)
    return 100 * (count(build, config) / count(resnet.build, config.backbone) - 1)


def _multiplications(name: str) -> int:
    """Multiply-adds, and the products of channels and gates. Squeezing only adds, and is not counted."""
    shapes = stages(build, VARIANTS[name])
    return work(build, VARIANTS[name]) + sum(prod(shape) for at, shape in shapes.items() if at.endswith(".se"))


def _more(name: str) -> int:
    """Multiplications beyond those of the backbone."""
    network, backbone = VARIANTS[name].network, VARIANTS[name].backbone
    return _multiplications(name) - work(_house(network).build, backbone)


def _depth() -> int:
    """Convolutions of SENet-154 that are not on shortcuts or in gates, and fc."""
    layers = on_meta(build, VARIANTS["senet154"]).named_modules()
    off = (".shortcut.", ".gate.")
    return sum(isinstance(m, nn.Conv2d) and not any(part in at for part in off) for at, m in layers) + 1


def _opened() -> float:
    """Largest change of an input whose gates are all open."""
    block, u = SqueezeExcitation(32).to("cpu"), torch.randn(2, 32, 5, 5, device="cpu")
    fill(block, weights=constant(0.0), biases=constant(100.0))
    with torch.no_grad():
        return float((block(u) - u).abs().max())


def _facts() -> Iterator[Fact]:
    blocks = {"se-resnet50": (3, 4, 6, 3), "se-resnet101": (3, 4, 23, 3), "se-resnet152": (3, 8, 36, 3)}
    blocks |= {"se-resnext50-32x4d": (3, 4, 6, 3), "se-resnext101-32x4d": (3, 4, 23, 3)}
    for name, numbers in blocks.items():
        yield Fact("2/r Σ N C² weights more", "Eq. 5", _formula(numbers), partial(_added, name), variant=name)
    widths = ((16, 256), (32, 512), (64, 1024), (128, 2048))
    for name in ("se-resnet50", "se-resnext50-32x4d"):
        says = f"outputs of the layers of the gates, by stage: {widths}"
        yield Fact(says, "Table 1", widths, partial(_widths, name), variant=name)
    yield Fact("about 2.5 million parameters more", "Sec. 4", 2.5e6, partial(_added, "se-resnet50"), 5e4, "se-resnet50")
    # Openly approximate.
    yield Fact("about 10 % more parameters", "Sec. 4", 10, partial(_share, (2, 3, 4, 5)), 0.5, "se-resnet50")
    yield Fact("about 4 % more without gates in the last stage", "Sec. 4", 4, partial(_share, (2, 3, 4)), 0.5)
    # The running means and variances are counted: without them r = 4, r = 32 and stage 4 have 0.1 M less than is printed.
    # Not kept: 30.7 M for r = 8, which has 30.64 M, 30.59 M or, with biases, 30.66 M; the biases would break r = 2.
    sizes = {"r2": 45.7, "r4": 35.7, "r16": 28.1, "r32": 26.9, "stage2": 25.6, "stage3": 25.7, "stage4": 26.4}
    for name, millions in {f"se-resnet50-{kind}": size for kind, size in sizes.items()}.items():
        where, measure = "Table 13" if "stage" in name else "Table 10", partial(stored, build, VARIANTS[name])
        yield Fact(f"{millions} M parameters", where, millions * 1e6, measure, 5e4, name)
    original = partial(stored, resnet.build, resnet.VARIANTS["resnet50"])
    yield Fact("25.6 M parameters without gates", "Table 10", 25.6e6, original, 5e4)
    # Sums are not counted, only products. Then 3.87 holds; of the other networks the backbones have 0.01 to 0.02 less than
    # Table 2 prints (7.57 for 7.58, 11.28 for 11.30, 4.23 for 4.24, 7.97 for 7.99), so only the differences are kept.
    measure = partial(_multiplications, "se-resnet50")
    yield Fact("3.87 billion multiplications", "Table 2", 3.87e9, measure, 5e6, "se-resnet50")
    more = dict(zip(PRINTED, (0.01, 0.02, 0.02, 0.01, 0.01, 0.01)))
    for name, billions in more.items():  # a difference of two rounded numbers
        says = f"{billions} billion multiplications more"
        yield Fact(says, "Table 2", billions * 1e9, partial(_more, name), 1e7, name)
    yield Fact("154 layers", "Appendix", 154, _depth, variant="senet154")
    says, measure = "20.7 billion multiply-adds", partial(work, build, VARIANTS["senet154"])
    yield Fact(says, "Ma et al. 2018, ShuffleNet V2, Table 6", 20.7e9, measure, 5e7, "senet154")
    yield Fact("with all gates at one a block is the identity", "Sec. 7.2", 0.0, _opened)


def _results() -> Iterator[Result]:
    data, top1, top5 = "ImageNet 2012 validation", "top-1 error %, one crop", "top-5 error %, one crop"
    table2 = ((23.29, 6.62), (22.38, 6.07), (21.57, 5.73), (21.10, 5.49), (20.70, 5.01), (24.23, 7.14))
    errors = {name: (*pair, "Table 2") for name, pair in zip(PRINTED, table2)}
    errors["senet154"] = (18.68, 4.47, "Table 8")
    table10 = {2: (22.29, 6.00), 4: (22.25, 6.09), 8: (22.26, 5.99), 16: (22.28, 6.03), 32: (22.72, 6.20)}
    errors |= {f"se-resnet50-r{r}": (*pair, "Table 10") for r, pair in table10.items()}
    table13 = {2: (23.03, 6.48), 3: (23.04, 6.32), 4: (22.68, 6.22)}
    errors |= {f"se-resnet50-stage{n}": (*pair, "Table 13") for n, pair in table13.items()}
    for name, (one, five, where) in errors.items():
        yield Result(name, data, top1, one, where)
        yield Result(name, data, top5, five, where)
    for k, error in ((1, 17.28), (5, 3.79)):
        yield Result("senet154", data, f"top-{k} error %, one crop of 320", error, "Table 8")
    for name, ten, hundred in (("se-resnet110", 5.21, 23.85), ("se-resnet164", 4.39, 21.31)):
        yield Result(name, "CIFAR-10 test", "top-1 error %", ten, "Table 4")
        yield Result(name, "CIFAR-100 test", "top-1 error %", hundred, "Table 5")


PAPER = Paper(
    title="Squeeze-and-Excitation Networks",
    authors="Jie Hu, Li Shen, Samuel Albanie, Gang Sun, Enhua Wu",
    year=2017,
    venue="CVPR 2018, IEEE TPAMI 2020, arXiv 1709.01507",
    url="https://arxiv.org/abs/1709.01507",
    idea="Look at the whole picture, then decide which channels matter.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=tuple(_results()),
)
