"""ShuffleNet: the shuffle as a permutation, the units against loops and formulas, the network against the tables."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from seminal.core import DataSpec, UserError
from seminal.papers import shufflenet
from seminal.papers.shufflenet import ChannelShuffle, Config, Unit, channel_shuffle
from seminal.pieces.init import constant, fill
from seminal.pieces.measure import multiply_adds, on_meta, parameters

pytestmark = pytest.mark.usefixtures("one_thread")

tables = st.tuples(st.integers(1, 8), st.integers(1, 8))


def numbered(channels):
    return torch.arange(float(channels)).view(1, channels, 1, 1)


@settings(deadline=None, max_examples=50)
@given(tables)
def test_the_shuffle_is_the_loop(table):
    groups, n = table
    shuffled = channel_shuffle(numbered(groups * n), groups).flatten().tolist()
    assert shuffled == [float(k * n + i) for i in range(n) for k in range(groups)]


@settings(deadline=None, max_examples=50)
@given(tables)
def test_the_shuffle_is_a_permutation_and_has_an_inverse(table):
    groups, n = table
    x = torch.randn(2, groups * n, 3, 2)
    shuffled = channel_shuffle(x, groups)
    assert torch.equal(shuffled.sort(dim=1).values, x.sort(dim=1).values)
    assert torch.equal(channel_shuffle(shuffled, n), x)


@settings(deadline=None, max_examples=50)
@given(tables)
def test_the_shuffle_is_that_of_torch(table):
    groups, n = table
    x = torch.randn(2, groups * n, 3, 2)
    assert torch.equal(channel_shuffle(x, groups), nn.functional.channel_shuffle(x, groups))


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 6])
def test_the_shuffle_keeps_the_layout_in_memory(groups):
    x = torch.randn(2, 12, 4, 5)
    strided = channel_shuffle(x.to(memory_format=torch.channels_last), groups)
    assert torch.equal(strided, channel_shuffle(x, groups))
    assert strided.is_contiguous(memory_format=torch.channels_last)
    assert channel_shuffle(x, groups).is_contiguous()


@pytest.mark.parametrize(("first", "second"), [(2, 2), (3, 3), (2, 4), (4, 2), (3, 6)])
def test_after_the_shuffle_every_output_sees_all_groups(first, second):
    """Also for two layers with different numbers of groups (Sec. 3.1)."""
    channels = 24

    def seen(shuffle):
        """For each output: from which groups of the first layer it gets something."""
        layers = nn.Sequential(
            shufflenet.pointwise(channels, channels, first),
            ChannelShuffle(first) if shuffle else nn.Identity(),
            shufflenet.pointwise(channels, channels, second),
        )
        fill(layers, weights=constant(1.0), biases=constant(0.0))
        jacobian = torch.autograd.functional.jacobian(lambda x: layers(x).flatten(), numbered(channels)).flatten(1)
        return jacobian.view(channels, first, -1).abs().sum(dim=2) > 0

    assert seen(shuffle=True).all()
    assert not seen(shuffle=False).all()


def test_the_shuffle_lets_gradients_back_to_their_channels():
    x = torch.randn(1, 12, 2, 2, requires_grad=True)
    gradient = torch.randn(1, 12, 2, 2)
    channel_shuffle(x, 3).backward(gradient)
    assert torch.equal(x.grad, channel_shuffle(gradient, 4))


def naive_group_convolution(x, weight, groups):
    """A 1 × 1 convolution, group by group."""
    parts = zip(x.chunk(groups, dim=1), weight[:, :, 0, 0].chunk(groups))
    return torch.cat([torch.einsum("bchw,dc->bdhw", part, kernel) for part, kernel in parts], dim=1)


def naive_unit(unit, x, stride, groups):
    """Fig. 2 (b) and (c), step by step; normalisations in evaluation, fresh: they divide by √(1 + ε)."""
    scale = (1 + 1e-5) ** -0.5
    y = naive_group_convolution(x, unit.branch.conv1.weight, groups).mul(scale).clamp(min=0)
    batch, channels, height, width = y.shape
    shuffled = torch.empty_like(y)
    for k in range(groups):
        for i in range(channels // groups):
            shuffled[:, i * groups + k] = y[:, k * (channels // groups) + i]
    padded = nn.functional.pad(shuffled, (1, 1, 1, 1))
    y = torch.zeros(batch, channels, -(-height // stride), -(-width // stride), dtype=x.dtype)
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            window = padded[:, :, i * stride : i * stride + 3, j * stride : j * stride + 3]
            y[:, :, i, j] = (window * unit.branch.conv2.weight[:, 0]).sum(dim=(2, 3))
    y = naive_group_convolution(y * scale, unit.branch.conv3.weight, groups) * scale
    if stride == 1:
        return (x + y).clamp(min=0)
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    means = torch.zeros(batch, x.shape[1], *y.shape[2:], dtype=x.dtype)
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            means[:, :, i, j] = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].sum(dim=(2, 3)) / 9
    return torch.cat([means, y], dim=1).clamp(min=0)


@pytest.mark.parametrize(("stride", "inputs"), [(1, 24), (2, 12)])
def test_a_unit_is_the_figure_step_by_step(stride, inputs):
    unit = Unit(inputs, 24, stride, groups=3, first_groups=3).double().eval()
    x = torch.randn(2, inputs, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(unit(x), naive_unit(unit, x, stride, 3))


def test_a_unit_whose_branch_gives_zero_is_the_identity():
    unit = Unit(24, 24, 1, groups=3, first_groups=3)
    nn.init.zeros_(unit.branch.bn3.weight)
    x = torch.rand(2, 24, 4, 4)
    assert torch.equal(unit(x), x)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.sampled_from([1, 2, 3, 4]))
def test_cost_of_a_unit_is_the_formula(width, groups):
    """hw(2cm/g + 9m) of Sec. 3.2, on maps of 2 × 3."""
    c = 4 * groups * width
    with torch.device("meta"):
        unit = Unit(c, c, 1, groups=groups, first_groups=groups).eval()
        found = multiply_adds(unit, torch.randn(1, c, 2, 3))
    assert found == 2 * 3 * shufflenet.costs(c, c // 4, groups)[2]


def test_one_group_has_nothing_to_shuffle():
    x = torch.randn(1, 8, 2, 2)
    assert torch.equal(channel_shuffle(x, 1), x)


@pytest.mark.parametrize("variant", shufflenet.TABLE3)
def test_without_the_shuffle_the_network_costs_the_same_and_is_another(variant):
    with_, without = (on_meta(shufflenet.build, shufflenet.VARIANTS[v]) for v in (variant, f"{variant}-noshuffle"))
    assert parameters(with_) == parameters(without)
    small = replace(shufflenet.VARIANTS["shufflenet-g3-0.25x"], size=(32, 32), outputs=3)
    a, b = shufflenet.build(small).eval(), shufflenet.build(replace(small, shuffle=False)).eval()
    b.load_state_dict(a.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(a(x), b(x))


# Counted by an implementation of our own, made from the paper before this one and apart from it.
@pytest.mark.parametrize(
    ("variant", "count"),
    [
        ("g1", 1_531_936),
        ("g2", 1_733_848),
        ("g3", 1_865_728),
        ("g4", 1_968_344),
        ("g8", 2_434_768),
        ("g3-0.5x", 718_324),
        ("g8-0.25x", 454_504),
        ("g3-1.5x", 3_442_168),
        ("g3-2x", 5_450_776),
    ],
)
def test_parameters_are_those_of_another_reading_of_the_paper(variant, count):
    assert parameters(on_meta(shufflenet.build, shufflenet.VARIANTS[f"shufflenet-{variant}"])) == count


@pytest.mark.parametrize("config", [(4, 136, 12), (2, 100, 12), (3, 120, 13), (3, 12, 12)])
def test_groups_that_do_not_divide_are_refused(config):
    groups, width, stem = config
    with pytest.raises(UserError, match=f"multiple of {4 * groups}"):
        Config(groups=groups, width=width, stem=stem)


def test_what_is_changed_is_told():
    spec = DataSpec("photos", "images", {"train": 9}, (1, 64, 64), classes=("cat", "dog"))
    said = [d.what for d in shufflenet.VARIANTS["shufflenet-g8-0.25x"].fitted(spec).departures()]
    assert said[0] == "8 filters in Conv1 (paper: 24 × 0.25 = 6)"
    assert said[2] == "pictures of 64 × 64 (paper: 224 × 224)"
    (odd,) = Config(width=252).departures()
    assert "not a network of the tables" in odd.what
    with pytest.raises(UserError, match="`resnet20`"):
        Config().fitted(replace(spec, shape=(3, 31, 31)))
