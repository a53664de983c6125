"""Searches: against exhaustive search, with and without a cache, alone and in a batch."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from seminal.core import Memory, UserError
from seminal.decode.beam import Beam, beam
from seminal.decode.rules import Rules, translating
from seminal.decode.sampling import GREEDY, Sampling, write
from seminal.papers.transformer import BASE, Transformer
from seminal.pieces.chance import RowChance
from seminal.pieces.tokens import BEGIN, END, PAD
from seminal.runs.writing import GenerateAsk, continued

pytestmark = pytest.mark.usefixtures("one_thread")
VOCABULARY = 7


def translator(vocabulary: int = VOCABULARY, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    config = replace(BASE, vocabulary=vocabulary, layers=2, width=16, inner=32, heads=2, key=8, dropout=0.0)
    model = Transformer(config).eval()
    for parameter in model.parameters():  # sharper than the first values: the best sentence is clearly the best
        if parameter.dim() > 1:
            parameter.data.mul_(2.0)
    return model


def sources(rows: int = 3, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(4, VOCABULARY, (rows, 5), generator=generator)
    source[1:, 3:] = PAD
    source[2:, 2:] = PAD
    return source


def begun(rows: int) -> torch.Tensor:
    return torch.full((rows, 1), BEGIN)


def log_probability(model: Transformer, source: torch.Tensor, sentence: tuple[int, ...]) -> float:
    """Of a whole sentence, from one pass without a cache."""
    target = torch.tensor([[BEGIN, *sentence]])
    logits = model(source[None], target[:, :-1])[0].float().detach()
    shares = logits.log_softmax(-1)
    return sum(float(shares[place, token]) for place, token in enumerate(sentence))


def every_sentence(longest: int) -> list[tuple[int, ...]]:
    """All that may be written: words, then </s>; of full length also without it."""
    words = [t for t in range(VOCABULARY) if t not in (PAD, BEGIN, END)]
    ended = [(*w, END) for n in range(longest) for w in itertools.product(words, repeat=n)]
    return ended + list(itertools.product(words, repeat=longest))


@pytest.fixture(scope="module")
def probable():
    """For each source, the log probability of every sentence of up to four tokens."""
    model, source = translator(), sources()
    reals = [source[row][source[row] != PAD] for row in range(3)]
    return [[(log_probability(model, real, sentence), sentence) for sentence in every_sentence(4)] for real in reals]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.5])
@pytest.mark.parametrize("plain", [False, True])
def test_a_beam_that_holds_everything_finds_the_best_of_all_sentences(probable, alpha, plain):
    model, source, longest = translator(), sources(), 4
    search = Beam(width=5**longest, best=3, alpha=alpha, plain=plain)
    found = beam(model, source, begun(3), search, Rules(longest=longest))
    for row in range(3):
        scored = [(total / search.penalty(len(sentence)), sentence) for total, sentence in probable[row]]
        best = sorted(scored, reverse=True)[:3]
        for rank, (score, sentence) in enumerate(best):
            tokens = found.tokens[row, rank]
            assert tuple(tokens[tokens != PAD].tolist()[1:]) == sentence
            assert float(found.scores[row, rank]) == pytest.approx(score, abs=1e-4)


def test_greedy_takes_the_best_next_token_and_equals_a_beam_of_one():
    model, source = translator(), sources()
    found = write(model, source, begun(3), Rules(longest=6))
    for row in range(3):
        sentence: list[int] = []
        real = source[row][source[row] != PAD]
        while len(sentence) < 6 and sentence[-1:] != [END]:
            logits = model(real[None], torch.tensor([[BEGIN, *sentence]]))[0, -1]
            logits[PAD] = logits[BEGIN] = -math.inf
            sentence.append(int(logits.argmax()))
        written = found.tokens[row, 0]
        assert written[written != PAD].tolist() == [BEGIN, *sentence]
        assert float(found.scores[row, 0]) == pytest.approx(log_probability(model, real, tuple(sentence)), abs=1.0)
    one = beam(model, source, begun(3), Beam(1, alpha=0.0), Rules(longest=6))
    assert torch.equal(one.tokens[:, 0], found.tokens[:, 0])


@pytest.mark.parametrize("width", [1, 2, 5])
def test_padding_and_neighbours_change_nothing(width):
    model, source = translator(seed=3), sources()
    together = beam(model, source, begun(3), Beam(width, min(2, width)), Rules(longest=9))
    for row in range(3):
        real = source[row : row + 1, : int((source[row] != PAD).sum())]
        alone = beam(model, real, begun(1), Beam(width, min(2, width)), Rules(longest=9))
        size = alone.tokens.shape[2]
        assert torch.equal(alone.tokens[0], together.tokens[row, :, :size])
        assert torch.allclose(alone.scores[0], together.scores[row], atol=1e-5)


@pytest.mark.parametrize("width", [0, 1, 3])
def test_how_long_a_translation_may_be_is_its_own_affair(width, monkeypatch):
    """A sentence that never ends is cut off at the same place alone and beside a longer one."""
    monkeypatch.setattr("seminal.decode.rules.ROOM", 3)
    model, source = translator(seed=3), sources()
    end = torch.full((VOCABULARY,), 0.0)
    end[END] = -50.0
    step = model.step
    monkeypatch.setattr(model, "step", lambda *given: (step(*given)[0] + end, step(*given)[1]))

    def found(some: torch.Tensor) -> torch.Tensor:
        given, rules = translating(some)
        done = beam(model, some, given, Beam(width), rules) if width else write(model, some, given, rules)
        return done.tokens[:, 0]

    together = found(source)
    for row, words in enumerate((5, 3, 2)):
        alone = found(source[row : row + 1, :words])[0]
        assert len(alone) == 1 + words + 3
        assert torch.equal(
            together[row], torch.nn.functional.pad(alone, (0, together.shape[1] - len(alone)), value=PAD)
        )


def test_a_wider_beam_is_never_worse_when_everything_fits():
    model, source = translator(seed=5), sources()
    scores = [
        beam(model, source, begun(3), Beam(width, alpha=0.0), Rules(longest=4)).scores[:, 0] for width in (1, 2, 625)
    ]
    assert (scores[2] >= scores[0] - 1e-6).all()
    assert (scores[2] >= scores[1] - 1e-6).all()


def test_a_prefix_is_written_first_by_every_search():
    model, source = translator(), sources(2)
    given = torch.tensor([[BEGIN, 4, 5], [BEGIN, 6, PAD]])
    for found in (
        beam(model, source, given, Beam(3, 2), Rules(longest=6)),
        write(model, source, given, Rules(longest=6)),
    ):
        assert (found.tokens[0, :, :3] == given[0]).all()
        assert (found.tokens[1, :, :2] == given[1, :2]).all()


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(seed=1)])
def test_a_text_depends_on_its_own_prompt_alone(sampling):
    """Whatever stands beside it: here a prompt that is read token by token, holds an ending and repeats itself."""
    model, source = translator(seed=2), sources(2)
    prompts = [[BEGIN, 4], [BEGIN, 5, 6, 5, 6, END, 5, 4]]
    given = torch.tensor([prompt + [PAD] * (8 - len(prompt)) for prompt in prompts])
    rules = Rules(longest=6, shortest=12, no_repeat=2)
    together = write(model, source, given, rules, sampling, attention=True)
    for row, prompt in enumerate(prompts):  # twice, because the luck belongs to the row's number
        real = source[row : row + 1, : int((source[row] != PAD).sum())].expand(2, -1)
        alone = write(model, real, torch.tensor([prompt] * 2), rules, sampling, attention=True)
        tokens, width = alone.tokens[row, 0], alone.tokens.shape[2]
        assert tokens.tolist() == [t for t in together.tokens[row, 0].tolist() if t != PAD]
        assert tokens[: len(prompt)].tolist() == prompt
        assert len(tokens) == len(prompt) + 6
        assert float(together.scores[row, 0]) == pytest.approx(float(alone.scores[row, 0]), abs=1e-4)
        seen = together.attention[row, 0]
        assert torch.allclose(seen[:width, : real.shape[1]], alone.attention[row, 0], atol=1e-5)
        assert not seen[width:].any()


def test_no_run_of_tokens_is_written_twice():
    model, source = translator(seed=2), sources()
    rules = Rules(longest=24, no_repeat=2)
    for found in (beam(model, source, begun(3), Beam(3), rules), write(model, source, begun(3), rules)):
        for row in found.tokens.flatten(0, 1).tolist():
            row = [t for t in row if t != PAD]
            pairs = list(itertools.pairwise(row))
            assert len(pairs) == len(set(pairs))
    free = write(model, source, begun(3), Rules(longest=24, shortest=24)).tokens[:, 0]
    assert any(len(set(itertools.pairwise(r))) < len(r) - 1 for r in free.tolist())  # without the rule it does repeat


def test_nothing_ends_before_its_shortest_length():
    model, source = translator(), sources()
    for found in (
        beam(model, source, begun(3), Beam(4), Rules(longest=8, shortest=6)),
        write(model, source, begun(3), Rules(longest=8, shortest=6)),
    ):
        assert ((found.tokens != PAD).sum(-1) >= 1 + 6).all()


def test_draws_follow_the_probabilities_and_belong_to_the_row():
    model, source = translator(), sources(1)
    many = source.expand(4000, -1)
    found = write(model, many, begun(4000), Rules(longest=1), Sampling(1.0, seed=7)).tokens[:, 0, 1]
    logits = model(source, begun(1))[0, -1]
    logits[PAD] = logits[BEGIN] = -math.inf
    wanted = logits.softmax(-1)
    counted = torch.bincount(found, minlength=VOCABULARY) / 4000
    assert (counted - wanted).abs().max() < 4 * math.sqrt(0.25 / 4000)
    again = write(model, many[:10], begun(10), Rules(longest=5), Sampling(1.0, seed=7)).tokens
    alone = write(model, many[:3], begun(3), Rules(longest=5), Sampling(1.0, seed=7)).tokens
    assert torch.equal(again[:3, :, : alone.shape[2]], alone)
    other = write(model, many[:10], begun(10), Rules(longest=5), Sampling(1.0, seed=8)).tokens
    assert not torch.equal(other, again)


def test_top_k_and_top_p_leave_out_what_is_improbable():
    model, source = translator(seed=4), sources(1).expand(500, -1)
    logits = model(source[:1], begun(1))[0, -1]
    logits[PAD] = logits[BEGIN] = -math.inf
    order = logits.argsort(descending=True).tolist()
    share = logits.softmax(-1)
    found = write(model, source, begun(500), Rules(longest=1), Sampling(2.0, top_k=2)).tokens[:, 0, 1]
    assert set(found.tolist()) == set(order[:2])
    least = float(share[order[0]] + 0.5 * share[order[1]])  # the second is needed to reach it, the third is not
    found = write(model, source, begun(500), Rules(longest=1), Sampling(1.0, top_p=least)).tokens[:, 0, 1]
    assert set(found.tolist()) == set(order[:2])
    half = Sampling(1.0, top_k=2, top_p=0.5)  # of the two that top-k leaves, the first has more than half
    found = write(model, source, begun(500), Rules(longest=1), half).tokens[:, 0, 1]
    assert set(found.tolist()) == {order[0]}
    found = write(model, source, begun(500), Rules(longest=1), Sampling(1e-4)).tokens[:, 0, 1]
    assert set(found.tolist()) == {order[0]}


def test_the_greatest_luck_draws_the_last_token_that_may_be_drawn(monkeypatch):
    """Where the rounded product reaches the sum of all shares."""
    monkeypatch.setattr(RowChance, "uniform", lambda self, draw: torch.ones(len(self.index), 1))
    model, source = translator(seed=4), sources(1)
    logits = model(source, begun(1))[0, -1]
    logits[PAD] = logits[BEGIN] = -math.inf
    order = logits.argsort(descending=True).tolist()
    for sampling, last in ((Sampling(), order[-3]), (Sampling(top_k=2), order[1]), (Sampling(top_p=1e-6), order[0])):
        assert int(write(model, source, begun(1), Rules(longest=1), sampling).tokens[0, 0, 1]) == last


def test_attention_says_where_each_token_looked():
    model, source = translator(), sources()
    for found in (
        write(model, source, begun(3), Rules(longest=5), GREEDY, attention=True),
        beam(model, source, begun(3), Beam(3, 2), Rules(longest=5), attention=True),
    ):
        assert found.attention.shape[:3] == found.tokens.shape
        seen = found.attention[found.tokens != PAD].sum(-1)
        written = found.tokens[found.tokens != PAD] != BEGIN
        assert torch.allclose(seen[written], torch.ones(int(written.sum())), atol=1e-5)
        padding = (source == PAD)[:, None, None].expand_as(found.attention)
        assert float(found.attention[padding].abs().max()) == 0.0


def test_coverage_rewards_hypotheses_that_read_everything():
    model, source = translator(seed=6), sources()
    plain = beam(model, source, begun(3), Beam(6, 6, alpha=0.0), Rules(longest=4), attention=True)
    covered = beam(model, source, begun(3), Beam(6, 6, alpha=0.0, beta=0.5), Rules(longest=4), attention=True)
    for row in range(3):
        real = int((source[row] != PAD).sum())
        every = zip(plain.tokens[row], plain.scores[row], plain.attention[row])
        known = {tuple(tokens.tolist()): (float(score), looked) for tokens, score, looked in every}
        for tokens, score in zip(covered.tokens[row], covered.scores[row]):
            if tuple(tokens.tolist()) in known:
                base, looked = known[tuple(tokens.tolist())]
                reward = 0.5 * float(looked[:, :real].sum(0).clamp(1e-9, 1.0).log().sum())
                assert float(score) == pytest.approx(base + reward, abs=1e-4)


def test_impossible_searches_are_refused():
    for kind, wrong in ((Beam, (2, 3)), (Beam, (0,)), (Rules, (0,)), (Sampling, (-1.0,)), (Sampling, (1.0, 0, 0.0))):
        with pytest.raises(UserError):
            kind(*wrong)


class Counter:
    """A writer without weights: after token n it says n + 1, and ``END`` after 6; a search can use any such object."""

    def begin(self, source, rows, attention=False):
        return Memory({}, {"seen": torch.zeros(rows, 1)})

    def step(self, tokens, memory):
        last = tokens[:, -1]
        following = torch.where(last >= 6, END, torch.where(last < 4, 4, last + 1))
        logits = torch.nn.functional.one_hot(following, VOCABULARY).float() * 20
        return logits, replace(memory, length=memory.length + tokens.shape[1])


def test_any_object_with_begin_and_step_can_be_searched():
    assert write(Counter(), None, begun(1), Rules(longest=9)).tokens[0, 0].tolist() == [BEGIN, 4, 5, 6, END]
    assert beam(Counter(), None, begun(1), Beam(3), Rules(longest=9)).tokens[0, 0].tolist() == [BEGIN, 4, 5, 6, END]


class Even:
    """A writer to which every token is as probable, whatever was read: what it says is the luck alone."""

    def __init__(self, vocabulary: int) -> None:
        self.says = torch.zeros(vocabulary)

    def parameters(self):
        return iter([self.says])

    def begin(self, source, rows, attention=False):
        return Memory({}, {"seen": torch.zeros(rows, 1)})

    def step(self, tokens, memory):
        return self.says.expand(len(tokens), -1), memory


def test_no_luck_comes_again_when_the_window_slides():
    """A text of many windows is the draws of its places, one after another, as a model without a window writes it."""
    numbers = SimpleNamespace(
        text=SimpleNamespace(encode=lambda texts: [[5, 6, 7]]),
        read_on=lambda tokens: tokens,
        shown=lambda tokens: tokens,
    )
    ask = GenerateAsk("run", "so", n=2, length=300, sampling=Sampling(seed=3))
    sliding, whole = (
        continued(Even(50), numbers, ask, SimpleNamespace(longest=longest))  # type: ignore[arg-type]
        for longest in (32, None)
    )
    assert sliding == whole
    assert all(len(row) == 303 for row in whole)


@pytest.mark.parametrize("asked", [{"width": 0}, {"width": 100_000}, {"alpha": math.nan}, {"beta": -1.0}, {"best": 5}])
def test_a_beam_that_cannot_be_is_refused(asked):
    with pytest.raises(UserError):
        Beam(**asked)


@pytest.mark.parametrize("temperature", [-1.0, math.nan, math.inf])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(UserError, match="temperature"):
        Sampling(temperature=temperature)
