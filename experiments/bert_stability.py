"""How much does the fine-tuning of BERT depend on the seed, and how often does it fail?

    python experiments/bert_stability.py --data mrpc --from runs/PRE_TRAINED

Ten seeds × (BertAdam, which leaves out Adam's bias correction, and AdamW, which has it) × (3 epochs, 10 epochs). All else is
the recipe of the paper, and the script checks that it is equal: batches, rate, ε, weight decay, clipping, a warm-up over a
tenth of the steps and a straight line to 0. ``--no-warmup`` adds the same runs without a warm-up. A seed decides the new
head, the order of the rows and the dropout. The weights after the last step are scored: none are chosen by validation.

A run has failed where it is right on the test set no more often than the answer that is always the most frequent class,
within one standard error of that share.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # what the benchmarks share
from charts import Axis, Series, chart, evenly
from keeping import Cells, command, place
from measuring import arguments, machine, silent
from seminal.core import Order, Recipe, Source
from seminal.doctor.vitals import Vitals
from seminal.report.terminal import table
from seminal.runs import training
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.making import Maker
from seminal.runs.plan import Plan, best_model, plan_of
from seminal.train.evaluate import scored
from seminal.train.schedules import Warmup

OPTIMISERS = {"bertadam": "BertAdam", "adamw": "AdamW"}
EPOCHS = (3, 10)
FIRST = 300  # steps of which norms are kept: BertAdam's are twice too large until there
NAMES = ("optimiser", "epochs", "warmup", "seed")  # which tell a run from the others
RULE = "test accuracy ≤ share of the most frequent class + one standard error of that share"


# ------------------------------------------------------------------------------------------------------------- the runs


def planned(cell: dict[str, Any], asked: argparse.Namespace) -> tuple[Plan, Source]:
    """The plan of a run: the paper's recipe, but for what the cell says."""
    ask = RecipeAsk(
        recipe="paper",
        opt=cell["optimiser"],
        epochs=cell["epochs"],
        lr=asked.lr,
        warmup_epochs=None if cell["warmup"] else 0.0,
        seed=cell["seed"],
        start=asked.start,
    )
    run = RunAsk(str(asked.runs), "-".join(map(str, cell.values())), asked.device, asked.precision)
    return Maker(asked.variant, DataAsk(str(asked.data)), ask, run).plan()


def common(recipe: Recipe) -> str:
    """What all runs must have in common: the recipe without what tells a cell from the others."""
    schedule = recipe.schedule.then if isinstance(recipe.schedule, Warmup) else recipe.schedule
    optim, start = replace(recipe.optim, name=""), recipe.transfer
    start = start and replace(start, start=Path(start.start).name)
    alike = replace(recipe, optim=optim, schedule=schedule, transfer=start, epochs=0, seed=0)
    return repr(replace(alike, sources={}, departures=()))


def trained(plan: Plan, source: Source, asked: argparse.Namespace) -> RunFolder:
    """The run from its first weights to its end. One that was cut off goes on, unless it is of another plan."""
    path = asked.runs / str(plan.run.name)
    going = (path / "recipe.json").exists()
    if going and replace(plan_of(RunFolder.existing(path)).recipe, precision=None) != plan.recipe:
        going = False
    if not going:
        shutil.rmtree(path, ignore_errors=True)
    with silent():
        device = device_for(asked.device)
        code = training.resume(str(path)) if going else training.carry_on(training.begin(plan, source, device))
    if code:
        raise SystemExit(code)
    return RunFolder.existing(path)


def measured(cell: dict[str, Any], asked: argparse.Namespace, recipe: str) -> dict[str, Any]:
    """A run and its scores. Its folder is removed: forty of them would fill a disk."""
    plan, source = planned(cell, asked)
    assert common(plan.recipe) == recipe, "the runs differ in more than they should"
    folder = trained(plan, source, asked)
    plan, device = plan_of(folder), device_for(asked.device)
    split = next(split for split in source.spec.counts if split.startswith("test"))
    order = Order(split, plan.recipe.batch, scaling=plan.recipe.scaling)
    task, model = plan.recipe.task, best_model(folder, plan, device, "last")
    score = task.summary(scored(model, source, plan.recipe, order))
    diary = folder.read_tensors("last.state")[1]["diary"]
    last, most = diary["rows"][-1], majority(source, order)
    found = {
        "top1": score["top1"],
        "loss": score["loss"],
        "val_top1": last["val_top1"],
        "val_loss": last["val_loss"],
        "train_loss": last["train_loss"],
        **most,
        "failed": score["top1"] <= most["majority"] + most["standard_error"],
        "steps": last["step"],
        "seconds": diary["seconds"],
        "first_steps": first_steps(Vitals.of(diary["vitals"])),
    }
    shutil.rmtree(folder.path)
    return cell | found


def majority(source: Source, order: Order) -> dict[str, float]:
    """The share of the most frequent class of a split, and the standard error of that share."""
    counts = Counter(target for batch in source.batches(order) for target in batch["target"].tolist())
    share = max(counts.values()) / counts.total()
    return {"majority": share, "standard_error": math.sqrt(share * (1 - share) / counts.total())}


def first_steps(vitals: Vitals) -> list[dict[str, float]]:
    """For the first steps at which the doctor looked closely: the rate, the norm of the gradient before clipping, and the
    norm of the step over all matrices."""
    matrices = [weight for weight in vitals.weights.values() if len(weight.shape) > 1 and weight.owned]
    seen = {step: place for place, step in enumerate(vitals.seen)}
    return [
        {
            "step": step + 1,
            "lr": vitals.rate[seen[step]],
            "gradient": vitals.gradient[seen[step]],
            "moved": math.hypot(*(weight.change[look] * weight.size[look] for weight in matrices)),
        }
        for look, step in enumerate(vitals.at)
        if step < FIRST
    ]


# ------------------------------------------------------------------------------------------------- the table and the plot


def arms(cells: Sequence[dict[str, Any]]) -> dict[tuple[int, bool, str], list[dict[str, Any]]]:
    """The cells by epochs, warm-up and optimiser: those with a warm-up come first, the shorter before the longer."""
    keys = {(cell["epochs"], cell["warmup"], cell["optimiser"]) for cell in cells}
    order = sorted(keys, key=lambda key: (not key[1], key[0], list(OPTIMISERS).index(key[2])))
    return {key: [c for c in cells if (c["epochs"], c["warmup"], c["optimiser"]) == key] for key in order}


def length(epochs: int, warmup: bool) -> str:
    """``3 epochs, no warm-up``."""
    return f"{epochs} epoch{'s' * (epochs > 1)}" + ("" if warmup else ", no warm-up")


def show(cells: Sequence[dict[str, Any]]) -> None:
    """Mean, standard deviation and range over the seeds, and how many failed."""
    rows = []
    for (epochs, warmup, optimiser), mine in arms(cells).items():
        test = [100 * cell["top1"] for cell in mine]
        loss = statistics.median(cell["train_loss"] for cell in mine)
        rows.append(
            [
                f"{OPTIMISERS[optimiser]}, {length(epochs, warmup)}",
                told(test),
                f"{min(test):.1f} to {max(test):.1f}",
                told([100 * cell["val_top1"] for cell in mine]),
                f"{loss:.3f}",
                f"{sum(cell['failed'] for cell in mine)} of {len(mine)}",
            ]
        )
    table(["", "test accuracy %, mean ± sd", "range", "validation %", "training loss, median", "failed"], rows)
    print(f"the most frequent class is {cells[0]['majority']:.1%} of the test set; failed: {RULE}")


def told(values: Sequence[float]) -> str:
    """``81.2 ± 0.4``."""
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def picture(cells: Sequence[dict[str, Any]]) -> str:
    """A point for each run: one place of x for a length of training, the optimisers side by side, the seeds in order."""
    found, seeds = arms(cells), 1 + max(cell["seed"] for cell in cells)
    lengths = list(dict.fromkeys(key[:2] for key in found))
    series = []
    for side, (optimiser, name) in zip((-0.35, 0.05), OPTIMISERS.items()):
        points = [
            (place + side + 0.3 * cell["seed"] / max(1, seeds - 1), cell["top1"])
            for place, key in enumerate(lengths)
            for cell in found.get((*key, optimiser), ())
        ]
        series.append(Series(name, tuple(points), joined=False))
    ends = (-0.5, len(lengths) - 0.5)
    most, scores = cells[0]["majority"], [cell["top1"] for cell in cells]
    series.append(Series("most frequent class", ((ends[0], most), (ends[1], most)), every=2))
    x = Axis("a point for each seed", *ends, tuple((place, length(*key)) for place, key in enumerate(lengths)))
    low, high = math.floor(20 * min(most, *scores)) / 20, math.ceil(20 * max(most, *scores)) / 20
    parts = max(1, round(20 * (high - low)))
    return chart(x, evenly("test accuracy", low, low + parts / 20, parts, lambda value: f"{value:.0%}"), series)


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="labelled text, with a test set")
    parser.add_argument("--from", dest="start", help="the folder of a run that was pre-trained or imported")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--lr", type=float, default=5e-5, help="the largest of App. A.3, unless told otherwise")
    parser.add_argument("--no-warmup", action="store_true", help="the same without a warm-up too")
    parser.add_argument("--runs", type=Path, default=Path("runs/bert_stability"), help="where the runs go meanwhile")
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")
    parser.add_argument("--precision", default="fp32", help="of all runs: fp32, bf16")


def run() -> None:
    """All cells, seed by seed; the JSON is written after each, and the same command goes on with those missing."""
    asked = arguments("The spread of fine-tuning over seeds.", _flags)
    asked.variant = plan_of(RunFolder.existing(asked.start)).recipe.variant if asked.start else "bert-tiny"
    asked.seeds, lengths = (1, (1,)) if asked.quick else (asked.seeds, EPOCHS)
    warmups = (True, False) if asked.no_warmup else (True,)
    keys = product(range(asked.seeds), warmups, lengths, OPTIMISERS)
    wanted = [dict(zip(NAMES, reversed(key))) for key in keys]
    recipe = common(planned(wanted[0], asked)[0].recipe)
    settings = {"data": asked.data.name, "recipe": recipe, "precision": asked.precision, "failed": RULE}
    kept = Cells(place("bert_stability", asked), command("bert_stability"), machine(), settings, NAMES)
    if not asked.quick:
        kept.go_on()
    for cell in kept.missing(wanted):
        found = measured(cell, asked, recipe)
        kept.add(found)
        kept.path.with_suffix(".svg").write_text(picture(kept.cells), encoding="utf-8")
        name = f"{OPTIMISERS[cell['optimiser']]}, {length(cell['epochs'], cell['warmup'])}, seed {cell['seed']}"
        print(f"{name}: {found['top1']:.2%}{', failed' * found['failed']}", flush=True)
    show(kept.cells)
    print(f"written  {kept.path}")


if __name__ == "__main__":
    run()
