"""Texts that a user types or pipes: which are names of files, what is no text, and that nothing is dropped in silence."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from command_line import done, real, table, typed
from seminal.core import UserError
from seminal.runs.typed_texts import clean, file_called

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = ("--epochs", "1", "--precision", "fp32", "--name")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that tells films apart, reading the first 6 tokens of each, and one that labels words."""
    folder = tmp_path_factory.mktemp("typed")
    rows = [
        f"{text}\t{label}" for text, label in (("a great film", "good"), ("an awful film", "bad")) for _ in range(40)
    ]
    (folder / "films.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    (folder / "names.conll").write_text("\n\n".join(["Anna B-PER\nsings O", "Oslo B-LOC\nsleeps O"] * 10) + "\n")
    done("train", "bag", "films.tsv", "--max-length", "6", *SMALL, "films", folder=folder)
    done("train", "elman", "names.conll", *SMALL, "names", folder=folder)
    return folder


def asked(home: Path, run: str, *words: object) -> list[str]:
    """The inputs that were answered."""
    said = done("predict", f"runs/{run}", *words, "--json", folder=home)
    return [json.loads(line)["input"] for line in said.splitlines()]


def piped(home: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, *words: object):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text), encoding="utf-8", errors="surrogateescape"))
    return typed(*words, folder=home)


def test_no_words_are_no_folder(home: Path):
    assert file_called("") is None
    assert file_called(" ") is None
    said = typed("predict", "runs/films", "", folder=home)
    assert (said.code, "a text without words has no class" in said.err) == (2, True), said
    with pytest.raises(UserError, match=f"quote it with a space: '{home} '"):
        file_called(str(home))
    (home / "here").mkdir()
    assert asked(home, "films", "here ") == ["here "]


@pytest.mark.parametrize("text", ["good " * 60, "我们今天晚上看的电影很好" * 8, "a" * 255, "word\0word", "great."])
def test_a_text_of_any_length_is_no_file(home: Path, text: str):
    assert file_called(text) is None
    if "\0" not in text:
        assert asked(home, "films", text) == [text]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (".", "is a folder"),
        ("runs/films", "is a folder"),
        *((f"none{end}", "there is no file") for end in (".txt", ".tsv", ".jsonl.gz", ".conll", ".json", ".zip")),
    ],
)
def test_what_looks_like_a_file_is_not_read_as_words(home: Path, name: str, says: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(home)
    with pytest.raises(UserError, match=says):
        file_called(name)
    said = typed("predict", "runs/films", name, folder=home)
    assert (said.code, says in said.err) == (2, True), said


def test_bytes_that_are_no_text_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch):
    assert clean("Grüße 🎬", "it") == "Grüße 🎬"
    for words in (("predict", "runs/films"), ("predict", "runs/names")):
        said = piped(home, monkeypatch, b"a film\na\xff film\n", *words)
        assert (said.code, "standard input, line 2 is not UTF-8" in said.err) == (2, True), said
    given = real("predict", "runs/films", b"a\xff film".decode("utf-8", "surrogateescape"), folder=home)
    assert (given.code, "is not UTF-8" in given.err) == (2, True), given


def test_a_byte_order_mark_is_no_part_of_a_text(home: Path, monkeypatch: pytest.MonkeyPatch):
    said = piped(home, monkeypatch, b"\xef\xbb\xbfa film\n", "predict", "runs/films", "--json")
    assert json.loads(said.out)["input"] == "a film"


def test_empty_lines_have_no_answer_and_are_told(home: Path, monkeypatch: pytest.MonkeyPatch):
    (home / "gaps.txt").write_text("a film\n\n   \nthe end\n")
    said = typed("predict", "runs/films", "gaps.txt", folder=home)
    assert len(said.out.splitlines()) == 2
    assert "gaps.txt: 2 empty lines have no answer" in said.err
    said = piped(home, monkeypatch, b"a film\n\nthe end\n", "predict", "runs/films")
    assert "standard input: an empty line has no answer" in said.err
    assert "note" not in typed("predict", "runs/films", "a film", folder=home).err


def test_a_cell_without_words_is_named(home: Path):
    (home / "cells.csv").write_text('text,label\na film,good\n"  ",bad\n')
    said = typed("predict", "runs/films", "cells.csv", folder=home)
    assert (said.code, "cells.csv: text 2 of 2 has no words" in said.err) == (2, True), said


def test_what_is_cut_is_told(home: Path):
    said = typed("predict", "runs/films", "a great film", "one two three four five six seven", folder=home)
    assert "a text is cut: this run reads the first 6 tokens" in " ".join(said.err.split())
    assert "cut" not in typed("predict", "runs/films", "a great film", folder=home).err


def test_a_tagger_reads_the_texts_of_a_table(home: Path):
    (home / "who.csv").write_text('text,label\n"Anna sings, loudly",x\nOslo sleeps,y\n')
    (home / "who.jsonl").write_text('{"text": "Anna sings"}\n')
    assert asked(home, "names", "who.csv") == ["Anna sings, loudly", "Oslo sleeps"]
    assert asked(home, "names", "who.jsonl") == ["Anna sings"]
    assert asked(home, "names", "names.conll")[:2] == ["Anna sings", "Oslo sleeps"]


@pytest.mark.parametrize(("name", "says"), [("names.conll", "a word on each line"), ("all.json", "questions or other")])
def test_data_of_another_form_are_not_read_as_lines(home: Path, name: str, says: str):
    (home / "all.json").write_text('{"data": []}\n')
    said = typed("predict", "runs/films", name, folder=home)
    assert (said.code, says in said.err) == (2, True), said


def test_predictions_for_other_files_of_one_name_are_kept_apart(home: Path):
    for folder, rows in (("one", 5), ("two", 3)):
        (home / folder).mkdir()
        (home / folder / "new.tsv").write_text("text\tlabel\n" + "a great film\tgood\nan awful film\tbad\n" * rows)
        done("eval", "runs/films", "--data", f"{folder}/new.tsv", folder=home)
    run = home / "runs" / "films"
    lengths = [len((run / f"predictions-all-{name}.csv").read_text().splitlines()) for name in ("new", "new-2")]
    assert lengths == [11, 7]
    done("eval", "runs/films", folder=home)
    best = (run / "predictions-val.csv").read_bytes()
    done("eval", "runs/films", "--weights", "last", folder=home)
    assert (run / "predictions-val.csv").read_bytes() == best
    assert (run / "predictions-val-last.csv").exists()


def test_a_name_that_is_taken_is_refused_before_anything_is_read(home: Path):
    said = typed("train", "bag", "no-such-file.tsv", *SMALL, "films", folder=home)
    assert (said.code, "films exists, and nothing is written over" in said.err) == (2, True), said


def test_predictions_stand_in_the_order_of_the_file_beside_their_texts(home: Path):
    lengths = (5, 1, 4, 2, 3, 1, 5)  # batches are made of texts of about one length
    texts = [" ".join(["film"] * length) for length in lengths]
    (home / "order.tsv").write_text("text\tlabel\n" + "".join(f"{text}\tgood\n" for text in texts))
    done("eval", "runs/films", "--data", "order.tsv", folder=home)
    rows = table(home / "runs" / "films" / "predictions-all-order.csv")
    assert [row["row"] for row in rows] == [f"order.tsv:{line}" for line in range(2, len(texts) + 2)]
    assert [row["text"] for row in rows] == texts
    said = done("predict", "runs/films", "order.tsv", "--json", folder=home).splitlines()
    assert [max(("good", "bad"), key=json.loads(line).get) for line in said] == [row["predicted"] for row in rows]


def test_a_class_that_is_called_like_a_field_takes_nothing_away(home: Path):
    names = ("input", "predicted", "p(input)", "other")
    (home / "odd.tsv").write_text("text\tlabel\n" + "".join(f"film {name}\t{name}\n" * 12 for name in names))
    done("train", "bag", "odd.tsv", *SMALL, "odd", folder=home)
    said = json.loads(done("predict", "runs/odd", "a film", "--json", "--csv", "odd.csv", folder=home))
    assert said.pop("input") == "a film"
    assert set(said) == {"p(p(input))", "predicted", "p(input)", "other"}
    assert sum(said.values()) == pytest.approx(1, abs=1e-5), "all classes, where --top asks for no number of them"
    (row,) = table(home / "odd.csv")
    assert list(row) == ["input", "predicted", "p(p(input))", "other", "p(input)", "p(predicted)"]
    assert row["input"] == "a film"
    assert float(row["p(p(input))"]) == pytest.approx(said["p(p(input))"], rel=1e-3)
    two = json.loads(done("predict", "runs/odd", "a film", "--json", "--top", "2", folder=home))
    assert len(two) == 3
