"""Scores of text that may be published: sacreBLEU and chrF with their signatures, perplexity per word and per byte."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from seminal.core import DataSpec, Encoder, Order, Recipe, Source, UserError
from seminal.data.labelled import LabelledEncoder
from seminal.data.lines import lines
from seminal.data.pairs import PairsSource
from seminal.data.tagged import TaggedEncoder
from seminal.data.text_rows import NOTHING, TextSource
from seminal.decode.beam import Beam, beam
from seminal.decode.rules import translating
from seminal.decode.sampling import write
from seminal.runs.folder import RunFolder
from seminal.runs.plan import encoder_of, plan_of
from seminal.train.evaluate import predicted

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


def tagged(model: nn.Module, source: Source, recipe: Recipe, order: Order) -> list[list[str]]:
    """A line for each sentence: its name, its words, their true labels, the predicted ones."""
    assert isinstance(source, TextSource)
    table, classes = [], source.spec.classes
    for batch, found in predicted(model, source, recipe, order):
        for i, row in enumerate(batch["index"].tolist()):
            real = batch["target"][i] != NOTHING
            labels = [
                " ".join(classes[c] for c in column[i][real].tolist()) for column in (batch["target"], found["label"])
            ]
            table.append([source.name(order.split, row), source.parts[order.split].texts[row], *labels])
    return table


def spread_out(inputs: list[str], encoder: Encoder) -> list[str]:
    """Texts to predict for: the lines of each input that is a file, and the other inputs as they are."""
    if not isinstance(encoder, LabelledEncoder | TaggedEncoder):
        return inputs
    found: list[str] = []
    for text in inputs:
        file = Path(text) if len(text) < 1000 else None
        found += [line for line in lines(file) if line.strip()] if file and file.is_file() else [text]
    if not all(text.strip() for text in found):
        raise UserError(
            "a text without words has no class: give words, or the name of a file with a text on each line."
        )
    return found


def print_tags(model: nn.Module, folder: RunFolder, inputs: list[str], *, as_json: bool) -> int:
    """Each word with its label, a line for each sentence."""
    classes, encoder = folder.read_json("labels.json"), encoder_of(folder)
    device, task = next(model.parameters()).device, plan_of(folder).recipe.task
    for names, batch in encoder.encode(inputs, 128):
        with torch.no_grad():
            found = task.predict(model, {name: values.to(device) for name, values in batch.items()})["label"]
        for text, row in zip(names, found.tolist()):
            labels = [classes[label] for label in row if label != NOTHING]
            pairs = list(zip(text.split(), labels))
            print(json.dumps({"input": text, "labels": labels}, ensure_ascii=False) if as_json else _in_line(pairs))
    return 0


def _in_line(pairs: list[tuple[str, str]]) -> str:
    return " ".join(word if label == "O" else f"{word}/{label}" for word, label in pairs)


def language(metrics: dict[str, float], spec: DataSpec, split: str) -> dict[str, float]:
    """With perplexity per word and bits per byte, which do not depend on how the text is cut into tokens."""
    nats = metrics["loss"] * spec.tokens[split]
    per_word = math.exp(min(nats / max(1, spec.words[split]), 700.0))
    return metrics | {"perplexity_per_word": per_word, "bits_per_byte": nats / math.log(2) / max(1, spec.bytes[split])}
