"""Divergences against SciPy, against themselves (closed form and Monte Carlo), and the laws they obey."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, multivariate_normal, norm
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from seminal.core import UserError
from seminal.pieces.divergences import (
    Estimate,
    js,
    js_sampled,
    kl,
    kl_diagonal,
    kl_gaussian,
    kl_sampled,
    tv,
    tv_sampled,
    uncovered,
)


def tensor(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def shares(counts: list[float]) -> Tensor:
    return torch.tensor(counts, dtype=torch.float64) / sum(counts)


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


COUNTS = st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 1e6)), min_size=5, max_size=5).filter(lambda c: sum(c) > 0)
NUMBER = st.floats(-20, 20)


# ------------------------------------------------------------------------------------------------------------- outcomes


@given(COUNTS, COUNTS, st.sampled_from([2.0, math.e, 10.0]))
def test_discrete_forms_are_scipys_and_obey_the_laws(first: list[float], second: list[float], base: float) -> None:
    p, q = shares(first), shares(second)
    forth, back, middle, total = kl(p, q, base), kl(q, p, base), js(p, q, base), tv(p, q)
    assert float(forth) == pytest.approx(entropy(p, q, base=base), abs=1e-12)
    assert float(middle) == pytest.approx(jensenshannon(p, q, base=base) ** 2, abs=1e-12)
    assert float(total) == pytest.approx(max(float((p - q)[list(event)].sum()) for event in EVENTS), abs=1e-12)
    assert not any(bool(value.isnan()) for value in (forth, back, middle, total))
    assert min(forth, back, middle, total) >= 0
    assert float(middle) == pytest.approx(float(js(q, p, base)), abs=1e-12)
    assert float(middle) <= math.log(2, base) + 1e-12
    assert float(total) <= math.sqrt(float(forth) * math.log(base) / 2) + 1e-9, "Pinsker's inequality"
    assert (forth == torch.inf) == bool(uncovered(p, q))


EVENTS = [[i for i in range(5) if number >> i & 1] for number in range(32)]


@given(COUNTS)
def test_nothing_is_far_from_itself(counts: list[float]) -> None:
    p = shares(counts)
    assert kl(p, p) == js(p, p) == tv(p, p) == 0


def test_what_makes_it_infinite_is_named() -> None:
    p, q = tensor(0.5, 0.5, 0), tensor(1, 0, 0)
    assert kl(p, q) == torch.inf
    assert "mat (p = 0.5)" in uncovered(p, q, ["cat", "mat", "hat"])
    assert "1 (p = 0.5)" in uncovered(p, q)
    assert float(kl(q, p)) == pytest.approx(math.log(2)), "the other way round nothing is missing"
    assert uncovered(q, p) == ""
    assert uncovered(torch.full((9,), 1 / 9), torch.eye(9)[0]).count("(p =") == 5


def test_disjoint_supports() -> None:
    """JS is at most 1 with base 2 only; with natural logarithms, log 2."""
    p, q = tensor(1, 0), tensor(0, 1)
    assert float(js(p, q, base=2)) == pytest.approx(1)
    assert float(js(p, q)) == pytest.approx(math.log(2))
    assert tv(p, q) == 1


def test_the_triangle_inequality_is_not_for_kl() -> None:
    p, q, r = tensor(0.5, 0.5), tensor(0.75, 0.25), tensor(0.95, 0.05)
    assert kl(p, r) > kl(p, q) + kl(q, r)


def test_many_distributions_at_once_and_their_gradient() -> None:
    logits, target = draws(3, 4).requires_grad_(), torch.softmax(draws(3, 4, seed=1), -1)
    found = kl(target, torch.softmax(logits, -1))
    assert found.shape == (3,)
    found.sum().backward()
    assert torch.allclose(logits.grad, torch.softmax(logits, -1).detach() - target), "that of cross-entropy"


@pytest.mark.parametrize("wrong", [tensor(3, 4), tensor(1.5, -0.5), tensor(math.nan, 1)])
def test_what_is_no_distribution_is_refused(wrong: Tensor) -> None:
    for divergence in (kl, js, tv):
        with pytest.raises(UserError, match="no distribution"):
            divergence(wrong, tensor(0.5, 0.5))


# ------------------------------------------------------------------------------------------------------------ Gaussians


@given(NUMBER, NUMBER, NUMBER, NUMBER)
def test_diagonal_form_is_torchs(
    mean: float, log_variance: float, other_mean: float, other_log_variance: float
) -> None:
    numbers = [
        torch.tensor([x, 0.3], dtype=torch.float64) for x in (mean, log_variance, other_mean, other_log_variance)
    ]
    a, b = (Normal(m, (v / 2).exp()) for m, v in (numbers[:2], numbers[2:]))
    assert float(kl_diagonal(*numbers)) == pytest.approx(float(kl_divergence(a, b).sum()), rel=1e-9, abs=1e-9)
    standard = Normal(torch.zeros(2, dtype=torch.float64), 1.0)
    assert float(kl_diagonal(*numbers[:2])) == pytest.approx(
        float(kl_divergence(a, standard).sum()), rel=1e-9, abs=1e-9
    )


def test_small_differences_keep_their_digits_in_single_precision() -> None:
    """log σ² = 1e-4: ½ (σ² − 1 − log σ²) = 2.5e-9, which 1e-7 of rounding would drown."""
    assert float(kl_diagonal(torch.zeros(1), torch.full((1,), 1e-4))) == pytest.approx(2.5e-9, rel=1e-3)


def test_points_are_infinitely_far_and_never_nan() -> None:
    point, at, elsewhere = tensor(-math.inf), tensor(1.0), tensor(2.0)
    assert kl_diagonal(at, point) == torch.inf
    assert kl_diagonal(at, tensor(0.0), at, point) == torch.inf
    assert kl_diagonal(at, point, elsewhere, point) == torch.inf
    assert kl_diagonal(at, point, at, point) == 0


def random_gaussian(seed: int, size: int = 3) -> tuple[Tensor, Tensor]:
    root = draws(size, size, seed=seed)
    return draws(size, seed=seed + 100), root @ root.T + 0.1 * torch.eye(size, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(5))
def test_full_form_is_torchs_and_the_diagonal_one(seed: int) -> None:
    a, b = random_gaussian(seed), random_gaussian(seed + 50)
    assert float(kl_gaussian(*a, *b)) == pytest.approx(
        float(kl_divergence(MultivariateNormal(*a), MultivariateNormal(*b)))
    )
    assert float(kl_gaussian(*a, *a)) == pytest.approx(0, abs=1e-12)
    variances = draws(4, 3, seed=seed).exp()
    full = kl_gaussian(draws(4, 3), torch.diag_embed(variances), a[0], torch.diag_embed(variances[0]))
    assert torch.allclose(full, kl_diagonal(draws(4, 3), variances.log(), a[0], variances[0].log()))


def test_a_singular_covariance_is_explained() -> None:
    flat = torch.ones(2, 2, dtype=torch.float64)
    with pytest.raises(UserError, match=r"covariance of the second Gaussian .* subspace"):
        kl_gaussian(tensor(0, 0), torch.eye(2, dtype=torch.float64), tensor(0, 0), flat)


def test_gradients_of_the_gaussians_are_those_of_differences() -> None:
    a, b = random_gaussian(1), random_gaussian(2)
    free = [x.clone().requires_grad_() for x in (draws(3), draws(3, seed=1), draws(3, seed=2), draws(3, seed=3))]
    assert torch.autograd.gradcheck(kl_diagonal, tuple(free))
    assert torch.autograd.gradcheck(
        lambda m, n: kl_gaussian(m, a[1], n, b[1]), (a[0].requires_grad_(), b[0].requires_grad_())
    )


# -------------------------------------------------------------------------------------------------------------- samples

P, Q = Normal(tensor(0.0), tensor(1.0)), Normal(tensor(0.7), tensor(1.6))
LOG_P, LOG_Q = (partial(lambda d, x: d.log_prob(x).sum(-1), d) for d in (P, Q))


def integral(f: object) -> float:
    return float(quad(f, -15, 15, limit=400)[0])  # type: ignore[arg-type]


def exact() -> dict[str, float]:
    p, q = norm(0, 1).pdf, norm(0.7, 1.6).pdf

    def half(one: object, other: object) -> float:
        return integral(lambda x: one(x) * math.log(2 * one(x) / (one(x) + other(x))) if one(x) else 0.0)  # type: ignore[operator]

    return {
        "kl": float(kl_diagonal(tensor(0.0), tensor(0.0), tensor(0.7), tensor(2 * math.log(1.6)))),
        "js": (half(p, q) + half(q, p)) / 2,
        "tv": integral(lambda x: abs(p(x) - q(x))) / 2,
    }


def estimates(n: int, seed: int) -> dict[str, Estimate]:
    x, y = draws(n, 1, seed=seed), 0.7 + 1.6 * draws(n, 1, seed=seed + 10_000)
    return {
        "kl": kl_sampled(LOG_P, LOG_Q, x),
        "js": js_sampled(LOG_P, LOG_Q, x, y),
        "tv": tv_sampled(LOG_P, LOG_Q, x),
    }


@pytest.mark.parametrize("name", ["kl", "js", "tv"])
def test_samples_find_the_exact_value_and_know_their_error(name: str) -> None:
    """Of 300 estimates, standardised by their own error, the mean is 0 and the spread 1: within 4 standard errors."""
    truth = exact()[name]
    found = [estimates(2_000, seed)[name] for seed in range(300)]
    standard = np.array([(one.value - truth) / one.error for one in found])
    assert abs(standard.mean()) < 4 / math.sqrt(300)
    assert abs(standard.std() - 1) < 4 / math.sqrt(600)


def test_full_gaussian_against_samples() -> None:
    a, b = random_gaussian(3), random_gaussian(4)
    x = torch.from_numpy(multivariate_normal(*a).rvs(20_000, random_state=np.random.default_rng(0)))
    found = kl_sampled(MultivariateNormal(*a).log_prob, MultivariateNormal(*b).log_prob, x)
    assert abs(found.value - float(kl_gaussian(*a, *b))) < 4 * found.error


@settings(deadline=None)
@given(st.floats(0.01, 1), st.floats(-3, 3))
def test_samples_outside_the_other_support(width: float, at: float) -> None:
    """Uniform densities that overlap in part or not at all: KL is infinite and says where; JS and TV are finite."""

    def log_density(low: float, high: float, x: Tensor) -> Tensor:
        return torch.where((x >= low) & (x <= high), -math.log(high - low), -math.inf)

    log_p, log_q = partial(log_density, 0.0, 1.0), partial(log_density, at, at + width)
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(500, generator=generator, dtype=torch.float64) for _ in range(2))
    outside = int(((x < at) | (x > at + width)).sum())
    kl_found, js_found, tv_found = (
        kl_sampled(log_p, log_q, x),
        js_sampled(log_p, log_q, x, at + width * y.clamp(1e-9, 1 - 1e-9), base=2),
        tv_sampled(log_p, log_q, x),
    )
    assert (kl_found.value == math.inf) == (outside > 0)
    assert not outside or f"{outside:,} of 500 samples" in kl_found.says
    for one in (kl_found, js_found, tv_found):
        assert not math.isnan(one.value)
        assert not math.isnan(one.error)
    assert -1e-8 <= js_found.value <= 1 + 1e-8
    assert 0 <= tv_found.value <= 1
    if at > 1 or at + width < 0:
        assert js_found.value == pytest.approx(1)
        assert tv_found.value == 1


def test_what_samples_cannot_be_is_explained() -> None:
    with pytest.raises(UserError, match="one number per sample"):
        kl_sampled(P.log_prob, LOG_Q, draws(5, 1))
    with pytest.raises(UserError, match="no standard error"):
        kl_sampled(LOG_P, LOG_Q, draws(1, 1))
    with pytest.raises(UserError, match="samples are those of p"):
        kl_sampled(lambda x: torch.full((len(x),), -math.inf), LOG_Q, draws(5, 1))
