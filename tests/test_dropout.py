"""`seminal.pieces.dropout` against torch's own and against what dropout is."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from seminal.pieces.dropout import Dropout, kept


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_zeros_come_as_often_as_asked_and_the_mean_stays(p: float) -> None:
    torch.manual_seed(0)
    n = 400_003  # no multiple of four
    found = kept(torch.empty(n), p)
    spread = (p * (1 - p) / n) ** 0.5
    assert abs(float((found == 0).double().mean()) - p) < 4 * spread
    assert abs(float(found.double().mean()) - 1) < 4 * spread / (1 - p)
    assert found[found != 0].unique().tolist() == pytest.approx([1 / (1 - p)], rel=1e-4)


def test_neighbours_are_independent() -> None:
    """Four places share a draw; none of them may tell about another."""
    torch.manual_seed(0)
    zero = (kept(torch.empty(800_000), 0.5) == 0).double() - 0.5
    for apart in range(1, 9):
        assert abs(float((zero[:-apart] * zero[apart:]).mean()) * 4) < 5 / 800_000**0.5


def test_the_gradient_has_the_mask_of_the_output() -> None:
    torch.manual_seed(0)
    x = torch.randn(7, 11, requires_grad=True)
    out = Dropout(0.4).train()(x)
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(out.detach(), (x * x.grad).detach())


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_ends_are_exact(p: float) -> None:
    x = torch.randn(50)
    torch.testing.assert_close(Dropout(p).train()(x), F.dropout(x, p, True))


def test_a_test_sees_everything_and_a_seed_gives_the_same_again() -> None:
    x, layer = torch.randn(3, 5), Dropout(0.5)
    assert layer.eval()(x) is x or torch.equal(layer(x), x)
    layer.train()
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    assert torch.equal(first, layer(x))


def test_half_precision_keeps_its_type() -> None:
    assert Dropout(0.5).train()(torch.ones(8, dtype=torch.bfloat16)).dtype == torch.bfloat16
