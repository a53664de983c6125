"""A density without its normaliser, learned by telling rows from noise: noise-contrastive estimation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Goal, Sums, Turn, UserError
from seminal.pieces.chance import RowChance
from seminal.pieces.contrast import log_odds, noise_losses, real_losses
from seminal.pieces.draws import Draw
from seminal.pieces.latent import gaussian


@dataclass(frozen=True)
class Contrast:
    """``batch["input"]`` (B, n) → ln p_m (B, 1). The noise is standard normal, as inputs of mean 0 and spread 1 nearly are.

    A row's loss is −ln h(x) − Σ ln(1 − h(y)) over its noise rows y: with one of them, −2 J of Gutmann and Hyvärinen 2010.
    """

    ratio: int = 1  # ν, noise rows for each row

    @property
    def goal(self) -> Goal:
        return Goal("loss", higher=False)

    def fitted(self, spec: DataSpec) -> Self:
        if self.ratio < 1:
            raise UserError(f"{self.ratio} noise rows for each row tell nothing apart: write 1 or more.")
        return self

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters())}

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        x = batch["input"].flatten(1)
        real, noise, _ = self._losses(model, x, torch.randn(self.ratio * len(x), x.shape[1], device=x.device))
        loss = real.sum() + noise.sum()
        yield Turn("model", loss, loss.new_tensor(float(len(x))))

    def _losses(self, model: nn.Module, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of rows and of noise rows; and ln p_m of rows and noise rows."""
        both = torch.cat([x, noise])
        density = model(both)[:, 0].float()
        odds = log_odds(density, gaussian(both, torch.zeros_like(both), torch.zeros_like(both)), self.ratio)
        return real_losses(odds[: len(x)]), noise_losses(odds[len(x) :]), density

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        """The noise belongs to the row: the same weights give the same numbers."""
        x = batch["input"].flatten(1)
        noise = RowChance(0, 0, batch["index"]).normal(Draw.NOISE_ROW, self.ratio * x.shape[1]).view(-1, x.shape[1])
        real, wrong, density = self._losses(model, x, noise)
        return {
            "rows": real.new_tensor(float(len(x))).double(),
            "loss": real.double().sum() + wrong.double().sum(),
            "log_density": density[: len(x)].double().sum(),
        }

    def summary(self, sums: Sums) -> dict[str, float]:
        """Nats per row. ``log_density`` is a log-likelihood as far as the learned normaliser is right."""
        return {name: float(sums[name] / sums["rows"]) for name in ("loss", "log_density")}

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """``log_density`` (B,): ln p_m, the lower the stranger the row."""
        return {"log_density": model(batch["input"].flatten(1))[:, 0]}
