"""Every rule of the doctor: its own sick specimen is found, its first remedy cures it, and no well one is accused."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

from seminal.doctor import rules, signs
from seminal.doctor.chart import Chart, treated
from seminal.doctor.diagnose import STAGES, examine
from seminal.doctor.findings import ILLNESSES
from seminal.doctor.program import from_function

RULES = {
    info.name: importlib.import_module(f"{rules.__name__}.{info.name}") for info in pkgutil.iter_modules(rules.__path__)
}
ALONE = [
    name for name in RULES if name not in ("mode_collapse", "critic_too_strong")
]  # of two players: their own tests


def test_there_is_a_rule_for_every_illness_and_no_other() -> None:
    assert set(RULES) == set(ILLNESSES)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_says_when_it_is_asked_and_where_it_comes_from(name: str) -> None:
    rule = RULES[name]
    assert rule.STAGE in STAGES
    for word in ("Signs?", "Reasons?", "Sources?", "Looks alike"):
        assert re.search(rf"\b{word}[:,]", rule.__doc__), f"the docstring of {name} does not say {word}"


# Those whose examination takes more than ten seconds are left to `make test-all`.
LONG = ("posterior_collapse", "vanishing_gradient", "overfitting", "output_activation", "over_regularised", "optimizer")
SHARED = [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in ALONE]


@pytest.mark.parametrize("name", SHARED)
def test_the_sick_specimen_is_found_and_its_first_remedy_helps(name: str) -> None:
    make = from_function(RULES[name].sick)
    found = examine(make).verdict.findings
    mine = [finding for finding in found if finding.illness == name]
    assert mine, f"found instead: {[f.illness for f in found]}"
    if mine[0].remedies and name not in (
        "leakage",
        "metric_wrong",
        "data_shift",
    ):  # those mend the measure, not the model
        before, after = Chart(make), Chart(treated(make, mine[0].remedies[0]))
        assert signs.skill(after) > min(signs.skill(before), signs.GOOD)  # some do well in spite of their fault


@pytest.mark.parametrize("name", SHARED)
def test_the_well_specimen_is_not_accused(name: str) -> None:
    verdict = examine(from_function(RULES[name].well)).verdict
    assert not verdict.findings, [(f.illness, f.evidence) for f in verdict.findings]
