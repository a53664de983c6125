"""A share of the training labels is wrong.

Sign: rows that a plain network has not seen are told worse than validation rows, whose labels are right; or, where both
have wrong labels, it is wrong as often where it is most certain as where it doubts.
Reason: errors of a hard task lie where classes meet, and there the network doubts; a wrong label can lie anywhere.
Source: Northcutt, Jiang and Chuang, "Confident learning", JAIR 2021 (out-of-fold probabilities); DeepCrime (fault TCL).
Looks alike: overfitting (noise makes it worse: the network learns wrong labels by heart), training rows that are
distorted while validation rows are not (their inputs can be told apart), a hard task (errors gather where the network
doubts).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seminal.doctor import remedies, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.data_facts import DataFacts
from seminal.doctor.findings import Finding
from seminal.doctor.second_opinion import Opinion

STAGE = "data"
GAP = 0.1  # of accuracy, between validation and unseen training rows
ANYWHERE = 0.17  # errors among the most certain third
ALIKE = 0.65  # two-sample AUC up to which the inputs of the splits are alike
LEAST = 0.3  # of skill: below this a plain network cannot judge labels
FEW = 150  # rows
FEWEST = 5  # validation rows: the two-sample test has so many folds
EXPLAINS = frozenset({"overfitting", "underfitting", "over_regularised"})


def judge(chart: Chart) -> Finding | None:
    facts = chart.facts
    if facts.labels is None or len(chart.train) < FEW or len(chart.val) < FEWEST:
        return None
    opinion = chart.opinion
    if not opinion.known or max(opinion.skill(opinion.val_score), opinion.skill(opinion.train_score)) < LEAST:
        return None
    labels = facts.labels[0][opinion.index]
    wrong = 1 - opinion.train_score
    certain, doubting = _errors(opinion, labels)
    gap = opinion.val_score - opinion.train_score
    chance = 4 * (wrong * (1 - wrong) * (1 / len(labels) + 1 / len(chart.val))) ** 0.5  # four standard errors
    cleaner = gap > max(GAP, chance) and facts.apart.auc < ALIKE
    anywhere = certain > ANYWHERE and certain > 0.6 * doubting
    if not (cleaner or anywhere):
        return None
    suspects = opinion.index[_suspects(opinion, labels)]
    evidence = [
        f"a plain network is wrong on {wrong:.0%} of {len(labels):,} training rows it has not seen, and on {certain:.0%} "
        f"of the third where it is most certain (on {doubting:.0%} of the third where it doubts)"
    ]
    if cleaner:
        evidence.append(f"on validation rows it is wrong on {1 - opinion.val_score:.0%}: their labels are cleaner")
    evidence.append(f"{len(suspects):,} rows have labels that it finds less likely than another class")
    cures = (remedies.cleaned(suspects),) if len(chart.train) == chart.train.total else ()
    sure = 0.85 if cleaner and anywhere else 0.75 if cleaner else 0.65
    return Finding("label_noise", sure, tuple(evidence), (*cures, remedies.smoothed(0.1)), _ruled_out(facts), EXPLAINS)


def _errors(opinion: Opinion, labels: Tensor) -> tuple[float, float]:
    """Share of errors in the third of the rows where the largest probability is largest, and where it is smallest."""
    order = opinion.held_out.amax(1).argsort()
    wrong = (opinion.held_out.argmax(1) != labels)[order].double()
    third = max(1, len(wrong) // 3)
    return float(wrong[-third:].mean()), float(wrong[:third].mean())


def _suspects(opinion: Opinion, labels: Tensor) -> Tensor:
    """Rows for which another class is the likeliest, and likelier than it usually is for its own rows."""
    probability = opinion.held_out
    own = torch.eye(probability.shape[1], dtype=probability.dtype)[labels]
    usual = (probability * own).sum(0) / own.sum(0).clamp_min(1)
    likeliest, label = probability.max(1)
    return ((label != labels) & (likeliest >= usual[label])).nonzero().flatten()


def _ruled_out(facts: DataFacts) -> tuple[str, ...]:
    if facts.apart.auc >= ALIKE:
        return ()
    return (f"data_shift: inputs of training and validation look alike (two-sample AUC {facts.apart.auc:.2f})",)


def _noisy(y: Tensor, share: float) -> Tensor:
    """Labels of which a share is replaced by another class."""
    own = torch.Generator().manual_seed(3)
    other = (y + torch.randint(1, int(y.max()) + 1, y.shape, generator=own)) % (int(y.max()) + 1)
    return torch.where(torch.rand(y.shape, generator=own) < share, other, y)


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    x, y = specimens.groups(rows=1500)
    cut = 2 * len(x) // 3
    labels = torch.cat([_noisy(y[:cut], 0.35), y[cut:]])
    return specimens.program(specimens.network(12, 96, 5), (x, labels), epochs=30)


def well(seed: int = 0) -> dict[str, Any]:
    """Groups that overlap: many errors, all where classes meet."""
    torch.manual_seed(seed)
    return specimens.program(specimens.network(12, 16, 5), specimens.groups(rows=1500, spread=2.2), epochs=6)
