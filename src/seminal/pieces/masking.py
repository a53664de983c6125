"""Hiding tokens of a text from a model that is to say them (Devlin et al. 2018, Sec. 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from seminal.core import Chance, Masking
from seminal.pieces.draws import Draw
from seminal.pieces.tokens import NOTHING, SPECIAL


def masked(
    tokens: Tensor,
    chance: Chance,
    masking: Masking,
    *,
    vocabulary: int,
    mask: int,
    continues: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What is read, and what has to be said: (rows, S) both, from ``tokens`` (rows, S); ``NOTHING`` where nothing has.

    Of the n tokens of each row that are not special, round(share · n) are said, and at least one. Unknown ones are not
    among them: nothing could be learned from saying ``<unk>``. With ``whole_words`` about so many: all tokens of a word or
    none. ``continues`` (vocabulary,) bool: the tokens that go on with the word before them.
    """
    width = tokens.shape[1]
    real = (tokens >= len(SPECIAL)) & (tokens != mask)
    luck = chance.uniform(Draw.HIDDEN, width)
    wanted = (masking.share * real.sum(1, keepdim=True)).round().clamp(min=1)
    if masking.whole_words:
        assert continues is not None
        said = real & _whole_words(tokens, real, luck, wanted, continues)
    else:
        said = real & (_ranks(luck, real) < wanted)
    target = tokens.where(said, NOTHING)
    return _read(tokens, said, chance, masking, (vocabulary, mask)), target


def _read(tokens: Tensor, said: Tensor, chance: Chance, masking: Masking, words: tuple[int, int]) -> Tensor:
    """The mask, any other token, or the token itself, where one has to be said."""
    (vocabulary, mask), width = words, tokens.shape[1]
    special = len(SPECIAL)
    choices = vocabulary - special - (mask >= special)
    other = special + (chance.uniform(Draw.READ_TOKEN, width) * choices).long()
    other += other >= mask if mask >= special else 0
    luck = chance.uniform(Draw.READ_AS, width)
    read = tokens.where(luck >= masking.masked + masking.random, other)
    read = read.where(luck >= masking.masked, mask)
    return read.where(said, tokens)


def _ranks(luck: Tensor, real: Tensor) -> Tensor:
    """(rows, S) how many real places of the row have less luck; places that share theirs stand in their order."""
    order = luck.where(real, 2.0).argsort(dim=1, stable=True)
    places = torch.arange(luck.shape[1], device=luck.device).expand_as(order)
    return torch.zeros_like(order).scatter(1, order, places)


def _whole_words(tokens: Tensor, real: Tensor, luck: Tensor, wanted: Tensor, continues: Tensor) -> Tensor:
    """Words in the order of their first token's luck, as long as the middle of the next one is among those wanted: as many
    tokens too many as too few. The first word is taken however long it is."""
    before = torch.cat([torch.zeros_like(real[:, :1]), real[:, :-1]], dim=1)
    begins = ~(real & before & continues.to(tokens.device)[tokens])
    places = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    first = places.where(begins, 0).cummax(1).values
    sizes = torch.zeros_like(tokens).scatter_add(1, first, real.long()).gather(1, first)
    rank = _ranks(luck.gather(1, first), real).gather(1, first)
    return (rank == 0) | (rank + (sizes - 1) / 2 < wanted)
