"""`seminal explain`: class activation, feature maps, vectors and gates against oracles, and the page in a real browser."""

from __future__ import annotations

import importlib
import io
import json
import pkgutil
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

import seminal.papers
from command_line import copy, done, numbers_run, pictures_run
from in_browser import window_on
from seminal.core import DataSpec, Order, UserError
from seminal.pieces import insight
from seminal.pieces.measure import on_meta
from seminal.report import insight as page
from seminal.report import pictures
from seminal.report.data import Citation, Picture
from seminal.runs import explaining
from seminal.runs.folder import RunFolder
from seminal.runs.plan import best_model, plan_of, source_of
from seminal.runs.shelf import reading_of

pytestmark = pytest.mark.usefixtures("one_thread")

PAPERS = {
    m.name: importlib.import_module(f"seminal.papers.{m.name}").PAPER
    for m in pkgutil.iter_modules(seminal.papers.__path__)
}


def small_net(*, inplace: bool = False, classes: int = 5) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=inplace),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=inplace),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(8, classes),
    )


def call_of(root: insight.Call, name: str) -> insight.Call:
    return [call for call in root.walk() if call.name == name][-1]


# ------------------------------------------------------------------------------------------------------ class activation


def test_grad_cam_is_the_class_activation_map_where_average_pooling_and_a_linear_layer_follow() -> None:
    """Zhou et al. 2016: Σ_k w_k A_k(i, j); here rectified, and divided by the number of places."""
    model, x = small_net(), torch.randn(3, 3, 10, 12)
    root = insight.traced(model, x)
    last = insight.stages(root)[-1]
    assert last.shape == (8, 5, 6)
    target = torch.tensor([4, 0, 2])
    got = insight.grad_cam(model, x, last, target)
    (maps,) = insight.outputs(model, x, [last])
    weight = model[10].weight.detach()
    for b in range(3):
        for i in range(5):
            for j in range(6):
                evidence = sum(float(weight[target[b], k]) * float(maps[b, k, i, j]) for k in range(8))
                assert float(got[b, i, j]) == pytest.approx(max(0.0, evidence) / 30, abs=1e-6)
    assert (got > 0).any()
    assert (got == 0).any()


@pytest.mark.parametrize("name", ["1", "5"])
def test_layers_that_work_in_place_change_nothing(name: str) -> None:
    """A rectifier may write over the maps that were kept: here those of the batch normalisation before it."""
    x, target = torch.randn(2, 3, 8, 8), torch.tensor([1, 3])
    found = []
    for inplace in (False, True):
        model = small_net(inplace=inplace)
        call = call_of(insight.traced(model, x), name)
        found.append((insight.grad_cam(model, x, call, target), insight.outputs(model, x, [call])[0]))
    torch.testing.assert_close(found[0], found[1])
    assert (found[0][1] < 0).any()  # before the rectifier


def test_grad_cam_does_not_need_weights_that_learn() -> None:
    model, x, target = small_net(), torch.randn(1, 3, 8, 8), torch.tensor([2])
    call = insight.stages(insight.traced(model, x))[-1]
    free = insight.grad_cam(model, x, call, target)
    torch.testing.assert_close(insight.grad_cam(model.requires_grad_(False), x, call, target), free)


def test_scores_of_one_output_and_of_side_heads() -> None:
    log_odds = torch.tensor([[1.5], [-2.0]])
    assert insight.class_scores(log_odds).tolist() == [[-1.5, 1.5], [2.0, -2.0]]
    heads = torch.randn(3, 4, 5)
    assert torch.equal(insight.class_scores(heads), heads[0])


def test_looking_leaves_no_trace() -> None:
    model, x = small_net(), torch.randn(2, 3, 8, 8)
    model[5].eval()  # modes may be mixed, as where a part is frozen
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    root = insight.traced(model, x)
    insight.outputs(model, x, insight.stages(root))
    insight.grad_cam(model, x, insight.stages(root)[-1], torch.tensor([0, 1]))
    insight.penultimate(model, x, insight.last_weighted(root))
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == [False, *[True] * 9]
    assert not x.requires_grad


def test_hooks_are_taken_off_where_the_model_fails() -> None:
    model = small_net()
    with pytest.raises(RuntimeError):
        insight.traced(model, torch.randn(1, 4, 8, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(module.training for module in model.modules())


# --------------------------------------------------------------------------------------------------------- which layers


NAMES = {  # the first convolution and the ends of the stages, with height and width, as the papers' tables have them
    "alexnet": [("conv1", 55), ("norm", 27), ("relu", 13)],
    "vgg16": [("conv1_1", 224), ("relu1_2", 224), ("relu2_2", 112), ("relu3_3", 56), ("relu4_3", 28), ("relu5_3", 14)],
    "googlenet": [("conv", 112), ("norm2", 56), ("inception3b", 28), ("inception4e", 14), ("inception5b", 7)],
    "resnet50": [("conv1", 112), ("conv2_x", 56), ("conv3_x", 28), ("conv4_x", 14), ("conv5_x", 7)],
    "resnet20": [("conv1", 32), ("conv2_x", 32), ("conv3_x", 16), ("conv4_x", 8)],
}


@pytest.mark.parametrize("variant", NAMES)
def test_stages_are_those_of_the_papers_tables(variant: str) -> None:
    card = next(card for card in PAPERS.values() if variant in card.variants)
    with torch.device("meta"):
        root = insight.traced(on_meta(card.build, card.variants[variant]), *card.variants[variant].example(1))
    assert [(c.name.rpartition(".")[2], c.shape[1]) for c in insight.stages(root)] == NAMES[variant]


def smallest(config: Any) -> Any | None:
    """The config fitted to small pictures; None for a network that reads none, or reads them as a row of numbers."""
    for size in (8, 32, 67, 96):
        spec = DataSpec("photos", "images", {"train": 100}, (3, size, size), ("a", "b", "c"))
        try:
            return config.fitted(spec)
        except UserError:
            continue
    return None


MAKERS = {"autoencoder", "conditional_gan", "dcgan", "gan", "vae"}  # they tell no classes apart
READERS = [
    paper
    for paper, card in PAPERS.items()
    if paper not in MAKERS and smallest(next(iter(card.variants.values()))) is not None
]


def test_all_papers_but_one_read_pictures_with_classes_or_text() -> None:
    of_text = {paper for paper, card in PAPERS.items() if reading_of(paper, next(iter(card.variants)))}
    assert set(PAPERS) - set(READERS) == {"linear", "nce"} | MAKERS | of_text


@pytest.mark.parametrize("paper", READERS)
def test_any_papers_network_can_be_looked_into(paper: str) -> None:
    card = PAPERS[paper]
    config = smallest(next(iter(card.variants.values())))
    assert config is not None
    torch.manual_seed(0)
    model = card.build(config)
    x = torch.randn(2, 3, *config.example(1)[0].shape[2:]) if config.example(1)[0].dim() == 4 else config.example(2)[0]
    root = insight.traced(model, x)
    chosen = insight.stages(root)
    assert bool(chosen) == any(isinstance(m, nn.Conv2d) for m in model.modules())
    for call in chosen[-1:]:
        heat = insight.grad_cam(model, x, call, torch.tensor([0, 1]))
        assert heat.shape == (2, *call.shape[1:])
        assert heat.isfinite().all()
        assert (heat >= 0).all()
    for call, values in zip(chosen, insight.outputs(model, x, chosen)):
        assert values.shape == (2, *call.shape)
    classifier = insight.last_weighted(root)
    output, vector = insight.penultimate(model, x, classifier)
    if isinstance(classifier.module, nn.Linear):  # the vector is all that the classifier reads
        torch.testing.assert_close(classifier.module(vector), output)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_dense_block_gives_all_its_maps() -> None:
    card = PAPERS["densenet"]
    config = smallest(card.variants["densenet40-k12"])
    torch.manual_seed(0)
    model, x = card.build(config), torch.randn(1, 3, *config.size)
    root = insight.traced(model, x)
    block = insight.stages(root)[1]
    assert block.name == "blocks.0"
    assert block.shape[0] == 16 + 12 * 12  # Sec. 3: 16 maps, and k = 12 more from each of 12 layers
    (maps,) = insight.outputs(model, x, [block])
    model.eval()
    with torch.no_grad():
        parts = model.blocks[0](model.conv0(x))
    torch.testing.assert_close(maps, torch.cat(parts, 1))

    # Its activation, with the rest of the network (the paper's Table 1) written out.
    parts = [part.requires_grad_() for part in parts]
    rest = parts
    for transition, later in zip(model.transitions, model.blocks[1:]):
        rest = later(transition(rest))
    score = model.fc(model.pool(model.relu(model.norm(torch.cat(rest, 1)))).flatten(1))[0, 1]
    alpha = torch.cat(torch.autograd.grad(score, parts), 1).mean((2, 3), keepdim=True)
    by_hand = (alpha * torch.cat(parts, 1).detach()).sum(1).relu()
    torch.testing.assert_close(insight.grad_cam(model, x, block, torch.tensor([1])), by_hand)


# ------------------------------------------------------------------------------------------------------------- vectors


def test_the_penultimate_vector_is_what_the_last_linear_layer_reads() -> None:
    model, x = small_net(), torch.randn(2, 3, 9, 9)
    classifier = insight.last_weighted(insight.traced(model, x))
    output, vector = insight.penultimate(model, x, classifier)
    model.eval()
    with torch.no_grad():
        maps = model[:7](x)
        by_hand = torch.stack([torch.stack([maps[b, k].sum() / 16 for k in range(8)]) for b in range(2)])
        torch.testing.assert_close(vector, by_hand)
        torch.testing.assert_close(output, model(x))


def test_of_a_convolution_that_classifies_it_is_the_mean_of_the_maps_it_reads() -> None:
    model = nn.Sequential(nn.Conv2d(3, 7, 3), nn.ReLU(), nn.Conv2d(7, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x = torch.randn(2, 3, 6, 6)
    classifier = insight.last_weighted(insight.traced(model, x))
    assert classifier.name == "2"
    _, vector = insight.penultimate(model, x, classifier)
    with torch.no_grad():
        torch.testing.assert_close(vector, model[:2](x).flatten(2).mean(2))


def test_cosine_of_vectors() -> None:
    a = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    b = torch.tensor([[6.0, 8.0], [-4.0, 3.0], [-3.0, -4.0]])
    torch.testing.assert_close(insight.cosine(a, b), torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.0, 0.0]]))


def test_the_strongest_channels_are_those_of_largest_magnitude() -> None:
    maps = torch.tensor([0.1, -5.0, 2.0, 0.0])[:, None, None] * torch.ones(4, 2, 2)
    assert insight.strongest(maps, 3) == [1, 2, 0]


class Gated(nn.Module):
    """A squeeze-and-excitation block (Hu et al. 2018), as small as it gets."""

    def __init__(self, channels: int, *, named: bool) -> None:
        super().__init__()
        layers = (nn.Conv2d(channels, 2, 1), nn.ReLU(), nn.Conv2d(2, channels, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        if named:
            self.gate = nn.Sequential(*layers, nn.Sigmoid())
        else:
            self.layers, self.open = nn.Sequential(*layers), nn.Sigmoid()
        self.named = named

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.pool(x)
        return x * (self.gate(squeezed) if self.named else self.open(self.layers(squeezed)))


@pytest.mark.parametrize("named", [True, False])
def test_gates_are_found_and_read(named: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), Gated(6, named=named), Gated(6, named=named), nn.Sigmoid())
    x = torch.randn(2, 3, 7, 7)
    calls = insight.gates(insight.traced(model, x))
    assert [call.name for call in calls] == ([f"{i}.gate" for i in (1, 2)] if named else [f"{i}.open" for i in (1, 2)])
    first, second = insight.outputs(model, x, calls)
    with torch.no_grad():
        u = model[0](x)
        torch.testing.assert_close(model[1](u), u * first)
        torch.testing.assert_close(model[2](u * first), u * first * second)


# ------------------------------------------------------------------------------------------------------------- pictures


def test_a_heat_map_covers_its_picture() -> None:
    image = torch.full((1, 4, 4), 100, dtype=torch.uint8)
    heat = torch.zeros(2, 2)
    heat[0, 1] = 7.0
    laid = pictures.overlay(image, heat)
    for corner, colour in (((0, 3), pictures.HEAT[-1]), ((3, 0), pictures.HEAT[0])):
        by_hand = [pictures.COVER * c + (1 - pictures.COVER) * 100 for c in colour]
        assert [float(v) for v in laid[:, corner[0], corner[1]]] == pytest.approx(by_hand, abs=0.51)
    assert torch.equal(
        pictures.overlay(image.expand(3, -1, -1), heat), laid
    )  # grey, or the same grey in three channels


def test_tiles_span_black_to_white() -> None:
    assert pictures.tile(torch.tensor([[-2.0, 0.0], [2.0, 1.0]])).tolist() == [[[0, 128], [255, 191]]]
    assert pictures.tile(torch.full((2, 2), 3.0)).tolist() == [[[128, 128], [128, 128]]]


def test_small_pictures_are_enlarged_by_whole_factors() -> None:
    image = torch.arange(6, dtype=torch.uint8).view(1, 2, 3)
    large = pictures.enlarged(image, 10)
    assert large.shape == (1, 6, 9)
    assert torch.equal(large[:, ::3, ::3], image)
    assert pictures.enlarged(image, 2) is not None
    assert torch.equal(pictures.enlarged(image, 2), image)


# ------------------------------------------------------------------------------------------------------- a run explained


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the digits, and some of them as files beside it: train.png is of the training split."""
    folder = tmp_path_factory.mktemp("explain")
    words = ("train", "resnet20", "digits", "--epochs", "1", "--precision", "fp32", "--name", "run")
    done(*words, folder=folder)
    run = folder / "runs" / "run"
    rows = [line.split(",") for line in (run / "split.csv").read_text().splitlines()[1:]]
    for split in ("train", "val"):
        row = next(int(name[len("digits[") : -1]) for part, name in rows if part == split)
        pixels = np.rint(load_digits().images[row] * (255 / 16)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{split}.png")
    return folder


def explained(run: Path, *images: Path, out: Path, **asked: Any) -> tuple[str, str]:
    """The page, and what was said."""
    said = io.StringIO()
    with redirect_stdout(said):
        assert explaining.explain(str(run), [str(image) for image in images], out=str(out), **asked) == 0
    return out.read_text(encoding="utf-8"), said.getvalue()


def insights(monkeypatch: pytest.MonkeyPatch, run: Path, *images: Path, out: Path, **asked: Any) -> page.Insights:
    """What the page is made from."""
    kept: list[page.Insights] = []
    monkeypatch.setattr(explaining, "render", lambda found: kept.append(found) or page.render(found))
    explained(run, *images, out=out, **asked)
    return kept[0]


def test_the_nearest_of_a_training_picture_is_itself(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = digits / "runs" / "run"
    found = insights(monkeypatch, run, digits / "train.png", digits / "val.png", out=tmp_path / "e.html")
    first, second = found.pictures
    nearest = first.neighbours[0]
    assert nearest.same
    assert nearest.similarity == pytest.approx(1, abs=1e-6)
    assert not any(neighbour.same for neighbour in (*first.neighbours[1:], *second.neighbours))
    assert "1,437 training pictures" in found.compared

    # All cosines once more, row by row, with the model's own parts.
    folder = RunFolder.existing(run)
    plan = plan_of(folder)
    model, source = best_model(folder, plan, torch.device("cpu")), source_of(folder, plan, torch.device("cpu"))
    everything = next(source.batches(Order("train", 2000, scaling=plan.recipe.scaling)))
    with torch.no_grad():
        vectors = model.pool(model.stages(model.relu(model.bn1(model.conv1(everything["input"]))))).flatten(1).double()
    asked = vectors[0]  # train.png is the first training row
    cosines = [float(v @ asked / v.norm() / asked.norm()) for v in vectors]
    ranked = sorted(range(len(cosines)), key=lambda row: -cosines[row])[:8]
    assert [n.picture.name for n in first.neighbours] == [source.name("train", row) for row in ranked]
    assert [n.similarity for n in first.neighbours] == pytest.approx([cosines[row] for row in ranked], abs=1e-5)
    assert [n.label for n in first.neighbours] == [str(int(everything["target"][row])) for row in ranked]


def test_guesses_are_those_of_predict(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = digits / "runs" / "run"
    out = done("predict", run, digits / "val.png", "--top", 5, "--json", folder=tmp_path)
    predicted = {name: value for name, value in json.loads(out).items() if name != "input"}
    (found,) = insights(monkeypatch, run, digits / "val.png", out=tmp_path / "e.html").pictures
    assert [guess.label for guess in found.guesses] == list(predicted)
    assert [guess.probability for guess in found.guesses] == pytest.approx(list(predicted.values()), abs=1e-6)
    assert found.activation.label == found.guesses[0].label


def test_another_class_and_another_layer(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = digits / "runs" / "run"
    asked = {"class_name": "7", "layer": "stages.conv2_x.1"}
    (found,) = insights(monkeypatch, run, digits / "val.png", out=tmp_path / "e.html", **asked).pictures
    assert (found.activation.label, found.activation.layer) == ("7", "stages.conv2_x.1")
    assert found.activation.size == (8, 8)


def test_of_many_training_pictures_some_are_drawn_by_lot(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "MOST_ROWS", 250)
    found = insights(monkeypatch, digits / "runs" / "run", digits / "val.png", out=tmp_path / "e.html")
    assert "250 training pictures" in found.compared
    assert "The training split has 1,437; 250 of them were drawn by lot." in found.compared
    assert len(found.pictures[0].neighbours) == 8
    rows = {int(n.picture.name[len("digits[") : -1]) for n in found.pictures[0].neighbours}
    assert max(rows) > 320  # the first 250 training rows end before


def test_a_run_without_its_pictures_says_so(digits: Path, tmp_path: Path) -> None:
    imported = copy(digits / "runs" / "run", tmp_path)
    (imported / "split.csv").unlink()
    html, said = explained(imported, digits / "val.png", out=tmp_path / "a.html")
    assert "trained elsewhere: there are no training pictures to look among" in html
    assert "trained elsewhere" in said
    assert 'class="pictures neighbours"' not in html

    changed = copy(digits / "runs" / "run", tmp_path / "other")
    (changed / "split.csv").write_text("split,name\n")
    html, said = explained(changed, digits / "val.png", out=tmp_path / "b.html")
    assert "could not be looked at: digits is not what it was when this run began" in html


def test_a_page_replaces_its_own_kind_alone(digits: Path, tmp_path: Path) -> None:
    run = copy(digits / "runs" / "run", tmp_path)
    with redirect_stdout(io.StringIO()) as said:
        explaining.explain(str(run), [str(digits / "val.png")])
        explaining.explain(str(run), [str(digits / "train.png")])
    assert said.getvalue().splitlines()[-1].endswith(f"{run}/explain.html (in place of the last one)")
    assert "train.png" in (run / "explain.html").read_text(encoding="utf-8")
    assert not list(run.glob(".*"))

    other = tmp_path / "mine.html"
    other.write_text("<html>mine</html>")
    for target in (other, run / "report.html"):
        before = target.read_bytes()
        with pytest.raises(UserError, match="is no page of `seminal explain`"):
            explaining.explain(str(run), [str(digits / "val.png")], out=str(target))
        assert target.read_bytes() == before
    (tmp_path / "pages").mkdir()
    explaining.explain(str(run), [str(digits / "val.png")], out=str(tmp_path / "pages"))
    assert (tmp_path / "pages" / "explain.html").exists()


def test_mistakes_are_told(digits: Path, tmp_path: Path) -> None:
    run, picture, out = digits / "runs" / "run", digits / "val.png", str(tmp_path / "e.html")
    (tmp_path / "words.png").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes(picture.read_bytes()[:80])
    (tmp_path / "empty").mkdir()

    def refused(says: str, run: Path = run, image: Path = picture, **asked: Any) -> None:
        with pytest.raises(UserError, match=says):
            explaining.explain(str(run), [str(image)], **{"out": out, **asked})
        assert not Path(out).exists()

    refused("there is no run folder", run=tmp_path / "nothing")
    refused("is not the folder of a run", run=tmp_path)
    refused("was trained on a table", run=numbers_run())
    refused(r"words\.png is not a picture", image=tmp_path / "words.png")
    refused(r"cut\.png ", image=tmp_path / "cut.png")
    refused("there is no file or folder", image=tmp_path / "gone.png")
    refused("holds no pictures", image=tmp_path / "empty")
    refused("there is no class `zebra`. The network knows: 0, 1, 2", class_name="zebra")
    refused(r"no layer `stages.conv5_x`. Nearest: stages.conv\d_x.*Choose one of: conv1, .*stages.conv4_x, or a part of one, "
            r"such as stages.conv4_x.0", layer="stages.conv5_x")  # fmt: skip
    refused("`fc` gives no feature maps: its output is 10. Choose one of: conv1", layer="fc")
    refused("`pool` gives no feature maps: its output is 64 × 1 × 1", layer="pool")
    refused("there is no folder", out=str(tmp_path / "no" / "e.html"))


def test_too_many_pictures_are_cut_and_it_is_said(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "MOST_PICTURES", 1)
    html, said = explained(digits / "runs" / "run", digits / "val.png", digits / "train.png", out=tmp_path / "e.html")
    assert "only the first 1 pictures are shown" in html
    assert "only the first 1 pictures are shown" in said
    assert 'id="picture-2"' not in html


def test_a_network_without_convolutions_still_has_guesses_and_neighbours(digits: Path, tmp_path: Path) -> None:
    done("train", "logistic", "digits", "--epochs", "1", "--precision", "fp32", "--name", "flat", folder=digits)
    html, _ = explained(digits / "runs" / "flat", digits / "train.png", out=tmp_path / "e.html")
    assert "no feature maps: there is no class activation to show" in html
    assert "this very picture" in html
    assert "First-layer filters" not in html
    with pytest.raises(UserError, match="`--layer` has nothing to choose from"):
        explaining.explain(str(digits / "runs" / "flat"), [str(digits / "train.png")], layer="conv1")


# ------------------------------------------------------------------------------------------------------------ the page


def test_the_page_of_grey_pictures_in_a_browser(browser: Any, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "e.html"
    explained(digits / "runs" / "run", digits / "train.png", digits / "val.png", out=out)
    window, said, asked = window_on(browser, out, viewport={"width": 1200, "height": 900})
    assert said == []
    assert asked == [out.as_uri()]
    assert window.title() == "Inside resnet20, trained on digits"
    assert window.evaluate("[...document.querySelectorAll('section')].map((s) => s.id)") == [
        *("picture-1", "picture-2", "filters", "further")
    ]
    for i in (1, 2):
        headings = window.locator(f"#picture-{i} h3").all_inner_texts()
        assert headings == ["Feature maps", "Nearest training pictures"]
        assert window.locator(f"#picture-{i} .seen img").count() == 2
        assert window.locator(f"#picture-{i} .guesses li").count() == 5
        assert window.locator(f"#picture-{i} .maps").count() == 4
        assert window.locator(f"#picture-{i} .maps img").count() == 4 * 16
        assert window.locator(f"#picture-{i} .neighbours img").count() == 8
    images = window.evaluate("[...document.images].map((i) => [i.naturalWidth, i.alt.length])")
    assert len(images) == 2 * (2 + 64 + 8) + 1
    assert min(min(pair) for pair in images) > 0
    assert len(out.read_bytes()) < 1_000_000
    window.close()


def test_the_page_of_colour_pictures_on_a_narrow_window(browser: Any, tmp_path: Path) -> None:
    run = copy(pictures_run(), tmp_path)
    picture = next((pictures_run().parents[1] / "set" / "val" / "red").iterdir())
    explained(run, picture, out=tmp_path / "e.html")
    window, said, _ = window_on(
        browser, tmp_path / "e.html", viewport={"width": 360, "height": 800}, color_scheme="dark"
    )
    assert said == []
    assert window.evaluate("document.documentElement.scrollWidth") <= 360
    assert window.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    assert window.locator("#picture-1 .guesses li").count() == 3
    window.close()


def test_the_users_words_run_nothing_and_gates_are_drawn(browser: Any, tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    dot = Picture(pictures.png(torch.zeros(1, 4, 4, dtype=torch.uint8)), hostile, hostile)
    one = page.Insight(
        dot,
        (page.Guess(hostile, 0.9), page.Guess("b", 0.1)),
        page.Activation(hostile, hostile, (2, 2), None),
        (page.Maps(hostile, (1, 2, 2), (dot,)),),
        (page.Neighbour(dot, hostile, 0.5, False),),
        (page.Gate(hostile, (0.25, 0.0, 1.0)), page.Gate("one channel", (0.5,))),
    )
    everything = page.Insights(
        hostile, Citation(hostile, "javascript:alert(1)"), ((hostile, hostile),), (one,), hostile, (dot,), (hostile,),
        ((hostile, hostile),),
    )  # fmt: skip
    path = tmp_path / "e.html"
    path.write_text(page.render(everything), encoding="utf-8")
    window, said, _ = window_on(browser, path)
    assert said == []
    assert window.title() == hostile
    assert window.locator("img[src=x]").count() == 0
    assert window.locator("a[href^=javascript]").count() == 0
    assert "the map is zero everywhere" in window.locator(".activation").inner_text()
    line = window.locator(".gates polyline").first
    assert line.get_attribute("points") == "0,0 50,75 100,100"
    assert line.bounding_box()["width"] > 100
    caption = window.locator(".gates figcaption").first.inner_text()
    assert caption == "3 channels, mean 0.42, from 0.00 to 1.00"
    assert window.locator(".gates polyline").nth(1).get_attribute("points") == "0,50 100,50"
    window.close()


def test_a_line_of_many_gates_keeps_its_ends_and_falls() -> None:
    values = tuple(np.random.default_rng(0).random(2048).tolist())
    points = [tuple(map(float, point.split(","))) for point in page.Gate("se", values).points.split()]
    assert len(points) == page.POINTS
    assert points[0] == pytest.approx((0, 100 - 100 * max(values)), abs=1e-3)
    assert points[-1] == pytest.approx((100, 100 - 100 * min(values)), abs=1e-3)
    for x, y in points:
        share = sum(value > 1 - y / 100 for value in values) / 2047  # that many values lie above the line at x
        assert x / 100 == pytest.approx(share, abs=2e-3)


def test_a_page_without_gates_has_no_section_of_them() -> None:
    dot = Picture(pictures.png(torch.zeros(1, 4, 4, dtype=torch.uint8)), "seen", "a.png")
    bare = page.Insights("t", Citation("c"), (), (page.Insight(dot, (page.Guess("a", 1.0),)),), "none")
    html = page.render(bare)
    assert "excitation" not in html
    assert "no feature maps" in html
    gated = replace(bare, pictures=(replace(bare.pictures[0], gates=(page.Gate("se", (0.5, 0.6)),)),))
    assert "Gates of the squeeze-and-excitation blocks" in page.render(gated)
