"""The folder of a run: its files, each written whole or not at all.

| file | what it holds |
|---|---|
| ``recipe.json`` | everything that decides the run, resolved, and how to read the data |
| ``reader.json``, ``labels.json`` | how an input is read, what the outputs are called |
| ``split.csv`` | which row was in which split |
| ``last.state`` | weights, optimiser, moving average, counters: one safetensors file, so that it is one atomic write |
| ``best.safetensors``, ``last.safetensors`` | weights alone |
| ``metrics.csv`` | a row per epoch |
| ``command.txt``, ``env.json``, ``log.txt`` | the command, the machine and versions, what was printed |
| ``report.json``, ``report.html`` | the report |
| ``threshold.json`` | where some questions have no answer: the score from which on none is given |
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from seminal.core import UserError
from seminal.runs.codec import from_json, read_json, to_json


def taken(where: Path) -> UserError:
    """The refusal of a name that a run has already."""
    return UserError(
        f"{where} exists, and nothing is written over. Choose another `--name`, or `seminal resume {where}`."
    )


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, by name."""

    path: Path

    @classmethod
    def new(cls, output: Path, stem: str, name: str | None) -> RunFolder:
        """A folder that did not exist before: ``output/name``, or ``output/stem-n`` with the first free number."""
        if output.exists() and not output.is_dir():
            raise UserError(
                f"no run folder can be made in {output}: it is a file. Choose another place with `--output`."
            )
        try:
            output.mkdir(parents=True, exist_ok=True)
            if name is not None:
                (output / name).mkdir(parents=True)
                return cls(output / name)
            numbers = [
                int(p.name.rpartition("-")[2]) for p in output.glob(f"{stem}-*") if p.name.rpartition("-")[2].isdigit()
            ]
            number = max(numbers, default=0) + 1
            while True:
                try:
                    (output / f"{stem}-{number}").mkdir()
                    return cls(output / f"{stem}-{number}")
                except FileExistsError:  # another run was faster
                    number += 1
        except FileExistsError:
            raise taken(output / name if name and (output / name).exists() else output) from None
        except OSError as error:
            raise UserError(
                f"no run folder can be made in {output}: {error.strerror}. Choose another with `--output`."
            ) from None

    @classmethod
    def existing(cls, path: str | Path) -> RunFolder:
        """The folder of a run that was started before."""
        folder = Path(path)
        if not folder.is_dir():
            near = (
                ", ".join(sorted(str(p) for p in folder.parent.glob("*/recipe.json"))[:3])
                if folder.parent.is_dir()
                else ""
            )
            hint = f" Runs there: {near.replace('/recipe.json', '')}." if near else " `seminal train` makes one."
            raise UserError(f"there is no run folder {folder}.{hint}")
        if not (folder / "recipe.json").exists():
            inside = sorted(str(place.parent) for place in folder.glob("*/recipe.json"))
            if inside:
                raise UserError(
                    f"{folder} holds {len(inside)} runs: name one of them, for example {inside[0]}. All side by side: "
                    f"`seminal compare {folder}`."
                )
            raise UserError(
                f"{folder} is not the folder of a run: it holds no recipe.json. Give a folder made by `seminal train`."
            )
        return cls(folder)

    @classmethod
    def several(cls, path: str | Path) -> list[RunFolder]:
        """The runs of a folder that ``--seeds`` or ``--folds`` has made; of another folder the one run that it is."""
        inside = sorted(place.parent for place in Path(path).glob("*/recipe.json"))
        return [cls(run) for run in inside] or [cls.existing(path)]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Meanwhile no other process trains this run: two would write over each other's files. The lock ends with the
        process, however that ends. Raises `UserError` where another has it."""
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise UserError(
                f"{self.path} is being trained by another process. Wait for its end, or stop it and write "
                f"`seminal resume {self.path}` again; `--recipe {self.path}` starts a second run like it."
            ) from None
        except (NotImplementedError, OSError):
            pass  # a file system that knows no locks
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.unlink(lock.lock_file)  # while it is held: nobody waits for it, and who comes now finds all written
            lock.release()

    # ------------------------------------------------------------------------------------------------------- the parts

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file atomically: after a crash it is the old one or the new one, whole."""
        data = content.encode() if isinstance(content, str) else content
        final, temporary = self.path / name, self.path / f".{name}.{os.getpid()}.part"
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(final)
            self._sync()
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._unwritten(name, error) from None

    def _unwritten(self, name: str, error: OSError) -> UserError:
        return UserError(
            f"{self.path / name} could not be written: {error.strerror}. What was saved before is intact; "
            f"make room, then `seminal resume {self.path}`."
        )

    def _sync(self) -> None:
        """The renaming itself must reach the disk, or a power cut could undo it."""
        if os.name == "posix":
            handle = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def read_text(self, name: str) -> str:
        """A text file of the run."""
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{self.path / name} cannot be read ({error}): the run folder is damaged.") from None

    def tidy(self) -> None:
        """Remove what a killed process left half written."""
        for part in self.path.glob(".*.part"):
            part.unlink(missing_ok=True)

    def write_json(self, name: str, value: Any) -> None:
        self.write(name, json.dumps(to_json(value), indent=1, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> Any:
        """The dataclasses and numbers written by `write_json`."""
        return from_json(read_json(self.path / name))

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor], note: Any = None) -> None:
        """Tensors as one safetensors file, with a JSON note in its header."""
        plain: dict[str, Tensor] = {}
        places: set[int] = set()
        for key, value in tensors.items():
            value = value.detach().to("cpu").contiguous()
            shared = value.numel() > 0 and value.data_ptr() in places
            plain[key] = value.clone() if shared else value  # one matrix with two names is written under both
            places.add(plain[key].data_ptr())
        self.write(name, save(plain, {"seminal": json.dumps(to_json(note))}))

    def read_tensors(self, name: str) -> tuple[dict[str, Tensor], Any]:
        """Tensors and note. Raises `UserError` where the file is missing or damaged; it can never run code."""
        path = self.path / name
        if not path.exists() and not (self.path / "split.csv").exists():
            raise UserError(
                f"{path} does not exist: {self.path} holds weights that were trained elsewhere, nothing of how."
            )
        if not path.exists():
            raise UserError(
                f"{path} does not exist: the run was stopped before it came so far. Go on with it: "
                f"`seminal resume {self.path}`."
            )
        try:
            with safe_open(path, "pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
                note = from_json(json.loads((file.metadata() or {}).get("seminal", "null")))
        except (SafetensorError, json.JSONDecodeError, OSError) as error:
            raise UserError(
                f"{path} is damaged ({error}) and was not loaded. Put back a copy of it, or start a new run with "
                f"`--recipe {self.path}`."
            ) from None
        return tensors, note

    def write_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """``metrics.csv`` anew from all rows: a resumed run has each row once and one header."""
        rows = list(rows)
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        self.write("metrics.csv", text.getvalue())

    def log(self, line: str) -> None:
        """A line at the end of ``log.txt``."""
        try:
            with (self.path / "log.txt").open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise self._unwritten("log.txt", error) from None
