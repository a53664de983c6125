"""Recipes for the Transformer."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe
from seminal.papers.transformer import VARIANTS, rate
from seminal.recipes.text import PIECES, few_pairs
from seminal.tasks.translation import Translation
from seminal.train.schedules import Cosine, InverseSqrt, Warmup

DEFAULT = "modern"
WARMUP = 4000
ANY_SIZE = ("transformer", "transformer-marian", "transformer-torch")  # no row of the paper's table is asked for


def reading(variant: str) -> Reading:
    """Sec. 5.1: byte-pair encoding with one vocabulary for both languages."""
    return PIECES


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Secs. 5.1 to 6.1."""
    config = VARIANTS[variant]
    big = variant == "transformer-big"
    smoothing, average = 0.1, 20 if big else 5
    return Recipe(
        name="paper",
        variant=variant,
        model=config,
        task=Translation(label_smoothing=smoothing),
        epochs=max(1, round((300_000 if big else 100_000) * 25_000 / max(1, spec.amount))),
        batch=25_000,
        lr=rate(WARMUP, config.width, WARMUP),
        optim=Optim("adam", betas=(0.9, 0.98), eps=1e-9),
        schedule=InverseSqrt(WARMUP),
        average=average,
        sources={
            "epochs": "Sec. 5.2: 100,000 steps (base) or 300,000 (big) of 25,000 tokens, as epochs of these data",
            "batch": "Sec. 5.1: approximately 25,000 source tokens and 25,000 target tokens",
            "lr": "Eq. 3 at its peak, the end of the warm-up: (width · 4000)^−½",
            "optim": "Sec. 5.3: Adam with β1 = 0.9, β2 = 0.98 and ε = 10⁻⁹",
            "schedule": "Sec. 5.3: 4,000 steps of warm-up, then the inverse square root",
            "task": "Sec. 5.4: label smoothing ε = 0.1",
            "average": "Sec. 6.1: the last 5 checkpoints are averaged (big: 20), written every 10 minutes",
        },
        departures=(
            Departure(
                f"the last {average} epochs are averaged (paper: checkpoints every 10 minutes)",
                "minutes cannot be repeated",
                "Sec. 6.1",
            ),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """For data of tens of thousands of pairs: a small network with strong dropout; the paper's own form of training."""
    config, small = VARIANTS[variant], variant in ANY_SIZE and few_pairs(spec)
    if small:
        config = replace(config, layers=3, width=256, inner=512, heads=4, key=64, dropout=0.2)
    return Recipe(
        name="modern",
        variant=variant,
        model=config,
        task=Translation(label_smoothing=0.1),
        epochs=15 if small else 20,
        batch=2048 if small else 4096,
        lr=1e-3 if small else rate(WARMUP, config.width, WARMUP),
        optim=Optim("adam", betas=(0.9, 0.98), eps=1e-9),
        schedule=Warmup(Cosine(0.02), 0.1) if small else InverseSqrt(WARMUP),
        average=3 if small else 5,
        least_steps=3000,
        sources={
            "model": "sizes and dropout for 30,000 pairs: half of the paper's width and layers",
            "lr": "of small networks: a round number; else Eq. 3 of the paper",
            "schedule": "of short training: a rate that ends near zero needs no long tail",
            "epochs": "of small data: a round number, about 3,600 steps of 30,000 pairs",
            "average": "Sec. 6.1 of the paper, with epochs",
        },
    )
