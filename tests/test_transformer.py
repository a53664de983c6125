"""The Transformer: against loops over heads and places, against itself with a cache, and by what masks promise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from peers import relative
from seminal.core import DataSpec, UserError
from seminal.papers import transformer_encoder
from seminal.papers.transformer import BASE, VARIANTS, MultiHeadAttention, Transformer, rate
from seminal.pieces import masks, next_token
from seminal.pieces.attention import additive, attend, dot, general, rectified, scaled_dot
from seminal.pieces.positions import sinusoids
from seminal.pieces.tokens import PAD
from seminal.recipes.transformer import paper
from seminal.recipes.transformer_encoder import modern
from seminal.runs.asks import RecipeAsk
from seminal.runs.changes import changed
from texts import text_spec

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = replace(BASE, vocabulary=40, layers=2, width=24, inner=48, heads=3, key=5, dropout=0.0)


def tokens(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(4, 40, (rows, length), generator=torch.Generator().manual_seed(seed))


def model(config=SMALL, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(config).eval()


# ---------------------------------------------------------------------------------------------------------- attention


def naive(queries, keys, values, mask=None):
    """Eq. 1, number by number."""
    out = torch.zeros(len(queries), values.shape[1])
    for i in range(len(queries)):
        seen = [j for j in range(len(keys)) if mask is None or mask[i, j]]
        scores = [
            sum(queries[i, c] * keys[j, c] for c in range(keys.shape[1])) / math.sqrt(keys.shape[1]) for j in seen
        ]
        top = max(scores)
        shares = [math.exp(s - top) for s in scores]
        for share, j in zip(shares, seen):
            out[i] += share / sum(shares) * values[j]
    return out


def test_attention_equals_the_loop_and_torchs_kernel():
    torch.manual_seed(0)
    q, k, v = torch.randn(4, 6), torch.randn(5, 6), torch.randn(5, 3)
    mask = torch.rand(4, 5) > 0.3
    mask[:, 0] = True
    out, weights = attend(scaled_dot(q, k), v, mask)
    assert relative(out, naive(q, k, v, mask)) < 1e-6
    assert relative(out, F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask[None])[0]) < 1e-5
    assert torch.allclose(weights.sum(1), torch.ones(4))
    assert (weights[~mask] == 0).all()


def test_the_family_of_scores():
    torch.manual_seed(0)
    q, k, w, u = torch.randn(2, 3, 4), torch.randn(2, 5, 6), torch.randn(4, 6), torch.randn(6)
    for b in range(2):
        for i in range(3):
            for j in range(5):
                assert float(general(q, k, w)[b, i, j]) == pytest.approx(
                    float(q[b, i] @ w @ k[b, j]), rel=1e-4, abs=1e-5
                )
    q = torch.randn(2, 3, 6)
    assert relative(dot(q, k)[1, 2, 3], q[1, 2] @ k[1, 3]) < 1e-5
    assert relative(scaled_dot(q, k), dot(q, k) / math.sqrt(6)) < 1e-6
    assert relative(additive(q, k, u)[1, 2, 3], torch.tanh(q[1, 2] + k[1, 3]) @ u) < 1e-5


def test_who_sees_nobody_gets_zeros_and_rectified_weights_need_no_exponentials():
    values = torch.randn(3, 2)
    out, weights = attend(torch.randn(2, 3), values, torch.tensor([[False] * 3, [True] * 3]))
    assert (out[0] == 0).all()
    assert torch.isfinite(out).all()
    out, weights = attend(torch.tensor([[1.0, -2.0, 3.0]]), values, torch.tensor([[True, True, False]]), rectified)
    assert weights.tolist() == [[0.5, 0.0, 0.0]]


def test_all_heads_in_one_product_equal_a_loop_over_heads():
    torch.manual_seed(0)
    attention = MultiHeadAttention(replace(SMALL, biases=True))
    x = torch.randn(2, 7, SMALL.width)
    h, k, v = SMALL.heads, SMALL.key, SMALL.value
    weight, bias = attention.inside.weight, attention.inside.bias
    heads = []
    for i in range(h):
        starts = (i * k, k), ((h + i) * k, k), (2 * h * k + i * v, v)
        rows = [slice(start, start + size) for start, size in starts]
        queries, keys, values = (x @ weight[r].T + bias[r] for r in rows)
        heads.append(attend(scaled_dot(queries, keys), values, masks.causal(7))[0])
    assert relative(attention(x, causal=True), attention.outside(torch.cat(heads, dim=2))) < 1e-5


def test_masks_say_who_sees_whom():
    text = torch.tensor([[5, 6, PAD]])
    assert masks.padding(text)[0, 0, 0].tolist() == [True, True, False]
    assert masks.causal(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert masks.causal(1, 3).tolist() == [[True, True, True]]  # with a past of two
    assert masks.band(4, 1).sum(1).tolist() == [2, 3, 3, 2]
    both = masks.padding(text) & masks.causal(3)
    assert both[0, 0].tolist() == [[True, False, False], [True, True, False], [True, True, False]]


def test_without_positions_order_means_nothing():
    encoder = model().encoder
    encoder.embedding.waves.zero_()
    text = tokens(1, 6)
    order = torch.randperm(6)
    mask = masks.padding(text)
    assert relative(encoder(text[:, order], mask), encoder(text, mask)[:, order]) < 1e-5


def test_positions_are_sines_and_cosines_in_turn():
    waves = sinusoids(50, 8)
    for p in (0, 1, 49):
        for i in range(4):
            assert float(waves[p, 2 * i]) == pytest.approx(math.sin(p / 10_000 ** (2 * i / 8)), abs=1e-6)
            assert float(waves[p, 2 * i + 1]) == pytest.approx(math.cos(p / 10_000 ** (2 * i / 8)), abs=1e-6)
    assert torch.equal(sinusoids(9, 6, halves=True), torch.cat([sinusoids(9, 6)[:, 0::2], sinusoids(9, 6)[:, 1::2]], 1))


# --------------------------------------------------------------------------------------------------------- the network


def test_the_future_changes_nothing_earlier():
    net, source, target = model(), tokens(2, 5), tokens(2, 8, seed=1)
    before = net(source, target)
    changed = target.clone()
    changed[:, 5] = 4 + (changed[:, 5] - 3) % 36
    after = net(source, changed)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


def test_padding_changes_nothing():
    net, source, target = model(), tokens(2, 5), tokens(2, 6, seed=1)
    alone = net(source, target)
    padded = net(F.pad(source, (0, 3), value=PAD), F.pad(target, (0, 2), value=PAD))
    assert relative(padded[:, :6], alone) < 1e-5


@pytest.mark.parametrize("change", [{}, {"norm": "pre", "biases": True}, {"positions": "learned", "longest": 90}])
def test_token_by_token_with_a_cache_equals_all_at_once(change):
    config = replace(SMALL, **change)
    net, source, target = model(config), tokens(3, 5), tokens(3, 70, seed=1)  # longer than the first room of the cache
    source[1, 3:] = PAD
    full = net(source, target)
    memory = net.begin(source, 3)
    logits, memory = net.step(target[:, :4], memory)
    assert relative(logits, full[:, 3]) < 1e-5
    for place in range(4, 70):
        logits, memory = net.step(target[:, place : place + 1], memory)
        assert relative(logits, full[:, place]) < 2e-5


def test_beams_of_one_input_share_its_keys():
    net, source = model(), tokens(2, 5)
    target = tokens(6, 4, seed=1)  # three hypotheses for each input
    full = net(source.repeat_interleave(3, 0), target)
    memory = net.begin(source, 6)
    assert memory.fixed["keys0"].shape[0] == 2
    for place in range(4):
        logits, memory = net.step(target[:, place : place + 1], memory)
        assert relative(logits, full[:, place]) < 1e-5


def test_the_embedding_the_other_embedding_and_the_last_layer_are_one_matrix():
    net = model()
    assert sum(p.shape == (40, 24) for p in net.parameters()) == 1
    x = net.encoder.embedding(torch.tensor([[7]]))[0, 0] - net.encoder.embedding.waves[0]
    assert relative(x, net.encoder.embedding.tokens.weight[7] * math.sqrt(24)) < 1e-6


def test_dropout_is_where_the_paper_has_it():
    places = [name for name, m in model(replace(SMALL, dropout=0.1)).named_modules() if isinstance(m, nn.Dropout)]
    sublayers = 2 * 2 + 2 * 3  # two of each encoder layer, three of each decoder layer
    assert len(places) == sublayers + 1  # and the sums of embeddings and positions


def test_the_dropout_asked_for_reaches_the_body_of_a_reader():
    spec = text_spec("labelled")
    recipe = modern("transformer-encoder", spec).adapted(spec)
    config = changed(recipe, RecipeAsk(dropout=0.35), spec).model
    drops = [m.p for m in transformer_encoder.Reader(config).modules() if isinstance(m, nn.Dropout)]
    assert len(drops) == 2 * config.body.layers + 1
    assert set(drops) == {0.35}
    assert replace(config, body=recipe.model.body) == recipe.model, "nothing else is changed"


def test_the_recipe_has_the_papers_rate():
    spec = DataSpec("wmt", "pairs", {"train": 4_500_000}, tokens={"train": 10**8}, batched_by="tokens")
    for name in ("transformer-base", "transformer-big"):
        recipe = paper(name, spec)
        for step in (0, 100, 3999, 4000, 99_999):
            ours = recipe.lr * recipe.schedule(step, 100_000, ())
            assert ours == pytest.approx(rate(step + 1, VARIANTS[name].width, 4000), rel=1e-12)


def test_what_does_not_suit_is_said():
    table = DataSpec("houses", "table", {"train": 5}, (3,), ("a", "b"))
    with pytest.raises(UserError, match="sentence pairs"):
        BASE.fitted(table)
    with pytest.raises(UserError, match="labelled"):
        transformer_encoder.VARIANTS["transformer-encoder"].fitted(table)
    sizes = {"source": 9, "target": 9}
    long = DataSpec("novel", "pairs", {"train": 5}, vocabulary=sizes, longest=sizes | {"source": 900})
    assert BASE.fitted(long).longest == 950
    with pytest.raises(UserError, match="positions"):
        VARIANTS["transformer-learned"].fitted(long)
    with pytest.raises(UserError, match="longer than"):
        model()(tokens(1, 5), tokens(1, 513))


def test_a_reader_ignores_padding():
    torch.manual_seed(0)
    for per_token in (False, True):
        net = transformer_encoder.Reader(transformer_encoder.Config(SMALL, 3, per_token)).eval()
        text = tokens(2, 6)
        padded = net(F.pad(text, (0, 4), value=PAD))
        assert relative(padded[:, :6] if per_token else padded, net(text)) < 1e-5


# ---------------------------------------------------------------------------------------------------------------- loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_in_parts_equals_torchs(smoothing, monkeypatch):
    monkeypatch.setattr(next_token, "PART", 64)  # several parts
    logits = torch.randn(3, 5, 20, requires_grad=True)
    target = torch.randint(1, 20, (3, 5))
    target[1, 3:] = PAD
    weight = torch.randn(15)
    ours = next_token.losses(logits, target, smoothing).flatten()
    flat = logits.flatten(0, 1), target.flatten()
    theirs = F.cross_entropy(*flat, ignore_index=PAD, reduction="none", label_smoothing=smoothing)
    assert relative(ours, theirs) < 1e-5
    (mine,) = torch.autograd.grad((ours * weight).sum(), logits, retain_graph=True)
    (other,) = torch.autograd.grad((theirs * weight).sum(), logits, retain_graph=True)
    assert relative(mine, other) < 1e-5
    (mine,) = torch.autograd.grad((ours * weight).sum(), logits, create_graph=True)
    (other,) = torch.autograd.grad((theirs * weight).sum(), logits, create_graph=True)
    second = torch.autograd.grad(mine.square().sum(), logits)[0], torch.autograd.grad(other.square().sum(), logits)[0]
    assert relative(*second) < 1e-5
