"""Beam search: at every token the best ``width`` beginnings of each input go on.

What is maximised is the log-probability divided by a penalty of the length (Wu et al. 2016, "Google's Neural Machine
Translation System", Eq. 14), plus a reward for having looked at the whole source:

    s(Y) = log P(Y | X) / lp(Y) + cp(X; Y)
    lp(Y) = (5 + |Y|)^α / (5 + 1)^α            or |Y|^α with ``plain``
    cp(X; Y) = β Σ_i log min(Σ_j a_ij, 1)      a_ij: weight of source token i when token j was written

The search ends for an input when no open hypothesis can overtake the ``best`` finished ones, however it goes on: with a
width that holds everything the result is that of an exhaustive search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seminal.core import Memory, UserError, Writer
from seminal.decode.rules import Rules, Written, permitted
from seminal.pieces.tokens import PAD

WIDEST = 1000  # hypotheses: the memory for their keys and values grows with them


@dataclass(frozen=True)
class Beam:
    """How wide, and what is maximised."""

    width: int = 4
    best: int = 1  # hypotheses to give
    alpha: float = 0.6  # strength of the length's penalty; 0: the plain sum of log-probabilities
    plain: bool = False  # |Y|^α instead of GNMT's form
    beta: float = 0.0  # strength of the reward for coverage

    def __post_init__(self) -> None:
        if not 1 <= self.width <= WIDEST:
            raise UserError(f"a beam of {self.width} cannot be kept: write 1 to {WIDEST:,}.")
        if not (math.isfinite(self.alpha) and self.beta >= 0):
            raise UserError(
                f"a penalty of {self.alpha} and a reward of {self.beta} rank nothing: write numbers, 0.6 and 0."
            )
        if not 1 <= self.best <= self.width:
            raise UserError(f"{self.best} best of a beam of {self.width} cannot be given: ask for 1 to {self.width}.")

    def penalty(self, length: int) -> float:
        return float(length) ** self.alpha if self.plain else ((5.0 + length) / 6.0) ** self.alpha


@dataclass
class _Open:
    """The hypotheses that go on: B inputs times K."""

    inputs: Tensor  # (B,) which inputs these are
    tokens: Tensor  # (B · K, t)
    scores: Tensor  # (B, K) log-probabilities
    looked: Tensor  # (B · K, t, S) weights on the source
    real: Tensor  # (B, S) which source tokens are no padding
    memory: Memory


@torch.no_grad()
def beam(
    model: Writer, source: Tensor | None, given: Tensor, search: Beam, rules: Rules, attention: bool = False
) -> Written:
    """The best hypotheses for each row of ``source`` (B, S) and ``given`` (B, P), which begin with what is given.

    ``source`` is None for a model without input. ``attention`` keeps where each token looked; coverage needs it too."""
    looks = attention or search.beta > 0
    inputs, width = len(given), search.width
    spread = given.repeat_interleave(width, 0)
    memory = model.begin(source, inputs * width, looks)
    places = source.shape[1] if looks and source is not None else 0
    start = given.new_zeros(inputs, width, dtype=torch.float32)
    start[:, 1:] = -math.inf  # all hypotheses of an input are still the same
    going = _Open(
        inputs=torch.arange(inputs, device=given.device),
        tokens=spread[:, :1],
        scores=start,
        looked=start.new_zeros(inputs * width, 1, places),
        real=given.new_ones(inputs, 0) if source is None else source[:, :places] != PAD,
        memory=memory,
    )
    done = Written(
        tokens=given.new_full((inputs, search.best, 1 + rules.longest), PAD),
        scores=start.new_full((inputs, search.best), -math.inf),
        attention=start.new_zeros(inputs, search.best, 1 + rules.longest, places),
    )
    for written in range(1, rules.longest + 1):
        logits, going.memory = model.step(going.tokens[:, -1:], going.memory)
        own = spread.view(inputs, width, -1)[going.inputs].flatten(0, 1)
        scores = permitted(logits, going.tokens, own, rules, written - 1)
        _advance(going, done, scores, search, rules, written)
        open_now = _can_win(going, done, search, rules, written)
        if not bool(open_now.any()):
            break
        if int(open_now.sum()) <= 0.75 * len(open_now):
            _forget(going, open_now.nonzero()[:, 0], width)
    longest = int((done.tokens != PAD).sum(-1).max())
    return replace(done, tokens=done.tokens[:, :, :longest], attention=done.attention[:, :, :longest])


def _advance(going: _Open, done: Written, scores: Tensor, search: Beam, rules: Rules, written: int) -> None:
    """One more token for every open hypothesis; those that end are compared with the finished ones."""
    count, width, vocabulary = len(going.inputs), search.width, scores.shape[-1]
    total = (going.scores[:, :, None] + scores.view(count, width, -1)).flatten(1)
    # Each hypothesis has one ending: of twice as many candidates at least ``width`` go on. Only those among the first
    # ``width`` may end, so that a beam of one is greedy.
    found, place = total.topk(min(2 * width, total.shape[1]), dim=1)
    parent, token = place // vocabulary, place % vocabulary
    rows = parent + torch.arange(count, device=parent.device)[:, None] * width
    looked = going.memory.moving.get("attention")
    looked = None if looked is None else looked.float()
    ends = (token == rules.end) | (written >= rules.limits(going.inputs))[:, None]
    if bool(ends.any()):
        tokens = torch.cat([going.tokens[rows], token[:, :, None]], dim=2)
        maps = (
            going.looked[rows] if looked is None else torch.cat([going.looked[rows], looked[rows][:, :, None]], dim=2)
        )
        value = found / search.penalty(written)
        if search.beta:
            covered = maps.sum(2).clamp(1e-9, 1.0).masked_fill(~going.real[:, None], 1.0)
            value = value + search.beta * covered.log().sum(-1)
        best = ends & (torch.arange(ends.shape[1], device=ends.device) < width)
        _keep(going.inputs, done, torch.where(best, value, -math.inf), tokens, maps)
    going.scores, best = torch.where(ends, -math.inf, found).topk(min(width, found.shape[1]), dim=1)
    if going.scores.shape[1] < width:  # a vocabulary smaller than the beam
        missing = width - going.scores.shape[1]
        going.scores = torch.nn.functional.pad(going.scores, (0, missing), value=-math.inf)
        best = torch.nn.functional.pad(best, (0, missing))
    chosen = rows.gather(1, best).flatten()
    going.tokens = torch.cat([going.tokens[chosen], token.gather(1, best).flatten()[:, None]], dim=1)
    if looked is not None:
        going.looked = torch.cat([going.looked[chosen], looked[chosen][:, None]], dim=1)
    going.memory = going.memory.chosen(chosen)


def _keep(inputs: Tensor, done: Written, values: Tensor, tokens: Tensor, maps: Tensor) -> None:
    """The best of the finished hypotheses and of new ones (B, C) with tokens (B, C, t), in place."""
    best = done.scores.shape[1]
    both = torch.cat([done.scores[inputs], values], dim=1)
    done.scores[inputs], which = both.topk(best, dim=1)
    room = done.tokens.shape[2] - tokens.shape[2]
    padded = torch.nn.functional.pad(tokens, (0, room), value=PAD)
    every = torch.cat([done.tokens[inputs], padded], dim=1)
    done.tokens[inputs] = every.gather(1, which[:, :, None].expand(-1, -1, every.shape[2]))
    if maps.shape[-1]:
        padded = torch.nn.functional.pad(maps, (0, 0, 0, room))
        every = torch.cat([done.attention[inputs], padded], dim=1)
        done.attention[inputs] = every.gather(1, which[:, :, None, None].expand(-1, -1, *every.shape[2:]))


def _can_win(going: _Open, done: Written, search: Beam, rules: Rules, written: int) -> Tensor:
    """(B,) whether an open hypothesis may still overtake the worst of the finished ones that would be given.

    Log-probabilities only fall, and dividing by the largest penalty helps a negative number most; coverage is never
    above 0."""
    kindest = max(search.penalty(rules.longest), search.penalty(written + 1))
    reachable = going.scores[:, 0] / kindest
    return reachable > done.scores[going.inputs, -1]


def _forget(going: _Open, kept: Tensor, width: int) -> None:
    """Inputs that are finished need no more work."""
    rows = (kept[:, None] * width + torch.arange(width, device=kept.device)).flatten()
    going.memory = going.memory.kept(kept, rows)
    going.inputs, going.scores, going.real = going.inputs[kept], going.scores[kept], going.real[kept]
    going.tokens, going.looked = going.tokens[rows], going.looked[rows]
