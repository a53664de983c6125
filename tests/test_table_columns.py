"""Columns as features against scikit-learn's, dates against `datetime`, numbers against Python's own ``float``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from example_tables import houses, lines, whole, written
from seminal.data import table_file, tables
from seminal.data.split import Holdout


def test_features_are_those_of_scikit_learn(tmp_path: Path) -> None:
    table = houses()
    source = tables.read(written(tmp_path / "houses.csv", table), target="price", split=Holdout(0.25, seed=3))
    rows = {split: np.array(lines(source, split)) - 2 for split in ("train", "val")}
    assert sorted([*rows["train"], *rows["val"]]) == list(range(60))
    days = [datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() / 86400 for text in table["sold"]]
    to_float = {None: np.nan, True: 1.0, False: 0.0}
    area = np.array(table["area"], dtype=float)[:, None]
    plain = np.stack([table["rooms"], days], axis=1)
    street = np.array([word or "~" for word in table["street"]])[:, None]  # "~" sorts behind the words, as our own does
    garden = np.array([to_float[cell] for cell in table["garden"]])[:, None]
    train = rows["train"]
    fit_area = SimpleImputer(strategy="median", add_indicator=True).fit(area[train])
    fit_plain = StandardScaler().fit(plain[train])
    fit_street = OneHotEncoder(sparse_output=False).fit(street[train])
    fit_garden = SimpleImputer(strategy="median", add_indicator=True).fit(garden[train])
    scale = StandardScaler().fit(fit_area.transform(area[train])[:, :1])
    for split, at in rows.items():
        filled = fit_area.transform(area[at])
        numbers = fit_plain.transform(plain[at])
        expected = np.hstack(
            [
                scale.transform(filled[:, :1]),
                filled[:, 1:],
                numbers[:, :1],
                fit_street.transform(street[at]),
                fit_garden.transform(garden[at]),
                numbers[:, 1:],
            ]
        )
        got = whole(source, split)["input"].numpy()
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)
        raw = whole(source, split, "none")["input"].numpy()
        np.testing.assert_allclose(raw[:, [0, 2, -1]], np.c_[filled[:, 0], plain[at]], rtol=1e-6)
    assert source.encoder("none").features[:4] == ("area", "area is missing", "rooms", "street=east")
    assert source.spec.shape == (len(source.encoder("standard").features),)


@given(
    st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),
    st.sampled_from(["%Y-%m-%d", "%Y/%m/%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "zone"]),
    st.integers(-14 * 60, 14 * 60),
)
@settings(max_examples=60, deadline=None)
def test_dates_are_days_since_1970(moment: datetime, form: str, minutes: int) -> None:
    if form == "zone":
        text = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)), microsecond=0).isoformat()
        expected = datetime.fromisoformat(text)
    else:
        text = moment.strftime(form)
        expected = datetime.strptime(text, form).replace(tzinfo=UTC)
    read, strange = tables.Column("day", "date").read(pa.chunked_array([[text, None]]))
    assert not strange.any()
    assert np.isnan(read[1])
    assert read[0] == pytest.approx((expected - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(days=1), abs=1e-9)


@pytest.mark.parametrize(
    "text", ["2023-02-29", "2023-13-01", "2023-00-10", "2023-01-01 24:00", "yesterday", "31.12.2023"]
)
def test_what_is_no_date_is_not_read_as_one(text: str) -> None:
    assert tables.Column("day", "date").read(pa.chunked_array([[text]]))[1].all()


@given(st.one_of(st.floats(), st.integers(), st.text(st.sampled_from("0123456789.eE+-infay"), max_size=8)))
@settings(max_examples=300, deadline=None)
def test_numbers_are_read_as_python_reads_them(cell: float | str) -> None:
    """Alone (Arrow's own cast) and beside a word (by pattern): both ways give the same."""
    text = str(cell)
    if text in (*table_file.MISSING, "-"):  # nothing is there
        return
    try:
        expected = float(text)
    except ValueError:
        expected = float("nan")
    good = abs(expected) <= float(np.finfo(np.float32).max)
    for cells in ([text], [text, "word"]):
        values, strange = tables.Column("x", "number").read(pa.chunked_array([cells]))
        assert bool(strange[0]) != good
        assert not good or values[0] == expected


# ---------------------------------------------------------------------------------------------- what a column is taken for


def kinds(path: Path, target: str) -> tuple[dict[str, str], str]:
    source = tables.read(path, target=target)
    return {column.name: column.kind for column in source.encoder("none").columns}, " | ".join(source.spec.notes)


def test_columns_of_no_use_are_left_out_and_named(tmp_path: Path) -> None:
    rows = 120
    rng = np.random.default_rng(0)
    table = {
        "id": list(range(1, rows + 1)),
        "same": ["x"] * rows,
        "one": ["1", "1.0"] * (rows // 2),
        "empty": [""] * rows,
        "name": [f"person {i}" for i in range(rows)],
        "year": list(range(rows)),
        "few": rng.integers(0, 3, rows).tolist(),
        "code": [f"{i % 5}" if i % 5 else "A" for i in range(rows)],
        "flag": ["True", "FALSE"] * (rows // 2),
        "": rng.normal(size=rows).tolist(),
        "y": rng.normal(size=rows).tolist(),
    }
    found, notes = kinds(written(tmp_path / "t.csv", table), "y")
    assert found == {"year": "number", "few": "number", "code": "category", "flag": "boolean", "(column 10)": "number"}
    for name, why in [("id", "row numbers"), ("same", "same value"), ("one", "same value"), ("empty", "no value")]:
        assert f"`{name}` ({why}" in notes or f"`{name}` (the {why}" in notes
    assert "`name` (names or free text, 96 different values)" in notes
    assert "`code` (5)" in notes


def test_nested_parquet_columns_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"list": [[i] for i in range(40)], "x": np.arange(40.0) % 7, "y": np.arange(40.0)}), path)
    found, notes = kinds(path, "y")
    assert found == {"x": "number"}
    assert "`list` (values of type list" in notes


def test_of_many_categories_the_most_frequent_are_kept(tmp_path: Path) -> None:
    cells = [f"city{i % 150:03}" for i in range(600)] + [f"city{i:03}" for i in range(30, 130)] * 6
    source = tables.read(
        written(tmp_path / "t.csv", {"city": cells, "y": np.arange(1200.0).tolist()}), target="y", split=Holdout(0.1)
    )
    assert source.encoder("none").columns[0].categories == tuple(f"city{i:03}" for i in range(30, 130))
    assert (whole(source, "train")["input"].sum(1) == 0).any()


@pytest.mark.parametrize(
    ("cells", "task", "classes"),
    [
        (["no", "yes"] * 20, "auto", ("no", "yes")),
        (["True", "False"] * 20, "auto", ("False", "True")),
        ([10, 9] * 20, "auto", ("9", "10")),
        ([1.0, 0.0] * 6, "auto", ("0", "1")),
        ([1, 2, 3, 4] * 20, "auto", ("1", "2", "3", "4")),
        ([1, 2, 3, 4] * 3, "auto", ()),  # 4 values in 12 rows are more than a tenth
        ([1, 2, 3, 4] * 20, "regression", ()),
        ([0.5, 1.5] * 20, "auto", ()),
        ([0.5, 1.5] * 20, "classification", ("0.5", "1.5")),
        (list(range(40)), "auto", ()),
        (["1", "2", "2a", "3"] * 20, "auto", ("1", "2", "2a", "3")),
        (["None", "minor"] * 20, "auto", ("None", "minor")),
    ],
)
def test_the_target_decides_the_task(tmp_path: Path, cells: list, task: str, classes: tuple) -> None:
    path = written(tmp_path / "t.csv", {"x": np.arange(float(len(cells))).tolist(), "y": cells})
    source = tables.read(path, target="y", task=task)
    assert source.spec.classes == classes
    assert any("`y`" in note for note in source.spec.notes)
    batch = whole(source, "val")
    at = np.array(lines(source, "val")) - 2
    if classes:
        assert batch["target"].dtype == torch.int64
        wanted = [str(cells[i]).removesuffix(".0") for i in at]
        assert [classes[code] for code in batch["target"]] == wanted
        assert sum(source.spec.class_counts) == source.spec.counts["train"]


def test_a_boolean_target_of_parquet_is_two_classes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": np.arange(30.0), "y": np.arange(30) % 3 == 0}), tmp_path / "t.parquet")
    assert tables.read(tmp_path / "t.parquet", target="y").spec.classes == ("false", "true")
