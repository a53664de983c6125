"""Batches come in the order of classes or of time.

Sign: the answers within a batch are far more alike than draws at random would be (intraclass correlation), and the same
run with shuffled rows is clearly further.
Reason: a step is only right for the whole data if its batch is a fair sample. A batch of one class moves the network to
that class; the next one moves it away again.
Source: Bottou, "Stochastic gradient descent tricks", 2012. No diagnosis tool covers it.
Looks alike: a rate that is too high (a tenth of it softens the blow, and does not cure).
"""

from __future__ import annotations

from typing import Any

import torch

from seminal.doctor import remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.data_facts import order
from seminal.doctor.findings import Finding
from seminal.doctor.program import undisturbed
from seminal.doctor.rows import shuffled

STAGE = "data"
ALIKE = 0.3  # intraclass correlation of the answers in a batch
EXPLAINS = frozenset({"lr_high", "lr_low", "optimizer", "epochs_few", "saddle_plateau", "underfitting", "dead_relu"})


def judge(chart: Chart) -> Finding | None:
    if shuffled(chart.program.train):
        return None
    facts = chart.facts
    with undisturbed():
        found = order(chart.program.train, facts)
    if found is None or found.clumped < ALIKE or signs.well(chart) or not chart.in_time:
        return None
    effect = signs.effect(chart, remedies.shuffled())
    if not effect.helped:
        return None
    evidence = (
        f"answers within a batch of {found.batch} are alike: intraclass correlation {found.clumped:.2f} (0 for random "
        f"draws); {found.pure:.0%} of the first {found.batches} batches hold one answer only",
        effect.told("the same run on shuffled rows"),
    )
    return Finding("no_shuffle", signs.confidence(effect, 0.8), evidence, (remedies.shuffled(),), (), EXPLAINS)


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    x, y = specimens.groups(rows=1800, classes=8)
    cut = 2 * len(x) // 3
    row = torch.cat([y[:cut].argsort(), torch.arange(cut, len(y))])
    model = specimens.network(12, 48, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return specimens.program(model, (x[row], y[row]), optimizer, shuffle=False, epochs=6)


def well(seed: int = 0) -> dict[str, Any]:
    """Not shuffled, and in no order."""
    torch.manual_seed(seed)
    model = specimens.network(12, 48, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return specimens.program(model, specimens.groups(rows=1800, classes=8), optimizer, shuffle=False, epochs=6)
