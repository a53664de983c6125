"""``seminal explain``: a page that shows what a network for pictures sees, and where it finds its evidence; for labelled
text see `seminal.runs.text_explaining`."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from seminal.core import Encoder, LeftOut, Order, Precision, Source, UserError
from seminal.data.choices import ChoicesEncoder
from seminal.data.documents import DocumentEncoder
from seminal.data.image_encoder import ImageEncoder, Scaler
from seminal.data.image_listing import skipped
from seminal.data.labelled import LabelledEncoder
from seminal.data.pairs import PairsEncoder
from seminal.data.questions import QuestionEncoder
from seminal.data.stream import StreamEncoder
from seminal.data.tagged import TaggedEncoder
from seminal.pieces.insight import (
    Call,
    cosine,
    gates,
    grad_cam,
    last_weighted,
    main_path,
    outputs,
    penultimate,
    stages,
    strongest,
    traced,
)
from seminal.report.data import Citation, Picture
from seminal.report.insight import GENERATOR, Activation, Gate, Guess, Insight, Insights, Maps, Neighbour, render
from seminal.report.pictures import enlarged, first_filters, overlay, png, tile
from seminal.report.terminal import say
from seminal.runs.codec import read_json, write_text
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.plan import Plan, best_model, encoder_of, plan_of, source_of
from seminal.runs.shelf import nearest, papers, published
from seminal.runs.text_explaining import explain_texts
from seminal.tasks.classification import Classification
from seminal.train.precision import arithmetic, in_layout, laid_out

MOST_PICTURES = 24  # on one page: more make it long, not clearer
MOST_ROWS = 10_000  # training pictures that are compared
AT_ONCE = 125  # of them, so that MOST_ROWS is a whole number of batches
GUESSES = 5
CHANNELS = 16
NEIGHBOURS = 8
SHOWN = 384  # pixels of a picture on the page, at most, where it is enlarged
SMALL = 192  # … and of a training picture
UNSEEN: dict[type, str] = {
    PairsEncoder: "sentence pairs",
    StreamEncoder: "plain text",
    DocumentEncoder: "plain text",
    TaggedEncoder: "words with labels",
    ChoicesEncoder: "sentences to be ended",
    QuestionEncoder: "questions on texts",
}


def _of_pictures(folder: RunFolder, plan: Plan, encoder: Encoder) -> ImageEncoder:
    """The reader of a classifier of pictures. Raises `UserError` for other runs."""
    if not isinstance(encoder, ImageEncoder):
        form = UNSEEN.get(type(encoder), "a table")
        raise UserError(
            f"explain looks into networks for pictures and for labelled texts, and {folder.path} was trained on {form}. "
            f"`seminal report {folder.path}` shows what it learned."
        )
    _refuse_no_classes(folder, plan)
    return encoder


def _refuse_no_classes(folder: RunFolder, plan: Plan) -> None:
    if not isinstance(plan.recipe.task, Classification):
        raise UserError(
            f"{folder.path} is a run of {plan.recipe.variant}, which tells no classes apart: there is no guess to explain. "
            f"`seminal report {folder.path}` shows what it does."
        )


def explain(
    run: str,
    images: list[str],
    *,
    class_name: str | None = None,
    layer: str | None = None,
    out: str | None = None,
    on_bad_file: str = "refuse",
) -> int:
    """Write a page about what the run's network sees in ``images``: its guesses, the places that speak for its guess (or
    for ``class_name``) in its last feature maps (or in those of ``layer``), its feature maps, and the most like training
    pictures. The page goes to ``out``, by default explain.html in the run's folder. Of a network for labelled text, which is
    given texts as ``images``, the words that decided are printed instead.

    Raises:
        UserError: what is asked for is not there, is no picture, or the page would replace something else.
    """
    folder = RunFolder.existing(run)
    plan, encoder = plan_of(folder), encoder_of(folder)
    if isinstance(encoder, LabelledEncoder):
        _refuse_no_classes(folder, plan)
        if layer is not None or out is not None or on_bad_file != "refuse":
            raise UserError(
                "--layer, --out and --on-bad-file belong to pictures; of a text the words that decided are printed: leave "
                "them out."
            )
        asked = _known_class(tuple(read_json(folder.path / "labels.json")), class_name)
        return explain_texts(folder, plan, encoder, images, asked)
    encoder = _of_pictures(folder, plan, encoder)
    page = _page(folder, out)
    network = _network(folder, plan, encoder)
    asked = _known_class(network.labels, class_name)
    names, pictures, notes = _pictures(encoder, images, on_bad_file)
    root = network.trace(pictures[:1])
    place = _place(root, layer)
    found = [_insight(network, root, name, picture, place, asked) for name, picture in zip(names, pictures)]
    source, compared = _training(folder, plan, network.device)
    if source is not None:
        found, compared = _with_neighbours(network, root, source, pictures, found)
    insights = Insights(
        title=f"Inside {plan.recipe.variant}" + (f", trained on {source.spec.name}" if source else ""),
        paper=_citation(plan),
        headline=tuple(_headline(network, root, place)),
        pictures=tuple(found),
        compared=compared,
        filters=first_filters(network.model),
        notes=tuple(notes),
        next_commands=tuple(_further(folder, names[0], found[0], root)),
    )
    for insight in found:
        best = "  ".join(f"{guess.label} {guess.probability:.1%}" for guess in insight.guesses[:3])
        say("picture", f"{insight.picture.name}  {best}", wrap=False)
    for note in (*notes, *([] if source else [compared])):
        say("note", note)
    _write(page, render(insights))
    return 0


# --------------------------------------------------------------------------------------------------------- the network


@dataclass(frozen=True)
class Network:
    """The run's model, ready to look at pictures as `seminal predict` does."""

    model: nn.Module
    plan: Plan
    device: torch.device
    precision: Precision
    scale: Scaler
    labels: tuple[str, ...]

    def seen(self, pictures: Tensor) -> Tensor:
        """(B, C, H, W) numbers from 0 to 1 as the input of the model."""
        scaled = self.scale(pictures.to(self.device).clone())
        return in_layout({"input": scaled}, self.device, self.precision)["input"]

    def trace(self, picture: Tensor) -> Call:
        with arithmetic(self.precision, self.device):
            return traced(self.model, self.seen(picture))

    def vectors(self, root: Call, pictures: Tensor) -> Tensor:
        """(B, D): the penultimate vectors."""
        classifier = last_weighted(root)
        assert classifier is not None  # every model of the papers ends in one
        with arithmetic(self.precision, self.device):
            return penultimate(self.model, self.seen(pictures), classifier)[1]

    def probabilities(self, x: Tensor) -> Tensor:
        """(classes,), as `seminal predict` gives them."""
        with torch.no_grad(), arithmetic(self.precision, self.device):
            return self.plan.recipe.task.predict(self.model, {"input": x})["probability"][0].float().cpu()


def _network(folder: RunFolder, plan: Plan, encoder: ImageEncoder) -> Network:
    device = device_for(plan.run.device)
    precision = plan.recipe.precision or Precision()
    model = laid_out(best_model(folder, plan, device), precision)
    labels = tuple(read_json(folder.path / "labels.json"))
    return Network(model, plan, device, precision, encoder.scaler(device), labels)


def _known_class(labels: tuple[str, ...], name: str | None) -> int | None:
    if name is None or name in labels:
        return None if name is None else labels.index(name)
    shown = f"{', '.join(labels[:20])}{f' … ({len(labels):,} in all)' if len(labels) > 20 else ''}"
    raise UserError(f"there is no class `{name}`.{nearest(name, labels)} The network knows: {shown}.")


def _place(root: Call, layer: str | None) -> Call | None:
    """The call whose maps are asked for evidence: the end of the last stage, or the last call of ``layer``."""
    chosen = stages(root)
    if layer is None:
        return chosen[-1] if chosen else None
    calls = [call for call in root.walk() if call.name == layer and layer]
    maps = [call for call in calls if call.is_map]
    if maps:
        return maps[-1]
    steps = list(dict.fromkeys(step.name for step in main_path(root) if step.is_map))
    if not steps:
        raise UserError("this network has no feature maps, so `--layer` has nothing to choose from: leave it out.")
    names = [call.name for call in root.walk() if call.is_map and call.name]
    why = f"there is no layer `{layer}`.{nearest(layer, names)}"
    if calls:
        shape = " × ".join(map(str, calls[-1].shape)) or "several things"
        why = f"the layer `{layer}` gives no feature maps: its output is {shape}."
    inside = next((name for name in names if name.startswith(f"{steps[-1]}.")), None)
    parts = f", or a part of one, such as {inside}" if inside else ""
    raise UserError(f"{why} Choose one of: {', '.join(steps)}{parts}.")


# ------------------------------------------------------------------------------------------------------------ pictures


def _pictures(encoder: ImageEncoder, images: list[str], on_bad_file: str) -> tuple[list[str], Tensor, list[str]]:
    """Names, pictures (n, C, H, W) in [0, 1] as the network sees them before they are scaled, and what to say of them."""
    left_out: LeftOut = {}
    bad = None if on_bad_file == "refuse" else left_out
    portions = replace(encoder, scaling="none").encode(images, MOST_PICTURES, bad)
    names, batch = next(portions)
    notes = [skipped(list(left_out.values()), len(left_out) + len(names), "skip")] if left_out else []
    if next(portions, None):
        notes.append(f"only the first {MOST_PICTURES} pictures are shown; name the others to see them")
    return names, batch["input"], notes


def _insight(
    network: Network, root: Call, name: str, picture: Tensor, place: Call | None, asked: int | None
) -> Insight:
    """All about one picture (C, H, W) but its neighbours."""
    x = network.seen(picture[None])
    probability = network.probabilities(x)
    ranked = probability.argsort(descending=True, stable=True)[:GUESSES].tolist()
    pixels = enlarged(_pixels(picture), SHOWN)
    height, width = picture.shape[1:]
    shown = Picture(png(pixels, least=1, most=SHOWN), f"As the network sees it: {height} × {width} pixels", name)
    guesses = tuple(Guess(network.labels[c], float(probability[c])) for c in ranked)
    target = ranked[0] if asked is None else asked
    activation = None
    stops, shut = stages(root), gates(root)
    with arithmetic(network.precision, network.device):
        if place is not None:
            heat = grad_cam(network.model, x, place, torch.tensor([target], device=network.device))[0].cpu()
            activation = _activation(network.labels[target], _label(root, place), heat, pixels)
        given = [values[0].cpu() for values in outputs(network.model, x, [*stops, *shut])]
    maps = tuple(_maps(_label(root, call), values) for call, values in zip(stops, given))
    opened = zip(shut, given[len(stops) :])
    gated = tuple(Gate(_block(call), tuple(values.flatten().tolist())) for call, values in opened)
    return Insight(shown, guesses, activation, maps, gates=gated)


def _activation(label: str, layer: str, heat: Tensor, pixels: Tensor) -> Activation:
    height, width = heat.shape
    picture = None
    if heat.max() > 0:
        what = f"Which places speak for “{label}”: Grad-CAM (Selvaraju et al. 2017)"
        caption = f"{what} on the {height} × {width} maps of {layer}"
        picture = Picture(png(overlay(pixels, heat), least=1, most=SHOWN), caption)
    return Activation(layer, label, (height, width), picture)


def _maps(layer: str, values: Tensor) -> Maps:
    """``values``: (C, h, w)."""
    channels, height, width = values.shape
    tiles = tuple(
        Picture(png(tile(values[c]), least=64, most=128), f"channel {c}") for c in strongest(values, CHANNELS)
    )
    return Maps(layer, (channels, height, width), tiles)


def _label(root: Call, call: Call) -> str:
    """The layer's name. One that is used several times is told by the convolution before it."""
    calls = list(root.walk())
    if sum(other.name == call.name for other in calls) == 1:
        return call.name
    before = [c for c in calls[: calls.index(call)] if isinstance(c.module, nn.Conv2d)]
    return f"{call.name} after {before[-1].name}" if before else call.name


def _block(gate: Call) -> str:
    """The block a gate belongs to."""
    return gate.name.rpartition(".")[0] or gate.name


def _pixels(picture: Tensor) -> Tensor:
    return (picture.clamp(0, 1) * 255).round().byte().cpu()


# ---------------------------------------------------------------------------------------------------------- neighbours


@dataclass(frozen=True)
class _Near:
    similarity: float
    row: int
    target: int
    picture: Tensor  # (C, H, W), in [0, 1]


def _training(folder: RunFolder, plan: Plan, device: torch.device) -> tuple[Source | None, str]:
    """The run's training data, or none and why."""
    if not (folder.path / "split.csv").exists():
        return None, "These weights were trained elsewhere: there are no training pictures to look among."
    try:
        return source_of(folder, plan, device), ""
    except UserError as error:
        return None, f"The training pictures could not be looked at: {error}"


def _with_neighbours(
    network: Network, root: Call, source: Source, pictures: Tensor, found: list[Insight]
) -> tuple[list[Insight], str]:
    """The insights with the nearest training pictures of each, and a sentence on how these were found."""
    rows = source.spec.counts["train"]
    looked = min(rows, MOST_ROWS)
    say("compare", f"with {looked:,} training pictures …")
    queries = torch.cat([network.vectors(root, picture[None]) for picture in pictures])
    shelves: list[list[_Near]] = [[] for _ in found]
    for batch in _rows(source, rows):
        likeness = cosine(queries, network.vectors(root, batch["input"])).cpu()
        for shelf, row in zip(shelves, likeness):
            _shelve(shelf, row, batch)
    classifier = last_weighted(root)
    assert classifier is not None
    how = (
        f"The most like of {looked:,} training pictures, by the cosine similarity of what the last layer "
        f"({classifier.name}) reads: {queries.shape[1]:,} numbers a picture. 1 is the same, 0 unrelated."
    )
    if looked < rows:
        how += f" The training split has {rows:,}; {looked:,} of them were drawn by lot."
    neighbours = [
        tuple(_neighbour(network, source, near, picture) for near in shelf) for shelf, picture in zip(shelves, pictures)
    ]
    return [replace(insight, neighbours=near) for insight, near in zip(found, neighbours)], how


def _rows(source: Source, rows: int) -> Iterator[dict[str, Tensor]]:
    """The training pictures unscaled and unchanged; of more than `MOST_ROWS`, so many drawn by lot."""
    # Pictures lie sorted by class: the first rows of a large set would be those of a few classes.
    order = Order("train", AT_ONCE, shuffle=rows > MOST_ROWS, scaling="none")
    return itertools.islice(source.batches(order), MOST_ROWS // AT_ONCE)


def _shelve(shelf: list[_Near], likeness: Tensor, batch: dict[str, Tensor]) -> None:
    """Keep the `NEIGHBOURS` most like pictures of the shelf and the batch, in place; of equal ones, the first row."""
    for place in likeness.argsort(descending=True, stable=True)[:NEIGHBOURS].tolist():
        value = float(likeness[place])
        if len(shelf) == NEIGHBOURS and value <= shelf[-1].similarity:
            break
        picture = batch["input"][place].clone()
        shelf.append(_Near(value, int(batch["index"][place]), int(batch["target"][place]), picture))
        shelf.sort(key=lambda near: (-near.similarity, near.row))
        del shelf[NEIGHBOURS:]


def _neighbour(network: Network, source: Source, near: _Near, asked: Tensor) -> Neighbour:
    label = network.labels[near.target]
    pixels = _pixels(near.picture)
    shown = Picture(png(enlarged(pixels, SMALL), least=1, most=SMALL), label, source.name("train", near.row))
    return Neighbour(shown, label, near.similarity, same=torch.equal(pixels, _pixels(asked)))


# ------------------------------------------------------------------------------------------------------------ the page


def _citation(plan: Plan) -> Citation:
    paper = papers()[plan.paper]
    return Citation(f"{paper.authors}: {paper.title}. {published(paper)}.", paper.url)


def _headline(network: Network, root: Call, place: Call | None) -> Iterator[tuple[str, str]]:
    yield "classes", f"{len(network.labels):,}"
    convolutions = sum(isinstance(module, nn.Conv2d) for module in network.model.modules())
    yield "convolutions", f"{convolutions:,}"
    if place is not None:
        yield "evidence is taken from", _label(root, place)
    classifier = last_weighted(root)
    if classifier is not None:
        yield "read by the classifier", f"{_width(classifier):,} numbers"


def _width(classifier: Call) -> int:
    module = classifier.module
    assert isinstance(module, nn.Linear | nn.Conv2d)
    return module.in_features if isinstance(module, nn.Linear) else module.in_channels


def _further(folder: RunFolder, name: str, first: Insight, root: Call) -> Iterator[tuple[str, str]]:
    words = f"seminal explain {shlex.quote(str(folder.path))} {shlex.quote(name)}"
    if first.activation is not None and len(first.guesses) > 1:
        other = next(guess.label for guess in first.guesses if guess.label != first.activation.label)
        yield f"{words} --class {shlex.quote(other)}", "what speaks for another class"
    layers = [call.name for call in stages(root)]
    if len(layers) > 1:
        yield f"{words} --layer {layers[-2]}", "where an earlier layer finds its evidence, in finer maps"
    yield f"seminal predict {shlex.quote(str(folder.path))} {shlex.quote(name)}", "the predictions alone"


def _page(folder: RunFolder, out: str | None) -> Path:
    """Where the page goes. Raises `UserError` where something else would be lost, before anything is computed."""
    page = folder.path / "explain.html" if out is None else Path(out).expanduser()
    if page.is_dir():
        page = page / "explain.html"
    if not page.parent.is_dir():
        raise UserError(
            f"{page} cannot be written: there is no folder {page.parent}. Make it, or choose another --out."
        )
    if page.exists() and not _own(page):
        raise UserError(f"{page} exists and is no page of `seminal explain`: choose another name with --out.")
    return page


def _own(page: Path) -> bool:
    try:
        with page.open("rb") as file:
            return f'name="generator" content="{GENERATOR}"'.encode() in file.read(2048)
    except OSError as error:
        raise UserError(
            f"{page} exists and cannot be read: {error.strerror}. Choose another name with --out."
        ) from None


def _write(page: Path, html: str) -> None:
    """Write the page whole or not at all."""
    before = page.exists()
    write_text(page, html, "Choose another place with --out.")
    say("page", f"{page}{' (in place of the last one)' if before else ''}", wrap=False)
