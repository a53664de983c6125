"""Benchmarks and experiments on text, in a small run of each: what is compared is the same, and nothing is lost."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from seminal.core import Precision
from seminal.pieces.adam import excess
from seminal.pieces.tokens import PAD
from texts import sentences

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[1]
QUICK = ("--quick", "--threads", "1", "--only", "small", "gpt2")


@pytest.fixture
def script(monkeypatch):
    """A script as a module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.syspath_prepend(ROOT / "experiments")
    return importlib.import_module


@pytest.fixture
def train_text(script):
    for name in ("transformers", "accelerate"):
        pytest.importorskip(name, reason=f"{name} is not installed: no peer to compare with")
    return script("train_text")


def result_of(module, monkeypatch, out: Path, *words: str):
    monkeypatch.setattr(sys, "argv", [module.__name__, "--out", str(out), *words])
    module.run()
    return json.loads(out.read_text(encoding="utf-8"))


def near(value, other):
    return abs(value - other) <= 1e-4 * abs(other)


# ------------------------------------------------------------------------------------------------------ training on text


def test_training_on_text_is_compared_on_equal_terms(train_text, script, monkeypatch, tmp_path):
    (tmp_path / "results").mkdir()
    found = result_of(train_text, monkeypatch, tmp_path / "results" / "train_text.json", *QUICK)
    assert [row["setting"].split(",")[0] for row in found["rows"]] == ["transformer", "gpt2"]
    for row in found["rows"]:
        ours, *others = row["without_dropout"].values()
        assert others
        for other in others:
            assert other["parameters"] == ours["parameters"]
            assert near(other["loss"], ours["loss"])
            assert near(other["gradient_norm"], ours["gradient_norm"])
        for name, rates in row["target_tokens_per_s"].items():
            if name not in row["ratios"]:
                ratio = row["ratios"]["seminal"][name]["all"][0]
                assert near(ratio, row["target_tokens_per_s"]["seminal"]["median"] / rates["median"])
    pairs, text = found["rows"][0]["tokens_per_turn"], found["rows"][1]["tokens_per_turn"]
    assert pairs["torch"] == pairs["seminal"]
    assert text["transformers"] == text["seminal"]
    assert text["seminal"]["target"] == 2 * found["rows"][1]["batch"] * (train_text.READ - 1)
    words = "\n".join(script("told_speed").train_text(found))
    rate = found["rows"][1]["target_tokens_per_s"]["transformers"]["median"]
    assert "| gpt2, 1 layers of width 16 | fp32 |" in words
    assert f" {rate:,.0f} | – | " in words


def contest(train_text, tmp_path, setting: int = 0):
    return train_text.contest(train_text.SETTINGS[setting], sentences(tmp_path / "data"), tmp_path, quick=True)


def test_where_another_precision_is_chosen_both_are_measured(train_text, monkeypatch, tmp_path):
    monkeypatch.setattr(train_text, "chosen", lambda trials: Precision("bf16"))
    row = train_text.measure(train_text.SETTINGS[0], contest(train_text, tmp_path), 1)
    assert row["default_precision"] == "bf16"
    assert set(row["ratios"]) == {"seminal", train_text.DEFAULTS}
    assert all(set(ratios) == set(train_text.PEERS) for ratios in row["ratios"].values())
    assert row["tokens_per_turn"][train_text.DEFAULTS] == row["tokens_per_turn"]["seminal"]


def test_a_peer_that_computes_something_else_is_found_out(train_text, tmp_path):
    made = contest(train_text, tmp_path)
    batch = next(train_text.epoch(made.source, made.recipe))
    for name in train_text.PEERS:
        programs = made.programs(dropout=False)
        train_text.agreement(programs, batch)
        with torch.no_grad():
            next(programs[name].model.parameters()).mul_(1.01)
        with pytest.raises(SystemExit, match=f"{name} does not compute"):
            train_text.agreement(programs, batch)


def test_peers_drop_out_where_ours_does(train_text, tmp_path):
    """As many draws of the same probability: both embeddings, two sub-layers of the encoder, three of the decoder."""
    made = contest(train_text, tmp_path)
    programs, counts = made.programs(dropout=True), {}
    for name, program in programs.items():
        model = program.model.train()
        with torch.no_grad():
            batch = next(iter(programs["torch"].batches))
            with torch.profiler.profile() as profile:
                program.loss(batch)
        drawn = ("aten::bernoulli_", "aten::random_")
        counts[name] = sum(e.count for e in profile.key_averages() if e.key in drawn)
        shares = [part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)]
        assert set(shares) <= {made.recipe.model.dropout}
    assert counts == {"seminal": 7, "transformers": 7, "torch": 7}


def test_a_turn_of_the_trainer_is_a_fair_part_of_its_epoch(train_text, script):
    grouped = script("text_peers").grouped
    rows = [{"input_ids": torch.full((1 + i * 7 % 40,), PAD + 1)} for i in range(400)]
    some = grouped(rows, 10, 8)
    batches = [[len(row["input_ids"]) for row in some[i : i + 10]] for i in range(0, 80, 10)]
    assert max(max(batch) - min(batch) for batch in batches) <= 8
    mean, whole = (sum(len(row["input_ids"]) for row in part) / len(part) for part in (some, rows))
    assert abs(mean - whole) < 2
    everything = grouped(rows, 10, 40)
    assert sorted(map(id, everything)) == sorted(map(id, rows))


# ------------------------------------------------------------------------------------------------------------- SST-2


@pytest.fixture
def films(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    good, bad = ("a fine and moving film", "what a joy"), ("a dull film", "no joy at all , just noise")
    for split, times in {"train": 20, "dev": 5, "test": 4}.items():
        rows = [f"{text}\t{label}\n" for label, texts in enumerate((bad, good)) for text in texts] * times
        (folder / f"{split}.tsv").write_text("".join(rows))
    return folder


def test_sst2_is_scored_on_its_test_set(script, films, monkeypatch, tmp_path):
    found = result_of(script("sst2"), monkeypatch, tmp_path / "sst2.json", "--quick", "--data", str(films))
    assert {run["model"] for run in found["runs"]} == {"bag", "elman"}
    for run in found["runs"]:
        assert run["rows"] == {"train": 80, "val": 20, "test": 16}
        assert run["epochs"] == 1
        assert run["top1"] * 16 == round(run["top1"] * 16)
        assert run["seconds"] > 0
    (films / "test.tsv").unlink()
    with pytest.raises(SystemExit, match=r"no test\.tsv"):
        result_of(script("sst2"), monkeypatch, tmp_path / "other.json", "--quick", "--data", str(films))


def test_sst2_goes_on_with_the_runs_that_are_missing(script, monkeypatch, tmp_path):
    sst2, asked = script("sst2"), []

    def trained(variant, seed, _):
        asked.append((variant, seed))
        if len(asked) == 4:
            raise KeyboardInterrupt
        sizes = {"parameters": 1_250_000, "seconds": 30.0 + seed, "rows": {"train": 6920, "val": 872, "test": 1821}}
        top1 = (0.8 if variant == "bag" else 0.7) + 0.01 * seed
        return {"model": variant, "seed": seed, "top1": top1, "val_top1": 0.75, **sizes}

    monkeypatch.setattr(sst2, "trained", trained)
    (tmp_path / "results").mkdir()
    out, words = tmp_path / "results" / "sst2.json", ("--data", "films", "--seeds", "3", "--only", "elman", "bag")
    with pytest.raises(KeyboardInterrupt):
        result_of(sst2, monkeypatch, out, *words)
    assert len(json.loads(out.read_text())["runs"]) == 3
    found = result_of(sst2, monkeypatch, out, *words)
    assert asked[4:] == [asked[3], ("elman", 2), ("bag", 2)]
    assert [(row["model"], row["top1"]["n"]) for row in found["results"]] == [("bag", 3), ("elman", 3)]
    best = found["results"][0]["top1"]
    assert best["mean"] == pytest.approx(0.81)
    assert best["sd"] == pytest.approx(0.01)
    told = list(script("told_learning").sst2(found))
    assert "| bag | 2016 | 1.25 M | 81.0 ± 1.0 | 3 | 31.0 ± 1.0 |" in told


# ----------------------------------------------------------------------------------------------------------- the README


def test_the_readme_tells_of_translations(script, monkeypatch, tmp_path):
    """From a file as `experiments/multi30k.py` writes it."""
    machine = script("measuring").machine()
    scores = [
        {"weights": weights, "beam": beam, "sacrebleu": bleu + beam / 10, "chrf": 60.0 + beam, "seconds": 3.0}
        | {"signature": "greedy · BLEU nrefs:1 · chrF nrefs:1"}
        for weights, bleu in (("best", 37.0), ("averaged", 38.0))
        for beam in (1, 5)
    ]
    rows = [{"model": "transformer", "training_seconds": 3000.0, "threads": 2, "scores": scores}]
    readme, path = script("readme"), "experiments/results/multi30k.json"
    (tmp_path / path).parent.mkdir(parents=True)
    text = json.dumps({"command": "python experiments/multi30k.py", "machine": machine, "results": rows})
    (tmp_path / path).write_text(text)
    told = readme.measured(readme.FIRST, tmp_path).splitlines()
    assert told[-1].startswith("`python experiments/multi30k.py` · ")
    assert "| model | minutes of training (threads) | weights | greedy | beam 5 | chrF, widest beam |" in told
    assert "| transformer | 50 (2) | best | 37.10 | 37.50 | 65.0 |" in told
    assert "| transformer | 50 (2) | averaged | 38.10 | 38.50 | 65.0 |" in told
    assert "`BLEU nrefs:1 · chrF nrefs:1`" in told


def test_the_readme_tells_of_bert(script, monkeypatch, tmp_path):
    """From results as `bert_pretraining.py`, `bert_stability.py` and `bert.py` write them."""
    spread = script("measuring").spread
    arm = {"majority": 0.665, "train_loss": 0.5, "warmup": True, "epochs": 3}
    stable = [
        arm | {"optimiser": name, "seed": seed, "top1": top1, "failed": top1 < 0.67}
        for name, scores in (("adamw", (0.8, 0.81)), ("bertadam", (0.8, 0.66)))
        for seed, top1 in enumerate(scores)
    ]
    before = {"pre_training": {"steps": 1500}}
    learned = [
        {"learner": "BERT", "data": "mrpc", "seed": seed, "top1": top1, "matthews": top1 - 0.4} | before
        for seed, top1 in enumerate((0.7, 0.72))
    ]
    never = {"learner": "no pre-training", "data": "mrpc", "pre_training": None}
    learned += [never | {"seed": seed, "top1": 0.66 - seed, "matthews": -0.01 * seed} for seed in range(2)]
    fast = {"model": "bert-mini", "work": "inference", "batch": "skewed", "real_tokens": 0.34}
    speeds = [
        fast | {"attention": name, "ratio": spread(found)} for name, found in (("eager", (2, 3, 4)), ("sdpa", (1,)))
    ]
    learning, speed = script("told_learning"), script("told_speed")
    told = [
        *learning.bert_stability({"settings": {"data": "mrpc"}, "cells": stable}),
        *learning.bert_pretraining({"settings": {"text": ["plays"]}, "cells": learned}),
        *learning.bert_pretraining({"settings": {"text": []}, "cells": learned}),
        *speed.bert({"rows": 32, "results": speeds}),
    ]
    rows = [line for line in told if line.startswith(("| bertadam", "| adamw"))]
    assert rows == [
        "| bertadam | 3 | yes | 73.0 ± 9.9 | 66.0 to 80.0 | 0.500 | 1 of 2 |",
        "| adamw | 3 | yes | 80.5 ± 0.7 | 80.0 to 81.0 | 0.500 | 0 of 2 |",
    ]
    assert "| BERT | 1,500 | 71.0 ± 12.7 (2) | 31.0 ± 12.7 (2) | 0 of 2 |" in told
    assert any(line.startswith("| no pre-training | – | 16.0") and line.endswith("| 1 of 2 |") for line in told)
    assert any(line.endswith("small BERTs learn from plays and Python's own help, and are then") for line in told)
    assert any("the training texts of mrpc, without labels" in line for line in told)
    assert told.count("Beyond both intervals better than no pre-training: BERT on mrpc (Matthews × 100).") == 2
    assert "| bert-mini | skewed | 34% | 3.00 (2.00–4.00) | 1.00 (1.00–1.00) |" in told


# ---------------------------------------------------------------------------------------------- the stability of BERT


@pytest.fixture
def paraphrases(tmp_path):
    """Pairs that mean the same, two in three, and pairs that do not."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    rows = [("a red house", "a house that is red", 1), ("a small child", "a child", 1), ("a red house", "a ship", 0)]
    for split, times in {"train": 20, "dev": 4, "test": 8}.items():
        lines = [f"{label}\t{i}\t{i}\t{a}\t{b}" for i, (a, b, label) in enumerate(rows * times)]
        (folder / f"{split}.tsv").write_text("\n".join(["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", *lines]) + "\n")
    return folder


def test_arms_differ_in_what_they_say_and_failures_are_counted(script, paraphrases, monkeypatch, tmp_path):
    stability, out = script("bert_stability"), tmp_path / "stability.json"
    words = ("--data", str(paraphrases), "--runs", str(tmp_path / "runs"), "--device", "cpu")
    found = result_of(stability, monkeypatch, out, "--quick", "--no-warmup", *words)
    assert [tuple(cell[name] for name in stability.NAMES) for cell in found["cells"]] == [
        (optimiser, 1, warmup, 0) for warmup in (True, False) for optimiser in ("bertadam", "adamw")
    ]
    for cell in found["cells"]:
        assert cell["majority"] == pytest.approx(2 / 3)
        assert cell["standard_error"] == pytest.approx((2 / 9 / 24) ** 0.5)
        assert cell["failed"] == (cell["top1"] <= cell["majority"] + cell["standard_error"])
        assert cell["top1"] * 24 == pytest.approx(round(cell["top1"] * 24))
    # At the first step nothing else differs yet: without the correction it is longer, 3.2 times but for ε.
    for uncorrected, corrected in (found["cells"][:2], found["cells"][2:]):
        one, other = uncorrected["first_steps"][0], corrected["first_steps"][0]
        assert one["gradient"] == other["gradient"]
        assert one["lr"] == other["lr"]
        assert 1.2 < one["moved"] / other["moved"] < excess(1)
    assert not list((tmp_path / "runs").iterdir())
    assert out.with_suffix(".svg").read_text().count("<path d=") > 8
    assert "adamw" not in found["settings"]["recipe"]


def test_a_fine_tuning_that_was_cut_off_goes_on(script, paraphrases, monkeypatch, tmp_path):
    stability, out, begun = script("bert_stability"), tmp_path / "stability.json", []
    words = ("--quick", "--data", str(paraphrases), "--runs", str(tmp_path / "runs"), "--device", "cpu")
    begin, scored = stability.training.begin, stability.scored

    def noted(plan, *more):
        begun.append((plan.run.name, plan.recipe.lr))
        return begin(plan, *more)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(stability.training, "begin", noted)
    monkeypatch.setattr(stability, "scored", interrupted)
    for rate in ("3e-5", "5e-5"):  # what was begun with another rate is not gone on with
        with pytest.raises(KeyboardInterrupt):
            result_of(stability, monkeypatch, out, *words, "--lr", rate)
    monkeypatch.setattr(stability, "scored", scored)
    result_of(stability, monkeypatch, out, *words)
    first = "bertadam-1-True-0"
    assert begun == [(first, 3e-5), (first, 5e-5), ("adamw-1-True-0", 5e-5)]
