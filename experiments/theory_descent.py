"""The ways down: what the loss, its surface and the data do to gradient descent, and what its variants do about it.

Robbins and Monro 1951 (noise), Polyak 1964 (momentum), LeCun et al. 1998, "Efficient BackProp" (inputs on one scale), Golik
et al. 2013 (cross-entropy and squared error), Duchi et al. 2011 (Adagrad), Tieleman and Hinton 2012 (RMSProp), Kingma and Ba
2015 (Adam).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from torch import Tensor

from charts import Series, at, chart, decades, evenly, panels
from theory_form import SEEDS, Experiment, Result, Verdict, holds, points, spread

# ------------------------------------------------------------------------------------------------ two losses, far from right

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": lambda logits, true: F.cross_entropy(logits, true, reduction="none"),
    "squared error": lambda logits, true: (logits.softmax(1) - F.one_hot(true, logits.shape[1])).square().sum(1),
}
WRONG = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)  # by how much the logit of a wrong class is the larger
RIGHT = 0.9  # probability of the true class from which it counts as found


def _losses(quick: bool) -> Result:
    most = 50 if quick else 100_000
    found = {name: _from_wrong(loss, most) for name, loss in LOSSES.items()}
    return {"settings": {"wrong": WRONG, "rate": 1.0, "right": RIGHT, "most": most}, "found": found}


def _from_wrong(loss: Callable[[Tensor, Tensor], Tensor], most: int) -> Result:
    """Lengths of the first gradient with respect to three logits, and steps of rate 1 until the true class is found."""
    logits = torch.tensor([[0.0, by, 0.0] for by in WRONG], dtype=torch.float64)
    true = torch.zeros(len(WRONG), dtype=torch.int64)
    first, steps = slope(loss, logits, true).norm(dim=1), torch.full((len(WRONG),), most)
    for step in range(most):
        found = logits.softmax(1)[:, 0] >= RIGHT
        steps[found] = steps[found].clamp(max=step)
        if bool(found.all()):
            break
        logits = logits - slope(loss, logits, true)
    return {"slope": first.tolist(), "steps": steps.tolist()}


def slope(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, true: Tensor) -> Tensor:
    """The gradient of each row's own loss."""
    logits = logits.detach().requires_grad_()
    (found,) = torch.autograd.grad(loss(logits, true).sum(), logits)
    return found


def _losses_method(result: Result) -> str:
    s = result["settings"]
    return (
        "Three logits; that of a wrong class begins larger than the others by the number on the axis. The length of the "
        f"gradient with respect to the logits, and plain gradient descent at rate {s['rate']:g} until the true class has a "
        f"probability of {s['right']:g}. The squared error is between the softmax's probabilities and a one."
    )


def _losses_verdict(result: Result) -> Verdict:
    cross, squared = (result["found"][name] for name in LOSSES)
    ratio = cross["slope"][-1] / squared["slope"][-1]
    says = (
        f"where the wrong logit is larger by {WRONG[-1]:g}, the gradient of cross-entropy is {cross['slope'][-1]:.2f} and "
        f"that of squared error {squared['slope'][-1]:.1e}; the true class is found after {cross['steps'][-1]:,} steps and "
        f"after {squared['steps'][-1]:,}. From equal logits it takes {cross['steps'][0]} and {squared['steps'][0]}"
    )
    return holds(ratio > 100 and cross["steps"][-1] < squared["steps"][-1], says)


def _losses_chart(result: Result) -> str:
    lines = [
        Series(name, points(WRONG, [max(value, 1e-6) for value in found["slope"]]))
        for name, found in result["found"].items()
    ]
    y = decades("length of the gradient", [value for line in lines for _, value in line.points])
    return chart(evenly("logit of the wrong class, above the others", 0, 9, 9, "{:g}".format), y, lines)


# ---------------------------------------------------------------------------------------------- noise, and a shallow minimum

BATCHES = (1, 2, 4, 8, 256)  # rows; the last are all: descent without noise
TILTS = 9.0  # standard deviation of the rows' own slopes
SHALLOW, HILL = 0.96, 0.08


def well(w: Tensor) -> Tensor:
    """The slope of (w² − 1)² + 0.3 w: a deep minimum near −1.04, a shallow one near 0.96, a hill between them at 0.08."""
    return 4 * w * (w.square() - 1) + 0.3


def _noise(quick: bool) -> Result:
    seeds, steps, runs, rate = (1, 20, 20, 0.02) if quick else (SEEDS, 3000, 500, 0.02)
    left = [[_left(batch, seed, (steps, runs), rate) for batch in BATCHES] for seed in range(seeds)]
    return {"settings": {"steps": steps, "runs": runs, "rate": rate}, "seeds": seeds, "left": left}


def _left(batch: int, seed: int, size: tuple[int, int], rate: float) -> float:
    """Share of the runs, all begun in the shallow minimum, that end in the deep one; the rate falls to 0."""
    chance, (steps, runs) = torch.Generator().manual_seed(seed), size
    tilts = torch.randn(BATCHES[-1], generator=chance) * TILTS
    tilts -= tilts.mean()  # each row tilts the surface its own way; the mean of all is the surface
    w = torch.full((runs,), SHALLOW)
    for step in range(steps):
        drawn = torch.randint(len(tilts), (runs, batch), generator=chance)
        tilt = tilts[drawn].mean(1) if batch < len(tilts) else tilts.mean()
        w = w - rate * (1 - step / steps) * (well(w) + tilt)
    return float((w < HILL).double().mean())


def _noise_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"The loss is the mean over {BATCHES[-1]} rows of (w² − 1)² + 0.3 w + t w, each with a slope t of its own (standard "
        f"deviation {TILTS:g}, mean 0). {s['runs']} runs begin in the shallow minimum, and take {s['steps']:,} steps whose "
        f"rate falls from {s['rate']:g} to 0 on a straight line. {result['seeds']} seeds."
    )


def _noise_verdict(result: Result) -> Verdict:
    middle, ends = spread(result["left"])
    told = [f"{n} rows {share:.0%}" for n, share in zip(BATCHES[:-1], middle)]
    says = f"in the deep minimum end, with batches of {', '.join(told)} of the runs; with all rows {middle[-1]:.0%}"
    if not (ends[0][0] > 0.5 and ends[-1][1] == 0):
        return Verdict("does not hold", says)
    still = [n for n, share in zip(BATCHES[:-1], middle) if share < 0.5]
    return Verdict(f"holds only where batches are smaller than {still[0]} rows" if still else "holds", says)


def _noise_chart(result: Result) -> str:
    middle, ends = spread(result["left"])
    line = Series("runs in the deep minimum", points(BATCHES, middle), ends)
    return chart(at("rows of a batch", BATCHES), evenly("share of the runs", 0, 1, 5, "{:.0%}".format), [line])


# ------------------------------------------------------------------------------------------------------ momentum, and a dip

COEFFICIENTS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
HEIGHTS = torch.arange(0.25, 6.25, 0.01, dtype=torch.float64)  # of a bump on an even way down
SLOPE, PLACE, WIDTH, PAST = 0.3, 5.0, 0.5, 8.0


def dips(heights: Tensor) -> Tensor:
    """How far −SLOPE w + height exp(−((w − PLACE) / WIDTH)² / 2) has to be climbed, for one who comes from 0."""
    line = torch.linspace(0, PAST, 4001, dtype=torch.float64)[:, None]
    values = -SLOPE * line + heights * torch.exp(-((line - PLACE) / WIDTH).square() / 2)
    bump = int((line < PLACE - WIDTH).sum())
    top, place = values[bump:].max(0)
    return top - values.cummin(0).values[bump + place, torch.arange(len(heights))]


def _momentum(quick: bool) -> Result:
    steps, rate = 20 if quick else 3000, 0.1
    mu = torch.tensor(COEFFICIENTS, dtype=torch.float64)[:, None]
    w, speed = torch.zeros(2, len(COEFFICIENTS), len(HEIGHTS), dtype=torch.float64).unbind()
    for _ in range(steps):
        push = HEIGHTS * torch.exp(-((w - PLACE) / WIDTH).square() / 2) * (w - PLACE) / WIDTH**2
        speed = mu * speed + SLOPE + push
        w = (w + rate * speed).clamp(max=PAST)
    depth = dips(HEIGHTS)
    passed = [max([0.0, *depth[row >= PAST].tolist()]) for row in w]
    return {"settings": {"steps": steps, "rate": rate}, "passed": passed, "deepest": float(depth.max())}


def _momentum_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"On an even way down (slope {SLOPE:g}) stands a bump, before which lies a dip; {len(HEIGHTS)} bumps, the deepest "
        f"dip being {result['deepest']:.1f}. Gradient descent with momentum, v ← μ v − f′(w), w ← w + {s['rate']:g} v, "
        f"begins at rest far before it and takes {s['steps']:,} steps. It comes to the dip with a v of {SLOPE:g} / (1 − μ)."
    )


def _momentum_verdict(result: Result) -> Verdict:
    passed = dict(zip(COEFFICIENTS, result["passed"]))
    told = ", ".join(f"{mu:g}: {depth:.3f}" for mu, depth in passed.items())
    says = f"the deepest dip that is passed, by the momentum μ, is {told}"
    if not passed[0.9] > passed[0.0]:
        return Verdict("does not hold", says)
    whole = passed[0.9] >= result["deepest"]
    return Verdict("holds" if whole else "holds only where the dip is shallow", says)


def _momentum_chart(result: Result) -> str:
    high = math.ceil(10 * max(result["passed"])) / 10 or 0.1
    line = Series("deepest dip passed", points(COEFFICIENTS, result["passed"]))
    y = evenly("deepest dip that is passed", 0, high, 5, "{:.2g}".format)
    return chart(evenly("momentum μ", 0, 1, 5, "{:.1f}".format), y, [line])


# ----------------------------------------------------------------------------------------------------------------- a valley

METHODS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "gradient descent": torch.optim.SGD,
    "momentum 0.9": partial(torch.optim.SGD, momentum=0.9),
    "Adagrad": torch.optim.Adagrad,
    "RMSProp": torch.optim.RMSprop,
    "Adam": torch.optim.Adam,
}
ADAPTIVE = ("Adagrad", "RMSProp", "Adam")
CONDITIONS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # κ: the steep side is so many times as steep
RATES = [10 ** (-2.5 + 0.25 * i) for i in range(14)]
BEGIN, NEAR = (1.0, 0.6), 0.01  # two coordinates; both at most so large where the minimum counts as reached


def _valley(quick: bool) -> Result:
    steps = 20 if quick else 3000
    found = {name: _reached(method, steps) for name, method in METHODS.items()}
    settings = {"steps": steps, "conditions": CONDITIONS, "rates": [RATES[0], RATES[-1]], "near": NEAR}
    return {"settings": settings, "found": found}


def _reached(method: Callable[..., torch.optim.Optimizer], steps: int) -> list[list[int]]:
    """(2 directions, conditions): steps until both coordinates are near 0, at the rate that is best there."""
    turn = math.sqrt(0.5) * torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)
    axes = torch.stack([torch.eye(2, dtype=torch.float64), turn])[
        :, None
    ]  # (2, 1, 2, 2): from the weights to the valley
    steep = torch.tensor([[1.0, 1 / k] for k in CONDITIONS], dtype=torch.float64)
    best = torch.full((2, len(CONDITIONS)), steps)
    for rate in RATES:
        start = torch.tensor(BEGIN, dtype=torch.float64).expand(2, len(CONDITIONS), 2)
        weights = (axes.mT @ start[..., None])[..., 0].clone().requires_grad_()
        optimiser = method([weights], lr=rate)
        for step in range(steps):
            inside = (axes @ weights.detach()[..., None])[..., 0]  # along the valley's own axes
            there = inside.abs().amax(-1) <= NEAR
            best[there] = best[there].clamp(max=step)
            if bool((best <= step).all()):
                break  # no later step is better
            weights.grad = (axes.mT @ (steep * inside)[..., None])[..., 0]
            optimiser.step()
    return best.tolist()


def _valley_method(result: Result) -> str:
    s = result["settings"]
    low, high = s["rates"]
    return (
        "f = ½ (a² + b² / κ), where a and b are the weights themselves, or are turned by 45° against them; from a = "
        f"{BEGIN[0]} and b = {BEGIN[1]} until both are at most {s['near']:g}, in at most {s['steps']:,} steps. For each "
        f"method and each valley the best of {len(RATES)} rates between {low:.3g} and {high:.3g}, constant; all other "
        "settings are torch's defaults."
    )


def _valley_verdict(result: Result) -> Verdict:
    found, most, told = result["found"], result["settings"]["steps"], []
    for number, way in enumerate(("along the axes", "turned")):
        last = {name: found[name][number][-1] for name in METHODS}
        steps = [f"{name} {n:,}" if n < most else f"{name} more than {n:,}" for name, n in last.items()]
        told.append(f"{', '.join(steps)} ({way})")
    says = f"steps until the minimum where κ = {CONDITIONS[-1]:g}: {'; '.join(told)}"
    plain = found["gradient descent"]
    better = [all(2 * found[name][number][-1] < plain[number][-1] for name in ADAPTIVE) for number in range(2)]
    if all(better):
        return Verdict("holds", says)
    return Verdict("holds only where the valley lies along the axes" if better[0] else "does not hold", says)


def _valley_chart(result: Result) -> str:
    drawn = []
    for number, way in enumerate(("along the axes", "turned by 45°")):
        ways = {name: [max(1, steps) for steps in found[number]] for name, found in result["found"].items()}
        drawn.append((way, [Series(name, points(CONDITIONS, steps)) for name, steps in ways.items()]))
    y = decades("steps", [1, result["settings"]["steps"]])
    return panels(decades("κ", CONDITIONS), y, drawn)


# ------------------------------------------------------------------------------------------------ inputs on unlike scales

CONSTANT = [10.0 ** (-10 + 0.5 * i) for i in range(24)]


def _scales(quick: bool) -> Result:
    steps, looks = (20, 2) if quick else (1000, 50)
    data = load_breast_cancer()
    x, y = torch.tensor(data.data), torch.tensor(data.target, dtype=torch.float64)
    ways = {"as measured": x - x.mean(0), "standardised": (x - x.mean(0)) / x.std(0)}
    found = {name: _fitted(rows, y, steps, looks) for name, rows in ways.items()}
    spreads = x.std(0)
    settings = {"steps": steps, "looks": looks, "rows": len(x), "columns": x.shape[1]}
    return {"settings": settings | {"scales": [float(spreads.min()), float(spreads.max())]}, "found": found}


def _fitted(x: Tensor, y: Tensor, steps: int, looks: int) -> Result:
    """Logistic regression by gradient descent on all rows, at the rate that ends lowest."""
    rates = torch.tensor(CONSTANT, dtype=torch.float64)
    w, bias = torch.zeros(x.shape[1], len(rates), dtype=torch.float64), torch.zeros(len(rates), dtype=torch.float64)
    curve = []
    for step in range(steps + 1):
        logits = x @ w + bias
        if step % (steps // looks) == 0:
            curve.append(
                F.binary_cross_entropy_with_logits(logits, y[:, None].expand_as(logits), reduction="none").mean(0)
            )
        away = (logits.sigmoid() - y[:, None]) / len(y)
        w, bias = w - rates * (x.T @ away), bias - rates * away.sum(0)
    best = int(curve[-1].nan_to_num(math.inf).argmin())
    return {"rate": CONSTANT[best], "loss": [float(losses[best]) for losses in curve]}


def _scales_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"Logistic regression on scikit-learn's breast-cancer table ({s['rows']} rows, {s['columns']} columns, whose "
        f"standard deviations go from {s['scales'][0]:.2g} to {s['scales'][1]:.3g}), by gradient descent on all rows from "
        f"zero weights, {s['steps']:,} steps; for each way the constant rate of {len(CONSTANT)} that ends at the lowest "
        "loss. Columns are centred in both; standardised ones are also divided by their standard deviation."
    )


def _scales_verdict(result: Result) -> Verdict:
    s = result["settings"]
    raw, same = (result["found"][name]["loss"] for name in ("as measured", "standardised"))
    sooner = next((i for i, loss in enumerate(same) if loss <= raw[-1]), None)
    when = "never" if sooner is None else f"by step {sooner * (s['steps'] // s['looks'])}"
    says = (
        f"after {s['steps']:,} steps the loss is {raw[-1]:.3f} on the columns as measured and {same[-1]:.3f} on standardised "
        f"ones, which were as low as the former {when}"
    )
    return holds(sooner is not None and 10 * sooner <= s["looks"], says)


def _scales_chart(result: Result) -> str:
    s = result["settings"]
    steps = [i * (s["steps"] // s["looks"]) for i in range(s["looks"] + 1)]
    lines = [Series(name, points(steps, found["loss"]), every=10) for name, found in result["found"].items()]
    y = decades("loss, nats", [value for line in lines for _, value in line.points])
    return chart(evenly("step", 0, s["steps"], 5, "{:g}".format), y, lines)


EXPERIMENTS = {
    "losses": Experiment(
        "Two losses, far from right",
        "Where a classifier is far from right, cross-entropy still has a slope, and the squared error of its probabilities "
        "has nearly none (Golik et al. 2013).",
        _losses,
        _losses_method,
        _losses_verdict,
        _losses_chart,
    ),
    "noise": Experiment(
        "Noise, and a shallow minimum",
        "Descent on all rows stays in the minimum in which it begins; the noise of small batches leads out of a shallow one.",
        _noise,
        _noise_method,
        _noise_verdict,
        _noise_chart,
    ),
    "momentum": Experiment(
        "Momentum, and a dip",
        "Momentum carries descent through a dip in which gradient descent alone stays (Polyak 1964).",
        _momentum,
        _momentum_method,
        _momentum_verdict,
        _momentum_chart,
    ),
    "valley": Experiment(
        "A valley, and a rate for each weight",
        "In a valley that is much steeper across than along, methods with a rate for each weight are far faster than one "
        "rate for all (Duchi et al. 2011; Tieleman and Hinton 2012; Kingma and Ba 2015).",
        _valley,
        _valley_method,
        _valley_verdict,
        _valley_chart,
    ),
    "scales": Experiment(
        "Inputs on unlike scales",
        "Gradient descent is slow where the inputs have unlike scales, and fast where each is standardised (LeCun et al. "
        "1998).",
        _scales,
        _scales_method,
        _scales_verdict,
        _scales_chart,
    ),
}
