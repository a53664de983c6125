"""Small real picture files for the tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int, height: int = 8, width: int = 8, channels: int = 3) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def smooth(seed: int, height: int, width: int) -> np.ndarray:
    """A picture without fine detail, of which JPEG and any resizing keep almost everything."""
    small = Image.fromarray(noise(seed, 4, 4))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def class_folders(root: Path, counts: dict[str, int], *, side: int = 8, suffix: str = ".png", start: int = 0) -> Path:
    for number, (name, count) in enumerate(counts.items()):
        for i in range(count):
            save(root / name / f"{i:03}{suffix}", noise(start + 1000 * number + i, side, side))
    return root


def cut_off(path: Path, keep: float = 0.6) -> Path:
    """The file as a broken download leaves it."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def turned(orientation: int) -> bytes:
    """EXIF data that say how the camera was held (1 to 8)."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()
