"""What is drawn at random where words are learned from their neighbours: which words are left out, how far one looks, and
which words are noise (Mikolov et al. 2013)."""

from __future__ import annotations

import torch
from torch import Tensor


def kept(shares: Tensor, threshold: float, *, program: bool = False) -> Tensor:
    """The probability that an occurrence of a word is kept, for words with these ``shares`` of the text: √(t / f), at most
    1; 1 for all where the threshold t is 0. That is 1 − P of "Distributed Representations …", Eq. 5. The authors'
    ``program`` word2vec.c keeps √(t / f) + t / f, a little more, which the paper does not say."""
    if not threshold:
        return torch.ones_like(shares)
    ratio = threshold / shares.clamp_min(torch.finfo(shares.dtype).tiny)
    return (ratio.sqrt() + (ratio if program else 0.0)).clamp(max=1.0)


def distances(uniform: Tensor, window: int) -> Tensor:
    """How many places are looked at on each side, from 1 to ``window``, of uniform numbers in [0, 1)."""
    return 1 + (window * uniform).long()


def noise(counts: Tensor, power: float = 0.75) -> Tensor:
    """P_n of each word: its count to the power of ¾, divided by the sum of all (the same paper, Sec. 2.2)."""
    raised = counts.double() ** power * (counts > 0)
    return raised / raised.sum()
