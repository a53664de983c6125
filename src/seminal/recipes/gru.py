"""Recipes for the gated recurrent unit."""

from dataclasses import replace

from seminal.core import DataSpec, Optim, Reading, Recipe
from seminal.papers.gru import VARIANTS
from seminal.recipes.text import DROPOUT, labelled_text, task_of, words
from seminal.train.schedules import Constant

DEFAULT = "modern"
ROWS = 64


def reading(variant: str) -> Reading:
    """Sec. 4.1: the 15,000 most frequent words."""
    return words(15_000)


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 4.1."""
    length = max(1, spec.amount // spec.counts["train"])
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=task_of(spec),
        epochs=10,
        batch=ROWS * length,
        lr=1.0,
        optim=Optim("adadelta", betas=(0.0, 0.95), eps=1e-6),
        schedule=Constant(),
        sources={
            "batch": "Sec. 4.1: 64 phrase pairs, here as tokens of 64 texts of mean length",
            "optim": "Sec. 4.1: Adadelta with ρ = 0.95 and ε = 10⁻⁶",
            "epochs": "Sec. 4.1 says three days; no number of passes",
            "lr": "Adadelta finds its own: it is taken as it is",
        },
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """That of all recurrent readers."""
    return labelled_text(variant, replace(VARIANTS[variant], dropout=DROPOUT), spec)
