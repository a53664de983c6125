"""What a run remembers of itself: a row per epoch, a thinned line per step, the best so far. Saved with the state, so
that a resumed run has each row once and its curves have no seam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seminal.core import Goal, Step
from seminal.doctor.vitals import Vitals

SAMPLES = 12  # epochs of which it is kept what the model made, at most
KEPT = 4000  # steps in the trace, at most; then every second one is dropped, and half as many are added from there on


@dataclass
class Diary:
    """Mutable record of one run."""

    goal: Goal
    rows: list[dict[str, float | None]] = field(default_factory=list)
    best: dict[str, float] | None = None  # epoch, and the metrics of the validation split
    trace: dict[str, list[float]] = field(default_factory=lambda: {"step": [], "loss": [], "lr": [], "grad_norm": []})
    stride: int = 1
    seconds: float = 0.0  # spent in steps
    sums: dict[str, float] = field(default_factory=dict)  # of the epoch so far
    samples: list[dict[str, Any]] = field(default_factory=list)  # "epoch", and what was made after it
    vitals: Vitals = field(default_factory=Vitals)  # what the doctor's watch wrote down

    def step(self, step: Step, amount: float, seconds: float) -> None:
        """Note a step on ``amount`` rows (or tokens) that took so long."""
        self.seconds += seconds
        for name, value in {"rows": amount, "weight": step.weight, "seconds": seconds, "steps": 1}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        for player, loss in step.loss.items():
            name = "loss" if len(step.loss) == 1 else f"loss_{player}"
            self.sums[name] = self.sums.get(name, 0.0) + loss * step.weight
        self.sums["grad_norm"] = self.sums.get("grad_norm", 0.0) + sum(step.grad_norm.values())
        if (step.number - 1) % self.stride:
            return
        values = {"step": step.number, "loss": sum(step.loss.values()), "lr": step.lr}
        for name, value in {**values, "grad_norm": sum(step.grad_norm.values())}.items():
            self.trace[name].append(float(value))
        if len(self.trace["step"]) > KEPT:
            self.stride *= 2
            self.trace = {name: column[::2] for name, column in self.trace.items()}

    def epoch(self, step: Step, train: Mapping[str, float], val: Mapping[str, float]) -> dict[str, float | None]:
        """Close an epoch: its row, with ``train_…`` and ``val_…`` metrics. Updates the best."""
        sums = self.sums
        row: dict[str, float | None] = {"epoch": step.epoch + 1, "step": step.number}
        row |= {f"train_{n}": value / sums["weight"] for n, value in sums.items() if n.startswith("loss")}
        row |= {f"train_{name}": value for name, value in train.items() if not name.startswith("loss")}
        row |= {f"val_{name}": value for name, value in val.items()}
        row |= {"lr": step.lr, "grad_norm": sums["grad_norm"] / sums["steps"]}
        row |= {"rows_per_s": sums["rows"] / max(sums["seconds"], 1e-9), "seconds": self.seconds}
        self.rows.append(row)
        self.sums = {}
        if self._is_better(val):
            self.best = {"epoch": float(step.epoch + 1), **val}
        return row

    def sample(self, epoch: int, made: Mapping[str, Any]) -> None:
        """Note what the model made after an epoch: see `seminal.runs.samples`. The first and the last are kept always; of
        the others, those nearest to their neighbours are dropped, by ratio: it changes most in the first epochs."""
        kept = self.samples
        kept.append({"epoch": epoch, **made})
        if len(kept) > SAMPLES:
            inner = range(1, len(kept) - 1)
            del kept[min(inner, key=lambda i: kept[i + 1]["epoch"] / kept[i - 1]["epoch"])]

    def texts(self, place: int) -> list[tuple[int, str]]:
        """The text at one place of those that were noted, epoch by epoch."""
        return [(int(s["epoch"]), str(s["texts"][place])) for s in self.samples if place < len(s["texts"])]

    def _is_better(self, val: Mapping[str, float]) -> bool:
        """By the goal's metric; where that is the same, as it often is on few rows, by the loss."""
        value, best = val.get(self.goal.metric), self.best
        if value is None or best is None:
            return value is not None and value == value
        if value == best[self.goal.metric]:
            return val.get("loss", 0.0) < best.get("loss", 0.0)
        return self.goal.better(value, best[self.goal.metric])

    @property
    def improved(self) -> bool:
        """Whether the last epoch was the best."""
        return self.best is not None and self.best["epoch"] == self.rows[-1]["epoch"]

    def waited(self) -> int:
        """Epochs since the best."""
        return int((self.rows[-1]["epoch"] or 0) - (self.best["epoch"] if self.best else 0)) if self.rows else 0

    # ------------------------------------------------------------------------------------------------ to and from disk

    def note(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {name: value for name, value in vars(self).items() if name != "goal"} | {"vitals": self.vitals.note()}

    def restore(self, note: Mapping[str, Any]) -> None:
        """The inverse of `note`."""
        self.rows = [dict(row) for row in note["rows"]]
        self.trace = {name: list(column) for name, column in note["trace"].items()}
        self.best = note["best"] and dict(note["best"])
        self.stride, self.seconds, self.sums = note["stride"], note["seconds"], dict(note["sums"])
        self.samples = [dict(sample) for sample in note.get("samples", [])]  # runs of earlier versions have none
        self.vitals = Vitals.of(note["vitals"]) if "vitals" in note else Vitals()
