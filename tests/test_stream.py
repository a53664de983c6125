"""Plain text as batches: what is said, how often, after what; and the task that scores it."""

from __future__ import annotations

import functools
import gzip
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Order, Reading, UserError
from seminal.data import stream
from seminal.data.split import Fold, Holdout
from seminal.data.stream import Stream, StreamAsk, StreamEncoder, StreamSource, read
from seminal.data.token_store import TokenStore, stored
from seminal.data.vocabulary import counted
from seminal.pieces.tokens import END, PAD, UNKNOWN
from seminal.runs.codec import from_json, to_json
from seminal.tasks.language import Language

WORDS = Reading("stream", tokens="words", vocabulary=1000, longest=5)
TEXT = "".join(f"line {i} of the play , {'to be or not' if i % 3 else 'exit'}\n" for i in range(60))


def numbered(said: int, longest: int, carried: bool) -> StreamSource:
    """A split of tokens that are all different: 10, 11, 12 …, so that each tells where it stands."""
    flat = np.arange(10, 10 + said + 1, dtype=np.int32)
    part = Stream(TokenStore(flat, np.array([0, len(flat)])), np.array([1]), "numbers.txt", said, said)
    spec = DataSpec("numbers", "stream", {"train": -(-said // longest)}, longest={"text": longest})
    encoder = StreamEncoder(counted([["a"]], "words", 10), longest)
    return StreamSource(spec, encoder, {"train": part}, carried, "cpu")


def scored(batch: Batch) -> tuple[list[int], list[int]]:
    """What is said in a batch, and what stands before each."""
    text = batch["text"]
    read, say = text[:, :-1], text[:, 1:]
    here = say != PAD
    if "context" in batch:
        here &= torch.arange(say.shape[1]) >= batch["context"][:, None]
    return say[here].tolist(), read[here].tolist()


# ------------------------------------------------------------------------------------------------------------- the order


@given(said=st.integers(1, 4000), longest=st.integers(1, 60), rows=st.integers(1, 30), carried=st.booleans())
@settings(max_examples=100, deadline=None)
def test_in_order_every_token_is_said_exactly_once_after_the_one_before_it(said, longest, rows, carried):
    source = numbered(said, longest, carried)
    order = Order("train", rows)
    batches = list(source.batches(order))
    assert len(batches) == source.steps(order)
    pairs = [pair for batch in batches for pair in zip(*scored(batch))]
    assert sorted(said for said, _ in pairs) == list(range(11, 11 + said))
    assert all(say == read + 1 for say, read in pairs)
    index = torch.cat([batch["index"] for batch in batches]).tolist()
    assert index == sorted(set(index))
    assert max(index) < source.spec.counts["train"]
    assert all(len(batch["text"]) <= rows for batch in batches)


@given(said=st.integers(1, 1500), longest=st.integers(1, 40), rows=st.integers(1, 20), seed=st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_training_windows_touch_and_do_not_overlap(said, longest, rows, seed):
    source = numbered(said, longest, carried=False)
    steps, offsets = set(), set()
    for epoch in range(3):
        order = Order("train", rows, seed, epoch, shuffle=True)
        batches = list(source.batches(order))
        steps.add(len(batches))
        assert len(batches) == source.steps(order)
        text = torch.cat([batch["text"] for batch in batches]).numpy()
        text = text[:, : min(longest, said) + 1]  # the rest is padding, where a window is longer than the split
        assert (np.diff(text) == 1).all()
        assert len(np.unique(text[:, 1:])) == text[:, 1:].size
        # At most two windows and a batch are left out.
        assert text[:, 1:].size > said - (2 + rows) * longest
        offsets.add(int(text[0, 0]) % longest)
        index = torch.cat([batch["index"] for batch in batches]).tolist()
        assert len(index) == len(set(index))
        assert max(index) < source.spec.counts["train"]
    assert len(steps) == 1


@pytest.mark.parametrize("said", [32, 46, 100])
def test_every_token_is_met_in_some_epoch(said):
    source, met = numbered(said, 16, carried=False), set()
    for epoch in range(150):
        for batch in source.batches(Order("train", 1, epoch=epoch, shuffle=True)):
            met |= set(batch["text"][:, 1:].flatten().tolist())
    assert met == set(range(11, 11 + said))


def test_the_places_of_the_windows_change_with_the_epoch():
    source = numbered(5000, 40, carried=False)
    firsts = {
        int(next(source.batches(Order("train", 9, epoch=epoch, shuffle=True)))["text"][0, 0]) % 40 for epoch in range(9)
    }
    assert len(firsts) > 4


@given(said=st.integers(20, 3000), longest=st.integers(1, 40), rows=st.integers(1, 20), seed=st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_carried_batches_go_on_where_the_last_ended(said, longest, rows, seed):
    source = numbered(said, longest, carried=True)
    order = Order("train", rows, seed, epoch=1, shuffle=True)
    texts = [batch["text"] for batch in source.batches(order)]
    assert len(texts) == source.steps(order) == max(1, said // (rows * longest))
    assert {tuple(text.shape) for text in texts} == {(rows, min(longest, said // rows) + 1)}
    for text, later in itertools.pairwise(texts):
        assert torch.equal(text[:, -1], later[:, 0])
    long = torch.cat([texts[0], *(text[:, 1:] for text in texts[1:])], dim=1)
    assert (long.diff(dim=1) == 1).all()
    assert torch.equal(long[:-1, -1], long[1:, 0])  # the parts touch
    firsts = {int(next(source.batches(replace(order, epoch=e)))["text"][0, 0]) for e in range(8)}
    if said - long.shape[1] * rows > 20:
        assert len(firsts) > 1  # what is left out changes with the epoch


@pytest.mark.parametrize("carried", [True, False])
@pytest.mark.parametrize("shuffle", [True, False])
def test_order_is_a_pure_function_and_ranks_share_each_batch(carried, shuffle):
    source, other = numbered(5000, 7, carried), numbered(5000, 7, carried)
    order = Order("train", 6, seed=3, epoch=2, shuffle=shuffle)
    whole = list(source.batches(order))
    list(source.batches(replace(order, epoch=5)))  # another epoch between changes nothing
    for a, b in zip(whole[1:], other.batches(replace(order, start=1)), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    halves = [list(other.batches(replace(order, rank=rank, world=2))) for rank in range(2)]
    for batch, *parts in zip(whole, *halves, strict=True):
        assert sorted(scored(batch)[0]) == sorted([t for part in parts for t in scored(part)[0]])
        for rank, part in enumerate(parts):
            assert torch.equal(part["index"], batch["index"][rank::2])
    if shuffle:
        another = list(source.batches(replace(order, seed=4)))
        assert not torch.equal(another[0]["text"], whole[0]["text"])


def test_an_order_that_cannot_be_kept():
    with pytest.raises(UserError, match="19 tokens, too few to be read in 20 rows at once"):
        numbered(19, 5, True).steps(Order("train", 20, shuffle=True))
    with pytest.raises(UserError, match=r"no split `val`\. Write one of: train"):
        numbered(19, 5, True).steps(Order("val", 20))
    with pytest.raises(UserError, match="3 rows cannot be divided among 4 processes"):
        list(numbered(900, 5, True).batches(Order("train", 3, shuffle=True, world=4)))


# ----------------------------------------------------------------------------------------------------------- the reading


def written(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_words_are_what_stands_between_spaces_and_each_line_end_is_one(tmp_path: Path):
    train, val = " the cat <unk> sat\n\n the <unk> dog \n", "the cow sat\n"
    source = read(written(tmp_path / "ptb", train=train, val=val), WORDS, StreamAsk())
    spec, words = source.spec, source.encoder("").text
    assert (spec.name, spec.kind, spec.batched_by) == ("ptb", "stream", "rows")
    assert spec.tokens == spec.words == {"train": 7 + 3, "val": 3 + 1}
    assert spec.bytes == {"train": len(train), "val": len(val)}
    assert spec.vocabulary == {"text": 4 + 4}  # the, cat, sat, dog
    assert spec.longest == {"text": 5}
    assert spec.counts == {"train": 2, "val": 1}
    the, cat, sat, dog = words.ids(["the", "cat", "sat", "dog"])
    flat = source.parts["train"].tokens.flat.tolist()
    assert flat == [END, the, cat, UNKNOWN, sat, END, END, the, UNKNOWN, dog, END]
    assert source.parts["val"].tokens.flat.tolist() == [END, the, UNKNOWN, sat, END]
    assert source.name("train", 0) == "train.txt:1"
    assert source.name("train", 1) == "train.txt:2"  # which is the first token it says: the empty line
    assert "25.0% of the words of the val text are unknown" in spec.notes


def test_only_the_most_frequent_words_are_known(tmp_path: Path):
    folder = written(tmp_path / "x", train="a a a b b c\n", val="c\n")
    source = read(folder, replace(WORDS, vocabulary=6), StreamAsk())
    assert source.encoder("").text.shown(range(6))[4:] == ["a", "b"]
    assert source.spec.vocabulary["text"] == 6


@pytest.mark.parametrize(("tokens", "vocabulary"), [("characters", 200), ("bpe", 300)])
def test_characters_and_bytes_keep_the_text_to_the_byte(tmp_path: Path, tokens, vocabulary):
    path = tmp_path / "play.txt"
    path.write_text(TEXT + "\n\n  ïï ☃\n")
    source = read(path, Reading("stream", tokens, vocabulary, 16), StreamAsk())
    text = source.encoder("").text
    back = "".join(text.decode(source.parts[split].tokens.flat[1:]) for split in ("train", "val"))
    if tokens == "characters":  # ï and ☃ stand in the part that is held out, so training has not shown them
        assert back == path.read_text().replace("ï", "⁇").replace("☃", "⁇")
        assert source.spec.tokens["train"] == source.spec.bytes["train"]
    else:
        assert back == path.read_text()
    assert sum(source.spec.bytes.values()) == path.stat().st_size
    assert sum(source.spec.words.values()) == len(path.read_text().split()) + path.read_text().count("\n")


def test_the_end_of_a_file_is_held_out_in_order(tmp_path: Path):
    path = tmp_path / "play.txt.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))
    source = read(path, Reading("stream", "characters", 200, 16), StreamAsk(split=Holdout(0.25)))
    text = source.encoder("").text
    train, val = (text.decode(source.parts[split].tokens.flat[1:]) for split in ("train", "val"))
    assert train + val == TEXT
    assert train.endswith("\n")
    assert len(val) / len(TEXT) == pytest.approx(0.25, abs=0.03)
    line = train.count("\n") + 1
    assert any(f"held out for validation, from line {line} on" in note for note in source.spec.notes)
    assert source.name("val", 0) == f"play.txt.gz:{line}"
    assert source.spec.name == "play"
    assert list(read(path, WORDS, StreamAsk()).spec.counts) == ["train", "val"]


@pytest.mark.parametrize(("before", "after"), [("", "\n" * 900), (" \n" * 900, ""), ("\n", "\n \n")])
def test_blank_lines_around_a_text_change_nothing(tmp_path: Path, before, after):
    (tmp_path / "play.txt").write_text(TEXT)
    plain = read(tmp_path / "play.txt", WORDS, StreamAsk())
    (tmp_path / "play.txt").write_text(before + TEXT + after)
    source = read(tmp_path / "play.txt", WORDS, StreamAsk())
    for split, part in plain.parts.items():
        assert source.parts[split].tokens.flat.tolist() == part.tokens.flat.tolist()
        assert (source.parts[split].numbers - part.numbers == before.count("\n")).all()


def test_a_single_long_line_is_held_out_before_a_space(tmp_path: Path):
    path = tmp_path / "text8.txt"
    path.write_text("anarchism originated as a term of abuse " * 50)
    source = read(path, WORDS, StreamAsk())
    assert sum(source.spec.tokens.values()) == 50 * 7 + 1
    assert 20 < source.spec.tokens["val"] < 50
    whole = [t for split in ("train", "val") for t in source.parts[split].tokens.flat[1:].tolist()]
    assert source.encoder("").text.decode(whole) == path.read_text().strip() + "\n"
    path.write_text("日本" * 500)
    source = read(path, Reading("stream", "characters", 50, 16), StreamAsk())
    assert sum(source.spec.tokens.values()) == 1001
    assert source.spec.words["val"] >= 1


def test_a_folder_brings_its_own_parts(tmp_path: Path):
    folder = written(tmp_path / "lm", train=TEXT, valid="to be\n", test="or not\n", test_hard="exit play\n", notes="?")
    source = read(folder, WORDS, StreamAsk())
    assert list(source.spec.counts) == ["train", "val", "test", "test_hard"]
    assert source.spec.tokens["test_hard"] == 3
    (folder / "valid.txt").unlink()
    source = read(folder, WORDS, StreamAsk())
    assert list(source.spec.counts) == ["train", "val", "test", "test_hard"]
    assert source.spec.tokens["train"] + source.spec.tokens["val"] == len(TEXT.split()) + TEXT.count("\n")
    for name, other in (("train.txt", "ptb.train.txt"), ("test.txt", "wiki.test.tokens")):
        (folder / name).rename(folder / other)
    assert list(read(folder, WORDS, StreamAsk()).spec.counts) == ["train", "val", "test", "test_hard"]


def test_a_corpus_larger_than_memory_streams_from_a_file(tmp_path: Path, monkeypatch):
    path = tmp_path / "play.txt"
    path.write_text(TEXT)
    near = read(path, WORDS, StreamAsk())
    monkeypatch.setattr(stream, "stored", functools.partial(stored, large=50))
    monkeypatch.setattr(stream, "CHUNK", 7)
    far = read(path, WORDS, StreamAsk())
    assert isinstance(far.parts["train"].tokens.flat, np.memmap)
    assert far.spec == near.spec
    order = Order("train", 4, epoch=1, shuffle=True)
    for a, b in zip(near.batches(order), far.batches(order), strict=True):
        assert torch.equal(a["text"], b["text"])


def test_an_encoder_is_kept_as_json_and_reads_a_text_after_a_line_end(tmp_path: Path):
    path = tmp_path / "play.txt"
    path.write_text(TEXT)
    for tokens in ("words", "characters", "bpe"):
        encoder = read(path, Reading("stream", tokens, 300, 12), StreamAsk()).encoder("")
        again = from_json(to_json(encoder))
        assert again == encoder
        inputs = ["to be", "", "line 7 of the play , exit"]
        (first, batch), (last, more) = again.encode(inputs, 2)
        assert first + last == inputs
        assert batch["index"].tolist() + more["index"].tolist() == [0, 1, 2]
        newline = encoder.begin()
        assert batch["text"][1].tolist()[:1] == newline
        assert batch["text"][0].tolist()[:1] == newline
        assert encoder.text.decode(batch["text"][0].tolist()[1:]) == "to be"
        assert more["text"].shape[1] <= 13


@pytest.mark.parametrize(
    ("files", "asked", "says"),
    [
        ({"play.txt": ""}, {}, "play.txt is empty"),
        ({"play.txt": "\n\n  \n"}, {}, "play.txt is empty"),
        ({"play.txt": "word"}, {}, "play.txt has too little text to hold a part of it out"),
        ({"lm/train.txt": TEXT, "lm/val.txt": "\n"}, {}, "val.txt is empty"),
        ({"lm/valid.txt": TEXT}, {}, "lm has no training set; it holds valid.txt. Name the files train.txt"),
        ({"lm/train.txt": TEXT, "lm/train.txt.gz": ""}, {}, "more than one train set: keep train.txt or train.txt.gz"),
        ({"play.txt": b"caf\xe9 au lait\n" * 20}, {}, "line 1 is not UTF-8 text"),
        ({"play.txt": "words\n".encode("utf-16")}, {}, "iconv -f utf-16"),
        ({"play.txt": b"\x7fELF\x00\x01" * 20}, {}, "holds a zero byte"),
        ({"play.txt": TEXT}, {"vocabulary": 5000}, "no more than 69 tokens, and 5,000 were asked for"),
        ({"play.txt": TEXT}, {"split": Fold(0, 5)}, "leave --folds out"),
        ({"play.txt": TEXT}, {"tokens": "wordpiece"}, "write --tokens bpe"),
        ({"play.txt": TEXT}, {"tokens": "bpe", "vocabulary": 100}, "--vocab-size 260 or more"),
    ],
)
def test_a_mistake_is_one_clear_sentence(tmp_path: Path, files, asked, says):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    path = tmp_path / next(iter(files)).split("/")[0]
    reading = replace(WORDS, tokens=asked.pop("tokens", "words"))
    with pytest.raises(UserError, match=says):
        read(path, reading, StreamAsk(**asked))


# -------------------------------------------------------------------------------------------------------------- the task


class Recurrent(nn.Module):
    """The smallest network with a state: h' = tanh(W h + E x), logits = O h."""

    def __init__(self, vocabulary: int, width: int = 6) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(vocabulary, width), nn.Linear(width, vocabulary)
        self.again = nn.Linear(width, width)

    def forward(self, text: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h = self.embedding.weight.new_zeros(len(text), self.again.in_features) if state is None else state[:, 0]
        logits = []
        for token in text.unbind(1):
            h = torch.tanh(self.again(h) + self.embedding(token))
            logits.append(self.out(h))
        return torch.stack(logits, 1), h[:, None]


class Bigram(nn.Module):
    """Logits from the last token alone."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, vocabulary)

    def forward(self, text: Tensor) -> Tensor:
        return self.table(text)


def of_text(tmp_path: Path, carried: bool) -> StreamSource:
    path = tmp_path / "play.txt"
    path.write_text(TEXT * 6)
    return read(path, replace(WORDS, longest=8, carried=carried), StreamAsk(split=Holdout(0.5)))


def whole(source: StreamSource, split: str) -> Tensor:
    return torch.from_numpy(source.parts[split].tokens.flat.astype(np.int64))


def total(task: Language, model: nn.Module, source: StreamSource, batch: int) -> dict[str, float]:
    sums: dict[str, Tensor] = {}
    with torch.no_grad():
        for part in source.batches(Order("val", batch)):
            found = task.score(model, part)
            sums = {name: sums.get(name, 0) + value for name, value in found.items()}
    return {name: float(value) for name, value in sums.items()}


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_a_score_is_the_mean_over_all_tokens_whatever_the_batch(tmp_path: Path, batch):
    torch.manual_seed(0)
    source = of_text(tmp_path, carried=False)
    flat, model = whole(source, "val"), Bigram(source.spec.vocabulary["text"])
    with torch.no_grad():
        wanted = F.cross_entropy(model(flat[None, :-1])[0], flat[1:], reduction="sum")
    sums = total(Language(), model, source, batch)
    assert sums["tokens"] == len(flat) - 1 == source.spec.tokens["val"]
    assert sums["loss"] == pytest.approx(float(wanted), rel=1e-6)
    assert sums["hits"] == int((model(flat[None, :-1])[0].argmax(-1) == flat[1:]).sum())


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_carried_score_is_that_of_one_long_row(tmp_path: Path, monkeypatch, batch):
    """By reading the whole split in one call; rows that begin in its middle have read enough before."""
    torch.manual_seed(0)
    source = of_text(tmp_path, carried=True)
    flat, model = whole(source, "val"), Recurrent(source.spec.vocabulary["text"])
    with torch.no_grad():
        model.again.weight.mul_(0.5)  # a memory that is empty after a dozen tokens …
        model.out.weight.mul_(5.0)  # … and counts while it lasts
        wanted = F.cross_entropy(model(flat[None, :-1])[0][0], flat[1:], reduction="none")
    monkeypatch.setattr("seminal.tasks.language.AT_ONCE", 64)  # so that rows are walked in many parts
    task, far = Language(carried=True), {}
    for context in (0, 32):
        monkeypatch.setattr(stream, "CONTEXT", context)
        source = of_text(tmp_path, carried=True)
        with torch.no_grad():
            ((rows, found),) = [(part, task.predict(model, part)) for part in source.batches(Order("val", batch))]
        assert len(rows["text"]) == batch
        real = rows["text"][:, 1:] != PAD
        real &= torch.arange(real.shape[1]) >= rows.get("context", torch.zeros(1, dtype=torch.int64))[:, None]
        assert int(real.sum()) == len(wanted)
        far[context] = float((found["loss"][real] - wanted).abs().max())
        assert total(task, model, source, batch)["loss"] == pytest.approx(float(wanted.sum()), rel=1e-4)
    assert far[32] < 1e-4
    assert batch == 1 or far[0] > 0.01  # a row that begins with nothing says its first words less well


def test_truncated_back_propagation_carries_the_state_and_no_gradient(tmp_path: Path):
    torch.manual_seed(0)
    source = of_text(tmp_path, carried=True)
    model, task = Recurrent(source.spec.vocabulary["text"]), Language(carried=True)
    first, second, *_ = source.batches(Order("train", 3, shuffle=True))
    (turn,) = task.turns(model, first)
    assert set(turn.carry) == {"state"}
    assert not turn.carry["state"].requires_grad
    assert float(turn.weight) == 3 * 8
    (later,) = task.turns(model, second | dict(turn.carry))
    both = torch.cat([first["text"], second["text"][:, 1:]], dim=1)
    logits = model(both[:, :-1])[0]
    losses = F.cross_entropy(logits.transpose(1, 2), both[:, 1:], reduction="none")
    assert float(turn.loss.detach()) == pytest.approx(float(losses[:, :8].sum().detach()), rel=1e-5)
    assert float(later.loss.detach()) == pytest.approx(float(losses[:, 8:].sum().detach()), rel=1e-5)
    later.loss.backward()
    seen = set(second["text"][:, :-1].flatten().tolist())
    unseen = set(first["text"][:, :-1].flatten().tolist()) - seen
    assert unseen
    assert float(model.embedding.weight.grad[sorted(unseen)].abs().sum()) == 0
    (alone,) = task.turns(model, second)
    assert float(alone.loss.detach()) != pytest.approx(float(later.loss.detach()), rel=1e-6)


def test_metrics_have_their_units():
    task = Language()
    assert (task.goal.metric, task.goal.higher) == ("perplexity", False)
    sums = {"tokens": torch.tensor(10.0), "loss": torch.tensor(10 * math.log(32)), "hits": torch.tensor(4.0)}
    told = task.summary(sums)
    assert told == pytest.approx({"loss": math.log(32), "bits": 5.0, "perplexity": 32.0, "accuracy": 0.4})
    assert task.summary(sums | {"loss": torch.tensor(1e9)})["perplexity"] == pytest.approx(math.exp(700))


def test_label_smoothing_counts_in_training_alone(tmp_path: Path):
    torch.manual_seed(0)
    source = of_text(tmp_path, carried=False)
    model = Bigram(source.spec.vocabulary["text"])
    batch = next(source.batches(Order("train", 4, shuffle=True)))
    (turn,) = Language(label_smoothing=0.2).turns(model.requires_grad_(False), batch)
    logits, say = model(batch["text"][:, :-1]).flatten(0, 1), batch["text"][:, 1:].flatten()
    assert float(turn.loss.detach()) == pytest.approx(
        float(F.cross_entropy(logits, say, reduction="sum", label_smoothing=0.2)), rel=1e-5
    )
    score = Language(label_smoothing=0.2).score(model, batch)
    assert float(score["loss"]) == pytest.approx(float(F.cross_entropy(logits, say, reduction="sum")), rel=1e-5)


@pytest.mark.parametrize("carried", [False, True])
def test_padding_changes_nothing(tmp_path: Path, carried):
    torch.manual_seed(0)
    source = of_text(tmp_path, carried)
    make: Callable[[int], nn.Module] = Recurrent if carried else Bigram
    model, task = make(source.spec.vocabulary["text"]), Language(carried)
    batch = next(source.batches(Order("train", 4, shuffle=True)))
    wider = batch | {"text": F.pad(batch["text"], (0, 5), value=PAD)}
    (turn,), (padded,) = task.turns(model, batch), task.turns(model, wider)
    assert float(turn.loss.detach()) == pytest.approx(float(padded.loss.detach()), rel=1e-6)
    assert float(turn.weight) == float(padded.weight)
    model.requires_grad_(False)
    for name, value in task.score(model, batch).items():
        assert float(value) == pytest.approx(float(task.score(model, wider)[name]), rel=1e-6)


@pytest.mark.parametrize("carried", [False, True])
def test_predictions_are_the_losses_of_a_score(tmp_path: Path, carried):
    torch.manual_seed(0)
    source = of_text(tmp_path, carried)
    make: Callable[[int], nn.Module] = Recurrent if carried else Bigram
    model, task = make(source.spec.vocabulary["text"]), Language(carried)
    model.requires_grad_(False)
    for batch in source.batches(Order("val", 5)):
        found, score = task.predict(model, batch), task.score(model, batch)
        assert found["loss"].shape == found["token"].shape == batch["text"][:, 1:].shape
        assert float(found["loss"].double().sum()) == pytest.approx(float(score["loss"]), rel=1e-5)
    empty = {name: values[:0] for name, values in batch.items()}
    assert {float(value) for value in task.score(model, empty).values()} == {0.0}  # a rank without rows


def test_a_language_model_needs_plain_text():
    with pytest.raises(UserError, match=r"reviews is labelled text.*plain text: give a .txt file"):
        Language().fitted(DataSpec("reviews", "labelled", {"train": 3}))
    assert Language(carried=True).fitted(DataSpec("play", "stream", {"train": 3})) == Language(carried=True)
