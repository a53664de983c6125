"""`seminal doctor`: examine a program or a run, and say what was found, how it is known, and what helps."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from seminal.core import UserError
from seminal.doctor.chart import Chart, treated
from seminal.doctor.chinese import translated
from seminal.doctor.cure import Cure, attempted
from seminal.doctor.diagnose import check, examine
from seminal.doctor.examinations import Examination, examinations
from seminal.doctor.findings import ILLNESSES, Finding, Remedy, Verdict
from seminal.doctor.program import Make, from_file
from seminal.report.terminal import say
from seminal.runs.codec import new_file, write_json
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.observing import in_names
from seminal.runs.patient import OwnRun, patient
from seminal.runs.plan import plan_of, source_of
from seminal.runs.prescribing import prescribed, train_command

FOUND = 3  # exit code


@dataclass(frozen=True)
class DoctorAsk:
    """The words of ``seminal doctor``."""

    patient: str  # program.py, program.py:make, or the folder of a run
    check: bool = False  # only what can be seen before the first training run
    examine: bool = False  # after the verdict: every experiment there is
    cure: bool = False
    budget: float = 120.0  # seconds of examination; --examine has as long again, and a cure for each of its seeds
    seeds: int = 3
    seed: int = 0
    json: str | None = None
    device: str | None = None
    lang: str = "en"  # or zh; JSON is English in both


class Tell(Protocol):
    """As `say`."""

    def __call__(self, label: str, text: str, *, wrap: bool = True) -> None: ...


def _in_chinese(label: str, text: str, *, wrap: bool = True) -> None:
    """Commands and code, which are not wrapped, stay as they are."""
    say(translated(label), translated(text) if wrap else text, wrap=wrap)


TELLING: Mapping[str, Tell] = MappingProxyType({"en": say, "zh": _in_chinese})


def doctor(ask: DoctorAsk) -> int:
    """Exit code 0 where nothing was found, 3 where something was."""
    if not ask.budget > 0:
        raise UserError(f"--budget {ask.budget:g} is no time to examine in: write seconds, 120 for example.")
    if ask.seeds < 2:
        raise UserError(f"--seeds {ask.seeds} cannot tell chance from effect: write 3 or more.")
    if ask.check and (ask.cure or ask.examine):
        raise UserError("--check ends before the first training run, and --examine and --cure need some: ask for one.")
    file, make = new_file(ask.json), _made(ask)
    tell = _telling(ask.lang, make)

    def told(what: str) -> None:
        tell("", what)

    if isinstance(make, OwnRun) and make.mixing:
        tell("left out", f"{make.mixing}: a row that is made of two has two targets, and the doctor examines one")
    if isinstance(make, OwnRun) and make.says_words:
        tell("left out", "the words of the texts, which are learned beside the labels: the doctor examines the labels")
    cure, asked = None, list[Examination]()
    if ask.check:
        verdict = check(make, seed=ask.seed, told=told)
        _show_check(verdict, ask.patient, tell)
    else:
        examined = examine(make, seed=ask.seed, budget=ask.budget, told=told)
        verdict = examined.verdict
        show(verdict, tell)
        asked = _examined(examined.chart, ask.budget, tell) if ask.examine else asked
        if ask.cure and verdict.findings:
            tried = attempted(examined, seeds=ask.seeds, budget=ask.budget * ask.seeds, told=told)
            _show_cure(tried, any(finding.remedies for finding in verdict.findings), tell)
            cure = tried if tried is not None and tried.works else None
            if cure is not None and isinstance(make, OwnRun):
                _prescribe(RunFolder.existing(ask.patient), make, cure, tell)
        elif any(finding.remedies for finding in verdict.findings):  # there is something to try
            tell("next", f"seminal doctor {ask.patient} --cure", wrap=False)
    if file is not None:
        _write(file, verdict, cure, asked)
    return FOUND if verdict.findings else 0


def _telling(lang: str, make: Make) -> Tell:
    """In the user's language, and of a run of ours on a table, in the names of its columns."""
    tell = TELLING[lang]

    def named(label: str, text: str, *, wrap: bool = True) -> None:
        tell(label, in_names(text, make.source) if isinstance(make, OwnRun) and wrap else text, wrap=wrap)

    return named


def is_program(patient: str) -> bool:
    """Whether a patient is ``file.py`` or ``file.py:function``, and not the folder of a run."""
    return re.search(r"\.py(:\w*)?$", patient) is not None


def _made(ask: DoctorAsk) -> Make:
    if is_program(ask.patient):
        return from_file(ask.patient)
    folder = RunFolder.existing(ask.patient)
    plan, device = plan_of(folder), device_for(ask.device)
    return patient(plan, source_of(folder, plan, device), device)


def _show_check(verdict: Verdict, patient: str, tell: Tell) -> None:
    if verdict.findings:
        show(verdict, tell)
        return
    tell("doctor", f"nothing is amiss that can be seen before training; {verdict.open_question}")
    tell("time", f"{verdict.seconds:.0f} s of examination")
    tell("next", f"seminal doctor {patient}", wrap=False)


def _examined(chart: Chart, budget: float, tell: Tell) -> list[Examination]:
    """Every experiment, with a budget of its own, shown one by one."""
    chart.until = time.monotonic() + budget
    found = []
    for each in examinations(chart, lambda question: tell("examine", question)):
        tell("", f"· {each.found}")
        tell("", f"→ {each.means}")
        found.append(each)
    return found


def show(verdict: Verdict, tell: Tell) -> None:
    """What was found, the surest first."""
    if not verdict.findings:
        if verdict.decided:
            tell("doctor", "healthy: it does as well as its data allow, and nothing in it is amiss")
        else:
            tell(
                "doctor",
                f"cannot tell: {verdict.open_question}.",
            )
    for finding in verdict.findings:
        tell("doctor", f"{finding.illness} ({finding.confidence:.2f}): {ILLNESSES[finding.illness]}")
        _show_reasons(finding, tell)
    if verdict.findings:
        tell("guide", f"this is a matter of {verdict.branch}")
    tell("time", f"{verdict.seconds:.0f} s of examination")


def _show_reasons(finding: Finding, tell: Tell) -> None:
    for reason in finding.evidence:
        tell("", f"· {reason}")
    for rival in finding.ruled_out:
        tell("", f"· not {rival}")
    for remedy in finding.remedies[:1]:
        _show_remedy(remedy, tell)


def _show_remedy(remedy: Remedy, tell: Tell) -> None:
    tell("", f"→ {remedy.says}")
    for line in remedy.snippet.splitlines():
        tell("", f"    {line}", wrap=False)


def _show_cure(tried: Cure | None, remedies: bool, tell: Tell) -> None:
    if tried is None and remedies:
        tell(
            "cure", "not cured: the time was over before one remedy had run from all seeds. Give more: --budget SECONDS"
        )
        return
    if tried is None:
        tell("cure", "not cured: what was found has no remedy that could be tried here")
        return
    tell("cure", tried.says)
    for remedy in tried.remedies if tried.works else ():
        _show_remedy(remedy, tell)


def _prescribe(folder: RunFolder, run: OwnRun, cure: Cure, tell: Tell) -> None:
    """Write the recipe that was tried, where ``--recipe`` finds it; or say that the cure is not of a recipe's making."""
    healthy = treated(run, *cure.remedies)
    if not isinstance(healthy, OwnRun):
        tell("", "no field of a recipe can say this: it is a change of the data or of the network")
        return
    new = prescribed(folder, healthy.plan, run.recipe)
    tell("recipe", f"the cured one is in {new}")
    tell("next", train_command(healthy.plan, new), wrap=False)


def _write(path: Path, verdict: Verdict, cure: Cure | None, asked: Sequence[Examination]) -> None:
    """The verdict for other programs to read."""
    found: dict[str, Any] = {
        "findings": [
            {
                "illness": finding.illness,
                "confidence": round(finding.confidence, 3),
                "evidence": list(finding.evidence),
                "ruled_out": list(finding.ruled_out),
                "remedies": [remedy.name for remedy in finding.remedies],
            }
            for finding in verdict.findings
        ]
        or [
            {
                "illness": verdict.name,
                "confidence": 1.0 if verdict.decided else 0.0,
                "evidence": [verdict.open_question],
                "remedies": [],
            }
        ],
        "branch": verdict.branch,
        "examinations": [asdict(each) for each in asked],
        "cure": None if cure is None else asdict(cure.told),
        "seconds": verdict.seconds,
    }
    write_json(path, found)
