"""Small texts on disk, the same ones every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from seminal.core import DataSpec, Masking, Optim, Precision, Reading, Recipe, Source, Transfer
from seminal.data import documents, pairs, stream
from seminal.papers import bert, transformer, zaremba
from seminal.pieces.dropout import Dropout
from seminal.recipes import transformer as transformer_recipes
from seminal.recipes import zaremba as zaremba_recipes
from seminal.tasks.masked_language import MaskedLanguage
from seminal.train.schedules import Constant
from seminal.train.transfer import keep_still, prepared

WORDS = {"a": "ein", "the": "das", "small": "kleine", "large": "grosse", "red": "rote"}
THINGS = {"house": "Haus", "child": "Kind", "car": "Auto", "book": "Buch", "ship": "Schiff"}
HIDING = Reading("documents", tokens="wordpiece", vocabulary=80, longest=24, framed=True, masking=Masking())
DOES = {"sleeps": "schläft", "falls": "fällt", "waits": "wartet"}


def sentences(folder: Path) -> Path:
    """A folder with train.en, train.de, val.en and val.de: 75 and 15 sentences of 3 to 6 words."""
    lines = []
    for i, (word, thing) in enumerate((w, t) for w in WORDS for t in THINGS):
        for j, does in enumerate(DOES):
            more = ["now"] * ((i + j) % 4)
            english = " ".join(["the", word, thing, does][(i + j) % 2 :] + more)
            german = " ".join(["das", WORDS[word], THINGS[thing], DOES[does]][(i + j) % 2 :] + ["jetzt"] * len(more))
            lines.append((english, german))
    folder.mkdir(parents=True, exist_ok=True)
    for side, language_ in enumerate(("en", "de")):
        for split, some in (("train", lines), ("val", lines[::5])):
            text = "".join(f"{line[side]}\n" for line in some)
            (folder / f"{split}.{language_}").write_text(text, encoding="utf-8")
    return folder


def language(folder: Path) -> Path:
    """A file of plain text: 120 short lines."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"the {word} {thing} {does}" for word in WORDS for thing in THINGS for does in DOES]
    path = folder / "story.txt"
    path.write_text("".join(f"{line}\n" for line in [*lines, *lines[:45]]), encoding="utf-8")
    return path


def text_spec(form: str) -> DataSpec:
    """Text of a `Reading.form` that was never written: 30 different tokens, sentences of up to 12."""
    sides = ("source", "target") if form == "pairs" else ("text",)
    sizes, longest = dict.fromkeys(sides, 30), dict.fromkeys(sides, 12)
    classes, counts = (("a", "b", "c"), (30, 30, 40)) if form == "labelled" else ((), ())
    rows, tokens = {"train": 100, "val": 20}, {"train": 900, "val": 90}
    by = "rows" if form == "stream" else "tokens"
    return DataSpec(
        "lines", form, rows, (), classes, counts, vocabulary=sizes, longest=longest, tokens=tokens, batched_by=by
    )


def translation(folder: Path, dropout: float = 0.3) -> tuple[Source, Recipe, torch.nn.Module]:
    """A small Transformer with dropout, label smoothing, token batches and an average of the last two epochs."""
    source = pairs.read(sentences(folder), Reading("pairs", vocabulary=60), pairs.PairsAsk("en", "de"))
    recipe = transformer_recipes.modern("transformer", source.spec).adapted(source.spec)
    model = replace(recipe.model, layers=1, width=16, inner=16, heads=2, key=8, dropout=dropout)
    recipe = replace(recipe, model=model, batch=120, epochs=4, average=2, lr=1e-2, precision=Precision())
    torch.manual_seed(0)
    return source, recipe, transformer.Transformer(model)


def stream_of_words(folder: Path, dropout: float = 0.3) -> tuple[Source, Recipe, torch.nn.Module]:
    """A small language model whose state is carried from batch to batch."""
    reading = Reading("stream", tokens="words", vocabulary=60, longest=5, carried=True)
    source = stream.read(language(folder), reading, stream.StreamAsk())
    recipe = zaremba_recipes.modern("zaremba-small", source.spec).adapted(source.spec)
    model = replace(recipe.model, units=12, dropout=dropout)
    recipe = replace(recipe, model=model, batch=4, epochs=3, precision=Precision())
    torch.manual_seed(0)
    return source, recipe, zaremba.PAPER.build(model)


def stories(folder: Path, count: int = 20, lines: int = 10) -> Path:
    """A file of ``count`` documents, each of so many lines, an empty line between them. No line occurs twice."""
    folder.mkdir(parents=True, exist_ok=True)
    words, things = list(WORDS), list(THINGS)
    texts = [
        [
            f"{words[i % 5]} {things[j % 5]} {' '.join('abcdefghij'[int(d)] for d in f'{i:02d}{j:02d}')}"
            for j in range(lines)
        ]
        for i in range(count)
    ]
    path = folder / "stories.txt"
    path.write_text("\n\n".join("\n".join(text) for text in texts) + "\n", encoding="utf-8")
    return path


def pretraining(
    folder: Path, dropout: float = 0.3, reading: Reading = HIDING, ablation: str = ""
) -> tuple[documents.DocumentSource, Recipe, torch.nn.Module]:
    """A very small BERT that learns hidden words, and which part follows which."""
    source = documents.read(stories(folder), reading, documents.DocumentsAsk())
    sizes = bert.Config(layers=1, width=16, inner=32, heads=2, dropout=dropout, attention_dropout=dropout)
    model = replace(sizes, next_sentence=reading.next_sentence, ablation=ablation).fitted(source.spec)
    task, optim = MaskedLanguage(), Optim("adamw")
    recipe = Recipe("test", "bert-tiny", model, task, 3, 240, 5e-3, optim, Constant(), precision=Precision())
    torch.manual_seed(0)
    return source, recipe, bert.PAPER.build(model)


def head_alone_learns(model: nn.Module, input: Tensor) -> None:
    """With a frozen body nothing but the head drops units or gets gradients."""
    head = tuple(name for name, _ in model.named_parameters() if name.startswith("head."))
    transfer = Transfer("run", freeze=True, head=head)
    prepared(model, transfer)
    model.train()
    keep_still(model, transfer)
    on = {name.split(".")[0] for name, part in model.named_modules() if isinstance(part, Dropout) and part.training}
    assert on == {"head"}
    model(input).sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == set(head)
