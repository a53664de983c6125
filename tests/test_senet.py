"""Squeeze-and-excitation against loops, against timm's networks on the same weights, and plugged into other networks."""

from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

from peers import relative, scrambled
from seminal.core import DataSpec, UserError
from seminal.papers import bn_inception, preact_resnet, resnet, resnext, senet
from seminal.papers.senet import Config, SqueezeExcitation, plug
from seminal.pieces.init import constant, fill
from seminal.pieces.measure import on_meta, parameters
from seminal.weights import matching
from seminal.weights import senet as maps

pytestmark = pytest.mark.usefixtures("one_thread")


def gates_of(model):
    return {name: m for name, m in model.named_modules() if isinstance(m, SqueezeExcitation)}


@pytest.mark.parametrize("bias", [True, False])
def test_the_block_is_the_loop(bias):
    block, u = SqueezeExcitation(6, 2, bias=bias), torch.randn(2, 6, 3, 4)
    expected = torch.empty_like(u)
    w1, w2 = (getattr(block.gate, name).weight[:, :, 0, 0] for name in ("reduce", "expand"))
    for n in range(2):
        z = [sum(u[n, c, i, j] for i in range(3) for j in range(4)) / 12 for c in range(6)]
        hidden = []
        for k in range(3):
            total = sum(w1[k, c] * z[c] for c in range(6)) + (block.gate.reduce.bias[k] if bias else 0)
            hidden.append(max(total, torch.tensor(0.0)))
        for c in range(6):
            total = sum(w2[c, k] * hidden[k] for k in range(3)) + (block.gate.expand.bias[c] if bias else 0)
            expected[n, c] = u[n, c] / (1 + torch.exp(-total))
    torch.testing.assert_close(block(u), expected)
    assert (block.gate.reduce.bias is not None) is bias


def test_gates_can_be_read_for_every_block_and_picture():
    model, seen = senet.build(replace(senet.VARIANTS["se-resnet50"], size=(32, 32))), {}
    for name, block in gates_of(model).items():
        block.gate.register_forward_hook(lambda _, __, output, name=name: seen.setdefault(name, output))
    with torch.no_grad():
        model(torch.randn(2, 3, 32, 32))
    assert len(seen) == 16
    assert seen["stages.conv2_x.0.branch.se"].shape == (2, 256, 1, 1)
    assert seen["stages.conv5_x.2.branch.se"].shape == (2, 2048, 1, 1)
    for gates in seen.values():
        assert ((gates > 0) & (gates < 1)).all()
        assert not torch.equal(gates[0], gates[1]), "gates depend on the picture"


@pytest.mark.parametrize("variant", maps.TIMM)
def test_every_entry_of_timms_checkpoint_has_its_place(variant):
    with torch.device("meta"):
        theirs = timm.create_model(maps.TIMM[variant]).state_dict()
    config = senet.VARIANTS[variant]
    found = matching.fit(theirs, on_meta(senet.build, config), "senet", config, "timm")
    assert found.fits, found.told()
    back = matching.to_theirs("timm", found.state, "senet", config)
    assert {key: value.shape for key, value in back.items()} == {key: value.shape for key, value in theirs.items()}


@pytest.mark.parametrize(
    "variant", ["se-resnet50-v1.5", "se-resnet50-caffe", "se-resnext50-32x4d", "se-resnext50-32x4d-caffe"]
)
def test_same_outputs_as_timm_on_the_same_weights(variant):
    theirs = scrambled(timm.create_model(maps.TIMM[variant])).eval()
    config = senet.VARIANTS[variant]
    ours = on_meta(senet.build, config)
    ours.load_state_dict(matching.to_ours("timm", theirs.state_dict(), "senet", config), assign=True)
    x = torch.randn(2, 3, 52, 48)
    with torch.no_grad():
        assert relative(ours(x), theirs(x)) <= 1e-5


def test_same_outputs_as_both_of_timms_senet_154():
    ours = scrambled(senet.build(senet.VARIANTS["senet154"])).eval()
    x = torch.randn(1, 3, 64, 64)
    for variant, pool in (("senet154", ours.pool1), ("senet154-caffe", nn.MaxPool2d(3, 2, ceil_mode=True))):
        with torch.device("meta"):
            theirs = timm.create_model(maps.TIMM[variant]).eval()
        state = matching.to_theirs("timm", ours.state_dict(), "senet", senet.VARIANTS[variant])
        theirs.load_state_dict(state, assign=True)
        ours.pool1 = pool
        with torch.no_grad():
            assert relative(theirs(x), ours(x)) <= 1e-4, variant


def test_caffe_pooling_begins_in_the_corner():
    caffe, ours = (senet.build(Config("resnet18", caffe_pool=on)).pool1 for on in (True, False))
    x = torch.arange(112.0 * 112).reshape(1, 1, 112, 112)
    assert caffe(x).shape == ours(x).shape == (1, 1, 56, 56)
    assert (caffe(x)[0, 0, 0, 0], ours(x)[0, 0, 0, 0]) == (2 * 112 + 2, 112 + 1)


NETWORKS = [
    (resnet, "resnet20", 9),
    (resnet, "resnet50", 16),
    (preact_resnet, "preresnet110", 54),
    (preact_resnet, "resnet110-shortcut-gating", 54),
    (resnext, "resnext50-32x4d", 16),
    (bn_inception, "bn-inception", 10),
]


@pytest.mark.parametrize(("house", "variant", "blocks"), NETWORKS, ids=[name for _, name, _ in NETWORKS])
def test_open_gates_leave_the_network_as_it_was(house, variant, blocks):
    config = replace(house.VARIANTS[variant], size=(32, 32))
    model = scrambled(house.build(config)).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = model(x)
        assert plug(model) == blocks == len(gates_of(model))
        gated = model(x)
        for block in gates_of(model).values():
            fill(block, weights=constant(0.0), biases=constant(100.0))
        after = model(x)
    assert torch.equal(after, before)
    assert not torch.allclose(gated, before)


def test_gates_act_before_the_addition_and_behind_the_module():
    block = senet.build(Config("resnet18", stages=(2,))).get_submodule("stages.conv2_x.0")
    fill(block.branch.se, weights=constant(0.0), biases=constant(-100.0))  # all gates shut
    x = torch.rand(2, 64, 5, 5)
    torch.testing.assert_close(block(x), x)
    module = senet.build(senet.VARIANTS["se-inception"]).eval().get_submodule("stages.inception4e")
    fill(module.se, weights=constant(0.0), biases=constant(0.0))  # all gates half open
    x = torch.randn(2, 608, 6, 6)
    torch.testing.assert_close(module(x), module.transform(x) / 2)


def test_only_the_chosen_stages_get_gates():
    model = on_meta(senet.build, senet.VARIANTS["se-resnet50-stage3"])
    assert {name.split(".")[1] for name in gates_of(model)} == {"conv3_x"}
    model = on_meta(senet.build, replace(senet.VARIANTS["se-resnet50"], stages=()))
    assert parameters(model) == parameters(on_meta(resnet.build, resnet.VARIANTS["resnet50"]))


def test_senet_154_is_the_resnext_with_the_changes_of_the_appendix():
    model = on_meta(senet.build, senet.VARIANTS["senet154"])
    base = on_meta(resnext.build, resnext.Config((3, 8, 36, 3), 64, 4))
    for name, block in model.named_modules():
        if not isinstance(block, resnet.Residual):
            continue
        twin = base.get_submodule(name)
        assert 2 * block.branch.conv1.out_channels == twin.branch.conv1.out_channels  # (a)
        for layer in ("conv2", "conv3"):
            ours, theirs = (b.get_submodule(f"branch.{layer}") for b in (block, twin))
            assert (ours.out_channels, ours.groups, ours.stride) == (theirs.out_channels, theirs.groups, theirs.stride)
        if not isinstance(block.shortcut, nn.Identity):  # (c)
            assert block.shortcut[0].kernel_size == ((3, 3) if block.shortcut[0].stride == (2, 2) else (1, 1))
    assert [m.kernel_size for m in model.conv1 if isinstance(m, nn.Conv2d)] == [(3, 3)] * 3  # (b)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.2]  # (d)


def test_what_is_not_in_the_paper_is_told_or_refused():
    (odd,) = Config("resnet34").departures()[-1:]
    assert odd.what == "resnet34, r = 16, gates in stages (2, 3, 4, 5): not a network of the paper"
    digits = DataSpec("digits", "images", {"train": 1437}, (1, 8, 8), classes=tuple("0123456789"))
    said = [departure.what for departure in senet.VARIANTS["se-resnet110"].fitted(digits).departures()]
    assert said == ["1 input channel (paper: 3)", "pictures of 8 × 8 (paper: 32 × 32)"]
    with pytest.raises(UserError, match="needs at least 32 × 32"):
        senet.VARIANTS["senet154"].fitted(digits)
    with pytest.raises(UserError, match="no network 'resnet51'"):
        senet.build(Config("resnet51"))
    with pytest.raises(UserError, match="from 1 to 16"):
        senet.build(Config("preresnet110", reduction=32, size=(32, 32), outputs=10))


def test_layout_in_memory_does_not_change_the_numbers():
    block, u = SqueezeExcitation(32).double(), torch.randn(2, 32, 5, 5, dtype=torch.float64)
    strided = block(u.to(memory_format=torch.channels_last))
    torch.testing.assert_close(strided, block(u))
    assert strided.is_contiguous(memory_format=torch.channels_last), "a copy per block would cost time"
