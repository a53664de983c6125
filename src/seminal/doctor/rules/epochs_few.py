"""Training stopped while it was still improving clearly.

Sign: a good part of the fall of the loss came at the very end of the run, and going on helps clearly.
Reason: none but impatience.
Source: DIAGNOSIS.md 4.4 (more time), DeepFD's most frequent label after activation; 4.5, rule 8 on its rivals.
Looks alike: a rate that is too low. Where the rate is usual, the epochs are what is wrong; where it is far below, the
rate is; between the two both are named.
"""

from __future__ import annotations

from typing import Any

import torch

from seminal.doctor import pace, remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "optimisation"
LATE = 0.08  # share of the fall in the last quarter of the run


def judge(chart: Chart) -> Finding | None:
    found = pace.asked(chart)
    if found is None or (found.falling < LATE and found.steps >= pace.FEW):
        return None
    if found.rate < 0.1 * found.lowest:  # a few times the epochs would not be the cure
        return None
    longer = found.longer
    if longer is None or not longer.helped:
        return None
    epochs = chart.program.epochs
    return Finding(
        "epochs_few",
        min(0.95, signs.confidence(longer, 0.6) + 0.1 * (found.steps < pace.FEW)),
        (
            longer.told(f"{pace.LONGER * epochs} epochs for {epochs}"),
            f"{found.falling:.0%} of the fall of the loss came in the last quarter of the {found.steps} steps",
        ),
        (remedies.longer(pace.LONGER), remedies.longer(20), remedies.rate(3)),
        (),
        frozenset({"underfitting", "saddle_plateau", "vanishing_gradient", "optimizer", "over_regularised"}),
    )


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = specimens.network(12, 48, 48, 5)
    return specimens.program(model, specimens.groups(), torch.optim.Adam(model.parameters(), lr=3e-4), epochs=3)


def well(seed: int = 0) -> dict[str, Any]:
    """A few epochs that are enough, because the rows are many and alike."""
    torch.manual_seed(seed)
    model = specimens.network(12, 64, 5)
    data = specimens.groups(rows=4000, spread=0.3)
    return specimens.program(model, data, torch.optim.Adam(model.parameters(), lr=1e-2), epochs=3)
