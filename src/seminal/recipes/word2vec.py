"""Recipes for word vectors: those of `cbow` are made here too."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe
from seminal.papers.word2vec import VARIANTS
from seminal.tasks.neighbours import Neighbours
from seminal.train.schedules import Linear, Warmup

DEFAULT = "modern"
KEPT = 1e-3  # t
SUBSAMPLING = Departure(
    f"t = {KEPT:g} (paper: 1e-5)",
    "of a text of a million words next to nothing would be left; it is word2vec.c's",
    "Sec. 2.3",
)
BATCH = Departure("128 words at a time (paper: one pair)", "a processor multiplies matrices faster than single rows")


def reading(variant: str) -> Reading:
    """Words that occur five times, and their neighbours."""
    return neighbours(VARIANTS[variant].window)


def neighbours(window: int, subsample: float = KEPT) -> Reading:
    """How all of these models read."""
    return Reading("stream", tokens="words", vocabulary=100_000, longest=window, least=5, subsample=subsample)


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 3, and the authors' program for what the paper does not say.

    The program moves after every pair, by 0.025 of that pair's gradient. Here the gradients of the pairs of 128 words are
    added up first; the loss is their mean over words, so the rate is 128 times as large.
    """
    config, batch = VARIANTS[variant], 128
    return Recipe(
        name="paper",
        variant=variant,
        model=config,
        task=Neighbours(config.reads, config.output, config.negatives),
        epochs=5,
        batch=batch,
        lr=(0.05 if config.reads == "around" else 0.025) * batch,
        optim=Optim("sgd"),
        schedule=Linear(1e-4),
        sources={
            "task": "Sec. 2.2: k from 5 to 20 for small data; noise U^¾ / Z",
            "epochs": "word2vec.c: 5 passes over the text",
            "batch": "few enough words that a frequent one is not moved too far by a sum",
            "lr": "word2vec.c: 0.025 for skip-gram, 0.05 for CBOW, for each pair; times the words of a batch",
            "optim": "word2vec.c: stochastic gradient descent",
            "schedule": "word2vec.c: a line down to a ten-thousandth",
        },
        departures=(SUBSAMPLING, BATCH),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """Adam on large batches: each number has its own rate, so that rare words keep up with frequent ones."""
    config = VARIANTS[variant]
    return vectors(
        variant,
        replace(config, width=100),
        Neighbours(config.reads, config.output, config.negatives),
    )


def vectors(variant: str, model: object, task: Neighbours) -> Recipe:
    """For texts of a million words or so."""
    return Recipe(
        name="modern",
        variant=variant,
        model=model,
        task=task,
        epochs=10,
        batch=1024,
        lr=2e-3,
        optim=Optim("adam"),
        schedule=Warmup(Linear(), 0.02),
        least_steps=1000,
        sources={
            "model": "100 numbers: the usual width for texts of some million words",
            "optim": "Kingma and Ba 2015",
        },
        departures=(SUBSAMPLING,),
    )
