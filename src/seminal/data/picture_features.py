"""A picture in a few numbers, always the same ones, by which two sets of pictures are compared.

    the file      height, width, their ratio, bytes per pixel (what compression and format do to it)
    the light     brightness, contrast, shares of dark and of bright pixels
    the colours   red against green, blue against yellow, saturation
    the detail    edges across and down, high frequencies (lost in resizing, gained in sharpening), and the traces of JPEG
    the layout    brightness at 8 × 8 places

Light, colours and layout are those of the central square at 32 × 32 pixels. Detail is that of the middle of the picture as
it is, at most 256 × 256 pixels: resizing would take away what is looked for.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import dctn

from seminal.data.files import Tree
from seminal.data.pictures import crop, open_picture, read_bytes, square, upright_size

PLACES = 8  # the layout has so many rows and columns
FEATURES = (
    *("height", "width", "width / height", "bytes per pixel"),
    *("brightness", "contrast", "dark pixels", "bright pixels"),
    *("red − green", "blue − yellow", "saturation"),
    *("edges across", "edges down", "high frequencies", "traces of JPEG"),
    *(
        f"brightness at row {row}, column {column} of {PLACES}"
        for row in range(1, PLACES + 1)
        for column in range(1, PLACES + 1)
    ),
)
LAYOUT = FEATURES[-PLACES * PLACES :]

_SQUARE, _WINDOW, _BLOCK = 32, 256, 8
_LUMA = np.array([0.299, 0.587, 0.114])  # how bright red, green and blue look: ITU-R BT.601
_DARK, _BRIGHT = 0.1, 0.9
_FINE = np.add.outer(range(_BLOCK), range(_BLOCK)) >= 6  # frequencies, across and down together
_ZERO = 1 / 255


def features(tree: Tree, name: str) -> np.ndarray:
    """`FEATURES` of a picture, (features,) float64. Raises `BadPicture`."""
    data = read_bytes(tree, name)
    image = open_picture(data)
    width, height = upright_size(image)
    short = min(height, width)
    side = min(_WINDOW, short // _BLOCK * _BLOCK or short)
    # The window begins at a multiple of 8, so that the blocks of JPEG lie where they are looked for.
    left, top = ((length - side) // 2 // _BLOCK * _BLOCK for length in (width, height))
    window = crop(image, 3, (left, top, left + side, top + side), side) / 255
    small = square(image, 3, _SQUARE) / 255
    file = (height, width, width / height, len(data) / (height * width))
    return np.array([*file, *_light(small), *_detail(_grey(window)), *_layout(_grey(small))])


def _grey(pixels: np.ndarray) -> np.ndarray:
    grey: np.ndarray = np.tensordot(_LUMA, pixels, 1)
    return grey


def _light(pixels: np.ndarray) -> tuple[float, ...]:
    grey = _grey(pixels)
    red, green, blue = pixels
    saturation = pixels.max(0) - pixels.min(0)
    light = (grey.mean(), grey.std(), (grey < _DARK).mean(), (grey > _BRIGHT).mean())
    return (*light, (red - green).mean(), (blue - (red + green) / 2).mean(), saturation.mean())


def _detail(grey: np.ndarray) -> tuple[float, ...]:
    if min(grey.shape) < 3:
        return (0.0, 0.0, 0.0, 0.0)
    across, down = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=0))
    inner = grey[1:-1, 1:-1]
    bend = np.abs(4 * inner - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]).mean()
    edges = across.mean() + down.mean()
    return (across.mean(), down.mean(), bend / (edges + 1e-3), _rounded(grey) - _rounded(grey[4:, 4:]))


def _rounded(grey: np.ndarray) -> float:
    """The share of the fine frequencies of 8 × 8 blocks that are 0, as JPEG leaves them: it rounds each block's. Blocks that
    begin elsewhere than JPEG's own have no more zeros than any picture, which is why the two are compared."""
    height, width = (length // _BLOCK for length in grey.shape)
    if not height * width:
        return 0.0
    blocks = grey[: height * _BLOCK, : width * _BLOCK].reshape(height, _BLOCK, width, _BLOCK).swapaxes(1, 2)
    return float((np.abs(dctn(blocks, axes=(2, 3), norm="ortho")[..., _FINE]) < _ZERO).mean())


def _layout(grey: np.ndarray) -> np.ndarray:
    step = _SQUARE // PLACES
    return grey.reshape(PLACES, step, PLACES, step).mean(axis=(1, 3)).ravel()
