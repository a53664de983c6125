"""GPT's modules by the names of Hugging Face's OpenAI GPT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from seminal.papers.gpt import Config
from seminal.weights.keys import renamed, turned, untied
from seminal.weights.settings import must_be, number, share

PREFIX = "transformer."  # of all that is not the head; the published files come without it
HEAD = "lm_head.weight"  # a second name of the embeddings
BUFFERS = (".attn.bias", ".attn.masked_bias")  # masks that older files hold
# Their linear maps keep the weight as (inputs, outputs), and torch's as (outputs, inputs).
TURNED = ("attention.inside.weight", "attention.outside.weight", "inner.weight", "outer.weight")
LAYER = {
    "attention.inside": "attn.c_attn",
    "attention.outside": "attn.c_proj",
    "after_attention.norm": "ln_1",
    "inner": "mlp.c_fc",
    "outer": "mlp.c_proj",
    "after_feed_forward.norm": "ln_2",
}


def huggingface(config: Config) -> dict[str, str]:
    """OpenAIGPTLMHeadModel, whose inner width is four times the width. It has no tokens beside its vocabulary."""
    if config.norm != "post" or config.inner != 4 * config.width or config.head != "words":
        return {}
    return {"tokens": f"{PREFIX}tokens_embed", "positions": f"{PREFIX}positions_embed"} | layers_of(config.layers)


def config_from(told: Mapping[str, Any], config: Config) -> Config:
    """Ours, with what their ``config.json`` tells. Raises `UserError` where it tells of another network."""
    must_be(told, {"model_type": ("openai-gpt",), "afn": ("gelu",)})
    width = number(told, "n_embd")
    return replace(config, inner=4 * width, norm="post", **sizes(told))


def sizes(told: Mapping[str, Any]) -> dict[str, Any]:
    """What GPT and GPT-2 have in common."""
    must_be(told, {"layer_norm_epsilon": (1e-5,), "tie_word_embeddings": (True,)})
    dropout, embedded = share(told, "resid_pdrop", 0.1), share(told, "embd_pdrop", 0.1)
    must_be({"embd_pdrop": embedded}, {"embd_pdrop": (dropout,)})
    return {
        "vocabulary": number(told, "vocab_size"),
        "layers": number(told, "n_layer"),
        "width": number(told, "n_embd"),
        "heads": number(told, "n_head"),
        "longest": number(told, "n_positions"),
        "dropout": dropout,
        "attention_dropout": share(told, "attn_pdrop", 0.1),
    }


def config_for(dialect: str, config: Config) -> dict[str, Any]:
    """Their ``config.json`` of our network, but for the special tokens."""
    return {"model_type": "openai-gpt", "architectures": ["OpenAIGPTLMHeadModel"], "afn": "gelu"} | settings(config)


def settings(config: Any) -> dict[str, Any]:
    """`sizes`, the other way."""
    return {
        "vocab_size": config.vocabulary,
        "n_layer": config.layers,
        "n_embd": config.width,
        "n_head": config.heads,
        "n_positions": config.longest,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.attention_dropout,
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
    }


def layers_of(count: int) -> dict[str, str]:
    """The layers, which GPT-2 calls by the same names."""
    return {f"layers.{i}.{ours}": f"{PREFIX}h.{i}.{theirs}" for i in range(count) for ours, theirs in LAYER.items()}


def arranged(dialect: str, state: Mapping[str, Tensor], config: Config, *, back: bool) -> dict[str, Tensor]:
    """``state``, under our names, with its matrices in our shape; ``back``: from ours to theirs, with the head."""
    return shaped(state, huggingface(config), back=back)


def shaped(state: Mapping[str, Tensor], names: Mapping[str, str], *, back: bool) -> dict[str, Tensor]:
    """`arranged` for any network with these names, GPT-2 among them."""
    if back:
        found = {key: _turned(key, value) for key, value in state.items()}
        return found | {HEAD: state["tokens.weight"]}
    published = {ours: theirs.removeprefix(PREFIX) for ours, theirs in names.items()}
    found = renamed(state, turned(published))
    found = {key: _turned(key, value) for key, value in found.items() if not key.endswith(BUFFERS)}
    return untied(found, "tokens.weight", [HEAD])


def _turned(key: str, value: Tensor) -> Tensor:
    """A tensor of another shape does not belong to this network: it is named by whoever checks the result."""
    return value.T.contiguous() if key.endswith(TURNED) and value.dim() == 2 else value
