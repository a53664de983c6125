"""Which rows train and which validate: one share held out, or one fold of cross-validation.

Both are pure functions of the targets and a seed, so that the same data always fall apart in the same way. The
drawing itself is scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold, StratifiedShuffleSplit

from seminal.core import UserError

TRAIN, VAL = "train", "val"


@dataclass(frozen=True)
class Holdout:
    """The share ``fraction`` of the rows (rounded up) is held out for validation."""

    fraction: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fraction < 1:
            raise UserError(
                f"a validation share of {self.fraction:g} cannot be held out: it must lie between 0 and 1. "
                "Write 0.2 to validate on every fifth row."
            )

    def assign(self, targets: np.ndarray, *, stratify: bool) -> np.ndarray:
        """ "train" or "val" for each row, shape (rows,).

        Args:
            targets: (rows,) class names or numbers; only their count matters without ``stratify``.
            stratify: keep the share of each class in both parts.

        Raises:
            UserError: there are too few rows, or a class has too few to stand on both sides.
        """
        rows = len(targets)
        if rows < 2:
            raise UserError(f"{_rows(rows)} cannot be divided into training and validation: give at least 2.")
        held = int(np.ceil(rows * self.fraction))
        if held >= rows:
            raise UserError(
                f"holding out {self.fraction:g} of {_rows(rows)} leaves none to train on: "
                "hold out less, or give more rows."
            )
        if not stratify:
            return _marked(rows, next(ShuffleSplit(1, test_size=held, random_state=self.seed).split(targets))[1])
        classes, labels, counts = np.unique(targets, return_inverse=True, return_counts=True)
        _refuse_small_classes(classes, counts, 2, "so it cannot both train and validate")
        if min(held, rows - held) < len(classes):
            part = "validation" if held < rows - held else "training"
            raise UserError(
                f"holding out {self.fraction:g} of {_rows(rows)} gives {part} {_rows(min(held, rows - held))}, "
                f"fewer than the {len(classes)} classes. {_better_share(rows, len(classes), part)}"
            )
        draw = StratifiedShuffleSplit(1, test_size=held, random_state=self.seed)
        return _marked(rows, next(draw.split(np.zeros(rows), labels))[1])


@dataclass(frozen=True)
class Fold:
    """Fold ``index`` (counted from 0) of ``of``: each row validates in exactly one of them."""

    index: int
    of: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.of < 2:
            raise UserError(f"cross-validation with {self.of} fold has nothing to train on: write 2 folds or more.")
        if not 0 <= self.index < self.of:
            raise UserError(f"there is no fold {self.index}: {self.of} folds are counted 0 to {self.of - 1}.")

    def assign(self, targets: np.ndarray, *, stratify: bool) -> np.ndarray:
        """ "train" or "val" for each row, shape (rows,); see `Holdout.assign`.

        Raises:
            UserError: there are more folds than rows, or than rows of some class.
        """
        rows = len(targets)
        if rows < self.of:
            raise UserError(f"{self.of} folds need at least {self.of} rows, there are {rows}: ask for fewer folds.")
        if not stratify:
            folds = list(KFold(self.of, shuffle=True, random_state=self.seed).split(np.zeros(rows)))
            return _marked(rows, folds[self.index][1])
        classes, labels, counts = np.unique(targets, return_inverse=True, return_counts=True)
        why = f"so it cannot appear in each of {self.of} folds"
        _refuse_small_classes(classes, counts, self.of, why)
        stratified = StratifiedKFold(self.of, shuffle=True, random_state=self.seed)
        return _marked(rows, list(stratified.split(np.zeros(rows), labels))[self.index][1])


def _marked(rows: int, validation: np.ndarray) -> np.ndarray:
    marks = np.full(rows, TRAIN, dtype="<U5")
    marks[validation] = VAL
    return marks


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _refuse_small_classes(classes: np.ndarray, counts: np.ndarray, least: int, why: str) -> None:
    """Raise for classes with fewer than ``least`` rows, naming the first of them."""
    small = np.flatnonzero(counts < least)
    if not len(small):
        return
    count = int(counts[small[0]])
    size = "a single sample" if count == 1 else f"only {count} samples"
    others = f" The same holds for {_listed(classes[small[1:]])}." if len(small) > 1 else ""
    fewer_folds = f", ask for {counts.min()} folds" if counts.min() >= 2 else ""
    raise UserError(
        f"class `{classes[small[0]]}` has {size}, {why}: add samples of it{fewer_folds} or leave the class out.{others}"
    )


def _listed(names: Iterable[object]) -> str:
    shown = [f"`{name}`" for name in names]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _better_share(rows: int, classes: int, part: str) -> str:
    """A share that leaves each class a row on both sides, if there is one."""
    if rows < 2 * classes:
        return f"Give at least {2 * classes} rows, 2 of each class."
    if part == "validation":
        return f"Hold out {np.ceil(100 * classes / rows) / 100:.2g} or more."
    return f"Hold out {np.floor(100 * (rows - classes) / rows) / 100:.2g} or less."
