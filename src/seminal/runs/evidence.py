"""Which words of a text decided: each is taken away in turn, and the text is read again.

A word is taken away by an unknown token in its place. This is exact for what it asks, and the same for every model. The
words of a long text are taken several at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from seminal.core import Recipe, Source
from seminal.data.text_rows import TextSource
from seminal.data.vocabulary import SPACE, WORDPIECE, Vocabulary
from seminal.pieces.tokens import BEGIN, END, UNKNOWN
from seminal.report.data import Evidence, Picture

EXPLAINED = 12  # mistakes of a report whose words are weighed, at most
PARTS = 48  # into which a text is cut, at most: the model reads it once for each


@dataclass(frozen=True)
class Weighed:
    """What a model says of a text, and of the text without each of its parts."""

    parts: tuple[str, ...]  # end to end they are the text as the model reads it
    whole: Tensor  # (classes,) probabilities
    without: Tensor  # (parts, classes)

    def speaking_for(self, label: int) -> tuple[tuple[str, float], ...]:
        """Each part, and by how many nats the log-probability of the class ``label`` falls without it."""
        before, after = (share[..., label].clamp_min(1e-12).log() for share in (self.whole, self.without))
        return tuple((part, round(fall, 5)) for part, fall in zip(self.parts, (before - after).tolist()))


def weighed(model: nn.Module, recipe: Recipe, vocabulary: Vocabulary, tokens: Tensor) -> Weighed:
    """``tokens`` (S,) of one text, without padding."""
    parts = parts_of(vocabulary, tokens.tolist())
    texts = tokens.repeat(1 + len(parts), 1)
    for row, (_, first, last) in enumerate(parts, 1):
        texts[row, first:last] = UNKNOWN
    device = next(model.parameters()).device
    with torch.no_grad():  # in fp32: what is asked for are small differences
        share = recipe.task.predict(model, {"input": texts.to(device)})["probability"].float().cpu()
    return Weighed(tuple(text for text, _, _ in parts), share[0], share[1:])


def of_mistakes(
    model: nn.Module, recipe: Recipe, source: Source, mistakes: Sequence[tuple[int, int, Picture]]
) -> Iterator[Evidence]:
    """For the first of ``mistakes`` (row of the validation split, predicted class, what is said of it): how much each word
    of the text counted. Nothing where the source has no texts, or several in each row."""
    if not isinstance(source, TextSource) or source.parts["val"].choices > 1:
        return
    vocabulary: Vocabulary = source.encoder(recipe.scaling).text  # type: ignore[attr-defined]
    for row, guess, picture in mistakes[:EXPLAINED]:
        tokens = torch.from_numpy(source.parts["val"].tokens.row(row).astype("int64"))
        told = weighed(model, recipe, vocabulary, tokens).speaking_for(guess)
        yield Evidence(source.spec.classes[guess], told, picture.caption, picture.name)


def parts_of(vocabulary: Vocabulary, tokens: Sequence[int]) -> list[tuple[str, int, int]]:
    """Words of a text as (text, first token, token after the last); at most `PARTS`, of neighbouring words. What frames a
    text, or stands between two, is no word."""
    pieces = vocabulary.shown(tokens)
    frame = [-1, *(place for place, token in enumerate(tokens) if token in (BEGIN, END)), len(tokens)]
    texts = [range(before + 1, after) for before, after in pairwise(frame) if after > before + 1]
    words = [[p for p in text if p == text[0] or not _goes_on(vocabulary.kind, pieces, p)] for text in texts]
    size = -(-sum(map(len, words)) // (PARTS + 1 - len(texts)))
    found: list[tuple[str, int, int]] = []
    for text, starts in zip(texts, words):
        spans = zip(starts[::size], [*starts[size::size], text[-1] + 1])
        said = [("".join(_shown(vocabulary.kind, piece) for piece in pieces[a:b]), a, b) for a, b in spans]
        found += [(f" ‖{said[0][0]}", *said[0][1:]), *said[1:]] if found else said
    return found


def _goes_on(kind: str, pieces: Sequence[str], place: int) -> bool:
    """Whether a piece belongs to the word of the piece before it."""
    if kind in WORDPIECE:
        return pieces[place].startswith("##")
    before = pieces[place - 1][-1:]
    return kind != "words" and pieces[place][:1].isalnum() and (before.isalnum() or before == SPACE)


def _shown(kind: str, piece: str) -> str:
    """A piece as a part of its text."""
    if kind in WORDPIECE:
        return piece[2:] if piece.startswith("##") else f" {piece}"
    return piece.replace(SPACE, " ")
