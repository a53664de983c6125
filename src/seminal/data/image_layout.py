"""Which files of a tree are the pictures of which class and which split, told from the names alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from seminal.core import UserError
from seminal.data.files import Tree, hidden
from seminal.data.pictures import SUFFIXES
from seminal.data.split import TRAIN, VAL

TEST = "test"

_SET = r"([ _-]?(set|data|images))?$"
_SPLITS = {
    TRAIN: re.compile("(train|training)" + _SET, re.IGNORECASE),
    VAL: re.compile("(val|valid|validation|dev)" + _SET, re.IGNORECASE),
    TEST: re.compile("(test|testing)" + _SET, re.IGNORECASE),
}


@dataclass(frozen=True)
class Entry:
    """A file below a class folder. ``split`` is empty where the folders name no splits."""

    name: str
    label: str
    split: str


@dataclass(frozen=True)
class Layout:
    """What the names of a tree say. ``stray`` are pictures outside all class folders."""

    entries: tuple[Entry, ...]
    folders: dict[str, str]  # split -> the user's name for it ("val" -> "valid/")
    stray: tuple[str, ...]
    notes: tuple[str, ...]


def read_layout(tree: Tree) -> Layout:
    """Sort the files into splits and classes. Raises `UserError`, with the expected tree, where there are no classes."""
    names = [name for name in tree.names if not hidden(name)]
    system = [name for name in tree.names if hidden(name)]
    notes = [f"ignored {_count(len(system), 'system file')} ({_some(system)})"] if system else []
    tops = {name.split("/", 1)[0] for name in names if "/" in name} | {e.split("/", 1)[0] for e in tree.empty_folders}
    splits = {top: split for top in tops if (split := _split_of(top))}
    has_classes = {name.split("/", 1)[0] for name in names if name.count("/") >= 2}
    # A class may well be called "train" (beside "bus" and "tram"): then its pictures lie directly in it.
    if any(split == TRAIN and top in has_classes for top, split in splits.items()) or (tops and tops <= splits.keys()):
        return _split_layout(tree, names, splits, notes)
    return _class_layout(tree, names, notes)


def _class_layout(tree: Tree, names: list[str], notes: list[str]) -> Layout:
    entries = tuple(Entry(name, name.split("/", 1)[0], "") for name in names if "/" in name)
    if not entries:
        raise UserError(_no_classes(tree))
    notes += [f"class folder `{name}` is empty: it is not counted as a class" for name in tree.empty_folders]
    return _layout(entries, {}, [name for name in names if "/" not in name], notes)


def _split_layout(tree: Tree, names: list[str], splits: dict[str, str], notes: list[str]) -> Layout:
    entries, outside, elsewhere = [], [], []
    for name in names:
        top, _, rest = name.partition("/")
        if rest and top not in splits:
            elsewhere.append(name)
        elif "/" in rest:
            entries.append(Entry(name, rest.split("/", 1)[0], splits[top]))
        else:
            outside.append(name)
    folders: dict[str, str] = {}
    for top in sorted(splits):
        label = splits[top]
        folders[label] = f"{folders[label]} and {top}/" if label in folders else f"{top}/"
        flat = [name for name in outside if name.startswith(f"{top}/") and _is_picture(name)]
        if any(entry.name.startswith(f"{top}/") for entry in entries):
            continue
        if label != TEST or not flat:
            raise UserError(_no_pictures_in(tree, top, len(flat)))
        del folders[label]
        outside = [name for name in outside if not name.startswith(f"{top}/")]
        notes.append(
            f"{top}/ has {_count(len(flat), 'picture')} without class folders: left out, `predict` can read them"
        )
    for top, count in sorted(Counter(name.split("/", 1)[0] for name in elsewhere).items()):
        notes.append(f"{top}/ ({_count(count, 'file')}) is neither training nor validation: left out")
    if TRAIN not in folders:
        raise UserError(f"{tree.where} has {_joined(folders.values())} but no train/. {expected_tree(tree.where)}")
    empty = [name for name in tree.empty_folders if name.split("/", 1)[0] in splits]
    notes += [f"class folder `{name}` is empty" for name in empty]
    return _layout(tuple(entries), folders, outside, notes)


def _layout(entries: tuple[Entry, ...], folders: dict[str, str], outside: list[str], notes: list[str]) -> Layout:
    others = [name for name in outside if not _is_picture(name)]
    if others:
        notes = [*notes, f"ignored {_count(len(others), 'file')} beside the class folders ({_some(others)})"]
    return Layout(entries, folders, tuple(name for name in outside if _is_picture(name)), tuple(notes))


def _split_of(folder: str) -> str:
    return next((split for split, pattern in _SPLITS.items() if pattern.match(folder)), "")


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _no_classes(tree: Tree) -> str:
    names = [name for name in tree.names if not hidden(name)]
    if not names and not tree.empty_folders:
        return f"{tree.where} is empty: there is no picture to train on. {expected_tree(tree.where)}"
    held = [(len(names), "file"), (len(tree.empty_folders), "empty folder")]
    found = ", ".join([*names[:3], *(f"{name}/" for name in tree.empty_folders[:3])])
    what = " and ".join(_count(number, noun) for number, noun in held if number)
    return f"{tree.where} has no class folders: {what} ({found}). {expected_tree(tree.where)}"


def _no_pictures_in(tree: Tree, top: str, flat: int) -> str:
    held = f"{_count(flat, 'picture')} and no class folders" if flat else "no pictures"
    return f"{top}/ in {tree.where} has {held}. {expected_tree(tree.where)}"


def expected_tree(where: str) -> str:
    """The two forms of a folder of pictures, to stand at the end of a message."""
    return (
        f"Expected, in {where}:\n"
        "  train/<class>/*.jpg and val/<class>/*.jpg (or valid, validation, test)\n"
        "or, to have the split made for you:\n"
        "  <class>/*.jpg"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _joined(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))
