"""All forms of the papers' networks for small pictures, each trained on the same pictures for the same epochs: parameters,
multiply-adds, accuracy, images per second.

    python experiments/cifar_forms.py --data CIFAR_FOLDER --images 100000
    python experiments/cifar_forms.py --data CIFAR_FOLDER --images 100000 --rates     images per second once more, of all

Every network gets the modern recipe, stretched or shortened to ``--images`` pictures seen. One whose training would take
more than ``--most-minutes`` at the rate of its first steps is left out, and named below the table. Accuracy does not mind
what else the machine does, and rates do: ``--rates`` measures them anew, one network after the other.
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


def trained(variant: str, asked: argparse.Namespace) -> dict[str, Any]:
    """One network from its first weights, trained on so many pictures; ``top1`` is None where that would take too long."""
    plan, source, where = _planned(variant, asked)
    recipe, rate = plan.recipe, _rate(plan, source, where)
    steps, rows = recipe.steps, source.spec.counts["train"]
    build = papers()[plan.paper].build
    found: dict[str, Any] = {
        "model": variant,
        "paper": papers()[plan.paper].title,
        "parameters": count(build, recipe.model),
        "multiply_adds": work(build, recipe.model),
        "images_per_s": rate,
        "epochs": steps * recipe.batch / rows,
        "recipe": {"batch": recipe.batch, "lr": recipe.lr, "steps": steps},
        "precision": repr(recipe.precision),
        "top1": None,
    }
    if steps * recipe.batch / rate > 60 * asked.most_minutes:
        return found
    model = model_of(plan, where)
    started = time.perf_counter()
    for _ in train(model, source, recipe):
        pass
    seconds = time.perf_counter() - started
    metrics = recipe.task.summary(scored(model, source, recipe, Order("val", 250, scaling=recipe.scaling)))
    return found | {"seconds": seconds, "top1": metrics["top1"], "loss": metrics["loss"]}


def _planned(variant: str, asked: argparse.Namespace) -> tuple[Plan, Any, torch.device]:
    """The modern recipe with so many steps as there are pictures to see, and with the number format that is fastest."""
    with silent():
        ask = RecipeAsk(seed=asked.seed)
        plan, source = Maker(variant, DataAsk(asked.data), ask, RunAsk(device=asked.device)).plan()
    where = device_for(asked.device)
    recipe = replace(plan.recipe, precision=_precision(plan, source, where))
    rows, steps = source.spec.counts["train"], max(1, asked.images // recipe.batch)
    recipe = replace(recipe, steps=steps, epochs=-(-steps * recipe.batch // rows) + 1)
    return replace(plan, recipe=recipe), source, where


def rated(found: dict[str, Any], asked: argparse.Namespace) -> dict[str, Any]:
    """The same result with its rate measured anew."""
    plan, source, where = _planned(found["model"], asked)
    return found | {"images_per_s": _rate(plan, source, where), "rate_precision": repr(plan.recipe.precision)}


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


def show(results: list[dict[str, Any]]) -> None:
    """The table, best first, and what was too slow for it."""
    rows = [
        [
            r["model"],
            f"{r['parameters'] / 1e6:.2f} M",
            f"{r['multiply_adds'] / 1e6:.0f} M",
            f"{r['top1']:.1%}",
            f"{r['images_per_s']:.0f}",
            f"{r['epochs']:.1f}",
        ]
        for r in sorted((r for r in results if r["top1"] is not None), key=lambda r: -r["top1"])
    ]
    table(["model", "parameters", "multiply-adds", "top-1", "images/s", "epochs"], rows)
    slow = [f"{r['model']} ({r['images_per_s']:.1f} images/s)" for r in results if r["top1"] is None]
    if slow:
        print(f"too slow here for this budget: {', '.join(slow)}")


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", help="folder of 32 × 32 pictures with train/ and test/ (or val/)")
    parser.add_argument("--images", type=int, default=100_000, help="pictures each network sees (default: 100000)")
    parser.add_argument("--most-minutes", type=float, default=30.0, help="leave out what takes longer (default: 30)")
    parser.add_argument("--only", nargs="*", default=FORMS, help="these networks instead of all")
    parser.add_argument("--rates", action="store_true", help="train nothing: measure images per second once more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")


def _earlier(out: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """What an interrupted run of the same pictures and seed has found."""
    if asked.quick or not out.exists():
        return []
    found = json.loads(out.read_text(encoding="utf-8"))
    same = (found["images"], found["seed"]) == (asked.images, asked.seed)
    return list(found["results"]) if same else []


def _write(out: Path, asked: argparse.Namespace, before: dict[str, Any], results: list[dict[str, Any]]) -> None:
    command = f"python experiments/cifar_forms.py --data CIFAR_FOLDER --images {asked.images}"
    out.parent.mkdir(parents=True, exist_ok=True)
    found = {"command": command, "machine": before, "images": asked.images, "seed": asked.seed, "forms": FORMS}
    found |= {"results": results}
    out.write_text(json.dumps(found, indent=1, default=str) + "\n", encoding="utf-8")


def run() -> None:
    """Train all, one after the other; the JSON is written after each, so that a stop loses one network at most: the same
    command goes on with those that are missing."""
    asked = arguments("All CIFAR forms, each trained on the same pictures.", _flags)
    if asked.data is None:
        asked.data = "digits"
    if asked.quick:
        asked.images, asked.only = 2_000, ("resnet20", "densenet40-k12")
    out = asked.out or Path(__file__).parent / "results" / "cifar_forms.json"
    before, results = machine(), _earlier(out, asked)
    if asked.rates:
        results = [rated(found, asked) for found in results]
        _write(out, asked, before, results)
    for variant in [] if asked.rates else asked.only:
        if variant in [r["model"] for r in results]:
            continue
        results.append(trained(variant, asked))
        top1 = results[-1]["top1"]
        print(f"{variant}: {'too slow' if top1 is None else f'{top1:.2%}'}", flush=True)
        _write(out, asked, before, results)
    show(results)
    print(f"written  {out}")


if __name__ == "__main__":
    run()
