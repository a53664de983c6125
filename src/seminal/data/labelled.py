"""Texts and a class for each: a table with a column of text and one of labels, or a folder with such tables.

``.csv`` is read with quotation marks, ``.tsv`` (also ``.tab`` and ``.txt``) without them, ``.jsonl`` has an object on each
line; ``.gz`` may follow. A folder holds ``train.…``, ``val.…`` and any test sets. See `seminal.data.text_rows` for batches.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seminal.core import Batch, Reading, UserError
from seminal.data import lines as text_lines
from seminal.data.labelled_columns import Columns, columns_of, listed
from seminal.data.labelled_table import ENDINGS, TextTable, text_table
from seminal.data.split import Fold, Holdout
from seminal.data.text_rows import (
    CHUNK,
    Known,
    TextRows,
    TextSource,
    cut_note,
    divided,
    files_in,
    learned_from,
    read_rows,
    spec_of,
    unknown_note,
)
from seminal.data.token_batches import in_order
from seminal.data.token_store import stored
from seminal.data.vocabulary import Vocabulary, learned

MOST = 20  # classes that no one wonders about; more must be fewer than half the rows


@dataclass(frozen=True)
class LabelledEncoder:
    """How a text becomes tokens. Plain text: a run keeps it as JSON."""

    text: Vocabulary
    longest: int

    def encode(self, inputs: list[str], batch: int) -> Iterator[tuple[list[str], Batch]]:
        """Texts in their order, at most ``batch`` at once: ``input`` (rows, S), ``index`` (rows,)."""
        yield from in_order("input", inputs, batch, self._rows)

    def _rows(self, texts: list[str]) -> list[list[int]]:
        return read_rows(self.text.encode(texts), self.longest)


@dataclass(frozen=True)
class LabelledAsk:
    """What the user said of the data."""

    text: str | None = None  # the column of the texts
    target: str | None = None  # the column of the labels
    split: Holdout | Fold | None = None
    vocabulary: int | None = None  # tokens, exactly
    on_bad_row: str = "refuse"
    known: Known | None = None


@dataclass(frozen=True)
class _Rows:
    """One split as text."""

    texts: Sequence[str]
    labels: Sequence[str]
    numbers: np.ndarray
    place: str

    def kept(self, rows: np.ndarray) -> _Rows:
        texts, labels = [self.texts[i] for i in rows], [self.labels[i] for i in rows]
        return replace(self, texts=texts, labels=labels, numbers=self.numbers[rows])


def read(path: Path, reading: Reading, ask: LabelledAsk, device: str = "cpu") -> TextSource:
    """The labelled texts of a table, or of a folder of tables.

    Raises `UserError`: no column of texts or of labels is found, a row is broken or empty (unless bad rows are skipped),
    there is only one class, or validation has a class that training has not.
    """
    notes: list[str] = []
    parts = _parts(path, ask, notes)
    first = next(iter(parts))  # train, where there is one
    classes = list(ask.known.classes) if ask.known and ask.known.classes else _classes(parts[first])
    if "val" not in parts and not (ask.known and ask.known.whole):
        marks = (ask.split or Holdout(0.1)).assign(np.array(parts["train"].labels), stratify=True)
        parts = divided(parts, marks, "texts", notes)
    for split, part in parts.items():
        parts[split] = _without_strange(part, classes, ask.on_bad_row, notes)
    encoder = _encoder(parts, reading, ask)
    rows = {split: _encoded(encoder, part, classes, notes) for split, part in parts.items()}
    shown = rows["val" if "val" in rows else first]
    notes += unknown_note(shown.place, encoder.text, shown.tokens.flat)
    notes.append(f"{encoder.text.kind}: {len(encoder.text):,} tokens, {learned_from(ask.known)}")
    spec = spec_of(text_lines.title(path), "labelled", rows, encoder.text, classes, notes)
    return TextSource(spec, encoder, rows, device)


def _encoder(parts: Mapping[str, _Rows], reading: Reading, ask: LabelledAsk) -> LabelledEncoder:
    if ask.known is not None:
        assert isinstance(ask.known.encoder, LabelledEncoder)
        return ask.known.encoder
    size, exactly = ask.vocabulary or reading.vocabulary, ask.vocabulary is not None
    return LabelledEncoder(learned(parts["train"].texts, reading.tokens, size, exactly=exactly), reading.longest)


def _encoded(encoder: LabelledEncoder, part: _Rows, classes: Sequence[str], notes: list[str]) -> TextRows:
    lengths: list[int] = []

    def chunks() -> Iterator[list[list[int]]]:
        for start in range(0, len(part.texts), CHUNK):
            rows = encoder.text.encode(part.texts[start : start + CHUNK])
            lengths.extend(map(len, rows))
            yield read_rows(rows, encoder.longest)

    tokens = stored(chunks())
    notes += cut_note(part.place, np.array(lengths), encoder.longest, "texts")
    code = {name: number for number, name in enumerate(classes)}
    targets = np.array([code[label] for label in part.labels], dtype=np.int64)
    return TextRows(part.texts, part.place, part.numbers, tokens, targets)


# ----------------------------------------------------------------------------------------------------------- the classes


def _classes(train: _Rows) -> list[str]:
    """Sorted, and as numbers where all are."""
    counts = Counter(train.labels)
    names = sorted(counts)
    if len(names) == 1:
        raise UserError(
            f"every text of {train.place} is of the class `{names[0]}`: to tell classes apart, 2 are needed. Is the column "
            "of labels right (--target)?"
        )
    if len(names) > max(MOST, len(train.labels) // 2):
        raise UserError(
            f"the labels of {train.place} have {len(names):,} different values in {len(train.labels):,} rows, so they are no "
            "classes. Name the column of labels: --target NAME."
        )
    if all(re.fullmatch(r"[+-]?\d+", name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return names


def _without_strange(part: _Rows, classes: Sequence[str], on_bad_row: str, notes: list[str]) -> _Rows:
    """Without rows of a class that training does not show."""
    known = set(classes)
    strange = [row for row, label in enumerate(part.labels) if label not in known]
    if not strange:
        return part
    told = f"{listed(sorted({part.labels[row] for row in strange}))}, which no training text has"
    first = part.numbers[strange[0]]
    if on_bad_row == "refuse" or len(strange) == len(part.labels):
        raise UserError(
            f"{part.place}, line {first} has the label {told}: mend the labels, or leave such rows out with "
            "--on-bad-row skip."
        )
    notes.append(f"{len(strange):,} rows of {part.place} left out (the first on line {first}): their label is {told}")
    return part.kept(np.setdiff1d(np.arange(len(part.labels)), strange))


# ------------------------------------------------------------------------------------------------------------ the files


def _parts(path: Path, ask: LabelledAsk, notes: list[str]) -> dict[str, _Rows]:
    if not path.is_dir() and text_lines.bare(path).suffix.lower() not in ENDINGS:
        raise UserError(
            f"{path.name} has no ending that labelled text has: give a file that ends in {', '.join(ENDINGS)} (.gz may "
            "follow), or a folder."
        )
    files = files_in(path, ENDINGS, ask.known)
    first = next(iter(files))
    table = text_table(files[first])
    columns = columns_of(table, ask.text, ask.target)
    if columns.header_guessed:
        notes.append(f"the first line of {table.place} was read as names of columns: {', '.join(table.records[0])}")
    parts = {first: _rows(table, columns, ask.on_bad_row, notes)}
    for split, file in files.items():
        if split == first:
            continue
        table = text_table(file)
        same = columns.within(table)
        if same is None and split != "val":
            notes.append(f"{file.name} left out: it has no labels")
        elif same is None:
            raise UserError(f"{file.name} has other columns than {files[first].name}: give both the same.")
        else:
            parts[split] = _rows(table, same, ask.on_bad_row, notes)
    return parts


def _rows(table: TextTable, columns: Columns, on_bad_row: str, notes: list[str]) -> _Rows:
    """The rows that are whole; the others are refused or told."""
    bad = dict(table.broken)
    texts, labels, numbers = [], [], []
    first = 1 if columns.header else 0
    for number, cells in zip(table.numbers[first:], table.records[first:]):
        text, label = cells[columns.text].strip(), cells[columns.label].strip()
        if text and label:
            texts.append(text)
            labels.append(label)
            numbers.append(number)
        else:
            bad[number] = "has no text" if not text else "has no label"
    if bad and on_bad_row == "refuse":
        line = min(bad)
        more = f", and {len(bad) - 1} more lines are bad" if len(bad) > 1 else ""
        raise UserError(
            f"{table.place}, line {line} {bad[line]}{more}: mend it, or leave such rows out with --on-bad-row skip."
        )
    if bad:
        notes.append(f"{len(bad):,} rows of {table.place} left out: line {min(bad)} {bad[min(bad)]}")
    if not texts:
        raise UserError(f"{table.place} has no row with a text and a label: is it the right file?")
    return _Rows(texts, labels, np.array(numbers), table.place)
