"""`seminal doctor`: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from seminal.cli import main
from seminal.doctor.examinations import ORDER
from seminal.runs.doctoring import is_program

PROGRAM = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make(seed=0):
    torch.manual_seed(seed)
    x = torch.randn(300, 6)
    y = (x[:, 0] * x[:, 1] > 0).long()
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2){ending})
    return dict(model=model, loss=nn.CrossEntropyLoss(), optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
                train=DataLoader(TensorDataset(x[:200], y[:200]), batch_size=20, shuffle=True),
                val=DataLoader(TensorDataset(x[200:], y[200:]), batch_size=100), epochs=20,
                metric=lambda out, y: (out.argmax(1) == y).float().mean().item())
"""


def program(folder: Path, ending: str = "") -> str:
    path = folder / "program.py"
    path.write_text(PROGRAM.replace("{ending}", ending))
    return str(path)


def test_a_fault_is_found_named_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "verdict.json"
    assert main(["doctor", program(tmp_path, ", nn.Softmax(1)"), "--json", str(out)]) == 3
    said = capsys.readouterr().out
    assert "double_softmax" in said
    assert "seminal doctor" in said
    found = json.loads(out.read_text())
    assert found["findings"][0]["illness"] == "double_softmax"
    assert found["findings"][0]["remedies"]
    assert found["findings"][0]["evidence"]
    assert found["cure"] is None


def test_a_healthy_program_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "verdict.json"
    assert main(["doctor", program(tmp_path), "--json", str(out)]) == 0
    assert "healthy" in capsys.readouterr().out
    assert json.loads(out.read_text())["findings"][0]["illness"] == "healthy"


RAISES = """
import program


def make(seed=0):
    parts, taken = program.make(seed), []

    def step(model, loss, optimizer, x, y):
        taken.append(x)
        if len(taken) > 150:
            raise RuntimeError("the table has 150 entries")
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value.item()

    return parts | dict(train_step=step)
"""


def test_a_program_that_raises_late_is_not_healthy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(tmp_path)
    (tmp_path / "raises.py").write_text(RAISES)
    out = tmp_path / "verdict.json"
    assert main(["doctor", str(tmp_path / "raises.py"), "--json", str(out)]) == 3
    said = capsys.readouterr().out
    assert "healthy" not in said
    assert "step 151 of 200 fails: RuntimeError: the table has 150 entries" in said
    assert "mend that first" in said
    assert "--cure" not in said, "there is nothing to try"
    assert [found["illness"] for found in json.loads(out.read_text())["findings"]] == ["crash"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "has no function `make`"),
        ("def make(seed=0): return {}", "does not give model"),
        ("def make(seed=0): 1 / 0", "ZeroDivisionError"),
        ("import nowhere_to_be_found", "cannot be imported"),
        ("def make(seed=0) return", "cannot be imported"),
        ("def make(seed=0): return 3", "gives a value of type `int`. It must give a dict with: model"),
        ("def make(seed=0): pass", "gives None. It must give a dict"),
        ("def make(): return {}", "write `def make(seed=0):`"),
        ("import sys\ndef make(seed=0): sys.exit(3)", "ends itself (SystemExit: 3) in make()"),
        ("import sys\nsys.exit(0)", "ends itself (SystemExit: 0) when it is imported"),
        (
            "import argparse\nask = argparse.ArgumentParser()\nask.add_argument('data')\nask.parse_args()",
            "SystemExit: 2",
        ),
    ],
)
def test_what_is_no_program_is_told_in_a_sentence(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "program.py"
    path.write_text(text)
    assert main(["doctor", str(path)]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said


ARGUMENTS = """
import argparse
import sys

ask = argparse.ArgumentParser()
ask.add_argument("--lr", type=float, default=1e-2)
asked = ask.parse_args()

import program


def make(seed=0):
    assert ask.parse_args() == asked
    assert sys.argv == [__file__]
    return program.make(seed)
"""


def test_a_program_that_parses_arguments_sees_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path)
    path = tmp_path / "parses.py"
    path.write_text(ARGUMENTS)
    monkeypatch.setattr("sys.argv", ["seminal", "doctor", str(path), "--check"])
    assert main(["doctor", str(path), "--check"]) == 0
    assert sys.argv[0] == "seminal"


def changed(text: str) -> str:
    """The program, one part of which is another."""
    head = "import torch\nimport program\n\n\ndef make(seed=0):\n    parts = program.make(seed)\n"
    return f"{head}    {text}\n    return parts\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("parts['val'] = None", "`val` of * is None, which has no length: give a DataLoader, a list of batches"),
        ("parts['train'] = (pair for pair in parts['train'])", "of type `generator`, which can be read only once"),
        ("parts['train'] = [dict(x=x, y=y) for x, y in parts['train']]", "is a dict with `x`, `y`"),
        ("parts['train'] = [(x, x, y) for x, y in parts['train']]", "is a `tuple` of 3"),
        ("parts['val'] = [([x], y) for x, y in parts['val']]", "`val`: the input of a batch is a `list`"),
        ("parts['val'] = [(x, y[0]) for x, y in parts['val']]", "the target of a batch is a single number"),
        ("parts['train'].dataset.tensors = (torch.zeros(9, 6), None)", "`train` cannot be read: TypeError"),
        ("parts['epochs'] = 2.5", "`epochs` of * is 2.5: give a whole number, 1 or more"),
        ("parts['epochs'] = 0", "is 0: give a whole number"),
        ("parts['epochs'] = True", "is True: give a whole number"),
        (
            "parts['loss'] = 'mse'",
            "`loss` of * is a value of type `str`: give a function that takes outputs and targets",
        ),
        ("parts['metric'] = None", "`metric` of * is None: give a function"),
        (
            "parts['evaluate'] = 0.5",
            "`evaluate` of * is a value of type `float`: give a function that takes (model, val)",
        ),
        ("parts['train_step'] = 3", "give a function that takes (model, loss, optimizer, input, target)"),
    ],
)
def test_every_wrong_part_is_told_in_a_sentence(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(tmp_path)
    path = tmp_path / "changed.py"
    path.write_text(changed(text))
    assert main(["doctor", str(path)]) == 2
    assert says.replace("*", str(path)) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("parts['loss'].reduction = 'none'", "its first step fails: RuntimeError: grad can be implicitly created only"),
        ("parts['metric'] = lambda out, y: {'accuracy': 1}", "the metric gives a value of type `dict`"),
        ("parts['metric'] = lambda out, y: out.nothing", "the metric raises AttributeError: 'Tensor' object has no"),
        ("parts['evaluate'] = lambda model, val: 1 / 0", "`evaluate` raises ZeroDivisionError"),
    ],
)
def test_a_loss_or_a_metric_that_is_no_number_is_said(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(tmp_path)
    path = tmp_path / "changed.py"
    path.write_text(changed(text))
    assert main(["doctor", str(path), "--check"]) == 3
    assert says in " ".join(capsys.readouterr().out.split())


def test_a_run_of_ours_is_examined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "mlp", "iris", "--output", str(tmp_path), "--name", "run", "--epochs", "30"]
    assert main(words) == 0
    assert main(["doctor", str(tmp_path / "run")]) == 0
    assert "healthy" in capsys.readouterr().out


def test_check_finds_what_is_wrong_in_the_code_and_never_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def follow(*_: object, **__: object) -> None:
        raise AssertionError("it was trained")

    monkeypatch.setattr("seminal.doctor.course.follow", follow)
    out = tmp_path / "verdict.json"
    assert main(["doctor", program(tmp_path, ", nn.Softmax(1)"), "--check", "--json", str(out)]) == 3
    assert "double_softmax" in capsys.readouterr().out
    assert json.loads(out.read_text())["findings"][0]["illness"] == "double_softmax"
    assert main(["doctor", program(tmp_path), "--check", "--json", str(out)]) == 2, "it is there already"
    assert "nothing is written over" in capsys.readouterr().err
    out = tmp_path / "other.json"
    assert main(["doctor", program(tmp_path), "--check", "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert "nothing is amiss" in said
    assert "healthy" not in said
    found = json.loads(out.read_text())
    assert (found["findings"][0]["illness"], found["examinations"]) == ("cannot_tell", [])


@pytest.mark.parametrize("other", ["--examine", "--cure"])
def test_check_and_what_trains_exclude_each_other(
    other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", program(tmp_path), "--check", other]) == 2
    assert "ask for one" in capsys.readouterr().err


def test_every_examination_is_shown_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "verdict.json"
    assert main(["doctor", program(tmp_path), "--examine", "--json", str(out)]) == 0
    said = capsys.readouterr().out
    asked = json.loads(out.read_text())["examinations"]
    assert [each["name"] for each in asked] == [ask.name for ask in ORDER]
    for each in asked:
        assert each["found"] not in ("not asked", "could not be asked"), each
        for text in (each["question"], each["found"], each["means"]):
            assert text in said


def test_a_program_is_a_python_file() -> None:
    assert is_program("a/b.py")
    assert is_program("b.py:other")
    assert not is_program("my.python.runs/resnet20-1")
