"""Plain text with documents, for models that learn by saying hidden words: rows of one or two stretches of text.

A batch holds ``input`` (rows, S), ``<s> A </s> B </s>`` with some tokens hidden; ``target`` (rows, S), the true token where
one has to be said; ``next`` (rows,), 1 where B follows A in the text; ``per_row`` (rows,), how many tokens have to be said
for each row of the whole batch, over all ranks; and ``index`` (rows,), the line in which A begins. Without
`Reading.next_sentence` a row is ``<s> A </s>``, and the two about B are absent. Without `Reading.masking` the target is
the token that follows.

An epoch makes its rows anew, as a pure function of (seed, epoch). A row is filled with lines of one document; somewhere
between two of them, A ends. With probability one half B is then replaced by lines from a random place of another document,
and the lines that stood there begin the next row. Every line is read in every epoch. Which tokens are hidden is drawn when a
batch is made. Validation and test have the rows, and the hidden tokens, of one epoch for ever.

Rows are of unlike lengths, and stand in batches with those of about their length. How many batches there are is decided by
the first epoch; later ones, whose rows are a few more or less, are dealt into as many.

Long rows cost more than short ones, and most of what there is to learn is learned from short ones (Devlin et al. 2018,
Appendix A.2: nine tenths of the steps read 128 tokens, the rest 512)::

    seminal train bert CORPUS --max-length 128
    seminal train bert CORPUS --max-length 512 --from RUN
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seminal.core import Batch, DataSpec, Masking, Order, Reading, UserError
from seminal.data import lines as text_lines
from seminal.data.document_rows import Rows, Units, groups
from seminal.data.document_text import Documents, Unit, found_in, parted
from seminal.data.split import Fold, Holdout
from seminal.data.text_rows import Known, framed, learned_from, spelled, unknown_note
from seminal.data.token_batches import buckets, divisible, in_order, shared
from seminal.data.token_store import TokenStore, digest, stored
from seminal.data.vocabulary import Vocabulary, learned
from seminal.pieces.chance import RowChance
from seminal.pieces.masking import masked
from seminal.pieces.tokens import BEGIN, END, NOTHING, PAD

CHUNK = 10_000  # units encoded at once
LEAST = 8  # tokens of a row: fewer hold nothing


@dataclass(frozen=True)
class DocumentEncoder:
    """How text becomes tokens. Plain data: a run keeps it as JSON."""

    text: Vocabulary
    longest: int  # tokens of a row, the special ones included
    masking: Masking | None = None
    next_sentence: bool = True

    def encode(self, inputs: list[str], batch: int) -> Iterator[tuple[list[str], Batch]]:
        """Texts in their order, at most ``batch`` at once, with nothing hidden: ``input`` (rows, S), ``index`` (rows,)."""
        yield from in_order("input", inputs, batch, self._rows)

    def _rows(self, texts: list[str]) -> list[list[int]]:
        return [framed(self.longest, row) for row in self.text.encode(texts)]


@dataclass(frozen=True, eq=False)
class Corpus:
    """One split. Rows of the store are units: lines, sentences of long lines, parts of very long sentences."""

    tokens: TokenStore
    units: Units
    first: Rows  # of the first epoch
    lines: np.ndarray  # (units,) the line of each, counted from 1
    files: np.ndarray  # (documents,) the number of each in ``text``
    text: Documents


class DocumentSource:
    """Documents as batches of about `Order.batch` tokens."""

    def __init__(self, spec: DataSpec, encoder: DocumentEncoder, parts: Mapping[str, Corpus], device: str) -> None:
        self._spec, self._encoder, self.parts, self._device = spec, encoder, parts, device
        self._steps: dict[int, int] = {}  # of each size of a batch
        self._kept: tuple[Order, Rows, list[np.ndarray]] | None = None  # of the epoch last asked for
        text, masking = encoder.text, encoder.masking
        self._mask = text.mask if masking else -1
        self._continues = torch.tensor(text.continues()) if masking and masking.whole_words else None

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def encoder(self, scaling: str) -> DocumentEncoder:
        return self._encoder

    def steps(self, order: Order) -> int:
        """In training the same in every epoch."""
        if not order.shuffle:
            return len(self._epoch(order)[1])
        if order.batch not in self._steps:
            part = self._part(order.split)
            wanted = buckets(part.first.lengths[:, None], Order(order.split, order.batch))
            self._steps[order.batch] = min(len(wanted), part.units.least)
        return self._steps[order.batch]

    def batches(self, order: Order) -> Iterator[Batch]:
        """The batches from ``order.start`` on: this rank's rows of each."""
        rows, epoch = self._epoch(order)
        seed, number = (order.seed, order.epoch) if order.shuffle else (0, 0)
        divisible(epoch, order)
        for some in epoch[order.start :]:
            mine = torch.from_numpy(shared(np.arange(len(some)), order))
            index = torch.from_numpy(rows.units[some])
            # Every rank hides tokens in the whole batch, because each row tells how many there are in all of it.
            batch = self._batch(order.split, rows, some, RowChance(seed, number, index)) | {"index": index}
            yield {name: values[mine].to(self._device) for name, values in batch.items()}

    def digests(self) -> dict[str, str]:
        """What tells the documents of each split from others in the same lines."""
        parts = self.parts.items()
        return {split: digest(part.tokens.flat, part.tokens.starts, part.units.documents) for split, part in parts}

    def name(self, split: str, index: int) -> str:
        """ "train.txt:17": the file, and the line in which the row begins."""
        part = self.parts[split]
        document = int(np.searchsorted(part.units.documents, index, side="right")) - 1
        return f"{part.text.file(int(part.files[document]))}:{part.lines[index]}"

    def _batch(self, split: str, rows: Rows, some: np.ndarray, chance: RowChance) -> Batch:
        tokens, masking = _framed(self.parts[split].tokens.flat, rows, some), self._encoder.masking
        if masking:
            size, mask, continues = len(self._encoder.text), self._mask, self._continues
            read, target = masked(tokens, chance, masking, vocabulary=size, mask=mask, continues=continues)
        else:
            read, target = tokens, torch.full_like(tokens, NOTHING)
            target[:, :-1] = tokens[:, 1:].masked_fill(tokens[:, 1:] == PAD, NOTHING)
        batch = {"input": read, "target": target}
        if self._encoder.next_sentence:
            per_row = (target != NOTHING).sum() / max(1, len(some))
            batch |= {"next": torch.from_numpy(rows.follows[some]).long(), "per_row": per_row.repeat(len(some))}
        return batch

    def _epoch(self, order: Order) -> tuple[Rows, list[np.ndarray]]:
        """The rows, and which of them stand together."""
        key = Order(order.split, order.batch, order.seed, order.epoch, shuffle=order.shuffle)
        if self._kept is None or self._kept[0] != key:
            part = self._part(order.split)
            if order.shuffle:
                rows = part.units.rows(order.seed, order.epoch)
                self._kept = key, rows, groups(rows.lengths, self.steps(order), key)
            else:
                self._kept = key, part.first, buckets(part.first.lengths[:, None], key)
        return self._kept[1:]

    def _part(self, split: str) -> Corpus:
        if split not in self.parts:
            raise UserError(f"{self._spec.name} has no split `{split}`. Write one of: {', '.join(self.parts)}.")
        return self.parts[split]


def _framed(flat: np.ndarray, rows: Rows, some: np.ndarray) -> Tensor:
    """(rows, longest) int64: ``<s> A </s> B </s>``, or ``<s> A </s>``, filled up with padding."""
    places = np.arange(int(rows.lengths[some].max()) if len(some) else 0)
    out = np.full((len(some), len(places)), PAD, dtype=np.int64)
    out[:, :1] = BEGIN
    after = np.ones(len(some), dtype=np.int64)  # where the next part begins
    for first, stop in zip(rows.starts[some].T, rows.stops[some].T):
        end = after + stop - first
        inside = (places >= after[:, None]) & (places < end[:, None])
        out[inside] = flat[(places + (first - after)[:, None])[inside]]
        out[np.arange(len(some)), end] = END
        after = end + 1
    return torch.from_numpy(out)


# ------------------------------------------------------------------------------------------------------------ the reading


@dataclass(frozen=True)
class DocumentsAsk:
    """What the user said of the data."""

    split: Holdout | Fold | None = None
    vocabulary: int | None = None  # tokens, exactly
    known: Known | None = None


def read(path: Path, reading: Reading, ask: DocumentsAsk, device: str = "cpu") -> DocumentSource:
    """The documents of a file, the last of which are held out, or of a folder.

    Raises `UserError`: there is no training set, a file is empty or no UTF-8, there are too few documents, or the
    vocabulary does not suit.
    """
    notes: list[str] = []
    texts = found_in(path, ask.known)
    if "val" not in texts and not (ask.known and ask.known.whole):
        held, note = parted(texts.pop("train"), ask.split or Holdout(0.1), 1 + reading.next_sentence)
        texts = held | texts
        notes.append(note)
    encoder = _encoder(texts, reading, ask)
    parts = {split: _encoded(encoder, text) for split, text in texts.items()}
    tokens = sum(len(part.tokens.flat) for part in parts.values())
    notes += [f"{sum(len(part.files) for part in parts.values()):,} documents with {tokens:,} tokens"]
    for split, part in parts.items():
        notes += unknown_note(f"the {split} text", encoder.text, part.tokens.flat)
    first = next(iter(parts.values())).first
    if first.lengths.mean() < encoder.longest / 2:
        follows = f"; B follows A in {first.follows.mean():.0%} of them" if encoder.next_sentence else ""
        notes.append(
            f"rows hold {first.lengths.mean():.0f} tokens on average, of {encoder.longest}: a row ends with its document, "
            f"and many are short{follows}"
        )
    notes.append(f"{encoder.text.kind}: {len(encoder.text):,} tokens, {learned_from(ask.known, 'text')}")
    spec = DataSpec(
        text_lines.title(path),
        "documents",
        counts={split: len(part.first) for split, part in parts.items()},
        vocabulary={"text": len(encoder.text)},
        spelling=spelled(reading, encoder.text),
        longest={"text": encoder.longest},
        tokens={split: int(part.first.lengths.sum()) for split, part in parts.items()},
        batched_by="tokens",
        notes=tuple(notes),
    )
    return DocumentSource(spec, encoder, parts, device)


def _encoder(texts: Mapping[str, Documents], reading: Reading, ask: DocumentsAsk) -> DocumentEncoder:
    if ask.known is not None:
        text, longest = ask.known.words.text, ask.known.words.longest
    else:
        longest = reading.longest
        train = (unit.text for unit in texts["train"].units())
        size, exactly = ask.vocabulary or reading.vocabulary, ask.vocabulary is not None
        text = learned(train, reading.tokens, size, exactly=exactly, masked=reading.masking is not None)
    if longest < LEAST:
        raise UserError(f"rows of {longest} tokens hold nothing to learn from: write --max-length {LEAST} or more.")
    return DocumentEncoder(text, longest, reading.masking, reading.next_sentence)


def _encoded(encoder: DocumentEncoder, text: Documents) -> Corpus:
    # Two units always fit into a row, so that A can end between them.
    most = (encoder.longest - 3) // 2
    origins: list[np.ndarray] = []  # (units, 2) line and document

    def chunks() -> Iterator[list[list[int]]]:
        units = text.units()
        while some := list(islice(units, CHUNK)):
            rows, where = _cut(encoder.text.encode([unit.text for unit in some]), some, most)
            origins.append(np.array(where, dtype=np.int64).reshape(-1, 2))
            yield rows

    tokens = stored(chunks())
    lines, documents = np.concatenate(origins).T
    files, first = np.unique(documents, return_index=True)
    if len(files) < 1 + encoder.next_sentence:
        raise UserError(
            f"{text.place} gives {len(files)} document, too few: where the second part of a row does not follow the first, "
            "it comes from another document. Put an empty line between two of them, or give more text."
        )
    units = Units(tokens.starts, np.append(first, len(tokens)), encoder.longest, encoder.next_sentence)
    return Corpus(tokens, units, units.rows(0, 0), lines, files, text)


def _cut(rows: list[list[int]], units: list[Unit], most: int) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Rows of at most ``most`` tokens, none empty; and the line and the document of each."""
    found: list[list[int]] = []
    where: list[tuple[int, int]] = []
    for row, unit in zip(rows, units, strict=True):
        for first in range(0, len(row), most):
            found.append(row[first : first + most])
            where.append((unit.line, unit.document))
    return found, where
