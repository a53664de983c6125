"""Labelled text: which column is which, what a row is, and a sentence for each mistake."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seminal.core import Order, Reading, UserError
from seminal.data.labelled import LabelledAsk, read
from seminal.data.labelled_columns import texts_of
from seminal.data.labelled_table import text_table
from seminal.data.split import Fold, Holdout
from seminal.data.text_rows import TextSource, split_of
from seminal.pieces.tokens import PAD, UNKNOWN
from seminal.runs.codec import from_json, to_json
from seminal.tasks.classification import Classification

READING = Reading("labelled", tokens="words", vocabulary=500, longest=12)
GOOD = ["a fine and moving film", "what a joy", "moving , funny and wise", "fine acting throughout"]
BAD = ["a dull film", "what a waste of time", "no joy at all , just noise", "dull , loud and long"]
ROWS = [(text, label) for i in range(10) for text, label in [(GOOD[i % 4], "good"), (BAD[i % 4], "bad")]]


def table(path: Path, rows=ROWS, *, header: str = "", between: str = "\t") -> Path:
    path.parent.mkdir(exist_ok=True)
    text = header + "".join(f"{text}{between}{label}\n" for text, label in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def kept(source: TextSource, split: str) -> list[tuple[str, str]]:
    """(text, class) of each row, from the batches."""
    found = {}
    for batch in source.batches(Order(split, 50)):
        for i, tokens, target in zip(batch["index"].tolist(), batch["input"], batch["target"].tolist(), strict=True):
            text = source.parts[split].texts[i]
            assert source.encoder("").text.encode([text])[0][:12] == tokens[tokens != PAD].tolist()
            found[i] = (text, source.spec.classes[target])
    return [found[i] for i in range(source.spec.counts[split])]


# ----------------------------------------------------------------------------------------------------------- the columns


def test_two_columns_without_names_in_either_order(tmp_path: Path):
    straight = read(table(tmp_path / "films.tsv"), READING, LabelledAsk())
    turned = read(table(tmp_path / "turned.tsv.gz", [(b, a) for a, b in ROWS]), READING, LabelledAsk())
    for source in (straight, turned):
        spec = source.spec
        assert (spec.kind, spec.classes, spec.class_counts) == ("labelled", ("bad", "good"), (9, 9))
        assert dict(spec.counts) == {"train": 18, "val": 2}
        assert sorted(kept(source, "train") + kept(source, "val")) == sorted(ROWS)
        assert spec.batched_by == "tokens"
        assert spec.tokens["train"] == sum(
            len(source.encoder("").text.encode([t])[0]) for t, _ in kept(source, "train")
        )
        assert spec.longest["text"] <= 12
        assert spec.vocabulary["text"] == len(source.encoder("").text)
    assert straight.spec.name == "films"
    assert turned.spec.name == "turned"


@pytest.mark.parametrize(
    ("header", "ask"),
    [
        ("id,Review,stars", {}),
        ("id,sentence,label", {}),
        ("id,story,mood", {"text": "story", "target": "mood"}),
        ("id,text,mood", {"target": "mood"}),
        ("id,story,label", {"text": "story"}),
    ],
)
def test_columns_are_found_by_their_names(tmp_path: Path, header, ask):
    rows = [(f'{i},"{text}, he said ""so""\nand left"', label) for i, (text, label) in enumerate(ROWS)]
    path = table(tmp_path / "films.csv", rows, header=header + "\n", between=",")
    source = read(path, READING, LabelledAsk(**ask))
    found = kept(source, "train") + kept(source, "val")
    assert sorted(found) == sorted((f'{text}, he said "so"\nand left', label) for text, label in ROWS)
    lines = path.read_text().splitlines()
    text = source.parts["train"].texts[5]
    line = int(source.name("train", 5).rpartition(":")[2])
    assert text.splitlines()[0].split(",")[0] in lines[line - 1]  # a row of several lines is where it begins


def test_tables_with_tabs_are_read_without_quoting(tmp_path: Path):
    rows = [(f"\"{text} {i} ' quote", label) for i, (text, label) in enumerate(ROWS)]
    source = read(table(tmp_path / "films.tsv", rows), READING, LabelledAsk())
    assert sorted(kept(source, "train") + kept(source, "val")) == sorted(rows)


def test_json_lines(tmp_path: Path):
    path = tmp_path / "films.jsonl"
    lines = [json.dumps({"id": i, "label": i % 2, "text": text}) for i, (text, _) in enumerate(ROWS)]
    path.write_text("\n\n".join(lines))
    source = read(path, READING, LabelledAsk())
    assert source.spec.classes == ("0", "1")
    assert sum(source.spec.counts.values()) == len(ROWS)
    assert int(source.name("train", 3).rpartition(":")[2]) % 2 == 1  # every other line is empty
    path.write_text("\n".join(json.dumps({"words": text, "mood": label == "good"}) for text, label in ROWS))
    assert read(path, READING, LabelledAsk()).spec.classes == ("false", "true")


def test_semicolons_and_other_endings(tmp_path: Path):
    source = read(table(tmp_path / "films.csv", header="text;label\n", between=";"), READING, LabelledAsk())
    assert source.spec.classes == ("bad", "good")
    assert sum(read(table(tmp_path / "films.txt"), READING, LabelledAsk()).spec.counts.values()) == 20


def test_a_first_line_that_looks_like_names_is_told(tmp_path: Path):
    source = read(table(tmp_path / "films.tsv", header="opinion of the film\tverdict\n"), READING, LabelledAsk())
    assert sum(source.spec.counts.values()) == len(ROWS)
    assert any("read as names of columns: opinion of the film, verdict" in note for note in source.spec.notes)


def test_numbers_as_classes_stand_in_their_order(tmp_path: Path):
    rows = [(f"text {i}", str(i % 11)) for i in range(132)]
    assert read(table(tmp_path / "stars.tsv", rows), READING, LabelledAsk()).spec.classes == tuple(map(str, range(11)))


# ------------------------------------------------------------------------------------------------------------ the splits


def test_a_folder_brings_its_own_parts(tmp_path: Path):
    folder = tmp_path / "films"
    table(folder / "train.tsv", header="sentence\tlabel\n")
    table(folder / "dev.csv", ROWS[:4], header="label,sentence\n", between=",").write_text(
        "label,sentence\n" + "".join(f"{label},{text.replace(',', '')}\n" for text, label in ROWS[:4])
    )
    table(folder / "test.tsv.gz", ROWS[:6], header="sentence\tlabel\n")
    (folder / "test_hidden.tsv").write_text("index\tsentence\n0\twho knows\n")
    source = read(folder, READING, LabelledAsk())
    assert list(source.spec.counts.items()) == [("train", 20), ("val", 4), ("test", 6)]
    assert "test_hidden.tsv left out: it has no labels" in source.spec.notes
    assert [label for _, label in kept(source, "val")] == [label for _, label in ROWS[:4]]
    assert source.name("test", 0) == "test.tsv.gz:2"
    headless = tmp_path / "headless"
    for name in ("train", "valid"):
        table(headless / f"{name}.tsv", [(b, a) for a, b in ROWS])
    assert dict(read(headless, READING, LabelledAsk()).spec.counts) == {"train": 20, "val": 20}


def test_the_split_keeps_the_share_of_each_class(tmp_path: Path):
    rows = [(f"text {i}", "rare" if i % 10 == 0 else "common") for i in range(200)]
    path = table(tmp_path / "x.tsv", rows)
    for split in (None, Holdout(0.25, seed=3), Fold(1, 4)):
        source = read(path, READING, LabelledAsk(split=split))
        held = [label for _, label in kept(source, "val")]
        assert held.count("rare") == len(held) // 10
    assert any("50 of 200 texts held out" in note for note in source.spec.notes)


def test_long_texts_are_cut_and_told(tmp_path: Path):
    rows = [*ROWS, ("word " * 30, "good"), ("word " * 31, "bad")]
    source = read(table(tmp_path / "x.tsv", rows), replace(READING, longest=7), LabelledAsk())
    assert source.spec.longest == {"text": 7}
    assert sum("cut to their first 7 tokens (--max-length)" in note for note in source.spec.notes) >= 1
    assert max(batch["input"].shape[1] for batch in source.batches(Order("train", 70))) == 7


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("dev", "val"),
        ("wiki.valid", "val"),
        ("test_2016", "test_2016"),
        ("trainer", ""),
        ("latest", ""),
        ("notes", ""),
    ],
)
def test_names_of_files_tell_the_split(stem, split):
    assert split_of(stem) == split


# ----------------------------------------------------------------------------------------------------------- the batches


@given(batch=st.integers(1, 200), epoch=st.integers(0, 4), world=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_batches_are_the_order(batch, epoch, world):
    source = SHARED
    order = Order("train", batch, seed=2, epoch=epoch)
    whole = list(source.batches(order))
    assert len(whole) == source.steps(order)
    rows = torch.cat([part["index"] for part in whole]).tolist()
    assert sorted(rows) == list(range(source.spec.counts["train"]))
    assert all(len(part["index"]) == 1 or part["input"].numel() <= batch for part in whole)
    assert all(part["input"].dtype == part["target"].dtype == torch.int64 for part in whole)
    ranks = [list(source.batches(replace(order, rank=rank, world=world, start=1))) for rank in range(world)]
    for part, *shares in zip(whole[1:], *ranks, strict=True):
        assert sorted(part["index"].tolist()) == sorted(i for share in shares for i in share["index"].tolist())
    shuffled = list(source.batches(replace(order, shuffle=True)))
    again = list(source.batches(replace(order, shuffle=True)))
    assert all(torch.equal(a["input"], b["input"]) for a, b in zip(shuffled, again, strict=True))
    assert len(shuffled) == len(whole)


@pytest.fixture(scope="module", autouse=True)
def shared_source(tmp_path_factory):
    global SHARED
    SHARED = read(table(tmp_path_factory.mktemp("shared") / "films.tsv", ROWS * 3), READING, LabelledAsk())


SHARED: TextSource


def test_the_task_of_classes_takes_the_batches():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.EmbeddingBag(SHARED.spec.vocabulary["text"], 8, padding_idx=PAD), torch.nn.Linear(8, 2)
    )
    task = Classification().fitted(SHARED.spec)
    for epoch in range(30):
        for batch in SHARED.batches(Order("train", 64, epoch=epoch, shuffle=True)):
            (turn,) = task.turns(model, batch)
            gradients = torch.autograd.grad(turn.loss / turn.weight, list(model.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(model.parameters(), gradients):
                    parameter -= gradient
    (batch,) = SHARED.batches(Order("val", 10_000))
    with torch.no_grad():
        assert task.summary(task.score(model, batch))["top1"] == 1.0


def test_an_encoder_is_kept_as_json_and_reads_lines():
    encoder = from_json(to_json(SHARED.encoder("standard")))
    assert encoder == SHARED.encoder("standard")
    inputs = ["a fine film", "", "never seen words", "what a joy " * 9]
    pairs = list(encoder.encode(inputs, 3))
    assert [name for names, _ in pairs for name in names] == inputs
    assert [batch["index"].tolist() for _, batch in pairs] == [[0, 1, 2], [3]]
    first, last = (batch["input"] for _, batch in pairs)
    assert first[1].tolist() == [UNKNOWN, *[PAD] * (first.shape[1] - 1)]
    assert last.shape == (1, 12)
    text, _ = kept(SHARED, "train")[7]
    (batch,) = [b for b in SHARED.batches(Order("train", 12)) if 7 in b["index"].tolist()]
    row = batch["input"][batch["index"].tolist().index(7)]
    ((_, alone),) = encoder.encode([text], 1)
    assert alone["input"][0].tolist() == row[row != PAD].tolist()


# ---------------------------------------------------------------------------------------------------------- the mistakes

MISTAKES = [
    ("x.tsv", "", {}, "x.tsv is empty"),
    ("x.csv", "\n\n", {}, "x.csv is empty"),
    ("x.jsonl", "\n", {}, "x.jsonl is empty"),
    ("x.tsv", "text\tlabel\n", {}, "no row with a text and a label"),
    ("x.tsv", "only text\nand more\n", {}, "has 1 column: a text and a label are needed"),
    ("x.csv", "a,b,c\nd,e,f\n", {}, r"has 3 columns \(`a`, `b`, `c`\).*Write --text and --target"),
    ("x.csv", "id,text,kind\n1,b,c\n", {}, "which column of x.csv is the label.*`id`, `text`, `kind`.*--target"),
    ("x.csv", "id,story,label\n1,b,c\n", {}, "which column of x.csv is the text"),
    ("x.csv", "id,text,label\n1,b,c\n", {"target": "lable"}, "no column `lable`; the nearest is `label`"),
    ("x.csv", "id,text,label\n1,b,c\n", {"text": "story"}, "no column `story`"),
    ("x.tsv", "good one\tgood\n\tbad\n", {}, "line 2 has no text.*--on-bad-row skip"),
    ("x.tsv", "good one\tgood\nlonger one\t\nx\ty\n", {}, "line 2 has no label"),
    ("x.tsv", "good one\tgood\nmore\tof\tit\nx\n", {}, "line 2 has 3 columns, and the first line has 2, and 1 more"),
    ("x.csv", 'text,label\n"open,1\nmore,2\n', {}, "opened on line 2 of x.csv runs on to line 3"),
    ("x.csv", 'text,label\n"he said "so"",1\n', {}, "line 2 is no row of a CSV file"),
    ("x.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "la\n', {}, "line 2 is broken JSON"),
    ("x.jsonl", '["a", 1]\n', {}, "line 1 is no JSON object"),
    ("x.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n', {}, "line 2 has no label"),
    ("x.jsonl", '{"text": "a", "label": 1}\n{"text": ["b"], "label": 2}\n', {}, "line 2 has no text"),
    ("x.tsv", "one text\tA\nanother\tA\n", {}, "every text of x.tsv is of the class `A`"),
    ("x.tsv", "".join(f"some text\t{i}\n" for i in range(40)), {}, "40 different values in 40 rows"),
    ("x.tsv", "a text\tA\n" * 9 + "a b\tB\n", {}, "class `B` has a single sample"),
    ("x.tsv", "caf\xe9\tA\n".encode("latin1"), {}, "line 1 is not UTF-8"),
    ("x.tsv", "a text\tA\nno text\tB\n" * 9, {"vocabulary": 800}, "no more than .* tokens, and 800 were asked for"),
    ("x.parquet", "PAR1", {}, "no ending that labelled text has: give a file that ends in .csv, .tsv"),
]


@pytest.mark.parametrize(("name", "text", "ask", "says"), MISTAKES)
def test_a_mistake_is_one_clear_sentence(tmp_path: Path, name, text, ask, says):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=says):
        read(tmp_path / name, READING, LabelledAsk(**ask))


def test_a_folder_with_a_mistake(tmp_path: Path):
    folder = tmp_path / "films"
    table(folder / "dev.tsv")
    with pytest.raises(UserError, match=r"films has no training set; it holds dev.tsv. Name the files train.csv"):
        read(folder, READING, LabelledAsk())
    table(folder / "train.tsv", header="text\tlabel\n")
    with pytest.raises(UserError, match=r"dev.tsv has other columns than train.tsv"):
        read(folder, READING, LabelledAsk())
    table(folder / "dev.tsv", [("a text", "odd"), *ROWS[:3]], header="text\tlabel\n")
    with pytest.raises(UserError, match=r"dev.tsv, line 2 has the label `odd`, which no training text has"):
        read(folder, READING, LabelledAsk())
    source = read(folder, READING, LabelledAsk(on_bad_row="skip"))
    assert source.spec.counts["val"] == 3
    table(folder / "train.csv", between=",")
    with pytest.raises(UserError, match="more than one train set"):
        read(folder, READING, LabelledAsk())


def test_bad_rows_are_left_out_where_the_user_says_so(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    good = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    path.write_text("\n".join([*good[:3], "{broken", '{"text": "", "label": "good"}', *good[3:]]))
    source = read(path, READING, LabelledAsk(on_bad_row="skip"))
    assert sum(source.spec.counts.values()) == len(ROWS)
    assert any(note.startswith("2 rows of x.jsonl left out: line 4 is broken JSON") for note in source.spec.notes)
    csv = tmp_path / "x.csv"
    csv.write_text("text,label\n" + "".join(f'"{t}",{c}\n' for t, c in ROWS) + '"he said "so"",good\n')
    source = read(csv, READING, LabelledAsk(on_bad_row="skip"))
    assert sum(source.spec.counts.values()) == len(ROWS)


def test_each_kind_of_bad_row_is_told_with_its_first_line(tmp_path: Path):
    path = tmp_path / "x.tsv"
    bad = ["\tgood", "a film\t", "\tbad", "alone"]
    path.write_text("\n".join(["text\tlabel", *bad, *(f"{text}\t{label}" for text, label in ROWS)]) + "\n")
    notes = read(path, READING, LabelledAsk(on_bad_row="skip")).spec.notes
    told = "line 2 has no text (and 1 more), line 3 has no label, line 5 has 1 column, and the first line has 2"
    assert f"4 rows of x.tsv left out: {told}" in notes


def test_what_is_cut_is_told_of_each_split_by_its_name(tmp_path: Path):
    long = [(f"{text} {'word ' * 30}", label) for text, label in ROWS]
    path = table(tmp_path / "x.tsv", long)
    source = read(path, replace(READING, longest=10), LabelledAsk())
    cut = [note for note in source.spec.notes if "cut to their first" in note]
    assert [note.partition(" cut")[0] for note in cut] == [
        f"{count} texts of x.tsv ({split})" for split, count in source.spec.counts.items()
    ]
    folder = tmp_path / "films"
    for split in ("train", "val"):
        table(folder / f"{split}.tsv", long)
    notes = read(folder, replace(READING, longest=10), LabelledAsk()).spec.notes
    assert any(f"{len(ROWS)} texts of train.tsv cut" in note for note in notes), "another file, another name"


def test_a_very_long_cell_is_read(tmp_path: Path):
    path = table(tmp_path / "x.csv", [*ROWS, ("word " * 40_000, "good")], between="\t")
    source = read(path, replace(READING, longest=10), LabelledAsk())
    assert sum(source.spec.counts.values()) == 21
    assert np.concatenate([part.tokens.lengths for part in source.parts.values()]).max() == 10


# ----------------------------------------------------------------------------------------- the texts of a file to predict

TO_PREDICT = [  # name, what stands in it, the run's own columns, texts of a row, the texts
    ("labelled.tsv", "sentence\tlabel\na film\t1\nno film\t0\n", None, 1, ["a film", "no film"]),
    ("unnamed.tsv", "a film\tgood\nno film\tbad\n", None, 1, ["a film", "no film"]),
    ("alone.tsv", "a film\nno film\n", None, 1, ["a film", "no film"]),
    ("named.tsv", "text\na film\nno film\n", None, 1, ["a film", "no film"]),
    ("own.csv", 'id,said,who\n1,"a film, long",me\n', "said", 1, ["a film, long"]),
    ("first.tsv", "question1\tquestion2\tlabel\nwhy ?\thow ?\t1\n", None, 1, ["why ?"]),
    ("pairs.tsv", "why ?\thow ?\n", None, 2, ["why ?\thow ?"]),
    ("labelled_pairs.tsv", "id\tquestion1\tquestion2\n7\twhy ?\thow ?\n", None, 2, ["why ?\thow ?"]),
    ("own_pairs.tsv", "l\tb\ta\n1\thow ?\twhy ?\n", "a,b", 2, ["why ?\thow ?"]),
    ("objects.jsonl", '{"text": "a film", "label": 1}\n{"text": "no film"}\n', None, 1, ["a film", "no film"]),
]


@pytest.mark.parametrize(("name", "content", "own", "count", "texts"), TO_PREDICT, ids=[row[0] for row in TO_PREDICT])
def test_only_the_texts_of_a_table_are_read_to_predict(tmp_path, name, content, own, count, texts):
    (tmp_path / name).write_text(content)
    assert texts_of(text_table(tmp_path / name), own, count) == texts


@pytest.mark.parametrize(
    ("content", "count", "why"),
    [
        ("a\tb\tc\nd\te\tf\n", 2, "name its columns sentence1 and sentence2"),
        ("a\tb\tc\nd\te\tf\n", 1, r"which column.*`a`, `b`, `c`: name it text \(or sentence"),
        ("id\tlabel\tc\nd\te\tf\n", 1, "name it text"),
        ("text\tlabel\nwhole\t1\nbroken\n", 1, "line 3 has 1 column, and the first line has 2"),
    ],
)
def test_a_table_whose_texts_cannot_be_told_is_refused(tmp_path, content, count, why):
    (tmp_path / "mine.tsv").write_text(content)
    with pytest.raises(UserError, match=why):
        texts_of(text_table(tmp_path / "mine.tsv"), None, count)


def test_the_runs_own_names_are_told_where_texts_are_looked_for(tmp_path):
    (tmp_path / "mine.tsv").write_text("a\tb\tc\nd\te\tf\n")
    for own, count, why in (("s1", 1, "name it s1, as in"), ("s1,s2", 2, "name its columns s1 and s2, as in training")):
        with pytest.raises(UserError, match=why) as refused:
            texts_of(text_table(tmp_path / "mine.tsv"), own, count)
        assert "--text" not in str(refused.value)
