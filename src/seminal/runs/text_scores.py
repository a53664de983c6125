"""Scores of text that may be published: sacreBLEU and chrF with their signatures, perplexity per word and per byte."""

from __future__ import annotations

import math

from torch import Tensor, nn

from seminal.core import DataSpec, Order
from seminal.data.pairs import PairsSource
from seminal.decode.beam import Beam, beam
from seminal.decode.rules import translating
from seminal.decode.sampling import write
from seminal.pieces.next_token import perplexity

HEAD = ["row", "source", "true", "predicted"]


def translation(
    model: nn.Module, source: PairsSource, order: Order, search: Beam
) -> tuple[dict[str, float], str, list[list[str]]]:
    """BLEU and chrF on text as it was, the signatures, and a line for each sentence: name, source, true, predicted."""
    from sacrebleu.metrics import BLEU, CHRF

    found = translations(model, source, order, search)
    texts = source.texts[order.split]
    bleu, chrf = BLEU(), CHRF()
    metrics = {
        "sacrebleu": bleu.corpus_score(found, [list(texts.target)]).score,
        "chrf": chrf.corpus_score(found, [list(texts.target)]).score,
    }
    names = [source.name(order.split, row) for row in range(len(found))]
    table = [list(line) for line in zip(names, texts.source, texts.target, found)]
    how = "greedy" if search.width == 1 else f"beam {search.width}, length penalty {search.alpha:g}"
    return metrics, f"{how} · BLEU {bleu.get_signature()} · chrF {chrf.get_signature()}", table


def translations(model: nn.Module, source: PairsSource, order: Order, search: Beam) -> list[str]:
    """The best translation of every sentence of a split, in the order of the file."""
    texts, target = [""] * source.spec.counts[order.split], source.encoder("none").target
    device = next(model.parameters()).device
    model.eval()
    for batch in source.batches(order):
        found = _best(model, batch["source"].to(device), search)
        for row, tokens in zip(batch["index"].tolist(), found.tolist()):
            texts[row] = target.decode(tokens)
    return texts


def _best(model: nn.Module, source: Tensor, search: Beam) -> Tensor:
    given, rules = translating(source)
    if search.width == 1:
        return write(model, source, given, rules).tokens[:, 0]  # type: ignore[arg-type]
    return beam(model, source, given, search, rules).tokens[:, 0]  # type: ignore[arg-type]


def language(metrics: dict[str, float], spec: DataSpec, split: str) -> dict[str, float]:
    """With perplexity per word and bits per byte, which do not depend on how the text is cut into tokens."""
    nats = metrics["loss"] * spec.tokens[split]
    per_word, bits = perplexity(nats / max(1, spec.words[split])), nats / math.log(2)
    return metrics | {"perplexity_per_word": per_word, "bits_per_byte": bits / max(1, spec.bytes[split])}
