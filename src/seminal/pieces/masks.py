"""Who may see whom: boolean masks for attention, True where a query may look at a key.

Each has a shape that broadcasts to (rows, heads, queries, keys), so they are combined with ``&``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seminal.pieces.tokens import PAD


def padding(tokens: Tensor) -> Tensor:
    """(rows, 1, 1, keys): every token (rows, keys) but the filling."""
    return (tokens != PAD)[:, None, None, :]


def causal(queries: int, keys: int | None = None, device: torch.device | None = None) -> Tensor:
    """(queries, keys): each token sees itself and those before it. Of more keys than queries the first are the past."""
    keys = queries if keys is None else keys
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def band(length: int, reach: int, device: torch.device | None = None) -> Tensor:
    """(length, length): each token sees those at most ``reach`` places away (Vaswani et al. 2017, Sec. 4: restricted
    self-attention)."""
    place = torch.arange(length, device=device)
    return (place[:, None] - place[None, :]).abs() <= reach
