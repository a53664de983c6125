"""`seminal doctor`: examine a program or a run, and say what was found, how it is known, and what helps."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seminal.core import UserError
from seminal.doctor.cure import Cure, cured
from seminal.doctor.diagnose import Examined, examine
from seminal.doctor.findings import ILLNESSES, Finding, Verdict
from seminal.doctor.program import Make, from_file
from seminal.report.terminal import say
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.patient import patient
from seminal.runs.plan import plan_of, source_of

FOUND = 3  # exit code


@dataclass(frozen=True)
class DoctorAsk:
    """The words of ``seminal doctor``."""

    patient: str  # program.py, program.py:make, or the folder of a run
    cure: bool = False
    budget: float = 120.0  # seconds of examination; a cure has as long again for each of its seeds
    seeds: int = 3
    seed: int = 0
    json: str | None = None
    device: str | None = None


def doctor(ask: DoctorAsk) -> int:
    """Exit code 0 where nothing was found, 3 where something was."""
    make = _made(ask)
    examined = examine(make, seed=ask.seed, budget=ask.budget, told=lambda what: say("", what))
    verdict = examined.verdict
    show(verdict)
    cure = None
    if ask.cure and verdict.findings:
        cure = cured(examined, seeds=ask.seeds, budget=ask.budget * ask.seeds, told=lambda what: say("", what))
        _show_cure(cure)
    elif verdict.findings:
        say("next", f"seminal doctor {ask.patient} --cure", wrap=False)
    if ask.json is not None:
        _write(Path(ask.json), examined, cure)
    return FOUND if verdict.findings else 0


def _made(ask: DoctorAsk) -> Make:
    if ".py" in ask.patient:
        return from_file(ask.patient)
    folder = RunFolder.existing(ask.patient)
    plan, device = plan_of(folder), device_for(ask.device)
    return patient(plan, source_of(folder, plan, device), device)


def show(verdict: Verdict) -> None:
    """What was found, the surest first."""
    if not verdict.findings:
        if verdict.decided:
            say("doctor", "healthy: it does as well as its data allow, and nothing in it is amiss")
        else:
            say(
                "doctor",
                f"cannot tell: nothing is amiss that could be seen, and it does not do well. {verdict.open_question}.",
            )
    for finding in verdict.findings:
        say("doctor", f"{finding.illness} ({finding.confidence:.2f}): {ILLNESSES[finding.illness]}")
        _show_reasons(finding)
    if verdict.findings:
        say("guide", f"this is a matter of {verdict.branch}")
    say("time", f"{verdict.seconds:.0f} s of examination")


def _show_reasons(finding: Finding) -> None:
    for reason in finding.evidence:
        say("", f"· {reason}")
    for rival in finding.ruled_out:
        say("", f"· not {rival}")
    if finding.remedies:
        say("", f"→ {finding.remedies[0].says}")
        for line in finding.remedies[0].snippet.splitlines():
            say("", f"    {line}", wrap=False)


def _show_cure(cure: Cure | None) -> None:
    if cure is None:
        say("cure", "not cured: none of the remedies, alone or in pairs, did clearly better than the program as it is")
        return
    say("cure", cure.says)
    for line in cure.snippet.splitlines():
        say("", f"    {line}", wrap=False)


def _write(path: Path, examined: Examined, cure: Cure | None) -> None:
    """The verdict for other programs to read. A file that is there is replaced as a whole or not at all."""
    verdict = examined.verdict
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
        "cure": None if cure is None else asdict(cure.told),
        "seconds": verdict.seconds,
    }
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise UserError(f"{path} could not be written: {error.strerror}. Give another file after --json.") from None
