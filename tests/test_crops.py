"""Boxes that crops draw, and the pixels inside them, against loops, Pillow and torchvision."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from seminal.core import Crop, UserError
from seminal.pieces.chance import RowChance
from seminal.pieces.crops import (
    CenterCrop,
    FixedCrop,
    RandomCrop,
    ResizedCrop,
    ShortSideJitter,
    _padded,
    _resized,
    crop_batch,
)

CROPS = [CenterCrop(), FixedCrop("top_right"), RandomCrop(), RandomCrop(4), ShortSideJitter(), ResizedCrop()]


def sizes(rows: int, height: int, width: int) -> Tensor:
    return torch.tensor([[height, width]]).expand(rows, 2)


def chance(rows: int, epoch: int = 0) -> RowChance:
    return RowChance(0, epoch, torch.arange(rows))


def pictures(rows: int, channels: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (rows, channels, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("crop", CROPS, ids=repr)
def test_every_crop_is_a_crop(crop: Crop) -> None:
    assert isinstance(crop, Crop)
    boxes = crop.boxes(sizes(6, 300, 260), 224, chance(6))
    assert boxes.shape == (6, 4)
    assert boxes.dtype == torch.float32
    rows = torch.tensor([4, 1])
    assert torch.equal(crop.boxes(sizes(2, 300, 260), 224, RowChance(0, 0, rows)), boxes[rows])
    again = type(crop)(**json.loads(json.dumps(asdict(crop))))
    assert torch.equal(again.boxes(sizes(6, 300, 260), 224, chance(6)), boxes)


def test_ten_crop_places_are_torchvisions() -> None:
    image = pictures(1, 3, 41, 50)
    names = ["top_left", "top_right", "bottom_left", "bottom_right", "centre"]
    for name, wanted in zip(names, TF.five_crop(image, [24, 24])):
        boxes = FixedCrop(name).boxes(sizes(1, 41, 50), 24, chance(1))
        assert torch.equal(crop_batch(image, boxes, 24), wanted), name


def test_centre_crop() -> None:
    assert CenterCrop().boxes(sizes(1, 256, 340), 224, chance(1)).tolist() == [[16, 58, 224, 224]]
    assert CenterCrop().boxes(sizes(1, 32, 32), 32, chance(1)).tolist() == [[0, 0, 32, 32]]
    assert CenterCrop().boxes(sizes(1, 20, 30), 32, chance(1)).tolist() == [[0, 5, 20, 20]]  # to be enlarged
    image = pictures(1, 3, 47, 61)
    got = crop_batch(image, CenterCrop().boxes(sizes(1, 47, 61), 32, chance(1)), 32)
    assert torch.equal(got, TF.center_crop(image, [32, 32]))


def test_random_crop_is_uniform_over_whole_pixel_places() -> None:
    boxes = RandomCrop(4).boxes(sizes(40_000, 32, 32), 32, chance(40_000)).long()
    assert (boxes[:, 2:] == 32).all()
    counts = torch.bincount((boxes[:, 0] + 4) * 9 + boxes[:, 1] + 4, minlength=81)
    assert len(counts) == 81  # offsets from -4 to 4
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_random_crop_of_a_smaller_picture_shows_all_of_it() -> None:
    image = pictures(300, 1, 5, 6).clamp(min=1)
    boxes = RandomCrop().boxes(sizes(300, 5, 6), 8, chance(300))
    assert ((crop_batch(image, boxes, 8) > 0).sum(dim=(1, 2, 3)) == 30).all()
    assert len(boxes.unique(dim=0)) == 4 * 3


def test_short_side_jitter_draws_the_short_side() -> None:
    rows, (height, width) = 20_000, (300, 400)
    boxes = ShortSideJitter(256, 480, 224).boxes(sizes(rows, height, width), 224, chance(rows))
    short = 224 / boxes[:, 2] * height  # of the resized picture
    assert torch.equal(boxes[:, 2], boxes[:, 3])
    assert torch.allclose(short, short.round(), atol=1e-3)
    assert short.min().round() == 256
    assert short.max().round() == 480
    assert stats.chisquare(torch.bincount(short.round().long() - 256, minlength=225).numpy()).pvalue > 1e-3
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= torch.tensor([height, width]) + 1e-3).all()
    place = boxes[:, :2] / (torch.tensor([height, width]) - boxes[:, 2:])
    assert stats.kstest(place[:, 0].numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(place[:, 1].numpy(), "uniform").pvalue > 1e-3


def test_short_side_jitter_is_resize_then_crop() -> None:
    ramp = torch.arange(200.0).expand(1, 1, 160, 200).to(torch.uint8)  # what a pixel shows is where it is
    jitter = ShortSideJitter(256, 256, 224)
    box = jitter.boxes(sizes(1, 160, 200), 224, chance(1))
    resized = TF.resize(ramp.float(), [256], antialias=True)
    left = round(box[0, 1].item() * 256 / 160)
    wanted = resized[0, 0, 0, left : left + 224]
    assert (crop_batch(ramp, box, 224)[0, 0, 0].float() - wanted).abs().max() <= 1.5


def test_resized_crop_areas_and_shapes() -> None:
    rows = 20_000
    boxes = ResizedCrop().boxes(sizes(rows, 240, 240), 224, chance(rows))
    area, shape = boxes[:, 2] * boxes[:, 3] / 240**2, boxes[:, 3] / boxes[:, 2]
    assert 0.08 - 1e-5 <= area.min() < 0.09
    assert 0.95 < area.max() <= 1 + 1e-5
    assert shape.min() >= 3 / 4 - 1e-4
    assert shape.max() <= 4 / 3 + 1e-4
    small = area < 0.7  # shapes of that area always fit, so nothing was redrawn for them
    log_shape = shape[small].log() / math.log(4 / 3)
    assert stats.kstest(log_shape.numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3
    assert stats.kstest(area[small].numpy(), "uniform", args=(0.08, 0.62)).pvalue > 1e-3
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= 240 + 1e-3).all()


def test_resized_crop_redraws_as_a_loop_would() -> None:
    crop, rows, (height, width) = ResizedCrop((0.5, 1.0), (0.5, 2.0)), 500, (60, 100)
    boxes = crop.boxes(sizes(rows, height, width), 32, chance(rows))
    drawn, place = chance(rows).uniform(2, 20).double(), chance(rows).uniform(1, 2).double()
    for row in range(rows):
        for k in range(10):
            area = (0.5 + 0.5 * drawn[row, k].item()) * height * width
            ratio = math.exp(math.log(0.5) + (math.log(2) - math.log(0.5)) * drawn[row, 10 + k].item())
            h, w = math.sqrt(area / ratio), math.sqrt(area * ratio)
            if h <= height and w <= width:
                wanted = [(height - h) * place[row, 0].item(), (width - w) * place[row, 1].item(), h, w]
                break
        else:
            wanted = [0, 0, 60, 100]
        assert boxes[row].tolist() == pytest.approx(wanted, abs=1e-3)


def test_resized_crop_falls_back_to_the_centre() -> None:
    boxes = ResizedCrop(scale=(1.0, 1.0), ratio=(1.0, 1.0)).boxes(sizes(2, 50, 90), 32, chance(2))
    assert boxes.tolist() == [[0, 20, 50, 50]] * 2


# ------------------------------------------------------------------------------------------------------- the pixels


@pytest.mark.parametrize("channels", [1, 3])
def test_copied_pixels_are_those_of_a_loop(channels: int) -> None:
    images = pictures(64, channels, 17, 12)
    boxes = torch.cat([torch.randint(-14, 19, (64, 2)), torch.full((64, 2), 9)], dim=1).float()
    got = crop_batch(images, boxes, 9)
    assert got.dtype == torch.uint8
    assert got.shape == (64, channels, 9, 9)
    for row, (top, left, *_) in enumerate(boxes.long().tolist()):
        for y in range(9):
            for x in range(9):
                inside = 0 <= top + y < 17 and 0 <= left + x < 12
                wanted = images[row, :, top + y, left + x] if inside else torch.zeros(channels, dtype=torch.uint8)
                assert torch.equal(got[row, :, y, x], wanted)


@pytest.mark.parametrize("size", [20, 32, 50])
@pytest.mark.parametrize("crop", [ResizedCrop(), ShortSideJitter(32, 48, 28)], ids=repr)
@pytest.mark.parametrize("shift", [0, -6], ids=["inside", "reaching outside"])
def test_resized_pixels_are_pillows(crop: Crop, size: int, shift: int) -> None:
    images = pictures(40, 3, 36, 32)
    boxes = crop.boxes(sizes(40, 36, 32), size, chance(40)) + torch.tensor([shift, -shift, 0, 0])
    got = crop_batch(images, boxes, size)
    assert got.dtype == torch.uint8
    on_a_gpu = _resized(*_padded(images, boxes.round().long()), size)
    for row, (top, left, height, width) in enumerate(boxes.round().int().tolist()):
        image = Image.fromarray(images[row].permute(1, 2, 0).numpy())
        part = image.crop((left, top, left + width, top + height)).resize((size, size), Image.Resampling.BILINEAR)
        wanted = torch.from_numpy(np.array(part)).permute(2, 0, 1).int()
        assert (got[row].int() - wanted).abs().max() <= 2
        assert (on_a_gpu[row].int() - wanted).abs().max() <= 2


def test_pixel_centres_stay_in_place() -> None:
    """Twice as large, a grey ramp is the same ramp: half a pixel of shift would be half a step of 8 grey levels."""
    ramp = (8 * torch.arange(16)).to(torch.uint8).expand(1, 1, 16, 16).contiguous()
    got = crop_batch(ramp, torch.tensor([[0.0, 0.0, 16.0, 16.0]]), 32)[0, 0, 5].float()
    wanted = (8 * ((torch.arange(32) + 0.5) / 2 - 0.5)).clamp(0, 120)
    assert (got - wanted).abs().max() <= 1


def test_a_row_does_not_depend_on_the_others() -> None:
    images = pictures(12, 3, 40, 40)
    boxes = ResizedCrop().boxes(sizes(12, 40, 40), 24, chance(12))
    whole = crop_batch(images, boxes, 24)
    rows = torch.tensor([7, 2])
    assert torch.equal(crop_batch(images[rows], boxes[rows], 24), whole[rows])
    far = boxes.clone()
    far[0, :2] = -30  # the others are now cut from padded pictures
    assert torch.equal(crop_batch(images, far, 24)[1:], whole[1:])


def test_the_given_pictures_are_not_touched() -> None:
    images = pictures(8, 3, 32, 32)
    before = images.clone()
    for crop in (CenterCrop(), RandomCrop(4), ResizedCrop()):
        crop_batch(images, crop.boxes(sizes(8, 32, 32), 32, chance(8)), 32).zero_()
    assert torch.equal(images, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("crop", [RandomCrop(4), ResizedCrop()], ids=repr)
def test_a_gpu_gives_the_same_pixels(crop: Crop) -> None:
    images = pictures(40, 3, 40, 36)
    boxes = crop.boxes(sizes(40, 40, 36), 32, chance(40))
    there = RowChance(0, 0, torch.arange(40, device="cuda"))
    boxes_there = crop.boxes(sizes(40, 40, 36).cuda(), 32, there)
    assert torch.allclose(boxes_there.cpu(), boxes, atol=1e-4)
    got = crop_batch(images.cuda(), boxes, 32).cpu()
    assert (got.int() - crop_batch(images, boxes, 32).int()).abs().max() <= 2


def test_mistakes_are_explained() -> None:
    with pytest.raises(UserError, match="top_left"):
        FixedCrop("middle")
    with pytest.raises(UserError, match="low=256"):
        ShortSideJitter(200, 480, 224)
    with pytest.raises(UserError, match="rising"):
        ResizedCrop(scale=(0.5, 0.1))
    with pytest.raises(UserError, match="padding"):
        RandomCrop(padding=-1)
