"""Recipes for deep convolutional generative adversarial networks."""

from dataclasses import replace

from seminal.core import DataSpec, Optim, Recipe
from seminal.papers.dcgan import VARIANTS
from seminal.recipes.pictures import two_players
from seminal.tasks.game import Game
from seminal.train.schedules import Constant

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Radford et al. 2015, Sec. 4."""
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Game(),
        epochs=5,
        batch=128,
        lr=2e-4,
        optim=Optim("adam", betas=(0.5, 0.999)),
        schedule=Constant(),
        scaling="none",
        sources={
            "epochs": "Fig. 3: bedrooms after five epochs of training",
            "batch": "Sec. 4: mini-batch size of 128",
            "lr": "Sec. 4: 0.0002, for 0.001 was too high",
            "optim": "Sec. 4: Adam with β₁ = 0.5, for with 0.9 training oscillated",
            "schedule": "no change of the rate is named; authors' program: constant",
            "task": "authors' program: −log D(G(z)), one step of each player",
            "scaling": "pictures in [0, 1]; the model maps them to [−1, 1], the range of tanh (Sec. 4)",
        },
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """A network of half the width on small pictures, in many steps of small batches."""
    model = VARIANTS[variant]
    small = spec.kind == "images" and min(spec.shape[1:]) <= 32
    recipe = two_players(variant, replace(model, width=64) if small else model, Game())
    sources = {"model": "width 64 up to 32 pixels: the authors' program for MNIST"} if small else {}
    return replace(recipe, sources={**recipe.sources, **sources})
