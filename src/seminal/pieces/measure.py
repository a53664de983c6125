"""Sizes of a network, counted on the built network: parameters, multiply-adds, shapes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from seminal.core import Config


def on_meta(build: Callable[[Any], nn.Module], config: Any) -> nn.Module:
    """The network without memory for its weights: shapes and counts are exact, and ResNet-1202 takes milliseconds."""
    with torch.device("meta"):
        return build(config).eval()


def parameters(model: nn.Module) -> int:
    """Learned numbers: weights, biases, gains. Running statistics are not learned and not counted."""
    return sum(p.numel() for p in model.parameters())


def multiply_adds(model: nn.Module, *inputs: Tensor) -> int:
    """Multiply-accumulates of convolutions and matrix products in one forward pass (a paper's "FLOPs" are mostly these;
    torch counts a multiply-add as two)."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(*inputs)
    return counter.get_total_flops() // 2


@cache  # several facts ask about one network
def count(build: Callable[[Any], nn.Module], config: Any) -> int:
    """`parameters` of the network of ``config``."""
    return parameters(on_meta(build, config))


@cache
def work(build: Callable[[Any], nn.Module], config: Any) -> int:
    """`multiply_adds` of the network of ``config`` for one input of its own size."""
    with torch.device("meta"):
        return multiply_adds(on_meta(build, config), *config.example(1))


@cache
def stages(build: Callable[[Any], nn.Module], config: Any) -> dict[str, tuple[int, ...]]:
    """`shapes` of the network of ``config`` for one input of its own size."""
    with torch.device("meta"):
        return shapes(on_meta(build, config), *config.example(1))


def shapes(model: nn.Module, *inputs: Tensor) -> dict[str, tuple[int, ...]]:
    """Output shape of every sub-module, without the batch, in the order in which they first run."""
    found: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                found.setdefault(name, tuple(output.shape[1:]))

        return hook

    handles = [m.register_forward_hook(note(name)) for name, m in model.named_modules() if name]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def example_size(config: Config) -> int | None:
    """Side of the square pictures the paper's model takes; None where it takes no pictures."""
    with torch.device("meta"):
        shape = config.example(1)[0].shape
    return shape[-1] if len(shape) == 4 else None
