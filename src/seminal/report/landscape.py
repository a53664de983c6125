"""What `seminal landscape` draws, as data, and the page that shows it: one HTML file that needs no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seminal.report.data import Citation
from seminal.report.figures import Figure, frame, numbers, plain
from seminal.report.page import templates, writable
from seminal.report.words import number

LOGARITHMIC = 30.0  # ratio of the largest to the smallest loss from which the scale is logarithmic
LEVELS = 14  # lines of equal loss, about


@dataclass(frozen=True)
class Stop:
    """A place on the path of training."""

    name: str  # "first", "best", "last"; empty: only the line goes through it
    alpha: float
    beta: float


HERE = Stop("", 0.0, 0.0)


@dataclass(frozen=True)
class Landscape:
    """The whole page. ``losses[i][j]`` is the loss at ``betas[i]`` and ``alphas[j]``; 0, 0 is among the places."""

    title: str
    paper: Citation
    headline: tuple[tuple[str, str], ...]  # (label, value)
    says: tuple[str, ...]  # sentences
    axes: tuple[str, str]
    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    path: tuple[Stop, ...] = ()  # in the order of time; empty: not drawn
    next_commands: tuple[tuple[str, str], ...] = ()  # (command, what it does)


def render(page: Landscape) -> str:
    """The page's HTML. The caller writes it, as UTF-8."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    group = [_surface(page), _slices(page)]
    html = (
        templates()
        .get_template("landscape.html")
        .render(
            page=page,
            group=group,
            figures={figure.id: {"data": figure.data, "layout": figure.layout} for figure in group},
            library=Markup(get_plotlyjs().replace("</script", "<\\/script")),
        )
    )
    return writable(html)


def _surface(page: Landscape) -> Figure:
    losses = np.asarray(page.losses, dtype=float)
    finite = losses[np.isfinite(losses)]
    logarithmic = _wide(finite)
    trace: dict[str, Any] = {
        "type": "contour",
        "x": numbers(page.alphas),
        "y": numbers(page.betas),
        "z": [numbers(np.log10(row) if logarithmic else row) for row in losses],
        "hovertext": [[f"loss {number(float(loss), 3)}" for loss in row] for row in losses],
        "hovertemplate": f"%{{hovertext}}<br>{page.axes[0]} %{{x:.3~g}}, {page.axes[1]} %{{y:.3~g}}<extra></extra>",
        "colorscale": [[0, "var(--plot)"], [1, "var(--validation)"]],
        "line": {"color": "var(--page)", "width": 0.8, "smoothing": 0.6},
        "ncontours": LEVELS,
        "colorbar": {"thickness": 12, "outlinewidth": 0, "tickfont": {"color": "var(--muted)"}},
    }
    trace["colorbar"] |= {"title": {"text": "loss", "side": "right"}}
    if logarithmic:
        trace["colorbar"] |= {
            "tickvals": numbers(np.log10(_ticks(finite))),
            "ticktext": [number(t) for t in _ticks(finite)],
        }
    layout = frame(*page.axes) | {"height": 560, "annotations": _names(page)}
    for axis, places in (("xaxis", page.alphas), ("yaxis", page.betas)):
        layout[axis] |= {"range": [places[0], places[-1]], "zeroline": False, "showgrid": False}
    here, low, high = (
        number(float(loss), 3)
        for loss in (losses[page.betas.index(0.0), page.alphas.index(0.0)], finite.min(), finite.max())
    )
    caption = f"At the centre, where both are 0, the loss is {here}; on the plane it is between {low} and {high}. "
    caption += "Every line joins places of equal loss"
    caption += ", and the colours are on a logarithmic scale." if logarithmic else "."
    return Figure("surface", "The loss on the plane", caption, [trace, *_path(page)], layout, wide=True)


def _path(page: Landscape) -> list[dict[str, Any]]:
    """The line, dotted where it only joins what is known, and a ring at each place that has a name."""
    named = [stop for stop in page.path if stop.name]
    shown = {"type": "scatter", "hoverinfo": "skip", "cliponaxis": False}
    line = {"color": "var(--train)", "width": 2.5, "dash": "dot" if len(named) == len(page.path) else "solid"}
    ring = {"size": 10, "color": "var(--page)", "line": {"color": "var(--train)", "width": 3}}
    return [
        {**shown, **_placed(page.path), "mode": "lines", "line": line},
        {**shown, **_placed(named or [HERE]), "mode": "markers", "marker": ring},
    ]


def _placed(stops: Sequence[Stop]) -> dict[str, Any]:
    return {"x": numbers([stop.alpha for stop in stops]), "y": numbers([stop.beta for stop in stops])}


def _names(page: Landscape) -> list[dict[str, Any]]:
    shown = {"showarrow": False, "yshift": 19, "bgcolor": "var(--page)", "borderpad": 2, "opacity": 0.9}
    return [{**shown, "x": stop.alpha, "y": stop.beta, "text": plain(stop.name)} for stop in page.path if stop.name]


def _slices(page: Landscape) -> Figure:
    losses = np.asarray(page.losses, dtype=float)
    row, column = losses[page.betas.index(0.0)], losses[:, page.alphas.index(0.0)]
    finite = np.concatenate([row, column])
    finite = finite[np.isfinite(finite)]
    layout = frame("distance from the centre, in lengths of the direction", "loss") | {"showlegend": True}
    if _wide(finite):
        layout["yaxis"] |= {
            "type": "log",
            "dtick": 1,
            "exponentformat": "power",
            "title": {"text": "loss (log)", "standoff": 10},
        }
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": numbers(places),
            "y": numbers(values),
            "name": name,
            "line": {"color": f"var(--{colour})", "width": 2.5, "dash": dash},
            "hovertemplate": "%{x:.3~g}: loss %{y:.4~g}<extra></extra>",
        }
        for places, values, name, colour, dash in (
            (page.alphas, row, page.axes[0], "validation", "solid"),
            (page.betas, column, page.axes[1], "train", "dash"),
        )
    ]
    caption = "Two cuts through the plane, along each direction with the other one at 0."
    return Figure("slices", "Along each direction alone", caption, data, layout, wide=True)


def _wide(finite: np.ndarray) -> bool:
    """Whether a linear scale would hide most of it."""
    return float(finite.min()) > 0 and float(finite.max()) > LOGARITHMIC * float(finite.min())


def _ticks(finite: np.ndarray) -> list[float]:
    """Powers of ten, and three times them where there are few."""
    low, high = float(finite.min()), float(finite.max())
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if len(decades) > 4 else (1, 3)
    return [tick for decade in decades for step in steps if low <= (tick := step * 10.0**decade) <= high]
