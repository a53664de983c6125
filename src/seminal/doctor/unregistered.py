"""Modules that a model uses and torch does not know of: they stand in a plain list, tuple or dictionary of another module.

Their weights are no parameters of the model, so that no optimiser, no ``state_dict`` and no ``to(device)`` has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Plain:
    """A plain container of modules, as an attribute of its ``owner``."""

    owner: nn.Module
    place: str  # ``encoder.layers``
    value: Any  # list, tuple or dict

    @property
    def modules(self) -> list[nn.Module]:
        return [each for each in _items(self.value) if isinstance(each, nn.Module)]

    @property
    def numbers(self) -> int:
        """In their weights."""
        return sum(p.numel() for module in self.modules for p in module.parameters())


def unregistered(model: nn.Module, owned: Iterable[nn.Parameter] = ()) -> list[Plain]:
    """Containers whose modules have weights that are neither parameters of ``model`` nor ``owned`` by an optimiser."""
    known = {id(p) for p in (*model.parameters(), *owned)}
    found = []
    for name, owner in model.named_modules():
        for attribute, value in vars(owner).items():
            plain = Plain(owner, f"{name}.{attribute}".lstrip("."), value)
            if not attribute.startswith("_") and any(id(p) not in known for m in plain.modules for p in m.parameters()):
                found.append(plain)
    return found


def register(model: nn.Module) -> None:
    """Make all of them `ModuleList` or `ModuleDict`, in place."""
    for plain in unregistered(model):
        attribute = plain.place.rpartition(".")[2]
        keyed = isinstance(plain.value, dict) and all(isinstance(key, str) for key in plain.value)
        if len(plain.modules) == len(plain.value) and (keyed or not isinstance(plain.value, dict)):
            setattr(plain.owner, attribute, nn.ModuleDict(plain.value) if keyed else nn.ModuleList(plain.value))
        else:  # with other things among the modules it stays what it is
            plain.owner.add_module(f"{attribute}_modules", nn.ModuleList(plain.modules))


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
