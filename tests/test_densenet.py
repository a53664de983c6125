"""DenseNet against torchvision's on the same weights and against loops; its form with shared memory against the plain one.

This file is also a program: under torchrun ``test_densenet.py FOLDER`` is each of two processes, and ``test_densenet.py
FILE aot_eager`` (``inductor``, ``memory``) compiles. They write what they found there.
"""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from peers import relative, scrambled
from seminal.core import DataSpec, Optim, UserError
from seminal.papers import densenet, densenet_memory
from seminal.papers.densenet import Config, DenseNet, at_once
from seminal.papers.densenet_memory import block, shared, temporaries
from seminal.pieces.measure import on_meta, parameters, shapes
from seminal.pieces.memory import Tracker, imagined, training
from seminal.runs.machine import joined
from seminal.train.distributed import parallel
from seminal.weights import densenet as weights
from seminal.weights import densenet_memory as memory_weights
from seminal.weights.matching import to_ours, to_theirs

# Peers are imported where they are needed: the processes that this file starts have no use for them.
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]
PLAIN = Config((3, 2, 2), 4, bottleneck=False, compression=1.0, large_stem=False, size=(16, 16), outputs=3)
BC = replace(PLAIN, bottleneck=True, compression=0.5)
LARGE = Config((2, 1, 2, 1), 4, size=(40, 36), outputs=3)
SMALL = {"plain": PLAIN, "BC": BC, "large stem": LARGE}


def twins(config, device="cpu", dtype=torch.float64):
    """The plain network and the one with shared memory, with the same numbers in them."""
    torch.manual_seed(0)
    plain = scrambled(densenet.build(config)).to(device, dtype)
    twin = densenet_memory.build(config).to(device, dtype)
    twin.load_state_dict(plain.state_dict())  # by the same names
    return plain, twin


def step(model, x):
    """Output, and all gradients and statistics, after one forward and backward pass."""
    model.zero_grad(set_to_none=True)
    x = x.detach().requires_grad_()
    y = model(x)
    (y * torch.linspace(-1, 1, y.numel(), device=y.device, dtype=y.dtype).view_as(y)).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return y.detach(), {"input": x.grad, **gradients}, dict(model.named_buffers())


def agree(plain, twin, x, within):
    (y, gradients, statistics), (other, others, moved) = step(plain, x), step(twin, x)
    assert relative(other, y) <= within
    assert others.keys() == gradients.keys()
    assert max(relative(others[name], value) for name, value in gradients.items()) <= within
    for name, value in statistics.items():
        assert relative(moved[name].double(), value.double()) <= within, name


# ------------------------------------------------------------------------------------------ programs of their own


def _together():
    """What one step gives in two processes with half of the rows each: every rank's own statistics, or global ones."""
    found = {}
    with joined():
        rows = slice(0, 3) if os.environ["RANK"] == "0" else slice(3, 6)
        for name, config in (("plain", PLAIN), ("BC", BC)):
            for model, form in zip(twins(config, dtype=torch.float32), ("at once", "shared")):
                for kind, view in (
                    ("local", nn.parallel.DistributedDataParallel(model)),
                    ("global", parallel(model, players=1)),
                ):
                    model.zero_grad()
                    view(_rows()[rows]).square().sum().backward()
                    found |= {f"{kind}/{form}/{name}/{n}": p.grad.clone() for n, p in model.named_parameters()}
                    found |= {f"{kind}/{form}/{name}/{n}": b.clone() for n, b in model.named_buffers()}
    save_file(found, Path(sys.argv[1]) / f"rank-{os.environ['RANK']}.safetensors")


def _rows():
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def _compiled(backend):
    """Output, gradients and statistics of a plain network and of the compiled one with shared memory."""
    plain, twin = twins(replace(BC, blocks=(2,), size=(8, 8)), dtype=torch.float32)
    x, found = torch.randn(4, 3, 8, 8), {}
    for kind, model, called in (
        ("plain", plain, plain),
        ("compiled", twin, torch.compile(twin, backend=backend, fullgraph=True)),
    ):
        y = called(x)
        (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
        found[f"{kind}/output"] = y.detach()
        found |= {f"{kind}/{name}": p.grad for name, p in model.named_parameters()}
        found |= {f"{kind}/{name}": b for name, b in model.named_buffers()}
    return found


def _handed_over(layers, compute):
    """What the compiled forward pass of a block hands to its backward pass, in maps."""
    torch.compiler.reset()
    module, x = block(layers, compute), torch.randn(2, 12, 16, 16, requires_grad=True)
    own = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    # The compiler's own choice of what to keep, without machine code.
    maps = torch.compile(module, backend="aot_eager_decomp_partition", fullgraph=True)(x)
    saved = [t for t in maps[-1].grad_fn.saved_tensors if t is not None and t.untyped_storage().data_ptr() not in own]
    found = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in saved}
    return sum(found.values()) / x.nbytes


def _all_handed_over():
    return {"kept": torch.tensor([*(_handed_over(layers, shared) for layers in (1, 2, 3)), _handed_over(3, at_once)])}


if __name__ == "__main__":
    if sys.argv[2:] == []:
        _together()
    else:
        save_file(_all_handed_over() if sys.argv[2] == "memory" else _compiled(sys.argv[2]), sys.argv[1])
    sys.exit()


def ran(*words, folder):
    """A program, on one thread, to its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """{name: tensor} of both processes."""
    folder = tmp_path_factory.mktemp("two")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    ran(*torchrun, __file__, folder, folder=folder)
    return [load_file(folder / f"rank-{rank}.safetensors") for rank in (0, 1)]


pytestmark = pytest.mark.usefixtures("one_thread")

# -------------------------------------------------------------------------------------------------------------- peers


@pytest.mark.parametrize("variant", weights.TORCHVISION)
def test_same_outputs_as_torchvision_on_the_same_weights_both_ways(variant):
    import torchvision

    with torch.device("meta"):
        theirs = getattr(torchvision.models, weights.TORCHVISION[variant])(weights=None).eval()
    config = densenet.VARIANTS[variant]
    ours = on_meta(densenet.build, config).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for p in ours.parameters():
        p.data.normal_(0, (2 / p[0].numel()) ** 0.5 if p.dim() > 1 else 1, generator=generator)
    scrambled(ours)
    state = ours.state_dict()
    named = to_theirs("torchvision", state, "densenet", config)
    theirs.load_state_dict(named, assign=True)
    back = to_ours("torchvision", theirs.state_dict(), "densenet", config)
    assert back.keys() == state.keys()
    assert all(back[name] is value or torch.equal(back[name], value) for name, value in state.items())
    x = torch.randn(2, 3, 32, 40)
    with torch.no_grad():
        assert relative(ours(x), theirs(x)) <= 1e-5


@pytest.mark.parametrize("variant", weights.TIMM)
def test_timm_has_the_same_names_and_shapes(variant):
    import timm

    config = densenet.VARIANTS[variant]
    with torch.device("meta"):
        theirs = timm.create_model(weights.TIMM[variant]).state_dict()
    named = to_theirs("timm", on_meta(densenet.build, config).state_dict(), "densenet", config)
    assert {name: value.shape for name, value in named.items()} == {name: value.shape for name, value in theirs.items()}


@pytest.mark.parametrize("build", [densenet.build, densenet_memory.build])
def test_same_gradients_and_statistics_as_torchvision_in_training(build):
    import torchvision

    theirs = scrambled(torchvision.models.DenseNet(4, LARGE.blocks, 8, num_classes=3)).double()
    ours = build(LARGE).double()
    ours.load_state_dict(to_ours("torchvision", theirs.state_dict(), "densenet", LARGE))
    x = torch.randn(4, 3, 40, 36, dtype=torch.float64)
    y, gradients, statistics = step(theirs, x)
    mine, found, moved = step(ours, x)
    assert relative(mine, y) < 1e-8
    assert relative(found.pop("input"), gradients.pop("input")) < 1e-8
    expected = to_ours("torchvision", {**gradients, **statistics}, "densenet", LARGE)
    assert expected.keys() == {*found, *moved}
    assert max(relative({**found, **moved}[name].double(), value.double()) for name, value in expected.items()) < 1e-8


def test_the_networks_with_shared_memory_use_the_same_checkpoints():
    for ours, theirs in memory_weights.TORCHVISION.items():
        config = densenet_memory.VARIANTS[ours]
        assert config == densenet.VARIANTS[theirs]
        assert memory_weights.torchvision(config) == weights.torchvision(config)


# ---------------------------------------------------------------------------------------------------- the definition


@pytest.mark.parametrize("compute", [at_once, shared])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_a_block_is_the_loop_over_layers_and_maps_without_putting_any_side_by_side(bottleneck, compute):
    """A convolution of maps side by side is the sum of the convolutions of each, and normalisation knows one channel."""
    torch.manual_seed(0)
    config = replace(PLAIN, bottleneck=bottleneck)
    layers = densenet.DenseBlock(densenet.DenseLayer(config, 5 + 4 * i, compute) for i in range(3)).double()
    x = torch.randn(2, 5, 6, 7, dtype=torch.float64)

    def convolved(maps, composite):
        total, start = 0, 0
        for part in maps:
            own = slice(start, start + part.shape[1])
            mean, variance = part.mean((0, 2, 3), keepdim=True), part.var((0, 2, 3), keepdim=True, correction=0)
            normal = ((part - mean) / (variance + 1e-5).sqrt()).clamp(min=0)  # gain 1 and shift 0 at the start
            kernel = composite.conv.weight[:, own]
            total = total + F.conv2d(normal, kernel, padding=kernel.shape[-1] // 2)
            start = own.stop
        return total

    expected = [x]
    for layer in layers:
        maps = expected if layer.bottleneck is None else [convolved(expected, layer.bottleneck)]
        expected.append(convolved(maps, layer.grow))
    for a, b in zip(layers(x), expected, strict=True):
        torch.testing.assert_close(a, b)


def test_every_output_of_a_block_depends_on_every_output_before_it():
    maps = block(4, at_once)(torch.randn(2, 12, 5, 5, requires_grad=True))
    for early, late in pairwise(maps):
        (gradient,) = torch.autograd.grad(late.square().sum(), early, retain_graph=True)
        assert gradient.abs().max() > 0


def test_dropout_follows_every_convolution_but_the_first():
    model = densenet.build(replace(BC, dropout=0.2))
    assert sum(m.p == 0.2 for m in model.modules() if isinstance(m, nn.Dropout)) == sum(BC.blocks) + 2
    seen = []
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda module, args, output: seen.append(output))
    model(*BC.example(2))
    assert len(seen) == sum(isinstance(m, nn.Conv2d) for m in model.modules()) - 1
    assert all((output == 0).float().mean() > 0.1 for output in seen)


def test_departures_are_told_and_data_that_do_not_suit_are_refused():
    digits = DataSpec("digits", "images", {"train": 1437}, (1, 8, 8), classes=tuple("0123456789"))
    said = [d.what for d in densenet.VARIANTS["densenet-bc100-k12"].fitted(digits).departures()]
    assert said == ["1 input channel (paper: 3)", "pictures of 8 × 8 (paper: 32 × 32)"]
    (odd,) = replace(densenet.VARIANTS["densenet121"], growth=16).departures()
    assert "not a network of the paper's tables" in odd.what
    assert not replace(densenet.VARIANTS["densenet40-k12"], dropout=0.2).departures()
    (dropped,) = replace(densenet.VARIANTS["densenet121"], dropout=0.2).departures()
    assert dropped.what == "dropout 0.2 (paper: 0)"
    with pytest.raises(UserError, match="densenet-bc100-k12"):
        densenet.VARIANTS["densenet121"].fitted(digits)
    with pytest.raises(UserError, match="compression"):
        replace(PLAIN, compression=0.0)


def test_sizes_of_the_maps_are_those_that_come_out():
    for size in ((32, 32), (37, 50), (96, 64)):
        for config in (replace(LARGE, size=size), replace(PLAIN, size=size)):
            model = densenet.build(config).eval()
            names = [f"blocks.{i}.{layers - 1}" for i, layers in enumerate(config.blocks)]
            found = shapes(model, *config.example(1))
            assert tuple(found[name][1:] for name in names) == config.maps


# ----------------------------------------------------------------------------- shared memory: the same numbers as plain


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", SMALL)
def test_shared_gives_the_outputs_gradients_and_statistics_of_plain(kind, layout, device):
    config = SMALL[kind]
    for dtype, within in ((torch.float64, 1e-9), (torch.float32, 2e-4)):
        plain, twin = (model.to(memory_format=layout) for model in twins(config, device, dtype))
        for seed in range(2):  # the second step reads the statistics that the first moved
            x = torch.randn(4, 3, *config.size, generator=torch.Generator().manual_seed(seed), dtype=dtype)
            agree(plain, twin, x.to(device, memory_format=layout), within)
        plain.eval(), twin.eval()
        agree(plain, twin, torch.randn(2, 3, *config.size, device=device, dtype=dtype), within)


def naive(norm, conv, maps):
    """What comes to mind first: torch's checkpoint around the plain function."""
    return checkpoint(lambda *maps: at_once(norm, conv, maps), *maps, use_reentrant=False)


def test_statistics_move_once_per_step_though_a_naive_checkpoint_moves_them_twice():
    torch.manual_seed(0)
    plain, twin = twins(PLAIN)
    doubled = DenseNet(PLAIN, naive).double()
    doubled.load_state_dict(plain.state_dict())
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    (_, gradients, once), (_, same, moved), (_, equal, twice) = (step(model, x) for model in (plain, twin, doubled))
    assert max(relative(equal[n], g) for n, g in gradients.items()) < 1e-9, "its gradients are right …"
    first = "blocks.0.0.grow.norm"
    assert twice[f"{first}.num_batches_tracked"] == 2, "… but it has seen one batch and counts two"
    assert relative(twice[f"{first}.running_var"], once[f"{first}.running_var"]) > 0.01
    assert moved[f"{first}.num_batches_tracked"] == once[f"{first}.num_batches_tracked"] == 1
    assert relative(moved[f"{first}.running_var"], once[f"{first}.running_var"]) < 1e-12
    assert max(relative(same[n], g) for n, g in gradients.items()) < 1e-9


@pytest.mark.parametrize("change", ["momentum None", "no running statistics", "no gain", "frozen statistics", "other"])
def test_other_normalisations_are_computed_again_with_the_same_numbers(change):
    plain, twin = twins(BC)
    for model in (plain, twin):
        for composite in [m for m in model.modules() if isinstance(m, densenet.Composite)]:
            norm = composite.norm
            if change == "momentum None":
                norm.momentum = None
            elif change == "no running statistics":
                composite.norm = nn.BatchNorm2d(norm.num_features, track_running_stats=False).double()
            elif change == "no gain":
                composite.norm = nn.BatchNorm2d(norm.num_features, affine=False).double()
            elif change == "frozen statistics":
                norm.eval()
            else:
                composite.norm = nn.InstanceNorm2d(norm.num_features, affine=True, track_running_stats=True).double()
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    for _ in range(2):
        agree(plain, twin, x, 1e-9)


@pytest.mark.parametrize("frozen", ["conv", "norm", "all but fc"])
def test_frozen_weights_get_no_gradient_and_the_others_the_same(frozen):
    plain, twin = twins(BC)
    for model in (plain, twin):
        for name, p in model.named_parameters():
            p.requires_grad_(not (frozen in name or (frozen == "all but fc" and not name.startswith("fc"))))
    agree(plain, twin, torch.randn(4, 3, 16, 16, dtype=torch.float64), 1e-9)
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)  # and pictures need no gradient
    for model in (plain, twin):
        model.zero_grad(set_to_none=True)
        model(x).square().sum().backward()
    mine = dict(twin.named_parameters())
    for name, p in plain.named_parameters():
        assert (p.grad is None) == (mine[name].grad is None), name
        assert p.grad is None or relative(mine[name].grad, p.grad) < 1e-9


def test_another_convolution_is_computed_again_with_the_same_numbers():
    plain, twin = twins(BC)
    for model in (plain, twin):
        for composite in [m for m in model.modules() if isinstance(m, densenet.Composite)]:
            bias = torch.linspace(-1, 1, composite.conv.out_channels, dtype=torch.float64)
            composite.conv.bias = nn.Parameter(bias)
    agree(plain, twin, torch.randn(4, 3, 16, 16, dtype=torch.float64), 1e-9)


def test_in_evaluation_it_is_exported_as_the_plain_network_is():
    graphs = []
    for model in twins(BC, dtype=torch.float32):
        exported = torch.export.export(model.eval(), (torch.randn(2, 3, 16, 16),), strict=False)
        graphs.append([node.target for node in exported.graph.nodes if node.op == "call_function"])
    assert graphs[0] == graphs[1]


def test_one_number_per_channel_is_refused_as_by_the_plain_network():
    config = replace(PLAIN, size=(4, 4))
    for model in twins(config):
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            model(torch.randn(1, 3, 4, 4, dtype=torch.float64))


@pytest.mark.parametrize("device", DEVICES)
def test_under_autocast_too(device):
    plain, twin = twins(BC, device, torch.float32)
    x = torch.randn(4, 3, 16, 16, device=device)
    with torch.autocast(device, torch.bfloat16):
        y, gradients, _ = step(plain, x)
        other, others, _ = step(twin, x)
    assert relative(other, y) < 0.01
    for name, value in gradients.items():
        assert others[name].dtype == value.dtype
        # bf16 has 8 bits. A number that is rounded otherwise moves all that follow, so that single gradients differ.
        assert ((others[name] - value).norm() / value.norm()).item() < 0.05, name


def test_whoever_watches_the_layers_sees_each_call_once():
    _, twin = twins(BC)
    calls = {name: [] for name, m in twin.named_modules() if isinstance(m, nn.BatchNorm2d | nn.Conv2d)}
    for name, seen in calls.items():
        twin.get_submodule(name).register_forward_hook(lambda module, args, output, seen=seen: seen.append(output))
    plain, _ = twins(BC)
    agree(plain, twin, torch.randn(4, 3, 16, 16, dtype=torch.float64), 1e-9)
    assert {len(seen) for seen in calls.values()} == {1}


def test_a_second_derivative_is_refused_instead_of_wrong():
    module, x = block(2, shared), torch.randn(2, 12, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[-1].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


# --------------------------------------------------------------------------------------------- shared memory: its size


def test_the_notes_figures_for_a_block_of_twelve_layers():
    """W · H · k · L (L + 1) numbers beside 9 k² · L (L + 1) / 2 weights, for L = k = 12 and maps of 32 × 32. They count a
    copy of the first layer's only map; it is read where it is."""
    layers, k, side = 12, 12, 32
    assert side * side * k * layers * (layers + 1) == 1_916_928
    widths = densenet_memory.channels(k, k, layers, bottleneck=False)
    assert side * side * sum(copied + normal for copied, normal in widths) == 1_916_928 - side * side * k
    assert side * side * sum(max(column) for column in zip(*widths)) == 2 * side * side * k * layers
    convolutions = [m for m in block(layers, at_once).modules() if isinstance(m, nn.Conv2d)]
    assert sum(map(parameters, convolutions)) == 9 * k * k * layers * (layers + 1) // 2 == 101_088
    assert side * side > 9 * k / 2, "so that temporaries outweigh the weights, even for a single picture"
    assert side * side / (9 * k / 2) == pytest.approx(1_916_928 / 101_088)


def kept(module, *inputs):
    """(bytes alive after a forward pass, bytes of the maps among them)."""
    tracker = Tracker([*module.parameters(), *module.buffers(), *inputs], [])
    with tracker:
        maps = module(*inputs)
    return tracker.alive(), sum(m.nbytes for m in maps if m is not inputs[0])


@pytest.mark.parametrize("layers", [1, 2, 5, 12])
def test_calculated_bytes_of_a_block_are_those_that_are_alive(layers):
    x = torch.randn(3, 12, 10, 8, requires_grad=True)
    widths = densenet_memory.channels(12, 12, layers, bottleneck=False)
    statistics = sum(2 * 4 * width for _, width in widths)  # mean and scale of each channel, for the backward pass
    alive, maps = kept(block(layers, at_once), x)
    assert alive == maps + statistics + 4 * 3 * 80 * sum(copied + normal for copied, normal in widths)
    alive, maps = kept(block(layers, shared), x)
    assert alive == maps + statistics, "between the passes nothing but the maps is there"


@pytest.mark.parametrize("kind", ["plain", "BC"])
def test_calculated_bytes_of_a_network_are_those_that_are_alive(kind):
    """Both forms keep the same besides, but for the new maps: the plain one has them in its copies."""
    config, batch = SMALL[kind], 5
    found = []
    for build in (densenet.build, densenet_memory.build):
        with imagined(build, config, batch) as (model, inputs):
            found.append(training(model, inputs, Optim(), torch.float32).activations)
    read = [h * w * config.growth * layers for layers, (h, w) in zip(config.blocks, config.maps)]
    last = config.maps[-1][0] * config.maps[-1][1] * config.growth  # no layer reads the last map, only the classifier
    assert found[0] - found[1] == temporaries(config, batch, share=False) - 4 * batch * (sum(read) - last)
    assert temporaries(config, batch, share=True) < temporaries(config, batch, share=False) / 3


def most(module, x):
    """Largest number of bytes alive in a step, without the gradients of the weights."""
    x = x.detach().requires_grad_()
    for p in module.parameters():
        p.grad = torch.zeros_like(p)
    if x.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        sum(m.square().sum() for m in module(x)).backward()
        return torch.cuda.max_memory_allocated() - before
    tracker = Tracker([*module.parameters(), *module.buffers(), x], [], peak=True)
    with tracker:
        sum(m.square().sum() for m in module(x)).backward()
    return tracker.peak


@pytest.mark.parametrize("device", DEVICES)
def test_the_most_memory_of_a_step_grows_with_the_layers_and_not_with_their_square(device):
    x = torch.randn(8, 12, 32, 32, device=device)
    bends = {}
    for compute in (at_once, shared):
        peaks = [most(block(layers, compute).to(device), x) / x.nbytes for layers in (4, 8, 12)]
        bends[compute.__name__] = peaks[2] - 2 * peaks[1] + peaks[0]
        assert compute is at_once or peaks[2] < 10 * 12, "a few times the maps themselves"
    # 32 is that of L² over steps of 4. Weight gradients on their way and cuDNN's scratch memory are not quite nothing.
    assert bends["at_once"] > 28
    assert abs(bends["shared"]) < (1 if device == "cpu" else 4)


# ------------------------------------------------------------------------------------------ compiled, in two processes


def alike(found, within):
    """The compiled network's numbers are the plain one's."""
    mine = {name.removeprefix("compiled/"): value for name, value in found.items() if name.startswith("compiled/")}
    assert len(mine) > 20
    for name, value in mine.items():
        assert relative(value.double(), found[f"plain/{name}"].double()) < within, name


COMPILER = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="no C++ compiler"),
]


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=COMPILER)])
def test_compiled_the_numbers_are_the_same(tmp_path, backend):
    """In a process of its own: the compiler cannot look through the checks of shapes that the tests put into papers."""
    ran(__file__, tmp_path / "found", backend, folder=tmp_path)
    alike(load_file(tmp_path / "found"), 1e-4)


@pytest.mark.slow
def test_compiled_the_memory_grows_with_the_layers_too(tmp_path):
    ran(__file__, tmp_path / "found", "memory", folder=tmp_path)
    one, two, three, plain = load_file(tmp_path / "found")["kept"].tolist()
    assert three - 2 * two + one == pytest.approx(0, abs=0.02)
    assert three < 3.1, "the three maps that layers read"
    assert plain > 9, "left to itself the compiler keeps copies"


@pytest.mark.parametrize("kind", ["local", "global"])
@pytest.mark.parametrize("name", ["plain", "BC"])
def test_two_processes_find_what_the_plain_network_finds(together, kind, name):
    for found in together:
        stem = f"{kind}/shared/{name}/"
        mine = {key.removeprefix(stem): value for key, value in found.items() if key.startswith(stem)}
        assert mine
        for key, value in mine.items():
            assert relative(value.double(), found[f"{kind}/at once/{name}/{key}"].double()) < 1e-4, key
        # The counter is moved by the first kind of processes, then by the second.
        assert {int(v) for k, v in mine.items() if k.endswith("num_batches_tracked")} == {1 + (kind == "global")}


@pytest.mark.parametrize("name", ["plain", "BC"])
def test_two_processes_take_the_step_of_one(together, name):
    """With global statistics; DDP divides the sum of the gradients by the number of processes."""
    plain, _ = twins(SMALL[name], dtype=torch.float32)
    plain(_rows()).square().sum().backward()
    for key, p in plain.named_parameters():
        assert relative(2 * together[0][f"global/shared/{name}/{key}"], p.grad) < 1e-3, key


def test_a_copy_of_a_network_is_one_of_its_own():
    _, twin = twins(BC)
    other = copy.deepcopy(twin)
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    (_, gradients, _), (_, same, _) = step(twin, x), step(other, x)
    assert all(torch.equal(gradients[name], same[name]) and gradients[name] is not same[name] for name in gradients)
