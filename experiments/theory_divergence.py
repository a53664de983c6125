"""What the GAN paper proves about its game, on densities that are known: Prop. 1 and 2, Theorem 1; KL beside JS.

Integrals are sums over fine cells, in float64. Goodfellow et al. 2014, Sec. 4.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from charts import Axis, Series, chart, decades, evenly
from seminal.papers.gan import best_discriminator
from seminal.pieces.divergences import js, kl, tv
from seminal.tasks.game import Game
from sequences import mean
from stack import Mover, Stack
from theory_form import SEEDS, Experiment, Result, Verdict, cells, holds, normal, points, probabilities, spread

SEEN = cells(-9, 15, 2400)
ROWS = 512


def expected_value(logits: Tensor, data: Tensor, generated: Tensor) -> Tensor:
    """V(D, G), Eq. 1, as the exact mean over (…, cells) probabilities."""
    return -(data * F.softplus(-logits) + generated * F.softplus(logits)).sum(-1)


def trained(draw: Callable[[torch.Generator], tuple[Tensor, Tensor]], runs: int, moves: int) -> Tensor:
    """(runs, cells) logits of as many discriminators, each trained on its own pair of (runs, rows, 1) samples."""
    chance = torch.Generator().manual_seed(0)
    network = Stack(runs, (1, 32, 32, 1), chance)
    mover = Mover(network, 0.01, moves)
    for _ in range(moves):
        real, fake = draw(chance)
        by_real, by_fake = network(torch.cat([real, fake], dim=1)).squeeze(2).split(real.shape[1], dim=1)
        mover.move(Game().discriminator_loss(by_real, by_fake))
    with torch.no_grad():
        logits: Tensor = network(SEEN.float().view(1, -1, 1).expand(runs, -1, -1)).squeeze(2)
    return logits.double()


# -------------------------------------------------------------------------------------------------------------- best D

TWO, ONE = ((-1.5, 0.5), (1.0, 0.7)), (0.0, 1.2)  # means and standard deviations of p_data, a mixture, and of p_g


def _best(quick: bool) -> Result:
    runs, moves = (1, 20) if quick else (SEEDS, 1500)

    def draw(chance: torch.Generator) -> tuple[Tensor, Tensor]:
        noise = torch.randn(2, runs, ROWS, 1, generator=chance)
        middles, stds = torch.tensor(TWO).unbind(1)
        which = torch.randint(2, (runs, ROWS, 1), generator=chance)
        return middles[which] + stds[which] * noise[0], ONE[0] + ONE[1] * noise[1]

    logits = trained(draw, runs, moves)
    data, generated = _best_densities()
    best = best_discriminator(data, generated)
    seen = data + generated > 1e-12  # beyond this D* is 0 / 0 to rounding
    middle = (data + generated) / 2
    shown = (SEEN > -4) & (SEEN < 4)
    return {
        "settings": {"moves": moves, "rows": ROWS},
        "seeds": runs,
        "error": ((logits.sigmoid() - best).abs() * middle)[:, seen].sum(1).tolist(),
        "value": expected_value(logits, data, generated).tolist(),
        "largest_value": float(expected_value(best.logit(), data, generated)),
        "d": logits.sigmoid()[:, shown][:, ::8].tolist(),
    }


def _best_densities() -> list[Tensor]:
    mixture = (normal(SEEN, *TWO[0]) + normal(SEEN, *TWO[1])) / 2
    return [probabilities(density) for density in (mixture, normal(SEEN, *ONE))]


def _best_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"p_data is an equal mixture of N({TWO[0][0]:g}, {TWO[0][1]:g}²) and N({TWO[1][0]:g}, {TWO[1][1]:g}²), p_g is "
        f"N({ONE[0]:g}, {ONE[1]:g}²). D, with two layers of 32 tanh units, sees samples alone: {s['moves']:,} moves of "
        f"{s['rows']} real and {s['rows']} generated ones, all new. {result['seeds']} seeds; the plot shows the first."
    )


def _best_verdict(result: Result) -> Verdict:
    gap = [result["largest_value"] - value for value in result["value"]]
    says = (
        f"over samples of both, |D − D*| is {mean(result['error'], 4)} on average, and V(D) is {mean(gap, 5)} nats below "
        f"V(D*) = {result['largest_value']:.4f} (asked for: |D − D*| under 0.02)"
    )
    return holds(max(result["error"]) < 0.02 and min(gap) >= 0, says)


def _best_chart(result: Result) -> str:
    shown = (SEEN > -4) & (SEEN < 4)
    data, generated = _best_densities()
    width = float(SEEN[1] - SEEN[0])
    lines = {
        "p_data": (data / width)[shown][::8],
        "p_g": (generated / width)[shown][::8],
        "D, learned": result["d"][0],
        "D* = p_data / (p_data + p_g)": best_discriminator(data, generated)[shown][::8],
    }
    series = [Series(name, points(SEEN[shown][::8], line), every=9) for name, line in lines.items()]
    return chart(_axis("x", -4, 4), evenly("density; D", 0, 1, 4, "{:g}".format), series)


def _axis(title: str, low: float, high: float, parts: int = 4) -> Axis:
    return evenly(title, low, high, parts, "{:g}".format)


# ------------------------------------------------------------------------------------------------------------- value

SHIFTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
NARROW = 0.7


def _value(quick: bool) -> Result:
    shifts, seeds, moves = (SHIFTS[::3], 1, 20) if quick else (SHIFTS, SEEDS, 1000)
    means = torch.tensor(shifts).repeat_interleave(seeds).view(-1, 1, 1)

    def draw(chance: torch.Generator) -> tuple[Tensor, Tensor]:
        noise = torch.randn(2, len(means), ROWS, 1, generator=chance)
        return noise[0], means + NARROW * noise[1]

    logits = trained(draw, len(means), moves)
    data = probabilities(normal(SEEN, 0.0, 1.0))
    generated = probabilities(normal(SEEN, means.squeeze(2).double(), NARROW))
    found = expected_value(logits, data, generated).view(-1, seeds)
    theory = 2 * js(data.expand_as(generated), generated).view(-1, seeds)[:, 0] - math.log(4)
    return {
        "settings": {"moves": moves, "rows": ROWS},
        "seeds": seeds,
        "cells": [{"shift": s, "theory": float(t), "found": f.tolist()} for s, t, f in zip(shifts, theory, found)],
    }


def _value_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"p_data is N(0, 1), p_g is N(δ, {NARROW:g}²). For each δ, D learns from samples alone ({s['moves']:,} moves of "
        f"{s['rows']} and {s['rows']}); V(D, G) is then the integral over both densities, and JS another integral, without "
        f"D. {result['seeds']} seeds."
    )


def _value_verdict(result: Result) -> Verdict:
    gaps = [cell["theory"] - value for cell in result["cells"] for value in cell["found"]]
    says = (
        f"the V that D reaches is {min(gaps):.5f} to {max(gaps):.5f} nats below −log 4 + 2 JS and never above it, at "
        f"{len(result['cells'])} values of δ, while V itself goes from {result['cells'][0]['theory']:.3f} to "
        f"{result['cells'][-1]['theory']:.3f} (asked for: under 0.01)"
    )
    return holds(min(gaps) >= 0 and max(gaps) < 0.01, says)


def _value_chart(result: Result) -> str:
    found = result["cells"]
    shifts = [cell["shift"] for cell in found]
    middle, ends = spread(list(zip(*(cell["found"] for cell in found))))
    series = [
        Series("max V, D learned", points(shifts, middle), ends),
        Series("−log 4 + 2 JS", points(shifts, [cell["theory"] for cell in found])),
        Series("−log 4", points(shifts[:: len(shifts) - 1], [-math.log(4)] * 2)),
    ]
    y = evenly("V, nats", -1.5, 0, 3, "{:.1f}".format)
    return chart(_axis("δ, how far p_g is from p_data", 0, 4), y, series)


# --------------------------------------------------------------------------------------------------- disjoint supports


def _disjoint(quick: bool) -> Result:
    """Two uniform distributions of width 1 and two normal ones of standard deviation ¼, θ apart."""
    shifts = [i / 10 for i in range(0, 31, 10 if quick else 1)]
    line = cells(-2, 6, 4000)
    found = []
    for shift in shifts:
        box, moved = (probabilities(((line > a) & (line < a + 1)).double()) for a in (0.0, shift))
        bell, other = (probabilities(normal(line, 0.5 + a, 0.25)) for a in (0.0, shift))
        found.append(
            {
                "shift": shift,
                "js": float(js(box, moved)),
                "js_back": float(js(moved, box)),
                "js_bits": float(js(box, moved, base=2)),
                # JSON knows no infinity
                "kl_infinite": math.isinf(float(kl(box, moved))),
                "tv": float(tv(box, moved)),
                "js_normal": float(js(bell, other)),
                "kl_normal": (shift / 0.25) ** 2 / 2,
            }
        )
    return {"settings": {"cells": len(line)}, "cells": found}


def _disjoint_method(result: Result) -> str:
    return (
        "Two uniform densities of width 1, θ apart, so that nothing is common to both from θ = 1 on; beside them two normal "
        f"ones of standard deviation ¼. Exact sums over {result['settings']['cells']:,} cells; no chance."
    )


def _disjoint_verdict(result: Result) -> Verdict:
    found = result["cells"]
    apart, moved = [c for c in found if c["shift"] >= 1], [c for c in found if c["shift"] > 0]
    skew = max(abs(c["js"] - c["js_back"]) for c in found)
    flat = max(abs(c["js"] - math.log(2)) for c in apart)
    infinite = sum(c["kl_infinite"] for c in moved)
    says = (
        f"JS of the uniform densities is θ log 2 up to θ = 1 and {apart[0]['js']:.4f} = log 2 from there on (within "
        f"{flat:.0e}; {apart[0]['js_bits']:.3f} bit), the same in both directions (within {skew:.0e}); KL is infinite at "
        f"{infinite} of {len(moved)} shifts, the smallest of which is {moved[0]['shift']:g}; the KL of the normal ones is "
        f"finite and reaches {found[-1]['kl_normal']:.0f}. Where JS is flat, the best D gives G no direction"
    )
    return holds(max(flat, skew) < 1e-9 and infinite == len(moved), says)


def _disjoint_chart(result: Result) -> str:
    found = result["cells"]
    shifts = [cell["shift"] for cell in found]
    names = {"JS, uniform": "js", "JS, normal": "js_normal", "total variation, uniform": "tv"}
    series = [Series(name, points(shifts, [c[what] for c in found]), every=5) for name, what in names.items()]
    seen = [c for c in found if c["kl_normal"] <= 2]  # it leaves the chart
    series.append(Series("KL, normal (goes on)", points([c["shift"] for c in seen], [c["kl_normal"] for c in seen])))
    y = evenly("nats; total variation", 0, 2, 4, "{:g}".format)
    return chart(_axis("θ, how far the second is moved", 0, 3, 6), y, series)


# -------------------------------------------------------------------------------------------- descent on p_g itself

OUTCOMES = 20


def descended(step: Callable[[Tensor, Tensor], Tensor], p_g: Tensor, data: Tensor, steps: int) -> list[float]:
    """2 JS = C(G) + log 4 before and after each step."""
    found = [2 * float(js(data, p_g))]
    for _ in range(steps):
        p_g = step(p_g, data)
        found.append(2 * float(js(data, p_g)))
    return found


def projected(rate: float, p_g: Tensor, data: Tensor) -> Tensor:
    """A step down the slope of max_D V by p_g, which is log(1 − D*), and back to the nearest distribution."""
    slope = torch.log1p(-best_discriminator(data, p_g))
    slope = slope.clamp_min(-1e3)  # −∞ where p_g is 0
    moved = p_g - rate * slope
    falling = moved.sort(descending=True).values
    over = (falling.cumsum(0) - 1) / torch.arange(1, len(moved) + 1)
    last = int((falling > over).nonzero()[-1])
    return (moved - over[last]).clamp_min(0)


def multiplied(p_g: Tensor, data: Tensor) -> Tensor:
    """The step that fits distributions (mirror descent at rate 1): p_g / (1 − D*), which is p_data + p_g, divided by its
    sum: the mean of both."""
    moved = p_g / (1 - best_discriminator(data, p_g))
    return moved / moved.sum()


def _descent(quick: bool) -> Result:
    seeds, steps, rates = (1, 20, (0.01,)) if quick else (SEEDS, 1000, (0.001, 0.01, 0.1))
    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {f"rate {rate:g}": partial(projected, rate) for rate in rates}
    ways["mirror"] = multiplied
    shown = sorted({round(1.25**i) for i in range(60)} & set(range(1, steps + 1)))
    found: dict[str, list[Result]] = {name: [] for name in ways}
    for seed in range(seeds):
        chance = torch.Generator().manual_seed(seed)
        drawn = torch.rand(2, OUTCOMES, generator=chance, dtype=torch.float64)
        data, p_g = probabilities(0.2 + drawn)  # each outcome has at least 0.8 %
        for name, step in ways.items():
            line = descended(step, p_g, data, steps)
            rises = sum(b > a + 1e-12 for a, b in itertools.pairwise(line))  # by more than rounding
            found[name].append({"shown": [line[i] for i in shown], "end": line[-1], "rises": rises})
    return {"settings": {"steps": steps, "rates": rates, "shown": shown}, "seeds": seeds, "ways": found}


def _descent_method(result: Result) -> str:
    return (
        f"p_data and the first p_g are drawn at random over {OUTCOMES} outcomes. Each step takes D* = p_data / (p_data + "
        "p_g) and moves p_g itself down the slope log(1 − D*), projected back to distributions; “mirror” is the same descent "
        f"in the geometry of distributions, with rate 1. {result['seeds']} seeds."
    )


def _descent_verdict(result: Result) -> Verdict:
    small = f"rate {result['settings']['rates'][0]:g}"
    ends = {name: [line["end"] for line in lines] for name, lines in result["ways"].items()}
    rising = {name: sum(line["rises"] for line in lines) for name, lines in result["ways"].items()}
    good = [name for name in ends if max(ends[name]) < 1e-6 and not rising[name]]
    bad = [name for name in ends if name not in good]
    steps = result["settings"]["steps"]
    told = "; ".join(f"{name}: {max(ends[name]):.1e}" for name in ends)
    says = f"C(G) + log 4 after {steps:,} steps, the worst seed, is {told} (it never rises with {', '.join(good) or 'any'})"
    if small in good or "mirror" in good:
        return Verdict("holds only where the steps are small" if bad else "holds", says)
    return Verdict("does not hold", says)


def _descent_chart(result: Result) -> str:
    steps, series = result["settings"]["shown"], []
    for name, lines in result["ways"].items():
        middle, ends = spread([[max(value, 1e-12) for value in line["shown"]] for line in lines])
        series.append(Series(name, points(steps, middle), ends, every=3))
    ends = [value for line in series for pair in line.spread for value in pair]
    return chart(decades("steps", steps), decades("C(G) + log 4, nats; 1e-12 or less", ends), series)


EXPERIMENTS = {
    "best_discriminator": Experiment(
        "The best D",
        "For a fixed G the best discriminator is D*(x) = p_data(x) / (p_data(x) + p_g(x)) (Goodfellow et al. 2014, Prop. 1).",
        _best,
        _best_method,
        _best_verdict,
        _best_chart,
    ),
    "value": Experiment(
        "What G minimises",
        "With the best D, the value of the game is C(G) = −log 4 + 2 JS(p_data ‖ p_g), least where p_g = p_data "
        "(Goodfellow et al. 2014, Theorem 1).",
        _value,
        _value_method,
        _value_verdict,
        _value_chart,
    ),
    "descent": Experiment(
        "Descent on p_g itself",
        "If p_g could be moved directly and D were the best at every step, sufficiently small steps would bring p_g to "
        "p_data (Goodfellow et al. 2014, Prop. 2).",
        _descent,
        _descent_method,
        _descent_verdict,
        _descent_chart,
    ),
    "disjoint": Experiment(
        "Distributions with nothing in common",
        "The Jensen-Shannon divergence is symmetric and at most log 2; the Kullback-Leibler divergence is infinite as soon "
        "as something that happens under p cannot happen under q (Kullback and Leibler 1951; Lin 1991).",
        _disjoint,
        _disjoint_method,
        _disjoint_verdict,
        _disjoint_chart,
    ),
}
