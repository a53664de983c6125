"""The same accuracy, sooner? `seminal train resnet20` with its defaults beside the reference loop: same pictures, epochs,
rates and first weights, several seeds; the final accuracy of both, and the time until a given accuracy.

    python benchmarks/accuracy.py --data CIFAR_FOLDER                     5,000 pictures, 10 epochs, 3 seeds
    python benchmarks/accuracy.py --data CIFAR_FOLDER --rows 0 --epochs 15   all of it

The final epoch is judged, not the best: picking the best by the pictures it is judged on would flatter both.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from measuring import arguments, machine, mean95, silent, spread, write
from pictures import make_folder
from reference import WORKERS, Reference
from seminal.report.terminal import table
from seminal.runs import training
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.machine import device_for
from seminal.runs.making import Maker
from seminal.runs.plan import Plan, model_of
from seminal.train.precision import Precision, described

HELD_OUT = ("val", "valid", "validation", "test")


@dataclass(frozen=True)
class Curve:
    """One run: accuracy after each epoch, and the seconds until then: making ready and training, validation left out."""

    top1: tuple[float, ...]
    seconds: tuple[float, ...]
    ready: float  # seconds before the first step: reading the data, measuring the precision
    whole: float  # seconds from the command to its end, with validation; seminal's checkpoints and report too
    precision: str

    def time_to(self, accuracy: float) -> float | None:
        """Seconds until an epoch first ended with this accuracy."""
        return next((s for s, top1 in zip(self.seconds, self.top1) if top1 >= accuracy), None)


def subset(data: Path, where: Path, rows: int, val_rows: int) -> Path:
    """The first files of each class, so many in all, as a folder of its own. 0: all."""
    held_out = next(name for name in HELD_OUT if (data / name).is_dir())
    for split, count in {"train": rows, held_out: val_rows}.items():
        classes = sorted(folder for folder in (data / split).iterdir() if folder.is_dir())
        for folder in classes:
            files = sorted(folder.iterdir())
            (where / split / folder.name).mkdir(parents=True)
            for file in files[: count // len(classes)] if count else files:
                shutil.copy(file, where / split / folder.name / file.name)
    return where


def seminal_curve(maker: Maker) -> tuple[Curve, Plan]:
    """The command line's own road, from reading the data to the report."""
    started = time.perf_counter()
    with silent():
        plan, source = maker.plan()
        run = training.begin(plan, source, device_for(maker.run.device))
        ready = time.perf_counter() - started
        code = training.carry_on(run)
    if code:
        raise SystemExit(f"the run ended with exit code {code}")
    whole = time.perf_counter() - started
    rows = run.diary.rows
    top1 = tuple(float(row["val_top1"] or 0) for row in rows)
    seconds = tuple(ready + float(row["seconds"] or 0) for row in rows)
    return Curve(top1, seconds, ready, whole, described(run.plan.recipe.precision or Precision())), run.plan


def reference_curve(maker: Maker, data: Path) -> Curve:
    """The reference loop from the same first weights. Reading the recipe and the colour statistics is not counted: its
    author knows them."""
    with silent():
        plan, source = maker.plan()
    device = device_for(maker.run.device)
    model = model_of(plan, device)
    torch.manual_seed(plan.recipe.seed)  # order and augmentation
    started = time.perf_counter()
    reference = Reference(model, plan.recipe, source, data=data, device=device)
    ready = time.perf_counter() - started
    epochs = list(reference.epochs())
    whole = time.perf_counter() - started
    top1 = tuple(epoch.top1 for epoch in epochs)
    return Curve(top1, tuple(ready + epoch.seconds for epoch in epochs), ready, whole, "fp32")


def summary(curves: Sequence[Curve], target: float) -> dict[str, Any]:
    """Final accuracies and times of the seeds of one loop."""
    times = [curve.time_to(target) for curve in curves]
    reached = [seconds for seconds in times if seconds is not None]
    return {
        "precision": [curve.precision for curve in curves],
        "top1_final": mean95([curve.top1[-1] for curve in curves]),
        "top1_best_epoch": mean95([max(curve.top1) for curve in curves]),
        "seconds_to_target": spread(reached) if reached else None,
        "reached_target": len(reached),
        "seconds_of_training": spread([curve.seconds[-1] for curve in curves]),
        "seconds_before_first_step": spread([curve.ready for curve in curves]),
        "seconds_whole": spread([curve.whole for curve in curves]),
        "curves": [{"top1": curve.top1, "seconds": [round(s, 2) for s in curve.seconds]} for curve in curves],
    }


def show(result: dict[str, Any]) -> None:
    """The table."""
    rows = []
    for name in ("seminal", "reference"):
        found = result[name]
        top1, to_target = found["top1_final"], found["seconds_to_target"]
        rows.append(
            [
                name,
                f"{top1['mean']:.2%}"
                + (f" ± {top1['half_width_95']:.2%}" if top1["half_width_95"] is not None else ""),
                f"{to_target['median']:.0f} s (n={to_target['n']})" if to_target else "not reached",
                f"{found['seconds_of_training']['median']:.0f} s",
                f"{found['seconds_whole']['median']:.0f} s",
                ", ".join(sorted(set(found["precision"]))),
            ]
        )
    to = f"until {result['target']:.1%}"
    table(["loop", "final top-1", to, "all epochs", "with validation", "precision"], rows)
    difference = result["difference"]
    half = f" ± {difference['half_width_95']:.2%}" if difference["half_width_95"] is not None else ""
    print(f"seminal less reference, paired by seed: {difference['mean']:+.2%}{half} (n={difference['n']})")


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder of 32 × 32 pictures with train/ and test/ (or val/)")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", type=int, default=5_000, help="training pictures; 0: all (default: 5000)")
    parser.add_argument("--val-rows", type=int, default=2_000, help="validation pictures; 0: all (default: 2000)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--target", type=float, help="an accuracy such as 0.8 (default: the lowest final one)")
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")


def run() -> None:
    """Train all, in turns; print the table, write the JSON."""
    asked = arguments("Accuracy and time of seminal train beside a reference loop.", _flags)
    if asked.quick:
        asked.epochs, asked.rows, asked.val_rows, asked.seeds = 1, 256, 100, 2
    if asked.data is None and not asked.quick:
        raise SystemExit("accuracy.py: made-up pictures tell nothing about accuracy: give --data FOLDER")
    before = machine()
    ours: list[Curve] = []
    theirs: list[Curve] = []
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as output:
        made = asked.data or make_folder(Path(folder) / "made", train=300, val=100, low=32, high=32)
        data = subset(made, Path(folder) / "subset", asked.rows, asked.val_rows)
        for seed in range(asked.seeds):
            ask = RecipeAsk(seed=seed, epochs=asked.epochs)
            maker = Maker(asked.model, DataAsk(str(data)), ask, RunAsk(output=output, device=asked.device))
            curve, plan = seminal_curve(maker)
            ours.append(curve)
            theirs.append(reference_curve(maker, data))
            print(f"seed {seed}: seminal {ours[-1].top1[-1]:.2%}, reference {theirs[-1].top1[-1]:.2%}", flush=True)
    target = asked.target or min(curve.top1[-1] for curve in (*ours, *theirs))
    result = {
        "model": asked.model,
        "rows": {"train": asked.rows or "all", "val": asked.val_rows or "all"},
        "recipe": {name: getattr(plan.recipe, name) for name in ("name", "batch", "epochs", "lr")},
        "workers_of_reference": WORKERS,
        "target": target,
        "seminal": summary(ours, target),
        "reference": summary(theirs, target),
        "difference": mean95([a.top1[-1] - b.top1[-1] for a, b in zip(ours, theirs)]),
        "speed_up": spread([b.seconds[-1] / a.seconds[-1] for a, b in zip(ours, theirs)]),
        "same_batches": "no: the loops draw order, crops and flips from different streams of chance",
    }
    show(result)
    ratio = statistics.median(result["speed_up"]["all"])
    print(f"time of all epochs, reference / seminal, paired: {ratio:.2f}")
    print(f"written  {write('accuracy', asked, before, result)}")


if __name__ == "__main__":
    run()
