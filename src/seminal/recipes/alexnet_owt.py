"""Recipes for AlexNet with one tower."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.alexnet_owt import VARIANTS
from seminal.pieces.augment import HorizontalFlip
from seminal.pieces.crops import RandomCrop
from seminal.recipes import alexnet
from seminal.recipes.pictures import colour_shift, large_pictures
from seminal.tasks.classification import Classification
from seminal.train.schedules import Steps

DEFAULT = "modern"

_PROGRAM = "the paper does not print it; the parameters its author published with cuda-convnet2"

_TORCHVISION = (
    Departure(
        "channels with mean 0 and spread 1 (the author's program: pixels up to 255, less their mean)",
        "He's start keeps the inputs' size: with pixels as they are the first loss is a thousand, and the run breaks",
    ),
    Departure("gradients are clipped at a norm of 5 (paper: not)", "the first steps from He's start kill whole layers"),
)


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Krizhevsky 2014, Experiments; with one worker."""
    config = VARIANTS[variant]
    return Recipe(
        name="paper",
        variant=variant,
        model=config,
        task=Classification(loss="binary_cross_entropy"),
        epochs=90,
        batch=128,
        lr=0.01,
        optim=Optim("sgd", momentum=0.9, weight_decay=5e-4),
        schedule=Steps((0.25, 0.5, 0.75), 250 ** (-1 / 3)),
        augment=(RandomCrop(), HorizontalFlip(), colour_shift(spec)),
        scaling="standard" if config.torchvision else "pixel_mean",
        clip=5.0 if config.torchvision else None,
        sources={
            "task": "Experiments: independent logistic units, trained to minimise cross-entropy",
            "epochs": "Experiments: exactly 90 epochs",
            "batch": "Table 1: 128 on one GPU",
            "lr": f"{_PROGRAM}: 0.01",
            "optim": f"Experiments: momentum 0.9 for all batch sizes. Weight decay: {_PROGRAM}, 0.0005",
            "schedule": "Experiments: times 250^(−1/3) at 25 %, 50 % and 75 % of the training",
            "augment": f"{_PROGRAM}: crops, reflections and colour noise of 0.1, as in Krizhevsky et al. 2012, Sec. 4.1",
            "scaling": "as torchvision's weights want it"
            if config.torchvision
            else "Krizhevsky et al. 2012, Sec. 2: the mean over the training set is subtracted from each pixel",
        },
        departures=(
            Departure("one learning rate (the author's program: twice as large for biases)", "the paper has one"),
            *(_TORCHVISION if config.torchvision else ()),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """AlexNet's modern recipe; in torchvision's form with the scaling of its weights."""
    config = VARIANTS[variant]
    if not config.torchvision:
        return replace(alexnet.modern("alexnet", spec), variant=variant, model=config)
    recipe = large_pictures(variant, config, spec)
    return replace(
        recipe,
        batch=128,
        lr=0.01,
        optim=replace(recipe.optim, weight_decay=5e-4),
        clip=5.0,
        sources={
            **recipe.sources,
            "batch": "Krizhevsky et al. 2012, Sec. 5",
            "lr": "Krizhevsky et al. 2012, Sec. 5",
            "optim": "weight decay: Krizhevsky et al. 2012, Sec. 5; none on biases: Goyal et al. 2017",
            "clip": "the first steps of a network without normalisation are large",
        },
    )
