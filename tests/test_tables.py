"""Tables as batches, predicting as validation did, and a sentence for each mistake."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from example_tables import WORDS, houses, lines, whole, written
from seminal.core import Batch, Order, UserError
from seminal.data import table_file, tables
from seminal.data.split import Fold, Holdout
from seminal.runs.asks import DataAsk
from seminal.runs.codec import from_json, to_json
from seminal.runs.sources import open_source


def test_a_regression_target_is_standardised_by_training_rows_alone(tmp_path: Path) -> None:
    table = houses()
    source = tables.read(written(tmp_path / "houses.csv", table), target="price")
    price = np.array(table["price"])
    train, val = (price[np.array(lines(source, split)) - 2] for split in ("train", "val"))
    spec = source.spec
    assert spec.target_names == ("price",)
    assert spec.outputs == 1
    assert spec.target_mean == pytest.approx((train.mean(),))
    assert spec.target_std == pytest.approx((train.std(),))
    for scaling in ("standard", "none"):  # which is about the inputs
        target = whole(source, "val", scaling)["target"]
        assert target.shape == (12, 1)
        assert target.dtype == torch.float32
        np.testing.assert_allclose(target[:, 0] * spec.target_std[0] + spec.target_mean[0], val, rtol=1e-6)


@pytest.mark.parametrize("name", tables.BUNDLED)
def test_bundled_tables_are_those_of_scikit_learn(name: str) -> None:
    load = {
        "iris": datasets.load_iris,
        "wine": datasets.load_wine,
        "breast-cancer": datasets.load_breast_cancer,
        "diabetes": lambda: datasets.load_diabetes(scaled=False),
    }
    data = load[name]()
    source = tables.bundled(name, split=Holdout(0.3, seed=1))
    train = np.array(lines(source, "train")) - 1
    pipeline = make_pipeline(StandardScaler()).fit(data.data[train])
    for split in ("train", "val"):
        rows = np.array(lines(source, split)) - 1
        batch = whole(source, split)
        np.testing.assert_allclose(batch["input"], pipeline.transform(data.data[rows]), atol=2e-6, rtol=2e-6)
        if name == "diabetes":
            got = batch["target"][:, 0] * source.spec.target_std[0] + source.spec.target_mean[0]
            np.testing.assert_allclose(got, data.target[rows], rtol=1e-5)
        else:
            words = [source.spec.classes[code] for code in batch["target"]]
            assert words == [data.target_names[code] for code in data.target[rows]]
            assert source.spec.class_counts == tuple(
                int((data.target_names[data.target[train]] == c).sum()) for c in source.spec.classes
            )
    assert source.name("train", 0) == f"{name}:{train[0] + 1}"


def test_a_folder_brings_its_own_split(tmp_path: Path) -> None:
    folder = tmp_path / "town"
    folder.mkdir()
    table = houses()
    written(folder / "train.csv", {name: cells[:40] for name, cells in table.items()})
    written(folder / "valid.tsv", {name: cells[40:] for name, cells in table.items()}, "\t")
    written(folder / "test.csv", table)
    source = tables.read(folder, target="price")
    assert source.spec.name == "town"
    assert dict(source.spec.counts) == {"train": 40, "val": 20}
    assert source.name("val", 3) == "valid.tsv:5"
    assert source.spec.target_mean[0] == pytest.approx(np.mean(table["price"][:40]))
    assert any("test.csv" in note for note in source.spec.notes)
    (folder / "valid.tsv").unlink()
    (folder / "test.csv").unlink()
    assert dict(tables.read(folder, target="price", split=Fold(1, 4)).spec.counts) == {"train": 30, "val": 10}


def test_a_test_table_without_the_target_is_left_out(tmp_path: Path) -> None:
    """As contests give it: what is to be predicted is not in it."""
    table = houses()
    written(tmp_path / "train.csv", table)
    written(tmp_path / "test.csv", {name: cells for name, cells in table.items() if name != "price"})
    source = tables.read(tmp_path, target="price")
    assert dict(source.spec.counts) == {"train": 48, "val": 12}
    assert "test.csv left out: it has no column `price`" in source.spec.notes
    assert dict(tables.read(tmp_path, target="price", split=Fold(1, 4)).spec.counts) == {"train": 45, "val": 15}
    with pytest.raises(UserError, match=r"train.csv has no column `Price`; the nearest is `price`"):
        tables.read(tmp_path, target="Price")


def test_a_folder_of_packed_tables_is_no_folder_of_pictures(tmp_path: Path) -> None:
    text = written(tmp_path / "houses.csv", houses()).read_bytes()
    (tmp_path / "town").mkdir()
    for name in ("train", "val"):
        (tmp_path / "town" / f"{name}.csv.gz").write_bytes(gzip.compress(text))
    source = open_source(DataAsk(str(tmp_path / "town"), target="price"), "mlp", "mlp", "cpu")
    assert dict(source.spec.counts) == {"train": 60, "val": 60}


# ------------------------------------------------------------------------------------------------------- the batches


@given(
    count=st.integers(8, 50),
    batch=st.integers(1, 60),
    world=st.integers(1, 4),
    start=st.integers(0, 6),
    shuffle=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_batches_are_the_order(count: int, batch: int, world: int, start: int, shuffle: bool) -> None:
    source = SHARED.setdefault(count, _counted(count))
    rows = source.spec.counts["train"]
    order = Order("train", batch, seed=5, epoch=2, shuffle=shuffle)
    epoch = [b["index"].tolist() for b in source.batches(order)]
    assert len(epoch) == source.steps(order) == (max(1, rows // batch) if shuffle else -(-rows // batch))
    assert [len(rows_of) for rows_of in epoch[:-1]] == [batch] * (len(epoch) - 1)
    flat = [row for part in epoch for row in part]
    assert len(set(flat)) == len(flat)
    # In training the rows that do not fill a batch wait for the next epoch.
    left = rows % batch if shuffle and rows >= batch else 0
    assert len(flat) == rows - left
    assert shuffle or flat == list(range(rows))
    ranks = [list(source.batches(replace(order, start=start, rank=rank, world=world))) for rank in range(world)]
    assert {len(batches) for batches in ranks} == {max(0, len(epoch) - start)}
    for step, parts in enumerate(zip(*ranks), start=start):
        for rank, part in enumerate(parts):
            assert part["index"].tolist() == epoch[step][rank::world]
            assert torch.equal(part["input"], whole(source, "train")["input"][part["index"]])
            assert torch.equal(part["target"], whole(source, "train")["target"][part["index"]])


SHARED: dict[int, tables.TableSource] = {}


def _counted(count: int) -> tables.TableSource:
    rows = tables.Labelled(
        table_file.Table("t", {"x": pa.chunked_array([np.arange(count) ** 2])}, np.arange(count)),
        np.arange(count) * 1.0,
    )
    parts, _ = tables._divided(rows, Holdout(), stratify=False)
    train, columns, _ = tables._learned(parts["train"], "y", "refuse", None)
    goal = tables.table_target.fitted(train, "y", "regression")
    return tables._source("t", parts, (columns, goal), notes=[], device="cpu")


def test_two_epochs_differ_and_the_same_epoch_does_not() -> None:
    source = tables.bundled("iris")
    first, again, second = (
        torch.cat([b["index"] for b in source.batches(Order("train", 32, epoch=epoch, shuffle=True))])
        for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_augmentations_see_the_rows_own_chance() -> None:
    def noisy(batch: Batch, chance: tables.RowChance) -> Batch:
        return {**batch, "input": batch["input"] + chance.normal(7, batch["input"].shape[1])}

    source = tables.bundled("iris")
    orders = [Order("train", size, shuffle=True, augment=(noisy,)) for size in (120, 8)]
    large, small = ([torch.cat([b[k] for b in source.batches(order)]) for k in ("index", "input")] for order in orders)
    assert torch.equal(large[0], small[0])
    assert torch.equal(large[1], small[1])
    assert not torch.equal(large[1], whole(source, "train")["input"][large[0]])


# ------------------------------------------------------------------------------------------------------- the encoder


@pytest.mark.parametrize("scaling", tables.SCALINGS)
@pytest.mark.parametrize("form", ["csv", "tsv", "parquet"])
def test_predicting_reads_as_validation_did_to_the_bit(tmp_path: Path, form: str, scaling: str) -> None:
    table = houses(200)
    source = tables.read(written(tmp_path / "houses.csv", table), target="price")
    encoder = source.encoder(scaling)
    encoder = from_json(json.loads(json.dumps(to_json(encoder))))
    assert encoder == source.encoder(scaling)
    at = [line - 2 for line in lines(source, "val")]
    new = {name: [cells[i] for i in at] for name, cells in reversed(table.items()) if name != "price"}  # in other order
    path = tmp_path / f"new.{form}"
    if form == "parquet":
        pq.write_table(pa.table(new), path)
    else:
        written(path, new, "," if form == "csv" else "\t")
    parts = list(encoder.encode([str(path), str(path)], batch=16))
    first = 1 if form == "parquet" else 2
    assert [name for names, _ in parts for name in names] == [f"new.{form}:{i + first}" for i in range(40)] * 2
    assert torch.cat([batch["index"] for _, batch in parts]).tolist() == list(range(80))
    wanted = whole(source, "val", scaling)["input"]
    assert torch.equal(torch.cat([batch["input"] for _, batch in parts]), torch.cat([wanted, wanted]))
    assert max(len(names) for names, _ in parts) == 16


@given(seed=st.integers(0, 10**6), factor=st.floats(-5, 5), word=st.sampled_from(["north", "far", ""]))
@settings(max_examples=25, deadline=None)
def test_validation_rows_leave_no_trace(
    tmp_path_factory: pytest.TempPathFactory, seed: int, factor: float, word: str
) -> None:
    folder = tmp_path_factory.mktemp("leak")
    table = houses(80)
    source = tables.read(written(folder / "houses.csv", table), target="price", split=Fold(1, 4))
    rng = np.random.default_rng(seed)
    for line in lines(source, "val"):
        if rng.random() < 0.5:
            row = line - 2
            table["area"][row] = factor * rng.normal()
            table["rooms"][row] = None if word == "" else int(100 * factor)
            table["street"][row] = word
            table["garden"][row] = None
            table["price"][row] *= factor
    changed = tables.read(written(folder / "houses.csv", table), target="price", split=Fold(1, 4))
    assert changed.encoder("standard") == source.encoder("standard")
    assert (changed.spec.target_mean, changed.spec.target_std) == (source.spec.target_mean, source.spec.target_std)
    assert torch.equal(whole(changed, "train")["input"], whole(source, "train")["input"])


def test_unknown_categories_are_no_category_and_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    written(folder / "train.csv", {"c": ["a", "b"] * 10, "x": list(range(20)), "y": [1.5, 2.5, 3] * 6 + [1, 2]})
    written(folder / "val.csv", {"c": ["a", "new", "", "b"], "x": [1, 2, 3, 4], "y": [1, 2, 3, 4]})
    source = tables.read(folder, target="y")
    assert whole(source, "val", "none")["input"][:, :2].tolist() == [[1, 0], [0, 0], [0, 0], [0, 1]]
    assert any("2 in `c` (first 'new' at val.csv:3)" in note for note in source.spec.notes)
    with pytest.warns(UserWarning, match="2 in `c`"):
        parts = list(source.encoder("none").encode([str(folder / "val.csv")], 8))
    assert torch.equal(parts[0][1]["input"], whole(source, "val", "none")["input"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(source.encoder("none").encode([str(folder / "train.csv")], 8))


def test_a_class_missing_from_validation_is_noted(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    written(folder / "train.csv", {"x": list(range(30)), "y": ["a", "b", "c"] * 10})
    written(folder / "val.csv", {"x": [1, 2], "y": ["a", "c"]})
    assert any("no row of the class `b`" in note for note in tables.read(folder, target="y").spec.notes)


def test_skipped_rows_leave_no_trace(tmp_path: Path) -> None:
    """A table with bad rows that are skipped is the table without them, but for the line numbers."""
    good = [f"{i / 7:.3f},{i % 5},{WORDS[i % 3]},{i * 1.5}" for i in range(80)]
    bad = {
        3: "1,2,north",
        17: "1,inf,north,5",
        30: "1,2,north,",
        44: "oops,2,north,5",
        61: "1,2,north,oops",
        62: "1,2,a,b,c",
    }
    dirty = [row for i in range(80) for row in ([bad[i]] if i in bad else []) + [good[i]]]
    for name, rows in [("clean", good), ("dirty", dirty)]:
        (tmp_path / f"{name}.csv").write_text("a,b,c,y\n" + "\n".join(rows))
    clean = table_file.read(tmp_path / "clean.csv")
    with pytest.raises(UserError):
        tables.read(tmp_path / "dirty.csv", target="y")
    source = tables.read(tmp_path / "dirty.csv", target="y", on_bad_row="skip", split=Holdout(0.25))
    assert sum(source.spec.counts.values()) == len(clean) == 80
    notes = " | ".join(source.spec.notes)
    assert "2 broken rows of dirty.csv left out, on lines 5, 69" in notes
    assert "2 rows of dirty.csv left out: their target" in notes
    text = ["", *(tmp_path / "dirty.csv").read_text().split("\n")]
    kept = {
        text[int(source.name(split, i).split(":")[1])]
        for split in ("train", "val")
        for i in range(source.spec.counts[split])
    }
    assert kept == set(good)
    train = [float(text[line].split(",")[0]) for line in lines(source, "train")]
    assert source.encoder("standard").columns[0].mean == pytest.approx(np.mean(train))


# ----------------------------------------------------------------------------------------------- mistakes, in sentences


def file(name: str, content: str | bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def folder(**files: str) -> Callable[[Path], Path]:
    def make(base: Path) -> Path:
        place = base / "town"
        place.mkdir()
        for name, content in files.items():
            (place / f"{name}.csv").write_text(content)
        return place

    return make


def sheet(*changes: tuple[int, str]) -> str:
    """40 rows of x, c, price; the line (as an editor counts) is replaced by the text."""
    rows = ["x,c,price", *(f"{i}.5,{WORDS[i % 3]},{100 + i * 3.5}" for i in range(40))]
    for line, text in changes:
        rows[line - 1] = text
    return "\n".join(rows) + "\n"


def misspelt(base: Path) -> Path:
    (base / "houses.csv").write_text(sheet())
    return base / "house.csv"


def cut_gzip(base: Path) -> Path:
    (base / "houses.csv.gz").write_bytes(gzip.compress(sheet().encode())[:-20])
    return base / "houses.csv.gz"


def bad_gzip_name(base: Path) -> Path:
    (base / "houses.csv.gz").write_text(sheet())
    return base / "houses.csv.gz"


def twin_parquet(base: Path) -> Path:
    pq.write_table(pa.Table.from_arrays([pa.array([1.0, 2.0])] * 2, ["a", "a"]), base / "t.parquet")
    return base / "t.parquet"


def infinite_parquet(base: Path) -> Path:
    pq.write_table(pa.table({"x": [*np.arange(30.0), np.inf], "price": np.arange(31.0)}), base / "t.parquet")
    return base / "t.parquet"


def two_trains(base: Path) -> Path:
    for name in ("train.csv", "train.tsv"):
        (base / name).write_text(sheet())
    return base


PRICE = {"target": "price"}
SPECIES = {"target": "species"}
WORDY = {"target": "c", "task": "regression"}

FOLDS = PRICE | {"split": Fold(0, 5)}
SKIP = "--on-bad-row skip"
TWO = "x,species\n1,a\n2,b\n3,a\n4,b\n"
MANY = "x,species\n" + "".join(f"{i},name {i}\n" for i in range(90))
IDLE = "k,id,price\n" + "".join(f"7,{i},{i * 1.5}\n" for i in range(1, 30))

# (name, function that makes the file and returns its path, arguments of `tables.read`, words the sentence must have)
BAD_TABLES: list[tuple[str, Callable[[Path], Path], dict, tuple[str, ...]]] = [
    ("no target", file("houses.csv", sheet()), {}, ("which column is the target", "`x`, `c`, `price`", "--target price")),
    ("target misspelt", file("houses.csv", sheet()), {"target": "Prize"}, ("no column `Prize`", "`price`", "--target")),
    ("task misspelt", file("t.csv", sheet()), PRICE | {"task": "regresion"}, ("`regresion`", "`regression`")),
    ("bad-row way", file("t.csv", sheet()), PRICE | {"on_bad_row": "drop"}, ("`drop`", "`skip`")),
    ("words as regression", file("t.csv", sheet()), WORDY, ("'north'", "t.csv:2", "--task classification")),
    ("word in the target", file("t.csv", sheet((9, "1,north,cheap"))), PRICE, ("'cheap'", "t.csv:9", SKIP)),
    ("infinite target", file("t.csv", sheet((9, "1,north,inf"))), PRICE, ("'inf'", "t.csv:9", "finite")),
    ("missing target", file("t.csv", sheet((4, "1,a,"), (9, "1,a,NA"))), PRICE, ("2 rows", "t.csv:4", SKIP)),
    ("empty target", file("t.csv", "x,price\n1,\n2,\n"), PRICE, ("`price`", "no value in any row")),
    ("short row", file("t.csv", sheet((17, "1,a"))), PRICE, ("line 17", "2 fields", "header has 3", SKIP)),
    ("long rows", file("t.csv", sheet((5, "1,a,3,4"), (6, "1"))), PRICE, ("line 5", "4 fields", "1 more", SKIP)),
    ("open quotation mark", file("t.csv", sheet((9, '1,"a'), (10, 'b",5,6,7'))), PRICE, ("line 9", "line 10", "quotation")),
    ("empty file", file("t.csv", ""), PRICE, ("t.csv is empty",)),
    ("blank file", file("t.csv", "\ufeff \n\n"), PRICE, ("t.csv is empty",)),
    ("header only", file("t.csv", "x,c,price\n"), PRICE, ("no rows", "two rows")),
    ("only broken rows", file("t.csv", "x,price\n1\n2\n"), PRICE | {"on_bad_row": "skip"}, ("no rows", "2 broken rows")),
    ("no header", file("t.csv", "5.1,3.5,1\n4.9,3.0,2\n"), PRICE, ("no column names", "line 1")),
    ("no header but words", file("t.csv", "5.1,5.1,1,a\n4.9,3,2,b\n"), PRICE, ("`5.1`", "looks like data")),
    ("twin columns", file("t.csv", "x,x,price\n1,2,3\n"), PRICE, ("more than one column called `x`",)),
    ("twin columns in Parquet", twin_parquet, PRICE, ("more than one column called `a`",)),
    ("one class", file("t.csv", "x,species\n" + "1,a\n2,a\n" * 9), SPECIES, ("'a'", "nothing to tell apart", "two classes")),
    ("one number", file("t.csv", "x,price\n" + "1,5.5\n2,5.5\n" * 9), PRICE, ("5.5 in every", "nothing to learn")),
    ("rare class", file("t.csv", "x,species\n" + "1,a\n2,b\n" * 9 + "3,c\n"), SPECIES, ("`c`", "a single")),
    ("a class per row", folder(train=MANY, val=MANY), SPECIES, ("90 different values", "too many", "--task regression")),
    ("new class in validation", folder(train=TWO, val=TWO + "1,z\n"), SPECIES, ("'z'", "val.csv:6", "`a`, `b`")),
    ("no usable column", file("t.csv", IDLE), PRICE, ("no column to learn from", "`k`", "`id`")),
    ("target alone", file("t.csv", "price\n" + "1.5\n2\n" * 9), PRICE, ("no column but the target",)),
    ("spaces between columns", file("t.txt", "x price\n" + "1 2.5\n" * 9), PRICE, ("no column `price`", "`x price`", "tabs")),
    ("word among numbers", file("t.csv", sheet((23, "many,a,5"))), PRICE, ("`x`", "'many'", "t.csv:23", SKIP)),
    ("infinite cell", file("t.csv", sheet((23, "-inf,a,5"))), PRICE, ("`x`", "'-inf'", "t.csv:23", "finite")),
    ("infinite cell in Parquet", infinite_parquet, PRICE, ("`x`", "'inf'", "t.parquet:31")),
    ("number beyond 32 bits", file("t.csv", sheet((23, "1e39,a,5"))), PRICE, ("`x`", "'1e39'", "t.csv:23", "3.4e+38")),
    ("word in validation", folder(train=sheet(), val=sheet((7, "few,a,5"))), PRICE, ("`x`", "'few'", "val.csv:7")),
    ("column not in validation", folder(train=sheet(), val="X_,c,price\n1,a,2\n"), PRICE, ("val.csv", "column `x`", "`X_`")),
    ("target not in validation", folder(train=sheet(), val="x,c\n1,a\n"), PRICE, ("val.csv", "no column `price`")),
    ("Latin-1", file("t.csv", sheet((9, "1,Zürich,5")).encode("latin-1")), PRICE, ("not UTF-8", "line 9", "0xfc", "iconv")),
    ("GB18030", file("t.csv", sheet((9, "1,北京,5")).encode("gb18030")), PRICE, ("not UTF-8", "line 9", "GB18030")),
    ("half of UTF-16", file("t.csv", sheet().encode("utf-16")[:-1]), PRICE, ("not UTF-16", "CSV UTF-8")),
    ("binary", file("t.csv", b"x,price\n\0\0\1"), PRICE, ("not text",)),
    ("one row", file("t.csv", "x,price\n1,2\n"), PRICE, ("t.csv", "1 usable row", "too few")),
    ("few rows for folds", file("t.csv", "x,price\n1,2\n3,4.5\n"), FOLDS, ("5 folds", "fewer")),
    ("folds of a folder with a split", folder(train=sheet(), val=sheet()), FOLDS, ("split of its own", "train.csv")),
    ("no such file", misspelt, PRICE, ("house.csv", "`houses.csv`")),
    ("no such folder", lambda base: base / "none" / "t.csv", PRICE, ("there is no file",)),
    ("folder without train", folder(houses=sheet()), PRICE, ("no table called train", "`houses.csv`")),
    ("empty folder", folder(), PRICE, ("no table called train", "none in this folder")),
    ("two training tables", two_trains, PRICE, ("more than one table called train", "`train.tsv`")),
    ("no Parquet", file("t.parquet", "x,price\n1,2\n"), PRICE, ("not a whole Parquet",)),
    ("workbook", file("t.xlsx", b"PK"), PRICE, ("workbook", "CSV")),
    ("other ending", file("t.json", "{}"), PRICE, ("t.json", ".csv", ".parquet")),
    ("cut gzip", cut_gzip, PRICE, ("cannot be unpacked",)),
    ("no gzip", bad_gzip_name, PRICE, ("cannot be unpacked",)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "arguments", "words"), [case[1:] for case in BAD_TABLES], ids=[c[0] for c in BAD_TABLES]
)
def test_a_mistake_gets_a_sentence(tmp_path: Path, make: Callable, arguments: dict, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        tables.read(make(tmp_path), **arguments)
    sentence = str(caught.value)
    assert all(word in sentence for word in words), sentence
    assert "\n" not in sentence
    assert sentence.endswith((".", ")", "`"))


def test_mistakes_when_predicting(tmp_path: Path) -> None:
    source = tables.read(written(tmp_path / "houses.csv", houses()), target="price")
    encoder = source.encoder("standard")
    for name, change, words in [
        ("area", ("Area_", None), ("no column `area`", "`Area_`")),
        ("area", ("area", "big"), ("`area`", "'big'", "new.csv:4", "finite number")),
        ("garden", ("garden", "maybe"), ("`garden`", "'maybe'", "true or false")),
        ("sold", ("sold", "today"), ("`sold`", "'today'", "a date")),
    ]:
        table = houses(5)
        cells = table.pop(name)
        table[change[0]] = [change[1] if change[1] and i == 2 else cell for i, cell in enumerate(cells)]
        with pytest.raises(UserError) as caught:
            list(encoder.encode([str(written(tmp_path / "new.csv", table))], 8))
        assert all(word in str(caught.value) for word in words), str(caught.value)
    with pytest.raises(UserError, match="no split `test`"):
        source.steps(Order("test", 4))
    with pytest.raises(UserError, match="pixel_mean"):
        source.encoder("pixel_mean")
    with pytest.raises(UserError, match="`breast-cancer`"):
        tables.bundled("breast cancer")


@pytest.mark.parametrize(
    ("cells", "task", "says"),
    [
        (
            [f"n{i}" for i in range(90)],
            "auto",
            "has 90 different values in 90 rows, too many to be classes. Choose another",
        ),
        (
            ['"12,5"', *(f'"{i + 1},234.5"' for i in range(90))],
            "auto",
            r"too many to be classes. Other cells .* write \d+",
        ),
        (
            [*(f'"{i + 1},234"' for i in range(90)), '"12,5"'],
            "regression",
            r"Other cells speak against commas as marks of thousands: write 1234\.",
        ),
    ],
)
def test_a_target_of_names_is_no_class_with_a_single_sample(tmp_path: Path, cells, task, says) -> None:
    """The split by classes spoke first, and advised to add rows."""
    (tmp_path / "t.csv").write_text("a,t\n" + "".join(f"{i % 7},{cell}\n" for i, cell in enumerate(cells)))
    with pytest.raises(UserError, match=says):
        tables.read(tmp_path / "t.csv", target="t", task=task)
