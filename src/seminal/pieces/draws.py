"""Which use of chance is which: one number per use, in one list, so that no two changes share their random numbers.

`RowChance` hashes (seed, epoch, row, draw). Two changes with the same ``draw`` would move together: pictures that are
flipped would also be those that are bright. A new change takes a new number here; old numbers stay, so that a recorded
run can be made again.
"""

from __future__ import annotations

from enum import IntEnum, unique


@unique
class Draw(IntEnum):
    """The ``draw`` given to `seminal.core.Chance`. Below 1009, which is the distance between two epochs in the hash."""

    CROP_PLACE = 1
    CROP_SHAPE = 2
    FLIP = 10
    ROTATE = 11
    SCALE = 12
    BRIGHTNESS = 20
    CONTRAST = 21
    SATURATION = 22
    PRINCIPAL_COLOURS = 23
    NOISE = 30
    BLUR_CHOICE = 31
    BLUR_WIDTH = 32
    ERASING_CHOICE = 33
    ERASING_BOX = 34
    MIXUP_SHARE = 40
    CUTMIX_SHARE = 41
    CUTMIX_PLACE = 42
    MIXUP_OR_CUTMIX = 43
    TOKEN = 50
    LATENT = 60
    NOISE_ROW = 61
    KEPT_WORD = 62
    WINDOW = 63
    NOISE_WORD = 64
    TWO_PARTS = 70
    HIDDEN = 71
    READ_AS = 72
    READ_TOKEN = 73
