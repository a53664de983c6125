"""What the experiments that measure cell after cell share: a JSON written after each, and an interrupted run gone on with."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
# Cells measured on another machine, or with another torch, are not gone on with.
CONDITIONS = ("processor", "torch", "threads")


@dataclass
class Cells:
    """The JSON of one experiment: the command, the machine, the settings, and the cells measured so far.

    A cell is a flat or nested dict; ``names`` are those of its entries that tell it from the others.
    """

    path: Path
    command: str
    machine: dict[str, Any]
    settings: dict[str, Any]
    names: tuple[str, ...]
    cells: list[dict[str, Any]] = field(default_factory=list)

    def go_on(self) -> None:
        """Take over the cells of an earlier run with the same settings under the same conditions."""
        if not self.path.exists():
            return
        found = json.loads(self.path.read_text(encoding="utf-8"))
        same = all(found["machine"][name] == self.machine[name] for name in CONDITIONS)
        # Through JSON and back, as the earlier settings went: a tuple becomes a list.
        if same and found["settings"] == json.loads(json.dumps(self.settings)):
            self.cells = found["cells"]

    def missing(self, wanted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of ``wanted`` that were not measured yet."""
        known = {self._key(cell) for cell in self.cells}
        return [cell for cell in wanted if self._key(cell) not in known]

    def add(self, cell: dict[str, Any]) -> None:
        """Keep a cell, on the disk too: a stop loses one cell at most."""
        self.cells.append(cell)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = {"command": self.command, "machine": self.machine, "settings": self.settings, "cells": self.cells}
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(self.path)

    def _key(self, cell: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(cell[name] for name in self.names)


def place(name: str, asked: argparse.Namespace) -> Path:
    """Where the JSON goes. A quick run never replaces a real one."""
    quick = Path(tempfile.gettempdir()) / f"{name}-quick.json"
    found: Path = asked.out or (quick if asked.quick else RESULTS / f"{name}.json")
    return found


def command(name: str) -> str:
    """What was typed. Where a folder lies on this machine is nobody's business; what it is called tells enough."""
    given = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return shlex.join(["python", f"experiments/{name}.py", *given])
