"""Recipes for the networks with which batch normalisation was tried on handwritten digits."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.batch_norm import VARIANTS
from seminal.recipes.pictures import small_pictures
from seminal.tasks.classification import Classification
from seminal.train.schedules import Constant

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Ioffe and Szegedy 2015, Sec. 4.1, the same for both networks."""
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=50,
        batch=60,
        lr=0.1,
        optim=Optim("sgd"),
        schedule=Constant(),
        scaling="none",
        steps=50_000,
        sources={
            "epochs": "Sec. 4.1: 50,000 steps of 60 examples; MNIST has 60,000",
            "steps": "Sec. 4.1: 50,000 steps",
            "batch": "Sec. 4.1: 60 examples per mini-batch",
            "lr": "not printed; 0.1 keeps the network without normalisation stable",
            "optim": "Sec. 1 and 3.1: stochastic gradient descent; nothing else is said",
            "scaling": "Sec. 4.1: a 28 × 28 binary image",
            "task": "Sec. 4.1: cross-entropy loss",
        },
        departures=(
            Departure("pixels keep their grey levels from 0 to 1 (paper: 0 or 1)", "as the data have them", "Sec. 4.1"),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """The recipe for small pictures with Adam's steps, which do not shrink with the gradient in front of sigmoids."""
    recipe = small_pictures(variant, VARIANTS[variant], spec)
    sources = {
        **recipe.sources,
        "lr": "tried on 8 × 8 digits: 0.003 is too slow for so short a run",
        "optim": "AdamW: Loshchilov and Hutter 2019; on 8 × 8 digits a decay of 0.1 was as good as 1, or better",
        "augment": "none: units that are tied to single pixels would have to learn every shift anew",
    }
    optim = Optim("adamw", weight_decay=0.1, decay_all=False)
    return replace(recipe, lr=0.01, optim=optim, augment=(), least_steps=600, sources=sources)
