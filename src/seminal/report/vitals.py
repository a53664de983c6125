"""The doctor's plots: what every layer did at the steps that were looked at, as maps of step and layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from seminal.report.data import Doctor
from seminal.report.figures import Figure, frame, numbers, plain
from seminal.report.words import number, share

MOVED = (-6.0, 0.0)  # powers of ten of the update ratio that have a colour
LABELS = 24  # layers whose names are written beside a map, at most
SHOWN = 26  # letters of a name


def plots(doctor: Doctor | None) -> list[Figure]:
    """How far each layer moved in a step; which share of its units was silent."""
    found = [_moved(doctor), _silent(doctor)] if doctor is not None and len(doctor.steps) > 1 else []
    return [figure for figure in found if figure is not None]


def _moved(doctor: Doctor) -> Figure | None:
    if not doctor.moved:
        return None
    powers = {
        name: [math.log10(v) if v > 0 and math.isfinite(v) else math.nan for v in values]
        for name, values in doctor.moved.items()
    }
    known = sorted(v for values in doctor.moved.values() for v in values if v > 0 and math.isfinite(v))
    caption = (
        "The length of a step as a share of the weights it moves. Between 0.01 % and 1 % is usual; white: no step."
    )
    if known:
        caption += f" Median here: {number(100 * known[len(known) // 2], 2)} %."
    says = {name: [f"{number(100 * v, 2)} %" for v in values] for name, values in doctor.moved.items()}
    ticks = {
        "tickvals": [-6, -5, -4, -3, -2, -1, 0],
        "ticktext": ["0.0001 %", "0.001 %", "0.01 %", "0.1 %", "1 %", "10 %", "100 %"],
    }
    trace = _map(doctor, powers, says) | {"zmin": MOVED[0], "zmax": MOVED[1]}
    trace["colorbar"] |= ticks
    return Figure("moved", "How far each layer moves", caption, [trace], _layout(doctor, powers), True)


def _silent(doctor: Doctor) -> Figure | None:
    known = {name: [v for v in values if math.isfinite(v)] for name, values in doctor.silent.items()}
    last = {name: values[-1] for name, values in known.items() if values}
    if not last:
        return None
    worst = max(last, key=last.__getitem__)
    caption = (
        "The share of units (channels) that were exactly 0 for every row of the batch. "
        f"Most at the end: {share(last[worst])} of `{plain(worst)}`."
    )
    says = {name: [share(v) for v in values] for name, values in doctor.silent.items()}
    trace = _map(doctor, doctor.silent, says) | {"zmin": 0, "zmax": 1}
    trace["colorbar"] |= {"tickvals": [0, 0.5, 1], "ticktext": ["none", "half", "all"]}
    return Figure("silent", "Silent units", caption, [trace], _layout(doctor, doctor.silent), True)


def _map(doctor: Doctor, values: Mapping[str, Any], says: Mapping[str, list[str]]) -> dict[str, Any]:
    """Columns are the looks, in their order: they lie densest at the start, where most happens."""
    hover = [
        [f"{plain(name)}, step {step:,}: {text}" for step, text in zip(doctor.steps, says[name])] for name in values
    ]
    return {
        "type": "heatmap",
        "z": [numbers(row) for row in values.values()],
        "hovertext": hover,
        "hoverinfo": "text",
        "colorscale": [[0, "var(--plot)"], [1, "var(--validation)"]],
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickfont": {"color": "var(--muted)"}},
        "xgap": 1,
        "ygap": 1,
    }


def _layout(doctor: Doctor, values: Mapping[str, Any]) -> dict[str, Any]:
    layout = frame("step", "")
    stride = max(1, -(-len(doctor.steps) // 10))
    shown = list(range(0, len(doctor.steps), stride))
    layout["xaxis"] |= {"tickvals": shown, "ticktext": [f"{doctor.steps[i]:,}" for i in shown], "showgrid": False}
    names, every = list(values), max(1, -(-len(values) // LABELS))
    rows = list(range(0, len(names), every))
    layout["yaxis"] |= {"tickvals": rows, "ticktext": [_end(plain(names[i])) for i in rows], "showgrid": False}
    layout["yaxis"]["autorange"] = "reversed"
    return layout | {"height": min(640, 150 + 18 * len(names))}


def _end(name: str) -> str:
    """The end of a layer's name tells it from its neighbours."""
    return name if len(name) <= SHOWN else "…" + name[-SHOWN:]
