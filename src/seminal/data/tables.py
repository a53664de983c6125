"""Tables: CSV, TSV and Parquet files, and the tables that scikit-learn brings, as batches in memory.

``read`` finds the target, makes the split, and learns from the training rows alone how each column becomes features
(`table_columns`). What was learned is a `TableEncoder`; it reads new files exactly as it read the validation rows.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from seminal.core import Batch, Crop, DataSpec, LeftOut, Order, UserError
from seminal.data import table_file, table_target
from seminal.data.rows import batch_count, row_order
from seminal.data.split import Fold, Holdout
from seminal.data.table_cells import bad_cell, cell_values, readable, unseen_categories
from seminal.data.table_columns import Column, fitted
from seminal.data.table_file import Table, listed, nearest
from seminal.data.table_target import Labelled, Target
from seminal.data.text_rows import Known
from seminal.pieces.chance import RowChance

VALIDATION = ("val", "valid", "validation", "test")  # names of the other file in a folder with ``train``, best first
SCALINGS = ("standard", "none")
COMMAS = "1,026 is 1026 (were it little more than one, write 1.026)"
BUNDLED = ("iris", "wine", "breast-cancer", "diabetes")


@dataclass(frozen=True)
class TableEncoder:
    """How a row of the user's table becomes the input of the model. Made of plain values: a run keeps it as JSON, and it
    comes back to the bit."""

    columns: tuple[Column, ...]
    scaling: str = "standard"

    def __post_init__(self) -> None:
        if self.scaling not in SCALINGS:
            raise UserError(
                f"scaling `{self.scaling}` is not for tables. Write `standard` (each column gets mean 0 and standard "
                "deviation 1) or `none`."
            )

    @property
    def features(self) -> tuple[str, ...]:
        """A name for each number of the input."""
        return tuple(feature for column in self.columns for feature in column.features)

    def matrix(self, values: list[np.ndarray]) -> Tensor:
        """The input (rows, features) float32 for the values (rows,) of each column, as `Column.read` gives them."""
        out = np.empty((len(values[0]), len(self.features)), dtype=np.float32)
        at = 0
        for column, cells in zip(self.columns, values):
            out[:, at : at + len(column.features)] = column.encode(cells, self.scaling)
            at += len(column.features)
        return torch.from_numpy(out)

    def encode(
        self, inputs: list[str], batch: int, left_out: LeftOut | None = None
    ) -> Iterator[tuple[list[str], Batch]]:
        """The rows of the files ``inputs`` in their order: names such as "houses.csv:17", and batches of at most ``batch``
        rows with ``input`` (rows, features) float32 and ``index`` (rows,) int64, counted over all files.

        The target column and others that were not learned from may be there or not. Warns of categories that training
        did not have; they are read as none of the known ones. Rows that are broken, or have a cell that cannot be read, are
        refused; or, where ``left_out`` is given, left out and put there, in their order.

        Raises:
            UserError: a file cannot be read, a column is missing from it, or a cell cannot be read.
        """
        done = 0
        for path in inputs:
            whole = table_file.read(Path(path), "refuse" if left_out is None else "skip")
            lines = np.sort(np.append(whole.lines, whole.broken))
            table, why = readable(whole, self.columns, "refuse" if left_out is None else "skip")
            if left_out is not None:
                why |= dict.fromkeys(whole.broken, "has another number of fields than the header")
                places = {line: done + int(np.searchsorted(lines, line)) for line in sorted(why)}
                left_out |= {place: (f"{table.file}:{line}", why[line]) for line, place in places.items()}
            if not len(table):
                raise UserError(f"no row of {table.file} can be read. Correct its rows.")
            values, _ = cell_values(table, self.columns)
            unseen = unseen_categories(table, self.columns, values)
            if unseen:
                warnings.warn(f"{table.file}: {unseen}", stacklevel=2)
            if new := [column.name for column in self.columns if column.name in table.commas and not column.commas]:
                warnings.warn(
                    f"{table.file}: commas are read as marks of thousands in {listed(new)}: {COMMAS}", stacklevel=2
                )
            matrix, index = self.matrix(values), torch.from_numpy(done + np.searchsorted(lines, table.lines))
            for start in range(0, len(table), batch):
                rows = matrix[start : start + batch]
                names = [table.place(row) for row in range(start, start + len(rows))]
                yield names, {"input": rows, "index": index[start : start + batch]}
            done += len(lines)


@dataclass(frozen=True)
class _Part:
    """One split, read and cleaned: the table's name and lines, the values of each column, the target."""

    file: str
    lines: np.ndarray
    values: list[np.ndarray]
    target: Tensor  # int64 (rows,) or float32 (rows, 1)
    said: np.ndarray  # (rows,) the target as it stands in the file: names of classes, or numbers


class TableSource:
    """A table in memory, as batches of ``input`` (rows, features) float32, ``target`` (rows,) int64 for classes or
    (rows, 1) float32 for numbers, standardised with ``spec.target_mean`` and ``target_std``, and ``index`` (rows,) int64.

    The inputs obey ``Order.scaling``; the target is always standardised, because every metric takes that back.
    """

    def __init__(self, spec: DataSpec, columns: tuple[Column, ...], parts: Mapping[str, _Part], *, device: str) -> None:
        self._spec, self._columns, self._parts, self._device = spec, columns, parts, device
        self._made: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def encoder(self, scaling: str) -> TableEncoder:
        return TableEncoder(self._columns, scaling)

    def steps(self, order: Order) -> int:
        return batch_count(order, self._rows(order.split))

    def batches(self, order: Order) -> Iterator[Batch]:
        """The batches from ``order.start`` on. A rank may get no row of the last one; it is given an empty batch."""
        inputs, targets = self._tensors(order.split, order.scaling)
        rows = row_order(order, self._rows(order.split))
        for step in range(order.start, self.steps(order)):
            mine = rows.batch(step).to(self._device)
            batch = {"input": inputs[mine], "target": targets[mine], "index": mine}
            for augment in order.augment:
                if isinstance(augment, Crop):
                    raise UserError(f"{type(augment).__name__} crops pictures, and {self._spec.name} is a table.")
                batch = augment(batch, RowChance(order.seed, order.epoch, mine))
            yield batch

    def digests(self) -> dict[str, str]:
        """What tells the rows of each split, values and targets, from others in the same lines."""
        return {split: _digest(part.values, part.said) for split, part in self._parts.items()}

    def name(self, split: str, index: int) -> str:
        """ "houses.csv:17": the file, and the line on which the row begins."""
        self._rows(split)
        return f"{self._parts[split].file}:{self._parts[split].lines[index]}"

    def _rows(self, split: str) -> int:
        if split not in self._spec.counts:
            raise UserError(f"{self._spec.name} has no split `{split}`. Write one of {listed(self._spec.counts)}.")
        return self._spec.counts[split]

    def _tensors(self, split: str, scaling: str) -> tuple[Tensor, Tensor]:
        """Inputs and targets on the device, made when first asked for."""
        if (split, scaling) not in self._made:
            self._rows(split)
            part = self._parts[split]
            matrix = self.encoder(scaling).matrix(part.values)
            self._made[split, scaling] = matrix.to(self._device), part.target.to(self._device)
        return self._made[split, scaling]


def read(
    path: str | Path,
    *,
    target: str | None = None,
    split: Holdout | Fold | None = None,
    task: str = "auto",
    on_bad_row: str = "refuse",
    device: str = "cpu",
    known: Known | None = None,
) -> TableSource:
    """The table in a file, or in a folder with ``train.csv`` and ``val.csv`` (also ``.tsv``, ``.txt``, ``.parquet``,
    ``.gz``; also valid, validation or test for val). A test table without the target, as contests give it, is left out.

    Args:
        path: the file or folder.
        target: the column to predict.
        split: how a single table is divided; a fifth of the rows is held out if nothing is said.
        task: "classification", "regression", or "auto" to choose by what the target holds.
        on_bad_row: "refuse" rows that are broken, have no target or a cell that is no finite number where numbers are
            expected; or "skip" them, which is noted.
        device: where the inputs and targets are kept.
        known: a run whose weights go on learning: its columns are read as it reads them, and nothing is learned from these.

    Raises:
        UserError: the table cannot be used, or lacks a column that is ``known``; the message names the line or the column
            and says what to write.
    """
    path = Path(path)
    if on_bad_row not in ("refuse", "skip"):
        raise UserError(f"there is no way `{on_bad_row}` to treat bad rows. Write `refuse` or `skip`.")
    files, notes = _files(path) if path.is_dir() else ({"train": path}, [])
    tables = {part: table_file.read(file, on_bad_row) for part, file in files.items()}
    name = table_target.checked_name(tables["train"], target)
    if "val" in tables and name not in tables["val"].columns and _stem(files["val"]) == "test":
        notes.append(f"{tables.pop('val').file} left out: it has no column `{name}`")
    if "val" in tables:
        _refuse_folds(path, files, split)
        table_target.checked_name(tables["val"], name)
    task, why = table_target.chosen_task(tables["train"], name, task)
    parts = {part: table_target.labelled(table, name, task, on_bad_row) for part, table in tables.items()}
    notes = [*notes, why, *(note for part in parts.values() for note in _left_out(part))]
    if task == "classification":
        table_target.refuse_free_text(parts["train"], name)  # before a split by classes that are none
    if "val" not in parts:
        parts, note = _divided(parts["train"], split or Holdout(), stratify=task == "classification")
        notes.append(note)
    train, columns, learned = _learned(parts["train"], name, on_bad_row, known)
    goal = _goal(train, name, task, known)
    stem = path.name if path.is_dir() else Path(path.name.lower().removesuffix(".gz")).stem
    return _source(
        stem,
        {**parts, "train": train},
        (columns, goal),
        notes=[*notes, *learned],
        on_bad_row=on_bad_row,
        device=device,
    )


def _refuse_folds(path: Path, files: Mapping[str, Path], split: Holdout | Fold | None) -> None:
    """Raise where the tables of a folder, which have a split of their own, are to be divided into folds."""
    if isinstance(split, Fold):
        raise UserError(
            f"{path} has a split of its own ({files['train'].name}, {files['val'].name}), so it is not divided into "
            f"folds. Give one table alone: `{files['train']}`."
        )


def to_score(
    path: Path, target: str | None, task: str, *, columns: tuple[Column, ...], on_bad_row: str = "refuse"
) -> dict[str, tuple[Path, Labelled, list[str]]]:
    """The table in a file ("all"), or those of a folder by their split, with their targets, and notes: nothing is learned
    from them, so a single row, or a single class, is enough. A test table without the target is left out. ``columns`` must
    be readable.

    Raises `UserError` as `read` does.
    """
    files = _files(path)[0] if path.is_dir() else {"all": path}
    found: dict[str, tuple[Path, Labelled, list[str]]] = {}
    for split, file in files.items():
        table = table_file.read(file, on_bad_row)
        if found and target not in table.columns and _stem(file) == "test":
            continue
        name = table_target.checked_name(table, target)
        rows = table_target.labelled(table, name, table_target.chosen_task(table, name, task)[0], on_bad_row)
        notes = list(_left_out(rows))
        if on_bad_row == "skip" and (why := readable(rows.table, columns, on_bad_row)[1]):
            told = [f"line {line}: {cell}" for line, cell in list(why.items())[:5]] + ["…"] * (len(why) > 5)
            notes.append(f"{len(why):,} rows of {table.file} left out: a cell cannot be read ({'; '.join(told)})")
            rows = rows.kept(~np.isin(rows.table.lines, list(why)))
        if not len(rows.target):
            raise UserError(f"{table.file} has no usable row. Correct its rows, or give more.")
        found[split] = (file, rows, notes)
    return found


def bundled(
    name: str, *, split: Holdout | Fold | None = None, device: str = "cpu", known: Known | None = None
) -> TableSource:
    """A table that comes with scikit-learn: iris, wine, breast-cancer (classes) or diabetes (a number).

    Columns are in their original units, so that standardisation knows the training rows only.
    """
    from sklearn import datasets

    if name not in BUNDLED:
        raise UserError(
            f"there is no bundled table `{name}`{nearest(name, list(BUNDLED))}. Write one of {listed(BUNDLED)}."
        )
    import pyarrow as pa

    load = {"iris": datasets.load_iris, "wine": datasets.load_wine, "breast-cancer": datasets.load_breast_cancer}
    data = load[name]() if name in load else datasets.load_diabetes(scaled=False)
    task, what = ("classification", "class") if name in load else ("regression", "disease progression")
    target = np.array(data.target_names)[data.target] if name in load else data.target.astype(np.float64)
    columns = {str(column): pa.chunked_array([data.data[:, at]]) for at, column in enumerate(data.feature_names)}
    rows = Labelled(Table(name, columns, np.arange(1, len(target) + 1)), target)
    parts, note = _divided(rows, split or Holdout(), stratify=task == "classification")
    train, learned, notes = _learned(parts["train"], what, "refuse", known)
    goal = _goal(train, what, task, known)
    return _source(name, parts, (learned, goal), notes=[note, *notes], device=device)


def _files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The tables of a folder by split, "val" being absent where there is none, and notes."""
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        if Path(file.name.lower().removesuffix(".gz")).suffix in table_file.ENDINGS:
            found.setdefault(_stem(file), []).append(file)
    if "train" not in found:
        have = listed(file.name for files in found.values() for file in files)
        raise UserError(
            f"{folder} has no table called train. Name the tables train.csv and val.csv, or give one table: "
            + (f"there is {have}." if have else "there is none in this folder.")
        )
    validation = [name for name in VALIDATION if name in found]
    for name in ("train", *validation[:1]):
        if len(found[name]) > 1:
            twins = listed(file.name for file in found[name])
            raise UserError(f"{folder} has more than one table called {name}: {twins}. Keep one of them.")
    if not validation:
        return {"train": found["train"][0]}, [f"{folder.name} has no table for validation (val.csv)"]
    files = {"train": found["train"][0], "val": found[validation[0]][0]}
    others = [found[name][0].name for name in validation[1:]]
    return files, [f"{files['val'].name} validates; {listed(others)} is not read"] if others else []


def _stem(file: Path) -> str:
    """The name before its endings, by which the tables of a folder are told apart."""
    return file.name.split(".")[0].lower()


def _divided(rows: Labelled, split: Holdout | Fold, *, stratify: bool) -> tuple[dict[str, Labelled], str]:
    """The rows as "train" and "val", and a note on how they were divided."""
    if len(rows.target) < 2:
        raise UserError(
            f"{rows.table.file} has {len(rows.target)} usable row, too few to train and validate. Give more rows."
        )
    marks = split.assign(rows.target, stratify=stratify)
    parts = {mark: rows.kept(marks == mark) for mark in ("train", "val")}
    how = f"fold {split.index + 1} of {split.of}" if isinstance(split, Fold) else f"{split.fraction:.0%} held out"
    sizes = f"{len(parts['train'].target):,} training and {len(parts['val'].target):,} validation rows"
    return parts, f"split made here: {how}, {'stratified, ' if stratify else ''}seed {split.seed}: {sizes}"


def _left_out(part: Labelled) -> Iterator[str]:
    if part.table.broken:
        lines = ", ".join(map(str, part.table.broken[:5])) + (" …" if len(part.table.broken) > 5 else "")
        yield f"{len(part.table.broken)} broken rows of {part.table.file} left out, on lines {lines}"
    if part.without:
        yield f"{part.without} rows of {part.table.file} left out: their target is missing or no finite number"


def _goal(train: Labelled, name: str, task: str, known: Known | None) -> Target:
    """The target learned from the training rows. Where it is the number that a run has said before, it keeps its scale."""
    goal = table_target.fitted(train, name, task)
    if known is None or not known.std or known.classes != (name,) or goal.classes:
        return goal
    return replace(goal, mean=known.mean[0], std=known.std[0])


def _of_run(train: Labelled, target: str, columns: tuple[Column, ...]) -> list[str]:
    """Notes on a table that is read with the columns of a run. Raises `UserError` where one of them is the target."""
    names = [column.name for column in columns]
    if target in names:
        raise UserError(
            f"the weights that training starts from read `{target}` as an input, so that it cannot be the target: choose "
            "another target, or start anew, without --from."
        )
    others = [name for name in train.table.columns if name not in (*names, target)]
    notes = [f"columns, categories and scales are those of the run that training starts from: {listed(names)}"]
    return notes + [f"left out: {listed(others)}, which it did not read"] * bool(others)


def _learned(
    train: Labelled, target: str, on_bad_row: str, known: Known | None
) -> tuple[Labelled, tuple[Column, ...], list[str]]:
    """The columns learned from the training rows, or those of a run; the rows without the ones that cannot be read, and
    notes.

    Raises:
        UserError: a cell cannot be read, or no column is of use.
    """
    if known is not None:
        columns = cast(TableEncoder, known.encoder).columns
        return train, columns, _of_run(train, target, columns)
    rows = len(train.target)
    while True:
        cells = {name: column for name, column in train.table.columns.items() if name != target}
        found = {name: fitted(name, column, train.table.lines) for name, column in cells.items()}
        marked, commas = train.table.thousands, train.table.commas
        kept = [column for column in found.values() if isinstance(column, Column)]
        columns = tuple(replace(c, thousands=c.name in marked, commas=c.name in commas) for c in kept)
        bad = cell_values(train.table, columns)[1]
        if not bad.any():
            break
        if on_bad_row == "refuse":
            raise UserError(bad_cell(train.table, columns))
        train = train.kept(~bad)  # and learn again: they shall leave no trace in the statistics
    useless = [f"`{name}` ({why})" for name, why in found.items() if isinstance(why, str)]
    if not columns:
        why = f"left out: {', '.join(useless)}" if useless else f"there is no column but the target `{target}`"
        raise UserError(
            f"{train.table.file} has no column to learn from: {why}. Give columns of numbers or categories; in a text "
            "file they are divided by commas, semicolons, tabs or bars."
        )
    categories = [f"`{column.name}` ({len(column.categories)})" for column in columns if column.categories]
    absent = [column.name for column in columns if column.missing]
    notes = [f"left out: {', '.join(useless)}"] * bool(useless)
    notes += [f"read as categories: {', '.join(categories)}"] * bool(categories)
    notes += [f"values are missing in {listed(absent)}: filled in, and marked by a feature of its own"] * bool(absent)
    notes += [f"numbers here have decimal commas, so that 1.026 is 1026 in {listed(marked)}"] * bool(marked)
    notes += [f"commas are read as marks of thousands in {listed(commas)}: {COMMAS}"] * bool(commas)
    notes += [_cells_note(train, rows)] * (len(train.target) < rows)
    return train, columns, notes


def _cells_note(part: Labelled, rows: int) -> str:
    return f"{rows - len(part.target)} rows of {part.table.file} left out: a cell is no finite number"


def _source(
    name: str,
    parts: Mapping[str, Labelled],
    learned: tuple[tuple[Column, ...], Target],
    *,
    notes: list[str],
    on_bad_row: str = "refuse",
    device: str,
) -> TableSource:
    """All parts, read with what was learned from the training rows."""
    columns, target = learned
    made: dict[str, _Part] = {}
    for split, part in parts.items():
        values, bad = cell_values(part.table, columns)
        if bad.any():
            if on_bad_row == "refuse":
                raise UserError(bad_cell(part.table, columns))
            part, values, rows = part.kept(~bad), [column[~bad] for column in values], len(part.target)
            notes = [*notes, _cells_note(part, rows)]
        if not len(part.target):
            raise UserError(f"{part.table.file} has no usable row for {split}. Correct its rows, or give more.")
        unseen = unseen_categories(
            part.table, columns, values
        )  # in training only where the columns are those of another run
        notes = [*notes, f"{'validation' if split == 'val' else 'training'}: {unseen}"] if unseen else notes
        encoded = torch.from_numpy(target.encode(part))
        made[split] = _Part(part.table.file, part.table.lines, values, encoded, part.target)
    counts = [torch.bincount(part.target, minlength=len(target.classes)) for part in made.values() if target.classes]
    absent = [label for label, count in zip(target.classes, counts[-1]) if not count] if counts else []
    notes = [*notes, f"validation has no row of the class {listed(absent)}"] if absent else notes
    spec = DataSpec(
        name=name,
        kind="table",
        counts={split: len(part.lines) for split, part in made.items()},
        shape=(sum(len(column.features) for column in columns),),
        classes=target.classes,
        class_counts=tuple(counts[0].tolist()) if counts else (),
        target_names=() if target.classes else (target.name,),
        target_mean=() if target.classes else (target.mean,),
        target_std=() if target.classes else (target.std,),
        notes=tuple(notes),
    )
    return TableSource(spec, columns, made, device=device)


def _digest(values: list[np.ndarray], target: np.ndarray) -> str:
    """SHA-256 of the columns and of the targets (numbers, or names of classes)."""
    found = hashlib.sha256()
    for column in values:
        found.update(column.tobytes())
    found.update("\n".join(map(repr, target.tolist())).encode())
    return found.hexdigest()
