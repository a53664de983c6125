"""Facts of the rows themselves, before any network sees them: scales, holes, copies, labels, their order, and whether
training and validation look like the same data.

Everything is measured when it is first asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from seminal.doctor.rows import Rows, fingerprints
from seminal.pieces import two_sample

MOST = 2000  # rows of a split that are compared where pairs or permutations are looked at
BUCKETS = 500  # different tokens told apart
CELLS = 2000  # places × tokens, up to which each place of a sequence has its own columns
CLASSES = 300  # different labels, at most: more are numbers, or words of a vocabulary
COLUMNS = 64  # features looked at one by one
NEIGHBOURS = 10  # on either side, for what a feature tells by itself


@dataclass(frozen=True)
class DataFacts:
    """The rows of both splits. ``kind`` is that of the task: see `seminal.doctor.anatomy`."""

    train: Rows
    val: Rows
    kind: str

    def alike(self, other: DataFacts) -> bool:
        """Whether they are facts of the same rows, asked for the same."""
        pairs = ((self.train, other.train), (self.val, other.val))
        return self.kind == other.kind and all(
            _same(a.inputs, b.inputs) and _same(a.targets, b.targets) for a, b in pairs
        )

    # ----------------------------------------------------------------------------------------------------- inputs

    @cached_property
    def tokens(self) -> int:
        """Different tokens where the inputs are tokens (whole numbers), else 0."""
        if self.train.inputs.is_floating_point() or self.train.inputs.is_complex():
            return 0
        return 1 + max(int(rows.inputs.max()) for rows in (self.train, self.val) if rows.inputs.numel())

    @cached_property
    def x(self) -> Tensor:
        """(n, d) features of the training rows: values one after the other, or which tokens there are."""
        return self._features(self.train.inputs)

    @cached_property
    def v(self) -> Tensor:
        """(n, d) the same of the validation rows."""
        return self._features(self.val.inputs)

    def _features(self, inputs: Tensor, known: Tensor | None = None) -> Tensor:
        """``known``: the tokens that count."""
        if not self.tokens:
            return inputs.flatten(1).double().nan_to_num(0.0, 0.0, 0.0)
        tokens, letters = inputs.flatten(1) % BUCKETS, min(self.tokens, BUCKETS)
        there = torch.nn.functional.one_hot(tokens.long(), letters).double()
        there = there if known is None else there * known.flatten(1)[:, :, None]
        return there.flatten(1) if tokens.shape[1] * letters <= CELLS else there.sum(1)

    @property
    def scale(self) -> tuple[float, float, float]:
        """Of the training inputs: the typical size of a feature's mean, the typical standard deviation, and how many times
        the largest standard deviation of a feature is that of the smallest. Constant features do not count."""
        std = self.x.std(0)
        varies = std > 1e-9 * self.x.abs().amax(0).clamp_min(1e-30)
        if not bool(varies.any()):
            return float(self.x.abs().mean()), 0.0, 1.0
        std, mean = std[varies], self.x.mean(0)[varies]
        # Some pixels of most pictures hardly ever change: of many features, the lowest quarter does not count.
        ends = torch.tensor([0.25, 0.95] if len(std) > 40 else [0.0, 1.0], dtype=std.dtype)
        low, high = std.quantile(ends).tolist()
        return float(mean.abs().median()), float(std.square().mean().sqrt()), high / max(low, 1e-30)

    @property
    def offset(self) -> float:
        """How many times its own spread the mean of a feature is, in the median over the features that vary."""
        std = self.x.std(0)
        varies = std > 1e-9 * self.x.abs().amax(0).clamp_min(1e-30)
        return float((self.x.mean(0)[varies].abs() / std[varies]).median()) if bool(varies.any()) else 0.0

    @property
    def constant(self) -> int:
        """Features that are the same in every training row."""
        return int((self.x.amax(0) == self.x.amin(0)).sum())

    # ----------------------------------------------------------------------------------------------------- copies

    @cached_property
    def group(self) -> Tensor:
        """(n,) a number for each training row; copies have the same one."""
        return self._groups[0]

    @cached_property
    def val_group(self) -> Tensor:
        """(n,) the same for the validation rows, with the numbers of the training rows."""
        return self._groups[1]

    @cached_property
    def _groups(self) -> tuple[Tensor, Tensor]:
        numbers: dict[bytes, int] = {}
        keys = [key for rows in (self.train, self.val) for key in fingerprints(rows.inputs)]
        found = torch.tensor([numbers.setdefault(key, len(numbers)) for key in keys])
        return found[: len(self.train)], found[len(self.train) :]

    @property
    def repeated(self) -> float:
        """Share of the training rows that occurred before."""
        return 1 - len(self.group.unique()) / len(self.group)

    @property
    def seen(self) -> Tensor:
        """(n,) whether a validation row is a copy of a training row."""
        return torch.isin(self.val_group, self.group)

    @property
    def room(self) -> float:
        """Natural logarithm of how many different rows there could be, if features were free of one another. Where this
        is not far above the number of rows, copies are chance."""
        x = self.train.inputs.flatten(1)
        return sum(math.log(len(column.unique())) for column in x[:MOST, : 4 * COLUMNS].T)

    # ----------------------------------------------------------------------------------------------------- labels

    @cached_property
    def labels(self) -> tuple[Tensor, Tensor] | None:
        """(n,) classes of training and validation rows, numbered 0, 1, …; None where targets are no classes."""
        return classes_of(self.train.targets, self.val.targets, self.kind)

    @property
    def shares(self) -> Tensor:
        """(2, classes) share of each class in training and validation."""
        assert self.labels is not None
        count = 1 + int(torch.cat(self.labels).max())
        return torch.stack([torch.bincount(y, minlength=count) / len(y) for y in self.labels])

    @cached_property
    def goal(self) -> Tensor | None:
        """(n, k) what is to be told from the training rows: classes as unit vectors, or numbers."""
        if self.labels is not None:
            return torch.eye(1 + int(self.labels[0].max()), dtype=torch.double)[self.labels[0]]
        if self.kind not in ("regression", "multi_label"):
            return None
        return self.train.targets.reshape(len(self.train), -1).double().nan_to_num(0.0)

    @cached_property
    def alone(self) -> Tensor:
        """(d,) how well each feature tells the answer by itself: accuracy, or R², of the mean of the rows beside it when
        the rows are sorted by that feature. Only the `COLUMNS` features that vary most with the answer are looked at; the
        others are 0."""
        assert self.goal is not None
        row = torch.randperm(len(self.x), generator=torch.Generator().manual_seed(0))[:MOST]  # ties in random order
        x, y = self.x[row], self.goal[row]
        z, t = two_sample.standardised(x), two_sample.standardised(y)
        chosen = (z.T @ t).square().sum(1).topk(min(COLUMNS, x.shape[1])).indices
        order = x[:, chosen].argsort(0)
        told = _beside(y[order])  # (n, chosen, k)
        truth = y[order]
        scores = torch.zeros(x.shape[1], dtype=torch.double)
        if self.labels is not None:
            scores[chosen] = (told.argmax(2) == truth.argmax(2)).double().mean(0)
        else:
            scores[chosen] = 1 - (told - truth).square().sum((0, 2)) / (y - y.mean(0)).square().sum().clamp_min(1e-300)
        return scores * (x.amax(0) > x.amin(0))

    # ------------------------------------------------------------------------------------------------ both splits

    @cached_property
    def apart(self) -> two_sample.TwoSample:
        """The classifier two-sample test of training against validation rows.

        Tokens that training never shows, such as the one for an unknown word where all words of training are known, are
        in validation alone by their nature, and are not compared."""
        v = self.v
        if self.tokens:
            v = self._features(self.val.inputs, torch.isin(self.val.inputs, self.train.inputs.unique()))
        a, b = (spaced(part, MOST // 2) for part in (self.x, v))
        return two_sample.compared(a, b, permutations=99)


def classes_of(train: Tensor, val: Tensor, kind: str) -> tuple[Tensor, Tensor] | None:
    """Targets of both splits as classes 0, 1, …, in the order of their values."""
    if kind == "one_hot":
        return train.flatten(1).argmax(1), val.flatten(1).argmax(1)
    flat = [target.reshape(len(target), -1) for target in (train, val)]
    if kind not in ("classes", "binary") or any(part.shape[1] != 1 for part in flat):
        return None
    both = torch.cat(flat)[:, 0]
    values, code = (
        both.nan_to_num(-1.0).unique(return_inverse=True)
        if both.is_floating_point()
        else both.unique(return_inverse=True)
    )
    if len(values) > CLASSES:
        return None
    # Whole numbers from 0 keep their own: a class that is missing in both splits stays a class.
    if bool((values == values.round()).all()) and values.min() >= 0 and values.max() < CLASSES:
        code = both.nan_to_num(-1.0).long() if both.is_floating_point() else both
    return code[: len(train)], code[len(train) :]


def _same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a, b)


def spaced(rows: Tensor, most: int) -> Tensor:
    """At most so many rows, spread evenly."""
    return rows if len(rows) <= most else rows[torch.linspace(0, len(rows) - 1, most).round().long()]


def _beside(sorted_rows: Tensor) -> Tensor:
    """(n, …) mean of the `NEIGHBOURS` rows before and after each row, without the row itself."""
    n = len(sorted_rows)
    sums = torch.cat([torch.zeros_like(sorted_rows[:1]), sorted_rows.cumsum(0)])
    place = torch.arange(n)
    low, high = (place - NEIGHBOURS).clamp_min(0), (place + NEIGHBOURS + 1).clamp_max(n)
    count = (high - low - 1).clamp_min(1).double().reshape(-1, *[1] * (sorted_rows.dim() - 1))
    return (sums[high] - sums[low] - sorted_rows) / count


@dataclass(frozen=True)
class Order:
    """How the answers come, batch by batch."""

    clumped: float  # 0: batches are like random draws; 1: all answers of a batch are the same
    batches: int  # that were looked at
    batch: int
    pure: float  # share of the batches that hold one answer only


def order(loader: Iterable[tuple[Any, Any]], facts: DataFacts, most: int = 200) -> Order | None:
    """Reads up to ``most`` batches as training would. ``clumped`` is the intraclass correlation of the answers: the
    variance of batch means, against what it is for random draws (1 / batch of the variance of the answers)."""
    if facts.goal is None:
        return None
    targets = []
    for _, target in loader:
        targets.append(target)
        if len(targets) == most:
            break
    if len(targets) > 1:
        targets = [target for target in targets if len(target) == len(targets[0])]  # not the rest at the end
    size = len(targets[0])
    if size == 1:  # one row a step: sixteen steps count as a batch
        size = 16
        targets = list(torch.cat(targets).split(size))
        targets = [target for target in targets if len(target) == size]
    if len(targets) < 4:
        return None
    y = torch.cat(targets)
    labels = classes_of(facts.train.targets, y, facts.kind)
    if labels is not None:
        count = 1 + int(torch.cat(labels).max())
        own, all_ = torch.eye(count, dtype=torch.double)[labels[1]], torch.eye(count, dtype=torch.double)[labels[0]]
    else:
        own, all_ = y.reshape(len(y), -1).double(), facts.goal
    batches = own.reshape(len(targets), size, -1)
    spread = (all_ - all_.mean(0)).square().mean(0).sum().clamp_min(1e-300)
    ratio = float((batches.mean(1) - all_.mean(0)).square().mean(0).sum() * size / spread)
    pure = float((batches == batches[:, :1]).all(2).all(1).double().mean())
    return Order(max(0.0, (ratio - 1) / (size - 1)), len(targets), size, pure)
