"""Finding pictures: layouts, archives, system files, and a sentence for everything that cannot be trained on."""

import io
import os
import pickle
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures_on_disk import class_folders, cut_off, noise, save, turned
from seminal.core import UserError
from seminal.data import files
from seminal.data.files import open_tree
from seminal.data.images import Listing, scan
from seminal.data.split import Fold, Holdout


def splits_of(listing: Listing) -> dict[str, int]:
    return dict(Counter(listing.splits.tolist()))


def packed(folder: Path, target: Path, inside: str = "") -> Path:
    """The folder as a .zip or a .tar, optionally below a wrapper folder, with the entries for folders that tar makes."""
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, f"{inside}{path.relative_to(folder)}")
        return target
    compression = target.suffix[1:].replace("tar", "")
    with tarfile.open(target, f"w:{compression}") as archive:
        archive.add(folder, arcname=inside.rstrip("/") or ".")
    return target


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "flowers", {"daisy": 10, "rose": 15, "tulip": 5})


# ---------------------------------------------------------------------------------------------------------- layouts


def test_class_folders_are_divided_by_class(flowers: Path) -> None:
    listing = scan(flowers)
    assert listing.classes == ("daisy", "rose", "tulip")
    assert splits_of(listing) == {"train": 24, "val": 6}
    assert np.bincount(listing.labels[listing.splits == "val"]).tolist() == [2, 3, 1]
    assert listing.notes == (f"{flowers} has 3 classes with 30 pictures and no split: made one (80/20, stratified)",)
    assert (listing.native_size, listing.channels, listing.name) == ((8, 8), 3, "flowers")
    assert [listing.classes[label] for label in listing.labels] == [name.split("/")[0] for name in listing.names]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val", "validation_set"])
def test_train_and_validation_folders(tmp_path: Path, val: str) -> None:
    class_folders(tmp_path / "train", {"a": 3, "b": 4})
    class_folders(tmp_path / val, {"a": 1, "b": 1})
    listing = scan(tmp_path, split=Holdout(0.5))  # the folders decide, not the share
    assert splits_of(listing) == {"train": 7, "val": 2}
    assert {name.split("/")[0] for name in np.array(listing.names)[listing.splits == "val"]} == {val}


def test_test_serves_as_validation_when_there_is_no_other(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 3, "b": 4})
    class_folders(tmp_path / "test", {"a": 1, "b": 1})
    listing = scan(tmp_path)
    assert splits_of(listing) == {"train": 7, "val": 2}
    assert "test/ serves as validation" in listing.notes[0]
    class_folders(tmp_path / "val", {"a": 2, "b": 2})
    assert splits_of(scan(tmp_path)) == {"train": 7, "val": 4, "test": 2}


def test_folds_divide_training_and_validation_and_leave_test_alone(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 6, "b": 6})
    class_folders(tmp_path / "val", {"a": 4, "b": 4})
    class_folders(tmp_path / "test", {"a": 1, "b": 1})
    held = [scan(tmp_path, split=Fold(i, 5)) for i in range(5)]
    assert all(splits_of(listing) == {"train": 16, "val": 4, "test": 2} for listing in held)
    assert (sum((listing.splits == "val").astype(int) for listing in held) == (held[0].splits != "test")).all()
    assert "fold 1 of 5" in held[0].notes[0]
    assert "test/ takes no part" in held[0].notes[0]


def test_training_folder_alone_is_divided(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 10, "b": 10})
    save(tmp_path / "extra" / "a" / "0.png", noise(0))
    listing = scan(tmp_path)
    assert splits_of(listing) == {"train": 16, "val": 4}
    assert "extra/ (1 file) is neither training nor validation: left out" in listing.notes


def test_unlabelled_test_pictures_are_left_out_aloud(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 10, "b": 10})
    save(tmp_path / "test" / "0001.png", noise(0))
    listing = scan(tmp_path)
    assert splits_of(listing) == {"train": 16, "val": 4}
    assert any("test/ has 1 picture without class folders" in note for note in listing.notes)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    class_folders(tmp_path, {"bus": 5, "train": 5})
    assert scan(tmp_path).classes == ("bus", "train")


def test_pictures_below_a_class_folder_belong_to_it(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "b": 3})
    save(tmp_path / "a" / "summer" / "2020" / "x.png", noise(0))
    listing = scan(tmp_path)
    assert np.bincount(listing.labels).tolist() == [4, 3]


def test_system_files_are_ignored_and_counted(flowers: Path) -> None:
    (flowers / ".DS_Store").write_bytes(b"x")
    (flowers / "daisy" / "Thumbs.db").write_bytes(b"x")
    (flowers / "daisy" / "._0.png").write_bytes(b"x")
    (flowers / "LICENSE.txt").write_text("free")
    listing = scan(flowers)
    assert len(listing.names) == 30
    assert "ignored 3 system files (.DS_Store, daisy/._0.png, daisy/Thumbs.db)" in listing.notes
    assert "ignored 1 file beside the class folders (LICENSE.txt)" in listing.notes


def test_sizes_and_colours_come_from_the_headers(tmp_path: Path) -> None:
    for i, name in enumerate("aabb"):
        save(tmp_path / name / f"{i}.png", noise(i, 6, 9, channels=1))
    for i, name in enumerate("aabb"):
        save(tmp_path / name / f"deep{i}.png", noise(i, 6, 9, channels=1).astype(np.uint16) * 257)
    assert (scan(tmp_path, split=Holdout(0.5)).native_size, scan(tmp_path).channels) == ((6, 9), 1)
    save(tmp_path / "a" / "other.png", noise(9, 6, 8))
    assert (scan(tmp_path).native_size, scan(tmp_path).channels) == (None, 3)


def test_camera_rotation_counts_for_the_size(tmp_path: Path) -> None:
    for i, name in enumerate("aabb"):
        save(tmp_path / name / f"{i}.jpg", noise(i, 6, 9), exif=turned(6))
    assert scan(tmp_path, split=Holdout(0.5)).native_size == (9, 6)


# --------------------------------------------------------------------------------------------------------- archives


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
@pytest.mark.parametrize("inside", ["", "flowers-1.0/"])
def test_archives_hold_what_the_folder_holds(flowers: Path, tmp_path: Path, ending: str, inside: str) -> None:
    folder, archive = scan(flowers), scan(packed(flowers, tmp_path / f"blumen.{ending}", inside))
    assert archive.names == folder.names
    assert (archive.labels == folder.labels).all()
    assert (archive.splits == folder.splits).all()
    assert archive.name == "blumen"
    for name in folder.names[::7]:
        assert archive.tree.read(name) == folder.tree.read(name) == (flowers / name).read_bytes()
        assert archive.tree.read(name, 10) == (flowers / name).read_bytes()[:10]


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
def test_archives_can_be_handed_to_other_processes(flowers: Path, tmp_path: Path, ending: str) -> None:
    tree = open_tree(packed(flowers, tmp_path / f"f.{ending}"))
    name = tree.names[5]
    data = tree.read(name)
    assert pickle.loads(pickle.dumps(tree)).read(name) == data
    child = os.fork()
    if not child:
        os._exit(0 if all(tree.read(n) == (flowers / n).read_bytes() for n in tree.names) else 1)
    assert all(tree.read(n) == (flowers / n).read_bytes() for n in tree.names)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_member_that_escapes_is_only_a_name(tmp_path: Path) -> None:
    archive = tmp_path / "in" / "evil.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../outside.txt", "x")
        file.writestr("/etc/absolute.txt", "y")
    tree = open_tree(archive)
    assert [tree.read(name) for name in tree.names] == [b"x", b"y"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["evil.zip", "in"]


def test_a_large_compressed_tar_is_to_be_unpacked(flowers: Path, tmp_path: Path, monkeypatch) -> None:
    archive = packed(flowers, tmp_path / "f.tar.gz")
    monkeypatch.setattr(files, "IN_MEMORY", 1000)
    with pytest.raises(UserError, match=r"unpack it \(`tar -xf .*f.tar.gz`\)"):
        open_tree(archive)


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tar.xz"])
def test_a_cut_off_archive_is_named(flowers: Path, tmp_path: Path, ending: str) -> None:
    archive = cut_off(packed(flowers, tmp_path / f"f.{ending}"))
    with pytest.raises(UserError, match=f"archive `.*f.{ending}` is damaged or was cut off"):
        open_tree(archive)


def test_a_damaged_member_of_a_zip_is_a_bad_file(flowers: Path, tmp_path: Path) -> None:
    archive = packed(flowers, tmp_path / "f.zip")
    data = bytearray(archive.read_bytes())
    start = data.index(b"rose/003.png") + 60
    data[start : start + 40] = bytes(40)
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r"1 of 30 files cannot be used: rose/003.png \(cannot be read: damaged in the"):
        scan(archive)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    class_folders(tmp_path / "real", {"a": 3, "b": 3})
    (tmp_path / "set").mkdir()
    for name in "ab":
        (tmp_path / "set" / name).symlink_to(tmp_path / "real" / name)
    (tmp_path / "real" / "a" / "up").symlink_to(tmp_path / "real")
    assert len([name for name in open_tree(tmp_path / "set").names if name.startswith("b/")]) == 3


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_links_in_an_archive_are_followed_as_in_a_folder(tmp_path: Path, ending: str) -> None:
    real = class_folders(tmp_path / "set", {"a": 3, "b": 3})
    os.link(real / "a" / "000.png", real / "b" / "hard.png")
    (real / "b" / "soft.png").symlink_to("../a/./001.png")
    (real / "b" / "chain.png").symlink_to("soft.png")
    (real / "c").symlink_to("a")
    (real / "a" / "up").symlink_to("..")
    tree = open_tree(packed(real, tmp_path / f"set.{ending}", "wrapper/"))
    assert tree.names == open_tree(real).names
    assert {"b/hard.png", "b/soft.png", "b/chain.png", "c/002.png"} <= set(tree.names)
    assert all(tree.read(name) == (real / name).read_bytes() for name in tree.names)


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_links_that_lead_to_no_file_of_an_archive_are_bad_files(tmp_path: Path, ending: str) -> None:
    real = class_folders(tmp_path / "set", {"a": 3, "b": 3})
    (tmp_path / "secret.png").write_bytes((real / "a" / "000.png").read_bytes())
    for name, target in (("up", "../../secret"), ("absolute", tmp_path / "secret"), ("round", "round"), ("gone", "x")):
        (real / "b" / f"{name}.png").symlink_to(f"{target}.png")
    archive = packed(real, tmp_path / f"set.{ending}")
    with pytest.raises(
        UserError, match=r"4 of 10 files .*up.png \(cannot be read: a link to `../../secret.png`, which"
    ):
        scan(archive)
    assert len(scan(archive, on_bad_file="skip").names) == 6


def test_links_without_number_are_refused(tmp_path: Path) -> None:
    """Each folder leads twice to the next: 30 folders would hold a thousand million names."""
    with tarfile.open(tmp_path / "bomb.tar", "w") as archive:
        for level in range(30):
            for name in "ab":
                link = tarfile.TarInfo(f"{level}/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, f"../{level + 1}"
                archive.addfile(link)
        archive.addfile(tarfile.TarInfo("30/x.png"))
    with pytest.raises(UserError, match=r"bomb.tar` has links to folders that lead to more than"):
        open_tree(tmp_path / "bomb.tar")


def test_a_file_that_stands_twice_in_an_archive_is_one(tmp_path: Path) -> None:
    real = class_folders(tmp_path / "set", {"a": 1})
    os.link(real / "a" / "000.png", tmp_path / "other.png")
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for _ in range(2):  # the second time it is a link to itself
            archive.add(real / "a" / "000.png", "a/000.png")
    tree = open_tree(tmp_path / "set.tar")
    assert [tree.read(name) for name in tree.names] == [(real / "a" / "000.png").read_bytes()]


# -------------------------------------------------------------------------------------------------- what is refused


def test_bad_files_are_named_counted_and_skipped_on_demand(flowers: Path) -> None:
    (flowers / "daisy" / "cat.txt").write_text("Dear Sir, ")
    (flowers / "rose" / "empty.jpg").write_bytes(b"")
    (flowers / "rose" / "page.jpg").write_text("<html>not found</html>")
    save(flowers / "alone.png", noise(0))
    (flowers / "tulip" / "gone.png").symlink_to(flowers / "nowhere.png")
    with pytest.raises(UserError) as refusal:
        scan(flowers)
    message = str(refusal.value)
    assert message.startswith("5 of 35 files cannot be used: ")
    assert 'daisy/cat.txt (not a picture (first bytes: "Dear Sir"))' in message
    assert 'rose/page.jpg (not a picture (first bytes: "<html>no"))' in message
    assert "rose/empty.jpg (empty, 0 bytes)" in message
    assert "alone.png (a picture outside the class folders)" in message
    assert "tulip/gone.png (cannot be read: No such file or directory)" in message
    assert "`--on-bad-file skip`" in message
    listing = scan(flowers, on_bad_file="skip")
    assert len(listing.names) == 30
    assert any(note.startswith("left out 5 of 35 files: alone.png") for note in listing.notes)


def test_a_message_names_five_files_at_most(flowers: Path) -> None:
    for i in range(7):
        (flowers / "daisy" / f"n{i}.png").write_text("no")
    with pytest.raises(UserError, match=r"7 of 37 files.*n4.png \(.*\), …\. Repair"):
        scan(flowers)


def broken_sets(root: Path) -> dict[str, tuple[Path, str]]:
    """Data that cannot be trained on, and what is said about each."""
    names = "empty flat one unknown novalidation notrain values textonly hollow"
    sets = {name: root / name for name in names.split(" ")}
    for path in sets.values():
        path.mkdir()
    save(sets["flat"] / "x.png", noise(0))
    class_folders(sets["one"], {"a": 3})
    class_folders(sets["unknown"] / "train", {"a": 3, "b": 3})
    class_folders(sets["unknown"] / "val", {"a": 1, "c": 1})
    class_folders(sets["novalidation"] / "train", {"a": 3, "b": 3})
    (sets["novalidation"] / "val").mkdir()
    (sets["novalidation"] / "val" / ".DS_Store").write_bytes(b"x")
    class_folders(sets["notrain"] / "val", {"a": 3, "b": 3})
    class_folders(sets["notrain"] / "test", {"a": 3, "b": 3})
    class_folders(sets["values"], {"train": 3, "val": 3})
    (sets["textonly"] / "notes.txt").write_text("hello")
    (sets["hollow"] / "cats").mkdir()
    (root / "plain.txt").write_text("hello")
    class_folders(root / "single", {"a": 5, "b": 1})
    expected = r"[\s\S]*Expected, in [\s\S]*train/<class>/\*\.jpg"
    return {
        "an empty folder": (sets["empty"], "is empty: there is no picture to train on" + expected),
        "no class folders": (sets["flat"], r"has no class folders: 1 file \(x.png\)" + expected),
        "only text": (sets["textonly"], r"has no class folders: 1 file .*notes.txt" + expected),
        "empty class folders": (
            sets["hollow"],
            r"has no class folders: 1 empty folder \(cats/\)" + expected,
        ),
        "one class": (sets["one"], "has only one class, `a`: there is nothing to tell apart" + expected),
        "a class that training lacks": (sets["unknown"], "no training picture in .* of `c`"),
        "an empty validation folder": (sets["novalidation"], "val/ in .* has no pictures" + expected),
        "no training folder": (sets["notrain"], "has test/ and val/ but no train/" + expected),
        "splits without classes": (sets["values"], "train/ in .* has 3 pictures and no class folders" + expected),
        "a class with one picture": (root / "single", "class `b` has a single sample"),
        "nothing there": (root / "nowhere", "there is no file or folder `.*nowhere`"),
        "not an archive": (root / "plain.txt", "neither a folder nor an archive"),
    }


def test_sets_that_cannot_be_trained_on(tmp_path: Path) -> None:
    for what, (path, says) in broken_sets(tmp_path).items():
        with pytest.raises(UserError, match=says) as refusal:
            scan(path)
        assert "Traceback" not in str(refusal.value), what


def test_an_unreadable_folder_is_named(flowers: Path, monkeypatch) -> None:
    scandir = os.scandir

    def forbidden(path):
        if str(path).endswith("rose"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(UserError, match=r"the folder `.*rose` cannot be read: Permission denied.*chmod -R u\+rX"):
        scan(flowers)


def test_a_class_missing_from_validation_is_noted(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 3, "b": 3, "c": 3})
    class_folders(tmp_path / "val", {"a": 1, "b": 1})
    assert "validation has no picture of `c`: the scores say nothing about it" in scan(tmp_path).notes


def test_a_wrong_policy_is_refused(flowers: Path) -> None:
    with pytest.raises(UserError, match="write `refuse`"):
        scan(flowers, on_bad_file="ignore")


def test_a_zip_that_needs_a_password_names_the_reason(tmp_path: Path) -> None:
    archive = tmp_path / "f.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("a/1.png", "b/1.png"):
            buffer = io.BytesIO()
            Image.fromarray(noise(0)).save(buffer, "png")
            file.writestr(name, buffer.getvalue())
    data = bytearray(archive.read_bytes())
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(magic)
        data[at + flags] |= 1  # the bit that says "encrypted"
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r"1 of 2 files cannot be used: a/1.png \(cannot be read: .*password required"):
        scan(archive)
