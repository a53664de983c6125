"""From windows to one answer for each question, what it is worth by SQuAD's rules, and answers to the user's own questions.

The rules are those of the data set's own evaluation (Rajpurkar et al. 2016, Sec. 6.1; 2018): an answer and a true one are
compared without capitals, punctuation, articles and extra spaces; "exact" is their equality, "f1" that of their words. The
best of several true answers counts. Where nothing is true, saying nothing is right.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import string
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from seminal.core import Order, Precision, Recipe, UserError
from seminal.data.lines import bare
from seminal.data.lines import text as text_of
from seminal.data.questions import (
    ENDINGS,
    Question,
    QuestionEncoder,
    Questions,
    QuestionSource,
    questions_in,
    source_of,
)
from seminal.data.text_rows import ALL
from seminal.report.data import Answered, Report
from seminal.report.terminal import console, marked, say
from seminal.report.words import share
from seminal.runs.codec import read_json
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.plan import Plan, best_model, encoder_of
from seminal.runs.typed_texts import clean, file_called
from seminal.train.precision import arithmetic, in_layout, laid_out

THRESHOLD = "threshold.json"
AT_ONCE = 4096  # tokens that are read together, at least
ROOM = 300  # characters of a context that are shown before and after an answer
WRONG, RIGHT = 12, 4  # answers in the report
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Answer:
    """A part of the context: its characters from ``start`` to before ``end``."""

    text: str
    start: int
    end: int
    score: float
    probability: float  # in its window: of beginning there, times of ending there


@dataclass(frozen=True)
class Reply:
    """What the model says to a question: answers that differ in their text, the best first, and the score of none."""

    question: Question
    answers: tuple[Answer, ...]
    nothing: float

    @property
    def gap(self) -> float:
        """By how much "no answer" is better than the best."""
        return self.nothing - self.answers[0].score if self.answers else math.inf

    def given(self, threshold: float | None) -> Answer | None:
        """The answer; None where the gap is above the threshold. Without a threshold there always is one."""
        if not self.answers or (threshold is not None and self.gap > threshold):
            return None
        return self.answers[0]

    def text(self, threshold: float | None) -> str:
        """The answer as SQuAD has it: empty where there is none."""
        answer = self.given(threshold)
        return answer.text if answer else ""


def replies(model: nn.Module, source: QuestionSource, recipe: Recipe, split: str) -> list[Reply]:
    """To every question of a split, in their order: the best of all its windows (Devlin et al. 2018, Sec. 4.2 and 4.3)."""
    windows, task, precision = source.windows[split], recipe.task, recipe.precision or Precision()
    device = next(model.parameters()).device
    spans: list[list[Answer]] = [[] for _ in windows.asked]
    nothing = [math.inf] * len(windows.asked)
    laid_out(model, precision).eval()
    for batch in source.batches(Order(split, max(recipe.batch, AT_ONCE), scaling=recipe.scaling)):
        with torch.no_grad(), arithmetic(precision, device):
            found = task.predict(model, in_layout(batch, device, precision))
        columns = (found[name].tolist() for name in ("nothing", "span", "score", "probability"))
        for window, none, *best in zip(batch["index"].tolist(), *columns):
            number = windows.question[window]
            nothing[number] = min(nothing[number], none)  # of the window that most likely holds the answer
            for (first, last), score, probability in zip(*best):
                if score > -math.inf:
                    start, end = windows.characters(window, first, last)
                    text = windows.asked[number].context[start:end]
                    spans[number].append(Answer(text, start, end, score, probability))
    return [Reply(*three) for three in zip(windows.asked, map(_ranked, spans), nothing)]


def _ranked(spans: Sequence[Answer]) -> tuple[Answer, ...]:
    """The best first; of those with the same text the best alone."""
    found: dict[str, Answer] = {}
    for span in sorted(spans, key=lambda span: (-span.score, span.start, span.end)):
        if span.text:
            found.setdefault(span.text, span)
    return tuple(found.values())


# ------------------------------------------------------------------------------------------------------------ the rules


def plain(text: str) -> str:
    """Small letters, without punctuation (of ASCII), articles (of English) and extra spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact(answer: str, true: str) -> float:
    """1 where both say the same."""
    return float(plain(answer) == plain(true))


def f1(answer: str, true: str) -> float:
    """Twice the words that both have, as a share of the words of both."""
    said, wanted = plain(answer).split(), plain(true).split()
    if not said or not wanted:
        return float(said == wanted)
    return 2 * sum((Counter(said) & Counter(wanted)).values()) / (len(said) + len(wanted))


def rated(rule: Callable[[str, str], float], answer: str, question: Question) -> float:
    """By the best of the true answers; by silence, where there is none."""
    true = [text for text, _ in question.answers if plain(text)] or [""]
    return max(rule(answer, text) for text in true)


def scores(said: Mapping[str, str], asked: Sequence[Question]) -> dict[str, float]:
    """``exact`` and ``f1`` from 0 to 1 over ``total`` questions; where some have no answer, also those of both kinds apart.
    ``said``: an answer for each id."""
    rows = np.array([[rated(rule, said[q.id], q) for rule in (exact, f1)] for q in asked])
    has = np.array([bool(question.answers) for question in asked])
    kinds = {"": has | True} | ({} if has.all() else {"HasAns_": has, "NoAns_": ~has})
    found: dict[str, float] = {}
    for kind, which in kinds.items():
        if which.any():
            found |= {f"{kind}{name}": float(mean) for name, mean in zip(("exact", "f1"), rows[which].mean(0))}
            found[f"{kind}total"] = int(which.sum())
    return found


def best_threshold(said: Sequence[Reply]) -> float | None:
    """The gap above which saying nothing gives the highest F1 over all questions (Devlin et al. 2018, Sec. 4.3), half-way
    between those of two questions; None where every question has an answer."""
    ranked = sorted((reply for reply in said if reply.answers), key=lambda reply: reply.gap)
    if not ranked or all(reply.question.answers for reply in said):
        return None
    gaps = np.array([reply.gap for reply in ranked])
    gains = [rated(f1, reply.answers[0].text, reply.question) - (not reply.question.answers) for reply in ranked]
    total = np.concatenate([[0.0], np.cumsum(gains)])  # of answers to the first 0, 1, 2 … of them
    total[1:-1][gaps[1:] == gaps[:-1]] = -math.inf  # equal gaps cannot be told apart
    edges = np.concatenate([[gaps[0] - 1], (gaps[1:] + gaps[:-1]) / 2, [gaps[-1] + 1]])
    return float(edges[total.argmax()])


def threshold_of(folder: RunFolder) -> float | None:
    """What the run chose on its validation split; None where its data have an answer to every question."""
    path = folder.path / THRESHOLD
    return float(read_json(path)["threshold"]) if path.exists() else None


# --------------------------------------------------------------------------------------------------- eval, and the report


def evaluated(
    folder: RunFolder, file: str, said: Sequence[Reply], threshold: float | None
) -> tuple[dict[str, float], str]:
    """The scores, and how they were made; writes ``file``, {id: answer}, as SQuAD's own program reads it."""
    threshold = threshold_of(folder) if threshold is None else threshold
    asked = [reply.question for reply in said]
    found = {reply.question.id: reply.text(threshold) for reply in said}
    folder.write(file, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    numbers = scores(found, asked)
    many = f"{len(asked):,} questions, {sum(bool(question.answers) for question in asked):,} with an answer"
    how = "each is answered" if threshold is None else f"no answer above a threshold of {threshold:.4g}"
    return {name: value for name, value in numbers.items() if not name.endswith("total")}, f"{many} · {how}"


def of_questions(model: nn.Module, source: QuestionSource, recipe: Recipe, split: str) -> dict[str, float]:
    """``exact`` and ``f1`` of the questions of a split, with the threshold that is best for them."""
    said = replies(model, source, recipe, split)
    found = _with_threshold(said, best_threshold(said))
    return {name: found[name] for name in ("exact", "f1")}


def _with_threshold(said: Sequence[Reply], threshold: float | None) -> dict[str, float]:
    return scores({reply.question.id: reply.text(threshold) for reply in said}, [reply.question for reply in said])


def with_answers(report: Report, folder: RunFolder, model: nn.Module, plan: Plan, source: QuestionSource) -> Report:
    """The report with answers from the validation split; the threshold, where one is needed, is chosen and kept."""
    said = replies(model, source, plan.recipe, "val")
    threshold = best_threshold(said)
    if threshold is not None:
        folder.write_json(THRESHOLD, {"threshold": threshold})
    found = _with_threshold(said, threshold)
    shown = sorted((_shown(reply, threshold, source) for reply in said), key=lambda answered: -answered.probability)
    wrong = [answered for answered in shown if not answered.right][:WRONG]
    right = [answered for answered in shown if answered.right][:RIGHT]
    told = (("exact match", share(found["exact"])), ("F1 of answers", share(found["f1"])))
    return replace(report, headline=(*report.headline, *told), answered=(*wrong, *right))


def _shown(reply: Reply, threshold: float | None, source: QuestionSource) -> Answered:
    question, answer = reply.question, reply.given(threshold)
    said, place = reply.text(threshold), source.windows["val"].rows.place
    true = next(((start, start + len(text)) for text, start in question.answers), None)
    marks = {"said": (answer.start, answer.end) if answer else None, "true": true}
    return Answered(
        question.text,
        _parts(question.context, {name: span for name, span in marks.items() if span}),
        said,
        question.answers[0][0] if question.answers else "",
        bool(rated(exact, said, question)),
        answer.probability if answer else 0.0,
        f"{place}:{question.id}",
    )


def _parts(context: str, marks: Mapping[str, tuple[int, int]]) -> tuple[tuple[str, str], ...]:
    """The context around the marks, in parts that stand end to end, each with the mark it has. Where a part has both, it is
    "said"."""
    first = max(0, min((start for start, _ in marks.values()), default=0) - ROOM)
    last = min(len(context), max((end for _, end in marks.values()), default=0) + ROOM)
    cuts = sorted({first, last, *(place for span in marks.values() for place in span)})
    parts = [("…" if first else "", "")]
    for start, end in itertools.pairwise(cuts):
        name = next((name for name, (begin, stop) in marks.items() if begin <= start and end <= stop), "")
        joined = parts.pop()[0] if parts[-1][1] == name else ""
        parts.append((joined + context[start:end], name))
    return (*parts, *([("…", "")] if last < len(context) else []))


# ------------------------------------------------------------------------------------------------------------- predict


@dataclass(frozen=True)
class Asked:
    """What ``seminal predict`` was asked: files of SQuAD's form, or a question and its context (or the name of a file)."""

    files: Sequence[str] = ()
    question: str | None = None
    context: str | None = None
    threshold: float | None = None
    top: int = 3
    as_json: bool = False


def tell(folder: RunFolder, plan: Plan, ask: Asked) -> int:
    """The answers: each in its context, or a line for each question of a file."""
    encoder, device = encoder_of(folder), device_for(plan.run.device)
    assert isinstance(encoder, QuestionEncoder)
    parts = dict(_asked(ask))
    source = source_of("questions", parts, encoder, str(device))
    asked = [question.text for part in parts.values() for question in part.asked]
    cut = sum(len(tokens) > encoder.room for tokens in encoder.text.encode(asked))
    if cut:
        said = f"{cut:,} questions are" if cut > 1 else "the question is"
        say("note", f"{said} cut: this run reads the first {encoder.room} tokens", out=console(sys.stderr))
    model = best_model(folder, plan, device)
    threshold = threshold_of(folder) if ask.threshold is None else ask.threshold
    for split in parts:
        for reply in replies(model, source, plan.recipe, split):
            if ask.as_json:
                print(json.dumps(_as_json(reply, threshold, ask.top), ensure_ascii=False))
            elif ask.question is None:
                print(f"{reply.question.id}  {_line(reply.given(threshold))}")
            else:
                _show(reply, threshold, ask.top)
    return 0


def _asked(ask: Asked) -> Iterator[tuple[str, Questions]]:
    if (ask.question is None) != (ask.context is None) or (ask.question is None) == (not ask.files):
        raise UserError(
            "this run answers questions on texts: write --question and --context (a text, or the name of a file with it), or "
            "give a file of SQuAD's form."
        )
    for name in ask.files:
        if bare(Path(name)).suffix.lower() not in ENDINGS or not Path(name).is_file():
            raise UserError(f"{name} is no file of SQuAD's form (.json): for a single question write --question.")
        yield name, questions_in(Path(name), "refuse", [], answered=False)
    if ask.question is not None and ask.context is not None:
        file = file_called(clean(ask.context, "--context"))
        context = text_of(file).strip() if file else ask.context
        clean(ask.question, "--question")
        if not ask.question.strip() or not context.strip():
            raise UserError("a question and a text with words are needed: --question and --context hold nothing.")
        yield ALL, Questions([Question("", ask.question, context)], "")


def _as_json(reply: Reply, threshold: float | None, top: int) -> dict[str, object]:
    name = {"id": reply.question.id} if reply.question.id else {}
    best = [vars(answer) for answer in reply.answers[:top]]
    return {
        **name,
        "question": reply.question.text,
        "answer": reply.text(threshold),
        "no_answer": reply.gap if reply.answers else None,
        "best": best,
    }


def _line(answer: Answer | None) -> str:
    return f"{answer.text}  {share(answer.probability)}" if answer else "–"


def _show(reply: Reply, threshold: float | None, top: int) -> None:
    answer, context = reply.given(threshold), reply.question.context
    say("question", reply.question.text)
    say("answer", _line(answer) if answer else "the text does not say")
    if answer:
        first, last = max(0, answer.start - ROOM), min(len(context), answer.end + ROOM)
        before, after = "…" * (first > 0), "…" * (last < len(context))
        marked(before + context[first : answer.start], answer.text, context[answer.end : last] + after)
    for place, other in enumerate(reply.answers[1 if answer else 0 : top]):
        say("" if place else "or", _line(other))
