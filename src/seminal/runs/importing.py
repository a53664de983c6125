"""``seminal import``: weights that somebody else trained become a run folder, which every other verb can read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from seminal.core import DataSpec, Precision, UserError
from seminal.data.image_encoder import ImageEncoder
from seminal.pieces.measure import example_size, on_meta, parameters
from seminal.report.terminal import say
from seminal.runs.asks import DataAsk, ImportAsk, RunAsk
from seminal.runs.borrowing import as_in_file
from seminal.runs.class_names import class_names
from seminal.runs.folder import RunFolder
from seminal.runs.importing_text import import_text
from seminal.runs.machine import command_line
from seminal.runs.plan import Plan
from seminal.runs.shelf import paper_of, papers, reading_of, recipes_of
from seminal.weights.matching import OURS, Fit, fit, variant_for
from seminal.weights.reading import checkpoint

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of torchvision's and timm's weights
KEPT = 256 / 224  # the side of a picture before its centre is cut out, as a share of what the network sees


def import_weights(ask: ImportAsk) -> int:
    """Make a run folder of the weights in a file. Nothing in the file is run."""
    variant = ask.variant
    paper, card = paper_of(variant)
    if (Path(ask.file).expanduser() / "recipe.json").exists():
        raise UserError(
            f"{ask.file} is the folder of a run already, which every verb reads as it is. To train on from it, write "
            f"`--from {ask.file}` behind `seminal train`."
        )
    if reading_of(paper, variant):
        return import_text(ask)
    for flag, given in (("--tokenizer", ask.tokenizer is not None), ("--pairs", ask.pairs)):
        if given:
            raise UserError(f"{flag} belongs to text, and {variant} reads none: leave it out.")
    state = checkpoint(Path(ask.file).expanduser())
    found = _best_fit(state, paper, variant, ask.dialect)
    peer = found.dialect
    if peer != OURS and (same := variant_for(peer, paper, variant)) != variant:
        why = ", ".join(d.what for d in card.variants[same].departures())
        say("note", f"{peer}'s {variant} is our `{same}` ({why}): imported as that")
        variant, found = same, _best_fit(state, paper, same, peer)
    config = as_in_file(found, paper, card.variants[variant])
    if ask.size is not None:
        config = replace(config, size=(ask.size, ask.size))
    found = fit(state, on_meta(card.build, config), paper, config, peer)
    if not found.fits:
        raise UserError(
            f"{ask.file} does not hold the weights of {variant}: {found.told()}.{_suggestion(state, paper)}"
        )
    labels = _labels(ask.classes, config.outputs)
    folder = _written(replace(ask, variant=variant), paper, config, labels)
    model = on_meta(card.build, config)
    whole = _whole(found.state, model.state_dict())
    for name in ("best.safetensors", "last.safetensors"):
        folder.write_tensors(name, whole, {"variant": variant})
    say("imported", f"{parameters(model):,} parameters of {variant}, {len(labels)} classes, {peer}'s names")
    say("read as", _reading(folder))
    guessed = [flag for flag in ("size", "mean", "std") if getattr(ask, flag) is None]
    if guessed:
        say("", f"a guess, which weights cannot confirm: {', '.join(f'--{flag}' for flag in guessed)} say otherwise")
    say("next", f"seminal predict {folder.path} YOUR.png", wrap=False)
    say("", f"seminal train {variant} DATA --from {folder.path}", wrap=False)
    return 0


def _best_fit(state: dict[str, Tensor], paper: str, variant: str, dialect: str | None) -> Fit:
    config = papers()[paper].variants[variant]
    return fit(state, on_meta(papers()[paper].build, config), paper, config, dialect)


def _suggestion(state: dict[str, Tensor], paper: str) -> str:
    """`` It fits: a, b.``: the models of this paper whose weights these are, or else those of any other."""
    for names in ([paper], [name for name in papers() if name != paper]):
        fitting = [variant for name in names for variant in papers()[name].variants if _is_of(state, name, variant)]
        if fitting:
            return f" It fits: {', '.join(fitting)}."
    return " It fits no model of seminal."


def _is_of(state: dict[str, Tensor], paper: str, variant: str) -> bool:
    found = _best_fit(state, paper, variant, None)
    if found.missing or found.unexpected:  # cheaper than to build the network once more, with the head of the file
        return False
    config = as_in_file(found, paper, papers()[paper].variants[variant])
    return fit(state, on_meta(papers()[paper].build, config), paper, config).fits


def _labels(classes: str | None, outputs: int) -> tuple[str, ...]:
    """Class names from ``--classes`` (a file with a name per line, or names with commas); ImageNet's for 1,000."""
    if classes is None:
        if outputs == 1000:
            from torchvision.models import ResNet18_Weights

            return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
        return tuple(f"class {i}" for i in range(outputs))
    return class_names(classes, outputs)


def _written(ask: ImportAsk, paper: str, config: Any, labels: tuple[str, ...]) -> RunFolder:
    """The folder with all but the weights."""
    file, variant, mean, std = Path(ask.file).expanduser(), ask.variant, ask.mean, ask.std
    seen = example_size(config)
    if seen is None:
        raise UserError(
            f"{variant} reads tables, whose columns the file does not tell: only networks for pictures can."
        )
    channels = config.in_channels
    for flag, values in (("--mean", mean), ("--std", std)):
        if values is not None and len(values) != channels:
            raise UserError(f"{flag} needs {channels} numbers, one per channel: {','.join(['0.5'] * channels)}.")
    if std is not None and min(std) <= 0:
        raise UserError(f"--std {','.join(f'{v:g}' for v in std)}: pixels are divided by it, so it must be above zero.")
    spec = DataSpec(file.stem, "images", {}, (channels, *config.size), labels)
    recipe = recipes_of(paper).modern(variant, spec)
    recipe = replace(recipe, model=config, task=recipe.task.fitted(spec), precision=Precision(), scaling="standard")
    side = seen if seen <= 96 else round(seen * KEPT)
    usual = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((0.5,) * channels, (0.5,) * channels)
    encoder = ImageEncoder(seen, side, channels, "standard", mean or usual[0], std or usual[1])
    folder = RunFolder.new(Path(ask.output), f"{variant}-{file.stem}", ask.name)
    folder.write_json("reader.json", encoder)
    folder.write_json("labels.json", labels)
    folder.write("command.txt", command_line() + "\n")
    folder.write_json("recipe.json", Plan(paper, DataAsk(str(file.resolve())), recipe, RunAsk(ask.output, ask.name)))
    return folder


def _whole(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """All entries of the model: a counter of batches that an older file lacks is 0."""
    return {key: state[key] if key in state else Tensor([0]).long()[0] for key in wanted}


def _reading(folder: RunFolder) -> str:
    reader = folder.read_json("reader.json")
    mean, std = (", ".join(f"{v:g}" for v in values) for values in (reader.mean, reader.std))
    return f"{reader.side} pixels, the {reader.size} in the middle; mean {mean}; spread {std}"
