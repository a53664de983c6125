"""The files beside the weights of a model that reads every form of text, as transformers and its kin read them: what its
outputs are called, and the tokeniser with the special tokens by BERT's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from seminal.core import Recipe
from seminal.data.given import BERTS, EMPTY, Tokenizer, framing, restored
from seminal.data.vocabulary import MASKS, Vocabulary
from seminal.pieces.tokens import BEGIN, END, MASK, PAD, SPECIAL, UNKNOWN
from seminal.tasks.regression import Regression

NAMED = {"pad_token": PAD, "unk_token": UNKNOWN, "cls_token": BEGIN, "sep_token": END}  # by whose places


def in_units(state: Mapping[str, Tensor], recipe: Recipe) -> dict[str, Tensor]:
    """The entries, with numbers that come out in the user's own units: others do not know the mean and the spread of the
    training targets, so these go into the last linear map."""
    task, found = recipe.task, dict(state)
    if isinstance(task, Regression) and task.std:
        mean, std = torch.tensor(task.mean), torch.tensor(task.std)
        found["head.linear.weight"] = found["head.linear.weight"] * std[:, None]
        found["head.linear.bias"] = found["head.linear.bias"] * std + mean
    return found


def settings(config: dict[str, Any], text: Vocabulary, recipe: Recipe, labels: Sequence[str]) -> dict[str, Any]:
    """The files by name: JSON, and ``vocab.txt`` as it is written; ``config`` is the network's part of ``config.json``."""
    tokenizer = _tokenizer(text)
    names = {number: token for token, number in Tokenizer(tokenizer, "").tokens.items()}
    places = text.given.places if text.given else range(len(SPECIAL))
    mask = next((name for name in MASKS if name in names.values()), None)
    special = {name: names[places[part]] for name, part in NAMED.items()} | {"mask_token": mask}
    rows = text.given.rows if text.given else len(text)
    config = config | {"vocab_size": rows, "dtype": "float32", "pad_token_id": places[PAD]}
    if labels and recipe.model.head != "choice":
        config |= {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
    if isinstance(recipe.task, Regression):
        config |= {"problem_type": "regression"}
    told = {"model_max_length": recipe.model.longest, "clean_up_tokenization_spaces": False, **special}
    found = {"config.json": config, "tokenizer.json": tokenizer}
    if not _is_berts(tokenizer):
        return found | {"tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", **told}}
    cleaned = tokenizer["normalizer"]
    told |= {"tokenizer_class": "BertTokenizer", "do_lower_case": cleaned["lowercase"]}
    told |= {"strip_accents": cleaned["strip_accents"], "tokenize_chinese_chars": cleaned["handle_chinese_chars"]}
    lines = [names.get(number, EMPTY.format(number)) for number in range(max(names) + 1)]
    return found | {"tokenizer_config.json": told, "vocab.txt": "".join(f"{line}\n" for line in lines)}


def _tokenizer(text: Vocabulary) -> dict[str, Any]:
    """As it came in; one that was learned here with BERT's names of the special tokens, and with what puts them around a
    text."""
    found = restored(text)
    if text.given is not None:
        return found
    theirs = dict(zip((*SPECIAL, MASK), BERTS))
    model = dict(found["model"])
    model["vocab"] = {theirs.get(token, token): number for token, number in model["vocab"].items()}
    model |= {"unk_token": theirs[SPECIAL[UNKNOWN]]}
    added = [token | {"content": theirs[token["content"]]} for token in found["added_tokens"]]
    around = framing({theirs[SPECIAL[part]]: part for part in (BEGIN, END)})
    return found | {"model": model, "added_tokens": added, "post_processor": around}


def _is_berts(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a list of tokens tells all of it, as of BERT's own."""
    parts = {name: (tokenizer.get(name) or {}).get("type") for name in ("model", "normalizer", "pre_tokenizer")}
    return list(parts.values()) == ["WordPiece", "BertNormalizer", "BertPreTokenizer"]
