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
from seminal.runs.class_names import class_names
from seminal.weights.matching import Fit

FORMS = {head: form for form, head in HEADS.items()}
ENDINGS = 4  # among which a choice is made, as in SWAG, where the user names no others: the weights do not tell
UNNAMED = "LABEL_{}"  # what Hugging Face calls a class that has no name


def spared(found: Fit) -> Fit:
    """Without complaint of a pooler that no head reads, and of a head where there is none at all: a BertModel alone."""
    state = {key: value for key, value in found.state.items() if key not in found.unexpected or not _is_pooler(key)}
    missing, unexpected = found.missing, tuple(key for key in found.unexpected if not _is_pooler(key))
    if not any(key.startswith("head.") for key in state):
        missing = tuple(key for key in missing if not key.startswith("head."))
    return replace(found, state=state, missing=missing, unexpected=unexpected)


def _is_pooler(key: str) -> bool:
    return key.startswith("pooler.")


def encoder_for(config: Any, text: Vocabulary, spec: DataSpec, *, pairs: bool) -> TextEncoder:
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
        return ChoicesEncoder(text, config.longest, len(spec.classes))
    return DocumentEncoder(text, config.longest, Masking(), config.next_sentence)


def spec_for(name: str, config: Any, told: Mapping[str, Any], classes: str | None) -> DataSpec:
    """Data that are not there, of the form that the head was made for: one row of each split. ``classes`` are the names
    that the user gave; of a choice they tell how many endings there are."""
    if config.head == "class" and told.get("problem_type") == "multi_label_classification":
        raise UserError(
            "config.json says `multi_label_classification`: any number of classes may be true of one text. Here a text has "
            "exactly one class, so each probability would be another than these weights were trained to say. Use them with "
            "transformers."
        )
    one = {"train": 1, "val": 1}
    sizes, longest = {"text": config.vocabulary}, {"text": config.longest}
    names = _names(config, told) if classes is None else _given(config, classes)
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
    usual = {str(number): UNNAMED.format(number) for number in range(config.outputs)}
    labels = told.get("id2label", usual)
    if not isinstance(labels, Mapping) or set(labels) != set(usual) or len(set(labels.values())) != len(labels):
        raise UserError(
            f"config.json should name each of the {config.outputs} outputs of these weights in `id2label`, as "
            f'{{"0": "LABEL_0", …}}, and says {labels!r}.'
        )
    return tuple(str(labels[number]) for number in usual)


def _given(config: Any, classes: str) -> tuple[str, ...]:
    """The user's names of what the head tells apart."""
    if config.head not in ("class", "tags", "choice"):
        raise UserError(
            f"--classes names what a head tells apart, and these weights are for {_words(config)}: leave it out."
        )
    names = class_names(classes, None if config.head == "choice" else config.outputs)
    if config.head == "choice" and len(names) < 2:
        raise UserError(f"--classes {classes} names {len(names)} ending: a choice is made among 2 or more.")
    return names


def unnamed(spec: DataSpec) -> bool:
    """Whether its classes have no names but those that stand for none."""
    return bool(spec.classes) and all(name == UNNAMED.format(number) for number, name in enumerate(spec.classes))


def _words(config: Any) -> str:
    return DataSpec("", FORMS[config.head], {}).form
