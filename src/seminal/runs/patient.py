"""A run of ours, as the doctor takes programs: the same model, data, loss and schedule, under the names of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seminal.core import Batch, Order, Recipe, Source, UserError
from seminal.doctor.program import Program
from seminal.pieces.mixing import mixes
from seminal.runs.borrowing import load
from seminal.runs.plan import Plan, model_of
from seminal.tasks.classification import Classification
from seminal.tasks.regression import Regression
from seminal.train.evaluate import scored
from seminal.train.loop import total_steps
from seminal.train.optimisers import optimisers
from seminal.train.schedules import needs_scores
from seminal.train.transfer import keep_still, prepared


def patient(plan: Plan, source: Source, device: torch.device) -> OwnRun:
    """The run as a program. Raises `UserError` for tasks that have no one answer for each row."""
    recipe = plan.recipe
    batch = next(source.batches(Order("train", recipe.batch, recipe.seed)))
    if not isinstance(recipe.task, Classification | Regression) or not {"input", "target"} <= batch.keys():
        raise UserError(
            f"the doctor examines classifiers and regressions, and {recipe.variant} is trained on {source.spec.form}. What "
            "was noted while it trained stands in its report."
        )

    return OwnRun(plan, source, device)


@dataclass(frozen=True)
class OwnRun:
    """Makes the run anew as a program, for each experiment; see `seminal.doctor.program.OfRecipe`."""

    plan: Plan
    source: Source
    device: torch.device

    @property
    def recipe(self) -> Recipe:
        return self.plan.recipe

    @property
    def mixing(self) -> str:
        """What is left out, for a program has one target for each row; empty: nothing."""
        return " and ".join(type(each).__name__ for each in self.recipe.augment if mixes(each))

    @property
    def says_words(self) -> bool:
        """Whether the words of a text are learned beside its label: they are left out, for a program has one output."""
        task = self.recipe.task
        return isinstance(task, Classification | Regression) and task.language > 0

    def following(self, recipe: Recipe) -> OwnRun:
        """The run with another recipe."""
        return replace(self, plan=replace(self.plan, recipe=recipe))

    def __call__(self, seed: int) -> Program:
        mine, source = replace(self.recipe, seed=self.recipe.seed + seed), self.source
        plan = replace(self.plan, recipe=mine)
        model = model_of(plan, self.device)
        load(model, plan)
        rates = prepared(model, mine.transfer)
        (optimizer,) = optimisers(mine.task.players(model), mine.optim, rates).values()
        for group in optimizer.param_groups:
            group["lr"] = mine.lr * group["rate"]
        augment = tuple(each for each in mine.augment if not mixes(each))
        train = Batches(
            source, Order("train", mine.batch, mine.seed, shuffle=True, augment=augment, scaling=mine.scaling)
        )
        val = Batches(source, Order("val", mine.batch, scaling=mine.scaling))
        steps = total_steps(source, mine)
        return Program(
            model,
            _Loss(mine),
            optimizer,
            train,
            val,
            max(1, round(steps / len(train))),
            _Metric(mine),
            _Step(mine, steps, train, val),
        )


@dataclass
class Batches:
    """A split of a source, epoch after epoch. Who only looks at some batches finds the same ones again."""

    source: Source
    order: Order
    epoch: int = field(default=0, init=False, compare=False)

    def __len__(self) -> int:
        return self.source.steps(self.order)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.source.batches(replace(self.order, epoch=self.epoch if self.order.shuffle else 0)):
            yield batch["input"], batch["target"]
        self.epoch += 1

    def in_order(self) -> Batches:
        """The rows as they stand in the data."""
        return Batches(self.source, replace(self.order, shuffle=False, augment=()))


class _Said(nn.Module):
    """A model that has already answered: tasks ask models, and here the answer is there."""

    def __init__(self, out: Tensor) -> None:
        super().__init__()
        self.out = out

    def forward(self, *_: Any) -> Tensor:
        return self.out


def _batch(target: Tensor) -> Batch:
    return {"input": target, "target": target, "index": torch.arange(len(target), device=target.device)}


@dataclass(frozen=True)
class _Loss:
    recipe: Recipe

    def __call__(self, out: Tensor, target: Tensor) -> Tensor:
        task = self.recipe.task
        task = replace(task, language=0.0) if isinstance(task, Classification | Regression) else task
        turn = next(iter(task.turns(_Said(out), _batch(target))))
        return turn.loss / turn.weight


@dataclass(frozen=True)
class _Metric:
    """The metric by which the recipe chooses its best epoch, turned so that higher is better."""

    recipe: Recipe

    def __call__(self, out: Tensor, target: Tensor) -> float:
        task = self.recipe.task
        found = task.summary(task.score(_Said(out), _batch(target)))[task.goal.metric]
        return found if task.goal.higher else -found


@dataclass
class _Step:
    """A step of the recipe: its schedule on top of whatever rates the optimiser was given, and its clipping."""

    recipe: Recipe
    steps: int
    train: Batches
    val: Batches
    done: int = field(default=0, init=False)
    epoch: int = field(default=0, init=False)
    rates: list[float] = field(default_factory=list, init=False)
    scores: list[float] = field(default_factory=list, init=False)  # of the epochs, where the rate waits for them

    def __call__(self, model: nn.Module, loss: Any, optimizer: Optimizer, input: Any, target: Any) -> Tensor:
        self.rates = self.rates or [group["lr"] for group in optimizer.param_groups]
        if self.done and self.train.epoch != self.epoch and needs_scores(self.recipe.schedule):
            self.scores.append(self._error(model))
        self.epoch = self.train.epoch
        keep_still(model, self.recipe.transfer)
        factor = self.recipe.schedule(min(self.done, self.steps - 1), self.steps, tuple(self.scores))
        for group, rate in zip(optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        optimizer.zero_grad()
        value: Tensor = loss(model(input), target)
        value.backward()
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), self.recipe.clip)
        optimizer.step()
        self.done += 1
        return value.detach()

    def _error(self, model: nn.Module) -> float:
        """As a run's own validation at the end of an epoch."""
        task = self.recipe.task
        found = task.summary(scored(model, self.val.source, self.recipe, self.val.order))[task.goal.metric]
        model.train()
        return -found if task.goal.higher else found
