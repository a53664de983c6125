"""Recipes for GPT-2."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe
from seminal.papers.gpt2 import VARIANTS
from seminal.recipes.gpt import RATE, WARMUP, on_text, sizes_for
from seminal.tasks.language import Language
from seminal.train.schedules import Cosine, Warmup

DEFAULT = "modern"
WINDOW = 1024  # tokens


def reading(variant: str) -> Reading:
    """Byte-pair encoding as in Sec. 2.2, with a vocabulary and windows for small texts."""
    return Reading("stream", tokens="bpe", vocabulary=8000, longest=256)


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 2.3 and 3. The paper states little of its training: what is missing is GPT's, and said so."""
    batch, window, epochs = 512, spec.longest["text"], 100
    steps = epochs * max(1, spec.amount // batch)
    shorter = Departure(
        f"windows of {window} tokens (paper: {WINDOW:,})",
        "as the data were cut; --max-length cuts them otherwise",
        "Sec. 2.3",
    )
    silent = Departure(
        "optimiser, rate, schedule and epochs of GPT (paper: the rate was set by hand for each network)",
        "the paper gives no number for them",
        "Sec. 3",
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
            "epochs": "not stated: GPT's",
            "batch": "Sec. 2.3: 512",
            "lr": "not stated (Sec. 3: tuned by hand on 5 % of the text): GPT's",
            "optim": "not stated: GPT's",
            "schedule": "not stated: GPT's",
        },
        departures=(silent, shorter) if window != WINDOW else (silent,),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """For a text of a megabyte: `gpt2` becomes a small network; the others keep their sizes."""
    config = replace(VARIANTS[variant], longest=spec.longest["text"])
    sizes = sizes_for(spec) if variant == "gpt2" else None
    if sizes is not None:
        layers, width, heads = sizes
        config = replace(config, layers=layers, width=width, heads=heads, dropout=0.2, attention_dropout=0.0)
    return on_text(variant, config, spec, small=sizes is not None)
