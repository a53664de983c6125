"""The programs written to be healthy: each keeps the contract, none is like another, and each does as well as its peer."""

from __future__ import annotations

import importlib
import json
import math
import runpy
import sys
from pathlib import Path

import pytest
import torch

from seminal.doctor.course import batches
from seminal.doctor.program import from_file

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[1]
PROGRAMS = sorted((ROOT / "benchmarks" / "healthy").glob("*.py"))
# How far below its peer a program may stay, on the scale of its metric: about two standard errors of a share of 200 rows.
BELOW = 0.04


def name(path: Path) -> str:
    return path.stem


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("healthy")


def test_there_are_thirty_and_no_two_are_alike():
    assert [int(path.stem.split("_")[0]) for path in PROGRAMS] == list(range(1, 31))
    made = [from_file(str(path))(0) for path in PROGRAMS]
    kinds = {
        (str(p.model), type(p.optimizer), str(p.loss), p.optimizer.defaults["lr"], p.train.batch_size) for p in made
    }
    assert len(kinds) == len(PROGRAMS)
    assert len({type(p.optimizer) for p in made}) >= 6


@pytest.mark.parametrize("path", PROGRAMS, ids=name)
def test_a_healthy_program_keeps_the_contract(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
    assert "seminal" not in path.read_text(encoding="utf-8"), "a stranger's program knows nothing of this project"
    make = from_file(str(path))
    first, again = make(0), make(0)
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters()))
    _, input, target = next(batches(first))
    assert math.isfinite(float(first.step(input, target)))
    assert first.score() <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("path", PROGRAMS, ids=name)
def test_a_healthy_program_does_as_well_as_its_peer(path):
    program = from_file(str(path))(0)
    for _, input, target in batches(program):
        program.model.train()
        program.step(input, target)
    assert program.score() > runpy.run_path(str(path))["peer"]() - BELOW


def result(*illnesses: str, **more):
    findings = [{"illness": illness, "confidence": 0.8, "evidence": ["7 of 9"]} for illness in illnesses]
    return {"findings": findings, "verdict": illnesses[0] if illnesses else "healthy", **more}


def test_what_counts_as_an_alarm(benchmark):
    short = result("lr_low", steps=2, variant="vgg11", recipe="paper")
    unknown = result(verdict="cannot_tell")
    false = result("lr_high", steps=40, ends=[2.0, 1.9])
    true = result("lr_high", steps=40, ends=[9.0, 2.2])
    both = result("lr_high", "lr_low", steps=40, ends=[9.0, 2.2])
    found = benchmark.summary([result(), false, true, both, unknown, {"findings": [], "failed": "…"}, short])
    assert (found["false_alarms"]["hits"], found["false_alarms"]["n"]) == (2, 5)
    assert found["borne_out"] == [true]
    assert (found["cannot_tell"], len(found["failed"]), found["too_short"]) == (1, 1, ["vgg11 paper"])
    assert [alarm["verdict"] for alarm in found["alarms"]] == ["lr_high", "lr_high"]


def test_a_run_that_was_cut_off_goes_on(benchmark, monkeypatch, tmp_path):
    done = []

    def examined(work, path, seed, budget):
        done.append((Path(path).stem, seed))
        return result(program=Path(path).stem, seed=seed, score=0.9, peer=0.9, own_seconds=1.0, seconds=2.0)

    def asked(*words: str):
        out = tmp_path / "healthy.json"
        kept = ("--kept", str(tmp_path / "kept"), "--out", str(out), "--part", "programs")
        monkeypatch.setattr(sys, "argv", ["healthy.py", *kept, "--only", "02_iris", *words])
        benchmark.run()
        return json.loads(out.read_text(encoding="utf-8"))

    monkeypatch.setattr(benchmark, "alone", examined)
    asked()
    found = asked("--seeds", "2")
    assert done == [("02_iris", 0), ("02_iris", 1)]
    assert found["programs"]["false_alarms"]["n"] == 2


def test_own_models_are_trained_with_each_recipe_and_watched(benchmark, monkeypatch, tmp_path):
    words = ["--part", "runs", "--only", "linear", "bag", "--steps", "12", "--kept", str(tmp_path / "kept")]
    monkeypatch.setattr(sys, "argv", ["healthy.py", *words, "--out", str(tmp_path / "healthy.json")])
    benchmark.run()
    found = json.loads((tmp_path / "healthy.json").read_text(encoding="utf-8"))["runs"]
    assert not found["failed"]
    assert {(row["variant"], row["recipe"]) for row in found["all"]} == {
        (variant, recipe) for variant in ("linear", "bag") for recipe in ("paper", "modern")
    }
    assert all(row["steps"] == 12 and all(map(math.isfinite, row["loss"])) for row in found["all"])
