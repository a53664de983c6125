"""Key maps: every name a peer uses, both ways; checkpoints as people have them; and files that are none."""

from __future__ import annotations

import importlib
import os
import pkgutil
from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import seminal.weights
from seminal.core import UserError
from seminal.papers import resnet
from seminal.pieces.measure import on_meta
from seminal.runs.shelf import papers
from seminal.weights.matching import PEERS, dialects, fit, to_ours, to_theirs, variant_for
from seminal.weights.reading import checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

PLUMBING = ("keys", "matching", "reading", "settings")
MODULES = [m.name for m in pkgutil.iter_modules(seminal.weights.__path__) if m.name not in PLUMBING]


def same_networks():
    for paper in MODULES:
        module = importlib.import_module(f"seminal.weights.{paper}")
        for peer in PEERS:
            for variant, theirs in vars(module).get(peer.upper(), {}).items():
                yield paper, peer, variant, theirs


def peer_model(peer, name):
    with torch.device("meta"):
        if peer == "timm":
            return timm.create_model(name)
        if name == "googlenet":
            return torchvision.models.googlenet(weights=None, init_weights=False)
        return getattr(torchvision.models, name)(weights=None)


@pytest.mark.parametrize("paper", MODULES)
def test_a_file_of_names_belongs_to_a_paper(paper):
    assert paper in papers()


@pytest.mark.parametrize(("paper", "peer", "variant", "theirs"), list(same_networks()))
def test_all_names_of_the_peer_are_given_both_ways(paper, peer, variant, theirs):
    card = papers()[paper]
    config = card.variants[variant]
    ours = on_meta(card.build, config).state_dict()
    wanted = peer_model(peer, theirs).state_dict()
    given = to_theirs(peer, ours, paper, config)
    assert {key: tuple(value.shape) for key, value in given.items()} == {k: tuple(v.shape) for k, v in wanted.items()}
    back = to_ours(peer, given, paper, config)
    assert back.keys() == ours.keys()


@pytest.mark.parametrize(("paper", "peer", "variant", "theirs"), list(same_networks()))
def test_the_names_are_recognised(paper, peer, variant, theirs):
    card = papers()[paper]
    model = on_meta(card.build, card.variants[variant])
    found = fit(peer_model(peer, theirs).state_dict(), model, paper, card.variants[variant])
    assert found.fits, found.told()
    assert variant_for(peer, paper, variant) == variant


def test_torchvisions_resnet50_is_the_variant_with_its_stride():
    assert variant_for("torchvision", "resnet", "resnet50") == "resnet50-v1.5"
    assert variant_for("torchvision", "resnet", "resnet20") == "resnet20"


# ------------------------------------------------------------------------------- the CIFAR checkpoints people pass around


class PaddedBlock(nn.Module):
    """A basic block whose option A puts the zeros on both sides of the old channels."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.pad, self.stride = (outputs - inputs) // 2, stride

    def forward(self, x):
        change = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        zeros = (0, 0, 0, 0, self.pad, self.pad)
        return F.relu(change + F.pad(x[:, :, :: self.stride, :: self.stride], zeros))


class PaddedNet(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        widths = (16, 16, 32, 64)
        for i in range(3):
            first = [PaddedBlock(widths[i], widths[i + 1], 1 if i == 0 else 2)]
            rest = [PaddedBlock(widths[i + 1], widths[i + 1], 1) for _ in range(blocks - 1)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*first, *rest))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def padded_net(blocks=3):
    torch.manual_seed(0)
    net = PaddedNet(blocks).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
    return net


@pytest.mark.parametrize("wrapped", [False, True])
def test_cifar_checkpoints_with_zeros_on_both_sides_give_the_same_outputs(tmp_path, wrapped):
    theirs = padded_net()
    state = {f"module.{key}": value for key, value in theirs.state_dict().items()} if wrapped else theirs.state_dict()
    file = tmp_path / "resnet20.th"
    torch.save({"state_dict": state, "best_prec1": 91.7} if wrapped else state, file)
    config = resnet.VARIANTS["resnet20"]
    ours = resnet.build(config).eval()
    found = fit(checkpoint(file), ours, "resnet", config)
    assert (found.dialect, found.fits) == ("akamaster", True)
    ours.load_state_dict(found.state)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    back = to_theirs("akamaster", ours.state_dict(), "resnet", config)
    assert all(torch.equal(back[key], value) for key, value in theirs.state_dict().items())


# -------------------------------------------------------------------------------------------------- files, good and bad


def test_prefixes_and_wrappings_are_taken_off(tmp_path):
    weights = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}
    prefixed = {f"module._orig_mod.{key}": value for key, value in weights.items()}
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}, "state_dict": prefixed}, tmp_path / "a.pth")
    save_file(weights, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        found = checkpoint(tmp_path / name)
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[key], weights[key]) for key in weights)


def test_a_moving_average_is_preferred(tmp_path):
    torch.save({"state_dict": {"w": torch.zeros(1)}, "model_ema": {"w": torch.ones(1)}}, tmp_path / "a.pth")
    assert checkpoint(tmp_path / "a.pth")["w"] == 1


class Harm:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_a_file_that_would_run_code_is_refused_and_nothing_runs(tmp_path):
    mark, file = tmp_path / "harmed", tmp_path / "evil.pth"
    torch.save({"state_dict": {"w": torch.zeros(1)}, "extra": Harm(mark)}, file)
    with pytest.raises(UserError, match="could run code, so it was not loaded"):
        checkpoint(file)
    assert not mark.exists()
    torch.load(file, weights_only=False)  # the trap is real
    assert mark.exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.pth", b"hello", "no file of weights"),
        ("a.pth", b"", "no file of weights"),
        ("a.safetensors", b"\x00" * 40, "damaged"),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        checkpoint(tmp_path / name)


def test_files_without_weights_are_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="holds no weights"):
        checkpoint(tmp_path / "a.pth")
    with pytest.raises(UserError, match="does not exist"):
        checkpoint(tmp_path / "b.pth")
    with pytest.raises(UserError, match="holds no weights"):
        checkpoint(tmp_path)


def test_what_does_not_fit_is_said_in_the_names_of_the_file():
    config = resnet.VARIANTS["resnet18"]
    model = on_meta(resnet.build, config)
    state = torchvision.models.resnet18(weights=None, num_classes=7).state_dict()
    del state["layer1.0.conv1.weight"]
    state["extra.weight"] = torch.zeros(1)
    found = fit(state, model, "resnet", config)
    assert not found.fits
    said = found.told()
    assert "the file lacks layer1.0.conv1.weight" in said
    assert "the model has no extra.weight" in said
    assert "fc.weight is 7×512 in the file and 1000×512 in the model" in said


def test_names_nobody_uses_are_refused():
    config = resnet.VARIANTS["resnet18"]
    with pytest.raises(UserError, match="--from seminal, torchvision, timm, akamaster"):
        fit({}, on_meta(resnet.build, config), "resnet", config, "keras")
    with pytest.raises(UserError, match="no network like this one"):
        to_theirs("torchvision", {}, "mlp", None)
    assert dialects("mlp", None) == {}


def test_a_missing_counter_of_batches_is_no_fault():
    config = replace(resnet.VARIANTS["resnet20"], blocks=(1, 1, 1))
    model = resnet.build(config)
    state = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert fit(state, model, "resnet", config).fits


def test_a_checkpoint_that_holds_itself_ends(tmp_path):
    round: dict = {"a": torch.zeros(2)}
    round["model"] = round
    torch.save(round, tmp_path / "round.pt")
    assert checkpoint(tmp_path / "round.pt").keys() == {"a"}


def test_an_index_of_other_things_than_files_is_damaged(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": 5}}')
    with pytest.raises(UserError, match="damaged"):
        checkpoint(tmp_path)
