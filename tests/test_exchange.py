"""Weights that go in and out: import, export, ONNX, and training that starts from them, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys

import onnxruntime
import pytest
import torch
import torchvision
from torch.nn import functional as F

from command_line import DIGITS, QUICK, coloured, copy, digits_run, done, pictures_run, real, typed
from pictures_on_disk import save
from seminal.data.image_encoder import ImageEncoder
from seminal.papers import resnet
from seminal.runs.borrowing import head_entries
from seminal.runs.folder import RunFolder
from seminal.runs.importing import _labels
from seminal.runs.plan import best_model, plan_of
from test_weights import padded_net

pytestmark = pytest.mark.usefixtures("one_thread")
KILLED = """
import sys
from seminal.cli import main
from seminal.runs import ordering, training


def killed(run):
    sys.exit(9)  # between making the folder and the first step


training.carry_on = killed
main(sys.argv[1:])
"""
CPU = torch.device("cpu")


def model_of_run(run):
    folder = RunFolder.existing(run)
    return best_model(folder, plan_of(folder), CPU)


def resnet18_file(folder, classes=3):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(weights=None, num_classes=classes).eval()
    torch.save(theirs.state_dict(), folder / "theirs.pth")
    return theirs


# ---------------------------------------------------------------------------------------------------------------- import


def test_what_import_cannot_know_is_checked_where_it_is_said(tmp_path):
    """A spread of 0, and names that stand for two classes."""
    resnet18_file(tmp_path)
    for flags, told in ((("--std", "0,0,0"), "above zero"), (("--classes", "cat,dog,cat"), "`cat` more than once")):
        wrong = typed("import", "theirs.pth", "--as", "resnet18", *flags, folder=tmp_path)
        assert (wrong.code, told in wrong.err) == (2, True), wrong.err
    assert len(set(_labels(None, 1000))) == 1000


def test_imported_weights_predict_as_their_owner_does(tmp_path):
    theirs = resnet18_file(tmp_path)
    pixels = coloured(tmp_path / "set", 2) / "red" / "00.png"
    done("import", "theirs.pth", "--as", "resnet18", "--classes", "cat,dog,eel", "--name", "own", folder=tmp_path)
    run = tmp_path / "runs" / "own"
    said = json.loads(done("predict", run, pixels, "--json", folder=tmp_path))
    reader = RunFolder(run).read_json("reader.json")
    assert isinstance(reader, ImageEncoder)
    ((_, batch),) = reader.encode([str(pixels)], 1)
    assert batch["input"].shape == (1, 3, 224, 224)
    with torch.no_grad():
        wanted = dict(zip(("cat", "dog", "eel"), theirs(batch["input"]).softmax(1)[0].tolist()))
    for name in wanted:
        assert said[name] == pytest.approx(wanted[name], rel=1e-4), name


def test_imported_weights_are_scored_on_data_of_the_users(tmp_path):
    resnet18_file(tmp_path)
    coloured(tmp_path / "set", 5)
    words = ("--classes", "red,green,blue", "--size", "32", "--name", "own")
    done("import", "theirs.pth", "--as", "resnet18", *words, folder=tmp_path)
    got = json.loads(done("eval", "runs/own", "--data", "set", "--json", folder=tmp_path))
    assert got["rows"] == 15
    assert 0 <= got["top1"] <= 1
    for verb in ("eval", "resume", "report"):
        said = typed(verb, "runs/own", folder=tmp_path)
        assert said.code == 2
        assert "no data of its own" in said.err


def test_torchvisions_resnet50_becomes_the_variant_with_its_stride(tmp_path):
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), tmp_path / "rn50.pth")
    out = done("import", "rn50.pth", "--as", "resnet50", "--name", "own", folder=tmp_path)
    assert "`resnet50-v1.5`" in out
    assert plan_of(RunFolder.existing(tmp_path / "runs" / "own")).recipe.variant == "resnet50-v1.5"
    labels = json.loads((tmp_path / "runs" / "own" / "labels.json").read_text())
    assert (len(labels), labels[0]) == (1000, "tench")
    coloured(tmp_path / "set", 5)
    for start in ("runs/own", "rn50.pth"):  # the weights fit the paper's network too, which computes otherwise
        said = typed("train", "resnet50", "set", "--from", start, "--size", "32", "--dry-run", folder=tmp_path)
        assert (said.code, "`seminal train resnet50-v1.5 DATA --from" in said.err) == (2, True), said


def test_a_file_of_another_model_is_refused_and_the_right_one_named(tmp_path):
    resnet18_file(tmp_path)
    said = typed("import", "theirs.pth", "--as", "resnet34", folder=tmp_path)
    assert said.code == 2
    assert "the file lacks layer1.2.conv1.weight" in said.err
    assert "It fits: resnet18." in said.err
    assert not (tmp_path / "runs").exists()


# ---------------------------------------------------------------------------------------------------------------- export


def test_torchvision_reads_what_was_exported(tmp_path):
    resnet18_file(tmp_path)
    done("import", "theirs.pth", "--as", "resnet18", "--name", "own", folder=tmp_path)
    done("export", "runs/own", "--to", "torchvision", "--out", "back.pth", folder=tmp_path)
    theirs, back = (torch.load(tmp_path / name) for name in ("theirs.pth", "back.pth"))
    assert theirs.keys() == back.keys()
    assert all(torch.equal(theirs[key], back[key]) for key in theirs)
    said = typed("export", "runs/own", "--to", "timm", "--out", "back.pth", folder=tmp_path)
    assert said.code == 2
    assert "nothing is written over" in said.err


def test_exported_networks_take_any_number_of_rows_and_agree(tmp_path):
    run = copy(digits_run(), tmp_path)
    model = model_of_run(run)
    for to in ("onnx", "exported-program", "safetensors"):
        assert "written" in done("export", run.name, "--to", to, folder=tmp_path)
    x = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        wanted = model(x)
        program = torch.export.load(run / "resnet20-exported-program.pt2").module()(x)
    session = onnxruntime.InferenceSession(run / "resnet20-onnx.onnx", providers=["CPUExecutionProvider"])
    (onnx,) = session.run(None, {"input": x.numpy()})
    torch.testing.assert_close(program, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.from_numpy(onnx), wanted, rtol=1e-4, atol=1e-5)
    again = done(
        "import",
        run / "resnet20-safetensors.safetensors",
        "--as",
        "resnet20",
        folder=tmp_path,
    )
    assert "10 classes, seminal's names" in again


def test_a_peer_without_the_network_has_no_names_for_it(tmp_path):
    said = typed("export", copy(digits_run(), tmp_path).name, "--to", "akamaster", "--out", "a.pth", folder=tmp_path)
    assert said.code == 0, said
    assert {"linear.weight", "layer3.2.bn2.running_var"} <= torch.load(tmp_path / "a.pth").keys()


# ----------------------------------------------------------------------------------------------------------- fine-tuning


def test_the_head_is_what_follows_the_number_of_classes():
    assert head_entries("resnet", resnet.VARIANTS["resnet50"]) == {"fc.weight", "fc.bias"}


def test_a_frozen_body_does_not_move_and_a_new_head_learns(tmp_path):
    run = copy(pictures_run(), tmp_path)
    for kind, colour in {"light": 200, "dark": 20}.items():
        for i in range(24):
            save(tmp_path / "set" / kind / f"{i}.png", torch.full((16, 16, 3), colour + i % 5).byte().numpy())
    words = ("--epochs", "2", "--freeze", "--name", "tuned", *QUICK)
    out = done("train", "resnet20", "set", "--from", run.name, *words, folder=tmp_path)
    assert "a new head of 2 outputs" in out
    assert "frozen" in out
    before, after = model_of_run(run).state_dict(), model_of_run(tmp_path / "runs" / "tuned").state_dict()
    for key, value in before.items():
        if key.startswith("fc."):
            assert after[key].shape[0] == 2
        else:
            assert torch.equal(value, after[key]), f"{key} was frozen"


def test_the_body_learns_at_its_share_of_the_rate(tmp_path):
    run = copy(digits_run(), tmp_path)
    start = model_of_run(run)
    words = ("--from", run.name, "--epochs", "1", "--opt", "sgd", "--lr", "0.001", "--wd", "0", "--momentum", "0")
    moved = {}
    for share in ("1", "0.5", "0"):
        name = f"share-{share}"
        done("train", "resnet20", "digits", *words, "--body-lr", share, "--name", name, *QUICK, folder=tmp_path)
        tuned = model_of_run(tmp_path / "runs" / name)
        moved[share] = {k: (p - start.get_parameter(k)).norm().item() for k, p in tuned.named_parameters()}
    assert moved["0"]["conv1.weight"] == 0
    assert moved["0"]["fc.weight"] > 0
    assert moved["0.5"]["conv1.weight"] / moved["1"]["conv1.weight"] == pytest.approx(0.5, rel=0.15)


def test_weights_of_the_same_classes_are_kept_whole(tmp_path):
    run = copy(digits_run(), tmp_path)
    out = done("train", *DIGITS[1:3], "--from", run.name, "--epochs", "1", "--lr", "1e-9", *QUICK, folder=tmp_path)
    assert "new head" not in out
    (tuned,) = (tmp_path / "runs").iterdir()
    after = dict(model_of_run(tuned).named_parameters())
    for name, parameter in model_of_run(run).named_parameters():
        torch.testing.assert_close(after[name], parameter, rtol=0, atol=1e-6)


def test_colours_are_added_up_for_grey_pictures(tmp_path):
    torch.save(padded_net().state_dict(), tmp_path / "colour.th")
    done("train", "resnet20", "digits", "--from", "colour.th", "--freeze", "--epochs", "1", *QUICK, folder=tmp_path)
    (run,) = (tmp_path / "runs").iterdir()
    weight = model_of_run(run).get_parameter("conv1.weight")
    wanted = padded_net().conv1.weight.sum(1, keepdim=True)
    assert torch.equal(weight, wanted)
    grey = torch.randn(1, 1, 8, 8)
    assert torch.allclose(
        F.conv2d(grey, weight), F.conv2d(grey.expand(1, 3, 8, 8), padded_net().conv1.weight), atol=1e-4
    )


def test_a_tuned_run_resumes_when_the_first_weights_are_gone(tmp_path):
    torch.save(padded_net().state_dict(), tmp_path / "colour.th")
    words = ("train", "resnet20", "digits", "--from", "colour.th", "--epochs", "2", *QUICK)
    done(*words, "--name", "straight", folder=tmp_path)
    (tmp_path / "killed.py").write_text(KILLED)
    command = [sys.executable, "killed.py", *words, "--name", "cut"]
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 9
    (tmp_path / "colour.th").unlink()
    said = real("resume", "runs/cut", folder=tmp_path)
    assert said.code == 0, said
    for name in ("best.safetensors", "last.safetensors"):
        a, b = (RunFolder(tmp_path / "runs" / run).read_tensors(name)[0] for run in ("straight", "cut"))
        assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--freeze", "say which with `--from RUN`"),
        ("--from nothing.pth", "to start from"),
        ("--from theirs.pth", "does not fit this model"),
        ("--from theirs.pth --body-lr 2", "a share of the learning rate"),
    ],
)
def test_mistakes_are_told(tmp_path, words, said):
    resnet18_file(tmp_path)
    got = typed("train", "resnet20", "digits", *words.split(), folder=tmp_path)
    assert got.code == 2
    assert said in got.err
    assert not (tmp_path / "runs").exists()
