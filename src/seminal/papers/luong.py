"""Global and local attention in a stack of LSTMs.

Minh-Thang Luong, Hieu Pham, Christopher D. Manning, "Effective Approaches to Attention-based Neural Machine
Translation", EMNLP 2015, arXiv:1508.04025.

The idea: the decoder first makes its step and then looks at the source with its new state, so that attention is one
layer on top of any stack of LSTMs. How well a state and a word suit may be a plain product of vectors; and it may be
enough to look at a window around the place that is being translated. Where it looked is told to the next step.

    score(h_t, h̄_s) = h_tᵀ h̄_s (dot),  h_tᵀ W_a h̄_s (general),  v_aᵀ tanh(W_a [h_t ; h̄_s]) (concat)                (3.1)
    a_t(s) = align(h_t, h̄_s) = softmax over s of score(h_t, h̄_s);  a_t = softmax(W_a h_t) (location)               (3.1)
    c_t = Σ_s a_t(s) h̄_s,  h̃_t = tanh(W_c [c_t ; h_t]),  p(y_t) = softmax(W_s h̃_t)                                (5, 6)
    local: only s with |s − p_t| ≤ D;  p_t = t (local-m) or S · σ(v_pᵀ tanh(W_p h_t)) (local-p)                    (3.2)
    local-p: a_t(s) = align(h_t, h̄_s) exp(−(s − p_t)² / 2σ²),  σ = D / 2                                           (3.2)
    input feeding: the first LSTM reads [E y_{t−1} ; h̃_{t−1}]                                                      (3.3)

The source is read from its last word to its first (4.2); places s are counted from 1 in the order in which it is written.
The window is a mask over all places: the same numbers, without the saving that the paper hopes for in long texts. W_a of
concat is whole here; in the paper's experiments its part for h̄_s was the identity (a footnote of Sec. 5.3).

Shapes: B rows, S source words, T target words, n cells and width of an embedding, L layers, V target vocabulary;
R = B · beams hypotheses when writing. Inside, time comes first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seminal.core import DataSpec, Departure, Fact, Memory, Paper, Result, UserError
from seminal.papers.zaremba import deep_lstm, start
from seminal.pieces import masks
from seminal.pieces.attention import additive, attend, dot, softmax
from seminal.pieces.dropout import Dropout
from seminal.pieces.measure import on_meta
from seminal.pieces.recurrent import has_numbers, turned
from seminal.pieces.tokens import PAD, lengths


@dataclass(frozen=True)
class Config:
    """A row of Table 4, with the sizes of Sec. 4.1."""

    source: int = 50_000
    target: int = 50_000
    width: int = 1000  # n: of an embedding, and cells of each LSTM
    layers: int = 4
    score: str = "general"  # "dot", "concat", "location"
    scope: str = "global"  # "local-m", "local-p"
    reach: int = 10  # D
    longest: int = 50  # places that a score by location knows
    dropout: float = 0.2  # on what goes up from an embedding or an LSTM (Zaremba et al. 2014)

    def fitted(self, spec: DataSpec) -> Config:
        """For sentence pairs."""
        if spec.kind != "pairs":
            raise UserError(
                f"this network translates sentence pairs, and {spec.name} is {spec.form}. Use `lstm` for labelled text, "
                "or `gpt` for plain text."
            )
        longest = max(self.longest, spec.longest["source"]) if self.score == "location" else self.longest
        return replace(self, source=spec.vocabulary["source"], target=spec.vocabulary["target"], longest=longest)

    def departures(self) -> tuple[Departure, ...]:
        """What differs from Sec. 4.1."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 25) source and (batch, 25) target tokens without padding."""
        return tuple(torch.randint(PAD + 1, size, (batch, 25)) for size in (self.source, self.target))


# ------------------------------------------------------------------------------------------------- the contribution


class Attention(nn.Module):
    """Secs. 3.1 and 3.2: a score, and which places are looked at."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        n = config.width
        self.score, self.scope, self.reach = config.score, config.scope, config.reach
        concat, predicts = config.score == "concat", config.scope == "local-p"
        self.of_state = nn.Linear(n, n, bias=False) if concat else None  # W_a, the part for h_t
        self.of_source = nn.Linear(n, n, bias=False) if concat or config.score == "general" else None  # W_a
        self.weight = nn.Parameter(torch.empty(n)) if concat else None  # v_a
        self.location = nn.Linear(n, config.longest, bias=False) if config.score == "location" else None  # W_a
        self.inner = nn.Linear(n, n, bias=False) if predicts else None  # W_p
        self.outer = nn.Linear(n, 1, bias=False) if predicts else None  # v_p

    def read(self, states: Float[Tensor, "B S n"], source: Int[Tensor, "B S"]) -> dict[str, Tensor]:
        """What depends on the source alone: h_tᵀ W_a h̄_s is the product of h_t and W_a h̄_s, made once."""
        keys = states if self.of_source is None else self.of_source(states)
        return {"states": states, "keys": keys, "mask": masks.padding(source)[:, 0]}

    def forward(
        self, hidden: Float[Tensor, "R n"], read: Mapping[str, Tensor], time: int
    ) -> tuple[Float[Tensor, "R n"], Float[Tensor, "R S"]]:
        """c_t and a_t for the states h_t of all hypotheses at ``time``, counted from 1."""
        states, mask = read["states"], read["mask"]
        queries = hidden.view(len(states), -1, hidden.shape[-1])  # (B, beams, n)
        scores = self.scores(queries, read["keys"])
        if self.scope == "global":
            context, weights = attend(scores, states, mask)
        else:
            place = torch.arange(1, states.shape[1] + 1, device=states.device)
            away = place - (time if self.outer is None else self.aligned(queries, mask))  # s − p_t
            near = mask & (away.abs() <= self.reach)
            bell = torch.exp(-(away**2) / (2 * (self.reach / 2) ** 2)) if self.scope == "local-p" else 1.0
            context, weights = attend(scores, states, near, lambda scores: softmax(scores) * bell)
        return context.flatten(0, 1), weights.flatten(0, 1)

    def scores(self, queries: Float[Tensor, "B k n"], keys: Float[Tensor, "B S n"]) -> Float[Tensor, "B k S"]:
        """How well each h_t suits each place, before the softmax."""
        if self.weight is not None and self.of_state is not None:
            return additive(self.of_state(queries), keys, self.weight)
        if self.location is not None:  # for places beyond the longest it has no score
            found = self.location(queries)
            return F.pad(found, (0, keys.shape[1] - found.shape[-1]), value=-math.inf)
        return dot(queries, keys)

    def aligned(self, queries: Float[Tensor, "B k n"], mask: Tensor) -> Float[Tensor, "B k 1"]:
        """p_t of local-p, between 0 and the number of source words."""
        assert self.inner is not None
        assert self.outer is not None
        return mask.sum(-1, keepdim=True) * torch.sigmoid(self.outer(torch.tanh(self.inner(queries))))


# ------------------------------------------------------------------------------------------------- the whole model


def lstm(gates: Float[Tensor, "R n4"], cell: Float[Tensor, "R n"]) -> tuple[Float[Tensor, "R n"], Float[Tensor, "R n"]]:
    """The next h and c, from what i, f, o and g are before their non-linearities (Zaremba et al. 2014, Sec. 3.1)."""
    width = cell.shape[-1]
    three, proposal = gates.split([3 * width, width], dim=-1)
    enter, keep, leave = torch.sigmoid(three).chunk(3, dim=-1)
    cell = torch.addcmul(keep * cell, enter, torch.tanh(proposal))
    return leave * torch.tanh(cell), cell


class AttentionalLSTM(nn.Module):
    """Figs. 2 to 4."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        n = config.width
        self.config = config
        self.source_words = nn.Embedding(config.source, n)
        self.encoder = deep_lstm(n, config.layers, config.dropout)
        self.words = nn.Embedding(config.target, n)
        # Each layer makes i, f, o and g of what comes from below and of its own state.
        self.first = nn.Linear(n + n + n, 4 * n)  # [E y ; h̃ ; h]
        self.above = nn.ModuleList(nn.Linear(n + n, 4 * n) for _ in range(config.layers - 1))
        self.attention = Attention(config)
        self.combine = nn.Linear(2 * n, n, bias=False)  # W_c
        self.output = nn.Linear(n, config.target, bias=False)  # W_s
        self.dropout = Dropout(config.dropout)
        start(self, 0.1)  # Sec. 4.1: all uniform between −0.1 and 0.1

    def forward(self, source: Int[Tensor, "B S"], target: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits of the word after each of ``target``, which begins with ``<s>``."""
        read, moving = self.read(source)
        return self.output(self.follow(target, read, moving, length=0)[0])

    def read(self, source: Int[Tensor, "B S"]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The states h̄_s at the places of their words, and the decoder's first state: the encoder's last of each layer."""
        ends = lengths(source)
        x = turned(self.dropout(self.source_words(source)), ends)
        if not has_numbers(source):
            states, (hidden, cells) = self.encoder(x)
        else:
            packed = pack_padded_sequence(x, ends.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
            states, (hidden, cells) = self.encoder(packed)
            states, _ = pad_packed_sequence(states, batch_first=True, total_length=source.shape[1])
        states = self.dropout(turned(states, ends))
        moving = {"hidden": hidden.transpose(0, 1), "cells": cells.transpose(0, 1), "fed": torch.zeros_like(hidden[0])}
        return self.attention.read(states, source), moving

    def follow(
        self, tokens: Int[Tensor, "R T"], read: Mapping[str, Tensor], moving: Mapping[str, Tensor], length: int
    ) -> tuple[Float[Tensor, "R T n"], dict[str, Tensor]]:
        """Reads words after ``length`` others and gives h̃_t for each; what is known then, with the last a_t."""
        hidden, cells = list(moving["hidden"].unbind(1)), list(moving["cells"].unbind(1))
        of_words, of_states = self.first.weight.split([self.config.width, 2 * self.config.width], dim=1)
        x = self.dropout(self.words(tokens.t()))
        fed, weights, told = moving["fed"], moving["fed"], []
        for time, given in enumerate(F.linear(x, of_words, self.first.bias).unbind(0), length + 1):
            gates = torch.addmm(given, torch.cat([fed, hidden[0]], dim=-1), of_states.t())
            hidden[0], cells[0] = lstm(gates, cells[0])
            for i, layer in enumerate(self.above, 1):
                gates = layer(torch.cat([self.dropout(hidden[i - 1]), hidden[i]], dim=-1))
                hidden[i], cells[i] = lstm(gates, cells[i])
            top = self.dropout(hidden[-1])
            context, weights = self.attention(top, read, time)
            fed = torch.tanh(self.combine(torch.cat([context, top], dim=-1)))  # h̃_t
            told.append(fed)
        known = {"hidden": torch.stack(hidden, 1), "cells": torch.stack(cells, 1), "fed": fed, "attention": weights}
        return torch.stack(told, dim=1), known

    def begin(self, source: Tensor | None, rows: int, attention: bool = False) -> Memory:
        """See `seminal.core.Writer`."""
        assert source is not None
        read, moving = self.read(source)
        moving = {name: value.repeat_interleave(rows // len(source), dim=0) for name, value in moving.items()}
        if attention:
            moving["attention"] = moving["fed"].new_zeros(rows, source.shape[1])
        return Memory(read, moving)

    def step(self, tokens: Int[Tensor, "R n"], memory: Memory) -> tuple[Tensor, Memory]:
        """See `seminal.core.Writer`."""
        told, known = self.follow(tokens, memory.fixed, memory.moving, memory.length)
        moving = {name: known[name] for name in memory.moving}
        return self.output(told[:, -1]), replace(memory, moving=moving, length=memory.length + tokens.shape[1])


# ------------------------------------------------------------------------------------------- the paper's own tables

GENERAL = Config()
VARIANTS = {
    "luong-general": GENERAL,
    "luong-dot": replace(GENERAL, score="dot"),
    "luong-concat": replace(GENERAL, score="concat"),
    "luong-location": replace(GENERAL, score="location"),
    "luong-local-m": replace(GENERAL, scope="local-m"),
    "luong-local-p": replace(GENERAL, scope="local-p"),
    "luong-local-m-dot": replace(GENERAL, score="dot", scope="local-m"),
    "luong-local-p-dot": replace(GENERAL, score="dot", scope="local-p"),
}


def _departures(config: Config) -> list[Departure]:
    found = []
    if (config.layers, config.width) != (GENERAL.layers, GENERAL.width):
        what = f"LSTMs and embeddings of {config.width}, {config.layers} deep (paper: 1000, 4 deep)"
        found.append(Departure(what, "small data are overfitted by the paper's sizes", "Sec. 4.1"))
    if (config.source, config.target) != (GENERAL.source, GENERAL.target):
        what = f"{config.source:,} and {config.target:,} tokens (paper: 50,000 words on each side)"
        found.append(Departure(what, "as the data have it", "Sec. 4.1"))
    if config.dropout != GENERAL.dropout:
        what = f"dropout {config.dropout:g} (paper: 0.2)"
        found.append(Departure(what, "fewer data need more of it", "Sec. 4.1"))
    if config.reach != GENERAL.reach:
        found.append(Departure(f"a window of D = {config.reach} (paper: 10)", "as it was asked for", "Sec. 4.1"))
    return found


def _weights(*names: str) -> float:
    """Million numbers in the matrices of a part; biases are not counted."""
    sizes = {name: p for name, p in on_meta(AttentionalLSTM, GENERAL).named_parameters() if name.startswith(names)}
    return sum(p.numel() for name, p in sizes.items() if "bias" not in name) / 1e6


def _inputs() -> tuple[int, ...]:
    """What each LSTM of the decoder reads from below."""
    sizes = dict(on_meta(AttentionalLSTM, GENERAL).named_parameters())
    names = "first.weight", *(f"above.{i}.weight" for i in range(GENERAL.layers - 1))
    return tuple(sizes[name].shape[1] - GENERAL.width for name in names)


def _looked(scope: str, time: int = 25, words: int = 50) -> Tensor:
    """Weights on a source of so many words whose states are all alike, for an h_t of zeros."""
    attention = Attention(Config(4, 4, width=2, layers=1, scope=scope)).requires_grad_(False)
    read = attention.read(torch.ones(1, words, 2), torch.ones(1, words, dtype=torch.long))
    return attention(torch.zeros(1, 2), read, time)[1][0]


def _spread() -> float:
    """σ of the bell of local-p, from two of its weights: ln(a(p) / a(p − D)) = D² / 2σ²."""
    weights = _looked("local-p")  # h_t = 0: p_t = S / 2 = 25
    return GENERAL.reach / math.sqrt(2 * math.log(weights[24] / weights[24 - GENERAL.reach]))


def _printed_sizes() -> tuple[int, ...]:
    model = on_meta(AttentionalLSTM, GENERAL)
    encoder = model.get_submodule("encoder")
    assert isinstance(encoder, nn.LSTM)
    return encoder.num_layers, encoder.hidden_size, *model.get_parameter("words.weight").shape[::-1]


TABLE_4 = {"location": 18.1, "dot": 18.6, "general": 17.3, "local-m": 18.6, "local-p-dot": 18.0, "local-p": 19.0}
KNOWN_WORDS = {"location": 19.3, "dot": 20.5, "general": 19.1, "local-m": 20.4, "local-p-dot": 19.6, "local-p": 20.9}

PAPER = Paper(
    title="Effective Approaches to Attention-based Neural Machine Translation",
    authors="Luong, Pham, Manning",
    year=2015,
    venue="EMNLP 2015",
    url="https://arxiv.org/abs/1508.04025",
    idea="Attention on top of a stack of LSTMs, with simple scores, to all of the source or to a window of it.",
    build=AttentionalLSTM,
    variants=VARIANTS,
    facts=(
        Fact("layers, cells, width of an embedding, words", "Sec. 4.1", (4, 1000, 1000, 50_000), _printed_sizes),
        Fact(
            "with input feeding the first LSTM reads 2n numbers, the others n",
            "Sec. 3.3, footnote",
            (2000, 1000, 1000, 1000),
            _inputs,
        ),
        # The paper prints the sizes, and no sum.
        Fact(
            "million weights of the embeddings, both stacks of LSTMs, W_c and W_a, W_s",
            "Secs. 3 and 4.1: 2 · 50, 4 · 8, 12 + 3 · 8, 2 + 1, 50",
            (100, 32, 36, 3, 50),
            lambda: (
                _weights("source_words", "words"),
                _weights("encoder"),
                _weights("first", "above"),
                _weights("combine", "attention"),
                _weights("output"),
            ),
        ),
        Fact(
            "a window of 2D + 1 words, D = 10",
            "Secs. 3.2 and 4.1",
            21,
            lambda: int((_looked("local-m") > 0).sum()),
            variant="luong-local-m",
        ),
        Fact("σ = D / 2", "Sec. 3.2", 5.0, _spread, within=1e-4, variant="luong-local-p"),
    ),
    results=(
        *(
            Result(f"luong-{row}", "newstest2014 en-de", "BLEU", bleu, "Table 4, before unknown words are replaced")
            for row, bleu in TABLE_4.items()
        ),
        *(
            Result(f"luong-{row}", "newstest2014 en-de", "BLEU with unknown words replaced", bleu, "Table 4")
            for row, bleu in KNOWN_WORDS.items()
        ),
    ),
)
