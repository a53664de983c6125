"""Changes of the colours of a picture: its light, and the main directions in which colours vary.

Every change takes float32 pictures in [0, 1], (B, C, H, W), in ``batch["input"]`` and gives a new batch; the given one is
never modified. What happens to a row depends on its own chance only. One channel (grey) works everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seminal.core import Batch, Chance, UserError
from seminal.pieces.draws import Draw

# How bright red, green and blue look (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class ColourJitter:
    """Brightness, contrast and saturation, in this order, each multiplied by its own factor, uniform in
    [max(0, 1 - strength), 1 + strength]: towards black, towards the picture's mean grey, towards each pixel's grey.
    The result is kept in [0, 1] after each of the three."""

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __post_init__(self) -> None:
        if min(self.brightness, self.contrast, self.saturation) < 0:
            raise UserError(f"{self} has a strength below 0: write 0 for no change, 0.4 for factors from 0.6 to 1.4")

    def __call__(self, batch: Batch, chance: Chance) -> Batch:
        images = batch["input"]
        if self.brightness:
            images = (images * _factor(chance, Draw.BRIGHTNESS, self.brightness)).clamp_(0, 1)
        if self.contrast:
            mean = _grey(images).mean(dim=(2, 3), keepdim=True)
            images = torch.lerp(mean, images, _factor(chance, Draw.CONTRAST, self.contrast)).clamp_(0, 1)
        if self.saturation and images.shape[1] > 1:
            images = torch.lerp(_grey(images), images, _factor(chance, Draw.SATURATION, self.saturation)).clamp_(0, 1)
        return {**batch, "input": images}


def _factor(chance: Chance, draw: Draw, strength: float) -> Tensor:
    """(B, 1, 1, 1)"""
    low, high = max(0.0, 1 - strength), 1 + strength
    return (low + (high - low) * chance.uniform(draw))[:, :, None, None]


def _grey(images: Tensor) -> Tensor:
    """(B, 1, H, W): as bright as the eye sees it for three channels, the mean for any other number."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    red, green, blue = (weight * images[:, i : i + 1] for i, weight in enumerate(_LUMA))
    return red + green + blue


@dataclass(frozen=True)
class PCAColour:
    """AlexNet's colour shift (Sec. 4.1): [p1, p2, p3] [α1 λ1, α2 λ2, α3 λ3]ᵀ is added to every pixel of a picture.

    p and λ are eigenvectors and eigenvalues of the covariance of the training set's colours, each colour in [0, 1]; every
    α is drawn once per picture from a normal distribution with standard deviation ``sigma``. ``eigenvectors`` has one
    tuple per eigenvalue. The paper does not print its numbers: call `fitted` with the training pictures. The defaults
    are those of ImageNet, in the version that Facebook's Torch training code made common. Pictures with one channel
    have one principal value, which is the variance; unless fitted, they take the first one. The result is kept in [0, 1].
    """

    sigma: float = 0.1
    eigenvalues: tuple[float, ...] = (0.2175, 0.0188, 0.0045)
    eigenvectors: tuple[tuple[float, ...], ...] = (
        (-0.5675, -0.5808, -0.5836),
        (0.7192, -0.0045, -0.6948),
        (0.4009, -0.8140, 0.4203),
    )

    def fitted(self, images: Tensor) -> PCAColour:
        """The same shift along the principal colours of these uint8 pictures (N, C, H, W)."""
        values, vectors = principal_colours(images)
        return replace(self, eigenvalues=values, eigenvectors=vectors)

    def __call__(self, batch: Batch, chance: Chance) -> Batch:
        images = batch["input"]
        channels = images.shape[1]
        values = torch.tensor(self.eigenvalues, device=images.device)
        vectors = torch.tensor(self.eigenvectors, device=images.device)  # (directions, channels)
        if channels == 1 and vectors.shape[1] != 1:
            values, vectors = values[:1], torch.ones(1, 1, device=images.device)
        if vectors.shape[1] != channels:
            raise UserError(
                f"the principal colours have {vectors.shape[1]} channels and the pictures have {channels}: "
                "write PCAColour().fitted(images) with the training pictures"
            )
        weights = self.sigma * chance.normal(Draw.PRINCIPAL_COLOURS, len(values)) * values  # (B, directions)
        # A sum rather than a matrix product, which may round a row otherwise in another batch.
        shift = (weights[:, :, None] * vectors).sum(dim=1)  # (B, channels)
        return {**batch, "input": (images + shift[:, :, None, None]).clamp_(0, 1)}


def principal_colours(images: Tensor) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """Eigenvalues, largest first, and unit eigenvectors of the covariance of the colours of all pixels, for colours in
    [0, 1]. ``images`` is (N, C, H, W) uint8; the sums are exact, in whole numbers, some pictures at a time. The sign
    of an eigenvector is arbitrary: its largest entry is made positive."""
    channels = images.shape[1]
    total = torch.zeros(channels, dtype=torch.float64)
    products = torch.zeros(channels, channels, dtype=torch.float64)
    at_once = max(1, 2**22 // images[0, 0].numel())  # 100 MB of doubles for three channels
    for part in images.split(at_once):
        colours = part.movedim(1, 0).flatten(1).double()
        total += colours.sum(dim=1).cpu()
        products += (colours @ colours.T).cpu()
    pixels = images.numel() // channels
    mean = total / pixels
    covariance = (products / pixels - mean.outer(mean)) / 255**2
    values, vectors = torch.linalg.eigh(covariance)  # ascending, one eigenvector per column
    order = values.argsort(descending=True)
    values, vectors = values[order].clamp(min=0), vectors[:, order].T
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    return tuple(values.tolist()), tuple(tuple(vector) for vector in (vectors * largest.sign()).tolist())
