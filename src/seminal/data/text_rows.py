"""Texts with something to be said of each: what labelled and tagged text have in common, and how a folder names its parts.

A batch holds ``input`` (rows, S), ``target`` (rows,) or (rows, S), and ``index``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seminal.core import Batch, DataSpec, Encoder, Order, UserError
from seminal.data import lines as text_lines
from seminal.data.token_batches import Epochs
from seminal.data.token_store import TokenStore, stored
from seminal.data.vocabulary import Vocabulary
from seminal.pieces.tokens import UNKNOWN

NOTHING = -100  # the target of what is not scored, as torch's cross-entropy has it
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


def splits(folder: Path, endings: Sequence[str]) -> dict[str, Path]:
    """The file of each split in a folder: train first, then val where there is one, then any test sets."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        name = text_lines.bare(file)
        if name.suffix.lower() not in endings or not file.is_file() or not (split := split_of(name.stem)):
            continue
        if split in found:
            raise UserError(f"{folder} has more than one {split} set: keep {found[split].name} or {file.name}.")
        found[split] = file
    if "train" not in found:
        have = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "nothing"
        raise UserError(
            f"{folder} has no training set; it holds {have}. Name the files train{endings[0]}, val{endings[0]} and "
            f"test{endings[0]} (or with {', '.join(endings[1:])}; .gz may follow)."
        )
    return dict(sorted(found.items(), key=lambda item: ({"train": 0, "val": 1}.get(item[0], 2), item[0])))


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


def batched(
    inputs: list[str], rows: Sequence[Sequence[int]], batch: int, longest: int
) -> Iterator[tuple[list[str], Batch]]:
    """The user's texts in their order, at most ``batch`` at once: ``input`` (rows, S), ``index`` (rows,)."""
    for start in range(0, len(inputs), batch):
        store = stored([read_rows(rows[start : start + batch], longest)])
        index = np.arange(len(store))
        yield inputs[start : start + batch], {"input": store.padded(index), "index": torch.from_numpy(index + start)}


def cut_note(place: str, lengths: np.ndarray, longest: int, what: str) -> list[str]:
    """A note where some ``lengths`` (rows,) are longer than the model is to read."""
    cut = int((lengths > longest).sum())
    return [f"{cut:,} {what} of {place} cut to their first {longest} tokens (--max-length)"] if cut else []


def unknown_note(place: str, vocabulary: Vocabulary, tokens: np.ndarray) -> list[str]:
    """A note on what stands in ``tokens`` that the vocabulary does not have."""
    share = float((tokens == UNKNOWN).mean()) if len(tokens) else 0.0
    kind = vocabulary.kind if vocabulary.kind in ("words", "characters") else "tokens"
    return [f"{share:.1%} of the {kind} of {place} are unknown"] if share >= 5e-4 else []
