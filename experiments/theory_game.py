"""The game of the GAN paper where everything can be seen: one number, whose density is known.

Data are N(1, 0.7²); the noise z is uniform on (−1, 1); both players are small networks. Goodfellow et al. 2014.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from charts import Axis, Series, at, chart, decades, evenly, panels
from seminal.papers import gan
from seminal.pieces.divergences import js
from seminal.tasks.game import Game
from sequences import mean
from stack import Mover, Stack
from theory_form import SEEDS, Experiment, Result, Verdict, cells, holds, normal, points, probabilities, spread

MEAN, STD = 1.0, 0.7
LOW, HIGH, CELLS = -2.0, 4.0, 120  # the stretch that is looked at: ± 4.3 standard deviations
ROWS = 256
RATES = 0.01, 0.003  # first learning rates of D and of G
GAME = Game()  # the non-saturating loss


class Match:
    """The players of all seeds, who have their own chance each, and their moves (Algorithm 1).

    ``moves`` is how often D and G will move: the learning rates fall over them.
    """

    def __init__(self, seeds: int, moves: tuple[int, int], units: int = 32) -> None:
        self.chance = torch.Generator().manual_seed(0)
        self.seeds = seeds
        self.generator = Stack(seeds, (1, units, units, 1), self.chance)
        self.discriminator = Stack(seeds, (1, units, units, 1), self.chance)
        self.movers = Mover(self.discriminator, RATES[0], moves[0]), Mover(self.generator, RATES[1], moves[1])

    def fake(self) -> Tensor:
        """(seeds, rows, 1) G(z)."""
        made: Tensor = self.generator(2 * torch.rand(self.seeds, ROWS, 1, generator=self.chance) - 1)
        return made

    def discriminator_moves(self, times: int) -> None:
        for _ in range(times):
            real = MEAN + STD * torch.randn(self.seeds, ROWS, 1, generator=self.chance)
            with torch.no_grad():
                fake = self.fake()
            by_real, by_fake = self.discriminator(torch.cat([real, fake], dim=1)).squeeze(2).split(ROWS, dim=1)
            self.movers[0].move(GAME.discriminator_loss(by_real, by_fake))

    def generator_moves(self, times: int) -> None:
        for _ in range(times):
            self.movers[1].move(GAME.generator_loss(self.discriminator(self.fake()).squeeze(2)))

    @torch.no_grad()
    def seen(self) -> Result:
        """p_g and D on the cells of the stretch, for each seed, and the divergence between the two distributions."""
        z = cells(-1, 1, 20_000).float().view(1, -1, 1).expand(self.seeds, -1, -1)
        edges = torch.linspace(LOW, HIGH, CELLS + 1)
        made = [torch.histogram(x.flatten().clamp(LOW, HIGH), edges).hist for x in self.generator(z)]
        p_g = torch.stack(made).double() / z.shape[1]
        logits = self.discriminator(SEEN.float().view(1, -1, 1).expand(self.seeds, -1, -1)).squeeze(2)
        d = logits.double().sigmoid()
        best = torch.stack([gan.best_discriminator(DATA, row) for row in p_g])
        return {
            "p_g": p_g.tolist(),
            "d": d.tolist(),
            "js": js(DATA.expand_as(p_g), p_g).tolist(),
            "from_half": ((d - 0.5).abs() * DATA).sum(1).tolist(),  # means over the data
            "from_best": ((d - best).abs() * (DATA + p_g) / 2).sum(1).tolist(),  # … over data and samples
            "d_fake": (d * p_g).sum(1).tolist(),
        }


SEEN = cells(LOW, HIGH, CELLS)
DATA = probabilities(normal(SEEN, MEAN, STD))


# ----------------------------------------------------------------------------------------------------------- Figure 1

PANELS = ("a", "b", "c", "d")


def _figure(quick: bool) -> Result:
    k, early, best, later, rounds = (2, 2, 5, 2, 5) if quick else (5, 40, 300, 8, 700)
    match = Match(1 if quick else SEEDS, (k * rounds + best, rounds + later))
    for _ in range(early):
        match.discriminator_moves(k)
        match.generator_moves(1)
    seen = [match.seen()]
    match.discriminator_moves(best)
    seen.append(match.seen())
    match.generator_moves(later)
    seen.append(match.seen())
    for _ in range(rounds - early):
        match.discriminator_moves(k)
        match.generator_moves(1)
    settings = {"k": k, "early": early, "best": best, "later": later, "rounds": rounds, "rows": ROWS}
    return {"settings": settings, "seeds": match.seeds, "panels": [*seen, match.seen()]}


def _figure_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"(a) After {s['early']} rounds of k = {s['k']} moves of D and one of G. (b) After {s['best']} more moves of D "
        f"alone. (c) After {s['later']} moves of G alone. (d) After {s['rounds']} rounds in all. The plot shows the first of "
        f"{result['seeds']} seeds. {_rates()}"
    )


def _figure_verdict(result: Result) -> Verdict:
    a, b, c, d = result["panels"]
    says = (
        f"D is {mean(a['from_best'], 3)} from D* in (a) and {mean(b['from_best'], 3)} in (b); G's moves raise the mean of "
        f"D(G(z)) from {mean(b['d_fake'], 2)} to {mean(c['d_fake'], 2)} in (c); in (d) D is {mean(d['from_half'], 3)} from ½ "
        f"over the data, and JS has fallen from {mean(a['js'], 3)} to {mean(d['js'], 3)} nats (asked for: both under 0.05)"
    )
    return holds(max(d["from_half"]) < 0.05 and max(d["js"]) < 0.05, says)


def _figure_chart(result: Result) -> str:
    width = (HIGH - LOW) / CELLS
    titles = ("(a) near the solution", "(b) the best D", "(c) G has moved", "(d) the end")
    x, y = evenly("x", LOW, HIGH, 6, lambda v: f"{v:g}"), evenly("density; D", 0, 1, 4, lambda v: f"{v:g}")
    drawn = []
    for title, seen in zip(titles, result["panels"]):
        p_g = torch.tensor(seen["p_g"][0])
        lines = {
            "p_data": DATA / width,
            "p_g": p_g.clamp(max=width) / width,  # a peak above 1 is cut off
            "D": seen["d"][0],
            "D* = p_data / (p_data + p_g)": gan.best_discriminator(DATA, p_g),
        }
        drawn.append((title, [Series(name, points(SEEN, line), every=20) for name, line in lines.items()]))
    return panels(x, y, drawn)


# -------------------------------------------------------------------------------------------------------- the slope of G


def _slopes(quick: bool) -> Result:
    """Gradients of both losses for the same G and D, after so many moves of D against the first G."""
    config = gan.Config(hidden=(128, 128), maxout=(48, 48), size=(8, 8))
    counts = (0, 1, 5) if quick else (0, 1, 2, 5, 10, 20, 50, 100, 200, 400)
    rows = [_slopes_of(seed, config, counts) for seed in range(1 if quick else SEEDS)]
    return {"settings": {"rows": ROWS, "lr": 0.0003}, "seeds": len(rows), "moves": counts, "runs": rows}


def _slopes_of(seed: int, config: gan.Config, counts: Sequence[int]) -> list[Result]:
    torch.manual_seed(seed)
    pictures = torch.tensor(load_digits().images[:, None] / 16, dtype=torch.float32)
    players = gan.Adversarial(gan.generator(config), gan.discriminator(config), config.latent)
    adam = torch.optim.Adam(players.discriminator.parameters(), 0.0003)
    found, done = [], 0
    for count in counts:
        for _ in range(count - done):
            real = pictures[torch.randint(len(pictures), (ROWS,))]
            with torch.no_grad():
                fake = players.generate(players.noise(ROWS))
            adam.zero_grad()
            GAME.discriminator_loss(players.discriminate(real), players.discriminate(fake)).mean().backward()
            adam.step()
        done = count
        found.append(_both_slopes(players))
    return found


def _both_slopes(players: gan.Adversarial) -> Result:
    """Lengths of the gradients by G's parameters, the cosine between them, and the mean of D(G(z))."""
    players.eval()  # without dropout, so that both losses meet the same D
    logits = players.discriminate(players.generate(players.noise(ROWS)))
    parameters = list(players.generator.parameters())
    slopes = []
    for loss in ("saturating", "non_saturating"):
        total = Game(loss).generator_loss(logits).mean()
        parts = torch.autograd.grad(total, parameters, retain_graph=True)
        slopes.append(torch.cat([part.flatten() for part in parts]).double())
    players.train()
    flat, steep = slopes
    return {
        "d_fake": float(logits.detach().sigmoid().mean()),
        "saturating": float(flat.norm()),
        "non_saturating": float(steep.norm()),
        "cosine": float(flat @ steep / (flat.norm() * steep.norm())),
    }


def _slopes_method(result: Result) -> str:
    return (
        f"The paper's networks in small (two layers of 128 units; two of 48 maxout units) on scikit-learn's digits of 8 × 8 "
        f"pixels: D moves (Adam, {result['settings']['lr']:g}) against a G that has not learned yet. {result['seeds']} seeds."
    )


def _slopes_verdict(result: Result) -> Verdict:
    first, last = ([run[i] for run in result["runs"]] for i in (0, -1))
    ratio = [cell["non_saturating"] / cell["saturating"] for cell in last]
    start = [cell["non_saturating"] / cell["saturating"] for cell in first]
    says = (
        f"after {result['moves'][-1]} moves D(G(z)) is {mean([c['d_fake'] for c in last], 5)} and the gradient of −log D is "
        f"{mean(ratio, 0)} times as long as that of log(1 − D), for (1 − D) / D is the ratio of their slopes; before "
        f"the first move, {mean(start, 2)} times. Both point the same way "
        f"(cosine {mean([c['cosine'] for c in last], 3)}), so an optimiser that divides by the size of the gradient, as Adam "
        "does, hides much of the difference"
    )
    return holds(min(ratio) > 10 * max(start), says)


def _slopes_chart(result: Result) -> str:
    series, every = [], [count + 1 for count in result["moves"]]
    for name, what in (("−log D", "non_saturating"), ("log(1 − D)", "saturating"), ("D(G(z))", "d_fake")):
        middle, ends = spread([[cell[what] for cell in run] for run in result["runs"]])
        series.append(Series(name, points(every, middle), ends))
    ends = [value for line in series for pair in line.spread for value in pair]
    y = decades("length of the gradient; D(G(z))", ends)
    return chart(at("moves of D, plus 1", every), y, series)


# ------------------------------------------------------------------------------------------------------------ the k of D

# Moves of D and of G in one round: 1/5 is a G that moves five times for each move of D.
ROUNDS = ((1, 5), (1, 1), (2, 1), (5, 1), (10, 1))


def _sweep(quick: bool) -> Result:
    generator_moves, total, seeds = (10, 20, 1) if quick else (150, 450, SEEDS)
    found = []
    for d, g in ROUNDS[1:3] if quick else ROUNDS:
        by_moves = Match(seeds, (generator_moves * d // g, generator_moves))
        by_total = Match(seeds, (total * d // (d + g), total * g // (d + g)))
        row = {"k": d / g, "equal_generator": _played(by_moves, (d, g), generator_moves // g)}
        found.append(row | {"equal_total": _played(by_total, (d, g), total // (d + g))})
    settings = {"generator_moves": generator_moves, "total": total, "rows": ROWS}
    return {"settings": settings, "seeds": seeds, "cells": found}


def _played(match: Match, moves: tuple[int, int], rounds: int) -> dict[str, list[float]]:
    """JS and how far D is from ½ at the end, for each seed: medians of ten looks in the last fifth, for a game swings."""
    looks, last = [], max(1, rounds // 5)
    for number in range(rounds):
        match.discriminator_moves(moves[0])
        match.generator_moves(moves[1])
        left = rounds - 1 - number
        if left < last and left % max(1, last // 10) == 0:
            looks.append(match.seen())
    return {what: [statistics.median(v) for v in zip(*(look[what] for look in looks))] for what in ("js", "from_half")}


def _sweep_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"Each k twice: with {s['generator_moves']} moves of G, so that a large k costs more; and with {s['total']} moves of "
        f"both players together, so that a large k leaves G fewer. k = 0.2 is one move of D for five of G. Median JS of the "
        f"last fifth of the game, {result['seeds']} seeds. {_rates()} The best k depends on these rates."
    )


def _rates() -> str:
    return f"Adam; learning rates fall from {RATES[0]:g} (D) and {RATES[1]:g} (G) to 1 % of that over the game."


def _sweep_verdict(result: Result) -> Verdict:
    ks = [cell["k"] for cell in result["cells"]]
    by_moves, by_total = (
        [_middle(cell, what) for cell in result["cells"]] for what in ("equal_generator", "equal_total")
    )
    free, paid = ks[by_moves.index(min(by_moves))], ks[by_total.index(min(by_total))]
    fooled = min(result["cells"], key=lambda cell: statistics.mean(cell["equal_generator"]["from_half"]))
    half = mean(fooled["equal_generator"]["from_half"], 3)

    def told(what: str, k: float) -> str:
        return next(mean(cell[what]["js"], 3) for cell in result["cells"] if cell["k"] == k)

    says = (
        f"with equally many moves in all, k = {paid:g} ends best (JS {told('equal_total', paid)} nats; k = {ks[0]:g}: "
        f"{told('equal_total', ks[0])}, k = {ks[-1]:g}: {told('equal_total', ks[-1])}); with equally many moves of G, k = "
        f"{free:g} ({told('equal_generator', free)}; k = {ks[0]:g}: {told('equal_generator', ks[0])}). A D near ½ proves "
        f"nothing by itself: it is nearest ({half} away) at k = {fooled['k']:g}, where JS is "
        f"{told('equal_generator', fooled['k'])}"
    )
    if paid == ks[0]:
        return Verdict("does not hold", says)
    if free < ks[-1]:
        return Verdict("holds", says)
    return Verdict(f"holds only where {'the moves of D are paid for' if paid < ks[-1] else 'k is small'}", says)


def _middle(cell: Result, what: str) -> float:
    return statistics.mean(cell[what]["js"])


def _sweep_chart(result: Result) -> str:
    ks, series, s = [cell["k"] for cell in result["cells"]], [], result["settings"]
    for what, name in (
        ("equal_generator", f"{s['generator_moves']} moves of G"),
        ("equal_total", f"{s['total']} moves in all"),
    ):
        middle, ends = spread(list(zip(*(cell[what]["js"] for cell in result["cells"]))))
        series.append(Series(name, points(ks, middle), ends))
    series.append(Series("nothing in common: log 2", points(ks[:: len(ks) - 1], [0.6931, 0.6931])))
    return chart(at("k, moves of D for each of G", ks), _nats("JS at the end, nats"), series)


def _nats(title: str) -> Axis:
    return evenly(title, 0, 0.8, 4, lambda v: f"{v:.1f}")


EXPERIMENTS = {
    "figure_1": Experiment(
        "The four panels of Figure 1",
        "D first learns to tell p_g from p_data, G then moves to where D says “real”, and in the end p_g is p_data and D is "
        "½ everywhere (Goodfellow et al. 2014, Fig. 1).",
        _figure,
        _figure_method,
        _figure_verdict,
        _figure_chart,
    ),
    "saturation": Experiment(
        "Two losses for G",
        "Early, when D rejects every sample with confidence, log(1 − D(G(z))) saturates, and −log D(G(z)) still has a strong "
        "gradient (Goodfellow et al. 2014, Sec. 3).",
        _slopes,
        _slopes_method,
        _slopes_verdict,
        _slopes_chart,
    ),
    "sweep_k": Experiment(
        "How often D moves",
        "The number k of moves of D for each move of G must be neither too small, or G runs away from a D that is out of "
        "date, nor too large, or D is trained at the cost of G (Goodfellow et al. 2014, Sec. 3 and 6).",
        _sweep,
        _sweep_method,
        _sweep_verdict,
        _sweep_chart,
    ),
}
