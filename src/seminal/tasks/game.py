"""A game of two players: a generator makes rows, and a discriminator tells them from real ones.

    I. Goodfellow et al., "Generative adversarial nets", NIPS 2014, Algorithm 1; with s the logit, D = sigmoid(s):

    the discriminator, k times    minimises −log D(x) − log (1 − D(G(z))) = softplus(−s(x)) + softplus(s(G(z)))
    the generator, once           saturating: minimises log (1 − D(G(z))) = −softplus(s(G(z)))
                                  non-saturating: minimises −log D(G(z)) = softplus(−s(G(z)))

Where the discriminator is sure, s(G(z)) → −∞, the slope of the saturating loss by s is −D → 0, and that of the other one is
D − 1 → −1. Written with D itself, the second loss would be −log 0 = ∞ there; with the logit it is a straight line.

Checkpoints are chosen by the unbiased squared maximum mean discrepancy (Gretton et al. 2012, Eq. 3) between generated and
real rows, for a kernel with finitely many features φ (Rahimi and Recht 2007: random Fourier features of Gaussian kernels),

    Σ_{i≠j} φ(x_i)·φ(x_j) / n(n−1) + Σ_{i≠j} φ(y_i)·φ(y_j) / n(n−1) − 2 Σ_{ij} φ(x_i)·φ(y_j) / n²,

which follows from Σ φ(x), Σ φ(y) and |φ|² = 1, so that it is exact over any batches and devices. It needs no foreign weights.
Its weakness: it compares pixels. It sees a missing class, a wrong brightness and noise; it hardly sees whether strokes are
sharp, it does not see copies of the training set at all, and it may be a little below 0 where the sets are alike.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seminal.core import Batch, DataSpec, Generator, Goal, Sums, Turn, UserError

LOSSES = ("non_saturating", "saturating")

# Of the Gaussian kernels, as root mean square differences per pixel: two pictures of a set differ by 0.2 to 0.4.
WIDTHS = (0.1, 0.2, 0.4)
FREQUENCIES = 512  # per kernel
LARGEST = 32  # pixels a side: larger pictures are averaged down before they are compared


class Players(Generator, Protocol):
    """What the game asks of a model: two networks, and the words by which they play."""

    generator: nn.Module
    discriminator: nn.Module

    def discriminate(self, rows: Tensor, labels: Tensor | None = None) -> Tensor:
        """(rows,) logits s: the log-odds that a row is real."""


@dataclass(frozen=True)
class Game:
    """``batch["input"]`` (B, …) are real rows; where the game is ``conditional``, ``batch["target"]`` (B,) their classes,
    which both players are told.

    A batch holds the real rows of all k moves of the discriminator: each sees B / k of them, and as many generated ones.
    """

    loss: str = "non_saturating"  # of the generator
    discriminator_steps: int = 1  # k
    label_smoothing: float = 0.0  # one-sided: real rows have the target 1 − ε (Salimans et al. 2016, Sec. 3.4)
    conditional: bool = False
    num_classes: int = 0  # told where it is fitted

    @property
    def goal(self) -> Goal:
        return Goal("kernel_distance", higher=False)

    def fitted(self, spec: DataSpec) -> Self:
        if spec.kind != "images":
            raise UserError(f"{spec.name} is {spec.form}, and this game is played with pictures: give a folder.")
        if self.loss not in LOSSES:
            raise UserError(f"a generator has no loss `{self.loss}`. Write --loss {' or --loss '.join(LOSSES)}.")
        if self.discriminator_steps < 1:
            raise UserError(f"the discriminator cannot move {self.discriminator_steps} times: write 1 or more.")
        if self.conditional and not spec.classes:
            raise UserError(f"{spec.name} has no classes to ask for: give folders of classes, or use `dcgan` or `gan`.")
        return replace(self, num_classes=len(spec.classes))

    def players(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        game = cast(Players, model)
        return {
            "discriminator": list(game.discriminator.parameters()),
            "generator": list(game.generator.parameters()),
        }

    # ---------------------------------------------------------------------------------------------------- Algorithm 1

    def turns(self, model: nn.Module, batch: Batch) -> Iterator[Turn]:
        game = cast(Players, model)
        for real, labels in self._parts(batch):
            with torch.no_grad():
                fake = game.generate(game.noise(len(real)), labels)
            loss = self.discriminator_loss(game.discriminate(real, labels), game.discriminate(fake, labels))
            yield Turn("discriminator", loss.sum(), loss.new_tensor(float(len(real))))
        # The generator's noise is drawn anew, as many rows as the discriminator has just seen.
        fake = game.generate(game.noise(len(real)), labels)
        loss = self.generator_loss(game.discriminate(fake, labels))
        yield Turn("generator", loss.sum(), loss.new_tensor(float(len(real))))

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """(rows,) from the logits of as many real and generated rows: −log D(x) − log (1 − D(G(z))), with smoothed labels
        the cross-entropy against 1 − ε instead of the first term."""
        wanted = torch.full_like(real, 1 - self.label_smoothing)
        return F.binary_cross_entropy_with_logits(real, wanted, reduction="none") + F.softplus(fake)

    def generator_loss(self, fake: Tensor) -> Tensor:
        """(rows,) from the logits of generated rows."""
        return -F.softplus(fake) if self.loss == "saturating" else F.softplus(-fake)

    def _parts(self, batch: Batch) -> list[tuple[Tensor, Tensor | None]]:
        """The rows of each of the k moves, and their classes. With fewer rows than moves, all rows serve every move."""
        real, labels, k = batch["input"], self._labels(batch), self.discriminator_steps
        if len(real) < k:
            return [(real, labels)] * k
        return list(zip(real.tensor_split(k), (None,) * k if labels is None else labels.tensor_split(k)))

    def _labels(self, batch: Batch) -> Tensor | None:
        return batch["target"] if self.conditional else None

    # ------------------------------------------------------------------------------------------------------- scoring

    def score(self, model: nn.Module, batch: Batch) -> Sums:
        """As many rows are generated as there are real ones. The noise of a row is a function of its number, so that a
        score depends neither on the batch size nor on the moment.

        A discriminator with batch normalisation has seen real rows and generated ones in batches of their own. Here it
        judges both with the running statistics of all: what is said of it then may be far from how it plays."""
        game, real, labels = cast(Players, model), batch["input"], self._labels(batch)
        fake = game.generate(_noise_of(game, batch["index"]), labels)
        by_real, by_fake = game.discriminate(real, labels), game.discriminate(fake, labels)
        plain = replace(self, label_smoothing=0.0)
        sums = {
            "rows": real.new_tensor(float(len(real))),
            "loss_discriminator": plain.discriminator_loss(by_real, by_fake).sum(),
            "loss_generator": plain.generator_loss(by_fake).sum(),
            "accuracy_real": (by_real > 0).sum(),
            "accuracy_fake": (by_fake < 0).sum(),
            "d_real": by_real.sigmoid().sum(),
            "d_fake": by_fake.sigmoid().sum(),
            "features_real": self._by_class(features(real), labels),
            "features_fake": self._by_class(features(fake), labels),
            "rows_of_class": self._by_class(torch.ones(len(real), 1, device=real.device), labels),
        }
        return {name: value.double() for name, value in sums.items()}

    def _by_class(self, values: Tensor, labels: Tensor | None) -> Tensor:
        """(classes, …): the sum over the rows of each class; one sum where classes are not asked for."""
        if labels is None:
            return values.sum(0, keepdim=True)
        return values.new_zeros(self.num_classes, values.shape[1]).index_add(0, labels, values)

    def summary(self, sums: Sums) -> dict[str, float]:
        """``kernel_distance`` between real and generated rows; ``variety``, how much two generated rows differ as a share of
        how much two real ones do (by 1 − φ·φ; of one class where classes are asked for): near 0 the generator makes one
        picture, whatever the noise; the discriminator's ``accuracy_real`` and ``accuracy_fake``; its means ``d_real``, of
        D(x), and ``d_fake``, of D(G(z)); both losses."""
        rows, real, fake = sums["rows"], sums["features_real"].sum(0), sums["features_fake"].sum(0)
        pairs = rows * (rows - 1)  # of one row there is none, and no distance
        within = (real.square().sum() + fake.square().sum() - 2 * rows) / pairs
        spread = {name: _spread(sums[f"features_{name}"], sums["rows_of_class"]) for name in ("real", "fake")}
        means = ("loss_discriminator", "loss_generator", "accuracy_real", "accuracy_fake", "d_real", "d_fake")
        return {
            "kernel_distance": float(within - 2 * (real * fake).sum() / rows.square()),
            "variety": float(spread["fake"] / spread["real"]),
            **{name: float(sums[name] / rows) for name in means},
        }

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """``real`` (B,): the probability, to the discriminator, that a row is real; in a conditional game, that it is a
        real one of its class, or, where that is not known, of the class it fits best."""
        game, rows = cast(Players, model), batch["input"]
        if not self.conditional or "target" in batch:
            return {"real": game.discriminate(rows, self._labels(batch)).sigmoid()}
        classes = [torch.full((len(rows),), c, device=rows.device) for c in range(self.num_classes)]
        return {"real": torch.stack([game.discriminate(rows, c).sigmoid() for c in classes]).amax(0)}


def _spread(features: Tensor, rows: Tensor) -> Tensor:
    """The mean of 1 − φ·φ over all pairs of rows of one class, from the sums (classes, features) and counts (classes, 1)."""
    pairs = (rows * (rows - 1)).sum()
    return 1 - (features.square().sum() - rows.sum()) / pairs


def _noise_of(game: Players, index: Tensor) -> Tensor:
    """(rows, latent): each row's own noise."""
    drawn = [game.noise(1, torch.Generator().manual_seed(row)) for row in index.tolist()]
    return torch.cat(drawn) if drawn else game.noise(0)


def features(pictures: Tensor) -> Tensor:
    """(B, features) of length 1, whose product for two pictures approaches the mean of Gaussian kernels of `WIDTHS`."""
    height, width = pictures.shape[-2:]
    small = F.adaptive_avg_pool2d(pictures.float(), (min(height, LARGEST), min(width, LARGEST))).flatten(1)
    with torch.autocast(small.device.type, enabled=False):  # angles of many turns do not bear bf16
        angles = small @ _frequencies(small.shape[1], small.device)
    return torch.cat([angles.cos(), angles.sin()], dim=1) / math.sqrt(angles.shape[1])


@functools.lru_cache(maxsize=2)
def _frequencies(dimensions: int, device: torch.device) -> Tensor:
    """(dimensions, all frequencies): normal with standard deviation 1 / (width · √dimensions), the same in every run."""
    drawn = torch.randn(dimensions, len(WIDTHS), FREQUENCIES, generator=torch.Generator().manual_seed(0))
    return (drawn / (torch.tensor(WIDTHS)[:, None] * math.sqrt(dimensions))).flatten(1).to(device)
