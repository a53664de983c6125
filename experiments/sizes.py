"""Networks of equal size: the width that brings one nearest to so many parameters."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable


def nearest(widths: range, size: Callable[[int], int], wanted: int) -> int:
    """The one of ``widths``, which are ascending, whose ``size`` is nearest to ``wanted``. Wider is larger."""
    place = bisect_left(widths, wanted, key=size)
    return min(widths[max(0, place - 1) : place + 1], key=lambda width: abs(size(width) - wanted))
