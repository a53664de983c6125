"""AlexNet against two explicit towers, against the printed formula, and at the edges of the sizes it can read."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from seminal.core import DataSpec
from seminal.papers import alexnet
from seminal.pieces.measure import multiply_adds, on_meta, parameters, shapes

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = alexnet.Config(size=(67, 67), outputs=7)


def loop(a, n, k, alpha, beta):
    """Sec. 3.3 as it is printed, one number at a time."""
    batch, maps, height, width = a.shape
    b = torch.empty_like(a)
    for row in range(batch):
        for i in range(maps):
            for x in range(height):
                for y in range(width):
                    total = 0.0
                    for j in range(max(0, i - n // 2), min(maps - 1, i + n // 2) + 1):
                        total += float(a[row, j, x, y]) ** 2
                    b[row, i, x, y] = a[row, i, x, y] / (k + alpha * total) ** beta
    return b


@pytest.mark.parametrize(("maps", "n"), [(1, 5), (3, 5), (9, 5), (6, 3)])
def test_response_normalisation_is_the_printed_formula(maps, n):
    a = 30 * torch.randn(2, maps, 3, 2, dtype=torch.float64)
    norm = alexnet.LocalResponseNorm(n=n, k=2.0, alpha=0.01, beta=0.75)
    torch.testing.assert_close(norm(a), loop(a, n, 2.0, 0.01, 0.75))


def test_response_normalisation_is_torchs_with_alpha_times_n():
    a = 50 * torch.randn(2, 12, 5, 5, dtype=torch.float64, requires_grad=True)
    ours, theirs = alexnet.LocalResponseNorm()(a), F.local_response_norm(a, 5, alpha=5e-4, beta=0.75, k=2.0)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(a)
    (by_ours,) = torch.autograd.grad((ours * weights).sum(), a)
    (by_theirs,) = torch.autograd.grad((theirs * weights).sum(), a)
    torch.testing.assert_close(by_ours, by_theirs)


def two_towers(model, x):
    """The network on two devices: each holds half of the kernels, and they meet in conv3 and from fc6 on."""
    p = dict(model.named_parameters())

    def half(name, tower):
        weight, bias = p[f"{name}.weight"].chunk(2)[tower], p[f"{name}.bias"].chunk(2)[tower]
        return {"weight": weight, "bias": bias}

    def norm_and_pool(towers):
        # Normalisation runs over all kernel maps, as the formula's N says; pooling is each tower's own.
        normed = F.local_response_norm(torch.cat(towers, 1), 5, alpha=5 * 1e-4, beta=0.75, k=2.0)
        return [F.max_pool2d(tower, 3, 2) for tower in normed.chunk(2, 1)]

    towers = norm_and_pool([F.conv2d(x, **half("conv1", t), stride=4).relu() for t in (0, 1)])
    towers = norm_and_pool([F.conv2d(towers[t], **half("conv2", t), padding=2).relu() for t in (0, 1)])
    both = torch.cat(towers, 1)
    towers = [F.conv2d(both, **half("conv3", t), padding=1).relu() for t in (0, 1)]
    towers = [F.conv2d(towers[t], **half("conv4", t), padding=1).relu() for t in (0, 1)]
    towers = [F.max_pool2d(F.conv2d(towers[t], **half("conv5", t), padding=1).relu(), 3, 2) for t in (0, 1)]
    features = torch.cat(towers, 1).flatten(1)
    for name in ("fc6", "fc7"):
        features = torch.cat([F.linear(features, **half(name, t)).relu() for t in (0, 1)], 1) * 0.5
    return F.linear(features, p["fc8.weight"], p["fc8.bias"])


def test_two_explicit_towers_give_the_same_outputs_and_gradients():
    torch.manual_seed(0)
    model = alexnet.build(SMALL).eval()
    for parameter in model.parameters():  # larger weights than the paper's, so that the outputs depend on the picture
        parameter.data.mul_(4)
    x = torch.randn(2, 3, 67, 67)
    ours, theirs = model(x), two_towers(model, x)
    assert ours.std() > 1e-3
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)  # float32, summed in another order
    filters = [model.get_parameter(f"conv{i}.weight") for i in range(1, 6)]
    by_ours = torch.autograd.grad(ours.square().sum(), filters)
    by_theirs = torch.autograd.grad(theirs.square().sum(), filters)
    for a, b in zip(by_ours, by_theirs):
        assert (a - b).abs().max() < 1e-4 * b.abs().max()


@pytest.mark.parametrize("split", ["conv2", "conv4", "conv5"])
def test_a_tower_does_not_see_the_other(split):
    layer = getattr(alexnet.build(SMALL), split)
    maps = layer.in_channels
    x = torch.randn(1, maps, 4, 4)
    changed = x.clone()
    changed[:, maps // 2 :] += 1  # the second tower's inputs
    first = layer.out_channels // 2
    assert torch.equal(layer(x)[:, :first], layer(changed)[:, :first])
    assert not torch.equal(layer(x)[:, first:], layer(changed)[:, first:])


@pytest.mark.parametrize(
    ("variant", "counts"),
    [("alexnet", (60_965_224, 724_406_816)), ("alexnet-onetower", (62_378_344, 1_135_256_096))],
)
def test_parameters_and_multiply_adds(variant, counts):
    config = alexnet.VARIANTS[variant]
    with torch.device("meta"):
        (x,) = config.example(1)
    model = on_meta(alexnet.build, config)
    assert (parameters(model), multiply_adds(model, x)) == counts


@settings(max_examples=10, deadline=None)
@given(height=st.integers(67, 300), width=st.integers(67, 300))
def test_every_size_from_67_pixels_works_and_its_maps_are_told(height, width):
    spec = DataSpec("photos", "images", {"train": 9}, (3, height, width), classes=("cat", "dog"))
    config = alexnet.VARIANTS["alexnet"].fitted(spec)
    with torch.device("meta"):
        found = shapes(on_meta(alexnet.build, config), *config.example(1))
    assert found["fc8"] == (2,)
    assert config.maps[0] == found["conv1"][1:]
    assert found["fc6"] == (4096,)
    if config.size != (227, 227):
        assert f"pictures of {height} × {width}, maps" in config.departures()[0].what


def test_departures_name_what_the_data_changed():
    spec = DataSpec("scans", "images", {"train": 9}, (1, 227, 227), classes=("ill", "well"))
    said = [d.what for d in alexnet.VARIANTS["alexnet"].fitted(spec).departures()]
    assert said == [
        "pictures of 227 × 227 (paper: 224 × 224)",
        "1 input channel (paper: 3)",
        "2 outputs (paper: 1,000)",
    ]
    _, dropout = replace(alexnet.VARIANTS["alexnet"], dropout=0.2).departures()
    assert dropout.what == "dropout 0.2 (paper: 0.5)"


def test_dropout_agrees_with_the_paper_in_both_phases():
    layer, x = alexnet.Dropout(0.5), torch.rand(200, 50) + 1
    kept = layer.train()(x)
    assert torch.equal(kept[kept != 0], x[kept != 0]), "units that stay on are not scaled"
    assert 0.4 < (kept == 0).float().mean() < 0.6
    assert torch.equal(layer.eval()(x), x * 0.5)
