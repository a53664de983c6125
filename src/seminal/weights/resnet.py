"""ResNet's modules by the names of torchvision, of timm, and of the CIFAR-10 checkpoints that are copied most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from seminal.papers.resnet import Config

TORCHVISION = {
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50-v1.5": "resnet50",
    "resnet101-v1.5": "resnet101",
    "resnet152-v1.5": "resnet152",
}
TIMM = TORCHVISION


def torchvision(config: Config) -> dict[str, str]:
    """conv2_x is their layer1; the branch's layers lie directly in the block; the shortcut is called downsample."""
    return dict(_named(config, shortcut="downsample"))


timm = torchvision  # timm took torchvision's names over


def akamaster(config: Config) -> dict[str, str]:
    """The small networks of github.com/akamaster/pytorch_resnet_cifar10, with option A: `fc` is called `linear`."""
    return {ours: theirs.replace("fc", "linear") for ours, theirs in _named(config, shortcut="shortcut")}


def _named(config: Config, shortcut: str) -> Iterator[tuple[str, str]]:
    yield from ((name, name) for name in ("conv1", "bn1", "fc"))
    layers = [f"{kind}{n}" for n in range(1, 4 if config.bottleneck else 3) for kind in ("conv", "bn")]
    for i, blocks in enumerate(config.blocks):
        for n in range(blocks):
            ours, theirs = f"stages.conv{i + 2}_x.{n}", f"layer{i + 1}.{n}"
            yield from ((f"{ours}.branch.{layer}", f"{theirs}.{layer}") for layer in layers)
            yield from ((f"{ours}.shortcut.{j}", f"{theirs}.{shortcut}.{j}") for j in (0, 1))


def arranged(dialect: str, state: Mapping[str, Tensor], config: Config, *, back: bool) -> dict[str, Tensor]:
    """``state``, under our names, with its channels in our order; ``back``: from ours to theirs.

    Option A leaves open on which side the zeros of the new channels stand. Ours come last; akamaster's stand half before
    and half after the old channels. The two are one network whose channels are numbered otherwise, so every tensor that
    writes to or reads from the stream of a stage is renumbered.
    """
    if dialect != "akamaster" or config.shortcut != "A":
        return dict(state)
    orders = [torch.arange(config.width)]  # per stage: the channel of theirs that is our channel i
    for _ in config.blocks[1:]:
        old = orders[-1]
        pad = len(old) // 2
        new = torch.cat([torch.arange(pad), torch.arange(pad + len(old), 2 * len(old))])
        orders.append(torch.cat([old + pad, new]))
    if back:
        orders = [order.argsort() for order in orders]
    return {key: _renumbered(key, value, orders) for key, value in state.items()}


def _renumbered(key: str, value: Tensor, orders: list[Tensor]) -> Tensor:
    if key == "fc.weight":
        return _taken(value, 1, orders[-1])
    if not key.startswith("stages."):
        return value
    _, stage, block, _, layer, *_ = key.split(".")
    at = int(stage.removeprefix("conv").removesuffix("_x")) - 2
    if layer == "conv1":  # reads the stream: in the first block of a stage that of the stage before
        return _taken(value, 1, orders[max(0, at - (block == "0"))])
    return _taken(value, 0, orders[at]) if layer in ("conv2", "bn2") else value  # writes it


def _taken(value: Tensor, dim: int, order: Tensor) -> Tensor:
    """A tensor of another size does not belong to this network: it is named by whoever checks the result."""
    fits = value.dim() > dim and value.shape[dim] == len(order)
    return value.index_select(dim, order) if fits else value
