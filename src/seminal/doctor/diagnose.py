"""From a program to a verdict.

Rules are asked stage by stage: what can be seen in the code's own behaviour, then the data, then the way it learns,
then what it makes of rows it has not seen. Where a stage finds something, its first remedy is applied and the treated
program is examined from the beginning: faults come in pairs, and the second one often shows only when the first is
gone.

Time goes into training, so no run is made whose outcome would change nothing. Inside a stage, rules with a sign of their
own come first and those that need the longest trials last; a rule is not asked for what a sure finding already explains.
Trials have an allowance. A treated program is trained until it does as well as its data allow, and then nothing more is
asked about its training.
"""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, ModuleType

from seminal.core import UserError
from seminal.doctor import course, rules, signs
from seminal.doctor.anatomy import Anatomy
from seminal.doctor.chart import Chart, NeedsTraining, Told, treated
from seminal.doctor.findings import Finding, Remedy, Verdict
from seminal.doctor.program import Make
from seminal.doctor.rules import crash

STAGES = ("code", "data", "optimisation", "generalisation")
EARLY = STAGES[:2]  # … and those that can be asked before the program trains
ROUNDS = 4  # faults in one program, at most, plus one look at the treated one
TRIALS = (4.0, 1.0)  # runs' worth of trials, for the program as it came and for a treated one
BROKEN = frozenset({"crash"})  # a run that was cut short: what it shows of all else is not to be trusted
FIRST = frozenset(  # rules with a sign of their own …
    {
        "init_bad",
        "input_scale",
        "target_scale",
        "hidden_activation",
        "over_regularised",
        "batch_size",
        "posterior_collapse",
    }
)
PACE = frozenset({"lr_high", "lr_low", "optimizer"})  # … those that always need a trial, which others can use …
LAST = frozenset({"epochs_few"})  # … and the one whose trial is four runs long
SETTLES = 0.85  # confidence from which a finding spares trials for other illnesses
SURE = 0.5  # below this a finding is not named
STILL_SURE = 0.75  # … and below this one of a treated program: what is left may be the treatment's own trace

# The General Guide: is the training loss large (then it is the model or the optimisation), or only the validation loss
# (then it is overfitting or a mismatch of the data)? Faults of the code come before either question.
BRANCHES: Mapping[str, str] = MappingProxyType(
    {"underfitting": "model bias", "overfitting": "overfitting", "data_shift": "mismatch", "leakage": "mismatch"}
    | {"crash": "code"}
)


@dataclass(frozen=True)
class Examined:
    """A verdict, the chart of the program as it came, and the remedies that were applied on the way."""

    verdict: Verdict
    chart: Chart
    chain: tuple[Remedy, ...]


def diagnose(make: Make, *, seed: int = 0, budget: float = 120.0, told: Told = lambda _: None) -> Verdict:
    """Examine a program within ``budget`` seconds; what is being done is told on the way."""
    return examine(make, seed=seed, budget=budget, told=told).verdict


def examine(make: Make, *, seed: int = 0, budget: float = 120.0, told: Told = lambda _: None) -> Examined:
    """`diagnose`, with the evidence."""
    started = time.monotonic()
    until = started + budget
    first = chart = Chart(make, seed, until, told, allowance=TRIALS[0])
    findings: list[Finding] = []
    chain: list[Remedy] = []
    for number in range(ROUNDS):
        found = _round(chart, STILL_SURE if number else SURE, {known.illness for known in findings})
        if not found:
            break
        findings += found
        remedy = next((r for f in found for r in f.remedies), None)
        if remedy is None or time.monotonic() > until or not _works(chart, remedy):
            break
        chain.append(remedy)
        if signs.solved(chart):
            break
        told(f"going on with this changed: {remedy.says}")
        changed = treated(make, *chain)
        chart = Chart(changed, seed, until, told, before=chart, enough=signs.well_by_now, allowance=TRIALS[1])
    if first.has_trained and "crash" not in {finding.illness for finding in findings}:
        findings += filter(None, [crash.judge(first)])  # whatever else was found before its turn came
    findings.sort(key=lambda finding: -finding.confidence)
    decided = bool(findings) or signs.well(first)
    question = "" if decided else _open_question(first)
    branch = _branch(findings[0]) if findings else ""
    verdict = Verdict(tuple(findings), decided, question, branch, time.monotonic() - started)
    return Examined(verdict, first, tuple(chain))


def check(make: Make, *, seed: int = 0, told: Told = lambda _: None, known: Anatomy | None = None) -> Verdict:
    """What can be said in seconds, before the first training run: the rules of code and data, asked all at once, as far as
    they need none. Where the anatomy is ``known`` to be well, only the data are looked at. Nothing found is no proof of
    health: the verdict is then undecided."""
    started = time.monotonic()
    chart = Chart(make, seed, told=told, trains=False, known=known)
    stages = EARLY if known is None else ("data",)
    findings = _surest(chart, [rule for stage in stages for rule in of_stage(stage)], SURE)
    if not findings and known is None:  # steps that fail need no run to be seen
        findings += filter(None, [crash.first_steps(chart)])
    branch = _branch(findings[0]) if findings else ""
    question = "" if findings else "what shows only while it trains is open"
    return Verdict(tuple(findings), bool(findings), question, branch, time.monotonic() - started)


def _round(chart: Chart, sure: float, known: Collection[str]) -> list[Finding]:
    """The findings of the first stage that has any not yet ``known``, the surest first, without those that a surer one
    explains."""
    for stage in STAGES:
        if chart.before is not None and _done(chart, stage):
            return []
        if kept := _surest(chart, [rule for rule in of_stage(stage) if _illness(rule) not in known], sure):
            return kept
    return []


def _done(chart: Chart, stage: str) -> bool:
    """Whether a treated program needs no further questions. Where training and validation rows are nearly all answered right,
    that is before the data are doubted: they must be in order."""
    if stage == "code" or chart.crashes:
        return False
    return signs.well(chart) if stage not in EARLY else min(signs.skill(chart), signs.fit(chart)) >= signs.GOOD


def _surest(chart: Chart, asked: Iterable[ModuleType], sure: float) -> list[Finding]:
    found: list[Finding] = []
    for rule in asked:
        if rule.STAGE not in EARLY and any(_settles(known, _illness(rule)) for known in found):
            continue
        if (answer := _asked(rule, chart)) is not None:
            found.append(answer)
    kept: list[Finding] = []
    for finding in sorted(found, key=lambda f: (-f.confidence, -_explained(f, found))):
        if finding.confidence >= sure and not any(finding.illness in surer.explains for surer in kept):
            kept.append(finding)
    return kept


def _settles(finding: Finding, illness: str) -> bool:
    """Whether a finding is so sure that another illness need not be asked about: it explains that one, or it has a sign of
    its own, and the pace is better judged in the treated program."""
    better_later = illness in PACE and finding.illness in FIRST
    return finding.confidence >= SETTLES and (better_later or illness in finding.explains)


def _asked(rule: ModuleType, chart: Chart) -> Finding | None:
    """What a rule finds. Where there is to be no training, one that needs some has nothing to say."""
    judge: Callable[[Chart], Finding | None] = rule.judge
    try:
        return judge(chart)
    except NeedsTraining:
        return None


def _explained(finding: Finding, others: list[Finding]) -> int:
    """How many of the others it explains: of two that are as sure, the one that explains more is taken first."""
    return sum(other.illness in finding.explains for other in others)


def _works(chart: Chart, remedy: Remedy) -> bool:
    """Whether the treated program can be made at all, has rows to train on, and takes no longer than the program did."""
    try:
        program = treated(chart.make, remedy)(chart.seed)
        return program.epochs <= chart.program.epochs and course.length(program) > 0
    except (UserError, RuntimeError, ValueError, TypeError):
        return False


def _open_question(chart: Chart) -> str:
    return f"nothing is amiss that could be seen, and it does not do well. {_beside_another(chart)}"


def _beside_another(chart: Chart) -> str:
    own, allowed = signs.skill(chart), signs.allowed(chart)
    if not chart.opinion.known:
        return f"this program reaches {own:.2f} of the scale, and there is no second opinion to compare it with"
    if own < allowed:
        reached = f"a plain network reaches {allowed:.2f} of the scale and this program {own:.2f}"
        return f"{reached}: let it train longer, and try a larger model"
    reached = f"this program reaches {own:.2f} of the scale, and a plain network not more"
    return f"{reached}: more data, or better features, would decide"


def of_stage(stage: str) -> list[ModuleType]:
    """The rules of a stage, in the order in which they are asked."""
    return sorted((rule for rule in _modules() if stage == rule.STAGE), key=_turn)


def _turn(rule: ModuleType) -> int:
    groups = (BROKEN, FIRST, PACE, (), LAST)  # the fourth is for all others
    return next((turn for turn, group in enumerate(groups) if _illness(rule) in group), 3)


def _illness(rule: ModuleType) -> str:
    return rule.__name__.rsplit(".", 1)[1]


def _branch(finding: Finding) -> str:
    stages = (rule.STAGE for rule in _modules() if _illness(rule) == finding.illness)
    return BRANCHES.get(finding.illness) or next(stages)


@cache
def _modules() -> tuple[ModuleType, ...]:
    names = sorted(info.name for info in pkgutil.iter_modules(rules.__path__))
    return tuple(importlib.import_module(f"{rules.__name__}.{name}") for name in names)
