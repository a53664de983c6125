"""Two ways to make pictures from the same noise with the same layers: the decoder of a variational autoencoder, which is
asked for the mean of what it cannot know, and the generator of a GAN, which is asked for what looks real.

Scikit-learn's digits, 8 × 8 pixels. Kingma and Welling 2013; Goodfellow et al. 2014.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from charts import Series, evenly, panels
from seminal.core import Generator
from seminal.papers import gan, vae
from seminal.tasks.game import Game
from seminal.tasks.variational import Variational
from sequences import mean
from theory_form import SEEDS, Experiment, Result, Verdict, points, spread

HIDDEN, LATENT = 128, 8
VAE = vae.Config(shape=(1, 8, 8), hidden=HIDDEN, latent=LATENT)
GAN = gan.Config(hidden=(HIDDEN,), maxout=(48, 48), latent=LATENT, size=(8, 8))
ROWS, TEST = 100, 397
RATE, BETAS = 0.001, (0.5, 0.999)  # of Adam, the same for all players
DRAWN, WAYS, PARTS = 1000, 300, 32  # pictures that are judged; lines between two of them, and steps of a line
LAPLACE = torch.tensor([[[[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]]])


def edges(pictures: Tensor) -> float:
    """Mean square of the Laplacian of pictures (rows, 1, height, width): large where brightness changes abruptly."""
    return float(F.conv2d(pictures, LAPLACE).square().mean())


def nearest(pictures: Tensor, real: Tensor) -> float:
    """Mean distance of pictures to the nearest of the real ones."""
    return float(torch.cdist(pictures.flatten(1), real.flatten(1)).amin(1).mean())


def unevenness(model: Generator, chance: torch.Generator) -> float:
    """Of straight lines in the noise, walked in equal steps: the longest step in pixels as a multiple of the mean one."""
    ends = torch.randn(2, WAYS, 1, LATENT, generator=chance)
    z = torch.lerp(ends[0], ends[1], torch.linspace(0, 1, PARTS + 1)[:, None])
    made = model.generate(z.flatten(0, 1)).reshape(WAYS, PARTS + 1, -1)
    steps = made.diff(dim=1).norm(dim=2)
    return float((steps.amax(1) / steps.mean(1)).mean())


def _sharpness(quick: bool) -> Result:
    seeds, steps, looks = (1, 4, 2) if quick else (SEEDS, 3000, 12)
    pictures = torch.tensor(load_digits().images[:, None] / 16, dtype=torch.float32)
    real, other = pictures[:-TEST], pictures[-TEST:]
    runs = {
        "VAE": [_vae(seed, real, (steps, looks)) for seed in range(seeds)],
        "GAN": [_gan(seed, real, (steps, looks)) for seed in range(seeds)],
    }
    settings = {"steps": steps, "looks": looks, "rows": ROWS, "hidden": HIDDEN, "latent": LATENT, "rate": RATE}
    real_ones = {"edges": edges(other), "nearest": nearest(other, real)}
    return {"settings": settings, "seeds": seeds, "real": real_ones, "runs": runs}


def _vae(seed: int, real: Tensor, length: tuple[int, int]) -> list[Result]:
    torch.manual_seed(seed)
    model, task, (steps, looks) = vae.build(VAE), Variational(), length
    adam = torch.optim.Adam(model.parameters(), RATE, BETAS, fused=True)
    found = []
    for step in range(steps + 1):
        if step % (steps // looks) == 0:
            found.append(_judged(model, real))
        index = torch.randint(len(real), (ROWS,))
        batch = {"input": real[index], "index": index, "progress": torch.full((ROWS,), step / steps)}
        for turn in task.turns(model, batch):
            _moved(adam, turn.loss / turn.weight)
    return found


def _gan(seed: int, real: Tensor, length: tuple[int, int]) -> list[Result]:
    torch.manual_seed(seed)
    players, game, (steps, looks) = gan.Adversarial(gan.generator(GAN), gan.discriminator(GAN), LATENT), Game(), length
    adams = {
        name: torch.optim.Adam(parameters, RATE, BETAS, fused=True)
        for name, parameters in game.players(players).items()
    }
    found = []
    for step in range(steps + 1):
        if step % (steps // looks) == 0:
            found.append(_judged(players, real))
        index = torch.randint(len(real), (ROWS,))
        for turn in game.turns(players.train(), {"input": real[index], "index": index}):
            _moved(adams[turn.player], turn.loss / turn.weight)
    return found


def _moved(adam: torch.optim.Optimizer, loss: Tensor) -> None:
    adam.zero_grad()
    loss.backward()
    adam.step()


@torch.no_grad()
def _judged(model: nn.Module, real: Tensor) -> Result:
    """Pictures from fixed noise."""
    chance = torch.Generator().manual_seed(0)
    maker: Generator = model.eval()  # type: ignore[assignment]
    made = maker.generate(torch.randn(DRAWN, LATENT, generator=chance)).reshape(DRAWN, 1, 8, 8)
    found = {"edges": edges(made), "nearest": nearest(made, real), "unevenness": unevenness(maker, chance)}
    model.train()
    return found


def _method(result: Result) -> str:
    s, real = result["settings"], result["real"]
    return (
        f"Both make pictures of 8 × 8 pixels (scikit-learn's digits) from {s['latent']} normal numbers, through one hidden "
        f"layer of {s['hidden']} units; {s['steps']:,} steps of {s['rows']} pictures, Adam {s['rate']:g}, {result['seeds']} "
        "seeds. Of the autoencoder the mean of each pixel is shown. Sharpness is the mean square of the Laplacian, as a "
        f"share of that of real digits; noise counts as edges too, so the distance to the nearest training picture is told "
        f"beside it (real digits that were left out: {real['nearest']:.2f}). Unevenness: straight lines in the noise are "
        f"walked in {PARTS} equal steps; the longest change of the picture as a multiple of the mean one."
    )


def _verdict(result: Result) -> Verdict:
    last = {name: [run[-1] for run in runs] for name, runs in result["runs"].items()}
    of = {name: {what: [cell[what] for cell in cells] for what in cells[0]} for name, cells in last.items()}
    shares = {name: [value / result["real"]["edges"] for value in found["edges"]] for name, found in of.items()}
    told = [
        f"{name}: sharpness {mean(shares[name], 2)}, unevenness {mean(found['unevenness'], 2)}, nearest real picture "
        f"{mean(found['nearest'], 2)} away"
        for name, found in of.items()
    ]
    says = "; ".join(told)
    true = {
        "sharpness is meant": max(shares["VAE"]) < min(shares["GAN"]),
        "smoothness is meant": max(of["VAE"]["unevenness"]) < min(of["GAN"]["unevenness"]),
    }
    if all(true.values()):
        return Verdict("holds", says)
    some = [name for name, holds in true.items() if holds]
    return Verdict(f"holds only where {some[0]}" if some else "does not hold", says)


def _chart(result: Result) -> str:
    s, real = result["settings"], result["real"]["edges"]
    steps = [i * (s["steps"] // s["looks"]) for i in range(s["looks"] + 1)]
    titles = {"edges": ("sharpness (real digits: 1)", real), "unevenness": ("unevenness (an even way: 1)", 1.0)}
    drawn, high = [], 1.0
    for what, (title, unit) in titles.items():
        series = []
        for name, runs in result["runs"].items():
            middle, ends = spread([[cell[what] / unit for cell in run] for run in runs])
            series.append(Series(name, points(steps, middle), ends, every=3))
            high = max(high, *(end for _, end in ends))
        drawn.append((title, series))
    top = -(-high // 0.5) * 0.5
    x = evenly("step", 0, s["steps"], 3, "{:g}".format)
    return panels(x, evenly("times", 0, top, round(2 * top), "{:g}".format), drawn)


EXPERIMENTS = {
    "sharpness": Experiment(
        "Sharp pictures, smooth ways",
        "A GAN's pictures are sharper than those of a variational autoencoder with the same layers; the autoencoder's change "
        "more evenly as its noise does.",
        _sharpness,
        _method,
        _verdict,
        _chart,
    ),
}
