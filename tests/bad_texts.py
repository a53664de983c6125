"""Mistakes that people make with text: the same form as `bad_inputs`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from bad_folders import Change, of_pictures
from command_line import done
from seminal.papers import gpt2
from seminal.weights.matching import config_for, to_theirs

PAIRS = "train transformer pairs --source en --target de --epochs 1 --vocab-size 40"
IMPORT = "import theirs --as gpt2"
ON = "train gpt2 story.txt --from runs/own"
ACTIVATION = "activation_function"
WORDS = ["<pad>", "<unk>", "<s>", "</s>", *["once", "upon", "a", "time", "there", "was", "the", "end"]]
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


def theirs(change: Callable[[Path], object] = lambda folder: None) -> Change:
    """A folder ``theirs`` as Hugging Face keeps a GPT-2, a text, and a run ``runs/own`` of them; the folder changed."""

    def make(folder: Path) -> None:
        text("story.txt", "once upon a time\n" * 40)(folder)
        place = folder / "theirs"
        place.mkdir()
        config = replace(gpt2.BASE, vocabulary=len(WORDS), layers=1, width=8, heads=2, longest=16)
        state = to_theirs("huggingface", gpt2.build(config).state_dict(), "gpt2", config)
        save_file({name: value.clone() for name, value in state.items()}, place / "model.safetensors")
        settings = config_for("huggingface", "gpt2", config)
        (place / "config.json").write_text(json.dumps(settings))
        (place / "tokenizer.json").write_text(json.dumps(tokeniser(WORDS)))
        done("import", "theirs", "--as", "gpt2", "--name", "own", folder=folder)
        change(place)

    return make


def tokeniser(words: Sequence[str]) -> dict[str, object]:
    """As JSON: a token for each word."""
    model = {"type": "WordLevel", "vocab": {word: i for i, word in enumerate(words)}, "unk_token": "<unk>"}
    return {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"}, "model": model}


def setting(name: str, value: object) -> Callable[[Path], object]:
    """A line of config.json, changed."""

    def make(place: Path) -> None:
        file = place / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))

    return make


def spm(place: Path) -> None:
    (place / "tokenizer.json").unlink()
    (place / "source.spm").write_bytes(b"\n\x0e")


def longer(place: Path) -> None:
    (place / "tokenizer.json").write_text(json.dumps(tokeniser([*WORDS, "more", "words"])))


def of_text(place: Path) -> None:
    (place / "tokenizer.json").write_text(json.dumps(tokeniser([f"word{i}" for i in range(len(WORDS))])))


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
    ("flags of numbers for text", f"{PAIRS} --mixup 0.2", ("--mixup changes numbers", "sentence pairs"), pairs()),
    ("sentences that are all too long", f"{PAIRS} --max-length 3", ("longer than 3 tokens", "--max-length"), pairs()),
    ("an unknown way to cut text", f"{PAIRS} --tokens syllables", ("`syllables`", "bpe", "words"), pairs()),
    *(
        (
            f"{name} of a text",
            f"train lstm a.tsv {flags}",
            (flags.split()[0], "lstm reads text"),
            text("a.tsv", "a\tb\n"),
        )
        for name, flags in {
            "the size": "--size 32",
            "decoded pictures": "--memory-limit 1",
            "processes for pictures": "-j 2",
            "changed pictures": "--no-augment",
        }.items()
    ),
    ("a folder of pairs for a classifier", "train lstm pairs", ("no training set",), pairs()),
    ("text that is not there", "train gpt novel.txt", ("no novel.txt",), lambda folder: None),
    ("an empty text", "train gpt novel.txt", ("novel.txt", "empty"), text("novel.txt", "")),
    ("labels of a plain text", "train gpt novel.txt --target y", ("--target", "a table"), text("novel.txt", "Once\n")),
    (
        "a lesson that GPT does not learn",
        "train gpt a.tsv --task tag",
        ("--task tag", "`bert`"),
        text("a.tsv", "a\tb\n"),
    ),
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
    (
        "a language model without its tokeniser",
        "import theirs/model.safetensors --as gpt2",
        ("theirs/model.safetensors", "--tokenizer"),
        theirs(),
    ),
    (
        "a folder of weights without their sizes",
        IMPORT,
        ("config.json",),
        theirs(lambda f: (f / "config.json").unlink()),
    ),
    ("a folder without a tokeniser", IMPORT, ("tokenizer.json",), theirs(lambda f: (f / "tokenizer.json").unlink())),
    ("a tokeniser of SentencePiece", IMPORT, ("source.spm", "--tokenizer FILE"), theirs(spm)),
    (
        "a damaged tokeniser",
        IMPORT,
        ("tokenizer.json", "fetch it again"),
        theirs(lambda f: (f / "tokenizer.json").write_text("{")),
    ),
    ("a tokeniser of another model", IMPORT, ("14 tokens", "12", "another model"), theirs(longer)),
    ("a tokeniser without a token to spare", IMPORT, ("<s>", "special token"), theirs(of_text)),
    ("weights of another kind of network", "import theirs --as transformer-marian", ("`model_type`", "gpt2"), theirs()),
    (
        "a network with another activation",
        IMPORT,
        ("`activation_function`", "relu"),
        theirs(setting(ACTIVATION, "relu")),
    ),
    ("a size that is no number", IMPORT, ("`n_layer`", "'two'"), theirs(setting("n_layer", "two"))),
    ("sizes that are not those of the weights", IMPORT, ("transformer.h.1", "lacks"), theirs(setting("n_layer", 2))),
    ("an ending that is no token", IMPORT, ("`eos_token_id`", "50256"), theirs(setting("eos_token_id", 50256))),
    ("names of classes for a language model", f"{IMPORT} --classes a,b", ("--classes", "no classes"), theirs()),
    (
        "a tokeniser for a model of pictures",
        "import a.pth --as resnet18 --tokenizer b",
        ("--tokenizer", "text"),
        theirs(),
    ),
    (
        "a model of text that nobody else has",
        "import theirs --as lstm",
        ("lstm", "gpt2", "seminal train lstm"),
        theirs(),
    ),
    ("a language model as Marian's", "export runs/own --to marian", ("marian", "huggingface"), theirs()),
    ("a model of pictures as Hugging Face's", "export run --to huggingface", ("huggingface", "timm"), of_pictures()),
    (
        "pairs for a language model to be scored on",
        "eval runs/own --data theirs",
        ("no text to score", "test.txt"),
        theirs(),
    ),
    ("other text that is not there", "eval runs/own --data novel.txt", ("no novel.txt",), theirs()),
    ("a language without other data", "eval runs/own --source en", ("--source", "--data"), theirs()),
    ("other tokens for weights that know theirs", f"{ON} --vocab-size 500", ("--vocab-size", "--from"), theirs()),
    ("training on from a folder of others", "train gpt2 story.txt --from theirs", ("seminal import theirs",), theirs()),
    ("training another model on", "train gpt story.txt --from runs/own", ("run of gpt2", "gpt"), theirs()),
    ("a head that a language model has not", f"{ON} --freeze", ("--freeze", "--body-lr"), theirs()),
    ("windows longer than the positions", f"{ON} --max-length 99", ("99 tokens", "--max-length 16"), theirs()),
    ("the card of a run", "show runs/own", ("run of gpt2", "write gpt2"), theirs()),
]
