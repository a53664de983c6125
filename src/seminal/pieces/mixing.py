"""Pictures made of two: row i of the batch is mixed with row i + 1, the last row with the first.

The batch is already in random order, so the neighbour is a random partner. ``other_target`` (the partner's target) and
``share`` (B,) float32 join the batch: the loss of a row is share · loss(target) + (1 - share) · loss(other_target). These
are the only changes where a row's result depends on another row, and hence on how the batch is cut: two processes with
half the batch each pair other rows than one process with the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from seminal.core import Batch, Chance, UserError
from seminal.pieces.draws import Draw


@dataclass(frozen=True)
class Mixup:
    """share · input + (1 - share) · partner, with share from Beta(alpha, alpha) (Zhang et al. 2018, "mixup: Beyond
    empirical risk minimization", eq. in Sec. 2; alpha 0.2 on ImageNet, 1 on CIFAR-10). Inputs of any shape."""

    alpha: float = 0.2

    def __post_init__(self) -> None:
        _check_alpha("Mixup", self.alpha)

    def __call__(self, batch: Batch, chance: Chance) -> Batch:
        share = _beta(self.alpha, chance.uniform(Draw.MIXUP_SHARE, 2))
        return _with_partner(batch, _blended(batch["input"], share), share)


@dataclass(frozen=True)
class CutMix:
    """A rectangle of the partner is pasted in (Yun et al. 2019, "CutMix", Sec. 3.1 and Algorithm A1; alpha 1).

    Its sides are √(1 - λ) of the picture's, λ from Beta(alpha, alpha), around a uniform pixel; what reaches outside is
    cut off, and ``share`` is the exact fraction of the pixels that remain."""

    alpha: float = 1.0

    def __post_init__(self) -> None:
        _check_alpha("CutMix", self.alpha)

    def __call__(self, batch: Batch, chance: Chance) -> Batch:
        return _with_partner(batch, *_pasted(batch["input"], self.alpha, chance))


@dataclass(frozen=True)
class MixupOrCutMix:
    """For each row one of the two, CutMix with ``probability``."""

    mixup_alpha: float = 0.2
    cutmix_alpha: float = 1.0
    probability: float = 0.5

    def __post_init__(self) -> None:
        _check_alpha("Mixup", self.mixup_alpha)
        _check_alpha("CutMix", self.cutmix_alpha)
        if not 0 <= self.probability <= 1:
            raise UserError(f"CutMix with probability {self.probability} is impossible: write a number from 0 to 1")

    def __call__(self, batch: Batch, chance: Chance) -> Batch:
        images = batch["input"]
        cut = chance.uniform(Draw.MIXUP_OR_CUTMIX)[:, 0] < self.probability
        mixed_share = _beta(self.mixup_alpha, chance.uniform(Draw.MIXUP_SHARE, 2))
        pasted, pasted_share = _pasted(images, self.cutmix_alpha, chance)
        mixed = torch.where(cut[:, None, None, None], pasted, _blended(images, mixed_share))
        return _with_partner(batch, mixed, torch.where(cut, pasted_share, mixed_share))


def mixes(augment: object) -> bool:
    """Whether it makes one row of two, with two targets."""
    return isinstance(augment, Mixup | CutMix | MixupOrCutMix)


def _check_alpha(name: str, alpha: float) -> None:
    if alpha <= 0:
        raise UserError(f"{name} with alpha={alpha} has no shares to draw: write a number above 0, or leave {name} out")


def _with_partner(batch: Batch, inputs: Tensor, share: Tensor) -> Batch:
    if "share" in batch:
        raise UserError(
            "a batch can be mixed once, and this recipe mixes it twice: "
            "write MixupOrCutMix() in place of Mixup() and CutMix() together"
        )
    return {**batch, "input": inputs, "other_target": batch["target"].roll(-1, dims=0), "share": share}


def _blended(inputs: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(inputs.roll(-1, dims=0), inputs, share.view(-1, *[1] * (inputs.dim() - 1)))


def _pasted(images: Tensor, alpha: float, chance: Chance) -> tuple[Tensor, Tensor]:
    """The pictures with the partner's rectangle, and the share (B,) of each that is its own."""
    height, width = images.shape[2:]
    side = torch.sqrt(1 - _beta(alpha, chance.uniform(Draw.CUTMIX_SHARE, 2)))[:, None]
    place = chance.uniform(Draw.CUTMIX_PLACE, 2)
    rows = _stretch(height, side, place[:, :1])
    columns = _stretch(width, side, place[:, 1:])
    partner = rows[:, :, None] & columns[:, None]  # (B, H, W)
    mixed = torch.where(partner[:, None], images.roll(-1, dims=0), images)
    return mixed, 1 - rows.sum(dim=1) * columns.sum(dim=1) / (height * width)


def _stretch(pixels: int, side: Tensor, place: Tensor) -> Tensor:
    """(B, pixels) bool: the pixels within half of ``side`` · pixels of the pixel at ``place``, both (B, 1) in [0, 1]."""
    centre, half = torch.floor(place * pixels), torch.floor(side * pixels / 2)
    position = torch.arange(pixels, device=side.device)
    return (position >= centre - half) & (position < centre + half)


def _beta(alpha: float, uniform: Tensor) -> Tensor:
    """(B,) numbers from Beta(alpha, alpha), from two uniform numbers each (B, 2), for any alpha above 0.

    Bailey 1994: √(2a (U^(-1/a) - 1)) · cos 2πV has Student's distribution T with 2a degrees of freedom, and
    (1 + T / √(2a + T²)) / 2 is then Beta(a, a). Unlike rejection, every row takes the same amount of chance.
    """
    u, v = uniform.double().unbind(dim=1)
    power = (1 - u) ** (1 / alpha)  # 1 - u is never 0
    cosine = torch.cos(2 * math.pi * v)
    squared = cosine**2 * (1 - power)  # multiplied through by U^(1/a), which cannot overflow
    return ((1 + cosine.sign() * torch.sqrt(squared / (power + squared))) / 2).float()
