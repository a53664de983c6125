"""Texts with something to be said of each: what labelled and tagged text have in common, and how a folder names its parts.

A batch holds ``input`` (rows, S), ``target`` (rows,) or (rows, S), and ``index``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from seminal.core import Batch, DataSpec, Encoder, Order, UserError
from seminal.data import lines as text_lines
from seminal.data.token_batches import Epochs
from seminal.data.token_store import TokenStore
from seminal.data.vocabulary import Vocabulary
from seminal.pieces.tokens import NOTHING, UNKNOWN

ALL = "all"  # what the one split is called where nobody names any
CHUNK = 10_000  # texts encoded at once
_SPLIT = {"train": r"train(ing)?", "val": r"val|valid|validation|dev"}


def split_of(stem: str) -> str:
    """The split that a file's name tells, without its endings: "train", "val", "test_2016"; "" where it tells none. A name
    before a dot is left out: ``wiki.train`` is a training set."""
    last = stem.rpartition(".")[2]
    for split, pattern in _SPLIT.items():
        if re.fullmatch(pattern, last, re.IGNORECASE):
            return split
    return last if last.lower().startswith("test") else ""


@dataclass(frozen=True)
class Known:
    """What a run knows already, by which other text is read: to score it, or to go on learning from it."""

    encoder: Encoder  # nothing is learned from the text: it is cut into tokens as the run cuts its own
    classes: tuple[str, ...] = ()  # in the run's order; empty: those of the text
    whole: bool = False  # to be scored: nothing is held out, and no training set is needed


def files_in(path: Path, endings: Sequence[str], known: Known | None) -> dict[str, Path]:
    """The file of each split: of a folder as `splits` finds them; a single file trains, or is scored as a whole."""
    whole = known is not None and known.whole
    if path.is_dir():
        return splits(path, endings, whole=whole)
    return {ALL if whole else "train": path}


def splits(folder: Path, endings: Sequence[str], *, whole: bool = False) -> dict[str, Path]:
    """The file of each split in a folder: train first, then val where there is one, then any test sets. ``whole``: any of
    them will do."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        name = text_lines.bare(file)
        if name.suffix.lower() not in endings or not file.is_file() or not (split := split_of(name.stem)):
            continue
        if split in found:
            raise UserError(f"{folder} has more than one {split} set: keep {found[split].name} or {file.name}.")
        found[split] = file
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


class Split(Protocol):
    """One split as text, whatever is said of it."""

    def kept(self, rows: np.ndarray) -> Self:
        """Only some of the rows."""


AnySplit = TypeVar("AnySplit", bound=Split)


def divided(parts: Mapping[str, AnySplit], marks: np.ndarray, what: str, notes: list[str]) -> dict[str, AnySplit]:
    """Train and val out of the training set, as ``marks`` (rows,) name one of them for each row; then the test sets."""
    held = {mark: parts["train"].kept(np.flatnonzero(marks == mark)) for mark in ("train", "val")}
    notes.append(f"split made here: {(marks == 'val').sum():,} of {len(marks):,} {what} held out for validation")
    return held | {split: part for split, part in parts.items() if split != "train"}


@dataclass(frozen=True, eq=False)
class TextRows:
    """One split: texts as they are shown, as tokens, and what is to be said of them."""

    texts: Sequence[str]
    place: str  # the file, for messages
    numbers: np.ndarray  # the line of each text, counted from 1
    tokens: TokenStore
    targets: np.ndarray | TokenStore  # a class for each text; or for each token, counted from 1

    def target(self, rows: np.ndarray) -> Tensor:
        """(rows,) or (rows, S) int64."""
        if isinstance(self.targets, TokenStore):
            classes = self.targets.padded(rows) - 1
            return classes.masked_fill(classes < 0, NOTHING)
        return torch.from_numpy(self.targets[rows])

    def class_counts(self, classes: int) -> tuple[int, ...]:
        """(classes,) texts, or tokens, of each class."""
        codes = self.targets.flat - 1 if isinstance(self.targets, TokenStore) else self.targets
        return tuple(np.bincount(codes, minlength=classes).tolist())


def spec_of(
    name: str,
    kind: str,
    rows: Mapping[str, TextRows],
    vocabulary: Vocabulary,
    classes: Sequence[str],
    notes: Sequence[str],
) -> DataSpec:
    """What a model and a task must know of such texts. Classes are counted in the first split: in train, where it is."""
    return DataSpec(
        name,
        kind,
        counts={split: len(part.texts) for split, part in rows.items()},
        classes=tuple(classes),
        class_counts=next(iter(rows.values())).class_counts(len(classes)),
        vocabulary={"text": len(vocabulary)},
        longest={"text": max(int(part.tokens.lengths.max()) for part in rows.values())},
        tokens={split: len(part.tokens.flat) for split, part in rows.items()},
        batched_by="tokens",
        notes=tuple(notes),
    )


class TextSource:
    """Texts as batches of about `Order.batch` tokens."""

    def __init__(self, spec: DataSpec, encoder: Encoder, parts: Mapping[str, TextRows], device: str) -> None:
        self._spec, self._encoder, self.parts, self._device = spec, encoder, parts, device
        self._epochs = Epochs(spec.name, {split: part.tokens.lengths[:, None] for split, part in parts.items()})

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def encoder(self, scaling: str) -> Encoder:
        return self._encoder

    def steps(self, order: Order) -> int:
        return len(self._epochs.all(order))

    def batches(self, order: Order) -> Iterator[Batch]:
        """The batches from ``order.start`` on: this rank's rows of each."""
        for rows in self._epochs.mine(order):
            part = self.parts[order.split]
            batch = {"input": part.tokens.padded(rows), "target": part.target(rows), "index": torch.from_numpy(rows)}
            yield {name: values.to(self._device) for name, values in batch.items()}

    def name(self, split: str, index: int) -> str:
        """ "train.tsv:17": the file, and the line."""
        return f"{self.parts[split].place}:{self.parts[split].numbers[index]}"


def read_rows(tokens: Sequence[Sequence[int]], longest: int) -> list[list[int]]:
    """Rows that a model can read: none too long, none without any token."""
    return [list(row[:longest]) or [UNKNOWN] for row in tokens]


def learned_from(known: Known | None, what: str = "split") -> str:
    """Where a vocabulary comes from, in a note."""
    return "the run's own" if known else f"learned from the training {what}"


def cut_note(place: str, lengths: np.ndarray, longest: int, what: str) -> list[str]:
    """A note where some ``lengths`` (rows,) are longer than the model is to read."""
    cut = int((lengths > longest).sum())
    return [f"{cut:,} {what} of {place} cut to their first {longest} tokens (--max-length)"] if cut else []


def unknown_note(place: str, vocabulary: Vocabulary, tokens: np.ndarray) -> list[str]:
    """A note on what stands in ``tokens`` that the vocabulary does not have."""
    share = float((tokens == UNKNOWN).mean()) if len(tokens) else 0.0
    kind = vocabulary.kind if vocabulary.kind in ("words", "characters") else "tokens"
    return [f"{share:.1%} of the {kind} of {place} are unknown"] if share >= 5e-4 else []
