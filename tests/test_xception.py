"""Xception against timm's on the same weights, against loops, and against what the paper says of its parts."""

from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

from peers import relative, scrambled
from seminal.core import DataSpec, UserError
from seminal.papers import xception
from seminal.pieces.measure import on_meta, parameters
from seminal.weights.keys import renamed, turned
from seminal.weights.xception import TIMM
from seminal.weights.xception import timm as names

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = replace(xception.VARIANTS["xception"], repeats=1)


@pytest.fixture(scope="module")
def peer():
    """timm's network with every number random, the running statistics too."""
    torch.manual_seed(0)
    return scrambled(timm.create_model(TIMM["xception"], pretrained=False).eval())


def test_same_outputs_as_timm_on_its_weights(peer):
    config = xception.VARIANTS["xception"]
    ours = on_meta(xception.build, config)
    ours.load_state_dict(renamed(peer.state_dict(), turned(names(config))), assign=True)
    x = torch.randn(2, 3, 71, 96)
    with torch.no_grad():
        assert relative(ours(x), peer(x)) <= 1e-5


def test_same_outputs_of_timm_on_our_weights(peer):
    config = xception.VARIANTS["xception"]
    ours = xception.build(config).eval()
    state = renamed(ours.state_dict(), names(config))
    assert set(state) == set(peer.state_dict()), "every entry has a name on the other side"
    theirs = timm.create_model(TIMM["xception"], pretrained=False).eval()
    theirs.load_state_dict(state)
    x = torch.randn(1, 3, 71, 71)
    with torch.no_grad():
        assert relative(theirs(x), ours(x)) <= 1e-5


def test_same_gradients_as_timm_in_training(peer):
    # Without dropout, and with the middle flow of one module: the other seven are alike.
    config = replace(SHORT, dropout=0.0)
    theirs = timm.create_model(TIMM["xception"], pretrained=False)
    for number in range(5, 12):
        setattr(theirs, f"block{number}", nn.Identity())
    theirs = theirs.double()
    ours = xception.build(config).double()
    mapped = {mine: other.replace("block5", "block12") for mine, other in names(config).items()}
    ours.load_state_dict(renamed(theirs.state_dict(), turned(mapped)))
    x = torch.randn(3, 3, 48, 48, dtype=torch.float64)
    for model in (ours, theirs):
        model(x).square().sum().backward()
    gradients = {
        f"{module}.{leaf}": theirs.get_parameter(f"{other}.{leaf}").grad
        for module, other in mapped.items()
        for leaf in ("weight", "bias")
        if f"{other}.{leaf}" in dict(theirs.named_parameters())
    }
    for name, parameter in ours.named_parameters():
        assert relative(parameter.grad, gradients[name]) < 1e-6, name


def test_a_separable_convolution_is_the_loop():
    layer = xception.SeparableConv(3, 4).double()
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    expected = torch.zeros(2, 4, 5, 6, dtype=torch.float64)
    for i in range(5):
        for j in range(6):
            for c in range(3):
                filtered = (padded[:, c, i : i + 3, j : j + 3] * layer.depthwise.weight[c, 0]).sum(dim=(1, 2))
                for d in range(4):
                    expected[:, d, i, j] += layer.pointwise.weight[d, c, 0, 0] * filtered
    torch.testing.assert_close(layer(x), expected)


def test_a_separable_convolution_is_a_full_one_of_rank_one_kernels():
    layer = xception.SeparableConv(3, 5).double()
    kernels = layer.pointwise.weight * layer.depthwise.weight.transpose(0, 1)  # (D, C, 1, 1) · (1, C, 3, 3)
    x = torch.randn(2, 3, 7, 7, dtype=torch.float64)
    torch.testing.assert_close(layer(x), nn.functional.conv2d(x, kernels, padding=1))


@pytest.mark.parametrize(("between", "linear"), [("none", True), ("relu", False), ("elu", False)])
def test_only_the_papers_form_is_linear(between, linear):
    layer = xception.SeparableConv(4, 4, between)
    x, y = torch.randn(2, 1, 4, 5, 5)
    gap = relative(layer(x + y), layer(x) + layer(y))
    assert (gap < 1e-5) is linear


def test_the_addition_is_the_last_thing_a_module_does():
    branch = xception.separable([8] * 4, "none")
    nn.init.zeros_(branch.bn3.weight)
    x = torch.randn(2, 8, 3, 3)  # negative numbers too
    assert torch.equal(xception.Module(branch, nn.Identity())(x), x)
    assert torch.equal(xception.Module(branch, None)(x), torch.zeros_like(x)), "without a shortcut the input is lost"


def test_running_statistics_are_not_in_the_papers_count():
    model = on_meta(xception.build, xception.VARIANTS["xception"])
    statistics = sum(b.numel() for name, b in model.named_buffers() if "running" in name)
    assert (parameters(model), statistics) == (22_855_952, 54_528)


def test_without_residuals_only_the_projections_are_missing():
    with_, without = (on_meta(xception.build, xception.VARIANTS[name]) for name in ("xception", "xception-plain"))
    pairs = ((64, 128), (128, 256), (256, 728), (728, 1024))
    assert parameters(with_) - parameters(without) == sum(a * b + 2 * b for a, b in pairs)


def test_small_pictures_and_changes_are_told_or_refused():
    spec = DataSpec("photos", "images", {"train": 9}, (1, 40, 64), classes=("cat", "dog"))
    said = [d.what for d in SHORT.fitted(spec).departures()]
    assert said[0] == "a middle flow of 1 modules (paper: 8)"
    assert said[1:] == [
        "1 input channel (paper: 3)",
        "pictures of 40 × 64 (paper: 299 × 299)",
        "2 outputs (paper: 1,000)",
    ]
    with pytest.raises(UserError, match="at least 32 × 32"):
        SHORT.fitted(replace(spec, shape=(3, 31, 64)))
    with pytest.raises(UserError, match="none, relu, elu"):
        replace(SHORT, between="gelu")


def test_dropout_is_before_the_classifier_and_only_in_training():
    config = replace(SHORT, size=(32, 32))
    model = xception.build(config)
    x = torch.randn(2, 3, 32, 32)
    model.eval()
    assert torch.equal(model(x), model(x))
    assert model.dropout.p == 0.5
