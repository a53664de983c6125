"""ELMo: the states of two language models, one from each side, are vectors of words that know their sentence.

Matthew E. Peters, Mark Neumann, Mohit Iyyer, Matt Gardner, Christopher Clark, Kenton Lee, Luke Zettlemoyer, "Deep
contextualized word representations", NAACL 2018, arXiv:1802.05365.

The idea: a vector for each word of the vocabulary cannot tell the bank of a river from one that lends. Who says the next word
must know in which sense the last ones were meant, so the states of a language model are better vectors, each for a word in
its place. One model reads from the left, another from the right; a task keeps both as they are, and learns only how much
of each layer it wants.

    Σ_k log p(t_k | t_1 … t_{k−1}) + log p(t_k | t_{k+1} … t_N)                      what is learned first          (Sec. 3.1)
    x_k = W H(H(max over places of ReLU(filters over the letters of t_k)))          H: a highway layer             (Sec. 3.4)
    →h_{k,1} = LSTM(x)_k,  →h_{k,2} = LSTM(→h_1)_k + →h_{k,1};  ←h in the same way, from right to left             (Sec. 3.4)
    h_{k,0} = [x_k; x_k],  h_{k,j} = [→h_{k,j}; ←h_{k,j}]                            L + 1 vectors for each word    (Sec. 3.2)
    ELMo_k = γ Σ_j s_j h_{k,j},  s = softmax(w)                                                                          (1)

The two directions share the letters' network and the softmax over the vocabulary, and nothing else. A highway layer is
g ⊙ ReLU(W x + b) + (1 − g) ⊙ x with g = σ(W′ x + b′) (Srivastava et al. 2015); the LSTMs show the others a projection of
their state (Sak et al. 2014): h_t = P (o ⊙ tanh(c_t)). The authors' program also keeps c and h within ±3, which the paper
does not say and torch's LSTM cannot do.

Shapes: B rows, S words, K letters of a word, f filters, n cells, d width of a projection, L layers, V vocabulary, C outputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.papers.birnn import BothDirections
from seminal.papers.lstm import ForgettingCells
from seminal.pieces.dropout import Dropout
from seminal.pieces.measure import count, multiply_adds, on_meta
from seminal.pieces.packing import picked
from seminal.pieces.recurrent import has_numbers, one_bias, turned, weights_of
from seminal.pieces.tokens import BEGIN, END, PAD, SPECIAL

HEADS = {"documents": "words", "labelled": "class", "tagged": "tags"}
# The authors' program: letters are the bytes of UTF-8; five more signs stand around words, around sentences, and behind.
K = 50
STARTS, ENDS, OPENS, CLOSES, FILLING = range(256, 261)
LETTER = 16  # numbers for each letter
SHARES = {1: 64, 2: 64, 3: 32, 4: 16, 5: 8, 6: 4, 7: 2}  # letters that a filter sees: it is one of f over so many


@dataclass(frozen=True)
class Config:
    """Sec. 3.4. Without ``words`` it reads letters, of any words; `spelled` gives them."""

    vocabulary: int = 793_471  # V, of the One Billion Word Benchmark; it is to be said
    words: tuple[str, ...] = ()  # these V: the network reads their numbers, and knows their letters
    filters: int = 2048  # f
    highways: int = 2
    units: int = 4096  # n
    width: int = 512  # d
    layers: int = 2  # L
    dropout: float = 0.1  # of what a layer takes from below, and before the softmax (the authors' program)
    head: str = "words"  # "class" of a text, "tags" of its words
    outputs: int = 2  # C
    hidden: int = 256  # of a task's BiLSTM, in each direction; the authors' configuration for named entities: 200
    vectors_dropout: float = 0.5  # of the vectors that a task takes (Sec. 3.3: "a moderate amount")

    def __post_init__(self) -> None:
        if self.filters % 64 or self.units <= self.width:
            raise UserError(
                f"{self.filters} filters and {self.units} cells with projections to {self.width} cannot be: filters come in "
                "multiples of 64, and a projection is smaller than what it projects."
            )

    def fitted(self, spec: DataSpec) -> Config:
        """For plain text, from which it learns first, or for labels of texts or of words."""
        if spec.kind not in HEADS:
            raise UserError(
                f"ELMo reads plain text, and text with labels, and {spec.name} is {spec.form}. Use `bert` for questions and "
                "choices, or `transformer` for sentence pairs."
            )
        head = HEADS[spec.kind]
        outputs = self.outputs if head == "words" else spec.outputs
        return replace(self, vocabulary=spec.vocabulary["text"], words=spec.spelling, head=head, outputs=outputs)

    def departures(self) -> tuple[Departure, ...]:
        """Other sizes, and how text comes in."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 10) words as numbers, or (batch, 10, K) as letters."""
        if self.words:
            text = torch.randint(len(SPECIAL), self.vocabulary, (batch, 10))
            text[:, 0], text[:, -1] = BEGIN, END
            return (text,)
        text = spelled([""]).expand(batch, 10, K).long()
        text[:, :, 1:8] = torch.randint(97, 123, (batch, 10, 7))
        text[:, :, 8] = CLOSES
        return (text,)


def spelled(words: Sequence[str]) -> Int[Tensor, "V K"]:
    """The letters of each word between two signs; ``<s>`` and ``</s>`` have letters of their own, ``<pad>`` has none."""
    whole = {SPECIAL[PAD]: [], SPECIAL[BEGIN]: [OPENS, STARTS, CLOSES], SPECIAL[END]: [OPENS, ENDS, CLOSES]}
    rows = [whole.get(word, [OPENS, *word.encode()[: K - 2], CLOSES]) for word in words]
    return torch.tensor([row + [FILLING] * (K - len(row)) for row in rows], dtype=torch.int16)


# ------------------------------------------------------------------------------------------------- the contribution


def mixed(
    layers: Sequence[Float[Tensor, "*B e"]], weights: Float[Tensor, " M"], scale: Float[Tensor, " 1"]
) -> Float[Tensor, "*B e"]:
    """Eq. 1: γ Σ_j s_j h_j, with s = softmax(w)."""
    return scale * sum(share * layer for share, layer in zip(weights.softmax(0), layers, strict=True))


class Direction(nn.Module):
    """The LSTMs that read from left to right; turned rows make the other direction."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(projected(config.width, config.units) for _ in range(config.layers))
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "B S d"]) -> list[Float[Tensor, "B S d"]]:
        """h_1 … h_L: what a layer says is added to what it has read, from the second on."""
        found: list[Tensor] = []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LSTM with projections")  # torch tells, on a CPU, which kernel it takes
            for layer in self.layers:
                below = self.dropout(found[-1] if found else x)
                said = layer(below)[0]
                found.append(said + below if found else said)
        return found


def projected(width: int, units: int) -> nn.LSTM:
    """``units`` cells that show each other, and the layer above, a projection to ``width`` numbers."""
    lstm = one_bias(nn.LSTM(width, units, proj_size=width, batch_first=True))
    with torch.no_grad():
        weights_of(lstm)[2][units : 2 * units] = 1.0  # the authors' program: forget gates begin open
    return lstm


# ------------------------------------------------------------------------------------------------- the whole model


def linear(inputs: int, outputs: int, bias: float = 0.0) -> nn.Linear:
    """With the first values of the authors' program."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    nn.init.constant_(layer.bias, bias)
    return layer


def filters(count: int, letters: int) -> nn.Conv1d:
    """With those of Kim et al. 2016."""
    layer = nn.Conv1d(LETTER, count, letters)
    nn.init.uniform_(layer.weight, -0.05, 0.05)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class Highway(nn.Module):
    """Srivastava et al. 2015. At first nearly all goes by: 1 − σ(−2) = 88 %."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.new, self.gate = linear(width, width), linear(width, width, bias=-2.0)

    def forward(self, x: Float[Tensor, "N f"]) -> Float[Tensor, "N f"]:
        gate = torch.sigmoid(self.gate(x))
        return gate * F.relu(self.new(x)) + (1 - gate) * x


class Letters(nn.Module):
    """x_k, from the letters of a word alone (Kim et al. 2016, Józefowicz et al. 2016)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.spelling: Tensor | None
        self.register_buffer("spelling", spelled(config.words) if config.words else None, persistent=False)
        self.letters = nn.Embedding(FILLING + 1, LETTER)
        nn.init.uniform_(self.letters.weight, -1, 1)
        self.filters = nn.ModuleList(filters(config.filters // share, k) for k, share in SHARES.items())
        self.highways = nn.ModuleList(Highway(config.filters) for _ in range(config.highways))
        self.projection = linear(config.filters, config.width)

    def forward(self, text: Int[Tensor, "B S *K"]) -> Float[Tensor, "B S d"]:
        """Of numbers of words (B, S), each of which is read once, or of letters (B, S, K)."""
        if self.spelling is None:
            return self.read(text.flatten(0, 1)).unflatten(0, text.shape[:2])
        if not has_numbers(text):
            return self.read(self.spelling[text.flatten()].long()).unflatten(0, text.shape)
        some, places = text.unique(return_inverse=True)
        return F.embedding(places, self.read(self.spelling[some].long()))

    def read(self, words: Int[Tensor, "N K"]) -> Float[Tensor, "N d"]:
        signs = self.letters(words).transpose(1, 2)  # (N, 16, K)
        x = torch.cat([F.relu(some(signs).amax(2)) for some in self.filters], dim=1)  # (N, f)
        for highway in self.highways:
            x = highway(x)
        found: Tensor = self.projection(x)
        return found


class Softmax(nn.Module):
    """Of both directions."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dropout, self.linear = Dropout(config.dropout), linear(config.width, config.vocabulary)

    def forward(self, x: Float[Tensor, "*B d"]) -> Float[Tensor, "*B V"]:
        found: Tensor = self.linear(self.dropout(x))
        return found


class Answer(nn.Module):
    """Sec. 3.3: what a task learns: the weights of Eq. 1, and a BiLSTM that reads the vectors."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.whole = config.head == "class"
        self.weights = nn.Parameter(torch.zeros(config.layers + 1))
        self.scale = nn.Parameter(torch.ones(1))
        self.dropout = Dropout(config.vectors_dropout)
        self.top = BothDirections(ForgettingCells, 2 * config.width, config.hidden, 1, 0.0)
        self.linear = nn.Linear(2 * config.hidden, config.outputs)

    def forward(self, layers: list[Float[Tensor, "B S e"]], ends: Int[Tensor, " B"]) -> Float[Tensor, "B *S C"]:
        each, text = self.top(self.dropout(mixed(layers, self.weights, self.scale)), ends)
        found: Tensor = self.linear(self.dropout(text if self.whole else each))
        return found


class Elmo(nn.Module):
    """Fig. 1 of Devlin et al. 2018 shows it beside BERT."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.words = Letters(config)
        self.forwards, self.backwards = Direction(config), Direction(config)
        self.head = Softmax(config) if config.head == "words" else Answer(config)

    def forward(
        self,
        text: Int[Tensor, "B S *K"],
        after: Bool[Tensor, "B S"] | None = None,
        before: Bool[Tensor, "B S"] | None = None,
    ) -> Any:
        """Logits: "words" (2, B, S, V) of the word after each and of the word before each; "class" (B, C); "tags" (B, S, C),
        which where the padding is mean nothing.

        Where words are to be said only ``after`` n places and ``before`` m: (n, V) and (m, V), row by row."""
        layers, ends = self.vectors(text)
        if isinstance(self.head, Answer):
            return self.head(layers, ends)
        ahead, behind = layers[-1].chunk(2, dim=2)
        if after is None or before is None:
            return self.head(torch.stack([ahead, behind]))
        sides = ((ahead, after), (behind, before))
        return tuple(self.head(picked(states.flatten(0, 1), places.flatten())) for states, places in sides)

    def vectors(self, text: Int[Tensor, "B S *K"]) -> tuple[list[Float[Tensor, "B S e"]], Int[Tensor, " B"]]:
        """h_0 … h_L of each word (e = 2d), and how many words each row has."""
        ends = (text != PAD if text.dim() == 2 else text[..., 0] != FILLING).sum(1)
        x = self.words(text)
        ahead = [x, *self.forwards(x)]
        behind = [x, *(turned(h, ends) for h in self.backwards(turned(x, ends)))]
        return [torch.cat(both, dim=2) for both in zip(ahead, behind)], ends


# ------------------------------------------------------------------------------------------- the paper's own numbers

BASE = Config()
VARIANTS = {
    "elmo": BASE,
    "elmo-small": replace(BASE, highways=1, units=1024, width=128),  # published beside it, as is the next
    "elmo-medium": replace(BASE, highways=1, units=2048, width=256),
}
MILLIONS = {"elmo": 93.6, "elmo-small": 13.6, "elmo-medium": 28.0}  # allennlp.org/elmo; without the softmax


def _departures(config: Config) -> Iterator[Departure]:
    sizes = (config.filters, config.highways, config.units, config.width, config.layers)
    if sizes != (2048, 2, 4096, 512, 2):
        what = "{:,} filters, highways: {}, {:,} cells with projections to {}, layers: {}".format(*sizes)
        why = "smaller ones learn faster, and from less"
        yield Departure(f"{what} (paper: 2,048, 2, 4,096, 512, 2)", why, "Sec. 3.4")
    if config.vocabulary != BASE.vocabulary:
        what = f"{config.vocabulary:,} different words to be said (paper: the {BASE.vocabulary:,} of its text)"
        yield Departure(what, "as the data have it", "Sec. 3.4")
    if config.words:
        what = "all words outside the vocabulary are read as one (paper: by their letters, as any other)"
        yield Departure(what, "text comes as numbers of words; the letters are of those that have one", "Sec. 3.4")
    if config.dropout != BASE.dropout:
        what = f"dropout {config.dropout:g} (the authors' program: 0.1)"
        yield Departure(what, "small data are fitted less closely, or more")
    if config.head != "words":
        what = (
            f"a BiLSTM of {config.hidden} units a side reads the vectors alone (paper: each task's own network does, "
        )
        why = "one network for all tasks shows what the vectors are worth"
        yield Departure(f"{what}and its own word vectors beside them)", why, "Sec. 3.3")


def _sizes() -> tuple[int, ...]:
    model: Any = on_meta(Elmo, BASE)
    layers, lstm = model.forwards.layers, model.forwards.layers[0]
    filters = sum(part.out_channels for part in model.words.filters)
    return filters, len(model.words.highways), lstm.hidden_size, lstm.proj_size, len(layers)


def _millions(name: str) -> float:
    config = VARIANTS[name]
    return (count(Elmo, config) - (config.width + 1) * config.vocabulary) / 1e6


def _multiply_adds() -> int:
    """Of 5 words, by hand: letters, highways, projection; LSTMs; and one word in the softmax of each direction."""
    widths = {1: 32, 2: 32, 3: 64, 4: 128, 5: 256, 6: 512, 7: 1024}  # filters over k of 50 letters of 16 numbers
    letters = sum(16 * k * (50 - k + 1) * n for k, n in widths.items())
    word = letters + 2 * 2 * 2048**2 + 2048 * 512
    return 5 * (word + 2 * 2 * (4 * 4096 * (512 + 512) + 4096 * 512) + 2 * 512)


TINY = replace(BASE, vocabulary=9, filters=64, highways=1, units=8, width=4)


def _heard() -> list[list[int]]:
    """Which of 6 words the two halves of the last layer's state at word 3 depend on."""
    model, text = Elmo(TINY).eval(), spelled(["a"] * 6)[None].long()
    found: list[list[int]] = [[], []]
    with torch.no_grad():
        before = model.vectors(text)[0][-1][0, 3].chunk(2)
        for place in range(6):
            other = text.clone()
            other[0, place] = spelled(["b"])[0]
            for half, was, now in zip(found, before, model.vectors(other)[0][-1][0, 3].chunk(2)):
                half += [place] * (not torch.equal(was, now))
    return found


def _mean_gap() -> float:
    """Between three times the mean of the layers, and Eq. 1 with equal weights and γ = 3."""
    layers = list(torch.randn(3, 5, 8))
    return float((mixed(layers, torch.full((3,), 0.7), torch.tensor([3.0])) - sum(layers)).abs().max())


def _residual_gap() -> float:
    """Between the layers' states where the LSTM of the second says nothing."""
    model = Elmo(TINY).eval()
    with torch.no_grad():
        for side in (model.forwards, model.backwards):
            side.get_parameter("layers.1.weight_hr_l0").zero_()
        _, first, second = model.vectors(*TINY.example(2))[0]
    return float((second - first).abs().max())


def _five_words() -> Tensor:
    return torch.zeros(1, 5, K, dtype=torch.int64, device="meta")


def _vectors() -> list[tuple[int, ...]]:
    model: Any = on_meta(Elmo, BASE)
    return [tuple(h.shape) for h in model.vectors(_five_words())[0]]


TABLE_1 = (
    ("squad1.1", "F1", 85.8),
    ("snli", "accuracy", 88.7),
    ("conll2003", "F1", 92.22),
    ("sst5", "accuracy", 54.7),
)

PAPER = Paper(
    title="Deep contextualized word representations",
    authors="Peters, Neumann, Iyyer, Gardner, Clark, Lee, Zettlemoyer",
    year=2018,
    venue="NAACL 2018",
    url="https://arxiv.org/abs/1802.05365",
    idea="The states of two language models, one from each side, mixed as a task wants them, are vectors of words in place.",
    build=Elmo,
    variants=VARIANTS,
    facts=(
        Fact("filters, highways, cells, projection, layers", "Sec. 3.4", (2048, 2, 4096, 512, 2), _sizes),
        *(
            Fact("million parameters without the softmax", "allennlp.org/elmo", n, partial(_millions, name), 0.05, name)
            for name, n in MILLIONS.items()
        ),
        Fact(
            "multiply-adds of 5 words, where one word may be said",
            "Sec. 3.4 (sizes; the number itself is not printed)",
            _multiply_adds(),
            lambda: multiply_adds(on_meta(Elmo, replace(BASE, vocabulary=1)), _five_words()),
            variant="elmo",
        ),
        Fact("L + 1 vectors of 5 words, all of 2d numbers", "Sec. 3.2", [(1, 5, 1024)] * 3, _vectors, variant="elmo"),
        Fact("word 3 of 6, from 0, knows from the left, from the right", "Sec. 3.1", [[0, 1, 2, 3], [3, 4, 5]], _heard),
        Fact("equal weights give γ times the mean of the layers", "Eq. 1", 0.0, _mean_gap, 1e-5),
        Fact("the second layer adds to the first", "Sec. 3.4", 0.0, _residual_gap),
    ),
    results=(
        *(Result("elmo", data, metric, value, "Table 1") for data, metric, value in TABLE_1),
        Result("elmo", "One Billion Word Benchmark", "perplexity, mean of both directions", 39.7, "Sec. 3.4"),
    ),
)
