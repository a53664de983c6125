"""What a model calls on the way from its input to its output, and how such a call is changed.

torch's own function mode sees a written-out ``torch.relu(x)`` like an ``nn.ReLU``, so that nothing here depends on how the
model was written. Models are changed where they stand, by hooks or by a layer put in another's place: attributes that a
training step reads stay there, and the optimiser stays the same object, which a schedule may hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from seminal.doctor.program import Program, rebuilt, undisturbed

# Of one number each; the others look along a dimension.
ELEMENTWISE = frozenset(
    (
        *(
            "relu",
            "relu_",
            "relu6",
            "leaky_relu",
            "leaky_relu_",
            "rrelu",
            "prelu",
            "elu",
            "elu_",
            "selu",
            "selu_",
            "celu",
        ),
        *(
            "gelu",
            "silu",
            "mish",
            "sigmoid",
            "sigmoid_",
            "expit",
            "logsigmoid",
            "tanh",
            "tanh_",
            "softplus",
            "softsign",
        ),
        *("hardtanh", "hardtanh_", "hardsigmoid", "hardswish"),
    )
)
ALONG = frozenset({"softmax", "log_softmax", "softmin"})
LAYERS = (nn.Linear, _ConvNd)  # what multiplies by weights, unit by unit

Function = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Call:
    """An activation function as it was called."""

    name: str
    before: Tensor
    after: Tensor
    again: Callable[[Tensor], Tensor] = field(repr=False)  # the same function on another tensor


class Watching(TorchFunctionMode):
    """Keeps the last call of an activation function; with ``every``, all of them, and those of dropout."""

    def __init__(self, every: bool = False) -> None:
        super().__init__()
        self.every = every
        self.calls: list[Call] = []
        self.dropouts = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        self.dropouts += name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout")
        if name not in ELEMENTWISE | ALONG or not args:
            return func(*args, **kwargs)
        # In place, the input would be gone when somebody asks for it.
        before = args[0].clone() if name.endswith("_") or kwargs.get("inplace") else args[0]
        after = func(*args, **kwargs)
        call = Call(name.rstrip("_"), before, after, lambda x: func(x, *args[1:], **kwargs))
        self.calls = [*self.calls, call] if self.every else [call]
        return after


class Changing(TorchFunctionMode):
    """Calls other functions in place of those named. ``spared``: the so manieth call of one of them stays as it is."""

    def __init__(self, others: Mapping[str, Callable[..., Any]], spared: int = -1) -> None:
        super().__init__()
        self.others, self.spared, self.count = others, spared, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        other = self.others.get(getattr(func, "__name__", ""))
        if other is None:
            return func(*args, **(kwargs or {}))
        self.count += 1
        return (func if self.count - 1 == self.spared else other)(*args, **(kwargs or {}))


def around(
    model: nn.Module,
    begin: Callable[[], TorchFunctionMode],
    end: Callable[[Any, Any], Any] = lambda mode, output: output,
    *,
    training_only: bool = False,
) -> None:
    """Every forward pass of ``model`` happens inside a mode; ``end(mode, output)`` says what it gives."""
    open_modes: list[TorchFunctionMode | None] = []

    def before(module: nn.Module, _: Any) -> None:
        mode = begin() if module.training or not training_only else None
        open_modes.append(mode)
        if mode is not None:
            mode.__enter__()

    def after(_: nn.Module, __: Any, output: Any) -> Any:
        mode = open_modes.pop()
        if mode is None:
            return output
        mode.__exit__(None, None, None)
        return end(mode, output) if output is not None else None  # None: the pass has failed

    model.register_forward_pre_hook(before)
    model.register_forward_hook(after, prepend=True, always_call=True)  # modes are left in the opposite order


@dataclass(frozen=True)
class Leaf:
    """A module without children, in the order of the forward pass."""

    name: str
    module: nn.Module
    inside: tuple[int, ...]  # shape of its input; empty where that is no tensor
    outside: tuple[int, ...]  # shape of its output
    calls: int  # of activation functions when it was done


@dataclass(frozen=True)
class Pass:
    """One batch sent through the model in evaluation mode, and what was seen."""

    input: Any
    target: Any
    output: Any
    calls: tuple[Call, ...]
    leaves: tuple[Leaf, ...]
    dropouts: int  # calls of dropout functions

    @property
    def layers(self) -> tuple[Leaf, ...]:
        """Those that multiply by weights."""
        return tuple(leaf for leaf in self.leaves if isinstance(leaf.module, LAYERS))

    @property
    def ending(self) -> Call | None:
        """The activation function whose values are the output, if there is one."""
        if not self.calls or not isinstance(self.output, Tensor):
            return None
        call = self.calls[-1]
        same = call.after.numel() == self.output.numel() and torch.allclose(
            call.after.reshape(-1), self.output.reshape(-1), equal_nan=True
        )
        return call if same else None


def is_activation(module: nn.Module) -> bool:
    """Whether a module is nothing but an activation function of torch."""
    return type(module).__module__ == nn.ReLU.__module__ and not isinstance(module, nn.MultiheadAttention)


def first_batch(program: Program) -> tuple[Any, Any]:
    """Of the training rows, without moving anybody's stream of chance."""
    with undisturbed():
        input, target = next(iter(program.train))
    return input, target


def passed(program: Program) -> Pass:
    """Sends the first batch through the model and leaves the model as it was."""
    model = program.model
    input, target = first_batch(program)
    leaves: list[Leaf] = []
    watching = Watching(every=True)

    def noting(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            if all(module is not leaf.module for leaf in leaves):
                leaves.append(Leaf(name, module, _shape(args), _shape(output), len(watching.calls)))

        return note

    handles = [m.register_forward_hook(noting(name)) for name, m in model.named_modules() if not any(m.children())]
    was = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with undisturbed(), torch.no_grad(), watching:
            output = model(input)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in was:
            module.training = training
    return Pass(input, target, output, tuple(watching.calls), tuple(leaves), watching.dropouts)


def _shape(value: Any) -> tuple[int, ...]:
    """Of a tensor, or of the first one of several."""
    value = value[0] if isinstance(value, tuple) and value else value
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def put(model: nn.Module, name: str, new: nn.Module) -> nn.Module:
    """``new`` in the place of the module called ``name``; the model then, which is ``new`` where all of it was replaced."""
    if not name:
        return new
    parent, _, last = name.rpartition(".")
    model.get_submodule(parent).register_module(last, new)
    return model


def owned(
    program: Program,
    heirs: Iterable[tuple[Tensor | None, Tensor | None]] = (),
    added: Iterable[Tensor] = (),
) -> None:
    """The optimiser owns the heir where it owned the old parameter, and what was added. What the old one was not
    allowed (to learn), its heir is not either."""
    pairs = {id(old): (old, new) for old, new in heirs if old is not None and new is not None}
    for old, new in pairs.values():
        new.requires_grad_(old.requires_grad)
    optimizer = program.optimizer
    for group in optimizer.param_groups:
        group["params"] = [pairs[id(p)][1] if id(p) in pairs else p for p in group["params"]]
    optimizer.param_groups[0]["params"] += list(added)
    if optimizer.state:  # some optimisers (Adagrad) make their state before the first step
        optimizer.state.clear()
        optimizer.state.update(rebuilt(program, program.model).state)
