"""Recipes for ResNeXt."""

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.resnext import VARIANTS
from seminal.pieces.augment import HorizontalFlip
from seminal.pieces.crops import RandomCrop, ResizedCrop
from seminal.recipes.pictures import large_pictures, small_pictures
from seminal.tasks.classification import Classification
from seminal.train.schedules import Steps

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Xie et al. 2016: Sec. 4 for the networks with a large stem, appendix A for the small ones."""
    return _paper_imagenet(variant) if VARIANTS[variant].large_stem else _paper_cifar(variant)


def modern(variant: str, spec: DataSpec) -> Recipe:
    """A short run with a schedule that makes the most of it."""
    config = VARIANTS[variant]
    return large_pictures(variant, config, spec) if config.large_stem else small_pictures(variant, config, spec)


def _paper_imagenet(variant: str) -> Recipe:
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=100,
        batch=256,
        lr=0.1,
        optim=Optim("sgd", momentum=0.9, weight_decay=1e-4),
        schedule=Steps((0.3, 0.6, 0.9), 0.1),
        augment=(ResizedCrop(), HorizontalFlip()),
        sources={
            "epochs": "the rate falls three times, 30 epochs apart; a few epochs follow",
            "batch": "Sec. 4: a mini-batch size of 256",
            "lr": "Sec. 4: starts from 0.1",
            "optim": "Sec. 4: weight decay 0.0001 and momentum 0.9",
            "schedule": "Sec. 4: divided by 10 three times, by the schedule of its ref. [11]: every 30 epochs",
            "augment": "Sec. 4: a 224 × 224 crop by scale and aspect ratio; flips as its ref. [11]",
        },
        departures=(Departure("100 epochs (paper: not said)", "the rate must fall three times", "Sec. 4"),),
    )


def _paper_cifar(variant: str) -> Recipe:
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=300,
        batch=128,
        lr=0.1,
        optim=Optim("sgd", momentum=0.9, weight_decay=5e-4),
        schedule=Steps((0.5, 0.75), 0.1),
        augment=(RandomCrop(padding=4), HorizontalFlip()),
        sources={
            "epochs": "appendix A: 300 epochs",
            "batch": "appendix A: a mini-batch size of 128",
            "lr": "appendix A: a learning rate of 0.1",
            "optim": "appendix A: a weight decay of 0.0005 and a momentum of 0.9",
            "schedule": "appendix A: reduced at the 150th and 225th epoch; by 10 in its ref. [11]",
            "augment": "appendix A: 32 × 32 crops of the picture padded to 40 × 40, or of its flip",
        },
    )
