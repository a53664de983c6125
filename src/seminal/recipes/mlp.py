"""Recipes for the multilayer perceptron."""

from seminal.core import DataSpec, Departure, Optim, Recipe, Task
from seminal.papers.mlp import VARIANTS
from seminal.tasks.classification import Classification
from seminal.tasks.regression import Regression
from seminal.train.schedules import Constant, Cosine, Warmup

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Full-batch descent with acceleration, as the paper's symmetry network was trained."""
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=_task(spec),
        epochs=1425,
        batch=spec.counts["train"],
        lr=0.1,
        optim=Optim("sgd", momentum=0.9),
        schedule=Constant(),
        sources={
            "epochs": "legend of Fig. 1: 1,425 sweeps",
            "batch": "p. 535: ∂E/∂w is accumulated over all input–output cases before the weights change",
            "lr": "legend of Fig. 1: ε = 0.1",
            "optim": "legend of Fig. 1: α = 0.9; equation 9",
        },
        departures=(
            Departure("the gradient is the mean over cases (paper: the sum)", "the rate then suits any number of rows"),
            Departure(
                "cross-entropy for classes (paper: ½ Σ (y − d)²)",
                "outputs are logits here, which squared error does not suit",
            ),
        )[: 2 if spec.classes else 1],
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """AdamW on small batches with warm-up and a cosine."""
    return Recipe(
        name="modern",
        variant=variant,
        model=VARIANTS[variant],
        task=_task(spec),
        epochs=20,
        batch=64,
        lr=2e-3,
        optim=Optim("adamw", weight_decay=0.1, decay_all=False),
        schedule=Warmup(Cosine(), 0.1),
        clip=1.0,
        least_steps=600,
        sources={
            "lr": "chosen by 5-fold cross-validation on iris, wine and diabetes",
            "optim": "decay on matrices only; Loshchilov and Hutter 2019",
            "schedule": "cosine to zero: Loshchilov and Hutter 2017",
        },
    )


def _task(spec: DataSpec) -> Task:
    return Classification() if spec.classes else Regression("mse")
