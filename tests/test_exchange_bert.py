"""BERTs that go in and out: folders of Hugging Face's with random weights, imported with every head, asked, trained on and
exported again; runs of ours that their library loads with nothing missing and nothing left over."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from command_line import QUICK, done, typed
from peers import shaken
from seminal.core import DataSpec, Precision
from seminal.data.documents import DocumentEncoder
from seminal.data.labelled import LabelledEncoder
from seminal.data.vocabulary import learned
from seminal.papers import bert
from seminal.pieces.packing import Packing
from seminal.pieces.tokens import PAD
from seminal.recipes import bert as recipes
from seminal.runs.asks import DataAsk, RunAsk
from seminal.runs.folder import RunFolder
from seminal.runs.plan import Plan, best_model, encoder_of, plan_of
from test_weights_bert import HEADS, for_them
from texts import language

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
LINES = ["the small ship waits", "The RED house falls, 12 times", "日本語 naïve", "[MASK] waits", "the"]
WORDS = [
    "the",
    "small",
    "red",
    "house",
    "ship",
    "child",
    "waits",
    "falls",
    "sleeps",
    "a",
    "naïve",
    "日",
    "本",
    ",",
    "1",
    "2",
]
LABELS = {"BertForSequenceClassification": ["bad", "so so", "good"], "BertForTokenClassification": ["O", "B-X", "I-X"]}
AUTO = {
    "BertForPreTraining": "AutoModelForPreTraining",
    "BertForMaskedLM": "AutoModelForMaskedLM",
    "BertForSequenceClassification": "AutoModelForSequenceClassification",
    "BertForTokenClassification": "AutoModelForTokenClassification",
    "BertForQuestionAnswering": "AutoModelForQuestionAnswering",
    "BertForMultipleChoice": "AutoModelForMultipleChoice",
}


@pytest.fixture(scope="module")
def peers():
    return pytest.importorskip("transformers", reason="transformers is not installed: no peer to compare with")


def theirs_in(peers, place, name="BertForPreTraining", lowercase=True, **more):
    """A folder as their own library saves it. Special tokens stand where ours do not."""
    letters = sorted(set("".join(WORDS) + "abcdefghijklmnopqrstuvwxyz"))
    tokens = ["[PAD]", "[unused0]", "the", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS[1:]]
    tokens = list(dict.fromkeys([*tokens, *letters, *(f"##{letter}" for letter in letters), "THE", "Red"]))
    place.mkdir(exist_ok=True)
    (place / "tokens.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    tokenizer = peers.BertTokenizer(str(place / "tokens.txt"), do_lower_case=lowercase)
    labels = LABELS.get(name, [])
    named = (
        {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
        if labels
        else {}
    )
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
    config = peers.BertConfig(vocab_size=len(tokens) + 3, max_position_embeddings=32, **{**sizes, **named, **more})
    model = shaken(getattr(peers, name)(config))
    model.save_pretrained(place / "theirs")
    tokenizer.save_pretrained(place / "theirs")
    return model, tokenizer


def imported(folder, *words, name="own"):
    return done("import", "theirs", "--as", "bert", "--name", name, *words, folder=folder)


def run_in(folder, name="own"):
    run = RunFolder.existing(folder / "runs" / name)
    return best_model(run, plan_of(run), CPU), encoder_of(run), plan_of(run)


def loaded(kind, folder):
    model, report = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    return model.eval()


def same(one, other):
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def said(model, name, asked):
    """What theirs says, in our order and shape."""
    found = model(**asked)
    if name == "BertForQuestionAnswering":
        return torch.stack([found.start_logits, found.end_logits], dim=-1)
    return found.prediction_logits if name == "BertForPreTraining" else found.logits


# ---------------------------------------------------------------------------------------------------------------- import


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("name", ["BertForPreTraining", "BertForMaskedLM"])
def test_a_masked_model_says_the_same_of_the_same_text(peers, tmp_path, name, lowercase):
    theirs, tokenizer = theirs_in(peers, tmp_path, name, lowercase)
    out = imported(tmp_path)
    assert "huggingface's names" in out
    assert f"{sum(p.numel() for p in theirs.parameters()):,} parameters" in out
    assert "seminal fill" in out
    ours, encoder, plan = run_in(tmp_path)
    assert isinstance(encoder, DocumentEncoder)
    assert encoder.next_sentence == plan.recipe.model.next_sentence == (name == "BertForPreTraining")
    order = torch.tensor(encoder.text.given.order)
    text = next(encoder.encode(LINES, 9))[1]["input"]
    asked = tokenizer(LINES, padding=True, return_tensors="pt", split_special_tokens=True)
    assert torch.equal(order[text], asked["input_ids"])
    real = text != PAD
    with torch.no_grad():
        same(ours(text)[real], said(theirs, name, asked)[..., order][real])
    assert int(order[encoder.text.mask]) == tokenizer.mask_token_id


@pytest.mark.parametrize("name", [name for name in AUTO if "Pre" not in name and "Masked" not in name])
def test_a_fine_tuned_model_says_the_same(peers, tmp_path, name):
    theirs, _ = theirs_in(peers, tmp_path, name)
    imported(tmp_path)
    ours, encoder, plan = run_in(tmp_path)
    assert plan.recipe.model.head == HEADS[name].head
    labels = RunFolder.existing(tmp_path / "runs" / "own").read_json("labels.json")
    assert list(labels)[:3] == (
        LABELS.get(name) or [f"ending{i}" for i in range(3)] * (name == "BertForMultipleChoice")
    )
    text = torch.tensor([[2, 9, 10, 3, 8, 11, 3], [2, 9, 3, 12, 3, 0, 0]])
    order = torch.tensor(encoder.text.given.order)
    asked = for_them(text) | {"input_ids": order[text]}
    if name == "BertForMultipleChoice":
        text, asked = text[None], {key: value[None] for key, value in asked.items()}
    with torch.no_grad():
        found, wanted = ours(text), said(theirs, name, asked)
    if found.dim() == 3 and name != "BertForMultipleChoice":
        found, wanted = found[text != PAD], wanted[text != PAD]
    same(found, wanted)


def test_classes_come_in_with_their_names(peers, tmp_path):
    theirs, tokenizer = theirs_in(peers, tmp_path, "BertForSequenceClassification")
    imported(tmp_path)
    with torch.no_grad():
        shares = theirs(**tokenizer(LINES[:1], return_tensors="pt")).logits.softmax(1)[0]
    found = json.loads(done("predict", "runs/own", LINES[0], "--json", folder=tmp_path))
    best = int(shares.argmax())
    assert LABELS["BertForSequenceClassification"][best] in json.dumps(found)
    assert f"{float(shares[best]):.3f}"[:4] in json.dumps(found)
    imported(tmp_path, "--pairs", name="two")
    _, encoder, _ = run_in(tmp_path, "two")
    assert encoder == replace(run_in(tmp_path)[1], pair=True)
    asked = tokenizer([LINES[0]], [LINES[1]], return_tensors="pt")
    row = next(encoder.encode([f"{LINES[0]}\t{LINES[1]}"], 1))[1]["input"]
    assert torch.equal(torch.tensor(encoder.text.given.order)[row], asked["input_ids"])


def test_the_user_names_the_classes_that_have_no_names(peers, tmp_path):
    theirs_in(peers, tmp_path, "BertForSequenceClassification")
    changed(tmp_path, id2label={str(i): f"LABEL_{i}" for i in range(3)})
    assert "--classes gives them some" in imported(tmp_path)
    (tmp_path / "films.tsv").write_text("text\tlabel\nthe small ship\tbad\nthe RED house\tgood\n")
    said = typed("eval", "runs/own", "--data", "films.tsv", folder=tmp_path)
    assert "`bad`, `good`, which the run never saw (it knows LABEL_0, LABEL_1, LABEL_2)" in said.err, said.err
    assert "--classes" not in imported(tmp_path, "--classes", "bad,ok,good", name="named")
    found = json.loads(done("predict", "runs/named", LINES[0], "--json", folder=tmp_path))
    assert set(found) == {"input", "bad", "ok", "good"}
    assert "top1" in json.loads(done("eval", "runs/named", "--data", "films.tsv", "--json", folder=tmp_path))


def test_the_user_says_among_how_many_endings_is_chosen(peers, tmp_path):
    theirs_in(peers, tmp_path, "BertForMultipleChoice")
    imported(tmp_path, "--classes", "first,second")
    (tmp_path / "ends.csv").write_text("context,choice0,choice1\nthe ship,waits,falls\n")
    found = json.loads(done("predict", "runs/own", "ends.csv", "--json", folder=tmp_path))
    assert set(found) == {"input", "first", "second"}


def test_numbers_are_in_the_users_own_units(peers, tmp_path):
    theirs, tokenizer = theirs_in(
        peers, tmp_path, "BertForSequenceClassification", id2label={0: "score"}, label2id={"score": 0}
    )
    imported(tmp_path)
    with torch.no_grad():
        wanted = float(theirs(**tokenizer(LINES[:1], return_tensors="pt")).logits)
    found = json.loads(done("predict", "runs/own", LINES[0], "--json", folder=tmp_path))
    assert "score" in json.dumps(found)
    ours, encoder, plan = run_in(tmp_path)
    batch = next(encoder.encode(LINES[:1], 1))[1]
    with torch.no_grad():
        assert float(plan.recipe.task.predict(ours, batch)["value"]) == pytest.approx(wanted, abs=1e-5)


def test_a_bare_encoder_comes_in_without_a_head(peers, tmp_path):
    theirs, tokenizer = theirs_in(peers, tmp_path, "BertModel")
    out = imported(tmp_path)
    assert "no head is among them" in out
    assert f"{sum(p.numel() for p in theirs.parameters()):,} parameters" in out
    assert "seminal fill" not in out
    refused = typed("fill", "runs/own", "the [MASK]", folder=tmp_path)
    assert refused.code == 2
    assert "without a head" in refused.err
    run = RunFolder.existing(tmp_path / "runs" / "own")
    ours, encoder = bert.Bert(plan_of(run).recipe.model).eval(), encoder_of(run)
    ours.load_state_dict(run.read_tensors("best.safetensors")[0], strict=False)
    text = next(encoder.encode(LINES, 9))[1]["input"]
    rows = Packing.of(text)
    with torch.no_grad():
        wanted = theirs(**tokenizer(LINES, padding=True, return_tensors="pt", split_special_tokens=True))
        same(ours.states(text, rows)[-1], wanted.last_hidden_state[text != PAD])
        same(ours.pooled(ours.states(text, rows)[-1], rows), wanted.pooler_output)


def test_it_is_trained_on_and_goes_out_again(peers, tmp_path):
    """As `bert`, and as what a BiLSTM on top reads."""
    theirs_in(peers, tmp_path, "BertModel")
    rows = [f"{text}\t{label}" for text, label in (("the small ship", "good"), ("a red house falls", "bad")) * 20]
    (tmp_path / "rows.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    for variant in ("bert", "bert-features"):
        done("import", "theirs", "--as", variant, "--name", f"own-{variant}", folder=tmp_path)
        words = ("--from", f"runs/own-{variant}", "--epochs", "1", "--name", variant, *QUICK)
        assert "85 tokens, the run's own" in done("train", variant, "rows.tsv", *words, folder=tmp_path)
    done("export", "runs/bert", "--to", "huggingface", "--out", "out", folder=tmp_path)
    theirs = loaded(peers.AutoModelForSequenceClassification, tmp_path / "out")
    assert theirs.config.id2label == {0: "bad", 1: "good"}
    ours, encoder, _ = run_in(tmp_path, "bert")
    batch = next(encoder.encode(LINES, 9))[1]["input"]
    order = torch.tensor(encoder.text.given.order)
    with torch.no_grad():
        same(theirs(**for_them(batch) | {"input_ids": order[batch]}).logits, ours(batch))
    assert typed("export", "runs/bert-features", "--to", "huggingface", folder=tmp_path).code == 2


def test_a_pooler_that_no_head_reads_is_left_out_and_named(peers, tmp_path):
    theirs_in(peers, tmp_path, "BertForQuestionAnswering")
    file = tmp_path / "theirs" / "model.safetensors"
    more = {"bert.pooler.dense.weight": torch.ones(24, 24), "bert.pooler.dense.bias": torch.ones(24)}
    save_file(load_file(file) | more, file, {"format": "pt"})
    assert "pooler.bias, pooler.weight: nothing here reads them" in imported(tmp_path)
    assert run_in(tmp_path)[0].pooler is None


def test_a_list_of_tokens_and_old_names_do_as_well(peers, tmp_path):
    theirs_in(peers, tmp_path)
    imported(tmp_path)
    folder = tmp_path / "theirs"
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text((tmp_path / "tokens.txt").read_text(encoding="utf-8"), encoding="utf-8")
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    state = {}
    for key, value in load_file(folder / "model.safetensors").items():
        for new, name in old.items():
            key = key.replace(new, name)
        state[key] = value
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    imported(tmp_path, name="old")
    one, other = run_in(tmp_path), run_in(tmp_path, "old")
    assert one[1].text.given == other[1].text.given
    assert one[1].text.encode(LINES) == other[1].text.encode(LINES)
    assert all(torch.equal(value, other[0].state_dict()[key]) for key, value in one[0].state_dict().items())


def changed(folder, **settings):
    file = folder / "theirs" / "config.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in (told | settings).items() if value != "gone"}))


@pytest.mark.parametrize(
    ("name", "settings", "words", "says"),
    [
        ("BertModel", {"model_type": "roberta"}, (), "`model_type` is roberta, and only bert is known here"),
        ("BertModel", {"hidden_act": "relu"}, (), "`hidden_act` is relu"),
        ("BertModel", {"num_hidden_layers": 3}, (), "the file lacks bert.encoder.layer.2.attention.self"),
        ("BertModel", {"vocab_size": 9}, (), "85×24 in the file and 9×24 in the model"),
        ("BertForTokenClassification", {"id2label": {"0": "O"}}, (), "name each of the 3 outputs"),
        ("BertForTokenClassification", {}, ("--pairs",), "text with a label for each word: leave it out"),
        (
            "BertForNextSentencePrediction",
            {},
            (),
            "the file lacks cls.predictions.bias, cls.predictions.transform.dense.weight",
        ),
        ("BertForMaskedLM", {}, ("--classes", "a,b"), "and these weights are for plain text: leave it out"),
        ("BertForSequenceClassification", {}, ("--classes", "a,b"), "names 2 classes, and the weights have 3 outputs"),
        ("BertForMultipleChoice", {}, ("--classes", "a"), "a choice is made among 2 or more"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(peers, tmp_path, name, settings, words, says):
    theirs_in(peers, tmp_path, name)
    changed(tmp_path, **settings)
    found = typed("import", "theirs", "--as", "bert", *words, folder=tmp_path)
    assert found.code == 2
    assert says in found.err, found.err
    assert not (tmp_path / "runs").exists()


def test_what_is_no_such_network_is_told_as_what_it_is(peers, tmp_path):
    theirs_in(peers, tmp_path)
    imported(tmp_path)
    alone = tmp_path / "tokens"
    alone.mkdir()
    for file in (tmp_path / "theirs").glob("tokenizer*"):
        (alone / file.name).write_bytes(file.read_bytes())
    for words, says in (
        (("theirs", "--as", "gpt2"), "`model_type` is bert, and only gpt2 is known here"),
        (("runs/own", "--as", "bert"), "runs/own is the folder of a run already"),
        (("runs/own", "--as", "resnet18"), "runs/own is the folder of a run already"),
        (("tokens", "--as", "bert"), "tokens holds neither weights nor a config.json"),
    ):
        found = typed("import", *words, folder=tmp_path)
        assert (found.code, says in found.err) == (2, True), found.err


def test_a_vocabulary_of_another_model_is_refused(peers, tmp_path):
    theirs_in(peers, tmp_path)
    (tmp_path / "other.txt").write_text((tmp_path / "tokens.txt").read_text() + "one\ntwo\nthree\nfour\n")
    found = typed("import", "theirs", "--as", "bert", "--tokenizer", "other.txt", folder=tmp_path)
    assert found.code == 2
    assert "other.txt has 86 tokens and the weights have 85: it belongs to another model" in found.err


# ---------------------------------------------------------------------------------------------------------------- export


@pytest.mark.parametrize("name", AUTO)
def test_what_came_in_goes_out_as_it_was(peers, tmp_path, name):
    theirs, tokenizer = theirs_in(peers, tmp_path, name)
    imported(tmp_path)
    out = done("export", "runs/own", "--to", "huggingface", "--out", "back", folder=tmp_path)
    assert f"transformers.{name}.from_pretrained" in out
    back = loaded(getattr(peers, AUTO[name]), tmp_path / "back")
    assert type(back) is type(theirs)
    assert theirs.state_dict().keys() == back.state_dict().keys()
    assert all(torch.equal(value, back.state_dict()[key]) for key, value in theirs.state_dict().items())
    assert (back.config.vocab_size, back.config.pad_token_id) == (theirs.config.vocab_size, theirs.config.pad_token_id)
    if name in LABELS:
        assert back.config.id2label == theirs.config.id2label
    again = peers.AutoTokenizer.from_pretrained(tmp_path / "back", local_files_only=True)
    assert type(again) is type(tokenizer)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert again(LINES, LINES)["input_ids"] == tokenizer(LINES, LINES)["input_ids"]
    assert (again.mask_token_id, again.sep_token_id) == (tokenizer.mask_token_id, tokenizer.sep_token_id)
    assert (tmp_path / "back" / "vocab.txt").read_text(encoding="utf-8") == (tmp_path / "tokens.txt").read_text(
        encoding="utf-8"
    )


def ours_in(place, kind="documents", tokens="uncased", **spec):
    """A run as training leaves it, with random weights in the place of learned ones."""
    text = learned([*LINES, *language(place).read_text().splitlines()], tokens, 120, masked=True)
    one = {"train": 1, "val": 1}
    found = DataSpec("made", kind, one, vocabulary={"text": len(text)}, longest={"text": 24}, tokens=one, **spec)
    config = replace(bert.VARIANTS["bert-tiny"], layers=2, width=24, inner=40, heads=4, longest=24).fitted(found)
    recipe = recipes.modern("bert-tiny", found)
    recipe = replace(recipe, model=config, task=recipe.task.fitted(found), precision=Precision())
    encoder = DocumentEncoder(text, 24) if kind == "documents" else LabelledEncoder(text, 24, framed=True)
    folder = RunFolder.new(place / "runs", "run", "run")
    folder.write_json("reader.json", encoder)
    folder.write_json("labels.json", found.classes or found.target_names)
    folder.write_json("recipe.json", Plan("bert", DataAsk("made"), recipe, RunAsk()))
    model = shaken(bert.Bert(config))
    folder.write_tensors("best.safetensors", model.state_dict(), {"variant": "bert-tiny"})
    return model, encoder, recipe


@pytest.mark.parametrize("tokens", ["uncased", "wordpiece", "bpe"])
def test_a_model_that_was_trained_here_is_read_by_them(peers, tmp_path, tokens):
    ours, encoder, _ = ours_in(tmp_path, tokens=tokens)
    done("export", "runs/run", "--to", "huggingface", "--out", "out", folder=tmp_path)
    theirs = loaded(peers.AutoModelForPreTraining, tmp_path / "out")
    tokenizer = peers.AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    assert (tmp_path / "out" / "vocab.txt").exists() == (tokens != "bpe")
    assert tokenizer.convert_ids_to_tokens(range(5)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert tokenizer.mask_token_id == encoder.text.mask == 4
    text = next(encoder.encode(LINES, 9))[1]["input"]
    asked = tokenizer(LINES, padding=True, return_tensors="pt", split_special_tokens=True)
    assert torch.equal(text, asked["input_ids"])
    with torch.no_grad():
        real = text != PAD
        same(ours(text)[real], said(theirs, "BertForPreTraining", asked)[real])
    assert 4 in tokenizer("the small [MASK] waits")["input_ids"], "theirs read the mask from text"
    done("import", "out", "--as", "bert", "--name", "back", folder=tmp_path)
    again, reads, _ = run_in(tmp_path, "back")
    assert reads.text.encode(LINES) == encoder.text.encode(LINES)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in ours.state_dict().items())


def test_numbers_go_out_in_the_users_own_units(peers, tmp_path):
    spec = {"target_names": ("stars",), "target_mean": (3.0,), "target_std": (1.5,)}
    ours, encoder, recipe = ours_in(tmp_path, "labelled", **spec)
    done("export", "runs/run", "--to", "huggingface", "--out", "out", folder=tmp_path)
    theirs = loaded(peers.AutoModelForSequenceClassification, tmp_path / "out")
    assert (theirs.config.problem_type, theirs.config.id2label) == ("regression", {0: "stars"})
    batch = next(encoder.encode(LINES, 9))[1]
    with torch.no_grad():
        same(theirs(**for_them(batch["input"])).logits.double(), recipe.task.predict(ours, batch)["value"].double())


def test_what_they_have_not_is_not_written(tmp_path):
    run = RunFolder.existing(tmp_path / "runs" / "run") if ours_in(tmp_path) else None
    plan = plan_of(run)
    config = replace(plan.recipe.model, ablation="ltr", next_sentence=False)
    run.write_json("recipe.json", replace(plan, recipe=replace(plan.recipe, model=config)))
    run.write_tensors("best.safetensors", bert.Bert(config).state_dict(), {"variant": "bert-tiny"})
    found = typed("export", "runs/run", "--to", "huggingface", "--out", "out", folder=tmp_path)
    assert found.code == 2
    assert "it reads from left to right, or has a BiLSTM on top" in found.err
    assert not (tmp_path / "out").exists()
