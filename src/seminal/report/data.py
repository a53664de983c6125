"""A report is data: everything the page, the terminal and ``report.json`` show of a run, and nothing computed twice.

``report.json`` is plain JSON: pictures as base64, numbers that JSON has no word for as "nan", "inf" and "-inf". Reading
one back checks every field's type and runs nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from numbers import Integral, Real
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from seminal.core import Departure, Goal, UserError

VERSION = 1  # of the JSON form; raised when a field changes its meaning


@dataclass(frozen=True)
class Citation:
    """The paper, as one line, and where to read it."""

    line: str
    url: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG, what it shows, and what the user calls it (a file name, a row). ``png`` is empty for what has no picture,
    such as the row of a table."""

    png: bytes
    caption: str
    name: str = ""


@dataclass(frozen=True)
class Scatter:
    """One regression target on the validation split: true and predicted values, in the target's own unit."""

    target: str
    true: Sequence[float]
    predicted: Sequence[float]


@dataclass(frozen=True)
class Attempts:
    """What the model wrote of one and the same text after several epochs, from the first to the last: (epoch, text).

    ``given_as`` and ``wanted_as`` are what the two other texts are called; ``how`` says how tokens were chosen.
    """

    given: str
    wanted: str
    texts: tuple[tuple[int, str], ...]
    given_as: str = "source"
    wanted_as: str = "reference"
    how: str = ""


@dataclass(frozen=True)
class Translated:
    """A sentence of the validation split, its reference, its translation, and the BLEU of this sentence alone (0 to 100).
    ``name`` is what the user calls it: a file and a line."""

    source: str
    reference: str
    translation: str
    bleu: float
    name: str = ""


@dataclass(frozen=True)
class Looks:
    """Where a translating model looked: ``weights[t][s]`` is the weight of token s of the source just before token t was
    written."""

    source: tuple[str, ...]
    written: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if [len(row) for row in self.weights] != [len(self.source)] * len(self.written):
            raise UserError(
                "a map of attention needs a row for each written token, and in it a weight for each source token"
            )


@dataclass(frozen=True)
class Tagged:
    """A sentence with a true and a predicted label for each of its words."""

    words: tuple[str, ...]
    true: tuple[str, ...]
    predicted: tuple[str, ...]
    name: str = ""

    def __post_init__(self) -> None:
        if not len(self.words) == len(self.true) == len(self.predicted):
            raise UserError("a tagged sentence needs a true and a predicted label for each of its words")

    @property
    def wrong(self) -> int:
        return sum(true != predicted for true, predicted in zip(self.true, self.predicted))


@dataclass(frozen=True)
class Answered:
    """A question on a text. ``parts`` of the text stand end to end: (part, "said" in the model's answer, else "true" in the
    true one, else ""). An answer that is empty says that the text has none; ``probability`` is that of the model's."""

    question: str
    parts: tuple[tuple[str, str], ...]
    answer: str
    true: str
    right: bool
    probability: float
    name: str = ""


@dataclass(frozen=True)
class Hidden:
    """A word that was hidden from the model, between its neighbours; what the model said, and by how many nats it missed the
    true one."""

    before: str
    word: str
    after: str
    said: str
    nats: float = 0.0
    name: str = ""


@dataclass(frozen=True)
class Evidence:
    """Which parts of a text spoke for the predicted class ``label``: (part, by how many nats the log-probability of the
    class falls where the part is replaced by an unknown token). Negative: the part spoke against it. The parts stand end
    to end: together they are the text as the model reads it."""

    label: str
    parts: tuple[tuple[str, float], ...]
    caption: str = ""
    name: str = ""


@dataclass(frozen=True)
class Plane:
    """Rows of the validation split in the plane of two latent variables; ``classes`` holds each row's class, if any."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    classes: tuple[int, ...]
    axes: tuple[str, str]


@dataclass(frozen=True)
class Found:
    """An illness of a run: what it means, why it is believed, and what helps."""

    illness: str
    means: str
    confidence: float
    evidence: tuple[str, ...]  # sentences with numbers
    advice: tuple[str, ...] = ()  # what to do, in sentences


@dataclass(frozen=True)
class Doctor:
    """What the doctor's watch saw of a run: the verdict, and at some ``steps`` for each layer (name → one number for each
    of these steps) how far a step moved its weights, as a share of their norm, and which share of its units was 0 for all
    rows."""

    name: str  # "healthy", "cannot_tell", or the surest illness
    says: str  # in a sentence
    found: tuple[Found, ...] = ()
    steps: tuple[int, ...] = ()
    moved: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    silent: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    looked: str = ""  # how often, and what it cost


@dataclass(frozen=True)
class Report:
    """What a run came to.

    ``rows`` holds one mapping per finished epoch: ``epoch`` (counted from 1), ``step`` (steps made so far), ``lr``,
    ``grad_norm``, ``rows_per_s``, ``seconds``, and metrics as ``train_<metric>`` and ``val_<metric>`` (``train_loss``,
    ``val_top1`` …); what was not measured is None or absent. ``trace`` holds columns of equal length, one entry per
    kept step: ``step``, ``loss``, ``lr``, ``grad_norm`` (see `thinned`). ``percent`` names the metrics that are
    fractions and are shown as percentages. ``confusion[true][predicted]`` counts rows of the validation split.

    Raises `UserError` where the parts do not fit together.
    """

    title: str
    paper: Citation
    goal: Goal
    headline: tuple[tuple[str, str], ...] = ()  # (label, value)
    rows: tuple[Mapping[str, float | None], ...] = ()
    trace: Mapping[str, Sequence[float]] = field(default_factory=dict)
    percent: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] | None = None
    recalls: tuple[float | None, ...] = ()  # per class; None: the validation split has no row of it
    mistakes: tuple[Picture, ...] = ()  # worst first
    samples: Mapping[str, tuple[Picture, ...]] = field(default_factory=dict)  # by class
    filters: tuple[Picture, ...] = ()
    scatter: tuple[Scatter, ...] = ()  # regression: one per target
    attempts: tuple[Attempts, ...] = ()  # models that write: one per text
    looks: tuple[Looks, ...] = ()  # of the sentences of ``attempts``, in their order
    worst: tuple[Translated, ...] = ()  # worst first
    tagged: tuple[Tagged, ...] = ()  # worst first
    answered: tuple[Answered, ...] = ()  # wrong ones first, the surest first
    hidden: tuple[Hidden, ...] = ()  # worst first
    evidence: tuple[Evidence, ...] = ()  # of the first of ``mistakes``, in their order
    made: tuple[tuple[int, Picture], ...] = ()  # (epoch, pictures the model made), from the first to the last
    beside: tuple[Picture, ...] = ()  # what the model made beside what it was given, or learned from
    plane: Plane | None = None
    doctor: Doctor | None = None
    settings: tuple[tuple[str, str, str], ...] = ()  # (name, value, where the value comes from)
    departures: tuple[Departure, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    notes: tuple[str, ...] = ()  # on the data and on the run, in sentences
    next_commands: tuple[tuple[str, str], ...] = ()  # (command, what it does)

    def __post_init__(self) -> None:
        if len({len(column) for column in self.trace.values()}) > 1:
            raise UserError("the columns of the report's trace differ in length: each kept step needs a value in each")
        if self.trace and "step" not in self.trace:
            raise UserError("the report's trace has no column `step`: add the step number of each value")
        sides = [len(self.classes)] * len(self.classes)
        if self.confusion is not None and [len(row) for row in self.confusion] != sides:
            raise UserError(
                f"the confusion matrix is not {len(self.classes)} × {len(self.classes)}, as the classes are"
            )
        if self.recalls and len(self.recalls) != len(self.classes):
            raise UserError(f"there are {len(self.recalls)} recalls for {len(self.classes)} classes: give one for each")
        for pairs in self.scatter:
            if len(pairs.true) != len(pairs.predicted):
                raise UserError(f"target `{pairs.target}` has {len(pairs.true)} true values, not one per prediction")

    @property
    def best(self) -> tuple[float, int] | None:
        """The best validated goal metric and its epoch, of equal ones that with the least loss, as the weights were kept;
        None where nothing was validated."""
        best: tuple[float, int] | None = None
        least = 0.0
        for row in self.rows:
            value, loss = row.get(f"val_{self.goal.metric}"), row.get("val_loss") or 0.0
            if value is None:
                continue
            if self.goal.better(value, best[0] if best else None) or (best and value == best[0] and loss < least):
                best, least = (value, int(row["epoch"] or 0)), loss
        return best


def thinned(trace: Mapping[str, Sequence[float]], points: int = 2000) -> dict[str, tuple[float, ...]]:
    """At most ``points`` steps of a longer record. Of each stretch of steps the smallest and the largest loss are kept,
    so that a spike one step wide is still seen; a loss that is not a number counts as the largest."""
    columns = {name: np.asarray(values) for name, values in trace.items()}
    steps = len(columns["step"])
    kept = np.arange(steps)
    if steps > points:
        loss = np.nan_to_num(columns["loss"].astype(float), nan=math.inf)
        stretches = np.array_split(kept, max(1, points // 2))
        kept = np.unique([i for s in stretches for i in (s[loss[s].argmin()], s[loss[s].argmax()])])
    return {name: tuple(values[kept].tolist()) for name, values in columns.items()}


# ------------------------------------------------------------------------------------------------------------- as JSON


def to_json(report: Report) -> str:
    """The report as JSON text."""
    return json.dumps({"version": VERSION, "report": _write(report)}, indent=1, allow_nan=False)


def from_json(text: str) -> Report:
    """The report of a JSON text. Raises `UserError` that names the field where it is not one."""
    try:
        loaded = json.loads(text)
    except ValueError as error:
        raise UserError(
            f"this report.json cannot be read ({error}): write it again with `seminal report RUN`"
        ) from error
    version = loaded.get("version") if isinstance(loaded, dict) else None
    if version != VERSION:
        found = f"form {version}" if version is not None else "something else"
        raise UserError(f"this report.json holds {found}, not form {VERSION}: write it again with `seminal report RUN`")
    report: Report = _read(Report, loaded.get("report"), "report")
    return report


def _write(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _write(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _write(item) for key, item in value.items()}
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):  # numpy's scalars too
        return float(value) if math.isfinite(value) else str(float(value))
    return [_write(item) for item in value]


def _read(kind: Any, value: Any, where: str) -> Any:
    """``value`` as the annotated type ``kind``; ``where`` names the field in messages."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        other = next(a for a in args if a is not type(None))
        return None if value is None else _read(other, value, where)
    if origin in (tuple, Sequence):
        if not isinstance(value, list):
            raise _wrong(where, "a list")
        if origin is tuple and args[-1] is not Ellipsis:
            if len(value) != len(args):
                raise _wrong(where, f"a list of {len(args)}")
            return tuple(_read(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, value)))
        return tuple(_read(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict):
            raise _wrong(where, "an object")
        return {key: _read(args[1], v, f"{where}.{key}") for key, v in value.items()}
    return _read_dataclass(kind, value, where) if is_dataclass(kind) else _read_scalar(kind, value, where)


def _read_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, "an object")
    hints = get_type_hints(kind)
    unknown = sorted(set(value) - set(hints))
    if unknown:
        raise UserError(f"{where} has a field `{unknown[0]}` that this version of seminal does not know")
    required = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in required if name not in value]
    if missing:
        raise UserError(f"{where} lacks the field `{missing[0]}`: write it again with `seminal report RUN`")
    return kind(**{name: _read(hints[name], item, f"{where}.{name}") for name, item in value.items()})


def _read_scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is bytes and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise _wrong(where, "base64") from error
    if kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        if value in ("nan", "inf", "-inf"):
            return float(value)
        raise _wrong(where, "a number")
    if type(value) is kind:
        return value
    raise _wrong(where, {str: "a text", int: "a whole number", bool: "true or false"}.get(kind, "something else"))


def _wrong(where: str, wanted: str) -> UserError:
    return UserError(f"{where} in this report.json is not {wanted}: write it again with `seminal report RUN`")
