"""Several runs of one plan: other seeds, or the folds of a cross-validation. Mean and 95 % interval over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from seminal.core import UserError
from seminal.report.terminal import say, table
from seminal.runs import training
from seminal.runs.diary import Diary
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.making import Maker, introduce
from seminal.train import distributed


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % confidence interval (Student's t over the runs)."""
    from scipy.stats import t  # heavy, and needed only here

    count, mean = len(values), sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (count - 1))
    return mean, float(t.ppf(0.975, count - 1)) * spread / math.sqrt(count)


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
        results.append({"last": _last(run.diary), "best": dict(run.diary.best or {})})
    assert parent is not None
    if distributed.rank() == 0:
        _summary(parent, names, results)
    return 0


def _last(diary: Diary) -> dict[str, float]:
    """The validation metrics of the last epoch. The best one was picked by these very rows, and would flatter."""
    row = diary.rows[-1]
    values = {name.removeprefix("val_"): value for name, value in row.items() if name.startswith("val_")}
    return {name: value for name, value in values.items() if value is not None}


def _summary(parent: RunFolder, names: list[str], results: list[dict[str, dict[str, float]]]) -> None:
    metrics = list(results[0]["last"])
    rows = [[name, *(f"{result['last'][m]:.4g}" for m in metrics)] for name, result in zip(names, results)]
    means = {m: interval([result["last"][m] for result in results]) for m in metrics}
    rows.append(["mean ± 95 %", *(f"{mean:.4g} ± {half:.2g}" for mean, half in means.values())])
    say("", "the last epoch of each run:")
    table(["run", *metrics], rows)
    summary = {m: {"mean": mean, "half_width_95": half} for m, (mean, half) in means.items()}
    parent.write_json("summary.json", {"runs": dict(zip(names, results)), "summary": summary})
    say("written", f"{parent.path}/summary.json")
