"""A file of labelled text as records: cells as text, each with the line on which it begins."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seminal.core import UserError
from seminal.data import lines as text_lines
from seminal.data.table_file import HEAD, long_cells, sniffed

TABS = (".tsv", ".tab", ".txt")
OBJECTS = (".jsonl", ".ndjson")
LISTS = {"endings": "ending", "choices": "choice"}  # of JSON: a list of texts, and what the column of each is called
ENDINGS = (".csv", *TABS, *OBJECTS)
DELIMITERS = (",", ";", "\t")  # of a .csv


@dataclass(frozen=True)
class TextTable:
    """All records have the same number of cells. The first record of a table may be its names; that of JSON always is."""

    place: str
    records: list[list[str]]
    numbers: list[int]  # the line of each record, counted from 1
    broken: dict[int, str]  # lines that are no record, and why
    keyed: bool = False  # the names are keys, not a line of the file

    @property
    def names(self) -> list[str]:
        return self.records[0]


def text_table(path: Path) -> TextTable:
    """The records of a ``.csv`` (with quotation marks), ``.tsv`` (without) or ``.jsonl``. Raises `UserError` where there is
    none, or where a quotation mark is not closed."""
    ending = text_lines.bare(path).suffix.lower()
    if ending in OBJECTS:
        return _objects(path)
    read = _quoted(path) if ending == ".csv" else ((n, line.split("\t")) for n, line in _full(path))
    records: list[list[str]] = []
    numbers: list[int] = []
    broken: dict[int, str] = {}
    for number, cells in read:
        if isinstance(cells, str):
            broken[number] = cells
        elif records and len(cells) != len(records[0]):
            broken[number] = f"has {_columns(len(cells))}, and the first line has {len(records[0])}"
        else:
            records.append(cells)
            numbers.append(number)
    if not records:
        raise UserError(f"{path.name} is empty.")
    return TextTable(path.name, records, numbers, broken)


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"


def _full(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers."""
    return ((number, line) for number, line in enumerate(text_lines.lines(path), 1) if line.strip())


def _quoted(path: Path) -> Iterator[tuple[int, list[str] | str]]:
    """Records of a CSV file, or what is wrong with a line."""
    with long_cells():
        delimiter = sniffed((line[:HEAD] for line in _ended(path)), DELIMITERS)
        reader = csv.reader(_ended(path), delimiter=delimiter, strict=True)
        while True:
            begins = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if reader.line_num > begins:
                    raise UserError(
                        f"a quotation mark that is opened on line {begins} of {path.name} runs on to line "
                        f"{reader.line_num}: close it, and write a quotation mark inside a cell twice."
                    ) from None
                yield begins, f"is no row of a CSV file ({error})"
                continue
            if any(cell.strip() for cell in cells):
                yield begins, cells


def _ended(path: Path) -> Iterator[str]:
    """Lines as `csv` wants them, with their ends."""
    return (f"{line}\n" for line in text_lines.lines(path))


def _objects(path: Path) -> TextTable:
    """One JSON object on each line; the keys of the first are the names, and what an object lacks is empty. A list of
    endings (`LISTS`), as HellaSwag has it, is a column for each."""
    records: list[list[str]] = []
    numbers: list[int] = []
    broken: dict[int, str] = {}
    for number, line in _full(path):
        try:
            found = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            broken[number] = f"is broken JSON ({error})"
            continue
        if not isinstance(found, dict):
            broken[number] = 'is no JSON object, such as {"text": "…", "label": "…"}'
            continue
        found = _with_columns(found)
        if not records:
            records.append(list(found))
            numbers.append(number)
        more = [name for name in found if name not in records[0] and name.rstrip("0123456789") in LISTS.values()]
        if more:
            broken[number] = f"has `{more[0]}`, and the first line has not so many"
            continue
        records.append([_cell(found.get(name)) for name in records[0]])
        numbers.append(number)
    if not records and broken:
        raise UserError(f"{path.name}, line {min(broken)} {broken[min(broken)]}, and no other line is better.")
    if not records:
        raise UserError(f"{path.name} is empty.")
    return TextTable(path.name, records, numbers, broken, keyed=True)


def _with_columns(found: dict[str, object]) -> dict[str, object]:
    """The object with a key for each text of a list of endings."""
    spread: dict[str, object] = {}
    for name, value in found.items():
        if name in LISTS and isinstance(value, list) and len(value) > 1 and all(isinstance(one, str) for one in value):
            spread |= {f"{LISTS[name]}{place}": one for place, one in enumerate(value)}
        else:
            spread[name] = value
    return spread


def _cell(value: object) -> str:
    """A JSON value as text; what is neither text nor a number is empty."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else ""
