"""Pictures that models make: their measures against naive loops, and the verbs on models trained for a moment."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from command_line import QUICK, copy, typed
from seminal.core import Order
from seminal.data import images
from seminal.pieces.fidelity import kernel_distance, parzen, parzen_width, precision_recall
from seminal.report.pictures import grid
from seminal.runs.folder import RunFolder
from seminal.runs.plan import best_model, plan_of
from seminal.runs.samples import pictures
from seminal.runs.scoring import _rows, evenly

pytestmark = pytest.mark.filterwarnings("ignore")


def normal(rows, width, seed, shift=0.0):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)) + shift


# ------------------------------------------------------------------------------------------------------------- measures


def test_parzen_windows_are_the_mean_of_gaussians():
    x, made, width = normal(5, 3, 0), normal(7, 3, 1), 0.4
    expected = []
    for row in x.double():
        densities = [
            math.exp(-float(((row - centre) ** 2).sum()) / (2 * width**2)) / (width * math.sqrt(2 * math.pi)) ** 3
            for centre in made.double()
        ]
        expected.append(math.log(sum(densities) / len(densities)))
    torch.testing.assert_close(parzen(x, made, width), torch.tensor(expected, dtype=torch.float64))


def test_the_width_is_the_best_of_those_tried():
    made = normal(400, 1, 0)
    width = parzen_width(normal(300, 1, 1), made)
    best = parzen(normal(300, 1, 1), made, width).mean()
    assert all(parzen(normal(300, 1, 1), made, other).mean() <= best for other in (0.5 * width, 2 * width))


def test_precision_and_recall_against_loops():
    real, made, k = normal(40, 2, 0), 0.3 * normal(30, 2, 1), 3

    def covered(points, by):
        hits = 0
        for point in points:
            hits += any(
                float((point - centre).norm()) <= sorted(float((centre - other).norm()) for other in by)[k]
                for centre in by
            )
        return hits / len(points)

    assert precision_recall(real, made, k) == pytest.approx((covered(made, real), covered(real, made)))
    assert precision_recall(real, real + 100) == (0, 0)
    assert precision_recall(real, real) == (1, 1)
    narrow = precision_recall(normal(500, 2, 2), 0.1 * normal(500, 2, 3))
    assert narrow[0] > 0.95 > 0.4 > narrow[1]  # all of it looks real, and most of what is real is missing


def test_the_kernel_distance_is_unbiased_and_sees_a_shift():
    same = [kernel_distance(normal(60, 4, 2 * i), normal(60, 4, 2 * i + 1)) for i in range(200)]
    mean, spread = torch.tensor(same).mean(), torch.tensor(same).std()
    assert abs(float(mean)) < 3 * float(spread) / 200**0.5
    assert kernel_distance(normal(60, 4, 0), normal(60, 4, 1, shift=1.0)) > 5 * float(spread)


def test_a_grid_keeps_every_pixel():
    pictures = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    image = Image.open(io.BytesIO(grid(pictures, 3, cell=4)))
    assert image.size == (3 * 6 - 2, 2 * 6 - 2)
    assert image.getpixel((6, 0))[0] == round(255 * float(pictures[1, 0, 0, 0]))
    assert image.getpixel((6 * 2, 6))[3] == 0  # there is no sixth


# ---------------------------------------------------------------------------------------------------------------- verbs


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A run of each kind, of a few steps."""
    place = tmp_path_factory.mktemp("makers")
    for model in ("vae", "cgan", "autoencoder", "mlp"):
        words = ["--epochs", "8" if model == "mlp" else "1", "--name", model, "--output", place, *QUICK]
        said = typed("train", model, "digits", *words, folder=place)
        assert said.code == 0, said.err
    return place


def test_pictures_are_written_and_nothing_is_written_over(runs, tmp_path):
    assert typed("sample", runs / "vae", "-n", 3, "--out", tmp_path / "a", folder=tmp_path).code == 0
    assert typed("sample", runs / "vae", "-n", 3, "--out", tmp_path / "b", folder=tmp_path).code == 0
    first, second = (sorted((tmp_path / name).iterdir()) for name in "ab")
    assert [file.name for file in first] == ["00000.png", "00001.png", "00002.png"]
    assert [f.read_bytes() for f in first] == [f.read_bytes() for f in second]  # the seed decides
    assert Image.open(first[0]).size == (8, 8)
    again = typed("sample", runs / "vae", "--out", tmp_path / "a", folder=tmp_path)
    assert (again.code, "nothing is written over" in again.err) == (2, True)


@pytest.mark.parametrize("how", ["--grid", "--interpolate", "--traverse"])
def test_one_picture_shows_all(runs, tmp_path, how):
    out = tmp_path / "all.png"
    assert typed("sample", runs / "cgan", how, "--out", out, folder=tmp_path).code == 0
    width, height = Image.open(out).size
    assert width == 10 * (56 + 2) - 2
    assert height in (7 * 58 - 2, 10 * 58 - 2)


def test_a_class_can_be_asked_for(runs, tmp_path):
    three = typed("sample", runs / "cgan", "-n", 2, "--class", "3", "--out", tmp_path / "3", folder=tmp_path)
    assert three.code == 0
    wrong = typed("sample", runs / "cgan", "--class", "ten", folder=tmp_path)
    assert (wrong.code, "there is no class `ten`" in wrong.err) == (2, True)
    unasked = typed("sample", runs / "vae", "--class", "3", folder=tmp_path)
    assert (unasked.code, "is not told classes" in unasked.err) == (2, True)
    none = typed("sample", runs / "mlp", folder=tmp_path)
    assert (none.code, "makes no pictures" in none.err) == (2, True)


def test_scores_of_every_kind(runs, tmp_path):
    said = typed("score", runs / "vae", "-n", 50, "--samples", 5, "--json", folder=tmp_path)
    found = json.loads(said.out)
    assert found["log_likelihood"] < 0 < found["standard_error"]
    judged = typed("score", runs / "cgan", "-n", 50, "--judge", runs / "mlp", "--json", folder=tmp_path)
    found = json.loads(judged.out)
    assert 0 <= found["asked_class"] <= 1
    assert 1 <= found["classes"] <= 10
    assert found["confident_on_real_rows"] > 0.2
    assert "log_likelihood" not in found
    strange = typed("score", runs / "autoencoder", "--unusual", "3", "--json", folder=tmp_path)
    assert 0 <= json.loads(strange.out)["anomaly_auc"] <= 1
    for words, told in (
        (("autoencoder",), "makes nothing"),
        (("vae", "--unusual", "ten"), "there is no class `ten`"),
        (("cgan", "--unusual", "3"), "no score of how unusual"),
        (("cgan", "--judge", runs / "vae"), "a judge must be a classifier"),
    ):
        wrong = typed("score", runs / words[0], *words[1:], folder=tmp_path)
        assert (wrong.code, told in wrong.err) == (2, True), wrong.err


def test_real_rows_are_taken_from_everywhere(monkeypatch):
    """Pictures lie sorted by class; a thousand of ten thousand are of every class."""
    assert evenly(10, 20).tolist() == list(range(10))
    assert evenly(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert evenly(0, 5).tolist() == []
    source = images.digits()
    every = torch.cat([batch["input"] for batch in source.batches(Order("val", 1000, scaling="none"))])
    assert torch.equal(_rows(source, "val"), every)
    monkeypatch.setattr("seminal.runs.scoring.ROWS", 50)
    assert torch.equal(_rows(source, "val"), every[evenly(len(every), 50)])


def test_too_few_made_rows_are_refused(runs, tmp_path):
    wrong = typed("score", runs / "vae", "-n", 0, folder=tmp_path)
    assert (wrong.code, "--n 0 is too few" in wrong.err) == (2, True)


def test_pictures_made_in_parts_are_those_made_at_once(runs, monkeypatch):
    folder = RunFolder.existing(runs / "cgan")
    plan = plan_of(folder)
    model = best_model(folder, plan, torch.device("cpu"))
    whole = pictures(model, plan.recipe, 25, seed=3)
    monkeypatch.setattr("seminal.runs.samples.AT_ONCE", 7)
    torch.testing.assert_close(pictures(model, plan.recipe, 25, seed=3), whole)


@pytest.mark.parametrize("model", ["vae", "cgan", "autoencoder"])
def test_the_report_shows_what_was_made(runs, tmp_path, model):
    report = json.loads((runs / model / "report.json").read_text())["report"]
    assert [epoch for epoch, _ in report["made"]] == ([1] if model != "autoencoder" else [])
    captions = " ".join(picture["caption"] for picture in report["beside"])
    assert ("nearest" in captions, "gives back" in captions) == (model != "autoencoder", model != "cgan")
    assert (report["plane"] is None) == (model == "cgan")
    page = (runs / model / "report.html").read_text()
    assert ("Losses of both players" in page) == (model == "cgan")
    assert ("The two terms of the bound" in page) == (model == "vae")
    again = copy(runs / model, tmp_path)
    assert typed("report", again, folder=tmp_path).code == 0
    assert json.loads((again / "report.json").read_text())["report"]["beside"] == report["beside"]
