"""Recipes for the long short-term memory, and what all recurrent readers of text share."""

from dataclasses import replace
from typing import Any

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe, Task
from seminal.papers.lstm import VARIANTS
from seminal.tasks.classification import Classification
from seminal.tasks.tagging import Tagging
from seminal.train.schedules import Constant, Cosine, Warmup

DEFAULT = "modern"

# Sequences shown until the network had learned, and the learning rate: Tables 1, 7 and 9.
SHOWN = {"lstm-1997-reber4": 39_740, "lstm-1997-adding": 74_000, "lstm-1997-order": 31_390, "lstm-1997-order3": 571_100}
RATES = {"lstm-1997-reber4": 0.1, "lstm-1997-order3": 0.1}
REBER = 8_440  # of 3 blocks of size 2, the fastest, with rate 0.5; for text, where the paper has no number


def reading(variant: str) -> Reading:
    """Words, as the network reads one symbol at each step."""
    return words()


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 5: one sequence at a time."""
    steps = SHOWN.get(variant, REBER)
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=task_of(spec),
        epochs=max(1, -(-steps // spec.counts["train"])),
        batch=1,
        lr=RATES.get(variant, 0.5),
        optim=Optim("sgd"),
        schedule=Constant(),
        steps=steps,
        sources={
            "steps": "sequences shown until all were learned: Tables 1, 7 and 9; for text those of Table 1's fastest",
            "epochs": "as many as have these steps",
            "batch": "Sec. 5: on-line learning; a text that is longer than a batch stands alone",
            "lr": "Tables 1, 7 and 9",
            "optim": "Sec. 4: gradient descent",
        },
        departures=(
            cross_entropy(),
            Departure(
                "the whole gradient (paper: cut off where it leaves a cell)",
                "it can be had at the same cost today, and gives slightly better networks (Graves and Schmidhuber 2005)",
                "Sec. 4",
            ),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """AdamW with strong dropout, for some thousands of texts."""
    return for_text(variant, replace(VARIANTS[variant], dropout=DROPOUT), spec)


# ----------------------------------------------------------------------------------- what recurrent readers share

DROPOUT = 0.5


def words(most: int = 10_000) -> Reading:
    """A token for each word. Rare words share ``<unk>``: of a word seen once nothing can be learned."""
    return Reading("labelled", tokens="words", vocabulary=most, longest=256)


def task_of(spec: DataSpec) -> Task:
    """A class for each text, or for each token."""
    return Tagging() if spec.kind == "tagged" else Classification()


def cross_entropy() -> Departure:
    """What papers of before 2000 are changed in, where they separate classes."""
    return Departure(
        "cross-entropy of a softmax (paper: squared error of logistic units)",
        "classes exclude each other, and learn faster",
    )


def for_text(variant: str, model: Any, spec: DataSpec, lr: float = 2e-3) -> Recipe:
    """The recipe of every reader here: AdamW, warm-up and a cosine, clipped gradients."""
    return Recipe(
        name="modern",
        variant=variant,
        model=model,
        task=task_of(spec),
        epochs=5,
        batch=2048,
        lr=lr,
        optim=Optim("adamw", weight_decay=0.01, decay_all=False),
        schedule=Warmup(Cosine(), 0.1),
        clip=1.0,
        least_steps=300,
        sources={
            "model": "dropout of half the word vectors and states: Zaremba et al. 2014 for their medium network",
            "batch": "about 100 sentences of 20 tokens",
            "lr": "chosen on the validation split of sst2",
            "epochs": "as above: by then the validation loss rises again",
            "clip": "the error of a recurrent network may blow up: Pascanu et al. 2013",
            "schedule": "cosine to zero: Loshchilov and Hutter 2017",
            "optim": "matrices only: Loshchilov and Hutter 2019",
        },
    )
