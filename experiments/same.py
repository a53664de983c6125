"""Is `seminal same` right about what it says? How often it sees a difference where there is none, and where there is one.

    python experiments/same.py --pictures FOLDER_OF_CLASS_FOLDERS --texts FILE.txt --other-texts FILE.txt

False alarms: one set (pictures, a table, lines of text) is split at random into two of 100 rows, 1,000 times. The p-values
must be uniform; at 0.05, 5 % of them are false alarms. The table is scikit-learn's breast-cancer (569 rows, 30 columns).

Power: how often p ≤ 0.05, over 100 draws of two disjoint sets of n rows each, of which the second is changed:

    brightness        every pixel × 1.1
    JPEG              saved as JPEG of quality 90 instead of as it is; both brought to 3/4 of their size before, since the
                      pictures of many sets were JPEG already
    resampling        brought to 7/8 of its size and back
    class balance     one class of the ten has 30 % of the rows instead of 10 %, told from the pictures alone
    … with classes    the same, where the class folders are told
    one column        of the table's thirty: shifted by half a standard deviation
    other texts       every fifth line is from elsewhere

Pictures are taken as their pixels, saved anew without loss, so that no difference comes from the files themselves.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_breast_cancer

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # what the benchmarks share
from charts import Series, at, chart, evenly
from keeping import Cells, command, place
from measuring import arguments, machine
from seminal.data import picture_features, text_features
from seminal.data.files import MemoryTree
from seminal.data.image_encoder import pictures_in
from seminal.data.lines import lines
from seminal.data.pictures import in_threads
from seminal.report.terminal import table
from seminal.runs.comparing import LEVEL, compared
from seminal.runs.two_sets import TwoSets

PERMUTATIONS = 199
SPLIT_ROWS = 100
OFTEN = 0.3
Change = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Pool:
    """Rows to draw the first set from, and the same rows changed, to draw the second from: ``OFTEN`` of these from the rows
    where ``often`` (rows,) is true, where it is given."""

    first: np.ndarray  # (rows, features)
    second: np.ndarray
    often: np.ndarray | None = None

    def draw(self, n: int, chance: np.random.Generator) -> TwoSets:
        """Two sets of n rows that have no row in common."""
        a, rest = np.split(chance.permutation(len(self.first)), [n])
        if self.often is None:
            b = rest[:n]
        else:
            more = round(OFTEN * n)
            b = np.concatenate([rest[self.often[rest]][:more], rest[~self.often[rest]][: n - more]])
        names = [str(row) for row in a], [str(row) for row in b]
        features = tuple(str(place) for place in range(self.first.shape[1]))
        return TwoSets("pool", names, features, (self.first[a], self.second[b]))


@dataclass(frozen=True)
class Question:
    """A change, and the sizes at which it is looked for."""

    says: str
    sizes: tuple[int, ...]
    pool: Callable[[Data], Pool]


# ------------------------------------------------------------------------------------------------------------- the data


@dataclass(frozen=True)
class Data:
    """What is measured on."""

    images: list[Image.Image]
    classes: np.ndarray  # (images,)
    texts: list[str]
    other: list[str]

    @cached_property
    def pictures(self) -> np.ndarray:
        """(images, features) of the pictures as they are."""
        return self.described(lambda image: image)

    def described(self, change: Change) -> np.ndarray:
        """(images, features) of the changed pictures."""

        def features(image: Image.Image) -> np.ndarray:
            file = io.BytesIO()
            change(image).save(file, "png")
            return picture_features.features(MemoryTree("", {"it": file.getvalue()}), "it")

        return np.array(in_threads(features, self.images))

    def changed(self, change: Change) -> Pool:
        return Pool(self.pictures, self.described(change))

    def of_class(self, *, told: bool) -> Pool:
        pictures, classes = self.pictures, np.unique(self.classes)
        if told:
            pictures = np.hstack([pictures, np.equal.outer(self.classes, classes).astype(float)])
        return Pool(pictures, pictures, self.classes == classes[0])

    def mixed(self) -> Pool:
        both = [*self.texts, *self.other]
        _, values = text_features.features(both, text_features.counted(both))
        own, other = values[: len(self.texts)], values[len(self.texts) :]
        second = own.copy()
        second[::5] = other[: len(second[::5])]
        return Pool(own, second)


def brighter(image: Image.Image) -> Image.Image:
    """Every pixel × 1.1."""
    return image.point(lambda value: min(255, round(1.1 * value)))


def smaller(image: Image.Image) -> Image.Image:
    """3/4 of its size."""
    return image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.BILINEAR)


def as_jpeg(image: Image.Image) -> Image.Image:
    """What JPEG of quality 90 leaves."""
    file = io.BytesIO()
    image.save(file, "jpeg", quality=90)
    return Image.open(file).convert("RGB")


def resampled(image: Image.Image) -> Image.Image:
    """Brought to 7/8 of its size, and back."""
    small = image.resize((image.width * 7 // 8, image.height * 7 // 8), Image.Resampling.BILINEAR)
    return small.resize(image.size, Image.Resampling.BILINEAR)


def cancer(shift: float = 0.0) -> np.ndarray:
    """(569, 30), the column `mean texture` shifted by so many standard deviations."""
    values: np.ndarray = load_breast_cancer().data.copy()
    values[:, 1] += shift * values[:, 1].std()
    return values


QUESTIONS = {
    "brightness": Question("pixels × 1.1", (50, 100, 200, 400), lambda d: d.changed(brighter)),
    "JPEG": Question(
        "quality 90",
        (25, 50, 100, 200),
        lambda d: Pool(d.described(smaller), d.described(lambda i: as_jpeg(smaller(i)))),
    ),
    "resampling": Question("to 7/8 and back", (25, 50, 100, 200), lambda d: d.changed(resampled)),
    "class balance": Question("a class of 10 % has 30 %", (200, 400, 800, 1200), lambda d: d.of_class(told=False)),
    "… with classes": Question("the same, told", (50, 100, 200, 400), lambda d: d.of_class(told=True)),
    "one column": Question("shifted by ½ sd", (50, 100, 200, 280), lambda d: Pool(cancer(), cancer(0.5))),
    "other texts": Question("every fifth line", (50, 100, 200, 400), lambda d: d.mixed()),
}


def opened(asked: argparse.Namespace) -> Data:
    """The pictures and texts that were named."""
    found = list(pictures_in([asked.pictures]))
    chosen = np.random.default_rng(0).permutation(len(found))[: asked.most]
    images = [Image.open(io.BytesIO(tree.read(name))).convert("RGB") for _, tree, name in (found[i] for i in chosen)]
    classes = np.array([found[i][2].partition("/")[0] for i in chosen])
    texts, other = ([line for line in lines(path) if line.strip()] for path in (asked.texts, asked.other_texts))
    chance = np.random.default_rng(0)
    return Data(
        images, classes, *([rows[i] for i in chance.permutation(len(rows))[: asked.most]] for rows in (texts, other))
    )


# -------------------------------------------------------------------------------------------------------- what is counted


SETS: dict[str, Callable[[Data], np.ndarray]] = {
    "pictures": lambda d: d.pictures,
    "table": lambda d: cancer(),
    "texts": lambda d: text_features.features(d.texts, text_features.counted(d.texts))[1],
}


def wanted(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """All cells to be measured."""
    sizes = {name: question.sizes[:1] if asked.quick else question.sizes for name, question in QUESTIONS.items()}
    splits = [{"question": "splits", "of": kind, "n": SPLIT_ROWS} for kind in SETS]
    return [*splits, *({"question": "power", "of": name, "n": n} for name in QUESTIONS for n in sizes[name])]


def split(values: np.ndarray, times: int) -> dict[str, Any]:
    """The p-values of random splits of one set."""
    started = time.perf_counter()
    p = [_p(Pool(values, values), SPLIT_ROWS, seed) for seed in range(times)]
    seconds = (time.perf_counter() - started) / times
    return {"alarms": float(np.mean(np.array(p) <= LEVEL)), "seconds": seconds, "p": p}


def power(pool: Pool, n: int, draws: int) -> dict[str, Any]:
    """How often a change is found."""
    return {"power": float(np.mean([_p(pool, n, 10_000 + seed) <= LEVEL for seed in range(draws)]))}


def _p(pool: Pool, n: int, seed: int) -> float:
    sets = pool.draw(n, np.random.default_rng(seed))
    return compared(sets, seed, permutations=PERMUTATIONS).p


# ------------------------------------------------------------------------------------------------------------ the plots


def power_chart(cells: list[dict[str, Any]]) -> str:
    """Power against rows per set."""
    found = [cell for cell in cells if cell["question"] == "power"]
    series = [
        Series(name, tuple((cell["n"], cell["power"]) for cell in found if cell["of"] == name)) for name in QUESTIONS
    ]
    x = at("rows in each set", sorted({cell["n"] for cell in found if cell["n"] != 280}))
    return chart(x, evenly("found at 0.05", 0, 1, 5, lambda v: f"{v:.0%}"), [one for one in series if one.points])


def level_chart(cells: list[dict[str, Any]]) -> str:
    """The share of random splits with a p-value of at most so much: the diagonal, if the test is right."""
    at_most = np.linspace(0, 1, 21)
    series = [
        Series(cell["of"], tuple((x, float(np.mean(np.array(cell["p"]) <= x))) for x in at_most))
        for cell in cells
        if cell["question"] == "splits"
    ]
    x, y = (evenly(title, 0, 1, 5, lambda v: f"{v:g}") for title in ("p", "share of splits with at most this p"))
    return chart(x, y, [*series, Series("uniform", ((0.0, 0.0), (1.0, 1.0)))])


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pictures", required=True, help="a folder with a folder for each class")
    parser.add_argument("--texts", type=Path, required=True, help="a file with a text per line")
    parser.add_argument("--other-texts", type=Path, required=True, help="another, from elsewhere")
    parser.add_argument("--most", type=int, default=6000, help="pictures, and lines, that are read")
    parser.add_argument("--splits", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=100, help="for each size")


def run() -> None:
    """Count all; the JSON is written after each cell, and the same command goes on with those that are missing."""
    asked = arguments("False alarms and power of `seminal same`.", _flags)
    if asked.quick:
        asked.most, asked.splits, asked.draws = 300, 5, 2
    torch.set_num_threads(1)
    settings = {"permutations": PERMUTATIONS, "level": LEVEL, "splits": asked.splits, "draws": asked.draws}
    settings |= {"rows_read": asked.most, "split_rows": SPLIT_ROWS}
    kept = Cells(place("same", asked), command("same"), machine(), settings, ("question", "of", "n"))
    if not asked.quick:
        kept.go_on()
    data = opened(asked)
    pool = cache(lambda name: QUESTIONS[name].pool(data))
    for cell in kept.missing(wanted(asked)):
        name, n = cell["of"], cell["n"]
        if cell["question"] == "splits":
            kept.add(cell | split(SETS[name](data), asked.splits))
        else:
            kept.add(cell | {"says": QUESTIONS[name].says} | power(pool(name), n, asked.draws))
        print(name, n, kept.cells[-1].get("power", kept.cells[-1].get("alarms")), flush=True)
    for name, draw in (("power", power_chart), ("levels", level_chart)):
        kept.path.with_name(f"{kept.path.stem}_{name}.svg").write_text(draw(kept.cells), encoding="utf-8")
    rows = [[c["of"], str(c["n"]), f"{c['alarms']:.1%}"] for c in kept.cells if c["question"] == "splits"]
    table(["random splits of", "rows of each", "false alarms"], rows)
    rows = [
        [f"{c['of']}: {c['says']}", str(c["n"]), f"{c['power']:.0%}"] for c in kept.cells if c["question"] == "power"
    ]
    table(["change", "rows of each", "found"], rows)
    print(f"written  {kept.path}")


if __name__ == "__main__":
    run()
