"""VGG against torchvision's and timm's on the same weights, against its own dense form, and against closed forms."""

from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from seminal.core import DataSpec, UserError
from seminal.papers import vgg
from seminal.papers.alexnet import LocalResponseNorm
from seminal.pieces.measure import on_meta, shapes, work
from seminal.recipes import vgg as recipes
from seminal.weights import vgg as weights
from seminal.weights.matching import to_ours, to_theirs

pytestmark = pytest.mark.usefixtures("one_thread")


def random_state(state, heads):
    """Random numbers in every entry, of a size that keeps signals alive; ``heads`` are the large ones, drawn once."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for key, value in state.items():
        if value.dim() > 1 and value.numel() > 10**6 and "features" not in key:
            size = tuple(value.shape)
            if size not in heads:
                spread = (6 / value[0].numel()) ** 0.5
                heads[size] = torch.empty(size).uniform_(-spread, spread, generator=generator)
            found[key] = heads[size]
        elif value.dim() > 1:
            found[key] = torch.empty(value.shape).normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
        elif value.dtype == torch.long:
            found[key] = torch.tensor(7)
        else:
            low, high = (0.5, 1.5) if key.endswith(("running_var", "weight")) else (-0.5, 0.5)
            found[key] = torch.empty(value.shape).uniform_(low, high, generator=generator)
    return found


@pytest.fixture(scope="module")
def heads():
    return {}


def peer_of(library, variant, heads):
    """Their network with random numbers."""
    name = weights.TORCHVISION[variant]
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)() if library == "torchvision" else timm.create_model(name)
    theirs.load_state_dict(random_state(theirs.state_dict(), heads), assign=True)
    return theirs.eval()


def ours_from(library, theirs, config):
    ours = on_meta(vgg.build, config)
    ours.load_state_dict(to_ours(library, theirs.state_dict(), "vgg", config), assign=True)
    return ours


def difference(ours, theirs, x):
    with torch.no_grad():
        a, b = ours(x), theirs(x)
    assert b.std() > 1e-3
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("variant", weights.TORCHVISION)
def test_same_outputs_as_torchvision_on_the_same_weights(variant, heads):
    """On 32 × 64 pixels: torchvision stretches the last maps of 1 × 2 to 7 × 7, our fc6 has the stretching in it."""
    theirs = peer_of("torchvision", variant, heads)
    ours = ours_from("torchvision", theirs, replace(vgg.VARIANTS[variant], size=(32, 64)))
    assert ours.fc6.in_features == 512 * 2
    assert difference(ours, theirs, torch.randn(2, 3, 32, 64)) <= 1e-5


def test_same_outputs_as_torchvision_at_the_papers_size(heads):
    theirs = peer_of("torchvision", "vgg11", heads)
    ours = ours_from("torchvision", theirs, vgg.VARIANTS["vgg11"])
    assert ours.fc6.weight.data_ptr() == theirs.classifier[0].weight.data_ptr(), "names change and nothing else"
    assert difference(ours, theirs, torch.randn(1, 3, 224, 224)) <= 1e-5


@pytest.mark.parametrize("size", [(96, 32), (256, 224)])
def test_same_outputs_as_timm_below_and_above_the_papers_size(size, heads):
    """timm applies fc6 and fc7 as convolutions and averages, which is the paper's way with larger pictures."""
    theirs = peer_of("timm", "vgg11-bn", heads)
    ours = ours_from("timm", theirs, replace(vgg.VARIANTS["vgg11-bn"], size=size))
    assert difference(ours, theirs, torch.randn(1, 3, *size)) <= 1e-5


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_the_way_back(library):
    """A network of ours for small pictures becomes one of theirs: the stretching is taken out of fc6 again."""
    config = replace(vgg.VARIANTS["vgg11"], size=(32, 64), outputs=3)
    torch.manual_seed(0)
    ours = vgg.build(config).eval()
    with torch.device("meta"):
        theirs = (torchvision.models.vgg11 if library == "torchvision" else timm.models.vgg11)(num_classes=3).eval()
    state = to_theirs(library, ours.state_dict(), "vgg", config)
    theirs.load_state_dict(state, assign=True)
    x = 100 * torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        a, b = ours(x), theirs(x)
    assert ((a - b).abs().max() / b.abs().max()).item() <= 1e-4
    again = to_ours(library, state, "vgg", config)
    assert list(again) == list(ours.state_dict())
    torch.testing.assert_close(again["fc6.weight"], ours.fc6.weight.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(again["fc7.weight"], ours.fc7.weight.detach(), rtol=0, atol=0)


@pytest.mark.parametrize("side", range(1, 8))
def test_stretching_can_be_taken_out_again(side):
    stretch, back = (weights._stretching(side, back=back) for back in (False, True))
    x = torch.randn(side, dtype=torch.float64)
    torch.testing.assert_close(stretch @ x, F.adaptive_avg_pool1d(x[None, None], 7)[0, 0])
    torch.testing.assert_close(back @ stretch, torch.eye(side, dtype=torch.float64))


@pytest.mark.parametrize("variant", weights.TORCHVISION)
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_names_and_shapes_both_ways_at_the_papers_size(library, variant):
    with torch.device("meta"):
        name = weights.TORCHVISION[variant]
        theirs = getattr(torchvision.models, name)() if library == "torchvision" else timm.create_model(name)
    config = vgg.VARIANTS[variant]
    ours = on_meta(vgg.build, config).state_dict()
    assert shaped(to_theirs(library, ours, "vgg", config)) == shaped(theirs.state_dict())
    assert shaped(to_ours(library, theirs.state_dict(), "vgg", config)) == shaped(ours)


def shaped(state):
    return {key: tuple(value.shape) for key, value in state.items()}


def test_a_strange_fc6_is_left_to_whoever_checks():
    strange = {"fc6.weight": torch.zeros(2, 5), "other": torch.ones(1)}
    found = weights.arranged("torchvision", strange, vgg.VARIANTS["vgg11"], back=False)
    assert found["fc6.weight"] is strange["fc6.weight"]
    assert found["other"] is strange["other"]


def test_same_gradients_as_torchvision_in_training():
    """The stages: all that the networks differ in."""
    ours = vgg.build(replace(vgg.VARIANTS["vgg11-bn"], size=(32, 32))).get_submodule("stages").double()
    theirs = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["A"], batch_norm=True).double()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x, towards = torch.randn(4, 3, 32, 32, dtype=torch.float64), torch.randn(4, 512, 1, 1, dtype=torch.float64)
    for model in (ours, theirs):
        (model(x) * towards).sum().backward()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        scale = max(b.grad.abs().max().item(), 1e-12)  # a bias before batch normalisation has no gradient but rounding
        assert (a.grad - b.grad).abs().max().item() <= 1e-8 * max(scale, 1e-3), name
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_larger_pictures_are_read_as_by_the_papers_convolutional_form():
    """Sec. 3.2: fc6 becomes a convolution with its window as kernel, fc7 and fc8 become 1 × 1; scores are averaged."""
    torch.manual_seed(0)
    config = replace(vgg.VARIANTS["vgg11"], size=(32, 64), outputs=5)  # fc6 reads 1 × 2
    model = vgg.build(config).eval()
    x = 50 * torch.randn(2, 3, 64, 128)  # last maps of 2 × 4: 2 × 3 places
    with torch.no_grad():
        maps = model.stages(x)
        maps = F.conv2d(maps, model.fc6.weight.view(4096, 512, 1, 2), model.fc6.bias).relu()
        maps = F.conv2d(maps, model.fc7.weight[:, :, None, None], model.fc7.bias).relu()
        maps = F.conv2d(maps, model.fc8.weight[:, :, None, None], model.fc8.bias)
        assert maps.shape == (2, 5, 2, 3)
        assert maps.std() > 0.01
        torch.testing.assert_close(model(x), maps.mean((2, 3)), rtol=1e-4, atol=1e-4)


def test_dropout_is_on_the_first_two_fully_connected_layers_only():
    torch.manual_seed(0)
    model = vgg.build(replace(vgg.VARIANTS["vgg11"], size=(32, 32), outputs=2)).train()
    seen = {}
    for name in ("stages", "fc6", "fc7", "fc8"):
        getattr(model, name).register_forward_hook(lambda _, inputs, y, name=name: seen.update({name: (inputs[0], y)}))
    with torch.no_grad():
        model(100 * torch.randn(16, 3, 32, 32))
    assert torch.equal(seen["fc6"][0], seen["stages"][1].flatten(1)), "fc6 reads the maps as they are"
    for before, after in (("fc6", "fc7"), ("fc7", "fc8")):
        given, found = seen[before][1].relu(), seen[after][0]
        kept = found != 0
        assert kept[given > 0].float().mean().item() == pytest.approx(0.5, abs=0.02)
        torch.testing.assert_close(found[kept], 2 * given[kept])  # scaled in training: 1 / (1 − 0.5)


@settings(max_examples=15, deadline=None)
@given(layers=st.lists(st.sampled_from(["1", "3", "5", "pool"]), min_size=1, max_size=5))
def test_receptive_field_is_what_the_gradient_reaches(layers):
    modules = [nn.AvgPool2d(2) if k == "pool" else nn.Conv2d(1, 1, int(k), padding=int(k) // 2) for k in layers]
    for module in modules:
        if isinstance(module, nn.Conv2d):
            nn.init.ones_(module.weight)
    x = torch.ones(1, 1, 192, 192, dtype=torch.float64, requires_grad=True)
    y = nn.Sequential(*modules).double()(x)  # averaging in place of the maximum: every pixel of a window counts
    (gradient,) = torch.autograd.grad(y[0, 0, y.shape[2] // 2, y.shape[3] // 2], x)
    reached = int((gradient[0, 0] != 0).any(0).sum())
    counted = [nn.MaxPool2d(2) if isinstance(module, nn.AvgPool2d) else module for module in modules]
    assert vgg.receptive_field(nn.Sequential(*counted)) == reached


def test_receptive_fields_of_the_networks():
    """212 pixels of 224 in D; by the closed form 1 + Σ (kernel − 1) · strides before it."""
    for variant, field in {"vgg11": 150, "vgg13": 156, "vgg16-c": 156, "vgg16": 212, "vgg19": 268}.items():
        depths, expected = vgg.VARIANTS[variant].depths, 1
        for i, depth in enumerate(depths):
            kernels = 2 if vgg.VARIANTS[variant].one_by_one else depth
            expected += (2 * min(depth, kernels) + 1) * 2**i
        assert vgg.receptive_field(on_meta(vgg.build, vgg.VARIANTS[variant])) == expected == field


@pytest.mark.parametrize(
    ("variant", "multiply_adds"),
    [
        ("vgg11", 7_609_090_048),
        ("vgg11-lrn", 7_609_090_048),
        ("vgg13", 11_308_466_176),
        ("vgg16-c", 11_770_888_192),
        ("vgg16", 15_470_264_320),
        ("vgg19", 19_632_062_464),
    ],
)
def test_multiply_adds(variant, multiply_adds):
    assert work(vgg.build, vgg.VARIANTS[variant]) == multiply_adds


def test_c_ends_its_deep_stages_with_a_1x1_convolution():
    model = on_meta(vgg.build, vgg.VARIANTS["vgg16-c"])
    small = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    assert small == ["stages.conv3.conv3_3", "stages.conv4.conv4_3", "stages.conv5.conv5_3"]


def test_a_lrn_normalises_once_between_the_first_convolution_and_its_pooling():
    model = on_meta(vgg.build, vgg.VARIANTS["vgg11-lrn"])
    assert [name for name, _ in model.stages[0].named_children()] == ["conv1_1", "relu1_1", "norm1_1", "pool1"]
    (norm,) = (m for m in model.modules() if isinstance(m, LocalResponseNorm))
    assert (norm.n, norm.k, norm.alpha, norm.beta) == (5, 2.0, 1e-4, 0.75)


@settings(max_examples=10, deadline=None)
@given(height=st.integers(32, 400), width=st.integers(32, 400))
def test_every_size_from_32_pixels_works_and_is_told(height, width):
    spec = DataSpec("photos", "images", {"train": 9}, (1, height, width), classes=("cat", "dog"))
    config = vgg.VARIANTS["vgg13"].fitted(spec)
    with torch.device("meta"):
        found = shapes(on_meta(vgg.build, config), *config.example(1))
    last = found["stages.conv5"][1:]
    assert found["fc8"] == (2,)
    said = " ".join(d.what for d in config.departures())
    assert ("fc6 reads maps of" in said) == (min(last) < 7)
    assert ("averaged over all places" in said) == (max(last) > 7)
    assert "1 input channel (paper: 3)" in said
    assert "2 outputs (paper: 1,000)" in said


def test_departures_of_the_starts():
    def said(variant, start):
        return [d.what for d in replace(vgg.VARIANTS[variant], start=start).departures()]

    assert said("vgg11", "normal") == [], "what the paper prints, for the network it was printed for"
    assert said("vgg11-lrn", "normal") == []
    (deep,) = said("vgg16", "normal")
    assert "layers of a trained `vgg11`" in deep
    (glorot,) = said("vgg11", "glorot")
    assert "Glorot" in glorot
    (he,) = said("vgg19", "he")
    assert "He et al." in he


def test_networks_outside_the_table_are_told_as_departures():
    odd = replace(vgg.VARIANTS["vgg11"], depths=(1, 1, 1, 1, 1), dropout=0.2, start="normal").departures()
    assert "in no column of Table 1" in odd[0].what
    assert "dropout 0.2 (paper: 0.5)" in [d.what for d in odd]


def test_impossible_configurations_are_refused():
    with pytest.raises(UserError, match="glorot, normal, he"):
        replace(vgg.VARIANTS["vgg11"], start="zeros")
    with pytest.raises(UserError, match="five stages"):
        replace(vgg.VARIANTS["vgg11"], depths=(2, 2, 2))
    small = DataSpec("digits", "images", {"train": 9}, (3, 31, 40), classes=("a", "b"))
    with pytest.raises(UserError, match="32 × 32"):
        vgg.VARIANTS["vgg11"].fitted(small)


def test_the_modern_recipe_starts_by_he_where_nothing_normalises():
    spec = DataSpec("photos", "images", {"train": 5000}, (3, 224, 224), classes=("cat", "dog"))
    plain, normalised = (recipes.modern(name, spec) for name in ("vgg16", "vgg16-bn"))
    assert (plain.model.start, normalised.model.start) == ("he", "glorot")
    assert plain.lr < normalised.lr
    assert "model" in plain.sources


def test_he_keeps_the_size_of_signals_where_glorot_halves_their_square():
    """On inputs of spread 1: why the modern recipe starts otherwise than the paper."""
    x, sizes = torch.randn(4, 3, 16, 16), {}
    for start in ("glorot", "he"):
        torch.manual_seed(0)
        stages = vgg.build(replace(vgg.VARIANTS["vgg11"], start=start, size=(32, 32), outputs=2)).stages
        with torch.no_grad():
            convolved = nn.Sequential(*(m for stage in stages for m in stage if not isinstance(m, nn.MaxPool2d)))
            sizes[start] = convolved(x).square().mean().item()
    assert 0.1 < sizes["he"] < 10
    assert sizes["glorot"] < sizes["he"] * 2.0**-8
