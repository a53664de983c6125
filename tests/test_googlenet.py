"""GoogLeNet against torchvision's on the same weights, against loops, and against what the paper says of its heads."""

from dataclasses import replace

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from peers import scrambled
from seminal.core import DataSpec, UserError
from seminal.papers import googlenet
from seminal.pieces.measure import on_meta, parameters
from seminal.recipes import googlenet as recipes
from seminal.tasks.classification import Classification
from seminal.weights.googlenet import TORCHVISION
from seminal.weights.googlenet import torchvision as names
from seminal.weights.keys import renamed

pytestmark = pytest.mark.usefixtures("one_thread")

PAPER, PEER = googlenet.VARIANTS["googlenet"], googlenet.VARIANTS["googlenet-torchvision"]
SMALL = replace(PAPER, size=(32, 32), outputs=5)


def undropped(model):
    """The model with every dropout off, so that two passes in training can be compared."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def drawn(model):
    """Every number random: torchvision's own start of the convolutions shrinks the signal below float32's steps."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=generator)
    return scrambled(model)


def theirs_and_ours():
    """torchvision's network, and ours with its weights by the key map."""
    peer = torchvision.models.GoogLeNet(aux_logits=True, transform_input=False, init_weights=False)
    peer = undropped(drawn(peer))
    ours = undropped(on_meta(googlenet.build, PEER))
    back = {theirs: mine for mine, theirs in names(PEER).items()}
    ours.load_state_dict(renamed(peer.state_dict(), back), assign=True)
    return peer, ours


def test_same_outputs_as_torchvision_on_the_same_weights_in_both_directions():
    peer, ours = theirs_and_ours()
    x = torch.randn(2, 3, 64, 80)
    with torch.no_grad():
        a, b = ours.eval()(x), peer.eval()(x)
    assert b.std() > 0.01
    assert ((a - b).abs().max() / b.abs().max()).item() <= 1e-5
    assert list(TORCHVISION) == ["googlenet-torchvision"]
    back = renamed(ours.state_dict(), names(PEER))
    assert back.keys() == peer.state_dict().keys()
    assert all(torch.equal(value, peer.state_dict()[key]) for key, value in back.items())


def test_same_heads_and_gradients_as_torchvision_in_training():
    peer, ours = (model.double().train() for model in theirs_and_ours())
    x = torch.randn(3, 3, 48, 48, dtype=torch.float64)
    found, (main, side2, side1) = ours(x), peer(x)
    torch.testing.assert_close(found, torch.stack([main, side1, side2]))
    found.square().sum().backward()
    (main.square().sum() + side1.square().sum() + side2.square().sum()).backward()
    gradients = {name: p.grad for name, p in peer.named_parameters()}
    for name, gradient in renamed({name: p.grad for name, p in ours.named_parameters()}, names(PEER)).items():
        assert (gradient - gradients[name]).abs().max() < 1e-8 * gradients[name].abs().max(), name
    statistics = dict(peer.named_buffers())
    for name, statistic in renamed(dict(ours.named_buffers()), names(PEER)).items():
        torch.testing.assert_close(statistic, statistics[name])


def convolved(x, weight, bias):
    """ReLU of a convolution that keeps the size, one output at a time."""
    _, _, height, width = x.shape
    half = weight.shape[-1] // 2
    y = torch.zeros(len(x), len(weight), height, width, dtype=x.dtype)
    for row in range(height):
        for column in range(width):
            total = bias.clone().expand(len(x), -1).clone()
            for i in range(-half, half + 1):
                for j in range(-half, half + 1):
                    if 0 <= row + i < height and 0 <= column + j < width:
                        total += x[:, :, row + i, column + j] @ weight[:, :, half + i, half + j].T
            y[:, :, row, column] = total.clamp(min=0)
    return y


def pooled(x):
    """The largest of the 3 × 3 pixels around each pixel."""
    _, _, height, width = x.shape
    y = torch.empty_like(x)
    for i in range(height):
        for j in range(width):
            y[:, :, i, j] = x[:, :, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].amax(dim=(2, 3))
    return y


def test_inception_module_is_four_branches_written_out():
    torch.manual_seed(0)
    module = googlenet.Inception(3, googlenet.Filters(2, 4, 5, 2, 3, 4)).double()
    p = dict(module.named_parameters())
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64)

    def layer(name, x):
        return convolved(x, p[f"{name}.conv.weight"], p[f"{name}.conv.bias"])

    branches = [
        layer("one", x),
        layer("three.1", layer("three.0", x)),
        layer("five.1", layer("five.0", x)),
        layer("pool.1", pooled(x)),
    ]
    assert p["five.1.conv.weight"].shape == (3, 2, 5, 5)
    torch.testing.assert_close(module(x), torch.cat(branches, 1))


def test_separable_first_layer_is_one_convolution_with_few_free_numbers():
    """8 filters for each of 3 channels, mixed: together a 7 × 7 convolution whose kernels are sums of 24 filters."""
    torch.manual_seed(0)
    layer = googlenet.unit(3, 64, 7, 2, separable=True).double()
    each, mix = layer.conv
    filters = each.weight.view(3, 8, 7, 7)
    kernels = torch.einsum("ocm,cmhw->ochw", mix.weight.view(64, 3, 8), filters)
    x = torch.randn(2, 3, 17, 20, dtype=torch.float64)
    torch.testing.assert_close(layer(x), F.conv2d(x, kernels, mix.bias, stride=2, padding=3).relu())
    assert parameters(layer) == 3 * 8 * 49 + 24 * 64 + 64 < 3 * 49 * 64


def test_training_gives_all_heads_with_the_main_one_first_and_evaluation_the_main_one():
    torch.manual_seed(0)
    model, x = undropped(googlenet.build(SMALL)), torch.randn(2, 3, 32, 32)
    heads, main = model.train()(x), model.eval()(x)
    assert (heads.shape, main.shape) == ((3, 2, 5), (2, 5))
    torch.testing.assert_close(heads[0], main)
    with torch.no_grad():
        for parameter in (*model.side1.parameters(), *model.side2.parameters()):
            parameter.add_(1)
        assert torch.equal(model(x), main), "side heads have no say in evaluation"
        assert not torch.equal(model.train()(x)[1:], heads[1:])


def test_a_side_head_teaches_the_layers_below_it_and_no_other():
    model = undropped(googlenet.build(SMALL))
    model(torch.randn(2, 3, 32, 32))[1].square().sum().backward()
    reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad.abs().max() > 0}
    assert reached == {"conv1", "conv2", "inception3a", "inception3b", "inception4a", "side1"}


def test_the_loss_counts_each_side_head_three_tenths():
    torch.manual_seed(0)
    model, batch = undropped(googlenet.build(SMALL)), {"input": torch.randn(4, 3, 32, 32), "target": torch.arange(4)}
    names_ = tuple("abcde")
    spec = DataSpec("photos", "images", {"train": 9, "val": 9}, (3, 32, 32), classes=names_, class_counts=(2,) * 5)
    for make in (recipes.paper, recipes.modern):
        assert make("googlenet", spec).task.auxiliary == 0.3
    task = Classification(auxiliary=0.3).fitted(spec)
    (turn,) = task.turns(model, batch)
    main, *side = (F.cross_entropy(head, batch["target"], reduction="sum") for head in model(batch["input"]))
    torch.testing.assert_close(turn.loss, main + 0.3 * side[0] + 0.3 * side[1])


def test_side_heads_average_five_by_five_windows_at_the_papers_size():
    head, x = googlenet.SideHead(2, 5), torch.randn(1, 2, 14, 14)
    expected = torch.stack(
        [x[..., 3 * i : 3 * i + 5, 3 * j : 3 * j + 5].mean((2, 3)) for i in range(4) for j in range(4)]
    )
    torch.testing.assert_close(head.pool(x), expected.permute(1, 2, 0).view(1, 2, 4, 4))
    assert not PAPER.spreads
    assert all(replace(PAPER, size=(n, n)).spreads == (n not in range(223, 271)) for n in range(32, 400))


@settings(max_examples=4, deadline=None)
@given(height=st.integers(32, 300), width=st.integers(32, 300))
def test_every_size_from_32_pixels_works(height, width):
    spec = DataSpec("photos", "images", {"train": 9}, (1, height, width), classes=("cat", "dog"))
    for config in (PAPER, PEER):
        fitted = config.fitted(spec)
        model = on_meta(googlenet.build, fitted).train()
        with torch.device("meta"):
            assert model(*fitted.example(2)).shape == (3, 2, 2)


def test_what_differs_is_told():
    said = [d.what for d in PEER.departures()]
    assert len(said) == 6
    assert "3 × 3 filters (paper: 5 × 5)" in said[0]
    spec = DataSpec("photos", "images", {"train": 9}, (3, 64, 64), classes=("cat", "dog"))
    windows, size, outputs = PAPER.fitted(spec).departures()
    assert "evenly spread windows" in windows.what
    assert (size.what, outputs.what) == ("pictures of 64 × 64 (paper: 224 × 224)", "2 outputs (paper: 1,000)")
    with pytest.raises(UserError, match="`resnet20`"):
        PAPER.fitted(replace(spec, shape=(3, 31, 64)))


def test_counts_of_the_variants():
    assert {name: parameters(on_meta(googlenet.build, config)) for name, config in googlenet.VARIANTS.items()} == {
        "googlenet": 13_378_280,
        "googlenet-separable": 13_371_584,
        "googlenet-torchvision": 13_004_888,
    }
