"""A run whose text was changed since it began is not gone on with, even where its reader never changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import QUICK, done, typed
from seminal.core import Reading
from seminal.data import choices, documents, labelled, neighbours, pairs, questions, stream, tagged
from seminal.data.rows import Digested
from seminal.data.text_rows import TextAsk

WORDS = ("house", "child", "car", "ship", "book")
FRAMED = Reading("labelled", tokens="uncased", vocabulary=200, longest=24, framed=True)
PLAIN = Reading("stream", tokens="words", vocabulary=200, longest=8)
SKIPGRAM = Reading("stream", tokens="words", vocabulary=200, longest=4, subsample=0.0)


def lines(rows: int, form: str) -> str:
    """Rows that differ, with ``{0}`` a word of each and ``{1}`` its number."""
    return "".join(form.format(WORDS[row % 5], row) for row in range(rows))


def squad(rows: int) -> str:
    paragraphs = [
        {
            "context": f"Here is a {WORDS[row % 5]} of {row} years, and a tree.",
            "qas": [{"id": str(row), "question": "what is here?", "answers": answers(WORDS[row % 5])}],
        }
        for row in range(rows)
    ]
    return json.dumps({"data": [{"paragraphs": paragraphs}]})


def answers(word: str) -> list[dict[str, object]]:
    return [{"text": word, "answer_start": 10}, {"text": f"a {word}", "answer_start": 8}]


FORMS: dict[str, tuple[tuple[str, ...], Callable[[int], str], Callable[[Path], object]]] = {  # files, a text, a reader
    "labelled": (
        ("train.tsv", "val.tsv"),
        lambda rows: "text\tlabel\n" + lines(rows, "a {0} of {1} years\t{0}\n"),
        lambda path: labelled.read(path, FRAMED, labelled.LabelledAsk()),
    ),
    "tagged": (
        ("train.conll", "val.conll"),
        lambda rows: lines(rows, "the O\n{0} N\nfalls O\n\n"),
        lambda path: tagged.read(path, FRAMED, TextAsk()),
    ),
    "questions": (("train.json", "val.json"), squad, lambda path: questions.read(path, FRAMED, TextAsk())),
    "choices": (
        ("train.csv", "val.csv"),
        lambda rows: "context,choice0,choice1,label\n" + lines(rows, "a {0} of {1} years,it falls,it waits,1\n"),
        lambda path: choices.read(path, FRAMED, TextAsk()),
    ),
    "pairs": (
        ("train.en", "val.en", "train.de", "val.de"),
        lambda rows: lines(rows, "a {0} of {1} years\n"),
        lambda path: pairs.read(path, Reading("pairs", vocabulary=200), pairs.PairsAsk("en", "de")),
    ),
    "stream": (
        ("train.txt", "val.txt"),
        lambda rows: lines(rows, "a {0} of {1} years\n"),
        lambda path: stream.read(path, PLAIN, stream.StreamAsk()),
    ),
    "neighbours": (
        ("train.txt", "val.txt"),
        lambda rows: lines(rows, "a {0} of {0} years\n"),
        lambda path: neighbours.read(path, SKIPGRAM, stream.StreamAsk()),
    ),
    "documents": (
        ("train.txt", "val.txt"),
        lambda rows: lines(rows, "a {0} of {1} years\nit falls\n\n"),
        lambda path: documents.read(path, FRAMED, documents.DocumentsAsk()),
    ),
}


def digests(source: object) -> dict[str, str]:
    assert isinstance(source, Digested)
    return dict(source.digests())


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_text_tells_its_rows_from_others(tmp_path: Path, form):
    files, text, read = FORMS[form]
    for name in files:
        (tmp_path / name).write_text(text(20 if name.startswith("train") else 5))
    first = digests(read(tmp_path))
    assert first.keys() == {"train", "val"}
    assert digests(read(tmp_path)) == first
    for name in (name for name in files if name.startswith("val")):
        whole = (tmp_path / name).read_text()
        (tmp_path / name).write_text(whole.replace("car", "book"))
        changed = digests(read(tmp_path))
        assert changed["train"] == first["train"]
        assert changed["val"] != first["val"]
        (tmp_path / name).write_text(whole)


def test_an_answer_that_only_scores_know_is_told_too(tmp_path: Path):
    for name in ("train.json", "val.json"):
        (tmp_path / name).write_text(squad(12))
    before = digests(questions.read(tmp_path, FRAMED, TextAsk()))
    whole = (tmp_path / "val.json").read_text()
    (tmp_path / "val.json").write_text(whole.replace('"a car", "answer_start": 8', '"car", "answer_start": 10'))
    assert (tmp_path / "val.json").read_text() != whole
    after = digests(questions.read(tmp_path, FRAMED, TextAsk()))
    assert (after["train"], after["val"] != before["val"]) == (before["train"], True)


@pytest.mark.usefixtures("one_thread")
def test_a_run_with_a_borrowed_reader_refuses_other_text(tmp_path: Path):
    films = tmp_path / "films.tsv"
    films.write_text("text\tlabel\n" + lines(60, "a {0} of {1} years\t{0}\n"))
    small = ("--epochs", "1", *QUICK)
    done("train", "bert-tiny", "films.tsv", "--vocab-size", "60", *small, "--name", "first", folder=tmp_path)
    done("train", "bert-tiny", "films.tsv", "--from", "runs/first", *small, "--name", "run", folder=tmp_path)
    whole, run = films.read_text(), tmp_path / "runs" / "run"
    films.write_text(whole.replace("years", "moons"))
    for verb in ("resume", "eval", "report"):
        said = typed(verb, "runs/run", folder=tmp_path)
        assert (said.code, "rows of `train` hold other values" in said.err) == (2, True), said.err
    films.write_text(whole.replace("20 years\thouse", "20 years\tship").replace("23 years\tship", "23 years\thouse"))
    said = typed("eval", "runs/run", folder=tmp_path)
    assert "the same rows fall otherwise into train and validation, as they do where labels were changed" in said.err
    films.write_text(whole.replace("years", "moons"))
    (run / "digests.json").unlink()  # as runs of earlier versions have none
    assert typed("eval", "runs/run", folder=tmp_path).code == 0
