"""The encoder of the Transformer as a reader: a class for a text, or for each of its tokens.

Vaswani et al., "Attention Is All You Need", NIPS 2017, arXiv:1706.03762; the encoder is that of `transformer`. The paper
itself uses encoder and decoder together (Fig. 1), so this network is declared as a departure. Later work (GPT 2018, BERT
2018) showed that half a Transformer is enough where nothing has to be written.

Shapes: B rows, S tokens, d width, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, UserError
from seminal.papers import transformer
from seminal.pieces import masks
from seminal.pieces.measure import count
from seminal.pieces.tokens import PAD


@dataclass(frozen=True)
class Config:
    body: transformer.Config
    outputs: int = 2
    per_token: bool = False

    def fitted(self, spec: DataSpec) -> Config:
        """For labelled text, or text with a label per token."""
        if spec.kind not in ("labelled", "tagged"):
            raise UserError(
                f"`transformer-encoder` reads labelled text, and {spec.name} is {spec.form}. Use `transformer` for "
                "sentence pairs, or `gpt` for plain text."
            )
        longest = max(self.body.longest, spec.longest["text"])
        body = replace(self.body, vocabulary=spec.vocabulary["text"], longest=longest)
        return replace(self, body=body, outputs=spec.outputs, per_token=spec.kind == "tagged")

    def departures(self) -> tuple[Departure, ...]:
        """The encoder without a decoder is no network of the paper."""
        what = "of each token" if self.per_token else "of the mean over its tokens"
        told = f"the encoder alone, with a linear map {what} to {self.outputs} classes (paper: encoder and decoder)"
        return (Departure(told, "labels are no sequence to be written", "Fig. 1"), *self.body.departures())

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 25) tokens without padding."""
        return (torch.randint(PAD + 1, self.body.vocabulary, (batch, 25)),)


class Reader(nn.Module):
    """The left half of Fig. 1, and a linear map."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.per_token = config.per_token
        self.body = transformer.Encoder(config.body)
        self.head = nn.Linear(config.body.width, config.outputs)

    def forward(self, text: Int[Tensor, "B S"]) -> Tensor:
        """Logits (B, C), or (B, S, C) for each token. Padding counts for nothing."""
        mask = masks.padding(text)
        read = self.body(text, mask)
        if self.per_token:
            return self.head(read)
        seen = mask[:, 0, 0, :, None]
        return self.head((read * seen).sum(1) / seen.sum(1).clamp(min=1))


SMALL = replace(transformer.BASE, layers=2, width=128, inner=512, heads=4, key=32)
VARIANTS = {"transformer-encoder": Config(SMALL), "transformer-encoder-base": Config(transformer.BASE)}


def _layer_parameters() -> int:
    """Of one layer of the base encoder, by building two networks."""
    two, one = (
        count(Reader, replace(VARIANTS["transformer-encoder-base"], body=replace(transformer.BASE, layers=n)))
        for n in (2, 1)
    )
    return two - one


PAPER = Paper(
    title="Attention Is All You Need: the encoder alone",
    authors="Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin",
    year=2017,
    venue="NIPS 2017",
    url="https://arxiv.org/abs/1706.03762",
    idea="Half a Transformer reads: every token of a text asks all others, and the answers are classified.",
    build=Reader,
    variants=VARIANTS,
    facts=(
        Fact(
            "parameters of one layer: 4 · 512² of attention, 2 · 512 · 2048 and biases, 2 normalisations",
            "Secs. 3.1–3.3",
            4 * 512 * 512 + 2 * 512 * 2048 + 2048 + 512 + 4 * 512,
            _layer_parameters,
            variant="transformer-encoder-base",
        ),
    ),
)
