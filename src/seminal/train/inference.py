"""The same network, faster, for when nothing is learned any more: `optimised`.

What a batch normalisation does in evaluation mode is the same for every input, so it is folded into the weights of the
layer before it (Jacob et al. 2018, "Quantization and Training of Neural Networks", Sec. 3.2, describe it well). Which layer
that is, is not guessed from names or from the source: an example runs through the network, and what each layer reads is
noted. Layout and number format are measured, and kept where the outputs agree.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from seminal.core import Precision
from seminal.train.precision import CANDIDATES, WORTH, arithmetic, has_bf16, laid_out

AGREE = 1e-3  # largest difference of an output from the plain network's, as a share of the largest output

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
Dropout = nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d | nn.AlphaDropout | nn.FeatureAlphaDropout


def optimised(model: nn.Module, example: Tensor, *, precision: Precision | None = None) -> nn.Module:
    """A copy of ``model`` for inference, which takes and gives what the model does, without gradients.

    ``example``: a few inputs, on the model's device; the copy is for inputs like them. Batch normalisations that directly
    follow a convolution or a linear layer are folded into it, dropout is taken out, and ReLUs overwrite what nobody reads
    again. ``precision``: None to measure layout and number format and take the fastest whose outputs agree within `AGREE`;
    one that is given is taken as it is. ``compile`` is never chosen unasked: it takes minutes.

    Where the changed copy fails or disagrees, a warning says so and the plain copy is returned.
    """
    plain = _Inference(copy.deepcopy(model).eval(), Precision())
    try:
        folded = _folded(plain.network, example)
        apart = difference(_Inference(folded, Precision()), plain, example)
    except (AttributeError, RuntimeError, TypeError) as error:
        apart, why = float("inf"), f"with its normalisations folded it fails ({type(error).__name__}: {error})"
    else:
        why = f"with its normalisations folded its outputs differ by {apart:.1e} of the largest"
    if not apart <= AGREE:
        warnings.warn(f"{type(model).__name__} is left as it is: {why}.", stacklevel=2)
        folded = plain.network
    if precision is not None:
        return _Inference(folded, precision)
    return _fastest(folded, plain, example)


@torch.no_grad()
def difference(ours: nn.Module, theirs: nn.Module, example: Tensor) -> float:
    """Largest difference of the outputs, as a share of the largest output of the second."""
    a, b = ours(example).float(), theirs(example).float()
    return float((a - b).abs().max() / b.abs().max().clamp_min(torch.finfo(torch.float32).tiny))


class _Inference(nn.Module):
    """A network with its number format and layout: the caller's inputs are converted on the way in, the outputs on the way
    out."""

    def __init__(self, network: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.precision = precision
        self.network = network if precision == Precision() else laid_out(_cast(network, precision), precision)
        if precision.compile:
            # Weights that never change again may be laid out for the machine, once.
            self.network.compile(options={"freezing": True})
        self.eval()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        if self.precision.channels_last and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        with arithmetic(self.precision, x.device):
            y: Tensor = self.network(x)
            return y.to(x.dtype) if x.is_floating_point() else y.float()  # tokens are read as whole numbers


def _cast(network: nn.Module, precision: Precision) -> nn.Module:
    """A copy; for bf16, with the weights converted that autocast would convert at every call."""
    network = copy.deepcopy(network)
    for layer in network.modules():
        if precision.dtype == "bf16" and isinstance(layer, Convolution | nn.Linear):
            layer.to(torch.bfloat16)
    return network


# ------------------------------------------------------------------------------------------------- the faster candidate


def _fastest(network: nn.Module, plain: nn.Module, example: Tensor, *, seconds: float = 2.0) -> nn.Module:
    """The fastest candidate that agrees, by turns and by the best of each: a busy moment cannot decide."""
    candidates = [c for c in CANDIDATES if example.dim() == 4 or not c.channels_last]
    if not has_bf16(example.device):
        candidates = [c for c in candidates if c.dtype == "fp32"]
    copies = [_Inference(network, candidate) for candidate in candidates]
    copies = [one for one in copies if one.precision == Precision() or difference(one, plain, example) <= AGREE]
    best = [float("inf")] * len(copies)
    deadline = time.perf_counter() + seconds
    for _ in range(50):
        best = [min(before, _seconds(one, example)) for before, one in zip(best, copies)]
        if time.perf_counter() > deadline:
            break
    fast = [(t, place) for place, t in enumerate(best) if t * WORTH <= best[0]]
    return copies[min(fast)[1]] if fast else copies[0]


def _seconds(network: nn.Module, example: Tensor) -> float:
    _wait(example.device)
    started = time.perf_counter()
    network(example)
    _wait(example.device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# ---------------------------------------------------------------------------------------------------------- the folding


def _folded(model: nn.Module, example: Tensor) -> nn.Module:
    """A copy with every foldable normalisation folded, without dropout, and with ReLUs in place where that is safe."""
    model = copy.deepcopy(model)
    flow = _flow(model, example)
    new: dict[nn.Module, nn.Module] = {}
    for layer, norm in flow.foldable():
        fuse: Any = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
        new[layer], new[norm] = fuse(layer, norm), nn.Identity()
    for relu in flow.overwriting():
        new[relu] = nn.ReLU(inplace=True)
    for layer in model.modules():
        if isinstance(layer, Dropout):
            new[layer] = _Nothing(layer.p)
    for name, layer in list(model.named_modules(remove_duplicate=False)):
        if name and layer in new:
            model.set_submodule(name, new[layer])
    return model


class _Nothing(nn.Identity):
    """In the place of dropout, whose probability some networks ask for."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p


@dataclass(frozen=True)
class _Call:
    """One call of a layer: what it read and what it gave. They are held, so that no other tensor gets their storage."""

    layer: nn.Module
    read: Tensor
    gave: Tensor
    when: int


@dataclass
class _Flow:
    """Which layers were called, in order, and who read which storage when. The clock counts calls and operations."""

    calls: list[_Call] = field(default_factory=list)
    reads: dict[int, list[int]] = field(default_factory=dict)
    untouchable: set[int] = field(default_factory=set)  # storages of parameters, buffers, the example and the outputs
    clock: int = 0

    def note(self, tensors: Any) -> None:
        """These were read now."""
        self.clock += 1
        for tensor in tree_iter(tensors):
            if isinstance(tensor, Tensor):
                self.reads.setdefault(_storage(tensor), []).append(self.clock)

    def called(self, layer: nn.Module) -> list[_Call]:
        return [call for call in self.calls if call.layer is layer]

    def read_after(self, tensor: Tensor, when: int) -> int:
        return sum(time > when for time in self.reads.get(_storage(tensor), ()))

    def foldable(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """(layer, normalisation): each called once, and the layer's output read by the normalisation alone."""
        makers = {_storage(call.gave): call for call in self.calls if isinstance(call.layer, Convolution | nn.Linear)}
        for call in self.calls:
            maker = makers.get(_storage(call.read))
            if not isinstance(call.layer, BatchNorm) or call.layer.running_mean is None or maker is None:
                continue
            alone = self.read_after(maker.gave, maker.when) == 1 and _storage(maker.gave) not in self.untouchable
            once = len(self.called(call.layer)) == len(self.called(maker.layer)) == 1
            # A linear layer over sequences has its features last, where a normalisation looks for positions.
            matching = not isinstance(maker.layer, nn.Linear) or maker.gave.dim() == 2
            if alone and once and matching and call.read.shape == maker.gave.shape:
                yield maker.layer, call.layer

    def overwriting(self) -> Iterator[nn.Module]:
        """ReLUs whose inputs nobody reads afterwards, at any of their calls."""
        safe: dict[nn.Module, bool] = {}
        for call in self.calls:
            if type(call.layer) is nn.ReLU:
                dense = call.read.is_contiguous() or call.read.is_contiguous(memory_format=torch.channels_last)
                free = _storage(call.read) not in self.untouchable and self.read_after(call.read, call.when) == 0
                safe[call.layer] = safe.get(call.layer, True) and dense and free
        yield from (layer for layer, is_safe in safe.items() if is_safe)


def _flow(model: nn.Module, example: Tensor) -> _Flow:
    """The flow of an example through the network."""
    flow, inside = _Flow(), list[nn.Module]()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if not inside:  # what happens within a watched layer is its own affair
                flow.note((args, kwargs))
            return func(*args, **(kwargs or {}))

    def begin(layer: nn.Module, args: Any) -> None:
        if not inside:
            flow.note(args)
        inside.append(layer)

    def end(layer: nn.Module, args: Any, output: Any) -> None:
        inside.pop()
        if not inside and args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
            if _storage(output) != _storage(args[0]):
                flow.reads[_storage(output)] = []  # a new tensor, though another may have lain there before
            flow.calls.append(_Call(layer, args[0], output, flow.clock))

    handles = []
    for layer in model.modules():
        if isinstance(layer, Convolution | nn.Linear | BatchNorm | nn.ReLU):
            handles += [layer.register_forward_pre_hook(begin), layer.register_forward_hook(end)]
    try:
        with torch.no_grad(), Watch():
            output = model(example)
    finally:
        for handle in handles:
            handle.remove()
    held = [example, output, *model.parameters(), *model.buffers()]
    flow.untouchable |= {_storage(tensor) for tensor in tree_iter(held) if isinstance(tensor, Tensor)}
    return flow


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
