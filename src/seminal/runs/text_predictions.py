"""Predictions for texts that a run reads: which texts were asked for, and the labels of their words."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from seminal.core import Encoder, Order, Recipe, Source, UserError
from seminal.data.labelled import LabelledEncoder
from seminal.data.lines import lines
from seminal.data.tagged import TaggedEncoder
from seminal.data.text_rows import TextSource
from seminal.pieces.tokens import NOTHING
from seminal.runs.folder import RunFolder
from seminal.runs.plan import encoder_of, plan_of
from seminal.train.evaluate import predicted

UNSEEN = "?"  # the label of a word that was cut off, because the sentence is longer than what the model reads


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
            words, labels = text.split(), [classes[label] for label in row if label != NOTHING]
            labels += [UNSEEN] * (len(words) - len(labels))
            pairs = list(zip(words, labels))
            print(json.dumps({"input": text, "labels": labels}, ensure_ascii=False) if as_json else _in_line(pairs))
    return 0


def _in_line(pairs: list[tuple[str, str]]) -> str:
    return " ".join(word if label == "O" else f"{word}/{label}" for word, label in pairs)


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
