"""Zaremba's language models against their own equations, torch's LSTM, and searches that try everything."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from seminal.core import DataSpec, UserError
from seminal.decode.beam import Beam, beam
from seminal.decode.rules import Rules
from seminal.decode.sampling import Sampling, write
from seminal.papers.zaremba import VARIANTS, Config, LanguageModel, apart, by_the_equations, together
from seminal.pieces.tokens import BEGIN, END, PAD
from seminal.recipes import zaremba as recipes

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = Config(vocabulary=11, units=6, layers=3, start=0.7)
STREAM = DataSpec("a.txt", "stream", {"train": 400, "val": 50}, vocabulary={"text": 321}, longest={"text": 35})


def network(seed=0, **changes):
    torch.manual_seed(seed)
    return LanguageModel(replace(SMALL, **changes)).eval()


def texts(rows=4, tokens=9, vocabulary=11, seed=1):
    return torch.randint(PAD + 1, vocabulary, (rows, tokens), generator=torch.Generator().manual_seed(seed))


def states(rows=4, layers=3, units=6, seed=2):
    return torch.randn(rows, 2 * layers, units, generator=torch.Generator().manual_seed(seed))


def by_hand(model, text, state):
    """Sec. 3.2 and Fig. 2 with the loop over words; both dashed arrows outside of the layers are the model's own draws."""
    said, state = by_the_equations(model.lstm, model.dropout(model.embedding(text)), state)
    return model.softmax(model.dropout(said)), state


def close(a, b, atol=1e-5):
    assert torch.allclose(a, b, rtol=1e-4, atol=atol), (a - b).abs().max()


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_equals_the_equations_with_the_same_units_dropped_and_so_do_the_gradients(layers, dropout):
    model = network(layers=layers, dropout=dropout).train()
    text, state, pull = texts(), states(layers=layers), torch.randn(4, 9, 11)
    found = []
    for way in (model, lambda *given: by_hand(model, *given)):
        torch.manual_seed(5)  # the same luck for D
        logits, after = way(text, state)
        ((logits * pull).sum() + after.square().sum()).backward()
        found.append((logits, after, *(p.grad.clone() for p in model.parameters())))
        model.zero_grad()
    for fast, plain in zip(*found, strict=True):
        close(fast, plain)


def test_equals_torchs_lstm_with_its_two_biases():
    model = network()
    other = nn.LSTM(6, 6, 3, batch_first=True)
    with torch.no_grad():  # torch adds its two biases: ours is their sum
        for layer in range(3):
            for name in ("weight_ih", "weight_hh", "bias_ih"):
                model.lstm.get_parameter(f"{name}_l{layer}").copy_(other.get_parameter(f"{name}_l{layer}"))
            model.lstm.get_parameter(f"bias_ih_l{layer}").add_(other.get_parameter(f"bias_hh_l{layer}"))
    text, state = texts(), states()
    said, (h, c) = other(model.embedding(text), apart(state))
    logits, after = model(text, state)
    close(logits, model.softmax(said))
    close(after, together(h, c))
    assert torch.equal(torch.stack(apart(together(h, c))), torch.stack([h, c]))


def test_the_second_bias_of_torch_stays_zero_whatever_is_done_with_the_network():
    model = network(dropout=0.5).train()
    assert not [name for name in [*model.state_dict(), *dict(model.named_parameters())] if "bias_hh" in name]
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    model(texts())[0].square().mean().backward()
    optimiser.step()
    again = copy.deepcopy(model)
    again.load_state_dict(network(seed=3).state_dict())
    for other in (model, again.double().eval()):
        assert all(not other.lstm.get_buffer(f"bias_hh_l{layer}").any() for layer in range(3))
    close(again.float()(texts())[0], network(seed=3)(texts())[0])


@pytest.mark.parametrize("cuts", [(4,), (1, 2, 8)])
def test_windows_with_a_carried_state_equal_one_long_window(cuts):
    model, text = network(), texts(tokens=12)
    whole, end = model(text)
    parts, state = [], None
    for first, last in itertools.pairwise((0, *cuts, 12)):
        logits, state = model(text[:, first:last], state)
        parts.append(logits)
    close(torch.cat(parts, 1), whole)
    close(state, end)
    close(model(text, torch.zeros(4, 6, 6))[0], whole)


def test_errors_go_back_over_one_window_only_where_the_state_is_cut_off():
    model, text = network(), texts(tokens=6)
    _, state = model(text[:, :3])
    gradients = []
    for carried in (state, state.detach()):
        model.zero_grad()
        model(text[:, 3:], carried)[0].sum().backward(retain_graph=True)
        gradients.append(model.embedding.weight.grad.clone())
    first_only = [token for token in text[:, :3].unique().tolist() if token not in text[:, 3:]]
    assert first_only
    assert gradients[0][first_only].any(-1).all()
    assert not gradients[1][first_only].any()


@pytest.mark.parametrize("at_once", [1, 3])
def test_cached_steps_equal_forward(at_once):
    model, text = network(), texts()
    memory, whole = model.begin(None, 4), model(text)[0]
    for first in range(0, 9, at_once):
        logits, memory = model.step(text[:, first : first + at_once], memory)
        close(logits, whole[:, first + at_once - 1])
    assert memory.length == 9


def test_what_comes_later_beside_or_after_the_end_changes_nothing():
    model, text = network(), texts()
    later, padded = text.clone(), F.pad(text, (0, 4), value=PAD)
    later[:, 6:] = texts(seed=9)[:, 6:]
    whole = model(text)[0]
    close(model(later)[0][:, :6], whole[:, :6])
    assert not torch.allclose(model(later)[0][:, 6:], whole[:, 6:])
    close(model(padded)[0][:, :9], whole)
    close(model(text[2:3])[0], whole[2:3])


def test_with_all_dropped_the_words_are_lost_and_the_memory_is_not():
    model = network(dropout=1.0).train()
    state = states()
    logits, after = model(texts(), state)
    close(logits, model.bias.expand(4, 9, 11))
    for layer, (h, c) in enumerate(zip(*apart(state))):  # each layer on its own, with nothing from below
        alone = nn.LSTM(6, 6, batch_first=True)
        with torch.no_grad():
            for name in ("weight_ih", "weight_hh", "bias_ih"):
                alone.get_parameter(f"{name}_l0").copy_(model.lstm.get_parameter(f"{name}_l{layer}"))
            alone.bias_hh_l0.zero_()
        _, (h, c) = alone(torch.zeros(4, 9, 6), (h[None], c[None]))
        close(after[:, layer], h[0])
        close(after[:, 3 + layer], c[0])


def test_in_evaluation_nothing_is_dropped():
    plain, dropping = network(), network(dropout=0.5)
    close(plain(texts())[0], dropping(texts())[0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_first_values_are_uniform_biases_too(variant):
    torch.manual_seed(0)
    config = replace(VARIANTS[variant], vocabulary=50)
    for name, parameter in LanguageModel(config).named_parameters():
        assert parameter.abs().max() <= config.start, name
        if len(parameter.flatten()) > 500:
            assert parameter.std().item() == pytest.approx(config.start / math.sqrt(3), rel=0.1), name
            assert abs(parameter.mean().item()) < 0.1 * config.start, name


def test_one_matrix_for_both_ends_is_learned_from_both():
    model = network(tied=True)
    kept = model.state_dict()
    assert len({tensor.data_ptr() for tensor in kept.values()}) == len(kept)  # files of weights allow one name for each
    said, logits = model.read(texts())[0], model(texts())[0]
    close(logits, said @ model.embedding.weight.T + model.bias)
    logits.sum().backward()
    assert model.embedding.weight.grad.any(-1).all()  # words that were not read were not said either
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in network().parameters()) - 11 * 6


def log_probability(model, tokens):
    """Of each row of ``tokens`` (n, t) after its first, up to the ending."""
    scores = model(tokens[:, :-1])[0].log_softmax(-1).gather(2, tokens[:, 1:, None])[..., 0]
    ended = (tokens[:, :-1] == END).cumsum(1) > 0
    return scores.masked_fill(ended | (tokens[:, 1:] == PAD), 0.0).sum(1)


def test_greedy_writing_equals_reading_all_anew_at_every_token():
    model, prompt = network(), torch.tensor([[BEGIN, 5, 7], [BEGIN, 9, 4]])
    found = write(model, None, prompt, Rules(longest=12, end=-1)).tokens[:, 0]
    tokens = prompt
    for _ in range(12):
        logits = model(tokens)[0][:, -1]
        logits[:, [PAD, BEGIN]] = -math.inf
        tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], 1)
    assert torch.equal(found, tokens)


def test_a_row_draws_the_same_text_whatever_stands_beside_it():
    model, prompt = network(), torch.tensor([[BEGIN, 5], [BEGIN, 9], [BEGIN, 6]])
    luck = Sampling(temperature=1.3, top_k=7, seed=3)
    together_, alone = (
        write(model, None, given, Rules(longest=9), luck).tokens[0, 0] for given in (prompt, prompt[:1])
    )
    width = min(len(together_), len(alone))
    assert torch.equal(together_[:width], alone[:width])
    assert not together_[width:].any()
    assert not alone[width:].any()


def test_a_beam_that_holds_everything_finds_the_best_of_all_texts():
    model = network(vocabulary=6)
    start = torch.tensor([[BEGIN]])
    rows = set()
    for text in itertools.product((1, END, 4, 5), repeat=4):
        length = text.index(END) + 1 if END in text else 4
        rows.add((BEGIN, *text[:length], *[PAD] * (4 - length)))
    every = torch.tensor(sorted(rows))
    scores, order = log_probability(model, every).sort(descending=True)
    found = beam(model, None, start, Beam(width=64, best=5, alpha=0.0), Rules(longest=4))
    close(found.scores[0], scores[:5])
    assert torch.equal(found.tokens[0], every[order[:5], : found.tokens.shape[2]])


def test_a_beam_of_one_is_greedy_and_its_score_is_that_of_the_model():
    model = network()
    start = torch.tensor([[BEGIN], [BEGIN]])
    found, greedy = beam(model, None, start, Beam(1, alpha=0.0), Rules(longest=8)), write(model, None, start, Rules(8))
    assert torch.equal(found.tokens, greedy.tokens)
    close(found.scores, greedy.scores)
    close(found.scores[:, 0], log_probability(model, found.tokens[:, 0]))


@pytest.mark.parametrize("kind", ["pairs", "labelled", "images"])
def test_other_data_are_refused_with_advice(kind):
    with pytest.raises(UserError, match="`seq2seq`") as error:
        Config().fitted(replace(STREAM, kind=kind))
    assert STREAM.name in str(error.value)


def test_departures_are_said_for_what_is_not_the_papers():
    fitted = VARIANTS["zaremba-medium"].fitted(STREAM)
    assert fitted.vocabulary == 321
    assert len(fitted.departures()) == 1
    assert len(replace(fitted, tied=True).departures()) == 2
    assert len(replace(fitted, tied=True, dropout=0.1).departures()) == 3


@pytest.mark.parametrize("variant", VARIANTS)
def test_our_rate_and_clip_make_the_papers_step(variant):
    recipe, window = recipes.paper(variant, STREAM), VARIANTS[variant].unroll
    assert recipes.reading(variant).longest == window
    text = texts(rows=20, tokens=window + 1)
    moved = []
    for summed in (True, False):
        for hard in (1.0, 40.0):  # the second is clipped in both, the first in none
            model = network(units=8, start=0.1)
            logits, _ = model(text[:, :-1])
            losses = F.cross_entropy(hard * logits.transpose(1, 2), text[:, 1:], reduction="none")
            (losses.sum(1).mean() if summed else losses.mean()).backward()
            clip, rate = (recipes.CLIP[variant], 1.0) if summed else (recipe.clip, recipe.lr)
            norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
            assert (norm > clip) == (hard == 40.0), norm
            torch.optim.SGD(model.parameters(), rate).step()
            moved.append(model)
    for theirs, ours in zip(moved[:2], moved[2:]):
        for a, b in zip(theirs.parameters(), ours.parameters()):
            close(a, b)


@pytest.mark.parametrize(("variant", "constant", "divisor"), [(v, *recipes.EPOCHS[v][1:]) for v in VARIANTS])
def test_the_rate_falls_after_each_epoch(variant, constant, divisor):
    recipe = recipes.paper(variant, STREAM)
    in_epoch = 1327
    for epoch in range(recipe.epochs):
        for place in (1, in_epoch // 2, in_epoch - 1):
            factor = recipe.schedule(epoch * in_epoch + place, recipe.epochs * in_epoch, ())
            assert factor == pytest.approx(divisor ** -max(0, epoch - constant + 1))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_modern_recipe_fits_the_data_and_says_what_differs(variant):
    recipe = recipes.modern(variant, STREAM).adapted(STREAM)
    assert recipe.model.vocabulary == 321
    assert recipe.model.tied
    assert recipe.model.dropout >= 0.5
    assert len(recipe.model.departures()) >= 2
