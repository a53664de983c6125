"""Every part of the anatomy against programs that are made for it, right ones and wrong ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seminal.doctor import specimens
from seminal.doctor.anatomy import Anatomy, examined
from seminal.doctor.program import checked, undisturbed
from seminal.doctor.rows import rows_of
from seminal.doctor.specimens import groups, network, waves


class Then(nn.Module):
    """A body, and a function of what it gives."""

    def __init__(self, body: nn.Module, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.function = body, function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.body(x))


def anatomy(parts: dict[str, Any]) -> Anatomy:
    program = checked(parts, "a program")
    with undisturbed():
        return examined(program, rows_of(program.train), rows_of(program.val))


def of(model: nn.Module, data: tuple[Tensor, Tensor] | None = None, **others: Any) -> Anatomy:
    """The anatomy of a small program."""
    parts = {k: others.pop(k) for k in ("train_step", "evaluate") if k in others}
    return anatomy(specimens.program(model, data or groups(), others.pop("optimizer", None), **others) | parts)


def halves(low: float = 0.0) -> tuple[Tensor, Tensor]:
    x, y = groups()
    return x, torch.where(y[:, None] > 2, 1.0, low)


def one_hot() -> tuple[Tensor, Tensor]:
    x, y = groups()
    return x, F.one_hot(y, 5).float()


def tags() -> tuple[Tensor, Tensor]:
    x, _ = groups()
    return x, (x[:, :4] > 0).float()


def signed(out: Tensor, target: Tensor) -> float:
    return ((out > 0) == (target > 0.5)).float().mean().item()


def exact(out: Tensor, target: Tensor) -> float:
    return ((out > 0) == (target > 0.5)).all(1).float().mean().item()


def hits(out: Tensor, target: Tensor) -> float:
    return (out.flatten().round() == target.flatten()).float().mean().item()


def largest(out: Tensor, target: Tensor) -> float:
    return (out.argmax(1) == target.argmax(1)).float().mean().item()


# ------------------------------------------------------------------------------------------------------------- the task


@pytest.mark.parametrize(
    ("data", "outputs", "loss", "metric", "kind", "classes"),
    [
        (groups(), 5, nn.CrossEntropyLoss(), None, "classes", 5),
        (halves(), 1, nn.BCEWithLogitsLoss(), signed, "binary", 2),
        (tags(), 4, nn.BCEWithLogitsLoss(), exact, "multi_label", 4),
        (one_hot(), 5, nn.CrossEntropyLoss(), largest, "one_hot", 5),
        ((waves()[0], waves()[1]), 1, nn.MSELoss(), None, "regression", 0),
        ((groups()[0], groups()[0]), 12, nn.MSELoss(), None, "reconstruction", 0),
        ((groups()[0], groups()[1].float()[:, None]), 1, nn.MSELoss(), hits, "classes", 5),
        ((groups()[0], groups()[1].float()[:, None]), 1, nn.MSELoss(), specimens.explained, "regression", 0),
    ],
)
def test_kind(data, outputs, loss, metric, kind, classes):
    found = of(network(data[0].shape[1], 8, outputs), data, loss=loss, metric=metric)
    assert (found.kind, found.classes) == (kind, classes)
    assert found.out_shape == (outputs,)
    assert found.target_shape == tuple(data[1].shape[1:])


def test_classes_of_validation_count_too():
    x, y = groups()
    y = y.clone()
    y[:600] = y[:600] % 3  # the first two thirds are for training
    assert of(network(12, 8, 5), (x, y)).classes == 5


# ----------------------------------------------------------------------------------------------------------- the ending


@pytest.mark.parametrize(
    ("function", "name", "low", "high"),
    [
        (lambda o: o, "linear", -math.inf, math.inf),
        (lambda o: o.softmax(1), "softmax", 0, 1),
        (lambda o: o.exp() / o.exp().sum(1, keepdim=True), "softmax", 0, 1),
        (lambda o: o.log_softmax(1), "log_softmax", -math.inf, 0),
        (torch.sigmoid, "sigmoid", 0, 1),
        (lambda o: 1 / (1 + (-o).exp()), "sigmoid", 0, 1),
        (torch.tanh, "tanh", -1, 1),
        (F.relu, "relu", 0, math.inf),
        (F.elu, "elu", -1, math.inf),
        (F.softplus, "softplus", 0, math.inf),
        (F.leaky_relu, "leaky_relu", -math.inf, math.inf),
        (lambda o: 10 * torch.sigmoid(o) - 3, "unknown", -3, 7),
        (lambda o: o.sigmoid().unsqueeze(1).squeeze(1), "sigmoid", 0, 1),
    ],
)
def test_ending(function, name, low, high):
    found = of(Then(network(12, 8, 5), function))
    assert found.ending == name
    assert found.end.low == pytest.approx(low, abs=1e-3)
    assert found.end.high == pytest.approx(high, abs=1e-2)


def test_dimension_of_the_last_softmax():
    assert of(Then(network(12, 8, 5), lambda o: o.softmax(-1))).ending_dim == 1
    assert of(Then(network(12, 8, 5), lambda o: o.softmax(0))).ending_dim == 0


def test_softmax_over_one_unit_gives_one_value():
    found = of(Then(network(12, 8, 1), lambda o: o.softmax(1)), halves(), loss=nn.BCELoss(), metric=signed)
    assert found.ending == "softmax"
    assert found.end.one_value
    assert found.all_zero


# ------------------------------------------------------------------------------------------------------------- the loss


def written(out: Tensor, target: Tensor) -> Tensor:
    logs = out - out.logsumexp(1, keepdim=True)
    return -logs[torch.arange(len(target)), target].mean()


def per_class(out: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(out, target, weight=torch.tensor([1.0, 3.0, 0.5, 1.0, 2.0]))


@pytest.mark.parametrize(
    ("loss", "name", "factor", "reduction"),
    [
        (nn.CrossEntropyLoss(), "cross_entropy", 1, "mean"),
        (written, "cross_entropy", 1, "mean"),
        (nn.CrossEntropyLoss(reduction="sum"), "cross_entropy", 8, "sum"),
        (nn.CrossEntropyLoss(label_smoothing=0.2), "cross_entropy", 0.8, "mean"),
        (per_class, "cross_entropy", None, "mean"),
        (lambda o, t: 3 * F.cross_entropy(o, t), "cross_entropy", 3, "mean"),
        (lambda o, t: F.cross_entropy(o, t) / len(t), "cross_entropy", 1 / 8, "other"),
        (nn.NLLLoss(), "nll", 1, "mean"),
        (lambda o, t: -written(o, t), "cross_entropy", -1, "mean"),
        (lambda o, t: F.mse_loss(o, F.one_hot(t, 5).float()), "mse", 1, "mean"),
        (lambda o, t: (o - F.one_hot(t, 5)).abs().sum(1).mean(), "mae", 5, "mean"),
        (lambda o, t: F.binary_cross_entropy_with_logits(o, F.one_hot(t, 5).float()), "bce_logits", 1, "mean"),
        (F.multi_margin_loss, "hinge", 1, "mean"),
        (lambda o, t: F.cross_entropy(o, t) + o.pow(4).mean(), "", None, "mean"),
    ],
)
def test_losses_of_classes(loss, name, factor, reduction):
    found = of(network(12, 8, 5), loss=loss)
    assert (found.loss, found.reduction) == (name, reduction)
    assert factor is None or found.factor == pytest.approx(factor, rel=0.01)
    assert found.shift_invariant == (name in ("cross_entropy", "hinge"))
    assert not found.loss_detached


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (lambda p, t: -(p / p.sum(1, keepdim=True)).gather(1, t[:, None]).log().mean(), "categorical"),
        (lambda p, t: -p.gather(1, t[:, None]).log().mean(), "categorical"),
        (lambda p, t: F.binary_cross_entropy(p, F.one_hot(t, 5).float()), "bce"),
    ],
)
def test_losses_of_probabilities(loss, name):
    found = of(Then(network(12, 8, 5), lambda o: o.softmax(1)), loss=loss)
    assert found.loss == name
    assert found.wants_right


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (nn.MSELoss(), "mse"),
        (nn.L1Loss(), "mae"),
        (nn.SmoothL1Loss(), "huber"),
        (lambda o, t: F.mse_loss(o, t).sqrt(), ""),  # a root of a mean: known by no factor, and not mixed
    ],
)
def test_losses_of_numbers(loss, name):
    found = of(network(4, 8, 1), waves(), loss=loss)
    assert found.loss == name
    assert found.reduction in ("mean", "other")
    assert found.wants_right


def test_rows_that_mix_in_the_loss():
    x, y = waves()
    broadcast = of(network(4, 8, 1), (x, y[:, 0]), loss=lambda o, t: ((o - t) ** 2).mean())
    assert broadcast.reduction == "mixed"
    assert broadcast.wanted.standard < 0.1
    over_rows = of(network(12, 8, 5), loss=lambda o, t: -o.log_softmax(0)[torch.arange(len(t)), t].mean())
    assert over_rows.reduction == "mixed"
    assert over_rows.form.over_rows
    assert not over_rows.shift_invariant


def test_a_loss_of_plain_numbers_is_detached():
    assert of(network(12, 8, 5), loss=lambda o, t: F.cross_entropy(o.detach(), t).requires_grad_()).loss_detached


def test_a_step_that_changes_the_loss_is_seen():
    def stepped(turn: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], sign: float) -> Any:
        def step(model: Any, loss: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
            optimizer.zero_grad()
            value = sign * loss(*turn(model(x), y))
            value.backward()
            optimizer.step()
            return value.detach()

        return step

    usual = of(network(4, 8, 1), waves(), train_step=stepped(lambda o, t: (o, t), 1.0))
    flat = of(network(4, 8, 1), waves(), train_step=stepped(lambda o, t: (o, t[:, 0]), 1.0))
    turned = of(network(4, 8, 1), waves(), train_step=stepped(lambda o, t: (o, t), -1.0))
    assert (usual.by_step, flat.by_step, turned.by_step) == (False, True, True)
    assert flat.reduction == "mixed"
    assert turned.factor == pytest.approx(-1, rel=0.01)


# ----------------------------------------------------------------------------------------------------- wanted and the scale


def test_wanted_and_given():
    found = of(Then(network(12, 8, 5), lambda o: o.softmax(1)))
    assert found.wanted.loss < 0.01
    assert found.given.loss == pytest.approx(math.log(1 + 4 / math.e), abs=0.01)
    limited = of(Then(network(4, 8, 1), torch.relu), waves())
    assert limited.wanted.standard > 0.99 > 0.8 > limited.given.standard


def test_floor_and_ceiling():
    _, y = groups()
    found = of(network(12, 8, 5))
    assert found.floor == pytest.approx(max((y[600:] == c).float().mean().item() for c in range(5)))
    assert found.ceiling == 1
    numbers = of(network(4, 8, 1), waves())
    assert numbers.floor == pytest.approx(0, abs=0.05)
    assert numbers.ceiling == pytest.approx(1, abs=1e-3)
    error = of(network(4, 8, 1), waves(), metric=lambda o, t: -F.mse_loss(o, t).item())
    assert error.floor < -0.5 < error.ceiling == pytest.approx(0, abs=1e-3)
    broken = of(network(12, 8, 5), metric=lambda o, t: math.nan)
    assert math.isfinite(broken.floor)
    assert math.isfinite(broken.ceiling)


def test_a_metric_that_does_not_see_right_answers():
    found = of(
        network(12, 8, 1),
        halves(),
        loss=nn.BCEWithLogitsLoss(),
        metric=lambda o, t: (o.round() == t).float().mean().item(),
    )
    assert found.wanted.standard == 1
    assert found.wanted.metric < found.floor


def test_first_and_expected_loss():
    for loss, data, model, expected in (
        (nn.CrossEntropyLoss(), groups(), network(12, 8, 5), math.log(5)),
        (nn.CrossEntropyLoss(reduction="sum"), groups(), network(12, 8, 5), 32 * math.log(5)),
        (nn.BCEWithLogitsLoss(), halves(), network(12, 8, 1), math.log(2)),
        (nn.MSELoss(), waves(), network(4, 8, 1), float(waves()[1][:460].var())),
    ):
        found = of(model, data, loss=loss, metric=signed if data[1].dim() > 1 else None)
        assert found.expected_loss == pytest.approx(expected, rel=0.1)
        assert 0.3 * expected < found.first_loss < 3 * expected


# ------------------------------------------------------------------------------------------------------------ the model


def test_linear():
    assert of(network(12, 8, 5, activation=nn.Identity)).linear is True
    assert of(nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Linear(8, 5))).linear is True
    assert of(network(12, 8, 5)).linear is False
    assert of(network(12, 8, 5, activation=nn.Sigmoid)).linear is False
    tokens = torch.randint(0, 9, (300, 6)), torch.randint(0, 5, (300,))
    assert of(nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(24, 5)), tokens).linear is None


class Recurrent(nn.Module):
    def __init__(self, rows_first: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 8, batch_first=rows_first)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.view(-1, 4, 3))[0][:, -1])


@pytest.mark.parametrize(
    ("model", "mixed"),
    [
        (network(12, 8, 5), False),
        (nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Linear(8, 5)), False),
        (Recurrent(rows_first=True), False),
        (Recurrent(rows_first=False), True),
        (nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 5)), True),
        (Then(network(12, 8, 5), lambda o: o - o.mean(0)), True),
        (Then(network(12, 8, 5), lambda o: o.softmax(0)), True),
    ],
)
def test_alone(model, mixed):
    assert (of(model).alone > 1e-3) == mixed


class Noisy(nn.Module):
    def __init__(self, always: bool) -> None:
        super().__init__()
        self.body, self.always = network(12, 8, 5), always

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x + torch.randn_like(x) if self.training or self.always else x)


def test_chance_inside():
    quiet, noisy, restless = of(network(12, 8, 5)), of(Noisy(always=False)), of(Noisy(always=True))
    assert (quiet.stochastic, noisy.stochastic, restless.stochastic) == (False, True, True)
    assert quiet.restless == noisy.restless == 0 < 0.1 < restless.restless
    assert noisy.moody
    assert not quiet.moody
    dropping = of(nn.Sequential(nn.Dropout(0.5), network(12, 8, 5)))
    assert not dropping.stochastic
    assert dropping.moody == ("0",)


# ------------------------------------------------------------------------------------------- gradients and first steps


class Coded(nn.Module):
    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.encoder, self.reader, self.between = nn.Linear(12, 8), nn.Linear(8, 5), between
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.reader(self.between(self.encoder(x)))


def test_cut():
    assert of(Coded(torch.tanh)).cut == ()
    assert of(Coded(lambda h: h.detach())).cut == ("encoder.weight", "encoder.bias")
    assert of(Coded(lambda h: (4 * h).round())).cut == ("encoder.weight",)
    assert of(Coded(lambda h: torch.relu(h - 1e3))).cut == ()  # dead units are no cut


def test_unowned_and_frozen():
    model = network(12, 8, 5)
    found = of(model, optimizer=torch.optim.SGD(model[2].parameters(), lr=0.1))
    assert found.unowned == ("0.weight", "0.bias")
    assert found.frozen == ()
    model = network(12, 8, 5)
    model[0].weight.requires_grad_(False)
    assert of(model).frozen == ("0.weight",)


def step_of(change: Callable[[Any, Any], None]) -> Any:
    """A training step that does something between backward and the optimiser's step, and never clears gradients itself."""

    def step(model: Any, loss: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        value = loss(model(x), y)
        value.backward()
        change(model, optimizer)
        return value.detach()

    return step


def halved(model: Any, optimizer: Any) -> None:
    for p in model.parameters():
        p.grad.mul_(0.25)
    optimizer.step()
    optimizer.zero_grad()


def test_leftover_clip_and_idle():
    plain = of(network(12, 8, 5))
    assert (plain.leftover, plain.clip, plain.steps.idle) == (0, 1, ())
    piling = of(network(12, 8, 5), train_step=step_of(lambda model, optimizer: optimizer.step()))
    assert piling.leftover == 1
    clipping = of(network(12, 8, 5), train_step=step_of(halved))
    assert clipping.clip == pytest.approx(0.25, rel=0.01)
    assert clipping.leftover == 0
    cleared = of(network(12, 8, 5), train_step=step_of(lambda m, o: (o.zero_grad(), o.step())))
    assert len(cleared.steps.idle) == 4
    assert not cleared.steps.moved


def test_modes():
    def body() -> nn.Module:
        return nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5))

    def step(model: Any, loss: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        model.eval()
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value.detach()

    def validate(mode: bool) -> Any:
        def evaluate(model: Any, val: Any) -> float:
            model.train(mode)
            return sum(specimens.accuracy(model(x), y) for x, y in val)

        return evaluate

    usual, still = of(body(), evaluate=validate(False)), of(body(), train_step=step, evaluate=validate(True))
    assert (usual.trains_in, usual.validates_in, usual.steps.still) == ("train", "eval", ())
    assert (still.trains_in, still.validates_in, still.steps.still) == ("eval", "train", ("1",))


def test_first_nonfinite():
    x, y = groups()
    assert of(network(12, 8, 5)).first_nonfinite == ""
    holed = x.clone()
    holed[5, 5] = math.nan
    assert of(network(12, 8, 5), (holed, y)).first_nonfinite == "inputs"
    assert of(network(12, 8, 5), (holed, y)).ending == "linear"  # the other rows still tell
    exploding = Then(network(12, 8, 5), lambda o: o * math.inf)
    assert of(exploding).first_nonfinite not in ("", "inputs")


def test_another_player():
    from seminal.doctor import two_players

    game = anatomy(two_players.game(0, rate=1e-3, critic_rate=1e-3))
    assert game.two_players
    assert all(name.startswith("critic") for name in game.critics)
    assert not of(network(12, 8, 5)).two_players


# ----------------------------------------------------------------------------------------------------------- odd programs


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = network(12, 8, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.body(x), x


def failing(*_: Any) -> Any:
    raise RuntimeError("no")


@pytest.mark.parametrize(
    "parts",
    [
        {"model": Several(), "loss": lambda o, t: F.cross_entropy(o[0], t)},
        {"model": Then(network(12, 8, 5), failing)},
        {"model": network(12, 8, 5), "loss": failing},
        {"model": network(12, 8, 5), "metric": failing},
        {"model": network(12, 8, 5), "train_step": failing},
        {"model": network(12, 8, 5), "evaluate": failing},
        {"model": Then(network(12, 8, 5), lambda o: o.mean())},
    ],
)
def test_odd_programs_do_not_raise(parts):
    model = parts.pop("model")
    found = anatomy(specimens.program(model, groups()) | parts)
    assert math.isfinite(found.floor)
    assert math.isfinite(found.ceiling)


def test_few_rows_are_enough():
    corners = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    target = torch.tensor([[0.0], [1], [1], [0]])
    parts = specimens.program(network(2, 4, 1), (corners, target), loss=nn.BCEWithLogitsLoss(), metric=signed)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(corners, target), batch_size=4)
    found = anatomy(parts | {"train": loader, "val": loader})
    assert (found.kind, found.loss, found.ceiling) == ("binary", "bce_logits", 1)


def test_the_caller_draws_what_it_would_have_drawn():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with undisturbed():
        parts = specimens.program(network(12, 8, 5), groups())
    with undisturbed():
        anatomy(parts)
    assert torch.equal(torch.rand(2), expected)
