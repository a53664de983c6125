"""ResNeXt against torchvision's and timm's on the same weights, and its three forms against each other."""

from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from peers import relative, scrambled
from seminal.core import DataSpec, UserError
from seminal.papers import resnet, resnext
from seminal.papers.resnext import Config, EarlyConcatenation, SplitTransformMerge, as_paths, grouped
from seminal.pieces.measure import on_meta, stages, work
from seminal.weights import matching
from seminal.weights import resnext as maps

pytestmark = pytest.mark.usefixtures("one_thread")


PEERS = [("torchvision", *pair) for pair in maps.TORCHVISION.items()] + [("timm", *pair) for pair in maps.TIMM.items()]


@pytest.mark.parametrize(("dialect", "variant", "name"), PEERS)
def test_every_entry_of_a_peers_checkpoint_has_its_place(dialect, variant, name):
    with torch.device("meta"):
        built = torchvision.models.get_model(name) if dialect == "torchvision" else timm.create_model(name)
    theirs, config = built.state_dict(), resnext.VARIANTS[variant]
    found = matching.fit(theirs, on_meta(resnext.build, config), "resnext", config, dialect)
    assert found.fits, found.told()
    back = matching.to_theirs(dialect, found.state, "resnext", config)
    assert {key: value.shape for key, value in back.items()} == {key: value.shape for key, value in theirs.items()}


@pytest.mark.parametrize("variant", ["resnext50-32x4d", "resnext101-32x8d"])
def test_same_outputs_as_torchvision_on_the_same_weights(variant):
    theirs = scrambled(torchvision.models.get_model(maps.TORCHVISION[variant])).eval()
    config = resnext.VARIANTS[variant]
    ours = on_meta(resnext.build, config)
    ours.load_state_dict(matching.to_ours("torchvision", theirs.state_dict(), "resnext", config), assign=True)
    x = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        assert relative(ours(x), theirs(x)) <= 1e-5


def test_our_weights_and_gradients_in_torchvision():
    config = Config((2, 1, 2, 1), 8, 4)
    ours = scrambled(resnext.build(config)).double()
    block = torchvision.models.resnet.Bottleneck
    theirs = torchvision.models.ResNet(block, [2, 1, 2, 1], groups=8, width_per_group=4).double()
    theirs.load_state_dict(matching.to_theirs("torchvision", ours.state_dict(), "resnext", config))
    x = torch.randn(4, 3, 40, 40, dtype=torch.float64)
    for model in (ours, theirs):
        model(x).square().sum().backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    gradients = matching.to_ours("torchvision", gradients, "resnext", config)
    for name, parameter in ours.named_parameters():
        assert relative(parameter.grad, gradients[name]) < 1e-8, name


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_three_forms_are_equal_in_outputs_and_gradients(stride, training):
    block = scrambled(grouped(12, 20, stride, cardinality=4, width=3)).double().train(training)
    x = torch.randn(5, 12, 7, 7, dtype=torch.float64, requires_grad=True)
    expected = block(x)
    weighed = torch.randn(expected.shape, dtype=torch.float64)
    expected.backward(weighed)
    by_x = x.grad
    for form, early in ((SplitTransformMerge, False), (EarlyConcatenation, True)):
        twin = form(12, 20, stride, cardinality=4, width=3).double().train(training)
        twin.load_state_dict(as_paths(block.state_dict(), 4, early=early))
        x.grad = None
        y = twin(x)
        y.backward(weighed)
        assert relative(y, expected) < 1e-12
        assert relative(x.grad, by_x) < 1e-12
        gradients = as_paths({name: p.grad for name, p in block.named_parameters()}, 4, early=early)
        for name, parameter in twin.named_parameters():
            assert relative(parameter.grad, gradients[name]) < 1e-11, name


def test_a_grouped_convolution_is_a_loop_over_the_paths():
    conv = grouped(6, 6, 1, cardinality=3, width=2).conv2
    x = torch.randn(2, 6, 5, 5)
    rows = [F.conv2d(x[:, 2 * i : 2 * i + 2], conv.weight[2 * i : 2 * i + 2], padding=1) for i in range(3)]
    torch.testing.assert_close(conv(x), torch.cat(rows, dim=1))


def test_one_path_of_64_is_a_resnet_50():
    ours = on_meta(resnext.build, resnext.VARIANTS["resnext50-1x64d"]).state_dict()
    theirs = on_meta(resnet.build, resnet.VARIANTS["resnet50-v1.5"]).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}


def test_without_shortcuts_a_block_forgets_its_input():
    model = resnext.build(Config((1, 1, 1), 4, 4, shortcut="plain", large_stem=False, size=(32, 32), outputs=10))
    assert not [name for name, _ in model.named_parameters() if "shortcut" in name]
    for block in model.get_submodule("stages.conv3_x"):
        nn.init.zeros_(block.branch.bn3.weight)
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(model(x)[0], model(x)[1])


def test_share_of_the_pointwise_convolutions():
    """93.4 % holds for a block with an identity shortcut, in every stage; in the whole network it is 91.7 %."""
    for stage in range(4):
        channels, width = 256 * 2**stage, 4 * 2**stage
        sizes = [m.weight.numel() for m in grouped(channels, channels, 1, cardinality=32, width=width)[::3]]
        assert 100 * (sizes[0] + sizes[2]) / sum(sizes) == pytest.approx(93.4, abs=0.05)
    config = resnext.VARIANTS["resnext50-32x4d"]
    model, sizes = on_meta(resnext.build, config), stages(resnext.build, config)
    of = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    works = {name: m.weight.numel() * sizes[name][1] * sizes[name][2] for name, m in of.items()}
    assert sum(works.values()) + 2048 * 1000 == work(resnext.build, config)
    pointwise = sum(amount for name, amount in works.items() if of[name].kernel_size == (1, 1))
    assert 100 * pointwise / work(resnext.build, config) == pytest.approx(91.7, abs=0.05)


def test_first_weights_are_drawn_for_the_inputs_of_a_group():
    layer = grouped(256, 256, 1, cardinality=4, width=64).conv2
    model = resnext.build(Config((1,), 4, 64, large_stem=False))
    found = model.get_submodule("stages.conv2_x.0.branch.conv2")
    assert found.weight.shape == layer.weight.shape == (256, 64, 3, 3)
    assert found.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


def test_what_is_not_in_the_paper_is_told_or_refused():
    (odd,) = replace(resnext.VARIANTS["resnext50-32x4d"], cardinality=16).departures()
    assert odd.what == "50 layers, 16×4d: not a network of the paper's tables"
    digits = DataSpec("digits", "images", {"train": 1437}, (1, 8, 8), classes=tuple("0123456789"))
    said = [departure.what for departure in resnext.VARIANTS["resnext29-8x64d"].fitted(digits).departures()]
    assert said == ["1 input channel (paper: 3)", "pictures of 8 × 8 (paper: 32 × 32)"]
    with pytest.raises(UserError, match="cardinality=32"):
        Config((3, 4, 6, 3), 0, 4)
    with pytest.raises(UserError, match="`resnext29-8x64d`"):
        resnext.VARIANTS["resnext50-32x4d"].fitted(digits)
