"""Plain text with hidden words: the cross-entropy of each, and whether the second part of a row follows the first.

The loss is the mean over the hidden words plus the mean over the rows (Devlin et al. 2018, Appendix A.2), two means where a
`Turn` knows one sum and one count. It is the same to the last digit of arithmetic, however a batch is divided among
micro-batches and ranks: the count is that of the hidden words, n of them in N rows of the whole batch, and each row's own
cross-entropy is counted n / N times, which the source tells as ``per_row``. The sum over all parts, divided by n, is then
Σ words / n + Σ rows / N. The gradient is the same sum's.

A model from left to right is given rows in which nothing is hidden, and says each token that follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Goal, Sums, Turn, UserError
from seminal.pieces import next_token
from seminal.pieces.tokens import NOTHING

AT_ONCE = 8192  # tokens that are read together while scoring


@dataclass(frozen=True)
class MaskedLanguage:
    """``batch["input"]`` (B, S) and ``batch["target"]`` (B, S), −100 where nothing has to be said; with ``next`` (B,) also
    whether B follows A. ``model(input, places)`` gives logits (n, V) of the n places where something has, and (B, 2)."""

    @property
    def goal(self) -> Goal:
        return Goal("perplexity", higher=False)

    def fitted(self, spec: DataSpec) -> Self:
        if spec.kind != "documents":
            raise UserError(
                f"{spec.name} is {spec.form}, and hidden words are learned from plain text: give a .txt file with an empty "
                "line between two documents, or a folder of text files."
            )
        return self

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters())}

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        words, target, follows = _said(model, batch)
        loss = next_token.losses(words, target).sum()
        if follows is not None:
            loss = loss + (batch["per_row"] * _rows_losses(follows, batch["next"])).sum()
        yield Turn("model", loss, torch.tensor(len(target), device=loss.device))

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        sums = torch.zeros(3, dtype=torch.float64, device=batch["input"].device)
        rows = torch.zeros_like(sums)
        for part in _parts(batch):
            words, target, follows = _said(model, part)
            loss = next_token.losses(words, target).sum(dtype=torch.float64)
            sums += torch.stack([sums.new_tensor(len(target)), loss, (words.argmax(-1) == target).sum().double()])
            if follows is not None:
                loss = _rows_losses(follows, part["next"]).sum(dtype=torch.float64)
                hits = (follows.argmax(-1) == part["next"]).sum().double()
                rows += torch.stack([rows.new_tensor(len(follows)), loss, hits])
        return {"words": sums, "rows": rows}

    def summary(self, sums: Sums) -> dict[str, float]:
        """``loss`` in nats, as in training; ``perplexity`` and ``accuracy`` of the hidden words. Where rows have two parts,
        the loss is ``word_loss`` and ``next_loss`` together, and ``next_accuracy`` is of the rows."""
        (words, loss, hits), (rows, next_loss, right) = sums["words"].tolist(), sums["rows"].tolist()
        of_words = loss / max(1, words)
        found = {"perplexity": next_token.perplexity(of_words), "accuracy": hits / max(1, words)}
        if not rows:
            return {"loss": of_words, **found}
        parts = {"word_loss": of_words, "next_loss": next_loss / rows, "next_accuracy": right / rows}
        return {"loss": of_words + next_loss / rows, **found, **parts}

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """``loss`` (B, S): nats of each hidden word, 0 elsewhere; ``token`` (B, S): the most probable there."""
        loss, token = torch.zeros(batch["target"].shape, device=batch["target"].device), batch["target"].clone()
        for part in _parts(batch | {"loss": loss, "token": token}):
            words, target, _ = _said(model, part)
            hidden = part["target"] != NOTHING
            part["loss"][hidden] = next_token.losses(words, target)
            part["token"][hidden] = words.argmax(-1)
        return {"loss": loss, "token": token}


def _said(model: Any, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits (n, V) of the hidden words, the words (n,), and logits (B, 2) where the batch and the model know of them."""
    hidden = batch["target"] != NOTHING
    words, follows = model(batch["input"], hidden)
    return words, batch["target"][hidden], follows if "next" in batch else None


def _rows_losses(follows: Tensor, wanted: Tensor) -> Tensor:
    """(B,) cross-entropies in nats."""
    return F.cross_entropy(follows.float(), wanted, reduction="none")


def _parts(batch: Batch) -> Iterator[Batch]:
    """The rows in parts whose logits fit into memory."""
    rows, width = batch["input"].shape
    step = max(1, AT_ONCE // max(1, width))
    for first in range(0, rows, step):
        yield {name: values[first : first + step] for name, values in batch.items()}
