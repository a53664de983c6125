"""Can sixteen rows be learned by heart? In three ways: with the program's own optimiser, with Adam, and with Adam on
standardised data. What cannot be learned even so is wrong in model or loss; what only Adam learns is wrong in the optimiser;
what only standardised data allow is wrong in their scale (DIAGNOSIS.md 4.1; Karpathy 2019 asks the first of the three).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seminal.doctor import remedies
from seminal.doctor.program import Make, Program
from seminal.doctor.rows import Rows

ROWS, STEPS = 16, 300
ADAM = (1e-3, 1e-2)  # the better of these rates counts
FITS = 0.1  # share of the first loss, above the least possible, that may be left
SCORE = 0.95  # or the metric of the batch, where 1 is right


@dataclass(frozen=True)
class Learned:
    """One way of learning the batch."""

    first: float  # loss before the first step
    last: float  # the smallest that was reached
    score: float  # the program's metric on the batch, in the end
    steps: int

    @property
    def finite(self) -> bool:
        return math.isfinite(self.last)

    def fits(self, floor: float = 0.0) -> bool:
        """Whether the batch was learned; ``floor`` is the least loss that outputs of any kind could have."""
        left = (self.last - floor) / max(self.first - floor, 1e-12)
        return self.finite and (left < FITS or self.score >= SCORE)


@dataclass(frozen=True)
class OneBatch:
    own: Learned
    adam: Learned
    scaled: Learned | None  # None: inputs are tokens, and nothing can be standardised


def learned(make: Make, seed: int, train: Rows) -> OneBatch:
    """The three ways, each on a freshly made program."""
    few = train.part(torch.linspace(0, len(train) - 1, min(ROWS, len(train))).round().long())
    own = _learn(make(seed), few)
    adam = _best(make, seed, few, ())
    if not train.inputs.is_floating_point():
        return OneBatch(own, adam, None)
    scaling: tuple[remedies.Remedy, ...] = (remedies.standardised_inputs(train),)
    if train.targets.is_floating_point():
        scaling = (*scaling, remedies.standardised_targets(train))
    return OneBatch(own, adam, _best(make, seed, few, scaling))


def _best(make: Make, seed: int, few: Rows, changes: tuple[remedies.Remedy, ...]) -> Learned:
    found = []
    for rate in ADAM:
        program = make(seed)
        for remedy in (*changes, remedies.adam(rate)):
            program = remedy.change(program)
        found.append(_learn(program, few))
        if found[-1].fits():
            break
    return min(found, key=lambda way: (-way.score if math.isfinite(way.score) else math.inf, way.last))


def _learn(program: Program, few: Rows) -> Learned:
    """The plain step, without dropout and with the batch's own statistics left alone."""
    program = replace(program, train_step=None)
    program.model.eval()
    losses: list[float] = []
    for number in range(STEPS):
        try:
            losses.append(float(program.step(few.inputs, few.targets)))
        except RuntimeError:  # no gradient, values outside of the loss's range: it is not learned
            losses.append(math.nan)
        if not math.isfinite(losses[-1]) or (number % 25 == 24 and losses[-1] < 0.02 * losses[0]):
            break
    finite = [loss for loss in losses if math.isfinite(loss)]
    last = min(finite) if finite and math.isfinite(losses[-1]) else math.nan
    return Learned(losses[0], last, _score(program, few), len(losses))


@torch.no_grad()
def _score(program: Program, few: Rows) -> float:
    try:
        out: Tensor = program.model(few.inputs)
        return float(program.metric(out, few.targets))
    except Exception:
        return math.nan
