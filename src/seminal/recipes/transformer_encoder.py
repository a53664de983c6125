"""Recipes for the encoder of the Transformer as a reader of labelled text."""

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe
from seminal.papers.transformer import rate
from seminal.papers.transformer_encoder import VARIANTS
from seminal.recipes.text import task_of
from seminal.train.schedules import Cosine, InverseSqrt, Warmup

DEFAULT = "modern"
WARMUP = 4000


def reading(variant: str) -> Reading:
    """Sec. 5.1: byte-pair encoding."""
    return Reading("labelled", tokens="bpe", vocabulary=8000, longest=256)


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Secs. 5.1 to 5.4, as far as they speak of an encoder."""
    config = VARIANTS[variant]
    return Recipe(
        name="paper",
        variant=variant,
        model=config,
        task=task_of(spec, smoothing=0.1),
        epochs=max(1, round(100_000 * 25_000 / max(1, spec.amount))),
        batch=25_000,
        lr=rate(WARMUP, config.body.width, WARMUP),
        optim=Optim("adam", betas=(0.9, 0.98), eps=1e-9),
        schedule=InverseSqrt(WARMUP),
        sources={
            "epochs": "Sec. 5.2: 100,000 steps of 25,000 tokens, as epochs of these data",
            "batch": "Sec. 5.1: approximately 25,000 source tokens",
            "lr": "Eq. 3 at its peak, the end of the warm-up: (width · 4000)^−½",
            "optim": "Sec. 5.3: Adam with β1 = 0.9, β2 = 0.98 and ε = 10⁻⁹",
            "schedule": "Sec. 5.3: 4,000 steps of warm-up, then the inverse square root",
        }
        | ({} if spec.kind == "tagged" else {"task": "Sec. 5.4: label smoothing ε = 0.1"}),
        departures=(Departure("labels instead of translations", "the paper trains no classifier", "Sec. 5"),),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """A few epochs of AdamW with warm-up: thousands of short texts are soon known by heart."""
    return Recipe(
        name="modern",
        variant=variant,
        model=VARIANTS[variant],
        task=task_of(spec),
        epochs=10,
        batch=2048,
        lr=1e-3,
        optim=Optim("adamw", betas=(0.9, 0.98), weight_decay=0.01, decay_all=False),
        schedule=Warmup(Cosine(), 0.1),
        clip=1.0,
        least_steps=600,
        sources={
            "optim": "decay apart from the gradient, matrices only: Loshchilov and Hutter 2019",
            "schedule": "cosine to zero: Loshchilov and Hutter 2017; a tenth of the steps is warm-up",
        },
    )
