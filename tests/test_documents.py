"""Plain text with documents: which rows an epoch has, what is hidden in them, and what a model learns from it."""

from __future__ import annotations

import functools
import gzip
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from seminal.core import Masking, Order, Reading, UserError
from seminal.data import documents
from seminal.data.document_rows import Units, groups
from seminal.data.document_text import sentences
from seminal.data.documents import DocumentsAsk, DocumentSource
from seminal.data.split import Fold, Holdout
from seminal.data.text_rows import Known
from seminal.data.token_store import stored
from seminal.pieces.chance import RowChance
from seminal.pieces.masking import masked
from seminal.pieces.tokens import BEGIN, END, NOTHING, PAD, SPECIAL, UNKNOWN
from seminal.train.evaluate import scored
from seminal.train.loop import train
from texts import HIDING, pretraining, stories

pytestmark = pytest.mark.usefixtures("one_thread")


def small(folder: Path, reading: Reading = HIDING, ask: DocumentsAsk | None = None) -> DocumentSource:
    return documents.read(stories(folder), reading, ask or DocumentsAsk())


def training(epoch: int = 0, start: int = 0, seed: int = 0) -> Order:
    return Order("train", 240, seed, epoch, start, shuffle=True)


def same(some: list[dict[str, torch.Tensor]], others: list[dict[str, torch.Tensor]]) -> bool:
    return len(some) == len(others) and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in zip(some, others)
    )


def shown(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The tokens as they were before any was hidden."""
    return batch["input"].where(batch["target"] == NOTHING, batch["target"])


# --------------------------------------------------------------------------------------------------------------- masking


def rows_of_text(rows: int = 500, width: int = 200, size: int = 1000) -> torch.Tensor:
    """<s> … </s> … </s> and padding, some words unknown; the mask is token 4."""
    tokens = torch.randint(5, size, (rows, width), generator=torch.Generator().manual_seed(0))
    tokens[:, 0], tokens[:, width // 2], tokens[:, 7] = BEGIN, END, UNKNOWN
    lengths = torch.arange(rows) % 50 + width - 50
    places = torch.arange(width)
    tokens[places == lengths[:, None]] = END
    tokens[places > lengths[:, None]] = PAD
    return tokens


@pytest.mark.parametrize("whole", [False, True])
def test_so_many_tokens_are_hidden_and_in_these_ways(whole):
    tokens = rows_of_text()
    continues = torch.arange(1000) % 3 == 0
    chance = RowChance(0, 0, torch.arange(len(tokens)))
    read, target = masked(
        tokens, chance, Masking(whole_words=whole), vocabulary=1000, mask=4, continues=continues if whole else None
    )
    real, said = tokens >= len(SPECIAL), target != NOTHING
    count = int(said.sum())
    assert count > 1e4
    assert abs(count / int(real.sum()) - 0.15) < 0.003
    assert not bool((said & ~real).any())  # no special token, no padding, no unknown word
    assert torch.equal(target[said], tokens[said])
    assert torch.equal(read[~said], tokens[~said])
    spread = 4 * (0.8 * 0.2 / count) ** 0.5
    assert abs(float((read[said] == 4).double().mean()) - 0.8) < spread
    assert abs(float((read[said] == tokens[said]).double().mean()) - 0.1) < spread
    other = read[said & (read != tokens) & (read != 4)]
    assert int(other.min()) >= 5
    assert len(other.unique()) > 600  # any token of the vocabulary
    if not whole:
        assert torch.equal(said.sum(1), (0.15 * real.sum(1)).round().long())


def test_whole_words_are_hidden_or_seen():
    tokens = rows_of_text()
    continues = torch.arange(1000) % 3 == 0
    chance = RowChance(0, 0, torch.arange(len(tokens)))
    _, target = masked(tokens, chance, Masking(whole_words=True), vocabulary=1000, mask=4, continues=continues)
    said, real = (target != NOTHING).tolist(), (tokens >= len(SPECIAL)).tolist()
    for row, hidden, words in zip(tokens.tolist(), said, real):
        for place in range(1, len(row)):
            if words[place] and words[place - 1] and row[place] % 3 == 0:
                assert hidden[place] == hidden[place - 1]
        assert any(hidden)


def test_a_row_of_one_word_is_hidden_and_one_of_none_is_not():
    tokens = torch.tensor([[BEGIN, 9, END, PAD], [BEGIN, UNKNOWN, END, PAD]])
    _, target = masked(tokens, RowChance(0, 0, torch.arange(2)), Masking(), vocabulary=20, mask=4)
    assert target.tolist() == [[NOTHING, 9, NOTHING, NOTHING], [NOTHING] * 4]


# ------------------------------------------------------------------------------------------------------------------ rows


def naive(source: DocumentSource, epoch: int) -> dict[int, tuple[list[int], list[int], bool]]:
    """First unit of each row -> A, B and whether B follows, walked unit by unit as the paper describes it."""
    part, room = source.parts["train"], HIDING.longest - 3
    units, firsts = part.tokens, part.units.documents
    found = {}
    for begin, end in pairwise(firsts):
        at = int(begin)
        while at < end:
            luck = RowChance(0, epoch, torch.tensor([at])).uniform(70, 6)[0].double().tolist()
            wanted = 2 + int(luck[1] * (room - 1)) if luck[0] < 0.1 else room
            chunk: list[int] = []
            for unit in range(at, end):
                size = sum(len(units.row(u)) for u in [*chunk, unit])
                if size > wanted and len(chunk) >= 2:
                    break
                chunk.append(unit)
            a = chunk[: 1 + int(luck[2] * (len(chunk) - 1))]
            b = chunk[len(a) :]
            tokens = [units.row(unit).tolist() for unit in chunk]
            first = list(chain(*tokens[: len(a)]))
            follows = bool(b) and luck[3] >= 0.5
            second = list(chain(*tokens[len(a) :]))
            if not follows:
                others = [u for u in range(len(units)) if not begin <= u < end]
                place = others[int((luck[4] + luck[5] * 2**-24) * len(others))]
                left = max(wanted, len(first) + len(second)) - len(first)
                stop = next(int(e) for e in firsts if e > place)
                second = units.row(place).tolist()
                for unit in range(place + 1, stop):
                    if len(second) + len(units.row(unit)) > left:
                        break
                    second += units.row(unit).tolist()
                second = second[: room - len(first)]
            found[at] = first, second, follows
            at += len(chunk) if follows else len(a)
    return found


def test_rows_are_those_of_a_walk_from_unit_to_unit(tmp_path):
    source = small(tmp_path)
    for epoch in (0, 3):
        wanted = naive(source, epoch)
        seen = 0
        for batch in source.batches(training(epoch)):
            for tokens, follows, index in zip(shown(batch), batch["next"].tolist(), batch["index"].tolist()):
                a, b, true = wanted[index]
                row = [BEGIN, *a, END, *b, END]
                assert tokens[: len(row)].tolist() == row
                assert bool((tokens[len(row) :] == PAD).all())
                assert follows == true
                seen += 1
        assert seen == len(wanted)


def test_every_line_is_read_in_every_epoch_and_no_row_is_too_long(tmp_path):
    source = small(tmp_path)
    for epoch in range(4):
        rows, _ = source._epoch(training(epoch))
        read = {
            unit
            for start, stop in zip(rows.starts[:, 0], np.where(rows.follows, rows.stops[:, 1], rows.stops[:, 0]))
            for unit in np.flatnonzero(
                (source.parts["train"].tokens.starts[:-1] >= start) & (source.parts["train"].tokens.starts[1:] <= stop)
            )
        }
        assert read == set(range(len(source.parts["train"].tokens)))
        assert rows.lengths.max() <= HIDING.longest
        batches = list(source.batches(training(epoch)))
        assert sum(len(batch["index"]) for batch in batches) == len(rows)
        assert max(batch["input"].shape[1] for batch in batches) <= HIDING.longest


def many_rows(two: bool = True) -> tuple[Units, np.ndarray]:
    """500 documents of 50 units of 3 to 12 tokens, and the document of each unit."""
    sizes = np.random.default_rng(0).integers(3, 13, 25_000)
    starts = np.concatenate([[0], sizes.cumsum()])
    return Units(starts, np.arange(0, 25_001, 50), 64, two), np.repeat(np.arange(500), 50)


def test_half_of_the_second_parts_follow_and_the_others_are_of_another_document():
    units, document = many_rows()
    rows = units.rows(0, 1)
    where = document[np.searchsorted(units.starts, rows.starts, side="right") - 1]
    alone = rows.stops[:, 0] == units.starts[np.searchsorted(units.documents, rows.units, side="right") * 50]
    count = int((~alone).sum())
    assert count > 4000
    assert abs(rows.follows[~alone].mean() - 0.5) < 4 * 0.5 / count**0.5
    assert not rows.follows[alone].any()  # A ends with its document
    assert (where[rows.follows, 0] == where[rows.follows, 1]).all()
    assert (where[~rows.follows, 0] != where[~rows.follows, 1]).all()
    assert len(np.unique(where[~rows.follows, 1])) > 480  # any other document
    assert (rows.lengths <= 64).all()
    assert 0.07 < (rows.lengths < 45).mean() < 0.2  # the shorter ones, and ends of documents
    assert len(rows) >= units.least


def test_rows_of_one_part_hold_each_token_once():
    units, _ = many_rows(two=False)
    rows = units.rows(0, 1)
    order = rows.units.argsort()
    starts, stops = rows.starts[order, 0], rows.stops[order, 0]
    assert (starts[0], stops[-1]) == (0, units.starts[-1])
    assert (starts[1:] == stops[:-1]).all()
    assert (rows.lengths <= 64).all()
    assert len(rows) >= units.least


def test_blocks_of_documents_change_nothing(monkeypatch):
    units, _ = many_rows()
    whole = units.rows(0, 2)
    monkeypatch.setattr("seminal.data.document_rows.BLOCK", 700)
    parts = units.rows(0, 2)
    order, other = whole.units.argsort(), parts.units.argsort()
    assert (whole.starts[order] == parts.starts[other]).all()
    assert (whole.stops[order] == parts.stops[other]).all()


@pytest.mark.parametrize("count", [3, 20, 21, 60])
def test_rows_are_dealt_into_as_many_batches_as_asked(count):
    lengths = np.random.default_rng(1).integers(5, 50, 60)
    found = groups(lengths, count, Order("train", 100, shuffle=True))
    assert len(found) == count
    assert sorted(np.concatenate(found).tolist()) == list(range(60))
    assert all(len(group) for group in found)


# --------------------------------------------------------------------------------------------------------------- batches


def test_every_epoch_has_as_many_steps_and_other_rows(tmp_path):
    source = small(tmp_path)
    steps = {source.steps(training(epoch, seed=seed)) for epoch in range(6) for seed in (0, 5)}
    assert len(steps) == 1
    epochs = [list(source.batches(training(epoch))) for epoch in range(3)]
    assert {len(epoch) for epoch in epochs} == steps
    assert not same(epochs[0], epochs[1])
    assert same(epochs[1], list(source.batches(training(1))))
    places = [{(i, tuple(t)) for b in e for i, t in zip(b["index"].tolist(), b["target"].tolist())} for e in epochs]
    assert len(places[0] & places[1]) < len(places[0]) / 4  # other tokens are hidden


def test_an_epoch_goes_on_where_it_was_left(tmp_path):
    whole = list(small(tmp_path).batches(training(2)))
    rest = list(small(tmp_path).batches(training(2, start=3)))
    assert same(whole[3:], rest)


def test_validation_is_always_the_same(tmp_path):
    source = small(tmp_path)
    first = list(source.batches(Order("val", 240)))
    again = list(source.batches(Order("val", 240, seed=7, epoch=5)))
    assert same(first, again)
    assert sum(len(batch["index"]) for batch in first) == source.spec.counts["val"]
    assert sum(int((batch["input"] != PAD).sum()) for batch in first) == source.spec.tokens["val"]


def test_two_ranks_divide_a_batch(tmp_path):
    source = small(tmp_path)
    for whole, *parts in zip(
        source.batches(training(1)), *(source.batches(replace(training(1), rank=rank, world=2)) for rank in range(2))
    ):
        for rank, part in enumerate(parts):
            assert same([part], [{name: values[rank::2] for name, values in whole.items()}])


def test_a_batch_too_small_for_the_ranks_is_told_of_before_the_first(tmp_path):
    source = small(tmp_path)
    sizes = [len(batch["index"]) for batch in source.batches(training())]
    assert sizes[0] > min(sizes)
    with pytest.raises(UserError, match=f"{min(sizes)} rows cannot be divided among {sizes[0]} processes"):
        next(source.batches(replace(training(), world=sizes[0])))


def test_the_same_text_gives_the_same_vocabulary(tmp_path):
    assert len({small(tmp_path).encoder("none") for _ in range(5)}) == 1


def test_a_corpus_beyond_memory_gives_the_same_batches(tmp_path, monkeypatch):
    whole = small(tmp_path)
    monkeypatch.setattr(documents, "stored", functools.partial(stored, large=50))
    other = small(tmp_path)
    assert isinstance(other.parts["train"].tokens.flat, np.memmap)
    assert whole.spec == other.spec
    assert same(list(whole.batches(training(1))), list(other.batches(training(1))))


def test_from_left_to_right_each_token_says_the_next(tmp_path):
    source = small(tmp_path, replace(HIDING, masking=None, next_sentence=False))
    batch = next(source.batches(training()))
    assert batch.keys() == {"input", "target", "index"}
    following = batch["input"][:, 1:]
    assert torch.equal(batch["target"][:, :-1], following.where(following != PAD, NOTHING))
    assert bool((batch["target"][:, -1] == NOTHING).all())
    assert bool(((batch["input"] == END).sum(1) == 1).all())


# --------------------------------------------------------------------------------------------------------------- reading


def test_headings_and_long_lines_and_packed_files(tmp_path):
    text = (
        " = First = \n \n a long line . it has two sentences ! "
        + "and words " * 30
        + ". end\n = = Part = = \n \n more\n"
    )
    path = tmp_path / "wiki.txt.gz"
    path.write_bytes(gzip.compress((text + " = Second = \n\n and more text\n" + text).encode()))
    source = documents.read(path, replace(HIDING, next_sentence=False), DocumentsAsk())
    assert [len(part.files) for part in source.parts.values()] == [
        2,
        1,
    ]  # train and the last: three articles, no empty line
    assert source.name("train", 0) == "wiki.txt.gz:1"
    lines = source.parts["train"].lines.tolist()
    assert lines.count(3) > 3
    assert set(lines) == {1, 3, 4, 6, 7, 9}
    assert list(sentences("One. " * 50))[:2] == ["One.", "One."]
    assert list(sentences("你好。" * 80))[:2] == ["你好。", "你好。"]
    assert list(sentences("One. Two.")) == ["One. Two."]  # no long line


def test_a_folder_of_files_and_folders_of_splits(tmp_path):
    for place in range(10):
        stories(tmp_path / "many").rename(tmp_path / "many" / f"story{place}.txt")
    source = documents.read(tmp_path / "many", HIDING, DocumentsAsk())
    assert [len(part.files) for part in source.parts.values()] == [
        8,
        2,
    ]  # where B follows not A, it is of another document
    assert any("2 of 10 documents held out" in note for note in source.spec.notes)
    assert source.name("train", 0).startswith("story")
    folds = [
        documents.read(tmp_path / "many", replace(HIDING, next_sentence=False), DocumentsAsk(Fold(i, 5)))
        for i in range(5)
    ]
    held = [name for fold in folds for name in fold.parts["val"].files.tolist()]
    assert sorted(held) == list(range(10))
    for split in ("train", "valid", "test"):
        stories(tmp_path / "parted" / split)
    assert list(documents.read(tmp_path / "parted", HIDING, DocumentsAsk()).spec.counts) == ["train", "val", "test"]
    for split in ("train", "valid"):
        stories(tmp_path / "named").rename(tmp_path / "named" / f"{split}.txt")
    assert list(documents.read(tmp_path / "named", HIDING, DocumentsAsk()).spec.counts) == ["train", "val"]


def test_folders_whose_names_tell_no_split_are_one_corpus(tmp_path):
    for folder in ("fiction", "news/2024", ".hidden"):
        for place in range(5):
            stories(tmp_path / folder).rename(tmp_path / folder / f"story{place}.txt")
    source = documents.read(tmp_path, HIDING, DocumentsAsk())
    assert [len(part.files) for part in source.parts.values()] == [8, 2]
    assert source.name("train", 0).startswith(("fiction/story", "news/2024/story"))
    stories(tmp_path / "valid")
    with pytest.raises(UserError, match="has no training set"):
        documents.read(tmp_path, HIDING, DocumentsAsk())


def test_what_a_run_knows_is_kept_and_longer_rows_may_follow(tmp_path):
    first = small(tmp_path)
    encoder = first.encoder("none")
    longer = small(tmp_path, ask=DocumentsAsk(known=Known(replace(encoder, longest=48))))
    assert longer.encoder("none").text == encoder.text
    assert 24 < longer.parts["train"].first.lengths.max() <= 48
    whole = small(tmp_path, ask=DocumentsAsk(known=Known(encoder, whole=True)))
    assert list(whole.spec.counts) == ["all"]


@pytest.mark.parametrize(
    ("text", "reading", "says"),
    [
        ("one line\nand another\n", HIDING, "holds 1 document, too few"),
        ("\n \n", HIDING, "is empty"),
        ("a b\n\nc d\n\ne f\n", HIDING, "holds 3 documents, too few"),
        ("a b\n\n" * 4, replace(HIDING, longest=6), "write --max-length 8"),
        ("a b\n\n" * 4, replace(HIDING, tokens="words", masking=Masking(whole_words=True)), "whole words"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, text, reading, says):
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=says):
        documents.read(tmp_path / "text.txt", reading, DocumentsAsk(Holdout(0.5)))


def test_the_other_split_needs_two_documents_too(tmp_path):
    stories(tmp_path).rename(tmp_path / "train.txt")
    (tmp_path / "valid.txt").write_text("a b\nc d\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"valid.txt gives 1 document, too few"):
        documents.read(tmp_path, HIDING, DocumentsAsk())


def test_a_folder_without_a_training_set_is_refused(tmp_path):
    stories(tmp_path).rename(tmp_path / "test.txt")
    with pytest.raises(UserError, match="has no training set"):
        documents.read(tmp_path, HIDING, DocumentsAsk())


# --------------------------------------------------------------------------------------------------------------- learning


def test_the_loss_is_the_sum_of_two_means_however_the_batch_is_divided(tmp_path):
    source, recipe, model = pretraining(tmp_path, 0.0)
    batch = next(source.batches(training()))
    hidden = batch["target"] != NOTHING
    words, follows = model(batch["input"], hidden)
    wanted = torch.nn.functional.cross_entropy(words, batch["target"][hidden])
    wanted = (wanted + torch.nn.functional.cross_entropy(follows, batch["next"])).detach()
    for parts in (1, 3):
        chunks = [{name: values.chunk(parts)[i] for name, values in batch.items()} for i in range(parts)]
        turns = [next(recipe.task.turns(model, chunk)) for chunk in chunks]
        assert parts == 1 or len({int(turn.weight) for turn in turns}) > 1  # parts that are not alike
        found = sum(turn.loss.detach() for turn in turns) / sum(turn.weight for turn in turns)
        assert float(found) == pytest.approx(float(wanted), rel=1e-5)


def test_scores_are_those_of_whole_splits_and_predictions_point_at_words(tmp_path, monkeypatch):
    source, recipe, model = pretraining(tmp_path, 0.0)
    monkeypatch.setattr("seminal.tasks.masked_language.AT_ONCE", 50)
    found = recipe.task.summary(scored(model, source, recipe, Order("val", 240)))
    words, follows, target, wanted, losses = [], [], [], [], []
    for batch in source.batches(Order("val", 240)):
        hidden = batch["target"] != NOTHING
        with torch.no_grad():
            one, two = model(batch["input"], hidden)
            said = recipe.task.predict(model, batch)
        words, follows = [*words, one], [*follows, two]
        target, wanted = [*target, batch["target"][hidden]], [*wanted, batch["next"]]
        losses.append(said["loss"][hidden])
        assert torch.equal(said["token"][hidden], one.argmax(-1))
        assert not bool(said["loss"][~hidden].any())
    words_loss = torch.nn.functional.cross_entropy(torch.cat(words), torch.cat(target))
    next_loss = torch.nn.functional.cross_entropy(torch.cat(follows), torch.cat(wanted))
    assert float(torch.cat(losses).mean()) == pytest.approx(float(words_loss), rel=1e-5)
    assert found["word_loss"] == pytest.approx(float(words_loss), rel=1e-5)
    assert found["perplexity"] == pytest.approx(float(words_loss.exp()), rel=1e-5)
    assert found["next_loss"] == pytest.approx(float(next_loss), rel=1e-5)
    assert found["loss"] == pytest.approx(float(words_loss + next_loss), rel=1e-5)
    assert found["next_accuracy"] == pytest.approx(
        float((torch.cat(follows).argmax(1) == torch.cat(wanted)).double().mean())
    )
    assert found["accuracy"] == pytest.approx(float((torch.cat(words).argmax(1) == torch.cat(target)).double().mean()))


@pytest.mark.parametrize("way", ["masks", "left to right"])
def test_it_learns(tmp_path, way):
    reading, ablation = (HIDING, "") if way == "masks" else (replace(HIDING, masking=None, next_sentence=False), "ltr")
    source, recipe, model = pretraining(tmp_path, 0.0, reading, ablation)
    recipe = replace(recipe, epochs=20)
    before = recipe.task.summary(scored(model, source, recipe, Order("val", 240)))
    for _ in train(model, source, recipe):
        pass
    after = recipe.task.summary(scored(model, source, recipe, Order("val", 240)))
    assert after["perplexity"] < before["perplexity"] / 3
    assert ("next_accuracy" in after) == (way == "masks")
