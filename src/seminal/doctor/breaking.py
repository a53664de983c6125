"""Where the first value that is not finite came from: the batch is sent through the model once more, with eyes open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seminal.doctor.hooks import Hook, first_tensor
from seminal.doctor.program import undisturbed


@dataclass(frozen=True)
class Broken:
    """The place in a word or two, the whole in a sentence, and the rows of the batch that are concerned."""

    where: str  # "input", "weight NAME", "layer NAME", "loss", "gradient NAME"
    says: str
    rows: tuple[int, ...] = ()


class Call(NamedTuple):
    """A module and what it was called with."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def first_break(model: nn.Module, call: Call | None, what: str) -> Broken:
    """Looked for in the order of the computation: the input, the weights, every module's output, the gradients."""
    with torch.no_grad():
        if call is not None and (found := _in_input(call)):
            return found
        for name, weight in model.named_parameters():
            if not weight.isfinite().all():
                return Broken(f"weight {name}", f"the weight `{name}` is not finite: an earlier step has spoilt it")
        if call is not None and (found := _in_layers(model, call)):
            return found
    if what == "loss":
        return Broken("loss", "every output of the model is finite, and the loss is not: it comes from the loss itself")
    bad = [n for n, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    if bad:
        return Broken(f"gradient {bad[-1]}", f"outputs are finite, and the gradient of `{bad[-1]}` is not")
    return Broken(what, f"the {what} is not finite; computed once more, the model's outputs are")


def _in_input(call: Call) -> Broken | None:
    for value in (*call.args, *call.kwargs.values()):
        tensor = first_tensor(value)
        if tensor is None or bool(tensor.isfinite().all()):
            continue
        if not bool(((tensor == 0) | (tensor == -torch.inf)).all()):  # that would be a mask
            rows = bad_rows(tensor)
            return Broken("input", f"the input holds NaN or infinity in {_words(rows)} of the batch", rows)
    return None


def _in_layers(model: nn.Module, call: Call) -> Broken | None:
    found: list[Broken] = []
    rows_of_batch = next((len(t) for t in (*call.args, *call.kwargs.values()) if isinstance(t, Tensor) and t.dim()), 0)

    def hook(name: str) -> Callable[..., None]:
        def look(module: nn.Module, args: Any, output: Any) -> None:
            value = first_tensor(output)
            if found or value is None or bool(value.isfinite().all()):
                return
            rows = bad_rows(value) if len(value) == rows_of_batch else ()
            whose = f"`{name}` ({type(module).__name__})" if name else "the model"
            told = f", in {_words(rows)} of the batch" if rows else ""
            says = f"the first output that is not finite is that of {whose}{told}"
            found.append(Broken(f"layer {name}".strip(), says, rows))

        return look

    handles = [m.register_forward_hook(Hook(hook(name))) for name, m in model.named_modules()]
    buffers = [(b, b.clone(), b._version) for b in model.buffers()]
    try:
        with undisturbed():
            call.module(*call.args, **call.kwargs)
    except Exception:  # the input may have been changed since, or belong to a step that cannot be repeated
        return found[0] if found else None
    finally:
        for handle in handles:
            handle.remove()
        for buffer, value, version in buffers:
            if buffer._version != version:  # one that was only read may be needed as it is by a backward pass to come
                buffer.copy_(value)
    return found[0] if found else None


def bad_rows(value: Tensor) -> tuple[int, ...]:
    """Rows with an entry that is not finite."""
    fine = value.flatten(1).isfinite().all(1) if value.dim() > 1 else value.isfinite()
    return tuple((~fine).nonzero()[:, 0].tolist())


def _words(rows: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, rows[:5])) + (f" … ({len(rows)} rows)" if len(rows) > 5 else "")
    return f"row{'s' * (len(rows) != 1)} {shown}"
