"""Training fits, and validation stays far behind or gets worse.

Sign: the trained model is clearly better on training than on validation rows, and better could be had: it was better
itself at an earlier reading, or a plain network that stopped in time is, or the validation loss has risen far above its
lowest.
Reason: with more freedom than rows, a network goes on to learn what is true of these rows alone.
Source: the general guide of model building (training loss small, validation loss large); AUTOTRAINER and SageMaker
Debugger (gap of accuracies).
Looks alike: data that differ between the splits, copies, wrong labels: they are asked about before. A gap alone is no
illness: most good networks fit their training rows better.
"""

from __future__ import annotations

from typing import Any

import torch

from seminal.doctor import remedies, signs, specimens
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding

STAGE = "generalisation"
GAP = 0.15  # of skill, from training to validation
FITS = 0.85  # skill on training rows: what is below is not learned by heart
FORGONE = 0.1  # of skill, that was or could be had
RISEN = 1.5  # the validation loss, in units of its lowest
WIDE = 0.25  # of skill: the gap from which a risen loss is enough


def judge(chart: Chart) -> Finding | None:
    fit, own = signs.fit(chart), signs.skill(chart)
    gap = fit - own
    if gap < GAP or fit < 0.5:
        return None
    readings = chart.course.readings
    best = max(readings, key=lambda reading: signs.bounded(chart.skill(reading.metric)))
    earlier = signs.bounded(chart.skill(best.metric)) - own
    forgone = signs.allowed(chart) - own
    lowest = min(readings, key=lambda reading: reading.val_loss)
    risen = readings[-1].val_loss / lowest.val_loss if lowest.val_loss > 0 else 1.0
    reasons = []
    if earlier >= FORGONE:
        reasons.append(f"after {best.step} of {readings[-1].step} steps it was {own + earlier:.2f} on validation rows")
    if forgone >= FORGONE and fit >= FITS:
        reasons.append(f"a plain network that stops in time reaches {own + forgone:.2f}")
    if risen >= RISEN and gap >= WIDE:
        reasons.append(
            f"the validation loss has risen from {lowest.val_loss:.3g} (after {lowest.step} steps) to "
            f"{readings[-1].val_loss:.3g}"
        )
    if not reasons:
        return None
    evidence = (f"skill is {fit:.2f} on training rows and {own:.2f} on validation rows", *reasons)
    sure = min(0.9, 0.55 + 0.1 * len(reasons) + 0.1 * (earlier >= FORGONE))
    cures = (remedies.stopped_early(), remedies.smaller(8), remedies.more_decay())
    return Finding("overfitting", sure, evidence, cures)


def sick(seed: int = 0) -> dict[str, Any]:
    """Few rows with much noise, and a wide network for long."""
    torch.manual_seed(seed)
    own = torch.Generator().manual_seed(6)
    x = torch.randn(240, 10, generator=own)
    y = x[:, :1] - x[:, 1:2] + 0.9 * torch.randn(240, 1, generator=own)
    return specimens.program(specimens.network(10, 128, 128, 1), (x, y), epochs=80)


def well(seed: int = 0) -> dict[str, Any]:
    """As few rows with as much noise, and a small network that stops in time."""
    torch.manual_seed(seed)
    own = torch.Generator().manual_seed(6)
    x = torch.randn(240, 10, generator=own)
    y = x[:, :1] - x[:, 1:2] + 0.9 * torch.randn(240, 1, generator=own)
    model = torch.nn.Linear(10, 1)
    return specimens.program(model, (x, y), torch.optim.Adam(model.parameters(), lr=0.02), epochs=30)
