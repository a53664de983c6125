"""Which of several texts is the right one: cross-entropy over their scores, and the share that is found (Devlin et al. 2018,
Sec. 4.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch.nn.functional as F
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Goal, Sums, Turn, UserError
from seminal.pieces import next_token


@dataclass(frozen=True)
class Choice:
    """``batch["input"]`` (B, C, S), C texts in each row, and ``batch["target"]`` (B,), the place of the right one; the model
    gives a score for each, (B, C). With ``language`` λ all their words are to be said too, and the cost is added (Radford et
    al. 2018, Eq. 5); see `seminal.pieces.next_token.beside`."""

    classes: int = 0  # C
    language: float = 0.0  # λ

    @property
    def goal(self) -> Goal:
        return Goal("accuracy", higher=True)

    def fitted(self, spec: DataSpec) -> Self:
        if spec.kind != "choices":
            raise UserError(
                f"{spec.name} is {spec.form}, and a choice needs several endings in each row: a table with the columns "
                "context, choice0, choice1 … and label."
            )
        return replace(self, classes=len(spec.classes))

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters())}

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        scores, said = next_token.beside(model, batch["input"], self.language)
        loss = (_losses(scores, batch["target"]) + said).sum()
        yield Turn("model", loss, loss.new_tensor(len(batch["target"])))

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        scores, target = model(batch["input"]), batch["target"]
        return {
            "rows": scores.new_tensor(len(target)).double(),
            "loss": _losses(scores, target).sum().double(),
            "hits": (scores.argmax(1) == target).sum().double(),
        }

    def summary(self, sums: Sums) -> dict[str, float]:
        """``loss`` in nats and ``accuracy``, means over rows."""
        return {"loss": float(sums["loss"] / sums["rows"]), "accuracy": float(sums["hits"] / sums["rows"])}

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """``probability`` (B, C)."""
        return {"probability": model(batch["input"]).float().softmax(1)}


def _losses(scores: Tensor, target: Tensor) -> Tensor:
    """(B,)"""
    return F.cross_entropy(scores.float(), target, reduction="none")
