"""The vocabulary of seminal: the words in which every paper, data set, recipe and run is described.

Only frozen dataclasses and protocols live here; nothing in this file has an effect. The words were tried against three
unlike problems before they were fixed (``tests/test_core.py``): a classifier, a game of two players, and a sequence
model whose batches are measured in tokens.

The road of one batch:  ``Source.batches(order)`` → ``Task.turns(model, batch)`` → loss sums → one step → ``Step``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

# One batch: named tensors whose first dimension is the row. ``index`` names the rows within their split, so that a
# message can point at the very sample; the task decides what the other names mean (``input``, ``target`` …). In training
# the loop adds ``progress`` (B,), the share of all steps that is done: a loss may change with it.
Batch = dict[str, Tensor]

# What a task adds up over batches and devices. Averages are made once, from the totals: they are exact, whatever the
# size of the last batch.
Sums = dict[str, Tensor]


class UserError(ValueError):
    """A mistake of the person at the keyboard: it is shown as a sentence, without a traceback, with exit code 2."""


# ------------------------------------------------------------------------------------------------- what a paper says


@dataclass(frozen=True)
class Fact:
    """One number printed in the paper, and the measurement that must give it.

    ``within`` is half a unit of the last digit the paper prints, never a slack of ours; a pair ``(below, above)`` is for
    papers that cut digits off instead of rounding. ``measure`` builds what it needs and returns the number here.
    """

    says: str
    where: str
    expect: Any
    measure: Callable[[], Any]
    within: float | tuple[float, float] = 0.0
    variant: str = ""

    def holds(self, got: Any) -> bool:
        """Whether the measured value agrees with the printed one, number by number for lists and tuples."""
        if isinstance(self.expect, tuple | list):
            return len(got) == len(self.expect) and all(
                replace(self, expect=e).holds(g) for e, g in zip(self.expect, got)
            )
        if isinstance(self.expect, str | bool):
            return bool(got == self.expect)
        below, above = self.within if isinstance(self.within, tuple) else (self.within, self.within)
        return bool(self.expect - below <= got <= self.expect + above)


@dataclass(frozen=True)
class Departure:
    """Something done otherwise than the paper: what, why, and where the paper says it."""

    what: str
    why: str
    where: str = ""


@dataclass(frozen=True)
class Result:
    """A score the paper reports, to compare a run with: ``value`` of ``metric`` by ``variant`` on ``data``."""

    variant: str
    data: str
    metric: str
    value: float
    where: str


class Config(Protocol):
    """A row of the paper's table: a flat frozen dataclass from which the model is built."""

    def fitted(self, spec: DataSpec) -> Self:
        """The same network for other data (channels, size, classes). Raises `UserError` where it cannot work."""

    def departures(self) -> tuple[Departure, ...]:
        """What this configuration does otherwise than the paper. Empty for the paper's own rows."""

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """Inputs of the right shape and type for ``forward``, on the current default device."""


@dataclass(frozen=True)
class Paper:
    """The card of a paper, at the foot of its file."""

    title: str
    authors: str
    year: int
    venue: str
    url: str
    idea: str
    build: Callable[[Any], nn.Module]
    variants: Mapping[str, Any]  # name on the command line -> Config
    facts: tuple[Fact, ...]
    results: tuple[Result, ...] = ()


# ----------------------------------------------------------------------------------------------------------- the data


@dataclass(frozen=True)
class DataSpec:
    """What a model, a task and a reader must know of a data set."""

    name: str
    kind: str  # the form of data: "images", "table", …
    counts: Mapping[str, int]  # rows per split
    shape: tuple[int, ...] = ()  # of one input: (channels, height, width) or (features,)
    classes: tuple[str, ...] = ()  # in the order of the target's integers; empty where the target is not a class
    class_counts: tuple[int, ...] = ()  # of the training split
    target_names: tuple[str, ...] = ()  # for regression: one per output
    target_mean: tuple[float, ...] = ()  # training statistics the targets were standardised with; empty: as they are
    target_std: tuple[float, ...] = ()
    colour_values: tuple[float, ...] = ()  # pictures: variances along the principal colours of the training split …
    colour_vectors: tuple[tuple[float, ...], ...] = ()  # … and these colours, one per row
    vocabulary: Mapping[str, int] = field(default_factory=dict)  # text: different tokens per side
    spelling: tuple[str, ...] = ()  # text: the tokens of the vocabulary in letters, where `Reading.spelled` asks for it
    longest: Mapping[str, int] = field(default_factory=dict)  # text: tokens of the longest sequence per side
    tokens: Mapping[str, int] = field(default_factory=dict)  # text: tokens to learn from per split
    words: Mapping[str, int] = field(
        default_factory=dict
    )  # plain text: words (between spaces) that are scored per split
    bytes: Mapping[str, int] = field(default_factory=dict)  # … and bytes in UTF-8
    batched_by: str = "rows"  # what `Order.batch` counts: rows, or tokens
    notes: tuple[str, ...] = ()  # what was done to the data, in sentences for the user

    @property
    def form(self) -> str:
        """What the data are, in words: they stand behind "is"."""
        words = {"images": "a set of pictures", "table": "a table", "pairs": "sentence pairs", "stream": "plain text"}
        words |= {"labelled": "labelled text", "tagged": "text with a label for each word"}
        words |= {"documents": "plain text", "questions": "questions on texts", "choices": "sentences to be ended"}
        return words.get(self.kind, self.kind)

    @property
    def outputs(self) -> int:
        """Numbers the model must give per row: one per class, or one per regression target."""
        return len(self.classes) or len(self.target_names)

    @property
    def amount(self) -> int:
        """What an epoch holds, in the unit in which batches are measured."""
        return self.tokens["train"] if self.batched_by == "tokens" else self.counts["train"]


@dataclass(frozen=True)
class Masking:
    """Which tokens of a text have to be said, and what is read in their place (Devlin et al. 2018, Sec. 3.1)."""

    share: float = 0.15  # of the tokens of a text; never a special one
    masked: float = 0.8  # of these: read as the mask …
    random: float = 0.1  # … as any token of the vocabulary; the others as they are
    whole_words: bool = False  # all pieces of a word, or none


@dataclass(frozen=True)
class Reading:
    """How a model wants text to be read, before the data are known. What the user asks for goes before it."""

    form: str  # "pairs" (sentences and their translations), "stream" (plain text), "labelled", "tagged"; see also ``framed``
    tokens: str = "bpe"  # "bpe", "wordpiece", "uncased" (of lower case, without accents), "words" or "characters"
    vocabulary: int = 8000  # different tokens, at most
    longest: int = 256  # tokens of a sentence, at most; of a stream: of one window
    shared: bool = True  # pairs: one vocabulary for both sides
    carried: bool = False  # stream: a batch goes on where the one before it ended, so that a state can be carried over
    least: int = 1  # stream of words: those that occur less often are unknown
    # Stream: each word is read with those up to ``longest`` places away. Words of a larger share of the text than this are
    # left out at random, the more often the larger it is; 0: none.
    subsample: float | None = None
    labels: bool = False  # stream: labelled texts and choices are read too, framed as below
    # ``<s>`` before a text and ``</s>`` after each of its parts, which BERT calls [CLS] and [SEP]. Such a model reads every
    # form of text: "documents" (plain text, an empty line between two of them), "labelled", "tagged", "questions", "choices".
    framed: bool = False
    masking: Masking | None = None  # documents: None: each token is to be said by those before it
    next_sentence: bool = True  # documents: two parts, and whether the second follows the first is to be said
    spelled: bool = False  # framed: the model must know the letters of each token


class Chance(Protocol):
    """Random numbers that belong to the rows of a batch: a pure function of seed, epoch and row, so that a row meets the
    same luck whatever the batch size, the worker, the device or the moment at which a run was resumed."""

    def uniform(self, draw: int, count: int = 1) -> Tensor:
        """(rows, count) numbers in [0, 1); ``draw`` tells one use of chance from another."""

    def normal(self, draw: int, count: int = 1) -> Tensor:
        """(rows, count) standard normal numbers."""


class Augment(Protocol):
    """A random change of a batch: a frozen dataclass, and a pure function of the batch and of chance."""

    def __call__(self, batch: Batch, chance: Chance) -> Batch: ...


@runtime_checkable
class Crop(Protocol):
    """Which part of each picture is seen: a frozen dataclass, first in a recipe's ``augment``, and a pure function of the
    sizes and of chance."""

    def boxes(self, sizes: Tensor, size: int, chance: Chance) -> Tensor:
        """(B, 4) float32 boxes (top, left, height, width) in source pixels, for an output of ``size`` × ``size``.

        ``sizes`` is (B, 2) int: height and width of each source. A box may reach outside its picture: 0 is seen there.
        """


@dataclass(frozen=True)
class Order:
    """Which rows, in which order, changed how. Batches are a pure function of it: resuming needs no sampler state."""

    split: str
    batch: int  # global size, over all ranks: rows, or tokens where the source says so
    seed: int = 0
    epoch: int = 0
    start: int = 0  # first batch of the epoch to give (a run resumed in mid-epoch)
    shuffle: bool = False
    augment: tuple[Augment | Crop, ...] = ()
    scaling: str = "standard"  # see `Recipe.scaling`
    rank: int = 0
    world: int = 1


# What a reader of the user's files left out: at which place among all rows, what it is called, and why.
LeftOut = dict[int, tuple[str, str]]


class Encoder(Protocol):
    """What was learned from the training split to read an input (sizes, statistics, categories): a frozen dataclass that
    is kept in the run folder, so that `seminal predict` reads exactly as validation did, without the training data."""

    def encode(self, inputs: list[str], batch: int) -> Iterator[tuple[list[str], Batch]]:
        """Names and batches for the user's files. Raises `UserError` naming a file that cannot be read."""


class Source(Protocol):
    """Data on disk or in memory, as batches."""

    @property
    def spec(self) -> DataSpec: ...

    def encoder(self, scaling: str) -> Encoder: ...

    def steps(self, order: Order) -> int:
        """Batches in the epoch of ``order``, counted from its beginning."""

    def batches(self, order: Order) -> Iterator[Batch]:
        """The batches from ``order.start`` on: this rank's rows of each."""

    def name(self, split: str, index: int) -> str:
        """What the user calls a row: a file name, a line of a table."""


# --------------------------------------------------------------------------------------------------------- the problem


@dataclass(frozen=True)
class Turn:
    """One player's loss on one batch: a SUM over what is counted, and the count (rows, tokens, pixels …).

    ``carry`` is what the next batch of the same epoch begins with (the state of a recurrent network, one row per row of
    the batch): the loop adds it to that batch under the same names, and keeps it in every checkpoint.
    """

    player: str
    loss: Tensor
    weight: Tensor
    carry: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Goal:
    """The metric by which checkpoints are chosen."""

    metric: str
    higher: bool = True

    def better(self, new: float, old: float | None) -> bool:
        """Whether ``new`` beats ``old``; anything beats nothing, and a NaN beats nothing at all."""
        if new != new:
            return False
        return old is None or (new > old if self.higher else new < old)


class Task(Protocol):
    """What a batch means, which loss it gives, how it is scored."""

    @property
    def goal(self) -> Goal: ...

    def fitted(self, spec: DataSpec) -> Self:
        """The task for this data (class names, target scale). Raises `UserError` where the data do not suit."""

    def players(self, model: nn.Module) -> Mapping[str, list[nn.Parameter]]:
        """Who moves which parameters. One player for most tasks; a GAN has two."""

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        """The losses, lazily: each player has moved before the next loss is computed."""

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        """Numerators and denominators of all metrics on one batch."""

    def summary(self, sums: Sums) -> dict[str, float]:
        """The metrics, from the totals over all batches and devices."""

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """What the user asked the model for, one row per row of the batch."""


@dataclass(frozen=True)
class Memory:
    """What a model that writes token by token knows between two tokens. R hypotheses, ``width`` of each of B inputs.

    ``fixed`` holds what the input gave, one row per input (B, …); ``moving`` what the tokens written so far gave, one row
    per hypothesis (R, …), which follows its hypothesis when a search drops some and continues others twice.
    """

    fixed: Mapping[str, Tensor]
    moving: Mapping[str, Tensor]
    length: int = 0  # tokens read so far

    def chosen(self, rows: Tensor) -> Memory:
        """The hypotheses ``rows`` (R′,), in that order."""
        return replace(self, moving={name: value.index_select(0, rows) for name, value in self.moving.items()})

    def kept(self, inputs: Tensor, rows: Tensor) -> Memory:
        """Only some inputs, with the hypotheses ``rows`` of them."""
        fixed = {name: value.index_select(0, inputs) for name, value in self.fixed.items()}
        return replace(self.chosen(rows), fixed=fixed)


class Writer(Protocol):
    """A model that writes token by token; `seminal.decode` searches with any of them."""

    def begin(self, source: Tensor | None, rows: int, attention: bool = False) -> Memory:
        """Before the first token: ``rows`` hypotheses, as many for each row of ``source`` (B, S), which is read here; None
        where the model has no input. With ``attention`` the memory holds, after each step, ``moving["attention"]``
        (R, S): where in the source the last token looked."""

    def step(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Reads ``tokens`` (R, n) and gives logits (R, vocabulary) for the one after them, and what is known now. The
        memory given is used up: a writer may write the new one into it."""


@runtime_checkable
class Generator(Protocol):
    """A model that makes rows like those of its data out of noise."""

    def noise(self, rows: int, generator: torch.Generator | None = None) -> Tensor:
        """(rows, latent) numbers from the prior, on the model's device."""

    def generate(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """(rows, …) as the data are; pictures are in [0, 1]. ``labels`` (rows,): the classes, where the model takes any."""


# ----------------------------------------------------------------------------------------------------------- the recipe


WITH_MOMENTUM = ("sgd", "rmsprop")  # optimisers that take one …
DECOUPLED = ("adamw", "bertadam")  # … and those whose weight decay is not a part of the gradient


@dataclass(frozen=True)
class Optim:
    """A torch optimiser by its usual name, with the numbers that go with it."""

    name: str = "sgd"  # sgd, adagrad, adadelta, rmsprop, adam, adamw, bertadam (AdamW without its bias correction)
    momentum: float = 0.0  # SGD and RMSprop
    nesterov: bool = False
    betas: tuple[float, float] = (
        0.9,
        0.999,
    )  # Adam and its like; the second: Adadelta, RMSprop too
    eps: float = 1e-8
    weight_decay: float = 0.0
    decay_all: bool = True  # False: no decay on biases and on the gains of normalisations (tensors of one dimension)


class Schedule(Protocol):
    """The learning rate's factor as a pure function of time."""

    def __call__(self, step: int, steps: int, scores: tuple[float, ...]) -> float:
        """Factor at ``step`` of ``steps``; ``scores`` are the validation errors so far, lower is better."""


@dataclass(frozen=True)
class Precision:
    """How fast, never what: the number format of the arithmetic and the layout of pictures in memory."""

    dtype: str = "fp32"  # fp32 or bf16
    channels_last: bool = False
    compile: bool = False


@dataclass(frozen=True)
class Transfer:
    """Weights from elsewhere to start from, and what becomes of them."""

    start: str  # a file of weights, or the folder of a run
    anew: tuple[str, ...] = ()  # entries that start with their first values: the head, for other classes
    freeze: bool = False  # only the entries of ``head`` learn
    head: tuple[str, ...] = ()  # entries whose size follows the number of outputs
    body_rate: float = 1.0  # learning rate of all that is not the head, as a share of the head's
    layer_decay: float = 1.0  # … times this for each layer between an entry and the head

    @property
    def frozen(self) -> bool:
        """Whether the body stays as it is: at no rate it neither moves nor asks for gradients."""
        return self.freeze or not self.body_rate


@dataclass(frozen=True)
class Recipe:
    """All choices of a training run that are not the data. ``sources`` says where each number comes from: a section of
    the paper, or the arithmetic."""

    name: str
    variant: str
    model: Any  # the paper's Config
    task: Task
    epochs: int
    batch: int  # rows, or tokens: see `DataSpec.batched_by`
    lr: float
    optim: Optim
    schedule: Schedule
    augment: tuple[Augment | Crop, ...] = ()
    scaling: str = "standard"  # inputs: "standard" (mean 0, spread 1 per channel or column), "pixel_mean", "none"
    clip: float | None = None  # largest global norm of each player's gradient
    accumulate: int = 1  # micro-batches per step
    ema: float = 0.0  # decay of the moving average of the weights; 0: none
    average: int = 0  # the weights at the end of the last so many epochs are averaged; 0: none
    patience: int | None = None  # epochs without improvement after which training stops
    precision: Precision | None = None  # None: measured at the start, the fastest that agrees is kept
    seed: int = 0
    transfer: Transfer | None = None  # None: training starts from the paper's first weights
    body_rate: float = 0.1  # of a run that starts from other weights, where nobody asks for another: see `Transfer`
    steps: int | None = None  # where the paper counts steps: training ends there, whatever `epochs` says
    least_steps: int = 0  # small data sets get more epochs, until training has this many steps
    sources: Mapping[str, str] = field(default_factory=dict)  # field name -> where its value comes from
    departures: tuple[Departure, ...] = ()

    def adapted(self, spec: DataSpec) -> Recipe:
        """The recipe for other data: the model and the task fitted to it, the batch not larger than makes sense, and
        enough steps. Every change is added to ``departures``."""
        model, task = self.model.fitted(spec), self.task.fitted(spec)
        amount = spec.amount
        # A recipe that asks for a number of steps gets smaller batches too where the rows are few.
        batch = min(self.batch, max(16, amount // 8)) if self.least_steps else self.batch
        steps = max(1, amount // batch)
        epochs = max(self.epochs, -(-self.least_steps // steps))
        patience = self.patience and -(-self.patience * epochs // self.epochs)  # as large a share of the run
        few = f"there are only {amount:,} training {spec.batched_by}"
        smaller = Departure(f"batches of {batch} (recipe: {self.batch})", few)
        longer = Departure(f"{epochs} epochs (recipe: {self.epochs})", f"an epoch has only {steps} steps")
        changed = (*[smaller] * (batch != self.batch), *[longer] * (epochs != self.epochs))
        made = replace(self, model=model, task=task, batch=batch, epochs=epochs, patience=patience)
        return replace(made, departures=(*self.departures, *changed))


@dataclass(frozen=True)
class Case:
    """All that decides a run. A cure of the doctor is a `dataclasses.replace` of it."""

    build: Callable[[Any], nn.Module]
    source: Source
    recipe: Recipe


@dataclass(frozen=True)
class Step:
    """What the training loop tells after each step."""

    number: int  # steps made so far, this one included
    steps: int  # steps of the whole run
    epoch: int  # counted from 0
    position: int  # batches of this epoch done so far
    epoch_steps: int
    loss: Mapping[str, float]  # mean loss per player over the global batch
    lr: float
    grad_norm: Mapping[str, float]  # before clipping
    rows: int  # over all ranks
    weight: float  # what the losses are means over: rows, tokens … of the first player, over all ranks

    @property
    def ends_epoch(self) -> bool:
        return self.position == self.epoch_steps
