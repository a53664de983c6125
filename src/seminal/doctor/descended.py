"""The loss that a program's own training step descends, whatever it makes of the program's loss: a wrong shape, a sign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from seminal.doctor.loss_form import gradient
from seminal.doctor.program import Loss, Program


class _Free(nn.Module):
    """A model whose outputs are given."""

    def __init__(self, out: Tensor) -> None:
        super().__init__()
        self.out = out
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, *_: Any) -> Tensor:
        return self.out + 0 * self.unused


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, out: Tensor, replay: Callable[[Tensor], float]) -> Tensor:
        leaf = out.detach().clone().requires_grad_()
        with torch.enable_grad():
            value = replay(leaf)
        ctx.slope = torch.zeros_like(out) if leaf.grad is None else leaf.grad
        return out.new_tensor(value)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None]:
        return above[0] * ctx.slope, None


def descended(program: Program, input: Tensor, out: Tensor, target: Tensor) -> Loss:
    """The loss that the program's own training step descends, as a function of outputs and targets: found by handing the
    step a model whose outputs are free. The program's loss, where the step cannot be asked so or does what is usual."""
    step = program.train_step
    if step is None:
        return program.loss

    def replayed(out: Tensor, target: Tensor) -> Tensor:
        def replay(leaf: Tensor) -> float:
            free = _Free(leaf)
            asked = torch.optim.SGD(free.parameters(), lr=0.0)
            return float(torch.as_tensor(step(free, program.loss, asked, input[: len(leaf)], target)).detach())

        value: Tensor = _Replayed.apply(out, replay)
        return value

    slope, again, usual = (gradient(f, out, target) for f in (replayed, replayed, program.loss))
    if slope is None or usual is None or again is None or not torch.equal(slope, again) or not float(slope.norm()) > 0:
        return program.loss
    same = torch.allclose(slope, usual, rtol=1e-3, atol=1e-3 * float(usual.norm()))
    return program.loss if same else replayed
