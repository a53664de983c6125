"""What `seminal explain` shows of a network, as data, and the page that shows it: one HTML file that needs no network."""

from __future__ import annotations

from dataclasses import dataclass

from seminal.report.data import Citation, Picture
from seminal.report.page import templates, writable
from seminal.report.pictures import HEAT
from seminal.report.words import share

POINTS = 201  # of a line of gates: more cannot be told apart


@dataclass(frozen=True)
class Guess:
    """A class and its probability, in [0, 1]."""

    label: str
    probability: float


@dataclass(frozen=True)
class Activation:
    """Where the evidence for a class lies in the picture. ``picture`` is None where no place speaks for the class."""

    layer: str
    label: str  # the class that was asked about
    size: tuple[int, int]  # (h, w) of the layer's maps
    picture: Picture | None


@dataclass(frozen=True)
class Maps:
    """The strongest feature maps of a layer. The caption of a tile names its channel."""

    layer: str
    shape: tuple[int, int, int]  # (C, h, w)
    tiles: tuple[Picture, ...]


@dataclass(frozen=True)
class Neighbour:
    """A training picture and how like it is: the cosine of the penultimate vectors, from −1 to 1."""

    picture: Picture
    label: str
    similarity: float
    same: bool  # it is the explained picture itself, pixel for pixel


@dataclass(frozen=True)
class Gate:
    """The numbers, from 0 to 1, by which a squeeze-and-excitation block multiplies its channels."""

    layer: str
    values: tuple[float, ...]

    @property
    def caption(self) -> str:
        mean = sum(self.values) / len(self.values)
        return f"{len(self.values):,} channels, mean {mean:.2f}, from {min(self.values):.2f} to {max(self.values):.2f}"

    @property
    def points(self) -> str:
        """The values from the largest to the smallest as a line in SVG's coordinates, both from 0 to 100, with 1 at the
        top. In the order of the channels, a line through hundreds of them would be a blot."""
        ranked = sorted(self.values, reverse=True)
        last = len(ranked) - 1
        kept = sorted({round(i * last / (POINTS - 1)) for i in range(POINTS)})
        if last == 0:
            return f"0,{100 * (1 - ranked[0]):.5g} 100,{100 * (1 - ranked[0]):.5g}"
        return " ".join(f"{100 * i / last:.5g},{100 * (1 - ranked[i]):.5g}" for i in kept)


@dataclass(frozen=True)
class Insight:
    """One picture, and what the network makes of it."""

    picture: Picture  # as the network sees it; its name is what the user calls it
    guesses: tuple[Guess, ...]  # the most probable first
    activation: Activation | None = None  # None: the network has no feature maps
    maps: tuple[Maps, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()  # the most like first
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True)
class Insights:
    """The whole page. ``compared`` says in a sentence which training pictures were looked at, or why none were."""

    title: str
    paper: Citation
    headline: tuple[tuple[str, str], ...]  # (label, value)
    pictures: tuple[Insight, ...]
    compared: str
    filters: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
    next_commands: tuple[tuple[str, str], ...] = ()  # (command, what it does)


GENERATOR = "seminal explain"  # written into the page: it may be written over, other files may not


def render(insights: Insights) -> str:
    """The page's HTML. The caller writes it, as UTF-8."""
    pictures = [(f"picture-{i}", insight) for i, insight in enumerate(insights.pictures, 1)]
    sections = [(place, _short(insight.picture.name)) for place, insight in pictures]
    sections += [("filters", "First-layer filters")] if insights.filters else []
    sections += [("further", "Further")] if insights.next_commands else []
    html = (
        templates()
        .get_template("explain.html")
        .render(
            page=insights,
            pictures=pictures,
            sections=sections,
            generator=GENERATOR,
            ramp=", ".join(f"rgb{colour}" for colour in HEAT),
            share=share,
        )
    )
    return writable(html)


def _short(name: str) -> str:
    """The end of a path, which tells pictures of one folder apart."""
    return name if len(name) <= 32 else "…" + name[-31:]
