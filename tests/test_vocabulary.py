"""Text to tokens and back."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seminal.core import UserError
from seminal.data.vocabulary import KINDS, counted, learned
from seminal.pieces.tokens import END, SPECIAL, UNKNOWN
from seminal.runs.codec import from_json, to_json

CORPUS = [
    "the cat sat on the mat .",
    "the dog, naïve as ever, sat too!",
    "a cat and a dog: 12 of them",
    "日本語の文 也有中文",
    "the cat </s> said <unk>",
] * 3
STREAM = [f"{line}\n" for line in CORPUS]
SIGNS = sorted({sign for line in CORPUS for sign in line})
SENTENCES = {kind: learned(CORPUS, kind, 300) for kind in KINDS}
STREAMS = {kind: learned(STREAM, kind, 300, stream=True) for kind in ("bpe", "words", "characters")}
CHINESE = ["".join(chr(0x4E00 + (7 * i + j) % 900) for j in range(30)) for i in range(300)]


@given(text=st.text(st.sampled_from(SIGNS), max_size=60))
@settings(max_examples=150, deadline=None)
def test_a_sentence_comes_back_as_it_was(text):
    """But for spaces around it; all characters are known, so that nothing is lost."""
    for kind in ("bpe", "characters"):
        vocabulary = SENTENCES[kind]
        found = vocabulary.decode(vocabulary.encode([text])[0])
        wanted = unicodedata.normalize("NFC", text)
        assert found == (wanted if kind == "characters" else wanted.strip(" "))


@given(text=st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_stream_of_bytes_comes_back_whatever_it_is(text):
    vocabulary = STREAMS["bpe"]
    tokens = vocabulary.encode([text])[0]
    assert vocabulary.decode(tokens) == text
    assert UNKNOWN not in tokens
    assert all(token >= len(SPECIAL) for token in tokens)


@given(text=st.text(st.sampled_from([*SIGNS, "\n"]), max_size=80))
@settings(max_examples=150, deadline=None)
def test_a_stream_of_known_characters_comes_back(text):
    vocabulary = STREAMS["characters"]
    assert vocabulary.decode(vocabulary.encode([text])[0]) == text
    assert vocabulary.pieces(text) == list(text)


@given(
    words=st.lists(st.lists(st.sampled_from(["the", "cat", "sat", ".", "<unk>"]), max_size=6), min_size=1, max_size=5)
)
@settings(max_examples=80, deadline=None)
def test_a_stream_of_known_words_comes_back_line_by_line(words):
    vocabulary = STREAMS["words"]
    text = "\n".join(" ".join(line) for line in words)
    tokens = vocabulary.encode([text])[0]
    assert vocabulary.decode(tokens) == text
    assert len(tokens) == len(text.split()) + text.count("\n")
    assert tokens.count(END) == text.count("\n")
    assert tokens.count(UNKNOWN) == text.split().count("<unk>")


@pytest.mark.parametrize("kind", STREAMS)
@given(lines=st.lists(st.text(st.sampled_from([*SIGNS, "\t", "☃"]), max_size=20), max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_stream_gives_the_same_tokens_line_by_line_as_in_one_piece(kind, lines):
    pieces = [f"{line}\n" for line in lines]
    by_line = [token for row in STREAMS[kind].encode(pieces) for token in row]
    assert by_line == STREAMS[kind].encode(["".join(pieces)])[0]


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_are_never_read_from_text(kind):
    for vocabulary in (SENTENCES[kind], STREAMS.get(kind, SENTENCES[kind])):
        for name in SPECIAL:
            tokens = vocabulary.encode([f"the {name} cat"])[0]
            assert all(token >= len(SPECIAL) or token == UNKNOWN for token in tokens)
    assert SENTENCES["bpe"].decode(SENTENCES["bpe"].encode(["a </s> cat"])[0]) == "a </s> cat"


def test_decoding_stops_at_the_end_of_a_sentence_and_shows_what_is_unknown():
    bpe = SENTENCES["bpe"]
    (cat,) = bpe.encode(["the cat"])
    assert bpe.decode([2, *cat, END, *cat]) == "the cat"
    assert bpe.decode([0, *cat, 0, 0]) == "the cat"
    assert bpe.decode(bpe.encode(["na☃ve ☃ cat"])[0]) == "na⁇ve ⁇ cat"
    characters = SENTENCES["characters"]
    assert characters.decode(characters.encode(["ca☃t"])[0]) == "ca⁇t"
    words = SENTENCES["words"]
    assert words.decode(words.encode(["the snowman sat"])[0]) == "the ⁇ sat"
    wordpiece = SENTENCES["wordpiece"]
    assert wordpiece.decode(wordpiece.encode(["the cat ☃"])[0]) == "the cat ⁇"
    stream = STREAMS["characters"]
    assert stream.decode(stream.encode(["ca☃\nt"])[0]) == "ca⁇\nt"


@pytest.mark.parametrize("size", [6, 50, 400])
@pytest.mark.parametrize("kind", KINDS)
def test_no_vocabulary_is_larger_than_was_asked(kind, size):
    """Chinese has more characters than some vocabularies have tokens: the most frequent are kept."""
    for lines in (CORPUS, CHINESE):
        vocabulary = learned(lines, kind, size)
        assert len(SPECIAL) < len(vocabulary) <= size
        assert max(token for row in vocabulary.encode(lines) for token in row) < len(vocabulary)
        if kind == "words":
            assert len(vocabulary.shown(range(len(vocabulary)))) == len(vocabulary)
    if kind in STREAMS and (kind != "bpe" or size > 260):
        assert len(learned(CHINESE, kind, size, stream=True)) <= size


def test_the_most_frequent_words_are_kept_and_ties_are_settled():
    vocabulary = counted([["b", "a", "c"], ["b", "a"], ["b", "<unk>", "</s>"]], "words", 6)
    assert vocabulary.shown(range(6)) == [*SPECIAL, "b", "a"]
    assert vocabulary.ids(["a", "b", "c", "<unk>", "</s>", "<pad>"]) == [5, 4, 1, 1, 1, 1]
    often = counted([["b", "a", "c"], ["b", "a"]], "words", 100, least=2)
    assert often.shown(range(len(often))) == [*SPECIAL, "a", "b"]
    assert len(counted([["x", "y"]], "words", 100, least=2)) == 6  # none occurs twice: all are kept


def test_the_most_frequent_characters_are_kept_and_ties_are_settled():
    """The library settles them as a hash table does, otherwise in each process: a run could not be resumed."""
    vocabulary = learned(["zyxwvutsrqponmlkjihgfedcba", "q"], "bpe", len(SPECIAL) + 5)
    assert sorted(vocabulary.shown(range(len(SPECIAL), len(vocabulary)))) == sorted(["▁", "q", "a", "b", "c"])
    assert len({learned(CHINESE, "bpe", 400).json for _ in range(3)}) == 1


@pytest.mark.parametrize("vocabulary", [*SENTENCES.values(), *STREAMS.values()], ids=lambda v: v.kind)
def test_a_vocabulary_is_kept_as_json(vocabulary):
    again = from_json(to_json(vocabulary))
    assert again == vocabulary
    assert again.encode(STREAM) == vocabulary.encode(STREAM)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"kind": "syllables", "size": 100}, "no way `syllables`.*bpe, wordpiece, uncased, words, characters"),
        ({"kind": "bpe", "size": 4}, "4 tokens holds nothing"),
        ({"kind": "words", "size": 3, "stream": True}, "3 tokens holds nothing"),
        ({"kind": "bpe", "size": 259, "stream": True}, "--vocab-size 260 or more, or --tokens characters"),
        ({"kind": "wordpiece", "size": 500, "stream": True}, "write --tokens bpe"),
        ({"kind": "words", "size": 500, "exactly": True}, r"no more than \d+ tokens, and 500 were asked for"),
        ({"kind": "characters", "size": 500, "exactly": True, "stream": True}, r"write --vocab-size \d+ or less"),
        ({"kind": "bpe", "size": 5000, "exactly": True, "stream": True}, "and 5,000 were asked for"),
    ],
)
def test_what_cannot_be_learned_is_refused_in_a_sentence(asked, says):
    with pytest.raises(UserError, match=says):
        learned(CORPUS, **asked)


def test_a_damaged_vocabulary_is_refused():
    damaged = from_json(to_json(SENTENCES["bpe"]) | {"json": '{"model": 3}'})
    with pytest.raises(UserError, match="vocabulary is damaged"):
        damaged.encode(["a"])
