"""What is dealt out to rows by lot: half of them, or labels at random.

A row draws its lot by its own values, so that it draws the same one in every pass, from any loader and in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from seminal.core import UserError
from seminal.doctor.findings import Remedy
from seminal.doctor.program import Program
from seminal.doctor.rows import Altered, Rows

FINE = 1e4  # how far a small difference between two rows moves their lots apart
AGAIN = 0.5  # share of the rows of one pass that must come again in the next


def lots(inputs: Tensor) -> Tensor:
    """(rows,) numbers in [0, 1), float64; equal rows have equal ones."""
    rows = inputs.flatten(1).double()
    # Multiples of the golden ratio, modulo 1, fill an interval evenly, and a longer row begins with the same ones.
    place = torch.arange(1, rows.shape[1] + 1, dtype=torch.float64, device=rows.device)
    return (rows * (1 + place * 0.6180339887498949 % 1)).sum(1).mul(FINE).remainder(1)


def half() -> Remedy:
    """Half of the training rows, for as many steps."""

    def change(program: Program) -> Program:
        _must_come_again(program)
        return replace(program, train=Half(program.train), epochs=2 * program.epochs)

    return Remedy("half of the rows", "train on half of the rows, for as many steps", "", change)


def random_targets(rows: Rows) -> Remedy:
    """Every training row has the target of another, and keeps it."""

    def change(program: Program) -> Program:
        _must_come_again(program)
        return replace(program, train=Altered(program.train, lambda x, y: (x, dealt(x, rows.targets).to(y))))

    return Remedy("labels at random", "give every row the label of another", "", change)


def dealt(inputs: Tensor, targets: Tensor) -> Tensor:
    """For each row one of the targets, by lot."""
    return targets.to(inputs.device)[(lots(inputs) * len(targets)).long()]


def _must_come_again(program: Program) -> None:
    first, second = (torch.cat([lots(input) for input, _ in program.train]) for _ in range(2))
    if float(torch.isin(second, first).double().mean()) < AGAIN:
        raise UserError("the rows are changed anew in every pass (augmentation): no row can be told from the others")


@dataclass(frozen=True)
class Half:
    """A loader with only the rows whose lot is below ½; two of its batches make one."""

    loader: Iterable[tuple[Any, Any]]

    def __len__(self) -> int:
        return (len(self.loader) + 1) // 2  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        held: list[tuple[Tensor, Tensor]] = []
        for input, target in self.loader:
            kept = lots(input) < 0.5
            held.append((input[kept], target[kept]))
            if len(held) == 2:
                yield from _joined(held)
                held = []
        yield from _joined(held)


def _joined(held: list[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    if sum(len(input) for input, _ in held):
        yield torch.cat([input for input, _ in held]), torch.cat([target for _, target in held])
