"""Where training ends that sees few rows at a time, or many. Keskar et al. 2017."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from charts import Series, at, chart, decades
from deep import CLASSES, PIXELS, TRAIN, digits
from seminal.doctor.curvature import shape
from sequences import mean
from theory_form import SEEDS, Experiment, Result, Verdict, points

SIZES, LEVEL = (8, 64, 512, TRAIN), 0.05  # rows of a batch; the training loss at which all are compared
ENDS = {"epochs": "equal epochs", "steps": "equal steps", "loss": "equal training loss"}


def _flat(quick: bool) -> Result:
    sizes, epochs, seeds = ((512, TRAIN), 2, 1) if quick else (SIZES, 32, SEEDS)
    steps = epochs * TRAIN // min(sizes)
    found = [{"size": size, "runs": [_run(size, epochs, steps, seed) for seed in range(seeds)]} for size in sizes]
    settings = {"sizes": sizes, "epochs": epochs, "steps": steps, "rate": 0.1, "units": 64, "level": LEVEL}
    return {"settings": settings, "seeds": seeds, "cells": found}


def _run(size: int, epochs: int, steps: int, seed: int) -> Result:
    """What stands after equal epochs, after equal steps, and where the training loss first was `LEVEL` or less."""
    (x, y), chance = digits(), torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(PIXELS, 64), nn.Tanh(), nn.Linear(64, CLASSES))  # smooth: there is a Hessian
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, foreach=True)
    found: Result = {"loss": None}
    for step in range(1, steps + 1):
        place = (step - 1) % (TRAIN // size)
        if place == 0:
            order = torch.randperm(TRAIN, generator=chance)
        rows = order[place * size : (place + 1) * size]
        sgd.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        sgd.step()
        if step == epochs * TRAIN // size:
            found["epochs"] = judged(model, x, y)
        if found["loss"] is None and step % 20 == 0 and _loss(model, x, y) <= LEVEL:
            found["loss"] = judged(model, x, y)
    return {**found, "steps": judged(model, x, y)}


@torch.no_grad()
def _loss(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float(F.cross_entropy(model(x[:TRAIN]), y[:TRAIN]))


def judged(model: nn.Module, x: Tensor, y: Tensor) -> Result:
    """λ_max of the training loss, that loss, and the accuracy on the test rows."""
    found = shape(model, lambda: F.cross_entropy(model(x[:TRAIN]), y[:TRAIN]), products=30)
    with torch.no_grad():
        test = float((model(x[TRAIN:]).argmax(1) == y[TRAIN:]).double().mean())
    return {"top": found.top, "loss": found.loss, "test": test}


def _flat_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"Scikit-learn's digits, {TRAIN:,} training rows and {len(digits()[1]) - TRAIN} test rows; one layer of "
        f"{s['units']} tanh units, cross-entropy, SGD {s['rate']:g} for all. λ is the largest eigenvalue of the Hessian of "
        f"the loss over the whole training set (Lanczos' method), after {s['epochs']} epochs, after {s['steps']:,} steps, "
        f"and where that loss first was {s['level']:g} (looked at every 20 steps): the Hessian of cross-entropy shrinks "
        f"with the loss itself, wherever one stands. {result['seeds']} seeds."
    )


def _by_size(result: Result, end: str, what: str) -> dict[int, list[float]]:
    """The values of the seeds by size of batch, of the runs that came to this end."""
    found = {cell["size"]: [run[end][what] for run in cell["runs"] if run[end]] for cell in result["cells"]}
    return {size: values for size, values in found.items() if values}


def _flat_verdict(result: Result) -> Verdict:
    told, flatter, whole = [], [], []
    for end, name in ENDS.items():
        top, test, loss = (_by_size(result, end, what) for what in ("top", "test", "loss"))
        if len(top) < 2:
            continue
        small, large = min(top), max(top)
        ends = "; ".join(
            f"{size:,} rows: λ {mean(top[size], 2)}, loss {mean(loss[size], 3)}, "
            f"test {mean([100 * v for v in test[size]], 1)} %"
            for size in top
        )
        told.append(f"{name}: {ends}")
        if max(top[small]) < min(top[large]):
            flatter.append(name)
            if min(test[small]) > max(test[large]):
                whole.append(name)
    says = (
        f"{'. '.join(told)}. In every seed the smallest batch is flatter than the largest at {_listed(flatter)}, and flatter "
        f"and better on the test rows at {_listed(whole)}"
    )
    if len(whole) == len(ENDS):
        return Verdict("holds", says)
    return Verdict(f"holds only at {_listed(whole)}" if whole else "does not hold", says)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none of the three"


def _flat_chart(result: Result) -> str:
    series = []
    for end, name in ENDS.items():
        top = _by_size(result, end, "top")
        if top:
            middle, ends = [sum(v) / len(v) for v in top.values()], tuple((min(v), max(v)) for v in top.values())
            series.append(Series(name, points(top, middle), ends))
    every = [end for line in series for pair in line.spread for end in pair]
    y = decades("largest eigenvalue of the Hessian", every)
    return chart(at("rows of a batch", result["settings"]["sizes"]), y, series)


EXPERIMENTS = {
    "flat": Experiment(
        "Small batches, flat minima",
        "Small batches end in flat minima, which generalise; large ones end in sharp minima, which generalise worse "
        "(Keskar et al. 2017).",
        _flat,
        _flat_method,
        _flat_verdict,
        _flat_chart,
    ),
}
