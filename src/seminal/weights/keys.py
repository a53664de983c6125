"""Renaming the entries of a state dict by the modules they belong to, and what else two programs do otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

PARTS = ("queries", "keys", "values")  # of attention's one matrix `inside`, in its order


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


def together(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with queries, keys and values (``….inside.queries.weight`` …) in the one matrix that attention has here.
    Parts that do not make a whole stay, so that whoever checks the result can name them."""
    found = dict(state)
    for key in [key for key in found if f".inside.{PARTS[0]}." in key]:
        names = [key.replace(f".{PARTS[0]}.", f".{part}.") for part in PARTS]
        parts = [found[name] for name in names if name in found]
        if len(parts) == len(PARTS) and len({part.shape for part in parts}) == 1:
            found[key.replace(f".{PARTS[0]}.", ".")] = torch.cat(parts)
            found = {name: value for name, value in found.items() if name not in names}
    return found


def apart(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`together`, the other way."""
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        before, inside, leaf = key.rpartition(".inside.")
        if inside:
            found |= {f"{before}.inside.{p}.{leaf}": v.contiguous() for p, v in zip(PARTS, value.chunk(len(PARTS)))}
        else:
            found[key] = value
    return found


def _same(one: Tensor, other: Tensor) -> bool:
    """Tensors without numbers are the same if their shapes are."""
    return one.shape == other.shape and (one.is_meta or other.is_meta or bool((one == other).all()))
