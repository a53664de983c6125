"""Scoring a model on a split: sums over batches and ranks first, metrics once, from the totals."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from seminal.core import Batch, Order, Precision, Recipe, Source, Sums
from seminal.train import distributed
from seminal.train.precision import arithmetic, in_layout, laid_out


def scored(model: nn.Module, source: Source, recipe: Recipe, order: Order, most: int | None = None) -> Sums:
    """The task's sums over the rows of ``order``, over all ranks; over its first ``most`` batches where given."""
    precision = recipe.precision or Precision()
    sums: Sums = {}
    mine = replace(order, rank=distributed.rank(), world=distributed.world())
    for batch in itertools.islice(_batches(model, source, recipe, mine), most):
        if not len(batch["index"]) and sums:
            continue  # a rank that has no row of any batch still needs zeros to add
        with torch.no_grad(), arithmetic(precision, batch["index"].device):
            found = recipe.task.score(model, batch)
        sums = {name: sums[name] + value if sums else value for name, value in found.items()}
    return dict(zip(sums, distributed.added(*sums.values())))


def predicted(
    model: nn.Module, source: Source, recipe: Recipe, order: Order
) -> Iterator[tuple[Batch, dict[str, Tensor]]]:
    """(batch, predictions) for every batch of ``order``: of all ranks, only the one that writes the report asks."""
    precision = recipe.precision or Precision()
    for batch in _batches(model, source, recipe, order):
        if not len(batch["index"]):
            continue
        with torch.no_grad(), arithmetic(precision, batch["index"].device):
            found = recipe.task.predict(model, batch)
        yield batch, found


def _batches(model: nn.Module, source: Source, recipe: Recipe, order: Order) -> Iterator[Batch]:
    precision = recipe.precision or Precision()
    device = next(model.parameters()).device
    laid_out(model, precision).eval()
    for batch in source.batches(order):
        yield in_layout(batch, device, precision)


@contextlib.contextmanager
def weights(model: nn.Module, values: Mapping[str, Tensor]) -> Iterator[None]:
    """The model with other weights (a moving average, the best so far) for a while."""
    own = {name: t.clone() for name, t in model.state_dict().items()}
    model.load_state_dict(dict(values))
    try:
        yield
    finally:
        model.load_state_dict(own)
