"""What a loss asks for. The outputs themselves are set free, as if a model could give any answer to any row, and the
loss is brought down over them. If the answers found so are not the right ones, no model and no optimiser can help.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor

from seminal.doctor.ending import Ending
from seminal.doctor.loss_form import aligned, class_dim, gradient, number, one_hot
from seminal.doctor.program import Loss, Metric

STEPS, RATE = 150, 0.25  # of Adam, in units of the outputs' scale; the rate falls to zero
SURE = 10.0  # a logit that leaves no doubt
MOST = 512  # rows
NUMBERS = 40_000  # outputs that are set free, at most
CLASSES = 10  # constant answers that are tried: the most frequent classes

Form = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Wanted:
    """The outputs at the bottom of a loss."""

    loss: float = math.nan  # the floor
    metric: float = math.nan  # the program's, on these outputs
    standard: float = math.nan  # share of right rows, or R²: what anyone would measure
    outputs: Tensor | None = field(default=None, repr=False)


def inside(domain: str, scale: float, centre: float) -> Form:
    """Free numbers as outputs of a kind that a loss takes."""
    if domain == "unit":
        return torch.sigmoid
    if domain == "simplex":
        return lambda free: torch.softmax(free, min(1, free.dim() - 1))
    return lambda free: centre + scale * free


def within(ending: Ending, scale: float, centre: float) -> Form:
    """Free numbers as outputs that the model's ending can give."""
    if ending.name == "softmax" and ending.dim is not None:
        dim = ending.dim
        return lambda free: torch.softmax(free, dim)
    if ending.bounded:
        return lambda free: ending.low + (ending.high - ending.low) * torch.sigmoid(free)
    if ending.name == "log_softmax":
        return lambda free: torch.log_softmax(free, 1)
    if math.isfinite(ending.low):
        return lambda free: ending.low + scale * torch.nn.functional.softplus(free)
    if math.isfinite(ending.high):
        return lambda free: ending.high - scale * torch.nn.functional.softplus(free)
    return inside("any", scale, centre)


def brought_down(loss: Loss, form: Form, shape: torch.Size, target: Tensor) -> Tensor | None:
    """Outputs of this form with the least loss, by Adam; None where the loss has no gradient to follow."""
    free = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(target.device)
    first, second = torch.zeros_like(free), torch.zeros_like(free)
    for step in range(STEPS):
        leaf = free.detach().requires_grad_()
        with torch.enable_grad():
            out = form(leaf)
        slope = gradient(loss, out, target)
        if slope is None or not slope.isfinite().all():
            return None if step == 0 else form(free).detach()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(out, leaf, slope)
        first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope**2
        mean, spread = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.99 ** (step + 1))
        free = free - RATE * (1 - step / STEPS) * mean / (spread.sqrt() + 1e-12)
    return form(free).detach()


def wanted(loss: Loss, metric: Metric, form: Form, shape: torch.Size, target: Tensor, kind: str) -> Wanted:
    """The bottom of the loss, and how good the answers are there."""
    out = brought_down(loss, form, shape, target)
    if out is None:
        return Wanted()
    return Wanted(number(loss, out, target), measured(metric, out, target), right(kind, out, target), out)


def measured(metric: Metric, out: Tensor, target: Tensor) -> float:
    """The program's metric, or NaN where it fails."""
    try:
        with torch.no_grad():
            return float(metric(out, target))
    except Exception:  # a stranger's metric may refuse these outputs in any way
        return math.nan


def right(kind: str, out: Tensor, target: Tensor) -> float:
    """The share of right rows (by the largest output, by sign or by half), or R². NaN where shapes do not tell."""
    if kind == "classes" and out.numel() == target.numel():
        return float((out.reshape(target.shape).round() == target).float().mean())
    if kind == "classes":
        dim = class_dim(out.shape, target.shape)
        if dim is None:
            return math.nan
        counted = target.flatten() >= 0  # negative numbers are places that a loss leaves out
        return float((out.argmax(dim).flatten() == target.flatten())[counted].float().mean())
    numbers = target.float()
    if kind in ("regression", "reconstruction"):
        rows = out.reshape(len(out), -1)[:, : numbers[0].numel()]  # a model may give more: a variance, a latent
        return r_squared(rows, numbers.reshape(len(out), -1))
    if out.numel() != numbers.numel():
        return math.nan
    out, truth = out.reshape(numbers.shape), numbers > 0.5
    if kind == "one_hot":
        return float((out.argmax(1) == numbers.argmax(1)).float().mean())
    return max(float(((out > cut) == truth).reshape(len(out), -1).all(1).float().mean()) for cut in (0.0, 0.5))


def r_squared(out: Tensor, target: Tensor) -> float:
    """Share of the variance of all columns; columns that ``out`` lacks are not explained."""
    if out.shape[1] < target.shape[1]:
        out = (
            out.expand_as(target)
            if out.shape[1] == 1
            else torch.nn.functional.pad(out, (0, target.shape[1] - out.shape[1]))
        )
    rest, whole = ((out - target) ** 2).sum(), ((target - target.mean(0)) ** 2).sum()
    return float(1 - rest / whole) if float(whole) > 0 else math.nan


def answers(kind: str, target: Tensor, shape: torch.Size) -> Iterator[Tensor]:
    """The right answers in the shape of the outputs, in each form in which a model may give them: as zeros and ones (or
    numbers), and as logits."""
    shape = torch.Size((len(target), *shape[1:]))
    numbers = aligned(target, shape)
    if kind == "classes" and numbers is None:
        numbers = one_hot(target, shape)
    elif kind in ("classes", "regression", "reconstruction"):
        if numbers is None and target.is_floating_point() and len(shape) == 2:
            extra = shape[1] - target[0].numel()
            if extra > 0:
                numbers = torch.cat([target.reshape(len(target), -1), torch.zeros(len(target), extra)], 1)
        if numbers is not None:
            yield numbers
        return
    if numbers is not None:
        yield numbers
        yield SURE * (2 * numbers - 1)


def constants(kind: str, train: Tensor, target: Tensor, shape: torch.Size) -> Iterator[Tensor]:
    """The best constant answers, one after the other: the frequent classes, or the mean and the median."""
    if kind in ("regression", "reconstruction"):
        for rows in (
            train.float(),
            target.float(),
        ):  # where the two differ, the training mean may be far below the scale
            for row in (rows.mean(0), rows.median(0).values):
                yield from answers(kind, row.expand(target.shape), shape)
        return
    if kind in ("classes", "binary"):
        values, counts = train.unique(return_counts=True)
        for value in values[counts.argsort(descending=True)][:CLASSES]:
            yield from answers(kind, torch.full_like(target, value.item()), shape)
        return
    if kind == "multi_label" and train.dim() == 2 and train.shape[1] <= 3:
        guesses: Iterator[Tensor] = (torch.tensor(bits) for bits in product((0.0, 1.0), repeat=train.shape[1]))
    elif kind == "one_hot":
        frequent = train.float().mean(0).argsort(descending=True)[:CLASSES]
        guesses = (torch.nn.functional.one_hot(c, train.shape[1]).float() for c in frequent)
    else:
        guesses = iter([(train.float().mean(0) > 0.5).float()])
    for row in guesses:
        yield from answers(kind, row.expand(target.shape), shape)
