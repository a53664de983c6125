"""Batch normalisation against torch's, against loops and closed forms; BN-Inception against its table."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from seminal.core import DataSpec, UserError
from seminal.papers import batch_norm, bn_inception, googlenet
from seminal.papers.batch_norm import BatchNorm, back_propagated, population_statistics
from seminal.pieces.measure import multiply_adds, on_meta, parameters
from seminal.recipes import bn_inception as recipes

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = {(7, 4): nn.BatchNorm1d, (5, 4, 6): nn.BatchNorm1d, (3, 4, 5, 2): nn.BatchNorm2d}


def pair(kind, channels=4):
    """Ours and torch's with the same random numbers in float64."""
    torch.manual_seed(0)
    theirs = kind(channels).double()
    for numbers in (theirs.weight.data, theirs.bias.data, theirs.running_mean):
        numbers.uniform_(-1, 1)
    theirs.running_var.uniform_(0.5, 2)
    ours = BatchNorm(channels).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize(("shape", "kind"), SHAPES.items())
@pytest.mark.parametrize("training", [True, False])
def test_outputs_gradients_and_moving_averages_are_torchs(shape, kind, training):
    ours, theirs = pair(kind)
    for _ in range(3):
        x = 5 * torch.randn(shape, dtype=torch.float64) + 2
        by_y = torch.randn_like(x)
        found = []
        for layer in (ours.train(training), theirs.train(training)):
            leaf = x.clone().requires_grad_()
            y = layer(leaf)
            found.append([y, *torch.autograd.grad((y * by_y).sum(), [leaf, layer.weight, layer.bias])])
        for a, b in zip(*found):
            torch.testing.assert_close(a, b)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    theirs.load_state_dict(ours.state_dict())


def test_algorithm_1_number_by_number():
    layer, x = BatchNorm(2).double(), torch.randn(3, 2, 2, 2, dtype=torch.float64)
    layer.weight.data, layer.bias.data = torch.tensor([2.0, -1.0]).double(), torch.tensor([0.5, 3.0]).double()
    y = layer(x).detach()
    for channel in range(2):
        values = [float(v) for v in x[:, channel].flatten()]  # of all pictures and places
        mean = sum(values) / 12
        variance = sum((v - mean) ** 2 for v in values) / 12
        gain, shift = layer.weight[channel].item(), layer.bias[channel].item()
        expected = [gain * (v - mean) / math.sqrt(variance + 1e-5) + shift for v in values]
        torch.testing.assert_close(y[:, channel].flatten().tolist(), expected)


def test_printed_chain_rule_is_autograds_and_its_short_form():
    torch.manual_seed(0)
    x, gain, by_y = (torch.randn(shape, dtype=torch.float64) for shape in ((6, 3), (3,), (6, 3)))
    leaf, gain_leaf, shift = x.clone().requires_grad_(), gain.clone().requires_grad_(), torch.zeros(3).double()
    y = F.batch_norm(leaf, None, None, gain_leaf, shift.requires_grad_(), training=True, eps=1e-5)
    expected = torch.autograd.grad((y * by_y).sum(), [leaf, gain_leaf, shift])
    for ours, autograds in zip(back_propagated(x, gain, by_y), expected):
        torch.testing.assert_close(ours, autograds)
    normal = (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()  # the one line of the file's docstring
    scale = gain / (x.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(scale * (by_y - by_y.mean(0) - normal * (by_y * normal).mean(0)), expected[0])


def test_inference_is_one_straight_line_and_does_not_look_at_the_batch():
    layer = pair(nn.BatchNorm2d)[0].eval()
    x, other = torch.randn(2, 4, 3, 3).double(), torch.randn(2, 4, 3, 3).double()
    torch.testing.assert_close(layer((x + other) / 2), (layer(x) + layer(other)) / 2)
    assert torch.equal(layer(x)[:1], layer(x[:1]))


def test_gain_and_shift_can_undo_the_normalisation():
    x = 3 * torch.randn(9, 5).double() + 1
    layer = BatchNorm(5).double()
    layer.weight.data, layer.bias.data = (x.var(0, unbiased=False) + 1e-5).sqrt(), x.mean(0)
    torch.testing.assert_close(layer(x), x)


def test_one_number_per_channel_is_refused():
    with pytest.raises(UserError, match="at least 2 rows"):
        BatchNorm(4)(torch.randn(1, 4))


# --------------------------------------------------------------------------------------- statistics of the whole set


def small_network():
    """Dropout, a convolution with ours and one with torch's normalisation, rows at the end."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        BatchNorm(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(4, 5, 3),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * 16, 6),
        nn.BatchNorm1d(6),
    ).double()


def statistics(layer):
    return layer.running_mean.clone(), layer.running_var.clone()


def of_set(x):
    """Closed form over a whole set: mean and unbiased variance of each channel."""
    rows = x.transpose(0, 1).flatten(1)
    return rows.mean(1), rows.var(1)


def test_a_pass_in_one_batch_is_the_closed_form_over_the_whole_set_for_every_layer():
    model, x = small_network(), torch.randn(30, 3, 8, 8, dtype=torch.float64)
    before = {name: p.clone() for name, p in model.named_parameters()}
    model.train()
    population_statistics(model, [x])
    first = model[0](x)
    second = model[4](F.relu(F.batch_norm(first, None, None, model[1].weight, model[1].bias, True)))
    third = model[8](F.relu(F.batch_norm(second, None, None, model[5].weight, model[5].bias, True)).flatten(1))
    for layer, inputs in ((model[1], first), (model[5], second), (model[9], third)):
        for found, expected in zip(statistics(layer), of_set(inputs)):
            torch.testing.assert_close(found, expected)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    model.eval()
    assert torch.equal(model(x), model(x)), "dropout is off again"


@pytest.mark.parametrize("sizes", [(10, 10, 10), (12, 12, 6)])
def test_a_pass_in_mini_batches_is_line_10_of_algorithm_2(sizes):
    model, x = small_network(), torch.randn(30, 3, 8, 8, dtype=torch.float64)
    population_statistics(model, x.split(sizes))
    inputs = model[0](x)
    mean, variance = of_set(inputs)
    found_mean, found_variance = statistics(model[1])
    torch.testing.assert_close(found_mean, mean)  # the mean of the whole set, however it was cut
    parts = [part.transpose(0, 1).flatten(1) for part in inputs.split(sizes)]
    if len(set(sizes)) == 1:
        m = parts[0].shape[1]
        printed = m / (m - 1) * torch.stack([part.var(1, unbiased=False) for part in parts]).mean(0)
        torch.testing.assert_close(found_variance, printed)
    # Within batches: what the means of the batches differ by is missing, and is little.
    torch.testing.assert_close(found_variance, variance, rtol=0.02, atol=0)


def test_variance_of_the_pass_is_unbiased_over_many_cuts_of_a_set():
    """The mean over all ways to cut a set in pairs is the unbiased variance of the set."""
    values = torch.tensor([0.0, 1.0, 3.0, 7.0], dtype=torch.float64)
    found = []
    for pairs in ([[0, 1], [2, 3]], [[0, 2], [1, 3]], [[0, 3], [1, 2]]):
        layer = BatchNorm(1).double()
        population_statistics(layer, [values[cut][:, None] for cut in pairs])
        found.append(layer.running_var)
    torch.testing.assert_close(torch.stack(found).mean(), values.var())


def blobs(rows, generator):
    """Pictures of 8 × 8 in four classes: a bright quarter each, with noise."""
    target = torch.randint(4, (rows,), generator=generator)
    x = torch.randn(rows, 1, 8, 8, generator=generator)
    for row, quarter in enumerate(target.tolist()):
        top, left = 4 * (quarter // 2), 4 * (quarter % 2)
        x[row, :, top : top + 4, left : left + 4] += 0.7
    return x, target


def trained(variant, x, target, steps=200):
    torch.manual_seed(0)
    model = batch_norm.build(replace(batch_norm.VARIANTS[variant], size=(8, 8), outputs=4))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    order = torch.Generator().manual_seed(1)
    for _ in range(steps):
        rows = torch.randint(len(x), (60,), generator=order)
        loss = F.cross_entropy(model(x[rows]), target[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


def test_moving_averages_and_a_pass_over_the_data_agree_after_training():
    x, target = blobs(1200, torch.Generator().manual_seed(0))
    model = trained("bn-mnist", x, target)
    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    moving = [statistics(layer) for layer in layers]
    with torch.no_grad():
        by_moving = model.eval()(x)
        population_statistics(model, x.split(60))
        by_pass = model(x)
    assert not model.training
    for layer, (mean, variance) in zip(layers, moving):
        away = (layer.running_mean - mean) / layer.running_var.sqrt()
        # A moving average of momentum 0.1 sees about 19 batches of 60: its error is 1/√1140 = 0.03 of the spread.
        assert 0 < away.abs().mean() < 0.1
        assert (variance / layer.running_var - 1).abs().mean() < 0.15
    assert (by_moving.argmax(1) == by_pass.argmax(1)).float().mean() > 0.97
    assert (by_pass.argmax(1) == target).float().mean() > 0.9


def test_sigmoids_learn_faster_with_normalisation():
    x, target = blobs(600, torch.Generator().manual_seed(0))
    losses = {}
    for variant in ("bn-mnist", "mnist-sigmoid"):
        model = trained(variant, x, target, steps=100)
        with torch.no_grad():
            losses[variant] = F.cross_entropy(model(x), target).item()
    assert losses["bn-mnist"] < 0.7 < 1.3 < losses["mnist-sigmoid"], losses


def test_layers_that_do_not_run_in_evaluation_keep_their_statistics():
    torch.manual_seed(0)
    config = replace(googlenet.VARIANTS["googlenet-torchvision"], size=(32, 32), outputs=3)
    model = googlenet.build(config)
    population_statistics(model, [torch.randn(4, 3, 32, 32)])
    assert model.training
    assert torch.equal(model.side1.conv.bn.running_var, torch.ones(128))
    assert not torch.equal(model.conv1.bn.running_var, torch.ones(64))


# ------------------------------------------------------------------------------------------------------ BN-Inception


def test_network_with_our_normalisation_is_that_with_torchs():
    torch.manual_seed(0)
    config = replace(bn_inception.VARIANTS["bn-inception"], size=(32, 32), outputs=5)
    theirs, ours = bn_inception.build(config).double(), bn_inception.build(config).double()
    for name, module in list(ours.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            parent, _, leaf = name.rpartition(".")
            setattr(ours.get_submodule(parent), leaf, BatchNorm(module.num_features, eps=module.eps).double())
    ours.load_state_dict(theirs.state_dict())
    assert not [m for m in ours.modules() if isinstance(m, nn.BatchNorm2d)]
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    gradients = []
    for model in (ours, theirs):
        y = model(x)
        gradients.append([y, *torch.autograd.grad(y.square().sum(), list(model.parameters()))])
    for a, b in zip(*gradients):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("normalised", [True, False])
def test_halving_module_is_its_three_branches_written_out(normalised):
    torch.manual_seed(0)
    filters = bn_inception.Filters(0, 2, 3, 4, 5, "max", 0)
    module = bn_inception.Inception(6, filters, partial(googlenet.unit, normalised=normalised)).double().eval()
    x = torch.randn(2, 6, 9, 8, dtype=torch.float64)
    p = module.state_dict()

    def layer(name, x, stride=1):
        weight = p[f"branches.{name}.conv.weight"]
        y = F.conv2d(x, weight, p.get(f"branches.{name}.conv.bias"), stride, padding=weight.shape[-1] // 2)
        return (y / math.sqrt(1 + 1e-3) if normalised else y).relu()

    pooled = torch.empty(2, 6, 5, 4, dtype=torch.float64)
    for i in range(5):
        for j in range(4):
            window = x[:, :, max(0, 2 * i - 1) : 2 * i + 2, max(0, 2 * j - 1) : 2 * j + 2]
            pooled[:, :, i, j] = window.amax((2, 3))
    three = layer("three.1", layer("three.0", x), 2)
    twice = layer("twice.2", layer("twice.1", layer("twice.0", x)), 2)
    torch.testing.assert_close(module(x), torch.cat([three, twice, pooled], 1))


def test_plain_first_layer_gives_the_counts_that_others_publish():
    """SENet's Table 2 counts BN-Inception with 2.03 billion; the public Caffe network has 11,285,224 without biases."""
    config = replace(bn_inception.VARIANTS["bn-inception"], separable=False)
    model = on_meta(bn_inception.build, config)
    with torch.device("meta"):
        (x,) = config.example(1)
    assert (parameters(model), multiply_adds(model, x)) == (11_285_224, 2_032_600_064)
    (told,) = config.departures()
    assert "plain" in told.what


@settings(max_examples=4, deadline=None)
@given(height=st.integers(32, 300), width=st.integers(32, 300))
def test_every_size_from_32_pixels_works(height, width):
    spec = DataSpec("photos", "images", {"train": 9}, (1, height, width), classes=("cat", "dog"))
    fitted = bn_inception.VARIANTS["bn-inception"].fitted(spec)
    with torch.device("meta"):
        assert on_meta(bn_inception.build, fitted)(*fitted.example(2)).shape == (2, 2)


def test_networks_outside_the_paper_are_told_as_departures():
    base = bn_inception.VARIANTS["bn-inception"]
    (odd,) = replace(base, dropout=0.1).departures()
    assert "not a network of the paper" in odd.what
    with pytest.raises(UserError, match="relu, sigmoid"):
        replace(base, activation="tanh")
    (layers,) = replace(batch_norm.VARIANTS["bn-mnist"], hidden=(50,)).departures()
    assert layers.what == "hidden layers of 50 units (paper: 100, 100, 100)"


def test_recipe_makes_all_the_changes_of_section_4_2_1():
    spec = DataSpec("photos", "images", {"train": 9}, (3, 224, 224), classes=("cat", "dog"))
    before, after = recipes.paper("inception", spec), recipes.paper("bn-inception", spec)
    assert after.lr / before.lr == pytest.approx(30)
    assert recipes.paper("bn-inception-sigmoid", spec).lr / before.lr == pytest.approx(5)
    assert (before.model.dropout, after.model.dropout) == (0.4, 0.0)
    assert (before.model.response_norm, after.model.response_norm) == (True, False)
    assert before.optim.weight_decay / after.optim.weight_decay == pytest.approx(5)
    pace = [math.log(r.schedule(1, r.epochs, ())) for r in (before, after)]  # per epoch
    assert pace[1] / pace[0] == pytest.approx(6)
    assert before.schedule(8, before.epochs, ()) == pytest.approx(0.96)
    jitters = [r.augment[-1].brightness for r in (before, after)]
    assert jitters[1] < jitters[0]
    assert len([text for text in after.sources.values() if "Sec. 4.2.1" in text]) == 6
