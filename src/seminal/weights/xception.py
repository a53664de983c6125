"""Xception's modules by timm's names."""

from __future__ import annotations

from collections.abc import Iterator

from seminal.papers.xception import Config

# timm's `xception41`, `xception65` and `xception71` are other networks, made for segmentation.
TIMM = {"xception": "legacy_xception"}


def timm(config: Config) -> dict[str, str]:
    """Their blocks are numbered through; a branch is a `Sequential` whose layers have numbers; conv3 and conv4 stand free."""
    return dict(_named(config))


def _named(config: Config) -> Iterator[tuple[str, str]]:
    yield from ((name, name) for name in ("conv1", "bn1", "conv2", "bn2", "fc"))
    modules = [*(f"entry.{i}" for i in range(3)), *(f"middle.{i}" for i in range(config.repeats)), "exit"]
    for number, module in enumerate(modules, 1):
        first = 0 if number == 1 else 1  # all but block1 begin with a ReLU
        for n in range(3 if module.startswith("middle") else 2):
            place = first + 3 * n  # ReLU, convolution, normalisation
            yield from _separable(f"{module}.branch.conv{n + 1}", f"block{number}.rep.{place}")
            yield f"{module}.branch.bn{n + 1}", f"block{number}.rep.{place + 1}"
        if config.residual and not module.startswith("middle"):
            yield f"{module}.shortcut.0", f"block{number}.skip"
            yield f"{module}.shortcut.1", f"block{number}.skipbn"
    for n in (1, 2):
        yield from _separable(f"last.branch.conv{n}", f"conv{n + 2}")
        yield f"last.branch.bn{n}", f"bn{n + 2}"


def _separable(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.depthwise", f"{theirs}.conv1"
    yield f"{ours}.pointwise", f"{theirs}.pointwise"
