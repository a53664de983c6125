"""What is to be said of a text: one of some classes, or a number."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seminal.core import UserError
from seminal.data.text_rows import Known

MOST = 20  # classes that no one wonders about; more must be fewer than half the rows
ROWS = 10  # of a class that is a code, on average


@dataclass(frozen=True)
class TextTarget:
    """The labels as training has them: their classes, or the mean and spread by which numbers are standardised."""

    name: str
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 1.0
    known: bool = False  # the classes are those of a run

    def wrong(self, label: str) -> str:
        """Why this label cannot be learned; "" where it can."""
        if self.classes:
            if label in self.classes:
                return ""
            shown = f"{', '.join(self.classes[:5])}{' …' if len(self.classes) > 5 else ''}"
            return f"which the run never saw (it knows {shown})" if self.known else "which no training text has"
        return "which is no number" if number(label) is None else ""

    def codes(self, labels: Sequence[str]) -> np.ndarray:
        """(rows,) int64 places among the classes, or (rows, 1) float32 standardised numbers. No label is wrong."""
        if self.classes:
            code = {name: place for place, name in enumerate(self.classes)}
            return np.array([code[label] for label in labels], dtype=np.int64)
        return ((np.array([[float(label)] for label in labels]) - self.mean) / self.std).astype(np.float32)


def number(label: str) -> float | None:
    """A finite number, or none."""
    try:
        value = float(label)
    except ValueError:
        return None
    return value if math.isfinite(np.float32(value)) else None


def are_numbers(labels: Sequence[str]) -> bool:
    """Whether these are measured rather than names of classes: numbers with a fraction, or too many different ones that are
    not the codes 0, 1, 2 … or 1, 2, 3 … of classes with some rows each."""
    found = {number(label) for label in set(labels)}
    values = {value for value in found if value is not None}
    if len(values) < len(found) or not values:
        return False
    if any(value % 1 for value in values):
        return True
    codes = min(values) in (0, 1) and max(values) - min(values) == len(values) - 1 and ROWS * len(values) <= len(labels)
    return len(values) > MOST and not codes


def known_target(name: str, known: Known) -> TextTarget:
    """As the run has it."""
    if known.std:
        return TextTarget(known.classes[0], mean=known.mean[0], std=known.std[0])
    return TextTarget(name, known.classes, known=True)


def numbers(name: str, labels: Sequence[str], place: str) -> TextTarget:
    """Mean and spread of the labels that are numbers. Raises `UserError` where none is, or where all are the same."""
    values = np.array([value for value in map(number, labels) if value is not None])
    if not len(values):
        raise UserError(
            f"regression needs numbers, and `{name}` of {place} holds words such as `{labels[0][:30]}`: name another column "
            "with --target, or write --task classification."
        )
    if np.ptp(values) == 0:
        raise UserError(f"`{name}` is {values[0]:g} in every row of {place}: there is nothing to learn.")
    return TextTarget(name, mean=float(values.mean()), std=float(values.std()))


def classes(name: str, labels: Sequence[str], place: str) -> TextTarget:
    """Sorted, and as numbers where all are."""
    counts = Counter(labels)
    names = sorted(counts)
    if len(names) == 1:
        raise UserError(
            f"every text of {place} is of the class `{names[0]}`: to tell classes apart, 2 are needed. Is the column "
            "of labels right (--target)?"
        )
    if len(names) > max(MOST, len(labels) // 2):
        raise UserError(
            f"the labels of {place} have {len(names):,} different values in {len(labels):,} rows, so they are no "
            "classes. Name the column of labels: --target NAME."
        )
    if all(re.fullmatch(r"[+-]?\d+", label) for label in names):
        names = sorted(names, key=lambda label: (int(label), label))
    return TextTarget(name, tuple(names))
