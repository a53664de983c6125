"""Pictures per second of `seminal train` with its defaults beside the reference loop, on the same model and files; what
seminal's loop costs over the bare step; and how far that step is from the machine's rate of matrix products.

The two loops take turns (A B A B …), so that a busy moment of the machine meets both; ratios are taken pair by pair.

    python benchmarks/images.py                       made-up pictures
    python benchmarks/images.py --data CIFAR_FOLDER   your own 32 × 32 pictures for resnet20
"""

from __future__ import annotations

import argparse
import copy
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from measuring import arguments, machine, silent, spread, write
from pictures import make_folder
from reference import WORKERS, Reference
from seminal.core import Precision, Step
from seminal.pieces.measure import multiply_adds
from seminal.report.terminal import Progress, console, table
from seminal.runs import training
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.machine import device_for
from seminal.runs.making import Maker
from seminal.runs.plan import model_of
from seminal.train.loop import train
from seminal.train.optimisers import optimisers
from seminal.train.precision import arithmetic, described, in_layout

FOREVER = 10_000  # epochs: the run never ends while it is measured, and the rate stays in its warm-up


@dataclass(frozen=True)
class Setting:
    """What is measured with one model."""

    model: str
    batch: int
    train: int  # pictures made where no folder is given …
    val: int
    sides: tuple[int, int]  # … and the range of their sides
    pairs: int
    warm: int  # steps of each turn before the clock runs: by then the batches that lie ready are as many as ever
    count: int  # steps on the clock
    steps: int  # pairs of single steps for the loop's overhead


SETTINGS = (
    Setting("resnet20", 128, train=2_000, val=200, sides=(32, 32), pairs=9, warm=6, count=24, steps=100),
    Setting("resnet50", 32, train=128, val=20, sides=(256, 400), pairs=5, warm=2, count=3, steps=12),
)
QUICK = {
    "resnet20": {"pairs": 2, "warm": 2, "count": 3, "steps": 4},
    "resnet50": {"batch": 8, "train": 40, "pairs": 1, "warm": 1, "count": 1, "steps": 2},
}
GPU = {"pairs": 7, "warm": 20, "count": 60, "steps": 100}  # steps are short there


class Seminal:
    """`seminal train` as the command line runs it, stopped and continued at will."""

    def __init__(self, setting: Setting, data: Path, output: str, device: str | None) -> None:
        ask = RecipeAsk(batch_size=setting.batch, epochs=FOREVER)
        with silent():
            plan, source = Maker(setting.model, DataAsk(str(data)), ask, RunAsk(output=output, device=device)).plan()
            self.run = training.begin(plan, source, device_for(device))
        self.device = device_for(device)

    @property
    def recipe(self) -> Any:
        return self.run.plan.recipe

    def steps(self) -> Iterator[Step]:
        """The loop with all that the command line does at each step; validation and checkpoints left out."""
        goal, clock = self.recipe.task.goal, time.perf_counter()
        with Progress(FOREVER, goal, percent=True, every=10.0, out=console(io.StringIO())) as progress:
            for step in train(self.run.model, self.run.source, self.recipe, self.run.state):
                took = time.perf_counter() - clock
                self.run.diary.step(step, took)
                progress.step(step, step.rows / took)
                yield step
                clock = time.perf_counter()

    def timed(self, warm: int, count: int) -> float:
        """Seconds of ``count`` steps after ``warm`` others."""
        steps = self.steps()
        for _ in itertools.islice(steps, warm):
            pass
        wait(self.device)
        started = time.perf_counter()
        for _ in itertools.islice(steps, count):
            pass
        wait(self.device)
        seconds = time.perf_counter() - started
        steps.close()
        return seconds


class Bare:
    """Forward, backward and optimiser step on one batch in memory, in the number format and layout that seminal chose."""

    def __init__(self, seminal: Seminal) -> None:
        recipe = seminal.recipe
        self.device, self.precision = seminal.device, recipe.precision or Precision()
        self.model = copy.deepcopy(seminal.run.model).train()
        (self.optimiser,) = optimisers({"model": list(self.model.parameters())}, recipe.optim).values()
        for group in self.optimiser.param_groups:
            group["lr"] = 1e-6
        self.criterion = torch.nn.CrossEntropyLoss(label_smoothing=recipe.task.label_smoothing)
        config = recipe.model
        pictures = torch.randn(recipe.batch, config.in_channels, *config.size)
        batch = {"input": pictures, "target": torch.arange(recipe.batch) % config.outputs}
        self.batch: dict[str, Tensor] = in_layout(batch, self.device, self.precision)

    def step(self) -> None:
        """One step."""
        with arithmetic(self.precision, self.device):
            loss = self.criterion(self.model(self.batch["input"]).float(), self.batch["target"])
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()


def wait(device: torch.device) -> None:
    """Until the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def overhead(seminal: Seminal, bare: Bare, pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of single steps of the loop, and of the bare step between them."""
    steps, loop, alone = seminal.steps(), [], []
    for number in range(pairs + 2):
        wait(seminal.device)
        first = time.perf_counter()
        next(steps)
        wait(seminal.device)
        middle = time.perf_counter()
        bare.step()
        wait(seminal.device)
        last = time.perf_counter()
        if number >= 2:  # the first build kernels and start workers
            loop.append(middle - first)
            alone.append(last - middle)
    steps.close()
    return loop, alone


def matrix_rate(dtype: torch.dtype, device: torch.device, repeats: int) -> dict[str, Any]:
    """GFLOP/s of the product of two square matrices, the best of several; 2 n³ operations."""
    _product(512, dtype, device)  # also builds the kernel
    # Without bf16 instructions a product of the usual size takes a minute.
    size = 2048 if _product(512, dtype, device) > 4 else 512
    rates = [_product(size, dtype, device) for _ in range(repeats)]
    return {"size": size, "n": repeats, "best": max(rates), "median": statistics.median(rates)}


def _product(size: int, dtype: torch.dtype, device: torch.device) -> float:
    a, b = torch.randn(size, size, device=device).to(dtype), torch.randn(size, size, device=device).to(dtype)
    wait(device)
    started = time.perf_counter()
    a @ b
    wait(device)
    return 2 * size**3 / (time.perf_counter() - started) / 1e9


def measure(setting: Setting, data: Path, output: str, device: str | None) -> dict[str, Any]:
    """All numbers of one model."""
    seminal = Seminal(setting, data, output, device)
    run, recipe = seminal.run, seminal.recipe
    model = model_of(run.plan, seminal.device)
    reference = Reference(model, recipe, run.source, data=data, device=seminal.device)
    ours, theirs = [], []
    for _ in range(setting.pairs):
        pictures = setting.count * recipe.batch
        ours.append(pictures / seminal.timed(setting.warm, setting.count))
        theirs.append(pictures / reference.timed(setting.warm, setting.count))
    bare = Bare(seminal)
    loop, alone = overhead(seminal, bare, setting.steps)
    adds = multiply_adds(model_of(run.plan, torch.device("cpu")).eval(), torch.randn(1, *run.source.spec.shape))
    # Forward once, backward twice (by the inputs and by the weights); a multiply-add is two operations.
    gflops = 3 * 2 * adds * recipe.batch / statistics.median(alone) / 1e9
    precision = recipe.precision or Precision()
    return {
        "model": setting.model,
        "pictures": f"{recipe.batch} × {'×'.join(map(str, run.source.spec.shape))}",
        "steps_per_turn": {"warm": setting.warm, "measured": setting.count},
        "precision": described(precision),
        "workers_of_reference": WORKERS,
        "source": type(run.source).__name__,
        "seminal_images_per_s": spread(ours),
        "reference_images_per_s": spread(theirs),
        "ratio": spread([a / b for a, b in zip(ours, theirs)]),
        "loop_step_s": spread(loop),
        "bare_step_s": spread(alone),
        "loop_overhead": spread([1 - b / a for a, b in zip(loop, alone)]),
        "loop_overhead_of_medians": 1 - statistics.median(alone) / statistics.median(loop),
        "bare_images_per_s": recipe.batch / statistics.median(alone),
        "multiply_adds_per_image": adds,
        "bare_gflops": gflops,
    }


def show(results: list[dict[str, Any]], rates: dict[str, Any]) -> None:
    """The table."""
    rows = []
    for r in results:
        ratio, cost = r["ratio"], r["loop_overhead"]
        kind = r["precision"].split()[0]
        rows.append(
            [
                r["model"],
                r["pictures"],
                r["precision"],
                f"{r['seminal_images_per_s']['median']:.1f}",
                f"{r['reference_images_per_s']['median']:.1f}",
                f"{ratio['median']:.2f} ({ratio['low']:.2f} … {ratio['high']:.2f}, n={ratio['n']})",
                f"{r['loop_overhead_of_medians']:.1%} (pairs: {cost['median']:.1%}, n={cost['n']})",
                f"{r['bare_gflops']:.0f} = {r['share_of_matrix_rate'][kind]:.0%} of {kind}",
            ]
        )
    table(["model", "batch", "precision", "seminal/s", "reference/s", "ratio", "loop overhead", "GFLOP/s"], rows)
    best = ", ".join(f"{name} {rate['best']:.3g} (n = {rate['size']})" for name, rate in rates.items())
    print(f"products of n × n matrices, best, GFLOP/s: {best}")


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, help="folder of 32 × 32 pictures for resnet20, with train/ and val/ or test/"
    )
    parser.add_argument("--photos", type=Path, help="folder of larger pictures for resnet50")
    parser.add_argument("--only", choices=[s.model for s in SETTINGS], help="one model")
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")


def run() -> None:
    """Measure all; print the table, write the JSON."""
    asked = arguments("Pictures per second of seminal train beside a reference loop.", _flags)
    before, results, device = machine(), [], device_for(asked.device)
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    rates = {name: matrix_rate(kind, device, 3 if asked.quick else 15) for name, kind in kinds.items()}
    for setting in SETTINGS:
        if asked.only not in (None, setting.model):
            continue
        setting = replace(setting, **GPU) if device.type == "cuda" else setting
        setting = replace(setting, **QUICK[setting.model]) if asked.quick else setting
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            output = stack.enter_context(tempfile.TemporaryDirectory())
            given = asked.data if setting.model == "resnet20" else asked.photos
            low, high = setting.sides
            data = given or make_folder(Path(folder), train=setting.train, val=setting.val, low=low, high=high)
            found = measure(setting, data, output, asked.device)
        share = {name: found["bare_gflops"] / rate["best"] for name, rate in rates.items()}
        results.append({"data": "given" if given else "made up", **found, "share_of_matrix_rate": share})
    show(results, rates)
    path = write("images", asked, before, {"matrix_rate_gflops": rates, "results": results})
    print(f"written  {path}")


if __name__ == "__main__":
    run()
