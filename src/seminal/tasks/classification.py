"""One class per row: cross-entropy on logits, accuracy, the confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Goal, Sums, Turn, UserError
from seminal.pieces import next_token

MOST_PAIRED = 1000  # classes of which each pair is counted: of more, the counts would need gigabytes
LOSSES = ("cross_entropy", "binary_cross_entropy")


@dataclass(frozen=True)
class Classification:
    """``batch["input"]`` → logits (batch, classes); ``batch["target"]`` (batch,) int64.

    A model with a single output for two classes is read as the log-odds of the second class, which is the same as the
    logits (0, output). A mixed batch (mixup, cutmix) brings ``other_target`` (batch,) and ``share`` (batch,), the weight
    of ``target``.

    With ``language`` λ the words of the row are to be said too, and their cost is added (Radford et al. 2018, Eq. 5); see
    `seminal.pieces.next_token.beside` for what the model must give then. It is a part of no score.

    A model with side heads gives (heads, batch, classes) in training, the main one first: the loss of each other head is
    added, times ``auxiliary``. In evaluation it gives the main head alone.
    """

    classes: int = 0
    loss: str = "cross_entropy"
    label_smoothing: float = 0.0  # ε: the target is (1 − ε) · one-hot + ε / classes
    balance: bool = False  # weigh each class by the inverse of its frequency in training
    class_weights: tuple[float, ...] = ()
    auxiliary: float = 0.0  # weight of the loss of each side head
    language: float = 0.0  # λ

    @property
    def goal(self) -> Goal:
        return Goal("top1", higher=True)

    def fitted(self, spec: DataSpec) -> Self:
        if not spec.classes:
            raise UserError(
                f"{spec.name} has numbers as targets, and this recipe separates classes. "
                "Use a model for regression (linear, mlp), or `--task classification`."
            )
        if self.loss not in LOSSES:
            raise UserError(f"there is no loss `{self.loss}` for classes. Write --loss {' or --loss '.join(LOSSES)}.")
        weights = self.class_weights
        if self.balance:
            total = sum(spec.class_counts)
            weights = tuple(total / (len(spec.classes) * count) for count in spec.class_counts)
        return replace(self, classes=len(spec.classes), class_weights=weights)

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters())}

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        answer, said = next_token.beside(model, batch["input"], self.language)
        logits = answer.float()
        main, *side = logits if logits.dim() == 3 else (logits,)
        task = self._of(main)
        loss, weight = task.losses(_both(main), batch)
        loss = loss + said
        for head in side:
            loss = loss + self.auxiliary * task.losses(_both(head), batch)[0]
        yield Turn("model", loss.sum(), weight.sum())

    def _of(self, main: Tensor) -> Self:
        """The task of a network with these outputs (batch, outputs): with one, which is the log-odds of the second class,
        both losses are the same number, that of `_both` under cross-entropy."""
        return replace(self, loss="cross_entropy") if main.shape[1] == 1 else self

    def losses(self, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Per row: the weighted loss, and the weight it counts with. Both (batch,)."""
        loss, weight = self._against(logits, batch["target"])
        if "share" in batch:
            other, other_weight = self._against(logits, batch["other_target"])
            share = batch["share"]
            return share * loss + (1 - share) * other, share * weight + (1 - share) * other_weight
        return loss, weight

    def _against(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        weights = logits.new_tensor(self.class_weights) if self.class_weights else None
        weight = torch.ones_like(logits[:, 0]) if weights is None else weights[target]
        if self.loss == "cross_entropy":
            smoothing = self.label_smoothing
            return F.cross_entropy(logits, target, weights, reduction="none", label_smoothing=smoothing), weight
        wanted = F.one_hot(target, logits.shape[1]).to(logits.dtype)
        wanted = wanted * (1 - self.label_smoothing) + self.label_smoothing / logits.shape[1]
        return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1) * weight, weight

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        main = _main(model, batch)
        return self._of(main).score_logits(_both(main), batch["target"])

    def score_probability(self, probability: Tensor, target: Tensor) -> Sums:
        """The same of probabilities (batch, classes): each class's own under binary cross-entropy, else shares of one."""
        alone = self.loss == "binary_cross_entropy"
        return self.score_logits(probability.logit(eps=1e-6) if alone else probability.clamp_min(1e-12).log(), target)

    def score_logits(self, logits: Tensor, target: Tensor) -> Sums:
        """The sums behind all metrics. The loss scored is the plain one of the paper, without label smoothing."""
        plain = replace(self, label_smoothing=0.0, class_weights=())
        loss, weight = plain._against(logits, target)
        top5 = logits.topk(min(5, logits.shape[1]), dim=1).indices
        hits = top5 == target[:, None]
        sums = {
            "rows": weight.sum().double(),
            "loss": loss.sum().double(),
            "top1": hits[:, 0].sum().double(),
            "top5": hits.sum().double(),
            "of_class": torch.bincount(target, minlength=self.classes).double(),
            "found": torch.bincount(target[hits[:, 0]], minlength=self.classes).double(),
        }
        if self.classes <= MOST_PAIRED:
            confusion = torch.bincount(target * self.classes + top5[:, 0], minlength=self.classes**2)
            sums["confusion"] = confusion.view(self.classes, self.classes).double()  # rows: true; columns: predicted
        return sums

    def summary(self, sums: Sums) -> dict[str, float]:
        """Means over rows. ``recall`` is the mean over classes of the share found (classes that occur)."""
        rows, of_class = sums["rows"], sums["of_class"]
        recalls = (sums["found"] / of_class)[of_class > 0]
        metrics = {"loss": sums["loss"] / rows, "top1": sums["top1"] / rows, "recall": recalls.mean()}
        if self.classes > 5:
            metrics["top5"] = sums["top5"] / rows
        return {name: float(value) for name, value in metrics.items()}

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """``probability`` (batch, classes)."""
        main = _main(model, batch)
        alone = self._of(main).loss == "binary_cross_entropy"
        return {"probability": main.sigmoid() if alone else _both(main).softmax(1)}


def _main(model: nn.Module, batch: Batch) -> Tensor:
    """(batch, outputs) in fp32, of the main head."""
    logits: Tensor = model(batch["input"]).float()
    return logits[0] if logits.dim() == 3 else logits


def _both(logits: Tensor) -> Tensor:
    """A single output is the log-odds of the second class: (batch, 1) -> (batch, 2)."""
    return F.pad(logits, (1, 0)) if logits.shape[1] == 1 else logits
