"""Room for the keys and values of tokens that are still to be written."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F

from seminal.core import Memory

ROOM = 32  # places for tokens in a new memory


def with_room(memory: Memory, length: int) -> Memory:
    """Keys and values (R, heads, places, width) with places for ``length`` tokens: the places double, so that few copies
    are made. Other entries of ``moving`` have fewer dimensions and stay as they are."""
    caches = {name: value for name, value in memory.moving.items() if value.dim() == 4}
    room = min(value.shape[2] for value in caches.values())
    if length <= room:
        return memory
    more = (0, 0, 0, max(length, 2 * room) - room)
    return replace(memory, moving={**memory.moving, **{name: F.pad(value, more) for name, value in caches.items()}})
