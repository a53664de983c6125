"""The report: its data survive JSON, its page opens in a real browser without a network, its terminal is calm."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_diabetes, load_digits
from sklearn.metrics import confusion_matrix

from seminal.core import Departure, Goal, UserError
from seminal.report import data, figures, page, pictures, words
from seminal.report.data import Citation, Picture, Report, Scatter

CHROMIUM = Path("/usr/bin/chromium")
INJECTION = "</script><img src=x onerror=alert(1)>"
CLASSES = ("0", "one & only", INJECTION, "3", "four", "%{x} 5", "six", "seven", "<b>8</b>", "a name much longer than the axis")


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
        paper=Citation("Deep Residual Learning for Image Recognition · He, Zhang, Ren, Sun · CVPR 2016", "https://arxiv.org/abs/1512.03385"),
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
            Picture(pictures.png(images[i]), f"{CLASSES[true[i]]}, taken for {CLASSES[predicted[i]]} · 97 %", f"row {i}")
            for i in wrong
        ),
        samples={
            name: tuple(Picture(pictures.png(images[i]), name) for i in np.flatnonzero(bunch.target == c)[:8])
            for c, name in enumerate(CLASSES)
        },
        filters=(Picture(pictures.filter_grid(torch.randn(16, 1, 3, 3)), "conv1: 16 filters of 3 × 3 over 1 channel"),),
        settings=settings,
        departures=(Departure("1 input channel (paper: 3)", "the digits are grey"), Departure("15 epochs", "fewer data", "Sec. 4.2")),
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
        {"epoch": e, "step": 5 * e, "train_loss": 9e3 / e, "val_loss": 1e4 / e, "val_r2": 0.5 - 20 / e**2, "val_mae": 44 + 60 / e}
        for e in range(1, 31)
    )
    return Report(
        title="mlp on diabetes",
        paper=Citation("Rumelhart, Hinton, Williams 1986", "javascript:alert(1)"),
        goal=Goal("r2"),
        headline=(("R² (validation)", "0.478"), ("epochs", "30")),
        rows=rows,
        scatter=(Scatter("disease <progression>", bunch.target.tolist(), predicted.tolist()),),
        mistakes=(Picture(b"", "true 48, predicted 203", "row 17"), Picture(b"", "true 310, predicted 160", "row 9")),
        command="seminal train mlp diabetes",
    )


# ----------------------------------------------------------------------------------------------------------- the browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip("there is no Chromium at /usr/bin/chromium to open the report in")
    from playwright.sync_api import sync_playwright

    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", *quiet])
        yield chromium
        chromium.close()


def opened(browser: Any, report: Report, folder: Path, **options: Any) -> tuple[Any, list[str], list[str]]:
    """The report in a fresh window: the page, what its console said, and every address it asked for."""
    path = folder / "report.html"
    path.write_text(page.render(report), encoding="utf-8")
    window = browser.new_page(**options)
    said: list[str] = []
    asked: list[str] = []
    window.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    window.on("pageerror", lambda error: said.append(f"error: {error}"))
    window.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
    window.on("request", lambda request: asked.append(request.url))
    window.goto(path.as_uri())
    return window, said, [url for url in asked if not url.startswith("data:")]
