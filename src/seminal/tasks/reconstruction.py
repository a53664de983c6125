"""The input itself as the target: cross-entropy of pixels or squared error, and the error of every row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import torch.nn.functional as F
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Goal, Sums, Turn, UserError
from seminal.pieces.latent import bernoulli

LOSSES = ("binary_cross_entropy", "mse")


@dataclass(frozen=True)
class Reconstruction:
    """``batch["input"]`` → outputs of the same shape: log-odds of the pixels under binary cross-entropy, the numbers
    themselves under squared error. Losses and errors are summed over the numbers of a row, and means over rows."""

    loss: str = "binary_cross_entropy"

    @property
    def goal(self) -> Goal:
        return Goal("squared_error", higher=False)

    def fitted(self, spec: DataSpec) -> Self:
        if self.loss not in LOSSES:
            raise UserError(f"there is no loss `{self.loss}` for inputs. Write --loss {' or --loss '.join(LOSSES)}.")
        return replace(self, loss="mse") if spec.kind == "table" else self  # the numbers of a table are not from 0 to 1

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters())}

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        loss = self._losses(model(batch["input"]).float(), batch["input"]).sum()
        yield Turn("model", loss, loss.new_tensor(float(len(batch["input"]))))

    def _losses(self, outputs: Tensor, x: Tensor) -> Tensor:
        """(batch,)"""
        if self.loss == "mse":
            return F.mse_loss(outputs, x, reduction="none").flatten(1).sum(1)
        return -bernoulli(x.flatten(1), outputs.flatten(1))

    def _given_back(self, outputs: Tensor) -> Tensor:
        return outputs if self.loss == "mse" else outputs.sigmoid()

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        outputs, x = model(batch["input"]).float(), batch["input"]
        return {
            "rows": x.new_tensor(float(len(x))).double(),
            "loss": self._losses(outputs, x).double().sum(),
            "squared_error": (self._given_back(outputs) - x).double().square().sum(),
        }

    def summary(self, sums: Sums) -> dict[str, float]:
        """Per row, summed over its numbers."""
        return {name: float(sums[name] / sums["rows"]) for name in ("loss", "squared_error")}

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """``anomaly`` (batch,): the squared error, the higher the stranger; ``latent`` (batch, code); ``reconstruction``:
        the row as the model gives it back."""
        encoder: Any = model
        back = self._given_back(model(batch["input"]).float())
        error = (back - batch["input"]).square().flatten(1).sum(1)
        return {"anomaly": error, "latent": encoder.encode(batch["input"]), "reconstruction": back}
