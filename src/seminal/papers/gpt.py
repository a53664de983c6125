"""GPT: the decoder of the Transformer alone, which learns to say the next token of plain text.

Alec Radford, Karthik Narasimhan, Tim Salimans, Ilya Sutskever, "Improving Language Understanding by Generative
Pre-Training", OpenAI, June 2018.

The idea: text without labels is never scarce, and to say what comes next in it a network must learn much that other tasks
need too. Where nothing has to be read first, half a Transformer is enough: every token asks itself and those before it,
so that one pass over a window gives a lesson at each of its places. The same network is then trained further on labelled
texts, with no more than a linear map on top: each task is written as one row of tokens, so that nothing else has to change.

    L1(U) = Σ_i log P(u_i | u_{i−k}, …, u_{i−1})                                                                    (1)
    h_0 = U W_e + W_p                                                                                               (2)
    h_l = block(h_{l−1}) for l = 1 … n:  x = LayerNorm(h + Dropout(MultiHead(h, only those before)))
                                         h = LayerNorm(x + Dropout(GELU(x W_1 + b_1) W_2 + b_2))
    P(u) = softmax(h_n W_eᵀ)
    P(y | x_1 … x_m) = softmax(h_n[m] W_y)      the state of the last token                                         (3)
    L2(C) = Σ_(x, y) log P(y | x_1 … x_m)                                                                           (4)
    L3(C) = L2(C) + λ L1(C)                     the words of the labelled texts are said on                         (5)

A text is read as ``<s> a </s>``, a pair as ``<s> a </s> b </s>``: start, text, delimiter, text, extract (Fig. 1), the three
being new to the network. Of a choice, each ending stands behind its beginning as in a pair, and has a score of its own.

Shapes: B rows, T tokens, d width, h heads, k width of a key, V vocabulary, C outputs; R hypotheses when writing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Memory, Paper, Result, UserError
from seminal.papers import transformer
from seminal.papers.transformer import MultiHeadAttention, Residual
from seminal.pieces.cache import ROOM, with_room
from seminal.pieces.dropout import Dropout
from seminal.pieces.init import constant, fill, normal
from seminal.pieces.measure import count, multiply_adds, on_meta
from seminal.pieces.packing import picked
from seminal.pieces.tokens import BEGIN, END, PAD, SPECIAL, lengths

SPREAD = 0.02  # standard deviation of all first weights (Sec. 4.1)
HEADS = {"stream": "words", "labelled": "class", "choices": "choice"}


@dataclass(frozen=True)
class Config:
    """Sec. 4.1, model specifications. ``norm`` is what GPT-2 does otherwise."""

    vocabulary: int = 40_478  # V: 40,000 merges (Sec. 4.1) on 478 signs, as in the published weights
    layers: int = 12  # n
    width: int = 768
    inner: int = 3072
    heads: int = 12
    longest: int = 512  # k, the tokens of a window: so many places have a position
    dropout: float = 0.1  # of the embeddings, of what each sub-layer adds, and before the outputs
    attention_dropout: float = 0.1  # of the shares that attention gives
    norm: str = "post"  # "pre": before each sub-layer and once at the end
    head: str = "words"  # "class" of a text or of a pair of texts, "choice" among texts
    outputs: int = 2  # C

    @property
    def body(self) -> transformer.Config:
        """The same in the words of the Transformer, whose blocks these are."""
        names = ("vocabulary", "layers", "width", "inner", "heads", "longest", "dropout", "norm")
        same = {name: getattr(self, name) for name in names}
        key = self.width // self.heads
        return replace(transformer.BASE, **same, key=key, positions="learned", biases=True, activation="gelu")

    def fitted(self, spec: DataSpec) -> Config:
        """For plain text, from which it learns first, or for what it is fine-tuned on."""
        if spec.kind not in HEADS:
            raise UserError(
                f"a GPT reads plain text, labelled texts and choices, and {spec.name} is {spec.form}. Use `transformer` for "
                "sentence pairs, or `bert` for labels of words and for questions."
            )
        if spec.longest["text"] > self.longest:
            what = "windows" if spec.kind == "stream" else "texts"
            raise UserError(
                f"{what} of {spec.longest['text']} tokens are longer than the {self.longest} places this model has learned "
                f"positions for. Write --max-length {self.longest}."
            )
        head = HEADS[spec.kind]
        outputs = {"words": self.outputs, "choice": 1}.get(head, spec.outputs)
        return replace(self, vocabulary=spec.vocabulary["text"], head=head, outputs=outputs)

    def departures(self) -> tuple[Departure, ...]:
        """Sizes that are not the paper's, and what GPT-2 does otherwise."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 25) tokens without padding; four texts in a row for choices."""
        length = min(25, self.longest)
        if self.head == "words":
            return (torch.randint(PAD + 1, self.vocabulary, (batch, length)),)
        text = torch.randint(len(SPECIAL), self.vocabulary, (batch, *[4] * (self.head == "choice"), length))
        text[..., 0], text[..., length // 2], text[..., -1] = BEGIN, END, END
        return (text,)


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


class Answer(nn.Module):
    """Eq. 3 and Sec. 3.3: all that fine-tuning adds."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        # Not the rows of `<s>` and `</s>`: plain text has taught these to be never said, and both the same way.
        self.frame = nn.Embedding(3, config.width)  # start, delimiter, extract
        self.dropout = Dropout(config.dropout)
        self.linear = nn.Linear(config.width, config.outputs, bias=False)  # W_y

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n C"]:
        found: Tensor = self.linear(self.dropout(x))
        return found

    def framed(self, x: Float[Tensor, "R n d"], text: Int[Tensor, "R n"]) -> Float[Tensor, "R n d"]:
        """The vectors of the tokens, with those of the frame in their places."""
        last = torch.arange(text.shape[1], device=text.device) == lengths(text)[:, None] - 1
        part = (text == END).long() + ((text == END) & last).long()
        return torch.where(((text == BEGIN) | (text == END))[..., None], self.frame(part), x)


class GPT(nn.Module):
    """Eq. 2, where the last linear map is the table of embeddings; or Eq. 3."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocabulary, config.width)  # W_e
        self.positions = nn.Embedding(config.longest, config.width)  # W_p
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width) if config.norm == "pre" else nn.Identity()
        self.head = None if config.head == "words" else Answer(config)
        first_values(self)

    def forward(self, text: Int[Tensor, "B *choices T"], after: Bool[Tensor, "B *choices T"] | None = None) -> Any:
        """Logits: "words" (B, T, V) of the token after each of ``text``; "class" (B, C); "choice" (B, choices) of texts
        (B, choices, T). Padding on the right changes nothing before it.

        Eq. 5, where the head is not "words" and n places are given, ``after`` which the next token is to be said as well:
        these logits, and (n, V) of the tokens that follow, row by row."""
        rows = text.flatten(0, -2)
        x = self.embedded(rows)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        if self.head is None:
            return self.logits(x)
        answer = self.head(last_of(x, rows))
        answer = answer.view(text.shape[:-1]) if self.config.head == "choice" else answer
        return answer if after is None else (answer, self.logits(picked(x.flatten(0, 1), after.flatten())))

    def embedded(self, tokens: Int[Tensor, "R n"], first: int = 0) -> Float[Tensor, "R n d"]:
        """h_0; ``first`` is the place of the first token."""
        end = first + tokens.shape[1]
        if end > self.config.longest:
            raise UserError(
                f"a text of {end} tokens is longer than the {self.config.longest} places this model has learned positions "
                "for: shorten it, or train with a larger --max-length."
            )
        x = self.tokens(tokens)
        x = x if self.head is None else self.head.framed(x, tokens)
        return self.dropout(x + self.positions.weight[first:end])

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


def last_of(x: Float[Tensor, "R n d"], text: Int[Tensor, "R n"]) -> Float[Tensor, "R d"]:
    """The state of each row's last token, which alone has seen the whole text; padding is none."""
    return x[torch.arange(len(x), device=x.device), lengths(text) - 1]


def first_values(model: GPT) -> None:
    """Sec. 4.1: N(0, 0.02) suffices, because of the layer normalisations; biases 0."""
    fill(model, normal(SPREAD), constant(0.0))
    for table in (model.tokens, model.positions, *([model.head.frame] if model.head else [])):
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
    sizes = (config.layers, config.width, config.inner, config.heads, config.dropout, config.attention_dropout)
    if sizes != (12, 768, 3072, 12, 0.1, 0.1):
        what = (
            f"{config.layers} layers of width {config.width} with {config.heads} heads, inner width {config.inner}, dropout "
            f"{config.dropout:g} and {config.attention_dropout:g} in attention (paper: 12, 768, 12, 3072, 0.1, 0.1)"
        )
        found.append(Departure(what, "small data are overfitted by the paper's sizes", "Sec. 4.1"))
    if config.norm != BASE.norm:
        what = "layer normalisation before each sub-layer and at the end (paper: after each sub-layer)"
        found.append(Departure(what, "as in GPT-2", "Sec. 4.1"))
    if config.head == "class":
        what = "pairs, if any, are read in the order in which they stand (paper: similarity in both, states added)"
        found.append(Departure(what, "a table does not tell which pairs have no order", "Sec. 3.3"))
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


def _dropouts() -> tuple[float, ...]:
    """Of residual, embedding, attention and classifier, on the built network."""
    model = on_meta(GPT, replace(BASE, head="class"))
    names = ("layers.0.after_attention.dropout", "dropout", "head.dropout")
    residual, embedding, classes = (float(model.get_submodule(name).p) for name in names)  # type: ignore[arg-type]
    attention = float(model.get_submodule("layers.0").attention_dropout)  # type: ignore[arg-type]
    return residual, embedding, attention, classes


def _first_that_sees() -> int:
    """The first place whose output changes with the token at place 3 of 8."""
    model = GPT(SMALL).eval()
    text = torch.ones(1, 8, dtype=torch.long)
    other = text.clone()
    other[0, 3] = 2
    with torch.no_grad():
        changed = (model(text) != model(other)).any(-1)[0]
    return int(changed.nonzero()[0])


SMALL = replace(BASE, vocabulary=9, layers=2, width=8, inner=16, heads=2, longest=8)


def _maps() -> list[tuple[int, ...]]:
    """W_y as torch keeps it, for so many outputs."""
    heads = (("class", 2), ("class", 3), ("choice", 1))
    models = [on_meta(GPT, replace(BASE, head=head, outputs=outputs)) for head, outputs in heads]
    return [tuple(model.get_parameter("head.linear.weight").shape) for model in models]


def _added() -> int:
    return count(GPT, replace(BASE, head="class", outputs=3)) - count(GPT, BASE)


def _multiply_adds() -> int:
    model = on_meta(GPT, replace(BASE, head="class", outputs=3))
    return multiply_adds(model, torch.full((1, 128), END, device="meta"))


def _answering() -> list[list[int]]:
    """The places of 8 from whose last states the class is told, of a text of 6 tokens and of one of 8."""
    model, kept = GPT(replace(SMALL, head="class", outputs=3)).eval(), []
    model.norm.register_forward_hook(lambda module, read, found: kept.append(found))
    text = torch.full((2, 8), len(SPECIAL))
    text[0, 6:] = PAD
    (gradient,) = torch.autograd.grad(model(text).square().sum(), kept)
    return [row.any(-1).nonzero()[:, 0].tolist() for row in gradient]


TUNED = {  # on the test sets
    "Table 2": {"mnli-m": 82.1, "mnli-mm": 81.4, "snli": 89.9, "scitail": 88.3, "qnli": 88.1, "rte": 56.0},
    "Table 3": {"storycloze": 86.5, "race": 59.0},
    "Table 4": {"cola": 45.4, "sst2": 91.3, "mrpc": 82.3, "stsb": 82.0, "qqp": 70.3},
}
METRICS = {"cola": "Matthews correlation", "mrpc": "F1", "stsb": "Pearson correlation", "qqp": "F1"}

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
        Fact("dropout of residual, embedding, attention, classifier", "Sec. 4.1", (0.1,) * 4, _dropouts, variant="gpt"),
        Fact("masked self-attention: the first place that sees token 3, from 0", "Sec. 4.1", 3, _first_that_sees),
        Fact(
            "W_y of 2 classes, of 3, of a choice",
            "Eq. 3, Sec. 4.1",
            [(2, 768), (3, 768), (1, 768)],
            _maps,
            variant="gpt",
        ),
        Fact("3 classes add W_y, and start, delimiter, extract", "Sec. 3.2, 3.3", 4608, _added, variant="gpt"),
        Fact(
            "multiply-adds of 128 tokens with 3 classes: n (12 T d² + 2 T² d) + 3 d",
            "Sec. 4.1 (sizes; the number itself is not printed)",
            12 * (12 * 128 * 768**2 + 2 * 128**2 * 768) + 3 * 768,
            _multiply_adds,
            variant="gpt",
        ),
        Fact("a class is told from the state of the last token, of 6 and of 8", "Eq. 3", [[5], [7]], _answering),
    ),
    results=(
        Result("gpt", "BooksCorpus", "perplexity per token", 18.4, "Sec. 4.1"),
        *(
            Result("gpt", data, METRICS.get(data, "accuracy"), value, where)
            for where, row in TUNED.items()
            for data, value in row.items()
        ),
    ),
)
