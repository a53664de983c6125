"""Questions on texts: the files of SQuAD, windows and the way back to characters, the best span, SQuAD's rules, the threshold
above which nothing is answered; and a run from its training to its answers."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor, nn

from command_line import done, typed
from seminal.core import DataSpec, Goal, Optim, Order, Reading, Recipe, UserError
from seminal.data.questions import (
    ASKED,
    STRIDE,
    Question,
    QuestionEncoder,
    Questions,
    QuestionSource,
    questions_in,
    read,
    source_of,
    windows_of,
)
from seminal.data.split import Holdout
from seminal.data.text_rows import ALL, Known, TextAsk
from seminal.data.vocabulary import Vocabulary, learned
from seminal.pieces.tokens import BEGIN, END, PAD
from seminal.report import data as report_data
from seminal.report import page
from seminal.report.data import Citation, Report
from seminal.report.terminal import console, marked
from seminal.runs import answering
from seminal.runs.answering import Answer, Reply
from seminal.runs.asks import DataAsk, RunAsk
from seminal.runs.codec import from_json, to_json
from seminal.runs.folder import RunFolder
from seminal.runs.plan import Plan
from seminal.tasks.answers import Answers
from seminal.train.schedules import Constant

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))
import squad_rules

XQUAD = Path(__file__).parents[2] / "shared" / "data" / "xquad"
READING = Reading("documents", tokens="uncased", vocabulary=300, longest=40, framed=True)
PEOPLE = {"Anna": "Oslo", "Ole": "Rome", "Eva": "Paris", "Kim": "Lima", "Per": "Bonn", "Ida": "Cairo"}
STRANGE = "Zoë  paid\t12,5 € — “naïve” re\u0301sume\u0301 🙂🙃 北京大学 ﬁsh x² İstanbul don't\u200b end."


def squad(pairs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """SQuAD's JSON of {context: questions}."""
    paragraphs = [{"context": context, "qas": qas} for context, qas in pairs.items()]
    return {"version": "1.1", "data": [{"title": "made", "paragraphs": paragraphs}]}


def asked(id: str, question: str, context: str, *answers: str, **more: Any) -> dict[str, Any]:
    found = [{"text": answer, "answer_start": context.index(answer)} for answer in answers]
    return {"id": id, "question": question, "answers": found, **more}


def people(*, impossible: bool = False) -> dict[str, Any]:
    """Six texts: where someone lives, who does, what falls there, and, as none says, when."""
    pairs = {}
    for (name, city), falls in zip(PEOPLE.items(), ("rain", "snow", "wet snow") * 2):
        context = f"{name} lives in {city}, where {falls} falls."
        all_said = {"where": ("Where is it?", city), "who": ("Who lives there?", name), "what": ("What falls?", falls)}
        pairs[context] = [asked(f"{name}-{key}", question, context, true) for key, (question, true) in all_said.items()]
        if impossible:
            pairs[context].append(asked(f"{name}-when", "When was that?", context, is_impossible=True))
    return squad(pairs)


def written(path: Path, content: Any) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    text = (content if isinstance(content, str) else json.dumps(content)).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def vocabulary(*texts: str, kind: str = "uncased", size: int = 300) -> Vocabulary:
    return learned(texts, kind, size, masked=True)


# ------------------------------------------------------------------------------------------------------------- the files


def test_a_file_is_parted_by_its_texts(tmp_path: Path):
    source = read(written(tmp_path / "q.json", people()), READING, TextAsk(Holdout(0.3)))
    spec = source.spec
    assert (spec.name, spec.kind, spec.batched_by) == ("q", "questions", "tokens")
    train, val = (source.windows[split] for split in ("train", "val"))
    assert (len(train.asked), len(val.asked)) == (12, 6)
    assert not {q.context for q in train.asked} & {q.context for q in val.asked}
    assert spec.counts == {"train": len(train.question), "val": len(val.question)}
    assert "split made here: 6 of 18 questions (with their texts) held out for validation" in spec.notes
    assert source.name("val", 0) == f"q.json:{val.asked[0].id}"
    again = read(tmp_path / "q.json", READING, TextAsk(Holdout(0.3)))
    assert [q.id for q in again.windows["val"].asked] == [q.id for q in val.asked]


def test_a_folder_brings_its_parts_and_a_run_its_own_vocabulary(tmp_path: Path):
    for name in ("train-v1.1.json", "dev-v1.1.json.gz", "test.json"):
        written(tmp_path / "squad" / name, people())
    source = read(tmp_path / "squad", READING, TextAsk())
    assert list(source.spec.counts) == ["train", "val", "test"]
    encoder = source.encoder("")
    assert from_json(json.loads(json.dumps(to_json(encoder)))) == encoder
    known = Known(replace(encoder, longest=16), whole=True)
    other = read(tmp_path / "squad" / "dev-v1.1.json.gz", READING, TextAsk(known=known))
    assert list(other.spec.counts) == [ALL]
    assert other.spec.longest == {"text": 16}
    assert other.encoder("").text == encoder.text


def test_batches_hold_what_the_contract_says(tmp_path: Path):
    source = read(written(tmp_path / "q.json", people(impossible=True)), READING, TextAsk())
    seen, windows = 0, source.windows["train"]
    for batch in source.batches(Order("train", 200, shuffle=True)):
        for tokens, (first, last), row in zip(
            batch["input"].tolist(), batch["target"].tolist(), batch["index"].tolist()
        ):
            question = windows.asked[windows.question[row]]
            assert tokens[0] == BEGIN
            assert tokens.count(END) == 2
            assert [token for token in tokens if token != PAD][-1] == END
            assert (first, last) == (0, 0) or tokens.index(END) < first <= last
            if last:
                start, end = windows.characters(row, first, last)
                assert question.context[start:end] == question.answers[0][0]
            seen += 1
    assert seen == source.spec.counts["train"]
    impossible = [windows.question[i] for i in range(seen) if windows.rows.target(np.array([i]))[0, 1]]
    assert all(windows.asked[number].answers for number in impossible)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "x.json is not of SQuAD's form (Expecting"),
        ("[]", "x.json is not of SQuAD's form"),
        ({"rows": []}, "x.json is not of SQuAD's form (`data` is missing)"),
        ({"data": [{"title": "a"}]}, "(`paragraphs` is missing)"),
        ({"data": [{"paragraphs": [{"context": 3, "qas": []}]}]}, "(a `context` is no text)"),
        ({"data": ["a"]}, "x.json is not of SQuAD's form"),
        ({"data": []}, "x.json asks nothing"),
        (
            squad({"a b": [{"id": "7", "question": "?", "answers": [{"text": "b", "answer_start": 1}]}]}),
            "“ ” stands there",
        ),
        (squad({"a b": [{"id": "7", "question": "?", "answers": [{"text": "b", "answer_start": 9}]}]}), "ends before"),
        (squad({"a b": [{"id": "7", "question": "?", "answers": [{"text": "b", "answer_start": -1}]}]}), "ends before"),
        (
            squad({"a b": [{"id": "7", "question": "?", "answers": [{"text": " ", "answer_start": 1}]}]}),
            "an empty answer",
        ),
        (squad({" ": [asked("7", "?", " ")]}), "question `7` has an empty context"),
        (squad({"a b": [asked("7", " ", "a b", "a")]}), "question `7` asks nothing"),
        (squad({"a b": [asked("7", "?", "a b")]}), "question `7` has no answer, and is not marked"),
        (squad({"a b": [asked("7", "?", "a b", "a"), asked("7", "!", "a b", "b")]}), "`7` has the id of another one"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, content, says):
    with pytest.raises(UserError) as error:
        read(written(tmp_path / "x.json", content), READING, TextAsk())
    assert says in str(error.value)


def test_bad_questions_can_be_left_out(tmp_path: Path):
    broken = people()
    broken["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] += 1
    path = written(tmp_path / "x.json", broken)
    with pytest.raises(UserError, match="`Anna-where` has the answer “Oslo” at character 15, and “slo,” stands there"):
        read(path, READING, TextAsk())
    source = read(path, READING, TextAsk(on_bad_row="skip"))
    assert sum(len(part.asked) for part in source.windows.values()) == 17
    assert "1 questions of x.json left out: `Anna-where` has the answer" in source.spec.notes[0]
    notes: list[str] = []
    assert len(questions_in(path, "refuse", notes, answered=False).asked) == 18  # what is said of answers is not read


def test_windows_need_room(tmp_path: Path):
    with pytest.raises(UserError, match=r"15 tokens have no room.*--max-length 16"):
        read(written(tmp_path / "x.json", people()), replace(READING, longest=15), TextAsk())


# ----------------------------------------------------------------------------------------------------------- the windows


@settings(max_examples=200, deadline=None)
@given(st.integers(16, 400), st.integers(0, 100), st.integers(0, 1500))
def test_windows_cover_the_context_and_overlap(longest: int, question: int, context: int):
    encoder = QuestionEncoder(Vocabulary("words", ""), longest)
    head, text = [5] * question, list(range(10, 10 + context))
    seen: list[range] = []
    for window, begins, start in encoder.cut(head, text):
        assert window[0] == BEGIN
        assert window[begins - 1] == window[-1] == END
        assert len(window) <= longest
        assert begins - 2 == min(question, ASKED, (longest - 3) // 2)
        part = window[begins:-1]
        assert part == text[start : start + len(part)]
        seen.append(range(start, start + len(part)))
    assert set().union(*seen) == set(range(context))
    for one, other in itertools.pairwise(seen):
        assert len(set(one) & set(other)) * 2 >= len(one) - 1  # at least about half of a window is in the next one too
    if longest == 384:
        assert all(other.start - one.start == STRIDE for one, other in itertools.pairwise(seen))


def covering(places: list[tuple[int, int]], start: int, end: int) -> list[int]:
    """The tokens that hold a character from ``start`` to before ``end``: a loop."""
    return [n for n, (a, b) in enumerate(places) if any(start <= place < end for place in range(a, b))]


@pytest.mark.parametrize("kind", ["uncased", "wordpiece", "bpe", "words", "characters"])
def test_offsets_give_back_the_characters_of_any_text(kind: str):
    words = [(match, STRANGE.index(match)) for match in STRANGE.split()]
    spans = [(a, b + len(text)) for (_, a), (text, b) in itertools.combinations_with_replacement(words, 2)]
    questions = [Question(f"{a}-{b}", "what?", STRANGE, ((STRANGE[a:b], a),)) for a, b in spans]
    encoder = QuestionEncoder(vocabulary(STRANGE, "what?", kind=kind), 200)
    windows = windows_of(encoder, Questions(questions, ""))
    places = encoder.text.places(STRANGE)
    exact = 0
    for row, (a, b) in enumerate(spans):
        first, last = windows.rows.target(np.array([row]))[0].tolist()
        inside = covering(places, a, b)
        assert (first, last) == (inside[0] - windows.shift[row], inside[-1] - windows.shift[row])
        start, end = windows.characters(row, first, last)
        assert start <= a + 1  # of U+200B, which some tokenisers leave out, no token speaks
        assert STRANGE[start:end].strip() == STRANGE[start:end] != ""
        exact += (start, end) == (a, b)
    assert exact >= 0.8 * len(spans)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_all_answers_of_xquad_come_back(language: str):
    if not XQUAD.is_dir():
        pytest.skip(f"{XQUAD.name} is not there: a folder with xquad.en.json and xquad.zh.json")
    part = questions_in(XQUAD / f"xquad.{language}.json", "refuse", [])
    texts = [*dict.fromkeys(q.context for q in part.asked), *(q.text for q in part.asked)]
    encoder = QuestionEncoder(vocabulary(*texts, size=8000), 384)
    windows = windows_of(encoder, part)
    places = {context: encoder.text.places(context) for context in {q.context for q in part.asked}}
    right: dict[int, bool] = {}
    for row, (first, last) in enumerate(windows.rows.target(np.arange(len(windows.question))).tolist()):
        number = int(windows.question[row])
        question = windows.asked[number]
        if last:
            (text, start), own = question.answers[0], places[question.context]
            inside = covering(own[: windows.shift[row] + last + 9], start, start + len(text))
            a, b = windows.characters(row, first, last)
            # Exactly the answer, unless it begins or ends within a token.
            whole = own[inside[0]][0] == start and own[inside[-1]][1] == start + len(text)
            assert ((a, b) == (start, start + len(text))) == whole
            assert a <= start < start + len(text) <= b
            right[number] = whole
    assert len(right) == len(part.asked) == 1190
    assert sum(right.values()) >= {"en": 1189, "zh": 1190}[language]


# -------------------------------------------------------------------------------------------------------------- the task


class Told(nn.Module):
    """Logits as they are in a table, by token; ``by_place`` tells the same token at two places apart."""

    def __init__(self, tokens: int, seed: int = 0, by_place: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(torch.randn(tokens, 2, generator=generator) * 3)
        self.places = by_place * torch.randn(200, 2, generator=generator)

    def forward(self, text: Tensor) -> Tensor:
        return self.table[text] + self.places[: text.shape[-1]]


def rows(seed: int, count: int = 12, vocabulary: int = 60) -> Tensor:
    """Windows of unlike lengths; some of a text without tokens."""
    generator, found = random.Random(seed), []
    for _ in range(count):
        question, text = ([generator.randrange(4, vocabulary) for _ in range(generator.randrange(n))] for n in (6, 50))
        found.append([BEGIN, *question, END, *text, END])
    longest = max(map(len, found))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in found])


def spans_of(tokens: list[int], logits: Tensor, longest: int) -> dict[tuple[int, int], float]:
    """Every span that may answer, and its score: a loop."""
    first = tokens.index(END) + 1
    last = tokens.index(END, first)
    return {
        (i, j): float(logits[i, 0] + logits[j, 1]) for i in range(first, last) for j in range(i, min(last, i + longest))
    }


@pytest.mark.parametrize("longest", [1, 3, 30, 100])
def test_the_best_spans_are_those_of_a_loop(longest: int):
    task, model, text = Answers(longest=longest, best=5), Told(60, by_place=0.3), rows(longest)
    logits = model(text).detach()
    with torch.no_grad():
        found = task.predict(model, {"input": text})
    for row, tokens in enumerate(text.tolist()):
        all_spans = spans_of(tokens, logits[row], longest)
        best = sorted(all_spans, key=lambda span: -all_spans[span])[:5]
        real = found["score"][row] > -torch.inf
        assert [tuple(span) for span in found["span"][row][real].tolist()] == best
        torch.testing.assert_close(found["score"][row][real], torch.tensor([all_spans[span] for span in best]))
        may = [0, *sorted({place for i, j in spans_of(tokens, logits[row], 99) for place in (i, j)})]
        shares = logits[row, may].softmax(0)
        sure = [float(shares[may.index(i), 0] * shares[may.index(j), 1]) for i, j in best]
        torch.testing.assert_close(found["probability"][row][real], torch.tensor(sure))
        assert float(found["nothing"][row]) == pytest.approx(float(logits[row, 0].sum()))


def test_loss_and_scores_are_those_of_a_loop():
    task, model, text = Answers(longest=8), Told(60, seed=1, by_place=0.3), rows(7)
    logits, targets, losses, hits, overlap = model(text).detach(), [], 0.0, 0, 0.0
    for row, tokens in enumerate(text.tolist()):
        scores = spans_of(tokens, logits[row], 8)
        best = max(scores, key=scores.__getitem__, default=(0, 0))
        said = best if scores and scores[best] > float(logits[row, 0].sum()) else (0, 0)
        choices = [(0, 0), said, *scores]
        target = choices[row % len(choices)]
        targets.append(target)
        may = [0, *sorted({i for i, _ in spans_of(tokens, logits[row], 99)})]
        losses -= sum(float(logits[row, may, end].log_softmax(0)[may.index(target[end])]) for end in (0, 1)) / 2
        hits += said == target
        one, other = (set(range(a, b + 1)) for a, b in (said, target))
        overlap += 2 * len(one & other) / (len(one) + len(other))
    batch = {"input": text, "target": torch.tensor(targets)}
    summary = task.summary(task.score(model, batch))
    assert summary["loss"] == pytest.approx(losses / len(text), rel=1e-5)
    assert summary["window_exact"] == hits / len(text)
    assert 0 < hits < len(text)
    assert summary["window_f1"] == pytest.approx(overlap / len(text))
    (turn,) = task.turns(model, batch)
    assert float(turn.loss) == pytest.approx(losses, rel=1e-5)
    assert int(turn.weight) == len(text)
    turn.loss.backward()
    assert model.table.grad is not None
    assert model.table.grad.isfinite().all()


def test_the_task_refuses_other_data():
    with pytest.raises(UserError, match="t is labelled text, and answers are found to questions"):
        Answers().fitted(DataSpec("t", "labelled", {"train": 1}))


# ------------------------------------------------------------------------------------------- from windows to one answer


def recipe_of(source: QuestionSource, config: Any = None) -> Recipe:
    task = Answers().fitted(source.spec)
    return Recipe("test", "test", config, task, 1, 500, 1e-3, Optim("adam"), Constant())


def test_the_answer_is_the_best_of_all_windows():
    generator = random.Random(0)
    words = [f"w{n}" for n in range(40)]
    contexts = [" ".join(generator.choices(words, k=n)) for n in (3, 30, 80, 120)]
    questions = [Question(str(n), "w1 w2", context) for n, context in enumerate(contexts)]
    encoder = QuestionEncoder(vocabulary(*contexts, kind="words", size=60), 20)
    source = source_of("made", {ALL: Questions(questions, "")}, encoder, "cpu")
    model = Told(len(encoder.text))
    for reply, context in zip(answering.replies(model, source, recipe_of(source), ALL), contexts, strict=True):
        tokens = encoder.text.encode([context])[0]
        logits = model(torch.tensor(tokens)).detach()
        room = encoder.longest - 5  # <s> w1 w2 </s> … </s>
        stride = room // 3
        starts = range(0, max(1, len(tokens) - room + stride), stride)
        scores: dict[str, float] = {}
        for start in starts:
            end = min(len(tokens), start + room)
            for i, j in itertools.combinations_with_replacement(range(start, end), 2):
                text, score = " ".join(context.split()[i : j + 1]), float(logits[i, 0] + logits[j, 1])
                scores[text] = max(score, scores.get(text, -np.inf))
        best = sorted(scores, key=lambda text: -scores[text])[:3]
        assert [answer.text for answer in reply.answers[:3]] == best
        assert reply.answers[0].score == pytest.approx(scores[best[0]], rel=1e-5)
        assert all(context[answer.start : answer.end] == answer.text for answer in reply.answers)
        assert len({answer.text for answer in reply.answers}) == len(reply.answers)
        assert reply.nothing == pytest.approx(float(model.table[BEGIN].sum()), rel=1e-5)


WORDS = st.lists(
    st.sampled_from(["the", "a", "Cat", "cat.", "An", "42", "—", "thé", "dog's", "", "猫", "A-1"]), max_size=6
)


@settings(max_examples=400, deadline=None)
@given(WORDS, WORDS)
def test_exact_and_f1_are_those_of_the_official_rules(one: list[str], other: list[str]):
    said, true = " ".join(one), "  ".join(other)
    assert answering.exact(said, true) == squad_rules.exact(true, said)
    assert answering.f1(said, true) == pytest.approx(squad_rules.f1(true, said))
    question = Question("x", "?", "", ((true, 0), ("a cat", 0))[: len(one) % 3])
    rows = squad({"": [{"id": "x", "question": "?", "answers": [{"text": text} for text, _ in question.answers]}]})
    ours, rules = answering.scores({"x": said}, [question]), squad_rules.scores(rows, {"x": said})
    assert [100 * ours["exact"], 100 * ours["f1"]] == pytest.approx([rules["exact"], rules["f1"]])


def test_known_cases_of_the_rules():
    assert answering.plain("The  U.S.A.'s “Cat”, an AND") == "usas “cat” and"
    assert answering.f1("the red cat", "a cat") == pytest.approx(2 / 3)
    assert answering.f1("", "the") == answering.exact("", "a") == 1
    assert answering.f1("cat", "") == 0
    assert answering.f1("猫 很 大", "猫") == pytest.approx(0.5)


def test_both_kinds_of_questions_are_told_apart():
    has, no = Question("a", "?", "cat", (("cat", 0), ("a cat", 0))), Question("b", "?", "cat")
    found = answering.scores({"a": "A cat", "b": "cat"}, [has, no])
    assert found == {
        **{"exact": 0.5, "f1": 0.5, "total": 2, "HasAns_exact": 1, "HasAns_f1": 1, "HasAns_total": 1},
        **{"NoAns_exact": 0, "NoAns_f1": 0, "NoAns_total": 1},
    }
    assert answering.scores({"a": ""}, [has]) == {"exact": 0, "f1": 0, "total": 1}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-4, 4), st.sampled_from(["yes", "half", "no", "impossible"])), min_size=1, max_size=8
    )
)
def test_the_threshold_is_the_best_there_is(cases: list[tuple[int, str]]):
    said = []
    for gap, kind in cases:
        true = {"yes": "red cat", "half": "red dog", "no": "fish"}.get(kind)
        question = Question(str(len(said)), "?", "red cat", ((true, 0),) if true else ())
        said.append(Reply(question, (Answer("red cat", 0, 7, 1.0, 0.5),), 1.0 + gap))
    questions = [reply.question for reply in said]

    def f1_at(threshold: float) -> float:
        return answering.scores({reply.question.id: reply.text(threshold) for reply in said}, questions)["f1"]

    chosen = answering.best_threshold(said)
    if all(question.answers for question in questions):
        assert chosen is None
    else:
        assert chosen is not None
        assert f1_at(chosen) == pytest.approx(max(f1_at(n / 2) for n in range(-12, 12)))


def test_a_text_without_tokens_has_no_answer():
    encoder = QuestionEncoder(vocabulary("what is it"), 20)
    source = source_of("made", {ALL: Questions([Question("x", "what?", "\u200b")], "")}, encoder, "cpu")
    (reply,) = answering.replies(Told(len(encoder.text)), source, recipe_of(source), ALL)
    assert (reply.answers, reply.text(None)) == ((), "")
    assert answering.best_threshold([reply]) is None


# --------------------------------------------------------------------------------------------------- what is shown of them


def test_the_report_marks_answers_and_keeps_the_threshold(tmp_path: Path):
    data = people(impossible=True)
    for paragraph in data["data"][0]["paragraphs"]:
        paragraph["context"] += " " + "Then <b>nothing</b> more is said. " * 20
    source = read(written(tmp_path / "q.json", data), replace(READING, longest=200), TextAsk(Holdout(0.4)))
    model, recipe = Told(len(source.encoder("").text)), recipe_of(source)
    folder = RunFolder(tmp_path)
    plan = Plan("bert", DataAsk("q.json"), recipe, RunAsk())
    blank = Report("answers", Citation("a paper"), Goal("f1"))
    report = answering.with_answers(blank, folder, model, plan, source)
    assert report_data.from_json(report_data.to_json(report)) == report
    said = answering.replies(model, source, recipe, "val")
    threshold = answering.threshold_of(folder)
    assert threshold == answering.best_threshold(said) is not None
    found = answering.scores({r.question.id: r.text(threshold) for r in said}, [r.question for r in said])
    assert dict(report.headline)["exact match"] == f"{100 * found['exact']:.1f} %"
    by_name = {f"q.json:{reply.question.id}": reply for reply in said}
    assert [one.right for one in report.answered] == sorted(one.right for one in report.answered)
    for one in report.answered:
        reply = by_name[one.name]
        text = "".join(part for part, _ in one.parts)
        assert text.strip("…") in reply.question.context
        assert text.endswith("…")
        assert "".join(part for part, mark in one.parts if mark == "said") == one.answer == reply.text(threshold)
        assert one.right == bool(answering.rated(answering.exact, one.answer, reply.question))
        assert one.true == (reply.question.answers[0][0] if reply.question.answers else "")
        if one.true and not set(one.answer.split()) & set(one.true.split()):
            assert [part for part, mark in one.parts if mark == "true"] == [one.true]
    html = page.render(report)
    assert "<b>nothing</b>" not in html
    assert html.count("&lt;b&gt;nothing") >= len(report.answered)


def test_an_answer_is_marked_in_words_and_on_a_terminal():
    plain, drawn = io.StringIO(), io.StringIO()
    marked("one\ntwo ", "three", " four", out=console(plain))
    assert plain.getvalue() == "         one two [three] four\n"
    marked(
        "one two ",
        "three",
        " four" * 30,
        out=Console(file=drawn, force_terminal=True, width=40, color_system="standard"),
    )
    lines = drawn.getvalue().splitlines()
    assert len(lines) > 3
    assert all(line.startswith(" " * 9) for line in lines)
    assert "\x1b[1;4mthree\x1b[0m" in lines[0]


# ------------------------------------------------------------------------------------------------------ a run from end to end


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of bert-tiny that has learned its questions by heart; some have no answer."""
    folder = tmp_path_factory.mktemp("answers")
    for split in ("train", "dev"):
        written(folder / "made" / f"{split}-v2.0.json", people(impossible=True))
    words = ("--epochs", 30, "--batch-size", 400, "--lr", 1e-3, "--sched", "constant", "--dropout", 0, "--patience", 30)
    done("train", "bert-tiny", "made", *words, "--precision", "fp32", "--name", "it", folder=folder)
    return folder


def test_a_run_answers_by_heart(run: Path):
    said = json.loads(done("eval", "runs/it", "--json", folder=run))
    assert said["exact"] == said["f1"] == said["HasAns_exact"] == said["NoAns_exact"] == 1
    predictions = json.loads((run / "runs" / "it" / "predictions-val.json").read_text())
    assert squad_rules.scores(people(impossible=True), predictions) == {"exact": 100, "f1": 100, "total": 24}
    assert "24 questions, 18 with an answer" in done("eval", "runs/it", folder=run)
    report = report_data.from_json((run / "runs" / "it" / "report.json").read_text())
    assert dict(report.headline)["exact match"] == "100.0 %"
    always = json.loads(done("eval", "runs/it", "--threshold", "1e9", "--json", folder=run))
    assert (always["HasAns_exact"], always["NoAns_exact"]) == (1, 0)


def test_the_best_epoch_is_that_of_whole_questions(run: Path):
    with (run / "runs" / "it" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    best = max(float(row["val_f1"]) for row in rows)
    _, note = RunFolder(run / "runs" / "it").read_tensors("best.safetensors")
    assert note["f1"] == best
    assert note["loss"] == min(float(row["val_loss"]) for row in rows if float(row["val_f1"]) == best)
    assert json.loads(done("eval", "runs/it", "--json", folder=run))["f1"] == pytest.approx(best)


def test_a_question_of_ones_own(run: Path):
    context = "Eva lives in Paris, where wet snow falls."
    told = done("predict", "runs/it", "--question", "Where is it?", "--context", context, folder=run)
    assert "answer   Paris" in told
    assert "Eva lives in [Paris], where wet snow falls." in told
    (run / "text.txt").write_text(context)
    words = ("predict", "runs/it", "--question", "What falls?", "--context", "text.txt", "--json")
    found = json.loads(done(*words, folder=run))
    assert found["answer"] == found["best"][0]["text"] == "wet snow"
    assert context[found["best"][0]["start"] : found["best"][0]["end"]] == "wet snow"
    assert "the text does not say" in done(
        "predict", "runs/it", "--question", "When was that?", "--context", context, folder=run
    )


def test_a_file_without_answers_is_answered(run: Path):
    data = people()
    for paragraph in data["data"][0]["paragraphs"]:
        for question in paragraph["qas"]:
            del question["answers"]
    written(run / "blank.json", data)
    lines = done("predict", "runs/it", "blank.json", "--json", folder=run).splitlines()
    predictions = {found["id"]: found["answer"] for found in map(json.loads, lines)}
    assert squad_rules.scores(people(), predictions)["exact"] == 100
    assert "Kim-who  Kim  " in done("predict", "runs/it", "blank.json", folder=run)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("predict", "runs/it"), "write --question and --context"),
        (("predict", "runs/it", "--question", "Who?"), "write --question and --context"),
        (("predict", "runs/it", "a.json", "--question", "Who?", "--context", "x"), "write --question and --context"),
        (("predict", "runs/it", "Who?"), "Who? is no file of SQuAD's form"),
        (("predict", "runs/it", "--question", " ", "--context", "x"), "a question and a text with words are needed"),
        (("eval", "runs/it", "--data", "none.json"), "there is no none.json"),
    ],
)
def test_what_cannot_be_answered_is_said(run: Path, words, says):
    said = typed(*words, folder=run)
    assert said.code == 2
    assert says in said.err


def test_a_run_on_questions_is_called_by_its_name(run: Path):
    said = " ".join(typed("explain", "runs/it", "Anna lives", folder=run).err.split())
    assert "for pictures and for labelled texts, and runs/it was trained on questions on texts" in said
