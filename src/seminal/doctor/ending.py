"""How a model ends, and what its outputs can reach.

The last operation is read from autograd's graph and confirmed by behaviour: what the last layer with parameters gives
is replaced by large random numbers, and the outputs show what the rest of the model makes of them. An activation is
found so whether it is a module, a function or written by hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

# Sizes of the random numbers: what is the same for both of a pair is a bound. The second pair is for what overflows.
SIZES = ((30.0, 30_000.0), (5.0, 20.0))
ROWS = 32

# Autograd's nodes that only rearrange, copy or cast.
PASSING = frozenset(
    {
        *("View", "UnsafeView", "Reshape", "ReshapeAlias", "Squeeze", "Unsqueeze", "Transpose", "T", "Permute"),
        *("Select", "Slice", "Clone", "Alias", "ToCopy", "Expand", "AsStrided", "Index", "Unflatten", "Split", "Cat"),
        "Stack",
    }
)
NAMED: Mapping[str, str] = MappingProxyType(
    {
        "Softmax": "softmax",
        "LogSoftmax": "log_softmax",
        "Sigmoid": "sigmoid",
        "Tanh": "tanh",
        "Relu": "relu",
        "Elu": "elu",
        "Gelu": "gelu",
        "Silu": "silu",
        "LeakyRelu": "leaky_relu",
        "Softplus": "softplus",
        "Hardtanh": "hardtanh",
        "LogSigmoid": "log_sigmoid",
        "Addmm": "linear",
        "Mm": "linear",
        "Bmm": "linear",
        "Convolution": "linear",
        "Linear": "linear",
        "NativeLayerNorm": "layer_norm",
        "NativeBatchNorm": "batch_norm",
    }
)


@dataclass(frozen=True)
class Ending:
    """The last operation, and the range that it leaves to the outputs."""

    name: str = "unknown"
    dim: int | None = None  # of a softmax
    low: float = -math.inf
    high: float = math.inf

    @property
    def limited(self) -> bool:
        return math.isfinite(self.low) or math.isfinite(self.high)

    @property
    def bounded(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def one_value(self) -> bool:
        """Whether the outputs are the same number whatever the layers before give: a softmax over one unit."""
        return self.bounded and self.high - self.low < 1e-6


def last_operation(out: Tensor) -> tuple[str, int | None]:
    """By autograd's graph: its name (see `NAMED`; else "unknown") and the dimension of a softmax."""
    node: Any = out.grad_fn
    while node is not None:
        name = node.name().removesuffix("0").removesuffix("1").removesuffix("Backward")
        if name in NAMED:
            dim = node._saved_dim if name in ("Softmax", "LogSoftmax") else None
            if dim is not None and dim > 2**62:  # autograd keeps -1 as an unsigned number
                dim -= 2**64
            return NAMED[name], None if dim is None else dim % out.dim()
        if name not in PASSING:
            return "unknown", None
        node = next((before for before, _ in node.next_functions if before is not None), None)
    return "unknown", None


def ending_of(model: nn.Module, input: Tensor) -> Ending:
    """``model`` is in evaluation mode."""
    with torch.enable_grad():
        out = model(input[:ROWS])
    name, dim = last_operation(out)
    if (
        name == "linear"
    ):  # whatever bounds what it is given (a recurrent state, where matrices are tied), weights can grow
        return Ending(name, dim)
    for sizes in SIZES:
        small, large = (drive(model, input[:ROWS], size) for size in sizes)
        if small is not None and large is not None and bool(small.isfinite().all() and large.isfinite().all()):
            break
    else:
        return Ending(name, dim)
    low, high = _bound(small.min(), large.min(), -math.inf), _bound(small.max(), large.max(), math.inf)
    usual = drive(model, input[:ROWS], 1.0)
    by_graph = Ending(name, dim, low, high)
    return _renamed(by_graph, large, zeros=usual is not None and bool((usual == 0).float().mean() > 0.1))


def _bound(small: Tensor, large: Tensor, none: float) -> float:
    """Where driving a thousand times harder does not lead further."""
    same = abs(float(large) - float(small)) <= 2e-3 * (1 + abs(float(small)))
    return float(large) if same else none


def _renamed(end: Ending, out: Tensor, zeros: bool) -> Ending:
    """The name by behaviour where behaviour is clear, else by the graph. ``out`` are outputs that were driven hard."""
    if end.one_value:
        return end
    if abs(end.low) < 1e-3 and abs(end.high - 1) < 1e-3:
        ones = [d for d in range(out.dim()) if out.shape[d] > 1 and bool(((out.sum(d) - 1).abs() < 1e-3).all())]
        return replace(end, name="softmax", dim=ones[-1]) if ones else replace(end, name="sigmoid", dim=None)
    if abs(end.low + 1) < 1e-3 and abs(end.high - 1) < 1e-3:
        return replace(end, name="tanh", dim=None)
    if end.low == 0 and end.high == math.inf and end.name in ("linear", "unknown"):
        return replace(end, name="relu" if zeros else "unknown")
    if end.low == -math.inf and abs(end.high) < 1e-3:
        nothing = [d for d in range(out.dim()) if bool((out.logsumexp(d).abs() < 1e-2).all())]
        return replace(end, name="log_softmax", dim=nothing[-1]) if nothing else end
    if not end.limited and end.name in ("softmax", "sigmoid", "tanh", "relu", "log_softmax"):
        return replace(end, name="unknown", dim=None)  # only a part of the outputs goes through it
    return end


def drive(model: nn.Module, input: Tensor, size: float) -> Tensor | None:
    """The outputs, had the last layer with parameters given random numbers of this size. None: there is no such layer."""
    last: list[nn.Module] = []
    leaves = [m for m in model.modules() if next(m.children(), None) is None and next(m.parameters(), None) is not None]

    def called(module: nn.Module, _: Any, __: Any) -> None:
        last.append(module)

    hooks = [leaf.register_forward_hook(called) for leaf in leaves]
    try:
        with torch.no_grad():
            model(input)
    finally:
        for hook in hooks:
            hook.remove()
    if not last:
        return None
    calls = last.count(last[-1])
    random = torch.Generator().manual_seed(0)

    def replace(module: nn.Module, args: Any, out: Any) -> Any:
        nonlocal calls
        calls -= 1
        if calls or not isinstance(out, Tensor) or not out.is_floating_point():
            return None
        return (size * torch.randn(out.shape, generator=random)).to(out)

    hook = last[-1].register_forward_hook(replace)
    try:
        with torch.no_grad():
            out = model(input)
            return out if isinstance(out, Tensor) and out.is_floating_point() else None
    finally:
        hook.remove()
