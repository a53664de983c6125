"""Recipes for noise-contrastive estimation."""

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.nce import VARIANTS
from seminal.tasks.contrast import Contrast
from seminal.train.schedules import Cosine

DEFAULT = "modern"
NOISE = Departure(
    "noise of mean 0 and spread 1 in each column, without correlation (paper: with the covariance of the data)",
    "it needs nothing but standardised columns; more noise rows make up for it",
    "Sec. 3.2",
)


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 3: as much noise as data."""
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Contrast(ratio=1),
        epochs=1000,
        batch=spec.counts["train"],
        lr=0.01,
        optim=Optim("adam"),
        schedule=Cosine(),
        sources={
            "task": "Sec. 2.1: one noise row for each row",
            "epochs": "a step of each: as many as Adam needs from Λ = I, B = I",
            "batch": "Sec. 2.1: the objective is a sum over all rows",
            "lr": "Adam's; the paper's conjugate gradients have no rate",
        },
        departures=(
            NOISE,
            Departure("Adam (paper: nonlinear conjugate gradients)", "noise is drawn anew in each step", "Sec. 3.2"),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """Ten noise rows for each row, in small batches."""
    return Recipe(
        name="modern",
        variant=variant,
        model=VARIANTS[variant],
        task=Contrast(ratio=10),
        epochs=50,
        batch=256,
        lr=0.03,
        optim=Optim("adam"),
        schedule=Cosine(),
        least_steps=1000,
        sources={
            "task": "more noise comes near to maximum likelihood: Gutmann and Hyvärinen 2012, Theorem 3",
            "lr": "large, because there are few numbers to learn",
        },
        departures=(NOISE,),
    )
