"""The rows of a loader as tensors, in the order of the data set, and loaders that give the same rows otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from seminal.core import UserError
from seminal.doctor.program import pair_of

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

    def on(self, device: str) -> Rows:
        return Rows(self.inputs.to(device), self.targets.to(device), self.total)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.inputs.split(size), self.targets.split(size))


@runtime_checkable
class InOrder(Protocol):
    """A loader of ours that knows the order of its rows."""

    def in_order(self) -> Iterable[tuple[Any, Any]]:
        """The same rows, neither shuffled nor augmented."""


def same_rows(a: Any, b: Any) -> bool:
    """Whether two loaders are known to give the same rows: of our own it can be told, of others only of the same one."""
    return a is b or (isinstance(a, InOrder) and bool(a == b))


def rows_of(loader: Iterable[tuple[Any, Any]], most: int = MOST) -> Rows:
    """Reads the loader's data set directly, so that shuffling does not show; a stream is read from its beginning. Raises
    `UserError` where there is no row."""
    if isinstance(loader, Altered):
        rows = rows_of(loader.loader, most)
        return Rows(*loader.change(rows.inputs, rows.targets), rows.total)
    if isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset):
        dataset = drawn_from(loader)
        total = len(dataset)  # type: ignore[arg-type]
        chosen = torch.arange(total) if total <= most else torch.linspace(0, total - 1, most).round().long()
        parts = [loader.collate_fn([dataset[int(i)] for i in part]) for part in chosen.split(500) if len(part)]
    else:
        parts, total = [], 0
        for pair in map(pair_of, loader.in_order() if isinstance(loader, InOrder) else loader):
            if total < most:
                parts.append(pair)
            total += len(pair[0])
    if not total:
        raise UserError("a loader of the program gives no row: training and validation need some each.")
    parts = [pair_of(part) for part in parts]
    inputs, targets = _joined([p[0] for p in parts]), _joined([p[1] for p in parts])
    return Rows(inputs[:most], targets[:most], total)


def drawn_from(loader: DataLoader[Any]) -> Dataset[Any]:
    """The data set of a loader; where its sampler draws some of the rows only, as one that splits a set does, those."""
    dataset, sampler = loader.dataset, loader.sampler
    if loader.batch_size is None or isinstance(sampler, SequentialSampler | RandomSampler | WeightedRandomSampler):
        return dataset
    drawn = sorted(set(sampler))
    return dataset if len(drawn) == len(dataset) else Subset(dataset, drawn)  # type: ignore[arg-type]


def fingerprints(inputs: Tensor) -> list[bytes]:
    """The same for rows that are the same: 0 and −0 are one number."""
    return [row.tobytes() for row in (inputs + 0).detach().cpu().contiguous().numpy()]


def equally_long(train: Rows, val: Rows) -> tuple[Rows, Rows]:
    """Sequences of both splits padded to the longest of all. Each split is padded to its own longest, and the count of its
    zeros would tell the splits apart, and a row from its copy."""
    shapes = train.inputs.shape[1:], val.inputs.shape[1:]
    tokens = len(shapes[0]) == 1 and not train.inputs.is_floating_point()
    differ = len(shapes[0]) == len(shapes[1]) and shapes[0][:1] != shapes[1][:1] and shapes[0][1:] == shapes[1][1:]
    if not differ or not (tokens or len(shapes[0]) == 2):
        return train, val
    inputs = _joined([train.inputs, val.inputs])
    return replace(train, inputs=inputs[: len(train)]), replace(val, inputs=inputs[len(train) :])


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
    loader: Iterable[tuple[Any, Any]],
    *,
    batch: int | None = None,
    shuffle: bool | None = None,
    drop_last: bool | None = None,
) -> Iterable[tuple[Any, Any]]:
    """The same data set in batches of another size, in another order, or without a last batch that is not full. What is no
    DataLoader stays as it is."""
    if isinstance(loader, Altered):
        return Altered(reloaded(loader.loader, batch=batch, shuffle=shuffle, drop_last=drop_last), loader.change)
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return loader
    if batch is None and loader.batch_size is None:  # it has a sampler of whole batches
        return loader
    own = shuffle is None and not isinstance(loader.sampler, SequentialSampler | RandomSampler)
    return DataLoader(
        loader.dataset if own else drawn_from(loader),
        batch_size=batch or loader.batch_size or 1,
        sampler=loader.sampler if own else None,
        shuffle=False if own else shuffled(loader) if shuffle is None else shuffle,
        collate_fn=loader.collate_fn,
        drop_last=loader.drop_last if drop_last is None else drop_last,
    )


def shuffled(loader: Any) -> bool:
    """Whether the loader draws its order at random."""
    drawn = RandomSampler | SubsetRandomSampler | WeightedRandomSampler
    return isinstance(loader, DataLoader) and isinstance(loader.sampler, drawn)
