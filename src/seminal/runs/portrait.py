"""The report of a run, drawn from its folder, its best weights and its data."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from seminal.core import DataSpec, Generator, Order, Recipe, Source
from seminal.data.documents import DocumentSource
from seminal.data.questions import QuestionSource
from seminal.pieces.measure import parameters
from seminal.report import data as report_data
from seminal.report import page
from seminal.report.data import Citation, Picture, Report, Scatter
from seminal.report.pictures import first_filters, png
from seminal.report.words import metric_name, shortened
from seminal.runs import answering, evidence, filling, observing
from seminal.runs.changes import briefly
from seminal.runs.codec import read_json
from seminal.runs.diary import Diary
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.picture_portrait import with_pictures
from seminal.runs.plan import Plan, best_model, encoder_of
from seminal.runs.shelf import papers, published
from seminal.runs.text_portrait import text_of, with_texts
from seminal.tasks.classification import MOST_PAIRED
from seminal.tasks.contrast import Contrast
from seminal.tasks.game import Game
from seminal.tasks.masked_language import MaskedLanguage
from seminal.tasks.neighbours import Neighbours
from seminal.tasks.reconstruction import Reconstruction
from seminal.tasks.variational import Variational
from seminal.train.evaluate import predicted

PERCENT = (
    *(
        "top1",
        "top5",
        "precision",
        "recall",
        "accuracy",
        "f1",
        "macro_f1",
        "window_f1",
        "window_exact",
        "next_accuracy",
    ),
    *("exact", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1"),  # as SQuAD's own program names them
)
MISTAKES = 24
PER_CLASS = 4
ROWS = {  # what a row is called; where it is not counted per second (pairs, streams, labels of words), a token is
    **{"images": "images", "table": "rows", "labelled": "texts", "choices": "rows", "questions": "windows"},
    "documents": "sequences",
}
LONGEST_TEXT = 400  # characters of a text that is shown


def finish(folder: RunFolder, plan: Plan, source: Source, diary: Diary) -> None:
    """Write ``report.json`` and ``report.html``."""
    report = _portrait(folder, plan, source, diary)
    folder.write("report.json", report_data.to_json(report))
    folder.write("report.html", page.render(report))


def _portrait(folder: RunFolder, plan: Plan, source: Source, diary: Diary) -> Report:
    recipe, spec, paper = plan.recipe, source.spec, papers()[plan.paper]
    model = best_model(folder, plan, device_for(plan.run.device))
    goal = recipe.task.goal
    report = Report(
        title=f"{recipe.variant} on {spec.name}",
        paper=Citation(f"{paper.authors}: {paper.title}. {published(paper)}.", paper.url),
        goal=goal,
        headline=tuple(_headline(plan, diary, model, unit(spec))),
        rows=tuple(diary.rows),
        trace=report_data.thinned(diary.trace) if diary.trace["step"] else {},
        percent=PERCENT,
        filters=first_filters(model),
        settings=tuple(_settings(recipe)),
        departures=(*recipe.model.departures(), *recipe.departures),
        environment=read_json(folder.path / "env.json"),
        command=(folder.path / "command.txt").read_text(encoding="utf-8").strip(),
        notes=spec.notes,
        next_commands=next_commands(folder, plan, spec),
        doctor=observing.page(diary, recipe),
    )
    if spec.kind in ("pairs", "stream", "tagged"):
        return with_texts(report, model, plan, source, diary)
    if isinstance(source, DocumentSource):
        return filling.with_hidden(report, model, source, recipe)
    if isinstance(source, QuestionSource):
        return answering.with_answers(report, folder, model, plan, source)
    if isinstance(model, Generator) or isinstance(recipe.task, Reconstruction):
        return with_pictures(report, model, plan, source, diary)
    if isinstance(recipe.task, Contrast):  # a density has no answer that could be wrong
        return report
    if spec.classes:
        return _with_classes(report, model, plan, source)
    return _with_scatter(report, model, plan, source)


def next_commands(folder: RunFolder, plan: Plan, spec: DataSpec) -> tuple[tuple[str, str], ...]:
    """What to type next, the most natural first."""
    run, task = folder.path, plan.recipe.task
    hides = isinstance(task, MaskedLanguage) and not plan.recipe.model.causal
    makes = isinstance(task, Game | Variational) and spec.kind == "images"
    first = {
        "images": (f"seminal predict {run} YOUR.png", "predict for your own pictures"),
        "table": (f"seminal predict {run} YOUR.csv", "predict for your own rows"),
        "pairs": (f'seminal translate {run} "A SENTENCE"', "translate your own sentences"),
        "stream": (f'seminal generate {run} --prompt "ONCE"', "let it write"),
        "documents": (f"seminal train {plan.recipe.variant} DATA --from {run}", "fine-tune it on your own task"),
        "choices": (f"seminal predict {run} YOUR.csv", "choose for your own rows"),
        "questions": (f'seminal predict {run} --question "WHO?" --context YOUR.txt', "ask it about your own texts"),
    }.get(spec.kind, (f'seminal predict {run} "A SENTENCE"', "predict for your own texts"))
    if spec.kind == "labelled" and getattr(encoder_of(folder), "pair", False):
        first = (f"seminal predict {run} YOUR.tsv", "predict for your own pairs, a tab between two texts")
    if isinstance(task, Neighbours):
        first = (
            f"seminal predict {run} WORD",
            "see which words are near a word; three words a b c: what is near a − b + c",
        )
    if makes:
        first = (f"seminal sample {run}", "let it make pictures")
    return (
        first,
        *[(f'seminal fill {run} "The [MASK] sat on the mat"', "let it say hidden words")] * hides,
        *[(f"seminal score {run}", "what its pictures, or its density, are worth")] * makes,
        (f"seminal eval {run}", "score the best weights again"),
        (f"seminal compare {run} OTHER", "see what another run did otherwise"),
        *[(f"seminal doctor {run}", "find out by experiments what holds it back")] * observing.one_answer(plan, spec),
    )


def unit(spec: DataSpec) -> str:
    """What is counted per second: the rows of a batch, or what there is to be said in them."""
    return ROWS.get(spec.kind, "tokens")


def _headline(plan: Plan, diary: Diary, model: nn.Module, counted: str) -> Iterator[tuple[str, str]]:
    goal, best = plan.recipe.task.goal, diary.best
    if best:
        value = best[goal.metric]
        yield f"best {metric_name(goal.metric)}", f"{value:.1%}" if goal.metric in PERCENT else f"{value:.4g}"
        yield "at epoch", f"{best['epoch']:.0f} of {plan.recipe.epochs}"
    yield "training", f"{diary.seconds:.0f} s" if diary.seconds < 600 else f"{diary.seconds / 60:.0f} min"
    if diary.rows:
        yield "speed", f"{diary.rows[-1]['rows_per_s'] or 0:,.0f} {counted}/s"
    yield "parameters", f"{parameters(model):,}"


def _settings(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    hidden = {"name", "variant", "departures", "sources", "least_steps"}
    hidden |= set() if recipe.transfer else {"body_rate"}  # without weights from before there is no body
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if field.name not in hidden and value is not None:
            yield field.name.replace("_", " "), briefly(value), recipe.sources.get(field.name, "")


# ------------------------------------------------------------------------------------------------------------- classes


def _with_classes(report: Report, model: nn.Module, plan: Plan, source: Source) -> Report:
    recipe, classes = plan.recipe, source.spec.classes
    order = Order("val", max(recipe.batch, 128), scaling=recipe.scaling)
    pairs = [(b["index"], b["target"], p["probability"]) for b, p in predicted(model, source, recipe, order)]
    index, target, probability = (torch.cat(column).cpu() for column in zip(*pairs))
    guess = probability.argmax(1)
    of_class = torch.bincount(target, minlength=len(classes)).tolist()
    right = torch.bincount(target[guess == target], minlength=len(classes)).tolist()
    recalls = [hits / n if n else None for hits, n in zip(right, of_class)]
    confusion = None
    if len(classes) <= MOST_PAIRED:
        counts = torch.bincount(target * len(classes) + guess, minlength=len(classes) ** 2).view(len(classes), -1)
        confusion = tuple(tuple(row) for row in counts.tolist())
    mistakes = list(_mistakes(source, index, target, probability))
    return replace(
        report,
        classes=classes,
        confusion=confusion,
        recalls=tuple(recalls),
        mistakes=tuple(_with_text(source, row, picture) for row, _, picture in mistakes),
        evidence=tuple(evidence.of_mistakes(model, recipe, source, mistakes)),
        samples=_samples(source, plan) if source.spec.kind == "images" else {},
    )


def _mistakes(source: Source, index: Tensor, target: Tensor, probability: Tensor) -> Iterator[tuple[int, int, Picture]]:
    """The wrong predictions the model was surest of: row, predicted class, and what is shown of it."""
    sure, guess = probability.max(1)
    wrong = (guess != target).nonzero()[:, 0]
    classes = source.spec.classes
    for i in wrong[sure[wrong].argsort(descending=True)][:MISTAKES].tolist():
        row = int(index[i])
        caption = f"is {classes[int(target[i])]}, called {classes[int(guess[i])]} ({float(sure[i]):.0%} sure)"
        yield row, int(guess[i]), Picture(_picture(source, "val", row), caption, source.name("val", row))


def _with_text(source: Source, row: int, picture: Picture) -> Picture:
    """What is said of a text, and the text."""
    text = shortened(text_of(source, "val", row), LONGEST_TEXT)
    return replace(picture, caption=f"{picture.caption}: “{text}”") if text else picture


def _picture(source: Source, split: str, row: int) -> bytes:
    if source.spec.kind != "images":
        return b""
    batch = next(source.batches(Order(split, 1, start=row, scaling="none")))
    return png((batch["input"][0].clamp(0, 1) * 255).round().byte())


def _samples(source: Source, plan: Plan) -> dict[str, tuple[Picture, ...]]:
    """A few training pictures of each class, as they are read."""
    found: dict[str, list[Picture]] = {name: [] for name in source.spec.classes}
    order = Order("train", 256, plan.recipe.seed, shuffle=True, scaling="none")
    for batch in itertools.islice(source.batches(order), 20):
        for picture, target, row in zip(batch["input"], batch["target"].tolist(), batch["index"].tolist()):
            shelf = found[source.spec.classes[target]]
            if len(shelf) < PER_CLASS:
                pixels = (picture.clamp(0, 1) * 255).round().byte()
                shelf.append(Picture(png(pixels), source.spec.classes[target], source.name("train", row)))
        if all(len(shelf) == PER_CLASS for shelf in found.values()):
            break
    return {name: tuple(shelf) for name, shelf in found.items()}


# ------------------------------------------------------------------------------------------------------------- numbers


def _with_scatter(report: Report, model: nn.Module, plan: Plan, source: Source) -> Report:
    recipe, spec = plan.recipe, source.spec
    order = Order("val", max(recipe.batch, 128), scaling=recipe.scaling)
    true, values = [], []
    for batch, found in predicted(model, source, recipe, order):
        true.append(batch["target"].double().cpu())
        values.append(found["value"].double().cpu())
    scale: Any = torch.tensor(spec.target_std or (1.0,) * spec.outputs, dtype=torch.float64)
    shift: Any = torch.tensor(spec.target_mean or (0.0,) * spec.outputs, dtype=torch.float64)
    truth, value = torch.cat(true) * scale + shift, torch.cat(values)
    scatter = [
        Scatter(name, tuple(truth[:, i].tolist()), tuple(value[:, i].tolist()))
        for i, name in enumerate(spec.target_names)
    ]
    return replace(report, scatter=tuple(scatter))
