"""The gated recurrent unit: a state that is partly kept and partly written anew.

Kyunghyun Cho, Bart van Merriënboer, Caglar Gulcehre, Dzmitry Bahdanau, Fethi Bougares, Holger Schwenk, Yoshua Bengio,
"Learning Phrase Representations using RNN Encoder–Decoder for Statistical Machine Translation", EMNLP 2014,
arXiv:1406.1078.

The idea: the long short-term memory remembers by a cell and three gates. Two gates and no cell do as well: the update gate
mixes the old state with a new one, and the reset gate decides how much of the old state the new one is made from. Some
units then learn to keep, others to follow what happens now. (The paper's other idea, an encoder whose last state is all
that a decoder knows of a sentence, is that of `seq2seq`.)

    r_t = σ(W_r x_t + U_r h_{t−1})                    reset gate                                     (Eq. 5)
    z_t = σ(W_z x_t + U_z h_{t−1})                    update gate                                    (Eq. 6)
    h_t = z_t ⊙ h_{t−1} + (1 − z_t) ⊙ h̃_t                                                            (Eq. 7)
    h̃_t = tanh(W x_t + U (r_t ⊙ h_{t−1}))             the candidate                                  (Eq. 8)

Fast kernels (cuDNN, and torch with them) reset after the product, h̃_t = tanh(W x_t + r_t ⊙ (U h_{t−1})): all products with
h_{t−1} are then one. The paper leaves biases out of its equations; there is one for each gate and the candidate here.

Shapes: B rows, S steps, I inputs, H units of the state, C outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, UserError
from seminal.papers import lstm
from seminal.papers.birnn import BothDirections
from seminal.pieces.measure import on_meta, parameters
from seminal.pieces.recurrent import Reader, classes_of, inputs_of, one_bias, stacked, weights_of

RESETS = ("before", "after")


@dataclass(frozen=True)
class Config:
    """With ``vocabulary`` 0 it reads vectors of ``inputs`` numbers."""

    vocabulary: int = 15_000  # Sec. 4.1
    inputs: int = 100  # I: the width of a word's vector (Sec. 4.1)
    hidden: int = 1000  # H (Sec. 4.1)
    outputs: int = 2  # C
    per_token: bool = False
    layers: int = 1
    dropout: float = 0.0  # share of the word vectors and of the states set to 0 in training
    reset: str = "before"  # the product with U (Eq. 8); or after it
    both: bool = False  # directions

    def __post_init__(self) -> None:
        if self.reset not in RESETS:
            raise UserError(f"a gated recurrent unit resets {' or '.join(RESETS)} the product, not {self.reset!r}.")

    def fitted(self, spec: DataSpec) -> Config:
        """For texts with a label, or with a label per token."""
        vocabulary, outputs, per_token = classes_of(spec, "bigru" if self.both else "gru")
        return replace(self, vocabulary=vocabulary, outputs=outputs, per_token=per_token)

    def departures(self) -> tuple[Departure, ...]:
        """What a reader of text is otherwise than the paper's encoder."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 25) tokens, or (batch, 25, inputs) numbers where there is no vocabulary."""
        return (inputs_of(batch, self.vocabulary, self.inputs),)


# ------------------------------------------------------------------------------------------------- the contribution


def mixed(h: Tensor, new: Tensor, z: Tensor) -> Tensor:
    """Eq. 7: the update gate keeps a share z of each unit's state and writes the rest anew."""
    return z * h + (1 - z) * new


def states(
    x: Float[Tensor, "B S I"], weights: tuple[Tensor, Tensor, Tensor], first: Tensor, reset: str = "before"
) -> Float[Tensor, "B S H"]:
    """Eqs. 5 to 8 as a loop over time. ``weights`` are W (3H, I), U (3H, H) and b (3H,), with torch's order of rows: reset
    gate, update gate, candidate; ``first`` is h_0 (H,)."""
    into, back, bias = weights
    h = first.expand(len(x), -1)
    found = []
    for now in (x @ into.T + bias).unbind(1):
        w_r, w_z, w = now.chunk(3, dim=1)
        u_r, u_z, u = back.chunk(3)
        r = torch.sigmoid(w_r + h @ u_r.T)
        z = torch.sigmoid(w_z + h @ u_z.T)
        old = (r * h) @ u.T if reset == "before" else r * (h @ u.T)
        h = mixed(h, torch.tanh(w + old), z)
        found.append(h)
    return torch.stack(found, dim=1)


class GatedRecurrent(nn.Module):
    """One layer: `states` with weights of its own. Where the reset comes after the product, torch's fast form."""

    def __init__(self, inputs: int, hidden: int, reset: str) -> None:
        super().__init__()
        self.reset = reset
        self.rnn = one_bias(nn.GRU(inputs, hidden, batch_first=True))
        self.first_values()

    @torch.no_grad()
    def first_values(self) -> None:
        """Sec. 4.1: normal with standard deviation 0.01; the matrices of the state orthogonal, each gate's on its own."""
        into, back, bias = weights_of(self.rnn)
        nn.init.normal_(into, std=0.01)
        for matrix in back.chunk(3):
            nn.init.orthogonal_(matrix)
        nn.init.zeros_(bias)

    def forward(self, x: Float[Tensor, "B S I"]) -> Float[Tensor, "B S H"]:
        if self.reset == "after":
            found: Tensor = self.rnn(x)[0]
            return found
        return states(x, weights_of(self.rnn), x.new_zeros(self.rnn.hidden_size), self.reset)


def build(config: Config) -> nn.Module:
    """The encoder of Fig. 1, and a linear map to classes."""

    def make(inputs: int, hidden: int) -> nn.Module:
        return GatedRecurrent(inputs, hidden, config.reset)

    sizes = config.inputs, config.hidden, config.layers, config.dropout
    reader = Reader(
        config,
        BothDirections(make, *sizes) if config.both else stacked(make, *sizes),
        config.hidden * (2 if config.both else 1),
    )
    for matrix in (reader.embedding, reader.head):
        if matrix is not None:
            nn.init.normal_(matrix.weight, std=0.01)
    nn.init.zeros_(reader.head.bias)
    return reader


# ------------------------------------------------------------------------------------------------- variants and facts

ENCODER = Config()
VARIANTS = {
    "gru": replace(ENCODER, inputs=128, hidden=128, reset="after"),
    "bigru": replace(ENCODER, inputs=128, hidden=128, reset="after", both=True),
    "gru-2014": ENCODER,
}


def _departures(config: Config) -> list[Departure]:
    aim = "each token" if config.per_token else "the last state"
    found = [
        Departure(
            f"the encoder alone, with a linear map of {aim} to {config.outputs} classes (paper: encoder and decoder)",
            "labels are no sequence to be written",
            "Fig. 1",
        )
    ]
    if (config.inputs, config.hidden) != (ENCODER.inputs, ENCODER.hidden):
        what = f"{config.inputs} inputs and {config.hidden} units (paper: 100 and 1,000)"
        found.append(Departure(what, "small data are overfitted by the paper's sizes", "Sec. 4.1"))
    if config.reset == "after":
        what = "the reset gate after the product, r ⊙ (U h) (paper: before it, U (r ⊙ h))"
        found.append(Departure(what, "all products with the state are then one; fast kernels have it so", "Eq. 8"))
    if config.both:
        found.append(
            Departure("both directions (paper: one)", "a word is read with what follows (Schuster and Paliwal 1997)")
        )
    if config.layers > 1:
        what = f"{config.layers} layers, each reading the one below (paper: one)"
        found.append(Departure(what, "a second layer sees what the first has made of the text", "Fig. 1"))
    if config.dropout:
        what = f"dropout {config.dropout:g} of word vectors and states (paper: none)"
        found.append(Departure(what, "small data are fitted less closely (Srivastava et al. 2014)"))
    return found


def _encoder() -> list[int]:
    """Words, the width of their vectors, and units of the state."""
    model = on_meta(build, ENCODER)
    return [*model.get_parameter("embedding.weight").shape, model.get_parameter("head.weight").shape[1]]


def _spread() -> float:
    """Standard deviation of the first word vectors."""
    return float(build(replace(ENCODER, hidden=8)).get_parameter("embedding.weight").detach().std())


def _crooked() -> float:
    """How far the first matrices of the state are from orthogonal: the largest entry of UᵀU − 1."""
    matrices = build(ENCODER).get_parameter("body.layers.0.rnn.weight_hh_l0").detach().chunk(3)
    return max(float((u.T @ u - torch.eye(len(u), device=u.device)).abs().max()) for u in matrices)


def _held(reset: int, update: int) -> tuple[Tensor, Tensor]:
    """The state after a step, and the one before it, with gates held at 0 or 1 by their biases."""
    hidden = 5
    generator = torch.Generator("cpu").manual_seed(0)
    into, back = torch.randn(2, 3 * hidden, hidden, generator=generator, device="cpu")
    bias = torch.tensor([2000 * reset - 1000, 2000 * update - 1000, 0.0], device="cpu").repeat_interleave(hidden)
    before, x = torch.randn(2, hidden, generator=generator, device="cpu")
    before.requires_grad_()
    return states(x[None, None], (into, back, bias), before)[0, 0], before


def _remembered() -> float:
    after, before = _held(reset=0, update=0)
    return float(torch.autograd.grad(after.sum(), before)[0].abs().max())


def _changed() -> float:
    after, before = _held(reset=1, update=1)
    return float((after - before).detach().abs().max())


def _per_lstm() -> float:
    """Weights of a layer per weight of a layer of LSTM cells of that size."""
    with torch.device("meta"):
        return parameters(GatedRecurrent(128, 128, "after")) / parameters(lstm.ForgettingCells(128, 128))


PAPER = Paper(
    title="Learning Phrase Representations using RNN Encoder–Decoder for Statistical Machine Translation",
    authors="Cho, van Merriënboer, Gulcehre, Bahdanau, Bougares, Schwenk, Bengio",
    year=2014,
    venue="EMNLP 2014",
    url="https://arxiv.org/abs/1406.1078",
    idea="Two gates and no cell: one mixes the old state with a new one, one says what the new one is made from.",
    build=build,
    variants=VARIANTS,
    facts=(
        Fact(
            says="15,000 words with vectors of 100 numbers, 1,000 hidden units",
            where="Sec. 4.1",
            expect=(15_000, 100, 1_000),
            measure=_encoder,
            variant="gru-2014",
        ),
        Fact(
            says="weights start with standard deviation 0.01",
            where="Sec. 4.1",
            expect=0.01,
            within=5e-3,
            measure=_spread,
            variant="gru-2014",
        ),
        Fact(
            says="matrices of the state start as left singular vectors: orthogonal",
            where="Sec. 4.1",
            expect=0.0,
            within=1e-4,  # rounding of float32 over 1,000 products
            measure=_crooked,
            variant="gru-2014",
        ),
        Fact(
            says="with both gates at 0 the state ignores what it was, and is made from the input alone",
            where="Sec. 2.3",
            expect=0.0,
            measure=_remembered,
        ),
        Fact(
            says="with an update gate of 1 the state is carried over as it is",
            where="Sec. 2.3",
            expect=0.0,
            measure=_changed,
        ),
        Fact(
            says="two gates and a candidate, where an LSTM has three gates and a candidate: ¾ of its weights",
            where="Sec. 2.3 and Fig. 2",
            expect=0.75,
            measure=_per_lstm,
            variant="gru",
        ),
    ),
)
