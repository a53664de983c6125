"""`watch`: notes on a training run while it happens, in anybody's loop.

Only torch's own hooks are used, and nothing that they see is changed: weights come out the same to the bit. A few steps are
looked at closely; at the others, hooks return at once.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from seminal.core import UserError
from seminal.doctor.breaking import Broken, Call, first_break
from seminal.doctor.findings import Verdict
from seminal.doctor.gradients import Gradients, Taken, Weights, norm_of
from seminal.doctor.hooks import Hook, bare, betas_without_correction, moody, refuse_compiled, refuse_lazy
from seminal.doctor.layers import Layers
from seminal.doctor.looks import Clock, Every, Looks
from seminal.doctor.sheet import Sheet, fetched
from seminal.doctor.vitals import Vitals

LATE = 64  # losses that may lie on another device before they are read: reading them waits for it
ROUND = 64  # steps of one optimiser in which the others must have moved too


class NotFinite(RuntimeError):
    """A loss or a gradient is not a finite number. ``rows`` of the batch are concerned, where they can be told."""

    def __init__(self, step: int, broken: Broken, moved: bool) -> None:
        after = (
            "Weights have been moved since: tell the loss before backward(), and no such step is made"
            if moved
            else "No weight has been moved by this step"
        )
        super().__init__(
            f"step {step}: {broken.says}. {after}. To let a run go on in spite of it: watch(…, stop_on_nonfinite=False)."
        )
        self.step, self.rows = step, broken.rows


@contextlib.contextmanager
def watch(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    *,
    every: Every = "auto",
    budget: float = 0.01,
    stop_on_nonfinite: bool = True,
    vitals: Vitals | None = None,
) -> Iterator[Patient]:
    """Watch a training loop::

        with watch(model, optimizer) as patient:
            for x, y in loader:
                loss = criterion(model(x), y)
                patient.loss(loss)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        print(patient.verdict())

    Several optimisers (the two of a GAN) go in a list; a step is over when each of them has moved.

    ``every``: "auto" looks closely at steps 0, 1, 2, 4, 8 … and then as often as keeps the time for it below ``budget``, a
    share of the time of a step; a number n, at every n-th step; None, never. With "auto" nothing but the loss is written
    down at the other steps; with a number, norms of the gradient are at eight steps from one look to the next; with None, at
    every step. ``stop_on_nonfinite``: raise `NotFinite` where a loss is not
    finite; where a gradient is not, before the optimiser moves, if looking at it in every step is within the budget too.
    ``vitals``: notes of the same run before it was interrupted; they are continued.

    Raises `UserError` for a model that went through ``torch.compile``, or whose parameters have no size yet.
    """
    refuse_compiled(model)
    refuse_lazy(model)
    optimizers = [bare(o) for o in ([optimizer] if isinstance(optimizer, Optimizer) else optimizer)]
    if not optimizers:
        raise UserError("there is no optimiser to watch. Give watch(model, optimizer) the one that moves the model.")
    patient = Patient(model, optimizers, Looks(every, budget), vitals or Vitals())
    patient.stop_on_nonfinite = stop_on_nonfinite
    patient._begin()
    try:
        yield patient
    finally:
        patient._end()


class Patient:
    """A model and its optimisers under observation. Made by `watch`."""

    def __init__(self, model: nn.Module, optimizers: list[Optimizer], looks: Looks, vitals: Vitals) -> None:
        self.model, self.optimizers = model, optimizers
        self.stop_on_nonfinite = True
        self._looks = looks
        self._vitals = vitals
        self._sheet, self._clock = Sheet(), Clock(vitals.cost)
        self._layers = Layers(model, self._vitals, self._sheet, self._clock)
        self._weights = Weights(model, self._vitals, self._sheet)
        self._gradients = Gradients(model, self._clock)
        self._moody = moody(model)
        self._handles: list[RemovableHandle] = []
        self._entered: dict[str, RemovableHandle] = {}  # hooks of the modules that the program calls
        self._call: Call | None = None  # the last of these calls …
        self._moved = False  # … and whether an optimiser has moved since
        self._waiting = {id(optimizer): 0 for optimizer in optimizers}  # moves of each in this step
        self._mode: bool | None = None  # of this step: whether the model trained
        self._taken = Taken()
        self._late: list[tuple[int, Tensor]] = []  # losses on another device, and their steps
        self._guarded = True  # whether gradients are checked at steps without a closer look
        self._check = 0.0  # seconds that this takes
        self._idle = False  # our own forward pass is not the program's

    # ---------------------------------------------------------------------------------------------- what the user calls

    def loss(self, loss: Tensor | float) -> None:
        """Tell the loss of a step, best before ``backward()``."""
        if isinstance(loss, Tensor):
            if not loss.is_cpu:  # to wait for the device would slow every step
                self._late.append((self._vitals.steps, loss.detach()))
                if len(self._late) == LATE:
                    self._settle(self.stop_on_nonfinite)
                return
            loss = loss.item()
        value = float(loss)
        self._vitals.tell((value,))
        if not math.isfinite(value):
            self._breaks("loss", self.stop_on_nonfinite)

    def norm(self, norm: float) -> None:
        """Tell the norm of the gradient of the step just made, before clipping, where backward leaves it at another scale:
        a loop that sums losses and divides once. Else nobody need tell it."""
        vitals = self._vitals
        if vitals.seen and vitals.seen[-1] == vitals.steps - 1:
            vitals.gradient[-1] = norm

    @property
    def vitals(self) -> Vitals:
        """All that was written down so far."""
        if self._late:
            self._settle(stop=False)
        if self._handles:
            self._vitals.seconds, self._vitals.cost = time.perf_counter() - self._started, self._clock.spent
        return self._vitals

    def verdict(self) -> Verdict:
        """What can be said from the vitals alone."""
        from seminal.doctor.bedside import judged

        return judged(self.vitals)

    # -------------------------------------------------------------------------------------------------- begin and end

    def _begin(self) -> None:
        self._vitals.moody = tuple(self._moody)
        if not self._vitals.steps:
            self._vitals.uncorrected = next(filter(None, map(betas_without_correction, self.optimizers)), [])
        for optimizer in self.optimizers:
            self._handles.append(optimizer.register_step_pre_hook(self._steps))
            self._handles.append(optimizer.register_step_post_hook(self._stepped))
        self._follow("", self.model)
        self._started = time.perf_counter() - self._vitals.seconds
        self._begin_step()

    def _end(self) -> None:
        """All hooks are gone; again has no effect."""
        if not self._handles:
            return
        self._vitals.seconds, self._vitals.cost = time.perf_counter() - self._started, self._clock.spent
        for handle in (*self._handles, *self._entered.values()):
            handle.remove()
        self._handles, self._entered = [], {}
        self._layers.detach()
        self._gradients.detach()
        self._call = None

    def _follow(self, name: str, module: nn.Module) -> None:
        """See every call of a module from outside the model."""

        def enters(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._idle:
                return
            if torch.is_grad_enabled():
                self._call = Call(module, args, kwargs)
                self._moved = False
                if self._seen:
                    self._enters(name)
            elif self._moody:
                self._vitals.validating.append(not any(m.training for m in self._moody.values()))
                self._vitals.validated.append(self._vitals.steps)

        self._entered[name] = module.register_forward_pre_hook(Hook(enters), with_kwargs=True)

    # ------------------------------------------------------------------------------------------------------ one step

    def _begin_step(self) -> None:
        """Between two steps. Hooks on layers wait until the model is called: a validation in between goes unseen. They cannot
        wait before it is known that the program calls the model itself, and not its parts."""
        self._waiting = dict.fromkeys(self._waiting, 0)
        self._close = self._looks.due(self._vitals.steps)
        self._seen = self._close or self._looks.noted(self._vitals.steps)
        self._since = self._clock.spent
        if self._seen:
            with self._clock:
                self._mode, self._taken = None, Taken()
                self._gradients.begin()
                self._gradients.close = self._close
                if not self._gradients.handles:
                    self._gradients.attach()
                if self._close and "" not in self._layers.entrances:
                    self._layers.attach()
        else:
            self._gradients.detach()

    def _enters(self, name: str) -> None:
        """The model is called in a step that is seen."""
        if self._mode is None:
            self._mode = self._trains()
        if self._close and not self._layers.attached:
            with self._clock:
                self._layers.attach(within=name)

    def _trains(self) -> bool:
        return not self._moody or any(module.training for module in self._moody.values())

    def _steps(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An optimiser is called. Where it is given a closure, gradients are there only after that."""
        if not self._seen and not (self._guarded and self.stop_on_nonfinite):
            return None
        if self._close:
            with self._clock:
                self._weights.before()
        place = "closure" if kwargs.get("closure") else 1 if len(args) > 1 and callable(args[1]) else None
        if place is None:
            self._take(optimizer)
            return None
        closure = kwargs[place] if isinstance(place, str) else args[place]
        watched = self._once_before_moving(optimizer, closure)
        return (args, {**kwargs, place: watched}) if isinstance(place, str) else ((args[0], watched, *args[2:]), kwargs)

    def _once_before_moving(self, optimizer: Optimizer, closure: Callable[[], Any]) -> Callable[[], Any]:
        calls: list[None] = []

        def watched() -> Any:
            result = closure()
            if not calls:  # L-BFGS calls it many times in one step
                calls.append(None)
                self._take(optimizer)
            return result

        return watched

    def _take(self, optimizer: Optimizer) -> None:
        """The gradients are there, and the optimiser is about to use them."""
        before = self._clock.spent
        with self._clock:
            if self._seen:
                self._mode = self._trains() if self._mode is None else self._mode
                self._gradients.take(optimizer, self._taken)
                finite = self._taken.finite
            else:
                finite = math.isfinite(norm_of(optimizer))
        self._check = self._clock.spent - before
        # A fused optimiser under a gradient scaler is called with overflowed gradients, and skips the step itself.
        if not finite and vars(optimizer).get("found_inf") is None:
            self._breaks("gradient", self.stop_on_nonfinite)

    def _stepped(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An optimiser has moved."""
        self._moved = True
        if len(self._waiting) > 1:
            self._waiting[id(optimizer)] += 1
            if not all(self._waiting.values()) and max(self._waiting.values()) < ROUND:
                return
        if self._seen:
            with self._clock:
                self._write()
        self._vitals.steps += 1
        if self._close:
            self._plan()
        if self._seen or self._looks.due(self._vitals.steps) or self._looks.noted(self._vitals.steps):
            self._begin_step()
        elif len(self._waiting) > 1:
            self._waiting = dict.fromkeys(self._waiting, 0)

    def _write(self) -> None:
        """What was seen in this step."""
        vitals, before, after = self._vitals, *self._taken.totals
        vitals.seen.append(vitals.steps)
        vitals.rate.append(float(self.optimizers[0].param_groups[0]["lr"]))
        vitals.leftover.append(self._taken.piled)
        vitals.training.append(bool(self._mode))
        vitals.gradient.append(before)
        vitals.taken.append(after)
        if not self._close:
            return
        self._layers.detach()
        self._layers.final()
        self._weights.own(self.optimizers)
        self._weights.after(self._taken)
        vitals.at.append(vitals.steps)
        self._sheet.fetch()
        self._layers.close()
        self._weights.close()

    def _plan(self) -> None:
        """After a close look: when is the next, and is there time to check the gradients until then?"""
        spent, seconds = self._clock.spent, time.perf_counter() - self._started
        self._looks.looked(self._vitals.steps - 1, cost=spent - self._since, spent=spent, seconds=seconds)
        if self._looks.every == "auto":
            self._guarded = self._check < self._looks.budget / 4 * self._looks.pace
            if self._late:
                self._settle(self.stop_on_nonfinite)
        for name, module in self._layers.entrances.items():
            if name not in self._entered:
                self._follow(name, module)

    # -------------------------------------------------------------------------------------------------- what is not finite

    def _settle(self, stop: bool) -> None:
        """Read the losses that lie on another device."""
        steps, late = [step for step, _ in self._late], fetched([loss for _, loss in self._late])
        self._late = []
        self._vitals.tell(late)
        bad = next((step for step, loss in zip(steps, late) if not math.isfinite(loss)), None)
        if bad is not None:
            self._moved = True
            self._breaks("loss", stop, bad)

    def _breaks(self, what: str, stop: bool, step: int | None = None) -> None:
        """``step``: where it was, if that was before this one."""
        vitals = self._vitals
        step = vitals.steps if step is None else step
        if vitals.broken_step is not None and not stop:
            return
        self._idle = True
        try:
            broken = first_break(self.model, self._call, what)
        finally:
            self._idle = False
        if vitals.broken_step is None:
            vitals.broken, vitals.broken_step, vitals.broken_rows = broken.where, step, broken.rows
        if stop:
            self._end()
            raise NotFinite(step, broken, self._moved)
