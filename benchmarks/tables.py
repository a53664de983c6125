"""Small tables: `seminal train mlp NAME --folds 5` beside scikit-learn's multilayer perceptron on the very same folds;
logistic and linear regression beside scikit-learn's.

seminal runs with its defaults, through its own command line. Its score on a fold is that of the LAST epoch: the best
epoch of a run is chosen by the validation fold itself, so it is too good an estimate; it is kept in the JSON, not judged.

    python benchmarks/tables.py            about ten minutes on one core
"""

from __future__ import annotations

import csv
import json
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from measuring import arguments, machine, mean95, silent, write
from seminal.cli import main as seminal_command
from seminal.report.terminal import table

EQUAL = 0.005  # linear regression: both look for the same minimum
LOADERS = {"iris": load_iris, "wine": load_wine, "breast-cancer": load_breast_cancer}


@dataclass(frozen=True)
class Rival:
    """An estimator of scikit-learn, made from a seed."""

    name: str
    make: Callable[[int], BaseEstimator]


def _mlp_classifier(seed: int) -> BaseEstimator:
    return make_pipeline(StandardScaler(), MLPClassifier(max_iter=2000, random_state=seed))


def _mlp_regressor(seed: int) -> BaseEstimator:
    return make_pipeline(StandardScaler(), MLPRegressor(max_iter=2000, random_state=seed))


def _mlp_regressor_scaled(seed: int) -> BaseEstimator:
    return TransformedTargetRegressor(_mlp_regressor(seed), transformer=StandardScaler())


def _logistic(seed: int) -> BaseEstimator:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


def _linear(seed: int) -> BaseEstimator:
    return make_pipeline(StandardScaler(), LinearRegression())


CLASSIFIER = (Rival("MLPClassifier", _mlp_classifier),)
REGRESSORS = (
    Rival("MLPRegressor", _mlp_regressor),
    Rival("MLPRegressor, target standardised", _mlp_regressor_scaled),
)
LOGISTIC = (Rival("LogisticRegression", _logistic),)
COMPARISONS: tuple[tuple[str, str, tuple[Rival, ...]], ...] = (
    ("mlp", "iris", CLASSIFIER),
    ("mlp", "wine", CLASSIFIER),
    ("mlp", "breast-cancer", CLASSIFIER),
    ("mlp", "diabetes", REGRESSORS),
    ("logistic", "iris", LOGISTIC),
    ("logistic", "wine", LOGISTIC),
    ("logistic", "breast-cancer", LOGISTIC),
    ("linear", "diabetes", (Rival("LinearRegression", _linear),)),
)


@dataclass(frozen=True)
class FoldRun:
    """What one fold of one seed gave, and its rows."""

    seed: int
    last: float
    best: float
    precision: str
    train: np.ndarray
    val: np.ndarray


def seminal_folds(model: str, data: str, *, folds: int, seed: int) -> list[FoldRun]:
    """``seminal train MODEL DATA --folds K --seed S --split-seed S``, read back from the run folder."""
    metric = "val_r2" if data == "diabetes" else "val_top1"
    with tempfile.TemporaryDirectory() as output:
        words = ["train", model, data, "--folds", str(folds), "--seed", str(seed), "--split-seed", str(seed)]
        with silent():
            code = seminal_command([*words, "--output", output, "--name", "cv"])
        if code:
            raise SystemExit(f"seminal {' '.join(words)} ended with exit code {code}")
        return [_read(Path(output) / "cv" / f"fold-{i + 1}", metric, seed) for i in range(folds)]


def _read(folder: Path, metric: str, seed: int) -> FoldRun:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        scores = [float(row[metric]) for row in csv.DictReader(file)]
    with (folder / "split.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["split"], int(row["name"].rpartition(":")[2]) - 1) for row in csv.DictReader(file)]
    parts = {split: np.array([row for part, row in rows if part == split]) for split in ("train", "val")}
    recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    return FoldRun(seed, scores[-1], max(scores), _precision(recipe), parts["train"], parts["val"])


def _precision(node: Any) -> str:
    """The number format the run measured as the fastest that agrees, found in its recipe."""
    if isinstance(node, dict):
        if isinstance(node.get("dtype"), str):
            return node["dtype"]
        return next((found for value in node.values() if (found := _precision(value))), "")
    return ""


def rival_scores(rival: Rival, data: str, runs: list[FoldRun]) -> list[float]:
    """Accuracy or R² of the estimator on the same rows."""
    bunch = LOADERS[data]() if data in LOADERS else load_diabetes(scaled=False)
    scores = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for run in runs:
            assert len(run.train) + len(run.val) == len(bunch.target)
            fitted = rival.make(run.seed).fit(bunch.data[run.train], bunch.target[run.train])
            scores.append(float(fitted.score(bunch.data[run.val], bunch.target[run.val])))
    return scores


def compare(model: str, data: str, rivals: tuple[Rival, ...], runs: list[FoldRun]) -> dict[str, Any]:
    """seminal and its rivals on the same folds; differences are paired, seminal's score less the rival's."""
    ours = [run.last for run in runs]
    result: dict[str, Any] = {
        "model": model,
        "data": data,
        "metric": "R²" if data == "diabetes" else "accuracy",
        "precision": sorted({run.precision for run in runs}),
        "seminal": mean95(ours),
        "seminal_best_epoch": mean95([run.best for run in runs]),
        "scikit-learn": {},
    }
    for rival in rivals:
        theirs = rival_scores(rival, data, runs)
        difference = mean95([a - b for a, b in zip(ours, theirs)])
        verdict: dict[str, Any] = {"not_worse": difference["mean"] + (difference["half_width_95"] or 0) >= 0}
        if model == "linear":
            verdict = {"equal": max(map(abs, difference["all"])) <= EQUAL}
        result["scikit-learn"][rival.name] = {"score": mean95(theirs), "difference": difference, **verdict}
    return result


def show(results: list[dict[str, Any]]) -> None:
    """The table."""
    rows = []
    for result in results:
        for name, rival in result["scikit-learn"].items():
            cells = (result["seminal"], rival["score"], rival["difference"])
            verdict = "equal" if rival.get("equal") else "not worse" if rival.get("not_worse") else "WORSE"
            rows.append([result["data"], result["metric"], result["model"], name, *map(_told, cells), verdict])
    headers = ["data", "metric", "seminal", "scikit-learn", "seminal's score", "scikit-learn's", "difference", ""]
    table(headers, rows)


def _told(values: dict[str, Any]) -> str:
    half = values["half_width_95"]
    return f"{values['mean']:+.4f}".lstrip("+") + (f" ± {half:.4f}" if half is not None else "")


def run() -> None:
    """Compare all; print the table, write the JSON."""
    asked = arguments(
        "seminal's models for tables beside scikit-learn's, on the same folds.",
        lambda parser: parser.add_argument("--seeds", type=int, default=3),
    )
    folds, seeds, wanted = 5, range(asked.seeds), COMPARISONS
    if asked.quick:
        folds, seeds, wanted = 2, range(1), (COMPARISONS[0], COMPARISONS[-1])
    before, results = machine(), []
    for model, data, rivals in wanted:
        runs = [fold for seed in seeds for fold in seminal_folds(model, data, folds=folds, seed=seed)]
        results.append(compare(model, data, rivals, runs))
        print(f"{model} on {data}: {len(runs)} folds done", flush=True)
    show(results)
    note = (
        f"n = {folds} folds × {len(seeds)} seeds (both the split's and the weights'); ± is Student's t over them, which "
        "is narrow, because the training parts of folds overlap; not_worse: the interval of the paired difference "
        "reaches 0; scikit-learn: StandardScaler, then the estimator with max_iter=2000, else its defaults"
    )
    path = write("tables", asked, before, {"folds": folds, "seeds": len(seeds), "note": note, "results": results})
    print(f"written  {path}")


if __name__ == "__main__":
    run()
