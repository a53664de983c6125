"""The code of docs/guide.md runs, and its list of illnesses is the doctor's."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from command_line import QUICK, coloured, done
from seminal.doctor.findings import ILLNESSES

GUIDE = (Path(__file__).parents[1] / "docs" / "guide.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.usefixtures("one_thread")


def code(heading: str, place: int = 0) -> str:
    """A block of Python of a section."""
    section = GUIDE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return section.split("```python\n")[place + 1].partition("```")[0]


def test_the_names_of_illnesses_are_all_there():
    rows = GUIDE.partition("| name | what it is |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    assert rows == [f"| `{name}` | {what} |" for name, what in ILLNESSES.items()]


def test_a_recipe_of_ones_own(tmp_path):
    (tmp_path / "mine.py").write_text(code("Training"))
    got = json.loads(done("train", "resnet20", "digits", "--recipe", "mine.py", "--print-config", folder=tmp_path))
    assert (got["lr"], got["epochs"], got["batch"]) == (0.05, 30, 64)


def test_a_run_from_python(tmp_path):
    coloured(tmp_path / "set", 5)
    done("train", "resnet20", "set", "--epochs", "1", *QUICK, "--name", "run", folder=tmp_path)
    names: dict[str, Any] = {"RUN": "runs/run", "FILES": ["set/red", "set/blue"]}
    with chdir(tmp_path):
        exec(code("From Python"), names)
    assert names["said"].shape == (10, 3)
    assert not names["model"].training
    predicted = [
        json.loads(line) for line in done("predict", "runs/run", "set/red", "--json", folder=tmp_path).splitlines()
    ]
    labels = json.loads((tmp_path / "runs" / "run" / "labels.json").read_text())
    assert names["said"][0].tolist() == pytest.approx([predicted[0][label] for label in labels], abs=1e-5)


def test_a_loop_that_is_watched(capsys):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    loader = [(torch.randn(16, 4), torch.randint(0, 2, (16,))) for _ in range(5)]
    names: dict[str, Any] = {"model": model, "loader": loader, "criterion": nn.CrossEntropyLoss()}
    exec(code("When training fails", 1), names | {"optimizer": torch.optim.SGD(model.parameters(), 0.1)})
    assert capsys.readouterr().out.strip()
    loader[:] = [(torch.full((16, 4), float("nan")), loader[0][1])]
    before = [weight.clone() for weight in model.parameters()]
    model.zero_grad()
    with pytest.raises(RuntimeError, match="step"):
        exec(code("When training fails", 1), names | {"optimizer": torch.optim.SGD(model.parameters(), 0.1)})
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
