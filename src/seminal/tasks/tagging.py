"""A label for each token: cross-entropy, accuracy, and F1 over spans where the labels mark spans.

Spans are read as seqeval and CoNLL's own script do, from labels such as B-PER and I-PER in any of their dialects: a span
begins at B or S, where the type changes, or after O, E and S; it goes on through I and E of the same type. A span counts
as found where its first token, its last one and its type are all right (Tjong Kim Sang and De Meulder 2003, Sec. 2.4).

Words that were cut off, because their sentence is longer than what the model reads, count as wrong, and a span with such a
word as not found: else a run that reads less of each sentence would look better.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Goal, Sums, Turn, UserError
from seminal.pieces.tokens import NOTHING, PAD

MARK = re.compile(r"[BIESLU](-.*)?")  # L and U are other names of E and S
Span = tuple[str, int, int]  # type, first token, last token


@dataclass(frozen=True)
class Tagging:
    """``batch["input"]`` (B, S) and ``batch["target"]`` (B, S), −100 where nothing is to be said; the model gives logits
    (B, S, classes). ``batch["unread"]`` (B, U), where it is there: the classes of the words that were cut off behind."""

    classes: tuple[str, ...] = ()
    label_smoothing: float = 0.0  # ε: the target is (1 − ε) · one-hot + ε / classes

    @property
    def marks_spans(self) -> bool:
        """Whether the labels are of the form B-PER, I-PER, O."""
        inside = [name for name in self.classes if name != "O"]
        begun = any(name.startswith(("B-", "I-")) for name in inside)
        return begun and all(MARK.fullmatch(name) for name in inside)

    @property
    def goal(self) -> Goal:
        return Goal("f1" if self.marks_spans else "accuracy", higher=True)

    def fitted(self, spec: DataSpec) -> Self:
        if spec.kind != "tagged":
            raise UserError(
                f"{spec.name} is {spec.form}, and tagging needs a label for each word: a file with a word and its label on "
                "each line."
            )
        return replace(self, classes=spec.classes)

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters())}

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        target = batch["target"]
        loss = _losses(model(batch["input"]), target, self.label_smoothing).sum()
        yield Turn("model", loss, (target != NOTHING).sum())

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        """The loss is the plain one, without label smoothing. ``tokens``: those that the model reads; ``words``: all.
        ``spans`` (3,): right, found and true ones."""
        target = batch["target"]
        unread = batch.get("unread", target[:, :0])
        logits = model(batch["input"])
        found = logits.argmax(-1)
        tokens = (target != NOTHING).sum().double()
        return {
            "tokens": tokens,
            "words": tokens + (unread != NOTHING).sum(),
            "loss": _losses(logits, target).sum().double(),
            "hits": (found == target).sum().double(),
            "spans": self._spans(found, target, unread).to(target.device),
        }

    def summary(self, sums: Sums) -> dict[str, float]:
        """``loss`` in nats per token that is read, ``accuracy`` of all words; of spans, ``precision``, ``recall`` and ``f1``
        over all types. A share of nothing is 0."""
        told = {"loss": float(sums["loss"] / sums["tokens"]), "accuracy": float(sums["hits"] / sums["words"])}
        if not self.marks_spans:
            return told
        right, found, true = sums["spans"].tolist()
        shares = {"precision": (right, found), "recall": (right, true), "f1": (2 * right, found + true)}
        return told | {name: part / whole if whole else 0.0 for name, (part, whole) in shares.items()}

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """``label`` (B, S) int64, and its ``probability`` (B, S). −100 at padding; where ``batch["first"]`` (B, S) tells the
        first pieces of words, at all others too."""
        best = model(batch["input"]).float().softmax(-1).max(-1)
        unsaid = ~batch["first"] if "first" in batch else batch["input"] == PAD
        return {"label": best.indices.masked_fill(unsaid, NOTHING), "probability": best.values.masked_fill(unsaid, 0)}

    def _spans(self, found: Tensor, target: Tensor, unread: Tensor) -> Tensor:
        sums = torch.zeros(3, dtype=torch.float64)
        if not self.marks_spans:
            return sums
        for mine, true, cut in zip(found.tolist(), target.tolist(), unread.tolist(), strict=True):
            real = [place for place, code in enumerate(true) if code != NOTHING]
            beyond = [self.classes[code] for code in cut if code != NOTHING]
            ours = set(spans([self.classes[mine[place]] for place in real]))
            theirs = set(spans([*(self.classes[true[place]] for place in real), *beyond]))
            sums += torch.tensor([len(ours & theirs), len(ours), len(theirs)])
        return sums


def spans(labels: Sequence[str]) -> list[Span]:
    """The spans that a sentence's labels mark, from left to right."""
    found: list[Span] = []
    open_type: str | None = None  # of the span that the next token may continue
    for place, label in enumerate(labels):
        mark, _, kind = label.partition("-")
        if mark == "O":
            open_type = None
            continue
        if mark in ("B", "S", "U") or open_type != kind:
            found.append((kind, place, place))
        else:
            found[-1] = (kind, found[-1][1], place)
        open_type = None if mark in ("E", "L", "S", "U") else kind
    return found


def _losses(logits: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
    """(B · S,) cross-entropies in nats; 0 at padding."""
    flat = logits.flatten(0, -2).float()
    return F.cross_entropy(flat, target.flatten(), reduction="none", ignore_index=NOTHING, label_smoothing=smoothing)
