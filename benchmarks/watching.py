"""What `doctor.watch` costs at its defaults: steps of a watched model beside those of the same model on its own.

Three sizes of step: a small MLP (a fraction of a millisecond), resnet20 on 32 × 32 pictures, a small Transformer. The two
take turns (A B B A …), so that a busy moment of the machine meets both; ratios are taken pair by pair. The watch stays open
from the first step to the last: the first turn, in which it looks most often, is told apart. That weights and buffers of
both are the same to the bit is asserted at the end.

    python benchmarks/watching.py
    python benchmarks/watching.py --only mlp --device cuda
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from measuring import arguments, machine, spread, write
from seminal.doctor.watching import Patient, watch
from seminal.papers import resnet, transformer
from seminal.report.terminal import table
from seminal.runs.machine import device_for


@dataclass(frozen=True)
class Setting:
    """A model, and how many steps a turn has."""

    name: str
    build: Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]
    batch: int
    steps: int  # of one turn
    turns: int


def _mlp() -> tuple[nn.Module, tuple[Tensor, ...]]:
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return model, (torch.randn(32, 20),)


def _resnet20() -> tuple[nn.Module, tuple[Tensor, ...]]:
    config = replace(resnet.VARIANTS["resnet20"], size=(32, 32), outputs=10)
    return resnet.PAPER.build(config), config.example(64)


def _transformer() -> tuple[nn.Module, tuple[Tensor, ...]]:
    # The sizes that the recipe takes for tens of thousands of sentence pairs.
    config = replace(transformer.VARIANTS["transformer"], layers=3, width=256, inner=512, heads=4, key=64, dropout=0.2)
    config = replace(config, vocabulary=8000)
    return transformer.PAPER.build(config), config.example(64)


SETTINGS = (
    Setting("mlp", _mlp, 32, steps=2000, turns=11),
    Setting("resnet20", _resnet20, 64, steps=100, turns=9),
    Setting("transformer", _transformer, 64, steps=50, turns=7),
)
QUICK = {
    "mlp": {"steps": 40, "turns": 3},
    "resnet20": {"steps": 2, "turns": 2},
    "transformer": {"steps": 2, "turns": 2},
}
GPU = {"steps": 1000, "turns": 9}  # steps are short there


class Loop:
    """A plain training loop that can be stopped and continued; with a patient, it tells the loss."""

    def __init__(self, model: nn.Module, inputs: tuple[Tensor, ...], device: torch.device) -> None:
        self.model, self.device = model.to(device).train(), device
        self.inputs = tuple(value.to(device) for value in inputs)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.patient: Patient | None = None
        self.targets = torch.zeros((), dtype=torch.long)

    def timed(self, steps: int, seed: int) -> float:
        """Seconds of so many steps."""
        torch.manual_seed(seed)  # the same dropout for both
        _wait(self.device)
        started = time.perf_counter()
        for _ in range(steps):
            out = self.model(*self.inputs).flatten(0, -2)
            if not self.targets.dim():
                self.targets = torch.arange(len(out), device=self.device) % out.shape[1]
            loss = F.cross_entropy(out, self.targets)
            if self.patient is not None:
                self.patient.loss(loss)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        _wait(self.device)
        return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(setting: Setting, device: torch.device) -> dict[str, Any]:
    """Both in turns; the first pair apart."""
    torch.manual_seed(0)
    model, inputs = setting.build()
    alone, watched = Loop(copy.deepcopy(model), inputs, device), Loop(model, inputs, device)
    Loop(copy.deepcopy(model), inputs, device).timed(3, seed=0)  # kernels are chosen, memory is there
    plain, with_watch = [], []
    with watch(watched.model, watched.optimizer) as patient:
        watched.patient = patient
        for turn in range(setting.turns + 1):
            pair = [(alone, plain), (watched, with_watch)]
            for loop, seconds in pair if turn % 2 else reversed(pair):
                seconds.append(loop.timed(setting.steps, seed=turn))
    states = alone.model.state_dict().items(), watched.model.state_dict().items()
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(*states)), "watching has changed the weights"
    ratios, vitals = [b / a for a, b in zip(plain, with_watch)], patient.vitals
    return {
        "model": setting.name,
        "batch": setting.batch,
        "steps_of_a_turn": setting.steps,
        "step_ms": 1000 * statistics.median(plain[1:]) / setting.steps,
        "ratio": spread(ratios[1:]),
        "first_turn": ratios[0],
        "whole": sum(with_watch) / sum(plain),
        "looks": len(vitals.at),
        "steps": vitals.steps,
        "own_count": vitals.cost / sum(with_watch),  # of the time, as the watch itself has it
        "same_bits": True,
    }


def show(results: list[dict[str, Any]]) -> None:
    """The table."""
    rows = [
        [
            found["model"],
            str(found["batch"]),
            f"{found['step_ms']:.3g} ms",
            f"{found['ratio']['median']:.3f} ({found['ratio']['low']:.3f} to {found['ratio']['high']:.3f})",
            f"{found['first_turn']:.3f}",
            f"{found['whole']:.3f}",
            f"{found['looks']} in {found['steps']:,}",
        ]
        for found in results
    ]
    table(["model", "batch", "step", "watched / plain", "first turn", "whole", "close looks"], rows)


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=[setting.name for setting in SETTINGS], help="one model")
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")
    parser.add_argument("--threads", type=int, help="of the processor (default: torch's own choice)")


def run() -> None:
    """Measure all; print the table, write the JSON."""
    asked = arguments("The cost of doctor.watch at its defaults.", _flags)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    before, results, device = machine(), [], device_for(asked.device)
    for setting in SETTINGS:
        if asked.only not in (None, setting.name):
            continue
        setting = replace(setting, **GPU) if device.type == "cuda" else setting
        setting = replace(setting, **QUICK[setting.name]) if asked.quick else setting
        results.append(measure(setting, device))
    show(results)
    print(f"written  {write('watching', asked, before, {'results': results})}")


if __name__ == "__main__":
    run()
