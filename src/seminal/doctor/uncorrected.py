"""An Adam that leaves out its bias correction: BertAdam, and what others call ``correct_bias=False``.

Its first steps are several times too large, however small the rate is (`seminal.pieces.adam.excess`). A network that was
trained before is thrown out of what it had learned, and a short run does not find back: Mosbach et al. 2021, Zhang et al.
2021.
"""

from __future__ import annotations

from seminal.doctor import remedies
from seminal.doctor.findings import Finding
from seminal.doctor.loss_curve import Curve, thrown_back
from seminal.doctor.vitals import Vitals
from seminal.pieces.adam import excess

FIRST = 300  # steps: until there they are twice too large
TIMES = 1.5  # the rate's own largest: a warm-up that is long enough leaves less of the excess
MOVED = (1e-3, 0.5)  # shares of a weight: smaller steps throw nothing back, larger ones are the fault of the rate
EXPLAINED = frozenset(
    {"lr_high", "lr_low", "dead_relu", "saturation", "vanishing_gradient", "exploding_gradient"}
    | {"saddle_plateau", "underfitting", "epochs_few"}
)


def uncorrected_adam(vitals: Vitals, loss: Curve | None) -> Finding | None:
    """Sure where the loss was thrown back, or where steps are as large as usual but for the excess."""
    evidence = too_far(vitals)
    if loss is None or vitals.broken or not evidence:
        return None
    back = thrown_back(vitals.loss[:FIRST], loss.first)
    if back is not None:
        evidence.append(
            f"the loss was thrown back: it rose from {loss.first:.3g} to {back[1]:.3g} until step {back[0]}"
        )
    if not loss.falls:
        evidence.append(f"the loss does not fall ({loss.first:.3g} → {loss.last:.3g})")
    moves = [(move, move / _excess(vitals, step)) for step, move in zip(vitals.at, vitals.moves()) if move == move]
    largest, usual = (max(column, default=0.0) for column in zip(*moves)) if moves else (0.0, 0.0)
    if (loss.falls and back is None) or not MOVED[0] < largest or usual > MOVED[1]:
        return None
    sure = back is not None or largest > MOVED[1]
    return Finding("optimizer", 0.85 if sure else 0.6, tuple(evidence), cures(), explains=EXPLAINED)


def too_far(vitals: Vitals) -> list[str]:
    """How far the steps go that are too large; empty where the optimiser corrects them, or a long warm-up holds them back."""
    if not vitals.uncorrected or not any(vitals.rate):
        return []
    acts, step, rate = max((rate * _excess(vitals, step), step, rate) for step, rate in zip(vitals.seen, vitals.rate))
    if acts < TIMES * max(vitals.rate):
        return []
    return [
        f"the optimiser is an Adam without bias correction: step {step + 1} is up to {acts / rate:.1f} times too large, so "
        f"that a learning rate of {rate:.2g} acts like {acts:.2g}"
    ]


def cures() -> tuple[remedies.Remedy, ...]:
    """What the studies found to help, the surest first."""
    return remedies.corrected(), remedies.longer(3), remedies.warmed(0.1)


def _excess(vitals: Vitals, step: int) -> float:
    first, second = vitals.uncorrected
    return excess(step + 1, (first, second))
