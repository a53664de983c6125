"""DenseNet's modules by torchvision's names."""

from __future__ import annotations

from collections.abc import Iterator

from seminal.papers.densenet import Config

TORCHVISION = {name: name for name in ("densenet121", "densenet161", "densenet169", "densenet201")}
TIMM = TORCHVISION


def torchvision(config: Config) -> dict[str, str]:
    """Blocks, layers and transitions are counted from 1; all but the linear layer lies in ``features``."""
    return dict(_named(config))


timm = torchvision  # timm took torchvision's names over


def _named(config: Config) -> Iterator[tuple[str, str]]:
    yield "conv0", "features.conv0"
    if config.large_stem:
        yield "norm0", "features.norm0"
    for i, layers in enumerate(config.blocks):
        for j in range(layers):
            steps = ("bottleneck", "grow") if config.bottleneck else ("grow",)
            for n, step in enumerate(steps, start=1):
                ours, theirs = f"blocks.{i}.{j}.{step}", f"features.denseblock{i + 1}.denselayer{j + 1}"
                yield from ((f"{ours}.{part}", f"{theirs}.{part}{n}") for part in ("norm", "conv"))
        if i + 1 < len(config.blocks):
            ours, theirs = f"transitions.{i}.squeeze", f"features.transition{i + 1}"
            yield from ((f"{ours}.{part}", f"{theirs}.{part}") for part in ("norm", "conv"))
    yield "norm", "features.norm5"
    yield "fc", "classifier"
