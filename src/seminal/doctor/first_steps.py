"""A few of the program's own training steps and its own validation, watched: which gradients arrive, what the optimiser takes
of them, what is left of earlier ones, what moves, and in which mode the model is."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from statistics import median

import torch

from seminal.doctor.program import Program
from seminal.doctor.vitals import Vitals
from seminal.doctor.watching import watch

STEPS = 5


@dataclass(frozen=True)
class FirstSteps:
    """What was seen."""

    losses: tuple[float, ...] = ()  # that the steps returned
    rows: int = 0  # in the first batch
    vitals: Vitals = field(default_factory=Vitals, repr=False)
    moved: frozenset[str] = frozenset()  # parameters that are not what they were
    still: tuple[str, ...] = ()  # batch normalisations whose running statistics did not move
    trains_in: str = ""  # mode of the modules that have two: "train", "eval", "mixed"; "": not known
    validates_in: str = ""
    failed: str = ""  # an exception of the program, in words

    @property
    def received(self) -> dict[str, float]:
        """For each parameter that learns, the largest norm of its gradient; NaN: it never had one."""
        return {name: _largest(w.gradient) for name, w in self.vitals.weights.items() if w.learns and w.gradient}

    @property
    def idle(self) -> tuple[str, ...]:
        """Parameters with a gradient that the optimiser has, and that stayed where they were."""
        return tuple(
            name
            for name, norm in self.received.items()
            if norm > 0 and self.vitals.weights[name].owned and name not in self.moved
        )

    @property
    def leftover(self) -> float:
        """The share of the steps after the first in which gradients already used were still there."""
        later = self.vitals.leftover[1:]
        return sum(later) / len(later) if later else 0.0

    @property
    def clip(self) -> float:
        """Median share of the gradient's norm that the optimiser was given."""
        shares = self.vitals.clipped()
        return median(shares) if shares else 1.0

    @property
    def norm(self) -> float:
        """Median norm of the gradient as backward left it."""
        return median(self.vitals.gradient) if self.vitals.gradient else math.nan


def _largest(norms: list[float]) -> float:
    """Of those that are there; infinity where one is not finite but is there."""
    return max((n for n in norms if not math.isnan(n)), default=math.nan)


def watched(program: Program) -> FirstSteps:
    """Take `STEPS` steps, and validate where the program does so in its own way. The program is used up."""
    model, failed = program.model, ""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    means = {name: value.clone() for name, value in model.named_buffers() if name.endswith("running_mean")}
    losses: list[float] = []
    rows = 0
    with watch(model, program.optimizer, every=1, stop_on_nonfinite=False) as patient:
        batches = itertools.islice(itertools.chain.from_iterable(itertools.repeat(program.train)), STEPS)
        try:
            for input, target in batches:
                model.train()
                rows = rows or len(target)
                losses.append(float(torch.as_tensor(program.step(input, target)).detach()))
        except Exception as error:  # a stranger's program may do anything: what it says is evidence
            failed = f"{type(error).__name__}: {error}"
    still = tuple(
        name.removesuffix(".running_mean")
        for name, value in model.named_buffers()
        if name in means and torch.equal(value, means[name])
    )
    moved = frozenset(name for name, p in model.named_parameters() if not torch.equal(p, before[name]))
    trains_in = _mode(patient.vitals.training)
    validates_in = _validated(program) if program.evaluate is not None else ""
    return FirstSteps(tuple(losses), rows, patient.vitals, moved, still, trains_in, validates_in, failed)


def _validated(program: Program) -> str:
    """Ask the program for its own validation; the mode that it puts the model in."""
    program.model.train()
    with watch(program.model, program.optimizer, every=None) as patient, torch.no_grad():
        try:
            program.score()
        except Exception:  # then nothing is known
            return ""
    return _mode([not in_evaluation for in_evaluation in patient.vitals.validating])


def _mode(training: list[bool]) -> str:
    return "" if not training else "train" if all(training) else "mixed" if any(training) else "eval"
