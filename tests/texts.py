"""Small texts on disk, the same ones every time."""

from __future__ import annotations

from pathlib import Path

from seminal.core import DataSpec

WORDS = {"a": "ein", "the": "das", "small": "kleine", "large": "grosse", "red": "rote"}
THINGS = {"house": "Haus", "child": "Kind", "car": "Auto", "book": "Buch", "ship": "Schiff"}
DOES = {"sleeps": "schläft", "falls": "fällt", "waits": "wartet"}


def sentences(folder: Path) -> Path:
    """A folder with train.en, train.de, val.en and val.de: 75 and 15 sentences of 3 to 6 words."""
    lines = []
    for i, (word, thing) in enumerate((w, t) for w in WORDS for t in THINGS):
        for j, does in enumerate(DOES):
            more = ["now"] * ((i + j) % 4)
            english = " ".join(["the", word, thing, does][(i + j) % 2 :] + more)
            german = " ".join(["das", WORDS[word], THINGS[thing], DOES[does]][(i + j) % 2 :] + ["jetzt"] * len(more))
            lines.append((english, german))
    folder.mkdir(parents=True, exist_ok=True)
    for side, language_ in enumerate(("en", "de")):
        for split, some in (("train", lines), ("val", lines[::5])):
            text = "".join(f"{line[side]}\n" for line in some)
            (folder / f"{split}.{language_}").write_text(text, encoding="utf-8")
    return folder


def language(folder: Path) -> Path:
    """A file of plain text: 120 short lines."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"the {word} {thing} {does}" for word in WORDS for thing in THINGS for does in DOES]
    path = folder / "story.txt"
    path.write_text("".join(f"{line}\n" for line in [*lines, *lines[:45]]), encoding="utf-8")
    return path


def text_spec(form: str) -> DataSpec:
    """Text of a `Reading.form` that was never written: 30 different tokens, sentences of up to 12."""
    sides = ("source", "target") if form == "pairs" else ("text",)
    sizes, longest = dict.fromkeys(sides, 30), dict.fromkeys(sides, 12)
    classes, counts = (("a", "b", "c"), (30, 30, 40)) if form == "labelled" else ((), ())
    rows, tokens = {"train": 100, "val": 20}, {"train": 900, "val": 90}
    by = "rows" if form == "stream" else "tokens"
    return DataSpec(
        "lines", form, rows, (), classes, counts, vocabulary=sizes, longest=longest, tokens=tokens, batched_by=by
    )
