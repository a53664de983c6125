"""What a masked language model says: ``seminal fill``, and the words of the validation split that it knew least."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from seminal.core import Order, Recipe, UserError
from seminal.data.documents import DocumentEncoder, DocumentSource
from seminal.data.vocabulary import Vocabulary
from seminal.pieces.tokens import BEGIN, END, NOTHING, SPECIAL
from seminal.report.data import Hidden, Report
from seminal.report.terminal import say, table
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.plan import best_model, encoder_of, plan_of
from seminal.runs.typed_texts import texts_or_lines
from seminal.train.evaluate import predicted

MARK = re.compile(r"\[MASK\]|<mask>")
JOINED = "##"  # what a piece begins with that goes on with the word before it
WORST = 20
AROUND = 12  # tokens shown on each side of a word


@dataclass(frozen=True)
class FillAsk:
    """What to fill in, and how it is shown."""

    run: str
    texts: list[str]
    top: int = 5
    weights: str = "best"
    as_json: bool = False


@dataclass(frozen=True)
class Filled:
    """A text with its best words, and for each place the most probable pieces with their shares."""

    text: str
    places: tuple[tuple[tuple[str, float], ...], ...]


def fill(ask: FillAsk) -> int:
    """Say what stands in each ``[MASK]`` of the texts given, or of the lines of standard input."""
    if ask.top < 1:
        raise UserError(f"--top {ask.top} shows nothing: write 1 or more.")
    folder = RunFolder.existing(ask.run)
    plan, encoder = plan_of(folder), encoder_of(folder)
    if not isinstance(encoder, DocumentEncoder) or encoder.masking is None:
        raise UserError(
            f"{ask.run} is a run of {plan.recipe.variant} that did not learn to say hidden words: give one that was trained "
            "on plain text with masks, such as `seminal train bert TEXT`, or imported weights of such a model."
        )
    model = best_model(folder, plan, device_for(plan.run.device), ask.weights)
    for text in filter(str.strip, texts_or_lines(ask.texts, "a text with [MASK] in it and Enter")):
        found = filled(model, encoder, text, ask.top)
        if ask.as_json:
            masks = [[{"token": piece, "share": share} for piece, share in place] for place in found.places]
            print(json.dumps({"input": text, "filled": found.text, "masks": masks}, ensure_ascii=False), flush=True)
        else:
            _show(found)
    return 0


def filled(model: Any, encoder: DocumentEncoder, text: str, top: int) -> Filled:
    """Each place is told on its own, while the others stay hidden.

    Raises `UserError` where no place is marked, or the text is too long."""
    parts = MARK.split(text)
    if len(parts) < 2:
        raise UserError(
            f"“{text}” has nothing to fill in: write [MASK] where a word is missing, “The [MASK] sat down”."
        )
    mask = encoder.text.mask
    tokens = [BEGIN]
    for place, part in enumerate(encoder.text.encode(parts)):
        tokens += [mask] * (place > 0) + part
    tokens.append(END)
    if len(tokens) > encoder.longest:
        raise UserError(
            f"the text has {len(tokens):,} tokens, two special ones included, and the model reads {encoder.longest}: give "
            "the words around [MASK] alone."
        )
    read = torch.tensor([tokens], device=next(model.parameters()).device)
    with torch.no_grad():
        logits, _ = model(read, read == mask)
    shares = logits.float().softmax(-1)
    shares[:, [*range(len(SPECIAL)), mask]] = -1.0  # no words
    best = shares.topk(min(top, shares.shape[1] - len(SPECIAL) - 1))
    places = tuple(
        tuple(zip(encoder.text.shown(pieces), numbers))
        for pieces, numbers in zip(best.indices.tolist(), best.values.tolist())
    )
    return Filled(_joined(parts, [place[0][0] for place in places]), places)


def _joined(parts: list[str], pieces: list[str]) -> str:
    """The text with a piece between every two parts."""
    text = parts[0]
    for piece, part in zip(pieces, parts[1:], strict=True):
        goes_on = piece.startswith(JOINED)
        text = (text.rstrip() if goes_on else text) + piece.removeprefix(JOINED) + part
    return text


def _show(found: Filled) -> None:
    say("text", found.text)
    many = len(found.places) > 1
    names = [f"[MASK] {place}" if many else "[MASK]" for place in range(1, len(found.places) + 1)]
    rows = [[cell for piece, share in row for cell in (piece, f"{share:.1%}")] for row in zip(*found.places)]
    table([header for name in names for header in (name, "share")], rows)
    print()


# ------------------------------------------------------------------------------------------------------------ the report


def with_hidden(report: Report, model: nn.Module, source: DocumentSource, recipe: Recipe) -> Report:
    """The hidden words of the validation split that the model thought the least of, the least first."""
    text = source.encoder("none").text
    found: list[tuple[float, int, int, Hidden]] = []
    for batch, said in predicted(model, source, recipe, Order("val", max(recipe.batch, 128))):
        loss = said["loss"].cpu()
        best = loss.flatten().topk(min(WORST, int((batch["target"] != NOTHING).sum())))
        batch, said = ({name: values.cpu() for name, values in each.items()} for each in (batch, said))
        for nats, place in zip(best.values.tolist(), best.indices.tolist()):
            row, column = divmod(place, loss.shape[1])
            index = int(batch["index"][row])
            tokens = batch["target"][row].where(batch["target"][row] != NOTHING, batch["input"][row])
            shown = _shown(text, tokens, column, int(said["token"][row, column]))
            found.append((nats, index, column, replace(shown, nats=nats, name=source.name("val", index))))
        found = sorted(found, key=lambda one: (-one[0], *one[1:3]))[:WORST]
    return replace(report, hidden=tuple(one[-1] for one in found))


def _shown(text: Vocabulary, tokens: Tensor, place: int, said: int) -> Hidden:
    """A word between its neighbours."""
    around = tokens[max(0, place - AROUND) : place].tolist(), tokens[place + 1 : place + 1 + AROUND].tolist()
    before, after = (text.decode([token for token in side if token >= len(SPECIAL)]) for side in around)
    word, guess = text.shown([int(tokens[place]), said])
    return Hidden(before, word, after, guess)
