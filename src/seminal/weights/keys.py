"""Renaming the entries of a state dict by the modules they belong to."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def renamed(state: Mapping[str, Tensor], modules: Mapping[str, str]) -> dict[str, Tensor]:
    """``state`` with each entry's module renamed: ``{"fc": "classifier.6"}`` makes ``fc.bias`` into
    ``classifier.6.bias``. Entries of modules that are not in the map keep their names, so that whoever checks the result
    can name them."""
    return {renamed_key(key, modules): value for key, value in state.items()}


def renamed_key(key: str, modules: Mapping[str, str]) -> str:
    """The name of one entry with its module renamed."""
    module, _, leaf = key.rpartition(".")
    return f"{modules[module]}.{leaf}" if module in modules else key


def turned(modules: Mapping[str, str]) -> dict[str, str]:
    """The way back: no two of our modules share one of theirs."""
    back = {theirs: ours for ours, theirs in modules.items()}
    assert len(back) == len(modules), "two modules are mapped to one name"
    return back
