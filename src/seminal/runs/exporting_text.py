"""``seminal export`` of models of text for other programs: a folder with the weights under their names, their settings and
the tokeniser, which they read without seminal. An imported model goes out with the numbers of its tokens as they came in.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from seminal.core import UserError
from seminal.data.given import restored
from seminal.data.pairs import PairsEncoder
from seminal.data.stream import StreamEncoder
from seminal.data.text_rows import TextEncoder
from seminal.data.vocabulary import Vocabulary
from seminal.pieces.measure import on_meta
from seminal.pieces.tokens import BEGIN, END, PAD, SPECIAL, UNKNOWN
from seminal.runs import exporting_framed
from seminal.runs.borrowing import followers
from seminal.runs.codec import read_json
from seminal.runs.folder import RunFolder
from seminal.runs.importing_text import DIALECTS
from seminal.runs.plan import Plan, encoder_of
from seminal.runs.shelf import papers
from seminal.weights.matching import config_for, dialects, fit, to_theirs
from seminal.weights.reading import checkpoint
from seminal.weights.transformer import PLACES

FOLDERS = ("huggingface", "marian", "torch")
BEAMS = 4  # of a translation, where nobody says otherwise


def write_folder(folder: RunFolder, plan: Plan, model: nn.Module, to: str, path: Path) -> str:
    """Write the folder ``path``, which is there as a whole or not at all, and read it back. Returns what was written.

    Raises `UserError`: the other program has no such network.
    """
    dialect, config, encoder = DIALECTS.get(to, to), plan.recipe.model, encoder_of(folder)
    known = dialects(plan.paper, config)
    if dialect not in known:
        words = {theirs: typed for typed, theirs in DIALECTS.items()}
        others = ", ".join(("safetensors", *(words.get(name, name) for name in known)))
        why = "" if known else _why_none(plan)
        raise UserError(f"{to} has no network like this {plan.recipe.variant}{why}. Write --to {others}.")
    text: Vocabulary = encoder.target if isinstance(encoder, PairsEncoder) else cast(TextEncoder, encoder).text
    temporary = path.with_name(f".{path.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        state = exporting_framed.in_units(model.state_dict(), plan.recipe)
        state = _in_their_order(state, plan.paper, config, text)
        count = _write_weights(to_theirs(dialect, state, plan.paper, config), temporary / "model.safetensors")
        if isinstance(encoder, StreamEncoder | PairsEncoder):
            settings: dict[str, Any] = _settings(dialect, plan, text, encoder)
        else:
            told, labels = config_for(dialect, plan.paper, config), read_json(folder.path / "labels.json")
            settings = exporting_framed.settings(told, text, plan.recipe, labels)
        for name, content in settings.items():
            lines = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            (temporary / name).write_text(lines, encoding="utf-8")
        _read_back(temporary, state, plan, dialect)
        temporary.rename(path)
    except OSError as error:
        raise UserError(f"{path} could not be written: {error.strerror}. Choose another place with `--out`.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return f"{count} tensors, {to}'s names, {', '.join(settings)}; {_how_to_read(settings['config.json'], path)}"


def _why_none(plan: Plan) -> str:
    if plan.paper == "transformer":
        return " (biases and positions are others): train a transformer-marian or a transformer-torch for that"
    if plan.paper == "bert":
        return " (it reads from left to right, or has a BiLSTM on top)"
    if plan.paper in ("gpt", "gpt2"):
        return " (a head for labels brings tokens of its own, which theirs has not)"
    return ""


def _in_their_order(state: dict[str, Tensor], paper: str, config: Any, text: Vocabulary) -> dict[str, Tensor]:
    """The entries, with the rows of tokens where they were when they came in."""
    if text.given is None:
        return state
    back = sorted(range(text.given.ours), key=text.given.order.__getitem__)[: text.given.rows]
    return state | {key: state[key][back] for key in followers(paper, config, "vocabulary")}


def _write_weights(state: dict[str, Tensor], path: Path) -> int:
    """One file. A matrix that has several names is written under the first: the others are tied to it when it is read.
    Sinusoids are not written, because every program makes them itself."""
    kept: dict[int, tuple[str, Tensor]] = {}
    for key, value in state.items():
        if key not in PLACES:
            kept.setdefault(value.data_ptr(), (key, value.detach().contiguous()))
    save_file(dict(kept.values()), path, {"format": "pt"})
    return len(kept)


def _read_back(folder: Path, state: dict[str, Tensor], plan: Plan, dialect: str) -> None:
    """What was written is what the model has."""
    model = on_meta(papers()[plan.paper].build, plan.recipe.model)
    found = fit(checkpoint(folder), model, plan.paper, plan.recipe.model, dialect).state
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], value) for key, value in state.items()), "a tensor came back with other numbers"


# ---------------------------------------------------------------------------------------------------------- the settings


def _settings(
    dialect: str, plan: Plan, text: Vocabulary, encoder: StreamEncoder | PairsEncoder
) -> dict[str, dict[str, Any]]:
    """The files beside the weights, by name."""
    rows = text.given.rows if text.given else len(text)
    config = config_for(dialect, plan.paper, plan.recipe.model)
    found = {"config.json": config, "tokenizer.json": _tokenizer(text, ends=isinstance(encoder, PairsEncoder))}
    if dialect == "torch_transformer":
        return found
    config |= {"vocab_size": rows, "dtype": "float32"}
    places = list(text.given.places if text.given else range(len(SPECIAL)))
    names = {part: str(_token(found["tokenizer.json"], places[part])) for part in range(len(SPECIAL))}
    special: dict[str, Any]
    generation: dict[str, Any]
    if isinstance(encoder, PairsEncoder):
        config |= {"decoder_vocab_size": rows}
        places[PAD] = places[PAD] if places[PAD] < rows else places[BEGIN]
        special = {"pad_token_id": places[PAD], "eos_token_id": places[END], "decoder_start_token_id": places[BEGIN]}
        special |= {"bos_token_id": None, "forced_eos_token_id": places[END]}
        never = sorted({places[PAD], places[BEGIN]})
        generation = {"bad_words_ids": [[place] for place in never], "num_beams": BEAMS}
        generation |= {"max_length": plan.recipe.model.longest}
        named = {"pad_token": PAD, "unk_token": UNKNOWN, "eos_token": END}
    else:
        end = places[END] if encoder.first == (END,) or _ends_lines(text) else None
        special = {"bos_token_id": end if encoder.first else None, "eos_token_id": end, "pad_token_id": None}
        generation = {} if text.given else {"suppress_tokens": [PAD, BEGIN]}
        named = {"eos_token": END} if end is not None else {}
    config |= special
    generation |= special
    told = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": plan.recipe.model.longest,
        "clean_up_tokenization_spaces": False,
        **{name: names[part] for name, part in named.items()},
    }
    return found | {"generation_config.json": generation, "tokenizer_config.json": told}


def _ends_lines(text: Vocabulary) -> bool:
    """Whether ``</s>`` stands for a line end: of words read from plain text."""
    return text.stream and text.kind == "words" and text.given is None


def _token(tokenizer: dict[str, Any], place: int) -> str | None:
    """The token with this number, where there is one."""
    entries = tokenizer["model"]["vocab"]
    pairs = (
        enumerate(piece for piece, _ in entries) if isinstance(entries, list) else ((n, t) for t, n in entries.items())
    )
    return next((token for number, token in pairs if number == place), None)


def _tokenizer(text: Vocabulary, *, ends: bool) -> dict[str, Any]:
    """The tokeniser for others. Where ours adds something when it reads, theirs says so: the ending of a sentence, the
    ``</s>`` of a line end, signs that are joined without spaces."""
    found = restored(text)
    if text.given is not None:
        return found
    if ends:
        end = {"SpecialToken": {"id": SPECIAL[END], "type_id": 0}}
        whole = [{"Sequence": {"id": "A", "type_id": 0}}, end]
        tokens = {SPECIAL[END]: {"id": SPECIAL[END], "ids": [END], "tokens": [SPECIAL[END]]}}
        pair = [*whole, {"Sequence": {"id": "B", "type_id": 1}}, end]
        found |= {
            "post_processor": {"type": "TemplateProcessing", "single": whole, "pair": pair, "special_tokens": tokens}
        }
    if _ends_lines(text):
        found |= {"normalizer": {"type": "Replace", "pattern": {"String": "\n"}, "content": f" {SPECIAL[END]} "}}
    if text.kind == "characters":
        found |= {"decoder": {"type": "Fuse"}}
    return found


def _how_to_read(config: Mapping[str, Any], path: Path) -> str:
    if "architectures" not in config:
        return "config.json has the arguments of torch.nn.Transformer, and `embedding.weight` is beside its entries"
    return f"transformers.{config['architectures'][0]}.from_pretrained('{path}') reads it"
