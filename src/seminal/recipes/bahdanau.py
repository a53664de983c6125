"""Recipes for RNNsearch and RNNencdec."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe
from seminal.papers.bahdanau import VARIANTS
from seminal.tasks.translation import Translation
from seminal.train.schedules import Constant, Cosine, Warmup

DEFAULT = "modern"
SENTENCES = 80  # of a batch
UPDATES = {"bahdanau": 288_000, "rnnencdec": 600_000}
SMALL = 1_000_000  # pairs below which the paper's sizes only learn by heart

CUT = Departure(
    "byte-pair encoding with one vocabulary of 8,000 tokens, sentences of up to 256 tokens (paper: the 30,000 most frequent "
    "words of each language, sentences of up to 50 words)",
    "no word is unknown then; --tokens words --vocab-size 30000 --max-length 50 reads as the paper does",
    "Secs. 4.1 and 4.2",
)


def reading(variant: str) -> Reading:
    """Pieces of words: see `CUT`."""
    return Reading("pairs", tokens="bpe", vocabulary=8000, longest=256, shared=True)


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 4.2 and appendix B."""
    batch = max(1, round(SENTENCES * spec.amount / max(1, spec.counts["train"])))
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Translation(),
        epochs=max(1, round(UPDATES[variant] * batch / max(1, spec.amount))),
        steps=UPDATES[variant],
        batch=batch,
        lr=1.0,
        optim=Optim("adadelta", betas=(0.0, 0.95), eps=1e-6),
        schedule=Constant(),
        clip=1.0,
        sources={
            "epochs": "the updates of Table 2 as epochs of these data",
            "steps": "Table 2: 2.88 · 10⁵ updates for RNNsearch-50, 6.00 · 10⁵ for RNNencdec-50",
            "batch": "Sec. 4.2: 80 sentences, as tokens of these data",
            "lr": "Zeiler 2012: Adadelta needs no rate",
            "optim": "B.2: Adadelta with ρ = 0.95 and ε = 10⁻⁶",
            "clip": "B.2: the gradient's norm is at most 1",
        },
        departures=(
            CUT,
            Departure(
                f"batches of {batch:,} tokens (paper: 80 sentences)", "all batches then take the same time", "Sec. 4.2"
            ),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """For data of tens of thousands of pairs: a quarter of the width, dropout, Adam, label smoothing."""
    config, small = VARIANTS[variant], spec.counts["train"] < SMALL
    config = replace(config, dropout=0.3 if small else 0.1)
    if small:
        config = replace(config, embedding=256, width=256, alignment=256, maxout=128)
    return Recipe(
        name="modern",
        variant=variant,
        model=config,
        task=Translation(label_smoothing=0.1),
        epochs=20 if small else 5,
        batch=4096,
        lr=1e-3,
        optim=Optim("adam"),
        schedule=Warmup(Cosine(0.05), 0.05),
        clip=1.0,
        least_steps=2000,
        sources={
            "model": "sizes and dropout for 30,000 pairs: the paper's widths divided by four",
            "epochs": "of small data: a round number; of large ones: the paper's longest training, Table 2",
            "batch": "4,096 tokens, as the modern recipe of the Transformer",
            "lr": "Kingma and Ba 2015: the usual rate of Adam",
            "schedule": "warm-up, then cosine: Loshchilov and Hutter 2017",
            "clip": "B.2: the gradient's norm is at most 1",
            "task": "label smoothing 0.1: Szegedy et al. 2016, Sec. 7",
        },
        departures=(CUT,),
    )
