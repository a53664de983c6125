"""A second opinion: what a plain, well-kept network makes of the same rows.

Three nets, each trained on two thirds of the training rows (at most `MOST`), answer for the third they have not seen;
all three together answer for the validation rows. The moment to stop is the one at which the unseen thirds are answered
best. Each has two hidden layers of ReLU units on standardised features (`DataFacts.x`; larger pictures are made smaller
first); targets of a regression are standardised too; Adam with a little decay of weights at 0.002 falls along a cosine.
Nothing is tuned to the program: it is a yardstick for what the data allow, not the best that could be reached. The
three are trained at once, as one net of stacked weights, because for nets so small it is the number of calls that
costs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seminal.doctor import glance
from seminal.doctor.data_facts import DataFacts, spaced
from seminal.doctor.program import undisturbed

MOST = 2000  # training rows
FOLDS, STEPS, BATCH, LOOKS = 3, 300, 64, 6
RATE, DECAY = 2e-3, 1e-2
WIDTH = 96
PIXELS = 16  # larger pictures are averaged down to so many on a side
SEED = 1234


@dataclass(frozen=True)
class Opinion:
    """What the plain network says. Scores are those of `standard_score`: accuracy, or R²."""

    kind: str  # see `seminal.doctor.anatomy`
    classes: int  # 0 where the answer is no class
    chance: float  # validation score of the best constant answer
    train_score: float  # on training rows which the nets had not seen
    val_score: float
    fit: float  # on the rows they learned from, at the end of training
    index: Tensor = field(repr=False)  # (n,) which training rows were used
    held_out: Tensor = field(repr=False)  # (n, outputs) answers for them, unseen: probabilities, or values
    val_outputs: Tensor = field(repr=False)  # (m, outputs) answers for the validation rows
    given: Tensor = field(repr=False)  # (n,) probability of the label that the row has; 1 where there are no classes
    confusion: Tensor = field(repr=False)  # (classes, classes) validation rows by their label and by the answer
    known: bool = True  # False: there is no opinion

    none: ClassVar[Opinion]

    def skill(self, score: float) -> float:
        """A score on the scale where the best constant answer has 0 and the right answers have 1."""
        return (score - self.chance) / max(1 - self.chance, 1e-6)


_NOTHING = torch.empty(0)
Opinion.none = Opinion("unknown", 0, 0.0, 0.0, 0.0, 0.0, _NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, known=False)


def on(facts: DataFacts) -> Opinion:
    """The opinion on these rows; `Opinion.none` where it is not known what is asked for."""
    if facts.goal is None or len(facts.val) < FOLDS or len(facts.group.unique()) < FOLDS:
        return Opinion.none
    index = spaced(torch.arange(len(facts.train)), MOST)
    with undisturbed():
        torch.manual_seed(SEED)
        asked = _Asked.of(facts, index)
        held_out, val_outputs, fit = _answers(asked, glance.folds(facts.group[index], FOLDS))
    return _told(facts, asked, index, held_out, val_outputs, fit)


def decided(outputs: Tensor, kind: str) -> Tensor | None:
    """(n,) the classes that any outputs name: the largest of several; of one column for two classes the side of one half
    where all lie between 0 and 1, else of 0; of one column for more, the nearest number. None where there are none."""
    outputs = outputs.detach().reshape(len(outputs), -1)
    if kind not in ("classes", "binary", "one_hot"):
        return None
    if outputs.shape[1] > 1:
        return outputs.argmax(1)
    return _above(outputs)[:, 0].long() if kind == "binary" else outputs[:, 0].round().long()


def _above(outputs: Tensor) -> Tensor:
    between = bool(((outputs >= 0) & (outputs <= 1)).all())
    return outputs > (0.5 if between else 0.0)


def standard_score(outputs: Tensor, targets: Tensor, kind: str) -> float:
    """Accuracy or R² of any outputs, so that a program and its reference stand on one scale. Classes are read as by
    `decided`, each column of several labels as two classes; R² is over all outputs together. NaN where shapes differ."""
    truth = targets.reshape(len(targets), -1)
    answers = decided(outputs, kind)
    if answers is not None:
        if kind == "one_hot":
            truth = truth.argmax(1, keepdim=True)
        elif kind == "binary":
            truth = (truth > (truth.min() + truth.max()) / 2).long()
        return float((answers == truth[:, 0]).double().mean())
    outputs = outputs.detach().reshape(len(outputs), -1)
    if outputs.shape != truth.shape:
        return math.nan
    if kind == "multi_label":
        return float((_above(outputs) == (truth > 0.5)).double().mean())
    outputs, truth = outputs.double(), truth.double()
    return 1 - float((outputs - truth).square().sum() / (truth - truth.mean(0)).square().sum().clamp_min(1e-300))


# ------------------------------------------------------------------------------------------------------ what is asked


@dataclass(frozen=True)
class _Asked:
    """Rows as the reference sees them."""

    x: Tensor  # (n, d) standardised features
    v: Tensor  # (m, d)
    y: Tensor  # (n,) classes, or (n, k) numbers of mean 0 and standard deviation 1, or (n, k) labels 0 and 1
    kind: str  # "classes", "multi_label" or "regression"
    outputs: int
    mean: Tensor  # (k,) of the targets
    std: Tensor

    @classmethod
    def of(cls, facts: DataFacts, index: Tensor) -> _Asked:
        assert facts.goal is not None
        x, v = _alike(_small(facts.x[index], facts), _small(spaced(facts.v, MOST), facts))
        goal = facts.goal[index]
        kind, outputs = ("classes" if facts.labels is not None else facts.kind), goal.shape[1]
        mean, std = torch.zeros(outputs), torch.ones(outputs)
        if kind == "classes":
            return cls(x, v, goal.argmax(1), kind, outputs, mean, std)
        if kind == "regression":
            mean, std = goal.mean(0), goal.std(0).clamp_min(1e-12)
            goal = (goal - mean) / std
        return cls(x, v, goal.float(), kind, outputs, mean.float(), std.float())

    def loss(self, out: Tensor, y: Tensor) -> Tensor:
        if self.kind == "classes":
            return F.cross_entropy(out, y)
        return F.mse_loss(out, y) if self.kind == "regression" else F.binary_cross_entropy_with_logits(out, y)

    def answer(self, out: Tensor) -> Tensor:
        """Outputs as probabilities, or as values on the targets' own scale."""
        if self.kind == "classes":
            return out.softmax(-1)
        return out * self.std + self.mean if self.kind == "regression" else out.sigmoid()


def _small(x: Tensor, facts: DataFacts) -> Tensor:
    """(n, d) features; of larger pictures the averages of neighbouring pixels."""
    shape = facts.train.inputs.shape[1:]
    if facts.tokens or len(shape) != 3 or min(shape[1:]) <= PIXELS:
        return x
    return F.adaptive_avg_pool2d(x.reshape(len(x), *shape), PIXELS).flatten(1)


def _alike(x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Features standardised with the training rows. Where there are many, those that hardly ever change are not blown up;
    no value is further than five standard deviations from the mean."""
    mean, std = x.mean(0), x.std(0)
    if x.shape[1] > 40:
        std = std + 0.1 * std.mean()
    x, v = (((part - mean) / std.clamp_min(1e-12)).clamp(-5, 5).float() for part in (x, v))
    return x, v


# --------------------------------------------------------------------------------------------------------- the answers


class _Stack(nn.Module):
    """The same layer `FOLDS` times, each with weights of its own, drawn as torch draws them."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        bound = inside**-0.5
        self.weight = nn.Parameter(torch.empty(FOLDS, inside, outside).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(FOLDS, 1, outside).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:  # (FOLDS, B, inside) -> (FOLDS, B, outside)
        return torch.baddbmm(self.bias, x, self.weight)


def _answers(asked: _Asked, fold: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Answers for unseen training rows and for validation rows, and for the rows that were learned."""
    nets = nn.Sequential(
        *(_Stack(asked.x.shape[1], WIDTH), nn.ReLU(), _Stack(WIDTH, WIDTH), nn.ReLU(), _Stack(WIDTH, asked.outputs))
    )
    unseen, later, row = [], [], torch.arange(len(asked.x))
    for _ in _training(nets, asked, fold):
        out, validation = _outputs(nets, asked.x), _outputs(nets, asked.v)
        unseen.append(out[fold, row])
        later.append(asked.answer(validation).mean(0))
    learned = torch.stack([out[(fold + k) % FOLDS, row] for k in range(1, FOLDS)])
    best = min(range(LOOKS), key=lambda look: float(asked.loss(unseen[look], asked.y)))
    return asked.answer(unseen[best]), later[best], asked.answer(learned).mean(0)


def _training(nets: nn.Module, asked: _Asked, fold: Tensor) -> Iterator[int]:
    """Trains; gives the word `LOOKS` times on the way."""
    batch = min(BATCH, max(8, len(fold) // 6))
    optimizer = torch.optim.AdamW(nets.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    order = torch.stack([_dealt((fold != k).nonzero().flatten(), STEPS * batch) for k in range(FOLDS)])
    for step, part in enumerate(order.split(batch, dim=1), start=1):
        optimizer.zero_grad()
        asked.loss(nets(asked.x[part]).flatten(0, 1), asked.y[part].flatten(0, 1)).backward()
        optimizer.step()
        schedule.step()
        if step % (STEPS // LOOKS) == 0:
            yield step


def _dealt(rows: Tensor, count: int) -> Tensor:
    """``count`` rows: all of them in a random order, again and again."""
    return torch.cat([rows[torch.randperm(len(rows))] for _ in range(-(-count // len(rows)))])[:count]


@torch.no_grad()
def _outputs(nets: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([nets(part.expand(FOLDS, -1, -1)) for part in x.split(1000)], dim=1)


def _told(facts: DataFacts, asked: _Asked, index: Tensor, held_out: Tensor, later: Tensor, seen: Tensor) -> Opinion:
    own, confusion, classes = torch.ones(len(index)), torch.empty(0), 0
    if facts.labels is not None:
        y, truth = asked.y, spaced(facts.labels[1], MOST)
        classes, wide = asked.outputs, max(asked.outputs, 1 + int(truth.max()))
        own = held_out.gather(1, y[:, None])[:, 0]
        confusion = torch.bincount(truth * wide + later.argmax(1), minlength=wide * wide).reshape(wide, wide)
        chance = float((truth == torch.bincount(y).argmax()).double().mean())
        scores = [float((out.argmax(1) == t).double().mean()) for out, t in ((held_out, y), (later, truth), (seen, y))]
    else:
        y, truth = asked.y * asked.std + asked.mean, spaced(facts.val.targets.reshape(len(facts.val), -1), MOST)
        usual = (asked.y.mean(0) > 0.5).double().expand(len(truth), -1)
        chance = standard_score(usual, truth, asked.kind) if asked.kind == "multi_label" else 0.0
        scores = [standard_score(out, t, asked.kind) for out, t in ((held_out, y), (later, truth), (seen, y))]
    train_score, val_score, fit = scores
    return Opinion(facts.kind, classes, chance, train_score, val_score, fit, index, held_out, later, own, confusion)
