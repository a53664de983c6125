"""Recipes for AlexNet."""

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.alexnet import VARIANTS
from seminal.pieces.augment import HorizontalFlip
from seminal.pieces.crops import RandomCrop, ResizedCrop
from seminal.recipes.pictures import colour_shift
from seminal.tasks.classification import Classification
from seminal.train.schedules import Cosine, Plateau, Warmup

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Krizhevsky, Sutskever and Hinton 2012, Sec. 4 and 5."""
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=90,
        batch=128,
        lr=0.01,
        optim=Optim("sgd", momentum=0.9, weight_decay=5e-4),
        schedule=Plateau(factor=0.1, patience=5, most=3),
        augment=(RandomCrop(), HorizontalFlip(), colour_shift(spec)),
        scaling="pixel_mean",
        sources={
            "epochs": "Sec. 5: roughly 90 cycles through the training set",
            "batch": "Sec. 5: batch size of 128 examples",
            "lr": "Sec. 5: initialised at 0.01",
            "optim": "Sec. 5: momentum of 0.9 and weight decay of 0.0005",
            "schedule": "Sec. 5: divided by 10 when the validation error stopped improving, three times",
            "augment": "Sec. 4.1: random patches, their reflections, and the colours' principal components, σ = 0.1",
            "scaling": "Sec. 2: the mean activity over the training set is subtracted from each pixel",
        },
        departures=(
            Departure(
                "the rate falls after 5 epochs without progress (paper: by eye)", "a rule can be repeated", "Sec. 5"
            ),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """The paper's numbers where they still hold, a short schedule, and crops of many scales."""
    return Recipe(
        name="modern",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(label_smoothing=0.1),
        epochs=30,
        batch=128,
        lr=0.01,
        optim=Optim("sgd", momentum=0.9, nesterov=True, weight_decay=5e-4, decay_all=False),
        schedule=Warmup(Cosine(), 0.1),
        augment=(ResizedCrop(scale=(0.25, 1.0)), HorizontalFlip()),
        scaling="pixel_mean",
        clip=5.0,
        least_steps=1000,
        sources={
            "lr": "the paper's, Sec. 5",
            "scaling": "the paper's first weights (σ = 0.01) expect pixels of the order of 100",
            "schedule": "cosine with warm-up: Loshchilov and Hutter 2017; Goyal et al. 2017",
            "augment": "Szegedy et al. 2015, Sec. 6, with the smaller crops left out for the short schedule",
            "task": "label smoothing 0.1: Szegedy et al. 2016, Sec. 7",
        },
    )
