"""The cells of a table, read by columns that were learned before: values, and what to say of cells that cannot be read."""

from __future__ import annotations

import numpy as np

from seminal.core import UserError
from seminal.data.table_columns import FLOAT32_MAX, Column, numbers
from seminal.data.table_file import Table, nearest


def cell_values(table: Table, columns: tuple[Column, ...]) -> tuple[list[np.ndarray], np.ndarray]:
    """The values (rows,) of each column, and a mask (rows,) of the rows with a cell that cannot be read.

    Raises:
        UserError: the table lacks one of the columns.
    """
    values, bad = [], np.zeros(len(table), dtype=bool)
    for column in columns:
        if column.name not in table.columns:
            near = nearest(column.name, list(table.columns))
            raise UserError(
                f"{table.file} has no column `{column.name}`, which the training data had{near}. "
                "Give all columns that the model was trained on; the target may be left out."
            )
        cells, strange = column.read(table.columns[column.name])
        values.append(cells)
        bad |= strange
    return values, bad


def readable(table: Table, columns: tuple[Column, ...], on_bad_row: str) -> tuple[Table, dict[int, str]]:
    """The rows whose cells can be read; and of the others the line, and which cell it is that cannot.

    Raises:
        UserError: the table lacks one of the columns; or a cell cannot be read, unless such rows are to be skipped.
    """
    bad = cell_values(table, columns)[1]
    if bad.any() and on_bad_row == "refuse":
        raise UserError(bad_cell(table, columns))
    strange = {c.name: c.read(table.columns[c.name])[1] for c in columns} if bad.any() else {}
    why = {}
    for row in np.flatnonzero(bad).tolist():
        name = next(name for name, cells in strange.items() if cells[row])
        why[int(table.lines[row])] = f"`{name}` is '{table.cell(name, row)}'"
    return table.kept(~bad), why


def bad_cell(table: Table, columns: tuple[Column, ...]) -> str:
    """Which cell it was that could not be read: the first of the table."""
    first = {column: np.flatnonzero(column.read(table.columns[column.name])[1]) for column in columns}
    row, column = min((int(rows[0]), at) for at, rows in enumerate(first.values()) if len(rows))
    name, kind = columns[column].name, columns[column].kind
    wanted = {"number": "a finite number", "date": "a date such as 2024-05-31", "boolean": "true or false"}[kind]
    if kind == "number" and np.isfinite(numbers(table.columns[name].slice(row, 1))[0]).all():
        wanted = f"a number up to {FLOAT32_MAX:.1e}, the largest that 32 bits hold,"
    return (
        f"column `{name}` has '{table.cell(name, row)}' at {table.place(row)}, where {wanted} is expected. Correct it "
        "(an empty cell is a missing value), or leave such rows out: `--on-bad-row skip`."
    )


def unseen_categories(table: Table, columns: tuple[Column, ...], values: list[np.ndarray]) -> str:
    """How many cells hold a category that training did not have, with the first of each column; "" for none."""
    found = {
        column.name: np.flatnonzero(cells < 0) for column, cells in zip(columns, values) if column.kind == "category"
    }
    told = [
        f"{len(rows)} in `{name}` (first '{table.cell(name, int(rows[0]))}' at {table.place(int(rows[0]))})"
        for name, rows in found.items()
        if len(rows)
    ]
    return f"categories that training did not have: {', '.join(told)}; read as none of the known ones" if told else ""
