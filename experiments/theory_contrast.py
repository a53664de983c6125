"""Learning by telling data from noise: the normaliser that is learned, and the time that is saved where classes are many.

Gutmann and Hyvärinen 2010 (noise-contrastive estimation); Mikolov et al. 2013 (negative sampling).
"""

from __future__ import annotations

import math
import statistics
import time

import torch
from torch import Tensor

from charts import Series, at, chart, decades
from seminal.papers import cbow, nce
from seminal.pieces.contrast import log_odds, noise_losses, real_losses
from seminal.pieces.latent import gaussian
from seminal.pieces.tokens import SPECIAL
from seminal.tasks.neighbours import Neighbours
from theory_form import Experiment, Result, Verdict, holds, points

# --------------------------------------------------------------------------------------------------------- the normaliser

NUMBERS = 4
PRECISIONS = (0.5, 1.0, 2.0, 3.0)  # eigenvalues of Λ


def _normaliser(quick: bool) -> Result:
    sizes, seeds = ((100, 400), 2) if quick else ((100, 300, 1000, 3000, 10000), 20)
    found = []
    for ratio in (1, 10):
        for rows in sizes:
            errors = [learned_constant(rows, ratio, seed) - true_constant() for seed in range(seeds)]
            found.append({"ratio": ratio, "rows": rows, "errors": errors})
    return {"settings": {"sizes": sizes}, "seeds": seeds, "cells": found}


def true_constant() -> float:
    """c* = ½ ln det Λ − n/2 ln 2π."""
    return 0.5 * sum(map(math.log, PRECISIONS)) - NUMBERS / 2 * math.log(2 * math.pi)


def learned_constant(rows: int, ratio: int, seed: int) -> float:
    """c at the minimum of the loss over Λ and c, for rows of N(0, Λ⁻¹) and ``ratio`` times as many of N(0, I)."""
    chance = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(torch.randn(NUMBERS, NUMBERS, generator=chance, dtype=torch.float64))
    stds = torch.tensor(PRECISIONS, dtype=torch.float64).rsqrt()
    real = torch.randn(rows, NUMBERS, generator=chance, dtype=torch.float64) * stds @ turn.T
    both = torch.cat([real, torch.randn(ratio * rows, NUMBERS, generator=chance, dtype=torch.float64)])
    log_noise = gaussian(both, torch.zeros_like(both), torch.zeros_like(both))
    model = nce.build(nce.Config(inputs=NUMBERS)).double()
    search = torch.optim.LBFGS(model.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        odds = log_odds(model(both)[:, 0], log_noise, ratio)
        total = (real_losses(odds[:rows]).sum() + noise_losses(odds[rows:]).sum()) / rows
        total.backward()
        return total

    search.step(loss)
    return float(model.c.detach())


def _errors(result: Result) -> dict[int, list[float]]:
    """Root mean square errors of c by ν, over the numbers of rows."""
    found: dict[int, list[float]] = {}
    for cell in result["cells"]:
        found.setdefault(cell["ratio"], []).append(math.sqrt(statistics.mean(e * e for e in cell["errors"])))
    return found


def _normaliser_method(result: Result) -> str:
    return (
        f"Data are N(0, Λ⁻¹) in {NUMBERS} dimensions, Λ with eigenvalues {', '.join(f'{v:g}' for v in PRECISIONS)} in a "
        f"random frame; noise is N(0, I), ν rows for each row of data. The model is −½ uᵀΛu + c with Λ and c free; c* is "
        f"{true_constant():.4f}. Minimum found by L-BFGS; root mean square error over {result['seeds']} seeds."
    )


def _normaliser_verdict(result: Result) -> Verdict:
    sizes, found = result["settings"]["sizes"], _errors(result)
    (_, few), (many_ratio, many) = found.items()
    slope = math.log(few[-1] / few[0]) / math.log(sizes[-1] / sizes[0])
    says = (
        f"with ν = 1 the error of c falls from {few[0]:.3f} at {sizes[0]:,} rows to {few[-1]:.4f} at {sizes[-1]:,}, as rows "
        f"to the power {slope:.2f} (−½ is asked for); with ν = {many_ratio} it ends at {many[-1]:.4f}"
    )
    return holds(-0.65 < slope < -0.35 and few[-1] < 0.05, says)


def _normaliser_chart(result: Result) -> str:
    sizes, found = result["settings"]["sizes"], _errors(result)
    series = [Series(f"ν = {ratio}", points(sizes, line)) for ratio, line in found.items()]
    first = found[1][0]
    series.append(Series("1 / √rows", points(sizes, [first * math.sqrt(sizes[0] / size) for size in sizes])))
    ends = [y for line in series for _, y in line.points]
    return chart(at("rows of data", sizes), decades("error of c, nats", ends), series)


# -------------------------------------------------------------------------------------------------------- the vocabulary

OUTPUTS = {"softmax": "full softmax", "nce": "NCE", "negative": "negative sampling"}
WIDTH, PAIRS = 100, 256


def _vocabulary(quick: bool) -> Result:
    sizes, rounds = ((100, 300), 1) if quick else ((300, 1000, 3000, 10000, 30000), 5)
    found = []
    for size in sizes:
        torch.manual_seed(0)
        model = cbow.WordVectors(size, WIDTH)
        times: dict[str, list[float]] = {output: [] for output in OUTPUTS}
        for _ in range(rounds):
            for output, seconds in times.items():  # in turns: what slows the machine slows all
                _step(model, Neighbours(output=output), size)  # so that none finds the memory as another left it
                seconds.append(1000 * _step(model, Neighbours(output=output), size))
        found.append({"vocabulary": size, "ms": times})
    return {"settings": {"width": WIDTH, "pairs": PAIRS, "rounds": rounds}, "cells": found}


def _step(model: cbow.WordVectors, task: Neighbours, vocabulary: int) -> float:
    """CPU seconds of a loss and its gradients, on pairs of words drawn alike."""
    word, around, noise = torch.randint(len(SPECIAL), vocabulary, (3, PAIRS))
    log_share = torch.full((PAIRS,), -math.log(vocabulary))
    batch = {"word": word, "around": around[:, None], "noise": noise, "log_noise": log_share}
    batch["log_around"] = log_share[:, None]
    started = time.process_time()
    task.losses(model, batch).sum().backward()
    taken = time.process_time() - started
    model.zero_grad()
    return taken


def _vocabulary_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"Skip-gram with vectors of {s['width']} numbers, the loss of {s['pairs']} pairs of words and its gradients, k = "
        f"{Neighbours().negatives} (shared in groups, as `seminal train word2vec` does). Milliseconds of CPU time of one "
        f"core, in turns, median and range of {s['rounds']}. The optimiser's step is not counted. Gradients of the tables "
        "are dense, so that NCE, too, writes a number for each of the vocabulary."
    )


def _vocabulary_verdict(result: Result) -> Verdict:
    found = result["cells"]
    ratios = {c["vocabulary"]: _median(c, "softmax") / _median(c, "nce") for c in found}
    small, large = found[0], found[-1]
    growth = {output: _median(large, output) / _median(small, output) for output in OUTPUTS}
    says = (
        f"the full softmax takes {', '.join(f'{r:.1f} times at {v:,} words' for v, r in ratios.items())} what NCE takes; "
        f"from {small['vocabulary']:,} to {large['vocabulary']:,} words its time grows {growth['softmax']:.0f} times, that "
        f"of NCE {growth['nce']:.0f} times and that of negative sampling {growth['negative']:.0f} times. At "
        f"{large['vocabulary']:,} words the medians are {_median(large, 'softmax'):.0f}, {_median(large, 'nce'):.0f} and "
        f"{_median(large, 'negative'):.0f} ms"
    )
    quicker = [size for size, ratio in ratios.items() if ratio > 1]
    if len(quicker) == len(ratios):
        return Verdict("holds", says)
    if not quicker:
        return Verdict("does not hold", says)
    return Verdict(f"holds only where there are {min(quicker):,} words or more", says)


def _median(cell: Result, output: str) -> float:
    return statistics.median(cell["ms"][output])


def _vocabulary_chart(result: Result) -> str:
    found, series = result["cells"], []
    sizes = [cell["vocabulary"] for cell in found]
    for output, name in OUTPUTS.items():
        ends = tuple((min(cell["ms"][output]), max(cell["ms"][output])) for cell in found)
        series.append(Series(name, points(sizes, [_median(cell, output) for cell in found]), ends))
    every = [value for line in series for pair in line.spread for value in pair]
    return chart(at("words in the vocabulary", sizes), decades("loss and gradients, ms", every), series)


EXPERIMENTS = {
    "normaliser": Experiment(
        "The normaliser, learned",
        "Noise-contrastive estimation learns the normaliser of an unnormalised density as a parameter like any other, and is "
        "consistent (Gutmann and Hyvärinen 2010, Theorems 1 to 3).",
        _normaliser,
        _normaliser_method,
        _normaliser_verdict,
        _normaliser_chart,
    ),
    "vocabulary": Experiment(
        "Many classes",
        "NCE and negative sampling need no normaliser, and so are quicker than the full softmax where the vocabulary is "
        "large (Mikolov et al. 2013, Sec. 2).",
        _vocabulary,
        _vocabulary_method,
        _vocabulary_verdict,
        _vocabulary_chart,
    ),
}
