"""Pre-activation ResNet's modules by the names of timm, which calls it ResNetV2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from seminal.papers.preact_resnet import Config

TIMM = {f"preresnet{depth}-v1.5": f"resnetv2_{depth}" for depth in (50, 101, 152)}


def timm(config: Config) -> dict[str, str]:
    """conv2_x is their stage 0; a BN is called norm and has the number of the convolution behind it. Our stem's BN is the
    first norm of their first block."""
    return dict(_named(config))


def _named(config: Config) -> Iterator[tuple[str, str]]:
    yield from (("conv1", "stem.conv"), ("bn1", "stages.0.blocks.0.norm1"), ("last.bn", "norm"), ("fc", "head.fc"))
    for i, units in enumerate(config.blocks):
        for n in range(units):
            ours, theirs = f"stages.conv{i + 2}_x.{n}", f"stages.{i}.blocks.{n}"
            if i + n > 0:  # the first unit of all is activated by the stem
                yield f"{ours}.activation.bn", f"{theirs}.norm1"
            if n == 0:
                yield f"{ours}.shortcut", f"{theirs}.downsample.conv"
            for k in range(1, config.layers + 1):
                yield f"{ours}.branch.conv{k}", f"{theirs}.conv{k}"
                if k > 1:
                    yield f"{ours}.branch.bn{k}", f"{theirs}.norm{k}"


def arranged(dialect: str, state: Mapping[str, Tensor], config: Config, *, back: bool) -> dict[str, Tensor]:
    """``state``, under our names, with its tensors in our form; ``back``: from ours to theirs.

    Their classifier is a 1 × 1 convolution: its weight has two more dimensions, both 1.
    """
    found = dict(state)
    weight = found.get("fc.weight")
    if dialect == "timm" and weight is not None:
        if back and weight.dim() == 2:
            found["fc.weight"] = weight[:, :, None, None]
        elif not back and weight.shape[2:] == (1, 1):
            found["fc.weight"] = weight.flatten(1)
    return found
