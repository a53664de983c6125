"""Paired trials and cures: the arithmetic against naive oracles, and small programs whose answer is known."""

from __future__ import annotations

import itertools
import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from seminal.core import UserError
from seminal.doctor import remedies
from seminal.doctor.chart import Chart
from seminal.doctor.cure import attempted, cured
from seminal.doctor.diagnose import Examined, examine
from seminal.doctor.findings import Finding, Verdict
from seminal.doctor.program import from_function
from seminal.doctor.rules import data_shift, label_bug
from seminal.doctor.trial import LEAST, Run, Trials, compared, holm, named

# --------------------------------------------------------------------------------------------------------- the arithmetic


def test_a_comparison_is_the_paired_t_test():
    own = np.random.default_rng(0)
    for count in (3, 6):
        before, after = own.random(count), own.random(count) + 0.3
        found = compared(list(before), list(after))
        test = stats.ttest_rel(after, before, alternative="greater")
        both = stats.ttest_rel(after, before).confidence_interval(0.95)
        assert found.gain == pytest.approx(np.mean(after - before))
        assert found.p == pytest.approx(test.pvalue)
        assert (found.low, found.high) == (pytest.approx(both.low), pytest.approx(both.high))
        spread = math.sqrt((before.var(ddof=1) + after.var(ddof=1)) / 2)
        assert found.d == pytest.approx(found.gain / spread)


def test_differences_without_spread():
    """Such as of skills that were cut off at their scale's end: they are believed as far as it can be read."""
    alike = compared([0.1, 0.1, 0.1], [0.9, 0.9, 0.9])
    assert 1e-7 < alike.p < 1e-3
    assert alike.low < 0.8 < alike.high
    assert math.isfinite(alike.d)
    assert compared([0.1, 0.1, 0.1], [0.1, 0.1, 0.1]).p == 0.5
    assert compared([0.9, 0.9, 0.9], [0.1, 0.1, 0.1]).p > 0.999
    within = [0.1, 0.11, 0.09], [0.9, 0.91, 0.89]
    assert compared(*within).p == compared([0.1] * 3, [0.9] * 3).p


def test_holm_by_its_definition():
    own = np.random.default_rng(1)
    for count in (1, 2, 5):
        values = list(own.random(count) ** 3)
        corrected = holm(values)
        for level in np.linspace(0.01, 0.99, 23):
            rejected = set()
            for rank, i in enumerate(sorted(range(count), key=lambda i: values[i])):
                if values[i] * (count - rank) >= level:
                    break
                rejected.add(i)
            assert {i for i in range(count) if corrected[i] < level} == rejected


def test_the_bar():
    clear = compared([0.1, 0.12, 0.09], [0.8, 0.83, 0.78])
    assert clear.passes(0.0)
    assert not clear.passes(control=clear.gain - LEAST / 2)  # other seeds alone do nearly as much
    assert not clear.passes(0.0, p=0.06)
    assert not compared([0.1, 0.12, 0.09], [0.13, 0.15, 0.12]).passes(0.0)  # sure, and not worth it
    assert not compared([0.1, 0.9, 0.5], [0.5, 0.95, 0.4]).passes(0.0)


# ------------------------------------------------------------------------------------------ programs whose answer is known


def program(score, seed_matters=0.01):
    """A program of eight steps; its metric is ``score(rate, decay, momentum)``, plus luck that belongs to the seed."""
    made = []

    def make(seed: int) -> dict:
        torch.manual_seed(seed)
        made.append(seed)
        model = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        luck = seed_matters * math.sin(12.9898 * seed + 1)

        def metric(_out, _target):
            group = optimizer.param_groups[0]
            return score(group["lr"], group["weight_decay"], group["momentum"]) + luck

        rows = DataLoader(TensorDataset(torch.zeros(8, 1), torch.zeros(8, 1)), batch_size=1)
        parts = {"model": model, "loss": nn.MSELoss(), "optimizer": optimizer, "train": rows, "val": rows}
        return {**parts, "epochs": 1, "metric": metric}

    return make, made


def chart_of(score, **more):
    make, made = program(score, **more)
    chart = Chart(from_function(make))
    vars(chart)["anatomy"] = SimpleNamespace(floor=0.0, ceiling=1.0)
    return chart, made


def examined(chart: Chart, *findings: Finding, chain=()) -> Examined:
    return Examined(Verdict(findings), chart, chain)


def finding(illness: str, *helps) -> Finding:
    return Finding(illness, 0.8, ("a number: 1",), helps)


def test_the_remedy_that_helps_is_found_among_those_that_do_not():
    chart, _ = chart_of(lambda rate, decay, momentum: 0.9 if rate > 0.9 else 0.2)
    told = []
    given = examined(
        chart,
        finding("optimizer", remedies.momentum(0.9), remedies.no_decay()),
        finding("lr_low", remedies.rate(10), remedies.more_decay()),
    )
    cure = cured(given, budget=60, told=told.append)
    assert cure.works
    assert cure.name == "learning rate × 10"
    assert cure.metric_before == pytest.approx(0.2, abs=0.02)
    assert cure.metric_after == pytest.approx(0.9, abs=0.02)
    assert cure.interval[0] <= 0.7 <= cure.interval[1]
    assert cure.p < 0.05
    assert abs(cure.control.gain) < 0.05
    assert 'group["lr"] *= 10' in cure.snippet
    assert cure.says.startswith("cured: multiply the learning rate by 10")
    assert any("control arm" in line for line in told)
    assert cure.notes == ()
    assert (cure.told.remedy, cure.told.seeds, cure.told.interval) == (cure.name, 3, cure.interval)


def test_pairs_are_tried_when_nothing_works_alone():
    chart, _ = chart_of(lambda rate, decay, momentum: 0.9 if rate > 0.9 and decay > 0.0005 else 0.2)
    helps = (remedies.rate(10), remedies.momentum(0.9), remedies.more_decay())
    cure = attempted(examined(chart, finding("lr_low", *helps)), budget=60)
    assert cure.works
    assert cure.name == "learning rate × 10 + more weight decay"
    assert not [outcome for outcome in cure.tried if outcome.works and len(outcome.arm.remedies) == 1]


def test_the_smaller_of_two_equal_changes_is_taken():
    chart, _ = chart_of(lambda rate, decay, momentum: (0.9 if rate > 0.9 else 0.2) + 0.01 * momentum)
    chain = (remedies.rate(10), remedies.momentum(0.9))
    given = examined(chart, finding("lr_low", chain[0]), finding("optimizer", chain[1]), chain=chain)
    assert cured(given, budget=60).name == "learning rate × 10"


def test_not_cured_is_said():
    chart, _ = chart_of(lambda rate, decay, momentum: 0.2 + 0.03 * (rate > 0.9))
    given, told = examined(chart, finding("lr_low", remedies.rate(10), remedies.momentum(0.9))), []
    assert cured(given, budget=60, told=told.append) is None
    assert "not cured" in told[-1]
    cure = attempted(given, budget=60)
    assert not cure.works
    assert cure.says.startswith("not cured;")


def test_another_seed_that_does_as_much_voids_the_claim():
    # The first three seeds fail by bad luck and any change of the rate brings the luck of the others.
    make, _ = program(lambda rate, decay, momentum: 0.9 if rate > 0.9 else 0.2, seed_matters=0.0)

    def lucky(seed: int) -> dict:
        parts = make(seed)
        if seed < 4:  # 0 is the examination's
            return parts
        return {**parts, "metric": lambda _out, _target: 0.9}

    chart = Chart(from_function(lucky))
    vars(chart)["anatomy"] = SimpleNamespace(floor=0.0, ceiling=1.0)
    cure = attempted(examined(chart, finding("lr_low", remedies.rate(10))), budget=60)
    assert cure.control.gain == pytest.approx(0.7)
    assert not cure.works


def test_a_change_that_cannot_be_run_is_no_cure():
    broken = remedies.Remedy("broken", "break it", "x", lambda program: 1 / 0)
    chart, _ = chart_of(lambda rate, decay, momentum: 0.2)
    cure = attempted(examined(chart, finding("lr_low", broken, remedies.rate(10))), budget=60)
    assert not cure.works
    runs = Trials(chart).arm((broken,)).runs
    assert all("ZeroDivisionError" in run.failed and run.skill < 0 for run in runs)


def test_without_remedies_or_time_there_is_no_cure():
    chart, _ = chart_of(lambda rate, decay, momentum: 0.2)
    assert (
        attempted(
            examined(
                chart,
            )
        )
        is None
    )
    assert attempted(examined(chart, finding("lr_low"))) is None
    assert attempted(examined(chart, finding("lr_low", remedies.rate(10))), budget=0) is None
    with pytest.raises(UserError, match="3 or more"):
        Trials(chart, seeds=1)


def test_twice_the_seeds_where_only_they_are_wanting():
    uneven = itertools.cycle([0.25, 0.9, 0.5])
    by_seed = {seed: next(uneven) for seed in range(20)}
    make, _ = program(lambda rate, decay, momentum: 0.2, seed_matters=0.0)

    def noisy(seed: int) -> dict:
        parts = make(seed)
        optimizer = parts["optimizer"]
        return {**parts, "metric": lambda _o, _t: by_seed[seed] if optimizer.param_groups[0]["lr"] > 0.9 else 0.2}

    chart = Chart(from_function(noisy))
    vars(chart)["anatomy"] = SimpleNamespace(floor=0.0, ceiling=1.0)
    cure = attempted(examined(chart, finding("lr_low", remedies.rate(10))), budget=60)
    assert len(cure.after) == len(cure.before) == 6
    values = [by_seed[seed] - 0.2 for seed in range(1, 7)]
    assert cure.p == pytest.approx(2 * stats.ttest_1samp(values, 0, alternative="greater").pvalue)
    assert cure.works


def test_useless_remedies_are_hardly_ever_cures(monkeypatch):
    """A program whose metric is luck, different for every change and seed: what passes does so by chance."""
    own = np.random.default_rng(7)
    chart, _ = chart_of(lambda rate, decay, momentum: 0.4)
    asked = examined(chart, finding("lr_low", *(remedies.rate(factor) for factor in range(2, 12))))
    claimed = []
    for spread in (0.1, 0.2):
        for _ in range(150):
            luck: dict[tuple, Run] = {}

            def run(_, changed, seed, share=1.0, luck=luck, spread=spread):
                value = float(np.clip(0.4 + spread * own.standard_normal(), 0, 1))
                return luck.setdefault((named(changed), share, seed), Run(value, value, 1e-3))

            monkeypatch.setattr(Trials, "run", run)
            claimed.append(attempted(asked, budget=60).works)
    assert sum(claimed) <= 15 + 2 * math.sqrt(15)  # of 300, at a level of 5 %


def test_a_leak_is_cured_when_the_number_falls():
    chart, _ = chart_of(lambda rate, decay, momentum: 0.6 if rate > 0.9 else 1.0)
    cure = attempted(examined(chart, finding("leakage", remedies.rate(10))), budget=60)
    assert cure.works
    assert cure.metric_after < cure.metric_before
    assert "too good" in cure.says


@pytest.mark.parametrize("rule", [data_shift, label_bug], ids=lambda rule: rule.__name__.rpartition(".")[2])
def test_mended_validation_rows_are_those_that_count(rule):
    """The remedy changes nothing but validation rows: before and after differ, or they were read only once."""
    cure = cured(examine(from_function(rule.sick)), budget=60)
    assert cure is not None
    assert cure.metric_after > cure.metric_before + 0.2
    assert "after is on validation rows" in cure.notes[0]


def test_a_split_that_is_drawn_with_the_seed_is_read_with_every_seed():
    def make(seed: int) -> dict:
        torch.manual_seed(seed)
        model = nn.Linear(1, 1)
        train, val = (
            DataLoader(TensorDataset(torch.zeros(8, 1), torch.full((8, 1), float(y))), batch_size=1) for y in (0, seed)
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        parts = {"model": model, "loss": nn.MSELoss(), "optimizer": optimizer, "train": train, "val": val}
        return {**parts, "epochs": 1, "metric": lambda _, target: float(target.mean())}

    chart = Chart(from_function(make))
    vars(chart)["anatomy"] = SimpleNamespace(floor=0.0, ceiling=1.0)
    assert [Trials(chart).run(arm, seed).metric for arm in ((), (remedies.rate(10),)) for seed in (0, 1, 2)] == [
        0,
        1,
        2,
    ] * 2


def test_another_measure_is_said():
    chart, _ = chart_of(lambda rate, decay, momentum: 0.2)
    right = remedies.Remedy("right metric", "measure it", "x", remedies.rate(10).change)
    cure = attempted(examined(chart, finding("metric_wrong", right)), budget=60)
    assert any("by the right one" in note for note in cure.notes)


# ------------------------------------------------------------------------------------------------------- halving, budgets


def test_halving_thins_the_candidates_before_whole_runs(monkeypatch):
    chart, _ = chart_of(lambda rate, decay, momentum: min(0.9, rate))
    candidates = [(remedies.rate(factor),) for factor in range(1, 10)]
    trials = Trials(chart, 3, time.monotonic() + 30)
    assert [named(found) for found in trials.best(candidates)] == ["learning rate × 9", "learning rate × 8"]
    assert {share for _, share, _ in trials._known} == {1.0}  # quick: nothing but whole runs
    monkeypatch.setattr("seminal.doctor.trial.QUICK", 0.0)
    monkeypatch.setattr("seminal.doctor.trial.STEPS", 1)
    chart, _ = chart_of(lambda rate, decay, momentum: min(0.9, rate))
    trials = Trials(chart, 3, time.monotonic() + 30)
    assert [named(found) for found in trials.best(candidates)] == ["learning rate × 9", "learning rate × 8"]
    shares = [share for name, share, _ in trials._known if name != "as it was"]
    assert (shares.count(1 / 8), shares.count(1 / 4), shares.count(1.0)) == (9, 3, 0)
    monkeypatch.setattr("seminal.doctor.trial.STEPS", 3)
    chart, _ = chart_of(lambda rate, decay, momentum: min(0.9, rate))
    trials = Trials(chart, 3, time.monotonic() + 30)
    trials.best(candidates)
    assert {share for name, share, _ in trials._known if name != "as it was"} == {1 / 2}  # 4 of 8 steps


def test_arms_have_the_same_seeds_and_nothing_is_run_twice():
    chart, made = chart_of(lambda rate, decay, momentum: 0.2)
    trials = Trials(chart, 3)
    assert [run.metric for run in trials.before.runs] == [trials.run((), seed).metric for seed in (1, 2, 3)]
    trials.arm((remedies.rate(2),))
    before = len(made)
    trials.arm((remedies.rate(2),))
    assert len(made) == before
    same = zip(trials.before.metrics, trials.arm((remedies.rate(2),)).metrics)
    assert all(one == other for one, other in same)  # the luck belongs to the seed


def test_the_program_is_scored_on_its_way():
    values = iter([0.1, 0.2, 0.3, 0.4, 0.5])
    make, _ = program(lambda rate, decay, momentum: 0.2)
    chart = Chart(from_function(lambda seed: {**make(seed), "evaluate": lambda model, val: next(values)}))
    vars(chart)["anatomy"] = SimpleNamespace(floor=0.0, ceiling=1.0)
    trials = Trials(chart)
    assert [trials.run((), 0, share).metric for share in (1 / 8, 1 / 4, 1.0)] == [0.1, 0.2, 0.5]
