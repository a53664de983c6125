"""Models that explain a row by latent variables: what they answer, and the densities of their terms, in nats.

Shapes: B rows of D numbers; J latent variables; P parameters of the distribution of one number. Leading dimensions (…) are
several draws for each row.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seminal.core import UserError


class Explained(NamedTuple):
    """Rows as a model with latent variables sees them."""

    decoded: Tensor  # (…, B, P, D) parameters of p(x|z): a Bernoulli's logit, or a Gaussian's mean and log-variance
    latent: Tensor  # (…, B, J) z, drawn from q(z|x)
    mean: Tensor  # (B, J) of q(z|x) …
    log_variance: Tensor  # (B, J) … which is Gaussian


def log_likelihood(x: Tensor, decoded: Float[Tensor, "*draws B P D"]) -> Float[Tensor, "*draws B"]:
    """log p(x|z), summed over the numbers of each row; the P parameters tell which distribution it is.

    Raises `UserError` where a Bernoulli is asked about numbers that are no brightness.
    """
    x = x.flatten(1)
    if decoded.shape[-2] == 2:
        return gaussian(x, decoded[..., 0, :], decoded[..., 1, :])
    if x.numel() and not (x.min() >= 0 and x.max() <= 1):
        raise UserError(
            "a Bernoulli decoder gives the probability that a pixel is white, and the inputs are not between 0 and 1. "
            "Write `--scaling none`; for a table, use a model with a Gaussian decoder."
        )
    return bernoulli(x, decoded[..., 0, :])


def bernoulli(x: Float[Tensor, "B D"], logits: Float[Tensor, "*draws B D"]) -> Float[Tensor, "*draws B"]:
    """Σ_d x log y + (1 − x) log(1 − y) with y = sigmoid(logits), without ever taking the logarithm of a rounded 0.

    Where x is 0 or 1 this is the log-probability. A brightness between them is read as the chance of being white: then it
    is the mean log-probability of the black-and-white pictures drawn from x.
    """
    return -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)


def gaussian(
    x: Float[Tensor, "B D"], mean: Float[Tensor, "*draws B D"], log_variance: Float[Tensor, "*draws B D"]
) -> Float[Tensor, "*draws B"]:
    """Σ_d log N(x; mean, variance), a density: it may be above 0."""
    return -0.5 * (math.log(2 * math.pi) + log_variance + (x - mean).square() * torch.exp(-log_variance)).sum(-1)
