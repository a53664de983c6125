"""The doctor's eye on our own runs: it watches every step, and says at the end what it saw.

What it wrote down is part of the diary: it is saved with the state and goes on after a resume.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from numpy import linspace
from torch import Tensor

from seminal.core import DataSpec, Order, Recipe, Source, Step
from seminal.data.tables import TableSource
from seminal.doctor import bedside, diagnose, epochs
from seminal.doctor.anatomy import Anatomy
from seminal.doctor.findings import ILLNESSES, Finding, Verdict
from seminal.doctor.vitals import Vitals
from seminal.doctor.watching import watch
from seminal.report.data import Doctor, Found
from seminal.report.terminal import say
from seminal.report.words import share
from seminal.runs.diary import Diary
from seminal.runs.patient import patient
from seminal.runs.plan import Plan
from seminal.tasks.classification import Classification
from seminal.tasks.regression import Regression
from seminal.train import distributed
from seminal.train.nonfinite import NonFiniteError

if TYPE_CHECKING:
    from seminal.runs.training import Run

CHECKED, MOST_NUMBERS = 1000, 3 * 10**7  # rows of a split, and numbers in them, that are looked at before training
SHOWN_LOOKS, SHOWN_LAYERS = 80, 40  # columns and rows of the report's maps, at most


def one_answer(plan: Plan, spec: DataSpec) -> bool:
    """Whether there is one answer for each row, so that the doctor can make experiments: a game has none."""
    return spec.kind in ("images", "table", "labelled") and isinstance(plan.recipe.task, Classification | Regression)


def check(plan: Plan, source: Source, device: torch.device) -> None:
    """Before the first step: what the rows themselves tell. Model, loss and metric are ours, and examined by their facts."""
    if not one_answer(plan, source.spec) or distributed.rank():
        return
    program = patient(plan, source, device)(0)
    train, val = (
        _few(source, Order(split, 100, shuffle=True, scaling=plan.recipe.scaling)) for split in ("train", "val")
    )
    known = Anatomy(kind="classes" if source.spec.classes else "regression")
    found = diagnose.check(lambda seed: replace(program, train=train, val=val), known=known)
    for finding in found.findings:
        evidence = "; ".join(finding.evidence)
        say("check", in_names(f"{finding.illness} ({finding.confidence:.2f}): {evidence}", source))
        say("", in_names(f"→ {finding.remedies[0].says}", source)) if finding.remedies else None


def in_names(text: str, source: Source) -> str:
    """What the doctor says of a column of the input, by its name in the user's table: counted are features, of which a
    category has several, and a column that is no use none."""
    if not isinstance(source, TableSource):
        return text
    names = dict(enumerate(source.encoder("none").features))
    return re.sub(r"\bcolumn (\d+)\b", lambda found: f"column `{names.get(int(found[1]), found[1])}`", text)


def _few(source: Source, order: Order) -> list[tuple[Tensor, Tensor]]:
    """Some rows in batches: more of small ones than of large ones, so that reading them takes no more than seconds."""
    wanted = min(CHECKED, max(CHECKED // 5, MOST_NUMBERS // max(1, math.prod(source.spec.shape))))
    found: list[tuple[Tensor, Tensor]] = []
    rows = 0
    for batch in source.batches(order):  # of text a batch is so many tokens, and few rows
        found.append((batch["input"].cpu(), batch["target"].cpu()))
        rows += len(batch["index"])
        if rows >= wanted:
            break
    return found


@contextlib.contextmanager
def observed(run: Run) -> Iterator[Callable[[Step], None]]:
    """While this is open the run is watched; the function it gives is told every step. One process alone is watched: the
    gradients that a hook sees there are those of all rows. A compiled model calls no hooks."""
    precision = run.plan.recipe.precision
    if distributed.world() > 1 or (precision is not None and precision.compile):
        yield lambda step: None
        return
    optimisers = list(run.state.optimisers.values())
    noted = [run.diary.vitals.seconds, run.diary.vitals.cost]
    # The loop itself stops before a step that is not finite, and knows the rows.
    with watch(run.model, optimisers, stop_on_nonfinite=False, vitals=run.diary.vitals) as patient:

        def told(step: Step) -> None:
            if len(step.loss) == 1:  # the loss of a game need not fall
                patient.loss(next(iter(step.loss.values())))
            patient.norm(math.hypot(*step.grad_norm.values()))
            vitals = patient.vitals
            noted[:] = vitals.seconds, vitals.cost

        yield told
    # As the last checkpoint has them: a report that is written anew says the same.
    run.diary.vitals.seconds, run.diary.vitals.cost = noted


def verdict(diary: Diary, recipe: Recipe) -> Verdict:
    """What can be said of a run without an experiment: from its vitals, and from its epochs."""
    # A frozen body is in evaluation mode because we put it there.
    frozen = recipe.transfer is not None and recipe.transfer.frozen
    found = bedside.judged(replace(diary.vitals, moody=()) if frozen else diary.vitals)
    # Weights that were learned before have something to lose; without them one answer for all may have other reasons.
    tuned = diary.vitals if recipe.transfer else None
    known = {finding.illness for finding in found.findings}
    curves = [finding for finding in epochs.judged(diary.rows, recipe.task.goal, tuned) if finding.illness not in known]
    if curves:
        return replace(found, findings=(*found.findings, *curves), decided=True, open_question="")
    guesses = _guessing(diary, recipe)
    if not guesses or found.findings or not found.decided:
        return found
    large = bedside.large_steps(diary.vitals)
    if large:
        return replace(found, findings=(bedside.too_fast(0.7, large, guesses),))
    question = f"{guesses}. `seminal doctor` can find out by experiments why it has learned nothing"
    return replace(found, decided=False, open_question=question)


def _guessing(diary: Diary, recipe: Recipe) -> str:
    """`epochs.guessing`, where the loss is a plain cross-entropy."""
    task = recipe.task
    if not isinstance(task, Classification) or task.loss != "cross_entropy":
        return ""
    return epochs.guessing(diary.rows, task.classes)


def page(diary: Diary, recipe: Recipe) -> Doctor | None:
    """The doctor's part of the report; None where the run was not watched."""
    vitals, found = diary.vitals, verdict(diary, recipe)
    if not vitals.at:
        return None
    said = {
        "healthy": "Nothing that was seen while it trained is a sign of an illness.",
        "cannot_tell": f"Nothing that was seen tells what is wrong, if anything is: {found.open_question}.",
    }.get(found.name, "What was seen while it trained tells that something is wrong.")
    if not vitals.loss and not found.findings:
        said = "The losses of a game need not fall, so they tell nothing; no layer showed a sign of an illness."
    looks = [round(i) for i in linspace(0, len(vitals.at) - 1, min(SHOWN_LOOKS, len(vitals.at)))]
    matrices = {n.removesuffix(".weight"): w.change for n, w in vitals.weights.items() if len(w.shape) > 1}
    rectified = {n: layer.silent for n, layer in vitals.layers.items() if "relu" in layer.kind.lower()}
    silent = {name: values for name, values in rectified.items() if any(value > 0 for value in values)}
    cost = share(vitals.cost / max(vitals.seconds, 1e-9))
    return Doctor(
        found.name,
        said,
        tuple(Found(f.illness, ILLNESSES[f.illness], f.confidence, f.evidence, _advice(f)) for f in found.findings),
        tuple(vitals.at[i] for i in looks),
        {name: tuple(values[i] for i in looks) for name, values in _some(matrices).items()},
        {name: tuple(values[i] for i in looks) for name, values in _some(silent).items()},
        f"{len(vitals.at)} of {vitals.steps:,} steps were looked at closely, which took {cost} of the time.",
    )


def _advice(finding: Finding) -> tuple[str, ...]:
    return tuple(remedy.says for remedy in finding.remedies[:2])


def _some(layers: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """At most `SHOWN_LAYERS`, evenly spaced from the first to the last."""
    names = list(layers)
    kept = {round(i) for i in linspace(0, len(names) - 1, min(SHOWN_LAYERS, len(names)))}
    return {name: layers[name] for place, name in enumerate(names) if place in kept}


def lines(found: Verdict, folder: Path) -> Iterator[str]:
    """The verdict at the end of a run, in as few lines as it needs."""
    for finding in found.findings:
        yield f"{finding.illness} ({finding.confidence:.2f}): {ILLNESSES[finding.illness]}; {finding.evidence[0]}"
    if found.findings:
        yield f"`seminal doctor {folder}` proves it by experiment, and `--cure` looks for what helps"


def broken(vitals: Vitals, error: NonFiniteError) -> str:
    """Why a loss or a gradient is not finite, as far as the steps before it tell; empty where they do not."""
    # Modes are left out: the batch was computed once more, without gradients, to see where it broke.
    known = replace(vitals, broken=vitals.broken or "gradient", broken_step=error.step, moody=())
    finding = next(iter(bedside.judged(known).findings), None)
    if finding is None:
        return ""
    first = bedside.not_finite(known, None)  # what broke first is said by the error itself
    evidence = finding.evidence[first is not None and first.illness == finding.illness :]
    return f" The doctor says {finding.illness}: {'; '.join(evidence)}." if evidence else ""
