"""What a loss is, told by what it does: random outputs go in, and the numbers that come out are compared with known
losses.

No class is looked up and no source is read, so that a cross-entropy written by hand is known as one, and a wrong one
is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from seminal.doctor.program import Loss

ROWS = 8  # in the batches that the loss is asked about
DRAWS = 6  # random outputs for each of them
CLOSE = 0.003  # relative error up to which two curves are the same
DOMAINS = ("any", "unit", "simplex")  # any numbers; each one in (0, 1); in (0, 1) and summing to 1


@dataclass(frozen=True)
class LossForm:
    """A loss, by its behaviour."""

    name: str = ""  # of the known loss that it equals up to positive weights of the rows; "": none
    factor: float = math.nan  # loss = factor × mean over rows of the known loss; negative: the sign is wrong
    # "mean", "sum", "mixed": what is asked of a row depends on the other rows; "other": a mean of means …; "": unknown
    reduction: str = ""
    shift_invariant: bool = (
        False  # adding a constant to all outputs of a row changes nothing: it takes a softmax itself
    )
    over_rows: bool = False  # … to an output of all rows: that softmax runs over the batch
    domain: str = ""  # the widest of `DOMAINS` in which it is finite; "": none
    constant: bool = False  # it is the same for all outputs
    detached: bool = False  # no gradient reaches the outputs


def class_dim(out: torch.Size, target: torch.Size) -> int | None:
    """The dimension of the outputs that runs over classes, for targets that are class numbers."""
    if len(target) == len(out) and target[-1] == 1:
        target = target[:-1]
    dims = [d for d in range(1, len(out)) if out[:d] + out[d + 1 :] == target]
    return dims[0] if dims else None


def one_hot(target: Tensor, out: torch.Size) -> Tensor | None:
    """Class numbers as zeros and ones in the shape of the outputs."""
    dim = class_dim(out, target.shape)
    if dim is None or target.min() < 0 or target.max() >= out[dim]:
        return None
    return F.one_hot(target.reshape(out[:dim] + out[dim + 1 :]).long(), out[dim]).movedim(-1, dim).float()


def aligned(target: Tensor, out: torch.Size) -> Tensor | None:
    """Targets as numbers in the shape of the outputs, where there is one for each."""
    return target.float().reshape(out) if target.numel() == math.prod(out) else None


def rowwise(values: Tensor) -> Tensor:
    """Mean of each row."""
    return values.reshape(len(values), -1).mean(1)


def known_losses(out: Tensor, target: Tensor, kind: str) -> Mapping[str, tuple[Tensor, ...]]:
    """For each known loss, its value for each row. A second tensor is a term that may be added (label smoothing)."""
    named: dict[str, tuple[Tensor, ...]] = {}
    shares = one_hot(target, out.shape) if kind == "classes" else aligned(target, out.shape)
    numbers = aligned(target, out.shape)
    if shares is not None:
        dim = (class_dim(out.shape, target.shape) or 1) if kind == "classes" else min(1, out.dim() - 1)
        logs = F.log_softmax(out, dim)
        if out.shape[dim] > 1 and out.dim() > 1 and kind != "regression":
            named["cross_entropy"] = (rowwise(-(shares * logs).sum(dim)), rowwise(-logs.mean(dim)))
            named["nll"] = (rowwise(-(shares * out).sum(dim)),)
            named["categorical"] = (rowwise(-(shares * out.log()).sum(dim)),)
            named["categorical, renormalised"] = (
                rowwise(-(shares * (out / out.sum(dim, keepdim=True)).log()).sum(dim)),
            )
        if kind == "classes":
            right = (out * shares).sum(dim, keepdim=True)
            named["hinge"] = (rowwise((1 - right + out).clamp(min=0) * (1 - shares)),)
        named["bce_logits"] = (rowwise(F.softplus(out) - shares * out),)
        named["bce"] = (rowwise(-(shares * out.log() + (1 - shares) * (1 - out).log())),)
    if kind == "binary" and numbers is not None:
        signs = torch.where(numbers > 0.5, 1.0, -1.0)
        named["hinge"] = (rowwise((1 - signs * out).clamp(min=0)),)
    for goal in (numbers, shares):
        if goal is not None and "mse" not in named:
            named["mse"] = (rowwise((out - goal) ** 2),)
            named["mae"] = (rowwise((out - goal).abs()),)
            named["huber"] = (rowwise(F.smooth_l1_loss(out, goal, reduction="none")),)
    return named


def examined_loss(loss: Loss, out: Tensor, target: Tensor, kind: str) -> LossForm:
    """Ask a loss about a few rows: their outputs (for the shape and type only) and their targets."""
    asked = _Asked(loss, out.detach()[:ROWS], target[:ROWS], target[ROWS : 2 * ROWS], kind)
    domains = [domain for domain in DOMAINS if asked.finite(domain)]
    if not domains:
        return LossForm()
    first = domains[0]
    name, factor = asked.fit(first)
    for domain in domains[1:]:
        # One that clamps its logarithms shows its face among probabilities only; others may look alike there by chance.
        if not name and (found := asked.fit(domain))[0].split(",")[0] in ("categorical", "bce"):
            name, factor = found
    shift, over_rows = asked.invariances(first)
    return LossForm(
        name.split(",")[0],
        factor,
        asked.reduction(first),
        shift,
        over_rows,
        first,
        all(asked.value(asked.draw(first)) == asked.value(asked.draw(first)) for _ in range(3)),
        asked.gradient(asked.draw(first)) is None,
    )


class _Asked:
    """A loss and the rows that it is asked about. ``others``: targets of further rows."""

    def __init__(self, loss: Loss, out: Tensor, target: Tensor, others: Tensor, kind: str) -> None:
        self.loss, self.target, self.others, self.kind = loss, target, others, kind
        self.shape, self.dtype = out.shape, out.dtype
        self.random = torch.Generator().manual_seed(0)
        numbers = target.float()
        single = kind in ("regression", "reconstruction") or (kind == "classes" and out.numel() == target.numel())
        self.centre = float(numbers.mean()) if single else 0.0
        self.spread = (float(numbers.std()) if single and len(numbers) > 1 else 2.0) or 1.0

    def draw(self, domain: str, shape: torch.Size | None = None) -> Tensor:
        """Random outputs."""
        free = torch.randn(shape or self.shape, generator=self.random).to(self.target.device)
        if domain == "unit":
            return torch.sigmoid(free).to(self.dtype)
        if domain == "simplex" and free.dim() > 1:
            return torch.softmax(free, 1).to(self.dtype)
        return (self.centre + self.spread * free).to(self.dtype)

    def value(self, out: Tensor, target: Tensor | None = None) -> float:
        with torch.no_grad():
            return number(self.loss, out, self.target if target is None else target)

    def finite(self, domain: str) -> bool:
        return all(math.isfinite(self.value(self.draw(domain))) for _ in range(3))

    def fit(self, domain: str) -> tuple[str, float]:
        """The known loss that follows this one when one row's outputs change, whatever weight each row has."""
        base = self.draw(domain)
        others = torch.stack([self.draw(domain) for _ in range(DRAWS)])  # (draw, row, …)
        at_base = self.value(base)
        got = torch.zeros(len(base), DRAWS, device=base.device)
        for row in range(len(base)):
            for draw in range(DRAWS):
                changed = base.clone()
                changed[row] = others[draw, row]
                got[row, draw] = self.value(changed) - at_base
        if not got.isfinite().all() or float(got.norm()) == 0:
            return "", math.nan
        start = known_losses(base.float(), self.target, self.kind)
        each = [known_losses(other.float(), self.target, self.kind) for other in others]
        for name, terms in start.items():
            expected = [torch.stack([e[name][t] for e in each], 1) - term[:, None] for t, term in enumerate(terms)]
            factors = _factors(got, expected)
            if factors is not None:
                return name, float(factors.mean()) * len(base)
        return "", math.nan

    def gradient(self, out: Tensor, target: Tensor | None = None) -> Tensor | None:
        return gradient(self.loss, out, self.target if target is None else target)

    def reduction(self, domain: str) -> str:
        """Which part a row has in the loss of a batch, and whether its gradient depends on the other rows by more than a
        common factor (which a root or a weighted mean has, too)."""
        out, half = self.draw(domain), len(self.target) // 2
        one = self.gradient(out)
        if one is None or half < 2 or len(self.others) < half:
            return ""
        changed, target = out.clone(), self.target.clone()
        changed[half:], target[half:] = self.draw(domain)[half:], self.others[: len(target) - half]
        two = self.gradient(changed, target)
        if two is None or not (one.isfinite().all() and two.isfinite().all()):
            return ""
        a, b = one[:half].flatten(), two[:half].flatten()
        if float(a.norm()) == 0 or float(b.norm()) == 0:
            return ""
        if float(F.cosine_similarity(a.double(), b.double(), dim=0)) < 1 - 1e-4:
            return "mixed"
        twice = self.gradient(torch.cat([out, out]), torch.cat([self.target, self.target]))
        if twice is None:
            return ""
        share = float(twice[:half].norm() / one[:half].norm())
        return "mean" if abs(share - 0.5) < 0.05 else "sum" if abs(share - 1) < 0.05 else "other"

    def invariances(self, domain: str) -> tuple[bool, bool]:
        """Whether it ignores a constant added to the outputs of a row, and one added to an output of all rows. A loss of
        distances ignores the second too, but that is no softmax: to it one output is as good as another."""
        out = self.draw(domain)
        if out.dim() < 2 or out.shape[1] < 2 or len(out) < 2:
            return False, False
        here, elsewhere = self.value(out), self.value(self.draw(domain))
        moves = abs(elsewhere - here)
        by_row = torch.randn((len(out),) + (1,) * (out.dim() - 1), generator=self.random).to(out.device)
        by_column = torch.randn((1, *out.shape[1:]), generator=self.random).to(out.device)
        if not moves > 0:
            return False, False

        def ignores(added: Tensor) -> bool:
            return abs(self.value(out + added) - here) < 1e-4 * max(moves, abs(here))

        turned = out.flip(1)
        interchangeable = abs(self.value(turned) - here) < 1e-4 * max(moves, abs(here))
        return ignores(by_row), ignores(by_column) and not interchangeable


def _factors(got: Tensor, expected: list[Tensor]) -> Tensor | None:
    """A factor for each row with which ``expected`` (plus a share of a second term) becomes ``got``; None: there is none."""
    if not all(e.isfinite().all() for e in expected):
        return None
    fits, factors = torch.zeros_like(got), torch.zeros(len(got))
    for row in range(len(got)):
        terms = torch.stack([e[row] for e in expected], 1).double()
        if float(terms[:, 0].norm()) == 0:
            continue
        # One term alone where it is enough: the second is nearly a multiple of the first for some draws.
        for used in (terms[:, :1], terms):
            found = torch.linalg.lstsq(used, got[row, :, None].double()).solution
            fits[row], factors[row] = (used @ found)[:, 0].float(), found[0, 0].float()
            if float((fits[row] - got[row]).norm()) < 0.1 * CLOSE * float(got[row].norm()):
                break
    same_sign = bool((factors >= 0).all()) or bool((factors <= 0).all())
    return factors if same_sign and float((fits - got).norm()) < CLOSE * float(got.norm()) else None


def number(loss: Loss, out: Tensor, target: Tensor) -> float:
    """The loss, or NaN where it refuses."""
    try:
        return float(loss(out, target))
    except Exception:  # a stranger's loss may refuse these outputs in any way
        return math.nan


def gradient(loss: Loss, out: Tensor, target: Tensor) -> Tensor | None:
    """Of the loss with respect to the outputs; None: it has none."""
    leaf = out.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            value = loss(leaf, target)
            return torch.autograd.grad(value, leaf, allow_unused=True)[0] if value.requires_grad else None
    except Exception:
        return None
