"""The modules of networks with squeeze-and-excitation by the names of timm.

timm has two families: its own (`seresnet50`, `senet154`), and that of the authors' Caffe weights (`legacy_seresnet50`,
`legacy_senet154`), whose stem pools from the corner.
"""

from __future__ import annotations

from collections.abc import Iterator

from seminal.papers import bn_inception, preact_resnet
from seminal.papers.senet import Config

_DEPTHS = (50, 101, 152)
_NEXT = {f"se-resnext{depth}-32x4d": f"seresnext{depth}_32x4d" for depth in (50, 101)}
TIMM = {
    **{f"se-resnet{depth}-v1.5": f"seresnet{depth}" for depth in _DEPTHS},
    **_NEXT,
    "senet154": "senet154",
    **{f"se-resnet{depth}-caffe": f"legacy_seresnet{depth}" for depth in _DEPTHS},
    **{f"{ours}-caffe": f"legacy_{theirs}" for ours, theirs in _NEXT.items()},
    "senet154-caffe": "legacy_senet154",
}


def timm(config: Config) -> dict[str, str]:
    """conv2_x is their layer1; the branch's layers lie directly in the block; the shortcut is called downsample. There is
    nothing for the networks that timm does not have."""
    if isinstance(config.backbone, bn_inception.Config | preact_resnet.Config):
        return {}
    return dict([*_stem(config), *_blocks(config)])


def _stem(config: Config) -> Iterator[tuple[str, str]]:
    first = "layer0." if config.caffe_pool else ""
    yield "fc", "last_linear" if config.caffe_pool else "fc"
    if config.network != "senet154":
        yield from (("conv1", f"{first}conv1"), ("bn1", f"{first}bn1"))
        return
    names = ("conv1.conv1", "conv1.bn1", "conv1.conv2", "conv1.bn2", "conv1.conv3", "bn1")
    legacy = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3")
    own = ("conv1.0", "conv1.1", "conv1.3", "conv1.4", "conv1.6", "bn1")
    yield from zip(names, [f"layer0.{name}" for name in legacy] if config.caffe_pool else own)


def _blocks(config: Config) -> Iterator[tuple[str, str]]:
    assert not isinstance(config.backbone, bn_inception.Config)
    gate = "se_module" if config.caffe_pool else "se"
    for i, blocks in enumerate(config.backbone.blocks):
        for n in range(blocks):
            ours, theirs = f"stages.conv{i + 2}_x.{n}", f"layer{i + 1}.{n}"
            for k in (1, 2, 3):
                yield from ((f"{ours}.branch.{kind}{k}", f"{theirs}.{kind}{k}") for kind in ("conv", "bn"))
            yield from ((f"{ours}.shortcut.{k}", f"{theirs}.downsample.{k}") for k in (0, 1))
            yield f"{ours}.branch.se.gate.reduce", f"{theirs}.{gate}.fc1"
            yield f"{ours}.branch.se.gate.expand", f"{theirs}.{gate}.fc2"
