"""Rows of unlike lengths in batches, the store they lie in, and the lines they come from."""

from __future__ import annotations

import gc
import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seminal.core import Order, UserError
from seminal.data import lines as text_lines
from seminal.data.token_batches import Epochs, buckets, shared
from seminal.data.token_store import TokenStore, stored
from seminal.pieces.tokens import PAD

LENGTHS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=120)


# --------------------------------------------------------------------------------------------------------- the batches


@given(lengths=LENGTHS, batch=st.integers(1, 400), seed=st.integers(0, 9), shuffle=st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_row_stands_in_one_batch_and_no_batch_counts_too_much(lengths, batch, seed, shuffle):
    table = np.array(lengths)
    counts = set()
    for epoch in range(3):
        groups = buckets(table, Order("train", batch, seed, epoch, shuffle=shuffle))
        assert sorted(np.concatenate(groups).tolist()) == list(range(len(table)))
        for rows in groups:
            assert len(rows) == 1 or len(rows) * table[rows].max() <= batch
        counts.add(len(groups))
        again = buckets(table, Order("train", batch, seed, epoch, shuffle=shuffle))
        assert [g.tolist() for g in groups] == [g.tolist() for g in again]
    assert counts == {Epochs("text", {"train": table}).count(Order("train", batch, shuffle=shuffle))}


@given(lengths=LENGTHS, batch=st.integers(60, 400))
@settings(max_examples=80, deadline=None)
def test_a_batch_holds_as_many_rows_as_fit(lengths, batch):
    """Where rows are sorted, no batch but the two of the shortest rows could take the longest row of the one before it."""
    longest = np.array(lengths).max(1)
    groups = buckets(longest[:, None], Order("val", batch))
    for rows in groups[2:]:
        assert (len(rows) + 1) * longest[rows].max() > batch
    if len(groups) > 1:
        assert len(groups[0]) >= len(groups[1]) // 2  # no lonely row is left over


def test_epochs_differ_and_rows_of_a_batch_are_of_about_one_length():
    lengths = np.random.default_rng(0).integers(5, 50, size=(2000, 2))
    first, second = (buckets(lengths, Order("train", 1000, epoch=epoch, shuffle=True)) for epoch in (0, 1))
    assert [g.tolist() for g in first] != [g.tolist() for g in second]
    assert {frozenset(g.tolist()) for g in first} != {frozenset(g.tolist()) for g in second}
    spread = [int(np.ptp(lengths[rows].max(1))) for rows in first]
    assert np.mean(spread) < 2
    real = sum(lengths[rows].max(1).sum() for rows in first)
    padded = sum(len(rows) * lengths[rows].max() for rows in first)
    assert real / padded > 0.95
    # The order of the batches is no order of lengths: training would see short rows first.
    tops = [lengths[rows].max() for rows in first]
    assert abs(np.corrcoef(np.arange(len(tops)), tops)[0, 1]) < 0.4


@given(rows=st.integers(1, 30), world=st.integers(1, 5))
def test_ranks_share_a_batch(rows, world):
    order = Order("train", 100, world=world)
    parts = [shared(np.arange(rows), replace(order, rank=rank)) for rank in range(world)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(rows))
    assert parts[0].tolist() == list(range(0, rows, world))
    if rows < world:
        with pytest.raises(UserError, match=f"{rows} rows cannot be divided among {world} processes"):
            shared(np.arange(rows), replace(order, shuffle=True))


def test_a_long_row_that_cannot_be_shared_is_told_of_before_the_first_batch():
    """Wherever its own batch stands in the epoch; the sizes of the batches are the same in each."""
    lengths = np.array([*range(10, 50), 300])[:, None]
    for epoch in range(5):
        epochs = Epochs("toy", {"train": lengths, "val": lengths})
        order = Order("train", 400, epoch=epoch, shuffle=True, world=2)
        assert min(map(len, epochs.all(order))) == 1
        with pytest.raises(UserError, match="1 rows cannot be divided among 2 processes: write a larger --batch-size"):
            next(epochs.mine(order))
        assert len(next(epochs.mine(replace(order, batch=600))))
        assert len(list(epochs.mine(Order("val", 400, world=2)))) == len(epochs.all(Order("val", 400)))


def test_an_epoch_goes_on_where_it_was_left():
    epochs = Epochs("toy", {"train": np.arange(1, 60)[:, None]})
    order = Order("train", 200, epoch=3, shuffle=True)
    whole = [rows.tolist() for rows in epochs.all(order)]
    assert [rows.tolist() for rows in epochs.mine(replace(order, start=4))] == whole[4:]
    halves = [list(epochs.mine(replace(order, rank=rank, world=2))) for rank in range(2)]
    assert [sorted([*a.tolist(), *b.tolist()]) for a, b in zip(*halves)] == [sorted(rows) for rows in whole]
    with pytest.raises(UserError, match=r"toy has no split `dev`\. Write one of: train"):
        epochs.all(Order("dev", 8))


# ----------------------------------------------------------------------------------------------------------- the store


@given(rows=st.lists(st.lists(st.integers(1, 2**31 - 1), max_size=9), max_size=30), chunk=st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_a_store_gives_back_what_was_put_in_from_memory_or_from_a_file(rows, chunk):
    batches = [rows[i : i + chunk] for i in range(0, len(rows), chunk)]
    for large in (1 << 28, 8):
        store = stored(batches, large=large)
        assert isinstance(store.flat, np.memmap) == (4 * sum(map(len, rows)) > large)
        assert [store.row(i).tolist() for i in range(len(store))] == rows
        assert store.lengths.tolist() == [len(row) for row in rows]
        picked = np.array([i for i in range(len(rows)) if i % 3], dtype=np.int64)
        assert [store.kept(picked).row(i).tolist() for i in range(len(picked))] == [rows[i] for i in picked]
        for most in (None, 4):
            padded = store.padded(picked, most=most)
            wanted = [rows[i][:most] for i in picked]
            width = max(map(len, wanted), default=0)
            assert padded.tolist() == [row + [PAD] * (width - len(row)) for row in wanted]


def test_a_store_in_a_file_leaves_nothing_open():
    store = stored(
        iter([[list(range(1000))], [list(range(5))]]), large=100
    )  # ResourceWarning is an error in these tests
    gc.collect()
    assert isinstance(store.flat, np.memmap)
    assert int(store.flat.sum()) == 499500 + 10


def test_a_store_of_nothing():
    assert len(stored([])) == 0
    empty = TokenStore(np.zeros(0, dtype=np.int32), np.zeros(1, dtype=np.int64))
    assert empty.padded(np.zeros(0, dtype=np.int64)).shape == (0, 0)


# ----------------------------------------------------------------------------------------------------------- the lines


def test_lines_of_plain_and_packed_files(tmp_path: Path):
    data = "\ufefffirst ★\r\n\r\n  second\nlast".encode()
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(data, mtime=0))
    for name in ("a.txt", "a.txt.gz"):
        assert list(text_lines.lines(tmp_path / name)) == ["first ★", "", "  second", "last"]
        assert text_lines.text(tmp_path / name) == "first ★\n\n  second\nlast\n"
        assert text_lines.bare(tmp_path / name).name == "a.txt"


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.txt", "fine\nna\u00efve\n".encode("latin1"), "line 2 is not UTF-8 text.*iconv -f latin1"),
        ("a.txt", "fine\n".encode("utf-16"), "line 1 is not UTF-8 text.*iconv -f utf-16 -t utf-8 a.txt > a.utf8.txt"),
        ("a.txt", "fine\n".encode("utf-16-le"), "line 1 holds a zero byte"),
        ("a.txt", b"text\n\x00\x01\x02\n", "line 2 holds a zero byte"),
        ("a.txt.gz", b"no gzip at all", "cannot be read: Not a gzipped file"),
        ("a.txt.gz", gzip.compress(b"some text\n" * 99, mtime=0)[:-12], "cannot be read: Compressed file ended"),
        ("a.txt.gz", gzip.compress(bytes(range(256)), mtime=0)[:12] + b"\xff" * 40, "cannot be read: Error"),
        ("a.txt.gz", gzip.compress("na\u00efve\n".encode("latin1"), mtime=0), "> a.utf8.txt"),
    ],
)
def test_a_file_that_is_no_text_is_refused_in_a_sentence(tmp_path: Path, name, data, says):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=says):
        list(text_lines.lines(tmp_path / name))


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(UserError, match="No such file"):
        list(text_lines.lines(tmp_path / "nothing.txt"))
