"""Which column of a table is the text, and which the label: by its name, by what the user said, or by looking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from seminal.core import UserError
from seminal.data.labelled_table import TextTable
from seminal.data.table_file import nearest

TEXTS = (
    *("text", "sentence", "review", "content", "document", "comment", "tweet", "message", "question", "headline"),
    *("body", "title", "utterance", "phrase"),
)
LABELS = (
    *("label", "labels", "class", "category", "target", "sentiment", "topic", "intent", "emotion", "polarity"),
    *("stars", "rating", "score", "y"),
)
LOOKED = 1000  # rows from which the longer column is found


@dataclass(frozen=True)
class Columns:
    """Places of both columns, and their names where the table has some."""

    text: int
    label: int
    names: tuple[str, str] | None  # None: the first line is a row
    header_guessed: bool = False

    @property
    def header(self) -> bool:
        return self.names is not None

    def within(self, table: TextTable) -> Columns | None:
        """The same columns of another table; None where it has no such columns."""
        if self.names is not None and set(self.names) <= set(table.names):
            return replace(self, text=table.names.index(self.names[0]), label=table.names.index(self.names[1]))
        if (self.names is not None and not self.header_guessed) or max(self.text, self.label) >= len(table.names):
            return None
        return replace(self, names=None)


def columns_of(table: TextTable, text: str | None, label: str | None) -> Columns:
    """The columns of a table. ``text`` and ``label`` are the names the user gave."""
    asked = [_named(table, name) if name else None for name in (text, label)]
    lower = [name.strip().lower() for name in table.names]
    found = [
        next((lower.index(name) for name in known if name in lower), None) if place is None else place
        for place, known in zip(asked, (TEXTS, LABELS))
    ]
    if found == [None, None]:
        return _without_names(table)
    width = len(table.names)
    if found[0] is None and width == 2:
        found[0] = 1 - (found[1] or 0)
    if found[1] is None and width == 2:
        found[1] = 1 - (found[0] or 0)
    if found[0] is None or found[1] is None or found[0] == found[1]:
        flag, what = ("--text", "text") if found[0] is None else ("--target", "label")
        raise UserError(
            f"which column of {table.place} is the {what}? It has {listed(table.names)}: write {flag} with a name."
        )
    return Columns(found[0], found[1], (table.names[found[0]], table.names[found[1]]))


def listed(names: Iterable[str], most: int = 5) -> str:
    """ "`a`, `b` and 3 more", each no longer than it takes to be recognised."""
    shown = [f"`{name if len(name) <= 30 else name[:29] + '…'}`" for name in names]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


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
        return Columns(text, 1 - text, names)
    counts = Counter(cells[1 - text] for cells in table.records)
    alone = [label for label, count in counts.items() if count == 1]
    guessed = alone == [names[1]] and len(table.records) > 4
    return Columns(text, 1 - text, names if guessed else None, header_guessed=guessed)
