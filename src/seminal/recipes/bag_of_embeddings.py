"""Recipes for the bag of embeddings."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe
from seminal.papers.bag_of_embeddings import VARIANTS
from seminal.recipes.text import labelled_text, words
from seminal.tasks.classification import Classification
from seminal.train.schedules import Linear

DEFAULT = "modern"


def reading(variant: str) -> Reading:
    """Words. The paper keeps all of them; on sst2 it is better if rare ones share ``<unk>``."""
    return words()


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 3.1."""
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=5,
        batch=1,
        lr=0.25,
        optim=Optim("sgd"),
        schedule=Linear(),
        sources={
            "epochs": "Sec. 3.1: 5",
            "lr": "Sec. 3.1: the best of 0.05, 0.1, 0.25 and 0.5 on validation data; not which",
            "optim": "Sec. 2: stochastic gradient descent",
            "schedule": "Sec. 2: a linearly decaying learning rate",
            "batch": "one text at a time, as stochastic gradient descent is meant; it stands alone in its batch",
        },
        departures=(
            Departure(
                "words beyond the 10,000 most frequent share one vector (paper: none do)", "see `reading`", "Sec. 2"
            ),
            Departure(
                "one process (paper: many, which change the same weights without waiting)",
                "runs can then be repeated",
                "Sec. 2",
            ),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """Wider vectors with dropout, and AdamW on batches."""
    model = replace(VARIANTS[variant], width=64, dropout=0.5)
    recipe = replace(labelled_text(variant, model, spec, lr=3e-3), epochs=6)
    chosen = {"model": "width and dropout chosen on the validation split of sst2", "clip": "as for recurrent readers"}
    return replace(recipe, sources={**recipe.sources, **chosen})
