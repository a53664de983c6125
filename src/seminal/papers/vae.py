"""The variational autoencoder.

Diederik P. Kingma, Max Welling, "Auto-Encoding Variational Bayes", arXiv 1312.6114, December 2013; ICLR 2014.

The idea: each row x is explained by a few latent numbers z that nobody has seen. Which z explain a given x cannot be
computed, so a second network, the encoder, learns to guess them. The guess is a sum of what the encoder says and of
noise that depends on nothing: gradients then flow through the guess, and both networks learn by plain back-propagation.

    log p(x) ≥ L(x) = −KL(q(z|x) ‖ p(z)) + E_q[log p(x|z)]                       the lower bound ("ELBO")            (3)
    z = g(ε, x), ε ~ p(ε)                                                        reparameterisation                  (4)
    E_q[f(z)] ≈ 1/L Σ_l f(g(ε_l, x))                                             its Monte Carlo estimate            (5)
    L(x) ≈ −KL(q(z|x) ‖ p(z)) + 1/L Σ_l log p(x|z_l)                             the estimator with less noise       (7)
    log q(z|x) = log N(z; μ, σ² I)                                               μ, σ from the encoder               (9)
    L(x) ≈ ½ Σ_j (1 + log σ_j² − μ_j² − σ_j²) + 1/L Σ_l log p(x|z_l), z_l = μ + σ ⊙ ε_l, ε_l ~ N(0, I)              (10)
    log p(x|z) = Σ_d x_d log y_d + (1 − x_d) log(1 − y_d), y = sigmoid(W_2 tanh(W_1 z + b_1) + b_2)     Bernoulli   (11)
    log p(x|z) = log N(x; μ, σ² I), μ = W_4 h + b_4, log σ² = W_5 h + b_5, h = tanh(W_3 z + b_3)        Gaussian    (12)

The encoder is the Gaussian network of Eq. 12 with x and z exchanged (App. C.2). The bound is computed where losses are, in
`seminal.tasks.variational`; its terms are in `seminal.pieces.latent` and `seminal.pieces.divergences`.

Shapes: B rows of D numbers, H hidden units, J latent variables, P parameters of p(x_d|z): 1 (Bernoulli) or 2 (Gaussian);
(…) are several draws of z for each row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, UserError
from seminal.pieces.divergences import kl_diagonal
from seminal.pieces.init import fill, normal
from seminal.pieces.latent import Explained, gaussian
from seminal.pieces.measure import on_meta, stages

DECODERS = ("bernoulli", "gaussian", "bounded-gaussian")


@dataclass(frozen=True)
class Config:
    shape: tuple[int, ...] = (1, 28, 28)  # of one row, D numbers in all
    hidden: int = 500  # H, the same in the encoder and the decoder
    latent: int = 20  # J, the N_z of Fig. 2
    decoder: str = "bernoulli"  # or gaussian; bounded-gaussian: with means between 0 and 1, for pixels (Sec. 5)
    least_std: float = 0.0  # added to the variance of a Gaussian decoder, as its square

    def __post_init__(self) -> None:
        if self.decoder not in DECODERS:
            raise UserError(f"a vae has no decoder {self.decoder!r}. Choose one of: {', '.join(DECODERS)}.")

    @property
    def outputs(self) -> int:
        """D: as many numbers are given back."""
        return math.prod(self.shape)

    def fitted(self, spec: DataSpec) -> Config:
        """For pictures, and for tables, whose columns are numbers without bounds: their decoder is Gaussian."""
        if spec.kind == "images":
            return replace(self, shape=spec.shape)
        if spec.kind == "table":
            return replace(self, shape=spec.shape, decoder="gaussian", least_std=self.least_std or 0.1)
        raise UserError(f"a vae reads pictures and tables, and {spec.name} holds text: use `lstm`, `gpt` or another.")

    def departures(self) -> tuple[Departure, ...]:
        """What differs from the networks of the paper's figures."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, …) numbers from 0 to 1."""
        return (torch.rand(batch, *self.shape),)


# ------------------------------------------------------------------------------------------------- the contribution


def reparameterised(
    mean: Float[Tensor, "batch latent"], log_variance: Float[Tensor, "batch latent"], noise: Float[Tensor, "*draws"]
) -> Float[Tensor, "*draws"]:
    """z = μ + σ ⊙ ε (Eq. 10): as random as a draw from N(μ, σ²), and a smooth function of μ and σ."""
    return mean + (0.5 * log_variance).exp() * noise


class VariationalAutoencoder(nn.Module):
    """Encoder q(z|x) and decoder p(x|z). It is a `seminal.core.Generator`: z from the prior, decoded, is a new row."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.latent = config, config.latent
        numbers = math.prod(config.shape)
        self.encoder = GaussianMLP(numbers, config.hidden, config.latent)
        gaussian_decoder = config.decoder != "bernoulli"
        self.decoder = (GaussianMLP if gaussian_decoder else BernoulliMLP)(config.latent, config.hidden, numbers)
        fill(self, weights=normal(0.1), biases=normal(0.1))  # Sec. 5: N(0, 0.01), and N states a variance, as in Eq. 9

    def forward(self, x: Float[Tensor, "batch ..."], noise: Float[Tensor, "*draws"] | None = None) -> Explained:
        """One draw of z for each row, by the ``noise`` (…, B, J) given. Without it, training draws it here, and evaluation
        takes the mean."""
        mean, log_variance = self.encode(x)
        if noise is None:
            noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        z = reparameterised(mean, log_variance, noise)  # (…, B, J)
        return Explained(self.decode(z), z, mean, log_variance)

    def encode(self, x: Float[Tensor, "batch ..."]) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), both (B, J)."""
        mean, log_variance = self.encoder(x.flatten(1)).to(x.dtype).unbind(-2)
        return mean, log_variance

    def decode(self, z: Float[Tensor, "*draws latent"]) -> Float[Tensor, "*draws parameters numbers"]:
        """The parameters of p(x|z): logits, or means and log-variances."""
        parameters: Tensor = self.decoder(z).to(z.dtype)
        if self.config.decoder == "bernoulli":
            return parameters
        mean, log_variance = parameters.unbind(-2)
        if self.config.decoder == "bounded-gaussian":
            mean = mean.sigmoid()  # Sec. 5
        if self.config.least_std:
            floor = log_variance.new_tensor(2 * math.log(self.config.least_std))
            log_variance = torch.logaddexp(log_variance, floor)
        return torch.stack([mean, log_variance], dim=-2)

    def noise(self, rows: int, generator: torch.Generator | None = None) -> Float[Tensor, "rows latent"]:
        """z from the prior N(0, I), on the model's device; it is drawn where ``generator`` lives, if there is one."""
        device = next(self.parameters()).device
        z = torch.randn(rows, self.latent, generator=generator, device=generator.device if generator else device)
        return z.to(device)

    def generate(self, noise: Float[Tensor, "rows latent"], labels: Tensor | None = None) -> Float[Tensor, "rows ..."]:
        """The mean of p(x|z): pictures in [0, 1], or rows of standardised columns. A vae takes no labels."""
        mean = self.decode(noise)[:, 0]
        mean = mean.sigmoid() if self.config.decoder == "bernoulli" else mean
        return mean.view(-1, *self.config.shape)


class GaussianMLP(nn.Module):
    """Mean and log-variance from one hidden layer (Eq. 12): the encoder, and the decoder of continuous data."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)  # W_3, b_3
        self.mean = nn.Linear(hidden, outputs)  # W_4, b_4
        self.log_variance = nn.Linear(hidden, outputs)  # W_5, b_5

    def forward(self, x: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows 2 outputs"]:
        h = torch.tanh(self.hidden(x))
        return torch.stack([self.mean(h), self.log_variance(h)], dim=-2)


class BernoulliMLP(nn.Module):
    """The log-odds of each output (Eq. 11): the sigmoid is left to the loss."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)  # W_1, b_1
        self.logit = nn.Linear(hidden, outputs)  # W_2, b_2

    def forward(self, x: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows 1 outputs"]:
        logits: Tensor = self.logit(torch.tanh(self.hidden(x)))
        return logits[..., None, :]


# ------------------------------------------------------------------------------------------------- variants and facts

MNIST = Config()
FREY = Config(shape=(1, 28, 20), hidden=200, decoder="bounded-gaussian")

VARIANTS = {
    "vae": MNIST,  # Fig. 2, as those with 3, 5, 10 and 200
    "vae-2": replace(MNIST, latent=2),  # Fig. 4
    "vae-3": replace(MNIST, latent=3),
    "vae-5": replace(MNIST, latent=5),
    "vae-10": replace(MNIST, latent=10),
    "vae-200": replace(MNIST, latent=200),
    "vae-100-3": replace(MNIST, hidden=100, latent=3),  # Fig. 3
    "vae-frey-2": replace(FREY, latent=2),  # Fig. 2
    "vae-frey-5": replace(FREY, latent=5),
    "vae-frey-10": replace(FREY, latent=10),
    "vae-frey": FREY,
}


def _departures(config: Config) -> list[Departure]:
    printed = FREY if config.decoder == "bounded-gaussian" else MNIST
    found = []
    if config.shape != printed.shape:
        ours, theirs = ("×".join(map(str, shape)) for shape in (config.shape, printed.shape))
        found.append(Departure(f"rows of {ours} numbers (paper: {theirs})", "as the data have it", "Sec. 5"))
    if (config.hidden, config.latent) not in {(row.hidden, row.latent) for row in VARIANTS.values()}:
        what = f"{config.hidden} hidden units and {config.latent} latent variables: no network of the paper"
        found.append(Departure(what, "chosen by you", "Sec. 5"))
    if config.decoder == "gaussian":
        what = "means of the decoder without bounds (paper: between 0 and 1)"
        found.append(Departure(what, "these data are not pixels", "Sec. 5"))
    if config.least_std:
        what = f"the decoder's standard deviation is at least {config.least_std:g} (paper: above 0)"
        why = "a column of few values would else be predicted ever more sharply, and the bound would have no limit"
        found.append(Departure(what, why, "App. C.2"))
    return found


def _widths(config: Config) -> list[int]:
    """D, H, J, H, D of the built network."""
    layers = [layer for layer in on_meta(build, config).modules() if isinstance(layer, nn.Linear)]
    hidden, mean, _, decoder_hidden, output, *_ = layers
    sizes = (layer.out_features for layer in (hidden, mean, decoder_hidden, output))
    return [hidden.in_features, *sizes]


def _sized(says: str, where: str, expect: tuple[int, ...], variant: str) -> Fact:
    return Fact(says, where, expect, measure=lambda: _widths(VARIANTS[variant]), variant=variant)


def _units(config: Config) -> list[int]:
    """Activities per row in the encoder's and the decoder's hidden layers, and in the latent layer."""
    found = stages(build, config)
    return [found[name][-1] for name in ("encoder.hidden", "encoder.mean", "decoder.hidden")]


def _largest_mean() -> bool:
    """Whether a decoder for faces keeps its means between 0 and 1, whatever z."""
    model = build(VARIANTS["vae-frey-2"]).cpu()
    means = model.decode(1000 * torch.randn(1000, 2, device="cpu"))[:, 0]
    return bool(means.min() >= 0 and means.max() <= 1)


def _start() -> float:
    """Variance of all first parameters."""
    model = build(MNIST)
    return float(torch.cat([p.detach().flatten() for p in model.parameters()]).var())


def _draws(difference: int) -> float:
    """How far the mean of log q(z|x) − log p(z) over a million reparameterised draws is from Appendix B's closed form, in
    standard errors of that mean."""
    generator = torch.Generator("cpu").manual_seed(difference)
    mean, log_variance = torch.randn(2, 1, 3, generator=generator, dtype=torch.float64, device="cpu")
    noise = torch.randn(1_000_000, 1, 3, generator=generator, dtype=torch.float64, device="cpu")
    z, zero = reparameterised(mean, log_variance, noise), torch.zeros_like(mean)
    drawn = gaussian(z, mean, log_variance) - gaussian(z, zero, zero)
    return float((drawn.mean() - kl_diagonal(mean, log_variance)[0]).abs() / drawn.std() * 1_000)


def build(config: Config) -> VariationalAutoencoder:
    """The network of ``config``."""
    return VariationalAutoencoder(config)


PAPER = Paper(
    title="Auto-Encoding Variational Bayes",
    authors="Diederik P. Kingma, Max Welling",
    year=2013,
    venue="ICLR 2014",
    url="https://arxiv.org/abs/1312.6114",
    idea="Draw latent variables as mean + spread · noise: a bound on log p(x) can then be climbed by back-propagation.",
    build=build,
    variants=VARIANTS,
    facts=(
        *(
            _sized(
                f"MNIST: 500 hidden units in the encoder and the decoder, {latent} latent variables",
                "Sec. 5; Fig. 4" if latent == 2 else "Sec. 5; Fig. 2",
                (784, 500, latent, 500, 784),
                "vae" if latent == 20 else f"vae-{latent}",
            )
            for latent in (2, 3, 5, 10, 20, 200)
        ),
        _sized(
            "marginal likelihood: 100 hidden units and 3 latent variables",
            "Sec. 5; Fig. 3",
            (784, 100, 3, 100, 784),
            "vae-100-3",
        ),
        *(
            _sized(
                f"Frey faces of 28 × 20 pixels: 200 hidden units, {latent} latent variables",
                "Sec. 5; Fig. 2",
                (560, 200, latent, 200, 560),
                "vae-frey" if latent == 20 else f"vae-frey-{latent}",
            )
            for latent in (2, 5, 10, 20)
        ),
        Fact(
            says="one row gives 500 hidden activities, 20 means and again 500 hidden activities",
            where="Sec. 5 and App. C",
            expect=(500, 20, 500),
            measure=lambda: _units(MNIST),
            variant="vae",
        ),
        Fact(
            says="the means of a decoder for faces lie between 0 and 1",
            where="Sec. 5",
            expect=True,
            measure=_largest_mean,
            variant="vae-frey-2",
        ),
        Fact(
            says="all parameters start as draws from N(0, 0.01)",
            where="Sec. 5",
            expect=0.01,
            within=0.00005,
            measure=_start,
            variant="vae",
        ),
        Fact(
            says="the closed form of the divergence is what the mean over a million draws of z gives",
            where="App. B",
            expect=0.0,
            within=4.0,  # standard errors of the mean
            measure=lambda: max(_draws(i) for i in range(3)),
            variant="vae",
        ),
    ),
)
