"""The variational autoencoder and the plain one, against closed forms, loops, finite differences and principal components."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from problems import CLASSES, mlp, recipe, three_clouds
from seminal.core import DataSpec, Generator, UserError
from seminal.papers import autoencoder, conditional_gan, dcgan, gan, vae
from seminal.papers.vae import reparameterised
from seminal.pieces.divergences import kl_diagonal
from seminal.pieces.latent import Explained, bernoulli, gaussian, log_likelihood
from seminal.pieces.measure import on_meta
from seminal.tasks.reconstruction import Reconstruction
from seminal.tasks.variational import Variational, importance_sampled
from seminal.train.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")

PICTURES = DataSpec("photos", "images", {"train": 100}, (3, 6, 5), classes=("a", "b"))
TABLE = DataSpec("t.csv", "table", {"train": 100}, (7,), target_names=("y",))
TEXT = DataSpec("t.txt", "stream", {"train": 100})


class OnOneDevice(TorchFunctionMode):
    """Refuses, as CUDA does, numbers that a generator of another device shall draw."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        generator = (kwargs or {}).get("generator")
        assert generator is None or generator.device == made.device, function
        return made


@pytest.mark.parametrize(
    ("paper", "variant"), [(vae, "vae"), (gan, "gan"), (dcgan, "dcgan"), (conditional_gan, "cgan")]
)
def test_noise_is_drawn_where_its_generator_lives(paper, variant):
    model = on_meta(paper.build, paper.VARIANTS[variant])
    with OnOneDevice():
        made = model.noise(3, torch.Generator().manual_seed(1))
    assert made.device.type == "meta"
    assert made.shape == (3, model.latent)


def batch_of(x):
    return {"input": x, "index": torch.arange(len(x))}


class Linear(nn.Module):
    """p(z) = N(0, I), p(x|z) = N(Wz, s² I): everything about it is known in closed form. W has orthogonal columns, so that
    the true posterior has independent parts, and ``off`` moves q(z|x) away from it."""

    def __init__(self, numbers=6, latent=2, spread=0.7, off=0.0):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        columns = torch.linalg.qr(torch.randn(numbers, latent, generator=generator, dtype=torch.float64))[0]
        self.weight = nn.Parameter(columns * torch.tensor([2.0, 0.5], dtype=torch.float64))
        self.latent, self.spread, self.off = latent, spread, off

    def forward(self, x, noise=None):
        precision = 1 + self.weight.square().sum(0) / self.spread**2
        mean = x @ self.weight / self.spread**2 / precision + self.off
        log_variance = -precision.log().expand_as(mean)
        z = mean + (0.5 * log_variance).exp() * (torch.randn_like(mean) if noise is None else noise)
        decoded = z @ self.weight.T
        return Explained(
            torch.stack([decoded, torch.full_like(decoded, 2 * math.log(self.spread))], -2), z, mean, log_variance
        )

    def log_likelihood(self, x):
        """log N(x; 0, W Wᵀ + s² I)."""
        covariance = self.weight @ self.weight.T + self.spread**2 * torch.eye(len(self.weight), dtype=torch.float64)
        return torch.distributions.MultivariateNormal(x.new_zeros(len(self.weight)), covariance).log_prob(x)


def linear_rows(rows=200):
    torch.manual_seed(0)
    return 1.5 * torch.randn(rows, 6, dtype=torch.float64)


# ------------------------------------------------------------------------------------------------------- the terms


def test_the_divergence_is_the_mean_of_the_log_ratio():
    torch.manual_seed(0)
    mean, log_variance = torch.randn(2, 5, 3, dtype=torch.float64)
    z = mean + (0.5 * log_variance).exp() * torch.randn(200_000, 5, 3, dtype=torch.float64)
    ratio = torch.distributions.Normal(mean, (0.5 * log_variance).exp()).log_prob(z)
    ratio = ratio - torch.distributions.Normal(0.0, 1.0).log_prob(z)
    ratio = ratio.sum(-1)
    error = (ratio.mean(0) - kl_diagonal(mean, log_variance)).abs() / ratio.std(0) * math.sqrt(len(z))
    assert error.max() < 4  # standard errors, the largest of 5
    assert not kl_diagonal(torch.zeros(1, 3), torch.zeros(1, 3)).any()


def test_the_bernoulli_term_is_a_loop_over_pixels_and_survives_sure_answers():
    torch.manual_seed(0)
    x, logits = torch.rand(4, 9, dtype=torch.float64), 3 * torch.randn(2, 4, 9, dtype=torch.float64)
    found = bernoulli(x, logits)
    for draw in range(2):
        for row in range(4):
            y = [1 / (1 + math.exp(-v)) for v in logits[draw, row].tolist()]
            by_hand = sum(p * math.log(q) + (1 - p) * math.log(1 - q) for p, q in zip(x[row].tolist(), y))
            assert found[draw, row].item() == pytest.approx(by_hand, rel=1e-12)
    assert bernoulli(torch.tensor([[1.0, 0.0]]), torch.tensor([[-200.0, 200.0]])).item() == -400.0


def test_the_gaussian_term_is_torchs():
    torch.manual_seed(0)
    x, mean, log_variance = torch.randn(3, 4, 9, dtype=torch.float64)
    expected = torch.distributions.Normal(mean, (0.5 * log_variance).exp()).log_prob(x).sum(1)
    torch.testing.assert_close(gaussian(x, mean, log_variance), expected)
    torch.testing.assert_close(log_likelihood(x, torch.stack([mean, log_variance], 1)), expected)


def test_the_reparameterised_draw_has_the_right_moments_and_gradients():
    torch.manual_seed(0)
    mean, log_variance = torch.tensor([[0.7, -1.2]]), torch.tensor([[-0.5, 1.1]])
    draws = reparameterised(mean, log_variance, torch.randn(400_000, 1, 2))
    torch.testing.assert_close(draws.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(draws.var(0).log(), log_variance, atol=0.02, rtol=0)
    inputs = [torch.randn(3, 2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    noise = torch.randn(5, 3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda m, v: reparameterised(m, v, noise), inputs)


@pytest.mark.parametrize("decoder", vae.DECODERS)
def test_the_gradient_of_the_loss_through_the_draw_is_that_of_finite_differences(decoder):
    torch.manual_seed(0)
    model = vae.build(vae.Config((1, 3, 2), hidden=4, latent=2, decoder=decoder, least_std=0.2)).double()
    x, task = torch.rand(3, 1, 3, 2, dtype=torch.float64), Variational(samples=2, beta=0.7)

    def loss():
        torch.manual_seed(5)  # the same noise each time
        return next(task.turns(model, batch_of(x))).loss

    model.train()
    loss().backward()
    for name, parameter in model.named_parameters():
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for i in range(0, len(flat), 3):
            kept, step = flat[i].item(), 1e-6
            values = []
            for sign in (1, -1):
                flat[i] = kept + sign * step
                values.append(loss().item())
            flat[i] = kept
            assert gradient[i].item() == pytest.approx((values[0] - values[1]) / 2 / step, rel=1e-6, abs=1e-7), name


# ------------------------------------------------------------------------------------------------------- the bound


def test_with_the_true_posterior_the_bound_is_the_log_likelihood():
    model, x = Linear(), linear_rows()
    exact = model.log_likelihood(x)
    for samples in (1, 40):  # p(x|z) p(z) / q(z|x) is then the same for every z
        torch.testing.assert_close(importance_sampled(model, batch_of(x), samples), exact, atol=1e-5, rtol=0)
    bound = scores(Variational(samples=200), model, x)["bound"]
    assert bound == pytest.approx(exact.mean().item(), abs=0.02)


def test_a_wrong_posterior_gives_a_lower_bound_which_importance_samples_tighten():
    model, x = Linear(off=0.3), linear_rows()
    exact = model.log_likelihood(x).mean().item()
    bound = scores(Variational(samples=50), model, x)["bound"]
    means = [importance_sampled(model, batch_of(x), k).mean().item() for k in (1, 5, 50, 2000)]
    assert bound < exact - 0.1
    # The gap is KL(q ‖ true posterior) = ½ Σ off² / σ².
    gap = 0.5 * 0.3**2 * (1 + model.weight.square().sum(0) / model.spread**2).sum().item()
    assert exact - bound == pytest.approx(gap, abs=0.05)
    assert means[0] == pytest.approx(bound, abs=0.1)
    assert means[0] < means[1] < means[2] < means[3]
    assert means[3] == pytest.approx(exact, abs=0.01)


def test_scores_depend_on_rows_and_not_on_batches():
    torch.manual_seed(0)
    model, x, task = (
        vae.build(vae.Config((1, 6, 5), hidden=8, latent=3)).eval(),
        torch.rand(20, 1, 6, 5),
        Variational(2),
    )
    whole = task.score(model, batch_of(x))
    torch.manual_seed(1)
    index = torch.arange(20)
    parts = [task.score(model, {"input": x[rows], "index": rows}) for rows in index.split(7)]
    for name, value in whole.items():
        torch.testing.assert_close(sum(part[name] for part in parts), value)
    assert torch.equal(importance_sampled(model, batch_of(x), 40)[:3], importance_sampled(model, batch_of(x[:3]), 40))
    with pytest.raises(UserError, match="1 or more"):
        importance_sampled(model, batch_of(x), 0)


@torch.no_grad()
def scores(task, model, x):
    return task.summary(task.score(model, batch_of(x)))


# --------------------------------------------------------------------------------------------------- weight and time


def test_beta_weighs_the_divergence_and_anneals():
    torch.manual_seed(0)
    model, x = vae.build(vae.Config((1, 6, 5), hidden=8, latent=3)).eval(), torch.rand(4, 1, 6, 5)

    def loss(task, progress=None):
        batch = batch_of(x) | ({} if progress is None else {"progress": torch.full((4,), progress)})
        turn = next(task.turns(model, batch))
        return turn.loss.item() / turn.weight.item()

    plain, free = loss(Variational()), loss(Variational(beta=0.0))
    annealed = Variational(beta=4.0, annealing=0.5)
    for progress, beta in ((0.0, 0.0), (0.25, 2.0), (0.5, 4.0), (1.0, 4.0), (None, 4.0)):
        assert loss(annealed, progress) == pytest.approx(free + beta * (plain - free), rel=1e-4)
    assert loss(Variational(), 0.0) == pytest.approx(plain)
    # The score is the bound, whatever the weight in training.
    assert scores(annealed, model, x)["bound"] == scores(Variational(), model, x)["bound"]
    for wrong in (Variational(0), Variational(beta=-1.0), Variational(annealing=2.0)):
        with pytest.raises(UserError, match="no sense"):
            wrong.fitted(PICTURES)


def test_the_loop_tells_a_loss_how_far_training_is():
    seen = []

    class Watching(type(CLASSES)):
        def turns(self, model, batch):
            seen.append(batch["progress"])
            assert len(batch["progress"]) == len(batch["index"])
            return super().turns(model, batch)

    steps = len(list(train(mlp(), three_clouds(), recipe(Watching(classes=CLASSES.classes), epochs=2, accumulate=2))))
    assert [part.unique().item() for part in seen[::2]] == pytest.approx([step / steps for step in range(steps)])


def test_active_units_are_those_whose_mean_follows_the_row():
    class Half(nn.Module):
        latent = 4

        def forward(self, x, noise=None):
            mean = x[:, :4] * torch.tensor([1.0, 0.5, 0.05, 0.0])
            return Explained(torch.zeros(len(x), 1, 6), mean, mean, torch.zeros_like(mean))

    torch.manual_seed(0)
    assert scores(Variational(), Half(), torch.rand(2000, 6))["active"] == 2  # variances 0.083, 0.021, 0.0002, 0


# ---------------------------------------------------------------------------------------------------------- models


def test_a_vae_draws_pictures_from_noise():
    model = vae.build(vae.VARIANTS["vae"].fitted(PICTURES))
    assert isinstance(model, Generator)
    noise = model.noise(8, torch.Generator().manual_seed(1))
    assert torch.equal(noise, model.noise(8, torch.Generator().manual_seed(1)))
    pictures = model.generate(noise)
    assert pictures.shape == (8, 3, 6, 5)
    assert pictures.min() >= 0
    assert pictures.max() <= 1


def test_tables_have_a_gaussian_decoder_with_a_least_spread():
    config = vae.VARIANTS["vae"].fitted(TABLE)
    assert (config.decoder, config.shape) == ("gaussian", (7,))
    assert len(config.departures()) == 3
    model = vae.build(config)
    with torch.no_grad():
        model.decoder.log_variance.bias.fill_(-100.0)
    decoded = model(torch.randn(5, 7)).decoded
    torch.testing.assert_close(decoded[:, 1].exp().sqrt(), torch.full((5, 7), 0.1))
    for module in (vae, autoencoder):
        with pytest.raises(UserError, match="holds text"):
            next(iter(module.VARIANTS.values())).fitted(TEXT)


def test_what_is_no_brightness_is_refused_by_a_bernoulli():
    model = vae.build(vae.VARIANTS["vae"].fitted(PICTURES))
    with pytest.raises(UserError, match="--scaling none"):
        next(Variational().turns(model, batch_of(torch.randn(4, 3, 6, 5))))
    with pytest.raises(UserError, match="no decoder"):
        vae.Config(decoder="poisson")
    with pytest.raises(UserError, match="no activation"):
        autoencoder.Config((4,), (3,), 2, activation="tan")


@pytest.mark.parametrize("kind", ["vae", "autoencoder"])
def test_the_strange_row_stands_out(kind):
    """Rows on a line, and one off it: both models learn the line, and both say which row is strange."""
    torch.manual_seed(0)
    x = torch.randn(256, 1) * torch.tensor([[1.0, -1.0, 0.5, 2.0, 1.0, 0.3, -0.7]]) + 0.1 * torch.randn(256, 7)
    model = {
        "vae": vae.build(replace(vae.VARIANTS["vae"].fitted(TABLE), hidden=32, latent=2)),
        "autoencoder": autoencoder.build(autoencoder.Config((7,), (16,), 2, "relu")),
    }[kind]
    task = {"vae": Variational(), "autoencoder": Reconstruction()}[kind].fitted(TABLE)
    before = scores(task, model, x)["loss"]
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(300):
        turn = next(task.turns(model, batch_of(x)))
        optimiser.zero_grad()
        (turn.loss / turn.weight).backward()
        optimiser.step()
    model.eval()
    strange = torch.tensor([[1.0, 1.0, 0.5, -2.0, 1.0, 0.3, -0.7]])
    found = task.predict(model, batch_of(torch.cat([strange, x])))
    assert found["anomaly"].argmax() == 0
    assert found["latent"].shape == (257, 2)
    assert found["reconstruction"].shape == (257, 7)
    assert scores(task, model, x)["loss"] < before - 1


# --------------------------------------------------------------------------------------------- the plain autoencoder


def test_a_linear_autoencoder_reaches_the_error_of_principal_components():
    torch.manual_seed(0)
    x = torch.randn(60, 8, dtype=torch.float64) @ torch.randn(8, 8, dtype=torch.float64)
    x = x - x.mean(0)
    model = autoencoder.build(autoencoder.Config((8,), (), 3)).double()
    optimiser = torch.optim.LBFGS(
        model.parameters(), max_iter=2000, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )
    task = Reconstruction("mse")

    def closure():
        optimiser.zero_grad()
        loss = ((model(x) - x) ** 2).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    components = torch.linalg.svdvals(x)[3:].square().sum() / len(x)
    assert scores(task, model, x)["squared_error"] == pytest.approx(components.item(), rel=1e-5)


def test_reconstruction_loss_is_torchs_and_the_error_is_of_pixels():
    torch.manual_seed(0)
    model, x = autoencoder.build(autoencoder.Config((1, 4, 4), (6,), 2)), torch.rand(5, 1, 4, 4)
    task = Reconstruction().fitted(PICTURES)
    turn = next(task.turns(model, batch_of(x)))
    expected = nn.functional.binary_cross_entropy(model(x).sigmoid(), x, reduction="sum") / 5
    torch.testing.assert_close(turn.loss / turn.weight, expected)
    error = scores(task, model, x)["squared_error"]
    assert error == pytest.approx((model(x).sigmoid() - x).square().sum().item() / 5, rel=1e-5)
    with pytest.raises(UserError, match="no loss"):
        Reconstruction("hinge").fitted(PICTURES)


def test_an_autoencoder_has_no_prior_to_draw_from():
    assert not isinstance(autoencoder.build(autoencoder.VARIANTS["autoencoder"].fitted(PICTURES)), Generator)
