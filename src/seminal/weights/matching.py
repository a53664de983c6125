"""Whose names does a checkpoint use, and does it fit the model?"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import Tensor, nn

import seminal.weights
from seminal.core import UserError
from seminal.weights.keys import renamed, renamed_key, turned

OURS = "seminal"
# A function of this name in weights/PAPER.py maps to its names.
PEERS = ("torchvision", "timm", "akamaster", "huggingface", "marian", "torch_transformer")
SAID = 4  # names in a message, before "and n more"


@dataclass(frozen=True)
class Fit:
    """A checkpoint beside a model: its entries under our names, and which of them do not fit."""

    dialect: str
    state: dict[str, Tensor]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]  # entry -> its shape in the file, in the model
    theirs: Mapping[str, str]  # our name of an entry -> the name in the file

    @property
    def matched(self) -> int:
        return len(self.state) - len(self.unexpected)

    @property
    def fits(self) -> bool:
        return not (self.missing or self.unexpected or self.misshaped)

    def told(self) -> str:
        """What does not fit, in words and in the names of the file."""
        parts = []
        if self.missing:
            parts.append(f"the file lacks {_some([self.theirs[key] for key in self.missing])}")
        if self.unexpected:
            parts.append(f"the model has no {_some(self.unexpected)}")
        if self.misshaped:
            shown = [
                f"{self.theirs[key]} is {_shape(found)} in the file and {_shape(wanted)} in the model"
                for key, (found, wanted) in self.misshaped.items()
            ]
            parts.append(_some(shown))
        return "; ".join(parts)


def dialects(paper: str, config: Any) -> dict[str, dict[str, str]]:
    """By whose names this network's entries can be called: peer -> {our module: theirs}. Ours is not among them."""
    module = _module(paper)
    found = {name: vars(module)[name](config) for name in PEERS if module is not None and name in vars(module)}
    return {name: modules for name, modules in found.items() if modules}  # empty: the peer has no such network


def to_ours(dialect: str, state: Mapping[str, Tensor], paper: str, config: Any) -> dict[str, Tensor]:
    """Entries under the peer's names -> under ours."""
    if dialect == OURS:
        return dict(state)
    module = _module(paper)
    found = renamed(state, turned(dialects(paper, config)[dialect]))
    if module is not None and "arranged" in vars(module):
        found = module.arranged(dialect, found, config, back=False)
    return found


def to_theirs(dialect: str, state: Mapping[str, Tensor], paper: str, config: Any) -> dict[str, Tensor]:
    """Entries under our names -> under the peer's. Raises `UserError` where the peer has no such network."""
    known = dialects(paper, config)
    if dialect not in known:
        others = ", ".join(("safetensors", *known))
        raise UserError(f"{dialect} has no network like this one, so there are no names to give. Write --to {others}.")
    module = _module(paper)
    if module is not None and "arranged" in vars(module):
        state = module.arranged(dialect, state, config, back=True)
    return renamed(state, known[dialect])


def has_config(paper: str) -> bool:
    """Whether peers tell the sizes of this paper's networks in a ``config.json``."""
    module = _module(paper)
    return module is not None and "config_from" in vars(module)


def config_from(told: Mapping[str, Any], paper: str, config: Any) -> Any:
    """Our config with the sizes that a peer's ``config.json`` tells. Raises `UserError` where that is another network."""
    module = _module(paper)
    assert module is not None
    return module.config_from(told, config)


def config_in(state: Mapping[str, Tensor], told: Mapping[str, Any], paper: str, config: Any) -> Any:
    """Our config with what the entries of a peer's file tell, where a paper's networks have several heads."""
    module = _module(paper)
    if module is None or "config_in" not in vars(module):
        return config
    return module.config_in(state, told, config)


def config_for(dialect: str, paper: str, config: Any) -> dict[str, Any]:
    """The peer's ``config.json`` of our network."""
    module = _module(paper)
    assert module is not None
    found: dict[str, Any] = module.config_for(dialect, config)
    return found


def fit(state: Mapping[str, Tensor], model: nn.Module, paper: str, config: Any, dialect: str | None = None) -> Fit:
    """``state`` beside ``model``; without ``dialect``, by the names that fit most entries.

    Raises:
        UserError: ``dialect`` is not one that this network has.
    """
    known = [OURS, *dialects(paper, config)]
    if dialect is not None and dialect not in known:
        raise UserError(f"there are no names of `{dialect}` for this network. Write --from {', '.join(known)}.")
    fits = [_beside(name, state, model, paper, config) for name in ([dialect] if dialect else known)]
    return max(fits, key=lambda found: (-len(found.missing), found.matched))  # the first of equals: ours


def _beside(dialect: str, state: Mapping[str, Tensor], model: nn.Module, paper: str, config: Any) -> Fit:
    wanted = model.state_dict()
    back = dialects(paper, config)[dialect] if dialect != OURS else {}
    theirs = {key: renamed_key(key, back) for key in wanted}
    # A counter of batches came late to torch: older files lack it, and only a momentum of `None` would read it.
    needed = [key for key in wanted if not key.endswith("num_batches_tracked")]
    found = to_ours(dialect, state, paper, config)
    misshaped = {
        key: (tuple(value.shape), tuple(wanted[key].shape))
        for key, value in found.items()
        if key in wanted and value.shape != wanted[key].shape
    }
    missing = tuple(key for key in needed if key not in found)
    return Fit(dialect, found, missing, tuple(key for key in found if key not in wanted), misshaped, theirs)


def _module(paper: str) -> ModuleType | None:
    names = {m.name for m in pkgutil.iter_modules(seminal.weights.__path__)}
    return importlib.import_module(f"seminal.weights.{paper}") if paper in names else None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SAID} more" if len(names) > SAID else ""
    return ", ".join(names[:SAID]) + more


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a number"


def variant_for(peer: str, paper: str, variant: str) -> str:
    """The variant that is the peer's network called ``variant``: their resnet50 is our `resnet50-v1.5`. The same name
    where the peer has no such network."""
    module = _module(paper)
    same: Mapping[str, str] = vars(module).get(peer.upper(), {}) if module is not None else {}
    if variant in same:
        return variant
    return next((ours for ours, theirs in same.items() if theirs == variant), variant)
