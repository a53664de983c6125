"""AlexNet with one tower.

Alex Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv 1404.5997, April 2014.

The idea: convolutional layers have nearly all of the work and few of the weights, fully-connected layers the reverse. So
let K workers share the first by pictures, each with a copy of all kernels, and the second by neurons, each with a K-th
of the weights: what must be sent is small in both. The network it was measured on is AlexNet without its two towers,
with 1,000 independent logistic units instead of a softmax; it is what many now mean by AlexNet.

    convolutions: worker k computes f(x_k; W) for its own pictures x_k                       data parallelism
    fully connected: worker k computes ReLU(x W_k + b_k) for all pictures, W = (W_1 … W_K)    model parallelism

Shapes: B pictures of C channels, H × W pixels.

The paper prints little about the network beyond "a minor variation on the winning model"; what it leaves open is as in
Krizhevsky, Sutskever and Hinton 2012, and the first weights are those of the layers that its author published with the
program cuda-convnet2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seminal.core import DataSpec, Departure, Fact, Paper, Result
from seminal.papers import alexnet
from seminal.pieces.init import constant, fill, he, normal
from seminal.pieces.measure import count, on_meta, parameters, stages, work
from seminal.pieces.pictures import changed_input, example, fit

FOOTNOTE = (64, 192, 384, 384, 256)  # kernels of the five convolutional layers (Experiments, footnote)
PUBLISHED = (64, 192, 384, 256, 256)  # the same in the layers that the author published, and in torchvision


@dataclass(frozen=True)
class Config:
    channels: tuple[int, ...] = FOOTNOTE
    torchvision: bool = False  # the network that torchvision calls AlexNet: see `departures`
    dropout: float = 0.5  # probability with which a unit is off
    in_channels: int = 3  # C
    size: tuple[int, int] = (227, 227)  # H, W
    outputs: int = 1000

    @property
    def padding(self) -> int:
        """Zeros around the picture for conv1."""
        return 2 if self.torchvision else 0

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Height and width after conv1, pool1, pool2 and pool5."""
        height, width = (pixels + 2 * self.padding for pixels in self.size)
        return alexnet.Config(size=(height, width)).maps

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures of at least 67 × 67 pixels (63 × 63 in torchvision's form); raises `UserError` for other data."""
        found = fit(spec, "this AlexNet", least=67 - 2 * self.padding, shrinks=5, instead="resnet20")
        return replace(self, in_channels=found.in_channels, size=found.size, outputs=found.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """The input size in the paper's form, the differences one by one in torchvision's, and what was changed."""
        found = []
        if self.channels != FOOTNOTE:
            why = "as in the layers that the author published: with these the text's 0.2 % more parameters come out"
            why = why if self.channels == PUBLISHED else "chosen by you"
            found.append(Departure(f"kernels {self.channels} (paper: {FOOTNOTE})", why, "Experiments, footnote"))
        found += _TORCHVISION if self.torchvision else ()
        size = (224, 224) if self.torchvision else (227, 227)
        if not self.torchvision:
            height, width = self.size
            what = f"pictures of {height} × {width} (the author's program: 224 × 224)"
            why = "the data's pictures have another size"
            if self.size == size:
                why = "gives the maps of the paper, 55 × 55; his program has them from 224 with filters over the edge"
            found.append(Departure(what, why, "Experiments"))
        if self.dropout != 0.5:
            found.append(Departure(f"dropout {self.dropout} (AlexNet: 0.5)", "chosen by the recipe"))
        # The paper's form has told its size.
        now = self if self.torchvision else replace(self, size=size)
        return (*found, *changed_input(now, replace(self, in_channels=3, size=size, outputs=1000)))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) standard normal numbers."""
        return example(self, batch)


_NEEDED = "torchvision's weights were learned so"
_TORCHVISION = (
    Departure("conv1 sees the picture with 2 zeros on each side (AlexNet: none)", _NEEDED),
    Departure("no response normalisation (AlexNet: after conv1 and conv2)", _NEEDED),
    Departure(
        "dropout on the inputs of fc6 and fc7, scaled in training (AlexNet: on their outputs, in tests)", _NEEDED
    ),
    Departure("average pooling to 6 × 6 before fc6; nothing changes at 224 × 224 (AlexNet: none)", _NEEDED),
    Departure("weights start by the rule of He et al. 2015", "without normalisation, AlexNet's start learns little"),
)


# ------------------------------------------------------------------------------------------------- the contribution

Apply = Callable[[nn.Linear, Tensor], Tensor]  # how the outputs of a fully-connected layer are computed


def whole(layer: nn.Linear, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch units"]:
    """By one worker."""
    y: Tensor = layer(x)
    return y


def shared(layer: nn.Linear, x: Float[Tensor, "batch inputs"], *, workers: int) -> Float[Tensor, "batch units"]:
    """By several: each has all rows, and computes its share of the neurons from its share of the weights."""
    assert layer.bias is not None
    shares = zip(layer.weight.chunk(workers), layer.bias.chunk(workers))
    return torch.cat([F.linear(x, weight, bias) for weight, bias in shares], dim=1)


def parallel(model: OneTower, pictures: tuple[Tensor, ...]) -> Float[Tensor, "batch outputs"]:
    """The outputs as K workers come to them, the k-th holding ``pictures[k]``: those of one worker with all pictures.

    In training the gradients agree too. A kernel's is the sum over the workers' pictures, which must be sent; a
    fully-connected weight's is complete where it lives. Written on one device to show what is computed where;
    `torch.distributed` is what sends.
    """
    maps = torch.cat([model.convolutions(part) for part in pictures])  # each worker: all kernels, its own pictures
    return model.classified(maps, partial(shared, workers=len(pictures)))  # each worker: all pictures, its own neurons


# -------------------------------------------------------------------------------------------------------- the model


class OneTower(nn.Module):
    """AlexNet's eight layers, each connected to all kernels of the layer before."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        theirs, (one, two, three, four, five) = config.torchvision, config.channels
        self.relu = nn.ReLU(inplace=True)
        self.norm = nn.Identity() if theirs else alexnet.LocalResponseNorm()
        self.pool = nn.MaxPool2d(3, stride=2)
        self.conv1 = nn.Conv2d(config.in_channels, one, 11, stride=4, padding=config.padding)
        self.conv2 = nn.Conv2d(one, two, 5, padding=2)
        self.conv3 = nn.Conv2d(two, three, 3, padding=1)
        self.conv4 = nn.Conv2d(three, four, 3, padding=1)
        self.conv5 = nn.Conv2d(four, five, 3, padding=1)
        height, width = (6, 6) if theirs else config.maps[-1]
        self.resize = nn.AdaptiveAvgPool2d((6, 6)) if theirs else nn.Identity()
        self.drop5 = nn.Dropout(config.dropout) if theirs else nn.Identity()
        self.fc6 = nn.Linear(five * height * width, 4096)
        self.drop6 = nn.Dropout(config.dropout) if theirs else alexnet.Dropout(config.dropout)
        self.fc7 = nn.Linear(4096, 4096)
        self.drop7 = nn.Identity() if theirs else alexnet.Dropout(config.dropout)
        self.fc8 = nn.Linear(4096, config.outputs)
        if theirs:
            fill(self, weights=he, biases=constant(0.0))
        else:
            self._start_as_published()
        # Each logistic unit begins with the chance of its class, 1 in 1,000 (published: −7); a softmax does not notice.
        fill(self.fc8, weights=he if theirs else normal(0.01), biases=constant(-math.log(max(1, config.outputs - 1))))

    def _start_as_published(self) -> None:
        fill(self, weights=normal(0.01), biases=constant(0.0))
        for layer in (self.conv2, self.fc6, self.fc7):
            fill(layer, weights=normal(0.01), biases=constant(1.0))
        for layer, bias in ((self.conv3, 0.0), (self.conv4, 1.0), (self.conv5, 1.0)):
            fill(layer, weights=normal(0.03), biases=constant(bias))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        return self.classified(self.convolutions(x))

    def convolutions(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch maps h w"]:
        """The layers that are shared by pictures."""
        x = self.pool(self.norm(self.relu(self.conv1(x))))  # 3 × 227 × 227 -> 64 × 55 × 55 -> 64 × 27 × 27
        x = self.pool(self.norm(self.relu(self.conv2(x))))  # 192 × 27 × 27 -> 192 × 13 × 13
        x = self.relu(self.conv3(x))  # 384 × 13 × 13
        x = self.relu(self.conv4(x))  # 384 × 13 × 13
        x = self.pool(self.relu(self.conv5(x)))  # 256 × 13 × 13 -> 256 × 6 × 6
        return x

    def classified(self, x: Float[Tensor, "batch maps h w"], apply: Apply = whole) -> Float[Tensor, "batch outputs"]:
        """The layers that are shared by neurons."""
        x = self.drop5(self.resize(x).flatten(1))  # 256 × 6 × 6 -> 9216
        x = self.drop6(self.relu(apply(self.fc6, x)))  # 4096
        x = self.drop7(self.relu(apply(self.fc7, x)))  # 4096
        return apply(self.fc8, x)  # 1000


# ------------------------------------------------------------------------------------------------- variants and facts

VARIANTS = {
    "alexnet-owt": Config(),
    "alexnet-torchvision": Config(PUBLISHED, torchvision=True, size=(224, 224)),
}

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5")
FULLY_CONNECTED = ("fc6", "fc7", "fc8")


def _kernels() -> list[int]:
    model = on_meta(build, VARIANTS["alexnet-owt"])
    return [model.get_parameter(f"{name}.weight").shape[0] for name in CONVOLUTIONS]


def _sides(name: str) -> list[int]:
    """Sides of the maps of the convolutional layers."""
    found = stages(build, VARIANTS[name])
    return [found[layer][1] for layer in CONVOLUTIONS]


def _layers() -> int:
    return sum(isinstance(m, nn.Conv2d | nn.Linear) for m in on_meta(build, VARIANTS["alexnet-owt"]).modules())


def _more(name: str) -> float:
    """Parameters beyond those of the two-tower network, in percent."""
    two = count(alexnet.build, alexnet.VARIANTS["alexnet"])
    return 100 * (count(build, VARIANTS[name]) / two - 1)


def _work_share() -> float:
    """The convolutional layers' share of the multiply-adds."""
    config = VARIANTS["alexnet-owt"]
    model = on_meta(build, config)
    dense = sum(model.get_parameter(f"{name}.weight").numel() for name in FULLY_CONNECTED)
    return 1 - dense / work(build, config)


def _weight_share() -> float:
    """The convolutional layers' share of the parameters."""
    model = on_meta(build, VARIANTS["alexnet-owt"])
    return sum(parameters(model.get_submodule(name)) for name in CONVOLUTIONS) / parameters(model)


def _facts() -> Iterator[Fact]:
    of = partial(Fact, variant="alexnet-owt")
    printed = (64, 192, 384, 384, 256)
    says = f"kernels of the convolutional layers: {', '.join(map(str, printed))}"
    yield of(says, "Experiments, footnote", printed, _kernels)
    yield of("as many layers as the two-tower network: 8", "Experiments", 8, _layers)
    says = "the maps have the sizes of the two-tower network's: 55, 27, 13, 13, 13"
    for name in VARIANTS:
        measure = partial(_sides, name)
        yield Fact(says, "Experiments", (55, 27, 13, 13, 13), measure, variant=name)
    # The text and the footnote disagree: 384 kernels in conv4 give 1.4 % more. The text's other number, 2.4 % fewer
    # connections, holds for neither: counted as multiply-adds there are 1.4 % fewer with 256, 15.8 % more with 384.
    says = "0.2 % more parameters than the two-tower network"
    yield Fact(says, "Experiments", 0.2, partial(_more, "alexnet-torchvision"), 0.05, "alexnet-torchvision")
    # The paper says these of modern networks, as 90–95 % and "about" 5 %; both are taken from those who quote it.
    says = "the convolutional layers have 90 to 95 % of the work"
    yield of(says, "Some observations", 0.925, _work_share, 0.025)
    says = "the convolutional layers have about 5 % of the parameters"
    yield of(says, "Some observations", 0.05, _weight_share, 0.005)


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return OneTower(config)


PAPER = Paper(
    title="One weird trick for parallelizing convolutional neural networks",
    authors="Alex Krizhevsky",
    year=2014,
    venue="arXiv 1404.5997",
    url="https://arxiv.org/abs/1404.5997",
    idea="Share convolutions by pictures and fully-connected layers by neurons.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=(
        # One GPU, batches of 128; from a copy of the table. The other rows differ in GPUs and batch only.
        Result("alexnet-owt", "ILSVRC-2012 validation", "top-1 error %", 42.33, "Table 1"),
    ),
)
