"""All that is known of a patient. Everything is measured when it is first asked for, and only once: a rule that needs an
experiment asks for it here, and the next rule finds the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from seminal.core import UserError
from seminal.doctor import anatomy, course, one_batch, second_opinion
from seminal.doctor.anatomy import Anatomy
from seminal.doctor.course import Course, Reading
from seminal.doctor.data_facts import DataFacts
from seminal.doctor.findings import Remedy
from seminal.doctor.one_batch import OneBatch
from seminal.doctor.program import Make, OfRecipe, Program, undisturbed
from seminal.doctor.rows import Rows, equally_long, rows_of
from seminal.doctor.second_opinion import Opinion

FLOOR = 6.0  # seconds of trials that are allowed whatever the program's own training takes

Told = Callable[[str], None]


class NeedsTraining(Exception):
    """A training run was asked for, of a chart on which there is to be none."""


@dataclass
class Chart:
    """The evidence about one program. ``told`` is called with what is about to be done, for the user to see."""

    make: Make
    seed: int = 0
    until: float = float("inf")  # `time.monotonic` at which no new experiment begins
    told: Told = field(default=lambda _: None, repr=False)
    trains: bool = True  # False: only what can be seen before the first training run; asking for one raises
    known: Anatomy | None = None  # where model, loss and metric need no examination
    # Of the same program, less treated: what is known of the same rows is taken from it.
    before: Chart | None = field(default=None, repr=False)
    enough: Callable[[Chart, Reading], bool] = field(
        default=lambda *_: False, repr=False
    )  # the run needs to go no further
    allowance: float = float("inf")  # runs' worth of trials after which, and after `FLOOR`, no new one begins
    _trials: dict[tuple[tuple[str, ...], float, int], Course] = field(default_factory=dict, repr=False)

    @cached_property
    def program(self) -> Program:
        """Freshly made, to look at. Whoever trains it, or changes it, makes another."""
        with undisturbed():
            return self.make(self.seed)

    @cached_property
    def train(self) -> Rows:
        with undisturbed():
            return _read(self.program.train, "train")

    @cached_property
    def val(self) -> Rows:
        with undisturbed():
            return _read(self.program.val, "val")

    @cached_property
    def anatomy(self) -> Anatomy:
        """Model, loss and metric, by what they do to a batch: see `seminal.doctor.anatomy`."""
        if self.known is not None:
            return self.known
        self.told("looking at the model, the loss and the metric")
        with undisturbed():
            return anatomy.examined(self.make(self.seed), self.train, self.val)

    @cached_property
    def facts(self) -> DataFacts:
        """Inputs and targets, by themselves."""
        # On the processor, where the networks are that are asked about the rows.
        train, val = equally_long(self.train.on("cpu"), self.val.on("cpu"))
        facts, before = DataFacts(train, val, self.anatomy.kind), self.before
        return before.facts if before is not None and facts.alike(before.facts) else facts

    @cached_property
    def course(self) -> Course:
        """The whole run, as the program would have made it, watched."""
        self._may_train()
        self.told("training once, as the program would")
        return course.follow(
            self.make,
            self.train,
            self.val,
            seed=self.seed,
            often=self.often,
            enough=lambda reading: self.enough(self, reading),
        )

    @property
    def often(self) -> int:
        """Steps between two close looks: about eight of them in a run."""
        return max(1, course.length(self.program) // 8)

    @cached_property
    def one_batch(self) -> OneBatch:
        """Whether sixteen rows can be learned by heart: in three ways."""
        self.told("learning one batch by heart, in three ways")
        with undisturbed():
            return one_batch.learned(self.make, self.seed, self.train)

    @cached_property
    def opinion(self) -> Opinion:
        """What a plain, well-kept network makes of the same rows."""
        if self.before is not None and self.facts is self.before.facts:
            return self.before.opinion
        self.told("asking for a second opinion: a plain network on the same rows")
        with undisturbed():
            return second_opinion.on(self.facts)

    @property
    def has_opinion(self) -> bool:
        """Whether it was asked for, here or before a treatment."""
        return "opinion" in vars(self) or (self.before is not None and self.before.has_opinion)

    @property
    def has_trained(self) -> bool:
        """Whether the whole run was made."""
        return "course" in vars(self)

    @property
    def origin(self) -> Chart:
        """Of the program as it came, without any treatment."""
        return self if self.before is None else self.before.origin

    @property
    def crashes(self) -> bool:
        """Whether the run ends with an exception that is the program's own: one that only a treated program raises may be
        the treatment's."""
        return bool(self.course.failed and self.origin.course.failed)

    def trial(self, *remedies: Remedy, share: float = 0.25, seed: int | None = None) -> Course:
        """The run with these remedies, for a share of its steps, with the same seed and so the same batches."""
        seed = self.seed if seed is None else seed
        key = (tuple(r.name for r in remedies), share, seed)
        if key not in self._trials:
            self._may_train()
            self.told(f"trying: {'; '.join(r.says for r in remedies) or 'another seed'}")
            make = treated(self.make, *remedies)
            of = self.program.val
            self._trials[key] = course.follow(make, self.train, self.val, of=of, seed=seed, share=share)
        return self._trials[key]

    def _may_train(self) -> None:
        if not self.trains:
            raise NeedsTraining

    @property
    def trials(self) -> tuple[Course, ...]:
        """All that were made so far."""
        return tuple(self._trials.values())

    def skill(self, metric: float) -> float:
        """The program's metric on a scale where the best constant answer has 0 and the right answers have 1."""
        floor, ceiling = self.anatomy.floor, self.anatomy.ceiling
        return (metric - floor) / max(ceiling - floor, 1e-6)

    @property
    def in_time(self) -> bool:
        """Whether there is time for another experiment."""
        return time.monotonic() < self.until and (self._spent < self.allowance or self._seconds < FLOOR)

    @property
    def _spent(self) -> float:
        """On trials, in whole runs: no clock is asked, so that a busy machine changes no verdict."""
        return sum(tried.share for tried in self.trials)

    @property
    def _seconds(self) -> float:
        return sum(tried.seconds for tried in self.trials)


def _read(loader: Any, part: str) -> Rows:
    """`rows_of`, of a stranger's data set, which may fail in any way."""
    try:
        return rows_of(loader)
    except UserError as error:
        raise UserError(f"`{part}`: {error}") from None
    except Exception as error:
        raise UserError(f"`{part}` cannot be read: {type(error).__name__}: {error}.") from error


def treated(make: Make, *remedies: Remedy) -> Make:
    """A program with remedies, one after the other. Of a run of ours, what its recipe can say is changed there."""
    for remedy in remedies:
        make = _treated(make, remedy)
    return make


def _treated(make: Make, remedy: Remedy) -> Make:
    if isinstance(make, OfRecipe) and remedy.recipe is not None:
        changed = remedy.recipe(make.recipe)
        if changed != make.recipe:  # otherwise this recipe has no place for it
            return make.following(changed)
    return lambda seed: remedy.change(make(seed))
