"""Mistakes that people make with BERT and what it is fine-tuned on: the same form as `bad_inputs`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors.torch import save_file

from bad_folders import Change, of_pictures
from bad_texts import setting, text
from command_line import done
from seminal.papers import bert
from seminal.weights.matching import config_for, to_theirs

POSITIONS = "position_embedding_type"
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *["once", "upon", "a", "time", "there", "was", "the", "end"]]
CONTEXT = "Anna lives in Oslo, and Ole lives in Rome."
FILMS = "sentence\tlabel\n" + "a fine film\tgood\na dull film\tbad\n" * 20
STORY = "\n\n".join(
    f"Once upon a time there was a {thing}.\nIt was the end of the {thing}." for thing in "abcdefghijkl"
)


def squad(start: int = 14, context: str = CONTEXT, paragraphs: int = 10) -> str:
    """A file of SQuAD's form, its first paragraph changed, as text."""
    made = []
    for number in range(paragraphs):
        answer = {"text": "Oslo", "answer_start": 14 if number else start}
        question = {"id": f"anna{number}", "question": "Where does Anna live?", "answers": [answer]}
        made.append({"context": f"{CONTEXT} {number}" if number else context, "qas": [question]})
    return json.dumps({"data": [{"title": "Anna", "paragraphs": made}]})


def films(**splits: str) -> Change:
    """A folder ``films`` with a table for each split."""

    def make(folder: Path) -> None:
        (folder / "films").mkdir()
        for split, content in splits.items():
            (folder / "films" / f"{split}.tsv").write_text(content, encoding="utf-8")

    return make


def theirs(tokens: Sequence[str] = TOKENS, change: Callable[[Path], object] = lambda place: None) -> Change:
    """A folder ``theirs`` as Hugging Face keeps a BERT, with another vocabulary where one is given; changed."""

    def make(folder: Path) -> None:
        place = folder / "theirs"
        place.mkdir()
        config = bert.Config(vocabulary=len(TOKENS), layers=1, width=8, inner=16, heads=2, longest=16)
        state = to_theirs("huggingface", bert.Bert(config).state_dict(), "bert", config)
        save_file({name: value.clone() for name, value in state.items()}, place / "model.safetensors")
        (place / "config.json").write_text(json.dumps(config_for("huggingface", "bert", config)))
        (place / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
        change(place)

    return make


def several(place: Path) -> None:
    """Weights of Hugging Face that tell any number of classes of a text."""
    config = bert.Config(
        vocabulary=len(TOKENS), layers=1, width=8, inner=16, heads=2, longest=16, head="class", outputs=3
    )
    state = to_theirs("huggingface", bert.Bert(config).state_dict(), "bert", config)
    save_file({name: value.clone() for name, value in state.items()}, place / "model.safetensors")
    (place / "config.json").write_text(json.dumps(config_for("huggingface", "bert", config)))
    setting("problem_type", "multi_label_classification")(place)


def own(change: Change = lambda folder: None) -> Change:
    """The same, and a run ``runs/own`` of it."""

    def make(folder: Path) -> None:
        theirs()(folder)
        done("import", "theirs", "--as", "bert", "--name", "own", folder=folder)
        change(folder)

    return make


# what was done, what was typed, parts of the answer, what lies in the folder
BERTS: list[tuple[str, str, tuple[str, ...], Change]] = [
    (
        "plain text of one document",
        "train bert novel.txt",
        ("1 document", "empty line"),
        text("novel.txt", "Once.\n" * 50),
    ),
    ("hidden words without room", "train bert story.txt --max-length 2", ("--max-length",), text("story.txt", STORY)),
    (
        "an answer that is not at its place",
        "train bert squad.json",
        ("`anna0`", "“Oslo”", "character 15", "--on-bad-row skip"),
        text("squad.json", squad(start=15)),
    ),
    (
        "an empty text to a question",
        "train bert squad.json",
        ("`anna0`", "empty"),
        text("squad.json", squad(context=" ")),
    ),
    (
        "a question that leaves no room for its text",
        "train bert squad.json --max-length 15",
        ("15 tokens", "--max-length 16"),
        text("squad.json", squad()),
    ),
    (
        "questions of another form",
        "train bert squad.json",
        ("squad.json", "SQuAD"),
        text("squad.json", '{"questions": []}'),
    ),
    (
        "questions on one text",
        "train bert squad.json",
        ("one text", "val.json"),
        text("squad.json", squad(paragraphs=1)),
    ),
    (
        "a word without its tag",
        "train bert words.conll",
        ("words.conll, line 2",),
        text("words.conll", "Anna B-PER\nlives\nhere O\n\n" * 9),
    ),
    (
        "a class that training never saw",
        "train bert films",
        ("val.tsv", "`so so`"),
        films(train=FILMS, val=FILMS + "a film\tso so\n"),
    ),
    (
        "a choice without its endings",
        "train bert swag.csv --task choice",
        ("swag.csv", "choice0"),
        text("swag.csv", "context,label\nOnce upon,0\n" * 9),
    ),
    (
        "a column of questions",
        "train bert squad.json --target answers",
        ("--target", "squad.json", "questions"),
        text("squad.json", squad()),
    ),
    ("a column of plain text", "train bert story.txt --text a", ("--text", "no columns"), text("story.txt", STORY)),
    (
        "another column of words",
        "train bert words.conll --text 2",
        ("--text", "words.conll", "first column"),
        text("words.conll", "Anna NNP B-PER\nlives VBZ O\n\n" * 9),
    ),
    (
        "a column of tags that is not there",
        "train bert words.conll --target 4",
        ("--target 4", "words.conll", "3 columns"),
        text("words.conll", "Anna NNP B-PER\nlives VBZ O\n\n" * 9),
    ),
    (
        "a column of labels that a choice has not",
        "train bert swag.csv --target gold",
        ("swag.csv", "`gold`"),
        text("swag.csv", "context,choice0,choice1,label\nOnce upon,a time,a house,0\n" * 9),
    ),
    (
        "weights that tell several classes of a text",
        "import theirs --as bert",
        ("`multi_label_classification`", "exactly one class"),
        theirs(change=several),
    ),
    (
        "a vocabulary that does not fit the weights",
        "import theirs --as bert",
        (f"{len(TOKENS) + 2}", f"{len(TOKENS)}"),
        theirs([*TOKENS, "more", "words"]),
    ),
    ("a sentence without a hidden word", 'fill runs/own "once upon a time"', ("[MASK]",), own()),
    ("a hidden word of a model of pictures", 'fill run "a [MASK]"', ("run", "hidden words"), of_pictures()),
    (
        "a sentence longer than the positions",
        f'fill runs/own "{"a " * 20}[MASK]"',
        ("23 tokens", "16"),
        own(),
    ),
    (
        "fine-tuning of a larger window",
        "train bert story.txt --from runs/own --max-length 64",
        ("16",),
        own(text("story.txt", STORY)),
    ),
    (
        "a question to a model of pictures",
        "predict run --question Where --context Here",
        ("run", "no questions"),
        of_pictures(),
    ),
    (
        "weights with another attention",
        "import theirs --as bert",
        (f"`{POSITIONS}`", "relative_key"),
        theirs(change=setting(POSITIONS, "relative_key")),
    ),
]
