"""RNNsearch against the equations of its appendix, written out for one sentence at a time, and against torch's GRU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from seminal.core import DataSpec, UserError
from seminal.papers import bahdanau
from seminal.papers.bahdanau import Config, GatedUnits, RNNSearch
from seminal.pieces.tokens import BEGIN, END, PAD
from seminal.recipes import bahdanau as recipes
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

SEARCH = Config(source=23, target=19, embedding=6, width=5, alignment=7, maxout=4)
FORMS = {"bahdanau": SEARCH, "rnnencdec": replace(SEARCH, attention=False)}


def network(config: Config, seed: int = 0, spread: float = 0.7) -> RNNSearch:
    torch.manual_seed(seed)
    return sharpened(RNNSearch(config), spread)


def sentences():
    """Two rows of unlike lengths on both sides."""
    source = torch.tensor([[5, 9, 21, 7, END], [8, 4, END, PAD, PAD], [11, END, PAD, PAD, PAD]])
    target = torch.tensor([[BEGIN, 6, 18, 5, 9, 4], [BEGIN, 7, 7, 16, PAD, PAD], [BEGIN, 12, PAD, PAD, PAD, PAD]])
    return source, target


def state_of(units: GatedUnits, given, before):
    """The last equations of A.2.1: ``given`` is what W, W_z and W_r (and C, C_z, C_r) make, with the biases."""
    u_z, u_r = units.gates.weight.chunk(2)
    from_z, from_r, from_proposal = given.chunk(3)
    z = torch.sigmoid(from_z + u_z @ before)
    r = torch.sigmoid(from_r + u_r @ before)
    proposal = torch.tanh(from_proposal + units.proposal.weight @ (r * before))
    return (1 - z) * before + z * proposal


def naive(model: RNNSearch, source: list[int], target: list[int]):
    """Logits (T, V) and weights (T, S) of one sentence, word by word."""
    n, encoder = model.config.width, model.encoder
    after, before, state = [], [], torch.zeros(n).double()
    for word in source:
        state = state_of(encoder.forwards, encoder.forwards.inside(encoder.words.weight[word]), state)
        after.append(state)
    annotations, first = [after[-1]], after[-1]
    if model.alignment is not None:
        state = torch.zeros(n).double()
        for word in reversed(source):
            state = state_of(encoder.backwards, encoder.backwards.inside(encoder.words.weight[word]), state)
            before.insert(0, state)
        annotations, first = [torch.cat(both) for both in zip(after, before)], before[0]
    state, logits, maps = torch.tanh(model.start.weight @ first + model.start.bias), [], []
    for word in target:
        y = model.words.weight[word]
        scores = torch.zeros(1).double()
        if model.alignment is not None:
            a = model.alignment
            scores = torch.stack(
                [a.weight @ torch.tanh(a.queries.weight @ state + a.keys.weight @ h) for h in annotations]
            )
        share = scores.exp() / scores.exp().sum()
        c = sum(weight * h for weight, h in zip(share, annotations))
        told = model.readout.weight @ torch.cat([state, y, c]) + model.readout.bias
        t = torch.stack([max(told[2 * j], told[2 * j + 1]) for j in range(model.config.maxout)])
        logits.append(model.output.weight @ t + model.output.bias)
        maps.append(share)
        state = state_of(model.units, model.units.inside(y) + model.context.weight @ c, state)
    return torch.stack(logits), torch.stack(maps)


@pytest.mark.parametrize("form", FORMS)
def test_equals_the_equations_written_out(form):
    model, (source, target) = network(FORMS[form]), sentences()
    with torch.no_grad():
        logits = model(source, target)
        for i, reads, says in unpadded(source, target):
            expected, _ = naive(model, reads, says)
            assert logits[i, : len(says)].allclose(expected, atol=1e-10)


def test_gated_units_with_open_reset_gates_are_those_of_torch():
    """r = 1 is the only case in which both forms of the unit agree; torch's update gate is 1 − z."""
    units, peer = GatedUnits(4, 6).double(), nn.GRU(4, 6).double()
    with torch.no_grad():
        units.inside.bias.normal_()
        units.inside.bias[6:12] = 50.0
        u_z, u_r = units.gates.weight.chunk(2)
        w_z, w_r, w = units.inside.weight.chunk(3)
        b_z, b_r, b = units.inside.bias.chunk(3)
        peer.weight_ih_l0.copy_(torch.cat([w_r, -w_z, w]))
        peer.weight_hh_l0.copy_(torch.cat([u_r, -u_z, units.proposal.weight]))
        peer.bias_ih_l0.copy_(torch.cat([b_r, -b_z, b]))
        peer.bias_hh_l0.zero_()
        x = torch.randn(7, 3, 4).double()
        assert units(x).allclose(peer(x)[0], atol=1e-12)
        units.inside.bias[6:12] = peer.bias_ih_l0[:6] = 0.0
        assert not units(x).allclose(peer(x)[0], atol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_padding_changes_nothing(form):
    assert padding_changes_nothing(network(FORMS[form]), *sentences())


@pytest.mark.parametrize("form", FORMS)
def test_a_later_word_changes_nothing_before_it(form):
    assert reads_no_later_word(network(FORMS[form]), *sentences())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("parts", [(1,) * 6, (3, 1, 2)])
def test_steps_equal_forward_for_all_beams(form, parts):
    assert steps_equal_forward(network(FORMS[form]), *sentences(), parts)


def test_attention_is_that_of_the_equations_and_vanishes_on_padding():
    model, (source, target) = network(SEARCH), sentences()
    maps = []
    with torch.no_grad():
        model.alignment.weight *= 4  # sharper still
        memory = model.begin(source, 3, attention=True)
        for i in range(target.shape[1]):
            _, memory = model.step(target[:, i : i + 1], memory)
            maps.append(memory.moving["attention"])
        found = torch.stack(maps, dim=1)
        assert found.sum(-1).allclose(torch.ones(3, 6).double())
        assert not found[(source == PAD)[:, None].expand_as(found)].any()
        for i, reads, says in unpadded(source, target):
            _, expected = naive(model, reads, says)
            assert found[i, : len(says), : len(reads)].allclose(expected, atol=1e-10)
    assert found.max() > 0.6, "the test says little where attention is flat"


def test_the_baseline_looks_nowhere():
    model, (source, target) = network(FORMS["rnnencdec"]), sentences()
    memory = model.begin(source, 6, attention=True)
    _, memory = model.step(target[:, :1].repeat_interleave(2, 0), memory)
    assert not memory.moving["attention"].any()


@pytest.mark.parametrize("form", FORMS)
def test_search_gives_what_forward_says(form):
    search_gives_what_forward_says(network(FORMS[form]).float(), sentences()[0])


@pytest.mark.parametrize("form", FORMS)
def test_gradient_reaches_every_parameter(form):
    """v_a starts at 0, so W_a and U_a learn from the second step on."""
    torch.manual_seed(0)
    model, (source, target) = RNNSearch(FORMS[form]), sentences()
    reached = set()
    for _ in range(2):
        model.zero_grad()
        logits = model(source, target)
        (logits * torch.randn_like(logits)).sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            reached |= {name} if parameter.grad.any() else set()
            parameter.data -= 0.1 * parameter.grad
    assert reached == {name for name, _ in model.named_parameters()}


def test_a_batch_is_learned_by_heart():
    torch.manual_seed(0)
    config = Config(source=14, target=14, embedding=24, width=24, alignment=24, maxout=24)
    assert learned_by_heart(RNNSearch(config), steps=60)


def test_half_precision_agrees():
    assert half_precision_agrees(network(SEARCH, spread=0.3).float(), *sentences())


def test_dropout_acts_in_training_only():
    assert drops_in_training_only(network(replace(SEARCH, dropout=0.5)), *sentences())


def test_fitted_takes_pairs_only():
    config = bahdanau.VARIANTS["bahdanau"].fitted(PAIRS)
    assert (config.source, config.target) == (8_000, 7_000)
    assert len(config.departures()) == 1
    assert not any(row.departures() for row in bahdanau.VARIANTS.values())
    with pytest.raises(UserError, match="`lstm`"):
        config.fitted(DataSpec("reviews.tsv", "labelled", {"train": 10}))


@pytest.mark.parametrize("variant", bahdanau.VARIANTS)
def test_recipes_fit_the_data(variant):
    paper, modern = (make(variant, PAIRS).adapted(PAIRS) for make in (recipes.paper, recipes.modern))
    assert paper.batch == round(80 * 450_000 / 29_000)
    assert modern.model.width == 256
    assert modern.batch == 1536
    assert len(modern.model.departures()) == 3
    assert recipes.reading(variant).shared
    large = recipes.modern(variant, replace(PAIRS, counts={"train": 4_500_000}))
    assert large.model.width == 1000
