"""Three unlike problems, small enough to train in a test: rows of numbers, a game of two players, sentences by tokens.

They are written in the words of `seminal.core` alone, as a stranger would write them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Encoder, Goal, Optim, Order, Recipe, Sums, Task, Turn
from seminal.pieces.chance import RowChance, shuffled
from seminal.tasks.classification import Classification
from seminal.train.schedules import Constant


@dataclass(frozen=True)
class Net:
    """A config for models that are given as they are."""

    outputs: int = 3

    def fitted(self, spec: DataSpec) -> Net:
        return replace(self, outputs=spec.outputs)


@dataclass
class Rows:
    """A source over tensors; ``noise`` is added in training, drawn per row."""

    splits: dict[str, dict[str, Tensor]]
    spec: DataSpec

    def encoder(self, scaling: str) -> Encoder:
        raise AssertionError("these tests have no files to read")

    def steps(self, order: Order) -> int:
        rows = len(self.splits[order.split]["input"])
        return -(-rows // order.batch)

    def batches(self, order: Order) -> Iterator[Batch]:
        data = self.splits[order.split]
        rows = len(data["input"])
        index = shuffled(rows, order.seed, order.epoch) if order.shuffle else torch.arange(rows)
        for step in range(order.start, self.steps(order)):
            mine = index[step * order.batch : (step + 1) * order.batch][order.rank :: order.world]
            batch = {name: values[mine] for name, values in data.items()} | {"index": mine}
            for augment in order.augment:
                batch = augment(batch, RowChance(order.seed, order.epoch, mine))
            yield batch

    def name(self, split: str, index: int) -> str:
        return f"{split}:{index}"


@dataclass(frozen=True)
class Noise:
    std: float = 0.1

    def __call__(self, batch: Batch, chance: RowChance) -> Batch:
        noise = chance.normal(0, batch["input"][0].numel()).view_as(batch["input"])
        return batch | {"input": batch["input"] + self.std * noise}


def three_clouds(rows: int = 240, features: int = 4) -> Rows:
    """Three Gaussian clouds."""
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(rows) % 3
    centre = torch.randn(3, features, generator=generator)
    points = centre[target] + 0.3 * torch.randn(rows, features, generator=generator)
    cut = rows * 3 // 4
    splits = {
        "train": {"input": points[:cut], "target": target[:cut]},
        "val": {"input": points[cut:], "target": target[cut:]},
    }
    counts = {"train": cut, "val": rows - cut}
    spec = DataSpec("clouds", "table", counts, (features,), ("a", "b", "c"), (cut // 3,) * 3)
    return Rows(splits, spec)


def recipe(task: Task, **changes: object) -> Recipe:
    """A short recipe of plain SGD."""
    plain = Recipe("test", "net", Net(), task, 3, 16, 0.1, Optim("sgd", momentum=0.9), Constant())
    return replace(plain, **changes)  # type: ignore[arg-type]


def mlp(features: int = 4, outputs: int = 3, *, norm: bool = True, dropout: float = 0.2, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Linear(features, 16), nn.BatchNorm1d(16) if norm else nn.Identity(), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(16, outputs))


# --------------------------------------------------------------------------------------------- a game of two players


class Game(nn.Module):
    """A generator of points on a line and a critic."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
        self.critic = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 1))


@dataclass(frozen=True)
class Adversarial:
    """Goodfellow et al. 2014, Algorithm 1 with k = 1 and the non-saturating loss."""

    seen: list[float] = field(default_factory=list)  # the critic's weight sum at each turn, for the test

    @property
    def goal(self) -> Goal:
        return Goal("distance", higher=False)

    def fitted(self, spec: DataSpec) -> Adversarial:
        return self

    def players(self, model: Game) -> dict[str, list[nn.Parameter]]:
        return {"critic": list(model.critic.parameters()), "generator": list(model.generator.parameters())}

    def turns(self, model: Game, batch: Batch) -> Iterator[Turn]:
        count = torch.tensor(float(len(batch["input"])))
        fake = model.generator(torch.randn(len(batch["input"]), 2))
        real_loss = F.softplus(-model.critic(batch["input"])).sum()
        self.seen.append(float(model.critic[0].weight.detach().sum()))
        yield Turn("critic", real_loss + F.softplus(model.critic(fake.detach())).sum(), count)
        self.seen.append(float(model.critic[0].weight.detach().sum()))
        yield Turn("generator", F.softplus(-model.critic(fake)).sum(), count)

    def score(self, model: Game, batch: Batch) -> Sums:
        fake = model.generator(torch.randn(len(batch["input"]), 2))
        return {"rows": torch.tensor(float(len(fake))), "real": batch["input"].sum(), "fake": fake.sum()}

    def summary(self, sums: Sums) -> dict[str, float]:
        return {"distance": float((sums["real"] - sums["fake"]).abs() / sums["rows"])}

    def predict(self, model: Game, batch: Batch) -> dict[str, Tensor]:
        return {"sample": model.generator(torch.randn(len(batch["input"]), 2))}


def points_around(centre: float = 3.0, rows: int = 512) -> Rows:
    values = centre + 0.5 * torch.randn(rows, 1, generator=torch.Generator().manual_seed(1))
    counts = {"train": rows, "val": rows}
    return Rows({"train": {"input": values}, "val": {"input": values}}, DataSpec("line", "table", counts, (1,)))


# --------------------------------------------------------------------------------- sentences, in batches of so many tokens


@dataclass
class Sentences:
    """Sequences of unlike lengths; ``order.batch`` counts tokens, padding included. A sentence counts upwards by one
    (modulo the vocabulary), so the next token is known."""

    lengths: list[int]
    vocabulary: int = 7

    @property
    def spec(self) -> DataSpec:
        counts = {"train": len(self.lengths), "val": len(self.lengths)}
        return DataSpec(
            "counting", "text", counts, vocabulary={"text": self.vocabulary}, longest={"text": max(self.lengths)}
        )

    def encoder(self, scaling: str) -> Encoder:
        raise AssertionError("these tests have no files to read")

    def _buckets(self, order: Order) -> list[list[int]]:
        rows = (
            shuffled(len(self.lengths), order.seed, order.epoch).tolist() if order.shuffle else range(len(self.lengths))
        )
        buckets: list[list[int]] = [[]]
        for row in rows:
            longest = max([self.lengths[row], *(self.lengths[r] for r in buckets[-1])])
            if buckets[-1] and longest * (len(buckets[-1]) + 1) > order.batch:
                buckets.append([])
            buckets[-1].append(row)
        return buckets

    def steps(self, order: Order) -> int:
        return len(self._buckets(order))

    def batches(self, order: Order) -> Iterator[Batch]:
        for rows in self._buckets(order)[order.start :]:
            mine = rows[order.rank :: order.world]
            longest = max(self.lengths[r] for r in mine)
            text = torch.full((len(mine), longest + 1), -100)
            for i, r in enumerate(mine):
                text[i, : self.lengths[r] + 1] = (r + torch.arange(self.lengths[r] + 1)) % self.vocabulary
            yield {"input": text[:, :-1].clamp(min=0), "target": text[:, 1:], "index": torch.tensor(mine)}

    def name(self, split: str, index: int) -> str:
        return f"sentence {index + 1}"


class NextToken(nn.Module):
    def __init__(self, vocabulary: int = 7) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 8)
        self.recur = nn.GRU(8, 16, batch_first=True)
        self.out = nn.Linear(16, vocabulary)

    def forward(self, text: Tensor) -> Tensor:
        return self.out(self.recur(self.embed(text))[0])


@dataclass(frozen=True)
class LanguageModel:
    @property
    def goal(self) -> Goal:
        return Goal("perplexity", higher=False)

    def fitted(self, spec: DataSpec) -> LanguageModel:
        return self

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters())}

    def _loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        logits = model(batch["input"]).flatten(0, 1)
        target = batch["target"].flatten()
        return F.cross_entropy(logits, target, reduction="sum", ignore_index=-100), (target >= 0).sum()

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        yield Turn("model", *self._loss(model, batch))

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        loss, tokens = self._loss(model, batch)
        return {"loss": loss, "tokens": tokens}

    def summary(self, sums: Sums) -> dict[str, float]:
        return {"perplexity": math.exp(float(sums["loss"] / sums["tokens"]))}

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"token": model(batch["input"]).argmax(-1)}


CLASSES = Classification(classes=3)
