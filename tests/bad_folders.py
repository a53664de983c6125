"""What lies in the folder of somebody who makes a mistake, and what stands in the way: see `bad_inputs`."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from unittest import mock

import torch

from command_line import coloured, copy, done, numbers_run, pictures_run, points

Change = Callable[[Path], object]
HOUSES = "area,street,price\n"
ROWS = "".join(f"{80 + 3 * i},{'north' if i % 3 else 'south'},{200 + 7 * i}\n" for i in range(20))


# ------------------------------------------------------------------------------------------------- what lies in the folder


def houses(text: str = HOUSES + ROWS, name: str = "houses.csv") -> Change:
    return lambda folder: (folder / name).write_text(text)


def more(row: str) -> Change:
    return houses(HOUSES + ROWS + row + "\n")


def pictures(folder: Path) -> Path:
    return coloured(folder / "flowers", 5)


def pictures_and(change: Change) -> Change:
    return lambda folder: change(pictures(folder))


def split_pictures(change: Change) -> Change:
    def make(folder: Path) -> None:
        coloured(folder / "flowers" / "train", 4)
        coloured(folder / "flowers" / "val", 2, seed=1)
        change(folder / "flowers")

    return make


def both_tables(change: str) -> Change:
    def make(folder: Path) -> None:
        (folder / "houses").mkdir()
        (folder / "houses" / "train.csv").write_text(HOUSES + ROWS)
        (folder / "houses" / "val.csv").write_text(HOUSES + ROWS + change)

    return make


def flat(folder: Path) -> None:
    pictures(folder)
    for file in sorted((folder / "flowers").rglob("*.png")):
        file.rename(folder / "flowers" / f"{file.parent.name}{file.name}")
    for empty in ("red", "green", "blue"):
        (folder / "flowers" / empty).rmdir()


def of_pictures(change: Change = lambda run: None) -> Change:
    return lambda folder: change(copy(pictures_run(), folder))


def of_rose() -> Change:
    """A run on pictures, and a picture of one's own beside it."""
    return of_pictures(
        lambda run: shutil.copy(next(coloured(run.parent / "more", 1).rglob("*.png")), run.parent / "rose.png")
    )


def of_numbers(change: Change = lambda run: None) -> Change:
    return lambda folder: change(copy(numbers_run(), folder))


def other_table(change: Callable[[list[str]], list[str]]) -> Change:
    """A run, and a table beside it that is like the run's own but for a change."""

    def make(run: Path) -> None:
        lines = points(run.parent / "new.csv", 12).read_text().splitlines()
        (run.parent / "new.csv").write_text("\n".join(change(lines)) + "\n")

    return of_numbers(make)


def on_own_data(change: Change) -> Change:
    """A run on a table of its own, which is changed afterwards."""

    def make(folder: Path) -> None:
        table = points(folder / "points.csv")
        words = (
            "train",
            "linear",
            "points.csv",
            "--target",
            "y",
            "--epochs",
            "1",
            "--precision",
            "fp32",
            "--name",
            "run",
        )
        done(*words, folder=folder)
        change(table)

    return make


def table_of_points(folder: Path) -> None:
    points(folder / "points.csv")


def without_column(lines: list[str]) -> list[str]:
    return [line.split(",", 1)[1] for line in lines]


def first_value(text: str, name: str = "a") -> Change:
    def change(table: Path) -> None:
        lines = table.read_text().splitlines()
        cells = lines[1].split(",")
        cells[lines[0].split(",").index(name)] = text
        table.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")

    return change


# ----------------------------------------------------------------------------------------------- what stands in the way


def unreadable(folder: Path) -> AbstractContextManager[object]:
    """A folder that may not be read. Root may read all, so the system's answer is put in its mouth."""
    scan = os.scandir

    def refusing(path: str) -> object:
        if Path(path).name == "green":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    return mock.patch("seminal.data.files.os.scandir", refusing)


@contextlib.contextmanager
def no_gpu(folder: Path) -> Iterator[None]:
    with (
        mock.patch.object(torch.cuda, "device_count", return_value=0),
        mock.patch.object(torch.cuda, "is_available", return_value=False),
    ):
        yield


@contextlib.contextmanager
def small_disk(folder: Path, *, free: int = 1 << 20) -> Iterator[None]:
    """``disk/`` holds a mebibyte, of which ``free`` bytes are left: a real one where one may be mounted (as root), else
    the system's answer to a file too large is put in its mouth."""
    disk = folder / "disk"
    disk.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") and subprocess.run(command, capture_output=True, check=False).returncode == 0:
        try:
            if free < 1 << 20:
                with contextlib.suppress(OSError):
                    (disk / "ballast").write_bytes(bytes(2 << 20))
            yield
            shutil.copytree(disk, folder / "kept", ignore=shutil.ignore_patterns("ballast"))
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)
        shutil.rmtree(disk)
        (folder / "kept").rename(disk)
        return

    def full(handle: int) -> None:
        if os.fstat(handle).st_size > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with mock.patch("seminal.runs.folder.os.fsync", full):
        yield


def full_disk(folder: Path) -> AbstractContextManager[object]:
    return small_disk(folder, free=0)


class Harm:
    """An object that makes a folder when a pickle of it is read."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.mark,)


def weights_file(make: Callable[[], object]) -> Change:
    """The file ``theirs.pth`` with what ``make`` gives."""

    def change(folder: Path) -> None:
        torch.save(make(), folder / "theirs.pth")

    return change
