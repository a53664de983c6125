"""Paired trials: which change helps, beyond chance?

Every arm is run from the same seeds as the program as it was, and so on the same batches; what is compared is the difference
seed by seed. A control arm changes something harmless. The bar: the mean gain is more than `LEAST` of the scale on which the
best constant answer has 0 and the right answers have 1, Cohen's d is at least ½, a one-sided paired t-test says p < .05 after
Holm's correction over the arms, doubled because one may look twice, and the control arm gains less. (With three seeds no
permutation test can reach p < .05, and three numbers are too few to resample: so Student's t, for the interval too.)

The seed of the examination, by which remedies were thought of and thinned out, is not among those of the trial: what was
chosen for its luck there has to do without it here.

**The control arm is the same program from other seeds.** A remedy usually brings new first weights, hence new luck; a rate
times 1.05 would keep the old luck and so look too steady. A program that fails from some seeds only is "cured" by another
seed as often as by anything else, and this arm shows it.

Candidates are many and time is short, so they are thinned out by successive halving: all for an eighth of the run, the best
third for a quarter, two for the whole of it, from all seeds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev

from scipy import stats

from seminal.core import UserError
from seminal.doctor.chart import Chart, Told
from seminal.doctor.course import Course
from seminal.doctor.findings import Remedy
from seminal.doctor.signs import bounded

LEAST = 0.05  # gain, as a share of the whole scale: less is not worth a change
LEAST_D = 0.5  # Cohen's d
LEVEL = 0.05
FIRST, SECOND = 1 / 8, 1 / 4  # of the run: the two rounds before the whole runs
FINALISTS = 2
QUICK = 0.25  # of the time that is left: where all candidates fit into it with whole runs, the short ones are skipped
STEPS = 100  # a round has at least so many: fewer tell nothing
LOOKS = 2  # times that a question is asked: with the first seeds, and with twice as many
FINEST = 0.01  # of the scale: seeds that agree better than this do so because the scale ends, or by rounding

Remedies = tuple[Remedy, ...]


@dataclass(frozen=True)
class Run:
    """One run from one seed, by its end."""

    metric: float  # the program's own, on its own validation data
    skill: float  # the same from 0, the best constant answer, to 1, the right answers
    seconds: float = 0.0
    failed: str = ""


@dataclass(frozen=True)
class Arm:
    """A change, run from several seeds."""

    remedies: Remedies
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        return named(self.remedies)

    @property
    def skills(self) -> tuple[float, ...]:
        return tuple(run.skill for run in self.runs)

    @property
    def metrics(self) -> tuple[float, ...]:
        return tuple(run.metric for run in self.runs)


def named(remedies: Iterable[Remedy]) -> str:
    return " + ".join(remedy.name for remedy in remedies) or "as it was"


@dataclass(frozen=True)
class Comparison:
    """An arm beside the program as it was, pair by pair."""

    gain: float  # mean difference
    low: float  # 95 % interval of it
    high: float
    p: float  # one-sided: that the arm is not better
    d: float  # Cohen's, with the spread of the two arms

    def passes(self, control: float, p: float | None = None) -> bool:
        """Whether it meets the bar. ``control`` is the mean gain of the control arm; ``p`` the corrected one."""
        p = self.p if p is None else p
        return self.gain > LEAST and self.d >= LEAST_D and p < LEVEL and self.gain > control + LEAST


def compared(before: Sequence[float], after: Sequence[float], finest: float = FINEST) -> Comparison:
    """Of two or more pairs. ``finest``: the smallest standard deviation of the gains that is believed."""
    gains = [b - a for a, b in zip(before, after, strict=True)]
    mean, count = fmean(gains), len(gains)
    assert count > 1
    error = max(stdev(gains), finest, 1e-12) / math.sqrt(count)  # the mean's standard error
    half = float(stats.t.ppf(0.975, count - 1)) * error
    p = float(stats.t.sf(mean / error, count - 1))
    pooled = math.sqrt((stdev(before) ** 2 + stdev(after) ** 2) / 2)
    return Comparison(mean, mean - half, mean + half, p, mean / max(pooled, finest, 1e-12))


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the order given."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    corrected, highest = [1.0] * len(values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = highest
    return corrected


@dataclass(frozen=True)
class Outcome:
    """An arm that was run to the end, and what the trial says of it."""

    arm: Arm
    comparison: Comparison
    p: float  # corrected over all arms of the trial
    works: bool


@dataclass
class Trials:
    """Runs of one program and of its changes, within a budget. Nothing is run twice."""

    chart: Chart
    seeds: int = 3
    until: float = math.inf  # `time.monotonic` after which no run begins
    told: Told = field(default=lambda _: None, repr=False)
    among: int = 1  # arms that p-values are corrected for, at least: more may be asked for later, or were before
    luck: Comparison | None = None  # the control arm, when it was run
    _known: dict[tuple[str, float, int], Run] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise UserError(f"a trial from {self.seeds} seed cannot tell chance from effect: use 3 or more.")

    @property
    def in_time(self) -> bool:
        return time.monotonic() < self.until

    @property
    def fields(self) -> range:
        """The seeds of every arm. That of the examination is not one of them."""
        return range(self.chart.seed + 1, self.chart.seed + 1 + self.seeds)

    def run(self, remedies: Remedies, seed: int, share: float = 1.0) -> Run:
        """One run, or what is known of it."""
        key = (named(remedies), share, seed)
        if key not in self._known:
            self._known[key] = self._made(remedies, seed, share)
        return self._known[key]

    def _made(self, remedies: Remedies, seed: int, share: float) -> Run:
        chart = self.chart
        try:
            if not remedies and share < 1:  # the whole run was scored on its way
                course = self._whole(seed)
                return self._read(course, course.near(math.ceil(share * course.total)).metric)
            course = chart.trial(*remedies, share=share, seed=seed) if remedies else self._whole(seed)
            return self._read(course, course.last.metric)
        except Exception as error:  # a stranger's program, and it was changed: it may fail in any way
            return Run(math.nan, bounded(math.nan), failed=f"{type(error).__name__}: {error}")

    def _whole(self, seed: int) -> Course:
        return self.chart.course if seed == self.chart.seed else self.chart.trial(share=1.0, seed=seed)

    def _read(self, course: Course, metric: float) -> Run:
        return Run(metric, bounded(self.chart.skill(metric)), course.seconds, course.failed)

    def arm(self, remedies: Remedies) -> Arm | None:
        """Whole runs from all seeds; None where the time is over before they are done."""
        runs = []
        for seed in self.fields:
            if not self.in_time and (named(remedies), 1.0, seed) not in self._known:
                return None
            runs.append(self.run(remedies, seed))
        return Arm(remedies, tuple(runs))

    @property
    def before(self) -> Arm:
        """The program as it was. These runs are made whatever the budget: nothing can be said without them."""
        return Arm((), tuple(self.run((), seed) for seed in self.fields))

    def control(self) -> Comparison | None:
        """The program from other seeds beside itself; None where there is no time."""
        if self.luck is None:
            self.told(f"the control arm: the program as it was, from {self.seeds} other seeds")
            runs = []
            for seed in self.fields:
                if not self.in_time and (named(()), 1.0, seed + self.seeds) not in self._known:
                    return None
                runs.append(self.run((), seed + self.seeds))
            self.luck = compared(self.before.skills, [run.skill for run in runs])
        return self.luck

    def doubled(self) -> Trials:
        """The same with twice the seeds; the control arm's runs are among those of the program as it was."""
        return replace(self, seeds=2 * self.seeds)

    def best(self, candidates: Sequence[Remedies], keep: int = FINALISTS) -> list[Remedies]:
        """Successive halving, from one seed: those worth whole runs from all seeds, the best first."""
        left = unique(candidates)
        seconds = max(self.run((), self.chart.seed).seconds, 1e-3)
        quick = seconds * len(left) < QUICK * (self.until - time.monotonic())
        shares = (1.0,) if quick else tuple(dict.fromkeys(map(self._long_enough, (FIRST, SECOND))))
        for round, share in enumerate(shares):
            enough = keep if round == len(shares) - 1 else max(keep, -(-len(left) // 3))
            if len(left) > enough:
                self.told(f"{len(left)} changes, each for {share:.0%} of the run")
                left = self._ranked(left, share)[:enough]
        return left

    def _long_enough(self, share: float) -> float:
        total = max(1, self.chart.course.total)
        return next((s for s in (share, 1 / 4, 1 / 2) if s >= share and s * total >= STEPS), 1.0)

    def _ranked(self, candidates: Sequence[Remedies], share: float) -> list[Remedies]:
        tried = {}
        for remedies in candidates:
            if self.in_time:
                tried[named(remedies)] = self.run(remedies, self.chart.seed, share).skill
        return sorted(candidates, key=lambda remedies: -tried.get(named(remedies), -math.inf))

    def judged(self, candidates: Sequence[Remedies]) -> list[Outcome]:
        """Whole runs of all seeds, beside the program as it was; the most helpful first. Without time for the control arm
        nothing is proved."""
        arms = [arm for arm in map(self._announced, unique(candidates)) if arm is not None]
        if not arms:
            return []
        control = self.control()
        luck = control.gain if control is not None else math.inf
        found = [compared(self.before.skills, arm.skills) for arm in arms]
        others = [1.0] * max(0, self.among - len(found))
        corrected = [min(1.0, LOOKS * p) for p in holm([*(comparison.p for comparison in found), *others])]
        outcomes = [
            Outcome(
                arm, comparison, p, comparison.passes(luck, p) or (control is not None and self._ends(arm, comparison))
            )
            for arm, comparison, p in zip(arms, found, corrected)
        ]
        return sorted(outcomes, key=lambda outcome: (not outcome.works, -outcome.comparison.gain))

    def _ends(self, arm: Arm, comparison: Comparison) -> bool:
        """Whether every run raised before and none does now, at no loss: no luck is in that."""
        return (
            all(run.failed for run in self.before.runs)
            and not any(run.failed for run in arm.runs)
            and comparison.gain >= 0
        )

    def _announced(self, remedies: Remedies) -> Arm | None:
        self.told(f"whole runs from {self.seeds} seeds: {named(remedies)}")
        return self.arm(remedies)


def unique(candidates: Iterable[Remedies]) -> list[Remedies]:
    """Each combination once, in the order given."""
    return list({named(remedies): remedies for remedies in candidates if remedies}.values())
