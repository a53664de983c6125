"""Parameters that should learn do not.

Sign: parameters on which the outputs depend require no gradient, or the optimiser does not have them, or they are in
a plain list where torch does not see them, and a trial in which they learn does clearly better. Or: gradients are
there and the optimiser's step never comes, or comes after they were cleared.
Reason: the optimiser was made before a layer was put in, or of one part only; a head was frozen instead of a body.
Source: DIAGNOSIS.md 4.2 and 4.3 (check 6); TrainCheck (parameters change after a step).
Looks alike: a pretrained body that is frozen on purpose, fixed random features: nothing is gained by letting them
learn.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seminal.doctor import remedies, signs, specimens
from seminal.doctor.anatomy import Anatomy
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Finding
from seminal.doctor.unregistered import unregistered

STAGE = "code"


def judge(chart: Chart) -> Finding | None:
    anatomy = chart.anatomy
    unmade = _never_stepped(anatomy)
    if unmade:
        return Finding("frozen_parameters", 0.95, (unmade,), (remedies.default_step(),), (), _EXPLAINED)
    moved = anatomy.steps.moved  # a second optimiser may have what the first has not
    still = [name for name in dict.fromkeys((*anatomy.unowned, *anatomy.frozen)) if name not in moved]
    owned = [p for group in chart.program.optimizer.param_groups for p in group["params"]]
    plain = unregistered(chart.program.model, owned)
    if not (still or plain) or not chart.in_time:
        return None
    sizes = {name: p.numel() for name, p in chart.program.model.named_parameters()}
    arm = remedies.all_parameters()
    effect = signs.effect(chart, arm)
    if not effect.helped or signs.well(chart):
        return None
    why = (_told(anatomy.unowned, "the optimiser does not have"), _told(anatomy.frozen, "require no gradient"))
    evidence = [
        f"{len(each.modules)} modules with {each.numbers:,} numbers are in `{each.place}`, which is a plain "
        f"{type(each.value).__name__}: torch does not see them, and no optimiser has them"
        for each in plain
    ]
    if still:
        evidence.append(
            f"{len(still)} of {len(sizes)} parameters ({sum(sizes[n] for n in still):,} of {sum(sizes.values()):,} "
            f"numbers) cannot move: {'; '.join(filter(None, why))}"
        )
    evidence.append(effect.told("with all parameters learning"))
    return Finding("frozen_parameters", signs.confidence(effect, 0.85), tuple(evidence), (arm,), (), _EXPLAINED)


_EXPLAINED = frozenset(
    {
        "underfitting",
        "lr_low",
        "epochs_few",
        "optimizer",
        "vanishing_gradient",
        "saddle_plateau",
        "dead_relu",
        "init_bad",
    }
)


def _told(names: tuple[str, ...], what: str) -> str:
    return f"{what}: {', '.join(names[:4])}{' …' if len(names) > 4 else ''}" if names else ""


def _never_stepped(anatomy: Anatomy) -> str:
    """Nothing moves though gradients are there: how that comes. Empty: it moves, or its rate is just tiny."""
    steps = anatomy.steps
    if len(steps.losses) < 2 or steps.moved:
        return ""
    if not steps.vitals.steps:
        return f"in {len(steps.losses)} training steps, optimizer.step() was never called, and no parameter moved"
    arrived = max((steps.received[name] for name in steps.idle), default=0.0)
    if arrived > 0 and max(steps.vitals.taken, default=0.0) == 0:
        return (
            f"backward leaves gradients (norm up to {arrived:.3g}), they are cleared before optimizer.step(), and "
            "no parameter moves"
        )
    return ""


def sick(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    body, head = specimens.network(12, 64, 5), nn.Sequential(nn.ReLU(), nn.Linear(5, 5))
    return specimens.program(
        nn.Sequential(body, head), specimens.groups(), torch.optim.Adam(head.parameters(), lr=3e-3)
    )


def well(seed: int = 0) -> dict[str, Any]:
    """A fixed random projection of the inputs, wide enough to lose nothing."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(12, 64, bias=False), specimens.network(64, 64, 5))
    model[0].requires_grad_(False)
    return specimens.program(model, specimens.groups())
