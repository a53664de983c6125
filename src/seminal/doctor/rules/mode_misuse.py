"""Evaluation mode while training, or training mode while validating.

Sign: batch normalisations whose running statistics do not move in training steps that are made in evaluation mode,
and a plain step in training mode does clearly better; or a validation in training mode whose score is worse than that
of the same weights in evaluation mode; or a model that draws at random in evaluation mode.
Reason: in evaluation mode normalisation uses statistics that were never gathered; in training mode units are dropped
at random, and rows are normalised with whatever other rows came in the same batch.
Source: DIAGNOSIS.md 4.2, 4.3 (check 11), 4.4 (mode toggle); TheDeepChecker's train/eval switch test.
Looks alike: pretrained normalisation kept in evaluation mode on purpose: a plain step gains nothing there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from seminal.doctor import course, remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding
from seminal.doctor.wanted import measured

STAGE = "code"
LOST = 0.03  # of skill: what validating in training mode costs at least
RESTLESS = 0.1  # of the outputs' spread: how far two passes in evaluation mode are apart

_EXPLAINED = frozenset(
    {"batch_contamination", "over_regularised", "overfitting", "data_shift", "underfitting", "lr_low"}
)


def judge(chart: Chart) -> Finding | None:
    anatomy = chart.anatomy
    if not anatomy.moody and not anatomy.restless > RESTLESS:
        return None
    return _trained(chart) or _validated(chart) or _random(chart)


def _trained(chart: Chart) -> Finding | None:
    """Training in evaluation mode."""
    anatomy = chart.anatomy
    if anatomy.trains_in != "eval" or chart.program.train_step is None or not chart.in_time:
        return None
    effect = signs.effect(chart, remedies.default_step())
    if not effect.helped:
        return None
    still = anatomy.steps.still
    evidence = [f"in the training step, {len(anatomy.moody)} modules that have two modes are in evaluation mode"]
    if still:
        evidence.append(f"the running statistics of {len(still)} normalisations do not move (the first: {still[0]})")
    explained = _EXPLAINED | {"vanishing_gradient", "exploding_gradient", "optimizer", "epochs_few", "saddle_plateau"}
    return Finding(
        "mode_misuse",
        0.95 if still else signs.confidence(effect, 0.7),
        (*evidence, effect.told("a plain step in training mode")),
        (remedies.default_step(),),
        (),
        explained,
    )


def _validated(chart: Chart) -> Finding | None:
    """Validation in training mode."""
    if chart.anatomy.validates_in not in ("train", "mixed"):
        return None
    out = course.outputs(chart.course.model, chart.val)
    if out is None:
        return None
    plain = signs.bounded(chart.skill(measured(chart.program.metric, out, chart.val.targets)))
    own = signs.skill(chart)
    if plain - own < LOST:
        return None
    return Finding(
        "mode_misuse",
        0.95 if plain - own > signs.HELPS else 0.8,
        (
            f"the program's own validation leaves the model in training mode: skill {own:.2f}; the same weights in "
            f"evaluation mode: {plain:.2f}",
        ),
        (remedies.default_validation(),),
        (),
        _EXPLAINED,
    )


def _random(chart: Chart) -> Finding | None:
    """Chance in evaluation mode: dropout called as a function, without telling it the mode."""
    anatomy = chart.anatomy
    if anatomy.restless <= RESTLESS or anatomy.kind in ("reconstruction", "unknown") or anatomy.two_players:
        return None
    return Finding(
        "mode_misuse",
        0.8,
        (
            f"in evaluation mode, two passes over the same rows differ by up to {anatomy.restless:.2f} times the "
            "outputs' spread: something is still drawn at random (dropout as a function needs "
            "`training=self.training`)",
        ),
        (remedies.no_dropout(),),
        (),
        _EXPLAINED,
    )


def _normalised() -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (12, *[32] * 8):
        layers += [nn.Linear(width, 32), nn.BatchNorm1d(32), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(32, 5))


def _step(mode: bool) -> Any:
    def step(model: nn.Module, loss: Any, optimizer: Optimizer, x: Tensor, y: Tensor) -> Tensor:
        model.train(mode)
        optimizer.zero_grad()
        value: Tensor = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model, (x, y) = _normalised(), specimens.groups()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return {**specimens.program(model, (20 * x, y), optimizer, epochs=10), "train_step": _step(mode=False)}


def well(seed: int = 0) -> dict[str, Any]:
    """The same, in the right mode, with a dropout that is off in evaluation."""
    torch.manual_seed(seed)
    model, (x, y) = _Dropping(), specimens.groups()
    return {**specimens.program(model, (x, y), epochs=12), "train_step": _step(mode=True)}


class _Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(12, 64), specimens.network(64, 64, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(F.dropout(torch.relu(self.body(x)), 0.1, training=self.training))
        return out
