"""Recipes for sequence to sequence learning with two LSTMs."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe
from seminal.papers.seq2seq import VARIANTS
from seminal.recipes.text import few_pairs, mean_length, tokens_of
from seminal.tasks.translation import Translation
from seminal.train.schedules import Cosine, Steps, Warmup

DEFAULT = "modern"
SENTENCES = 128  # of a batch
EPOCHS = 7.5
HALVINGS = (5.0, 5.5, 6.0, 6.5, 7.0)  # in epochs


def reading(variant: str) -> Reading:
    """Sec. 3.1: words, each language with its own. The paper has 160,000 and 80,000 for 12 million pairs; of small data
    so many would be all words there are, and nothing would be learned of unknown ones: see --vocab-size."""
    return Reading("pairs", tokens="words", vocabulary=10_000, longest=100, shared=False)


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 3.4.

    The paper's loss is summed over the tokens of a sentence and averaged over 128 sentences; ours is averaged over all
    tokens of the batch. With m tokens in a sentence its gradient is m times smaller, so a step of theirs is ours with the
    rate m · 0.7 and the clip 5 / m. Here m is the mean over the training split.
    """
    mean, batch = mean_length(spec), tokens_of(SENTENCES, spec)
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Translation(),
        epochs=8,
        steps=max(1, round(EPOCHS * spec.amount / batch)),
        batch=batch,
        lr=0.7 * mean,
        optim=Optim("sgd"),
        schedule=Steps(tuple(epoch / EPOCHS for epoch in HALVINGS), 0.5),
        clip=5.0 / mean,
        sources={
            "epochs": "Sec. 3.4: 7.5 epochs, so that training ends in the middle of the eighth",
            "steps": "Sec. 3.4: 7.5 epochs, as batches of these data",
            "batch": f"Sec. 3.4: 128 sentences, here of {mean:.1f} tokens on average",
            "lr": f"Sec. 3.4: 0.7 on the loss summed over a sentence, so 0.7 · {mean:.1f} on the mean over its tokens",
            "optim": "Sec. 3.4: gradient descent without momentum",
            "schedule": "Sec. 3.4: constant for 5 epochs, then halved every half epoch",
            "clip": f"Sec. 3.4: 5 on the gradient of the summed loss, so 5 / {mean:.1f} on that of the mean",
        },
        departures=(
            Departure(
                "a batch holds so many tokens as 128 sentences have on average (paper: 128 sentences)",
                "batches of long sentences would otherwise need several times the memory",
                "Sec. 3.4",
            ),
            Departure(
                "rate and clip are those of a sentence of mean length (paper: each sentence counts as it is long)",
                "the loss is averaged over tokens",
                "Sec. 3.4",
            ),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """For tens of thousands of pairs: a small network with dropout and one matrix for both ends of the decoder, AdamW."""
    config, small = VARIANTS[variant], few_pairs(spec)
    if small:
        config = replace(config, layers=2, units=256, dropout=0.3, tied=True)
    return Recipe(
        name="modern",
        variant=variant,
        model=config,
        task=Translation(label_smoothing=0.1),
        epochs=30 if small else 8,
        batch=2048,
        lr=3e-3 if small else 1e-3,
        optim=Optim("adamw", weight_decay=0.01, decay_all=False),
        schedule=Warmup(Cosine(0.02), share=0.05),
        clip=1.0,
        least_steps=4000,
        sources={
            "model": "dropout as in Zaremba et al. 2014; one matrix for both ends of the decoder: Press and Wolf 2017",
            "clip": "Pascanu et al. 2013: recurrent networks need it",
        },
    )
