"""What ``seminal import --classes`` says: the names of a network's outputs."""

from __future__ import annotations

from pathlib import Path

from seminal.core import UserError
from seminal.data.lines import lines


def class_names(classes: str, outputs: int | None) -> tuple[str, ...]:
    """The names in a file with one on each line, or those between commas; ``outputs``: so many, None: any number.

    Raises `UserError` where there is another number of them, or one stands there twice.
    """
    path = Path(classes).expanduser()
    words = list(lines(path)) if path.is_file() else classes.split(",")
    names = tuple(word.strip() for word in words if word.strip())
    if outputs is not None and len(names) != outputs:
        raise UserError(f"--classes names {len(names)} classes, and the weights have {outputs} outputs: name them all.")
    twins = [name for name in names if names.count(name) > 1]
    if twins:
        raise UserError(f"--classes names `{twins[0]}` more than once, and each class needs a name of its own.")
    return names
