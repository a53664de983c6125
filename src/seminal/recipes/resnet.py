"""Recipes for ResNet: the networks for ImageNet (large stem) and those for CIFAR-10 (small stem)."""

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.resnet import VARIANTS
from seminal.pieces.augment import HorizontalFlip
from seminal.pieces.crops import RandomCrop, ShortSideJitter
from seminal.recipes.pictures import cifar_warmup, colour_shift, large_pictures, small_pictures
from seminal.tasks.classification import Classification
from seminal.train.schedules import Plateau, Steps

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """He et al. 2015: Sec. 3.4 for the networks with a large stem, Sec. 4.2 for the small ones."""
    return _paper_imagenet(variant, spec) if VARIANTS[variant].large_stem else _paper_cifar(variant)


def modern(variant: str, spec: DataSpec) -> Recipe:
    """A tenth of the paper's epochs, with a schedule that makes the most of them."""
    config = VARIANTS[variant]
    return large_pictures(variant, config, spec) if config.large_stem else small_pictures(variant, config, spec)


def _paper_imagenet(variant: str, spec: DataSpec) -> Recipe:
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=120,
        batch=256,
        lr=0.1,
        optim=Optim("sgd", momentum=0.9, weight_decay=1e-4),
        schedule=Plateau(factor=0.1, patience=5, most=3),
        augment=(ShortSideJitter(256, 480, 224), HorizontalFlip(), colour_shift(spec)),
        scaling="pixel_mean",
        sources={
            "epochs": "Sec. 3.4: up to 60 · 10⁴ iterations; × 256 / 1.28 M pictures = 120 epochs",
            "batch": "Sec. 3.4: mini-batch size of 256",
            "lr": "Sec. 3.4: starts from 0.1",
            "optim": "Sec. 3.4: weight decay of 0.0001 and a momentum of 0.9",
            "schedule": "Sec. 3.4: divided by 10 when the error plateaus",
            "augment": "Sec. 3.4: shorter side from [256, 480], a 224 × 224 crop, its flip, the standard colour change",
            "scaling": "Sec. 3.4: the per-pixel mean is subtracted",
        },
        departures=(
            Departure(
                "the rate falls after 5 epochs without progress (paper: on plateaus)",
                "a rule can be repeated",
                "Sec. 3.4",
            ),
        ),
    )


def _paper_cifar(variant: str) -> Recipe:
    # Only ResNet-110 needs it: the training error must fall below 80 % first.
    schedule = cifar_warmup() if variant == "resnet110" else Steps((0.5, 0.75), 0.1)
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=182,
        batch=128,
        lr=0.1,
        optim=Optim("sgd", momentum=0.9, weight_decay=1e-4),
        schedule=schedule,
        augment=(RandomCrop(padding=4), HorizontalFlip()),
        scaling="pixel_mean",
        sources={
            "epochs": "Sec. 4.2: 64 k iterations; × 128 / 45,000 pictures = 182 epochs",
            "batch": "Sec. 4.2: a mini-batch size of 128",
            "lr": "Sec. 4.2: a learning rate of 0.1; ResNet-110 begins with 0.01 for about 400 iterations",
            "optim": "Sec. 4.2: a weight decay of 0.0001 and momentum of 0.9",
            "schedule": "Sec. 4.2: divided by 10 at 32 k and 48 k of 64 k iterations",
            "augment": "Sec. 4.2: 4 pixels are padded on each side, a 32 × 32 crop, its flip",
            "scaling": "Sec. 4.2: the inputs are images with the per-pixel mean subtracted",
        },
    )
