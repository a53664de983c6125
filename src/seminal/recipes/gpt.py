"""Recipes for GPT."""

from dataclasses import replace

from seminal.core import DataSpec, Optim, Reading, Recipe, Schedule
from seminal.papers.gpt import VARIANTS
from seminal.recipes.text import WINDOWS, other_windows, plain_text, sizes_for
from seminal.tasks.language import Language
from seminal.train.schedules import Cosine, Warmup

DEFAULT = "modern"
EPOCHS = 100
WINDOW = 512  # tokens
RATE = 2.5e-4
OPTIM = Optim("adamw", weight_decay=0.01, decay_all=False)
WARMUP = 2000  # steps


def reading(variant: str) -> Reading:
    """Byte-pair encoding as in Sec. 4.1, with a vocabulary and windows for small texts."""
    return WINDOWS


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 4.1, model specifications."""
    batch = 64
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Language(carried=False),
        epochs=EPOCHS,
        batch=batch,
        lr=RATE,
        optim=OPTIM,
        schedule=schedule(batch, spec),
        sources={
            "epochs": "Sec. 4.1: 100 epochs",
            "batch": "Sec. 4.1: 64 sequences of 512 tokens",
            "lr": "Sec. 4.1: at most 2.5e-4",
            "optim": "Sec. 4.1: Adam with weight decay 0.01 beside its step, on all but biases and gains; betas not stated",
            "schedule": "Sec. 4.1: 2,000 steps of linear rise (half of a run that is shorter than 4,000), then a cosine to 0",
        },
        departures=other_windows(spec, WINDOW, "Sec. 4.1"),
    )


def schedule(batch: int, spec: DataSpec) -> Schedule:
    """A linear rise for `WARMUP` steps, or for half of a run that is shorter than twice as many; then a cosine to 0."""
    steps = EPOCHS * max(1, spec.amount // batch)
    return Warmup(Cosine(), share=min(0.5, WARMUP / steps))


def modern(variant: str, spec: DataSpec) -> Recipe:
    """For a text of a megabyte: a small network, a large rate, dropout."""
    config, sizes = replace(VARIANTS[variant], longest=spec.longest["text"]), sizes_for(spec)
    if sizes is not None:
        layers, width, heads = sizes
        config = replace(config, layers=layers, width=width, inner=4 * width, heads=heads)
        config = replace(config, dropout=0.2, attention_dropout=0.0)
    return plain_text(variant, config, spec, lr=RATE if sizes is None else 1e-3)
