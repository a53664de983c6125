"""What modules give in a close look, measured by hooks that are there for that step only.

Every module that computes is measured: those without children, and those with parameters of their own (attention multiplies
with its children's weights without calling them). Activations that are called as functions are seen by a
`TorchFunctionMode`: a network is not healthier because it says ``F.relu`` and not ``nn.ReLU``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from seminal.doctor.hooks import Hook, first_tensor
from seminal.doctor.looks import Clock
from seminal.doctor.sheet import Sheet
from seminal.doctor.vitals import Layer, Vitals

NAN = float("nan")
ENOUGH = 2**16  # values of one output that are looked at: more would cost time and tell nothing new …
LEAST = 16  # … but never fewer rows than these
REPEATS = 8  # calls of the same activation, function or module, that are told apart
MARGIN = 0.01  # how near to an end a value is flat

# Activations whose values have two flat ends, by the names of class and function, and where the ends are.
ENDS = {
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hardtanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
}
FUNCTIONS = (*ENDS, "relu", "relu6", "leaky_relu", "elu", "gelu", "silu")  # measured where they are called as functions


class Layers:
    """Measures all layers of a model in one step, and finds out which modules the program calls itself."""

    def __init__(self, model: nn.Module, vitals: Vitals, sheet: Sheet, clock: Clock) -> None:
        self.vitals, self.sheet, self.clock = vitals, sheet, clock
        self.entrances: dict[str, nn.Module] = {}  # modules that are called from outside the model
        self.attached = False
        self._modules = dict(model.named_modules())
        self._handles: list[RemovableHandle] = []
        self._measured: set[str] = set()
        self._called: list[str] = []  # modules that are at work, the innermost last
        self._final: tuple[nn.Module, Tensor] | None = None  # the output of the last entrance
        self._axis = -1
        self._listening = _Functions(self._function)

    def attach(self, within: str | None = None) -> None:
        """From now on, until `detach`, modules are measured in the forward passes that gradients flow through. ``within``:
        a module whose call has begun already."""
        self.attached = True
        self._measured, self._called, self._final = set(), [], None
        for name, module in self._modules.items():
            self._handles.append(module.register_forward_pre_hook(Hook(self._before(name))))
            self._handles.append(module.register_forward_hook(Hook(self._after(name)), always_call=True))
        if within is not None:
            self._enter(within)

    def detach(self) -> None:
        """The hooks are gone."""
        self.attached = False
        self._listening.stop()
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def final(self) -> None:
        """Measures the output of the whole model; after the forward pass."""
        if self._final is None:
            return
        module, value = self._final
        self._final = None
        if self.vitals.output is None:
            self.vitals.output = Layer(type(module).__name__)
        fill(self.vitals.output, len(self.vitals.at))
        for values in (self.vitals.low, self.vitals.high):
            values.extend([NAN] * (len(self.vitals.at) - len(values)))
        measure(self.vitals.output, value, -1, self.sheet)
        low, high = value.float().aminmax()
        self.sheet.add(self.vitals.low, low)
        self.sheet.add(self.vitals.high, high)

    def close(self) -> None:
        """After a sampled step was written: what was not called has NaN there."""
        count = len(self.vitals.at)
        for layer in self.vitals.layers.values():
            fill(layer, count)
        if self.vitals.output is not None:
            fill(self.vitals.output, count)
            for values in (self.vitals.low, self.vitals.high):
                values.extend([NAN] * (count - len(values)))

    def _before(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            if not in_backward():  # a checkpoint computes once more
                self._enter(name)

        return hook

    def _enter(self, name: str) -> None:
        if not self._called:
            self._listening.start()
        self._called.append(name)

    def _after(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            alone, kind = not list(module.children()), type(module).__name__
            again = alone and kind.lower() in FUNCTIONS and not in_backward()  # one activation between many layers
            if torch.is_grad_enabled() and (alone or module._parameters) and (again or name not in self._measured):
                self._axis = unit_axis(module, self._axis)
                self._measure(name, kind, first_tensor(output))
            if in_backward() or name not in self._called:
                return
            while self._called.pop() != name:  # modules that were left by an exception
                pass
            if self._called:
                return
            self._listening.stop()
            value = first_tensor(output)
            if torch.is_grad_enabled() and value is not None and (value.requires_grad or not name):
                self.entrances[name] = module
                self._final = module, value.detach()

        return hook

    def _function(self, kind: str, value: Any) -> None:
        """An activation was called as a function. Inside torch's own modules it is theirs, and measured there."""
        owner = self._called[-1] if self._called else ""
        module = self._modules[owner]
        own = type(module).__module__.startswith("torch.nn.") and not list(module.children())
        if own or not torch.is_grad_enabled():
            return
        self._measure(f"{owner}.{kind}".strip("."), kind, first_tensor(value))

    def _measure(self, name: str, kind: str, value: Tensor | None) -> None:
        count = sum(known.split("#")[0] == name for known in self._measured)
        if value is None or count == REPEATS:
            return
        name = f"{name}#{count + 1}" if count else name
        self._measured.add(name)
        layer = self.vitals.layers.setdefault(name, Layer(kind))
        fill(layer, len(self.vitals.at))
        with self.clock, torch._C.DisableTorchFunction():  # our own calls are none of the model's
            measure(layer, value.detach(), self._axis, self.sheet)


class _Functions(TorchFunctionMode):
    """Tells of every activation that is called as a function."""

    def __init__(self, told: Callable[[str, Any], None]) -> None:
        super().__init__()
        self.told = told
        self.on = False

    def start(self) -> None:
        if not self.on:
            self.on = True
            self.__enter__()

    def stop(self) -> None:
        if self.on:
            self.on = False
            self.__exit__(None, None, None)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").rstrip("_")
        if name in FUNCTIONS:
            self.told(name, result)
        return result


def in_backward() -> bool:
    """Whether a backward pass is going on."""
    return torch._C._current_graph_task_id() != -1


def fill(layer: Layer, count: int) -> None:
    """NaN for the sampled steps in which the layer was not measured."""
    for values in (layer.spread, layer.rows, layer.size, layer.silent, layer.flat):
        values.extend([NAN] * (count - len(values)))


def unit_axis(module: nn.Module, before: int) -> int:
    """Where a module's units lie in its output: behind a convolution in dimension 1, behind a matrix in the last. What has
    no matrix of its own (an activation, a normalisation) leaves the units where they were."""
    dims = [p.dim() for p in module.parameters(recurse=False) if p.dim() >= 2]
    return before if not dims else 1 if max(dims) >= 3 else -1


def measure(layer: Layer, value: Tensor, axis: int, sheet: Sheet) -> None:
    """All numbers of one output, put on the sheet."""
    with torch.no_grad():
        value = value[: max(LEAST, ENOUGH * len(value) // value.numel())]
        value = value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
        # Total variance = mean of the variances over rows + variance of the means: many times faster than torch's std.
        means = value.mean(0)
        variances = (value - means).square_().mean(0)
        sheet.add(layer.spread, (variances.mean() + (means - means.mean()).square().mean()).sqrt())
        if len(value) > 1:
            sheet.add(layer.rows, variances.sqrt().mean())
        else:
            layer.rows.append(NAN)
        low, high = value.aminmax()
        sheet.add(layer.size, torch.maximum(-low, high))
        units = value.movedim(axis, -1).flatten(0, -2) if value.dim() > 2 else value.reshape(len(value), -1)
        sheet.add(layer.silent, (units != 0).any(0).logical_not().mean(dtype=value.dtype))
        if ends := ENDS.get(layer.kind.lower()):
            flat = (value <= ends[0] + MARGIN) | (value >= ends[1] - MARGIN)
            sheet.add(layer.flat, flat.mean(dtype=value.dtype))
        else:
            layer.flat.append(NAN)
