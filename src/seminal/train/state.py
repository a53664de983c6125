"""What training changes: weights, optimisers, averages of the weights, what is carried from batch to batch, the scores so
far, and three counters. Nothing else needs to be restored, because the data, the augmentation, the random numbers and the
learning rate are pure functions of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seminal.core import Recipe
from seminal.train import distributed
from seminal.train.optimisers import optimisers
from seminal.train.transfer import prepared


@dataclass
class State:
    """Mutable, and owned by the caller of `train`: saving it between two steps is a complete checkpoint.

    ``scores`` are the validation errors so far (lower is better); the caller appends one after each evaluation, and a
    schedule that waits for a plateau reads them.
    """

    model: nn.Module
    optimisers: dict[str, Optimizer]
    ema: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)  # of the last epochs, where the recipe asks for it
    averaged: int = 0  # epochs in it
    carry: dict[str, Tensor] = field(default_factory=dict)  # this rank's rows: see `Turn.carry`
    step: int = 0  # steps made
    epoch: int = 0
    position: int = 0  # batches of this epoch done
    scores: list[float] = field(default_factory=list)

    @classmethod
    def fresh(cls, model: nn.Module, recipe: Recipe) -> State:
        """The state before the first step. What the recipe freezes learns no longer."""
        rates = prepared(model, recipe.transfer)
        ema = {name: t.detach().clone() for name, t in model.state_dict().items()} if recipe.ema else {}
        return cls(model, optimisers(recipe.task.players(model), recipe.optim, rates), ema)

    def best_weights(self) -> dict[str, Tensor]:
        """The weights to validate and to ship: the average where there is one."""
        return self.average or self.ema or self.model.state_dict()

    def add_to_average(self) -> None:
        """The end of an epoch that the recipe averages over: its weights (their moving average) count as one more."""
        self.averaged += 1
        weights = self.ema or self.model.state_dict()
        self.average = self.average or {name: t.detach().clone() for name, t in weights.items()}
        for name, mean in self.average.items():
            if mean.is_floating_point():
                mean.lerp_(weights[name].detach(), 1 / self.averaged)
            else:
                mean.copy_(weights[name])

    # ------------------------------------------------------------------------------------------------ to and from disk

    def counters(self) -> dict[str, Any]:
        """The part that is JSON."""
        return {"step": self.step, "epoch": self.epoch, "position": self.position, "scores": self.scores} | {
            "averaged": self.averaged
        }

    def tensors(self) -> dict[str, Tensor]:
        """The part that is tensors, each under a name that tells where it belongs."""
        named = {f"model/{name}": t for name, t in self.model.state_dict().items()}
        named |= {f"ema/{name}": t for name, t in self.ema.items()}
        named |= {f"average/{name}": t for name, t in self.average.items()}
        named |= {f"carry/{name}": t for name, t in distributed.all_rows(self.carry).items()}
        for player, optimiser in self.optimisers.items():
            for name, parameter in self._parameters(optimiser):
                for slot, value in optimiser.state.get(parameter, {}).items():
                    if isinstance(value, Tensor):
                        named[f"optimiser/{player}/{name}/{slot}"] = value
        return named

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
        """The inverse of `tensors` and `counters`, into a fresh state of the same case."""
        self.step, self.epoch, self.position = counters["step"], counters["epoch"], counters["position"]
        self.scores, self.averaged = list(counters["scores"]), counters["averaged"]
        self.model.load_state_dict(_below("model/", tensors))
        device = next(self.model.parameters()).device
        self.ema = {name: t.to(device) for name, t in _below("ema/", tensors).items()}
        self.average = {name: t.to(device) for name, t in _below("average/", tensors).items()}
        mine = slice(distributed.rank(), None, distributed.world())
        self.carry = {name: t[mine].to(device) for name, t in _below("carry/", tensors).items()}
        for player, optimiser in self.optimisers.items():
            slots = _below(f"optimiser/{player}/", tensors)
            fused = {id(p) for group in optimiser.param_groups if group.get("fused") for p in group["params"]}
            for name, parameter in self._parameters(optimiser):
                for slot, value in _below(f"{name}/", slots).items():
                    if slot == "step":  # a fused step counts where it computes, the others on the processor
                        kept = value.to(parameter.device if id(parameter) in fused else "cpu", copy=True)
                    else:  # with the parameter's layout in memory, which the fused step relies on
                        like = parameter if value.shape == parameter.shape else value.to(parameter.device)
                        kept = torch.empty_like(like, dtype=value.dtype).copy_(value)
                    optimiser.state[parameter][slot] = kept

    def _parameters(self, optimiser: Optimizer) -> list[tuple[str, nn.Parameter]]:
        mine = {id(p) for group in optimiser.param_groups for p in group["params"]}
        return [(name, p) for name, p in self.model.named_parameters() if id(p) in mine]


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
