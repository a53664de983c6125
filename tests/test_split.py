"""Holding rows out and cross-validation: every row once, classes in their shares, and sentences for what cannot be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seminal.core import UserError
from seminal.data.split import Fold, Holdout

CLASSES = st.lists(st.sampled_from("abc"), min_size=60, max_size=200).filter(
    lambda rows: min(rows.count(name) for name in "abc") >= 6
)


@given(CLASSES, st.integers(0, 9), st.sampled_from([0.1, 0.2, 0.5, 0.8]))
def test_holdout_keeps_size_and_shares(rows: list[str], seed: int, fraction: float) -> None:
    targets = np.array(rows)
    marks = Holdout(fraction, seed).assign(targets, stratify=True)
    held = marks == "val"
    assert set(marks) == {"train", "val"}
    assert held.sum() == int(np.ceil(fraction * len(rows)))
    for name in "abc":
        assert abs(held[targets == name].sum() - fraction * (targets == name).sum()) < 2


@given(CLASSES, st.integers(2, 6), st.booleans())
def test_folds_hold_each_row_out_once(rows: list[str], of: int, stratify: bool) -> None:
    targets = np.array(rows)
    held = np.stack([Fold(i, of).assign(targets, stratify=stratify) == "val" for i in range(of)])
    assert (held.sum(axis=0) == 1).all()
    if stratify:
        for name in "abc":
            counts = held[:, targets == name].sum(axis=1)
            assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("stratify", [True, False])
def test_the_seed_decides(stratify: bool) -> None:
    targets = np.repeat(["a", "b"], 50)
    for split, other in [(Holdout(), Holdout(seed=1)), (Fold(0, 5), Fold(0, 5, seed=1))]:
        marks = split.assign(targets, stratify=stratify)
        assert (marks == split.assign(targets, stratify=stratify)).all()
        assert (marks != other.assign(targets, stratify=stratify)).any()


def test_names_and_numbers_fall_apart_alike() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 100)
    names = np.array(["ape", "bee", "cat", "dog"])[labels]
    assert (Holdout().assign(labels, stratify=True) == Holdout().assign(names, stratify=True)).all()


@pytest.mark.parametrize(
    ("split", "rows", "stratify", "says"),
    [
        (Holdout(), "aaabbbc", True, "class `c` has a single sample.*add samples of it or leave the class out"),
        (Holdout(), "aaabcd", True, "class `b` has a single sample.*The same holds for `c`, `d`"),
        (Holdout(), "aabbcc", True, "gives validation 2 rows, fewer than the 3 classes. Hold out 0.5 or more"),
        (Holdout(0.8), "aabbccdd", True, "gives training 1 row, fewer than the 4 classes. Hold out 0.5 or less"),
        (Holdout(), "a", False, "1 row cannot be divided"),
        (Holdout(0.9), "ab", False, "leaves none to train on"),
        (Fold(0, 5), "aaabbbbb", True, "class `a` has only 3 samples.*ask for 3 folds"),
        (Fold(0, 5), "abbbbb", True, "class `a` has a single sample.*add samples of it or leave"),
        (Fold(0, 5), "abc", False, "5 folds need at least 5 rows, there are 3"),
    ],
)
def test_refusals_say_what_to_do(split: Holdout | Fold, rows: str, stratify: bool, says: str) -> None:
    with pytest.raises(UserError, match=says):
        split.assign(np.array(list(rows)), stratify=stratify)


def test_the_advised_share_works() -> None:
    rows = np.array(list("aabbcc"))
    assert sorted(Holdout(0.5).assign(rows, stratify=True)[::1]) == ["train"] * 3 + ["val"] * 3


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Holdout(0), "between 0 and 1"),
        (lambda: Holdout(1.5), "between 0 and 1"),
        (lambda: Fold(0, 1), "write 2 folds or more"),
        (lambda: Fold(5, 5), "counted 0 to 4"),
    ],
)
def test_impossible_splits_are_refused_when_written(make, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()
