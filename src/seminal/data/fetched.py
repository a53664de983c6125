"""Sets that are fetched once, by their names: their own files, checked against their known sums, kept in one folder.

The folder is ``~/.cache/seminal``, or what the variable SEMINAL_DATA says; a folder with the same files serves as well.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seminal.core import UserError


@dataclass(frozen=True)
class Files:
    """Where a set lies, and the MD5 sum of each of its files."""

    place: str  # beginning of the addresses
    sums: Mapping[str, str]


def _four(*sums: str) -> dict[str, str]:
    """MNIST's files, and those of the sets that came in its form."""
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return {f"{part}-ubyte.gz": sum_ for part, sum_ in zip(parts, sums, strict=True)}


TORONTO = "https://www.cs.toronto.edu/~kriz/"
SETS: Mapping[str, Files] = {
    "mnist": Files(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        _four(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    ),
    "fashion-mnist": Files(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        _four(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
    "kmnist": Files(
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        _four(
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
    ),
    "cifar10": Files(TORONTO, {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"}),
    "cifar100": Files(TORONTO, {"cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8"}),
}


def fetched(name: str) -> Path:
    """The folder of the set, or its archive where it is one; what is missing is fetched.

    Raises `UserError`: it cannot be fetched, or is other than it should be.
    """
    files = SETS[name]
    folder = Path(os.environ.get("SEMINAL_DATA") or "~/.cache/seminal").expanduser() / name
    for file, md5 in files.sums.items():
        if not (folder / file).exists():
            _fetch(files.place + file, md5, folder / file, name)
        elif _md5(folder / file) != md5:  # MNIST's files, and those of the sets in its form, have the same names
            raise UserError(
                f"{folder / file} is there, but it is not the file of {name}: its MD5 sum should be {md5}. Move it away, and "
                f"it is fetched; or give the folder itself for what it holds: {folder}."
            )
    return folder / next(iter(files.sums)) if len(files.sums) == 1 else folder


def _md5(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "md5").hexdigest()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}. Check its permissions.") from error


def _fetch(address: str, md5: str, to: Path, name: str) -> None:
    """One file, whole or not at all, however many processes want it."""
    from torchvision.datasets.utils import download_url  # late: nobody else needs it

    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=to.parent, prefix=".part-") as part:
            download_url(address, part, to.name, md5)
            (Path(part) / to.name).replace(to)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; RuntimeError: another sum
        raise UserError(
            f"{name} is fetched once, and {address} could not be ({error}). Try again; or fetch its files elsewhere, put "
            f"them into {to.parent}, and write the same command; or give a folder of pictures."
        ) from error
