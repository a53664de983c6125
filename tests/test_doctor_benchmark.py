"""The benchmark of the doctor: its scores against counts made by hand, resuming, and the page it draws."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

import pytest
from scipy.stats import binomtest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def scores(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("doctor_scores")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("doctor")


def the_cases(scores):
    def case(name, causes, accept=()):
        return scores.Case(name, frozenset(causes), frozenset(accept), (0.1, 0.2), (0.9, 1.0))

    return [
        case("a", {"lr_low"}, {"optimizer"}),
        case("b", {"init_bad", "dead_relu"}),
        case("c", {"lr_high"}),
        scores.Case("well"),
        scores.Case("fine"),
    ]


ANSWERS = {
    "a": [("optimizer", 0.9), ("lr_low", 0.8)],
    "b": [("init_bad", 0.95), ("leakage", 0.6)],
    "c": [],
    "well": [],
    "fine": [("overfitting", 0.5)],
}


def test_shares_by_hand(scores):
    found = {name: (share["hits"], share["n"]) for name, share in scores.scored(the_cases(scores), ANSWERS).items()}
    assert found == {
        "top_1": (2, 3),
        "recall": (2, 4),
        "precision": (3, 4),
        "exact": (0, 3),
        "exact_but_for_fair_names": (1, 3),
        "nothing_found": (1, 3),
        "false_alarms": (1, 2),
    }
    table = scores.by_illness(the_cases(scores), ANSWERS)
    assert table["lr_low"] == {"cause": 1, "found": 1, "right": 1, "wrong": 0}
    assert table["optimizer"] == {"cause": 0, "found": 0, "right": 1, "wrong": 0}
    assert table["leakage"] == {"cause": 0, "found": 0, "right": 0, "wrong": 1}


def test_the_interval_of_a_share(scores):
    for hits, count in ((0, 9), (3, 9), (40, 41)):
        expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
        found = scores.wilson(hits, count)
        assert (found["low"], found["high"]) == (pytest.approx(expected.low, abs=1e-6), pytest.approx(expected.high))


def test_the_best_constant_answer(scores):
    cases = [*the_cases(scores), scores.Case("d", frozenset({"lr_high"}), frozenset(), (0.0,), (1.0,))]
    names, found = scores.constant(cases, ["lr_low", "lr_high", "init_bad", "leakage"], 1)
    assert names == ("lr_high",)
    assert (found["top_1"]["hits"], found["false_alarms"]["hits"]) == (2, 2)
    names, found = scores.constant(cases, ["lr_low", "lr_high", "init_bad", "leakage"], 2)
    assert names[0] == "lr_high"
    assert found["recall"]["hits"] == 3


def test_the_gap_that_was_recovered(scores):
    case = scores.Case("a", frozenset({"x"}), frozenset(), (0.1, 0.3), (0.9, 1.0))
    assert scores.recovered(case, [0.95], 0.1) == pytest.approx(1)
    assert scores.recovered(case, [0.5, 0.65], 0.1) == pytest.approx((0.575 - 0.2) / 0.75)
    assert scores.recovered(case, [0.95, math.nan], 0.1) == -math.inf
    diverged = scores.Case("b", frozenset({"x"}), frozenset(), (-1e32, None), (0.5, 0.5))
    assert scores.recovered(diverged, [-3.0], 0.0) < 0  # not "almost all of the way from minus 1e32"
    assert scores.recovered(diverged, [0.4], 0.0) == pytest.approx(0.8)
    leak = scores.Case("c", frozenset({"leakage"}), frozenset(), (1.0, 1.0), (0.7, 0.7))
    assert scores.recovered(leak, [0.73], 0.5) == pytest.approx(0.9)


def test_calibration_never_sees_the_program_it_is_asked_about(scores):
    cases = [scores.Case(str(i), frozenset({"lr_low"}), frozenset(), (0.0,), (1.0,)) for i in range(40)]
    # Those named with 0.9 are right half of the time, those with 0.6 never.
    answers = {str(i): [("lr_low" if i % 4 == 0 else "lr_high", 0.9 if i % 2 == 0 else 0.6)] for i in range(40)}
    found = scores.calibration(cases, answers)
    low, high = found["stated"]["bins"]
    assert (low["confidence"], low["share"], low["n"]) == (pytest.approx(0.6), 0, 20)
    assert (high["confidence"], high["share"], high["n"]) == (pytest.approx(0.9), 0.5, 20)
    assert found["stated"]["expected_calibration_error"] == pytest.approx(fmean([0.6, 0.4]))
    assert found["corrected"]["expected_calibration_error"] < 0.25
    assert found["curve"] == [[0.6, 0.0], [0.9, 0.5]]
    assert "corrected" not in scores.calibration(cases[:3], answers)
    # One program alone is right with 0.99: nobody else could have told.
    alone = scores.calibration(
        [*cases, scores.Case("x", frozenset({"init_bad"}))], {**answers, "x": [("init_bad", 0.99)]}
    )
    assert alone["curve"][-1] == [0.99, 1.0]
    assert max(row["confidence"] for row in alone["corrected"]["bins"]) < 0.7


def test_labels_that_name_missing_programs_are_told(scores, tmp_path):
    label = {"causes": ["lr_low"], "accept": [], "metric_faulty": [None], "metric_fixed": [1.0]}
    (tmp_path / "labels.json").write_text(json.dumps({"cases": {"a.py": label}, "cases_healthy": {"b.py": {}}}))
    (tmp_path / "a.py").write_text("")
    with pytest.raises(SystemExit, match=r"b\.py"):
        scores.cases_in(tmp_path)
    (tmp_path / "b.py").write_text("")
    assert [(case.name, bool(case.causes)) for case in scores.cases_in(tmp_path)] == [("a.py", True), ("b.py", False)]


def result(*findings, **more):
    return {
        "findings": [{"illness": illness, "confidence": confidence} for illness, confidence in findings],
        "seconds": 4.0,
        "own_seconds": 2.0,
        **more,
    }


def test_what_is_kept_is_taken_up_and_another_version_is_not(benchmark, scores, tmp_path, monkeypatch):
    cases = [case for case in the_cases(scores) if case.name in "ab"]
    done = []

    def alone(path, budget, cure):
        done.append(Path(path).name)
        return result(*ANSWERS[Path(path).name])

    monkeypatch.setattr(benchmark, "_alone", alone)
    asked = SimpleNamespace(budget=1.0, cure=False, processes=2)
    first = benchmark.measured(tmp_path, cases[:1], benchmark.Shelf(tmp_path / "kept", "one"), asked)
    both = benchmark.measured(tmp_path, cases, benchmark.Shelf(tmp_path / "kept", "one"), asked)
    assert done == ["a", "b"]
    assert both["a"] == first["a"]
    benchmark.measured(tmp_path, cases[:1], benchmark.Shelf(tmp_path / "kept", "two"), asked)
    assert done == ["a", "b", "a"]


def test_a_program_that_breaks_the_doctor_is_no_answer(benchmark, tmp_path):
    (tmp_path / "bad.py").write_text("def make(seed=0):\n    raise RuntimeError('no data here')\n")
    found = benchmark.examined(str(tmp_path / "bad.py"), 1.0, False)
    assert found["findings"] == []
    assert "no data here" in found["failed"]


def test_the_summary_its_table_and_its_plot(benchmark, scores, capsys):
    cases = the_cases(scores)
    results = {name: result(*found) for name, found in ANSWERS.items()}
    cure = {"works": True, "remedy": "learning rate × 10", "after": [0.9, 1.0]}
    blind = {"names": ["momentum 0.9"], "after": [0.2, 0.2], "tried": 7}
    results["a"] |= {"cure": cure, "random": blind, "floor": 0.1}
    found = benchmark.summary(cases, results)
    assert found["times"]["ratio_to_own_training"]["median"] == 2
    assert [len(guess["names"]) for guess in found["guesses"]] == [1, 3]
    cures = found["cures"]
    assert (cures["verified"]["hits"], cures["random_search"]["hits"], cures["verified"]["n"]) == (1, 0, 3)
    assert cures["programs"][0]["recovered"] == pytest.approx(1)
    benchmark.show(found)
    shown = capsys.readouterr().out
    assert "doctor" in shown
    assert "always" in shown
    assert "random search" in shown
    json.dumps(found)
    assert benchmark.plotted(found["calibration"]).startswith("<svg")
