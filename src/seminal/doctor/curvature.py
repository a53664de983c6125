"""The shape of the loss around where training stands: both ends of the Hessian's spectrum, and what they mean.

A Hessian has as many rows as the model has weights, so it is never built: H v is the derivative of gᵀv (Pearlmutter
1994), two passes backwards, and Lanczos' method (SciPy's) finds the ends of the spectrum from a few dozen such
products.

With g the gradient and λ the eigenvalues: at a minimum all λ ≥ 0 and g = 0; at a saddle g = 0 and some λ < 0, and the
loss falls along that eigenvector; on a plateau g and all λ are about 0.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

SMALL_GRADIENT = 1e-2  # of its norm, as a share of what a step along the sharpest direction would meet: √(2 λ_max loss)
NEGATIVE = 0.02  # λ_min as a share of λ_max that counts as a direction downwards
TOLERANCES = (1e-3, 0.1)  # of an eigenvalue, as a share of it: where ends lie close together, the second will do
FLAT = 1e-4  # λ_max as a share of the loss, for weights of unit size

Loss = Callable[[], Tensor]  # the loss at the weights as they are, on one fixed batch


@dataclass(frozen=True)
class Shape:
    """Where training stands."""

    loss: float
    gradient: float  # its norm
    top: float  # λ_max
    bottom: float  # λ_min
    upward: Tensor  # eigenvectors of λ_max and λ_min, flat, of unit length
    downward: Tensor
    falls: float  # how much lower the loss is, at best, along ± `downward`
    step: float  # how far along it that is

    @property
    def name(self) -> str:
        """``saddle``, ``minimum``, ``plateau``, or ``slope`` where the gradient still leads down."""
        scale = max(self.top, -self.bottom)
        if scale <= FLAT * max(self.loss, 1e-12):
            return "plateau"
        if self.gradient > SMALL_GRADIENT * (2 * scale * max(self.loss, 1e-12)) ** 0.5:
            return "slope"
        return "saddle" if -self.bottom > NEGATIVE * self.top and self.falls > 0 else "minimum"

    @property
    def steepest_rate(self) -> float:
        """2 / λ_max: plain gradient descent diverges along the sharpest direction above this rate."""
        return 2 / self.top if self.top > 0 else float("inf")


def shape(model: nn.Module, loss: Loss, *, products: int = 60, seed: int = 0) -> Shape:
    """Both ends of the spectrum from about ``products`` Hessian-vector products for each. ``loss`` must be smooth in
    the weights and give the same number twice (evaluation mode)."""
    weights = [p for p in model.parameters() if p.requires_grad]
    with sdpa_kernel(SDPBackend.MATH):  # the faster kernels of attention have no second derivative
        now = loss()
    value = now.detach()
    gradient = torch.autograd.grad(now, weights, create_graph=True, allow_unused=True)
    flat = _flat([g if g is not None else torch.zeros_like(w) for g, w in zip(gradient, weights)])

    def product(vector: np.ndarray) -> np.ndarray:
        along = torch.as_tensor(vector.reshape(-1), dtype=flat.dtype, device=flat.device)
        found = torch.autograd.grad(flat @ along, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
        return _flat(found).double().cpu().numpy()

    size = flat.numel()
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    start = np.random.default_rng(seed).standard_normal(size)
    (top, upward), (bottom, downward) = (_end(operator, which, start, products) for which in ("LA", "SA"))
    falls, step = _descent(weights, loss, torch.as_tensor(downward, dtype=flat.dtype, device=flat.device), float(value))
    return Shape(
        float(value),
        float(flat.detach().norm()),
        top,
        bottom,
        torch.as_tensor(upward, dtype=flat.dtype),
        torch.as_tensor(downward, dtype=flat.dtype),
        falls,
        step,
    )


def _end(operator: LinearOperator, which: str, start: np.ndarray, products: int) -> tuple[float, np.ndarray]:
    """The largest ("LA") or smallest ("SA") eigenvalue and its vector."""
    size = operator.shape[0]
    if size <= 3:  # too small for Lanczos' method
        values, vectors = np.linalg.eigh(np.stack([operator.matvec(row) for row in np.eye(size)]))
        chosen = -1 if which == "LA" else 0
        return float(values[chosen]), vectors[:, chosen]
    if not np.any(operator.matvec(start)):  # flat in a random direction: flat in all of them
        return 0.0, start / np.linalg.norm(start)
    for tol in TOLERANCES:
        with contextlib.suppress(ArpackNoConvergence):
            values, vectors = eigsh(operator, k=1, which=which, v0=start, maxiter=products, tol=tol, ncv=min(size, 20))
            return float(values[0]), vectors[:, 0]
    along = start / np.linalg.norm(start)
    return float(along @ operator.matvec(along)), along  # the curvature in one direction: the end lies beyond it


@torch.no_grad()
def _descent(weights: Sequence[Tensor], loss: Loss, direction: Tensor, here: float) -> tuple[float, float]:
    """The largest fall of the loss along ± the direction, and where: a walk with steps of doubling length, undone."""
    length = max(1.0, float(_flat(weights).norm()))
    best, place = 0.0, 0.0
    for sign in (1.0, -1.0):
        for step in (sign * length * share for share in (0.001, 0.003, 0.01, 0.03, 0.1)):
            with moved(weights, step * direction):
                fall = here - float(loss())
            if fall > best:
                best, place = fall, step
    return best, place


class moved:
    """Weights shifted by a flat vector, and put back to the bit."""

    def __init__(self, weights: Sequence[Tensor], by: Tensor) -> None:
        self.weights, self.by = weights, by

    def __enter__(self) -> None:
        self.before = [w.detach().clone() for w in self.weights]
        with torch.no_grad():
            for weight, part in zip(self.weights, self.by.split([w.numel() for w in self.weights])):
                weight += part.view_as(weight)

    def __exit__(self, *_: object) -> None:
        with torch.no_grad():
            for weight, value in zip(self.weights, self.before):
                weight.copy_(value)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


def sharpness(model: nn.Module, loss: Loss, radius: float = 0.05) -> float:
    """How much the loss rises a step of length ``radius`` up the gradient (Foret et al. 2021, Eq. 2, first order).
    Only good for comparing two points of one model."""
    weights = [p for p in model.parameters() if p.requires_grad]
    now = loss()
    here = float(now.detach())
    gradient = _flat(torch.autograd.grad(now, weights, materialize_grads=True))
    with moved(weights, radius * gradient / gradient.norm().clamp(min=1e-12)), torch.no_grad():
        return float(loss()) - here


def noise_scale(gradients: Sequence[tuple[int, Tensor]]) -> float:
    """The batch size at which the gradient's noise equals the gradient: tr(Σ) / |G|² (McCandlish et al. 2018, A.1),
    from flat gradients of batches of two sizes, given as (rows, gradient)."""
    sizes = sorted({rows for rows, _ in gradients})
    assert len(sizes) == 2, "two sizes of batches are needed"
    small, large = sizes
    squares = {n: float(np.mean([float(g.double() @ g.double()) for rows, g in gradients if rows == n])) for n in sizes}
    true = (large * squares[large] - small * squares[small]) / (large - small)
    noise = (squares[small] - squares[large]) / (1 / small - 1 / large)
    return noise / true if true > 0 else float("inf")
