"""docs/sequences.md comes from its results; the scripts that measure them do what they say, in a small run."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
import torch.nn.functional as F

from seminal.core import Order
from seminal.pieces.attention import restricted
from seminal.pieces.masks import band
from seminal.pieces.measure import count, multiply_adds, on_meta
from seminal.pieces.tokens import NOTHING

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))

import charts
import language_models
import layer_costs
import recall
import sequences
from keeping import Cells

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_page_is_generated():
    check = subprocess.run(
        [sys.executable, "experiments/sequences.py", "--check"], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert check.returncode == 0, check.stderr


# ---------------------------------------------------------------------------------------------------- small runs of all


def quick(script, words, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", [script.__name__, "--quick", *words])
    script.run()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What small runs of all scripts have written."""
    folder = tmp_path_factory.mktemp("results")
    text = folder / "story.txt"
    text.write_text("".join(f"the {i % 7} ships of {i % 11} towns\n" for i in range(300)), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer_costs, "SMALL_LENGTHS", (12,))
        patch.setattr(layer_costs, "WIDTHS", (128,))
        quick(layer_costs, ["--out", str(folder / "layer_costs.json")], patch)
        quick(recall, ["--out", str(folder / "recall.json"), "--only", "elman", "restricted-2"], patch)
        runs = ["--runs", str(folder / "runs"), "--out", str(folder / "language_models.json"), "--device", "cpu"]
        runs += ["--precision", "fp32"]  # on a busy machine the measurement takes longest
        quick(language_models, ["--data", str(text), *runs], patch)
    return folder


def test_each_part_of_the_page_has_its_table_and_its_chart(results):
    found = sequences.pages(results)
    page = found.pop("sequences.md")
    assert len(found) == 3
    for name, drawing in found.items():
        assert f"]({name})" in page
        ElementTree.fromstring(drawing)
    for name in (*layer_costs.LAYERS, "elman", "restricted-2", "zaremba-small", "gpt"):
        assert f"| {name} |" in page
    assert "all equal their formulas." in page
    assert all(row.count("|") == row.replace("||", "|").count("|") for row in page.splitlines())
    for path in results.glob("*.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        assert f"`{result['command']}` · {result['machine']['processor']}" in page


def test_a_part_without_results_is_left_out(results, tmp_path):
    (tmp_path / "recall.json").write_text((results / "recall.json").read_text(encoding="utf-8"), encoding="utf-8")
    found = sequences.pages(tmp_path)
    assert set(found) == {"sequences.md", "sequences-recall.svg"}
    assert sequences.pages(tmp_path / "nowhere") == {}


def test_both_language_models_read_the_same_tokens_and_are_equally_large(results):
    cells = json.loads((results / "language_models.json").read_text(encoding="utf-8"))["cells"]
    recurrent, gpt = sorted(cells, key=lambda cell: cell["model"], reverse=True)
    assert [recurrent["model"], gpt["model"]] == ["zaremba-small", "gpt"]
    assert abs(gpt["parameters"] / recurrent["parameters"] - 1) <= 0.05
    for name in ("tokens", "words", "bytes", "vocabulary"):
        assert recurrent[name] == gpt[name]
    for cell in cells:  # one unit for both: nats of the whole test text, divided by its words and by its bytes
        nats = cell["test"]["loss"] * cell["tokens"]["test"]
        assert cell["test"]["perplexity_per_word"] == pytest.approx(
            float(torch.tensor(nats / cell["words"]["test"], dtype=torch.float64).exp()), rel=1e-6
        )
        assert cell["test"]["perplexity_per_byte"] == pytest.approx(
            float(torch.tensor(nats / cell["bytes"]["test"], dtype=torch.float64).exp()), rel=1e-6
        )


def test_text_is_parted_so_that_nothing_of_the_test_set_is_trained_on(tmp_path):
    lines = [f"line {i}" for i in range(50)]
    (tmp_path / "all.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    language_models.parted(tmp_path / "all.txt", tmp_path / "a")
    parts = [(tmp_path / "a" / f"{split}.txt").read_text(encoding="utf-8").splitlines() for split in ("train", "test")]
    assert parts == [lines[:45], lines[45:]]
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "valid.txt").write_text("v\n", encoding="utf-8")
    (corpus / "test.txt").write_text("t\n", encoding="utf-8")
    assert "validation set" in language_models.parted(corpus, tmp_path / "b")
    assert {p.name: p.read_text(encoding="utf-8") for p in (tmp_path / "b").iterdir()} == {
        "train.txt": "v\n",
        "test.txt": "t\n",
    }


# -------------------------------------------------------------------------------------------------- what is kept of a run


def test_cells_are_gone_on_with_only_under_the_same_settings_and_conditions(tmp_path):
    machine = {"processor": "p", "torch": "t", "threads": 1}
    first = Cells(tmp_path / "x.json", "c", machine, {"steps": (1, 2)}, ("name",))
    first.add({"name": "a", "value": 3})

    def after(**changes):
        again = replace(first, cells=[], **changes)
        again.go_on()
        return again

    assert after().missing([{"name": "a"}, {"name": "b"}]) == [{"name": "b"}]
    assert after(settings={"steps": (1, 3)}).cells == []
    assert after(machine={**machine, "torch": "u"}).cells == []


# ----------------------------------------------------------------------------------------------------------- the recall


def test_a_sequence_of_the_recall_is_a_function_of_seed_epoch_and_row():
    source, order = recall.Recall(7, 40), Order("train", 10, seed=1, shuffle=True)
    whole = list(source.batches(order))
    assert len(whole) == source.steps(order) == 4
    for batch, again in zip(whole[2:], source.batches(replace(order, start=2))):
        assert all(torch.equal(batch[name], again[name]) for name in batch)
    for other in (replace(order, seed=2), replace(order, epoch=1)):
        assert any(a["input"].tolist() != b["input"].tolist() for a, b in zip(whole, source.batches(other)))


@pytest.mark.parametrize("split", recall.SPLITS)
def test_the_marked_symbol_stands_so_far_before_the_question(split):
    source = recall.Recall(9, 6000)
    lengths = set()
    for batch in source.batches(Order(split, 20, shuffle=split == "train")):
        text, target = batch["input"], batch["target"]
        lengths.add(text.shape[1])
        assert (text[:, 0] == recall.MARK).all()
        assert (text[:, -1] == recall.QUESTION).all()
        assert ((text[:, 1:-1] >= recall.FIRST_VALUE) & (text[:, 1:-1] < recall.VOCABULARY)).all()
        assert torch.equal(target[:, -1] + recall.FIRST_VALUE, text[:, 1])
        assert (target[:, :-1] == NOTHING).all()
    assert lengths == ({11} if split == "test" else set(range(3, 12)))


@pytest.mark.parametrize("name", recall.NETWORKS)
def test_the_networks_are_equally_large(name):
    network = recall.NETWORKS[name]
    config = network.sized(recall.Recall(5, 1).spec, 25_500)
    assert abs(count(network.build, config) / 25_500 - 1) < 0.05


@pytest.mark.parametrize("name", [name for name, network in recall.NETWORKS.items() if network.reach])
def test_restricted_attention_sees_as_far_as_it_is_said_to(name):
    network = recall.NETWORKS[name]
    torch.manual_seed(0)
    model = network.build(network.sized(recall.Recall(5, 1).spec, 2_000)).eval()
    for distance, seen in ((network.reach, True), (network.reach + 1, False)):
        text = torch.full((2, distance + 2), recall.FIRST_VALUE)
        text[:, 1] += torch.arange(2)
        with torch.no_grad():
            first, second = model(text)[:, -1]
        assert torch.equal(first, second) != seen


def test_a_network_that_can_learn_the_recall_does():
    found = recall.cell(recall.Job("elman", 2, 0, steps=250, batch=32, parameters=4_000))
    assert found["learned"]
    assert found["accuracy"] > 0.95


# -------------------------------------------------------------------------------------------------------- cost and path


@pytest.mark.parametrize(("length", "reach"), [(1, 1), (5, 4), (8, 8), (33, 4), (64, 7), (6, 50)])
def test_restricted_attention_equals_attention_with_a_band(length, reach):
    torch.manual_seed(length)
    queries, keys = torch.randn(2, 2, 3, length, 8, dtype=torch.float64)
    values = torch.randn(2, 3, length, 6, dtype=torch.float64)
    found = []
    for attend in (
        lambda q, k, v: restricted(q, k, v, reach),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=band(length, reach)),
    ):
        given = [t.clone().requires_grad_() for t in (queries, keys, values)]
        out = attend(*given)
        found.append([out, *torch.autograd.grad(out.square().sum(), given)])
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", layer_costs.LAYERS)
def test_counts_equal_formulas(name):
    layer = layer_costs.LAYERS[name]
    for length, width in ((64, 128), (96, 256)):
        sizes = layer_costs.Sizes(length, width)
        bare = on_meta(lambda s: layer_costs.built(layer, s), sizes)
        assert multiply_adds(bare, torch.zeros(1, length, width, device="meta")) == layer.work(sizes)
    small = layer_costs.Sizes(17, 8, reach=4, kernel=3)
    torch.manual_seed(0)
    assert layer_costs.path(layer, small) == layer.path(small)
    assert layer_costs.chain(layer_costs.built(layer, small).plain(torch.randn(1, 17, 8))) == layer.steps(small)


@pytest.mark.parametrize("name", layer_costs.LAYERS)
def test_fast_forms_equal_the_equations(name):
    torch.manual_seed(1)
    layer = layer_costs.built(layer_costs.LAYERS[name], layer_costs.Sizes(20, 8, reach=4, kernel=3))
    x = torch.randn(2, 20, 8)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), layer.plain(x), atol=1e-5, rtol=1e-4)


def test_a_chain_counts_products_that_wait_for_each_other():
    a, b = torch.randn(2, 3, 3, requires_grad=True)
    assert layer_costs.chain(a @ b + b @ a) == 1
    assert layer_costs.chain((a @ b).tanh() @ (b @ a)) == 2


# ------------------------------------------------------------------------------------------------------------ the charts


def test_a_chart_places_points_by_its_axes():
    x, y = charts.at("n", [1.0, 10.0, 100.0]), charts.evenly("share", 0, 100, 4, lambda value: f"{value:.0f}")
    assert x.share(10.0) == pytest.approx(0.5)
    assert [y.share(value) for value in (0, 25, 100)] == [0, 0.25, 1]
    drawing = ElementTree.fromstring(charts.chart(x, y, [charts.Series("a < b", ((1.0, 0.0), (100.0, 100.0)))]))
    assert "a < b" in [node.text for node in drawing.iter() if node.text]
    ends = charts.decades("t", [0.03, 20.0])
    assert [told for _, told in ends.ticks] == ["0.01", "0.1", "1", "10", "100"]


def test_a_quick_run_never_replaces_a_real_one():
    asked = argparse.Namespace(out=None, quick=True)
    assert ROOT not in language_models.place("recall", asked).parents
