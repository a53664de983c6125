"""``seminal export``: a run's weights for other programs, each checked against the model before it is called done."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from seminal.core import UserError
from seminal.report.terminal import say
from seminal.runs.codec import read_json
from seminal.runs.exporting_text import FOLDERS, write_folder
from seminal.runs.folder import RunFolder
from seminal.runs.plan import Plan, best_model, plan_of
from seminal.runs.shelf import reading_of
from seminal.weights.matching import PEERS, dialects, to_theirs

SUFFIX = {
    **dict.fromkeys(PEERS, ".pth"),
    **{"safetensors": ".safetensors", "onnx": ".onnx", "exported-program": ".pt2"},
    **dict.fromkeys(FOLDERS, ""),
}
AGREES = 1e-3  # largest difference of an exported program's outputs, as a share of the largest output


def export(run: str, to: str, *, out: str | None = None, weights: str = "best") -> int:
    """Write the run's weights (or the whole network: onnx, exported-program) to a file that was not there before; models
    of text for other programs to a folder."""
    folder = RunFolder.existing(run)
    plan = plan_of(folder)
    model = best_model(folder, plan, torch.device("cpu"), weights)
    reads_text = reading_of(plan.paper, plan.recipe.variant) is not None
    if to in FOLDERS and not reads_text:
        raise UserError(
            f"{to} has no network like this one, so there are no names to give. Write --to "
            f"{', '.join(('safetensors', *dialects(plan.paper, plan.recipe.model)))}."
        )
    if to in ("onnx", "exported-program") and reads_text:
        raise UserError(
            f"{run} reads text, and whole networks are exported for pictures and tables only: write `--to safetensors` "
            "for its weights."
        )
    path = Path(out).expanduser() if out else folder.path / f"{plan.recipe.variant}-{to}{SUFFIX[to]}"
    if path.exists():
        raise UserError(f"{path} exists, and nothing is written over. Choose another name with `--out`.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if to in FOLDERS:
        say("written", f"{path} · {write_folder(folder, plan, model, to, path)}")
        return 0
    writers: dict[str, Callable[[nn.Module, Plan, Path], str]] = {"onnx": _onnx, "exported-program": _program}
    said = writers.get(to, _state(to))(model, plan, path)
    say("written", f"{path} · {said}")
    example = plan.recipe.model.example(1)[0]
    shape = "×".join(str(n) for n in example.shape[1:])
    say("input", f"(batch, {shape}) {str(example.dtype).removeprefix('torch.')}, {_scaled(folder)}")
    return 0


def _state(to: str) -> Callable[[nn.Module, Plan, Path], str]:
    def write(model: nn.Module, plan: Plan, path: Path) -> str:
        state = model.state_dict()
        if to == "safetensors":
            save_file({key: value.contiguous() for key, value in state.items()}, path)
            return f"{len(state)} tensors, seminal's names"
        theirs = to_theirs(to, state, plan.paper, plan.recipe.model)
        torch.save(theirs, path)
        return f"{len(theirs)} tensors, {to}'s names; load_state_dict(torch.load(FILE)) reads them"

    return write


def _example(plan: Plan) -> Tensor:
    """Two rows, so that the number of rows is seen to be free."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        (example,) = plan.recipe.model.example(2)
    return example


def _onnx(model: nn.Module, plan: Plan, path: Path) -> str:
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if not importlib.util.find_spec(name)]:
        raise UserError(f"ONNX needs {', '.join(missing)}: `pip install 'seminal[onnx]'`.")
    import onnxruntime

    example = _example(plan)
    rows = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            model, (example,), dynamo=True, verbose=False, dynamic_shapes=({0: rows},), input_names=["input"],
            output_names=["output"],
        )  # fmt: skip
    assert program is not None
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    three = torch.cat([example, example[:1]])
    found = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: three.numpy()})[0])
    return f"run with onnxruntime: {_agreement(found, model, three, path)}"


def _program(model: nn.Module, plan: Plan, path: Path) -> str:
    example = _example(plan)
    program = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, path)
    three = torch.cat([example, example[:1]])
    with torch.no_grad():
        found = torch.export.load(path).module()(three)
    return f"loaded again: {_agreement(found, model, three, path)}"


def _agreement(found: Tensor, model: nn.Module, inputs: Tensor, path: Path) -> str:
    with torch.no_grad():
        wanted = model(inputs)
    difference = float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12))
    if not difference <= AGREES:
        path.unlink()
        raise UserError(f"the exported network's outputs differ by {difference:.1e}, so {path} was taken away again.")
    return f"its outputs differ by {difference:.0e}"


def _scaled(folder: RunFolder) -> str:
    reader = read_json(folder.path / "reader.json")
    if reader.get("scaling") == "standard" and "mean" in reader:  # of pictures; a table has a mean for each column
        mean, std = (", ".join(f"{v:.4g}" for v in reader[name]) for name in ("mean", "std"))
        return f"(pixel / 255 − mean) / spread, mean {mean}, spread {std}"
    return "read as reader.json says"
