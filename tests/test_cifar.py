"""CIFAR's own files, and sets that are fetched by their names: the pictures that were written come back; damage, pickles and
a network that fails get one sentence, and nothing half fetched stays."""

from __future__ import annotations

import functools
import hashlib
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import QUICK, typed
from pictures_on_disk import noise
from seminal.core import UserError
from seminal.data import fetched
from seminal.data.images import ImageStore, load, scan

TEN = ("airplane", "automobile", "bird")
HUNDRED = ("apple", "aquarium_fish", "baby")


def record(row: int, *labels: int) -> bytes:
    return bytes(labels) + noise(row, 32, 32).transpose(2, 0, 1).tobytes()


def ten(folder: Path, rows: int = 12, parts: int = 5, first: int = 0) -> Path:
    """CIFAR-10 with few pictures: class 0, 1, 2 in turn; ``parts`` files to train on, and one to test."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "batches.meta.txt").write_text("\n".join(TEN) + "\n\n")
    names = [*(f"data_batch_{part}.bin" for part in range(1, parts + 1)), "test_batch.bin"]
    for part, name in enumerate(names):
        records = [record(first + part * rows + row, row % 3) for row in range(rows)]
        (folder / name).write_bytes(b"".join(records))
    return folder


def archive(folder: Path, to: Path) -> Path:
    with tarfile.open(to, "w:gz") as tar:
        tar.add(folder, "cifar-10-batches-bin")
    return to


def test_pixels_classes_and_splits_are_those_that_were_written(tmp_path: Path) -> None:
    listing = scan(archive(ten(tmp_path / "set"), tmp_path / "cifar-10-binary.tar.gz"))
    source = load(listing, size=32)
    assert isinstance(source, ImageStore)
    assert listing.classes == TEN
    assert listing.names[:2] == ("data_batch_1[0]", "data_batch_1[1]")
    assert source.spec.counts == {"train": 60, "val": 12}
    expected = np.stack([noise(row, 32, 32).transpose(2, 0, 1) for row in range(72)])
    assert torch.equal(source.pixels, torch.from_numpy(expected))
    assert listing.labels.tolist() == [0, 1, 2] * 24


def test_a_training_set_of_which_a_part_is_missing_is_refused(tmp_path: Path) -> None:
    folder = ten(tmp_path)
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(UserError, match=r"data_batch_3\.bin is missing"):
        scan(folder)


def test_the_fine_classes_of_cifar_100(tmp_path: Path) -> None:
    (tmp_path / "fine_label_names.txt").write_text("\n".join(HUNDRED))
    for name, first in (("train.bin", 0), ("test.bin", 9)):
        (tmp_path / name).write_bytes(b"".join(record(first + row, 77, row % 3) for row in range(9)))
    listing = scan(tmp_path)
    assert listing.classes == HUNDRED
    assert listing.labels.tolist() == [0, 1, 2] * 6
    source = load(listing, size=32)
    assert isinstance(source, ImageStore)
    assert torch.equal(source.pixels[9], torch.from_numpy(noise(9, 32, 32).transpose(2, 0, 1)))


def test_one_file_is_a_set_without_a_split(tmp_path: Path) -> None:
    folder = ten(tmp_path, rows=30, parts=0)
    assert load(scan(folder), size=32).spec.counts == {"train": 24, "val": 6}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda f: (f / "test_batch.bin").write_bytes(b"\0" * 4000),
            r"test_batch.bin has 4,000 bytes.*3,073.*fetch it",
        ),
        (lambda f: (f / "test_batch.bin").write_bytes(record(0, 9)), "a class 9, and batches.meta.txt names 3"),
        (lambda f: [(f / n).write_bytes(b"\x80") for n in ("data_batch_1", "test_batch", "batches.meta")], "pickles"),
    ],
)
def test_damage_and_pickles_are_refused(tmp_path: Path, change, says) -> None:
    change(ten(tmp_path))
    with pytest.raises(UserError, match=says):
        scan(tmp_path)


# ------------------------------------------------------------------------------------------------------------ fetched sets


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server that has ``cifar10`` (another one), and an empty folder for what is fetched."""
    place = tmp_path / "served"
    file = archive(ten(tmp_path / "made"), place_for(place))
    handler = functools.partial(Silent, directory=str(place))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        sums = {file.name: hashlib.md5(file.read_bytes()).hexdigest()}
        monkeypatch.setattr(fetched, "SETS", {"cifar10": fetched.Files(address, sums)})
        monkeypatch.setenv("SEMINAL_DATA", str(tmp_path / "kept"))
        yield file
        server.shutdown()


def place_for(folder: Path) -> Path:
    folder.mkdir()
    return folder / "cifar-10-binary.tar.gz"


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_set_is_fetched_once(served: Path, tmp_path: Path) -> None:
    words = ("train", "resnet20", "cifar10", "--epochs", "1", "--device", "cpu", "--name", "run", *QUICK)
    said = typed(*words, folder=tmp_path)
    assert said.code == 0, said.err
    assert "cifar10 · 60 training and 12 validation images" in said.out
    kept = tmp_path / "kept" / "cifar10"
    assert [path.name for path in kept.iterdir()] == [served.name]
    served.unlink()  # from here on nothing can be fetched
    again = typed("eval", "runs/run", "--data", "cifar10", "--json", folder=tmp_path)
    assert again.code == 0, again.err
    told = typed("predict", "runs/run", kept / served.name, folder=tmp_path)
    assert told.code == 0, told.err
    assert "test_batch[11]" in told.out


def test_what_cannot_be_fetched_leaves_nothing(served: Path, tmp_path: Path) -> None:
    served.write_bytes(served.read_bytes()[:-1])  # another sum
    for reason in ("corrupted", "404"):
        said = typed("train", "resnet20", "cifar10", folder=tmp_path)
        assert (said.code, said.out) == (2, "")
        assert "cifar10 is fetched once" in said.err
        assert reason in said.err
        assert not list((tmp_path / "kept" / "cifar10").iterdir())
        served.unlink(missing_ok=True)


def test_a_folder_of_that_name_is_taken_as_it_is(served: Path, tmp_path: Path) -> None:
    ten(tmp_path / "cifar10", first=500)
    served.unlink()
    said = typed("train", "resnet20", "cifar10", "--dry-run", folder=tmp_path)
    assert said.code == 0, said.err


def test_the_sums_are_those_that_torchvision_knows() -> None:
    from torchvision.datasets import KMNIST, MNIST, FashionMNIST

    for name, peer in (("mnist", MNIST), ("fashion-mnist", FashionMNIST), ("kmnist", KMNIST)):
        files = fetched.SETS[name]
        assert dict(peer.resources) == files.sums
        assert files.place in peer.mirrors
