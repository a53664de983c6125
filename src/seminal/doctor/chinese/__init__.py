"""What the doctor says, in Chinese.

The rules write plain English. A sentence is recognised by its fixed words, and what stands between them is carried over:
a number as it is, a part that is a sentence itself in Chinese. The pairs lie beside this file, for whoever reads Chinese to
put right: a line of English with {} where a value stands, below it the same in Chinese with {0}, {1} … in any order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

HOLE = re.compile(r"(`?)\{(\d)\}")
IDEOGRAPH = re.compile(r"[\u4e00-\u9fff]")


def translated(sentence: str) -> str:
    """In Chinese; a sentence without a pair stays as it is, and so does the sign before one."""
    sign = sentence[:2] if sentence.startswith(("· ", "→ ")) else ""
    said = sentence.removeprefix(sign)
    return sign + (_found(said.strip()) or said)


@cache
def pairs() -> dict[str, str]:
    """English shapes and Chinese ones: those with the most fixed words come first."""
    found: dict[str, str] = {}
    for file in sorted(Path(__file__).parent.glob("*.txt")):
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        found |= zip(lines[::2], lines[1::2], strict=True)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0].replace("{}", ""))))


@cache
def _shapes() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(re.escape(english).replace(r"\{\}", "(.*?)")), said) for english, said in pairs().items())


@cache
def _found(sentence: str) -> str | None:
    for shape, chinese in _shapes():
        match = shape.fullmatch(sentence)
        # A shape that only joins others says nothing where it joins none that is known.
        if match and (IDEOGRAPH.search(chinese) or any(_found(value.strip()) for value in match.groups())):
            return _filled(chinese, match.groups())
    return None


def _filled(chinese: str, values: Sequence[str]) -> str:
    def value(hole: re.Match[str]) -> str:
        tick, text = hole[1], values[int(hole[2])]
        return tick + text if tick else translated(text)  # a layer may be called `first`: a name is no word

    return HOLE.sub(value, chinese)
