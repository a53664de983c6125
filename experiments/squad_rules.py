"""SQuAD's rules (version 2.0 of its evaluation program) once more, step by step and on their own: what `seminal eval` says is
held against them, on the same predictions."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Any


def normalised(text: str) -> list[str]:
    """The words that count."""
    kept = "".join(sign for sign in text.lower() if sign not in set(string.punctuation))
    return re.sub(r"\w+", lambda word: " " if word.group() in ("a", "an", "the") else word.group(), kept).split()


def exact(true: str, said: str) -> int:
    """1 where the same words stand in the same order."""
    return int(normalised(true) == normalised(said))


def f1(true: str, said: str) -> float:
    """From precision and recall over words, each used once."""
    left, words, shared = normalised(true), normalised(said), 0
    if not left or not words:
        return float(left == words)
    wanted = len(left)
    for word in words:
        if word in left:
            left.remove(word)
            shared += 1
    if shared == 0:
        return 0.0
    precision, recall = shared / len(words), shared / wanted
    return 2 * precision * recall / (precision + recall)


def scores(squad: Mapping[str, Any], said: Mapping[str, str]) -> dict[str, float]:
    """``exact`` and ``f1`` in percent over the questions of a data set (its JSON) that have a prediction."""
    exacts, f1s = [], []
    for article in squad["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                if question["id"] not in said:
                    continue
                true = [answer["text"] for answer in question["answers"] if normalised(answer["text"])] or [""]
                exacts.append(max(exact(text, said[question["id"]]) for text in true))
                f1s.append(max(f1(text, said[question["id"]]) for text in true))
    return {"exact": 100 * sum(exacts) / len(exacts), "f1": 100 * sum(f1s) / len(f1s), "total": len(exacts)}
