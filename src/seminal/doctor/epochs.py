"""What a run's own epochs say, without an experiment.

The second question of the General Guide. Training loss small, validation loss large: overfitting. It is named only where
training longer did harm: the validation loss has risen clearly from its lowest while the training loss went on falling,
and the metric by which checkpoints are chosen has got worse too, by more than its own noise.

A classifier whose loss is that of guessing has learned nothing, whatever its first loss was.

Of models that make rows: latent variables that differ from no row to another are ignored; a discriminator that is right
and sure from beginning to end, while what is made does not come nearer to real rows, teaches nothing; and a generator whose
rows differ little, which training does not change any more, has collapsed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

from seminal.core import Goal
from seminal.doctor.findings import Finding
from seminal.doctor.uncorrected import cures, too_far
from seminal.doctor.vitals import Vitals

FEWEST = 5  # epochs
SAME, STILL = 3, 0.7  # epochs with one and the same score, and what is left of the training loss
RISE = 1.3  # of the validation loss, from its lowest
SURE = 0.02  # nats of the discriminator's loss, 1.39 where it cannot tell real rows from made ones
NEARER = 0.7  # of the distance at the start: what was made has come nearer to real rows
ALIKE = 0.3  # of the variety of real rows: less, and what is made is one row with small changes
ON = 0.9  # of the distance five epochs ago: training still gets nearer
MORE = 1.25  # times the variety five epochs ago: it still grows
NOISE = 3.0  # times the median change from one epoch to the next
WORSE = 0.02  # of the metric's size
GUESS = 0.98  # of the loss of one who takes all classes to be as probable


Rows = Sequence[Mapping[str, float | None]]


def judged(rows: Rows, goal: Goal, vitals: Vitals | None = None) -> list[Finding]:
    """``rows`` as the diary keeps them: ``train_loss``, ``val_loss`` and ``val_<metric>`` of each epoch."""
    found = [
        overfitting(rows, goal),
        posterior_collapse(rows),
        critic_too_strong(rows, goal),
        mode_collapse(rows, goal),
    ]
    found += [same_answers(rows, goal, vitals)] if vitals is not None else []
    return [finding for finding in found if finding is not None]


def overfitting(rows: Rows, goal: Goal) -> Finding | None:
    """Training longer did harm."""
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


def posterior_collapse(rows: Rows) -> Finding | None:
    """The mean of no latent variable depends on the row, and that did not begin to change."""
    active, kl = _column(rows, "val_active"), _column(rows, "val_kl")
    if len(active) < FEWEST or any(active[-FEWEST:]):
        return None
    return Finding(
        "posterior_collapse",
        0.9,
        (
            f"in the last {FEWEST} epochs no latent variable differed from row to row",
            f"the Kullback-Leibler term is {kl[-1]:.3g} nats for a row: the decoder is told nothing",
        ),
    )


def critic_too_strong(rows: Rows, goal: Goal) -> Finding | None:
    """The discriminator has been sure all the time, and nothing came of it."""
    loss, distance = _column(rows, "train_loss_discriminator"), _column(rows, f"val_{goal.metric}")
    if len(loss) < FEWEST or len(distance) != len(loss) or max(loss[1:]) > SURE:
        return None
    if min(distance) < NEARER * distance[0]:
        return None
    return Finding(
        "critic_too_strong",
        0.8,
        (
            f"the discriminator's loss was {max(loss[1:]):.2g} nats or less in every epoch after the first (1.39 where it "
            "cannot tell)",
            f"{goal.metric} went from {distance[0]:.3g} to {min(distance):.3g} at best: the generator does not learn",
        ),
    )


def mode_collapse(rows: Rows, goal: Goal) -> Finding | None:
    """The rows that are made are nearly one and the same, and further training does not change that."""
    variety, distance = _column(rows, "val_variety"), _column(rows, f"val_{goal.metric}")
    if len(variety) < 2 * FEWEST or len(distance) != len(variety) or max(variety[-FEWEST:]) > ALIKE:
        return None
    then, now = variety[-2 * FEWEST : -FEWEST], variety[-FEWEST:]
    before, after = median(distance[-2 * FEWEST : -FEWEST]), median(distance[-FEWEST:])
    if after < ON * before or median(now) > MORE * median(then):
        return None
    highest = max(range(len(variety)), key=variety.__getitem__)
    fell = variety[highest] > 2 * ALIKE
    had = (f"they differed {variety[highest]:.2g} times as much after epoch {highest + 1}",) if fell else ()
    return Finding(
        "mode_collapse",
        0.85 if fell else 0.7,
        (
            f"two made rows differ {max(now):.2g} times as much as two real ones, or less, in the last {FEWEST} epochs",
            *had,
            f"{goal.metric} does not fall any more: {before:.3g}, then {after:.3g}",
        ),
    )


def same_answers(rows: Rows, goal: Goal, vitals: Vitals) -> Finding | None:
    """A classifier that an Adam without bias correction has thrown to where all rows get one answer. The loss then falls a
    little, to that of the best such answer."""
    train, metric, evidence = _column(rows, "train_loss"), _column(rows, f"val_{goal.metric}"), too_far(vitals)
    if not evidence or len(metric) < SAME or len(set(metric[-SAME:])) > 1 or train[-1] < STILL * train[0]:
        return None
    says = (
        f"{goal.metric} on validation rows is {metric[-1]:.3g} after each of the last {SAME} epochs: one answer for all"
    )
    return Finding("optimizer", 0.55, (*evidence, says), cures())


def guessing(rows: Rows, classes: int) -> str:
    """Whether the cross-entropy of the last epoch, in training and validation, is that of giving ``classes`` classes the same
    probability: the numbers, or nothing."""
    train, val = _column(rows, "train_loss"), _column(rows, "val_loss")
    if classes < 2 or not train or not val or min(train[-1], val[-1]) < GUESS * math.log(classes):
        return ""
    return (
        f"the last epoch's loss is {train[-1]:.3g} in training and {val[-1]:.3g} in validation; "
        f"guessing among {classes} classes has {math.log(classes):.3g}"
    )


def _column(rows: Rows, name: str) -> list[float]:
    return [float(value) for row in rows if (value := row.get(name)) is not None and math.isfinite(value)]
