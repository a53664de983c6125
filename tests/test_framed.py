"""Texts and pairs of texts, and sentences with a label for each word, as BERT reads them: in a frame of special tokens."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from seqeval.metrics import f1_score as seqeval_f1
from seqeval.metrics import recall_score
from sklearn.metrics import f1_score, matthews_corrcoef
from torch import Tensor, nn

from command_line import QUICK, done, typed
from seminal.core import Order, Reading, UserError
from seminal.data import labelled, tagged
from seminal.data.labelled import LabelledAsk
from seminal.data.labelled_columns import texts_of
from seminal.data.labelled_table import text_table
from seminal.data.labelled_target import are_numbers
from seminal.data.text_rows import ALL, Known, TextAsk, TextSource, framed, split_of
from seminal.pieces.tokens import BEGIN, END, NOTHING, PAD
from seminal.runs.agreement import of_classes, of_numbers, of_two_classes
from seminal.runs.codec import from_json, to_json
from seminal.runs.evidence import PARTS, parts_of
from seminal.runs.text_forms import form_of
from seminal.tasks.classification import Classification
from seminal.tasks.regression import Regression
from seminal.tasks.tagging import Tagging

READING = Reading("labelled", tokens="uncased", vocabulary=300, longest=24, framed=True)
PIECES = Reading("tagged", tokens="uncased", vocabulary=45, longest=40, framed=True)  # too few tokens for whole names
UNFRAMED = Reading("labelled", tokens="words", vocabulary=300, longest=24)
WORDS = ["a", "the", "small", "large", "red", "house", "child", "car", "book", "ship", "sleeps", "falls", "waits"]
TREE = "( ( a house ) sleeps )"
MNLI = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse"
)
NLI = ("entailment", "not_entailment")
STSB = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
# GLUE's tasks: the first line of train.tsv, that of test.tsv, and the labels.
GLUE: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "CoLA": ("", "index\tsentence", ("0", "1")),
    "SST-2": ("sentence\tlabel", "index\tsentence", ("0", "1")),
    "MRPC": ("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", "index\t#1 ID\t#2 ID\t#1 String\t#2 String", ("0", "1")),
    "STS-B": (f"{STSB}\tscore", STSB, ("0.000", "2.500", "3.750", "5.000")),
    "QNLI": ("index\tquestion\tsentence\tlabel", "index\tquestion\tsentence", NLI),
    "RTE": ("index\tsentence1\tsentence2\tlabel", "index\tsentence1\tsentence2", NLI),
    "WNLI": ("index\tsentence1\tsentence2\tlabel", "index\tsentence1\tsentence2", ("0", "1")),
    "QQP": ("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "id\tquestion1\tquestion2", ("0", "1")),
    "MNLI": (
        f"{MNLI}\tsentence1\tsentence2\tlabel1\tgold_label",
        f"{MNLI}\tsentence1\tsentence2",
        ("contradiction", "entailment", "neutral"),
    ),
}
SINGLE = ("CoLA", "SST-2")


def said(row: int, side: int) -> str:
    """A sentence of three to six words, with a quotation mark that is never closed."""
    words = [WORDS[(row * (side + 3) + 5 * place) % len(WORDS)] for place in range(3 + (row + side) % 4)]
    return f'"{words[0].title()} {" ".join(words[1:])}'


def table(head: str, labels: tuple[str, ...], rows: int) -> str:
    """A file of GLUE with this first line; CoLA has none."""
    names = head.split("\t") if head else ["source", "label", "mark", "sentence"]
    lines = []
    for row in range(rows):
        label = labels[row % len(labels)]
        cells = {"source": "gj04", "mark": "*" if label == "0" else "", "label1": "neutral"}
        cells |= dict.fromkeys(("label", "Quality", "score", "gold_label", "is_duplicate"), label)
        cells |= dict.fromkeys(("sentence", "sentence1", "question1", "#1 String", "question"), said(row, 0))
        cells |= dict.fromkeys(("sentence2", "question2", "#2 String"), said(row, 1))
        cells |= {"sentence": said(row, 1)} if "question" in names else {}
        lines.append("\t".join(cells.get(name, TREE if "parse" in name else str(1000 + row)) for name in names))
    return "\n".join([head, *lines] if head else lines) + "\n"


def glue(folder: Path, task: str, rows: int = 40) -> Path:
    head, test, labels = GLUE[task]
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("dev_matched", "dev_mismatched") if task == "MNLI" else ("dev",):
        other = head.replace("label1", "label1\tlabel2\tlabel3\tlabel4\tlabel5") if task == "MNLI" else head
        (folder / f"{split}.tsv").write_text(table(other, (*labels, "-") if task == "MNLI" else labels, 12))
    (folder / "train.tsv").write_text(table(head, labels, rows))
    (folder / ("test_matched.tsv" if task == "MNLI" else "test.tsv")).write_text(table(test, labels, 5))
    return folder


def rows_of(source: TextSource, split: str) -> dict[int, tuple[list[int], Tensor]]:
    """Tokens without padding, and the target, of each row, from the batches."""
    found = {}
    for batch in source.batches(Order(split, 100)):
        assert batch["input"].shape[0] * batch["input"].shape[1] <= 100
        for index, tokens, target in zip(batch["index"].tolist(), batch["input"], batch["target"], strict=True):
            found[index] = tokens[tokens != PAD].tolist(), target
    assert sorted(found) == list(range(source.spec.counts[split]))
    return found


# ------------------------------------------------------------------------------------------------------ the frame


def cut(longest: int, first: list[int], second: list[int]) -> list[int]:
    """The oracle: a token is taken from the longer part until all fit."""
    first, second = list(first), list(second)
    while len(first) + len(second) + 3 > longest:
        (first if len(first) > len(second) else second).pop()
    return [BEGIN, *first, END, *second, END]


@settings(deadline=None)
@given(st.integers(5, 40), st.integers(0, 50), st.integers(0, 50))
def test_what_is_too_much_goes_from_the_longer_part(longest, a, b):
    first, second = list(range(100, 100 + a)), list(range(200, 200 + b))
    assert framed(longest, first, second) == cut(longest, first, second)
    assert framed(longest, first) == [BEGIN, *first[: longest - 2], END]


def test_a_frame_without_room_is_refused():
    with pytest.raises(UserError, match="--max-length 4 leaves no room"):
        framed(4, [7], [8])
    assert framed(5, [7, 7], [8, 8]) == [BEGIN, 7, END, 8, END]


# ----------------------------------------------------------------------------------------------------------- GLUE


@pytest.mark.parametrize("task", list(GLUE))
def test_the_files_of_glue_are_read_as_they_are(tmp_path: Path, task):
    folder, labels = glue(tmp_path / task, task), GLUE[task][2]
    assert form_of(folder, "auto") == "labelled"
    source = labelled.read(folder, READING, LabelledAsk())
    spec, encoder = source.spec, source.encoder("")
    assert (spec.kind, spec.batched_by, spec.counts["train"]) == ("labelled", "tokens", 40)
    assert encoder.pair == (task not in SINGLE)
    assert from_json(json.loads(json.dumps(to_json(encoder)))) == encoder
    assert any("test" in note and "left out: it has no labels" in note for note in spec.notes)
    for index, (tokens, target) in rows_of(source, "train").items():
        sides = [said(index, 0), *[said(index, 1)] * encoder.pair]
        parts = encoder.text.encode(sides)
        assert tokens == (cut(24, *parts) if encoder.pair else [BEGIN, *parts[0], END])
        assert source.parts["train"].texts[index] == " ‖ ".join(sides)
        label = labels[index % len(labels)]
        if task == "STS-B":
            value = float(target) * spec.target_std[0] + spec.target_mean[0]
            assert value == pytest.approx(float(label), abs=1e-5)
        else:
            assert spec.classes[int(target)] == label
    assert source.name("train", 0) == f"train.tsv:{1 if task == 'CoLA' else 2}"
    (_, encoded), *_ = encoder.encode(["\t".join(sides)], 8)
    assert encoded["input"][0].tolist() == tokens


def test_rows_of_mnli_without_a_label_are_left_out_and_both_dev_sets_are_there(tmp_path: Path):
    source = labelled.read(glue(tmp_path, "MNLI"), READING, LabelledAsk())
    assert dict(source.spec.counts) == {"train": 40, "val": 9, "dev_mismatched": 9}
    assert source.spec.classes == ("contradiction", "entailment", "neutral")
    assert sum("3 rows of dev_" in note and "did not agree" in note for note in source.spec.notes) == 2


def test_numbers_are_standardised_by_the_training_rows(tmp_path: Path):
    spec = labelled.read(glue(tmp_path, "STS-B"), READING, LabelledAsk()).spec
    values = np.array([float(label) for label in GLUE["STS-B"][2]] * 10)
    assert (spec.classes, spec.class_counts, spec.target_names, spec.outputs) == ((), (), ("score",), 1)
    assert (spec.target_mean[0], spec.target_std[0]) == pytest.approx((values.mean(), values.std()))
    assert any("`score` holds numbers, so this is regression" in note for note in spec.notes)
    assert Regression().fitted(spec).mean == spec.target_mean
    as_classes = labelled.read(tmp_path, READING, LabelledAsk(task="classification")).spec
    assert as_classes.classes == tuple(sorted(GLUE["STS-B"][2]))
    stars = labelled.read(glue(tmp_path / "w", "WNLI"), READING, LabelledAsk(task="regression")).spec
    assert (stars.target_names, stars.target_mean) == (("label",), (0.5,))


@pytest.mark.parametrize(
    ("labels", "measured"),
    [
        ([str(i % 77) for i in range(1000)], False),  # codes of 77 intents
        ([str(1 + i % 30) for i in range(300)], False),
        ([str(i % 77) for i in range(300)], True),  # too few rows of each
        ([str(3 * (i % 77)) for i in range(1000)], True),
        (["0", "1"] * 3, False),
        (["1", "2.5"] * 50, True),
        (["1", "two"] * 50, False),
    ],
)
def test_codes_of_classes_are_no_measurements(labels: list[str], measured: bool):
    assert are_numbers(labels) == measured


def test_the_paraphrases_as_microsoft_gives_them(tmp_path: Path):
    """Files that end in the name of a split count where none has it as its name: GLUE's folder holds both."""
    for split in ("train", "test"):
        text = "\N{BYTE ORDER MARK}" + table(GLUE["MRPC"][0], ("0", "1"), 20)
        (tmp_path / f"msr_paraphrase_{split}.txt").write_text(text, encoding="utf-8")
    source = labelled.read(tmp_path, READING, LabelledAsk())
    assert dict(source.spec.counts) == {"train": 18, "val": 2, "test": 20}
    assert dict(labelled.read(glue(tmp_path, "MRPC"), READING, LabelledAsk()).spec.counts) == {"train": 40, "val": 12}
    assert [split_of(name) for name in ("dev_ids", "dev_matched", "validation_mismatched", "qnli_train")] == [
        *("", "val", "validation_mismatched", ""),
    ]


# ------------------------------------------------------------------------------------------------------- the columns


def test_two_columns_may_be_named_and_a_name_may_hold_a_comma(tmp_path: Path):
    lines = "".join(f'{i},"one {i}","two {i}",{"yn"[i % 2]}\n' for i in range(30))
    (tmp_path / "x.csv").write_text(f'id,"first, or so",then,same\n{lines}')
    for text, pair in (("then,id", True), ("first, or so", False), ("then", False)):
        source = labelled.read(tmp_path / "x.csv", READING, LabelledAsk(text=text, target="same"))
        assert source.encoder("").pair == pair
        row = int(source.parts["train"].numbers[0]) - 2
        wanted = {"then,id": f"two {row} ‖ {row}", "then": f"two {row}"}.get(text, f"one {row}")
        assert source.parts["train"].texts[0] == wanted


def test_a_column_of_text_that_is_not_read_is_told(tmp_path: Path):
    lines = "".join(f"{i},one {i},two {i},{'yn'[i % 2]}\n" for i in range(30))
    (tmp_path / "x.csv").write_text(f"id,s1,s2,label\n{lines}")
    told = "not read of x.csv: `s2`, which holds text too"
    for reading, pairs in ((READING, " (--text s1,s2 reads pairs)"), (UNFRAMED, "")):
        assert told + pairs in labelled.read(tmp_path / "x.csv", reading, LabelledAsk(text="s1")).spec.notes
    both = labelled.read(tmp_path / "x.csv", READING, LabelledAsk(text="s1,s2"))
    assert not any("not read" in note for note in both.spec.notes)
    known = Known(both.encoder(""), both.spec.classes, whole=True)
    with pytest.raises(UserError, match=r"are the two texts.*: write --source s1,s2"):
        labelled.read(tmp_path / "x.csv", READING, LabelledAsk(known=known))


@pytest.mark.parametrize("task", ["MRPC", "QNLI", "MNLI"])
def test_a_model_that_reads_one_text_reads_the_first_and_says_so(tmp_path: Path, task):
    source = labelled.read(glue(tmp_path, task), UNFRAMED, LabelledAsk())
    assert source.parts["train"].texts[3] == said(3, 0)
    assert not any(token in (BEGIN, END) for tokens, _ in rows_of(source, "train").values() for token in tokens)
    assert any("has two texts in each row, and one is read here" in note for note in source.spec.notes)


@pytest.mark.parametrize(
    ("name", "text", "ask", "says"),
    [
        ("test.tsv", table(GLUE["SST-2"][1], ("0",), 5), {}, "which column of test.tsv is the label"),
        ("x.tsv", "id\tlabel\n7\ta\n8\tb\n", {}, "which column of x.tsv is the text"),
        ("x.csv", "s1,s2,label\na b,c,x\n", {}, "write --text with a name, or --text s1,s2 for pairs"),
        (
            "x.csv",
            "id,s1,s2,label\n1,a b,c,x\n",
            {"task": "pair"},
            "which columns .* two texts.*: write --text s1,s2 with",
        ),
        ("x.csv", "a,b,c,label\n1,a b,c,x\n", {"task": "pair"}, "write --text FIRST,SECOND with their names"),
        ("x.tsv", "a b\tx\nc d\ty\n", {"task": "pair"}, "--task pair needs two texts.*2 columns without names"),
        (
            "x.tsv",
            "text\tlabel\na b\tx\nc d\ty\n",
            {"task": "pair"},
            "has `text`, `label`: name both.*--source FIRST,SEC",
        ),
        ("x.tsv", "text\tlabel\na b\tx\nc d\ty\n", {"task": "regression"}, "`label` of x.tsv holds words such as `x`"),
        ("x.tsv", "text\tlabel\na b\t2.5\nc d\t2.5\n", {}, "`label` is 2.5 in every row|every text of x.tsv"),
        (
            "x.tsv",
            "text\tlabel\na b\t2.5\nc\t2\nd\tx\n",
            {"task": "regression"},
            "line 4 has the label `x`, which is no",
        ),
        ("x.tsv", "text\tlabel\na b\tx\n", {"text": "text,text"}, "--text text,text names 2 columns"),
        ("x.tsv", "text\tlabel\na b\tx\n", {"text": "text,other"}, "no column `other`"),
    ],
)
def test_a_mistake_is_one_clear_sentence(tmp_path: Path, name, text, ask, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        labelled.read(tmp_path / name, READING, LabelledAsk(**ask))


def test_other_text_is_read_in_the_terms_of_the_run(tmp_path: Path):
    pairs = labelled.read(glue(tmp_path / "stsb", "STS-B"), READING, LabelledAsk())
    spec = pairs.spec
    known = Known(pairs.encoder(""), spec.target_names, True, spec.target_mean, spec.target_std)
    again = labelled.read(tmp_path / "stsb" / "dev.tsv", READING, LabelledAsk(known=known))
    assert list(again.spec.counts) == [ALL]
    assert (again.spec.target_mean, again.spec.target_names) == (spec.target_mean, ("score",))
    mine, theirs = rows_of(pairs, "val"), rows_of(again, ALL)
    assert [(tokens, float(target)) for tokens, target in mine.values()] == [
        (tokens, float(target)) for tokens, target in theirs.values()
    ]
    with pytest.raises(UserError, match=r"the run reads pairs of texts, and dev\.tsv has `sentence`, `label`"):
        labelled.read(glue(tmp_path / "sst", "SST-2") / "dev.tsv", READING, LabelledAsk(known=known))
    with pytest.raises(UserError, match="put a tab between two texts"):
        list(pairs.encoder("").encode(["a house"], 1))
    # What another form of text was read with is the vocabulary here too.
    beside = Known(tagged.TaggedEncoder(known.words.text, 12, framed=True))
    fine_tuned = labelled.read(tmp_path / "sst", READING, LabelledAsk(known=beside))
    assert fine_tuned.encoder("") == labelled.LabelledEncoder(known.words.text, 12, framed=True)


# --------------------------------------------------------------------------------------------------------- the metrics


@pytest.mark.filterwarnings("ignore:A single label")
@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30))
def test_matthews_and_f1_are_those_of_scikit_learn(pairs):
    true, guess = zip(*pairs)
    task = Classification(classes=2)
    sums = task.score_logits(torch.eye(2)[list(guess)] * 9, torch.tensor(true))
    found = of_two_classes(sums)
    assert found["matthews"] == pytest.approx(matthews_corrcoef(true, guess), abs=1e-12)
    assert found["f1"] == pytest.approx(f1_score(true, guess, zero_division=0.0))
    macro = f1_score(true, guess, average="macro", zero_division=0.0)
    assert of_classes(sums) == found | {"macro_f1": pytest.approx(macro)}
    assert not of_two_classes({"rows": torch.ones(())})
    assert not of_classes({"rows": torch.ones(())})
    assert not of_two_classes({"confusion": torch.ones(3, 3)})


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_macro_f1_is_that_of_scikit_learn(pairs):
    true, guess = zip(*pairs)
    sums = Classification(classes=4).score_logits(torch.eye(4)[list(guess)] * 9, torch.tensor(true))
    wanted = f1_score(true, guess, average="macro", zero_division=0.0)
    assert of_classes(sums) == {"macro_f1": pytest.approx(wanted)}


def test_correlations_need_numbers_that_differ():
    assert of_numbers([]) == of_numbers([(1.0, 2.0), (2.0, 2.0)]) == {}
    found = of_numbers([(1.0, 1.0), (2.0, 4.0), (3.0, 9.0), (4.0, 16.0)])
    assert found["spearman"] == pytest.approx(1)
    assert found["pearson"] == pytest.approx(np.corrcoef([1, 2, 3, 4], [1, 4, 9, 16])[0, 1])


# -------------------------------------------------------------------------------------------------- a label for each word

NAMES = {"Anna": "B-PER", "Lundqvist": "I-PER", "Oslo": "B-LOC"}
SENTENCES = [
    line.split() for line in ("Anna Lundqvist lives in Oslo .", "Oslo sleeps", "Anna sings in Oslo , loudly !")
]


def conll(path: Path, copies: int = 8) -> Path:
    one = "\n".join("".join(f"{word} NN {NAMES.get(word, 'O')}\n" for word in words) for words in SENTENCES)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["-DOCSTART- -X- O\n", *[one] * copies]))
    return path


def test_the_label_of_a_word_is_said_at_its_first_piece(tmp_path: Path):
    path = conll(tmp_path / "names.conll")
    assert form_of(path, "auto") == "tagged"
    source = tagged.read(path, PIECES, TextAsk())
    spec, encoder = source.spec, source.encoder("")
    assert (spec.kind, spec.classes) == ("tagged", ("B-LOC", "B-PER", "I-PER", "O"))
    assert from_json(json.loads(json.dumps(to_json(encoder)))) == encoder
    seen = 0
    for index, (tokens, target) in rows_of(source, "train").items():
        words = source.parts["train"].texts[index].split(" ")
        place, wanted = 1, [NOTHING] * len(tokens)
        for word in words:
            wanted[place] = spec.classes.index(NAMES.get(word, "O"))
            seen += wanted[place] == spec.classes.index("B-LOC")
            place += len(encoder.text.encode([word])[0])
        assert place == len(tokens) - 1
        assert tokens == [BEGIN, *encoder.text.encode([" ".join(words)])[0], END]
        assert target[: len(tokens)].tolist() == wanted
        assert set(target[len(tokens) :].tolist()) <= {NOTHING}
        _, encoded = next(encoder.encode([" ".join(words)], 1))
        assert encoded["input"][0].tolist() == tokens
        assert encoded["first"][0].tolist() == [label != NOTHING for label in wanted]
    assert spec.class_counts[0] == seen
    assert max(len(encoder.text.encode([word])[0]) for word in NAMES) > 1, "or nothing is told apart here"


def test_a_long_sentence_is_cut_between_two_words_and_told(tmp_path: Path):
    words = ["Lundqvist"] * 9
    (tmp_path / "x.conll").write_text("".join(f"{word} B-PER\n" for word in words) + "\n" + "a O\nb O\n\n" * 9)
    source = tagged.read(tmp_path / "x.conll", Reading("tagged", "uncased", 23, 20, framed=True), TextAsk())
    encoder = source.encoder("")
    each = len(encoder.text.encode(["Lundqvist"])[0])
    (tokens,), (firsts,), (whole,) = encoder.rows([words])
    assert each > 1
    assert whole == 2 + 9 * each
    assert sum(firsts) == (20 - 2) // each
    assert tokens == [BEGIN, *encoder.text.encode([" ".join(words[: sum(firsts)])])[0], END]
    assert any("1 sentence of x.conll (train) cut to its first 20 tokens" in note for note in source.spec.notes)
    (tokens,), (firsts,), _ = tagged.TaggedEncoder(encoder.text, 4, framed=True).rows([words])
    assert (len(tokens), firsts) == (4, [0, 1, 0, 0]), "of a word that is too long itself, what there is room for"


class Planted(nn.Module):
    """A tagger that says, at every token, the class that is the token's number modulo the classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, tokens: Tensor) -> Tensor:
        return nn.functional.one_hot(tokens % self.classes, self.classes).float()


def test_a_word_is_called_what_its_first_piece_is_called(tmp_path: Path):
    source = tagged.read(conll(tmp_path / "names.conll"), PIECES, TextAsk())
    encoder, classes = source.encoder(""), source.spec.classes
    task = Tagging().fitted(source.spec)
    for names, batch in encoder.encode([" ".join(words) for words in SENTENCES], 2):
        found = task.predict(Planted(len(classes)), batch)
        for text, labels, shares in zip(names, found["label"], found["probability"], strict=True):
            wanted = [pieces[0] % len(classes) for pieces in encoder.text.encode(text.split())]
            assert labels[labels != NOTHING].tolist() == wanted
            assert bool((shares[labels == NOTHING] == 0).all())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Anna B-PER\nsings\n\n", "line 2 has a word without a label"),
        ("Anna NN B-PER\nsings O\n\n", "line 2 has 2 columns where the lines before have 3"),
        ("\n\n", "no sentence"),
    ],
)
def test_a_bad_line_is_one_clear_sentence(tmp_path: Path, text, says):
    (tmp_path / "x.conll").write_text(text)
    with pytest.raises(UserError, match=says):
        tagged.read(tmp_path / "x.conll", READING, TextAsk())


def test_a_label_that_the_run_never_saw_is_refused(tmp_path: Path):
    source = tagged.read(conll(tmp_path / "names.conll"), READING, TextAsk())
    (tmp_path / "new.conll").write_text("Oslo NN B-CITY\nsleeps NN O\n")
    known = Known(source.encoder(""), source.spec.classes, whole=True)
    with pytest.raises(UserError, match="from line 1 on, has the label `B-CITY`, which the run never saw"):
        tagged.read(tmp_path / "new.conll", READING, TextAsk(known=known))


# ------------------------------------------------------------------------------------------------------------ which form

POEM = "the small red house\nsleeps and waits alone\n\na large ship falls\nthe child is quiet\n"
FORMS = {
    "x.txt": (POEM, "documents"),
    "y.txt": ("Anna B-PER\nsings O\n\nOslo B-LOC\n. .\n", "tagged"),
    "z.txt": ("a house\tgood\nno house\tbad\n", "labelled"),
    "w.txt": ("Anna\tname\nsings\tother\n\nOslo\tplace\nsleeps\tother\n", "tagged"),
    "x.tokens": (POEM, "documents"),
    "x.conllu": ("", "tagged"),
    "x.csv": ("text,label\na,b\n", "labelled"),
    "c.csv": ("context,choice0,choice1,label\na,b,c,0\n", "choices"),
    "s.csv": (
        ",video-id,fold-ind,startphrase,sent1,sent2,gold-source,ending0,ending1,ending2,ending3,label\n",
        "choices",
    ),
    "x.jsonl": ('{"sentence1": "a", "sentence2": "choice1 or choice1", "label": 0}\n', "labelled"),
    "c.jsonl": ('{"context": "a", "choice0": "a", "choice1": "b", "label": 0}\n', "choices"),
    "x.json": ('{"data": []}', "questions"),
}


@pytest.mark.parametrize("name", list(FORMS))
def test_the_form_is_told_by_the_file(tmp_path: Path, name):
    text, form = FORMS[name]
    (tmp_path / name).write_text(text)
    assert form_of(tmp_path / name, "auto") == form
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / f"train.{name.partition('.')[2]}").write_text(text)
    (folder / "README.md").write_text("What this is.\n")
    assert form_of(folder, "auto") == form


@pytest.mark.parametrize(
    ("name", "task", "form"),
    [("x.txt", "tag", "tagged"), ("y.txt", "pretrain", "documents"), ("c.csv", "classify", "labelled")],
)
def test_what_the_user_says_goes_before(tmp_path: Path, name, task, form):
    (tmp_path / name).write_text(FORMS[name][0])
    assert form_of(tmp_path / name, task) == form


@pytest.mark.parametrize(
    ("name", "task", "says"),
    [
        ("x.csv", "squad", "--task squad learns from questions on texts, and x.csv is labelled text.*ends in .json,"),
        ("x.json", "pair", "--task pair learns from labelled text, and x.json is questions on texts"),
        ("z.txt", "tag", "with an empty line between sentences, or leave --task out"),
        ("x.csv", "pretrain", "--task pretrain learns from plain text"),
        ("x.pdf", "auto", "x.pdf has no ending that text has"),
    ],
)
def test_data_that_do_not_suit_the_task_are_refused(tmp_path: Path, name, task, says):
    (tmp_path / name).write_text(FORMS.get(name, ("", ""))[0])
    with pytest.raises(UserError, match=says):
        form_of(tmp_path / name, task)


def test_folders_in_a_folder_are_plain_text(tmp_path: Path):
    (tmp_path / "train").mkdir()
    assert form_of(tmp_path, "auto") == "documents"


# ------------------------------------------------------------------------------------------------------------- the words


def test_the_frame_is_no_word_of_its_text(tmp_path: Path):
    source = labelled.read(glue(tmp_path, "MRPC"), READING, LabelledAsk())
    vocabulary = source.encoder("").text
    for words in (3, 200):
        first, second = vocabulary.encode([" ".join(["house"] * words), "red ship"])
        tokens = framed(1000, first, second)
        spans = parts_of(vocabulary, tokens)
        covered = [place for _, start, end in spans for place in range(start, end)]
        assert covered == [place for place, token in enumerate(tokens) if token not in (BEGIN, END)]
        assert "".join(text for text, _, _ in spans).split() == [*["house"] * words, "‖", "red", "ship"]
        assert len(spans) <= PARTS


# --------------------------------------------------------------------------------------------------------- from end to end


def trained(folder: Path, data: str, *more: str) -> Path:
    """A run of the smallest BERT on the data: two epochs, and its report."""
    small = ("--epochs", "2", "--tokens", "wordpiece", "--vocab-size", "60", "--max-length", "24", *QUICK)
    told = done("train", "bert-tiny", data, *small, "--name", data, *more, folder=folder)
    assert (folder / "runs" / data / "report.html").stat().st_size > 10_000, told
    return folder / "runs" / data


def scores(folder: Path, *words: str) -> dict[str, float]:
    return json.loads(done("eval", *words, "--json", folder=folder))


def predictions(run: Path) -> list[list[str]]:
    (path,) = run.glob("predictions-*.csv")
    with path.open(newline="") as file:
        return list(csv.reader(file))[1:]


@pytest.mark.usefixtures("one_thread")
def test_pairs_from_end_to_end(tmp_path: Path):
    glue(tmp_path / "MRPC", "MRPC", 200)
    run = trained(tmp_path, "MRPC", "--task", "pair")
    found = scores(tmp_path, "runs/MRPC")
    true, guess = zip(*[(int(line[1]), int(line[2])) for line in predictions(run)])
    assert found["matthews"] == pytest.approx(matthews_corrcoef(true, guess))
    assert found["f1"] == pytest.approx(f1_score(true, guess))
    assert found["macro_f1"] == pytest.approx(f1_score(true, guess, average="macro"))
    assert found["f1_class"] == "1"
    assert "of the class `1`" in done("eval", "runs/MRPC", folder=tmp_path)
    other = scores(tmp_path, "runs/MRPC", "--data", "MRPC/dev.tsv")
    assert other["loss"] == pytest.approx(found["loss"], rel=1e-5)
    (tmp_path / "mine.tsv").write_text("a house\tthe red house\nthe ship\ta car waits\n")
    lines = done("predict", "runs/MRPC", "mine.tsv", "--json", folder=tmp_path).splitlines()
    assert [json.loads(line)["input"] for line in lines] == ["a house\tthe red house", "the ship\ta car waits"]
    labelled = done("predict", "runs/MRPC", "MRPC/dev.tsv", "--json", folder=tmp_path).splitlines()
    assert [max((0, 1), key=lambda c: json.loads(line)[str(c)]) for line in labelled] == list(guess), (
        "texts alone are read"
    )
    single = typed("predict", "runs/MRPC", "a house", folder=tmp_path)
    assert (single.code, "put a tab between two texts" in single.err) == (2, True)
    assert "“" in done("explain", "runs/MRPC", "a house\tthe red house", folder=tmp_path)


def test_texts_that_leave_no_token_are_told(tmp_path: Path):
    rows = ["a fine film\tgood", "a dull film\tbad"] * 10 + ["\u200b\tbad"] * 2
    for split in ("train", "val"):
        (tmp_path / f"{split}.tsv").write_text(
            "\n".join(["text\tlabel", *(rows if split == "train" else rows[:8])]) + "\n"
        )
    notes = labelled.read(tmp_path, PIECES, labelled.LabelledAsk()).spec.notes
    assert [note for note in notes if "no token" in note] == [
        "in train.tsv 2 texts have no token (the first on line 22): only signs that nobody sees, such as a zero-width space. "
        "A label is learned from nothing there"
    ]


def test_a_tab_within_a_text_of_a_pair_is_a_space(tmp_path: Path):
    lines = [f'"a house\tof {word}","the {word}",{label}' for word, label in (("stone", "yes"), ("wood", "no"))]
    (tmp_path / "x.csv").write_text("\n".join(["sentence1,sentence2,label", *lines * 20]) + "\n")
    source = labelled.read(tmp_path / "x.csv", PIECES, labelled.LabelledAsk())
    encoder, texts = source.encoder(""), texts_of(text_table(tmp_path / "x.csv"), None, 2)
    assert texts[:2] == ["a house of stone\tthe stone", "a house of wood\tthe wood"]
    ((_, batch),) = encoder.encode(texts, 64)
    part = source.parts["train"]
    for row, number in enumerate(part.numbers[:4]):
        assert batch["input"][number - 2].tolist()[: part.lengths[row]] == part.tokens.row(row).tolist(), "as training"


@pytest.mark.usefixtures("one_thread")
def test_numbers_from_end_to_end(tmp_path: Path):
    glue(tmp_path / "STS-B", "STS-B", 200)
    run = trained(tmp_path, "STS-B", "--lr", "3e-3")
    found = scores(tmp_path, "runs/STS-B")
    true, guess = zip(*[map(float, line[1:3]) for line in predictions(run)])
    assert {0.0, 2.5, 3.75, 5.0} == {round(number, 5) for number in true}
    # The file holds six digits, and the numbers lie near each other after so little training.
    assert found["pearson"] == pytest.approx(pearsonr(true, guess).statistic, abs=0.02)
    assert found["spearman"] == pytest.approx(spearmanr(true, guess).statistic, abs=0.02)
    other = scores(tmp_path, "runs/STS-B", "--data", "STS-B/dev.tsv")
    assert other["mae"] == pytest.approx(found["mae"], rel=1e-5)
    assert "score " in done("predict", "runs/STS-B", "a house\tthe red house", folder=tmp_path)
    refused = typed("explain", "runs/STS-B", "a house\tthe red house", folder=tmp_path)
    assert (refused.code, "tells no classes apart" in refused.err) == (2, True)


@pytest.mark.usefixtures("one_thread")
def test_labels_of_words_from_end_to_end(tmp_path: Path):
    for split, copies in (("train", 60), ("dev", 5)):
        conll(tmp_path / "names" / f"{split}.conll", copies)
    run = trained(tmp_path, "names", "--lr", "3e-3")
    found = scores(tmp_path, "runs/names", "--data", "names/dev.conll")
    true, guess = ([line[column].split() for line in predictions(run)] for column in (2, 3))
    assert found["f1"] == pytest.approx(seqeval_f1(true, guess))
    lines = {line[1]: line[3].split() for line in predictions(run)}
    for text, labels in lines.items():
        (said,) = done("predict", "runs/names", text, "--json", folder=tmp_path).splitlines()
        assert json.loads(said)["labels"] == labels
        assert len(labels) == len(text.split())
    whole = done("predict", "runs/names", "names/dev.conll", "--json", folder=tmp_path).splitlines()
    assert {(said := json.loads(line))["input"]: said["labels"] for line in whole} == lines, "labels are not read"
    long = json.loads(done("predict", "runs/names", "Anna sings " * 20, "--json", folder=tmp_path))["labels"]
    assert (len(long), long[-1]) == (40, "?"), "words beyond what is read have no label"
    (tmp_path / "long.conll").write_text("Anna B-PER\nsings O\n" * 20)
    cut = scores(tmp_path, "runs/names", "--data", "long.conll")
    with (run / "predictions-all-long.csv").open(newline="") as file:
        _, words, true, guess = list(csv.reader(file))[1]
    assert [len(column.split()) for column in (words, true, guess)] == [40] * 3, "a label for each word"
    assert (cut["words"], cut["words_cut"]) == (40, guess.split().count("?"))
    assert cut["recall"] == pytest.approx(recall_score([true.split()], [guess.replace("?", "O").split()]))
    for data, says in (
        ("names", "--task squad learns"),
        ("MRPC", "is labelled text, and the run learned from text with"),
    ):
        glue(tmp_path / "MRPC", "MRPC")
        command = ("train", "bert-tiny", data, "--task", "squad") if data == "names" else ("eval", run, "--data", data)
        refused = typed(*command, folder=tmp_path)
        assert (refused.code, says in refused.err) == (2, True), refused.err


def test_models_that_read_one_form_refuse_the_tasks_of_others(tmp_path: Path):
    glue(tmp_path / "MRPC", "MRPC")
    refused = typed("train", "lstm", "MRPC", "--task", "pair", folder=tmp_path)
    assert (refused.code, "--task pair is for models that read every form of text" in refused.err) == (2, True)


def test_the_folder_of_a_run_is_no_data(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text("{}")
    for model in ("bert-tiny", "lstm", "resnet20", "mlp"):
        refused = typed("train", model, "run", folder=tmp_path)
        assert (refused.code, "run is the folder of a run" in refused.err) == (2, True), refused.err
        assert "write --from run to start from its weights" in " ".join(refused.err.split())
    (tmp_path / "film.avi").write_text("a film")
    refused = typed("train", "bert-tiny", "film.avi", folder=tmp_path)
    assert refused.err.count(".txt") == 1
