"""Sentence pairs: which files belong together, what is left out, and a sentence for each mistake."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from seminal.core import Order, Reading, UserError
from seminal.data.pairs import PairsAsk, PairsSource, read
from seminal.data.split import Fold, Holdout
from seminal.pieces.tokens import BEGIN, END, PAD
from seminal.runs.codec import from_json, to_json

READING = Reading("pairs", tokens="bpe", vocabulary=120, longest=30)
ASK = PairsAsk("en", "de")
THINGS = [("dog", "Hund"), ("cat", "Katze"), ("house", "Haus"), ("boat", "Boot"), ("tree", "Baum")]
PAIRS = [(f"the {a} sees the {c} .", f"das {b} sieht das {d} .") for a, b in THINGS for c, d in THINGS]


def files(folder: Path, name: str = "train", pairs=PAIRS, packed: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    for side, ending in enumerate(("en", "de")):
        data = "".join(f"{pair[side]}\n" for pair in pairs).encode()
        path = folder / f"{name}.{ending}{'.gz' * packed}"
        path.write_bytes(gzip.compress(data) if packed else data)
    return folder


def kept(source: PairsSource, split: str) -> list[tuple[str, str]]:
    """Both sides of each pair, from the tokens of the batches."""
    found, encoder = {}, source.encoder("")
    for batch in source.batches(Order(split, 300)):
        for i, mine, other in zip(batch["index"].tolist(), batch["source"], batch["target"], strict=True):
            mine, other = mine[mine != PAD].tolist(), other[other != PAD].tolist()
            assert mine[-1] == END
            assert (other[0], other[-1]) == (BEGIN, END)
            found[i] = encoder.source.decode(mine), encoder.target.decode(other[1:])
    return [found[i] for i in range(source.spec.counts[split])]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_a_folder_of_two_languages(tmp_path: Path, packed, shared):
    folder = files(tmp_path / "toy", packed=packed)
    files(folder, "dev", PAIRS[:5])
    files(folder, "test_2016", PAIRS[5:9])
    source = read(folder, replace(READING, shared=shared), ASK)
    spec, encoder = source.spec, source.encoder("")
    assert (spec.name, spec.kind, spec.batched_by) == ("toy", "pairs", "tokens")
    assert list(spec.counts.items()) == [("train", 25), ("val", 5), ("test_2016", 4)]
    assert kept(source, "train") == PAIRS
    assert kept(source, "test_2016") == PAIRS[5:9]
    assert (encoder.source == encoder.target) == shared
    assert spec.vocabulary == {"source": len(encoder.source), "target": len(encoder.target)}
    assert source.name("val", 2) == "dev.en:3"
    back = read(folder, replace(READING, shared=shared), PairsAsk("de", "en"))
    assert kept(back, "val") == [(b, a) for a, b in PAIRS[:5]]


def test_tokens_are_those_of_the_longer_side(tmp_path: Path):
    source = read(files(tmp_path / "toy"), READING, ASK)
    encoder = source.encoder("")
    texts = source.texts["train"]
    wanted = [
        max(len(a), len(b)) + 1
        for a, b in zip(encoder.source.encode(texts.source), encoder.target.encode(texts.target), strict=True)
    ]
    assert source.spec.tokens["train"] == sum(wanted)
    for batch in source.batches(Order("train", 60, shuffle=True)):
        rows = len(batch["index"])
        assert rows == 1 or rows * max(batch["source"].shape[1], batch["target"].shape[1] - 1) <= 60


def test_a_file_and_its_partner_or_a_table(tmp_path: Path):
    folder = files(tmp_path / "toy", "corpus")
    one = read(folder / "corpus.en", READING, PairsAsk("en", "de", Holdout(0.2)))
    assert dict(one.spec.counts) == {"train": 20, "val": 5}
    assert sorted(kept(one, "train") + kept(one, "val")) == sorted(PAIRS)
    assert any("5 of 25 pairs held out for validation" in note for note in one.spec.notes)
    table = tmp_path / "corpus.tsv"
    table.write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS))
    plain = read(table, READING, PairsAsk(split=Fold(0, 5)))
    assert sorted(kept(plain, "train") + kept(plain, "val")) == sorted(PAIRS)
    table.write_text("id\tde\ten\n" + "".join(f"{i}\t{b}\t{a}\n" for i, (a, b) in enumerate(PAIRS)))
    named = read(table, READING, ASK)
    assert sorted(kept(named, "train") + kept(named, "val")) == sorted(PAIRS)
    number = int(named.name("val", 0).rpartition(":")[2])
    assert kept(named, "val")[0][0] in table.read_text().splitlines()[number - 1]


def test_pairs_that_are_too_long_are_left_out_of_training_and_cut_in_tests(tmp_path: Path):
    long = ("the dog " * 20, "das Hund")
    folder = files(tmp_path / "toy", pairs=[*PAIRS, long])
    files(folder, "val", [PAIRS[0], long])
    files(folder, "test", [long, PAIRS[3]])
    source = read(folder, READING, ASK)
    assert dict(source.spec.counts) == {"train": 25, "val": 1, "test": 2}
    assert any("1 pairs of train.en left out: longer than 30 tokens" in note for note in source.spec.notes)
    assert any("1 sentence of test.en cut to its first 30 tokens" in note for note in source.spec.notes)
    assert source.spec.longest["source"] == 30
    (batch,) = source.batches(Order("test", 1000))
    ((_, alone),) = source.encoder("").encode([long[0]], 4)  # a test is read as the user's own sentences are
    row = batch["source"][batch["index"].tolist().index(0)]
    assert row.tolist() == alone["source"][0].tolist()
    assert row[-1] == END


def test_order_is_a_pure_function_and_ranks_share_each_batch(tmp_path: Path):
    folder = files(tmp_path / "toy")
    source, other = read(folder, READING, ASK), read(folder, READING, ASK)
    order = Order("train", 60, seed=7, epoch=3, shuffle=True)
    whole = list(source.batches(order))
    assert len(whole) == source.steps(order)
    assert sorted(torch.cat([b["index"] for b in whole]).tolist()) == list(range(source.spec.counts["train"]))
    list(source.batches(Order("val", 100)))
    for a, b in zip(whole[1:], other.batches(replace(order, start=1)), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    ranks = [list(other.batches(replace(order, rank=rank, world=2))) for rank in range(2)]
    for batch, *parts in zip(whole, *ranks, strict=True):
        for rank, part in enumerate(parts):
            assert torch.equal(part["index"], batch["index"][rank::2])
            for name in ("source", "target"):
                width = part[name].shape[1]
                assert torch.equal(part[name], batch[name][rank::2, :width])
                assert (batch[name][rank::2, width:] == PAD).all()


def test_an_encoder_is_kept_as_json(tmp_path: Path):
    encoder = read(files(tmp_path / "toy"), READING, ASK).encoder("standard")
    again = from_json(to_json(encoder))
    assert again == encoder
    (first, batch), (last, _) = again.encode(["the dog", "", "the cat ☃"], 2)
    assert first + last == ["the dog", "", "the cat ☃"]
    assert batch["source"][1].tolist()[0] == END
    assert again.target.decode([BEGIN, *again.target.encode(["das Haus"])[0], END]) == "das Haus"


def test_bad_pairs_are_left_out_where_the_user_says_so(tmp_path: Path):
    folder = files(tmp_path / "toy", pairs=[PAIRS[0], ("", "nichts"), ("nothing", " "), *PAIRS[1:]])
    source = read(folder, READING, replace(ASK, on_bad_row="skip"))
    assert sum(source.spec.counts.values()) == 25
    assert any("2 pairs of train.en left out: a side is empty (the first on line 2)" in n for n in source.spec.notes)


def broken(folder: Path, change: str) -> Path:
    files(folder)
    lines = [a for a, _ in PAIRS]
    if change == "empty line":
        files(folder, pairs=[*PAIRS, ("words", "")])
    elif change == "other length":
        (folder / "train.en").write_text("\n".join(lines[:-1]) + "\n")
    elif change == "encoding":
        (folder / "train.de").write_bytes("Bäume\n".encode("latin1") * 25)
    elif change == "no partner":
        (folder / "train.de").unlink()
    elif change == "no training":
        for ending in ("en", "de"):
            (folder / f"train.{ending}").rename(folder / f"val.{ending}")
    elif change == "twice":
        files(folder, packed=True)
    elif change == "empty":
        files(folder, pairs=[])
    elif change == "blank":
        files(folder, pairs=[("", "")] * 3)
    elif change == "one":
        files(folder, pairs=PAIRS[:1])
    return folder


@pytest.mark.parametrize(
    ("change", "asked", "says"),
    [
        ("", {"source": None}, "which languages.*--source en --target de"),
        ("", {"target": "fr"}, "train.en has no partner: train.fr is not beside it. Is --target fr right"),
        ("", {"source": "fr"}, "has no train.fr; it holds train.de, train.en"),
        ("no training", {}, "has no train.en; it holds val.de, val.en"),
        ("empty line", {}, "train.en, line 26 or its translation is empty.*--on-bad-row skip"),
        ("other length", {}, "train.en has 24 lines and train.de 25"),
        ("encoding", {}, "train.de, line 1 is not UTF-8"),
        ("no partner", {}, "train.en has no partner"),
        ("twice", {}, "more than one train set"),
        ("empty", {}, "train.en is empty"),
        ("blank", {"on_bad_row": "skip"}, "train.en has no pair with text on both sides"),
        ("one", {}, "1 row cannot be divided"),
        ("", {"vocabulary": 5000}, "no more than [0-9]+ tokens, and 5,000 were asked for"),
        ("", {"longest": 3}, r"every pair of train.en \(train\) is longer than 3 tokens: write a larger --max-length"),
    ],
)
def test_a_mistake_is_one_clear_sentence(tmp_path: Path, change, asked, says):
    folder = broken(tmp_path / "toy", change)
    reading = replace(READING, longest=asked.pop("longest", 30))
    with pytest.raises(UserError, match=says):
        read(folder, reading, replace(ASK, **asked))


def test_a_table_with_a_mistake(tmp_path: Path):
    table = tmp_path / "x.tsv"
    for text, ask, says in (
        ("\n", PairsAsk(), "x.tsv is empty"),
        ("a\tb\nc\n", PairsAsk(), "line 2 has 1 column"),
        ("a\tb\n", ASK, "no columns en and de in its first line, which is: a, b"),
    ):
        table.write_text(text)
        with pytest.raises(UserError, match=says):
            read(table, READING, ask)
    files(tmp_path / "toy", "corpus")
    with pytest.raises(UserError, match=r"corpus.de does not end in .en"):
        read(tmp_path / "toy" / "corpus.de", READING, ASK)


def test_no_split_of_that_name(tmp_path: Path):
    source = read(files(tmp_path / "toy"), READING, ASK)
    with pytest.raises(UserError, match=r"toy has no split `test`. Write one of: train, val"):
        source.steps(Order("test", 10))
    assert np.isclose(source.spec.amount, source.spec.tokens["train"])
