"""Batch normalisation.

Sergey Ioffe, Christian Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift", arXiv 1502.03167, February 2015; ICML 2015.

The idea: give every input of a non-linearity mean 0 and variance 1 over the mini-batch, then let the network choose its own
scale γ and shift β. Larger rates become possible, first values matter less, and sigmoids do not get stuck. The authors'
reason is that the inputs of each layer otherwise keep changing their distribution while the network learns, and the layer
has to follow. It is a hypothesis: Santurkar et al. 2018 (arXiv 1805.11604) put such changes back after each normalisation,
trained as well, and found that the loss had become smoother instead.

    μ = 1/m Σ x_i        σ² = 1/m Σ (x_i − μ)²                        over the mini-batch                     Alg. 1
    x̂_i = (x_i − μ) / √(σ² + ε)        y_i = γ x̂_i + β                                                       Alg. 1
    ∂ℓ/∂x_i = γ/√(σ² + ε) · (∂ℓ/∂y_i − mean ∂ℓ/∂y − x̂_i · mean(∂ℓ/∂y · x̂))      Sec. 3's six lines, put together
    y = γ/√(Var + ε) · x + (β − γ E/√(Var + ε))                       in inference                    Alg. 2, line 11
    E = mean of μ        Var = m/(m − 1) · mean of σ²                 over training mini-batches      Alg. 2, line 10
    z = g(BN(W u))                                                    no bias: β does its work                Sec. 3.2

In a convolution all places of a map are normalised together: m is then the number of pictures times that of pixels. E and
Var come from moving averages kept during training, or from `population_statistics`, a pass over the data afterwards.
The networks here are those of Sec. 4.1 for handwritten digits; those of Sec. 4.2 are in `bn_inception.py`.

Shapes: B pictures of C channels, H × W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, UserError
from seminal.pieces.init import constant, fill, normal
from seminal.pieces.measure import on_meta
from seminal.pieces.pictures import changed_input, example, fit


@dataclass(frozen=True)
class Config:
    normalised: bool = True  # batch normalisation before each non-linearity; biases without it
    hidden: tuple[int, ...] = (100, 100, 100)  # sigmoid units per hidden layer
    in_channels: int = 1  # C
    size: tuple[int, int] = (28, 28)  # H, W
    outputs: int = 10

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures of any size; raises `UserError` for other data."""
        found = fit(spec, "the network for digits", least=1, shrinks=0, instead="mlp")
        return replace(self, in_channels=found.in_channels, size=found.size, outputs=found.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """Other layers, and what the data changed."""
        what = f"hidden layers of {', '.join(map(str, self.hidden))} units (paper: 100, 100, 100)"
        found = [Departure(what, "chosen by you", "Sec. 4.1")] if self.hidden != Config.hidden else []
        return (*found, *changed_input(self, Config(), "Sec. 4.1"))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, C, H, W) standard normal numbers."""
        return example(self, batch)


# ------------------------------------------------------------------------------------------------- the contribution


class BatchNorm(nn.Module):
    """Algorithm 1 in training and line 11 of Algorithm 2 in evaluation, for rows (B, C) and for maps (B, C, H, W).

    It equals torch's `nn.BatchNorm1d` and `nn.BatchNorm2d`, which are faster and which networks use; states can be
    exchanged. Moving averages change by ``momentum`` with each mini-batch, and keep the unbiased variance.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, features: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(features))  # γ
        self.bias = nn.Parameter(torch.zeros(features))  # β
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Float[Tensor, "batch channels *space"]) -> Float[Tensor, "batch channels *space"]:
        shape = (1, -1, *(1 for _ in x.shape[2:]))  # (C,) -> (1, C) or (1, C, 1, 1)
        gain, shift = self.weight.view(shape), self.bias.view(shape)
        if not self.training:  # Algorithm 2, line 11: one multiplication and one addition
            slope = gain / torch.sqrt(self.running_var.view(shape) + self.eps)
            return slope * x + (shift - slope * self.running_mean.view(shape))
        mean, variance, m = moments(x)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (m / (m - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        normal = (x - mean.view(shape)) / torch.sqrt(variance.view(shape) + self.eps)  # x̂
        return gain * normal + shift


def moments(x: Float[Tensor, "batch channels *space"]) -> tuple[Tensor, Tensor, int]:
    """μ and σ² of each channel, (channels,), and m: how many numbers of the mini-batch each was taken over."""
    m = x.numel() // x.shape[1]
    if m < 2:
        raise UserError("batch normalisation was given one number per channel: use batches of at least 2 rows.")
    across = [dim for dim in range(x.dim()) if dim != 1]
    mean = x.mean(across)
    variance = (x - mean.view(1, -1, *(1 for _ in x.shape[2:]))).square().mean(across)
    return mean, variance, m


def back_propagated(
    x: Float[Tensor, "m features"],
    gain: Float[Tensor, " features"],
    by_y: Float[Tensor, "m features"],
    *,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor]:
    """∂ℓ/∂x, ∂ℓ/∂γ and ∂ℓ/∂β from ∂ℓ/∂y: the six lines of Sec. 3, as printed. Autograd gives the same numbers."""
    mean, variance, m = moments(x)
    away, spread = x - mean, torch.sqrt(variance + eps)
    by_normal = by_y * gain  # ∂ℓ/∂x̂
    by_variance = (by_normal * away).sum(0) * -0.5 * (variance + eps) ** -1.5
    by_mean = (by_normal * (-1 / spread)).sum(0) + by_variance * (-2 * away).sum(0) / m
    by_x = by_normal / spread + by_variance * 2 * away / m + by_mean / m
    return by_x, (by_y * away / spread).sum(0), by_y.sum(0)


LAYERS = (BatchNorm, nn.BatchNorm1d, nn.BatchNorm2d)


@torch.no_grad()
def population_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give every batch normalisation of ``model`` the mean and unbiased variance of its inputs over ``batches`` of the
    training data, in place of its moving averages: Algorithm 2, lines 8 to 10.

    As in training, each layer is normalised by the mini-batch while the pass is made; dropout is off. Mini-batches of
    unequal size count by their size. Layers that do not run in evaluation keep what they have.
    """
    sums: dict[nn.Module, tuple[Tensor, Tensor, int, int]] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        mean, variance, m = moments(inputs[0].double())
        before = sums.get(layer, (torch.zeros_like(mean), torch.zeros_like(mean), 0, 0))
        sums[layer] = (before[0] + m * mean, before[1] + m * variance, before[2] + m, before[3] + m - 1)

    modes = [(module, module.training) for module in model.modules()]
    found = [module for module in model.modules() if isinstance(module, LAYERS)]
    handles = [layer.register_forward_pre_hook(note) for layer in found]
    model.eval()
    try:
        for layer in found:
            layer.train()
        for batch in batches:
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    for norm, (mean, variance, numbers, freedom) in sums.items():
        norm.get_buffer("running_mean").copy_(mean / numbers)
        norm.get_buffer("running_var").copy_(variance / freedom)


# -------------------------------------------------------------------------------------------------------- the model


class DigitNetwork(nn.Module):
    """Sec. 4.1: fully-connected layers of sigmoids, z = g(BN(W u)) or z = g(W u + b), and a linear classifier."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        layers = []
        inputs = config.in_channels * config.size[0] * config.size[1]
        for units in config.hidden:
            norm = [nn.BatchNorm1d(units)] if config.normalised else []
            layers.append(nn.Sequential(nn.Linear(inputs, units, bias=not norm), *norm, nn.Sigmoid()))
            inputs = units
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(inputs, config.outputs)
        fill(self, weights=normal(0.1), biases=constant(0.0))  # "small random Gaussian values": no number is printed

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        y: Tensor = self.output(self.hidden(x.flatten(1)))  # 784 -> 100 -> 100 -> 100 -> 10
        return y


# ------------------------------------------------------------------------------------------------- variants and facts

VARIANTS = {"bn-mnist": Config(), "mnist-sigmoid": Config(normalised=False)}


def _units() -> list[int]:
    """Inputs of the network, then the units of each layer."""
    layers = [m for m in on_meta(build, VARIANTS["bn-mnist"]).modules() if isinstance(m, nn.Linear)]
    return [layers[0].in_features, *(layer.out_features for layer in layers)]


def _per_activation() -> float:
    return sum(p.numel() for p in BatchNorm(100).parameters()) / 100


def _scaled() -> list[float]:
    """Largest change of BN(W u) when W is doubled, and what becomes of its gradient. ε is left out, as in Sec. 3.3."""
    draw = torch.Generator().manual_seed(0)
    weight, u, by_y = (torch.randn(shape, generator=draw, device="cpu") for shape in ((5, 7), (6, 7), (6, 5)))
    outputs, gradients = [], []
    for scale in (1, 2):  # doubling is exact in binary numbers
        leaf = (scale * weight).requires_grad_()
        with torch.device("cpu"):
            outputs.append(BatchNorm(5, eps=0.0)(u @ leaf.T))
        gradients.append(torch.autograd.grad(outputs[-1], leaf, by_y)[0])
    ratio = gradients[1] / gradients[0]
    return [float((outputs[1] - outputs[0]).detach().abs().max()), float(ratio.min()), float(ratio.max())]


def _normalised() -> list[float]:
    """Mean of x̂ and of x̂² over the mini-batch (0, 1, 2, 6), whose mean is 2.25 and variance 5.1875; ε is left out."""
    with torch.device("cpu"):
        y = BatchNorm(1, eps=0.0)(torch.tensor([[0.0], [1.0], [2.0], [6.0]])).detach()
    return [round(float(y.mean()), 6), round(float(y.square().mean()), 6)]


def _facts() -> Iterator[Fact]:
    units = (784, 100, 100, 100, 10)
    yield Fact("28×28 inputs, 3 hidden layers of 100, 10 outputs", "Sec. 4.1", units, _units, variant="bn-mnist")
    yield Fact("two extra parameters per activation", "Sec. 5", 2, _per_activation)
    yield Fact("x̂ has mean 0 and mean square 1 over the mini-batch", "Sec. 3", (0.0, 1.0), _normalised)
    yield Fact("BN((aW)u) = BN(Wu), and ∂/∂(aW) = 1/a ∂/∂W, at a = 2", "Sec. 3.3", (0.0, 0.5, 0.5), _scaled)


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return DigitNetwork(config)


PAPER = Paper(
    title="Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
    authors="Sergey Ioffe, Christian Szegedy",
    year=2015,
    venue="ICML 2015, arXiv 1502.03167",
    url="https://arxiv.org/abs/1502.03167",
    idea="Give every unit's input mean 0 and variance 1 over the mini-batch, then let it choose its own scale and shift.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
)
