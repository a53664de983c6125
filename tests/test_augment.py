"""Random changes of a batch, against loops over single pictures and torchvision with the same drawn numbers."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from seminal.core import Augment, Batch, UserError
from seminal.pieces.augment import (
    Blur,
    ColourJitter,
    CutMix,
    GaussianNoise,
    HorizontalFlip,
    Mixup,
    MixupOrCutMix,
    PCAColour,
    RandomErasing,
    Rotate,
    Scale,
    principal_colours,
)
from seminal.pieces.chance import RowChance
from seminal.pieces.crops import RandomCrop, ResizedCrop, ShortSideJitter
from seminal.pieces.draws import Draw
from seminal.pieces.mixing import _beta

ALONE: list[Augment] = [
    HorizontalFlip(),
    Rotate(30),
    Scale(0.7, 1.3),
    ColourJitter(0.4, 0.4, 0.4),
    PCAColour(),
    GaussianNoise(0.1),
    Blur(0.5),
    RandomErasing(),
    RandomErasing(0.7, fill="mean"),
]
MIXED: list[Augment] = [Mixup(), CutMix(), MixupOrCutMix()]
ROWS = 24


def chance(rows: int = ROWS, epoch: int = 0) -> RowChance:
    return RowChance(0, epoch, torch.arange(rows))


def batch(rows: int = ROWS, channels: int = 3, height: int = 20, width: int = 16) -> Batch:
    generator = torch.Generator().manual_seed(channels)
    images = torch.rand(rows, channels, height, width, generator=generator)
    return {"input": images, "target": torch.arange(rows) % 7, "index": torch.arange(rows)}


def drawn(draw: Draw, low: float, high: float, rows: int = ROWS) -> Iterator[float]:
    """The numbers that a change draws for its rows, uniform in [low, high]."""
    return iter((low + (high - low) * chance(rows).uniform(draw)[:, 0].double()).tolist())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment", ALONE + MIXED, ids=repr)
class TestEvery:
    def test_is_a_pure_function(self, augment: Augment, channels: int) -> None:
        given = batch(channels=channels)
        before = {name: value.clone() for name, value in given.items()}
        first, second = augment(given, chance()), augment(given, chance())
        assert given.keys() == before.keys()
        for name, value in before.items():
            assert torch.equal(given[name], value), name
        for name in first:
            assert torch.equal(first[name], second[name]), name
        first["input"].zero_()  # nor does the result share memory with what was given
        assert torch.equal(given["input"], before["input"])

    def test_keeps_form_and_range(self, augment: Augment, channels: int) -> None:
        result = augment(batch(channels=channels), chance())
        assert result["input"].dtype == torch.float32
        assert result["input"].shape == (ROWS, channels, 20, 16)
        assert result["input"].min() >= 0
        assert result["input"].max() <= 1 + 1e-6
        assert torch.equal(result["target"], torch.arange(ROWS) % 7)
        assert torch.equal(result["index"], torch.arange(ROWS))

    def test_differs_between_epochs(self, augment: Augment, channels: int) -> None:
        given = batch(channels=channels)
        one, two = augment(given, chance(epoch=1))["input"], augment(given, chance(epoch=2))["input"]
        assert not torch.equal(one, given["input"])
        assert not torch.equal(one, two)

    def test_survives_json(self, augment: Augment, channels: int) -> None:
        again = type(augment)(**json.loads(json.dumps(asdict(augment))))  # type: ignore[call-overload]
        given = batch(channels=channels)
        assert torch.equal(again(given, chance())["input"], augment(given, chance())["input"])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment", ALONE, ids=repr)
def test_a_row_does_not_depend_on_its_company(augment: Augment, channels: int) -> None:
    given = batch(channels=channels)
    whole = augment(given, chance())["input"]
    for rows in ([5], [23, 0, 7], list(reversed(range(ROWS)))):
        part = augment({name: value[rows] for name, value in given.items()}, RowChance(0, 0, torch.tensor(rows)))
        assert torch.equal(part["input"], whole[rows])


@dataclass(frozen=True)
class Watched:
    """Chance that remembers which draws were asked for."""

    rows: int
    asked: set[int] = field(default_factory=set)

    def uniform(self, draw: int, count: int = 1) -> Tensor:
        self.asked.add(int(draw))
        return chance(self.rows).uniform(draw, count)

    def normal(self, draw: int, count: int = 1) -> Tensor:
        self.asked.add(int(draw))
        return chance(self.rows).normal(draw, count)


def test_no_two_changes_share_their_chance() -> None:
    asked: dict[str, set[int]] = {}
    for augment in [*ALONE[:-1], *MIXED]:
        watched = Watched(ROWS)
        augment(batch(), watched)
        asked[type(augment).__name__] = watched.asked
    for crop in (RandomCrop(4), ShortSideJitter(), ResizedCrop()):
        watched = Watched(ROWS)
        crop.boxes(torch.full((ROWS, 2), 32), 32, watched)
        asked["crop"] = asked.get("crop", set()) | watched.asked  # a batch is cropped once
    assert asked.pop("MixupOrCutMix") == asked["Mixup"] | asked["CutMix"] | {Draw.MIXUP_OR_CUTMIX}  # in their place
    for a, b in itertools.combinations(asked, 2):
        assert not asked[a] & asked[b], (a, b)
    others = {Draw.TOKEN, Draw.LATENT, Draw.NOISE_ROW, Draw.KEPT_WORD, Draw.WINDOW, Draw.NOISE_WORD}  # not of pictures
    others |= {Draw.TWO_PARTS, Draw.HIDDEN, Draw.READ_AS, Draw.READ_TOKEN}
    assert (
        set.union(*asked.values()) | {Draw.MIXUP_OR_CUTMIX} == set(Draw) - others
    )  # nor does the list hold one unused


# ------------------------------------------------------------------------------------------------------- geometry


def test_flip() -> None:
    given, flip = batch(), HorizontalFlip(0.3)
    result = flip(given, chance())["input"]
    for row, u in enumerate(drawn(Draw.FLIP, 0, 1)):
        assert torch.equal(result[row], TF.horizontal_flip(given["input"][row]) if u < 0.3 else given["input"][row])
    assert torch.equal(flip(flip(given, chance()), chance())["input"], given["input"])
    share = (chance(20_000).uniform(Draw.FLIP) < 0.3).float().mean().item()
    assert share == pytest.approx(0.3, abs=4.5 * math.sqrt(0.21 / 20_000))


@pytest.mark.parametrize("augment", [HorizontalFlip(0), Blur(0), RandomErasing(0)], ids=repr)
def test_probability_zero_changes_nothing(augment: Augment) -> None:
    assert torch.equal(augment(batch(), chance())["input"], batch()["input"])


@pytest.mark.parametrize("augment", [HorizontalFlip(1), Blur(1, (1, 2)), RandomErasing(1)], ids=repr)
def test_probability_one_changes_every_row(augment: Augment) -> None:
    assert (augment(batch(), chance())["input"] != batch()["input"]).flatten(1).any(dim=1).all()


@pytest.mark.parametrize(
    "augment",
    [Rotate(0), Scale(1, 1), ColourJitter(), PCAColour(sigma=0), GaussianNoise(0), Blur(1, (0.01, 0.01))],
    ids=repr,
)
def test_strength_zero_changes_nothing(augment: Augment) -> None:
    assert torch.allclose(augment(batch(), chance())["input"], batch()["input"], atol=1e-5)


def test_rotate_is_torchvisions() -> None:
    given = batch()["input"]
    result = Rotate(50)(batch(), chance())["input"]
    for row, angle in enumerate(drawn(Draw.ROTATE, -50, 50)):
        wanted = TF.rotate(given[row], angle, interpolation=InterpolationMode.BILINEAR)
        assert torch.allclose(result[row], wanted, atol=1e-4), row


def test_scale_is_torchvisions() -> None:
    given = batch()["input"]
    result = Scale(0.6, 1.8)(batch(), chance())["input"]
    for row, factor in enumerate(drawn(Draw.SCALE, 0.6, 1.8)):
        wanted = TF.affine(given[row], 0.0, [0, 0], factor, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR)
        assert torch.allclose(result[row], wanted, atol=1e-4), row


# --------------------------------------------------------------------------------------------------------- colour


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_jitter_is_torchvisions(channels: int) -> None:
    given = batch(channels=channels)["input"]
    result = ColourJitter(0.4, 0.5, 1.5)(batch(channels=channels), chance())["input"]
    factors = zip(drawn(Draw.BRIGHTNESS, 0.6, 1.4), drawn(Draw.CONTRAST, 0.5, 1.5), drawn(Draw.SATURATION, 0, 2.5))
    for row, (brightness, contrast, saturation) in enumerate(factors):
        wanted = TF.adjust_contrast(TF.adjust_brightness(given[row], brightness), contrast)
        wanted = TF.adjust_saturation(wanted, saturation)
        assert torch.allclose(result[row], wanted, atol=1e-3), row  # torchvision rounds 0.299 to 0.2989


def test_pca_colour_is_the_papers_formula() -> None:
    given = 0.3 + 0.4 * batch()["input"]  # far enough from 0 and 1 to see the whole shift
    result = PCAColour(sigma=0.5)({"input": given}, chance())["input"]
    alpha = 0.5 * chance().normal(Draw.PRINCIPAL_COLOURS, 3).double().numpy()
    p = np.array(PCAColour().eigenvectors).T  # one eigenvector per column, as the paper writes it
    for row in range(ROWS):
        shift = p @ (alpha[row] * np.array(PCAColour().eigenvalues))
        wanted = np.clip(given[row].numpy() + shift[:, None, None], 0, 1)
        assert np.allclose(result[row].numpy(), wanted, atol=1e-6)


def test_default_principal_colours_are_a_basis() -> None:
    vectors = torch.tensor(PCAColour().eigenvectors)
    assert torch.allclose(vectors @ vectors.T, torch.eye(3), atol=1e-3)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_principal_colours_are_numpys(channels: int) -> None:
    mixing = torch.tensor([[9.0, 1, 2], [1, 5, 0], [2, 0, 3]])[:channels, :channels]
    noise = torch.randn(50, 8, 6, channels, generator=torch.Generator().manual_seed(0))
    images = (128 + 4 * noise @ mixing).clamp(0, 255).to(torch.uint8).movedim(3, 1)
    values, vectors = principal_colours(images)
    colours = images.movedim(1, 0).flatten(1).double().numpy() / 255
    wanted_values, wanted_vectors = np.linalg.eigh(np.cov(colours, bias=True).reshape(channels, channels))
    assert np.allclose(values, wanted_values[::-1], rtol=1e-9)
    for got, wanted in zip(np.array(vectors), wanted_vectors.T[::-1]):
        assert abs(got @ wanted) == pytest.approx(1, abs=1e-9)  # up to the sign
        assert got[np.abs(got).argmax()] > 0
    assert PCAColour(0.2).fitted(images) == PCAColour(0.2, values, vectors)


def test_pca_colour_of_grey_pictures() -> None:
    images = (200 * batch(channels=1)["input"]).to(torch.uint8)
    fitted = PCAColour().fitted(images)
    assert fitted.eigenvectors == ((1.0,),)
    assert fitted.eigenvalues[0] == pytest.approx((images.double() / 255).var(unbiased=False).item())
    alpha = 0.1 * chance().normal(Draw.PRINCIPAL_COLOURS, 1)
    middle = torch.full((ROWS, 1, 4, 4), 0.5)
    for change, value in ((fitted, fitted.eigenvalues[0]), (PCAColour(), PCAColour().eigenvalues[0])):
        wanted = middle + (alpha * value)[:, :, None, None]
        assert torch.allclose(change({"input": middle}, chance())["input"], wanted)


# --------------------------------------------------------------------------------------------------------- damage


def test_noise_is_normal_and_independent() -> None:
    middle = {"input": torch.full((200, 3, 20, 15), 0.5)}
    noise = (GaussianNoise(0.05)(middle, chance(200))["input"] - 0.5) / 0.05
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3
    bound = 4.5 / math.sqrt(noise.numel() / 3)
    for shifted in (noise.roll(1, 0), noise.roll(1, 1), noise.roll(1, 2), noise.roll(1, 3)):
        assert abs((noise * shifted).mean().item()) < bound


def test_blur_is_torchvisions() -> None:
    given = batch()["input"]
    result = Blur(0.6, (0.5, 2.0))(batch(), chance())["input"]
    for row, (u, sigma) in enumerate(zip(drawn(Draw.BLUR_CHOICE, 0, 1), drawn(Draw.BLUR_WIDTH, 0.5, 2.0))):
        wanted = TF.gaussian_blur(given[row], kernel_size=[13, 13], sigma=[sigma, sigma]) if u < 0.6 else given[row]
        assert torch.allclose(result[row], wanted, atol=1e-5), row


def test_blur_of_pictures_smaller_than_the_gaussian() -> None:
    small = batch(height=3, width=4)
    wanted = TF.gaussian_blur(small["input"], kernel_size=[5, 5], sigma=[5.0, 5.0])
    assert torch.allclose(Blur(1, (5.0, 5.0))(small, chance())["input"], wanted, atol=1e-5)


@pytest.mark.parametrize("fill", [0.0, 0.25, (0.1, 0.2, 0.3), "mean"])
def test_erasing_is_the_papers_loop(fill: float | tuple[float, ...] | str) -> None:
    rows, height, width = 200, 20, 16
    given = batch(rows)["input"]
    result = RandomErasing(0.6, (0.05, 0.7), (0.3, 3.0), fill)(batch(rows), chance(rows))["input"]
    numbers = chance(rows).uniform(Draw.ERASING_BOX, 22).double().tolist()
    erased = 0
    for row, u in enumerate(drawn(Draw.ERASING_CHOICE, 0, 1, rows)):
        wanted = given[row]
        for k in range(10):
            area = (0.05 + 0.65 * numbers[row][k]) * height * width
            ratio = math.exp(math.log(0.3) + math.log(10) * numbers[row][10 + k])
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if u < 0.6 and h <= height and w <= width:
                top, left = int(numbers[row][20] * (height - h + 1)), int(numbers[row][21] * (width - w + 1))
                value = given[row].mean(dim=(1, 2)) if fill == "mean" else torch.tensor(fill)
                wanted = TF.erase(given[row], top, left, h, w, value.expand(3).view(3, 1, 1))
                erased += 1
                break
        assert torch.allclose(result[row], wanted, atol=1e-6), row
    assert 0.4 * rows < erased < 0.8 * rows


# --------------------------------------------------------------------------------------------------------- mixing


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.4, 1.0, 4.0])
def test_shares_have_the_beta_distribution(alpha: float) -> None:
    shares = _beta(alpha, chance(50_000).uniform(Draw.MIXUP_SHARE, 2)).double()
    # float32 cannot tell the shares closest to 0 and 1 apart, of which a small alpha has many
    edges = stats.beta.ppf(np.linspace(0, 1, 51)[1:-1], alpha, alpha)
    edges = edges[(edges > 1e-5) & (edges < 1 - 1e-5)]
    counts = np.histogram(shares, [-1, *edges, 2])[0]
    wanted = np.diff(stats.beta.cdf([-1, *edges, 2], alpha, alpha)) * len(shares)
    assert stats.chisquare(counts, wanted).pvalue > 1e-3


def test_shares_are_numbers_at_the_ends_of_chance() -> None:
    ends = torch.tensor(list(itertools.product([0.0, 0.5, 1 - 2**-24], [0.0, 0.25, 0.5, 0.75, 1 - 2**-24])))
    for alpha in (1e-3, 0.2, 1.0, 100.0):
        shares = _beta(alpha, ends)
        assert ((shares >= 0) & (shares <= 1)).all()


def test_mixup_is_the_papers_formula() -> None:
    given = batch()
    result = Mixup(0.4)(given, chance())
    for row in range(ROWS):
        share, partner = result["share"][row], (row + 1) % ROWS
        wanted = share * given["input"][row] + (1 - share) * given["input"][partner]
        assert torch.allclose(result["input"][row], wanted, atol=1e-6)
        assert result["other_target"][row] == given["target"][partner]
    table = {"input": torch.rand(ROWS, 5), "target": torch.rand(ROWS, 2)}
    mixed = Mixup(0.4)(table, chance())
    assert torch.equal(mixed["share"], result["share"])
    assert torch.allclose(
        mixed["input"][0], table["input"][:2].T @ torch.stack([mixed["share"][0], 1 - mixed["share"][0]])
    )
    assert torch.equal(mixed["other_target"][:-1], table["target"][1:])


def test_cutmix_pastes_one_rectangle_of_the_partner() -> None:
    given, (height, width) = batch(), (20, 16)
    given["input"] = torch.arange(ROWS).float().view(-1, 1, 1, 1).expand(ROWS, 3, height, width) / ROWS
    result = CutMix()(given, chance())
    lam = _beta(1.0, chance().uniform(Draw.CUTMIX_SHARE, 2)).tolist()
    place = chance().uniform(Draw.CUTMIX_PLACE, 2).tolist()
    for row in range(ROWS):
        half_h, half_w = int(math.sqrt(1 - lam[row]) * height / 2), int(math.sqrt(1 - lam[row]) * width / 2)
        y, x = int(place[row][0] * height), int(place[row][1] * width)
        wanted = given["input"][row].clone()
        rows, columns = slice(max(y - half_h, 0), y + half_h), slice(max(x - half_w, 0), x + half_w)
        wanted[:, rows, columns] = given["input"][(row + 1) % ROWS, :, rows, columns]
        assert torch.equal(result["input"][row], wanted)
        own = (wanted == given["input"][row]).float().mean()
        assert result["share"][row].item() == pytest.approx(own.item(), abs=1e-6)
        assert result["other_target"][row] == given["target"][(row + 1) % ROWS]


def test_mixup_or_cutmix_is_one_of_the_two() -> None:
    given, seen = batch(), set()
    both, mixup, cutmix = (change(given, chance()) for change in (MixupOrCutMix(0.2, 1.0), Mixup(0.2), CutMix(1.0)))
    for row, u in enumerate(drawn(Draw.MIXUP_OR_CUTMIX, 0, 1)):
        wanted = cutmix if u < 0.5 else mixup
        assert torch.equal(both["input"][row], wanted["input"][row])
        assert both["share"][row] == wanted["share"][row]
        seen.add(u < 0.5)
    assert seen == {True, False}


def test_a_batch_of_one_mixes_with_itself() -> None:
    for change in MIXED:
        result = change(batch(1), chance(1))
        assert torch.allclose(result["input"], batch(1)["input"], atol=1e-6)
        assert torch.equal(result["other_target"], result["target"])


# ------------------------------------------------------------------------------------------------ devices, mistakes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("augment", ALONE + MIXED, ids=repr)
def test_a_gpu_gives_the_same(augment: Augment) -> None:
    there = augment({k: v.cuda() for k, v in batch().items()}, RowChance(0, 0, torch.arange(ROWS, device="cuda")))
    for name, value in augment(batch(), chance()).items():
        assert there[name].is_cuda
        assert torch.allclose(there[name].cpu(), value, atol=1e-4), name


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda: HorizontalFlip(1.5), "0 to 1"),
        (lambda: Rotate(-10), "0 to 180"),
        (lambda: Scale(1.2, 0.8), "low=0.8"),
        (lambda: ColourJitter(brightness=-0.1), "0.6 to 1.4"),
        (lambda: GaussianNoise(-1), "0.05"),
        (lambda: Blur(0.5, sigma=(0.0, 1.0)), "above 0"),
        (lambda: RandomErasing(area=(0.5, 0.2)), "rising"),
        (lambda: RandomErasing(fill="median"), "mean"),
        (lambda: Mixup(0), "leave Mixup out"),
        (lambda: CutMix(-1), "leave CutMix out"),
        (lambda: MixupOrCutMix(probability=2), "0 to 1"),
        (lambda: CutMix()(Mixup()(batch(), chance()), chance()), "MixupOrCutMix"),
        (lambda: PCAColour()(batch(channels=2), chance()), "fitted"),
    ],
)
def test_mistakes_are_explained(mistake: object, says: str) -> None:
    assert callable(mistake)
    with pytest.raises(UserError, match=says):
        mistake()
