"""Words learned from their neighbours: skip-gram and CBOW with a full softmax, with noise-contrastive estimation, or with
negative sampling (Mikolov et al. 2013)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self, cast

from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Goal, Sums, Turn, UserError
from seminal.pieces.contrast import for_rows, in_groups, log_odds, noise_losses, real_losses
from seminal.pieces.insight import cosine
from seminal.pieces.tokens import PAD, SPECIAL

READS, OUTPUTS = ("word", "around"), ("softmax", "nce", "negative")


class WordModel(Protocol):
    """What is asked of a model, beyond calling it."""

    words: nn.Embedding  # the vectors that are kept


@dataclass(frozen=True)
class Neighbours:
    """Skip-gram reads ``batch["word"]`` and says each of ``batch["around"]``; CBOW reads all of these and says the word.
    The loss is −log p of what is said, a sum over the neighbours and a mean over the words (Eq. 1).

    ``model(read (B, n), said (B, m), noise (G, S))`` gives the scores of ``said`` and, beside them, those of the noise of
    each row's group, (B, m + S); ``model(read)`` those of all words.

    Noise is drawn k times for each pair in the papers. Here the S words drawn by a group of rows serve each of its pairs,
    with the weight k / S: the same loss on average, with less spread, and as one matrix product. To be scored, each row
    meets the one noise word of its own, so that the score depends neither on the batches nor on the processes.
    """

    reads: str = "word"  # "word": skip-gram; "around": CBOW
    output: str = "negative"  # "softmax", "nce" or "negative"
    negatives: int = 5  # k, noise words for each pair

    @property
    def goal(self) -> Goal:
        return Goal("loss", higher=False)

    def fitted(self, spec: DataSpec) -> Self:
        if self.reads not in READS or self.output not in OUTPUTS or self.negatives < 1:
            raise UserError(
                f"reads {self.reads!r}, output {self.output!r} and {self.negatives} negatives make no sense: write one of "
                f"{', '.join(READS)}, one of {', '.join(OUTPUTS)}, and 1 or more."
            )
        return self

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters())}

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        loss = self.losses(model, batch).sum()
        yield Turn("model", loss, loss.new_tensor(float(len(batch["word"]))))

    def losses(self, model: nn.Module, batch: Batch, shared: bool = True) -> Tensor:
        """(B,) of each word, beside the noise of its whole group or of its own alone."""
        word, around = batch["word"][:, None], batch["around"]
        skips = self.reads == "word"
        read, said = (word, around) if skips else (around, word)
        real = around != PAD if skips else (around != PAD).any(1, keepdim=True)
        if self.output == "softmax":
            scores = model(read).float()
            losses = scores.logsumexp(1, keepdim=True) - scores.gather(1, said)
            return (losses * real).sum(1)
        grouped = in_groups if shared else _alone
        scores = model(read, said, grouped(batch["noise"])).float()
        mine, theirs = scores[:, : said.shape[1]], scores[:, said.shape[1] :]
        if self.output == "nce":
            log_said = batch["log_around"] if skips else batch["log_word"][:, None]
            mine = log_odds(mine, log_said, self.negatives)
            theirs = log_odds(theirs, for_rows(grouped(batch["log_noise"]), len(theirs)), self.negatives)
        noise = self.negatives * noise_losses(theirs).mean(1)  # of one pair
        return (real_losses(mine) * real).sum(1) + real.sum(1) * noise

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        word = batch["word"]
        losses = (self.losses(model, batch, shared=False) if len(word) else word).double()  # a process may have no row
        return {"loss": losses.sum(), "words": losses.new_tensor(float(len(losses)))}

    def summary(self, sums: Sums) -> dict[str, float]:
        """``loss``: nats per word, of the objective that is trained."""
        return {"loss": float(sums["loss"] / sums["words"])}

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """``cosine`` (B, V): of the angle between the vector of ``batch["word"]`` and that of each word; of special tokens
        −1."""
        table = cast(WordModel, model).words.weight
        found = cosine(table[batch["word"]], table)
        found[:, : len(SPECIAL)] = -1.0
        return {"cosine": found}


def _alone(values: Tensor) -> Tensor:
    """(rows, 1): each row (rows,) is a group."""
    return values[:, None]
