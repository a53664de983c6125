"""What a report shows of texts: what a run remembers of them, what is shown of them, and how the page looks in a browser."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from in_browser import window_on
from seminal.core import DataSpec, Goal, Memory, Optim, Order, Reading, Recipe, UserError
from seminal.data import labelled, stream, tagged
from seminal.data.text_rows import TextAsk
from seminal.data.vocabulary import WORDPIECE
from seminal.papers import transformer
from seminal.pieces.tokens import PAD, UNKNOWN
from seminal.recipes import transformer as recipes
from seminal.report import data, page, texts
from seminal.report.data import Attempts, Citation, Evidence, Looks, Picture, Report, Tagged, Translated
from seminal.runs import judging, portrait, text_portrait, training
from seminal.runs.asks import DataAsk, RunAsk
from seminal.runs.diary import SAMPLES, Diary
from seminal.runs.evidence import EXPLAINED, PARTS, parts_of
from seminal.runs.folder import RunFolder
from seminal.runs.machine import Stop
from seminal.runs.plan import Plan, best_model, plan_of
from seminal.runs.sources import open_source
from seminal.tasks.classification import Classification
from seminal.tasks.language import Language
from seminal.tasks.tagging import Tagging
from seminal.train.schedules import Constant

INJECTION = "</script><img src=x onerror=alert(1)>"
WORDS = {"the": "der", "red": "rote", "old": "alte", "dog": "hund", "man": "mann", "sees": "sieht", "hears": "hört"}
WORDS |= {"a": "einen", "big": "großen", "bird": "vogel", "tree": "baum", "now": "jetzt", "today": "heute"}
CPU = torch.device("cpu")


def sentence(number: int) -> list[str]:
    """One of 64 sentences, by the bits of its number."""
    choices = [("red", "old"), ("dog", "man"), ("sees", "hears"), ("bird", "tree"), ("now", "today")]
    adjective, *rest = [pair[number >> bit & 1] for bit, pair in enumerate(choices)]
    big = ["big"] if number & 32 else []
    return ["the", adjective, *rest[:2], "a", *big, *rest[2:]]


def write_pairs(folder: Path) -> None:
    order = [17 * i % 64 for i in range(30)]
    for split, numbers in (("train", order[:20]), ("val", order[20:])):
        sentences = [sentence(number) for number in numbers]
        (folder / f"{split}.en").write_text("".join(" ".join(words) + "\n" for words in sentences))
        lines = [" ".join(WORDS[word] for word in words) + "\n" for words in sentences]
        (folder / f"{split}.de").write_text("".join(lines))


def recipe_of(spec: DataSpec, config: Any, task: Any, **fields: Any) -> Recipe:
    """A plain recipe with a constant rate."""
    base = {"epochs": 4, "batch": 64, "lr": 3e-3, "optim": Optim("adam"), "schedule": Constant()}
    return Recipe(name="test", variant="test", model=config, task=task.fitted(spec), **base | fields)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A tiny Transformer on 20 pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder)
    ask = DataAsk(str(folder), source="en", target="de", vocab_size=None, tokens="words")
    spec = open_source(ask, "transformer", "transformer", "cpu").spec
    tiny = replace(transformer.BASE, layers=1, width=32, inner=64, heads=2, key=16, dropout=0.1)
    recipe = replace(recipes.modern("transformer", spec), model=tiny, schedule=Constant(), lr=1e-2, average=0)
    recipe = replace(recipe, epochs=4, batch=24, least_steps=0, optim=Optim("adam")).adapted(spec)
    return Plan("transformer", ask, recipe, RunAsk(output=str(folder / "runs"), precision="fp32", device="cpu"))


def begun(plan: Plan) -> training.Run:
    return training.begin(plan, open_source(plan.data, plan.paper, plan.recipe.variant, "cpu"), CPU)


@pytest.fixture(scope="module")
def finished(planned: Plan) -> RunFolder:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = begun(planned)
    assert training.carry_on(run) == 0
    torch.set_num_threads(threads)
    return run.folder


def read(folder: RunFolder) -> Report:
    return data.from_json((folder.path / "report.json").read_text(encoding="utf-8"))


def remembered(folder: RunFolder) -> list[dict[str, Any]]:
    return list(folder.read_tensors("last.state")[1]["diary"]["samples"])


# --------------------------------------------------------------------------------------------------- what a run remembers


def test_the_first_and_the_last_texts_are_kept_and_the_others_thin_out() -> None:
    diary = Diary(Goal("loss", higher=False))
    for epoch in range(1, 200):
        diary.sample(epoch, {"texts": [f"after {epoch}"]})
        kept = [sample["epoch"] for sample in diary.samples]
        assert len(kept) == min(epoch, SAMPLES)
        assert (kept[0], kept[-1]) == (1, epoch)
        assert kept == sorted(set(kept))
        assert all(sample["texts"] == [f"after {sample['epoch']}"] for sample in diary.samples)
    # By ratio: no hole is more than twice as wide as evenly spaced ones would be, past the first few epochs.
    even = 199 ** (1 / (SAMPLES - 1))
    assert all(later / earlier < 2 * even for earlier, later in itertools.pairwise(kept) if earlier > 2)


def test_a_resumed_run_has_the_texts_of_each_epoch_once(
    planned: Plan, finished: RunFolder, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    class Soon(Stop):
        """Stops after so many steps, in the middle of the third epoch."""

        @property
        def asked(self) -> bool:
            self.left -= 1
            return self.left <= 0

        @asked.setter
        def asked(self, value: bool) -> None:
            self.left = stop

    run = begun(planned)
    stop = 2 * run.source.steps(Order("train", planned.recipe.batch, shuffle=True)) + 1
    with monkeypatch.context() as patch:
        patch.setattr(training, "Stop", Soon)
        assert training.carry_on(run) == training.STOPPED
    assert [sample["epoch"] for sample in remembered(run.folder)] == [1, 2]
    assert training.resume(str(run.folder.path)) == 0
    assert remembered(run.folder) == remembered(finished)
    assert [sample["epoch"] for sample in remembered(run.folder)] == [1, 2, 3, 4]
    assert read(run.folder).attempts == read(finished).attempts


def test_a_diary_of_an_earlier_version_is_read() -> None:
    diary = Diary(Goal("loss", higher=False))
    note = {name: value for name, value in diary.note().items() if name != "samples"}
    diary.restore(note)
    assert diary.samples == []


# ------------------------------------------------------------------------------------------------------------ translation


def test_the_report_of_a_translator(planned: Plan, finished: RunFolder, one_thread: None) -> None:
    report = read(finished)
    text = (finished.path / "report.json").read_text(encoding="utf-8")
    assert data.to_json(data.from_json(text)) == text

    source = open_source(planned.data, "transformer", "transformer", "cpu")
    model = best_model(finished, plan_of(finished), CPU)
    pairs = source.texts["val"]
    assert len(report.attempts) == len(report.looks) == text_portrait.FIXED
    best = int(finished.read_tensors("last.state")[1]["diary"]["best"]["epoch"])
    now = text_portrait.written(model, source, planned.recipe)
    for attempts, looks, said in zip(report.attempts, report.looks, now):
        row = list(pairs.source).index(attempts.given)
        assert attempts.wanted == pairs.target[row]
        assert [epoch for epoch, _ in attempts.texts] == [1, 2, 3, 4]
        assert dict(attempts.texts)[best] == said
        # The map is of the same translation, and of each token all weights are on the source.
        assert [t.removeprefix("▁") for t in looks.source] == [*attempts.given.split(), "</s>"]
        assert [t.removeprefix("▁") for t in looks.written if t != "</s>"] == said.split()
        assert all(sum(row) == pytest.approx(1, abs=1e-3) for row in looks.weights)


def test_maps_of_attention_are_those_of_reading_all_tokens_again(
    planned: Plan, finished: RunFolder, one_thread: None
) -> None:
    """The oracle: without a cache, the weights of the last layer from one pass over the whole translation."""
    source = open_source(planned.data, "transformer", "transformer", "cpu")
    model: Any = best_model(finished, plan_of(finished), CPU)
    encoder = source.encoder("none")
    for attempts, looks in zip(read(finished).attempts, read(finished).looks):
        names = encoder.target.shown(range(len(encoder.target)))
        written = torch.tensor([[2, *(names.index(token) for token in looks.written)]])
        tokens = torch.tensor([[*encoder.source.encode([attempts.given])[0], 3]])
        memory = model.begin(tokens, 1, attention=True)
        for place in range(len(looks.written)):
            fresh = model.begin(tokens, 1, attention=True)
            model.step(written[:, : place + 1], fresh)
            assert fresh.moving["attention"][0].tolist() == pytest.approx(looks.weights[place], abs=1e-3)
        assert memory.length == 0


def test_the_worst_sentences_are_those_with_the_lowest_bleu(
    planned: Plan, finished: RunFolder, one_thread: None
) -> None:
    from sacrebleu.metrics import BLEU

    source = open_source(planned.data, "transformer", "transformer", "cpu")
    model = best_model(finished, plan_of(finished), CPU)
    encoder, pairs, every = source.encoder("none"), source.texts["val"], {}
    _, batch = next(encoder.encode(list(pairs.source), len(pairs.source)))  # in the order of the file
    for row, tokens in enumerate(planned.recipe.task.predict(model, batch)["token"].tolist()):
        name, wanted, said = source.name("val", row), pairs.target[row], encoder.target.decode(tokens)
        bleu = BLEU(effective_order=True).sentence_score(said, [wanted]).score
        every[name] = Translated(pairs.source[row], wanted, said, bleu, name)
    wrong = {name: t for name, t in every.items() if t.translation != t.reference}
    shown = read(finished).worst
    assert {t.name: t for t in shown} == wrong
    assert [t.bleu for t in shown] == sorted(t.bleu for t in wrong.values())
    assert len(shown) > 2


def test_the_report_written_anew_is_the_same(finished: RunFolder, one_thread: None) -> None:
    before = read(finished)
    assert judging.report(str(finished.path)) == 0
    after = read(finished)
    assert (after.attempts, after.worst) == (before.attempts, before.worst)


def test_a_model_that_cannot_look_has_no_maps(planned: Plan, finished: RunFolder) -> None:
    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def begin(self, source: Tensor | None, rows: int, attention: bool = False) -> Memory:
            raise UserError("this model cannot show where it looks.")

    source = open_source(planned.data, "transformer", "transformer", "cpu")
    assert list(text_portrait._looks(Blind(), source, planned.recipe)) == []


# --------------------------------------------------------------------------------------------------------- language models


class Bigrams(nn.Module):
    """A language model that knows the last token only: a table of logits."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def begin(self, source: Tensor | None, rows: int, attention: bool = False) -> Memory:
        return Memory({}, {"last": torch.zeros(rows, dtype=torch.int64)})

    def step(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        return self.table[tokens[:, -1]], replace(memory, length=memory.length + tokens.shape[1])


@pytest.mark.parametrize("carried", [True, False])
def test_a_language_model_writes_on_from_the_beginning_of_the_validation_split(tmp_path: Path, carried: bool) -> None:
    for split, first in (("train", 0), ("val", 40)):
        lines = [" ".join(sentence(number % 64)) for number in range(first, first + 40)]
        (tmp_path / f"{split}.txt").write_text("\n".join(lines) + "\n")
    reading = Reading("stream", tokens="words", longest=30, carried=carried)
    source = stream.read(tmp_path, reading, stream.StreamAsk())
    recipe = recipe_of(source.spec, None, Language(carried=carried))
    vocabulary = source.encoder("none").text
    table = torch.randn(len(vocabulary), len(vocabulary), generator=torch.Generator().manual_seed(0))
    model = Bigrams(table)

    greedy, drawn = text_portrait.written(model, source, recipe)
    tokens = vocabulary.encode([(tmp_path / "val.txt").read_text()])[0]
    count = 60 if carried else 31 - 9  # a model without a state knows the places of one window
    last, wanted = tokens[7], []
    table[:, :1] = table[:, 2:3] = -math.inf  # neither padding nor <s> is written
    for _ in range(count):
        last = int(table[last].argmax())
        wanted.append(last)
    assert greedy == vocabulary.decode(wanted).strip("\n")
    assert drawn != greedy
    assert text_portrait.written(model, source, recipe) == [greedy, drawn]

    diary = Diary(recipe.task.goal, samples=[{"epoch": 1, "texts": ["a", "b"]}, {"epoch": 2, "texts": [greedy, drawn]}])
    both = list(text_portrait._attempts(source, recipe, diary))
    assert [attempts.texts for attempts in both] == [((1, "a"), (2, greedy)), ((1, "b"), (2, drawn))]
    assert both[0].given == vocabulary.decode(tokens[:8])
    assert both[0].wanted == vocabulary.decode(tokens[8 : 8 + count]).strip("\n")
    assert both[0].given_as == both[1].given_as == "prompt"


# ----------------------------------------------------------------------------------------------------------------- readers


class Sum(nn.Module):
    """A bag of words: each token has a vector of logits; those of a text are added (or given one by one)."""

    def __init__(self, table: Tensor, per_token: bool = False) -> None:
        super().__init__()
        self.table, self.per_token = nn.Parameter(table), per_token

    def forward(self, text: Tensor) -> Tensor:
        logits = self.table[text] * (text != PAD)[..., None]
        return logits if self.per_token else logits.sum(1)


def write_labelled(folder: Path) -> None:
    good, bad = ["a great film", "truly great, I'd say", "great fun"], ["an awful film", "awful!", "so awful it hurts"]
    for split, copies in (("train", 6), ("val", 2)):
        rows = [f"{text}\t{label}" for label, some in (("good", good), ("bad", bad)) for text in some * copies]
        (folder / f"{split}.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "uncased", "words", "characters"])
def test_the_words_that_decided(tmp_path: Path, kind: str, one_thread: None) -> None:
    """The oracle: each word taken out by hand, its share computed from the table."""
    write_labelled(tmp_path)
    source = labelled.read(tmp_path, Reading("labelled", tokens=kind, vocabulary=60), labelled.LabelledAsk())
    table = torch.randn(source.spec.vocabulary["text"], 2, generator=torch.Generator().manual_seed(1))
    model, recipe = Sum(table), recipe_of(source.spec, None, Classification())
    plan = Plan("test", DataAsk(str(tmp_path)), recipe, RunAsk())
    report = portrait._with_classes(Report("t", Citation("c"), Goal("top1")), model, plan, source)

    vocabulary, part = source.encoder("none").text, source.parts["val"]
    assert 0 < len(report.evidence) == min(len(report.mistakes), EXPLAINED)
    for evidence, mistake in zip(report.evidence, report.mistakes):
        row = next(i for i in range(len(part.texts)) if source.name("val", i) == evidence.name)
        assert mistake.name == evidence.name
        assert mistake.caption == f"{evidence.caption}: “{part.texts[row]}”"
        tokens = part.tokens.row(row).tolist()
        said, read_as = "".join(text for text, _ in evidence.parts).strip(), vocabulary.decode(tokens)
        assert said == read_as or (kind in WORDPIECE and said.replace(" ", "") == read_as.replace(" ", ""))
        spans = parts_of(vocabulary, tokens)
        assert [place for _, first, last in spans for place in range(first, last)] == list(range(len(tokens)))
        guess = source.spec.classes.index(evidence.label)
        whole = table[tokens].sum(0)
        for (_, fall), (_, first, last) in zip(evidence.parts, spans, strict=True):
            without = whole + sum(table[UNKNOWN] - table[token] for token in tokens[first:last])
            by_hand = whole.log_softmax(0)[guess] - without.log_softmax(0)[guess]
            assert fall == pytest.approx(float(by_hand), abs=1e-4)
        words = [text.strip() for text, _, _ in spans if text.strip()]
        assert all(re.fullmatch(r"\w+|[^\w\s]+|⁇|<unk>", word) for word in words), words
    assert data.from_json(data.to_json(report)) == report


def test_a_long_text_is_cut_into_few_parts(tmp_path: Path) -> None:
    write_labelled(tmp_path)
    source = labelled.read(tmp_path, Reading("labelled", tokens="words"), labelled.LabelledAsk())
    tokens = source.encoder("none").text.encode(["a great film so awful it hurts " * 30])[0]
    spans = parts_of(source.encoder("none").text, tokens)
    assert len(spans) <= PARTS
    assert [place for _, first, last in spans for place in range(first, last)] == list(range(len(tokens)))


def test_the_sentences_of_a_tagger_with_the_most_wrong_labels(tmp_path: Path) -> None:
    names = {"Anna": "B-PER", "Kim": "I-PER", "Oslo": "B-LOC", "sings": "O", "in": "O"}
    rows = ["Anna Kim sings in Oslo", "Oslo sings", "Kim sings in in in Oslo", "sings in"]
    lines = "\n\n".join("\n".join(f"{word} {names[word]}" for word in row.split()) for row in rows)
    for split in ("train", "val"):
        (tmp_path / f"{split}.conll").write_text(f"{lines}\n\n{lines}\n")
    source = tagged.read(tmp_path, Reading("tagged", tokens="words"), TextAsk())
    encoder, classes = source.encoder("none"), source.spec.classes
    table = torch.zeros(source.spec.vocabulary["text"], len(classes))
    told = names | {"Oslo": "O", "Kim": "B-PER"}  # Oslo is always wrong, and surely; Kim is wrong, but hardly
    for word, label in told.items():
        table[encoder.text.ids([word])[0], classes.index(label)] = {"Oslo": 9.0, "Kim": 0.1}.get(word, 5.0)
    recipe = recipe_of(source.spec, None, Tagging())
    found = text_portrait._tagged(Sum(table, per_token=True), source, recipe)
    assert [" ".join(sentence.words) for sentence in found] == [rows[i] for i in (0, 2, 0, 2, 1, 1)]
    for sentence in found:
        assert list(sentence.true) == [names[word] for word in sentence.words]
        assert list(sentence.predicted) == [told[word] for word in sentence.words]
        assert sentence.wrong == sum(word in ("Oslo", "Kim") for word in sentence.words)
    assert source.spec.classes


# ---------------------------------------------------------------------------------------------------------------- the data


def test_parts_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(UserError, match="a row for each written token"):
        Looks(("a", "b"), ("c",), ((1.0,),))
    with pytest.raises(UserError, match="for each of its words"):
        Tagged(("a", "b"), ("O",), ("O", "O"))


def everything() -> Report:
    """A report with all that is shown of texts, with hostile words in it."""
    weights = ((0.7, 0.2, 0.1), (0.1, 0.8, 0.1))
    return Report(
        title="all texts",
        paper=Citation("nobody"),
        goal=Goal("bleu_tokens"),
        attempts=(Attempts(f"The {INJECTION}", "Der <b>", ((1, "die"), (7, f"Der {INJECTION}"))),) * 3,
        looks=tuple(Looks(("▁The", "<img", "</s>"), ("▁Der", f"x{n}"), weights) for n in range(3)),
        worst=(Translated("The cat.", "Die Katze.", INJECTION, 3.25, "val.en:17"),),
        evidence=(Evidence("good", (("an", 0.0), (" awful", -0.6), (" <b>great</b>", 1.2)), "is bad", "val.tsv:3"),),
        mistakes=(Picture(b"", "is bad: “an awful <b>great</b>”", "val.tsv:3"), Picture(b"", "is good", "val.tsv:9")),
    )


def test_the_data_of_texts_survive_json() -> None:
    report = replace(everything(), tagged=(Tagged(("Oslo", "sings"), ("B-LOC", "O"), ("O", "O"), "val.conll:1"),))
    assert data.from_json(data.to_json(report)) == report


def test_tokens_are_shown_as_people_read_them() -> None:
    metaspace = Looks(("▁ice", "berg", "▁", "▁ahead", "!", "</s>"), (), ())
    assert texts.token_names(metaspace, metaspace.source) == ["ice", "·berg", "▁", "ahead", "!", "</s>"]
    wordpiece = Looks(("ice", "##berg", "!"), (), ())
    assert texts.token_names(wordpiece, wordpiece.source) == ["ice", "·berg", "!"]


def test_what_decided_is_said_in_words_too() -> None:
    (evidence,) = everything().evidence
    assert texts.deciding(evidence) == "for “good” speak “<b>great</b>” +1.2; against it “awful” −0.6"
    assert [side for _, side, _ in texts.shades(evidence)] == ["", "against", "for"]
    faint = replace(evidence, parts=tuple((text, weight / 100) for text, weight in evidence.parts))
    assert texts.deciding(faint) == "no word alone speaks for “good”"
    assert max(float(strength) for _, _, strength in texts.shades(faint)) < 0.2


def test_maps_are_valid_plotly() -> None:
    go = pytest.importorskip("plotly.graph_objects")
    for figure in texts.attention(everything()):
        drawn = json.dumps({"data": figure.data, "layout": figure.layout}, allow_nan=False)
        go.Figure(json.loads(re.sub(r"var\(--[a-z]+\)", "#123456", drawn)))
    long = Looks(("a",) * 90, ("b",) * 100, ((1 / 90,) * 90,) * 100)
    (figure,) = texts.attention(replace(everything(), looks=(long,)))
    assert len(figure.data[0]["z"]) == len(figure.data[0]["z"][0]) == texts.SHOWN_TOKENS
    assert f"first {texts.SHOWN_TOKENS} tokens" in figure.caption


# ------------------------------------------------------------------------------------------------------------- the browser


@pytest.fixture(scope="module")
def opened(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page of `everything`; in the end it has said nothing and asked for nothing."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page.render(everything()), encoding="utf-8")
    window, said, asked = window_on(browser, path, color_scheme="light", viewport={"width": 400, "height": 900})
    yield window
    assert said == []
    assert asked == [path.as_uri()]
    window.close()


def test_one_steps_through_the_maps_with_the_keyboard(opened: Any) -> None:
    shown = "() => [...document.querySelectorAll('.stepped figure')].filter((f) => f.offsetHeight).map((f) => f.id)"
    assert opened.evaluate(shown) == ["attention-0-figure"]
    opened.locator(".stepped input").first.focus()
    for place in (1, 2, 0):
        opened.keyboard.press("ArrowRight")
        assert opened.evaluate(shown) == [f"attention-{place}-figure"]
        assert opened.locator(f"#attention-{place} .hm").count() == 1
    ticks = opened.evaluate("[...document.querySelectorAll('#attention-2 .xtick')].map((t) => t.textContent)")
    assert ticks == ["The", "<img", "</s>"]
    opened.locator("#attention-0-figure summary").click()
    assert opened.locator("#attention-0-figure li").all_inner_texts() == ["Der ← The 70\u00a0%", "·x0 ← <img 80\u00a0%"]


def test_the_map_follows_the_colour_scheme_and_the_page_fits_a_narrow_screen(opened: Any) -> None:
    fill = "() => getComputedStyle(document.querySelector('#attention-0 .ytick text')).fill"
    assert opened.evaluate(fill) == "rgb(29, 33, 38)"
    opened.emulate_media(color_scheme="dark")
    opened.wait_for_timeout(300)
    assert opened.evaluate(fill) == "rgb(228, 231, 235)"
    assert opened.evaluate("document.documentElement.scrollWidth") <= 400


def test_texts_stand_on_the_page_as_they_are(opened: Any) -> None:
    assert opened.locator("img[src=x]").count() == 0
    first = opened.locator(".said").first
    assert first.locator("dt").all_inner_texts() == ["source", "reference", "epoch 7", "epoch 1"]
    assert first.locator("dd").all_inner_texts() == [f"The {INJECTION}", "Der <b>", f"Der {INJECTION}", "die"]
    assert "Translations over time" in opened.locator("#attempts-heading").inner_text()
    assert opened.locator("#sentences dd").last.inner_text() == INJECTION
    # The shaded text is whole, its shades are said in words, and mistakes without shades follow in a table.
    assert opened.locator("#mistakes li .evidence").inner_text() == "an awful <b>great</b>"
    assert opened.locator("#mistakes li .against").inner_text() == "awful"
    assert "For “good” speak" in opened.locator("#mistakes li").inner_text()
    assert opened.locator("#mistakes tbody tr").count() == 1


def test_labels_stand_under_their_words(browser: Any, tmp_path: Path) -> None:
    sentence, path = (
        Tagged(("Oslo", INJECTION), ("B-LOC", "O"), ("B-PER", "O"), "val.conll:1"),
        tmp_path / "report.html",
    )
    path.write_text(page.render(replace(everything(), worst=(), looks=(), tagged=(sentence,))), encoding="utf-8")
    window, said, _ = window_on(browser, path)
    words = window.locator(".tagged > span").all_inner_texts()
    assert [word.split("\n") for word in words] == [["Oslo", "B-LOC", "called B-PER"], [INJECTION, "O"]]
    assert window.locator("#sentences li .caption").inner_text().startswith("1 of 2 labels wrong")
    assert said == []
    window.close()
