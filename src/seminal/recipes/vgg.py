"""Recipes for VGG."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.vgg import VARIANTS
from seminal.pieces.augment import HorizontalFlip
from seminal.pieces.crops import ShortSideJitter
from seminal.recipes.pictures import colour_shift, large_pictures
from seminal.tasks.classification import Classification
from seminal.train.schedules import Plateau

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Simonyan and Zisserman 2014, Sec. 3.1, at the training scale S = 256, which Table 3 has for every network."""
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=74,
        batch=256,
        lr=0.01,
        optim=Optim("sgd", momentum=0.9, weight_decay=5e-4),
        schedule=Plateau(factor=0.1, patience=5, most=3),
        augment=(ShortSideJitter(256, 256, 224), HorizontalFlip(), colour_shift(spec)),
        scaling="pixel_mean",
        sources={
            "epochs": "Sec. 3.1: 370 k iterations, 74 epochs",
            "batch": "Sec. 3.1: the batch size was set to 256",
            "lr": "Sec. 3.1: initially 10⁻²",
            "optim": "Sec. 3.1: momentum 0.9, weight decay 5 · 10⁻⁴",
            "schedule": "Sec. 3.1: divided by 10 when the validation accuracy stopped improving, three times in all",
            "augment": "Sec. 3.1: shorter side S = 256, a random 224 × 224 crop, its flip, AlexNet's colour shift",
            "scaling": "Sec. 2.1: a mean over the training set is subtracted from each pixel, and nothing else done",
        },
        departures=(
            Departure(
                "the rate falls after 5 epochs without progress (paper: no rule)", "a rule can be repeated", "Sec. 3.1"
            ),
            Departure(
                "the mean picture is subtracted (paper: the mean colour)", "one scaling for all papers", "Sec. 2.1"
            ),
            Departure(
                "validation sees the centre of the picture (paper: all of it, and its mirror image)",
                "pictures of one size fit in a batch",
                "Sec. 3.2",
            ),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """The recipe for all large networks; without batch normalisation, a start and a rate that do without it."""
    config = VARIANTS[variant]
    if config.batch_norm:
        recipe = large_pictures(variant, config, spec)
        sources = recipe.sources
    else:
        recipe = replace(large_pictures(variant, replace(config, start="he"), spec), lr=0.01, clip=5.0)
        sources = dict(recipe.sources) | {
            "lr": "the paper's, Sec. 3.1",
            "model": "He et al. 2015 start networks like these so; inputs have spread 1, for which Glorot's is too small",
            "clip": "the first steps of a network without normalisation are large",
        }
    return replace(
        recipe,
        optim=replace(recipe.optim, weight_decay=5e-4),
        sources={
            **sources,
            "optim": "weight decay: the paper's, Sec. 3.1; none on gains and biases: Goyal et al. 2017",
        },
    )
