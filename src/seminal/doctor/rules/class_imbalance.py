"""Rare classes are ignored.

Sign: a class with a small share of the training rows is hardly ever recognised, the usual ones nearly always are; and
when rows of every class are drawn equally often, the program's metric, or the share of the rare rows found, is clearly
higher.
Reason: where nine rows of ten are of one class, always naming it is nine tenths right, and the loss has little else to
gain.
Source: Japkowicz and Stephen, "The class imbalance problem", Intelligent Data Analysis 2002; TheDeepChecker (balance of
labels); DeepCrime (fault TUD).
Looks alike: training that has failed altogether (the usual classes are not told apart either), wrong rare labels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seminal.doctor import course, remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.data_facts import DataFacts
from seminal.doctor.findings import Finding
from seminal.doctor.second_opinion import decided

STAGE = "data"
RARE = 0.12  # share of the training rows …
FEWER = 4.0  # … and so many times fewer than the most frequent class
MISSED = 0.5  # recall up to which a class is ignored
TOLD = 0.75  # recall of the others from which training worked
MORE = 0.2  # recall that an equal share must bring
FEW = 5  # validation rows of a class: fewer say nothing


def judge(chart: Chart) -> Finding | None:
    facts = chart.facts
    if facts.labels is None:
        return None
    shares = facts.shares[0]
    rare = (shares > 0) & (shares < RARE) & (shares < shares.max() / FEWER)
    rare &= torch.bincount(facts.labels[1], minlength=len(shares)) >= FEW
    if not bool(rare.any()) or bool((shares == shares.max()).all()):
        return None
    recalls = _recalls(chart, chart.course.model, facts)
    if recalls is None:
        return None
    missed = rare & (recalls < MISSED)
    others = ~rare & (shares > 0) & recalls.isfinite()
    if not bool(missed.any()) or float(recalls[others].mean()) < TOLD or not chart.in_time:
        return None
    return _finding(chart, facts, missed, recalls)


def _finding(chart: Chart, facts: DataFacts, missed: Tensor, recalls: Tensor) -> Finding | None:
    equal = remedies.balanced(chart.train)
    effect = signs.effect(chart, equal)
    after = _recalls(chart, chart.trial(equal, share=signs.share_of(chart)).model, facts)
    if after is None:
        return None
    found = float((after - recalls)[missed].mean())
    if not effect.helped and found < MORE:
        return None
    shares = facts.shares[0]
    rows = [
        f"class {c} is {shares[c]:.1%} of the training rows, and {recalls[c]:.0%} of its validation rows are found"
        for c in missed.nonzero().flatten().tolist()
    ]
    others = recalls[~missed & recalls.isfinite()]
    evidence = (
        *rows[:3],
        f"of the other classes {float(others.mean()):.0%} are found",
        f"with rows of every class drawn equally often, {float(recalls[missed].mean()) + found:.0%} of the rare ones are",
        effect.told("classes drawn equally often"),
    )
    sure = signs.confidence(effect, 0.8) if effect.helped else 0.65
    return Finding("class_imbalance", sure, evidence, (equal,), (), frozenset({"underfitting", "epochs_few"}))


def _recalls(chart: Chart, model: nn.Module, facts: DataFacts) -> Tensor | None:
    """(classes,) share of the validation rows of each class that the model names; NaN where there are none."""
    outputs = course.outputs(model, chart.val)
    if outputs is None or facts.labels is None:
        return None
    answers, truth = decided(outputs, facts.kind), facts.labels[1]
    if answers is None or len(answers) != len(truth):
        return None
    right = (answers == truth).double()
    return torch.stack([right[truth == c].mean() for c in range(facts.shares.shape[1])])


def _uneven(rare: int) -> tuple[Tensor, Tensor]:
    """Two overlapping groups, of which one has few rows."""
    own = torch.Generator().manual_seed(5)
    y = (torch.arange(2400) % rare == 0).long()
    x = torch.randn(2400, 8, generator=own) + 0.62 * y[:, None]
    return x, y


def _balanced(out: Tensor, target: Tensor) -> float:
    right = (out.argmax(1) == target).double()
    return float((right[target == 0].mean() + right[target == 1].mean()) / 2)


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    return specimens.program(specimens.network(8, 16, 2), _uneven(30), metric=_balanced, epochs=8)


def well(seed: int = 0) -> dict[str, Any]:
    """As few rows of one class, weighted in the loss."""
    torch.manual_seed(seed)
    loss = nn.CrossEntropyLoss(torch.tensor([1.0, 29.0]))
    return specimens.program(specimens.network(8, 16, 2), _uneven(30), metric=_balanced, loss=loss, epochs=8)
