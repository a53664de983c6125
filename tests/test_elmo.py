"""ELMo beside loops that are written as its equations are; the lesson from both sides; and vectors that go to a task."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from command_line import QUICK, done, typed
from peers import shaken
from seminal.core import DataSpec, Reading, UserError
from seminal.data import documents, labelled, tagged
from seminal.data.text_rows import TextAsk
from seminal.papers import elmo
from seminal.papers.elmo import CLOSES, ENDS, FILLING, OPENS, STARTS, Elmo, K, mixed, projected, spelled
from seminal.pieces.recurrent import turned, weights_of
from seminal.pieces.tokens import BEGIN, END, NOTHING, PAD, SPECIAL
from seminal.recipes import elmo as recipes
from seminal.runs.changes import briefly
from seminal.runs.folder import RunFolder
from seminal.runs.plan import best_model, plan_of
from seminal.tasks.both_ways import BothWays
from texts import DOES, THINGS, WORDS, head_alone_learns, stories

pytestmark = pytest.mark.usefixtures("one_thread")

LEXICON = (*SPECIAL, *("wer", "reitet", "so", "spät", "durch", "nacht", "und", "wind", "es", "ist", "der", "vater"))
V = len(LEXICON)
SMALL = replace(
    elmo.BASE, vocabulary=V, words=LEXICON, filters=64, highways=2, units=12, width=8, hidden=6, dropout=0.0
)
HEADS = {"words": 2, "class": 3, "tags": 4}


def born(config=SMALL, seed=0):
    torch.manual_seed(seed)
    return shaken(Elmo(config), seed, 0.1)


def rows(*lengths, seed=1):
    """A text for each length, padded to the longest."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in enumerate(lengths):
        text[row, :length] = torch.randint(4, V, (length,), generator=generator)
        text[row, 0], text[row, length - 1] = BEGIN, END
    return text


# ------------------------------------------------------------------------------------------------- the equations


def by_the_equations(lstm, x):
    """An LSTM with a projection, cell by cell in time (Sak et al. 2014, without peepholes)."""
    into, back, bias = weights_of(lstm)
    h, c, found = x.new_zeros(len(x), lstm.proj_size), x.new_zeros(len(x), lstm.hidden_size), []
    for now in x.unbind(1):
        i, f, g, o = (now @ into.T + h @ back.T + bias).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = (torch.sigmoid(o) * torch.tanh(c)) @ lstm.get_parameter("weight_hr_l0").T
        found.append(h)
    return torch.stack(found, dim=1)


def test_a_projected_lstm_is_its_equations_and_its_gradient():
    torch.manual_seed(0)
    lstm, x = projected(5, 11), torch.randn(3, 7, 5)
    assert torch.equal(weights_of(lstm)[2][11:22], torch.ones(11))  # forget gates begin open
    shaken(lstm)
    weights, gradients = torch.randn(3, 7, 5), []
    for read in (lambda x: lstm(x)[0], lambda x: by_the_equations(lstm, x)):
        lstm.zero_grad()
        found = read(x)
        (found * weights).sum().backward()
        gradients.append((found, *(p.grad for p in lstm.parameters())))
    assert {name for name, _ in lstm.named_parameters()} == {
        "weight_ih_l0",
        "weight_hh_l0",
        "bias_ih_l0",
        "weight_hr_l0",
    }
    for ours, theirs in zip(*gradients):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_mix_is_equation_1():
    torch.manual_seed(0)
    layers, w, gamma = torch.randn(3, 2, 5, 4), torch.randn(3), 1.7
    wanted = torch.zeros(2, 5, 4)
    for j in range(3):
        wanted += gamma * math.exp(w[j]) / sum(math.exp(v) for v in w) * layers[j]
    torch.testing.assert_close(mixed(list(layers), w, torch.tensor([gamma])), wanted)


def test_letters_of_words():
    found = spelled(["<pad>", "<s>", "</s>", "spät", "x" * 99]).tolist()
    assert found[0] == [FILLING] * K
    assert found[1] == [OPENS, STARTS, CLOSES, *[FILLING] * (K - 3)]
    assert found[2] == [OPENS, ENDS, CLOSES, *[FILLING] * (K - 3)]
    assert found[3] == [OPENS, *"spät".encode(), CLOSES, *[FILLING] * (K - 7)]
    assert found[4] == [OPENS, *[ord("x")] * (K - 2), CLOSES]


def test_a_word_is_read_by_filters_highways_and_a_projection():
    model, word = born().words, torch.tensor([[LEXICON.index("nacht")]])
    letters = model.letters(spelled(["nacht"])[0].long())  # (K, 16)
    best = []
    for some in model.filters:
        (width,) = some.kernel_size
        for weight, bias in zip(some.weight, some.bias):  # weight (16, width)
            sums = [
                float((letters[at : at + width].T * weight).detach().sum() + bias.detach())
                for at in range(K - width + 1)
            ]
            best.append(max(0.0, *sums))
    x = torch.tensor(best)
    assert len(model.highways) == 2
    for highway in model.highways:
        gate = torch.sigmoid(highway.gate(x))
        x = gate * highway.new(x).clamp(min=0) + (1 - gate) * x
    torch.testing.assert_close(model(word)[0, 0], model.projection(x), rtol=1e-4, atol=1e-5)


def test_the_layers_are_those_of_the_equations():
    model, text = born(), rows(7, 7)
    x = model.words(text)
    halves = []
    for side, way in ((model.forwards, lambda x: x), (model.backwards, lambda x: x.flip(1))):
        first = by_the_equations(side.layers[0], way(x))
        second = by_the_equations(side.layers[1], first) + first
        halves.append([x, way(first), way(second)])
    found, ends = model.vectors(text)
    assert ends.tolist() == [7, 7]
    for ours, ahead, behind in zip(found, *halves, strict=True):
        torch.testing.assert_close(ours, torch.cat([ahead, behind], dim=2), rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("head", HEADS)
def test_a_row_says_the_same_alone_and_between_longer_ones(head):
    model, text = born(replace(SMALL, head=head, outputs=HEADS[head])), rows(5, 12, 3, 9)
    together, padded = model(text), model(F.pad(text, (0, 4)))
    for row, length in enumerate((5, 12, 3, 9)):
        alone = model(text[row : row + 1, :length])
        for found in (together, padded):
            if head == "class":
                found, wanted = found[row], alone[0]
            elif head == "tags":
                found, wanted = found[row, :length], alone[0]
            else:
                found, wanted = found[:, row, :length], alone[:, 0]
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=2e-6)


def test_numbers_of_words_and_their_letters_say_the_same():
    by_number = born()
    by_letter = Elmo(replace(SMALL, words=())).eval()
    by_letter.load_state_dict(by_number.state_dict())
    text = rows(9, 4, 6)
    letters = spelled(LEXICON).long()[text]
    places = text != PAD
    torch.testing.assert_close(by_letter(letters)[:, places], by_number(text)[:, places])
    shapes = Elmo(replace(SMALL, words=())).to("meta")(letters.to("meta")).shape
    assert shapes == by_number.to("meta")(text.to("meta")).shape == (2, 3, 9, V)


@settings(max_examples=8, deadline=None)
@given(place=st.integers(1, 9), other=st.integers(4, V - 1))
def test_no_direction_sees_what_it_says(place, other):
    model, text = born(), rows(11, 11)
    changed = text.clone()
    changed[:, place] = other
    with torch.no_grad():
        ahead, behind = model(text)
        now_ahead, now_behind = model(changed)
    # Not to the bit: each word is read once, so that another one changes how many are read together.
    torch.testing.assert_close(ahead[:, :place], now_ahead[:, :place], rtol=0, atol=1e-6)
    torch.testing.assert_close(behind[:, place + 1 :], now_behind[:, place + 1 :], rtol=0, atol=1e-6)


def test_both_directions_share_the_letters_and_the_softmax():
    names = {name.split(".")[0] for name, _ in Elmo(SMALL).named_parameters()}
    assert names == {"words", "forwards", "backwards", "head"}
    model, text = born(), rows(6)
    with torch.no_grad():
        model.backwards.load_state_dict(model.forwards.state_dict())
        _, behind = model(text)
        turned_ahead, _ = model(turned(text[:, :, None], torch.tensor([6]))[:, :, 0])
    torch.testing.assert_close(behind.flip(1), turned_ahead)


# ------------------------------------------------------------------------------------------------- the lesson


def naive(model, text):
    """Nats, and how many of them, of each direction."""
    ahead, behind = model(text).detach().log_softmax(-1)
    found = [[], []]
    for row, tokens in enumerate(text.tolist()):
        length = sum(token != PAD for token in tokens)
        for place in range(length):
            if place + 1 < length:
                found[0].append(-float(ahead[row, place, tokens[place + 1]]))
            if place > 0:
                found[1].append(-float(behind[row, place, tokens[place - 1]]))
    return found


def test_the_loss_is_of_both_sides_and_exact_in_parts():
    model, text, task = born(), rows(5, 9, 2, 7), BothWays()
    ahead, behind = naive(model, text)
    assert len(ahead) == len(behind) == 4 + 8 + 1 + 6
    (turn,) = task.turns(model, {"input": text})
    assert turn.loss.item() == pytest.approx(sum(ahead) + sum(behind), rel=1e-5)
    assert int(turn.weight) == len(ahead)
    parts = [next(task.turns(model, {"input": part})) for part in (text[:1], text[1:])]
    assert sum(part.loss.item() for part in parts) == pytest.approx(turn.loss.item(), rel=1e-5)
    assert int(sum(part.weight for part in parts)) == int(turn.weight)
    told = task.summary(task.score(model, {"input": text}))
    perplexities = [math.exp(sum(nats) / len(nats)) for nats in (ahead, behind)]
    assert told["loss"] == pytest.approx((sum(ahead) + sum(behind)) / len(ahead))
    assert [told["forward_perplexity"], told["backward_perplexity"]] == pytest.approx(perplexities, rel=1e-5)
    assert told["perplexity"] == pytest.approx(sum(perplexities) / 2, rel=1e-5)
    with torch.no_grad():
        right = [logits.argmax(-1) for logits in model(text)]
    hits = sum(int((said == true)[text[:, 1:] != PAD].sum()) for said, true in (
        (right[0][:, :-1], text[:, 1:]), (right[1][:, 1:], text[:, :-1])
    ))  # fmt: skip
    assert told["accuracy"] == pytest.approx(hits / (2 * len(ahead)))


def test_predicted_are_the_words_that_follow():
    model, text = born(), rows(5, 9)
    found = BothWays().predict(model, {"input": text})
    ahead, _ = naive(model, text)
    assert found["loss"][found["loss"] != 0].tolist() == pytest.approx(ahead, rel=1e-4)
    follows = F.pad(text[:, 1:] != PAD, (0, 1))
    assert torch.equal(found["token"][follows], model(text)[0].argmax(-1)[follows])
    assert found["token"][~follows].unique().tolist() == [NOTHING]


@pytest.mark.parametrize("head", HEADS)
def test_one_batch_is_learned_by_heart(head):
    torch.manual_seed(0)
    config = replace(SMALL, units=24, width=16, hidden=16, head=head, outputs=HEADS[head], vectors_dropout=0.0)
    model, text = Elmo(config), rows(6, 11, 8, 9)
    target = torch.tensor([0, 1, 2, 1]) if head == "class" else (text % 4).masked_fill(text == PAD, NOTHING)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(50):
        if head == "words":
            (turn,) = BothWays().turns(model, {"input": text})
            loss = turn.loss / turn.weight
        else:
            logits = model(text)
            loss = F.cross_entropy(logits if head == "class" else logits.transpose(1, 2), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.5  # of words, the first ones of four rows cannot all be told from `<s>`


# ------------------------------------------------------------------------------------------------- data and mistakes


def spec(kind, **more):
    sizes = {"vocabulary": {"text": 30}, "longest": {"text": 12}, "tokens": {"train": 900}}
    return DataSpec("d", kind, {"train": 9}, **{**sizes, **more})


def test_what_suits_and_what_does_not():
    fitted = elmo.BASE.fitted(spec("tagged", classes=("a", "b", "c"), spelling=tuple("abc")))
    assert (fitted.head, fitted.outputs, fitted.words, fitted.vocabulary) == ("tags", 3, ("a", "b", "c"), 30)
    assert elmo.BASE.fitted(spec("labelled", target_names=("stars",))).outputs == 1
    for kind in ("questions", "choices"):
        with pytest.raises(UserError, match="Use `bert`"):
            elmo.BASE.fitted(spec(kind))
    with pytest.raises(UserError, match="plain text"):
        BothWays().fitted(spec("labelled"))
    for wrong in ({"filters": 65}, {"units": 512}):
        with pytest.raises(UserError, match="cannot be"):
            replace(elmo.BASE, **wrong)


def test_what_a_task_changes_is_told():
    assert not elmo.BASE.departures()
    told = [departure.what for departure in SMALL.departures()]
    assert [what.split(" (")[0] for what in told] == [
        "64 filters, highways: 2, 12 cells with projections to 8, layers: 2",
        f"{V} different words to be said",
        "all words outside the vocabulary are read as one",
        "dropout 0",
    ]
    task = replace(elmo.BASE, head="tags").departures()
    assert [departure.where for departure in task] == ["Sec. 3.3"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Data for each head."""
    folder = tmp_path_factory.mktemp("elmo")
    stories(folder)
    lines = [(w, t, d) for w in WORDS for t in THINGS for d in DOES]
    table = [f"{' '.join(line)}\t{'short' if len(line[0]) < 4 else 'long'}" for line in lines]
    (folder / "set.tsv").write_text("\n".join(["text\tlabel", *table]) + "\n")
    tags = ["\n".join(f"{word}\t{'DNV'[i]}" for i, word in enumerate(line)) for line in lines]
    (folder / "tags.conll").write_text("\n\n".join(tags) + "\n")
    return folder


def test_every_form_of_text_tells_its_letters(texts):
    reading = recipes.reading("elmo")
    forms = {
        "stories.txt": lambda path, reading: documents.read(path, reading, documents.DocumentsAsk()),
        "set.tsv": lambda path, reading: labelled.read(path, reading, labelled.LabelledAsk()),
        "tags.conll": lambda path, reading: tagged.read(path, reading, TextAsk()),
    }
    for name, read in forms.items():
        source = read(texts / name, reading)
        words = source.spec.spelling
        assert words[: len(SPECIAL)] == SPECIAL
        assert len(words) == source.spec.vocabulary["text"]
        (row,) = source.encoder("none").text.encode(["the house"])
        assert [words[token] for token in row] == ["the", "house"]
        assert read(texts / name, replace(reading, spelled=False)).spec.spelling == ()


def test_a_long_tuple_is_told_in_short():
    assert briefly(tuple("abc")) == "a, b, c"
    assert briefly(LEXICON * 3) == "<pad>, <unk>, <s>, … (48)"


def test_the_corpus_has_no_other_target():
    """The task says what follows and what comes before; nothing is hidden, and rows have one part."""
    reading = recipes.reading("elmo")
    assert isinstance(reading, Reading)
    assert (reading.masking, reading.next_sentence) == (None, False)


# ------------------------------------------------------------------------------------------------- from the command line


def test_a_frozen_body_drops_nothing():
    model = Elmo(replace(SMALL, dropout=0.3, head="tags", outputs=4))
    head_alone_learns(model, rows(9, 4))


@pytest.fixture(scope="module")
def begun(texts):
    """The run `pre`, which read 20 documents once."""
    out = done("train", "elmo", "stories.txt", "--epochs", "1", "--name", "pre", *QUICK, folder=texts)
    assert "seminal train elmo DATA --from runs/pre" in out
    return texts


def model_of(folder, name):
    run = RunFolder.existing(folder / "runs" / name)
    return plan_of(run).recipe, best_model(run, plan_of(run), torch.device("cpu"))


def body(model):
    return {name: value for name, value in model.state_dict().items() if not name.startswith("head.")}


def test_the_language_models_are_scored_and_predict_no_classes(begun):
    recipe, model = model_of(begun, "pre")
    assert recipe.model.words[: len(SPECIAL)] == SPECIAL
    assert isinstance(recipe.task, BothWays)
    assert model.words.spelling.shape == (recipe.model.vocabulary, K)
    found = json.loads(done("eval", "runs/pre", "--json", folder=begun))
    both = found["forward_perplexity"], found["backward_perplexity"]
    assert found["perplexity"] == pytest.approx(sum(both) / 2)
    assert found["loss"] == pytest.approx(sum(map(math.log, both)))
    assert 1 < found["perplexity"] < 1.5 * recipe.model.vocabulary
    said = typed("predict", "runs/pre", "the house", folder=begun)
    assert (said.code, "write `seminal train elmo DATA --from runs/pre`" in said.err) == (2, True), said


@pytest.mark.parametrize(("data", "head", "classes"), [("set.tsv", "class", 2), ("tags.conll", "tags", 3)])
def test_a_task_learns_from_frozen_vectors(begun, data, head, classes):
    _, before = model_of(begun, "pre")
    words = ("--from", "runs/pre", "--freeze", "--epochs", "1", "--name", head, *QUICK)
    out = done("train", "elmo", data, *words, folder=begun)
    assert f"a new head of {classes} outputs" in out
    assert "all but the head is frozen" in out
    recipe, after = model_of(begun, head)
    assert recipe.model == replace(before.config, head=head, outputs=classes)
    assert all(torch.equal(value, body(after)[name]) for name, value in body(before).items())
    assert after.head.weights.any()  # the shares have moved
    found = json.loads(done("eval", f"runs/{head}", "--json", folder=begun))
    assert 0 <= found["top1" if head == "class" else "accuracy"] <= 1
    shown = done("predict", f"runs/{head}", "the red house waits", "--json", folder=begun)
    assert json.loads(shown.splitlines()[0])


def test_the_papers_recipe_freezes_by_itself(begun):
    _, before = model_of(begun, "pre")
    words = ("--from", "runs/pre", "--recipe", "paper", "--epochs", "1", "--name", "paper", *QUICK)
    done("train", "elmo", "set.tsv", *words, folder=begun)
    recipe, after = model_of(begun, "paper")
    assert recipe.transfer.body_rate == 0
    assert all(torch.equal(value, body(after)[name]) for name, value in body(before).items())
