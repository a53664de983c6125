"""The tokens every vocabulary begins with, and what follows from them.

A sentence of n tokens is kept as ``<s> w1 … wn </s>`` where it is to be written, and filled up with ``<pad>`` to the
length of the longest in its batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

PAD, UNKNOWN, BEGIN, END = range(4)
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
MASK = "<mask>"  # the name of a fifth, of vocabularies for masked language models; others may call it [MASK]
NOTHING = -100  # the target where no class is to be said, as torch's cross-entropy has it


def lengths(tokens: Tensor) -> Tensor:
    """(rows,) int64: tokens (rows, n) before the padding."""
    return (tokens != PAD).sum(1)


def of_text(tokens: Sequence[int]) -> list[int]:
    """The tokens of a sentence up to its ending, without special ones; unknown ones stay, for each stands for a word."""
    ended = tokens[: tokens.index(END)] if END in tokens else tokens
    return [token for token in ended if token == UNKNOWN or token >= len(SPECIAL)]


def shifted(target: Tensor) -> tuple[Tensor, Tensor]:
    """What a writer reads and what it must say after each token: (rows, n) both, from ``<s> w1 … </s>`` (rows, n + 1)."""
    return target[:, :-1], target[:, 1:]
