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
    """On small pictures a network of a quarter of the width, in many larger steps of small batches."""
    recipe = two_players(variant, VARIANTS[variant], Game())
    if spec.kind != "images" or min(spec.shape[1:]) > 32:
        return recipe
    rate = "on 8,000 digits 0.0002 of Radford et al. 2015 needed twice as many steps for the same kernel distance"
    return replace(
        recipe,
        model=replace(recipe.model, width=32),
        lr=5e-4,
        least_steps=7500,
        sources={
            **recipe.sources,
            "model": "width 32: on 8,000 digits 64 was no better for the same time",
            "lr": rate,
            "epochs": "7,500 steps or more: the kernel distance of digits still fell after 5,000",
        },
    )
