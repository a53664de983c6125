"""The loss is computed wrongly.

Sign: the loss is a known one with the sign turned; a softmax inside it runs over the rows of the batch; it takes
logarithms of outputs that are no probabilities, or no logarithms of outputs that are; brought down over free outputs,
it leads to answers that are wrong by anyone's measure; it is a sum over the batch and the same loss as a mean does
clearly better.
Reason: shapes that broadcast, (N, 1) against (N), compare every row with every target; a wrong `dim`, a missing
minus, log or mean leave no error message.
Source: DIAGNOSIS.md 2.4 and 4.3 (checks 2, 3, 13), TheDeepChecker (loss growing with the batch), Karpathy's recipe.
Looks alike: losses that are unusual and right: weighted, smoothed, with further terms, over pairs of rows. They lead
to right answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from seminal.doctor import remedies, signs, specimens
from seminal.doctor.anatomy import Anatomy
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding, Remedy
from seminal.doctor.loss_form import ROWS

STAGE = "code"
WRONG = 0.6  # share of right answers, or R², below which the answers that a loss asks for are wrong
FAR = 20.0  # a factor of the loss beyond which it is asked whether it was meant
NAMED = ("cross_entropy", "nll", "categorical", "bce", "bce_logits", "mse", "mae", "huber")

_EXPLAINED = frozenset(
    {
        "loss_mismatch",
        "exploding_gradient",
        "lr_high",
        "dead_relu",
        "batch_contamination",
        "optimizer",
        "lr_low",
        "epochs_few",
    }
    | {"underfitting", "saddle_plateau", "output_activation", "label_bug", "init_bad", "overfitting"}
)


def judge(chart: Chart) -> Finding | None:
    anatomy = chart.anatomy
    unjudged = anatomy.kind == "unknown" or anatomy.two_players or anatomy.loss_detached or anatomy.form.constant
    if unjudged or not anatomy.form.domain:
        return None
    arm = remedies.with_loss(anatomy.usual_loss)
    for sign in (_turned, _over_rows, _logarithm, _impossible):
        if said := sign(anatomy):
            return Finding("loss_implementation", 0.95, (said,), (arm,), (), _EXPLAINED)
    if said := _leads_astray(anatomy):
        if anatomy.reduction == "mixed":
            said += "; what it asks of a row depends on the targets and outputs of other rows"
            return Finding("loss_implementation", 0.95, (said,), (arm,), (), _EXPLAINED)
        for arm, what in _arms(anatomy):
            if chart.in_time and (effect := signs.effect(chart, arm)).helped:
                evidence = (said, effect.told(what))
                return Finding("loss_implementation", signs.confidence(effect, 0.8), evidence, (arm,), (), _EXPLAINED)
        return None
    return _scaled(chart)


def _arms(anatomy: Anatomy) -> Iterator[tuple[Remedy, str]]:
    """What may be meant. Where outputs and targets have one shape, a loss takes them in either order."""
    yield remedies.with_loss(anatomy.usual_loss), f"with the library's {anatomy.usual_loss}"
    if anatomy.kind == "regression" and math.prod(anatomy.out_shape) == math.prod(anatomy.target_shape):
        yield remedies.swapped_loss(), "with the arguments of the loss exchanged"


def _turned(anatomy: Anatomy) -> str:
    if anatomy.loss not in NAMED or not anatomy.factor < 0:
        return ""
    return (
        f"the loss is {anatomy.factor:.3g} times {anatomy.loss}: the sign is turned, and the surer the right "
        f"answer, the larger the loss (brought down over free outputs it reaches {anatomy.wanted.loss:.3g} with "
        f"{_right(anatomy)})"
    )


def _over_rows(anatomy: Anatomy) -> str:
    if not anatomy.form.over_rows or anatomy.shift_invariant:
        return ""
    return (
        "adding a number to one output of every row does not change the loss, adding it to all outputs of a row "
        "does: the softmax inside runs over the rows of the batch (dim=0)"
    )


def _logarithm(anatomy: Anatomy) -> str:
    if anatomy.loss != "nll" or anatomy.ending == "log_softmax" or anatomy.kind not in ("classes", "one_hot"):
        return ""
    what = "probabilities" if anatomy.ending in ("softmax", "sigmoid") else "outputs that are no log-probabilities"
    return (
        "the loss is minus the output of the right class, without a logarithm, and the model ends in "
        f"{what} ({anatomy.ending})"
    )


def _impossible(anatomy: Anatomy) -> str:
    """Probabilities are needed, anything is given, and the loss breaks."""
    inside = anatomy.end.bounded and anatomy.end.low >= 0 and anatomy.end.high <= 1
    if anatomy.form.domain == "any" or inside or math.isfinite(anatomy.first_loss):
        return ""
    if anatomy.first_nonfinite in ("inputs", "targets"):
        return ""
    return (
        "the loss takes probabilities only (it is NaN or fails for other numbers), and the model ends in "
        f"{anatomy.ending}: the first loss is {anatomy.first_loss}"
    )


def _leads_astray(anatomy: Anatomy) -> str:
    """What the loss asks for, brought down over free outputs, is wrong."""
    wanted = anatomy.wanted
    too_few = math.prod(anatomy.out_shape) < math.prod(anatomy.target_shape)  # `wrong_units`
    if too_few or not wanted.standard < WRONG or anatomy.wants_right:
        return ""
    return f"outputs that are free to take any value, with the least loss ({wanted.loss:.3g}), give {_right(anatomy)}"


def _right(anatomy: Anatomy) -> str:
    if anatomy.kind in ("regression", "reconstruction"):
        return f"an R² of {anatomy.wanted.standard:.2f}"
    return f"{100 * anatomy.wanted.standard:.0f} % right answers"


def _scaled(chart: Chart) -> Finding | None:
    """A sum for a mean multiplies the rate by the size of the batch, a second mean divides it. Adam and its like take no
    notice."""
    anatomy = chart.anatomy
    usual = anatomy.reduction == "mean" and 1 / FAR < anatomy.factor < FAR
    if usual or anatomy.reduction == "mixed" or anatomy.loss not in NAMED:
        return None
    if not isinstance(chart.program.optimizer, SGD) or not chart.in_time or signs.well(chart):
        return None
    arm = remedies.with_loss(_ALIKE.get(anatomy.loss, anatomy.usual_loss))
    effect = signs.effect(chart, arm)
    if not effect.helped:
        return None
    how = "as a sum" if anatomy.reduction == "sum" else f"with a factor of {anatomy.factor:.2g} (for {ROWS} rows)"
    said = (
        f"the loss is {anatomy.loss} {how} over the {anatomy.steps.rows} rows of a batch, not as their mean: "
        f"the first one is {anatomy.first_loss:.3g}"
    )
    evidence = (said, effect.told("as a mean"))
    return Finding("loss_implementation", signs.confidence(effect, 0.85), evidence, (arm,), (), _EXPLAINED)


_ALIKE = {
    "mse": "mse",
    "mae": "l1",
    "huber": "huber",
    "bce_logits": "binary_cross_entropy",
    "cross_entropy": "cross_entropy",
}


def sick(seed: int = 0) -> dict[str, Any]:
    """(N, 1) outputs against (N) targets."""
    torch.manual_seed(seed)
    x, y = specimens.waves()
    parts = specimens.program(specimens.network(4, 64, 1), (x, y[:, 0]), loss=_squared, metric=_explained, epochs=40)
    return parts


def _squared(out: Tensor, target: Tensor) -> Tensor:
    return ((out - target) ** 2).mean()


def _explained(out: Tensor, target: Tensor) -> float:
    return specimens.explained(out.flatten(), target.flatten())


def well(seed: int = 0) -> dict[str, Any]:
    """Written by hand, weighted by class, with a term for confidence: unusual, and right."""
    torch.manual_seed(seed)
    weight = torch.tensor([1.0, 2.0, 0.5, 1.0, 1.5])

    def loss(out: Tensor, target: Tensor) -> Tensor:
        logs = out - out.logsumexp(1, keepdim=True)
        rows = -(weight[target] * logs[torch.arange(len(target)), target])
        return rows.sum() / weight[target].sum() + 0.01 * nn.functional.softmax(out, 1).square().sum(1).mean()

    return specimens.program(specimens.network(12, 64, 5), specimens.groups(), loss=loss, epochs=20)
