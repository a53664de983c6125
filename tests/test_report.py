"""The report: its data survive JSON, and its page opens in a real browser without a network."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_diabetes, load_digits
from sklearn.metrics import confusion_matrix

from in_browser import window_on
from seminal.core import Departure, Goal, UserError
from seminal.report import data, figures, page, pictures, words
from seminal.report.data import Citation, Picture, Report, Scatter

INJECTION = "</script><img src=x onerror=alert(1)>"
CLASSES = (
    "0",
    "one & only",
    INJECTION,
    "3",
    "four",
    "%{x} 5",
    "six",
    "seven",
    "<b>8</b>",
    "a name much longer than the axis",
)


def curve_rows(epochs: int, steps: int) -> tuple[dict[str, float | None], ...]:
    rows: list[dict[str, float | None]] = []
    for e in range(1, epochs + 1):
        loss = 2.2 * math.exp(-e / 2.5) + 0.02
        row = {"epoch": e, "step": e * steps, "train_loss": loss, "train_top1": 1 - 0.4 * loss / 2}
        row |= {"val_loss": loss + 0.05 + 0.004 * e, "val_top1": 0.985 - 0.35 * loss / 2, "lr": 0.1, "seconds": 1.3}
        rows.append(row | {"grad_norm": 0.2 + loss, "rows_per_s": 5210.0})
    return tuple(rows)


def step_trace(epochs: int, steps: int) -> dict[str, tuple[float, ...]]:
    rng = np.random.default_rng(0)
    step = np.arange(1, epochs * steps + 1)
    loss = 2.2 * np.exp(-step / steps / 2.5) * rng.uniform(0.7, 1.3, len(step)) + 0.02
    lr = 0.1 * 0.5 * (1 + np.cos(np.pi * step / len(step)))
    columns = {"step": step, "loss": loss, "lr": lr, "grad_norm": (0.2 + loss) * rng.uniform(0.5, 2, len(step))}
    return {name: tuple(values.tolist()) for name, values in columns.items()}


def digits_report() -> Report:
    bunch = load_digits()
    images = torch.from_numpy((bunch.images * 255 / 16).astype(np.uint8))[:, None]
    rng = np.random.default_rng(1)
    true = bunch.target[:360]
    predicted = np.where(rng.random(360) < 0.06, (true + rng.integers(1, 10, 360)) % 10, true)
    predicted[(true == 8) & (rng.random(360) < 0.25)] = 1
    counts = confusion_matrix(true, predicted, labels=range(10))
    wrong = np.flatnonzero(true != predicted)[:12]
    settings = (
        ("learning rate", "0.1", "Sec. 4.2"),
        ("batch", "89", "recipe: 128; there are only 1,437 training rows"),
        ("optimiser", "SGD, momentum 0.9", "Sec. 4.2"),
        ("weight decay", "1e-4", "Sec. 4.2"),
        ("schedule", "cosine, to zero", "Loshchilov and Hutter 2017"),
        ("precision", "fp32, channels-last", "measured at the start: 1.31 times as fast as contiguous"),
    )
    return Report(
        title="resnet20 on digits",
        paper=Citation(
            "Deep Residual Learning for Image Recognition · He, Zhang, Ren, Sun · CVPR 2016",
            "https://arxiv.org/abs/1512.03385",
        ),
        goal=Goal("top1"),
        headline=(
            ("top-1 accuracy (validation)", "98.1 %"),
            ("best of 15 epochs", "15"),
            ("time", "0:00:19"),
            ("images a second", "5,210"),
            ("parameters", "269,722"),
        ),
        rows=curve_rows(15, 16),
        trace=step_trace(15, 16),
        percent=("top1",),
        classes=CLASSES,
        confusion=tuple(tuple(int(c) for c in row) for row in counts),
        recalls=tuple((counts.diagonal() / counts.sum(1)).tolist()),
        mistakes=tuple(
            Picture(
                pictures.png(images[i]), f"{CLASSES[true[i]]}, taken for {CLASSES[predicted[i]]} · 97 %", f"row {i}"
            )
            for i in wrong
        ),
        samples={
            name: tuple(Picture(pictures.png(images[i]), name) for i in np.flatnonzero(bunch.target == c)[:8])
            for c, name in enumerate(CLASSES)
        },
        filters=(Picture(pictures.filter_grid(torch.randn(16, 1, 3, 3)), "conv1: 16 filters of 3 × 3 over 1 channel"),),
        settings=settings,
        departures=(
            Departure("1 input channel (paper: 3)", "the digits are grey"),
            Departure("15 epochs", "fewer data", "Sec. 4.2"),
        ),
        environment={"seminal": "0.1.0", "torch": "2.11.0", "processor": "2 cores", "system": "Linux"},
        command="seminal train resnet20 digits --epochs 15 --name '<my run>'",
        notes=("1,437 training and 360 validation images, 1 × 8 × 8, 10 classes.", "Split 80/20, stratified, seed 0."),
        next_commands=(("seminal predict runs/resnet20-digits-1 YOUR.png", "Predict your own picture"),),
    )


def diabetes_report() -> Report:
    bunch = load_diabetes()
    design = np.c_[bunch.data, np.ones(len(bunch.data))]
    predicted = design @ np.linalg.lstsq(design, bunch.target, rcond=None)[0]
    rows = tuple(
        {
            "epoch": e,
            "step": 5 * e,
            "train_loss": 9e3 / e,
            "val_loss": 1e4 / e,
            "val_r2": 0.5 - 20 / e**2,
            "val_mae": 44 + 60 / e,
        }
        for e in range(1, 31)
    )
    return Report(
        title="mlp on diabetes",
        paper=Citation("Rumelhart, Hinton, Williams 1986", "javascript:alert(1)"),
        goal=Goal("r2"),
        headline=(("R² (validation)", "0.478"), ("epochs", "30")),
        rows=rows,
        scatter=(Scatter("disease <progression>", tuple(bunch.target.tolist()), tuple(predicted.tolist())),),
        mistakes=(Picture(b"", "true 48, predicted 203", "row 17"), Picture(b"", "true 310, predicted 160", "row 9")),
        command="seminal train mlp diabetes",
    )


# ----------------------------------------------------------------------------------------------------------- the browser


def opened(browser: Any, report: Report, folder: Path, **options: Any) -> tuple[Any, list[str], list[str]]:
    """The report in a fresh window: the page, what its console said, and every address it asked for."""
    path = folder / "report.html"
    path.write_text(page.render(report), encoding="utf-8")
    return window_on(browser, path, **options)


def visible_plots(window: Any) -> int:
    """Plots whose drawing has marks in it: lines, points, bars or the picture of a heat map."""
    return window.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot')].filter((p) =>
             p.querySelector('svg.main-svg .trace, svg.main-svg .hm') && p.getBoundingClientRect().height > 150).length"""
    )


def test_the_page_of_a_classifier_draws_everything_and_runs_nothing_of_the_users(browser: Any, tmp_path: Path) -> None:
    hostile = {INJECTION: INJECTION}
    report = replace(digits_report(), title=INJECTION, command=INJECTION, notes=(INJECTION,), environment=hostile)
    window, said, asked = opened(browser, report, tmp_path, color_scheme="light")
    assert visible_plots(window) == len(page.all_figures(report)) == 6
    assert said == []
    assert asked == [(tmp_path / "report.html").as_uri()]

    assert window.title() == INJECTION
    assert window.locator("h1").inner_text() == INJECTION
    assert window.locator("img[src=x]").count() == 0
    labels = window.evaluate("[...document.querySelectorAll('#confusion .ytick')].map((t) => t.textContent)")
    assert labels == [words.shortened(name, 16) for name in CLASSES]

    assert window.locator("#mistakes img").count() == len(report.mistakes)
    images = window.evaluate("[...document.images].map((i) => [i.naturalWidth, i.alt.length])")
    assert len(images) == 12 + 80 + 1
    assert min(min(pair) for pair in images) > 0
    window.close()


def test_the_page_of_a_regression_draws_residuals_and_links_nowhere(browser: Any, tmp_path: Path) -> None:
    window, said, _ = opened(browser, diabetes_report(), tmp_path)
    assert visible_plots(window) == 4
    assert said == []
    assert window.locator("a[href^=javascript]").count() == 0  # the paper's url was javascript:
    assert "Rumelhart" in window.locator(".citation").inner_text()
    assert window.locator("#mistakes tbody tr").count() == 2
    window.close()


def test_a_narrow_page_does_not_scroll_sideways_and_a_plot_follows_the_colour_scheme(
    browser: Any, tmp_path: Path
) -> None:
    window, said, _ = opened(browser, digits_report(), tmp_path, viewport={"width": 400, "height": 800})
    window.locator("summary").click()
    assert window.evaluate("document.documentElement.scrollWidth") <= 400
    assert window.evaluate("getComputedStyle(document.querySelector('#loss .xtitle')).fill") == "rgb(29, 33, 38)"
    window.emulate_media(color_scheme="dark")
    window.wait_for_timeout(300)
    assert window.evaluate("getComputedStyle(document.querySelector('#loss .xtitle')).fill") == "rgb(228, 231, 235)"
    window.evaluate("window.dispatchEvent(new Event('beforeprint'))")  # paper is white
    assert window.evaluate("getComputedStyle(document.querySelector('#loss .xtitle')).fill") == "rgb(29, 33, 38)"
    window.evaluate("window.dispatchEvent(new Event('afterprint'))")
    window.set_viewport_size({"width": 1000, "height": 800})
    window.wait_for_timeout(600)
    drawn = window.evaluate(
        "[...document.querySelectorAll('.plot')].map((p) => [p.clientWidth, p.firstChild.clientWidth])"
    )
    assert all(place == plot > 400 for place, plot in drawn)
    assert said == []
    window.close()


def test_a_run_stopped_in_its_first_epoch_still_has_a_page(browser: Any, tmp_path: Path) -> None:
    bare = Report("stopped", Citation("nobody"), Goal("top1"), trace={"step": (1, 2, 3), "loss": (2.3, math.nan, 2.1)})
    window, said, _ = opened(browser, bare, tmp_path)
    assert visible_plots(window) == 1
    assert said == []
    window.close()


class Addresses(HTMLParser):
    """The addresses in the attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses |= {value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")}


def test_the_page_needs_nothing_from_outside() -> None:
    html = page.render(digits_report())
    assert 3e6 < len(html) < 8e6
    found = Addresses()
    found.feed(html)
    assert {a for a in found.addresses if not a.startswith(("data:", "#"))} == {"https://arxiv.org/abs/1512.03385"}
    empty = page.render(Report("nothing", Citation("nobody"), Goal("top1")))
    assert len(empty) < 50_000  # without plots, no plotting library


# ----------------------------------------------------------------------------------------------------------- the figures


def test_every_figure_is_valid_plotly() -> None:
    go = pytest.importorskip("plotly.graph_objects")
    for report in (digits_report(), diabetes_report()):
        for figure in page.all_figures(report):
            drawn = json.loads(json.dumps({"data": figure.data, "layout": figure.layout}, allow_nan=False))
            text = re.sub(r"var\(--[a-z]+\)", "#123456", json.dumps(drawn))
            go.Figure(json.loads(text))  # raises for a name or a value that plotly does not know


def test_the_sentence_names_the_pair_most_mixed_up() -> None:
    report = Report(
        "t", Citation("c"), Goal("top1"), classes=("cat", "dog", "fox"), confusion=((5, 1, 0), (4, 2, 2), (0, 3, 9))
    )
    # cat/dog: 1 + 4 = 5 and dog/fox: 2 + 3 = 5 tie; make one of them larger
    report = replace(report, confusion=((5, 1, 0), (4, 2, 2), (0, 4, 9)))
    assert (
        figures.mixed_up(report)
        == "Most mixed up: “fox” is taken for “dog” 4 times in 13 rows, “dog” for “fox” twice in 8."
    )
    clean = replace(report, confusion=((5, 0, 0), (0, 2, 0), (0, 0, 9)))
    assert figures.mixed_up(clean) == "No row of the validation split is put into a wrong class."


def test_a_matrix_of_many_classes_shows_those_with_most_mistakes() -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 3, (200, 200)) + 50 * np.eye(200, dtype=int)
    counts[7, 150] = counts[150, 7] = 40
    report = Report(
        "t",
        Citation("c"),
        Goal("top1"),
        classes=tuple(f"c{i}" for i in range(200)),
        confusion=tuple(map(tuple, counts.tolist())),
    )
    figure = figures.confusion(report)
    assert figure is not None
    shown = figure.layout["xaxis"]["ticktext"]
    wrong = [sum(counts[i]) + sum(counts[:, i]) - 2 * counts[i, i] for i in range(200)]
    by_hand = sorted(sorted(range(200), key=lambda i: -wrong[i])[: figures.SHOWN_CLASSES])
    assert shown == [f"c{i}" for i in by_hand]
    assert "c7" in shown
    assert "c150" in figure.caption
    for i in range(len(shown)):
        for j in range(len(shown)):
            share = counts[by_hand[i], by_hand[j]] / counts[by_hand[i]].sum()
            assert figure.data[0]["z"][i][j] == pytest.approx(share, rel=1e-4)


def test_recalls_are_ranked_and_a_class_without_rows_is_said() -> None:
    report = Report("t", Citation("c"), Goal("top1"), classes=("a", "b", "c"), recalls=(0.9, None, 0.5))
    figure = figures.recalls(report)
    assert figure is not None
    assert figure.layout["yaxis"]["ticktext"] == ["c", "a", "b"]
    assert figure.data[0]["x"] == [50.0, 90.0, None]
    assert (
        figure.caption
        == "Recognised least: “c” (50.0 %); best: “a” (90.0 %). 1 class has no row in the validation split."
    )


def test_the_trace_lies_on_the_axis_of_epochs_also_past_the_last_whole_one() -> None:
    report = Report(
        "t", Citation("c"), Goal("top1"),
        rows=({"epoch": 1, "step": 10, "train_loss": 1.0}, {"epoch": 2, "step": 20, "train_loss": 0.5}),
        trace={"step": (5, 10, 15, 25), "loss": (3.0, 2.0, 1.0, 0.5)},
    )  # fmt: skip
    faint, mean = figures.curves(report)[0].data
    assert faint["x"] == [0.5, 1.0, 1.5, 2.5]
    assert mean["x"] == [1, 2]


def test_best_is_by_the_goal_and_never_a_nan() -> None:
    rows = tuple({"epoch": e, "val_mae": v} for e, v in enumerate((3.0, math.nan, 1.0, None, 2.0), 1))
    assert Report("t", Citation("c"), Goal("mae", higher=False), rows=rows).best == (1.0, 3)
    assert Report("t", Citation("c"), Goal("top1"), rows=rows).best is None
    ties = tuple({"epoch": i, "val_top1": 0.9, "val_loss": loss} for i, loss in ((1, 0.5), (2, 0.3), (3, 0.4)))
    assert Report("t", Citation("c"), Goal("top1"), rows=ties).best == (0.9, 2)  # as the run keeps its weights


# -------------------------------------------------------------------------------------------------------------- the data


@pytest.mark.parametrize("build", [digits_report, diabetes_report])
def test_json_gives_the_same_report_back(build: Any) -> None:
    report = build()
    again = data.from_json(data.to_json(report))
    for f in fields(report):
        assert getattr(again, f.name) == getattr(report, f.name), f.name
    assert page.render(again) == page.render(report)


def test_json_keeps_what_json_has_no_word_for() -> None:
    odd = {"epoch": np.int64(1), "train_loss": math.nan, "val_loss": math.inf, "lr": None, "val_mae": np.float32(0.5)}
    text = data.to_json(Report("t", Citation("c"), Goal("r2"), rows=(odd,), environment={"file": "bad \udcff name"}))
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    row = data.from_json(text).rows[0]
    assert math.isnan(row["train_loss"] or 0)
    assert row == {"epoch": 1, "train_loss": row["train_loss"], "val_loss": math.inf, "lr": None, "val_mae": 0.5}
    page.render(data.from_json(text)).encode("utf-8")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda d: d.update(version=2), "form 2"),
        (lambda d: d["report"].pop("title"), "lacks the field `title`"),
        (lambda d: d["report"].update(colour="red"), "field `colour`"),
        (lambda d: d["report"].update(title=3), "report.title in this report.json is not a text"),
        (lambda d: d["report"]["mistakes"][0].update(png="?"), r"mistakes\[0\].png in this report.json is not base64"),
        (lambda d: d["report"]["confusion"].pop(), "confusion matrix is not 10 × 10"),
        (lambda d: d["report"]["rows"][0].update(lr="fast"), r"rows\[0\].lr in this report.json is not a number"),
        (lambda d: d["report"]["headline"][0].append("x"), r"headline\[0\] in this report.json is not a list of 2"),
        (lambda d: d["report"]["trace"]["lr"].pop(), "differ in length"),
    ],
)
def test_a_spoilt_file_is_refused_in_a_sentence(spoil: Any, says: str) -> None:
    loaded = json.loads(data.to_json(digits_report()))
    spoil(loaded)
    with pytest.raises(UserError, match=says):
        data.from_json(json.dumps(loaded))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"'])
def test_what_is_not_a_report_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"report\.json"):
        data.from_json(text)


def test_thinning_keeps_spikes_and_order() -> None:
    steps = np.arange(1, 100_001)
    loss = np.exp(-steps / 3e4)
    loss[54_321] = 99.0
    loss[77_777] = math.nan
    thin = data.thinned({"step": steps, "loss": loss, "lr": steps * 2.0}, points=1000)
    assert len(thin["step"]) <= 1000
    assert 99.0 in thin["loss"]
    assert any(math.isnan(v) for v in thin["loss"])
    assert list(thin["step"]) == sorted(set(thin["step"]))
    assert all(lr == 2 * step for step, lr in zip(thin["step"], thin["lr"]))
    short = {"step": (1, 2), "loss": (0.5, 0.25)}
    assert data.thinned(short) == short


# ---------------------------------------------------------------------------------------------------------- the pictures


def decoded(png: bytes) -> torch.Tensor:
    pixels = np.array(Image.open(io.BytesIO(png)))
    return torch.from_numpy(pixels[:, :, None] if pixels.ndim == 2 else pixels).permute(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_small_pictures_keep_their_pixels(channels: int) -> None:
    image = torch.randint(0, 256, (channels, 8, 5), dtype=torch.uint8)
    large = decoded(pictures.png(image, least=96))
    assert torch.equal(large, image.repeat_interleave(12, 1).repeat_interleave(12, 2))


def test_large_pictures_are_reduced_and_other_channels_averaged() -> None:
    assert decoded(pictures.png(torch.zeros(3, 1000, 500, dtype=torch.uint8), most=256)).shape == (3, 256, 128)
    two = torch.tensor([10, 20], dtype=torch.uint8)[:, None, None].expand(2, 100, 100)
    assert (decoded(pictures.png(two)) == 15).all()
    with pytest.raises(ValueError, match="uint8"):
        pictures.png(torch.zeros(3, 4, 4))


def test_filters_are_scaled_one_by_one() -> None:
    weight = torch.randn(5, 3, 7, 7) * torch.tensor([1e-3, 1, 50, 0, 1])[:, None, None, None]
    grid = decoded(pictures.filter_grid(weight, columns=3, cell=7))
    assert grid.shape == (4, 2 * 7 + 2, 3 * 7 + 2 * 2)
    for i in range(5):
        top, left = i // 3 * 9, i % 3 * 9
        largest = max(abs(float(v)) for v in weight[i].flatten()) or 1.0
        for c in range(3):
            for y in range(7):
                for x in range(7):
                    by_hand = (float(weight[i, c, y, x]) / largest + 1) * 127.5
                    assert abs(int(grid[c, top + y, left + x]) - by_hand) <= 0.5001
    assert (grid[3, 9:, 18:] == 0).all()  # the place of a sixth filter is empty
