"""Sequences per second of BERT: ours beside Hugging Face's, with its own attention and with torch's, in turns, on the same
weights and the same tokens. Whether the answers agree is checked first.

    python benchmarks/bert.py

Three kinds of batches: all rows equally long; rows padded to the longest of the batch, as sentence pairs are; and many short
rows beside a few long ones. Three kinds of work: an answer for each text (inference), a training step of a classifier, and
a training step of the pre-training, where 15 % of the tokens have to be said. Needs transformers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measuring import arguments, machine, spread, write
from seminal.papers.bert import VARIANTS, Bert, Config
from seminal.pieces.tokens import BEGIN, END, NOTHING, PAD, SPECIAL
from seminal.report.terminal import table
from seminal.weights.matching import config_for, to_ours

LONG, ROWS = 128, 32  # tokens of the longest row, rows of a batch
ATTENTIONS = ("eager", "sdpa")
HIDDEN = 0.15  # share of the tokens that have to be said
CLOSE = 1e-4  # largest difference of two answers, fp32
KINDS = ("even", "padded", "skewed")
WORK = ("inference", "fine-tuning", "pre-training")


def lengths(kind: str, rows: int) -> Tensor:
    """(rows,) tokens of each row. Padded: from half as long to as long as the longest. Skewed: one row in sixteen is long,
    the others have 8 to 32 tokens, as sentences among paragraphs have."""
    luck = torch.rand(rows, generator=torch.Generator().manual_seed(0))
    if kind == "even":
        return torch.full((rows,), LONG)
    if kind == "padded":
        found = (LONG / 2 + luck * (LONG / 2 + 1)).long()
        found[0] = LONG
        return found
    found = (8 + luck * 25).long()
    found[::16] = LONG
    return found


@dataclass(frozen=True)
class Rows:
    """A batch: tokens (B, S), classes (B,), tokens that have to be said (B, S), whether the second part follows (B,)."""

    text: Tensor
    target: Tensor
    said: Tensor
    next: Tensor

    @classmethod
    def made(cls, kind: str, rows: int, vocabulary: int) -> Rows:
        """Random tokens in two parts."""
        luck = torch.Generator().manual_seed(1)
        text = torch.randint(len(SPECIAL), vocabulary, (rows, LONG), generator=luck)
        ends = lengths(kind, rows)
        text[:, 0] = BEGIN
        text[torch.arange(rows), ends // 2] = END
        text[torch.arange(rows), ends - 1] = END
        text = text.masked_fill(torch.arange(LONG) >= ends[:, None], PAD)[:, : int(ends.max())]
        hidden = (torch.rand(text.shape, generator=luck) < HIDDEN) & (text >= len(SPECIAL))
        hidden[:, 1] = True
        said = torch.where(hidden, text, NOTHING)
        return cls(text, torch.randint(2, (rows,), generator=luck), said, torch.randint(2, (rows,), generator=luck))


# --------------------------------------------------------------------------------------------------------- the programs


def pair(config: Config, attention: str) -> tuple[Bert, nn.Module]:
    """Ours and theirs with the same weights."""
    from transformers import BertConfig, BertForPreTraining, BertForSequenceClassification

    told = config_for("huggingface", "bert", config) | {"num_labels": config.outputs}
    theirs_class = BertForPreTraining if config.head == "words" else BertForSequenceClassification
    torch.manual_seed(0)
    settings = BertConfig(**told, attn_implementation=attention)
    theirs = theirs_class(settings)
    ours = Bert(config)
    ours.load_state_dict(to_ours("huggingface", theirs.state_dict(), "bert", config))
    return ours, theirs


def our_loss(model: nn.Module, rows: Rows, work: str) -> Tensor:
    """Cross-entropies; the vocabulary is computed at the hidden places alone."""
    if work == "fine-tuning":
        return F.cross_entropy(model(rows.text), rows.target)
    assert isinstance(model, Bert)
    chosen = rows.said != NOTHING
    words, follows = model(rows.text, chosen)
    assert follows is not None
    return F.cross_entropy(words, rows.said[chosen]) + F.cross_entropy(follows, rows.next)


def their_loss(model: Any, rows: Rows, work: str) -> Tensor:
    """What their models compute themselves when they are given labels."""
    given = inputs(rows.text)
    if work == "fine-tuning":
        return model(**given, labels=rows.target).loss
    return model(**given, labels=rows.said, next_sentence_label=1 - rows.next).loss  # theirs: 0 is "follows"


def inputs(text: Tensor) -> dict[str, Tensor]:
    """What their models want beside the tokens."""
    ends = text == END
    segments = (ends.cumsum(1) - ends.long()).clamp(max=1).masked_fill(text == PAD, 0)
    return {"input_ids": text, "attention_mask": (text != PAD).long(), "token_type_ids": segments}


def programs(config: Config, rows: Rows, work: str, attention: str) -> dict[str, Callable[[], Any]]:
    """One call of each is a batch answered, or a step taken. Raises `SystemExit` where the two do not agree."""
    head = "words" if work == "pre-training" else "class"
    ours, theirs = pair(replace(config, head=head), attention)
    agreed(ours.eval(), theirs.eval(), rows, work)
    if work == "inference":
        return {"ours": lambda: answered(ours, rows.text), "theirs": lambda: answered(theirs, **inputs(rows.text))}
    found: dict[str, Callable[[], Any]] = {}
    for name, model, loss in (("ours", ours, our_loss), ("theirs", theirs, their_loss)):
        found[name] = step(model.train(), loss, rows, work)
    return found


@torch.no_grad()
def answered(model: nn.Module, *text: Tensor, **given: Tensor) -> Any:
    """A forward pass."""
    return model(*text, **given)


def step(model: nn.Module, loss: Callable[..., Tensor], rows: Rows, work: str) -> Callable[[], None]:
    """Forward, backward, and AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def run() -> None:
        optimizer.zero_grad()
        loss(model, rows, work).backward()
        optimizer.step()

    return run


def agreed(ours: nn.Module, theirs: nn.Module, rows: Rows, work: str) -> None:
    """In evaluation, where nothing is dropped: the same losses, or the same logits."""
    with torch.no_grad():
        if work == "inference":
            one, other = ours(rows.text), theirs(**inputs(rows.text)).logits
        else:
            one, other = our_loss(ours, rows, work), their_loss(theirs, rows, work)
    if float((one - other).abs().max()) > CLOSE:
        raise SystemExit(f"{work}: the two programs do not compute the same ({one} and {other})")


# --------------------------------------------------------------------------------------------------------- the measuring


def in_turns(both: dict[str, Callable[[], Any]], rows: int, rounds: int) -> dict[str, list[float]]:
    """Sequences per second of each, in each round; a round not counted goes first."""
    found: dict[str, list[float]] = {name: [] for name in both}
    for turn in range(rounds + 1):
        for name, program in both.items():
            started = time.perf_counter()
            program()
            if turn:
                found[name].append(rows / (time.perf_counter() - started))
    return found


def measured(variant: str, work: str, kind: str, attention: str, asked: argparse.Namespace) -> dict[str, Any]:
    """One line of the table."""
    config = VARIANTS[variant]
    rows = Rows.made(kind, asked.rows, config.vocabulary)
    speeds = in_turns(programs(config, rows, work, attention), asked.rows, asked.rounds)
    ratios = [ours / theirs for ours, theirs in zip(speeds["ours"], speeds["theirs"], strict=True)]
    return {
        "model": variant,
        "work": work,
        "batch": kind,
        "attention": attention,
        "real_tokens": float((rows.text != PAD).double().mean()),
        "sequences_per_second": {name: spread(values) for name, values in speeds.items()},
        "ratio": spread(ratios),
    }


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", nargs="*", default=("bert-mini", "bert-small", "bert-base"))
    parser.add_argument("--rows", type=int, default=ROWS, help="of a batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch (default: all)")


def run() -> None:
    """Every model, work, batch and attention; the table and the JSON."""
    asked = arguments("BERT beside Hugging Face's.", _flags)
    if asked.quick:
        asked.models, asked.rows, asked.rounds = ("bert-tiny",), 4, 1
    if asked.threads:
        torch.set_num_threads(asked.threads)
    before, found = machine(), []
    for variant in asked.models:
        for work in WORK:
            for kind in KINDS:
                for attention in ATTENTIONS:
                    found.append(measured(variant, work, kind, attention, asked))
                    print(f"{variant}, {work}, {kind}, {attention}: {found[-1]['ratio']['median']:.2f}", flush=True)
    lines = [
        [
            line["model"],
            line["work"],
            line["batch"],
            line["attention"],
            f"{100 * line['real_tokens']:.0f} %",
            told(line),
        ]
        for line in found
    ]
    table(["model", "work", "batch", "their attention", "real tokens", "times as fast"], lines)
    print(f"written  {write('bert', asked, before, {'rows': asked.rows, 'results': found})}")


def told(line: dict[str, Any]) -> str:
    """``1.84 (1.80–1.91)``."""
    ratio = line["ratio"]
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})"


if __name__ == "__main__":
    run()
