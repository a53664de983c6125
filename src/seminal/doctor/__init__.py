"""The doctor: what is wrong with a training run, shown by numbers, and what helps.

``from seminal import doctor`` is light; torch is imported when something is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seminal.doctor.callbacks import for_lightning, for_trainer
    from seminal.doctor.watching import NotFinite, watch

__all__ = ["NotFinite", "for_lightning", "for_trainer", "watch"]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first asked for."""
    home = {
        "NotFinite": "watching",
        "for_lightning": "callbacks",
        "for_trainer": "callbacks",
        "watch": "watching",
    }
    if name not in home:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return vars(import_module(f"{__name__}.{home[name]}"))[name]
