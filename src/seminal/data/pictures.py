"""One picture file: what its header says, and its pixels. Pillow reads the formats.

Every picture becomes 8-bit grey or RGB, upright (the camera's EXIF rotation is applied), and lies on white where it is
transparent: drawings in black on nothing would otherwise turn into black squares. 16-bit grey keeps its upper 8 bits.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from seminal.data.files import Tree

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2"),
)
FORMATS = ("JPEG", "MPO", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")  # Pillow's names of those
THREADS = 2

_HEADER_BYTES = 1 << 16
_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"}
_ALPHA = {"RGBA", "RGBa", "LA", "La", "PA"}
_ROUNDING = 0.01  # pixels
_ORIENTATION = 0x0112  # the EXIF tag; values 5 to 8 lie on their side
_ABOUT_THE_CAMERA = {"exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp"}

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of the upright picture

_Given, _Made = TypeVar("_Given"), TypeVar("_Made")


class BadPicture(Exception):
    """A file that gives no picture; the text is the reason, to stand in brackets behind the file's name."""


@dataclass(frozen=True)
class Header:
    """What is known before the pixels are decoded: the upright size, and whether the picture has no colour."""

    height: int
    width: int
    grey: bool


def read_header(tree: Tree, name: str) -> Header:
    """The header of a picture, from the first bytes of the file where they suffice. Raises `BadPicture`."""
    try:
        data = tree.read(name, _HEADER_BYTES)
    except OSError as error:
        raise BadPicture(f"cannot be read: {error.strerror or error}") from error
    try:
        return _header(data)
    except BadPicture:
        if len(data) < _HEADER_BYTES:
            raise
    return _header(read_bytes(tree, name))  # some formats keep their header at the end


def _header(data: bytes) -> Header:
    image = open_picture(data)
    width, height = upright_size(image)
    return Header(height, width, image.mode in _GREY)


def read_bytes(tree: Tree, name: str) -> bytes:
    """The whole file. Raises `BadPicture` where it cannot be read."""
    try:
        return tree.read(name)
    except OSError as error:
        raise BadPicture(f"cannot be read: {error.strerror or error}") from error


def open_picture(data: bytes) -> Image.Image:
    """The picture with its header read and its pixels not yet. Raises `BadPicture`."""
    if not data:
        raise BadPicture("empty, 0 bytes")
    try:
        return Image.open(io.BytesIO(data), formats=_formats())  # of others some are programs, such as PostScript
    except UnidentifiedImageError as error:
        raise BadPicture(f"not a picture (first bytes: {_first_bytes(data)})") from error
    except Exception as error:  # Pillow's plugins raise what their parsers happen to raise on damaged files
        raise BadPicture(_damage(error)) from error


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height after the camera's rotation is applied."""
    width, height = image.size
    # Pillow turns a TIFF while it decodes, and gives its size accordingly.
    return (height, width) if _orientation(image) >= 5 and image.format != "TIFF" else (width, height)


def square(image: Image.Image, channels: int, side: int) -> np.ndarray:
    """The central square of a picture at ``side`` × ``side`` pixels: (channels, side, side) uint8.

    That is the shorter side resized to ``side`` (bilinear, antialiased) and the centre cut out, in one step. A picture of
    that size is kept as it is. Raises `BadPicture`.
    """
    width, height = upright_size(image)
    short = min(width, height)
    box = ((width - short) / 2, (height - short) / 2, (width + short) / 2, (height + short) / 2)
    return crop(image, channels, box, side)


def crop(image: Image.Image, channels: int, box: Box, side: int) -> np.ndarray:
    """The part (left, top, right, bottom) of the upright picture at ``side`` × ``side``: (channels, side, side) uint8.

    Resized with Pillow's antialiased bilinear filter; 0 where the box reaches outside. Raises `BadPicture`.
    """
    left, top, right, bottom = box
    shrink = 2 * side / max(1.0, min(right - left, bottom - top))
    scale = 1.0
    try:
        if shrink < 1:  # JPEG decodes to 1/2, 1/4 or 1/8 much faster; twice the size needed leaves the filter its work
            width = image.width
            drafted = image.draft(None, (round(width * shrink), round(image.height * shrink)))
            scale = drafted[1][2] / width if drafted else 1.0
        image.load()
        upright = _flat(_upright(image), channels)
    except BadPicture:
        raise
    except Exception as error:  # Pillow's plugins raise what their parsers happen to raise on damaged files
        raise BadPicture(_damage(error)) from error
    box = (left * scale, top * scale, right * scale, bottom * scale)
    if box != (0, 0, side, side) or upright.size != (side, side):
        upright = _resized(upright, box, side)
    return np.frombuffer(upright.tobytes(), np.uint8).reshape(side, side, channels).transpose(2, 0, 1)


def _resized(image: Image.Image, box: Box, side: int) -> Image.Image:
    left, top, right, bottom = box = _snapped(box, image.width, image.height)
    if left < 0 or top < 0 or right > image.width or bottom > image.height:
        # Pillow resizes from boxes inside the picture only, but crops beyond it, filling with 0.
        corner = (int(np.floor(left)), int(np.floor(top)))
        image = image.crop((*corner, int(np.ceil(right)), int(np.ceil(bottom))))
        box = (left - corner[0], top - corner[1], right - corner[0], bottom - corner[1])
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)


def _snapped(box: Box, width: int, height: int) -> Box:
    """The box without what rounding alone puts outside the picture, where it would draw in a line of black."""
    left, top, right, bottom = box
    return (
        0.0 if abs(left) < _ROUNDING else left,
        0.0 if abs(top) < _ROUNDING else top,
        float(width) if abs(right - width) < _ROUNDING else right,
        float(height) if abs(bottom - height) < _ROUNDING else bottom,
    )


def _orientation(image: Image.Image) -> int:
    """How the camera was held, 1 to 8, where 1 is upright."""
    if image.format in ("JPEG", "PNG") and not image.info.keys() & _ABOUT_THE_CAMERA:
        return 1  # most of them: asking Pillow takes as long as opening a small JPEG, and decodes the whole of a PNG
    try:
        found = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data say nothing; damaged pixels are found when they are decoded
        return 1
    return found if 1 <= found <= 8 else 1


def _upright(image: Image.Image) -> Image.Image:
    if _orientation(image) == 1:
        return image
    return ImageOps.exif_transpose(image)


def _flat(image: Image.Image, channels: int) -> Image.Image:
    """8-bit grey or RGB, on white."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode in _ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode.startswith("I"):
        upper = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        image = Image.fromarray(upper)
    elif image.mode == "F":
        raise BadPicture("holds floating-point numbers; save it with 8 or 16 bits")
    return image.convert(mode)


def _first_bytes(data: bytes) -> str:
    start = data[:8]
    if start.isascii() and start.decode("ascii").isprintable():
        return f'"{start.decode("ascii")}"'
    return start.hex(" ")


def _damage(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return "truncated" if "truncated" in text.lower() else f"damaged: {text}"


def squares(tree: Tree, names: Sequence[str], channels: int, side: int) -> tuple[np.ndarray, dict[int, str]]:
    """The central squares of many pictures, by a few threads.

    Returns (names, channels, side, side) uint8, and for each position that gave no picture the reason; its pixels mean
    nothing.
    """
    pixels = np.zeros((len(names), channels, side, side), dtype=np.uint8)

    def decode(position: int) -> str:
        try:
            pixels[position] = square(open_picture(read_bytes(tree, names[position])), channels, side)
        except BadPicture as error:
            return str(error)
        return ""

    reasons = in_threads(decode, range(len(names)))
    return pixels, {position: why for position, why in enumerate(reasons) if why}


def in_threads(work: Callable[[_Given], _Made], items: Iterable[_Given]) -> list[_Made]:
    """``work`` on every item, in order, by a few threads: Pillow decodes and the system reads files without the
    interpreter's lock. Items go in portions, because handing over a single small picture costs as much as decoding it."""
    stream = iter(items)
    portions = iter(lambda: list(islice(stream, 128)), [])

    def portion_done(portion: list[_Given]) -> list[_Made]:
        return [work(item) for item in portion]

    with ThreadPoolExecutor(THREADS) as pool:
        return [made for portion in pool.map(portion_done, portions) for made in portion]
