"""Recipes for BERT: the pre-training on plain text, and the fine-tuning on all else."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Masking, Optim, Reading, Recipe, Task
from seminal.papers.bert import BASE, VARIANTS, of_size
from seminal.recipes.text import other_windows, sizes_for, tokens_not_sentences, tokens_of
from seminal.tasks.answers import Answers
from seminal.tasks.choice import Choice
from seminal.tasks.classification import Classification
from seminal.tasks.masked_language import MaskedLanguage
from seminal.tasks.regression import Regression
from seminal.tasks.tagging import Tagging
from seminal.train.schedules import Linear, Warmup

DEFAULT = "modern"
BERT_ADAM = Optim("bertadam", eps=1e-6, weight_decay=0.01, decay_all=False)
WINDOW = 512  # tokens
STEPS, WARMUP = 1_000_000, 10_000
LEARNED = 0.1  # of a new head's rate, in a network of the base's width: what was learned is changed by smaller steps


def reading(variant: str) -> Reading:
    """Word pieces as in Sec. 3, with a vocabulary for small texts; rows of 128 tokens, as in most of the pre-training."""
    config = VARIANTS[variant]
    shares = {"bert-always-mask": Masking(masked=1.0, random=0.0), "bert-whole-word": Masking(whole_words=True)}
    return Reading(
        "documents",
        tokens="uncased",
        vocabulary=8000,
        longest=128,
        framed=True,
        masking=None if config.causal else shares.get(variant, Masking()),
        next_sentence=config.next_sentence,
    )


def task_of(spec: DataSpec) -> Task:
    """What is learned from data of this form."""
    if spec.kind == "labelled":
        return Regression() if spec.target_names else Classification()
    others: dict[str, Task] = {"tagged": Tagging(), "questions": Answers(), "choices": Choice()}
    return others.get(spec.kind, MaskedLanguage())


def paper(variant: str, spec: DataSpec) -> Recipe:
    """App. A.2 for plain text, else App. A.3 and Sec. 4. What neither says is as in the program that the authors
    published."""
    return _pre_training(variant, spec) if spec.kind == "documents" else _fine_tuning(variant, spec)


def _pre_training(variant: str, spec: DataSpec) -> Recipe:
    whole = "whole words are hidden (paper: single pieces)"
    later = Departure(whole, "the authors' later networks; said in their program's notes of May 2019", "App. A.2")
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=task_of(spec),
        epochs=40,
        batch=256 * spec.longest["text"],
        lr=1e-4,
        optim=BERT_ADAM,
        schedule=Warmup(Linear(), WARMUP / STEPS),
        clip=1.0,
        steps=STEPS,
        body_rate=1.0,
        sources={
            "epochs": "App. A.2: approximately 40",
            "batch": "App. A.2: 256 sequences",
            "lr": "App. A.2: 1e-4",
            "optim": "App. A.2: Adam with β1 = 0.9, β2 = 0.999, L2 weight decay 0.01; the authors' program: no correction of "
            "the first steps, ε = 10⁻⁶, no decay of biases and normalisations",
            "schedule": "App. A.2: a rise over the first 10,000 steps, then a straight line to 0",
            "clip": "the authors' program: a norm of 1",
            "steps": "App. A.2: 1,000,000; the first 90 % with 128 tokens, the others with 512",
            "body_rate": "with 512 tokens all weights go on learning as before",
        },
        departures=(*other_windows(spec, WINDOW, "App. A.2"), *[later] * (variant == "bert-whole-word")),
    )


def _fine_tuning(variant: str, spec: DataSpec) -> Recipe:
    swag = spec.kind == "choices"
    rows, where = (16, "Sec. 4.4") if swag else (32, "Sec. 4.2" if spec.kind == "questions" else "Sec. 4.1, App. A.3")
    batch = tokens_of(rows, spec)
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=task_of(spec),
        epochs=3,
        batch=batch,
        lr=2e-5 if swag else 5e-5,
        optim=BERT_ADAM,
        schedule=Warmup(Linear(), 0.1),
        clip=1.0,
        body_rate=1.0,
        sources={
            "epochs": f"{where}: 3",
            "batch": f"{where}: {rows} sequences, as tokens",
            "lr": f"{where}: 2e-5" if swag else f"{where}: 5e-5; of GLUE the best of 5e-5, 4e-5, 3e-5, 2e-5",
            "optim": "App. A.3: as in pre-training",
            "schedule": "the authors' program: a rise over a tenth of the steps, then a straight line to 0",
            "clip": "the authors' program: a norm of 1",
            "body_rate": "Sec. 3.2: all weights are fine-tuned",
        },
        departures=(tokens_not_sentences(batch, rows, where),),
    )


def modern(variant: str, spec: DataSpec) -> Recipe:
    """For a text of some megabytes and one processor: a small network, a large rate; and a fine-tuning that seldom fails."""
    config, sizes = VARIANTS[variant], sizes_for(spec)
    if sizes is not None and (config.layers, config.width) == (BASE.layers, BASE.width) and variant != "bert-base":
        small = of_size(*sizes[:2])
        config = replace(config, layers=small.layers, width=small.width, inner=small.inner, heads=small.heads)
    recipe = Recipe(
        name="modern",
        variant=variant,
        model=config,
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
            "model": "width by the length of the text; the heads are 64 wide, as the paper's",
            "epochs": "few epochs without the correction make runs fail: Mosbach et al. 2021, Zhang et al. 2021",
            "batch": "32 texts",
            "lr": "of a new head, and of a network that learns from nothing",
            "body_rate": "5e-5 of what was learned before, the paper's largest; in narrower networks more, up to the "
            "3e-4 that the authors tried for their small ones (their program's notes of March 2020)",
            "optim": "with the correction of the first steps: Mosbach et al. 2021; β2 of Liu et al. 2019",
            "schedule": "a rise over a tenth of the steps, then a straight line to 0: Mosbach et al. 2021",
            "patience": "training ends when validation no longer improves",
        },
    )
    if spec.kind != "documents":
        return recipe
    told = {
        "batch": "16 rows of 128 tokens: on three megabytes, four times as many steps needed half the epochs of 64 rows",
        "epochs": "each hides other words",
        "lr": "small networks bear a larger rate than the paper's 1e-4",
        "body_rate": "with longer rows all weights go on learning as before",
    }
    epochs, lr = (20, 1e-3) if config.width < BASE.width else (10, 1e-4)
    sources = {**recipe.sources, **told}
    return replace(recipe, epochs=epochs, batch=2048, lr=lr, patience=5, body_rate=1.0, sources=sources)


def begun(recipe: Recipe) -> Recipe:
    """The recipe for a network that has learned before: narrower ones go on in larger steps, up to those of the head."""
    if recipe.body_rate != LEARNED:
        return recipe
    return replace(recipe, body_rate=min(1.0, LEARNED * BASE.width / recipe.model.width))
