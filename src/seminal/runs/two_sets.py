"""Two folders or files as two sets of rows with the same features: pictures, tables or texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seminal.core import UserError
from seminal.data import picture_features, table_columns, table_file, text_features
from seminal.data.files import Tree, hidden
from seminal.data.image_encoder import ARCHIVES, pictures_in
from seminal.data.lines import bare, lines, text
from seminal.data.pictures import SUFFIXES, BadPicture, in_threads
from seminal.data.text_features import Counts
from seminal.runs.sources import expanded

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = tuple(ending for ending in table_file.ENDINGS if ending != ".txt")  # which is text here
MOST_CLASSES = 50  # folders of pictures that are taken for classes
PROSE = 4  # words per cell from which free text is read as text; less are names


@dataclass(frozen=True)
class TwoSets:
    """Rows of two sets and their features. What belongs to the first set comes first in each pair."""

    kind: str  # "pictures", "tables" or "texts"
    names: tuple[list[str], list[str]]
    features: tuple[str, ...]
    values: tuple[np.ndarray, np.ndarray]  # (rows, features) float64
    notes: tuple[str, ...] = ()
    words: Counts | None = None  # of texts: those of both sets, the first set's first
    alone: tuple[str, ...] = ()  # of tables with other columns: which of them has what, in words


def opened(places: tuple[str, str], most: int, seed: int) -> TwoSets:
    """At most so many rows of each, drawn at random. Raises `UserError` where the two cannot be compared."""
    first, second = (expanded(place) for place in places)
    for place, path in zip(places, (first, second)):
        if not path.exists():
            raise UserError(f"there is no {place}: give two files, or two folders.")
    if first.resolve() == second.resolve():
        raise UserError(f"{places[0]} and {places[1]} are one place, and the same as itself: give two.")
    kinds = _kind(first), _kind(second)
    if kinds[0] != kinds[1]:
        raise UserError(f"{places[0]} holds {kinds[0]} and {places[1]} {kinds[1]}: give two of one kind.")
    draw = _Draw(most, np.random.default_rng(seed))
    if kinds[0] == "pictures":
        return _pictures(places, draw)
    return (_tables if kinds[0] == "tables" else _texts)(first, second, draw)


@dataclass(frozen=True)
class _Draw:
    most: int
    chance: np.random.Generator

    def rows(self, count: int) -> np.ndarray:
        """Places of the rows that take part, in their order."""
        if count <= self.most:
            return np.arange(count)
        drawn: np.ndarray = np.sort(self.chance.choice(count, self.most, replace=False))
        return drawn

    def note(self, place: object, count: int) -> list[str]:
        return [f"{place}: {self.most:,} of {count:,} rows, drawn at random (--rows)"] if count > self.most else []


def _kind(path: Path) -> str:
    name = bare(path).name.lower()
    if path.is_file():
        if name.endswith(TABLES):
            return "tables"
        is_pictures = name.endswith((*SUFFIXES, *ARCHIVES)) or "-idx" in name or path.name.lower().endswith(ARCHIVES)
        return "pictures" if is_pictures else "texts"
    found = [bare(file).name.lower() for file in _visible(path)]
    if any(one.endswith((*SUFFIXES, *ARCHIVES)) or "-idx3-" in one for one in found):
        return "pictures"
    if any(one.endswith(TABLES) for one in found):
        raise UserError(f"{path} is a folder of tables: name the table in it that shall be compared.")
    return "texts"


def _visible(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not hidden(file.relative_to(folder).as_posix()):
            yield file


# ------------------------------------------------------------------------------------------------------------- pictures


def _pictures(places: tuple[str, str], draw: _Draw) -> TwoSets:
    names, values, notes, classes = [], [], [], []
    for place in places:
        found = list(pictures_in([place]))
        chosen = [found[row] for row in draw.rows(len(found))]
        notes += draw.note(place, len(found))
        described = in_threads(_described, [(tree, name) for _, tree, name in chosen])
        bad = [f"{shown} ({why})" for (shown, _, _), why in zip(chosen, described) if isinstance(why, str)]
        if bad:
            notes.append(f"left out {len(bad):,} files that are no pictures: {', '.join(bad[:3])}")
        good = [(name, row) for (_, _, name), row in zip(chosen, described) if not isinstance(row, str)]
        names.append([name for name, _ in good])
        values.append(np.array([row for _, row in good]).reshape(len(good), -1))
        classes.append([name.partition("/")[0] if "/" in name else "" for name, _ in good])
    features = picture_features.FEATURES
    folders = sorted(set(classes[0]))
    # Folders are classes where both sets have the same ones; otherwise their names say nothing about the pictures.
    if folders == sorted(set(classes[1])) and 1 < len(folders) <= MOST_CLASSES:
        features = (*features, *(f"of the class `{folder}`" for folder in folders))
        values = [
            np.hstack([v, np.equal.outer(c, folders).astype(float)]) for v, c in zip(values, map(np.array, classes))
        ]
        notes.append(f"both have the folders {table_file.listed(folders)}: they count as classes")
    return TwoSets("pictures", (names[0], names[1]), features, (values[0], values[1]), tuple(notes))


def _described(found: tuple[Tree, str]) -> np.ndarray | str:
    try:
        return picture_features.features(*found)
    except BadPicture as error:
        return str(error)


# --------------------------------------------------------------------------------------------------------------- tables


def _tables(first: Path, second: Path, draw: _Draw) -> TwoSets:
    whole = [table_file.read(path, "skip") for path in (first, second)]
    notes = [f"{t.file}: left out {len(t.broken):,} broken rows" for t in whole if t.broken]
    marked = ((t.file, t.commas) for t in whole if t.commas)
    notes += [f"{file}: commas are read as marks of thousands in {table_file.listed(names)}" for file, names in marked]
    tables = []
    for table in whole:
        keep = np.zeros(len(table), dtype=bool)
        keep[draw.rows(len(table))] = True
        tables.append(table.kept(keep))
        notes += draw.note(table.file, len(table))
    a, b = tables
    others: list[str] = []
    for one, other in ((a, b), (b, a)):
        if alone := [name for name in one.columns if name not in other.columns]:
            others.append(f"only {one.file} has {table_file.listed(alone)}")
    shared = [name for name in a.columns if name in b.columns]
    if 2 * len(shared) <= max(len(a.columns), len(b.columns)):
        raise UserError(
            f"{a.file} and {b.file} have {len(shared)} column names in common ({table_file.listed(a.columns)}; "
            f"{table_file.listed(b.columns)}): give both the same line of names."
        )
    features: list[str] = []
    parts: list[np.ndarray] = []
    for name in shared:
        found = _column(name, a, b, draw.chance)
        if isinstance(found, str):
            notes.append(f"left out `{name}`: {found}")
        else:
            features += found[0]
            parts.append(found[1])
    if not parts:
        raise UserError(f"{a.file} and {b.file} have no column that could be compared: {'; '.join(notes)}.")
    values = np.hstack(parts)
    names = tuple([table.place(row) for row in range(len(table))] for table in tables)
    parts_of_both = values[: len(a)], values[len(a) :]
    return TwoSets("tables", (names[0], names[1]), tuple(features), parts_of_both, tuple(notes), alone=tuple(others))


def _column(
    name: str, a: table_file.Table, b: table_file.Table, chance: np.random.Generator
) -> tuple[tuple[str, ...], np.ndarray] | str:
    """The features (rows, features) of a column of both tables, or why it has none."""
    if any(table_columns.fitted(name, table.columns[name], table.lines) == "row numbers" for table in (a, b)):
        return "row numbers"
    cells = _together(a.columns[name], b.columns[name])
    found = table_columns.fitted(name, cells, np.concatenate([a.lines, b.lines]))
    if not isinstance(found, str):
        values, _ = found.read(cells)
        if found.kind != "category":
            # Not the median: many of one value in one set would look like a smaller spread there.
            present = values[~np.isnan(values)]
            filled = np.where(np.isnan(values), chance.choice(present, len(values)), values)
            return found.features, np.stack([filled, np.isnan(values)][: len(found.features)], axis=1)
        return found.features, found.encode(values, "none").astype(np.float64)
    texts = [str(cell or "") for cell in cells.to_pylist()]
    if found.startswith("names or free text") and sum(len(text.split()) for text in texts) >= PROSE * len(texts):
        titles, matrix = text_features.features(texts, text_features.counted(texts))
        return tuple(f"{name}: {title}" for title in titles), matrix
    return found


def _together(first: pa.ChunkedArray, second: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    if first.type != second.type:  # of a Parquet file and a CSV, say
        first, second = first.cast(pa.string()), second.cast(pa.string())
    return pa.chunked_array([*first.chunks, *second.chunks], type=first.type)


# ---------------------------------------------------------------------------------------------------------------- texts


def _texts(first: Path, second: Path, draw: _Draw) -> TwoSets:
    names, texts, notes = [], [], []
    for path in (first, second):
        found = list(_documents(path))
        if not found:
            raise UserError(f"{path} holds no text: give a file with a text per line, or a folder of files.")
        chosen = [found[row] for row in draw.rows(len(found))]
        notes += draw.note(path, len(found))
        names.append([name for name, _ in chosen])
        texts.append([document for _, document in chosen])
    together = [*texts[0], *texts[1]]
    words = text_features.counted(together)
    features, values = text_features.features(together, words)
    cut = len(texts[0])
    return TwoSets("texts", (names[0], names[1]), features, (values[:cut], values[cut:]), tuple(notes), words)


def _documents(path: Path) -> Iterator[tuple[str, str]]:
    """Each file of a folder; of a file, or of a folder with one, each line that is not empty."""
    files = list(_visible(path)) if path.is_dir() else [path]
    if len(files) > 1:
        yield from ((file.relative_to(path).as_posix(), text(file)) for file in files)
        return
    for file in files:
        for number, line in enumerate(lines(file), 1):
            if line.strip():
                yield f"{file.name}:{number}", line
