"""Changes of what the outputs mean: last activation, loss, number of outputs, scale of the targets, metric.

The metric keeps its meaning. Where outputs become logits that were probabilities, the metric and the program's own validation
are shown probabilities as before: a cure is then measured by the very number the program printed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seminal.doctor.findings import Remedy
from seminal.doctor.program import Loss, Metric, Program, undisturbed
from seminal.doctor.remedies import in_recipe
from seminal.doctor.remedies.forward import ALONG, Call, Pass, Watching, around, is_activation, passed
from seminal.doctor.remedies.layers import outputs_changed
from seminal.doctor.rows import Rows

Mapped = Callable[[Tensor], Tensor]

ENDINGS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {"linear": nn.Identity, "softmax": lambda: nn.Softmax(dim=1), "sigmoid": nn.Sigmoid}
)
PROBABILITIES = ALONG | {"sigmoid"}


def asked_through(program: Program, mapping: Mapped) -> Program:
    """The metric, and the program's own validation, are shown the outputs after a mapping."""
    metric, evaluate = program.metric, program.evaluate

    def judged(output: Tensor, target: Tensor) -> float:
        return metric(mapping(output), target)

    def validated(model: nn.Module, val: Any) -> float:
        assert evaluate is not None
        handle = model.register_forward_hook(lambda _, __, output: mapping(output))
        try:
            return evaluate(model, val)
        finally:
            handle.remove()

    return replace(program, metric=judged, evaluate=None if evaluate is None else validated)


# ------------------------------------------------------------------------------------------------------ the last activation


def without_ending() -> Remedy:
    """The output before its last activation."""

    def change(program: Program) -> Program:
        seen = passed(program)
        if seen.ending is None:
            return program
        meaning = _meaning(program, seen, seen.ending)
        program = _ended(program, seen, "linear")
        return program if meaning is None else asked_through(program, meaning)

    snippet = "model = nn.Sequential(…, nn.Linear(hidden, outputs))    # nothing after the last layer"
    return Remedy("no last activation", "take the activation after the last layer away", snippet, change)


def with_ending(kind: str) -> Remedy:
    """Another last activation: ``softmax``, ``sigmoid`` or ``linear`` (none)."""
    if kind == "linear":
        return without_ending()
    layer = "nn.Sigmoid()" if kind == "sigmoid" else "nn.Softmax(dim=1)"

    def change(program: Program) -> Program:
        return _ended(program, passed(program), kind)

    snippet = f"model = nn.Sequential(…, nn.Linear(hidden, outputs), {layer})"
    return Remedy(f"{kind} at the end", f"use {kind} after the last layer", snippet, change)


def _ended(program: Program, seen: Pass, kind: str) -> Program:
    """The model with another ending: a module of a Sequential is replaced, a call in ``forward`` is passed over."""
    new, ending = ENDINGS[kind](), seen.ending
    holder, name = _last_of(program.model)
    if ending is not None and holder is not None and is_activation(holder[-1]):
        holder.register_module(name, new)
        return program
    if ending is None and holder is not None:
        holder.append(new)
        return program

    def end(mode: Any, output: Tensor) -> Tensor:
        kept = ending is not None and bool(mode.calls) and mode.calls[-1].name == ending.name
        return new(mode.calls[-1].before.reshape(output.shape) if kept else output)

    around(program.model, Watching, end)
    return program


def _last_of(model: nn.Module) -> tuple[nn.Sequential | None, str]:
    """The innermost Sequential at the end of the model, and the name of its last module."""
    holder: nn.Sequential | None = None
    name = ""
    while isinstance(model, nn.Sequential) and len(model):
        holder, name = model, next(reversed(model._modules))
        model = model[-1]
    return holder, name


def _meaning(program: Program, seen: Pass, ending: Call) -> Mapped | None:
    """What turns the output without its ending into what the metric was shown; None where the metric takes it as it is."""
    one_unit = (
        ending.name in ALONG and ending.after.numel() > 0 and bool((ending.after == ending.after.reshape(-1)[0]).all())
    )
    if ending.name in ALONG and not one_unit and ending.before.shape == seen.output.shape:
        return ending.again
    if _takes_logits(program.loss, seen.output, seen.target) and _reads_probabilities(program.metric, seen):
        return torch.sigmoid
    return None


def _answers(output: Any, target: Any) -> Tensor | None:
    """The targets in the output's shape, where they are zeros and ones."""
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or output.numel() != target.numel():
        return None
    answers = target.reshape(output.shape).to(output.dtype)
    return answers if bool(((answers == 0) | (answers == 1)).all()) else None


def _takes_logits(loss: Loss, output: Any, target: Any) -> bool:
    """Whether the loss goes on falling when right answers are given far beyond 0 and 1."""
    answers = _answers(output, target)
    if answers is None:
        return False
    try:
        with torch.no_grad():
            near, far = (float(loss(size * (2 * answers - 1), target)) for size in (1.0, 5.0))
        return far < near
    except (RuntimeError, ValueError, IndexError, TypeError):
        return False


def _reads_probabilities(metric: Metric, seen: Pass) -> bool:
    """Whether the metric draws its line at one half: it then likes ¼ and ¾ better than −¼ and ¼."""
    answers = _answers(seen.output, seen.target)
    if answers is None:
        return False
    try:
        return metric(0.25 + 0.5 * answers, seen.target) > metric(0.5 * answers - 0.25, seen.target)
    except (RuntimeError, ValueError, IndexError, TypeError):
        return False


# ---------------------------------------------------------------------------------------------------------------- the loss


def with_loss(form: str) -> Remedy:
    """The library's own loss: ``cross_entropy`` and ``binary_cross_entropy`` (of logits: a softmax or sigmoid at the end
    goes), ``mse``, ``huber`` or ``l1``. One output for several classes becomes one per class."""
    loss = LOSSES[form]

    def change(program: Program) -> Program:
        if form not in ("cross_entropy", "binary_cross_entropy"):
            return replace(program, loss=loss)
        seen = passed(program)
        classes = _class_count(program, seen)
        if form == "cross_entropy" and classes > 1 and _columns(seen.output) == 1:
            return replace(_per_class(program, seen, classes), loss=loss)
        ending = seen.ending
        binary = form == "binary_cross_entropy"
        meaning: Mapped | None = torch.sigmoid if binary and _reads_probabilities(program.metric, seen) else None
        if ending is not None and ending.name in PROBABILITIES:
            meaning = meaning if binary else _softened(ending, seen)
            program = _ended(program, seen, "linear")
        program = replace(program, loss=loss)
        return program if meaning is None else asked_through(program, meaning)

    says = {
        "cross_entropy": "use the library's cross-entropy on logits",
        "binary_cross_entropy": "use the library's binary cross-entropy on logits",
        "mse": "use the library's squared error, with targets in the output's shape",
        "huber": "use the Huber loss, with targets in the output's shape",
        "l1": "use the absolute error, with targets in the output's shape",
    }[form]
    return Remedy(f"loss {form}", says, _SNIPPETS[form], change)


def swapped_loss() -> Remedy:
    """The same loss with its arguments in the other order."""

    def change(program: Program) -> Program:
        loss = program.loss

        def turned(output: Tensor, target: Tensor) -> Tensor:
            return loss(target.reshape(output.shape).to(output.dtype), output)

        return replace(program, loss=turned)

    return Remedy(
        "loss with its arguments exchanged",
        "exchange the arguments of the loss: which one is the output, and which the target?",
        "loss = criterion(output, target)    # the output first, in torch's own losses",
        change,
    )


def _softened(ending: Call, seen: Pass) -> Mapped | None:
    return ending.again if ending.before.shape == seen.output.shape else None


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    if output.dim() == 3 and output.shape[:2] == target.shape:  # (rows, places, classes)
        return F.cross_entropy(output.flatten(0, 1), target.flatten().long())
    if target.is_floating_point() and target.shape == output.shape:  # one-hot, or probabilities
        return F.cross_entropy(output, target)
    return F.cross_entropy(output, target.reshape(output.shape[:1] + output.shape[2:]).long())


def _aligned(loss: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """Of targets in the output's shape, so that nothing is broadcast."""

    def measured(output: Tensor, target: Tensor) -> Tensor:
        target = target.reshape(output.shape) if target.numel() == output.numel() else target
        return loss(output, target.to(output.dtype))

    return measured


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "cross_entropy": _cross_entropy,
        "binary_cross_entropy": _aligned(F.binary_cross_entropy_with_logits),
        "mse": _aligned(F.mse_loss),
        "huber": _aligned(F.huber_loss),
        "l1": _aligned(F.l1_loss),
    }
)
_SNIPPETS: Mapping[str, str] = MappingProxyType(
    {
        "cross_entropy": "criterion = nn.CrossEntropyLoss()    # of logits (N, classes): no softmax; class numbers (N,)",
        "binary_cross_entropy": "criterion = nn.BCEWithLogitsLoss()    # of logits: no sigmoid; floats of their shape",
        "mse": "criterion = nn.MSELoss()\nloss = criterion(output, target.view_as(output))",
        "huber": "criterion = nn.HuberLoss()\nloss = criterion(output, target.view_as(output))",
        "l1": "criterion = nn.L1Loss()\nloss = criterion(output, target.view_as(output))",
    }
)


def smoothed(epsilon: float = 0.1) -> Remedy:
    """Label smoothing: a share ``epsilon`` of the truth is spread over all classes."""

    def change(program: Program) -> Program:
        loss = program.loss

        def smooth(output: Tensor, target: Tensor) -> Tensor:
            if target.is_floating_point() and target.shape == output.shape:
                columns = output.shape[1] if output.dim() > 1 and output.shape[1] > 1 else 2
                return loss(output, (1 - epsilon) * target + epsilon / columns)
            return (1 - epsilon) * loss(output, target) - epsilon * F.log_softmax(output, 1).mean()

        return replace(program, loss=smooth)

    snippet = f"criterion = nn.CrossEntropyLoss(label_smoothing={epsilon:g})"
    says = f"smooth the labels by {epsilon:g}"
    return Remedy(f"label smoothing {epsilon:g}", says, snippet, change, in_recipe.smoothed(epsilon))


# ----------------------------------------------------------------------------------------------------- outputs and targets


def with_outputs(count: int) -> Remedy:
    """The last layer anew, with so many outputs."""

    def change(program: Program) -> Program:
        seen = passed(program)
        if _columns(seen.output) == 1 and count > 1 and _class_count(program, seen) > 1:
            return _per_class(program, seen, count)
        return outputs_changed(program, count)

    snippet = f"nn.Linear(hidden, {count})    # the last layer"
    return Remedy(f"{count} outputs", f"give the last layer {count} outputs", snippet, change)


def _columns(output: Any) -> int:
    if not isinstance(output, Tensor):
        return 0
    return output.shape[1] if output.dim() > 1 else 1


def _class_count(program: Program, seen: Pass) -> int:
    """How many classes there are, where each target is one class number; 0 otherwise. Rarely a first batch has all: the
    training rows are read until nothing new has come for ten batches."""
    target = seen.target
    if not isinstance(target, Tensor) or target[0].numel() != 1 or not bool((target == target.round()).all()):
        return 0
    found, quiet = set[int](), 0
    with undisturbed():
        for _, target in program.train:
            new = set(target.reshape(-1).long().tolist()) - found
            found, quiet = found | new, 0 if new else quiet + 1
            if quiet == 10:
                break
    return max(found) + 1 if min(found) >= 0 and max(found) < 2 * len(found) + 2 else 0


def _per_class(program: Program, seen: Pass, count: int) -> Program:
    """One output for each class; whoever was shown the one number is now shown the number of the likeliest class."""
    flat = isinstance(seen.output, Tensor) and seen.output.dim() == 1

    def likeliest(output: Tensor) -> Tensor:
        number = output.argmax(1).to(output.dtype)
        return number if flat else number[:, None]

    return asked_through(outputs_changed(program, count), likeliest)


def standardised_targets(rows: Rows) -> Remedy:
    """Targets with mean 0 and spread 1 for the loss; a fixed layer behind the model gives answers on the old scale, so that
    metric, validation and prediction stay as they are."""
    targets = rows.targets.float()
    targets = targets[targets.reshape(len(targets), -1).isfinite().all(1)]
    mean, std = targets.mean(0), targets.std(0)
    std = torch.where(std > 1e-8 * (1 + mean.abs()), std, torch.ones_like(std))

    def change(program: Program) -> Program:
        loss = program.loss

        def standard(values: Tensor) -> Tensor:
            return (values - mean.to(values)) / std.to(values)

        program.model.register_forward_hook(lambda _, __, output: output * std.to(output) + mean.to(output))
        return replace(program, loss=lambda output, target: loss(standard(output), standard(target.to(output.dtype))))

    shown = f"{float(mean.mean()):.4g}, {float(std.mean()):.4g}"
    snippet = (
        f"mean, std = train_targets.mean(0), train_targets.std(0)    # {shown}\n"
        "loss = criterion(model(input), (target - mean) / std)\n"
        "answer = model(input) * std + mean    # on the old scale"
    )
    return Remedy(
        "standardised targets", "standardise the targets with the training rows' mean and spread", snippet, change
    )


# -------------------------------------------------------------------------------------------------------------- the metric


def with_metric(kind: str) -> Remedy:
    """Another measure of success: ``accuracy``, ``balanced_accuracy`` or ``r2``. Binary answers are read at 0 where the
    loss takes logits, and at one half otherwise."""
    assert kind in ("accuracy", "balanced_accuracy", "r2")

    def change(program: Program) -> Program:
        seen = passed(program)
        line = 0.0 if _takes_logits(program.loss, seen.output, seen.target) else 0.5

        def measure(output: Tensor, target: Tensor) -> float:
            if kind == "r2":
                target = target.reshape(output.shape).to(output.dtype)
                return float(1 - ((output - target) ** 2).sum() / ((target - target.mean(0)) ** 2).sum())
            answer, truth = _decided(output, target, line)
            right = (answer == truth).float()
            if kind == "accuracy":
                return float(right.mean())
            return float(torch.stack([right[truth == name].mean() for name in truth.unique()]).mean())

        return replace(program, metric=measure, evaluate=None)

    snippet = {
        "accuracy": "right = output.argmax(1) == target    # of one logit: (output > 0) == (target > 0.5)\n"
        "metric = right.float().mean()",
        "balanced_accuracy": "right = (output.argmax(1) == target).float()\n"
        "metric = torch.stack([right[target == c].mean() for c in target.unique()]).mean()",
        "r2": "metric = 1 - ((output - target) ** 2).sum() / ((target - target.mean(0)) ** 2).sum()",
    }[kind]
    return Remedy(f"metric {kind}", f"judge by {kind.replace('_', ' ')}", snippet, change)


def _decided(output: Tensor, target: Tensor, line: float) -> tuple[Tensor, Tensor]:
    """Class answers and class targets, in the same shape."""
    if target.shape == output.shape and _one_hot(target):
        return output.argmax(1), target.argmax(1)
    if output.numel() != target.numel():
        return output.argmax(1).reshape(-1), target.reshape(-1)
    if float(target.max()) > 1:  # the numbers of classes, as numbers
        return output.round().reshape(-1), target.reshape(-1)
    return (output > line).reshape(-1), (target > 0.5).reshape(-1)


def _one_hot(target: Tensor) -> bool:
    """Whether each row is 1 for one class and 0 for all others."""
    wide = target.dim() == 2 and target.shape[1] > 1
    return wide and bool(((target == 0) | (target == 1)).all()) and bool((target.sum(1) == 1).all())
