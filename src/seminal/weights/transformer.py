"""The Transformer's modules by the names of Hugging Face's Marian, and of torch.nn.Transformer.

Neither is the paper's network: both have biases in the projections of attention; Marian has all sines before all cosines;
torch normalises once more at the end of each half. `Config` can say all of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from seminal.papers.transformer import Config, Embedding
from seminal.weights.keys import untied

PARTS = {"queries": "q_proj", "keys": "k_proj", "values": "v_proj"}  # the parts of `inside`, in its order
TABLE = "encoder.embedding.tokens.weight"
COPIES = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
PLACES = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")  # sinusoids
BIAS = "final_logits_bias"  # of the logits, which the Transformer has not


def marian(config: Config) -> dict[str, str]:
    """MarianMTModel with one vocabulary. Each layer of a decoder has an attention more; what is called final there is the
    normalisation after the feed-forward network."""
    if config.norm != "post" or config.positions != "halves" or not _usual(config):
        return {}
    return dict(_marian(config))


def _marian(config: Config) -> Iterator[tuple[str, str]]:
    yield TABLE.removesuffix(".weight"), "model.shared"
    for ours, side in (("encoder.layers", "encoder"), ("decoder", "decoder")):
        kinds = {"attention": "self_attn", "cross": "encoder_attn"}
        for i in range(config.layers):
            mine, theirs = f"{ours}.{i}", f"model.{side}.layers.{i}"
            for kind, name in list(kinds.items())[: 1 if side == "encoder" else 2]:
                # Only the messages read the first of these: the three others stand in its place, see `arranged`.
                yield f"{mine}.{kind}.inside", f"{theirs}.{name}.{{q,k,v}}_proj"
                yield from ((f"{mine}.{kind}.inside.{p}", f"{theirs}.{name}.{q}") for p, q in PARTS.items())
                yield f"{mine}.{kind}.outside", f"{theirs}.{name}.out_proj"
                yield f"{mine}.after_{kind}.norm", f"{theirs}.{name}_layer_norm"
            yield f"{mine}.feed_forward.inner", f"{theirs}.fc1"
            yield f"{mine}.feed_forward.outer", f"{theirs}.fc2"
            yield f"{mine}.after_feed_forward.norm", f"{theirs}.final_layer_norm"


def torch_transformer(config: Config) -> dict[str, str]:
    """torch.nn.Transformer, which normalises at the end of each half. It has no embeddings: ours are beside it, as
    `embedding` and, where they are learned, `positions`."""
    if config.norm == "post" or config.activation == "silu" or not _usual(config):
        return {}
    return dict(_torch(config))


def _torch(config: Config) -> Iterator[tuple[str, str]]:
    yield TABLE.removesuffix(".weight"), "embedding"
    yield "encoder.embedding.learned", "positions"
    for ours, side in (("encoder.layers", "encoder"), ("decoder", "decoder")):
        kinds = {"attention": "self_attn"} | ({"cross": "multihead_attn"} if side == "decoder" else {})
        for i in range(config.layers):
            mine, theirs = f"{ours}.{i}", f"{side}.layers.{i}"
            for n, (kind, name) in enumerate(kinds.items(), start=1):
                yield from (
                    (f"{mine}.{kind}.inside.{leaf}", f"{theirs}.{name}.in_proj_{leaf}") for leaf in ("weight", "bias")
                )
                yield f"{mine}.{kind}.outside", f"{theirs}.{name}.out_proj"
                yield f"{mine}.after_{kind}.norm", f"{theirs}.norm{n}"
            yield f"{mine}.feed_forward.inner", f"{theirs}.linear1"
            yield f"{mine}.feed_forward.outer", f"{theirs}.linear2"
            yield f"{mine}.after_feed_forward.norm", f"{theirs}.norm{len(kinds) + 1}"
    yield from (("encoder.norm", "encoder.norm"), ("norm", "decoder.norm"))


def _usual(config: Config) -> bool:
    """Both have biases everywhere, and keys as wide as values."""
    return config.biases and config.key == config.value


def arranged(dialect: str, state: Mapping[str, Tensor], config: Config, *, back: bool) -> dict[str, Tensor]:
    """``state``, under our names, with queries, keys and values in one matrix; ``back``: from ours to Marian's three, with
    all that its state dict holds beside them."""
    if dialect != "marian":
        return dict(state)
    return _apart(state, config) if back else _together(state)


def _together(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = untied(state, TABLE, COPIES)
    found = {key: value for key, value in found.items() if key not in PLACES}
    if BIAS in found and (found[BIAS].is_meta or not bool(found[BIAS].any())):
        del found[BIAS]  # one with numbers stays, and is named by whoever checks the result
    for key in [key for key in found if ".inside.queries." in key]:
        names = [key.replace(".queries.", f".{part}.") for part in PARTS]
        parts = [found[name] for name in names if name in found]
        if len(parts) == len(PARTS) and len({part.shape for part in parts}) == 1:
            found[key.replace(".queries.", ".")] = torch.cat(parts)
            found = {name: value for name, value in found.items() if name not in names}
    return found


def _apart(state: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        before, inside, leaf = key.rpartition(".inside.")
        if inside:
            found |= {f"{before}.inside.{p}.{leaf}": v.contiguous() for p, v in zip(PARTS, value.chunk(len(PARTS)))}
        else:
            found[key] = value
    table = found[TABLE]
    waves = Embedding(replace(config, vocabulary=1), sides=1).waves
    found |= dict.fromkeys(COPIES, table) | dict.fromkeys(PLACES, waves)
    return found | {BIAS: table.new_zeros(1, len(table))}
