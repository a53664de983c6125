"""Questions whose answers stand in a text: SQuAD's JSON, versions 1.1 and 2.0 (Rajpurkar et al. 2016, 2018).

``data`` → ``paragraphs`` → ``context`` and ``qas`` → ``id``, ``question``, ``answers`` (``text``, ``answer_start``) and
``is_impossible``. A folder holds ``train….json``, ``dev….json`` and any test sets; ``.gz`` may follow.

A row is a window: ``<s> question </s> part of the context </s>``. A context that is too long for one is read in several
that overlap. ``target`` (rows, 2): the first and the last place of the answer, (0, 0) where the window does not hold it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seminal.core import Batch, DataSpec, Reading, UserError
from seminal.data import lines as text_lines
from seminal.data.split import Fold, Holdout
from seminal.data.text_rows import (
    CHUNK,
    Known,
    TextAsk,
    TextRows,
    TextSource,
    cut_note,
    divided,
    files_in,
    kinds,
    learned_from,
    places,
    spec_of,
    unknown_note,
)
from seminal.data.token_store import stored
from seminal.data.vocabulary import Vocabulary, learned
from seminal.pieces.tokens import BEGIN, END

ENDINGS = (".json",)
# From `run_squad.py`, the program that the authors of BERT published: doc_stride and max_query_length. Its windows of 384
# tokens (max_seq_length) are the reader's `longest` here.
STRIDE = 128  # tokens from the beginning of a window to that of the next
ASKED = 64  # tokens of a question, at most
LEAST = 16  # tokens of a window; in fewer a question says nothing


@dataclass(frozen=True)
class Question:
    """What is asked of a context, and the true answers: (text, place of its first character). None is true where the
    context does not say it."""

    id: str
    text: str
    context: str
    answers: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Questions:
    """One split as text."""

    asked: Sequence[Question]
    place: str  # the file, for messages

    def kept(self, rows: np.ndarray) -> Questions:
        """Only some of the questions."""
        return replace(self, asked=[self.asked[row] for row in rows])


@dataclass(frozen=True)
class QuestionEncoder:
    """How a question and its context become windows. Plain text: a run keeps it as JSON."""

    text: Vocabulary
    longest: int

    def encode(self, inputs: list[str], batch: int) -> Iterator[tuple[list[str], Batch]]:
        """A question and its context with a tab between them, each in as many rows as it has windows."""
        pairs = (line.partition("\t") for line in inputs)
        windows = windows_of(self, Questions([Question("", asked, context) for asked, _, context in pairs], ""))
        for start in range(0, len(windows.question), batch):
            rows = np.arange(start, min(start + batch, len(windows.question)))
            names = [inputs[windows.question[row]] for row in rows]
            yield names, {"input": windows.rows.tokens.padded(rows), "index": torch.from_numpy(rows)}

    @property
    def room(self) -> int:
        """Tokens of a question that are read: in a short window, no more than half of it."""
        return min(ASKED, (self.longest - 3) // 2)

    def cut(self, question: Sequence[int], context: Sequence[int]) -> Iterator[tuple[list[int], int, int]]:
        """Each window, the place where its part of the context begins, and with which token of the context it begins."""
        head = [BEGIN, *question[: self.room], END]
        room = self.longest - len(head) - 1
        stride = STRIDE if room >= 2 * STRIDE else max(1, room // 3)
        for start in range(0, max(1, len(context) - room + stride), stride):
            yield [*head, *context[start : start + room], END], len(head), start


@dataclass(frozen=True, eq=False)
class Windows:
    """One split in windows, and the way back from a place in a window to the characters of the context."""

    asked: Sequence[Question]
    question: np.ndarray  # (windows,) which of them
    shift: np.ndarray  # (windows,) at place p stands token p + shift of the context
    places: Sequence[
        np.ndarray
    ]  # for each question (tokens of the context, 2): first character, and the one after the last
    rows: TextRows

    def characters(self, window: int, first: int, last: int) -> tuple[int, int]:
        """The characters of the context from place ``first`` of a window to ``last``: the first, and the one after the
        last. Spaces around them are left out; some tokenisers have them in their tokens."""
        number, shift = self.question[window], self.shift[window]
        start, end = int(self.places[number][first + shift, 0]), int(self.places[number][last + shift, 1])
        text = self.asked[number].context[start:end]
        return end - len(text.lstrip()), start + len(text.rstrip())


class QuestionSource(TextSource):
    """The windows as batches, and the questions behind them."""

    def __init__(self, spec: DataSpec, encoder: QuestionEncoder, windows: Mapping[str, Windows], device: str) -> None:
        super().__init__(spec, encoder, {split: part.rows for split, part in windows.items()}, device)
        self.windows = windows


def read(path: Path, reading: Reading, ask: TextAsk, device: str = "cpu") -> QuestionSource:
    """The questions of a file, or of a folder of files. Of a file, some contexts are held out for validation with all
    their questions, so that none is on both sides.

    Raises `UserError`: the file is not of SQuAD's form, or a question is broken (unless bad ones are skipped): its context
    is empty, or an answer is not where it is said to be.
    """
    notes: list[str] = []
    known, files = ask.known, files_in(path, ENDINGS, ask.known)
    parts = {split: questions_in(file, ask.on_bad_row, notes) for split, file in files.items()}
    if "val" not in parts and not (known and known.whole):
        marks = _by_context(parts["train"], ask.split or Holdout(0.1))
        parts = divided(parts, marks, "questions (with their texts)", notes)
    encoder = _encoder(parts, reading, ask)
    return source_of(text_lines.title(path), parts, encoder, device, [*notes, _learned(encoder, known)])


def source_of(
    name: str, parts: Mapping[str, Questions], encoder: QuestionEncoder, device: str, notes: Sequence[str] = ()
) -> QuestionSource:
    """Questions as a source of batches; what was done to them is added to ``notes``."""
    windows = {split: windows_of(encoder, part) for split, part in parts.items()}
    rows = {split: part.rows for split, part in windows.items()}
    called = places(parts)
    told = [note for split in parts for note in _notes(encoder, parts[split], windows[split], called[split])]
    shown = rows.get("val") or next(iter(rows.values()))
    told += unknown_note(shown.place, encoder.text, shown.tokens.flat)
    spec = spec_of(name, "questions", rows, encoder.text, (), [*notes, *told])
    return QuestionSource(spec, encoder, windows, device)


def _by_context(part: Questions, split: Holdout | Fold) -> np.ndarray:
    """ "train" or "val" for each question, the same for all of one context."""
    number: dict[str, int] = {}
    rows = [number.setdefault(question.context, len(number)) for question in part.asked]
    if len(number) < 2:
        raise UserError(
            f"{part.place} asks about one text alone, and what is asked in validation should be of another: give more texts, "
            "or a folder with train.json and val.json."
        )
    marks: np.ndarray = split.assign(np.zeros(len(number)), stratify=False)[rows]
    return marks


def _encoder(parts: Mapping[str, Questions], reading: Reading, ask: TextAsk) -> QuestionEncoder:
    longest = ask.known.words.longest if ask.known else reading.longest
    if longest < LEAST:
        raise UserError(
            f"{longest} tokens have no room for a question and a text: write --max-length {LEAST}, or more."
        )
    if ask.known:
        return QuestionEncoder(ask.known.words.text, longest)
    train = parts["train"].asked
    texts = [*dict.fromkeys(question.context for question in train), *(question.text for question in train)]
    size, exactly = ask.vocabulary or reading.vocabulary, ask.vocabulary is not None
    return QuestionEncoder(learned(texts, reading.tokens, size, exactly=exactly, masked=True), longest)


def _learned(encoder: QuestionEncoder, known: Known | None) -> str:
    return f"{encoder.text.kind}: {len(encoder.text):,} tokens, {learned_from(known)}"


# ---------------------------------------------------------------------------------------------------------- the windows


def windows_of(encoder: QuestionEncoder, part: Questions) -> Windows:
    """The windows of all questions, in their order."""
    contexts = list(dict.fromkeys(question.context for question in part.asked))
    tokens = dict(zip(contexts, encoder.text.encode(contexts)))
    places = {text: np.array(encoder.text.places(text), dtype=np.int32).reshape(-1, 2) for text in contexts}
    answers = [_tokens_of(question, places[question.context]) for question in part.asked]
    number: list[int] = []
    shifts: list[int] = []
    targets: list[tuple[int, int]] = []

    def chunks() -> Iterator[list[list[int]]]:
        for start in range(0, len(part.asked), CHUNK):
            rows = []
            some = part.asked[start : start + CHUNK]
            for row, head in enumerate(encoder.text.encode([question.text for question in some]), start):
                first, last = answers[row]
                for window, begins, token in encoder.cut(head, tokens[part.asked[row].context]):
                    shift = token - begins
                    within = begins <= first - shift and last - shift < len(window) - 1
                    rows.append(window)
                    number.append(row)
                    shifts.append(shift)
                    targets.append((first - shift, last - shift) if within else (0, 0))
            yield rows

    store = stored(chunks())
    texts, ids = [part.asked[row].text for row in number], np.array([part.asked[row].id for row in number])
    # Only the first answer is learned from; scores know them all.
    answered = repr([question.answers for question in part.asked])
    rows = TextRows(texts, part.place, ids, store, np.array(targets, dtype=np.int64), beside=answered)
    by_question = [places[question.context] for question in part.asked]
    return Windows(part.asked, np.array(number), np.array(shifts), by_question, rows)


def _tokens_of(question: Question, places: np.ndarray) -> tuple[int, int]:
    """The first and the last token of the context that hold a character of the first answer; (−1, −1) where none does."""
    if not question.answers:
        return -1, -1
    text, start = question.answers[0]
    inside = np.flatnonzero((places[:, 0] < start + len(text)) & (places[:, 1] > start))
    return (int(inside[0]), int(inside[-1])) if len(inside) else (-1, -1)


def _notes(encoder: QuestionEncoder, part: Questions, windows: Windows, called: str) -> Iterator[str]:
    count = len(windows.question)
    yield f"{called}: {len(part.asked):,} questions in {count:,} windows of up to {encoder.longest} tokens"
    lengths = np.array([len(row) for row in encoder.text.encode([question.text for question in part.asked])])
    yield from cut_note(called, lengths, encoder.room, "questions")
    last = windows.rows.target(np.arange(len(windows.question)))[:, 1].numpy()
    held = set(windows.question[last > 0].tolist())
    lost = sum(bool(question.answers) and row not in held for row, question in enumerate(part.asked))
    if lost:
        yield f"{lost:,} answers of {called} are too long for any window (--max-length)"


# ------------------------------------------------------------------------------------------------------------- the file


def questions_in(path: Path, on_bad_row: str, notes: list[str], *, answered: bool = True) -> Questions:
    """The questions of a file that are whole; the others are refused or told. ``answered``: each must have an answer, or be
    marked as impossible; otherwise what is said of answers is not read."""
    good: dict[str, Question] = {}
    bad: list[tuple[str, str]] = []
    try:
        found = list(_found(json.loads(text_lines.text(path)), answered))
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        told = f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(
            f"{path.name} is not of SQuAD's form ({told}): it should hold data → paragraphs → context and qas → id, "
            "question and answers."
        ) from None
    for question, possible in found:
        wrong = _wrong(question, possible) if question.id not in good else "has the id of another one"
        if wrong:
            bad.append((question.id, wrong))
        else:
            good[question.id] = question
    if bad and (on_bad_row == "refuse" or not good):
        more = f" (and {len(bad) - 1} more are bad)" if len(bad) > 1 else ""
        skip = ", or leave such questions out with --on-bad-row skip" if answered else ""  # which `predict` has not
        raise UserError(f"{path.name}, question `{bad[0][0]}` {bad[0][1]}{more}: mend it{skip}.")
    if bad:
        notes.append(f"{len(bad):,} questions of {path.name} left out: {kinds([(f'`{id}`', why) for id, why in bad])}")
    if not good:
        raise UserError(f"{path.name} asks nothing: is it the right file?")
    return Questions(list(good.values()), path.name)


def _found(squad: Any, answered: bool) -> Iterator[tuple[Question, bool]]:
    """Each question, and whether it must have an answer."""
    for article in squad["data"]:
        for paragraph in article["paragraphs"]:
            context = _text(paragraph, "context")
            for asked in paragraph["qas"]:
                possible = answered and not asked.get("is_impossible", False)
                answers = asked.get("answers", ()) if possible else ()
                pairs = tuple((_text(answer, "text"), int(answer["answer_start"])) for answer in answers)
                yield Question(str(asked["id"]), _text(asked, "question"), context, pairs), possible


def _text(part: Mapping[str, Any], name: str) -> str:
    if not isinstance(part[name], str):
        raise TypeError(f"a `{name}` is no text")
    return str(part[name])


def _wrong(question: Question, possible: bool) -> str:
    """What is wrong with a question; empty where nothing is."""
    if not question.context.strip():
        return "has an empty context"
    if not question.text.strip():
        return "asks nothing"
    if possible and not question.answers:
        return 'has no answer, and is not marked with "is_impossible": true'
    for text, start in question.answers:
        if not text.strip():
            return "has an empty answer"
        there = question.context[start : start + len(text)] if start >= 0 else ""
        if there != text:
            stands = f"“{there}” stands there" if there else "its context ends before"
            return f"has the answer “{text}” at character {start}, and {stands}"
    return ""
