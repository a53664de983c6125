"""Plain text in pieces: lines with their ends, and parts of lines that are too long to be read at once.

Nothing holds a whole file, so that it may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from seminal.core import UserError
from seminal.data import lines as text_lines

ENDINGS = (".txt", ".tokens", ".raw")
LONGEST = 1 << 16  # characters of a piece
LEAST = 16  # characters of a piece where a line must be cut to hold a part of it out


Parting = Callable[[str, str], bool]  # whether a text may be cut between these two pieces of it


@dataclass(frozen=True)
class Piece:
    text: str
    line: int  # in the file, counted from 1


@dataclass(frozen=True)
class StreamText:
    """A file, or the pieces ``first`` … ``last`` of it."""

    path: Path
    longest: int = LONGEST
    first: int = 0
    last: int | None = None
    line: int = 1  # of the first piece

    def pieces(self) -> Iterator[Piece]:
        """Raises `UserError` where nothing but spaces is found, or no text at all."""
        full = False
        for piece in islice(_pieces(self.path, self.longest), self.first, self.last):
            full = full or not piece.text.isspace()
            yield piece
        if not full:
            raise UserError(f"{self.path.name} is empty: give a file with text, or leave it out.")

    def chunks(self, size: int, may_part: Parting | None = None) -> Iterator[list[Piece]]:
        """So many pieces at a time; those that may not be parted are one."""
        pieces = _joined(self.pieces(), may_part) if may_part else self.pieces()
        while some := list(islice(pieces, size)):
            yield some


def _joined(pieces: Iterator[Piece], may_part: Parting) -> Iterator[Piece]:
    parts: list[str] = []
    line, end = 1, ""
    for piece in pieces:
        if parts and may_part(end, piece.text):
            yield Piece("".join(parts), line)
            parts = []
        line = line if parts else piece.line
        end = (end + piece.text)[-2:]
        parts.append(piece.text)
    if parts:
        yield Piece("".join(parts), line)


def between_words(before: str, after: str) -> bool:
    """Whether a single space or line end stands between two words, one of them at the end of ``before``."""
    signs = before[-2:] + after[:2]
    spaces = [place for place, sign in enumerate(signs) if sign.isspace()]
    return len(signs) == 4 and spaces in ([1], [2])


def held_out(path: Path, fraction: float) -> tuple[StreamText, StreamText]:
    """A file in two: what trains, and about the last ``fraction`` of its characters. It is cut at the end of a line; where
    lines are long beside what is held out, before a space. Blank lines before all text, and after it, are in neither."""
    lines = ((len(line) + 1, number, bool(line.strip())) for number, line in enumerate(text_lines.lines(path), 1))
    sizes, _, _, _ = _between(lines, path)
    held = int(sizes.sum()) * fraction
    longest = LONGEST if sizes.max() <= held / 2 else max(LEAST, min(LONGEST, int(held / 4)))
    pieces = ((len(piece.text), piece.line, not piece.text.isspace()) for piece in _pieces(path, longest))
    lengths, numbers, full, first = _between(pieces, path)
    if len(full) < 2:
        raise UserError(f"{path.name} has too little text to hold a part of it out for validation: give more.")
    cut = int(np.searchsorted(lengths.cumsum(), lengths.sum() - held)) + 1
    cut = max(int(full[0]) + 1, min(cut, int(full[-1])))  # there is text on both sides
    train = StreamText(path, longest, first, first + cut, int(numbers[0]))
    return train, StreamText(path, longest, first + cut, first + len(lengths), int(numbers[cut]))


def _between(pieces: Iterable[tuple[int, int, bool]], path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Lengths and lines (pieces,) from the first line with text to the last; which of these pieces are not blank; how many
    stand before them. Of each piece its length, its line, and whether it is not blank."""
    lengths, lines, full = np.fromiter(pieces, dtype=np.dtype((np.int64, 3))).T
    text = np.flatnonzero(full)
    if not len(text):
        raise UserError(f"{path.name} is empty: give a file with text.")
    first, stop = int(np.searchsorted(lines, lines[text[0]])), int(np.searchsorted(lines, lines[text[-1]], "right"))
    return lengths[first:stop], lines[first:stop], text - first, first


def _pieces(path: Path, longest: int) -> Iterator[Piece]:
    """Lines; those longer than ``longest`` characters are cut before a space, where there is one."""
    for number, line in enumerate(text_lines.lines(path), 1):
        text, first = f"{line}\n", 0
        while len(text) - first > longest:
            space = text.rfind(" ", first + 1, first + longest)
            stop = space if space > 0 else first + longest
            yield Piece(text[first:stop], number)
            first = stop
        yield Piece(text[first:], number)
