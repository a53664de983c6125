"""GPT and GPT-2 against the formula written out, and against themselves token by token."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from peers import shaken
from seminal.core import DataSpec, UserError
from seminal.decode.beam import Beam, beam
from seminal.decode.rules import Rules
from seminal.decode.sampling import write
from seminal.papers import gpt, gpt2
from seminal.pieces import masks
from seminal.pieces.attention import attend, scaled_dot
from seminal.pieces.tokens import PAD
from seminal.recipes import gpt as gpt_recipes
from seminal.recipes import gpt2 as gpt2_recipes

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = replace(gpt.BASE, vocabulary=23, layers=2, width=24, inner=40, heads=3, longest=80)
SMALL_2 = replace(gpt2.BASE, vocabulary=23, layers=2, width=24, heads=3, longest=80)
KINDS = [pytest.param(gpt.GPT, SMALL, id="gpt"), pytest.param(gpt2.build, SMALL_2, id="gpt2")]


def born(build, config, seed=0):
    """A network in which biases and normalisations count, and so does every place."""
    torch.manual_seed(seed)
    return shaken(build(config), seed, spread=0.3)


def tokens(rows, count, seed=1):
    return torch.randint(PAD + 1, SMALL.vocabulary, (rows, count), generator=torch.Generator().manual_seed(seed))


def stream(vocabulary=300, window=64, rows=100):
    return DataSpec(
        "book.txt", "stream", {"train": rows, "val": 10}, vocabulary={"text": vocabulary}, longest={"text": window},
        tokens={"train": rows * window, "val": 10 * window},
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- the formula


def written_out(model, text):
    """Eq. 2, one head at a time, with every mask and every normalisation in sight."""
    config = model.config
    x = model.tokens.weight[text] + model.positions.weight[: text.shape[1]]
    seen = masks.causal(text.shape[1])

    def heads(layer, h):
        key = config.width // config.heads
        queries, keys, values = (h @ layer.attention.inside.weight.T + layer.attention.inside.bias).chunk(3, dim=-1)
        parts = [slice(i * key, (i + 1) * key) for i in range(config.heads)]
        found = [attend(scaled_dot(queries[..., p], keys[..., p]), values[..., p], seen)[0] for p in parts]
        return torch.cat(found, dim=-1) @ layer.attention.outside.weight.T + layer.attention.outside.bias

    def feed_forward(layer, h):
        z = h @ layer.inner.weight.T + layer.inner.bias
        z = 0.5 * z * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
        return z @ layer.outer.weight.T + layer.outer.bias

    def normed(norm, h):
        centred = h - h.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias

    for layer in model.layers:
        first, second = layer.after_attention.norm, layer.after_feed_forward.norm
        if config.norm == "pre":
            x = x + heads(layer, normed(first, x))
            x = x + feed_forward(layer, normed(second, x))
        else:
            x = normed(first, x + heads(layer, x))
            x = normed(second, x + feed_forward(layer, x))
    x = normed(model.norm, x) if config.norm == "pre" else x
    return x @ model.tokens.weight.T


@pytest.mark.parametrize(("build", "config"), KINDS)
def test_the_network_is_the_formula(build, config):
    model, text = born(build, config), tokens(3, 17)
    with torch.no_grad():
        torch.testing.assert_close(model(text), written_out(model, text), rtol=1e-5, atol=1e-5)


def test_the_tanh_form_is_as_near_to_gelu_as_said():
    x = torch.linspace(-8, 8, 100_001, dtype=torch.float64)
    far = (F.gelu(x, approximate="tanh") - F.gelu(x)).abs().max()
    assert 4e-4 < far < 5e-4


@pytest.mark.parametrize(("build", "config"), KINDS)
def test_gradients_reach_every_parameter(build, config):
    config = replace(config, longest=17)  # so that every place is read
    model, text = build(config).train(), tokens(3, 17)
    logits = model(text)
    (logits * torch.randn_like(logits)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        rows = parameter.grad.flatten(1) if parameter.dim() == 2 else parameter.grad[:, None]
        if name != "tokens.weight" and not name.endswith("inside.bias"):  # a shift of all keys changes no share
            assert rows.any(1).all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize(("build", "config"), KINDS)
def test_each_dropout_is_drawn_in_training_and_in_training_only(build, config):
    text = tokens(2, 9)
    for field in ("dropout", "attention_dropout"):
        none = replace(config, dropout=0.0, attention_dropout=0.0)
        model = born(build, replace(none, **{field: 0.5}))
        with torch.no_grad():
            assert not torch.equal(model.train()(text), model(text)), field
            assert torch.equal(model.eval()(text), model(text)), field
            sure = born(build, none).train()
            torch.testing.assert_close(sure(text), model(text), rtol=1e-5, atol=1e-5)


def test_dropped_shares_of_attention_keep_their_mean():
    torch.manual_seed(0)
    layer = gpt.Layer(replace(SMALL, dropout=0.0, attention_dropout=0.3))
    x = torch.randn(1, 6, SMALL.width).expand(20_000, -1, -1)
    with torch.no_grad():
        drawn, sure = layer.train().attend(x).mean(0), layer.eval().attend(x[:1])[0]
    torch.testing.assert_close(drawn, sure, rtol=0, atol=0.02 * float(sure.abs().max()) + 2e-3)


def test_first_values_of_gpt2_shrink_with_depth():
    for layers in (1, 8):
        torch.manual_seed(0)
        model = gpt2.build(replace(gpt2.BASE, vocabulary=50, layers=layers, width=128, heads=2))
        for last in gpt2.joining(model):
            assert last.weight.std().item() == pytest.approx(0.02 / math.sqrt(2 * layers), rel=0.05)
        assert model.layers[0].inner.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert len(gpt2.joining(model)) == 2 * layers


# ------------------------------------------------------------------------------------------------- past and future


@pytest.mark.parametrize(("build", "config"), KINDS)
@settings(max_examples=15, deadline=None)
@given(place=st.integers(1, 11), other=st.integers(0, 22))
def test_a_future_token_never_changes_an_earlier_output(build, config, place, other):
    model, text = born(build, config), tokens(2, 12)
    changed = text.clone()
    changed[:, place] = other
    with torch.no_grad():
        torch.testing.assert_close(model(changed)[:, :place], model(text)[:, :place], rtol=0, atol=0)


@pytest.mark.parametrize(("build", "config"), KINDS)
def test_padding_never_changes_a_result(build, config):
    model, text = born(build, config), tokens(2, 12)
    padded = F.pad(text, (0, 7), value=PAD)
    with torch.no_grad():
        torch.testing.assert_close(model(padded)[:, :12], model(text), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("build", "config"), KINDS)
@pytest.mark.parametrize("portions", [(1,) * 70, (7, 1, 40, 2, 20), (70,), (33, 37)])
def test_cached_steps_equal_forward(build, config, portions):
    """Through several growths of the memory, tokens one by one and several at once."""
    model, text = born(build, config), tokens(3, sum(portions))
    with torch.no_grad():
        whole, memory, place = model(text), model.begin(None, 3), 0
        for count in portions:
            logits, memory = model.step(text[:, place : place + count], memory)
            place += count
            torch.testing.assert_close(logits, whole[:, place - 1], rtol=1e-5, atol=1e-5)
            assert memory.length == place


@pytest.mark.parametrize(("build", "config"), KINDS)
def test_the_memory_follows_its_hypotheses(build, config):
    model, text = born(build, config), tokens(3, 6)
    rows = torch.tensor([2, 0, 0])
    with torch.no_grad():
        _, memory = model.step(text, model.begin(None, 3))
        logits, _ = model.step(tokens(3, 1, seed=2), memory.chosen(rows))
        whole = model(torch.cat([text[rows], tokens(3, 1, seed=2)], dim=1))[:, -1]
    torch.testing.assert_close(logits, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("build", "config"), KINDS)
def test_greedy_writing_equals_forward_again_and_again(build, config):
    model, text = born(build, config), tokens(2, 5)
    rules = Rules(longest=20, end=-1)
    found = write(model, None, text, rules).tokens[:, 0]
    narrow = beam(model, None, text[:, :1], Beam(width=1, alpha=0.0), rules).tokens[:, 0]
    for given_first, written in ((text, found), (text[:, :1], narrow)):
        with torch.no_grad():
            for _ in range(written.shape[1] - given_first.shape[1]):
                logits = model(given_first)[:, -1]
                logits[:, [PAD, 2]] = -math.inf  # filling and `<s>` are never written
                given_first = torch.cat([given_first, logits.argmax(-1, keepdim=True)], dim=1)
        assert torch.equal(written, given_first)


# ------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(("build", "config"), KINDS)
def test_more_tokens_than_positions_are_refused(build, config):
    model = build(replace(config, longest=10)).eval()
    with torch.no_grad():
        assert model(tokens(1, 10)).shape == (1, 10, 23)
        with pytest.raises(UserError, match="text of 11 tokens is longer than the 10 places"):
            model(tokens(1, 11))
        _, memory = model.step(tokens(1, 10), model.begin(None, 1))
        with pytest.raises(UserError, match="text of 11 tokens"):
            model.step(tokens(1, 1), memory)


@pytest.mark.parametrize("config", [gpt.BASE, gpt2.BASE], ids=["gpt", "gpt2"])
def test_only_texts_that_fit_are_read(config):
    assert config.fitted(stream(vocabulary=77)).vocabulary == 77
    assert config.fitted(stream(window=config.longest)).longest == config.longest
    with pytest.raises(UserError, match=f"--max-length {config.longest}"):
        config.fitted(stream(window=config.longest + 1))
    for kind, instead in (("pairs", "`transformer`"), ("tagged", "`bert`")):
        with pytest.raises(UserError, match=instead):
            config.fitted(replace(stream(), kind=kind))


# ------------------------------------------------------------------------------------------------- recipes


@pytest.mark.parametrize("recipes", [gpt_recipes, gpt2_recipes], ids=["gpt", "gpt2"])
def test_recipes_say_all_that_they_change(recipes):
    (variant, printed), *_ = recipes.VARIANTS.items()
    reading = recipes.reading(variant)
    assert (reading.form, reading.carried) == ("stream", False)
    book = stream(vocabulary=8000, window=256, rows=1000)
    small = recipes.modern(variant, book).adapted(book)
    assert (small.model.width, small.model.longest) == (128, 256)
    assert len(small.model.departures()) == 3
    huge = stream(vocabulary=printed.vocabulary, window=printed.longest, rows=10_000_000)
    assert recipes.modern(variant, huge).adapted(huge).model == printed
    of_paper = recipes.paper(variant, huge).adapted(huge)
    assert of_paper.model == printed
    assert len(of_paper.departures) == (0 if variant == "gpt" else 1)  # GPT-2's paper is silent about its training
    assert len(recipes.paper(variant, stream()).departures) == len(of_paper.departures) + 1  # shorter windows
    steps = of_paper.epochs * (huge.counts["train"] // of_paper.batch)
    factors = [of_paper.schedule(step, steps, ()) for step in (999, 1999, steps // 2, steps - 1)]
    assert factors == pytest.approx([0.5, 1.0, 0.5, 0.0], abs=1e-3)
    few = recipes.paper(variant, stream(rows=20))  # 100 steps
    assert max(range(100), key=lambda step: few.schedule(step, 100, ())) in (49, 50)
