"""Attention as one family: a score for each pair of query and key, a normaliser, a weighted sum of the values.

    output_i = Σ_j a_ij v_j        a_i· = normaliser over j of score(q_i, k_j), where the mask lets i see j

Shapes: … any leading dimensions, n queries, m keys; d the width of queries, e that of keys, v that of values.
All but `restricted` is written for reading and for tests; where speed counts, the papers call torch's own kernel, which
gives the same numbers for the scaled dot product with softmax.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Normaliser = Callable[[Tensor], Tensor]


def dot(queries: Tensor, keys: Tensor) -> Tensor:
    """(…, n, m): qᵀk (Luong et al. 2015, Eq. 8, first form). Queries (…, n, d), keys (…, m, d)."""
    return queries @ keys.transpose(-1, -2)


def scaled_dot(queries: Tensor, keys: Tensor) -> Tensor:
    """(…, n, m): qᵀk / √d, of variance 1 where q and k are (Vaswani et al. 2017, Eq. 1)."""
    return dot(queries, keys) / math.sqrt(queries.shape[-1])


def general(queries: Tensor, keys: Tensor, weight: Tensor) -> Tensor:
    """(…, n, m): qᵀ W k (Luong et al. 2015, Eq. 8, second form). ``weight`` is (d, e): the widths may differ."""
    return dot(queries @ weight, keys)


def additive(queries: Tensor, keys: Tensor, weight: Tensor) -> Tensor:
    """(…, n, m): wᵀ tanh(q + k), of queries and keys that were projected to one width d (Bahdanau et al. 2015, A.1.2).
    ``weight`` is (d,)."""
    return torch.tanh(queries[..., :, None, :] + keys[..., None, :, :]) @ weight


def softmax(scores: Tensor) -> Tensor:
    """Positive shares that add up to 1. A query that may see nothing gets zeros, not NaN."""
    return scores.softmax(-1).nan_to_num(0.0)


def rectified(scores: Tensor) -> Tensor:
    """max(0, score), divided by the number of keys that are seen: a normaliser without exponentials."""
    seen = torch.isfinite(scores).sum(-1, keepdim=True).clamp(min=1)
    return scores.relu() / seen


def attend(
    scores: Tensor, values: Tensor, mask: Tensor | None = None, normaliser: Normaliser = softmax
) -> tuple[Tensor, Tensor]:
    """Output (…, n, v) and weights (…, n, m) for scores (…, n, m) and values (…, m, v); ``mask`` is True where a query
    may look, as in `seminal.pieces.masks`."""
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = normaliser(scores)
    return weights @ values, weights


def restricted(queries: Tensor, keys: Tensor, values: Tensor, reach: int) -> Tensor:
    """(B, h, n, v): the scaled dot product with softmax, where each query sees the keys at most ``reach`` places away
    (Vaswani et al. 2017, Sec. 4). The same as with the mask `seminal.pieces.masks.band`, at a cost of O(reach · n · d).

    The queries are taken ``reach`` at a time: such a part sees no more than its own keys and those of its two neighbours.
    Queries and keys (B, h, n, d), values (B, h, n, v); ``reach`` is 1 or more.
    """
    rows, heads, length, _ = queries.shape
    parts = -(-length // reach)
    filled = parts * reach - length
    asking = F.pad(queries, (0, 0, 0, filled)).reshape(rows * heads, parts, reach, -1)
    near = []
    for tensor in (keys, values):
        wide = F.pad(tensor, (0, 0, reach, filled + reach)).flatten(0, 1)  # (B h, n + …, d)
        near.append(wide.unfold(1, 3 * reach, reach).transpose(2, 3))  # (B h, parts, 3 reach, d)
    place = torch.arange(parts * reach, device=queries.device).view(parts, reach, 1)
    other = place[:, :1] - reach + torch.arange(3 * reach, device=queries.device)
    seen = ((place - other).abs() <= reach) & (other >= 0) & (other < length)
    found = F.scaled_dot_product_attention(asking, near[0], near[1], attn_mask=seen)
    return found.reshape(rows, heads, parts * reach, -1)[:, :, :length]
