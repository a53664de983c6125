"""Scores of `seminal eval` that are no averages over rows: correlations, and the two that GLUE has for two classes."""

from __future__ import annotations

from collections.abc import Sequence

from seminal.core import Sums


def of_two_classes(sums: Sums) -> dict[str, float]:
    """``matthews``, the correlation of true and predicted class (Matthews 1975), and ``f1`` of the second class; 0 where it
    is a share of nothing. Nothing where there are more classes, or none."""
    confusion = sums.get("confusion")
    if confusion is None or len(confusion) != 2:
        return {}
    (right_no, wrong_yes), (wrong_no, right_yes) = confusion.tolist()
    spread = confusion.sum(0).prod().mul(confusion.sum(1).prod()).sqrt().item()
    named = 2 * right_yes + wrong_yes + wrong_no
    matthews = (right_yes * right_no - wrong_yes * wrong_no) / spread if spread else 0.0
    return {"matthews": matthews, "f1": 2 * right_yes / named if named else 0.0}


def of_classes(sums: Sums) -> dict[str, float]:
    """`of_two_classes`, and ``macro_f1``: the mean of F1 over the classes that are true of a row, or said of one. Nothing
    where no confusion is counted."""
    confusion = sums.get("confusion")
    if confusion is None:
        return {}
    met = confusion.sum(0) + confusion.sum(1)  # how often a class is true, and how often it is said
    each = (2 * confusion.diagonal() / met)[met > 0]
    return of_two_classes(sums) | {"macro_f1": float(each.mean()) if len(each) else 0.0}


def of_numbers(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Pearson's and Spearman's correlation of (true, predicted) numbers; nothing where one side is always the same."""
    from scipy.stats import pearsonr, spearmanr

    true, said = zip(*pairs) if pairs else ((), ())
    if len(set(true)) < 2 or len(set(said)) < 2:
        return {}
    return {"pearson": float(pearsonr(true, said).statistic), "spearman": float(spearmanr(true, said).statistic)}
