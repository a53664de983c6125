"""BERT's modules by the names of Hugging Face's BertModel and of what stands on it there.

They have queries, keys and values in three matrices, the table of tokens and the bias of the words under a second name
each, and the two outputs on sentence pairs the other way round. The authors' own files called the gains and shifts of the
normalisations ``gamma`` and ``beta``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from seminal.papers.bert import EPS, Config
from seminal.weights.keys import PARTS, apart, renamed, together, turned, untied
from seminal.weights.settings import must_be, number, share

PREFIX = "bert."  # of all that is not the head; a BertModel alone comes without it
THEIRS = ("query", "key", "value")  # the parts of `inside`, in its order
COPIES = {  # ours -> a second name of it
    "embeddings.tokens.weight": "cls.predictions.decoder.weight",
    "head.bias": "cls.predictions.decoder.bias",
}
OLD = {".gamma": ".weight", ".beta": ".bias"}
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")  # counters that some files hold
ARCHITECTURES = {
    "class": "BertForSequenceClassification",
    "tags": "BertForTokenClassification",
    "span": "BertForQuestionAnswering",
    "choice": "BertForMultipleChoice",
}
OUTER = {
    "embeddings.tokens": "bert.embeddings.word_embeddings",
    "embeddings.positions": "bert.embeddings.position_embeddings",
    "embeddings.segments": "bert.embeddings.token_type_embeddings",
    "embeddings.norm": "bert.embeddings.LayerNorm",
    "pooler": "bert.pooler.dense",
}
LAYER = {
    # Only the messages read the first of these: three others stand in its place, see `arranged`.
    "attention.inside": "attention.self.{query,key,value}",
    **{f"attention.inside.{ours}": f"attention.self.{theirs}" for ours, theirs in zip(PARTS, THEIRS)},
    "attention.outside": "attention.output.dense",
    "after_attention.norm": "attention.output.LayerNorm",
    "feed_forward.inner": "intermediate.dense",
    "feed_forward.outer": "output.dense",
    "after_feed_forward.norm": "output.LayerNorm",
}
WORDS = {
    "head.dense": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "head.bias": "cls.predictions.bias",
    "head.follows": "cls.seq_relationship",
}


def huggingface(config: Config) -> dict[str, str]:
    """BertForPreTraining, or with another head BertFor…; they have none that reads from left to right, or a BiLSTM."""
    return {} if config.causal or config.read else dict(_huggingface(config))


def _huggingface(config: Config) -> Iterator[tuple[str, str]]:
    yield from OUTER.items()
    for i in range(config.layers):
        yield from ((f"layers.{i}.{ours}", f"{PREFIX}encoder.layer.{i}.{theirs}") for ours, theirs in LAYER.items())
    answer = {"head.linear": "qa_outputs" if config.head == "span" else "classifier"}
    yield from (WORDS if config.head == "words" else answer).items()


def config_from(told: Mapping[str, Any], config: Config) -> Config:
    """Ours, with what their ``config.json`` tells. Raises `UserError` where it tells of another network."""
    must_be(told, {"model_type": ("bert",), "hidden_act": ("gelu",), "position_embedding_type": ("absolute",)})
    must_be(told, {"layer_norm_eps": (EPS,), "type_vocab_size": (2,), "tie_word_embeddings": (True,)})
    must_be(told, {"is_decoder": (False,), "add_cross_attention": (False,)})
    dropout = share(told, "hidden_dropout_prob", 0.1)
    must_be(told, {"classifier_dropout": (None, dropout)})
    return replace(
        config,
        vocabulary=number(told, "vocab_size"),
        layers=number(told, "num_hidden_layers"),
        width=number(told, "hidden_size"),
        inner=number(told, "intermediate_size"),
        heads=number(told, "num_attention_heads"),
        longest=number(told, "max_position_embeddings"),
        dropout=dropout,
        attention_dropout=share(told, "attention_probs_dropout_prob", 0.1),
    )


def config_for(dialect: str, config: Config) -> dict[str, Any]:
    """Their ``config.json`` of our network, but for the special tokens and the names of the classes."""
    words = "BertForPreTraining" if config.next_sentence else "BertForMaskedLM"
    return {
        "model_type": "bert",
        "architectures": [ARCHITECTURES.get(config.head, words)],
        "vocab_size": config.vocabulary,
        "num_hidden_layers": config.layers,
        "hidden_size": config.width,
        "intermediate_size": config.inner,
        "num_attention_heads": config.heads,
        "max_position_embeddings": config.longest,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        "hidden_act": "gelu",
        "layer_norm_eps": EPS,
        "type_vocab_size": 2,
        "tie_word_embeddings": True,
    }


def config_in(state: Mapping[str, Tensor], told: Mapping[str, Any], config: Config) -> Config:
    """``config`` with the head that a file of theirs holds. One `classifier` may be of three kinds: ``architectures`` in
    ``config.json`` tells which; where it does not, a file with a pooler is said to tell the class of a text.

    A file without a head is of a BertModel alone: it is taken as one for the words, whose head it lacks.
    """
    names = {key.removeprefix(PREFIX) for key in state}
    if "embeddings.word_embeddings.weight" not in names:
        return config
    pooler = "pooler.dense.weight" in names
    if "qa_outputs.weight" in names:
        return replace(config, head="span", outputs=2)
    if "classifier.weight" in names:
        known = {theirs: ours for ours, theirs in ARCHITECTURES.items()}
        said = next((known[name] for name in told.get("architectures") or () if name in known), None)
        return replace(config, head=said or ("class" if pooler else "tags"), outputs=len(state["classifier.weight"]))
    follows = "cls.seq_relationship.weight" in names or ("cls.predictions.bias" not in names and pooler)
    return replace(config, head="words", next_sentence=follows)


def arranged(dialect: str, state: Mapping[str, Tensor], config: Config, *, back: bool) -> dict[str, Tensor]:
    """``state``, under our names, in our shapes; ``back``: from ours to theirs, with all that their state dict holds."""
    if back:
        found = apart(_turned_round(state))
        return found | {theirs: found[ours] for ours, theirs in COPIES.items() if config.head == "words"}
    found = {_modern(key): value for key, value in state.items() if not key.endswith(BUFFERS)}
    alone = {ours: theirs.removeprefix(PREFIX) for ours, theirs in huggingface(config).items()}
    found = _turned_round(together(renamed(found, turned(alone))))
    for ours, copy in COPIES.items():
        found = untied(found, ours, [copy])
    return found


def _turned_round(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With the outputs "does not follow" and "follows" in the other order."""
    return {key: value.flip(0) if key.startswith("head.follows.") else value for key, value in state.items()}


def _modern(key: str) -> str:
    """The name of an entry, where a file has it under the authors' own."""
    return next((key.removesuffix(old) + new for old, new in OLD.items() if key.endswith(old)), key)
