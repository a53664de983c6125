"""Sequence to sequence learning against a loop without batches or padding, torch's LSTM, and exhaustive search."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seminal.core import DataSpec, UserError
from seminal.decode.beam import Beam, beam
from seminal.decode.rules import Rules
from seminal.decode.sampling import write
from seminal.papers.seq2seq import VARIANTS, Config, Seq2Seq, backwards
from seminal.papers.zaremba import by_the_equations
from seminal.pieces.tokens import BEGIN, END, PAD, lengths
from seminal.recipes import seq2seq as recipes

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = Config(source=13, target=9, layers=2, units=6, start=0.8)
PAIRS = DataSpec(
    "multi", "pairs", {"train": 400}, vocabulary={"source": 321, "target": 123}, longest={"source": 20, "target": 22},
    tokens={"train": 6000}, batched_by="tokens",
)  # fmt: skip


def network(seed=0, **changes):
    torch.manual_seed(seed)
    return Seq2Seq(replace(SMALL, **changes)).eval()


def sentences(sizes, vocabulary, first=(), seed=1):
    """Rows of so many words, with the ending, filled up to the longest."""
    luck = torch.Generator().manual_seed(seed)
    rows = [[*first, *torch.randint(4, vocabulary, (n,), generator=luck).tolist(), END] for n in sizes]
    return torch.tensor([row + [PAD] * (max(map(len, rows)) - len(row)) for row in rows])


SOURCE = sentences((5, 1, 7, 3), 13)
TARGET = sentences((4, 6, 2, 5), 9, first=(BEGIN,), seed=2)


def close(a, b, atol=1e-5):
    assert torch.allclose(a, b, rtol=1e-4, atol=atol), (a - b).abs().max()


def by_hand(model, source, target, reverse):
    """One pair of lists without padding, word after word."""
    *words, end = source
    read = torch.tensor([[*(words[::-1] if reverse else words), end]])
    encoder, decoder = model.encoder, model.decoder
    zero = torch.zeros(1, 2 * encoder.lstm.num_layers, encoder.lstm.hidden_size)
    _, state = by_the_equations(encoder.lstm, encoder.embedding(read), zero)
    said, _ = by_the_equations(decoder.lstm, decoder.embedding(torch.tensor([target])), state)
    return decoder.softmax(said)[0]


@pytest.mark.parametrize("reverse", [True, False])
def test_equals_a_loop_without_batches_or_padding(reverse):
    model = network(reversed=reverse)
    logits = model(SOURCE, TARGET)
    for row, (source, target) in enumerate(zip(SOURCE, TARGET)):
        source, target = source[source != PAD].tolist(), target[target != PAD].tolist()
        close(logits[row, : len(target)], by_hand(model, source, target, reverse))


def test_equals_torchs_lstms_on_rows_of_one_length():
    model, source = network(), sentences((6, 6, 6), 13)
    halves = []
    for ours in (model.encoder.lstm, model.decoder.lstm):
        other = nn.LSTM(6, 6, 2, batch_first=True)
        other.load_state_dict({name: torch.zeros_like(value) for name, value in other.state_dict().items()})
        other.load_state_dict(ours.state_dict(), strict=False)
        halves.append(other)
    read = torch.cat([source[:, :-1].flip(1), source[:, -1:]], 1)
    _, state = halves[0](model.encoder.embedding(read))
    said, _ = halves[1](model.decoder.embedding(TARGET[:3]), state)
    close(model(source, TARGET[:3]), model.decoder.softmax(said))


@pytest.mark.parametrize("reverse", [True, False])
def test_padding_of_the_source_changes_nothing(reverse):
    model = network(reversed=reverse)
    whole, states = model(SOURCE, TARGET), model.encoder(SOURCE)
    close(model(F.pad(SOURCE, (0, 5), value=PAD), TARGET), whole)
    close(model(SOURCE, F.pad(TARGET, (0, 3), value=PAD))[:, : TARGET.shape[1]], whole)
    for row in range(4):
        alone = SOURCE[row : row + 1, : int(lengths(SOURCE)[row])]
        close(model.encoder(alone), states[row : row + 1])
        close(model(alone, TARGET[row : row + 1]), whole[row : row + 1])


def test_padding_gets_no_gradient_and_neither_does_torchs_second_bias():
    model = network().train()
    real = (TARGET[:, 1:] != PAD)[..., None]
    (model(SOURCE, TARGET[:, :-1]) * real).square().sum().backward()
    assert not model.encoder.embedding.weight.grad[PAD].any()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert not [name for name in model.state_dict() if "bias_hh" in name]


def test_only_the_words_are_turned_round():
    source = torch.tensor([[5, 6, 7, END, PAD], [8, END, PAD, PAD, PAD], [9, 8, 7, 6, END], [END, PAD, PAD, PAD, PAD]])
    turned = [[7, 6, 5, END, PAD], [8, END, PAD, PAD, PAD], [6, 7, 8, 9, END], [END, PAD, PAD, PAD, PAD]]
    assert backwards(source).tolist() == turned
    assert backwards(torch.zeros(2, 3, dtype=torch.int64)).tolist() == [[PAD] * 3] * 2


@given(st.lists(st.lists(st.integers(4, 99), max_size=9), min_size=1, max_size=5))
def test_turned_twice_is_as_it_was(rows):
    size = max(map(len, rows)) + 1
    source = torch.tensor([[*row, END, *[PAD] * (size - 1 - len(row))] for row in rows])
    assert torch.equal(backwards(backwards(source)), source)
    assert [row[: len(words)] for row, words in zip(backwards(source).tolist(), rows)] == [row[::-1] for row in rows]


def test_forward_and_backward_networks_differ_in_the_order_alone():
    back, forth = network(), network(reversed=False)
    close(back(SOURCE, TARGET), forth(backwards(SOURCE), TARGET))
    assert not torch.allclose(back(SOURCE, TARGET), forth(SOURCE, TARGET))


def test_a_later_token_of_the_target_changes_nothing_before_it_and_every_source_word_does():
    model, target = network(), TARGET.clone()
    target[:, 3:] = 5
    close(model(SOURCE, target)[:, :3], model(SOURCE, TARGET)[:, :3])
    for place in range(7):
        other = SOURCE[2:3].clone()
        other[0, place] = 4 + (other[0, place] - 3) % 9
        assert not torch.allclose(model(other, TARGET[2:3])[:, 0], model(SOURCE[2:3], TARGET[2:3])[:, 0], atol=1e-6)


@pytest.mark.parametrize("at_once", [1, 2])
def test_cached_steps_equal_forward_for_several_hypotheses_of_each_source(at_once):
    model, width = network(), 3
    target = sentences((5,) * 12, 9, first=(BEGIN,), seed=4)[:, :6]
    whole = model(SOURCE.repeat_interleave(width, 0), target)
    memory = model.begin(SOURCE, 4 * width)
    for first in range(0, 6, at_once):
        logits, memory = model.step(target[:, first : first + at_once], memory)
        close(logits, whole[:, first + at_once - 1])
    assert memory.length == 6


def test_dropout_falls_where_zaremba_has_it_and_only_in_training():
    model, plain = network(dropout=0.5), network()
    close(model(SOURCE, TARGET), plain(SOURCE, TARGET))
    lost = network(dropout=1.0).train()
    close(lost(SOURCE, TARGET), lost.decoder.bias.expand(4, TARGET.shape[1], 9))


# --------------------------------------------------------------------------------------------------- searching


def log_probability(model, source, tokens):
    scores = model(source, tokens[:, :-1]).log_softmax(-1).gather(2, tokens[:, 1:, None])[..., 0]
    return scores.masked_fill(tokens[:, 1:] == PAD, 0.0).sum(1)


def test_a_beam_that_holds_everything_finds_the_best_of_all_translations():
    model = network(target=6)
    rows = set()
    for text in itertools.product((1, END, 4, 5), repeat=4):
        length = text.index(END) + 1 if END in text else 4
        rows.add((BEGIN, *text[:length], *[PAD] * (4 - length)))
    every = torch.tensor(sorted(rows))
    start = torch.full((4, 1), BEGIN)
    found = beam(model, SOURCE, start, Beam(width=64, best=4, alpha=0.0), Rules(longest=4))
    for row in range(4):
        scores, order = log_probability(model, SOURCE[row : row + 1].expand(len(every), -1), every).sort(
            descending=True
        )
        close(found.scores[row], scores[:4])
        assert torch.equal(found.tokens[row], every[order[:4], : found.tokens.shape[2]])


@pytest.mark.parametrize("width", [1, 2, 12])
def test_the_papers_beams_score_as_the_model_does_and_padding_changes_nothing(width):
    model, start = network(), torch.full((4, 1), BEGIN)
    search, rules = Beam(width, alpha=0.0), Rules(longest=10)
    found = beam(model, SOURCE, start, search, rules)
    close(found.scores[:, 0], log_probability(model, SOURCE, found.tokens[:, 0]))
    padded = beam(model, F.pad(SOURCE, (0, 3)), start, search, rules)
    assert torch.equal(padded.tokens, found.tokens)
    if width == 1:
        greedy = write(model, SOURCE, start, rules)
        assert torch.equal(greedy.tokens, found.tokens)
        close(greedy.scores, found.scores)


def test_what_was_learned_by_heart_is_written():
    torch.manual_seed(0)
    model = Seq2Seq(replace(SMALL, units=32, start=0.2)).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(80):
        loss = F.cross_entropy(model(SOURCE, TARGET[:, :-1]).transpose(1, 2), TARGET[:, 1:], ignore_index=PAD)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1
    start = torch.full((4, 1), BEGIN)
    assert torch.equal(write(model.eval(), SOURCE, start, Rules(longest=10)).tokens[:, 0], TARGET)


def test_where_it_looked_cannot_be_shown():
    with pytest.raises(UserError, match="`transformer`"):
        network().begin(SOURCE, 4, attention=True)


# ------------------------------------------------------------------------------------------------- what is declared


def test_other_data_are_refused_with_advice():
    for kind in ("stream", "labelled", "images"):
        with pytest.raises(UserError, match="`zaremba-small`") as error:
            Config().fitted(replace(PAIRS, kind=kind))
        assert PAIRS.name in str(error.value)


def test_departures_are_said_for_what_is_not_the_papers():
    assert not Config().departures()
    assert [len(replace(Config(), units=8, dropout=dropout).fitted(PAIRS).departures()) for dropout in (0.0, 0.2)] == [
        2,
        3,
    ]
    assert len(replace(Config(), tied=True, reversed=False).departures()) == 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_first_values_are_uniform(variant):
    torch.manual_seed(0)
    config = replace(VARIANTS[variant], source=50, target=50, units=100)
    for name, parameter in Seq2Seq(config).named_parameters():
        assert parameter.abs().max() <= 0.08, name
        if len(parameter.flatten()) > 500:
            assert parameter.std().item() == pytest.approx(0.08 / math.sqrt(3), rel=0.1), name


def test_our_rate_and_clip_make_the_papers_step():
    """For sentences of the mean length, 15 tokens: 6,000 in 400 pairs."""
    recipe = recipes.paper("seq2seq", PAIRS)
    assert recipe.batch == 128 * 15
    source, target = sentences((9,) * 128, 13), sentences((14,) * 128, 9, first=(BEGIN,))
    moved = []
    for summed in (True, False):
        for hard in (1.0, 60.0):  # the second is clipped in both, the first in none
            model = network(start=0.08)
            logits = hard * model(source, target[:, :-1]).transpose(1, 2)
            losses = F.cross_entropy(logits, target[:, 1:], reduction="none")
            (losses.sum() / 128 if summed else losses.mean()).backward()
            clip, rate = (5.0, 0.7) if summed else (recipe.clip, recipe.lr)
            norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
            assert (norm > clip) == (hard == 60.0), norm
            torch.optim.SGD(model.parameters(), rate).step()
            moved.append(model)
    for theirs, ours in zip(moved[:2], moved[2:]):
        for a, b in zip(theirs.parameters(), ours.parameters()):
            close(a, b)


def test_the_rate_is_halved_five_times_in_seven_and_a_half_epochs():
    recipe = recipes.paper("seq2seq", PAIRS)
    in_epoch = 1000
    for half in range(15):
        for place in (1, 499):
            factor = recipe.schedule(half * in_epoch // 2 + place, 15 * in_epoch // 2, ())
            assert factor == 0.5 ** max(0, half - 9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_modern_recipe_is_small_for_small_data_only(variant):
    small, large = (
        recipes.modern(variant, replace(PAIRS, counts={"train": count}, tokens={"train": 15 * count})).adapted(PAIRS)
        for count in (30_000, 3_000_000)
    )
    assert small.model.units < large.model.units == 1000
    assert small.model.reversed == large.model.reversed == (variant == "seq2seq")
    assert (small.model.source, small.model.target) == (321, 123)
    assert len(small.model.departures()) > len(large.model.departures())
