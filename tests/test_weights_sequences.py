"""Sequence models beside Hugging Face's and torch's own on the same random weights, both ways; names of whole networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from peers import shaken
from seminal.papers import gpt, gpt2, transformer
from seminal.pieces.measure import on_meta
from seminal.pieces.tokens import PAD
from seminal.weights.matching import dialects, fit, to_ours, to_theirs

pytestmark = pytest.mark.usefixtures("one_thread")

V, D, H, N, INNER, PLACES = 41, 24, 4, 2, 96, 50
GPT = replace(gpt.BASE, vocabulary=V, layers=N, width=D, inner=INNER, heads=H, longest=PLACES)
GPT2 = replace(gpt2.BASE, vocabulary=V, layers=N, width=D, heads=H, longest=PLACES)
SMALL = replace(transformer.BASE, vocabulary=V, layers=N, width=D, inner=INNER, heads=H, key=D // H, biases=True)
MARIAN = replace(SMALL, positions="halves", longest=PLACES, activation="silu")
NAMES = {"relu": "relu", "silu": "swish", "gelu": "gelu"}  # of activations, at Hugging Face


@pytest.fixture(scope="module")
def peers():
    return pytest.importorskip("transformers", reason="transformers is not installed: no peer to compare with")


def text(rows, count, seed=1):
    return torch.randint(4, V, (rows, count), generator=torch.Generator().manual_seed(seed))


def agree(one, other):
    with torch.no_grad():
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def language_peer(peers, paper, config):
    """Theirs for one of our language models."""
    if paper == "gpt":
        sizes = peers.OpenAIGPTConfig(
            vocab_size=config.vocabulary, n_positions=config.longest, n_embd=config.width, n_layer=config.layers,
            n_head=config.heads,
        )  # fmt: skip
        return peers.OpenAIGPTLMHeadModel(sizes).eval()
    sizes = peers.GPT2Config(
        vocab_size=config.vocabulary, n_positions=config.longest, n_embd=config.width, n_layer=config.layers,
        n_head=config.heads,
    )  # fmt: skip
    return peers.GPT2LMHeadModel(sizes).eval()


def marian_peer(peers, config):
    sizes = peers.MarianConfig(
        vocab_size=config.vocabulary, max_position_embeddings=config.longest, d_model=config.width,
        encoder_layers=config.layers, decoder_layers=config.layers, encoder_ffn_dim=config.inner,
        decoder_ffn_dim=config.inner, encoder_attention_heads=config.heads, decoder_attention_heads=config.heads,
        activation_function=NAMES[config.activation], scale_embedding=True, static_position_embeddings=True,
        pad_token_id=PAD, decoder_start_token_id=PAD, eos_token_id=3,
    )  # fmt: skip
    return peers.MarianMTModel(sizes).eval()


class TorchPeer(nn.Module):
    """torch.nn.Transformer, and what it leaves to its user: embeddings, sinusoids, masks, the last linear map."""

    def __init__(self, config):
        super().__init__()
        self.transformer = nn.Transformer(
            config.width, config.heads, config.layers, config.layers, config.inner, config.dropout, config.activation,
            batch_first=True, norm_first=config.norm == "pre",
        )  # fmt: skip
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.waves = transformer.Embedding(config, sides=1).waves

    def forward(self, source, target):
        read, say = (self.embedding(x) * D**0.5 + self.waves[: x.shape[1]] for x in (source, target))
        future = nn.Transformer.generate_square_subsequent_mask(target.shape[1]).isinf()
        hidden = source == PAD
        found = self.transformer(
            read, say, tgt_mask=future, src_key_padding_mask=hidden, memory_key_padding_mask=hidden, tgt_is_causal=True
        )
        return found @ self.embedding.weight.T

    def names(self):
        """The state dict of nn.Transformer itself, and the embeddings beside it."""
        return {key.removeprefix("transformer."): value for key, value in self.state_dict().items()}


# ------------------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize(("paper", "build", "config"), [("gpt", gpt.GPT, GPT), ("gpt2", gpt2.build, GPT2)])
def test_language_models_equal_hugging_face_both_ways(peers, paper, build, config):
    theirs, ours = shaken(language_peer(peers, paper, config)), build(config).eval()
    found = fit(theirs.state_dict(), ours, paper, config)
    assert (found.dialect, found.fits) == ("huggingface", True), found.told()
    ours.load_state_dict(found.state)
    read = text(3, 20)
    agree(ours(read), theirs(read).logits)
    ours = shaken(build(config), seed=5)
    theirs.load_state_dict(to_theirs("huggingface", ours.state_dict(), paper, config), strict=True)
    agree(ours(read), theirs(read).logits)


@pytest.mark.parametrize("activation", ["silu", "relu", "gelu"])
def test_the_transformer_equals_marian_both_ways(peers, activation):
    config = replace(MARIAN, activation=activation)
    theirs, ours = shaken(marian_peer(peers, config)), transformer.Transformer(config).eval()
    found = fit(theirs.state_dict(), ours, "transformer", config)
    assert (found.dialect, found.fits) == ("marian", True), found.told()
    ours.load_state_dict(found.state)
    source, target = text(3, 9), text(3, 12, seed=2)
    source[0, 5:] = PAD  # rows of several lengths

    def both():
        said = theirs(input_ids=source, attention_mask=(source != PAD).long(), decoder_input_ids=target)
        agree(ours(source, target), said.logits)

    both()
    ours = shaken(transformer.Transformer(config), seed=5)
    theirs.load_state_dict(to_theirs("marian", ours.state_dict(), "transformer", config), strict=True)
    both()


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("norm", ["post+final", "pre"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_transformer_equals_torchs_both_ways(norm, activation):
    config = replace(SMALL, norm=norm, activation=activation)
    torch.manual_seed(0)
    theirs, ours = shaken(TorchPeer(config)), transformer.Transformer(config).eval()
    found = fit(theirs.names(), ours, "transformer", config)
    assert (found.dialect, found.fits) == ("torch_transformer", True), found.told()
    ours.load_state_dict(found.state)
    source, target = text(3, 9), text(3, 12, seed=2)
    source[0, 5:] = PAD
    agree(ours(source, target), theirs(source, target))
    ours = shaken(transformer.Transformer(config), seed=5)
    state = to_theirs("torch_transformer", ours.state_dict(), "transformer", config)
    theirs.embedding.weight.data.copy_(state.pop("embedding.weight"))
    theirs.transformer.load_state_dict(state, strict=True)
    agree(ours(source, target), theirs(source, target))


# ------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(("paper", "variant"), [("gpt", "gpt"), ("gpt2", "gpt2"), ("gpt2", "gpt2-medium")])
def test_whole_networks_have_their_names_and_shapes(peers, paper, variant):
    card = {"gpt": gpt, "gpt2": gpt2}[paper].PAPER
    config = card.variants[variant]
    with torch.device("meta"):
        theirs = language_peer(peers, paper, config).state_dict()
    ours = on_meta(card.build, config)
    given = to_theirs("huggingface", ours.state_dict(), paper, config)
    assert {k: tuple(v.shape) for k, v in given.items()} == {k: tuple(v.shape) for k, v in theirs.items()}
    assert fit(theirs, ours, paper, config).fits


@pytest.mark.parametrize(
    ("dialect", "paper", "build", "config"),
    [
        ("huggingface", "gpt", gpt.GPT, GPT),
        ("huggingface", "gpt2", gpt2.build, GPT2),
        ("marian", "transformer", transformer.Transformer, MARIAN),
        ("torch_transformer", "transformer", transformer.Transformer, replace(SMALL, norm="post+final")),
        ("torch_transformer", "transformer", transformer.Transformer, replace(SMALL, norm="pre", positions="learned")),
    ],
)
def test_there_and_back_is_the_same(dialect, paper, build, config):
    ours = shaken(build(config)).state_dict()
    theirs = to_theirs(dialect, ours, paper, config)
    assert not set(theirs) & (set(ours) - {"encoder.norm.weight", "encoder.norm.bias"})
    back = to_ours(dialect, theirs, paper, config)
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[key], value) for key, value in ours.items())


def test_published_files_are_read(peers):
    """They come without the prefix, with masks as buffers, and without a second copy of the embeddings."""
    for paper, build, config in (("gpt", gpt.GPT, GPT), ("gpt2", gpt2.build, GPT2)):
        theirs = shaken(language_peer(peers, paper, config))
        file = {key.removeprefix("transformer."): value for key, value in theirs.state_dict().items()}
        del file["lm_head.weight"]
        file |= {f"h.{i}.attn.bias": torch.ones(1, 1, PLACES, PLACES) for i in range(N)}
        file |= {f"h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(N)}
        ours = build(config).eval()
        found = fit(file, ours, paper, config)
        assert found.fits, found.told()
        ours.load_state_dict(found.state)
        agree(ours(text(2, 9)), theirs(text(2, 9)).logits)


def test_what_ours_cannot_say_is_named():
    """A head of its own, a bias of the logits, a part that is missing: none is dropped in silence."""
    ours = shaken(gpt2.build(GPT2))
    file = to_theirs("huggingface", ours.state_dict(), "gpt2", GPT2)
    untied = file | {"lm_head.weight": file["lm_head.weight"] + 1}
    assert fit(untied, ours, "gpt2", GPT2, "huggingface").unexpected == ("lm_head.weight",)
    headless = {key: value for key, value in file.items() if "wte" not in key}
    assert fit(headless, ours, "gpt2", GPT2).fits  # the head's copy serves
    lacking = {key: value for key, value in file.items() if "h.1.attn.c_attn.weight" not in key}
    assert "the file lacks transformer.h.1.attn.c_attn.weight" in fit(lacking, ours, "gpt2", GPT2, "huggingface").told()

    ours = shaken(transformer.Transformer(MARIAN))
    file = to_theirs("marian", ours.state_dict(), "transformer", MARIAN)
    biased = file | {"final_logits_bias": torch.ones(1, V)}
    assert "the model has no final_logits_bias" in fit(biased, ours, "transformer", MARIAN, "marian").told()
    lacking = {key: value for key, value in file.items() if "encoder.layers.0.self_attn.k_proj" not in key}
    said = fit(lacking, ours, "transformer", MARIAN, "marian").told()
    assert "the file lacks model.encoder.layers.0.self_attn.{q,k,v}_proj.weight" in said
    strange = {key: value[:1] if "k_proj" in key else value for key, value in file.items()}
    assert not fit(strange, ours, "transformer", MARIAN, "marian").fits


def test_networks_that_the_peers_have_not_get_no_names():
    assert dialects("transformer", transformer.BASE) == {}  # neither has projections without biases
    assert set(dialects("transformer", MARIAN)) == {"marian"}
    assert dialects("transformer", replace(MARIAN, norm="pre")) == {}
    assert set(dialects("transformer", replace(SMALL, norm="pre"))) == {"torch_transformer"}
    assert dialects("transformer", replace(SMALL, norm="pre", key=5)) == {}
    assert dialects("gpt", replace(GPT, norm="pre")) == {}
    assert dialects("gpt", replace(GPT, inner=7)) == {}
