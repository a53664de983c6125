"""The generator's samples lack variety.

Sign: with two players (parameters that learn though the outputs do not depend on them), samples lie where real rows
are, and most real rows have no sample near.
Reason: the generator follows its critic to the best place of the moment; a critic that is slower than it never drives
it on.
Source: coverage and density (Naeem et al. 2020), recall (Kynkäänniemi et al. 2019); DIAGNOSIS.md section 5 for
remedies.
Needs: outputs of the shape of the targets, which are the real rows. Other programs are not judged.
Looks alike: a critic that is too strong, whose generator is nowhere near the real rows (`critic_too_strong`).
"""

from __future__ import annotations

from typing import Any

from seminal.doctor import two_players
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "optimisation"
REAL, COVERED = 0.4, 0.3  # shares: samples that look real, real rows that are reached


def judge(chart: Chart) -> Finding | None:
    game = two_players.played(chart)
    if game is None or game.real < REAL or game.covered > COVERED:
        return None
    return Finding(
        "mode_collapse",
        0.85 if game.covered < COVERED / 2 else 0.7,
        (
            f"{100 * game.real:.0f} % of the samples have a real row near, but only {100 * game.covered:.0f} % of "
            f"the real rows have a sample near; the samples' variance is {game.spread:.2g} of the real rows'",
        ),
        (),
        (f"critic_too_strong: the generator's gradient is still {game.gradient:.2g} of what it was",),
        frozenset({"underfitting", "lr_high", "optimizer", "epochs_few", "label_bug", "data_shift", "input_scale"}),
    )


def sick(seed: int = 0) -> dict[str, Any]:
    """A critic at a two-hundredth of the generator's rate."""
    return two_players.game(seed, rate=2e-2, critic_rate=1e-4)


def well(seed: int = 0) -> dict[str, Any]:
    return two_players.game(seed, rate=3e-3, critic_rate=3e-3)
