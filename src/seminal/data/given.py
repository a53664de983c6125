"""Tokenisers that others made, with our special tokens in the first four places.

Everything here counts on ``<pad>``, ``<unk>``, ``<s>`` and ``</s>`` being tokens 0 to 3 (`seminal.pieces.tokens`). Others
have them elsewhere, or not at all: GPT-2 has 50,257 tokens, and of these four only the last, as number 50,256. So the
tokens are renumbered once, when the weights come in: each of the four changes places with what stood there, in the
tokeniser as in the rows of the embedding, and back again when the weights go out. A model's answers are the same numbers
in another order, to the bit, and no token is added to the sum of its softmax.

Where the others have no such token, one that no text ever gives takes its place: a row without a token, a special token
that means something else, a byte that UTF-8 never has (there are 13), a punctuation mark as the inside of a word. A
translator that begins with its padding token (Marian's do) has one place for two of ours, and may have no other to spare:
then padding gets a row more, a copy. It is never read, because padding is masked, but it is one more term in the softmax.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seminal.core import UserError
from seminal.data.vocabulary import Given, Vocabulary, loaded
from seminal.pieces.tokens import BEGIN, END, PAD, SPECIAL, UNKNOWN

KINDS = {"BPE": "bpe", "WordPiece": "wordpiece", "WordLevel": "words", "Unigram": "unigram"}
NAMES = {  # by which tokens are known where nothing else tells their part
    END: ("</s>", "<|endoftext|>", "<eos>", "[EOS]", "[SEP]"),
    BEGIN: ("<s>", "<bos>", "[BOS]", "[CLS]"),
    UNKNOWN: ("<unk>", "[UNK]"),
    PAD: ("<pad>", "[PAD]"),
}
BERTS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # BERT's names of the four, and of the mask
# No text in UTF-8 has these bytes: they would begin a sign that has a shorter form, or one beyond the last.
NEVER = (0xC0, 0xC1, *range(0xF5, 0x100))
EMPTY = "<row {}>"  # a token for a row that has none; no text gives it, because a space parts it
UNLIKELY = -1e4  # its score, where tokens have scores


@dataclass(frozen=True)
class Tokenizer:
    """The JSON of Hugging Face `tokenizers`, read but not yet renumbered."""

    json: Mapping[str, Any]
    place: str  # the file, for messages

    @property
    def model(self) -> Mapping[str, Any]:
        model: Mapping[str, Any] = self.json["model"]
        return model

    @property
    def tokens(self) -> dict[str, int]:
        """Every token and its number, the added ones included."""
        entries = self.model["vocab"]
        if isinstance(entries, list):
            entries = {piece: number for number, (piece, _) in enumerate(entries)}
        return {**entries, **{str(token["content"]): int(token["id"]) for token in self.json["added_tokens"]}}


def tokenizer_in(path: Path, *, ends_words: bool = False) -> Tokenizer:
    """The tokeniser of a file ``tokenizer.json``, or of a folder with one; else of BERT's ``vocab.txt``; else of
    ``vocab.json`` and ``merges.txt``, as GPT's are: over bytes, or with ``ends_words`` with a sign at the end of each word.

    Raises `UserError`: there is none, it is damaged, or it is one of SentencePiece.
    """
    file = path / "tokenizer.json" if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        file = path / "vocab.txt"
    if file.is_file():
        return _checked(_of_pieces(file) if file.suffix == ".txt" else _json(file), file)
    vocabulary, merges = path / "vocab.json", path / "merges.txt"
    if vocabulary.is_file() and merges.is_file():
        made = _of_words if ends_words else _of_bytes
        return _checked(made(_json(vocabulary), _merges(merges)), vocabulary)
    spm = sorted(p.name for p in path.glob("*.spm")) + sorted(p.name for p in path.glob("*.model"))
    if spm:
        raise UserError(
            f"{path} has its tokeniser in {spm[0]}, a file of SentencePiece, which is not read here: save it as "
            "tokenizer.json with a fast tokeniser of Hugging Face's transformers, and write --tokenizer FILE."
        )
    if path.is_dir():
        raise UserError(
            f"{path} has no tokenizer.json (nor vocab.txt, nor vocab.json with merges.txt), so nobody knows which token is "
            "which: write --tokenizer FILE."
        )
    raise UserError(f"there is no {path}: give the tokenizer.json that belongs to the weights.")


def renumbered(
    tokenizer: Tokenizer, parts: Mapping[int, int], rows: int, *, stream: bool, copied: bool = False
) -> Vocabulary:
    """The tokeniser as a `Vocabulary`. ``parts``: numbers that are known to be one of ours, by ours; ``rows``: of the
    model's table; with ``copied`` padding may get one more.

    Raises `UserError`: the tokeniser has more tokens than the model, or no four places can be found.
    """
    tokens = tokenizer.tokens
    if max(tokens.values()) >= rows:
        raise UserError(
            f"{tokenizer.place} has {max(tokens.values()) + 1:,} tokens and the weights have {rows:,}: it belongs to another "
            "model."
        )
    places = _places(tokenizer, parts, rows, copied)
    given = Given(places, rows)
    changed = {**tokenizer.json, "truncation": None, "padding": None}
    changed = _filled(changed, range(given.ours))
    text = json.dumps(_with_numbers(changed, {theirs: ours for ours, theirs in enumerate(given.order)}))
    kind = KINDS[tokenizer.model["type"]]
    return Vocabulary(kind, text, stream, given)


def restored(vocabulary: Vocabulary) -> dict[str, Any]:
    """The JSON with the numbers that others gave, as `renumbered` found it but for what cuts and fills rows."""
    found: dict[str, Any] = json.loads(vocabulary.json)
    if vocabulary.given is None:
        return found
    found = _with_numbers(found, dict(enumerate(vocabulary.given.order)))
    entries = found["model"]["vocab"]
    if isinstance(entries, list):
        while entries[-1][0] == EMPTY.format(len(entries) - 1):
            entries.pop()
        return found
    kept = {token: number for token, number in entries.items() if token != EMPTY.format(number)}
    return found | {"model": found["model"] | {"vocab": kept}}


# ------------------------------------------------------------------------------------------------------- the four places


def known_parts(tokenizer: Tokenizer, told: Mapping[int, int | None]) -> dict[int, int]:
    """Their number of those of our four tokens that they have: as ``told``, or else by the name. No number stands for two;
    the ending goes first, because a language model that ends and begins with one token is asked for its ending."""
    tokens, found = tokenizer.tokens, dict[int, int]()
    unknown = tokenizer.model.get("unk_token"), tokenizer.model.get("unk_id")
    by_model = tokens.get(unknown[0]) if unknown[0] else unknown[1]
    for part, names in NAMES.items():
        candidates = [told.get(part), by_model if part == UNKNOWN else None, *(tokens.get(name) for name in names)]
        free = [number for number in candidates if number is not None and number not in found.values()]
        found |= {part: free[0]} if free else {}
    return found


def _places(tokenizer: Tokenizer, parts: Mapping[int, int], rows: int, copied: bool) -> tuple[int, ...]:
    taken = set(parts.values())
    spare = (number for number in _never_given(tokenizer, rows) if number not in taken)
    found = dict(parts)
    for part in (BEGIN, END, UNKNOWN, PAD):
        if part in found:
            continue
        number = next(spare, None)
        if number is None and part == PAD and copied:
            number = rows
        if number is None:
            raise UserError(
                f"{tokenizer.place} gives each of its {len(tokenizer.tokens):,} tokens for some text, and none is left to "
                f"stand for `{SPECIAL[part]}`: add a special token to it (and a row to the embedding), then import it."
            )
        found[part] = number
    return tuple(found[part] for part in range(len(SPECIAL)))


def _never_given(tokenizer: Tokenizer, rows: int) -> Iterator[int]:
    """Tokens that no text gives, each once."""
    tokens = tokenizer.tokens
    with_token = set(tokens.values())
    yield from (number for number in range(rows) if number not in with_token)
    special = [int(token["id"]) for token in tokenizer.json["added_tokens"] if token["special"]]
    yield from special
    kinds = set(_types(tokenizer.json.get("pre_tokenizer")))
    if "ByteLevel" in kinds:  # there each of these bytes is written as the sign of the same number
        yield from (tokens[chr(byte)] for byte in NEVER if chr(byte) in tokens and tokens[chr(byte)] not in special)
    if "BertPreTokenizer" in kinds and tokenizer.model.get("end_of_word_suffix"):
        # A punctuation mark is a word of its own there, so it always comes with the sign that ends a word.
        yield from (tokens[mark] for mark in string.punctuation if mark in tokens and tokens[mark] not in special)


def _types(part: Any) -> Iterator[str]:
    """The names of the steps of a pre-tokeniser."""
    if isinstance(part, Mapping):
        yield str(part.get("type"))
        for step in part.get("pretokenizers", ()):
            yield from _types(step)


# ----------------------------------------------------------------------------------------------------------- the numbers


def _filled(tokenizer: Mapping[str, Any], rows: range) -> dict[str, Any]:
    """With every token in the model's own list, where `tokenizers` leaves its number alone, and one for each row."""
    model, added = tokenizer["model"], {int(token["id"]): token["content"] for token in tokenizer["added_tokens"]}
    if isinstance(model["vocab"], list):
        more = [[added.get(row, EMPTY.format(row)), UNLIKELY] for row in rows[len(model["vocab"]) :]]
        return {**tokenizer, "model": {**model, "vocab": [*model["vocab"], *more]}}
    known = {**model["vocab"], **{content: number for number, content in added.items()}}
    have = set(known.values())
    known |= {EMPTY.format(row): row for row in rows if row not in have}
    return {**tokenizer, "model": {**model, "vocab": known}}


def _with_numbers(tokenizer: Mapping[str, Any], number: Mapping[int, int]) -> dict[str, Any]:
    """Every number changed as ``number`` says, wherever one stands; in order of the new ones."""
    model = dict(tokenizer["model"])
    if isinstance(model["vocab"], list):
        moved = sorted((number[row], entry) for row, entry in enumerate(model["vocab"]))
        model["vocab"] = [entry for _, entry in moved]
        model["unk_id"] = None if model.get("unk_id") is None else number[model["unk_id"]]
    else:
        moved_names = sorted((number[row], token) for token, row in model["vocab"].items())
        model["vocab"] = {token: row for row, token in moved_names}
    added = sorted(({**token, "id": number[token["id"]]} for token in tokenizer["added_tokens"]), key=lambda t: t["id"])
    end = _processor(tokenizer.get("post_processor"), number)
    return {**tokenizer, "model": model, "added_tokens": added, "post_processor": end}


def _processor(step: Any, number: Mapping[int, int]) -> Any:
    """What puts special tokens around a text, with their new numbers. It is not used here, but goes out again."""
    if not isinstance(step, Mapping):
        return step
    changed = dict(step)
    for side in ("sep", "cls"):  # [token, number]
        if isinstance(step.get(side), list):
            changed[side] = [step[side][0], number[step[side][1]]]
    if isinstance(step.get("special_tokens"), Mapping):
        changed["special_tokens"] = {
            name: {**token, "ids": [number[row] for row in token["ids"]]}
            for name, token in step["special_tokens"].items()
        }
    if "processors" in step:
        changed["processors"] = [_processor(part, number) for part in step["processors"]]
    return changed


# ------------------------------------------------------------------------------------------------------------- the files


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}): fetch it again.") from None


def _checked(found: Any, path: Path) -> Tokenizer:
    """Refused unless the library itself can read it."""
    if not isinstance(found, dict) or not isinstance(found.get("model"), dict) or not found["model"].get("vocab"):
        raise UserError(f"{path} is no tokeniser: give a tokenizer.json of Hugging Face `tokenizers`.")
    found = {"added_tokens": [], "post_processor": None, **found}
    kind = found["model"].get("type") or _kind(found["model"])
    if kind not in KINDS:
        raise UserError(f"{path} is a tokeniser of an unknown kind, {kind}: {', '.join(KINDS)} are read.")
    found["model"] = {**found["model"], "type": kind}
    loaded(json.dumps(found), str(path))
    return Tokenizer(found, str(path))


def _kind(model: Mapping[str, Any]) -> str:
    """Files of older versions do not say what they are."""
    if isinstance(model["vocab"], list):
        return "Unigram"
    return "BPE" if "merges" in model else "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"


def _merges(path: Path) -> list[list[str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): fetch it again.") from None
    pairs = [line.split(" ") for line in lines if line.strip() and not line.startswith("#version")]
    if wrong := next((line for line in pairs if len(line) != 2), None):
        raise UserError(f"{path} should hold two parts of a token on each line, and one is `{' '.join(wrong)}`.")
    return pairs


def _of_pieces(path: Path) -> dict[str, Any]:
    """BERT's ``vocab.txt``: a token on each line, numbered from 0. Whether capitals are read is told by the
    ``tokenizer_config.json`` beside it; by the tokens themselves where there is none."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # nothing else parts lines: a token may be U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): fetch it again.") from None
    entries = {token: number for number, token in enumerate(lines if lines[-1] else lines[:-1])}
    if lacking := [name for name in BERTS[:-1] if name not in entries]:
        raise UserError(
            f"{path} has no token {', '.join(lacking)}, so it is no vocabulary of BERT's: give the vocab.txt or the "
            "tokenizer.json that belongs to the weights."
        )
    beside = path.with_name("tokenizer_config.json")
    told = _json(beside) if beside.is_file() else {}
    capitals = any(token != token.lower() for token in entries if not token.startswith("["))
    cleaned = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": told.get("tokenize_chinese_chars", True),
        "strip_accents": told.get("strip_accents"),
        "lowercase": told.get("do_lower_case", not capitals),
    }
    prefix = {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    model = {"type": "WordPiece", "unk_token": "[UNK]", **prefix, "vocab": entries}
    decoder = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    special = [name for name in BERTS if name in entries]
    whole = _whole(model, cleaned, {"type": "BertPreTokenizer"}, decoder, special)
    return whole | {"post_processor": framing({name: entries[name] for name in ("[CLS]", "[SEP]")})}


def framing(numbers: Mapping[str, int]) -> dict[str, Any]:
    """What puts the first of two special tokens before a text, and the second after each of its two parts."""
    begin, end = ({"SpecialToken": {"id": name, "type_id": 0}} for name in numbers)
    single = [begin, {"Sequence": {"id": "A", "type_id": 0}}, end]
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {**end["SpecialToken"], "type_id": 1}}]
    tokens = {name: {"id": name, "ids": [number], "tokens": [name]} for name, number in numbers.items()}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


def _of_bytes(entries: Mapping[str, int], merges: list[list[str]]) -> dict[str, Any]:
    """GPT-2's: Radford et al. 2019, Sec. 2.2."""
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": dict(entries), "merges": merges}
    end = "<|endoftext|>"
    return _whole(model, None, step, step, [end] if end in entries else [])


def _of_words(entries: Mapping[str, int], merges: list[list[str]]) -> dict[str, Any]:
    """GPT's: lower case without accents, words and marks apart, ``</w>`` at the end of each word."""
    model = {
        "type": "BPE",
        "vocab": dict(entries),
        "merges": merges,
        "unk_token": "<unk>",
        "end_of_word_suffix": "</w>",
    }
    plain = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    }
    return _whole(model, plain, {"type": "BertPreTokenizer"}, {"type": "BPEDecoder", "suffix": "</w>"}, ["<unk>"])


def _whole(model: dict[str, Any], normalizer: Any, pre: Any, decoder: Any, special: list[str]) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": model["vocab"].get(name, 0), "content": name, **flags, "special": True} for name in special]
    steps = {"normalizer": normalizer, "pre_tokenizer": pre, "post_processor": None, "decoder": decoder}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, **steps, "model": model}
