"""Long short-term memory: cells that keep what they know, and gates that open and close them.

Sepp Hochreiter, Jürgen Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997, pp. 1735–1780. The forget gate
is from Felix A. Gers, Jürgen Schmidhuber, Fred Cummins, "Learning to Forget: Continual Prediction with LSTM", Neural
Computation 12(10), 2000, pp. 2451–2471.

The idea: an error that flows back through a recurrent unit is multiplied by a slope and a weight at each step, so that it
vanishes or blows up. A cell whose state is only added to carries it unchanged, a constant error carousel. Gates, units
with values between 0 and 1, decide when something is written into the cell and when it is shown to the others.

    z   = g(W x_t + R y_{t−1} + b)         what could be written                                    (Sec. 4)
    z_i = σ(W_i x_t + R_i y_{t−1} + b_i)   input gate                                               (Sec. 4, A.1)
    z_o = σ(W_o x_t + R_o y_{t−1} + b_o)   output gate
    c_t = c_{t−1} + z_i · z                the carousel: ∂c_t / ∂c_{t−1} = 1
    h_t = z_o · h(c_t)                     what the others see
    g(x) = 4σ(x) − 2,  h(x) = 2σ(x) − 1                                                             (A.2, A.3)

    z_f = σ(W_f x_t + R_f h_{t−1} + b_f)   forget gate: c_t = z_f · c_{t−1} + z_i · z               (Gers et al. 2000)

In 1997 the cells and gates hear all cells and gates, y = (h, z_i, z_o); today's LSTM hears the cells alone, y = h, and has
g = h = tanh. Cells that share their gates are a block. The network here returns the *total input* of the output units.

`lstm` is what is called an LSTM today, with torch's fast form. `lstm-1997…` are the networks of the paper.

Shapes: B rows, S steps, I inputs, H cells, K blocks, C outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, UserError
from seminal.pieces.measure import count, on_meta
from seminal.pieces.recurrent import Reader, classes_of, inputs_of, one_bias, stacked, weights_of


@dataclass(frozen=True)
class Config:
    """A network of the paper, or today's. With ``vocabulary`` 0 it reads vectors of ``inputs`` numbers."""

    vocabulary: int = 0
    inputs: int = 7  # I
    hidden: int = 6  # H: cells of each layer
    outputs: int = 7  # C
    per_token: bool = False  # an output after every step, not only after the last
    layers: int = 1
    dropout: float = 0.0  # share of the word vectors and of the states set to 0 in training
    forget: bool = False  # today's LSTM: the forget gate, tanh, gates that hear cells alone
    block: int = 1  # cells that share their gates
    biases: str = "all"  # of the units; or "gates", and then only these have one
    closed_in: float = 0.0  # the input gate of block k starts with bias −k times this
    closed_out: float = 0.0  # … and its output gate with −k times this

    def __post_init__(self) -> None:
        if self.hidden % self.block or (self.forget and self.block > 1):
            raise UserError(
                f"{self.hidden} cells cannot stand in blocks of {self.block}. Cells are a multiple of the block, and with a "
                "forget gate each cell has gates of its own: write block=1."
            )

    def fitted(self, spec: DataSpec) -> Config:
        """For texts with a label, or with a label per token."""
        vocabulary, outputs, per_token = classes_of(spec, "lstm")
        return replace(self, vocabulary=vocabulary, outputs=outputs, per_token=per_token)

    def departures(self) -> tuple[Departure, ...]:
        """None for the paper's own networks."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 25) tokens, or (batch, 25, inputs) numbers where there is no vocabulary."""
        return (inputs_of(batch, self.vocabulary, self.inputs),)


# ------------------------------------------------------------------------------------------------- the contribution


def written(x: Tensor) -> Tensor:
    """g, between −2 and 2 (A.3)."""
    return 4 * torch.sigmoid(x) - 2


def shown(x: Tensor) -> Tensor:
    """h, between −1 and 1 (A.2)."""
    return 2 * torch.sigmoid(x) - 1


def carousel(state: Tensor, z_i: Tensor, z: Tensor) -> Tensor:
    """c_t from c_{t−1}: nothing is multiplied with it, so an error flows back through it unchanged."""
    return state + z_i * written(z)


class MemoryBlocks(nn.Module):
    """Sec. 4, as a loop over time: blocks of cells that share an input gate and an output gate. All cells and gates hear
    each other. Rows of the matrices: cells, block by block; input gates; output gates."""

    def __init__(self, inputs: int, hidden: int, config: Config) -> None:
        super().__init__()
        self.block, self.blocks = config.block, hidden // config.block
        units = hidden + 2 * self.blocks
        self.inside = nn.Linear(inputs, units, bias=False)
        self.between = nn.Linear(units, units, bias=False)
        self.bias = nn.Parameter(torch.zeros(2 * self.blocks if config.biases == "gates" else units))
        self.first_values(config)

    @torch.no_grad()
    def first_values(self, config: Config) -> None:
        """Sec. 5: small uniform weights; gates that are closed at first, each block a little more than the one before, so
        that the blocks are not all used for the same, and nothing drifts into the cells."""
        for parameter in self.parameters():
            parameter.uniform_(-_start(config), _start(config))
        step = -torch.arange(1.0, self.blocks + 1)
        gates = self.bias[-2 * self.blocks :]
        for place, closed in enumerate((config.closed_in, config.closed_out)):
            if closed:
                gates[place * self.blocks : (place + 1) * self.blocks] = closed * step

    def forward(self, x: Float[Tensor, "B S I"]) -> Float[Tensor, "B S H"]:
        bias = nn.functional.pad(self.bias, (self.between.in_features - len(self.bias), 0))  # cells come first
        gates = self.blocks
        cells = self.block * gates
        from_input = self.inside(x) + bias
        heard, state = from_input.new_zeros(len(x), cells + 2 * gates), from_input.new_zeros(len(x), cells)
        found = []
        for now in from_input.unbind(1):
            z, z_i, z_o = (now + self.between(heard)).split([cells, gates, gates], dim=1)
            z_i, z_o = torch.sigmoid(z_i), torch.sigmoid(z_o)
            state = carousel(state, z_i.repeat_interleave(self.block, 1), z)
            output = z_o.repeat_interleave(self.block, 1) * shown(state)
            heard = torch.cat([output, z_i, z_o], dim=1)
            found.append(output)
        return torch.stack(found, dim=1)


def states(x: Float[Tensor, "B S I"], weights: tuple[Tensor, Tensor, Tensor]) -> Float[Tensor, "B S H"]:
    """Today's LSTM as a loop over time. ``weights`` are W (4H, I), R (4H, H) and b (4H,), with torch's order of rows: input
    gate, forget gate, what is written, output gate."""
    into, back, bias = weights
    h = c = x.new_zeros(len(x), back.shape[1])
    found = []
    for now in x.unbind(1):
        z_i, z_f, z, z_o = (now @ into.T + h @ back.T + bias).chunk(4, dim=1)
        z_i, z_f, z_o = torch.sigmoid(z_i), torch.sigmoid(z_f), torch.sigmoid(z_o)
        c = z_f * c + z_i * torch.tanh(z)
        h = z_o * torch.tanh(c)
        found.append(h)
    return torch.stack(found, dim=1)


class ForgettingCells(nn.Module):
    """One layer of today's LSTM: `states` with weights of its own, in torch's fast form."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.rnn = one_bias(nn.LSTM(inputs, hidden, batch_first=True))
        # torch's start, uniform within ±1 / √H; but a forget gate begins open, as its authors let it (Gers et al. 2000).
        with torch.no_grad():
            weights_of(self.rnn)[2][hidden : 2 * hidden] = 1.0

    def forward(self, x: Float[Tensor, "B S I"]) -> Float[Tensor, "B S H"]:
        found: Tensor = self.rnn(x)[0]
        return found


# ------------------------------------------------------------------------------------------------- the whole network


def layer(inputs: int, hidden: int, config: Config) -> nn.Module:
    """(B, S, I) → (B, S, H)."""
    return ForgettingCells(inputs, hidden) if config.forget else MemoryBlocks(inputs, hidden, config)


def build(config: Config) -> nn.Module:
    """Cells, outputs that hear the cells alone (Sec. 5), and a vector for each token where there is a vocabulary."""
    body = stacked(
        lambda inputs, hidden: layer(inputs, hidden, config),
        inputs=config.inputs,
        hidden=config.hidden,
        layers=config.layers,
        dropout=config.dropout,
    )
    reader = Reader(config, body, config.hidden)
    if not config.forget:
        nn.init.uniform_(reader.head.weight, -_start(config), _start(config))
        nn.init.uniform_(reader.head.bias, -_start(config), _start(config))
        if config.biases == "gates":
            reader.head.register_parameter("bias", None)
    return reader


def _start(config: Config) -> float:
    """Weights start within ± this: 0.2 in experiment 1, whose gates alone have biases; 0.1 in experiments 4 to 6."""
    return 0.2 if config.biases == "gates" else 0.1


# ------------------------------------------------------------------------------------------------- variants and facts

REBER = Config(per_token=True, biases="gates", closed_out=1.0)  # Sec. 5.1: 7 symbols, one unit for each
TEXT = Config(vocabulary=10_000, inputs=128, hidden=128, outputs=2)
VARIANTS = {
    "lstm": replace(TEXT, forget=True),
    "lstm-1997": TEXT,
    "lstm-1997-reber": replace(REBER, block=2),  # 3 blocks of 2 cells
    "lstm-1997-reber4": replace(REBER, hidden=4),  # 4 blocks of 1 cell
    "lstm-1997-adding": Config(inputs=2, hidden=4, outputs=1, block=2, closed_in=3.0),  # Secs. 5.4 and 5.5
    "lstm-1997-order": Config(inputs=8, hidden=4, outputs=4, block=2, closed_in=2.0),  # Sec. 5.6, task 6a
    "lstm-1997-order3": Config(inputs=8, hidden=6, outputs=8, block=2, closed_in=2.0),  # task 6b
}


def _departures(config: Config) -> list[Departure]:
    found = []
    if config.forget:
        what = "a forget gate: c_t = z_f · c_{t−1} + z_i · z (paper: c_t = c_{t−1} + z_i · z)"
        why = "a state that can only be added to grows without end on long texts (Gers, Schmidhuber, Cummins 2000)"
        found.append(Departure(what, why, "Sec. 4"))
        what = "gates and cells hear the cells alone (paper: cells and gates)"
        found.append(Departure(what, "this is what everyone calls an LSTM, and what fast kernels compute", "Sec. 5"))
        what = "tanh for g and h (paper: 4σ(x) − 2 and 2σ(x) − 1)"
        found.append(Departure(what, "as above; 2σ(x) − 1 is tanh(x / 2)", "A.2, A.3"))
    sizes = (config.inputs, config.hidden, config.block)
    if sizes not in {(row.inputs, row.hidden, row.block) for name, row in VARIANTS.items() if row.inputs < TEXT.inputs}:
        what = f"{config.inputs} inputs and {config.hidden} cells (paper: a handful of cells)"
        found.append(Departure(what, "text needs more than its small problems did", "Sec. 5"))
    if config.vocabulary:
        aim = "each token" if config.per_token else "the text, after its last token"
        what = f"learned vectors for tokens, and a class for {aim} (paper: one unit for each symbol, or numbers)"
        found.append(Departure(what, "this is how text with labels is read", "Sec. 5"))
    if config.layers > 1:
        what = f"{config.layers} layers of cells, each reading the one below (paper: one)"
        found.append(Departure(what, "a second layer sees what the first has made of the text", "Sec. 5"))
    if config.dropout:
        what = f"dropout {config.dropout:g} of word vectors and states (paper: none)"
        found.append(Departure(what, "small data are fitted less closely (Srivastava et al. 2014)"))
    return found


def _carried(steps: int) -> float:
    """∂c_T / ∂c_0 over so many steps, whatever is written at each."""
    generator = torch.Generator("cpu").manual_seed(0)
    state = first = torch.zeros(1, requires_grad=True, device="cpu")
    for _ in range(steps):
        z, gate = torch.randn(2, 1, generator=generator, device="cpu")
        state = carousel(state, torch.sigmoid(gate), z)
    (slope,) = torch.autograd.grad(state.sum(), first)
    return float(slope)


def _steepest() -> float:
    x = torch.linspace(-5, 5, 1001, device="cpu", requires_grad=True)
    (slopes,) = torch.autograd.grad(torch.sigmoid(x).sum(), x)
    return float(slopes.max())


def _growth() -> float:
    """Weights between the units of 4 cells with gates of their own, per weight between 4 units without."""
    between = on_meta(build, VARIANTS["lstm-1997-reber4"]).get_parameter("body.layers.0.between.weight")
    return between.numel() / 4**2


def _closed() -> list[float]:
    """First biases of the output gates of 4 blocks."""
    bias = build(VARIANTS["lstm-1997-reber4"]).get_parameter("body.layers.0.bias")
    return [float(value) for value in bias[-4:].detach()]


def _ranges() -> list[float]:
    ends = torch.tensor([-50.0, 50.0], device="cpu")
    return [*written(ends).tolist(), *shown(ends).tolist()]


COUNTS = (  # network, weights, where, what
    ("lstm-1997-reber4", 264, "Table 1", "embedded Reber grammar, 4 blocks of size 1: weights"),
    ("lstm-1997-reber", 276, "Table 1", "embedded Reber grammar, 3 blocks of size 2: weights"),
    ("lstm-1997-adding", 93, "Tables 7 and 8", "adding and multiplying, 2 blocks of size 2: weights"),
    ("lstm-1997-order", 156, "Table 9", "temporal order of 2 symbols, 2 blocks of size 2: weights"),
    ("lstm-1997-order3", 308, "Table 9", "temporal order of 3 symbols, 3 blocks of size 2: weights"),
)

# The counts fit the paper's only if every cell and gate hears every input, cell and gate, and biases are where `Config` has
# them: in experiment 1 at the gates alone, in 4 to 6 at all units.
PAPER = Paper(
    title="Long Short-Term Memory",
    authors="Sepp Hochreiter, Jürgen Schmidhuber",
    year=1997,
    venue="Neural Computation 9(8), 1735–1780",
    url="https://doi.org/10.1162/neco.1997.9.8.1735",
    idea="A cell that is only added to keeps its error over a thousand steps; gates decide when to write and to show.",
    build=build,
    variants=VARIANTS,
    facts=(
        *(
            Fact(
                says=what,
                where=where,
                expect=weights,
                measure=partial(count, build, VARIANTS[variant]),
                variant=variant,
            )
            for variant, weights, where, what in COUNTS
        ),
        Fact(
            says="the error flows back through the carousel unchanged, over more than 1,000 steps",
            where="Sec. 3.2 and abstract",
            expect=1.0,
            measure=lambda: _carried(1000),
        ),
        Fact(
            says="the slope of a logistic unit is at most 0.25, so that errors vanish where weights are below 4.0",
            where="Sec. 3.1",
            expect=0.25,
            within=1e-6,  # rounding of float32
            measure=_steepest,
        ),
        Fact(
            says="g lies between −2 and 2, h between −1 and 1",
            where="A.2 and A.3",
            expect=(-2.0, 2.0, -1.0, 1.0),
            within=1e-6,  # rounding of float32
            measure=_ranges,
        ),
        Fact(
            says="output gates of the 4 blocks start with biases −1, −2, −3, −4",
            where="Sec. 5.1",
            expect=(-1.0, -2.0, -3.0, -4.0),
            measure=_closed,
            variant="lstm-1997-reber4",
        ),
        Fact(
            says="two gates for each cell: at most 9 times the weights of a recurrent net without them",
            where="Sec. 6",
            expect=9.0,
            measure=_growth,
            variant="lstm-1997-reber4",
        ),
    ),
)
