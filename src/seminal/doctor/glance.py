"""What can be told at a glance: how well targets follow from features, by a learner that needs no training.

Ridge regression on the features and on a layer of random ReLU units (Rahimi and Recht, "Weighted sums of random kitchen
sinks", NeurIPS 2008), judged on rows it has not seen. Milliseconds, and many sets of targets at once: it answers questions
such as "would the labels fit if they were moved by one row?" for every shift. For the best a plain network can do ask
`seminal.doctor.second_opinion`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seminal.pieces.two_sample import MOST, standardised, unseen

UNITS = 300  # random ReLU units
FOLDS = 4


def predicted(x: Tensor, y: Tensor, group: Tensor, seed: int = 0) -> Tensor:
    """(n, k) targets ``y`` predicted from (n, d) features. Rows of one ``group`` (n,) are never used for one another."""
    generator = torch.Generator().manual_seed(seed)
    z = standardised(x.double())
    if z.shape[1] > MOST:
        z = standardised(z @ torch.randn(z.shape[1], MOST, generator=generator, dtype=z.dtype))
    weight = torch.randn(z.shape[1], UNITS, generator=generator, dtype=z.dtype) / z.shape[1] ** 0.5
    bias = torch.randn(UNITS, generator=generator, dtype=z.dtype)
    z = torch.cat([z, standardised(torch.relu(z @ weight + bias))], dim=1)
    y = y.double()
    return unseen(z, y - y.mean(0), folds(group, FOLDS, seed)) + y.mean(0)


def folds(group: Tensor, count: int, seed: int = 0) -> Tensor:
    """(n,) fold of each row; the rows of a group are in one fold, so that a copy cannot give the answer away."""
    numbers = group.unique(return_inverse=True)[1]
    generator = torch.Generator().manual_seed(seed)
    return (torch.randperm(int(numbers.max()) + 1, generator=generator) % count)[numbers]


def accuracy(x: Tensor, labels: Tensor, group: Tensor) -> float:
    """Share of the rows whose class (n,) is told right from the others."""
    classes, code = labels.unique(return_inverse=True)
    if len(classes) < 2:
        return 1.0
    return float((predicted(x, torch.eye(len(classes))[code], group).argmax(1) == code).double().mean())


def explained(x: Tensor, y: Tensor, group: Tensor) -> float:
    """R² of targets (n, k) told from the others: 0 for the mean, 1 for the truth."""
    y = y.double()
    return 1 - float((y - predicted(x, y, group)).square().sum() / (y - y.mean(0)).square().sum().clamp_min(1e-300))
