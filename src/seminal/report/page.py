"""The report as one HTML file that needs no network: plots, pictures and the plotting library are inside it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seminal.report import figures, texts, vitals
from seminal.report.data import Report
from seminal.report.words import capital, metric_name, number, printable, share

if TYPE_CHECKING:
    from jinja2 import Environment

SHOWN_CLASSES = 40  # with samples; more make the page long, not clearer
SHOWN_EPOCHS = 500  # rows of the table of epochs


def render(report: Report) -> str:
    """The page's HTML, about 5 MB, nearly all of it plotly.js. The caller writes it, as UTF-8."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    plots, everything = _plots(report), all_figures(report)
    library = Markup(get_plotlyjs().replace("</script", "<\\/script")) if everything else ""
    html = (
        templates()
        .get_template("page.html")
        .render(
            report=report,
            plots=plots,
            figures={figure.id: {"data": figure.data, "layout": figure.layout} for figure in everything},
            library=library,
            sections=_sections(report, plots),
            samples=dict(list(report.samples.items())[:SHOWN_CLASSES]),
            epochs=_epoch_table(report),
            texts=texts,
        )
    )
    return writable(html)


def templates() -> Environment:
    """The templates of this folder, and the filters by which they write words, pictures and addresses."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {
        "data_uri": _data_uri,
        "web_address": _web_address,
        "printable": printable,
        "prose": _prose,
        "capital": capital,
    }
    return environment


def writable(html: str) -> str:
    """The page as text that UTF-8 can hold: a name that is not text must not stop the writing."""
    return html.encode("utf-8", "replace").decode("utf-8")


def all_figures(report: Report) -> list[figures.Figure]:
    """Every plot of the page, in its order."""
    return [figure for group in _plots(report).values() for figure in group]


def _plots(report: Report) -> dict[str, list[figures.Figure]]:
    """The plots of each section that has any."""
    by_class = [figure for figure in (figures.confusion(report), figures.recalls(report)) if figure is not None]
    return {
        "curves": figures.curves(report),
        "doctor": vitals.plots(report.doctor),
        "latent": figures.plane(report),
        "classes": by_class,
        "regression": figures.regression(report),
        "attention": texts.attention(report),
    }


def _sections(report: Report, plots: dict[str, list[figures.Figure]]) -> list[tuple[str, str]]:
    """(id, heading) of the sections this run has something for, in the order of the page."""
    present = [
        ("curves", "Curves", plots["curves"]),
        ("doctor", "Doctor", report.doctor),
        ("made", "Pictures it makes", report.made),
        ("beside", "Side by side", report.beside),
        ("latent", "Latent variables", plots["latent"]),
        ("classes", "Classes", plots["classes"]),
        ("regression", "Predicted and true", plots["regression"]),
        ("attempts", f"{_written(report)} over time", report.attempts),
        ("attention", "Attention", plots["attention"]),
        ("sentences", "Worst sentences", report.worst or report.tagged),
        ("answers", "Answers", report.answered),
        ("hidden", "Worst words", report.hidden),
        ("mistakes", "Worst mistakes", report.mistakes),
        ("data", "Data", report.samples or report.notes),
        ("filters", "First-layer filters", report.filters),
        ("recipe", "Recipe", report.settings or report.departures),
        ("environment", "Environment", report.environment),
        ("again", "Again, and further", report.command or report.next_commands),
    ]
    return [(name, heading) for name, heading, content in present if content]


def _written(report: Report) -> str:
    """What the model writes, or what is shown of its words."""
    if all(attempts.given_as == "word" for attempts in report.attempts):
        return "Nearest words"
    return "Translations" if all(attempts.given_as == "source" for attempts in report.attempts) else "Texts"


def _epoch_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Headers and cells of the numbers behind the curves, evenly thinned in a very long run."""
    names = list(dict.fromkeys(name for row in report.rows for name in row))
    stride = -(-len(report.rows) // SHOWN_EPOCHS) or 1
    rows = report.rows[::-1][::stride][::-1]  # the last one is among them
    return [_heading(name) for name in names], [[_cell(report, name, row.get(name)) for name in names] for row in rows]


def _heading(name: str) -> str:
    for prefix, says in (("train_", "training "), ("val_", "validation ")):
        if name.startswith(prefix):
            return says + metric_name(name.removeprefix(prefix))
    return name.replace("_", " ")


def _cell(report: Report, name: str, value: Any) -> str:
    percent = name.removeprefix("train_").removeprefix("val_") in report.percent
    return share(value, 2) if percent else number(value)


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _prose(text: str) -> str:
    """Words to read: a number is not parted from its percent sign at the end of a line."""
    return printable(text).replace(" %", "\u00a0%")


def _web_address(url: str) -> str:
    """The address if it is one of the web, else nothing: a link may not run code."""
    return url if url.startswith(("https://", "http://")) else ""
