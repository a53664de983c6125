"""Text with a label for each word: files, batches, and the task, whose spans are those of seqeval."""

from __future__ import annotations

import gzip
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities
from torch import Tensor, nn

from seminal.core import DataSpec, Order, Reading, UserError
from seminal.data.split import Fold, Holdout
from seminal.data.tagged import read, sentences_in
from seminal.data.text_rows import TextAsk, TextSource
from seminal.pieces.tokens import NOTHING, PAD, UNKNOWN
from seminal.runs.codec import from_json, to_json
from seminal.tasks.tagging import Tagging, spans

READING = Reading("tagged", tokens="words", vocabulary=500, longest=20)
SENTENCES = [
    [("Anna", "B-PER"), ("Lund", "I-PER"), ("lives", "O"), ("in", "O"), ("Oslo", "B-LOC"), (".", "O")],
    [("Oslo", "B-LOC"), ("is", "O"), ("cold", "O")],
    [("Anna", "B-PER"), ("and", "O"), ("Ole", "B-PER"), ("met", "O"), ("in", "O"), ("Rome", "B-LOC")],
    [("cold", "O"), (".", "O")],
] * 6
CONLL = "-DOCSTART- -X- O O\n\n" + "\n".join(
    "".join(f"{word} NN O {label}\n" for word, label in sentence) for sentence in SENTENCES
)


def conll(path: Path, text: str = CONLL) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def kept(source: TextSource, split: str) -> list[list[tuple[str, str]]]:
    """Words and labels of each sentence, from the batches; unknown words as the text has them."""
    found = {}
    for batch in source.batches(Order(split, 40)):
        assert batch["input"].shape == batch["target"].shape
        assert torch.equal(batch["input"] == PAD, batch["target"] == NOTHING)
        for i, tokens, target in zip(batch["index"].tolist(), batch["input"], batch["target"], strict=True):
            words = source.parts[split].texts[i].split()
            shown = source.encoder("").text.shown(tokens[tokens != PAD])
            assert all(a == b or a == "<unk>" for a, b in zip(shown, words, strict=True))
            labels = [source.spec.classes[code] for code in target[target != NOTHING].tolist()]
            found[i] = list(zip(words, labels, strict=True))
    return [found[i] for i in range(source.spec.counts[split])]


# ------------------------------------------------------------------------------------------------------------- the files


@pytest.mark.parametrize("name", ["news.conll", "news.conll.gz", "news.bio"])
def test_columns_of_conll(tmp_path: Path, name):
    source = read(conll(tmp_path / name), READING, TextAsk(split=Holdout(0.25)))
    spec = source.spec
    assert (spec.name, spec.kind, spec.batched_by) == ("news", "tagged", "tokens")
    assert spec.classes == ("B-LOC", "B-PER", "I-PER", "O")
    assert dict(spec.counts) == {"train": 18, "val": 6}
    train, val = kept(source, "train"), kept(source, "val")
    assert sorted(train + val) == sorted(SENTENCES)
    assert spec.tokens == {"train": sum(map(len, train)), "val": sum(map(len, val))}
    labels = [label for sentence in train for _, label in sentence]
    assert spec.class_counts == tuple(labels.count(name) for name in spec.classes)
    assert spec.longest == {"text": 6}
    lines = CONLL.splitlines()
    for i, sentence in enumerate(train):
        line = int(source.name("train", i).rpartition(":")[2])
        assert lines[line - 1].split()[0] == sentence[0][0]


def test_a_folder_brings_its_own_parts_and_rare_words_are_unknown(tmp_path: Path):
    folder = tmp_path / "ner"
    for part in ("train", "dev", "testa"):
        conll(folder / f"{part}.conll", CONLL + ("\nBergen NN O B-LOC\n" if part == "train" else ""))
    source = read(folder, READING, TextAsk())
    assert dict(source.spec.counts) == {"train": 25, "val": 24, "testa": 24}
    words = source.encoder("").text
    assert words.ids(["Oslo", "Bergen", "Paris", "<pad>", "</s>"])[1:] == [UNKNOWN] * 4
    assert words.ids(["Oslo"])[0] > UNKNOWN
    small = read(folder, replace(READING, vocabulary=7), TextAsk())
    assert small.spec.vocabulary == {"text": 7}


def test_words_with_spaces_in_files_with_tabs(tmp_path: Path):
    text = "New York\tB-LOC\nis\tO\nbig\tO\n\n" * 12
    source = read(conll(tmp_path / "x.tsv", text), READING, TextAsk())
    assert source.encoder("").text.ids(["New York"]) != [UNKNOWN]
    assert source.spec.tokens["train"] % 3 == 0


def test_universal_dependencies(tmp_path: Path):
    block = (
        "# text = Don't go\n1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_\n1\tDo\tdo\tAUX\tVB\t_\t3\taux\t_\t_\n"
        "2\tn't\tnot\tPART\tRB\t_\t3\tadv\t_\t_\n2.1\tx\t_\t_\t_\t_\t_\t_\t_\t_\n3\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\t_\n\n"
    )
    source = read(conll(tmp_path / "en.conllu", block * 9), READING, TextAsk())
    assert source.spec.classes == ("AUX", "PART", "VERB")
    assert kept(source, "val")[0] == [("Do", "AUX"), ("n't", "PART"), ("go", "VERB")]
    assert Tagging().fitted(source.spec).goal.metric == "accuracy"


def test_the_user_says_which_column_holds_the_labels(tmp_path: Path):
    text = "Anna NNP B-NP B-PER\nsings VBZ B-VP O\n\nOslo NNP B-NP B-LOC\n\n" * 6
    path = conll(tmp_path / "x.conll", text)
    found = {target: read(path, READING, TextAsk(target=target)).spec.classes for target in (None, "2", "3", "4")}
    assert found["2"] == ("NNP", "VBZ")
    assert found["3"] == ("B-NP", "B-VP")
    assert found["4"] == found[None] == ("B-LOC", "B-PER", "O")
    for wrong in ("1", "5", "pos"):
        with pytest.raises(UserError, match=f"--target {wrong} is no column of labels of x.conll, which has 4 columns"):
            read(path, READING, TextAsk(target=wrong))
    tree = "1\tAnna\t_\tPROPN\tNNP" + "\t_" * 5 + "\n2\tsings\t_\tVERB\tVBZ" + "\t_" * 5 + "\n\n"
    path = conll(tmp_path / "x.conllu", tree * 12)
    for target, classes in ((None, ("PROPN", "VERB")), ("xpos", ("NNP", "VBZ")), ("5", ("NNP", "VBZ"))):
        assert read(path, READING, TextAsk(target=target)).spec.classes == classes
    with pytest.raises(UserError, match=r"by its number, from 3 to 10, or by its name \(LEMMA, UPOS, XPOS"):
        read(path, READING, TextAsk(target="FORM"))


def test_long_sentences_are_cut_and_told(tmp_path: Path):
    source = read(conll(tmp_path / "x.conll"), replace(READING, longest=4), TextAsk())
    assert source.spec.longest == {"text": 4}
    assert any("sentences of x.conll (train) cut to their first 4 tokens" in note for note in source.spec.notes)
    assert max(map(len, kept_lengths(source))) == 4


def test_words_that_are_cut_off_count_as_missed(tmp_path: Path):
    text = "".join("".join(f"{word} {label}\n" for word, label in some) + "\n" for some in SENTENCES)
    folder = tmp_path / "ner"
    conll(folder / "train.conll", text)
    conll(folder / "val.conll", text)
    source = read(folder, replace(READING, longest=2), TextAsk())
    words, task = sum(map(len, SENTENCES)), Tagging().fitted(source.spec)
    cut = sum(max(0, len(sentence) - 2) for sentence in SENTENCES)
    assert any(f"{cut} of the {words} words of val.conll are beyond that" in note for note in source.spec.notes)
    sums: dict[str, Tensor] = {}
    true = [[label for _, label in sentence] for sentence in SENTENCES]
    found = [["O"] * len(sentence) for sentence in SENTENCES]
    for batch in source.batches(Order("val", 40)):
        rows = [
            [max(code, 0) for code in row] for row in batch["target"].tolist()
        ]  # it says the truth of what it reads
        model = Said(rows, len(source.spec.classes), batch["target"].shape[1])
        score = task.score(model, batch)
        sums = {name: sums.get(name, 0) + value for name, value in score.items()}
        for index, row in zip(batch["index"].tolist(), batch["target"].tolist()):
            for place, code in enumerate(code for code in row if code != NOTHING):
                found[index][place] = source.spec.classes[code]
    told = task.summary(sums)
    assert told["f1"] == pytest.approx(f1_score(true, found))
    assert told["recall"] == pytest.approx(recall_score(true, found)) == 3 / 6, "what stands behind was never read"
    assert told["precision"] == pytest.approx(precision_score(true, found)) == 1
    assert (float(sums["words"]), float(sums["words"] - sums["tokens"])) == (words, cut)
    assert told["accuracy"] == pytest.approx((words - cut) / words)


def test_a_span_that_is_cut_in_its_middle_is_not_found():
    task = Tagging(("B-PER", "I-PER", "O"))
    batch = {
        "input": torch.tensor([[5, 6], [5, 6]]),
        "target": torch.tensor([[2, 0], [2, 0]]),
        "unread": torch.tensor([[1, 2], [2, NOTHING]]),
    }
    score = task.score(Said([[2, 0], [2, 0]], 3, 2), batch)
    assert score["spans"].tolist() == [1, 2, 2], "the first is longer than what was read of it"
    assert score["words"] == 7


def kept_lengths(source: TextSource) -> list[Tensor]:
    """The real tokens of each row, and as many labels."""
    found = []
    for batch in source.batches(Order("train", 30)):
        for tokens, target in zip(batch["input"], batch["target"]):
            assert int((tokens != PAD).sum()) == int((target != NOTHING).sum())
            found.append(tokens[tokens != PAD])
    return found


def test_a_label_that_only_validation_has_counts_as_missed(tmp_path: Path):
    folder = tmp_path / "ner"
    conll(folder / "train.conll")
    conll(folder / "val.conll", "Rome B-CITY\n.\tO\n")
    source = read(folder, READING, TextAsk())
    assert "B-CITY" in source.spec.classes
    assert source.spec.class_counts[source.spec.classes.index("B-CITY")] == 0
    assert "val.conll has labels that training does not show: B-CITY" in source.spec.notes


@pytest.mark.parametrize(
    ("text", "ask", "says"),
    [
        ("", {}, "x.conll has no sentence"),
        ("-DOCSTART- -X- O O\n\n\n", {}, "x.conll has no sentence"),
        ("Anna B-PER\nlives\n\nOslo B-LOC\n", {}, "line 2 has a word without a label.*--on-bad-row skip"),
        ("\nAnna NN B-PER\nlives O\n", {}, "line 3 has 2 columns where the lines before have 3"),
        ("only words\n".replace(" ", "\n"), {}, "line 1 has a word without a label"),
        ("Anna\tB-PER\nlives\tO\n\nOslo\t\n", {}, "line 4 has a word without a label"),
        ("Anna O\nlives O\n\nOslo O\n", {}, "every word of x.conll has the label `O`"),
        ("Anna B-PER\nlives O\n", {}, "1 row cannot be divided into training and validation"),
        (b"caf\xe9 O\n", {}, "line 1 is not UTF-8"),
        (CONLL, {"vocabulary": 900}, "no more than [0-9]+ tokens, and 900 were asked for"),
        (CONLL, {"split": Fold(1, 90)}, "90 folds need at least 90 rows"),
    ],
)
def test_a_mistake_is_one_clear_sentence(tmp_path: Path, text, ask, says):
    (tmp_path / "x.conll").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=says):
        read(tmp_path / "x.conll", READING, TextAsk(**ask))


def test_bad_sentences_are_left_out_where_the_user_says_so(tmp_path: Path):
    path = conll(tmp_path / "x.conll", CONLL + "\nword\nword NN O O\n")
    source = read(path, READING, TextAsk(on_bad_row="skip"))
    assert sum(source.spec.counts.values()) == len(SENTENCES)
    assert any("1 sentences of x.conll left out" in note and "without a label" in note for note in source.spec.notes)


# ----------------------------------------------------------------------------------------------------------- the batches


def test_order_is_a_pure_function_and_ranks_share_each_batch(tmp_path: Path):
    path = conll(tmp_path / "x.conll")
    source, other = (read(path, READING, TextAsk()) for _ in range(2))
    order = Order("train", 30, seed=1, epoch=4, shuffle=True)
    whole = list(source.batches(order))
    assert sorted(torch.cat([b["index"] for b in whole]).tolist()) == list(range(source.spec.counts["train"]))
    for a, b in zip(whole[2:], other.batches(replace(order, start=2)), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert [b["index"].tolist() for b in whole] != [
        b["index"].tolist() for b in source.batches(replace(order, epoch=5))
    ]
    ranks = [list(source.batches(replace(order, rank=rank, world=2))) for rank in range(2)]
    for batch, *parts in zip(whole, *ranks, strict=True):
        for rank, part in enumerate(parts):
            assert torch.equal(part["index"], batch["index"][rank::2])


def test_an_encoder_is_kept_as_json_and_reads_lines(tmp_path: Path):
    encoder = read(conll(tmp_path / "x.conll"), READING, TextAsk()).encoder("standard")
    again = from_json(to_json(encoder))
    assert again == encoder
    ((names, batch),) = again.encode(["Anna lives  in Narvik", "", "Oslo " * 50], 8)
    assert names[0] == "Anna lives  in Narvik"
    assert batch["input"].shape == (3, 20)
    assert batch["input"][0, 3:5].tolist() == [UNKNOWN, PAD]
    assert batch["input"][1, :2].tolist() == [UNKNOWN, PAD]
    assert again.text.shown(batch["input"][0, :3]) == ["Anna", "lives", "in"]


# -------------------------------------------------------------------------------------------------------------- the task

LABELS = ["O", *(f"{mark}-{kind}" for mark in "BIES" for kind in ("PER", "LOC"))]
ROW = st.lists(st.sampled_from(LABELS), min_size=1, max_size=12)


@given(labels=ROW)
@settings(max_examples=400, deadline=None)
def test_spans_are_those_of_seqeval(labels):
    assert spans(labels) == get_entities(labels)


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ("I-PER I-PER B-PER O", [("PER", 0, 1), ("PER", 2, 2)]),  # IOB1
        ("B-PER I-PER I-LOC O", [("PER", 0, 1), ("LOC", 2, 2)]),
        ("B-PER E-PER S-PER", [("PER", 0, 1), ("PER", 2, 2)]),  # BIOES
        ("U-PER B-PER I-PER L-PER U-PER", [("PER", 0, 0), ("PER", 1, 3), ("PER", 4, 4)]),  # BILOU
        ("B-PART-OF I-PART-OF", [("PART-OF", 0, 1)]),
        ("O O", []),
    ],
)
def test_spans_of_all_dialects(labels, wanted):
    assert spans(labels.split()) == wanted


class Said(nn.Module):
    """Logits that say the labels it is given."""

    def __init__(self, rows: list[list[int]], classes: int, width: int) -> None:
        super().__init__()
        padded = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
        self.logits = F.one_hot(padded, classes).float() * 5

    def forward(self, text: Tensor) -> Tensor:
        return self.logits


@given(pairs=st.lists(st.tuples(ROW, st.randoms(use_true_random=False)), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_scores_are_those_of_seqeval_and_add_up(pairs):
    true = [labels for labels, _ in pairs]
    found = [[label if luck.random() < 0.6 else luck.choice(LABELS) for label in labels] for labels, luck in pairs]
    classes = tuple(sorted(LABELS))
    task = Tagging(classes)
    sums: dict[str, Tensor] = {}
    for some in (slice(0, 1), slice(1, None)):  # in two batches: sums add up exactly
        mine, wanted = found[some], true[some]
        if not wanted:
            continue
        width = max(map(len, wanted)) + 2
        target = torch.full((len(wanted), width), NOTHING)
        for row, labels in zip(target, wanted):
            row[: len(labels)] = torch.tensor([classes.index(name) for name in labels])
        model = Said([[classes.index(name) for name in labels] for labels in mine], len(classes), width)
        score = task.score(model, {"input": (target != NOTHING).long(), "target": target})
        sums = {name: sums.get(name, 0) + value for name, value in score.items()}
    told = task.summary(sums)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns where there is no span at all
        assert told["f1"] == pytest.approx(f1_score(true, found))
        assert told["precision"] == pytest.approx(precision_score(true, found))
        assert told["recall"] == pytest.approx(recall_score(true, found))
    hits = [a == b for x, y in zip(true, found) for a, b in zip(x, y)]
    assert told["accuracy"] == pytest.approx(sum(hits) / len(hits))
    assert float(sums["tokens"]) == len(hits)


@pytest.mark.parametrize(
    ("classes", "metric"),
    [
        (("B-PER", "I-PER", "O"), "f1"),
        (("I-PER", "O"), "f1"),
        (("B-PER", "E-PER", "I-PER", "O", "S-PER"), "f1"),
        (("ADJ", "NOUN", "VERB"), "accuracy"),
        (("B-X", "I-X", "NOUN"), "accuracy"),
        (("I", "O"), "accuracy"),
    ],
)
def test_the_goal_is_f1_where_labels_mark_spans(classes, metric):
    task = Tagging().fitted(DataSpec("x", "tagged", {"train": 1}, classes=classes))
    assert (task.goal.metric, task.goal.higher) == (metric, True)
    target = torch.tensor([[0, 1, NOTHING]])
    model = Said([[0, 0, 0]], len(classes), 3)
    told = task.summary(task.score(model, {"input": torch.tensor([[5, 6, 0]]), "target": target}))
    assert ("f1" in told) == (metric == "f1")
    assert told["accuracy"] == 0.5


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_torchs_over_real_tokens(smoothing):
    torch.manual_seed(0)
    model = nn.Embedding(30, 4)
    batch = {"input": torch.randint(4, 30, (3, 7)), "target": torch.randint(0, 4, (3, 7))}
    batch["target"][1, 3:] = NOTHING
    task = Tagging(tuple("abcd"), label_smoothing=smoothing)
    (turn,) = task.turns(model, batch)
    wanted = F.cross_entropy(model(batch["input"]).flatten(0, 1), batch["target"].flatten(), label_smoothing=smoothing)
    assert float((turn.loss / turn.weight).detach()) == pytest.approx(float(wanted.detach()), rel=1e-6)
    assert float(turn.weight) == 21 - 4
    plain = F.cross_entropy(model(batch["input"]).flatten(0, 1), batch["target"].flatten()).detach()
    with torch.no_grad():
        assert task.summary(task.score(model, batch))["loss"] == pytest.approx(float(plain), rel=1e-6)
    wider = {"input": F.pad(batch["input"], (0, 3)), "target": F.pad(batch["target"], (0, 3), value=NOTHING)}
    (padded,) = task.turns(model, wider)
    assert float(padded.loss.detach()) == pytest.approx(float(turn.loss.detach()), rel=1e-6)


def test_predictions_stand_where_there_are_tokens():
    torch.manual_seed(0)
    model, text = nn.Embedding(30, 4), torch.tensor([[5, 6, 7], [8, PAD, PAD]])
    with torch.no_grad():
        found = Tagging(tuple("abcd")).predict(model, {"input": text})
        assert torch.equal(found["label"] == NOTHING, text == PAD)
        best = model(text).softmax(-1).max(-1)
    assert found["label"][0].tolist() == best.indices[0].tolist()
    assert torch.equal(found["probability"][text != PAD], best.values[text != PAD])


def test_tagging_needs_tagged_text():
    with pytest.raises(UserError, match=r"films is labelled text, and tagging needs a label for each word"):
        Tagging().fitted(DataSpec("films", "labelled", {"train": 1}, classes=("a", "b")))


def test_the_words_of_a_file_are_read_with_labels_or_without(tmp_path):
    (tmp_path / "labelled.conll").write_text("-DOCSTART- O\n\nAnna B-PER\nsings O\n\nBen B-PER\n")
    (tmp_path / "bare.conll").write_text("Anna\nsings\n\nBen\n")
    tree = "# text = Anna sings\n1\tAnna\t_\tPROPN" + "\t_" * 6 + "\n2\tsings\t_\tVERB" + "\t_" * 6 + "\n\n"
    (tmp_path / "tree.conllu").write_text(tree)
    assert sentences_in(tmp_path / "labelled.conll") == sentences_in(tmp_path / "bare.conll") == ["Anna sings", "Ben"]
    assert sentences_in(tmp_path / "tree.conllu") == ["Anna sings"]
