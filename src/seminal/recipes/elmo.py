"""Recipes for ELMo: the two language models from plain text, and the tasks that use their states as vectors of words."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe, Task
from seminal.papers.elmo import VARIANTS
from seminal.recipes.text import sizes_for, tokens_not_sentences, tokens_of
from seminal.tasks.both_ways import BothWays
from seminal.tasks.classification import Classification
from seminal.tasks.regression import Regression
from seminal.tasks.tagging import Tagging
from seminal.train.schedules import Constant, Cosine, Warmup

DEFAULT = "modern"
# The authors' program makes the gradient of 20 times the mean of both directions' losses; ours is that of their sum.
SCALE = 20 / 2
CLIP = 10.0


def reading(variant: str) -> Reading:
    """Words and their letters; rows of 128 of them."""
    return Reading(
        "documents", tokens="words", vocabulary=10_000, longest=128, framed=True, next_sentence=False, spelled=True
    )


def task_of(spec: DataSpec) -> Task:
    """What is learned from data of this form."""
    if spec.kind == "labelled":
        return Regression() if spec.target_names else Classification()
    return Tagging() if spec.kind == "tagged" else BothWays()


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Sec. 3.4 and the authors' program for plain text. For tasks, what the paper's network for named entities has."""
    return _language_models(variant, spec) if spec.kind == "documents" else _features(variant, spec)


def _language_models(variant: str, spec: DataSpec) -> Recipe:
    rows = "rows of whole lines that begin without a state (the authors' program: 20 words that go on from the last 20)"
    sums = f"Adagrad divides by √Σg² + 1/{SCALE:g} (the authors' program: by √(Σg² + 1/{SCALE**2:g}), in our scale)"
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=task_of(spec),
        epochs=10,
        batch=3 * 128 * 20,
        lr=0.2,
        optim=Optim("adagrad", eps=1 / SCALE),
        schedule=Constant(),
        clip=CLIP / SCALE,
        body_rate=1.0,
        sources={
            "epochs": "Sec. 3.4: 10",
            "batch": "the authors' program: 20 words of each of 128 rows on each of 3 GPUs",
            "lr": "the authors' program: 0.2",
            "optim": "the authors' program: Adagrad, whose sums begin at 1",
            "schedule": "the authors' program: constant",
            "clip": f"the authors' program: a norm of 10 of a gradient {SCALE:g} times as large as ours",
            "body_rate": "Sec. 3.4: both go on learning, from the text of a task",
        },
        departures=(
            Departure(rows, "text comes in rows that end with their document", "Sec. 3.4"),
            Departure(sums, "the two differ in the first steps only", "Sec. 3.4"),
            Departure("a softmax over the whole vocabulary (the authors' program: over 8,192 words)", "it is exact"),
        ),
    )


def _features(variant: str, spec: DataSpec) -> Recipe:
    batch, said = tokens_of(64, spec), "the authors' configuration for named entities"
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=task_of(spec),
        epochs=75,
        batch=batch,
        lr=1e-3,
        optim=Optim("adam"),
        schedule=Constant(),
        clip=5.0,
        patience=25,
        body_rate=0.0,
        sources={
            "epochs": f"{said}: at most 75",
            "batch": f"{said}: 64 sentences, as tokens",
            "lr": f"{said}: 0.001",
            "optim": f"{said}: Adam",
            "schedule": f"{said}: constant",
            "clip": f"{said}: a norm of 5",
            "patience": f"{said}: 25 epochs",
            "body_rate": "Sec. 3.3: the language models are frozen; --freeze does the same faster",
        },
        departures=(
            tokens_not_sentences(batch, 64, "Sec. 3.3"),
            Departure("no λ‖w‖² on the weights of the layers (paper: for some tasks)", "a loss is of rows", "Sec. 3.3"),
        ),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """For a text of some megabytes and one processor; and for tasks of some thousands of texts."""
    config, sizes = VARIANTS[variant], sizes_for(spec)
    if sizes is not None and variant == "elmo":
        width = sizes[1]
        config = replace(config, filters=2 * width, highways=1, units=4 * width, width=width)
    recipe = Recipe(
        name="modern",
        variant=variant,
        model=config,
        task=task_of(spec),
        epochs=15,
        batch=tokens_of(32, spec),
        lr=1e-3,
        optim=Optim("adamw", weight_decay=0.01, decay_all=False),
        schedule=Warmup(Cosine(), 0.1),
        clip=1.0,
        patience=5,
        least_steps=300,
        body_rate=0.1,
        sources={
            "model": "width by the length of the text, where nobody asks for a size by name",
            "batch": "32 texts",
            "lr": "of a new head: that of the paper's network for named entities",
            "body_rate": "what was learned before goes on in smaller steps (Howard and Ruder 2018); --freeze keeps it",
            "optim": "matrices only: Loshchilov and Hutter 2019",
            "schedule": "a rise over a tenth of the steps, then a cosine to 0: Loshchilov and Hutter 2017",
            "clip": "the error of a recurrent network may blow up: Pascanu et al. 2013",
            "patience": "training ends when validation no longer improves",
        },
    )
    if spec.kind != "documents":
        return recipe
    told = {
        "batch": "32 rows of 128 words",
        "lr": "small networks bear a larger rate than large ones",
        "body_rate": "both go on learning, from the text of a task: Sec. 3.4",
    }
    lr = 2e-3 if config.width < VARIANTS["elmo"].width else 5e-4
    return replace(recipe, batch=4096, lr=lr, body_rate=1.0, sources={**recipe.sources, **told})
