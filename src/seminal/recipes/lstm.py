"""Recipes for the long short-term memory."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe
from seminal.papers.lstm import VARIANTS
from seminal.recipes.text import CROSS_ENTROPY, DROPOUT, labelled_text, task_of, words
from seminal.train.schedules import Constant

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
            CROSS_ENTROPY,
            Departure(
                "the whole gradient (paper: cut off where it leaves a cell)",
                "it can be had at the same cost today, and gives slightly better networks (Graves and Schmidhuber 2005)",
                "Sec. 4",
            ),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """AdamW with strong dropout, for some thousands of texts."""
    return labelled_text(variant, replace(VARIANTS[variant], dropout=DROPOUT), spec)
