"""MNIST's own files: all pictures of a split in one IDX file, and all its labels in another.

The form is that of Y. LeCun, C. Cortes and C. Burges (1998): a magic number of four bytes (0, 0, the type of the numbers, of
which 8 is the unsigned byte, and how many dimensions there are), each dimension in four bytes, the largest first, then the
numbers. Fashion-MNIST, KMNIST and EMNIST come in it too, gzipped or not.

To the rest of the package such a set is a folder: picture 17 of ``t10k-images-idx3-ubyte.gz`` is a file ``t10k-images[17]``.
"""

from __future__ import annotations

import math
import re
import struct
import zlib

import numpy as np

from seminal.core import UserError
from seminal.data.array_tree import ArrayTree
from seminal.data.files import IN_MEMORY, Tree, hidden
from seminal.data.image_layout import TEST, Entry, Layout
from seminal.data.split import TRAIN

_FILE = re.compile(
    r"(?P<stem>(?P<set>.*?)(?P<split>train|t10k|test)-(?P<kind>images|labels))[-.]idx\d-ubyte(\.gz)?", re.IGNORECASE
)
_SPLITS = {"train": TRAIN, "t10k": TEST, "test": TEST}
_DIMENSIONS = {"images": 3, "labels": 1}


def without_labels(tree: Tree) -> ArrayTree | None:
    """The pictures of all IDX files of a folder, an archive or a file; None where there are none. Raises `UserError`."""
    found = {part["stem"]: _numbers(tree, name, part) for name, part in _files(tree) if _kind(part) == "images"}
    return ArrayTree(tree.where, found) if found else None


def with_labels(tree: Tree) -> tuple[ArrayTree, Layout] | None:
    """The pictures of the IDX files of a set, their classes and splits; None where there are no such files.

    One pair of files is a set without a split, whatever its name; of two, ``train`` trains and ``t10k`` or ``test`` tests.

    Raises:
        UserError: a file is damaged or missing, or pictures and labels do not belong together.
    """
    files = _files(tree)
    if not files:
        return None
    if len(sets := sorted({part["set"] for _, part in files})) > 1:
        named = ", ".join(f"`{name}train-images…`" for name in sets)
        raise UserError(f"{tree.where} holds files of several sets ({named}): give each a folder of its own.")
    splits = sorted({part["split"].lower() for _, part in files}, reverse=True)  # train before t10k
    divided = len(splits) > 1 and "train" in splits
    pictures: dict[str, np.ndarray] = {}
    entries: list[Entry] = []
    folders: dict[str, str] = {}
    for split in splits:
        stem, shown, labels = _pair(tree, [(name, part) for name, part in files if part["split"].lower() == split])
        pictures[stem] = shown
        of = _SPLITS[split] if divided else ""
        entries += [Entry(f"{stem}[{row}]", str(label), of) for row, label in enumerate(labels.tolist())]
        folders |= {of: stem} if divided else {}
    return ArrayTree(tree.where, pictures), Layout(tuple(entries), folders, (), ())


def _pair(tree: Tree, files: list[tuple[str, re.Match[str]]]) -> tuple[str, np.ndarray, np.ndarray]:
    """The beginning of the name of a split's pictures, these (n, height, width), and their labels (n,)."""
    pair = {_kind(part): (name, part) for name, part in files}
    if len(pair) == 1:
        (kind, (name, part)) = pair.popitem()
        other = "labels" if kind == "images" else "images"
        missing = f"{part['stem'][: -len(kind)]}{other}-idx{_DIMENSIONS[other]}-ubyte"
        raise UserError(
            f"{tree.where} has {name} but no {missing} (or {missing}.gz), and a network learns from pictures together with "
            "their labels: put it there too."
        )
    images, labels = (_numbers(tree, *pair[kind]) for kind in ("images", "labels"))
    if len(images) != len(labels):
        raise UserError(
            f"{pair['images'][0]} holds {len(images):,} pictures and {pair['labels'][0]} {len(labels):,} labels, so they do "
            "not belong together: fetch both again from one place."
        )
    return pair["images"][1]["stem"], images, labels


def _files(tree: Tree) -> list[tuple[str, re.Match[str]]]:
    """The IDX files, told by their names; of a file and the same with .gz, the first."""
    found: dict[str, tuple[str, re.Match[str]]] = {}
    for name in tree.names:
        part = _FILE.fullmatch(name.rpartition("/")[2])
        if part and not hidden(name):
            found.setdefault(part["stem"], (name, part))
    return list(found.values())


def _kind(part: re.Match[str]) -> str:
    return part["kind"].lower()


def _numbers(tree: Tree, name: str, part: re.Match[str]) -> np.ndarray:
    """The contents of a file: (n, height, width) or (n,) uint8."""
    dimensions = _DIMENSIONS[_kind(part)]
    data = _unpacked(tree, name)
    wanted = bytes((0, 0, 8, dimensions))
    if data[:4] != wanted:
        raise UserError(
            f"{name} begins with the bytes {data[:4].hex(' ') or '(none)'} instead of {wanted.hex(' ')}, the magic number of "
            f"IDX {part['kind']}, so it is damaged or no such file: fetch it again."
        )
    head = 4 + 4 * dimensions
    sizes = struct.unpack(f">{dimensions}I", data[4:head].ljust(4 * dimensions, b"\0"))
    if len(data) != head + math.prod(sizes):
        says = " × ".join(f"{size:,}" for size in sizes)
        raise UserError(
            f"{name} announces {says} numbers, which is a file of {head + math.prod(sizes):,} bytes, and has {len(data):,} "
            "(unpacked), so it was cut off or damaged on its way: fetch it again."
        )
    if not math.prod(sizes):
        raise UserError(f"{name} says of itself that it is empty, so there is nothing to read: fetch it again.")
    return np.frombuffer(data, np.uint8, offset=head).reshape(sizes)


def _unpacked(tree: Tree, name: str) -> bytes:
    """The bytes of a file. Whether they are gzipped they tell themselves: browsers unpack files and leave the ``.gz``."""
    try:
        data = tree.read(name)
        if data[:2] != b"\x1f\x8b":
            return data
        unpacker = zlib.decompressobj(wbits=31)
        data = unpacker.decompress(data, IN_MEMORY)
    except (OSError, zlib.error) as error:
        raise UserError(f"{name} cannot be read or unpacked ({error}): fetch it again.") from error
    if not unpacker.eof:
        raise UserError(f"{name} ends before its gzip stream does, so it was cut off on its way: fetch it again.")
    return data
