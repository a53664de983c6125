"""How far back can a network look? A marked symbol is followed by many others; at the end the network must say the first.

    python experiments/recall.py

A sequence is a mark, one of 10 symbols, d − 1 more of the same 10, and a question. The answer, a class for the question
alone, is the symbol after the mark, which stands d places before the question. Every sequence is new, so nothing can be
learned by heart: who cannot carry the symbol over d places, past others of its kind, guesses one in ten. (Long time
lags with distractors are experiment 2 of Hochreiter and Schmidhuber 1997, Sec. 5.2.) About half of the training batches
have a shorter distance, drawn by lot; the test has none.

All networks have about as many parameters and see the same sequences in the same order, for as many steps at most;
training ends where a network has learned. Cells (network, distance, seed) are trained in ``--processes`` at once, each
with one thread.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # what the benchmarks share
from keeping import Cells, command, place
from measuring import arguments, machine, mean95
from seminal.core import Batch, DataSpec, Encoder, Optim, Order, Precision, Recipe
from seminal.papers import elman, gru, lstm, transformer, transformer_encoder
from seminal.pieces import masks
from seminal.pieces.chance import RowChance
from seminal.pieces.measure import count
from seminal.pieces.tokens import NOTHING, SPECIAL
from seminal.report.terminal import table
from seminal.tasks.tagging import Tagging
from seminal.train.evaluate import scored
from seminal.train.loop import train
from seminal.train.schedules import Cosine, Warmup
from sizes import nearest

DISTANCES = (5, 10, 20, 40, 80, 160)
VALUES = 10
MARK, QUESTION = len(SPECIAL), len(SPECIAL) + 1
FIRST_VALUE = QUESTION + 1
VOCABULARY = FIRST_VALUE + VALUES
SPLITS = ("train", "test")
TESTED = 1000  # sequences
# Training ends where the mean loss of the last so many batches of the whole distance is below so many nats.
LEARNED, WINDOW = 0.05, 25
REACH = 10  # places to each side that restricted attention sees


# --------------------------------------------------------------------------------------------------------- the sequences


@dataclass(frozen=True)
class Recall:
    """Sequences in which the question stands ``distance`` places after the marked symbol. Each is a pure function of seed,
    epoch, row and split."""

    distance: int
    rows: int

    @property
    def spec(self) -> DataSpec:
        counts = {"train": self.rows, "test": TESTED}
        classes = tuple(f"symbol {i + 1}" for i in range(VALUES))
        sizes, longest = {"text": VOCABULARY}, {"text": self.distance + 2}
        return DataSpec("recall", "tagged", counts, (), classes, vocabulary=sizes, longest=longest)

    def encoder(self, scaling: str) -> Encoder:
        raise AssertionError("there are no files to read")

    def steps(self, order: Order) -> int:
        return -(-self.spec.counts[order.split] // order.batch)

    def batches(self, order: Order) -> Iterator[Batch]:
        """``input`` (rows, d + 2), ``target`` of the same shape with a class at the question alone, ``index`` (rows,)."""
        last = self.spec.counts[order.split]
        for step in range(order.start, self.steps(order)):
            index = torch.arange(step * order.batch, min(last, (step + 1) * order.batch))[order.rank :: order.world]
            chance = RowChance(order.seed, order.epoch, index).uniform(
                SPLITS.index(order.split), self.places(order, step)
            )
            symbols = (chance * VALUES).long()  # the marked one and the distractors
            value, signs = symbols[:, :1], torch.tensor([[MARK, QUESTION]]).expand(len(index), 2)
            text = torch.cat([signs[:, :1], symbols + FIRST_VALUE, signs[:, 1:]], dim=1)
            # Everybody answers at the last place: a mean over all places would need no way from the first to the last.
            target = torch.full_like(text, NOTHING)
            target[:, -1:] = value
            yield {"input": text, "target": target, "index": index}

    def places(self, order: Order, step: int) -> int:
        """From the marked symbol to the question in a batch. In training about every other batch, drawn by lot, has a shorter
        way: a network that has learned a short way can learn a longer one, and few find a long one at once."""
        luck = float(RowChance(order.seed, order.epoch, torch.tensor([step])).uniform(len(SPLITS)))
        return 1 + int(2 * luck * self.distance) if order.split == "train" and luck < 0.5 else self.distance

    def name(self, split: str, index: int) -> str:
        return f"{split} {index + 1}"


# ---------------------------------------------------------------------------------------------------------- the networks


class Restricted(nn.Module):
    """The encoder of the Transformer in which each place sees those at most `REACH` away (Vaswani et al. 2017, Sec. 4)."""

    def __init__(self, config: transformer_encoder.Config) -> None:
        super().__init__()
        self.reader = transformer_encoder.Reader(config)

    def forward(self, text: Tensor) -> Tensor:
        """Logits (B, S, C) for tokens (B, S)."""
        near = masks.padding(text) & masks.band(text.shape[1], REACH, text.device)
        logits: Tensor = self.reader.head(self.reader.body(text, near))
        return logits


def encoder(width: int, layers: int = 2) -> transformer_encoder.Config:
    """Two heads and an inner width of four times the width, as in the paper's ratio; no dropout: nothing is overfitted."""
    body = replace(transformer.BASE, layers=layers, width=width, inner=4 * width, heads=2, key=width // 2, dropout=0.0)
    return transformer_encoder.Config(body)


@dataclass(frozen=True)
class Network:
    """A network by its width."""

    build: Callable[[Any], nn.Module]
    config: Callable[[int], Any]
    widths: range
    lr: float
    says: str  # how it reaches back, for the page
    reach: int | None = None  # places beyond which it cannot see

    def sized(self, spec: DataSpec, parameters: int) -> Any:
        """The config whose network comes nearest to so many parameters."""
        width = nearest(self.widths, lambda w: count(self.build, self.config(w).fitted(spec)), parameters)
        return self.config(width).fitted(spec)


def recurrent(paper: Any, variant: str, width: int) -> Any:
    """One layer as wide as its inputs."""
    return replace(paper.VARIANTS[variant], inputs=width, hidden=width)


UNITS, WIDTHS = range(8, 257), range(8, 129, 2)
NETWORKS = {
    "elman": Network(
        elman.build, partial(recurrent, elman, "elman"), UNITS, 5e-3, "a state that is written anew at each step"
    ),
    "gru": Network(gru.build, partial(recurrent, gru, "gru"), UNITS, 5e-3, "a state of which gates keep a share"),
    "lstm": Network(
        lstm.build, partial(recurrent, lstm, "lstm"), UNITS, 5e-3, "cells behind gates, with a forget gate"
    ),
    "lstm-1997": Network(
        lstm.build, partial(recurrent, lstm, "lstm-1997"), UNITS, 5e-3, "cells that are only added to"
    ),
    "attention": Network(transformer_encoder.Reader, encoder, WIDTHS, 2e-3, "2 layers, every place sees all"),
    "restricted-2": Network(Restricted, encoder, WIDTHS, 2e-3, f"2 layers, {REACH} places to each side", 2 * REACH),
    "restricted-4": Network(
        Restricted, partial(encoder, layers=4), WIDTHS, 2e-3, f"4 layers, {REACH} places to each side", 4 * REACH
    ),
}


# ------------------------------------------------------------------------------------------------------------- the cells


@dataclass(frozen=True)
class Job:
    """One cell to be measured."""

    network: str
    distance: int
    seed: int
    steps: int
    batch: int
    parameters: int
    lr: float | None = None


def cell(job: Job) -> dict[str, Any]:
    """Train one network and score it on sequences it has not seen."""
    torch.set_num_threads(1)
    network, source = NETWORKS[job.network], Recall(job.distance, job.steps * job.batch)
    recipe = Recipe(
        name="recall",
        variant=job.network,
        model=network.sized(source.spec, job.parameters),
        task=Tagging().fitted(source.spec),
        epochs=1,
        batch=job.batch,
        lr=job.lr or network.lr,
        optim=Optim("adam"),
        schedule=Warmup(Cosine(), share=0.1),
        clip=1.0,
        precision=Precision(),
        seed=job.seed,
    )
    torch.manual_seed(job.seed)
    model = network.build(recipe.model)
    started = time.perf_counter()
    order, steps, losses = Order("train", job.batch, job.seed), 0, deque([math.inf], maxlen=WINDOW)
    for step in train(model, source, recipe):
        steps = step.number
        if source.places(order, step.position - 1) == job.distance:
            losses.append(step.loss["model"])
        if sum(losses) / len(losses) < LEARNED:
            break
    seconds = time.perf_counter() - started
    metrics = recipe.task.summary(scored(model, source, recipe, Order("test", TESTED // 4)))
    return {
        "network": job.network,
        "distance": job.distance,
        "seed": job.seed,
        "accuracy": metrics["accuracy"],
        "learned": steps < job.steps,
        "steps": steps,
        "parameters": count(network.build, recipe.model),
        "seconds": seconds,
    }


def measured(jobs: Sequence[Job], processes: int) -> Iterator[dict[str, Any]]:
    """The cells, in the order of the jobs."""
    if processes == 1:
        yield from map(cell, jobs)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(cell, jobs)


def jobs(asked: argparse.Namespace) -> list[Job]:
    """All cells, the short distances of all networks first."""
    return [
        Job(network, distance, seed, asked.steps, asked.batch, asked.parameters)
        for distance in asked.distances
        for seed in range(asked.seeds)
        for network in asked.only
    ]


def settings(asked: argparse.Namespace) -> dict[str, Any]:
    """All that decides a cell beside its own name."""
    networks = {name: {"says": n.says, "reach": n.reach, "lr": n.lr} for name, n in NETWORKS.items()}
    return {
        "values": VALUES,
        "chance": 1 / VALUES,
        "tested": TESTED,
        "learned": LEARNED,
        "steps": asked.steps,
        "batch": asked.batch,
        "parameters": asked.parameters,
        "networks": networks,
    }


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--distances", type=int, nargs="*", default=DISTANCES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500, help="at most; training ends where it has learned")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--parameters", type=int, default=25_500, help="of each network, about")
    parser.add_argument("--only", nargs="*", default=tuple(NETWORKS), help="these networks")
    parser.add_argument("--processes", type=int, default=2, help="cells trained at once, each with one thread")


def run() -> None:
    """Train all cells; the JSON is written after each, and the same command goes on with those that are missing."""
    asked = arguments("How far back a network can look.", _flags)
    if asked.quick:
        asked.distances, asked.seeds, asked.steps, asked.processes = (3,), 1, 2, 1
    torch.set_num_threads(1)  # also what the JSON says of threads
    names = ("network", "distance", "seed")
    kept = Cells(place("recall", asked), command("recall"), machine(), settings(asked), names)
    if not asked.quick:
        kept.go_on()
    wanted = {(job.network, job.distance, job.seed): job for job in jobs(asked)}
    missing = kept.missing([dict(zip(names, key)) for key in wanted])
    for found in measured([wanted[tuple(cell[name] for name in names)] for cell in missing], asked.processes):
        kept.add(found)
        end = f"learned after {found['steps']} steps" if found["learned"] else "not learned"
        print(f"{found['network']}, {found['distance']} places: {found['accuracy']:.1%}, {end}", flush=True)
    lines = []
    for network in asked.only:
        mine = [cell for cell in kept.cells if cell["network"] == network]
        means = [mean95([c["accuracy"] for c in mine if c["distance"] == d])["mean"] for d in asked.distances]
        lines.append([network, *(f"{100 * mean:.0f}" for mean in means)])
    table(["right, %", *(f"{distance} places" for distance in asked.distances)], lines)
    print(f"written  {kept.path}")


if __name__ == "__main__":
    run()
