"""Validation rows, or the answer itself, are in the training inputs.

Signs: many validation rows are copies of training rows, although so many different rows are possible that chance would
hardly give one; or a single column gives the answer by itself, while all others together do clearly worse.
Reason: what was learned by heart is right on copies, and a column made from the answer is not there when it counts: the
score says nothing about new rows.
Source: Kapoor and Narayanan, "Leakage and the reproducibility crisis", Patterns 2023; UMLAUT (validation better than
training).
Looks alike: an easy task (several columns give the answer), few possible rows (copies within validation as well, by
chance).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from seminal.doctor import course, glance, remedies, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.data_facts import DataFacts
from seminal.doctor.findings import Finding, Remedy
from seminal.doctor.rows import Rows
from seminal.doctor.wanted import measured

STAGE = "data"
COPIES = 0.05  # share of the validation rows; a few are natural in texts and small tables
FEW = 5  # rows
ROOM = 6.0  # natural logarithm: possible rows, against pairs of rows
ALL_BY_ITSELF = 0.97  # skill of a single column
WORSE = 0.1  # of skill, by all the others
SOMETHING = 0.15  # skill of the others: there is a task besides that column
MOST = 2000


def judge(chart: Chart) -> Finding | None:
    facts = chart.facts
    found = [*_copies(chart, facts), *_column(chart, facts)]
    if not found:
        return None
    sure = max(confidence for confidence, _, _ in found)
    evidence = tuple(sentence for _, sentences, _ in found for sentence in sentences)
    return Finding("leakage", sure, evidence, tuple(cure for _, _, cure in found))


Sign = Iterator[tuple[float, tuple[str, ...], Remedy]]


def _copies(chart: Chart, facts: DataFacts) -> Sign:
    seen = facts.seen
    share = float(seen.double().mean())
    if share < COPIES * len(chart.train) / chart.train.total or int(seen.sum()) < FEW:
        return
    if facts.room < math.log(len(chart.train) * len(chart.val)) + ROOM:
        return
    first = seen.nonzero().flatten()[:5].tolist()
    evidence = [f"{int(seen.sum()):,} of {len(seen):,} validation rows are copies of training rows (rows {first} …)"]
    new = ~seen
    if chart.trains and min(int(new.sum()), int(seen.sum())) >= 20:
        on_copies, on_new = (_metric(chart, chart.val.part(part.nonzero().flatten())) for part in (seen, new))
        evidence.append(f"the program's metric is {on_copies:.2f} on the copies and {on_new:.2f} on the other rows")
    yield min(0.97, 0.85 + share / 4), tuple(evidence), remedies.without_duplicates()


def _metric(chart: Chart, rows: Rows) -> float:
    outputs = course.outputs(chart.course.model, rows)
    return measured(chart.program.metric, outputs, rows.targets) if outputs is not None else math.nan


def _column(chart: Chart, facts: DataFacts) -> Sign:
    if facts.tokens or facts.goal is None or facts.x.shape[1] < 2 or len(chart.train) < 50:
        return
    column = int(facts.alone.argmax())
    alone = _skill(float(facts.alone[column]), facts)
    if alone < ALL_BY_ITSELF:
        return
    row = torch.randperm(len(facts.x), generator=torch.Generator().manual_seed(0))[:MOST]
    others = torch.cat([facts.x[row, :column], facts.x[row, column + 1 :]], dim=1)
    rest = _skill(_told(others, facts, row), facts)
    if not SOMETHING < rest < alone - WORSE:
        return
    measure = "accuracy" if facts.labels is not None else "R²"
    evidence = (
        f"column {column} gives the answer by itself ({measure} {float(facts.alone[column]):.3f}); all others together are "
        f"worth {rest:.2f} of skill, where this one is worth {alone:.2f}",
    )
    yield 0.85, evidence, remedies.without_column(column)


def _told(x: Tensor, facts: DataFacts, row: Tensor) -> float:
    if facts.labels is not None:
        return glance.accuracy(x, facts.labels[0][row], facts.group[row])
    assert facts.goal is not None
    return glance.explained(x, facts.goal[row], facts.group[row])


def _skill(score: float, facts: DataFacts) -> float:
    if facts.labels is None:
        return score
    usual = float(facts.shares[0].max())
    return (score - usual) / max(1 - usual, 1e-6)


def sick(seed: int = 0) -> dict[str, Any]:
    """A column that was filled in after the fact."""
    torch.manual_seed(seed)
    x, y = specimens.groups(spread=2.5)
    report = y[:, None] + 0.3 * torch.rand(len(y), 1, generator=torch.Generator().manual_seed(4))
    return specimens.program(specimens.network(13, 48, 5), (torch.cat([x, report], 1), y))


def well(seed: int = 0) -> dict[str, Any]:
    """Few different rows are possible: copies are chance."""
    torch.manual_seed(seed)
    x = torch.randint(0, 2, (900, 8), generator=torch.Generator().manual_seed(4)).float()
    return specimens.program(specimens.network(8, 48, 2), (x, (x[:, 0] + x[:, 3] + x[:, 5] > 1.5).long()))
