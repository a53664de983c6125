"""Noise-contrastive estimation: the normaliser is learned, and the estimator is as spread as its theorem says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from seminal.cli import main
from seminal.core import Order, Precision
from seminal.data import tables
from seminal.papers import nce
from seminal.pieces.contrast import log_odds, noise_losses, real_losses
from seminal.recipes import nce as recipes
from seminal.tasks.contrast import Contrast
from seminal.train.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")


def table_of(folder: Path, x: Tensor) -> Path:
    path = folder / "rows.csv"
    names = [f"x{i}" for i in range(x.shape[1])]
    lines = [",".join([*(f"{v:.5f}" for v in row), f"{i % 2}.5"]) for i, row in enumerate(x.tolist())]
    path.write_text("\n".join([",".join([*names, "y"]), *lines]) + "\n", encoding="utf-8")
    return path


def test_the_losses_are_the_objective_of_the_paper():
    made = torch.Generator().manual_seed(0)
    model = nce.build(nce.Config(inputs=3)).double()
    x = torch.randn(7, 3, generator=made, dtype=torch.float64)
    y = torch.randn(14, 3, generator=made, dtype=torch.float64)
    with torch.no_grad():
        model.matrix += 0.3 * torch.randn(3, 3, generator=made, dtype=torch.float64)
        model.c.fill_(-0.7)
        real, wrong, density = Contrast(ratio=2)._losses(model, x, y)
    total = 0.0
    for rows, sign in ((x, -1), (y, 1)):
        for u in rows:
            log_model = -0.5 * float(u @ model.matrix.detach() @ u) - 0.7
            log_noise = -0.5 * float(u @ u) - 1.5 * math.log(2 * math.pi)
            total += math.log1p(math.exp(sign * (log_model - log_noise - math.log(2))))
    assert float(real.sum() + wrong.sum()) == pytest.approx(total, rel=1e-5)
    assert density.shape == (21,)


@pytest.mark.parametrize("variant", ["nce", "nce-ica"])
def test_the_normaliser_is_an_integral(variant):
    model = nce.build(replace(nce.VARIANTS[variant], inputs=2)).double()
    with torch.no_grad():
        model.matrix.copy_(torch.tensor([[1.3, 0.2], [0.5, 0.9]]))
        model.c.fill_(model.normaliser())
        side = torch.linspace(-12, 12, 801, dtype=torch.float64)
        grid = torch.cartesian_prod(side, side)
        assert float(model(grid).exp().sum()) * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=2e-3)


def test_the_normaliser_of_an_unnormalised_gaussian_is_learned(tmp_path):
    made = torch.Generator().manual_seed(1)
    x = torch.randn(2000, 3, generator=made) @ torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -0.4], [0.0, 0.0, 1.0]])
    source = tables.read(table_of(tmp_path, x), target="y")
    recipe = recipes.modern("nce", source.spec).adapted(source.spec)
    recipe = replace(recipe, precision=Precision())
    model = nce.build(recipe.model)
    for _ in train(model, source, recipe):
        pass
    rows = torch.cat([batch["input"] for batch in source.batches(Order("train", 500))])
    exact = torch.linalg.inv(rows.T @ rows / len(rows))
    learned = ((model.matrix + model.matrix.T) / 2).detach()
    assert torch.allclose(learned, exact, atol=0.15)
    assert float(model.c.detach()) == pytest.approx(model.normaliser(), abs=0.06)


def _precision_and_constant(x: Tensor, log_noise_x: Tensor, y: Tensor, log_noise_y: Tensor) -> Tensor:
    """(repeats, 2): the maxima of J over the precision λ and c of ln p = −½ λ u² + c, by Newton: J is concave in both."""
    features = [torch.stack([-0.5 * u.square(), torch.ones_like(u)], dim=-1) for u in (x, y)]
    theta = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(len(x), 1)
    for _ in range(30):
        hx, hy = (
            torch.sigmoid((f @ theta[:, :, None])[..., 0] - log) for f, log in zip(features, (log_noise_x, log_noise_y))
        )
        slope = ((1 - hx)[..., None] * features[0]).sum(1) - (hy[..., None] * features[1]).sum(1)
        bend = sum(torch.einsum("rt,rti,rtj->rij", h * (1 - h), f, f) for h, f in zip((hx, hy), features))
        theta = theta + torch.linalg.solve(bend, slope)
    return theta


@pytest.mark.parametrize("width", [1.0, 1.5])
def test_the_estimator_is_as_spread_as_its_theorem_says(width):
    """Theorem 3: √T (θ̂ − θ*) has covariance Σ = I⁻¹ − 2 I⁻¹ E[P g] E[P g]ᵀ I⁻¹, with P = p_n / (p_d + p_n), g the gradient
    of ln p_m and I = E[P g gᵀ]; all expectations over the data. Noise as wide as the data, and wider."""
    rows, repeats = 1000, 400
    made = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, repeats, rows, generator=made, dtype=torch.float64)
    y = width * y

    def log_noise(u: Tensor) -> Tensor:
        return -0.5 * (u / width).square() - math.log(width) - 0.5 * math.log(2 * math.pi)

    found = _precision_and_constant(x, log_noise(x), y, log_noise(y))
    true = torch.tensor([1.0, -0.5 * math.log(2 * math.pi)], dtype=torch.float64)
    u = torch.linspace(-10, 10, 20_001, dtype=torch.float64)
    data = (-0.5 * u.square() + true[1]).exp()
    weight = data * torch.sigmoid(log_noise(u) - data.log()) * (u[1] - u[0])
    g = torch.stack([-0.5 * u.square(), torch.ones_like(u)], dim=1)
    information, mean = torch.linalg.inv((weight[:, None] * g).T @ g), (weight[:, None] * g).sum(0)
    sigma = information - 2 * torch.outer(information @ mean, information @ mean)
    spread = math.sqrt(rows) * (found - true)
    assert (spread.mean(0).abs() < 4 * spread.std(0) / math.sqrt(repeats) + 0.1).all()  # consistent
    measured = spread.T @ spread / repeats
    assert torch.allclose(measured.diagonal(), sigma.diagonal(), rtol=0.25)
    assert float(measured[0, 1]) == pytest.approx(float(sigma[0, 1]), rel=0.35)


def test_the_maximum_is_at_the_log_density_of_the_data():
    """Theorem 1, on eight outcomes: J over all functions f has its one maximum at ln p_d, and no other stationary point."""
    made = torch.Generator().manual_seed(0)
    data, noise = torch.rand(2, 8, generator=made, dtype=torch.float64).softmax(1)
    for _ in range(3):
        f = torch.randn(8, generator=made, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS(
            [f], max_iter=500, tolerance_grad=1e-10, tolerance_change=0.0, line_search_fn="strong_wolfe"
        )

        def loss(f: Tensor = f, optimiser: torch.optim.LBFGS = optimiser) -> Tensor:
            optimiser.zero_grad()
            odds = log_odds(f, noise.log(), 1)
            value = (data * real_losses(odds) + noise * noise_losses(odds)).sum()
            value.backward()
            return value

        optimiser.step(loss)
        assert torch.allclose(f.detach(), data.log(), atol=1e-4)
        assert float(f.detach().exp().sum()) == pytest.approx(1, abs=1e-4)  # nobody asked it to


def test_trains_from_the_command_line(tmp_path, capsys):
    x = torch.randn(120, 2, generator=torch.Generator().manual_seed(0))
    path = table_of(tmp_path, x)
    words = ["train", "nce", str(path), "--target", "y", "--epochs", "2", "--output", str(tmp_path), "--name", "run"]
    assert main([*words, "--precision", "fp32"]) == 0
    assert main(["predict", str(tmp_path / "run"), str(path)]) == 0
    assert "log_density" in capsys.readouterr().out
    assert main(["eval", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "report.html").exists()
