"""BERT beside Hugging Face's on the same random weights, both ways and with every head; their names and settings."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from peers import shaken
from seminal.core import UserError
from seminal.papers import bert
from seminal.papers.bert import Bert
from seminal.pieces.measure import on_meta
from seminal.pieces.packing import Packing
from seminal.pieces.tokens import BEGIN, END, PAD
from seminal.weights.bert import config_for, config_in
from seminal.weights.matching import config_from, dialects, fit, to_ours, to_theirs

pytestmark = pytest.mark.usefixtures("one_thread")

V, PLACES = 41, 24
SMALL = replace(bert.BASE, vocabulary=V, layers=3, width=24, inner=40, heads=4, longest=PLACES)
HEADS = {
    "BertForPreTraining": SMALL,
    "BertForMaskedLM": replace(SMALL, next_sentence=False),
    "BertForSequenceClassification": replace(SMALL, head="class", outputs=5),
    "BertForTokenClassification": replace(SMALL, head="tags", outputs=6),
    "BertForQuestionAnswering": replace(SMALL, head="span", outputs=2),
    "BertForMultipleChoice": replace(SMALL, head="choice", outputs=1),
}


@pytest.fixture(scope="module")
def peers():
    return pytest.importorskip("transformers", reason="transformers is not installed: no peer to compare with")


def peer(peers, name, config=SMALL):
    sizes = config_for("huggingface", config) | {"num_labels": config.outputs}
    return shaken(getattr(peers, name)(peers.BertConfig(**sizes)))


def texts():
    """(3, 14): a pair, a shorter pair with padding, and one text with more."""
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(4, V, (3, 14), generator=generator)
    text[:, 0], text[0, 7], text[0, 13], text[1, 3], text[1, 9], text[2, 5] = BEGIN, END, END, END, END, END
    text[1, 10:], text[2, 6:] = PAD, PAD
    return text


def for_them(text):
    """Their three inputs, by the definition: the second segment begins after the first end."""
    segments = torch.zeros_like(text)
    for row, tokens in enumerate(text.tolist()):
        first = tokens.index(END)
        for place, token in enumerate(tokens):
            segments[row, place] = int(place > first and token != PAD)
    return {"input_ids": text, "attention_mask": (text != PAD).long(), "token_type_ids": segments}


def agree(one, other):
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def both(ours, theirs):
    """Every hidden state, and every output, of both."""
    text = texts()
    real, asked = text != PAD, for_them(text)
    if ours.config.head == "choice":
        asked = {name: values[None] for name, values in asked.items()}
    said = theirs(**asked, output_hidden_states=True)
    for one, other in zip(ours.states(text, Packing.of(text)), said.hidden_states, strict=True):
        agree(one, other[real])
    head = ours.config.head
    if head == "words":
        words, follows = ours(text, real)
        agree(words, (said.prediction_logits if ours.config.next_sentence else said.logits)[real])
        agree(ours(text)[real], words)
        if ours.config.next_sentence:  # theirs: 0 is "follows"; ours: 1
            agree(follows[:, 1], said.seq_relationship_logits[:, 0])
            agree(follows[:, 0], said.seq_relationship_logits[:, 1])
    elif head == "span":
        agree(ours(text)[real], torch.stack([said.start_logits, said.end_logits], dim=-1)[real])
    elif head == "tags":
        agree(ours(text)[real], said.logits[real])
    else:
        agree(ours(text[None] if head == "choice" else text), said.logits)


@pytest.mark.parametrize("name", HEADS)
def test_every_head_says_the_same_both_ways(peers, name):
    config = HEADS[name]
    theirs, ours = peer(peers, name, config), Bert(config).eval()
    found = fit(theirs.state_dict(), ours, "bert", config)
    assert (found.dialect, found.fits) == ("huggingface", True), found.told()
    ours.load_state_dict(found.state)
    both(ours, theirs)
    ours = shaken(Bert(config), seed=5)
    theirs.load_state_dict(to_theirs("huggingface", ours.state_dict(), "bert", config), strict=True)
    both(ours, theirs)


@pytest.mark.parametrize("name", HEADS)
def test_there_and_back_is_the_same(name):
    ours = shaken(Bert(HEADS[name])).state_dict()
    theirs = to_theirs("huggingface", ours, "bert", HEADS[name])
    assert not set(theirs) & set(ours)
    back = to_ours("huggingface", theirs, "bert", HEADS[name])
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[key], value) for key, value in ours.items())


@pytest.mark.parametrize("variant", ["bert-tiny", "bert-base", "bert-large"])
def test_whole_networks_have_their_names_and_shapes(peers, variant):
    config = bert.VARIANTS[variant]
    with torch.device("meta"):
        theirs = peers.BertForPreTraining(peers.BertConfig(**config_for("huggingface", config))).state_dict()
    ours = on_meta(Bert, config)
    given = to_theirs("huggingface", ours.state_dict(), "bert", config)
    assert {k: tuple(v.shape) for k, v in given.items()} == {k: tuple(v.shape) for k, v in theirs.items()}
    assert fit(theirs, ours, "bert", config).fits


@pytest.mark.parametrize("name", ["BertModel", *HEADS])
def test_the_file_and_its_settings_tell_the_network(peers, name):
    config = HEADS.get(name, SMALL)
    theirs = peer(peers, name, config)
    told = theirs.config.to_dict() | {"architectures": [name]}
    found = config_in(theirs.state_dict(), told, config_from(told, "bert", bert.VARIANTS["bert-tiny"]))
    assert found == config
    if name != "BertForMultipleChoice":  # such a file looks as that of a regression does
        assert config_in(theirs.state_dict(), {}, SMALL) == config


def test_a_bare_encoder_lacks_a_head_alone(peers):
    theirs, ours = peer(peers, "BertModel"), Bert(SMALL).eval()
    found = fit(theirs.state_dict(), ours, "bert", SMALL)
    assert (found.dialect, found.unexpected, found.misshaped) == ("huggingface", (), {})
    assert found.missing
    assert all(key.startswith("head.") for key in found.missing)
    ours.load_state_dict(found.state, strict=False)
    text, asked = texts(), for_them(texts())
    with torch.no_grad():
        said = theirs(**asked, output_hidden_states=True)
        rows = Packing.of(text)
        for one, other in zip(ours.states(text, rows), said.hidden_states, strict=True):
            agree(one, other[text != PAD])
        agree(ours.pooled(ours.states(text, rows)[-1], rows), said.pooler_output)


def test_the_authors_own_names_are_read(peers):
    """Gains and shifts by their old names, counters of places, no second copies."""
    theirs = peer(peers, "BertForPreTraining")
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    file = {}
    for key, value in theirs.state_dict().items():
        for new, name in old.items():
            key = key.replace(new, name)
        file[key] = value
    assert sum(".gamma" in key for key in file) == 2 * SMALL.layers + 2
    file |= {"bert.embeddings.position_ids": torch.arange(PLACES)[None]}
    file = {key: value for key, value in file.items() if not key.startswith("cls.predictions.decoder")}
    ours = Bert(SMALL).eval()
    found = fit(file, ours, "bert", SMALL)
    assert found.fits, found.told()
    ours.load_state_dict(found.state)
    both(ours, theirs)


def test_what_ours_cannot_say_is_named():
    file = to_theirs("huggingface", shaken(Bert(SMALL)).state_dict(), "bert", SMALL)
    ours = Bert(SMALL)
    untied = file | {"cls.predictions.decoder.weight": file["cls.predictions.decoder.weight"] + 1}
    assert fit(untied, ours, "bert", SMALL).unexpected == ("cls.predictions.decoder.weight",)
    biased = file | {"cls.predictions.decoder.bias": file["cls.predictions.decoder.bias"] + 1}
    assert fit(biased, ours, "bert", SMALL).unexpected == ("cls.predictions.decoder.bias",)
    lacking = {key: value for key, value in file.items() if "layer.1.attention.self.key" not in key}
    said = fit(lacking, ours, "bert", SMALL, "huggingface").told()
    assert "the file lacks bert.encoder.layer.1.attention.self.{query,key,value}.weight" in said
    deeper = fit(file | {"bert.encoder.layer.3.output.dense.bias": torch.ones(24)}, ours, "bert", SMALL)
    assert deeper.unexpected == ("bert.encoder.layer.3.output.dense.bias",)


def test_networks_that_they_have_not_get_no_names():
    """What is to be read by a BiLSTM is the same network until it has one."""
    for name in ("ltr", "ltr+bilstm"):
        assert dialects("bert", replace(SMALL, ablation=name, next_sentence=False)) == {}
    for name in ("features", "features-sum"):
        assert dialects("bert", replace(SMALL, ablation=name)) == dialects("bert", SMALL)
        assert dialects("bert", replace(SMALL, ablation=name, head="tags")) == {}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("model_type", "roberta"),
        ("hidden_act", "relu"),
        ("hidden_act", "gelu_new"),
        ("position_embedding_type", "relative_key"),
        ("layer_norm_eps", 1e-5),
        ("type_vocab_size", 3),
        ("is_decoder", True),
        ("tie_word_embeddings", False),
        ("classifier_dropout", 0.3),
        ("num_hidden_layers", "two"),
    ],
)
def test_other_networks_are_refused(setting, value):
    told = config_for("huggingface", SMALL)
    assert config_from(told, "bert", bert.BASE) == SMALL
    with pytest.raises(UserError, match=f"`{setting}`.*{value}"):
        config_from(told | {setting: value}, "bert", bert.BASE)
