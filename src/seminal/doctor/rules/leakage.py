"""Validation rows, or the answer itself, are in the training inputs.

Signs: many validation rows are copies of training rows, although so many different rows are possible that chance would
hardly give one; or a column is the answer itself, by another name or on another scale, in nearly every row; or a single
column gives the answer by itself, while all others together do clearly worse.
Reason: what was learned by heart is right on copies, and a column made from the answer is not there when it counts: the
score says nothing about new rows.
Source: Kapoor and Narayanan, "Leakage and the reproducibility crisis", Patterns 2023; UMLAUT (validation better than
training).
Looks alike: an easy task (several columns give the answer), few possible rows (copies within validation as well, by
chance), a smooth series (the last value is nearly the next one, and so is the value before it), a sequence of which one
place is to be remembered.
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
COPIED = 0.98  # share of the rows of each class, or of all rows, in which a column is the answer
CLOSE = 1e-3  # of the spread of the answer: as near as rounding leaves a copy
LOOKED_AT = 0.8  # score by itself from which a column may be a copy
FEW_COPIES = 3  # columns; where more are copies, the task is to copy


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
    if copies := _answer(facts):
        yield from copies
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


def _answer(facts: DataFacts) -> list[tuple[float, tuple[str, ...], Remedy]]:
    """Columns that are the answer itself: whatever the others are worth, there is nothing to learn from these."""
    if facts.train.inputs.dim() == 3:
        return []
    looked_at = (facts.alone >= LOOKED_AT).nonzero().flatten().tolist()
    if facts.labels is not None:
        shares = {column: _as_classes(facts.x[:, column], facts.labels[0]) for column in looked_at}
        loose = shares
    else:
        assert facts.goal is not None
        if facts.goal.shape[1] > 1:
            return []
        y = facts.goal[:, 0]
        shares, loose = ({c: _on_a_line(facts.x[:, c], y, near) for c in looked_at} for near in (CLOSE, 10 * CLOSE))
    copies = [column for column in looked_at if shares[column] >= COPIED]
    # In a smooth series the values before the last one are less near, each by as much again.
    if len(copies) > FEW_COPIES or len(copies) < sum(share >= COPIED for share in loose.values()):
        return []
    found: list[tuple[float, tuple[str, ...], Remedy]] = []
    for column in copies:
        share = shares[column]
        if facts.labels is not None:
            says = (
                f"column {column} is the answer itself (one value for each class) in {share:.1%} of the training rows"
            )
        else:
            says = f"column {column} is the answer itself (on whatever scale) in {share:.1%} of the training rows"
        found.append((0.85 if share == 1 else 0.7, (says,), remedies.without_column(column)))
    return found


def _as_classes(x: Tensor, labels: Tensor) -> float:
    """The share of the rows in which a column (n,) and the class (n,) say the same, if each class has a value of its own:
    of the class, or the value, for which it is lowest, so that a frequent class cannot hide the others."""
    digits = 1e-6 * max(float(x.std()), 1e-300)  # what arithmetic leaves of equal numbers
    values, value = (x / digits).round().unique(return_inverse=True)
    classes, code = labels.unique(return_inverse=True)
    if len(classes) < 2 or 5 * len(values) > len(x):
        return 0.0
    counts = torch.zeros(len(classes), len(values), dtype=torch.double)
    counts.index_put_((code, value), torch.ones(len(x), dtype=torch.double), accumulate=True)
    both, usual = counts.max(1)
    if len(usual.unique()) < len(classes):
        return 0.0
    return float((both / torch.maximum(counts.sum(1), counts.sum(0)[usual])).min())


def _on_a_line(x: Tensor, y: Tensor, near: float) -> float:
    """The share of the rows in which a number y (n,) is a · x + b, to within ``near`` of its spread. The line goes through
    two rows, so that rows beside it do not move it; the best of a few pairs counts."""
    order, last = x.argsort(), len(x) - 1
    best = 0.0
    for low, high in ((0.1, 0.9), (0.25, 0.75), (0.05, 0.6), (0.4, 0.95), (0.0, 1.0)):
        first, second = order[round(low * last)], order[round(high * last)]
        run = x[second] - x[first]
        if run != 0:
            off = y - y[first] - (y[second] - y[first]) / run * (x - x[first])
            best = max(best, float((off.abs() <= near * y.std()).double().mean()))
    return best


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
