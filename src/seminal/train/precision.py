"""Number format and memory layout: measured at the start, chosen by the clock, checked against fp32.

fp32 is the paper's arithmetic. bf16 keeps fp32's range and needs no loss scaling; weights, their updates, losses and
statistics stay in fp32, and only convolutions and matrix products are computed in bf16 (torch's autocast).
"""

from __future__ import annotations

import contextlib
import copy
import time
from dataclasses import dataclass

import torch
from torch import nn

from seminal.core import Batch, Precision, Recipe

CANDIDATES = (Precision(), Precision(channels_last=True), Precision("bf16"), Precision("bf16", channels_last=True))
WORTH = 1.05  # a departure from plain fp32 must be at least this much faster: below, it is noise
AGREE = 0.02  # largest relative difference of loss and gradient norm from fp32 on the same batch


@dataclass(frozen=True)
class Trial:
    """A candidate, its speed in rows per second, and whether its loss and gradient agree with fp32."""

    precision: Precision
    rows_per_s: float
    agrees: bool


def arithmetic(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """The context in which forward passes run."""
    if precision.dtype == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def laid_out(model: nn.Module, precision: Precision) -> nn.Module:
    """The model with its four-dimensional weights in the wanted layout, in place."""
    layout = torch.channels_last if precision.channels_last else torch.contiguous_format
    return model.to(memory_format=layout)


def in_layout(batch: Batch, device: torch.device, precision: Precision) -> Batch:
    """The batch on the device, pictures in the wanted layout."""
    moved = {name: values.to(device, non_blocking=True) for name, values in batch.items()}
    if precision.channels_last:
        pictures = {name: v for name, v in moved.items() if v.dim() == 4 and v.is_floating_point()}
        moved |= {name: v.contiguous(memory_format=torch.channels_last) for name, v in pictures.items()}
    return moved


def measured(model: nn.Module, recipe: Recipe, batch: Batch, *, seconds: float = 2.0) -> list[Trial]:
    """Forward and backward passes on copies of the model with each candidate; the first trial is plain fp32.

    The passes of the candidates are interleaved and the fastest of each counts, so that a busy moment of the machine
    cannot decide. No pass has more rows than a micro-batch of the recipe; large ones are cut until a pass fits the time."""
    pictures = any(v.dim() == 4 for v in batch.values())
    candidates = [c for c in CANDIDATES if pictures or not c.channels_last]
    if not has_bf16(next(model.parameters()).device):
        candidates = [c for c in candidates if c.dtype == "fp32"]
    copies = [(c, laid_out(copy.deepcopy(model), c)) for c in candidates]
    rows = max(1, len(batch["index"]) // recipe.accumulate)
    started = time.perf_counter()
    _pass(copies[0][1], recipe, _head(batch, 8), candidates[0])  # also builds the kernels
    eighth = time.perf_counter() - started
    rows = min(rows, max(8, int(8 * seconds / len(candidates) / 3 / max(eighth, 1e-4))))
    batch = _head(batch, rows)
    told = [_pass(copies[0][1], recipe, batch, copies[0][0])]
    for candidate, twin in list(copies[1:]):
        try:
            told.append(_pass(twin, recipe, batch, candidate))
        except RuntimeError:  # a number format that a layer has no kernel for is no choice
            copies.remove((candidate, twin))
    best = [float("inf")] * len(copies)
    deadline = time.perf_counter() + seconds
    for _ in range(20):
        for i, (candidate, twin) in enumerate(copies):
            best[i] = min(best[i], _pass(twin, recipe, batch, candidate)[2])
        if time.perf_counter() > deadline:
            break
    reference = told[0]
    agree = [all(abs(a - b) <= AGREE * abs(b) + 1e-6 for a, b in zip(t[:2], reference[:2])) for t in told]
    return [Trial(c, rows / b, a) for (c, _), b, a in zip(copies, best, agree)]


def chosen(trials: list[Trial]) -> Precision:
    """The fastest candidate that agrees with fp32; plain fp32 where nothing is clearly faster."""
    plain = trials[0]
    fast = [t for t in trials if t.agrees and t.rows_per_s >= WORTH * plain.rows_per_s]
    return max(fast, key=lambda t: t.rows_per_s).precision if fast else plain.precision


def described(precision: Precision) -> str:
    """``fp32``, ``bf16 channels-last`` …"""
    words = [precision.dtype, "channels-last" * precision.channels_last, "compiled" * precision.compile]
    return " ".join(word for word in words if word)


def has_bf16(device: torch.device) -> bool:
    """Whether a bf16 matrix product is faster than one in fp32. Without instructions for it a processor imitates bf16, up
    to fifty times slower: a trial of a whole model would then take minutes."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        square = torch.ones(256, 256, device=device, dtype=dtype)
        times = []
        for _ in range(4):
            started = time.perf_counter()
            float((square @ square)[0, 0])
            times.append(time.perf_counter() - started)
        seconds[dtype] = min(times)
    return seconds[torch.bfloat16] < seconds[torch.float32]


def _head(batch: Batch, rows: int) -> Batch:
    return {name: values[:rows] for name, values in batch.items()}


def _pass(model: nn.Module, recipe: Recipe, batch: Batch, precision: Precision) -> tuple[float, float, float]:
    """(mean loss, gradient norm, seconds) of one forward and backward pass of every player, without dropout's luck."""
    device = next(model.parameters()).device
    batch = in_layout(batch, device, precision)
    model.train()
    model.zero_grad(set_to_none=True)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        _wait(device)
        started = time.perf_counter()
        total = 0.0
        turns = recipe.task.turns(model, batch)
        while True:
            with arithmetic(precision, device):
                turn = next(turns, None)
            if turn is None:
                break
            turn.loss.backward()
            total += float(turn.loss.detach() / turn.weight)
        _wait(device)
    seconds = time.perf_counter() - started
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return total, float(nn.utils.get_total_norm(gradients)), seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
