"""ResNet against torchvision's on the same weights, against loops, and against what the paper says of its blocks."""

from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn

from peers import scrambled
from seminal.core import DataSpec, UserError
from seminal.papers import resnet
from seminal.pieces.measure import multiply_adds, on_meta, parameters

pytestmark = pytest.mark.usefixtures("one_thread")


def ours_from_torchvision(state):
    """torchvision's names -> the paper's (layer1 is conv2_x, downsample is the shortcut)."""
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0].startswith("layer"):
            stage = f"stages.conv{int(parts[0][5:]) + 1}_x"
            rest = ["shortcut", *parts[3:]] if parts[2] == "downsample" else ["branch", *parts[2:]]
            key = ".".join([stage, parts[1], *rest])
        renamed[key] = value
    return renamed


PEERS = {"resnet18": "resnet18", "resnet34": "resnet34"} | {
    f"resnet{depth}-v1.5": f"resnet{depth}" for depth in (50, 101, 152)
}


@pytest.mark.parametrize("variant", PEERS)
def test_same_outputs_as_torchvision_on_the_same_weights(variant):
    theirs = scrambled(getattr(torchvision.models, PEERS[variant])(weights=None)).eval()
    ours = on_meta(resnet.build, resnet.VARIANTS[variant])
    ours.load_state_dict(ours_from_torchvision(theirs.state_dict()), assign=True)
    x = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        a, b = ours(x), theirs(x)
    assert ((a - b).abs().max() / b.abs().max()).item() <= 1e-5


@pytest.mark.parametrize("kind", ["BasicBlock", "Bottleneck"])
def test_same_gradients_as_torchvision_in_training(kind):
    theirs = scrambled(torchvision.models.ResNet(getattr(torchvision.models.resnet, kind), [2, 1, 2, 1])).double()
    bottleneck = kind == "Bottleneck"
    ours = resnet.build(resnet.Config((2, 1, 2, 1), bottleneck=bottleneck, stride_in_3x3=bottleneck)).double()
    ours.load_state_dict(ours_from_torchvision(theirs.state_dict()))
    x = torch.randn(4, 3, 40, 40, dtype=torch.float64)
    for model in (ours, theirs):
        model(x).square().sum().backward()
    gradients = ours_from_torchvision({name: p.grad for name, p in theirs.named_parameters()})
    for name, parameter in ours.named_parameters():
        difference = (parameter.grad - gradients[name]).abs().max() / gradients[name].abs().max()
        assert difference.item() < 1e-8, name
    for name, statistic in ours_from_torchvision(dict(theirs.named_buffers())).items():
        torch.testing.assert_close(ours.get_buffer(name), statistic)


def test_the_papers_stride_is_cheaper_than_v1_5_and_has_the_same_parameters():
    with torch.device("meta"):
        x = torch.randn(1, 3, 224, 224)
    paper, common = (on_meta(resnet.build, resnet.VARIANTS[name]) for name in ("resnet50", "resnet50-v1.5"))
    assert parameters(paper) == parameters(common) == 25_557_032
    assert (multiply_adds(paper, x), multiply_adds(common, x)) == (3_857_973_248, 4_089_184_256)
    assert [type(m) for m in paper.modules()] == [type(m) for m in common.modules()]


@pytest.mark.parametrize(
    ("option", "counts"),
    [("A", (269_722, 40_551_040)), ("B", (272_474, 40_813_184)), ("C", (283_962, 42_648_192))],
)
def test_counts_of_the_shortcut_options_on_cifar(option, counts):
    with torch.device("meta"):
        x = torch.randn(1, 3, 32, 32)
    model = on_meta(resnet.build, replace(resnet.VARIANTS["resnet20"], shortcut=option))
    assert (parameters(model), multiply_adds(model, x)) == counts


@pytest.mark.parametrize("variant", ["resnet18-a", "resnet34-a", "resnet20", "resnet56"])
def test_option_a_adds_no_parameter_to_the_plain_twin(variant):
    config = resnet.VARIANTS[variant]
    residual, plain = (on_meta(resnet.build, c) for c in (config, replace(config, shortcut="plain")))
    assert parameters(residual) == parameters(plain)
    assert not list(resnet.ZeroPad(16, 2).parameters())


def test_zero_padding_is_the_loop():
    x = torch.randn(2, 3, 5, 4)
    y = resnet.ZeroPad(new_channels=2, stride=2)(x)
    expected = torch.zeros(2, 5, 3, 2)
    for channel in range(3):
        for i in range(3):
            for j in range(2):
                expected[:, channel, i, j] = x[:, channel, 2 * i, 2 * j]
    assert torch.equal(y, expected)


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_a_block_whose_branch_gives_zero_is_the_identity(kind):
    branch = resnet.basic(8, 8, 1) if kind == "basic" else resnet.bottleneck(8, 8, 1, stride_in_3x3=False)
    nn.init.zeros_(branch[-1].weight)  # the gain of the last normalisation
    x = torch.rand(2, 8, 6, 6)  # blocks see outputs of ReLU: not negative
    assert torch.equal(resnet.Residual(branch, nn.Identity())(x), x)
    assert torch.equal(resnet.Residual(branch, None)(x), torch.zeros_like(x)), "the plain twin loses its input"


def test_gradient_passes_the_shortcut_unchanged():
    """dy/dx = dF/dx + 1: with F at zero every gradient arrives as it left."""
    branch = resnet.basic(4, 4, 1)
    nn.init.zeros_(branch[-1].weight)
    x = torch.rand(2, 4, 6, 6).add(0.1).requires_grad_()
    gradient = torch.randn(2, 4, 6, 6)
    resnet.Residual(branch, nn.Identity())(x).backward(gradient)
    assert torch.equal(x.grad, gradient)


def test_small_grey_pictures_are_told_as_departures():
    names = tuple("0123456789")
    digits = DataSpec("digits", "images", {"train": 1437}, (1, 8, 8), classes=names)
    said = [departure.what for departure in resnet.VARIANTS["resnet20"].fitted(digits).departures()]
    assert said == ["1 input channel (paper: 3)", "pictures of 8 × 8 (paper: 32 × 32)"]
    photos = DataSpec("photos", "images", {"train": 9}, (3, 40, 64), classes=("cat", "dog"))
    said = [departure.what for departure in resnet.VARIANTS["resnet50-v1.5"].fitted(photos).departures()]
    assert said[0].startswith("stride 2 in the 3 × 3")
    assert said[1:] == ["pictures of 40 × 64 (paper: 224 × 224)", "2 outputs (paper: 1,000)"]


def test_networks_outside_the_tables_are_told_as_departures():
    said = [d.what for d in replace(resnet.VARIANTS["resnet20"], shortcut="B").departures()]
    assert said == ["shortcut option B (paper, at this depth: A, plain)"]
    (odd,) = replace(resnet.VARIANTS["resnet20"], blocks=(4, 4, 4)).departures()
    assert "not a network of the paper's tables" in odd.what


def test_unknown_shortcut_is_refused():
    with pytest.raises(UserError, match="A, B, C, plain"):
        replace(resnet.VARIANTS["resnet20"], shortcut="D")


def test_layout_in_memory_does_not_change_the_numbers():
    model = resnet.build(resnet.VARIANTS["resnet20"]).double()
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = model(x)
    strided = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(strided, expected)
    padded = resnet.ZeroPad(2, 2)(x.to(memory_format=torch.channels_last))
    assert padded.is_contiguous(memory_format=torch.channels_last), "a copy per block would cost time"


def test_last_convolutions_of_a_plain_network_are_reached_without_shortcuts():
    config = replace(resnet.VARIANTS["plain20"], blocks=(1, 1, 1))
    model = resnet.build(config)
    assert not [name for name, _ in model.named_modules() if "shortcut" in name]
    assert model(*config.example(2)).shape == (2, 10)
