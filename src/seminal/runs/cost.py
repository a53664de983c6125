"""``seminal cost``: what a model takes before it is trained: parameters, multiply-adds, memory."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from seminal.core import DataSpec, Optim, Paper, Reading, UserError
from seminal.pieces.measure import parameters
from seminal.pieces.memory import Inference, Part, Training, imagined, inference, parts, training
from seminal.report.terminal import say, table
from seminal.runs.shelf import nearest, paper_of, reading_of, recipes_of

OPTIMISERS = {
    "sgd": Optim("sgd"),
    "sgd-momentum": Optim("sgd", momentum=0.9),
    "adagrad": Optim("adagrad"),
    "adadelta": Optim("adadelta"),
    "rmsprop": Optim("rmsprop"),
    "adam": Optim("adam"),
    "adamw": Optim("adamw"),
    "bertadam": Optim("bertadam"),
}
FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16}
ROWS = 50_000  # in the training split of data we have not seen: what a recipe asks about it has no part in the cost


@dataclass(frozen=True)
class Cost:
    """What one model takes, in numbers; memory by number format, in bytes."""

    model: str
    input: tuple[int, ...]
    outputs: int
    batch: int
    optimiser: str
    parameters: int
    multiply_adds: int  # per input, in inference
    training: dict[str, Training]
    inference: dict[str, Inference]
    parts: list[Part]

    @property
    def multiply_adds_in_training(self) -> int:
        """Of one forward pass: side heads that only training has are among them."""
        return sum(part.multiply_adds for part in self.parts)


def cost(
    name: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    classes: int | None = None,
    batch: int | None = None,
    optimiser: str | None = None,
    as_json: bool = False,
) -> int:
    """Parameters, multiply-adds and memory of a model, for the paper's own input or for other data. Batch and optimiser are
    those of the model's default recipe where they are not given."""
    file, paper = paper_of(name)
    _refuse_nonsense({"size": size, "channels": channels, "classes": classes, "batch-size": batch})
    config = paper.variants[name]
    reading = reading_of(file, name)
    asked = (size, channels, classes) != (None, None, None)
    if reading and asked:
        raise UserError(f"{name} reads text, which has neither --size nor --channels nor --classes: leave them out.")
    spec = _text(config, reading) if reading else _data(config, size, channels, classes)
    config = config.fitted(spec) if asked else config
    module = recipes_of(file)
    recipe = vars(module)[module.DEFAULT](name, spec)
    optim = recipe.optim if optimiser is None else _optim(optimiser)
    rows = recipe.batch // spec.longest["text"] if spec.batched_by == "tokens" else recipe.batch
    found = _measured(name, paper, config, max(1, rows) if batch is None else batch, optim)
    if as_json:
        print(json.dumps(_plain(found), indent=1, ensure_ascii=False))
    else:
        _show(found, "tokens" if reading else "features")
    return 0


# --------------------------------------------------------------------------------------------------- what is asked for


def _refuse_nonsense(asked: dict[str, int | None]) -> None:
    for flag, value in asked.items():
        if value is not None and value < 1:
            raise UserError(f"--{flag} {value} is nothing to measure: write 1 or more.")


def _optim(name: str) -> Optim:
    if name not in OPTIMISERS:
        close = nearest(name, OPTIMISERS)
        raise UserError(f"there is no optimiser `{name}`.{close} Write one of: {', '.join(OPTIMISERS)}.")
    return OPTIMISERS[name]


def _text(config: Any, reading: Reading) -> DataSpec:
    """Text of the paper's own vocabulary, in sentences as long as those of its example."""
    with torch.device("meta"):
        length = config.example(1)[0].shape[1]
    sides = dict.fromkeys(("text", "source", "target"), length)
    counted = "rows" if reading.form == "stream" else "tokens"
    tokens, counts = {"train": ROWS * length}, {"train": ROWS, "val": ROWS}
    return DataSpec("text", reading.form, counts, vocabulary=sides, longest=sides, tokens=tokens, batched_by=counted)


def _outputs(paper: Paper, config: Any) -> int:
    """Numbers that come out for each input, or for each token of it."""
    with torch.device("meta"), torch.no_grad():
        answer = paper.build(config).eval()(*config.example(2))
    return int((answer[0] if isinstance(answer, tuple) else answer).shape[-1])


def _data(config: Any, size: int | None, channels: int | None, classes: int | None) -> DataSpec:
    """The data asked for, and for the rest the paper's own. Rows of a table have ``channels`` columns; with a size, they
    are pictures."""
    with torch.device("meta"):
        shape = tuple(config.example(1)[0].shape[1:])
    if len(shape) > 1:
        shape = (channels or shape[0], size or shape[1], size or shape[2])
    else:
        shape = (channels or shape[0],) if size is None else (channels or 1, size, size)
    names = tuple(str(i) for i in range(classes or config.outputs))
    kind = "images" if len(shape) > 1 else "table"
    counts = (math.ceil(ROWS / len(names)),) * len(names)
    found = DataSpec("the data asked for", kind, {"train": ROWS, "val": ROWS}, shape, names, class_counts=counts)
    if classes is None:
        try:
            config.fitted(found)
        except UserError:  # it may be a model that predicts numbers
            return replace(found, classes=(), class_counts=(), target_names=names)
    return found


# ---------------------------------------------------------------------------------------------------- the measurement


def _measured(name: str, paper: Paper, config: Any, batch: int, optim: Optim) -> Cost:
    counter = FlopCounterMode(display=False)  # a multiply-add is two operations to it
    with _without_onednn(), imagined(paper.build, config, batch) as (model, inputs):
        try:
            rows = parts(model.train(), inputs)
        except ValueError as error:
            if batch > 1 or "more than 1 value per channel" not in str(error):
                raise
            raise UserError(
                f"{name} cannot train on a batch of 1: its batch normalisation would see one value per channel here. "
                "Write --batch 2 or more, or a larger --size."
            ) from None
        with counter:
            answers = {word: inference(model, inputs, dtype) for word, dtype in FORMATS.items()}
        return Cost(
            model=name,
            input=tuple(inputs[0].shape[1:]),
            outputs=_outputs(paper, config),
            batch=batch,
            optimiser=optim.name + " with momentum" * (optim.momentum > 0),
            parameters=parameters(model),
            multiply_adds=counter.get_total_flops() // 2 // batch // len(FORMATS),
            training={word: training(model, inputs, optim, dtype) for word, dtype in FORMATS.items()},
            inference=answers,
            parts=rows,
        )


@contextmanager
def _without_onednn() -> Iterator[None]:
    """oneDNN's recurrent kernels are one piece to the counter; without them an LSTM is the products it is made of."""
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


# --------------------------------------------------------------------------------------------------------- how it looks


def _show(found: Cost, places: str) -> None:
    """``places``: what the numbers of a row are called."""
    unit, divisor = _unit(found)
    inputs = f"{found.input[0]} {places}" if len(found.input) == 1 else _joined(found.input)
    say("model", f"{found.model}: {inputs}, {found.outputs:,} output{'s' * (found.outputs != 1)}")
    say("size", f"{found.parameters:,} parameters, {found.multiply_adds:,} multiply-adds per input")
    if found.multiply_adds_in_training != found.multiply_adds:
        say("", f"{found.multiply_adds_in_training:,} multiply-adds in training, which has more heads")
    say("batch", f"{found.batch:,} {'rows' if len(found.input) == 1 else 'pictures'}, {found.optimiser}")
    print()
    heads = ["part", "output", "parameters", "multiply-adds", f"kept, {unit}"]
    table(heads, [_row(part, divisor) for part in found.parts])
    print()
    for what, rows in _memory(found).items():
        table([f"{what}, {unit}", *FORMATS], [[row, *(_amount(v, divisor) for v in amounts)] for row, amounts in rows])
        print()
    say("kept", "what a part makes in fp32 and the backward pass needs, for the whole batch")
    say("bf16", "weights, gradients and optimiser state stay in fp32; counted by the rules of torch's autocast on CPUs")
    say("without", "what kernels borrow while they run, and what torch's allocator holds in reserve")


def _memory(found: Cost) -> dict[str, list[tuple[str, list[int]]]]:
    """Rows of amounts in bytes, one per number format, for the two tables."""
    learning, answering = list(found.training.values()), list(found.inference.values())
    return {
        "training step": [
            ("weights and statistics", [t.weights for t in learning]),
            ("the weights again, in bf16", [t.copies for t in learning]),
            ("gradients", [t.gradients for t in learning]),
            (f"state of {found.optimiser}", [t.state for t in learning]),
            ("input", [t.inputs for t in learning]),
            ("activations kept for backward", [t.activations for t in learning]),
            ("besides, at the busiest moment", [t.passing for t in learning]),
            ("in all", [t.total for t in learning]),
        ],
        "inference": [
            ("weights and statistics", [i.weights for i in answering]),
            ("input", [i.inputs for i in answering]),
            ("alive at the busiest moment", [i.activations for i in answering]),
            ("in all", [i.total for i in answering]),
        ],
    }


def _row(part: Part, divisor: int) -> list[str]:
    counts = [f"{number:,}" if number else "–" for number in (part.parameters, part.multiply_adds)]
    return [part.name, _joined(part.shape), *counts, _amount(part.kept, divisor)]


def _joined(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _unit(found: Cost) -> tuple[str, int]:
    """The unit in which the largest number is easy to read."""
    most = max(memory.total for memory in found.training.values())
    powers = {"KiB": 10, "MiB": 20, "GiB": 30}
    name = next((word for word, power in powers.items() if most < 10_000 << power), "GiB")
    return name, 1 << powers[name]


def _amount(value: int, divisor: int) -> str:
    if not value:
        return "–"
    return f"{value / divisor:,.1f}"


def _plain(found: Cost) -> dict[str, Any]:
    """As JSON, every amount in bytes."""
    plain = asdict(found)
    plain["multiply_adds_in_training"] = found.multiply_adds_in_training
    for word, memory in found.training.items():
        plain["training"][word]["total"] = memory.total
    for word, answer in found.inference.items():
        plain["inference"][word]["total"] = answer.total
    return plain
