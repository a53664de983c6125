"""What comes in with the weights of a model that reads every form of text: the form that its head was made for, and what
its outputs are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from seminal.core import DataSpec, Masking, UserError
from seminal.data.choices import ChoicesEncoder
from seminal.data.documents import DocumentEncoder
from seminal.data.labelled import LabelledEncoder
from seminal.data.questions import QuestionEncoder
from seminal.data.tagged import TaggedEncoder
from seminal.data.text_rows import TextEncoder
from seminal.data.vocabulary import Vocabulary
from seminal.papers.bert import HEADS
from seminal.weights.matching import Fit

FORMS = {head: form for form, head in HEADS.items()}
ENDINGS = 4  # among which a choice is made, as in SWAG: the weights do not tell


def spared(found: Fit) -> Fit:
    """Without complaint of a pooler that no head reads, and of a head where there is none at all: a BertModel alone."""
    state = {key: value for key, value in found.state.items() if key not in found.unexpected or not _is_pooler(key)}
    missing, unexpected = found.missing, tuple(key for key in found.unexpected if not _is_pooler(key))
    if not any(key.startswith("head.") for key in state):
        missing = tuple(key for key in missing if not key.startswith("head."))
    return replace(found, state=state, missing=missing, unexpected=unexpected)


def _is_pooler(key: str) -> bool:
    return key.startswith("pooler.")


def encoder_for(config: Any, text: Vocabulary, *, pairs: bool) -> TextEncoder:
    """How the model reads what its head was made for; ``pairs``: two texts, where it tells classes."""
    if config.head == "class":
        return LabelledEncoder(text, config.longest, framed=True, pair=pairs)
    if pairs:
        raise UserError(
            f"--pairs is about the class of two texts, and these weights are for {_words(config)}: leave it out."
        )
    if config.head == "tags":
        return TaggedEncoder(text, config.longest, framed=True)
    if config.head == "span":
        return QuestionEncoder(text, config.longest)
    if config.head == "choice":
        return ChoicesEncoder(text, config.longest, ENDINGS)
    return DocumentEncoder(text, config.longest, Masking(), config.next_sentence)


def spec_for(name: str, config: Any, told: Mapping[str, Any]) -> DataSpec:
    """Data that are not there, of the form that the head was made for: one row of each split."""
    one = {"train": 1, "val": 1}
    sizes, longest = {"text": config.vocabulary}, {"text": config.longest}
    names = _names(config, told)
    numbers = config.head == "class" and (len(names) == 1 or told.get("problem_type") == "regression")
    return DataSpec(
        name,
        FORMS[config.head],
        one,
        classes=() if numbers else names,
        class_counts=() if numbers else (1,) * len(names),
        target_names=names if numbers else (),
        target_mean=(0.0,) * len(names) if numbers else (),  # its numbers are in the user's own units
        target_std=(1.0,) * len(names) if numbers else (),
        vocabulary=sizes,
        longest=longest,
        tokens=one,
        batched_by="tokens",
    )


def _names(config: Any, told: Mapping[str, Any]) -> tuple[str, ...]:
    """What the outputs are called: as ``id2label`` in ``config.json`` tells."""
    if config.head == "choice":
        return tuple(f"ending{number}" for number in range(ENDINGS))
    if config.head not in ("class", "tags"):
        return ()
    usual = {str(number): f"LABEL_{number}" for number in range(config.outputs)}
    labels = told.get("id2label", usual)
    if not isinstance(labels, Mapping) or set(labels) != set(usual) or len(set(labels.values())) != len(labels):
        raise UserError(
            f"config.json should name each of the {config.outputs} outputs of these weights in `id2label`, as "
            f'{{"0": "LABEL_0", …}}, and says {labels!r}.'
        )
    return tuple(str(labels[number]) for number in usual)


def _words(config: Any) -> str:
    return DataSpec("", FORMS[config.head], {}).form
