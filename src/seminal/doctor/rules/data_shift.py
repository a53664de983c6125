"""Training and validation data differ, in distribution or in preprocessing.

Signs: a classifier tells the splits apart on rows it has not seen (a two-sample test), and whatever learns from
training, the program or a plain network, is clearly worse on validation; or most features have another mean or spread;
or the shares of the classes differ; or answers follow the validation targets on another scale.
Reason: a network is only good where it was taught. Small differences that any split has, and that harm nothing, are no
illness: an effect is asked for beside the p-value.
Source: Lopez-Paz and Oquab 2017 (see `seminal.pieces.two_sample`); Rabanser, Günnemann and Lipton, "Failing loudly",
NeurIPS 2019. No diagnosis tool covers it.
Looks alike: overfitting (the splits cannot be told apart), labels with other numbers, a split by time where nothing is
lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from seminal.doctor import course, remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.data_facts import DataFacts, spaced
from seminal.doctor.findings import Finding, Remedy
from seminal.doctor.rows import Rows
from seminal.doctor.second_opinion import standard_score

STAGE = "data"
APART = 0.75  # AUC from which rows are told apart …
CERTAIN = 0.02  # … with this p-value
WHOLLY = 0.95  # AUC from which another preprocessing is thought of
OFF = 0.8  # typical feature: difference of means in standard deviations, or of log spreads
HARM = 0.12  # of skill, lost from training to validation
OTHER_SHARES = 0.35  # share of the rows that would have to change class
EXPLAINS = frozenset({"overfitting", "underfitting", "label_noise", "batch_contamination"})


def judge(chart: Chart) -> Finding | None:
    if min(len(chart.train), len(chart.val)) < 20:
        return None
    facts = chart.facts
    found = [*_classes(chart, facts), *_inputs(chart, facts), *_scale(chart, facts)]
    if not found:
        return None
    evidence = dict.fromkeys(sentence for _, sentences, _ in found for sentence in sentences)
    cures = tuple(cure for _, _, cures in found for cure in cures)
    return Finding("data_shift", max(sure for sure, _, _ in found), tuple(evidence), cures, (), EXPLAINS)


Sign = Iterator[tuple[float, tuple[str, ...], tuple[Remedy, ...]]]


def _lost(chart: Chart) -> tuple[float, str]:
    """Skill lost from training to validation, by the program or by a plain network on rows it has not seen. Both are
    judged by the standard score: a program's metric may be read on a scale that the shift itself has moved."""
    opinion, own = chart.opinion, math.nan
    if chart.trains:
        model = chart.course.model
        own = _standard(chart, model, chart.train) - _standard(chart, model, chart.val)
    other = opinion.skill(opinion.train_score) - signs.allowed(chart) if opinion.known else 0.0
    if other >= own or math.isnan(own):
        return other, f"a plain network loses {other:.2f} of skill from unseen training rows to validation rows"
    return own, f"the program loses {own:.2f} of skill from training rows to validation rows"


def _standard(chart: Chart, model: nn.Module, rows: Rows) -> float:
    """Skill of the model's outputs by `standard_score`; NaN where it cannot be told."""
    outputs = course.outputs(model, rows)
    if outputs is None or not chart.opinion.known:
        return math.nan
    return signs.bounded(chart.opinion.skill(standard_score(outputs, rows.targets, chart.anatomy.kind)))


def _inputs(chart: Chart, facts: DataFacts) -> Sign:
    test = facts.apart
    if test.auc < APART or test.p > CERTAIN:
        return
    varies = facts.x.std(0) > 1e-3 * facts.x.std(0).max()
    mean, spread = (float(v[varies].abs().median()) for v in (test.means, test.spreads))
    lost, sentence = _lost(chart)
    prepared = test.auc >= WHOLLY and max(mean, spread) > OFF
    if lost < HARM and not prepared:
        return
    evidence = [
        f"a linear classifier tells validation rows from training rows: AUC {test.auc:.2f} on unseen rows, p = {test.p:.2g}",
        f"a typical feature differs by {mean:.2f} standard deviations in the mean and by a factor of "
        f"{torch.tensor(spread).exp():.3g} in the spread",
        sentence,
    ]
    cure = remedies.same_preprocessing(chart.train, chart.val)
    regained = _regained(chart, cure)
    sure = 0.6 + min(0.15, lost / 2) + (0.1 if prepared else 0.0)
    if regained > signs.HELPS:
        sure = max(sure, 0.9)
        evidence.append(
            f"with validation rows prepared like training rows, the trained program gains {regained:.2f} of skill"
        )
    # Where another fault keeps the program at chance, the cure cannot show yet.
    yield sure, tuple(evidence), (cure,) if regained > 0 or (prepared and regained == 0) else ()


def _regained(chart: Chart, cure: Remedy) -> float:
    """Skill that the trained model gains when validation rows are prepared like training rows."""
    try:
        program = cure.change(chart.make(chart.seed))
        parts = [(input, target) for input, target in program.val]
        inputs, targets = (torch.cat([part[k] for part in parts]) for k in (0, 1))
        with torch.no_grad():
            chart.course.model.eval()
            out = torch.cat([chart.course.model(part) for part in inputs.split(500)])
        return signs.bounded(chart.skill(float(program.metric(out, targets)))) - signs.skill(chart)
    except Exception:  # a stranger's metric or model may not like it: then nothing was gained
        return 0.0


def _classes(chart: Chart, facts: DataFacts) -> Sign:
    if facts.labels is None or len(facts.labels[0].unique()) < 2:
        return
    shares = facts.shares
    other = float((shares[0] - shares[1]).abs().sum() / 2)
    chance = 2 * (shares.shape[1] * (1 / len(chart.train) + 1 / len(chart.val))) ** 0.5
    if other < max(OTHER_SHARES, chance):
        return
    lost, sentence = _lost(chart)
    if lost < HARM:
        return
    new = ((shares[0] == 0) & (shares[1] > 0)).nonzero().flatten().tolist()
    evidence = (
        f"{other:.0%} of the rows would have to change class to give both splits the same shares of the classes",
        *(f"{len(new)} classes of validation have no training row: {new[:8]}" for _ in range(bool(new))),
        sentence,
    )
    yield 0.75, evidence, ()


def _scale(chart: Chart, facts: DataFacts) -> Sign:
    opinion = chart.opinion
    if facts.kind != "regression" or not opinion.known or opinion.train_score < 0.3:
        return
    told, truth = (
        opinion.val_outputs.double(),
        spaced(facts.val.targets.reshape(len(facts.val), -1).double(), len(opinion.val_outputs)),
    )
    follows = float(_correlation(told, truth).square().mean())
    if follows < 0.6 * opinion.train_score or opinion.val_score > follows - 0.3:
        return
    slope = float((_centred(told) * _centred(truth)).sum() / _centred(told).square().sum().clamp_min(1e-300))
    evidence = (
        f"answers of a plain network follow the validation targets (r² = {follows:.2f}) on another scale: slope {slope:.3g}, "
        f"mean {float(truth.mean()):.3g} where {float(told.mean()):.3g} was told (R² {opinion.val_score:.2f})",
    )
    yield 0.8, evidence, ()


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(0)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = _centred(a), _centred(b)
    return (a * b).sum(0) / (a.square().sum(0) * b.square().sum(0)).sqrt().clamp_min(1e-300)


def sick(seed: int = 0) -> dict[str, Any]:
    """Validation rows that were not centred."""
    torch.manual_seed(seed)
    x, y = specimens.groups()
    cut = 2 * len(x) // 3
    x[cut:] = 0.4 * x[cut:] + 2.5
    return specimens.program(specimens.network(12, 48, 5), (x, y))


def well(seed: int = 0) -> dict[str, Any]:
    """A column that tells the splits apart, and does no harm."""
    torch.manual_seed(seed)
    x, y = specimens.groups()
    date = torch.linspace(-1, 1, len(x))[:, None]
    return specimens.program(specimens.network(13, 48, 5), (torch.cat([x, 0.1 * date], 1), y))
