"""From a verdict to a change that was shown to work, or to "not cured".

Candidates are the remedies of the findings: the chain that the examination applied on its way, each remedy alone, and,
where no one of them works, pairs of the best. The winner's runs are whole runs of the program, from several seeds, beside
whole runs of the program as it was; nothing is claimed that `seminal.doctor.trial` does not let pass.

Before and after are the program's own metric on its own validation data. Where a finding says that the measure itself is
wrong, the two cannot mean the same, and the cure says so.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType

from seminal.doctor.chart import Told
from seminal.doctor.diagnose import Examined
from seminal.doctor.findings import Finding
from seminal.doctor.trial import FINALISTS, Comparison, Outcome, Remedies, Run, Trials, compared, named, unique

CLOSE = 0.03  # of the scale: of two changes as good as each other, the smaller one is taken
TOP = 4  # of the single remedies, whose pairs are tried

# Findings about the measure itself, and what that means for the two numbers.
OTHERWISE: Mapping[str, str] = MappingProxyType(
    {
        "metric_wrong": "before is by the program's own metric, after by the right one: the model may be the same",
        "data_shift": "after is on validation rows that were prepared like the training rows",
        "label_bug": "after is on validation rows whose labels were put right",
        "mode_misuse": "after is by a validation pass in evaluation mode",
        "non_finite_data": "after is on validation rows without NaN or infinity",
    }
)
TOO_GOOD = "the number before was too good: validation rows, or the answer itself, were known in training"


@dataclass(frozen=True)
class Numbers:
    """A cure for other programs to read."""

    remedy: str
    metric_before: float | None  # mean over the seeds; None where it is not a number
    metric_after: float | None
    interval: tuple[float, float]  # 95 %, of the difference
    p: float
    seeds: int
    control: float | None  # what other seeds alone change, as a share of the whole scale
    snippet: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Cure:
    """A change and what it did; ``works`` says whether the trial lets it pass."""

    works: bool
    remedies: Remedies
    before: tuple[Run, ...]  # whole runs, seed by seed
    after: tuple[Run, ...]
    comparison: Comparison  # on the scale of skill
    p: float  # corrected for the number of arms and of looks
    control: Comparison | None  # what other seeds alone change
    interval: tuple[float, float]  # 95 %, of the difference in the program's own metric; of skill where that is NaN
    notes: tuple[str, ...]  # how the two numbers may be compared
    tried: tuple[Outcome, ...]  # all that was run to the end
    seconds: float

    @property
    def name(self) -> str:
        return named(self.remedies)

    @property
    def metric_before(self) -> float:
        return _mean(self.before)

    @property
    def metric_after(self) -> float:
        return _mean(self.after)

    @property
    def snippet(self) -> str:
        """The lines to write, remedy by remedy."""
        return "\n\n".join(f"# {remedy.says}\n{remedy.snippet}" for remedy in self.remedies)

    @property
    def says(self) -> str:
        """In sentences."""
        change = "; ".join(remedy.says for remedy in self.remedies)
        luck = f" Other seeds alone change it by {self.control.gain:+.2f} of the scale." if self.control else ""
        rest = f"{self.numbers}.{luck}" + "".join(f" Note: {note}." for note in self.notes)
        return f"cured: {change}. {rest}" if self.works else f"not cured; the best of what was tried: {change}. {rest}"

    @property
    def numbers(self) -> str:
        """Before and after, as one sentence without its full stop."""
        low, high = self.interval
        return (
            f"The program's metric goes from {self.metric_before:.4g} to {self.metric_after:.4g} (mean of "
            f"{len(self.after)} seeds; 95 % interval of the difference {low:.3g} to {high:.3g}; p = {self.p:.2g})"
        )

    @property
    def told(self) -> Numbers:
        return Numbers(
            self.name,
            _finite(self.metric_before),
            _finite(self.metric_after),
            self.interval,
            self.p,
            len(self.after),
            self.control.gain if self.control else None,
            self.snippet,
            self.notes,
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _mean(runs: Sequence[Run]) -> float:
    return fmean(run.metric for run in runs)


def cured(examined: Examined, *, seeds: int = 3, budget: float = 120.0, told: Told = lambda _: None) -> Cure | None:
    """Try the remedies of the findings, within ``budget`` seconds. None where nothing works: ``told`` says what came
    nearest."""
    cure = attempted(examined, seeds=seeds, budget=budget, told=told)
    if cure is not None and not cure.works:
        told(cure.says)
    return cure if cure is not None and cure.works else None


def attempted(examined: Examined, *, seeds: int = 3, budget: float = 120.0, told: Told = lambda _: None) -> Cure | None:
    """`cured`, with what came nearest where nothing works. None where there is nothing to try, or no time for a single
    whole comparison."""
    started = time.monotonic()
    findings, chain = examined.verdict.findings, examined.chain
    singles = unique([(remedy,) for finding in findings for remedy in finding.remedies])
    if not singles and not chain:
        return None
    trials = Trials(examined.chart, seeds, started + budget, told)
    if any(finding.illness == "leakage" for finding in findings):
        return _honest(trials, chain or singles[0], started)
    firsts = {finding.remedies[0].name: finding.remedies[0] for finding in findings if finding.remedies}
    finalists = trials.best([chain, tuple(firsts.values()), *singles])
    trials.among = len(finalists) + FINALISTS * (len(singles) > 1)  # where nothing works alone there will be pairs
    outcomes = trials.judged(finalists)
    if not any(outcome.works for outcome in outcomes) and trials.in_time and len(singles) > 1:
        pairs = [(*a, *b) for a, b in itertools.combinations(trials.best(singles, TOP), 2)]
        told(f"nothing works alone: {len(pairs)} pairs")
        outcomes = trials.judged([*finalists, *trials.best(pairs)])
    if _promising(outcomes) and trials.in_time:
        told("a large gain, but not yet sure: twice the seeds")
        trials = trials.doubled()
        outcomes = trials.judged([outcomes[0].arm.remedies]) or outcomes
    if not outcomes:
        return None
    return _reported(trials, _chosen(outcomes), outcomes, findings, started)


def _promising(outcomes: Sequence[Outcome]) -> bool:
    """Whether only the number of seeds is wanting."""
    if not outcomes or any(outcome.works for outcome in outcomes):
        return False
    best = outcomes[0].comparison
    return best.passes(0.0, 0.0)


def _chosen(outcomes: Sequence[Outcome]) -> Outcome:
    """The most helpful; of those as good as it, the one that changes least."""
    best = outcomes[0]
    near = [o for o in outcomes if o.works == best.works and o.comparison.gain >= best.comparison.gain - CLOSE]
    return min(near, key=lambda outcome: len(outcome.arm.remedies))


def _reported(
    trials: Trials, chosen: Outcome, outcomes: Sequence[Outcome], findings: Sequence[Finding], started: float
) -> Cure:
    runs = chosen.arm.runs
    before = tuple(trials.run((), seed) for seed in trials.fields[: len(runs)])
    return Cure(
        chosen.works,
        chosen.arm.remedies,
        before,
        runs,
        chosen.comparison,
        chosen.p,
        trials.luck,
        _interval(before, runs),
        _notes(trials, chosen.arm.remedies, findings),
        tuple(outcomes),
        time.monotonic() - started,
    )


def _interval(before: Sequence[Run], after: Sequence[Run]) -> tuple[float, float]:
    """Of the difference in the program's own metric, where that is a number in every run."""
    metrics = [run.metric for run in (*before, *after)]
    if all(map(math.isfinite, metrics)):
        found = compared([run.metric for run in before], [run.metric for run in after], 0.0)
    else:
        found = compared([run.skill for run in before], [run.skill for run in after])
    return found.low, found.high


def _notes(trials: Trials, remedies: Remedies, findings: Sequence[Finding]) -> tuple[str, ...]:
    """Where the two numbers are not of the same measure: by what the findings are about, and what the remedies touched."""
    program = trials.chart.make(trials.chart.seed)
    val, evaluate = program.val, program.evaluate
    touched = set()
    for remedy in remedies:
        program = remedy.change(program)
        touched |= {name for finding in findings if remedy in finding.remedies for name in [finding.illness]}
    measured_anew = program.val is not val or (evaluate is not None and program.evaluate is None)
    notes = [text for name, text in OTHERWISE.items() if name in touched and (measured_anew or name == "metric_wrong")]
    if trials.luck is None:
        notes.append("there was no time for the control arm, without which nothing is proved")
    raised = sum(bool(run.failed) for run in trials.before.runs)
    if raised:
        notes.append(f"before, {raised} of {len(trials.before.runs)} runs end with an exception")
    failed = sum(not math.isfinite(run.metric) for run in trials.before.runs)
    if failed:
        notes.append(f"before, the metric is not a number in {failed} of {len(trials.before.runs)} runs")
    return tuple(notes)


# ------------------------------------------------------------------------------------------------------------------ leaks


def _honest(trials: Trials, remedies: Remedies, started: float) -> Cure | None:
    """A leak is cured when the number falls to what it is worth: the bar stands the other way round."""
    arm = trials.arm(remedies)
    if arm is None:
        return None
    before = trials.before
    fall = compared(arm.skills, before.skills)
    control = trials.control()
    works = fall.passes(abs(control.gain) if control is not None else math.inf)
    comparison = compared(before.skills, arm.skills)
    outcome = Outcome(arm, comparison, fall.p, works)
    return Cure(
        works,
        remedies,
        before.runs,
        arm.runs,
        comparison,
        fall.p,
        control,
        _interval(before.runs, arm.runs),
        (TOO_GOOD,),
        (outcome,),
        time.monotonic() - started,
    )
