"""What a model does to a few rows: whether it is affine, looks at each row alone, draws at random; how it ends."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seminal.doctor.ending import ending_of
from seminal.doctor.hooks import moody
from seminal.doctor.program import copied
from seminal.doctor.rows import Rows


def model_facts(model: nn.Module, few: Rows) -> dict[str, Any]:
    """What the model does to a few rows, under the names of `Anatomy`. It is in evaluation mode."""
    with torch.no_grad():
        seeded = [_seeded(model, few.inputs, seed) for seed in (0, 1)]
        spread = float(seeded[0].std(0).mean()) + 1e-3 * float(seeded[0].abs().mean()) + 1e-12
        model.train()
        noisy = [_seeded(copied(model), few.inputs, seed) for seed in (0, 1)]
        model.eval()
        differ = not torch.allclose(noisy[0], noisy[1], rtol=1e-4, atol=1e-4 * spread)
        return {
            "end": ending_of(model, few.inputs),
            "linear": _linear(model, few.inputs),
            "alone": _alone(model, few.inputs, seeded[0], spread),
            "restless": float((seeded[0] - seeded[1]).abs().max()) / spread,
            "moody": tuple(name or "model" for name in moody(model)),
            "stochastic": differ and not any(isinstance(m, nn.modules.dropout._DropoutNd) for m in model.modules()),
        }


def _seeded(model: nn.Module, input: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    out: Tensor = model(input)
    return out.detach().float()


def _linear(model: nn.Module, input: Tensor) -> bool | None:
    """f(a + 2 (b − a)) = f(a) + 2 (f(b) − f(a)), far beyond the rows themselves too."""
    if not input.is_floating_point() or len(input) < 2:
        return None
    a, b = input, input.roll(1, 0)
    at_a, at_b = _seeded(model, a), _seeded(model, b)
    for far in (2.0, -30.0):
        off = _seeded(model, a + far * (b - a)) - (at_a + far * (at_b - at_a))
        if float(off.abs().max()) > 1e-3 * abs(far) * float((at_b - at_a).abs().max() + 1e-6 * at_a.abs().max()):
            return False
    return True


def _alone(model: nn.Module, input: Tensor, out: Tensor, spread: float) -> float:
    """One half of the batch gets other rows; then the other half (a recurrence over rows looks one way only)."""
    half = len(input) // 2
    if half < 1:
        return 0.0
    others = input.roll(1, 0).flip(0)
    before = _seeded(model, torch.cat([others[:half], input[half:]]))[half:] - out[half:]
    after = _seeded(model, torch.cat([input[:half], others[half:]]))[:half] - out[:half]
    return max(float(change.abs().max()) for change in (before, after)) / spread
