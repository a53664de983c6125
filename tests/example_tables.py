"""Tables for the tests, as files; and what a source holds, as one batch."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from seminal.core import Batch, Order
from seminal.data import tables

WORDS = ("north", "south", "east", "west")


def houses(rows: int = 60, seed: int = 0) -> dict[str, list]:
    """A table with every kind of column; values are missing in `area`, `street` and `garden`."""
    rng = np.random.default_rng(seed)
    day = datetime(2020, 1, 1)
    area = rng.normal(100, 30, rows).round(3)
    return {
        "area": [None if i % 7 == 3 else float(a) for i, a in enumerate(area)],
        "rooms": rng.integers(1, 9, rows).tolist(),
        "street": [None if i % 11 == 5 else WORDS[rng.integers(4)] for i in range(rows)],
        "garden": [None if i % 13 == 6 else bool(rng.integers(2)) for i in range(rows)],
        "sold": [(day + timedelta(hours=int(h))).isoformat(sep=" ") for h in rng.integers(0, 50_000, rows)],
        "price": (area * 2000 + rng.normal(0, 9000, rows)).round(2).tolist(),
    }


def written(path: Path, table: dict[str, list], delimiter: str = ",") -> Path:
    """The table as text, None as nothing."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(["" if cell is None else cell for cell in row] for row in zip(*table.values()))
    return path


def whole(source: tables.TableSource, split: str, scaling: str = "standard") -> Batch:
    """All rows of a split in their order, as one batch."""
    return next(iter(source.batches(Order(split, 10**6, scaling=scaling))))


def lines(source: tables.TableSource, split: str) -> list[int]:
    return [int(source.name(split, i).rsplit(":")[-1]) for i in range(source.spec.counts[split])]
