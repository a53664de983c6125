"""VGG.

Karen Simonyan, Andrew Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv 1409.1556,
September 2014; ICLR 2015.

The idea: depth is what counts, and small filters pay for it. A stack of 3 × 3 convolutions sees as far as one large
filter, with a non-linearity after every layer and with fewer weights; so all filters are 3 × 3, and networks of 11 to 19
layers that differ in nothing else are compared. The error falls with depth until 16 to 19 layers.

    d layers of 3 × 3 see (2d + 1) × (2d + 1) pixels: two see 5 × 5, three see 7 × 7                       Sec. 2.3
    three layers on C channels have 3 · 3² C² = 27 C² weights; one of 7 × 7 has 7² C² = 49 C², 81 % more    Sec. 2.3

Shapes: B pictures of C channels, H × W pixels.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.papers.alexnet import LocalResponseNorm
from seminal.pieces.dropout import Dropout
from seminal.pieces.init import constant, fill, he, normal, uniform
from seminal.pieces.measure import count, on_meta, parameters, stages
from seminal.pieces.pictures import changed_input, example, fit

WIDTHS = (64, 128, 256, 512, 512)  # channels of the five stages, in every network of Table 1


@dataclass(frozen=True)
class Config:
    depths: tuple[int, ...]  # convolutions in each of the five stages: a column of Table 1
    one_by_one: bool = False  # C: the third convolution of a stage is 1 × 1
    response_norm: bool = False  # A-LRN: response normalisation after the first convolution
    batch_norm: bool = False  # after every convolution; not in the paper
    dropout: float = 0.5  # probability with which a hidden unit of fc6 and fc7 is off
    start: str = "glorot"  # first weights (Sec. 3.1): by Glorot and Bengio; "normal", variance 0.01; or "he", of 2015
    in_channels: int = 3  # C
    size: tuple[int, int] = (224, 224)  # H, W
    outputs: int = 1000

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise UserError(f"a VGG network cannot start from {self.start!r}. Choose one of: {', '.join(STARTS)}.")
        if len(self.depths) != len(WIDTHS) or min(self.depths) < 1:
            raise UserError(f"a VGG network has five stages of at least one convolution, not {self.depths}.")

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of the part of the last maps that fc6 reads: 7 × 7, or all of smaller maps."""
        height, width = (min(7, pixels // 32) for pixels in self.size)
        return height, width

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures of at least 32 × 32 pixels; raises `UserError` for other data."""
        found = fit(spec, "a VGG network", least=32, shrinks=5, instead="resnet20")
        return replace(self, in_channels=found.in_channels, size=found.size, outputs=found.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from the nearest network of Table 1. The start does in all that can be trained in one go."""
        printed = Config(self.depths, self.one_by_one, self.response_norm)
        found = []
        if printed not in PRINTED.values():
            what = f"convolutions {self.depths} per stage, or options, that are in no column of Table 1"
            found.append(Departure(what, "chosen by you", "Table 1"))
        if self.batch_norm:
            what = "batch normalisation after every convolution (paper: none)"
            found.append(Departure(what, "trains faster, at larger rates; the weights people have often need it"))
        shallow = self.depths == PRINTED["vgg11"].depths  # the paper trained these from the variance it prints
        if self.start != "normal" or not shallow:
            begun = "normal, variance 0.01" if shallow else "layers of a trained `vgg11`, the others normal"
            why = "the authors found later that it works with nothing trained before"
            why = why if self.start == "glorot" else CHOSEN
            found.append(Departure(f"weights start {STARTS[self.start]} (paper: {begun})", why, "Sec. 3.1"))
        if self.dropout != printed.dropout:
            found.append(Departure(f"dropout {self.dropout} (paper: {printed.dropout})", CHOSEN, "Sec. 3.1"))
        return (*found, *self._resized(), *changed_input(self, printed, "Sec. 2.1"))

    def _resized(self) -> Iterator[Departure]:
        """What another size of pictures means for the fully-connected layers."""
        if self.window != (7, 7):
            height, width = self.window
            what = f"fc6 reads maps of {height} × {width} (paper: 7 × 7)"
            yield Departure(what, "the last maps of small pictures are no larger", "Table 1")
        if any(pixels // 32 > side for pixels, side in zip(self.size, self.window)):
            height, width = self.window
            what = f"scores are averaged over all places of {height} × {width} in the last maps, in training too"
            yield Departure(f"{what} (paper: in tests)", "so larger pictures need no other weights", "Sec. 3.2")

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) standard normal numbers."""
        return example(self, batch)


CHOSEN = "chosen by the recipe"

STARTS = {
    "glorot": "by the rule of Glorot and Bengio 2010",
    "normal": "normal with variance 0.01 in every layer",
    "he": "by the rule of He et al. 2015",
}


# ------------------------------------------------------------------------------------------------- the contribution


def stack(
    stage: int, inputs: int, outputs: int, *, kernels: tuple[int, ...], batch_norm: bool = False
) -> nn.Sequential:
    """Convolutions at stride 1 that keep the size of the map, each with its own ReLU. Layer n is called
    ``conv{stage}_{n}``, as everybody does."""
    layers = OrderedDict[str, nn.Module]()
    for n, kernel in enumerate(kernels, 1):
        # Batch normalisation makes the bias idle; it stays because the weights people have contain it.
        layers[f"conv{stage}_{n}"] = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        if batch_norm:
            layers[f"bn{stage}_{n}"] = nn.BatchNorm2d(outputs)
        layers[f"relu{stage}_{n}"] = nn.ReLU(inplace=True)
        inputs = outputs
    return nn.Sequential(layers)


def receptive_field(model: nn.Module) -> int:
    """Side of the square of pixels that one number after the last convolution or pooling depends on: each layer adds
    its kernel − 1, times the strides before it."""
    field, step = 1, 1
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            # torch keeps a pooling's sides as a number and a convolution's as a pair.
            kernel, stride = (side if isinstance(side, int) else side[0] for side in (layer.kernel_size, layer.stride))
            field, step = field + (kernel - 1) * step, step * stride
    return field


# -------------------------------------------------------------------------------------------------------- the model


def glorot(tensor: Tensor) -> None:
    """Uniform numbers with variance 2 / (fan-in + fan-out) (Glorot and Bengio 2010, Eq. 16)."""
    fans = (tensor.shape[0] + tensor.shape[1]) * tensor[0, 0].numel()
    uniform(math.sqrt(6 / fans))(tensor)


class VGG(nn.Module):
    """Five stages of convolutions, each with a pooling at its end, and three fully-connected layers (Table 1).

    Pictures larger than those it was made for are read as in Sec. 3.2: the fully-connected layers are convolutions over
    the larger maps, and their scores are averaged.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.window = config.window
        stages, inputs = OrderedDict[str, nn.Module](), config.in_channels
        for i, (width, depth) in enumerate(zip(WIDTHS, config.depths), 1):
            kernels = tuple(1 if config.one_by_one and n == 2 else 3 for n in range(depth))
            stage = stack(i, inputs, width, kernels=kernels, batch_norm=config.batch_norm)
            if config.response_norm and i == 1:
                stage.add_module("norm1_1", LocalResponseNorm())  # "the parameters … are those of" AlexNet: Sec. 2.1
            stage.add_module(f"pool{i}", nn.MaxPool2d(2, stride=2))
            stages[f"conv{i}"], inputs = stage, width
        self.stages = nn.Sequential(stages)
        self.relu = nn.ReLU(inplace=True)
        self.fc6 = nn.Linear(inputs * self.window[0] * self.window[1], 4096)
        # Scaled in training, not in tests: the authors' programme came from Caffe (Sec. 3.3), which does the same.
        self.drop6 = Dropout(config.dropout)
        self.fc7 = nn.Linear(4096, 4096)
        self.drop7 = Dropout(config.dropout)
        self.fc8 = nn.Linear(4096, config.outputs)
        # Sec. 3.1 prints 0.01 as the variance. With pixels of ±128 the outputs of A are then of the order of 10⁷.
        start = {"glorot": glorot, "normal": normal(0.1), "he": he}[config.start]
        fill(self, weights=start, biases=constant(0.0))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        x = self.stages(x)  # 3 × 224 × 224 -> 112 × 112 -> 56 × 56 -> 28 × 28 -> 14 × 14 -> 512 × 7 × 7
        places = F.unfold(x, self.window).transpose(1, 2)  # (B, places, 512 · 7 · 7): one place for 224 × 224
        scores = self.scores(places.flatten(0, 1))  # (B · places, 1000)
        return scores.unflatten(0, places.shape[:2]).mean(1)

    def scores(self, x: Float[Tensor, "places inputs"]) -> Float[Tensor, "places outputs"]:
        """The fully-connected layers, at each place of the last maps."""
        x = self.drop6(self.relu(self.fc6(x)))  # 25088 -> 4096
        x = self.drop7(self.relu(self.fc7(x)))  # 4096
        y: Tensor = self.fc8(x)  # 1000
        return y


# ------------------------------------------------------------------------------------------------- variants and facts

PRINTED = {
    "vgg11": Config((1, 1, 2, 2, 2)),  # A
    "vgg11-lrn": Config((1, 1, 2, 2, 2), response_norm=True),  # A-LRN
    "vgg13": Config((2, 2, 2, 2, 2)),  # B
    "vgg16-c": Config((2, 2, 3, 3, 3), one_by_one=True),  # C
    "vgg16": Config((2, 2, 3, 3, 3)),  # D
    "vgg19": Config((2, 2, 4, 4, 4)),  # E
}

VARIANTS = {
    **PRINTED,
    **{f"{name}-bn": replace(PRINTED[name], batch_norm=True) for name in ("vgg11", "vgg13", "vgg16", "vgg19")},
}


def _layers(name: str) -> list[int]:
    """Convolutional and fully-connected layers."""
    modules = list(on_meta(build, VARIANTS[name]).modules())
    return [sum(isinstance(m, kind) for m in modules) for kind in (nn.Conv2d, nn.Linear)]


def _depth(name: str) -> int:
    return sum(_layers(name))


def _maps(name: str) -> list[tuple[int, ...]]:
    """Shapes after every stage and every fully-connected layer."""
    found = stages(build, VARIANTS[name])
    return [found[f"stages.conv{i}"] for i in range(1, 6)] + [found[layer] for layer in ("fc6", "fc7", "fc8")]


def _seen() -> list[int]:
    """Columns of pixels that reach the middle unit of stacks of two and of three layers, found by the gradient."""
    sides = []
    for kernels in ((3, 3), (3, 3, 3)):
        layers, x = stack(1, 1, 1, kernels=kernels), torch.ones(1, 1, 15, 15, requires_grad=True)
        fill(layers, weights=constant(1.0), biases=constant(0.0))
        (gradient,) = torch.autograd.grad(layers(x)[0, 0, 7, 7], x)
        sides.append(int((gradient[0, 0] > 0).any(0).sum()))
    return sides


def _weights_of_stacks() -> list[float]:
    """Weights of three layers of 3 × 3 and of one of 7 × 7, on C = 64 channels, in C²; and how much more the second has."""
    channels, kinds = 64, ((3, 3, 3), (7,))
    layers = [stack(1, channels, channels, kernels=kernels) for kernels in kinds]
    small, large = ((parameters(m) - channels * len(k)) / channels**2 for m, k in zip(layers, kinds))  # less the biases
    return [small, large, large / small - 1]


def _ones() -> int:
    """Convolutions of 1 × 1 in C."""
    modules = on_meta(build, VARIANTS["vgg16-c"]).modules()
    return sum(isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) for m in modules)


def _wider() -> int:
    """Receptive field of C beyond that of B, the same network without the 1 × 1 layers."""
    c, b = (receptive_field(on_meta(build, VARIANTS[name])) for name in ("vgg16-c", "vgg13"))
    return c - b


def _weights_and_biases(config: Config) -> tuple[list[Tensor], list[Tensor]]:
    """Of all layers at the start. Small pictures: fc6 is drawn as the others are."""
    found = dict(build(replace(config, size=(32, 32))).named_parameters())
    parts = [[p.detach() for name, p in found.items() if name.endswith(end)] for end in (".weight", ".bias")]
    return parts[0], parts[1]


def _variances() -> list[float]:
    """Smallest and largest variance of a layer's weights, and the largest bias."""
    weights, biases = _weights_and_biases(replace(VARIANTS["vgg11"], start="normal"))
    found = [float(weight.var()) for weight in weights]
    return [min(found), max(found), max(float(bias.abs().max()) for bias in biases)]


def _glorot() -> list[float]:
    """Smallest and largest variance · (fan-in + fan-out) / 2 over the layers: 1 where the rule is Glorot and Bengio's."""
    weights, _ = _weights_and_biases(VARIANTS["vgg16"])
    found = [float(w.var()) * (w[0].numel() + w[:, 0].numel()) / 2 for w in weights]
    return [min(found), max(found)]


def _facts() -> Iterator[Fact]:
    millions = {"vgg11": 133, "vgg11-lrn": 133, "vgg13": 133, "vgg16-c": 134, "vgg16": 138, "vgg19": 144}
    for name, printed in millions.items():
        measure = partial(count, build, VARIANTS[name])
        yield Fact(f"{printed} million parameters", "Table 2", printed * 1e6, measure, 0.5e6, name)
    depths = {"vgg11": 11, "vgg11-lrn": 11, "vgg13": 13, "vgg16-c": 16, "vgg16": 16, "vgg19": 19}
    for name, depth in depths.items():
        yield Fact(f"{depth} weight layers", "Table 1", depth, partial(_depth, name), variant=name)
    for name, printed in {"vgg11": 8, "vgg19": 16}.items():
        says = f"{printed} convolutional and 3 fully-connected layers"
        yield Fact(says, "Sec. 2.2", (printed, 3), partial(_layers, name), variant=name)
    # Channels of Table 1; the sides follow from Sec. 2.1: convolutions keep the size, each of five poolings halves it.
    maps = ((64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7), (4096,), (4096,), (1000,))
    says = f"stages and fully-connected layers: {', '.join('×'.join(map(str, shape)) for shape in maps)}"
    for name in PRINTED:
        yield Fact(says, "Table 1 and Sec. 2.1", maps, partial(_maps, name), variant=name)
    yield Fact("two 3 × 3 layers see 5 × 5 pixels, three see 7 × 7", "Sec. 2.3", (5, 7), _seen)
    says = "on C channels, three 3 × 3 layers have 27 C² weights and one of 7 × 7 has 49 C², 81 % more"
    yield Fact(says, "Sec. 2.3", (27, 49, 0.81), _weights_of_stacks, 0.005)
    yield Fact("configuration C has three 1 × 1 convolutions", "Sec. 4.1", 3, _ones, variant="vgg16-c")
    says = "the 1 × 1 convolutions of C leave the receptive field as it is in B"
    yield Fact(says, "Sec. 2.3", 0, _wider, variant="vgg16-c")
    # The sampling error of the smallest layer, 1,728 weights, is 0.0003.
    says = 'weights start normal with variance 0.01 and biases at 0 (`start="normal"`)'
    yield Fact(says, "Sec. 3.1", (0.01, 0.01, 0), _variances, 0.002, "vgg11")
    # The sampling error of the same layer is 2 %.
    says = "weights start by the rule of Glorot and Bengio: variance 2 / (fan-in + fan-out)"
    yield Fact(says, "Sec. 3.1 and its reference, Eq. 16", (1.0, 1.0), _glorot, 0.1, "vgg16")


def _results() -> Iterator[Result]:
    """Scores of single networks. The last term of `data` is how the network was trained and read: S and Q are the shorter
    sides of pictures in training and in tests (Sec. 3); a network is applied to the whole picture and its mirror image."""
    # Taken from copies of the tables; the text repeats 24.8 / 7.5 (Sec. 4.2), 7.1 (Sec. 4.4) and 7.0 (Sec. 4.5).
    validation = "ImageNet 2012 validation"
    single = {
        ("256", "256"): {"vgg11": (29.6, 10.4), "vgg11-lrn": (29.7, 10.5), "vgg13": (28.7, 9.9), "vgg16-c": (28.1, 9.4)}
        | {"vgg16": (27.0, 8.8), "vgg19": (27.3, 9.0)},
        ("384", "384"): {"vgg16-c": (28.1, 9.3), "vgg16": (26.8, 8.7), "vgg19": (26.9, 8.7)},
        ("256…512", "384"): {"vgg16-c": (27.3, 8.8), "vgg16": (25.6, 8.1), "vgg19": (25.5, 8.0)},
    }
    multiple = {
        ("256", "224, 256, 288"): {"vgg13": (28.2, 9.6)},
        ("256…512", "256, 384, 512"): {"vgg16-c": (26.3, 8.2), "vgg16": (24.8, 7.5), "vgg19": (24.8, 7.5)},
    }
    for where, table in (("Table 3", single), ("Table 4", multiple)):
        for (train, test), errors in table.items():
            for name, both in errors.items():
                for rank, error in zip((1, 5), both):
                    yield Result(name, validation, f"top-{rank} error %, S = {train}, Q = {test}", error, where)
    for name, (one, five) in {"vgg16": (24.4, 7.2), "vgg19": (24.4, 7.1)}.items():
        yield Result(name, validation, "top-1 error %, dense and 150 crops", one, "Table 5")
        yield Result(name, validation, "top-5 error %, dense and 150 crops", five, "Table 5")
    yield Result("vgg19", "ImageNet 2012 test", "top-5 error %, dense and 150 crops", 7.0, "Table 7")


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return VGG(config)


PAPER = Paper(
    title="Very Deep Convolutional Networks for Large-Scale Image Recognition",
    authors="Karen Simonyan, Andrew Zisserman",
    year=2014,
    venue="ICLR 2015, arXiv 1409.1556",
    url="https://arxiv.org/abs/1409.1556",
    idea="Stack small filters, and go deeper.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=tuple(_results()),
)
