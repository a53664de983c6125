"""Schedules against torch's own schedulers and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seminal.train import schedules as s

EVERY = [s.Constant(), s.Steps((0.5, 0.75)), s.Plateau(), s.Exponential(), s.Cosine(), s.Linear(), s.InverseSqrt(40)]


def torchs(make, steps):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(optimiser), []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


LR = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (s.Cosine(), lambda o: LR.CosineAnnealingLR(o, 200)),
        (s.Steps((0.5, 0.75), 0.1), lambda o: LR.MultiStepLR(o, [100, 150], 0.1)),
        (s.Exponential(0.01), lambda o: LR.ExponentialLR(o, 0.01 ** (1 / 200))),
        (s.Linear(), lambda o: LR.LinearLR(o, 1.0, 0.0, 200)),
    ],
)
def test_equal_to_torchs_scheduler(ours, theirs):
    assert [ours(i, 200, ()) for i in range(200)] == pytest.approx(torchs(theirs, 200), abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 6))
def test_plateau_equals_torchs_fed_one_score_at_a_time(scores, patience):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    # torch waits for one bad epoch more than its `patience` says.
    theirs = LR.ReduceLROnPlateau(optimiser, factor=0.5, patience=patience - 1, threshold=0.0, eps=0.0)
    for i, score in enumerate(scores):
        theirs.step(score)
        ours = s.Plateau(0.5, patience, most=1000)(0, 1, tuple(scores[: i + 1]))
        assert ours == pytest.approx(optimiser.param_groups[0]["lr"])


def test_the_transformers_rate_has_its_peak_where_the_paper_says():
    d, warmup = 512, 4000
    peak = (d * warmup) ** -0.5
    ours = [peak * s.InverseSqrt(warmup)(i, 0, ()) for i in range(0, 20_000, 7)]
    formula = [d**-0.5 * min((i + 1) ** -0.5, (i + 1) * warmup**-1.5) for i in range(0, 20_000, 7)]
    assert ours == pytest.approx(formula)
    assert peak * s.InverseSqrt(warmup)(3999, 0, ()) == pytest.approx(6.99e-4, abs=5e-7)


@pytest.mark.parametrize("then", EVERY, ids=lambda schedule: type(schedule).__name__)
def test_warm_up_rises_and_then_follows(then):
    warm = s.Warmup(then, share=0.1)
    rates = [warm(i, 100, ()) for i in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10:] == pytest.approx([then(i, 90, ()) for i in range(90)])
    assert all(0 <= rate <= 1 + 1e-12 and math.isfinite(rate) for rate in rates)


def test_resnet_110_waits_at_a_tenth():
    warm = s.Warmup(s.Steps((0.5,)), share=0.05, start=0.1, rise="constant")
    assert [warm(i, 100, ()) for i in (0, 4, 5, 60)] == pytest.approx([0.1, 0.1, 1.0, 0.1])
