"""word2vec: skip-gram with negative sampling, and frequent words left out.

Tomas Mikolov, Ilya Sutskever, Kai Chen, Greg Corrado, Jeffrey Dean, "Distributed Representations of Words and Phrases and
their Compositionality", NIPS 2013, arXiv:1310.4546.

The idea: to learn vectors, the probability of a word need not be known. It is enough to tell a word that stands near from k
words drawn at random, which takes k + 1 products instead of one for each word of the vocabulary. And since "the" stands
near everything and says nothing, most of its occurrences are left out: training is faster, and rare words get better.

    1/T Σ_t Σ_{−c ≤ j ≤ c, j ≠ 0} log p(w_{t+j} | w_t)                               what is maximised               (1)
    p(w_O | w_I) = exp(v′_{w_O} · v_{w_I}) / Σ_w exp(v′_w · v_{w_I})                 `word2vec-softmax`              (2)
    log σ(v′_{w_O} · v_{w_I}) + Σ_{i=1}^k E_{w_i ~ P_n} log σ(−v′_{w_i} · v_{w_I})   instead of log p(w_O|w_I)       (4)
    P(w) = 1 − √(t / f(w))                                           an occurrence of w is left out                  (5)
    P_n(w) = U(w)^¾ / Z                                              the noise: word frequencies, flattened     (Sec. 2.2)

Noise-contrastive estimation (`word2vec-nce`; Gutmann and Hyvärinen 2010, Mnih and Teh 2012) has v′·v − log k P_n(w) in the
place of v′·v in Eq. 4. Its scores tend to log-probabilities; those of negative sampling tend to log-ratios that are lower by
log k P_n(w), so it is no estimate of Eq. 2, and does not mean to be one.

The losses are in `seminal.tasks.neighbours`, Eq. 5 and P_n in `seminal.pieces.neighbours`. The model is that of `cbow`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seminal.core import DataSpec, Departure, Fact, Paper, Result, UserError
from seminal.papers.cbow import WordVectors, other_sizes, table_sizes, words_of
from seminal.pieces.contrast import noise_losses, real_losses
from seminal.pieces.neighbours import kept, noise
from seminal.pieces.tokens import PAD

OUTPUTS = ("negative", "nce", "softmax")


@dataclass(frozen=True)
class Config:
    vocabulary: int = 692_000  # V
    width: int = 300
    window: int = 5  # c
    output: str = "negative"  # or nce, softmax
    negatives: int = 5  # k
    reads: str = "word"  # skip-gram; "around": CBOW

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            raise UserError(f"word2vec has no output {self.output!r}. Choose one of: {', '.join(OUTPUTS)}.")

    def fitted(self, spec: DataSpec) -> Config:
        """For plain text."""
        vocabulary, window = words_of(spec)
        return replace(self, vocabulary=vocabulary, window=window)

    def departures(self) -> tuple[Departure, ...]:
        """Sizes that are not the paper's, and what only its authors' program has."""
        printed = SKIP_GRAM.vocabulary, SKIP_GRAM.width, SKIP_GRAM.window
        found = other_sizes(self.vocabulary, self.width, self.window, printed)
        if self.reads == "around":
            found.append(Departure("CBOW (paper: skip-gram)", "the authors' program has it beside skip-gram", "Sec. 2"))
        return tuple(found)

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, n) words."""
        return (torch.randint(PAD + 1, self.vocabulary, (batch, 2 * self.window if self.reads == "around" else 1)),)


def build(config: Config) -> WordVectors:
    """The two tables of ``config``."""
    return WordVectors(config.vocabulary, config.width)


# ------------------------------------------------------------------------------------------------- variants and facts

SKIP_GRAM = Config()
VARIANTS = {
    "word2vec": SKIP_GRAM,
    "word2vec-15": replace(SKIP_GRAM, negatives=15),
    "word2vec-nce": replace(SKIP_GRAM, output="nce"),
    "word2vec-softmax": replace(SKIP_GRAM, output="softmax"),
    "word2vec-cbow": replace(SKIP_GRAM, reads="around"),
}


def _left_out(share: float) -> float:
    """P of a word with this share of the text, for t = 10⁻⁵."""
    return float(1 - kept(torch.tensor([share], dtype=torch.float64, device="cpu"), 1e-5)[0])


def _ranking_stays() -> bool:
    """Whether of words above t the more frequent one is still the more frequent one afterwards."""
    shares = torch.logspace(-5, -1, 500, dtype=torch.float64, device="cpu")
    return bool(((shares * kept(shares, 1e-5)).diff() > 0).all())


def _times_as_often() -> float:
    """How often a word is noise that the text has sixteen times as often as another."""
    drawn = noise(torch.tensor([16, 1], device="cpu"))
    return float(drawn[0] / drawn[1])


def _first_loss(negatives: int) -> float:
    """Of one pair, in units of log 2, before anything is learned: all scores are 0."""
    score = torch.zeros((), dtype=torch.float64, device="cpu")
    loss = real_losses(score) + negatives * noise_losses(score)
    return float(loss) / float(real_losses(score))


PAPER = Paper(
    title="Distributed Representations of Words and Phrases and their Compositionality",
    authors="Mikolov, Sutskever, Chen, Corrado, Dean",
    year=2013,
    venue="NIPS",
    url="https://arxiv.org/abs/1310.4546",
    idea="To learn word vectors, tell each neighbour from a few words drawn at random, and leave frequent words out.",
    build=build,
    variants=VARIANTS,
    facts=(
        Fact(
            "692,000 words with vectors of 300 numbers, in two tables",
            "Sec. 3",
            (692_000, 300, 692_000, 300),
            lambda: table_sizes(build, SKIP_GRAM),
            variant="word2vec",
        ),
        Fact(
            "a word that is 10⁻⁵ of the text is always kept, for t = 10⁻⁵", "Eq. 5", 0.0, lambda: _left_out(1e-5), 1e-12
        ),
        Fact("a word that is 10⁻³ of it is left out 9 times of 10", "Eq. 5", 0.9, lambda: _left_out(1e-3), 1e-12),
        Fact("leaving out preserves the ranking of the frequencies", "Sec. 2.3", True, _ranking_stays),
        Fact(
            "P_n = U^¾ / Z: a word sixteen times as frequent is noise eight times as often",
            "Sec. 2.2",
            8.0,
            _times_as_often,
            1e-9,
        ),
        *(
            Fact(
                f"a neighbour and k = {k} noise words: {k + 1} terms, each log ½ at first",
                "Eq. 4",
                float(k + 1),
                lambda name=name: _first_loss(VARIANTS[name].negatives),  # type: ignore[misc]
                within=1e-9,
                variant=name,
            )
            for name, k in (("word2vec", 5), ("word2vec-15", 15))
        ),
    ),
    results=(
        Result(
            "word2vec",
            "analogies of 1301.3781, 1 billion words of news",
            "accuracy in %",
            60.0,
            "Table 1, NEG-5, t = 1e-5",
        ),
        Result(
            "word2vec-15",
            "analogies of 1301.3781, 1 billion words of news",
            "accuracy in %",
            61.0,
            "Table 1, NEG-15, t = 1e-5",
        ),
        Result("word2vec-nce", "the same, no words left out", "accuracy in %", 53.0, "Table 1, NCE-5"),
    ),
)
