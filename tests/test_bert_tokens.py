"""Texts as BERT's own tokenisers cut them, for vocabularies with capitals, without, and of Chinese: 10,000 strings beside
Hugging Face's, and beside the rules as they are written, in a few lines of Python."""

from __future__ import annotations

import json
import os
import random
import string
import unicodedata
from pathlib import Path
from pydoc_data.topics import topics

import pytest

import seminal.doctor.chinese
from seminal.core import UserError
from seminal.data.given import BERTS, known_parts, renumbered, restored, tokenizer_in
from seminal.data.vocabulary import learned
from seminal.pieces.tokens import BEGIN, END, MASK, PAD, SPECIAL, UNKNOWN
from seminal.runs.codec import from_json, to_json

COUNT = 10_000
ENGLISH = [line.strip() for text in topics.values() for line in text.splitlines() if line.strip()]
CHINESE = [
    line.strip()
    for file in sorted(Path(seminal.doctor.chinese.__path__[0]).glob("*.txt"))
    for line in file.read_text(encoding="utf-8").splitlines()
    if line.strip()
]
ACCENTS = ["naïve café Ångström", "Ærøskøbing, façade", "Привет мир", "ΑΒΓ άλφα", "Ünïcödé", "crème brûlée №5"] * 20
# Of each kind of sign the first and the last number.
SIGNS = {
    "ASCII": [(0x20, 0x7E)],
    "accents": [(0xC0, 0x24F), (0x1E00, 0x1EFF)],
    "combining": [(0x61, 0x7A), (0x300, 0x36F), (0x41, 0x5A)],
    "Greek and Cyrillic": [(0x391, 0x3A1), (0x3A3, 0x3C9), (0x400, 0x45F)],
    "Hebrew and Arabic": [(0x5D0, 0x5EA), (0x621, 0x652)],
    "Indic and Thai": [(0x905, 0x939), (0x93E, 0x94D), (0xE01, 0xE3A), (0xE40, 0xE4E)],
    "Korean": [(0xAC00, 0xD7A3), (0x1100, 0x1112)],
    "kana": [(0x3041, 0x3096), (0x30A1, 0x30FA), (0x3001, 0x3011)],
    "Chinese": [(0x4E00, 0x9FA5), (0x3400, 0x4DB5), (0xF900, 0xFA2D), (0x20000, 0x2A6D6), (0x2F800, 0x2FA1D)],
    "emoji": [(0x1F300, 0x1F5FF), (0x1F600, 0x1F64F), (0x2600, 0x26FF), (0x200D, 0x200D), (0xFE0F, 0xFE0F)],
    "control": [(0x0, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x200B, 0x200F), (0xFEFF, 0xFEFF), (0xFFFD, 0xFFFD), (0x61, 0x66)],
    "spaces": [(0x20, 0x20), (0xA0, 0xA0), (0x2000, 0x200A), (0x2028, 0x2029), (0x3000, 0x3000), (0x61, 0x66), (0x9, 0xD)],
    "punctuation": [(0x21, 0x2F), (0x2010, 0x2027), (0x2030, 0x205E), (0x3001, 0x3003), (0xFF01, 0xFF0F), (0xA1, 0xBF)],
    "private": [(0xE000, 0xE0FF), (0x61, 0x66)],
}  # fmt: skip
NAMES = ("[MASK]", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "<mask>", "</s>", "<pad>", "##ing", "[unused1]")


def strings():
    """The same 10,000: of one kind of sign, of all kinds, of words with names of special tokens, long words, true lines."""
    chance = random.Random(0)

    def sign(kind):
        return chr(chance.randint(*chance.choice(SIGNS[kind])))

    found = [
        "",
        " ",
        "\t\n",
        "\x00",
        "\u200b",
        "a" * 100,
        "a" * 101,
        "é" * 100,
        "日" * 300,
        "ab" * 70 + " c",
        "İstanbul ẞ ŉ ﬁ",
    ]
    words = " ".join(ENGLISH[:300]).split()
    more = os.environ.get("SEMINAL_TEXTS")  # a folder of texts that are read too
    files = sorted(file for file in Path(more).rglob("*") if file.suffix in (".txt", ".tsv", ".json")) if more else []
    lines = [line[:300] for file in files for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    lines += ENGLISH + CHINESE + CHINESE
    while len(found) < COUNT:
        kind = chance.choice([*SIGNS, "all", "words", "long", "line"])
        length = chance.randint(1, 40)
        if kind in SIGNS:
            found.append("".join(" " if chance.random() < 0.1 else sign(kind) for _ in range(length)))
        elif kind == "all":
            found.append("".join(sign(chance.choice([*SIGNS])) for _ in range(length)))
        elif kind == "words":
            found.append(
                " ".join(chance.choice([chance.choice(words), chance.choice(NAMES)]) for _ in range(length // 2))
            )
        elif kind == "long":
            found.append("".join(chance.choice(words) for _ in range(length)))
        else:
            found.append(chance.choice(lines))
    return found


# ------------------------------------------------------------------------------------------- the rules, as they are told


def naive(text, tokens, lowercase):
    """Clean, part Chinese, lower and strip, part at spaces and punctuation; then the longest token first."""
    kept = ""
    for sign in text:
        if sign in "\t\n\r" or unicodedata.category(sign) == "Zs":
            kept += " "
        elif sign not in "\0\ufffd" and unicodedata.category(sign)[0] != "C":
            kept += f" {sign} " if is_chinese(ord(sign)) else sign
    if lowercase:
        kept = "".join(
            sign for sign in unicodedata.normalize("NFD", kept) if unicodedata.category(sign) != "Mn"
        ).lower()
    kept = "".join(f" {sign} " if is_punctuation(sign) else sign for sign in kept)
    return [piece for word in kept.split() for piece in longest_first(word, tokens)]


def is_chinese(number):
    blocks = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F))
    blocks += ((0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
    return any(first <= number <= last for first, last in blocks)


def is_punctuation(sign):
    return sign in string.punctuation or unicodedata.category(sign)[0] == "P"


def longest_first(word, tokens):
    found, start = [], 0
    while start < len(word):
        ends = range(len(word), start, -1)
        part = next((p for end in ends if (p := ("##" if start else "") + word[start:end]) in tokens), None)
        if part is None or len(word) > 100:
            return ["[UNK]"]
        found.append(part)
        start += len(part) - (2 if start else 0)
    return found


# ----------------------------------------------------------------------------------------------------- the vocabularies


def trained(lines, kind, size):
    """The tokens of a vocabulary that was learned here, by BERT's names, with places that are not in use."""
    tokens = learned(lines, kind, size, masked=True).shown(range(size))
    return ["[PAD]", *(f"[unused{i}]" for i in range(7)), *BERTS[1:], *tokens[5:]]


def by_hand():
    """The mask stands where ours has ``<unk>``; a token that parts lines elsewhere; capitals beside small letters."""
    letters = [chr(i) for i in range(ord("a"), ord("z") + 1)]
    pieces = [
        *letters,
        *(f"##{letter}" for letter in letters),
        "A",
        "Ä",
        "ä",
        "é",
        "##é",
        "\u2028",
        "the",
        "##ing",
        "[",
        "]",
    ]
    chinese = [chr(i) for i in range(0x4E00, 0x4E00 + 3000)] + ["##一", "##丁", "，", "。", "𠀀", "漢", "字"]
    return ["[CLS]", "[MASK]", "[PAD]", *pieces, "[SEP]", *dict.fromkeys(chinese), "[UNK]"]


VOCABULARIES = {
    "cased": (lambda: trained([*ENGLISH, *ACCENTS], "wordpiece", 1200), False),
    "uncased": (lambda: trained([*ENGLISH, *ACCENTS], "uncased", 1200), True),
    "Chinese": (lambda: trained([*CHINESE, *ENGLISH[:300]], "uncased", 2500), True),
    "by hand, cased": (by_hand, False),
    "by hand, uncased": (by_hand, True),
}


@pytest.fixture(scope="module")
def lines():
    found = strings()
    assert len(found) == COUNT
    return found


@pytest.fixture(params=VOCABULARIES, scope="module")
def known(request, tmp_path_factory):
    """A folder with ``vocab.txt``, its tokens, whether capitals are lost, and the vocabulary made of it."""
    folder, (made, lowercase) = tmp_path_factory.mktemp("theirs"), VOCABULARIES[request.param]
    tokens = made()
    write(folder, tokens, do_lower_case=lowercase)
    return folder, tokens, lowercase, imported(folder)


def write(folder, tokens, **told):
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(told))


def imported(folder):
    tokenizer = tokenizer_in(folder)
    return renumbered(tokenizer, known_parts(tokenizer, {}), max(tokenizer.tokens.values()) + 1, stream=False)


def test_ten_thousand_strings_are_cut_as_they_cut_them(known, lines):
    peers = pytest.importorskip("transformers", reason="transformers is not installed: no peer to compare with")
    folder, _, lowercase, vocabulary = known
    theirs = peers.BertTokenizerFast.from_pretrained(folder, do_lower_case=lowercase)
    wanted = theirs(lines, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    order = vocabulary.given.order
    for line, one, other in zip(lines, vocabulary.encode(lines), wanted, strict=True):
        assert [order[token] for token in one] == other, ascii(line)


def test_ten_thousand_strings_are_cut_by_the_rules(known, lines):
    _, tokens, lowercase, vocabulary = known
    order, entries = vocabulary.given.order, set(tokens)
    for line, row in zip(lines, vocabulary.encode(lines), strict=True):
        assert [tokens[order[token]] for token in row] == naive(line, entries, lowercase), ascii(line)


def test_special_tokens_have_our_places_and_the_mask_keeps_its_own(known):
    _, tokens, _, vocabulary = known
    places = [vocabulary.given.order[token] for token in (PAD, UNKNOWN, BEGIN, END, vocabulary.mask)]
    assert [tokens[place] for place in places] == list(BERTS)
    if tokens[1] != "[MASK]":  # there <unk> has to stand
        assert vocabulary.mask == tokens.index("[MASK]")
    for name in (*BERTS, *SPECIAL, MASK):
        (row,) = vocabulary.encode([f"the {name} ing"])
        assert not set(row) & {PAD, BEGIN, END, vocabulary.mask}
    assert restored(vocabulary)["model"]["vocab"] == {token: place for place, token in enumerate(tokens)}
    again = from_json(to_json(vocabulary))
    assert again == vocabulary


def test_capitals_are_told_by_the_settings_or_else_by_the_tokens(tmp_path):
    for tokens, told, lowercase in (
        ([*BERTS, "a", "##b"], {}, True),
        ([*BERTS, "a", "##B"], {}, False),
        ([*BERTS, "É", "e"], {}, False),
        ([*BERTS, "A"], {"do_lower_case": True}, True),
        ([*BERTS, "a"], {"do_lower_case": False}, False),
    ):
        write(tmp_path, tokens, **told)
        assert tokenizer_in(tmp_path).json["normalizer"]["lowercase"] == lowercase
    (tmp_path / "tokenizer_config.json").unlink()
    assert tokenizer_in(tmp_path).json["normalizer"]["lowercase"]
    write(tmp_path, [*BERTS, "é", "日"], strip_accents=False, tokenize_chinese_chars=False)
    assert imported(tmp_path).encode(["É 日日"]) == [[5, 1]]


def test_a_tokenizer_json_goes_before_a_list_of_tokens(tmp_path):
    write(tmp_path, [*BERTS, "a", "b"])
    whole = tokenizer_in(tmp_path).json
    assert tokenizer_in(tmp_path / "vocab.txt").json == whole
    swapped = whole["model"] | {"vocab": whole["model"]["vocab"] | {"a": 6, "b": 5}}
    (tmp_path / "tokenizer.json").write_text(json.dumps({**whole, "model": swapped}))
    assert imported(tmp_path).encode(["a b"]) == [[6, 5]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[PAD]\n[CLS]\n[SEP]\na\n", r"vocab.txt has no token \[UNK\], so it is no vocabulary of BERT's"),
        ("the\nof\n", r"no token \[PAD\], \[UNK\], \[CLS\], \[SEP\]"),
        ("", r"no token"),
    ],
)
def test_a_list_of_words_is_no_vocabulary(tmp_path, text, says):
    (tmp_path / "vocab.txt").write_text(text)
    with pytest.raises(UserError, match=says):
        tokenizer_in(tmp_path)


# ------------------------------------------------------------------------------------------- vocabularies learned here


@pytest.mark.parametrize("kind", ["wordpiece", "uncased"])
def test_a_vocabulary_for_masked_words(kind):
    vocabulary = learned([*ENGLISH, *ACCENTS], kind, 900, masked=True)
    assert len(vocabulary) == 900
    assert vocabulary.mask == len(SPECIAL)
    assert vocabulary.shown(range(5)) == [*SPECIAL, MASK]
    for name in (*SPECIAL, MASK, "[MASK]"):
        assert min(vocabulary.encode([f"the {name} cat"])[0]) > vocabulary.mask
    assert vocabulary.decode(vocabulary.encode(["the import statement"])[0]) == "the import statement"
    assert vocabulary.encode(["The Naïve"]) == vocabulary.encode(["the naive" if kind == "uncased" else "The Naïve"])
    assert vocabulary.encode(["日本"])[0] == [UNKNOWN] * 2, "each Chinese character is a word"
    names = vocabulary.shown(range(len(vocabulary)))
    assert vocabulary.continues() == [name.startswith("##") for name in names]
    with pytest.raises(UserError, match="5 are special"):
        learned(ENGLISH, kind, 5, masked=True)


def test_words_have_one_token_or_more():
    vocabulary = learned(ENGLISH, "uncased", 300, masked=True)
    words = ["The", "importing", "\u200b", "(x", "", "日"]
    found = vocabulary.word_pieces(words)
    assert [token for row in found for token in row if row != [UNKNOWN]] + [UNKNOWN] == vocabulary.encode(
        [" ".join(words)]
    )[0]
    assert [len(row) for row in found][2:] == [1, 2, 1, 1]
    assert found[2] == found[4] == found[5] == [UNKNOWN]


def test_what_a_vocabulary_lacks_is_said():
    plain = learned(ENGLISH, "bpe", 300)
    with pytest.raises(UserError, match="no <mask>"):
        _ = plain.mask
    with pytest.raises(UserError, match="--tokens uncased, or wordpiece"):
        plain.continues()
