"""What may be written, whoever searches: how long, how it begins, what must not come twice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from seminal.core import UserError
from seminal.pieces.tokens import BEGIN, END, PAD, lengths

ROOM = 50  # a translation may have so many tokens more than its source (Vaswani et al. 2017, Sec. 6.1)


@dataclass(frozen=True)
class Rules:
    """Limits of a search, in tokens after ``<s>``; to a beam, a prefix that was given is written too."""

    longest: int = 256  # tokens written, the ending included
    own: Tensor | None = None  # (inputs,) the same of each input, where they differ; none is above ``longest``
    shortest: int = 0  # tokens before which nothing ends
    no_repeat: int = 0  # no run of so many tokens is written twice; 0: no such rule
    end: int = END  # -1: nothing ends before it is ``longest``

    def limits(self, inputs: Tensor) -> Tensor:
        """(n,) tokens that each of these inputs may have."""
        return torch.full_like(inputs, self.longest) if self.own is None else self.own[inputs]

    def __post_init__(self) -> None:
        if self.longest < 1 or self.shortest < 0 or self.no_repeat < 0:
            raise UserError("a search needs room: write a length of 1 or more, and no negative limit.")


def translating(source: Tensor, no_repeat: int = 0) -> tuple[Tensor, Rules]:
    """What a translation of each row of ``source`` (B, S) begins with, (B, 1), and how long it may be."""
    own = lengths(source) + ROOM
    rules = Rules(longest=max(own.tolist(), default=ROOM), own=own, no_repeat=no_repeat)
    return source.new_full((len(source), 1), BEGIN), rules


@dataclass(frozen=True)
class Written:
    """The best hypotheses of each input, best first.

    ``tokens`` (B, n, L) begin with what was given (``<s>``, a prefix, a prompt), and are filled up with ``<pad>``;
    ``scores`` (B, n) are what the search maximises; ``attention`` (B, n, L, S) is where each token looked before it was
    written, empty where it was not asked for. Hypotheses that were not found have the score −∞.
    """

    tokens: Tensor
    scores: Tensor
    attention: Tensor


def permitted(logits: Tensor, tokens: Tensor, given: Tensor, rules: Rules, written: int) -> Tensor:
    """Log-probabilities (R, V) of the token after ``tokens`` (R, t), −∞ where it may not be written.

    ``given`` (R, P) are tokens that must stand at the beginning, filled up with ``<pad>``; ``written`` counts the tokens
    of this hypothesis so far, without the ``<s>``."""
    scores = logits.float().log_softmax(-1)
    place = tokens.shape[1]
    forced = given[:, place : place + 1]  # (R, 1); (R, 0) behind all that is given
    likely = scores.gather(1, forced)
    scores[:, PAD] = scores[:, BEGIN] = -math.inf
    if rules.end >= 0 and written < rules.shortest:
        scores[:, rules.end] = -math.inf
    if rules.no_repeat:
        free = scores.clone()
        _block(scores, tokens, rules.no_repeat)
        stuck = scores.isneginf().all(-1)  # every token would repeat: then it ends, or repeats where nothing ends
        scores[stuck] = free[stuck]
        if rules.end >= 0:
            scores[stuck] = torch.where(torch.arange(free.shape[1], device=free.device) == rules.end, 0.0, -math.inf)
    if forced.shape[1]:  # what is given is written even where it repeats a run
        only = torch.full_like(scores, -math.inf).scatter(1, forced, likely)
        scores = torch.where(forced != PAD, only, scores)
    return scores


def _block(scores: Tensor, tokens: Tensor, size: int) -> None:
    """−∞, in place, for tokens that would complete a run of ``size`` tokens that was written before."""
    if tokens.shape[1] < size:
        return
    runs = tokens.unfold(1, size, 1)  # (R, t − size + 1, size)
    last = tokens[:, tokens.shape[1] - size + 1 :]
    again = (runs[:, :, :-1] == last[:, None, :]).all(-1)
    rows, places = again.nonzero(as_tuple=True)
    scores[rows, runs[rows, places, -1]] = -math.inf
