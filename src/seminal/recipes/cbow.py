"""Recipes for CBOW and skip-gram with a full softmax."""

from dataclasses import replace

from seminal.core import DataSpec, Optim, Reading, Recipe
from seminal.papers.cbow import VARIANTS
from seminal.recipes.word2vec import BATCH, neighbours, vectors
from seminal.tasks.neighbours import Neighbours
from seminal.train.schedules import Linear

DEFAULT = "modern"


def reading(variant: str) -> Reading:
    """Words, none of which is left out: that came later."""
    return neighbours(VARIANTS[variant].window, subsample=0.0)


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 4.3."""
    config, batch = VARIANTS[variant], 128
    return Recipe(
        name="paper",
        variant=variant,
        model=config,
        task=Neighbours(config.reads, "softmax"),
        epochs=3,
        batch=batch,
        lr=0.025 * batch,
        optim=Optim("sgd"),
        schedule=Linear(),
        sources={
            "epochs": "Sec. 4.2: three passes over the data",
            "batch": "few enough words that a frequent one is not moved too far by a sum",
            "lr": "Sec. 4.2: 0.025 for each pair; times the words of a batch, over which the loss is a mean",
            "optim": "Sec. 4.2: stochastic gradient descent",
            "schedule": "Sec. 4.2: a line down to zero at the end of the last pass",
        },
        departures=(BATCH,),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """As that of `word2vec`."""
    config = VARIANTS[variant]
    recipe = vectors(variant, replace(config, width=100), Neighbours(config.reads, "softmax"))
    return replace(recipe, departures=())
