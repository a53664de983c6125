"""ShuffleNet V2's modules by torchvision's names."""

from __future__ import annotations

from collections.abc import Iterator

from seminal.papers.shufflenet_v2 import Config

TORCHVISION = {
    "shufflenet-v2-0.5x": "shufflenet_v2_x0_5",
    "shufflenet-v2-1x-torchvision": "shufflenet_v2_x1_0",
    "shufflenet-v2-1.5x-torchvision": "shufflenet_v2_x1_5",
    "shufflenet-v2-2x-torchvision": "shufflenet_v2_x2_0",
}

LEFT = {"conv1": 0, "bn1": 1, "conv2": 2, "bn2": 3}
BRANCH = {"conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4, "conv3": 5, "bn3": 6}


def torchvision(config: Config) -> dict[str, str]:
    """The left branch is their branch1, the right one branch2; their layers have numbers."""
    return dict(_named(config))


def _named(config: Config) -> Iterator[tuple[str, str]]:
    yield from (("conv1.conv1", "conv1.0"), ("conv1.bn1", "conv1.1"), ("conv5", "conv5.0"), ("bn5", "conv5.1"))
    yield "fc", "fc"
    for i, depth in enumerate(config.blocks, 2):
        for n in range(depth):
            ours, theirs = f"stages.stage{i}.{n}", f"stage{i}.{n}"
            yield from ((f"{ours}.branch.{layer}", f"{theirs}.branch2.{place}") for layer, place in BRANCH.items())
            if n == 0:
                yield from ((f"{ours}.left.{layer}", f"{theirs}.branch1.{place}") for layer, place in LEFT.items())
