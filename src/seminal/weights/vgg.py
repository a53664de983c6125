"""VGG's modules by the names of torchvision and of timm, and their fc6 for pictures smaller than 224 × 224."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seminal.papers.vgg import WIDTHS, Config, build

TORCHVISION = {
    "vgg11": "vgg11",
    "vgg13": "vgg13",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "vgg11-bn": "vgg11_bn",
    "vgg13-bn": "vgg13_bn",
    "vgg16-bn": "vgg16_bn",
    "vgg19-bn": "vgg19_bn",
}
TIMM = TORCHVISION

CHANNELS = WIDTHS[-1]  # that fc6 reads
THEIR_WINDOW = 7  # both stretch smaller maps to 7 × 7 before fc6


def torchvision(config: Config) -> dict[str, str]:
    """All layers of the stages, poolings too, are numbered through; so are those of the classifier."""
    return _features(config) | {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}


def timm(config: Config) -> dict[str, str]:
    """The stages as in torchvision; fc6 and fc7 are convolutions, see `arranged`."""
    return _features(config) | {"fc6": "pre_logits.fc1", "fc7": "pre_logits.fc2", "fc8": "head.fc"}


def _features(config: Config) -> dict[str, str]:
    with torch.device("meta"):
        stages = build(config).get_submodule("stages")
    layers = [(name, layer) for name, layer in stages.named_modules() if not isinstance(layer, nn.Sequential)]
    return {f"stages.{name}": f"features.{i}" for i, (name, layer) in enumerate(layers) if layer.state_dict()}


def arranged(dialect: str, state: Mapping[str, Tensor], config: Config, *, back: bool) -> dict[str, Tensor]:
    """``state``, under our names, with the fully-connected weights in our shape; ``back``: from ours to theirs.

    Their fc6 reads 7 × 7 maps, and smaller ones are stretched to that first; ours reads small maps as they are.
    Stretching is linear, x ↦ R x, so their W (R x) is our (W R) x, and a W R that was trained is some W again: W = (W R) R⁺.
    """
    found = dict(state)
    theirs = (THEIR_WINDOW, THEIR_WINDOW)
    have, want = (config.window, theirs) if back else (theirs, config.window)
    weight = found.get("fc6.weight")
    # A tensor of another size does not belong to this network: it is named by whoever checks the result.
    if weight is not None and weight[0].numel() == CHANNELS * have[0] * have[1]:
        maps = weight.reshape(len(weight), CHANNELS, *have)
        if have != want:
            height, width = (_stretching(side, back=back).to(weight) for side in config.window)
            maps = ((maps @ width).mT @ height).mT
        found["fc6.weight"] = maps if back and dialect == "timm" else maps.flatten(1)
    if dialect == "timm" and "fc7.weight" in found:
        found["fc7.weight"] = found["fc7.weight"][:, :, None, None] if back else found["fc7.weight"].flatten(1)
    return found


def _stretching(side: int, *, back: bool) -> Tensor:
    """R (7, side), the average pooling that brings a row of ``side`` numbers to seven, or R⁺ (side, 7)."""
    rows = F.adaptive_avg_pool1d(torch.eye(side, dtype=torch.float64)[:, None], THEIR_WINDOW)  # one row per unit vector
    stretch = rows[:, 0].T
    return torch.linalg.pinv(stretch) if back else stretch
