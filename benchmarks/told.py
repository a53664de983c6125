"""How the pages say a number, mean and interval, median and range, share and interval; and how they draw a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from measuring import mean95


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown, with an empty line before it."""
    yield ""
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for cells in rows:
        yield f"| {' | '.join(cells)} |"


def ratio_of(ratio: dict[str, Any]) -> str:
    """``1.35 (1.21–1.61, 9)``: median, range, n."""
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f}, {ratio['n']})"


def pm(values: dict[str, Any], factor: float = 1) -> str:
    """Mean and half width of the 95 % interval, where there is one."""
    half = values["half_width_95"]
    return f"{factor * values['mean']:.3f}" + (f" ± {factor * half:.3f}" if half is not None else "")


def sd_of(values: dict[str, Any], factor: float = 1) -> str:
    """Mean and standard deviation, where there is one."""
    sd = values["sd"]
    return f"{factor * values['mean']:.1f}" + (f" ± {factor * sd:.1f}" if sd is not None else "")


def mean95_of(values: list[float]) -> str:
    """Shares as per cent; empty where there are none."""
    if not values:
        return ""
    found = mean95(values)
    half = "" if found["half_width_95"] is None else f" ± {100 * found['half_width_95']:.1f}"
    return f"{100 * found['mean']:.1f}{half} ({found['n']})"


def share(scores: dict[str, Any]) -> str:
    """With its Wilson interval."""
    return f"{scores['share']:.0%} ({scores['low']:.0%}–{scores['high']:.0%})"
