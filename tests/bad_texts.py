"""Mistakes that people make with text: the same form as `bad_inputs`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bad_folders import Change

PAIRS = "train transformer pairs --source en --target de --epochs 1 --vocab-size 40"
SENTENCES = [
    f"the {animal} sees a {thing}" for animal in ("cat", "dog", "cow", "hen") for thing in ("tree", "house", "red ball")
]


def pairs(change: Callable[[Path], object] = lambda folder: None) -> Change:
    """A folder ``pairs`` with train.en and train.de, changed."""

    def make(folder: Path) -> None:
        (folder / "pairs").mkdir()
        for split in ("train", "val"):
            for language in ("en", "de"):
                (folder / "pairs" / f"{split}.{language}").write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
        change(folder / "pairs")

    return make


def text(name: str, content: str | bytes) -> Change:
    """One file."""

    def make(folder: Path) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return make


# what was done, what was typed, parts of the answer, what lies in the folder
TEXTS: list[tuple[str, str, tuple[str, ...], Change]] = [
    ("translation without languages", "train transformer pairs", ("--source en --target de",), pairs()),
    (
        "a language that is not there",
        "train transformer pairs --source en --target fr",
        ("train.fr", "--target fr"),
        pairs(),
    ),
    (
        "files that do not match line for line",
        PAIRS,
        ("12 lines", "11"),
        pairs(lambda f: (f / "train.de").write_text("\n".join(SENTENCES[:-1]) + "\n")),
    ),
    (
        "an empty line",
        PAIRS,
        ("train.en, line 3", "--on-bad-row skip"),
        pairs(lambda f: (f / "train.en").write_text("\n".join([*SENTENCES[:2], "", *SENTENCES[3:]]) + "\n")),
    ),
    (
        "another encoding",
        PAIRS,
        ("train.de, line 1", "not UTF-8", "iconv"),
        pairs(lambda f: (f / "train.de").write_bytes("für alle\n".encode("latin1") * 12)),
    ),
    (
        "a vocabulary larger than the text supports",
        "train transformer pairs --source en --target de --vocab-size 5000",
        ("5,000", "--vocab-size"),
        pairs(),
    ),
    ("sentences that are all too long", f"{PAIRS} --max-length 3", ("longer than 3 tokens", "--max-length"), pairs()),
    ("an unknown way to cut text", f"{PAIRS} --tokens syllables", ("`syllables`", "bpe", "words"), pairs()),
    ("a folder of pairs for a classifier", "train lstm pairs", ("no training set",), pairs()),
    ("text that is not there", "train gpt novel.txt", ("no novel.txt",), lambda folder: None),
    ("an empty text", "train gpt novel.txt", ("novel.txt", "empty"), text("novel.txt", "")),
    (
        "labelled text with one class only",
        "train lstm all.tsv",
        ("`good`", "2"),
        text("all.tsv", "a fine film\tgood\n" * 20),
    ),
    (
        "a broken line of JSON",
        "train lstm all.jsonl",
        ("all.jsonl", "2"),
        text("all.jsonl", '{"text": "a", "label": "b"}\n{"text": \n'),
    ),
    ("a picture model for text", "train resnet20 all.txt", ("all.txt",), text("all.txt", "once upon a time\n" * 9)),
]
