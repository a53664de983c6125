"""Which columns of a table are the text, or the two texts, and which is the label: by their names (those of GLUE's files
among them), by what the user said, or by looking."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from seminal.core import UserError
from seminal.data.labelled_table import TextTable
from seminal.data.table_file import nearest

TEXTS = (
    *("text", "sentence", "review", "content", "document", "comment", "tweet", "message", "question", "headline"),
    *("body", "title", "utterance", "phrase"),
)
PAIRS = (
    *(("sentence1", "sentence2"), ("question1", "question2"), ("#1 string", "#2 string"), ("question", "sentence")),
    *(("premise", "hypothesis"), ("text1", "text2"), ("text_a", "text_b")),
)
LABELS = (
    *("label", "labels", "class", "category", "target", "sentiment", "topic", "intent", "emotion", "polarity"),
    *("stars", "rating", "score", "y", "gold_label", "is_duplicate", "quality"),
)
NUMBERS = re.compile(r"(.*[\W_])?(id|idx|index|uid|guid|qid|pairid|promptid|captionid)\d*")  # names of row numbers
UNDECIDED = ("gold_label", "-")  # the column in which this stands where the annotators did not agree (SNLI, MultiNLI)
LOOKED = 1000  # rows from which the longer column is found


@dataclass(frozen=True)
class Columns:
    """Places of the columns, and their names where the table has some."""

    texts: tuple[int, ...]  # one, or two
    label: int
    names: tuple[str, ...] | None  # of the texts, then of the label; None: the first line is a row
    header_guessed: bool = False

    @property
    def header(self) -> bool:
        return self.names is not None

    @property
    def target(self) -> str:
        """What the label is called."""
        return self.names[-1] if self.names else "label"

    def first_only(self) -> Columns:
        """With the first text alone."""
        return replace(self, texts=self.texts[:1], names=self.names and (self.names[0], self.names[-1]))

    def within(self, table: TextTable) -> Columns | None:
        """The same columns of another table; None where it has no such columns."""
        if self.names is not None and set(self.names) <= set(table.names):
            *texts, label = (table.names.index(name) for name in self.names)
            return replace(self, texts=tuple(texts), label=label)
        short = max(*self.texts, self.label) >= len(table.names)
        if (self.names is not None and not self.header_guessed) or short:
            return None
        return replace(self, names=None)


def columns_of(
    table: TextTable, text: str | None, label: str | None, *, counts: Sequence[int] = (1,), flag: str = "--text"
) -> Columns:
    """The columns of a table. ``text`` and ``label`` are the names the user gave: of two texts with a comma between.
    ``counts``: how many texts a row may have; ``flag``: how the user names their columns."""
    texts = _asked(table, text) if text else _known_texts(table)
    lower = [name.strip().lower() for name in table.names]
    place = _named(table, label) if label else next((lower.index(name) for name in LABELS if name in lower), None)
    if not texts and place is None:
        return _without_names(table)
    if len(table.names) == 2 and not any(map(_counts_rows, lower)):  # what is not the one is the other
        texts = texts or tuple(at for at in (0, 1) if at != place)
        place = next((at for at in (0, 1) if at not in texts), None) if place is None else place
    if not texts or place is None or place in texts:
        if not texts:
            raise UserError(_which_texts(table, label, counts, flag))
        raise UserError(
            f"which column of {table.place} is the label? It has {listed(table.names)}: write --target with a name."
        )
    return Columns(texts, place, (*(table.names[at] for at in texts), table.names[place]))


def _which_texts(table: TextTable, label: str | None, counts: Sequence[int], flag: str) -> str:
    """What to write where no column has a name by which it is known for a text."""
    labels = {label} if label else set(LABELS)
    others = [name for name in table.names if name.strip().lower() not in labels and not _counts_rows(name)]
    pair = f"{flag} {','.join(others)}" if len(others) == 2 else f"{flag} FIRST,SECOND"
    has = f"It has {listed(table.names)}"
    if 1 not in counts:
        return f"which columns of {table.place} are the two texts? {has}: write {pair} with their names."
    pairs = f", or {pair} for pairs" if 2 in counts else ""
    return f"which column of {table.place} is the text? {has}: write {flag} with a name{pairs}."


def left_out(table: TextTable, columns: Columns, pairs: bool) -> list[str]:
    """A note on columns that are not read although they hold text: most of their cells have several words. ``pairs``: two
    columns could be read."""
    some = table.records[1 : 1 + LOOKED] if columns.header else []
    others = [at for at in range(len(table.names)) if at not in (*columns.texts, columns.label)]
    several = {place: sum(len(cells[place].split()) > 1 for cells in some) for place in others}
    found = [table.names[place] for place, count in several.items() if count > len(some) / 2]
    if not found:
        return []
    hold = "which holds text too" if len(found) == 1 else "which hold text too"
    if pairs and len(found) == len(columns.texts) == 1:
        hold += f" (--text {table.names[columns.texts[0]]},{found[0]} reads pairs)"
    return [f"not read of {table.place}: {listed(found)}, {hold}"]


def _counts_rows(name: str) -> bool:
    return NUMBERS.fullmatch(name.strip().lower()) is not None


def texts_of(table: TextTable, text: str | None, count: int) -> list[str]:
    """The texts of a table, ``count`` in each row with a tab between: labels may stand beside them, and are not read.

    ``text`` is what a run's own columns are called, where the user has said it. Raises `UserError` where they are not told
    apart from other columns, or where a line is broken.
    """
    if table.broken:
        line = min(table.broken)
        raise UserError(f"{table.place}, line {line} {table.broken[line]}: mend the line, or take it out.")
    places, first = _unlabelled(table, text, count)
    return ["\t".join(sides_of(cells, places)) for cells in table.records[first:]]


def sides_of(cells: Sequence[str], places: Sequence[int]) -> tuple[str, ...]:
    """The text of a row, or the two texts. Two have a tab between them where a user types them, so that one within a cell
    becomes a space."""
    sides = tuple(cells[place].strip() for place in places)
    return sides if len(sides) == 1 else tuple(side.replace("\t", " ") for side in sides)


def _unlabelled(table: TextTable, text: str | None, count: int) -> tuple[tuple[int, ...], int]:
    """The places of the texts, and the first row that is no names."""
    asked = tuple(table.names.index(name) for name in _separate(table, text or "") if name in table.names)
    named = asked if len(asked) == count else _known_texts(table)[:count]
    if len(named) == count:
        return named, 1
    if len(table.names) == count:
        return tuple(range(count)), int(table.keyed)
    if count == 2:
        own = _separate(table, text or "sentence1,sentence2")
        raise UserError(
            f"the run reads two texts of each row, and {table.place} has {listed(table.names)}: name its columns "
            f"{' and '.join(own)}{', as in training' if text else ''}, or leave all others out."
        )
    try:
        found = columns_of(table, None, None)
    except UserError:  # which speaks of the flags of training
        name = f"{text}, as in training" if text else f"{TEXTS[0]} (or {', '.join(TEXTS[1:4])} …)"
        raise UserError(
            f"which column of {table.place} is the text? It has {listed(table.names)}: name it {name}, or leave all others "
            "out."
        ) from None
    return found.texts[:1], int(found.header or table.keyed)


def listed(names: Iterable[str], most: int = 5) -> str:
    """ "`a`, `b` and 3 more", each no longer than it takes to be recognised."""
    shown = [f"`{name if len(name) <= 30 else name[:29] + '…'}`" for name in names]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def _known_texts(table: TextTable) -> tuple[int, ...]:
    lower = [name.strip().lower() for name in table.names]
    known = [*PAIRS, *((name,) for name in TEXTS)]
    return next((tuple(map(lower.index, names)) for names in known if set(names) <= set(lower)), ())


def _asked(table: TextTable, names: str) -> tuple[int, ...]:
    """One column, or two: a name may hold a comma itself."""
    parts = _separate(table, names)
    if len(parts) > 2 or len(set(parts)) < len(parts):
        raise UserError(f"--text {names} names {len(parts)} columns: give one, or two different ones.")
    return tuple(_named(table, part) for part in parts)


def _separate(table: TextTable, names: str) -> list[str]:
    return [names] if names in table.names else [part.strip() for part in names.split(",")]


def _named(table: TextTable, name: str) -> int:
    if name in table.names:
        return table.names.index(name)
    raise UserError(
        f"{table.place} has no column `{name}`{nearest(name, table.names)}. Its first line has {listed(table.names)}."
    )


def _without_names(table: TextTable) -> Columns:
    """Two columns, of which the longer is the text. A first line whose label never comes again, while all others do, holds
    names."""
    width = len(table.names)
    if _is_cola(table):
        return Columns((3,), 1, None)
    if width != 2:
        have = "has 1 column" if width == 1 else f"has {width} columns ({listed(table.names)})"
        raise UserError(
            f"{table.place} {have}: a text and a label are needed. Write --text and --target with the names of two columns"
            + (", or put a tab between text and label." if width == 1 else ".")
        )
    lengths = [sum(len(cells[place]) for cells in table.records[:LOOKED]) for place in (0, 1)]
    text = 0 if lengths[0] >= lengths[1] else 1
    names = table.names[text], table.names[1 - text]
    if table.keyed:
        return Columns((text,), 1 - text, names)
    counts = Counter(cells[1 - text] for cells in table.records)
    alone = [label for label, count in counts.items() if count == 1]
    guessed = alone == [names[1]] and len(table.records) > 4
    return Columns((text,), 1 - text, names if guessed else None, header_guessed=guessed)


def _is_cola(table: TextTable) -> bool:
    """The columns of CoLA: where the sentence is from, 0 or 1, the author's own mark (``*`` or none), the sentence."""
    some = table.records[:LOOKED]
    return all(len(cells) == 4 and cells[1] in ("0", "1") and cells[2].strip("*?# ") == "" for cells in some)
