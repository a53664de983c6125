"""Recipes for Luong's attention."""

from dataclasses import replace

from seminal.core import DataSpec, Optim, Reading, Recipe
from seminal.papers.luong import VARIANTS
from seminal.recipes.text import (
    PIECES,
    few_pairs,
    mean_length,
    pieces_not_words,
    sentence_pairs,
    tokens_not_sentences,
    tokens_of,
)
from seminal.tasks.translation import Translation
from seminal.train.schedules import Steps

DEFAULT = "modern"
SENTENCES = 128  # of a batch
EPOCHS = 12

CUT = pieces_not_words(50_000, "Sec. 4.1")


def reading(variant: str) -> Reading:
    """Pieces of words: see `CUT`."""
    return PIECES


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 4.1, for models with dropout. The paper's loss is a sum over the tokens of a sentence, ours a mean over tokens:
    the rate is therefore multiplied, and the largest norm divided, by the mean length of a sentence."""
    length, batch = mean_length(spec), tokens_of(SENTENCES, spec)
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Translation(),
        epochs=EPOCHS,
        batch=batch,
        lr=1.0 * length,
        optim=Optim("sgd"),
        schedule=Steps(tuple(epoch / EPOCHS for epoch in (8, 9, 10, 11)), factor=0.5),
        clip=5.0 / length,
        sources={
            "epochs": "Sec. 4.1: 12 epochs for models with dropout",
            "batch": "Sec. 4.1: 128 sentences, as tokens of these data",
            "lr": f"Sec. 4.1: 1 for losses per sentence, of {length:.1f} tokens here",
            "optim": "Sec. 4.1: plain SGD",
            "schedule": "Sec. 4.1: halved every epoch after the 8th",
            "clip": f"Sec. 4.1: norm 5 of gradients per sentence, of {length:.1f} tokens here",
        },
        departures=(CUT, tokens_not_sentences(batch, SENTENCES, "Sec. 4.1")),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """For data of tens of thousands of pairs: one layer of a quarter of the width, dropout, Adam, label smoothing."""
    config, small = VARIANTS[variant], few_pairs(spec)
    if small:
        config = replace(config, layers=1, width=256, dropout=0.3)
    recipe = sentence_pairs(variant, config, epochs=25 if small else 12)
    own = {
        "model": "one layer for 30,000 pairs, with the paper's width divided by four",
        "epochs": "of small data: a round number; of large ones: Sec. 4.1",
    }
    return replace(recipe, sources={**recipe.sources, **own}, departures=(CUT,))
