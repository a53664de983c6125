"""Texts with a label for each word: a word on each line, its label in the last column, an empty line between sentences.

This is the form of CoNLL's shared tasks (``-DOCSTART-`` lines are left out). Files that end in ``.conllu`` (Universal
Dependencies) have words in the second column and parts of speech in the fourth. The user may name another column of labels:
by its number, counted from 1, or by its name in CoNLL-U. A folder holds ``train.…``, ``val.…`` and
any test sets; ``.gz`` may follow. See `seminal.data.text_rows` for batches.

A token stands for each word; where texts are framed (`Reading.framed`) words are cut into pieces, and what is to be said of
a word is said at its first piece. Words beyond the length that a model reads are not in ``input`` and ``target``; a batch has
their classes as ``unread`` (rows, U), −100 where a row has fewer, so that a score counts them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from seminal.core import Batch, Reading, UserError
from seminal.data import lines as text_lines
from seminal.data.split import Holdout
from seminal.data.text_rows import (
    TextAsk,
    TextRows,
    TextSource,
    cut_note,
    divided,
    files_in,
    framed,
    kinds,
    learned_from,
    places,
    read_rows,
    spec_of,
    spelled,
    unknown_note,
)
from seminal.data.token_store import stored
from seminal.data.vocabulary import Vocabulary, counted, learned

ENDINGS = (".conll", ".conll2003", ".bio", ".iob", ".iob2", ".bioes", ".conllu", ".txt", ".tsv")
DOCUMENT = "-DOCSTART-"
UNIVERSAL = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")  # columns of CoNLL-U
FRAME = 2  # tokens around a framed text
WITHIN = "\N{NO-BREAK SPACE}"  # in place of a space within a word, where words stand between spaces
LEAST = 2  # words that training shows less often are unknown, so that an unknown word is nothing new to the model


@dataclass(frozen=True)
class TaggedEncoder:
    """How a sentence becomes tokens: its words are what stands between spaces. Plain text: a run keeps it as JSON."""

    text: Vocabulary
    longest: int
    framed: bool = False  # see `Reading.framed`

    def encode(self, inputs: list[str], batch: int) -> Iterator[tuple[list[str], Batch]]:
        """Sentences in their order, at most ``batch`` at once: ``input`` (rows, S), ``first`` (rows, S): whether a token is
        the first of its word, ``index`` (rows,)."""
        for start in range(0, len(inputs), batch):
            some = inputs[start : start + batch]
            rows, firsts, _ = self.rows([line.split() for line in some])
            index = np.arange(len(some))
            marks = stored([firsts]).padded(index).bool()
            yield (
                some,
                {"input": stored([rows]).padded(index), "first": marks, "index": torch.from_numpy(index + start)},
            )

    def lengths(self, inputs: list[str]) -> list[int]:
        """Tokens of each sentence, if nothing is cut."""
        return self.rows([line.split() for line in inputs])[2]

    def rows(self, sentences: Sequence[Sequence[str]]) -> tuple[list[list[int]], list[list[int]], list[int]]:
        """Of each sentence: the tokens that a model reads; 1 at the first token of each word, 0 at others; how many tokens
        there would be if nothing were cut. A sentence that is too long is cut between two words."""
        if not self.framed:
            ids = [self.text.ids(words) for words in sentences]
            rows = read_rows(ids, self.longest)
            return rows, [[1] * len(row) for row in rows], [len(row) for row in ids]
        pieces = iter(self.text.word_pieces([word for words in sentences for word in words]))
        rows, firsts, whole = [], [], []
        for words in sentences:
            mine = [next(pieces) for _ in words]
            ends = np.cumsum([len(word) for word in mine])
            kept = mine[: max(1, int((ends <= self.longest - FRAME).sum()))]
            rows.append(framed(self.longest, [token for word in kept for token in word]))
            marks = [0, *(int(not place) for word in kept for place in range(len(word)))]
            firsts.append([*marks[: self.longest - 1], 0])
            whole.append(int(ends[-1]) + FRAME)
        return rows, firsts, whole


@dataclass(frozen=True)
class Sentences:
    """One split as text."""

    words: Sequence[Sequence[str]]
    labels: Sequence[Sequence[str]]
    numbers: np.ndarray  # the line of each first word, counted from 1
    place: str

    def kept(self, rows: np.ndarray) -> Sentences:
        """Only some of the sentences."""
        words, labels = [self.words[i] for i in rows], [self.labels[i] for i in rows]
        return Sentences(words, labels, self.numbers[rows], self.place)


def read(path: Path, reading: Reading, ask: TextAsk, device: str = "cpu") -> TextSource:
    """The sentences of a file, or of a folder of files.

    Raises `UserError`: a line has no label or too few columns (unless bad sentences are skipped), or there is only one
    label.
    """
    notes: list[str] = []
    known, files = ask.known, files_in(path, ENDINGS, ask.known)
    parts = {split: _sentences(file, ask, notes) for split, file in files.items()}
    if "val" not in parts and not (known and known.whole):
        marks = (ask.split or Holdout(0.1)).assign(np.zeros(len(parts["train"].words)), stratify=False)
        parts = divided(parts, marks, "sentences", notes)
    classes = _known_classes(parts, known.classes) if known and known.classes else _classes(parts, notes)
    encoder = _encoder(parts, reading, ask)
    called = places(parts)
    rows = {split: _encoded(encoder, part, classes, called[split], notes) for split, part in parts.items()}
    shown = rows.get("val") or next(iter(rows.values()))
    notes += unknown_note(shown.place, encoder.text, shown.tokens.flat)
    if reading.framed:
        notes.append(f"{encoder.text.kind}: {len(encoder.text):,} tokens, {learned_from(known)}; a label for each word")
    else:
        chosen = "the run's own" if known else f"those that the training split shows {LEAST} times or more"
        notes.append(f"words: {len(encoder.text):,} tokens, {chosen}; a token for each")
    spelling = spelled(reading, encoder.text)
    spec = spec_of(text_lines.title(path), "tagged", rows, encoder.text, classes, notes, spelling)
    return TextSource(spec, encoder, rows, device)


def _encoder(parts: Mapping[str, Sentences], reading: Reading, ask: TextAsk) -> TaggedEncoder:
    if ask.known is not None:
        return TaggedEncoder(ask.known.words.text, ask.known.words.longest, reading.framed)
    size, exactly = ask.vocabulary or reading.vocabulary, ask.vocabulary is not None
    if reading.framed:
        lines = (" ".join(words) for words in parts["train"].words)
        text = learned(lines, reading.tokens, size, exactly=exactly, masked=True)
        return TaggedEncoder(text, reading.longest, framed=True)
    return TaggedEncoder(counted(parts["train"].words, "words", size, exactly=exactly, least=LEAST), reading.longest)


def _encoded(
    encoder: TaggedEncoder, part: Sentences, classes: Sequence[str], called: str, notes: list[str]
) -> TextRows:
    rows, firsts, lengths = encoder.rows(part.words)
    notes += cut_note(called, np.array(lengths), encoder.longest, "sentences")
    code = {name: number for number, name in enumerate(classes, 1)}  # 0: nothing is said
    targets, unread = [], []
    for marks, labels in zip(firsts, part.labels):
        said = iter(labels)
        targets.append([code[next(said)] if mark else 0 for mark in marks])
        unread.append([code[label] for label in said])
    cut = sum(map(len, unread))
    if cut:
        notes.append(
            f"{cut:,} of the {sum(map(len, part.labels)):,} words of {called} are beyond that: scores count them as wrong, "
            "and spans with such words as not found"
        )
    texts = [" ".join(word.replace(" ", WITHIN) for word in words) for words in part.words]
    beyond = stored([unread]) if cut else None
    return TextRows(texts, part.place, part.numbers, stored([rows]), stored([targets]), unread=beyond)


def _classes(parts: Mapping[str, Sentences], notes: list[str]) -> list[str]:
    """All labels, sorted. Those that training does not show keep their place, so that missing them is counted."""
    named = {split: {label for labels in part.labels for label in labels} for split, part in parts.items()}
    if len(named["train"]) == 1:
        raise UserError(
            f"every word of {parts['train'].place} has the label `{named['train'].pop()}`: at least 2 labels are needed. "
            "Is the label in the last column?"
        )
    for split, part in parts.items():
        if strange := sorted(named[split] - named["train"]):
            notes.append(f"{part.place} has labels that training does not show: {', '.join(strange[:5])}")
    return sorted(set().union(*named.values()))


def _known_classes(parts: Mapping[str, Sentences], classes: Sequence[str]) -> list[str]:
    """The run's own, of which every label must be one."""
    for part in parts.values():
        for number, labels in zip(part.numbers, part.labels):
            if strange := next((label for label in labels if label not in classes), None):
                raise UserError(
                    f"{part.place}, in the sentence from line {number} on, has the label `{strange}`, which the run never "
                    f"saw: it knows {', '.join(classes[:5])}{' …' if len(classes) > 5 else ''}."
                )
    return list(classes)


# ------------------------------------------------------------------------------------------------------------ the files


def _sentences(path: Path, ask: TextAsk, notes: list[str]) -> Sentences:
    """The sentences of a file that are whole; the others are refused or told."""
    on_bad_row = ask.on_bad_row
    words: list[list[str]] = []
    labels: list[list[str]] = []
    numbers: list[int] = []
    bad: list[tuple[int, str]] = []
    universal = text_lines.bare(path).suffix.lower() == ".conllu"
    width = 0
    for number, sentence in _blocks(path):
        rows = _universal(sentence, _place(path, ask.target or "UPOS", 10, UNIVERSAL)) if universal else sentence
        width = width or (len(rows[0]) if rows else 0)
        counts = [len(cells) if cells[-1] else 1 for cells in rows]  # a tab with nothing behind it brings no label
        wrong = next(((n, count) for n, count in enumerate(counts) if count != width or count < 2), None)
        if wrong:
            bad.append((number + wrong[0], _wrong(wrong[1], width)))
        elif rows:
            label = -1 if universal or ask.target is None else _place(path, ask.target, width, ())
            words.append([cells[0] for cells in rows])
            labels.append([cells[label] for cells in rows])
            numbers.append(number)
    if bad and (on_bad_row == "refuse" or not words):
        more = f" (and {len(bad) - 1} more sentences are bad)" if len(bad) > 1 else ""
        raise UserError(
            f"{path.name}, line {bad[0][0]} has {bad[0][1]}{more}: write a word and its label on each line, or leave such "
            "sentences out with --on-bad-row skip."
        )
    if bad:
        notes.append(
            f"{len(bad):,} sentences of {path.name} left out: {kinds([(f'line {n}', f'has {why}') for n, why in bad])}"
        )
    if not words:
        raise UserError(f"{path.name} has no sentence: it should hold a word and its label on each line.")
    return Sentences(words, labels, np.array(numbers), path.name)


def sentences_in(path: Path) -> list[str]:
    """The words of each sentence with spaces between: labels may stand beside them, and are not read."""
    universal = text_lines.bare(path).suffix.lower() == ".conllu"
    blocks = (_universal(block, 1) if universal else block for _, block in _blocks(path))
    return [" ".join(cells[0].replace(" ", WITHIN) for cells in rows) for rows in blocks if rows]


def _blocks(path: Path) -> Iterator[tuple[int, list[list[str]]]]:
    """What stands between empty lines, as cells, with the line of its first row."""
    block: list[list[str]] = []
    first = 0
    for number, line in enumerate(text_lines.lines(path), 1):
        cells = [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()
        if any(cells) and cells[0] != DOCUMENT:
            first = first if block else number
            block.append(cells)
        elif block:
            yield first, block
            block = []
    if block:
        yield first, block


def _place(path: Path, target: str, width: int, names: Sequence[str]) -> int:
    """The column of labels that the user asks for, by its number or by one of the names."""
    first = 2 if names else 1  # behind the words
    if target.upper() in names[first:]:
        return names.index(target.upper())
    if target.isdecimal() and first < int(target) <= width:
        return int(target) - 1
    known = f", or by its name ({', '.join(names[first:])})" if names else ""
    usual = "the fourth, UPOS" if names else "the last"
    raise UserError(
        f"--target {target} is no column of labels of {path.name}, which has {width} columns. Name it by its number, from "
        f"{first + 1} to {width}{known}; without --target {usual} is read."
    )


def _universal(block: list[list[str]], place: int) -> list[list[str]]:
    """Words and labels (parts of speech, where the user asks for no other column) of a sentence in CoNLL-U: without
    comments, and without words that span or stand between others."""
    rows = [cells for cells in block if not cells[0].startswith("#")]
    return [[cells[1], cells[place]] if len(cells) == 10 else cells[:1] for cells in rows if cells[0].isdecimal()]


def _wrong(found: int, width: int) -> str:
    if found < 2:
        return "a word without a label"
    return f"{found} columns where the lines before have {width}"
