"""Tables on disk: every form of file gives the same numbers, and lines are those an editor shows."""

from __future__ import annotations

import csv
import gzip
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from example_tables import houses, lines, whole, written
from seminal.core import Order, UserError
from seminal.data import table_file, tables
from seminal.data.labelled_table import text_table


@pytest.mark.parametrize("form", ["csv", "tsv", "txt;", "txt|", "csv.gz", "parquet", "excel"])
def test_every_form_of_file_gives_the_same_numbers(tmp_path: Path, form: str) -> None:
    table = houses()
    expected = tables.read(written(tmp_path / "plain.csv", table), target="price")
    path = tmp_path / f"houses.{form.rstrip(';|')}"
    if form == "parquet":
        moments = [datetime.fromisoformat(text) for text in table["sold"]]
        pq.write_table(
            pa.table({**table, "sold": moments, "street": pa.array(table["street"]).dictionary_encode()}), path
        )
    elif form == "csv.gz":
        path.write_bytes(gzip.compress((tmp_path / "plain.csv").read_bytes()))
    elif form == "excel":  # "Unicode text": UTF-16 with tabs, and lines end as on Windows
        path = tmp_path / "houses.txt"
        path.write_bytes((tmp_path / "plain.csv").read_text().replace(",", "\t").replace("\n", "\r\n").encode("utf-16"))
    else:
        written(path, table, {"csv": ",", "tsv": "\t", "txt;": ";", "txt|": "|"}[form])
    source = tables.read(path, target="price")
    assert source.spec.name == "houses"
    assert source.encoder("standard") == expected.encoder("standard")
    for split in ("train", "val"):
        for key, tensor in whole(expected, split).items():
            assert torch.equal(whole(source, split)[key], tensor), key


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (("1.026", "870", "-2.870.000"), (1026, 870, -2870000)),  # points before three digits alone
        (("1.026,50", "870", "3,5"), (1026.5, 870, 3.5)),
        (("1.026", "870", "2.5"), (1.026, 870, 2.5)),  # a decimal point among them
        (("1.026", "0.870", "2.870"), (1.026, 0.87, 2.87)),  # no thousand begins with a 0
    ],
)
def test_points_are_marks_of_thousands_where_commas_are_decimal(tmp_path: Path, cells, numbers) -> None:
    """1.026 was read as little more than 1."""
    path = tmp_path / "umsatz.csv"
    path.write_text("a;y\n" + "".join(f"{cell};{place},25\n" for place, cell in enumerate(cells)))
    table = table_file.read(path)
    assert [float(cell) for cell in table.columns["a"].to_pylist()] == list(numbers)
    assert table.thousands == (("a",) if numbers[0] > 1000 else ())


def test_a_run_reads_thousands_in_a_file_without_decimal_commas_too(tmp_path: Path) -> None:
    rows = [f"{1 + i % 9}.{i:03d};{2 * i},5" for i in range(1, 60)]
    (tmp_path / "train.csv").write_text("\n".join(["a;y", *rows]) + "\n")
    source = tables.read(tmp_path / "train.csv", target="y")
    assert any("1.026 is 1026 in `a`" in note for note in source.spec.notes)
    (tmp_path / "new.csv").write_text("a;b\n1.026;x\n870;x\n1026;x\n")
    ((_, batch),) = source.encoder("none").encode([str(tmp_path / "new.csv")], 8)
    assert batch["input"][:, 0].tolist() == [1026, 870, 1026]


@pytest.mark.parametrize(
    ("delimiter", "cells", "other", "numbers"),
    [
        (",", ("2,308,706.56", "981,716.15", "870"), "x", (2308706.56, 981716.15, 870)),
        (",", ("1,234,567", "1026", ""), "x", (1234567, 1026, None)),
        (",", ("1,026", "870", "-2,870"), "x", (1026, 870, -2870)),  # nothing tells, and a comma divides
        ("\t", ("1,026.5", "870", "2,870"), "x", (1026.5, 870, 2870)),
        ("\t", ("1,026", "870", "2,870"), "7,654,321", (1026, 870, 2870)),  # the other column tells
        ("\t", ("1,026", "870", "2,870"), "x", None),  # nothing tells
        (",", ("1,026", "870", "2,870"), "2,5", None),  # the other column has decimal commas
        (",", ("1,026", "0,870", "2,870"), "x", None),  # no thousand begins with a 0
        (",", ("1,026", "1870", "2,870"), "x", None),  # this one would have a mark
        (",", ("1,026.5", "12,34", "2,870"), "x", None),
        (",", ("1,026.5", "many", "2,870"), "x", None),
    ],
)
def test_commas_are_marks_of_thousands_where_nothing_speaks_against_it(
    tmp_path: Path, delimiter, cells, other, numbers
) -> None:
    """Prices of millions were called words, each of them a class of its own."""
    path = tmp_path / "t.csv"
    rows = [f'"{cell}"{delimiter}"{other}"{delimiter}{place}' for place, cell in enumerate(cells)]
    path.write_text(delimiter.join("aby") + "\n" + "\n".join(rows) + "\n")
    table = table_file.read(path)
    found = table.columns["a"].to_pylist()
    assert ("a" in table.commas) == (numbers is not None)
    if numbers is None:
        assert found == list(cells)
    else:
        assert [cell if cell is None else float(cell) for cell in found] == list(numbers)


def test_marks_of_thousands_are_noted_and_read_alike_later(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    rows = [f'"{1 + i % 9},{i:03d}",{i % 7},"{3 * i},{i:03d}.50"' for i in range(1, 60)]
    (tmp_path / "train.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    source = tables.read(tmp_path / "train.csv", target="y")
    assert source.spec.target_names == ("y",), "a number"
    assert any("commas are read as marks of thousands in `a`, `y`: 1,026 is 1026" in n for n in source.spec.notes)
    (tmp_path / "new.tsv").write_text("a\tb\n1,026\t1\n870\t1\n1026\t1\n")  # where nothing tells
    encoder = source.encoder("none")
    ((_, batch),) = encoder.encode([str(tmp_path / "new.tsv")], 8)
    assert batch["input"][:, 0].tolist() == [1026, 870, 1026]
    assert not recwarn
    (tmp_path / "other.csv").write_text('a,b\n"1,026","1,026"\n')  # training had no such marks in b
    next(encoder.encode([str(tmp_path / "other.csv")], 8))
    assert "other.csv: commas are read as marks of thousands in `b`: 1,026 is 1026" in str(recwarn.pop().message)


def test_a_comment_above_the_names_is_told_as_what_it_is(tmp_path: Path) -> None:
    """Every row was called broken, and to skip them all was the advice."""
    path = tmp_path / "t.csv"
    path.write_text("# made by a tool\nx,y\n" + "".join(f"{i},a\n" for i in range(9)))
    for way in ("refuse", "skip"):
        with pytest.raises(UserError, match=r"line 1 of t\.csv, `# made by a tool`, looks like a comment"):
            table_file.read(path, way)
    path.write_text("#,y\n" + "".join(f"{i},a\n" for i in range(9)))
    assert list(table_file.read(path).columns) == ["#", "y"]


def test_semicolons_bring_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;y\n" + "".join(f"{i},5;{2 * i},25\n" for i in range(40)))
    source = tables.read(path, target="y")
    at = np.array(lines(source, "val")) - 2
    np.testing.assert_allclose(whole(source, "val", "none")["input"][:, 0], at + 0.5)


@given(
    st.lists(st.tuples(*[st.text(st.sampled_from("ab1.é \n,"), max_size=4)] * 3), min_size=1, max_size=20),
    st.integers(0, 3),
)
@settings(max_examples=80, deadline=None)
def test_lines_are_those_an_editor_shows(tmp_path_factory: pytest.TempPathFactory, rows: list, blank: int) -> None:
    """A marker in each row is looked for by counting line ends before it, whichever reader the file goes through."""
    path = tmp_path_factory.mktemp("lines") / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write("\n" * blank)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["mark", "b", "c", "d"])
        for i, row in enumerate(rows):
            writer.writerow([f"@{i}@", *row])
            file.write("\n" * (i % 3 == blank))
    text = path.read_text(encoding="utf-8")
    table = table_file.read(path)
    assert table.lines.tolist() == [text[: text.index(f"@{i}@")].count("\n") + 1 for i in range(len(rows))]
    for at, name in enumerate("bcd"):
        assert table.columns[name].to_pylist() == [row[at].strip() or None for row in rows]


@given(st.lists(st.tuples(*[st.text(st.sampled_from("ab1.é "), max_size=4)] * 2), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_both_readers_of_text_agree(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    folder = tmp_path_factory.mktemp("two")
    (folder / "plain.csv").write_text("a,b\n" + "".join(f"{a},{b}\n" for a, b in rows), encoding="utf-8")
    (folder / "quoted.csv").write_text("a,b\n" + "".join(f'"{a}","{b}"\n' for a, b in rows), encoding="utf-8")
    plain, quoted = (table_file.read(folder / name) for name in ("plain.csv", "quoted.csv"))
    assert plain.lines.tolist() == quoted.lines.tolist()
    assert {k: v.to_pylist() for k, v in plain.columns.items()} == {k: v.to_pylist() for k, v in quoted.columns.items()}


def test_a_stray_quotation_mark_is_a_letter_where_that_saves_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('a\tb\n1\t"tis\n2\tplain\n3\t5" nail\n4\t"whole"\n')
    table = table_file.read(path)
    assert table.lines.tolist() == [2, 3, 4, 5]
    assert table.columns["b"].to_pylist()[:3] == ['"tis', "plain", '5" nail']


def test_a_class_is_the_same_however_a_file_writes_its_number(tmp_path):
    """Where all labels of a file are numbers they are read as numbers; another file has a word among them."""
    rows = [f"{i},{i * 3 % 7},{('01', '02', 'A')[i % 3]}" for i in range(30)]
    (tmp_path / "train.csv").write_text("a,b,class\n" + "\n".join(rows) + "\n")
    (tmp_path / "val.csv").write_text("a,b,class\n1,2,01\n2,3,02\n3,4,1.0\n")
    source = tables.read(tmp_path, target="class")
    assert source.spec.classes == ("01", "02", "A")
    (batch,) = source.batches(Order("val", 10))
    assert batch["target"].tolist() == [0, 1, 0]


@pytest.mark.parametrize("mark", ["", '"'])
def test_a_long_cell_is_read_and_no_message_is_as_long(tmp_path: Path, mark: str) -> None:
    """Python's own limit is 128 KiB, for all that reads CSV in a process."""
    before, path = csv.field_size_limit(), tmp_path / "t.csv"
    cells = ["x" * 200_000, *["word"] * 59]
    path.write_text("a,b,y\n" + "".join(f"{i % 7},{mark}{cell}{mark},{i % 2}\n" for i, cell in enumerate(cells)))
    assert table_file.read(path).columns["b"].to_pylist() == cells
    with pytest.raises(UserError, match=r"holds words: 'x+…' at t.csv:2") as refused:
        tables.read(path, target="b", task="regression")
    assert len(str(refused.value)) < 300
    path.write_text(f"{path.read_text()}5,{mark}{cells[0]}{mark}\n")
    with pytest.raises(UserError, match="line 62 has 2 fields, and the header has 3"):
        table_file.read(path)
    assert csv.field_size_limit() == before


def test_an_endless_cell_is_told_and_what_follows_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_file, "LONGEST_CELL", 50)
    monkeypatch.setattr(table_file, "HEAD", 12)
    (tmp_path / "t.csv").write_text('a,b\n1,"x"\n2,"' + "y" * 60 + '"\n3,"z"\n')
    with pytest.raises(UserError, match="line 3 has a cell of more than 50 characters"):
        table_file.read(tmp_path / "t.csv")
    table = table_file.read(tmp_path / "t.csv", "skip")
    assert (table.lines.tolist(), table.broken) == ([2, 4], (3,))


def test_commas_in_the_first_text_divide_no_columns(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("a nice, warm, place;pos\nawful;neg\nfine;pos\n")
    table = text_table(tmp_path / "q.csv")
    assert table.records == [["a nice, warm, place", "pos"], ["awful", "neg"], ["fine", "pos"]]
    (tmp_path / "q.csv").write_text('text,label\n"one; two; three",a\n"one; two",b\n')
    assert text_table(tmp_path / "q.csv").records[1:] == [["one; two; three", "a"], ["one; two", "b"]]


def test_text_of_parquet_is_text_in_every_form(tmp_path: Path) -> None:
    words = pa.array(["u" if i % 4 else "v" for i in range(60)])
    found = []
    for form in (words, words.cast(pa.large_string()), words.cast(pa.string_view()), words.dictionary_encode()):
        pq.write_table(pa.table({"word": form, "x": np.arange(60) % 11, "y": form}), tmp_path / "t.parquet")
        source = tables.read(tmp_path / "t.parquet", target="y")
        found.append((source.encoder("none").features, source.spec.classes))
    assert found == [(("word=u", "word=v", "x"), ("u", "v"))] * 4


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, b"\xff"])
def test_a_target_of_lists_is_refused(tmp_path: Path, value: object) -> None:
    pq.write_table(pa.table({"x": np.arange(60) % 11, "odd": [value] * 60}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"`odd` of t.parquet holds values of type .*neither classes nor numbers"):
        tables.read(tmp_path / "t.parquet", target="odd")
