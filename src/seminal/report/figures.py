"""The report's plots, as the dictionaries plotly.js draws.

Colours are written ``var(--name)``: the page looks them up in its style sheet, so that plots are light or dark with it.
The user's words (class names, file names) pass through `plain` before plotly sees them, because plotly reads a little
HTML in its texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seminal.report.data import Report, Scatter
from seminal.report.words import capital, metric_name, number, printable, score, share, shortened

SHOWN_CLASSES = 50  # a larger confusion matrix cannot be read; the classes with the most mistakes are shown
SHOWN_POINTS = 2000  # of a scatter plot: each is an element of the page


@dataclass(frozen=True)
class Figure:
    """One plot: ``caption`` says in words what it shows, for the reader and for those who cannot see it."""

    id: str
    title: str
    caption: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    wide: bool = False


def plain(text: str, length: int = 60) -> str:
    """The user's words as plotly shows them literally."""
    text = shortened(printable(text), length)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def numbers(values: Sequence[float | None] | np.ndarray) -> list[float | None]:
    """Five digits of each value are more than a plot shows; what is not finite is a gap."""
    return [None if v is None or not math.isfinite(v) else float(f"{v:.5g}") for v in values]


def curves(report: Report) -> list[Figure]:
    """Loss, the goal metric, learning rate and gradient norm over epochs: those that were recorded."""
    found = [*_game(report), _loss(report), _goal(report), _parts(report), *_lessons(report)]
    return [figure for figure in [*found, _learning_rate(report), _gradient(report)] if figure is not None]


def plane(report: Report) -> list[Figure]:
    """Where the rows lie in the plane of two latent variables, class by class."""
    shown = report.plane
    if shown is None:
        return []
    x, y, classes = np.asarray(shown.x), np.asarray(shown.y), np.asarray(shown.classes or [0] * len(shown.x))
    data = []
    for place, c in enumerate(np.unique(classes)):
        name = plain(report.classes[c], 16) if report.classes and shown.classes else "rows"
        dots = {"size": 5, "opacity": 0.75, "color": f"hsl({360 * place // len(np.unique(classes))}, 55%, 50%)"}
        here = classes == c
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": numbers(x[here]),
                "y": numbers(y[here]),
                "name": name,
                "marker": dots,
            }
        )
    layout = frame(*shown.axes) | {"height": 460, "showlegend": len(data) > 1}
    caption = f"Each of {len(x):,} validation rows at the mean of its latent variables."
    return [Figure("plane", "The latent plane", caption, data, layout)]


def confusion(report: Report) -> Figure | None:
    """The confusion matrix, each row coloured by its share of the true class."""
    if report.confusion is None or not report.classes:
        return None
    counts = np.asarray(report.confusion, dtype=np.int64)
    wrong = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
    chosen = np.sort(np.argsort(-wrong, kind="stable")[:SHOWN_CLASSES])
    rows = counts.sum(1, keepdims=True)[chosen]
    inside = counts[np.ix_(chosen, chosen)]
    shares = inside / np.maximum(rows, 1)
    names = [plain(report.classes[i]) for i in chosen]
    hover = [
        [
            f"true <b>{names[i]}</b>, predicted <b>{names[j]}</b><br>{inside[i, j]:,} of {rows[i, 0]:,} rows"
            f" ({share(shares[i, j])})"
            for j in range(len(chosen))
        ]
        for i in range(len(chosen))
    ]
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": [numbers(row) for row in shares],
        "zmin": 0,
        "zmax": 1,
        "hovertext": hover,
        "hoverinfo": "text",
        "colorscale": [[0, "var(--plot)"], [1, "var(--validation)"]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    if len(chosen) <= 20:
        trace |= {"text": [[f"{c:,}" if c else "" for c in row] for row in inside], "texttemplate": "%{text}"}
    layout = frame("predicted", "true")
    labels = {"tickvals": list(range(len(chosen))), "showgrid": False, "zeroline": False, "ticks": ""}
    labels["ticktext"] = [plain(report.classes[i], 16) for i in chosen]
    slanted = max(len(name) for name in names) > 3
    layout["xaxis"] |= labels | {"constrain": "domain", "tickangle": -45 if slanted else 0}
    layout["yaxis"] |= labels | {"autorange": "reversed", "scaleanchor": "x", "constrain": "domain"}
    layout |= {"height": min(860, 220 + 28 * len(chosen)), "meta": {"square": True}, "plot_bgcolor": "var(--line)"}
    few = "" if len(chosen) == len(counts) else f" Shown are the {len(chosen)} classes with the most mistakes."
    wide = len(chosen) > 20
    return Figure("confusion", "Confusion matrix", mixed_up(report) + few, [trace], layout, wide)


def mixed_up(report: Report) -> str:
    """One sentence that names the two classes most often taken for each other."""
    counts = np.asarray(report.confusion, dtype=np.int64)
    rows = counts.sum(1)
    both = np.triu(counts + counts.T, 1)
    if not both.any():
        return "No row of the validation split is put into a wrong class."
    i, j = np.unravel_index(both.argmax(), both.shape)
    if counts[j, i] > counts[i, j]:
        i, j = j, i
    first, second = (f"“{printable(report.classes[k])}”" for k in (i, j))
    sentence = f"Most mixed up: {first} is taken for {second} {_times(counts[i, j])} in {rows[i]:,} rows"
    if counts[j, i]:
        return f"{sentence}, {second} for {first} {_times(counts[j, i])} in {rows[j]:,}."
    return f"{sentence}, {second} for {first} never."


def recalls(report: Report) -> Figure | None:
    """The share of each class's rows that are recognised, weakest first."""
    if not report.recalls:
        return None
    known = sorted((recall, i) for i, recall in enumerate(report.recalls) if recall is not None)
    missing = [i for i, recall in enumerate(report.recalls) if recall is None]
    says = {i: share(recall) for recall, i in known} | dict.fromkeys(missing, "no row")
    shown = list(says)[:SHOWN_CLASSES]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": numbers([None if recall is None else 100 * recall for recall in (report.recalls[i] for i in shown)]),
        "y": list(range(len(shown))),
        "text": [says[i] for i in shown],
        "textposition": "auto",
        "hovertext": [f"{plain(report.classes[i])}: {says[i]}" for i in shown],
        "hoverinfo": "text",
        "marker": {"color": "var(--validation)"},
    }
    layout = frame("recall", "")
    layout["xaxis"] |= {"range": [0, 101], "dtick": 25, "tickangle": 0, "ticksuffix": " %"}
    layout["yaxis"] |= {"autorange": "reversed", "tickvals": trace["y"], "showgrid": False, "zeroline": False}
    layout["yaxis"]["ticktext"] = [plain(report.classes[i], 16) for i in shown]
    layout["margin"] |= {"r": 32}  # room for the label 100 %
    few = len(shown) <= 20
    layout |= {"height": (220 if few else 140) + (28 if few else 20) * len(shown), "bargap": 0.25}
    caption = _weakest(report, known, missing)
    if len(shown) < len(says):
        caption += f" Shown are the {len(shown)} weakest of {len(says)}."
    return Figure("recall", "Recall of each class", caption, [trace], layout, wide=not few)


def _weakest(report: Report, known: list[tuple[float, int]], missing: list[int]) -> str:
    if not known:
        return "No class has a row in the validation split."
    (low, least), (high, most) = known[0], known[-1]
    names = [f"“{printable(report.classes[i])}”" for i in (least, most)]
    sentence = f"Recognised least: {names[0]} ({share(low)}); best: {names[1]} ({share(high)})."
    if missing:
        having = "class has" if len(missing) == 1 else "classes have"
        sentence += f" {len(missing)} {having} no row in the validation split."
    return sentence


def regression(report: Report) -> list[Figure]:
    """For each target: predicted against true, and the residuals against the prediction."""
    return [figure for i, pairs in enumerate(report.scatter) for figure in _scatter(pairs, i)]


# ------------------------------------------------------------------------------------------------------------ the parts


def frame(x: str, y: str) -> dict[str, Any]:
    """The layout every plot begins with; ``x`` and ``y`` are what its axes are called."""
    axis = {
        "automargin": True,
        "gridcolor": "var(--line)",
        "linecolor": "var(--line)",
        "zerolinecolor": "var(--line)",
        "title": {"standoff": 10},
    }
    return {
        "xaxis": {**axis, "title": {"text": x, "standoff": 10}},
        "yaxis": {**axis, "title": {"text": y, "standoff": 10}},
        "margin": {"l": 48, "r": 16, "t": 16, "b": 44},
        "height": 320,
        "paper_bgcolor": "var(--page)",
        "plot_bgcolor": "var(--page)",
        "uirevision": "kept",  # drawn again for another width or colour scheme, a plot keeps the reader's zoom
        "font": {"color": "var(--ink)", "size": 13},
        "hoverlabel": {"bgcolor": "var(--page)", "bordercolor": "var(--muted)", "font": {"color": "var(--ink)"}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": "var(--ink)"}},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "var(--muted)", "activecolor": "var(--ink)"},
        "showlegend": False,
    }


def _line(
    x: Sequence[float | None], y: Sequence[float | None], name: str, *, colour: str, width: float
) -> dict[str, Any]:
    line = {"color": f"var(--{colour})", "width": width}
    mode = "lines+markers" if len(x) < 3 else "lines"  # a line of one point is not seen
    return {"type": "scatter", "mode": mode, "x": list(x), "y": numbers(y), "name": name, "line": line}


def _faint(x: Sequence[float | None], y: Sequence[float | None], colour: str) -> dict[str, Any]:
    return _line(x, y, "each step", colour=colour, width=1) | {"opacity": 0.35, "hoverinfo": "skip"}


def _epochs(report: Report) -> list[float | None]:
    return numbers([row["epoch"] for row in report.rows])


def _trace_epochs(report: Report) -> list[float | None]:
    """The steps of the trace on the axis of epochs. A run that ended in its first epoch has no scale but its steps."""
    steps = np.asarray(report.trace.get("step", ()), dtype=float)
    known = [(r["epoch"], r["step"]) for r in report.rows if r.get("epoch") and r.get("step")]
    if not known:
        return numbers(steps)
    ends = np.asarray([(0.0, 0.0), *known], dtype=float)
    epochs = np.interp(steps, ends[:, 1], ends[:, 0])
    per_epoch = (ends[-1, 1] - ends[-2, 1]) / max(ends[-1, 0] - ends[-2, 0], 1e-9)
    beyond = (steps - ends[-1, 1]) / max(per_epoch, 1e-9)
    return numbers(np.where(beyond > 0, ends[-1, 0] + beyond, epochs))


def _column(report: Report, name: str) -> list[float | None]:
    """One column of the epochs' rows; empty where no epoch has it."""
    values = [row.get(name) for row in report.rows]
    return values if any(v is not None for v in values) else []


def _time_axis(report: Report, y: str) -> dict[str, Any]:
    layout = frame("epoch" if report.rows else "step", y)
    ends = [v for v in [*_trace_epochs(report)[-1:], *_epochs(report)[-1:]] if v is not None]
    layout["xaxis"] |= {"spikecolor": "var(--muted)", "spikethickness": 1, "spikedash": "solid"}
    layout["xaxis"]["unifiedhovertitle"] = {"text": f"{'epoch' if report.rows else 'step'} %{{x}}"}
    layout["xaxis"]["range"] = [0, 1.02 * max(ends, default=1)]
    if 0 < len(report.rows) <= 12:
        layout["xaxis"]["dtick"] = 1
    return layout | {"hovermode": "x unified", "showlegend": True}


def _logarithmic(values: Sequence[float | None]) -> dict[str, Any]:
    """A logarithmic axis with a tick at each power of ten, or at 1, 2, 5, 10 … where there are few of those."""
    known = [v for v in values if v is not None and math.isfinite(v) and v > 0]
    decades = math.log10(max(known) / min(known)) if known else 1.0
    if decades < 2.5:
        return {"type": "log", "dtick": "D2", "tickformat": "~g"}
    return {"type": "log", "dtick": 1 if decades < 8 else None, "exponentformat": "power"}


def _wide_range(values: Sequence[float | None]) -> bool:
    """Whether a linear axis would flatten most of a curve: all positive, and the ends 30 times apart."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    return bool(known) and min(known) > 0 and max(known) > 30 * min(known)


def _game(report: Report) -> list[Figure]:
    """Of two players: both losses, and how well one tells real rows from made ones."""
    if not _column(report, "train_loss_discriminator"):
        return []
    told = (
        "Neither wins while the discriminator's is near 1.39, twice log 2, and the generator's near 0.69. A discriminator "
        "near 0 has nothing left to teach."
    )
    losses = _several(
        report, "loss", {"train_loss_discriminator": "discriminator", "train_loss_generator": "generator"}
    )
    opinion = _several(report, "probability of being real", {"val_d_real": "real rows", "val_d_fake": "made rows"})
    accuracy = _several(
        report, "share told right", {"val_accuracy_real": "real rows", "val_accuracy_fake": "made rows"}
    )
    for layout in (opinion, accuracy):
        layout[1]["yaxis"]["range"] = [0, 1.02]
    return [
        Figure("losses", "Losses of both players", told, *losses),
        Figure(
            "opinion",
            "What the discriminator believes",
            "On validation rows; ½ is all it can say at the end.",
            *opinion,
        ),
        Figure("told", "What the discriminator tells right", "On validation rows; chance is ½.", *accuracy),
        Figure(
            "variety",
            "How much made rows differ",
            "Two made rows, as a share of two real ones. Near 0, one row is made, whatever the noise.",
            *_several(report, "share", {"val_variety": "made rows"}),
        ),
    ]


def _parts(report: Report) -> Figure | None:
    """The two terms of a bound on the log-likelihood."""
    if not _column(report, "val_kl"):
        return None
    names = {"val_reconstruction": "reconstruction, −log p(x|z)", "val_kl": "KL(q(z|x) ‖ p(z))"}
    told = "In nats, on validation rows. A divergence near 0 means that the latent variables are not used."
    return Figure("parts", "The two terms of the bound", told, *_several(report, "nats", names))


def _lessons(report: Report) -> list[Figure]:
    """Both lessons of a masked language model."""
    if not _column(report, "val_next_loss"):
        return []
    losses = {"val_word_loss": "hidden words", "val_next_loss": "whether B follows A"}
    right = {"val_accuracy": "hidden words", "val_next_accuracy": "whether B follows A"}
    told = "On validation rows. Who guesses whether B follows A has a loss of about 0.69."
    return [
        Figure("lessons", "The two lessons", told, *_several(report, "nats", losses)),
        Figure("lessons-right", "Right answers", "On validation rows.", *_several(report, "share", right)),
    ]


def _several(report: Report, y: str, columns: Mapping[str, str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Lines of the epochs' columns, each under its name."""
    colours = ("validation", "train", "rate")
    known = [(name, label, colour) for (name, label), colour in zip(columns.items(), colours) if _column(report, name)]
    data = [
        _line(_epochs(report), _column(report, name), label, colour=colour, width=2.5) for name, label, colour in known
    ]
    return data, _time_axis(report, y)


def _loss(report: Report) -> Figure | None:
    train, validation = _column(report, "train_loss"), _column(report, "val_loss")
    steps = report.trace.get("loss", ())
    if not (train or validation or len(steps)) or _column(report, "train_loss_discriminator"):  # `_game` shows two
        return None
    logarithmic = _wide_range([*train, *validation, *numbers(steps)])
    layout = _time_axis(report, "loss (log)" if logarithmic else "loss")
    if logarithmic:
        layout["yaxis"] |= _logarithmic([*train, *validation, *numbers(steps)])
    data = [_faint(_trace_epochs(report), steps, "train")] if len(steps) else []
    data += [_line(_epochs(report), train, "training", colour="train", width=1.5)] if train else []
    data += [_line(_epochs(report), validation, "validation", colour="validation", width=3)] if validation else []
    said = [
        f"{name} {number(v[0], 3)} to {number(v[-1], 3)}"
        for name, v in (("training", train), ("validation", validation))
        if v
    ]
    caption = f"From first to last epoch: {'; '.join(said)}." if said else "The run ended before its first epoch did."
    return Figure("loss", "Loss", caption, data, layout)


def _goal(report: Report) -> Figure | None:
    metric = report.goal.metric
    percent = metric in report.percent
    train, validation = _column(report, f"train_{metric}"), _column(report, f"val_{metric}")
    if metric == "loss" or not (train or validation):
        return None
    scale = 100 if percent else 1
    name = metric_name(metric)
    layout = _time_axis(report, name)
    layout["yaxis"]["ticksuffix"] = " %" if percent else ""
    data = []
    for label, values, colour, width in (
        ("training", train, "train", 1.5),
        ("validation", validation, "validation", 3),
    ):
        scaled = [None if v is None else scale * v for v in values]
        data += [_line(_epochs(report), scaled, label, colour=colour, width=width)] if values else []
    best = report.best
    if best is None:
        return Figure("goal", capital(name), "Nothing was validated.", data, layout)
    value, epoch = best
    mark = _line([epoch], [scale * value], "best", colour="validation", width=0) | {
        "mode": "markers",
        "hoverinfo": "skip",
        "cliponaxis": False,
    }
    mark["marker"] = {"size": 11, "color": "var(--page)", "line": {"color": "var(--validation)", "width": 3}}
    caption = f"Best on the validation split: {score(value, percent)}, after epoch {epoch}."
    lowest = min(v for v in [*train, *validation] if v is not None)
    if metric == "r2" and lowest < -1 < value:
        layout["yaxis"]["range"] = [-1.05, 1.05]
        caption += f" Values under -1 (down to {number(lowest)}) lie below the plot."
    return Figure("goal", capital(name), caption, [*data, mark], layout)


def _learning_rate(report: Report) -> Figure | None:
    steps = report.trace.get("lr", ())
    rates = steps if len(steps) else _column(report, "lr")
    if not len(rates):
        return None
    data = [
        _line(_trace_epochs(report) if len(steps) else _epochs(report), rates, "learning rate", colour="rate", width=2)
    ]
    known = [r for r in rates if r is not None]
    low, high, last = min(known), max(known), known[-1]
    caption = f"{number(high)} throughout." if low == high else f"At most {number(high)}; {number(last)} at the end."
    layout = _time_axis(report, "learning rate") | {"showlegend": False}
    layout["yaxis"] |= {"rangemode": "tozero", "exponentformat": "power"}
    return Figure("rate", "Learning rate", caption, data, layout)


def _gradient(report: Report) -> Figure | None:
    steps, epochs = report.trace.get("grad_norm", ()), _column(report, "grad_norm")
    if not (len(steps) or epochs):
        return None
    positive = [v if v is not None and v > 0 else None for v in steps]  # a log axis has no place for zero
    data = [_faint(_trace_epochs(report), positive, "gradient")] if positive else []
    data += [_line(_epochs(report), epochs, "mean of the epoch", colour="gradient", width=2)] if epochs else []
    known = [v for v in (positive or epochs) if v is not None and math.isfinite(v)]
    caption = (
        f"Between {number(min(known), 3)} and {number(max(known), 3)}, before clipping." if known else "Never finite."
    )
    layout = _time_axis(report, "gradient norm (log)")
    layout["yaxis"] |= _logarithmic(known)
    return Figure("gradient", "Gradient norm", caption, data, layout)


def _scatter(pairs: Scatter, place: int) -> list[Figure]:
    true, predicted = np.asarray(pairs.true, dtype=float), np.asarray(pairs.predicted, dtype=float)
    finite = np.isfinite(true) & np.isfinite(predicted)
    true, predicted = true[finite], predicted[finite]
    if not len(true):
        return []
    kept = np.unique(np.linspace(0, len(true) - 1, min(len(true), SHOWN_POINTS)).round().astype(int))
    few = "" if len(kept) == len(true) else f" Shown are {len(kept):,} of {len(true):,} rows, evenly spaced."
    dots = {"size": 6, "color": "var(--validation)", "opacity": 0.55}
    residual = predicted - true
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    unit = plain(pairs.target)
    line = {"color": "var(--train)", "width": 1.5, "dash": "dash"}

    def points(x: np.ndarray, y: np.ndarray, says: str) -> dict[str, Any]:
        shown = {"x": numbers(x[kept]), "y": numbers(y[kept]), "marker": dots, "name": "rows"}
        return {"type": "scatter", "mode": "markers", **shown, "hovertemplate": f"{says}<extra></extra>"}

    def guide(x: list[float], y: list[float]) -> dict[str, Any]:
        shown = {"x": numbers(x), "y": numbers(y), "line": line}
        return {"type": "scatter", "mode": "lines", **shown, "hoverinfo": "skip"}

    spread, largest = residual.std(), residual[np.abs(residual).argmax()]
    mean = residual.mean() if abs(residual.mean()) > 1e-6 * spread else 0.0  # below that it is rounding
    name = printable(pairs.target)
    against = Figure(
        f"predicted-{place}",
        f"{name}: predicted and true",
        f"On the dashed line the prediction is exact.{few}",
        [points(true, predicted, "true %{x}, predicted %{y}"), guide([low, high], [low, high])],
        frame(f"true {unit}", f"predicted {unit}") | {"height": 420},
    )
    left = Figure(
        f"residuals-{place}",
        f"{name}: residuals",
        f"Predicted − true: mean {number(mean, 3)}, standard deviation {number(spread, 3)}, "
        f"largest {number(largest, 3)}.",
        [
            points(predicted, residual, "predicted %{x}, residual %{y}"),
            guide([predicted.min(), predicted.max()], [0.0, 0.0]),
        ],
        frame(f"predicted {unit}", "residual") | {"height": 420},
    )
    return [against, left]


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(int(count), f"{count:,} times")
