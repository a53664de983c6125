"""The verbs that look at a finished run: eval, predict, report, compare."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Encoder, LeftOut, Order, Precision, Recipe, Source, UserError
from seminal.data.image_encoder import ImageEncoder
from seminal.data.image_listing import skipped
from seminal.data.pairs import PairsSource
from seminal.data.questions import QuestionSource
from seminal.data.tables import TableEncoder
from seminal.data.text_rows import TextSource
from seminal.decode.beam import Beam
from seminal.pieces.augment import HorizontalFlip
from seminal.pieces.crops import FixedCrop
from seminal.report.terminal import console, say, table
from seminal.runs import agreement, answering, near_words, portrait, text_predictions, text_scores
from seminal.runs.changes import briefly
from seminal.runs.codec import read_json
from seminal.runs.diary import Diary
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.others import Scored, other_data
from seminal.runs.plan import Plan, best_model, encoder_of, plan_of, source_of
from seminal.tasks.answers import Answers
from seminal.tasks.both_ways import BothWays
from seminal.tasks.classification import Classification
from seminal.tasks.language import Language
from seminal.tasks.masked_language import MaskedLanguage
from seminal.tasks.neighbours import Neighbours
from seminal.tasks.regression import Regression
from seminal.tasks.tagging import Tagging
from seminal.tasks.translation import Translation
from seminal.train.evaluate import predicted, scored
from seminal.train.precision import arithmetic, in_layout, laid_out

PLACES = ("top_left", "top_right", "bottom_left", "bottom_right", "centre")
PERCENT = portrait.PERCENT
TOP = 3  # classes of an input that are shown


# --------------------------------------------------------------------------------------------------------------- eval


@dataclass(frozen=True)
class EvalAsk:
    """What to score, and how."""

    run: str
    data: str | None = None
    split: str | None = None
    ten_crop: bool = False
    weights: str = "best"
    as_json: bool = False
    beam: int = 4
    alpha: float = 0.6
    source: str | None = None  # of other data: see `DataAsk`
    target: str | None = None
    on_bad_file: str = "refuse"
    threshold: float | None = None  # of answers: see `seminal.runs.answering`


def evaluate(ask: EvalAsk) -> int:
    """Score the run's weights on a split of its own data, or of other data; writes ``predictions-SPLIT.csv``, with the
    name of the other data at its end."""
    folder, split, weights = RunFolder.existing(ask.run), ask.split, ask.weights
    plan = plan_of(folder)
    device = device_for(plan.run.device)
    if ask.data is None:
        if ask.source or ask.target:
            raise UserError("--source and --target tell how other data are read: write --data too, or leave them out.")
        if ask.on_bad_file != "refuse":
            raise UserError("--on-bad-file tells how other data are read: write --data too, or leave it out.")
        source = source_of(folder, plan, device)
    else:
        source = other_data(Scored(ask.data, split, ask.source, ask.target, on_bad_file=ask.on_bad_file), folder, plan)
    if ask.ten_crop and source.spec.kind != "images":
        raise UserError(f"--ten-crop cuts pictures, and {source.spec.name} is {source.spec.form}: leave it out.")
    split = split or _usual_split(source.spec)
    if split not in source.spec.counts:
        raise UserError(f"{source.spec.name} has no split `{split}`. It has: {', '.join(source.spec.counts)}.")
    recipe = plan.recipe
    model = laid_out(best_model(folder, plan, device, weights), recipe.precision or Precision())
    order = Order(split, max(recipe.batch, 128), scaling=recipe.scaling)
    written, signature = _predictions(folder, ask, split, "json" if isinstance(source, QuestionSource) else "csv"), ""
    path = folder.path / written
    if isinstance(source, PairsSource):
        metrics, signature, lines = text_scores.translation(model, source, order, Beam(ask.beam, alpha=ask.alpha))
        metrics = recipe.task.summary(scored(model, source, recipe, order)) | metrics
        _write_csv(path, text_scores.HEAD, lines)
    elif source.spec.kind in ("stream", "documents"):
        metrics = recipe.task.summary(scored(model, source, recipe, order))
        metrics = text_scores.language(metrics, source.spec, split) if isinstance(recipe.task, Language) else metrics
    elif isinstance(source, QuestionSource):
        said = answering.replies(model, source, recipe, split)
        found, signature = answering.evaluated(folder, written, said, ask.threshold)
        metrics = recipe.task.summary(scored(model, source, recipe, order)) | found
    elif source.spec.kind == "tagged":
        sums = scored(model, source, recipe, order)
        metrics = recipe.task.summary(sums) | text_predictions.word_counts(sums)
        _write_csv(path, text_scores.HEAD, text_predictions.tagged(model, source, recipe, order))
    else:
        metrics = _of_rows(path, model, source, recipe, order, ten_crop=ask.ten_crop)
    if ask.as_json:
        rows = source.spec.counts[split]
        signed = {"signature": signature} if signature else {}
        signed |= {"f1_class": source.spec.classes[1]} if "matthews" in metrics else {}
        for note in source.spec.notes if ask.on_bad_file == "skip" else ():
            say("note", note, out=console(sys.stderr))
        print(json.dumps({"run": str(folder.path), "split": split, "rows": rows, **metrics, **signed}))
        return 0
    crops = ", ten crops of each" if ask.ten_crop else ""
    say(split, f"{source.spec.counts[split]:,} rows of {source.spec.name}{crops}, {weights} weights")
    for note in source.spec.notes if ask.data else ():  # what was left out; of text: what is unknown, what was cut
        say("", note)
    _show(metrics, source.spec)
    if signature:
        say("signature", signature)
    if source.spec.kind not in ("stream", "documents"):
        say("written", f"{folder.path}/{written}")
    return 0


def _show(metrics: Mapping[str, float], spec: DataSpec) -> None:
    """A line for each metric; of two classes F1 is that of the second."""
    for name, value in metrics.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.5g}"
        of = f" of the class `{spec.classes[1]}`" if name == "f1" and "matthews" in metrics else ""
        say(name, f"{value:.2%}{of}" if name in PERCENT else shown)


def _predictions(folder: RunFolder, ask: EvalAsk, split: str, ending: str) -> str:
    """The name of the file of predictions. Those of the run's own rows are made anew each time; another file of other rows
    may have the same name, so that these take the first that is free."""
    stem = f"predictions-{split}" + (f"-{Path(ask.data).stem}" if ask.data else "") + "-last" * (ask.weights == "last")
    names = itertools.chain([f"{stem}.{ending}"], (f"{stem}-{number}.{ending}" for number in itertools.count(2)))
    return next(name for name in names if ask.data is None or not (folder.path / name).exists())


def _usual_split(spec: DataSpec) -> str:
    """A test set where there is one, else the validation set, else what there is."""
    tests = [name for name in spec.counts if name.startswith("test")]
    return [*tests, *(name for name in ("val", *spec.counts) if name in spec.counts)][0]


def _of_rows(
    path: Path, model: nn.Module, source: Source, recipe: Recipe, order: Order, *, ten_crop: bool
) -> dict[str, float]:
    """The scores of rows that have a target each, or none; writes what was said of them."""
    if not ten_crop:
        sums = scored(model, source, recipe, order)
        agreed = _write_predictions(path, predicted(model, source, recipe, order), source, order.split)
        return recipe.task.summary(sums) | agreement.of_classes(sums) | agreed
    task = recipe.task
    if source.spec.kind != "images" or not isinstance(task, Classification):
        raise UserError("--ten-crop averages over crops of pictures with classes: leave it out for other data.")
    said = _ten_crops(model, source, recipe, order)
    parts = [task.score_probability(found["probability"], batch["target"]) for batch, found in said]
    sums = {name: torch.stack([part[name] for part in parts]).sum(0) for name in parts[0]}
    _write_predictions(path, said, source, order.split)
    return task.summary(sums) | agreement.of_classes(sums)


def _ten_crops(model: nn.Module, source: Source, recipe: Recipe, order: Order) -> list[tuple[Batch, dict[str, Tensor]]]:
    """Predictions averaged over the corners and the centre, each also mirrored (Krizhevsky et al. 2012, Sec. 4.1)."""
    found: list[tuple[Batch, dict[str, Tensor]]] = []
    for place in PLACES:
        for flip in (0.0, 1.0):
            augment = (FixedCrop(place), HorizontalFlip(probability=flip))
            crops = (
                ({name: batch[name] for name in ("index", "target")}, crop["probability"] / 10)
                for batch, crop in predicted(model, source, recipe, replace(order, augment=augment))
            )
            if not found:
                found = [(row, {"probability": share}) for row, share in crops]
                continue
            for (_, mean), (_, share) in zip(found, crops, strict=True):
                mean["probability"] += share
    return found


def _write_predictions(
    path: Path, said: Iterable[tuple[Batch, dict[str, Tensor]]], source: Source, split: str
) -> dict[str, float]:
    """A line for each row in the order of the file, with the text behind where there is one. Gives how well the numbers
    agree with the true ones, where there is one for each row."""
    spec = source.spec
    scale, shift = spec.target_std or (1.0,) * spec.outputs, spec.target_mean or (0.0,) * spec.outputs
    lines: dict[int, list[str]] = {}
    unasked: list[str] = []
    numbers: list[tuple[float, float]] = []
    for batch, found in said:
        columns = _unasked(found)
        unasked = list(columns)
        for i, row in enumerate(batch["index"].tolist()):
            name = source.name(split, row)
            if columns:
                lines[row] = [name, *(f"{column[i]:.6g}" for column in columns.values())]
            elif spec.classes:
                probability = found["probability"][i]
                guess = int(probability.argmax())
                truth = spec.classes[int(batch["target"][i])]
                lines[row] = [name, truth, spec.classes[guess], f"{float(probability[guess]):.4f}"]
            else:
                truths = [float(t) * s + m for t, s, m in zip(batch["target"][i], scale, shift)]
                values = [float(v) for v in found["value"][i]]
                numbers += zip(truths, values)
                lines[row] = [name, *(digits(number, std) for number, std in zip((*truths, *values), 2 * scale))]
    head = ["row", "true", "predicted", "confidence"]
    if unasked:
        head = ["row", *unasked]
    elif not spec.classes:
        head = ["row", *(f"{n} true" for n in spec.target_names), *(f"{n} predicted" for n in spec.target_names)]
    texts = source.parts[split].texts if isinstance(source, TextSource) else None
    shown = [lines[row] + ([texts[row]] if texts else []) for row in sorted(lines)]
    _write_csv(path, [*head, *["text"] * bool(texts)], shown)
    return agreement.of_numbers(numbers) if len(spec.target_names) == 1 else {}


def digits(value: float, std: float) -> str:
    """A number with as many digits as tell it from another that is a hundred-thousandth of ``std`` away, at least six; whole
    digits are left out beyond 15 only."""
    size = max(abs(value), 1e-300)
    if not math.isfinite(value):
        return str(value)
    wanted = max(6, 1 + math.floor(math.log10(size)), 5 + math.ceil(math.log10(size / max(std, 1e-300))))
    return f"{value:.{min(15, wanted)}g}"


def _unasked(found: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """What a task that knows no target says of rows: a column per number (``anomaly``, ``latent_1`` …), no pictures."""
    columns: dict[str, list[float]] = {}
    for name, values in found.items() if not {"probability", "value"} & found.keys() else ():
        if values.dim() == 1:
            columns[name] = values.tolist()
        elif values.dim() == 2:
            columns |= {f"{name}_{i}": column for i, column in enumerate(values.T.tolist(), 1)}
    return columns


def _write_csv(path: Path, head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *lines])
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None


# ------------------------------------------------------------------------------------------------------------- predict


@dataclass(frozen=True)
class PredictAsk:
    """What to predict for, and how it is shown."""

    run: str
    inputs: Sequence[str] = ()
    top: int | None = None  # None: `TOP`, and in JSON all, for a program may want any of them
    csv_file: str | None = None
    as_json: bool = False
    question: str | None = None  # of a run that answers: see `seminal.runs.answering`
    context: str | None = None
    threshold: float | None = None
    on_bad_file: str = "refuse"


def predict(ask: PredictAsk) -> int:
    """Predictions for the user's own files, read as validation read its own."""
    run, top, as_json = ask.run, TOP if ask.top is None else ask.top, ask.as_json
    if top < 1:
        raise UserError(f"--top {top} shows nothing: write 1 or more.")
    folder = RunFolder.existing(run)
    plan = plan_of(folder)
    kind = type(plan.recipe.task)
    verbs: dict[type, str] = {Translation: "translate", Language: "generate", MaskedLanguage: "fill"}
    verbs |= {BothWays: f"train {plan.recipe.variant} DATA --from"}
    if kind is MaskedLanguage:
        best_model(folder, plan, torch.device("cpu"))  # of a body without a head there is something else to say
    if kind in verbs:
        raise UserError(f"{run} predicts no classes: write `seminal {verbs[kind]} {run}`.")
    if ask.csv_file is not None and Path(ask.csv_file).exists():
        raise UserError(f"{ask.csv_file} exists, and nothing is written over: give --csv another name.")
    if ask.csv_file is not None and kind in (Neighbours, Answers, Tagging):
        raise UserError(
            f"--csv writes a row for each input, and {run} says more of each than fits one: use --json, or leave it out."
        )
    if kind is Neighbours:
        return near_words.tell(folder, plan, list(ask.inputs), top=top, as_json=as_json)
    if kind is Answers:
        asked = answering.Asked(ask.inputs, ask.question, ask.context, ask.threshold, top, as_json)
        return answering.tell(folder, plan, asked)
    if ask.question is not None or ask.context is not None:
        raise UserError(f"{run} answers no questions: give it what it reads, as in `seminal predict {run} INPUT`.")
    if ask.on_bad_file != "refuse" and not isinstance(encoder_of(folder), ImageEncoder | TableEncoder):
        raise UserError(f"--on-bad-file leaves out pictures and rows of tables, and {run} reads texts: leave it out.")
    inputs = text_predictions.spread_out(ask.inputs, encoder_of(folder), plan.data.source)
    if not inputs:
        raise UserError(f"what shall be predicted? Name files, as in `seminal predict {run} INPUT`.")
    if kind is Tagging:
        return text_predictions.print_tags(
            best_model(folder, plan, device_for(plan.run.device)), folder, inputs, as_json=as_json
        )
    _tell(folder, plan, inputs, ask)
    if ask.csv_file and not as_json:
        say("written", ask.csv_file)
    return 0


def _tell(folder: RunFolder, plan: Plan, inputs: list[str], ask: PredictAsk) -> None:
    """Print a line for each input as soon as its batch is computed; write all of them as a table, if one is asked for."""
    lines: list[list[str]] = []
    head: list[str] = []
    bad: list[tuple[str, str]] = []
    total = 0
    classes, task, as_json = _has_classes(plan), plan.recipe.task, ask.as_json
    most = TOP if ask.top is None and not as_json else ask.top
    shape = "p({})" if classes else "{} predicted"
    scale = task.std if isinstance(task, Regression) else ()
    with warnings.catch_warnings(record=True) as noticed:  # such as a category that training did not have
        warnings.simplefilter("always")
        for name, answer in _answers(folder, plan, inputs, ask.on_bad_file):
            while noticed:
                say("note", str(noticed.pop(0).message), out=console(sys.stderr))
            total += 1
            if isinstance(answer, str):  # it keeps its place, so that the rows after it keep theirs
                told_of = {"input": name, "left_out": answer}
                print(json.dumps(told_of, ensure_ascii=False) if as_json else f"{name}  left out: {answer}")
                bad.append((name, answer))
                lines.append([name])
                continue
            ranked = sorted(answer.items(), key=lambda pair: -pair[1])[:most] if classes else list(answer.items())
            told = [digits(value, std) for value, std in zip_longest(answer.values(), scale, fillvalue=1.0)]
            if as_json:
                keys = _apart([key for key, _ in ranked], ("input", "left_out"), answer, shape)
                values = (value for _, value in ranked)
                print(json.dumps({"input": name, **dict(zip(keys, values))}, ensure_ascii=False))
            else:
                said = (f"{key} {v:.1%}" for key, v in ranked) if classes else map(" ".join, zip(answer, told))
                print(f"{name}  " + "  ".join(said))
            if ask.csv_file:
                fields = ["input", *["predicted"] * classes]
                head = [*fields, *_apart([*answer], fields, answer, shape)]
                lines.append([name, *[ranked[0][0]] * classes, *told])
    if bad:
        kind = "files" if isinstance(encoder_of(folder), ImageEncoder) else "rows"
        say("note", skipped(bad, total, "skip", kind), out=console(sys.stderr))
    if ask.csv_file:
        _write_csv(Path(ask.csv_file), head, [line + [""] * (len(head) - len(line)) for line in lines])


def _apart(names: Sequence[str], fields: Sequence[str], others: Iterable[str], shape: str) -> list[str]:
    """The names of classes or numbers, those in another ``shape`` that are called like a field beside them."""
    told, taken = [], {*fields, *others}
    for name in names:
        own = name
        while own in fields or (own != name and own in taken):
            own = shape.format(own)
        told.append(own)
    return told


def _has_classes(plan: Plan) -> bool:
    return bool(getattr(plan.recipe.task, "classes", 0))


def _answers(
    folder: RunFolder, plan: Plan, inputs: list[str], on_bad_file: str
) -> Iterator[tuple[str, dict[str, float] | str]]:
    """(name, probability per class, value per target or what else is said) for each input, in their order; and of one that
    is left out, why."""
    device = device_for(plan.run.device)
    recipe = plan.recipe
    precision = recipe.precision or Precision()
    model = laid_out(best_model(folder, plan, device), precision)
    labels = read_json(folder.path / "labels.json")
    left_out: LeftOut = {}
    for names, batch in _read(encoder_of(folder), inputs, None if on_bad_file == "refuse" else left_out):
        with torch.no_grad(), arithmetic(precision, device):
            found = recipe.task.predict(model, in_layout(batch, device, precision))
        columns = _unasked(found) or _named(labels, next(iter(found.values())).T.tolist())
        for i, name in enumerate(names):
            while left_out and next(iter(left_out)) < int(batch["index"][i]):  # they are in their order
                yield left_out.pop(next(iter(left_out)))
            yield name, {said: column[i] for said, column in columns.items()}
    yield from left_out.values()


def _read(encoder: Encoder, inputs: list[str], left_out: LeftOut | None) -> Iterator[tuple[list[str], Batch]]:
    if isinstance(encoder, ImageEncoder | TableEncoder):
        return encoder.encode(inputs, 128, left_out)
    return encoder.encode(inputs, 128)


def _named(labels: Sequence[str], columns: list[list[float]]) -> dict[str, list[float]]:
    """The numbers of each class, target or ending by its name. A choice may have other endings than those of the run."""
    names = labels if len(labels) == len(columns) else [f"choice{i}" for i in range(len(columns))]
    return dict(zip(names, columns, strict=True))


# ------------------------------------------------------------------------------------------------------ report, compare


def report(run: str) -> int:
    """Write the run's report anew, from its folder and its data."""
    folder = RunFolder.existing(run)
    plan = plan_of(folder)
    source = source_of(folder, plan, device_for(plan.run.device))
    _, note = folder.read_tensors("last.state")
    diary = Diary(plan.recipe.task.goal)
    diary.restore(note["diary"])
    portrait.finish(folder, plan, source, diary)
    say("report", f"{folder.path}/report.html")
    return 0


def compare(runs: list[str]) -> int:
    """Runs side by side, also those of ``--seeds`` or ``--folds``: the best epoch of each, and the settings in which they
    differ."""
    folders = [folder for run in runs for folder in RunFolder.several(run)]
    plans = [plan_of(folder) for folder in folders]
    rows = []
    for folder, plan in zip(folders, plans):
        diary = Diary(plan.recipe.task.goal)
        diary.restore(folder.read_tensors("last.state")[1]["diary"])
        best = diary.best or {}
        goal = plan.recipe.task.goal.metric
        value = best.get(goal)
        shown = "–" if value is None else (f"{value:.2%}" if goal in PERCENT else f"{value:.4g}")
        rows.append([str(folder.path), f"{goal} {shown}", f"{best.get('epoch', 0):.0f}", f"{diary.seconds:.0f} s"])
    table(["run", "best", "epoch", "training"], rows)
    different = list(_differences(plans))
    if different and len(plans) > 1:
        print()
        table(["setting", *(folder.path.name for folder in folders)], different)
    return 0


def _differences(plans: list[Plan]) -> Iterator[list[str]]:
    settings = [dict(_flat(plan)) for plan in plans]
    for name in dict.fromkeys(name for setting in settings for name in setting):
        values = [setting.get(name, "–") for setting in settings]
        if len(set(values)) > 1:
            yield [name, *values]


def _flat(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "data", plan.data.data
    if plan.data.fold is not None:
        yield "fold", str(plan.data.fold + 1)
    for name, value in vars(plan.recipe).items():
        if name in ("departures", "sources"):
            continue
        if not dataclasses.is_dataclass(value):
            yield name, briefly(value)
            continue
        yield name, type(value).__name__  # and what it is made of, each on a line of its own
        yield from ((f"{name}: {part}", briefly(each)) for part, each in vars(value).items())
