"""Recipes for SENets: networks with squeeze-and-excitation."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.senet import VARIANTS
from seminal.pieces.augment import HorizontalFlip
from seminal.pieces.crops import ResizedCrop
from seminal.recipes import preact_resnet
from seminal.recipes.pictures import large_pictures, small_pictures
from seminal.tasks.classification import Classification
from seminal.train.schedules import Steps

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Hu et al. 2017: Sec. 5.1; the Appendix for SENet-154; Sec. 6 for the networks of its tables."""
    config = VARIANTS[variant]
    if config.network in preact_resnet.VARIANTS:
        return _paper_cifar(variant, spec)
    if not config.bias:
        return _paper_ablation(variant)
    return _paper_154(variant) if config.network == "senet154" else _paper_imagenet(variant)


def modern(variant: str, spec: DataSpec) -> Recipe:
    """A short run with a schedule that makes the most of it."""
    config = VARIANTS[variant]
    small = config.network in preact_resnet.VARIANTS
    return small_pictures(variant, config, spec) if small else large_pictures(variant, config, spec)


def _paper_imagenet(variant: str) -> Recipe:
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=100,
        batch=1024,
        lr=0.6,
        optim=Optim("sgd", momentum=0.9, weight_decay=1e-4),
        schedule=Steps((0.3, 0.6, 0.9), 0.1),
        augment=(ResizedCrop(), HorizontalFlip()),
        scaling="pixel_mean",
        sources={
            "epochs": "Sec. 5.1: 100 epochs from scratch",
            "batch": "Sec. 5.1: a minibatch size of 1024",
            "lr": "Sec. 5.1: an initial rate of 0.6",
            "optim": "Sec. 5.1: momentum 0.9; the decay is that of He et al. 2015",
            "schedule": "Sec. 5.1: decreased by a factor of 10 every 30 epochs",
            "augment": "Sec. 5.1: crops by scale and aspect ratio, horizontal flips",
            "scaling": "Sec. 5.1: the mean is subtracted",
        },
        departures=(
            Departure("weight decay 0.0001 (paper: not said)", "that of the networks without gates", "Sec. 5.1"),
            Departure("the mean of each pixel is subtracted (paper: of each colour)", "as for ResNet", "Sec. 5.1"),
        ),
    )


def _paper_154(variant: str) -> Recipe:
    common = _paper_imagenet(variant)
    sources = {
        "batch": "Appendix (g): large batches, 2048",
        "lr": "Appendix (g): an initial rate of 1.0",
        "task": "Appendix (e): label smoothing of Szegedy et al. 2016, Sec. 7, which has 0.1",
    }
    frozen = Departure(
        "batch normalisation learns to the end (paper: frozen for the last few epochs)",
        "the paper does not say for how many",
        "Appendix (f)",
    )
    return replace(
        common,
        task=Classification(label_smoothing=0.1),
        batch=2048,
        lr=1.0,
        sources={**common.sources, **sources},
        departures=(*common.departures, frozen),
    )


def _paper_ablation(variant: str) -> Recipe:
    common = _paper_imagenet(variant)
    sources = {
        "epochs": "Sec. 6, footnote 2: a 270 epoch schedule",
        "batch": "the usual size on one machine with 8 GPUs",
        "lr": "Sec. 6: initialised to 0.1",
        "schedule": "Sec. 6, footnote 2: reduced at 125, 200 and 250 epochs",
        "task": "Sec. 6: label smoothing of Szegedy et al. 2016, Sec. 7, which has 0.1",
    }
    said = (
        Departure("270 epochs (paper: about 300, reduced on plateaus)", "its own fixed schedule", "Sec. 6, footnote 2"),
        Departure("batches of 256 (paper: not said)", "the usual size on 8 GPUs", "Sec. 6"),
    )
    return replace(
        common,
        task=Classification(label_smoothing=0.1),
        epochs=270,
        batch=256,
        lr=0.1,
        schedule=Steps((125 / 270, 200 / 270, 250 / 270), 0.1),
        sources={**common.sources, **sources},
        departures=(*common.departures, *said),
    )


def _paper_cifar(variant: str, spec: DataSpec) -> Recipe:
    config = VARIANTS[variant]
    common = preact_resnet.paper(config.network, spec)
    sources = {
        **{name: f"Sec. 5.1: as the original paper. {text}" for name, text in common.sources.items()},
        "augment": "Sec. 5.1: flips, four pixels of zeros on each side, and a random 32 × 32 crop",
        "scaling": "Sec. 5.1: mean and standard deviation normalisation",
    }
    return replace(common, variant=variant, model=config, scaling="standard", sources=sources)
