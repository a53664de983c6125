"""The model is too simple: a larger one lowers the training loss.

Sign: training rows themselves are not told well, while a plain network tells rows it has not even seen better; and a
wider or deeper model has, after a part of the run, a far lower training loss than this one at the end.
Reason: model bias. What no setting of the weights can express, no optimiser will find.
Source: the general guide of model building (training loss large: compare with a larger model). No diagnosis tool covers
it.
Looks alike: every fault of the optimisation (they are asked about before; Adam and other first weights are tried here
too), strong regularisation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seminal.doctor import pace, remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "generalisation"
BEHIND = 0.08  # of skill, on its own training rows, behind a plain network on unseen ones
LOWER = 0.7  # of the training loss that is left by the larger model


def judge(chart: Chart) -> Finding | None:
    opinion, anatomy = chart.opinion, chart.anatomy
    if not opinion.known or not chart.in_time or anatomy.cut or anatomy.unowned or anatomy.frozen:
        return None
    fit, could = signs.fit(chart), opinion.skill(opinion.train_score)
    if could - fit < BEHIND or signs.well(chart):
        return None
    end = chart.course.level()
    # A larger model is also a model with other first weights, and one that learns faster: both are tried without it.
    others = (remedies.adam(pace.usual(chart)), remedies.default_start())
    rivals = [(rival.says, signs.effect(chart, rival)) for rival in others]
    lowest, gained = min(r.loss_after for _, r in rivals), max(r.gain for _, r in rivals)
    for larger in (remedies.wider(8), remedies.deeper()):
        effect = signs.effect(chart, larger)
        if effect.loss_after < LOWER * min(end, lowest) and effect.gain > max(BEHIND, 2 * gained):
            evidence = (
                f"skill on its own training rows is {fit:.2f}; a plain network has {could:.2f} on rows it has not seen",
                f"{larger.says}: training loss {effect.loss_after:.3g} after {effect.steps} steps, where this model has "
                f"{end:.3g} after {len(chart.course.losses)}",
            )
            told = tuple(rival.told(says) for says, rival in rivals)
            return Finding("underfitting", signs.confidence(effect, 0.75), evidence, (larger,), told)
    return None


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = specimens.network(12, 2, 8, activation=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    return specimens.program(model, specimens.groups(classes=8), optimizer, epochs=40)


def well(seed: int = 0) -> dict[str, Any]:
    """A linear model for a task that is linear."""
    torch.manual_seed(seed)
    x, _ = specimens.groups()
    model = nn.Linear(12, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    return specimens.program(model, (x, (x[:, :3] * 3).argmax(1)), optimizer, epochs=25)
