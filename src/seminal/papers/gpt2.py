"""GPT-2: a larger GPT on a larger text, normalised before its sub-layers.

Alec Radford, Jeffrey Wu, Rewon Child, David Luan, Dario Amodei, Ilya Sutskever, "Language Models are Unsupervised
Multitask Learners", OpenAI, February 2019.

The idea: a task can be written as text (a question before its answer, a sentence before its translation), so a network
that says the next token of enough text does tasks that it was never trained for, the better the larger it is. The network
is GPT with four changes (Sec. 2.3): layer normalisation stands before each sub-layer, and once more at the end; the
first weights that lead into the residual stream are smaller the more of them add up in it; there are 50,257 tokens and
1,024 places.

    x ← x + Dropout(MultiHead(LayerNorm(x)));  x ← x + Dropout(W_2 GELU(W_1 LayerNorm(x)))
    P(u) = softmax(LayerNorm(x) W_eᵀ)
    W_O, W_2 ~ N(0, 0.02² / N),  N = 2 · layers residual sub-layers

The model is `seminal.papers.gpt.GPT`, so are the letters of the shapes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, Result
from seminal.papers import gpt
from seminal.papers.gpt import GPT
from seminal.pieces.measure import count, on_meta


@dataclass(frozen=True)
class Config:
    """A row of Table 2. The paper states no number of heads: these are those of the published weights, 64 wide each."""

    vocabulary: int = 50_257  # V: 256 bytes, 50,000 merges and the end of a text
    layers: int = 12
    width: int = 768  # d_model
    heads: int = 12
    longest: int = 1024  # tokens of a window (Sec. 2.3)
    dropout: float = 0.1  # not stated: GPT's
    attention_dropout: float = 0.1
    head: str = "words"  # GPT's: "class" of a text or of a pair of texts, "choice" among texts
    outputs: int = 2  # C

    @property
    def body(self) -> gpt.Config:
        """The same in the words of GPT, whose inner width is four times the width."""
        return gpt.Config(
            vocabulary=self.vocabulary,
            layers=self.layers,
            width=self.width,
            inner=4 * self.width,
            heads=self.heads,
            longest=self.longest,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            norm="pre",
            head=self.head,
            outputs=self.outputs,
        )

    def fitted(self, spec: DataSpec) -> Config:
        """For plain text, or for what it is fine-tuned on as GPT is."""
        body = self.body.fitted(spec)
        return replace(self, vocabulary=body.vocabulary, head=body.head, outputs=body.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """Sizes that are no row of Table 2."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 25) tokens without padding; four texts in a row for choices."""
        return self.body.example(batch)


# ------------------------------------------------------------------------------------------------- the contribution


def build(config: Config) -> GPT:
    """GPT with its normalisations before the sub-layers, and smaller first weights where these join the stream."""
    model = GPT(config.body)
    with torch.no_grad():
        for last in joining(model):
            last.weight.mul_((2 * config.layers) ** -0.5)
    return model


def joining(model: GPT) -> list[nn.Linear]:
    """The last linear map of each residual sub-layer, N in all."""
    names = ("attention.outside", "outer")
    return [layer.get_submodule(name) for layer in model.layers for name in names]  # type: ignore[misc]


# ------------------------------------------------------------------------------------------- the paper's own tables

BASE = Config()
VARIANTS = {
    "gpt2": BASE,
    "gpt2-medium": replace(BASE, layers=24, width=1024, heads=16),
    "gpt2-large": replace(BASE, layers=36, width=1280, heads=20),
    "gpt2-xl": replace(BASE, layers=48, width=1600, heads=25),
}


def _departures(config: Config) -> list[Departure]:
    found = []
    if config.vocabulary != BASE.vocabulary:
        what = f"{config.vocabulary:,} tokens (paper: {BASE.vocabulary:,})"
        found.append(Departure(what, "as the data have it", "Sec. 2.3"))
    if config.longest != BASE.longest:
        what = f"{config.longest:,} positions (paper: {BASE.longest:,})"
        found.append(Departure(what, "as long as the windows of the data", "Sec. 2.3"))
    sizes = replace(config, vocabulary=BASE.vocabulary, longest=BASE.longest, head=BASE.head, outputs=BASE.outputs)
    if sizes not in VARIANTS.values():
        what = (
            f"{config.layers} layers of width {config.width} with {config.heads} heads, dropout {config.dropout:g} and "
            f"{config.attention_dropout:g} in attention (paper: from 12, 768, 12; dropout of GPT, 0.1)"
        )
        found.append(Departure(what, "small data are overfitted by the paper's sizes", "Table 2"))
    if config.head != BASE.head:
        what = "a linear map reads the state of the last token (paper: the answer is written, without training for it)"
        found.append(Departure(what, "GPT's fine-tuning (Radford et al. 2018, Sec. 3.2)", "Sec. 2"))
    return found


# Table 2 prints 117, 345, 762 and 1542 million. With the 50,257 tokens of Sec. 2.3 the networks have 124, 355, 774 and
# 1558 million, as OpenAI said later; all four printed numbers are those of networks with GPT's 40,478 tokens.
COUNTED = gpt.BASE.vocabulary
TABLE_2 = {"gpt2": 117, "gpt2-medium": 345, "gpt2-large": 762, "gpt2-xl": 1542}
ZERO_SHOT = {  # Table 3, perplexities
    "gpt2": (29.41, 65.85, 37.50, 75.20),
    "gpt2-medium": (22.76, 47.33, 26.37, 55.72),
    "gpt2-large": (19.93, 40.31, 22.05, 44.575),
    "gpt2-xl": (18.34, 35.76, 17.48, 42.16),
}
TEXTS = ("wikitext2", "Penn Treebank", "wikitext103", "One Billion Words")


def _millions(variant: str) -> float:
    return count(build, replace(VARIANTS[variant], vocabulary=COUNTED)) / 1e6


def _layers_and_widths() -> tuple[int, ...]:
    models = [on_meta(build, config) for config in VARIANTS.values()]
    layers = [len(model.get_submodule("layers")) for model in models]  # type: ignore[arg-type]
    return (*layers, *(model.get_parameter("tokens.weight").shape[1] for model in models))


def _vocabulary_and_window() -> tuple[int, int]:
    model = on_meta(build, BASE)
    return len(model.get_parameter("tokens.weight")), len(model.get_parameter("positions.weight"))


def _residual_layers() -> float:
    """N, from how much smaller the first weights are that lead into the residual stream."""
    model = build(replace(BASE, vocabulary=8, width=192, heads=3))
    joined = torch.cat([last.weight.flatten() for last in joining(model)])
    others = torch.cat([layer.get_parameter("inner.weight").flatten() for layer in model.layers])
    return float((others.std() / joined.std()).detach() ** 2)


def _normalisations() -> int:
    return sum(isinstance(module, nn.LayerNorm) for module in on_meta(build, BASE).modules())


PAPER = Paper(
    title="Language Models are Unsupervised Multitask Learners",
    authors="Radford, Wu, Child, Luan, Amodei, Sutskever",
    year=2019,
    venue="OpenAI",
    url="https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf",
    idea="Tasks can be written as text: a large enough model of the next token does them without being trained for them.",
    build=build,
    variants=VARIANTS,
    facts=(
        *(
            Fact(
                f"million parameters, with GPT's {COUNTED:,} tokens (the paper's own 50,257 fit no row)",
                "Table 2",
                printed,
                lambda variant=variant: _millions(variant),  # type: ignore[misc]
                within=0.5,
                variant=variant,
            )
            for variant, printed in TABLE_2.items()
        ),
        Fact(
            "layers and widths of the four networks",
            "Table 2",
            (12, 24, 36, 48, 768, 1024, 1280, 1600),
            _layers_and_widths,
        ),
        Fact("vocabulary and tokens of a window", "Sec. 2.3", (50_257, 1024), _vocabulary_and_window, variant="gpt2"),
        Fact(
            "residual sub-layers N, from the factor 1/√N on their first weights: two per layer",
            "Sec. 2.3",
            24,
            _residual_layers,
            within=0.5,
            variant="gpt2",
        ),
        Fact(
            "layer normalisations: one before each of 24 sub-layers, one after the last",
            "Sec. 2.3",
            25,
            _normalisations,
            variant="gpt2",
        ),
    ),
    results=tuple(
        Result(variant, text, "perplexity per word, without training on it", value, "Table 3")
        for variant, row in ZERO_SHOT.items()
        for text, value in zip(TEXTS, row)
    ),
)
