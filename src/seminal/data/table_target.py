"""The column to predict: found by its name, read as classes or as numbers, with a sentence on which and why."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seminal.core import UserError
from seminal.data.table_columns import FEW, FLOAT32_MAX, FREE_TEXT, MOSTLY, numbers
from seminal.data.table_file import Table, is_text, listed, nearest

if TYPE_CHECKING:
    import pyarrow as pa

TASKS = ("auto", "classification", "regression")


@dataclass(frozen=True)
class Labelled:
    """A table whose target is read. ``target`` (rows,) holds class names (str), or numbers (float64)."""

    table: Table
    target: np.ndarray
    without: int = 0  # rows that were left out because their target is missing or cannot be read

    def kept(self, keep: np.ndarray) -> Labelled:
        """The rows where ``keep`` (rows,) is true."""
        return Labelled(self.table.kept(keep), self.target[keep], self.without)


def checked_name(table: Table, target: str | None) -> str:
    """The name of the target column.

    Raises:
        UserError: none was given, or the table has no such column.
    """
    names = list(table.columns)
    if target is None:
        raise UserError(
            f"which column is the target? {table.file} has: {listed(names, 12)}. "
            f"Add the one to predict, for example `--target {shlex.quote(names[-1])}`."
        )
    if target not in names:
        way = "Write one of them after `--target`; the first line of a table must hold the names of its columns."
        if len(names) == 1:
            way = "In a text file columns are divided by commas, semicolons, tabs or bars, which were not found."
        raise UserError(
            f"{table.file} has no column `{target}`{nearest(target, names)}. It has: {listed(names, 12)}. {way}"
        )
    return target


def chosen_task(table: Table, name: str, task: str) -> tuple[str, str]:
    """ "classification" or "regression", and why: words and booleans are classes, and so are whole numbers with few
    different values; other numbers are not.

    Raises:
        UserError: ``task`` is no task, or the target cannot be read as it asks.
    """
    if task not in TASKS:
        raise UserError(f"there is no task `{task}`{nearest(task, list(TASKS))}. Write one of {listed(TASKS)}.")
    cells = table.columns[name]
    values, strange = numbers(cells)
    present = int((~np.isnan(values)).sum() + strange.sum())
    if present == 0:
        raise UserError(f"column `{name}` of {table.file} has no value in any row. Choose another target.")
    distinct = np.unique(values[~np.isnan(values)])
    mostly = strange.sum() <= (1 - MOSTLY) * present and (not strange.any() or len(distinct) > FEW)
    if task == "regression":
        if strange.sum() > (1 - MOSTLY) * present:
            row = int(np.flatnonzero(strange)[0])
            cell = table.cell(name, row)
            raise UserError(
                f"regression needs numbers, and column `{name}` holds words: '{cell}' at {table.place(row)}. "
                + (_with_marks(cell) or "Choose another target, or write `--task classification`.")
            )
        return "regression", f"target `{name}`: regression, as asked"
    if task == "classification":
        return "classification", f"target `{name}`: classification, as asked"
    if _is_boolean(cells) or not mostly:
        return "classification", f"target `{name}` holds words, so this is classification"
    few = len(distinct) <= 2 or (len(distinct) <= FEW and 10 * len(distinct) <= present)
    if few and not strange.any() and np.all(np.floor(distinct) == distinct):
        what = f"holds {len(distinct)} different whole numbers in {present:,} rows, so this is classification"
        return "classification", f"target `{name}` {what} (for regression write `--task regression`)"
    return "regression", f"target `{name}` holds numbers, so this is regression (else write `--task classification`)"


def labelled(table: Table, name: str, task: str, on_bad_row: str) -> Labelled:
    """The table with its target read for ``task``.

    Raises:
        UserError: the column holds no values that can be named; a target is missing, is no number, is infinite; with
            ``on_bad_row`` "skip" such rows are left out.
    """
    cells = table.columns[name]
    if task == "classification":
        target, absent = _names(table, name)
        strange = np.zeros(len(cells), dtype=bool)
    else:
        target, strange = numbers(cells)
        strange |= np.abs(target) > FLOAT32_MAX
        absent = np.isnan(target) & ~strange
    if on_bad_row == "refuse" and absent.any():
        count, row = int(absent.sum()), int(np.flatnonzero(absent)[0])
        have = "1 row has" if count == 1 else f"{count:,} rows have"
        raise UserError(
            f"{have} no value in the target column `{name}`, the first at {table.place(row)}. "
            "Fill it in, take the row out, or leave such rows out: `--on-bad-row skip`."
        )
    if on_bad_row == "refuse" and strange.any():
        row = int(np.flatnonzero(strange)[0])
        raise UserError(
            f"the target `{name}` is '{table.cell(name, row)}' at {table.place(row)}, which is not a finite number. "
            "Correct it, take the row out, or leave such rows out: `--on-bad-row skip`."
        )
    good = ~(absent | strange)
    return Labelled(table.kept(good), target[good], int((~good).sum()))


@dataclass(frozen=True)
class Target:
    """The target as training has it: its classes, or the mean and standard deviation of its numbers."""

    name: str
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 1.0

    def encode(self, part: Labelled) -> np.ndarray:
        """int64 (rows,) places in ``classes``, or standardised numbers, float32 (rows, 1).

        Raises:
            UserError: a class is not among those of training.
        """
        if not self.classes:
            return ((part.target - self.mean) / self.std).astype(np.float32)[:, None]
        found, inverse = np.unique(part.target, return_inverse=True)
        place = self.places(str(label) for label in found)
        unknown = [label for label in found if str(label) not in place]
        if unknown:
            row = int(np.flatnonzero(part.target == unknown[0])[0])
            raise UserError(
                f"the class '{unknown[0]}' of `{self.name}` at {part.table.place(row)} is in no training row, so it "
                f"cannot be learned. Correct it, or add training rows of it; training has {listed(self.classes)}."
            )
        return np.array([place[str(label)] for label in found], dtype=np.int64)[inverse]

    def places(self, labels: Iterable[str]) -> dict[str, int]:
        """The class of each label that is one. A file all of whose labels are numbers has them as numbers, so that `01` of
        training may be `1` there: what is no class by its letters is the only one with its value."""
        named = {label: at for at, label in enumerate(self.classes)}
        valued: dict[float, list[int]] = {}
        for label, at in named.items():
            with contextlib.suppress(ValueError):
                valued.setdefault(float(label), []).append(at)
        found = {}
        for label in labels:
            with contextlib.suppress(ValueError):
                (found[label],) = [named[label]] if label in named else valued.get(float(label), [])
        return found


def fitted(train: Labelled, name: str, task: str) -> Target:
    """The target learned from the training rows; classes in the order of their numbers, or of the alphabet.

    Raises:
        UserError: there is one class only, or nearly as many as rows; or all numbers are the same.
    """
    if task == "classification":
        return Target(name, classes=_classes(train, name))
    if np.ptp(train.target) == 0:
        raise UserError(
            f"the target `{name}` is {train.target[0]:g} in every training row of {train.table.file}, so there is "
            "nothing to learn. Choose another target, or give more rows."
        )
    return Target(name, mean=float(train.target.mean()), std=float(train.target.std()))


def _with_marks(cell: str) -> str:
    """What to write for a number with marks of thousands; empty for anything else."""
    marked = re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", cell)
    plain = cell.replace(",", "")
    return f"Other cells speak against commas as marks of thousands: write {plain}." if marked else ""


def refuse_free_text(rows: Labelled, name: str) -> None:
    """Raise `UserError` where a target that is to be classes has nearly as many values as rows."""
    found = [str(label) for label in np.unique(rows.target)]
    if len(found) > FREE_TEXT and 2 * len(found) > len(rows.target):
        raise UserError(
            f"column `{name}` has {len(found):,} different values in {len(rows.target):,} rows, too many to be classes. "
            + (_with_marks(found[0]) or "Choose another target, or write `--task regression` if they are numbers.")
        )


def _classes(train: Labelled, name: str) -> tuple[str, ...]:
    refuse_free_text(train, name)
    found = [str(label) for label in np.unique(train.target)]
    if len(found) == 1:
        raise UserError(
            f"every training row of {train.table.file} has the class '{found[0]}' in `{name}`, so there is nothing to "
            "tell apart. Give rows of at least two classes."
        )
    try:
        return tuple(sorted(found, key=float))
    except ValueError:
        return tuple(found)


def _is_boolean(cells: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_boolean(cells.type))


def _names(table: Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Class names (rows,) as text, whole numbers without a decimal point, and a mask of the missing ones."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = table.columns[name]
    if not _is_boolean(cells) and not pa.types.is_temporal(cells.type):
        values, strange = numbers(cells)
        if not strange.any() and np.isfinite(values).any():
            whole = np.floor(values) == values
            names = np.array([f"{value:.0f}" if w else repr(float(value)) for value, w in zip(values, whole)])
            return names, np.isnan(values)
    try:
        text = cells if is_text(cells) else pc.cast(cells, pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:  # a list, a struct; bytes that are no text
        raise UserError(
            f"column `{name}` of {table.file} holds values of type {cells.type}, which are neither classes nor numbers. "
            "Choose another target, or write one number or one word into each row of the column."
        ) from error
    return np.array(pc.fill_null(text, "").to_pylist(), dtype=str), pc.is_null(text).to_numpy()
