"""What the page shows of texts: maps of attention as plots, and words for what colours say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seminal.report.data import Answered, Attempts, Evidence, Looks, Report, Tagged
from seminal.report.figures import Figure, frame, numbers, plain
from seminal.report.words import number, printable, share

SHOWN_TOKENS = 40  # on each side of a map; more cannot be read
CELL = 26  # pixels
SPACE, JOINED = "▁", "·"  # what a token begins with that begins a word; and that does not, as it is shown
LEAST = 0.1  # nats: where no word counts more, none decides, and the shades say so
NAMED = 3  # words that count most, in the sentence under a text


def latest(attempts: Attempts) -> list[tuple[str, str]]:
    """What was given, what was wanted, what the model wrote last: (label, text)."""
    epoch, text = attempts.texts[-1]
    given, wanted = (attempts.given_as, attempts.given), (attempts.wanted_as, attempts.wanted)
    return [given, wanted, (f"epoch {epoch}", text)]


def earlier(attempts: Attempts) -> list[tuple[str, str]]:
    """What the model wrote before, the latest first: (label, text)."""
    return [(f"epoch {epoch}", text) for epoch, text in reversed(attempts.texts[:-1])]


def attention(report: Report) -> list[Figure]:
    """A map for each sentence: a row for each written token, a column for each token of the source."""
    return [_map(looks, place) for place, looks in enumerate(report.looks)]


def _map(looks: Looks, place: int) -> Figure:
    columns, rows = looks.source[:SHOWN_TOKENS], looks.written[:SHOWN_TOKENS]
    weights = [list(row[:SHOWN_TOKENS]) for row in looks.weights[:SHOWN_TOKENS]]
    read, said = ([plain(name, 14) for name in token_names(looks, side)] for side in (columns, rows))
    hover = [
        [f"<b>{y}</b> looked at <b>{x}</b>: {share(w)}" for x, w in zip(read, row)] for y, row in zip(said, weights)
    ]
    most = max((weight for row in weights for weight in row), default=1.0)
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": [numbers(row) for row in weights],
        "zmin": 0,
        "zmax": numbers([most])[0],
        "hovertext": hover,
        "hoverinfo": "text",
        "colorscale": [[0, "var(--plot)"], [1, "var(--validation)"]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    drawn = frame("", "")
    ticks = {"showgrid": False, "zeroline": False, "ticks": "", "constrain": "domain"}
    # A token may stand twice in a sentence: the axes count places, and the tokens are only written beside them.
    drawn["xaxis"] |= ticks | {"tickvals": list(range(len(read))), "ticktext": read}
    drawn["xaxis"] |= {"side": "top", "tickangle": -45, "constraintoward": "left"}
    drawn["yaxis"] |= ticks | {"tickvals": list(range(len(said))), "ticktext": said}
    drawn["yaxis"] |= {"autorange": "reversed", "scaleanchor": "x", "constraintoward": "top"}
    drawn["margin"] |= {"t": 8, "b": 8}
    # As wide as its cells need, on any screen: what does not fit is scrolled to.
    drawn |= {"width": 120 + CELL * len(read), "height": 110 + CELL * len(said), "plot_bgcolor": "var(--line)"}
    caption = (
        f"Rows: the translation, downwards; columns: the source. The strongest colour is a weight of {share(most, 0)}."
    )
    if any(name.startswith(JOINED) for name in (*read, *said)):
        caption += f" With “{JOINED}” a token goes on with the word before it."
    if len(looks.source) > SHOWN_TOKENS or len(looks.written) > SHOWN_TOKENS:
        caption += f" Shown are the first {SHOWN_TOKENS} tokens of each side."
    return Figure(f"attention-{place}", f"Sentence {place + 1}", caption, [trace], drawn, wide=True)


def token_names(looks: Looks, tokens: Sequence[str]) -> list[str]:
    """Tokens as people read them: words as they are, and a mark before what goes on with the word before it. Vocabularies
    mark the one (▁word) or the other (##ing)."""
    spaced = any(token.startswith(SPACE) for token in (*looks.source, *looks.written))
    names = []
    for token in tokens:
        if token.startswith(SPACE):
            names.append(token.removeprefix(SPACE) or SPACE)
        elif token.startswith("##") or (spaced and token[:1].isalnum()):
            names.append(JOINED + token.removeprefix("##"))
        else:
            names.append(token)
    return names


def looked_most(looks: Looks) -> list[tuple[str, str, str]]:
    """For each written token the source token that it looked at most, and with which weight: the map in words."""
    read, said = token_names(looks, looks.source), token_names(looks, looks.written)
    best = [max(range(len(row)), key=row.__getitem__) for row in looks.weights if row]
    return [(token, read[i], share(row[i], 0)) for token, row, i in zip(said, looks.weights, best)]


def labels(sentence: Tagged) -> list[tuple[str, str, str]]:
    """Each word, its true label, and the predicted one where that is another."""
    known = zip(sentence.words, sentence.true, sentence.predicted)
    return [(word, true, predicted if predicted != true else "") for word, true, predicted in known]


def answers(answered: Answered) -> list[tuple[str, str]]:
    """What the model says to a question, and what is true where that is something else: (label, text)."""
    said = f"{answered.answer} ({share(answered.probability)})" if answered.answer else "nothing"
    found = [("right" if answered.right else "wrong", said)]
    return found if answered.right else [*found, ("true", answered.true or "nothing: the text does not say")]


def shades(evidence: Evidence) -> list[tuple[str, str, str]]:
    """Each part of the text with "for", "against" or "" and the strength of its shade, from 0 to 1."""
    most = max([LEAST, *(abs(weight) for _, weight in evidence.parts)])
    strengths = [(text, weight / most) for text, weight in evidence.parts]
    # What would not be seen gets no shade.
    return [(text, "" if abs(s) < 0.05 else "for" if s > 0 else "against", f"{abs(s):.2f}") for text, s in strengths]


def deciding(evidence: Evidence) -> str:
    """The words that count most, in a sentence: what the shades say, for those who cannot see them."""
    label = f"“{printable(evidence.label)}”"
    ranked = sorted(evidence.parts, key=lambda part: -part[1])
    speak = ", ".join(_named(text, weight) for text, weight in ranked[:NAMED] if weight >= LEAST)
    against = ", ".join(_named(text, weight) for text, weight in ranked[::-1][:NAMED] if weight <= -LEAST)
    first = f"for {label} speak {speak}" if speak else f"no word alone speaks for {label}"
    return f"{first}; against it {against}" if against else first


def _named(text: str, weight: float) -> str:
    return f"“{printable(text).strip()}” {'+' if weight > 0 else '−'}{number(abs(weight), 2)}"
