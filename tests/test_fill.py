"""`seminal fill`, and what else a run of pre-training tells: on a model that was told what to say, and on real runs."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from command_line import best_row, done, metrics, typed
from seminal.core import Goal, Order, UserError
from seminal.data.documents import DocumentEncoder, DocumentSource
from seminal.pieces.tokens import SPECIAL
from seminal.report import page
from seminal.report.data import Citation, Report, from_json
from seminal.runs.filling import filled, with_hidden
from seminal.tasks.masked_language import MaskedLanguage
from seminal.train.loop import train
from texts import pretraining, stories

RUN = ["train", "bert-tiny", "stories.txt", "--vocab-size", "60", "--max-length", "24", "--epochs", "2", "-b", "480"]
RUN += ["--precision", "fp32", "--name"]


class Told(nn.Module):
    """Says, of each hidden place, the tokens it was told, with halving shares."""

    def __init__(self, wanted: list[list[int]], size: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.full((len(wanted), size), -20.0))
        with torch.no_grad():
            for place, tokens in enumerate(wanted):
                for rank, token in enumerate(tokens):
                    self.logits[place, token] = -rank * torch.log(torch.tensor(2.0))
        self.read: list[list[int]] = []

    def forward(self, text: Tensor, chosen: Tensor) -> tuple[Tensor, None]:
        self.read = text.tolist()
        return self.logits[: int(chosen.sum())], None


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> DocumentSource:
    return pretraining(tmp_path_factory.mktemp("texts"))[0]


@pytest.fixture
def encoder(learned: DocumentSource) -> DocumentEncoder:
    return learned.encoder("none")


def test_each_place_is_told_on_its_own(encoder):
    text = encoder.text
    house, red = (text.encode([word])[0] for word in ("house", "red"))
    goes_on = text.continues().index(True)
    model = Told([[0, 2, text.mask, house[0], red[0]], [goes_on, red[0], house[0]]], len(text))
    found = filled(model, encoder, "The [MASK] a<mask> b", 2)
    assert model.read == [
        [2, *text.encode(["The "])[0], text.mask, *text.encode([" a"])[0], text.mask, text.encode(["b"])[0][0], 3]
    ]
    piece = text.shown([goes_on])[0]
    assert found.text == f"The {text.shown([house[0]])[0]} a{piece.removeprefix('##')} b"
    first, second = found.places
    assert [name for name, _ in first] == text.shown([house[0], red[0]])  # no special token is a word
    assert [share for _, share in first] == pytest.approx([1 / 8 / (31 / 16), 1 / 16 / (31 / 16)], rel=1e-4)
    assert [name for name, _ in second] == text.shown([goes_on, red[0]])
    assert [share for _, share in second] == pytest.approx([4 / 7, 2 / 7], rel=1e-4)
    assert len(filled(model, encoder, "[MASK]", 1000).places[0]) == len(text) - len(SPECIAL) - 1


def test_what_cannot_be_filled_is_refused(encoder):
    model = Told([[9]], len(encoder.text))
    with pytest.raises(UserError, match=r"nothing to fill in: write \[MASK\]"):
        filled(model, encoder, "the red house", 5)
    with pytest.raises(UserError, match="and the model reads 24"):
        filled(model, encoder, "the [MASK]" + " house" * 30, 5)


def test_the_report_shows_the_words_that_were_thought_least_of(tmp_path):
    source, recipe, model = pretraining(tmp_path, 0.0)
    for _ in islice(train(model, source, recipe), 5):
        pass
    report = with_hidden(Report("a run", Citation("a paper"), Goal("perplexity", higher=False)), model, source, recipe)
    assert len(report.hidden) == 20
    nats = [hidden.nats for hidden in report.hidden]
    assert nats == sorted(nats, reverse=True)
    every = [recipe.task.predict(model, batch)["loss"].detach() for batch in source.batches(Order("val", recipe.batch))]
    assert nats[0] == pytest.approx(max(float(loss.max()) for loss in every), rel=1e-5)
    worst = report.hidden[0]
    assert worst.word in source.encoder("none").text.shown(range(len(source.encoder("none").text)))
    assert worst.name.startswith("stories.txt:")
    assert "<mask>" not in worst.before + worst.word + worst.after
    shown = page.render(replace(report, hidden=(replace(worst, before="<script>", word="a&b"),)))
    assert "Worst words" in shown
    assert "&lt;script&gt;" in shown
    assert "a&amp;b" in shown


# ------------------------------------------------------------------------------------------------------- from the outside


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text of 200 lines, and a run on it."""
    folder = tmp_path_factory.mktemp("home")
    stories(folder)
    done(*RUN, "first", folder=folder)
    return folder


def test_a_run_learns_and_shows_both_lessons(home):
    run = home / "runs" / "first"
    rows = metrics(run)
    assert len(rows) == 2
    assert {"val_loss", "val_perplexity", "val_accuracy", "val_word_loss", "val_next_loss", "val_next_accuracy"} <= set(
        rows[0]
    )
    assert float(rows[-1]["val_loss"]) < float(rows[0]["val_loss"])
    report = from_json((run / "report.json").read_text())
    assert report.hidden
    assert any("seminal fill" in command for command, _ in report.next_commands)
    shown = (run / "report.html").read_text()
    assert all(heading in shown for heading in ("Worst words", "The two lessons", "Right answers"))
    got = json.loads(done("eval", run, "--json", folder=home))
    assert got["perplexity"] == pytest.approx(min(float(row["val_perplexity"]) for row in rows), rel=1e-4)


def test_a_run_fills_words_and_lines_of_standard_input(home, monkeypatch):
    said = done("fill", "runs/first", "the [MASK] house [MASK]", "--top", "3", folder=home)
    lines = said.splitlines()
    assert lines[0].startswith("text")
    assert "[MASK] 1" in lines[1]
    assert "[MASK] 2" in lines[1]
    assert sum("%" in line for line in lines) == 3
    monkeypatch.setattr(sys, "stdin", io.StringIO("a [MASK]\n\nthe red [MASK]\n"))
    told = [json.loads(line) for line in done("fill", "runs/first", "--json", folder=home).splitlines()]
    assert [one["input"] for one in told] == ["a [MASK]", "the red [MASK]"]
    assert all(len(one["masks"]) == 1 and len(one["masks"][0]) == 5 for one in told)
    assert told[1]["filled"].startswith("the red")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["the red house"], "nothing to fill in"),
        (["the [MASK]", "--top", "0"], "--top 0 shows nothing"),
        (["the [MASK]" + " a" * 40], "the model reads 24"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(home, words, says):
    said = typed("fill", "runs/first", *words, folder=home)
    assert said.code == 2
    assert says in said.err


def test_other_verbs_say_what_to_do_instead(home):
    assert "seminal fill" in typed("predict", "runs/first", "a text", folder=home).err
    (home / "points.csv").write_text("a,b\n" + "1,x\n2,y\n" * 20)
    done(
        "train",
        "mlp",
        "points.csv",
        "--target",
        "b",
        "--epochs",
        "1",
        "--precision",
        "fp32",
        "--name",
        "other",
        folder=home,
    )
    said = typed("fill", "runs/other", "the [MASK]", folder=home)
    assert said.code == 2
    assert "did not learn to say hidden words" in said.err
    said = typed("explain", "runs/first", "a text", folder=home)
    assert said.code == 2
    assert "was trained on plain text" in said.err
    assert "parameters" in done("cost", "bert-tiny", folder=home)


def test_longer_rows_follow_shorter_ones(home):
    words = [*RUN[:3], "--max-length", "48", "--from", "runs/first", "--epochs", "2", "-b", "480"]
    done(*words, "--precision", "fp32", "--name", "longer", folder=home)
    first, longer = (best_row(home / "runs" / name, "accuracy") for name in ("first", "longer"))
    assert float(longer["val_loss"]) < float(first["val_loss"])
    done("fill", "runs/longer", "the [MASK]" + " a" * 40, folder=home)


def test_the_task_wants_plain_text(learned):
    with pytest.raises(UserError, match="an empty line between two documents"):
        MaskedLanguage().fitted(replace(learned.spec, kind="pairs"))
