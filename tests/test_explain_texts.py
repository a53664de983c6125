"""`seminal explain` for labelled text: the words that decided, against `seminal predict` without each of them."""

from __future__ import annotations

import io
import json
import math
import re
import sys
from pathlib import Path

import pytest

from command_line import done, typed
from seminal.runs.folder import RunFolder
from seminal.runs.plan import encoder_of

pytestmark = pytest.mark.usefixtures("one_thread")
GOOD, BAD = (
    ("a great film", "truly great fun", "great but long"),
    ("an awful film", "awful and long", "so awful it hurts"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that tells good from bad by two words, whose weights are planted, and one that labels words."""
    folder = tmp_path_factory.mktemp("explain-texts")
    rows = [f"{text}\t{label}" for label, some in (("good", GOOD), ("bad", BAD)) for text in some * 20]
    (folder / "films.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    (folder / "names.conll").write_text("\n\n".join(["Anna B-PER\nsings O", "Oslo B-LOC\nsleeps O"] * 10) + "\n")
    small = ("--epochs", "1", "--precision", "fp32", "--name")
    done("train", "bag", "films.tsv", *small, "films", folder=folder)
    done("train", "elman", "names.conll", *small, "names", folder=folder)
    run = RunFolder.existing(folder / "runs" / "films")
    weights, note = run.read_tensors("best.safetensors")
    table, head = (weights[f"{part}.weight"].zero_() for part in ("embedding", "head"))
    vocabulary, labels = encoder_of(run).text, run.read_json("labels.json")
    for word, value in (("great", 3.0), ("awful", -4.0), ("long", 0.01)):
        table[vocabulary.encode([word])[0], 0] = value
    head[labels.index("good"), 0] = 2.0
    run.write_tensors("best.safetensors", weights, note)
    return folder


def shares(folder: Path, text: str) -> dict[str, float]:
    said = json.loads(done("predict", "runs/films", text, "--json", folder=folder))
    return {label: said[label] for label in ("good", "bad")}


def test_the_words_are_those_without_which_predict_says_otherwise(folder):
    text = "a great but awful film"
    before = shares(folder, text)
    told = done("explain", "runs/films", text, "--class", "good", folder=folder)
    printed = {word: float(fall.replace("−", "-")) for word, fall in re.findall(r"“(\w+)” ([+−][\d.]+)", told)}
    assert printed.keys() == {"great", "awful"}, "`long` hardly counts"
    for word, fall in printed.items():
        after = shares(folder, text.replace(word, "neverseen"))
        assert fall == pytest.approx(math.log(before["good"] / after["good"]), rel=0.06)  # two digits are printed
    assert "  ".join(f"{label} {share:.1%}" for label, share in sorted(before.items(), key=lambda s: -s[1])) in told


def test_the_class_is_the_predicted_one_unless_another_is_asked_for(folder):
    told = done("explain", "runs/films", "truly great", folder=folder)
    assert "for “good” speak “great” +" in told
    assert "against it “great” −" in done("explain", "runs/films", "truly great", "--class", "bad", folder=folder)


def test_each_line_of_a_file_is_a_text(folder):
    (folder / "new.txt").write_text("great fun\n\nawful film\n")
    told = done("explain", "runs/films", "new.txt", "so it hurts", folder=folder)
    assert [line.split()[1] for line in told.splitlines() if line.startswith("text")] == ["great", "awful", "so"]


def inputs(said: str) -> list[str]:
    return [json.loads(line)["input"] for line in said.splitlines()]


def test_of_a_labelled_table_only_the_texts_are_predicted_for(folder):
    said = done("predict", "runs/films", "films.tsv", "--json", folder=folder)
    assert inputs(said) == [*GOOD * 20, *BAD * 20]
    guesses = [json.loads(line) for line in said.splitlines()]
    assert sum(guess["good"] > 0.5 for guess in guesses) == 60


def test_texts_come_from_standard_input_too(folder, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("great fun\n\nawful film\n"))
    assert inputs(done("predict", "runs/films", "--json", folder=folder)) == ["great fun", "awful film"]


@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_a_file_that_is_not_there_is_no_text(folder, verb):
    said = typed(verb, "runs/films", "flims.tsv", folder=folder)
    assert (said.code, "there is no file flims.tsv" in said.err) == (2, True), said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("films", "great", "--class", "god"), "there is no class `god`"),
        (("films", "great", "--layer", "head"), "belong to pictures"),
        (("films", "great", "--out", "page.html"), "belong to pictures"),
        (("films", " "), "without words"),
        (("names", "Anna sings"), "trained on words with labels"),
    ],
)
def test_what_cannot_be_explained_is_said(folder, words, says):
    run, *others = words
    said = typed("explain", f"runs/{run}", *others, folder=folder)
    assert (said.code, says in said.err) == (2, True), said
    assert not (folder / "page.html").exists()
