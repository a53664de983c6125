"""What the training pictures taught about reading a picture (size, colours, mean), and reading the user's own with it.

Training, validation and prediction all go through the functions of this file, so that `seminal predict` sees the pixels
that validation saw.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seminal.core import Batch, Chance, Crop, LeftOut, UserError
from seminal.data import cifar, idx
from seminal.data.files import Tree, hidden, open_tree
from seminal.data.pictures import SUFFIXES, BadPicture, in_threads, open_picture, read_bytes, square
from seminal.pieces.chance import RowChance
from seminal.pieces.crops import CenterCrop, crop_batch

ARCHIVES = (".zip", ".tar", ".tgz", ".txz", ".tbz2", ".tar.gz", ".tar.xz", ".tar.bz2")
SCALINGS = ("standard", "pixel_mean", "none")

Scaler = Callable[[Tensor], Tensor]  # (B, C, size, size) float32 in [0, 1] -> what the network sees


@dataclass(frozen=True)
class ImageEncoder:
    """How pictures become inputs of (channels, size, size) float32.

    ``side`` is the size at which a picture is kept before it is cropped. ``scaling``: "standard" gives each channel mean
    0 and spread 1 over the training pixels; "pixel_mean" takes the mean training picture away and counts in 0 … 255
    (He et al. 2015, Sec. 4.2); "none" leaves numbers from 0 to 1.
    """

    size: int
    side: int
    channels: int
    scaling: str = "standard"
    mean: tuple[float, ...] = ()  # per channel, in [0, 1]
    std: tuple[float, ...] = ()
    mean_picture: str = ""  # (channels, size, size) float32 in [0, 1], little-endian, as base64

    def scaler(self, device: torch.device | str) -> Scaler:
        """The scaling as a function, with its constants on ``device``."""
        if self.scaling == "standard":
            mean = torch.tensor(self.mean, device=device).view(-1, 1, 1)
            std = torch.tensor(self.std, device=device).view(-1, 1, 1)
            return lambda pictures: (pictures - mean).div_(std)
        if self.scaling == "pixel_mean":
            numbers = np.frombuffer(base64.b64decode(self.mean_picture), "<f4").astype(np.float32)
            picture = torch.from_numpy(numbers).view(self.channels, self.size, self.size).to(device)
            return lambda pictures: (pictures - picture).mul_(255)
        return lambda pictures: pictures

    def encode(
        self, inputs: list[str], batch: int, left_out: LeftOut | None = None
    ) -> Iterator[tuple[list[str], Batch]]:
        """Names and batches for pictures, folders and archives of pictures, at any depth, in the order given.

        A batch has ``input`` (B, channels, size, size) float32 and ``index`` (B,) int64, counted over all inputs. Files that
        are no pictures are refused; or, where ``left_out`` is given, left out and put there, in their order.

        Raises:
            UserError: an input is missing, is no picture, or holds none.
        """
        scale = self.scaler("cpu")
        found = list(pictures_in(inputs))
        usable = False
        for start in range(0, len(found), batch):
            portion = dict(enumerate(found[start : start + batch], start))
            made = dict(zip(portion, in_threads(self._pixels, portion.values())))
            bad = {place: (portion[place][0], why) for place, why in made.items() if isinstance(why, str)}
            if bad and left_out is None:
                raise UserError(_refused(list(bad.values()), alone=len(found) == 1))
            usable |= len(bad) < len(made)
            if left_out is not None:
                left_out |= bad
            good = {place: pixels for place, pixels in made.items() if not isinstance(pixels, str)}
            if not good:
                continue
            pixels, index = torch.from_numpy(np.stack(list(good.values()))), torch.tensor(list(good))
            seen = cropped(pixels, CenterCrop(), self.size, RowChance(0, 0, index))
            yield [portion[place][0] for place in good], {"input": scale(as_float(seen)), "index": index}
        if not usable:
            raise UserError(
                f"none of the {len(found):,} files is a usable picture. Give .jpg, .png, … or a folder of them."
            )

    def _pixels(self, found: tuple[str, Tree, str]) -> np.ndarray | str:
        """(channels, side, side) uint8, or why the file gives none."""
        _, tree, name = found
        try:
            return square(open_picture(read_bytes(tree, name)), self.channels, self.side)
        except BadPicture as error:
            return str(error)


def _refused(bad: list[tuple[str, str]], *, alone: bool) -> str:
    """What is said of files that are no pictures. ``alone``: nothing else was given to go on with."""
    shown, why = bad[0]
    what = why if why.startswith(("not ", "cannot ")) else f"no usable picture ({why})"
    verb = "" if what.startswith("cannot ") else "is "
    if alone:
        return f"{shown} {verb}{what}. Give .jpg, .png, … or a folder of them."
    more = f", and {len(bad) - 1} more cannot be used" if len(bad) > 1 else ""
    return f"{shown} {verb}{what}{more}. Repair or remove such files, or leave them out: `--on-bad-file skip`."


def fitted_encoder(chunks: Iterable[Tensor], *, size: int, side: int, channels: int, scaling: str) -> ImageEncoder:
    """The encoder whose statistics are those of the training pictures ``chunks``, (n, channels, side, side) uint8 each.

    Sums of whole numbers are exact, so the statistics depend neither on the order of the pictures nor on the chunks.
    """
    if scaling == "none":
        return ImageEncoder(size, side, channels, scaling)
    if scaling == "pixel_mean":
        mean = _mean_picture(chunks, size, channels)
        return ImageEncoder(
            size, side, channels, scaling, mean_picture=base64.b64encode(mean.tobytes()).decode("ascii")
        )
    if scaling != "standard":
        raise UserError(f"there is no scaling `{scaling}` for pictures: write one of {', '.join(SCALINGS)}.")
    levels = np.zeros((channels, 256), dtype=np.int64)  # how often each brightness occurs
    for chunk in chunks:
        for channel in range(channels):
            levels[channel] += np.bincount(chunk[:, channel].numpy().ravel(), minlength=256)
    value = np.arange(256) / 255
    share = levels / levels.sum(axis=1, keepdims=True)
    means = share @ value
    spreads = np.sqrt((share * (value - means[:, None]) ** 2).sum(axis=1))
    spreads[spreads == 0] = 1.0  # a channel without any contrast stays 0 instead of becoming NaN
    return ImageEncoder(size, side, channels, scaling, tuple(means.tolist()), tuple(spreads.tolist()))


def _mean_picture(chunks: Iterable[Tensor], size: int, channels: int) -> np.ndarray:
    total, rows = torch.zeros(channels, size, size, dtype=torch.int64), 0
    for chunk in chunks:
        index = torch.arange(len(chunk))
        total += cropped(chunk, CenterCrop(), size, RowChance(0, 0, index)).sum(dim=0, dtype=torch.int64)
        rows += len(chunk)
    return (total.numpy() / (255 * rows)).astype("<f4")


def cropped(pictures: Tensor, crop: Crop, size: int, chance: Chance) -> Tensor:
    """The crop's part of each picture: (B, C, side, side) uint8 -> (B, C, size, size) uint8."""
    side = pictures.shape[-1]
    if isinstance(crop, CenterCrop) and side == size:
        return pictures
    if not len(pictures):
        return pictures.new_empty((0, pictures.shape[1], size, size))
    sizes = torch.full((len(pictures), 2), side, device=pictures.device)
    return crop_batch(pictures, crop.boxes(sizes, size, chance), size)


def as_float(pictures: Tensor) -> Tensor:
    """0 … 255 as float32 numbers from 0 to 1."""
    return pictures.to(torch.float32).div_(255)


def pictures_in(inputs: list[str]) -> Iterator[tuple[str, Tree, str]]:
    """What to call each picture, the tree it lies in, and its name there."""
    for given in inputs:
        path = Path(given).expanduser()
        is_one = path.is_file() and not given.lower().endswith(ARCHIVES)
        tree: Tree = _OneFile(given, path) if is_one else open_tree(given, descend=False)
        if pictures := idx.without_labels(tree) or cifar.without_labels(tree):
            tree, names = pictures, list(pictures.names)
        elif is_one:
            yield given, tree, given
            continue
        else:
            names = [name for name in tree.names if not hidden(name) and name.lower().endswith(SUFFIXES)]
            if not names:
                raise UserError(f"{given} holds no pictures. Give .jpg, .png, … or a folder of them.")
        for name in names:
            yield f"{given.rstrip('/')}/{name}", tree, name


@dataclass(frozen=True)
class _OneFile:
    """A file that the user named, as a `Tree`."""

    where: str
    path: Path
    empty_folders: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.where,)

    def read(self, name: str, limit: int | None = None) -> bytes:
        with open(self.path, "rb") as file:
            return file.read(-1 if limit is None else limit)
