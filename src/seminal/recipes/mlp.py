"""Recipes for the multilayer perceptron."""

from dataclasses import replace

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
    """AdamW on small batches with warm-up and a cosine, rectified units, and a decay that suits the number of rows."""
    epochs, batch, least_steps = 20, 64, 600
    steps = max(least_steps, epochs * (spec.counts["train"] // batch))
    model = replace(VARIANTS[variant], activation="relu") if variant == "mlp" else VARIANTS[variant]
    decay = 3.0 if model.activation == "relu" else 0.1  # sigmoids need large weights to be anything but straight lines
    return Recipe(
        name="modern",
        variant=variant,
        model=model,
        task=_task(spec),
        epochs=epochs,
        batch=batch,
        lr=5e-3,
        optim=Optim("adamw", weight_decay=decay * least_steps / steps, decay_all=False),
        schedule=Warmup(Cosine(), 0.1),
        clip=1.0,
        least_steps=least_steps,
        sources={
            "model": "sigmoids learn so slowly that after these steps the network is still almost a linear one",
            "lr": "chosen with the decay",
            "optim": "rate · decay · steps stays the same: the fewer rows, the stronger (Wang and Aitchison 2024). Its "
            "value, 9 for relu, was chosen by 5-fold cross-validation on iris, wine, breast-cancer, diabetes and problems "
            "with known curves, on other folds than those of benchmarks/tables.py. Matrices only; Loshchilov and Hutter 2019",
            "schedule": "cosine to zero: Loshchilov and Hutter 2017",
        },
    )


def _task(spec: DataSpec) -> Task:
    return Classification() if spec.classes else Regression("mse")
