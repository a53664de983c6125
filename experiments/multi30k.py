"""Multi30k, English to German: a Transformer and a recurrent net with attention, trained with their default recipes, and
how the search changes the result: greedy and beams of 2, 5 and 10, with and without the average over epochs.

    python experiments/multi30k.py --data MULTI30K_FOLDER

The folder holds train.en, train.de, val.… and test_2016_flickr.… (also .gz). A model that was trained before (its run
folder is in ``--runs``) is gone on with, or only scored again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # what the benchmarks share
import torch

from measuring import arguments, machine
from seminal.core import Order
from seminal.decode.beam import Beam
from seminal.report.terminal import table
from seminal.runs import text_scores, training
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.making import Maker, introduce
from seminal.runs.plan import best_model, model_of, plan_of, source_of

MODELS = ("transformer", "bahdanau")
TEST = "test_2016_flickr"
WIDTHS = (1, 2, 5, 10)


def trained(variant: str, asked: argparse.Namespace) -> RunFolder:
    """The run of a model, trained to its end."""
    path = asked.runs / variant
    if (path / "recipe.json").exists():
        if not (path / "report.html").exists():
            training.resume(str(path))
        return RunFolder.existing(path)
    recipe = RecipeAsk(epochs=asked.epochs, seed=asked.seed)
    data = DataAsk(asked.data, source="en", target="de")
    make = Maker(variant, data, recipe, RunAsk(output=str(asked.runs), name=variant, device=asked.device))
    plan, source = make.plan()
    introduce(make, plan, source)
    training.carry_on(training.begin(plan, source, device_for(asked.device)))
    return RunFolder.existing(path)


def scores(folder: RunFolder, asked: argparse.Namespace) -> dict[str, Any]:
    """BLEU on the test set for each search, with the averaged weights and with those of the last step."""
    plan, device = plan_of(folder), device_for(asked.device)
    source = source_of(folder, plan, device)
    state, note = folder.read_tensors("last.state")
    last = model_of(plan, device)
    last.load_state_dict({n.removeprefix("model/"): t for n, t in state.items() if n.startswith("model/")})
    models = {"best": best_model(folder, plan, device), "last step": last.eval()}
    if any(name.startswith("average/") for name in state):
        models["averaged"] = best_model(folder, plan, device, "last")
    rows = []
    for name, model in models.items():
        for width in WIDTHS[: 1 if asked.quick else None]:
            started = time.perf_counter()
            metrics, signature, _ = text_scores.translation(model, source, Order(TEST, 4096), Beam(width))
            seconds = time.perf_counter() - started
            rows.append({"weights": name, "beam": width, **metrics, "seconds": seconds, "signature": signature})
            print(f"{plan.recipe.variant}, {name}, beam {width}: {metrics['sacrebleu']:.2f} BLEU", flush=True)
    diary = note["diary"]
    return {
        "model": plan.recipe.variant,
        "settings": repr(plan.recipe.model),
        "recipe": {"epochs": plan.recipe.epochs, "batch_tokens": plan.recipe.batch, "lr": plan.recipe.lr},
        "training_seconds": diary["seconds"],
        "threads": torch.get_num_threads(),
        "curve": diary["rows"],
        "scores": rows,
    }


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="folder with train.en, train.de, val.…, test_2016_flickr.…")
    parser.add_argument("--runs", type=Path, default=Path("runs/multi30k"), help="where the runs go")
    parser.add_argument("--only", nargs="*", default=MODELS, help="these models")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")


def run() -> None:
    """Train, score, and write the JSON after each model."""
    asked = arguments("Multi30k, English to German.", _flags)
    out = asked.out or Path(__file__).parent / "results" / "multi30k.json"
    before, results = machine(), []
    for variant in asked.only:
        results.append(scores(trained(variant, asked), asked))
        out.parent.mkdir(parents=True, exist_ok=True)
        command = "python experiments/multi30k.py --data MULTI30K_FOLDER"
        found = {"command": command, "machine": before, "seed": asked.seed, "results": results}
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    rows = [
        [r["model"], s["weights"], str(s["beam"]), f"{s['sacrebleu']:.2f}", f"{s['chrf']:.1f}", f"{s['seconds']:.1f} s"]
        for r in results
        for s in r["scores"]
    ]
    table(["model", "weights", "beam", "sacreBLEU", "chrF", "time"], rows)
    print(f"written  {out}")


if __name__ == "__main__":
    run()
