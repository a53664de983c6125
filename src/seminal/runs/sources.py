"""From the words after ``train MODEL`` to a source of batches: a known name, a folder, an archive, a table or text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from seminal.core import Reading, Source, UserError
from seminal.data import images, tables
from seminal.data.fetched import SETS, fetched
from seminal.data.split import Fold, Holdout
from seminal.data.table_file import ENDINGS as TABLES
from seminal.data.text_rows import Known, TextAsk
from seminal.pieces.measure import example_size
from seminal.runs.asks import DataAsk
from seminal.runs.shelf import nearest, papers, reading_of
from seminal.runs.text_forms import TASKS, form_of, is_tagged, words, written_form

WORKBOOKS = (".xlsx", ".xls", ".ods")  # refused, by the reader of tables, which says how to go on
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")
BUNDLED = ("digits", "iris", "wine", "breast-cancer", "diabetes")
SMALL = 96  # pictures that all have one size up to this are kept as they are, whatever size the paper used


def open_source(ask: DataAsk, name: str, variant: str, device: str, *, known: Known | None = None) -> Source:
    """The data for the model ``variant`` of the paper ``name``, ready to give batches. Text and tables are read by what is
    ``known``, or else by what is learned from them. Raises `UserError` for whatever is wrong with them."""
    split = _split(ask)
    path = expanded(ask.data)
    if (path / "recipe.json").exists():
        start = (
            "" if known is not None else f": write --from {ask.data} to start from its weights, and give data besides"
        )
        raise UserError(f"{ask.data} is the folder of a run, and holds no data{start or ': give data'}.")
    reading = reading_of(name, variant)
    if reading is not None:
        return _text(ask, _asked(reading, ask), path, device, known=known)
    if ask.data in BUNDLED and not path.exists():
        if ask.target or ask.task not in (None, "auto"):
            raise UserError(f"{ask.data} comes with its target and its task: leave --target and --task out.")
        if ask.data == "digits":
            return images.digits(split=split, device=device)
        return tables.bundled(ask.data, split=split, device=device, known=known)
    if ask.data in SETS and not path.exists():
        path = fetched(ask.data)
    if not path.exists():
        raise UserError(
            f"there is no {ask.data}.{_near(ask.data)} Bundled with seminal: {', '.join(BUNDLED)}; fetched when first asked "
            f"for: {', '.join(SETS)}."
        )
    if is_table(path):
        bad, task = ask.on_bad_file, {"classify": "classification"}.get(ask.task, ask.task)
        return tables.read(path, target=ask.target, split=split, task=task, on_bad_row=bad, device=device, known=known)
    if path.is_file() and not path.name.lower().endswith(ARCHIVES):
        raise UserError(
            f"{path.name} is neither a table ({', '.join(TABLES)}) nor an archive of pictures ({', '.join(ARCHIVES)}). "
            "For pictures, give the folder."
        )
    listing = images.scan(path, split=split, on_bad_file=ask.on_bad_file)
    listing = replace(listing, name=ask.data) if ask.data in SETS else listing
    config = papers()[name].variants[variant]
    size = ask.size or _size(listing.native_size, example_size(config))
    limit = int(ask.memory_limit * 2**30)
    return images.load(listing, size=size, device=device, memory_limit=limit, workers=ask.workers)


def _text(ask: DataAsk, reading: Reading, path: Path, device: str, *, known: Known | None) -> Source:
    """Text, in the form the model reads."""
    if not path.exists() and ask.data in (*BUNDLED, *SETS):
        raise UserError(
            f"{ask.data} is no text, and this model reads text: give a file of it, or a folder with train and val."
        )
    if not path.exists():
        raise UserError(
            f"there is no {ask.data}.{_near(ask.data)} Give a file of text, or a folder with train and val."
        )
    # Without a word of the user, text holds out its own share for validation: a tenth of much is enough.
    split = None if ask.val_fraction is None and ask.folds is None and not ask.split_seed else _split(ask)
    # The readers of text are imported late: tokenisers are of no use to pictures.
    if reading.form == "pairs":
        from seminal.data import pairs

        asked = pairs.PairsAsk(ask.source, ask.target, split, ask.vocab_size, ask.on_bad_file, known)
        return pairs.read(path, reading, asked, device)
    if reading.framed or reading.labels:
        return _of_any_form(ask, reading, path, device, split=split, known=known)
    if reading.form == "stream":
        from seminal.data import neighbours, stream

        _refuse_columns(ask, path)
        asked_stream = stream.StreamAsk(split, ask.vocab_size, known)
        read = stream.read if reading.subsample is None else neighbours.read
        return read(path, reading, asked_stream, device)
    if ask.task not in ("auto", "classification", "classify", "tag"):
        raise UserError(
            f"--task {ask.task} is for models that read every form of text, as `bert` does: leave it out, or train that."
        )
    from seminal.data import labelled, tagged

    if is_tagged(path):
        _refuse_other_labels(path, known, tagged.TaggedEncoder, "a label for each word")
        _refuse_named(ask, path, "tagged", known)
        return tagged.read(path, reading, TextAsk(split, ask.vocab_size, ask.on_bad_file, known, ask.target), device)
    _refuse_other_labels(path, known, labelled.LabelledEncoder, "a label for each text")
    asked_labels = labelled.LabelledAsk(ask.source, ask.target, split, ask.vocab_size, ask.on_bad_file, known)
    return labelled.read(path, reading, asked_labels, device)


def _refuse_columns(ask: DataAsk, path: Path) -> None:
    """Whatever is about labels has no meaning for a model that learns from plain text alone."""
    task = ask.task if TASKS.get(ask.task, "documents") != "documents" else None
    flags = {"--text": ask.source, "--target": ask.target, f"--task {task}": task}
    for flag in (flag for flag, value in flags.items() if value is not None):
        raise UserError(
            f"{flag} is about labels, and this model reads {path.name} as plain text: leave it out, or train a model that "
            "learns from labels, such as `lstm`, `gpt` or `bert`."
        )


def _refuse_named(ask: DataAsk, path: Path, form: str, known: Known | None) -> None:
    """Columns that the user names, and that data of this form do not have."""
    reads = {
        "documents": "plain text, which has no columns",
        "questions": "questions about texts, in which SQuAD's own keys tell what is what",
        "tagged": "a word on each line, from its first column (of .conllu the second)",
        "choices": "a beginning and its endings, in columns that are called sent1, sent2, ending0 … or context, choice0 …",
    }
    flag = "--source" if known is not None and known.whole else "--text"  # as `eval` and `train` call it
    if ask.source is not None and form in reads:
        raise UserError(f"{flag} names a column, and {path.name} is read as {reads[form]}. Leave {flag} out.")
    if ask.target is not None and form in ("documents", "questions"):
        raise UserError(f"--target names a column, and {path.name} is read as {reads[form]}. Leave --target out.")


def _refuse_other_labels(path: Path, known: Known | None, encoder: type, holds: str) -> None:
    if known is not None and not isinstance(known.encoder, encoder):
        other = "a label for each text" if holds.endswith("word") else "a label for each word"
        raise UserError(f"{path.name} holds {holds}, and the run learned {other}: give data of the same form.")


def _of_any_form(
    ask: DataAsk, reading: Reading, path: Path, device: str, *, split: Holdout | Fold | None, known: Known | None
) -> Source:
    """Text for a model that reads several forms of it."""
    from seminal.data import choices, documents, labelled, questions, stream, tagged

    columns = ask.source is not None or ask.target is not None
    form = written_form(path, ask.task, columns=columns) if reading.labels else form_of(path, ask.task)
    encoders: dict[str, type] = {
        "documents": stream.StreamEncoder if reading.labels else documents.DocumentEncoder,
        "labelled": labelled.LabelledEncoder,
        "tagged": tagged.TaggedEncoder,
        "questions": questions.QuestionEncoder,
        "choices": choices.ChoicesEncoder,
    }
    if known is not None and known.whole and not isinstance(known.encoder, encoders[form]):
        own = next(words(name) for name, kind in encoders.items() if isinstance(known.encoder, kind))
        raise UserError(f"{path.name} is {words(form)}, and the run learned from {own}: give data of the same form.")
    _refuse_named(ask, path, form, known)
    size, bad = ask.vocab_size, ask.on_bad_file
    if form == "documents" and reading.labels:
        if known is not None and not isinstance(known.encoder, stream.StreamEncoder):
            raise UserError(
                f"{path.name} is plain text, and the run was fine-tuned on labels: start from the run on plain text that it "
                "began with."
            )
        return stream.read(path, reading, stream.StreamAsk(split, size, known), device)
    reading = replace(reading, framed=True)
    if form == "documents":
        return documents.read(path, reading, documents.DocumentsAsk(split, size, known), device)
    if form == "questions":
        return questions.read(path, reading, TextAsk(split, size, bad, known), device)
    if form == "choices":
        return choices.read(path, reading, TextAsk(split, size, bad, known, ask.target), device)
    if form == "tagged":
        return tagged.read(path, reading, TextAsk(split, size, bad, known, ask.target), device)
    asked = labelled.LabelledAsk(ask.source, ask.target, split, size, bad, known, ask.task)
    return labelled.read(path, reading, asked, device)


def _asked(reading: Reading, ask: DataAsk) -> Reading:
    """With what the user said instead."""
    longest = ask.max_length or reading.longest
    return replace(reading, tokens=ask.tokens or reading.tokens, longest=longest)


def expanded(data: str) -> Path:
    """The path, with ``~`` as the shell would read it."""
    try:
        return Path(data).expanduser()
    except RuntimeError:
        raise UserError(
            f"there is no {data}: nobody here has the home `{Path(data).parts[0]}`. Write the whole path."
        ) from None


def _split(ask: DataAsk) -> Holdout | Fold:
    if ask.fold is not None and ask.folds is not None:
        return Fold(ask.fold, ask.folds, ask.split_seed)
    return Holdout(0.2 if ask.val_fraction is None else ask.val_fraction, ask.split_seed)


def has_columns(data: str) -> bool:
    """Whether these words after ``train MODEL`` name a table, or a bundled one."""
    path = expanded(data)
    return is_table(path) if path.exists() else data in tables.BUNDLED


def is_table(path: Path) -> bool:
    """Whether the file, or what is in the folder, is a table."""
    if path.is_dir():
        return any((path / f"train{suffix}{packed}").exists() for suffix in TABLES for packed in ("", ".gz"))
    return path.name.lower().removesuffix(".gz").endswith((*TABLES, *WORKBOOKS))


def _size(native: tuple[int, int] | None, papers: int | None) -> int:
    """The side of the square pictures the model is given, where the user did not say."""
    if native and native[0] == native[1] and native[0] <= max(papers or 0, SMALL):
        return native[0]
    return papers or 64


def _near(data: str) -> str:
    folder = Path(data).expanduser().parent
    there = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    return nearest(Path(data).name, [*there, *BUNDLED, *SETS])
