"""MNIST's own files: the pictures and labels that were written come back, through every verb; damage gives one sentence."""

import gzip
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import typed
from pictures_on_disk import noise
from seminal.core import Order, UserError
from seminal.data.images import ImageEncoder, ImageStore, load, scan
from seminal.data.split import Fold

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist-t10k"
SIDES = (6, 5)  # height and width differ, so that exchanging them shows


def idx(numbers: np.ndarray) -> bytes:
    return bytes((0, 0, 8, numbers.ndim)) + struct.pack(f">{numbers.ndim}I", *numbers.shape) + numbers.tobytes()


def pictures(count: int, *, sides: tuple[int, int] = SIDES, seed: int = 0) -> np.ndarray:
    return np.stack([noise(seed + row, *sides, channels=1) for row in range(count)])


def labels(count: int) -> np.ndarray:
    """Classes 3, 7 and 9 in turn."""
    return np.array([3, 7, 9], np.uint8)[np.arange(count) % 3]


def write(folder: Path, split: str, count: int, *, packed: bool = False, sides: tuple[int, int] = SIDES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, numbers in (("images-idx3", pictures(count, sides=sides)), ("labels-idx1", labels(count))):
        data = idx(numbers)
        (folder / f"{split}-{kind}-ubyte{'.gz' * packed}").write_bytes(gzip.compress(data) if packed else data)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_pixels_and_labels_are_those_that_were_written(tmp_path: Path, packed: bool) -> None:
    listing = scan(write(tmp_path / "set", "t10k", 24, packed=packed, sides=(6, 6)))
    source = load(listing, size=6)
    assert isinstance(source, ImageStore)
    assert listing.names == tuple(f"t10k-images[{row}]" for row in range(24)), "the order of the file"
    assert torch.equal(source.pixels[:, 0], torch.from_numpy(pictures(24, sides=(6, 6))))
    assert [listing.classes[label] for label in listing.labels] == [str(label) for label in labels(24)]
    assert source.spec.counts == {"train": 19, "val": 5}, "one pair of files is a set without a split"
    assert source.spec.shape == (1, 6, 6)


def test_streamed_and_in_memory_are_the_same(tmp_path: Path) -> None:
    listing = scan(write(tmp_path, "train", 20, sides=(8, 8)))
    order = Order("train", 4, shuffle=True)
    streamed = load(listing, size=8, memory_limit=0, workers=1).batches(order)
    for one, other in zip(load(listing, size=8).batches(order), streamed, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_height_comes_before_width(tmp_path: Path) -> None:
    assert scan(write(tmp_path, "train", 20)).native_size == SIDES


def test_two_pairs_are_training_and_test(tmp_path: Path) -> None:
    folder = write(write(tmp_path, "train", 12), "t10k", 9, packed=True)
    listing = scan(folder)
    assert (len(listing.rows("train")), len(listing.rows("val"))) == (12, 9)
    assert listing.row_name("val", 2) == "t10k-images[2]"
    assert "t10k-images serves as validation" in listing.notes[0]
    folded = scan(folder, split=Fold(0, 3))
    assert [len(folded.rows(split)) for split in ("train", "val", "test")] == [8, 4, 9], "test takes no part in folds"


def test_as_torchvision_keeps_them_and_in_an_archive(tmp_path: Path) -> None:
    write(write(tmp_path / "MNIST" / "raw", "train", 12), "train", 12, packed=True)  # it leaves both
    (tmp_path / "MNIST" / "raw" / "t10k-images.idx3-ubyte").write_bytes(idx(pictures(9)))  # others write a dot
    (tmp_path / "MNIST" / "raw" / "t10k-labels.idx1-ubyte").write_bytes(idx(labels(9)))
    archive = tmp_path / "mnist.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in (tmp_path / "MNIST").rglob("*ubyte*"):
            file.write(path, path.name)
    for place in (tmp_path, archive):
        assert len(scan(place).names) == 21


BROKEN = {
    "magic": (("images", lambda data: b"\x89PNG" + data[4:]), "89 50 4e 47 instead of 00 00 08 03"),
    "exchanged": (("labels", lambda data: idx(pictures(20))), "00 00 08 03 instead of 00 00 08 01"),
    "whole numbers": (("labels", lambda data: b"\0\0\x0c\1" + data[4:]), "00 00 0c 01"),
    "empty file": (("images", lambda data: b""), "(none)"),
    "truncated": (("images", lambda data: data[:-7]), "announces 20 × 6 × 5 numbers, which is a file of 616 bytes"),
    "cut in the head": (("images", lambda data: data[:9]), "and has 9"),
    "too long": (("labels", lambda data: data + b"\0"), "and has 29"),
    "counts": (("labels", lambda data: idx(labels(19))), "holds 20 pictures and t10k-labels-idx1-ubyte 19 labels"),
    "no pictures": (("images", lambda data: idx(pictures(20)[:0])), "empty"),
    "gzip cut off": (("images", lambda data: gzip.compress(data)[:-40]), "before its gzip stream does"),
    "gzip damaged": (("images", lambda data: gzip.compress(data)[:-8] + b"\1" * 8), "cannot be read or unpacked"),
    "labels missing": (("labels", None), "no t10k-labels-idx1-ubyte (or t10k-labels-idx1-ubyte.gz)"),
    "pictures missing": (("images", None), "no t10k-images-idx3-ubyte"),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_damage_gives_one_sentence(tmp_path: Path, damage: str) -> None:
    folder = write(tmp_path / "set", "t10k", 20)
    (kind, change), says = BROKEN[damage]
    path = next(folder.glob(f"t10k-{kind}*"))
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    said = typed("train", "resnet20", folder, folder=tmp_path)
    assert said.code == 2
    assert says in said.err.replace("\n", " ")
    assert "Traceback" not in said.err
    assert not list(tmp_path.glob("runs/*")), "nothing was started"


def test_several_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    write(write(tmp_path, "emnist-letters-train", 9), "emnist-digits-train", 9)
    with pytest.raises(
        UserError, match=r"several sets .*`emnist-digits-train-images…`, `emnist-letters-train-images…`"
    ):
        scan(tmp_path)


def test_prediction_needs_no_labels_and_reads_what_validation_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", "t10k", 20, sides=(8, 8))
    source = load(scan(folder), size=8)
    encoder = source.encoder("standard")
    assert isinstance(encoder, ImageEncoder)
    next(folder.glob("*labels*")).unlink()
    (names, batch), *others = encoder.encode([str(folder)], 64)
    assert not others
    assert names == [f"{folder}/t10k-images[{row}]" for row in range(20)]
    for seen in source.batches(Order("val", 64)):
        rows = [names.index(f"{folder}/{source.name('val', row)}") for row in seen["index"].tolist()]
        assert torch.equal(seen["input"], batch["input"][rows])
    file = next(folder.glob("*images*"))
    assert next(iter(encoder.encode([str(file)], 64)))[0][17] == f"{file}/t10k-images[17]", "a file alone"


@pytest.mark.skipif(not MNIST.exists(), reason="the test digits of MNIST are not here")
def test_the_verbs_on_mnists_own_files(tmp_path: Path) -> None:
    """A linear classifier passes 85 % in one epoch on the real files, and every verb tells rows by the same name."""
    said = typed("train", "logistic", MNIST, "--epochs", "1", "--name", "a", "--precision", "fp32", folder=tmp_path)
    assert said.code == 0, said.err
    split = (tmp_path / "runs" / "a" / "split.csv").read_text(encoding="utf-8")
    assert "t10k-images[17]" in split
    scored = typed("eval", "runs/a", "--json", folder=tmp_path)
    assert json.loads(scored.out)["top1"] > 0.85
    other = typed("eval", "runs/a", "--data", MNIST, "--json", folder=tmp_path)
    assert json.loads(other.out)["rows"] == 10_000
    guessed = typed("predict", "runs/a", MNIST, "--json", "--top", "1", folder=tmp_path)
    lines = [json.loads(line) for line in guessed.out.splitlines()]
    assert len(lines) == 10_000
    assert lines[17]["input"] == f"{MNIST}/t10k-images[17]"
    assert "7" in lines[17], "the picture 17 of the test digits is a seven"
