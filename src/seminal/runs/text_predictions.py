"""Predictions for texts that a run reads: which texts were asked for, and the labels of their words."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from seminal.core import Encoder, Order, Recipe, Source, Sums, UserError
from seminal.data.labelled import LabelledEncoder
from seminal.data.labelled_columns import texts_of
from seminal.data.labelled_table import text_table
from seminal.data.lines import bare, lines
from seminal.data.questions import ENDINGS as QUESTIONS
from seminal.data.tagged import TaggedEncoder, sentences_in
from seminal.data.text_rows import TextSource
from seminal.pieces.tokens import NOTHING
from seminal.report.terminal import console, say
from seminal.runs.folder import RunFolder
from seminal.runs.plan import encoder_of, plan_of
from seminal.runs.text_forms import TAGGED as WORD_BY_WORD
from seminal.runs.text_forms import is_tagged, is_text_table
from seminal.runs.typed_texts import clean, file_called, texts_or_lines, without_blanks
from seminal.train.evaluate import predicted

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
    found = [] if inputs else without_blanks([*texts_or_lines((), "a text on each line")], "standard input")
    for text in inputs:
        file = file_called(clean(text, "what you gave"))
        found += _in_file(file, encoder, columns) if file else [text]
    if not found or not all(text.strip() for text in found):
        raise UserError(
            "a text without words has no class: give words, or the name of a file with a text on each line."
        )
    cut = sum(length > encoder.longest for length in encoder.lengths(found))
    if cut:
        said = f"{cut:,} texts are" if cut > 1 else "a text is"
        say("note", f"{said} cut: this run reads the first {encoder.longest} tokens", out=console(sys.stderr))
    return found


def _in_file(file: Path, encoder: LabelledEncoder | TaggedEncoder, columns: str | None) -> list[str]:
    if isinstance(encoder, TaggedEncoder) and is_tagged(file):
        return sentences_in(file)
    if is_text_table(file):
        pair = isinstance(encoder, LabelledEncoder) and encoder.pair
        texts = texts_of(text_table(file), columns, 2 if pair else 1)
        empty = next((place for place, text in enumerate(texts, 1) if not all(map(str.strip, text.split("\t")))), None)
        if empty is not None:
            raise UserError(f"{file}: text {empty} of {len(texts):,} has no words. Fill it, or take its row out.")
        return texts
    ending = bare(file).suffix.lower()
    if ending in (*WORD_BY_WORD, *QUESTIONS):
        holds = "a word on each line" if ending in WORD_BY_WORD else "questions or other JSON"
        raise UserError(f"{file} has {holds}, and this run reads texts: give a table, or a file with one on each line.")
    return without_blanks([*lines(file)], str(file))


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
    """A line for each sentence, in the order of the file: its name, its words, their true labels, the predicted ones
    (`UNSEEN` for a word that was cut off)."""
    assert isinstance(source, TextSource)
    table: dict[int, list[str]] = {}
    for batch, found in predicted(model, source, recipe, order):
        for i, row in enumerate(batch["index"].tolist()):
            real = batch["target"][i] != NOTHING
            true, said = (_called(column[i][real], source) for column in (batch["target"], found["label"]))
            cut = _called(batch["unread"][i], source) if "unread" in batch else []
            texts = " ".join([*true, *cut]), " ".join([*said, *[UNSEEN] * len(cut)])
            table[row] = [source.name(order.split, row), source.parts[order.split].texts[row], *texts]
    return [table[row] for row in sorted(table)]


def _called(codes: Tensor, source: Source) -> list[str]:
    """The names of classes (S,), without those that stand for nothing."""
    return [source.spec.classes[code] for code in codes.tolist() if code != NOTHING]


def word_counts(sums: Sums) -> dict[str, int]:
    """How many words a score is about, and how many of them were cut off; nothing where none was."""
    words, cut = int(sums["words"]), int(sums["words"] - sums["tokens"])
    return {"words": words, "words_cut": cut} if cut else {}
