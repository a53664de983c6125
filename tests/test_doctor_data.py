"""The data side of the doctor: the two-sample test, facts of the rows, the second opinion, and rules that stand on them.

Every rule's own specimens are walked elsewhere; here are its other signs.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from seminal.core import UserError
from seminal.doctor import data_facts, glance, second_opinion, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.data_facts import DataFacts, order
from seminal.doctor.program import from_function
from seminal.doctor.rows import Rows, equally_long
from seminal.doctor.rules import data_shift, label_bug, label_noise, leakage, over_regularised
from seminal.doctor.second_opinion import Opinion, standard_score
from seminal.pieces import two_sample

pytestmark = pytest.mark.usefixtures("one_thread")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rows(x: torch.Tensor, y: torch.Tensor) -> Rows:
    return Rows(x, y, len(x))


def facts(x: torch.Tensor, y: torch.Tensor, kind: str, cut: int | None = None) -> DataFacts:
    cut = 2 * len(x) // 3 if cut is None else cut
    return DataFacts(rows(x[:cut], y[:cut]), rows(x[cut:], y[cut:]), kind)


# -------------------------------------------------------------------------------------------------- the two-sample test


def test_sets_from_one_distribution_have_uniform_p_values() -> None:
    found = [
        two_sample.compared(normal(40, 3, seed=2 * i), normal(30, 3, seed=2 * i + 1), permutations=49, seed=i).p
        for i in range(120)
    ]
    for level in (0.1, 0.3, 0.5, 0.8):
        share = sum(p <= level for p in found) / len(found)
        assert abs(share - level) < 4 * (level * (1 - level) / len(found)) ** 0.5


def test_a_shift_is_found_and_as_far_as_theory_says() -> None:
    a, b = normal(2000, 1), normal(2000, 1, seed=1) + 1.0
    found = two_sample.compared(a, b, permutations=99)
    assert found.p == 0.01
    assert found.auc == pytest.approx(0.5 * (1 + math.erf(0.5)), abs=0.03)  # Φ(1/√2): two normals one apart
    assert float(found.means[0]) == pytest.approx(1 / 1.25**0.5, abs=0.05)  # in deviations of both together


def test_a_spread_is_found_too() -> None:
    found = two_sample.compared(normal(500, 4), 2 * normal(500, 4, seed=1), permutations=99)
    assert found.auc > 0.7
    assert found.p == 0.01
    assert found.spreads.exp().tolist() == pytest.approx([2.0] * 4, rel=0.1)
    assert found.mean < 0.2 < found.spread


def test_padding_tells_no_splits_apart_and_hides_no_copy() -> None:
    """Sentences of one language: the longest of all is in training, and validation is padded less."""
    own = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, 20, (600,), generator=own)
    lengths[0] = 30
    tokens = torch.randint(1, 120, (600, 30), generator=own) * (torch.arange(30) < lengths[:, None])
    val = tokens[400:, :19].clone()
    val[0] = tokens[7, :19]
    train, other = equally_long(rows(tokens[:400], tokens[:400, 0]), rows(val, val[:, 0]))
    assert other.inputs.shape == (200, 30)
    found = DataFacts(train, other, "classes")
    assert two_sample.compared(found.x, found.v, permutations=49).auc < 0.6
    assert found.seen.nonzero().flatten().tolist() == [0]
    padded = DataFacts(rows(tokens[:400], tokens[:400, 0]), rows(val, val[:, 0]), "classes")
    assert two_sample.compared(padded.x, padded.v, permutations=49).auc > 0.8, "unlike the count of zeros"


def test_a_token_for_unknown_words_is_no_shift() -> None:
    own = torch.Generator().manual_seed(0)
    tokens = torch.randint(2, 300, (600, 20), generator=own)
    tokens[400:][torch.rand(200, 20, generator=own) < 0.15] = 1  # unknown, where all words of training are known
    found = facts(tokens, tokens[:, 0], "classes", cut=400)
    assert found.apart.auc < data_shift.APART
    assert two_sample.compared(found.x, found.v, permutations=49).auc > 0.8, "unlike the count of unknown words"
    other = facts(torch.where(tokens > 150, tokens % 7 + 2, tokens), tokens[:, 0], "classes", cut=400)
    shifted = DataFacts(other.train, found.val, "classes")
    assert shifted.apart.auc > 0.9, "another tokeniser is one"


def test_only_sequences_are_made_equally_long() -> None:
    for shapes in (((5, 3), (5, 4)), ((5, 1, 8, 8), (5, 3, 8, 8)), ((5, 6, 2), (5, 4, 3))):
        x, v = (torch.ones(shape) for shape in shapes)
        train, val = equally_long(rows(x, x[:, 0]), rows(v, v[:, 0]))
        assert (train.inputs.shape, val.inputs.shape) == (x.shape, v.shape)


def test_a_small_shift_among_many_features_is_found() -> None:
    a, b = normal(1000, 400), normal(1000, 400, seed=1)
    assert two_sample.compared(a, b, permutations=49).p > 0.05
    found = two_sample.compared(a, b + 0.15, permutations=49)
    assert found.p == 0.02
    assert found.auc > 0.8
    assert two_sample.compared(a, b + 0.15, permutations=49).auc == found.auc


def test_the_area_under_the_curve_counts_pairs() -> None:
    scores = torch.randint(0, 4, (30, 3), generator=torch.Generator().manual_seed(0)).double()
    positive = normal(30, 3) > 0.3
    for c in range(3):
        pairs = [(p, n) for p in scores[positive[:, c], c] for n in scores[~positive[:, c], c]]
        naive = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs)
        assert float(two_sample.auc(scores, positive)[c]) == pytest.approx(naive)


def test_unseen_predictions_are_those_of_a_regression_without_the_row() -> None:
    z, t = two_sample.standardised(normal(25, 4).double()), normal(25, 2, seed=1).double()
    fold = torch.arange(25) % 3
    told = two_sample.unseen(z, t, fold)
    for i in range(25):
        seen = fold != fold[i]
        weight = torch.linalg.inv(z[seen].T @ z[seen] + 4 * torch.eye(4).double()) @ z[seen].T @ t[seen]
        torch.testing.assert_close(told[i], z[i] @ weight)


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(UserError, match="3 and of 4 features"):
        two_sample.compared(normal(9, 3), normal(9, 4))
    with pytest.raises(UserError, match="too few"):
        two_sample.compared(normal(9, 3), normal(2, 3))
    with pytest.raises(UserError, match="NaN"):
        two_sample.compared(normal(9, 3), normal(9, 3) / 0)
    constant = two_sample.compared(torch.ones(9, 3), torch.ones(9, 3))
    assert constant.auc == 0.5
    assert constant.p == 1.0
    assert constant.mean == 0.0


# ----------------------------------------------------------------------------------------------------------- the facts


def test_copies_are_found_within_and_across() -> None:
    x = normal(60, 5)
    x[10:20], x[50:55] = x[:10], x[:5]  # ten copies in training, five in validation
    x[0, 0], x[10, 0], x[50, 0] = 0.0, -0.0, 0.0
    found = facts(x, torch.zeros(60).long(), "classes", cut=40)
    assert found.repeated == pytest.approx(10 / 40)
    assert found.seen.nonzero().flatten().tolist() == list(range(10, 15))
    assert found.room == pytest.approx(5 * math.log(30), abs=0.1)


def test_the_scale_of_the_inputs() -> None:
    x = torch.cat([normal(400, 1), 50 * normal(400, 1, seed=1) + 900, torch.full((400, 1), 7.0)], 1)
    found = facts(x, torch.zeros(400).long(), "classes")
    mean, spread, ratio = found.scale
    assert found.constant == 1
    assert ratio == pytest.approx(50, rel=0.2)
    assert spread == pytest.approx(50 / 2**0.5, rel=0.1)
    assert mean < 1000


@pytest.mark.parametrize("kind", ["classes", "regression"])
def test_the_order_of_answers_shows_in_the_batches(kind: str) -> None:
    y = torch.arange(640) // 64
    answers = y if kind == "classes" else y[:, None] + 0.01 * normal(640, 1)
    both = rows(normal(640, 2), answers)
    found = DataFacts(both, both, kind)

    def batches(size: int, row: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(normal(len(part), 2), answers[part]) for part in row.split(size)]

    mixed = torch.randperm(640, generator=torch.Generator().manual_seed(0))
    for size in (1, 32):
        in_order, at_random = order(batches(size, torch.arange(640)), found), order(batches(size, mixed), found)
        assert in_order is not None
        assert at_random is not None
        assert in_order.clumped > 0.95
        assert at_random.clumped < 0.05
    assert in_order.pure == (1.0 if kind == "classes" else 0.0)
    assert at_random.pure == 0.0
    assert order(batches(640, mixed), found) is None  # one batch has no order


def test_a_feature_that_tells_all_by_itself() -> None:
    x, y = normal(900, 6), torch.arange(900) % 3
    x[:, 4] = y + 0.2 * torch.rand(900)
    alone = facts(x, y, "classes").alone
    assert int(alone.argmax()) == 4
    assert float(alone[4]) > 0.98
    assert float(alone[:4].max()) < 0.5
    smooth = facts(x, torch.sin(x[:, 1:2]), "regression").alone
    assert int(smooth.argmax()) == 1
    assert float(smooth[1]) > 0.98
    assert float(smooth[2:].max()) < 0.2


def test_ties_do_not_read_the_order_of_the_file() -> None:
    """Rows sorted by class and a constant feature: looking at neighbours in the file would tell everything."""
    y = torch.arange(600) // 200
    x = torch.cat([(torch.arange(600) % 2)[:, None].float(), torch.ones(600, 1)], 1)
    assert float(facts(x, y, "classes", cut=600 - 6).alone.max()) < 0.5


def test_classes_keep_their_numbers() -> None:
    train, val = torch.tensor([0, 3, 3]), torch.tensor([1, 5])
    assert [part.tolist() for part in data_facts.classes_of(train, val, "classes") or ()] == [[0, 3, 3], [1, 5]]
    signs = data_facts.classes_of(torch.tensor([[-1.0], [1.0]]), torch.tensor([[1.0]]), "binary")
    assert signs is not None
    assert [part.tolist() for part in signs] == [[0, 1], [1]]
    assert data_facts.classes_of(train, val, "regression") is None


def test_tokens_are_counted_by_place_where_there_are_few() -> None:
    x = torch.tensor([[0, 2], [1, 1], [2, 0]])
    found = facts(x.repeat(4, 1), torch.zeros(12).long(), "classes")
    assert found.tokens == 3
    assert found.x[0].tolist() == [1, 0, 0, 0, 0, 1]


def test_a_glance_learns_what_can_be_learned_and_nothing_else() -> None:
    x, y = specimens.groups(rows=600)
    own = torch.arange(600)
    assert glance.accuracy(x, y, own) > 0.9
    assert glance.accuracy(x, y.roll(1), own) < 0.35
    # Four copies of every row and random labels: whoever looks at copies knows the answers.
    noise = torch.randint(0, 2, (150,), generator=torch.Generator().manual_seed(0)).repeat(4)
    assert glance.accuracy(x[:150].repeat(4, 1), noise, own[:150].repeat(4)) < 0.65
    assert glance.explained(x, x[:, :1] * 2 + 5, own) > 0.9


# -------------------------------------------------------------------------------------------------- the second opinion


@pytest.mark.parametrize(
    ("outputs", "targets", "kind", "score"),
    [
        ([[2.0, 1.0], [0.0, 3.0]], [0, 0], "classes", 0.5),
        ([[1.2], [2.9]], [1, 3], "classes", 1.0),
        ([[0.9], [0.2]], [[1.0], [1.0]], "binary", 0.5),
        ([[3.0], [-0.2]], [1.0, 0.0], "binary", 1.0),
        ([[3.0], [-0.2]], [1.0, -1.0], "binary", 1.0),
        ([[0.1, 0.9], [0.8, 0.2]], [[0.0, 1.0], [0.0, 1.0]], "one_hot", 0.5),
        ([[0.9, 0.1], [0.8, 0.7]], [[1.0, 0.0], [0.0, 1.0]], "multi_label", 0.75),
        ([[1.0], [2.0], [3.0]], [[1.0], [2.0], [3.0]], "regression", 1.0),
        ([[2.0], [2.0], [2.0]], [1.0, 2.0, 3.0], "regression", 0.0),
    ],
)
def test_one_scale_for_any_outputs(outputs: list, targets: list, kind: str, score: float) -> None:
    assert standard_score(torch.tensor(outputs), torch.tensor(targets), kind) == pytest.approx(score)


def test_the_opinion_of_a_learnable_task() -> None:
    found = second_opinion.on(facts(*specimens.groups(), "classes"))
    assert found.known
    assert found.classes == 5
    assert min(found.train_score, found.val_score) > 0.93
    assert 0.1 < found.chance < 0.3
    assert found.confusion.sum() == 300
    assert float(found.confusion.trace()) / 300 == pytest.approx(found.val_score)
    assert found.given.median() > 0.9
    assert found.held_out.sum(1).allclose(torch.ones(600))


def test_the_opinion_leaves_chance_alone() -> None:
    x, y = specimens.groups(rows=150)
    before = torch.random.get_rng_state()
    first, again = (second_opinion.on(facts(x, y, "classes")) for _ in range(2))
    assert torch.equal(first.held_out, again.held_out)
    assert torch.equal(before, torch.random.get_rng_state())


def test_copies_do_not_help_the_opinion() -> None:
    x = normal(200, 8).repeat(4, 1)
    y = torch.randint(0, 2, (200,), generator=torch.Generator().manual_seed(1)).repeat(4)
    found = second_opinion.on(facts(x, y, "classes", cut=600))
    assert abs(found.train_score - 0.5) < 0.12
    assert found.fit > 0.9


def test_the_opinion_on_numbers_of_any_size() -> None:
    x, y = specimens.waves(rows=900)
    plain, large = (second_opinion.on(facts(x, target, "regression")) for target in (y, 4e6 * y + 1e7))
    assert plain.val_score > 0.8
    assert large.val_score == pytest.approx(plain.val_score, abs=0.02)
    assert large.val_outputs.mean() == pytest.approx(1e7, rel=0.2)


def test_the_opinion_on_several_labels_and_on_what_it_does_not_know() -> None:
    x = normal(600, 6)
    found = second_opinion.on(facts(x, (x[:, :3] > 0.5).float(), "multi_label"))
    assert found.val_score > 0.9
    assert 0.6 < found.chance < 0.8
    assert second_opinion.on(facts(x, x, "reconstruction")) is Opinion.none
    assert not Opinion.none.known


# ------------------------------------------------------------------------------------------------ signs of the rules


def chart(
    x: torch.Tensor, y: torch.Tensor, outputs: int = 5, epochs: int = 12, model: nn.Module | None = None
) -> Chart:
    def make(seed: int) -> dict:
        torch.manual_seed(seed)
        own = model or specimens.network(x[0].numel(), 48, outputs)
        return specimens.program(own, (x, y), epochs=epochs)

    return Chart(from_function(make))


def test_label_bug_constant() -> None:
    x, y = specimens.groups()
    found = label_bug.judge(chart(x, torch.where(torch.arange(900) < 600, torch.zeros_like(y), y), epochs=2))
    assert found is not None
    assert found.confidence > 0.95
    assert "all 600 training targets are 0" in found.evidence[0]


def test_label_bug_other_numbers_in_validation() -> None:
    x, y = specimens.groups()
    patient = chart(x, torch.where(torch.arange(900) < 600, y, (y + 2) % 5))
    found = label_bug.judge(patient)
    assert found is not None
    assert found.confidence > 0.9
    treated = found.remedies[0].change(patient.make(0))
    targets = torch.cat([target for _, target in treated.val])
    assert torch.equal(targets, y[600:])


def test_label_bug_unrelated_in_training_only() -> None:
    x, y = specimens.groups()
    mixed = torch.randperm(600, generator=torch.Generator().manual_seed(0))
    found = label_bug.judge(chart(x, torch.cat([y[:600][mixed], y[600:]])))
    assert found is not None
    assert "training rows cannot" in found.evidence[0]


def test_label_noise_in_both_splits() -> None:
    x, y = specimens.groups(rows=2400)
    found = label_noise.judge(chart(x, label_noise._noisy(y, 0.35)))
    assert found is not None
    assert "most certain" in found.evidence[0]


def test_data_shift_of_classes_and_of_targets() -> None:
    x, y = specimens.groups()
    by_class = y.argsort(stable=True)
    found = data_shift.judge(chart(x[by_class], y[by_class]))
    assert found is not None
    assert "have no training row" in " ".join(found.evidence)
    x, y = specimens.waves(rows=1200)
    late = (torch.arange(1200) >= 800)[:, None]
    found = data_shift.judge(chart(x, torch.where(late, 10 * y + 3, y), outputs=1))
    assert found is not None
    assert "slope" in found.evidence[0]


def test_leakage_of_copies() -> None:
    x, y = specimens.groups(rows=450, spread=2.5)
    mixed = torch.randperm(900, generator=torch.Generator().manual_seed(0))
    found = leakage.judge(chart(x.repeat(2, 1)[mixed], y.repeat(2)[mixed]))
    assert found is not None
    assert "copies of training rows" in found.evidence[0]
    assert "metric" in found.evidence[1]


NOISE = torch.randn(900, 8, generator=torch.Generator().manual_seed(3))


def test_a_copy_of_the_answer_among_strong_and_among_worthless_columns() -> None:
    """Neither says more than the other about the copy: that the others tell much, or that they tell nothing."""
    easy, y = specimens.groups(spread=0.3)
    renamed = torch.tensor([7.0, -2.0, 0.5, 3.0, 1.0])[y]
    for others in (easy, NOISE):
        found = leakage.judge(chart(torch.cat([others, renamed[:, None]], 1), y))
        assert found is not None
        assert found.evidence == (
            f"column {others.shape[1]} is the answer itself (one value for each class) in 100.0% of the training rows",
        )
    mistaken = torch.where(torch.arange(900) % 300 == 0, 0.5, renamed)
    found = leakage.judge(chart(torch.cat([NOISE, mistaken[:, None]], 1), y))
    assert found is not None
    assert found.confidence < 0.85
    assert "in 98.3% of" in found.evidence[0]

    x, values = specimens.waves(rows=900)
    copy = torch.where(torch.arange(900)[:, None] % 150 == 0, 0.0, 3 - 40 * values)  # a few rows were never filled in
    for others in (x, NOISE):
        found = leakage.judge(chart(torch.cat([copy, others], 1), values, outputs=1))
        assert found is not None
        assert "column 0 is the answer itself (on whatever scale)" in found.evidence[0]


def test_what_looks_like_a_copy_of_the_answer_and_is_none() -> None:
    y = (torch.arange(900) % 30 == 0).long()
    mostly = torch.where(
        torch.arange(900) % 60 == 0, 0.0, y.float()
    )  # right in 98 % of the rows, in half of the rare class
    assert leakage.judge(chart(torch.cat([NOISE, mostly[:, None]], 1), y, outputs=2)) is None
    series = torch.sin(torch.arange(1000) / 1000.0)  # the next value is nearly the last one
    windows = torch.stack([series[start : start + 900] for start in range(20)], 1)
    assert leakage.judge(chart(windows, series[20:920, None], outputs=1)) is None
    first = leakage.judge(chart(NOISE[:, :, None], NOISE[:, :1], outputs=1))  # a sequence: remember its first place
    assert first is None or "the answer itself" not in first.evidence[0]
    pairs = chart(NOISE, NOISE, outputs=8)  # an autoencoder
    assert leakage.judge(pairs) is None


def test_decay_that_holds_every_weight_down() -> None:
    x, y = specimens.groups()

    def make(seed: int) -> dict:
        torch.manual_seed(seed)
        model = specimens.network(12, 48, 48, 5)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.3)
        return specimens.program(model, (x, y), optimizer)

    found = over_regularised.judge(Chart(from_function(make)))
    assert found is not None
    assert "weight decay is 0.3" in found.evidence[0]
