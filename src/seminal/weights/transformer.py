"""The Transformer's modules by the names of Hugging Face's Marian, and of torch.nn.Transformer.

Neither is the paper's network: both have biases in the projections of attention; Marian has all sines before all cosines;
torch normalises once more at the end of each half. `Config` can say all of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from seminal.papers.transformer import Config, Embedding
from seminal.weights.keys import PARTS, apart, together, untied
from seminal.weights.settings import must_be, number, share

THEIRS = ("q_proj", "k_proj", "v_proj")  # the parts of `inside`, in its order
TABLE = "encoder.embedding.tokens.weight"
COPIES = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
PLACES = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")  # sinusoids
BIAS = "final_logits_bias"  # of the logits, which the Transformer has not
ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "swish": "silu", "silu": "silu"}  # their name -> ours


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
                yield from ((f"{mine}.{kind}.inside.{p}", f"{theirs}.{name}.{q}") for p, q in zip(PARTS, THEIRS))
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


def config_from(told: Mapping[str, Any], config: Config) -> Config:
    """Ours, with what a ``config.json`` tells: Marian's, or the arguments of torch.nn.Transformer. Raises `UserError`
    where it tells of another network."""
    return _from_torch(told, config) if "nhead" in told else _from_marian(told, config)


def _from_marian(told: Mapping[str, Any], config: Config) -> Config:
    must_be(told, {"model_type": ("marian",), "activation_function": tuple(ACTIVATIONS)})
    both = {name: number(told, f"encoder_{name}") for name in ("layers", "ffn_dim", "attention_heads")}
    must_be(told, {f"decoder_{name}": (size,) for name, size in both.items()})
    layers, inner, heads = both.values()
    tokens, width = number(told, "vocab_size"), number(told, "d_model")
    must_be(told, {"decoder_vocab_size": (tokens, None), "scale_embedding": (True,), "normalize_before": (False,)})
    must_be(told, {"share_encoder_decoder_embeddings": (True,), "static_position_embeddings": (True,)})
    dropout = share(told, "dropout", 0.1)
    must_be(told, {"attention_dropout": (0.0,), "activation_dropout": (0.0,)})
    places = number(told, "max_position_embeddings")
    found = replace(config, layers=layers, width=width, inner=inner, heads=heads, key=width // heads, dropout=dropout)
    found = replace(found, vocabulary=tokens, positions="halves", biases=True, norm="post", longest=places)
    return replace(found, activation=ACTIVATIONS[told["activation_function"]])


def _from_torch(told: Mapping[str, Any], config: Config) -> Config:
    layers, width, heads = number(told, "num_encoder_layers"), number(told, "d_model"), number(told, "nhead")
    must_be(told, {"num_decoder_layers": (layers,), "activation": ("relu", "gelu"), "norm_first": (True, False)})
    must_be(told, {"layer_norm_eps": (1e-5,), "bias": (True,)})
    norm = "pre" if told.get("norm_first", False) else "post+final"
    found = replace(config, layers=layers, width=width, heads=heads, key=width // heads, norm=norm, biases=True)
    inner, activation = number(told, "dim_feedforward"), told.get("activation", "relu")
    return replace(found, inner=inner, activation=activation, dropout=share(told, "dropout", 0.1))


def config_for(dialect: str, config: Config) -> dict[str, Any]:
    """Their ``config.json`` of our network, but for the special tokens; for torch the arguments of its constructor."""
    if dialect == "torch_transformer":
        return {
            "d_model": config.width,
            "nhead": config.heads,
            "num_encoder_layers": config.layers,
            "num_decoder_layers": config.layers,
            "dim_feedforward": config.inner,
            "dropout": config.dropout,
            "activation": config.activation,
            "norm_first": config.norm == "pre",
        }
    sizes = {"layers": config.layers, "ffn_dim": config.inner, "attention_heads": config.heads}
    return {
        "model_type": "marian",
        "architectures": ["MarianMTModel"],
        "vocab_size": config.vocabulary,
        "decoder_vocab_size": config.vocabulary,
        "d_model": config.width,
        **{f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in sizes.items()},
        "activation_function": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == config.activation),
        "max_position_embeddings": config.longest,
        "dropout": config.dropout,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "scale_embedding": True,
        "static_position_embeddings": True,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
    }


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
    return together(found)


def _apart(state: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    found, table = apart(state), state[TABLE]
    waves = Embedding(replace(config, vocabulary=1), sides=1).waves
    found |= dict.fromkeys(COPIES, table) | dict.fromkeys(PLACES, waves)
    return found | {BIAS: table.new_zeros(1, len(table))}
