"""Two language models of equal size on the same tokens: the recurrent one of Zaremba et al. 2014 (small) and a GPT.

    python experiments/language_models.py --data WIKITEXT2_FOLDER SHAKESPEARE_FOLDER

Both are trained as `seminal train` does, with their default recipes, on the tokens of one vocabulary (byte-pair encoding over
bytes, learned from the training text), and scored as `seminal eval` does on a test set that neither has seen: perplexity
per word and bits per byte are of the whole text, whatever its tokens are, and no word is unknown. The GPT keeps the layers
and heads of its recipe; its width is the one that brings its parameters nearest to the other's.

Of a single file, or a folder that holds one, the last tenth of the lines is the test set. Where a folder has no training set,
the validation set is trained on. Where there is then none for validation, `seminal` holds a tenth of the training text out.

Epochs are decided before training: those of the recipe, or fewer where a trial says that these would take more than
``--most-minutes``. Training is gone on with where it was stopped.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # what the benchmarks share
from keeping import Cells, command, place
from measuring import arguments, machine
from seminal.core import Precision, Source
from seminal.data.lines import lines
from seminal.data.stream_text import ENDINGS
from seminal.data.text_rows import splits
from seminal.papers import gpt
from seminal.pieces.measure import count
from seminal.report.terminal import table
from seminal.runs import training
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.folder import RunFolder
from seminal.runs.judging import EvalAsk, evaluate
from seminal.runs.machine import device_for
from seminal.runs.making import Maker, introduce
from seminal.runs.plan import Plan, model_of, plan_of
from seminal.runs.shelf import papers
from seminal.train.loop import total_steps, train
from sizes import nearest

MODELS = ("zaremba-small", "gpt")
EQUAL = 0.05  # largest difference of parameters, as a share
TRIAL = 12  # steps that are timed before training; the first two are not counted


# --------------------------------------------------------------------------------------------------------------- the text


def parted(data: Path, folder: Path) -> str:
    """The text as ``train.txt``, ``test.txt`` and, where there is one, ``val.txt`` in ``folder``; and what was done to it, in
    a sentence."""
    files = [data] if data.is_file() else [file for file in data.iterdir() if file.suffix in ENDINGS]
    if len(files) == 1:
        whole = list(lines(files[0]))
        cut = len(whole) - len(whole) // 10
        texts = {"train": whole[:cut], "test": whole[cut:]}
        told = "trained on the first nine tenths of its lines, tested on the last tenth"
    else:
        texts = {split: list(lines(file)) for split, file in splits(data, ENDINGS, whole=True).items()}
        told = "trained and tested on its own parts"
        if "train" not in texts:
            texts["train"] = texts.pop("val")
            told = "trained on its validation set, as the training set was not at hand, and tested on its test set"
    folder.mkdir(parents=True, exist_ok=True)
    for split, some in texts.items():
        (folder / f"{split}.txt").write_text("".join(f"{line}\n" for line in some), encoding="utf-8")
    return told


# -------------------------------------------------------------------------------------------------------------- the models


@dataclass(frozen=True)
class Job:
    """One model on one text."""

    variant: str
    folder: Path
    seed: int

    def run(self, asked: argparse.Namespace) -> RunAsk:
        """Where it is trained. The name holds all that a run folder must not be taken for another one's."""
        name = f"{self.folder.name}-{asked.vocabulary}-{self.variant}-{self.seed}"
        return RunAsk(output=str(asked.runs), name=name, device=asked.device, precision=asked.precision)


def planned(job: Job, asked: argparse.Namespace, epochs: int | None = None) -> tuple[Plan, Source, Maker]:
    """The plan of a run with its default recipe, and with a GPT of the other model's size."""
    data = DataAsk(str(job.folder), tokens="bpe", vocab_size=asked.vocabulary)
    make = Maker(job.variant, data, RecipeAsk(epochs=epochs, seed=job.seed), job.run(asked))
    plan, source = make.plan()
    if job.variant == "gpt":
        other, same, _ = planned(replace(job, variant="zaremba-small"), asked)
        assert vocabulary(same) == vocabulary(source), "the two models read other tokens"
        size = count(papers()[other.paper].build, other.recipe.model)
        plan = replace(plan, recipe=replace(plan.recipe, model=as_large(plan.recipe.model, size)))
    return plan, source, make


def vocabulary(source: Source) -> Any:
    """How a text is cut into tokens."""
    encoder: Any = source.encoder("none")
    return encoder.text


def as_large(config: gpt.Config, size: int) -> gpt.Config:
    """The network with as many layers and heads whose parameters come nearest to ``size``."""

    def sized(width: int) -> gpt.Config:
        return replace(config, width=width, inner=4 * width)

    widths = range(config.heads, 1025, config.heads)
    found = sized(nearest(widths, lambda width: count(gpt.GPT, sized(width)), size))
    assert abs(count(gpt.GPT, found) / size - 1) <= EQUAL, "no width gives an equal size"
    return found


def affordable(plan: Plan, source: Source, minutes: float) -> int:
    """Epochs that take no longer than so many minutes at the pace of a trial, at most those of the recipe."""
    recipe = replace(plan.recipe, precision=plan.recipe.precision or Precision())
    clock: list[float] = []
    for _ in islice(train(model_of(plan, device_for(plan.run.device)), source, recipe), TRIAL):
        clock.append(time.perf_counter())
    rate = (len(clock) - 3) / (clock[-1] - clock[2])
    per_epoch = total_steps(source, recipe) / recipe.epochs / rate
    return max(1, min(recipe.epochs, int(60 * minutes / per_epoch)))


def trained(job: Job, asked: argparse.Namespace) -> RunFolder:
    """The run of a model, trained to its end."""
    run = job.run(asked)
    path = asked.runs / str(run.name)
    code = 0
    if not (path / "recipe.json").exists():
        plan, source, _ = planned(job, asked)
        epochs = affordable(plan, source, asked.most_minutes)
        plan, source, make = planned(job, asked, None if epochs == plan.recipe.epochs else epochs)
        introduce(make, plan, source)
        code = training.carry_on(training.begin(plan, source, device_for(asked.device)))
    elif not (path / "report.html").exists():
        code = training.resume(str(path))
    if code:
        raise SystemExit(code)  # Ctrl-C: the next call goes on
    return RunFolder.existing(path)


def scores(run: RunFolder) -> dict[str, Any]:
    """What `seminal eval` says of the test set."""
    said = io.StringIO()
    with redirect_stdout(said):
        evaluate(EvalAsk(str(run.path), split="test", as_json=True))
    found = json.loads(said.getvalue())
    return {name: found[name] for name in ("loss", "perplexity", "perplexity_per_word", "bits_per_byte", "accuracy")}


def cell(job: Job, told: str, asked: argparse.Namespace) -> dict[str, Any]:
    """A model on a text: its size, its settings, its curve, its scores."""
    run = trained(job, asked)
    plan = plan_of(run)
    _, source, _ = planned(job, asked)
    spec, recipe = source.spec, plan.recipe
    task: Any = recipe.task
    _, note = run.read_tensors("last.state")
    diary = note["diary"]
    score = scores(run)
    return {
        "data": job.folder.name,
        "text": told,
        "model": job.variant,
        "seed": job.seed,
        "paper": papers()[plan.paper].title,
        "parameters": count(papers()[plan.paper].build, recipe.model),
        "settings": repr(recipe.model),
        "recipe": {"name": recipe.name, "epochs": recipe.epochs, "batch": recipe.batch, "lr": recipe.lr},
        "precision": repr(recipe.precision),
        "window": spec.longest["text"],
        "carried": bool(task.carried),
        "departures": [d.what for d in (*recipe.model.departures(), *recipe.departures)],
        "vocabulary": spec.vocabulary["text"],
        "tokens": dict(spec.tokens),
        "words": dict(spec.words),
        "bytes": dict(spec.bytes),
        "notes": list(spec.notes),
        "epochs_run": len(diary["rows"]),
        "best_epoch": int(diary["best"]["epoch"]),
        "training_seconds": diary["seconds"],
        "curve": [{name: row[name] for name in ("epoch", "train_loss", "val_loss")} for row in diary["rows"]],
        "test": score | {"perplexity_per_byte": 2 ** score["bits_per_byte"]},
    }


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders or files of plain text")
    parser.add_argument("--runs", type=Path, default=Path("runs/language_models"), help="where the runs go")
    parser.add_argument("--only", nargs="*", default=MODELS, help="these models")
    parser.add_argument("--vocabulary", type=int, default=4000, help="tokens of the shared vocabulary (default: 4000)")
    parser.add_argument("--most-minutes", type=float, default=20.0, help="of training, for each model (default: 20)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each model (default: 1)")
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")
    parser.add_argument("--precision", default="auto", help="auto (measured), fp32 or bf16")


def run() -> None:
    """Train, score, and write the JSON after each model."""
    asked = arguments("A recurrent language model and a GPT of equal size.", _flags)
    if asked.quick:
        asked.vocabulary, asked.most_minutes = 280, 0.0
    settings = {"vocabulary": asked.vocabulary, "most_minutes": asked.most_minutes}
    kept = Cells(
        place("language_models", asked), command("language_models"), machine(), settings, ("data", "model", "seed")
    )
    if not asked.quick:
        kept.go_on()
    for data in asked.data:
        folder = asked.runs / "data" / data.stem
        told = parted(data, folder)
        wanted = [{"data": folder.name, "model": m, "seed": s} for s in range(asked.seeds) for m in asked.only]
        for missing in kept.missing(wanted):
            kept.add(cell(Job(missing["model"], folder, missing["seed"]), told, asked))
    heads = ["data", "model", "seed", "parameters", "perplexity per word", "bits per byte", "minutes"]
    rows = [
        [
            c["data"],
            c["model"],
            str(c["seed"]),
            f"{c['parameters'] / 1e6:.2f} M",
            f"{c['test']['perplexity_per_word']:.1f}",
            f"{c['test']['bits_per_byte']:.3f}",
            f"{c['training_seconds'] / 60:.1f}",
        ]
        for c in kept.cells
    ]
    table(heads, rows)
    print(f"written  {kept.path}")


if __name__ == "__main__":
    run()
