"""Other data than the run's own, to score the run on: every row is read by the run's encoder, as validation read its own,
and its target is put in the run's terms (its classes, its scale). Text is read with the run's vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from seminal.core import Batch, DataSpec, Encoder, Order, Source, UserError
from seminal.data.fetched import SETS, fetched
from seminal.data.files import open_tree
from seminal.data.lines import bare, lines
from seminal.data.pairs import TABLES as PAIRS
from seminal.data.pairs import PairsEncoder
from seminal.data.table_file import ENDINGS as TABLES
from seminal.data.tables import TableEncoder
from seminal.data.text_rows import ALL, Known
from seminal.runs.asks import DataAsk
from seminal.runs.codec import read_json
from seminal.runs.folder import RunFolder
from seminal.runs.plan import Plan, encoder_of
from seminal.runs.shelf import reading_of
from seminal.runs.sources import BUNDLED, expanded, is_table, open_source


@dataclass(frozen=True)
class Others:
    """The rows of ``inputs`` that have a target, in the order in which the encoder gives them. A `Source` to score."""

    spec: DataSpec
    own: Encoder
    inputs: list[str]
    places: dict[str, int]  # the encoder's name of a row -> its place in `targets`
    targets: Tensor
    names: list[str]

    def encoder(self, scaling: str) -> Encoder:
        return self.own

    def steps(self, order: Order) -> int:
        return -(-len(self.names) // order.batch)

    def batches(self, order: Order) -> Iterator[Batch]:
        if order.augment:
            raise UserError("--ten-crop is for the run's own data: leave it out beside --data.")
        for names, batch in self.own.encode(self.inputs, order.batch):
            kept = [i for i, name in enumerate(names) if name in self.places]
            index = torch.tensor([self.places[names[i]] for i in kept], dtype=torch.int64)
            yield {"input": batch["input"][kept], "target": self.targets[index], "index": index}

    def name(self, split: str, index: int) -> str:
        return self.names[index]


@dataclass(frozen=True)
class Scored:
    """What a user says of the data."""

    data: str
    split: str | None = None
    source: str | None = None  # as in `DataAsk`; None: as the run's own
    target: str | None = None
    strange: bool = False  # classes that the run never saw are welcome


def other_data(ask: Scored, folder: RunFolder, plan: Plan) -> Source:
    """Data of the form of the run's own. All of its rows, or those of one split; text keeps the splits of its folder.

    Raises:
        UserError: the data are of another form, or have classes or columns that the run does not know.
    """
    data, split = ask.data, ask.split
    if data in SETS and not expanded(data).exists():
        data = str(fetched(data))
    own, path = encoder_of(folder), expanded(data)
    if reading_of(plan.paper, plan.recipe.variant):
        mean, std = (getattr(plan.recipe.task, name, ()) for name in ("mean", "std"))
        known = Known(own, tuple(read_json(folder.path / "labels.json")), True, mean, std)
        return open_source(_text_ask(ask, plan.data, own), plan.paper, plan.recipe.variant, "cpu", known=known)
    if ask.source is not None:
        raise UserError("--source names a side of text, and the run reads none: leave it out.")
    if data in BUNDLED and not path.exists():
        raise UserError(
            f"--data takes files, and {data} is a bundled set: leave --data out to score the run on its own data."
        )
    if path.exists() and is_table(path) != isinstance(own, TableEncoder):
        raise UserError(
            f"{data} is not of the form of the run's own data ({plan.data.data}): give data of the same form."
        )
    words = replace(plan.data, data=data, fold=None, folds=None, target=ask.target or plan.data.target)
    source = open_source(words, plan.paper, plan.recipe.variant, "cpu")
    splits = [split] if split else list(source.spec.counts)
    if split and split not in source.spec.counts:
        raise UserError(f"{source.spec.name} has no split `{split}`. It has: {', '.join(source.spec.counts)}.")
    labels = tuple(read_json(folder.path / "labels.json"))
    if ask.strange:
        labels += tuple(label for label in source.spec.classes if label not in labels)
    names, targets = [], []
    for part in splits:
        names += [source.name(part, row) for row in range(source.spec.counts[part])]
        targets += [batch["target"] for batch in source.batches(Order(part, 4096, scaling="none"))]
    inputs = _files(path) if source.spec.kind == "table" else [data]
    prefix = "" if source.spec.kind == "table" else _prefix(data, names)
    task = plan.recipe.task
    spec = replace(source.spec, counts={split or ALL: len(names)}, classes=labels if source.spec.classes else ())
    spec = replace(spec, target_mean=getattr(task, "mean", ()), target_std=getattr(task, "std", ()))
    places = {prefix + name: place for place, name in enumerate(names)}
    return Others(spec, own, inputs, places, _in_terms(torch.cat(targets), source.spec, spec), names)


def _text_ask(ask: Scored, own: DataAsk, encoder: Encoder) -> DataAsk:
    """How other text is read: as the run's own, but for what the user says. A table of pairs need not have the names of
    the run's own files as its columns: its first two are read then, as in training."""
    source, target = ask.source or own.source, ask.target or own.target
    path = expanded(ask.data)
    if isinstance(encoder, PairsEncoder) and path.is_file() and bare(path).suffix.lower() in PAIRS:
        head = next(iter(lines(path)), "").split("\t")
        source, target = (source, target) if {source, target} <= set(head) else (ask.source, ask.target)
    return replace(own, data=ask.data, source=source, target=target, fold=None, folds=None, borrowed=False)


def _files(path: Path) -> list[str]:
    if path.is_dir():
        return sorted(str(file) for file in path.iterdir() if file.name.lower().removesuffix(".gz").endswith(TABLES))
    return [str(path)]


def _prefix(data: str, names: list[str]) -> str:
    """What the encoder writes before the names that the source gives: the folder, and the wrappers it has left out."""
    there = set(open_tree(data, descend=False).names)
    ends = (raw.removesuffix(names[0]) for raw in sorted(there) if f"/{raw}".endswith(f"/{names[0]}"))
    wrapper = next((end for end in ends if all(end + name in there for name in names)), "")
    return f"{data.rstrip('/')}/{wrapper}"


def _in_terms(targets: Tensor, theirs: DataSpec, ours: DataSpec) -> Tensor:
    if not theirs.classes:
        real = targets.double()
        if theirs.target_std:
            real = real * torch.tensor(theirs.target_std).double() + torch.tensor(theirs.target_mean).double()
        if ours.target_std:
            real = (real - torch.tensor(ours.target_mean).double()) / torch.tensor(ours.target_std).double()
        return real.float()
    place = {label: at for at, label in enumerate(ours.classes)}
    unknown = [label for label in theirs.classes if label not in place]
    if unknown:
        raise UserError(
            f"{theirs.name} has the class `{unknown[0]}`, which the run never saw: it knows {', '.join(ours.classes[:5])}"
            f"{' …' if len(ours.classes) > 5 else ''}. Take those rows out, or train a new run with them."
        )
    return torch.tensor([place[label] for label in theirs.classes])[targets]
