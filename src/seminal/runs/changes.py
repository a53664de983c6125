"""What the user asked to be otherwise than the recipe: each change is made, and said aloud as a departure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from seminal.core import DECOUPLED, WITH_MOMENTUM, Augment, Crop, DataSpec, Departure, Recipe, Schedule, UserError
from seminal.pieces.augment import (
    Blur,
    ColourJitter,
    CutMix,
    GaussianNoise,
    HorizontalFlip,
    Mixup,
    MixupOrCutMix,
    RandomErasing,
    Rotate,
)
from seminal.pieces.mixing import mixes
from seminal.runs.asks import RecipeAsk
from seminal.train import schedules
from seminal.train.optimisers import NAMES

SCHEDULES: dict[str, Schedule] = {
    "constant": schedules.Constant(),
    "step": schedules.Steps((0.5, 0.75)),
    "plateau": schedules.Plateau(),
    "exponential": schedules.Exponential(),
    "cosine": schedules.Cosine(),
    "linear": schedules.Linear(),
    "inverse-sqrt": schedules.InverseSqrt(),
}
RATES = {"adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-3, "adagrad": 1e-2, "adadelta": 1.0, "sgd": 0.1}
RATES |= {"bertadam": 1e-4}
MOST_EPOCHS = 1_000_000
MANY = 40  # parts of a tuple: of more, the first are shown


PICTURES_ONLY = ("cutmix", "reprob", "color_jitter", "hflip", "rotate", "blur")
NUMBERS_ONLY = ("mixup", "noise", "scaling")  # of pictures, or of the columns of a table


def changed(recipe: Recipe, ask: RecipeAsk, spec: DataSpec) -> Recipe:
    """The recipe, which is adapted to ``spec`` already, with the user's changes."""
    _refuse_nonsense(ask)
    _refuse_misplaced(ask, spec)
    new = replace(
        recipe,
        epochs=_or(ask.epochs, recipe.epochs),
        steps=None if ask.epochs is not None else recipe.steps,
        batch=_or(ask.batch_size, recipe.batch),
        optim=_optim(recipe, ask),
        lr=_or(ask.lr, RATES[ask.opt.lower()] if ask.opt and ask.opt.lower() != recipe.optim.name else recipe.lr),
        task=_task(recipe, ask),
        model=_model(recipe, ask),
        augment=_augment(recipe, ask),
        scaling=_or(ask.scaling, recipe.scaling),
        clip=_or(ask.clip_grad, recipe.clip) or None,
        accumulate=_or(ask.grad_accum_steps, recipe.accumulate),
        ema=_or(ask.model_ema, recipe.ema),
        patience=_or(ask.patience, recipe.patience),
        seed=_or(ask.seed, recipe.seed),
    )
    new = replace(new, schedule=_schedule(new, ask, spec))
    new = replace(new, departures=(*_still_true(recipe, new), *said(recipe, new)))
    # Class weights are counted, and the loss is checked, where the task meets the data.
    return replace(new, task=new.task.fitted(spec))


def _or(asked: Any, default: Any) -> Any:
    return default if asked is None else asked


def _refuse_nonsense(ask: RecipeAsk) -> None:
    positive: dict[str, float | None] = {"epochs": ask.epochs, "batch-size": ask.batch_size}
    positive |= {"grad-accum-steps": ask.grad_accum_steps, "patience": ask.patience, "lr": ask.lr}
    for flag, value in positive.items():
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"--{flag} {value} makes no sense: it must be above zero.")
    if ask.epochs is not None and ask.epochs > MOST_EPOCHS:
        raise UserError(
            f"--epochs {ask.epochs} would never end: write at most {MOST_EPOCHS:,}. Ctrl-C ends a run, and "
            "`seminal resume` goes on with it."
        )
    shares: dict[str, float | None] = {
        "label-smoothing": ask.label_smoothing,
        "dropout": ask.dropout,
        "model-ema": ask.model_ema,
    }
    shares |= {"momentum": ask.momentum}
    for flag, value in shares.items():
        if value is not None and not 0 <= value < 1:
            raise UserError(f"--{flag} {value} makes no sense: it is a share, from 0 up to below 1.")
    more: dict[str, float | None] = {
        "weight-decay": ask.weight_decay,
        "clip-grad": ask.clip_grad,
        "mixup": ask.mixup,
        "cutmix": ask.cutmix,
    }
    more |= {"reprob": ask.reprob, "color-jitter": ask.color_jitter, "warmup-epochs": ask.warmup_epochs}
    more |= {"hflip": ask.hflip, "rotate": ask.rotate, "noise": ask.noise, "blur": ask.blur}
    for flag, value in more.items():
        if value is not None and not 0 <= value < float("inf"):
            raise UserError(f"--{flag} {value} makes no sense: it must be zero or more.")
    if ask.scaling not in (None, "standard", "pixel_mean", "none"):
        raise UserError(f"there is no scaling `{ask.scaling}`. Write --scaling standard, pixel_mean or none.")


def _refuse_misplaced(ask: RecipeAsk, spec: DataSpec) -> None:
    for name in PICTURES_ONLY if spec.kind != "images" else ():
        if getattr(ask, name):
            raise UserError(f"--{name.replace('_', '-')} changes pictures, and {spec.name} holds none: leave it out.")
    for name in NUMBERS_ONLY if spec.kind not in ("images", "table") else ():
        if getattr(ask, name):
            raise UserError(f"--{name} changes numbers, and {spec.name} is {spec.form}: leave it out.")
    if (ask.mixup or ask.cutmix) and not spec.classes:
        raise UserError(f"--mixup mixes classes, and the target of {spec.name} is a number: leave it out.")


def _optim(recipe: Recipe, ask: RecipeAsk) -> Any:
    name = (ask.opt or recipe.optim.name).lower()
    if name not in NAMES:
        raise UserError(f"there is no optimiser `{name}`. Write --opt with one of: {', '.join(NAMES)}.")
    momentum = _or(ask.momentum, recipe.optim.momentum if name in WITH_MOMENTUM else 0.0)
    if ask.momentum is not None and name not in WITH_MOMENTUM:
        raise UserError(f"--momentum belongs to sgd and rmsprop, not to {name}: leave it out.")
    nesterov = _or(ask.nesterov, recipe.optim.nesterov) and name == "sgd" and momentum > 0
    if ask.nesterov and not nesterov:
        raise UserError("--nesterov needs --opt sgd and a --momentum above zero.")
    # Decoupled decay (a share of the weight) and decay in the gradient are other numbers: one is no guess for the other.
    same = (name in DECOUPLED) == (recipe.optim.name in DECOUPLED)
    decay = _or(ask.weight_decay, recipe.optim.weight_decay if same else 0.0)
    return replace(recipe.optim, name=name, momentum=momentum, nesterov=nesterov, weight_decay=decay)


def _schedule(recipe: Recipe, ask: RecipeAsk, spec: DataSpec) -> Schedule:
    schedule = recipe.schedule
    warmup = schedule if isinstance(schedule, schedules.Warmup) else None
    if ask.sched is not None:
        if ask.sched not in SCHEDULES:
            raise UserError(f"there is no schedule `{ask.sched}`. Write --sched with one of: {', '.join(SCHEDULES)}.")
        then = SCHEDULES[ask.sched]
        schedule = replace(warmup, then=then) if warmup else then
    if ask.warmup_epochs is not None:
        epochs = recipe.epochs if recipe.steps is None else recipe.steps * recipe.batch / max(1, spec.amount)
        if ask.warmup_epochs >= epochs:
            raise UserError(
                f"--warmup-epochs {ask.warmup_epochs:g} is not shorter than the {epochs:g} epochs of the run: write fewer."
            )
        then = schedule.then if isinstance(schedule, schedules.Warmup) else schedule
        schedule = schedules.Warmup(then, ask.warmup_epochs / epochs) if ask.warmup_epochs else then
    return schedule


def _task(recipe: Recipe, ask: RecipeAsk) -> Any:
    known = {f.name for f in dataclasses.fields(recipe.task)}  # type: ignore[arg-type]
    wanted: dict[str, Any] = {"loss": ask.loss, "label_smoothing": ask.label_smoothing}
    wanted |= {"beta": ask.beta, "annealing": ask.annealing, "discriminator_steps": ask.discriminator_steps}
    wanted["balance"] = {None: None, "balanced": True, "none": False}.get(ask.class_weights, ask.class_weights)
    wanted = {name: value for name, value in wanted.items() if value is not None}
    for name in wanted:
        if name not in known:
            flag = {"balance": "class-weights"}.get(name, name.replace("_", "-"))
            raise UserError(
                f"--{flag} has no meaning for this task ({type(recipe.task).__name__.lower()}): leave it out."
            )
    if not isinstance(wanted.get("balance", False), bool):
        raise UserError(f"--class-weights {ask.class_weights} is not known: write `balanced` or `none`.")
    return replace(recipe.task, **wanted)  # type: ignore[type-var]


def _model(recipe: Recipe, ask: RecipeAsk) -> Any:
    if ask.dropout is None:
        return recipe.model
    model = _with_dropout(recipe.model, ask.dropout)
    if model is None:
        raise UserError(
            f"{recipe.variant} has no dropout: leave --dropout out, or use a model that has it (mlp, alexnet)."
        )
    return model


def _with_dropout(config: Any, dropout: float) -> Any | None:
    """The config with this dropout, its own or that of a config inside it; None where neither has any."""
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    if "dropout" in fields:
        return replace(config, dropout=dropout)
    for name, part in fields.items():
        if dataclasses.is_dataclass(part) and (inner := _with_dropout(part, dropout)) is not None:
            return replace(config, **{name: inner})
    return None


def _augment(recipe: Recipe, ask: RecipeAsk) -> tuple[Augment | Crop, ...]:
    kept = tuple(a for a in recipe.augment if ask.augment)
    new: list[tuple[type, float | None, Augment]] = [
        (HorizontalFlip, ask.hflip, HorizontalFlip(probability=ask.hflip or 0.0)),
        (Rotate, ask.rotate, Rotate(ask.rotate or 0.0)),
        (Blur, ask.blur, Blur(probability=ask.blur or 0.0)),
        (GaussianNoise, ask.noise, GaussianNoise(ask.noise or 0.0)),
        (ColourJitter, ask.color_jitter, ColourJitter(*[ask.color_jitter or 0.0] * 3)),
        (RandomErasing, ask.reprob, RandomErasing(probability=ask.reprob or 0.0)),
    ]
    for kind, strength, augment in new:
        if strength is not None:
            kept = tuple(a for a in kept if not isinstance(a, kind)) + ((augment,) if strength else ())
    if ask.mixup is not None or ask.cutmix is not None:
        kept = tuple(a for a in kept if not mixes(a)) + tuple(_mixing(ask))
    crops = tuple(a for a in kept if isinstance(a, Crop))
    return crops + tuple(a for a in kept if not isinstance(a, Crop))


def _mixing(ask: RecipeAsk) -> Iterator[Augment]:
    if ask.mixup and ask.cutmix:
        yield MixupOrCutMix(ask.mixup, ask.cutmix)
    elif ask.mixup:
        yield Mixup(ask.mixup)
    elif ask.cutmix:
        yield CutMix(ask.cutmix)


def _still_true(old: Recipe, new: Recipe) -> Iterator[Departure]:
    """The departures of the adapted recipe, without what the user has changed once more."""
    gone = (f"{old.epochs} epochs (",) * (new.epochs != old.epochs) + (f"batches of {old.batch} (",) * (
        new.batch != old.batch
    )
    for departure in old.departures:
        if not departure.what.startswith(gone or ("\0",)):
            yield departure


def said(old: Recipe, new: Recipe, why: str = "you asked for it") -> Iterator[Departure]:
    """What is other in the new recipe, and why."""
    words = {"batch": "batches of", "lr": "learning rate", "clip": "gradient norm clipped at", "ema": "moving average"}
    words |= {"optim": "optimiser"}
    for field in dataclasses.fields(Recipe):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before != after and field.name not in ("departures", "seed", "steps"):
            name = words.get(field.name, field.name)
            yield Departure(f"{name} {briefly(after)} (recipe: {briefly(before)})", why)


def briefly(value: Any) -> str:
    """A value of a recipe in a few words: only what differs from the class's defaults."""
    if isinstance(value, tuple):
        shown = [briefly(item) for item in value[: 3 if len(value) > MANY else MANY]]
        return ", ".join(shown + [f"… ({len(value):,})"] * (len(value) > MANY)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return str(value)
    shown = [
        f"{f.name.replace('_', ' ')} {briefly(getattr(value, f.name))}"
        for f in dataclasses.fields(value)
        if getattr(value, f.name) != f.default and f.name != "name"
    ]
    return str(getattr(value, "name", type(value).__name__)) + (f" ({', '.join(shown)})" if shown else "")
