"""The rows of a loader as tensors, in the order of the data set, and loaders that give the same rows otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler

MOST = 4000  # rows that are looked at


@dataclass(frozen=True)
class Rows:
    """Inputs and targets of a split, at most `MOST` rows, spread evenly over it."""

    inputs: Tensor
    targets: Tensor
    total: int  # rows there are

    def __len__(self) -> int:
        return len(self.inputs)

    def part(self, index: Tensor) -> Rows:
        return Rows(self.inputs[index], self.targets[index], len(index))

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.inputs.split(size), self.targets.split(size))


def rows_of(loader: Iterable[tuple[Any, Any]], most: int = MOST) -> Rows:
    """Reads the loader's data set directly, so that shuffling does not show; a stream is read from its beginning."""
    if isinstance(loader, Altered):
        rows = rows_of(loader.loader, most)
        return Rows(*loader.change(rows.inputs, rows.targets), rows.total)
    if isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset):
        total = len(loader.dataset)  # type: ignore[arg-type]
        chosen = torch.arange(total) if total <= most else torch.linspace(0, total - 1, most).round().long()
        parts = [loader.collate_fn([loader.dataset[int(i)] for i in part]) for part in chosen.split(500)]
    else:
        parts, total = [], 0
        for pair in loader:
            if total < most:
                parts.append(pair)
            total += len(pair[0])
    inputs, targets = _joined([p[0] for p in parts]), _joined([p[1] for p in parts])
    return Rows(inputs[:most], targets[:most], total)


def _joined(parts: list[Tensor]) -> Tensor:
    """All batches as one. Sequences are padded to the longest of their batch: the shorter batches get more zeros, which is
    what nearly every program pads with."""
    if len({part.shape[1:] for part in parts}) == 1 or any(part.dim() != parts[0].dim() for part in parts):
        return torch.cat(parts)
    shape = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts))]
    whole = parts[0].new_zeros(sum(map(len, parts)), *shape)
    begin = 0
    for part in parts:
        whole[(slice(begin, begin + len(part)), *map(slice, part.shape[1:]))] = part
        begin += len(part)
    return whole


@dataclass(frozen=True)
class Altered:
    """The batches of a loader, each of them changed."""

    loader: Any
    change: Callable[[Any, Any], tuple[Any, Any]]

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for input, target in self.loader:
            yield self.change(input, target)


def reloaded(
    loader: Iterable[tuple[Any, Any]], *, batch: int | None = None, shuffle: bool | None = None
) -> Iterable[tuple[Any, Any]]:
    """The same data set in batches of another size, or in another order. What is no DataLoader stays as it is."""
    if isinstance(loader, Altered):
        return Altered(reloaded(loader.loader, batch=batch, shuffle=shuffle), loader.change)
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return loader
    if batch is None and loader.batch_size is None:  # it has a sampler of whole batches
        return loader
    return DataLoader(
        loader.dataset,
        batch_size=batch or loader.batch_size or 1,
        shuffle=shuffled(loader) if shuffle is None else shuffle,
        collate_fn=loader.collate_fn,
        drop_last=loader.drop_last,
    )


def shuffled(loader: Any) -> bool:
    """Whether the loader draws its order at random."""
    return isinstance(loader, DataLoader) and isinstance(loader.sampler, RandomSampler)
