"""Data told from noise by logistic regression: the losses of noise-contrastive estimation and of negative sampling, in nats.

Both ask of a row u whether it is real or drawn from a noise whose density p_n is known. With ν noise rows for each real one
the answer is a sigmoid of G(u) = ln p_m(u) − ln p_n(u) − ln ν (Gutmann and Hyvärinen 2010; 2012 for ν other than 1).
Negative sampling takes the model's score alone as G (Mikolov et al. 2013), so that its scores are no log-probabilities.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

GROUP = 64  # noise words that are shared: a matrix product of 64 rows costs little more time than a few of them alone


def log_odds(model: Tensor, noise: Tensor, ratio: float) -> Tensor:
    """G: the log-odds that a row is real, of the log-densities that the model and the noise give it."""
    return model - noise - math.log(ratio)


def real_losses(odds: Tensor) -> Tensor:
    """−ln h of real rows, with h = sigmoid(G)."""
    return F.softplus(-odds)


def noise_losses(odds: Tensor) -> Tensor:
    """−ln(1 − h) of noise rows."""
    return F.softplus(odds)


def in_groups(values: Tensor) -> Tensor:
    """(groups, `GROUP`): what belongs to the noise of each row (rows,), as groups of rows share it. Where the last group is
    not full, it is filled from the beginning."""
    groups = -(-len(values) // GROUP)
    return values[torch.arange(groups * GROUP, device=values.device) % len(values)].view(groups, GROUP)


def for_rows(grouped: Tensor, rows: int) -> Tensor:
    """(rows, `GROUP`): what each row is told of its group."""
    return grouped.repeat_interleave(-(-rows // len(grouped)), dim=0)[:rows]
