"""How good a set of diagnoses is: hits, recall, precision, false alarms, cures, calibration; and what guessing would reach.

Labels are as in ``labels.json``: ``causes`` are causal, ``accept`` are fair names for the same fault. Nothing here runs a
program.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

RECOVERED = 0.7  # of the gap between the faulty and the fixed program: a cure
BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
FOLDS = 5
FEW = 10  # findings with which no curve is fitted
Named = Sequence[tuple[str, float]]  # illness and confidence, the surest first


@dataclass(frozen=True)
class Case:
    """A program whose faults are known."""

    name: str
    causes: frozenset[str] = frozenset()  # none: healthy
    accept: frozenset[str] = frozenset()
    faulty: tuple[float | None, ...] = ()  # the program's metric over seeds; None: not a number
    fixed: tuple[float, ...] = ()

    @property
    def right(self) -> frozenset[str]:
        return self.causes | self.accept


def cases_in(folder: Path) -> list[Case]:
    """Of ``labels.json`` in the folder; the file of each must be there."""
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    found = [
        Case(
            name,
            frozenset(label["causes"]),
            frozenset(label["accept"]),
            tuple(label["metric_faulty"]),
            tuple(label["metric_fixed"]),
        )
        for name, label in labels["cases"].items()
    ]
    found += [Case(name) for name in labels["cases_healthy"]]
    missing = [case.name for case in found if not (folder / case.name).is_file()]
    if missing:
        raise SystemExit(f"labels.json of {folder.name} names programs that are not there: {', '.join(missing)}.")
    return found


# -------------------------------------------------------------------------------------------------------------- diagnoses


def wilson(hits: int, count: int) -> dict[str, Any]:
    """A share with its 95 % interval (Wilson 1927), which holds for few and for extreme shares too."""
    if count == 0:
        return {"share": None, "low": None, "high": None, "hits": 0, "n": 0}
    z, share = 1.959964, hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return {"share": share, "low": max(0.0, middle - half), "high": min(1.0, middle + half), "hits": hits, "n": count}


def scored(cases: Iterable[Case], answers: Mapping[str, Named]) -> dict[str, Any]:
    """Of the cases that have an answer; a healthy program's right answer is none."""
    known = [(case, [illness for illness, _ in answers[case.name]]) for case in cases if case.name in answers]
    faulty = [(case, found) for case, found in known if case.causes]
    healthy = [found for case, found in known if not case.causes]
    named = [illness in case.right for case, found in faulty for illness in found]
    return {
        "top_1": wilson(sum(bool(found) and found[0] in case.right for case, found in faulty), len(faulty)),
        "recall": wilson(
            sum(len(case.causes & set(found)) for case, found in faulty), sum(len(case.causes) for case, _ in faulty)
        ),
        "precision": wilson(sum(named), len(named)),
        "exact": wilson(sum(case.causes == set(found) for case, found in faulty), len(faulty)),
        "exact_but_for_fair_names": wilson(
            sum(case.causes <= set(found) <= case.right for case, found in faulty), len(faulty)
        ),
        "nothing_found": wilson(sum(not found for _, found in faulty), len(faulty)),
        "false_alarms": wilson(sum(bool(found) for found in healthy), len(healthy)),
    }


def by_illness(cases: Iterable[Case], answers: Mapping[str, Named]) -> dict[str, dict[str, int]]:
    """For each illness: how often it was a cause, was found then, was named rightly and wrongly."""
    table: dict[str, dict[str, int]] = {}
    for case in cases:
        found = {illness for illness, _ in answers.get(case.name, ())} if case.name in answers else None
        if found is None:
            continue
        for illness in sorted(case.causes | found):
            row = table.setdefault(illness, {"cause": 0, "found": 0, "right": 0, "wrong": 0})
            row["cause"] += illness in case.causes
            row["found"] += illness in case.causes & found
            row["right"] += illness in found & case.right
            row["wrong"] += illness in found - case.right
    return dict(sorted(table.items()))


def constant(cases: Sequence[Case], illnesses: Iterable[str], size: int) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The best answer that is the same for all programs, of so many names: chosen with the labels in hand, by top-1 for
    one name and by the harmonic mean of recall and precision for more."""
    used = sorted(set(illnesses) & set().union(*(case.right for case in cases)))
    best: tuple[float, tuple[str, ...]] = (-1.0, ())
    for names in itertools.combinations(used, size):
        found = scored(cases, {case.name: [(name, 1.0) for name in names] for case in cases})
        recall, precision = found["recall"]["share"], found["precision"]["share"]
        value = found["top_1"]["share"] if size == 1 else 2 * recall * precision / max(recall + precision, 1e-9)
        best = max(best, (value, names))
    # The order decides top-1: the name that is right most often stands first.
    names = tuple(sorted(best[1], key=lambda name: -sum(name in case.right for case in cases)))
    return names, scored(cases, {case.name: [(name, 1.0) for name in names] for case in cases})


# ------------------------------------------------------------------------------------------------------------------ cures


def recovered(case: Case, after: Sequence[float], floor: float) -> float:
    """Which share of the way from the faulty to the fixed program was gone. A faulty program that is worse than the best
    constant answer, or not a number, counts as that answer: else any change at all would seem to go most of the way."""
    fixed, ended = fmean(case.fixed), fmean(after)
    if not math.isfinite(ended):
        return -math.inf
    values = [floor if value is None else value for value in case.faulty]
    faulty = fmean(values)
    if fixed > faulty:
        faulty = max(faulty, min(floor, fixed))
    return (ended - faulty) / (fixed - faulty) if abs(fixed - faulty) > 1e-9 else 0.0


# ------------------------------------------------------------------------------------------------------------ calibration


def calibration(cases: Iterable[Case], answers: Mapping[str, Named]) -> dict[str, Any]:
    """Stated confidence against the share that is right: as stated, and through a monotone curve that never saw the program
    it is asked about (cross-validation over programs). Folds are large: with one program left out at a time, the curve is
    always a little lower for what was right and a little higher for what was wrong."""
    items = [
        (case.name, confidence, illness in case.right)
        for case in cases
        for illness, confidence in answers.get(case.name, ())
    ]
    stated, right = np.array([c for _, c, _ in items]), np.array([float(r) for *_, r in items])
    found: dict[str, Any] = {"findings": len(items), "stated": _reliability(stated, right)}
    if len(items) < FEW:
        return found
    held_out = stated.copy()
    programs = sorted({name for name, *_ in items})
    dealt = np.random.default_rng(0).permutation(len(programs)) % FOLDS
    fold_of = dict(zip(programs, dealt.tolist(), strict=True))
    for fold in range(FOLDS):
        mine = np.array([fold_of[name] == fold for name, *_ in items])
        held_out[mine] = _curve(stated[~mine], right[~mine]).predict(stated[mine])
    curve = _curve(stated, right)
    return {
        **found,
        "corrected": _reliability(held_out, right),
        "curve": [[round(float(x), 4), round(float(y), 4)] for x, y in zip(curve.X_thresholds_, curve.y_thresholds_)],
    }


def _curve(stated: np.ndarray, right: np.ndarray) -> IsotonicRegression:
    return IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(stated, right)


def _reliability(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Bins, the mean gap between confidence and truth weighted by their size, and the Brier score."""
    bins, gap = [], 0.0
    for number, (low, high) in enumerate(itertools.pairwise((0.0, *BINS))):
        last = number == len(BINS) - 1
        inside = (confidence >= low) & ((confidence <= high) if last else (confidence < high))
        if inside.any():
            mean = float(confidence[inside].mean())
            bins.append(
                {"from": low, "to": high, "confidence": mean, **wilson(int(right[inside].sum()), int(inside.sum()))}
            )
            gap += abs(mean - float(right[inside].mean())) * int(inside.sum())
    count = max(1, len(right))
    brier = float(((confidence - right) ** 2).mean()) if len(right) else None
    return {"bins": bins, "expected_calibration_error": gap / count, "brier": brier}
