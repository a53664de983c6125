"""ResNeXt's modules by the names of torchvision and timm, which are those of their ResNets."""

from __future__ import annotations

from seminal.papers.resnext import Config
from seminal.weights import resnet

TORCHVISION = {
    "resnext50-32x4d": "resnext50_32x4d",
    "resnext101-32x8d": "resnext101_32x8d",
    "resnext101-64x4d": "resnext101_64x4d",
}
TIMM = {**TORCHVISION, "resnext101-32x4d": "resnext101_32x4d"}


def torchvision(config: Config) -> dict[str, str]:
    """conv2_x is their layer1; the branch's layers lie directly in the block; the shortcut is called downsample."""
    return resnet.torchvision(config.base)


timm = torchvision  # timm took torchvision's names over
