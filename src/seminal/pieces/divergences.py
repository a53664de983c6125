"""How far one distribution is from another: Kullback-Leibler, Jensen-Shannon, total variation.

    KL(p ‖ q) = Σ p log(p / q)                       Kullback and Leibler 1951; Σ is ∫ where p and q are densities
    JS(p, q)  = ½ KL(p ‖ m) + ½ KL(q ‖ m),  m = (p + q) / 2          Lin 1991
    TV(p, q)  = ½ Σ |p − q|

KL counts what it costs, on average, to describe a sample of p in the code that is best for q. It is at least 0, and 0 only
where p = q; it is not symmetric, and it is infinite as soon as something happens under p that cannot happen under q:
`uncovered` says what. JS is symmetric and at most log 2, which is 1 only if ``base`` is 2; TV is at most 1. Both reach
their most where p and q have nothing in common, however far apart they lie.

No function gives NaN for distributions: 0 log 0 is 0, its limit, and what is infinite is ``inf``. Logarithms are natural
unless a ``base`` is given. The discrete and the closed forms can be differentiated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seminal.core import UserError

LogDensity = Callable[[Tensor], Tensor]  # (n, …) samples -> (n,) natural logarithms of the density there

# ------------------------------------------------------------------------------------------------------------- outcomes


def kl(p: Tensor, q: Tensor, base: float = math.e) -> Tensor:
    """KL(p ‖ q) of probabilities (…, outcomes): (…,), ``inf`` where `uncovered` finds an outcome."""
    p, q = _probabilities(p, "p"), _probabilities(q, "q")
    # Rounding may leave −1e-17 where p = q.
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1).clamp_min(0) / math.log(base)


def js(p: Tensor, q: Tensor, base: float = math.e) -> Tensor:
    """JS(p, q) of probabilities (…, outcomes): (…,), from 0 to the logarithm of 2."""
    return js_parts(p, q, base).sum(-1)


def js_parts(p: Tensor, q: Tensor, base: float = math.e) -> Tensor:
    """What each outcome adds to JS(p, q): (…, outcomes), all at least 0, so that they tell where p and q differ."""
    p, q = _probabilities(p, "p"), _probabilities(q, "q")
    m = (p + q) / 2
    parts = torch.xlogy(p, p) - torch.xlogy(p, m) + torch.xlogy(q, q) - torch.xlogy(q, m)
    return parts.clamp_min(0) / (2 * math.log(base))


def tv(p: Tensor, q: Tensor) -> Tensor:
    """Total variation of probabilities (…, outcomes): (…,), from 0 to 1: how far the probability of an event can differ."""
    return (_probabilities(p, "p") - _probabilities(q, "q")).abs().sum(-1) / 2


def uncovered(p: Tensor, q: Tensor, names: Sequence[str] = ()) -> str:
    """Why KL(p ‖ q) of two distributions over the same outcomes (outcomes,) is infinite, in a sentence; empty where it is
    finite. Outcomes are called by ``names``, or by their place."""
    places = ((p > 0) & (q == 0)).nonzero().flatten().tolist()
    if not places:
        return ""
    called = ", ".join(f"{names[i] if names else i} (p = {float(p[i]):.3g})" for i in places[:5])
    more = f" and {len(places) - 5:,} more" if len(places) > 5 else ""
    return (
        f"KL(p ‖ q) is infinite: q gives probability 0 to what happens under p, {called}{more}. Give q some probability "
        "there (add 1 to each count, for example), or compare by JS or TV, which are always finite."
    )


def _probabilities(p: Tensor, name: str) -> Tensor:
    total = p.sum(-1)
    if not bool((p >= 0).all() & ((total - 1).abs() < 1e-4).all()):
        raise UserError(
            f"{name} is no distribution: probabilities are at least 0 and sum to 1. Divide counts by their sum first."
        )
    return p


# ------------------------------------------------------------------------------------------------------------ Gaussians


def kl_diagonal(
    mean: Tensor, log_variance: Tensor, other_mean: Tensor | float = 0.0, other_log_variance: Tensor | float = 0.0
) -> Tensor:
    """KL of Gaussians with independent coordinates, means and log variances (…, d): (…,). The second is the standard normal
    unless another is given: then it is ½ Σ (μ² + σ² − 1 − log σ²), Kingma and Welling 2013, appendix B.

    A variance of 0 (a log variance of −inf) is a point: infinitely far from all that is not the same point.
    """
    other = torch.as_tensor(other_log_variance, dtype=log_variance.dtype, device=log_variance.device)
    ratio = torch.where(log_variance == other, 0.0, log_variance - other)  # of two points there is no −inf − (−inf)
    gap = mean - other_mean
    far = torch.where(gap == 0, 0.0, gap.square() * (-other).exp())
    # expm1 keeps the digits of small differences; the cut keeps inf − inf away.
    return (far + ratio.expm1() - ratio.clamp(max=1e30)).sum(-1) / 2


def kl_gaussian(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """KL of Gaussians with means (…, d) and covariances (…, d, d): (…,).

    ½ (tr(Σ₂⁻¹ Σ₁) + (μ₂ − μ₁)ᵀ Σ₂⁻¹ (μ₂ − μ₁) − d + log det Σ₂ − log det Σ₁), by Cholesky factors. Raises `UserError` where
    a covariance is singular: such a Gaussian has no density.
    """
    root, other = _root(covariance, "first"), _root(other_covariance, "second")
    spread = torch.linalg.solve_triangular(other, root, upper=False).square().sum((-2, -1))
    gap = torch.linalg.solve_triangular(other, (other_mean - mean).unsqueeze(-1), upper=False).square().sum((-2, -1))
    volume = (other.diagonal(dim1=-2, dim2=-1).log() - root.diagonal(dim1=-2, dim2=-1).log()).sum(-1)
    return ((spread + gap - mean.shape[-1]) / 2 + volume).clamp_min(0)


def _root(covariance: Tensor, which: str) -> Tensor:
    root, failed = torch.linalg.cholesky_ex(covariance)
    if bool(failed.any()):
        raise UserError(
            f"the covariance of the {which} Gaussian is not positive definite: it lies in a subspace and has no density, and "
            "a KL with it is infinite unless both lie in the same one. Compare within that subspace, or add a small variance."
        )
    return root


# -------------------------------------------------------------------------------------------------------------- samples


@dataclass(frozen=True)
class Estimate:
    """A divergence as the mean over samples. ``says`` explains an infinite one."""

    value: float
    error: float  # standard error of the mean; 0 where a sample proves that the value is infinite
    says: str = ""


def kl_sampled(log_p: LogDensity, log_q: LogDensity, samples: Tensor) -> Estimate:
    """KL(p ‖ q) as the mean of log p − log q over ``samples`` (n, …) of p, in nats."""
    p, q = _log_densities(log_p, log_q, samples)
    outside = q == -torch.inf
    if bool(outside.any()):
        first = int(outside.nonzero()[0])
        says = (
            f"KL(p ‖ q) is infinite: q has density 0 at {int(outside.sum()):,} of {len(p):,} samples of p, the first of "
            f"them number {first}. JS and TV are finite."
        )
        return Estimate(math.inf, 0.0, says)
    return _mean(p - q)


def js_sampled(log_p: LogDensity, log_q: LogDensity, samples: Tensor, other: Tensor, base: float = math.e) -> Estimate:
    """JS(p, q) over samples (n, …) of p and ``other`` (m, …) of q. Always finite."""
    halves = []
    for own, foe, rows in ((log_p, log_q, samples), (log_q, log_p, other)):
        inside, outside = _log_densities(own, foe, rows)
        halves.append(_mean(inside - torch.logaddexp(inside, outside) + math.log(2)))
    first, second = halves
    unit = 2 * math.log(base)
    return Estimate((first.value + second.value) / unit, math.hypot(first.error, second.error) / unit)


def tv_sampled(log_p: LogDensity, log_q: LogDensity, samples: Tensor) -> Estimate:
    """TV(p, q) = E max(0, 1 − q/p) over ``samples`` (n, …) of p. Always finite."""
    p, q = _log_densities(log_p, log_q, samples)
    return _mean(-(q - p).clamp(max=0).expm1())


def _log_densities(log_p: LogDensity, log_q: LogDensity, samples: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) logarithms of both densities at samples of p, float64."""
    if len(samples) < 2:
        raise UserError(f"{len(samples)} samples have no standard error: give at least 2, better thousands.")
    p, q = log_p(samples).double(), log_q(samples).double()
    if p.shape != (len(samples),) or q.shape != p.shape:
        raise UserError(
            f"a log density gives one number per sample, ({len(samples)},), and these give {tuple(p.shape)} and "
            f"{tuple(q.shape)}: sum over the coordinates."
        )
    if not bool(p.isfinite().all()) or bool((q.isnan() | (q == torch.inf)).any()):
        raise UserError(
            "a log density is infinite or NaN where it must be a number (p at its samples; q but where it is 0): "
            "check that the samples are those of p, and that no variance is 0."
        )
    return p, q


def _mean(values: Tensor) -> Estimate:
    return Estimate(float(values.mean()), float(values.std()) / math.sqrt(len(values)))
