"""Texts with something to be said of each: what labelled and tagged text have in common, and how a folder names its parts.

A batch holds ``input`` (rows, S), ``target`` (rows,) or (rows, S), and ``index``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from seminal.core import Batch, DataSpec, Encoder, Order, Reading, UserError
from seminal.data import lines as text_lines
from seminal.data.split import Fold, Holdout
from seminal.data.token_batches import Epochs
from seminal.data.token_store import TokenStore, digest
from seminal.data.vocabulary import SPACE, Vocabulary
from seminal.pieces.tokens import BEGIN, END, NOTHING, UNKNOWN

ALL = "all"  # what the one split is called where nobody names any
CHUNK = 10_000  # texts encoded at once
KINDS = 4  # of bad rows that are told
COUNTED = 1 << 22  # tokens looked at at once: there may be more than memory holds
_SPLIT = {"train": r"train(ing)?", "val": r"val|valid|((validation|dev)(_matched)?)"}
_OTHER = re.compile(r"test.*|(validation|dev)_mismatched", re.IGNORECASE)  # of MultiNLI, which has two to validate on


def split_of(stem: str) -> str:
    """The split that a file's name tells, without its endings: "train", "val", "test_2016"; "" where it tells none. A name
    before a dot is left out: ``wiki.train`` is a training set. So is a version after it: ``dev-v1.1``."""
    last = re.sub(r"-v\d+(\.\d+)*$", "", stem).rpartition(".")[2]
    for split, pattern in _SPLIT.items():
        if re.fullmatch(pattern, last, re.IGNORECASE):
            return split
    return last if _OTHER.fullmatch(last) else ""


class TextEncoder(Encoder, Protocol):
    """An encoder with one vocabulary. Of framed texts any will do where another form of text is to be learned."""

    @property
    def text(self) -> Vocabulary: ...

    @property
    def longest(self) -> int: ...


@dataclass(frozen=True)
class Known:
    """What a run knows already, by which other text is read: to score it, or to go on learning from it."""

    encoder: Encoder  # nothing is learned from the text: it is cut into tokens as the run cuts its own
    classes: tuple[str, ...] = ()  # in the run's order; empty: those of the text
    whole: bool = False  # to be scored: nothing is held out, and no training set is needed
    mean: tuple[float, ...] = ()  # the run's, of numbers that are to be said
    std: tuple[float, ...] = ()

    @property
    def words(self) -> TextEncoder:
        """The vocabulary and the length of texts."""
        return cast(TextEncoder, self.encoder)


@dataclass(frozen=True)
class TextAsk:
    """What the user said of texts whose columns need no names."""

    split: Holdout | Fold | None = None
    vocabulary: int | None = None  # tokens, exactly
    on_bad_row: str = "refuse"
    known: Known | None = None
    target: str | None = None  # the column of the labels, where the usual one is not meant


def files_in(path: Path, endings: Sequence[str], known: Known | None) -> dict[str, Path]:
    """The file of each split: of a folder as `splits` finds them; a single file trains, or is scored as a whole."""
    whole = known is not None and known.whole
    if path.is_dir():
        return splits(path, endings, whole=whole)
    return {ALL if whole else "train": path}


def splits(folder: Path, endings: Sequence[str], *, whole: bool = False) -> dict[str, Path]:
    """The file of each split in a folder: train first, then val where there is one, then any test sets. ``whole``: any of
    them will do."""
    found = _named(folder, endings)
    if not found if whole else "train" not in found:  # msr_paraphrase_train.txt, where no file is called train
        found = _named(folder, endings, before="_") or found
    if not found and whole:
        raise UserError(
            f"{folder} holds no text to score: name a file test{endings[0]} (or with {', '.join(endings[1:])}; .gz may "
            "follow), or give the file itself."
        )
    if "train" not in found and not whole:
        have = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "nothing"
        raise UserError(
            f"{folder} has no training set; it holds {have}. Name the files train{endings[0]}, val{endings[0]} and "
            f"test{endings[0]} (or with {', '.join(endings[1:])}; .gz may follow)."
        )
    return dict(sorted(found.items(), key=lambda item: ({"train": 0, "val": 1}.get(item[0], 2), item[0])))


def _named(folder: Path, endings: Sequence[str], before: str = "") -> dict[str, Path]:
    """The file of each split, as names tell it; what stands ``before`` the last such sign is left out."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        name = text_lines.bare(file)
        split = split_of(name.stem.rpartition(before)[2] if before else name.stem)
        if name.suffix.lower() not in endings or not file.is_file() or not split:
            continue
        if split in found:
            raise UserError(f"{folder} has more than one {split} set: keep {found[split].name} or {file.name}.")
        found[split] = file
    return found


class Split(Protocol):
    """One split as text, whatever is said of it."""

    @property
    def place(self) -> str: ...

    def kept(self, rows: np.ndarray) -> Self:
        """Only some of the rows."""


AnySplit = TypeVar("AnySplit", bound=Split)


def divided(parts: Mapping[str, AnySplit], marks: np.ndarray, what: str, notes: list[str]) -> dict[str, AnySplit]:
    """Train and val out of the training set, as ``marks`` (rows,) name one of them for each row; then the test sets."""
    held = {mark: parts["train"].kept(np.flatnonzero(marks == mark)) for mark in ("train", "val")}
    notes.append(f"split made here: {(marks == 'val').sum():,} of {len(marks):,} {what} held out for validation")
    return held | {split: part for split, part in parts.items() if split != "train"}


def places(parts: Mapping[str, AnySplit]) -> dict[str, str]:
    """What notes call each split: its file, with its own name behind where a file holds several."""
    files = Counter(part.place for part in parts.values())
    named = {split: f" ({split})" if files[part.place] > 1 else "" for split, part in parts.items()}
    return {split: part.place + named[split] for split, part in parts.items()}


def kinds(bad: Sequence[tuple[str, str]]) -> str:
    """ "line 3 has no text (and 2 more), line 8 has no label": what is wrong with rows (which, what), each kind with the
    first of it."""
    counts = Counter(what for _, what in bad)
    firsts = {what: which for which, what in reversed(bad)}
    told = [
        f"{firsts[what]} {what}" + (f" (and {count - 1} more)" if count > 1 else "") for what, count in counts.items()
    ]
    return ", ".join(told[:KINDS]) + (f" and {len(told) - KINDS} kinds more" if len(told) > KINDS else "")


@dataclass(frozen=True, eq=False)
class TextRows:
    """One split: texts as they are shown, as tokens, and what is to be said of them."""

    texts: Sequence[str]
    place: str  # the file, for messages
    numbers: np.ndarray  # the line of each text, counted from 1
    tokens: TokenStore
    targets: np.ndarray | TokenStore  # a class or a number for each text; or a class for each token, counted from 1
    choices: int = 1  # rows of ``tokens`` that belong to one text
    beside: str = ""  # what is true of the texts, and in none of the above
    unread: TokenStore | None = None  # the classes of words that were cut off, counted from 1; None: nothing was

    @property
    def lengths(self) -> np.ndarray:
        """(texts,) int64: tokens of each, padding between its choices included."""
        return self.choices * self.tokens.lengths.reshape(-1, self.choices).max(1)

    def input(self, rows: np.ndarray) -> Tensor:
        """(rows, S) int64, or (rows, choices, S)."""
        if self.choices == 1:
            return self.tokens.padded(rows)
        each = (rows[:, None] * self.choices + np.arange(self.choices)).ravel()
        return self.tokens.padded(each).unflatten(0, (len(rows), self.choices))

    def target(self, rows: np.ndarray) -> Tensor:
        """(rows,) or (rows, S) int64; numbers (rows, 1) float32."""
        if isinstance(self.targets, TokenStore):
            return _classes(self.targets, rows)
        return torch.from_numpy(self.targets[rows])

    def beyond(self, rows: np.ndarray) -> dict[str, Tensor]:
        """``unread`` (rows, U) int64: the classes of the words that were cut off; nothing where none was in all the split."""
        return {} if self.unread is None else {"unread": _classes(self.unread, rows)}

    def digest(self) -> str:
        """What tells these rows from others, as far as a model sees it."""
        targets = self.targets
        said = (targets.flat, targets.starts) if isinstance(targets, TokenStore) else (targets,)
        return digest(self.tokens.flat, self.tokens.starts, *said, beside=self.beside)

    def class_counts(self, classes: int) -> tuple[int, ...]:
        """(classes,) texts, or tokens, of each class."""
        codes = self.targets.flat - 1 if isinstance(self.targets, TokenStore) else self.targets
        return tuple(np.bincount(codes[codes >= 0], minlength=classes).tolist())


def _classes(codes: TokenStore, rows: np.ndarray) -> Tensor:
    """(rows, S) int64: classes counted from 0, −100 where nothing is said."""
    classes = codes.padded(rows) - 1
    return classes.masked_fill(classes < 0, NOTHING)


def spec_of(
    name: str,
    kind: str,
    rows: Mapping[str, TextRows],
    vocabulary: Vocabulary,
    classes: Sequence[str],
    notes: Sequence[str],
    spelling: tuple[str, ...] = (),
) -> DataSpec:
    """What a model and a task must know of such texts. Classes are counted in the first split: in train, where it is."""
    return DataSpec(
        name,
        kind,
        counts={split: len(part.texts) for split, part in rows.items()},
        classes=tuple(classes),
        class_counts=next(iter(rows.values())).class_counts(len(classes)) if classes else (),
        vocabulary={"text": len(vocabulary)},
        spelling=spelling,
        longest={"text": max(int(part.tokens.lengths.max()) for part in rows.values())},
        tokens={split: len(part.tokens.flat) for split, part in rows.items()},
        batched_by="tokens",
        notes=tuple(notes),
    )


class TextSource:
    """Texts as batches of about `Order.batch` tokens."""

    def __init__(self, spec: DataSpec, encoder: Encoder, parts: Mapping[str, TextRows], device: str) -> None:
        self._spec, self._encoder, self.parts, self._device = spec, encoder, parts, device
        self._epochs = Epochs(spec.name, {split: part.lengths[:, None] for split, part in parts.items()})

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def encoder(self, scaling: str) -> Encoder:
        return self._encoder

    def steps(self, order: Order) -> int:
        return self._epochs.count(order)

    def batches(self, order: Order) -> Iterator[Batch]:
        """The batches from ``order.start`` on: this rank's rows of each."""
        for rows in self._epochs.mine(order):
            part = self.parts[order.split]
            batch = {"input": part.input(rows), "target": part.target(rows), "index": torch.from_numpy(rows)}
            yield {name: values.to(self._device) for name, values in (batch | part.beyond(rows)).items()}

    def digests(self) -> dict[str, str]:
        """What tells the rows of each split, texts and what is said of them, from others in the same lines."""
        return {split: part.digest() for split, part in self.parts.items()}

    def name(self, split: str, index: int) -> str:
        """ "train.tsv:17": the file, and the line."""
        return f"{self.parts[split].place}:{self.parts[split].numbers[index]}"


def read_rows(tokens: Sequence[Sequence[int]], longest: int) -> list[list[int]]:
    """Rows that a model can read: none too long, none without any token."""
    return [list(row[:longest]) or [UNKNOWN] for row in tokens]


def framed(longest: int, first: Sequence[int], second: Sequence[int] | None = None) -> list[int]:
    """``<s> first </s>`` or ``<s> first </s> second </s>``, of at most ``longest`` tokens: what is too much goes from the
    end of the longer part, token by token (of equal parts, from the second). Raises `UserError` where nothing would stay."""
    room = longest - (2 if second is None else 3)
    if room < (1 if second is None else 2):
        raise UserError(f"--max-length {longest} leaves no room beside {longest - room} special tokens: write more.")
    if second is None:
        return [BEGIN, *first[:room], END]
    kept = min(len(first), max(room - len(second), (room + 1) // 2))
    return [BEGIN, *first[:kept], END, *second[: room - kept], END]


def spelled(reading: Reading, vocabulary: Vocabulary) -> tuple[str, ...]:
    """`DataSpec.spelling`: each token without the sign for the space before it."""
    pieces = vocabulary.shown(range(len(vocabulary))) if reading.spelled else []
    return tuple(piece.removeprefix(SPACE) or piece for piece in pieces)


def learned_from(known: Known | None, what: str = "split") -> str:
    """Where a vocabulary comes from, in a note."""
    return "the run's own" if known else f"learned from the training {what}"


def cut_note(place: str, lengths: np.ndarray, longest: int, what: str) -> list[str]:
    """A note where some ``lengths`` (rows,) are longer than the model is to read."""
    cut = int((lengths > longest).sum())
    whose = "its" if cut == 1 else "their"
    counted = f"{cut:,} {singular(what) if cut == 1 else what}"
    return [f"{counted} of {place} cut to {whose} first {longest} tokens (--max-length)"] if cut else []


def singular(what: str) -> str:
    """ "texts" as one: "text"; "endings with what is before them": "ending with what is before it"."""
    first, space, rest = what.partition(" ")
    return first.removesuffix("s") + space + rest.replace("them", "it")


def unknown_note(place: str, vocabulary: Vocabulary, tokens: np.ndarray) -> list[str]:
    """A note on what stands in ``tokens`` that the vocabulary does not have."""
    parts = (tokens[start : start + COUNTED] for start in range(0, len(tokens), COUNTED))
    share = sum(np.count_nonzero(part == UNKNOWN) for part in parts) / max(1, len(tokens))
    kind = vocabulary.kind if vocabulary.kind in ("words", "characters") else "tokens"
    return [f"{share:.1%} of the {kind} of {place} are unknown"] if share >= 5e-4 else []
