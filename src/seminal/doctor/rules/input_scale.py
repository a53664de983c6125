"""Inputs that are not scaled, or features on very different scales.

Sign: the mean or the spread of the inputs is far from 0 and 1, or some features vary a hundred times as much as others,
or they hardly vary beside their own means (as where rows were standardised instead of columns);
and the same run on standardised inputs is clearly further. Where the rate is unfit too, both runs are made with Adam.
Reason: the gradient of a weight is proportional to its input, so one learning rate cannot suit all of them; large
inputs drive sigmoid and tanh units to their flat ends, an offset couples every weight with the bias (LeCun et al.,
"Efficient BackProp", 1998).
Source: UMLAUT and DeepDiagnosis flag any input outside of [−1, 1], and so every program that trains well on such
inputs; here the experiment decides.
Looks alike: a rate that is too high (a tenth of it helps as well), saturated units, a loss that diverges.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seminal.doctor import pace, remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "optimisation"
LARGE, SMALL = 5.0, 0.05  # means and spreads beyond these are worth an experiment
REACHED = 0.2  # of skill: from worse than a constant answer to one is no cure
UNEVEN = 50.0  # the same for the ratio of the features' spreads
EXPLAINS = frozenset(
    {"exploding_gradient", "vanishing_gradient", "dead_relu", "saddle_plateau", "underfitting", "init_bad"}
)


def judge(chart: Chart) -> Finding | None:
    facts = chart.facts
    if facts.tokens:
        return None
    mean, spread, ratio = facts.scale
    odd = max(mean, spread) > LARGE or 0 < spread < SMALL or ratio > UNEVEN or facts.offset > LARGE
    if not odd or signs.well(chart) or not chart.in_time:
        return None
    standard = remedies.standardised_inputs(chart.train)
    before = f"inputs have means of about {mean:.3g} and a spread of {spread:.3g}"
    if ratio > UNEVEN:
        before += f"; features differ in spread by a factor of {ratio:,.0f}"
    if facts.offset > LARGE:
        before += f"; the mean of a feature is {facts.offset:.1f} times its own spread (median)"
    effect = signs.effect(chart, standard)
    if effect.helped and effect.after >= REACHED:
        told = effect.told("the same run on standardised inputs")
        return Finding("input_scale", signs.confidence(effect, 0.7), (before, told), (standard,), (), EXPLAINS)
    adam = remedies.adam(pace.usual(chart))
    alone, both = signs.effect(chart, adam), signs.effect(chart, standard, adam)
    if both.after < REACHED or not both.helped or both.after - alone.after < 1.5 * signs.HELPS:
        return None
    evidence = (before, both.told("standardised inputs and Adam"), alone.told("Adam alone"))
    return Finding("input_scale", 0.8, evidence, (remedies.together(standard, adam), standard), (), EXPLAINS)


def _raw(x: torch.Tensor) -> torch.Tensor:
    """Features as instruments give them: each with an offset and a unit of its own."""
    units = torch.logspace(-1, 3, x.shape[1])
    return x * units + 20 * units


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    x, y = specimens.groups()
    return specimens.program(specimens.network(12, 48, 5, activation=nn.Tanh), (_raw(x), y))


def well(seed: int = 0) -> dict[str, Any]:
    """The same raw inputs, with a layer of normalisation in front."""
    torch.manual_seed(seed)
    x, y = specimens.groups()
    model = nn.Sequential(nn.BatchNorm1d(12), *specimens.network(12, 48, 5, activation=nn.Tanh))
    return specimens.program(model, (_raw(x), y))
