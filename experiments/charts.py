"""A line chart as SVG, for pages that are read as Markdown: no script, no font of its own, readable on light and dark pages.

Series differ by colour, by the form of their marks and by their order in the legend, so that nothing is told by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

# Six colours that people with any colour vision tell apart (Okabe and Ito 2008; their yellow is too faint on white), a
# dark grey and a purple.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444", "#7f3c8d")
WIDTH, HEIGHT, LEGEND = 860, 400, 230
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 20, 56


@dataclass(frozen=True)
class Series:
    """A line: x, y, and where they are known the ends of the spread of y."""

    name: str
    points: tuple[tuple[float, float], ...]
    spread: tuple[tuple[float, float], ...] = ()
    every: int = 1  # points from mark to mark: a curve through many points has few marks
    joined: bool = True  # False: points alone


@dataclass(frozen=True)
class Axis:
    """What an axis shows, and between which values."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def at(title: str, values: Sequence[float]) -> Axis:
    """A logarithmic axis with a tick at each of the values."""
    room = max(1.1, (max(values) / min(values)) ** 0.04)
    ticks = tuple((value, f"{value:g}") for value in values)
    return Axis(title, min(values) / room, max(values) * room, ticks, logarithmic=True)


def decades(title: str, values: Sequence[float]) -> Axis:
    """A logarithmic axis with a tick at each power of ten around the values."""
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    ticks = tuple((10.0**power, f"{10.0**power:g}") for power in range(first, last + 1))
    return Axis(title, 10.0**first, 10.0**last, ticks, logarithmic=True)


def evenly(title: str, low: float, high: float, parts: int, told: Callable[[float], str]) -> Axis:
    """A linear axis in so many parts."""
    values = [low + (high - low) * i / parts for i in range(parts + 1)]
    return Axis(title, low, high, tuple((value, told(value)) for value in values))


def chart(x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """The chart as the text of an SVG file."""
    names = [part for number, line in enumerate(series) for part in _name(line, number)]
    return _page(x, y, HEIGHT, [*_drawn(x, y, series), *names])


def panels(x: Axis, y: Axis, charts: Sequence[tuple[str, Sequence[Series]]]) -> str:
    """Small charts of the same series on the same axes, two in a row, each under its title."""
    wide, head = (WIDTH - LEGEND) // 2, 24
    high = HEIGHT // 2 + head
    parts = []
    for number, (title, series) in enumerate(charts):
        left, top = wide * (number % 2), high * (number // 2)
        parts += [
            f'<text x="{left + (LEFT + wide) // 2}" y="{top + 18}" text-anchor="middle" fill="#333333">'
            f"{escape(title)}</text>",
            f'<svg x="{left}" y="{top + head}" width="{wide}" height="{HEIGHT // 2}" '
            f'viewBox="0 0 {2 * wide} {HEIGHT}" font-size="22" overflow="visible">',
            *_drawn(x, y, series),
            "</svg>",
        ]
    names = [part for number, line in enumerate(charts[0][1]) for part in _name(line, number)]
    return _page(x, y, high * -(-len(charts) // 2), [*parts, *names])


def _page(x: Axis, y: Axis, height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(y.title)} against {escape(x.title)}" font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"


def _drawn(x: Axis, y: Axis, series: Sequence[Series]) -> list[str]:
    """The axes and the lines, without their names."""
    return [*_grid(x, y), *(part for number, line in enumerate(series) for part in _line(x, y, line, number))]


def _across(x: Axis, value: float) -> float:
    return round(LEFT + (WIDTH - LEGEND - LEFT - RIGHT) * x.share(value), 1)


def _down(y: Axis, value: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - y.share(value)), 1)


def _grid(x: Axis, y: Axis) -> list[str]:
    left, right, bottom = LEFT, WIDTH - LEGEND - RIGHT, HEIGHT - BOTTOM
    parts = []
    for value, told in y.ticks:
        place = _down(y, value)
        parts.append(f'<path d="M{left} {place}H{right}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 8}" y="{place + 4}" text-anchor="end" fill="#333333">{escape(told)}</text>')
    for value, told in x.ticks:
        place = _across(x, value)
        parts.append(f'<path d="M{place} {bottom}v5" stroke="#888888"/>')
        parts.append(f'<text x="{place}" y="{bottom + 20}" text-anchor="middle" fill="#333333">{escape(told)}</text>')
    middle = (left + right) / 2
    parts.append(f'<path d="M{left} {bottom}H{right}" stroke="#888888"/>')
    parts.append(f'<text x="{middle}" y="{HEIGHT - 14}" text-anchor="middle" fill="#333333">{escape(x.title)}</text>')
    turned = f'transform="rotate(-90 16 {(TOP + bottom) / 2})"'
    title = (
        f'<text x="16" y="{(TOP + bottom) / 2}" text-anchor="middle" fill="#333333" {turned}>{escape(y.title)}</text>'
    )
    return [*parts, title]


def _line(x: Axis, y: Axis, line: Series, number: int) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    places = [(_across(x, a), _down(y, b)) for a, b in line.points]
    road = "L".join(f"{a} {b}" for a, b in places)
    parts = [f'<path d="M{road}" fill="none" stroke="{colour}" stroke-width="2"/>'] * line.joined
    for (a, _), (low, high) in zip(places, line.spread):
        parts.append(f'<path d="M{a} {_down(y, low)}V{_down(y, high)}" stroke="{colour}" stroke-width="1.5"/>')
    return [*parts, *(_mark(a, b, number) for a, b in places[:: line.every])]


def _mark(a: float, b: float, number: int) -> str:
    """A disc, a square, a triangle or a diamond; full for the first four series, hollow for the next."""
    colour = COLOURS[number % len(COLOURS)]
    fill = colour if number % 8 < 4 else "#ffffff"
    forms = (
        f"M{a - 4} {b}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
        f"M{a - 4} {b - 4}h8v8h-8z",
        f"M{a} {b - 5}l5 9h-10z",
        f"M{a} {b - 5}l5 5l-5 5l-5 -5z",
    )
    return f'<path d="{forms[number % 4]}" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>'


def _name(line: Series, number: int) -> list[str]:
    left, place = WIDTH - LEGEND + 10, TOP + 14 + 24 * number
    colour = COLOURS[number % len(COLOURS)]
    return [
        *[f'<path d="M{left} {place}h28" stroke="{colour}" stroke-width="2"/>'] * line.joined,
        _mark(left + 14, place, number),
        f'<text x="{left + 36}" y="{place + 4}" fill="#333333">{escape(line.name)}</text>',
    ]
