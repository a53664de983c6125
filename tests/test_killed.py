"""A run killed at random instants and resumed ends as if nothing had been: the same bits, each epoch once."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from command_line import DIGITS, digits_run, numbers_run

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from killed import Killer, differences, undisturbed


def test_three_kills_and_the_same_weights(tmp_path):
    straight = digits_run()
    seconds = (straight / "report.html").stat().st_mtime - (straight / "recipe.json").stat().st_mtime
    killer = Killer(tmp_path, [*DIGITS, "--save-every", "0.2"], 0.95 * seconds, random.Random(24))
    runs = 0
    # Three kills, one of them after a checkpoint; where the machine is busy, luck may need more.
    while len(killer.kills) < 3 or not any(kill.saved_step for kill in killer.kills):
        runs += 1
        assert runs <= 12, "no kill came after a checkpoint"
        assert differences(killer.train(f"killed-{runs}", max(1, 3 - len(killer.kills))), straight) == []


@pytest.mark.slow
def test_many_kills_of_longer_runs(tmp_path):
    words = [*DIGITS, "--epochs", "12", "--model-ema", "0.9", "--save-every", "0.2"]
    straight, seconds = undisturbed(tmp_path, words)
    killer = Killer(tmp_path, words, 0.3 * seconds, random.Random(5))
    for number in range(2):
        assert differences(killer.train(f"killed-{number}", 8), straight) == []
    assert len(killer.kills) >= 4


def test_the_comparison_sees_a_difference():
    """What it is to find: another weight, an epoch twice."""
    found = differences(numbers_run(), digits_run())
    assert {"last.safetensors", "best.safetensors", "metrics.csv"} <= set(found)
    assert any(what.startswith("epochs") for what in found)
