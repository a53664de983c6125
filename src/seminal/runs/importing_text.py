"""``seminal import`` for models of text: weights, and the tokeniser they were trained with, become one run folder.

A folder of Hugging Face tells everything: sizes in ``config.json``, weights, the tokeniser. A bare file of weights tells
neither heads nor tokens: the model must have the sizes it is known for, and the tokeniser is asked for. What becomes of
the special tokens is told in `seminal.data.given`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seminal.core import DataSpec, Precision, UserError
from seminal.data.given import Tokenizer, known_parts, renumbered, tokenizer_in
from seminal.data.pairs import PairsEncoder
from seminal.data.stream import StreamEncoder
from seminal.data.text_rows import TextEncoder
from seminal.data.vocabulary import Vocabulary
from seminal.decode.rules import ROOM
from seminal.pieces.measure import on_meta, parameters
from seminal.pieces.tokens import BEGIN, END, PAD, SPECIAL
from seminal.report.terminal import say
from seminal.runs.asks import DataAsk, ImportAsk, RunAsk
from seminal.runs.borrowing import as_in_file, followers
from seminal.runs.codec import read_json
from seminal.runs.folder import RunFolder
from seminal.runs.importing_framed import encoder_for, spared, spec_for, unnamed
from seminal.runs.machine import command_line
from seminal.runs.plan import Plan
from seminal.runs.shelf import paper_of, papers, reading_of, recipes_of
from seminal.weights.matching import config_from, config_in, fit, has_config
from seminal.weights.reading import checkpoint, holds_weights

# What a config.json calls our special tokens; the first that it tells counts.
PARTS = {PAD: ("pad_token_id",), BEGIN: ("decoder_start_token_id", "bos_token_id"), END: ("eos_token_id",)}
DIALECTS = {"torch": "torch_transformer"}  # as it is typed -> as it is called in `seminal.weights`
END_OF_TEXT = "<|endoftext|>"  # stands between two texts in GPT-2 and its kin
SHORT = 256  # tokens of a sentence, where positions have no end
NEXT = {  # what to do with a run, by the form of its data
    "pairs": 'translate {} "A SENTENCE"',
    "stream": 'generate {} --prompt "ONCE"',
    "documents": 'fill {} "The [MASK] sat on the mat"',
    "questions": 'predict {} --question "WHO?" --context YOUR.txt',
    "choices": "predict {} YOUR.csv",
}
REASONS = {
    "final_logits_bias": "a bias of the logits, as models that were trained with Marian itself have, is no part of this one",
    "lm_head.weight": "its last matrix is another than its embeddings, and here they are one",
    "embedding.weight": "torch.nn.Transformer has no embeddings: save yours beside its entries, as `embedding.weight`",
}


@dataclass(frozen=True)
class _Known:
    """What the files tell: the network, its weights under our names, and how it reads text."""

    paper: str
    config: Any
    state: dict[str, Tensor]
    encoder: TextEncoder | PairsEncoder
    spec: DataSpec  # of data that are not there: the recipe is kept for what it says of the task
    dialect: str
    left_out: tuple[str, ...]  # entries that the network has no use for


def import_text(ask: ImportAsk) -> int:
    """Make a run folder of weights and their tokeniser. Nothing in the files is run."""
    _refuse_flags(ask)
    known = _read(ask)
    folder = _written(ask, known)
    model, config = on_meta(papers()[known.paper].build, known.config), known.config
    text = known.encoder.source if isinstance(known.encoder, PairsEncoder) else known.encoder.text
    assert text.given is not None
    lacking = [key for key in model.state_dict() if key not in known.state]
    count = parameters(model) - sum(model.get_parameter(key).numel() for key in lacking)
    say("imported", f"{count:,} parameters of {ask.variant}, {known.dialect}'s names")
    if lacking:
        say("note", "no head is among them, so the run says nothing yet: training from it gives it one")
    if known.left_out:
        say("left out", f"{', '.join(known.left_out)}: nothing here reads them")
    if departures := config.departures():
        say("adapted", " · ".join(departure.what for departure in departures))
    places = ", ".join(f"{name} {place}" for name, place in zip(SPECIAL, text.given.places))
    say("reads", f"{text.kind}: {len(text):,} tokens; their numbers of our special tokens: {places}")
    if unnamed(known.spec):
        say("note", "config.json tells no names of the classes: --classes gives them some")
    verb = NEXT.get(known.spec.kind, "predict {} YOUR.tsv" if ask.pairs else 'predict {} "A SENTENCE"')
    lines = [] if lacking else [verb, "eval {} --data YOURS"]
    for i, line in enumerate([*lines, f"train {ask.variant} YOURS --from {{}}"]):
        say("" if i else "next", f"seminal {line.format(folder.path)}", wrap=False)
    return 0


def _refuse_flags(ask: ImportAsk) -> None:
    for flag, value in (("mean", ask.mean), ("std", ask.std), ("size", ask.size)):
        if value is not None:
            raise UserError(f"--{flag} belongs to pictures, and {ask.variant} reads text: leave it out.")
    paper, _ = paper_of(ask.variant)
    reading = reading_of(paper, ask.variant)
    if ask.classes is not None and not (reading and reading.framed):
        raise UserError(
            f"--classes names what a network tells apart, and {ask.variant} tells no classes: leave it out."
        )
    if ask.pairs and not (reading and reading.framed):
        raise UserError(f"--pairs is about the class of two texts, and {ask.variant} tells none: leave it out.")
    if not has_config(paper):
        others = ", ".join(name for name in papers() if has_config(name))
        raise UserError(
            f"nobody else's names of the entries of {ask.variant} are known here: of the models of text, those of {others} "
            f"can be imported. `seminal train {ask.variant} DATA` trains one."
        )


def _read(ask: ImportAsk) -> _Known:
    paper, card = paper_of(ask.variant)
    reading, path = reading_of(paper, ask.variant), Path(ask.file).expanduser()
    assert reading is not None
    told = _told(path)
    tokenizer = _tokenizer(ask, path, paper)
    config = card.variants[ask.variant]
    config = config_from(told, paper, config) if told else config
    state, dialect = checkpoint(path), DIALECTS.get(ask.dialect or "", ask.dialect)
    config = config_in(state, told, paper, config)
    found = fit(state, on_meta(card.build, config), paper, config, dialect)
    if "vocab_size" not in told:
        config = as_in_file(found, paper, config)
        found = fit(state, on_meta(card.build, config), paper, config, found.dialect)
    unread, found = found.unexpected, spared(found) if reading.framed else found
    if not found.fits:
        named = [*found.unexpected, *(found.theirs[key] for key in found.missing)]
        reasons = "".join(f" ({why})" for name, why in REASONS.items() if name in named)
        more = "" if told else " Sizes are read from a config.json beside the weights: give the folder."
        raise UserError(f"{ask.file} does not hold the weights of {ask.variant}: {found.told()}{reasons}.{more}")
    parts = _parts(told, config.vocabulary)
    form = reading.form
    text = renumbered(
        tokenizer, known_parts(tokenizer, parts), config.vocabulary, stream=form == "stream", copied=form == "pairs"
    )
    state, config = _in_our_order(found.state, paper, config, text), replace(config, vocabulary=len(text))
    if reading.framed:
        spec = spec_for(_title(path), config, told, ask.classes)
        encoder: TextEncoder | PairsEncoder = encoder_for(config, text, spec, pairs=ask.pairs)
    else:
        config, encoder = _reader(config, text, begins=parts.get(END) is not None)
        spec = _spec(_title(path), config, encoder)
    return _Known(paper, config, state, encoder, spec, found.dialect, unread)


def _title(path: Path) -> str:
    path = path.resolve()
    return path.name if path.is_dir() else path.stem


def _told(path: Path) -> dict[str, Any]:
    """What ``config.json`` tells; nothing for a bare file. ``generation_config.json`` tells the special tokens too."""
    if not path.is_dir():
        return {}
    found = [read_json(path / name) for name in ("generation_config.json", "config.json") if (path / name).exists()]
    if not (path / "config.json").exists() and not holds_weights(path):
        raise UserError(f"{path} holds neither weights nor a config.json: give a folder or a file that holds weights.")
    if not (path / "config.json").exists() or not all(isinstance(part, dict) for part in found):
        raise UserError(
            f"{path} has no config.json that tells the sizes of the network: give the file of weights alone."
        )
    return {name: value for part in found for name, value in part.items() if value is not None}


def _tokenizer(ask: ImportAsk, path: Path, paper: str) -> Tokenizer:
    if ask.tokenizer is not None:
        return tokenizer_in(Path(ask.tokenizer).expanduser())
    if path.is_dir():
        return tokenizer_in(path, ends_words=paper == "gpt")
    if not path.exists():
        raise UserError(f"{ask.file} does not exist: give a folder of Hugging Face, or a file of weights.")
    raise UserError(
        f"{ask.file} holds weights alone, and without their tokeniser nobody knows which row is which token: write "
        "--tokenizer with the tokenizer.json they were trained with, or give the folder where both are."
    )


def _parts(told: Mapping[str, Any], rows: int) -> dict[int, int]:
    """Their numbers of our special tokens, by ours. Some models have several endings: the first counts."""
    found: dict[int, int] = {}
    for part, names in PARTS.items():
        for name in names:
            value = told.get(name)
            value = value[0] if isinstance(value, list) and value else value
            if value is None:
                continue
            if not isinstance(value, int) or not 0 <= value < rows:
                raise UserError(f"config.json says that `{name}` is {value!r}, and the model has {rows:,} tokens.")
            found.setdefault(part, value)
    return found


def _reader(config: Any, text: Vocabulary, *, begins: bool) -> tuple[Any, StreamEncoder | PairsEncoder]:
    """Our network, and how it reads. A language model whose ending is told begins each text after it."""
    if text.stream:
        after = begins or text.shown([END]) == [END_OF_TEXT]
        return config, StreamEncoder(text, config.longest, (END,) if after else None)
    if config.positions != "learned":
        config = replace(config, longest=max(config.longest, SHORT + ROOM))
    return config, PairsEncoder(text, text, max(2, config.longest - ROOM))  # a translation may be so much longer


def _spec(name: str, config: Any, encoder: TextEncoder | PairsEncoder) -> DataSpec:
    sides, form = (("source", "target"), "pairs") if isinstance(encoder, PairsEncoder) else (("text",), "stream")
    sizes, longest = dict.fromkeys(sides, config.vocabulary), dict.fromkeys(sides, encoder.longest)
    one = {"train": 1, "val": 1}
    return DataSpec(name, form, one, vocabulary=sizes, longest=longest, tokens=one)


def _in_our_order(state: dict[str, Tensor], paper: str, config: Any, text: Vocabulary) -> dict[str, Tensor]:
    """The entries, with a row for each of our tokens where a row is a token."""
    given = text.given
    assert given is not None
    for key in followers(paper, config, "vocabulary") & state.keys():
        table = state[key]
        if given.ours > given.rows:  # padding has no place of its own there: it gets a copy, see `seminal.data.given`
            table = torch.cat([table, table[given.places[BEGIN]][None]])
        state = state | {key: table[list(given.order)]}
    return state


def _written(ask: ImportAsk, known: _Known) -> RunFolder:
    spec, path = known.spec, Path(ask.file).expanduser().resolve()
    recipe = recipes_of(known.paper).modern(ask.variant, spec)
    recipe = replace(recipe, model=known.config, task=recipe.task.fitted(spec), precision=Precision())
    folder = RunFolder.new(Path(ask.output), f"{ask.variant}-{spec.name}", ask.name)
    folder.write_json("reader.json", known.encoder)
    folder.write_json("labels.json", spec.classes or spec.target_names)
    folder.write("command.txt", command_line() + "\n")
    for file in ("best.safetensors", "last.safetensors"):
        folder.write_tensors(file, known.state, {"variant": ask.variant})
    folder.write_json("recipe.json", Plan(known.paper, DataAsk(str(path)), recipe, RunAsk(ask.output, ask.name)))
    return folder
