"""Recipes for the deep autoencoder."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.autoencoder import VARIANTS
from seminal.tasks.reconstruction import Reconstruction
from seminal.train.schedules import Constant, Cosine, Warmup

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Hinton and Salakhutdinov 2006: the fine-tuning, without the pre-training before it."""
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=_task(variant),
        epochs=200,
        batch=1000,
        lr=1e-3,
        optim=Optim("adam"),
        schedule=Constant(),
        scaling=_scaling(variant, spec),
        sources={
            "epochs": "supporting online text: 200 epochs of fine-tuning",
            "batch": "supporting online text: fine-tuning on larger minibatches of 1000",
            "lr": "Adam's own (Kingma and Ba 2015): conjugate gradients have none",
            "task": "cross-entropy of pixels from 0 to 1; the faces have linear outputs and squared error",
        },
        departures=(
            Departure(
                "Adam (paper: conjugate gradients, three line searches per minibatch)",
                "the loop makes one step per batch",
                "supporting online text",
            ),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """Rectified units, He's start, Adam with warm-up and a cosine: no pre-training is needed."""
    return Recipe(
        name="modern",
        variant=variant,
        model=replace(VARIANTS[variant], activation="relu"),
        task=_task(variant),
        epochs=30,
        batch=100,
        lr=1e-3,
        optim=Optim("adam"),
        schedule=Warmup(Cosine(), 0.05),
        scaling=_scaling(variant, spec),
        least_steps=2000,
        sources={
            "model": "relu units keep the gradient through eight layers: Glorot, Bordes, Bengio 2011",
            "batch": "that of the paper's pre-training",
            "lr": "Adam's own: Kingma and Ba 2015",
            "schedule": "cosine to zero: Loshchilov and Hutter 2017",
        },
    )


def _task(variant: str) -> Reconstruction:
    return Reconstruction("mse" if variant == "autoencoder-faces" else "binary_cross_entropy")


def _scaling(variant: str, spec: DataSpec) -> str:
    return "none" if spec.kind == "images" and variant != "autoencoder-faces" else "standard"
