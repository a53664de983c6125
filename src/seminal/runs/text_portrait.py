"""The part of a report that shows text: what the model writes, where it looks, which labels it gets wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from seminal.core import Order, Precision, Recipe, Source, UserError
from seminal.data.neighbours import NeighbourSource
from seminal.data.pairs import PairsSource
from seminal.data.stream import StreamSource
from seminal.data.text_rows import TextSource
from seminal.decode.rules import Rules, translating
from seminal.decode.sampling import GREEDY, Sampling, write
from seminal.pieces.tokens import NOTHING, PAD
from seminal.report.data import Attempts, Looks, Report, Tagged, Translated
from seminal.runs import near_words
from seminal.runs.diary import Diary
from seminal.runs.plan import Plan
from seminal.tasks.language import Language
from seminal.train.evaluate import predicted
from seminal.train.precision import arithmetic, in_layout

FIXED = 5  # sentences that are translated after every epoch
LENGTH = 60  # characters they have, about: enough to be hard, few enough for a map of attention
PROMPT, CONTINUED = 8, 60  # tokens that a language model is given, and writes
DRAWS = {"the most probable token each time": GREEDY, "drawn at temperature 0.8": Sampling(temperature=0.8, seed=0)}
WORST = 20


def with_texts(report: Report, model: nn.Module, plan: Plan, source: Source, diary: Diary) -> Report:
    """The report of a model that translates, writes on, or labels words."""
    recipe = plan.recipe
    if isinstance(source, PairsSource):
        return replace(
            report,
            attempts=tuple(_attempts(source, recipe, diary)),
            looks=tuple(_looks(model, source, recipe)),
            worst=tuple(_worst(model, source, recipe)),
        )
    if isinstance(source, StreamSource):
        return replace(report, attempts=tuple(_attempts(source, recipe, diary)))
    if isinstance(source, NeighbourSource):
        return replace(report, attempts=tuple(near_words.attempts(source, diary)))
    if isinstance(source, TextSource) and source.spec.kind == "tagged":
        return replace(report, tagged=tuple(_tagged(model, source, recipe)))
    return report


# ---------------------------------------------------------------------------------------------------- after every epoch


def written(model: nn.Module, source: Source, recipe: Recipe) -> list[str]:
    """What the model now makes of a few fixed texts of the validation split; nothing where it does not write."""
    model.eval()
    if isinstance(source, PairsSource):
        texts = [source.texts["val"].source[row] for row in _fixed(source)]
        return _translations(model, source, recipe, texts)
    if isinstance(source, StreamSource):
        given, _ = _prompt(source, recipe)
        return [_continued(model, source, recipe, given, sampling) for sampling in DRAWS.values()]
    if isinstance(source, NeighbourSource):
        return near_words.written(model, source)
    return []


def _attempts(source: PairsSource | StreamSource, recipe: Recipe, diary: Diary) -> Iterator[Attempts]:
    """The texts that the diary kept, beside what was given and what was wanted."""
    if isinstance(source, PairsSource):
        sides = source.texts["val"]
        blank = [Attempts(sides.source[row], sides.target[row], ()) for row in _fixed(source)]
    else:
        given, wanted = (_text(source, tokens) for tokens in _prompt(source, recipe))
        blank = [Attempts(given, wanted, (), "prompt", "in the file", how) for how in DRAWS]
    for place, attempts in enumerate(blank):
        if texts := diary.texts(place):
            yield replace(attempts, texts=tuple(texts))


def _fixed(source: PairsSource) -> list[int]:
    """A sentence of about `LENGTH` characters from each of `FIXED` equal parts of the validation split."""
    texts = source.texts["val"].source
    parts = [range(part * len(texts) // FIXED, (part + 1) * len(texts) // FIXED) for part in range(FIXED)]
    return [min(part, key=lambda row: abs(len(texts[row]) - LENGTH)) for part in parts if part]


def _translations(model: nn.Module, source: PairsSource, recipe: Recipe, texts: list[str]) -> list[str]:
    """The greedy translations, as validation makes them."""
    encoder, precision = source.encoder(recipe.scaling), recipe.precision or Precision()
    device = next(model.parameters()).device
    _, batch = next(encoder.encode(texts, len(texts)))
    with torch.no_grad(), arithmetic(precision, device):
        found = recipe.task.predict(model, in_layout(batch, device, precision))["token"]
    return [encoder.target.decode(row) for row in found.tolist()]


def _prompt(source: StreamSource, recipe: Recipe) -> tuple[list[int], list[int]]:
    """The first tokens of the validation split, and those that follow there. A model without a state knows only so many
    places as it was trained on."""
    carried = isinstance(recipe.task, Language) and recipe.task.carried
    room = PROMPT + 1 + CONTINUED if carried else min(PROMPT + 1 + CONTINUED, source.spec.longest["text"] + 1)
    tokens = source.parts["val"].tokens.flat[:room].tolist()
    given = min(PROMPT + 1, max(1, len(tokens) // 2))  # a line end stands before the text
    return tokens[:given], tokens[given:]


def _continued(model: nn.Module, source: StreamSource, recipe: Recipe, given: list[int], sampling: Sampling) -> str:
    device, count = next(model.parameters()).device, len(_prompt(source, recipe)[1])
    prompt = torch.tensor([given], device=device)
    with arithmetic(recipe.precision or Precision(), device):
        found = write(model, None, prompt, Rules(longest=max(1, count), end=-1), sampling)  # type: ignore[arg-type]
    return _text(source, found.tokens[0, 0, len(given) :].tolist())


def _text(source: StreamSource, tokens: list[int]) -> str:
    """Text of a stream, without line ends around it."""
    return source.encoder("none").text.decode(tokens).strip("\n")


# ----------------------------------------------------------------------------------------------------- of the best weights


def _looks(model: nn.Module, source: PairsSource, recipe: Recipe) -> Iterator[Looks]:
    """Maps of attention for the fixed sentences; none where the model cannot show where it looks."""
    encoder, texts = source.encoder(recipe.scaling), source.texts["val"].source
    rows = _fixed(source)
    _, batch = next(encoder.encode([texts[row] for row in rows], len(rows)))
    tokens = batch["source"].to(next(model.parameters()).device)
    given, rules = translating(tokens)
    try:
        found = write(model, tokens, given, rules, attention=True)  # type: ignore[arg-type]
    except UserError:  # as such models say; they have just translated the whole split without
        return
    for read, said, weights in zip(tokens.cpu(), found.tokens[:, 0].cpu(), found.attention[:, 0].float().cpu()):
        places, last = int((read != PAD).sum()), int((said != PAD).sum())
        rounded = [tuple(round(share, 4) for share in row[:places]) for row in weights[1:last].tolist()]
        names = encoder.source.shown(read[:places].tolist()), encoder.target.shown(said[1:last].tolist())
        yield Looks(tuple(names[0]), tuple(names[1]), tuple(rounded))


def _worst(model: nn.Module, source: PairsSource, recipe: Recipe) -> list[Translated]:
    """The validation sentences with the lowest BLEU; of those with the same, the longest first."""
    from sacrebleu import sentence_bleu

    encoder, sides = source.encoder(recipe.scaling), source.texts["val"]
    order = Order("val", max(recipe.batch, 128), scaling=recipe.scaling)
    found: list[tuple[int, Translated]] = []
    for batch, said in predicted(model, source, recipe, order):
        for row, tokens in zip(batch["index"].tolist(), said["token"].tolist()):
            text, wanted = encoder.target.decode(tokens), sides.target[row]
            bleu = sentence_bleu(text, [wanted]).score
            found.append((row, Translated(sides.source[row], wanted, text, bleu, source.name("val", row))))
        found = sorted(found, key=lambda pair: (pair[1].bleu, -len(pair[1].reference), pair[0]))[:WORST]
    return [sentence for _, sentence in found if sentence.translation != sentence.reference]


def _tagged(model: nn.Module, source: TextSource, recipe: Recipe) -> list[Tagged]:
    """The sentences with the most wrong labels, each counted by how sure the model was of it."""
    order = Order("val", max(recipe.batch, 128), scaling=recipe.scaling)
    found: list[tuple[float, int, Tagged]] = []
    for batch, said in predicted(model, source, recipe, order):
        target, label = batch["target"].cpu(), said["label"].cpu()
        wrong = ((target != label) & (target != NOTHING)) * said["probability"].float().cpu()
        weighed = zip(batch["index"].tolist(), wrong.sum(1).tolist(), target, label)
        found += [(sure, row, _labels(source, row, true, mine)) for row, sure, true, mine in weighed if sure > 0]
        found = sorted(found, key=lambda one: (-one[0], one[1]))[:WORST]
    return [sentence for _, _, sentence in found]


def _labels(source: TextSource, row: int, true: Tensor, label: Tensor) -> Tagged:
    """One sentence; its words as they stand in the file."""
    classes = source.spec.classes
    places = (true != NOTHING).nonzero()[:, 0].tolist()
    words = source.parts["val"].texts[row].split(" ")
    names = [[classes[int(side[place])] for place in places] for side in (true, label)]
    return Tagged(tuple(words[: len(places)]), tuple(names[0]), tuple(names[1]), source.name("val", row))


def text_of(source: Source, split: str, row: int) -> str:
    """A text of the source as it stands in its file; empty where the source has none."""
    return source.parts[split].texts[row] if isinstance(source, TextSource) else ""
