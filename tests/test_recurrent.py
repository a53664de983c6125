"""Networks that read step by step: against loops over time, torch's modules and closed forms; what they hear, and what
padding changes (nothing)."""

import collections
import copy
import inspect
import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from seminal.core import DataSpec, UserError
from seminal.papers import bag_of_embeddings, birnn, elman, gru, lstm
from seminal.pieces.measure import count, on_meta, parameters, work
from seminal.pieces.recurrent import last_states, one_bias, turned, weights_of
from seminal.pieces.tokens import PAD
from seminal.recipes import bag_of_embeddings as bag_recipes
from seminal.recipes import birnn as birnn_recipes
from seminal.recipes import elman as elman_recipes
from seminal.recipes import gru as gru_recipes
from seminal.recipes import lstm as lstm_recipes
from seminal.tasks.classification import Classification
from seminal.tasks.tagging import Tagging

pytestmark = pytest.mark.usefixtures("one_thread")

PAPERS = {"elman": elman, "lstm": lstm, "birnn": birnn, "gru": gru, "bag": bag_of_embeddings}
RECIPES = {
    "elman": elman_recipes,
    "lstm": lstm_recipes,
    "birnn": birnn_recipes,
    "gru": gru_recipes,
    "bag": bag_recipes,
}
VARIANTS = [(name, variant) for name, module in PAPERS.items() for variant in module.VARIANTS]
TEXT = [(name, variant) for name, variant in VARIANTS if PAPERS[name].VARIANTS[variant].vocabulary]
STEPWISE = [(name, variant) for name, variant in TEXT if name != "bag"]
LEFT = [pair for pair in STEPWISE if pair[0] != "birnn" and pair[1] != "bigru"]
BOTH = [pair for pair in STEPWISE if pair not in LEFT]


def spec(kind="labelled", **other):
    return DataSpec(
        "reviews.tsv",
        kind,
        {"train": 100, "val": 10},
        classes=("bad", "so so", "good"),
        vocabulary={"text": 40},
        longest={"text": 30},
        tokens={"train": 2000, "val": 200},
        batched_by="tokens",
        **other,
    )


def small(name, variant, per_token=False):
    """A network with few units, the weights large enough that everything matters."""
    config = PAPERS[name].VARIANTS[variant].fitted(spec("tagged" if per_token else "labelled"))
    config = replace(config, bins=min(config.bins, 50)) if name == "bag" else replace(config, inputs=6, hidden=4)
    torch.manual_seed(0)
    model = PAPERS[name].build(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.8, 0.8)
    return model


def difference(a, b):
    assert a.shape == b.shape
    return float((a - b).detach().abs().max())


def with_gradients(output, tensors):
    """The output, and its gradient by each tensor after a random weighing."""
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    return [output, *torch.autograd.grad((output * weights).sum(), tensors)]


# ------------------------------------------------------------------------------------------------ cells and torch's


def test_the_shapes_of_the_worked_example():
    """X 3, U 3 × 4, S 4, W 4 × 4, V 4 × 2, O 2, with rows as vectors; one step by hand."""
    torch.manual_seed(0)
    x, u, w, v = torch.randn(1, 5, 3), torch.randn(3, 4), torch.randn(4, 4), torch.randn(4, 2)
    s = elman.states(x, (u.T, w.T, torch.zeros(4)), torch.zeros(4))
    assert s.shape == (1, 5, 4)
    assert (s @ v).shape == (1, 5, 2)
    torch.testing.assert_close(s[:, 0], torch.sigmoid(x[:, 0] @ u))
    torch.testing.assert_close(s[:, 1], torch.sigmoid(x[:, 1] @ u + s[:, 0] @ w))
    layer = elman.SimpleRecurrent(3, 4, elman.VARIANTS["elman-xor"])
    assert {n: tuple(p.shape) for n, p in layer.named_parameters()} == {
        "rnn.weight_ih_l0": (4, 3),
        "rnn.weight_hh_l0": (4, 4),
        "rnn.bias_ih_l0": (4,),
    }


CELLS = {
    "elman": (nn.RNN, lambda x, w: elman.states(x, w, x.new_zeros(4), torch.tanh)),
    "lstm": (nn.LSTM, lstm.states),
    "gru": (nn.GRU, lambda x, w: gru.states(x, w, x.new_zeros(4), "after")),
}


@pytest.mark.parametrize("cell", CELLS)
def test_the_loop_over_time_equals_torchs_module_in_outputs_and_gradients(cell):
    """torch adds two biases: the equations have their sum, but for the candidate of a GRU, whose second one must be 0."""
    module, loop = CELLS[cell]
    torch.manual_seed(1)
    theirs = module(3, 4, batch_first=True)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_()
        if cell == "gru":
            theirs.bias_hh_l0[8:] = 0
    x = torch.randn(2, 7, 3, requires_grad=True)
    own = [theirs.weight_ih_l0, theirs.weight_hh_l0]
    bias = (theirs.bias_ih_l0 + theirs.bias_hh_l0).detach().requires_grad_()
    ours = with_gradients(loop(x, (*own, bias)), [x, *own, bias])
    expected = with_gradients(theirs(x)[0], [x, *own, theirs.bias_ih_l0])
    assert max(difference(a, b) for a, b in zip(ours, expected, strict=True)) <= 1e-5


LAYERS = {
    "elman": lambda: elman.SimpleRecurrent(3, 4, elman.VARIANTS["elman"]),
    "lstm": lambda: lstm.ForgettingCells(3, 4),
    "gru": lambda: gru.GatedRecurrent(3, 4, "after"),
}


@pytest.mark.parametrize("cell", LAYERS)
def test_the_fast_form_equals_the_loop_in_outputs_and_gradients(cell):
    torch.manual_seed(2)
    layer = LAYERS[cell]().double()  # large weights through seven steps make much of a last digit
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    x = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    own = list(weights_of(layer.rnn))
    fast = with_gradients(layer(x), [x, *own])
    naive = with_gradients(CELLS[cell][1](x, tuple(own)), [x, *own])
    assert max(difference(a, b) for a, b in zip(fast, naive, strict=True)) <= 1e-9


def test_the_reset_gate_stands_before_the_product_in_the_paper_and_after_it_in_torch():
    torch.manual_seed(3)
    x, weights = torch.randn(2, 5, 3), (torch.randn(12, 3), torch.randn(12, 4), torch.randn(12))
    before, after = (gru.states(x, weights, torch.zeros(4), reset) for reset in gru.RESETS)
    torch.testing.assert_close(before[:, 0], after[:, 0])  # the state is still 0
    assert difference(before, after) > 0.1
    into, back, bias = weights
    r, z = torch.sigmoid((x[:, 1] @ into.T + bias)[:, :8] + before[:, 0] @ back[:8].T).chunk(2, 1)
    candidate = torch.tanh((x[:, 1] @ into.T + bias)[:, 8:] + (r * before[:, 0]) @ back[8:].T)
    torch.testing.assert_close(before[:, 1], z * before[:, 0] + (1 - z) * candidate)


def test_logistic_units_are_tanh_units_with_other_weights():
    """σ(x) = (1 + tanh(x / 2)) / 2: with s = 2S − 1 the paper's network is torch's, and its start ½ is torch's 0."""
    torch.manual_seed(4)
    layer = elman.SimpleRecurrent(3, 4, replace(elman.VARIANTS["elman-letters"], through_time=True))
    theirs = nn.RNN(3, 4, batch_first=True)
    with torch.no_grad():
        into, back, bias = weights_of(layer.rnn)
        theirs.weight_ih_l0.copy_(into / 2)
        theirs.weight_hh_l0.copy_(back / 4)
        theirs.bias_ih_l0.copy_(bias / 2 + back.sum(1) / 4)
        theirs.bias_hh_l0.zero_()
    x = torch.randn(2, 9, 3)
    assert difference(2 * layer(x) - 1, theirs(x)[0]) <= 1e-5


def test_copies_that_are_inputs_give_the_gradient_of_one_step():
    """Truncated, the gradient by U is that of the last step alone, with the context as a constant."""
    torch.manual_seed(5)
    layer = elman.SimpleRecurrent(3, 4, elman.VARIANTS["elman-letters"])
    x = torch.randn(1, 6, 3)
    layer(x)[0, -1].sum().backward()
    found = layer.rnn.weight_ih_l0.grad
    s = layer(x).detach()[0]
    slope = s[-1] * (1 - s[-1])
    torch.testing.assert_close(found, slope[:, None] * x[0, -1])


def test_memory_blocks_against_a_loop_over_units():
    """The network of 1997, unit by unit from Sec. 4: two blocks of two cells, biases at the gates."""
    torch.manual_seed(6)
    config = replace(lstm.VARIANTS["lstm-1997-reber"], inputs=3, hidden=4)
    layer = lstm.MemoryBlocks(3, 4, config)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    inside, between, bias = (p.detach().double() for p in (layer.inside.weight, layer.between.weight, layer.bias))
    x = torch.randn(5, 3)
    heard, state, found = torch.zeros(8).double(), torch.zeros(4).double(), []
    for now in x.double():
        total = [inside[u] @ now + between[u] @ heard + (bias[u - 4] if u >= 4 else 0) for u in range(8)]
        gate = {u: 1 / (1 + torch.exp(-total[u])) for u in range(4, 8)}
        for cell in range(4):
            block = cell // 2
            state[cell] += gate[4 + block] * (4 / (1 + torch.exp(-total[cell])) - 2)
        heard = torch.stack([gate[6 + c // 2] * (2 / (1 + torch.exp(-state[c])) - 1) for c in range(4)])
        found.append(heard)
        heard = torch.cat([heard, torch.stack([gate[u] for u in range(4, 8)])])
    assert difference(layer(x[None])[0].double(), torch.stack(found)) <= 1e-5


def test_a_cell_remembers_where_a_simple_unit_forgets():
    """The gradient by the first of 200 inputs: it is there with open input and forget gates, and gone without cells."""
    torch.manual_seed(7)
    x = torch.randn(1, 200, 3, requires_grad=True)
    cells, simple = lstm.ForgettingCells(3, 4), elman.SimpleRecurrent(3, 4, elman.VARIANTS["elman"])
    with torch.no_grad():
        cells.rnn.bias_ih_l0[4:8] = 20.0  # forget nothing
    reach = [float(torch.autograd.grad(layer(x)[0, -1].sum(), x)[0][0, 0].abs().max()) for layer in (cells, simple)]
    assert reach[0] > 1e-4
    assert reach[1] < 1e-8


# ---------------------------------------------------------------------------------------------- rows of unlike lengths


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=4), st.integers(0, 3))
def test_rows_are_turned_about_their_own_length(counts, filling):
    steps = max(1, *counts) + filling
    x, ends = torch.randn(len(counts), steps, 2), torch.tensor(counts)
    y = turned(x, ends)
    for row, n in enumerate(counts):
        assert torch.equal(y[row], torch.cat([x[row, :n].flip(0), x[row, n:]]))
        assert torch.equal(last_states(x, ends)[row], x[row, max(n, 1) - 1])
    assert torch.equal(turned(y, ends), x)


@pytest.mark.parametrize(
    ("name", "variant", "per_token"), [(*pair, False) for pair in TEXT] + [(*pair, True) for pair in STEPWISE]
)
def test_padding_changes_nothing(name, variant, per_token):
    model = small(name, variant, per_token)
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(PAD + 1, 40, (n,), generator=generator) for n in (7, 1, 4, 7)]
    padded = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
    for more in (0, 5):
        output = model(F.pad(padded, (0, more), value=PAD))
        for row, got in zip(rows, output):
            alone = model(row[None])[0]
            assert difference(got[: len(row)] if per_token else got, alone) <= 1e-6


@pytest.mark.parametrize(("name", "variant"), TEXT)
def test_the_vector_of_the_filling_learns_nothing(name, variant):
    model = small(name, variant)
    text = torch.tensor([[5, 6, 7, PAD, PAD], [8, 9, 10, 11, 12]])
    model(text).square().sum().backward()
    assert not model.embedding.weight.grad[PAD].any()
    assert model.embedding.weight.grad[5].any()


@pytest.mark.parametrize(("name", "variant"), TEXT)
def test_a_row_without_a_token_is_read_all_the_same(name, variant):
    model = small(name, variant)
    output = model(torch.tensor([[PAD, PAD, PAD], [5, 6, 7]]))
    assert output.isfinite().all()
    assert difference(output[:1], model(torch.tensor([[PAD]]))) <= 1e-6


# --------------------------------------------------------------------------------------------------- left and right


def changed(model, text, place):
    """(S,) whether the output at each token is another when the token at ``place`` is."""
    other = text.clone()
    other[0, place] = 39
    return ((model(other) - model(text)).abs().amax(2) > 1e-7)[0].tolist()


@pytest.mark.parametrize(("name", "variant"), LEFT)
def test_reading_in_one_direction_hears_the_left_only(name, variant):
    model, text = small(name, variant, per_token=True), torch.arange(10, 17)[None]
    assert changed(model, text, 3) == [False] * 3 + [True] * 4


@pytest.mark.parametrize(("name", "variant"), BOTH)
def test_reading_in_both_directions_hears_left_and_right(name, variant):
    model, text = small(name, variant, per_token=True), torch.arange(10, 17)[None]
    for place in (0, 3, 6):
        assert changed(model, text, place) == [True] * 7


@pytest.mark.parametrize(("name", "variant"), STEPWISE)
def test_every_token_of_a_text_is_heard_and_so_is_their_order(name, variant):
    model, text = small(name, variant), torch.arange(10, 17)[None]
    vectors = model.embedding(text).detach().requires_grad_()
    states = model.body(vectors, torch.tensor([7]))[1]
    gradient = torch.autograd.grad(states.sum(), vectors)[0]
    assert (gradient[0].abs().sum(1) > 0).all()
    assert difference(model(text), model(text.flip(1))) > 1e-4


@pytest.mark.parametrize("units", birnn.UNITS)
@pytest.mark.parametrize("layers", [1, 2])
def test_both_directions_equal_torchs_on_packed_rows(units, layers):
    torch.manual_seed(8)
    body = birnn.BothDirections(birnn.UNITS[units], 3, 4, layers, dropout=0.0)
    kind = {"simple": nn.RNN, "lstm": nn.LSTM}[units]
    theirs = kind(3, 4, num_layers=layers, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for i in range(layers):
            for half, suffix in ((body.forwards[i], ""), (body.backwards[i], "_reverse")):
                for weight in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(theirs, f"{weight}_l{i}{suffix}").copy_(getattr(half.rnn, f"{weight}_l0"))
    counts = torch.tensor([6, 2, 5, 1])
    x = torch.randn(4, 6, 3, requires_grad=True)
    real = torch.arange(6)[None, :, None] < counts[:, None, None]
    states, last = body(x, counts)
    packed = nn.utils.rnn.pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False)
    output, final = theirs(packed)
    output = nn.utils.rnn.pad_packed_sequence(output, batch_first=True)[0]
    final = final[0] if units == "lstm" else final  # (2 · layers, B, H)
    ours = with_gradients(states * real, [x])
    assert max(difference(a, b) for a, b in zip(ours, with_gradients(output * real, [x]))) <= 1e-5
    assert difference(last, torch.cat([final[-2], final[-1]], dim=1)) <= 1e-5


def test_both_directions_equal_two_loops_over_one_row():
    torch.manual_seed(9)
    body = birnn.BothDirections(birnn.UNITS["simple"], 3, 4, 1, dropout=0.0)
    x = torch.randn(5, 3)

    def half(layer):
        into, back, bias = weights_of(layer.rnn)
        return lambda now, state: torch.tanh(into @ now + back @ state.expand(4) + bias)

    expected = birnn.states(x, half(body.forwards[0]), half(body.backwards[0]))
    states, last = body(x[None], torch.tensor([5]))
    assert difference(states[0], expected) <= 1e-5
    assert torch.equal(last[0], torch.cat([states[0, -1, :4], states[0, 0, 4:]]))


# -------------------------------------------------------------------------------------------------------- one bias


def test_the_second_bias_is_neither_learned_nor_counted_nor_kept():
    layer = one_bias(nn.LSTM(3, 4, batch_first=True))
    assert parameters(layer) == 4 * (3 * 4 + 4 * 4 + 4)
    assert set(layer.state_dict()) == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0"}
    assert not layer.bias_hh_l0.any()
    assert layer._flat_weights[3] is layer.bias_hh_l0


@pytest.mark.parametrize("change", ["double", "loaded", "deepcopied", "assigned"])
def test_a_layer_with_one_bias_lives_like_any_other(change):
    torch.manual_seed(10)
    layer = one_bias(nn.GRU(3, 4, batch_first=True))
    x = torch.randn(2, 5, 3)
    before = layer(x)[0]
    other = one_bias(nn.GRU(3, 4, batch_first=True))
    if change == "double":
        assert difference(copy.deepcopy(layer).double()(x.double())[0].float(), before) <= 1e-6
        return
    if change == "loaded":
        other.load_state_dict(layer.state_dict())
    elif change == "assigned":
        other.load_state_dict(layer.state_dict(), assign=True)
    else:
        other = copy.deepcopy(layer)
        with torch.no_grad():
            layer.weight_ih_l0.zero_()
    assert torch.equal(other(x)[0], before)
    other(x)[0].sum().backward()
    assert all(p.grad is not None for p in other.parameters())
    torch.optim.SGD(other.parameters(), lr=0.1).step()
    assert difference(other(x)[0], before) > 1e-4  # the weights that move are those that are used


# ------------------------------------------------------------------------------------------------------ closed forms


def closed_form(name, config):
    """Parameters, from the equations."""
    v, c = config.vocabulary, config.outputs
    if name == "bag":
        return (v + config.bins) * config.width + config.width * c
    i, h = config.inputs, config.hidden
    two = name == "birnn" or (name == "gru" and config.both)
    gates = {"elman": 1, "lstm": 4, "gru": 3, "birnn": 4 if name == "birnn" and config.units == "lstm" else 1}[name]
    layer = gates * (i * h + h * h + h)
    if name == "lstm" and not config.forget:
        units = h + 2 * h // config.block
        layer = units * (i + units) + (2 * h // config.block if config.biases == "gates" else units)
    head = h * (2 if two else 1) * c + (c if name != "lstm" or config.biases == "all" else 0)
    return v * i + layer * (2 if two else 1) + head


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_parameters_by_closed_form(name, variant):
    config = PAPERS[name].VARIANTS[variant]
    assert count(PAPERS[name].build, config) == closed_form(name, config)


@pytest.mark.parametrize(("name", "variant", "gates"), [("elman", "elman", 1), ("lstm", "lstm", 4), ("gru", "gru", 3)])
def test_multiply_adds_by_closed_form(name, variant, gates):
    config = PAPERS[name].VARIANTS[variant]
    i, h, c = config.inputs, config.hidden, config.outputs
    assert work(PAPERS[name].build, config) == 25 * gates * (i * h + h * h) + h * c


# ---------------------------------------------------------------------------------------------- a bag of embeddings


def test_a_bag_is_the_paper_s_b_a_x():
    """x: each feature's share of the text's features, words and hashed pairs; B A x."""
    model = small("bag", "bag-bigram")
    text = torch.tensor([[5, 6, 5, 7, PAD], [8, 8, 8, 8, 8], [9, PAD, PAD, PAD, PAD]])
    bins = model.pairs.num_embeddings
    table = torch.cat([model.embedding.weight, model.pairs.weight])  # A: one row for each feature
    for row, got in zip(text.tolist(), model(text)):
        words = [w for w in row if w != PAD]
        pairs = [40 + (a * bag_of_embeddings.MIX + b) % (bins - 1) + 1 for a, b in itertools.pairwise(words)]
        features = collections.Counter(words + pairs)
        x = torch.zeros(40 + bins)
        for feature, times in features.items():
            x[feature] = times / features.total()
        torch.testing.assert_close(got, model.head.weight @ (table.T @ x), rtol=1e-5, atol=1e-6)


def test_a_bag_of_words_equals_torchs_embedding_bag():
    model = small("bag", "bag")
    text = torch.randint(0, 40, (6, 9), generator=torch.Generator().manual_seed(0))
    mean = F.embedding_bag(text, model.embedding.weight, mode="mean", padding_idx=PAD)
    assert difference(model(text), mean @ model.head.weight.T) <= 1e-6


def test_pairs_fall_into_all_places_and_the_order_counts():
    text = torch.randint(1, 5000, (200, 100), generator=torch.Generator().manual_seed(0))
    place = bag_of_embeddings.bins_of(text, 1000)
    assert place.min() >= 1
    assert place.max() <= 999
    counts = torch.bincount(place.flatten(), minlength=1000)[1:].double()
    expected = place.numel() / 999
    assert ((counts - expected) ** 2 / expected).sum() < 999 + 5 * (2 * 999) ** 0.5  # χ² of a fair hash
    assert not torch.equal(bag_of_embeddings.bins_of(text.flip(1), 1000).flip(1), place)


def test_neighbouring_words_do_not_share_a_place():
    """Pairs (a, b) and (a, b + 1), (a + 1, b) are different features as long as there is room."""
    a, b = torch.meshgrid(torch.arange(1, 60), torch.arange(1, 60), indexing="ij")
    place = bag_of_embeddings.bins_of(torch.stack([a.flatten(), b.flatten()], dim=1), bag_of_embeddings.BINS)
    assert len(place.unique()) == 59 * 59


def test_the_table_of_pairs_suits_the_data():
    config = bag_of_embeddings.VARIANTS["bag-bigram"].fitted(spec())
    assert config.bins == 1024  # for 2,000 tokens
    assert "10 million" in " ".join(d.what for d in config.departures())
    large = bag_of_embeddings.VARIANTS["bag-bigram"].fitted(replace(spec(), tokens={"train": 10**9}))
    assert (large.bins, large.departures()) == (bag_of_embeddings.BINS, ())


# --------------------------------------------------------------------------------------------------- data and recipes


@pytest.mark.parametrize("kind", ["labelled", "tagged"])
@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_every_variant_reads_texts_with_labels(name, variant, kind):
    config = PAPERS[name].VARIANTS[variant]
    if name == "bag" and kind == "tagged":
        with pytest.raises(UserError, match="`bilstm`"):
            config.fitted(spec(kind))
        return
    config = config.fitted(spec(kind))
    assert (config.vocabulary, config.outputs, config.per_token) == (40, 3, kind == "tagged")
    model = on_meta(PAPERS[name].build, config)
    with torch.device("meta"):
        (text,) = config.example(4)
        assert model(text).shape == ((4, 25, 3) if kind == "tagged" else (4, 3))


@pytest.mark.parametrize(("kind", "advice"), [("pairs", "transformer"), ("stream", "gpt"), ("images", "resnet20")])
@pytest.mark.parametrize("name", PAPERS)
def test_data_without_labels_are_refused_with_advice(name, kind, advice):
    config = next(iter(PAPERS[name].VARIANTS.values()))
    with pytest.raises(UserError, match=f"reviews.tsv holds .*`{advice}`"):
        config.fitted(replace(spec(), kind=kind))


def test_the_papers_own_networks_read_numbers():
    for variant in ("elman-xor", "elman-classes"):
        config = elman.VARIANTS[variant]
        assert elman.build(config)(torch.rand(2, 5, config.inputs)).shape == (2, 5, config.outputs)
    config = lstm.VARIANTS["lstm-1997-adding"]
    assert lstm.build(config)(torch.rand(2, 9, 2)).shape == (2, 1)


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: lstm.Config(hidden=5, block=2), "a multiple"),
        (lambda: lstm.Config(hidden=4, block=2, forget=True), "block=1"),
        (lambda: birnn.Config(units="relu"), "simple, lstm"),
        (lambda: gru.Config(reset="never"), "before or after"),
    ],
)
def test_networks_that_cannot_be_are_refused(make, advice):
    with pytest.raises(UserError, match=advice):
        make()


@pytest.mark.parametrize("kind", ["labelled", "tagged"])
@pytest.mark.parametrize("which", ["paper", "modern"])
@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_recipes_suit_the_data_and_say_where_numbers_come_from(name, variant, which, kind):
    if name == "bag" and kind == "tagged":
        return
    recipes, data = RECIPES[name], spec(kind)
    recipe = getattr(recipes, which)(variant, data)
    assert recipe.name == which
    assert isinstance(recipe.task, Tagging if kind == "tagged" else Classification)
    assert recipe.sources.keys() <= set(inspect.signature(type(recipe)).parameters)
    assert {"lr", "optim", "batch", "epochs"} <= recipe.sources.keys()
    adapted = recipe.adapted(data)
    assert adapted.model.vocabulary == 40
    assert recipes.reading(variant).form == "labelled"
    if which == "paper":
        assert recipe.model == PAPERS[name].VARIANTS[variant]


@pytest.mark.parametrize(("name", "variant"), [*LEFT[:2], *BOTH, ("gru", "gru"), ("bag", "bag-bigram")])
def test_it_learns_one_small_batch(name, variant):
    """Order decides: 4 before 5, or 5 before 4, with noise around; a bag needs its pairs for it."""
    config = PAPERS[name].VARIANTS[variant].fitted(replace(spec(), classes=("a", "b")))
    config = replace(config, width=8) if name == "bag" else replace(config, inputs=8, hidden=8)
    torch.manual_seed(0)
    model = PAPERS[name].build(config)
    text = torch.randint(6, 40, (16, 6))
    target = torch.arange(16) % 2
    text[:, 2], text[:, 3] = 4 + target, 5 - target
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(80):
        loss = F.cross_entropy(model(text), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05
