"""AlexNet.

Alex Krizhevsky, Ilya Sutskever, Geoffrey E. Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
Advances in Neural Information Processing Systems 25 (NIPS 2012), pp. 1097–1105.

The idea: a large convolutional network, trained end to end on a million labelled photographs, beats features made by
hand. Units that do not saturate (ReLU) make it train several times faster; dropout and altered copies of the pictures
keep it from learning them by heart. Two GPUs hold one half of the kernels each and talk in some layers only.

    f(x) = max(0, x)                                                                    Sec. 3.1
    b_i = a_i / (k + α Σ_{j = max(0, i − n/2)}^{min(N − 1, i + n/2)} a_j²)^β            Sec. 3.3, over N kernel maps
    dropout: each hidden unit is off with probability ½; in tests all are on, times ½   Sec. 4.2

Shapes: B pictures of C channels, H × W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.pieces.init import constant, fill, normal
from seminal.pieces.measure import on_meta, parameters, shapes


@dataclass(frozen=True)
class Config:
    towers: int = 2  # GPUs of the paper: conv2, conv4 and conv5 see the kernel maps of their own tower only
    dropout: float = 0.5  # probability with which a hidden unit of fc6 and fc7 is off
    in_channels: int = 3  # C
    size: tuple[int, int] = (227, 227)  # H, W
    outputs: int = 1000

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures of at least 67 × 67 pixels; raises `UserError` for other data."""
        if spec.kind != "images":
            raise UserError(f"alexnet reads pictures, but {spec.name} is {spec.form}. Use the model `mlp` instead.")
        channels, height, width = spec.shape
        if (
            min(height, width) < 67
        ):  # 67 -> conv1 15 -> pool1 7 -> pool2 3 -> pool5 1: below, a pooling window finds nothing
            raise UserError(
                f"alexnet shrinks pictures 32 times and needs at least 67 × 67 pixels, but those of {spec.name} are "
                f"{height} × {width}. Use the model `resnet20`, which is made for small pictures, or enlarge them."
            )
        return replace(self, in_channels=channels, size=(height, width), outputs=spec.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """The input size always (the paper's own numbers do not fit together), and what was changed."""
        height, width = self.size
        what, why = f"pictures of {height} × {width} (paper: 224 × 224)", "the data's pictures have another size"
        if self.size == (227, 227):
            why = "11 × 11 filters at stride 4 give the paper's 55 × 55 maps for 227 pixels; 224 would give 54"
        else:
            maps = ", ".join(str(h) if height == width else f"{h}×{w}" for h, w in self.maps)
            what = f"pictures of {height} × {width}, maps {maps} (paper: 224 × 224, maps 55, 27, 13, 6)"
        found = [Departure(what, why, "Sec. 3.5 and Fig. 2")]
        if self.towers != 2:
            towers = f"{self.towers} tower{'s' * (self.towers != 1)} (paper: 2)"
            why = "the paper split conv2, conv4 and conv5 because one GPU was too small for the network"
            found.append(Departure(towers, why, "Sec. 3.2"))
        if self.dropout != 0.5:
            found.append(Departure(f"dropout {self.dropout} (paper: 0.5)", "chosen by the recipe", "Sec. 4.2"))
        why = "as the data have it"
        if self.in_channels != 3:
            channels = f"{self.in_channels} input channel{'s' * (self.in_channels != 1)} (paper: 3)"
            found.append(Departure(channels, why, "Sec. 3.5"))
        if self.outputs != 1000:
            outputs = f"{self.outputs} output{'s' * (self.outputs != 1)} (paper: 1,000)"
            found.append(Departure(outputs, why, "Sec. 3.5"))
        return tuple(found)

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Height and width after conv1, pool1, pool2 and pool5."""
        height, width = ((pixels - 11) // 4 + 1 for pixels in self.size)
        found = [(height, width)]
        for _ in range(3):
            height, width = (height - 3) // 2 + 1, (width - 3) // 2 + 1
            found.append((height, width))
        return tuple(found)

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) standard normal numbers."""
        return (torch.randn(batch, self.in_channels, *self.size),)


# ------------------------------------------------------------------------------------------------- the contribution


class LocalResponseNorm(nn.Module):
    """Response normalisation of Sec. 3.3: each activity is divided by a measure of its neighbours' at the same place.

    Here α multiplies the plain sum, as the formula is printed. `torch.nn.LocalResponseNorm` multiplies it with the mean
    over the n neighbours, and agrees when given n · α.
    """

    def __init__(self, *, n: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75) -> None:
        super().__init__()
        self.n, self.k, self.alpha, self.beta = n, k, alpha, beta

    def forward(self, a: Float[Tensor, "batch maps height width"]) -> Float[Tensor, "batch maps height width"]:
        half, maps = self.n // 2, a.shape[1]
        squares = F.pad(a.square(), (0, 0, 0, 0, half, half))  # zero maps before the first and after the last
        total = squares[:, :maps]
        for shift in range(1, self.n):
            total = total + squares[:, shift : shift + maps]
        return a * (self.k + self.alpha * total) ** -self.beta

    def extra_repr(self) -> str:
        return f"n={self.n}, k={self.k}, alpha={self.alpha}, beta={self.beta}"


class Dropout(nn.Module):
    """Dropout of Sec. 4.2: in training a unit is off with probability p; in tests all are on, times 1 − p.

    torch's divides by 1 − p in training instead. Multiplying by it always gives the paper's two phases.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.drop = nn.Dropout(p)

    def forward(self, x: Float[Tensor, "batch units"]) -> Float[Tensor, "batch units"]:
        y: Tensor = self.drop(x) * (1 - self.drop.p)
        return y


class AlexNet(nn.Module):
    """Five convolutional and three fully-connected layers (Fig. 2). The kernels of tower 1 come first in each layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        height, width = config.maps[-1]
        self.relu = nn.ReLU(inplace=True)
        self.norm = LocalResponseNorm()
        self.pool = nn.MaxPool2d(3, stride=2)  # Sec. 3.4: windows of z = 3 at a step of s = 2 overlap
        self.conv1 = nn.Conv2d(config.in_channels, 96, 11, stride=4)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=config.towers)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)  # the one convolution through which the towers talk
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=config.towers)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=config.towers)
        self.fc6 = nn.Linear(256 * height * width, 4096)
        self.drop6 = Dropout(config.dropout)
        self.fc7 = nn.Linear(4096, 4096)
        self.drop7 = Dropout(config.dropout)
        self.fc8 = nn.Linear(4096, config.outputs)
        # Sec. 5. The deviation is 0.01, not the variance. Biases of 1 give these layers' ReLUs positive inputs at first.
        fill(self, weights=normal(0.01), biases=constant(0.0))
        for layer in (self.conv2, self.conv4, self.conv5, self.fc6, self.fc7):
            fill(layer, weights=normal(0.01), biases=constant(1.0))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        x = self.pool(self.norm(self.relu(self.conv1(x))))  # 3 × 227 × 227 -> 96 × 55 × 55 -> 96 × 27 × 27
        x = self.pool(self.norm(self.relu(self.conv2(x))))  # 256 × 27 × 27 -> 256 × 13 × 13
        x = self.relu(self.conv3(x))  # 384 × 13 × 13
        x = self.relu(self.conv4(x))  # 384 × 13 × 13
        x = self.pool(self.relu(self.conv5(x)))  # 256 × 13 × 13 -> 256 × 6 × 6
        x = self.drop6(self.relu(self.fc6(x.flatten(1))))  # 9216 -> 4096
        x = self.drop7(self.relu(self.fc7(x)))  # 4096
        y: Tensor = self.fc8(x)  # 1000
        return y


# ------------------------------------------------------------------------------------------------- variants and facts

VARIANTS = {"alexnet": Config(), "alexnet-onetower": Config(towers=1)}

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")


def _shapes() -> dict[str, tuple[int, ...]]:
    model = on_meta(build, VARIANTS["alexnet"])
    with torch.device("meta"):
        return shapes(model, *VARIANTS["alexnet"].example(1))


def _outputs(names: tuple[str, ...]) -> list[int]:
    """Neurons of each named layer."""
    found = _shapes()
    return [torch.Size(found[name]).numel() for name in names]


def _map_sizes() -> list[tuple[int, ...]]:
    found = _shapes()
    return [found[name] for name in LAYERS[:5]]


def _kernel(name: str) -> tuple[int, ...]:
    return tuple(on_meta(build, VARIANTS["alexnet"]).get_parameter(f"{name}.weight").shape)


def _spreads() -> list[float]:
    model = build(VARIANTS["alexnet"])
    return [float(model.get_parameter(f"{name}.weight").detach().std()) for name in LAYERS]


def _biases() -> list[float]:
    """The one value of each layer's biases; NaN where they differ within a layer."""
    model = build(replace(VARIANTS["alexnet"], size=(67, 67)))
    pairs = [model.get_parameter(f"{name}.bias").detach().aminmax() for name in LAYERS]
    return [float(pair.min) if pair.min == pair.max else float("nan") for pair in pairs]


def _response() -> float:
    """The normalised response where five neighbouring kernels all have activity 100."""
    return float(LocalResponseNorm()(torch.full((1, 5, 1, 1), 100.0, device="cpu"))[0, 2])


def _test_scale() -> list[float]:
    """Of both layers of dropout: the mean output for an input of 1 in training, the largest there, and that in tests."""
    model, ones, found = on_meta(build, VARIANTS["alexnet"]), torch.ones(1_000, 1_000, device="cpu"), []
    for name in ("drop6", "drop7"):
        layer = model.get_submodule(name)
        training = layer.train()(ones)
        found += [float(training.mean()), float(training.max()), float(layer.eval()(ones).min())]
    return found


def _facts() -> Iterator[Fact]:
    of = partial(Fact, variant="alexnet")
    # 60,965,224, cut to whole millions.
    yield of(
        "60 million parameters", "abstract", 60e6, lambda: parameters(on_meta(build, VARIANTS["alexnet"])), (0, 1e6)
    )
    # 659,272, cut to tens of thousands. (The caption's 253,440 for conv1 is 55 · 48 · 96; its maps are 55 × 55 × 96.)
    yield of("650,000 neurons", "abstract", 650_000, lambda: sum(_outputs(LAYERS)), (0, 10_000))
    neurons = (186_624, 64_896, 64_896, 43_264, 4_096, 4_096, 1_000)
    yield of("neurons of the layers after the first", "Fig. 2, caption", neurons, lambda: _outputs(LAYERS[1:]))
    maps = ((96, 55, 55), (256, 27, 27), (384, 13, 13), (384, 13, 13), (256, 13, 13))
    yield of("maps of the convolutional layers", "Fig. 2", maps, _map_sizes)
    kernels = {
        "conv1": (96, 3, 11, 11),
        "conv2": (256, 48, 5, 5),
        "conv3": (384, 256, 3, 3),
        "conv4": (384, 192, 3, 3),
        "conv5": (256, 192, 3, 3),
    }
    for name, shape in kernels.items():
        count, depth, height, width = shape
        yield of(f"{name}: {count} kernels of {height}×{width}×{depth}", "Sec. 3.5", shape, partial(_kernel, name))
    # Printed with two decimals; the sampling error of the smallest layer, 34,848 weights, is 0.00004.
    yield of("weights start with standard deviation 0.01", "Sec. 5", (0.01,) * 8, _spreads, 0.0005)
    biases = (0, 1, 0, 1, 1, 1, 1, 0)
    yield of("biases start at 1 in conv2, conv4, conv5, fc6, fc7, at 0 elsewhere", "Sec. 5", biases, _biases)
    # k = 2, n = 5, α = 1e-4, β = 0.75: 100 / (2 + 1e-4 · 5 · 100²)^0.75 = 100 / 7^0.75
    yield of("response normalisation with k = 2, n = 5, α = 1e-4, β = 0.75", "Sec. 3.3", 23.237, _response, 0.0005)
    # The mean of a million coins has a sampling error of 0.0005.
    says = "dropout in fc6 and fc7: half the units off in training, the others unchanged; all on, times 0.5, in tests"
    yield of(says, "Sec. 4.2", (0.5, 1.0, 0.5) * 2, _test_scale, 0.005)


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return AlexNet(config)


PAPER = Paper(
    title="ImageNet Classification with Deep Convolutional Neural Networks",
    authors="Alex Krizhevsky, Ilya Sutskever, Geoffrey E. Hinton",
    year=2012,
    venue="NIPS 2012",
    url="https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks",
    idea="Learn everything from pixels: a large convolutional network, many labelled photographs, and GPUs.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
    results=(
        Result("alexnet", "ILSVRC-2010 test", "top-1 error %, 10 crops", 37.5, "Table 1"),
        Result("alexnet", "ILSVRC-2010 test", "top-5 error %, 10 crops", 17.0, "Table 1"),
        Result("alexnet", "ILSVRC-2012 validation", "top-1 error %, 10 crops", 40.7, "Table 2"),
        Result("alexnet", "ILSVRC-2012 validation", "top-5 error %, 10 crops", 18.2, "Table 2"),
    ),
)
