"""What a run writes: whole files or none, read back without running anything."""

from __future__ import annotations

import errno
import json
import pickle
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seminal.core import DataSpec, Departure, UserError
from seminal.pieces.augment import CutMix, GaussianNoise, HorizontalFlip, PCAColour
from seminal.pieces.crops import RandomCrop, ResizedCrop
from seminal.runs.codec import from_json, to_json
from seminal.runs.folder import RunFolder
from seminal.runs.shelf import papers, reading_of, recipe_names, recipes_of
from texts import text_spec

PICTURES = DataSpec("p", "images", {"train": 900, "val": 100}, (3, 64, 64), tuple("abcdefghij"), (90,) * 10)
NUMBERS = DataSpec("n", "table", {"train": 400, "val": 100}, (10,), target_names=("y",))


def through_json(value):
    return from_json(json.loads(json.dumps(to_json(value))))


def test_every_recipe_of_every_model_comes_back_equal():
    for file, paper in papers().items():
        for variant in paper.variants:
            for name in recipe_names(file):
                reading = reading_of(file, variant)
                spec = (
                    NUMBERS
                    if file in ("linear", "nce")
                    else replace(PICTURES, shape=(3, 224, 224) if file == "dcgan" else (3, 227, 227))
                )
                spec = text_spec(reading.form) if reading else spec
                recipe = vars(recipes_of(file))[name](variant, spec).adapted(spec)
                assert through_json(recipe) == recipe


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda v: st.lists(v).map(tuple) | st.dictionaries(st.text().filter(lambda k: k != "is"), v),
    )
)
def test_plain_values_come_back_equal(value):
    assert through_json(value) == value


def test_changes_of_pictures_come_back_equal():
    changes = (
        RandomCrop(4),
        ResizedCrop((0.3, 1.0)),
        HorizontalFlip(0.25),
        PCAColour(),
        GaussianNoise(0.1),
        CutMix(1.0),
    )
    assert through_json(changes) == changes


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "seminal.runs.folder.os.system",
        "seminal.core.nn.Linear",
        "seminal.core.UserError",
        "seminal.train.state.State",
        "seminal.nothing.Here",
        "seminal.core.",
        "",
        None,
        7,
    ],
)
def test_nothing_but_our_own_frozen_words_is_made(name):
    with pytest.raises(UserError):
        from_json({"is": name, "args": ["true"]})


def test_a_foreign_word_is_refused_when_it_is_written():
    @dataclass(frozen=True)
    class Mine:
        x: int = 1

    with pytest.raises(UserError, match="not part of seminal"):
        to_json((Departure("a", "b"), Mine()))


def test_unknown_fields_are_of_another_version():
    with pytest.raises(UserError, match="another version"):
        from_json({"is": "seminal.core.Departure", "what": "a", "why": "b", "colour": "red"})


def test_tensors_and_note_come_back_equal(tmp_path):
    folder = RunFolder(tmp_path)
    tensors = {
        "a": torch.randn(3, 4, 5, 6).to(memory_format=torch.channels_last),
        "b": torch.tensor(7),
        "c": torch.randn(3, 4).T,
        "d": torch.randn(2).bfloat16(),
    }
    folder.write_tensors("x.safetensors", tensors, {"step": 3, "rows": ({"loss": float("nan")},)})
    found, note = folder.read_tensors("x.safetensors")
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert note["step"] == 3
    assert note["rows"][0]["loss"] != note["rows"][0]["loss"]


@pytest.mark.parametrize("content", [b"", b"{}", b"\x08\x00\x00\x00\x00\x00\x00\x00garbage!", pickle.dumps({"a": 1})])
def test_a_damaged_or_foreign_file_is_refused(tmp_path, content):
    (tmp_path / "last.state").write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        RunFolder(tmp_path).read_tensors("last.state")


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.write("a.txt", "old")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"No space left on device.*intact"):
        folder.write("a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_one_process_at_a_time_trains_a_run(tmp_path):
    """Two would write over each other's checkpoints."""
    folder = RunFolder(tmp_path)
    with folder.held():
        with pytest.raises(UserError, match="is being trained by another process"), RunFolder(tmp_path).held():
            pass
        with pytest.raises(UserError, match="is being trained"), RunFolder(tmp_path).held():
            pass
    with RunFolder(tmp_path).held():
        pass
    assert not list(tmp_path.iterdir())


def test_folders_are_numbered_and_never_reused(tmp_path):
    first, second = (RunFolder.new(tmp_path, "mlp-iris", None) for _ in range(2))
    assert [first.path.name, second.path.name] == ["mlp-iris-1", "mlp-iris-2"]
    RunFolder.new(tmp_path, "mlp-iris", "mine")
    with pytest.raises(UserError, match="nothing is written over"):
        RunFolder.new(tmp_path, "mlp-iris", "mine")


def test_metrics_have_each_row_once(tmp_path):
    folder = RunFolder(tmp_path)
    rows = [{"epoch": 1, "val_top1": 0.5}, {"epoch": 2, "val_top1": 0.75}]
    folder.write_metrics(rows[:1])
    folder.write_metrics(rows)
    assert (tmp_path / "metrics.csv").read_text() == "epoch,val_top1\n1,0.5\n2,0.75\n"
