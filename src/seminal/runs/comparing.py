"""`seminal same`: do two sets of pictures, two tables or two sets of texts come from one distribution, and what tells them
apart? The answer is that of the two-sample test in `seminal.pieces.two_sample`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata

from seminal.core import UserError
from seminal.data.picture_features import LAYOUT
from seminal.data.text_features import GROUPS, Counts
from seminal.pieces import two_sample
from seminal.pieces.divergences import js, js_parts
from seminal.report.terminal import say, table
from seminal.runs.codec import new_file, write_json
from seminal.runs.two_sets import TwoSets, opened

DIFFERENT = 3  # exit code
LEVEL = 0.05
TELLING = 0.6  # AUC: a difference of this size must have been found for "no difference" to mean anything …
POWER = 2.93  # … with probability 0.9: 1.65 + 1.28 standard deviations above chance
SHOWN = 8


@dataclass(frozen=True)
class SameAsk:
    """The words of ``seminal same``."""

    first: str
    second: str
    rows: int = 2000  # of each set, at most
    seed: int = 0
    json: str | None = None


@dataclass(frozen=True)
class Sign:
    """A feature that tells the sets apart: its p-value, corrected for their number, and its mean and spread in both."""

    feature: str
    p: float
    means: tuple[float, float]
    spreads: tuple[float, float]
    share: bool  # it is 0 or 1 in every row


@dataclass(frozen=True)
class Word:
    """A word that tells two sets of texts apart: occurrences in 1,000 words of each, and its part of the JS divergence."""

    word: str
    per_thousand: tuple[float, float]
    bits: float


@dataclass(frozen=True)
class Words:
    """The JS divergence of the word frequencies, base 2, and what it is on average when the texts are dealt out at random."""

    bits: float
    by_chance: float
    telling: tuple[Word, ...]


@dataclass(frozen=True)
class Answer:
    """What `compared` found."""

    verdict: str  # "same", "different" or "cannot tell"; tables with other columns are different
    values: str  # the same of the rows themselves: of tables, of the columns that both have
    p: float
    auc: float
    chance: float  # standard deviation of the AUC by chance
    rows: tuple[int, int]
    signs: tuple[Sign, ...]
    unlike: tuple[list[str], list[str]]  # names of rows, those most unlike the other set first
    words: Words | None
    notes: tuple[str, ...]
    alone: tuple[str, ...] = ()  # which table has columns that the other lacks, in words

    @property
    def found_from(self) -> float:
        """The AUC from which a difference is found nine times in ten."""
        return 0.5 + POWER * self.chance


def same(ask: SameAsk) -> int:
    """Exit code 0 where no difference was found, 3 where one was: of the rows, or of the columns of tables."""
    if ask.rows < 20:
        raise UserError(f"--rows {ask.rows} tells nothing: write 20 or more.")
    file = new_file(ask.json)
    found = compared(opened((ask.first, ask.second), ask.rows, ask.seed), ask.seed)
    _show(found, ask)
    if file is not None:
        _write(file, found, ask)
    return DIFFERENT if found.verdict == "different" else 0


def compared(sets: TwoSets, seed: int = 0, permutations: int = 499) -> Answer:
    """The test. It sees the ranks of each feature, so that one row far out counts no more than any other."""
    first, second = sets.values
    if min(len(first), len(second)) < 10:
        raise UserError(
            f"{len(first)} and {len(second)} rows are too few to say anything: give at least 10 of each, better hundreds."
        )
    both = np.vstack([first, second])
    ranks = torch.from_numpy(np.asarray(rankdata(both, axis=0)))
    found = two_sample.examined(ranks[: len(first)], ranks[len(first) :], permutations=permutations, seed=seed)
    answer = Answer(
        verdict="",
        values="different" if found.p <= LEVEL else "same",
        p=found.p,
        auc=found.auc,
        chance=found.chance,
        rows=(len(first), len(second)),
        signs=tuple(_signs(sets, found)),
        unlike=_unlike(sets, found.scores.numpy()),
        words=None if sets.words is None else _words(sets.words, len(first), seed),
        notes=sets.notes,
        alone=sets.alone,
    )
    if answer.values == "same" and answer.found_from > TELLING:
        answer = replace(answer, values="cannot tell")
    return replace(answer, verdict="different" if sets.alone else answer.values)


def _signs(sets: TwoSets, found: two_sample.Examined) -> list[Sign]:
    """The features with a p-value of their own, the clearest first; those that say little to a person after all else."""
    first, second = sets.values
    obscure = {
        place for place, name in enumerate(sets.features) if name in LAYOUT or any(group in name for group in GROUPS)
    }
    places = [place for place in range(len(sets.features)) if found.each[place] <= LEVEL]
    return [
        Sign(
            sets.features[place],
            float(found.each[place]),
            (float(first[:, place].mean()), float(second[:, place].mean())),
            (float(first[:, place].std()), float(second[:, place].std())),
            share=bool(np.isin(sets.values[0][:, place], (0, 1)).all() and np.isin(second[:, place], (0, 1)).all()),
        )
        for place in sorted(places, key=lambda place: (place in obscure, -float(found.sizes[place])))
    ]


def _unlike(sets: TwoSets, scores: np.ndarray) -> tuple[list[str], list[str]]:
    cut = len(sets.names[0])
    first, second = np.argsort(scores[:cut], kind="stable"), np.argsort(-scores[cut:], kind="stable")
    return [sets.names[0][row] for row in first[:SHOWN]], [sets.names[1][row] for row in second[:SHOWN]]


def _words(words: Counts, cut: int, seed: int) -> Words | None:
    if not len(words.words):
        return None
    rows = np.arange(words.counts.shape[0])
    p, q = words.shares(rows[:cut]), words.shares(rows[cut:])
    if not p.sum() or not q.sum():
        return None
    chance = np.random.default_rng(seed)
    mixed = [np.split(chance.permutation(rows), [cut]) for _ in range(19)]
    dealt = [(words.shares(a), words.shares(b)) for a, b in mixed]
    by_chance = [float(js(a, b, base=2)) for a, b in dealt if a.sum() and b.sum()]
    parts = js_parts(p, q, base=2)
    telling = [
        Word(str(words.words[place]), (1000 * float(p[place]), 1000 * float(q[place])), float(parts[place]))
        for place in parts.argsort(descending=True, stable=True)[:SHOWN].tolist()
    ]
    return Words(float(parts.sum()), float(np.mean(by_chance)), tuple(telling))


# ------------------------------------------------------------------------------------------------------------ in words


def _show(found: Answer, ask: SameAsk) -> None:
    n = " + ".join(f"{rows:,}" for rows in found.rows)
    measured = f"p = {found.p:.3g}, AUC {found.auc:.3f} on n = {n} rows"
    limit = f"a difference by which rows are told apart with an AUC of {found.found_from:.2f} is found 9 times in 10"
    head, of = "same", ""
    if found.alone:
        say("same", f"no, the columns differ: {'; '.join(found.alone)}")
        head, of = "", "of the columns in both: "
    if found.values == "different":
        say(head, f"{of or 'no: '}{'a difference, ' if of else ''}{measured}")
        say(
            "", f"the AUC is how often a row of {ask.second} is known from one of {ask.first}; by chance, half the time"
        )
    elif found.values == "same":
        say(head, f"{of}{'' if of else 'yes, '}no difference was found: {measured}")
        say("", f"at this size {limit}")
    else:
        say(head, f"{of}cannot tell at this size: {measured}")
        say("", f"{limit}, a smaller one is missed: give more rows")
    for note in found.notes:
        say("note", note)
    if found.values == "different":
        _show_signs(found, ask)
    if found.words is not None:
        by_chance = f"{found.words.by_chance:.4f} when the texts are mixed at random"
        say("words", f"JS divergence of the word frequencies {found.words.bits:.4f} bits, {by_chance}")


def _show_signs(found: Answer, ask: SameAsk) -> None:
    heads = [Path(ask.first).name, Path(ask.second).name]
    if found.signs:
        table(["what gives it away", *heads, "p"], [_line(sign) for sign in found.signs[:SHOWN]])
        if len(found.signs) > SHOWN:
            say("", f"and {len(found.signs) - SHOWN} more")
    else:
        say("", "no feature alone gives it away: it is many together")
    if found.words is not None:
        rows = [[word.word, *(f"{rate:.2f}" for rate in word.per_thousand)] for word in found.words.telling]
        table(["in 1,000 words", *heads], rows)
    for place, names in zip((ask.first, ask.second), found.unlike):
        say("unlike", f"of {place}, most unlike the other: {', '.join(names[:4])}")


def _line(sign: Sign) -> list[str]:
    if sign.share:
        values = [f"{mean:.1%}" for mean in sign.means]
    else:
        values = [f"{mean:.4g} ± {spread:.2g}" for mean, spread in zip(sign.means, sign.spreads)]
    return [sign.feature, *values, f"{sign.p:.3g}"]


def _write(path: Path, found: Answer, ask: SameAsk) -> None:
    """The answer for other programs to read."""
    told: dict[str, Any] = {"first": ask.first, "second": ask.second, "seed": ask.seed, **asdict(found)}
    told["found_from"] = found.found_from
    write_json(path, told)
