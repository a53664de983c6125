"""Recipes for Luong's attention."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe
from seminal.papers.luong import VARIANTS
from seminal.tasks.translation import Translation
from seminal.train.schedules import Cosine, Steps, Warmup

DEFAULT = "modern"
SENTENCES = 128  # of a batch
EPOCHS = 12
SMALL = 1_000_000  # pairs below which the paper's sizes only learn by heart

CUT = Departure(
    "byte-pair encoding with one vocabulary of 8,000 tokens, sentences of up to 256 tokens (paper: the 50,000 most frequent "
    "words of each language, sentences of up to 50 words)",
    "no word is unknown then; --tokens words --vocab-size 50000 --max-length 50 reads as the paper does",
    "Sec. 4.1",
)


def reading(variant: str) -> Reading:
    """Pieces of words: see `CUT`."""
    return Reading("pairs", tokens="bpe", vocabulary=8000, longest=256, shared=True)


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 4.1, for models with dropout. The paper's loss is a sum over the tokens of a sentence, ours a mean over tokens:
    the rate is therefore multiplied, and the largest norm divided, by the mean length of a sentence."""
    length = spec.amount / max(1, spec.counts["train"])
    batch = max(1, round(SENTENCES * length))
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Translation(),
        epochs=EPOCHS,
        batch=batch,
        lr=1.0 * length,
        optim=Optim("sgd"),
        schedule=Steps(tuple(epoch / EPOCHS for epoch in (8, 9, 10, 11)), factor=0.5),
        clip=5.0 / length,
        sources={
            "epochs": "Sec. 4.1: 12 epochs for models with dropout",
            "batch": "Sec. 4.1: 128 sentences, as tokens of these data",
            "lr": f"Sec. 4.1: 1 for losses per sentence, of {length:.1f} tokens here",
            "optim": "Sec. 4.1: plain SGD",
            "schedule": "Sec. 4.1: halved every epoch after the 8th",
            "clip": f"Sec. 4.1: norm 5 of gradients per sentence, of {length:.1f} tokens here",
        },
        departures=(
            CUT,
            Departure(
                f"batches of {batch:,} tokens (paper: 128 sentences)", "all batches then take the same time", "Sec. 4.1"
            ),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """For data of tens of thousands of pairs: one layer of a quarter of the width, dropout, Adam, label smoothing."""
    config, small = VARIANTS[variant], spec.counts["train"] < SMALL
    if small:
        config = replace(config, layers=1, width=256, dropout=0.3)
    return Recipe(
        name="modern",
        variant=variant,
        model=config,
        task=Translation(label_smoothing=0.1),
        epochs=25 if small else 12,
        batch=4096,
        lr=1e-3,
        optim=Optim("adam"),
        schedule=Warmup(Cosine(0.05), 0.05),
        clip=1.0,
        least_steps=2000,
        sources={
            "model": "one layer for 30,000 pairs, with the paper's width divided by four",
            "epochs": "of small data: a round number; of large ones: Sec. 4.1",
            "batch": "4,096 tokens, as the modern recipe of the Transformer",
            "lr": "Kingma and Ba 2015: the usual rate of Adam",
            "schedule": "warm-up, then cosine: Loshchilov and Hutter 2017",
            "clip": "1, as in Bahdanau et al. 2015, B.2",
            "task": "label smoothing 0.1: Szegedy et al. 2016, Sec. 7",
        },
        departures=(CUT,),
    )
