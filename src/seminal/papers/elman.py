"""The simple recurrent network: a copy of the hidden units is read with the next input.

Jeffrey L. Elman, "Finding Structure in Time", Cognitive Science 14(2), 1990, pp. 179–211.

The idea: time need not be laid out in space, as a row of inputs with a fixed length. The hidden units are copied, one for
one, to context units, and the context is read together with the next input: what the network knows is a state, and time
is what it does to that state. Asked only for the next element of a sequence, such a network finds its structure: where
words begin, which words are nouns.

    S_t = f(U X_t + W S_{t−1} + b)        hidden units; S_{t−1} is in the context units              (Fig. 2)
    O_t = g(V S_t + c)                    output units                                               (Fig. 2)
    f(x) = g(x) = 1 / (1 + e^{−x})        S_0 = ½: units lie between 0 and 1, so this is the middle

With rows as vectors and 3 inputs, 4 hidden and 2 output units the shapes are: X 3, U 3 × 4, S 4, W 4 × 4, V 4 × 2, O 2.
The same U, W and V are used at every step, so a sequence of any length can be read. The network here returns the *total
input* of the output units: the loss that goes with the data applies g.

The paper's own networks read bits, a given code for each letter or word, and say the next one. `elman` reads text.

Shapes: B rows, S steps, I input units, H hidden (and context) units, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper
from seminal.pieces.measure import on_meta
from seminal.pieces.recurrent import Reader, classes_of, inputs_of, one_bias, stacked, weights_of


@dataclass(frozen=True)
class Config:
    """A network of the paper. With ``vocabulary`` 0 it reads vectors of ``inputs`` numbers."""

    vocabulary: int = 0
    inputs: int = 1  # I
    hidden: int = 2  # H
    outputs: int = 1  # C
    per_token: bool = True  # an output after every step
    units: str = "logistic"  # f; or tanh
    through_time: bool = False  # whether the error flows back through the copies
    dropout: float = 0.0  # share of the word vectors and of the states set to 0 in training

    def fitted(self, spec: DataSpec) -> Config:
        """For texts with a label, or with a label per token."""
        vocabulary, outputs, per_token = classes_of(spec, "elman")
        return replace(self, vocabulary=vocabulary, outputs=outputs, per_token=per_token)

    def departures(self) -> tuple[Departure, ...]:
        """None for the paper's own networks."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 25) tokens, or (batch, 25, inputs) numbers where there is no vocabulary."""
        return (inputs_of(batch, self.vocabulary, self.inputs),)


# ------------------------------------------------------------------------------------------------- the contribution


def states(
    x: Float[Tensor, "B S I"],
    weights: tuple[Tensor, Tensor, Tensor],
    first: Tensor,
    f: Callable[[Tensor], Tensor] = torch.sigmoid,
    through_time: bool = True,
) -> Float[Tensor, "B S H"]:
    """Fig. 2 as a loop over time: the hidden units after each step. ``weights`` are U (H, I), W (H, H) and b (H,), and
    ``first`` (H,) is in the context units at the beginning.

    In the paper a copy is an input like any other, so that no error flows back through it; ``through_time`` lets it flow,
    which is back-propagation through time (Rumelhart, Hinton, Williams 1986).
    """
    into, back, bias = weights
    context, found = first.expand(len(x), -1), []
    for now in x.unbind(1):
        context = f(now @ into.T + (context if through_time else context.detach()) @ back.T + bias)
        found.append(context)
    return torch.stack(found, dim=1)


class SimpleRecurrent(nn.Module):
    """One layer: `states` with weights of its own. Where units are tanh and the error flows through time, torch's fast form
    of the same loop."""

    def __init__(self, inputs: int, hidden: int, config: Config) -> None:
        super().__init__()
        self.logistic, self.through_time = config.units == "logistic", config.through_time
        # The paper states no first values. torch's: uniform within ±1 / √H.
        self.rnn = one_bias(nn.RNN(inputs, hidden, batch_first=True))

    def forward(self, x: Float[Tensor, "B S I"]) -> Float[Tensor, "B S H"]:
        if self.through_time and not self.logistic:
            found: Tensor = self.rnn(x)[0]
            return found
        f = torch.sigmoid if self.logistic else torch.tanh
        first = x.new_full((self.rnn.hidden_size,), 0.5 if self.logistic else 0.0)
        return states(x, weights_of(self.rnn), first, f, self.through_time)


def build(config: Config) -> nn.Module:
    """Fig. 2, with a vector for each token where there is a vocabulary."""
    body = stacked(
        lambda inputs, hidden: SimpleRecurrent(inputs, hidden, config),
        inputs=config.inputs,
        hidden=config.hidden,
        layers=1,
        dropout=config.dropout,
    )
    return Reader(config, body, config.hidden)


# ------------------------------------------------------------------------------------------------- variants and facts

VARIANTS = {
    "elman": Config(10_000, inputs=128, hidden=128, outputs=2, per_token=False, units="tanh", through_time=True),
    "elman-xor": Config(inputs=1, hidden=2, outputs=1),  # bits: every third is the exclusive-or of the two before it
    "elman-letters": Config(inputs=6, hidden=20, outputs=6),  # ba, dii, guuu in any order
    "elman-words": Config(inputs=5, hidden=20, outputs=5),  # letters of sentences written without spaces
    "elman-classes": Config(inputs=31, hidden=150, outputs=31),  # words of sentences, one unit for each
}


def _departures(config: Config) -> list[Departure]:
    found = []
    sizes = (config.inputs, config.hidden)
    if sizes not in {(row.inputs, row.hidden) for name, row in VARIANTS.items() if name != "elman"}:
        what = f"{config.inputs} inputs and {config.hidden} hidden units (paper: 1 and 2, 5 or 6 and 20, 31 and 150)"
        found.append(Departure(what, "text needs more than its small worlds did", "pp. 185–195"))
    if config.vocabulary:
        aim = "each token" if config.per_token else "the text, after its last token,"
        what = f"learned vectors for tokens, and a class for {aim} (paper: given codes, and the next one is said)"
        found.append(Departure(what, "this is how text with labels is read"))
    if config.units != "logistic":
        what = f"{config.units} units that begin at 0 (paper: logistic units that begin at ½)"
        why = "the same network with other weights, as tanh(x) = 2 / (1 + e^{−2x}) − 1, with a start that learns faster"
        found.append(Departure(what, why, "Fig. 2"))
    if config.through_time:
        what = "the error flows back through all steps (paper: the copies are inputs, so it stops at each)"
        found.append(Departure(what, "what happened long ago is then learned as well", "p. 183"))
    if config.dropout:
        what = f"dropout {config.dropout:g} of word vectors and states (paper: none)"
        found.append(Departure(what, "small data are fitted less closely (Srivastava et al. 2014)"))
    return found


def _units(name: str) -> list[int]:
    """Input, hidden, output and context units of the built network."""
    model = on_meta(build, VARIANTS[name])
    into, back = (model.get_parameter(f"body.layers.0.rnn.weight_{which}_l0") for which in ("ih", "hh"))
    return [into.shape[1], into.shape[0], model.get_parameter("head.weight").shape[0], back.shape[1]]


def _reach(name: str) -> int:
    """Over how many of 5 steps the error at the last one flows back to the inputs."""
    config = VARIANTS[name]
    x = torch.rand(1, 5, config.inputs, device="cpu", requires_grad=True)
    model = build(replace(config, vocabulary=0)).cpu()
    (gradient,) = torch.autograd.grad(model(x)[0, -1].sum(), x)
    return int((gradient[0].abs().sum(1) > 0).sum())


def _copied() -> float:
    """Largest difference between a sequence read at once and read in two halves, the second from a copy of the hidden
    units after the first."""
    torch.manual_seed(0)
    weights = weights_of(SimpleRecurrent(6, 20, VARIANTS["elman-letters"]).cpu().rnn)
    x, first = torch.rand(1, 8, 6, device="cpu"), torch.full((20,), 0.5, device="cpu")
    whole = states(x, weights, first)
    return float((states(x[:, 4:], weights, whole[0, 3]) - whole[:, 4:]).detach().abs().max())


# Sizes from two independent summaries of the paper that agree; the page of each experiment is in the fact.
PAPER = Paper(
    title="Finding Structure in Time",
    authors="Jeffrey L. Elman",
    year=1990,
    venue="Cognitive Science 14(2), 179–211",
    url="https://doi.org/10.1207/s15516709cog1402_1",
    idea="Copy the hidden units and read them with the next input: time is what a network does to its own state.",
    build=build,
    variants=VARIANTS,
    facts=(
        *(
            Fact(
                says=f"{what}: {' '.join(map(str, units))} input, hidden, output and context units",
                where=where,
                expect=units,
                measure=partial(_units, variant),
                variant=variant,
            )
            for variant, what, where, units in (
                ("elman-xor", "exclusive-or in a stream of bits", "Exclusive-Or", (1, 2, 1, 2)),
                ("elman-letters", "consonants and the vowels that follow", "Letter Sequences", (6, 20, 6, 20)),
                ("elman-words", "where words begin", "Discovering the Notion “Word”", (5, 20, 5, 20)),
                ("elman-classes", "classes of words", "Lexical Classes from Word Order", (31, 150, 31, 150)),
            )
        ),
        Fact(
            says="hidden units are copied one for one, with weight 1, and the copy is all that the next step knows",
            where="Fig. 2",
            expect=0.0,
            within=1e-6,  # rounding of float32
            measure=_copied,
        ),
        Fact(
            says="the copies are inputs: the error at a step reaches the input of that step alone",
            where="Fig. 2: only dotted lines are trained",
            expect=1,
            measure=lambda: _reach("elman-letters"),
            variant="elman-letters",
        ),
        Fact(
            says="unrolled through time, as it is trained today, it reaches all 5 inputs of 5 steps",
            where="the departure of `elman`",
            expect=5,
            measure=lambda: _reach("elman"),
            variant="elman",
        ),
    ),
)
