"""A bag of embeddings: the mean of the words' vectors, and a linear map. Known as fastText.

Armand Joulin, Edouard Grave, Piotr Bojanowski, Tomas Mikolov, "Bag of Tricks for Efficient Text Classification", EACL 2017,
arXiv:1607.01759 (2016).

The idea: before reading a text step by step, ask how far one comes without its order. The mean of the vectors of its words
goes through a linear map to classes. The vectors are learned with the map, so that words share what they have in common,
which a linear map of word counts cannot do. Pairs of neighbouring words, hashed into a table of fixed size, bring some of
the order back. It trains in seconds and is hard to beat.

    −1/N Σ_n y_n log f(B A x_n)           A: vectors of the features; B: the linear map; x_n: the text as a bag,
                                          each feature's share of its features; f: softmax        (Sec. 2)

Shapes: B rows, S tokens, V features of the vocabulary, h width of a vector, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.pieces.dropout import Dropout
from seminal.pieces.measure import count, stages
from seminal.pieces.recurrent import classes_of, inputs_of
from seminal.pieces.tokens import PAD

MIX = 2_654_435_761  # Knuth's multiplier, 2³² divided by the golden ratio: neighbours fall far from each other
BINS = 10_000_000


@dataclass(frozen=True)
class Config:
    vocabulary: int = 10_000  # V
    width: int = 10  # h
    outputs: int = 2  # C
    bins: int = 0  # places for pairs of words; 0: words alone
    dropout: float = 0.0  # share of the mean set to 0 in training
    per_token: bool = False  # a bag has no tokens

    def fitted(self, spec: DataSpec) -> Config:
        """For texts with a label."""
        vocabulary, outputs, per_token = classes_of(spec, "bag")
        if per_token:
            raise UserError(
                f"`bag` reads a text as a whole, without its order, and {spec.name} has a label for each token. Use `bilstm` "
                "or `lstm`."
            )
        # There are fewer different pairs than tokens: more places would stay empty, and cost their time at each step.
        bins = min(self.bins, 1 << max(4, spec.tokens["train"].bit_length() - 1))
        return replace(self, vocabulary=vocabulary, outputs=outputs, bins=bins)

    def departures(self) -> tuple[Departure, ...]:
        """None for the paper's sizes."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 25) tokens without padding."""
        return (inputs_of(batch, self.vocabulary, 0),)


# ------------------------------------------------------------------------------------------------- the contribution


def bins_of(text: Int[Tensor, "B S"], bins: int) -> Int[Tensor, "B S_1"]:
    """The place (1 to bins − 1) of each pair of neighbours in a table of ``bins``; PAD where one of them is filling. The
    order counts: "not good" is another pair than "good not"."""
    first, second = text[:, :-1], text[:, 1:]
    place = (first * MIX + second) % (bins - 1) + 1
    return place.masked_fill((first == PAD) | (second == PAD), PAD)


class BagOfEmbeddings(nn.Module):
    """Fig. 1."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.width)  # A
        self.pairs = nn.Embedding(config.bins, config.width) if config.bins else None  # more rows of A
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(config.width, config.outputs, bias=False)  # B
        # The paper states no first values. Those of the authors' program for A: uniform within ±1 / h.
        for table in self.parameters():
            nn.init.uniform_(table, -1 / config.width, 1 / config.width)

    def forward(self, text: Int[Tensor, "B S"]) -> Float[Tensor, "B C"]:
        """Logits. Padding counts for nothing."""
        real = text != PAD
        total, number = (self.embedding(text) * real[:, :, None]).sum(1), real.sum(1)
        if self.pairs is not None:
            place = bins_of(text, self.pairs.num_embeddings)
            real = place != PAD
            total, number = total + (self.pairs(place) * real[:, :, None]).sum(1), number + real.sum(1)
        mean = total / number.clamp(min=1)[:, None]  # A x: (B, h)
        logits: Tensor = self.head(self.dropout(mean))
        return logits


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return BagOfEmbeddings(config)


# ------------------------------------------------------------------------------------------------- variants and facts

VARIANTS = {"bag": Config(), "bag-bigram": Config(bins=BINS)}


def _departures(config: Config) -> list[Departure]:
    found = []
    if config.width != 10:
        what = f"vectors of {config.width} numbers (paper: 10 for sentiment)"
        found.append(Departure(what, "where texts are few and short, width costs nothing", "Sec. 3.1"))
    if config.bins not in (0, BINS):
        what = f"{config.bins:,} places for pairs of words (paper: 10 million)"
        found.append(Departure(what, "about one for each token there is: more would stay empty", "Sec. 2.2"))
    if config.dropout:
        what = f"dropout {config.dropout:g} of the mean (paper: none)"
        found.append(Departure(what, "small data are fitted less closely (Srivastava et al. 2014)"))
    return found


def _order_matters(variant: str) -> bool:
    """Whether the words of a text in another order give other logits."""
    torch.manual_seed(0)
    model = build(replace(VARIANTS[variant], vocabulary=50, bins=min(97, VARIANTS[variant].bins))).cpu()
    text = torch.arange(4, 12, device="cpu")[None]
    return not torch.allclose(model(text), model(text.flip(1)), atol=1e-6)


# Table 1: test accuracy in percent with h = 10, without and with pairs of words.
TABLE_1 = {
    "AG": (91.5, 92.5),
    "Sogou": (93.9, 96.8),
    "DBP": (98.1, 98.6),
    "Yelp P.": (93.8, 95.7),
    "Yelp F.": (60.4, 63.9),
    "Yah. A.": (72.0, 72.3),
    "Amz. F.": (55.8, 60.2),
    "Amz. P.": (91.2, 94.6),
}

PAPER = Paper(
    title="Bag of Tricks for Efficient Text Classification",
    authors="Armand Joulin, Edouard Grave, Piotr Bojanowski, Tomas Mikolov",
    year=2016,
    venue="EACL 2017",
    url="https://arxiv.org/abs/1607.01759",
    idea="The mean of the words' vectors and a linear map: trains in seconds, and is hard to beat.",
    build=build,
    variants=VARIANTS,
    facts=(
        Fact(
            says="10 hidden units",
            where="Sec. 3.1",
            expect=10,
            measure=lambda: stages(build, VARIANTS["bag"])["embedding"][1],
            variant="bag",
        ),
        Fact(
            says="no weights but A (V · h) and B (h · C)",
            where="Sec. 2",
            expect=10_000 * 10 + 10 * 2,
            measure=lambda: count(build, VARIANTS["bag"]),
            variant="bag",
        ),
        Fact(
            says="10 million places for pairs of words, each with a vector",
            where="Sec. 2.2",
            expect=10_000_000 * 10,
            measure=lambda: count(build, VARIANTS["bag-bigram"]) - count(build, VARIANTS["bag"]),
            variant="bag-bigram",
        ),
        Fact(
            says="a bag of words does not change with the order of the words",
            where="Sec. 2.2",
            expect=False,
            measure=lambda: _order_matters("bag"),
            variant="bag",
        ),
        Fact(
            says="pairs of words bring some of the order back",
            where="Sec. 2.2",
            expect=True,
            measure=lambda: _order_matters("bag-bigram"),
            variant="bag-bigram",
        ),
    ),
    results=tuple(
        Result(variant, f"{data} test", "accuracy %", scores[i], "Table 1")
        for data, scores in TABLE_1.items()
        for i, variant in enumerate(("bag", "bag-bigram"))
    ),
)
