"""The generator gets no gradient from its critic.

Sign: with two players, the generator's gradient at the end of the run is a small part of what it was, and its samples
are not where real rows are.
Reason: a critic that is sure of every sample sits on the flat end of its sigmoid; log(1 − D) has no slope there.
Source: Goodfellow et al. 2014 (section 3), Arjovsky and Bottou 2017; DIAGNOSIS.md section 5 for remedies.
Needs: outputs of the shape of the targets, which are the real rows, and a run of at least eight sampled steps. Other
programs are not judged.
Looks alike: a generator whose gradient is small because its samples have become good.
"""

from __future__ import annotations

from typing import Any

from seminal.doctor import two_players
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "optimisation"
LEFT = 0.03  # of the generator's first gradient
REAL = 0.2  # share of samples that look real


def judge(chart: Chart) -> Finding | None:
    game = two_players.played(chart)
    if game is None or game.real > REAL or not game.gradient < LEFT:
        return None
    return Finding(
        "critic_too_strong",
        0.85 if game.gradient < LEFT / 3 else 0.7,
        (
            f"the generator's gradient in the last quarter of the run is {game.gradient:.2g} of what it was in the "
            f"first, while only {100 * game.real:.0f} % of its samples have a real row near",
        ),
        (),
        (),
        frozenset(
            {"vanishing_gradient", "underfitting", "lr_low", "optimizer", "epochs_few", "mode_collapse", "target_scale"}
        ),
    )


def sick(seed: int = 0) -> dict[str, Any]:
    """A quick critic with three steps for one, real rows far away, and the loss log(1 − D)."""
    return two_players.game(seed, rate=3e-4, critic_rate=1e-2, turns=3, away=12.0, saturating=True)


def well(seed: int = 0) -> dict[str, Any]:
    return two_players.game(seed, rate=3e-3, critic_rate=3e-3)
