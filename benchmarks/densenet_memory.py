"""What the shared memory of a DenseNet saves, and what it costs.

Blocks of 12, 40 and 100 layers, plain and shared: the bytes that are kept for the backward pass, the most that is alive
in a training step, how both grow with the depth, and how far the gradients of the two are apart. Whole networks: seconds
of a training step, plain beside shared. Beside both stands torch's checkpoint around the plain function, which is shorter
to write and moves the running statistics twice.

The forms take turns (A B C A B C …), so that a busy moment of the machine meets all; ratios are taken turn by turn.

    python benchmarks/densenet_memory.py
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from measuring import arguments, machine, spread, write
from seminal.papers import densenet
from seminal.papers.densenet import Config, DenseNet, at_once
from seminal.papers.densenet_memory import block, channels, shared
from seminal.pieces.memory import Tracker
from seminal.report.terminal import table
from seminal.runs.machine import device_for

MIB = 2**20
GROWTH, SIDE = 12, 32  # of the blocks: those of the first block of densenet40-k12


def checkpointed(norm: nn.Module, conv: nn.Module, maps: Sequence[Tensor]) -> Tensor:
    """torch's own way, without care for the running statistics."""

    def again(*maps: Tensor) -> Tensor:
        return at_once(norm, conv, maps)

    y: Tensor = checkpoint(again, *maps, use_reentrant=False, preserve_rng_state=False)
    return y


FORMS = {"plain": at_once, "shared": shared, "checkpoint": checkpointed}


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    layers: tuple[int, ...] = (12, 40, 100)
    pictures: int = 2  # for the blocks; memory is in proportion to them
    networks: tuple[tuple[str, int, int], ...] = (  # name, side of the pictures, batch
        ("densenet40-k12", 32, 16),
        ("densenet-bc100-k12", 32, 16),
        ("densenet121", 96, 8),
    )
    turns: int = 7


QUICK = Plan(layers=(2, 4, 8), pictures=1, networks=(("densenet40-k12", 8, 2),), turns=2)
GPU = Plan(pictures=16, networks=(("densenet-bc100-k12", 32, 64), ("densenet121", 224, 32)), turns=25)


# ------------------------------------------------------------------------------------------------------------- memory


def memory(form: str, layers: int, pictures: int, device: torch.device) -> dict[str, Any]:
    """Bytes of one step of a block, without weights and their gradients."""
    torch.manual_seed(0)
    module = block(layers, FORMS[form], growth=GROWTH, inputs=GROWTH).to(device)
    for p in module.parameters():
        p.grad = torch.zeros_like(p)  # there before the step, as in training from the second step on
    x = torch.randn(pictures, GROWTH, SIDE, SIDE, device=device, requires_grad=True)
    if device.type == "cuda":
        kept, peak = _on_cuda(module, x)
    else:
        tracker = Tracker([*module.parameters(), *module.buffers(), x, *_gradients(module)], [], peak=True)
        with tracker:
            maps = module(x)
            kept = tracker.alive()
            _loss(maps).backward()
            del maps
        peak = tracker.peak
    widths = channels(GROWTH, GROWTH, layers, bottleneck=False)
    columns = list(zip(*widths))
    numbers = sum(map(sum, columns)) if form == "plain" else sum(map(max, columns))
    return {
        "form": form,
        "layers": layers,
        "calculated_temporaries_bytes": 4 * pictures * SIDE**2 * numbers,
        "new_maps_bytes": layers * x.nbytes,
        "kept_for_backward_bytes": kept,
        "peak_bytes": peak,
    }


def _on_cuda(module: nn.Module, x: Tensor) -> tuple[int, int]:
    before = torch.cuda.memory_allocated(x.device)
    torch.cuda.reset_peak_memory_stats(x.device)
    maps = module(x)
    kept = torch.cuda.memory_allocated(x.device) - before
    _loss(maps).backward()
    torch.cuda.synchronize(x.device)
    return kept, torch.cuda.max_memory_allocated(x.device) - before


def _loss(maps: list[Tensor]) -> Tensor:
    """A number to which every map contributes otherwise."""
    weights = torch.linspace(-1, 1, len(maps)).tolist()
    return torch.stack([weight * m.square().sum() for weight, m in zip(weights, maps)]).sum()


def _gradients(module: nn.Module) -> list[Tensor]:
    return [p.grad for p in module.parameters() if p.grad is not None]


def exponent(layers: Sequence[int], size: Sequence[float]) -> float:
    """The slope of log size over log layers, by least squares: 1 is linear, 2 quadratic."""
    x, y = [math.log(n) for n in layers], [math.log(n) for n in size]
    return statistics.linear_regression(x, y).slope


def differences(layers: int, pictures: int, device: torch.device) -> dict[str, float]:
    """Largest relative difference of shared from plain: outputs, gradients, running statistics. fp32."""
    found = []
    for form in ("plain", "shared"):
        torch.manual_seed(0)
        module = block(layers, FORMS[form], growth=GROWTH, inputs=GROWTH).to(device)
        x = torch.randn(pictures, GROWTH, SIDE, SIDE, device=device, requires_grad=True)
        maps = module(x)
        _loss(maps).backward()
        assert x.grad is not None
        outputs = [m.detach() for m in maps]
        found.append({"outputs": outputs, "gradients": [x.grad, *_gradients(module)], "buffers": [*module.buffers()]})
    return {
        kind: max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found[1][kind], found[0][kind]))
        for kind in found[0]
    }


# --------------------------------------------------------------------------------------------------------------- time


def seconds(config: Config, batch: int, turns: int, device: torch.device) -> dict[str, Any]:
    """Training steps of a network in all forms, in turn, and their ratios to the plain one."""
    models = {}
    for form, compute in FORMS.items():
        torch.manual_seed(0)
        models[form] = DenseNet(config, compute).to(device).train()
    x = torch.randn(batch, config.in_channels, *config.size, device=device)
    target = torch.arange(batch, device=device) % config.outputs
    for model in models.values():
        _step(model, x, target)  # builds kernels
    took: dict[str, list[float]] = {form: [] for form in FORMS}
    for turn in range(turns):
        names = list(models) if turn % 2 == 0 else list(models)[::-1]
        for form in names:
            took[form].append(_step(models[form], x, target))
    ratios = {
        form: spread([a / b for a, b in zip(times, took["plain"])]) for form, times in took.items() if form != "plain"
    }
    return {"seconds": {form: spread(times) for form, times in took.items()}, "ratio_to_plain": ratios}


def _step(model: nn.Module, x: Tensor, target: Tensor) -> float:
    """Seconds of a forward and a backward pass."""
    model.zero_grad(set_to_none=True)
    _wait(x.device)
    started = time.perf_counter()
    nn.functional.cross_entropy(model(x), target).backward()
    _wait(x.device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# --------------------------------------------------------------------------------------------------------------- show


def show(blocks: list[dict[str, Any]], growth: dict[str, Any], steps: list[dict[str, Any]]) -> None:
    """The tables."""
    rows = []
    for b in blocks:
        sizes = ("calculated_temporaries_bytes", "kept_for_backward_bytes", "peak_bytes")
        rows.append([str(b["layers"]), b["form"], *(f"{b[size] / MIB:.1f}" for size in sizes)])
    table(["layers", "form", "temporaries, calculated", "kept for backward", "most in a step, MiB"], rows)
    for form, found in growth.items():
        print(f"{form:10} grows as layers^{found['kept']:.2f} (kept), layers^{found['peak']:.2f} (most in a step)")
    rows = []
    for s in steps:
        for form, ratio in s["ratio_to_plain"].items():
            cost = f"{ratio['median'] - 1:+.1%} ({ratio['low'] - 1:+.1%} … {ratio['high'] - 1:+.1%}, n={ratio['n']})"
            rows.append([s["network"], s["pictures"], form, f"{s['seconds'][form]['median']:.3f}", cost])
    table(["network", "batch", "form", "s per step", "time beside plain"], rows)


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")


def run() -> None:
    """Measure all; print the tables, write the JSON."""
    asked = arguments("Memory and time of DenseNet, plain and shared.", _flags)
    before, device = machine(), device_for(asked.device)
    plan = QUICK if asked.quick else GPU if device.type == "cuda" else Plan()
    blocks = [memory(form, layers, plan.pictures, device) for layers in plan.layers for form in FORMS]
    growth = {}
    for form in FORMS:
        own = [b for b in blocks if b["form"] == form]
        sizes = {"kept": "kept_for_backward_bytes", "peak": "peak_bytes"}
        growth[form] = {name: exponent(plan.layers, [b[size] for b in own]) for name, size in sizes.items()}
    apart = {layers: differences(layers, plan.pictures, device) for layers in plan.layers}
    steps = []
    for name, side, batch in plan.networks:
        config = replace(densenet.VARIANTS[name], size=(side, side))
        found = seconds(config, batch, plan.turns, device)
        steps.append({"network": name, "pictures": f"{batch} × 3×{side}×{side}", **found})
    show(blocks, growth, steps)
    for layers, far in apart.items():
        print(f"{layers} layers, shared from plain: " + ", ".join(f"{kind} {value:.1e}" for kind, value in far.items()))
    result = {
        "block": f"{plan.pictures} × {GROWTH}×{SIDE}×{SIDE}, growth rate {GROWTH}, no bottlenecks, fp32",
        "blocks": blocks,
        "growth_exponents": growth,
        "largest_relative_difference": apart,
        "steps": steps,
    }
    print(f"written  {write('densenet_memory', asked, before, result)}")


if __name__ == "__main__":
    run()
