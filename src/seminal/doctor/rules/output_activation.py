"""The last activation does not fit the target or the loss.

Sign: the range that the model's ending leaves to the outputs, found by driving it with large numbers, excludes the
answers: it is a single number; targets lie outside; or the loss, brought down over free outputs, asks for answers
that the ending cannot give. Or a loss of logits is given outputs whose negative half (ReLU) or whose size (sigmoid,
tanh) is cut off. Or a loss of probabilities is given numbers that are none.
Reason: what the ending cannot give no layer before it can learn, and at the ends of its range the gradient is zero.
Source: DIAGNOSIS.md 4.3 (checks 1 and 2), DeepDiagnosis (out of range), NeuraLint and AUTOTRAINER (by names of
layers).
Looks alike: a bounded ending for bounded targets; capped logits (30 · tanh), whose cap costs nothing.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from seminal.doctor import remedies, specimens
from seminal.doctor.anatomy import AGREES, Anatomy
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding, Remedy

STAGE = "code"
OUTSIDE = 0.03  # share of the targets' variance that the ending cannot give
WORSE = 0.15  # of right answers, or of R², that the ending costs
FLOOR = 0.15  # of the loss without opinion: what must remain because of the ending

Sign = tuple[float, str, Remedy]  # confidence, evidence, what helps


def judge(chart: Chart) -> Finding | None:
    anatomy = chart.anatomy
    if anatomy.two_players or anatomy.kind == "unknown":
        return None
    signs = (_one_value, _targets_outside, _cannot_answer, _logits_cut, _no_probabilities)
    found = next((said for sign in signs if (said := sign(anatomy, chart)) is not None), None)
    if found is None:
        return None
    confidence, evidence, remedy = found
    return Finding("output_activation", confidence, (evidence,), (remedy,), (), _EXPLAINED)


_EXPLAINED = frozenset(
    {
        "dead_relu",
        "saturation",
        "vanishing_gradient",
        "lr_low",
        "epochs_few",
        "optimizer",
        "underfitting",
        "target_scale",
    }
    | {"saddle_plateau", "input_scale", "init_bad", "over_regularised", "hidden_activation", "lr_high"}
)


def _fitting(anatomy: Anatomy) -> Remedy:
    """The ending that suits the task and the loss as it is."""
    takes_logits = anatomy.shift_invariant or anatomy.loss in ("bce_logits", "cross_entropy", "hinge")
    if anatomy.kind in ("regression", "reconstruction") or takes_logits:
        return remedies.without_ending()
    return remedies.with_ending(
        "softmax" if anatomy.kind in ("classes", "one_hot") and _columns(anatomy) > 1 else "sigmoid"
    )


def _columns(anatomy: Anatomy) -> int:
    return math.prod(anatomy.out_shape)


def _range(anatomy: Anatomy) -> str:
    low, high = (f"{value:.3g}" if math.isfinite(value) else "∞" for value in (anatomy.end.low, anatomy.end.high))
    return f"the model ends in {anatomy.ending}: outputs from {'−' if low == '∞' else ''}{low} to {high}"


def _one_value(anatomy: Anatomy, _: Chart) -> Sign | None:
    if not anatomy.end.one_value:
        return None
    what = "a softmax over a single unit" if anatomy.ending == "softmax" else f"its ending ({anatomy.ending})"
    said = f"every output is {anatomy.end.low:.3g}, whatever the layers before give: {what}; all gradients are zero"
    return 0.97, said, _fitting(anatomy)


def _targets_outside(anatomy: Anatomy, chart: Chart) -> Sign | None:
    if anatomy.kind not in ("regression", "reconstruction") or not anatomy.end.limited:
        return None
    targets = chart.train.targets.float()
    targets = targets[targets.isfinite().reshape(len(targets), -1).all(1)]
    variance = float(((targets - targets.mean(0)) ** 2).sum())
    beyond = targets - targets.clamp(anatomy.end.low, anatomy.end.high)
    lost = float((beyond**2).sum()) / max(variance, 1e-12)
    if lost < OUTSIDE:
        return None
    share = 100 * float((beyond != 0).float().mean())
    said = (
        f"{_range(anatomy)}; targets lie from {float(targets.min()):.3g} to {float(targets.max()):.3g}, {share:.0f} "
        f"% of them outside (a part as large as {lost:.2f} of their variance)"
    )
    return (0.96 if lost > 0.1 else 0.8), said, remedies.without_ending()


def _cannot_answer(anatomy: Anatomy, _: Chart) -> Sign | None:
    """The loss asks for the right answers, and the best that the ending can give are wrong."""
    wanted, given = anatomy.wanted, anatomy.given
    if not anatomy.end.limited or not wanted.standard >= AGREES or not given.standard < wanted.standard - WORSE:
        return None
    said = (
        f"{_range(anatomy)}; with free outputs the loss leads to {wanted.standard:.2f} right answers, with outputs "
        f"of this form to {given.standard:.2f}"
    )
    return 0.95, said, _fitting(anatomy)


def _logits_cut(anatomy: Anatomy, _: Chart) -> Sign | None:
    """A loss of logits behind an ending that cuts them. A softmax there is `double_softmax`."""
    if anatomy.ending in ("softmax", "log_softmax") or not anatomy.end.limited:
        return None
    if not (anatomy.shift_invariant or anatomy.loss in ("bce_logits", "cross_entropy")):
        return None
    if anatomy.ending == "relu":
        said = "but the loss takes logits: it wants wrong classes far below zero, where a ReLU has no gradient"
        return 0.9, f"{_range(anatomy)}, {said}", remedies.without_ending()
    opinionless = anatomy.expected_loss if math.isfinite(anatomy.expected_loss) else math.log(2)
    if anatomy.end.bounded and anatomy.given.loss - anatomy.wanted.loss > FLOOR * opinionless:
        said = (
            f"{_range(anatomy)}, but the loss takes logits: it cannot fall below {anatomy.given.loss:.3g} so (free "
            f"outputs reach {anatomy.wanted.loss:.2g}; an answer without opinion has {opinionless:.3g})"
        )
        return 0.95, said, remedies.without_ending()
    return None


def _no_probabilities(anatomy: Anatomy, _: Chart) -> Sign | None:
    """A loss of probabilities, clamped somewhere, so that it takes any number without complaint."""
    probability = anatomy.ending in ("softmax", "sigmoid") or (
        anatomy.end.bounded and 0 <= anatomy.end.low <= anatomy.end.high <= 1
    )
    if anatomy.loss not in ("categorical", "bce") or anatomy.form.domain != "any" or probability:
        return None
    if anatomy.factor < 0:
        return None
    said = f"{_range(anatomy)}, but the loss (−log p) takes probabilities, and clamps away what is none"
    return 0.9, said, _fitting(anatomy)


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = nn.Sequential(specimens.network(4, 32, 1), nn.Sigmoid())
    return specimens.program(model, specimens.waves())


class _Capped(nn.Module):
    """Outputs between −4 and 4: a tanh, written out and stretched."""

    def __init__(self) -> None:
        super().__init__()
        self.body = specimens.network(4, 64, 64, 1)

    def forward(self, x: Tensor) -> Tensor:
        return 8 * torch.sigmoid(self.body(x)) - 4


def well(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    x, y = specimens.waves()
    return specimens.program(_Capped(), (x, y.clamp(-3.5, 3.5)), epochs=40)
