"""The list of a set's pictures: names, classes, splits, and what the headers say, before any pixel is decoded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from seminal.core import DataSpec, UserError
from seminal.data import cifar, idx
from seminal.data.files import Tree, open_tree
from seminal.data.image_layout import TEST, Layout, expected_tree, read_layout
from seminal.data.pictures import SUFFIXES, BadPicture, Header, in_threads, read_header
from seminal.data.split import TRAIN, VAL, Fold, Holdout

# Reading every header takes a second for 20,000 files; of a larger set, a sample is read.
_ALL_HEADERS = 20_000
_SAMPLED_HEADERS = 200

Bad = tuple[str, str]  # a file's name, and why it is no picture


@dataclass(frozen=True, eq=False)
class Listing:
    """All pictures of a set, one row each, in the order of their names (IDX: of the file).

    ``native_size`` is (height, width) where all pictures (of a large set: of a sample) have one size; ``channels`` is 1
    where they are all grey, else 3. A row's index within its split counts the rows of that split in this order.
    """

    name: str
    tree: Tree
    names: tuple[str, ...]
    labels: np.ndarray  # (rows,) int64, into `classes`
    splits: np.ndarray  # (rows,) "train", "val" or "test"
    classes: tuple[str, ...]
    native_size: tuple[int, int] | None
    channels: int
    on_bad_file: str = "refuse"
    notes: tuple[str, ...] = ()

    @cached_property
    def _rows(self) -> dict[str, np.ndarray]:
        return {split: np.flatnonzero(self.splits == split) for split in (TRAIN, VAL, TEST)}

    def rows(self, split: str) -> np.ndarray:
        """Positions of a split's rows in the listing, (rows of the split,) int64. Raises `UserError` if there are none."""
        rows = self._rows.get(split)
        if rows is None or not len(rows):
            has = ", ".join(name for name, rows in self._rows.items() if len(rows))
            raise UserError(f"{self.name} has no split `{split}`: it has {has}.")
        return rows

    def row_name(self, split: str, index: int) -> str:
        return self.names[int(self.rows(split)[index])]

    def spec(self, size: int) -> DataSpec:
        """What models and tasks must know, for pictures of ``size`` × ``size``."""
        counts = Counter(self.splits.tolist())
        in_training = np.bincount(self.labels[self.rows(TRAIN)], minlength=len(self.classes))
        return DataSpec(
            name=self.name,
            kind="images",
            counts={split: counts[split] for split in (TRAIN, VAL, TEST) if counts[split]},
            shape=(self.channels, size, size),
            classes=self.classes,
            class_counts=tuple(in_training.tolist()),
            notes=self.notes,
        )

    def without(self, bad: list[Bad]) -> Listing:
        """The listing without files that turned out to be no pictures, or the refusal of the whole set.

        Raises:
            UserError: files are bad and may not be skipped, or what remains cannot be trained on.
        """
        if not bad:
            return self
        names = {name for name, _ in bad}
        keep = np.array([name not in names for name in self.names])
        note = skipped(bad, len(self.names), self.on_bad_file)
        left = replace(
            self,
            names=tuple(name for name in self.names if name not in names),
            labels=self.labels[keep],
            splits=self.splits[keep],
            notes=(*self.notes, note),
        )
        missing = _checked(left.labels, left.splits, left.classes, left.tree.where)
        return replace(left, notes=(*left.notes, *(note for note in missing if note not in left.notes)))


def scan(path: str | Path, *, split: Holdout | Fold | None = None, on_bad_file: str = "refuse") -> Listing:
    """Find the pictures of a folder or archive, their classes and their splits.

    Args:
        path: ``train/<class>/…`` beside ``val/<class>/…`` (or valid, validation, test), or one folder of class folders,
            or the own files of MNIST or CIFAR; a folder, .zip or .tar. Files anywhere below a class folder belong to it.
        split: how to divide a set that has no validation part; a `Fold` also redivides training and validation
            together. None: a fifth is held out.
        on_bad_file: "refuse" the set, or "skip" the file, when one is no picture.

    Raises:
        UserError: nothing is there, it may not be read, there are no class folders, only one class, an empty split, a
            class without training pictures, or bad files and ``on_bad_file="refuse"``.
    """
    if on_bad_file not in ("refuse", "skip"):
        raise UserError(f"on_bad_file is `{on_bad_file}`: write `refuse` (stop and name the file) or `skip`.")
    tree, layout = labelled(path)
    entries = list(layout.entries)
    headers, bad = _headers(tree, [entry.name for entry in entries])
    bad = [*((name, "a picture outside the class folders") for name in layout.stray), *bad]
    notes = list(layout.notes)
    if bad:
        notes.append(skipped(bad, len(entries) + len(layout.stray), on_bad_file))
        refused = {name for name, _ in bad}
        entries = [entry for entry in entries if entry.name not in refused]
    if not entries:
        raise UserError(f"{tree.where} holds no picture. {expected_tree(tree.where)}")
    splits = np.array([entry.split for entry in entries])
    classes = tuple(sorted({entry.label for entry in entries}))
    if len(classes) == 1:
        raise UserError(
            f"{tree.where} has only one class, `{classes[0]}`: there is nothing to tell apart. "
            f"{expected_tree(tree.where)}"
        )
    index = {name: label for label, name in enumerate(classes)}
    labels = np.array([index[entry.label] for entry in entries], dtype=np.int64)
    splits, divided = _divided(splits, np.array(classes)[labels], layout, split, tree.where)
    notes = [*divided, *notes, *_checked(labels, splits, classes, tree.where)]
    sizes = {(header.height, header.width) for header in headers}
    return Listing(
        name=_set_name(path),
        tree=tree,
        names=tuple(entry.name for entry in entries),
        labels=labels,
        splits=splits,
        classes=classes,
        native_size=sizes.pop() if len(sizes) == 1 else None,
        channels=1 if all(header.grey for header in headers) else 3,
        on_bad_file=on_bad_file,
        notes=tuple(notes),
    )


def labelled(path: str | Path) -> tuple[Tree, Layout]:
    """The files of a folder or archive, and what each is called. Nothing is opened, and a single class is enough."""
    tree = open_tree(path)
    return idx.with_labels(tree) or cifar.with_labels(tree) or (tree, read_layout(tree))


def skipped(bad: list[Bad], total: int, on_bad_file: str, kind: str = "files") -> str:
    """The note about files left out. Raises `UserError` naming them where ``on_bad_file`` is "refuse"."""
    named = ", ".join(f"{name} ({why})" for name, why in bad[:5]) + (", …" if len(bad) > 5 else "")
    if on_bad_file == "refuse":
        raise UserError(
            f"{len(bad):,} of {total:,} files cannot be used: {named}. "
            "Repair or remove them, or write `--on-bad-file skip` to go on without them."
        )
    return f"left out {len(bad):,} of {total:,} {kind}: {named}"


def _headers(tree: Tree, names: list[str]) -> tuple[list[Header], list[Bad]]:
    """Headers of all files, or of a sample and of the files that do not look like pictures; and the files without one."""
    if len(names) > _ALL_HEADERS:
        sample = np.random.default_rng(0).choice(len(names), _SAMPLED_HEADERS, replace=False)
        chosen = {names[i] for i in sample} | {name for name in names if not name.lower().endswith(SUFFIXES)}
        names = sorted(chosen)

    def header_or_reason(name: str) -> Header | str:
        try:
            return read_header(tree, name)
        except BadPicture as error:
            return str(error)

    found = in_threads(header_or_reason, names)
    bad = [(name, result) for name, result in zip(names, found) if isinstance(result, str)]
    return [result for result in found if isinstance(result, Header)], bad


def _divided(
    splits: np.ndarray, targets: np.ndarray, layout: Layout, split: Holdout | Fold | None, where: str
) -> tuple[np.ndarray, list[str]]:
    """The split of each row, and how it came about."""
    folders = layout.folders
    counts = Counter(splits.tolist())
    if isinstance(split, Fold):
        pool = splits != TEST
        note = f"fold {split.index + 1} of {split.of} (stratified, seed {split.seed})"
        if VAL in folders:
            note += f" over the pictures of {folders[TRAIN]} and {folders[VAL]} together"
        if TEST in folders:
            note += f"; {folders[TEST]} takes no part"
    elif VAL in folders:
        return splits, [_counted(folders, counts)]
    elif TEST in folders:
        serves = f"there is no val/, so {folders[TEST]} serves as validation"
        return np.where(splits == TEST, VAL, splits), [f"{_counted(folders, counts)}; {serves}"]
    else:
        pool = np.ones(len(splits), dtype=bool)
        split = split or Holdout()
        share = round(100 * split.fraction)
        held = folders.get(TRAIN, where)
        number = len(set(targets.tolist()))
        note = (
            f"{held} has {number} classes with {len(targets):,} pictures and no split: "
            f"made one ({100 - share}/{share}, stratified)"
        )
    divided = splits.astype("<U5")
    divided[pool] = split.assign(targets[pool], stratify=True)
    return divided, [note]


def _counted(folders: dict[str, str], counts: Counter[str]) -> str:
    parts = [f"{counts[split]:,} in {folders[split]}" for split in (TRAIN, VAL, TEST) if split in folders]
    return "pictures: " + ", ".join(parts)


def _checked(labels: np.ndarray, splits: np.ndarray, classes: tuple[str, ...], where: str) -> list[str]:
    """Notes on classes that a split lacks. Raises `UserError` where that makes training or scoring impossible."""
    present = {split: set(labels[splits == split].tolist()) for split in (TRAIN, VAL, TEST)}
    for split in (TRAIN, VAL):
        if not present[split]:
            raise UserError(f"no picture is left for {split} in {where}. {expected_tree(where)}")
    unknown = [name for label, name in enumerate(classes) if label not in present[TRAIN]]
    if unknown:
        named = ", ".join(f"`{name}`" for name in unknown[:5])
        raise UserError(
            f"no training picture in {where} of {named}: a network cannot name what it never saw. "
            "Check the spelling of the folders, add training pictures, or remove the class from validation and test."
        )
    absent = [name for label, name in enumerate(classes) if label not in present[VAL]]
    if not absent:
        return []
    named = ", ".join(f"`{name}`" for name in absent[:5]) + (", …" if len(absent) > 5 else "")
    return [f"validation has no picture of {named}: the scores say nothing about it"]


def _set_name(path: str | Path) -> str:
    """``~/flowers/`` and ``flowers.tar.xz`` are both called "flowers"."""
    name = Path(path).expanduser().resolve().name or "images"
    for suffix in (".gz", ".xz", ".bz2", ".tar", ".tgz", ".txz", ".tbz2", ".zip"):
        name = name.removesuffix(suffix)
    return name
