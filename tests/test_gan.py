"""The adversarial game: losses against closed forms, Algorithm 1 against a naive loop, three papers, and a run that is
killed and goes on."""

from __future__ import annotations

import copy
import itertools
import math
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from problems import Rows, recipe
from seminal.core import DataSpec, Optim, Order, Precision, UserError
from seminal.papers import conditional_gan, dcgan, gan
from seminal.papers.gan import Adversarial
from seminal.tasks.game import WIDTHS, Game, features
from seminal.train.evaluate import scored
from seminal.train.loop import train
from seminal.train.precision import measured
from seminal.train.state import State

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from killed import Killer, differences, undisturbed

pytestmark = pytest.mark.usefixtures("one_thread")


def spec(channels: int = 1, height: int = 8, width: int = 8, classes: int = 3, rows: int = 48) -> DataSpec:
    names = tuple("abcdefghij"[:classes])
    return DataSpec("photos", "images", {"train": rows, "val": rows}, (channels, height, width), names)


def pictures(rows: int = 48, size: int = 8) -> Rows:
    """Bright squares whose corner depends on the class."""
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(rows) % 3
    input = 0.2 * torch.rand(rows, 1, size, size, generator=generator)
    for row, label in enumerate(target.tolist()):
        input[row, 0, label : label + 3, 2:5] += 0.7
    split = {"input": input, "target": target}
    return Rows({"train": split, "val": split}, spec(height=size, width=size, rows=rows))


class FixedNoise(Adversarial):
    """Noise that can be known beforehand: the same for as many rows."""

    def noise(self, rows: int, generator: torch.Generator | None = None) -> torch.Tensor:
        return torch.linspace(-1, 1, rows * self.latent).view(rows, self.latent)


def small(seed: int = 0) -> FixedNoise:
    torch.manual_seed(seed)
    generator = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1), nn.Flatten(0))
    return FixedNoise(generator, discriminator, latent=2)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


# -------------------------------------------------------------------------------------------------------------- losses


def test_losses_are_their_closed_forms():
    real, fake = torch.randn(2, 50, dtype=torch.float64)
    by_real, by_fake = real.sigmoid(), fake.sigmoid()
    game = Game()
    torch.testing.assert_close(game.discriminator_loss(real, fake), -by_real.log() - (1 - by_fake).log())
    torch.testing.assert_close(game.generator_loss(fake), -by_fake.log())
    torch.testing.assert_close(replace(game, loss="saturating").generator_loss(fake), (1 - by_fake).log())
    smoothed = -0.9 * by_real.log() - 0.1 * (1 - by_real).log() - (1 - by_fake).log()
    torch.testing.assert_close(Game(label_smoothing=0.1).discriminator_loss(real, fake), smoothed)
    assert float(game.discriminator_loss(real, fake).mean()) == pytest.approx(-float(gan.value(real, fake)))


@pytest.mark.parametrize("loss", ["saturating", "non_saturating"])
def test_losses_are_finite_where_the_discriminator_is_sure(loss):
    logits = torch.tensor([-1e4, -200.0, 200.0, 1e4], requires_grad=True)
    for lost in (Game(loss=loss).generator_loss(logits), Game().discriminator_loss(logits, logits.flip(0))):
        assert lost.isfinite().all()
        assert torch.autograd.grad(lost.sum(), logits, retain_graph=True)[0].isfinite().all()


@pytest.mark.parametrize("d", [1e-1, 1e-3, 1e-5])
def test_the_saturating_loss_has_no_slope_where_the_discriminator_wins(d):
    """By the logit it is −D(G(z)); that of the other loss is D(G(z)) − 1."""
    logit = torch.tensor([d], dtype=torch.float64).logit().requires_grad_()
    (flat,) = torch.autograd.grad(Game(loss="saturating").generator_loss(logit).sum(), logit)
    (steep,) = torch.autograd.grad(Game().generator_loss(logit).sum(), logit)
    assert float(flat) == pytest.approx(-d)
    assert float(steep) == pytest.approx(d - 1)


def test_the_best_discriminator_is_the_share_of_the_real_density():
    """The task's own loss, with a logit for each of six values, is smallest at p / (p + q); the value there is that of the
    Jensen–Shannon divergence, and ½ everywhere where both densities are one."""
    p = torch.tensor([1, 2, 3, 4, 5, 6], dtype=torch.float64) / 21
    for q in (torch.tensor([8, 1, 4, 4, 1, 3], dtype=torch.float64) / 21, p):
        logits = torch.zeros(6, dtype=torch.float64, requires_grad=True)
        for _ in range(400):
            by_real, by_fake = Game().discriminator_loss(logits, torch.full_like(logits, -1e3)), logits
            value = -(p * by_real).sum() - (q * nn.functional.softplus(by_fake)).sum()
            (slope,) = torch.autograd.grad(value, logits)
            logits = (logits + 8 * slope).detach().requires_grad_()
        torch.testing.assert_close(logits.sigmoid(), p / (p + q))
        m = (p + q) / 2
        divergence = ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()) / 2
        assert float(value.detach()) == pytest.approx(-math.log(4) + 2 * float(divergence))


# --------------------------------------------------------------------------------------------------------- Algorithm 1


@pytest.mark.parametrize(("k", "loss"), [(1, "non_saturating"), (2, "saturating"), (3, "non_saturating")])
def test_training_is_algorithm_1(k, loss):
    """Against the algorithm written as the paper prints it, with D itself instead of its logit."""
    source, batch, lr = pictures(rows=24 * k), 12 * k, 0.3
    ours, theirs = small(), small()
    rec = recipe(Game(loss=loss, discriminator_steps=k), batch=batch, lr=lr, optim=Optim("sgd"), epochs=2)
    told = list(train(ours, source, rec))
    z = theirs.noise(12)
    for epoch in range(2):
        for rows in source.batches(Order("train", batch, epoch=epoch, shuffle=True)):
            for x in rows["input"].split(12):
                d, g = theirs.discriminate(x).sigmoid(), theirs.discriminate(theirs.generate(z).detach()).sigmoid()
                ascend(theirs.discriminator, (d.log() + (1 - g).log()).mean(), lr)
            d = theirs.discriminate(theirs.generate(z)).sigmoid()
            ascend(theirs.generator, d.log().mean() if loss == "non_saturating" else -(1 - d).log().mean(), lr)
    assert len(told) == 4
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def ascend(network: nn.Module, value: torch.Tensor, lr: float) -> None:
    slopes = torch.autograd.grad(value, list(network.parameters()))
    with torch.no_grad():
        for parameter, slope in zip(network.parameters(), slopes):
            parameter += lr * slope


def test_a_step_tells_the_mean_of_all_moves():
    rec = recipe(Game(discriminator_steps=4), batch=48, lr=1e-9, optim=Optim("sgd"))
    (step,) = itertools.islice(train(small(), pictures(), rec), 1)
    assert step.weight == 48
    metrics = Game().summary(scored(small(), pictures(), rec, Order("train", 48)))
    # The fixed noise of 12 rows is not that of 48, so only the real half must agree: the other is the same in each move.
    assert step.loss["discriminator"] == pytest.approx(metrics["loss_discriminator"], abs=1e-2)
    assert set(step.grad_norm) == {"discriminator", "generator"}


@pytest.mark.parametrize("clip", [None, 0.05])
def test_accumulation_changes_nothing(clip):
    whole, parts = small(), small()
    for model in (whole, parts):
        model.noise = lambda rows, generator=None: torch.ones(rows, 2)  # type: ignore[method-assign]
    rec = recipe(Game(), batch=12, optim=Optim("sgd"), clip=clip)
    for a, b in zip(train(whole, pictures(), rec), train(parts, pictures(), replace(rec, accumulate=3)), strict=True):
        assert a.loss == pytest.approx(b.loss, abs=1e-5)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-4)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_fewer_rows_than_moves_serve_every_move():
    batch = {"input": torch.rand(2, 1, 8, 8), "index": torch.arange(2)}
    turns = list(Game(discriminator_steps=3).turns(small(), batch))
    assert [turn.player for turn in turns] == ["discriminator"] * 3 + ["generator"]
    assert [float(turn.weight) for turn in turns] == [2] * 4


def test_every_turn_counts_when_precision_is_measured():
    model = small()
    before = copy.deepcopy(model)
    batch = next(pictures().batches(Order("train", 16)))
    plain, *_ = measured(model, recipe(Game(discriminator_steps=3)), batch, seconds=0.05)
    assert plain.precision == Precision()
    assert same(model, before)


def test_two_players_go_on_to_the_bit():
    source = pictures()
    task = Game(discriminator_steps=2, label_smoothing=0.1)
    rec = recipe(task, epochs=3, batch=16, lr=2e-3, optim=Optim("adam", betas=(0.5, 0.999)), ema=0.9, clip=1.0)
    models = [dcgan.build(replace(dcgan.Config(), width=4).fitted(source.spec)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    straight, stopped = (State.fresh(model, rec) for model in models)
    for _ in train(models[0], source, rec, straight):
        pass
    for step in train(models[1], source, rec, stopped):
        if step.number == 4:
            break
    saved = {name: t.clone() for name, t in stopped.tensors().items()}
    torch.rand(5)
    again = State.fresh(dcgan.build(replace(dcgan.Config(), width=4).fitted(source.spec)), rec)
    again.restore(saved, stopped.counters())
    for _ in train(again.model, source, rec, again):
        pass
    assert same(again.model, models[0])
    assert all(torch.equal(again.ema[name], value) for name, value in straight.ema.items())


def test_a_killed_game_goes_on_to_the_bit(tmp_path):
    words = ["train", "dcgan", "digits", "--epochs", "15", "--precision", "fp32", "--save-every", "0.2"]
    straight, seconds = undisturbed(tmp_path, words)
    killer = Killer(tmp_path, words, 0.9 * seconds, random.Random(6))
    for attempt in range(8):  # a run that is quicker than the undisturbed one ends before it is killed
        assert differences(killer.train(f"killed-{attempt}", 2), straight) == []
        if any(kill.saved_step for kill in killer.kills):
            return
    pytest.fail("no kill came after a checkpoint")


# --------------------------------------------------------------------------------------------------------------- labels


class Recorder(FixedNoise):
    """Writes down the labels that each player is told."""

    def __init__(self) -> None:
        model = small()
        super().__init__(model.generator, model.discriminator, latent=2)
        self.told: list[tuple[str, list[int]]] = []

    def generate(self, noise, labels=None):
        self.told.append(("generate", labels.tolist()))
        return self.generator(noise)

    def discriminate(self, pictures, labels=None):
        self.told.append(("discriminate", labels.tolist()))
        return self.discriminator(pictures)


def test_both_players_are_told_the_classes_of_their_rows():
    model, (batch,) = Recorder(), pictures(rows=6).batches(Order("train", 6))
    list(Game(conditional=True, discriminator_steps=2).turns(model, batch))
    first, second = [0, 1, 2], [0, 1, 2]
    move = ["generate", "discriminate", "discriminate"]
    assert model.told == [
        *[(name, first) for name in move],
        *[(name, second) for name in move],
        ("generate", second),
        ("discriminate", second),
    ]


def test_a_class_changes_what_is_made_and_what_is_said():
    model = conditional_gan.build(conditional_gan.Config().fitted(spec(height=28, width=28))).eval()
    noise, (a, b) = model.noise(4), torch.tensor([[0] * 4, [1] * 4])
    assert not torch.allclose(model.generate(noise, a), model.generate(noise, b))
    x = model.generate(noise, a)
    assert not torch.equal(model.discriminate(x, a), model.discriminate(x, b))


class Told(nn.Module):
    """A network that reads its input with the class beside it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.network(torch.cat([x.flatten(1), nn.functional.one_hot(labels, 3)], dim=1))


def maker() -> nn.Module:
    """Two numbers of noise and three classes to a picture."""
    return nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))


def judge() -> nn.Module:
    """A picture and three classes to a logit."""
    return nn.Sequential(nn.Linear(67, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1), nn.Flatten(0))


def test_a_generator_learns_to_make_what_is_asked_for():
    source = pictures(rows=96)
    torch.manual_seed(0)
    model, task = Adversarial(Told(maker()), Told(judge()), latent=2), Game(conditional=True).fitted(source.spec)
    rec = recipe(task, batch=32, epochs=80, lr=5e-3, optim=Optim("adam", betas=(0.5, 0.999)))
    before = task.summary(scored(model, source, rec, Order("val", 32)))["kernel_distance"]
    for _ in train(model, source, rec):
        pass
    after = task.summary(scored(model, source, rec, Order("val", 32)))["kernel_distance"]
    assert after < 0.3 * before
    wanted = torch.arange(30) % 3
    made = model.generate(model.noise(30, torch.Generator().manual_seed(1)), wanted)
    squares = torch.stack([source.splits["train"]["input"][c::3].mean(0) for c in range(3)])
    nearest = (made[:, None] - squares[None]).square().sum((2, 3, 4)).argmin(1)
    assert float((nearest == wanted).float().mean()) >= 0.9


# --------------------------------------------------------------------------------------------------------------- scores


def test_the_kernel_distance_is_the_double_sum_over_pairs():
    source, model = pictures(rows=20), small().eval()
    real = source.splits["val"]["input"]
    made = torch.cat([model.generate(model.noise(1)) for _ in range(20)]).detach()
    x, y = features(real).double(), features(made).double()
    others = ~torch.eye(20, dtype=torch.bool)
    naive = (x @ x.T)[others].mean() + (y @ y.T)[others].mean() - 2 * (x @ y.T).mean()
    for batch in (20, 7, 1):
        found = Game().summary(scored(model, source, recipe(Game()), Order("val", batch)))
        assert found["kernel_distance"] == pytest.approx(float(naive), abs=1e-6)


def test_variety_is_the_double_sum_over_pairs_of_a_class():
    source = pictures(rows=20)
    real, labels = source.splits["val"]["input"], source.splits["val"]["target"]
    for task in (Game(), Game(conditional=True).fitted(source.spec)):
        model = small().eval() if not task.conditional else Adversarial(Told(maker()), Told(judge()), latent=2).eval()
        with torch.no_grad():  # row by row, each with its own noise
            order = [task.score(model, batch) for batch in source.batches(Order("val", 1))]
        made = torch.cat([sums["features_fake"].sum(0, keepdim=True) for sums in order])
        pairs = ~torch.eye(20, dtype=torch.bool)
        if task.conditional:
            pairs &= labels[:, None] == labels[None]
        x = features(real).double()
        naive = (1 - made @ made.T)[pairs].mean() / (1 - x @ x.T)[pairs].mean()
        for batch in (20, 7):
            found = task.summary(scored(model, source, recipe(task), Order("val", batch)))
            assert found["variety"] == pytest.approx(float(naive), abs=1e-5)


def test_a_generator_that_is_deaf_to_its_noise_has_no_variety():
    source = pictures(rows=96)
    for task in (Game(), Game(conditional=True).fitted(source.spec)):
        model = small().eval() if not task.conditional else Adversarial(Told(maker()), Told(judge()), latent=2).eval()
        model.generator.apply(lambda layer: isinstance(layer, nn.Linear) and nn.init.zeros_(layer.weight))
        found = task.summary(scored(model, source, recipe(task), Order("val", 32)))
        assert found["variety"] == pytest.approx(0.0, abs=1e-5)


def test_features_approach_gaussian_kernels():
    a, b = torch.rand(2, 200, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    b = a + 0.3 * (b - a)
    distance = (a - b).flatten(1).square().mean(1)
    kernel = torch.stack([(-distance / (2 * width**2)).exp() for width in WIDTHS]).mean(0)
    found = (features(a) * features(b)).sum(1)
    assert float((found - kernel).abs().max()) < 0.06  # 1 / √(2 · 512) is 0.03 for each of the three
    torch.testing.assert_close(features(a).square().sum(1), torch.ones(200))


def test_rows_of_one_distribution_are_no_distance_apart_and_others_are():
    """Unbiased: over 40 pairs of sets the mean is 0 within three standard errors; with a class missing it is not."""
    generator = torch.Generator().manual_seed(3)
    source = pictures(rows=96)

    def distance(first: torch.Tensor, second: torch.Tensor) -> float:
        sums = {"rows": torch.tensor(48.0), "rows_of_class": torch.tensor([[48.0]])}
        sums |= {"features_real": features(first).sum(0)[None], "features_fake": features(second).sum(0)[None]}
        rest = ("loss_discriminator", "loss_generator", "accuracy_real", "accuracy_fake", "d_real", "d_fake")
        sums |= dict.fromkeys(rest, torch.tensor(0.0))
        return Game().summary({name: value.double() for name, value in sums.items()})["kernel_distance"]

    def draw(classes: int) -> torch.Tensor:
        target = torch.randint(classes, (48,), generator=generator)
        noise = 0.2 * torch.rand(48, 1, 8, 8, generator=generator)
        squares = source.splits["train"]["input"][:3] > 0.5
        return noise + 0.7 * squares[target]

    alike = torch.tensor([distance(draw(3), draw(3)) for _ in range(40)])
    missing = torch.tensor([distance(draw(3), draw(2)) for _ in range(40)])
    error = float(alike.std()) / math.sqrt(40)
    assert abs(float(alike.mean())) < 3 * error
    assert float(missing.mean()) > 20 * error


def test_metrics_of_a_discriminator_that_guesses():
    model = small()
    nn.init.zeros_(model.get_parameter("discriminator.3.weight"))
    nn.init.constant_(model.get_parameter("discriminator.3.bias"), 1.0)
    found = Game().summary(scored(model, pictures(), recipe(Game()), Order("val", 16)))
    said = 1 / (1 + math.exp(-1))
    wanted = {"accuracy_real": 1.0, "accuracy_fake": 0.0, "d_real": said, "d_fake": said}
    wanted |= {"loss_discriminator": -math.log(said) - math.log(1 - said), "loss_generator": -math.log(said)}
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)


def test_predict_is_the_probability_of_being_real():
    batch = {"input": torch.rand(5, 1, 8, 8), "index": torch.arange(5)}
    plain = small()
    torch.testing.assert_close(Game().predict(plain, batch)["real"], plain.discriminate(batch["input"]).sigmoid())
    model, task = conditional_gan.build(conditional_gan.Config().fitted(spec())).eval(), Game(conditional=True)
    task = task.fitted(spec())
    each = [task.predict(model, batch | {"target": torch.full((5,), c)})["real"] for c in range(3)]
    torch.testing.assert_close(task.predict(model, batch)["real"], torch.stack(each).amax(0))


def test_games_that_cannot_be_played_are_refused():
    table = DataSpec("t.csv", "table", {"train": 10}, (3,), target_names=("y",))
    unnamed = replace(spec(), classes=())
    for game, data, says in (
        (Game(), table, "pictures"),
        (Game(loss="hinge"), spec(), "saturating"),
        (Game(discriminator_steps=0), spec(), "1 or more"),
        (Game(conditional=True), unnamed, "no classes"),
    ):
        with pytest.raises(UserError, match=says):
            game.fitted(data)
    with pytest.raises(UserError, match="no classes"):
        conditional_gan.Config().fitted(unnamed)


# --------------------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("paper", "variant", "size"),
    [
        *[(dcgan, "dcgan", size) for size in ((8, 8), (28, 28), (32, 32), (64, 64), (48, 96))],
        *[(gan, "gan", size) for size in ((1, 1), (28, 28), (31, 17))],
        *[(gan, "gan-convolutional", size) for size in ((12, 12), (28, 28), (32, 32), (33, 40))],
        (conditional_gan, "cgan", (9, 28)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_have_the_size_of_the_data_and_their_range(paper, variant, size, channels):
    config = paper.VARIANTS[variant].fitted(spec(channels, *size))
    config = replace(config, width=4) if variant == "dcgan" else config
    config = replace(config, hidden=(64,)) if variant == "gan-convolutional" else config
    model = paper.build(config)
    labels = torch.tensor([0, 1]) if variant == "cgan" else None
    with torch.no_grad():
        made = model.generate(3 * model.noise(2), labels)
        assert made.shape == (2, channels, *size)
        assert float(made.min()) >= 0
        assert float(made.max()) <= 1
        assert model.discriminate(made, labels).shape == (2,)
    assert config.departures()


@pytest.mark.parametrize("size", [(7, 7), (9, 31), (30, 45), (33, 28), (50, 8), (127, 65)])
def test_dcgan_takes_odd_sides_too_and_halves_them_down_to_four(size):
    config = replace(dcgan.Config().fitted(spec(1, *size)), width=2)
    model = dcgan.build(config)
    small, made = model.generator.layout.unflattened_size, model.generate(model.noise(2), None)
    assert made.shape == (2, 1, *size)
    assert 4 <= min(small[1:]) <= 6
    assert model.discriminator.first(made).shape[2:] == tuple(-(-side // 2) for side in size)
    assert model.discriminate(made, None).shape == (2,)


def test_dcgan_says_which_sizes_it_takes():
    with pytest.raises(UserError, match="7 × 7"):
        dcgan.VARIANTS["dcgan"].fitted(spec(1, 6, 9))


def test_small_pictures_are_refused_by_the_convolutional_form():
    with pytest.raises(UserError, match="12 × 12"):
        gan.VARIANTS["gan-convolutional"].fitted(spec())
    gan.VARIANTS["gan-convolutional"].fitted(spec(1, 12, 12))


@pytest.mark.parametrize(("span", "low", "high", "std"), [(None, -9, 9, 1.0), ((-1.0, 1.0), -1, 1, 3**-0.5)])
def test_noise_is_drawn_from_the_prior_and_can_be_repeated(span, low, high, std):
    model = Adversarial(nn.Linear(100, 1), nn.Linear(1, 1), 100, span)
    first, again = (model.noise(500, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, model.noise(500))
    assert low <= float(first.min()) < float(first.max()) <= high
    assert float(first.std()) == pytest.approx(std, rel=0.02)


def test_maxout_is_the_largest_piece_of_each_unit():
    layer = gan.Maxout(nn.Linear(5, 12), 4)
    x = torch.randn(7, 5)
    rows, bias = layer.linear.weight.detach(), layer.linear.bias.detach()
    naive = [
        [max(float(x[i] @ rows[4 * u + p] + bias[4 * u + p]) for p in range(4)) for u in range(3)] for i in range(7)
    ]
    torch.testing.assert_close(layer(x), torch.tensor(naive))
