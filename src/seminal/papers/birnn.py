"""The bidirectional recurrent network: one reads from left to right, another from right to left.

Mike Schuster, Kuldip K. Paliwal, "Bidirectional Recurrent Neural Networks", IEEE Transactions on Signal Processing 45(11),
1997, pp. 2673–2681.

The idea: what a step means may depend on what follows. Delaying the output by some steps shows a recurrent network a fixed
piece of the future, and the right length must be found by trial. Instead its states are split in two: some are carried
forwards in time, the others backwards, the two never hear each other, and the output hears both. Each output then knows
the whole sequence.

    →S_t = f(X_t, →S_{t−1})               forward states, from t = 1 to T                            (Fig. 3)
    ←S_t = f(X_t, ←S_{t+1})               backward states, from t = T to 1
    O_t  = g(V →S_t + V′ ←S_t + c)

A text has one class here, read from →S_T and ←S_1: the states that have read all of it.

Any recurrent unit will do: `birnn` has the units of `elman`, `bilstm` the cells of `lstm` (Graves and Schmidhuber 2005).

Shapes: B rows, S steps, I inputs, H states of each direction, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, UserError
from seminal.papers import elman, lstm
from seminal.pieces.dropout import Dropout
from seminal.pieces.measure import on_meta
from seminal.pieces.recurrent import Reader, classes_of, inputs_of, last_states, turned

UNITS: dict[str, Callable[[int, int], nn.Module]] = {
    "simple": lambda inputs, hidden: elman.SimpleRecurrent(inputs, hidden, elman.VARIANTS["elman"]),
    "lstm": lstm.ForgettingCells,
}


@dataclass(frozen=True)
class Config:
    """With ``vocabulary`` 0 it reads vectors of ``inputs`` numbers."""

    vocabulary: int = 10_000
    inputs: int = 128  # I
    hidden: int = 128  # H, of each direction
    outputs: int = 2  # C
    per_token: bool = False
    layers: int = 1
    dropout: float = 0.0  # share of the word vectors and of the states set to 0 in training
    units: str = "simple"  # or lstm

    def __post_init__(self) -> None:
        if self.units not in UNITS:
            raise UserError(f"there are no recurrent units {self.units!r}. Choose one of: {', '.join(UNITS)}.")

    def fitted(self, spec: DataSpec) -> Config:
        """For texts with a label, or with a label per token."""
        vocabulary, outputs, per_token = classes_of(spec, "birnn" if self.units == "simple" else "bilstm")
        return replace(self, vocabulary=vocabulary, outputs=outputs, per_token=per_token)

    def departures(self) -> tuple[Departure, ...]:
        """What a reader of text is otherwise than the paper's networks for speech."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 25) tokens, or (batch, 25, inputs) numbers where there is no vocabulary."""
        return (inputs_of(batch, self.vocabulary, self.inputs),)


# ------------------------------------------------------------------------------------------------- the contribution


def states(
    x: Float[Tensor, "S I"], forwards: Callable[[Tensor, Tensor], Tensor], backwards: Callable[[Tensor, Tensor], Tensor]
) -> Float[Tensor, "S H2"]:
    """One row without filling, as a loop over time. ``forwards`` and ``backwards`` give a state (H,) from the input and the
    state beside it; both begin with 0."""
    steps = range(len(x))
    ahead: dict[int, Tensor] = {}
    behind: dict[int, Tensor] = {}
    for t in steps:
        ahead[t] = forwards(x[t], ahead.get(t - 1, x.new_zeros(())))
    for t in reversed(steps):
        behind[t] = backwards(x[t], behind.get(t + 1, x.new_zeros(())))
    return torch.stack([torch.cat([ahead[t], behind[t]]) for t in steps])


class BothDirections(nn.Module):
    """Layers of two halves each; ``make`` builds a half, (B, S, I) → (B, S, H), that reads from left to right.

    The other direction is the same reading of the turned rows. Each row is turned about its own length, so that the half
    which reads from the right begins at the last token, and no filling is read before it.
    """

    def __init__(self, make: Callable[[int, int], nn.Module], inputs: int, hidden: int, layers: int, dropout: float):
        super().__init__()
        widths = [inputs] + [2 * hidden] * (layers - 1)
        self.forwards = nn.ModuleList(make(width, hidden) for width in widths)
        self.backwards = nn.ModuleList(make(width, hidden) for width in widths)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "B S I"], ends: Int[Tensor, " B"]) -> tuple[Tensor, Tensor]:
        """The states (B, S, 2H) at each step, and those (B, 2H) that have read the whole row."""
        ahead = behind = x
        for i, (forwards, backwards) in enumerate(zip(self.forwards, self.backwards)):
            x = self.dropout(torch.cat([ahead, behind], dim=2)) if i else x
            ahead, behind = forwards(x), turned(backwards(turned(x, ends)), ends)
        return torch.cat([ahead, behind], dim=2), torch.cat([last_states(ahead, ends), behind[:, 0]], dim=1)


def build(config: Config) -> nn.Module:
    """Both directions, outputs that hear both, and a vector for each token where there is a vocabulary."""
    body = BothDirections(UNITS[config.units], config.inputs, config.hidden, config.layers, config.dropout)
    return Reader(config, body, 2 * config.hidden)


# ------------------------------------------------------------------------------------------------- variants and facts

VARIANTS = {"birnn": Config(), "bilstm": Config(units="lstm")}


def _departures(config: Config) -> list[Departure]:
    aim = "each token" if config.per_token else "the text, from the last state of each direction"
    what = (
        f"learned vectors for tokens, {config.hidden} states in each direction and a class for {aim} "
        "(paper: frames of speech)"
    )
    found = [Departure(what, "this is how text with labels is read", "Sec. III")]
    if config.units == "lstm":
        what = "cells with gates (paper: simple units)"
        found.append(Departure(what, "they keep what is far away (Graves and Schmidhuber 2005)", "Sec. II"))
    if config.layers > 1:
        what = f"{config.layers} layers, each reading both directions of the one below (paper: one)"
        found.append(Departure(what, "a second layer sees what the first has made of the text", "Fig. 3"))
    if config.dropout:
        what = f"dropout {config.dropout:g} of word vectors and states (paper: none)"
        found.append(Departure(what, "small data are fitted less closely (Srivastava et al. 2014)"))
    return found


def _heard(steps: int, middle: int) -> list[list[int]]:
    """Which of ``steps`` inputs each half of the state after step ``middle`` depends on: the first and the last."""
    config = replace(VARIANTS["birnn"], vocabulary=0, inputs=3, hidden=4)
    body = build(config).cpu().get_submodule("body")
    x = torch.randn(1, steps, 3, device="cpu", requires_grad=True)
    found = []
    for half in body(x, torch.tensor([steps], device="cpu"))[0][0, middle].split(4):
        (gradient,) = torch.autograd.grad(half.sum(), x, retain_graph=True)
        heard = gradient[0].abs().sum(1).nonzero()[:, 0]
        found.append([int(heard.min()), int(heard.max())])
    return found


def _halves() -> float:
    """Weights of both directions per weight of one."""
    body = on_meta(build, VARIANTS["birnn"]).get_submodule("body")
    one = on_meta(elman.build, elman.VARIANTS["elman"]).get_submodule("body")
    return sum(p.numel() for p in body.parameters()) / sum(p.numel() for p in one.parameters())


# The sizes of the paper's networks for speech could not be checked and are no facts here; its structure is.
PAPER = Paper(
    title="Bidirectional Recurrent Neural Networks",
    authors="Mike Schuster, Kuldip K. Paliwal",
    year=1997,
    venue="IEEE Transactions on Signal Processing 45(11), 2673–2681",
    url="https://doi.org/10.1109/78.650093",
    idea="Read from both ends: forward and backward states that never meet, and outputs that hear both.",
    build=build,
    variants=VARIANTS,
    facts=(
        Fact(
            says="of 9 inputs the forward states at step 4 hear 0 to 4, the backward states 4 to 8: together all of them",
            where="Fig. 3",
            expect=([0, 4], [4, 8]),
            measure=lambda: _heard(9, 4),
            variant="birnn",
        ),
        Fact(
            says="forward and backward states do not hear each other: without the backward ones a regular network remains, "
            "with half the weights",
            where="Sec. II-B",
            expect=2.0,
            measure=_halves,
            variant="birnn",
        ),
    ),
)
