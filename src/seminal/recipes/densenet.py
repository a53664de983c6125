"""Recipes for DenseNet: the networks for ImageNet (large stem) and those for CIFAR (small stem)."""

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.densenet import VARIANTS
from seminal.pieces.augment import ColourJitter, HorizontalFlip
from seminal.pieces.crops import RandomCrop, ResizedCrop
from seminal.recipes.pictures import colour_shift, large_pictures, small_pictures
from seminal.tasks.classification import Classification
from seminal.train.schedules import Steps

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Huang et al. 2016, Secs. 4.1 and 4.2."""
    return _paper_imagenet(variant, spec) if VARIANTS[variant].large_stem else _paper_cifar(variant)


def modern(variant: str, spec: DataSpec) -> Recipe:
    """A fraction of the paper's epochs, with a schedule that makes the most of them."""
    config = VARIANTS[variant]
    return large_pictures(variant, config, spec) if config.large_stem else small_pictures(variant, config, spec)


def _paper_imagenet(variant: str, spec: DataSpec) -> Recipe:
    colours = colour_shift(spec)
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=90,
        batch=256,
        lr=0.1,
        optim=Optim("sgd", momentum=0.9, nesterov=True, weight_decay=1e-4),
        schedule=Steps((1 / 3, 2 / 3), 0.1),
        augment=(ResizedCrop(), ColourJitter(0.4, 0.4, 0.4), colours, HorizontalFlip()),
        sources={
            "epochs": "Sec. 4.2: 90 epochs",
            "batch": "Sec. 4.2: a batch size of 256",
            "lr": "Sec. 4.2: the learning rate is set to 0.1 initially",
            "optim": "Sec. 4.2: a weight decay of 10⁻⁴ and a Nesterov momentum of 0.9 without dampening",
            "schedule": "Sec. 4.2: lowered by 10 times at epoch 30 and 60",
            "augment": "Secs. 4.1 and 4.4: that of its ref. [8], fb.resnet.torch: crops of any size, colours, flips",
        },
        departures=(
            Departure(
                "brightness, contrast and saturation change in this order (ref. [8]: in a random one)",
                "one order for all rows keeps a batch one computation",
                "Sec. 4.1",
            ),
        ),
    )


def _paper_cifar(variant: str) -> Recipe:
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=300,
        batch=64,
        lr=0.1,
        optim=Optim("sgd", momentum=0.9, nesterov=True, weight_decay=1e-4),
        schedule=Steps((0.5, 0.75), 0.1),
        augment=(RandomCrop(padding=4), HorizontalFlip()),
        sources={
            "epochs": "Sec. 4.2: 300 epochs on CIFAR (40 on SVHN)",
            "batch": "Sec. 4.2: batch size 64",
            "lr": "Sec. 4.2: the initial learning rate is set to 0.1",
            "optim": "Sec. 4.2: a weight decay of 10⁻⁴ and a Nesterov momentum of 0.9 without dampening",
            "schedule": "Sec. 4.2: divided by 10 at 50 % and 75 % of the epochs",
            "augment": "Sec. 4.1: mirroring and shifting, the data sets marked +; no dropout then",
            "scaling": "Sec. 4.1: channel means and standard deviations",
        },
    )
