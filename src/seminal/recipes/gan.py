"""Recipes for generative adversarial nets: the MLP for MNIST and the convolutional form for CIFAR-10."""

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.gan import VARIANTS
from seminal.recipes.pictures import two_perceptrons, two_players
from seminal.tasks.game import Game
from seminal.train.schedules import Exponential

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Goodfellow et al. 2014. The paper prints no numbers but k; those here are of the program published with it."""
    model = VARIANTS[variant]
    epochs, batch, lr = (250, 128, 0.004) if model.convolutional else (250, 100, 0.1)
    steps = epochs * -(-spec.counts["train"] // batch)
    program = f"published program, {model.yaml}"
    return Recipe(
        name="paper",
        variant=variant,
        model=model,
        task=Game(discriminator_steps=1),
        epochs=epochs,
        batch=batch,
        lr=lr,
        optim=Optim("sgd", momentum=0.5),
        schedule=Exponential(1.000004**-steps),
        scaling="none",
        sources={
            "epochs": f"{program}: the momentum changes until epoch 250, and no end is given",
            "batch": f"{program}: batch_size {batch}",
            "lr": f"{program}: learning_rate {lr:g}",
            "optim": f"Algorithm 1: momentum; {program}: 0.5 at first",
            "schedule": f"{program}: divided by 1.000004 after every step",
            "task": "Algorithm 1: k = 1; Sec. 3: G maximises log D(G(z))",
            "scaling": "pictures in [0, 1], the range of the generator's sigmoids",
        },
        departures=(
            Departure(
                "momentum 0.5 throughout (published program: up to 0.7 over 250 epochs)", "one number, here", program
            ),
            Departure(
                "the discriminator's loss is the sum of both means, as in Algorithm 1 (published program: half of it)",
                "the paper is followed where its program differs",
                "Algorithm 1",
            ),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """The same game with Adam, as Radford et al. 2015 set it; with larger steps where there is no convolution."""
    model = VARIANTS[variant]
    return (two_players if model.convolutional else two_perceptrons)(variant, model, Game())
