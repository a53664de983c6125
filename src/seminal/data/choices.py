"""A beginning and several endings, of which one is right: SWAG's tables (Zellers et al. 2018), or plainer ones.

A table has the columns ``sent1``, ``sent2`` (with which each ending begins), ``ending0`` … and ``label``, or ``context``,
``choice0`` … and ``label``, the number of the right ending counted from 0; JSON may have them as a list, ``endings`` or
``choices``, as HellaSwag has (with ``ctx``; Zellers et al. 2019). Files are those of `seminal.data.labelled`. Each
ending is a row ``<s> beginning </s> ending </s>``: a batch holds ``input`` (rows, endings, S), ``target`` (rows,), ``index``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from seminal.core import Batch, Reading, UserError
from seminal.data import lines as text_lines
from seminal.data.labelled_columns import listed
from seminal.data.labelled_table import ENDINGS, TextTable, text_table
from seminal.data.split import Holdout
from seminal.data.table_file import nearest
from seminal.data.text_rows import (
    CHUNK,
    TextAsk,
    TextRows,
    TextSource,
    cut_note,
    divided,
    files_in,
    framed,
    kinds,
    learned_from,
    places,
    spec_of,
    unknown_note,
)
from seminal.data.token_store import TokenStore, stored
from seminal.data.vocabulary import Vocabulary, learned

FRAME = 3  # tokens around the two parts of a row
BEGINNINGS = ("sent1", "context", "ctx", "question", "premise")
COMMON = "sent2"  # what all endings begin with
LABELS = ("label", "answer", "target")
ENDING = re.compile(r"(ending|choice)_?\d+")
LISTED = re.compile(r'"(endings|choices)"\s*:\s*\[\s*"')  # of JSON, as in HellaSwag: see `seminal.data.labelled_table`


@dataclass(frozen=True)
class ChoicesEncoder:
    """How a beginning and its endings become rows. Plain text: a run keeps it as JSON."""

    text: Vocabulary
    longest: int
    choices: int

    def encode(self, inputs: list[str], batch: int) -> Iterator[tuple[list[str], Batch]]:
        """The rows of files (no label is needed), at most ``batch`` at once: ``input`` (rows, endings, S), ``index``.

        Each ending has a score of its own, so that there may be any number of them, but the same in all files.

        Raises `UserError` where an input is no table of such texts, or has another number of endings than those before.
        """
        before, endings = 0, None  # rows of earlier files, endings of each row
        for name in inputs:
            if not Path(name).is_file():
                raise UserError(
                    f"there is no file {name[:60]}: give a table with the columns context, choice0 … "
                    f"choice{self.choices - 1}, or a file with such a JSON object on each line."
                )
            found = choices_in(Path(name), "refuse", [], endings, labelled=False)
            endings = len(found.names)
            rows = TextRows((), found.place, found.numbers, self.tokens(found)[0], np.zeros(0), endings)
            for start in range(0, len(found.beginnings), batch):
                index = np.arange(start, min(start + batch, len(found.beginnings)))
                names = [f"{name}:{found.numbers[row]}" for row in index]
                yield names, {"input": rows.input(index), "index": torch.from_numpy(index) + before}
            before += len(found.beginnings)

    def tokens(self, part: Choices) -> tuple[TokenStore, np.ndarray]:
        """The tokens of all endings of all rows, and how many there would be if nothing were cut."""
        lengths: list[int] = []

        def chunks() -> Iterator[list[list[int]]]:
            for start in range(0, len(part.beginnings), CHUNK):
                beginnings = self.text.encode(part.beginnings[start : start + CHUNK])
                endings = iter(self.text.encode([one for some in part.endings[start : start + CHUNK] for one in some]))
                pairs = [(beginning, next(endings)) for beginning in beginnings for _ in part.names]
                lengths.extend(len(beginning) + len(ending) + FRAME for beginning, ending in pairs)
                yield [framed(self.longest, *pair) for pair in pairs]

        return stored(chunks()), np.array(lengths)


@dataclass(frozen=True)
class Choices:
    """One split as text."""

    beginnings: Sequence[str]
    endings: Sequence[Sequence[str]]
    names: Sequence[str]  # of the columns of endings
    labels: np.ndarray  # (rows,) int64; empty where there are none
    numbers: np.ndarray  # the line of each row, counted from 1
    place: str

    def kept(self, rows: np.ndarray) -> Choices:
        """Only some of the rows."""
        texts, endings = [self.beginnings[i] for i in rows], [self.endings[i] for i in rows]
        return replace(self, beginnings=texts, endings=endings, labels=self.labels[rows], numbers=self.numbers[rows])


def read(path: Path, reading: Reading, ask: TextAsk, device: str = "cpu") -> TextSource:
    """The rows of a table, or of a folder of tables. The classes are called as the columns of the endings.

    Raises `UserError`: a column is missing, a cell is empty, a label names no ending (unless bad rows are skipped).
    """
    notes: list[str] = []
    known = ask.known
    parts = _parts(files_in(path, ENDINGS, known), ask, notes)
    first = next(iter(parts.values()))
    if "val" not in parts and not (known and known.whole):
        marks = (ask.split or Holdout(0.1)).assign(first.labels, stratify=False)
        parts = divided(parts, marks, "rows", notes)
    encoder = _encoder(parts, reading, ask)
    called = places(parts)
    rows = {split: _encoded(encoder, part, called[split], notes) for split, part in parts.items()}
    shown = rows.get("val") or next(iter(rows.values()))
    notes += unknown_note(shown.place, encoder.text, shown.tokens.flat)
    notes.append(f"{encoder.text.kind}: {len(encoder.text):,} tokens, {learned_from(known)}")
    # Each ending has a score of its own, so a run reads any number of them; its own names are those of its own number.
    classes = known.classes if known and len(known.classes) == len(first.names) else first.names
    return TextSource(
        spec_of(text_lines.title(path), "choices", rows, encoder.text, classes, notes), encoder, rows, device
    )


def _parts(files: Mapping[str, Path], ask: TextAsk, notes: list[str]) -> dict[str, Choices]:
    parts: dict[str, Choices] = {}
    wanted: int | None = None  # all files have as many endings as the first
    for split, file in files.items():
        if parts and split != "val" and _column(text_table(file), _label_names(ask.target)) is None:
            notes.append(f"{file.name} left out: it has no labels")
            continue
        parts[split] = choices_in(file, ask.on_bad_row, notes, wanted, target=ask.target)
        wanted = len(parts[split].names)
    return parts


def _encoder(parts: Mapping[str, Choices], reading: Reading, ask: TextAsk) -> ChoicesEncoder:
    train = next(iter(parts.values()))
    if ask.known is not None:
        return ChoicesEncoder(ask.known.words.text, ask.known.words.longest, len(train.names))
    size, exactly = ask.vocabulary or reading.vocabulary, ask.vocabulary is not None
    lines = (line for beginning, endings in zip(train.beginnings, train.endings) for line in (beginning, *endings))
    stream = reading.form == "stream"  # of a model that goes on writing: its tokens are those of plain text
    text = learned(lines, reading.tokens, size, exactly=exactly, stream=stream, masked=not stream)
    return ChoicesEncoder(text, reading.longest, len(train.names))


def _encoded(encoder: ChoicesEncoder, part: Choices, called: str, notes: list[str]) -> TextRows:
    tokens, lengths = encoder.tokens(part)
    notes += cut_note(called, lengths, encoder.longest, "endings with what is before them")
    return TextRows(
        [" … ".join(row) for row in zip(part.beginnings, map(" / ".join, part.endings))],
        part.place,
        part.numbers,
        tokens,
        part.labels,
        encoder.choices,
    )


# ------------------------------------------------------------------------------------------------------------- the files


def has_choices(line: str) -> bool:
    """Whether the first line of a file names columns of endings, or has a list of them."""
    return LISTED.search(line) is not None or len({found.group() for found in ENDING.finditer(line)}) > 1


def choices_in(
    path: Path,
    on_bad_row: str,
    notes: list[str],
    wanted: int | None,
    *,
    labelled: bool = True,
    target: str | None = None,
) -> Choices:
    """The rows of a file that are whole; the others are refused or told. ``wanted``: so many endings; ``target``: the
    column of the right ending's number, as the user calls it."""
    table = text_table(path)
    if target is not None and target not in table.names:
        near = nearest(target, table.names)
        raise UserError(f"{table.place} has no column `{target}`{near}. Its first line has {listed(table.names)}.")
    endings = [place for place, name in enumerate(table.names) if ENDING.fullmatch(name)]
    beginning, common, label = (_column(table, names) for names in (BEGINNINGS, (COMMON,), _label_names(target)))
    if len(endings) < 2 or beginning is None or (labelled and label is None):
        raise UserError(
            f"{table.place} has {listed(table.names)}: a choice needs the columns context, choice0, choice1 …"
            f"{' and label' if labelled else ''} (or SWAG's sent1, sent2, ending0 …)."
        )
    if wanted not in (None, len(endings)):
        raise UserError(f"{table.place} has {len(endings)} endings in each row, and {wanted} are read here.")
    names = [table.names[place] for place in endings]
    bad = dict(table.broken)
    kept: list[tuple[str, list[str], int, int]] = []
    for number, cells in zip(table.numbers[1:], table.records[1:]):
        start = f"{cells[common].strip()} " if common is not None else ""
        said = _label(cells[label].strip(), names) if labelled and label is not None else 0
        if not cells[beginning].strip() or not all(cells[place].strip() for place in endings):
            bad[number] = "has an empty cell"
        elif said is None:
            bad[number] = f"has the label `{cells[label or 0][:30]}`, which is none of 0 … {len(endings) - 1}"
        else:
            kept.append((cells[beginning].strip(), [start + cells[place].strip() for place in endings], said, number))
    if bad and (on_bad_row == "refuse" or not kept):
        more = f", and {len(bad) - 1} more lines are bad" if len(bad) > 1 else ""
        skip = (
            ", or leave such rows out with --on-bad-row skip" if labelled else ""
        )  # which `predict` has not for texts
        raise UserError(f"{table.place}, line {min(bad)} {bad[min(bad)]}{more}: mend it{skip}.")
    if bad:
        notes.append(
            f"{len(bad):,} rows of {table.place} left out: {kinds([(f'line {n}', bad[n]) for n in sorted(bad)])}"
        )
    if not kept:
        raise UserError(f"{table.place} has no row: is it the right file?")
    beginnings, texts, labels, numbers = zip(*kept)
    return Choices(beginnings, texts, names, np.array(labels, dtype=np.int64), np.array(numbers), table.place)


def _label_names(target: str | None) -> Sequence[str]:
    """What the column of labels may be called."""
    return LABELS if target is None else (target,)


def _label(cell: str, names: Sequence[str]) -> int | None:
    """The place of the right ending, by its number or by the name of its column."""
    if cell in names:
        return names.index(cell)
    return int(cell) if cell.isdecimal() and int(cell) < len(names) else None


def _column(table: TextTable, names: Sequence[str]) -> int | None:
    return next((table.names.index(name) for name in names if name in table.names), None)
