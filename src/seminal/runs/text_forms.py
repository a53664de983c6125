"""Which form of text a file holds, or the files of a folder: their endings tell, and their first lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from seminal.core import DataSpec, UserError
from seminal.data.lines import bare, lines
from seminal.data.text_rows import split_of

TAGGED = (".conll", ".conll2003", ".bio", ".iob", ".iob2", ".bioes", ".conllu")  # a line for each token
TASKS = {  # what is asked for, and the form of text that it is learned from
    "pretrain": "documents",
    **dict.fromkeys(("classify", "classification", "regression", "pair"), "labelled"),
    "tag": "tagged",
    "squad": "questions",
    "choice": "choices",
}
LOOKED = 1000  # lines
MOSTLY = 0.9  # of them: the others may be broken


def form_of(path: Path, task: str) -> str:
    """The form (`DataSpec.kind`) of the data, for a model that reads every form of text. Raises `UserError` where it is not
    the one that ``task`` learns from, or where it cannot be told."""
    file = _shown(path)
    found = "documents" if file is None else _form(file)
    asked = TASKS.get(task, found)
    if asked == found:
        return found
    from seminal.data import labelled_table, questions, stream_text, tagged

    endings = {"documents": stream_text.ENDINGS, "tagged": tagged.ENDINGS, "questions": questions.ENDINGS}
    wanted = endings.get(asked, labelled_table.ENDINGS)
    ending = bare(file).suffix.lower() if file else ""
    if ending not in wanted or (asked == "tagged" and file and not _has_gaps(_sample(file))):
        gaps = ", with an empty line between sentences" if asked == "tagged" else ""
        raise UserError(
            f"--task {task} learns from {words(asked)}, and {path.name} is {words(found)}: give a file that ends in "
            f"{' or '.join(wanted)}{gaps}, or leave --task out."
        )
    return asked


def written_form(path: Path, task: str, *, columns: bool) -> str:
    """The form of the data for a model that goes on writing plain text, and may be fine-tuned: "documents", "labelled" or
    "choices". What has no columns is plain text. ``columns``: the user names some.

    Raises `UserError`: the data, or ``task``, are for models that read other forms of text, or columns are named that plain
    text has not."""
    asked, file = TASKS.get(task), next(filter(Path.is_file, _of_splits(path)), None)
    if asked in ("tagged", "questions"):
        raise UserError(
            f"--task {task} learns from {words(asked)}, which this model does not read: it learns plain text, classes and "
            "numbers of texts or of pairs of texts, and choices. Train `bert` for that, or leave --task out."
        )
    if asked in ("labelled", "choices"):
        return form_of(path, task)
    ending = bare(file).suffix.lower() if file else ""
    if asked is None and file and (ending == ".json" or ending in TAGGED):
        raise UserError(
            f"{path.name} is {words(_form(file))}, which this model does not read: train `bert` on it, or write --task "
            "pretrain to read it as plain text."
        )
    if asked is None and file and is_text_table(file):
        return _form(file)
    if columns:
        raise UserError(
            f"{path.name} is read as plain text, which has no columns: leave --text and --target out, or give a table of "
            "labelled texts (.tsv, .csv, .jsonl)."
        )
    return "documents"


def words(form: str) -> str:
    """What data of a form are."""
    return DataSpec("", form, {}).form


def is_tagged(path: Path) -> bool:
    """Whether a file, or the training file of a folder (any of its splits, where none trains), has a line for each token:
    its ending tells, and of a ``.txt`` the blank lines between its sentences."""
    names = {file: bare(file).name.lower() for file in _of_splits(path)}
    return any(
        name.endswith(TAGGED) or (name.endswith(".txt") and _has_gaps(_sample(file))) for file, name in names.items()
    )


def is_text_table(file: Path) -> bool:
    """Whether a file has columns: its ending tells, and of a ``.txt`` the tabs in its lines."""
    from seminal.data.labelled_table import ENDINGS as TABLES
    from seminal.data.stream_text import ENDINGS as PLAIN

    ending = bare(file).suffix.lower()
    return ending in TABLES and (ending not in PLAIN or _tabs(_sample(file)))


def _of_splits(path: Path) -> list[Path]:
    """The file itself; of a folder the training files, or those of any split where none trains. As where they are read,
    ``msr_paraphrase_train.txt`` counts where no name is that of a split alone."""
    if not path.is_dir():
        return [path]
    stems = {file: bare(file).stem for file in sorted(path.iterdir())}
    for names in (stems, {file: stem.rpartition("_")[2] for file, stem in stems.items()}):
        parts = {file: split for file, name in names.items() if (split := split_of(name))}
        if parts:
            return [file for file, split in parts.items() if split == "train"] or list(parts)
    return []


def _shown(path: Path) -> Path | None:
    """A file of the data; None where they are in folders of their own."""
    files = [file for file in _of_splits(path) if file.is_file()]
    if not files and path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(".")]
    return files[0] if files else None


def _form(file: Path) -> str:
    from seminal.data.choices import has_choices
    from seminal.data.labelled_table import ENDINGS as TABLES
    from seminal.data.stream_text import ENDINGS as PLAIN

    ending = bare(file).suffix.lower()
    if ending in TAGGED:
        return "tagged"
    if ending == ".json":
        return "questions"
    if ending not in (*TABLES, *PLAIN):
        every = dict.fromkeys((*TABLES, *TAGGED, *PLAIN, ".json"))  # each once
        raise UserError(f"{file.name} has no ending that text has: give a file that ends in {', '.join(every)}.")
    sample = _sample(file)
    if ending in PLAIN and _has_gaps(sample) and _columns(sample):
        return "tagged"
    if not is_text_table(file):
        return "documents"
    return "choices" if has_choices(next(filter(str.strip, sample), "")) else "labelled"


def _sample(file: Path) -> list[str]:
    return list(islice(lines(file), LOOKED))


def _has_gaps(sample: Sequence[str]) -> bool:
    """Whether an empty line stands between two that are not."""
    return "\n\n" in "\n".join(sample).strip("\n")


def _tabs(sample: Sequence[str]) -> bool:
    """Whether nearly every line has as many tabs."""
    counts = Counter(line.count("\t") for line in sample if line.strip())
    tabs, often = counts.most_common(1)[0] if counts else (0, 0)
    return tabs > 0 and often >= MOSTLY * counts.total()


def _columns(sample: Sequence[str]) -> bool:
    """Whether every line has as many columns: words between tabs; or between spaces, the last being no word but a label such
    as O, B-PER or NN. A poem may have as many words in each line."""
    full = [line for line in sample if line.strip()]
    if all("\t" in line for line in full):
        return _tabs(full)
    cells = [line.split() for line in full]
    return len({len(row) for row in cells}) == 1 and all(
        len(row) > 1 and (row[-1].isupper() or not row[-1].isalnum()) for row in cells
    )
