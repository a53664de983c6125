"""What a run's own epochs say: the second question of the General Guide, without an experiment.

Training loss small, validation loss large: overfitting. It is named only where training longer did harm: the validation
loss has risen clearly from its lowest while the training loss went on falling, and the metric by which checkpoints are
chosen has got worse too, by more than its own noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

from seminal.core import Goal
from seminal.doctor.findings import Finding

FEWEST = 5  # epochs
RISE = 1.3  # of the validation loss, from its lowest
NOISE = 3.0  # times the median change from one epoch to the next
WORSE = 0.02  # of the metric's size


def judged(rows: Sequence[Mapping[str, float | None]], goal: Goal) -> Finding | None:
    """``rows`` as the diary keeps them: ``train_loss``, ``val_loss`` and ``val_<metric>`` of each epoch."""
    train, val = _column(rows, "train_loss"), _column(rows, "val_loss")
    metric = _column(rows, f"val_{goal.metric}")
    if len(rows) < FEWEST or not (len(train) == len(val) == len(metric) == len(rows)):
        return None
    lowest = min(range(len(val)), key=val.__getitem__)
    best = (max if goal.higher else min)(range(len(metric)), key=metric.__getitem__)
    end, noise = median(metric[-3:]), NOISE * median(abs(b - a) for a, b in pairwise(metric))
    harm = (metric[best] - end) * (1 if goal.higher else -1)
    rose = val[lowest] > 0 and median(val[-3:]) > RISE * val[lowest] and train[-1] < train[lowest]
    if not rose or harm <= max(noise, WORSE * abs(metric[best])):
        return None
    return Finding(
        "overfitting",
        0.7,
        (
            f"the validation loss was lowest after epoch {lowest + 1} ({val[lowest]:.3g}) and is {val[-1]:.3g} now, while "
            f"the training loss went from {train[lowest]:.3g} to {train[-1]:.3g}",
            f"{goal.metric} on validation rows was {metric[best]:.3g} after epoch {best + 1} and is {end:.3g} at the end",
        ),
    )


def _column(rows: Sequence[Mapping[str, float | None]], name: str) -> list[float]:
    return [float(value) for row in rows if (value := row.get(name)) is not None and math.isfinite(value)]
