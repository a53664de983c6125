"""One-tower AlexNet's modules by the names of torchvision; timm has none."""

from __future__ import annotations

from seminal.papers.alexnet_owt import Config

TORCHVISION = {"alexnet-torchvision": "alexnet"}


def torchvision(config: Config) -> dict[str, str]:
    """The layers of both parts are numbered through, those without weights too."""
    features = {f"conv{n}": f"features.{i}" for n, i in zip(range(1, 6), (0, 3, 6, 8, 10))}
    return features | {"fc6": "classifier.1", "fc7": "classifier.4", "fc8": "classifier.6"}
