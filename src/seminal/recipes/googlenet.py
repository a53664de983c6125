"""Recipes for GoogLeNet."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.googlenet import VARIANTS
from seminal.pieces.augment import ColourJitter, HorizontalFlip
from seminal.pieces.crops import ResizedCrop
from seminal.recipes.pictures import large_pictures
from seminal.tasks.classification import Classification
from seminal.train.schedules import Steps

DEFAULT = "modern"

EPOCHS = 250


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Szegedy et al. 2014, Sec. 5 and 6. What the paper does not print is taken from the replication in Caffe (BVLC
    GoogleNet), for whose help its author thanks Szegedy."""
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(auxiliary=0.3),
        epochs=EPOCHS,
        batch=32,
        lr=0.01,
        optim=Optim("sgd", momentum=0.9, weight_decay=2e-4),
        schedule=Steps(tuple(epoch / EPOCHS for epoch in range(8, EPOCHS, 8)), 0.96),
        augment=(ResizedCrop(), HorizontalFlip(), ColourJitter(0.5, 0.5, 0.5)),
        ema=0.9999,
        sources={
            "task": "Sec. 5: the losses of the auxiliary classifiers were weighted by 0.3",
            "epochs": "not printed; 250 in the readme of BVLC GoogleNet, for its solver with this schedule",
            "batch": "not printed; 32 in BVLC GoogleNet, and in Ioffe and Szegedy 2015, Sec. 4.2",
            "lr": "not printed; 0.01 in BVLC GoogleNet",
            "optim": "Sec. 6: stochastic gradient descent with 0.9 momentum; weight decay as in BVLC GoogleNet",
            "schedule": "Sec. 6: the learning rate falls by 4 % every 8 epochs",
            "augment": "Sec. 6: 8 % to 100 % of the area, aspect ratio from 3/4 to 4/3, Howard's photometric distortions "
            "(Howard 2013: brightness, contrast and colour by factors from 0.5 to 1.5); mirrored as in Sec. 7",
            "scaling": "Sec. 5: mean subtraction",
            "ema": "Sec. 6: Polyak averaging gives the final model",
        },
        departures=(
            Departure("steps follow each other (paper: asynchronous, on many machines)", "one machine", "Sec. 6"),
            Departure(
                "a moving average with decay 0.9999 (paper: Polyak averaging)",
                "the paper does not say over which steps it averages",
                "Sec. 6",
            ),
            Departure(
                "channels are also divided by their spread (paper: mean subtraction)",
                "the first weights, which the paper does not print, expect it",
                "Sec. 5",
            ),
            Departure(
                "one kind of interpolation (paper: four, drawn by chance)",
                "the authors could not tell whether it helps",
                "Sec. 6",
            ),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """The recipe for large photographs, with the side heads; gentler where no normalisation holds the activations."""
    config = VARIANTS[variant]
    recipe = large_pictures(variant, config, spec)
    sources = {**recipe.sources, "task": f"{recipe.sources['task']}; side heads 0.3: the paper's Sec. 5"}
    recipe = replace(recipe, task=Classification(label_smoothing=0.1, auxiliary=0.3), sources=sources)
    if config.normalised:
        return recipe
    gentle = {
        **sources,
        "lr": "that of BVLC GoogleNet, which has no normalisation either",
        "clip": "a bound of the order of the gradients in a run that goes well",
    }
    return replace(recipe, lr=0.01, clip=5.0, sources=gentle)
