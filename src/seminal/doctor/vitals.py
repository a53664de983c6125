"""What `watch` writes down while a model trains: numbers only, and only what torch's own hooks give.

Two kinds: what costs little is written at the steps in ``seen``, which are all steps where the schedule was given, and the
sampled ones where the watch keeps to a budget; what has to look at whole tensors is written at sampled steps, and ``at``
says which these were. Nothing here judges: that is for `seminal.doctor.bedside` and `seminal.doctor.rules`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from statistics import median
from typing import Any

EARLY, LATER = 1000, 10_000  # losses that are kept: the first ones all, and so many of the others


@dataclass
class Layer:
    """What a module without children, or with parameters of its own, gave at the sampled steps: lists as long as
    `Vitals.at`, NaN where it was not called with gradients. Of a large output only the first rows are looked at."""

    kind: str  # the class's name ("Linear", "ReLU", "LSTM" …), or that of an activation called as a function ("relu")
    spread: list[float] = field(default_factory=list)  # standard deviation over everything
    rows: list[float] = field(default_factory=list)  # standard deviation over rows, averaged over units
    size: list[float] = field(default_factory=list)  # largest absolute value
    silent: list[float] = field(default_factory=list)  # share of units (channels) that are exactly 0 in every row
    flat: list[float] = field(default_factory=list)  # sigmoid, tanh …: share of values within 0.01 of an end; else NaN


@dataclass
class Weight:
    """What happened to a parameter, at the sampled steps."""

    shape: tuple[int, ...]
    size: list[float] = field(default_factory=list)  # norm of the parameter
    gradient: list[float] = field(default_factory=list)  # norm of its gradient as backward left it; NaN: there was none
    zeros: list[float] = field(default_factory=list)  # share of exact zeros in it
    change: list[float] = field(default_factory=list)  # norm of the step, divided by the norm of the parameter
    learns: bool = True  # requires a gradient
    owned: bool = True  # the optimiser has it
    moves: list[float] = field(default_factory=list)  # largest change of an entry
    moved: bool = False  # in any sampled step


@dataclass
class Vitals:
    """A training run, as it was watched."""

    steps: int = 0  # made so far
    loss: list[float] = field(
        default_factory=list
    )  # as told: of the first `EARLY` steps each, then of each ``stride``-th
    told: int = 0  # losses so far
    stride: int = 1
    seen: list[int] = field(default_factory=list)  # the steps that the next five lists are about
    rate: list[float] = field(default_factory=list)  # learning rate of the first group
    # The plain norm of the gradient: as backward left it, and as the optimiser took it (after clipping).
    gradient: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    # Whether gradients of an earlier step were still there when backward began, and whether any module that
    # behaves otherwise in evaluation (dropout, batch normalisation …) was in training mode: some are kept out on purpose.
    leftover: list[bool] = field(default_factory=list)
    training: list[bool] = field(default_factory=list)
    # Every forward pass without gradients: whether all these modules were in evaluation mode, and after how many steps.
    validating: list[bool] = field(default_factory=list)
    validated: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)  # sampled steps
    # By module name, in the order of the forward pass; activations called as functions by "MODULE.relu", "MODULE.relu#2" …
    layers: dict[str, Layer] = field(default_factory=dict)
    weights: dict[str, Weight] = field(default_factory=dict)  # by parameter name
    output: Layer | None = None  # of the whole model
    low: list[float] = field(default_factory=list)  # smallest and largest output at the sampled steps
    high: list[float] = field(default_factory=list)
    # Where the first value that is not finite came from: "input", "weight NAME", "layer NAME", "gradient NAME", "loss", or
    # "gradient" where nobody knows whose. Empty: none did.
    broken: str = ""
    broken_step: int | None = None
    broken_rows: tuple[int, ...] = ()  # rows of that batch
    moody: tuple[str, ...] = ()  # modules that behave otherwise in evaluation
    uncorrected: list[float] = field(default_factory=list)  # decay rates of an Adam without bias correction; else empty
    cost: float = 0.0  # seconds that watching took, without the calls of hooks that return at once
    seconds: float = 0.0  # … of so many in all

    def note(self) -> dict[str, Any]:
        """Everything, as JSON's own types."""
        return asdict(self)

    @staticmethod
    def of(note: Mapping[str, Any]) -> Vitals:
        """The inverse of `note`."""
        vitals = _filled(Vitals, {"told": len(note["loss"]), **note})  # runs of earlier versions kept each
        vitals.layers = {name: _filled(Layer, layer) for name, layer in note["layers"].items()}
        vitals.weights = {name: _filled(Weight, weight) for name, weight in note["weights"].items()}
        vitals.output = note["output"] and _filled(Layer, note["output"])
        return vitals

    def tell(self, losses: Iterable[float]) -> None:
        """The losses of the next steps. A run of millions of steps is not described any better by all of them."""
        for loss in losses:
            if self.told < EARLY or (self.told - EARLY) % self.stride == 0:
                self.loss.append(loss)
            self.told += 1
            if len(self.loss) > EARLY + LATER:
                self.loss[EARLY:] = self.loss[EARLY::2]
                self.stride *= 2

    def moves(self) -> list[float]:
        """How far a step moves a matrix, as a share of its norm: at each look the median over matrices; NaN: none moved."""
        matrices = [_shares(w) for w in self.weights.values() if w.owned and w.learns and len(w.shape) > 1]
        looks = [[change for change in look if math.isfinite(change)] for look in zip(*matrices)]
        return [median(look) if look else math.nan for look in looks]

    def clipped(self) -> list[float]:
        """For each step, which share of the gradient's norm the optimiser was given: below 1 where it was clipped."""
        return [t / g if g > 0 and math.isfinite(g) else 1.0 for g, t in zip(self.gradient, self.taken, strict=True)]


def _shares(weight: Weight) -> list[float]:
    """`Weight.change`; where the matrix began at zero, of the largest norm it has had: its first steps are all there is."""
    if not weight.size or weight.size[0] > 0:
        return weight.change
    largest = max(weight.size) or math.nan
    return [change * size / largest for change, size in zip(weight.change, weight.size, strict=True)]


def _filled(kind: Any, note: Mapping[str, Any]) -> Any:
    """A record that can be written on: what was read may be made of tuples."""
    lists = {f.name for f in fields(kind) if f.default_factory is list}
    return kind(**{name: list(value) if name in lists else value for name, value in note.items()})
