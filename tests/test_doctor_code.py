"""What strangers write: faults of the code in many spellings, each of which must be named, and unusual programs in which
nothing is wrong, which must stay unnamed. Only the rules of the stage "code" are asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seminal.doctor import diagnose
from seminal.doctor.chart import Chart
from seminal.doctor.program import from_function
from seminal.doctor.specimens import accuracy, explained, groups, network, program, waves

Made = dict[str, Any]


class Then(nn.Module):
    """A body, and a function of what it gives."""

    def __init__(self, body: nn.Module, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.function = body, function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.body(x))


class Between(nn.Module):
    """A function between two parts."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.function = network(12, 64, 8), network(8, 16, 5), function

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.function(self.first(x)))


def found(make: Callable[[], Made]) -> set[str]:
    def seeded(seed: int) -> Made:
        torch.manual_seed(seed)
        return make()

    chart = Chart(from_function(seeded))
    return {finding.illness for rule in diagnose.of_stage("code") if (finding := rule.judge(chart)) is not None}


# ------------------------------------------------------------------------------------------------------------- the data


def one_hot() -> tuple[Tensor, Tensor]:
    return groups()[0], F.one_hot(groups()[1], 5).float()


def tags() -> tuple[Tensor, Tensor]:
    x, _ = groups()
    return x, (x @ torch.randn(12, 4, generator=torch.Generator().manual_seed(1)) > 0).float()


def halves() -> tuple[Tensor, Tensor]:
    return groups()[0], (groups()[1][:, None] > 2).float()


def flat(data: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return data[0], data[1][:, 0]


def signed(out: Tensor, target: Tensor) -> float:
    return ((out > 0) == (target > 0.5)).float().mean().item()


def above_half(out: Tensor, target: Tensor) -> float:
    return signed(out - 0.5, target)


def exact(out: Tensor, target: Tensor) -> float:
    return ((out > 0) == (target > 0.5)).all(1).float().mean().item()


def largest(out: Tensor, target: Tensor) -> float:
    return (out.argmax(1) == target.argmax(1)).float().mean().item()


def flat_explained(out: Tensor, target: Tensor) -> float:
    return explained(out.flatten(), target.flatten())


def classifier(function: Callable[[Tensor], Tensor] = lambda o: o, **others: Any) -> Made:
    return program(Then(network(12, 64, 5), function), groups(), **others)


def either(function: Callable[[Tensor], Tensor] = lambda o: o, loss: Any = None, metric: Any = signed) -> Made:
    model = Then(network(12, 64, 1), function)
    return program(model, halves(), loss=loss or nn.BCEWithLogitsLoss(), metric=metric)


def curve(function: Callable[[Tensor], Tensor] = lambda o: o, **others: Any) -> Made:
    return program(Then(network(4, 64, 64, 1), function), others.pop("data", waves()), epochs=30, **others)


def momentum(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def by_hand(loss: Any) -> Made:
    """With plain momentum, which a factor of the loss does not leave alone."""
    model = network(12, 64, 5)
    return program(model, groups(), momentum(model), loss=loss)


def stepping(
    parts: Made, after: Callable[[Any, Any], Any], *, sign: float = 1, shape: Any = lambda t: t, clear: bool = True
) -> Made:
    """The program with a training step: ``after(model, optimizer)`` follows backward."""

    def step(model: Any, loss: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        if clear:
            optimizer.zero_grad()
        value = sign * loss(model(x), shape(y))
        value.backward()
        after(model, optimizer)
        return value.detach()

    return parts | {"train_step": step}


def update(_: Any, optimizer: Any) -> None:
    optimizer.step()


# ------------------------------------------------------------------------------------------------------------ the faults


class Recurrent(nn.Module):
    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.lstm, self.head, self.turned = nn.LSTM(3, 32), nn.Linear(32, 5), turned

    def forward(self, x: Tensor) -> Tensor:
        rows = x.view(-1, 4, 3)
        return self.head(self.lstm(rows.transpose(0, 1))[0][-1] if self.turned else self.lstm(rows)[0][:, -1])


class AlwaysDropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 64), nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.dropout(F.relu(self.first(x)), 0.7))


def without_gradient(h: Tensor) -> Tensor:
    return torch.tensor(h.tolist())


def head_replaced() -> Made:
    model = nn.Sequential(network(12, 64, 6), nn.Linear(6, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    model[0], model[1] = network(12, 64, 6), nn.Sequential(nn.ReLU(), nn.Linear(6, 5))
    return program(model, groups(), optimizer)


def only_counted() -> Made:
    def step(model: Any, loss: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        optimizer.step()
        return loss(model(x), y).detach()

    return classifier() | {"train_step": step}


def cleared_seldom() -> Made:
    seen: list[None] = []

    def after(_: Any, optimizer: Any) -> None:
        optimizer.step()
        seen.append(None)
        if len(seen) % 10 == 0:
            optimizer.zero_grad()

    model = network(12, 64, 5)
    return stepping(program(model, groups(), momentum(model)), after, clear=False)


def cut_short() -> Made:
    def after(model: Any, optimizer: Any) -> None:
        nn.utils.clip_grad_value_(model.parameters(), 1e-5)
        optimizer.step()

    model = network(12, 64, 5)
    return stepping(program(model, groups(), momentum(model)), after)


def validated_in_training() -> Made:
    def evaluate(model: nn.Module, val: Any) -> float:
        model.train()
        return sum(accuracy(model(x), y) for x, y in val) / len(val)

    model = nn.Sequential(nn.Linear(12, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.8), nn.Linear(64, 5))
    return program(model, groups()) | {"evaluate": evaluate}


def holed(column: str) -> Made:
    x, y = (values.clone() for values in waves())
    (x if column == "inputs" else y)[::40] = math.inf if column == "inputs" else math.nan
    return program(network(4, 32, 1), (x, y))


def probability_error(p: Tensor, t: Tensor) -> Tensor:
    return (t * torch.log(p + 1e-7) + (1 - t) * torch.log(1 - p + 1e-7)).mean()


def clamped(p: Tensor, t: Tensor) -> Tensor:
    return F.binary_cross_entropy(p.clamp(1e-6, 1 - 1e-6), t)


def of_right(out: Tensor, target: Tensor) -> Tensor:
    return F.log_softmax(out, 1)[torch.arange(len(target)), target].mean()


def over_rows(out: Tensor, target: Tensor) -> Tensor:
    return -out.log_softmax(0)[torch.arange(len(target)), target].mean()


def share(o: Tensor) -> Tensor:
    return o.softmax(1)


FAULTS: list[tuple[str, str, Callable[[], Made]]] = [
    (
        "softmax by hand before cross-entropy",
        "double_softmax",
        lambda: classifier(lambda o: o.exp() / o.exp().sum(1, True)),
    ),
    ("sigmoid before cross-entropy", "output_activation", lambda: classifier(torch.sigmoid)),
    ("tanh before cross-entropy", "output_activation", lambda: classifier(torch.tanh)),
    ("ReLU before cross-entropy", "output_activation", lambda: classifier(F.relu)),
    ("sigmoid twice", "output_activation", lambda: either(torch.sigmoid, metric=above_half)),
    ("ReLU before a binary cross-entropy of logits", "output_activation", lambda: either(F.relu)),
    ("softmax over one unit", "output_activation", lambda: either(share, nn.BCELoss(), above_half)),
    ("no sigmoid before a clamped logarithm", "output_activation", lambda: either(loss=clamped, metric=above_half)),
    ("ReLU for values below 0", "output_activation", lambda: curve(F.relu)),
    ("exponential for values below 0", "output_activation", lambda: curve(torch.exp)),
    ("tanh for values around 4", "output_activation", lambda: curve(torch.tanh, data=(waves()[0], 3 * waves()[1] + 4))),
    (
        "softmax for tags",
        "output_activation",
        lambda: program(
            Then(network(12, 64, 4), share), tags(), loss=nn.BCELoss(), metric=lambda o, t: exact(o - 0.5, t)
        ),
    ),
    ("probabilities into NLLLoss", "loss_implementation", lambda: classifier(share, loss=nn.NLLLoss())),
    ("logits into NLLLoss", "loss_implementation", lambda: classifier(loss=nn.NLLLoss())),
    ("sign of a log-likelihood", "loss_implementation", lambda: classifier(loss=of_right)),
    ("sign of a binary one", "loss_implementation", lambda: either(torch.sigmoid, probability_error, above_half)),
    ("softmax over rows in the loss", "loss_implementation", lambda: classifier(loss=over_rows)),
    (
        "(N) against (N, 1)",
        "loss_implementation",
        lambda: curve(lambda o: o[:, 0], loss=lambda o, t: ((o - t) ** 2).mean(), metric=flat_explained),
    ),
    (
        "(N, 1) against (N) in the step",
        "loss_implementation",
        lambda: stepping(curve(), update, shape=lambda t: t[:, 0]),
    ),
    ("sign in the step", "loss_implementation", lambda: stepping(curve(), update, sign=-1)),
    ("difference not squared", "loss_implementation", lambda: curve(loss=lambda o, t: (o - t).mean())),
    (
        "divided by the batch twice",
        "loss_implementation",
        lambda: by_hand(lambda o, t: F.cross_entropy(o, t) / len(t) ** 2),
    ),
    ("sum for mean", "loss_implementation", lambda: by_hand(lambda o, t: 8 * F.cross_entropy(o, t, reduction="sum"))),
    (
        "cross-entropy of tags",
        "loss_mismatch",
        lambda: program(network(12, 64, 4), tags(), loss=nn.CrossEntropyLoss(), metric=exact),
    ),
    ("cross-entropy of one output", "loss_mismatch", lambda: either(loss=nn.CrossEntropyLoss())),
    (
        "one output for five targets",
        "wrong_units",
        lambda: program(
            network(12, 64, 1),
            one_hot(),
            loss=lambda o, t: ((o - t) ** 2).mean(),
            metric=lambda o, t: largest(o.expand_as(t), t),
        ),
    ),
    (
        "argmax over rows",
        "metric_wrong",
        lambda: classifier(metric=lambda o, t: (o.argmax(0)[:1] == t).float().mean().item()),
    ),
    ("pairs compared", "metric_wrong", lambda: either(metric=lambda o, t: signed(o, t[:, 0]))),
    ("an error as a score", "metric_wrong", lambda: classifier(metric=lambda o, t: 1 - accuracy(o, t))),
    (
        "argmax of one output",
        "metric_wrong",
        lambda: either(metric=lambda o, t: (o.argmax(1) == t[:, 0]).float().mean().item()),
    ),
    ("probabilities read as logits", "metric_wrong", lambda: either(torch.sigmoid, nn.BCELoss(), signed)),
    (".data between two parts", "graph_cut", lambda: program(Between(lambda h: h.data), groups())),
    ("numbers between two parts", "graph_cut", lambda: program(Between(without_gradient), groups())),
    ("rounding between two parts", "graph_cut", lambda: program(Between(lambda h: (4 * h).round()), groups())),
    (
        "a loss of argmax",
        "graph_cut",
        lambda: classifier(loss=lambda o, t: (o.argmax(1) != t).float().mean().requires_grad_()),
    ),
    ("no backward", "graph_cut", only_counted),
    ("head put in after the optimiser", "frozen_parameters", head_replaced),
    (
        "cleared before the update",
        "frozen_parameters",
        lambda: stepping(classifier(), lambda m, o: (o.zero_grad(), o.step())),
    ),
    ("no update", "frozen_parameters", lambda: stepping(classifier(), lambda m, o: None)),
    ("cleared every tenth step", "zero_grad_missing", cleared_seldom),
    ("dropout as a function", "mode_misuse", lambda: program(AlwaysDropping(), groups())),
    ("validation in training mode", "mode_misuse", validated_in_training),
    ("values clipped to 1e-5", "gradient_clip", cut_short),
    ("rows read as time", "batch_contamination", lambda: program(Recurrent(turned=False), groups())),
    ("outputs centred over rows", "batch_contamination", lambda: classifier(lambda o: o - o.mean(0))),
    ("log-softmax over rows", "batch_contamination", lambda: classifier(lambda o: o.log_softmax(0), loss=nn.NLLLoss())),
    ("infinite inputs", "non_finite_data", lambda: holed("inputs")),
    ("targets that are NaN", "non_finite_data", lambda: holed("targets")),
]


@pytest.mark.parametrize(("illness", "make"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_faults_are_named_and_nothing_else(illness, make):
    assert found(make) == {illness}


# ------------------------------------------------------------------------------------------------------- nothing is wrong


def focal(out: Tensor, target: Tensor) -> Tensor:
    rows = F.cross_entropy(out, target, reduction="none")
    return ((1 - (-rows).exp()) ** 2 * rows).mean()


def overlap(out: Tensor, target: Tensor) -> Tensor:
    p = out.sigmoid()
    share = (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    return 1 - share + F.binary_cross_entropy_with_logits(out, target)


def pinball(out: Tensor, target: Tensor) -> Tensor:
    return torch.maximum(0.7 * (target - out), 0.3 * (out - target)).mean()


def clipped_adam() -> Made:
    def after(model: Any, optimizer: Any) -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()

    return stepping(classifier(), after)


def mixed() -> Made:
    def step(model: Any, loss: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        part, other = float(torch.rand(())), torch.randperm(len(x))
        optimizer.zero_grad()
        out = model(part * x + (1 - part) * x[other])
        value = part * loss(out, y) + (1 - part) * loss(out, y[other])
        value.backward()
        optimizer.step()
        return value.detach()

    return classifier() | {"train_step": step}


def penalised() -> Made:
    def step(model: Any, loss: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        value = loss(model(x), y) + 1e-5 * sum(p.abs().sum() for p in model.parameters())
        value.backward()
        optimizer.step()
        return value.detach()

    return classifier() | {"train_step": step}


def uphill_first() -> Made:
    """Two backward passes a step (sharpness-aware)."""

    def step(model: Any, loss: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        value = loss(model(x), y)
        value.backward()
        norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        moves = [0.02 * p.grad / norm for p in model.parameters()]
        with torch.no_grad():
            for p, move in zip(model.parameters(), moves):
                p.add_(move)
        optimizer.zero_grad()
        loss(model(x), y).backward()
        with torch.no_grad():
            for p, move in zip(model.parameters(), moves):
                p.sub_(move)
        optimizer.step()
        optimizer.zero_grad()
        return value.detach()

    return classifier() | {"train_step": step}


class Writer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru, self.head = nn.Embedding(7, 32), nn.GRU(32, 64, batch_first=True), nn.Linear(64, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(self.embed(x))[0])


def tokens(ignored: bool) -> Made:
    x = torch.randint(0, 7, (300, 8))
    y = (x + torch.cat([x[:, :1], x[:, :-1]], 1)) % 7
    if ignored:
        y[:, ::2] = -100
    return program(
        Writer(),
        (x, y),
        loss=lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten()),
        metric=lambda o, t: (o.argmax(-1) == t)[t >= 0].float().mean().item(),
        epochs=30,
    )


def pictures() -> Made:
    x = torch.randn(200, 1, 8, 8)
    y = (F.avg_pool2d(x, 3, 1, 1)[:, 0] > 0).long()
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 2, 3, padding=1))
    return program(model, (x, y))


class Placed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.place, self.body = nn.Parameter(0.1 * torch.randn(12), requires_grad=False), network(12, 64, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x + self.place)


def counts() -> Made:
    x, y = waves()
    number = torch.poisson((y + 1).exp(), generator=torch.Generator().manual_seed(0))
    metric = lambda o, t: explained(o.exp(), t)  # noqa: E731
    return program(network(4, 64, 1), (x, number), loss=nn.PoissonNLLLoss(), metric=metric, epochs=20)


def whole_numbers() -> Made:
    x, y = waves()
    metric = lambda o, t: flat_explained(o, t / 10)  # noqa: E731
    loss = lambda o, t: F.mse_loss(o, t.float() / 10)  # noqa: E731
    return program(network(4, 64, 64, 1), (x, (10 * y).round().long()), loss=loss, metric=metric, epochs=30)


def two_sided(loss: Any, function: Callable[[Tensor], Tensor]) -> Made:
    x, y = halves()
    metric = lambda o, t: ((o > 0) == (t > 0)).float().mean().item()  # noqa: E731
    return program(Then(network(12, 64, 1), function), (x, 2 * y - 1), loss=loss, metric=metric)


def uncertain() -> Made:
    def loss(out: Tensor, target: Tensor) -> Tensor:
        return F.gaussian_nll_loss(out[:, :1], target, out[:, 1:].exp() + 1e-3)

    return program(network(4, 64, 64, 2), waves(), loss=loss, metric=lambda o, t: explained(o[:, :1], t), epochs=30)


def again(noise: float, function: Callable[[Tensor], Tensor], loss: Any) -> Made:
    """An autoencoder."""
    x = groups()[0]
    x = torch.sigmoid(x) if noise == 0 else x
    return program(Then(network(12, 64, 12), function), (x + noise * torch.randn_like(x), x), loss=loss, epochs=30)


def smoothed_targets() -> Made:
    x, y = one_hot()
    loss = nn.KLDivLoss(reduction="batchmean")
    return program(Then(network(12, 64, 5), lambda o: o.log_softmax(1)), (x, 0.9 * y + 0.02), loss=loss, metric=largest)


def weighed() -> Made:
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 3.0, 1.0]))
    return program(network(12, 64, 4), tags(), loss=loss, metric=exact)


RIGHT: list[tuple[str, Callable[[], Made]]] = [
    ("label smoothing", lambda: classifier(loss=nn.CrossEntropyLoss(label_smoothing=0.1))),
    ("focal loss", lambda: classifier(loss=focal)),
    ("log-softmax and NLLLoss", lambda: classifier(lambda o: o.log_softmax(1), loss=nn.NLLLoss())),
    ("divergence from soft targets", smoothed_targets),
    (
        "one yes or no for each of several classes",
        lambda: program(network(12, 64, 5), one_hot(), loss=nn.BCEWithLogitsLoss(), metric=largest),
    ),
    ("weighed tags", weighed),
    ("overlap of sets", lambda: either(loss=overlap)),
    ("root of the squared error", lambda: curve(loss=lambda o, t: F.mse_loss(o, t).sqrt())),
    ("a quantile", lambda: curve(loss=pinball)),
    ("a mean and a variance", uncertain),
    ("counts", counts),
    ("whole numbers that are measurements", whole_numbers),
    (
        "softplus for positive values",
        lambda: curve(F.softplus, data=(waves()[0], waves()[1].exp()), loss=nn.SmoothL1Loss()),
    ),
    ("−1 and 1 behind tanh", lambda: two_sided(nn.MSELoss(), torch.tanh)),
    ("−1 and 1 with a margin", lambda: two_sided(lambda o, t: (1 - o * t).clamp(min=0).mean(), lambda o: o)),
    ("capped logits", lambda: classifier(lambda o: 30 * torch.tanh(o / 30))),
    ("minus the error as a score", lambda: curve(metric=lambda o, t: -F.mse_loss(o, t).item())),
    ("(N) outputs and targets", lambda: curve(lambda o: o[:, 0], data=flat(waves()), metric=flat_explained)),
    ("clipping under Adam", clipped_adam),
    ("mixed rows", mixed),
    ("a penalty in the step", penalised),
    ("two passes a step", uphill_first),
    ("a token at each place", lambda: tokens(ignored=False)),
    ("places that do not count", lambda: tokens(ignored=True)),
    ("a class for each pixel", pictures),
    ("probabilities given back", lambda: again(0.0, torch.sigmoid, nn.BCELoss())),
    ("noise taken out", lambda: again(0.3, lambda o: o, nn.MSELoss())),
    ("time first, turned first", lambda: program(Recurrent(turned=True), groups())),
    ("fixed positions", lambda: program(Placed(), groups())),
    (
        "normalised weights",
        lambda: program(
            nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(12, 64)), nn.ReLU(), nn.Linear(64, 5)),
            groups(),
        ),
    ),
]


@pytest.mark.parametrize("make", [right[1] for right in RIGHT], ids=[right[0] for right in RIGHT])
def test_what_is_only_unusual_is_not_named(make):
    assert found(make) == set()


def test_specimens_of_the_code_rules_are_silent_for_each_other():
    """A well specimen is well for every rule of the stage, not only for its own."""
    rules = [module for module in diagnose._modules() if module.STAGE == "code"]
    for module in rules:
        chart = Chart(from_function(module.well))
        assert not [rule.__name__ for rule in rules if rule.judge(chart) is not None], module.__name__


def mixing(make: Callable[[], Made]) -> tuple[str, list[str]]:
    """The last reason for `batch_contamination`, and the remedies."""
    (finding,) = (
        f for f in diagnose.check(from_function(lambda seed: make())).findings if f.illness == "batch_contamination"
    )
    return finding.evidence[-1], [remedy.name for remedy in finding.remedies]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: classifier(lambda o: o.log_softmax(0), loss=nn.NLLLoss()),
            "each column of exp of the outputs sums to 1",
        ),
        (
            lambda: classifier(nn.Softmax(dim=0)),
            "each column of the outputs sums to 1: the softmax has dim=0. Write dim=1",
        ),
        (lambda: classifier(lambda o: o - o.mean(0)), "look for what runs over the rows"),
    ],
)
def test_rows_that_influence_one_another_get_no_remedy_that_changes_nothing(
    make: Callable[[], Made], says: str
) -> None:
    said, remedies = mixing(make)
    assert says in said
    assert remedies == []


def test_rows_that_are_read_as_time_are_put_first() -> None:
    said, remedies = mixing(lambda: program(Recurrent(turned=False), groups()))
    assert "times their spread" in said
    assert remedies == ["batch_first"]
