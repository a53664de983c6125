"""DenseNet in little memory.

Geoff Pleiss, Danlu Chen, Gao Huang, Tongcheng Li, Laurens van der Maaten, Kilian Q. Weinberger, "Memory-Efficient
Implementation of DenseNets", arXiv 1707.06990, July 2017 (a technical report).

The idea: layer l of a dense block puts the l maps before it side by side, normalises them, and a framework keeps both
results for the backward pass: l maps twice in every layer, quadratic in their number, although only one map is new. Both
are cheap to compute again. So all layers share one piece of memory for the first result and one for the second, each
layer writes over what the one before it left there, and the backward pass fills them again, layer by layer.

Temporaries of a block of L layers, where the input counts as one map and each layer adds one, in W · H · k numbers:

    plain    side by side 2 + 3 + … + L, normalised 1 + 2 + … + L: together L (L + 1) − 1
    shared   one area for each, as large as the last layer needs: together 2L

With the gradients it is the same: one area as large as the widest layer needs, not one for each layer. What the
convolutions give is kept in both: it is the maps themselves.

The shared memory here is torch's own: what a layer gives back, the next one gets, so that no area is set aside. Torch's
checkpoint does the same in fewer lines, but finds the statistics of each batch twice, which costs time, and moves the
running ones twice, which is wrong: `benchmarks/densenet_memory.py` measures both.

Why this is a file of its own: the network is that of `papers/densenet.py`, number for number, and its checkpoints are
the same. The report's invention is one function, `shared`, which DenseNet takes for its BN-ReLU-Conv. So there is no
switch in the network's configuration: `build` here and `build` there take the same one.

Shapes: B pictures of C channels, H × W pixels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from seminal.core import Fact, Paper
from seminal.papers import densenet
from seminal.papers.densenet import Compute, Config, DenseBlock, DenseLayer, DenseNet, at_once, side_by_side
from seminal.pieces.measure import count
from seminal.pieces.memory import Tracker

# ------------------------------------------------------------------------------------------------- the contribution


def shared(norm: nn.Module, conv: nn.Module, maps: Sequence[Tensor]) -> Tensor:
    """Conv(ReLU(BN([x_0, …]))), of which only the maps and the result are kept for the backward pass.

    The same numbers as `densenet.at_once`: outputs, gradients, and running statistics, which move once per step although
    the forward pass is computed twice. In evaluation, and where hooks watch the two modules, it is `at_once` itself.
    """
    if not torch.is_grad_enabled() or not conv.training or _watched(norm) or _watched(conv):
        return at_once(norm, conv, maps)
    if torch.compiler.is_compiling():
        # The compiler sees that statistics are written once, and what may be computed again.
        return _checkpointed(norm, conv, maps)
    if _usual(norm, conv) and maps[0].numel() > maps[0].shape[1]:
        # The statistics are kept, 2 numbers per channel, so that only cheap steps are made again.
        return _Shared.apply(norm.weight, norm.bias, conv.weight, norm, conv, *maps)
    # Another normalisation, over all processes for one, or frozen: it is called again as a whole.
    return _checkpointed(norm, conv, maps, context_fn=lambda: (contextlib.nullcontext(), _unmoved(norm)))


class _Shared(torch.autograd.Function):
    """BN-ReLU-Conv with batch statistics; saves the maps, the statistics and the weights."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        gain, shift, weight, norm, conv, *maps = given
        x = side_by_side(maps)
        y, mean, scale = torch.native_batch_norm(
            x, gain, shift, norm.running_mean, norm.running_var, True, _momentum(norm), norm.eps
        )
        ctx.save_for_backward(gain, shift, weight, mean, scale, *maps)
        ctx.eps, ctx.padding = norm.eps, conv.padding
        return F.conv2d(y.relu_(), weight, padding=conv.padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gain, shift, weight, mean, scale, *maps = ctx.saved_tensors
        x = side_by_side(maps)
        # `scale` is 1 / √(variance + ε). With given statistics normalising is one step, without a pass to find them.
        variance = scale.square().reciprocal() - ctx.eps
        y = torch.native_batch_norm(x, gain, shift, mean, variance, False, 0.0, ctx.eps)[0].relu_()
        # Under autocast the convolution computed in its own number format; its gradient arrives in it.
        needs = ctx.needs_input_grad
        inner = needs[0] or needs[1] or any(needs[5:])
        dy, dweight, _ = torch.ops.aten.convolution_backward(
            grad,
            y.to(grad.dtype),
            weight.to(grad.dtype),
            None,
            [1, 1],
            ctx.padding,
            [1, 1],
            False,
            [0, 0],
            1,
            [inner, needs[2], False],
        )
        dweight = dweight.to(weight.dtype) if needs[2] else None
        if not inner:
            return (None, None, dweight, None, None, *[None] * len(maps))
        dy = dy.to(y.dtype)
        torch.ops.aten.threshold_backward.grad_input(dy, y, 0, grad_input=dy)
        del y
        dx, dgain, dshift = torch.ops.aten.native_batch_norm_backward(
            dy, x, gain, None, None, mean, scale, True, ctx.eps, [True, True, True]
        )
        return (dgain, dshift, dweight, None, None, *dx.split([m.shape[1] for m in maps], 1))


def _usual(norm: nn.Module, conv: nn.Module) -> bool:
    """Whether the two are what `densenet.Composite` makes, in training: `_Shared` computes with no other."""
    if type(norm) is not nn.BatchNorm2d or type(conv) is not nn.Conv2d:
        return False
    plain = conv.bias is None and conv.stride == (1, 1) and conv.dilation == (1, 1) and conv.groups == 1
    # Statistics of a network that is bf16 throughout would be too coarse to find the same numbers again.
    fine = conv.weight.dtype in (torch.float32, torch.float64)
    return norm.training and norm.affine and norm.track_running_stats and plain and fine


def _momentum(norm: nn.BatchNorm2d) -> float:
    """The share of the new statistics; counts the batch, as the module does when it is called."""
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    return 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum


def _checkpointed(
    norm: nn.Module, conv: nn.Module, maps: Sequence[Tensor], context_fn: Callable[[], Any] | None = None
) -> Tensor:
    """torch's way to keep nothing: the whole function is called again, up to the convolution, whose inputs suffice."""

    def again(*maps: Tensor) -> Tensor:
        return at_once(norm, conv, maps)

    if context_fn is None:
        y: Tensor = checkpoint(again, *maps, use_reentrant=False)
    else:
        y = checkpoint(again, *maps, use_reentrant=False, preserve_rng_state=False, context_fn=context_fn)
    return y


@contextlib.contextmanager
def _unmoved(norm: nn.Module) -> Iterator[None]:
    """Within, the module may write to its running statistics; afterwards they are what they were."""
    before = [buffer.clone() for buffer in norm.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(norm.buffers(), before):
                buffer.copy_(value)


def _watched(module: nn.Module) -> bool:
    """Whether somebody looks at the calls of this module: then each must happen, and once."""
    looks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(looks)


# --------------------------------------------------------------------------------------------------- the calculator


def channels(inputs: int, growth: int, layers: int, *, bottleneck: bool) -> list[tuple[int, int]]:
    """(copied side by side, normalised) channels of each BN-ReLU-Conv of a dense block. A single map needs no copy."""
    found = []
    for layer in range(layers):
        width = inputs + growth * layer
        found.append((width if layer else 0, width))
        if bottleneck:
            found.append((0, 4 * growth))
    return found


def temporaries(config: Config, batch: int, *, share: bool, bytes_each: int = 4) -> int:
    """Bytes of the maps side by side and of their normalised copies, for a batch of ``batch`` pictures, in the layers
    and the transitions of ``config``: of all of them, or with ``share`` of the largest. ``bytes_each`` is 4 for fp32."""
    copied, normalised, inputs = [], [], config.first
    for i, (layers, (height, width)) in enumerate(zip(config.blocks, config.maps)):
        steps = channels(inputs, config.growth, layers, bottleneck=config.bottleneck)
        outputs = inputs + config.growth * layers
        if i + 1 < len(config.blocks):
            steps.append((outputs, outputs))  # the transition
        copied += [height * width * copy for copy, _ in steps]
        normalised += [height * width * normal for _, normal in steps]
        inputs = int(config.compression * outputs)
    total = max(copied) + max(normalised) if share else sum(copied) + sum(normalised)
    return batch * bytes_each * total


# ------------------------------------------------------------------------------------------------- variants and facts

VARIANTS = {f"{name}-shared": config for name, config in densenet.VARIANTS.items()}


def block(layers: int, compute: Compute, *, growth: int = 12, inputs: int = 12) -> DenseBlock:
    """A dense block alone, without bottlenecks."""
    config = Config((layers,), growth, bottleneck=False, compression=1.0, large_stem=False)
    return DenseBlock(DenseLayer(config, inputs + growth * i, compute) for i in range(layers))


def _bend(compute: Compute) -> float:
    """How much the growth of what is kept grows: the second difference, over blocks of 4, 8 and 12 layers, in maps."""
    few, some, many = (_kept(layers, compute) for layers in (4, 8, 12))
    return many - 2 * some + few


def _kept(layers: int, compute: Compute) -> float:
    """What is alive after the forward pass of a block, the new maps among it, in maps."""
    module, x = block(layers, compute), torch.randn(1, 12, 32, 32, device="cpu", requires_grad=True)
    tracker = Tracker([*module.parameters(), *module.buffers(), x], [])
    with tracker:
        maps = module(x)
    found = tracker.alive() / x.nbytes
    del maps  # until here they held the graph, and the graph held what is counted
    return found


def _bends() -> list[float]:
    return [_bend(at_once), _bend(shared)]


def _facts() -> Iterator[Fact]:
    # The abstract does not name the growth rate. With 32 the network has 33 M, with 48 it has 72.7 M.
    large = Config((6, 12, 64, 48), 48)
    yield Fact("a DenseNet-264 has 73 M parameters", "abstract", 73e6, partial(count, build, large), 5e5)
    measure = partial(count, build, VARIANTS["densenet201-shared"])
    yield Fact("DenseNet-201: 20 M parameters", "Sec. 1", 20e6, measure, 5e5, "densenet201-shared")
    # L² + L − 1 maps bend by 2 · 4² = 32. The batch statistics, two numbers per channel and layer, bend by
    # 32 · 12 numbers as well, which is 1/32 of a map; with the areas shared nothing else is left that does.
    says = "feature maps kept for the backward pass: quadratic in the depth, shared linear"
    yield Fact(says, "abstract", (32.0, 0.0), _bends, 0.04)


def build(config: Config) -> nn.Module:
    """The network of ``config``, a DenseNet of any kind, with shared memory."""
    return DenseNet(config, shared)


PAPER = Paper(
    title="Memory-Efficient Implementation of DenseNets",
    authors="Geoff Pleiss, Danlu Chen, Gao Huang, Tongcheng Li, Laurens van der Maaten, Kilian Q. Weinberger",
    year=2017,
    venue="arXiv 1707.06990",
    url="https://arxiv.org/abs/1707.06990",
    idea="Keep what is new, compute the rest again.",
    build=build,
    variants=VARIANTS,
    facts=tuple(_facts()),
)
