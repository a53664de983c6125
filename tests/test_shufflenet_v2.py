"""ShuffleNet V2 against torchvision's on the same weights, its units against loops, and the guidelines' formulas."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from peers import relative, scrambled
from seminal.core import DataSpec, UserError
from seminal.papers import shufflenet_v2
from seminal.papers.shufflenet_v2 import BasicUnit, Config, WideningUnit, least_access, memory_access
from seminal.pieces.measure import multiply_adds, on_meta, parameters
from seminal.weights.keys import renamed, turned
from seminal.weights.shufflenet_v2 import TORCHVISION
from seminal.weights.shufflenet_v2 import torchvision as names

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("variant", TORCHVISION)
def test_same_outputs_as_torchvision_both_ways(variant):
    config = shufflenet_v2.VARIANTS[variant]
    theirs = scrambled(getattr(torchvision.models, TORCHVISION[variant])(weights=None)).eval()
    ours = on_meta(shufflenet_v2.build, config)
    ours.load_state_dict(renamed(theirs.state_dict(), turned(names(config))), assign=True)
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert relative(ours(x), theirs(x)) <= 1e-5
    ours = scrambled(shufflenet_v2.build(config)).eval()
    state = renamed(ours.state_dict(), names(config))
    assert set(state) == set(theirs.state_dict()), "every entry has a name on the other side"
    theirs.load_state_dict(state)
    with torch.no_grad():
        assert relative(theirs(x), ours(x)) <= 1e-5


def test_same_gradients_as_torchvision_in_training():
    theirs = torchvision.models.ShuffleNetV2([2, 1, 2], [24, 32, 64, 96, 128], num_classes=10)
    theirs = scrambled(theirs).double()
    config = Config((32, 64, 96), last=128, blocks=(2, 1, 2), even=True, outputs=10)
    ours = shufflenet_v2.build(config).double()
    ours.load_state_dict(renamed(theirs.state_dict(), turned(names(config))))
    x = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    for model in (ours, theirs):
        model(x).square().sum().backward()
    gradients = renamed({name: p.grad for name, p in theirs.named_parameters()}, turned(names(config)))
    for name, parameter in ours.named_parameters():
        assert relative(parameter.grad, gradients[name]) < 1e-8, name


@pytest.mark.parametrize("variant", shufflenet_v2.SMALL[1:])
def test_torchvisions_network_has_fewer_multiply_adds_than_the_paper_prints(variant):
    """Half and half in the first unit: 1 % of the work, which is why the paper's rows keep the input's channels."""
    printed = shufflenet_v2.VARIANTS[variant]
    with torch.device("meta"):
        works = [
            multiply_adds(shufflenet_v2.build(c).eval(), torch.randn(1, 3, 224, 224))
            for c in (printed, shufflenet_v2.VARIANTS[f"{variant}-torchvision"])
        ]
    half, kept = printed.widths[0] // 2, 24
    # Left: 24 · 24 instead of 24 · half; right: half · (width − 24) instead of half · half, on 28 × 28 places.
    assert works[0] - works[1] == 28 * 28 * (kept * (kept - half) + half * (half - kept))


def test_for_half_width_both_readings_are_one_network():
    printed = shufflenet_v2.VARIANTS["shufflenet-v2-0.5x"]
    states = [on_meta(shufflenet_v2.build, replace(printed, even=even)).state_dict() for even in (False, True)]
    assert {k: v.shape for k, v in states[0].items()} == {k: v.shape for k, v in states[1].items()}
    assert replace(printed, even=True).departures() == ()


def test_a_basic_unit_is_the_figure_step_by_step():
    unit = scrambled(BasicUnit(8)).double().eval()
    x = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    changed = unit.branch(x[:, 4:])
    y = unit(x)
    for i in range(4):  # the shuffle with two groups takes one of the left, one of the right
        assert torch.equal(y[:, 2 * i], x[:, i])
        assert torch.equal(y[:, 2 * i + 1], changed[:, i])


@pytest.mark.parametrize("left", [6, 10])
def test_a_widening_unit_sends_all_channels_through_both_branches(left):
    unit = WideningUnit(6, 20, 2, left=left).double().eval()
    x = torch.randn(1, 6, 8, 8, dtype=torch.float64)
    y = unit(x)
    assert y.shape == (1, 20, 4, 4)
    expected = torch.cat([unit.left(x), unit.branch(x)], dim=1)
    assert torch.equal(y, nn.functional.channel_shuffle(expected, 2))
    jacobian = torch.autograd.functional.jacobian(lambda x: unit(x).sum(dim=(2, 3)).flatten(), x)
    assert (jacobian.abs().sum(dim=(-1, -2)).flatten(1) > 0).any(dim=0).all()


def test_after_two_units_every_output_half_depends_on_both_input_halves():
    units = nn.Sequential(scrambled(BasicUnit(16)), scrambled(BasicUnit(16))).double().eval()
    x = torch.rand(1, 16, 3, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: units(x).sum(dim=(2, 3)).flatten(), x)
    reached = jacobian.abs().sum(dim=(-1, -2)).view(2, 8, 2, 8).sum(dim=(1, 3)) > 0
    assert reached.all()


channels = st.integers(1, 64)


@settings(deadline=None, max_examples=50)
@given(channels, channels, st.integers(1, 30), st.integers(1, 30))
def test_no_pair_of_widths_beats_the_bound(c1, c2, height, width):
    access = memory_access(c1, c2, height=height, width=width)
    bound = least_access(height * width * c1 * c2, height=height, width=width)
    assert access >= bound * (1 - 1e-12)
    if c1 == c2:
        assert access == pytest.approx(bound, rel=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8]), st.integers(1, 8), st.integers(1, 8))
def test_memory_accesses_are_those_of_the_layer(groups, height, a, b):
    c1, c2, width = groups * a, groups * b, 5
    layer = nn.Conv2d(c1, c2, 1, groups=groups, bias=False)
    x = torch.zeros(1, c1, height, width)
    counted = x.numel() + layer(x).numel() + layer.weight.numel()
    assert memory_access(c1, c2, height=height, width=width, groups=groups) == counted


def test_more_groups_at_equal_work_and_input_mean_more_accesses():
    """Eq. 2: hw·c1 + B·g/c1 + B/(hw), for 128 inputs and as many outputs as the work allows."""
    found = [memory_access(128, 128 * g, height=56, width=56, groups=g) for g in (1, 2, 4, 8)]
    assert found == sorted(found)
    work = 56 * 56 * 128 * 128
    assert found == [56 * 56 * 128 + work * g // 128 + work // (56 * 56) for g in (1, 2, 4, 8)]


def test_the_large_network_keeps_the_size_of_the_map_in_its_first_stage():
    model = on_meta(shufflenet_v2.build, shufflenet_v2.VARIANTS["shufflenet-v2-50"])
    assert model.stages.stage2[0].branch.conv2.stride == (1, 1)
    assert model.stages.stage3[0].branch.conv2.stride == (2, 2)


def test_layout_in_memory_does_not_change_the_numbers():
    model = (
        scrambled(shufflenet_v2.build(Config((16, 32, 64), last=32, blocks=(2, 1, 2), stem=(8,), outputs=4)))
        .double()
        .eval()
    )
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    expected = model(x)
    strided = x.to(memory_format=torch.channels_last)
    model = model.to(memory_format=torch.channels_last)
    torch.testing.assert_close(model(strided), expected)
    assert model.stages(model.pool1(model.conv1(strided))).is_contiguous(memory_format=torch.channels_last)


@pytest.fixture
def guidelines(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module("guidelines")


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_the_guidelines_compare_equal_work_and_unequal_accesses(guidelines, platform):
    """Widths are whole numbers, so that the work differs by up to 5 %: 36 · 432 instead of 128 · 128."""
    for guideline in guidelines.GUIDELINES:
        for factor in guideline.factors:
            works, accesses = [], []
            for row in guideline.rows:
                with torch.device("meta"):
                    model, c = row.block(row.channels[platform] * factor), row.channels[platform] * factor
                    works.append(multiply_adds(model, torch.randn(1, c, 8, 8)))
                layers = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
                accesses.append(sum(3136 * (m.in_channels + m.out_channels) + m.weight.numel() for m in layers))
            assert works == pytest.approx([works[0]] * len(works), rel=0.055), (guideline.name, factor)
            if guideline.name in ("G1", "G2"):
                assert accesses == sorted(accesses)
                assert accesses[-1] > 1.3 * accesses[0]


def test_the_guidelines_judge_by_ranges(guidelines):
    ratio, low, high = guidelines.relative("2.2", "2.3")  # 2.15 … 2.25 over 2.25 … 2.35
    assert (ratio, low, high) == pytest.approx((2.2 / 2.3, 2.15 / 2.35, 1.0))
    assert guidelines.direction(low, high - 1e-9) == "slower"
    assert guidelines.direction(*guidelines.relative("10.1", "10.1")[1:]) == "same"
    assert guidelines.direction(1.01, 1.2) == "faster"
    said = [guidelines.agreement(*pair) for pair in (("slower", "slower"), ("faster", "slower"), ("same", "slower"))]
    assert said == ["yes", "no", "unclear"]


def test_what_is_changed_is_told_or_refused():
    spec = DataSpec("photos", "images", {"train": 9}, (3, 64, 48), classes=("cat", "dog"))
    said = [d.what for d in shufflenet_v2.VARIANTS["shufflenet-v2-1x-torchvision"].fitted(spec).departures()]
    assert "gives 58 channels" in said[0]
    assert said[1:] == ["pictures of 64 × 48 (paper: 224 × 224)", "2 outputs (paper: 1,000)"]
    (odd,) = Config((32, 64, 96)).departures()
    assert "not a network of the paper's tables" in odd.what
    with pytest.raises(UserError, match="must be even"):
        Config((31, 64, 96))
    with pytest.raises(UserError, match="fewer channels than"):
        Config((24, 64, 96))
    with pytest.raises(UserError, match="`resnet20`"):
        Config((32, 64, 96)).fitted(replace(spec, shape=(3, 16, 48)))


def test_weights_of_the_papers_rows():
    counts = {name: parameters(on_meta(shufflenet_v2.build, config)) for name, config in shufflenet_v2.VARIANTS.items()}
    peers = {
        variant: sum(p.numel() for p in getattr(torchvision.models, builder)(weights=None).parameters())
        for variant, builder in TORCHVISION.items()
    }
    assert {variant: counts[variant] for variant in peers} == peers
