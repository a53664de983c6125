"""Recipes for ShuffleNet and for ShuffleNet V2, which takes its settings over."""

from dataclasses import replace
from typing import Any

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.shufflenet import VARIANTS
from seminal.pieces.augment import HorizontalFlip
from seminal.pieces.crops import ResizedCrop
from seminal.recipes.pictures import large_pictures
from seminal.tasks.classification import Classification
from seminal.train.schedules import Linear

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Zhang et al. 2017, Sec. 4."""
    return settings(variant, VARIANTS[variant])


def modern(variant: str, spec: DataSpec) -> Recipe:
    """The recipe for large photographs, with the paper's weaker decay."""
    return weakly_decayed(variant, VARIANTS[variant], spec)


def settings(variant: str, model: Any) -> Recipe:
    """Sec. 4 of Zhang et al. 2017, for a network of either paper."""
    return Recipe(
        name="paper",
        variant=variant,
        model=model,
        task=Classification(),
        epochs=240,
        batch=1024,
        lr=0.5,
        optim=Optim("sgd", momentum=0.9, weight_decay=4e-5),
        schedule=Linear(),
        augment=(ResizedCrop(scale=(0.25, 1.0)), HorizontalFlip()),
        sources={
            "epochs": "Sec. 4: 3 · 10⁵ iterations; × 1024 / 1.28 M pictures = 240 epochs",
            "batch": "Sec. 4: batch size 1024",
            "lr": "Sec. 4: decreased from 0.5 to 0",
            "optim": "Sec. 4: weight decay 4e-5; momentum 0.9 of ResNeXt (Xie et al. 2016), whose settings it follows",
            "schedule": "Sec. 4: linear decay",
            "augment": "Sec. 4: the scale augmentation of ResNeXt, slightly less aggressive",
        },
        departures=(
            Departure(
                "crops of a quarter of the picture and more (ResNeXt: 8 % and more)",
                "the paper says slightly less aggressive and no number",
                "Sec. 4",
            ),
        ),
    )


def weakly_decayed(variant: str, model: Any, spec: DataSpec) -> Recipe:
    """`large_pictures` for a small network: it learns too little rather than by heart (Sec. 4)."""
    common = large_pictures(variant, model, spec)
    decay = "Zhang et al. 2017, Sec. 4: weight decay 4e-5; none on gains and biases: Goyal et al. 2017"
    optim = replace(common.optim, weight_decay=4e-5)
    return replace(common, optim=optim, sources={**common.sources, "optim": decay})
