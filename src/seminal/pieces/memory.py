"""Memory of a network, counted before there is any: what training keeps for the backward pass, and what inference needs.

The network is run on tensors that have a size and no numbers (torch's fake tensors, those of `torch.compile`), and the
storages that are still alive are counted. That is exact whatever keeps them: autograd, a checkpoint, a closure. It costs
about a millisecond for each operation and no memory, for any batch. The same functions count a real network on the CPU.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from seminal.core import Config, Optim
from seminal.pieces.measure import on_meta

ELSEWHERE, COPIES = -1, -2  # owners of what no part made: the model's own forward, and autocast's copies of weights


@dataclass(frozen=True)
class Part:
    """One call of a part of the network in a forward pass. A part that runs again has its parameters counted once."""

    name: str
    shape: tuple[int, ...]  # of the output, without the batch
    parameters: int
    multiply_adds: int  # per input
    kept: int  # bytes it made that backward needs, for the whole batch


@dataclass(frozen=True)
class Training:
    """Bytes for one training step."""

    weights: int  # parameters and running statistics
    copies: int  # of the weights in bf16, which autocast keeps for the backward pass
    gradients: int
    state: int  # of the optimiser
    inputs: int
    activations: int  # what the forward pass makes and the backward pass needs, the output among it
    passing: int  # what is alive beyond all these at the busiest moment, between an operation and the next

    @property
    def total(self) -> int:
        """All of it at once. A little may never be there at the same time: activations are freed as gradients appear."""
        kept = self.weights + self.copies + self.gradients + self.state + self.inputs + self.activations
        return kept + self.passing


@dataclass(frozen=True)
class Inference:
    """Bytes for the answers to one batch."""

    weights: int
    inputs: int
    activations: int  # the most alive at one moment: what an operation reads and gives, and what waits for later

    @property
    def total(self) -> int:
        return self.weights + self.inputs + self.activations


@contextlib.contextmanager
def imagined(
    build: Callable[[Any], nn.Module], config: Config, batch: int
) -> Iterator[tuple[nn.Module, tuple[Tensor, ...]]]:
    """The network of ``config`` and a batch for it, without numbers and without memory; to be used within the context.

    They say that they are on the CPU, for autocast has no rules for torch's meta device.
    """
    model = on_meta(build, config)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield model.to_empty(device="cpu"), config.example(batch)


def training(model: nn.Module, inputs: tuple[Tensor, ...], optim: Optim, dtype: torch.dtype) -> Training:
    """Bytes of a training step, from a forward and a backward pass in training mode, after which the model has no gradients;
    ``dtype`` is float32, or bfloat16 for autocast."""
    model.train().zero_grad(set_to_none=True)
    tracker, output = _passed(model, inputs, dtype)
    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients, copies = sum(p.nbytes for p in parameters), tracker.alive(COPIES)
    activations = tracker.alive() - copies
    with tracker:
        answer = output[0] if isinstance(output, tuple) else output  # a recurrent language model gives its state too
        loss = answer.float().logsumexp(-1).sum()  # of the size of a cross-entropy
        del output, answer
        loss.backward()
    model.zero_grad(set_to_none=True)
    return Training(
        weights=_weights(model),
        copies=copies,
        gradients=gradients,
        state=state(parameters, optim),
        inputs=sum(x.nbytes for x in inputs),
        activations=activations,
        passing=max(0, tracker.peak - gradients - copies - activations),
    )


def inference(model: nn.Module, inputs: tuple[Tensor, ...], dtype: torch.dtype) -> Inference:
    """Bytes of a forward pass in evaluation mode without gradients."""
    with torch.no_grad():
        tracker, _ = _passed(model.eval(), inputs, dtype)
    return Inference(_weights(model), sum(x.nbytes for x in inputs), tracker.peak)


def parts(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Part]:
    """The calls of the network's parts in one fp32 forward pass in the model's own mode, in order; last, where there is
    such a thing, what lies in no part. The columns add up to the whole network's."""
    record = _Record(model, inputs)
    handles = [handle for name, part in named_parts(model) for handle in record.watch(name, part)]
    try:
        with record.tracker, record.counter:
            output = model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    rows = record.rows()
    del output
    return rows


def named_parts(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The parts a reader of the paper knows by name: a container of named parts is shown part by part, and so is a plain
    list, which is never called itself."""
    for name, child in model.named_children():
        numbered = any(part.isdigit() for part, _ in child.named_children())
        if type(child) in (nn.ModuleList, nn.ModuleDict) or (isinstance(child, nn.Sequential) and not numbered):
            yield from named_parts(child, f"{prefix}{name}.")
        elif not isinstance(child, nn.Identity):
            yield prefix + name, child


def state(parameters: list[nn.Parameter], optim: Optim) -> int:
    """Bytes torch's optimiser keeps for these parameters after its first step.

    Per parameter: SGD keeps its velocity, if it has momentum; Adagrad the sum of squares; RMSprop their mean, and a
    velocity if it has momentum; the others two means. All but SGD and BertAdam keep a count of steps with each tensor.
    """
    moving = int(optim.momentum > 0)
    numbers = {"sgd": moving, "adagrad": 1, "rmsprop": 1 + moving}.get(optim.name, 2)
    counts = 0 if optim.name in ("sgd", "bertadam") else 4 * len(parameters)  # one float32 each
    return numbers * sum(p.nbytes for p in parameters) + counts


# ------------------------------------------------------------------------------------------------------- how it is done


class Tracker(TorchDispatchMode):
    """Notes every storage that operations make while it is entered, with the part that made it, until it is freed.

    ``known``: tensors whose storages are not to be counted; ``weights``: those whose casts are copies of weights.
    ``peak``: also keep the most bytes that were alive at once, in the attribute of this name."""

    def __init__(self, known: list[Tensor], weights: list[Tensor], *, peak: bool = False) -> None:
        super().__init__()
        self.owner = ELSEWHERE
        self.peak = 0
        self._peak = peak
        self._held = 0
        self._known = {_storage(t) for t in known}
        self._weights = {_storage(t) for t in weights}
        self._found: dict[int, tuple[weakref.ref[Any], int, int]] = {}  # by number: a reference, bytes, owner

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        copied = func is torch.ops.aten._to_copy.default and _storage(args[0]) in self._weights
        for tensor in tree_iter(output):
            if isinstance(tensor, Tensor):
                self._note(tensor, COPIES if copied else self.owner)
        if self._peak:
            self.peak = max(self.peak, self._held)
        return output

    def _note(self, tensor: Tensor, owner: int) -> None:
        number, storage = _storage(tensor), tensor.untyped_storage()
        if number in self._known or number in self._found:
            return
        size = storage.nbytes()

        def freed(_: Any) -> None:
            del self._found[number]
            self._held -= size

        self._found[number] = (weakref.ref(storage, freed), size, owner)
        self._held += size

    def alive(self, owner: int | None = None) -> int:
        """Bytes made and not yet freed; of one owner, if one is given."""
        return sum(size for _, size, made in list(self._found.values()) if owner in (None, made))


class _Record:
    """What `parts` notes of each call."""

    def __init__(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.model, self.batch = model, len(inputs[0])
        self.tracker = _tracker(model, inputs)
        self.counter = FlopCounterMode(display=False)
        self.calls: list[tuple[str, tuple[int, ...], int, int]] = []  # name, shape, parameters, operations
        self.counted: set[nn.Parameter] = set()
        self.before = 0

    def watch(self, name: str, part: nn.Module) -> Iterator[Any]:
        """Hooks that open a row when the part begins and close it when it ends. A part within a part opens none."""
        inside: list[bool] = []

        def begin(module: nn.Module, args: Any) -> None:
            inside.append(self.tracker.owner == ELSEWHERE)
            if inside[-1]:
                self.tracker.owner, self.before = len(self.calls), self.counter.get_total_flops()

        def end(module: nn.Module, args: Any, output: Any) -> None:
            if inside.pop():
                shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
                new = set(module.parameters()) - self.counted
                self.counted |= new
                work = self.counter.get_total_flops() - self.before
                self.calls.append((name, shape, sum(p.numel() for p in new), work))
                self.tracker.owner = ELSEWHERE

        yield part.register_forward_pre_hook(begin)
        yield part.register_forward_hook(end)

    def rows(self) -> list[Part]:
        found = [
            Part(name, shape, parameters, work // 2 // self.batch, self.tracker.alive(place))
            for place, (name, shape, parameters, work) in enumerate(self.calls)
        ]
        rest = sum(p.numel() for p in self.model.parameters() if p not in self.counted)
        work = self.counter.get_total_flops() - sum(work for _, _, _, work in self.calls)
        last = Part("elsewhere", (), rest, work // 2 // self.batch, self.tracker.alive(ELSEWHERE))
        return [*found, last] if last.parameters or last.multiply_adds or last.kept else found


def _passed(model: nn.Module, inputs: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tracker, Tensor]:
    """One forward pass under a tracker, and its output."""
    tracker = _tracker(model, inputs)
    with tracker, torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        output = model(*inputs)
    return tracker, output


def _tracker(model: nn.Module, inputs: tuple[Tensor, ...]) -> Tracker:
    known = [*model.parameters(), *model.buffers(), *inputs]
    return Tracker(known, list(model.parameters()), peak=True)


def _weights(model: nn.Module) -> int:
    return sum(t.nbytes for t in [*model.parameters(), *model.buffers()])


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
