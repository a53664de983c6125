"""One training run of a program, followed from the first step to the last: losses, scores on the way, vitals.

Scores are taken at fixed shares of the run, so that a shorter trial can be compared with the run itself at the same step.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from seminal.doctor.program import Make, Program, undisturbed
from seminal.doctor.rows import Rows, rows_of, same_rows
from seminal.doctor.vitals import Vitals
from seminal.doctor.watching import Patient, watch

FITTED = 1000  # training rows on which the fit is read
SHARES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)  # of the run: where it is scored


@dataclass(frozen=True)
class Reading:
    """How the model stood after a step, in evaluation mode."""

    step: int
    metric: float  # the program's own, on the validation data
    fit: float  # the program's metric on training rows
    loss: float  # the program's loss on training rows …
    val_loss: float  # … and on validation rows


@dataclass(frozen=True)
class Course:
    """A run that was followed."""

    losses: tuple[float, ...]  # of every step, before it
    readings: tuple[Reading, ...]  # at `SHARES` of the whole run, as far as it went
    vitals: Vitals
    total: int  # steps of the whole run
    seconds: float
    model: nn.Module = field(repr=False)  # as it stood at the end
    failed: str = ""  # an exception of the program, in words
    share: float = 1.0  # of the run that was asked for, or that was enough
    failed_rows: int = 0  # of the batch that it failed on; 0: not known

    @property
    def last(self) -> Reading:
        return self.readings[-1]

    def near(self, step: int) -> Reading:
        """The reading nearest to a step."""
        return min(self.readings, key=lambda reading: abs(reading.step - step))

    def level(self, share: float = 1.0, width: float = 0.1) -> float:
        """Mean training loss around a share of the run: over the last ``width`` of it before that point."""
        if not self.losses:  # its first step failed
            return math.nan
        end = max(1, round(share * len(self.losses)))
        part = self.losses[max(0, end - max(1, round(width * len(self.losses)))) : end]
        return sum(part) / len(part)


def batches(program: Program) -> Iterator[tuple[int, Any, Any]]:
    """Every batch of the run, with the epoch it belongs to."""
    for epoch in range(program.epochs):
        for input, target in program.train:
            yield epoch, input, target


def rows_in(target: Any) -> int:
    """Rows of a batch, by its targets; 0 where they do not tell."""
    return len(target) if isinstance(target, Sized) and not (isinstance(target, Tensor) and target.dim() == 0) else 0


def length(program: Program) -> int:
    """Steps of the whole run."""
    return program.epochs * len(program.train)  # type: ignore[arg-type]


Enough = Callable[[Reading], bool]


def follow(
    make: Make,
    train: Rows,
    val: Rows,
    *,
    of: Any = None,
    seed: int = 0,
    share: float = 1.0,
    often: int | None = None,
    enough: Enough = lambda _: False,
) -> Course:
    """Make the program and train it for ``share`` of its steps, or until a reading is ``enough``. ``often``: sample vitals so
    often; None: no vitals. ``of``: the loader that ``val`` was read from; where the program has another one, because a split
    is drawn with the seed or a remedy mends validation rows, those are read."""
    with undisturbed():
        program = make(seed)
        if of is not None and not same_rows(of, program.val):
            with undisturbed():  # what is drawn for them is not missing in training
                val = rows_of(program.val)
        total = length(program)
        steps = max(1, math.ceil(share * total))
        marks = {max(1, math.ceil(s * total)) for s in SHARES}
        losses: list[float] = []
        readings: list[Reading] = []
        failed, rows, started = "", 0, time.perf_counter()
        patient: Patient | None = None
        with contextlib.ExitStack() as stack:
            if often is not None:
                watching = watch(program.model, program.optimizer, every=often, stop_on_nonfinite=False)
                patient = stack.enter_context(watching)
            try:
                for _, input, target in itertools.islice(batches(program), steps):
                    program.model.train()
                    rows = rows_in(target)
                    losses.append(_stepped(program, patient, input, target))
                    rows = 0  # what fails from here on is no fault of this batch
                    if len(losses) in marks or len(losses) == steps:
                        with undisturbed():  # a loader draws a number whenever it begins
                            readings.append(read(program, train, val, len(losses)))
                        if enough(readings[-1]):
                            share = len(losses) / total
                            break
                    if not math.isfinite(losses[-1]):
                        break
            except Exception as error:  # a stranger's program may do anything: what it says is evidence
                failed = f"{type(error).__name__}: {error}"
        if not readings or readings[-1].step != len(losses):
            readings.append(read(program, train, val, len(losses)))
        vitals = patient.vitals if patient is not None else Vitals()
    seconds = time.perf_counter() - started
    return Course(tuple(losses), tuple(readings), vitals, total, seconds, program.model, failed, share, rows)


def _stepped(program: Program, patient: Patient | None, input: Any, target: Any) -> float:
    loss = program.step(input, target)
    if patient is not None:
        patient.loss(loss)
    return float(torch.as_tensor(loss).detach())  # many a step returns its loss with the graph


def read(program: Program, train: Rows, val: Rows, step: int) -> Reading:
    """How the model stands. A custom validation is asked for the metric; the rest is measured in evaluation mode."""
    nan = float("nan")
    if len(train) > FITTED:
        train = train.part(torch.linspace(0, len(train) - 1, FITTED).round().long())
    out, val_out = outputs(program.model, train), outputs(program.model, val)
    if program.evaluate is None and val_out is not None and len(val) == val.total:
        with torch.no_grad():  # the same outputs as those of the program's own validation
            metric = _number(lambda: program.metric(val_out, val.targets))
    else:
        metric = _number(program.score)
    with torch.no_grad():
        return Reading(
            step,
            metric,
            _number(lambda: program.metric(out, train.targets)) if out is not None else nan,
            _number(lambda: program.loss(out, train.targets)) if out is not None else nan,
            _number(lambda: program.loss(val_out, val.targets)) if val_out is not None else nan,
        )


def outputs(model: nn.Module, rows: Rows, size: int = 500) -> Tensor | None:
    """Outputs for all rows in evaluation mode; None where they are no single tensor or the model fails."""
    was = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            parts = [model(input) for input, _ in rows.batches(size)]
        return torch.cat(parts) if all(isinstance(part, Tensor) for part in parts) else None
    except Exception:
        return None
    finally:
        for module, training in was:
            module.training = training


def _number(measure: Any) -> float:
    try:
        return float(measure())
    except Exception:
        return float("nan")
