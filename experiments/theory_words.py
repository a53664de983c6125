"""What attention and its vocabularies rest on: products of long vectors are large, and words are too many.

Vaswani et al. 2017; Sennrich et al. 2016; Wu et al. 2016; Devlin et al. 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pydoc_data.topics import topics

import torch
from torch import Tensor

from charts import Series, at, chart, evenly, panels
from seminal.data.vocabulary import learned
from seminal.papers import bert, elmo
from seminal.pieces.measure import count
from seminal.pieces.tokens import UNKNOWN
from sequences import mean
from theory_form import SEEDS, Experiment, Result, Verdict, holds, points, spread

# -------------------------------------------------------------------------------------------------------------- scores

KEYS, QUERIES, PAIRS = 64, 512, 20_000
SATURATED, KEPT = 0.5, 0.9  # shares of entropy and gradient: below one they have fallen, above the other they stay
FORMS = {"as they are": 0.0, "divided by √d_k": 0.5}  # products are divided by d_k to this power


def products(width: int, chance: torch.Generator) -> Tensor:
    """(queries, keys) dot products of vectors whose numbers are independent, of mean 0 and variance 1."""
    queries, keys = (torch.randn(n, width, generator=chance, dtype=torch.float64) for n in (QUERIES, KEYS))
    return queries @ keys.T


def variance(width: int, chance: torch.Generator) -> float:
    """Mean square of the products of pairs, each of vectors of its own: products that share a vector vary together."""
    queries, keys = torch.randn(2, PAIRS, width, generator=chance)
    return float((queries * keys).sum(1).square().mean())


def softness(scores: Tensor) -> Result:
    """Of the softmax of each row of scores: its mean entropy, and mean and median of the trace of its Jacobian,
    Σ p (1 − p), the sum of the slopes of the shares by their own scores."""
    shares = scores.softmax(1)
    entropy = -torch.special.xlogy(shares, shares).sum(1)
    slope = (shares * (1 - shares)).sum(1)
    return {"entropy": float(entropy.mean()), "slope": float(slope.mean()), "median": float(slope.median())}


def entropy_on_paper(variance: float, keys: int = KEYS) -> float:
    """log n − σ²/2, for scores N(0, σ²) of very many keys; 0 from σ² = 2 log n on, where the largest few have all (Derrida
    1981: the random energy model)."""
    return max(0.0, math.log(keys) - variance / 2)


def _scores(quick: bool) -> Result:
    widths, seeds = ((4, 64), 2) if quick else ((4, 8, 16, 32, 64, 128, 256, 512, 1024), SEEDS)
    found = []
    for width in widths:
        drawn = [products(width, torch.Generator().manual_seed(seed)) for seed in range(seeds)]
        spreads = [variance(width, torch.Generator().manual_seed(seed)) for seed in range(seeds)]
        cell = {name: [softness(scores / width**power) for scores in drawn] for name, power in FORMS.items()}
        found.append({"width": width, "variance": spreads, "forms": cell})
    return {"settings": {"widths": widths, "keys": KEYS, "queries": QUERIES}, "seeds": seeds, "cells": found}


def _scores_method(result: Result) -> str:
    s = result["settings"]
    return (
        f"{s['queries']} random queries, {s['keys']} random keys, all numbers N(0, 1), {result['seeds']} draws; softmax of "
        f"the products over the keys. The variance is that of {PAIRS:,} other products, each of vectors of its own. Entropy "
        "as a share of the largest, log n; the gradient is the sum of the slopes of the shares by their own scores, "
        "Σ p (1 − p), in the plot as a share of the largest, 1 − 1/n. The formula: log n − σ²/2 for scores N(0, σ²) of very "
        "many keys (Derrida 1981), σ² = d_k or 1, and 0 where that is negative."
    )


def _each(result: Result, form: str, what: str) -> list[list[float]]:
    """(widths, seeds) values."""
    return [[draw[what] for draw in cell["forms"][form]] for cell in result["cells"]]


def _short(values: Sequence[float]) -> str:
    """The range, in two figures."""
    return "–".join(dict.fromkeys(f"{value:.2g}" for value in (min(values), max(values))))


def _scores_verdict(result: Result) -> Verdict:
    first, last = result["settings"]["widths"][0], result["settings"]["widths"][-1]
    off = max(abs(v / cell["width"] - 1) for cell in result["cells"] for v in cell["variance"])
    told, kept = [f"the variance of the products is d_k within {100 * off:.1f} %"], {}
    for form in FORMS:
        entropy, slope, median = (_each(result, form, what) for what in ("entropy", "slope", "median"))
        told.append(
            f"{form}, from d_k = {first} to {last:,} the entropy goes from {mean(entropy[0], 2)} to {mean(entropy[-1], 2)} "
            f"nats and the gradient from {mean(slope[0], 2)} to {mean(slope[-1], 2)} (of the median query: from "
            f"{_short(median[0])} to {_short(median[-1])})"
        )
        kept[form] = [sum(rows[-1]) / sum(rows[0]) for rows in (entropy, slope)]
    bare, scaled = kept.values()
    return holds(max(bare) < SATURATED and min(scaled) > KEPT and off < 0.1, "; ".join(told))


def _scores_chart(result: Result) -> str:
    s = result["settings"]
    most = {"entropy": math.log(s["keys"]), "slope": 1 - 1 / s["keys"]}
    drawn = []
    for what, title in (("entropy", "entropy / log n"), ("slope", "gradient / (1 − 1/n)")):
        series = []
        for form in FORMS:
            rows = [[value / most[what] for value in row] for row in _each(result, form, what)]
            middle, ends = spread(list(zip(*rows)))
            series.append(Series(form, points(s["widths"], middle), ends))
        if what == "entropy":
            for name, power in (("formula, σ² = d_k", 1), ("formula, σ² = 1", 0)):
                line = [entropy_on_paper(width**power, s["keys"]) / most[what] for width in s["widths"]]
                series.append(Series(name, points(s["widths"], line)))
        drawn.append((title, series))
    shown = s["widths"][::2]
    x = replace(at("d_k", s["widths"]), ticks=tuple((width, f"{width:g}") for width in shown))
    return panels(x, evenly("share of the largest", 0, 1, 5, "{:g}".format), drawn)


# -------------------------------------------------------------------------------------------------------------- pieces

KINDS = {"words": "words", "wordpiece": "WordPiece", "bpe": "BPE", "characters": "characters"}
BERTS = ("bert-mini", "bert-base")
ANY = 0.001  # share of unknown words up to which a vocabulary counts as writing any text


def _pieces(quick: bool) -> Result:
    sizes = (1000,) if quick else (300, 500, 1000, 2000, 4000, 8000, 16000)
    text = "\n".join(topics.values())
    cut = len(text) * 9 // 10
    lines, words = text[: cut if not quick else cut // 9].splitlines(), text[cut:].split()
    found = []
    for kind in KINDS:
        before = 0
        for size in sizes:
            vocabulary = learned(lines, kind, size)
            if len(vocabulary) == before:  # the text gives no more tokens
                break
            before = len(vocabulary)
            cell = written(vocabulary.word_pieces(words))
            found.append(
                {"kind": kind, "tokens": before, **cell, "table": {name: table(name, before) for name in BERTS}}
            )
    known = set(text[:cut].split())
    arithmetic = [{"what": what, "tokens": n, "table": table("bert-base", n)} for what, n in LARGE.items()]
    settings = {"sizes": sizes, "words": len(words), "known": sum(word in known for word in words) / len(words)}
    return {"settings": settings, "large": arithmetic, "cells": found}


# Of the One Billion Word Benchmark, as ELMo says them, and the pieces of the published BERT.
LARGE = {"words of the One Billion Word Benchmark": elmo.Config().vocabulary, "pieces of BERT": bert.BASE.vocabulary}


def written(rows: Sequence[Sequence[int]]) -> Result:
    """Of words as rows of tokens: the share that has an unknown one, and tokens for each word."""
    unknown = sum(UNKNOWN in row for row in rows) / len(rows)
    return {"unknown": unknown, "length": sum(map(len, rows)) / len(rows)}


def table(variant: str, tokens: int) -> Result:
    """The numbers of the table of so many tokens, and its share of all parameters."""
    config = replace(bert.VARIANTS[variant], vocabulary=tokens)
    numbers = tokens * config.width
    return {"numbers": numbers, "share": numbers / count(bert.Bert, config)}


def _pieces_method(result: Result) -> str:
    s = result["settings"]
    return (
        "Python's own help on its language; vocabularies are learned from the first nine tenths of the text, of at most "
        f"{', '.join(f'{size:,}' for size in s['sizes'])} tokens, fewer where the text gives no more. Each of the "
        f"{s['words']:,} words of the last tenth (what stands between spaces; punctuation is cut off) is written with them, "
        f"and is unknown where one of its tokens is; {100 * s['known']:.0f} % of them occur in the first part. The table is "
        "that of the tokens in BERT-mini and BERT-base (Turc et al. 2019; Devlin et al. 2018), as a share of all parameters. "
        f"A vocabulary counts as writing any text where at most {100 * ANY:g} % of the words are unknown."
    )


def _pieces_verdict(result: Result) -> Verdict:
    best, told = {}, []
    for kind, name in KINDS.items():
        cells = [cell for cell in result["cells"] if cell["kind"] == kind]
        enough = [cell for cell in cells if cell["unknown"] <= ANY]
        cell = best[kind] = enough[0] if enough else cells[-1]
        shares = " and ".join(f"{100 * cell['table'][variant]['share']:.1f} % of {variant}" for variant in BERTS)
        told.append(
            f"{name}: {100 * cell['unknown']:.2f} % unknown with {cell['tokens']:,} tokens, {cell['length']:.2f} tokens for "
            f"each word, a table of {shares}"
        )
    big = [
        f"{cell['tokens']:,} {cell['what']} are {cell['table']['numbers'] / 1e6:.0f} million numbers, "
        f"{100 * cell['table']['share']:.0f} % of BERT-base with such a table"
        for cell in result["large"]
    ]
    told[-1] += " (each with its smallest vocabulary that writes any text, or else with its largest)"
    says = f"{'; '.join(told)}. {'; '.join(big)}"
    any_text = all(best[kind]["unknown"] <= ANY for kind in ("wordpiece", "bpe"))
    smaller = max(best["wordpiece"]["tokens"], best["bpe"]["tokens"]) < best["words"]["tokens"]
    return holds(any_text and smaller, says)


def _pieces_chart(result: Result) -> str:
    cells, series = result["cells"], []
    for kind, name in KINDS.items():
        mine = [cell for cell in cells if cell["kind"] == kind]
        series.append(Series(f"unknown: {name}", tuple((cell["tokens"], 100 * cell["unknown"]) for cell in mine)))
    by_size = {cell["tokens"]: cell["table"] for cell in sorted(cells, key=lambda cell: cell["tokens"])}
    for variant in BERTS:
        shares = [100 * told[variant]["share"] for told in by_size.values()]
        series.append(Series(f"table: {variant}", points(by_size, shares), every=3))
    ticks = [size for size in (100, 300, 1000, 3000, 10000) if min(by_size) <= size <= max(by_size)]
    x = replace(at("tokens in the vocabulary", list(by_size)), ticks=tuple((size, f"{size:,}") for size in ticks))
    high = 10 * math.ceil(max(value for line in series for _, value in line.points) / 10)
    y = evenly("of the words, or of all parameters, %", 0, high, high // 10, "{:g}".format)
    return chart(x, y, series)


EXPERIMENTS = {
    "scores": Experiment(
        "Why the products are divided",
        "The dot product of random vectors has variance d_k, so that without division by √d_k the softmax saturates as d_k "
        "grows: its entropy and its gradient fall (Vaswani et al. 2017, Sec. 3.2.1, footnote 4).",
        _scores,
        _scores_method,
        _scores_verdict,
        _scores_chart,
    ),
    "pieces": Experiment(
        "Words, or pieces of words",
        "Words as units need large tables and still leave words unknown; pieces of words write any text with a small table "
        "(Sennrich et al. 2016; Wu et al. 2016; Devlin et al. 2018, Sec. 3).",
        _pieces,
        _pieces_method,
        _pieces_verdict,
        _pieces_chart,
    ),
}
