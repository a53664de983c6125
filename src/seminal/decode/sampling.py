"""One hypothesis per row, token by token: the most probable each time (greedy), or a draw.

The draws are a pure function of seed, row and place (`seminal.pieces.chance`): a row gets the same text whatever stands
beside it in the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from seminal.core import Memory, UserError, Writer
from seminal.decode.rules import Rules, Written, permitted
from seminal.pieces.chance import RowChance
from seminal.pieces.draws import Draw
from seminal.pieces.tokens import PAD, lengths


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn. ``temperature`` 0 takes the most probable."""

    temperature: float = 1.0  # logits are divided by it
    top_k: int = 0  # only the k most probable; 0: all
    top_p: float = 1.0  # only the most probable that together have this share (Holtzman et al. 2020)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise UserError(
                "sampling needs a temperature of 0 or more, a top-k of 0 or more and a top-p above 0 and up to 1."
            )


GREEDY = Sampling(temperature=0.0)


@torch.no_grad()
def write(
    model: Writer,
    source: Tensor | None,
    given: Tensor,
    rules: Rules,
    sampling: Sampling = GREEDY,
    attention: bool = False,
    before: int = 0,
) -> Written:
    """A hypothesis for each row of ``given`` (B, P): ``<s>``, a prefix or a prompt, filled up with ``<pad>``.

    ``source`` (B, S) is None for a model without input. What all rows have given is read at once, the rest token by token.
    ``rules.longest`` and ``scores``, the sums of the log-probabilities, are of the tokens that follow what a row has given.
    ``before``: tokens of the text that stand before ``given``, which is then a window that slides; without it the same draws
    would come again in each window.
    """
    rows, device = len(given), given.device
    memory = model.begin(source, rows, attention)
    looks = attention and source is not None
    own = lengths(given)
    common, active = int(own.min()), torch.arange(rows, device=device)
    tokens, maps = given[:, :common], []
    ends = own + rules.limits(active)  # the place before which each row is complete
    stop = int(ends.max())
    out = given.new_full((rows, stop), PAD)
    out[:, :common] = tokens
    total, over = torch.zeros(rows, device=device), torch.zeros(rows, dtype=torch.bool, device=device)
    logits, memory = model.step(tokens, memory)
    for place in range(common, stop):
        scores = permitted(logits, tokens, given[active], rules, place - 1)
        chosen = _chosen(scores, sampling, active, before + place)
        written = place >= own[active]
        total[active] += scores.gather(1, chosen[:, None])[:, 0].masked_fill(over | ~written, 0.0)
        chosen = chosen.masked_fill(over, PAD)
        out[active, place] = chosen
        if looks:
            maps.append(_spread(memory, active, rows))
        over = over | written & (chosen == rules.end) | (place + 1 >= ends[active])
        if place + 1 == stop or bool(over.all()):
            break
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        if int(over.sum()) >= 0.25 * len(over):  # rows that ended are not computed any more
            going = (~over).nonzero()[:, 0]
            memory, tokens, active, over = memory.kept(going, going), tokens[going], active[going], over[going]
        logits, memory = model.step(tokens[:, -1:], memory)
    out = out[:, : max(1, int(lengths(out).max()))]
    seen = torch.stack(maps, dim=1) if maps else total.new_zeros(rows, 0, 0)
    if looks:
        seen = torch.nn.functional.pad(seen, (0, 0, common, out.shape[1] - common - seen.shape[1]))
        new = (torch.arange(out.shape[1], device=device) >= own[:, None]) & (out != PAD)
        seen = seen.masked_fill(~new[:, :, None], 0.0)
    return Written(out[:, None], total[:, None], seen[:, None])


def _chosen(scores: Tensor, sampling: Sampling, rows: Tensor, place: int) -> Tensor:
    """(R,) a token for each row of log-probabilities (R, V)."""
    if sampling.temperature == 0:
        return scores.argmax(-1)
    ordered, token = (scores / sampling.temperature).log_softmax(-1).sort(-1, descending=True)
    share = ordered.exp()
    if sampling.top_k:
        share[:, sampling.top_k :] = 0.0
        share = share / share.sum(-1, keepdim=True)  # top-p is a share of what top-k leaves
    before = share.cumsum(-1) - share
    share = share.masked_fill(before >= sampling.top_p, 0.0)
    upto = share.cumsum(-1)
    luck = RowChance(sampling.seed, place, rows).uniform(Draw.TOKEN)
    which = torch.searchsorted(upto, luck * upto[:, -1:], right=True)
    # Sums are rounded, so the luck may lie behind them all; what stands last has a share of 0 and may be forbidden.
    last = ((share > 0) * torch.arange(share.shape[1], device=share.device)).amax(1, keepdim=True)
    return token.gather(1, which.minimum(last))[:, 0]


def _spread(memory: Memory, active: Tensor, rows: int) -> Tensor:
    looked = memory.moving["attention"]
    whole = looked.new_zeros(rows, looked.shape[1])
    whole[active] = looked
    return whole
