"""Luong's attention against the equations of the paper, written out for one sentence at a time, with torch's LSTM cells."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from seminal.core import DataSpec, UserError
from seminal.papers import luong
from seminal.papers.luong import AttentionalLSTM, Config, lstm
from seminal.pieces.attention import general
from seminal.pieces.tokens import BEGIN, END, PAD
from seminal.recipes import luong as recipes
from translators import (
    PAIRS,
    drops_in_training_only,
    half_precision_agrees,
    learned_by_heart,
    padding_changes_nothing,
    reads_no_later_word,
    search_gives_what_forward_says,
    sharpened,
    steps_equal_forward,
    unpadded,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {
    name: replace(row, source=23, target=19, width=5, layers=2, reach=2, longest=4)
    for name, row in luong.VARIANTS.items()
}


def network(config: Config, seed: int = 0, spread: float = 0.7) -> AttentionalLSTM:
    torch.manual_seed(seed)
    return sharpened(AttentionalLSTM(config), spread)


def sentences():
    """Three rows of unlike lengths on both sides; the third writes far beyond the window around its two words."""
    source = torch.tensor([[5, 9, 21, 7, 13, 3], [8, 4, END, PAD, PAD, PAD], [11, END, PAD, PAD, PAD, PAD]])
    target = torch.tensor([[BEGIN, 6, 18, 5, 9, 4], [BEGIN, 7, 7, 16, PAD, PAD], [BEGIN, 12, 5, 5, 6, 8]])
    return source, target


def encoded(model: AttentionalLSTM, source: list[int]):
    """h̄_1 … h̄_S of one sentence, read backwards with torch's cells, and the last state of each layer."""
    n, peer = model.config.width, model.encoder
    rows, last = [model.source_words.weight[word] for word in reversed(source)], []
    for i in range(model.config.layers):
        cell = nn.LSTMCell(len(rows[0]), n).double()
        names = "weight_ih", "weight_hh", "bias_ih", "bias_hh"
        cell.load_state_dict({name: getattr(peer, f"{name}_l{i}") for name in names})
        state = torch.zeros(1, n).double(), torch.zeros(1, n).double()
        above = []
        for row in rows:
            state = cell(row[None], state)
            above.append(state[0][0])
        rows = above
        last.append((state[0][0], state[1][0]))
    return rows[::-1], last


def score_of(model: AttentionalLSTM, h, other) -> torch.Tensor:
    a = model.attention
    if model.config.score == "dot":
        return h @ other
    if model.config.score == "general":
        return h @ a.of_source.weight @ other
    whole = torch.cat([a.of_state.weight, a.of_source.weight], dim=1)  # W_a
    return a.weight @ torch.tanh(whole @ torch.cat([h, other]))


def looked(model: AttentionalLSTM, h, states: list, time: int):
    """a_t over all places of one sentence."""
    config, a = model.config, model.attention
    center, scope = 0.0, config.scope
    if scope == "local-m":
        center = float(time)
    if scope == "local-p":
        center = len(states) * float(torch.sigmoid(a.outer.weight @ torch.tanh(a.inner.weight @ h)))
    places = [s for s in range(1, len(states) + 1) if scope == "global" or abs(s - center) <= config.reach]
    if config.score == "location":
        places = [s for s in places if s <= config.longest]
        scores = {s: (a.location.weight @ h)[s - 1] for s in places}
    else:
        scores = {s: score_of(model, h, states[s - 1]) for s in places}
    total = sum(score.exp() for score in scores.values())
    weights = torch.zeros(len(states)).double()
    for s in places:
        bell = math.exp(-((s - center) ** 2) / (2 * (config.reach / 2) ** 2)) if scope == "local-p" else 1.0
        weights[s - 1] = scores[s].exp() / total * bell
    return weights


def naive(model: AttentionalLSTM, source: list[int], target: list[int]):
    """Logits (T, V) and weights (T, S) of one sentence, word by word."""
    states, last = encoded(model, source)
    fed, logits, maps = torch.zeros(model.config.width).double(), [], []
    for time, word in enumerate(target, 1):
        below = torch.cat([model.words.weight[word], fed])
        for i, layer in enumerate([model.first, *model.above]):
            enter, keep, leave, proposal = layer(torch.cat([below, last[i][0]])).chunk(4)
            c = torch.sigmoid(keep) * last[i][1] + torch.sigmoid(enter) * torch.tanh(proposal)
            below = torch.sigmoid(leave) * torch.tanh(c)
            last[i] = below, c
        weights = looked(model, below, states, time)
        context = sum(weight * h for weight, h in zip(weights, states))
        fed = torch.tanh(model.combine.weight @ torch.cat([context, below]))
        logits.append(model.output.weight @ fed)
        maps.append(weights)
    return torch.stack(logits), torch.stack(maps)


@pytest.mark.parametrize("form", SMALL)
def test_equals_the_equations_written_out(form):
    model, (source, target) = network(SMALL[form]), sentences()
    with torch.no_grad():
        logits = model(source, target)
        memory, maps = model.begin(source, 3, attention=True), []
        for i in range(target.shape[1]):
            _, memory = model.step(target[:, i : i + 1], memory)
            maps.append(memory.moving["attention"])
        found = torch.stack(maps, dim=1)
        for i, reads, says in unpadded(source, target):
            expected, weights = naive(model, reads, says)
            assert logits[i, : len(says)].allclose(expected, atol=1e-10)
            assert found[i, : len(says), : len(reads)].allclose(weights, atol=1e-10)
    assert not found[(source == PAD)[:, None].expand_as(found)].any()
    total = found.sum(-1)
    if SMALL[form].scope == "global":
        assert total.allclose(torch.ones_like(total))
    elif SMALL[form].scope == "local-m":  # a window beyond the last word is empty
        assert ((total - 1).abs() < 1e-9).logical_or(total == 0).all()
        assert (total == 0).any()
    else:
        assert (total < 1).all()


def test_the_product_with_the_keys_is_that_of_the_paper():
    model, (source, _) = network(SMALL["luong-general"]), sentences()
    with torch.no_grad():
        read, _ = model.read(source)
        h = torch.randn(3, 1, 5).double()
        found = model.attention.scores(h, read["keys"])
        assert found.allclose(general(h, read["states"], model.attention.of_source.weight), atol=1e-12)


def test_cell_is_that_of_torch():
    cell = nn.LSTMCell(4, 6).double()
    x, h, c = torch.randn(3, 4).double(), torch.randn(3, 6).double(), torch.randn(3, 6).double()
    gates = F.linear(x, cell.weight_ih, cell.bias_ih) + F.linear(h, cell.weight_hh, cell.bias_hh)
    enter, keep, proposal, leave = gates.chunk(4, dim=-1)  # torch's order
    ours, theirs = lstm(torch.cat([enter, keep, leave, proposal], dim=-1), c), cell(x, (h, c))
    assert all(a.allclose(b, atol=1e-12) for a, b in zip(ours, theirs))


@pytest.mark.parametrize("form", SMALL)
def test_padding_changes_nothing(form):
    assert padding_changes_nothing(network(SMALL[form]), *sentences())


@pytest.mark.parametrize("form", ["luong-general", "luong-local-p"])
def test_a_later_word_changes_nothing_before_it(form):
    assert reads_no_later_word(network(SMALL[form]), *sentences())


@pytest.mark.parametrize("form", SMALL)
@pytest.mark.parametrize("parts", [(1,) * 6, (3, 1, 2)])
def test_steps_equal_forward_for_all_beams(form, parts):
    assert steps_equal_forward(network(SMALL[form]), *sentences(), parts)


def test_what_was_looked_at_is_fed_to_the_next_step():
    model, (source, target) = network(SMALL["luong-dot"]), sentences()
    memory = model.begin(source, 3)
    _, memory = model.step(target[:, :1], memory)
    before = memory.moving["fed"].clone()
    one, _ = model.step(target[:, 1:2], memory)
    memory.moving["fed"].zero_()
    two, _ = model.step(target[:, 1:2], memory)
    assert before.any()
    assert not one.allclose(two)


@pytest.mark.parametrize("form", ["luong-concat", "luong-local-p", "luong-local-m"])
def test_search_gives_what_forward_says(form):
    search_gives_what_forward_says(network(SMALL[form]).float(), sentences()[0])


@pytest.mark.parametrize("form", SMALL)
def test_gradient_reaches_every_parameter(form):
    """Windows that hold no word, as here on the third row of local-m, must not make a NaN."""
    torch.manual_seed(0)
    model, (source, target) = AttentionalLSTM(SMALL[form]), sentences()
    logits = model(source, target)
    (logits * torch.randn_like(logits)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_gradient_of_the_predicted_place_is_that_of_differences():
    model, (source, target) = network(SMALL["luong-local-p"], spread=0.3), sentences()
    weight = model.attention.outer.weight
    loss = model(source, target).square().sum()
    (gradient,) = torch.autograd.grad(loss, weight)
    direction, small = torch.randn_like(weight), 1e-6
    ends = []
    with torch.no_grad():
        for sign in (1, -1):
            weight += sign * small * direction
            ends.append(float(model(source, target).square().sum()))
            weight -= sign * small * direction
    slope = (ends[0] - ends[1]) / (2 * small)
    assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-4)


@pytest.mark.parametrize("form", ["luong-general", "luong-local-p"])
def test_a_batch_is_learned_by_heart(form):
    torch.manual_seed(0)
    config = replace(SMALL[form], source=14, target=14, width=24, layers=1, dropout=0.0)
    assert learned_by_heart(AttentionalLSTM(config), steps=100)


def test_half_precision_agrees():
    assert half_precision_agrees(network(SMALL["luong-general"], spread=0.3).float(), *sentences())


def test_dropout_acts_in_training_only():
    assert drops_in_training_only(network(SMALL["luong-dot"]), *sentences())


def test_fitted_takes_pairs_only():
    config = luong.VARIANTS["luong-location"].fitted(PAIRS)
    assert (config.source, config.target, config.longest) == (8_000, 7_000, 60)
    assert not any(row.departures() for row in luong.VARIANTS.values())
    with pytest.raises(UserError, match="`gpt`"):
        config.fitted(DataSpec("book.txt", "stream", {"train": 10}))


def test_recipes_fit_the_data():
    paper, modern = (make("luong-dot", PAIRS).adapted(PAIRS) for make in (recipes.paper, recipes.modern))
    length = 450_000 / 29_000
    assert paper.batch == round(128 * length)
    assert paper.lr * paper.clip == pytest.approx(5.0)  # the longest step of the paper
    rates = [paper.schedule(step, 1200, ()) for step in range(0, 1200, 100)]
    assert rates == [1.0] * 8 + [0.5, 0.25, 0.125, 0.0625]
    assert len(modern.model.departures()) == 3
    assert (modern.model.width, modern.model.layers, modern.batch) == (256, 1, 1536)
    assert recipes.modern("luong-dot", replace(PAIRS, counts={"train": 4_500_000})).model.layers == 4
