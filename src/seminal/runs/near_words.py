"""What a run has learned of words: the nearest of each, and analogies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from seminal.core import UserError
from seminal.data.neighbours import NeighbourEncoder, NeighbourSource
from seminal.pieces.insight import cosine
from seminal.pieces.tokens import SPECIAL
from seminal.report.data import Attempts
from seminal.runs.diary import Diary
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.plan import Plan, best_model, encoder_of
from seminal.runs.shelf import nearest

SHOWN, NEAR = 12, 8  # words in the report, and neighbours of each
FIRST, LAST = 40, 1000  # ranks between which they are chosen: before them words mean little, after them they are rare


def tell(folder: RunFolder, plan: Plan, words: list[str], *, top: int, as_json: bool) -> int:
    """The nearest words of each; of three words a b c also those nearest to a − b + c."""
    encoder = encoder_of(folder)
    assert isinstance(encoder, NeighbourEncoder)
    tokens = [_token(encoder, word) for word in words]
    table = _table(best_model(folder, plan, device_for(plan.run.device)))
    asked = [(word, table[token], [token]) for word, token in zip(words, tokens)]
    if len(words) == 3:
        a, b, c = torch.nn.functional.normalize(table[tokens], dim=1)
        asked.append((f"{words[0]} − {words[1]} + {words[2]}", a - b + c, tokens))
    for name, vector, without in asked:
        found = near(table, encoder, vector, without, top)
        if as_json:
            print(json.dumps({"input": name, **dict(found)}, ensure_ascii=False))
        else:
            print(f"{name}  " + "  ".join(f"{word} {cosine:.2f}" for word, cosine in found))
    return 0


def near(
    table: Tensor, encoder: NeighbourEncoder, vector: Tensor, without: list[int], top: int
) -> list[tuple[str, float]]:
    """The ``top`` words with the largest cosine to ``vector``, and the cosines; not those ``without``."""
    found = cosine(vector[None], table)[0]
    found[[*range(len(SPECIAL)), *without]] = -2.0
    best = found.topk(min(top, max(0, int((found > -2).sum()))))
    return list(zip(encoder.text.shown(best.indices.tolist()), best.values.tolist()))


def _token(encoder: NeighbourEncoder, word: str) -> int:
    try:
        return int(next(encoder.encode([word], 1))[1]["word"][0])
    except UserError as error:
        known = encoder.text.shown(range(len(SPECIAL), len(encoder.text)))
        raise UserError(f"{error}{nearest(word, known)}") from None


def _table(model: nn.Module) -> Tensor:
    """(V, D) float32."""
    return model.get_parameter("words.weight").detach().float()


# -------------------------------------------------------------------------------------------------------- the report


def written(model: nn.Module, source: NeighbourSource) -> list[str]:
    """The nearest words of some frequent ones, as they are now."""
    table, encoder = _table(model), source.encoder("none")
    found = (near(table, encoder, table[token], [token], NEAR) for token in _frequent(encoder))
    return [", ".join(f"{word} {cosine:.2f}" for word, cosine in words) for words in found]


def attempts(source: NeighbourSource, diary: Diary) -> Iterator[Attempts]:
    """What the diary kept, beside the word and how often it occurs."""
    encoder = source.encoder("none")
    for place, token in enumerate(_frequent(encoder)):
        word, times = encoder.text.shown([token])[0], encoder.counts[token]
        blank = Attempts(word, f"{times:,} times in the training text", (), "word", "occurs", f"“{word}”")
        if texts := diary.texts(place):
            yield replace(blank, texts=tuple(texts))


def _frequent(encoder: NeighbourEncoder) -> list[int]:
    """Words of letters, about evenly spaced between two ranks on a scale of logarithms."""
    words = encoder.text.shown(range(len(encoder.text)))
    ranked = sorted(range(len(words)), key=lambda token: -encoder.counts[token])
    ranked = [token for token in ranked if encoder.counts[token] and words[token].isalpha()]
    first, last = min(FIRST, len(ranked) // 4), min(LAST, len(ranked))
    places = torch.logspace(0, 1, SHOWN, base=max(2.0, last / max(1, first))) * max(1, first)
    return [ranked[place] for place in dict.fromkeys(min(int(p), len(ranked)) - 1 for p in places) if place >= 0]
