"""BERT: the encoder of the Transformer, which learns to say the words that were hidden from it.

Jacob Devlin, Ming-Wei Chang, Kenton Lee, Kristina Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers for
Language Understanding", NAACL 2019, arXiv:1810.04805 (October 2018).

The idea: who says the next word may look to the left only. Where some words are hidden instead, each may be told from both
sides at once, in every layer. A second lesson, whether one sentence follows another, makes the first token stand for the
whole text. All weights are then trained on, one copy for each task, with one small layer added.

    h_0 = Dropout(LayerNorm(token + position + segment))                                                        (Fig. 2)
    h_l = block(h_{l−1}) for l = 1 … L:  x = LayerNorm(h + Dropout(MultiHead(h, all)))
                                         h = LayerNorm(x + Dropout(GELU(x W_1 + b_1) W_2 + b_2))                (Sec. 3)
    C   = tanh(W h_L[first] + b)                                       the pooler
    P(hidden word) = softmax(E LayerNorm(GELU(W h_L + b)) + b_V)       E: the table of tokens                   (Sec. 3.1)
    P(class)       = softmax(W C)                                                                               (Sec. 4.1)
    P(i begins) = softmax_i(S · h_L[i]),  P(j ends) = softmax_j(E · h_L[j])                                     (Sec. 4.2)

A text is read as ``<s> a </s>``, a pair as ``<s> a </s> b </s>``: [CLS] and [SEP]. Which segment a token is of follows from
the ends before it, so tokens are all that the network reads.

Shapes: B rows, S tokens, N tokens that are no padding, d width (H in the paper), h heads (A), k width of a head, L layers,
V vocabulary, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Masking, Paper, Result, UserError
from seminal.papers import transformer
from seminal.papers.birnn import BothDirections
from seminal.papers.lstm import ForgettingCells
from seminal.papers.transformer import FeedForward, MultiHeadAttention, Residual
from seminal.pieces.chance import RowChance
from seminal.pieces.dropout import Dropout
from seminal.pieces.init import constant, fill
from seminal.pieces.masking import masked
from seminal.pieces.measure import count, multiply_adds, on_meta
from seminal.pieces.packing import Packing, picked
from seminal.pieces.tokens import BEGIN, END, NOTHING, SPECIAL

SPREAD = 0.02  # of the first weights: normal, none more than twice as far out (the authors' program)
EPS = 1e-12  # of the layer normalisations (the authors' program)
FOLLOWS = (
    1  # of the two outputs on sentence pairs; 0: does not follow. The authors' weights have them the other way round.
)
HEADS = {"documents": "words", "labelled": "class", "tagged": "tags", "questions": "span", "choices": "choice"}
LAST = 4  # layers whose states are the features (Sec. 5.3)


@dataclass(frozen=True)
class Config:
    """Sec. 3, model architecture."""

    vocabulary: int = 30_522  # V: 30,000 (Sec. 3); so many are in the published one
    layers: int = 12  # L
    width: int = 768  # H
    inner: int = 3072  # 4H
    heads: int = 12  # A
    longest: int = 512  # places that have a position
    dropout: float = 0.1  # of the embeddings, of what each sub-layer adds, and before the outputs
    attention_dropout: float = 0.1  # of the shares that attention gives
    head: str = "words"  # "class" of a text, "tags" of its tokens, "span" that answers, "choice" among texts
    outputs: int = 2  # C
    next_sentence: bool = True  # head "words": whether the second part follows the first is to be said too
    # What the paper compares itself with: "ltr" (each token sees itself and those before it), "ltr+bilstm" (Sec. 5.1);
    # "features" (the last four layers side by side, read by a BiLSTM), "features-sum" (Sec. 5.3).
    ablation: str = ""

    @property
    def body(self) -> transformer.Config:
        """The same in the words of the Transformer, whose blocks these are."""
        names = ("vocabulary", "layers", "width", "inner", "heads", "longest", "dropout")
        same = {name: getattr(self, name) for name in names}
        return replace(transformer.BASE, **same, key=self.width // self.heads, biases=True, activation="gelu")

    @property
    def causal(self) -> bool:
        """Whether no token sees what follows it."""
        return self.ablation.startswith("ltr")

    @property
    def features(self) -> bool:
        """Whether a BiLSTM reads the last layers."""
        return self.ablation.startswith("features")

    @property
    def read(self) -> int:
        """Numbers for each token that a BiLSTM reads; 0: there is none."""
        on_top = {"ltr+bilstm": 1, "features": min(LAST, self.layers), "features-sum": 1}
        return on_top.get(self.ablation, 0) * self.width if self.head != "words" else 0

    @property
    def pools(self) -> bool:
        """Whether one token stands for the whole text."""
        return self.next_sentence if self.head == "words" else self.head in ("class", "choice") and not self.read

    def fitted(self, spec: DataSpec) -> Config:
        """For plain text, from which it learns first, or for whatever it is fine-tuned on."""
        if spec.kind not in HEADS:
            raise UserError(
                f"BERT reads plain text, labelled text, questions and choices, and {spec.name} is {spec.form}. Use "
                "`transformer` for sentence pairs, or `resnet20` for pictures."
            )
        if spec.longest["text"] > self.longest:
            raise UserError(
                f"texts of {spec.longest['text']} tokens are longer than the {self.longest} places this model has learned "
                f"positions for. Write --max-length {self.longest}."
            )
        outputs = {"span": 2, "choice": 1, "words": self.outputs}.get(HEADS[spec.kind], spec.outputs)
        return replace(self, vocabulary=spec.vocabulary["text"], head=HEADS[spec.kind], outputs=outputs)

    def departures(self) -> tuple[Departure, ...]:
        """Sizes that are not the paper's."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 25) tokens without padding, in two parts; four texts in a row for choices."""
        shape = (batch, 4) if self.head == "choice" else (batch,)
        text = torch.randint(len(SPECIAL), self.vocabulary, (*shape, min(25, self.longest)))
        text[..., 0], text[..., text.shape[-1] // 2], text[..., -1] = BEGIN, END, END
        return (text,)


# ------------------------------------------------------------------------------------------------- the contribution


class Layer(nn.Module):
    """An encoder layer of the Transformer with GELU for ReLU. Only attention needs to know which tokens are of one row."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        body = config.body
        self.attention, self.after_attention = MultiHeadAttention(body), Residual(body)
        self.feed_forward, self.after_feed_forward = FeedForward(body), Residual(body)
        self.causal, self.attention_dropout = config.causal, config.attention_dropout

    def forward(self, x: Float[Tensor, "N d"], rows: Packing) -> Float[Tensor, "N d"]:
        x = self.after_attention(x, lambda y: self.attend(y, rows))
        return self.after_feed_forward(x, self.feed_forward)

    def attend(self, x: Float[Tensor, "N d"], rows: Packing) -> Float[Tensor, "N d"]:
        """Each token asks all of its row; in training some of the shares are dropped. From left to right no mask is needed:
        the padding stands behind all that may be seen."""
        queries, keys, values = self.attention.split(rows.spread(self.attention.inside(x)))  # (B, h, S, k)
        dropped = self.attention_dropout if self.training else 0.0
        mask = None if self.causal else rows.mask
        found = F.scaled_dot_product_attention(queries, keys, values, mask, dropped, is_causal=self.causal)
        return self.attention.outside(rows.packed(found.transpose(1, 2).flatten(2)))


class Embeddings(nn.Module):
    """Fig. 2: what a token is, where it stands, and in which of the two parts."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.longest, config.width)
        self.segments = nn.Embedding(2, config.width)
        self.norm, self.dropout = nn.LayerNorm(config.width), Dropout(config.dropout)

    def forward(self, text: Int[Tensor, "B S"], rows: Packing) -> Float[Tensor, "N d"]:
        if text.shape[1] > len(self.positions.weight):
            raise UserError(
                f"a text of {text.shape[1]} tokens is longer than the {len(self.positions.weight)} places this model has "
                "learned positions for: shorten it with --max-length."
            )
        ends = text == END
        segments = (ends.cumsum(1) - ends.long()).clamp(max=1)  # ends before each token
        places = torch.arange(text.shape[1], device=text.device).expand_as(text)
        x = self.tokens(rows.packed(text)) + self.positions(rows.packed(places)) + self.segments(rows.packed(segments))
        return self.dropout(self.norm(x))


class Words(nn.Module):
    """Sec. 3.1: the hidden words, by the table of tokens; and whether the second part follows the first."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dense, self.norm = nn.Linear(config.width, config.width), nn.LayerNorm(config.width)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))
        self.follows = nn.Linear(config.width, 2) if config.next_sentence else None

    def forward(self, x: Float[Tensor, "n d"], table: Float[Tensor, "V d"]) -> Float[Tensor, "n V"]:
        return F.linear(self.norm(F.gelu(self.dense(x))), table, self.bias)


class Answer(nn.Module):
    """What fine-tuning adds: a linear map; where the config has one, of a BiLSTM that reads the states."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.top, width = None, config.width
        if config.read:
            layers = 2 if config.features else 1  # Sec. 5.3: two; Sec. 5.1 does not say
            self.top = BothDirections(ForgettingCells, config.read, width, layers, config.dropout)
            width *= 2
        self.dropout = Dropout(0.0 if config.head == "span" else config.dropout)  # the authors' program: not there
        self.linear = nn.Linear(width, config.outputs)

    def forward(self, x: Float[Tensor, "n e"]) -> Float[Tensor, "n C"]:
        return self.linear(self.dropout(x))


class Bert(nn.Module):
    """Fig. 1: one body, and a head for the lesson at hand."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.pooler = nn.Linear(config.width, config.width) if config.pools else None
        self.head = Words(config) if config.head == "words" else Answer(config)
        first_values(self)

    def forward(self, text: Int[Tensor, "B *choices S"], chosen: Bool[Tensor, "B S"] | None = None) -> Any:
        """Logits: "words" (B, S, V), "class" (B, C), "tags" (B, S, C), "span" (B, S, 2) of the first and the last token,
        "choice" (B, choices) of texts (B, choices, S). Where the padding is they are 0 and mean nothing.

        The lessons of Sec. 3.1, where the head is "words" and n places are ``chosen``: logits (n, V) of the tokens at these
        alone, row by row; and (B, 2) of "does not follow", "follows", or None where the network is not asked that."""
        flat = text.flatten(0, -2)
        rows = Packing.of(flat)
        states = self.states(flat, rows)
        if isinstance(self.head, Words):
            table = self.embeddings.tokens.weight
            if chosen is None:
                return rows.spread(self.head(states[-1], table))
            follows = None if self.head.follows is None else self.head.follows(self.pooled(states[-1], rows))
            return self.head(picked(states[-1], rows.packed(chosen)), table), follows
        logits: Tensor = self.head(self.asked(states, rows))
        if self.config.head == "choice":
            return logits.view(text.shape[:-1])
        return logits if self.config.head == "class" else rows.spread(logits)

    def states(self, text: Int[Tensor, "B S"], rows: Packing) -> list[Float[Tensor, "N d"]]:
        """The embeddings, and what each layer makes of them."""
        found = [self.embeddings(text, rows)]
        for layer in self.layers:
            found.append(layer(found[-1], rows))
        return found

    def asked(self, states: list[Tensor], rows: Packing) -> Float[Tensor, "n e"]:
        """What the answer is read from: a vector for each text (n = B), or for each token (n = N)."""
        config, whole = self.config, self.config.head in ("class", "choice")
        assert isinstance(self.head, Answer)
        if self.head.top is None:
            return self.pooled(states[-1], rows) if whole else states[-1]
        last = states[1:][-LAST:] if config.features else states[-1:]
        x = torch.stack(last).sum(0) if config.ablation == "features-sum" else torch.cat(last, dim=1)
        each, text = self.head.top(rows.spread(x), rows.lengths)
        return text if whole else rows.packed(each)

    def pooled(self, x: Float[Tensor, "N d"], rows: Packing) -> Float[Tensor, "B d"]:
        """C: of the first token; from left to right of the last, the only one that has seen the whole text."""
        assert self.pooler is not None
        return torch.tanh(self.pooler(x.index_select(0, rows.last if self.config.causal else rows.first)))


def first_values(model: Bert) -> None:
    """The authors' program: truncated normal weights, biases 0. A BiLSTM on top keeps its own."""

    def cut(tensor: Tensor) -> None:
        nn.init.trunc_normal_(tensor, std=SPREAD, a=-2 * SPREAD, b=2 * SPREAD)

    fill(model, cut, constant(0.0))
    for part in model.modules():
        if isinstance(part, nn.Embedding) and not part.weight.is_meta:
            cut(part.weight)
        elif isinstance(part, nn.LayerNorm):
            part.eps = EPS


# ------------------------------------------------------------------------------------------- the paper's own numbers


def of_size(layers: int, width: int) -> Config:
    """Sec. 3: the inner width is 4H; the heads of both networks are 64 wide."""
    return Config(layers=layers, width=width, inner=4 * width, heads=width // 64)


BASE, LARGE = Config(), of_size(24, 1024)
# The smaller ones are from Turc et al. 2019, "Well-Read Students Learn Better".
SMALLER = {"tiny": (2, 128), "mini": (4, 256), "small": (4, 512), "medium": (8, 512)}
VARIANTS = {
    "bert": BASE,
    **{f"bert-{name}": of_size(*size) for name, size in SMALLER.items()},
    "bert-base": BASE,
    "bert-large": LARGE,
    "bert-no-nsp": replace(BASE, next_sentence=False),  # Table 5
    "bert-ltr": replace(BASE, next_sentence=False, ablation="ltr"),
    "bert-ltr-bilstm": replace(BASE, next_sentence=False, ablation="ltr+bilstm"),
    "bert-features": replace(BASE, ablation="features"),  # Table 7
    "bert-features-sum": replace(BASE, ablation="features-sum"),
    # The same network; only what it learns from is otherwise.
    "bert-always-mask": BASE,  # Table 8
    "bert-whole-word": BASE,
}


def _departures(config: Config) -> list[Departure]:
    found = []
    size = (config.layers, config.width, config.inner, config.heads)
    if size not in {(c.layers, c.width, c.inner, c.heads) for c in (BASE, LARGE)}:
        what = (
            f"{config.layers} layers of width {config.width} with {config.heads} heads, inner width {config.inner} (paper: "
            "12, 768, 12, 3072 or 24, 1024, 16, 4096)"
        )
        found.append(Departure(what, "smaller ones learn faster, and from less (Turc et al. 2019)", "Sec. 3"))
    if config.vocabulary != BASE.vocabulary:
        what = f"{config.vocabulary:,} tokens (paper: 30,000; published: {BASE.vocabulary:,})"
        found.append(Departure(what, "as the data have it", "Sec. 3"))
    if config.longest != BASE.longest:
        what = f"{config.longest:,} positions (paper: {BASE.longest})"
        found.append(Departure(what, "as long as the texts of the data", "App. A.2"))
    if (config.dropout, config.attention_dropout) != (BASE.dropout, BASE.attention_dropout):
        what = f"dropout {config.dropout:g}, and {config.attention_dropout:g} in attention (paper: 0.1)"
        found.append(Departure(what, "small data are fitted less closely, or more", "App. A.2"))
    return found


# L, H, A, width of a head, 4H, positions, as printed; million parameters, as printed and to half a unit; parameters of the
# body with its pooler, and with both heads of the pre-training, in the weights that the authors published.
PRINTED = {
    "base": ((12, 768, 12, 64, 3072, 512), (110, 0.5), (109_482_240, 110_106_428)),
    "large": ((24, 1024, 16, 64, 4096, 512), (340, 5), (335_141_888, 336_226_108)),
    "tiny": ((2, 128, 2, 64, 512, 512), (4.4, 0.05), (4_385_920, 4_433_468)),
    "mini": ((4, 256, 4, 64, 1024, 512), (11.3, 0.05), (11_170_560, 11_267_900)),
    "small": ((4, 512, 8, 64, 2048, 512), (29.1, 0.05), (28_763_648, 29_058_876)),
    "medium": ((8, 512, 8, 64, 2048, 512), (41.7, 0.05), (41_373_184, 41_668_412)),
}


def _facts(name: str) -> Iterator[Fact]:
    """Of a network of this size."""
    sizes, (million, within), published = PRINTED[name]
    layers, width, *_ = sizes
    config, variant = VARIANTS[f"bert-{name}"], f"bert-{name}"
    where = "Sec. 3" if name in ("base", "large") else "Turc et al. 2019, Table 1"
    told = "L, H, A, width of a head, 4H, positions"
    yield Fact(told, where, sizes, lambda: _sizes(config), variant=variant)
    yield Fact("million parameters", where, million, lambda: count(Bert, config) / 1e6, within, variant)
    told = "parameters of the body with its pooler, and with both heads of the pre-training"
    yield Fact(told, "the published weights", published, lambda: _parameters(config), variant=variant)
    told = "million weights in the layers' matrices and a table of 30,000 tokens: 30,000 H + 12 L H²"
    expect = (30_000 * width + 12 * layers * width**2) / 1e6
    yield Fact(told, where, expect, lambda: _matrices(config), 1e-6, variant)
    told = "multiply-adds of the body for 128 tokens and for 512: L (12 S H² + 2 S² H) + H²"
    work = [layers * (12 * s * width**2 + 2 * s * s * width) + width**2 for s in (128, 512)]
    yield Fact(told, where, work, lambda: [_multiply_adds(config, s) for s in (128, 512)], variant=variant)


def _sizes(config: Config) -> tuple[int, ...]:
    model = on_meta(Bert, config)
    layer = model.get_submodule("layers.0")
    with torch.device("meta"):
        x = torch.zeros(1, 3, config.width)
        queries, *_ = layer.attention.split(layer.attention.inside(x))  # type: ignore[operator, union-attr]
        inner = layer.get_submodule("feed_forward.inner")(x)
    positions = model.get_parameter("embeddings.positions.weight")
    return len(model.layers), x.shape[-1], *queries.shape[1::2], inner.shape[-1], len(positions)  # type: ignore[arg-type]


def _parameters(config: Config) -> tuple[int, int]:
    head = sum(p.numel() for p in on_meta(Bert, config).get_submodule("head").parameters())
    return count(Bert, config) - head, count(Bert, config)


def _matrices(config: Config) -> float:
    model = on_meta(Bert, replace(config, vocabulary=30_000))
    matrices = sum(p.numel() for p in model.get_submodule("layers").parameters() if p.dim() == 2)
    return (matrices + model.get_parameter("embeddings.tokens.weight").numel()) / 1e6


def _multiply_adds(config: Config, tokens: int) -> int:
    model = on_meta(Bert, replace(config, head="class", outputs=1))
    return multiply_adds(model, torch.full((1, tokens), END, device="meta")) - config.width


def _that_see(ablation: str) -> list[int]:
    """The places of 6 whose state changes with the token at place 3."""
    sizes = replace(BASE, vocabulary=9, layers=1, width=8, inner=16, heads=2, longest=6, head="tags", ablation=ablation)
    model = Bert(sizes).eval()
    text = torch.full((1, 6), len(SPECIAL))
    other = text.clone()
    other[0, 3] += 1
    with torch.no_grad():
        return [int(i) for i in (model(text) != model(other)).any(-1)[0].nonzero()]


def _first_weights() -> float:
    """The one farthest from 0, of a layer of the paper's width."""
    model = Bert(replace(BASE, layers=1, vocabulary=100))
    return float(max(p.detach().abs().max() for p in model.parameters() if p.dim() == 2))


def _dropouts() -> tuple[float, ...]:
    model = on_meta(Bert, replace(BASE, head="class"))
    names = ("embeddings.dropout", "layers.0.after_attention.dropout", "head.dropout")
    ps = [float(model.get_submodule(name).p) for name in names]  # type: ignore[arg-type]
    return (*ps, float(model.get_submodule("layers.0").attention_dropout))  # type: ignore[arg-type]


def _masked() -> tuple[float, ...]:
    """Shares of 400,000 tokens that have to be said, and of these: read as the mask, as another token, as they are."""
    vocabulary, mask = 10_000, len(SPECIAL)
    text = torch.randint(mask + 1, vocabulary, (2000, 200))
    chance = RowChance(seed=0, epoch=0, index=torch.arange(len(text)))
    read, said = masked(text, chance, Masking(), vocabulary=vocabulary, mask=mask)
    hidden = said != NOTHING
    as_mask, as_it_is = (float((read == other)[hidden].double().mean()) for other in (torch.tensor(mask), text))
    return float(hidden.double().mean()), as_mask, 1 - as_mask - as_it_is, as_it_is


def _shapes() -> list[tuple[int, ...]]:
    found = []
    with torch.device("meta"):
        for head, outputs in (("words", 2), ("class", 3), ("tags", 9), ("span", 2), ("choice", 1)):
            config = replace(BASE, layers=1, head=head, outputs=outputs)
            found.append(tuple(on_meta(Bert, config)(*config.example(2)).shape))
    return found


# Where, and the sets with their metrics: the values of the variants. Of the development sets, but for Table 1.
RESULTS: dict[tuple[str, ...], dict[str, tuple[float, ...]]] = {
    ("Table 1", "mnli-m test accuracy", "qnli test accuracy", "sst2 test accuracy", "rte test accuracy"): {
        "bert-base": (84.6, 90.5, 93.5, 66.4),
        "bert-large": (86.7, 92.7, 94.9, 70.1),
    },
    ("Table 2", "squad1.1 EM", "squad1.1 F1"): {"bert-base": (80.8, 88.5), "bert-large": (84.1, 90.9)},
    ("Table 3", "squad2.0 EM", "squad2.0 F1"): {"bert-large": (78.7, 81.9)},
    ("Table 4", "swag accuracy"): {"bert-base": (81.6,), "bert-large": (86.6,)},
    ("Table 5", "mnli-m accuracy", "qnli accuracy", "mrpc accuracy", "sst2 accuracy", "squad1.1 F1"): {
        "bert-base": (84.4, 88.4, 86.7, 92.7, 88.5),
        "bert-no-nsp": (83.9, 84.9, 86.5, 92.6, 87.9),
        "bert-ltr": (82.1, 84.3, 77.5, 92.1, 77.8),
        "bert-ltr-bilstm": (82.1, 84.1, 75.7, 91.6, 84.9),
    },
    ("Table 7", "conll2003 F1"): {"bert-base": (96.4,), "bert-large": (96.6,), "bert-features": (96.1,)},
    ("Table 8", "mnli-m accuracy"): {"bert-always-mask": (84.3,)},
}


def _results() -> Iterator[Result]:
    for (where, *columns), rows in RESULTS.items():
        for variant, values in rows.items():
            for column, value in zip(columns, values):
                data, _, metric = column.rpartition(" ")
                yield Result(variant, data, metric, value, where)


PAPER = Paper(
    title="BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
    authors="Devlin, Chang, Lee, Toutanova",
    year=2018,
    venue="NAACL 2019",
    url="https://arxiv.org/abs/1810.04805",
    idea="Words are hidden, and told from both sides at once; the same network is then fine-tuned on any task.",
    build=Bert,
    variants=VARIANTS,
    facts=(
        *(fact for name in PRINTED for fact in _facts(name)),
        Fact("the places of 6 that see token 3, from 0: all", "Sec. 3.1", [0, 1, 2, 3, 4, 5], lambda: _that_see("")),
        Fact("left to right: from token 3 on", "Sec. 5.1", [3, 4, 5], lambda: _that_see("ltr"), variant="bert-ltr"),
        Fact(
            "outputs for 2 texts (2 times 4) of 25 tokens: words, 3 classes, 9 tags, spans, choices",
            "Fig. 4",
            [(2, 25, 30_522), (2, 3), (2, 25, 9), (2, 25, 2), (2, 4)],
            _shapes,
        ),
        Fact("tokens said; of these masked, random, as they are", "Sec. 3.1", (0.15, 0.8, 0.1, 0.1), _masked, 0.005),
        Fact("dropout of embeddings, sub-layers, outputs, attention", "App. A.2", (0.1, 0.1, 0.1, 0.1), _dropouts),
        Fact("the largest first weight: two times 0.02", "the authors' program", 0.04, _first_weights, 1e-4),
    ),
    results=tuple(_results()),
)
