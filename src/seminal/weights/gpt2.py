"""GPT-2's modules by Hugging Face's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from seminal.papers.gpt2 import Config
from seminal.weights.gpt import PREFIX, layers_of, settings, shaped, sizes
from seminal.weights.settings import must_be, number


def huggingface(config: Config) -> dict[str, str]:
    """GPT2LMHeadModel, which has no tokens beside its vocabulary."""
    if config.head != "words":
        return {}
    outer = {"tokens": f"{PREFIX}wte", "positions": f"{PREFIX}wpe", "norm": f"{PREFIX}ln_f"}
    return outer | layers_of(config.layers)


def config_from(told: Mapping[str, Any], config: Config) -> Config:
    """Ours, with what their ``config.json`` tells. Raises `UserError` where it tells of another network."""
    must_be(told, {"model_type": ("gpt2",), "activation_function": ("gelu_new", "gelu_pytorch_tanh")})
    inner = told.get("n_inner") or 4 * number(told, "n_embd")
    must_be({"n_inner": inner}, {"n_inner": (4 * number(told, "n_embd"),)})
    plain = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False}
    must_be(told, {name: (value,) for name, value in plain.items()})
    return replace(config, **sizes(told))


def config_for(dialect: str, config: Config) -> dict[str, Any]:
    """Their ``config.json`` of our network, but for the special tokens."""
    kind = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "activation_function": "gelu_new"}
    return kind | settings(config)


def arranged(dialect: str, state: Mapping[str, Tensor], config: Config, *, back: bool) -> dict[str, Tensor]:
    """``state``, under our names, with its matrices in our shape; ``back``: from ours to theirs, with the head."""
    return shaped(state, huggingface(config), back=back)
