"""Sentences to sentences: the cross-entropy of each next token, given the true ones before it (teacher forcing).

The score of a validation split is BLEU over tokens: cheap, exact over batches and devices, and good for choosing between
epochs. It is no BLEU to publish, because it depends on how text is cut into tokens; `seminal eval` gives sacreBLEU.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Goal, Sums, Turn, UserError
from seminal.decode.rules import translating
from seminal.decode.sampling import write
from seminal.pieces import next_token
from seminal.pieces.tokens import PAD, of_text, shifted

ORDERS = 4  # BLEU counts runs of 1 to 4 tokens (Papineni et al. 2002)


@dataclass(frozen=True)
class Translation:
    """``batch["source"]`` (B, S) and ``batch["target"]`` (B, T + 1), ``<s> … </s>``; the model gives logits (B, T, V)."""

    label_smoothing: float = 0.0  # ε: the target is (1 − ε) · one-hot + ε / V

    @property
    def goal(self) -> Goal:
        return Goal("bleu_tokens", higher=True)

    def fitted(self, spec: DataSpec) -> Self:
        if spec.kind != "pairs":
            raise UserError(
                f"{spec.name} is {spec.form}, and translation needs sentence pairs: see `seminal train --help`."
            )
        return self

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters())}

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        read, say = shifted(batch["target"])
        logits = model(batch["source"], read)
        loss = next_token.losses(logits, say, self.label_smoothing).sum()
        yield Turn("model", loss, (say != PAD).sum())

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        """The loss is the plain one, without label smoothing."""
        read, say = shifted(batch["target"])
        logits = model(batch["source"], read)
        real = say != PAD
        found, wanted = ([of_text(row) for row in side.tolist()] for side in (self.predict(model, batch)["token"], say))
        return {
            "tokens": real.sum().double(),
            "loss": next_token.losses(logits, say).sum().double(),
            "hits": ((logits.argmax(-1) == say) & real).sum().double(),
            "bleu": bleu_sums(found, wanted).to(say.device),
        }

    def summary(self, sums: Sums) -> dict[str, float]:
        """``loss`` in nats per token, ``perplexity`` per token, ``accuracy`` of the next, ``bleu_tokens`` (0 to 100)."""
        loss = float(sums["loss"] / sums["tokens"])
        return {
            "loss": loss,
            "perplexity": next_token.perplexity(loss),
            "accuracy": float(sums["hits"] / sums["tokens"]),
            "bleu_tokens": bleu(sums["bleu"]),
        }

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """``token`` (B, n): the greedy translation."""
        return {"token": write(model, batch["source"], *translating(batch["source"])).tokens[:, 0]}  # type: ignore[arg-type]


def bleu_sums(found: Sequence[Sequence[int]], true: Sequence[Sequence[int]]) -> Tensor:
    """(2 + 2 · 4,) what BLEU is made of, to be added over sentences: both lengths, then for each length of run the number
    found that is in the reference, and the number found."""
    sums = torch.zeros(2 + 2 * ORDERS, dtype=torch.float64)
    for mine, other in zip(found, true, strict=True):
        sums[0] += len(mine)
        sums[1] += len(other)
        for n in range(1, ORDERS + 1):
            runs, known = _runs(mine, n), _runs(other, n)
            sums[2 * n] += sum((runs & known).values())
            sums[2 * n + 1] += sum(runs.values())
    return sums


def _runs(tokens: Sequence[int], n: int) -> Counter[tuple[int, ...]]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def bleu(sums: Tensor) -> float:
    """Corpus BLEU from 0 to 100 (Papineni et al. 2002, Sec. 2.3): geometric mean of the shares, times the brevity penalty."""
    length, wanted, *counts = sums.tolist()
    if min(counts[::2]) == 0:
        return 0.0
    mean = sum(math.log(hits / total) for hits, total in zip(counts[::2], counts[1::2])) / ORDERS
    return 100.0 * math.exp(mean + min(0.0, 1 - wanted / length))
