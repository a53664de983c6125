"""Recurrent language models that dropout does not rob of their memory.

Wojciech Zaremba, Ilya Sutskever, Oriol Vinyals, "Recurrent Neural Network Regularization", 2014, arXiv:1409.2329.

The idea: dropout hurts recurrent networks when it falls on what is carried from word to word, because what is to be
remembered for long is then damaged at every step. So it falls only on what goes up: from the embedding to the first
layer, between layers, and from the last layer to the softmax. Information meets it L + 1 times, however long it was
kept, and networks with fourteen times the parameters still gain from their size.

    i, f, o = sigm(T(D(h^{l−1}_t), h^l_{t−1})),  g = tanh(T(D(h^{l−1}_t), h^l_{t−1}))                          (Sec. 3.2)
    c^l_t = f ⊙ c^l_{t−1} + i ⊙ g
    h^l_t = o ⊙ tanh(c^l_t)
    p(next word) = softmax(W D(h^L_t) + b)

T is an affine map of its own for each gate and layer, D the dropout. The equations carry no numbers in the paper. The
state after a batch is where the next batch begins, so that the network reads one long text, while errors are carried
back over one window only.

Shapes: B rows, T tokens, n units (also the width of the embedding), L layers, k = 2 L, V vocabulary; R hypotheses when
writing. A state is one tensor (B, k, n): h of every layer, then c of every layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from seminal.core import DataSpec, Departure, Fact, Memory, Paper, Result, UserError
from seminal.pieces.dropout import Dropout
from seminal.pieces.init import uniform
from seminal.pieces.measure import count, work
from seminal.pieces.tokens import PAD


@dataclass(frozen=True)
class Config:
    """A row of Table 1 that was trained by the authors."""

    vocabulary: int = 10_000  # V (Sec. 4.1)
    units: int = 200  # n
    layers: int = 2  # L
    dropout: float = 0.0  # share that D sets to 0
    start: float = 0.1  # first values are uniform between −start and start
    unroll: int = 20  # T: tokens through which errors are carried back
    tied: bool = False  # the softmax has the embedding's matrix (Press and Wolf 2017); never in the paper

    def fitted(self, spec: DataSpec) -> Config:
        """For plain text."""
        if spec.kind != "stream":
            raise UserError(
                f"a language model learns from plain text, and {spec.name} is {spec.form}. Use `seq2seq` or "
                "`transformer` for sentence pairs, or `transformer-encoder` for labelled text."
            )
        return replace(self, vocabulary=spec.vocabulary["text"])

    def departures(self) -> tuple[Departure, ...]:
        """Sizes the authors did not train, another vocabulary, a shared matrix."""
        found = []
        printed = {replace(row, vocabulary=0, unroll=0) for row in VARIANTS.values()}
        if replace(self, vocabulary=0, unroll=0, tied=False) not in printed:
            what = (
                f"{self.layers} layers of {self.units} units, dropout {self.dropout:g}, first values up to {self.start:g} "
                "(paper: 2 of 200, 0, 0.1; 2 of 650, 0.5, 0.05; 2 of 1500, 0.65, 0.04)"
            )
            found.append(Departure(what, "the paper's sizes are for its 929,000 words", "Sec. 4.1"))
        if self.vocabulary != 10_000:
            found.append(Departure(f"{self.vocabulary:,} tokens (paper: 10,000)", "as the data have it", "Sec. 4.1"))
        if self.tied:
            what = "one matrix for embedding and softmax (paper: two)"
            found.append(Departure(what, "half of the numbers to learn, and a lower perplexity", "Sec. 3"))
        return tuple(found)

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, unroll) tokens."""
        return (torch.randint(PAD + 1, self.vocabulary, (batch, self.unroll)),)


# ------------------------------------------------------------------------------------------------- the contribution


def by_the_equations(
    lstm: nn.LSTM, below: Float[Tensor, "B T n"], state: Float[Tensor, "B k n"]
) -> tuple[Float[Tensor, "B T n"], Float[Tensor, "B k n"]]:
    """Sec. 3.2 as it is written, word after word: what ``lstm`` computes, for reading and for tests.

    D falls on ``below``, what a layer takes from the one beneath it; never on h or c, which go from word to word.
    """
    hidden, cells = (list(part) for part in apart(state))  # of each layer (B, n)
    below = below.transpose(0, 1)
    for layer in range(lstm.num_layers):
        w_below, w_before, bias, _ = lstm.all_weights[layer]
        if layer > 0:  # D of the first layer's input is the network's: the embedding is below it
            below = F.dropout(below, lstm.dropout, lstm.training)
        h, c, said = hidden[layer], cells[layer], []
        for x in below:
            i, f, g, o = (x @ w_below.T + h @ w_before.T + bias).chunk(4, dim=-1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            said.append(h)
        hidden[layer], cells[layer], below = h, c, torch.stack(said)
    return below.transpose(0, 1), together(torch.stack(hidden), torch.stack(cells))


def deep_lstm(units: int, layers: int, dropout: float) -> nn.LSTM:
    """The same by torch's kernels, which drop between layers and nowhere else.

    torch adds two biases where the equations have one. The second stays 0 and is not learned: it is no parameter, and
    no file of weights holds it.
    """
    lstm = nn.LSTM(units, units, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
    for layer in range(layers):
        name = f"bias_hh_l{layer}"
        zeros = torch.zeros_like(lstm.get_parameter(name), requires_grad=False)
        delattr(lstm, name)
        lstm.register_buffer(name, None, persistent=False)
        setattr(lstm, name, zeros)  # not by register_buffer: only so torch's list of weights learns of it
    return lstm


def apart(state: Float[Tensor, "B k n"]) -> tuple[Float[Tensor, "L B n"], Float[Tensor, "L B n"]]:
    """h and c of a state, layers first, as torch wants them."""
    h, c = state.transpose(0, 1).chunk(2)
    return h.contiguous(), c.contiguous()


def together(h: Float[Tensor, "L B n"], c: Float[Tensor, "L B n"]) -> Float[Tensor, "B k n"]:
    """The state of h and c, rows first, as a search and a data set want it."""
    return torch.cat([h, c]).transpose(0, 1).contiguous()


def start(model: nn.Module, limit: float) -> None:
    """Sec. 4.1: all parameters uniform between ``-limit`` and ``limit``, biases too."""
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.is_meta:
                uniform(limit)(parameter)


# ------------------------------------------------------------------------------------------------- the whole model


class LanguageModel(nn.Module):
    """Fig. 2. Dashed arrows, those with dropout, are the two calls of ``dropout`` and the steps between layers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.units)
        self.dropout = Dropout(config.dropout)
        self.lstm = deep_lstm(config.units, config.layers, config.dropout)
        # A shared matrix has one name: files of weights refuse one with two.
        self.weight = None if config.tied else nn.Parameter(torch.empty(config.vocabulary, config.units))
        self.bias = nn.Parameter(torch.empty(config.vocabulary))
        start(self, config.start)

    def forward(
        self, text: Int[Tensor, "B T"], state: Float[Tensor, "B k n"] | None = None
    ) -> tuple[Float[Tensor, "B T V"], Float[Tensor, "B k n"]]:
        """Logits of the token after each of ``text``, and the state to go on from; without ``state`` it begins at 0."""
        said, state = self.read(text, state)
        return self.softmax(said), state

    def read(
        self, text: Int[Tensor, "B T"], state: Float[Tensor, "B k n"] | None = None
    ) -> tuple[Float[Tensor, "B T n"], Float[Tensor, "B k n"]]:
        """D(h^L) at each token, and the state after the last one."""
        x = self.dropout(self.embedding(text))  # (B, T, n)
        said, (h, c) = self.lstm(x, None if state is None else apart(state.to(x.dtype)))
        return self.dropout(said), together(h, c)

    def softmax(self, said: Float[Tensor, "... n"]) -> Float[Tensor, "... V"]:
        """W D(h^L) + b: the logits."""
        return F.linear(said, self.embedding.weight if self.weight is None else self.weight, self.bias)

    def begin(self, source: Tensor | None, rows: int, attention: bool = False) -> Memory:
        """See `seminal.core.Writer`: there is no source, hence nowhere to look."""
        assert source is None
        weight = self.embedding.weight
        return Memory({}, {"state": weight.new_zeros(rows, 2 * self.config.layers, self.config.units)})

    def step(self, tokens: Int[Tensor, "R n"], memory: Memory) -> tuple[Tensor, Memory]:
        """See `seminal.core.Writer`."""
        said, state = self.read(tokens, memory.moving["state"])
        moving = {**memory.moving, "state": state}
        return self.softmax(said[:, -1]), replace(memory, moving=moving, length=memory.length + tokens.shape[1])


# ------------------------------------------------------------------------------------------- the paper's own tables

VARIANTS = {
    "zaremba-small": Config(),  # "non-regularized LSTM"
    "zaremba-medium": Config(units=650, dropout=0.5, start=0.05, unroll=35),
    "zaremba-large": Config(units=1500, dropout=0.65, start=0.04, unroll=35),
}

# The paper prints no sizes; these follow from its equations by hand, with L = 2 and V = 10,000:
# two matrices V × n, V biases, and in each layer 4 gates of n × 2n weights and n biases.
PARAMETERS = {"small": 4_651_600, "medium": 19_775_200, "large": 66_022_000}
# 8 n² in each layer and n V in the softmax for a word, times the words of a window.
MULTIPLY_ADDS = {"small": 20 * 2_640_000, "medium": 35 * 13_260_000, "large": 35 * 51_000_000}
TABLE_1 = {"small": (120.7, 114.5), "medium": (86.2, 82.7), "large": (82.2, 78.4)}
SETTINGS = {"small": (200, 2, 0.1), "medium": (650, 2, 0.05), "large": (1500, 2, 0.04)}
DROPPED = {"medium": 0.5, "large": 0.65}


class _Drops(TorchDispatchMode):
    """Counts how often torch draws which units to drop."""

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        self.found += "bernoulli" in name or "dropout" in name
        return func(*args, **(kwargs or {}))


def _drops(layers: int, steps: int) -> int:
    """Tensors that dropout falls on while ``steps`` words are read, each of them a whole window of one layer."""
    config = Config(vocabulary=8, units=4, layers=layers, dropout=0.5)
    with torch.device("meta"), _Drops() as drops:
        LanguageModel(config).train()(torch.zeros(1, steps, dtype=torch.int64))
    return drops.found


def _dropped(config: Config) -> tuple[float, float]:
    """Shares of zeros: in what comes up from the embedding, and in what is carried on to the next window."""
    model = LanguageModel(replace(config, vocabulary=8)).train()
    text = torch.full((40, 10), PAD + 1)
    with torch.no_grad():
        up, (_, state) = model.dropout(model.embedding(text)), model.read(text)
    return tuple(float((part == 0).float().mean()) for part in (up, state))  # type: ignore[return-value]


def _settings(config: Config) -> tuple[int, int, float]:
    """Units, layers, and the size of the largest first value."""
    model = LanguageModel(replace(config, vocabulary=8))
    return model.lstm.hidden_size, model.lstm.num_layers, max(float(p.detach().abs().max()) for p in model.parameters())


def _facts(row: str) -> list[Fact]:
    name = f"zaremba-{row}"
    config = VARIANTS[name]

    def fact(says: str, where: str, expect: Any, measure: Callable[[], Any], within: float = 0.0) -> Fact:
        return Fact(says, where, expect, measure, within, variant=name)

    where = "Secs. 3.1 and 4.1 (equations and sizes; the number itself is not printed)"
    facts = [
        fact("parameters", where, PARAMETERS[row], lambda: count(LanguageModel, config)),
        fact("multiply-adds of a window", where, MULTIPLY_ADDS[row], lambda: work(LanguageModel, config)),
        fact("units, layers, first values up to", "Sec. 4.1", SETTINGS[row], lambda: _settings(config), 0.005),
    ]
    if row in DROPPED:
        says = "share dropped on the way up, and on the way to the next word"
        facts.append(fact(says, "Sec. 4.1", (DROPPED[row], 0.0), lambda: _dropped(config), 0.005))
    return facts


PAPER = Paper(
    title="Recurrent Neural Network Regularization",
    authors="Zaremba, Sutskever, Vinyals",
    year=2014,
    venue="arXiv 2014",
    url="https://arxiv.org/abs/1409.2329",
    idea="Dropout in a recurrent network falls on what goes up, never on what is carried from word to word.",
    build=LanguageModel,
    variants=VARIANTS,
    facts=(
        *(fact for row in PARAMETERS for fact in _facts(row)),
        Fact(
            "times information meets dropout, L + 1: 1, 2 and 4 layers, over 1, 7 and 35 words",
            "Sec. 3.2 and Fig. 3",
            (2, 2, 2, 3, 3, 3, 5, 5, 5),
            lambda: tuple(_drops(layers, steps) for layers in (1, 2, 4) for steps in (1, 7, 35)),
        ),
    ),
    results=tuple(
        Result(f"zaremba-{row}", f"Penn Treebank {split}", "perplexity", value, "Table 1")
        for row, both in TABLE_1.items()
        for split, value in zip(("val", "test"), both)
    ),
)
