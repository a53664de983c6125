"""GPT-2's modules by Hugging Face's names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from seminal.papers.gpt2 import Config
from seminal.weights.gpt import PREFIX, layers_of, shaped


def huggingface(config: Config) -> dict[str, str]:
    """GPT2LMHeadModel."""
    outer = {"tokens": f"{PREFIX}wte", "positions": f"{PREFIX}wpe", "norm": f"{PREFIX}ln_f"}
    return outer | layers_of(config.layers)


def arranged(dialect: str, state: Mapping[str, Tensor], config: Config, *, back: bool) -> dict[str, Tensor]:
    """``state``, under our names, with its matrices in our shape; ``back``: from ours to theirs, with the head."""
    return shaped(state, huggingface(config), back=back)
