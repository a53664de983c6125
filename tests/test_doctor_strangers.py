"""Programs that somebody wrote without knowing the doctor, and what it had missed in them at first: modules in plain lists,
a loss whose arguments are exchanged, rows that were standardised where columns should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from seminal.doctor.diagnose import examine
from seminal.doctor.findings import ILLNESSES
from seminal.doctor.program import from_file
from seminal.doctor.unregistered import register, unregistered

pytestmark = pytest.mark.usefixtures("one_thread")
STRANGERS = Path(__file__).parents[1] / "benchmarks" / "strangers"


@pytest.mark.parametrize(
    ("program", "illness", "evidence"),
    [
        ("h_02_mlp_sizes", "frozen_parameters", "3 modules with 5,480 numbers are in `layers`, which is a plain list"),
        ("h_04_counts", "loss_implementation", "with the arguments of the loss exchanged"),
        ("h_07_cultivars", "input_scale", "times its own spread"),
    ],
)
def test_what_was_missed_is_found(program: str, illness: str, evidence: str) -> None:
    found = examine(from_file(str(STRANGERS / f"{program}.py")), budget=120).verdict.findings
    assert [finding.illness for finding in found] == [illness]
    assert evidence in "; ".join(found[0].evidence)


def test_the_labels_name_the_programs_and_known_illnesses() -> None:
    labels = json.loads((STRANGERS / "labels.json").read_text(encoding="utf-8"))
    programs = {path.name for path in STRANGERS.glob("h_*.py")}
    assert {*labels["cases"], *labels["cases_healthy"]} == programs
    for case in labels["cases"].values():
        assert {*case["causes"], *case["accept"]} <= set(ILLNESSES)


class Held(nn.Module):
    """Modules in every kind of place."""

    def __init__(self) -> None:
        super().__init__()
        self.known = nn.ModuleList([nn.Linear(2, 2)])
        self.alias = [self.known[0]]  # registered all the same
        self.listed = [nn.Linear(2, 3), nn.ReLU()]
        self.keyed = {"a": nn.Linear(3, 3, bias=False)}
        self.mixed = (nn.Linear(1, 1), "a name")
        self.numbers = [1, 2, 3]
        self.inner = nn.Sequential(nn.ReLU())
        self.inner.more = [nn.Linear(1, 2)]


def test_modules_in_plain_containers_are_found_and_registered() -> None:
    model = Held()
    found = {plain.place: plain.numbers for plain in unregistered(model)}
    assert found == {"listed": 9, "keyed": 9, "mixed": 2, "inner.more": 4}
    given = unregistered(model, [*model.listed[0].parameters()])  # to an optimiser, by hand
    assert [plain.place for plain in given] == ["keyed", "mixed", "inner.more"]
    before = sum(p.numel() for p in model.parameters())
    layer = model.listed[0]
    register(model)
    assert unregistered(model) == []
    assert sum(p.numel() for p in model.parameters()) == before + 9 + 9 + 2 + 4
    assert model.listed[0] is layer  # used as before
    assert model.mixed[1] == "a name"
    assert torch.equal(model.keyed["a"].weight, dict(model.named_parameters())["keyed.a.weight"])
