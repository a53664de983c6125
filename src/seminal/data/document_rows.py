"""Which stretches of which documents stand in a row, for a whole epoch at once.

All documents are walked side by side, a row of each at a time: no loop is over tokens, and none over rows but where there
is one document alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from seminal.core import Order
from seminal.data.token_batches import buckets
from seminal.pieces.chance import RowChance
from seminal.pieces.draws import Draw

SHORTER = 0.1  # of the rows are shorter than they could be (the authors' program), so that short texts are known too
BLOCK = 1 << 20  # units whose luck is drawn at once, about
FINE = 2.0**-24  # of a number by chance: two of them tell more than 2²⁴ places apart


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of an epoch."""

    units: np.ndarray  # (rows,) the unit with which each begins
    starts: np.ndarray  # (rows, parts) the first token of A, and of B
    stops: np.ndarray  # (rows, parts) the one after the last
    follows: np.ndarray  # (rows,) whether B follows A

    def __len__(self) -> int:
        return len(self.units)

    @property
    def lengths(self) -> np.ndarray:
        """(rows,) tokens, ``<s>`` and the ``</s>`` after each part included."""
        lengths: np.ndarray = (self.stops - self.starts + 1).sum(1) + 1
        return lengths


@dataclass(frozen=True, eq=False)
class Units:
    """Where units begin and end. Two of them fit into a row, so that A can end between them."""

    starts: np.ndarray  # (units + 1,) the first token of each, and one more
    documents: np.ndarray  # (documents + 1,) the first unit of each document, and one more
    longest: int  # tokens of a row, the special ones included
    two: bool  # a row has two parts

    @property
    def room(self) -> int:
        """Tokens of a row that are not special."""
        return self.longest - 2 - self.two

    @property
    def least(self) -> int:
        """Rows that an epoch has at least, whatever its luck: each document, in full rows."""
        return int((-(-np.diff(self.starts[self.documents]) // self.room)).sum())

    def rows(self, seed: int, epoch: int) -> Rows:
        """The rows of an epoch."""
        found: list[Rows] = []
        blocks = np.searchsorted(self.documents, np.arange(0, self.documents[-1], BLOCK))
        for first, stop in zip(blocks, [*blocks[1:], len(self.documents) - 1]):
            begins, ends = self.documents[first:stop], self.documents[first + 1 : stop + 1]
            if not len(begins):
                continue
            units = torch.arange(int(begins[0]), int(ends[-1]))
            luck = RowChance(seed, epoch, units).uniform(Draw.TWO_PARTS, 6).numpy()
            at, offset = begins, begins[0]
            while len(at):
                rows, at = self._next(at, begins, ends, luck[at - offset].astype(np.float64))
                found.append(rows)
                left = at < ends
                at, begins, ends = at[left], begins[left], ends[left]
        columns = zip(*((rows.units, rows.starts, rows.stops, rows.follows) for rows in found))
        return Rows(*(np.concatenate(column) for column in columns))

    def _next(self, at: np.ndarray, begins: np.ndarray, ends: np.ndarray, luck: np.ndarray) -> tuple[Rows, np.ndarray]:
        """A row of each document, from the units ``at`` on, and where the next one begins. ``begins`` and ``ends`` are of
        these documents."""
        shorter = 2 + (luck[:, 1] * (self.room - 1)).astype(np.int64)
        wanted = np.where(luck[:, 0] < SHORTER, shorter, self.room)
        stop = np.minimum(np.maximum(self._full(at, wanted), at + 1 + self.two), ends)
        if not self.two:
            starts, stops = self.starts[at][:, None], self.starts[stop][:, None]
            return Rows(at, starts, stops, np.zeros(len(at), dtype=bool)), stop
        middle = at + 1 + (luck[:, 2] * (stop - at - 1)).astype(np.int64)
        starts, stops = self.starts[np.stack([at, middle], 1)], self.starts[np.stack([middle, stop], 1)]
        other = (luck[:, 3] < 0.5) | (middle == stop)  # of a single unit nothing is left that could follow
        # Any unit of all other documents.
        size = ends - begins
        place = ((luck[:, 4] + luck[:, 5] * FINE) * (self.documents[-1] - size)).astype(np.int64)
        place += np.where(place >= begins, size, 0)
        filled = np.maximum(wanted, stops[:, 1] - starts[:, 0]) - (stops[:, 0] - starts[:, 0])
        last = self.documents[np.searchsorted(self.documents, place, side="right")]
        until = self.starts[np.minimum(np.maximum(self._full(place, filled), place + 1), last)]
        most = self.starts[place] + self.room - (stops[:, 0] - starts[:, 0])
        starts[:, 1] = np.where(other, self.starts[place], starts[:, 1])
        stops[:, 1] = np.where(other, np.minimum(until, most), stops[:, 1])
        return Rows(at, starts, stops, ~other), np.where(other, middle, stop)

    def _full(self, first: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The unit before which to stop, to have at most so many ``tokens`` from the unit ``first`` on."""
        return np.searchsorted(self.starts, self.starts[first] + tokens, side="right") - 1


def groups(lengths: np.ndarray, count: int, order: Order) -> list[np.ndarray]:
    """The rows (of ``lengths``) of each of ``count`` batches, which hold about `Order.batch` tokens: a little more where the
    epoch has more rows than that is enough for, less where it has fewer. There are at least ``count`` rows."""
    found = buckets(lengths[:, None], order)
    while len(found) > count:
        order = replace(order, batch=order.batch + order.batch // 64 + 1)
        found = buckets(lengths[:, None], order)
    while len(found) < count:
        most = max(range(len(found)), key=lambda place: len(found[place]))
        found[most : most + 1] = np.array_split(found[most], 2)
    return found
