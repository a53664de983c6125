"""Frozen dataclasses to JSON and back, so that a run can be read again without running anything that came from a disk.

A dataclass becomes ``{"is": "seminal.pieces.crops.RandomCrop", "padding": 4}``. Reading accepts only frozen dataclasses
of this package; whatever else a file names is refused.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import os
from pathlib import Path
from typing import Any

from seminal.core import UserError

PLAIN = {"int": int, "float": int | float, "str": str, "bool": bool}  # annotations that are checked when a file is read


def to_json(value: Any) -> Any:
    """JSON's own types for a value made of frozen dataclasses, tuples, mappings, numbers and strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        if not kind.__module__.startswith("seminal."):
            raise UserError(
                f"the recipe uses `{kind.__module__}.{kind.__name__}`, which is not part of seminal, so the run folder could "
                "not be read back. Build the recipe from the words of seminal.core, .pieces, .tasks and .train.schedules."
            )
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"is": f"{kind.__module__}.{kind.__qualname__}", **fields}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"is": "float", "value": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UserError(f"the recipe holds a {type(value).__name__} ({value!r}), which cannot be written to JSON")


def from_json(value: Any) -> Any:
    """The inverse of `to_json`; lists become tuples. Raises `UserError` for anything that is not ours."""
    if isinstance(value, list):
        return tuple(from_json(item) for item in value)
    if not isinstance(value, dict):
        return value
    if "is" not in value:
        return {key: from_json(item) for key, item in value.items()}
    if value["is"] == "float":
        return float(value["value"])
    kind = _dataclass(value["is"])
    known = {f.name for f in dataclasses.fields(kind)}
    if unknown := value.keys() - known - {"is"}:
        raise UserError(
            f"{value['is']} has no {', '.join(sorted(unknown))}: the name is misspelt, or the file was written by another "
            "version of seminal. Correct it, use that version, or train anew."
        )
    items = {key: from_json(item) for key, item in value.items() if key != "is"}
    for f in dataclasses.fields(kind):
        if f.name in items and not isinstance(items[f.name], PLAIN.get(str(f.type), object)):
            raise UserError(
                f"{value['is']}: {f.name} is {items[f.name]!r}, and must be of the kind `{f.type}`. Correct it."
            )
    try:
        return kind(**items)
    except TypeError as error:  # a field without a default is missing
        raise UserError(
            f"{value['is']} is incomplete ({error}): the file was written by another version of seminal. "
            "Use that one, or train anew."
        ) from None


def _dataclass(name: str) -> type[Any]:
    module, _, kind = str(name).rpartition(".")
    refused = UserError(
        f"`{name}` is not a word of seminal, and nothing else is read from a run folder: give one that `seminal train` made."
    )
    if not module.startswith("seminal."):
        raise refused
    try:
        found = getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise refused from error
    if not (isinstance(found, type) and dataclasses.is_dataclass(found) and vars(found)["__dataclass_params__"].frozen):
        raise refused
    return found


def read_json(path: Path) -> Any:
    """The JSON of a file. Raises `UserError` where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: is {path.parent} the folder of a run?") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}) and was not loaded.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from None


def new_file(asked: str | None) -> Path | None:
    """The file of ``--json FILE``, where it is asked for. Raises `UserError` where it is there already."""
    if asked is None:
        return None
    path = Path(asked).expanduser()
    if path.exists():
        raise UserError(f"{path} exists, and nothing is written over: give --json another name.")
    if not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no folder {path.parent}. Make it, or give --json another.")
    return path


def write_json(path: Path, value: Any) -> None:
    """JSON for other programs to read."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n", "Give another file after --json.")


def write_text(path: Path, text: str, advice: str) -> None:
    """A file that is there is replaced as a whole or not at all."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(f"{path} could not be written: {error.strerror}. {advice}") from None
