"""Rows of unlike lengths without their padding: what is computed for each token on its own needs no filling.

A batch of B rows padded to S tokens holds N real ones. Linear maps, normalisations and the like run on (N, …); attention,
which needs to know the rows, on (B, S, …). Where no row is padded, both are views of each other and cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seminal.pieces.recurrent import has_numbers
from seminal.pieces.tokens import PAD


@dataclass(frozen=True)
class Packing:
    """Where the N real tokens of (B, S) stand."""

    shape: tuple[int, int]  # B, S
    real: Tensor  # (B, S) bool
    places: Tensor | None  # (N,) their numbers, row by row; None: all are real

    @classmethod
    def of(cls, text: Tensor) -> Packing:
        """Of tokens (B, S), padded on the right."""
        real = text != PAD
        # A tensor without numbers is there to be counted: no row of it is padded.
        full = not has_numbers(text) or bool(real.all())
        return cls((text.shape[0], text.shape[1]), real, None if full else real.flatten().nonzero()[:, 0])

    def packed(self, x: Tensor) -> Tensor:
        """(B, S, …) to (N, …)."""
        flat = x.flatten(0, 1)
        return flat if self.places is None else flat.index_select(0, self.places)

    def spread(self, x: Tensor) -> Tensor:
        """(N, …) to (B, S, …), with zeros where the padding is."""
        if self.places is not None:
            rows, length = self.shape
            x = x.new_zeros(rows * length, *x.shape[1:]).index_copy(0, self.places, x)
        return x.unflatten(0, self.shape)

    @property
    def mask(self) -> Tensor | None:
        """(B, 1, 1, S) for attention: the tokens that may be seen; None: all."""
        return None if self.places is None else self.real[:, None, None, :]

    @property
    def lengths(self) -> Tensor:
        """(B,) tokens of each row."""
        return self.real.sum(1)

    @property
    def first(self) -> Tensor:
        """(B,) the place of each row's first token among the N."""
        return self.last - self.lengths + 1

    @property
    def last(self) -> Tensor:
        """(B,) … of its last token."""
        return self.lengths.cumsum(0) - 1


def picked(x: Tensor, mask: Tensor) -> Tensor:
    """The rows of ``x`` (N, …) where ``mask`` (N,) holds: as ``x[mask]``, with a gradient that is fast on a CPU too."""
    return x.index_select(0, mask.nonzero()[:, 0])
