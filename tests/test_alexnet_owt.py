"""One-tower AlexNet against torchvision's on the same weights, against loops over workers, and against two towers."""

import math
from dataclasses import replace

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from seminal.core import DataSpec, UserError
from seminal.papers import alexnet, alexnet_owt
from seminal.pieces.measure import count, on_meta, shapes, work
from seminal.recipes import alexnet_owt as recipes
from seminal.weights import alexnet_owt as weights
from seminal.weights.matching import to_ours, to_theirs

pytestmark = pytest.mark.usefixtures("one_thread")

PAPER, THEIRS = (alexnet_owt.VARIANTS[name] for name in ("alexnet-owt", "alexnet-torchvision"))
SMALL = replace(PAPER, size=(67, 67), outputs=7)


def ours_from(theirs, config):
    ours = on_meta(alexnet_owt.build, config)
    ours.load_state_dict(to_ours("torchvision", theirs.state_dict(), "alexnet_owt", config), assign=True)
    return ours


@pytest.fixture(scope="module")
def peer():
    torch.manual_seed(0)
    return torchvision.models.alexnet(num_classes=11, dropout=0.0).eval()


@pytest.mark.parametrize("size", [(63, 63), (90, 130), (224, 224)])
def test_same_outputs_as_torchvision_on_the_same_weights(size, peer):
    ours = ours_from(peer, replace(THEIRS, size=size, outputs=11))
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        a, b = ours(x), peer(x)
    assert ((a - b).abs().max() / b.abs().max()).item() <= 1e-5


def test_the_way_back(peer):
    config = replace(THEIRS, size=(63, 63), outputs=11)
    torch.manual_seed(1)
    ours = alexnet_owt.build(config).eval()
    with torch.device("meta"):
        theirs = torchvision.models.alexnet(num_classes=11).eval()
    theirs.load_state_dict(to_theirs("torchvision", ours.state_dict(), "alexnet_owt", config), assign=True)
    x = torch.randn(2, 3, 63, 63)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)
    own = {key.rpartition(".")[0] for key in ours.state_dict()}
    assert set(weights.torchvision(config)) == own


def test_same_gradients_as_torchvision_in_training(peer):
    config = replace(THEIRS, size=(63, 63), outputs=11, dropout=0.0)
    ours = ours_from(peer, config).train().requires_grad_()
    theirs = peer.train()
    x = torch.randn(4, 3, 63, 63)
    for model in (ours, theirs):
        model.zero_grad()
        model(x).square().sum().backward()
    gradients = to_ours("torchvision", {k: p.grad for k, p in theirs.named_parameters()}, "alexnet_owt", config)
    for name, parameter in ours.named_parameters():
        assert (parameter.grad - gradients[name]).abs().max() <= 1e-4 * gradients[name].abs().max(), name


def test_torchvisions_dropout_is_on_the_inputs_of_fc6_and_fc7():
    with torch.device("meta"):
        theirs = torchvision.models.alexnet(dropout=0.3).classifier
    kinds = [type(m).__name__ for m in theirs]
    assert kinds == ["Dropout", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Linear"]
    ours = on_meta(alexnet_owt.build, replace(THEIRS, dropout=0.3))
    assert [type(m).__name__ for m in (ours.drop5, ours.drop6, ours.drop7)] == ["Dropout", "Dropout", "Identity"]
    assert ours.drop5.p == ours.drop6.p == theirs[0].p == theirs[3].p


def by_hand(model, x):
    """The paper's form with torch's functions only: AlexNet's layers without its groups."""
    p = dict(model.named_parameters())

    def layer(name, x, **how):
        return F.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"], **how).relu()

    def normed(x):
        return F.max_pool2d(F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0), 3, 2)

    x = normed(layer("conv1", x, stride=4))
    x = normed(layer("conv2", x, padding=2))
    for name in ("conv3", "conv4", "conv5"):
        x = layer(name, x, padding=1)
    x = F.max_pool2d(x, 3, 2).flatten(1)
    for name in ("fc6", "fc7"):
        x = F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"]).relu() * 0.5
    return F.linear(x, p["fc8.weight"], p["fc8.bias"])


def test_the_papers_form_is_alexnet_without_groups():
    torch.manual_seed(0)
    model, x = alexnet_owt.build(SMALL).eval(), 100 * torch.randn(2, 3, 67, 67)
    with torch.no_grad():
        ours, theirs = model(x), by_hand(model, x)
    assert (ours - ours.mean(0)).abs().max() > 1e-3, "the outputs depend on the picture"
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parts", [(3, 3), (1, 2, 3)])
@pytest.mark.parametrize("config", [SMALL, replace(THEIRS, size=(63, 63), outputs=7)], ids=["paper", "torchvision"])
def test_workers_that_share_by_pictures_and_by_neurons_compute_what_one_computes(config, parts):
    torch.manual_seed(0)
    model = alexnet_owt.build(config).eval()
    x, towards = 100 * torch.randn(6, *config.example(1)[0].shape[1:]), torch.randn(6, 7)
    names = ["conv1", "conv5", "fc7", "fc8"]
    found = []
    for outputs in (model(x), alexnet_owt.parallel(model, x.split(parts))):
        layers = [model.get_parameter(f"{name}.weight") for name in names]
        found.append((outputs.detach(), *torch.autograd.grad((outputs * towards).sum(), layers)))
    for one, many in zip(*found):
        assert (one - many).abs().max() <= 1e-4 * one.abs().max()


def test_a_workers_share_needs_a_part_of_the_weights_only():
    """Two of four workers lose their weights: the neurons of the other two do not notice."""
    layer, x = torch.nn.Linear(10, 8), torch.randn(3, 10)
    whole = alexnet_owt.shared(layer, x, workers=4)
    with torch.no_grad():
        layer.weight[4:] = 0
        layer.bias[4:] = 0
    left = alexnet_owt.shared(layer, x, workers=4)
    assert torch.equal(left[:, :4], whole[:, :4])
    assert not left[:, 4:].any()


def test_what_is_shared_by_neurons_need_not_be_sent():
    """A worker holds all kernels, which must be kept equal by sending gradients, and a K-th of the other weights."""
    model = on_meta(alexnet_owt.build, PAPER)
    kernels = sum(p.numel() for name, p in model.named_parameters() if name.startswith("conv"))
    assert count(alexnet_owt.build, PAPER) / kernels > 19, (
        "data parallelism everywhere would send nineteen times as much"
    )


@pytest.mark.parametrize(
    ("config", "counts"),
    [(PAPER, (61_838_248, 838_788_800)), (THEIRS, (61_100_840, 714_188_480))],
    ids=["paper", "torchvision"],
)
def test_parameters_and_multiply_adds(config, counts):
    assert (count(alexnet_owt.build, config), work(alexnet_owt.build, config)) == counts


def test_the_papers_text_and_its_footnote_disagree():
    """0.2 % more parameters is what 256 kernels in conv4 give; 2.4 % fewer connections is what neither gives."""
    two = alexnet.VARIANTS["alexnet"]

    def more(config):
        wide = count(alexnet_owt.build, config) / count(alexnet.build, two) - 1
        return round(100 * wide, 1), round(100 * (work(alexnet_owt.build, config) / work(alexnet.build, two) - 1), 1)

    assert more(PAPER) == (1.4, 15.8)
    assert more(replace(PAPER, channels=alexnet_owt.PUBLISHED)) == more(THEIRS) == (0.2, -1.4)


def test_first_weights_are_those_of_the_published_layers():
    torch.manual_seed(0)
    model = alexnet_owt.build(replace(PAPER, size=(67, 67)))
    spreads = (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)
    biases = (0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, -math.log(999))
    for name, spread, bias in zip(alexnet_owt.CONVOLUTIONS + alexnet_owt.FULLY_CONNECTED, spreads, biases):
        layer = model.get_submodule(name)
        assert layer.weight.std().item() == pytest.approx(spread, rel=0.03), name
        assert layer.weight.mean().item() == pytest.approx(0, abs=0.03 * spread), name
        torch.testing.assert_close(layer.bias, torch.full_like(layer.bias, bias))


def test_the_first_loss_of_logistic_units_is_that_of_guessing():
    spec = DataSpec("photos", "images", {"train": 50}, (3, 67, 67), tuple(f"class {i}" for i in range(100)), (1,) * 100)
    torch.manual_seed(0)
    task = recipes.paper("alexnet-owt", spec).task.fitted(spec)
    model = alexnet_owt.build(PAPER.fitted(spec)).eval()
    batch = {"input": torch.zeros(4, 3, 67, 67), "target": torch.arange(4)}
    for layer in (model.fc6, model.fc7):
        torch.nn.init.zeros_(layer.bias)  # so that fc8 sees nothing and only its biases speak
    turn = next(iter(task.turns(model, batch)))
    entropy = -math.log(0.01) - 99 * math.log(0.99)  # one unit in a hundred is on
    assert (turn.loss / turn.weight).item() == pytest.approx(entropy, rel=1e-3)


@settings(max_examples=10, deadline=None)
@given(height=st.integers(67, 300), width=st.integers(67, 300), name=st.sampled_from(sorted(alexnet_owt.VARIANTS)))
def test_every_size_from_67_pixels_works_and_is_told(height, width, name):
    spec = DataSpec("photos", "images", {"train": 9}, (3, height, width), classes=("cat", "dog"))
    config = alexnet_owt.VARIANTS[name].fitted(spec)
    with torch.device("meta"):
        found = shapes(on_meta(alexnet_owt.build, config), *config.example(1))
    assert found["fc8"] == (2,)
    assert config.maps[0] == found["conv1"][1:]
    printed = alexnet_owt.VARIANTS[name].size
    told = [d for d in config.departures() if f"pictures of {height} × {width}" in d.what]
    assert len(told) == (config.size != printed or not config.torchvision)


def test_departures_and_refusals():
    spec = DataSpec("scans", "images", {"train": 9}, (1, 100, 100), classes=("ill", "well"))
    said = [d.what for d in replace(PAPER.fitted(spec), dropout=0.2).departures()]
    assert said == [
        "pictures of 100 × 100 (the author's program: 224 × 224)",
        "dropout 0.2 (AlexNet: 0.5)",
        "1 input channel (paper: 3)",
        "2 outputs (paper: 1,000)",
    ]
    assert "chosen by you" in replace(PAPER, channels=(8, 8, 8, 8, 8)).departures()[0].why
    for config, least in ((PAPER, 67), (THEIRS, 63)):
        with pytest.raises(UserError, match=f"{least} × {least}"):
            config.fitted(replace(spec, shape=(3, least - 1, 90)))
        config.fitted(replace(spec, shape=(3, least, 90)))


def test_the_papers_rate_ends_at_a_250th():
    spec = DataSpec("photos", "images", {"train": 5000}, (3, 227, 227), classes=("cat", "dog"))
    schedule = recipes.paper("alexnet-owt", spec).schedule
    assert [schedule(step, 100, ()) for step in (0, 24)] == [1, 1]
    assert schedule(25, 100, ()) == pytest.approx(250 ** (-1 / 3))
    assert schedule(99, 100, ()) == pytest.approx(1 / 250)
