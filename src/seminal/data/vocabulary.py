"""Text to tokens and back: tokenisers of Hugging Face `tokenizers`, learned from the training split.

A `Vocabulary` is plain text (the tokeniser's own JSON), so that the run folder keeps it and nothing runs when it is read.
Every kind begins with the four special tokens of `seminal.pieces.tokens`; for masked language models ``<mask>`` is the
next. Special tokens are never read from text: a line that contains ``</s>`` or ``[MASK]`` is just a line with these signs.

"uncased" is "wordpiece" as BERT has it without capitals: without accents too, each Chinese character a word of its own.

Sentences are read one by one, and what surrounds them is no text. A stream is text with its spaces and line ends: there
"bpe" is over bytes, so that nothing is unknown and every text comes back to the byte (Radford et al. 2019, Sec. 2.2), and
"words" are what stands between spaces, with ``</s>`` for each line end, as language models of words are measured.

A tokeniser that others made (`seminal.data.given`) is kept in the same form, its tokens renumbered.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from seminal.core import UserError
from seminal.pieces.tokens import BEGIN, END, MASK, PAD, SPECIAL, UNKNOWN, of_text

KINDS = ("bpe", "wordpiece", "uncased", "words", "characters")
WORDPIECE = ("wordpiece", "uncased")  # with ``##`` before what goes on with a word; spaces are not kept
MASKS = (MASK, "[MASK]")  # by which names the mask is known
LOST = "⁇"  # an unknown token, shown
SPACE = "▁"  # stands for the space before a word, so that text comes back as it was
BYTES = 256  # tokens that byte-pair encoding over bytes begins with


@dataclass(frozen=True)
class Given:
    """How the numbers of a tokeniser that others made were changed; see `seminal.data.given`."""

    places: tuple[int, ...]  # where the tokens stood that are now `SPECIAL`, in that order
    rows: int  # tokens that their model has

    @property
    def ours(self) -> int:
        """Tokens that our model has: one more where padding had no place of its own."""
        return max(self.rows, *(place + 1 for place in self.places))

    @property
    def order(self) -> tuple[int, ...]:
        """Their number of each of our tokens: the four change places with those that stood there, all others stay."""
        found = list(range(self.ours))
        for ours, theirs in enumerate(self.places):
            now = found.index(theirs)
            found[ours], found[now] = found[now], found[ours]
        return tuple(found)


@dataclass(frozen=True)
class Vocabulary:
    """A tokeniser as text. ``kind`` is one of `KINDS`; of a tokeniser that others made, whatever it is."""

    kind: str
    json: str
    stream: bool = False  # text with its spaces and line ends, not sentences
    given: Given | None = None  # others made it: their own rules cut text and join it again

    def __len__(self) -> int:
        return self.given.ours if self.given else int(_tokenizer(self.json).get_vocab_size())

    @property
    def mask(self) -> int:
        """The token that stands where one has to be guessed. Raises `UserError` where there is none."""
        added = _tokenizer(self.json).get_added_tokens_decoder()
        for number, token in added.items():
            if token.special and token.content in MASKS:
                return int(number)
        raise UserError(
            f"this vocabulary ({self.kind}, {len(self):,} tokens) has no {MASK}, so nothing in a text can be hidden: use a "
            "model that was trained to fill in masks, as `bert` is."
        )

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Tokens of each line, without ``<s>`` and ``</s>``; of a stream, tokens of each piece of text."""
        if self.stream and self.kind != "bpe" and not self.given:
            return [self._with_ends(text) if self.kind == "words" else self.ids(text) for text in lines]
        found = _tokenizer(self.json).encode_batch_fast(list(lines), add_special_tokens=False)
        return [_without_special(encoding.ids) if self.given else encoding.ids for encoding in found]

    def ids(self, words: Sequence[str]) -> list[int]:
        """A token for each word (or character), of a vocabulary from `counted`. ``<unk>`` is unknown, as any special name."""
        known = _known(self.json)
        return [known.get(word, UNKNOWN) for word in words]

    def word_pieces(self, words: Sequence[str]) -> list[list[int]]:
        """The tokens of each word of a text that was cut into words before: one or more, ``<unk>`` where nothing is left
        of a word. End to end they are the tokens of the text; words of many texts may come in one call."""
        return [row or [UNKNOWN] for row in self.encode(words)]

    def continues(self) -> list[bool]:
        """For each token of the vocabulary, whether it goes on with the word of the token before it (``##ing``).

        Raises `UserError` where tokens do not tell: only those of wordpiece do."""
        tokenizer = _tokenizer(self.json)
        prefix = _goes_on(self.json)
        if prefix is None:
            raise UserError(
                f"the tokens of this vocabulary ({self.kind}) do not tell which of them go on with a word, so whole words "
                "cannot be masked: write --tokens uncased, or wordpiece."
            )
        return [str(tokenizer.id_to_token(token)).startswith(prefix) for token in range(len(self))]

    def pieces(self, line: str) -> list[str]:
        """The tokens of a line as text, to be shown."""
        return self.shown(self.encode([line])[0])

    def places(self, line: str) -> list[tuple[int, int]]:
        """First character of each token of a line, and the one after its last."""
        return list(_tokenizer(self.json).encode(line, add_special_tokens=False).offsets)

    def shown(self, tokens: Sequence[int]) -> list[str]:
        """Each token as text, to be shown."""
        tokenizer = _tokenizer(self.json)
        if self.stream and (self.kind == "bpe" or self.given):
            return [str(tokenizer.decode([int(token)], skip_special_tokens=False)) for token in tokens]
        return [str(tokenizer.id_to_token(int(token))) for token in tokens]

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens; special tokens are left out, unknown ones are written as ⁇. A sentence ends at ``</s>``."""
        ids = [int(token) for token in tokens]
        if self.stream:
            return self._streamed(ids)
        ids = of_text(ids)
        if self.given:
            return self._joined(ids)
        if self.kind in WORDPIECE:  # the only kinds that do not keep the spaces
            return str(_tokenizer(self.json).decode(ids, skip_special_tokens=False)).replace(SPECIAL[UNKNOWN], LOST)
        lost = SPACE + LOST if self.kind == "words" else LOST  # elsewhere a single character is unknown, not its space
        text = "".join(lost if token == UNKNOWN else piece for token, piece in zip(ids, self.shown(ids)))
        return text if self.kind == "characters" else text.replace(SPACE, " ").strip()

    def _with_ends(self, text: str) -> list[int]:
        """Words, and ``</s>`` for each line end."""
        first, *others = text.split("\n")
        tokens = self.ids(first.split())
        for line in others:
            tokens += [END, *self.ids(line.split())]
        return tokens

    def _joined(self, ids: list[int]) -> str:
        """By the tokeniser's own rules: what stands between unknown tokens, and ⁇ for each of these."""
        parts: list[list[int]] = [[]]
        for token in ids:
            parts += [[]] if token == UNKNOWN else []
            parts[-1] += [token] if token != UNKNOWN else []
        texts = [str(_tokenizer(self.json).decode(part, skip_special_tokens=False)).strip() for part in parts]
        return f" {LOST} ".join(texts).strip()

    def _streamed(self, ids: list[int]) -> str:
        if self.kind == "words" and not self.given:  # unknown words are written as they stand in such corpora: <unk>
            kept = [token for token in ids if token in (UNKNOWN, END) or token >= len(SPECIAL)]
            words = ["\n" if token == END else word for token, word in zip(kept, self.shown(kept))]
            return " ".join(words).replace(" \n", "\n").replace("\n ", "\n")
        if self.kind == "characters" and not self.given:
            pairs = zip(ids, self.shown(ids))
            return "".join(LOST if i == UNKNOWN else sign for i, sign in pairs if i == UNKNOWN or i >= len(SPECIAL))
        kept = [token for token in ids if token >= len(SPECIAL)]
        return str(_tokenizer(self.json).decode(kept, skip_special_tokens=False))


def learned(
    lines: Iterable[str],
    kind: str,
    size: int,
    *,
    exactly: bool = False,
    stream: bool = False,
    least: int = 1,
    masked: bool = False,
) -> Vocabulary:
    """A vocabulary of at most ``size`` tokens, the special ones included; of a stream's words, those that occur ``least``
    times. ``masked``: for a masked language model, with ``<mask>``; text is cleaned as BERT does it, capitals or not.

    Raises `UserError` where ``kind`` is none of `KINDS`; with ``exactly`` also where the text is too small for so many.
    """
    if kind not in KINDS:
        raise UserError(
            f"there is no way `{kind}` to cut text into tokens. Write --tokens with one of: {', '.join(KINDS)}."
        )
    if stream and kind in ("words", "characters"):
        parts = (line.split() if kind == "words" else line for line in lines)
        return counted(parts, kind, size, exactly=exactly, least=least)
    special = (*SPECIAL, MASK) if masked else SPECIAL
    _refuse_small(size, special)
    if stream and kind in WORDPIECE:
        raise UserError(f"{kind} forgets spaces and line ends, which are part of plain text: write --tokens bpe.")
    if stream and kind == "bpe" and size < BYTES + len(SPECIAL):
        raise UserError(
            f"byte-pair encoding of plain text begins with {BYTES} bytes and {len(SPECIAL)} special tokens, so {size} are "
            f"too few: write --vocab-size {BYTES + len(SPECIAL)} or more, or --tokens characters."
        )
    if kind in WORDPIECE:
        return _enough(Vocabulary(kind, _wordpieces(lines, kind, size, special)), size, exactly)
    if kind == "bpe" and not stream:
        return _enough(Vocabulary(kind, _byte_pairs(lines, size, special)), size, exactly)
    tokenizer, trainer = _untrained_bytes(size) if stream else _untrained(kind, size, special)
    tokenizer.train_from_iterator(lines, trainer)
    return _enough(Vocabulary(kind, tokenizer.to_str(), stream), size, exactly)


def counted(
    lines: Iterable[Sequence[str]], kind: str, size: int, *, exactly: bool = False, least: int = 1
) -> Vocabulary:
    """The most frequent words (or characters), of those that occur ``least`` times; of all, where none occurs so often."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    _refuse_small(size)
    counts: Counter[str] = Counter()
    for words in lines:
        counts.update(words)
    for name in SPECIAL:
        counts.pop(name, None)
    by_count = sorted(counts, key=lambda word: (-counts[word], word))
    often = [word for word in by_count if counts[word] >= least] or by_count
    entries = {word: token for token, word in enumerate([*SPECIAL, *often[: size - len(SPECIAL)]])}
    tokenizer: Any = Tokenizer(models.WordLevel(entries, unk_token=SPECIAL[UNKNOWN]))
    single = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit() if kind == "words" else single
    return _enough(Vocabulary(kind, tokenizer.to_str(), stream=True), size, exactly)


def _refuse_small(size: int, special: Sequence[str] = SPECIAL) -> None:
    if size <= len(special):
        raise UserError(
            f"a vocabulary of {size} tokens holds nothing: {len(special)} are special. Write --vocab-size 1000, or more."
        )


def _enough(vocabulary: Vocabulary, size: int, exactly: bool) -> Vocabulary:
    found = len(vocabulary)
    if exactly and found < size:
        raise UserError(
            f"the training text gives no more than {found:,} tokens, and {size:,} were asked for: write --vocab-size {found} "
            "or less, or give more text."
        )
    return vocabulary


def _untrained_bytes(size: int) -> tuple[Any, Any]:
    """Nothing is normalised: what is scored is what stands in the file."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer: Any = Tokenizer(models.BPE())
    # A line end is a token of its own, so that a file gives the same tokens line by line as in one piece.
    parts = [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
    )
    return tokenizer, trainer


def _untrained(kind: str, size: int, special: Sequence[str]) -> tuple[Any, Any]:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    common: dict[str, Any] = {"vocab_size": size, "special_tokens": list(special), "show_progress": False}
    trainer: Any = None  # see `_byte_pairs` and `_wordpieces`
    if kind == "bpe":  # Sennrich et al. 2016
        tokenizer: Any = Tokenizer(models.BPE(unk_token=SPECIAL[UNKNOWN]))
    elif kind in WORDPIECE:
        tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL[UNKNOWN], max_input_chars_per_word=100))
    else:
        tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIAL[UNKNOWN]))
        trainer = trainers.WordLevelTrainer(**common)
    tokenizer.normalizer = normalizers.NFC()
    if kind == "uncased" or (kind == "wordpiece" and MASK in special):
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=kind == "uncased")
    if kind == "characters":
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = decoders.Fuse()
    elif kind in WORDPIECE:
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
    else:
        parts = [pre_tokenizers.Metaspace(SPACE), pre_tokenizers.Punctuation()]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
        tokenizer.decoder = decoders.Metaspace(SPACE)
    return tokenizer, trainer


def _byte_pairs(lines: Iterable[str], size: int, special: Sequence[str]) -> str:
    """The JSON of a tokeniser of byte pairs that is the same for the same lines.

    Of characters that are equally frequent the library keeps those that come first out of a hash table, others in each
    process. So they are chosen here, the most frequent first. The lines are read twice, from a file of their own."""
    from tokenizers import trainers

    tokenizer, _ = _untrained("bpe", size, special)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as copy:
        for line in lines:
            copy.write(f"{json.dumps(line)}\n")  # a cell of a table may hold line ends itself
            signs = tokenizer.normalizer.normalize_str(line).replace(" ", SPACE)  # as the tokeniser sees them
            counts.update(signs if signs.startswith(SPACE) else SPACE + signs)
        copy.seek(0)
        kept = sorted(counts, key=lambda sign: (-counts[sign], sign))[: size - len(special)]
        trainer: Any = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(special),
            initial_alphabet=kept,
            limit_alphabet=len(kept),  # without a limit all characters get in, however many
            min_frequency=2,
            show_progress=False,
        )
        tokenizer.train_from_iterator(map(json.loads, copy), trainer)
    return str(tokenizer.to_str())


def _wordpieces(lines: Iterable[str], kind: str, size: int, special: Sequence[str]) -> str:
    """The JSON of a tokeniser of word pieces that is the same for the same lines.

    The library numbers the characters that go on with a word as they come out of a hash table, otherwise in each process,
    and of pairs that are equally frequent it joins the one with the smaller numbers. So they are numbered here, as special
    tokens, which they are no longer once the pieces are known. The lines are read twice, from a file of their own."""
    from tokenizers import trainers

    tokenizer, _ = _untrained(kind, size, special)
    begins: Counter[str] = Counter()
    goes_on: Counter[str] = Counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as copy:
        for line in lines:
            copy.write(f"{line}\n")
            for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(line)):
                begins[word[:1]] += 1
                goes_on.update(word[1:])
        copy.seek(0)
        both = begins + goes_on
        room = max(1, (size - len(special)) // 2)  # each character may begin a word, or continue one
        kept = sorted(sorted(both, key=lambda sign: (-both[sign], sign))[:room])
        inside = [f"##{sign}" for sign in kept if sign in goes_on]
        trainer: Any = trainers.WordPieceTrainer(
            vocab_size=size,
            special_tokens=[*special, *inside],
            initial_alphabet=kept,
            limit_alphabet=len(kept),
            show_progress=False,
        )
        tokenizer.train_from_iterator(copy, trainer)
    found = json.loads(tokenizer.to_str())
    found["added_tokens"] = [token for token in found["added_tokens"] if token["content"] in special]
    return json.dumps(found, ensure_ascii=False)


def _without_special(tokens: list[int]) -> list[int]:
    """What only looks like padding or a beginning is unknown: others may have these names among their plain words."""
    if min(tokens, default=len(SPECIAL)) > BEGIN:
        return tokens
    return [UNKNOWN if token in (PAD, BEGIN) else token for token in tokens]


@cache
def _tokenizer(text: str) -> Any:
    tokenizer = loaded(text, "the run's vocabulary")
    tokenizer.encode_special_tokens = True
    return tokenizer


def loaded(text: str, place: str) -> Any:
    """The tokeniser of Hugging Face's library. Raises `UserError` where the text is none."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises plain Exception
        raise UserError(f"{place} is damaged ({error}) and was not loaded.") from None


@cache
def _goes_on(text: str) -> str | None:
    """What stands before a piece that goes on with a word; None where nothing does."""
    model = json.loads(text)["model"]
    return str(model["continuing_subword_prefix"]) if model["type"] == "WordPiece" else None


@cache
def _known(text: str) -> Mapping[str, int]:
    """Words and their tokens, without the special ones."""
    return {word: token for word, token in _tokenizer(text).get_vocab().items() if token >= len(SPECIAL)}
