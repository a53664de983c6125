"""Answers that stand in a text: where the answer begins and where it ends (Devlin et al. 2018, Sec. 4.2 and 4.3).

Each place of a window has two logits, S·T and E·T: of being the first token of the answer, and of being its last. Only the
tokens of the text may be, and place 0 (``<s>``), which stands for "the answer is not here". A span's score is the sum of
the logits of its two ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Goal, Sums, Turn, UserError
from seminal.pieces.tokens import END

NEVER = float("-inf")


@dataclass(frozen=True)
class Answers:
    """``batch["input"]`` (B, S) ``<s> question </s> text </s>`` and ``batch["target"]`` (B, 2), the first and the last place
    of the answer, (0, 0) where there is none; the model gives logits (B, S, 2)."""

    longest: int = 30  # tokens of an answer (max_answer_length of run_squad.py, the authors' program)
    best: int = 20  # spans that `predict` gives (n_best_size, as there)

    @property
    def goal(self) -> Goal:
        """Of whole questions (`seminal.runs.answering`): most windows of a long text hold no answer, and are easy."""
        return Goal("f1", higher=True)

    def fitted(self, spec: DataSpec) -> Self:
        if spec.kind != "questions":
            raise UserError(
                f"{spec.name} is {spec.form}, and answers are found to questions on texts: give a file of SQuAD's form."
            )
        return self

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters())}

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        logits = _logits(model, batch["input"])
        loss = _losses(logits, batch["target"]).sum()
        yield Turn("model", loss, torch.tensor(len(logits), device=loss.device))

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        """Of windows; an answer is given where its score is above that of place 0. ``overlap``: sum of the F1 of tokens."""
        target, logits = batch["target"], _logits(model, batch["input"])
        score, span = self._best(logits, batch["input"], 1)
        found = span[:, 0].masked_fill((logits[:, 0].sum(1) >= score[:, 0])[:, None], 0)
        shared = torch.minimum(found, target)[:, 1] - torch.maximum(found, target)[:, 0] + 1
        both = found + target
        lengths = both[:, 1] - both[:, 0] + 2
        return {
            "windows": torch.tensor(float(len(target)), device=target.device).double(),
            "loss": _losses(logits, target).sum().double(),
            "hits": (found == target).all(1).sum().double(),
            "overlap": (2 * shared.clamp_min(0) / lengths).sum().double(),
        }

    def summary(self, sums: Sums) -> dict[str, float]:
        """``loss`` in nats per window, ``window_exact`` and ``window_f1``: of one window at a time, in tokens. The scores of
        whole questions are `seminal.runs.answering`'s."""
        names = {"loss": "loss", "window_exact": "hits", "window_f1": "overlap"}
        return {name: float(sums[part] / sums["windows"]) for name, part in names.items()}

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """``span`` (B, n, 2): the best spans, as first and last place, the best first; ``score`` (B, n), −∞ where a text has
        no more spans; their ``probability`` (B, n): that of the first place times that of the last; ``nothing`` (B,): the
        score of place 0."""
        logits = _logits(model, batch["input"])
        score, span = self._best(logits, batch["input"], self.best)
        every = logits.logsumexp(1).sum(1, keepdim=True)
        return {"span": span, "score": score, "probability": (score - every).exp(), "nothing": logits[:, 0].sum(1)}

    def _best(self, logits: Tensor, tokens: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The scores (B, n) and the ends (B, n, 2) of the best spans."""
        scores = self._scores(logits, tokens)
        lengths = scores.shape[2]
        best = scores.flatten(1).topk(min(count, scores[0].numel()))
        first = best.indices // lengths
        return best.values, torch.stack([first, first + best.indices % lengths], 2)

    def _scores(self, logits: Tensor, tokens: Tensor) -> Tensor:
        """(B, S, L): of the span from each place on that has 1, 2 … L tokens; −∞ where it is not within the text."""
        first, last = logits.masked_fill(~_text(tokens)[:, :, None], NEVER).unbind(2)
        most = min(self.longest, tokens.shape[1])
        return first[:, :, None] + F.pad(last, (0, most - 1), value=NEVER).unfold(1, most, 1)


def _logits(model: nn.Module, tokens: Tensor) -> Tensor:
    """(B, S, 2) in fp32; −∞ where no answer may begin or end."""
    may = _text(tokens)
    may[:, 0] = True
    return model(tokens).float().masked_fill(~may[:, :, None], NEVER)


def _text(tokens: Tensor) -> Tensor:
    """(B, S) whether a place holds a token of the text: what stands between the two ``</s>``."""
    return ((tokens == END).cumsum(1) == 1) & (tokens != END)


def _losses(logits: Tensor, target: Tensor) -> Tensor:
    """(B,) the mean of the cross-entropies of the first and of the last place, in nats."""
    return F.cross_entropy(logits, target, reduction="none").mean(1)
