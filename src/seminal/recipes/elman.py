"""Recipes for the simple recurrent network."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe
from seminal.papers.elman import VARIANTS
from seminal.recipes.text import CROSS_ENTROPY, DROPOUT, labelled_text, task_of, words
from seminal.train.schedules import Constant

DEFAULT = "modern"
PASSES = {"elman-xor": 600, "elman-letters": 200, "elman-words": 10}  # over the training sequence


def reading(variant: str) -> Reading:
    """Words, as in the last of the paper's experiments."""
    return words()


def paper(variant: str, spec: DataSpec) -> Recipe:
    """As far as the paper tells how its networks were trained."""
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=task_of(spec),
        epochs=PASSES.get(variant, 6),
        batch=1,
        lr=0.1,
        optim=Optim("sgd"),
        schedule=Constant(),
        sources={
            "epochs": "600 passes for bits, 200 for letters, 10 for words in letters, 6 for sentences of words",
            "batch": "the next element is said, and the weights change, at each step; here a text stands alone",
            "lr": "the paper prints none: one that is small enough for logistic units",
            "optim": "p. 183: back-propagation of error",
        },
        departures=(
            CROSS_ENTROPY,
            Departure(
                "weights change after each text (paper: after each element)",
                "a text has one label, or is one sum of them",
            ),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """That of all recurrent readers."""
    return labelled_text(variant, replace(VARIANTS[variant], dropout=DROPOUT), spec, lr=1e-3)
