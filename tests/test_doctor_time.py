"""No run of the doctor is made whose outcome would change nothing."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from seminal.doctor import chart as charts
from seminal.doctor import diagnose, remedies, signs, specimens
from seminal.doctor.chart import Chart, treated
from seminal.doctor.findings import Finding
from seminal.doctor.program import from_function
from seminal.doctor.rules import graph_cut, label_noise


def _plain(seed: int = 0, epochs: int = 12):
    torch.manual_seed(seed)
    return specimens.program(specimens.network(12, 32, 5), specimens.groups(), epochs=epochs)


def test_a_treated_program_with_the_same_rows_needs_no_second_opinion_of_its_own():
    make = from_function(_plain)
    before = Chart(make)
    same = Chart(treated(make, remedies.rate(3)), before=before)
    assert same.facts is before.facts
    assert same.opinion is before.opinion
    other = Chart(treated(make, remedies.cleaned(torch.arange(100))), before=before)
    assert other.facts is not before.facts
    assert other.opinion is not before.opinion


def test_a_run_ends_when_a_reading_is_enough_and_is_compared_with_trials_as_long():
    make = from_function(_plain)
    whole, part = Chart(make), Chart(make, enough=lambda _, reading: reading.step >= 50)
    assert part.course.share == part.course.last.step / part.course.total < 1
    assert part.course.losses == whole.course.losses[: part.course.last.step]  # the same run, and no other
    assert whole.course.share == 1
    effect = signs.effect(part, remedies.rate(1e-3), share=1.0)
    assert effect.steps == part.course.last.step < whole.course.total
    assert not effect.helped


def _rule(name: str, judge) -> ModuleType:
    module = ModuleType(f"rules.{name}")
    vars(module).update(STAGE="optimisation", judge=judge)
    return module


@pytest.mark.parametrize(("confidence", "asked"), [(0.9, []), (0.8, ["epochs_few"])])
def test_what_a_sure_finding_explains_is_not_asked(confidence, asked):
    told = []
    first = Finding("init_bad", confidence, ("a sign",), explains=frozenset({"epochs_few"}))
    rules = [_rule("init_bad", lambda _: first), _rule("epochs_few", lambda _: told.append("epochs_few"))]
    assert diagnose._surest(Chart(from_function(_plain)), rules, 0.5) == [first]
    assert told == asked


def test_rules_with_a_sign_of_their_own_come_first_and_the_longest_trial_last():
    names = [diagnose._illness(rule) for rule in diagnose.of_stage("optimisation")]
    assert names.index("init_bad") < names.index("lr_high") < names.index("dead_relu") < names.index("epochs_few")
    assert names[-1] == "epochs_few"
    known = {*diagnose.FIRST, *diagnose.PACE, *diagnose.LAST}
    assert known <= set(names)


def test_trials_have_an_allowance_which_short_ones_may_pass(monkeypatch):
    chart = Chart(from_function(_plain), allowance=0.5)
    chart.trial(remedies.rate(3), share=0.5)
    assert chart.in_time  # the floor in seconds
    monkeypatch.setattr(charts, "FLOOR", 0.0)
    assert not chart.in_time
    assert Chart(from_function(_plain), allowance=0.6, _trials=dict(chart._trials)).in_time


def test_a_cured_program_is_trained_only_until_it_does_well():
    """The one that was cut learns nothing; treated, it is as good as its data allow before half of the run."""
    told = []
    found = diagnose.examine(from_function(graph_cut.sick), told=told.append)
    assert [f.illness for f in found.verdict.findings] == ["graph_cut"]
    assert told.count("training once, as the program would") == 1


def test_a_longer_run_is_no_treatment_to_go_on_with():
    chart = Chart(from_function(_plain))
    assert diagnose._works(chart, remedies.rate(3))
    assert not diagnose._works(chart, remedies.longer(4))


def test_labels_are_doubted_in_the_program_as_it_came():
    """A treated program that answers nearly all rows right has its data in order; the first one must be asked."""
    found = diagnose.examine(from_function(label_noise.sick))
    assert found.verdict.findings[0].illness == "label_noise"
