"""Recipes for the recurrent language models of Zaremba, Sutskever and Vinyals."""

from dataclasses import replace

from seminal.core import DataSpec, Optim, Reading, Recipe
from seminal.papers.zaremba import VARIANTS
from seminal.tasks.language import Language
from seminal.train.schedules import Cosine, Steps, Warmup

DEFAULT = "modern"
CLIP = {"zaremba-small": 5.0, "zaremba-medium": 5.0, "zaremba-large": 10.0}
RATES = {"zaremba-small": 3e-3, "zaremba-medium": 2e-3, "zaremba-large": 1e-3}  # of AdamW: less for larger networks
# Epochs in all, epochs at the first rate, and what the rate is divided by after each epoch from then on.
EPOCHS = {"zaremba-small": (13, 4, 2.0), "zaremba-medium": (39, 6, 1.2), "zaremba-large": (55, 14, 1.15)}


def reading(variant: str) -> Reading:
    """Sec. 4.1: words, 10,000 of them, in windows that follow one another."""
    return Reading("stream", tokens="words", vocabulary=10_000, longest=VARIANTS[variant].unroll, carried=True)


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 4.1.

    The paper's loss is the sum over the T tokens of a window, averaged over the rows; ours is averaged over the tokens,
    so it is T times smaller, and so is its gradient g. A step of theirs, lr · min(1, C / ‖T g‖) · T g, is ours with the
    rate T · lr and the clip C / T.
    """
    config = VARIANTS[variant]
    epochs, constant, divisor = EPOCHS[variant]
    window, clip = config.unroll, CLIP[variant]
    small = variant == "zaremba-small"
    return Recipe(
        name="paper",
        variant=variant,
        model=config,
        task=Language(carried=True),
        epochs=epochs,
        batch=20,
        lr=1.0 * window,
        optim=Optim("sgd"),
        schedule=Steps(tuple(epoch / epochs for epoch in range(constant, epochs)), 1 / divisor),
        clip=clip / window,
        sources={
            "epochs": f"Sec. 4.1: {epochs} epochs",
            "batch": "Sec. 4.1: minibatches of 20 rows, each going on where it ended in the one before",
            "lr": f"Sec. 4.1: 1 on the loss summed over a window, so 1 · {window} on the mean over its tokens",
            "optim": "Sec. 4.1 and the authors' program: plain gradient descent",
            "schedule": f"Sec. 4.1: constant for {constant} epochs, then divided by {divisor:g} after each epoch",
            "clip": (
                f"{'the authors’ program' if small else 'Sec. 4.1'}: {clip:g} on the gradient of the summed loss, so "
                f"{clip:g} / {window} on that of the mean"
            ),
        },
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """For texts of less than a million words: dropout in every size, one matrix for embedding and softmax, AdamW."""
    config = VARIANTS[variant]
    return Recipe(
        name="modern",
        variant=variant,
        model=replace(config, dropout=max(0.5, config.dropout), tied=True),
        task=Language(carried=True),
        epochs=30,
        batch=20,
        lr=RATES[variant],
        optim=Optim("adamw", weight_decay=0.01, decay_all=False),
        schedule=Warmup(Cosine(0.02), share=0.05),
        clip=1.0,
        sources={
            "model": "dropout as in the paper's medium size; one matrix for both ends: Press and Wolf 2017",
            "batch": "Sec. 4.1 of the paper: 20 rows",
        },
    )
