"""The network optimised for inference gives what the plain one gives, for every model there is."""

import copy

import pytest
import torch
from torch import nn

import peers
from seminal.core import Precision
from seminal.runs.shelf import reading_of
from seminal.train import inference
from seminal.train.inference import AGREE, BatchNorm, difference, optimised
from test_papers import PAPERS, VARIANTS, smallest

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("error::UserWarning")]

FP32 = Precision()


def scrambled(model):
    return peers.scrambled(model, gains=(0.8, 1.2))  # more would amplify rounding with each layer


def settled(model, x):
    """The statistics are those of this batch: through a thousand layers numbers stay numbers."""
    layers = [layer for layer in scrambled(model).modules() if isinstance(layer, BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
    for layer, momentum in zip(layers, momenta):
        layer.momentum = momentum
        layer.running_var.add_(0.01)  # maps that are 0 everywhere are not blown up
    return model


@torch.no_grad()
def rounding(model, x):
    """What computing in fp32 instead of float64 does to the outputs, as a share of the largest."""
    exact = copy.deepcopy(model).double()(x.double())
    return float((model(x) - exact).abs().max() / exact.abs().max())


def norms(model):
    return sum(isinstance(layer, BatchNorm) for layer in model.modules())


class Net(nn.Module):
    """Layers by name, and a forward pass that is given."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.how = forward

    def forward(self, x):
        return self.how(self, x)


def conv(inputs=3, outputs=3):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


# The first variant of each paper; `make test-all` takes them all.
# Those that make rows take noise, or give more than an answer; and text has no layers to fold.
MAKERS = ("conditional_gan", "dcgan", "gan", "vae")
PAPERS = {
    paper: module
    for paper, module in PAPERS.items()
    if paper not in MAKERS and not reading_of(paper, next(iter(module.PAPER.variants)))
}
VARIANTS = [(paper, variant) for paper, variant in VARIANTS if paper in PAPERS]
QUICK = {next(iter(PAPERS[paper].PAPER.variants)) for paper in PAPERS}
ALL = [pytest.param(paper, variant, marks=() if variant in QUICK else pytest.mark.slow) for paper, variant in VARIANTS]


@pytest.mark.parametrize(("paper", "variant"), ALL)
@pytest.mark.filterwarnings("default")
def test_every_model_gives_the_same_outputs(paper, variant, recwarn):
    card = PAPERS[paper].PAPER
    config, _ = smallest(card.variants[variant])
    torch.manual_seed(0)
    (x,) = config.example(8)
    model, given = settled(card.build(config), x), x.clone()
    ours = optimised(model, x, precision=FP32)
    assert difference(ours, model.eval(), x) <= AGREE
    assert torch.equal(x, given), "the input belongs to the caller"
    if [warning for warning in recwarn if "is left as it is" in str(warning.message)]:
        # Networks that hardly train are like this: rounding alone moves their outputs by more than is allowed.
        assert rounding(model, x) > AGREE / 10
    elif norms(model):
        before_convolutions = paper.startswith("densenet") and not config.bottleneck
        assert before_convolutions or norms(ours) < norms(model), "nothing was folded"


@pytest.mark.parametrize("paper", PAPERS)
def test_folding_is_exact(paper):
    """In float64, which no network's rounding disturbs; and in the other layout."""
    card = PAPERS[paper].PAPER
    config, _ = smallest(next(iter(card.variants.values())))
    torch.manual_seed(0)
    (x,) = config.example(8)
    model, x = settled(card.build(config), x).double(), x.double()
    for channels_last in {False, x.dim() == 4}:
        assert difference(optimised(model, x, precision=Precision(channels_last=channels_last)), model.eval(), x) < 1e-6


@pytest.mark.parametrize(
    ("paper", "variant", "left"),
    [("resnet", "resnet20", 0), ("resnet", "resnet50", 0), ("resnet", "resnet18", 0)],
)
def test_all_that_follow_a_convolution_are_folded(paper, variant, left):
    config, _ = smallest(PAPERS[paper].VARIANTS[variant])
    model, (x,) = scrambled(PAPERS[paper].build(config)), config.example(2)
    ours = optimised(model, x, precision=FP32)
    assert norms(ours) == left
    assert all(layer.inplace for layer in ours.modules() if isinstance(layer, nn.ReLU))


def test_the_given_model_stays_as_it_is():
    config, _ = smallest(PAPERS["resnet"].VARIANTS["resnet20"])
    model, (x,) = scrambled(PAPERS["resnet"].build(config)).train(), config.example(2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ours = optimised(model, x)
    assert model.training
    assert not any(layer.training for layer in ours.modules())
    assert not ours(x).requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not [hook for layer in ours.modules() for hook in (*layer._forward_hooks, *layer._forward_pre_hooks)]


# ------------------------------------------------------------------------------------------- what must not be touched


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.bn(h := net.conv(x)) + h,
        lambda net, x: net.bn(net.conv(x)) + net.conv(x + 1),
        lambda net, x: net.bn(net.conv(x)) + net.bn(x),
        lambda net, x: net.bn(h := net.conv(x)) + h.flatten(1).sum(),
        lambda net, x: net.bn(net.conv(x).relu()),
        lambda net, x: net.bn(net.conv(x).transpose(2, 3)),
        lambda net, x: net.bn(net.conv(x).add_(1.0)),
    ],
    ids=["read twice", "layer used twice", "norm used twice", "read as a view", "between", "transposed", "in place"],
)
def test_a_normalisation_that_cannot_be_folded_stays(forward):
    net = scrambled(Net(forward, conv=conv(), bn=nn.BatchNorm2d(3))).eval()
    x = torch.randn(2, 3, 5, 5)
    ours = optimised(net, x, precision=FP32)
    assert norms(ours) == 1
    assert difference(ours, net, x) <= 1e-6


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.relu(x) - x,
        lambda net, x: net.relu(h := x * 2) - h,
        lambda net, x: (view := (h := x * 2)[:, 1:], net.relu(h))[1][:, 1:] - view,
        lambda net, x: torch.stack([h := x * 2, net.relu(h)]),
        lambda net, x: net.relu(net.gain) * x,
    ],
    ids=["input", "read again", "read as a view", "given back too", "parameter"],
)
def test_a_relu_does_not_overwrite_what_is_read_again(forward):
    net = Net(forward, relu=nn.ReLU())
    net.gain = nn.Parameter(torch.tensor([-1.0, 2.0, 0.5, -3.0]))
    x = torch.randn(3, 4)
    given = x.clone()
    ours = optimised(net, x, precision=FP32)
    for _ in range(2):
        assert difference(ours, net, x) == 0
    assert torch.equal(x, given)


def test_a_linear_layer_before_a_normalisation_is_folded_where_features_are_last_in_both():
    net = scrambled(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 2)))
    x = torch.randn(5, 4)
    ours = optimised(net, x, precision=FP32)
    assert norms(ours) == 0
    assert not [layer for layer in ours.modules() if isinstance(layer, nn.Dropout)]
    assert difference(ours, net.eval(), x) <= 1e-6
    positions = scrambled(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(5)))  # here the channels are the 5 positions
    x = torch.randn(3, 5, 4)
    ours = optimised(positions, x, precision=FP32)
    assert norms(ours) == 1
    assert difference(ours, positions.eval(), x) <= 1e-6


def test_statistics_of_the_batch_are_not_folded():
    net = nn.Sequential(conv(), nn.BatchNorm2d(3, track_running_stats=False))
    x = torch.randn(2, 3, 5, 5)
    assert norms(optimised(net, x, precision=FP32)) == 1


def test_a_network_that_asks_its_normalisation_is_left_as_it_is_and_told():
    net = Net(lambda net, x: net.bn(net.conv(x)) * net.bn.weight.sum(), conv=conv(), bn=nn.BatchNorm2d(3))
    net, x = scrambled(net).eval(), torch.randn(2, 3, 5, 5)
    with pytest.warns(UserWarning, match="Net is left as it is: .*AttributeError"):
        ours = optimised(net, x, precision=FP32)
    assert norms(ours) == 1
    assert difference(ours, net, x) == 0


# ---------------------------------------------------------------------------------------------- layout, number format


@pytest.mark.parametrize("precision", [FP32, Precision(channels_last=True), Precision("bf16"), Precision("bf16", True)])
def test_a_given_precision_is_taken(precision):
    net = scrambled(nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    x = torch.randn(2, 3, 9, 9)
    ours = optimised(net, x, precision=precision)
    assert ours(x).dtype == torch.float32
    weight = ours.network[0].weight
    assert weight.dtype == (torch.bfloat16 if precision.dtype == "bf16" else torch.float32)
    assert weight.is_contiguous(memory_format=torch.channels_last) == precision.channels_last
    assert difference(ours, net.eval(), x) <= (2e-2 if precision.dtype == "bf16" else 1e-6)


def test_bf16_that_disagrees_is_not_chosen_however_fast(monkeypatch):
    monkeypatch.setattr(inference, "has_bf16", lambda device: True)
    monkeypatch.setattr(inference, "_seconds", lambda network, x: 1.0 if network.precision.dtype == "fp32" else 0.1)
    torch.manual_seed(0)
    net, x = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8)), torch.randn(2, 3, 9, 9)
    assert difference(optimised(net, x, precision=Precision("bf16")), net, x) > AGREE
    assert optimised(net, x).precision.dtype == "fp32"
    zero = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
    for parameter in zero.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(zero[0].bias)
    assert optimised(zero, x).precision.dtype == "bf16", "where it agrees, the faster is taken"


def test_a_layout_is_chosen_only_where_it_is_clearly_faster(monkeypatch):
    net, x = nn.Sequential(conv(3, 4), nn.ReLU()), torch.randn(2, 3, 9, 9)
    monkeypatch.setattr(inference, "has_bf16", lambda device: False)
    for gain, expected in ((1.02, False), (1.2, True)):
        monkeypatch.setattr(
            inference, "_seconds", lambda network, x, gain=gain: 1 / gain if network.precision.channels_last else 1.0
        )
        assert optimised(net, x).precision.channels_last is expected


@pytest.mark.slow
def test_compiled_networks_agree_too():
    config, _ = smallest(PAPERS["resnet"].VARIANTS["resnet20"])
    model, (x,) = scrambled(PAPERS["resnet"].build(config)).eval(), config.example(2)
    assert difference(optimised(model, x, precision=Precision(compile=True)), model, x) <= AGREE
