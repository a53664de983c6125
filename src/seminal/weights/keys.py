"""Renaming the entries of a state dict by the modules they belong to, and what else two programs do otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor


def renamed(state: Mapping[str, Tensor], modules: Mapping[str, str]) -> dict[str, Tensor]:
    """``state`` with each entry's module renamed: ``{"fc": "classifier.6"}`` makes ``fc.bias`` into
    ``classifier.6.bias``. An entry whose full name is in the map gets the name that stands there. Entries of modules that
    are not in the map keep their names, so that whoever checks the result can name them."""
    return {renamed_key(key, modules): value for key, value in state.items()}


def renamed_key(key: str, modules: Mapping[str, str]) -> str:
    """The name of one entry with its module renamed."""
    if key in modules:
        return modules[key]
    module, _, leaf = key.rpartition(".")
    return f"{modules[module]}.{leaf}" if module in modules else key


def turned(modules: Mapping[str, str]) -> dict[str, str]:
    """The way back: no two of our modules share one of theirs."""
    back = {theirs: ours for ours, theirs in modules.items()}
    assert len(back) == len(modules), "two modules are mapped to one name"
    return back


def untied(state: Mapping[str, Tensor], name: str, copies: Iterable[str]) -> dict[str, Tensor]:
    """``state`` with a matrix that files hold under several names only under ``name``. A copy with other numbers is no
    copy: it stays, so that whoever checks the result can name it."""
    found = dict(state)
    for copy in copies:
        if copy in found and _same(found.setdefault(name, found[copy]), found[copy]):
            del found[copy]
    return found


def _same(one: Tensor, other: Tensor) -> bool:
    """Tensors without numbers are the same if their shapes are."""
    return one.shape == other.shape and (one.is_meta or other.is_meta or bool((one == other).all()))
