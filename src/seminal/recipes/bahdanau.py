"""Recipes for RNNsearch and RNNencdec."""

from dataclasses import replace

from seminal.core import DataSpec, Optim, Reading, Recipe
from seminal.papers.bahdanau import VARIANTS
from seminal.recipes.text import PIECES, few_pairs, pieces_not_words, sentence_pairs, tokens_not_sentences, tokens_of
from seminal.tasks.translation import Translation
from seminal.train.schedules import Constant

DEFAULT = "modern"
SENTENCES = 80  # of a batch
UPDATES = {"bahdanau": 288_000, "rnnencdec": 600_000}

CUT = pieces_not_words(30_000, "Secs. 4.1 and 4.2")


def reading(variant: str) -> Reading:
    """Pieces of words: see `CUT`."""
    return PIECES


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 4.2 and appendix B."""
    batch = tokens_of(SENTENCES, spec)
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Translation(),
        epochs=max(1, round(UPDATES[variant] * batch / max(1, spec.amount))),
        steps=UPDATES[variant],
        batch=batch,
        lr=1.0,
        optim=Optim("adadelta", betas=(0.0, 0.95), eps=1e-6),
        schedule=Constant(),
        clip=1.0,
        sources={
            "epochs": "the updates of Table 2 as epochs of these data",
            "steps": "Table 2: 2.88 · 10⁵ updates for RNNsearch-50, 6.00 · 10⁵ for RNNencdec-50",
            "batch": "Sec. 4.2: 80 sentences, as tokens of these data",
            "lr": "Zeiler 2012: Adadelta needs no rate",
            "optim": "B.2: Adadelta with ρ = 0.95 and ε = 10⁻⁶",
            "clip": "B.2: the gradient's norm is at most 1",
        },
        departures=(CUT, tokens_not_sentences(batch, SENTENCES, "Sec. 4.2")),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """For data of tens of thousands of pairs: a quarter of the width, dropout, Adam, label smoothing."""
    small = few_pairs(spec)
    config = replace(VARIANTS[variant], dropout=0.3 if small else 0.1)
    if small:
        config = replace(config, embedding=256, width=256, alignment=256, maxout=128)
    recipe = sentence_pairs(variant, config, epochs=15 if small else 5)
    own = {
        "model": "sizes and dropout for 30,000 pairs: the paper's widths divided by four",
        "epochs": "of small data: a round number; of large ones: the paper's longest training, Table 2",
        "clip": "B.2: the gradient's norm is at most 1",
    }
    return replace(recipe, sources={**recipe.sources, **own}, departures=(CUT,))
