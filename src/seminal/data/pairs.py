"""Sentences and their translations: two files with a line for each, or a table with a column for each.

A folder holds ``train.en`` and ``train.de`` (also ``.gz``), ``val.…`` and any test sets under names that begin with
``test``. A batch holds ``source`` (rows, S), ``target`` (rows, T) with ``<s>`` before and ``</s>`` after, and ``index``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from seminal.core import Batch, DataSpec, Order, Reading, UserError
from seminal.data import lines as text_lines
from seminal.data.split import Fold, Holdout
from seminal.data.text_rows import ALL, CHUNK, Known, cut_note, divided, learned_from, places, split_of
from seminal.data.token_batches import Epochs, in_order
from seminal.data.token_store import TokenStore, digest, stored
from seminal.data.vocabulary import Vocabulary, learned
from seminal.pieces.tokens import BEGIN, END

TABLES = (".tsv", ".tab")


@dataclass(frozen=True)
class PairsEncoder:
    """How a sentence becomes tokens, and tokens a sentence. Plain text: a run keeps it as JSON."""

    source: Vocabulary
    target: Vocabulary
    longest: int

    def encode(self, inputs: list[str], batch: int) -> Iterator[tuple[list[str], Batch]]:
        """Sentences in their order, at most ``batch`` at once: ``source`` (rows, S), ``index`` (rows,)."""
        yield from in_order("source", inputs, batch, self._rows)

    def _rows(self, texts: list[str]) -> list[list[int]]:
        return [[*row[: self.longest - 1], END] for row in self.source.encode(texts)]


@dataclass(frozen=True)
class Sentences:
    """One split as text: lines of both sides, and what the user calls each."""

    source: Sequence[str]
    target: Sequence[str]
    place: str  # of the first file, for messages
    numbers: np.ndarray  # the line of each pair, counted from 1

    def kept(self, rows: np.ndarray) -> Sentences:
        """Only some of the pairs."""
        source, target = ([side[i] for i in rows] for side in (self.source, self.target))
        return Sentences(source, target, self.place, self.numbers[rows])


Sides = Mapping[str, tuple[TokenStore, TokenStore]]  # source and target of each split


class PairsSource:
    """Pairs as batches of about `Order.batch` tokens of the longer side."""

    def __init__(
        self, spec: DataSpec, encoder: PairsEncoder, texts: Mapping[str, Sentences], sides: Sides, device: str
    ) -> None:
        self._spec, self._encoder, self.texts, self._sides, self._device = spec, encoder, texts, sides, device
        self._epochs = Epochs(spec.name, {split: _lengths(part) for split, part in sides.items()})

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def encoder(self, scaling: str) -> PairsEncoder:
        return self._encoder

    def steps(self, order: Order) -> int:
        return self._epochs.count(order)

    def batches(self, order: Order) -> Iterator[Batch]:
        """The batches from ``order.start`` on: this rank's rows of each."""
        for mine in self._epochs.mine(order):
            source, target = self._sides[order.split]
            batch = {"source": source.padded(mine), "target": target.padded(mine), "index": torch.from_numpy(mine)}
            yield {name: values.to(self._device) for name, values in batch.items()}

    def digests(self) -> dict[str, str]:
        """What tells the pairs of each split from others in the same lines."""
        stores = {split: [(side.flat, side.starts) for side in sides] for split, sides in self._sides.items()}
        return {split: digest(*source, *target) for split, (source, target) in stores.items()}

    def name(self, split: str, index: int) -> str:
        """ "train.en:17": the file, and the line."""
        return f"{self.texts[split].place}:{self.texts[split].numbers[index]}"


def _lengths(sides: tuple[TokenStore, TokenStore]) -> np.ndarray:
    """(rows, 2): tokens read and tokens to be said."""
    return np.stack([sides[0].lengths, sides[1].lengths - 1], axis=1)


def _encoded(encoder: PairsEncoder, part: Sentences) -> tuple[TokenStore, TokenStore]:
    def chunks(side: Sequence[str], vocabulary: Vocabulary, first: list[int]) -> Iterator[list[list[int]]]:
        for start in range(0, len(side), CHUNK):
            rows = vocabulary.encode(side[start : start + CHUNK])
            yield [[*first, *row, END] for row in rows]

    source = stored(chunks(part.source, encoder.source, []))
    return source, stored(chunks(part.target, encoder.target, [BEGIN]))


def _cut(side: TokenStore, longest: int) -> TokenStore:
    """Rows as the encoder would have them: none longer, all with their ending."""
    if (side.lengths <= longest).all():
        return side
    rows = (side.row(index).tolist() for index in range(len(side)))
    short = ([*row[: longest - 1], END] if len(row) > longest else row for row in rows)
    return stored([row] for row in short)


# ---------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class PairsAsk:
    """What the user said of the data."""

    source: str | None = None  # language, as in the names of the files; of a table, the column
    target: str | None = None
    split: Holdout | Fold | None = None
    vocabulary: int | None = None  # tokens, exactly
    on_bad_row: str = "refuse"
    known: Known | None = None

    @property
    def alone(self) -> str:
        """What the one split is called where there are no others."""
        return ALL if self.known and self.known.whole else "train"


def read(path: Path, reading: Reading, ask: PairsAsk, device: str = "cpu") -> PairsSource:
    """The pairs of a folder, of a file and its partner, or of a table with tabs.

    Raises `UserError`: no partner is found, the files differ in length, a line is empty (unless bad rows are skipped).
    """
    texts = _texts(path, ask)
    notes: list[str] = []
    for split, part in list(texts.items()):
        texts[split] = _without_empty(part, ask.on_bad_row, notes)
    trains = ask.alone == "train"
    if "val" not in texts and trains:
        marks = (ask.split or Holdout(0.1)).assign(np.zeros(len(texts["train"].source)), stratify=False)
        texts = divided(texts, marks, "pairs", notes)
    encoder = _encoder(texts, reading, ask)
    sides = {split: _encoded(encoder, part) for split, part in texts.items()}
    fitting = ("train", "val") if trains else ()  # of test sets all are kept, and read as the encoder reads
    called = places(texts)
    for split in sides.keys() - set(fitting):
        notes += cut_note(called[split], sides[split][0].lengths, encoder.longest, "sentences")
        sides[split] = _cut(sides[split][0], encoder.longest), sides[split][1]
    for split in fitting:
        fits = np.flatnonzero((_lengths(sides[split]) <= encoder.longest).all(1))
        notes += _left_out(called[split], len(fits), len(texts[split].source), encoder.longest)
        texts[split] = texts[split].kept(fits)
        sides[split] = sides[split][0].kept(fits), sides[split][1].kept(fits)
    notes.append(f"{encoder.source.kind}: {_sizes(encoder)}, {learned_from(ask.known)}")
    return PairsSource(_spec(text_lines.title(path), texts, sides, encoder, notes), encoder, texts, sides, device)


def _encoder(texts: Mapping[str, Sentences], reading: Reading, ask: PairsAsk) -> PairsEncoder:
    if ask.known is not None:
        assert isinstance(ask.known.encoder, PairsEncoder)
        return ask.known.encoder
    size, exactly = ask.vocabulary or reading.vocabulary, ask.vocabulary is not None
    both = [texts["train"].source, texts["train"].target]
    if reading.shared:
        vocabularies = [learned((line for side in both for line in side), reading.tokens, size, exactly=exactly)] * 2
    else:
        vocabularies = [learned(side, reading.tokens, size, exactly=exactly) for side in both]
    return PairsEncoder(vocabularies[0], vocabularies[1], reading.longest)


def _sizes(encoder: PairsEncoder) -> str:
    source, target = len(encoder.source), len(encoder.target)
    same = encoder.source == encoder.target
    return f"{source:,} tokens for both sides" if same else f"{source:,} and {target:,} tokens"


def _spec(
    name: str, texts: Mapping[str, Sentences], sides: Sides, encoder: PairsEncoder, notes: Sequence[str]
) -> DataSpec:
    lengths = {split: _lengths(part) for split, part in sides.items()}
    longest = [max(int(part[:, side].max()) for part in lengths.values()) for side in (0, 1)]
    return DataSpec(
        name,
        "pairs",
        counts={split: len(part.source) for split, part in texts.items()},
        vocabulary={"source": len(encoder.source), "target": len(encoder.target)},
        longest={"source": longest[0], "target": longest[1]},
        tokens={split: int(part.max(1).sum()) for split, part in lengths.items()},
        batched_by="tokens",
        notes=tuple(notes),
    )


def _without_empty(part: Sentences, on_bad_row: str, notes: list[str]) -> Sentences:
    full = np.array([bool(a.strip() and b.strip()) for a, b in zip(part.source, part.target)], dtype=bool)
    if full.all():
        return part
    first = int(part.numbers[np.flatnonzero(~full)[0]])
    if on_bad_row == "refuse":
        raise UserError(
            f"{part.place}, line {first} or its translation is empty, as {int((~full).sum())} are: mend them, or leave "
            "them out with --on-bad-row skip."
        )
    notes.append(f"{int((~full).sum())} pairs of {part.place} left out: a side is empty (the first on line {first})")
    if not full.any():
        raise UserError(f"{part.place} has no pair with text on both sides: is it the right file?")
    return part.kept(np.flatnonzero(full))


def _left_out(place: str, kept: int, count: int, longest: int) -> list[str]:
    """A note on pairs that are longer than the model is to read."""
    if not kept:
        raise UserError(f"every pair of {place} is longer than {longest} tokens: write a larger --max-length.")
    if kept == count:
        return []
    return [f"{count - kept} pairs of {place} left out: longer than {longest} tokens (--max-length)"]


def _texts(path: Path, ask: PairsAsk) -> dict[str, Sentences]:
    if path.is_file() and text_lines.bare(path).suffix.lower() in TABLES:
        return {ask.alone: _table(path, ask)}
    if ask.source is None or ask.target is None:
        raise UserError(
            f"which languages? {path.name} is read as pairs of files: write --source and --target with the endings of "
            "their names, for example `--source en --target de` for train.en and train.de."
        )
    if path.is_file():
        stem = text_lines.bare(path)
        if stem.suffix != f".{ask.source}":
            raise UserError(
                f"{path.name} does not end in .{ask.source}: give the file of the source language, or the folder."
            )
        return {ask.alone: _files(path, _partner(path, ask))}
    found: dict[str, Sentences] = {}
    for file in sorted(path.iterdir()):
        stem = text_lines.bare(file)
        if stem.suffix == f".{ask.source}" and (split := split_of(stem.stem)):
            if split in found:
                raise UserError(f"{path} has more than one {split} set: keep one of them.")
            found[split] = _files(file, _partner(file, ask))
    if ask.alone not in found and (ask.alone == "train" or not found):
        have = ", ".join(sorted(p.name for p in path.iterdir())[:6]) or "nothing"
        first = "train" if ask.alone == "train" else "test"
        raise UserError(
            f"{path} has no {first}.{ask.source}; it holds {have}. Name the files {first}.{ask.source}, "
            f"{first}.{ask.target}, val.{ask.source} and so on."
        )
    return {split: found[split] for split in sorted(found, key=lambda name: {"train": 0, "val": 1}.get(name, 2))}


def _partner(file: Path, ask: PairsAsk) -> Path:
    stem = text_lines.bare(file).with_suffix(f".{ask.target}")
    for candidate in (stem, stem.with_name(f"{stem.name}.gz")):
        if candidate.exists():
            return candidate
    raise UserError(f"{file.name} has no partner: {stem.name} is not beside it. Is --target {ask.target} right?")


def _files(source: Path, target: Path) -> Sentences:
    sides = [list(text_lines.lines(path)) for path in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise UserError(
            f"{source.name} has {len(sides[0]):,} lines and {target.name} {len(sides[1]):,}: line n of one must be the "
            "translation of line n of the other."
        )
    if not sides[0]:
        raise UserError(f"{source.name} is empty.")
    return Sentences(sides[0], sides[1], source.name, np.arange(1, len(sides[0]) + 1))


def _table(path: Path, ask: PairsAsk) -> Sentences:
    """Two columns, or those that are named in the first line."""
    rows = [(number, line.split("\t")) for number, line in enumerate(text_lines.lines(path), 1) if line.strip()]
    if not rows:
        raise UserError(f"{path.name} is empty.")
    columns = [0, 1]
    if ask.source and ask.target and {ask.source, ask.target} <= set(rows[0][1]):
        columns = [rows[0][1].index(name) for name in (ask.source, ask.target)]
        rows = rows[1:]
    elif ask.source or ask.target:
        raise UserError(
            f"{path.name} has no columns {ask.source or '?'} and {ask.target or '?'} in its first line, which is: "
            f"{', '.join(rows[0][1])}. Leave --source and --target out to read the first two columns."
        )
    for number, cells in rows:
        if len(cells) <= max(columns) and ask.on_bad_row == "refuse":
            raise UserError(
                f"{path.name}, line {number} has {len(cells)} column: a source and a target are needed, with a tab between. "
                "Mend it, or leave such lines out: --on-bad-row skip."
            )
    source, target = ([cells[column] if column < len(cells) else "" for _, cells in rows] for column in columns)
    return Sentences(source, target, path.name, np.array([number for number, _ in rows]))
