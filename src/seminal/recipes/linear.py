"""Recipes for linear regression."""

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.linear import VARIANTS
from seminal.tasks.regression import Regression
from seminal.train.schedules import Constant, Cosine, Warmup

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """The least sum of squares over all rows, without any penalty."""
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Regression("mse"),
        epochs=1000,
        batch=spec.counts["train"],
        lr=0.1,
        optim=Optim("sgd", momentum=0.9, nesterov=True),
        schedule=Constant(),
        sources={
            "task": "Legendre 1805, appendix: the sum of the squares of the errors is made a minimum",
            "batch": "all rows enter each equation",
            "epochs": "enough to come within rounding of the solution where the columns are standardised",
            "lr": "below 2 / largest curvature of standardised columns that are not strongly correlated",
        },
        departures=(
            Departure("gradient descent (paper: the normal equations, solved)", "one loop trains every model here"),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """Small batches and a falling rate: the same minimum, sooner on large tables."""
    return Recipe(
        name="modern",
        variant=variant,
        model=VARIANTS[variant],
        task=Regression("mse"),
        epochs=20,
        batch=64,
        lr=0.05,
        optim=Optim("adam"),
        schedule=Warmup(Cosine(), 0.05),
        least_steps=1500,
        sources={"lr": "standardised columns and target: weights are of the order of 1, reached in some tens of steps"},
    )
