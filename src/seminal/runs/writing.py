"""The verbs that let a model write: translate, generate."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from seminal.core import UserError
from seminal.data.pairs import PairsEncoder
from seminal.data.stream import StreamEncoder
from seminal.decode.beam import Beam, beam
from seminal.decode.rules import Rules, Written, translating
from seminal.decode.sampling import Sampling, write
from seminal.pieces.tokens import UNKNOWN
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.plan import best_model, encoder_of, plan_of
from seminal.runs.typed_texts import clean, texts_or_lines

BATCH = 32  # sentences translated at once


@dataclass(frozen=True)
class TranslateAsk:
    """How to translate."""

    run: str
    texts: list[str]
    beam: int = 4
    alpha: float = 0.6
    beta: float = 0.0
    n_best: int = 1
    no_repeat: int = 0
    copy_unknown: bool = False
    weights: str = "best"
    as_json: bool = False


def translate(ask: TranslateAsk) -> int:
    """Sentences in, translations out, line by line; from the words given, or from standard input."""
    search = Beam(ask.beam, ask.n_best, ask.alpha, beta=ask.beta)
    folder = RunFolder.existing(ask.run)
    plan = plan_of(folder)
    encoder = encoder_of(folder)
    if not isinstance(encoder, PairsEncoder):
        raise UserError(
            f"{ask.run} is a run of {plan.recipe.variant} and translates nothing: give a run on sentence pairs."
        )
    device = device_for(plan.run.device)
    model = best_model(folder, plan, device, ask.weights)
    talks = not ask.texts and sys.stdin.isatty()
    for some in _batches(texts_or_lines(ask.texts, "a sentence and Enter"), 1 if talks else BATCH):
        for text, found in zip(some, translated(model, encoder, some, search, ask)):
            if ask.as_json:
                print(json.dumps({"source": text, "translations": found}, ensure_ascii=False), flush=True)
            else:
                print("\n".join(found[: ask.n_best]), flush=True)
    return 0


def translated(
    model: nn.Module, encoder: PairsEncoder, texts: list[str], search: Beam, ask: TranslateAsk
) -> list[list[str]]:
    """The best translations of each text, best first; an empty text stays empty."""
    device = next(model.parameters()).device
    full = [text for text in texts if text.strip()]
    answers: list[list[str]] = []
    if full:
        source = next(encoder.encode(full, len(full)))[1]["source"].to(device)
        given, rules = translating(source, ask.no_repeat)
        found = beam(model, source, given, search, rules, attention=ask.copy_unknown)  # type: ignore[arg-type]
        answers = [_texts(found, row, encoder, text, ask.copy_unknown) for row, text in enumerate(full)]
    left = iter(answers)
    return [next(left) if text.strip() else [""] * ask.n_best for text in texts]


def _texts(found: Written, row: int, encoder: PairsEncoder, source: str, copy: bool) -> list[str]:
    texts = []
    for rank in range(found.tokens.shape[1]):
        tokens = found.tokens[row, rank]
        if copy and bool((tokens == UNKNOWN).any()):
            texts.append(_with_copies(tokens, found.attention[row, rank], encoder, source))
        else:
            texts.append(encoder.target.decode(tokens.tolist()))
    return texts


def _with_copies(tokens: Tensor, attention: Tensor, encoder: PairsEncoder, source: str) -> str:
    """Unknown tokens replaced by the source token they looked at most (Luong et al. 2015, “Addressing the Rare Word
    Problem”, Sec. 3.3)."""
    places = encoder.source.places(source)
    parts: list[str] = []
    run: list[int] = []
    for place, token in enumerate(tokens.tolist()):
        if token != UNKNOWN:
            run.append(token)
            continue
        start, end = places[min(int(attention[place].argmax()), len(places) - 1)]
        parts += [encoder.target.decode(run), source[start:end].strip()]
        run = []
    return " ".join(part for part in [*parts, encoder.target.decode(run)] if part)


@dataclass(frozen=True)
class GenerateAsk:
    """How to write on."""

    run: str
    prompt: str = ""
    n: int = 1
    length: int = 200
    sampling: Sampling = field(default_factory=lambda: Sampling(0.8))
    no_repeat: int = 0
    weights: str = "best"
    as_json: bool = False


def generate(ask: GenerateAsk) -> int:
    """Let a language model write on from a prompt."""
    if ask.length < 1:
        raise UserError(f"--length {ask.length} writes nothing: write 1 or more.")
    folder = RunFolder.existing(ask.run)
    plan = plan_of(folder)
    encoder = encoder_of(folder)
    if not isinstance(encoder, StreamEncoder):
        raise UserError(
            f"{ask.run} is a run of {plan.recipe.variant} that was not trained to go on writing: give a run on plain text."
        )
    if ask.n < 1:
        raise UserError(f"--n {ask.n} writes nothing: write 1 or more.")
    device = device_for(plan.run.device)
    model = best_model(folder, plan, device, ask.weights)
    for text in continued(model, encoder, ask, plan.recipe.model):
        print(json.dumps({"prompt": ask.prompt, "text": text}, ensure_ascii=False) if ask.as_json else text)
        if ask.n > 1 and not ask.as_json:
            print()
    return 0


def continued(model: nn.Module, encoder: StreamEncoder, ask: GenerateAsk, config: Any) -> list[str]:
    """``n`` texts that begin with the prompt. Where a model knows only so many places, it goes on from the later half of
    them as often as needed."""
    prompt = encoder.text.encode([clean(ask.prompt, "--prompt")])[0]
    first = encoder.read_on(prompt)
    if not first:
        raise UserError(
            f"{ask.run} has no token that a text begins after, so it needs some words to go on from: write --prompt."
        )
    whole = torch.tensor([first] * ask.n, device=next(model.parameters()).device)
    window = getattr(config, "longest", None) or whole.shape[1] + ask.length
    left = ask.length
    while left > 0:
        given = whole if whole.shape[1] < window else whole[:, -(window // 2) :]
        rules = Rules(longest=min(left, window - given.shape[1]), no_repeat=ask.no_repeat, end=-1)
        before = whole.shape[1] - given.shape[1]
        found = write(model, None, given, rules, ask.sampling, before=before)  # type: ignore[arg-type]
        whole = torch.cat([whole, found.tokens[:, 0, given.shape[1] :]], dim=1)
        left -= rules.longest
    return [encoder.shown(row[len(first) - len(prompt) :]) for row in whole.tolist()]


def _batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    left = iter(texts)
    while some := list(islice(left, size)):
        yield some
