"""Renaming the entries of a state dict by the modules they belong to."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def renamed(state: Mapping[str, Tensor], modules: Mapping[str, str]) -> dict[str, Tensor]:
    """``state`` with each entry's module renamed: ``{"fc": "classifier.6"}`` makes ``fc.bias`` into
    ``classifier.6.bias``. Entries of other modules are left out: they are named by whoever checks the result."""
    found = {}
    for key, value in state.items():
        module, _, leaf = key.rpartition(".")
        if module in modules:
            found[f"{modules[module]}.{leaf}"] = value
    return found


def reversed_(modules: Mapping[str, str]) -> dict[str, str]:
    """The way back. Two of our modules never share one of theirs."""
    back = {theirs: ours for ours, theirs in modules.items()}
    if len(back) != len(modules):
        raise AssertionError("two modules are mapped to one name")
    return back
