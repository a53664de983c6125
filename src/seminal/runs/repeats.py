"""Several runs of one plan: other seeds, or the folds of a cross-validation. Mean and 95 % interval over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from seminal.core import UserError
from seminal.report.terminal import say, table
from seminal.runs import training
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.train import distributed

if TYPE_CHECKING:
    from seminal.runs.ordering import Maker

# Student's t, 97.5 % quantile, for 1 to 30 degrees of freedom; beyond, the normal one serves.
T: tuple[float, ...] = (
    12.706,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
    2.228,
    2.201,
    2.179,
    2.160,
    2.145,
    2.131,
)
T += (2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % confidence interval (Student's t over the runs)."""
    count, mean = len(values), sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (count - 1))
    t = T[count - 2] if count - 2 < len(T) else 1.96
    return mean, t * spread / math.sqrt(count)


def over_seeds(make: Maker, count: int) -> int:
    """``--seeds N``: the same run from N first weights, on the same split."""
    if count < 2:
        raise UserError(f"--seeds {count} is not several: write 2 or more, or --seed {count} for one run.")
    first = make.recipe.seed or 0
    makers = [replace(make, recipe=replace(make.recipe, seed=first + i)) for i in range(count)]
    return _all(make, makers, [f"seed-{first + i}" for i in range(count)])


def over_folds(make: Maker, count: int) -> int:
    """``--folds K``: each fold is validated on once; every statistic is fitted inside its own training part."""
    if count < 2:
        raise UserError(f"--folds {count} cannot be: cross-validation needs 2 folds or more.")
    makers = [replace(make, data=replace(make.data, fold=i, folds=count)) for i in range(count)]
    return _all(make, makers, [f"fold-{i + 1}" for i in range(count)])


def _all(make: Maker, makers: list[Maker], names: list[str]) -> int:
    from seminal.runs.ordering import introduce

    parent, results, precision = None, [], None
    for maker, name in zip(makers, names):
        plan, source = maker.plan()
        if parent is None:
            introduce(maker, plan, source)
            parent = training.new_folder(make.run, f"{make.variant}-{source.spec.name}-{name[:4]}s")
        # What was measured for the first run holds for all: their numbers must differ by the seed or the fold alone.
        recipe = replace(plan.recipe, precision=precision)
        plan = replace(plan, recipe=recipe, run=replace(plan.run, output=str(parent.path), name=name))
        run = training.begin(plan, source, device_for(plan.run.device))
        precision = run.plan.recipe.precision
        if run.first:
            say(name, "")
        code = training.carry_on(run)
        if code:
            return code
        results.append(dict(run.diary.best or {}))
    assert parent is not None
    if distributed.rank() == 0:
        _summary(parent, names, results)
    return 0


def _summary(parent: RunFolder, names: list[str], results: list[dict[str, float]]) -> None:
    metrics = [name for name in results[0] if name != "epoch"]
    rows = [[name, *(f"{result[m]:.4g}" for m in metrics)] for name, result in zip(names, results)]
    means = {m: interval([result[m] for result in results]) for m in metrics}
    rows.append(["mean ± 95 %", *(f"{mean:.4g} ± {half:.2g}" for mean, half in means.values())])
    table(["run", *metrics], rows)
    summary = {m: {"mean": mean, "half_width_95": half} for m, (mean, half) in means.items()}
    parent.write_json(
        "summary.json", {"runs": dict(zip(names, results)), "summary": summary, "torch": torch.__version__}
    )
    say("written", f"{parent.path}/summary.json")
