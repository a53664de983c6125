"""Word vectors: skip-gram with negative sampling, words per second beside gensim's on the same text and settings.

Counted are the words of the text that are known, those that are left out at random among them, for each epoch: what both
programs are given. gensim moves after each word, by hand-written loops; seminal adds the gradients of 1,024 words up first
and moves every number of both tables. Seconds are those of the processor, over all threads, so that a busy machine does not
count; both run on one thread (gensim has another that deals out work). Reading the text is not counted.

    python benchmarks/word2vec.py TEXT.txt        a minute or two; gensim is left out where it is not installed
"""

from __future__ import annotations

import importlib.util
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from measuring import arguments, machine, spread, write
from seminal.core import Precision
from seminal.data import neighbours, stream
from seminal.papers import word2vec
from seminal.recipes import word2vec as recipes
from seminal.report.terminal import table
from seminal.train.loop import train

WIDTH, WINDOW, NEGATIVES, LEAST = 100, 5, 5, 5


def ours(path: Path, steps: int, seed: int) -> tuple[float, int]:
    """Known words of the text per processor second, over so many steps after two; and the words of the vocabulary."""
    source = neighbours.read(path, recipes.reading("word2vec"), stream.StreamAsk())
    recipe = recipes.modern("word2vec", source.spec).adapted(source.spec)
    recipe = replace(recipe, precision=Precision(), seed=seed, model=replace(recipe.model, width=WIDTH), epochs=1000)
    torch.manual_seed(seed)
    stepping = train(word2vec.build(recipe.model), source, recipe)
    next(stepping), next(stepping)
    started, met = time.process_time(), 0
    for _ in range(steps):
        met += next(stepping).rows
    seconds = time.process_time() - started
    share = source.spec.tokens["train"] / len(source.parts["train"].tokens)  # what is not left out
    return met / share / seconds, source.spec.vocabulary["text"]


def theirs(path: Path, epochs: int, seed: int) -> float:
    """gensim's, of whole epochs on the lines of the text, all of which train."""
    from gensim.models import Word2Vec

    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    model = Word2Vec(
        vector_size=WIDTH,
        window=WINDOW,
        negative=NEGATIVES,
        min_count=LEAST,
        sample=recipes.KEPT,
        sg=1,
        workers=1,
        seed=seed,
    )
    model.build_vocab(lines)
    known = sum(word in model.wv.key_to_index for line in lines for word in line)
    started = time.process_time()
    model.train(lines, total_examples=len(lines), epochs=epochs)
    return epochs * known / (time.process_time() - started)


def run() -> None:
    """Measure by turns; print the table, write the JSON."""
    asked = arguments("seminal's word2vec beside gensim's.", lambda parser: parser.add_argument("text", type=Path))
    repeats, steps, epochs = (1, 5, 1) if asked.quick else (3, 60, 1)
    torch.set_num_threads(1)
    before, has_gensim = machine(), importlib.util.find_spec("gensim") is not None
    speeds: dict[str, list[float]] = {"seminal": [], **({"gensim": []} if has_gensim else {})}
    vocabulary = 0
    for seed in range(repeats):
        speed, vocabulary = ours(asked.text, steps, seed)
        speeds["seminal"].append(speed)
        if has_gensim:
            speeds["gensim"].append(theirs(asked.text, epochs, seed))
    found: dict[str, Any] = {name: spread(values) for name, values in speeds.items()}
    table(
        ["program", "words per processor second", "range"],
        [[n, f"{s['median']:,.0f}", f"{s['low']:,.0f}–{s['high']:,.0f}"] for n, s in found.items()],
    )
    ratio = None
    if has_gensim:
        ratio = spread([a / b for a, b in zip(speeds["seminal"], speeds["gensim"])])
        print(
            f"{ratio['median']:.2f} times gensim's words per second (pairs of runs: {ratio['low']:.2f}–{ratio['high']:.2f})"
        )
    else:
        print("gensim is not installed, so there is nothing to compare with: pip install gensim")
    note = (
        f"skip-gram, {WIDTH} numbers, window {WINDOW}, {NEGATIVES} noise words, t = {recipes.KEPT:g}. Of a frequent word "
        "seminal keeps √(t/f), as the paper says, and gensim √(t/f) + t/f, as word2vec.c does: it learns a little more. "
        f"seminal's noise words are shared by groups of rows. n = {repeats}, by turns, one thread each"
    )
    path = write(
        "word2vec",
        asked,
        before,
        {
            "text": asked.text.name,
            "vocabulary": vocabulary,
            "words_per_processor_s": found,
            "ratio": ratio,
            "note": note,
        },
    )
    print(f"written  {path}")


if __name__ == "__main__":
    run()
