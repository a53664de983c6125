"""`doctor.watch`: every vital against a naive computation, nothing changed, nothing left behind; and faults found in a plain
loop, in Hugging Face's Trainer and in Lightning."""

from __future__ import annotations

import contextlib
import copy
import io
import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seminal import doctor
from seminal.core import UserError
from seminal.doctor.hooks import moody
from seminal.doctor.loss_curve import curve
from seminal.doctor.watching import NotFinite, watch

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 12


class Conv(nn.Module):
    """A convolution, normalisation, dropout and activations that are called as functions."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Dropout(0.3)
        self.head = nn.Linear(6 * 36, 3)

    def forward(self, x):
        x = self.drop(F.relu(self.norm(self.conv(x)))).flatten(1)
        return self.head(torch.tanh(x))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(64, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        states, _ = self.rnn(x.flatten(1)[:, None].expand(-1, 4, -1))
        return self.head(states[:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layer(x[:, 0]).mean(1))


class Shared(nn.Module):
    """The same matrix twice."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(64, 64), nn.Linear(64, 3)
        self.second = nn.Linear(64, 64, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.head(torch.sigmoid(self.second(F.relu(self.first(x.flatten(1))))))


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16), nn.Sigmoid(), nn.Linear(16, 3))


MODELS = {"mlp": mlp, "conv": Conv, "lstm": Recurrent, "attention": Attention, "shared": Shared}


def rows(steps=STEPS):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(steps, 8, 1, 8, 8, generator=generator), torch.randint(0, 3, (steps, 8), generator=generator)


def trained(build, *, watched=True, each=None, clip=None, stop_on_nonfinite=True, every=1, optimizer=torch.optim.Adam):
    """A plain loop with a validation after every fourth step. ``each`` is called after backward."""
    torch.manual_seed(0)
    model = build().train()
    move = optimizer(model.parameters(), lr=1e-2)
    x, y = rows()
    keep = watch(model, move, every=every, stop_on_nonfinite=stop_on_nonfinite) if watched else contextlib.nullcontext()
    with keep as patient:
        for step in range(STEPS):
            loss = F.cross_entropy(model(x[step]), y[step])
            if patient:
                patient.loss(loss)
            move.zero_grad()
            loss.backward()
            if each:
                each(model, step)
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            move.step()
            if step % 4 == 3:
                model.eval()
                with torch.no_grad():
                    model(x[0])
                model.train()
    return model, patient


def hooks_of(model):
    return [
        hook
        for module in model.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ] + [hook for p in model.parameters() for hook in (p._backward_hooks or {}).values()]


# ------------------------------------------------------------------------------------------------- nothing is changed


@pytest.mark.parametrize("every", ["auto", 1, 5, None])
@pytest.mark.parametrize("name", MODELS)
def test_training_is_the_same_to_the_bit_and_no_hook_stays(name, every):
    alone, _ = trained(MODELS[name], watched=False)
    model, _ = trained(MODELS[name], every=every)
    for (key, a), b in zip(alone.state_dict().items(), model.state_dict().values()):
        assert torch.equal(a, b), key
    assert hooks_of(model) == []


def test_after_an_exception_no_hook_stays():
    model = Conv()
    move = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RuntimeError), watch(model, move, every=1):
        model(torch.zeros(2, 5, 8, 8))  # five channels: the convolution refuses, in mid-forward
    assert hooks_of(model) == []
    assert move._optimizer_step_pre_hooks == {}
    assert move._optimizer_step_post_hooks == {}
    assert torch.overrides._get_current_function_mode() is None


def test_a_watched_model_can_be_copied_and_saved():
    model = mlp()
    move = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = rows()
    with watch(model, move, every=1) as patient:
        twin = copy.deepcopy(model)
        torch.save(model, io.BytesIO())
        for module in (twin, model):
            F.cross_entropy(module(x[0]), y[0]).backward()
        move.step()
    assert patient.vitals.steps == 1
    assert list(patient.vitals.layers) == ["0", "1", "2", "3", "4", "5"]  # the copy is nobody's patient


def test_a_compiled_model_is_refused_with_the_way_out():
    compiled = torch.compile(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(UserError, match="_orig_mod"), watch(compiled, torch.optim.SGD(compiled.parameters(), lr=0.1)):
        pass
    inside = nn.Sequential(nn.Linear(2, 2))
    inside[0].compile()
    with pytest.raises(UserError, match="`0`"), watch(inside, torch.optim.SGD(inside.parameters(), lr=0.1)):
        pass


def test_parameters_without_a_size_are_refused():
    model = nn.LazyLinear(3)
    with pytest.raises(UserError, match="one batch"), watch(model, torch.optim.SGD([torch.zeros(1)], lr=0.1)):
        pass


# --------------------------------------------------------------------------------------- vitals, beside a naive computation


@pytest.mark.parametrize("name", MODELS)
def test_weights_beside_a_naive_computation(name):
    seen = {}

    def note(model, step):
        if step == STEPS - 1:
            for key, p in model.named_parameters():
                seen[key] = (p.detach().clone(), p.grad.clone())

    model, patient = trained(MODELS[name], each=note)
    vitals = patient.vitals
    assert list(vitals.weights) == [key for key, _ in model.named_parameters()]
    for key, after in model.named_parameters():
        before, gradient = seen[key]
        weight = vitals.weights[key]
        naive = (
            math.sqrt(sum(float(v) ** 2 for v in before.flatten())),
            math.sqrt(sum(float(v) ** 2 for v in gradient.flatten())),
            sum(float(v) == 0 for v in gradient.flatten()) / gradient.numel(),
            float((after.detach() - before).norm() / before.norm()),
        )
        lists = (weight.size, weight.gradient, weight.zeros, weight.change)
        assert [values[-1] for values in lists] == pytest.approx(naive, rel=1e-4, abs=1e-7), key
        assert all(len(values) == STEPS == len(vitals.at) for values in lists)
        assert (weight.shape, weight.owned, weight.learns, weight.moved) == (tuple(after.shape), True, True, True)
    total = math.sqrt(sum(float(g.norm()) ** 2 for _, g in seen.values()))
    assert vitals.gradient[-1] == pytest.approx(total, rel=1e-4)
    assert vitals.taken[-1] == pytest.approx(total, rel=1e-4)


def naive_layer(value):
    """Numbers of a (rows, units) output, one at a time."""
    units = [[float(row[unit]) for row in value] for unit in range(value.shape[1])]
    flat = [v for unit in units for v in unit]

    def spread(values):
        mean = sum(values) / len(values)
        return math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))

    return (
        spread(flat),
        sum(map(spread, units)) / len(units),
        max(map(abs, flat)),
        sum(all(v == 0 for v in unit) for unit in units) / len(units),
    )


def test_layers_beside_a_naive_computation():
    torch.manual_seed(0)
    model = mlp()
    nn.init.constant_(model[1].bias[:4], -50.0)  # four units that never fire
    nn.init.constant_(model[3].bias[:8], 9.0)  # eight that lie on the upper end
    x, y = rows()
    x = 1000 + x  # a mean that is large beside the spread must not drown it
    model[1].weight.data -= model[1].weight.data.mean(1, keepdim=True)
    outputs, value = {}, x[0]
    for name, module in model.named_children():
        value = outputs[name] = module(value)
    move = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, move, every=1) as patient:
        F.cross_entropy(model(x[0]), y[0]).backward()
        move.step()
    layers = patient.vitals.layers
    assert list(layers) == list(outputs)
    for name, value in outputs.items():
        layer = layers[name]
        assert layer.kind == type(model[int(name)]).__name__
        got = (layer.spread[0], layer.rows[0], layer.size[0], layer.silent[0])
        assert got == pytest.approx(naive_layer(value.detach()), rel=1e-3, abs=1e-6), name
    assert 4 / 16 <= layers["2"].silent[0] < 0.5
    flat = [v < 0.01 or v > 0.99 for v in outputs["4"].flatten().tolist()]
    assert layers["4"].flat[0] == pytest.approx(sum(flat) / len(flat))
    assert sum(flat) >= 8 * 8
    assert math.isnan(layers["2"].flat[0])
    low, high = outputs["5"].detach().aminmax()
    assert (patient.vitals.low, patient.vitals.high) == ([float(low)], [float(high)])
    assert patient.vitals.output.kind == "Sequential"


def test_units_of_a_convolution_are_its_channels_and_functions_are_seen():
    torch.manual_seed(0)
    model = Conv()
    nn.init.constant_(model.norm.bias[:3], -30.0)
    x, y = rows()
    move = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, move, every=1) as patient:
        F.cross_entropy(model(x[0]), y[0]).backward()
        move.step()
    layers = patient.vitals.layers
    assert list(layers) == ["conv", "norm", "relu", "drop", "tanh", "head"]
    assert layers["relu"].silent == [0.5]
    assert layers["tanh"].flat[0] >= 0


def test_tuples_attention_and_shared_weights():
    _, recurrent = trained(Recurrent)
    assert list(recurrent.vitals.layers) == ["rnn", "head"]
    _, attention = trained(Attention)
    assert {"layer.self_attn", "layer.linear1", "layer.relu", "head"} <= set(attention.vitals.layers)
    _, shared = trained(Shared)
    assert list(shared.vitals.layers) == ["first", "relu", "second", "sigmoid", "head"]
    assert "second.weight" not in shared.vitals.weights  # it is the first's


def test_a_layer_that_is_not_called_in_every_step_has_nan_there():
    model = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    move = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, move, every=1) as patient:
        for step in range(4):
            model[step % 2](torch.ones(3, 4)).sum().backward()
            move.step()
            move.zero_grad()
    first, second = (patient.vitals.layers[name].spread for name in ("0", "1"))
    assert [math.isnan(v) for v in first] == [False, True, False, True]
    assert [math.isnan(v) for v in second] == [True, False, True, False]
    assert [math.isnan(v) for v in patient.vitals.weights["1.weight"].gradient] == [True, False, True, False]


# --------------------------------------------------------------------------------------------- steps of every sort


def test_clipping_is_seen():
    norms = []
    _, patient = trained(
        mlp, clip=0.1, each=lambda model, _: norms.append(nn.utils.get_total_norm([p.grad for p in model.parameters()]))
    )
    vitals = patient.vitals
    assert vitals.gradient == pytest.approx([float(norm) for norm in norms], rel=1e-5)
    assert vitals.taken == pytest.approx([0.1] * STEPS, rel=1e-3)
    assert vitals.clipped() == pytest.approx([0.1 / float(norm) for norm in norms], rel=1e-3)


def accumulated(zero, to_none=True):
    model = mlp()
    move = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = rows()
    with watch(model, move, every=1) as patient:
        for step in range(STEPS):
            loss = F.cross_entropy(model(x[step]), y[step])
            if zero == "between":  # after the forward pass
                move.zero_grad(set_to_none=to_none)
            loss.backward()
            if step % 3 == 2 or zero != "after three":
                move.step()
                if zero == "after three":
                    move.zero_grad(set_to_none=to_none)
    return patient.vitals


@pytest.mark.parametrize("to_none", [True, False])
def test_only_gradients_that_were_used_before_are_left_over(to_none):
    assert accumulated("never").leftover == [False] + [True] * (STEPS - 1)
    assert not any(accumulated("between", to_none).leftover)
    three = accumulated("after three", to_none)
    assert not any(three.leftover)
    assert three.steps == STEPS // 3


def test_two_players_with_two_optimisers_make_one_step_together():
    model = nn.ModuleDict({"maker": nn.Linear(2, 2), "critic": nn.Linear(2, 1)})
    moves = [torch.optim.SGD(model[name].parameters(), lr=0.1) for name in ("critic", "maker")]
    with watch(model, moves, every=1) as patient:
        for _ in range(4):
            for _ in range(2):  # two steps of the critic for each of the maker
                moves[0].zero_grad()
                made = model["maker"](torch.randn(5, 2)).detach()
                (model["critic"](made).mean() - model["critic"](torch.randn(5, 2)).mean()).backward()
                moves[0].step()
            moves[1].zero_grad()
            (-model["critic"](model["maker"](torch.randn(5, 2)))).mean().backward()  # leaves gradients in the critic
            moves[1].step()
    vitals = patient.vitals
    assert vitals.steps == 4
    assert not any(vitals.leftover)
    assert list(vitals.layers) == ["maker", "critic"]
    assert all(weight.owned for weight in vitals.weights.values())
    still = {name for name, weight in vitals.weights.items() if not weight.moved}
    assert still == {"critic.bias"}  # it drops out of the difference of the two means
    assert vitals.output.kind == "Linear"


def test_an_optimiser_that_asks_for_a_closure():
    torch.manual_seed(0)
    model, (x, y) = mlp(), rows()
    move = torch.optim.LBFGS(model.parameters(), max_iter=3)
    gradients = []

    def closure():
        move.zero_grad()
        loss = F.cross_entropy(model(x[0]), y[0])
        loss.backward()
        gradients.append(float(nn.utils.get_total_norm([p.grad for p in model.parameters()])))
        return loss

    with watch(model, move, every=1) as patient:
        move.step(closure)
    assert len(gradients) == 3
    assert patient.vitals.gradient == pytest.approx(gradients[:1], rel=1e-5)
    assert all(weight.moved for weight in patient.vitals.weights.values())


def test_modes_are_seen():
    _, patient = trained(Conv, every=None)
    vitals = patient.vitals
    assert vitals.moody == ("norm", "drop")
    assert vitals.training == [True] * STEPS
    assert (vitals.validating, vitals.validated) == ([True] * 3, [4, 8, 12])

    model = Conv().eval()
    move = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, move, every=None) as patient:
        model(rows()[0][0]).sum().backward()
        move.step()
        with torch.no_grad():
            model.train()(rows()[0][0])
    assert patient.vitals.training == [False]
    assert patient.vitals.validating == [False]


def test_modules_that_behave_otherwise_in_evaluation_are_known_by_their_code():
    class Own(nn.Module):
        def forward(self, x):
            return self.noisy(x)

        def noisy(self, x):
            return F.dropout(x, 0.5, training=self.training)

    model = nn.ModuleDict(
        {
            "own": Own(),
            "none": nn.Dropout(0.0),
            "norm": nn.BatchNorm1d(3),
            "plain": nn.BatchNorm1d(3, track_running_stats=False),
            "layer": nn.LayerNorm(3),
            "lstm": nn.LSTM(3, 3),
            "deep": nn.LSTM(3, 3, num_layers=2, dropout=0.2),
            "attention": nn.MultiheadAttention(4, 2),
        }
    )
    assert list(moody(model)) == ["own", "norm", "deep"]


def test_parameters_that_stay_behind():
    model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 3))
    model[0].requires_grad_(False)
    move = torch.optim.SGD(model[3].parameters(), lr=0.1)
    x, y = rows()
    with watch(model, move, every=1) as patient:
        for step in range(3):
            move.zero_grad()
            F.cross_entropy(model(x[step].flatten(1)), y[step]).backward()
            move.step()
    weights = patient.vitals.weights
    told = {name: (w.learns, w.owned, w.moved, w.gradient[-1] > 0) for name, w in weights.items() if "weight" in name}
    assert told == {
        "0.weight": (False, False, False, False),
        "2.weight": (True, False, False, True),
        "3.weight": (True, True, True, True),
    }


# -------------------------------------------------------------------------------------------------- looks and their cost


def test_looks_are_dense_at_first_and_then_as_the_budget_allows():
    from seminal.doctor.looks import Looks

    looks, at, spent = Looks("auto", budget=0.01), [], 0.0
    for step in range(20_000):
        if looks.due(step):
            at.append(step)
            spent += 0.002  # a look costs two milliseconds, a step one
            looks.looked(step, cost=0.002, spent=spent, seconds=0.001 * (step + 1) + spent)
    assert at[:5] == [0, 1, 4, 16, 64]
    assert 0.002 * len(at) < 0.01 * 20
    later = [b - a for a, b in pairwise(at) if a > 1000]
    assert len(set(later)) == 1  # at an even pace
    assert later[0] == 400  # 0.002 s in 0.5 % of 0.4 s


def test_a_budget_of_nothing_and_one_of_everything():
    from seminal.doctor.looks import Looks

    rich, poor = Looks("auto", budget=100.0), Looks("auto", budget=1e-9)
    seen = {"rich": 0, "poor": 0}
    for step in range(1000):
        for name, looks in (("rich", rich), ("poor", poor)):
            if looks.due(step):
                seen[name] += 1
                looks.looked(step, cost=0.001, spent=0.001 * seen[name], seconds=0.001 * (step + 1 + seen[name]))
    assert seen["poor"] == 6  # 0, 1, 4, 16, 64, 256
    assert 200 < seen["rich"] < 300  # every step up to 128, and then 64 while the number of steps doubles


def test_in_between_looks_nothing_but_the_loss_is_written():
    _, patient = trained(mlp, every="auto")
    vitals = patient.vitals
    assert vitals.steps == len(vitals.loss) == STEPS
    assert vitals.seen == vitals.at
    assert vitals.at[:2] == [0, 1]
    assert len(vitals.gradient) == len(vitals.rate) == len(vitals.leftover) == len(vitals.training) == len(vitals.at)
    assert 0 < vitals.cost < vitals.seconds
    _, patient = trained(mlp, every=None)
    assert patient.vitals.seen == list(range(STEPS))
    assert patient.vitals.at == []
    assert patient.vitals.rate == [1e-2] * STEPS


# ----------------------------------------------------------------------------------------------------- what is not finite


def until_broken(x, *, tell):
    """A loop that is stopped; the patient, the error, and the weights before and after the step that was not made."""
    torch.manual_seed(0)
    model, (_, y) = mlp(), rows()
    move = torch.optim.SGD(model.parameters(), lr=0.1)
    try:
        # Without the loss, gradients have to be checked in every step, whatever that costs.
        with watch(model, move, budget=0.01 if tell else 100.0) as patient:
            for step in range(STEPS):
                before = [p.detach().clone() for p in model.parameters()]
                loss = F.cross_entropy(model(x[step]), y[step])
                if tell:
                    patient.loss(loss)
                move.zero_grad()
                loss.backward()
                move.step()
    except NotFinite as error:
        assert hooks_of(model) == []
        assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
        return patient, error
    raise AssertionError("nothing was stopped")


@pytest.mark.parametrize("tell", [True, False])  # a loss that is not told: the gradient betrays it
def test_a_row_that_is_not_finite_is_named_before_the_weights_are_moved(tell):
    x, _ = rows()
    x[2, 5, 0, 2, 2] = float("nan")
    _, error = until_broken(x, tell=tell)
    assert (error.step, error.rows) == (2, (5,))
    assert str(error).startswith("step 2: the input holds NaN or infinity in row 5 of the batch. No weight")


class Root(nn.Module):
    """A square root of a number that may be below 0."""

    def __init__(self):
        super().__init__()
        self.lift, self.root, self.head = nn.Linear(64, 4), nn.Softplus(), nn.Linear(4, 3)
        self.bad = nn.Identity()

    def forward(self, x):
        x = x.flatten(1)
        return self.head(self.root(self.bad(x.sum(1, keepdim=True).sqrt() * torch.ones(4))) + self.lift(x))


def test_the_first_module_that_is_not_finite_is_named_with_its_rows():
    model, (x, y) = Root(), rows()
    x = x.abs()
    x[0, 2] = -1.0
    x[0, 6] = -1.0
    move = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, move, every=1, stop_on_nonfinite=False) as patient:
        loss = F.cross_entropy(model(x[0]), y[0])
        patient.loss(loss)
        loss.backward()
        move.step()
    vitals = patient.vitals
    assert (vitals.broken, vitals.broken_step, vitals.broken_rows) == ("layer bad", 0, (2, 6))
    assert math.isnan(vitals.loss[0])


def test_a_loss_that_alone_is_not_finite_and_a_weight_that_was_spoilt():
    model, (x, _) = mlp(), rows()
    move = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(NotFinite, match="comes from the loss itself"), watch(model, move) as patient:
        patient.loss(model(x[0]).mean() / 0.0)
    with torch.no_grad():
        model[3].weight[0, 0] = math.inf
    with pytest.raises(NotFinite, match=r"the weight `3\.weight` is not finite"), watch(model, move) as patient:
        patient.loss(model(x[0]).sum())


def test_weights_that_were_moved_before_the_loss_was_told_are_owned_up_to():
    model, (x, _) = mlp(), rows()
    move = torch.optim.SGD(model.parameters(), lr=0.1)

    def late():
        with watch(model, move) as patient:
            model(x[0]).sum().backward()
            move.step()
            patient.loss(math.nan)

    with pytest.raises(NotFinite, match="Weights have been moved since"):
        late()


def test_losses_on_another_device_are_read_later_all_at_once():
    """As if they lay there: here is only a processor."""
    model, (x, y) = mlp(), rows()
    move = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, move) as patient:
        patient._late.extend([(0, torch.tensor(2.0)), (0, torch.tensor(1.0))])
        F.cross_entropy(model(x[0]), y[0]).backward()
        move.step()  # a close look
        assert patient._late == []
        patient._late += [(1, torch.tensor(math.nan)), (2, torch.tensor(1.0))]  # the step that broke, not the last
        assert patient.vitals.loss[:2] == [2.0, 1.0]  # to look does not stop the run
        assert (patient.vitals.broken, patient.vitals.broken_step) == ("loss", 1)
        patient._late.append((3, torch.tensor(math.nan)))
        with pytest.raises(NotFinite, match="moved since"):
            patient._settle(stop=True)


def test_masks_of_minus_infinity_are_no_data():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    move = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(NotFinite, match="loss itself"), watch(model, move) as patient:
        patient.loss(model(torch.randn(2, 4, 8), src_mask=mask).sum() * math.inf)


# ------------------------------------------------------------------------------------------------------------- verdicts


def looped(fault, steps=90, rate=3e-3):
    """A small classifier in a loop with a planted fault."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    x = torch.randn(steps, 32, 10)
    y = x[..., :3].argmax(-1)
    if fault == "dead_relu":
        nn.init.constant_(model[3].bias, -30.0)
    mine = model[5].parameters() if fault == "frozen_parameters" else model.parameters()
    rate = {"lr_high": 5.0, "lr_low": 1e-8}.get(fault, rate)
    move = torch.optim.SGD(mine, lr=0.05) if fault == "gradient_clip" else torch.optim.Adam(mine, lr=rate)
    with watch(model, move, every=3) as patient:
        for step in range(steps):
            if fault == "mode_misuse" and step == 30:
                model.eval()
            if fault != "zero_grad_missing":
                move.zero_grad()
            hidden = model[:2](x[step])
            loss = F.cross_entropy(model[2:](hidden.detach() if fault == "graph_cut" else hidden), y[step])
            patient.loss(loss)
            loss.backward()
            if fault == "gradient_clip":
                nn.utils.clip_grad_norm_(model.parameters(), 1e-4)
            if fault == "cleared":
                move.zero_grad()
            move.step()
            if step % 30 == 29:
                model.train(fault == "validated in training mode")
                with torch.no_grad():
                    for batch in x[:3]:
                        model(batch)
                if fault != "mode_misuse":
                    model.train()
    return patient.verdict()


@pytest.mark.parametrize(
    ("fault", "name"),
    [(name, name) for name in ("zero_grad_missing", "frozen_parameters", "graph_cut", "mode_misuse", "dead_relu")]
    + [("gradient_clip", "gradient_clip"), ("lr_high", "lr_high"), ("lr_low", "lr_low")]
    + [("cleared", "frozen_parameters"), ("validated in training mode", "mode_misuse"), ("", "healthy")],
)
def test_verdicts_in_a_plain_loop(fault, name):
    verdict = looped(fault)
    assert verdict.name == name, str(verdict)
    assert all(any(letter.isdigit() for letter in "".join(finding.evidence)) for finding in verdict.findings)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", MODELS)
def test_healthy_models_are_not_accused(name, seed):
    torch.manual_seed(seed)
    model = MODELS[name]().train()
    move = torch.optim.Adam(model.parameters(), lr=3e-3)
    x, y = torch.randn(16, 1, 8, 8), torch.randint(0, 3, (16,))
    with watch(model, move, every=5) as patient:
        for _ in range(60):
            move.zero_grad()
            loss = F.cross_entropy(model(x), y)
            patient.loss(loss)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            move.step()
    assert patient.verdict().findings == ()


class OneActivation(nn.Module):
    """One module that rectifies between all layers, as many a network has."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(10, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.last(self.relu(self.second(self.relu(self.first(x)))))


def test_a_layer_that_dies_after_the_loss_fell_is_found_behind_a_shared_activation():
    """The loss falls, as its first level is high; then the second layer dies, and nothing of the row reaches the end."""
    torch.manual_seed(0)
    model = OneActivation()
    nn.init.constant_(model.last.bias, 5.0)
    x = torch.randn(60, 32, 10)
    move = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, move, every=3) as patient:
        for step in range(60):
            move.zero_grad()
            if step == 30:
                nn.init.constant_(model.second.bias, -30.0)
            loss = F.mse_loss(model(x[step]), x[step, :, :3])
            patient.loss(loss)
            loss.backward()
            move.step()
    layers = patient.vitals.layers
    assert list(layers) == ["first", "relu", "second", "relu#2", "last"]
    assert layers["relu"].silent[-1] == 0
    assert layers["relu#2"].silent[0] < 0.5 < layers["relu#2"].silent[-1] == 1
    (finding,) = patient.verdict().findings
    assert finding.illness == "dead_relu"
    assert finding.evidence[0].startswith("100% of the units of `relu#2`")
    assert "not at first" in finding.evidence[1]


def test_weights_that_begin_at_zero_are_not_accused_of_large_steps():
    """The first steps of an output matrix of zeros are all that it has: word2vec's start, and its noisy loss."""
    torch.manual_seed(0)
    words, contexts = nn.Embedding(40, 16), nn.Linear(16, 40, bias=False)
    nn.init.uniform_(words.weight, -0.5 / 16, 0.5 / 16)
    nn.init.zeros_(contexts.weight)
    model = nn.Sequential(words, contexts)
    move = torch.optim.SGD(model.parameters(), lr=1.0)
    with watch(model, move, every=1) as patient:
        for _ in range(25):
            move.zero_grad()
            x = torch.randint(0, 40, (64,))
            loss = F.cross_entropy(model(x), (x + 1) % 40)
            patient.loss(loss)
            loss.backward()
            move.step()
    vitals = patient.vitals
    assert math.isinf(vitals.weights["1.weight"].change[0])
    sizes, changes = vitals.weights["1.weight"].size, vitals.weights["1.weight"].change
    both = [
        [change, move * size / max(sizes)]
        for change, move, size in zip(vitals.weights["0.weight"].change, changes, sizes)
    ]
    assert vitals.moves()[1:] == pytest.approx([sum(pair) / 2 for pair in both[1:]])
    assert patient.verdict().findings == ()


@pytest.mark.parametrize("warm", [True, False])
def test_clipped_steps_are_meant_to_be_small_while_the_rate_rises(warm):
    torch.manual_seed(0)
    model = mlp()
    move = torch.optim.SGD(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(move, lambda step: (step + 1) / 10_000 if warm else 0.01)
    with watch(model, move, every=1) as patient:
        for _ in range(40):
            move.zero_grad()
            loss = 1000 * F.cross_entropy(model(torch.randn(8, 1, 8, 8)), torch.randint(0, 3, (8,)))
            patient.loss(loss)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            move.step()
            schedule.step()
    assert ["gradient_clip" in str(patient.verdict())] == [not warm]


def test_an_embeddings_rows_that_no_batch_holds_are_no_vanishing_gradient():
    torch.manual_seed(0)
    body = [layer for _ in range(3) for layer in (nn.Linear(8, 8), nn.Tanh())]
    model = nn.Sequential(nn.Embedding(100_000, 8), *body, nn.Linear(8, 3))
    nn.init.normal_(model[-1].weight, 0.0, 0.02)
    nn.init.constant_(model[-1].bias, 1.0)
    model[-1].bias.requires_grad_(False)
    move = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, move, every=5) as patient:
        for _ in range(40):
            move.zero_grad()
            loss = F.cross_entropy(model(torch.randint(0, 100_000, (16,))), torch.randint(0, 3, (16,)))
            patient.loss(loss)
            loss.backward()
            move.step()
    weights = patient.vitals.weights
    per_number = [weights[n].gradient[0] / math.prod(weights[n].shape) ** 0.5 for n in ("0.weight", "7.weight")]
    assert per_number[0] < 1e-3 * per_number[1]
    assert patient.verdict().findings == ()


def test_what_cannot_be_told_is_said():
    model, (x, y) = mlp(), rows()
    move = torch.optim.Adam(model.parameters(), lr=1e-3)
    with watch(model, move, every=1) as patient:
        assert "go on training" in patient.verdict().open_question
        for step in range(6):
            move.zero_grad()
            F.cross_entropy(model(x[step]), y[step]).backward()
            move.step()
    verdict = patient.verdict()
    assert (verdict.name, verdict.findings) == ("cannot_tell", ())
    assert str(verdict).startswith("cannot_tell: no loss was told")


def test_broken_data_are_named_in_the_verdict():
    x, _ = rows()
    x[2, 1] = math.inf
    patient, _ = until_broken(x, tell=True)
    told = str(patient.verdict())
    assert told.startswith("non_finite_data (0.97): at step 2 the input of the model held NaN or infinity (rows 1 of")


def test_a_loss_curve_in_a_few_numbers():
    assert curve([1.0] * 19) is None
    falling = curve([2.0, 9.0, 9.0] + [1.0 + 0.01 * (i % 2) for i in range(40)])
    assert (falling.first, falling.highest) == (2.0, 9.0)
    assert falling.falls
    assert not curve([1.0 + 0.1 * (i % 2) for i in range(40)]).downwards


# --------------------------------------------------------------------------------------------------- the loops of others


def test_in_hugging_faces_trainer(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    torch.manual_seed(0)
    sizes = {"vocab_size": 12, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2, "tie_word_embeddings": False}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    said = []
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=12,
        per_device_train_batch_size=2,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    rows = [{"input_ids": torch.arange(8), "labels": torch.arange(8)} for _ in range(24)]
    move = torch.optim.AdamW(model.lm_head.parameters(), lr=1e-3)  # the planted fault: the body is forgotten
    watching = doctor.for_trainer(say=said.append)
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=rows, optimizers=(move, None), callbacks=[watching]
    )
    trainer.train()
    assert said[0].startswith("frozen_parameters (0.85)")
    assert "transformer.wte.weight" in said[0]
    vitals = watching.ward.patient.vitals
    assert vitals.steps == len(vitals.loss) == 12
    assert hooks_of(model) == []


def test_in_lightning():
    pytest.importorskip("lightning")
    import lightning.pytorch as lightning
    from torch.utils.data import DataLoader, TensorDataset

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))
            self.criterion = nn.CrossEntropyLoss()

        def training_step(self, batch, index):
            self.net.eval()  # the planted fault
            return self.criterion(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=1e-2)

    torch.manual_seed(0)
    x = torch.randn(160, 6)
    said, module = [], Module()
    watching = doctor.for_lightning(say=said.append)
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watching],
    )
    trainer.fit(module, DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), 16))
    assert said[0].startswith("mode_misuse (0.75): the model is trained in evaluation mode")
    vitals = watching.ward.patient.vitals
    assert vitals.steps == len(vitals.loss) == 20
    assert vitals.moody == ("net.2",)
    assert list(vitals.layers) == ["net.0", "net.1", "net.2", "net.3"]
    assert vitals.output.kind == "Sequential"
    assert hooks_of(module) == []


@pytest.mark.parametrize(("make", "module"), [("for_trainer", "transformers"), ("for_lightning", "lightning.pytorch")])
def test_a_missing_library_is_named(make, module, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(UserError, match="pip install"):
        getattr(doctor, make)()
