"""Plain text for models that learn words from their neighbours: each word with those around it.

A batch of `Order.batch` words holds ``word`` (B,), ``around`` (B, 2C): those before it and those after it, padding where
none stands, or where it is further away than the word looks; ``noise`` (B,): a word drawn from the noise distribution P_n;
the logarithm of P_n of all three as ``log_word``, ``log_around`` and ``log_noise``; and ``index`` (B,): the line.

Frequent words are left out at random before the neighbours are looked for, so that those of the words that stay are
further away in the text; so are words that the vocabulary does not have. Neighbours stand in the same line. All of it is a
pure function of seed, epoch and place. Validation and test meet the same luck in every epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seminal.core import Batch, DataSpec, Order, Reading, UserError
from seminal.data import stream
from seminal.data.text_rows import Known
from seminal.data.token_batches import shared
from seminal.data.token_store import digest
from seminal.data.vocabulary import Vocabulary
from seminal.pieces import neighbours
from seminal.pieces.chance import RowChance, shuffled
from seminal.pieces.draws import Draw
from seminal.pieces.tokens import PAD, SPECIAL, UNKNOWN

PART = 1 << 17  # places of the text whose luck is drawn at once: few enough to stay in a processor's cache
STUCK = 0.1  # share of words that end in a sign from which on a note says so


@dataclass(frozen=True)
class NeighbourEncoder:
    """Words and how often the training text has them. Plain data: a run keeps it as JSON."""

    text: Vocabulary
    longest: int  # C, places that are looked at on each side, at most
    subsample: float  # t
    counts: tuple[int, ...]  # of each token in the training text; 0 for special ones

    def encode(self, inputs: list[str], batch: int) -> Iterator[tuple[list[str], Batch]]:
        """``word`` (rows,) and ``index`` (rows,). Raises `UserError` for a word that the training text did not have."""
        for start in range(0, len(inputs), batch):
            some = inputs[start : start + batch]
            index = torch.arange(start, start + len(some))
            yield some, {"word": torch.tensor([self._token(word) for word in some]), "index": index}

    def _token(self, word: str) -> int:
        tokens = self.text.encode([word])[0]
        if len(tokens) != 1 or tokens[0] == UNKNOWN or not self.counts[tokens[0]]:
            raise UserError(
                f"`{word}` is none of the {sum(count > 0 for count in self.counts):,} words that this run has learned, which "
                "are written as they stand in its text and occur there often enough. Give one of them."
            )
        return tokens[0]


@dataclass(frozen=True, eq=False)
class Words:
    """One split: its known words end to end, and the line of each."""

    tokens: Tensor  # (words,) int32
    lines: Tensor  # (words,) int32, rows of the file's pieces
    numbers: np.ndarray  # the number of each line in the file, counted from 1
    place: str


@dataclass(frozen=True, eq=False)
class _Epoch:
    """The words that are kept, the order in which they are met, and the chance that belongs to their places."""

    tokens: Tensor
    lines: Tensor
    places: Tensor
    rows: np.ndarray
    seed: int
    epoch: int

    def chance(self, rows: Tensor) -> RowChance:
        return RowChance(self.seed, self.epoch, self.places[rows])

    def around(self, rows: Tensor, window: int) -> Tensor:
        """(rows, 2C) neighbours."""
        offsets = torch.cat([torch.arange(-window, 0), torch.arange(1, window + 1)])
        sizes = neighbours.distances(self.chance(rows).uniform(Draw.WINDOW), window)  # (rows, 1)
        where = rows[:, None] + offsets
        inside = where.clamp(0, len(self.tokens) - 1)
        real = (where == inside) & (offsets.abs() <= sizes) & (self.lines[inside] == self.lines[rows][:, None])
        return torch.where(real, self.tokens[inside].long(), PAD)


class NeighbourSource:
    """Plain text as batches of `Order.batch` words with their neighbours."""

    def __init__(
        self, found: stream.StreamSource, encoder: NeighbourEncoder, parts: Mapping[str, Words], device: str
    ) -> None:
        self._encoder, self.parts, self._device = encoder, parts, device
        self._kept: tuple[Order, _Epoch] | None = None  # of the epoch last asked for
        self._counts: dict[tuple[str, int, int], int] = {}  # of words that are kept, by split, seed and epoch
        words = {split: self._length(Order(split, 1)) for split in parts}
        for split, count in words.items():
            if not count:
                raise UserError(
                    f"{parts[split].place} has no word that is known and occurs often enough: give more text."
                )
        counts = {split: len(part.numbers) for split, part in parts.items()}
        self._spec = replace(found.spec, counts=counts, tokens=words, batched_by="tokens", notes=self._notes(found))

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def encoder(self, scaling: str) -> NeighbourEncoder:
        return self._encoder

    def steps(self, order: Order) -> int:
        return -(-self._length(order) // order.batch)

    def batches(self, order: Order) -> Iterator[Batch]:
        """The batches from ``order.start`` on: this rank's words of each."""
        met, (cumulative, logs) = self._met(order), self._noise
        for first in range(order.start * order.batch, len(met.rows), order.batch):
            rows = torch.from_numpy(shared(met.rows[first : first + order.batch], order))
            luck = met.chance(rows).uniform(Draw.NOISE_WORD)[:, 0].double()
            noise = torch.searchsorted(cumulative, luck, right=True)
            word, around = met.tokens[rows].long(), met.around(rows, self._encoder.longest)
            batch = {"word": word, "around": around, "noise": noise, "index": met.lines[rows].long()}
            batch |= {f"log_{name}": logs[batch[name]] for name in ("word", "around", "noise")}
            yield {name: values.to(self._device) for name, values in batch.items()}

    def digests(self) -> dict[str, str]:
        """What tells the words of each split from others in the same lines."""
        return {split: digest(part.tokens.numpy(), part.lines.numpy()) for split, part in self.parts.items()}

    def name(self, split: str, index: int) -> str:
        """ "train.txt:17": the file, and the line."""
        return f"{self.parts[split].place}:{self.parts[split].numbers[index]}"

    @cached_property
    def _noise(self) -> tuple[Tensor, Tensor]:
        """Of P_n: its sums up to each word, the last of which is beyond all luck, and its logarithms."""
        shares = neighbours.noise(torch.tensor(self._encoder.counts))
        cumulative = shares.cumsum(0)
        cumulative[int(shares.nonzero().max()) :] = 2.0
        return cumulative, shares.clamp_min(shares[shares > 0].min()).log().float()

    def _met(self, order: Order) -> _Epoch:
        key = Order(order.split, order.batch, order.seed, order.epoch, shuffle=order.shuffle)
        if self._kept is None or self._kept[0] != key:
            self._kept = key, self._epoch(key)
        return self._kept[1]

    def _epoch(self, order: Order) -> _Epoch:
        part, (seed, epoch) = self._part(order), _luck(order)
        places = torch.cat([torch.empty(0, dtype=torch.bool), *self._stays(order)]).nonzero()[:, 0]
        self._counts[order.split, seed, epoch] = len(places)
        rows = shuffled(len(places), seed, epoch) if order.shuffle else torch.arange(len(places))
        rows = rows[: self._length(order)]
        return _Epoch(part.tokens[places], part.lines[places], places, rows.numpy(), seed, epoch)

    def _length(self, order: Order) -> int:
        """Words that are met in an epoch. It is asked for all epochs before the first begins: they are counted, and nothing
        else is made of them."""
        key = order.split, *_luck(order)
        if key not in self._counts:
            self._counts[key] = sum(int(stays.sum()) for stays in self._stays(order))
        count = self._counts[key]
        # A last batch of few words would be a noisy step: they wait for another epoch.
        return min(count, max(1, count // order.batch) * order.batch) if order.shuffle else count

    def _stays(self, order: Order) -> Iterator[Tensor]:
        """Which words are kept, part by part. Those that always are need no luck."""
        tokens = self._part(order).tokens
        for first in range(0, len(tokens), PART):
            chances = self._chances[tokens[first : first + PART]]
            unsure = (chances < 1).nonzero()[:, 0]
            luck = RowChance(*_luck(order), unsure + first).uniform(Draw.KEPT_WORD)[:, 0]
            yield torch.ones_like(chances, dtype=torch.bool).index_copy_(0, unsure, luck < chances[unsure])

    @cached_property
    def _chances(self) -> Tensor:
        """That an occurrence of each word is kept."""
        counts = torch.tensor(self._encoder.counts, dtype=torch.float64)
        return neighbours.kept(counts / counts.sum(), self._encoder.subsample).float()

    def _part(self, order: Order) -> Words:
        if order.split not in self.parts:
            raise UserError(f"{self._spec.name} has no split `{order.split}`. Write one of: {', '.join(self.parts)}.")
        return self.parts[order.split]

    def _notes(self, found: stream.StreamSource) -> tuple[str, ...]:
        encoder = self._encoder
        if "train" not in self.parts:
            return found.spec.notes
        words = [word for word, count in zip(encoder.text.shown(range(len(encoder.text))), encoder.counts) if count]
        stuck = sum(len(word) > 1 and not word[-1].isalnum() for word in words) / max(1, len(words))
        notes = [f"{len(words):,} words are learned; of the others nothing is"]
        if encoder.subsample:
            left = 1 - self._length(Order("train", 1)) / max(1, len(self.parts["train"].tokens))
            notes.append(f"{left:.0%} of the training words are left out in an epoch: occurrences of frequent ones")
        if stuck > STUCK and encoder.text.kind == "words":
            notes.append(
                f"{stuck:.0%} of the words end in a sign: `king,` is learned as another word than `king`. Put spaces around "
                "punctuation for better vectors"
            )
        return (*found.spec.notes, *notes)


def read(path: Path, reading: Reading, ask: stream.StreamAsk, device: str = "cpu") -> NeighbourSource:
    """The text of a file, whose last part is held out, or of a folder. Raises `UserError` as `stream.read` does, and where
    no word is left."""
    known = ask.known.encoder if ask.known else None
    if known is not None:
        assert isinstance(known, NeighbourEncoder)
        assert ask.known is not None
        ask = replace(ask, known=Known(stream.StreamEncoder(known.text, known.longest), whole=ask.known.whole))
    found = stream.read(path, reading, ask)
    parts = {split: _words(part) for split, part in found.parts.items()}
    if known is None:
        text = found.encoder("none").text
        counts = np.bincount(parts["train"].tokens.numpy(), minlength=len(text)).tolist()
        if sum(count > 0 for count in counts) < 2:
            raise UserError(
                f"{parts['train'].place} has fewer than two words that occur {reading.least} times: give more text."
            )
        known = NeighbourEncoder(text, reading.longest, reading.subsample or 0.0, tuple(counts))
    return NeighbourSource(found, known, parts, device)


def _luck(order: Order) -> tuple[int, int]:
    """Seed and epoch. Validation and test meet the same luck in every epoch."""
    return (order.seed, order.epoch) if order.shuffle else (0, 0)


def _words(part: stream.Stream) -> Words:
    lines = np.repeat(np.arange(len(part.tokens), dtype=np.int32), part.tokens.lengths)
    real = np.flatnonzero(part.tokens.flat >= len(SPECIAL))
    tokens = torch.from_numpy(np.ascontiguousarray(part.tokens.flat[real]))
    return Words(tokens, torch.from_numpy(lines[real]), part.numbers, part.place)
