"""Reading what a ``config.json`` of others tells of a network. Nothing that it says is passed over in silence: a network
that ours cannot be is refused by the name of the setting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seminal.core import UserError


def number(told: Mapping[str, Any], name: str) -> int:
    """A size, 1 or more."""
    found = told.get(name)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise UserError(f"config.json should tell the size `{name}` as a whole number, and says {found!r}.")
    return found


def share(told: Mapping[str, Any], name: str, usual: float) -> float:
    """A number from 0 up to below 1."""
    found = told.get(name, usual)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1:
        raise UserError(f"config.json should tell `{name}` as a share from 0 to 1, and says {found!r}.")
    return float(found)


def must_be(told: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]]) -> None:
    """Settings that must have one of a few values where they are told at all; the first is the usual one."""
    for name, values in allowed.items():
        found = told.get(name, values[0])
        if found not in values:
            known = " or ".join(str(value) for value in values if value is not None)
            raise UserError(
                f"config.json tells of a network that this model is not: `{name}` is {found}, and only {known} is known here."
            )
