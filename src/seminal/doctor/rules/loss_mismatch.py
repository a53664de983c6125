"""The loss does not fit the task.

Sign: the loss, known by its values, measures distances where the targets are classes (and the class's own loss does
clearly better in a trial); or reads class numbers as quantities; or spreads one unit of probability where several
tags may hold, or none; or is the same for all outputs.
Reason: distance to a class number means nothing; absolute errors are content with the majority; squared errors hardly
punish a sure wrong answer; a softmax cannot say yes twice.
Source: DIAGNOSIS.md 4.3 (check 1), NeuraLint, AUTOTRAINER and DeepFD (loss faults), by names there, by behaviour
here.
Looks alike: the same losses where they work (squared error between probabilities, absolute error between
measurements).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seminal.doctor import remedies, signs, specimens
from seminal.doctor.anatomy import Anatomy
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "code"
DISTANCES = ("mse", "mae", "huber")
NAMES = {"mse": "squared error", "mae": "absolute error", "huber": "Huber loss", "bce_logits": "binary cross-entropy"}


def judge(chart: Chart) -> Finding | None:
    anatomy = chart.anatomy
    if anatomy.two_players or anatomy.end.one_value or anatomy.loss_detached:
        return None
    plain = _plain(anatomy, chart)
    arm = remedies.with_loss(anatomy.usual_loss)
    if plain:
        if signs.well(chart):
            return None
        return Finding("loss_mismatch", 0.92, (plain,), (arm,), (), _EXPLAINED)
    if not _doubtful(anatomy) or not chart.in_time or signs.well(chart):
        return None
    name = NAMES.get(anatomy.loss, anatomy.loss)
    said = f"the loss is a {name}, and the targets are {_TASKS[anatomy.kind]} ({anatomy.classes})"
    effect = signs.effect(chart, arm)
    if effect.helped:
        evidence = (said, effect.told(f"with {anatomy.usual_loss}"))
        return Finding("loss_mismatch", signs.confidence(effect, 0.8), evidence, (arm,), (), _EXPLAINED)
    if anatomy.loss == "mae":
        # It may need more besides: the absolute error is still the wrong one, for its best answer is the majority's.
        return Finding("loss_mismatch", 0.7, (f"{said}: its best answer, where unsure, is the majority's",), (arm,))
    return None


_EXPLAINED = frozenset({"saddle_plateau", "underfitting", "vanishing_gradient", "class_imbalance"})
_TASKS = {"classes": "classes", "one_hot": "classes", "binary": "two classes", "multi_label": "tags"}


def _plain(anatomy: Anatomy, chart: Chart) -> str:
    """What cannot be right, whatever a trial says; empty: nothing."""
    several = anatomy.kind == "classes" and anatomy.classes > 2
    if several and anatomy.out_shape in ((), (1,)) and anatomy.loss in DISTANCES:
        return (
            f"the targets are {anatomy.classes} classes (the metric counts exact hits), and the "
            f"{NAMES[anatomy.loss]} reads their numbers as quantities: between class 1 and class 3 it wants class 2"
        )
    if anatomy.kind == "multi_label" and anatomy.shift_invariant:
        held = chart.train.targets.float().reshape(len(chart.train), -1).sum(1)
        return (
            "the loss takes a softmax over the tags, which shares one unit of probability between them; "
            f"{100 * float((held != 1).float().mean()):.0f} % of the rows hold none or several"
        )
    if anatomy.form.constant and anatomy.form.domain:
        return "the loss is the same whatever the outputs are (a softmax over a single output is always 1)"
    if anatomy.kind == "regression" and anatomy.loss in ("bce", "bce_logits"):
        low, high = float(chart.train.targets.min()), float(chart.train.targets.max())
        if low < -0.01 or high > 1.01:
            return f"binary cross-entropy takes targets from 0 to 1; these go from {low:.3g} to {high:.3g}"
    return ""


def _doubtful(anatomy: Anatomy) -> bool:
    if anatomy.kind not in _TASKS or anatomy.factor < 0:
        return False
    exclusive = anatomy.kind in ("classes", "one_hot") and anatomy.classes > 2
    return anatomy.loss in DISTANCES or (exclusive and anatomy.loss == "bce_logits")


def _distance(out: Tensor, target: Tensor) -> Tensor:
    return ((out.flatten() - target) ** 2).mean()


def _hits(out: Tensor, target: Tensor) -> float:
    return (out.flatten().round() == target).float().mean().item()


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    return specimens.program(specimens.network(12, 32, 1), specimens.groups(), loss=_distance, metric=_hits)


def _squared(out: Tensor, target: Tensor) -> Tensor:
    return ((out.softmax(1) - nn.functional.one_hot(target, 5)) ** 2).sum(1).mean()


def well(seed: int = 0) -> dict[str, Any]:
    """The squared error of probabilities (Brier's score), which learns well enough here."""
    torch.manual_seed(seed)
    return specimens.program(specimens.network(12, 64, 5), specimens.groups(), loss=_squared, epochs=20)
