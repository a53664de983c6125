"""Plain text: the cross-entropy of each token, given those before it.

A model without a state predicts each token from its own window alone, in training as in scoring. A model with a state
reads on from batch to batch in training; a split that is scored comes as a few long rows, which are walked from end to
end, each with enough of the text before it that the state is no longer empty where scoring begins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Goal, Sums, Turn, UserError
from seminal.pieces import next_token
from seminal.pieces.tokens import PAD, shifted

AT_ONCE = 8192  # tokens whose logits are held together while scoring


@dataclass(frozen=True)
class Language:
    """``batch["text"]`` (B, T + 1): the model reads all but the last and says all but the first; logits (B, T, V).

    With ``carried`` the model takes and gives a state as well, and a batch goes on where the one before it ended:
    back-propagation is cut off between them, what was read is not forgotten (truncated back-propagation through time).
    """

    carried: bool = False
    label_smoothing: float = 0.0  # ε: the target is (1 − ε) · one-hot + ε / V

    @property
    def goal(self) -> Goal:
        return Goal("perplexity", higher=False)

    def fitted(self, spec: DataSpec) -> Self:
        if spec.kind != "stream":
            raise UserError(
                f"{spec.name} is {spec.form}, and a language model learns from plain text: give a .txt file, or a folder "
                "with train.txt and valid.txt."
            )
        return self

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters())}

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        read, say = shifted(batch["text"])
        if self.carried:
            logits, state = model(read, batch.get("state"))
            carry = {"state": state.detach()}
        else:
            logits, carry = model(read), {}
        loss = next_token.losses(logits, say, self.label_smoothing).sum()
        yield Turn("model", loss, (say != PAD).sum(), carry)

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        """The loss is the plain one, without label smoothing."""
        say = _scored(batch)
        loss, hits = say.new_zeros((), dtype=torch.float64), say.new_zeros((), dtype=torch.float64)
        for rows, places, logits in self._parts(model, batch["text"]):
            some = say[rows, places]
            loss += next_token.losses(logits, some).sum(dtype=torch.float64)
            hits += ((logits.argmax(-1) == some) & (some != PAD)).sum()
        return {"tokens": (say != PAD).sum().double(), "loss": loss, "hits": hits}

    def summary(self, sums: Sums) -> dict[str, float]:
        """``loss`` in nats per token, ``bits`` per token, ``perplexity`` per token, ``accuracy`` of the next token."""
        loss = float(sums["loss"] / sums["tokens"])
        return {
            "loss": loss,
            "bits": loss / math.log(2),
            "perplexity": next_token.perplexity(loss),
            "accuracy": float(sums["hits"] / sums["tokens"]),
        }

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """``loss`` (B, T): nats of each token but the first, 0 where none is scored; ``token`` (B, T): the most probable
        there."""
        say = _scored(batch)
        loss, token = torch.zeros(say.shape, device=say.device), torch.zeros_like(say)
        for rows, places, logits in self._parts(model, batch["text"]):
            loss[rows, places] = next_token.losses(logits, say[rows, places]).view_as(say[rows, places])
            token[rows, places] = logits.argmax(-1)
        return {"loss": loss, "token": token}

    def _parts(self, model: nn.Module, text: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
        """Logits in parts that fit into memory: which rows, which places. A state walks along its rows; a model without
        one reads whole rows."""
        rows, length = len(text), text.shape[1] - 1
        if not rows or length < 1:
            return
        if not self.carried:
            step = max(1, AT_ONCE // length)
            for row in range(0, rows, step):
                some = slice(row, row + step)
                yield some, slice(None), model(text[some, :-1])
            return
        state, step = None, max(1, AT_ONCE // rows)
        for place in range(0, length, step):
            places = slice(place, min(place + step, length))
            logits, state = model(text[:, places], state)
            yield slice(None), places, logits


def _scored(batch: Batch) -> Tensor:
    """(B, T) the tokens to be said; padding where a row only reads what comes before its own part."""
    say = batch["text"][:, 1:]
    if "context" not in batch:
        return say
    places = torch.arange(say.shape[1], device=say.device)
    return say.masked_fill(places < batch["context"][:, None], PAD)
