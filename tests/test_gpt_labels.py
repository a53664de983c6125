"""GPT's fine-tuning: the head and its three tokens against loops and a peer, the words that are said beside the labels, and
the way from plain text to labels by the command line."""

from __future__ import annotations

import contextlib
import csv
import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from command_line import QUICK, done, typed
from peers import shaken
from seminal.core import DataSpec, UserError
from seminal.papers import gpt, gpt2
from seminal.pieces.next_token import beside
from seminal.pieces.tokens import BEGIN, END, PAD, SPECIAL, UNKNOWN
from seminal.recipes import gpt as gpt_recipes
from seminal.recipes import gpt2 as gpt2_recipes
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.folder import RunFolder
from seminal.runs.making import Maker
from seminal.runs.patient import patient
from seminal.runs.plan import best_model, encoder_of, plan_of
from seminal.tasks.choice import Choice
from seminal.tasks.classification import Classification
from seminal.tasks.language import Language
from seminal.tasks.regression import Regression
from seminal.weights.matching import dialects, to_theirs
from texts import DOES, THINGS, WORDS, head_alone_learns

pytestmark = pytest.mark.usefixtures("one_thread")

V = 23
SMALL = replace(gpt.BASE, vocabulary=V, layers=2, width=24, inner=40, heads=3, longest=20)
SMALL_2 = replace(gpt2.BASE, vocabulary=V, layers=2, width=24, heads=3, longest=20)
KINDS = [pytest.param(gpt.GPT, SMALL, id="gpt"), pytest.param(gpt2.build, SMALL_2, id="gpt2")]
HEADS = {"class": 3, "choice": 1}


def born(build, config, head="class", outputs=3):
    torch.manual_seed(0)
    return shaken(build(replace(config, head=head, outputs=outputs, dropout=0.0, attention_dropout=0.0)), 0, 0.3)


def rows(*parts, seed=1):
    """``<s> a </s> b </s>`` of so many tokens each, padded to the longest."""
    generator = torch.Generator().manual_seed(seed)
    texts = []
    for lengths in parts:
        texts.append([BEGIN])
        for length in lengths:
            texts[-1] += [*torch.randint(len(SPECIAL), V, (length,), generator=generator).tolist(), END]
    longest = max(map(len, texts))
    return torch.tensor([text + [PAD] * (longest - len(text)) for text in texts])


# ------------------------------------------------------------------------------------------------- the network


@pytest.mark.parametrize(("build", "config"), KINDS)
def test_the_head_reads_the_last_token_with_tokens_of_its_own(build, config):
    """Eq. 3 row by row: the body without a head, in whose table the three new tokens stand."""
    model, text = born(build, config), rows((3, 4), (6,), (1, 1))
    body = build(replace(config, vocabulary=V + 3, dropout=0.0, attention_dropout=0.0)).eval()
    state = model.state_dict()
    frame, w_y = state.pop("head.frame.weight"), state.pop("head.linear.weight")
    body.load_state_dict(state | {"tokens.weight": torch.cat([state["tokens.weight"], frame])})
    states = []
    body.norm.register_forward_hook(lambda module, read, found: states.append(found))
    with torch.no_grad():
        for row, answer in zip(text, model(text)):
            real = [token for token in row.tolist() if token != PAD]
            named = [{BEGIN: V, END: V + 1}.get(token, token) for token in real]
            named[-1] = V + 2
            body(torch.tensor([named]))
            torch.testing.assert_close(states[-1][0, -1] @ w_y.T, answer, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("build", "config"), KINDS)
def test_padding_changes_no_answer_and_no_word(build, config):
    model, text = born(build, config), rows((3, 4), (8,))
    after = F.pad(text[:, 1:] != PAD, (0, 1))
    with torch.no_grad():
        answer, said = model(text, after)
        wide, wide_said = model(F.pad(text, (0, 6), value=PAD), F.pad(after, (0, 6)))
    torch.testing.assert_close(wide, answer, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(wide_said, said, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(answer, model(text).detach(), rtol=0, atol=0)


@pytest.mark.parametrize(("build", "config"), KINDS)
def test_each_choice_has_a_score_of_its_own(build, config):
    model, text = born(build, config, "choice", 1), rows((3, 4), (3, 2), (5, 1), (5, 6))
    with torch.no_grad():
        together = model(text.view(2, 2, -1))
        alone = [model(row[None, None, row != PAD]).item() for row in text]
    torch.testing.assert_close(together.flatten(), torch.tensor(alone), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("build", "config"), KINDS)
@pytest.mark.parametrize("head", HEADS)
def test_gradients_reach_every_parameter_and_the_head_alone_where_it_is_asked(build, config, head):
    model = build(replace(config, head=head, outputs=HEADS[head], longest=9)).train()
    text = rows((3, 3), (7,))
    text = text[None] if head == "choice" else text
    answer, said = model(text, text != PAD)
    ((answer * torch.randn_like(answer)).sum() + said.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    assert model.head.frame.weight.grad.any(1).all(), "start, delimiter and extract are all read"
    model.zero_grad()
    head_alone_learns(build(replace(config, head=head, outputs=HEADS[head])), text)


def test_first_values_without_a_head_are_those_of_before():
    """The body is drawn as if nothing else were there; the new vectors and W_y as all others are."""
    torch.manual_seed(0)
    plain = gpt.GPT(SMALL)
    assert not [name for name in plain.state_dict() if name.startswith("head")]
    torch.manual_seed(0)
    wide = gpt.GPT(replace(gpt.BASE, vocabulary=9, layers=1, head="class", outputs=50))
    for name in ("head.frame.weight", "head.linear.weight"):
        assert wide.get_parameter(name).std().item() == pytest.approx(0.02, rel=0.05)


def test_a_peer_gives_the_same_classes():
    transformers = pytest.importorskip("transformers")
    model, text = born(gpt2.build, SMALL_2), rows((3, 4), (6,), (1, 1))
    body = {name: value for name, value in model.state_dict().items() if not name.startswith("head.")}
    theirs = to_theirs("huggingface", body, "gpt2", SMALL_2)
    theirs.pop("lm_head.weight")
    sizes = {"vocab_size": V, "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 20, "num_labels": 3}
    peer = transformers.GPT2ForSequenceClassification(transformers.GPT2Config(**sizes, pad_token_id=PAD)).eval()
    # Of its vocabulary the rows that no text here has are start, delimiter and extract.
    table = theirs["transformer.wte.weight"].clone()
    with torch.no_grad():
        table[[BEGIN, UNKNOWN, END]] = model.head.frame.weight
        theirs |= {"transformer.wte.weight": table, "score.weight": model.head.linear.weight}
        peer.load_state_dict(theirs)
        inner = (text == END) & F.pad(text[:, 1:] != PAD, (0, 1))
        asked = {"input_ids": text.masked_fill(inner, UNKNOWN), "attention_mask": (text != PAD).long()}
        torch.testing.assert_close(model(text), peer(**asked).logits, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------------------- the lesson


def said_on(model, text):
    """−log P of each token but the first, one by one: the mean of a text."""
    found = []
    for row in text:
        real = row[row != PAD]
        nats = []
        for place in range(1, len(real)):
            read = real[None, None] if model.config.head == "choice" else real[None]
            after = torch.zeros_like(read, dtype=torch.bool)
            after[..., place - 1] = True
            _, logits = model(read, after)
            nats.append(-logits[0].log_softmax(-1)[real[place]].item())
        found.append(sum(nats) / len(nats))
    return found


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_the_words_are_said_beside_the_labels(share):
    """Eq. 5 written out for classes, numbers and choices, and exact in parts."""
    text = rows((3, 4), (6,), (1, 1), (2,))
    with torch.no_grad():
        model, target = born(gpt.GPT, SMALL), torch.tensor([2, 0, 1, 1])
        words = said_on(model, text)
        labels = [-row.log_softmax(0)[label].item() for row, label in zip(model(text), target.tolist())]
        batch, task = {"input": text, "target": target}, Classification(3, language=share)
        (turn,) = task.turns(model, batch)
        assert turn.loss.item() == pytest.approx(sum(labels) + share * sum(words), rel=1e-5)
        assert turn.weight.item() == 4
        parts = [next(task.turns(model, {name: part[some] for name, part in batch.items()})) for some in (
            slice(1), slice(1, 4)
        )]  # fmt: skip
        assert sum(part.loss.item() for part in parts) == pytest.approx(turn.loss.item(), rel=1e-5)
        assert task.summary(task.score(model, batch))["loss"] == pytest.approx(sum(labels) / 4, rel=1e-5)

        model, numbers = born(gpt.GPT, SMALL, outputs=1), torch.randn(4, 1)
        words, errors = said_on(model, text), (model(text) - numbers).square()
        (turn,) = Regression(language=share).turns(model, {"input": text, "target": numbers})
        assert turn.loss.item() == pytest.approx(errors.sum().item() + share * sum(words), rel=1e-5)

        model, right = born(gpt.GPT, SMALL, "choice", 1), torch.tensor([1, 0])
        words, scores = said_on(model, text), model(text.view(2, 2, -1))
        (turn,) = Choice(2, language=share).turns(model, {"input": text.view(2, 2, -1), "target": right})
        expected = F.cross_entropy(scores, right, reduction="sum").item() + share * sum(words) / 2
        assert turn.loss.item() == pytest.approx(expected, rel=1e-5)


def test_without_a_share_the_model_is_asked_for_its_answer_alone():
    answer, said = beside(lambda text: text.float(), torch.ones(2, 3, dtype=torch.long), 0.0)
    assert (answer.shape, said) == ((2, 3), 0.0)


@pytest.mark.parametrize(("build", "config"), KINDS)
def test_one_batch_is_learned_by_heart(build, config):
    torch.manual_seed(0)
    model = build(replace(config, head="class", outputs=3, dropout=0.0, attention_dropout=0.0))
    batch = {"input": rows((3, 4), (6,), (1, 1), (2,)), "target": torch.tensor([0, 1, 2, 1])}
    optimiser, losses = torch.optim.AdamW(model.parameters(), 1e-2), []
    for _ in range(60):
        (turn,) = Classification(3, language=0.5).turns(model, batch)
        losses.append(turn.loss.item() / 4)
        optimiser.zero_grad()
        turn.loss.backward()
        optimiser.step()
    assert losses[0] > math.log(3)
    assert losses[-1] < 0.5  # the first token after `<s>` cannot be told


# ------------------------------------------------------------------------------------------------- what suits


def spec(kind, **more):
    sizes = {"vocabulary": {"text": 30}, "longest": {"text": 12}, "tokens": {"train": 900}, "batched_by": "tokens"}
    return DataSpec("d", kind, {"train": 90}, **{**sizes, **more})


@pytest.mark.parametrize("base", [gpt.BASE, gpt2.BASE], ids=["gpt", "gpt2"])
def test_what_it_is_fine_tuned_on(base):
    of_classes = base.fitted(spec("labelled", classes=("a", "b", "c")))
    assert (of_classes.head, of_classes.outputs, of_classes.vocabulary) == ("class", 3, 30)
    assert base.fitted(spec("labelled", target_names=("stars",))).outputs == 1
    choice = base.fitted(spec("choices", classes=("a", "b")))
    assert (choice.head, choice.outputs) == ("choice", 1)
    assert base.fitted(spec("stream")).head == "words"
    for kind in ("tagged", "questions"):
        with pytest.raises(UserError, match="`bert`"):
            base.fitted(spec(kind))
    paper = "gpt" if base is gpt.BASE else "gpt2"
    assert dialects(paper, base)
    assert not dialects(paper, of_classes)
    assert [told.where for told in replace(base, head="class").departures()] == (
        ["Sec. 3.3"] if paper == "gpt" else ["Sec. 2"]
    )


@pytest.mark.parametrize("recipes", [gpt_recipes, gpt2_recipes], ids=["gpt", "gpt2"])
def test_recipes_are_the_papers_fine_tuning(recipes):
    variant, *_ = recipes.VARIANTS
    of_classes = spec("labelled", classes=("a", "b"), class_counts=(45, 45))
    found = recipes.paper(variant, of_classes)
    printed = (6.25e-5, 3, 320, 0.5, 0.002, 1.0)  # Sec. 4.1; 32 texts of 10 tokens
    told = (found.lr, found.epochs, found.batch, found.task.language, found.schedule.share, found.body_rate)
    assert told == printed
    assert found.model.dropout == 0.1
    factors = [found.schedule(step, 3000, ()) for step in (0, 5, 6, 1503, 2999)]
    assert factors == pytest.approx([1 / 6, 1.0, 1.0, 0.5, 0.0], abs=1e-3)
    assert isinstance(recipes.paper(variant, spec("choices", classes=("a", "b"))).task, Choice)
    assert isinstance(recipes.paper(variant, spec("labelled", target_names=("y",))).task, Regression)
    modern = recipes.modern(variant, of_classes).adapted(of_classes)
    assert modern.task.language == 0.0  # Sec. 5: small sets gain nothing by it
    assert (modern.model.width, modern.model.longest) == (128, recipes.VARIANTS[variant].longest)
    assert recipes.begun(modern).body_rate == pytest.approx(0.6)  # a sixth of the paper's width
    assert recipes.begun(replace(modern, body_rate=1.0)).body_rate == 1.0
    assert recipes.begun(replace(modern, task=Language())).body_rate == modern.body_rate


# ------------------------------------------------------------------------------------------------- from end to end


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Plain text, and tables of each form that is made of its sentences."""
    folder = tmp_path_factory.mktemp("gpt")
    lines = [f"the {w} {t} {d}" for w in WORDS for t in THINGS for d in DOES]
    (folder / "story.txt").write_text("\n".join([*lines, *lines[::-1], *lines[::2], *lines]) + "\n")
    (folder / "story.md").write_text("\n".join([*lines, *lines]) + "\n")

    def table(name, names, rows):
        (folder / name).write_text("\n".join(["\t".join(names), *("\t".join(row) for row in rows)]) + "\n")

    table("set.tsv", ("text", "label"), [(line, "home" if "house" in line else "away") for line in lines])
    others = [*lines[1:], lines[0]]
    pairs = [(a, b, "same" if a.split()[2] == b.split()[2] else "other") for a, b in zip(lines, others)]
    table("pairs.tsv", ("sentence1", "sentence2", "label"), pairs)
    table(
        "scores.tsv", ("sentence1", "sentence2", "score"), [(a, b, f"{i % 9}.5") for i, (a, b, _) in enumerate(pairs)]
    )
    table("ends.tsv", ("context", "choice0", "choice1", "label"), [
        ("the red", *(("house", "waits") if i % 2 else ("waits", "house")), "01"[i % 2 == 0]) for i in range(40)
    ])  # fmt: skip
    (folder / "tags.conll").write_text("\n\n".join("the\tD\nred\tJ\nhouse\tN" for _ in range(9)) + "\n")
    sizes = ("--max-length", "24", "--vocab-size", "300")
    done("train", "gpt", "story.txt", "--epochs", "1", "--name", "own", *sizes, *QUICK, folder=folder)
    return folder


@pytest.mark.parametrize(
    ("data", "asked"),
    [
        ("set", "--task classify"),
        ("pairs", "--task pair --recipe paper --lr 1e-3"),
        ("scores", ""),
        ("ends", "--task choice"),
    ],
)
def test_a_run_on_plain_text_is_fine_tuned_scored_and_asked(folder, data, asked):
    words = ("--from", "runs/own", *asked.split(), "--epochs", "4", "--name", data, *QUICK)
    out = done("train", "gpt", f"{data}.tsv", *words, folder=folder)
    outputs = {"set": "2 outputs", "pairs": "2 outputs", "scores": "1 output ", "ends": "1 output "}[data]
    assert f"a new head of {outputs}" in " ".join(out.split()) + " "
    run = RunFolder.existing(folder / "runs" / data)
    with open(run.path / "metrics.csv", encoding="utf-8") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.9 * losses[0]
    own = RunFolder.existing(folder / "runs" / "own")
    assert encoder_of(run).text == encoder_of(own).text, "the tokens are those of the run"
    plan = plan_of(run)
    assert plan.recipe.model == replace(
        plan_of(own).recipe.model, head=plan.recipe.model.head, outputs=plan.recipe.model.outputs
    )
    assert best_model(run, plan, torch.device("cpu")).head is not None
    scores = json.loads(done("eval", f"runs/{data}", "--json", folder=folder))
    again = json.loads(done("eval", f"runs/{data}", "--data", f"{data}.tsv", "--json", folder=folder))
    assert scores["rows"] < again["rows"]
    assert done("predict", f"runs/{data}", f"{data}.tsv", folder=folder).strip()
    assert (run.path / "report.html").exists()


def test_the_doctor_examines_the_labels_and_says_that_the_words_are_left_out(folder):
    """Its copy of the run could not be asked for the words, and failed."""
    with contextlib.chdir(folder):
        asked = RecipeAsk(recipe="paper", epochs=1, start="runs/own")
        plan, source = Maker("gpt", DataAsk("set.tsv"), asked, RunAsk(device="cpu")).plan()
        assert plan.recipe.task.language == 0.5
        make = patient(plan, source, torch.device("cpu"))
        program = make(0)
        input, target = next(iter(program.train))
        said = program.model(input).detach()
        assert program.loss(said, target).item() == pytest.approx(F.cross_entropy(said, target).item())
        assert math.isfinite(float(program.step(input, target)))
    assert make.says_words


def test_weights_that_came_in_are_fine_tuned(folder):
    """By their own tokeniser, whose numbers of the special tokens are others."""
    done("export", "runs/own", "--to", "huggingface", "--out", "theirs", folder=folder)
    done("import", "theirs", "--as", "gpt", "--name", "back", folder=folder)
    words = ("--from", "runs/back", "--freeze", "--epochs", "1", "--name", "tuned", *QUICK)
    assert "all but the head is frozen" in done("train", "gpt", "set.tsv", *words, folder=folder)
    assert "home" in done("predict", "runs/tuned", "the red house waits", folder=folder)
    own, tuned = (
        RunFolder.existing(folder / "runs" / name).read_tensors("best.safetensors")[0] for name in ("own", "tuned")
    )
    assert {name for name in tuned if name not in own} == {"head.frame.weight", "head.linear.weight"}
    assert torch.equal(tuned["layers.0.inner.weight"], own["layers.0.inner.weight"])
    assert "“" in done("explain", "runs/tuned", "the red house waits", folder=folder)


def test_one_command_from_first_weights(folder):
    """The fault that this file began with: the table was read as plain text, and what was asked for was dropped."""
    for words in (("--target", "label"), ("--task", "classify")):
        out = done("train", "gpt2", "set.tsv", *words, "--dry-run", *QUICK, folder=folder)
        assert "2 classes" in out
        assert "windows" not in out
    out = done("train", "gpt", "set.tsv", "--epochs", "1", "--name", "first", *QUICK, folder=folder)
    assert "learned from the training split" in out
    assert len(done("predict", "runs/first", "the red house waits", folder=folder).splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (
            "train gpt set.tsv --task squad",
            "--task squad learns from questions on texts, which this model does not read",
        ),
        ("train gpt set.tsv --task tag", "Train `bert` for that"),
        ("train gpt tags.conll", "write --task pretrain to read it as plain text"),
        ("train gpt story.txt --target label", "is read as plain text, which has no columns"),
        ("train gpt story.txt --task classify", "a text and a label are needed"),
        ("train zaremba-small set.tsv --task classify", "--task classify is about labels"),
        ("train zaremba-small set.tsv --target label", "--target is about labels"),
        ("train gpt story.txt --from runs/first", "start from the run on plain text"),
        ("eval runs/first --data story.txt", "is plain text, and the run learned from labelled text"),
        ("eval runs/own --data set.tsv", "is labelled text, and the run learned from plain text"),
        ("generate runs/first", "was not trained to go on writing"),
        ("export runs/first --to huggingface", "a head for labels brings tokens of its own"),
    ],
)
def test_what_cannot_be_followed_is_refused_and_never_dropped(folder, command, says):
    if "runs/first" in command and not (folder / "runs" / "first").exists():
        done("train", "gpt", "set.tsv", "--epochs", "1", "--name", "first", *QUICK, folder=folder)
    said = typed(*command.split(), folder=folder)
    assert (said.code, says in " ".join(said.err.split())) == (2, True), said.err


def test_a_published_set_whose_files_end_in_txt_is_read_by_its_columns(folder):
    """MRPC's layout: the names of its files do not begin with that of a split."""
    head = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    rows = "".join(f"{i % 2}\t{i}\t{i + 100}\tthe red house waits\tit waits {'still' * (i % 2)}\n" for i in range(40))
    (folder / "paraphrases").mkdir()
    for split in ("train", "test"):
        (folder / "paraphrases" / f"msr_paraphrase_{split}.txt").write_text(head + rows, encoding="utf-8")
    out = done("train", "gpt", "paraphrases", "--dry-run", *QUICK, folder=folder)
    assert "2 classes" in out
    assert "windows" not in out


def test_plain_text_is_still_a_stream(folder):
    for command in ("story.txt", "story.md", "story.txt --from runs/own", "set.tsv --task pretrain"):
        out = done("train", "gpt", *command.split(), "--dry-run", *QUICK, folder=folder)
        assert "windows" in out, command
