"""Which parameters the outputs depend on, and whether they learn from it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from seminal.doctor.first_steps import FirstSteps

MOST = 40  # parameters that are tried one by one
SHIFT = 0.3  # of a parameter's size, by which it is changed to see whether outputs follow
NUDGE = 0.01  # the same, where a gradient arrives and is zero: a unit that is off must stay off


def cut_off(
    model: nn.Module, input: Tensor, steps: FirstSteps, unowned: tuple[str, ...], pulled: bool
) -> tuple[str, ...]:
    """Parameters that the outputs depend on and that get no gradient, in any of the first steps: the graph is cut between
    them and the loss. ``model`` is as it was before these steps, in evaluation mode. ``pulled``: the loss has a gradient
    at the outputs; where it has none, zeros further down say nothing."""
    if not all(map(math.isfinite, steps.losses)):
        return ()  # no gradient and a gradient that is no number look alike
    silent = [n for n, norm in steps.received.items() if math.isnan(norm) or (norm == 0 and pulled)]
    silent = [name for name in silent if name not in unowned][:MOST]
    with torch.no_grad():
        return tuple(name for name in silent if _matters(model, name, input, steps.received[name]))


def _matters(model: nn.Module, name: str, input: Tensor, norm: float) -> bool:
    parameter = model.get_parameter(name)
    if norm == 0 and parameter.dim() < 2:
        return False  # a shift may wake units that are off, which are another matter
    before = parameter.detach().clone()
    torch.manual_seed(0)
    out = model(input)
    size = (SHIFT if math.isnan(norm) else NUDGE) * (float(before.abs().mean()) or 0.1)
    parameter.add_(size * torch.randn(before.shape, generator=torch.Generator().manual_seed(0)).to(before))
    torch.manual_seed(0)
    change = float((model(input) - out).abs().max())
    parameter.copy_(before)
    return change > 1e-4 * (float(out.std()) + 1e-3 * float(out.abs().mean()))


def other_players(model: nn.Module, input: Tensor, steps: FirstSteps) -> tuple[str, ...]:
    """Parameters that get gradients in the program's own steps though the outputs are independent of them."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        out = model(input)
    if out.grad_fn is None:
        return ()
    slopes = torch.autograd.grad(out.sum(), list(named.values()), allow_unused=True)
    absent = [name for name, slope in zip(named, slopes) if slope is None]
    return tuple(name for name in absent if steps.received.get(name, math.nan) > 0)
