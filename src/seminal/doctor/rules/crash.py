"""The program ends its own training with an exception.

Sign: a step of the program's own run raises. It is said with the number of the step, for the first ones may well go.
Reason: a last batch of one row under batch normalisation, shapes that do not fit, a table that is shorter than the run,
a loss that gives one number for each row.
Source: torch's own messages (`torch.nn.functional.batch_norm`: "Expected more than 1 value per channel when training").
Looks alike: a treated program that raises where the program as it came does not: that is the treatment's. Weights or
losses that are no longer finite, which then make a step raise: what broke them is looked for beside this.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from seminal.doctor import course, remedies, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.course import Course
from seminal.doctor.findings import ILLNESSES, Finding, Remedy

STAGE = "optimisation"  # the first whose questions all need the whole run
LONE = "Expected more than 1 value per channel"  # torch's words for batch normalisation of one row
MANY = "grad can be implicitly created only for scalar outputs"  # … and of a loss that was not averaged
BLOWN = 100.0  # times the first loss
USUAL = 32  # rows of a batch

BEFORE = "weights or losses were out of bounds before that step: what broke them comes first"
LATER = "mend that first: what comes after that step is not known"


def judge(chart: Chart) -> Finding | None:
    if not chart.crashes:
        return None
    run = chart.origin.course
    found = _finding(chart, len(run.losses) + 1, run.total, run.failed, run.failed_rows)
    if _sound(run):
        return found
    return replace(found, confidence=0.6, evidence=(*found.evidence[:-1], BEFORE), explains=frozenset())


def first_steps(chart: Chart) -> Finding | None:
    """The same, of the few steps that are taken before any training run."""
    steps, total = chart.anatomy.steps, course.length(chart.program)
    number = len(steps.losses) + 1
    if not steps.failed or number > total:
        return None
    return _finding(chart, number, total, steps.failed, steps.rows if number == 1 else 0)


def _finding(chart: Chart, number: int, total: int, failed: str, rows: int) -> Finding:
    failed = " ".join(failed.split())
    said = [f"its first step fails: {failed}" if number == 1 else f"step {number} of {total} fails: {failed}"]
    remedy: tuple[Remedy, ...] = ()
    if rows == 1 and LONE in failed:
        said.append("that batch has one row, and batch normalisation compares rows: it needs two or more")
        remedy = _fuller(chart)
    elif rows:
        said.append(f"that batch has {rows} rows" if rows > 1 else "that batch has one row")
    if MANY in failed:
        said.append("the loss gives a number for each row, and training needs one: their mean")
    if remedy and remedy[0].name == "drop_last":
        said.append("`drop_last=True` leaves out a last batch that is smaller than the others")
    return Finding("crash", 0.98, (*said, LATER), remedy, (), frozenset(ILLNESSES))


def _fuller(chart: Chart) -> tuple[Remedy, ...]:
    """Batches of more than one row, where the loader can give them."""
    loader = chart.program.train
    if not isinstance(loader, DataLoader) or loader.batch_size is None:
        return ()
    return (remedies.batch(USUAL),) if loader.batch_size == 1 else (remedies.full_batches(),)


def _sound(run: Course) -> bool:
    """Whether nothing was broken before that step, so that the exception needs no other illness to explain it."""
    finite = all(bool(p.isfinite().all()) for p in run.model.parameters())
    grown = bool(run.losses) and not abs(run.losses[-1]) <= BLOWN * abs(run.losses[0])  # NaN too
    return finite and not run.vitals.broken and not grown


def sick(seed: int = 0) -> dict[str, Any]:
    """577 rows: eighteen batches of 32, and a last one of one row."""
    return _normalised(seed, 866)


def well(seed: int = 0) -> dict[str, Any]:
    """The last batch has 24 rows."""
    return _normalised(seed, 900)


def _normalised(seed: int, rows: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(12, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 5))
    return specimens.program(model, specimens.groups(rows))
