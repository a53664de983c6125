"""The Adam that the authors of BERT trained with (`AdamWeightDecayOptimizer` of their program).

    m = β1 m + (1 − β1) g,   v = β2 v + (1 − β2) g²,   θ = θ − lr (m / (√v + ε) + decay · θ)

The bias correction of Adam is left out, so that the first steps are too large: how far, says `seminal.pieces.adam.excess`.
That is why a short fine-tuning may fail (Mosbach et al. 2021; Zhang et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class BertAdam(Optimizer):
    """See the equations above; each group has a learning rate ``lr`` and a ``weight_decay``. Gradients are dense."""

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._move(parameters, group)
        return loss

    def _move(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        states = [self.state[p] for p in parameters]
        for parameter, state in zip(parameters, states):
            for name in ("mean", "square") if not state else ():
                state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        (first, second), lr = group["betas"], group["lr"]
        gradients = [p.grad for p in parameters if p.grad is not None]  # all have one
        means, squares = ([state[name] for state in states] for name in ("mean", "square"))
        torch._foreach_lerp_(means, gradients, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        below = torch._foreach_sqrt(squares)
        torch._foreach_add_(below, group["eps"])
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])  # of θ as it was before the step
        torch._foreach_addcdiv_(parameters, means, below, -lr)
