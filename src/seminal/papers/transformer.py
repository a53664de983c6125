"""The Transformer: sequences by attention alone.

Ashish Vaswani, Noam Shazeer, Niki Parmar, Jakob Uszkoreit, Llion Jones, Aidan N. Gomez, Łukasz Kaiser, Illia Polosukhin,
"Attention Is All You Need", NIPS 2017, arXiv:1706.03762.

The idea: any two places of a sequence can exchange what they know in one step, because every place asks all others at
once and takes a weighted mean of their answers. Nothing has to be carried along the sequence, so all places are computed
together. Where a token stands is told by a vector added to it.

    Attention(Q, K, V) = softmax(Q Kᵀ / √d_k) V                                                                     (1)
    MultiHead(Q, K, V) = Concat(head_1 … head_h) W^O,  head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)           (3.2.2)
    FFN(x) = max(0, x W_1 + b_1) W_2 + b_2                                                                          (2)
    LayerNorm(x + Dropout(Sublayer(x)))                                                                   (3.1 and 5.4)
    PE(p, 2i) = sin(p / 10000^(2i/d)),  PE(p, 2i+1) = cos(p / 10000^(2i/d))                                       (3.5)
    rate = d^−½ · min(step^−½, step · warmup^−1.5)                                                                  (3)

Shapes: B rows, S source tokens, T target tokens, d width, h heads, k width of a key, v width of a value (d / h),
V vocabulary; R = B · beams hypotheses when writing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Memory, Paper, Result, UserError
from seminal.pieces import masks
from seminal.pieces.attention import attend, scaled_dot
from seminal.pieces.cache import ROOM, with_room
from seminal.pieces.dropout import Dropout
from seminal.pieces.measure import count
from seminal.pieces.positions import sinusoids
from seminal.pieces.tokens import PAD

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}


@dataclass(frozen=True)
class Config:
    """A row of Table 3. The last three fields are what later code does otherwise; a paper's row has their defaults."""

    vocabulary: int = 37_000  # V, shared by both languages (Sec. 5.1)
    layers: int = 6  # N
    width: int = 512  # d_model
    inner: int = 2048  # d_ff
    heads: int = 8  # h
    key: int = 64  # d_k; d_v = d_model / h
    dropout: float = 0.1  # P_drop
    positions: str = "sinusoid"  # "learned" in row (E); "halves": sines first, then cosines
    longest: int = 512  # places that have a position
    biases: bool = False  # in the projections of attention
    activation: str = "relu"  # of the feed-forward network
    norm: str = "post"  # "pre": before each sub-layer and once at the end; "post+final": once more at the end

    @property
    def value(self) -> int:
        """d_v."""
        return self.width // self.heads

    def fitted(self, spec: DataSpec) -> Config:
        """For sentence pairs with one vocabulary for both sides."""
        if spec.kind != "pairs" or len(set(spec.vocabulary.values())) != 1:
            raise UserError(
                f"a Transformer translates sentence pairs with one shared vocabulary, and {spec.name} is {spec.form}. "
                "Use `transformer-encoder` for labelled text, or `gpt` for plain text."
            )
        # Sec. 6.1 lets a translation be 50 tokens longer than its source.
        longest = max(self.longest, spec.longest["source"] + 50, spec.longest["target"])
        if self.positions == "learned" and longest > self.longest:
            raise UserError(
                f"{spec.name} would need {longest} positions, and this model learns {self.longest}. Use `transformer`, whose "
                "positions have no end, or cut sentences with --max-length."
            )
        return replace(self, vocabulary=spec.vocabulary["target"], longest=longest)

    def departures(self) -> tuple[Departure, ...]:
        """Sizes that are no row of Table 3, and what later code does otherwise."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 25) source and (batch, 25) target tokens without padding."""
        return tuple(torch.randint(PAD + 1, self.vocabulary, (batch, 25)) for _ in range(2))


# ------------------------------------------------------------------------------------------------- the contribution


class MultiHeadAttention(nn.Module):
    """Sec. 3.2.2. The projections of all heads are one matrix: its rows make h queries, h keys, h values."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads, self.key, self.value = config.heads, config.key, config.value
        self.asks = config.heads * config.key  # rows of `inside` that make queries
        self.inside = nn.Linear(config.width, 2 * self.asks + config.heads * config.value, bias=config.biases)
        self.outside = nn.Linear(config.heads * config.value, config.width, bias=config.biases)  # W^O

    def forward(
        self,
        x: Float[Tensor, "B n d"],
        others: Float[Tensor, "B m d"] | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "B n d"]:
        """Each of ``x`` asks ``others`` (or ``x`` itself); ``mask`` as in `seminal.pieces.masks`."""
        if others is None:
            queries, keys, values = self.split(self.inside(x))
        else:
            (queries,), (keys, values) = self.queries(x), self.keys_and_values(others)
        return self.answer(queries, keys, values, mask, causal)

    def queries(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, h, n, k)"""
        bias = None if self.inside.bias is None else self.inside.bias[: self.asks]
        return self.split(F.linear(x, self.inside.weight[: self.asks], bias))

    def keys_and_values(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, h, m, k) and (B, h, m, v)"""
        bias = None if self.inside.bias is None else self.inside.bias[self.asks :]
        return self.split(F.linear(x, self.inside.weight[self.asks :], bias), first=1)

    def split(self, projected: Tensor, first: int = 0) -> tuple[Tensor, ...]:
        """(B, n, parts · h · width) to (B, h, n, width) for each part."""
        sizes: list[int] = []
        for part in (self.asks, self.asks, self.heads * self.value)[first:]:
            if sum(sizes) < projected.shape[-1]:
                sizes.append(part)
        return tuple(p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in projected.split(sizes, dim=-1))

    def answer(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Eq. 1 for all heads, and W^O. (B, n, d)"""
        found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=causal)
        return self.outside(found.transpose(1, 2).flatten(2))

    def step(self, x: Tensor, keys: Tensor, values: Tensor, length: int) -> Tensor:
        """The same for tokens (R, n, d) that follow ``length`` others, whose keys (R, h, room, k) and values are known;
        those of ``x`` are written beside them."""
        queries, new_keys, new_values = self.split(self.inside(x))
        end = length + x.shape[1]
        keys[:, :, length:end], values[:, :, length:end] = new_keys, new_values
        mask = masks.causal(x.shape[1], end, x.device) if x.shape[1] > 1 else None
        return self.answer(queries, keys[:, :, :end], values[:, :, :end], mask)

    def look(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Tokens (R, n, d) ask their input, whose keys are kept once per input (B, h, S, k): beams are further queries."""
        (queries,) = self.queries(x.reshape(len(keys), -1, x.shape[-1]))
        return self.answer(queries, keys, values, mask).reshape(x.shape)

    def weights(self, x: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """The weights of `look`, averaged over the heads: (R, n, S)."""
        (queries,) = self.queries(x.reshape(len(keys), -1, x.shape[-1]))
        shares = attend(scaled_dot(queries, keys), keys, mask)[1].mean(1)
        return shares.reshape(*x.shape[:2], -1)


class FeedForward(nn.Module):
    """Eq. 2: the same two layers at every place."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.inner = nn.Linear(config.width, config.inner)
        self.outer = nn.Linear(config.inner, config.width)
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return self.outer(self.activation(self.inner(x)))


class Residual(nn.Module):
    """LayerNorm(x + Dropout(sublayer(x))), Secs. 3.1 and 5.4; with ``norm="pre"`` x + Dropout(sublayer(LayerNorm(x)))."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.dropout = Dropout(config.dropout)
        self.first = config.norm == "pre"

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        if self.first:
            return x + self.dropout(sublayer(self.norm(x)))
        return self.norm(x + self.dropout(sublayer(x)))


class EncoderLayer(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention, self.after_attention = MultiHeadAttention(config), Residual(config)
        self.feed_forward, self.after_feed_forward = FeedForward(config), Residual(config)

    def forward(self, x: Float[Tensor, "B S d"], mask: Tensor) -> Float[Tensor, "B S d"]:
        x = self.after_attention(x, lambda y: self.attention(y, mask=mask))
        return self.after_feed_forward(x, self.feed_forward)


class DecoderLayer(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention, self.after_attention = MultiHeadAttention(config), Residual(config)
        self.cross, self.after_cross = MultiHeadAttention(config), Residual(config)
        self.feed_forward, self.after_feed_forward = FeedForward(config), Residual(config)

    def forward(self, x: Float[Tensor, "B T d"], source: Float[Tensor, "B S d"], mask: Tensor) -> Tensor:
        x = self.after_attention(x, lambda y: self.attention(y, causal=True))
        x = self.after_cross(x, lambda y: self.cross(y, source, mask))
        return self.after_feed_forward(x, self.feed_forward)

    def step(self, x: Float[Tensor, "R n d"], layer: int, memory: Memory) -> Float[Tensor, "R n d"]:
        """`forward` for tokens that follow those in ``memory``."""
        own, given = memory.moving, memory.fixed
        keys, values = own[f"keys{layer}"], own[f"values{layer}"]
        x = self.after_attention(x, lambda y: self.attention.step(y, keys, values, memory.length))
        source, mask = (given[f"keys{layer}"], given[f"values{layer}"]), given["mask"]
        if "attention" in own:  # of the last layer in the end
            asks = self.after_cross.norm(x[:, -1:]) if self.after_cross.first else x[:, -1:]
            own["attention"].copy_(self.cross.weights(asks, source[0], mask)[:, 0])
        x = self.after_cross(x, lambda y: self.cross.look(y, *source, mask))
        return self.after_feed_forward(x, self.feed_forward)


# ------------------------------------------------------------------------------------------------- the whole model


class Embedding(nn.Module):
    """Secs. 3.4 and 3.5: the embedding times √d, plus a vector for the place."""

    waves: Tensor

    def __init__(self, config: Config, sides: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        learned = config.positions == "learned"  # row (E): a table for each side
        self.learned = nn.Parameter(torch.zeros(sides, config.longest, config.width)) if learned else None
        waves = sinusoids(config.longest, config.width, halves=config.positions == "halves")
        self.register_buffer("waves", waves, persistent=False)
        self.dropout = Dropout(config.dropout)  # Sec. 5.4: also on these sums

    def forward(self, tokens: Int[Tensor, "B n"], side: int = 0, first: int = 0) -> Float[Tensor, "B n d"]:
        """``first`` is the place of the first token, ``side`` 0 for the source and 1 for the target."""
        table: Tensor = self.waves if self.learned is None else self.learned[side]
        end = first + tokens.shape[1]
        if end > len(table):
            raise UserError(
                f"a sequence of {end} tokens is longer than the {len(table)} places this model knows: shorten it."
            )
        return self.dropout(self.tokens(tokens) * math.sqrt(table.shape[1]) + table[first:end])


class Encoder(nn.Module):
    """The left half of Fig. 1."""

    def __init__(self, config: Config, embedding: Embedding | None = None) -> None:
        super().__init__()
        self.embedding = embedding or Embedding(config, sides=1)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.norm = _last_norm(config)
        first_values(self)

    def forward(self, source: Int[Tensor, "B S"], mask: Tensor) -> Float[Tensor, "B S d"]:
        x = self.embedding(source)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class Transformer(nn.Module):
    """Fig. 1. Both embeddings and the last linear map are one matrix (Sec. 3.4)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config, Embedding(config, sides=2))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.norm = _last_norm(config)
        first_values(self.decoder)

    def forward(self, source: Int[Tensor, "B S"], target: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits of the token after each of ``target``, which begins with ``<s>``."""
        mask = masks.padding(source)
        read = self.encoder(source, mask)
        x = self.encoder.embedding(target, side=1)
        for layer in self.decoder:
            x = layer(x, read, mask)
        return self.logits(self.norm(x))

    def _layers(self) -> Iterator[DecoderLayer]:
        return (layer for layer in self.decoder if isinstance(layer, DecoderLayer))

    def logits(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... V"]:
        return F.linear(x, self.encoder.embedding.tokens.weight)

    def begin(self, source: Tensor | None, rows: int, attention: bool = False) -> Memory:
        """See `seminal.core.Writer`."""
        assert source is not None
        mask = masks.padding(source)
        read = self.encoder(source, mask)
        fixed, moving, config = {"mask": mask}, {}, self.config
        for i, layer in enumerate(self._layers()):
            fixed[f"keys{i}"], fixed[f"values{i}"] = (t.contiguous() for t in layer.cross.keys_and_values(read))
            moving[f"keys{i}"] = read.new_zeros(rows, config.heads, ROOM, config.key)
            moving[f"values{i}"] = read.new_zeros(rows, config.heads, ROOM, config.value)
        if attention:
            moving["attention"] = read.new_zeros(rows, source.shape[1])
        return Memory(fixed, moving)

    def step(self, tokens: Int[Tensor, "R n"], memory: Memory) -> tuple[Tensor, Memory]:
        """See `seminal.core.Writer`."""
        memory = with_room(memory, memory.length + tokens.shape[1])
        x = self.encoder.embedding(tokens, side=1, first=memory.length)
        for i, layer in enumerate(self._layers()):
            x = layer.step(x, i, memory)
        return self.logits(self.norm(x[:, -1])), replace(memory, length=memory.length + tokens.shape[1])


def _last_norm(config: Config) -> nn.Module:
    return nn.Identity() if config.norm == "post" else nn.LayerNorm(config.width)


def first_values(model: nn.Module) -> None:
    """The paper states none. Matrices uniform by Glorot and Bengio 2010, each head on its own; embeddings normal with
    variance 1 / d, so that they have variance 1 after the factor √d; biases 0."""
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            for part in module.inside.weight.split([module.asks, module.asks, module.heads * module.value]):
                nn.init.xavier_uniform_(part)
            nn.init.xavier_uniform_(module.outside.weight)
        elif isinstance(module, FeedForward):
            nn.init.xavier_uniform_(module.inner.weight)
            nn.init.xavier_uniform_(module.outer.weight)
        elif isinstance(module, Embedding):
            for table in module.parameters():
                nn.init.normal_(table, std=table.shape[-1] ** -0.5)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def rate(step: int, width: int, warmup: int) -> float:
    """Eq. 3, the learning rate at a step counted from 1. Recipes give it as a peak and a shape; a test compares them."""
    return width**-0.5 * min(step**-0.5, step * warmup**-1.5)


# ------------------------------------------------------------------------------------------- the paper's own tables

BASE = Config()
VARIANTS = {
    "transformer": BASE,
    "transformer-base": BASE,
    "transformer-big": replace(BASE, width=1024, inner=4096, heads=16, dropout=0.3),
    "transformer-h1": replace(BASE, heads=1, key=512),  # row (A)
    "transformer-h4": replace(BASE, heads=4, key=128),
    "transformer-h16": replace(BASE, heads=16, key=32),
    "transformer-h32": replace(BASE, heads=32, key=16),
    "transformer-k16": replace(BASE, key=16),  # row (B)
    "transformer-k32": replace(BASE, key=32),
    "transformer-n2": replace(BASE, layers=2),  # row (C)
    "transformer-n4": replace(BASE, layers=4),
    "transformer-n8": replace(BASE, layers=8),
    "transformer-d256": replace(BASE, width=256, key=32),
    "transformer-d1024": replace(BASE, width=1024, key=128),
    "transformer-f1024": replace(BASE, inner=1024),
    "transformer-f4096": replace(BASE, inner=4096),
    "transformer-dropout0": replace(BASE, dropout=0.0),  # row (D)
    "transformer-dropout0.2": replace(BASE, dropout=0.2),
    "transformer-learned": replace(BASE, positions="learned"),  # row (E)
    # No rows of the table: the networks of two other programs, so that weights can go in and out.
    "transformer-marian": replace(BASE, positions="halves", biases=True, activation="silu"),
    "transformer-torch": replace(BASE, biases=True, norm="post+final"),
}


def _departures(config: Config) -> Iterator[Departure]:
    plain = replace(config, vocabulary=0, longest=0, biases=False, activation="relu", norm="post")
    plain = replace(plain, positions="sinusoid") if config.positions == "halves" else plain
    if plain not in {replace(row, vocabulary=0, longest=0) for row in VARIANTS.values()}:
        sizes = f"{config.layers} layers of width {config.width} with {config.heads} heads, inner width {config.inner}"
        what = f"{sizes}, dropout {config.dropout:g} (paper: 6, 512, 8, 2048, 0.1)"
        yield Departure(what, "small data are overfitted by the paper's sizes", "Table 3")
    if config.vocabulary != BASE.vocabulary:
        yield Departure(f"{config.vocabulary:,} tokens (paper: about 37,000)", "as the data have it", "Sec. 5.1")
    others, final = "so the weights of other programs have it", "once more at the end of each half"
    if config.positions == "halves":
        yield Departure("all sines before all cosines (paper: in turn)", others, "Sec. 3.5")
    if config.biases:
        yield Departure("biases in the projections of attention (paper: none)", others, "Sec. 3.2.2")
    if config.activation != "relu":
        yield Departure(f"{config.activation} in the feed-forward networks (paper: relu)", others, "Eq. 2")
    if config.norm != "post":
        where = "before each sub-layer and at the end" if config.norm == "pre" else final
        yield Departure(f"layer normalisation {where} (paper: after each sub-layer)", others, "Sec. 3.1")


# With about 37,000 tokens (Sec. 5.1) no row of the column fits. With 41,100 rows in the shared matrix all those of the base
# model's family do, and the big model does with 36,000: no single vocabulary makes the whole column.
FITTING, FITTING_BIG = 41_100, 36_000
TABLE_3 = {
    "base": 65,
    "k16": 58,
    "k32": 60,
    "n2": 36,
    "n4": 50,
    "n8": 80,
    "d256": 28,
    "d1024": 168,
    "f1024": 53,
    "f4096": 90,
    "big": 213,
}
BLEU = {"h1": 24.9, "h4": 25.5, "h16": 25.8, "h32": 25.4, "k16": 25.1, "k32": 25.4, "n2": 23.7, "n4": 25.3, "n8": 25.5}
BLEU |= {
    "base": 25.8,
    "big": 26.4,
    "d256": 24.5,
    "d1024": 26.0,
    "f1024": 25.4,
    "f4096": 26.2,
    "dropout0": 24.6,
    "dropout0.2": 25.5,
    "learned": 25.7,
}


def _rows(row: str) -> int:
    """Of the shared matrix, with which a row's printed size is met."""
    return FITTING_BIG if row == "big" else FITTING


def _millions(row: str) -> float:
    config = VARIANTS[f"transformer-{row}"]
    return count(Transformer, replace(config, vocabulary=_rows(row))) / 1e6


def _of_shift(shift: int = 7, width: int = 512) -> float:
    """Largest error of PE(p + shift) as a linear function of PE(p), fitted by least squares."""
    waves = sinusoids(1000, width).double()
    fit = torch.linalg.lstsq(waves[:-shift], waves[shift:]).solution
    return float((waves[:-shift] @ fit - waves[shift:]).abs().max())


def _printed_sizes() -> tuple[int, ...]:
    with torch.device("meta"):
        layer = DecoderLayer(BASE)
        x = torch.zeros(1, 3, BASE.width)
        attention = layer.attention
        queries, keys, values = attention.split(attention.inside(x))
        return x.shape[-1], queries.shape[1], keys.shape[-1], values.shape[-1], layer.feed_forward.inner(x).shape[-1]


def _stacks() -> tuple[int, int]:
    model = Transformer(replace(BASE, vocabulary=8))
    return len(model.encoder.layers), len(model.decoder)


PAPER = Paper(
    title="Attention Is All You Need",
    authors="Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin",
    year=2017,
    venue="NIPS 2017",
    url="https://arxiv.org/abs/1706.03762",
    idea="A sequence is transformed by attention alone: every place asks all others at once, in several heads.",
    build=Transformer,
    variants=VARIANTS,
    facts=(
        *(
            Fact(
                f"million parameters, with {_rows(row):,} rows in the shared matrix (the paper's 37,000 fit no row)",
                "Table 3",
                printed,
                lambda row=row: _millions(row),  # type: ignore[misc]
                within=0.5,
                variant=f"transformer-{row}",
            )
            for row, printed in TABLE_3.items()
        ),
        Fact("d_model, h, d_k, d_v, d_ff", "Secs. 3.1–3.3", (512, 8, 64, 64, 2048), _printed_sizes),
        Fact("layers of each stack", "Sec. 3.1", (6, 6), _stacks),
        Fact("PE(p + 7) is a linear function of PE(p): largest error", "Sec. 3.5", 0.0, _of_shift, within=1e-6),
        Fact(
            "peak of the rate, d = 512, 4,000 steps of warm-up",
            "Eq. 3",
            6.99e-4,
            lambda: rate(4000, 512, 4000),
            within=5e-7,
        ),
    ),
    results=(
        Result("transformer-base", "newstest2014 en-de", "BLEU", 27.3, "Table 2"),
        Result("transformer-big", "newstest2014 en-de", "BLEU", 28.4, "Table 2"),
        *(Result(f"transformer-{row}", "newstest2013 en-de", "BLEU", bleu, "Table 3") for row, bleu in BLEU.items()),
    ),
)
