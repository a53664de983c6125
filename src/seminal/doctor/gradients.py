"""Parameters during a step: their gradients at the three moments that matter (when a new one arrives, when backward has left
them, when the optimiser takes them), and how far the step moves them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Variable
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from seminal.doctor.looks import Clock
from seminal.doctor.sheet import Sheet, fetched, norms, plain
from seminal.doctor.vitals import Vitals, Weight


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """All that an optimiser moves."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def norm_of(optimizer: Optimizer) -> float:
    """The norm of the gradient that an optimiser is about to use. Nothing is fetched from another device: 0 there."""
    gradients = [plain(p.grad) for p in parameters_of(optimizer) if p.grad is not None and p.grad.device.type == "cpu"]
    return float(torch.stack(norms(gradients)).sum()) if gradients else 0.0


@dataclass
class Taken:
    """The gradients of one step, as norms by the id of their parameter."""

    left: dict[int, float] = field(default_factory=dict)  # as backward left it
    taken: dict[int, float] = field(default_factory=dict)  # as the optimiser took it: only what it moves
    zeros: dict[int, float] = field(default_factory=dict)  # share of exact zeros in what backward left
    piled: bool = False  # some of it lay on top of a gradient that had been used before

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, self.taken.values()))

    @property
    def totals(self) -> tuple[float, float]:
        """The norm of all that the optimisers moved: before and after clipping."""
        return math.hypot(*(self.left[key] for key in self.taken)), math.hypot(*self.taken.values())


class _Left(NamedTuple):
    """A gradient as backward left it: as long as tensor and version are the same, nobody has written to it."""

    norm: Tensor
    gradient: Tensor
    version: int


class Gradients:
    """Norms of all gradients as backward left them, and which parameters received a new gradient on top of the one that the
    optimiser had already used."""

    def __init__(self, model: nn.Module, clock: Clock) -> None:
        self._learning, self.clock = list(model.parameters()), clock
        self.close = False  # whether zeros are counted
        self.handles: list[RemovableHandle] = []
        self._left: dict[int, _Left] = {}
        self._zeros: dict[int, Tensor] = {}
        self._piled: set[int] = set()
        self._queued = False
        # The gradients that were there when a step ended. An identity alone would do no good: memory is used again.
        self._used: dict[int, tuple[int, int]] = {}

    def attach(self) -> None:
        """From now on, arriving gradients are seen."""
        for parameter in self._learning:
            if parameter.requires_grad:
                self.handles.append(parameter.register_hook(self._hook(parameter)))

    def detach(self) -> None:
        """The hooks are gone."""
        for handle in self.handles:
            handle.remove()
        for parameter in self._learning if self.handles else ():
            if not parameter._backward_hooks:  # torch would ask an empty list in every backward pass to come
                parameter._backward_hooks = None
        self.handles, self._left, self._zeros = [], {}, {}

    def begin(self) -> None:
        """A step begins: whatever gradient there is has been used."""
        self._left, self._zeros, self._piled, self._queued = {}, {}, set(), False
        self._used = {id(p): (id(p.grad), p.grad._version) for p in self._learning if p.grad is not None}

    def take(self, optimizer: Optimizer, into: Taken) -> None:
        """The optimiser is about to move its parameters. A gradient that no backward pass left (one set by hand) counts as
        it is taken."""
        mine = {id(p): p.grad for p in parameters_of(optimizer) if p.grad is not None}
        known = self._left
        changed = [
            key
            for key, gradient in mine.items()
            if key not in known or known[key].gradient is not gradient or known[key].version != gradient._version
        ]
        values = [left.norm for left in known.values()] + list(self._zeros.values())
        numbers = iter(fetched(values + norms([plain(mine[key]) for key in changed])))
        left = {key: next(numbers) for key in known}
        into.zeros |= {key: next(numbers) for key in self._zeros}
        taken = {key: next(numbers) for key in changed}
        cleared = (id(p) for p in parameters_of(optimizer) if p.grad is None and id(p) in known)
        into.taken |= {key: taken[key] if key in taken else left[key] for key in mine} | dict.fromkeys(cleared, 0.0)
        into.left |= {**taken, **left}
        into.piled |= not self._piled.isdisjoint(mine)

    def _hook(self, parameter: nn.Parameter) -> Callable[[Tensor], None]:
        key = id(parameter)

        def arrives(gradient: Tensor) -> None:
            held, used = parameter.grad, self._used.pop(key, None)
            if held is None:
                self._piled.discard(key)
            elif used == (id(held), held._version):  # nobody has touched it since it was used
                self._piled.add(key)
            if not self._queued:
                self._queued = True
                Variable._execution_engine.queue_callback(self._after_backward)

        return arrives

    def _after_backward(self) -> None:
        self._queued = False
        with self.clock, torch.no_grad():
            there = [(id(p), p.grad) for p in self._learning if p.grad is not None]
            entries = [plain(gradient) for _, gradient in there]
            self._left = {key: _Left(norm, g, g._version) for (key, g), norm in zip(there, norms(entries))}
            if self.close:
                self._zeros = {key: 1 - e.count_nonzero() / g.numel() for (key, g), e in zip(there, entries)}


class Weights:
    """How far a step moves each parameter: a copy before, a comparison after."""

    def __init__(self, model: nn.Module, vitals: Vitals, sheet: Sheet) -> None:
        self.parameters, self.vitals, self.sheet = dict(model.named_parameters()), vitals, sheet
        self._before: list[Tensor] = []
        for name, parameter in self.parameters.items():
            vitals.weights.setdefault(name, Weight(tuple(parameter.shape)))

    def own(self, optimizers: list[Optimizer]) -> None:
        """Who learns, and whom an optimiser has: either may change during a run."""
        owned = {id(p) for optimizer in optimizers for p in parameters_of(optimizer)}
        for name, parameter in self.parameters.items():
            weight = self.vitals.weights[name]
            weight.owned, weight.learns = id(parameter) in owned, parameter.requires_grad

    def before(self) -> None:
        """Before the first optimiser moves; again has no effect."""
        if not self._before:
            self._before = [p.detach().clone() for p in self.parameters.values()]

    def after(self, step: Taken) -> None:
        """After the last optimiser has moved."""
        with torch.no_grad():
            now = [p.detach() for p in self.parameters.values()]
            moved = [new - old for new, old in zip(now, self._before)]
            sizes, changes = norms(self._before), norms(moved)
            largest = torch._foreach_norm(moved, math.inf) if moved else ()
        for i, (name, parameter) in enumerate(self.parameters.items()):
            weight, key = self.vitals.weights[name], id(parameter)
            weight.gradient.append(step.left.get(key, math.nan))
            weight.zeros.append(step.zeros.get(key, math.nan))
            self.sheet.add(weight.size, sizes[i])
            self.sheet.add(weight.change, changes[i] / sizes[i])
            self.sheet.add(weight.moves, largest[i])
        self._before = []

    def close(self) -> None:
        """After the numbers were fetched."""
        for weight in self.vitals.weights.values():
            weight.moved = weight.moved or weight.moves[-1] > 0
