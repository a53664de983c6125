"""The loss surface against a closed form, and the path in its plane."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from seminal.doctor.landscape import filter_normalised, of_the_path, projected, surface


def _square_of(weight: torch.Tensor) -> Callable[[], torch.Tensor]:
    def loss() -> torch.Tensor:
        return weight.square().sum()

    return loss


def test_the_surface_of_a_parabola_is_that_parabola() -> None:
    weight = torch.tensor([1.0, -2.0])
    directions = (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]))
    found = surface([weight], _square_of(weight), directions, span=1.0, points=5)
    for row, beta in enumerate(found.betas):
        for column, alpha in enumerate(found.alphas):
            assert found.loss[row, column] == pytest.approx((1 + alpha) ** 2 + (-2 + 2 * beta) ** 2, abs=1e-5)
    assert weight.tolist() == [1.0, -2.0]


def test_filters_of_a_direction_have_the_norms_of_the_weights() -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4, 3))
    weights = list(model.parameters())
    drawn = filter_normalised(weights, torch.Generator().manual_seed(0)).split([w.numel() for w in weights])
    for part, weight in zip(drawn, weights):
        if weight.dim() > 1:
            rows = part.view_as(weight).flatten(1).norm(dim=1)
            torch.testing.assert_close(rows, weight.detach().flatten(1).norm(dim=1))
        else:
            assert not part.any()


def test_a_path_in_the_plane_is_kept_whole_and_one_beside_it_in_part() -> None:
    a, b = torch.tensor([2.0, 0, 0]), torch.tensor([1.0, 1.0, 0])
    places, kept = projected([3 * a - b, 0.5 * b], (a, b))
    torch.testing.assert_close(places, torch.tensor([[3.0, -1.0], [0.0, 0.5]]))
    assert kept == pytest.approx(1.0)
    _, half = projected([torch.tensor([0.0, 1.0, 1.0])], (a, b))
    assert half == pytest.approx(0.5)


def test_directions_of_a_path_hold_a_path_that_lies_in_a_plane() -> None:
    torch.manual_seed(0)
    plane = torch.randn(2, 40)
    path = [torch.randn(2) @ plane for _ in range(9)] + [torch.zeros(40)]
    _, kept = projected(path, of_the_path(path))
    assert kept == pytest.approx(1.0, abs=1e-5)


def test_the_grid_is_wide_enough_for_the_path() -> None:
    weight = torch.zeros(2)
    directions = (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    found = surface([weight], _square_of(weight), directions, points=3, path=[torch.tensor([5.0, 0.0]), weight.clone()])
    assert found.alphas[-1] > 5
    assert found.path[0].tolist() == [5.0, 0.0]
