"""Plain text as documents: which files they are in, where one ends and the next begins, and their lines.

Nothing holds a whole file, so that it may be larger than memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from seminal.core import UserError
from seminal.data import lines as text_lines
from seminal.data.split import TRAIN, VAL, Fold, Holdout
from seminal.data.stream_text import ENDINGS
from seminal.data.text_rows import ALL, Known, files_in, split_of

LONG = 200  # characters; of a longer line, each sentence is a unit
LOOKED = 1000  # lines in which a heading is looked for
HEADING = re.compile(r"\s*= [^=].*[^=] =\s*|\s*= [^=] =\s*")  # `` = Title = ``; ``= = Part = =`` is within a document
SENTENCE_END = re.compile(r"[.!?…][\"')\]”’]*\s+|[。！？][」』”’]*")


@dataclass(frozen=True)
class Unit:
    """A line, or a sentence of a long one: what is never parted where it fits."""

    text: str
    line: int  # in the file, counted from 1
    document: int  # counted over all files


@dataclass(frozen=True)
class Documents:
    """The documents of one file, which empty lines part, or headings where it has some; or of several files, each of which
    is one document. ``kept`` (documents,) says which belong to this split; None: all."""

    files: tuple[Path, ...]
    kept: np.ndarray | None = None

    def units(self) -> Iterator[Unit]:
        """Raises `UserError` where there is nothing but spaces."""
        found = False
        for unit in self._all():
            found = True
            if self.kept is None or self.kept[unit.document]:
                yield unit
        if not found:
            raise UserError(f"{self.place} is empty: give a file with text, or leave it out.")

    @property
    def place(self) -> str:
        return self.files[0].name if len(self.files) == 1 else self._folder.name

    def file(self, document: int) -> str:
        """The name of the file that holds it, below the folder of all."""
        return str(self.files[document if len(self.files) > 1 else 0].relative_to(self._folder))

    @cached_property
    def _folder(self) -> Path:
        return Path(os.path.commonpath([file.parent for file in self.files]))

    def sizes(self) -> np.ndarray:
        """(documents,) characters."""
        sizes: list[int] = []
        for unit in self._all():
            sizes += [0] * (unit.document + 1 - len(sizes))
            sizes[unit.document] += len(unit.text)
        return np.array(sizes, dtype=np.int64)

    def _all(self) -> Iterator[Unit]:
        if len(self.files) == 1:
            yield from _parted(self.files[0])
            return
        for document, file in enumerate(self.files):
            for number, line in enumerate(text_lines.lines(file), 1):
                yield from (Unit(text, number, document) for text in sentences(line))


def found_in(path: Path, known: Known | None) -> dict[str, Documents]:
    """The documents of each split: of a file, of a folder with a file or a folder for each split, or of a folder whose text
    files, in folders of their own or not, tell no split."""
    whole = known is not None and known.whole
    if not path.is_dir():
        return {split: Documents((file,)) for split, file in files_in(path, ENDINGS, known).items()}
    folders: dict[str, Path] = {}
    for entry in (entry for entry in sorted(path.iterdir()) if entry.is_dir()):
        split = split_of(entry.name)
        if split and split in folders:
            raise UserError(f"{path} has more than one {split} set: keep {folders[split].name} or {entry.name}.")
        folders[split] = entry
    files = {split_of(text_lines.bare(file).stem) for file in _texts(path)}
    if "train" in folders or (whole and folders.keys() - {""}):
        order = sorted(folders.keys() - {""}, key=lambda split: ({"train": 0, "val": 1}.get(split, 2), split))
        parts = {split: tuple(_texts(folders[split], deep=True)) for split in order}
        if empty := [folders[split].name for split, some in parts.items() if not some]:
            raise UserError(
                f"{path / empty[0]} holds no text: put files in it ({', '.join(ENDINGS)}), or leave it out."
            )
        return {split: Documents(some) for split, some in parts.items()}
    every = tuple(_texts(path, deep=True))
    named = "train" in files or (whole and files - {""}) or (files and "" not in files)
    if named or not every or "val" in folders or "test" in folders:
        return {split: Documents((file,)) for split, file in files_in(path, ENDINGS, known).items()}
    return {ALL if whole else "train": Documents(every)}  # their names tell no split


def parted(whole: Documents, share: Holdout | Fold, least: int) -> tuple[dict[str, Documents], str]:
    """What trains and what validates, and that in words. Of a file the last documents validate, as many as hold about the
    share of its characters; of a folder, files drawn at random; of folds, documents dealt at random.

    Raises `UserError` where there are not ``least`` documents for each.
    """
    sizes = whole.sizes()
    full = np.flatnonzero(sizes)  # some files may be empty
    if not len(full):
        raise UserError(f"{whole.place} is empty: give a file with text.")
    if len(full) < 2 * least:
        raise UserError(
            f"{whole.place} holds {len(full)} document{'s' * (len(full) > 1)}, too few to hold some out for validation: put "
            "an empty line between two documents (or a heading ` = Title = ` before each), or give a folder with train.txt "
            "and valid.txt."
        )
    if isinstance(share, Holdout) and len(whole.files) == 1:
        before = sizes.cumsum()
        first = int(np.searchsorted(before, before[-1] * (1 - share.fraction), side="right"))
        held = np.arange(len(sizes)) >= min(max(least, first), len(sizes) - least)
        which = f"the last {held.sum():,}"
    else:
        if isinstance(share, Holdout):
            share = replace(share, fraction=max(share.fraction, least / len(full)))
        held = np.zeros(len(sizes), dtype=bool)
        held[full] = share.assign(full, stratify=False) == VAL
        which = f"{held.sum():,}"
    parts = {TRAIN: replace(whole, kept=~held), VAL: replace(whole, kept=held)}
    return parts, f"split made here: {which} of {len(full):,} documents held out for validation"


def sentences(line: str) -> Iterator[str]:
    """The line; of a long one, its sentences. Nothing where there are only spaces."""
    first = 0
    for end in SENTENCE_END.finditer(line) if len(line) > LONG else ():
        yield line[first : end.end()].strip()
        first = end.end()
    if rest := line[first:].strip():
        yield rest


def _parted(file: Path) -> Iterator[Unit]:
    headed = any(HEADING.fullmatch(line) for line in islice(text_lines.lines(file), LOOKED))
    document, begun = 0, False
    for number, line in enumerate(text_lines.lines(file), 1):
        ends = HEADING.fullmatch(line) if headed else not line or line.isspace()
        if ends and begun:
            document, begun = document + 1, False
        for text in sentences(line):
            begun = True
            yield Unit(text, number, document)


def _texts(folder: Path, *, deep: bool = False) -> list[Path]:
    """Text files in a folder, by their names; with ``deep`` in its folders too. Hidden ones are no data."""
    files = sorted(folder.rglob("*") if deep else folder.iterdir())
    return [
        file
        for file in files
        if text_lines.bare(file).suffix.lower() in ENDINGS and file.is_file() and not _hidden(file.relative_to(folder))
    ]


def _hidden(place: Path) -> bool:
    return any(part.startswith(".") for part in place.parts)
