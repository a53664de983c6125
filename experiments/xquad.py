"""XQuAD in English: a BERT learns from the questions on half of its 240 texts and answers those on the other half, over
several seeds; from its first weights, and from those of a run that was pre-trained on plain text.

    python experiments/xquad.py --data xquad.en.json --from RUN

The weights of the last step are scored: nothing is chosen by the questions that are answered. Exact match and F1 are
counted twice, by `seminal` and by `squad_rules`. So few texts teach little: published scores come from models that were
pre-trained on billions of words and then learned from the 100,000 questions of SQuAD.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # what the benchmarks share
import squad_rules
from measuring import arguments, machine, mean95, silent
from seminal.core import Precision
from seminal.data.questions import QuestionSource
from seminal.pieces.measure import parameters
from seminal.report.terminal import table
from seminal.runs import answering, training
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.making import Maker
from seminal.runs.plan import best_model, plan_of
from seminal.train.precision import described

HELD_OUT = 0.5  # of the texts


def trained(variant: str, start: str | None, seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """One run of `seminal train`, and the answers of its last weights."""
    device = device_for(asked.device)
    with tempfile.TemporaryDirectory() as output, silent():
        squad = json.loads(Path(asked.data).read_text(encoding="utf-8"))
        squad["data"] = squad["data"][: 2 if asked.quick else None]
        path = Path(output) / Path(asked.data).name
        path.write_text(json.dumps(squad), encoding="utf-8")
        recipe_ask = RecipeAsk(seed=seed, start=start, epochs=1 if asked.quick else None)
        data = DataAsk(str(path), val_fraction=HELD_OUT)
        plan, source = Maker(variant, data, recipe_ask, RunAsk(output=output, device=asked.device)).plan()
        assert isinstance(source, QuestionSource)
        run = training.begin(plan, source, device)
        code = training.carry_on(run)
        if code:
            raise SystemExit(code)  # Ctrl-C: the runs before this one are written
        model, recipe = best_model(run.folder, run.plan, device, "last"), run.plan.recipe
        replies = answering.replies(model, source, recipe, "val")
    said = {reply.question.id: reply.text(None) for reply in replies}
    ours = answering.scores(said, [reply.question for reply in replies])
    rules = squad_rules.scores(squad, said)
    if rules["total"] != ours["total"] or any(not math.isclose(100 * ours[n], rules[n]) for n in ("exact", "f1")):
        raise SystemExit(f"the two counts differ: {ours} and {rules}")
    return {
        "model": variant,
        "pretrained": start is not None,
        "seed": seed,
        "parameters": parameters(model),
        "exact": ours["exact"],
        "f1": ours["f1"],
        "by_squad_rules": rules,
        "questions": {split: len(windows.asked) for split, windows in source.windows.items()},
        "windows": dict(source.spec.counts),
        "seconds": run.diary.seconds,
        "precision": described(recipe.precision or Precision()),
        "recipe": {"name": recipe.name, "epochs": recipe.epochs, "batch_tokens": recipe.batch, "lr": recipe.lr},
        "settings": repr(recipe.model),
    }


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each beginning: mean and 95 % interval over the seeds."""
    found = []
    for pretrained in dict.fromkeys(run["pretrained"] for run in runs):
        mine = [run for run in runs if run["pretrained"] == pretrained]
        numbers = {name: mean95([run[name] for run in mine]) for name in ("exact", "f1", "seconds")}
        found.append({"model": mine[0]["model"], "pretrained": pretrained, **numbers})
    return found


def show(rows: list[dict[str, Any]]) -> None:
    """The table."""
    lines = [
        [
            row["model"],
            "a run's" if row["pretrained"] else "its first",
            told(row["exact"], 100),
            told(row["f1"], 100),
            told(row["seconds"], 1),
            str(row["f1"]["n"]),
        ]
        for row in rows
    ]
    table(["model", "weights", "exact match %", "F1 %", "training s", "seeds"], lines)


def told(values: dict[str, Any], factor: float) -> str:
    """``12.3 ± 0.4``."""
    half = values["half_width_95"]
    return f"{factor * values['mean']:.1f}" + (f" ± {factor * half:.1f}" if half is not None else "")


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="xquad.en.json")
    parser.add_argument("--from", dest="start", metavar="RUN", help="a pre-trained run, whose model is used")
    parser.add_argument("--model", default="bert-tiny", help="without --from (default: bert-tiny)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")


def run() -> None:
    """Train all; the JSON is written after each run."""
    asked = arguments("XQuAD in English, half of it learned.", _flags)
    seeds = 1 if asked.quick else asked.seeds
    name = "xquad-quick.json" if asked.quick else "xquad.json"
    out = asked.out or (Path(tempfile.gettempdir()) if asked.quick else Path(__file__).parent / "results") / name
    variant, how = asked.model, None
    if asked.start:
        other = plan_of(RunFolder.existing(asked.start))
        variant, how = other.recipe.variant, f"{other.title.rpartition('/')[2]}, {other.recipe.epochs} epochs"
    before, runs = machine(), []
    for start in [None] + [asked.start] * bool(asked.start):
        for seed in range(seeds):
            runs.append(trained(variant, start, seed, asked))
            rows = summary(runs)
            command = "python experiments/xquad.py --data xquad.en.json" + " --from RUN" * bool(asked.start)
            found = {"command": command, "quick": asked.quick, "machine": before, "pretrained_on": how}
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(found | {"summary": rows, "runs": runs}, indent=1) + "\n", encoding="utf-8")
            print(f"{variant}, seed {seed}: exact {runs[-1]['exact']:.1%}, F1 {runs[-1]['f1']:.1%}", flush=True)
    show(summary(runs))
    print(f"written  {out}")


if __name__ == "__main__":
    run()
