"""Texts in numbers, by which two sets of texts are compared: how often each of the most common words occurs, all words and
all pairs of characters in groups (so that rare words and writing without spaces count too), and the style.

The words are the most common of both sets together: they are chosen without knowing which text is of which set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WORDS = 100  # the most common ones
WORD_GROUPS, PAIR_GROUPS = 32, 48  # a hash of the word or pair decides on its group
GROUPS = ("words of group", "pairs of characters of group")  # how the features of groups are called
STYLE = ("characters", "words", "characters per word", "share of capitals", "share of digits", "share of marks")
_WORD = r"\w+"


@dataclass(frozen=True)
class Counts:
    """How often each word occurs in each text."""

    words: np.ndarray  # (words,) in lower case
    counts: csr_matrix  # (texts, words)

    def shares(self, rows: np.ndarray) -> Tensor:
        """(words,) the share of each among all words of some texts."""
        total = np.asarray(self.counts[rows].sum(axis=0), dtype=np.float64).ravel()
        return torch.from_numpy(total / max(total.sum(), 1))


def counted(texts: Sequence[str]) -> Counts:
    """All words of the texts."""
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(token_pattern=_WORD)
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError:  # there is not one word in them
        from scipy.sparse import csr_matrix

        return Counts(np.zeros(0, dtype=object), csr_matrix((len(texts), 0)))
    return Counts(vectorizer.get_feature_names_out(), counts)


def features(texts: Sequence[str], words: Counts) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the features, and their values (texts, features) float64. Shares are of the words, or of the pairs of
    characters, of a text."""
    from sklearn.feature_extraction.text import HashingVectorizer

    common = np.argsort(-np.bincount(words.counts.indices, minlength=len(words.words)), kind="stable")[:WORDS]
    number = np.maximum(np.asarray(words.counts.sum(axis=1)), 1)
    by_word = words.counts[:, common].toarray() / number
    groups = HashingVectorizer(token_pattern=_WORD, n_features=WORD_GROUPS, alternate_sign=False, norm="l1")
    pairs = HashingVectorizer(
        analyzer="char", ngram_range=(2, 2), n_features=PAIR_GROUPS, alternate_sign=False, norm="l1"
    )
    names = (
        *(f"the word `{words.words[place]}`" for place in common),
        *(f"{GROUPS[0]} {group}" for group in range(WORD_GROUPS)),
        *(f"{GROUPS[1]} {group}" for group in range(PAIR_GROUPS)),
        *STYLE,
    )
    hashed = [vectorizer.transform(texts).toarray() for vectorizer in (groups, pairs)]
    return names, np.hstack([by_word, *hashed, np.array([_style(text) for text in texts])])


def _style(text: str) -> tuple[float, ...]:
    length, words = max(len(text), 1), max(len(text.split()), 1)
    capitals = sum(map(str.isupper, text)) / length
    digits = sum(map(str.isdigit, text)) / length
    marks = sum(not (sign.isalnum() or sign.isspace()) for sign in text) / length
    return (len(text), words, len(text) / words, capitals, digits, marks)
