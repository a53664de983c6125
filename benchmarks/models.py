"""Pictures per second of each model beside the same network of torchvision or timm, training and inference.

Twice: at equal terms (both fp32, eager, torch's own layout), which compares the networks as they are written; and with what
seminal does by default (layout and number format measured for training, `optimised` for inference) beside the peer's plain
fp32. The two take turns (A B B A …), so that a busy moment of the machine meets both; ratios are taken pair by pair. That
it is the same network is checked by its parameters and multiply-adds.

    python benchmarks/models.py                      up to three models of each paper
    python benchmarks/models.py --all                every model with a peer
    python benchmarks/models.py --only resnet18 densenet121 --device cuda
"""

from __future__ import annotations

import argparse
import gc
import importlib
import itertools
import math
import pkgutil
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import seminal.weights
from measuring import arguments, machine, silent, spread, write
from seminal.core import DataSpec, Precision, Recipe
from seminal.pieces.measure import multiply_adds, parameters
from seminal.report.terminal import say, table
from seminal.runs.machine import device_for
from seminal.runs.shelf import paper_of, recipe_by_name
from seminal.train.inference import optimised
from seminal.train.optimisers import optimisers
from seminal.train.precision import arithmetic, chosen, described, in_layout, laid_out, measured

COMPARED = ("train", "infer", "train_default", "infer_default")
MOST = 3  # models of one paper, unless all are asked for
SHORTEST = 0.05  # seconds of one measurement: faster steps are repeated within it
Step = Callable[[], Any]


@dataclass(frozen=True)
class Peer:
    """The same network in another package."""

    variant: str  # our name
    package: str
    builder: str  # their name

    def build(self) -> nn.Module:
        """With random weights."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.package == "timm":
                import timm

                model: nn.Module = timm.create_model(self.builder)
                return model
            import torchvision

            return torchvision.models.get_model(self.builder)


def peers() -> dict[str, list[Peer]]:
    """By paper, from the tables in `seminal.weights`; torchvision's where both have the network."""
    found = {}
    for file in pkgutil.iter_modules(seminal.weights.__path__):
        tables = vars(importlib.import_module(f"seminal.weights.{file.name}"))
        named = {ours: ("timm", theirs) for ours, theirs in tables.get("TIMM", {}).items()}
        named |= {ours: ("torchvision", theirs) for ours, theirs in tables.get("TORCHVISION", {}).items()}
        if named:
            found[file.name] = [Peer(ours, *theirs) for ours, theirs in named.items()]
    return found


@dataclass
class Setting:
    """One model, its peer, and what both are given."""

    peer: Peer
    device: torch.device
    batch: int
    size: int | None  # side of the pictures; None: the paper's own
    seconds: float  # for each of the four comparisons
    pairs: int  # at most; at least 2

    def __post_init__(self) -> None:
        file, paper = paper_of(self.peer.variant)
        self.config = paper.variants[self.peer.variant]
        side = self.size or self.config.size[0]
        spec = DataSpec("pictures", "images", {"train": 50_000, "val": 10_000}, (3, side, side), _names(1000))
        self.config = self.config.fitted(spec)
        self.recipe: Recipe = recipe_by_name(file, self.peer.variant, spec, None)
        self.ours = paper.build(self.config).to(self.device)
        self.theirs = self.peer.build().to(self.device)
        pictures = torch.randn(self.batch, 3, side, side)
        index = torch.arange(self.batch)
        batch = {"input": pictures, "target": index % 1000, "index": index}
        self.data = {name: values.to(self.device) for name, values in batch.items()}

    @property
    def pictures(self) -> Tensor:
        return self.data["input"]


def _names(count: int) -> tuple[str, ...]:
    return tuple(str(i) for i in range(count))


# ------------------------------------------------------------------------------------------------------ what is timed


def training_step(model: nn.Module, setting: Setting) -> Step:
    """Plain fp32, the same for both sides. A network with side heads adds their losses."""
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    pictures, target = setting.pictures, setting.data["target"]
    model.train()

    def step() -> None:
        loss = torch.stack([F.cross_entropy(head, target) for head in _heads(model(pictures))]).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


def _heads(output: Any) -> Iterable[Tensor]:
    if isinstance(output, Tensor):
        return output if output.dim() == 3 else (output,)
    return [head for head in output if head is not None]  # torchvision's named tuple of heads


def our_training_step(setting: Setting) -> tuple[Step, Precision]:
    """With the layout and number format that `seminal train` would choose here, and its optimiser."""
    model, recipe = setting.ours, setting.recipe
    precision = chosen(measured(model.train(), recipe, setting.data))
    laid_out(model, precision)
    (optimiser,) = optimisers({"model": list(model.parameters())}, recipe.optim).values()
    for group in optimiser.param_groups:
        group["lr"] = 1e-4
    batch = in_layout(setting.data, setting.device, precision)
    pictures, target = batch["input"], batch["target"]

    def step() -> None:
        with arithmetic(precision, setting.device):
            heads = _heads(model(pictures))
        loss = torch.stack([F.cross_entropy(head.float(), target) for head in heads]).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step, precision


def inference_step(model: nn.Module, pictures: Tensor) -> Step:
    """A forward pass without gradients."""

    @torch.no_grad()
    def step() -> None:
        model(pictures)

    model.eval()
    return step


# -------------------------------------------------------------------------------------------------------- the measurement


def seconds(step: Step, device: torch.device, repeats: int) -> float:
    """Of one step, the mean of so many."""
    wait(device)
    started = time.perf_counter()
    for _ in range(repeats):
        step()
    wait(device)
    return (time.perf_counter() - started) / repeats


def wait(device: torch.device) -> None:
    """Until the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compared(ours: Step, theirs: Step, setting: Setting) -> dict[str, Any]:
    """Pictures per second of both, and the ratio of each pair."""
    device = setting.device
    started = time.perf_counter()
    warm = [seconds(step, device, 1) for step in (ours, theirs)]
    if min(warm) < 1:  # the first steps also build kernels, which hardly matters to long ones
        warm = [seconds(step, device, 1) for step in (ours, theirs)]
    repeats = max(1, round(SHORTEST / min(warm)))
    a, b = list[float](), list[float]()
    for pair in range(setting.pairs):
        for step, times in ((ours, a), (theirs, b))[:: 1 if pair % 2 == 0 else -1]:
            times.append(seconds(step, device, repeats))
        if pair > 0 and time.perf_counter() - started > setting.seconds:
            break
    return {
        "ours_per_s": spread([setting.batch / t for t in a]),
        "theirs_per_s": spread([setting.batch / t for t in b]),
        "ratio": spread([theirs / ours for ours, theirs in zip(a, b)]),
        "steps_per_measurement": repeats,
    }


def checked(setting: Setting) -> tuple[int, int]:
    """Parameters and multiply-adds of a picture, which must be the peer's."""
    counts = []
    for model in (setting.ours, setting.theirs):
        counts.append((parameters(model), multiply_adds(model.eval(), setting.pictures[:1])))
    if counts[0] != counts[1]:
        peer = setting.peer
        raise AssertionError(f"{peer.variant} {counts[0]} is not {peer.package}'s {peer.builder} {counts[1]}")
    return counts[0]


def measure(setting: Setting) -> dict[str, Any]:
    """All numbers of one model."""
    learned, work = checked(setting)
    peer, theirs, pictures = setting.peer, setting.theirs, setting.pictures
    found = {"infer": compared(inference_step(setting.ours, pictures), inference_step(theirs, pictures), setting)}
    fast = optimised(setting.ours, pictures)
    found["infer_default"] = compared(inference_step(fast, pictures), inference_step(theirs, pictures), setting)
    infer_precision = fast.precision
    del fast
    their_step = training_step(theirs, setting)
    found["train"] = compared(training_step(setting.ours, setting), their_step, setting)
    setting.ours.zero_grad(set_to_none=True)
    our_step, train_precision = our_training_step(setting)
    found["train_default"] = compared(our_step, their_step, setting)
    return {
        "model": peer.variant,
        "peer": f"{peer.package} {peer.builder}",
        "batch": f"{setting.batch} × {'×'.join(map(str, pictures.shape[1:]))}",
        "parameters": learned,
        "multiply_adds": work,
        "precision_of_training": described(train_precision),
        "precision_of_inference": described(infer_precision),
        **{name: found[name] for name in COMPARED},
    }


# ------------------------------------------------------------------------------------------------------------ the table


def mean_ratio(results: list[dict[str, Any]], name: str) -> float:
    """The geometric mean of the models' median ratios."""
    return math.exp(statistics.fmean(math.log(r[name]["ratio"]["median"]) for r in results))


def show(results: list[dict[str, Any]]) -> None:
    """Ratios: above 1, ours is faster."""
    rows = []
    for r in results:
        ratios = [_ratio(r[name]["ratio"]) for name in COMPARED]
        chosen_here = f"{r['precision_of_training']}; {r['precision_of_inference']}"
        rows.append([r["model"], r["peer"], r["batch"].replace(" ", ""), *ratios, chosen_here])
    means = [f"{mean_ratio(results, name):.2f}" for name in COMPARED]
    rows.append(["geometric mean", f"{len(results)} models", "", *means, ""])
    heads = ["train", "infer", "train, defaults", "infer, defaults", "chosen: training; inference"]
    table(["model", "peer", "batch", *heads], rows)


def _ratio(ratio: dict[str, Any]) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f}, n={ratio['n']})"


def selected(asked: argparse.Namespace) -> Iterator[Peer]:
    """The peers that were asked for."""
    known = peers()
    if asked.only:
        by_name = {peer.variant: peer for peer in itertools.chain(*known.values())}
        unknown = set(asked.only) - by_name.keys()
        if unknown:
            raise SystemExit(f"no peer for {', '.join(sorted(unknown))}. There are: {', '.join(by_name)}.")
        yield from (by_name[name] for name in asked.only)
        return
    for of_paper in known.values():
        most = len(of_paper) if asked.all else min(MOST, len(of_paper))
        # Spread evenly over the paper's table, the first and the last among them.
        yield from (of_paper[round(i * (len(of_paper) - 1) / max(1, most - 1))] for i in range(most))


def fitting_batch(peer: Peer, device: torch.device) -> int:
    """Pictures in a batch, so that a step on two cores takes seconds at most."""
    if device.type == "cuda":
        return 64
    with torch.device("meta"):
        _, paper = paper_of(peer.variant)
        config = paper.variants[peer.variant]
        work = multiply_adds(paper.build(config).eval(), *config.example(1))
    return 8 if work < 2e9 else 4 if work < 5e9 else 2 if work < 9e9 else 1


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", metavar="MODEL", help="these models")
    parser.add_argument("--all", action="store_true", help=f"every model with a peer, not only {MOST} of each paper")
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")
    parser.add_argument("--batch", type=int, help="pictures in a batch (default: 1 to 8 by the model's work; GPU: 64)")
    parser.add_argument("--size", type=int, help="side of the pictures (default: the paper's; not for VGG)")
    parser.add_argument("--seconds", type=float, default=16.0, help="per model, in four comparisons (default: 16)")
    parser.add_argument("--pairs", type=int, default=15, help="of measurements in a comparison, at most (default: 15)")


def run() -> None:
    """Measure all; print the table, write the JSON."""
    asked = arguments("Pictures per second of each model beside the same network of a peer.", _flags)
    before, device, results = machine(), device_for(asked.device), []
    for peer in selected(asked):
        started = time.perf_counter()
        torch.manual_seed(0)
        setting = Setting(
            peer=peer,
            device=device,
            batch=asked.batch or (2 if asked.quick else fitting_batch(peer, device)),
            size=asked.size,
            seconds=(1.0 if asked.quick else asked.seconds) / len(COMPARED),
            pairs=2 if asked.quick else asked.pairs,
        )
        with silent():
            results.append(measure(setting))
        ratios = ", ".join(f"{name.replace('_', ' ')} {results[-1][name]['ratio']['median']:.2f}" for name in COMPARED)
        say("measured", f"{peer.variant}: {ratios} ({time.perf_counter() - started:.0f} s)")
        del setting
        gc.collect()
    show(results)
    means = {name: mean_ratio(results, name) for name in COMPARED}
    path = write("models", asked, before, {"timm": version("timm"), "geometric_mean": means, "results": results})
    print(f"written  {path}")


if __name__ == "__main__":
    run()
