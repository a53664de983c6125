"""Recipes for the bidirectional recurrent network."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe
from seminal.papers.birnn import VARIANTS
from seminal.recipes.text import DROPOUT, labelled_text, task_of, words
from seminal.train.schedules import Constant

DEFAULT = "modern"


def reading(variant: str) -> Reading:
    """Words."""
    return words()


def paper(variant: str, spec: DataSpec) -> Recipe:
    """All of the training data at each step."""
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=task_of(spec),
        epochs=100,
        batch=spec.counts["train"] * spec.longest["text"],
        lr=1e-3,
        optim=Optim("rmsprop", betas=(0.0, 0.99)),
        schedule=Constant(),
        sources={
            "batch": "RPROP looks at all training data before each step",
            "optim": "RPROP, as we remember the paper; it could not be checked",
            "epochs": "until the error falls no more; the number could not be checked",
            "lr": "of rmsprop: its usual one, as is the decay of its squares",
        },
        departures=(
            Departure(
                "rmsprop (paper: RPROP)",
                "both divide a gradient by its size, so that its sign decides; this one also suits parts of the data",
                "Sec. III",
            ),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """That of all recurrent readers."""
    rate = 2e-3 if variant == "bilstm" else 1e-3
    return labelled_text(variant, replace(VARIANTS[variant], dropout=DROPOUT), spec, lr=rate)
