"""The Hessian's ends against the whole Hessian; saddle, minimum and plateau told apart; the way out of a saddle."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from seminal.doctor.curvature import moved, noise_scale, shape, sharpness


def problem(seed: int = 0) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    x = torch.randn(60, 3)
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1)), x, torch.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:]


def whole_hessian(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    names = {name: p.detach() for name, p in model.named_parameters()}
    flat = torch.cat([p.reshape(-1) for p in names.values()])

    def loss(vector: torch.Tensor) -> torch.Tensor:
        parts = vector.split([p.numel() for p in names.values()])
        weights = {name: part.view_as(p) for (name, p), part in zip(names.items(), parts)}
        return nn.functional.mse_loss(functional_call(model, weights, x), y)

    return torch.autograd.functional.hessian(loss, flat)


def test_both_ends_are_those_of_the_whole_hessian() -> None:
    model, x, y = problem()
    found = shape(model, lambda: nn.functional.mse_loss(model(x), y))
    values = torch.linalg.eigvalsh(whole_hessian(model, x, y).double())
    assert found.top == pytest.approx(float(values[-1]), rel=1e-3)
    assert found.bottom == pytest.approx(float(values[0]), abs=1e-3 * float(values[-1]))


def test_weights_are_put_back_to_the_bit() -> None:
    model, x, y = problem()
    before = [p.clone() for p in model.parameters()]
    shape(model, lambda: nn.functional.mse_loss(model(x), y))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))


def linear_chain(values: float) -> tuple[nn.Module, torch.Tensor]:
    """y = w₂ w₁ x with both weights at the same value: a saddle at 0 (Saxe et al. 2014)."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    for p in model.parameters():
        nn.init.constant_(p, values)
    return model, torch.linspace(-1, 1, 21)[:, None]


def test_a_saddle_is_told_from_a_minimum_and_from_a_plateau() -> None:
    at_zero, x = linear_chain(0.0)
    saddle = shape(at_zero, lambda: nn.functional.mse_loss(at_zero(x), x))
    assert saddle.name == "saddle"
    assert saddle.bottom < 0 < saddle.top
    solved, x = linear_chain(1.0)
    minimum = shape(solved, lambda: nn.functional.mse_loss(solved(x), x) + 0.01)
    flat = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1))
    nn.init.constant_(flat[0].bias, -50.0)
    nn.init.zeros_(flat[2].weight)
    nn.init.zeros_(flat[2].bias)
    flat[2].bias.requires_grad_(False)
    plateau = shape(flat, lambda: nn.functional.mse_loss(flat(x), x))
    assert plateau.name == "plateau"
    assert minimum.name == "minimum"
    assert minimum.bottom > -1e-3


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int = 400) -> float:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    return float(loss)


def test_a_run_stopped_at_a_saddle_escapes_along_the_direction_that_was_found() -> None:
    """Tanh layers with zero weights: gradient descent cannot leave, though a better place lies beside it."""
    torch.manual_seed(0)
    x = torch.randn(200, 2)
    y = torch.tanh(x @ torch.tensor([[1.0], [-1.0]]))
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    for p in model.parameters():
        nn.init.zeros_(p)
    stuck = train(model, x, y)
    found = shape(model, lambda: nn.functional.mse_loss(model(x), y))
    assert found.name == "saddle"
    assert found.falls > 0
    with torch.no_grad():
        weights = list(model.parameters())
        for weight, part in zip(weights, (0.1 * found.downward).split([w.numel() for w in weights])):
            weight += part.view_as(weight)
    assert train(model, x, y) < 0.2 * stuck


def test_moved_weights_come_back_after_an_error() -> None:
    weights = [torch.randn(4)]
    before = weights[0].clone()
    with pytest.raises(RuntimeError), moved(weights, torch.ones(4)):
        raise RuntimeError
    assert torch.equal(weights[0], before)


def test_sharpness_of_a_parabola() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    # loss w²; a step of 0.05 up the gradient: 2.05² − 2²
    assert sharpness(model, lambda: model(torch.ones(1, 1)).square().sum()) == pytest.approx(2.05**2 - 4, rel=1e-4)


def test_noise_scale_of_known_noise() -> None:
    torch.manual_seed(0)
    true, spread, size = torch.ones(50), 3.0, {8: 4000, 64: 4000}
    drawn = [(n, true + spread / n**0.5 * torch.randn(50)) for n, count in size.items() for _ in range(count)]
    assert noise_scale(drawn) == pytest.approx(spread**2 * 50 / 50, rel=0.05)  # tr Σ = 9 · 50, |G|² = 50
