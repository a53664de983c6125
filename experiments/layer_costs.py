"""What a layer costs that lets the places of a sequence exchange what they know: attention, restricted attention, recurrence,
convolution. Table 1 of Vaswani et al. 2017 (Sec. 4), with every entry counted on real layers, and with measured times.

    python experiments/layer_costs.py

Of each layer are counted, on the built layer and against its formula:

    multiply-adds     by `seminal.pieces.measure`, for n places of width d
    sequential steps  the longest chain of matrix products, each of which waits for the one before, in the graph that
                      autograd keeps of the layer as it is written in the papers' equations
    path              layers (of a recurrent layer: steps) until every output depends on every input it may see; which
                      place depends on which is read off the gradients

Times are those of the fast forms, forward, and forward with backward, of one sequence; all layers in turns.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # what the benchmarks share
from keeping import Cells, command, place
from measuring import arguments, machine, spread
from seminal.papers import elman, gru, lstm, transformer
from seminal.pieces.attention import attend, restricted, scaled_dot
from seminal.pieces.masks import band
from seminal.pieces.measure import multiply_adds, on_meta, parameters
from seminal.pieces.recurrent import weights_of
from seminal.report.terminal import table

LENGTHS, WIDTHS = (64, 256, 1024, 4096), (128, 256)
HEAD = 64  # width of a head, as in the paper
REACH, KERNEL = 32, 7  # places to each side of restricted attention; width of a convolution
SMALL_LENGTHS, SMALL_WIDTH, SMALL_REACH, SMALL_KERNEL = (32, 64), 8, 4, 3  # where steps and paths are counted


# ------------------------------------------------------------------------------------------------------------ the layers


@dataclass(frozen=True)
class Sizes:
    """Of an instance: all that the formulas speak of."""

    length: int  # n
    width: int  # d
    reach: int = REACH  # r: places to each side
    kernel: int = KERNEL  # k


def config(width: int) -> transformer.Config:
    """Heads as wide as in the paper; narrower ones where the layer is small."""
    heads = max(2, width // HEAD)
    return replace(transformer.BASE, width=width, heads=heads, key=width // heads)


class Attention(nn.Module):
    """The Transformer's multi-head attention; with ``reach`` among the places at most so far away."""

    def __init__(self, width: int, reach: int | None = None) -> None:
        super().__init__()
        self.heads, self.reach = transformer.MultiHeadAttention(config(width)), reach

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, d) → (B, n, d)."""
        if self.reach is None:
            out: Tensor = self.heads(x)
            return out
        queries, keys, values = self.heads.split(self.heads.inside(x))
        found = restricted(queries, keys, values, self.reach)
        return self.heads.outside(found.transpose(1, 2).flatten(2))

    def plain(self, x: Tensor) -> Tensor:
        """The same as the paper's equations have it."""
        queries, keys, values = self.heads.split(self.heads.inside(x))
        mask = None if self.reach is None else band(x.shape[1], self.reach)
        found, _ = attend(scaled_dot(queries, keys), values, mask)
        return self.heads.outside(found.transpose(1, 2).flatten(2))


class Convolution(nn.Module):
    """A convolution over the places, (B, n, d) → (B, n, d): centred; or, with a ``dilation``, of the places before, so that
    every place within k^L is reached by L layers whose dilations are 1, k, k² … ``separable`` in two steps (Chollet 2017):
    each channel with a kernel of its own, then all channels at each place."""

    def __init__(self, width: int, kernel: int, *, dilation: int | None = None, separable: bool = False) -> None:
        super().__init__()
        self.around = (kernel // 2, kernel // 2) if dilation is None else (dilation * (kernel - 1), 0)
        groups = width if separable else 1
        along = nn.Conv1d(width, width, kernel, dilation=dilation or 1, groups=groups, bias=not separable)
        self.body = nn.Sequential(along, nn.Conv1d(width, width, 1)) if separable else along

    def forward(self, x: Tensor) -> Tensor:
        return self.body(F.pad(x.transpose(1, 2), self.around)).transpose(1, 2)

    plain = forward


class Recurrent(nn.Module):
    """A recurrent layer of a paper's file: its fast form, and the loop over time that is written there."""

    def __init__(self, layer: nn.Module, loop: Callable[[Tensor, tuple[Tensor, Tensor, Tensor]], Tensor]) -> None:
        super().__init__()
        self.layer, self.loop = layer, loop

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out

    def plain(self, x: Tensor) -> Tensor:
        return self.loop(x, weights_of(self.layer.rnn))  # type: ignore[arg-type]


def simple(width: int) -> Recurrent:
    variant = elman.VARIANTS["elman"]
    return Recurrent(
        elman.SimpleRecurrent(width, width, variant),
        lambda x, weights: elman.states(x, weights, x.new_zeros(width), torch.tanh),
    )


def gated(width: int) -> Recurrent:
    return Recurrent(
        gru.GatedRecurrent(width, width, "after"),
        lambda x, weights: gru.states(x, weights, x.new_zeros(width), "after"),
    )


def remembering(width: int) -> Recurrent:
    return Recurrent(lstm.ForgettingCells(width, width), lstm.states)


Formula = Callable[[Sizes], int]


@dataclass(frozen=True)
class Layer:
    """A kind of layer, what the notes say of it, and its formulas."""

    build: Callable[[Sizes, int], nn.Module]  # of the layer with this number in a stack, counted from 0
    back: bool  # whether a place sees only itself and those before it
    order: tuple[str, str, str]  # cost, sequential steps, path, as the table in the paper has them
    exact: tuple[str, str, str]  # the same without the O
    work: Formula
    steps: Formula
    path: Formula


def built(layer: Layer, sizes: Sizes) -> nn.Module:
    """The first of a stack."""
    return layer.build(sizes, 0)


def _far(sizes: Sizes, places: int) -> int:
    """Layers to get from one end to the other, so many places at a time."""
    return math.ceil((sizes.length - 1) / places)


def _dilated(sizes: Sizes) -> int:
    """L layers see k^L − 1 places back."""
    layers = 1
    while sizes.kernel**layers < sizes.length:
        layers += 1
    return layers


LAYERS = {
    "self-attention": Layer(
        lambda s, i: Attention(s.width),
        False,
        ("O(n² d)", "O(1)", "O(1)"),
        ("2n²d + 4nd²", "4", "1"),
        lambda s: 2 * s.length**2 * s.width + 4 * s.length * s.width**2,
        lambda s: 4,
        lambda s: 1,
    ),
    "restricted self-attention": Layer(
        lambda s, i: Attention(s.width, s.reach),
        False,
        ("O(r n d)", "O(1)", "O(n / r)"),
        ("6rnd + 4nd²", "4", "⌈(n − 1) / r⌉"),
        lambda s: 6 * s.reach * s.length * s.width + 4 * s.length * s.width**2,
        lambda s: 4,
        lambda s: _far(s, s.reach),
    ),
    "simple recurrent": Layer(
        lambda s, i: simple(s.width),
        True,
        ("O(n d²)", "O(n)", "O(n)"),
        ("2nd²", "n", "n"),
        lambda s: 2 * s.length * s.width**2,
        lambda s: s.length,
        lambda s: s.length,
    ),
    "GRU": Layer(
        lambda s, i: gated(s.width),
        True,
        ("O(n d²)", "O(n)", "O(n)"),
        ("6nd²", "n", "n"),
        lambda s: 6 * s.length * s.width**2,
        lambda s: s.length,
        lambda s: s.length,
    ),
    "LSTM": Layer(
        lambda s, i: remembering(s.width),
        True,
        ("O(n d²)", "O(n)", "O(n)"),
        ("8nd²", "n", "n"),
        lambda s: 8 * s.length * s.width**2,
        lambda s: s.length,
        lambda s: s.length,
    ),
    "convolution": Layer(
        lambda s, i: Convolution(s.width, s.kernel),
        False,
        ("O(k n d²)", "O(1)", "O(n / k)"),
        ("knd²", "1", "⌈2(n − 1) / (k − 1)⌉"),
        lambda s: s.kernel * s.length * s.width**2,
        lambda s: 1,
        lambda s: _far(s, s.kernel // 2),
    ),
    "dilated convolution": Layer(
        lambda s, i: Convolution(s.width, s.kernel, dilation=s.kernel**i),
        True,
        ("O(k n d²)", "O(1)", "O(log_k n)"),
        ("knd²", "1", "⌈log_k n⌉"),
        lambda s: s.kernel * s.length * s.width**2,
        lambda s: 1,
        _dilated,
    ),
    "separable convolution": Layer(
        lambda s, i: Convolution(s.width, s.kernel, separable=True),
        False,
        ("O(k n d + n d²)", "O(1)", "O(n / k)"),
        ("knd + nd²", "2", "⌈2(n − 1) / (k − 1)⌉"),
        lambda s: s.kernel * s.length * s.width + s.length * s.width**2,
        lambda s: 2,
        lambda s: _far(s, s.kernel // 2),
    ),
}


# --------------------------------------------------------------------------------------------------------- what is counted

PRODUCTS = ("Mm", "Addmm", "Bmm", "Baddbmm", "Convolution")  # nodes of autograd's graph that are matrix products


def chain(output: Tensor) -> int:
    """The longest chain of matrix products in the graph behind ``output``."""
    known: dict[Any, int] = {None: 0}
    waiting = [output.grad_fn]
    while waiting:
        node = waiting[-1]
        before = [] if node is None else [other for other, _ in node.next_functions]
        unknown = [other for other in before if other not in known]
        if node in known or unknown:
            waiting = waiting[:-1] if node in known else waiting + unknown
            continue
        own = type(node).__name__.removesuffix("0").removesuffix("Backward") in PRODUCTS
        known[node] = own + max((known[other] for other in before), default=0)
        waiting.pop()
    return known[output.grad_fn]


def depends(outputs: Tensor, inputs: list[Tensor]) -> Tensor:
    """(n, n) bool: whether an output (1, n, d) depends on an input (1, n, d), one of ``inputs`` at least."""
    rows = []
    weights = torch.randn(outputs.shape[-1], generator=torch.Generator().manual_seed(1))
    for output in outputs[0]:
        slopes = torch.autograd.grad(output @ weights, inputs, retain_graph=True)
        rows.append(torch.stack([slope[0].abs().sum(-1) > 0 for slope in slopes]).any(0))
    return torch.stack(rows)


def one_step(layer: Recurrent, sizes: Sizes) -> Tensor:
    """(n, n) bool: whether the state after a place depends, by a single step, on the state after another place."""
    rnn: Any = layer.layer.rnn
    cells = 2 if isinstance(rnn, nn.LSTM) else 1
    states = [torch.randn(1, sizes.length, sizes.width, requires_grad=True) for _ in range(cells)]
    before = [F.pad(state, (0, 0, 1, 0))[:, :-1] for state in states]
    x = torch.randn(sizes.length, 1, sizes.width)  # each place a row of its own: one step of all of them at once
    out, _ = rnn(x, tuple(before) if cells == 2 else before[0])
    return depends(out.transpose(0, 1), states)


def path(layer: Layer, sizes: Sizes) -> int:
    """Layers, or steps of a recurrent layer, until every output depends on every input that it may see."""
    eye, wanted = torch.eye(sizes.length).bool(), torch.ones(sizes.length, sizes.length).bool()
    wanted = wanted.tril() if layer.back else wanted
    first = built(layer, sizes)
    if isinstance(first, Recurrent):
        step = one_step(first, sizes).float()
        reached, count = eye, 1  # after the first step a state knows its own input
        while not torch.equal(reached, wanted):
            reached, count = (step @ reached.float() > 0) | eye, count + 1
        return count
    reached, count = eye, 0
    while not torch.equal(reached, wanted):
        x = torch.randn(1, sizes.length, sizes.width, requires_grad=True)
        one = depends(layer.build(sizes, count)(x), [x]).float()
        reached, count = one @ reached.float() > 0, count + 1
    return count


def structure(length: int) -> dict[str, Any]:
    """Sequential steps and paths of all layers, counted and by formula, on small instances."""
    torch.manual_seed(0)
    sizes, rows = Sizes(length, SMALL_WIDTH, SMALL_REACH, SMALL_KERNEL), []
    for name, layer in LAYERS.items():
        first: Any = built(layer, sizes)
        steps = chain(first.plain(torch.randn(1, length, SMALL_WIDTH)))
        rows.append(
            {
                "layer": name,
                "order": layer.order,
                "exact": layer.exact,
                "steps": {"formula": layer.steps(sizes), "counted": steps},
                "path": {"formula": layer.path(sizes), "counted": path(layer, sizes)},
            }
        )
    return {"part": "structure", "length": length, "width": SMALL_WIDTH, "rows": rows}


# -------------------------------------------------------------------------------------------------------- what is measured


def passes(layer: nn.Module, x: Tensor) -> tuple[float, float]:
    """Seconds of a forward pass without gradients, and of a forward and a backward pass."""
    with torch.no_grad():
        started = time.perf_counter()
        layer(x)
        forward = time.perf_counter() - started
    layer.zero_grad(set_to_none=True)
    started = time.perf_counter()
    layer(x).sum().backward()
    return forward, time.perf_counter() - started


def times(length: int, width: int, rounds: int) -> dict[str, Any]:
    """Cost and time of all layers on one sequence, in turns."""
    sizes = Sizes(length, width)
    ready = {name: layer.build(sizes, 1) for name, layer in LAYERS.items()}
    x = torch.randn(1, length, width, requires_grad=True)
    for module in ready.values():
        passes(module, x)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ready}
    for _ in range(rounds):
        for name, module in ready.items():
            seconds[name].append(passes(module, x))
    rows = []
    for name, layer in LAYERS.items():
        bare = on_meta(partial(built, layer), sizes)
        forward, both = (spread([1e3 * t for t in column]) for column in zip(*seconds[name]))
        counted = multiply_adds(bare, torch.zeros(1, length, width, device="meta"))
        rows.append(
            {
                "layer": name,
                "multiply_adds": {"formula": layer.work(sizes), "counted": counted},
                "parameters": parameters(bare),
                "forward_ms": forward,
                "both_ms": both,
            }
        )
    return {"part": "times", "length": length, "width": width, "rows": rows}


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)


def wanted(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The cells in their order: what is counted first, then times from short to long."""
    for length in SMALL_LENGTHS:
        yield {"part": "structure", "length": length, "width": SMALL_WIDTH}
    for width in WIDTHS:
        for length in LENGTHS[: 1 if asked.quick else None]:
            yield {"part": "times", "length": length, "width": width}


def run() -> None:
    """Count, measure, and write the JSON after each cell."""
    asked = arguments("Cost, sequential steps, path and time of layers over sequences.", _flags)
    asked.rounds = 2 if asked.quick else asked.rounds
    torch.set_num_threads(asked.threads)
    settings = {"rounds": asked.rounds, "threads": asked.threads, "reach": REACH, "kernel": KERNEL, "head": HEAD}
    settings |= {"small": {"reach": SMALL_REACH, "kernel": SMALL_KERNEL, "width": SMALL_WIDTH}}
    names = ("part", "length", "width")
    kept = Cells(place("layer_costs", asked), command("layer_costs"), machine(), settings, names)
    if not asked.quick:
        kept.go_on()
    for cell in kept.missing(list(wanted(asked))):
        length, width = cell["length"], cell["width"]
        kept.add(structure(length) if cell["part"] == "structure" else times(length, width, asked.rounds))
        print(f"{cell['part']}: {length} places of width {width}", flush=True)
    last = [cell for cell in kept.cells if cell["part"] == "times"][-1]
    lines = [[r["layer"], f"{r['forward_ms']['median']:.2f}", f"{r['both_ms']['median']:.2f}"] for r in last["rows"]]
    table([f"{last['length']} places of width {last['width']}", "forward, ms", "with backward, ms"], lines)
    print(f"written  {kept.path}")


if __name__ == "__main__":
    run()
