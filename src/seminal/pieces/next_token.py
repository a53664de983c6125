"""The cross-entropy of the next token, where the vocabulary is so large that its logits do not fit a processor's cache.

torch's own cross-entropy passes over the logits about ten times in forward and backward, more with label smoothing, and
each pass goes to memory. Here the rows are taken in parts that stay in the cache, once forwards and once backwards. The
numbers are the same.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seminal.pieces.tokens import PAD

PART = 1 << 18  # logits in one part: 1 MiB of fp32


def losses(logits: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
    """(B, T) cross-entropies in nats of logits (B, T, V) against tokens (B, T); 0 where the target is padding.

    ``smoothing`` is ε: the wanted distribution is (1 − ε) · one-hot + ε / V (Szegedy et al. 2016, Sec. 7)."""
    flat, wanted = logits.flatten(0, -2).float(), target.flatten()
    found = _Losses.apply(flat, wanted.clamp(min=0), smoothing)
    return found.masked_fill(wanted == PAD, 0.0).view(target.shape)


def beside(model: nn.Module, text: Tensor, share: float) -> tuple[Tensor, Tensor | float]:
    """What a model says of the rows of ``text`` (B, …, S), and ``share`` times what its own tokens cost it, (B,): the mean
    over a text's tokens but the first, each told by those before it, and over the texts of a row. With a share of 0 the
    model is asked for nothing but its answer.

    ``model(text, after)`` gives its answer, and logits (n, V) of the tokens that follow the n places ``after``."""
    if not share:
        answer: Tensor = model(text)
        return answer, 0.0
    follows = text[..., 1:] != PAD
    answer, logits = model(text, F.pad(follows, (0, 1)))
    nats = losses(logits, text[..., 1:][follows])
    each = nats.new_zeros(follows.shape).masked_scatter(follows, nats).sum(-1) / follows.sum(-1)
    return answer, share * each.flatten(1).mean(1) if each.dim() > 1 else share * each


def perplexity(nats: float) -> float:
    """e to the power of a mean cross-entropy in nats, which of an untrained model may be more than a number can hold."""
    return math.exp(min(nats, 700.0))


class _Losses(torch.autograd.Function):
    """log Σ_v exp(z_v) − (1 − ε) z_target − ε mean(z), per row."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
        sums = torch.cat([part.logsumexp(1) for part in logits.split(_rows(logits))])
        wanted = (1 - smoothing) * logits.gather(1, target[:, None])[:, 0]
        if smoothing:
            wanted = wanted + smoothing * logits.mean(1)
        ctx.save_for_backward(logits, target, sums)
        ctx.smoothing = smoothing
        return sums - wanted

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        logits, target, sums = ctx.saved_tensors
        (upstream,) = gradients
        if torch.is_grad_enabled():  # this gradient is to be differentiated once more
            wanted = F.one_hot(target, logits.shape[1]) * (1 - ctx.smoothing) + ctx.smoothing / logits.shape[1]
            return (logits.softmax(1) - wanted) * upstream[:, None], None, None
        out = torch.empty_like(logits)
        size = _rows(logits)
        for row in range(0, len(logits), size):
            part = slice(row, row + size)
            share = torch.sub(logits[part], sums[part, None], out=out[part]).exp_()
            if ctx.smoothing:
                share -= ctx.smoothing / logits.shape[1]
            share.scatter_add_(1, target[part, None], share.new_full((len(share), 1), ctx.smoothing - 1))
            share *= upstream[part, None]
        return out, None, None


def _rows(logits: Tensor) -> int:
    return max(1, PART // logits.shape[1]) if logits.device.type == "cpu" else max(1, len(logits))
