"""Recipes for logistic regression."""

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.logistic import VARIANTS
from seminal.tasks.classification import Classification
from seminal.train.schedules import Constant, Cosine, Warmup

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Maximum likelihood over all rows, without any penalty."""
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=1000,
        batch=spec.counts["train"],
        lr=0.3,
        optim=Optim("sgd", momentum=0.9, nesterov=True),
        schedule=Constant(),
        sources={
            "task": "Cox 1958, Sec. 2: the likelihood of the observed answers",
            "batch": "all rows enter the likelihood",
            "lr": "below 8 / number of standardised columns that rise together: the curvature is at most ¼ per column",
        },
        departures=(
            Departure("gradient descent (paper: estimates by hand calculation)", "one loop trains every model here"),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """Small batches, Adam, and a penalty, without which separable classes would drive the weights to infinity."""
    return Recipe(
        name="modern",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=20,
        batch=64,
        lr=0.05,
        optim=Optim("adam", weight_decay=1 / spec.counts["train"], decay_all=False),
        schedule=Warmup(Cosine(), 0.05),
        least_steps=1500,
        sources={
            "lr": "standardised columns: weights are of the order of 1, reached in some tens of steps",
            "optim": "½ |w|² is added to the sum of the losses over all rows, the usual strength; divided by the rows, as "
            "losses are here, it is this. None on the constant",
        },
    )
