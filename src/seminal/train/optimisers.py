"""torch's optimisers and `BertAdam`, one per player, from a recipe's `Optim`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.optim import Optimizer

from seminal.core import Optim, UserError
from seminal.train.bert_adam import BertAdam

NAMES = ("sgd", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "bertadam")


def optimisers(
    players: Mapping[str, list[nn.Parameter]], optim: Optim, rates: Mapping[nn.Parameter, float] | None = None
) -> dict[str, Optimizer]:
    """An optimiser for each player's parameters. The learning rate is set by the loop before every step, times the
    parameter's share in ``rates`` (1 where it has none)."""
    rates = rates or {}
    return {player: _optimiser(_groups(parameters, optim, rates), optim) for player, parameters in players.items()}


def _groups(
    parameters: list[nn.Parameter], optim: Optim, rates: Mapping[nn.Parameter, float]
) -> list[dict[str, object]]:
    """A group for each rate and weight decay: biases and normalisations, the tensors of one dimension, may be spared."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in (p for p in parameters if p.requires_grad):
        spared = not optim.decay_all and parameter.dim() <= 1
        decay = 0.0 if spared else optim.weight_decay
        groups.setdefault((rates.get(parameter, 1.0), decay), []).append(parameter)
    return [{"params": members, "weight_decay": d, "rate": rate} for (rate, d), members in groups.items()]


def _optimiser(groups: list[dict[str, object]], optim: Optim) -> Optimizer:
    # `fused` computes the same update in one pass over memory; CPU and CUDA have it, other devices may not.
    fused = {p.device.type for group in groups for p in group["params"]} <= {"cpu", "cuda"}  # type: ignore[attr-defined]
    lr = torch.inf  # a step taken before the loop has set the rate must not pass unnoticed
    if optim.name == "sgd":
        momentum, nesterov = optim.momentum, optim.nesterov
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=fused)
    if optim.name == "adam":
        return torch.optim.Adam(groups, lr=lr, betas=optim.betas, eps=optim.eps, fused=fused)
    if optim.name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=optim.betas, eps=optim.eps, fused=fused)
    if optim.name == "bertadam":
        return BertAdam(groups, lr, optim.betas, optim.eps)
    if optim.name == "adagrad":
        return torch.optim.Adagrad(groups, lr=lr, eps=optim.eps)
    if optim.name == "adadelta":
        return torch.optim.Adadelta(groups, lr=lr, rho=optim.betas[1], eps=optim.eps)
    if optim.name == "rmsprop":
        return torch.optim.RMSprop(groups, lr=lr, alpha=optim.betas[1], eps=optim.eps, momentum=optim.momentum)
    raise UserError(f"there is no optimiser `{optim.name}`. Write one of: {', '.join(NAMES)}.")
