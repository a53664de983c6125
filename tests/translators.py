"""What tests of recurrent translators share: data that were never read, large random weights, and what holds for all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seminal.core import DataSpec
from seminal.decode.beam import Beam, beam
from seminal.decode.rules import Rules
from seminal.decode.sampling import Sampling, write
from seminal.pieces.tokens import BEGIN, END, PAD
from seminal.tasks.translation import Translation

PAIRS = DataSpec(
    "multi",
    "pairs",
    {"train": 29_000, "val": 1_000},
    vocabulary={"source": 8_000, "target": 7_000},
    longest={"source": 60, "target": 45},
    tokens={"train": 450_000},
    batched_by="tokens",
)


def sharpened(model: Any, spread: float = 0.7) -> Any:
    """In float64, with large random numbers everywhere, so that gates are open and shut and attention is sharp."""
    model = model.double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=spread)
    return model


def unpadded(source: Tensor, target: Tensor) -> list[tuple[int, list[int], list[int]]]:
    """Each row with its tokens of both sides."""
    rows = [[row[row != PAD].tolist() for row in side] for side in (source, target)]
    return [(i, *sides) for i, sides in enumerate(zip(*rows))]


@torch.no_grad()
def padding_changes_nothing(model: Any, source: Tensor, target: Tensor) -> bool:
    expected = model(source, target)
    longer = model(F.pad(source, (0, 3)), F.pad(target, (0, 2)))[:, : target.shape[1]]
    alone = model(source[1:2, :3], target[1:2, :4])  # the second row, without its padding
    return longer.allclose(expected, atol=1e-12) and alone.allclose(expected[1:2, :4], atol=1e-12)


@torch.no_grad()
def reads_no_later_word(model: Any, source: Tensor, target: Tensor) -> bool:
    other = target.clone()
    other[:, 3] = 15
    one, two = model(source, target), model(source, other)
    return torch.equal(one[:, :3], two[:, :3]) and not one[:, 3].allclose(two[:, 3])


@torch.no_grad()
def steps_equal_forward(model: Any, source: Tensor, target: Tensor, parts: tuple[int, ...]) -> bool:
    """Written ``parts`` tokens at a time, by two hypotheses of each input."""
    other = torch.where(target == PAD, 3, target)
    written = torch.stack([other, other.flip(1)], dim=1).flatten(0, 1)  # hypotheses of an input beside each other
    expected, memory, read, same = (
        model(source.repeat_interleave(2, 0), written),
        model.begin(source, len(written)),
        0,
        [],
    )
    for n in parts:
        logits, memory = model.step(written[:, read : read + n], memory)
        read += n
        same += [memory.length == read, logits.allclose(expected[:, read - 1], atol=1e-10)]
    return all(same)


def search_gives_what_forward_says(model: Any, source: Tensor) -> None:
    """By beam, greedily and by chance."""
    given = torch.full((len(source), 1), BEGIN)
    found = beam(model, source, given, Beam(width=3, best=2, alpha=0.0), Rules(longest=7), attention=True)
    greedy = write(model, source, given, Rules(longest=7), attention=True)
    drawn = write(model, source, given, Rules(longest=7), Sampling(seed=3))
    assert found.attention.shape[-1] == source.shape[1]
    assert (found.scores[:, 0] >= greedy.scores[:, 0] - 1e-5).all()
    for hypotheses in (found, greedy, drawn):
        for i in range(len(source)):
            for tokens, score in zip(hypotheses.tokens[i], hypotheses.scores[i]):
                row = tokens[tokens != PAD][None]
                with torch.no_grad():
                    logits = model(source[i : i + 1], row[:, :-1])
                says = logits.float().log_softmax(-1).gather(2, row[:, 1:, None]).sum()
                assert says.item() == pytest.approx(float(score), abs=1e-4)


def learned_by_heart(model: Any, steps: int) -> bool:
    """Whether a model of 14 tokens on each side learns to write 8 sentences backwards."""
    words, task = torch.randint(4, 14, (8, 6)), Translation()
    ends, begins = torch.full((8, 1), END), torch.full((8, 1), BEGIN)
    batch = {"source": torch.cat([words, ends], 1), "target": torch.cat([begins, words.flip(1), ends], 1)}
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(steps):
        (turn,) = task.turns(model, batch)
        optimiser.zero_grad()
        (turn.loss / turn.weight).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    with torch.no_grad():
        return task.summary(task.score(model.eval(), batch))["bleu_tokens"] > 99


@torch.no_grad()
def half_precision_agrees(model: Any, source: Tensor, target: Tensor) -> bool:
    expected = model(source, target)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(source, target).float()
    real = target != PAD
    return bool((found - expected)[real].abs().max() < 0.05 * expected[real].abs().max())


@torch.no_grad()
def drops_in_training_only(model: Any, source: Tensor, target: Tensor) -> bool:
    same = torch.equal(model(source, target), model(source, target))
    model.train()
    return same and not model(source, target).allclose(model(source, target))
