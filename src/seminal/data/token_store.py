"""Sequences of tokens of unlike lengths, end to end in one array: in memory, or in a file that the system pages in and
out, so that a corpus may be larger than memory."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seminal.pieces.tokens import PAD

LARGE = 1 << 28  # bytes of tokens that are kept in memory; more go to a file


@dataclass(frozen=True, eq=False)
class TokenStore:
    """Row i is ``flat[starts[i] : starts[i + 1]]``."""

    flat: np.ndarray  # (all tokens,) int32
    starts: np.ndarray  # (rows + 1,) int64

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(rows,) int64"""
        return np.diff(self.starts)

    def row(self, index: int) -> np.ndarray:
        """(length,) int32"""
        return self.flat[self.starts[index] : self.starts[index + 1]]

    def kept(self, rows: np.ndarray) -> TokenStore:
        """Only some of the rows; the same store where these are all."""
        if len(rows) == len(self):
            return self
        return stored([self.row(index).tolist() for index in rows[i : i + 10_000]] for i in range(0, len(rows), 10_000))

    def padded(self, rows: np.ndarray, *, most: int | None = None) -> Tensor:
        """(rows, longest) int64, filled up with padding; each row cut to its first ``most`` tokens."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        lengths = lengths if most is None else np.minimum(lengths, most)
        places = np.arange(int(lengths.max()) if len(rows) else 0)
        real = places < lengths[:, None]
        out = np.full(real.shape, PAD, dtype=np.int64)
        out[real] = self.flat[(self.starts[rows][:, None] + places)[real]]
        return torch.from_numpy(out)


def digest(*arrays: np.ndarray, beside: str = "") -> str:
    """SHA-256 of the values of all arrays, and of what is known ``beside`` them."""
    found = hashlib.sha256(beside.encode())
    for array in arrays:
        found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def stored(batches: Iterable[list[list[int]]], large: int = LARGE) -> TokenStore:
    """A store of the rows of all batches. More than ``large`` bytes go to a file that is gone when the program ends."""
    chunks: list[np.ndarray] = []
    lengths: list[np.ndarray] = []
    size, file = 0, None
    for rows in batches:
        chunk = np.fromiter((token for row in rows for token in row), dtype=np.int32)
        lengths.append(np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)))
        size += chunk.nbytes
        if file is None and size > large:
            file = tempfile.TemporaryFile()  # noqa: SIM115 (closed at the end, or with the program)
            for earlier in chunks:
                file.write(earlier.tobytes())
            chunks = []
        if file is None:
            chunks.append(chunk)
        else:
            file.write(chunk.tobytes())
    starts = np.concatenate([[0], np.concatenate(lengths).cumsum()]) if lengths else np.zeros(1, dtype=np.int64)
    if file is None:
        return TokenStore(np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.int32), starts)
    with file:  # the array keeps what it reads from, and the file has no name: it is gone with the array
        file.flush()
        return TokenStore(np.memmap(file, dtype=np.int32, mode="r", shape=(int(starts[-1]),)), starts)
