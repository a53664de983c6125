"""Recipes for GPT: the first training on plain text, and the fine-tuning on labelled texts and on choices."""

from dataclasses import replace
from typing import Any

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe, Schedule, Task
from seminal.papers.gpt import BASE, VARIANTS
from seminal.recipes.text import WINDOWS, other_windows, plain_text, sizes_for, tokens_not_sentences, tokens_of
from seminal.tasks.choice import Choice
from seminal.tasks.classification import Classification
from seminal.tasks.language import Language
from seminal.tasks.regression import Regression
from seminal.train.schedules import Cosine, Linear, Warmup

DEFAULT = "modern"
EPOCHS = 100
WINDOW = 512  # tokens
RATE = 2.5e-4
OPTIM = Optim("adamw", weight_decay=0.01, decay_all=False)
WARMUP = 2000  # steps
AUXILIARY = 0.5  # λ of Eq. 5
LEARNED = 0.1  # of a new head's rate, in a network of the paper's width: what was learned is changed by smaller steps
MEAN = Departure(
    "L1 is the mean over the tokens of each text (paper: the sum)",
    "as in the authors' program: else long texts would count for more than their labels",
    "Eq. 5",
)


def reading(variant: str) -> Reading:
    """Byte-pair encoding as in Sec. 4.1, with a vocabulary and windows for small texts."""
    return WINDOWS


def task_of(spec: DataSpec, language: float = 0.0) -> Task:
    """What is learned from data of this form; ``language`` λ: beside labels and choices, their words."""
    if spec.kind == "labelled":
        return Regression(language=language) if spec.target_names else Classification(language=language)
    return Choice(language=language) if spec.kind == "choices" else Language(carried=False)


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 4.1: model specifications for plain text, else fine-tuning details."""
    return _pre_training(variant, spec) if spec.kind == "stream" else fine_tuning(variant, VARIANTS[variant], spec)


def _pre_training(variant: str, spec: DataSpec) -> Recipe:
    batch = 64
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=task_of(spec),
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


def fine_tuning(variant: str, model: Any, spec: DataSpec) -> Recipe:
    """Sec. 4.1, fine-tuning details; what they do not say is as in the first training."""
    batch = tokens_of(32, spec)
    return Recipe(
        name="paper",
        variant=variant,
        model=model,
        task=task_of(spec, AUXILIARY),
        epochs=3,
        batch=batch,
        lr=6.25e-5,
        optim=OPTIM,
        schedule=Warmup(Linear(), 0.002),
        clip=1.0,
        body_rate=1.0,
        sources={
            "model": "Sec. 4.1: dropout of 0.1 before the classifier",
            "task": "Sec. 4.1: λ was set to 0.5",
            "epochs": "Sec. 4.1: 3",
            "batch": "Sec. 4.1: 32 texts, as tokens",
            "lr": "Sec. 4.1: 6.25e-5",
            "optim": "Sec. 4.1: as in the first training",
            "schedule": "Sec. 4.1: a rise over 0.2 % of the steps, then a straight line to 0",
            "clip": "the authors' program: a norm of 1",
            "body_rate": "Sec. 3.2: all parameters are adapted",
        },
        departures=(tokens_not_sentences(batch, 32, "Sec. 4.1"), MEAN),
    )


def schedule(batch: int, spec: DataSpec) -> Schedule:
    """A linear rise for `WARMUP` steps, or for half of a run that is shorter than twice as many; then a cosine to 0."""
    steps = EPOCHS * max(1, spec.amount // batch)
    return Warmup(Cosine(), share=min(0.5, WARMUP / steps))


def modern(variant: str, spec: DataSpec) -> Recipe:
    """For a text of a megabyte: a small network, a large rate, dropout; and a fine-tuning that seldom fails."""
    config, sizes = VARIANTS[variant], sizes_for(spec)
    if sizes is not None:
        layers, width, heads = sizes
        config = replace(config, layers=layers, width=width, inner=4 * width, heads=heads)
    if spec.kind != "stream":
        return with_labels(variant, config, spec)
    config = replace(config, longest=spec.longest["text"])
    if sizes is not None:
        config = replace(config, dropout=0.2, attention_dropout=0.0)
    return plain_text(variant, config, spec, lr=RATE if sizes is None else 1e-3)


def with_labels(variant: str, model: Any, spec: DataSpec) -> Recipe:
    """For some thousands of texts: longer than the paper's, in larger steps where nothing was learned before."""
    return Recipe(
        name="modern",
        variant=variant,
        model=model,
        task=task_of(spec),
        epochs=10,
        batch=tokens_of(32, spec),
        lr=5e-4,
        optim=Optim("adamw", betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01, decay_all=False),
        schedule=Warmup(Linear(), 0.1),
        clip=1.0,
        patience=3,
        least_steps=600,
        body_rate=LEARNED,
        sources={
            "model": "width by the length of the texts, where no run is there to start from",
            "task": "labels alone: Sec. 5 finds that small sets gain nothing from saying the words as well, and on made "
            "texts a tiny network learned the labels later with them",
            "epochs": "few epochs make runs fail: Mosbach et al. 2021, Zhang et al. 2021",
            "batch": "32 texts, as in Sec. 4.1",
            "lr": "of a new head, and of a network that learns from nothing",
            "body_rate": "5e-5 of what was learned before, near the paper's 6.25e-5; in narrower networks more",
            "optim": "as for BERT: Mosbach et al. 2021; β2 of Liu et al. 2019",
            "schedule": "a rise over a tenth of the steps, then a straight line to 0: Mosbach et al. 2021",
            "clip": "a norm of 1, as in the authors' program",
            "patience": "training ends when validation no longer improves",
        },
    )


def begun(recipe: Recipe) -> Recipe:
    """The recipe for a network that has learned before: where labels are learned, narrower ones go on in larger steps, up to
    those of the head."""
    if recipe.body_rate != LEARNED or isinstance(recipe.task, Language):
        return recipe
    return replace(recipe, body_rate=min(1.0, LEARNED * BASE.width / recipe.model.width))
