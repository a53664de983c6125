"""``train --from``: weights learned elsewhere, fitted to the model at hand."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Recipe, Transfer, UserError
from seminal.data.tables import TableEncoder
from seminal.data.text_rows import Known
from seminal.pieces.measure import on_meta
from seminal.runs.asks import DataAsk, RecipeAsk
from seminal.runs.codec import read_json
from seminal.runs.folder import RunFolder
from seminal.runs.plan import Plan, encoder_of, knowledge, plan_of
from seminal.runs.shelf import begun_by, papers, reading_of
from seminal.runs.sources import has_columns
from seminal.train.transfer import layers_above
from seminal.weights.matching import OURS, Fit, fit, variant_for
from seminal.weights.reading import checkpoint

HEADS = ("head.", "pooler.")  # where a network has a head of many parts, they have such names; a pooler may go with it


def borrowing(recipe: Recipe, paper: str, spec: DataSpec, ask: RecipeAsk) -> Recipe:
    """The recipe with a `Transfer`, and what it means said as departures; as it is without ``--from``.

    Raises:
        UserError: the weights are of another network, or do not fit this one but for the head.
    """
    if ask.start is None:
        flags = {"--freeze": ask.freeze or None, "--body-lr": ask.body_lr, "--layer-decay": ask.layer_decay}
        for flag in (name for name, value in flags.items() if value is not None):
            raise UserError(f"{flag} is about weights that were learned before: say which with `--from RUN` or a file.")
        return recipe
    for flag, share in (("--body-lr", ask.body_lr), ("--layer-decay", ask.layer_decay)):
        if share is not None and not 0 <= share <= 1:
            raise UserError(f"{flag} {share} makes no sense: it is a share of the learning rate, from 0 to 1.")
        if share is not None and ask.freeze:
            raise UserError(
                f"--freeze lets only the head learn, and {flag} says at which rate the rest learns: leave one of them out."
            )
    start = str(Path(ask.start).expanduser().resolve())
    head = head_entries(paper, recipe.model)
    if ask.freeze and not head:
        raise UserError(
            f"--freeze lets only the head learn, and {recipe.variant} has none: what it says is a part of what it reads. "
            "Leave it out, or write a small --body-lr."
        )
    found = _fitted(start, paper, recipe)
    anew = _anew(found, head, start, spec)
    rate = 0.0 if ask.freeze else (recipe.body_rate if ask.body_lr is None else ask.body_lr)
    decay = _layer_decay(paper, recipe, ask)
    said = [Departure(f"starts from the weights of {ask.start}", "asked for with --from")]
    if head.intersection(anew):
        said.append(Departure(_new_head(paper, recipe.model), "the weights' classes are others"))
    what = "all but the head" if head else "everything"
    body = f"{what} is frozen" if ask.freeze else f"{what} learns at {rate:g} of the rate"
    if ask.freeze or rate != 1:
        said.append(Departure(body, "what was learned already needs small steps, or none"))
    if decay != 1:
        said.append(
            Departure(f"each layer learns at {decay:g} of the rate of the next", "asked for with --layer-decay")
        )
    transfer = Transfer(start, tuple(anew), ask.freeze, tuple(sorted(head.union(anew))), rate, decay)
    return replace(recipe, transfer=transfer, departures=(*recipe.departures, *said))


def known_before(ask: RecipeAsk, data: DataAsk, paper: str, variant: str) -> Known | None:
    """How the run that training starts from reads text or a table. None where training starts anew, or from a file of
    weights, and for pictures, whose statistics are learned anew. Raises `UserError` as `known_text` does."""
    if ask.start is None:
        return None
    if reading_of(paper, variant) is not None:
        return known_text(ask.start, data, paper, variant)
    path = Path(ask.start).expanduser()
    if not has_columns(data.data) or not (path / "recipe.json").exists():
        return None
    folder = RunFolder.existing(path)
    other = plan_of(folder)
    _same_paper(other, paper, ask.start, variant)
    return knowledge(folder, other) if isinstance(encoder_of(folder), TableEncoder) else None


def known_text(start: str, data: DataAsk, paper: str, variant: str) -> Known:
    """How a run reads text: its weights know its tokens, and no others.

    Raises:
        UserError: the weights come without a vocabulary, or the user asks for another one.
    """
    path = Path(start).expanduser()
    if path.exists() and not (path / "recipe.json").exists():
        raise UserError(
            f"{start} is not the folder of a run, so nobody knows how its weights read text: make a run of it with "
            f"`seminal import {start} --as {variant}`, and start from that."
        )
    folder = RunFolder.existing(path)
    other = plan_of(folder)
    _same_paper(other, paper, start, variant)
    if not _same_network(paper, other.recipe.variant, variant):
        raise UserError(
            f"{start} is a run of {other.recipe.variant}, another network than {variant}: write `seminal train "
            f"{other.recipe.variant} {data.data} --from {start}`."
        )
    for flag, value in (("--tokens", data.tokens), ("--vocab-size", data.vocab_size)):
        if value is not None:
            raise UserError(
                f"{flag} has no place beside --from: the weights of {start} know the tokens they were trained with, and "
                "no others. Leave it out."
            )
    encoder: Any = encoder_of(folder)
    return Known(encoder if data.max_length is None else replace(encoder, longest=data.max_length))


def as_begun(recipe: Recipe, paper: str, ask: RecipeAsk, spec: DataSpec) -> Recipe:
    """The recipe with the network of the run that training starts from, whatever size it would choose for the data, with the
    scale of its inputs, and with what the recipe's ``begun`` says of that size. What the variant asked for has otherwise
    than that of the run, it keeps."""
    assert ask.start is not None
    other, variants = plan_of(RunFolder.existing(Path(ask.start).expanduser())).recipe, papers()[paper].variants
    own, before = variants[recipe.variant], variants[other.variant]
    names = [field.name for field in dataclasses.fields(own) if getattr(own, field.name) != getattr(before, field.name)]
    model = replace(other.model, **{name: getattr(own, name) for name in names})
    recipe = replace(recipe, model=model.fitted(spec), scaling=other.scaling)
    begun = begun_by(paper)
    return begun(recipe) if begun else recipe


def load(model: nn.Module, plan: Plan) -> None:
    """Put the weights of the plan's transfer into ``model``, in place; entries that start anew keep their values."""
    transfer = plan.recipe.transfer
    if transfer is None:
        return
    found = _fitted(transfer.start, plan.paper, plan.recipe)
    wanted = model.state_dict()
    kept = {key for key in found.state if key in wanted and key not in transfer.anew}
    with torch.no_grad():
        for key in kept:
            wanted[key].copy_(_grey(found.state[key], wanted[key]))


def head_entries(paper: str, config: Any) -> set[str]:
    """Names of the parameters of the head: those whose size follows the number of outputs, side heads included, and where
    the network calls a part of it ``head``, all of that."""
    entries = on_meta(papers()[paper].build, config).state_dict()
    return followers(paper, config, "outputs") | {key for key in entries if key.startswith(HEADS[0])}


def _new_head(paper: str, config: Any) -> str:
    """What is said of it, with the numbers it gives for all that it reads: one for each class, two for the ends of an
    answer, one for an ending of a choice."""
    if not followers(paper, config, "outputs"):
        return "a new head"
    return f"a new head of {config.outputs} output{'s' * (config.outputs != 1)}"


def followers(paper: str, config: Any, field: str) -> set[str]:
    """Names of the entries whose size follows a number of the config."""
    if field not in {f.name for f in dataclasses.fields(config)}:
        return set()
    build = papers()[paper].build
    one, other = (on_meta(build, replace(config, **{field: n})).state_dict() for n in (2, 3))
    return {key for key, value in one.items() if value.shape != other[key].shape}


def as_in_file(found: Fit, paper: str, config: Any) -> Any:
    """The config with as many outputs, input channels, tokens and places as the file has."""
    for field, dimension in (("outputs", 0), ("in_channels", 1), ("vocabulary", 0), ("longest", 0)):
        tensors = [found.state[key] for key in followers(paper, config, field) & found.state.keys()]
        sizes = {tensor.shape[dimension] for tensor in tensors if tensor.dim() > dimension}
        config = replace(config, **{field: sizes.pop()}) if len(sizes) == 1 else config
    return config


def _fitted(start: str, paper: str, recipe: Recipe) -> Fit:
    """The weights beside the model of the recipe, under our names."""
    model = on_meta(papers()[paper].build, recipe.model)
    path = Path(start)
    if not path.exists():
        raise UserError(f"there is no {start} to start from: give the folder of a run, or a file of weights.")
    if not path.is_dir():
        found = fit(checkpoint(path), model, paper, recipe.model)
        _same_sums(variant_for(found.dialect, paper, recipe.variant), paper, start, recipe.variant)
        return found
    folder = RunFolder.existing(path)
    other = plan_of(folder)
    _same_paper(other, paper, start, recipe.variant)
    if reading_of(paper, recipe.variant) is None:  # of text see `as_begun`
        _same_sums(other.recipe.variant, paper, start, recipe.variant)
    return fit(folder.read_tensors("best.safetensors")[0], model, paper, recipe.model, OURS)


def _same_paper(other: Plan, paper: str, start: str, variant: str) -> None:
    if other.paper != paper:
        raise UserError(
            f"{start} is a run of {other.recipe.variant}, and its weights do not fit {variant}. Train "
            f"{other.recipe.variant}, or start from a run of {variant}."
        )


def _same_sums(other: str, paper: str, start: str, variant: str) -> None:
    """Refuses weights that fit, but were learned by a network that computes something else with them, such as one with its
    strides elsewhere."""
    if other != variant and _same_network(paper, other, variant):
        raise UserError(
            f"{start} has the weights of {other}, which computes otherwise than {variant} with the same weights "
            f"(`seminal show {other}` tells how): write `seminal train {other} DATA --from {start}`."
        )


def _same_network(paper: str, one: str, other: str) -> bool:
    """Whether two variants have the same entries, but for their heads."""
    shapes = []
    for variant in (one, other):
        entries = on_meta(papers()[paper].build, papers()[paper].variants[variant]).state_dict()
        shapes.append({key: value.shape for key, value in entries.items() if not key.startswith(HEADS)})
    return one == other or shapes[0] == shapes[1]


def _layer_decay(paper: str, recipe: Recipe, ask: RecipeAsk) -> float:
    if ask.layer_decay is None:
        return 1.0
    if not any(layers_above(on_meta(papers()[paper].build, recipe.model)).values()):
        raise UserError(f"{recipe.variant} has no layers on which --layer-decay could act: leave it out.")
    return ask.layer_decay


def _anew(found: Fit, head: set[str], start: str, spec: DataSpec) -> list[str]:
    """The entries that start anew: of the head what is not there, or all of it where it does not fit or knows other
    classes; and a pooler that is not there. Raises `UserError` where more does not fit."""
    parts = HEADS if any(key.startswith(HEADS) for key in head) else ()
    absent = {key for key in found.missing if key in head or key.startswith(parts)}
    other = head & found.misshaped.keys()
    rest = replace(
        found,
        misshaped={k: v for k, v in found.misshaped.items() if k not in head and not _is_colour(*v)},
        missing=tuple(key for key in found.missing if key not in absent),
        unexpected=tuple(key for key in found.unexpected if not key.startswith(parts)),
    )
    if not rest.fits:
        raise UserError(f"{start} does not fit this model: {rest.told()}. `seminal list` shows the models.")
    labels = Path(start) / "labels.json"
    # The head of a choice scores one text at a time, whatever the endings are called and however many there are.
    others = spec.kind != "choices" and labels.exists()
    strange = others and tuple(read_json(labels)) != (spec.classes or spec.target_names)
    return sorted(absent | head if other or strange else absent)


def _is_colour(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """A first convolution that read three colours, where the pictures are grey."""
    return len(found) == 4 and found[1] == 3 and wanted == (found[0], 1, *found[2:])


def _grey(value: Tensor, like: Tensor) -> Tensor:
    """Its three colours added up: a grey picture then gives what it gave with its brightness in each colour."""
    return value.sum(1, keepdim=True) if _is_colour(tuple(value.shape), tuple(like.shape)) else value
