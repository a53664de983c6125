"""CIFAR's own binary files: ``data_batch_1.bin`` … ``test_batch.bin`` of CIFAR-10, ``train.bin``, ``test.bin`` of CIFAR-100.

The form is that of A. Krizhevsky (2009): for each picture its class in one byte (CIFAR-100: the coarse class, then the fine
one), then 32 × 32 bytes of red, as many of green and of blue; the names of the classes stand in a text beside them. The other
form, for Python, is made of pickles, which run code when they are read: it is refused.

To the rest of the package such a set is a folder: picture 17 of ``test_batch.bin`` is a file ``test_batch[17]``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seminal.core import UserError
from seminal.data.array_tree import ArrayTree
from seminal.data.files import Tree
from seminal.data.image_layout import TEST, Entry, Layout
from seminal.data.split import TRAIN

SIDE = 32
PIXELS = 3 * SIDE * SIDE


@dataclass(frozen=True)
class Form:
    """One of the two sets: its files, and which byte of a record is the class."""

    train: tuple[str, ...]
    test: str
    names: str  # the file with a class in each line
    labels: int  # bytes before the pixels; the last of them is the class


FORMS = (
    Form(tuple(f"data_batch_{part}.bin" for part in range(1, 6)), "test_batch.bin", "batches.meta.txt", 1),
    Form(("train.bin",), "test.bin", "fine_label_names.txt", 2),
)
PICKLED = frozenset({"data_batch_1", "test_batch", "batches.meta"})


def without_labels(tree: Tree) -> ArrayTree | None:
    """The pictures alone; None where there are no such files. Raises `UserError`."""
    found = with_labels(tree)
    return found[0] if found else None


def with_labels(tree: Tree) -> tuple[ArrayTree, Layout] | None:
    """The pictures of the files, their classes and splits; None where there are no such files.

    Raises `UserError`: the files are pickles, one is damaged, or the names of the classes are missing.
    """
    files = _files(tree)
    if files.keys() >= PICKLED:
        raise UserError(
            f"{tree.where} has CIFAR as pickles, which can run code when they are read: fetch the binary version "
            "(cifar-10-binary.tar.gz), which is read as it is."
        )
    form = next((form for form in FORMS if form.names in files and files.keys() & {*form.train, form.test}), None)
    if form is None:
        return None
    classes = tree.read(files[form.names]).decode("utf-8", "replace").split()
    pictures: dict[str, np.ndarray] = {}
    entries: list[Entry] = []
    there = [file for file in form.train if file in files]
    if there and len(there) < len(form.train):
        missing = ", ".join(file for file in form.train if file not in files)
        raise UserError(f"{tree.where} has a part of CIFAR's training set: {missing} is missing. Fetch it again.")
    parts = [file for file in (*there, form.test) if file in files]
    divided = form.test in parts and len(parts) > 1
    for file in parts:
        records = _records(tree.read(files[file]), form, file, len(classes))
        stem, split = file.removesuffix(".bin"), TEST if file == form.test else TRAIN
        pictures[stem] = records[:, form.labels :].reshape(-1, 3, SIDE, SIDE)
        of = split if divided else ""
        entries += [
            Entry(f"{stem}[{row}]", classes[label], of) for row, label in enumerate(records[:, form.labels - 1])
        ]
    folders = {TRAIN: form.train[0], TEST: form.test} if divided else {}
    return ArrayTree(tree.where, pictures), Layout(tuple(entries), folders, (), ())


def _files(tree: Tree) -> dict[str, str]:
    """The files of the set by their names without a folder."""
    wanted = {name for form in FORMS for name in (*form.train, form.test, form.names)} | PICKLED
    return {base: name for name in tree.names if (base := name.rpartition("/")[2]) in wanted}


def _records(data: bytes, form: Form, file: str, classes: int) -> np.ndarray:
    """(n, labels + pixels) uint8."""
    size = form.labels + PIXELS
    if not data or len(data) % size:
        raise UserError(
            f"{file} has {len(data):,} bytes, and each picture takes {size:,}, so it was cut off or damaged: fetch it again."
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, size)
    highest = int(records[:, form.labels - 1].max())
    if highest >= classes:
        raise UserError(
            f"{file} has a class {highest}, and {form.names} names {classes}, so one of them is damaged: fetch both again."
        )
    return records
