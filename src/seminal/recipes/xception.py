"""Recipes for Xception."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.xception import VARIANTS
from seminal.pieces.augment import HorizontalFlip
from seminal.pieces.crops import ResizedCrop
from seminal.recipes.pictures import large_pictures
from seminal.tasks.classification import Classification
from seminal.train.schedules import Steps

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Chollet 2016, Sec. 4.2 and 4.3, for ImageNet."""
    epochs = 100
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=epochs,
        batch=32,
        lr=0.045,
        optim=Optim("sgd", momentum=0.9, weight_decay=1e-5),
        schedule=Steps(tuple(epoch / epochs for epoch in range(2, epochs, 2)), 0.94),
        augment=(ResizedCrop(), HorizontalFlip()),
        ema=0.9999,
        sources={
            "epochs": "Szegedy et al. 2016, Sec. 8, for Inception V3, whose settings Sec. 4.2 takes over",
            "batch": "Szegedy et al. 2016, Sec. 8: 32 on each machine",
            "lr": "Sec. 4.2: initial learning rate 0.045",
            "optim": "Sec. 4.2: momentum 0.9; Sec. 4.3: weight decay 1e-5",
            "schedule": "Sec. 4.2: decay of rate 0.94 every 2 epochs",
            "model": "Sec. 4.3: a dropout layer of rate 0.5 before the logistic regression",
            "augment": "Szegedy et al. 2015, Sec. 6: what Inception networks are trained with",
            "ema": "Sec. 4.2: all models are evaluated with Polyak averaging",
        },
        departures=(
            Departure(
                f"{epochs} epochs of batches of 32 on one machine (paper: 60 GPUs, neither number is given)",
                "the settings are those of Inception V3, whose paper has these numbers",
                "Sec. 4.2 and 4.4",
            ),
            Departure("the average of the weights decays by 0.9999 per step", "the paper gives no rate", "Sec. 4.2"),
            Departure("crops of random area and flips", "the paper does not say how pictures are altered", "Sec. 4"),
            Departure("weights start as He et al. 2015 have it", "the paper does not say how they start", "Sec. 4"),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """The recipe for large photographs, with the paper's weaker decay."""
    common = large_pictures(variant, VARIANTS[variant], spec)
    decay = "Chollet 2016, Sec. 4.3: weight decay 1e-5; none on gains and biases: Goyal et al. 2017"
    optim = replace(common.optim, weight_decay=1e-5)
    return replace(common, optim=optim, sources={**common.sources, "optim": decay})
