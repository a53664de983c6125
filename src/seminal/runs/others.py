"""Other data than the run's own, to score the run on: every row is read by the run's encoder, as validation read its own,
and its target is put in the run's terms (its classes, its scale). Text is read with the run's vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seminal.core import Batch, DataSpec, Encoder, LeftOut, Order, Source, UserError
from seminal.data import tables
from seminal.data.fetched import SETS, fetched
from seminal.data.files import open_tree
from seminal.data.image_encoder import ImageEncoder
from seminal.data.image_layout import Entry
from seminal.data.image_listing import labelled, skipped
from seminal.data.lines import bare, lines
from seminal.data.pairs import TABLES as PAIRS
from seminal.data.pairs import PairsEncoder
from seminal.data.table_target import Target
from seminal.data.tables import TableEncoder
from seminal.data.text_rows import ALL, Known
from seminal.runs.asks import DataAsk
from seminal.runs.codec import read_json
from seminal.runs.folder import RunFolder
from seminal.runs.plan import Plan, encoder_of
from seminal.runs.shelf import reading_of
from seminal.runs.sources import BUNDLED, expanded, is_table, open_source
from seminal.tasks.classification import Classification
from seminal.tasks.regression import Regression

AT_ONCE = 128  # pictures


@dataclass(frozen=True)
class Others:
    """The rows of ``inputs`` that have a target, in the order in which the encoder gives them. A `Source` to score."""

    spec: DataSpec
    own: TableEncoder | ImageEncoder
    inputs: list[str]
    places: dict[str, int]  # the encoder's name of a row -> its place in `targets`
    targets: Tensor
    names: list[str]
    on_bad_file: str = "refuse"  # files and rows

    def encoder(self, scaling: str) -> Encoder:
        return self.own

    def steps(self, order: Order) -> int:
        return -(-len(self.names) // order.batch)

    def batches(self, order: Order) -> Iterator[Batch]:
        if order.augment:
            raise UserError("--ten-crop is for the run's own data: leave it out beside --data.")
        left_out: LeftOut | None = None if self.on_bad_file == "refuse" else {}
        for names, batch in self.own.encode(self.inputs, order.batch, left_out):
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
    on_bad_file: str = "refuse"  # damaged files or rows; text is skipped as the run skipped its own, too


def other_data(ask: Scored, folder: RunFolder, plan: Plan) -> Source:
    """Data of the form of the run's own. All of its rows, or those of one split; text keeps the splits of its folder.

    Raises:
        UserError: the data are of another form, or have classes or columns that the run does not know.
    """
    data = ask.data
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
    return _with_targets(replace(ask, data=data), own, folder, plan)


def _with_targets(ask: Scored, own: Encoder, folder: RunFolder, plan: Plan) -> Others:
    """The rows of tables or of pictures: what each is called, and its target in the run's terms."""
    data, split, path = ask.data, ask.split, expanded(ask.data)
    labels = tuple(read_json(folder.path / "labels.json"))
    task = plan.recipe.task
    if isinstance(own, TableEncoder):
        kinds: dict[type, str] = {Regression: "regression", Classification: "classification"}
        parts = _of_tables(ask, path, own, ask.target or plan.data.target, kinds.get(type(task), plan.data.task))
        spec = DataSpec(path.name.split(".")[0], "table", {}, (len(own.features),))
    else:
        assert isinstance(own, ImageEncoder)
        parts = _of_pictures(ask, own)
        spec = DataSpec(path.name.split(".")[0], "images", {}, (own.channels, own.size, own.size))
    if split and split not in parts:
        raise UserError(f"{path.name} has no split `{split}`. It has: {', '.join(parts)}.")
    chosen = [parts[split]] if split else list(parts.values())
    names = [name for part in chosen for name in part.names]
    said = np.concatenate([part.said for part in chosen])
    notes = dict.fromkeys(note for part in chosen for note in part.notes)  # of pictures, each part has those of all
    spec = replace(spec, counts={split or ALL: len(names)}, notes=tuple(notes))
    if isinstance(task, Regression):
        spec = replace(spec, target_names=labels, target_mean=task.mean, target_std=task.std)
    else:
        spec = replace(spec, classes=(*labels, *_strange(said, path.name, labels, welcome=ask.strange)))
    table = isinstance(own, TableEncoder)
    prefix = "" if table else _prefix(data, names)
    places = {prefix + name: place for place, name in enumerate(names)}
    inputs = [part.file for part in chosen] if table else [data]
    return Others(spec, own, inputs, places, _in_terms(said, spec), names, ask.on_bad_file)


@dataclass(frozen=True)
class _Rows:
    """A split: what its rows are called, and the name of the class, or the number, that each of them has."""

    names: list[str]
    said: np.ndarray
    file: str = ""  # of a table
    notes: tuple[str, ...] = ()


def _of_tables(ask: Scored, path: Path, own: TableEncoder, target: str | None, task: str) -> dict[str, _Rows]:
    found = tables.to_score(path, target, task, columns=own.columns, on_bad_row=ask.on_bad_file)
    return {
        split: _Rows([f"{part.table.file}:{line}" for line in part.table.lines], part.target, str(file), tuple(notes))
        for split, (file, part, notes) in found.items()
    }


def _of_pictures(ask: Scored, own: ImageEncoder) -> dict[str, _Rows]:
    data, notes = ask.data, tuple[str, ...]()
    entries = labelled(data)[1].entries
    if entries and ask.on_bad_file == "skip":
        entries, notes = _usable(entries, data, own)
    if not entries:
        raise UserError(
            f"{data} holds no picture in a class folder: put those of each class into a folder of its name."
        )
    splits = dict.fromkeys(entry.split or ALL for entry in entries)
    parts = {split: [entry for entry in entries if (entry.split or ALL) == split] for split in splits}
    return {
        split: _Rows([e.name for e in part], np.array([e.label for e in part]), notes=notes)
        for split, part in parts.items()
    }


def _usable(entries: tuple[Entry, ...], data: str, own: ImageEncoder) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The entries that are pictures, found by reading all of them, and a note on the others."""
    left_out: LeftOut = {}
    prefix = _prefix(data, [entry.name for entry in entries])
    read = {name for names, _ in own.encode([data], AT_ONCE, left_out) for name in names}
    why = dict(left_out.values())
    bad = [(e.name, why.get(prefix + e.name, "not a picture")) for e in entries if prefix + e.name not in read]
    usable = tuple(entry for entry in entries if prefix + entry.name in read)
    return usable, (skipped(bad, len(entries), "skip"),) if bad else ()


def _strange(said: np.ndarray, name: str, labels: tuple[str, ...], *, welcome: bool) -> list[str]:
    """The classes that the run never saw."""
    found = sorted({str(label) for label in said})
    known = Target("", labels).places(found)
    strange = [label for label in found if label not in known]
    if strange and not welcome:
        raise UserError(
            f"{name} has the class `{strange[0]}`, which the run never saw: it knows {', '.join(labels[:5])}"
            f"{' …' if len(labels) > 5 else ''}. Take those rows out, or train a new run with them."
        )
    return strange


def _in_terms(said: np.ndarray, spec: DataSpec) -> Tensor:
    """(rows,) places of the classes, or (rows, 1) numbers as the run has them."""
    if spec.classes:
        place = Target("", spec.classes).places({str(label) for label in said})
        return torch.tensor([place[str(label)] for label in said])
    (mean,), (std,) = spec.target_mean or (0.0,), spec.target_std or (1.0,)
    return torch.from_numpy(((said - mean) / std).astype(np.float32))[:, None]


def _text_ask(ask: Scored, own: DataAsk, encoder: Encoder) -> DataAsk:
    """How other text is read: as the run's own, but for what the user says. A table of pairs need not have the names of
    the run's own files as its columns: its first two are read then, as in training."""
    source, target = ask.source or own.source, ask.target or own.target
    path = expanded(ask.data)
    if isinstance(encoder, PairsEncoder) and path.is_file() and bare(path).suffix.lower() in PAIRS:
        head = next(iter(lines(path)), "").split("\t")
        source, target = (source, target) if {source, target} <= set(head) else (ask.source, ask.target)
    bad = "skip" if "skip" in (own.on_bad_file, ask.on_bad_file) else "refuse"
    own = replace(own, data=ask.data, source=source, target=target, on_bad_file=bad)
    return replace(own, fold=None, folds=None, borrowed=False)


def _prefix(data: str, names: list[str]) -> str:
    """What the encoder writes before the names that the source gives: the folder, and the wrappers it has left out."""
    there = set(open_tree(data, descend=False).names)
    ends = (raw.removesuffix(names[0]) for raw in sorted(there) if f"/{raw}".endswith(f"/{names[0]}"))
    wrapper = next((end for end in ends if all(end + name in there for name in names)), "")
    return f"{data.rstrip('/')}/{wrapper}"
