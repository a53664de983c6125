"""Made-up sentence pairs for benchmarks that are run without data of one's own: as long as those of Multi30k (lengths of
both sides log-normal, and alike), of words whose frequencies fall as those of a language do."""

from __future__ import annotations

from pathlib import Path

import numpy as np

# Measured on the 29,000 training pairs of Multi30k, English and German, in words: of the logarithm of the length its mean
# and spread on each side, and how far the sides agree; the shortest and the longest sentence.
MEANS, SPREADS, AGREE = (2.43, 2.35), (0.31, 0.34), 0.86
SHORTEST, LONGEST = 3, 40
# As there the thousand most frequent words are four fifths of the text or more.
WORDS, FALL = (15_000, 25_000), 1.15
SYLLABLES = tuple(a + b for a in "bdfgklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "in", "os"))


def make_pairs(where: Path, *, train: int, val: int) -> Path:
    """``where/train.en``, ``where/train.de`` and the same for ``val``, with so many pairs."""
    rng = np.random.default_rng(0)
    words = [_words(rng, count) for count in WORDS]
    where.mkdir(parents=True, exist_ok=True)
    for split, count in {"train": train, "val": val}.items():
        covariance = np.outer(SPREADS, SPREADS) * np.array([[1, AGREE], [AGREE, 1]])
        lengths = np.exp(rng.multivariate_normal(MEANS, covariance, count)).round().clip(SHORTEST, LONGEST).astype(int)
        for side, language in enumerate(("en", "de")):
            picks = _picks(rng, len(words[side]), int(lengths[:, side].sum()))
            ends = lengths[:, side].cumsum()
            lines = [" ".join(words[side][i] for i in row) for row in np.split(picks, ends[:-1])]
            (where / f"{split}.{language}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return where


def _words(rng: np.random.Generator, count: int) -> list[str]:
    """Different words of one to four syllables, the short ones first: frequent words are short."""
    found: dict[str, None] = {}
    while len(found) < count:
        size = 1 + min(3, int(np.log(1 + len(found)) / np.log(30)))
        found["".join(rng.choice(SYLLABLES, size))] = None
    return list(found)


def _picks(rng: np.random.Generator, words: int, count: int) -> np.ndarray:
    """(count,) numbers of words: the chance of the n-th falls as n^−FALL."""
    chances = np.arange(1, words + 1, dtype=float) ** -FALL
    return rng.choice(words, count, p=chances / chances.sum())
