"""The classifier two-sample test: do two sets of rows come from one distribution?

    D. Lopez-Paz and M. Oquab, "Revisiting classifier two-sample tests", ICLR 2017 (https://arxiv.org/abs/1610.06545).

A classifier is trained to tell the sets apart and judged on rows it has not seen. If the sets come from one distribution,
nobody can do better than chance, so what it does better is evidence that they do not, and how well it does says how
far apart they are.

Here the classifier is linear. Row i has the features z (standardised over both sets, d of them) and the label t = ±½,
shifted to mean 0. In each of K folds the weights are those of ridge regression on the other folds,

    w = (Zᵀ Z + d I)⁻¹ Zᵀ t,        score of an unseen row: z · w,

and the statistic is the area under the ROC curve of all unseen rows: the probability that a row of the second set has
a higher score than one of the first,

    AUC = (Σ ranks of the second set − n₂ (n₂ + 1) / 2) / (n₁ n₂).

The p-value is that of the permutation test: labels are dealt out anew B times, everything else is done again,
p = (1 + #{AUC_b ≥ AUC}) / (B + 1). It is exact for any n, whatever the features are. Since Z does not change, one
factorisation serves all B permutations. The linear classifier is given z and |z|: it sees means that differ, and spreads.

A classifier of many features sees little of a change in one alone. `examined` therefore asks of each feature, too, how far
its mean or its mean |z| differs, |zᵀ t|, and holds that against the largest such number of any feature under each
permutation (Westfall and Young 1993): the p-values of the features are right all together. The AUC and the largest |zᵀ t|
make one p-value: each gets its own from its rank among all B + 1 labellings, and the smaller of the two is ranked in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from seminal.core import UserError

MOST = 200  # features; more are projected at random onto so many


@dataclass(frozen=True)
class TwoSample:
    """How far apart two sets of rows are."""

    auc: float  # of telling unseen rows apart: ½ is chance, 1 is always right
    p: float  # how often sets from one distribution look so different
    means: Tensor  # (d,) difference of means, second minus first, in standard deviations of both sets together
    spreads: Tensor  # (d,) natural logarithm of the ratio of standard deviations, second over first

    @property
    def mean(self) -> float:
        """The largest difference of means of a feature, in standard deviations."""
        return float(self.means.abs().max())

    @property
    def spread(self) -> float:
        """The largest ratio of standard deviations of a feature, at least 1."""
        return float(self.spreads.abs().max().exp())


@dataclass(frozen=True)
class Examined:
    """Two sets of rows compared, and what tells them apart."""

    auc: float  # as in `TwoSample`
    p: float  # of the AUC and of the feature that differs most, together
    chance: float  # standard deviation of the AUC where labels mean nothing
    each: Tensor  # (d,) p-values of the features, corrected for their number
    sizes: (
        Tensor  # (d,) by how many standard deviations a feature's mean, or its mean distance from the middle, differs
    )
    scores: Tensor  # (n₁ + n₂,) of unseen rows: the higher, the more like the second set


def compared(first: Tensor, second: Tensor, *, folds: int = 5, permutations: int = 199, seed: int = 0) -> TwoSample:
    """Compares two sets of rows, (n₁, …) and (n₂, …) with the same features behind the first dimension.

    Deterministic for a seed. Raises `UserError` where the sets do not have the same features, hold fewer than ``folds``
    rows each, or hold values that are not finite.
    """
    a, b = _checked(first, second, folds)
    _, dealt, scores = _judged(a, b, folds, permutations, seed)
    areas = auc(scores, dealt > 0)
    means, spreads = _moments(a, b)
    return TwoSample(float(areas[0]), float(_p_values(areas)[0]), means, spreads)


def examined(first: Tensor, second: Tensor, *, folds: int = 5, permutations: int = 499, seed: int = 0) -> Examined:
    """Compares as `compared` does, and says which features and which rows tell the sets apart."""
    a, b = _checked(first, second, folds)
    rows, dealt, scores = _judged(a, b, folds, permutations, seed)
    areas = auc(scores, dealt > 0)
    z = standardised(rows)
    centred = dealt - dealt.mean(0)
    differs = torch.maximum((z.T @ centred).abs(), (standardised(z.abs()).T @ centred).abs())  # (d, 1 + permutations)
    largest = differs.amax(0)
    together = _p_values(-torch.minimum(_p_values(areas), _p_values(largest)))
    each = (1 + (largest[1:] >= differs[:, :1] - 1e-9).sum(1)).double() / (permutations + 1)
    sizes = differs[:, 0] * len(rows) / (len(a) * len(b))
    return Examined(float(areas[0]), float(together[0]), float(areas[1:].std()), each, sizes, scores[:, 0])


def _checked(first: Tensor, second: Tensor, folds: int) -> tuple[Tensor, Tensor]:
    a, b = first.flatten(1).double(), second.flatten(1).double()
    if a.shape[1] != b.shape[1]:
        raise UserError(
            f"rows of {a.shape[1]} and of {b.shape[1]} features cannot be compared: give both sets the same."
        )
    if min(len(a), len(b)) < folds:
        raise UserError(f"{len(a)} and {len(b)} rows are too few for {folds} folds: give at least {folds} of each.")
    if not bool(a.isfinite().all() & b.isfinite().all()):
        raise UserError("the rows hold NaN or infinity: a mean of them says nothing. Replace or drop them first.")
    return a, b


def _judged(a: Tensor, b: Tensor, folds: int, permutations: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """All rows (n, d); their labels ±½ (n, 1 + permutations), of which column 0 is what was observed and the others are the
    same dealt out anew; and the scores that unseen rows get under each labelling, of the same shape."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.cat([a, b])
    labels = torch.cat([torch.full((len(a),), -0.5), torch.full((len(b),), 0.5)]).double()
    dealt = torch.stack(
        [labels, *(labels[torch.randperm(len(rows), generator=generator)] for _ in range(permutations))], dim=1
    )
    fold = torch.randperm(len(rows), generator=generator) % folds
    return rows, dealt, unseen(_features(rows, generator), dealt - labels.mean(), fold)


def _p_values(statistic: Tensor) -> Tensor:
    """(B + 1,) the share of labellings whose statistic is at least as large as each one's. Observed is one of them."""
    return (statistic[None, :] >= statistic[:, None] - 1e-9).double().mean(1)


def auc(scores: Tensor, positive: Tensor) -> Tensor:
    """Area under the ROC curve of each column: (n, c) scores and (n, c) truth. Ties count half."""
    ranks = torch.from_numpy(np.asarray(rankdata(scores.numpy(), axis=0)))
    n = positive.sum(0)
    return ((ranks * positive).sum(0) - n * (n + 1) / 2) / (n * (len(positive) - n))


def _features(rows: Tensor, generator: torch.Generator) -> Tensor:
    """(n, ≤ 2 · `MOST`) standardised features, and their absolute values."""
    varies = rows.amax(0) > rows.amin(0)
    z = standardised(rows[:, varies]) if bool(varies.any()) else rows[:, :1] * 0
    if z.shape[1] > MOST:
        z = standardised(z @ torch.randn(z.shape[1], MOST, generator=generator, dtype=z.dtype))
    return torch.cat([z, standardised(z.abs())], dim=1)


def standardised(x: Tensor) -> Tensor:
    """Each column with mean 0 and standard deviation 1; a constant one is 0."""
    x = x - x.mean(0)
    scale = x.square().mean(0).sqrt()
    return torch.where(scale > 0, x / scale.clamp_min(1e-300), 0.0)


def unseen(z: Tensor, t: Tensor, fold: Tensor) -> Tensor:
    """Ridge regression judged on rows it has not seen: (n, c) predictions of the targets ``t`` (n, c) of mean 0 from the
    standardised features ``z`` (n, d). Rows with the same number in ``fold`` (n,) are predicted from all others."""
    gram, product = z.T @ z, z.T @ t
    ridge = z.shape[1] * torch.eye(z.shape[1], dtype=z.dtype)
    scores = torch.empty_like(t)
    for k in fold.unique():
        out = fold == k
        part = z[out]
        scores[out] = part @ torch.linalg.solve(gram - part.T @ part + ridge, product - part.T @ t[out])
    return scores


def _moments(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(d,) differences of means and of log spreads. A feature that is constant everywhere differs by 0."""
    both = torch.cat([a, b])
    scale = both.std(0)
    means = torch.where(scale > 0, (b.mean(0) - a.mean(0)) / scale.clamp_min(1e-300), 0.0)
    # One millionth of the common spread: a feature that is constant in one set gives a large ratio, not infinity.
    least = (1e-6 * scale).clamp_min(1e-300)
    spreads = torch.where(scale > 0, torch.maximum(b.std(0), least).log() - torch.maximum(a.std(0), least).log(), 0.0)
    return means, spreads
