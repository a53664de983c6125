"""What remedies change in a recipe of ours. A recipe that has no place for a change comes back as it was."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from seminal.core import DECOUPLED, WITH_MOMENTUM, Optim, Recipe

Change = Callable[[Recipe], Recipe]


def rate(factor: float) -> Change:
    """The learning rate times a factor."""
    return lambda recipe: replace(recipe, lr=recipe.lr * factor)


def adam(lr: float) -> Change:
    """Adam, or AdamW where there was one; weight decay stays what it was."""

    def change(recipe: Recipe) -> Recipe:
        name = "adamw" if recipe.optim.name in DECOUPLED else "adam"
        return replace(recipe, lr=lr, optim=_other(recipe.optim, name))

    return change


def corrected(recipe: Recipe) -> Recipe:
    """AdamW for an Adam without bias correction."""
    name = "adamw" if recipe.optim.name == "bertadam" else recipe.optim.name
    return replace(recipe, optim=replace(recipe.optim, name=name))


def sgd(lr: float, momentum: float) -> Change:
    """Stochastic gradient descent; weight decay stays what it was."""
    return lambda recipe: replace(recipe, lr=lr, optim=replace(_other(recipe.optim, "sgd"), momentum=momentum))


def _other(optim: Optim, name: str) -> Optim:
    """Another optimiser with its own usual numbers, and the decay of this one."""
    return Optim(name, weight_decay=optim.weight_decay, decay_all=optim.decay_all)


def momentum(amount: float) -> Change:
    """Momentum, for an optimiser that takes one."""

    def change(recipe: Recipe) -> Recipe:
        takes = recipe.optim.name in WITH_MOMENTUM
        return replace(recipe, optim=replace(recipe.optim, momentum=amount)) if takes else recipe

    return change


def longer(factor: float) -> Change:
    """More epochs, and a schedule that reaches as far."""

    def change(recipe: Recipe) -> Recipe:
        steps = None if recipe.steps is None else math.ceil(recipe.steps * factor)
        return replace(recipe, epochs=max(1, math.ceil(recipe.epochs * factor)), steps=steps)

    return change


def batch(size: int, rule: str) -> Change:
    """Batches of another size; the learning rate stays, or goes with the size ("linear") or its square root ("sqrt")."""

    def change(recipe: Recipe) -> Recipe:
        scale = {"": 1.0, "linear": size / recipe.batch, "sqrt": math.sqrt(size / recipe.batch)}[rule]
        return replace(recipe, batch=size, lr=recipe.lr * scale)

    return change


def clipped(norm: float | None) -> Change:
    """The gradient's norm limited, or (None) not."""
    return lambda recipe: replace(recipe, clip=norm)


def no_decay(recipe: Recipe) -> Recipe:
    """No weight decay."""
    return replace(recipe, optim=replace(recipe.optim, weight_decay=0.0))


def more_decay(factor: float) -> Change:
    """More weight decay: times the factor, and at least a usual amount."""

    def change(recipe: Recipe) -> Recipe:
        least = 0.1 if recipe.optim.name in DECOUPLED else 1e-3
        decay = max(least, factor * recipe.optim.weight_decay)
        return replace(recipe, optim=replace(recipe.optim, weight_decay=decay))

    return change


def unfrozen(recipe: Recipe) -> Recipe:
    """Of a run that began with other weights and kept them still, all parameters learn."""
    if recipe.transfer is None or not recipe.transfer.freeze:
        return recipe
    return replace(recipe, transfer=replace(recipe.transfer, freeze=False, body_rate=recipe.body_rate))


def no_dropout(recipe: Recipe) -> Recipe:
    """No dropout, where the network's config has a number for it."""
    return replace(recipe, model=_set(recipe.model, "dropout", 0.0))


def smoothed(epsilon: float) -> Change:
    """Label smoothing, where the task has a number for it."""
    return lambda recipe: replace(recipe, task=_set(recipe.task, "label_smoothing", epsilon))


def _set(part: Any, name: str, value: float) -> Any:
    return replace(part, **{name: value}) if name in {field.name for field in dataclasses.fields(part)} else part
