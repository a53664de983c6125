"""Each examination on programs whose answer is known, because they were made so."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from seminal.doctor.chart import Chart
from seminal.doctor.examinations import ORDER, examinations
from seminal.doctor.lots import Half, dealt, lots
from seminal.doctor.program import from_function
from seminal.doctor.specimens import groups, network, program, waves

pytestmark = pytest.mark.usefixtures("one_thread")
Changed = Callable[[], dict[str, Any]]


def plain(**changes: Any) -> dict[str, Any]:
    """A healthy program: five classes, a network that learns them in a second."""
    return {**program(network(12, 64, 5), groups(600), epochs=12), **changes}


def asked(name: str, made: Changed) -> tuple[str, str]:
    def make(seed: int) -> dict[str, Any]:
        torch.manual_seed(seed)
        return made()

    (ask,) = (ask for ask in ORDER if ask.name == name)
    return ask.answer(Chart(from_function(make)))


def built(model: nn.Module, data: tuple[Tensor, Tensor] | None = None, **words: Any) -> dict[str, Any]:
    return program(model, data or groups(), **words)


class Mixed(nn.Module):
    """Subtracts the mean of the batch, in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = network(12, 32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(x - x.mean(0))


def shifted() -> dict[str, Any]:
    made = plain()
    x, y = made["val"].dataset.tensors
    return {**made, "val": DataLoader(TensorDataset(x + 3, y), batch_size=300)}


def contradicting() -> dict[str, Any]:
    """Every row is the same, the labels are not: nothing can learn them."""
    x, y = groups()
    return built(network(12, 16, 5), (torch.ones_like(x), y), epochs=2)


def descending(rate: float, epochs: int = 10) -> dict[str, Any]:
    model = network(12, 64, 64, 5)
    return built(model, None, optimizer=torch.optim.SGD(model.parameters(), lr=rate), epochs=epochs)


def linear() -> dict[str, Any]:
    return built(nn.Linear(12, 5), epochs=4)


def dropping() -> dict[str, Any]:
    model = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Dropout(0.9), nn.Linear(20, 5))
    return built(model, epochs=10)


def unfitting_statistics() -> dict[str, Any]:
    """Inputs far from 0, and running statistics that hardly run."""
    x, y = groups()
    model = nn.Sequential(nn.BatchNorm1d(12, momentum=1e-4), *network(12, 32, 5))
    return built(model, (8 * x + 30, y), epochs=5)


def at_a_saddle() -> dict[str, Any]:
    """All weights 0: by symmetry they stay there."""
    model = network(4, 8, 1, activation=nn.Tanh)
    for weight in model.parameters():
        nn.init.zeros_(weight)
    x, y = waves(300)
    made = built(model, (x, y - y.mean()), optimizer=torch.optim.SGD(model.parameters(), lr=0.05), epochs=3)
    made["train"] = DataLoader(TensorDataset(x, y - y.mean()), batch_size=300)
    return made


def solved() -> dict[str, Any]:
    """A linear model at the bottom of a parabola."""
    x, _ = waves(300)
    model = nn.Linear(4, 1)
    return built(model, (x, x[:, :1]), optimizer=torch.optim.SGD(model.parameters(), lr=0.2), epochs=20)


def noise(rows: int = 120, width: int = 128) -> dict[str, Any]:
    """Labels that have nothing to do with the rows, and a network that learns them by heart."""
    x, y = groups(rows)
    return built(
        network(12, width, width, 5),
        (x, y[torch.randperm(rows, generator=torch.Generator().manual_seed(1))]),
        epochs=60,
        batch=20,
    )


def few() -> dict[str, Any]:
    return built(network(4, 48, 1), waves(150), epochs=60, batch=20)


CASES = [
    ("row independence", plain, "each row is computed by itself"),
    ("row independence", lambda: built(Mixed()), "influence one another"),
    ("two samples", plain, "one distribution"),
    ("two samples", shifted, "different distributions"),
    ("one batch", plain, "yes: "),
    ("one batch", lambda: descending(1e-6), "this optimiser at this rate cannot"),
    ("one batch", contradicting, "no: "),
    ("second opinion", plain, "reaches what the data allow"),
    ("second opinion", lambda: descending(1e-6, 2), "more than this program reaches"),
    ("evaluation mode", plain, "hardly matters"),
    ("evaluation mode", dropping, "holds the fit back"),
    ("evaluation mode", unfitting_statistics, "statistics that were collected do not fit"),
    ("rate range", plain, "among those that work"),
    ("rate range", lambda: descending(1e-5), "too low"),
    ("rate range", lambda: descending(30.0), "too high"),
    ("rate range", contradicting, "it is not the rate"),
    ("curvature", at_a_saddle, "a saddle"),
    ("curvature", solved, "a minimum"),
    ("curvature", lambda: descending(1e-4, 1), "still on a slope"),
    ("random labels", plain, "nothing like it is learned by heart"),
    ("random labels", noise, "can be learned by heart"),
    ("random labels", contradicting, "hardly anything is learned"),
    ("no regularisation", plain, "nothing can be taken away"),
    ("no regularisation", dropping, "yes: "),
    ("larger model", lambda: built(network(12, 2, 5), groups(450), epochs=30), "yes: "),
    ("larger model", plain, "no: "),
    ("larger model", linear, "nothing follows"),
    ("smaller model", plain, "yes: "),
    ("smaller model", lambda: built(network(12, 4, 5), groups(450), epochs=40), "no: "),
    ("half the data", plain, "yes: "),
    ("half the data", few, "no: "),
    ("more time", lambda: descending(0.02, 3), "yes: "),
    ("more time", plain, "no difference"),
]


@pytest.mark.parametrize(("name", "made", "means"), CASES)
def test_the_answer_is_the_one_that_was_built_in(name: str, made: Changed, means: str) -> None:
    found, said = asked(name, made)
    assert means in said, (found, said)


def noisy(spread: float, batch: int) -> dict[str, Any]:
    """A constant is sought, and targets spread around it: tr Σ / |G|² is (spread / distance)² for one weight."""
    x = torch.zeros(3000, 1)
    y = 3.0 + spread * torch.randn(3000, 1, generator=torch.Generator().manual_seed(0))
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.bias)
    return built(model, (x, y), optimizer=torch.optim.SGD(model.parameters(), lr=1e-9), epochs=1, batch=batch)


@pytest.mark.parametrize(
    ("spread", "batch", "rows", "means"),
    [(12.0, 2, 16, "noise rules from the beginning"), (3.0, 100, 1, "smaller batches"), (9.0, 8, 9, "large enough")],
)
def test_noise_of_a_gradient_is_what_was_put_in(spread: float, batch: int, rows: int, means: str) -> None:
    found, said = asked("gradient noise", lambda: noisy(spread, batch))
    assert float(found.split(" rows")[0].replace(",", "")) == pytest.approx(rows, rel=0.5, abs=1)
    assert means in said


def test_every_examination_has_a_case() -> None:
    assert {name for name, _, _ in CASES} | {"gradient noise"} == {ask.name for ask in ORDER}


def test_what_does_not_fit_into_the_time_is_not_asked_and_says_so() -> None:
    chart = Chart(from_function(lambda seed: plain()), until=time.monotonic() - 1)
    found = list(examinations(chart))
    assert [each.name for each in found] == [ask.name for ask in ORDER]
    assert {each.found for each in found} == {"not asked"}
    assert all("--budget" in each.means for each in found)


def test_a_program_that_fails_is_no_reason_to_stop() -> None:
    def broken(out: Tensor, target: Tensor) -> Tensor:
        raise RuntimeError("no such loss")

    found = list(examinations(Chart(from_function(lambda seed: plain(loss=broken)))))
    assert len(found) == len(ORDER)
    assert "no such loss" in next(each.means for each in found if each.name == "rate range")


def test_lots_are_even_and_belong_to_the_row() -> None:
    rows = torch.randn(4000, 7, generator=torch.Generator().manual_seed(0))
    drawn = lots(rows)
    assert torch.equal(lots(rows[1000:1010]), drawn[1000:1010])
    assert torch.histc(drawn, 10, 0, 1) == pytest.approx([400] * 10, abs=100)
    padded = torch.cat([rows, torch.zeros(4000, 3)], 1)
    torch.testing.assert_close(lots(padded), drawn, atol=1e-6, rtol=0)


def test_half_is_the_same_half_in_every_pass_and_labels_stay_with_their_rows() -> None:
    x, y = groups(100)
    loader = Half(DataLoader(TensorDataset(x, y), batch_size=10, shuffle=True))
    first, second = (torch.cat([rows for rows, _ in loader]) for _ in range(2))
    assert 30 < len(first) < 70
    assert torch.equal(first.sum(1).sort().values, second.sum(1).sort().values)
    assert len(list(loader)) <= len(loader) == 5
    assert torch.equal(dealt(x, y)[50:], dealt(x[50:], y))


def test_rows_that_change_in_every_pass_are_refused() -> None:
    class Fresh(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 60

        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            return torch.randn(12), torch.tensor(index % 5)

    chart = Chart(from_function(lambda seed: plain(train=DataLoader(Fresh(), batch_size=20))))
    found = {each.name: each for each in examinations(chart)}
    assert "changed anew" in found["half the data"].means
    assert "changed anew" in found["random labels"].means
