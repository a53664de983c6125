"""Losses and metrics against torch, scikit-learn and hand-written loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics
from torch import nn

from seminal.core import DataSpec, UserError
from seminal.tasks.classification import Classification
from seminal.tasks.regression import Regression
from seminal.tasks.translation import bleu, bleu_sums

CLOUD = DataSpec("cloud", "table", {"train": 100, "val": 10}, (5,), tuple("abcdefg"), (10, 20, 5, 30, 15, 10, 10))
HOUSE = DataSpec(
    "houses",
    "table",
    {"train": 100, "val": 10},
    (5,),
    target_names=("p", "q"),
    target_mean=(3e5, -1.0),
    target_std=(1e5, 2.0),
)


class Fixed(nn.Module):
    """A model that answers what it is told."""

    def __init__(self, answer):
        super().__init__()
        self.answer = nn.Parameter(answer)

    def forward(self, x):
        return self.answer[: len(x)]


def classes(rows=64):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(rows, 7, generator=generator) * 3
    return logits, {
        "input": torch.zeros(rows, 5),
        "target": torch.randint(0, 7, (rows,), generator=generator),
        "index": torch.arange(rows),
    }


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("balance", [False, True])
def test_cross_entropy_is_torchs_mean(smoothing, balance):
    logits, batch = classes()
    task = Classification(label_smoothing=smoothing, balance=balance).fitted(CLOUD)
    (turn,) = task.turns(Fixed(logits), batch)
    weight = torch.tensor(task.class_weights) if balance else None
    expected = F.cross_entropy(logits, batch["target"], weight, label_smoothing=smoothing)
    torch.testing.assert_close(turn.loss / turn.weight, expected)


def test_balanced_weights_give_every_class_the_same_say():
    task = Classification(balance=True).fitted(CLOUD)
    shares = [weight * count for weight, count in zip(task.class_weights, CLOUD.class_counts)]
    assert shares == pytest.approx([shares[0]] * 7)
    assert sum(shares) == pytest.approx(sum(CLOUD.class_counts))


def test_a_mixed_batch_is_the_mixture_of_two_losses():
    logits, batch = classes()
    other = batch["target"].roll(1)
    share = torch.linspace(0, 1, 64)
    task = Classification(label_smoothing=0.1).fitted(CLOUD)
    (turn,) = task.turns(Fixed(logits), batch | {"other_target": other, "share": share})
    soft = share[:, None] * F.one_hot(batch["target"], 7) + (1 - share[:, None]) * F.one_hot(other, 7)
    torch.testing.assert_close(turn.loss / turn.weight, F.cross_entropy(logits, soft, label_smoothing=0.1))


def test_one_output_is_the_log_odds_of_the_second_class():
    z = torch.randn(32, 1, generator=torch.Generator().manual_seed(0))
    batch = {"input": torch.zeros(32, 5), "target": torch.arange(32) % 2, "index": torch.arange(32)}
    (turn,) = Classification(classes=2).turns(Fixed(z), batch)
    expected = F.binary_cross_entropy_with_logits(z[:, 0], batch["target"].float())
    torch.testing.assert_close(turn.loss / turn.weight, expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_cross_entropy_over_classes(smoothing):
    logits, batch = classes()
    task = Classification(loss="binary_cross_entropy", label_smoothing=smoothing).fitted(CLOUD)
    (turn,) = task.turns(Fixed(logits), batch)
    wanted = F.one_hot(batch["target"], 7) * (1 - smoothing) + smoothing / 7
    p = logits.sigmoid()
    by_hand = -(wanted * p.log() + (1 - wanted) * (1 - p).log()).sum(1).mean()
    torch.testing.assert_close(turn.loss / turn.weight, by_hand)
    assert task.predict(Fixed(logits), batch)["probability"].max() <= 1


def test_one_output_has_one_loss():
    """Its log-odds: binary cross-entropy of the probability, whichever loss is asked for; and the shares add up to 1."""
    odds, target = torch.linspace(-4, 4, 20)[:, None], torch.arange(20) % 2
    batch = {"input": torch.zeros(20, 5), "target": target, "index": torch.arange(20)}
    plain = F.binary_cross_entropy_with_logits(odds[:, 0], target.float())
    for loss in ("cross_entropy", "binary_cross_entropy"):
        task = Classification(2, loss)
        (turn,) = task.turns(Fixed(odds), batch)
        torch.testing.assert_close(turn.loss / turn.weight, plain)
        assert task.summary(task.score(Fixed(odds), batch))["loss"] == pytest.approx(float(plain), rel=1e-6)
        probability = task.predict(Fixed(odds), batch)["probability"]
        torch.testing.assert_close(probability[:, 1], odds[:, 0].sigmoid())
        torch.testing.assert_close(probability.sum(1), torch.ones(20))


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_probabilities_are_scored_as_their_logits_are(loss):
    logits, batch = classes(40)
    task = Classification(loss=loss).fitted(CLOUD)
    probability = task.predict(Fixed(logits), batch)["probability"].detach()
    wanted, found = task.score(Fixed(logits), batch), task.score_probability(probability, batch["target"])
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-4)


def test_of_many_classes_no_pairs_are_counted(monkeypatch):
    logits, batch = classes(200)
    task = Classification().fitted(CLOUD)
    few = task.score(Fixed(logits), batch)
    monkeypatch.setattr("seminal.tasks.classification.MOST_PAIRED", 6)
    many = task.score(Fixed(logits), batch)
    assert few.keys() - many.keys() == {"confusion"}
    assert task.summary(many) == task.summary(few)


def test_a_target_that_never_changes_is_explained_or_not():
    task = Regression(mean=(5.0,), std=(2.0,))
    for wrong, r2 in ((0.01, 0.0), (0.0, 1.0)):
        target = torch.full((7, 1), -0.85)
        batch = {"input": torch.zeros(7, 5), "target": target, "index": torch.arange(7)}
        assert task.summary(task.score(Fixed(target + wrong), batch))["r2"] == r2


def test_classification_metrics_are_scikit_learns():
    logits, batch = classes(200)
    task = Classification(label_smoothing=0.3).fitted(CLOUD)
    model = Fixed(logits)
    halves = [{k: v[i : i + 77] for k, v in batch.items()} for i in (0, 77, 154)]
    parts = [task.score(Fixed(logits[i : i + 77]), half) for i, half in zip((0, 77, 154), halves)]
    sums = {name: sum(part[name] for part in parts) for name in parts[0]}
    found = task.summary(sums)
    truth, guess = batch["target"].numpy(), logits.argmax(1).numpy()
    assert found["top1"] == pytest.approx(metrics.accuracy_score(truth, guess))
    assert found["top5"] == pytest.approx(metrics.top_k_accuracy_score(truth, logits.numpy(), k=5))
    assert found["recall"] == pytest.approx(metrics.recall_score(truth, guess, average="macro"))
    assert found["loss"] == pytest.approx(
        metrics.log_loss(truth, model(batch["input"]).softmax(1).detach().numpy()), rel=1e-5
    )
    assert np.array_equal(sums["confusion"].numpy(), metrics.confusion_matrix(truth, guess, labels=range(7)))


@pytest.mark.parametrize(("loss", "theirs"), [("mse", F.mse_loss), ("mae", F.l1_loss), ("huber", F.huber_loss)])
def test_regression_losses_are_torchs_means(loss, theirs):
    values, target = torch.randn(30, 2), torch.randn(30, 2)
    batch = {"input": torch.zeros(30, 5), "target": target, "index": torch.arange(30)}
    task = Regression(loss).fitted(HOUSE)
    (turn,) = task.turns(Fixed(values), batch)
    torch.testing.assert_close(turn.loss / turn.weight, theirs(values, target))
    scored = task.summary(task.score(Fixed(values), batch))["loss"]
    assert scored == pytest.approx(float(theirs(values, target)), rel=1e-6), "validation says what training says"


def test_regression_metrics_are_scikit_learns_in_the_users_units():
    generator = torch.Generator().manual_seed(3)
    values, target = torch.randn(90, 2, generator=generator), torch.randn(90, 2, generator=generator)
    task = Regression().fitted(HOUSE)
    batch = {"input": torch.zeros(90, 5), "target": target, "index": torch.arange(90)}
    parts = [task.score(Fixed(values[i : i + 40]), {k: v[i : i + 40] for k, v in batch.items()}) for i in (0, 40, 80)]
    found = task.summary({name: sum(part[name] for part in parts) for name in parts[0]})
    scale, shift = np.array(HOUSE.target_std), np.array(HOUSE.target_mean)
    truth, guess = target.numpy() * scale + shift, values.numpy() * scale + shift
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, guess), rel=1e-4)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, guess), rel=1e-4)
    assert found["sse"] == pytest.approx(((truth - guess) ** 2).sum(), rel=1e-4)
    np.testing.assert_allclose(task.predict(Fixed(values), batch)["value"].detach().numpy(), guess, rtol=1e-6)


def test_outputs_of_another_shape_than_the_targets_are_refused():
    batch = {"input": torch.zeros(30, 5), "target": torch.randn(30, 1), "index": torch.arange(30)}
    with pytest.raises(ValueError, match="must be alike"):
        next(Regression().turns(Fixed(torch.randn(30, 2)), batch))


def test_a_task_refuses_data_of_the_other_kind():
    with pytest.raises(UserError, match="numbers as targets"):
        Classification().fitted(HOUSE)
    with pytest.raises(UserError, match="classes as targets"):
        Regression().fitted(CLOUD)
    with pytest.raises(UserError, match="no loss `hinge`"):
        Classification(loss="hinge").fitted(CLOUD)


def test_side_heads_add_their_weighted_loss_and_are_not_scored():
    target = torch.tensor([0, 3, 6])
    heads = torch.randn(3, 3, 7)
    task = Classification(auxiliary=0.3).fitted(CLOUD)

    class Heads(nn.Module):
        def forward(self, x):
            return heads

    batch = {"input": torch.zeros(3, 5), "target": target}
    (turn,) = task.turns(Heads(), batch)
    main, *side = (F.cross_entropy(head, target, reduction="sum") for head in heads)
    torch.testing.assert_close(turn.loss, main + 0.3 * side[0] + 0.3 * side[1])
    assert turn.weight == 3
    torch.testing.assert_close(task.predict(Heads(), batch)["probability"], heads[0].softmax(1))


def test_the_bleu_of_tokens_is_sacrebleus():
    """Of corpora of words as numbers, cut into the same parts: sums over parts are the corpus."""
    from sacrebleu.metrics import BLEU

    luck = np.random.default_rng(0)
    for _ in range(20):
        true = [luck.integers(0, 6, luck.integers(4, 20)).tolist() for _ in range(12)]
        found = [[token if luck.random() < 0.8 else 7 for token in row][: luck.integers(1, 21)] for row in true]
        sums = bleu_sums(found[:5], true[:5]) + bleu_sums(found[5:], true[5:])
        said, wanted = ([" ".join(map(str, row)) for row in rows] for rows in (found, true))
        theirs = BLEU(tokenize="none", smooth_method="none", force=True).corpus_score(said, [wanted]).score
        assert bleu(sums) == pytest.approx(theirs)
        assert 0 < theirs < 100
    assert bleu(bleu_sums([[1, 2, 3]], [[1, 2, 3]])) == 0, "no run of four"
