"""One or more numbers per row: squared, absolute or Huber loss; R², mean absolute error, sum of squared errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Goal, Sums, Turn, UserError
from seminal.pieces import next_token

LOSSES = ("mse", "mae", "huber")


@dataclass(frozen=True)
class Regression:
    """``batch["input"]`` → values (batch, targets); ``batch["target"]`` (batch, targets), standardised with ``mean`` and
    ``std`` of the training split where these are given. Every metric is in the user's own units.

    With ``language`` λ the words of the row are to be said too, and their cost is added (Radford et al. 2018, Eq. 5); see
    `seminal.pieces.next_token.beside`."""

    loss: str = "mse"
    huber_delta: float = 1.0  # in standard deviations of the target
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    language: float = 0.0  # λ

    @property
    def goal(self) -> Goal:
        return Goal("r2", higher=True)

    def fitted(self, spec: DataSpec) -> Self:
        if spec.classes:
            raise UserError(
                f"{spec.name} has classes as targets ({', '.join(spec.classes[:3])} …), and this recipe predicts numbers. "
                "Use a model for classes (logistic, mlp, …), or `--task regression` if the classes are numbers."
            )
        if self.loss not in LOSSES:
            raise UserError(f"there is no loss `{self.loss}` for numbers. Write --loss {' or --loss '.join(LOSSES)}.")
        return replace(self, mean=spec.target_mean, std=spec.target_std)

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters())}

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        answer, said = next_token.beside(model, batch["input"], self.language)
        values, target = answer.float(), batch["target"]
        if values.shape != target.shape:
            raise ValueError(f"outputs are {tuple(values.shape)} and targets {tuple(target.shape)}: they must be alike")
        loss = self._losses(values, target).sum()
        if isinstance(said, Tensor):
            loss = loss + target.shape[1] * said.sum()  # the weight counts each number of a row
        yield Turn("model", loss, loss.new_tensor(target.numel()))

    def _losses(self, values: Tensor, target: Tensor) -> Tensor:
        """Of each number."""
        if self.loss == "huber":
            return F.huber_loss(values, target, reduction="none", delta=self.huber_delta)
        return {"mse": F.mse_loss, "mae": F.l1_loss}[self.loss](values, target, reduction="none")

    def _in_units(self, standardised: Tensor) -> Tensor:
        exact = standardised.double()  # before the mean is added: a float32 has seven digits
        return exact * exact.new_tensor(self.std) + exact.new_tensor(self.mean) if self.std else exact

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        values, target = model(batch["input"]).float(), batch["target"]
        losses = self._losses(values.double(), target.double())
        values, target = self._in_units(values), self._in_units(target)
        # The targets are shifted by the training mean before they are squared: the variance of large numbers survives.
        shifted = target - target.new_tensor(self.mean) if self.mean else target
        return {
            "rows": target.new_tensor(float(len(target))),
            "loss": losses.sum() / target.shape[1],
            "squared": (values - target).square().sum(0),
            "absolute": (values - target).abs().sum(0),
            "target": shifted.sum(0),
            "target_squared": shifted.square().sum(0),
        }

    def summary(self, sums: Sums) -> dict[str, float]:
        """R² = 1 − SSE / Σ(y − ȳ)², the mean over targets; ``mae`` and ``sse`` likewise in the user's units. Of a target
        that never changes R² is 1 where all is exact, else 0."""
        rows = sums["rows"]
        spread = sums["target_squared"] - sums["target"].square() / rows
        varies = spread > 1e-12 * sums["target_squared"]
        explained = torch.where(varies, 1 - sums["squared"] / spread, (sums["squared"] == 0).to(spread.dtype))
        return {
            "loss": float(sums["loss"] / rows),
            "r2": float(explained.mean()),
            "mae": float((sums["absolute"] / rows).mean()),
            "rmse": float((sums["squared"] / rows).sqrt().mean()),
            "sse": float(sums["squared"].sum()),
        }

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """``value`` (batch, targets), in the user's units."""
        return {"value": self._in_units(model(batch["input"]).float())}
