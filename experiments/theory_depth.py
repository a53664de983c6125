"""How depth is borne: small fully connected networks of several depths on scikit-learn's digits, 8 × 8 pixels.

Glorot and Bengio 2010; He et al. 2015; Ioffe and Szegedy 2015; He et al. 2016; Veit et al. 2016; Keskar et al. 2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

import theory_flat
from charts import Axis, Series, at, chart, evenly, panels
from deep import MOMENTUM, ROWS, TRAIN, WIDTH, Arm, Deep, digits, right, trained
from sequences import mean
from theory_form import SEEDS, Experiment, Result, Verdict, points, spread

RATES = (0.001, 0.01, 0.1)
LEARNED = 0.9  # training accuracy from which on a network counts as having learned
ARMS = {
    "N(0, 0.01²)": Arm(std=0.01),
    "He": Arm(),
    "He, batch norm.": Arm(normalised=True),
    "He, residual": Arm(residual=True),
    "He, both": Arm(normalised=True, residual=True),
}


def _best(found: Tensor) -> tuple[int, list[list[float]]]:
    """Of (looks, rates, seeds) accuracies those of the rate that ends best: its number, and (seeds, looks)."""
    rate = int(found[-1].mean(1).argmax())
    return rate, found[:, rate].T.tolist()


# --------------------------------------------------------------------------------------------------------------- depth


def _depth(quick: bool) -> Result:
    depths, steps, seeds = ((2, 4), 2, 1) if quick else ((2, 4, 8, 16, 32, 64), 240, SEEDS)
    found = []
    for name, arm in ARMS.items():
        for depth in depths:
            _, scores = trained(arm, depth, seeds=seeds, rates=RATES, length=(steps, 1))
            rate, best = _best(scores)
            found.append({"arm": name, "depth": depth, "rate": RATES[rate], "accuracy": [run[-1] for run in best]})
    settings = {"depths": depths, "steps": steps, "rows": ROWS, "width": WIDTH, "rates": RATES, "momentum": MOMENTUM}
    return {"settings": settings, "seeds": seeds, "cells": found}


def _by_arm(result: Result, what: str) -> dict[str, dict[int, list[float]]]:
    """The values of the seeds by arm and depth."""
    found: dict[str, dict[int, list[float]]] = {}
    for cell in result["cells"]:
        found.setdefault(cell["arm"], {})[cell["depth"]] = cell[what]
    return found


def _networks(result: Result) -> str:
    s = result["settings"]
    return (
        f"Scikit-learn's digits, {TRAIN:,} training rows. ReLU networks of {s['width']} units: a first layer, as many as "
        "the depth says, in blocks of two, and a last one. He: N(0, 2 / inputs); residual: a block is ReLU(x + F(x)); "
        "both: with batch normalisation, as He et al. 2016 have it."
    )


def _depth_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"{_networks(result)} {s['steps']} steps of {s['rows']} rows, SGD with momentum {s['momentum']}, for each "
        f"kind and depth the best of the rates {', '.join(f'{rate:g}' for rate in s['rates'])}. {result['seeds']} seeds. A "
        f"network counts as having learned where it tells {100 * LEARNED:.0f} % of the training set, on average of the seeds."
    )


def _depth_verdict(result: Result) -> Verdict:
    found, deepest = _by_arm(result, "accuracy"), max(result["settings"]["depths"])
    means = {arm: {d: sum(v) / len(v) for d, v in by.items()} for arm, by in found.items()}
    reach = {arm: max((d for d, v in by.items() if v >= LEARNED), default=0) for arm, by in means.items()}
    says = "; ".join(
        f"{arm} learns {f'up to depth {reach[arm]}' if reach[arm] else 'at no depth'} (at depth {deepest} it tells "
        f"{mean([100 * v for v in by[deepest]], 0)} %)"
        for arm, by in found.items()
    )
    small, he, *deep = reach.values()
    if not small < he < deepest:
        return Verdict("does not hold", says)
    names = ("there is batch normalisation", "there are residual connections", "both come together")
    able = [name for name, depth in zip(names, deep) if depth == deepest]
    if len(able) == len(names):
        return Verdict("holds", says)
    return Verdict(f"holds only where {' or '.join(able)}" if able else "does not hold", says)


def _depth_chart(result: Result) -> str:
    series = []
    for arm, by in _by_arm(result, "accuracy").items():
        middle, ends = spread(list(zip(*by.values())))
        series.append(Series(arm, points(by, middle), ends))
    y = evenly("accuracy on the training set", 0, 1, 5, "{:g}".format)
    return chart(at("depth", result["settings"]["depths"]), y, series)


# ----------------------------------------------------------------------------------------------------------- gradients

STEADY = 0.9, 1.1  # by how much a gradient may change from layer to layer and still be called steady
FLOOR = 1e-12  # of the plot


def ratio(losses: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """(runs,) the norm of the gradient by the first, as a multiple of that by the last: tensors (runs, …)."""
    gradients = torch.autograd.grad(losses.sum(), (first, last), retain_graph=True)
    above, below = (gradient.flatten(1).norm(dim=1) for gradient in gradients)
    return above / below


def _gradients(quick: bool) -> Result:
    depths, seeds = ((2, 4), 2) if quick else ((2, 4, 8, 16, 32, 64), 10)
    x, y = digits()
    found = []
    for name, arm in ARMS.items():
        for depth in depths:
            # float64: in float32 the smallest of these gradients would be 0.
            model = Deep(arm, depth, seeds, torch.Generator().manual_seed(0)).double()
            outputs: list[Tensor] = []
            rows = x[: 4 * ROWS].double().T.expand(seeds, -1, -1)
            scores = model(rows, outputs=outputs)
            losses = F.cross_entropy(scores, y[: 4 * ROWS].expand(seeds, -1), reduction="none").mean(1)
            back = ratio(losses, outputs[0], outputs[-1])
            weights = ratio(losses, model.weights[1], model.weights[depth])
            found.append({"arm": name, "depth": depth, "back": back.tolist(), "weights": weights.tolist()})
    return {"settings": {"depths": depths, "rows": 4 * ROWS, "width": WIDTH}, "seeds": seeds, "cells": found}


def _middle(values: Sequence[float]) -> float:
    """The geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def _gradients_method(result: Result) -> str:
    return (
        f"{_networks(result)} Before training, on {result['settings']['rows']} rows: the norm of the gradient of the loss "
        "by what the first layer gives before its ReLU, as a multiple of that by what the last hidden layer gives; "
        f"geometric mean and range over {result['seeds']} seeds, in float64. It keeps its size where it changes from layer "
        f"to layer by a factor of {STEADY[0]} to {STEADY[1]}. That batch normalisation makes it grow is what Yang et al. "
        "2019 derive."
    )


def _gradients_verdict(result: Result) -> Verdict:
    deepest = max(result["settings"]["depths"])
    back = {arm: _middle(by[deepest]) for arm, by in _by_arm(result, "back").items()}
    weights = [_middle(by[deepest]) for by in _by_arm(result, "weights").values()]
    layers = {arm: value ** (1 / deepest) for arm, value in back.items()}
    told = [f"{arm}: {value:.1e}, {layers[arm]:.2f} for each layer" for arm, value in back.items()]
    says = (
        f"at depth {deepest} the gradient at the first layer is, as a multiple of that at the last, {'; '.join(told)}. By "
        f"the weights of the layers instead of their outputs it is {'; '.join(f'{value:.1e}' for value in weights)}: where "
        "outputs shrink on their way forward as gradients do on their way back, all layers have equally small ones"
    )
    (_, small), *others = layers.items()
    low, high = STEADY
    steady = [arm for arm, value in others if low <= value <= high]
    if small >= low or not steady:
        return Verdict("does not hold", says)
    if len(steady) == len(others):
        return Verdict("holds", says)
    return Verdict(f"holds only of “{'” and “'.join(steady)}”", says)


def _gradients_chart(result: Result) -> str:
    series, every = [], [1.0]
    for arm, by in _by_arm(result, "back").items():
        shown = {depth: values for depth, values in by.items() if min(values) > FLOOR}
        below = [depth for depth in by if depth not in shown]
        name = f"{arm} (then < {FLOOR:g})" if below else arm
        ends = tuple((min(values), max(values)) for values in shown.values())
        series.append(Series(name, points(shown, map(_middle, shown.values())), ends))
        every += [end for pair in ends for end in pair]
    low, high = (3 * turn(math.log10(end) / 3) for turn, end in ((math.floor, min(every)), (math.ceil, max(every))))
    ticks = tuple((10.0**power, f"1e{power}") for power in range(low, high + 1, 3))
    y = Axis("gradient, first layer / last", 10.0**low, 10.0**high, ticks, logarithmic=True)
    return chart(at("depth", result["settings"]["depths"]), y, series)


# --------------------------------------------------------------------------------------------------------- degradation

NORMALISED = {"plain": ARMS["He, batch norm."], "residual": ARMS["He, both"]}
GAP = 0.01  # of training errors: less is no difference


def _degradation(quick: bool) -> Result:
    depths, steps, looks, seeds, rates = ((2, 4), 4, 2, 1, (0.01,))
    if not quick:
        depths, steps, looks, seeds, rates = (8, 16, 32), 1000, 10, SEEDS, (0.01, 0.03)
    found = []
    for name, arm in NORMALISED.items():
        for depth in depths:
            _, scores = trained(arm, depth, seeds=seeds, rates=rates, length=(steps, looks))
            rate, best = _best(scores)
            errors = [[1 - share for share in run] for run in best]
            found.append({"arm": name, "depth": depth, "rate": rates[rate], "errors": errors})
    settings = {"depths": depths, "steps": steps, "looks": looks, "rows": ROWS, "width": WIDTH, "rates": rates}
    return {"settings": settings, "seeds": seeds, "cells": found}


def _degradation_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"{_networks(result)} All are normalised. {s['steps']:,} steps of {s['rows']} rows, SGD with momentum {MOMENTUM}, "
        f"the best of the rates {', '.join(f'{rate:g}' for rate in s['rates'])}; error on the whole training set. "
        f"{result['seeds']} seeds. A gap counts from {100 * GAP:g} % on; one that was there at the first look and is "
        "closed at the end was a matter of speed alone. Whether one that is left would close after many more steps is not "
        "measured."
    )


def _gaps(result: Result, arm: str, look: int) -> dict[int, float]:
    """How much higher the mean training error of each deeper network is than that of the shallowest."""
    errors = _by_arm(result, "errors")[arm]
    means = {depth: sum(run[look] for run in runs) / len(runs) for depth, runs in errors.items()}
    first = means.pop(min(means))
    return {depth: value - first for depth, value in means.items()}


def _degradation_verdict(result: Result) -> Verdict:
    s = result["settings"]
    told = []
    for arm, by in _by_arm(result, "errors").items():
        ends = [f"{mean([100 * run[-1] for run in runs], 1)} % at depth {depth}" for depth, runs in by.items()]
        told.append(f"{arm}: {', '.join(ends)}")
    says = f"training error after {s['steps']:,} steps, {'; '.join(told)}"
    first, last = (_gaps(result, "plain", look) for look in (1, -1))
    worse = [depth for depth, gap in last.items() if gap > GAP]
    slow = [depth for depth in last if depth not in worse and first[depth] > GAP]
    for depth in slow:
        says += (
            f"; the plain one of depth {depth} was only slower: its error was {100 * first[depth]:.1f} % above that of "
            f"depth {min(s['depths'])} after {s['steps'] // s['looks']} steps, {100 * last[depth]:.1f} % at the end"
        )
    if not worse or max(_gaps(result, "residual", -1).values()) > GAP:
        return Verdict("does not hold", says)
    if len(worse) == len(last):
        return Verdict("holds", says)
    return Verdict(f"holds only from {min(worse)} layers on", says)


def _degradation_chart(result: Result) -> str:
    s, drawn = result["settings"], []
    steps = [i * (s["steps"] // s["looks"]) for i in range(s["looks"] + 1)]
    for arm, by in _by_arm(result, "errors").items():
        series = []
        for depth, runs in by.items():
            middle, ends = spread(runs)
            series.append(Series(f"depth {depth}", points(steps, middle), ends, every=2))
        drawn.append((arm, series))
    return panels(
        evenly("step", 0, s["steps"], 4, "{:g}".format), evenly("training error", 0, 1, 5, "{:g}".format), drawn
    )


# -------------------------------------------------------------------------------------------------------------- lesion


def _lesion(quick: bool) -> Result:
    depth, steps, seeds = (4, 2, 1) if quick else (16, 1000, SEEDS)
    x, y = (part[TRAIN:] for part in digits())
    found = {}
    for name, arm in NORMALISED.items():
        model, _ = trained(arm, depth, seeds=seeds, rates=(0.01,), length=(steps, 1))
        places = [right(model, x, y, without).tolist() for without in range(model.blocks)]
        found[name] = {"whole": right(model, x, y).tolist(), "without": list(zip(*places))}
    settings = {"depth": depth, "steps": steps, "rows": ROWS, "width": WIDTH, "test": len(x), "rate": 0.01}
    return {"settings": settings, "seeds": seeds, "arms": found}


def _lesion_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"{_networks(result)} Depth {s['depth']}, all normalised, {s['steps']:,} steps of {s['rows']} rows, SGD "
        f"{s['rate']:g} with momentum {MOMENTUM}; accuracy on {s['test']} other rows. Then one block of two layers is left "
        "out, and nothing is trained again; batch normalisation keeps the means and variances of the whole network. "
        f"{result['seeds']} seeds."
    )


LITTLE = 0.1  # of accuracy that may be lost with a block


def _lesion_verdict(result: Result) -> Verdict:
    losses, told = {}, []
    for name, found in result["arms"].items():
        by_place = list(zip(*found["without"]))
        whole = sum(found["whole"]) / len(found["whole"])
        losses[name] = [whole - sum(values) / len(values) for values in by_place]
        told.append(
            f"the {name} network tells {mean([100 * v for v in found['whole']], 1)} %, and without block 1, 2, … it loses "
            f"{', '.join(f'{100 * lost:.0f}' for lost in losses[name])} points"
        )
    says = f"{'; '.join(told)} (little: up to {100 * LITTLE:.0f} points, on average of the seeds)"
    dear = [place for place, lost in enumerate(losses["residual"], 1) if lost > LITTLE]
    if min(losses["plain"]) <= LITTLE or len(dear) == len(losses["residual"]):
        return Verdict("does not hold", says)
    if not dear:
        return Verdict("holds", says)
    return Verdict(f"holds but for block {' and '.join(map(str, dear))}", says)


def _lesion_chart(result: Result) -> str:
    series = []
    for name, found in result["arms"].items():
        middle, ends = spread([(whole, *run) for whole, run in zip(found["whole"], found["without"])])
        series.append(Series(name, points(range(len(middle)), middle), ends))
    last = result["settings"]["depth"] // 2
    x = evenly("block that is left out (0: none)", 0, last, last, "{:g}".format)
    return chart(x, evenly("accuracy on the test rows", 0, 1, 5, "{:g}".format), series)


EXPERIMENTS = {
    "depth": Experiment(
        "Depth, and what makes it trainable",
        "Deep plain networks do not learn from first weights N(0, 0.01²); with first weights of the right size they do up "
        "to a depth, and batch normalisation and residual connections let very deep ones learn (Glorot and Bengio 2010; He "
        "et al. 2015; Ioffe and Szegedy 2015; He et al. 2016).",
        _depth,
        _depth_method,
        _depth_verdict,
        _depth_chart,
    ),
    "gradients": Experiment(
        "The gradient on its way back",
        "Going back through a deep plain network with small first weights the gradient vanishes; with first weights of the "
        "right size, with batch normalisation and with residual connections it keeps its size (Glorot and Bengio 2010, "
        "Sec. 4.2; He et al. 2015, Sec. 2.2; He et al. 2016, Sec. 1 and 4.1).",
        _gradients,
        _gradients_method,
        _gradients_verdict,
        _gradients_chart,
    ),
    "degradation": Experiment(
        "Deeper, and worse on the training set",
        "A deeper plain network has a higher training error than a shallower one, though batch normalisation keeps its "
        "gradients in size; with residual connections it has not (He et al. 2016, Sec. 1 and 4.1).",
        _degradation,
        _degradation_method,
        _degradation_verdict,
        _degradation_chart,
    ),
    "lesion": Experiment(
        "A block taken out",
        "A trained residual network loses little without any one of its blocks, a plain one of equal depth loses much "
        "(Veit et al. 2016, Sec. 4.1).",
        _lesion,
        _lesion_method,
        _lesion_verdict,
        _lesion_chart,
    ),
    **theory_flat.EXPERIMENTS,
}
