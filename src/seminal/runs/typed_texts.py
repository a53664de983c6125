"""Texts that a user types: words on the command line, lines of standard input, and names of files among them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from seminal.core import UserError
from seminal.data.choices import ENDINGS as CHOICES
from seminal.data.labelled_table import ENDINGS as TABLES
from seminal.data.questions import ENDINGS as QUESTIONS
from seminal.data.stream_text import ENDINGS as PLAIN
from seminal.data.tagged import ENDINGS as TAGGED
from seminal.report.terminal import console, say

MEANT = {*TABLES, *TAGGED, *CHOICES, *QUESTIONS, *PLAIN, ".zip", ".tar", ".tgz"}
NAME = re.compile(rf"(?i)\S+({'|'.join(map(re.escape, sorted(MEANT)))})(\.gz)?")  # one word with the ending of a file


def file_called(text: str) -> Path | None:
    """The file that a text is the name of; None for words.

    Raises `UserError` where it is the name of a folder, or looks like that of a file that does not exist."""
    if not text.strip():  # Path("") is the folder one stands in
        return None
    path = Path(text)
    try:
        if path.is_file():
            return path
        folder = path.is_dir()
    except (OSError, ValueError):  # longer than a name may be
        return None
    if folder:
        raise UserError(
            f"{text} is a folder: give the name of a file in it, or words. If the word itself is meant, quote it with a "
            f"space: '{text} '."
        )
    if NAME.fullmatch(text):
        raise UserError(f"there is no file {text}: give the name of one, or words.")
    return None


def texts_or_lines(given: Sequence[str], what: str) -> Iterator[str]:
    """The texts of the command line; without any, the lines of standard input as they come, for ``what`` is asked where
    somebody sits at it. Raises `UserError` where one is not UTF-8."""
    if given:
        yield from (clean(text, "what you gave") for text in given)
        return
    if sys.stdin.isatty():
        say("type", f"{what}; Ctrl-D ends", out=console(sys.stderr))
    for number, line in enumerate(sys.stdin, start=1):
        text = line.removeprefix("\ufeff") if number == 1 else line  # a byte-order mark
        yield clean(text.rstrip("\r\n"), f"standard input, line {number}")


def clean(text: str, where: str) -> str:
    """The text. Raises `UserError` where its bytes were not UTF-8: Python has put surrogates in their place."""
    try:
        text.encode()
    except UnicodeEncodeError:
        said = f"{where} is not UTF-8 text. Convert it first, for example with `iconv -f latin1 -t utf-8`."
        raise UserError(said) from None
    return text


def without_blanks(texts: Sequence[str], where: str) -> list[str]:
    """Those with words; of the others it is said how many there are."""
    full = [text for text in texts if text.strip()]
    if full and len(full) < len(texts):
        empty = len(texts) - len(full)
        said = f"{empty:,} empty lines have" if empty > 1 else "an empty line has"
        say("note", f"{where}: {said} no answer", out=console(sys.stderr))
    return full
