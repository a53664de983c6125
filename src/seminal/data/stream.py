"""Plain text for language models: one file, or a folder with a training set, a validation set and any test sets.

A split is one long row of tokens, and a line end stands before it, so that its first token is predicted too. A batch holds
``text`` (rows, T + 1), of which a model reads all but the last and says all but the first, and ``index``: the window of T
tokens in which the row begins. Padding stands only at the end of a split.

In training, rows are windows at a place that changes with the epoch, shuffled; or, for a model that carries its state, the
split is cut into as many equal parts as a batch has rows, and each batch goes on where the one before it ended. In order
(validation, test), every token is said exactly once: window after window; or, with a state, in a few long rows, each of
which first reads the ``context`` (rows,) tokens before its part, which are not scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from seminal.core import Batch, DataSpec, Order, Reading, UserError
from seminal.data import lines as text_lines
from seminal.data.split import Fold, Holdout
from seminal.data.stream_text import ENDINGS, Parting, StreamText, between_words, held_out
from seminal.data.text_rows import Known, files_in, learned_from, unknown_note
from seminal.data.token_batches import in_order, shared
from seminal.data.token_store import TokenStore, digest, stored
from seminal.data.vocabulary import Vocabulary, learned
from seminal.pieces.chance import shuffled
from seminal.pieces.tokens import END, PAD

CHUNK = 2_000  # pieces of text encoded at once
CONTEXT = 256  # tokens that a row of a carried split reads before those that are scored
LONGEST_ROW = 1 << 16  # tokens of such a row, at most


@dataclass(frozen=True)
class StreamEncoder:
    """How text becomes tokens. Plain text: a run keeps it as JSON."""

    text: Vocabulary
    longest: int
    first: tuple[int, ...] | None = None  # what a text begins after; None: a line end

    def begin(self) -> list[int]:
        """What a text begins after, so that its first token is predicted too."""
        return self.text.encode(["\n"])[0] if self.first is None else list(self.first)

    def read_on(self, tokens: list[int]) -> list[int]:
        """What a model reads to write on after these tokens: a line end goes before them. A model of others that begins a
        text otherwise reads them alone, as their own programs have it, and its beginning only where there are none."""
        return tokens if tokens and self.first is not None else [*self.begin(), *tokens]

    def shown(self, tokens: list[int]) -> str:
        """Text that a model wrote. That of a model of others ends where its ending stands."""
        ended = self.first is not None and END in tokens
        return self.text.decode(tokens[: tokens.index(END)] if ended else tokens)

    def encode(self, inputs: list[str], batch: int) -> Iterator[tuple[list[str], Batch]]:
        """Texts in their order, at most ``batch`` at once, each after a line end: ``text`` (rows, n), ``index`` (rows,).
        Of a text that is longer than a window, the end."""
        yield from in_order("text", inputs, batch, self._rows)

    def _rows(self, texts: list[str]) -> list[list[int]]:
        return [[*self.begin(), *row][-self.longest - 1 :] for row in self.text.encode(texts)]


@dataclass(frozen=True, eq=False)
class Stream:
    """One split: its tokens end to end. Rows of the store are lines, or parts of lines too long to be read at once."""

    tokens: TokenStore
    numbers: np.ndarray  # the line of each row of the store, counted from 1
    place: str
    words: int
    bytes: int

    @property
    def said(self) -> int:
        """Tokens that are predicted: all but the line end before the first."""
        return len(self.tokens.flat) - 1


@dataclass(frozen=True)
class _Windows:
    """Rows of an epoch in the order of the batches: from each of ``starts`` on ``length`` tokens are said, up to ``end``."""

    starts: np.ndarray
    length: int
    end: int  # tokens to be said in all
    context: int = 0

    def batch(self, starts: np.ndarray, flat: np.ndarray) -> Batch:
        """``text``, and ``context`` where there is any."""
        first = np.maximum(0, starts - self.context)
        stop = np.minimum(starts + self.length, self.end) + 1
        places = first[:, None] + np.arange(int((stop - first).max()) if len(starts) else 0)
        real = places < stop[:, None]
        text = np.full(places.shape, PAD, dtype=np.int64)
        text[real] = flat[places[real]]
        context = {"context": torch.from_numpy(starts - first)} if self.context else {}
        return {"text": torch.from_numpy(text), **context}


class StreamSource:
    """Plain text as batches of `Order.batch` rows."""

    def __init__(
        self, spec: DataSpec, encoder: StreamEncoder, parts: Mapping[str, Stream], carried: bool, device: str
    ) -> None:
        self._spec, self._encoder, self.parts, self._carried, self._device = spec, encoder, parts, carried, device
        self._kept: tuple[Order, _Windows] | None = None  # of the epoch last asked for

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def encoder(self, scaling: str) -> StreamEncoder:
        return self._encoder

    def steps(self, order: Order) -> int:
        return -(-len(self._windows(order).starts) // order.batch)

    def batches(self, order: Order) -> Iterator[Batch]:
        """The batches from ``order.start`` on: this rank's rows of each."""
        windows, flat = self._windows(order), self.parts[order.split].tokens.flat
        for first in range(order.start * order.batch, len(windows.starts), order.batch):
            starts = shared(windows.starts[first : first + order.batch], order)
            batch = windows.batch(starts, flat) | {"index": torch.from_numpy(starts // self._encoder.longest)}
            yield {name: values.to(self._device) for name, values in batch.items()}

    def digests(self) -> dict[str, str]:
        """What tells the text of each split from others of as many lines."""
        return {split: digest(part.tokens.flat) for split, part in self.parts.items()}

    def name(self, split: str, index: int) -> str:
        """ "train.txt:17": the file, and the line in which the window begins."""
        part = self.parts[split]
        row = int(np.searchsorted(part.tokens.starts, index * self._encoder.longest + 1, side="right")) - 1
        return f"{part.place}:{part.numbers[min(row, len(part.numbers) - 1)]}"

    def _windows(self, order: Order) -> _Windows:
        if order.split not in self.parts:
            raise UserError(f"{self._spec.name} has no split `{order.split}`. Write one of: {', '.join(self.parts)}.")
        key = Order(order.split, order.batch, order.seed, order.epoch, shuffle=order.shuffle)
        if self._kept is None or self._kept[0] != key:
            self._kept = key, self._epoch(key)
        return self._kept[1]

    def _epoch(self, order: Order) -> _Windows:
        part, longest = self.parts[order.split], self._encoder.longest
        if not order.shuffle:
            return _in_order(part.said, longest, order.batch if self._carried else 0)
        if self._carried:
            return _parallel(part.said, longest, order, part.place)
        return _scattered(part.said, longest, order)


def _in_order(said: int, longest: int, rows: int) -> _Windows:
    """Windows that touch; with ``rows`` (about) so many long ones that have a context."""
    if not rows:
        return _Windows(np.arange(0, said, longest), longest, said)
    # Short rows would mostly read what is not scored; very long ones would not fit into memory.
    rows = max(1, min(rows, said // max(4 * CONTEXT, longest)), -(-said // LONGEST_ROW))
    length = -(-said // rows)
    return _Windows(np.arange(0, said, length), length, said, CONTEXT)


def _parallel(said: int, longest: int, order: Order, place: str) -> _Windows:
    """Row b of each batch goes on where row b of the one before it ended. What does not fill a batch is left out at the
    beginning or at the end, elsewhere in each epoch."""
    if said < order.batch:
        raise UserError(
            f"{place} has {said:,} tokens, too few to be read in {order.batch} rows at once: write a smaller --batch-size, "
            "or give more text."
        )
    steps = max(1, said // (order.batch * longest))
    length = min(longest, said // order.batch)
    offset = int(shuffled(said - order.batch * steps * length + 1, order.seed, order.epoch)[0])
    batches, rows = np.arange(steps)[:, None], np.arange(order.batch)
    return _Windows((offset + (rows * steps + batches) * length).ravel(), length, said)


def _scattered(said: int, longest: int, order: Order) -> _Windows:
    """Windows that touch, from a first place that changes with the epoch, in any order; as many in each epoch. Those that
    do not fill a last batch, and what is left before the first window and after the last, wait for another epoch."""
    count = max(1, (said - longest + 1) // longest)
    room = said - count * longest + 1
    offset = int(shuffled(room, order.seed, order.epoch + 1_000_003)[0]) if room > 0 else 0
    kept = max(1, count // order.batch) * order.batch
    return _Windows(offset + longest * shuffled(count, order.seed, order.epoch).numpy()[:kept], longest, said)


# ------------------------------------------------------------------------------------------------------------ the reading


@dataclass(frozen=True)
class StreamAsk:
    """What the user said of the data."""

    split: Holdout | Fold | None = None
    vocabulary: int | None = None  # tokens, exactly
    known: Known | None = None


def read(path: Path, reading: Reading, ask: StreamAsk, device: str = "cpu") -> StreamSource:
    """The text of a file, whose last part is held out, or of a folder.

    Raises `UserError`: there is no training set, a file is empty or no UTF-8, or the vocabulary does not suit.
    """
    notes: list[str] = []
    parts = {split: StreamText(file) for split, file in files_in(path, ENDINGS, ask.known).items()}
    if "val" not in parts and not (ask.known and ask.known.whole):
        share = ask.split or Holdout(0.1)
        if isinstance(share, Fold):
            raise UserError(
                "plain text is one long row, which cannot be dealt into folds: leave --folds out, and the end of the text is "
                "held out for validation."
            )
        train, held = held_out(parts["train"].path, share.fraction)
        notes.append(
            f"split made here: the last {share.fraction:.3g} of {train.path.name} held out for validation, from line "
            f"{held.line:,} on"
        )
        parts = {"train": train, "val": held} | {name: part for name, part in parts.items() if name != "train"}
    encoder = _encoder(parts, reading, ask)
    streams = {split: _encoded(encoder, part) for split, part in parts.items()}
    for split, stream in streams.items():
        notes += unknown_note(f"the {split} text", encoder.text, stream.tokens.flat[1:])
    notes.append(f"{encoder.text.kind}: {len(encoder.text):,} tokens, {learned_from(ask.known, 'text')}")
    spec = DataSpec(
        text_lines.title(path),
        "stream",
        counts={split: -(-stream.said // encoder.longest) for split, stream in streams.items()},
        vocabulary={"text": len(encoder.text)},
        longest={"text": encoder.longest},
        tokens={split: stream.said for split, stream in streams.items()},
        words={split: stream.words for split, stream in streams.items()},
        bytes={split: stream.bytes for split, stream in streams.items()},
        notes=tuple(notes),
    )
    return StreamSource(spec, encoder, streams, reading.carried, device)


def _encoder(parts: Mapping[str, StreamText], reading: Reading, ask: StreamAsk) -> StreamEncoder:
    if ask.known is not None:
        assert isinstance(ask.known.encoder, StreamEncoder)
        return ask.known.encoder
    size, exactly = ask.vocabulary or reading.vocabulary, ask.vocabulary is not None
    pieces = (piece.text for piece in parts["train"].pieces())
    words = learned(pieces, reading.tokens, size, exactly=exactly, stream=True, least=reading.least)
    return StreamEncoder(words, reading.longest)


def _encoded(encoder: StreamEncoder, part: StreamText) -> Stream:
    numbers = [part.line]
    words = size = 0

    def chunks() -> Iterator[list[list[int]]]:
        nonlocal words, size
        yield [encoder.begin()]
        for some in part.chunks(CHUNK, _may_part(encoder.text)):
            texts = [piece.text for piece in some]
            numbers.extend(piece.line for piece in some)
            words += sum(_words(text) for text in texts)
            size += sum(len(text.encode()) for text in texts)
            yield encoder.text.encode(texts)

    tokens = stored(chunks())
    return Stream(tokens, np.array(numbers), part.path.name, words, size)


def _may_part(text: Vocabulary) -> Parting | None:
    """Where a tokeniser that others made cuts a text as it cuts its parts. It may have tokens of several line ends, or of
    spaces after one; and where it puts a sign before each text, nowhere is such a place."""
    if text.given is None:
        return None
    whole, first, second = text.encode(["a\nb", "a\n", "b"])
    return between_words if whole == first + second else lambda before, after: False


def _words(text: str) -> int:
    """What stands between spaces, and each line end: so are words counted where perplexities of words are compared."""
    return len(text.split()) + text.count("\n")
