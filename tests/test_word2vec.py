"""Words learned from their neighbours: pairs, luck and losses against naive loops; and what is learned of a made text."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from seminal.cli import main
from seminal.core import Order, Precision, Reading, UserError
from seminal.data import neighbours, stream
from seminal.papers import word2vec
from seminal.papers.cbow import WordVectors
from seminal.pieces.chance import RowChance
from seminal.pieces.contrast import GROUP, for_rows, in_groups
from seminal.pieces.neighbours import distances, kept, noise
from seminal.pieces.tokens import PAD, SPECIAL
from seminal.recipes import word2vec as recipes
from seminal.runs import near_words
from seminal.tasks.neighbours import Neighbours
from seminal.train.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")

TOPICS = {"sea": "ship sail wave harbour captain deck", "farm": "cow plough barn field horse wheat"}


def corpus(folder: Path, lines: int = 600) -> Path:
    """Lines about the sea, lines about a farm, and in both the same small words."""
    made = torch.Generator().manual_seed(0)
    text = []
    for line in range(lines):
        words = [*TOPICS.values()][line % 2].split()
        chosen = [words[i] for i in torch.randint(len(words), (8,), generator=made).tolist()]
        text.append(" ".join(itertools.chain(*(("the", word) for word in chosen))))
    path = folder / "made.txt"
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def read(folder: Path, window: int = 3, subsample: float = 0.1) -> neighbours.NeighbourSource:
    reading = Reading("stream", tokens="words", vocabulary=100, longest=window, least=5, subsample=subsample)
    return neighbours.read(corpus(folder), reading, stream.StreamAsk())


def learned(source: neighbours.NeighbourSource, **changes: object) -> nn.Module:
    """A model after a short training."""
    recipe = recipes.modern("word2vec", source.spec).adapted(source.spec)
    recipe = replace(recipe, lr=0.02, batch=128, epochs=6, precision=Precision(), model=replace(recipe.model, width=16))
    recipe = replace(recipe, task=replace(recipe.task, **changes))
    torch.manual_seed(0)
    model = word2vec.build(recipe.model)
    for _ in train(model, source, recipe):
        pass
    return model


# ------------------------------------------------------------------------------------------------------------ the data


@pytest.mark.parametrize("split", ["train", "val"])
def test_neighbours_are_those_of_a_double_loop(split, tmp_path):
    source = read(tmp_path)
    order = Order(split, 64, seed=3, epoch=2, shuffle=split == "train")
    met, part = source._met(order), source.parts[split]
    words, lines, places = met.tokens.tolist(), met.lines.tolist(), met.places.tolist()
    assert places == sorted(places)
    assert words == part.tokens[met.places].tolist()
    sizes = distances(met.chance(torch.arange(len(words))).uniform(neighbours.Draw.WINDOW)[:, 0], 3).tolist()
    assert set(sizes) == {1, 2, 3}
    batches = list(source.batches(order))
    found = torch.cat([batch["around"] for batch in batches]).tolist()
    assert len(batches) == source.steps(order)
    for row, around in zip(met.rows.tolist(), found, strict=True):
        wanted = []
        for offset in (-3, -2, -1, 1, 2, 3):
            there = row + offset
            near = 0 <= there < len(words) and abs(offset) <= sizes[row] and lines[there] == lines[row]
            wanted.append(words[there] if near else PAD)
        assert around == wanted


def test_batches_are_a_pure_function_of_seed_and_step(tmp_path):
    source, other = read(tmp_path), read(tmp_path)
    order = Order("train", 50, seed=1, epoch=4, shuffle=True)
    whole = list(source.batches(order))
    rest = list(other.batches(replace(order, start=7)))
    assert len(rest) == len(whole) - 7
    for a, b in zip(whole[7:], rest, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    halves = [list(source.batches(replace(order, rank=rank, world=2))) for rank in (0, 1)]
    for batch, *parts in zip(whole, *halves, strict=True):
        words = torch.stack([part["word"] for part in parts], dim=1).flatten()
        assert torch.equal(words, batch["word"])
    again = next(source.batches(replace(order, epoch=5)))
    assert not torch.equal(again["word"], whole[0]["word"])


def test_the_steps_of_an_epoch_are_counted_without_making_it(tmp_path, monkeypatch):
    """They are asked for all epochs before the first begins: only words that may be left out need luck, and once."""
    source = read(tmp_path)
    part = source.parts["train"]
    the = int((part.tokens == source.encoder("none").text.encode(["the"])[0][0]).sum())
    assert 0 < the < len(part.tokens)
    wanted = {(e, b): len(list(source.batches(_shuffled(e, b)))) for e in range(3) for b in (64, 500)}
    asked, uniform = [], RowChance.uniform
    monkeypatch.setattr(RowChance, "uniform", lambda self, *a: asked.append(len(self.index)) or uniform(self, *a))
    monkeypatch.setattr(neighbours, "shuffled", lambda *_: pytest.fail("an order was drawn"))
    fresh = read(tmp_path)
    asked.clear()
    assert {(e, b): fresh.steps(_shuffled(e, b)) for e, b in wanted} == wanted
    assert sum(asked) == 3 * the


def _shuffled(epoch: int, batch: int) -> Order:
    return Order("train", batch, seed=1, epoch=epoch, shuffle=True)


def test_frequent_words_are_left_out_as_the_formula_says(tmp_path):
    share = torch.tensor([0.5, 0.01, 1e-3, 1e-4], dtype=torch.float64)
    paper = [min(1.0, math.sqrt(1e-3 / f)) for f in share.tolist()]
    program = [min(1.0, (math.sqrt(f / 1e-3) + 1) * 1e-3 / f) for f in share.tolist()]  # as word2vec.c has it
    assert kept(share, 1e-3).tolist() == pytest.approx(paper)
    assert kept(share, 1e-3, program=True).tolist() == pytest.approx(program)
    assert kept(share, 0.0).tolist() == [1.0] * 4
    source = read(tmp_path, subsample=0.05)
    the = source.encoder("none").text.encode(["the"])[0][0]
    stays = [int((source._met(Order("train", 1, epoch=e, shuffle=True)).tokens == the).sum()) for e in range(20)]
    trials = 20 * int((source.parts["train"].tokens == the).sum())
    p = math.sqrt(0.05 / 0.5)
    assert abs(sum(stays) - trials * p) < 4 * math.sqrt(trials * p * (1 - p))


def test_noise_is_drawn_as_often_as_p_n_says(tmp_path):
    source = read(tmp_path, subsample=0.0)
    counts = torch.tensor(source.encoder("none").counts)
    shares = noise(counts)
    assert shares[: len(SPECIAL)].tolist() == [0.0] * len(SPECIAL)
    assert float(shares.sum()) == pytest.approx(1)
    drawn = torch.cat(
        [b["noise"] for e in range(5) for b in source.batches(Order("train", 100, epoch=e, shuffle=True))]
    )
    seen = torch.bincount(drawn, minlength=len(counts)).double()
    real = shares > 0
    assert not seen[~real].any()
    chi = ((seen - len(drawn) * shares)[real] ** 2 / (len(drawn) * shares[real])).sum()
    freedom = int(real.sum()) - 1
    assert float(chi) < freedom + 5 * math.sqrt(2 * freedom)
    batch = next(source.batches(Order("train", 100)))
    assert torch.allclose(batch["log_noise"], shares[batch["noise"]].log().float())


# ---------------------------------------------------------------------------------------------------------- the losses


def scored(rows: int, window: int = 2, words: int = 20) -> tuple[WordVectors, dict[str, torch.Tensor], torch.Tensor]:
    """A model with random tables, a batch with padding, and P_n."""
    made = torch.Generator().manual_seed(rows)
    model = WordVectors(words, 6)
    nn.init.normal_(model.words.weight, generator=made)
    nn.init.normal_(model.contexts.weight, generator=made)
    shares = noise(torch.randint(1, 50, (words,), generator=made) * (torch.arange(words) >= len(SPECIAL)))
    batch = {
        "word": torch.randint(len(SPECIAL), words, (rows,), generator=made),
        "around": torch.randint(len(SPECIAL), words, (rows, 2 * window), generator=made),
        "noise": torch.multinomial(shares, rows, replacement=True, generator=made),
        "index": torch.arange(rows),
    }
    batch["around"][torch.rand(rows, 2 * window, generator=made) < 0.3] = PAD
    batch["around"][0] = PAD
    logs = shares.clamp_min(1e-9).log().float()
    return model.double(), batch | {f"log_{n}": logs[batch[n]] for n in ("word", "around", "noise")}, logs


@pytest.mark.parametrize("output", ["softmax", "nce", "negative"])
@pytest.mark.parametrize("reads", ["word", "around"])
@pytest.mark.parametrize("rows", [5, GROUP + 3])
@pytest.mark.parametrize("shares", [True, False])
def test_losses_are_those_of_a_naive_loop(shares, rows, reads, output):
    model, batch, logs = scored(rows)
    task = Neighbours(reads, output, negatives=3)
    shared = (for_rows(in_groups(batch["noise"]), rows) if shares else batch["noise"][:, None]).tolist()
    v, u = model.words.weight.detach(), model.contexts.weight.detach()
    wanted = []
    for row in range(rows):
        around = [w for w in batch["around"][row].tolist() if w != PAD]
        word = int(batch["word"][row])
        pairs = [([word], said) for said in around] if reads == "word" else [(around, word)] * bool(around)
        total = 0.0
        for read_, said in pairs:
            mean = sum(v[w] for w in read_) / len(read_)
            if output == "softmax":
                total -= float(torch.log_softmax(u @ mean, 0)[said])
                continue

            def odds(w: int, mean: torch.Tensor = mean) -> float:
                return float(u[w] @ mean) - (math.log(3) + float(logs[w])) * (output == "nce")

            total -= math.log(1 / (1 + math.exp(-odds(said))))
            total -= 3 * sum(math.log(1 / (1 + math.exp(odds(w)))) for w in shared[row]) / len(shared[row])
        wanted.append(total)
    found = task.losses(model, batch, shared=shares)
    assert found.tolist() == pytest.approx(wanted, rel=1e-5, abs=1e-6)
    if shares:  # as it is trained
        turn = next(task.turns(model, batch))
        assert float(turn.loss.detach() / turn.weight) == pytest.approx(sum(wanted) / rows, rel=1e-5)
    else:
        assert task.summary(task.score(model, batch))["loss"] == pytest.approx(sum(wanted) / rows, rel=1e-5)


@pytest.mark.parametrize("output", ["nce", "negative"])
@pytest.mark.parametrize("reads", ["word", "around"])
def test_a_score_depends_on_no_batch_size_and_on_no_number_of_processes(reads, output, tmp_path):
    source, task = read(tmp_path), Neighbours(reads, output)
    model = WordVectors(source.spec.vocabulary["text"], 6).double()
    for table in model.parameters():
        nn.init.normal_(table)

    def loss(batch: int, world: int = 1) -> float:
        orders = [Order("val", batch, rank=rank, world=world) for rank in range(world)]
        found = [task.score(model, rows) for order in orders for rows in source.batches(order)]
        return task.summary({name: sum(sums[name] for sums in found) for name in found[0]})["loss"]

    words = source.spec.tokens["val"]
    assert words > 3 * GROUP
    others = [loss(batch, world) for batch in (1, GROUP + 3, words - 1) for world in (1, 3)]
    assert others == pytest.approx([loss(words)] * 6, rel=1e-6)


def test_shared_noise_is_that_of_the_row_s_group():
    noise_ = torch.arange(2 * GROUP + 5)
    groups = in_groups(noise_)
    assert groups.shape == (3, GROUP)
    assert torch.equal(groups[1], noise_[GROUP : 2 * GROUP])
    model = WordVectors(3 * GROUP, 4)
    nn.init.normal_(model.contexts.weight)
    read_, said = noise_[:, None], noise_[:, None]
    scores = model(read_, said, groups)
    every = model(read_)
    assert torch.allclose(scores[:, :1], every.gather(1, said), atol=1e-6)
    assert torch.allclose(scores[:, 1:], every.gather(1, for_rows(groups, len(noise_))), atol=1e-6)


def test_the_gradient_of_nce_tends_to_that_of_the_softmax_as_k_grows():
    """Mnih and Teh 2012, Eq. 11: with normalised scores and the noise's expectation taken exactly."""
    made = torch.Generator().manual_seed(0)
    scores = torch.randn(12, generator=made, dtype=torch.float64)
    scores = (scores - scores.logsumexp(0)).requires_grad_()
    shares = noise(torch.randint(1, 50, (12,), generator=made))
    said = 4
    exact = torch.autograd.grad(scores.logsumexp(0) - scores[said], scores)[0]
    apart = []
    for k in (1, 10, 100, 1000):
        odds = scores - shares.log() - math.log(k)
        loss = nn.functional.softplus(-odds[said]) + k * (shares * nn.functional.softplus(odds)).sum()
        # The expectation over what is said is the model's own: one word alone is too rare for the limit to hold.
        gradient = torch.autograd.grad(loss, scores)[0]
        apart.append(float((gradient - exact).norm() / exact.norm()))
    assert all(later < earlier / 4 for earlier, later in itertools.pairwise(apart))
    assert apart[-1] < 0.01


# ------------------------------------------------------------------------------------------------------ what is learned


@pytest.mark.parametrize(
    "changes",
    [{}, {"output": "nce"}, {"output": "softmax"}, {"reads": "around"}, {"reads": "around", "output": "softmax"}],
    ids=["negative", "nce", "softmax", "cbow", "cbow-softmax"],
)
def test_words_of_a_topic_end_near_one_another(changes, tmp_path):
    source = read(tmp_path)
    encoder, model = source.encoder("none"), learned(source, **changes)
    table = model.get_parameter("words.weight").detach()
    right = 0
    for words in (text.split() for text in TOPICS.values()):
        for word in words:
            token = encoder.text.encode([word])[0][0]
            found = near_words.near(table, encoder, table[token], [token], 4)
            right += sum(near in words for near, _ in found)
    assert right >= 0.9 * 4 * 12


def test_trains_and_predicts_from_the_command_line(tmp_path, capsys):
    path = corpus(tmp_path)
    words = [
        "train",
        "word2vec",
        str(path),
        "--epochs",
        "2",
        "--output",
        str(tmp_path),
        "--name",
        "run",
        "--precision",
        "fp32",
    ]
    assert main(words) == 0
    run = str(tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Nearest words" in page
    assert "times in the training text" in page
    capsys.readouterr()
    assert main(["predict", run, "ship", "cow", "sail", "--top", "2"]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 4
    assert "ship − cow + sail" in said
    assert main(["predict", run, "shop"]) == 2
    complaint = capsys.readouterr().err
    assert "`shop` is none of the" in complaint
    assert "Nearest: ship" in complaint
    assert main(["eval", run]) == 0
    assert main(["eval", run, "--data", str(path)]) == 0
    assert main(["generate", run]) == 2


def test_a_text_without_words_that_occur_often_is_refused(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("".join(f"{word}\n" for word in ("a", "a", "a")), encoding="utf-8")
    with pytest.raises(UserError, match="fewer than two words"):
        neighbours.read(path, recipes.reading("word2vec"), stream.StreamAsk())
