"""Recipes for pre-activation ResNet, and for the orders and shortcuts that paper compares it with."""

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.preact_resnet import VARIANTS
from seminal.pieces.augment import HorizontalFlip
from seminal.pieces.crops import RandomCrop, ShortSideJitter
from seminal.recipes.pictures import cifar_warmup, colour_shift, large_pictures, small_pictures
from seminal.tasks.classification import Classification
from seminal.train.schedules import Steps

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """He et al. 2016, appendix; what it takes over from He et al. 2015 is said so."""
    return _paper_imagenet(variant, spec) if VARIANTS[variant].large_stem else _paper_cifar(variant)


def modern(variant: str, spec: DataSpec) -> Recipe:
    """A short run with a schedule that makes the most of it."""
    config = VARIANTS[variant]
    return large_pictures(variant, config, spec) if config.large_stem else small_pictures(variant, config, spec)


def _paper_imagenet(variant: str, spec: DataSpec) -> Recipe:
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=90,
        batch=256,
        lr=0.1,
        optim=Optim("sgd", momentum=0.9, weight_decay=1e-4),
        schedule=Steps((30 / 90, 60 / 90), 0.1),
        augment=(ShortSideJitter(256, 480, 224), HorizontalFlip(), colour_shift(spec)),
        scaling="pixel_mean",
        sources={
            "epochs": "the step that would follow after those at 30 and 60",
            "batch": "appendix: a mini-batch size of 256",
            "lr": "appendix: starts from 0.1, no warming up",
            "optim": "appendix: weight decay 0.0001 and momentum 0.9",
            "schedule": "appendix: divided by 10 at 30 and 60 epochs",
            "augment": "appendix: as in He et al. 2015, Sec. 3.4; Table 5: scale",
            "scaling": "appendix: as in He et al. 2015, Sec. 3.4",
        },
        departures=(Departure("90 epochs (paper: not said)", "the rate falls at 30 and 60", "appendix"),),
    )


def _paper_cifar(variant: str) -> Recipe:
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=182,
        batch=128,
        lr=0.1,
        optim=Optim("sgd", momentum=0.9, weight_decay=1e-4),
        schedule=cifar_warmup(),
        augment=(RandomCrop(padding=4), HorizontalFlip()),
        scaling="pixel_mean",
        sources={
            "epochs": "He et al. 2015, Sec. 4.2: 64 k iterations; × 128 / 45,000 pictures = 182 epochs",
            "batch": "appendix: a mini-batch size of 128 (64 in the last row of Table 4)",
            "lr": "appendix: 0.1, after 400 iterations at 0.01",
            "optim": "appendix: a weight decay of 0.0001 and a momentum of 0.9",
            "schedule": "appendix: divided by 10 at 32 k and 48 k iterations",
            "augment": "appendix: only the translation and flipping of He et al. 2015, Sec. 4.2",
            "scaling": "He et al. 2015, Sec. 4.2: the per-pixel mean is subtracted",
        },
    )
