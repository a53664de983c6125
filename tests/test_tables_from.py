"""``train --from RUN`` on tables: the columns of other data are read as that run reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import QUICK, done, typed

pytestmark = pytest.mark.usefixtures("one_thread")
STILL = ("--epochs", "1", "--lr", "1e-9", *QUICK)  # what is scored are the weights of the run before


def table(path: Path, names: tuple[str, ...], *, shift: float = 0.0, kinds: str = "ab", seed: int = 0) -> None:
    """The class is whether x is above its middle; ``p`` is a number that follows x; other columns say nothing."""
    luck = np.random.default_rng(seed)
    x = luck.normal(size=200)
    columns = {
        "x": [f"{value + shift:.4f}" for value in x],
        "y": [f"{value:.4f}" for value in luck.normal(size=200)],
        "kind": [kinds[number] for number in luck.integers(len(kinds), size=200)],
        "t": ["yes" if value > 0 else "no" for value in x],
        "p": [f"{1000 + 50 * value:.3f}" for value in x],
    }
    rows = zip(*(columns.get(name, columns["y"]) for name in names))
    path.write_text("\n".join([",".join(names), *map(",".join, rows)]) + "\n")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("from")
    table(folder / "old.csv", ("x", "y", "kind", "t"))
    done("train", "logistic", "old.csv", "--target", "t", "--epochs", "30", *QUICK, "--name", "old", folder=folder)
    return folder


def accuracy(folder: Path, *words: str) -> float:
    return float(json.loads(done("eval", *words, "--json", folder=folder))["top1"])


@pytest.mark.parametrize(
    ("name", "names", "shift", "kinds"),
    [("turned", ("kind", "y", "t", "x"), 0.0, "ab"), ("shifted", ("x", "y", "kind", "t"), 0.4, "abc")],
)
def test_columns_and_scales_are_those_of_the_run_before(runs, name, names, shift, kinds):
    """They were learned anew: with columns in another order, each weight stood on a strange one."""
    table(runs / f"{name}.csv", names, shift=shift, kinds=kinds, seed=1)
    said = done(
        "train", "logistic", f"{name}.csv", "--target", "t", "--from", "runs/old", *STILL, "--name", name, folder=runs
    )
    assert "columns, categories and scales are those of the run that training starts from: `x`, `y`, `kind`" in said
    assert ("training: categories that training did not have" in said) == ("c" in kinds)
    reader, before = (json.loads((runs / "runs" / run / "reader.json").read_text()) for run in (name, "old"))
    assert reader == before
    table(runs / f"{name}-all.csv", names, shift=shift, kinds=kinds, seed=1)
    whole = {run: accuracy(runs, f"runs/{run}", "--data", f"{name}-all.csv", "--split", "all") for run in (name, "old")}
    assert whole[name] == pytest.approx(whole["old"], abs=0.01)
    assert accuracy(runs, f"runs/{name}") > 0.6, "and the run is opened again as it was read"


def test_a_table_without_the_columns_is_refused(runs):
    table(runs / "other.csv", ("z", "y", "kind", "t"))
    said = typed("train", "logistic", "other.csv", "--target", "t", "--from", "runs/old", *STILL, folder=runs)
    assert said.code == 2
    assert "other.csv has no column `x`" in said.err
    said = typed("train", "logistic", "old.csv", "--target", "kind", "--from", "runs/old", *STILL, folder=runs)
    assert said.code == 2
    assert "read `kind` as an input, so that it cannot be the target" in " ".join(said.err.split())


def test_numbers_keep_the_scale_in_which_they_were_learned(runs):
    table(runs / "prices.csv", ("x", "y", "p"))
    done("train", "linear", "prices.csv", "--target", "p", "--epochs", "40", *QUICK, "--name", "prices", folder=runs)
    table(runs / "dear.csv", ("x", "y", "p", "extra"), shift=2.0, seed=1)
    said = done("train", "linear", "dear.csv", "--target", "p", "--from", "runs/prices", *STILL, folder=runs)
    assert "left out: `extra`, which it did not read" in said
    mine, before = (
        json.loads(path.read_text())["recipe"]["task"]
        for path in (
            next((runs / "runs").glob("linear-dear-*")) / "recipe.json",
            runs / "runs" / "prices" / "recipe.json",
        )
    )
    assert (mine["mean"], mine["std"]) == (before["mean"], before["std"])
    done("eval", str(next((runs / "runs").glob("linear-dear-*"))), folder=runs)
