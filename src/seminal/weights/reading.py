"""Tensors from a checkpoint that somebody else wrote. Nothing in the file is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from seminal.core import UserError

# Under which the usual training scripts keep the weights, beside optimisers and counters; the moving average first.
INSIDE = ("model_ema", "state_dict_ema", "state_dict", "model", "model_state_dict", "net", "weights")
IN_FOLDERS = ("model.safetensors", "pytorch_model.bin")  # how Hugging Face calls them
ENDINGS = (".safetensors", ".bin", ".pt", ".pth")  # of files of weights
WRAPPERS = ("module.", "_orig_mod.", "model.")  # DataParallel and DDP, torch.compile, Lightning


def checkpoint(path: Path) -> dict[str, Tensor]:
    """The weights in a ``.safetensors`` file or one of ``torch.save``, without the wrappers' prefixes; or in a folder as
    Hugging Face keeps them, in one file or in several with an index.

    Raises:
        UserError: the file is missing, damaged, holds more than tensors and plain values, or holds no weights.
    """
    return _unwrapped(_in_folder(path) if path.is_dir() else _in_file(path))


def holds_weights(folder: Path) -> bool:
    """Whether a file of a folder is called as weights are."""
    return any(file.suffix in ENDINGS for file in folder.iterdir())


def _in_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"{path} does not exist: give a file of weights (.safetensors, .pt, .pth).")
    loaded = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    found = _inside(loaded)
    if not found:
        raise UserError(
            f"{path} holds no weights: a state dict maps names to tensors. Save one with "
            "`torch.save(model.state_dict(), FILE)`."
        )
    return found


def _in_folder(folder: Path) -> dict[str, Tensor]:
    """The names are as they stand: a prefix that all names of one part have may be missing in another part."""
    for name in IN_FOLDERS:
        if (folder / name).is_file():
            return _in_file(folder / name)
    for name in IN_FOLDERS:
        index = folder / f"{name}.index.json"
        if index.is_file():
            try:
                files = sorted({Path(file).name for file in json.loads(index.read_bytes())["weight_map"].values()})
            except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
                raise UserError(f"{index} is damaged ({error}) and was not loaded. Fetch it again.") from None
            # The names come from a file: nothing outside the folder is read, whatever they say.
            return {key: value for file in files for key, value in _in_file(folder / file).items()}
    raise UserError(f"{folder} holds no weights: it should have a {IN_FOLDERS[0]}, or give the file itself.")


def _safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}) and was not loaded. Fetch it again.") from None


def _torch(path: Path) -> Any:
    # Whatever a file that is damaged or made to harm makes the reader raise ends here; it never runs what is inside.
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if _is_pickled(path) and ("eights only" in str(error) or "Unsupported" in str(error)):
            raise UserError(
                f"{path} holds more than tensors: loading it could run code, so it was not loaded. Ask its author for "
                "a .safetensors file, or for `torch.save(model.state_dict(), FILE)`."
            ) from None
        raise UserError(
            f"{path} is no file of weights, or is damaged, and was not loaded. Give a .safetensors, .pt or .pth file."
        ) from None


def _is_pickled(path: Path) -> bool:
    """Whether the file begins as one of `torch.save`: a zip archive, or the older bare stream."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02")


def _inside(loaded: Any, depth: int = 3) -> dict[str, Tensor]:
    """The state dict itself, or the one inside a training script's checkpoint, itself inside at most ``depth`` others."""
    if not isinstance(loaded, Mapping):
        return {}
    for name in INSIDE if depth else ():
        if isinstance(loaded.get(name), Mapping) and (found := _inside(loaded[name], depth - 1)):
            return found
    return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in WRAPPERS:
        if state and all(key.startswith(prefix) for key in state):
            return _unwrapped({key.removeprefix(prefix): value for key, value in state.items()})
    return state
