"""What a network can fit, and what it fits too closely.

Cybenko 1989 (sums of sigmoids), Srivastava et al. 2014 and Wager et al. 2013 (dropout), Dwork et al. 2015 (a test set that is
looked at too often), Bishop 2006 (codes of classes).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch import Tensor

from charts import Axis, Series, at, chart, decades, evenly
from sequences import mean
from theory_form import SEEDS, Experiment, Result, Verdict, holds, points, spread

# --------------------------------------------------------------------------------------------------- a curve, of sigmoids

UNITS = (1, 2, 4, 8, 16, 32, 64)


def curve(x: Tensor) -> Tensor:
    """Flat, steep, flat, down, and a wave."""
    return torch.tanh(6 * (x + 0.5)) - 1.5 * torch.sigmoid(12 * (x - 0.2)) + 0.3 * torch.sin(9 * x)


def _sigmoids(quick: bool) -> Result:
    seeds, steps = (1, 5) if quick else (SEEDS, 300)
    x = torch.linspace(-1, 1, 201, dtype=torch.float64)[:, None]
    y = curve(x)
    left = y - x @ torch.linalg.lstsq(torch.cat([x, torch.ones_like(x)], 1), y).solution[:1]
    line = float((left - left.mean()).square().mean() / y.var(correction=0))
    found = [[_misfit(x, y, units, seed, steps) for units in UNITS] for seed in range(seeds)]
    return {"settings": {"units": UNITS, "points": len(x), "steps": steps}, "seeds": seeds, "line": line, "left": found}


def _misfit(x: Tensor, y: Tensor, units: int, seed: int, steps: int) -> float:
    """Share of the variance that b + Σ c σ(w x + v) does not explain, after L-BFGS."""
    chance = torch.Generator().manual_seed(seed)
    w = 8 * torch.randn(1, units, generator=chance, dtype=torch.float64)
    place = 2 * torch.rand(units, generator=chance, dtype=torch.float64) - 1  # where each sigmoid rises
    c = torch.randn(units, 1, generator=chance, dtype=torch.float64) / math.sqrt(units)
    weights = [t.requires_grad_() for t in (w, -w.detach()[0] * place, c, torch.zeros(1, dtype=torch.float64))]
    optimiser = torch.optim.LBFGS(weights, max_iter=steps, line_search_fn="strong_wolfe", tolerance_change=0)

    def loss() -> Tensor:
        optimiser.zero_grad()
        found = F.mse_loss(said(x, weights), y)
        found.backward()
        return found

    optimiser.step(loss)
    with torch.no_grad():
        return float(F.mse_loss(said(x, weights), y) / y.var(correction=0))


def said(x: Tensor, weights: list[Tensor]) -> Tensor:
    """b + Σ c σ(w x + v)."""
    w, v, c, b = weights
    return torch.sigmoid(x @ w + v) @ c + b


def _sigmoids_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"A curve with two steps and a wave on (−1, 1), at {s['points']} points. A line is fitted in closed form; sums of "
        f"sigmoids by L-BFGS ({s['steps']} iterations) on all weights, from {result['seeds']} random beginnings. What is "
        "told is the share of the variance that is left."
    )


def _sigmoids_verdict(result: Result) -> Verdict:
    middle, ends = spread(result["left"])
    enough = next((n for n, (_, worst) in zip(UNITS, ends) if worst < 0.001), None)
    says = (
        f"a line leaves {result['line']:.0%} of the variance; "
        + ", ".join(f"{n} sigmoid{'s' * (n > 1)} {left:.2%}" for n, left in zip(UNITS, middle))
        + (f". From {enough} on the worst beginning leaves less than 0.1 %" if enough else "")
    )
    return holds(enough is not None and result["line"] > 0.1, says)


def _sigmoids_chart(result: Result) -> str:
    middle, ends = spread(result["left"])
    lines = [
        Series("sum of sigmoids", points(UNITS, middle), ends),
        Series("a line", points(UNITS, [result["line"]] * len(UNITS))),
    ]
    y = decades("share of the variance that is left", [*(low for low, _ in ends), result["line"]])
    return chart(at("sigmoids", UNITS), y, lines)


# ------------------------------------------------------------------------------------------- few points, and what helps

DEGREE = (0.6, -0.4, 1.2)  # the truth: a + b x + c x²
NOISE, TEST, LUCK = 0.2, 400, 15  # LUCK: of 20 draws, the least that chance alone seldom gives


@dataclass(frozen=True)
class Way:
    """How a network of one hidden layer is fitted."""

    points: int = 8
    units: int = 200
    decay: float = 0.0
    dropout: float = 0.0
    stops: bool = False  # where the loss on eight other points is lowest


WAYS = {
    "nothing": Way(),
    "more points (64)": Way(points=64),
    "fewer units (8)": Way(units=8),
    "weight decay": Way(decay=0.003),
    "dropout": Way(dropout=0.2),
    "early stopping": Way(stops=True),
}


def _remedies(quick: bool) -> Result:
    runs, steps = (2, 20) if quick else (20, 1000)
    found = {name: _tried(way, runs, steps) for name, way in WAYS.items()}
    return {"settings": {"runs": runs, "steps": steps, "noise": NOISE, "test": TEST}, "found": found}


def _tried(way: Way, runs: int, steps: int) -> Result:
    """Mean square errors of many fits side by side, each of points of its own: in training, and against the truth."""
    chance = torch.Generator().manual_seed(0)
    x, y = _drawn(runs, way.points, chance)
    other, other_y = _drawn(runs, 8, chance)
    grid = torch.linspace(-1, 1, TEST)[None, :, None].expand(runs, -1, -1)
    sizes = (1, way.units), (way.units, way.units), (way.units, 1)
    weights = [(torch.randn(runs, a, b, generator=chance) * math.sqrt(2 / a)).requires_grad_() for a, b in sizes]
    biases = [(torch.randn(runs, 1, b, generator=chance) * 0.5).requires_grad_() for _, b in sizes]
    adam = torch.optim.AdamW([*weights, *biases], lr=0.003, weight_decay=way.decay / 0.003)
    best, kept = torch.full((runs,), math.inf), torch.zeros(2, runs)
    for step in range(steps):
        if step % 20 == 0 or step == steps - 1:
            with torch.no_grad():
                now = torch.stack([_error(weights, biases, x, y), _error(weights, biases, grid, truth(grid))])
                at_others = _error(weights, biases, other, other_y)
            better = (at_others < best) if way.stops else torch.ones(runs, dtype=torch.bool)
            kept[:, better], best[better] = now[:, better], at_others[better]
        adam.zero_grad()
        _error(weights, biases, x, y, way.dropout, chance).sum().backward()
        adam.step()
    return {"train": kept[0].tolist(), "truth": kept[1].tolist()}


def truth(x: Tensor) -> Tensor:
    """The parabola without noise."""
    a, b, c = DEGREE
    return a + b * x + c * x.square()


def _drawn(runs: int, count: int, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    x = 2 * torch.rand(runs, count, 1, generator=chance) - 1
    return x, truth(x) + NOISE * torch.randn(x.shape, generator=chance)


def _error(
    weights: list[Tensor],
    biases: list[Tensor],
    x: Tensor,
    y: Tensor,
    p: float = 0.0,
    chance: torch.Generator | None = None,
) -> Tensor:
    """(runs,) mean squares of what networks with two hidden layers of ReLUs say, less ``y``."""
    for layer, (w, b) in enumerate(zip(weights, biases)):
        x = x @ w + b
        if layer < len(weights) - 1:
            x = x.relu()
            if p:
                x = x * (torch.rand(x.shape, generator=chance) >= p) / (1 - p)
    return (x - y).square().mean((1, 2))


def _remedies_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"Points of a parabola with noise of standard deviation {s['noise']:g}, {WAYS['nothing'].points} of them; networks "
        f"with two hidden layers of {WAYS['nothing'].units} ReLUs, {s['steps']:,} steps of Adam on all points. {s['runs']} "
        f"draws of points; the error is the mean square against the parabola without noise at {s['test']} places. Early "
        "stopping looks at eight more points; fewer units are eight in each layer. A remedy helps where it is better in so "
        f"many of the draws as luck alone is in one of forty times ({LUCK} of {s['runs']})."
    )


def _remedies_verdict(result: Result) -> Verdict:
    middle = {name: median(found["truth"]) for name, found in result["found"].items()}
    train, runs = median(result["found"]["nothing"]["train"]), result["settings"]["runs"]
    wins = {name: _wins(result["found"], name) for name in middle if name != "nothing"}
    told = ", ".join(f"{name} {middle[name]:.3f} (better in {won} of {runs})" for name, won in wins.items())
    says = f"the median error is {middle['nothing']:.3f} with no remedy (on the points {train:.4f}), and with {told}"
    some = [name for name, won in wins.items() if won >= LUCK]
    if len(some) == len(WAYS) - 1:
        return Verdict("holds", says)
    return Verdict(f"holds only for {', '.join(some)}" if some else "does not hold", says)


def _wins(found: dict[str, Result], name: str) -> int:
    """Draws in which the error is smaller than with no remedy."""
    return sum(a < b for a, b in zip(found[name]["truth"], found["nothing"]["truth"]))


def _remedies_chart(result: Result) -> str:
    lines = []
    for number, (name, found) in enumerate(result["found"].items()):
        values = sorted(found["truth"])
        lines.append(
            Series(name, points([i / (len(values) - 1) for i in range(len(values))], values), every=3 + number % 2)
        )
    y = decades("mean square error", [value for line in lines for _, value in line.points])
    return chart(evenly("share of the draws, best first", 0, 1, 5, "{:.0%}".format), y, lines)


# ------------------------------------------------------------------------------------ a choice by the rows that judge it

CHOICES = (1, 3, 10, 30, 100, 300, 1000)


def _chosen(quick: bool) -> Result:
    rows, truly, runs = 200, 0.7, 50 if quick else 2000
    chance = torch.Generator().manual_seed(0)
    gaps: dict[str, list[float]] = {"the rows that judge": [], "other rows": []}
    for models in CHOICES:
        tries = torch.full((2, runs, models), float(rows))
        judged, chosen_by = (torch.binomial(tries, torch.full_like(tries, truly), generator=chance) / rows).unbind()
        gaps["the rows that judge"].append(float(judged.amax(1).mean()) - truly)
        picked = chosen_by.argmax(1, keepdim=True)
        gaps["other rows"].append(float(judged.gather(1, picked).mean()) - truly)
    return {"settings": {"rows": rows, "truly": truly, "runs": runs}, "gaps": gaps}


def _chosen_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"Models that are all right on {s['truly']:.0%} of whatever they see, which makes every choice among them luck. Each "
        f"is scored on {s['rows']} rows that judge and on as many others; the best by the one or by the other is then told "
        f"by its score on the rows that judge. Mean of {s['runs']:,} draws."
    )


def _chosen_verdict(result: Result) -> Verdict:
    same, other = result["gaps"]["the rows that judge"], result["gaps"]["other rows"]
    says = (
        f"the best of {CHOICES[-1]:,} by the rows that judge is told to be {100 * same[-1]:.1f} points better than it is (of "
        f"10: {100 * same[CHOICES.index(10)]:.1f}), the best by other rows {abs(100 * other[-1]):.2f} points off"
    )
    return holds(same[-1] > 0.03 and max(map(abs, other)) < 0.01, says)


def _chosen_chart(result: Result) -> str:
    lines = [Series(f"chosen by {name}", points(CHOICES, gaps)) for name, gaps in result["gaps"].items()]
    high = math.ceil(20 * max(result["gaps"]["the rows that judge"])) / 20
    y = evenly("told less true accuracy", -0.05, high, round(20 * (high + 0.05)), "{:.2f}".format)
    return chart(at("models to choose from", CHOICES), y, lines)


# ------------------------------------------------------------------------------------------- dropout of inputs, and ridge

DROPS = (0.1, 0.3, 0.5, 0.7, 0.9)


def ridge(x: Tensor, y: Tensor, p: float) -> Tensor:
    """The minimum of the loss that dropout has in the mean: ‖y − x w‖² + p / (1 − p) Σ_j ‖x_j‖² w_j²."""
    square = x.T @ x
    return torch.linalg.solve(square + p / (1 - p) * square.diagonal().diag(), x.T @ y)


def _dropout(quick: bool) -> Result:
    seeds, steps, rows, columns = (1, 20, 100, 5) if quick else (SEEDS, 20_000, 100, 5)
    found = [_dropped(seed, steps, (rows, columns)) for seed in range(seeds)]
    return {"settings": {"steps": steps, "rows": rows, "columns": columns}, "seeds": seeds, "found": found}


def _dropped(seed: int, steps: int, size: tuple[int, int]) -> list[Result]:
    """For each share dropped: how far the weights of descent with dropout are from ridge, and from least squares, as shares
    of the length of the latter."""
    chance = torch.Generator().manual_seed(seed)
    x = (
        torch.randn(size, generator=chance, dtype=torch.float64)
        @ torch.randn(size[1], size[1], generator=chance).double()
    )
    y = x @ torch.randn(size[1], generator=chance).double() + torch.randn(size[0], generator=chance).double()
    plain = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    p = torch.tensor(DROPS, dtype=torch.float64)[:, None, None]
    rate = 0.2 / float(torch.linalg.matrix_norm(x, 2) ** 2) * (1 - p[:, 0])
    w, kept = torch.zeros(2, len(DROPS), size[1], dtype=torch.float64).unbind()
    for step in range(steps):
        seen = x * (torch.rand(len(DROPS), *size, generator=chance) >= p) / (1 - p)
        w = w - rate * (((seen @ w[..., None])[..., 0] - y)[:, None] @ seen)[:, 0]
        if step >= steps // 2:
            kept = kept + w / (steps - steps // 2)  # the mean of the later half: single steps are noisy
    return [
        {
            "ridge": float((mine - ridge(x, y, share)).norm() / plain.norm()),
            "least squares": float((mine - plain).norm() / plain.norm()),
        }
        for mine, share in zip(kept, DROPS)
    ]


def _dropout_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"A linear model of {s['columns']} correlated columns, {s['rows']} rows. Inputs are dropped with probability p and "
        f"the others divided by 1 − p, anew in each of {s['steps']:,} steps of descent on all rows; the mean weights of the "
        "later half are compared with the closed forms of ridge regression, whose penalty on w_j is p / (1 − p) ‖x_j‖², and "
        f"of least squares. {result['seeds']} seeds."
    )


def _dropout_verdict(result: Result) -> Verdict:
    far = {
        name: [max(run[i][name] for run in result["found"]) for i in range(len(DROPS))]
        for name in ("ridge", "least squares")
    }
    near = {name: [min(run[i][name] for run in result["found"]) for i in range(len(DROPS))] for name in far}
    says = (
        f"the distance from the weights of ridge is at most {max(far['ridge']):.3f} of the length of the least-squares "
        f"weights, and that from least squares {near['least squares'][0]:.2f} to {far['least squares'][-1]:.2f}"
    )
    return holds(all(10 * a < b for a, b in zip(far["ridge"], near["least squares"])), says)


def _dropout_chart(result: Result) -> str:
    lines = []
    for name in ("ridge", "least squares"):
        middle, ends = spread([[cell[name] for cell in run] for run in result["found"]])
        lines.append(Series(f"from {name}", points(DROPS, middle), ends))
    y = decades("distance of the weights", [value for line in lines for ends in line.spread for value in ends])
    return chart(evenly("share dropped, p", 0, 1, 5, "{:.1f}".format), y, lines)


# --------------------------------------------------------------------------------------------------- classes as numbers

SETS: dict[str, tuple[Callable[[], tuple[np.ndarray, np.ndarray]], tuple[int, ...]]] = {
    "iris, 0 1 2": (lambda: load_iris(return_X_y=True), (0, 1, 2)),
    "iris, 1 0 2": (lambda: load_iris(return_X_y=True), (1, 0, 2)),
    "iris, 0 2 1": (lambda: load_iris(return_X_y=True), (0, 2, 1)),
    "digits": (lambda: load_digits(return_X_y=True), tuple(range(10))),
}


def _codes(quick: bool) -> Result:
    seeds = 2 if quick else 10
    found = {name: [_coded(name, seed) for seed in range(seeds)] for name in SETS}
    return {"settings": {"held_out": 0.3}, "seeds": seeds, "found": found}


def _coded(name: str, seed: int) -> dict[str, float]:
    """Accuracy on three tenths of the rows of a line to the class's number, rounded, and of softmax."""
    load, order = SETS[name]
    x, y = load()
    y = np.array(order)[y]
    rows = np.random.default_rng(seed).permutation(len(y))
    held, rest = rows[: round(0.3 * len(y))], rows[round(0.3 * len(y)) :]
    centre, scale = x[rest].mean(0), x[rest].std(0)
    x = (x - centre) / np.where(scale > 0, scale, 1)
    line = LinearRegression().fit(x[rest], y[rest]).predict(x[held]).round().clip(0, y.max())
    softmax = LogisticRegression(max_iter=2000).fit(x[rest], y[rest]).predict(x[held])
    return {"number": float((line == y[held]).mean()), "softmax": float((softmax == y[held]).mean())}


def _codes_method(result: Result) -> str:
    return (
        "scikit-learn's iris, whose three species are numbered in three orders, and its digits. A linear model is fitted to "
        "the class's number, and what it says is rounded; or softmax gives each class a score of its own. Accuracy on three "
        f"tenths of the rows, {result['seeds']} random divisions; iris 0 1 2 is the usual order, in which versicolor stands "
        "between setosa and virginica, as its flowers do."
    )


def _codes_verdict(result: Result) -> Verdict:
    both = {n: {k: [c[k] for c in cells] for k in ("number", "softmax")} for n, cells in result["found"].items()}
    says = "; ".join(
        f"{n}: as a number {mean(c['number'], 2)}, softmax {mean(c['softmax'], 2)}" for n, c in both.items()
    )
    gap = {n: float(np.mean(c["softmax"]) - np.mean(c["number"])) for n, c in both.items()}
    others = [value for name, value in gap.items() if name != "iris, 0 1 2"]
    if min(gap.values()) > 0.05:
        return Verdict("holds", says)
    return Verdict("holds only where the classes have no such order" if min(others) > 0.05 else "does not hold", says)


def _codes_chart(result: Result) -> str:
    lines = []
    for key, name in (("number", "as one number"), ("softmax", "softmax")):
        middle, ends = spread([[cell[key] for cell in cells] for cells in zip(*result["found"].values())])
        lines.append(Series(name, points(range(len(SETS)), middle), ends, joined=False))
    x = Axis(
        "data, and the numbers of their classes",
        -0.5,
        len(SETS) - 0.5,
        tuple((float(i), n) for i, n in enumerate(SETS)),
    )
    return chart(x, evenly("test accuracy", 0, 1, 5, "{:.0%}".format), lines)


EXPERIMENTS = {
    "sigmoids": Experiment(
        "A curve, of sigmoids",
        "A line cannot follow a curve; a sum of sigmoids can, the closer the more there are (Cybenko 1989).",
        _sigmoids,
        _sigmoids_method,
        _sigmoids_verdict,
        _sigmoids_chart,
    ),
    "remedies": Experiment(
        "Few points, and what helps",
        "A flexible network fits a few noisy points too closely; more points, fewer units, weight decay, dropout and early "
        "stopping each make its error elsewhere smaller.",
        _remedies,
        _remedies_method,
        _remedies_verdict,
        _remedies_chart,
    ),
    "chosen": Experiment(
        "A choice by the rows that judge it",
        "The best of many models by the test set looks better than it is; chosen by other rows, it is told as it is (Dwork "
        "et al. 2015).",
        _chosen,
        _chosen_method,
        _chosen_verdict,
        _chosen_chart,
    ),
    "dropout_ridge": Experiment(
        "Dropout of inputs, and ridge",
        "Dropout on the inputs of a linear model is, in the mean, ridge regression (Srivastava et al. 2014, Sec. 9.1; Wager "
        "et al. 2013).",
        _dropout,
        _dropout_method,
        _dropout_verdict,
        _dropout_chart,
    ),
    "codes": Experiment(
        "Classes as numbers",
        "To give classes numbers and fit these says that class 1 lies between 0 and 2; a score for each class says nothing "
        "of the kind, and is right more often.",
        _codes,
        _codes_method,
        _codes_verdict,
        _codes_chart,
    ),
}
