"""Predictions for texts that a run reads: which texts were asked for, and the labels of their words."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from seminal.core import Encoder, Order, Recipe, Source, UserError
from seminal.data.labelled import LabelledEncoder
from seminal.data.labelled_columns import texts_of
from seminal.data.labelled_table import ENDINGS as TABLES
from seminal.data.labelled_table import text_table
from seminal.data.lines import lines
from seminal.data.tagged import ENDINGS as TAGGED
from seminal.data.tagged import TaggedEncoder, sentences_in
from seminal.data.text_rows import TextSource
from seminal.pieces.tokens import NOTHING
from seminal.report.terminal import console, say
from seminal.runs.folder import RunFolder
from seminal.runs.plan import encoder_of, plan_of
from seminal.runs.text_forms import is_tagged, is_text_table
from seminal.train.evaluate import predicted

NAME = rf"(?i)\S+({'|'.join(map(re.escape, (*TABLES, *TAGGED)))})(\.gz)?"  # of a file: one word with the ending of text
UNSEEN = "?"  # the label of a word that was cut off, because the sentence is longer than what the model reads


def spread_out(inputs: Sequence[str], encoder: Encoder, columns: str | None = None) -> list[str]:
    """Texts to predict for: those in each input that is a file, and the other inputs as they are. Without any, the lines of
    standard input.

    A table, or a file with a word on each line, may be labelled, as the run's own data are: only the texts are read.
    ``columns`` is what the user called them in training.

    Raises:
        UserError: an input is the name of a file that does not exist, or is a table whose texts cannot be told.
    """
    if not isinstance(encoder, LabelledEncoder | TaggedEncoder):
        return list(inputs)
    if not inputs and sys.stdin.isatty():
        say("type", "a text on each line; Ctrl-D ends", out=console(sys.stderr))
    found = [] if inputs else [line.rstrip("\r\n") for line in sys.stdin if line.strip()]
    for text in inputs:
        file = Path(text) if len(text) < 1000 else None
        if file and file.is_file():
            found += _in_file(file, encoder, columns)
        elif re.fullmatch(NAME, text):
            raise UserError(f"there is no file {text}: give the name of one, or words.")
        else:
            found.append(text)
    if not found or not all(text.strip() for text in found):
        raise UserError(
            "a text without words has no class: give words, or the name of a file with a text on each line."
        )
    return found


def _in_file(file: Path, encoder: LabelledEncoder | TaggedEncoder, columns: str | None) -> list[str]:
    if isinstance(encoder, TaggedEncoder) and is_tagged(file):
        return sentences_in(file)
    if isinstance(encoder, LabelledEncoder) and is_text_table(file):
        return texts_of(text_table(file), columns, 2 if encoder.pair else 1)
    return [line for line in lines(file) if line.strip()]


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
