"""Training on text: what is carried from batch to batch, the average over epochs, and a run that is stopped and goes on."""

from __future__ import annotations

import random
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch

from seminal.core import Order
from seminal.train.loop import total_steps, train
from seminal.train.state import State
from texts import language, pretraining, sentences, stream_of_words, translation

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from killed import Killer, differences, undisturbed

pytestmark = pytest.mark.usefixtures("one_thread")


CASES = {"pairs": translation, "stream": stream_of_words, "documents": pretraining}


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_stops_anywhere_ends_with_the_same_bits(case, tmp_path):
    source, recipe, model = CASES[case](tmp_path)
    steps = total_steps(source, recipe)
    assert steps >= 12
    whole = State.fresh(model, recipe)
    losses = [step.loss["model"] for step in train(model, source, recipe, whole)]
    for stop in (1, steps // 2, steps - 1):
        first = CASES[case](tmp_path)[2]
        state = State.fresh(first, recipe)
        for _ in islice(train(first, source, recipe, state), stop):
            pass
        kept = {name: value.clone() for name, value in state.tensors().items()}, dict(state.counters())
        second = CASES[case](tmp_path)[2]
        again = State.fresh(second, recipe)
        again.restore(*kept)
        rest = [step.loss["model"] for step in train(second, source, recipe, again)]
        assert rest == losses[stop:]
        mine, other = again.tensors(), whole.tensors()
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_a_carried_state_matters_and_is_dropped_at_the_beginning_of_an_epoch(tmp_path):
    source, recipe, model = stream_of_words(tmp_path)
    state = State.fresh(model, recipe)
    seen = []
    for step in train(model, source, recipe, state):
        seen.append((step.position, state.carry["state"].clone()))
    assert all(bool(carried.any()) for _, carried in seen)
    batch = next(source.batches(Order("train", 4, shuffle=True)))
    with torch.no_grad():
        alone = next(recipe.task.turns(model, batch)).loss
        after = next(recipe.task.turns(model, batch | {"state": seen[-1][1]})).loss
    assert float(alone) != float(after)


def test_the_average_is_the_mean_of_the_last_epochs(tmp_path):
    source, recipe, model = translation(tmp_path)
    state = State.fresh(model, recipe)
    ends = []
    for step in train(model, source, recipe, state):
        if step.ends_epoch:
            ends.append({name: t.detach().clone() for name, t in model.state_dict().items()})
    assert len(ends) == 4
    assert state.averaged == 2
    for name, mean in state.best_weights().items():
        assert torch.allclose(mean, (ends[2][name] + ends[3][name]) / 2, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["transformer", "zaremba-small"])
def test_killed_for_real_and_resumed(model, tmp_path):
    data = sentences(tmp_path / "data") if model == "transformer" else language(tmp_path / "data")
    words = ["train", model, str(data), "--epochs", "30", "--save-every", "0.2", "--precision", "fp32"]
    words += ["--source", "en", "--target", "de", "--vocab-size", "60"] if model == "transformer" else []
    straight, seconds = undisturbed(tmp_path, words)
    killer = Killer(tmp_path, words, 0.5 * seconds, random.Random(3))
    assert differences(killer.train("killed", 4), straight) == []
    assert killer.kills
