"""What the recipes of networks for pictures share: the modern recipe for large photographs, that for small pictures, that
for generators of pictures, and augmentation that depends on the data."""

from dataclasses import replace
from typing import Any

from seminal.core import DataSpec, Optim, Recipe
from seminal.pieces.augment import HorizontalFlip, PCAColour
from seminal.pieces.crops import RandomCrop, ResizedCrop
from seminal.tasks.classification import Classification
from seminal.tasks.game import Game
from seminal.train.schedules import Constant, Cosine, Linear, Steps, Warmup


def large_pictures(variant: str, model: Any, spec: DataSpec) -> Recipe:
    """For a network made for ImageNet: a tenth to a third of the usual epochs, with a schedule that makes the most of
    them."""
    return Recipe(
        name="modern",
        variant=variant,
        model=model,
        task=Classification(label_smoothing=0.1),
        epochs=30,
        batch=64,
        lr=0.05,
        optim=Optim("sgd", momentum=0.9, nesterov=True, weight_decay=1e-4, decay_all=False),
        schedule=Warmup(Cosine(), 0.1),
        augment=(ResizedCrop(scale=(0.25, 1.0)), *flips(spec)),
        least_steps=1000,
        sources={
            "batch": "a quarter of the usual 256, so that small sets have steps enough",
            "lr": "0.1 per 128 rows: the linear rule of Goyal et al. 2017, from 0.1 per 256 with Nesterov's momentum",
            "schedule": "warm-up, then cosine: Goyal et al. 2017; Loshchilov and Hutter 2017",
            "optim": "no decay on gains and biases: Goyal et al. 2017",
            "augment": "Szegedy et al. 2015, Sec. 6, with the smaller crops left out for the short schedule",
            "task": "label smoothing 0.1: Szegedy et al. 2016, Sec. 7",
        },
    )


def small_pictures(variant: str, model: Any, spec: DataSpec) -> Recipe:
    """For a network made for CIFAR."""
    # Two pixels of 32: half of what the long runs of the papers bear.
    padding = max(1, spec.shape[-1] // 16) if spec.kind == "images" else 2
    return Recipe(
        name="modern",
        variant=variant,
        model=model,
        task=Classification(),
        epochs=7,
        batch=64,
        lr=0.1,
        optim=Optim("sgd", momentum=0.9, nesterov=True, weight_decay=5e-4, decay_all=False),
        schedule=Warmup(Linear(), 0.2),
        augment=(RandomCrop(padding), *flips(spec)),
        least_steps=500,
        sources={
            "batch": "half of that of He et al. 2015: a short run needs many steps",
            "lr": "that of He et al. 2015 for twice the batch: with warm-up a short run bears it",
            "schedule": "up for a fifth of the run, then down in a straight line: Smith and Topin 2017",
            "optim": "on CIFAR-10 5e-4 gave 83.8 % after 7 epochs, 1e-4 with twice the rate 83.0 %; none on gains and biases",
            "augment": "He et al. 2015, Sec. 4.2, with half the padding: a short run does not overfit. Grey pictures are "
            "mostly signs, which a mirror would change: no flips",
        },
    )


def two_players(variant: str, model: Any, task: Game) -> Recipe:
    """For a convolutional generator of small pictures and its discriminator: the numbers of Radford et al. 2015 with smaller
    batches."""
    return Recipe(
        name="modern",
        variant=variant,
        model=model,
        task=task,
        epochs=20,
        batch=64,
        lr=2e-4,
        optim=Optim("adam", betas=(0.5, 0.999)),
        schedule=Constant(),
        scaling="none",
        ema=0.999,
        least_steps=2500,
        sources={
            "batch": "half of that of Radford et al. 2015: a short run needs many steps",
            "lr": "Radford et al. 2015, Sec. 4: 0.0002",
            "optim": "Radford et al. 2015, Sec. 4: Adam with β₁ = 0.5",
            "ema": "players circle around the point where neither gains; the mean of the weights is nearer to it (Yazıcı et "
            "al. 2019)",
            "scaling": "pictures in [0, 1], as generators make them",
        },
    )


def two_perceptrons(variant: str, model: Any, task: Game) -> Recipe:
    """The same without convolutions and batch normalisation, which need more and larger steps."""
    recipe = two_players(variant, model, task)
    sources = {
        "epochs": "of 8,000 digits: pictures of all classes, each as it was asked for, came after 30",
        "lr": "on the same digits 0.0002 of Radford et al. 2015 still gave one picture for all noise after 25 epochs",
    }
    return replace(recipe, epochs=40, lr=5e-4, least_steps=5000, sources={**recipe.sources, **sources})


def cifar_warmup() -> Warmup:
    """400 of 64,000 steps at a tenth of the rate, and cuts after 32,000 and 48,000; those of `Steps` count from 400 on."""
    cuts = Steps(((32_000 - 400) / 63_600, (48_000 - 400) / 63_600), 0.1)
    return Warmup(cuts, share=400 / 64_000, start=0.1, rise="constant")


def flips(spec: DataSpec) -> tuple[HorizontalFlip, ...]:
    """Mirrored pictures, where they have colours; grey ones are mostly letters, digits and scans."""
    return (HorizontalFlip(),) if spec.shape[0] == 3 else ()


def colour_shift(spec: DataSpec) -> PCAColour:
    """AlexNet's change of colours along the principal ones of the training pictures (Krizhevsky et al. 2012, Sec. 4.1)."""
    return PCAColour(0.1, spec.colour_values, spec.colour_vectors) if spec.colour_values else PCAColour(0.1)
