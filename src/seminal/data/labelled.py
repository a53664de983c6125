"""Texts, or pairs of texts, and a class or a number for each: a table with one or two columns of text and one of labels, or
a folder with such tables. The files of GLUE are read as they are.

``.csv`` is read with quotation marks, ``.tsv`` (also ``.tab`` and ``.txt``) without them, ``.jsonl`` has an object on each
line; ``.gz`` may follow. A folder holds ``train.…``, ``val.…`` and any test sets. See `seminal.data.text_rows` for batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seminal.core import Batch, Reading, UserError
from seminal.data import lines as text_lines
from seminal.data.labelled_columns import UNDECIDED, Columns, columns_of, left_out, listed, sides_of
from seminal.data.labelled_table import ENDINGS, TextTable, text_table
from seminal.data.labelled_target import TextTarget, are_numbers, classes, known_target, numbers
from seminal.data.split import Fold, Holdout
from seminal.data.text_rows import (
    CHUNK,
    Known,
    TextRows,
    TextSource,
    cut_note,
    divided,
    files_in,
    framed,
    kinds,
    learned_from,
    places,
    read_rows,
    spec_of,
    spelled,
    unknown_note,
)
from seminal.data.token_batches import in_order
from seminal.data.token_store import stored
from seminal.data.vocabulary import Vocabulary, learned

Texts = tuple[str, ...]  # one, or two


@dataclass(frozen=True)
class LabelledEncoder:
    """How a text, or a pair of texts, becomes tokens. Plain text: a run keeps it as JSON."""

    text: Vocabulary
    longest: int
    framed: bool = False  # see `Reading.framed`
    pair: bool = False  # a line holds two texts, with a tab between

    def encode(self, inputs: list[str], batch: int) -> Iterator[tuple[list[str], Batch]]:
        """Texts in their order, at most ``batch`` at once: ``input`` (rows, S), ``index`` (rows,).

        Raises `UserError` where a pair is wanted, and a line is none.
        """
        yield from in_order("input", inputs, batch, lambda some: self.rows([self._parts(line) for line in some])[0])

    def lengths(self, inputs: list[str]) -> list[int]:
        """Tokens of each text, if nothing is cut."""
        return self.rows([self._parts(line) for line in inputs])[1]

    def rows(self, texts: Sequence[Texts]) -> tuple[list[list[int]], list[int]]:
        """The tokens that a model reads, and how many there would be if nothing were cut."""
        sides = [self.text.encode(side) for side in zip(*texts)]
        whole = [sum(map(len, parts)) for parts in zip(*sides)]
        if not self.framed:
            return read_rows(sides[0], self.longest), whole
        return [framed(self.longest, *parts) for parts in zip(*sides)], [1 + len(sides) + count for count in whole]

    def _parts(self, line: str) -> Texts:
        if not self.pair:
            return (line,)
        parts = tuple(part.strip() for part in line.split("\t"))
        if len(parts) != 2 or not all(parts):
            raise UserError(
                f"the run reads pairs of texts, and `{line.strip()[:40]}` is none: put a tab between two texts (in a shell "
                "$'first text\\tsecond text'), or give a file with a pair on each line."
            )
        return parts


@dataclass(frozen=True)
class LabelledAsk:
    """What the user said of the data."""

    text: str | None = None  # the column of the texts; of pairs both, with a comma between
    target: str | None = None  # the column of the labels
    split: Holdout | Fold | None = None
    vocabulary: int | None = None  # tokens, exactly
    on_bad_row: str = "refuse"
    known: Known | None = None
    task: str = "auto"  # classification, regression, pair

    @property
    def whole(self) -> bool:
        """Whether a run is to be scored on the data."""
        return self.known is not None and self.known.whole


@dataclass(frozen=True)
class _Rows:
    """One split as text."""

    texts: Sequence[Texts]
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
    parts, name = _parts(path, _pairs(reading, ask), ask, notes)
    first = next(iter(parts))  # train, where there is one
    target = _target(name, parts[first], reading, ask, notes)
    if "val" not in parts and not ask.whole:
        groups = np.array(parts["train"].labels)
        marks = (ask.split or Holdout(0.1)).assign(groups, stratify=bool(target.classes))
        parts = divided(parts, marks, "texts", notes)
    for split, part in parts.items():
        parts[split] = _without_strange(part, target, ask.on_bad_row, notes)
    encoder = _encoder(parts, reading, ask)
    called = places(parts)
    rows = {split: _encoded(encoder, part, target, called[split], notes) for split, part in parts.items()}
    shown = rows["val" if "val" in rows else first]
    notes += unknown_note(shown.place, encoder.text, shown.tokens.flat)
    notes.append(f"{encoder.text.kind}: {len(encoder.text):,} tokens, {learned_from(ask.known)}")
    spelling = spelled(reading, encoder.text)
    spec = spec_of(text_lines.title(path), "labelled", rows, encoder.text, target.classes, notes, spelling)
    if not target.classes:
        spec = replace(spec, target_names=(target.name,), target_mean=(target.mean,), target_std=(target.std,))
    return TextSource(spec, encoder, rows, device)


def _pairs(reading: Reading, ask: LabelledAsk) -> bool:
    """Whether the model reads two texts where a file has two."""
    if ask.known is not None and ask.known.whole:
        assert isinstance(ask.known.encoder, LabelledEncoder)
        return ask.known.encoder.pair
    return reading.framed


def _target(name: str, part: _Rows, reading: Reading, ask: LabelledAsk, notes: list[str]) -> TextTarget:
    if ask.known is not None and ask.known.classes:
        return known_target(name, ask.known)
    measured = ask.task == "auto" and reading.framed and are_numbers(part.labels)
    if measured:
        notes.append(f"`{name}` holds numbers, so this is regression (else write --task classification)")
    find = numbers if measured or ask.task == "regression" else classes
    return find(name, part.labels, part.place)


def _encoder(parts: Mapping[str, _Rows], reading: Reading, ask: LabelledAsk) -> LabelledEncoder:
    train = next(iter(parts.values())).texts
    pair = len(train[0]) == 2
    if ask.known is not None:
        return LabelledEncoder(ask.known.words.text, ask.known.words.longest, reading.framed, pair)
    size, exactly = ask.vocabulary or reading.vocabulary, ask.vocabulary is not None
    sides = (side for texts in train for side in texts)
    stream = reading.form == "stream"  # of a model that goes on writing: its tokens are those of plain text
    text = learned(sides, reading.tokens, size, exactly=exactly, stream=stream, masked=reading.framed and not stream)
    return LabelledEncoder(text, reading.longest, reading.framed, pair)


def _encoded(encoder: LabelledEncoder, part: _Rows, target: TextTarget, called: str, notes: list[str]) -> TextRows:
    lengths: list[int] = []

    def chunks() -> Iterator[list[list[int]]]:
        for start in range(0, len(part.texts), CHUNK):
            rows, whole = encoder.rows(part.texts[start : start + CHUNK])
            lengths.extend(whole)
            yield rows

    tokens = stored(chunks())
    notes += cut_note(called, np.array(lengths), encoder.longest, "texts")
    frame = 1 + len(part.texts[0]) if encoder.framed else 0
    bare = [row for row, length in enumerate(lengths) if length == frame]
    if bare:
        have = "1 text has" if len(bare) == 1 else f"{len(bare):,} texts have"
        notes.append(
            f"in {called} {have} no token (the first on line {part.numbers[bare[0]]}): only signs that nobody sees, such as "
            "a zero-width space. A label is learned from nothing there"
        )
    shown = [" ‖ ".join(texts) for texts in part.texts]
    return TextRows(shown, part.place, part.numbers, tokens, target.codes(part.labels))


def _without_strange(part: _Rows, target: TextTarget, on_bad_row: str, notes: list[str]) -> _Rows:
    """Without rows whose label cannot be learned: a class that training does not show, a number that is none."""
    wrong = {label: why for label in set(part.labels) if (why := target.wrong(label))}
    strange = [row for row, label in enumerate(part.labels) if label in wrong]
    if not strange:
        return part
    told = f"{listed(sorted(wrong))}, {wrong[part.labels[strange[0]]]}"
    first = part.numbers[strange[0]]
    if on_bad_row == "refuse" or len(strange) == len(part.labels):
        raise UserError(
            f"{part.place}, line {first} has the label {told}: mend the labels, or leave such rows out with "
            "--on-bad-row skip."
        )
    notes.append(f"{len(strange):,} rows of {part.place} left out (the first on line {first}): their label is {told}")
    return part.kept(np.setdiff1d(np.arange(len(part.labels)), strange))


# ------------------------------------------------------------------------------------------------------------ the files


def _parts(path: Path, pairs: bool, ask: LabelledAsk, notes: list[str]) -> tuple[dict[str, _Rows], str]:
    """The rows of each split, and what the label is called."""
    if not path.is_dir() and text_lines.bare(path).suffix.lower() not in ENDINGS:
        raise UserError(
            f"{path.name} has no ending that labelled text has: give a file that ends in {', '.join(ENDINGS)} (.gz may "
            "follow), or a folder."
        )
    files = files_in(path, ENDINGS, ask.known)
    first = next(iter(files))
    table = text_table(files[first])
    two = ask.task == "pair" or (ask.whole and pairs)
    counts = (2,) if two else (1, 2) if pairs and not ask.whole else (1,)
    flag = "--source" if ask.whole else "--text"  # as `eval` and `train` call it
    columns = columns_of(table, ask.text, ask.target, counts=counts, flag=flag)
    if not ask.whole:
        notes += left_out(table, columns, pairs)
    columns = _wanted(table, columns, pairs, ask, notes)
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
    return parts, columns.target


def _wanted(table: TextTable, columns: Columns, pairs: bool, ask: LabelledAsk, notes: list[str]) -> Columns:
    """One text where the model, or the run, reads one. Raises `UserError` where pairs are wanted, and the table has none."""
    if len(columns.texts) == 2 and not pairs:
        read, left = (f"`{table.names[place]}`" for place in columns.texts)
        notes.append(f"{table.place} has two texts in each row, and one is read here: {read}, without {left}")
        return columns.first_only()
    if len(columns.texts) == 1 and (ask.task == "pair" or (ask.whole and pairs)):
        have = listed(table.names) if columns.header else f"{len(table.names)} columns without names"
        why = "the run reads pairs of texts" if ask.whole else "--task pair needs two texts in each row"
        raise UserError(f"{why}, and {table.place} has {have}: name both columns, --source FIRST,SECOND.")
    return columns


def _rows(table: TextTable, columns: Columns, on_bad_row: str, notes: list[str]) -> _Rows:
    """The rows that are whole; the others are refused or told."""
    bad = dict(table.broken)
    texts, labels, numbers = [], [], []
    undecided = 0
    first = 1 if columns.header else 0
    for number, cells in zip(table.numbers[first:], table.records[first:]):
        sides, label = sides_of(cells, columns.texts), cells[columns.label].strip()
        if (columns.target, label) == UNDECIDED:
            undecided += 1
        elif all(sides) and label:
            texts.append(sides)
            labels.append(label)
            numbers.append(number)
        else:
            bad[number] = "has no label" if all(sides) else "has no text"
    if undecided:
        notes.append(f"{undecided:,} rows of {table.place} left out: the annotators did not agree on their label (`-`)")
    if bad and on_bad_row == "refuse":
        line = min(bad)
        more = f", and {len(bad) - 1} more lines are bad" if len(bad) > 1 else ""
        raise UserError(
            f"{table.place}, line {line} {bad[line]}{more}: mend it, or leave such rows out with --on-bad-row skip."
        )
    if bad:
        notes.append(
            f"{len(bad):,} rows of {table.place} left out: {kinds([(f'line {n}', bad[n]) for n in sorted(bad)])}"
        )
    if not texts:
        raise UserError(f"{table.place} has no row with a text and a label: is it the right file?")
    return _Rows(texts, labels, np.array(numbers), table.place)
