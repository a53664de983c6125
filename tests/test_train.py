"""The loop, on three unlike problems: it learns, its steps are exact, and it can stop and go on anywhere."""

from __future__ import annotations

import copy
import math
import random
from dataclasses import dataclass, replace
from itertools import islice

import pytest
import torch
from torch import nn

from problems import (
    CLASSES,
    Adversarial,
    Game,
    LanguageModel,
    NextToken,
    Noise,
    Sentences,
    mlp,
    points_around,
    recipe,
    three_clouds,
)
from seminal.core import Optim, Order, Precision, Source, Step, Transfer
from seminal.tasks.classification import Classification
from seminal.train.evaluate import scored
from seminal.train.loop import _micro_batches, train
from seminal.train.nonfinite import NonFiniteError, explain
from seminal.train.precision import Trial, chosen, measured
from seminal.train.schedules import Cosine, Plateau, Warmup
from seminal.train.state import State
from seminal.train.transfer import keep_still, prepared


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def run(model: nn.Module, source: Source, rec, state: State | None = None, stop: int | None = None) -> list[Step]:
    steps = []
    for step in train(model, source, rec, state):
        steps.append(step)
        if step.number == stop:
            break
    return steps


# ------------------------------------------------------------------------------------------------- three problems


def test_a_classifier_learns():
    model, source = mlp(), three_clouds()
    run(model, source, recipe(CLASSES, epochs=10))
    top1 = CLASSES.summary(scored(model, source, recipe(CLASSES), Order("val", 32)))["top1"]
    assert top1 > 0.95


def test_two_players_move_in_turn():
    model, source = Game(), points_around(3.0)
    task = Adversarial()
    rec = recipe(task, epochs=60, batch=64, lr=0.01, optim=Optim("adam"))
    before = task.summary(scored(model, source, rec, Order("val", 64)))["distance"]
    steps = run(model, source, rec)
    assert set(steps[0].loss) == {"critic", "generator"}
    assert all(a != b for a, b in zip(task.seen[::2], task.seen[1::2])), "the generator must see the moved critic"
    after = task.summary(scored(model, source, rec, Order("val", 64)))["distance"]
    assert after < 0.3 * before


def test_sentences_in_batches_of_tokens():
    source = Sentences([3, 9, 4, 12, 5, 7, 2, 11, 6, 8] * 8)
    sizes = [batch["input"].numel() for batch in source.batches(Order("train", 48, shuffle=True))]
    assert max(sizes) <= 48
    torch.manual_seed(0)
    model, task = NextToken(), LanguageModel()
    rec = recipe(task, epochs=8, batch=48, lr=0.02, optim=Optim("adam"), schedule=Warmup(Cosine(), 0.1), clip=1.0)
    steps = run(model, source, rec)
    assert len(steps) == sum(source.steps(Order("train", 48, epoch=e, shuffle=True)) for e in range(8))
    assert task.summary(scored(model, source, rec, Order("val", 48)))["perplexity"] < 1.2


# ---------------------------------------------------------------------------------------------------- exact steps


@pytest.mark.parametrize("optim", [Optim("sgd", momentum=0.9, nesterov=True, weight_decay=0.01), Optim("adamw")])
def test_a_step_equals_the_textbook_loop(optim):
    # A bias before batch normalisation has a gradient of pure rounding noise, which Adam would blow up to full steps.
    source, norm = three_clouds(), optim.name == "sgd"
    ours, theirs = mlp(norm=norm, dropout=0.0), mlp(norm=norm, dropout=0.0)
    run(ours, source, recipe(CLASSES, optim=optim, epochs=2))
    if optim.name == "sgd":
        optimiser = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    else:
        optimiser = torch.optim.AdamW(theirs.parameters(), 0.1, weight_decay=0.0)
    for epoch in range(2):
        for batch in source.batches(Order("train", 16, epoch=epoch, shuffle=True)):
            optimiser.zero_grad()
            nn.functional.cross_entropy(theirs(batch["input"]), batch["target"]).backward()
            optimiser.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_accumulation_changes_nothing(parts):
    source = three_clouds()
    whole, split = mlp(norm=False, dropout=0.0), mlp(norm=False, dropout=0.0)
    a = run(whole, source, recipe(CLASSES, clip=0.5))
    b = run(split, source, recipe(CLASSES, clip=0.5, accumulate=parts))
    for x, y in zip(a, b, strict=True):
        assert x.loss["model"] == pytest.approx(y.loss["model"], abs=1e-5)
        assert x.grad_norm["model"] == pytest.approx(y.grad_norm["model"], rel=1e-4)


def test_clipping_bounds_the_step():
    source = three_clouds()
    model = mlp()
    before = copy.deepcopy(model)
    step = run(model, source, recipe(CLASSES, clip=1e-3, lr=1.0, optim=Optim("sgd")), stop=1)[0]
    moved = sum((a - b).square().sum() for a, b in zip(model.parameters(), before.parameters())).sqrt()
    assert step.grad_norm["model"] > 1e-3
    assert moved.item() == pytest.approx(1e-3, rel=1e-3)


def test_decay_spares_biases_and_norms_where_the_recipe_says_so():
    source = three_clouds()
    for decay_all in (True, False):
        model = mlp()
        optim = Optim("sgd", weight_decay=0.5, decay_all=decay_all)
        spared = {n for n, p in model.named_parameters() if p.dim() == 1}
        state = State.fresh(model, recipe(CLASSES, optim=optim))
        groups = state.optimisers["model"].param_groups
        decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
        names = {n for n, p in model.named_parameters() if id(p) in decayed}
        assert (spared <= names) == decay_all
        run(model, source, recipe(CLASSES, optim=optim, epochs=1), state)


def test_the_moving_average_is_the_closed_form():
    source = three_clouds()
    model = mlp()
    rec = recipe(CLASSES, ema=0.9, epochs=2)
    state = State.fresh(model, rec)
    expected = {name: t.clone().double() for name, t in model.state_dict().items()}
    for i, _ in enumerate(train(model, source, rec, state)):
        decay = min(0.9, (1 + i) / (10 + i))
        for name, value in model.state_dict().items():
            expected[name] = (
                decay * expected[name] + (1 - decay) * value if value.is_floating_point() else value.double()
            )
    for name, value in state.ema.items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-4, atol=1e-5)


# -------------------------------------------------------------------------------------------------- stop and go on


@pytest.mark.parametrize("stop", [1, 5, 11, 12, 13, 30])
def test_resuming_is_bit_identical(stop):
    source = three_clouds()
    rec = recipe(
        CLASSES, augment=(Noise(),), ema=0.9, epochs=4, schedule=Warmup(Plateau(patience=1)), optim=Optim("adamw")
    )

    def epochs_end(step: Step, state: State) -> None:
        if step.ends_epoch:
            state.scores.append(step.loss["model"])

    straight = mlp()
    state = State.fresh(straight, rec)
    for step in train(straight, source, rec, state):
        epochs_end(step, state)

    interrupted = mlp()
    state = State.fresh(interrupted, rec)
    for step in train(interrupted, source, rec, state):
        epochs_end(step, state)
        if step.number == stop:
            break
    saved = {name: t.clone() for name, t in state.tensors().items()}
    counters = copy.deepcopy(state.counters())
    torch.rand(7)  # the caller's own use of chance must not matter
    resumed = mlp(seed=99)
    again = State.fresh(resumed, rec)
    again.restore(saved, counters)
    for step in train(resumed, source, rec, again):
        epochs_end(step, again)
    assert same(straight, resumed)


def test_two_players_resume_too():
    source, rec = points_around(), recipe(Adversarial(), epochs=2, batch=64, lr=0.01, optim=Optim("adam"))
    torch.manual_seed(3)
    straight = Game()
    interrupted = copy.deepcopy(straight)
    run(straight, source, rec)
    state = State.fresh(interrupted, rec)
    run(interrupted, source, rec, state, stop=5)
    resumed = Game()
    again = State.fresh(resumed, rec)
    again.restore(state.tensors(), state.counters())
    run(resumed, source, rec, again)
    assert same(straight, resumed)


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = mlp(seed=0)
    torch.manual_seed(5)
    run(model, three_clouds(), recipe(CLASSES, epochs=1))
    assert torch.equal(torch.rand(3), expected)


# ----------------------------------------------------------------------------------------------------- not finite


def test_a_nan_in_the_data_stops_before_the_step_and_names_the_row():
    source = three_clouds()
    source.splits["train"]["input"][17, 2] = float("nan")
    model = mlp()
    state = State.fresh(model, recipe(CLASSES))
    with pytest.raises(NonFiniteError) as caught:
        run(model, source, recipe(CLASSES), state)
    assert caught.value.rows == [17]
    assert "`input`" in caught.value.cause
    assert all(t.isfinite().all() for t in model.state_dict().values()), "running statistics included"
    assert state.step == caught.value.step - 1


def test_an_overflowing_layer_is_named():
    class Overflow(nn.Module):
        def forward(self, x):
            return x / (x - x)

    model = nn.Sequential(nn.Linear(4, 8), Overflow(), nn.Linear(8, 3))
    with pytest.raises(NonFiniteError, match=r"`1` \(Overflow\)"):
        run(model, three_clouds(), recipe(CLASSES))


def test_a_non_finite_gradient_of_a_finite_loss_is_named():
    class Root(nn.Module):
        def forward(self, x):
            return torch.sqrt(x * 0)

    model = nn.Sequential(nn.Linear(4, 8), Root(), nn.Linear(8, 3))
    before = copy.deepcopy(model)
    with pytest.raises(NonFiniteError, match="gradient of `0"):
        run(model, three_clouds(), recipe(CLASSES))
    assert same(model, before)


class Bottomless(Classification):
    """A loss without a lower bound, as that of a density or of a saturating game, at its end."""

    def turns(self, model, batch):
        for turn in super().turns(model, batch):
            yield replace(turn, loss=turn.loss - math.inf)


def test_a_loss_of_minus_infinity_stops_before_the_step():
    model = mlp()
    before = copy.deepcopy(model)
    with pytest.raises(NonFiniteError, match="loss is -inf"):
        run(model, three_clouds(), replace(recipe(CLASSES), task=Bottomless()))
    assert same(model, before)


# ------------------------------------------------------------------------------------------------------- precision


def test_measuring_precision_leaves_the_model_alone():
    model, source = mlp(), three_clouds()
    before = copy.deepcopy(model)
    batch = next(source.batches(Order("train", 16)))
    trials = measured(model, recipe(CLASSES), batch, seconds=0.05)
    assert same(model, before)
    assert all(p.grad is None for p in model.parameters())
    assert trials[0].precision == Precision()
    assert not any(t.precision.channels_last for t in trials), "there are no pictures here"


def test_what_disagrees_or_is_hardly_faster_is_not_chosen():
    plain = Trial(Precision(), 100.0, True)
    assert chosen([plain, Trial(Precision("bf16"), 300.0, False)]) == Precision()
    assert chosen([plain, Trial(Precision("bf16"), 101.0, True)]) == Precision()
    assert chosen([plain, Trial(Precision("bf16"), 200.0, True)]) == Precision("bf16")


def test_bf16_learns_as_fp32_does():
    source = three_clouds()
    rec = recipe(CLASSES, epochs=10, precision=Precision("bf16"))
    model = mlp()
    run(model, source, rec)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert CLASSES.summary(scored(model, source, rec, Order("val", 32)))["top1"] > 0.95


def test_scores_do_not_depend_on_the_batch_size():
    model, source = mlp(), three_clouds()
    found = [CLASSES.summary(scored(model, source, recipe(CLASSES), Order("val", size))) for size in (1, 7, 60)]
    for metric in found[0]:
        assert (
            found[0][metric] == pytest.approx(found[1][metric], abs=1e-6) == pytest.approx(found[2][metric], abs=1e-6)
        )


# --------------------------------------------------------------------------------------------- what fresh eyes have found


def test_a_batch_from_which_nothing_can_be_learned_makes_no_step():
    @dataclass(frozen=True)
    class Silent(Classification):
        def turns(self, model, batch):
            for turn in super().turns(model, batch):
                yield replace(turn, loss=0 * turn.loss, weight=0 * turn.weight)

    source, model = three_clouds(), mlp()
    before = {name: value.clone() for name, value in model.named_parameters()}
    steps = list(islice(train(model, source, recipe(Silent())), 2))
    assert [step.loss for step in steps] == [{"model": 0.0}] * 2
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_micro_batches_are_exactly_as_many_as_were_asked_for():
    batch = {"index": torch.arange(22), "input": torch.randn(22, 3)}
    parts = _micro_batches(batch, 8)
    assert [len(part["index"]) for part in parts] == [3, 3, 3, 3, 3, 3, 2, 2]
    assert torch.equal(torch.cat([part["input"] for part in parts]), batch["input"])


def test_a_fused_step_counts_where_it_computes():
    """A restored optimiser is that of torch: here the device is one without numbers."""
    with torch.device("meta"):
        model = nn.Linear(3, 2)
    moves = torch.optim.Adam(model.parameters(), lr=0.1)
    moves.param_groups[0]["fused"] = True
    state = State(model, {"model": moves})
    names = {f"model/{name}": torch.zeros(value.shape) for name, value in model.state_dict().items()}
    for name, value in model.named_parameters():
        slots = {"step": torch.tensor(3.0), "exp_avg": torch.ones(value.shape), "exp_avg_sq": torch.ones(value.shape)}
        names |= {f"optimiser/model/{name}/{slot}": tensor for slot, tensor in slots.items()}
    counters = {"step": 3, "epoch": 0, "position": 3, "scores": [], "averaged": 0}
    state.restore(names, counters)
    assert {value.device.type for slots in moves.state.values() for value in slots.values()} == {"meta"}
    moves.param_groups[0]["fused"] = False
    state.restore(names, counters)
    assert {slots["step"].device.type for slots in moves.state.values()} == {"cpu"}
    assert {slots["exp_avg"].device.type for slots in moves.state.values()} == {"meta"}


@pytest.mark.parametrize("transfer", [Transfer("", freeze=True), Transfer("", body_rate=0.0)])
def test_a_frozen_body_drops_nothing_and_a_learning_head_does(transfer):
    head = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), head)
    transfer = replace(transfer, head=("3.0.weight", "3.0.bias", "3.2.weight", "3.2.bias"))
    rates = prepared(model, transfer)
    assert [p.requires_grad for p in model.parameters()] == [False] * 4 + [True] * 4
    model.train()
    keep_still(model, transfer)
    assert [module.training for module in model] == [False, False, False, True]
    assert head[1].training
    assert {rates[p] for p in head.parameters()} == {1.0}


def test_who_keeps_still_is_what_a_look_at_every_module_says():
    """In trees of modules made at random, some of which stand in two places."""
    made = random.Random(0)
    frozen = Transfer("", freeze=True)
    for _ in range(50):
        modules = [nn.Dropout() if made.random() < 0.3 else nn.Linear(1, 1) for _ in range(12)]
        for module in modules:
            module.requires_grad_(made.random() < 0.5)
        while len(modules) > 1:
            some = made.sample(modules, min(len(modules), made.randint(1, 4)))
            again = set(made.sample(some, made.random() < 0.2))
            modules = [module for module in modules if module not in some or module in again]
            modules.append(nn.Sequential(*some))
            if made.random() < 0.3:
                modules[-1].register_parameter("own", nn.Parameter(torch.ones(1), made.random() < 0.5))
        model = modules[0]
        learns = {module: [p.requires_grad for p in module.parameters()] for module in model.modules()}
        wanted = dict.fromkeys(learns, True)
        for mode, parts in (
            (False, [m for m in learns if not any(learns[m])]),
            (True, [m for m in learns if learns[m]]),
        ):
            for part in parts:
                if not mode or all(learns[part]):
                    wanted |= dict.fromkeys(part.modules(), mode)
        model.train()
        keep_still(model, frozen)
        assert {module: module.training for module in learns} == wanted


def test_a_step_looks_at_each_frozen_parameter_once(monkeypatch):
    model = nn.Linear(1, 1)
    for _ in range(8):
        model = nn.Sequential(model, nn.Linear(1, 1))
    model.requires_grad_(False)
    of, seen = nn.Module.named_parameters, []

    def counted(self, *args, **kwargs):
        for name, parameter in of(self, *args, **kwargs):
            seen.append(name)
            yield name, parameter

    monkeypatch.setattr(nn.Module, "named_parameters", counted)
    keep_still(model, Transfer("", freeze=True))
    assert len(seen) == 18
    assert not any(module.training for module in model.modules())


def test_the_first_bad_layer_is_found_where_layers_give_several_things():
    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 3)

        def forward(self, x):
            return self.head(self.lstm(x[:, None])[0][:, 0])

    model = Read()
    batch = next(three_clouds().batches(Order("train", 8)))
    model.lstm.register_forward_hook(lambda _, __, out: (out[0] * math.nan, out[1]))
    cause, _ = explain(model, Classification(), batch)
    assert "`lstm` (LSTM)" in cause
