"""Translation with two recurrent networks: one reads a sentence into a vector, one writes the translation from it.

Ilya Sutskever, Oriol Vinyals, Quoc V. Le, "Sequence to Sequence Learning with Neural Networks", NIPS 2014,
arXiv:1409.3215.

The idea: a deep LSTM reads the source, its last state is all that is known of the sentence, and a second deep LSTM, a
language model that begins with this state, writes the target. The source is read backwards: its first words then stand
close to the first words of the translation, and learning finds these short paths first.

    v = the state of the encoder after x_S … x_1 </s>                                                       (Secs. 2, 3.3)
    p(y_1 … y_T | x_1 … x_S) = Π_t p(y_t | v, y_1 … y_{t−1})                                                        (1)

The LSTM is that of Graves 2013, as in `zaremba`, whose network is the decoder here: "essentially a recurrent neural
network language model" that does not begin at 0.

Shapes: B rows, S source tokens, T target tokens, n units, L layers, k = 2 L, V vocabulary of the target; R = B · beams
hypotheses when writing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from seminal.core import DataSpec, Departure, Fact, Memory, Paper, Result, UserError
from seminal.papers import zaremba
from seminal.papers.zaremba import deep_lstm, together
from seminal.pieces.dropout import Dropout
from seminal.pieces.measure import count, on_meta, work
from seminal.pieces.recurrent import has_numbers, turned
from seminal.pieces.tokens import END, PAD, lengths


@dataclass(frozen=True)
class Config:
    """Sec. 3.4. The last two fields are for small data; a paper's row has their defaults."""

    source: int = 160_000  # words of the source language
    target: int = 80_000  # V, words of the target language
    layers: int = 4  # L
    units: int = 1000  # n, also the width of both embeddings
    reversed: bool = True  # the source is read from its last word to its first (Sec. 3.3)
    start: float = 0.08  # first values are uniform between −start and start
    dropout: float = 0.0  # as Zaremba et al. 2014 have it (their Sec. 4.3: 0.2 for this network)
    tied: bool = False  # the softmax has the matrix of the target's embedding (Press and Wolf 2017)

    @property
    def decoder(self) -> zaremba.Config:
        """The language model that writes."""
        return zaremba.Config(
            self.target, self.units, self.layers, dropout=self.dropout, start=self.start, tied=self.tied
        )

    def fitted(self, spec: DataSpec) -> Config:
        """For sentence pairs, each language with its own vocabulary or both with one."""
        if spec.kind != "pairs":
            raise UserError(
                f"`seq2seq` translates sentence pairs, and {spec.name} is {spec.form}. Use `zaremba-small` for plain "
                "text, or `transformer-encoder` for labelled text."
            )
        return replace(self, source=spec.vocabulary["source"], target=spec.vocabulary["target"])

    def departures(self) -> tuple[Departure, ...]:
        """Other sizes, other vocabularies, and what later code does."""
        found, own = [], VARIANTS["seq2seq"]
        if (self.layers, self.units, self.start) != (own.layers, own.units, own.start):
            what = (
                f"{self.layers} layers of {self.units} units, first values up to {self.start:g} (paper: 4, 1000, 0.08)"
            )
            found.append(Departure(what, "the paper's size is for its 12 million pairs", "Sec. 3.4"))
        if (self.source, self.target) != (own.source, own.target):
            what = f"{self.source:,} and {self.target:,} tokens (paper: 160,000 and 80,000)"
            found.append(Departure(what, "as the data have it", "Sec. 3.1"))
        if self.dropout:
            what = f"dropout {self.dropout:g} on what goes up, as in Zaremba et al. 2014 (paper: none)"
            found.append(Departure(what, "small data are learned by heart", "Sec. 3.4"))
        if self.tied:
            what = "one matrix for the target's embedding and the softmax (paper: two)"
            found.append(Departure(what, "small data do not suffice for two", "Sec. 3.4"))
        return tuple(found)

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 25) source and (batch, 25) target tokens without padding."""
        return torch.randint(PAD + 1, self.source, (batch, 25)), torch.randint(PAD + 1, self.target, (batch, 25))


# ------------------------------------------------------------------------------------------------- the contribution


def backwards(source: Int[Tensor, "B S"]) -> Int[Tensor, "B S"]:
    """``x_1 … x_S </s>`` as ``x_S … x_1 </s>``; the ending and the padding stay where they are."""
    return turned(source[:, :, None], lengths(source) - 1)[:, :, 0]


class Encoder(nn.Module):
    """Reads a sentence into 2 L n numbers, however long it is."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.reversed = config.reversed
        self.embedding = nn.Embedding(config.source, config.units)
        self.dropout = Dropout(config.dropout)
        self.lstm = deep_lstm(config.units, config.layers, config.dropout)
        zaremba.start(self, config.start)

    def forward(self, source: Int[Tensor, "B S"]) -> Float[Tensor, "B k n"]:
        """v: the state after the last token of each row, before its padding."""
        x = self.dropout(self.embedding(backwards(source) if self.reversed else source))  # (B, S, n)
        if not has_numbers(source):
            return together(*self.lstm(x)[1])
        # Packed rows end where they end: padding is never read.
        ends = lengths(source).clamp(min=1).cpu()
        return together(*self.lstm(pack_padded_sequence(x, ends, batch_first=True, enforce_sorted=False))[1])


# ------------------------------------------------------------------------------------------------- the whole model


class Seq2Seq(nn.Module):
    """Fig. 1, with two LSTMs as Sec. 2 says. The figure's <EOS> before the translation is our ``<s>``."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = zaremba.LanguageModel(config.decoder)

    def forward(self, source: Int[Tensor, "B S"], target: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits of the token after each of ``target``, which begins with ``<s>``."""
        logits, _ = self.decoder(target, self.encoder(source))
        return logits

    def begin(self, source: Tensor | None, rows: int, attention: bool = False) -> Memory:
        """See `seminal.core.Writer`. Raises `UserError` where it is asked to where the model looked."""
        assert source is not None
        if attention:
            raise UserError(
                "`seq2seq` cannot show where it looks: it sees one vector for the whole sentence. Leave attention and "
                "coverage out, or train `transformer`."
            )
        state = self.encoder(source).repeat_interleave(rows // len(source), 0)
        return Memory({}, {"state": state})

    def step(self, tokens: Int[Tensor, "R n"], memory: Memory) -> tuple[Tensor, Memory]:
        """See `seminal.core.Writer`."""
        return self.decoder.step(tokens, memory)


# ------------------------------------------------------------------------------------------- the paper's own tables

VARIANTS = {
    "seq2seq": Config(),
    "seq2seq-forward": Config(reversed=False),
}


def _recurrent() -> tuple[float, ...]:
    """Million weights of both LSTMs, of the encoder's, of the decoder's; the biases are 32,000 more."""
    model = on_meta(Seq2Seq, Config())
    assert isinstance(model, Seq2Seq)
    sizes = [
        sum(p.numel() for p in lstm.parameters() if p.dim() > 1) / 1e6
        for lstm in (model.encoder.lstm, model.decoder.lstm)
    ]
    return sum(sizes), *sizes


def _vector() -> int:
    """Numbers that the decoder knows of a sentence."""
    model = on_meta(Seq2Seq, Config())
    assert isinstance(model, Seq2Seq)
    return model.begin(torch.ones(1, 7, dtype=torch.int64, device="meta"), rows=1).moving["state"].numel()


def _settings() -> tuple[int, int, float]:
    """Layers, units, and the size of the largest first value."""
    model = Seq2Seq(replace(Config(), source=8, target=8))
    largest = max(float(p.detach().abs().max()) for p in model.parameters())
    return model.encoder.lstm.num_layers, model.decoder.lstm.hidden_size, largest


def _steps(reverse: bool, words: int = 20) -> list[int]:
    """Tokens from each word of a sentence to the one that is written in the same place of the translation."""
    source = torch.arange(END, END + 1 + words).roll(-1)[None]  # x_1 … x_S </s>
    read = (backwards(source) if reverse else source)[0].tolist()
    return [len(read) + place - read.index(word) for place, word in enumerate(source[0, :-1].tolist())]


def _mean_gained() -> float:
    return sum(_steps(True)) / 20 - sum(_steps(False)) / 20


def _closer() -> tuple[bool, bool]:
    """Of the first and the last word."""
    back, forward = _steps(True), _steps(False)
    return back[0] < forward[0], back[-1] < forward[-1]


PAPER = Paper(
    title="Sequence to Sequence Learning with Neural Networks",
    authors="Sutskever, Vinyals, Le",
    year=2014,
    venue="NIPS 2014",
    url="https://arxiv.org/abs/1409.3215",
    idea="One LSTM reads a sentence backwards into a vector, another writes the translation from it.",
    build=Seq2Seq,
    variants=VARIANTS,
    facts=(
        Fact("million parameters", "Sec. 3.4", 384, lambda: count(Seq2Seq, Config()) / 1e6, 0.5, "seq2seq"),
        Fact("million weights of LSTMs: both, encoder, decoder", "Sec. 3.4", (64, 32, 32), _recurrent, 0.5, "seq2seq"),
        Fact("numbers that represent a sentence", "Secs. 1 and 3.4", 8000, _vector, variant="seq2seq"),
        Fact("layers, cells in each, first values up to", "Sec. 3.4", (4, 1000, 0.08), _settings, 0.005, "seq2seq"),
        Fact(
            "multiply-adds of 25 tokens read and 25 written: 25 · 8 L n² + 25 · (8 L n² + n V), not printed",
            "Sec. 3.4",
            25 * 32_000_000 + 25 * (32_000_000 + 80_000_000),
            lambda: work(Seq2Seq, Config()),
            variant="seq2seq",
        ),
        Fact("mean steps between words of the same place, backwards less forward", "Sec. 3.3", 0.0, _mean_gained),
        Fact("only the first words come closer: they, the last ones", "Sec. 3.3", (True, False), _closer),
    ),
    results=(
        Result("seq2seq-forward", "newstest2014 en-fr", "BLEU", 26.17, "Table 1, one model, beam 12"),
        Result("seq2seq", "newstest2014 en-fr", "BLEU", 30.59, "Table 1, one model, beam 12"),
        Result("seq2seq-forward", "newstest2014 en-fr", "perplexity", 5.8, "Sec. 3.3"),
        Result("seq2seq", "newstest2014 en-fr", "perplexity", 4.7, "Sec. 3.3"),
    ),
)
