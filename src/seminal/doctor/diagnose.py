"""From a program to a verdict.

Rules are asked stage by stage: what can be seen in the code's own behaviour, then the data, then the way it learns,
then what it makes of rows it has not seen. Where a stage finds something, its first remedy is applied and the treated
program is examined from the beginning: faults come in pairs, and the second one often shows only when the first is
gone.
"""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, ModuleType

from seminal.core import UserError
from seminal.doctor import rules, signs
from seminal.doctor.anatomy import Anatomy
from seminal.doctor.chart import Chart, NeedsTraining, Told, treated
from seminal.doctor.findings import Finding, Remedy, Verdict
from seminal.doctor.program import Make

STAGES = ("code", "data", "optimisation", "generalisation")
EARLY = STAGES[:2]  # … and those that can be asked before the program trains
ROUNDS = 4  # faults in one program, at most, plus one look at the treated one
SURE = 0.5  # below this a finding is not named
STILL_SURE = 0.75  # … and below this one of a treated program: what is left may be the treatment's own trace

# The General Guide: is the training loss large (then it is the model or the optimisation), or only the validation loss
# (then it is overfitting or a mismatch of the data)? Faults of the code come before either question.
BRANCHES: Mapping[str, str] = MappingProxyType(
    {"underfitting": "model bias", "overfitting": "overfitting", "data_shift": "mismatch", "leakage": "mismatch"}
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
    first = chart = Chart(make, seed, started + budget, told)
    findings: list[Finding] = []
    chain: list[Remedy] = []
    for number in range(ROUNDS):
        found = [
            f
            for f in _round(chart, STILL_SURE if number else SURE)
            if f.illness not in {known.illness for known in findings}
        ]
        if not found:
            break
        findings += found
        remedy = next((r for f in found for r in f.remedies), None)
        if remedy is None or signs.solved(chart) or not chart.in_time or not _works(chart, remedy):
            break
        chain.append(remedy)
        chart = Chart(treated(make, *chain), seed, started + budget, told)
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
    branch = _branch(findings[0]) if findings else ""
    question = "" if findings else "what shows only while it trains is open"
    return Verdict(tuple(findings), bool(findings), question, branch, time.monotonic() - started)


def _round(chart: Chart, sure: float) -> list[Finding]:
    """The findings of the first stage that has any, the surest first, without those that a surer one explains."""
    return next((kept for stage in STAGES if (kept := _surest(chart, of_stage(stage), sure))), [])


def _surest(chart: Chart, asked: Iterable[Rule], sure: float) -> list[Finding]:
    found = [finding for rule in asked if (finding := _asked(rule, chart)) is not None]
    kept: list[Finding] = []
    for finding in sorted(found, key=lambda f: (-f.confidence, -_explained(f, found))):
        if finding.confidence >= sure and not any(finding.illness in surer.explains for surer in kept):
            kept.append(finding)
    return kept


def _asked(rule: Rule, chart: Chart) -> Finding | None:
    """What a rule finds. Where there is to be no training, one that needs some has nothing to say."""
    try:
        return rule(chart)
    except NeedsTraining:
        return None


def _explained(finding: Finding, others: list[Finding]) -> int:
    """How many of the others it explains: of two that are as sure, the one that explains more is taken first."""
    return sum(other.illness in finding.explains for other in others)


def _works(chart: Chart, remedy: Remedy) -> bool:
    """Whether the treated program can be made at all."""
    chart.told(f"going on with this changed: {remedy.says}")
    try:
        return treated(chart.make, remedy)(chart.seed) is not None
    except (UserError, RuntimeError, ValueError, TypeError):
        return False


def _open_question(chart: Chart) -> str:
    own, allowed = signs.skill(chart), signs.allowed(chart)
    if own < allowed:
        reached = f"a plain network reaches {allowed:.2f} of the scale and this program {own:.2f}"
        return f"{reached}: let it train longer, and try a larger model"
    reached = f"this program reaches {own:.2f} of the scale, and a plain network not more"
    return f"{reached}: more data, or better features, would decide"


Rule = Callable[[Chart], Finding | None]


def of_stage(stage: str) -> Iterator[Rule]:
    """The rules of a stage, in the order of their names."""
    return (module.judge for module in _modules() if stage == module.STAGE)


def _branch(finding: Finding) -> str:
    stages = (module.STAGE for module in _modules() if module.__name__.rsplit(".", 1)[1] == finding.illness)
    return BRANCHES.get(finding.illness) or next(stages)


@cache
def _modules() -> tuple[ModuleType, ...]:
    names = sorted(info.name for info in pkgutil.iter_modules(rules.__path__))
    return tuple(importlib.import_module(f"{rules.__name__}.{name}") for name in names)
