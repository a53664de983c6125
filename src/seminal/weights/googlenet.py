"""GoogLeNet's modules by the names of torchvision, whose network is our ``googlenet-torchvision``."""

from __future__ import annotations

from seminal.papers.googlenet import TABLE, Config

TORCHVISION = {"googlenet-torchvision": "googlenet"}

BRANCHES = {
    "one": "branch1",
    "three.0": "branch2.0",
    "three.1": "branch2.1",
    "five.0": "branch3.0",
    "five.1": "branch3.1",
    "pool.1": "branch4.1",
}


def torchvision(config: Config) -> dict[str, str]:
    """Branches are numbered from left to right; the reduction before conv2 counts as a layer of its own."""
    units = {"conv1": "conv1", "conv2.0": "conv2", "conv2.1": "conv3"}
    for row in TABLE:
        units |= {f"inception{row}.{ours}": f"inception{row}.{theirs}" for ours, theirs in BRANCHES.items()}
    units |= {"side1.conv": "aux1.conv", "side2.conv": "aux2.conv"}
    layers = ("conv", "bn") if config.normalised else ("conv",)
    found = {f"{ours}.{layer}": f"{theirs}.{layer}" for ours, theirs in units.items() for layer in layers}
    found |= {f"side{i}.{layer}": f"aux{i}.{layer}" for i in (1, 2) for layer in ("fc1", "fc2")}
    return found | {"fc": "fc"}
