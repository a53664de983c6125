"""Training on text: tokens per second of `seminal train` beside Hugging Face's Trainer and a plain loop around
torch.nn.Transformer, on the same model and data, in turns.

    python benchmarks/train_text.py                           made-up sentences
    python benchmarks/train_text.py --data MULTI30K_FOLDER    train.en, train.de (also .gz)

A turn is so many steps out of an epoch, with a new optimiser. Ours puts about so many tokens into each batch; the plain
loop is given the very batches; the Trainer has as many batches an epoch, and groups rows by their length in its own way.
Only real tokens count, for all. The first turn of each program builds kernels and finds its memory: it is not counted.

Before the clock starts, each program must give the loss and the gradient of ours on the same first weights and batch,
without dropout. Freed memory stays with the process for all of them, as in every run of seminal (`keep_memory`).

Needs transformers 5 and accelerate.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from measuring import arguments, machine, spread, write
from seminal.core import Batch, Order, Precision, Recipe, Source
from seminal.data import lines
from seminal.papers import gpt2, transformer
from seminal.pieces.tokens import PAD
from seminal.report.terminal import table
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.machine import keep_memory
from seminal.runs.making import Maker
from seminal.train.loop import train
from seminal.train.precision import chosen, described, measured
from seminal.weights.matching import to_theirs
from sentences import make_pairs
from text_peers import PAIRS, WINDOWS, InTrainer, PlainLoop, Row, TorchTransformer, gpt2_peer, grouped, marian

LANGUAGES = ("en", "de")
# Marian and torch have biases and put all sines before all cosines; ours can do both.
AS_PEERS = {"biases": True, "positions": "halves"}
LAST_NORM = {"norm": "post+final"}  # where torch's names are known; the normalisations themselves are taken out
READ = 256  # tokens of a window that GPT-2 reads; it says one less
DEFAULTS = "seminal, defaults"
PEERS = ("transformers", "torch")
PAIRS_MADE = 29_000  # as many as Multi30k has: so many to choose rows of one length from
AGREE = 1e-4  # largest relative difference of loss and gradient norm; parameters must be as many


class Program(Protocol):
    """What takes turns."""

    @property
    def model(self) -> nn.Module: ...

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of a batch of ours."""

    def sides(self) -> Iterator[Row]:
        """Of each batch of a turn: see `Form`."""

    def turn(self) -> float:
        """Seconds of its steps."""


class Seminal:
    """`seminal.train.loop.train`, its batches made as it goes."""

    def __init__(self, model: nn.Module, source: Source, recipe: Recipe) -> None:
        self.model, self.source, self.recipe = model, source, recipe
        self.form = PAIRS if source.spec.kind == "pairs" else WINDOWS

    def loss(self, batch: Batch) -> Tensor:
        """Mean over what is said."""
        turn = next(self.recipe.task.turns(self.model.train(), batch))
        return turn.loss / turn.weight

    def sides(self) -> Iterator[Row]:
        """Of each batch of a turn."""
        return map(self.form.ours, islice(epoch(self.source, self.recipe), self.recipe.steps))

    def turn(self) -> float:
        """Seconds of the recipe's steps."""
        started = time.perf_counter()
        for _ in train(self.model, self.source, self.recipe):
            pass
        return time.perf_counter() - started


def epoch(source: Source, recipe: Recipe) -> Iterator[Batch]:
    """The batches of our first epoch."""
    return source.batches(Order("train", recipe.batch, recipe.seed, shuffle=True))


@dataclass(frozen=True)
class Setting:
    """What is measured: a model, the steps of a turn, and the sizes that are not those of the recipe."""

    name: str  # on the command line
    model: str
    steps: int
    sizes: dict[str, Any] = field(default_factory=dict)
    quick: dict[str, Any] = field(default_factory=lambda: {"layers": 1, "width": 16, "heads": 2})


SMALL = {"layers": 4, "width": 128, "inner": 256, "heads": 4, "key": 32, "dropout": 0.3}
MIDDLE = {"layers": 6, "width": 256, "inner": 1024, "heads": 4, "key": 64, "dropout": 0.1}
QUICK = {"layers": 1, "width": 16, "inner": 16, "heads": 2, "key": 8}
SETTINGS = (
    Setting("small", "transformer", 24, SMALL, QUICK),
    Setting("recipe", "transformer", 12, quick=QUICK),  # the recipe's sizes for some ten thousand pairs
    Setting("middle", "transformer", 8, MIDDLE, QUICK),
    Setting("gpt2", "gpt2", 24),  # the recipe's sizes for a short text
)


@dataclass(frozen=True)
class Contest:
    """One setting, ready to be measured."""

    recipe: Recipe
    source: Source
    folder: Path  # for what the Trainer insists on writing

    def programs(self, *, dropout: bool) -> dict[str, Program]:
        """All programs with the same first weights."""
        recipe = self.recipe
        if not dropout:
            still = {name: 0.0 for name in vars(recipe.model) if "dropout" in name}
            recipe = replace(recipe, model=replace(recipe.model, **still))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return self._transformers(recipe) if self.source.spec.kind == "pairs" else self._gpt2(recipe)

    def _transformers(self, recipe: Recipe) -> dict[str, Program]:
        config, steps, whole = recipe.model, recipe.steps, list(epoch(self.source, recipe))
        ours, theirs, plain = transformer.Transformer(config), marian(config), TorchTransformer(config)
        theirs.load_state_dict(to_theirs("marian", ours.state_dict(), "transformer", config))
        named = replace(config, **LAST_NORM)
        plain.load(to_theirs("torch_transformer", ours.state_dict(), "transformer", named))
        rows = [row for batch in whole for row in PAIRS.rows(batch)]
        size = -(-len(rows) // len(whole))
        some = grouped(rows, size, steps)
        return {
            "seminal": Seminal(ours, self.source, recipe),
            "transformers": InTrainer(theirs, PAIRS, some, size, recipe=recipe, folder=self.folder),
            "torch": PlainLoop(plain, whole[:steps], recipe),
        }

    def _gpt2(self, recipe: Recipe) -> dict[str, Program]:
        ours, theirs = gpt2.build(recipe.model), gpt2_peer(recipe.model)
        theirs.load_state_dict(to_theirs("huggingface", ours.state_dict(), "gpt2", recipe.model))
        rows = [row for batch in islice(epoch(self.source, recipe), recipe.steps) for row in WINDOWS.rows(batch)]
        return {
            "seminal": Seminal(ours, self.source, recipe),
            "transformers": InTrainer(theirs, WINDOWS, rows, recipe.batch, recipe=recipe, folder=self.folder),
        }


def contest(setting: Setting, data: Path, folder: Path, *, quick: bool) -> Contest:
    """The data and the recipe as `seminal train` finds them, with the sizes of the setting."""
    steps, sizes = (2, setting.quick) if quick else (setting.steps, setting.sizes)
    if setting.model == "transformer":
        ask, sizes = DataAsk(str(data), source=LANGUAGES[0], target=LANGUAGES[1]), sizes | AS_PEERS
    else:
        ask, sizes = DataAsk(str(_as_text(data, folder)), max_length=READ - 1), sizes | {"longest": READ}
    plan, source = Maker(setting.model, ask, RecipeAsk(), RunAsk(device="cpu")).plan()
    recipe = replace(plan.recipe, precision=Precision(), steps=steps, model=replace(plan.recipe.model, **sizes))
    return Contest(recipe, source, folder)


def _as_text(data: Path, folder: Path) -> Path:
    """The sentences of the first language as a plain text."""
    given = next(path for path in sorted(data.iterdir()) if lines.bare(path).name == f"train.{LANGUAGES[0]}")
    text = folder / "text.txt"
    text.write_text("".join(f"{line}\n" for line in lines.lines(given)), encoding="utf-8")
    return text


# --------------------------------------------------------------------------------------------------- what is measured


def agreement(programs: dict[str, Program], batch: Batch) -> dict[str, dict[str, float]]:
    """Parameters, loss and gradient norm of each on a batch. Ends the program where they are not those of ours."""
    found: dict[str, dict[str, float]] = {}
    for name, program in programs.items():
        loss = program.loss(batch)
        loss.backward()
        moved = [p for p in program.model.parameters() if p.requires_grad]
        norm = nn.utils.get_total_norm([p.grad for p in moved if p.grad is not None])
        values = {"loss": float(loss.detach()), "gradient_norm": float(norm)}
        found[name] = {"parameters": sum(p.numel() for p in moved), **values}
        ours = found["seminal"]
        close = all(abs(value - ours[what]) <= AGREE * abs(ours[what]) for what, value in values.items())
        if found[name]["parameters"] != ours["parameters"] or not close:
            raise SystemExit(f"{name} does not compute what seminal does: {found[name]} and {ours}")
    return found


def counted(program: Program) -> dict[str, float]:
    """Real tokens of a turn: those that are said, and those that are only read; and the share of places without one."""
    found, places = {"target": 0, "source": 0}, 0
    for sides in program.sides():
        for name, tokens in sides.items():
            found[name] += int((tokens != PAD).sum())
            places += tokens.numel()
    return {**found, "padding": 1 - sum(found.values()) / places}


def in_turns(programs: dict[str, Program], rounds: int) -> dict[str, list[float]]:
    """Seconds of each program in each round. The first round builds kernels and finds its memory: it is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(rounds + 1):
        for name, program in programs.items():
            took = program.turn()
            if number:
                seconds[name].append(took)
    return seconds


def measure(setting: Setting, made: Contest, rounds: int) -> dict[str, Any]:
    """All numbers of one setting. Where seminal's own choice of precision is not fp32, it takes turns too."""
    recipe, batch = made.recipe, next(epoch(made.source, made.recipe))
    same = agreement(made.programs(dropout=False), batch)
    for name, values in same.items():
        print(
            f"{name}: {values['parameters']:,} parameters, first loss {values['loss']:.5f} without dropout", flush=True
        )
    programs = made.programs(dropout=True)
    model = programs["seminal"].model
    precision = chosen(measured(model, recipe, batch))
    if precision != recipe.precision:
        programs[DEFAULTS] = Seminal(copy.deepcopy(model), made.source, replace(recipe, precision=precision))
    tokens = {name: counted(program) for name, program in programs.items()}
    rates = {name: [tokens[name]["target"] / s for s in some] for name, some in in_turns(programs, rounds).items()}
    with_source = {name: 1 + counts["source"] / counts["target"] for name, counts in tokens.items()}
    ours, others = ([n for n in programs if (n in PEERS) is peer] for peer in (False, True))
    return {
        "setting": f"{setting.model}, {recipe.model.layers} layers of width {recipe.model.width}",
        "sizes": repr(recipe.model),
        "batch": recipe.batch,
        "steps_per_turn": recipe.steps,
        "tokens_per_turn": tokens,
        "without_dropout": same,
        "default_precision": described(precision),
        "target_tokens_per_s": {name: spread(some) for name, some in rates.items()},
        "tokens_of_both_sides_per_s": {name: with_source[name] * statistics.median(rates[name]) for name in rates},
        "ratios": {
            mine: {name: spread([a / b for a, b in zip(rates[mine], rates[name])]) for name in others} for mine in ours
        },
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    """A line for each setting and precision: medians, and our ratio to each other program with its range."""
    lines = []
    for row in rows:
        for mine, ratios in row["ratios"].items():
            rates = {name: f"{found['median']:.0f}" for name, found in row["target_tokens_per_s"].items()}
            told = [f"{v['median']:.2f} ({v['low']:.2f} … {v['high']:.2f})" for v in ratios.values()]
            precision = row["default_precision"] if mine == DEFAULTS else "fp32"
            lines.append([row["setting"], precision, rates[mine], *(rates.get(n, "–") for n in PEERS), ", ".join(told)])
    table(["setting", "precision", "seminal/s", "Trainer/s", "plain loop/s", "seminal / each other"], lines)


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder with train.en, train.de and val.… (also .gz)")
    names = [setting.name for setting in SETTINGS]
    parser.add_argument("--only", nargs="*", choices=names, default=names, help="these settings instead of all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)


def run() -> None:
    """Measure, show and write."""
    asked = arguments("Training on text: tokens per second.", _flags)
    torch.set_num_threads(asked.threads)
    keep_memory()
    before, rows = machine(), []
    with tempfile.TemporaryDirectory() as folder:
        data = asked.data or make_pairs(Path(folder) / "pairs", train=600 if asked.quick else PAIRS_MADE, val=50)
        for setting in SETTINGS:
            if setting.name in asked.only:
                made = contest(setting, data, Path(folder), quick=asked.quick)
                rows.append(measure(setting, made, 1 if asked.quick else asked.rounds))
                show(rows[-1:])
    versions = {name: version(name) for name in ("transformers", "accelerate")}
    result = {"data": "given" if asked.data else "made up", "peers": versions, "rows": rows}
    print(f"written  {write('train_text', asked, before, result)}")


if __name__ == "__main__":
    run()
