"""Random numbers that belong to rows: uniform, independent, and the same however they are asked for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from seminal.pieces.chance import RowChance, shuffled
from seminal.pieces.draws import Draw

ROWS = 100_000
BOUND = 4.5 / ROWS**0.5  # of a correlation between independent numbers: 4.5 standard deviations
MASK = (1 << 64) - 1


def rows(seed: int = 0, epoch: int = 0, count: int = ROWS) -> RowChance:
    return RowChance(seed, epoch, torch.arange(count))


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return abs(float(np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1]))


def split_mix(x: int) -> int:
    """The finaliser of SplitMix64 as published, on Python's unbounded integers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


@pytest.mark.parametrize(("seed", "epoch", "draw"), [(0, 0, 0), (7, 3, Draw.FLIP), (123_456, 989, Draw.CUTMIX_PLACE)])
def test_agrees_with_unsigned_arithmetic(seed: int, epoch: int, draw: int) -> None:
    golden = 0x9E3779B97F4A7C15
    index = torch.tensor([0, 1, 59_999, 2**40])
    got = RowChance(seed, epoch, index).uniform(draw, 3)
    stream = split_mix(((seed * 1_000_003 + epoch * 1_009 + draw) * golden) & MASK)
    for i, row in enumerate(index.tolist()):
        start = split_mix(((row + 1) * golden + stream) & MASK)
        for j in range(3):
            bits = split_mix(split_mix((start + (j + 1) * golden) & MASK))
            assert got[i, j].item() == (bits >> 40) / 2**24


@pytest.mark.parametrize("seed", [0, 1, 2026])
@pytest.mark.parametrize("draw", [Draw.CROP_PLACE, Draw.NOISE])
def test_uniform_across_rows(seed: int, draw: Draw) -> None:
    u = rows(seed, epoch=5).uniform(draw)[:, 0]
    assert u.dtype == torch.float32
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3


def test_uniform_along_one_row_and_across_epochs() -> None:
    along = RowChance(3, 1, torch.tensor([17])).uniform(Draw.NOISE, ROWS)
    assert stats.kstest(along[0].numpy(), "uniform").pvalue > 1e-3
    row = torch.tensor([17])
    epochs = torch.cat([RowChance(3, epoch, row).uniform(Draw.FLIP) for epoch in range(2000)])
    assert stats.kstest(epochs[:, 0].numpy(), "uniform").pvalue > 1e-3


def test_normal_is_standard_normal() -> None:
    z = rows(1).normal(Draw.NOISE, 2)
    assert z.shape == (ROWS, 2)
    assert stats.kstest(z[:, 0].numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(z[:, 1].numpy(), "norm").pvalue > 1e-3
    assert torch.isfinite(rows(2, count=10_000).normal(Draw.NOISE, 500)).all()
    assert correlation(z[:, 0], z[:, 1]) < BOUND
    assert correlation(z[:, 0].square(), z[:, 1].square()) < BOUND


def test_no_two_draws_share_numbers() -> None:
    numbers = np.stack([rows(4).uniform(draw)[:, 0].numpy() for draw in Draw])
    between = np.abs(np.corrcoef(numbers) - np.eye(len(Draw)))
    assert between.max() < BOUND, [list(Draw)[i].name for i in np.unravel_index(between.argmax(), between.shape)]


def test_epochs_seeds_rows_and_positions_are_independent() -> None:
    u = rows(seed=1, epoch=1).uniform(Draw.FLIP, 3)
    for other in (rows(1, 2), rows(2, 1), rows(1, 0), rows(0, 1)):
        assert correlation(u, other.uniform(Draw.FLIP, 3)) < BOUND
    for lag in (1, 2, 16, 128, 1000):
        assert correlation(u[:-lag, 0], u[lag:, 0]) < BOUND * 1.01
    for a, b in itertools.combinations(range(3), 2):
        assert correlation(u[:, a], u[:, b]) < BOUND
        assert correlation(u[:-1, a], u[1:, b]) < BOUND * 1.01
    pairs, *_ = np.histogram2d(u[:, 0].numpy(), u[:, 1].numpy(), bins=16, range=[[0, 1], [0, 1]])
    assert stats.chisquare(pairs.flatten()).pvalue > 1e-3


def test_a_row_meets_the_same_luck_in_any_company() -> None:
    chance = rows(9, 2, 50)
    whole = chance.uniform(Draw.ROTATE, 4)
    assert torch.equal(whole, chance.uniform(Draw.ROTATE, 4))
    some = torch.tensor([31, 4, 4, 49])
    assert torch.equal(RowChance(9, 2, some).uniform(Draw.ROTATE, 4), whole[some])
    assert torch.equal(chance.uniform(Draw.ROTATE, 2), whole[:, :2])  # asking for more does not move what came before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_luck_on_another_device() -> None:
    chance = rows(9, 2, 1000)
    assert torch.equal(
        RowChance(9, 2, chance.index.cuda()).uniform(Draw.NOISE, 100).cpu(), chance.uniform(Draw.NOISE, 100)
    )


def test_streams_of_different_seeds_epochs_and_draws_never_meet() -> None:
    """The hash starts from one number for (seed, epoch, draw): within ten seeds and three thousand epochs, no two agree."""
    keys = {
        seed * 1_000_003 + epoch * 1_009 + draw
        for seed, epoch, draw in itertools.product(range(10), range(3000), list(Draw))
    }
    assert len(keys) == 10 * 3000 * len(Draw)


def test_shuffled_is_a_permutation_of_its_own_for_each_epoch() -> None:
    order = shuffled(1000, seed=1, epoch=0)
    assert torch.equal(order.sort().values, torch.arange(1000))
    assert torch.equal(order, shuffled(1000, seed=1, epoch=0))
    for seed, epoch in ((1, 1), (2, 0), (0, 0)):
        assert (order == shuffled(1000, seed, epoch)).sum() < 10
    assert shuffled(0, 0, 0).numel() == 0


def test_shuffled_favours_no_place() -> None:
    first = torch.stack([shuffled(8, seed, epoch)[:2] for seed in range(20) for epoch in range(200)])
    counts = torch.bincount(first[:, 0] * 8 + first[:, 1], minlength=64).view(8, 8)
    off_diagonal = counts[~torch.eye(8, dtype=torch.bool)]
    assert counts.diagonal().sum() == 0
    assert stats.chisquare(off_diagonal.numpy()).pvalue > 1e-3
