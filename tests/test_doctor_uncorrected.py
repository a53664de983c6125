"""An Adam without bias correction is named where it throws a network back, and only there."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seminal.core import Goal
from seminal.doctor import epochs, remedies
from seminal.doctor.hooks import betas_without_correction
from seminal.doctor.loss_curve import thrown_back
from seminal.doctor.program import from_function
from seminal.doctor.uncorrected import too_far
from seminal.doctor.vitals import Vitals
from seminal.doctor.watching import watch
from seminal.pieces.adam import excess
from seminal.train.bert_adam import BertAdam

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 90


def bert_adam(parameters, lr):
    return BertAdam([{"params": list(parameters)}], lr)


def adamw(parameters, lr):
    return torch.optim.AdamW(parameters, lr=lr, eps=1e-6, weight_decay=0.0)


class Stranger(torch.optim.AdamW):
    """As the optimisers of other libraries show themselves: by their name, and by what stands in their groups."""

    def __init__(self, parameters, **said):
        super().__init__(parameters, lr=1e-3)
        for group in self.param_groups:
            group.update(said)


def network(seed: int):
    torch.manual_seed(seed)
    sizes = [8, 32, 32, 32, 32, 32]
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(32, 3))


def looped(optimizer, rate: float, *, seed: int = 0):
    """A classifier that Adam can train at a rate of 0.06."""
    model = network(seed)
    x = torch.randn(STEPS, 64, 8)
    y = x[..., :3].argmax(-1)
    move = optimizer(model.parameters(), rate)
    with watch(model, move, every=3) as patient:
        for step in range(STEPS):
            loss = F.cross_entropy(model(x[step]), y[step])
            patient.loss(loss)
            move.zero_grad()
            loss.backward()
            move.step()
    return patient


@pytest.mark.parametrize("seed", range(2))
def test_a_run_that_only_the_missing_correction_threw_back_is_named(seed):
    verdict = looped(bert_adam, 0.06, seed=seed).verdict()
    assert verdict.name == "optimizer", str(verdict)
    (finding,) = verdict.findings
    assert finding.confidence > 0.8
    assert (
        f"step 12 is up to {excess(12):.1f} times too large, so that a learning rate of 0.06 acts like"
        in finding.evidence[0]
    )
    assert finding.evidence[1].startswith("the loss was thrown back: it rose from 1.11 to")
    assert finding.evidence[2].startswith("the loss does not fall")
    assert [remedy.name for remedy in finding.remedies] == ["bias correction", "epochs × 3", "warm-up 0.1"]
    assert looped(adamw, 0.06, seed=seed).verdict().name == "healthy"


@pytest.mark.parametrize(("rate", "name"), [(3e-3, "healthy"), (5.0, "lr_high")])
def test_a_usual_rate_is_healthy_and_a_rate_that_is_too_high_itself_is_named(rate, name):
    assert looped(bert_adam, rate).verdict().name == name


def test_steps_that_are_too_small_are_not_called_too_large():
    assert "optimizer" not in {finding.illness for finding in looped(bert_adam, 1e-8).verdict().findings}


def test_a_warm_up_that_outlasts_the_excess_is_no_fault():
    steps = [0, *(2**i for i in range(15))]
    for warmup, told in ((10, 1), (100, 1), (3000, 0), (10_000, 0)):
        rates = [min(1.0, (step + 1) / warmup) for step in steps]
        assert len(too_far(Vitals(seen=steps, rate=rates, uncorrected=[0.9, 0.999]))) == told, warmup


def test_the_optimisers_of_others_are_known():
    parameters = network(0).parameters
    assert betas_without_correction(bert_adam(parameters(), 1.0)) == [0.9, 0.999]
    assert betas_without_correction(Stranger(parameters(), correct_bias=False)) == []  # whose name is no Adam's
    named = type("AdamW", (Stranger,), {})
    assert betas_without_correction(named(parameters(), correct_bias=False)) == [0.9, 0.999]
    assert betas_without_correction(named(parameters(), correct_bias=True)) == []
    assert betas_without_correction(type("FusedAdam", (Stranger,), {})(parameters(), bias_correction=False))
    old = type("BertAdam", (Stranger,), {})(parameters(), b1=0.8, b2=0.99)
    for group in old.param_groups:
        del group["betas"]
    assert betas_without_correction(old) == [0.8, 0.99]
    assert betas_without_correction(adamw(parameters(), 1.0)) == []
    assert betas_without_correction(torch.optim.SGD(parameters(), 1.0)) == []


def test_an_optimiser_that_has_stepped_before_is_past_its_first_steps():
    model = network(0)
    move = bert_adam(model.parameters(), 1e-3)
    vitals = Vitals()
    for taken in range(2):
        with watch(model, move, vitals=Vitals.of(json.loads(json.dumps(vitals.note())))) as patient:
            model(torch.ones(2, 8)).sum().backward()
            move.step()
        vitals = patient.vitals
        assert (vitals.steps, vitals.uncorrected) == (taken + 1, [0.9, 0.999])  # it goes on where it was interrupted
    with watch(model, move) as patient:
        assert patient.vitals.uncorrected == []


def test_a_rise_is_told_from_noise():
    calm = [1.0, 1.1] * 30
    assert thrown_back(calm, 1.0) is None
    assert thrown_back([*calm[:5], *[3.0] * 6, *calm], 1.0) == (8, 3.0)
    assert thrown_back([*calm[:5], 9.0, 9.0, *calm], 1.0) is None  # two losses are no level
    assert thrown_back([0.2, 2.2] * 30, 0.2) is None
    assert thrown_back([5.0] * 10, 1.0) is None  # too few


def test_one_answer_for_all_rows_is_seen_in_the_epochs():
    rows = [{"train_loss": loss, "val_loss": 0.63, "val_top1": 0.676} for loss in (0.69, 0.64, 0.64)]
    sick = looped(bert_adam, 3e-3).vitals
    (found,) = epochs.judged(rows, Goal("top1"), sick)
    assert (found.illness, found.confidence) == ("optimizer", 0.55)
    assert found.evidence[-1].startswith("top1 on validation rows is 0.676 after each of the last 3 epochs")
    assert not epochs.judged(rows, Goal("top1"), replace(sick, uncorrected=[]))
    assert not epochs.judged(rows[:2], Goal("top1"), sick)
    assert not epochs.judged([*rows, rows[0] | {"val_top1": 0.7}], Goal("top1"), sick)
    assert not epochs.judged([*rows[:2], rows[2] | {"train_loss": 0.2}], Goal("top1"), sick)  # right on all it can be


def test_the_first_remedy_is_the_same_adam_with_its_correction():
    model = network(0)
    groups = [{"params": model[0].parameters(), "weight_decay": 0.1}, {"params": model[2:].parameters(), "lr": 3e-3}]
    parts = {"model": model, "loss": nn.CrossEntropyLoss(), "optimizer": BertAdam(groups, 1e-3, (0.8, 0.99), 1e-6)}
    data = [(torch.randn(4, 8), torch.tensor([0, 1, 2, 0]))]
    program = from_function(lambda seed: {**parts, "train": data, "val": data, "epochs": 1, "metric": lambda *_: 0.0})(
        0
    )
    treated = remedies.corrected().change(program)
    assert isinstance(treated.optimizer, torch.optim.AdamW)
    for new, old in zip(treated.optimizer.param_groups, program.optimizer.param_groups, strict=True):
        assert all(new[name] == old[name] for name in ("lr", "betas", "eps", "weight_decay"))
    treated.step(*data[0])
