"""Plain text said from both sides: the cross-entropy of the word after each word, and of the word before it.

The two are added (Peters et al. 2018, Sec. 3.1), so an untrained model has a loss of about 2 log V.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Goal, Sums, Turn, UserError
from seminal.pieces import next_token
from seminal.pieces.tokens import NOTHING, PAD

AT_ONCE = 8192  # tokens that are read together while scoring


@dataclass(frozen=True)
class BothWays:
    """``batch["input"]`` (B, S), rows ``<s> … </s>``. ``model(input, after, before)`` gives logits (n, V) of the tokens that
    follow the n places ``after``, and (n, V) of those that come before the n places ``before``: each token is said from
    both sides, but for ``<s>`` and ``</s>``, which are said from one."""

    @property
    def goal(self) -> Goal:
        return Goal("perplexity", higher=False)

    def fitted(self, spec: DataSpec) -> Self:
        if spec.kind != "documents":
            raise UserError(
                f"{spec.name} is {spec.form}, and what comes before and after is learned from plain text: give a .txt file "
                "with an empty line between two documents, or a folder of text files."
            )
        return self

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters())}

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        (logits, after), (others, before) = _said(model, batch["input"])
        loss = next_token.losses(logits, after).sum() + next_token.losses(others, before).sum()
        yield Turn("model", loss, torch.tensor(len(after), device=loss.device))

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        """``sides`` (2, 3): of each direction how many tokens, their loss, and how many were right."""
        sums = torch.zeros(2, 3, dtype=torch.float64, device=batch["input"].device)
        for text in _parts(batch["input"]):
            sums += torch.stack([_counted(logits, true) for logits, true in _said(model, text)])
        return {"sides": sums}

    def summary(self, sums: Sums) -> dict[str, float]:
        """``loss`` in nats, of both directions together, as in training; ``forward_perplexity``, ``backward_perplexity`` and
        the mean of the two, ``perplexity``; ``accuracy`` over both."""
        counts, losses, hits = sums["sides"].T.tolist()
        nats = [loss / max(1, count) for loss, count in zip(losses, counts)]
        ahead, behind = (next_token.perplexity(one) for one in nats)
        found = {"loss": sum(nats), "perplexity": (ahead + behind) / 2}
        found |= {"forward_perplexity": ahead, "backward_perplexity": behind}
        return found | {"accuracy": sum(hits) / max(1, sum(counts))}

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """From the left: ``loss`` (B, S), nats of the token after each, and ``token`` (B, S), the most probable there; 0 and
        −100 where none follows."""
        found: list[tuple[Tensor, Tensor]] = []
        for text in _parts(batch["input"]):
            (logits, true), _ = _said(model, text)
            places = _after(text)
            loss, token = torch.zeros(text.shape, device=text.device), torch.full_like(text, NOTHING)
            loss[places], token[places] = next_token.losses(logits, true), logits.argmax(-1)
            found.append((loss, token))
        losses, tokens = zip(*found)
        return {"loss": torch.cat(losses), "token": torch.cat(tokens)}


def _counted(logits: Tensor, true: Tensor) -> Tensor:
    """(3,): tokens, nats, right ones."""
    loss = next_token.losses(logits, true).sum(dtype=torch.float64)
    return torch.stack([loss.new_tensor(len(true)), loss, (logits.argmax(-1) == true).sum().double()])


def _after(text: Tensor) -> Tensor:
    """(B, S): whether a token follows in the row."""
    places = torch.zeros_like(text, dtype=torch.bool)
    places[:, :-1] = text[:, 1:] != PAD
    return places


def _said(model: Any, text: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Logits (n, V) and the true tokens (n,), from the left and from the right."""
    after, before = _after(text), text != PAD
    before[:, :1] = False
    ahead, behind = model(text, after, before)
    return (ahead, text[before]), (behind, text[after])


def _parts(text: Tensor) -> Iterator[Tensor]:
    """Rows whose logits fit into memory together."""
    yield from text.split(max(1, AT_ONCE // max(1, text.shape[1])))
