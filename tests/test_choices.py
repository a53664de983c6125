"""A beginning and several endings: SWAG's files, batches, and the task."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from command_line import QUICK, done, typed
from seminal.core import DataSpec, Order, Reading, UserError
from seminal.data.choices import ChoicesEncoder, read
from seminal.data.text_rows import Known, TextAsk, framed
from seminal.pieces.tokens import PAD
from seminal.runs.codec import from_json, to_json
from seminal.runs.text_forms import form_of
from seminal.tasks.choice import Choice

READING = Reading("labelled", tokens="uncased", vocabulary=200, longest=24, framed=True)
SWAG = [
    *("", "video-id", "fold-ind", "startphrase", "sent1", "sent2", "gold-source"),
    *("ending0", "ending1", "ending2", "ending3", "label"),
]
NOUNS = ("house", "child", "car", "ship", "book")


def row(number: int) -> tuple[str, str, list[str], int]:
    """Two parts of a beginning, four endings, of which the one with the noun of the beginning is right."""
    noun, right = NOUNS[number % 5], number * 7 % 4
    others = [NOUNS[(number + 1 + place) % 5] for place in range(4)]
    endings = [f"falls on the {noun if place == right else other}." for place, other in enumerate(others)]
    return f'Someone sees the "{noun}".', "Then it", endings, right


def swag(path: Path, rows: int = 24, *, labelled: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(SWAG if labelled else SWAG[:-1])
        for number in range(rows):
            first, second, endings, label = row(number)
            cells = [number, f"v{number}", number, f"{first} {second}", first, second, "gold", *endings]
            out.writerow([*cells, label] if labelled else cells)
    return path


def plain(path: Path, rows: int = 24, *, labelled: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for number in range(rows):
            first, second, endings, label = row(number)
            found = {"context": first, **{f"choice{place}": f"{second} {text}" for place, text in enumerate(endings)}}
            file.write(json.dumps(found | ({"label": label} if labelled else {})) + "\n")
    return path


@pytest.mark.parametrize("write", [swag, plain])
def test_each_ending_is_a_row_behind_its_beginning(tmp_path: Path, write):
    name = "train.csv" if write is swag else "train.jsonl"
    write(tmp_path / name)
    write(tmp_path / name.replace("train", "val"), 6)
    write(tmp_path / name.replace("train", "test"), 6, labelled=False)
    source = read(tmp_path, READING, TextAsk())
    spec, encoder = source.spec, source.encoder("")
    assert (spec.kind, spec.batched_by, dict(spec.counts)) == ("choices", "tokens", {"train": 24, "val": 6})
    word = "ending" if write is swag else "choice"
    assert spec.classes == tuple(f"{word}{place}" for place in range(4))
    assert spec.class_counts == tuple(sum(row(n)[3] == place for n in range(24)) for place in range(4))
    assert any("test" in note and "left out: it has no labels" in note for note in spec.notes)
    assert from_json(json.loads(json.dumps(to_json(encoder)))) == encoder
    seen = 0
    for batch in source.batches(Order("train", 300, shuffle=True)):
        assert batch["input"].shape[:2] == (len(batch["index"]), 4)
        assert batch["input"].numel() <= 300
        for index, texts, target in zip(batch["index"].tolist(), batch["input"], batch["target"].tolist(), strict=True):
            first, second, endings, label = row(index)
            assert target == label
            for tokens, ending in zip(texts, endings, strict=True):
                sides = encoder.text.encode([first, f"{second} {ending}"])
                assert tokens[tokens != PAD].tolist() == framed(24, *sides)
            seen += 1
    assert seen == 24
    assert source.spec.longest["text"] <= 24
    # A file without labels is read as validation read its own.
    names, batch = next(encoder.encode([str(tmp_path / name.replace("train", "test"))], 5))
    assert names[0] == f"{tmp_path / name.replace('train', 'test')}:{2 if write is swag else 1}"
    assert batch["input"].shape[:2] == (5, 4)
    val = next(source.batches(Order("val", 10_000)))
    wanted = dict(zip(val["index"].tolist(), val["input"], strict=True))
    for index, texts in zip(batch["index"].tolist(), batch["input"], strict=True):
        for mine, theirs in zip(texts, wanted[index], strict=True):
            assert mine[mine != PAD].tolist() == theirs[theirs != PAD].tolist()


def test_a_tenth_is_held_out_and_long_rows_are_cut_and_told(tmp_path: Path):
    reading = Reading("labelled", tokens="uncased", vocabulary=200, longest=12, framed=True)
    source = read(swag(tmp_path / "swag.csv", 30), reading, TextAsk())
    assert dict(source.spec.counts) == {"train": 27, "val": 3}
    assert source.spec.longest == {"text": 12}
    cut = "endings with what is before them of swag.csv ({}) cut to their first 12 tokens"
    for split in ("train", "val"):
        assert any(cut.format(split) in note for note in source.spec.notes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("context,choice0,label\na,b,0\n", "x.csv has `context`, `choice0`, `label`: a choice needs"),
        ("choice0,choice1,label\na,b,0\n", "a choice needs the columns context, choice0, choice1 … and label"),
        ("context,choice0,choice1\na,b,c\n", "and label"),
        ("context,choice0,choice1,label\na,b,c,2\n", "line 2 has the label `2`, which is none of 0 … 1"),
        ("context,choice0,choice1,label\na,b,c,0\na,b,,1\n", "line 3 has an empty cell.*--on-bad-row skip"),
        ("context,choice0,choice1,label\n", "has no row"),
    ],
)
def test_a_mistake_is_one_clear_sentence(tmp_path: Path, text, says):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UserError, match=says):
        read(tmp_path / "x.csv", READING, TextAsk())


def test_bad_rows_are_left_out_where_the_user_says_so(tmp_path: Path):
    head = "context,choice0,choice1,label\n"
    (tmp_path / "x.csv").write_text(head + "a house,a,b,choice1\n" * 12 + "a,b,,0\n")
    source = read(tmp_path / "x.csv", READING, TextAsk(on_bad_row="skip"))
    assert sum(source.spec.counts.values()) == 12
    assert source.spec.class_counts[0] == 0, "a label may be the name of its column too"
    assert any("1 rows of x.csv left out: line 14 has an empty cell" in note for note in source.spec.notes)


def test_the_run_says_how_many_endings_there_are(tmp_path: Path):
    source = read(swag(tmp_path / "swag.csv"), READING, TextAsk())
    known = Known(source.encoder(""), source.spec.classes, whole=True)
    again = read(plain(tmp_path / "plain.jsonl", 5), READING, TextAsk(known=known))
    assert (again.spec.classes, dict(again.spec.counts)) == (source.spec.classes, {"all": 5})
    (tmp_path / "two.csv").write_text("context,choice0,choice1,label\na,b,c,0\n")
    two = read(tmp_path / "two.csv", READING, TextAsk(known=known))
    assert two.spec.classes == ("choice0", "choice1"), "each ending has a score of its own, so any number can be scored"
    assert next(iter(two.batches(Order("all", 100))))["input"].shape[:2] == (1, 2)
    swag(tmp_path / "both" / "train.csv")
    (tmp_path / "both" / "val.csv").write_text("context,choice0,choice1,label\na,b,c,0\n")
    with pytest.raises(UserError, match=r"val\.csv has 2 endings in each row, and 4 are read here"):
        read(tmp_path / "both", READING, TextAsk())
    ((_, batch),) = source.encoder("").encode([str(tmp_path / "two.csv")], 8)
    assert batch["input"].shape[:2] == (1, 2)
    with pytest.raises(UserError, match=r"two\.csv has 2 endings in each row, and 4 are read here"):
        list(source.encoder("").encode([str(tmp_path / name) for name in ("swag.csv", "two.csv")], 8))
    with pytest.raises(UserError, match="there is no file a house: give a table"):
        list(source.encoder("").encode(["a house"], 8))
    fine_tuned = read(swag(tmp_path / "again.csv"), READING, TextAsk(known=Known(source.encoder(""))))
    assert isinstance(fine_tuned.encoder(""), ChoicesEncoder)
    assert fine_tuned.encoder("").text == source.encoder("").text
    (tmp_path / "more.csv").write_text("context,choice0,choice1,label\n" + "a house,b,c,0\n" * 9)
    more = read(tmp_path / "more.csv", READING, TextAsk(known=Known(source.encoder(""))))
    assert more.spec.classes == ("choice0", "choice1")


# ---------------------------------------------------------------------------------------------------------------- the task


class Sum(nn.Module):
    """The score of a text is the sum of its tokens' values."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(50, generator=torch.Generator().manual_seed(3)))

    def forward(self, text: Tensor) -> Tensor:
        return self.table[text].sum(-1)


@torch.no_grad()
def test_the_loss_and_the_hits_are_those_of_the_right_ending():
    model, task = Sum(), Choice(4)
    batch = {"input": torch.randint(0, 50, (6, 4, 9)), "target": torch.tensor([0, 1, 2, 3, 0, 1])}
    wanted, hits = 0.0, 0
    for texts, right in zip(batch["input"], batch["target"].tolist()):
        shares = torch.stack([model.table[text].sum() for text in texts]).softmax(0)
        wanted -= float(shares[right].log())
        hits += int(shares.argmax()) == right
    (turn,) = task.turns(model, batch)
    assert float(turn.loss) == pytest.approx(wanted, rel=1e-5)
    assert float(turn.weight) == 6
    assert task.summary(task.score(model, batch)) == pytest.approx({"loss": wanted / 6, "accuracy": hits / 6}, rel=1e-5)
    assert task.predict(model, batch)["probability"].sum(1).tolist() == pytest.approx([1] * 6)
    assert task.goal.metric == "accuracy"


def test_other_data_are_refused():
    with pytest.raises(UserError, match="films is labelled text, and a choice needs"):
        Choice().fitted(DataSpec("films", "labelled", {"train": 3}, classes=("a", "b")))


def test_the_endings_of_hellaswag_are_a_list(tmp_path: Path):
    rows = [
        {
            "ind": n,
            "ctx_a": "x",
            "ctx": f"the {NOUNS[n % 5]}",
            "endings": [f"a {noun}" for noun in NOUNS[:4]],
            "label": n % 4,
        }
        for n in range(20)
    ]
    path = tmp_path / "hella.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert form_of(path, "auto") == "choices"
    source = read(path, READING, TextAsk())
    assert source.spec.classes == ("ending0", "ending1", "ending2", "ending3")
    part = source.parts["train"]
    assert part.texts[0] == f"{rows[part.numbers[0] - 1]['ctx']} … {' / '.join(rows[0]['endings'])}"
    assert part.targets.tolist() == [rows[number - 1]["label"] for number in part.numbers]
    for endings, says in ((["a", "b"], "line 21 has an empty cell"), (list("abcde"), "line 21 has `ending4`")):
        path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0] | {"endings": endings}]))
        with pytest.raises(UserError, match=says):
            read(path, READING, TextAsk())


def test_the_user_says_which_column_holds_the_right_ending(tmp_path: Path):
    lines = ["context,choice0,choice1,label,gold", *(f"a house,b,c,0,{row % 2}" for row in range(30))]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    for target, right in ((None, {0}), ("gold", {0, 1})):
        source = read(tmp_path / "x.csv", READING, TextAsk(target=target))
        assert set(source.parts["train"].targets.tolist()) == right
    with pytest.raises(UserError, match=r"x\.csv has no column `glod`; the nearest is `gold`"):
        read(tmp_path / "x.csv", READING, TextAsk(target="glod"))


@pytest.mark.usefixtures("one_thread")
def test_choices_from_end_to_end(tmp_path: Path):
    swag(tmp_path / "swag" / "train.csv", 160)
    swag(tmp_path / "swag" / "val.csv", 20)
    small = ("--epochs", "2", "--tokens", "wordpiece", "--vocab-size", "60", *QUICK)
    done("train", "bert-tiny", "swag", *small, "--name", "swag", folder=tmp_path)
    found = json.loads(done("eval", "runs/swag", "--json", folder=tmp_path))
    with (tmp_path / "runs" / "swag" / "predictions-val.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert found["accuracy"] == sum(line["true"] == line["predicted"] for line in table) / 20
    other = json.loads(done("eval", "runs/swag", "--data", "swag/val.csv", "--json", folder=tmp_path))
    assert other["loss"] == pytest.approx(found["loss"], rel=1e-5)
    swag(tmp_path / "ask.csv", 20, labelled=False)
    said = [
        json.loads(line) for line in done("predict", "runs/swag", "ask.csv", "--json", folder=tmp_path).splitlines()
    ]
    guesses = {line["row"].rpartition(":")[2]: line["predicted"] for line in table}
    assert {line["input"].rpartition(":")[2]: list(line)[1] for line in said} == guesses
    # Rows with fewer endings are scored too, and learned from without a new head.
    lines = [f"the {NOUNS[n % 5]},falls on the {NOUNS[n % 5]},falls on the {NOUNS[(n + 1) % 5]},0" for n in range(40)]
    (tmp_path / "two.csv").write_text("\n".join(["context,choice0,choice1,label", *lines]) + "\n")
    two = json.loads(done("eval", "runs/swag", "--data", "two.csv", "--json", folder=tmp_path))
    assert 0 <= two["accuracy"] <= 1
    assert two["loss"] == pytest.approx(0.69, abs=0.3), "of two endings, not of four"
    said = done("predict", "runs/swag", "two.csv", "--json", "--csv", "said.csv", folder=tmp_path).splitlines()
    shares = [json.loads(line) for line in said]
    assert all(each.keys() == {"input", "choice0", "choice1"} for each in shares)
    assert all(each["choice0"] + each["choice1"] == pytest.approx(1) for each in shares)
    assert (tmp_path / "said.csv").read_text().startswith("input,predicted,choice0,choice1\n")
    right = sum(each["choice0"] > each["choice1"] for each in shares) / len(shares)
    assert right == pytest.approx(two["accuracy"])
    command = ("train", "bert-tiny", "two.csv", "--from", "runs/swag", "--epochs", "1", *QUICK, "--name", "two")
    assert "a new head" not in done(*command, folder=tmp_path)
    assert "Worst mistakes" in (tmp_path / "runs" / "swag" / "report.html").read_text()
    assert "sentences to be ended" in typed("explain", "runs/swag", "ask.csv", folder=tmp_path).err
