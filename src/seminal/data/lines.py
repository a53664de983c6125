"""Lines of text files, plain or packed with gzip, without surprises: UTF-8 or a clear refusal."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from seminal.core import UserError


def lines(path: Path) -> Iterator[str]:
    """The lines of a file without their ends; a byte-order mark at the beginning is left out.

    Raises `UserError` naming the line where the file is not UTF-8, and where it cannot be read.
    """
    number = 0
    try:
        with _opened(path) as file:
            for number, raw in enumerate(file, 1):
                if b"\0" in raw:
                    raise _other(path, number, raw)
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                yield text.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise _other(path, number, bytes(error.object)) from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _other(path: Path, number: int, raw: bytes) -> UserError:
    """The refusal of a file in another encoding, or of none at all."""
    marked = number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    if b"\0" in raw and not marked:
        return UserError(f"{path}, line {number} holds a zero byte, which no text does: is it the right file?")
    name = bare(path)
    return UserError(
        f"{path}, line {number} is not UTF-8 text. Convert the file first, for example with "
        f"`iconv -f {'utf-16' if marked else 'latin1'} -t utf-8 {name.name} > {name.stem}.utf8{name.suffix}`."
    )


def text(path: Path) -> str:
    """The whole file, with line ends as ``\\n``. Raises `UserError` as `lines` does."""
    return "".join(f"{line}\n" for line in lines(path))


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def title(path: Path) -> str:
    """What a data set is called: as its folder, or as its file without endings."""
    return path.name if path.is_dir() else bare(path).stem


def bare(path: Path) -> Path:
    """The name without ``.gz``: what tells the form of the file."""
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path
