"""All forms of the papers' networks for small pictures, each trained for the same time: parameters, multiply-adds,
accuracy, images per second.

    python experiments/cifar_forms.py --data CIFAR_FOLDER --minutes 10

Every network gets the modern recipe, stretched or shortened so that its steps take ``--minutes``; validation comes on top.
Networks that see less than ``--least-epochs`` of the data in that time are left out of the table, and named below it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # what the benchmarks share
from measuring import arguments, machine, silent
from seminal.core import Order, Precision
from seminal.pieces.measure import count, work
from seminal.report.terminal import table
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.machine import device_for
from seminal.runs.making import Maker
from seminal.runs.plan import Plan, model_of
from seminal.runs.shelf import papers
from seminal.train.evaluate import scored
from seminal.train.loop import train
from seminal.train.precision import chosen, measured

FORMS = (
    *("resnet20", "resnet56", "resnet110", "plain20", "preresnet110", "preresnet164"),
    *("densenet40-k12", "densenet-bc100-k12", "resnext29-8x64d", "se-resnet110"),
)
TRIAL = 12  # steps that are timed before training; the first two are not counted


def trained(variant: str, data: str, seconds: float, seed: int, device: str | None) -> dict[str, Any]:
    """One network, from the first weights of ``seed``, trained for about ``seconds``."""
    with silent():
        plan, source = Maker(variant, DataAsk(data), RecipeAsk(seed=seed), RunAsk(device=device)).plan()
    where = device_for(device)
    plan = replace(plan, recipe=replace(plan.recipe, precision=_precision(plan, source, where)))
    rate = _rate(plan, source, where)
    rows = source.spec.counts["train"]
    steps = max(1, int(rate * seconds / plan.recipe.batch))
    recipe = replace(plan.recipe, steps=steps, epochs=-(-steps * plan.recipe.batch // rows) + 1)
    model = model_of(plan, where)
    started = time.perf_counter()
    for _ in train(model, source, recipe):
        pass
    took = time.perf_counter() - started
    metrics = recipe.task.summary(scored(model, source, recipe, Order("val", 250, scaling=recipe.scaling)))
    build = papers()[plan.paper].build
    return {
        "model": variant,
        "paper": papers()[plan.paper].title,
        "parameters": count(build, recipe.model),
        "multiply_adds": work(build, recipe.model),
        "top1": metrics["top1"],
        "loss": metrics["loss"],
        "images_per_s": steps * recipe.batch / took,
        "epochs_seen": steps * recipe.batch / rows,
        "steps": steps,
        "seconds": took,
        "recipe": {"batch": recipe.batch, "lr": recipe.lr},
        "precision": repr(recipe.precision),
    }


def _precision(plan: Plan, source: Any, where: torch.device) -> Precision:
    order = Order("train", plan.recipe.batch, shuffle=True, augment=plan.recipe.augment, scaling=plan.recipe.scaling)
    batch = next(iter(source.batches(order)))
    return chosen(measured(model_of(plan, where), plan.recipe, {name: v.to(where) for name, v in batch.items()}))


def _rate(plan: Plan, source: Any, where: torch.device) -> float:
    """Images per second of a few steps, on a model of its own."""
    clock: list[float] = []
    for _ in islice(train(model_of(plan, where), source, plan.recipe), TRIAL):
        clock.append(time.perf_counter())
    return plan.recipe.batch * (len(clock) - 3) / (clock[-1] - clock[2])


def show(results: list[dict[str, Any]], least: float) -> None:
    """The table, best first, and what was too slow for it."""
    enough = [r for r in results if r["epochs_seen"] >= least]
    rows = [
        [
            r["model"], f"{r['parameters'] / 1e6:.2f} M", f"{r['multiply_adds'] / 1e6:.0f} M", f"{r['top1']:.1%}",
            f"{r['images_per_s']:.0f}", f"{r['epochs_seen']:.1f}",
        ]
        for r in sorted(enough, key=lambda r: -r["top1"])
    ]  # fmt: skip
    table(["model", "parameters", "multiply-adds", "top-1", "images/s", "epochs"], rows)
    slow = [f"{r['model']} ({r['epochs_seen']:.2f} epochs)" for r in results if r["epochs_seen"] < least]
    if slow:
        print(f"too slow here for this budget: {', '.join(slow)}")


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", help="folder of 32 × 32 pictures with train/ and test/ (or val/)")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training for each network (default: 10)")
    parser.add_argument("--least-epochs", type=float, default=0.5)
    parser.add_argument("--only", nargs="*", default=FORMS, help="these networks instead of all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")


def run() -> None:
    """Train all, one after the other; the JSON is written after each, so that a stop loses one network at most."""
    asked = arguments("All CIFAR forms, each trained for the same time.", _flags)
    if asked.data is None:
        asked.data = "digits"
    if asked.quick:
        asked.minutes, asked.only = 0.05, ("resnet20", "densenet40-k12")
    out = asked.out or Path(__file__).parent / "results" / "cifar_forms.json"
    before, results = machine(), []
    for variant in asked.only:
        results.append(trained(variant, asked.data, 60 * asked.minutes, asked.seed, asked.device))
        print(f"{variant}: {results[-1]['top1']:.2%} after {results[-1]['epochs_seen']:.2f} epochs", flush=True)
        command = f"python experiments/cifar_forms.py --data CIFAR_FOLDER --minutes {asked.minutes:g}"
        out.parent.mkdir(parents=True, exist_ok=True)
        found = {
            "command": command,
            "machine": before,
            "minutes": asked.minutes,
            "seed": asked.seed,
            "results": results,
        }
        out.write_text(json.dumps(found, indent=1, default=str) + "\n", encoding="utf-8")
    show(results, asked.least_epochs)
    print(f"written  {out}")


if __name__ == "__main__":
    run()
