"""One run from its first step to its report; and going on with one that was stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from seminal.core import Order, Precision, Source, Step, UserError
from seminal.data.questions import QuestionSource
from seminal.data.rows import Digested
from seminal.report.terminal import Progress, console, say
from seminal.report.words import metric_name
from seminal.runs import portrait
from seminal.runs.answering import of_questions
from seminal.runs.asks import RunAsk
from seminal.runs.borrowing import load
from seminal.runs.diary import Diary
from seminal.runs.folder import RunFolder
from seminal.runs.machine import Stop, command_line, device_for, environment, joined, keep_memory
from seminal.runs.observing import broken, check, lines, observed, verdict
from seminal.runs.plan import DIGESTS, Plan, model_of, plan_of, source_of, split_table
from seminal.runs.samples import samples
from seminal.tasks.translation import Translation
from seminal.train import distributed
from seminal.train.evaluate import scored, weights
from seminal.train.loop import total_steps, train
from seminal.train.nonfinite import NonFiniteError
from seminal.train.precision import chosen, described, laid_out, measured
from seminal.train.state import State

STOPPED = 130  # the exit code of a program ended with Ctrl-C
SAMPLE = 1_000  # rows of the training split that are scored at the end of an epoch, or a few more
WRITTEN = 100  # the same of sentences, whose translations have to be written


@dataclass
class Run:
    """A run in motion."""

    folder: RunFolder
    plan: Plan
    source: Source
    model: nn.Module
    state: State
    diary: Diary

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return distributed.rank() == 0


def begin(plan: Plan, source: Source, device: torch.device) -> Run:
    """A new run: the model, the folder, everything that is known before the first step."""
    model = model_of(plan, device)
    load(model, plan)
    plan = replace(plan, recipe=replace(plan.recipe, precision=_precision(plan, source, model)))
    laid_out(model, plan.recipe.precision or Precision())
    check(plan, source, device)
    encoder = source.encoder(plan.recipe.scaling)
    folder = new_folder(plan.run, f"{plan.recipe.variant}-{source.spec.name}")
    run = Run(folder, plan, source, model, State.fresh(model, plan.recipe), Diary(plan.recipe.task.goal))
    if run.first:
        try:
            folder.write_json("reader.json", encoder)
            folder.write_json("labels.json", source.spec.classes or source.spec.target_names)
            folder.write_json("env.json", environment(device))
            folder.write("command.txt", command_line() + "\n")
            folder.write("split.csv", split_table(source))
            if isinstance(source, Digested):
                folder.write_json(DIGESTS, source.digests())
            if plan.recipe.transfer:
                _save(run)  # the weights it starts from may be gone when it is resumed; nothing is spread yet
            folder.write_json("recipe.json", plan)  # last: where it is, everything is, and the run can be resumed
        except UserError as error:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise UserError(
                f"{str(error).partition('. ')[0]}. Nothing was begun: make room, or choose `--output`."
            ) from None
    return run


def resume(run: str) -> int:
    """Go on with a run; the verb ``seminal resume``."""
    folder = RunFolder.existing(run)
    with joined(), _held(folder):
        plan = plan_of(folder)
        device = device_for(plan.run.device)
        source = source_of(folder, plan, device)
        model = laid_out(model_of(plan, device), plan.recipe.precision or Precision())
        going = Run(folder, plan, source, model, State.fresh(model, plan.recipe), Diary(plan.recipe.task.goal))
        if (folder.path / "last.state").exists():
            _restore(going)
        if going.first:
            folder.tidy()
            _say_where(going)
        return _carried_on(going)


def _say_where(run: Run) -> None:
    folder, state = run.folder, run.state
    if state.step >= total_steps(run.source, run.plan.recipe):
        say("finished", f"{folder.path} was trained to its end before: its report is written anew")
        return
    say("resumed", f"{folder.path} after step {state.step} (epoch {state.epoch + 1})")
    folder.log(f"resumed after step {state.step}")


def _restore(run: Run) -> None:
    tensors, note = run.folder.read_tensors("last.state")
    try:
        run.state.restore(tensors, note["counters"])
        run.diary.restore(note["diary"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{run.folder.path}/last.state does not belong to this run (its tensors are others) and was not used. Put "
            f"back a copy of the right one, or start a new run with `--recipe {run.folder.path}`."
        ) from error


def carry_on(run: Run) -> int:
    """Train to the end, or until stopped; then write the report. Returns the exit code."""
    with _held(run.folder):
        return _carried_on(run)


def _held(folder: RunFolder) -> contextlib.AbstractContextManager[None]:
    """For the process that writes."""
    return folder.held() if distributed.rank() == 0 else contextlib.nullcontext()


def _carried_on(run: Run) -> int:
    folder, recipe = run.folder, run.plan.recipe
    keep_memory()
    if run.plan.run.deterministic:
        torch.use_deterministic_algorithms(True)
    try:
        with Stop() as stop, _progress(run) as progress, observed(run) as told:
            finished = _steps(run, progress, stop, told)
    except NonFiniteError as error:
        _save(run)
        raise UserError(_told(run, error)) from None
    if not finished:
        if run.first:
            say("stopped", f"after step {run.state.step}, everything is saved")
            say("next", f"seminal resume {folder.path}", wrap=False)
        return STOPPED
    if run.first:
        folder.write_tensors("last.safetensors", run.state.best_weights(), {"variant": recipe.variant})
        portrait.finish(folder, run.plan, run.source, run.diary)
        _farewell(run)
    return 0


def _steps(run: Run, progress: Progress, stop: Stop, told: Callable[[Step], None]) -> bool:
    """All steps that are left. Returns False where the user stopped it."""
    saved, cost, clock, pace = time.monotonic(), 0.0, time.perf_counter(), 0.0
    board = _tensorboard(run)
    patience, counts_tokens = run.plan.recipe.patience, portrait.unit(run.source.spec) == "tokens"
    if patience is not None and run.diary.waited() >= patience:
        return True  # it was stopped early, and killed before it had said so
    for step in train(run.model, run.source, run.plan.recipe, run.state):
        took = time.perf_counter() - clock
        pace = took if not pace else 0.9 * pace + 0.1 * took
        amount = step.weight if counts_tokens else step.rows
        run.diary.step(step, amount, took)
        told(step)
        progress.step(step, amount / pace)
        enough = False
        if step.ends_epoch:
            row = _score(run, step)
            progress.epoch(row, _best(run))
            board(row)
            enough = patience is not None and run.diary.waited() >= patience
        # A checkpoint may cost at most a thirtieth of the time it protects.
        due = _first_says(time.monotonic() - saved >= max(run.plan.run.save_every, 30 * cost))
        asked = _anyone(stop.asked)
        if due or asked or enough or step.number == step.steps:
            started = time.monotonic()
            _save(run)
            saved, cost = time.monotonic(), time.monotonic() - started
        if enough:
            progress.say("early", f"no progress for {patience} epochs: stopped here")
            return True
        if asked and step.number < step.steps:
            return False
        clock = time.perf_counter()
    return True


def _score(run: Run, step: Step) -> dict[str, float | None]:
    """The end of an epoch: validation, a sample of the training split without augmentation, the best weights kept."""
    recipe, source = run.plan.recipe, run.source
    val = Order("val", max(recipe.batch, 128), scaling=recipe.scaling)
    train_rows = replace(val, split="train", shuffle=True)
    steps, rows = source.steps(val), WRITTEN if isinstance(recipe.task, Translation) else SAMPLE
    batches = max(1, min(steps, rows * steps // max(1, source.spec.counts["val"])))  # text has batches of tokens
    with weights(run.model, run.state.best_weights()):
        on_val = recipe.task.summary(scored(run.model, source, recipe, val))
        if isinstance(source, QuestionSource):
            on_val |= of_questions(run.model, source, recipe, "val")
        on_train = recipe.task.summary(scored(run.model, source, recipe, train_rows, batches))
        made = samples(run.model, source, recipe) if run.first else {}
    goal = recipe.task.goal
    run.state.scores.append(-on_val[goal.metric] if goal.higher else on_val[goal.metric])
    row = run.diary.epoch(step, on_train, on_val)
    if made:
        run.diary.sample(step.epoch + 1, made)
    if run.first:
        if run.diary.improved:
            note = {"variant": recipe.variant, "epoch": row["epoch"], **on_val}
            run.folder.write_tensors("best.safetensors", run.state.best_weights(), note)
        run.folder.write_metrics(run.diary.rows)
        run.folder.log("  ".join(f"{name} {value:.6g}" for name, value in row.items() if value is not None))
    return row


def _save(run: Run) -> None:
    """The complete state in one atomic file. Every process must call it: a part of the state may be spread over them."""
    tensors = run.state.tensors()
    if run.first:
        note = {"counters": run.state.counters(), "diary": run.diary.note()}
        run.folder.write_tensors("last.state", tensors, note)


# ------------------------------------------------------------------------------------------------- before the first step


def _precision(plan: Plan, source: Source, model: nn.Module) -> Precision:
    """The precision asked for, or the measured one, agreed on by all processes."""
    ask, recipe = plan.run, plan.recipe
    if recipe.precision is not None:
        return recipe.precision
    device = next(model.parameters()).device
    if ask.precision != "auto":
        layout = bool(ask.channels_last)
        return Precision(ask.precision, layout, ask.compile)
    order = Order("train", recipe.batch, recipe.seed, shuffle=True, augment=recipe.augment, scaling=recipe.scaling)
    batch = next(iter(source.batches(replace(order, rank=distributed.rank(), world=distributed.world()))))
    trials = measured(model, recipe, {name: v.to(device) for name, v in batch.items()})
    best = chosen([t for t in trials if ask.channels_last in (None, t.precision.channels_last)] or trials)
    box = [best]
    if distributed.world() > 1:
        dist.broadcast_object_list(box)
    if distributed.rank() == 0:
        said = [
            f"{described(t.precision)} {t.rows_per_s / trials[0].rows_per_s:.2f}×" + " (disagrees)" * (not t.agrees)
            for t in trials[1:]
        ]
        found = f"against fp32: {', '.join(said)}. " if said else "bf16 is not faster here. "
        say("measured", f"{found}Using {described(box[0])}")
    return replace(box[0], compile=ask.compile)


def new_folder(run: RunAsk, stem: str) -> RunFolder:
    """A folder that did not exist before, the same one for all processes."""
    box: list[Any] = [None]
    if distributed.rank() == 0:
        box = [RunFolder.new(Path(run.output), stem, run.name)]
    if distributed.world() > 1:
        dist.broadcast_object_list(box)
    folder: RunFolder = box[0]
    return folder


# -------------------------------------------------------------------------------------------------------------- words


def _best(run: Run) -> tuple[float, int] | None:
    """The best value of the goal's metric so far, and its epoch."""
    best = run.diary.best
    return (best[run.plan.recipe.task.goal.metric], int(best["epoch"])) if best else None


def _progress(run: Run) -> Progress:
    goal = run.plan.recipe.task.goal
    return Progress(
        run.plan.recipe.epochs,
        goal,
        unit=portrait.unit(run.source.spec),
        percent=goal.metric in portrait.PERCENT,
        best=_best(run),
        every=run.plan.run.log_interval,
        out=None if run.first else console(open(os.devnull, "w")),
    )


def _farewell(run: Run) -> None:
    folder, best, goal = run.folder.path, run.diary.best, run.plan.recipe.task.goal
    if best:
        value = f"{best[goal.metric]:.1%}" if goal.metric in portrait.PERCENT else f"{best[goal.metric]:.4g}"
        say("best", f"{value} {metric_name(goal.metric)} (epoch {best['epoch']:.0f}) · {folder}/best.safetensors")
    for number, line in enumerate(lines(verdict(run.diary, run.plan.recipe), folder)):
        say("" if number else "doctor", line)
    say("report", f"{folder}/report.html")
    say("next", portrait.next_commands(run.folder, run.plan, run.source.spec)[0][0], wrap=False)


def named(error: NonFiniteError, source: Source) -> str:
    """`` Rows: a.png, b.png.``, where it lies with some of them."""
    names = [source.name("train", row) for row in error.rows[:5]]
    more = f" and {len(error.rows) - 5} more" if len(error.rows) > 5 else ""
    return f" Rows: {', '.join(names)}{more}." if names else ""


def _told(run: Run, error: NonFiniteError) -> str:
    rows = named(error, run.source)
    clipped = ", or with --clip-grad 1" if run.plan.recipe.clip is None else ""
    mended = ", or with those rows mended" if rows else ""
    return (
        f"training stopped before step {error.step}: {error.cause}.{rows}{broken(run.diary.vitals, error)} The last good "
        f"weights are in {run.folder.path}/last.state. Start again with a smaller --lr{clipped}{mended}."
    )


def _anyone(asked: bool) -> bool:
    """Whether any process was asked to: all do the same after the same step."""
    if distributed.world() == 1:
        return asked
    return bool(distributed.added(torch.tensor(float(asked)))[0])


def _first_says(word: bool) -> bool:
    """What the first process says: clocks differ, and all must save together."""
    return (
        word
        if distributed.world() == 1
        else bool(distributed.added(torch.tensor(float(word and distributed.rank() == 0)))[0])
    )


def _tensorboard(run: Run) -> Any:
    """A function that writes a row to TensorBoard, or does nothing."""
    if not (run.plan.run.tensorboard and run.first):
        return lambda row: None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("--tensorboard needs the package: pip install 'seminal[tensorboard]'.") from None
    # Rows after the step that was restored will be written once more.
    writer = SummaryWriter(str(run.folder.path / "tensorboard"), purge_step=run.state.step + 1)

    def write(row: dict[str, float | None]) -> None:
        for name, value in row.items():
            if value is not None and name not in ("epoch", "step"):
                writer.add_scalar(name.replace("_", "/", 1), value, int(row["step"] or 0))
        writer.flush()

    return write
