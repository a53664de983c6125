"""Recipes for GPT."""

from dataclasses import replace
from typing import Any

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe
from seminal.papers.gpt import VARIANTS
from seminal.tasks.language import Language
from seminal.train.schedules import Cosine, Warmup

DEFAULT = "modern"
WINDOW = 512  # tokens
WARMUP = 2000  # steps
RATE = 2.5e-4
# With fewer tokens than the first number, the paper's sizes only learn by heart: layers, width, heads instead.
SIZES = ((3_000_000, 4, 128, 4), (100_000_000, 6, 384, 6))


def reading(variant: str) -> Reading:
    """Byte-pair encoding as in Sec. 4.1, with a vocabulary and windows for small texts."""
    return Reading("stream", tokens="bpe", vocabulary=8000, longest=256)


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 4.1, model specifications."""
    epochs, batch, window = 100, 64, spec.longest["text"]
    steps = epochs * max(1, spec.amount // batch)
    shorter = Departure(
        f"windows of {window} tokens (paper: {WINDOW})",
        "as the data were cut; --max-length cuts them otherwise",
        "Sec. 4.1",
    )
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Language(carried=False),
        epochs=epochs,
        batch=batch,
        lr=RATE,
        optim=Optim("adamw", weight_decay=0.01, decay_all=False),
        schedule=Warmup(Cosine(), share=min(0.5, WARMUP / steps)),
        sources={
            "epochs": "Sec. 4.1: 100 epochs",
            "batch": "Sec. 4.1: 64 sequences of 512 tokens",
            "lr": "Sec. 4.1: at most 2.5e-4",
            "optim": "Sec. 4.1: Adam with weight decay 0.01 beside its step, on all but biases and gains; betas not stated",
            "schedule": "Sec. 4.1: 2,000 steps of linear rise (half of a run that is shorter than 4,000), then a cosine to 0",
        },
        departures=(shorter,) if window != WINDOW else (),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """For a text of a megabyte: a small network, a large rate, dropout."""
    config, sizes = replace(VARIANTS[variant], longest=spec.longest["text"]), sizes_for(spec)
    if sizes is not None:
        layers, width, heads = sizes
        config = replace(config, layers=layers, width=width, inner=4 * width, heads=heads)
        config = replace(config, dropout=0.2, attention_dropout=0.0)
    return on_text(variant, config, spec, small=sizes is not None)


def sizes_for(spec: DataSpec) -> tuple[int, int, int] | None:
    """Layers, width and heads of a network for a text of this length; None where the paper's own suit."""
    return next(((layers, width, heads) for most, layers, width, heads in SIZES if spec.tokens["train"] < most), None)


def on_text(variant: str, config: Any, spec: DataSpec, *, small: bool) -> Recipe:
    """What is usual today for models of the next token; ``small`` networks learn with a larger rate."""
    short = spec.tokens["train"] < SIZES[0][0]
    return Recipe(
        name="modern",
        variant=variant,
        model=config,
        task=Language(carried=False),
        epochs=20 if short else 10,
        batch=16 if short else 32,
        lr=1e-3 if small else RATE,
        optim=Optim("adamw", betas=(0.9, 0.99), weight_decay=0.1, decay_all=False),
        schedule=Warmup(Cosine(0.1), share=0.1),
        clip=1.0,
        patience=5,
        least_steps=500,
        sources={
            "model": "width by the length of the text; no dropout inside attention, so that its fast form can be used",
            "batch": "16 windows of 256 are 4,096 tokens: enough steps for a short text",
            "lr": "small networks bear a larger rate than the 2.5e-4 of GPT (Radford et al. 2018, Sec. 4.1)",
            "optim": "weight decay as in GPT-3 (Brown et al. 2020, App. B)",
            "schedule": "App. B there: linear rise, then a cosine to a tenth of the rate",
            "clip": "App. B there: a norm of 1.0",
            "patience": "a short text is soon known by heart: training ends when validation no longer improves",
        },
    )
