"""Labels that do not belong to their inputs.

Signs, the surest first: training labels are all the same; with the class numbers of validation exchanged, a plain
network that learned from training is right there (numbers from another listing, or counted from another beginning);
with labels moved by a few rows they follow from the inputs (a join with an offset); one split can be learned and the
other cannot; the program learns its training rows by heart, and no row that it has not seen is told better than by
chance, by it or by a plain network.
Reason: a network with enough weights learns any labels by heart (Zhang et al., "Understanding deep learning requires
rethinking generalization", 2017), so the training loss falls as if all were well.
Source: the paper above; DeepCrime (fault TCL). No diagnosis tool covers it.
Looks alike: overfitting (it leaves validation above chance), data that differ between the splits (inputs give it away),
a task that a plain network cannot learn but the program can.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from scipy import stats
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from seminal.doctor import glance, remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.data_facts import DataFacts
from seminal.doctor.findings import Finding, Remedy

STAGE = "data"
SHIFTS = tuple(shift for size in range(1, 6) for shift in (size, -size))  # rows by which a join may be off
CHANCE = 0.1  # of skill: no better than a guess
BY_CHANCE = 0.01  # probability of a better numbering where none is right
CLEAR = 0.35  # of skill: there is something to learn
EXPLAINS = frozenset(
    {"overfitting", "underfitting", "label_noise", "class_imbalance", "lr_low", "lr_high", "epochs_few", "optimizer"}
)


def judge(chart: Chart) -> Finding | None:
    facts = chart.facts
    for sign in (_constant, _renumbered, _moved, _unrelated):
        for confidence, evidence, cure in sign(chart, facts):
            return Finding("label_bug", confidence, evidence, cure, (), EXPLAINS)
    return None


Sign = Iterator[tuple[float, tuple[str, ...], tuple[Remedy, ...]]]


def _constant(chart: Chart, facts: DataFacts) -> Sign:
    targets = chart.train.targets
    if facts.goal is not None and len(targets) > 1 and bool((targets == targets[:1]).all()):
        others = len(chart.val.targets.reshape(len(chart.val), -1).unique(dim=0))
        text = (
            f"all {len(targets):,} training targets are {targets.flatten()[0].item():g}; validation has {others} values"
        )
        yield 0.97, (text,), ()


def _renumbered(chart: Chart, facts: DataFacts) -> Sign:
    opinion = chart.opinion
    if facts.labels is None or not opinion.known or opinion.skill(opinion.train_score) < CLEAR:
        return
    table = opinion.confusion
    numbers = torch.as_tensor(linear_sum_assignment(-table.numpy())[1])
    rows = max(1, int(table.sum()))
    as_given, matched = float(table.trace()) / rows, float(table[torch.arange(len(table)), numbers].sum()) / rows
    expected = opinion.train_score
    if _by_chance(table, numbers) > BY_CHANCE:
        return
    if matched - as_given < 0.15 or opinion.skill(matched) < 0.75 * opinion.skill(expected):
        return
    moved = [f"{i} → {int(n)}" for i, n in enumerate(numbers) if i != n and int(table[i].sum())]
    text = (
        f"a plain network is right on {expected:.0%} of training rows it has not seen and on {as_given:.0%} of the "
        f"validation rows; with the classes of validation renumbered ({', '.join(moved[:12])}) it is right on {matched:.0%}"
    )
    named = chart.anatomy.kind in ("classes", "binary")
    yield 0.93, (text,), (remedies.relabelled(numbers),) if named else ()


def _by_chance(table: Tensor, numbers: Tensor) -> float:
    """How probable it is that the best of all numberings is so much better than the given one though neither is right: the
    sign test over the rows that only one of them gets right (McNemar 1947), times the numberings there are."""
    moved = (numbers != torch.arange(len(numbers))).nonzero().flatten()
    won, lost = int(table[moved, numbers[moved]].sum()), int(table[moved, moved].sum())
    # of logarithms: there are many numberings of many classes
    log = float(stats.binom.logsf(won - 1, won + lost, 0.5)) + math.lgamma(1 + len(moved))
    return math.exp(min(0.0, log))


def _moved(chart: Chart, facts: DataFacts) -> Sign:
    opinion = chart.opinion
    contiguous = len(chart.train) == chart.train.total  # else neighbours are left out
    if facts.goal is None or not opinion.known or not contiguous or len(chart.train) < 50:
        return
    if opinion.skill(opinion.train_score) > CLEAR or signs.skill(chart) > CLEAR:
        return
    goal = facts.goal
    targets = torch.cat([goal.roll(shift, 0) for shift in (0, *SHIFTS)], dim=1)
    told = glance.predicted(facts.x, targets, facts.group)
    width = goal.shape[1]
    scores = [
        _score(told[:, k * width : (k + 1) * width], targets[:, k * width : (k + 1) * width], facts)
        for k in range(1 + len(SHIFTS))
    ]
    best = max(range(1, len(scores)), key=lambda k: scores[k])
    if scores[best] - scores[0] < 0.25:
        return
    shift = SHIFTS[best - 1]
    text = (
        f"labels do not follow from their inputs (skill {scores[0]:.2f}), but those of the row {abs(shift)} "
        f"{'before' if shift > 0 else 'after'} do (skill {scores[best]:.2f})"
    )
    yield 0.96, (text,), (remedies.rejoined(shift), remedies.rejoined(shift, validation=False))


def _score(told: Tensor, truth: Tensor, facts: DataFacts) -> float:
    """Skill of predictions: 0 for the best constant, 1 for the truth."""
    if facts.labels is None:
        spread = (truth - truth.mean(0)).square().sum().clamp_min(1e-300)
        return 1 - float((truth - told).square().sum() / spread)
    usual = float(truth.mean(0).max())
    return (float((told.argmax(1) == truth.argmax(1)).double().mean()) - usual) / max(1 - usual, 1e-6)


def _unrelated(chart: Chart, facts: DataFacts) -> Sign:
    opinion = chart.opinion
    if facts.goal is None or not opinion.known or facts.tokens or min(len(chart.train), len(chart.val)) < 60:
        return
    learned, told = opinion.skill(opinion.train_score), signs.allowed(chart)
    if told > CHANCE or signs.skill(chart) > CHANCE:
        return
    other = DataFacts(chart.val, chart.train, chart.anatomy.kind)
    assert other.goal is not None
    alone = _score(glance.predicted(other.x, other.goal, other.group), other.goal, other)
    apart = facts.apart.auc
    if learned < CHANCE and alone > CLEAR:
        text = (
            f"validation rows can be learned from one another (skill {alone:.2f}), training rows cannot ({learned:.2f})"
        )
        yield 0.85, (text,), ()
    elif learned > CLEAR and alone < CHANCE and apart < 0.7:
        text = (
            f"training rows can be learned from one another (skill {learned:.2f}), validation rows cannot, neither from "
            f"training ({told:.2f}) nor from one another ({alone:.2f}); their inputs look alike (two-sample AUC {apart:.2f})"
        )
        yield 0.85, (text,), ()
    elif max(learned, alone) < CHANCE and signs.fit(chart) - signs.skill(chart) > 0.2:
        text = (
            f"the program learns its training rows by heart (skill {signs.fit(chart):.2f}) and nothing for validation "
            f"({signs.skill(chart):.2f}); a plain network tells no unseen row either ({learned:.2f} and {told:.2f})"
        )
        yield 0.7, (text,), ()


def sick(seed: int = 0) -> dict[str, Any]:
    """Labels joined with an offset of two rows."""
    torch.manual_seed(seed)
    x, y = specimens.groups()
    return specimens.program(specimens.network(12, 64, 5), (x, y.roll(2)), epochs=30)


def well(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    return specimens.program(specimens.network(12, 64, 5), specimens.groups(), epochs=30)
