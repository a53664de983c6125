"""Word vectors from neighbouring words: CBOW and skip-gram.

Tomas Mikolov, Kai Chen, Greg Corrado, Jeffrey Dean, "Efficient Estimation of Word Representations in Vector Space",
arXiv:1301.3781, January 2013; ICLR 2013 workshop.

The idea: a neural language model spends its time in a hidden layer that its word vectors can do without. Take it out, and
let a word's vector say the words around it (skip-gram), or let the mean of the vectors around say the word (CBOW): a model
so simple reads thousands of times more text. Vectors of related words then differ by like steps, so that
king − man + woman is near queen.

    v = 1/N Σ_i v_{w_i}                          the mean of the N words read; one word: its vector          (Sec. 3)
    p(w | read) = exp(v′_w · v) / Σ_u exp(v′_u · v)                                                          (Sec. 2)
    CBOW: read the N/2 words before and the N/2 after, say the word between        N D + D log₂ V products       (4)
    skip-gram: read the word, say those up to R places away, R from 1 to C     C (D + D log₂ V) products         (5)

What is read and what is said is in `seminal.tasks.neighbours`; R is drawn in `seminal.pieces.neighbours`.

Shapes: B rows, n words read, m words whose scores are asked for, G groups of rows that share S noise words, V words, D.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.pieces.measure import on_meta
from seminal.pieces.neighbours import distances
from seminal.pieces.tokens import PAD


@dataclass(frozen=True)
class Config:
    vocabulary: int = 82_000  # V
    width: int = 640  # D
    window: int = 4  # on each side; C of skip-gram
    reads: str = "around"  # "around": CBOW; "word": skip-gram

    def fitted(self, spec: DataSpec) -> Config:
        """For plain text."""
        vocabulary, window = words_of(spec)
        return replace(self, vocabulary=vocabulary, window=window)

    def departures(self) -> tuple[Departure, ...]:
        """The output, and sizes that are not the paper's."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, n) words."""
        return (torch.randint(PAD + 1, self.vocabulary, (batch, 2 * self.window if self.reads == "around" else 1)),)


def words_of(spec: DataSpec) -> tuple[int, int]:
    """Words of the vocabulary, and places that are looked at on each side. Raises `UserError` for what is no plain text."""
    if spec.kind != "stream":
        raise UserError(
            f"word vectors are learned from plain text, and {spec.name} is {spec.form}: give a .txt file, or a folder with "
            "train.txt and valid.txt."
        )
    return spec.vocabulary["text"], spec.longest["text"]


# ------------------------------------------------------------------------------------------------- the contribution


class WordVectors(nn.Module):
    """Two tables, and nothing between them: a vector of each word that is read, and one of each that is said."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)  # v, which are kept as the words' vectors
        self.contexts = nn.Embedding(vocabulary, width)  # v′
        # The paper states no first values. Those of the authors' program:
        nn.init.uniform_(self.words.weight, -0.5 / width, 0.5 / width)
        nn.init.zeros_(self.contexts.weight)

    def forward(
        self,
        read: Int[Tensor, "B n"],
        said: Int[Tensor, "B m"] | None = None,
        noise: Int[Tensor, "G S"] | None = None,
    ) -> Float[Tensor, "B scores"]:
        """Scores v′·v: of all words (B, V); or only of those ``said`` and, after them, of the ``noise`` of each row's group,
        (B, m + S). What is not asked for is not computed. Padding in ``read`` counts for nothing."""
        mean = self.projection(read)
        if said is None:
            return F.linear(mean, self.contexts.weight)
        scores = torch.bmm(self.contexts(said), mean[:, :, None])[:, :, 0]  # (B, m)
        if noise is None:
            return scores
        size = -(-len(mean) // len(noise))  # rows of a group; the last is filled up with zeros
        groups = F.pad(mean, (0, 0, 0, size * len(noise) - len(mean))).view(len(noise), size, -1)
        shared = torch.bmm(groups, self.contexts(noise).transpose(1, 2)).flatten(0, 1)[: len(mean)]  # (B, S)
        return torch.cat([scores, shared], dim=1)

    def projection(self, read: Int[Tensor, "B n"]) -> Float[Tensor, "B D"]:
        """The mean of the vectors of the words read, wherever they stand; zeros where there are none."""
        real = (read != PAD)[:, :, None]
        return (self.words(read) * real).sum(1) / real.sum(1).clamp(min=1)


# ------------------------------------------------------------------------------------------------- variants and facts

CBOW = Config()
SKIP_GRAM = Config(reads="word", window=10)
VARIANTS = {"cbow": CBOW, "skip-gram": SKIP_GRAM}  # Table 3


def build(config: Config) -> WordVectors:
    """The two tables of ``config``."""
    return WordVectors(config.vocabulary, config.width)


def other_sizes(vocabulary: int, width: int, window: int, printed: tuple[int, int, int]) -> list[Departure]:
    """What differs from the V, D and window of a paper."""
    found = []
    if vocabulary != printed[0]:
        found.append(Departure(f"{vocabulary:,} words (paper: {printed[0]:,})", "as the data have it"))
    if width != printed[1]:
        found.append(Departure(f"vectors of {width} numbers (paper: {printed[1]})", "a short text fills no more"))
    if window != printed[2]:
        what = f"words up to {window} places away (paper: {printed[2]})"
        found.append(Departure(what, "as the data were read; --max-length looks further or less far"))
    return found


def _departures(config: Config) -> list[Departure]:
    printed = CBOW if config.reads == "around" else SKIP_GRAM
    return [
        Departure(
            "a full softmax (paper: a hierarchical one along a Huffman tree)",
            "it is what the tree is for, exactly; for a large vocabulary `word2vec` is faster than both",
            "Sec. 2.1",
        ),
        *other_sizes(
            config.vocabulary, config.width, config.window, (printed.vocabulary, printed.width, printed.window)
        ),
    ]


def table_sizes(build_: Callable[[Any], nn.Module], config: Any) -> list[int]:
    """V and D of both tables of the built network."""
    return [size for table in on_meta(build_, config).parameters() for size in table.shape]


def _small() -> WordVectors:
    model = WordVectors(30, 8)
    nn.init.normal_(model.contexts.weight)
    return model.eval()


def _order_counts() -> bool:
    model, read = _small(), torch.tensor([[5, 6, 7, 8]])
    return not torch.allclose(model(read), model(read.flip(1)), atol=1e-6)


def _repeated() -> float:
    """How much the scores of a word read eight times differ from those of the word read once."""
    model = _small()
    return float((model(torch.full((1, 8), 9)) - model(torch.tensor([[9]]))).abs().max().detach())


def _drawn() -> tuple[int, int]:
    sizes = distances(torch.rand(10_000), 5)
    return int(sizes.min()), int(sizes.max())


PAPER = Paper(
    title="Efficient Estimation of Word Representations in Vector Space",
    authors="Mikolov, Chen, Corrado, Dean",
    year=2013,
    venue="ICLR workshop",
    url="https://arxiv.org/abs/1301.3781",
    idea="A word's vector says its neighbours, or the mean of their vectors says the word: no hidden layer is needed.",
    build=build,
    variants=VARIANTS,
    facts=(
        Fact(
            "CBOW reads four words before and four after",
            "Sec. 3.1",
            8,
            lambda: CBOW.example(1)[0].shape[1],
            variant="cbow",
        ),
        Fact("CBOW: the order of the words does not influence the projection", "Sec. 3.1", False, _order_counts),
        Fact("CBOW: the vectors are averaged, so eight times one word is the word", "Sec. 3.1", 0.0, _repeated, 1e-5),
        Fact("skip-gram: for C = 5 a number R is drawn from 1 to 5", "Sec. 3.2", (1, 5), _drawn, variant="skip-gram"),
        *(
            Fact(
                "82,000 words, vectors of 640 numbers, in two tables",
                "Sec. 4.3 and Table 3",
                (82_000, 640, 82_000, 640),
                lambda config=config: table_sizes(build, config),  # type: ignore[misc]
                variant=name,
            )
            for name, config in VARIANTS.items()
        ),
    ),
    results=tuple(
        Result(variant, f"{kind} analogies", "accuracy in %", value, "Table 3")
        for variant, values in (("cbow", (24.0, 64.0)), ("skip-gram", (55.0, 59.0)))
        for kind, value in zip(("semantic", "syntactic"), values)
    ),
)
