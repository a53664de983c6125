"""``seminal train``: from the flags to one run, or several."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from seminal.core import Order, Precision, UserError
from seminal.report.terminal import say
from seminal.runs import judging, repeats, training
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.borrowing import load
from seminal.runs.codec import to_json
from seminal.runs.folder import taken
from seminal.runs.machine import device_for, joined
from seminal.runs.making import Maker, introduce
from seminal.runs.plan import model_of
from seminal.runs.shelf import paper_of, reading_of
from seminal.train import distributed
from seminal.train.loop import train as steps_of
from seminal.train.nonfinite import NonFiniteError

A = TypeVar("A", DataAsk, RecipeAsk, RunAsk)


def train(given: dict[str, Any]) -> int:
    """The verb ``seminal train`` with its flags, by name."""
    if given["eval_only"] is not None:
        return judging.evaluate(judging.EvalAsk(given["eval_only"], given["data_flag"] or given["data"]))
    if given["resume"] is not None:
        others = [given[name] for name in ("model", "data", "model_flag", "data_flag")]
        if any(others) or RecipeAsk(**_of(RecipeAsk, given)) != RecipeAsk():
            raise UserError(
                "--resume goes on with a run as it was begun, so a model, data and flags of the recipe have no place beside "
                "it: leave them out, or start a new run with `--recipe RUN` and your changes."
            )
        return training.resume(given["resume"] or _newest(Path(given["output"])))
    if given["amp_dtype"] == "float16":
        raise UserError(
            "float16 overflows and would need loss scaling, which is not here. Use --amp-dtype bfloat16 (or --amp)."
        )
    if given["amp_dtype"]:
        given = given | {"precision": "bf16"}
    model, data = _model_and_data(given)
    ask = DataAsk(data=str(data), **_of(DataAsk, given, without=("data", "fold")))
    wanted = _of(RecipeAsk, given)
    run = RunAsk(**_of(RunAsk, given))
    _refuse_nonsense(ask, run, given["seed"])
    _refuse_for_text(model, ask, augment=given["augment"])
    if given["folds"] is not None and given["seeds"] is not None:
        raise UserError("--folds and --seeds together are not offered: choose one.")
    with joined():
        make = Maker(model, ask, RecipeAsk(**wanted), run)
        if given["print_config"]:
            plan, _ = make.plan()
            if distributed.rank():
                return 0
            print(json.dumps(to_json(plan.recipe), indent=1, ensure_ascii=False))
            return 0
        if given["dry_run"]:
            return _dry(make)
        if given["folds"] is not None:
            return repeats.over_folds(make, given["folds"])
        if given["seeds"] is not None:
            return repeats.over_seeds(make, given["seeds"])
        plan, source = make.plan()
        introduce(make, plan, source)
        return training.carry_on(training.begin(plan, source, device_for(plan.run.device)))


def _model_and_data(given: dict[str, Any]) -> tuple[str, str]:
    words = [w for w in (given["model"], given["data"]) if w is not None]
    model = given["model_flag"] or (words.pop(0) if words else None)
    data = given["data_flag"] or (words.pop(0) if words else None)
    if model is None:
        raise UserError("which model? Write `seminal train MODEL DATA`; `seminal list` shows the models.")
    paper_of(model)
    if data is None:
        raise UserError(
            f"train {model} on what? Write `seminal train {model} FOLDER`, a table, or a bundled set such as digits."
        )
    if words:
        raise UserError(f"`{words[0]}` is one word too many: write `seminal train MODEL DATA`.")
    return model, data


def _of(kind: type[A], given: dict[str, Any], without: tuple[str, ...] = ()) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(kind) if f.name not in without]
    return {name: given[name] for name in names if name in given}


def _refuse_nonsense(ask: DataAsk, run: RunAsk, seed: int | None) -> None:
    least = {"size": (ask.size, 1), "workers": (ask.workers, 0), "memory-limit": (ask.memory_limit, 0)}
    least |= {"vocab-size": (ask.vocab_size, 5), "max-length": (ask.max_length, 2)}
    least |= {
        "split-seed": (ask.split_seed, 0),
        "save-every": (run.save_every, 0),
        "log-interval": (run.log_interval, 0),
    }
    least |= {"seed": (seed, 0)}
    for flag, (value, bound) in least.items():
        if value is not None and not bound <= value < 2**32:
            most = " and less than 2^32" if value >= bound else ""
            raise UserError(f"--{flag} {value} makes no sense: it must be {bound} or more{most}.")
    if run.name is not None and (not run.name or Path(run.name).name != run.name):
        raise UserError(
            "--name is one name, without folders (--output tells where): write for example `--name first-try`."
        )
    if run.name is not None and (Path(run.output) / run.name).exists():
        raise taken(Path(run.output) / run.name)  # now, and not after the data are read


def _refuse_for_text(model: str, ask: DataAsk, *, augment: bool) -> None:
    """Flags about pictures, where the model reads text."""
    if reading_of(paper_of(model)[0], model) is None:
        return
    usual = DataAsk(ask.data)
    about = {
        "--size": (ask.size is not None, "the size of pictures"),
        "--memory-limit": (ask.memory_limit != usual.memory_limit, "decoded pictures"),
        "-j": (ask.workers is not None, "processes that decode pictures"),
        "--no-augment": (not augment, "changes of pictures and of rows of tables"),
    }
    for flag, (given, what) in about.items():
        if given:
            raise UserError(f"{flag} is about {what}; {model} reads text: leave it out.")


def _newest(output: Path) -> str:
    runs = sorted(output.glob("*/recipe.json"), key=lambda p: p.stat().st_mtime)
    if not runs:
        raise UserError(f"there is no run to resume in {output}. Name one: `seminal resume RUN`.")
    return str(runs[-1].parent)


def _dry(make: Maker) -> int:
    """Two steps and a validation batch, and nothing written."""
    plan, source = make.plan()
    introduce(make, plan, source)
    model = model_of(plan, device_for(plan.run.device))
    load(model, plan)
    recipe = replace(plan.recipe, precision=plan.recipe.precision or Precision())
    try:
        for step in islice(steps_of(model, source, recipe), 2):
            loss, norm = sum(step.loss.values()), sum(step.grad_norm.values())
            if distributed.rank() == 0:
                say("step", f"{step.number}: loss {loss:.4g}, gradient norm {norm:.3g}")
    except NonFiniteError as error:
        rows = training.named(error, source)
        raise UserError(
            f"the dry run stopped before step {error.step}: {error.cause}.{rows} Nothing was written. Try a smaller --lr, or "
            "mend the data."
        ) from None
    batch = next(source.batches(Order("val", recipe.batch, scaling=recipe.scaling)))
    if distributed.rank() == 0:
        say("dry run", f"all is well: {len(batch['index'])} validation rows read too; nothing was written")
    return 0
