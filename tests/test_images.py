"""Pictures as batches: decoding against numpy, memory against disk, statistics from training only, prediction as
validation."""

import dataclasses
import json
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pictures_on_disk import class_folders, cut_off, noise, save, smooth, turned
from seminal.core import Batch, Chance, Order, Source, UserError
from seminal.data import fetched, image_stream
from seminal.data.images import ImageEncoder, ImageStore, ImageStream, digits, load, scan
from seminal.data.pictures import BadPicture, crop, open_picture, read_header, square
from seminal.data.split import Fold
from seminal.pieces.augment import HorizontalFlip
from seminal.pieces.chance import shuffled
from seminal.pieces.crops import CenterCrop, FixedCrop, RandomCrop, ResizedCrop


def pixels_of(path: Path, channels: int = 3, side: int | None = None) -> np.ndarray:
    image = open_picture(path.read_bytes())
    return square(image, channels, side or min(image.size))


def gathered(source: Source, order: Order) -> Batch:
    parts = list(source.batches(order))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def same(ours: Batch, theirs: Batch) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 training and 14 validation pictures of one size."""
    root = tmp_path_factory.mktemp("small")
    class_folders(root / "train", {"a": 25, "b": 20, "c": 15})
    class_folders(root / "val", {"a": 5, "b": 5, "c": 4}, start=50_000)
    return root


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEGs of many sizes, some on their side."""
    root = tmp_path_factory.mktemp("photos")
    for split, count in (("train", 12), ("val", 5)):
        for i in range(2 * count):
            height, width = 40 + 7 * (i % 5), 44 + 9 * (i % 4)
            save(root / split / "ab"[i % 2] / f"{i}.jpg", smooth(i, height, width), exif=turned(1 + i % 8), quality=95)
    return root


# -------------------------------------------------------------------------------------------------- one picture file


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tiff"])
def test_pictures_are_turned_upright(tmp_path: Path, orientation: int, ending: str) -> None:
    pixels = np.repeat(np.repeat(noise(0, 2, 2), 8, axis=0), 8, axis=1)
    options = {"quality": 100, "subsampling": 0} if ending == "jpg" else {"lossless": True} if ending == "webp" else {}
    path = save(tmp_path / f"x.{ending}", pixels, exif=turned(orientation), **options)
    # The definition of the tag: what the first row and the first column of the file show.
    upright = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels),
    }[orientation]
    got = pixels_of(path).transpose(1, 2, 0).astype(int)
    assert np.abs(got - upright).max() <= (6 if ending == "jpg" else 0)


def test_transparent_pictures_lie_on_white(tmp_path: Path) -> None:
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[2:5, 3, 3] = 255  # an opaque black stroke on transparent black
    expected = np.full((8, 8), 255)
    expected[2:5, 3] = 0
    for channels in (1, 3):
        assert (pixels_of(save(tmp_path / "rgba.png", ink), channels) == expected).all()
        assert (pixels_of(save(tmp_path / "la.png", ink[..., [0, 3]]), channels) == expected).all()
    half = Image.new("RGBA", (4, 4), (200, 100, 0, 128))
    half.save(tmp_path / "half.png")
    over = np.round(np.array([200, 100, 0]) * 128 / 255 + 255 * 127 / 255)
    assert np.abs(pixels_of(tmp_path / "half.png")[:, 0, 0] - over).max() <= 1
    palette = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.save(tmp_path / "p.png", transparency=0)
    assert pixels_of(tmp_path / "p.png")[:, 0].T.tolist() == [[255, 255, 255], [200, 100, 50]]


def test_every_kind_of_picture_becomes_grey_or_rgb(tmp_path: Path) -> None:
    grey = noise(1, 6, 6, channels=1)
    deep = (grey.astype(np.uint16) << 8) | 37
    cases = {
        "deep.png": Image.fromarray(deep),
        "deep.tiff": Image.fromarray(deep),
        "grey.png": Image.fromarray(grey),
        "grey.gif": Image.fromarray(grey),
        "colour.bmp": Image.fromarray(np.repeat(grey[..., None], 3, axis=2)),
        "palette.png": Image.fromarray(grey).convert("P"),
    }
    for name, image in cases.items():
        image.save(tmp_path / name)
        assert (pixels_of(tmp_path / name, 1) == grey).all(), name
        assert (pixels_of(tmp_path / name, 3) == grey).all(), name
    Image.fromarray(grey > 127).save(tmp_path / "bits.png")
    assert (pixels_of(tmp_path / "bits.png", 3) == 255 * (grey > 127)).all()
    inks = Image.fromarray(noise(2, 6, 6)).convert("CMYK")
    inks.save(tmp_path / "inks.tiff")
    assert (pixels_of(tmp_path / "inks.tiff").transpose(1, 2, 0) == np.asarray(inks.convert("RGB"))).all()
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(Exception, match="floating-point"):
        pixels_of(tmp_path / "float.tiff")


@given(st.integers(20, 70), st.integers(20, 70), st.integers(8, 40), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_square_is_the_resized_short_side_with_its_centre_cut_out(
    height: int, width: int, side: int, seed: int
) -> None:
    image = Image.fromarray(smooth(seed, height, width))
    # As torchvision's Resize and CenterCrop would, in two steps, which rounds the long side to whole pixels.
    scale = side / min(height, width)
    resized = image.resize(
        (max(side, round(width * scale)), max(side, round(height * scale))), Image.Resampling.BILINEAR
    )
    left, top = (resized.width - side) // 2, (resized.height - side) // 2
    oracle = np.asarray(resized.crop((left, top, left + side, top + side))).transpose(2, 0, 1)
    got = square(image, 3, side)
    assert got.shape == (3, side, side)
    assert np.abs(got.astype(float) - oracle).mean() < 255 * 1.0 / side


def test_a_picture_of_the_right_size_is_kept_as_it_is() -> None:
    pixels = noise(0, 32, 32)
    assert (square(Image.fromarray(pixels), 3, 32) == pixels.transpose(2, 0, 1)).all()


@pytest.mark.parametrize(("height", "width", "decoded"), [(600, 900, 75), (601, 907, 76), (1203, 605, 76)])
def test_large_jpegs_are_decoded_small_without_harm(tmp_path: Path, height: int, width: int, decoded: int) -> None:
    pixels = smooth(3, height, width)
    path = save(tmp_path / "x.jpg", pixels, quality=95)
    reference = square(Image.fromarray(pixels), 3, 32).astype(int)
    image = open_picture(path.read_bytes())
    assert np.abs(square(image, 3, 32) - reference).max() <= 8
    assert min(image.size) == decoded  # an eighth: the full picture was never made


def test_rounding_draws_no_black_line() -> None:
    white = Image.new("RGB", (67, 41), "white")
    assert (crop(white, 3, (-1e-4, -1e-4, 67.0001, 41.0001), 16) == 255).all()
    assert (crop(white, 3, (-8, -8, 67, 41), 16)[:, 0] < 255).all()


def test_a_crop_that_reaches_outside_sees_black() -> None:
    pixels = noise(4, 12, 16)
    padded = np.pad(pixels, ((4, 4), (4, 4), (0, 0)))
    got = crop(Image.fromarray(pixels), 3, (-3, 2, 9, 14), 12)  # left, top, right, bottom
    assert (got.transpose(1, 2, 0) == padded[6:18, 1:13]).all()


def test_headers_need_not_the_whole_file(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "b": 3}, side=400)
    tree = scan(tmp_path, split=Fold(0, 3)).tree
    cut_off(tmp_path / "a" / "000.png", keep=0.01)
    assert (read_header(tree, "a/000.png").height, read_header(tree, "a/000.png").width) == (400, 400)


# ------------------------------------------------------------------------------------------------------ order of rows


def test_rows_come_in_the_order_of_seed_and_epoch(small: Path) -> None:
    source = load(scan(small), size=8)
    order = Order("train", 16, seed=3, epoch=2, shuffle=True, scaling="none")
    assert source.steps(order) == 3
    batch = gathered(source, order)
    assert batch["index"].tolist() == shuffled(60, 3, 2)[:48].tolist()
    for i in range(0, 48, 11):
        name = source.name("train", int(batch["index"][i]))
        assert source.spec.classes[int(batch["target"][i])] == name.split("/")[1]
        expected = pixels_of(small / name) / np.float32(255)
        assert (batch["input"][i].numpy() == expected).all()
    in_order = list(source.batches(replace(order, shuffle=False)))
    assert [len(part["index"]) for part in in_order] == [16, 16, 16, 12]
    assert torch.cat([part["index"] for part in in_order]).tolist() == list(range(60))


@given(st.integers(20, 400), st.integers(1, 5), st.integers(0, 3), st.booleans())
@settings(max_examples=25, deadline=None)
def test_ranks_share_each_batch_and_a_late_start_skips(batch: int, world: int, start: int, shuffle: bool) -> None:
    source = _digits()
    order = Order("val", batch, seed=1, shuffle=shuffle, world=world, augment=(HorizontalFlip(),))
    alone = list(source.batches(replace(order, world=1)))
    ranks = [list(source.batches(replace(order, rank=rank))) for rank in range(world)]
    assert [len(parts) for parts in ranks] == [len(alone)] * world == [source.steps(order)] * world
    for number, whole in enumerate(alone):
        for rank, parts in enumerate(ranks):
            assert same(parts[number], {name: values[rank::world] for name, values in whole.items()})
    late = list(source.batches(replace(order, world=1, start=start)))
    assert len(late) == max(0, len(alone) - start)
    assert all(same(a, b) for a, b in zip(late, alone[start:]))


_KEPT: list[ImageStore] = []


def _digits() -> ImageStore:
    if not _KEPT:
        _KEPT.append(digits())
    return _KEPT[0]


@pytest.mark.parametrize("batch", [1, 4, 60])
def test_a_row_is_changed_alike_in_any_batch(small: Path, batch: int) -> None:
    source = load(scan(small), size=8)
    order = Order("train", 15, seed=1, shuffle=True, augment=(RandomCrop(2), HorizontalFlip()))
    assert same(gathered(source, order), gathered(source, replace(order, batch=batch)))
    other = gathered(source, replace(order, epoch=1))
    assert not torch.equal(other["input"][other["index"].argsort()], gathered(source, order)["input"])


def test_a_crop_comes_first(small: Path) -> None:
    source = load(scan(small), size=8)
    with pytest.raises(UserError, match="RandomCrop stands after another change of the picture: write it first"):
        next(source.batches(Order("train", 4, augment=(HorizontalFlip(), RandomCrop(2)))))


def test_a_missing_split_is_named(small: Path) -> None:
    with pytest.raises(UserError, match="has no split `test`: it has train, val"):
        load(scan(small), size=8).steps(Order("test", 4))


# -------------------------------------------------------------------------------------------------- memory and disk


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("augment", [(), (RandomCrop(2), HorizontalFlip()), (FixedCrop("top_left"),)])
def test_disk_gives_what_memory_gives(small: Path, workers: int, augment: tuple) -> None:
    listing = scan(small)
    store, stream = load(listing, size=8), load(listing, size=8, memory_limit=0, workers=workers)
    assert (type(store), type(stream)) == (ImageStore, ImageStream)
    assert stream.spec.notes[-1].endswith("they are read while training")
    assert store.spec == replace(stream.spec, notes=stream.spec.notes[:-1])
    order = Order("train", 16, seed=5, epoch=1, start=1, shuffle=True, augment=augment, world=2, rank=1)
    before = torch.get_rng_state()
    assert same(gathered(store, order), gathered(stream, order))
    assert torch.equal(before, torch.get_rng_state())  # the model's dropout does not feel the workers


def test_validation_from_disk_is_bit_identical_for_photographs_of_any_size(photos: Path) -> None:
    listing = scan(photos)
    store, stream = load(listing, size=28), load(listing, size=28, memory_limit=0, workers=0)
    assert store.pixels.shape == (34, 3, 32, 32)
    for scaling in ("standard", "pixel_mean", "none"):
        order = Order("val", 4, scaling=scaling)
        assert same(gathered(store, order), gathered(stream, order))


def test_random_crops_from_disk_see_the_same_part_of_the_picture(tmp_path: Path) -> None:
    for i in range(24):  # square: the part that memory keeps is the whole picture
        save(tmp_path / "ab"[i % 2] / f"{i}.jpg", smooth(i, 96, 96), quality=95)
    listing = scan(tmp_path)
    store, stream = load(listing, size=28), load(listing, size=28, memory_limit=0, workers=0)
    for augment in (RandomCrop(), RandomCrop(4), ResizedCrop((0.3, 1.0))):
        order = Order("train", 8, augment=(augment,), scaling="none")
        memory, disk = gathered(store, order), gathered(stream, order)
        assert torch.equal(memory["index"], disk["index"])
        assert (memory["input"] - disk["input"]).abs().mean() < 0.03
        elsewhere = gathered(stream, replace(order, seed=1))
        assert (elsewhere["input"] - disk["input"]).abs().mean() > 0.04  # what other places of the pictures look like


def test_a_crop_draws_its_box_on_the_whole_picture(tmp_path: Path) -> None:
    for i in range(8):
        save(tmp_path / "ab"[i % 2] / f"{i}.png", noise(i, 64, 128))
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Recorded:
        def boxes(self, sizes: torch.Tensor, size: int, chance: Chance) -> torch.Tensor:
            seen.append(sizes)
            return torch.tensor([[0.0, 32.0, 32.0, 32.0]]).expand(len(sizes), 4)

        def __call__(self, batch: Batch, chance: Chance) -> Batch:
            raise AssertionError("a crop is not called")

    stream = load(scan(tmp_path), size=28, memory_limit=0, workers=0)
    batch = gathered(stream, Order("train", 6, augment=(Recorded(),), scaling="none"))
    assert seen[0].tolist() == [[32, 64]] * 6  # the shorter side at 28 · 256/224
    name = stream.name("train", 2)
    oracle = Image.open(tmp_path / name).crop((64, 0, 128, 64)).resize((28, 28), Image.Resampling.BILINEAR)
    difference = np.abs(batch["input"][2].numpy() * 255 - np.asarray(oracle).transpose(2, 0, 1))
    assert difference[:, 1:-1, 1:-1].max() < 1.01  # at its edge, one filter sees past the box and the other does not


# --------------------------------------------------------------------------------------------------------- statistics


def test_statistics_come_from_training_pictures_only(small: Path) -> None:
    source = load(scan(small), size=8)
    training = np.stack([pixels_of(path) for path in sorted((small / "train").rglob("*.png"))]) / 255
    encoder = source.encoder("standard")
    assert np.allclose(encoder.mean, training.mean(axis=(0, 2, 3)), rtol=1e-12)
    assert np.allclose(encoder.std, training.std(axis=(0, 2, 3)), rtol=1e-12)
    scaled = gathered(source, Order("train", 7))["input"].double()
    assert torch.allclose(scaled.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-6)
    assert torch.allclose(scaled.std((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-5)
    centred = gathered(source, Order("val", 7, scaling="pixel_mean"))["input"].numpy()
    validation = np.stack([pixels_of(path) for path in sorted((small / "val").rglob("*.png"))])
    assert np.abs(centred - (validation - 255 * training.mean(axis=0))).max() < 1e-3
    colours = training.transpose(1, 0, 2, 3).reshape(3, -1)
    assert np.allclose(source.spec.colour_values, np.linalg.eigvalsh(np.cov(colours, bias=True))[::-1], rtol=1e-6)


def test_each_fold_has_its_own_statistics(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 10, "b": 10})
    means = {load(scan(tmp_path, split=Fold(i, 5)), size=8).encoder("standard").mean for i in range(5)}
    assert len(means) == 5


def test_a_flat_channel_is_not_divided_by_zero(tmp_path: Path) -> None:
    for i in range(8):
        pixels = noise(i)
        pixels[..., 1] = 40
        save(tmp_path / "ab"[i % 2] / f"{i}.png", pixels)
    inputs = gathered(load(scan(tmp_path), size=8), Order("train", 4))["input"]
    assert inputs.isfinite().all()
    assert inputs[:, 1].abs().max() < 1e-6


def test_a_stream_samples_its_statistics_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_stream, "_SAMPLE", 30)
    class_folders(tmp_path, {"a": 30, "b": 30})
    listing = scan(tmp_path)
    stream = load(listing, size=8, memory_limit=0, workers=0)
    assert stream.spec.notes[-1] == "input statistics are those of 30 random training pictures of 48"
    all_of_them = load(listing, size=8).encoder("standard").mean
    assert stream.encoder("standard").mean != all_of_them
    assert np.allclose(stream.encoder("standard").mean, all_of_them, atol=0.03)


def test_an_unknown_scaling_is_refused(small: Path) -> None:
    with pytest.raises(UserError, match=r"no scaling `whiten`.*standard, pixel_mean, none"):
        load(scan(small), size=8).encoder("whiten")


# --------------------------------------------------------------------------------------------------------- prediction


@pytest.mark.parametrize("scaling", ["standard", "pixel_mean", "none"])
@pytest.mark.parametrize("limit", [0, 2 << 30])
def test_prediction_sees_the_pixels_of_validation(photos: Path, scaling: str, limit: int) -> None:
    source = load(scan(photos), size=28, memory_limit=limit, workers=0)
    saved = json.loads(json.dumps(dataclasses.asdict(source.encoder(scaling))))
    encoder = ImageEncoder(**{key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()})
    assert encoder == source.encoder(scaling)
    validation = gathered(source, Order("val", 3, scaling=scaling))
    names = [source.name("val", index) for index in range(len(validation["index"]))]
    parts = list(encoder.encode([str(photos / name) for name in names], 4))
    assert [shown for part, _ in parts for shown in part] == [str(photos / name) for name in names]
    assert torch.equal(torch.cat([batch["input"] for _, batch in parts]), validation["input"])
    assert torch.cat([batch["index"] for _, batch in parts]).tolist() == list(range(len(names)))
    folder = list(encoder.encode([str(photos / "val")], 100))
    assert sorted(folder[0][0]) == sorted(str(photos / name) for name in names)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        (
            "cat.txt",
            b"Dear Sir, I am",
            r'cat.txt is not a picture \(first bytes: "Dear Sir"\). Give .jpg, .png, … or a',
        ),
        ("x.png", b"\x00\x01\x02\x03\x04\x05\x06\x07\x08", r"x.png is not a picture \(first bytes: 00 01 02 03 04"),
        ("empty.jpg", b"", r"empty.jpg is no usable picture \(empty, 0 bytes\)"),
        ("folder/notes.txt", b"", "folder holds no pictures"),
        ("", b"", "there is no file or folder"),
    ],
)
def test_what_cannot_be_predicted_is_named(tmp_path: Path, file: str, content: bytes, says: str) -> None:
    target = tmp_path / (file or "nowhere")
    if file:
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
    given_path = target.parent if "/" in file else target
    with pytest.raises(UserError, match=says):
        next(digits().encoder("none").encode([str(given_path)], 8))


# ------------------------------------------------------------------------------------------------------ damaged files


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    """Three files whose header is whole and whose pixels are not, one of them in validation."""
    class_folders(tmp_path / "train", {"a": 10, "b": 10}, side=64)
    class_folders(tmp_path / "val", {"a": 4, "b": 4}, side=64)
    save(tmp_path / "train" / "a" / "cut.jpg", noise(0, 64, 64), quality=95)
    for name in ("train/a/cut.jpg", "train/b/003.png", "val/b/001.png"):
        cut_off(tmp_path / name)
    return tmp_path


def test_truncated_pictures_are_refused_or_skipped(torn: Path) -> None:
    with pytest.raises(
        UserError, match=r"3 of 29 files cannot be used: train/a/cut.jpg \(truncated\), train/b/003.png"
    ):
        load(scan(torn), size=64)
    source = load(scan(torn, on_bad_file="skip"), size=64)
    assert source.spec.counts == {"train": 19, "val": 7}
    assert any(note.startswith("left out 3 of 29 files: train/a/cut.jpg (truncated)") for note in source.spec.notes)
    batch = gathered(source, Order("val", 3, scaling="none"))
    names = [source.name("val", int(i)) for i in batch["index"]]
    assert "val/b/001.png" not in names
    for row, name in zip(batch["input"], names):
        assert (row.numpy() == pixels_of(torn / name) / np.float32(255)).all()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("augment", [(), (ResizedCrop(),)])
def test_a_stream_names_or_skips_a_picture_that_breaks_off(torn: Path, workers: int, augment: tuple) -> None:
    order = Order("val", 4, scaling="none", augment=augment)
    with pytest.raises(UserError, match=r"^val/b/001.png cannot be used \(truncated\)"):
        list(load(scan(torn), size=56, memory_limit=0, workers=workers).batches(order))
    source = load(scan(torn, on_bad_file="skip"), size=56, memory_limit=0, workers=workers)
    with pytest.warns(UserWarning, match=r"left out val/b/001.png \(truncated\)"):
        assert gathered(source, order)["index"].tolist() == [0, 1, 2, 3, 4, 6, 7]


def test_skipping_may_not_empty_a_class(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 3, "b": 1}, side=64)
    class_folders(tmp_path / "val", {"a": 3, "b": 1}, side=64)
    cut_off(tmp_path / "train" / "b" / "000.png")
    with pytest.raises(UserError, match=r"no training picture in .* of `b`"):
        load(scan(tmp_path, on_bad_file="skip"), size=64)


# ------------------------------------------------------------------------------------------------------------- digits


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    source = digits()
    assert source.spec.counts == {"train": 1437, "val": 360}
    assert (source.spec.shape, source.spec.outputs, sum(source.spec.class_counts)) == ((1, 8, 8), 10, 1437)
    bundled = load_digits()
    batch = gathered(source, Order("val", 100, scaling="none"))
    rows = [int(source.name("val", int(i)).removeprefix("digits[").rstrip("]")) for i in batch["index"]]
    assert (batch["target"].numpy() == bundled.target[rows]).all()
    assert np.abs(batch["input"][:, 0].numpy() * 16 - bundled.images[rows]).max() < 0.04  # half a grey level of 255
    assert digits(split=Fold(0, 5)).spec.counts["val"] in (359, 360)


def test_the_centre_is_seen_where_no_crop_is_asked_for(photos: Path) -> None:
    source = load(scan(photos), size=28)
    order = Order("train", 8, scaling="none")
    assert same(gathered(source, order), gathered(source, replace(order, augment=(CenterCrop(),))))
    expected = source.pixels[: len(source.listing.rows("train"))][0, :, 2:30, 2:30] / 255
    assert torch.equal(gathered(source, order)["input"][0], expected)


def test_a_program_that_calls_itself_a_picture_is_not_started():
    """Pillow reads PostScript too, by handing it to an interpreter."""
    with pytest.raises(BadPicture, match="not a picture"):
        open_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")


def test_files_of_another_set_in_the_folder_of_one_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Those of MNIST and of Fashion-MNIST have the same names."""
    monkeypatch.setenv("SEMINAL_DATA", str(tmp_path))
    monkeypatch.setattr(fetched, "SETS", {"mnist": fetched.Files("nowhere/", {"x.gz": md5(b"mnist").hexdigest()})})
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "x.gz").write_bytes(b"mnist")
    assert fetched.fetched("mnist") == tmp_path / "mnist" / "x.gz"
    (tmp_path / "mnist" / "x.gz").write_bytes(b"fashion")
    with pytest.raises(UserError, match=r"x.gz is there, but it is not the file of mnist"):
        fetched.fetched("mnist")
