"""SST-2, sentences about films, good or bad: small readers of text with their default recipes, over several seeds.
Accuracy on the test set of the weights that were best on the validation set, seconds of training, parameters.

    python experiments/sst2.py --data SST2_FOLDER

The folder holds train.tsv, dev.tsv (or val.tsv) and test.tsv, a sentence and a label with a tab between on each line. No
reader has seen other text before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # what the benchmarks share
from measuring import arguments, machine, silent
from seminal.core import Order, Precision
from seminal.pieces.measure import parameters
from seminal.report.terminal import table
from seminal.runs import training
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.machine import device_for
from seminal.runs.making import Maker
from seminal.runs.plan import best_model
from seminal.runs.shelf import paper_of
from seminal.train.evaluate import scored
from seminal.train.precision import described

MODELS = ("transformer-encoder", "bilstm", "bag", "lstm", "gru", "elman")
TEST = "test"


def trained(variant: str, seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """One run of `seminal train`, from its first weights to its score on the test set."""
    device = device_for(asked.device)
    with tempfile.TemporaryDirectory() as output, silent():
        ask = RecipeAsk(seed=seed, epochs=1 if asked.quick else None)
        plan, source = Maker(variant, DataAsk(asked.data), ask, RunAsk(output=output, device=asked.device)).plan()
        if TEST not in source.spec.counts:
            raise SystemExit(f"{asked.data} has no {TEST}.tsv")
        run = training.begin(plan, source, device)
        code = training.carry_on(run)
        if code:
            raise SystemExit(code)  # Ctrl-C: the runs before this one are written
        model, recipe, best = best_model(run.folder, run.plan, device), run.plan.recipe, run.diary.best
        metrics = recipe.task.summary(scored(model, source, recipe, Order(TEST, recipe.batch, scaling=recipe.scaling)))
    assert best is not None
    return {
        "model": variant,
        "seed": seed,
        "parameters": parameters(model),
        "top1": metrics["top1"],
        "loss": metrics["loss"],
        "val_top1": best["top1"],
        "best_epoch": int(best["epoch"]),
        "epochs": len(run.diary.rows),
        "seconds": run.diary.seconds,
        "precision": described(recipe.precision or Precision()),
        "recipe": {"name": recipe.name, "batch_tokens": recipe.batch, "lr": recipe.lr, "settings": repr(recipe.model)},
        "rows": dict(source.spec.counts),
    }


def summary(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each model, best first: mean and standard deviation over its seeds."""
    found = []
    for variant in dict.fromkeys(run["model"] for run in runs):
        mine = [run for run in runs if run["model"] == variant]
        paper = paper_of(variant)[1]
        row = {"model": variant, "paper": paper.title, "year": paper.year, "parameters": mine[0]["parameters"]}
        found.append(row | {name: mean_sd([run[name] for run in mine]) for name in ("top1", "val_top1", "seconds")})
    return sorted(found, key=lambda row: -row["top1"]["mean"])


def mean_sd(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation (of a sample; a single value has none), and how many."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {"n": len(values), "mean": statistics.mean(values), "sd": sd}


def show(rows: Sequence[dict[str, Any]]) -> None:
    """The table."""
    lines = [
        [
            row["model"],
            f"{row['parameters'] / 1e6:.2f} M",
            told(row["top1"], 100),
            told(row["val_top1"], 100),
            told(row["seconds"], 1),
            str(row["top1"]["n"]),
        ]
        for row in rows
    ]
    table(["model", "parameters", "test accuracy %", "validation %", "training s", "seeds"], lines)


def told(values: dict[str, Any], factor: float) -> str:
    """``81.2 ± 0.4``."""
    sd = values["sd"]
    return f"{factor * values['mean']:.1f}" + (f" ± {factor * sd:.1f}" if sd is not None else "")


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="folder with train.tsv, dev.tsv and test.tsv")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=MODELS, help="these models instead of all")
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")


def run() -> None:
    """Train all, one after the other; the JSON is written after each run, so that a stop loses one at most: the same
    command goes on with those that are missing."""
    asked = arguments("SST-2 by small readers of text.", _flags)
    if asked.quick:
        asked.seeds, asked.only = 1, ("bag", "elman")
    name = "sst2-quick.json" if asked.quick else "sst2.json"
    out = asked.out or Path(tempfile.gettempdir() if asked.quick else Path(__file__).parent / "results") / name
    before, runs = machine(), []
    if out.exists() and not asked.quick:
        runs = json.loads(out.read_text(encoding="utf-8"))["runs"]
    out.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(asked.seeds):  # all models once, then again: a stop leaves as many seeds of each, or one more
        for variant in asked.only:
            if (variant, seed) in [(run["model"], run["seed"]) for run in runs]:
                continue
            runs.append(trained(variant, seed, asked))
            print(f"{variant}, seed {seed}: {runs[-1]['top1']:.2%}, {runs[-1]['seconds']:.0f} s", flush=True)
            command = f"python experiments/sst2.py --data SST2_FOLDER --seeds {asked.seeds}"
            found = {"command": command, "machine": before, "results": summary(runs), "runs": runs}
            out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    show(summary(runs))
    print(f"written  {out}")


if __name__ == "__main__":
    run()
