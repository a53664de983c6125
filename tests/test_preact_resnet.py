"""Pre-activation ResNet against timm's on the same weights, against its units written out, and against its equations."""

from dataclasses import replace

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d, create_conv2d
from timm.models.resnetv2 import ResNetV2
from torch import nn
from torch.nn import functional as F

from peers import relative, scrambled
from seminal.core import DataSpec, UserError
from seminal.papers import preact_resnet, resnet
from seminal.papers.preact_resnet import ORDERS, Config, Gated, unit
from seminal.pieces.measure import on_meta
from seminal.weights import matching
from seminal.weights import preact_resnet as maps

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Config((2, 2, 2), 2, large_stem=False, size=(32, 32), outputs=10)


def peer(layers):
    """timm's network with few layers."""
    return ResNetV2(layers=layers, conv_layer=create_conv2d, norm_layer=BatchNormAct2d)


@pytest.mark.parametrize("variant", maps.TIMM)
def test_every_entry_of_timms_checkpoint_has_its_place(variant):
    with torch.device("meta"):
        theirs = timm.create_model(maps.TIMM[variant]).state_dict()
    config = preact_resnet.VARIANTS[variant]
    found = matching.fit(theirs, on_meta(preact_resnet.build, config), "preact_resnet", config, "timm")
    assert found.fits, found.told()
    back = matching.to_theirs("timm", found.state, "preact_resnet", config)
    assert {key: value.shape for key, value in back.items()} == {key: value.shape for key, value in theirs.items()}


def test_same_outputs_as_timm_on_the_same_weights():
    theirs = scrambled(timm.create_model("resnetv2_50")).eval()
    config = preact_resnet.VARIANTS["preresnet50-v1.5"]
    ours = on_meta(preact_resnet.build, config)
    ours.load_state_dict(matching.to_ours("timm", theirs.state_dict(), "preact_resnet", config), assign=True)
    x = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        assert relative(ours(x), theirs(x)) <= 1e-5


def test_same_gradients_as_timm_in_training():
    theirs = scrambled(peer([2, 1, 2, 1])).double()
    config = replace(preact_resnet.VARIANTS["preresnet50-v1.5"], blocks=(2, 1, 2, 1))
    ours = preact_resnet.build(config).double()
    ours.load_state_dict(matching.to_ours("timm", theirs.state_dict(), "preact_resnet", config))
    x = torch.randn(4, 3, 40, 40, dtype=torch.float64)
    for model in (ours, theirs):
        model(x).square().sum().backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    gradients = matching.to_ours("timm", gradients, "preact_resnet", config)
    for name, parameter in ours.named_parameters():
        assert relative(parameter.grad, gradients[name]) < 1e-8, name


def test_our_weights_run_in_timm():
    config = replace(preact_resnet.VARIANTS["preresnet50-v1.5"], blocks=(1, 1, 2, 1))
    ours = scrambled(preact_resnet.build(config)).eval()
    theirs = peer([1, 1, 2, 1]).eval()
    theirs.load_state_dict(matching.to_theirs("timm", ours.state_dict(), "preact_resnet", config))
    x = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        assert relative(theirs(x), ours(x)) <= 1e-5


@pytest.mark.parametrize(("layers", "shortcut"), [(2, "A"), (3, "B")])
def test_the_original_order_is_the_resnet(layers, shortcut):
    ours = scrambled(preact_resnet.build(replace(SMALL, layers=layers, order="original"))).eval()
    config = resnet.Config((2, 2, 2), 16, layers == 3, shortcut, large_stem=False, size=(32, 32), outputs=10)
    theirs = resnet.build(config).eval()
    theirs.load_state_dict(ours.state_dict())  # the names are the same too
    x = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(ours(x), theirs(x))


def written_out(order, x, made):
    """A unit of two layers as Fig. 4 draws it, with the numbers of ``made``."""
    norms = [m for m in made.modules() if isinstance(m, nn.BatchNorm2d)]
    one, two = (m for m in made.modules() if isinstance(m, nn.Conv2d))

    def bn(z, k):
        return F.batch_norm(z, norms[k].running_mean, norms[k].running_var, norms[k].weight, norms[k].bias)

    if order == "original":
        return F.relu(x + bn(two(F.relu(bn(one(x), 0))), 1))
    if order == "bn-after-addition":
        return F.relu(bn(x + two(F.relu(bn(one(x), 0))), 1))
    if order == "relu-before-addition":
        return x + F.relu(bn(two(F.relu(bn(one(x), 0))), 1))
    if order == "relu-only":
        return x + bn(two(F.relu(bn(one(F.relu(x)), 0))), 1)
    return x + two(F.relu(bn(one(F.relu(bn(x, 0))), 1)))


@pytest.mark.parametrize("order", ORDERS)
def test_each_order_is_that_of_fig_4(order):
    made = scrambled(unit(replace(SMALL, order=order), 8, 8, 1)).eval()
    x = torch.randn(2, 8, 6, 6)
    torch.testing.assert_close(made(x), written_out(order, x, made))


@pytest.mark.parametrize(("order", "identical"), [("full", True), ("relu-only", True), ("original", False)])
def test_a_deep_feature_is_a_shallow_one_and_all_changes_between(order, identical):
    """Eq. 4 holds where nothing comes after the addition, and only there."""
    model = scrambled(preact_resnet.build(replace(SMALL, order=order, blocks=(6,)))).double().eval()
    changes, stage = [], model.get_submodule("stages.conv2_x")
    for made in stage:
        made.branch.register_forward_hook(lambda _, __, output: changes.append(output))
    x = torch.randn(2, 16, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        deep = stage(x)
    assert (relative(x + sum(changes), deep) < 1e-12) is identical


def test_relu_before_addition_can_only_add():
    """Sec. 4.1: the signal then grows from unit to unit, which a residual should not be bound to."""
    x = torch.randn(2, 8, 6, 6)
    grows = scrambled(unit(replace(SMALL, order="relu-before-addition"), 8, 8, 1)).eval()
    full = scrambled(unit(SMALL, 8, 8, 1)).eval()
    assert (grows(x) - x).min() >= 0
    assert (full(x) - x).min() < 0


def test_the_projection_reads_what_the_branch_reads():
    """Appendix: "these projection shortcuts are also with pre-activation", which both share."""
    made = scrambled(unit(replace(SMALL, layers=3), 8, 16, 2)).eval()
    seen = []
    for part in (made.shortcut, made.branch):
        part.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    x = torch.randn(2, 8, 6, 6)
    made(x)
    assert torch.equal(seen[0], seen[1])
    torch.testing.assert_close(seen[0], F.relu(made.activation.bn(x)))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in made.shortcut.modules())


def test_one_activation_after_conv1_and_one_at_the_end():
    model = preact_resnet.build(SMALL)
    first, second = model.get_submodule("stages.conv2_x")[:2]
    assert isinstance(first.activation, nn.Identity)
    assert [type(m) for m in second.activation] == [nn.BatchNorm2d, nn.ReLU]
    assert [type(m) for m in model.last] == [nn.BatchNorm2d, nn.ReLU]


@pytest.mark.parametrize("skip", ["exclusive-gating", "shortcut-gating"])
def test_gates_choose_between_the_shortcut_and_f(skip):
    made = unit(replace(SMALL, skip=skip), 8, 8, 1).eval()
    assert isinstance(made.merge, Gated)
    nn.init.zeros_(made.merge.gate.weight)
    x, exclusive = torch.randn(2, 8, 6, 6), skip == "exclusive-gating"
    change = made.branch(made.activation(x))
    for bias, g in ((-100.0, 0.0), (0.0, 0.5), (100.0, 1.0)):
        nn.init.constant_(made.merge.gate.bias, bias)
        torch.testing.assert_close(made(x), (1 - g) * x + (g if exclusive else 1) * change)


def test_gates_start_from_their_bias():
    gates = [
        m.gate for m in preact_resnet.build(replace(SMALL, skip="shortcut-gating")).modules() if isinstance(m, Gated)
    ]
    assert len(gates) == 6
    assert all((gate.bias == -6).all() and gate.weight.std() > 0 for gate in gates)


def test_other_shortcuts_are_those_of_fig_2():
    x = torch.rand(2, 8, 6, 6)
    for skip, on_shortcut, on_branch in (("halved", 0.5, 1.0), ("scaling", 0.5, 0.5)):
        made = unit(replace(SMALL, skip=skip), 8, 8, 1).eval()
        torch.testing.assert_close(made(x), on_shortcut * x + on_branch * made.branch(made.activation(x)))
    convolution = unit(replace(SMALL, skip="convolution", order="original"), 8, 8, 1)
    assert [type(m) for m in convolution.shortcut] == [nn.Conv2d, nn.BatchNorm2d]
    made = unit(replace(SMALL, skip="dropout"), 8, 8, 1).eval()
    torch.testing.assert_close(made(x), x + made.branch(made.activation(x)))
    nn.init.zeros_(made.train().branch.conv2.weight)
    kept = made(x)
    assert ((kept == 0) | (kept - 2 * x).abs().lt(1e-6)).all(), "torch's dropout doubles what it keeps"
    assert 0.3 < (kept == 0).float().mean() < 0.7


def test_units_of_one_layer_have_a_shortcut_over_every_layer():
    with torch.device("meta"):
        model = preact_resnet.build(preact_resnet.VARIANTS["preresnet110-1layer"])
    assert [len(stage) for stage in model.stages] == [36, 36, 36]
    assert all(sum(isinstance(m, nn.Conv2d) for m in made.modules()) == 1 for stage in model.stages for made in stage)


def test_what_is_not_in_the_paper_is_told_or_refused():
    (odd,) = replace(preact_resnet.VARIANTS["preresnet110"], blocks=(4, 4, 4)).departures()
    assert odd.what.startswith("26 layers, order full, shortcut identity: not a network")
    digits = DataSpec("digits", "images", {"train": 1437}, (1, 8, 8), classes=tuple("0123456789"))
    said = [departure.what for departure in preact_resnet.VARIANTS["preresnet164"].fitted(digits).departures()]
    assert said == ["1 input channel (paper: 3)", "pictures of 8 × 8 (paper: 32 × 32)"]
    with pytest.raises(UserError, match="original, bn-after-addition"):
        replace(SMALL, order="post")
    with pytest.raises(UserError, match="exclusive-gating"):
        replace(SMALL, skip="gated")
    with pytest.raises(UserError, match="`preresnet164`"):
        preact_resnet.VARIANTS["preresnet200"].fitted(replace(digits, shape=(3, 31, 64)))


def test_layout_in_memory_does_not_change_the_numbers():
    model = preact_resnet.build(SMALL).double()
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = model(x)
    torch.testing.assert_close(model.to(memory_format=torch.channels_last)(x), expected)
