"""Regularisation so strong that training cannot fit.

Sign: training rows are not told well although a plain network could; and the same run without dropout, or without
weight decay, is clearly further on the training rows and on validation.
Reason: dropout of nine tenths leaves each layer a tenth of its units to speak through; weight decay pulls every weight
towards 0 with a force that at some size no gradient can balance.
Source: UMLAUT (any dropout above one half); TheDeepChecker (gradient of the penalty against that of the data);
DeepCrime (faults RCD, RAW).
Looks alike: underfitting, a low rate, few epochs: more time helps all three, and this one only a little.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seminal.doctor import pace, remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding, Remedy
from seminal.doctor.signs import Effect

STAGE = "optimisation"
DROPPED = 0.25  # probability from which dropout is worth an experiment
DECAY = 2e-3  # the same for weight decay
LOUD = 1.3  # loss in training mode, in units of that in evaluation mode
EXPLAINS = frozenset({"underfitting", "lr_low", "epochs_few", "optimizer", "saddle_plateau", "vanishing_gradient"})


def judge(chart: Chart) -> Finding | None:
    dropped = max(
        (m.p for m in chart.program.model.modules() if isinstance(m, nn.modules.dropout._DropoutNd)), default=0.0
    )
    decay = max(float(group.get("weight_decay", 0.0)) for group in chart.program.optimizer.param_groups)
    random = dropped >= DROPPED or chart.anatomy.stochastic
    if not (random or decay >= DECAY) or signs.well(chart) or signs.fit(chart) > signs.GOOD or not chart.in_time:
        return None
    tried = []
    if random:
        tried.append(
            (remedies.no_dropout(), f"dropout drops up to {dropped:.0%} of the units", "the same run without dropout")
        )
    if decay >= DECAY:
        tried.append((remedies.no_decay(), f"weight decay is {decay:g}", "the same run without weight decay"))
    found = [(_effect(chart, cure), cure, says, what) for cure, says, what in tried]
    found = [part for part in found if part[0].helped]
    if not found:
        return None
    found.sort(key=lambda part: -part[0].gain)
    evidence = [f"{says}; {effect.told(what)}" for effect, _, says, what in found]
    quiet, loud = chart.course.last.loss, chart.course.level()
    if loud > LOUD * quiet:
        evidence.append(f"the training loss is {loud:.3g} in training mode and {quiet:.3g} in evaluation mode")
    cures = tuple(cure for _, cure, _, _ in found)
    return Finding("over_regularised", signs.confidence(found[0][0], 0.7), tuple(evidence), cures, (), EXPLAINS)


def _effect(chart: Chart, cure: Remedy) -> Effect:
    """Of a part of the run; of the whole where that shows a little and costs little: what is held back shows late."""
    part = signs.effect(chart, cure)
    unsure = not part.helped and part.gain > 0.02 and chart.course.seconds < pace.PATIENT / 4
    return signs.effect(chart, cure, share=1.0) if unsure else part


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    hidden = [nn.Linear(12, 48), nn.ReLU(), nn.Dropout(0.9), nn.Linear(48, 48), nn.ReLU(), nn.Dropout(0.9)]
    return specimens.program(nn.Sequential(*hidden, nn.Linear(48, 5)), specimens.groups())


def well(seed: int = 0) -> dict[str, Any]:
    """Some dropout and some decay."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(12, 96), nn.ReLU(), nn.Dropout(0.3), nn.Linear(96, 5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.05)
    return specimens.program(model, specimens.groups(), optimizer, epochs=25)
