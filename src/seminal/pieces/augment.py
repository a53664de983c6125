"""All random changes of a batch, in one place to choose from: what a recipe's ``augment`` may hold, besides a crop.

The changes are applied in the order in which they are written. Each is a frozen dataclass of plain numbers, and a pure
function of the batch and of chance, on any device.
"""

from seminal.pieces.colour import ColourJitter, PCAColour, principal_colours
from seminal.pieces.damage import Blur, GaussianNoise, RandomErasing
from seminal.pieces.geometry import HorizontalFlip, Rotate, Scale
from seminal.pieces.mixing import CutMix, Mixup, MixupOrCutMix

__all__ = [
    "Blur",
    "ColourJitter",
    "CutMix",
    "GaussianNoise",
    "HorizontalFlip",
    "Mixup",
    "MixupOrCutMix",
    "PCAColour",
    "RandomErasing",
    "Rotate",
    "Scale",
    "principal_colours",
]
