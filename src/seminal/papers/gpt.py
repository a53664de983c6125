"""GPT: the decoder of the Transformer alone, which learns to say the next token of plain text.

Alec Radford, Karthik Narasimhan, Tim Salimans, Ilya Sutskever, "Improving Language Understanding by Generative
Pre-Training", OpenAI, June 2018.

The idea: text without labels is never scarce, and to say what comes next in it a network must learn much that other tasks
need too. Where nothing has to be read first, half a Transformer is enough: every token asks itself and those before it,
so that one pass over a window gives a lesson at each of its places. The paper then trains the same network further on
labelled data; this file is the network and its first, unlabelled training.

    L1(U) = Σ_i log P(u_i | u_{i−k}, …, u_{i−1})                                                                    (1)
    h_0 = U W_e + W_p                                                                                               (2)
    h_l = block(h_{l−1}) for l = 1 … n:  x = LayerNorm(h + Dropout(MultiHead(h, only those before)))
                                         h = LayerNorm(x + Dropout(GELU(x W_1 + b_1) W_2 + b_2))
    P(u) = softmax(h_n W_eᵀ)

Shapes: B rows, T tokens, d width, h heads, k width of a key, V vocabulary; R hypotheses when writing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Memory, Paper, Result, UserError
from seminal.papers import transformer
from seminal.papers.transformer import MultiHeadAttention, Residual
from seminal.pieces.cache import ROOM, with_room
from seminal.pieces.dropout import Dropout
from seminal.pieces.init import constant, fill, normal
from seminal.pieces.measure import count, on_meta
from seminal.pieces.tokens import PAD

SPREAD = 0.02  # standard deviation of all first weights (Sec. 4.1)


@dataclass(frozen=True)
class Config:
    """Sec. 4.1, model specifications. ``norm`` is what GPT-2 does otherwise."""

    vocabulary: int = 40_478  # V: 40,000 merges (Sec. 4.1) on 478 signs, as in the published weights
    layers: int = 12  # n
    width: int = 768
    inner: int = 3072
    heads: int = 12
    longest: int = 512  # k, the tokens of a window: so many places have a position
    dropout: float = 0.1  # of the embeddings, and of what each sub-layer adds
    attention_dropout: float = 0.1  # of the shares that attention gives
    norm: str = "post"  # "pre": before each sub-layer and once at the end

    @property
    def body(self) -> transformer.Config:
        """The same in the words of the Transformer, whose blocks these are."""
        names = ("vocabulary", "layers", "width", "inner", "heads", "longest", "dropout", "norm")
        same = {name: getattr(self, name) for name in names}
        key = self.width // self.heads
        return replace(transformer.BASE, **same, key=key, positions="learned", biases=True, activation="gelu")

    def fitted(self, spec: DataSpec) -> Config:
        """For plain text."""
        if spec.kind != "stream":
            raise UserError(
                f"a GPT goes on writing plain text, and {spec.name} is {spec.form}. Use `transformer` for sentence pairs, "
                "or `transformer-encoder` for labelled text."
            )
        if spec.longest["text"] > self.longest:
            raise UserError(
                f"windows of {spec.longest['text']} tokens are longer than the {self.longest} places this model has learned "
                f"positions for. Write --max-length {self.longest}."
            )
        return replace(self, vocabulary=spec.vocabulary["text"])

    def departures(self) -> tuple[Departure, ...]:
        """Sizes that are not the paper's, and what GPT-2 does otherwise."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 25) tokens without padding."""
        return (torch.randint(PAD + 1, self.vocabulary, (batch, min(25, self.longest))),)


# ------------------------------------------------------------------------------------------------- the contribution


class Layer(nn.Module):
    """A decoder layer of the Transformer without a source to look at, with GELU for ReLU."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        body = config.body
        self.attention, self.after_attention = MultiHeadAttention(body), Residual(body)
        self.inner = nn.Linear(config.width, config.inner)
        self.outer = nn.Linear(config.inner, config.width)
        self.after_feed_forward = Residual(body)
        self.attention_dropout = config.attention_dropout

    def forward(self, x: Float[Tensor, "B T d"]) -> Float[Tensor, "B T d"]:
        return self.after_feed_forward(self.after_attention(x, self.attend), self.feed_forward)

    def attend(self, x: Float[Tensor, "B T d"]) -> Float[Tensor, "B T d"]:
        """Each token asks itself and those before it; in training some of the shares are dropped."""
        queries, keys, values = self.attention.split(self.attention.inside(x))
        dropped = self.attention_dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(queries, keys, values, dropout_p=dropped, is_causal=True)
        return self.attention.outside(found.transpose(1, 2).flatten(2))

    def feed_forward(self, x: Float[Tensor, "R n d"]) -> Float[Tensor, "R n d"]:
        """With GELU in the form of tanh, as the published weights were trained: up to 5e-4 beside x Φ(x)."""
        return self.outer(F.gelu(self.inner(x), approximate="tanh"))

    def step(self, x: Float[Tensor, "R n d"], layer: int, memory: Memory) -> Float[Tensor, "R n d"]:
        """`forward` for tokens that follow those in ``memory``."""
        keys, values = memory.moving[f"keys{layer}"], memory.moving[f"values{layer}"]
        x = self.after_attention(x, lambda y: self.attention.step(y, keys, values, memory.length))
        return self.after_feed_forward(x, self.feed_forward)


class GPT(nn.Module):
    """Eq. 2. The last linear map is the table of embeddings."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocabulary, config.width)  # W_e
        self.positions = nn.Embedding(config.longest, config.width)  # W_p
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width) if config.norm == "pre" else nn.Identity()
        first_values(self)

    def forward(self, text: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits of the token after each of ``text``. Padding on the right changes nothing before it."""
        x = self.embedded(text)
        for layer in self.layers:
            x = layer(x)
        return self.logits(self.norm(x))

    def embedded(self, tokens: Int[Tensor, "R n"], first: int = 0) -> Float[Tensor, "R n d"]:
        """h_0; ``first`` is the place of the first token."""
        end = first + tokens.shape[1]
        if end > self.config.longest:
            raise UserError(
                f"a text of {end} tokens is longer than the {self.config.longest} places this model has learned positions "
                "for: shorten it, or train with a larger --max-length."
            )
        return self.dropout(self.tokens(tokens) + self.positions.weight[first:end])

    def logits(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... V"]:
        return F.linear(x, self.tokens.weight)

    def begin(self, source: Tensor | None, rows: int, attention: bool = False) -> Memory:
        """See `seminal.core.Writer`. There is no source, hence nothing that ``attention`` could show."""
        assert source is None
        heads, key = self.config.heads, self.config.width // self.config.heads
        empty = self.tokens.weight.new_zeros(rows, heads, min(ROOM, self.config.longest), key)
        names = [f"{part}{i}" for i in range(self.config.layers) for part in ("keys", "values")]
        return Memory({}, {name: empty.clone() for name in names})

    def step(self, tokens: Int[Tensor, "R n"], memory: Memory) -> tuple[Tensor, Memory]:
        """See `seminal.core.Writer`."""
        end = memory.length + tokens.shape[1]
        x = self.embedded(tokens, first=memory.length)
        memory = with_room(memory, end)
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            x = layer.step(x, i, memory)
        return self.logits(self.norm(x[:, -1])), replace(memory, length=end)


def first_values(model: GPT) -> None:
    """Sec. 4.1: N(0, 0.02) suffices, because of the layer normalisations; biases 0."""
    fill(model, normal(SPREAD), constant(0.0))
    for table in (model.tokens, model.positions):
        nn.init.normal_(table.weight, std=SPREAD)


# ------------------------------------------------------------------------------------------- the paper's own numbers

BASE = Config()
VARIANTS = {"gpt": BASE}


def _departures(config: Config) -> list[Departure]:
    found = []
    if config.vocabulary != BASE.vocabulary:
        what = f"{config.vocabulary:,} tokens (paper: 40,478, which are 40,000 merges on 478 signs)"
        found.append(Departure(what, "as the data have it", "Sec. 4.1"))
    if config.longest != BASE.longest:
        what = f"{config.longest:,} positions (paper: {BASE.longest})"
        found.append(Departure(what, "as long as the windows of the data", "Sec. 4.1"))
    if replace(config, vocabulary=BASE.vocabulary, longest=BASE.longest, norm=BASE.norm) != BASE:
        what = (
            f"{config.layers} layers of width {config.width} with {config.heads} heads, inner width {config.inner}, dropout "
            f"{config.dropout:g} and {config.attention_dropout:g} in attention (paper: 12, 768, 12, 3072, 0.1, 0.1)"
        )
        found.append(Departure(what, "small data are overfitted by the paper's sizes", "Sec. 4.1"))
    if config.norm != BASE.norm:
        what = "layer normalisation before each sub-layer and at the end (paper: after each sub-layer)"
        found.append(Departure(what, "as in GPT-2", "Sec. 4.1"))
    return found


def _printed_sizes() -> tuple[int, ...]:
    model = on_meta(GPT, BASE)
    layer = model.get_submodule("layers.0")
    with torch.device("meta"):
        x = torch.zeros(1, 3, BASE.width)
        queries, *_ = layer.attention.split(layer.attention.inside(x))  # type: ignore[operator, union-attr]
        inner = layer.inner(x)  # type: ignore[operator]
    positions = model.get_parameter("positions.weight")
    return len(model.get_submodule("layers")), x.shape[-1], queries.shape[1], inner.shape[-1], len(positions)  # type: ignore[arg-type]


def _spread() -> float:
    """Of all first weights of a layer of the paper's width."""
    model = GPT(replace(BASE, layers=1, vocabulary=100))
    return float(torch.cat([p.detach().flatten() for p in model.parameters() if p.dim() == 2]).std())


def _dropouts() -> tuple[float, float, float]:
    """Of residual, embedding and attention, on the built network."""
    model = on_meta(GPT, BASE)
    layer = model.get_submodule("layers.0")
    residual, embedding = layer.get_submodule("after_attention.dropout"), model.get_submodule("dropout")
    return float(residual.p), float(embedding.p), float(layer.attention_dropout)  # type: ignore[arg-type]


def _first_that_sees() -> int:
    """The first place whose output changes with the token at place 3 of 8."""
    model = GPT(replace(BASE, vocabulary=9, layers=2, width=8, inner=16, heads=2, longest=8)).eval()
    text = torch.ones(1, 8, dtype=torch.long)
    other = text.clone()
    other[0, 3] = 2
    with torch.no_grad():
        changed = (model(text) != model(other)).any(-1)[0]
    return int(changed.nonzero()[0])


PAPER = Paper(
    title="Improving Language Understanding by Generative Pre-Training",
    authors="Radford, Narasimhan, Salimans, Sutskever",
    year=2018,
    venue="OpenAI",
    url="https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf",
    idea="The decoder of the Transformer alone learns to say the next token of plain text, and much else with it.",
    build=GPT,
    variants=VARIANTS,
    facts=(
        Fact(
            "layers, width, heads, inner width, tokens of a window",
            "Sec. 4.1",
            (12, 768, 12, 3072, 512),
            _printed_sizes,
            variant="gpt",
        ),
        Fact(
            "million parameters: GPT-2's paper calls its smallest network equivalent to GPT",
            "Radford et al. 2019, Table 2",
            117,
            lambda: count(GPT, BASE) / 1e6,
            within=0.5,
            variant="gpt",
        ),
        Fact("standard deviation of the first weights", "Sec. 4.1", 0.02, _spread, within=0.005, variant="gpt"),
        Fact("dropout of residuals, embeddings, attention", "Sec. 4.1", (0.1, 0.1, 0.1), _dropouts, variant="gpt"),
        Fact("masked self-attention: the first place that sees token 3, from 0", "Sec. 4.1", 3, _first_that_sees),
    ),
    results=(Result("gpt", "BooksCorpus", "perplexity per token", 18.4, "Sec. 4.1"),),
)
