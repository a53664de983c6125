"""Random search: the doctor's own remedies, tried blindly, one or two at a time. The baseline of its cures."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from seminal.doctor import remedies
from seminal.doctor.chart import treated
from seminal.doctor.course import follow
from seminal.doctor.findings import Remedy
from seminal.doctor.program import Make, undisturbed
from seminal.doctor.rows import Rows, rows_of

AT_ONCE = (1, 2)  # remedies


def catalogue(train: Rows, val: Rows) -> list[Remedy]:
    """Every remedy that needs no diagnosis (none that names rows, columns or a permutation), in its usual strengths. Another
    metric is left out: to a search that looks at the metric, it would be a way to cheat."""
    outputs = []
    if not train.targets.is_floating_point() and int(train.targets.min()) >= 0:
        outputs = [remedies.with_outputs(int(train.targets.max()) + 1)]
    elif train.targets.dim() > 1:
        outputs = [remedies.with_outputs(train.targets.shape[1])]
    return [
        *map(remedies.rate, (0.01, 0.1, 1 / 3, 3, 10, 100)),
        *map(remedies.adam, (1e-3, 1e-2)),
        remedies.sgd(0.1, 0.9),
        remedies.momentum(0.9),
        *map(remedies.longer, (3, 10)),
        *map(remedies.batch, (32, 128)),
        remedies.clipped(1.0),
        remedies.unclipped(),
        remedies.warmed(0.1),
        remedies.standardised_inputs(train),
        remedies.standardised_targets(train),
        remedies.without_ending(),
        *map(remedies.with_ending, ("softmax", "sigmoid")),
        *map(remedies.with_loss, ("cross_entropy", "binary_cross_entropy", "mse")),
        *outputs,
        remedies.default_start(),
        remedies.he_start(),
        *map(remedies.activations, ("relu", "leaky_relu", "gelu", "tanh")),
        remedies.with_activations("relu"),
        remedies.normalised(),
        remedies.all_parameters(),
        remedies.default_step(),
        remedies.default_validation(),
        remedies.shuffled(),
        remedies.balanced(train),
        remedies.without_duplicates(),
        remedies.same_preprocessing(train, val),
        remedies.smoothed(0.1),
        remedies.stopped_early(),
        remedies.more_decay(),
        remedies.no_decay(),
        remedies.smaller(2),
        *map(remedies.wider, (2, 4)),
        remedies.deeper(),
        remedies.no_dropout(),
        remedies.finite_rows(),
        remedies.rows_first(),
        remedies.reconnected(),
    ]


NEITHER = object()  # the loader of no program, so that the validation rows of each are read


@dataclass(frozen=True)
class Searched:
    """The best of what was tried, and how it does from several seeds."""

    names: tuple[str, ...]
    after: tuple[float, ...]
    tried: int
    seconds: float


def searched(make: Make, budget: float, seeds: int, chance: int = 0) -> Searched:
    """Whole runs of random changes until the budget is spent; the best by the program's own metric is then run from all
    seeds, which costs nothing here and is inside the budget there: the comparison leans towards the search."""
    own = random.Random(chance)
    with undisturbed():
        program = make(0)
        train, val = rows_of(program.train), rows_of(program.val)
        remedies_there = catalogue(train, val)
    started, tried = time.monotonic(), 0
    best: tuple[float, tuple[Remedy, ...]] = (float("-inf"), ())
    while time.monotonic() - started < budget:
        chosen = tuple(own.sample(remedies_there, own.choice(AT_ONCE)))
        score = _score(treated(make, *chosen), train, val, 0)
        tried += 1
        best = max(best, (score, chosen), key=lambda pair: pair[0])
    after = tuple(_score(treated(make, *best[1]), train, val, seed) for seed in range(seeds))
    return Searched(tuple(r.name for r in best[1]), after, tried, time.monotonic() - started)


def _score(make: Make, train: Rows, val: Rows, seed: int) -> float:
    try:
        metric = follow(make, train, val, of=NEITHER, seed=seed).last.metric
    except Exception:  # a change that does not suit this program
        return float("-inf")
    return metric if metric == metric else float("-inf")
