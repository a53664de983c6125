"""docs/generative.md and docs/learning.md come from their results; the experiments on theory do what they say, in a small run
of each."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))

import deep
import theory
import theory_contrast
import theory_depth
import theory_descent
import theory_divergence
import theory_fitting
import theory_flat
import theory_game
import theory_latent
import theory_pages
import theory_sharpness
import theory_words
from seminal.papers.gan import best_discriminator
from seminal.pieces.divergences import js, kl_diagonal
from stack import Mover, Stack
from theory_form import cells, normal, probabilities

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_pages_are_generated():
    check = subprocess.run(
        [sys.executable, "experiments/theory_pages.py", "--check"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert check.returncode == 0, check.stderr


# ---------------------------------------------------------------------------------------------------- small runs of all


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What a small run of all has written."""
    folder = tmp_path_factory.mktemp("results")
    for name in theory.EXPERIMENTS:
        theory.measured(name, folder, quick=True)
    return folder


@pytest.mark.parametrize("name", theory.EXPERIMENTS)
def test_each_experiment_has_its_claim_its_verdict_and_its_plot(results, name):
    found = theory_pages.pages(results)
    where = next(page for page, experiments in theory.PAGES.items() if name in experiments)
    plot = f"{where}-{name.replace('_', '-')}.svg"
    page, drawing = found[f"{where}.md"], ElementTree.fromstring(found[plot])
    assert "nan" not in "".join(found.values()), "a number that is none"
    assert f"]({plot})" in page
    assert f"## {theory.EXPERIMENTS[name].title}" in page
    result = json.loads((results / f"theory_{name}.json").read_text(encoding="utf-8"))
    assert f"The claim {theory.EXPERIMENTS[name].verdict(result).short}" in " ".join(page.split())
    assert len([node for node in drawing.iter() if node.tag.endswith("path")]) > 10
    assert {"command", "machine", "settings", "cpu_seconds"} <= set(result)


def test_an_experiment_without_results_is_left_out(results, tmp_path):
    text = (results / "theory_disjoint.json").read_text(encoding="utf-8")
    (tmp_path / "theory_disjoint.json").write_text(text, encoding="utf-8")
    assert set(theory_pages.pages(tmp_path)) == {"generative.md", "generative-disjoint.svg"}
    assert theory_pages.pages(tmp_path / "nowhere") == {}


def test_a_quick_run_never_replaces_a_real_one(monkeypatch):
    folders = []
    monkeypatch.setattr(theory, "measured", lambda name, folder, quick: folders.append(folder))
    monkeypatch.setattr(sys, "argv", ["theory.py", "--quick"])
    theory.run()
    assert folders
    assert not [folder for folder in folders if ROOT in folder.parents]


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("disjoint", lambda r: r["cells"][-1].update(js=0.5)),
        ("best_discriminator", lambda r: r.update(error=[0.3])),
        ("value", lambda r: r["cells"][0].update(found=[0.0])),  # more than the largest V there is
        ("sharpness", lambda r: r["runs"].update(VAE=r["runs"]["GAN"])),
        ("descent", lambda r: r.update(ways={name: [{"end": 0.1, "rises": 0}] for name in r["ways"]})),
        ("losses", lambda r: r["found"].update({"squared error": r["found"]["cross-entropy"]})),
        ("noise", lambda r: r.update(left=[[0.0] * 5])),
        ("momentum", lambda r: r.update(passed=[0.1] * 6)),
        ("valley", lambda r: r.update(found={name: [[9] * 7] * 2 for name in r["found"]})),
        ("scales", lambda r: r["found"].update({"standardised": r["found"]["as measured"]})),
        ("sigmoids", lambda r: r.update(left=[[0.5] * 7])),
        ("remedies", lambda r: r.update(found=dict.fromkeys(r["found"], r["found"]["nothing"]))),
        ("chosen", lambda r: r["gaps"].update({"other rows": r["gaps"]["the rows that judge"]})),
        ("dropout_ridge", lambda r: r.update(found=[[{"ridge": 0.1, "least squares": 0.1}] * 5])),
        ("codes", lambda r: r.update(found={name: [{"number": 0.9, "softmax": 0.9}] for name in r["found"]})),
        ("depth", lambda r: [cell.update(accuracy=[0.1]) for cell in r["cells"]]),  # nothing learns
        ("gradients", lambda r: [cell.update(back=[1.0]) for cell in r["cells"]]),  # nothing vanishes
        ("degradation", lambda r: [cell.update(errors=[[0.9, 0.5, 0.0]]) for cell in r["cells"]]),
        ("lesion", lambda r: r["arms"].update(plain=r["arms"]["residual"])),
        ("scores", lambda r: r["cells"][-1]["forms"].update({"as they are": r["cells"][0]["forms"]["as they are"]})),
        ("pieces", lambda r: [cell.update(unknown=0.5) for cell in r["cells"]]),
    ],
)
def test_a_verdict_follows_from_the_numbers(results, name, spoil):
    result = json.loads((results / f"theory_{name}.json").read_text(encoding="utf-8"))
    spoil(result)
    assert theory.EXPERIMENTS[name].verdict(result).short == "does not hold"


# --------------------------------------------------------------------------------------------------------- closed forms


def test_integrals_over_cells_are_the_closed_forms():
    line = cells(-12, 12, 4000)
    p, q = probabilities(normal(line, 0.3, 1.0)), probabilities(normal(line, 1.0, 1.5))
    exact = kl_diagonal(torch.tensor([0.3]), torch.tensor([0.0]), 1.0, 2 * math.log(1.5))
    assert float((p * (p / q).log()).sum()) == pytest.approx(float(exact), abs=1e-6)
    best = best_discriminator(p, q).logit()
    theory_value = -math.log(4) + 2 * float(js(p, q))
    assert float(theory_divergence.expected_value(best, p, q)) == pytest.approx(theory_value, abs=1e-12)
    for other in (best + 0.1, best * 0.9):
        assert float(theory_divergence.expected_value(other, p, q)) < theory_value


def test_the_slope_of_the_best_value_is_log_one_minus_d():
    data, p_g = probabilities(0.2 + torch.rand(2, 7, dtype=torch.float64, generator=torch.manual_seed(0)))
    p_g.requires_grad_()
    (slope,) = torch.autograd.grad(2 * js(data, p_g), p_g)
    wanted = torch.log1p(-best_discriminator(data, p_g.detach()))
    torch.testing.assert_close(slope - slope.mean(), wanted - wanted.mean())  # along the distributions


def test_a_projected_step_is_the_nearest_distribution():
    """Against many other distributions, none of which is nearer."""
    chance = torch.manual_seed(1)
    data, p_g = probabilities(torch.rand(2, 5, dtype=torch.float64, generator=chance))
    aim = p_g - 0.4 * torch.log1p(-best_discriminator(data, p_g))
    found = theory_divergence.projected(0.4, p_g, data)
    assert float(found.sum()) == pytest.approx(1)
    assert float(found.min()) >= 0
    others = torch.distributions.Dirichlet(torch.full((5,), 0.5, dtype=torch.float64)).sample((5000,))
    assert float((found - aim).norm()) <= float((others - aim).norm(dim=1).min())


def test_the_mirrored_step_is_the_mean_of_both():
    data, p_g = probabilities(torch.rand(2, 9, dtype=torch.float64, generator=torch.manual_seed(2)))
    torch.testing.assert_close(theory_divergence.multiplied(p_g, data), (data + p_g) / 2)


def test_disjoint_results_are_those_on_paper(results):
    for cell in json.loads((results / "theory_disjoint.json").read_text(encoding="utf-8"))["cells"]:
        share = min(cell["shift"], 1.0)
        assert cell["js"] == pytest.approx(share * math.log(2), abs=1e-12)
        assert cell["tv"] == pytest.approx(share, abs=1e-12)
        assert cell["kl_infinite"] == (share > 0)


def test_the_two_slopes_of_a_generator_are_in_the_ratio_of_the_odds(results):
    """Of rows that D takes for equally likely: |d log(1 − D)| / |d −log D| = D / (1 − D)."""
    for run in json.loads((results / "theory_saturation.json").read_text(encoding="utf-8"))["runs"]:
        for cell in run:
            odds = cell["d_fake"] / (1 - cell["d_fake"])
            assert cell["saturating"] / cell["non_saturating"] == pytest.approx(odds, rel=0.05)


def test_the_learned_constant_is_that_of_the_gaussian():
    """Twenty thousand rows: the error is a few thousandths."""
    assert theory_contrast.learned_constant(20_000, 1, 0) == pytest.approx(theory_contrast.true_constant(), abs=0.05)


def test_slopes_of_both_losses_are_those_on_paper():
    """Of cross-entropy p − y; of the squared error, the same through the softmax: 2 (diag(p) − p pᵀ) (p − y)."""
    logits, true = torch.randn(4, 3, dtype=torch.float64, generator=torch.manual_seed(0)), torch.tensor([0, 1, 2, 1])
    p = logits.softmax(1)
    away = p - nn.functional.one_hot(true, 3)
    softmax = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    wanted = {"cross-entropy": away, "squared error": 2 * (softmax @ away[..., None])[..., 0]}
    for name, loss in theory_descent.LOSSES.items():
        torch.testing.assert_close(theory_descent.slope(loss, logits, true), wanted[name])


def test_the_well_has_its_minima_and_its_hill_where_they_are_said_to_be():
    place = torch.tensor([-1.0356, theory_descent.HILL, theory_descent.SHALLOW])
    slopes = theory_descent.well(place)
    assert slopes.abs().max() < 0.05
    before, after = (theory_descent.well(place + by).sign().tolist() for by in (-0.1, 0.1))
    assert (before, after) == ([-1, 1, -1], [1, -1, 1]), "down to a minimum, up to the hill, down to a minimum"


def test_a_dip_is_as_deep_as_the_way_up_from_its_ground():
    """Of a bump so high that the slope beside it hardly counts: nearly its height. Of a low one: none."""
    low, high = theory_descent.dips(torch.tensor([0.1, 100.0], dtype=torch.float64)).tolist()
    assert low == 0
    assert high == pytest.approx(100 - theory_descent.SLOPE * 1.7, abs=0.3)  # the ground lies 3.4 widths before the top


def test_methods_reach_the_minimum_of_a_round_valley_in_as_many_steps_in_every_direction():
    """κ = 1: f depends on the distance alone, so gradient descent does not see how the axes lie."""
    straight, turned = theory_descent._reached(theory_descent.METHODS["gradient descent"], 200)
    assert abs(straight[0] - turned[0]) <= 1
    assert straight[0] < straight[-1]


def test_ridge_is_the_minimum_of_the_loss_that_dropout_has_in_the_mean():
    """Over all masks of three columns, each weighed by its probability."""
    chance = torch.manual_seed(3)
    x, y = (
        torch.randn(9, 3, dtype=torch.float64, generator=chance),
        torch.randn(9, dtype=torch.float64, generator=chance),
    )
    w, p = theory_fitting.ridge(x, y, 0.3).requires_grad_(), 0.3
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    chances = (p ** (1 - masks) * (1 - p) ** masks).prod(1)
    # Each entry is dropped by itself: with a mask for each row, the expectation is the sum over rows of that over masks.
    seen = x[:, None] * masks / (1 - p)
    loss = ((seen @ w - y[:, None]).square() * chances).sum()
    (slope,) = torch.autograd.grad(loss, w)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-10, rtol=0)


def test_a_line_leaves_what_least_squares_leaves(results):
    """The share of the variance, by the correlation."""
    x = torch.linspace(-1, 1, 201, dtype=torch.float64)
    r = torch.corrcoef(torch.stack([x, theory_fitting.curve(x)]))[0, 1]
    found = json.loads((results / "theory_sigmoids.json").read_text(encoding="utf-8"))["line"]
    assert found == pytest.approx(1 - float(r) ** 2)


# ------------------------------------------------------------------------------------------------------------- the tools


def test_networks_side_by_side_are_trained_as_if_each_were_alone():
    both = Stack(2, (1, 4, 1), torch.manual_seed(0))
    alone = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))
    with torch.no_grad():
        for layer, weight, bias in zip((alone[0], alone[2]), both.weights, both.biases):
            layer.weight.copy_(weight[1].T)
            layer.bias.copy_(bias[1, 0])
    x = torch.randn(2, 8, 1, generator=torch.manual_seed(1))
    movers = Mover(both, 0.01, 5), Mover(alone, 0.01, 5)
    for _ in range(5):
        movers[0].move((both(x) - 3 * x).square().squeeze(2))
        movers[1].move((alone(x[1]) - 3 * x[1]).square().T)
    torch.testing.assert_close(both(x)[1], alone(x[1]))


def test_the_strong_decoder_sees_the_pixels_before_and_no_other():
    torch.manual_seed(0)
    model = theory_latent.Remembering()
    x = torch.rand(1, 64, requires_grad=True)
    noise = torch.zeros(1, 1, model.latent)
    # The gradient through the encoder is another road: it is cut.
    model.vae.encoder.requires_grad_(False)
    for layer in (model.vae.encoder.mean, model.vae.encoder.log_variance):
        layer.weight.zero_()
    for place in (0, 1, 40, 63):
        (slope,) = torch.autograd.grad(model(x, noise).decoded[0, 0, 0, place], x)
        assert slope[0].nonzero().flatten().tolist() == list(range(place))


def test_the_density_that_is_seen_is_that_of_the_generator():
    match = theory_game.Match(1, (1, 1))
    with torch.no_grad():  # G(z) = 2 z: uniform on (−2, 2), which are 80 of the 120 cells
        match.generator.weights = nn.ParameterList([torch.tensor([[[2.0]]])])
        match.generator.biases = nn.ParameterList([torch.zeros(1, 1, 1)])
    p_g = torch.tensor(match.seen()["p_g"][0], dtype=torch.float64)
    torch.testing.assert_close(p_g[:80], torch.full((80,), 1 / 80, dtype=torch.float64), atol=1e-3, rtol=0)
    assert float(p_g[80:].sum()) == 0


@pytest.mark.parametrize("residual", [True, False])
def test_a_removed_residual_block_is_the_identity(residual):
    """A block whose last weights are zero adds nothing to a residual network, and leaves nothing of a plain one."""
    model = deep.Deep(deep.Arm(residual=residual), 6, 2, torch.manual_seed(0))
    with torch.no_grad():
        model.weights[4].zero_()  # the second layer of block 1
    x = torch.randn(2, deep.PIXELS, 5)
    assert torch.equal(model(x), model(x, without=1)) == residual
    assert torch.equal(model(x), torch.zeros(2, deep.CLASSES, 5)) != residual


def test_the_relative_gradient_of_a_linear_chain_is_the_product_of_its_weights():
    weights, states = [3.0, 0.5, 0.2], [torch.ones(2, 1, requires_grad=True)]
    for weight in weights:
        states.append(weight * states[-1])
    ratio = theory_depth.ratio(7 * states[-1].sum(1), states[0], states[-1])
    torch.testing.assert_close(ratio, torch.full((2,), 3.0 * 0.5 * 0.2))


def test_the_gradient_at_the_first_layer_is_that_at_the_last_through_all_weights():
    """With weights and pixels that are not negative every ReLU is the identity."""
    model = deep.Deep(deep.Arm(), 4, 1, torch.manual_seed(0)).double()
    with torch.no_grad():
        for weight in model.weights:
            weight.abs_()
    outputs = []
    scores = model(torch.rand(1, deep.PIXELS, 3, dtype=torch.float64), outputs=outputs)
    first, last = torch.autograd.grad(scores.square().sum(), (outputs[0], outputs[-1]))
    assert len(outputs) == 5
    through = last[0]
    for weight in reversed(model.weights[1:-1]):
        through = weight[0].T @ through
    torch.testing.assert_close(first[0], through)


def test_deep_networks_side_by_side_are_those_of_torch():
    """Against modules of torch, one network at a time, in training and in evaluation."""
    model = deep.Deep(deep.Arm(normalised=True, residual=True), 2, 2, torch.manual_seed(0))
    x = torch.randn(2, deep.PIXELS, 9)
    for run in range(2):
        norms = [nn.BatchNorm1d(deep.WIDTH, momentum=1.0) for _ in range(3)]
        for training in (True, False):
            model.train(training)
            found = model(x)[run].T

            def layer(i, rows, norms=norms, training=training, run=run):
                return norms[i].train(training)(rows @ model.weights[i][run].T)

            first = layer(0, x[run].T).relu()
            wanted = (first + layer(2, layer(1, first).relu())).relu() @ model.weights[3][run].T
            torch.testing.assert_close(found, wanted)


def test_the_top_eigenvalue_of_a_quadratic_is_found():
    """Where a linear model gives all classes the same score, the Hessian of cross-entropy is (I / C − 1 / C²) ⊗ XᵀX / n: its
    top eigenvalue is that of XᵀX / n over C."""
    x = torch.randn(theory_flat.TRAIN + 10, deep.PIXELS, generator=torch.manual_seed(0))
    y = torch.arange(len(x)) % deep.CLASSES
    model = nn.Linear(deep.PIXELS, deep.CLASSES, bias=False)
    nn.init.zeros_(model.weight)
    rows = x[: theory_flat.TRAIN].double()
    wanted = float(torch.linalg.eigvalsh(rows.T @ rows / len(rows))[-1]) / deep.CLASSES
    found = theory_flat.judged(model, x, y)
    assert found["top"] == pytest.approx(wanted, rel=1e-2)
    assert found["loss"] == pytest.approx(math.log(deep.CLASSES), rel=1e-5)


def test_dot_products_have_variance_d_k():
    for width in (4, 64):
        assert theory_words.variance(width, torch.Generator().manual_seed(0)) == pytest.approx(width, rel=0.06)
        shared = [theory_words.products(width, torch.Generator().manual_seed(seed)) for seed in range(20)]
        assert float(torch.stack(shared).square().mean()) == pytest.approx(width, rel=0.06)


def test_softness_of_known_shares():
    even = theory_words.softness(torch.zeros(3, 8))
    assert even == pytest.approx({"entropy": math.log(8), "slope": 7 / 8, "median": 7 / 8})
    certain = theory_words.softness(torch.tensor([[1e4, 0.0, 0.0]]))
    assert certain == pytest.approx({"entropy": 0, "slope": 0, "median": 0})
    # The trace is that of the Jacobian.
    scores = torch.randn(5, generator=torch.manual_seed(0))
    trace = torch.autograd.functional.jacobian(lambda s: s.softmax(0), scores).trace()
    assert theory_words.softness(scores[None])["slope"] == pytest.approx(float(trace))


def test_the_entropy_on_paper_is_that_of_many_keys():
    scores = 1.5 * torch.randn(20, 100_000, generator=torch.manual_seed(0), dtype=torch.float64)
    assert theory_words.softness(scores)["entropy"] == pytest.approx(
        theory_words.entropy_on_paper(1.5**2, 100_000), abs=0.05
    )


def test_unknown_words_and_the_table_of_bert():
    assert theory_words.written([[7], [8, 1, 9], [4, 5]]) == {"unknown": 1 / 3, "length": 2.0}
    # The table, the biases of the words that are said, and 86 million more.
    more = {
        n: theory_words.table("bert-base", n)["numbers"] / theory_words.table("bert-base", n)["share"]
        for n in (1, 1001)
    }
    assert more[1001] - more[1] == pytest.approx(1000 * (768 + 1))


def test_sharpness_is_the_mean_square_of_the_second_difference():
    edge = torch.zeros(1, 1, 8, 8)
    edge[..., 4:] = 1.0
    assert theory_sharpness.edges(edge) == pytest.approx(2 / 6), "of six columns inside, two stand at the edge"
    ramp = torch.linspace(0, 1, 8).expand(1, 1, 8, 8)
    assert theory_sharpness.edges(ramp) == pytest.approx(0, abs=1e-10)


def test_an_even_way_has_steps_of_one_length(monkeypatch):
    class Linear:
        def generate(self, noise):
            return noise @ torch.ones(theory_sharpness.LATENT, 64)

    class Jumping:
        def generate(self, noise):
            return (noise.sum(1, keepdim=True) > 0).float().expand(-1, 64)

    chance = torch.Generator().manual_seed(0)
    assert theory_sharpness.unevenness(Linear(), chance) == pytest.approx(1.0, rel=1e-3)
    monkeypatch.setattr(theory_sharpness, "WAYS", 1)
    found = [theory_sharpness.unevenness(Jumping(), chance) for _ in range(20)]
    jumps = [value for value in found if value == value]  # a line that meets no jump has no mean step
    assert jumps == pytest.approx([theory_sharpness.PARTS] * len(jumps))
    assert jumps
