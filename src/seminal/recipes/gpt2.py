"""Recipes for GPT-2: on plain text its own, on labels GPT's."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Reading, Recipe
from seminal.papers.gpt2 import VARIANTS
from seminal.recipes.gpt import EPOCHS, OPTIM, RATE, fine_tuning, schedule, with_labels
from seminal.recipes.gpt import begun as begun  # `seminal.runs.shelf.begun_by` looks for it here
from seminal.recipes.text import WINDOWS, other_windows, plain_text, sizes_for
from seminal.tasks.language import Language

DEFAULT = "modern"
WINDOW = 1024  # tokens


def reading(variant: str) -> Reading:
    """Byte-pair encoding as in Sec. 2.2, with a vocabulary and windows for small texts."""
    return WINDOWS


UNTUNED = Departure("GPT's fine-tuning (paper: none)", "labels are learned from, not only guessed", "Sec. 2")


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 2.3 and 3. The paper states little of its training: what is missing is GPT's, and said so."""
    if spec.kind != "stream":
        tuned = fine_tuning(variant, VARIANTS[variant], spec)
        return replace(tuned, departures=(*tuned.departures, UNTUNED))
    batch = 512
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
        epochs=EPOCHS,
        batch=batch,
        lr=RATE,
        optim=OPTIM,
        schedule=schedule(batch, spec),
        sources={
            "epochs": "not stated: GPT's",
            "batch": "Sec. 2.3: 512",
            "lr": "not stated (Sec. 3: tuned by hand on 5 % of the text): GPT's",
            "optim": "not stated: GPT's",
            "schedule": "not stated: GPT's",
        },
        departures=(silent, *other_windows(spec, WINDOW, "Sec. 2.3")),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """For a text of a megabyte: `gpt2` becomes a small network; the others keep their sizes."""
    config = VARIANTS[variant]
    sizes = sizes_for(spec) if variant == "gpt2" else None
    if sizes is not None:
        layers, width, heads = sizes
        config = replace(config, layers=layers, width=width, heads=heads)
    if spec.kind != "stream":
        return with_labels(variant, config, spec)
    config = replace(config, longest=spec.longest["text"])
    if sizes is not None:
        config = replace(config, dropout=0.2, attention_dropout=0.0)
    return plain_text(variant, config, spec, lr=RATE if sizes is None else 1e-3)
