"""Hooks that leave no trace: a model may be copied, pickled and saved while it is watched."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seminal.core import UserError

CORRECTIONS = ("correct_bias", "bias_correction")  # what transformers, and what apex and DeepSpeed, call it in a group


def nothing(*args: Any) -> None:
    """What is left of a hook in a copy of the model."""


class Hook(functools.partial[Any]):
    """A hook of torch. It stays behind when its module is copied (for a moving average, say) or pickled. A `partial`, as
    that calls the function without a step in between, in every step of a training."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Hook:
        return Hook(nothing)

    def __reduce__(self) -> tuple[type[Hook], tuple[Any]]:
        return Hook, (nothing,)


def bare(optimizer: Optimizer) -> Optimizer:
    """The optimiser inside the wrappers that some libraries put around it: its own hooks are never called."""
    while isinstance(inner := vars(optimizer).get("optimizer"), Optimizer):
        optimizer = inner
    return optimizer


def betas_without_correction(optimizer: Optimizer) -> list[float]:
    """The decay rates of an Adam that has not stepped yet, and will not correct its bias; empty for all others."""
    group, name = optimizer.param_groups[0], type(optimizer).__name__
    left_out = name == "BertAdam" or any(not group.get(word, True) for word in CORRECTIONS)
    if not left_out or "adam" not in name.lower() or optimizer.state:
        return []
    return list(group["betas"]) if "betas" in group else [group["b1"], group["b2"]]


def refuse_compiled(model: nn.Module) -> None:
    """Raises `UserError` where torch would skip the hooks: a module that is compiled calls its old self."""
    for name, module in model.named_modules():
        if isinstance(module, torch._dynamo.OptimizedModule) or module._compiled_call_impl is not None:
            where = f"its part `{name}`" if name else "the model"
            raise UserError(
                f"{where} went through torch.compile, and a compiled module does not call the hooks that watching needs. "
                "Watch a short run of the plain model: leave torch.compile out, or give `model._orig_mod` to train and "
                "to watch."
            )


def refuse_lazy(model: nn.Module) -> None:
    """Raises `UserError` for parameters that have no size yet."""
    lazy = [name for name, p in model.named_parameters() if isinstance(p, nn.parameter.UninitializedParameter)]
    if lazy:
        raise UserError(
            f"the parameter `{lazy[0]}` has no size yet. Send one batch through the model first, then make the "
            "optimiser, then watch."
        )


def moody(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that behave otherwise in evaluation: those whose code asks for `training`, less those in which the
    answer changes nothing (dropout of probability 0, normalisation without running statistics)."""
    return {name: module for name, module in model.named_modules() if _asks(type(module)) and _matters(module)}


def _asks(kind: type[nn.Module]) -> bool:
    """Whether ``forward`` reads `training`, itself or in a method that it calls."""
    methods: dict[str, types.FunctionType] = {}
    for base in reversed(kind.__mro__[: kind.__mro__.index(nn.Module)]):
        methods |= {name: member for name, member in vars(base).items() if inspect.isfunction(member)}
    reached, waiting = {"forward"}, ["forward"]
    while waiting:
        member = methods.get(waiting.pop())
        names = {name for code in _codes(member.__code__) for name in code.co_names} if member else set()
        if "training" in names:
            return True
        waiting += names - reached
        reached |= names
    return False


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _matters(module: nn.Module) -> bool:
    if not type(module).__module__.startswith("torch."):
        return True
    if list(module.children()) and not module._parameters:
        return False  # torch's own containers ask only which of two equal roads is faster
    said = vars(module)
    chance = said.get("p", said.get("dropout", said.get("dropout_p", 1.0)))
    return bool(chance) and said.get("track_running_stats", True) is not False


def first_tensor(value: Any) -> Tensor | None:
    """The first floating tensor with a row dimension in whatever a module takes or gives: a tensor, tuples, a dict."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() and value.dim() > 0 and value.numel() > 0 else None
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((found for part in parts if (found := first_tensor(part)) is not None), None)
