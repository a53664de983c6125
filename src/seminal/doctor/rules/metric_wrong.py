"""The metric does not measure the task.

Sign: the right answers, in every form in which a model may give them, score no better than a constant answer; or the
answers that the loss leads to are right by anyone's measure, and the program's metric calls them wrong; or the metric
(or the program's own `evaluate`) raises, or gives no number.
Reason: logits rounded or compared with ½, argmax over the rows, (N, 1) compared with (N) pair by pair, an error
reported where higher should be better.
Source: DIAGNOSIS.md 4.4 (metric replay) and 2.3 (wrong metric among real faults): no published detector has it.
Looks alike: a hard task, where the model's answers are wrong; here answers are made from the targets, without the
model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seminal.doctor import course, remedies, specimens
from seminal.doctor.anatomy import Anatomy
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding, Remedy
from seminal.doctor.program import undisturbed

STAGE = "code"
RIGHT = 0.95  # share of right answers, or R²
BAD = 0.5  # of the way from a constant answer to right ones

_EXPLAINED = frozenset(
    {"underfitting", "lr_low", "lr_high", "epochs_few", "optimizer", "label_bug", "data_shift", "class_imbalance"}
    | {"overfitting", "loss_mismatch", "output_activation", "saddle_plateau", "label_noise"}
)


def judge(chart: Chart) -> Finding | None:
    anatomy = chart.anatomy
    if anatomy.two_players:
        return None
    if failure := _fails(chart):
        return Finding("metric_wrong", 0.95, (failure,), _usual(chart), (), _EXPLAINED)
    if anatomy.kind in ("unknown", "reconstruction"):
        return None
    said = _blind(anatomy) or _disagrees(anatomy)
    if not said:
        return None
    return Finding("metric_wrong", 0.95, (said,), _usual(chart), (), _EXPLAINED)


def _usual(chart: Chart) -> tuple[Remedy, ...]:
    """What such a task is usually measured by."""
    kind = chart.anatomy.kind
    if chart.program.evaluate is not None:
        return (remedies.default_validation(),)
    if kind in ("unknown", "reconstruction"):
        return ()
    return (remedies.with_metric("r2" if kind == "regression" else "accuracy"),)


def _fails(chart: Chart) -> str:
    """No number comes out, of the model's own outputs. A metric that takes right answers, and not these, is not at fault."""
    program, anatomy = chart.program, chart.anatomy
    out = course.outputs(program.model, chart.val)
    if out is None or anatomy.steps.failed:
        return ""
    if program.evaluate is not None:
        with undisturbed():
            fresh = chart.make(chart.seed)  # it may change the model in any way
            return _no_number("`evaluate`", lambda: program.evaluate and program.evaluate(fresh.model, fresh.val))
    if math.isfinite(anatomy.right_answers) or math.isfinite(anatomy.wanted.metric):
        return ""
    return _no_number("the metric", lambda: program.metric(out, chart.val.targets))


def _no_number(what: str, measure: Callable[[], Any]) -> str:
    try:
        with torch.no_grad():
            value = measure()
    except Exception as error:  # a stranger's function may refuse in any way
        return f"{what} raises {type(error).__name__}: {error}"
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):
        return f"{what} gives a value of type `{type(value).__name__}`, and it must give one number"
    return ""


def _blind(anatomy: Anatomy) -> str:
    """Right answers are worth nothing to it."""
    good = [value for value in (anatomy.right_answers, anatomy.wanted.metric) if math.isfinite(value)]
    if not math.isfinite(anatomy.right_answers) or not anatomy.wants_right or max(good) > anatomy.floor + 1e-6:
        return ""
    if _one_answer(anatomy):
        return ""
    return (
        f"the right answers score {max(good):.3f}, and an answer that is the same for all rows scores "
        f"{anatomy.floor:.3f}: the metric does not tell them apart, or goes the wrong way"
    )


def _one_answer(anatomy: Anatomy) -> bool:
    """Whether a constant answer is right for all rows: no metric can tell it from right ones."""
    return anatomy.classes == 1 or (anatomy.kind == "classes" and anatomy.floor >= 1)


def _disagrees(anatomy: Anatomy) -> str:
    """What the loss leads to, given how the model ends, is right, and the metric does not see it."""
    wanted, given = anatomy.wanted, anatomy.given
    scale = anatomy.ceiling - anatomy.floor
    if _one_answer(anatomy) or scale <= 0 or not all(math.isfinite(w.metric) for w in (wanted, given)):
        return ""
    if not all(w.standard >= RIGHT and (w.metric - anatomy.floor) / scale < BAD for w in (wanted, given)):
        return ""
    return (
        f"the outputs that the loss leads to are right for {100 * given.standard:.0f} % of the rows, and the "
        f"program's metric gives them {given.metric:.3f} (a constant answer: {anatomy.floor:.3f}, right answers in "
        f"their best form: {anatomy.ceiling:.3f})"
    )


def _rounded(out: Tensor, target: Tensor) -> float:
    return (out.round() == target).float().mean().item()


def _halves() -> tuple[Tensor, Tensor]:
    x, y = specimens.groups()
    return x, (y[:, None] > 2).float()


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    loss = torch.nn.BCEWithLogitsLoss()
    return specimens.program(specimens.network(12, 64, 1), _halves(), loss=loss, metric=_rounded)


def _signed(out: Tensor, target: Tensor) -> float:
    return ((out > 0) == (target > 0.5)).float().mean().item()


def well(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    loss = torch.nn.BCEWithLogitsLoss()
    return specimens.program(specimens.network(12, 64, 1), _halves(), loss=loss, metric=_signed)
