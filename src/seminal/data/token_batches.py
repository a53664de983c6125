"""Rows of unlike lengths in batches of about so many tokens: each batch holds rows of about one length.

Which rows stand together is a pure function of seed and epoch. The number of batches is the same in every epoch, because
it depends on the sorted lengths alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from seminal.core import Batch, Order, UserError
from seminal.data.token_store import stored
from seminal.pieces.chance import shuffled

SPREAD = 3  # tokens by which the shorter side is shaken before sorting, so that other rows meet in each epoch


class Epochs:
    """The batches of each epoch of a data set; those last asked for are kept."""

    def __init__(self, name: str, lengths: Mapping[str, np.ndarray]) -> None:
        self.name, self.lengths = name, lengths  # of each split: (rows, sides)
        self._kept: tuple[Order, list[np.ndarray]] | None = None
        self._counts: dict[tuple[str, int], int] = {}

    def all(self, order: Order) -> list[np.ndarray]:
        """The rows of each batch, over all ranks. Raises `UserError` where there is no such split."""
        lengths = self._of(order.split)
        key = Order(order.split, order.batch, order.seed, order.epoch, shuffle=order.shuffle)
        if self._kept is None or self._kept[0] != key:
            self._kept = key, buckets(lengths, key)
        return self._kept[1]

    def count(self, order: Order) -> int:
        """Batches of any epoch: asked for all epochs before the first begins, so no epoch is made for it."""
        key = order.split, order.batch
        if key not in self._counts:
            longest = np.sort(self._of(order.split).max(1))
            self._counts[key] = len(_cuts(longest, order.batch)) + 1
        return self._counts[key]

    def _of(self, split: str) -> np.ndarray:
        if split not in self.lengths:
            raise UserError(f"{self.name} has no split `{split}`. Write one of: {', '.join(self.lengths)}.")
        return self.lengths[split]

    def mine(self, order: Order) -> Iterator[np.ndarray]:
        """This rank's rows of each batch from ``order.start`` on."""
        batches = self.all(order)
        divisible(batches, order)
        for rows in batches[order.start :]:
            yield shared(rows, order)


def in_order(
    name: str, inputs: list[str], batch: int, tokens: Callable[[list[str]], list[list[int]]]
) -> Iterator[tuple[list[str], Batch]]:
    """The user's own texts in their order, at most ``batch`` at once: ``name`` (rows, longest), what ``tokens`` makes of
    each, and ``index`` (rows,)."""
    for start in range(0, len(inputs), batch):
        some = inputs[start : start + batch]
        index = np.arange(len(some))
        yield some, {name: stored([tokens(some)]).padded(index), "index": torch.from_numpy(index + start)}


def shared(rows: np.ndarray, order: Order) -> np.ndarray:
    """This rank's share of a batch. In training every rank must have a row, because all exchange gradients."""
    if order.shuffle and len(rows) < order.world:
        raise UserError(
            f"a batch of {len(rows)} rows cannot be divided among {order.world} processes: write a larger --batch-size, or "
            "start fewer processes."
        )
    return rows[order.rank :: order.world]


def divisible(batches: list[np.ndarray], order: Order) -> None:
    """Raises what `shared` does if any batch of an epoch has too few rows, as where a long row stands alone: before the first
    step, because all that was learned until that batch comes would be lost."""
    shared(min(batches, key=len), order)


def buckets(lengths: np.ndarray, order: Order) -> list[np.ndarray]:
    """The rows of each batch of an epoch, over all ranks.

    ``lengths`` (rows, sides): tokens of each side of each row. A batch of n rows whose longest side has m tokens counts
    n · m, at most ``order.batch``; a row that is longer stands alone.
    """
    count = len(lengths)
    longest = lengths.max(1)
    if order.shuffle:
        luck = shuffled(count, order.seed, order.epoch).numpy()
        other = lengths.sum(1) - longest + luck % (2 * SPREAD + 1)
        rows = np.lexsort((luck, other, longest))
    else:
        rows = np.lexsort((np.arange(count), longest))
    groups = np.split(rows, _cuts(longest[rows], order.batch))
    if not order.shuffle:
        return groups
    return [groups[i] for i in shuffled(len(groups), order.seed, order.epoch + 1_000_003).tolist()]


def _cuts(longest: np.ndarray, batch: int) -> list[int]:
    """Where the sorted rows are parted."""
    cuts = [len(longest)]
    while cuts[-1] > 0:  # from the longest row down: the last row of a batch decides what it counts
        fits = batch // max(1, int(longest[cuts[-1] - 1]))
        cuts.append(max(0, cuts[-1] - max(1, fits)))
    # What is left for the shortest rows may be a single one, which would make a noisy step: two batches share theirs.
    if len(cuts) > 2 and 2 * cuts[-2] < cuts[-3]:
        cuts[-2] = (cuts[-3] + 1) // 2
    return cuts[-2:0:-1]
