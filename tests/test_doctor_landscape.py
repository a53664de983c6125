"""The loss surface against a closed form, and the path in its plane."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from in_browser import window_on
from seminal.cli import main
from seminal.core import Order
from seminal.doctor.landscape import around, filter_normalised, principal, projected, spread, surface
from seminal.runs.folder import RunFolder
from seminal.runs.plan import best_model, plan_of, source_of


def _square_of(weight: torch.Tensor) -> Callable[[], torch.Tensor]:
    def loss() -> torch.Tensor:
        return weight.square().sum()

    return loss


def test_the_surface_of_a_parabola_is_that_parabola() -> None:
    weight = torch.tensor([1.0, -2.0])
    directions = (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]))
    found = surface([weight], _square_of(weight), directions, spread(1.0, 5), spread(2.0, 3))
    assert found.alphas == (-1, -0.5, 0, 0.5, 1)
    assert found.betas == (-2, 0, 2)
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
    path = [torch.randn(2) @ plane for _ in range(9)]
    first, second = principal(path, torch.randn(40))
    places, kept = projected(path, (first, second))
    assert kept == pytest.approx(1.0, abs=1e-5)
    assert float(first @ second) == pytest.approx(0, abs=1e-3 * float(first.norm() * second.norm()))
    torch.testing.assert_close(places.square().mean(0), torch.ones(2), atol=1e-3, rtol=0)
    _, alone = projected(path, (first, torch.zeros(40)))
    best = float(torch.linalg.svdvals(torch.stack(path))[0] ** 2 / torch.stack(path).square().sum())
    assert alone == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("path", [[torch.tensor([3.0, 0, 0])], [torch.tensor([3.0, 0, 0]), torch.zeros(3)]])
def test_a_straight_path_takes_a_second_direction_beside_it(path: list[torch.Tensor]) -> None:
    first, second = principal(path, torch.tensor([1.0, 1.0, 0.0]))
    places, kept = projected(path, (first, second))
    assert kept == pytest.approx(1.0)
    assert second[1].abs() == pytest.approx(float(first.norm()))
    assert places[:, 1].abs().max() < 1e-5


def test_places_hold_the_path_and_the_centre() -> None:
    found = around(torch.tensor([5.0, 1.0, 0.0]), 11)
    assert min(found) < 0 < 5 < max(found)
    assert 0.0 in found
    assert len(set(found)) == 11
    assert list(found) == sorted(found)


# ---------------------------------------------------------------------------------------------------------------- the verb

LINE = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make(seed=0):
    torch.manual_seed(seed)
    x = torch.randn(64, 2)
    rows = TensorDataset(x, x @ torch.tensor([[2.0], [-1.0]]))
    model = nn.Linear(2, 1, bias=False)
    return dict(model=model, loss=nn.MSELoss(), optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
                train=DataLoader(rows, batch_size=64), val=DataLoader(rows, batch_size=64), epochs=40,
                metric=lambda out, y: -(out - y).square().mean().item())
"""


def drawn(folder: Path, *words: str, patient: str = "line.py") -> dict[str, Any]:
    (folder / "line.py").write_text(LINE)
    assert main(["landscape", str(folder / patient), "--points", "9", *words]) == 0
    page = "line-landscape" if patient == "line.py" else f"{patient}/landscape"
    assert 'id="surface"' in (folder / f"{page}.html").read_text()
    found: dict[str, Any] = json.loads((folder / f"{page}.json").read_text())
    return found


@pytest.mark.parametrize("directions", ["random", "hessian", "path"])
def test_a_linear_program_lies_in_a_bowl(directions: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mean squared error of a linear model: its Hessian is 2 XᵀX / n, and the loss is a parabola along any line."""
    found = drawn(tmp_path, "--directions", directions)
    torch.manual_seed(0)
    x = torch.randn(64, 2)
    ends = torch.linalg.eigvalsh(2 * x.T @ x / 64)
    assert found["curvature"]["largest"] == pytest.approx(float(ends[1]), rel=1e-3)
    assert found["curvature"]["smallest"] == pytest.approx(float(ends[0]), rel=1e-3)
    assert f"{float(ends[1]):.3g}" in capsys.readouterr().out
    places, along = (
        torch.tensor(found["betas"]),
        torch.tensor([row[found["alphas"].index(0)] for row in found["losses"]]),
    )
    fitted = torch.linalg.lstsq(torch.stack([places**0, places, places**2], 1), along[:, None])
    left = torch.stack([places**0, places, places**2], 1) @ fitted.solution - along[:, None]
    assert left.abs().max() < 1e-3 * along.max()
    assert found["path_in_plane"] == pytest.approx(1.0, abs=1e-4)  # two weights: there is only one plane
    assert [stop["name"] for stop in found["path"]][:: len(found["path"]) - 1] == ["first", "last"]


def test_along_the_sharpest_direction_all_that_was_gained_is_lost_at_one(tmp_path: Path) -> None:
    found = drawn(tmp_path, "--directions", "hessian")
    row = found["losses"][found["betas"].index(0)]
    torch.manual_seed(0)
    x, start = torch.randn(64, 2), nn.Linear(2, 1, bias=False)
    first = (start(x).detach() - x @ torch.tensor([[2.0], [-1.0]])).square().mean()
    assert row[-1] == pytest.approx(float(first), rel=0.01)
    assert found["alphas"][-1] == 1


def test_of_a_run_its_best_weights_are_the_centre(tmp_path: Path) -> None:
    words = ["train", "mlp", "iris", "--output", str(tmp_path), "--name", "run", "--epochs", "8", "--no-augment"]
    assert main(words) == 0
    before = (tmp_path / "run" / "best.safetensors").read_bytes()
    found = drawn(tmp_path, "--directions", "path", "--rows", "1000", patient="run")
    assert found["path"][0]["name"] == "first"
    assert (tmp_path / "run" / "best.safetensors").read_bytes() == before
    plan, folder = plan_of(RunFolder(tmp_path / "run")), RunFolder(tmp_path / "run")
    model = best_model(folder, plan, torch.device("cpu"))
    batch = next(
        source_of(folder, plan, torch.device("cpu")).batches(Order("train", 1000, scaling=plan.recipe.scaling))
    )
    (turn,) = plan.recipe.task.turns(model, batch)
    assert found["loss"] == pytest.approx(float((turn.loss / turn.weight).detach()), rel=1e-4)
    at_best = next(stop for stop in found["path"] if "best" in stop["name"])
    assert (at_best["alpha"], at_best["beta"]) == (0, 0)
    assert found["path_in_plane"] == pytest.approx(1.0, abs=1e-4)  # three places have a plane


@pytest.mark.parametrize(
    ("words", "says"), [(("--points", "10"), "odd number"), (("--rows", "0"), "above 0"), (("--span", "0"), "above 0")]
)
def test_what_cannot_be_drawn_is_told(
    words: tuple[str, str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "line.py").write_text(LINE)
    assert main(["landscape", str(tmp_path / "line.py"), *words]) == 2
    assert says in capsys.readouterr().err


def test_the_page_is_drawn_without_a_complaint(browser: Any, tmp_path: Path) -> None:
    drawn(tmp_path, "--directions", "path")
    window, said, asked = window_on(browser, tmp_path / "line-landscape.html")
    window.wait_for_selector("#surface .contourlayer path")
    assert window.locator("#slices .scatterlayer path.js-line").count() == 2
    assert window.locator("#surface .annotation-text").all_text_contents() == ["first", "last"]
    assert not [line for line in said if line.startswith(("error", "warning"))]
    assert asked == [(tmp_path / "line-landscape.html").as_uri()]
