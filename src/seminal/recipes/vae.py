"""Recipes for the variational autoencoder.

A β-VAE and KL annealing are fields of the task: ``replace(recipe, task=Variational(beta=4.0, annealing=0.3))``.
"""

from seminal.core import DataSpec, Optim, Recipe
from seminal.papers.vae import VARIANTS
from seminal.tasks.variational import Variational
from seminal.train.schedules import Constant, Cosine, Warmup

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Kingma and Welling 2013, Sec. 5."""
    rows = spec.counts["train"]
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Variational(),
        epochs=max(1, 10**8 // rows),
        batch=100,
        lr=0.02,
        optim=Optim("adagrad", weight_decay=1 / rows),
        schedule=Constant(),
        scaling=_scaling(spec),
        sources={
            "task": "Sec. 5: L = 1 sample per datapoint",
            "epochs": "Fig. 2: up to 10⁸ training samples are evaluated; divided by the training rows",
            "batch": "Sec. 5: minibatches of size M = 100",
            "lr": "Sec. 5: chosen from {0.01, 0.02, 0.1} by the first iterations; after 3 epochs of 8,000 digits 0.02 was "
            "ahead of 0.01, and 0.1 had overflowed",
            "optim": "Sec. 5: Adagrad; the prior N(0, I) on parameters gives ½ ‖θ‖² for all rows, 1 / rows for each",
            "scaling": "Sec. 5: pixels between 0 and 1",
        },
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """Adam with warm-up and a cosine, in far fewer steps than Fig. 2 shows. Annealing did not help digits: it is left out."""
    return Recipe(
        name="modern",
        variant=variant,
        model=VARIANTS[variant],
        task=Variational(),
        epochs=50,
        batch=100,
        lr=4e-3,
        optim=Optim("adam"),
        schedule=Warmup(Cosine(), 0.05),
        scaling=_scaling(spec),
        least_steps=3000,
        sources={
            "batch": "Sec. 5 of the paper",
            "lr": "best of 1e-3, 2e-3 and 4e-3 on 8,000 digits after 12 epochs: bounds of −133, −127 and −123 nats",
            "optim": "Kingma and Ba 2015, who chose a variational autoencoder as an example (Sec. 6.4)",
            "schedule": "cosine to zero: Loshchilov and Hutter 2017",
            "scaling": "Sec. 5 of the paper: pixels between 0 and 1; the columns of a table are standardised",
        },
    )


def _scaling(spec: DataSpec) -> str:
    return "none" if spec.kind == "images" else "standard"
